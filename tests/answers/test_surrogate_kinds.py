"""Surrogates of any bench: learned laws, what is chosen, and what bad input gets."""

from __future__ import annotations

import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from cosim.bench.events import BenchMap
from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.cli.surrogate_common import UNSEEN
from cosim.devices.base import Values
from cosim.errors import EngineMissing, FitError, InputError
from cosim.export.laws import told
from cosim.network.crossbar import Crossbar
from cosim.packages import optional
from cosim.surrogate import kinds
from cosim.surrogate.files import load
from cosim.surrogate.kept import Kept
from cosim.surrogate.kinds import KINDS
from cosim.surrogate.laws import law_of
from cosim.surrogate.learn import design, learn, revisited
from cosim.surrogate.learned import Law, Laws, fit, fit_each

RC = """title = "RC"
circuit = '''
V1 in 0 {v}
R1 in out {r}
C1 out 0 1n
.ic v(out)={start}
Bread read 0 I=-(3 + V(out)) * 1u
Vread read 0 0
Vdd dd 0 1
Rdd dd 0 1k
'''
[parameters]
v = "1 V"
r = "1 kOhm"
start = "0 V"
[analysis]
kind = "tran"
stop = "1 us"
max_step = "20 ns"
[measures.last]
kind = "final"
of = "v(out)"
unit = "V"
[measures.current]
kind = "final"
of = "i(vread)"
unit = "A"
[measures.supply]
kind = "max"
of = "v(dd)"
unit = "V"
[maps.charge]
inputs.v = { parameter = "v", range = ["-2 V", "2 V"] }
states.out = { parameter = "start", measure = "last", range = ["-2 V", "2 V"] }
outputs.conductance = "current"
"""
FIELDS = np.random.default_rng(0).uniform(-1.0, 1.0, (200, 2))
X = {"a": FIELDS[:, 0], "b": np.exp(3.0 * FIELDS[:, 1])}
Y = {"p": np.tanh(3.0 * X["a"]) * FIELDS[:, 1], "q": X["a"] + FIELDS[:, 1] ** 2}


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    path = tmp_path / "rc.toml"
    path.write_text(RC)
    return path


SKLEARN = pytest.mark.needs("sklearn")


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("polynomial", 0.03),
        ("hinge", 0.03),
        ("ridge", 0.03),
        ("sheet", 0.03),
        ("spline", 0.03),
        pytest.param("trees", 0.15, marks=SKLEARN),
        pytest.param("network", 0.1, marks=SKLEARN),
    ],
)
def test_each_kind_follows_and_is_read_back_without_its_package(
    kind: str, error: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind in ("trees", "network"):
        monkeypatch.setattr(kinds, "TREES", 60)
        monkeypatch.setattr(kinds, "HIDDEN", (8,))
    scales = {"p": 1.0, "q": 1.0}
    found = fit(X, Y, scales=scales, rng=np.random.default_rng(1), kinds=[kind])
    assert found.errors[kind] < error

    def missing(name: str, **_: object) -> None:
        raise EngineMissing(name)

    monkeypatch.setattr(kinds, "optional", missing)
    back = Law.rebuilt(found.law.document(), found.law.arrays("law"), "law")
    for name, ours in found.law(X).items():
        assert np.array_equal(back(X)[name], ours)
    # held at the ends of its range
    assert back({"a": np.array(5.0), "b": np.array(1.0)})["p"] == back({"a": X["a"].max(), "b": np.array(1.0)})["p"]


@SKLEARN
def test_arrays_are_the_trained_model() -> None:
    ensemble, network = (optional(f"sklearn.{n}", extra="train", needed_by="") for n in ("ensemble", "neural_network"))
    boosted = ensemble.GradientBoostingRegressor(
        n_estimators=kinds.TREES, max_depth=kinds.DEPTH, learning_rate=kinds.RATE, subsample=0.7, random_state=3
    ).fit(FIELDS, Y["p"])
    ours = kinds.Trees.trained(FIELDS, Y["p"][:, None], seed=3)
    assert np.allclose(ours.predict(FIELDS)[:, 0], boosted.predict(FIELDS), atol=1e-12)
    net = kinds.Network.trained(FIELDS, np.stack(list(Y.values()), axis=1), seed=3)
    other = network.MLPRegressor(hidden_layer_sizes=kinds.HIDDEN, activation="tanh")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other.fit(FIELDS[:3], np.zeros((3, 2)))
    other.coefs_, other.intercepts_ = list(net.weights), list(net.biases)
    assert np.allclose(other.predict(FIELDS), net.predict(FIELDS), atol=1e-12)


def test_the_best_kind_is_taken_and_the_others_are_named() -> None:
    straight = {"y": 3.0 * X["a"] - np.log(X["b"])}
    found = fit(X, straight, scales={"y": 1.0}, rng=np.random.default_rng(0), kinds=["polynomial", "spline"])
    assert found.law.kind == "polynomial"
    assert found.errors["polynomial"] < 1e-12 <= found.errors["spline"]


T = np.random.default_rng(2).uniform(1e-3, 2e-2, (600, 2))
LEVEL = np.random.default_rng(3).uniform(-1.0, 1.0, 600)
SHARP: dict[str, np.ndarray] = {
    # a comparator that has switched or not, by the time between two spikes
    "ridge": np.tanh((T[:, 0] - T[:, 1]) / 5e-4) * (1.0 + 0.3 * LEVEL),
    # the same, of a state that saturates
    "sheet": (1.2 + np.tanh((T[:, 0] - T[:, 1]) / 1e-3)) * np.tanh(8.0 * (1.05 - LEVEL)) * (1.0 + 0.2 * LEVEL),
    # the larger of two phases
    "hinge": np.maximum(np.sin(60.0 * T[:, 0]), 0.4 + LEVEL * (1.0 + 20.0 * T[:, 1])),
    # a rate behind an exponential law, which a state follows
    "stretched": np.exp(7.0 * (LEVEL - 1.0) + 100.0 * T[:, 0]) * (1.0 + 10.0 * T[:, 1]),
}


@SKLEARN
def test_each_target_has_the_kind_that_suits_it() -> None:
    """What switches, has two branches or moves by decades is within 1 %; no other kind alone is within 2 %."""
    fields = {"one": T[:, 0], "other": T[:, 1], "level": LEVEL}
    scales = {name: float(np.ptp(y)) for name, y in SHARP.items()}
    chosen = [kind for kind in KINDS if kind != "trees"]  # they take the longest, and are off by 10 %
    found = fit_each(fields, SHARP, scales=scales, rng=np.random.default_rng(0), kinds=chosen, alike=[("one", "other")])
    assert {target: part.kind for part in found.law.parts for target in part.targets} == {name: name for name in SHARP}
    assert max(found.held.values()) < 0.01
    for kind in ("polynomial", "spline", "network"):
        assert max(found.errors[kind].values()) > 0.02
    back = law_of(found.law.document(), found.law.arrays("law"), "law")
    assert isinstance(back, Laws)
    for name, ours in found.law(fields).items():
        assert np.array_equal(back(fields)[name], ours)
    with pytest.raises(ValueError, match="same target"):
        Laws.rebuilt(*twice(found.law), "law")


def test_further_samples_begin_where_earlier_ones_ended(bench: Path) -> None:
    """Every second one; not from states outside the ranges, and none where there is no other."""
    found = BenchMap.load(Testbench.load(str(bench)))
    events = design(found, count=64, seed=0)
    assert design(found, count=40, seed=0).identical(events.isel(event=slice(40)))  # any number, and without a warning
    after = np.where(np.arange(32) % 4 == 0, 5.0, np.linspace(-0.1, 0.1, 32))
    data = xr.Dataset({"out": ("event", after)})
    made = revisited(found, events, data, rng=np.random.default_rng(0))["out_before"].values
    assert np.array_equal(made[::2], events["out_before"].values[::2])
    assert set(made[1::2]) <= set(after[after < 5.0])
    none = revisited(found, events, xr.Dataset({"out": ("event", np.full(8, 5.0))}), rng=np.random.default_rng(0))
    assert none.identical(events)


def twice(law: Laws) -> tuple[dict[str, Any], dict[str, Any]]:
    """A document and arrays in which one part stands twice."""
    first = law.parts[0]
    return {"parts": [first.document()] * 2}, {**first.arrays("law_0"), **first.arrays("law_1")}


def test_laws_refuse_what_cannot_be_learned_or_read() -> None:
    with pytest.raises(FitError, match="20 samples are too few"):
        fit({"a": X["a"][:20]}, {"y": X["a"][:20]}, scales={"y": 1.0}, rng=np.random.default_rng(0))
    many = {name: X["a"] ** k for k, name in enumerate("bcde", 1)}
    with pytest.raises(FitError, match="no law of kind spline can be learned of 4 fields"):
        fit(many, {"y": X["a"]}, scales={"y": 1.0}, rng=np.random.default_rng(0), kinds=["spline"])
    with pytest.raises(InputError, match="every sample has a = 1"):
        fit({"a": np.ones(50)}, {"y": X["a"][:50]}, scales={"y": 1.0}, rng=np.random.default_rng(0))
    for kind in KINDS:
        if kind in ("trees", "network"):
            continue
        law = fit(X, Y, scales={"p": 1.0, "q": 1.0}, rng=np.random.default_rng(1), kinds=[kind]).law
        arrays = law.arrays("law")
        part = {"hinge": "law_sides", "ridge": "law_axis_direction", "sheet": "law_axis_direction"}.get(
            kind, "law_coefficients"
        )
        with pytest.raises(ValueError, match=r"coefficients|direction"):
            Law.rebuilt(law.document(), {**arrays, part: arrays[part][:-1]}, "law")
        with pytest.raises(ValueError, match="not finite"):
            Law.rebuilt(law.document(), {**arrays, "law_offset": np.full(2, np.nan)}, "law")


@pytest.mark.spice
def test_a_circuit_of_the_users_own(bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rc.npz"
    train = ["surrogate", "train", str(bench), "-o", str(file), "--most-samples", "64", "--pulses", "100"]
    assert main(train) == 0
    shown = capsys.readouterr().out
    assert "map charge on the circuit of rc" in shown
    assert "note        law: learned (" in shown
    assert "simulator   its own error by " in shown
    assert "each event of charge is a simulation of its own, whose start-up its time includes" in shown
    assert main(["surrogate", "show", str(file)]) == 0
    assert "time        an event takes " in capsys.readouterr().out
    cell = load(file)
    after, outputs = cell.step(Values({"out": 0.0}), Values({"v": 1.0}))
    exact = 1.0 - np.exp(-1.0)  # RC = 1 us
    assert abs(float(after["out"]) - exact) < 0.01 * 4.0
    assert float(outputs["conductance"]) == pytest.approx(3e-6 + exact * 1e-6, abs=0.05e-6)
    # what depends on the states alone is read from them, so that a crossbar can
    crossbar = Crossbar(cell, np.full((3, 2), 0.5))
    crossbar.program(1, np.array([-1.0, 0.0, 1.0]))
    assert np.all(np.diff(crossbar.weight[:, 1]) > 0.0)
    assert main(["surrogate", "check", str(file), "--pulses", "60"]) == UNSEEN  # fewer than it was certified with
    assert main(["surrogate", "show", str(file), "--figure", str(tmp_path / "rc.png")]) == 0  # events are kept
    bench.unlink()
    assert main(["surrogate", "check", str(file)]) == 2
    assert "is not there any more; put it back, or train the surrogate again" in capsys.readouterr().err


@pytest.mark.spice
def test_a_state_that_reaches_nothing_is_refused(
    bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ngspice passes over ic= of a capacitor without uic, so that every event begins at 0 V."""
    text = bench.read_text(encoding="utf-8")
    assert ".ic v(out)={start}" in text
    bench.write_text(text.replace(".ic v(out)={start}", "").replace("C1 out 0 1n", "C1 out 0 1n IC={start}"))
    assert main(["surrogate", "train", str(bench), "-o", str(tmp_path / "rc.npz"), "--most-samples", "64"]) == 2
    said = capsys.readouterr().err
    assert "depends on its state out: events that begin at -1 V and at 1 V are the same to the last digit" in said
    assert "let parameter start set the circuit's start" in said


def test_sampling_that_is_stopped_says_what_is_left(bench: Path, tmp_path: Path) -> None:
    class Stopped(BenchMap):
        def respond(self, *_: Any, **__: Any) -> Any:
            raise KeyboardInterrupt

    events = design(BenchMap.load(str(bench)), count=4, seed=0)
    loaded = BenchMap.load(str(bench))
    stopped = Stopped(**{entry.name: getattr(loaded, entry.name) for entry in fields(loaded)})
    nobody: Any = object()
    with pytest.raises(KeyboardInterrupt, match="its samples are lost; --keep FILE keeps them"):
        Kept(stopped, None).sample(nobody, events)
    with pytest.raises(KeyboardInterrupt, match=r"0 samples are in .*kept.npz, and the same command goes on"):
        Kept(stopped, tmp_path / "kept.npz").sample(nobody, events)


@pytest.mark.spice
def test_a_law_that_is_asked_for_and_samples_that_are_kept(bench: Path, tmp_path: Path) -> None:
    kept, file = tmp_path / "samples.npz", tmp_path / "rc.npz"
    words = ["-o", str(file), "--most-samples", "64", "--pulses", "60", "--keep", str(kept), "--law", "spline"]
    assert main(["surrogate", "train", str(bench), *words]) == 0
    law = load(file).learned
    assert isinstance(law, Laws)
    assert {part.kind for part in law.parts} == {"spline"}
    nobody: Any = object()  # learning goes on with what is kept, and asks no circuit
    again = learn(str(bench), nobody, samples=64, kinds=["spline"], kept=kept)
    assert again.surrogate.fingerprint() == load(file).fingerprint()
    assert again.seconds > 0.0
    (only,) = learn(str(bench), nobody, samples=64, law="polynomial", kept=kept).errors
    assert only.startswith("learned (polynomial: ")
    bench.write_text(RC.replace("1n", "2n"))
    with pytest.raises(InputError, match="are not of map 'charge' of bench rc as it is; give another file"):
        learn(str(bench), nobody, samples=64, kept=kept)


@pytest.mark.spice
@pytest.mark.slow
def test_physics_of_a_bench_goes_by_the_benchs_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cell.npz"
    words = ["-o", str(file), "--most-samples", "64", "--pulses", "60", "--law", "physics"]
    assert main(["surrogate", "train", "1t1r_random_pulses", *words]) == 0
    assert "note        law: physics of cell_1t1r (pulse), by" in capsys.readouterr().out
    made = load(file)
    assert (made.parameters.name, made.parameters.provenance["parameter_set"]) == ("1t1r_random_pulses", "tio2")
    assert str(made).startswith("surrogate of the bench 1t1r_random_pulses (cell_1t1r tio2), map pulse: ")
    assert told(made) == "map pulse of cell_1t1r with the set tio2 in the bench 1t1r_random_pulses"
    assert main(["surrogate", "check", str(file), "--pulses", "60"]) in (0, UNSEEN)  # the bench, not the bare cell
    assert "1t1r_random_pulses with" in capsys.readouterr().out
    assert main(["surrogate", "check", str(file), "--pulses", "60", "--against", "integration"]) in (0, UNSEEN)


@pytest.mark.spice
@pytest.mark.parametrize(
    ("old", "new", "words", "message"),
    [
        (RC[RC.index("[maps") :], "", [], "has no event map; write [maps.NAME]"),
        ("states.out =", "inputs.out_ =", [], "map 'charge' of bench rc names no state, and a surrogate says"),
        ('outputs.conductance = "current"', 'outputs.supply = "supply"', [], "the output supply of map 'charge'"),
        ("", "", ["--map", "discharge"], "did you mean charge"),
        ("", "", ["--most-samples", "10"], "10 samples in 300 s are too few"),
        ("", "", ["--budget", "0 s"], "leaves no time to work"),
        ("", "", ["--law", "splin"], "did you mean spline"),
        ("", "", ["--law", "physics"], "has no physics: it names no device that has a map with its fields"),
        ("", "", ["--law", "physics+spline"], 'write device = "NAME" into the map'),
        ("", "", ["--parameters", "tio2"], "--parameters has no meaning with the bench"),
        ("", "", ["--against", "integration"], "--against has no meaning with the bench"),
    ],
)
def test_bad_input(
    bench: Path, old: str, new: str, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = RC.replace(old, new) if old else RC
    if "out_" in new:  # an input in the state's place
        text = text.replace(', measure = "last"', "")
    bench.write_text(text)
    assert main(["surrogate", "train", str(bench), "-o", str(bench.with_suffix(".npz")), *words]) == 2
    assert message in capsys.readouterr().err
    assert not bench.with_suffix(".npz").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cell_1t1r"], "write e.g. cosim surrogate train tio2 --device cell_1t1r"),
        (["tio3"], "unknown bench or parameter set 'tio3'; did you mean tio2?"),
        (["1t1r_writ"], "did you mean 1t1r_write?"),
        (["tio2", "--parameters", "hfo2"], "--parameters has no meaning with the parameter set tio2"),
        (["tio2", "--most-samples", "64"], "--most-samples has no meaning without a bench"),
    ],
)
def test_a_set_may_stand_in_a_benchs_place(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["surrogate", "train", *words, "-o", str(tmp_path / "x.npz")]) == 2
    assert message in capsys.readouterr().err


def test_options_of_benches_need_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["surrogate", "train", "-o", str(tmp_path / "x.npz"), "--most-samples", "9"]) == 2
    assert "--most-samples has no meaning without a bench" in capsys.readouterr().err


@pytest.mark.spice
def test_a_spent_budget_is_said_and_fails(bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = 'inputs.r = { parameter = "r", range = ["0.5 kOhm", "4 kOhm"] }\n'
    bench.write_text(RC.replace("inputs.v", other + "inputs.v"))
    file = tmp_path / "rc.npz"
    words = ["-o", str(file), "--budget", "1 ms", "--pulses", "60", "--limit", "state=1e-7", "--limit", "conductance=1"]
    assert main(["surrogate", "train", str(bench), *words]) == 1
    shown = capsys.readouterr()
    assert "the budget of 0.001 s was spent before the held-out rms error was 0.15 of the limit: out" in shown.err
    assert load(file).certificate.broken  # type: ignore[union-attr]
