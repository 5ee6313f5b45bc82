"""Fits through a netlist: the whole circuit is simulated for each prediction."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.data.recording import Recording
from cosim.devices.base import Array, Values
from cosim.errors import CosimError
from cosim.fitting.extract import extract
from cosim.fitting.forwards.circuit import CircuitForward
from cosim.fitting.joint import extract_joint
from cosim.fitting.joint_recipe import JointRecipe, load_recipe
from cosim.fitting.recipe import FitRecipe

pytestmark = pytest.mark.spice

# Two diodes and resistors: SPICE's own models, no device of the library.
CLIPPER = """
title = "Clipper"
circuit = '''
V1 in 0 {stimulus.drive}
R1 in out {rs}
D1 out a up
R2 a 0 {rp}
D2 b out down
R3 b 0 {rn}
C1 out 0 {cl}
.model up D(is={is1} n=1.6)
.model down D(is={is2} n=1.2)
'''
save = ["v(out)"]
[parameters]
rs = "500 Ohm"
rp = "20 Ohm"
rn = "20 Ohm"
cl = "1 nF"
is1 = "1e-12 A"
is2 = "1e-12 A"
[stimuli.drive]
kind = "pwl"
points = [["0 s", "0 V"], ["1 ms", "2 V"]]
[analyses.sweep]
kind = "dc"
source = "V1"
start = "-1 V"
stop = "1 V"
step = "0.5 V"
[analyses.time]
kind = "tran"
stop = "10 us"
max_step = "1 us"
[measures.top]
kind = "max"
of = "v(out)"
analysis = "time"
unit = "V"
"""
TRUTH = {"rp": 47.0, "rn": 33.0, "is1": 4e-13, "is2": 3e-14}
RECIPE = """
name = "clipper"
[data]
kind = "i-v"
file = "clipper.csv"
columns.voltage = { name = "V", unit = "V" }
columns.current = { name = "I", unit = "mA" }
[circuit]
bench = "clipper.toml"
read = "-i(v1)"
analysis = "sweep"
[fit]
vary = ["rp", "rn", "is1", "is2"]
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSIM_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clipper.toml").write_text(CLIPPER)
    return tmp_path


def made(recipe: FitRecipe, blank: Recording, truth: dict[str, float], *, noise: float = 2e-3) -> Recording:
    """What the recipe's bench gives at ``truth``, with noise (of the range)."""
    forward = recipe.forward_of(blank, np.ones(len(blank), dtype=bool), recipe.ramps)
    p = Values({entry.name: entry.default for entry in forward.params}).with_(**truth)
    clean = forward.predict(p)
    return blank.with_measured(clean + noise * np.ptp(clean) * np.random.default_rng(3).standard_normal(clean.size))


def sweep(low: float = -2.0, high: float = 2.0, n: int = 41) -> Recording:
    return Recording.i_v(np.linspace(low, high, n), np.zeros(n))


def test_a_netlist_of_ones_own_is_fitted_from_the_shell(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, output = folder / "recipe.toml", folder / "found.toml"
    file.write_text(RECIPE)
    recipe = FitRecipe.load(file)
    curve = made(recipe, sweep(), TRUTH)
    rows = zip(curve["voltage"].tolist(), (1e3 * curve["current"]).tolist(), strict=True)
    (folder / "clipper.csv").write_text("V,I\n" + "".join(f"{v!r},{i!r}\n" for v, i in rows))

    assert main(["fit", str(file), "--json", "-o", str(output)]) == 0

    found = json.loads(capsys.readouterr().out)
    for name, true in TRUTH.items():
        entry = found["parameters"][name]
        assert entry["interval_95"][0] < true < entry["interval_95"][1], name
        assert entry["stderr"] < 0.3 * true
    assert any("final check in ngspice" in said and "tightened" in said for said in found["remarks"])
    assert found["provenance"]["engine"].startswith("ngspice")
    assert main(["fit", str(file)]) == 0
    assert "clipper: bench clipper.toml, 41 points" in capsys.readouterr().out
    # What is written is a table of the bench, and what cosim run takes.
    assert main(["run", str(folder / "clipper.toml"), "-p", str(output), "--json"]) == 0
    top = json.loads(capsys.readouterr().out)["measures"]["top"]["values"]
    assert main(["run", str(folder / "clipper.toml"), "--json"]) == 0
    assert top != json.loads(capsys.readouterr().out)["measures"]["top"]["values"]
    written = tomllib.loads(output.read_text())
    table = written["parameters"]["rp"]
    assert table == {"value": found["parameters"]["rp"]["value"], "unit": "Ohm"}
    again = CLIPPER.replace('rp = "20 Ohm"', f'rp = {{ value = {table["value"]!r}, unit = "{table["unit"]}" }}')
    (folder / "again.toml").write_text(again)
    assert Testbench.load(folder / "again.toml").file.parameters["rp"].value == table["value"]


def test_nothing_is_simulated_twice(folder: Path) -> None:
    (folder / "recipe.toml").write_text(RECIPE)
    recipe = FitRecipe.load(folder / "recipe.toml")
    curve = made(recipe, sweep(), TRUTH)
    first, second = extract(recipe, curve), extract(recipe, curve)
    assert isinstance(first.forward, CircuitForward)
    assert isinstance(second.forward, CircuitForward)
    assert first.forward.runs.simulated > 20
    assert second.forward.runs.simulated == 0
    assert dict(second.values) == dict(first.values)


def test_a_transient_follows_what_was_applied(folder: Path) -> None:
    """The stimulus is the measured one, from the recording's own zero of time."""
    t = np.linspace(0.0, 20e-6, 101)
    drive = np.where(np.arange(t.size) > 10, 0.2, 0.0)
    units = {"at": "s", "value": "V", "drive": "V"}
    blank = Recording("values", {"at": t + 5e-6, "value": t, "drive": drive}, units)
    circuit = {"bench": str(folder / "clipper.toml"), "read": "v(out)", "analysis": "time"}
    body: dict[str, Any] = {"name": "rc", "data": {"kind": "values"}, "circuit": circuit, "fit": {"vary": ("cl",)}}
    recipe = FitRecipe.model_validate(body)
    curve = made(recipe, blank, {"cl": 4e-9})
    # 0.2 V opens no diode: the answer is that of rs and cl, to which the edge of one row is a ramp.
    tau, ramp = 500.0 * 4e-9, t[11] - t[10]
    late = np.maximum(t - t[11], 0.0)
    law = 0.2 * (1.0 - tau / ramp * np.expm1(ramp / tau) * np.exp(-(late + ramp) / tau))
    np.testing.assert_allclose(curve.measured[12:], law[12:], atol=2e-3)  # the noise is 4e-4
    found = extract(recipe, curve)
    low, high = found.verdict["cl"].interval
    assert low < 4e-9 < high
    assert found.verdict.trustworthy

    both = recipe.model_copy(update={"fit": recipe.fit.model_copy(update={"vary": ("cl", "rs")})})
    doubtful = extract(both, curve)
    assert not {"identifiable"} & {row.verdict.status for row in doubtful.rows()}  # their product is


PULSES = """
title = "A memristor behind a resistor"
circuit = '''
Vd in 0 {stimulus.d}
Rs in te {rs}
Xm te 0 memristor w0={w0}
'''
[parameters]
rs = "1 Ohm"
w0 = 0.5
[devices.memristor]
parameters = "threshold_memristor:tio2"
[stimuli.d]
kind = "pulses"
amplitudes = ["1 V"]
shape = { width = "200 ns", rise = "5 ns", fall = "5 ns" }
[analysis]
kind = "tran"
stimulus = "d"
max_step = "40 ns"
[measures.conductance]
kind = "read-conductance"
current = "i(vd)"
stimulus = "d"
unit = "S"
[measures.state]
kind = "after-pulse"
of = "v(xm.w)"
stimulus = "d"
[maps.pulse]
device = "memristor"
inputs.amplitude = { stimulus = "d", range = ["-3.5 V", "3.5 V"] }
states.w = { parameter = "w0", measure = "state", range = [0, 1] }
outputs.g = "conductance"
"""


def train() -> Recording:
    from cosim.devices.pulse import PulseShape

    amplitude = np.random.default_rng(4).uniform(1.3, 2.4, 20) * np.resize([1.0, 1.0, -1.0, -1.0, -1.0], 20)
    return Recording.pulse_train(amplitude, np.zeros(20), v_read=0.2, shape=PulseShape(200e-9, 5e-9, 5e-9))


def test_a_series_resistance_is_no_part_of_the_device(tmp_path: Path) -> None:
    """The device alone, fitted to the same reads, leaves what the resistance does."""
    (tmp_path / "pulses.toml").write_text(PULSES)
    circuit = {"bench": str(tmp_path / "pulses.toml"), "read": "conductance", "drive": "d"}
    body: dict[str, Any] = {
        "name": "cell", "device": "threshold_memristor", "data": {"kind": "pulse train"}, "circuit": circuit,
        "start": {"sets": ["tio2"]}, "fit": {"vary": ("theta_p", "g_max", "rs"), "bounds": {"rs": (0.0, 1e5)}},
    }  # fmt: skip
    recipe = FitRecipe.model_validate(body)
    truth = {"theta_p": 1.35, "g_max": 240e-6, "rs": 600.0}
    curve = made(recipe, train(), truth)

    found = extract(recipe, curve)
    for row in found.rows():
        assert row.verdict.interval[0] < truth[row.name] < row.verdict.interval[1], row.name
    assert any("threshold_memristor alone" in said for said in found.verdict.sentences())
    # What belongs to the circuit is said to, and a set has what belongs to the device.
    made_set = found.parameter_set()
    assert made_set.values["theta_p"].value == found.values["theta_p"]
    assert any("rs = " in note and "not to the device" in note for note in made_set.notes)

    alone = extract(
        FitRecipe.model_validate({**body, "circuit": None, "fit": {"vary": ("theta_p", "g_max")}}), curve
    )  # fmt: skip
    assert alone.training_error > 3.0 * found.training_error


def test_events_of_a_map_are_fitted(tmp_path: Path) -> None:
    (tmp_path / "pulses.toml").write_text(PULSES)
    rng = np.random.default_rng(1)
    n = 12
    w, v = rng.uniform(0.1, 0.9, n), rng.uniform(1.4, 2.2, n) * rng.choice([-1.0, 1.0], n)
    columns = {"at": np.arange(float(n)), "value": np.zeros(n), "w": w, "amplitude": v}
    blank = Recording("values", columns, {"at": "1", "value": "1", "w": "1", "amplitude": "V"})
    circuit = {"bench": str(tmp_path / "pulses.toml"), "read": "w", "map": "pulse"}
    body: dict[str, Any] = {
        "name": "events", "device": "threshold_memristor", "data": {"kind": "values"}, "circuit": circuit,
        "fit": {"vary": ("theta_p",)},
    }  # fmt: skip
    recipe = FitRecipe.model_validate(body)
    curve = made(recipe, blank, {"theta_p": 1.3})
    found = extract(recipe, curve)
    low, high = found.verdict["theta_p"].interval
    assert low < 1.3 < high
    assert high - low < 0.1


def test_observations_share_a_circuit(folder: Path) -> None:
    """Two cells, one series resistance; a stage looks globally, the next one ends it."""
    circuit = {"bench": str(folder / "clipper.toml"), "read": "-i(v1)", "analysis": "sweep"}
    one = FitRecipe.model_validate(
        {"name": "x", "data": {"kind": "i-v"}, "circuit": circuit, "fit": {"vary": ("rp",)}}
    )  # fmt: skip
    curves = {name: made(one, sweep(0.0), {"rp": 60.0, "is1": size}) for name, size in (("A", 2e-13), ("B", 8e-13))}
    recipe = JointRecipe.model_validate({
        "name": "two", "device": "",
        "observations": [{"name": name, "kind": "i-v", "circuit": circuit} for name in curves],
        "parameters": {"rp": {}, "is1": {"scope": "own", "bounds": (1e-15, 1e-10)}},
        "stages": [{"title": "is1", "vary": ("is1",), "method": "nelder"}, {"title": "all"}],
    })  # fmt: skip
    found = extract_joint(recipe, curves)
    rows = {row.name: row.verdict.interval for row in found.rows()}
    assert rows["rp"][0] < 60.0 < rows["rp"][1]
    assert rows["is1[A]"][0] < 2e-13 < rows["is1[A]"][1]
    assert rows["is1[B]"][0] < 8e-13 < rows["is1[B]"][1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"circuit": {"read": "v(nowhere)"}}, "v(nowhere)"),
        ({"circuit": {"read": "power"}}, "unknown measure 'power' of bench clipper"),
        ({"circuit": {"analysis": "ac"}}, "unknown analysis 'ac' of bench clipper"),
        ({"circuit": {"analysis": None}}, "write circuit.analysis, one of sweep, time"),
        ({"circuit": {"read": "v(out)"}}, "v(out) of bench clipper is in V, and the measured column in A"),
        ({"circuit": {"drive": "drive"}}, "has no time, along which a stimulus could follow it"),
        ({"circuit": {"drive": "ramp"}}, "unknown stimulus 'ramp' of bench clipper"),
        ({"circuit": {"analysis": "time"}}, "has no time, along which the transient of bench clipper could be read"),
        ({"circuit": {"read": "top", "analysis": "time"}}, "in V, and the measured column in A"),
        ({"circuit": {"device": "memristor"}}, "circuit.device needs the recipe's device"),
        ({"device": "vteam"}, "bench clipper has no device of vteam"),
        ({"fit": {"vary": ("r_on",)}}, "r_on"),
        ({"fit": {"vary": ("rp",), "bounds": {"rp": (-5.0, 5.0)}}}, "beyond its physical range"),
        ({"start": {"sets": ["tio2"]}}, "start.sets needs the recipe's device"),
        ({"circuit": None}, "device"),
        ({"noise": {"step": "fit"}}, "noise.step is for pulse trains"),
    ],
    ids=str,
)
def test_what_cannot_be_fitted_is_said(folder: Path, changes: dict[str, Any], said: str) -> None:
    body = {**tomllib.loads(RECIPE)}
    for key, value in changes.items():
        body[key] = {**body.get(key, {}), **value} if key == "circuit" and value is not None else value
    from tomli_w import dumps

    def clean(table: dict[str, Any]) -> dict[str, Any]:
        return {k: clean(v) if isinstance(v, dict) else v for k, v in table.items() if v is not None}

    (folder / "recipe.toml").write_text(dumps(clean(body)))
    curve = sweep().with_measured(np.linspace(-1e-3, 1e-3, 41))
    with pytest.raises(CosimError) as caught:
        extract(FitRecipe.load(folder / "recipe.toml"), curve)
    assert said in str(caught.value)


def test_a_circuit_that_does_not_run_is_said_with_its_reason(folder: Path) -> None:
    (folder / "clipper.toml").write_text(CLIPPER.replace("R2 a 0 {rp}", "R2 a 0 {rq}"))
    (folder / "recipe.toml").write_text(RECIPE)
    with pytest.raises(CosimError, match=r"bench clipper gives no curve at the start: .*rq"):
        extract(FitRecipe.load(folder / "recipe.toml"), sweep().with_measured(np.linspace(-1e-3, 1e-3, 41)))


def test_a_column_that_the_circuit_does_not_take_is_refused(folder: Path) -> None:
    (folder / "recipe.toml").write_text(RECIPE)
    curve = sweep().with_measured(np.linspace(-1e-3, 1e-3, 41))
    columns, units = {**curve.columns, "gate": np.ones(41)}, {**curve.units, "gate": "V"}
    with pytest.raises(CosimError, match=r"unknown stimulus 'gate' of bench clipper \(a further column"):
        extract(FitRecipe.load(folder / "recipe.toml"), curve.with_(columns=columns, units=units))


def test_values_alone_say_nothing_of_a_device(folder: Path) -> None:
    text = 'name = "x"\ndevice = "vteam"\n[data]\nkind = "values"\nfile = "a.csv"\n[fit]\nvary = ["k_on"]\n'
    (folder / "recipe.toml").write_text(text)
    with pytest.raises(CosimError, match=r"says nothing of a device alone.*name the bench"):
        load_recipe(folder / "recipe.toml")


def test_a_sweep_that_no_grid_follows_is_fine_enough(folder: Path) -> None:
    """Measured voltages scatter: the sweep between them must not be seen in the fit."""
    (folder / "recipe.toml").write_text(RECIPE)
    recipe = FitRecipe.load(folder / "recipe.toml")
    even = sweep()
    v: Array = even["voltage"] + np.random.default_rng(0).uniform(-0.01, 0.01, len(even))
    smooth = made(recipe, even, TRUTH, noise=0.0)
    scattered = made(recipe, Recording.i_v(v, np.zeros(v.size)), TRUTH, noise=0.0)
    from scipy.interpolate import CubicSpline

    fine = made(recipe, sweep(n=2001), TRUTH, noise=0.0)
    inside = np.abs(v) < 2.0
    expected = CubicSpline(fine["voltage"], fine.measured)(v[inside])
    np.testing.assert_allclose(scattered.measured[inside], expected, atol=1e-4 * np.ptp(smooth.measured))
