"""Exports of learned laws and of event neurons: what they give is the surrogate's, or they are refused by name."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

import cosim
from cosim.devices.maps import Field
from cosim.export import golden
from cosim.export.write import checked, export_surrogate
from cosim.surrogate import kinds
from cosim.surrogate.circuit import CIRCUIT, CircuitSet
from cosim.surrogate.learned import fit

SKLEARN = pytest.mark.needs("sklearn")
LEARNED = ["polynomial", "spline", pytest.param("trees", marks=SKLEARN), pytest.param("network", marks=SKLEARN)]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "TREES", 20)
    monkeypatch.setattr(kinds, "HIDDEN", (5, 4))
    monkeypatch.setattr(golden, "POOL", 50)
    monkeypatch.setattr(golden, "TRAIN", 5)


def circuit(kind: str) -> cosim.Surrogate:
    """A leaky cell of two inputs, one of them over decades, whose law is learned, and what is read of it, too."""
    rng = np.random.default_rng(0)
    x = {
        "w": rng.uniform(0.0, 1.0, 300),
        "v": rng.uniform(-1.0, 1.0, 300),
        "pause": np.exp(rng.uniform(-7.0, 0.0, 300)),
    }
    change = {"w": 0.3 * x["v"] * (1.0 - x["w"]) * np.exp(-x["pause"]), "charge": 1e-9 * np.tanh(3.0 * x["v"])}
    law = fit(x, change, scales={"w": 1.0, "charge": 1e-9}, rng=rng, kinds=[kind]).law
    read = {"g": 1e-6 * (1.0 + x["w"] ** 2)}
    reading = fit({"w": x["w"]}, read, scales={"g": 2e-6}, rng=rng, kinds=["polynomial"]).law
    chosen = CircuitSet(
        CIRCUIT, "leaky", MappingProxyType({}), states={"w": Field("1", (0.0, 1.0))},
        inputs={"v": Field("V", (-1.0, 1.0)), "pause": Field("s", (1e-3, 1.0))},
        outputs={"charge": Field("C"), "g": Field("S")}, event="charge",
    )  # fmt: skip
    return cosim.Surrogate(chosen, learned=law, reading=reading)


def remainder(name: str, event: str = "") -> cosim.Surrogate:
    """Physics with a learned remainder, of a size that shows."""
    plain = cosim.Surrogate(cosim.ParameterSet.load(name), event)
    rng, (state,), (given,) = np.random.default_rng(0), plain.map.states, plain.map.inputs
    x, u = (rng.uniform(*part[key].range, 200) for part, key in ((plain.map.states, state), (plain.map.inputs, given)))
    rest = {state: 0.02 * np.sin(3.0 * x) * u / np.abs(u).max(), "energy": 1e-13 * u**2}
    law = fit({state: x, given: u}, rest, scales={state: 1.0, "energy": 1e-13}, rng=rng, kinds=["polynomial"]).law
    return plain.with_(learned=law)


@pytest.mark.parametrize("kind", LEARNED)
def test_a_learned_law_in_the_loader_of_numpy(kind: str, tmp_path: Path) -> None:
    surrogate = circuit(kind)
    assert surrogate.learned is not None
    assert surrogate.learned.kind == kind
    made = export_surrogate(surrogate, "numpy", tmp_path / "out", uncertified=True, events=30)
    found = checked(made.folder)
    assert found["events"] == {"events": 30, "train": 5}
    assert max(found["difference"].values()) < 1e-12
    text = (made.folder / "loader.py").read_text()
    assert "sklearn" not in text
    assert [name for name in kinds.KINDS if f"class {kinds.KINDS[name].__name__}:" in text] == list(
        dict.fromkeys([kind, "polynomial"]) if kind != "spline" else ["polynomial", "spline"]
    ) or set(made.files) >= {"laws.npz"}


@pytest.mark.parametrize(("name", "event"), [("tio2", "pulse"), ("stanford_1_0_0", "pulse")])
def test_a_remainder_is_in_the_loader_of_numpy(name: str, event: str, tmp_path: Path) -> None:
    surrogate = remainder(name, event)
    made = export_surrogate(surrogate, "numpy", tmp_path / "out", uncertified=True, events=10)
    assert max(checked(made.folder)["difference"].values()) < 1e-12
    bare = surrogate.with_(learned=None)
    told = made.golden.document["events"]
    after, _ = bare.step(
        cosim.Values({k: np.array(v) for k, v in told["before"].items()}),
        cosim.Values({k: np.array(v) for k, v in told["inputs"].items()}),
    )
    (state,) = bare.map.states
    assert np.max(np.abs(after[state] - np.array(told["after"][state]))) > 1e-3  # the remainder is in them
