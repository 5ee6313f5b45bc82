"""The frame of the claims: limits judge, records age, nothing measured counts as broken."""

import json
from pathlib import Path

import pytest

from cosim.claims import record
from cosim.claims.__main__ import main
from cosim.claims.base import Claim
from cosim.claims.registry import CLAIMS
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


def test_what_a_claim_depends_on_exists() -> None:
    for claim in CLAIMS.values():
        if claim.long:
            assert claim.depends, f"{claim.name} is recorded: it has to say what makes its record old"
        record.code_hash(claim.depends)


def test_unknown_dependency_is_named() -> None:
    with pytest.raises(InputError, match="no_such"):
        record.code_hash(("devices/no_such.py",))


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS.values() if claim.long], ids=lambda c: c.name)
def test_records_hold_and_are_of_today(claim: Claim) -> None:
    found = record.read(claim)
    assert found is not None, f"no record: ./run reproduce {claim.name}"
    assert claim.judge(found["figures"]) == []
    assert found["code"] == record.code_hash(claim.depends), f"old record: ./run reproduce {claim.name}"


def test_a_comment_does_not_age_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "PACKAGE", tmp_path)
    file = tmp_path / "a.py"
    file.write_text('"""Doc."""\n\n\ndef f(x):\n    """Doc."""\n    return x + 1\n')
    first = record.code_hash(("a.py",))
    file.write_text('"""Other."""\n\n# why\ndef f(x):\n    return x + 1\n')
    assert record.code_hash(("a.py",)) == first
    file.write_text("def f(x):\n    return x + 2\n")
    assert record.code_hash(("a.py",)) != first


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
