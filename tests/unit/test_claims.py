"""The frame of the claims: limits judge, records age, nothing measured counts as broken."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from claims import mnist, record, stc
from claims.__main__ import main
from claims.base import Claim
from claims.registry import CLAIMS
from cosim.errors import InputError

SMALL = Claim("small", "says", lambda _: {"x": 1.0}, {"x": (0.5, 2.0)})


@pytest.mark.parametrize(
    ("figures", "broken"),
    [
        ({"x": 1.0}, []),
        ({"x": 0.4}, ["x = 0.4, claimed 0.5 <= x <= 2"]),
        ({"x": 3}, ["x = 3, claimed 0.5 <= x <= 2"]),
        ({}, ["x was not measured"]),
        ({"x": float("nan")}, ["x was not measured"]),
        ({"x": True}, ["x was not measured"]),
    ],
)
def test_limits(figures: dict[str, float], broken: list[str]) -> None:
    assert SMALL.judge(figures) == broken


RECORDED = [claim for claim in CLAIMS.values() if claim.long or record.path_of(claim).exists()]


@pytest.mark.parametrize("claim", RECORDED, ids=lambda claim: claim.name)
def test_records_hold_and_are_of_today(claim: Claim) -> None:
    if claim.name == "heat" and find_spec("fipy") is None:
        pytest.skip("the package fipy is not installed (extra 'heat')")
    found = record.read(claim)
    assert found is not None, f"no record: ./run reproduce {claim.name}"
    assert claim.judge(found["figures"]) == []
    assert record.out_of_date(claim, found) == [], f"old record: ./run reproduce {claim.name}"


def test_every_record_is_of_a_claim() -> None:
    assert {path.stem for path in record.path_of(SMALL).parent.glob("*.json")} <= CLAIMS.keys()


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Claim:
    """A claim with a record, elsewhere than the project's own."""
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(record.resources, "folder", lambda _: tmp_path)
    claim = replace(SMALL, settings=lambda: {"seeds": (0, 1, 2), "size": 3}, probe=lambda: {"y": 1.5, "n": 7})
    record.write(claim, {"x": 1.0})
    return claim


def test_a_record_of_today(kept: Claim) -> None:
    found = record.read(kept)
    assert found is not None
    assert found["figures"] == {"x": 1.0}
    assert record.out_of_date(kept, found) == []


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("figures", {"x": 1.5}),
        ("settings", {"seeds": [0, 1], "size": 3}),
        ("made", "2020-01-01"),
        ("probe", {"y": 1.0}),
    ],
)
def test_a_record_that_was_edited(kept: Claim, entry: str, value: object) -> None:
    path = record.path_of(kept)
    path.write_text(json.dumps({**json.loads(path.read_text()), entry: value}))
    with pytest.raises(InputError, match=r"small\.json was edited after it was measured; \./run reproduce small"):
        record.read(kept)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"settings": lambda: {"seeds": (0, 1), "size": 3}}, "its setting seeds was [0, 1, 2], is [0, 1]"),
        ({"settings": lambda: {"seeds": (0, 1, 2), "size": 4}}, "its setting size was 3, is 4"),
        ({"limits": {"x": (0.5, 3.0)}}, "its limits changed"),
        ({"says": "says more"}, "its says changed"),
        ({"probe": lambda: {"y": 1.5001, "n": 7}}, "the probe's y was 1.5, is 1.5001"),
        ({"probe": lambda: {"y": 1.5, "n": 8}}, "the probe's n was 7, is 8"),
        ({"probe": lambda: {"y": 1.5}}, "the probe's n was 7, is None"),
    ],
)
def test_a_record_of_before(kept: Claim, change: dict[str, Any], says: str) -> None:
    found = record.read(kept)
    assert found is not None
    assert record.out_of_date(replace(kept, **change), found) == [says]


def test_rounding_does_not_age_a_record(kept: Claim) -> None:
    found = record.read(kept)
    assert found is not None
    assert record.out_of_date(replace(kept, probe=lambda: {"y": 1.5 * (1 + 1e-12), "n": 7}), found) == []


def test_no_record_without_a_probe(kept: Claim) -> None:
    with pytest.raises(InputError, match="has no probe"):
        record.write(SMALL, {"x": 1.0})


def test_the_probe_of_mnist_sees_the_network_and_the_seeds() -> None:
    """What a probe is for: it moves with a constant of the network, and with the seed."""
    base = mnist.probe()
    output = replace(mnist.NETWORK.output, threshold=1.01 * mnist.NETWORK.output.threshold)
    for other in (mnist.probe(mnist.NETWORK.with_(output=output)), mnist.probe(seeds=(1,))):
        assert abs(other["tio2_weights_mean"] / base["tio2_weights_mean"] - 1.0) > 100 * record.SAME


def test_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main([]) == 0
    assert "line" in capsys.readouterr().out
    assert main(["no_such"]) == 2
    assert "no_such" in capsys.readouterr().err
    monkeypatch.setitem(CLAIMS, "small", SMALL)
    assert main(["small"]) == 0
    assert json.loads(capsys.readouterr().out)["holds"] is True
    monkeypatch.setitem(CLAIMS, "small", Claim("small", "says", lambda _: {"x": 9.0}, SMALL.limits))
    assert main(["small"]) == 1
    assert json.loads(capsys.readouterr().out)["broken"] == ["x = 9, claimed 0.5 <= x <= 2"]


@pytest.mark.parametrize(
    "constant", ["consolidation", "theta_tag", "theta_pro", "rate_down", "rate_up", "z_max", "z_min", "low", "high"]
)
def test_the_probe_of_tagging_and_capture_sees_consolidation(constant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, real = stc.TASKS["equations"], stc.synapse
    base = stc.captured(settings)
    assert base["protein"] == [0.0, 1.0, 1.0]  # the sum over a neuron's synapses decides, of which none suffices
    k = real(settings)
    changed = k._replace(**{constant: getattr(k, constant) * 1.01 + 1e-5 * (getattr(k, constant) == 0.0)})
    monkeypatch.setattr(stc, "synapse", lambda _: changed)
    now = stc.captured(settings)
    assert any(abs(now[name] - base[name]) > 100 * record.SAME * abs(base[name]) for name in base.keys() - {"protein"})
