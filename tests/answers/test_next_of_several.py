"""What to measure next after a fit of several recordings, or through a netlist: made by the virtual laboratory."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import cosim
from cosim.cli.app import main
from cosim.data.recording import Recording
from cosim.devices.base import Values
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import device
from cosim.errors import InputError
from cosim.fitting.extract import extract
from cosim.fitting.forwards.pulse_train import PulseTrainForward
from cosim.fitting.joint import extract_joint
from cosim.fitting.joint_recipe import JointRecipe
from cosim.fitting.joint_result import JointResult
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.result import FitResult
from cosim.fitting.trajectory import accumulate
from cosim.parameters import ParameterSet

CELL, TRUTH = device("threshold_memristor"), ParameterSet.load("tio2").resolved()
SHAPE = PulseShape(200e-9, rise=5e-9, fall=5e-9)
NOISE, TRIES, HALF = 0.01, 2, 0.5
THETA = {"A": 1.42, "B": 1.46, "C": 1.45}


def read(p: Values, amplitudes: np.ndarray, *, seed: int) -> Recording:
    """What an instrument reads after pulses on a cell."""
    n = amplitudes.size
    blank = Recording.pulse_train(amplitudes, np.ones(n) * 1e-6, v_read=0.1, shape=SHAPE)
    clean = PulseTrainForward(CELL, blank, np.ones(n, dtype=bool)).predict(p)
    return blank.with_measured(clean + NOISE * p.g_max * np.random.default_rng(seed).standard_normal(n))


def weak(seed: int, n: int = 60) -> np.ndarray:
    """Pulses that hardly leave the dead zone on one side."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < 0.5, rng.uniform(-1.55, 0.0, n), rng.uniform(0.0, 1.9, n))


BODY = {
    "name": "three", "device": "threshold_memristor", "start": {"sets": ["tio2"], "values": {"alpha_p": 0.5}},
    "observations": [{"name": f"train {name}", "kind": "pulse train", "labels": {"device": name}} for name in THETA],
    "parameters": {"alpha_p": {}, "gamma_p": {}, "theta_p": {"scope": "own"}},
}  # fmt: skip


def width(fit: JointResult | FitResult, name: str, bounds: tuple[float, float]) -> float:
    """Of the 95 % interval, an open end at the bound."""
    low, high = next(row.verdict.interval for row in fit.rows() if row.name == name)
    ends = [bound if not math.isfinite(end) else end for end, bound in zip((low, high), bounds, strict=True)]
    return ends[1] - ends[0]


def test_the_measurement_proposed_for_three_devices_halves_the_widest_interval() -> None:
    seed = 0
    recipe = JointRecipe.model_validate(BODY)
    amplitudes = {f"train {name}": weak(10 * seed + k) for k, name in enumerate(THETA)}
    p = {f"train {name}": TRUTH.with_(theta_p=theta) for name, theta in THETA.items()}
    data = {name: read(p[name], a, seed=seed) for name, a in amplitudes.items()}
    found = extract_joint(recipe, data)
    first = cosim.next_measurement(found)
    assert first is not None
    assert f"on the device as {first.observation} left it" in str(first)
    bounds = found.stages[-1].problem.bounds[first.parameter]
    before = width(found, first.parameter, bounds)
    for k in range(TRIES):
        proposal = cosim.next_measurement(found)
        assert proposal is not None
        joined = proposal.design.after(data[proposal.observation])
        new = read(p[proposal.observation], joined["amplitude"], seed=100 * seed + k).measured[-len(proposal.design) :]
        data = {**data, proposal.observation: proposal.design.after(data[proposal.observation], new)}
        found = extract_joint(recipe, data)
        if width(found, first.parameter, bounds) <= HALF * before:
            break
    assert width(found, first.parameter, bounds) <= HALF * before
    low, high = next(row.verdict.interval for row in found.rows() if row.name == first.parameter)
    name, _, group = first.parameter.rstrip("]").partition("[")
    assert low <= (THETA[group] if group else float(TRUTH[name])) <= high


def test_the_device_that_bears_the_open_parameter_is_continued() -> None:
    """Two cells are known well; of the third nothing was applied that reaches its threshold."""
    rng = np.random.default_rng(5)
    amplitudes = {f"train {name}": rng.uniform(-2.4, 2.4, 60) for name in THETA}
    amplitudes["train B"] = np.where(amplitudes["train B"] < 0.0, 0.58, 1.0) * amplitudes["train B"]
    data = {name: read(TRUTH, a, seed=3) for name, a in amplitudes.items()}
    recipe = JointRecipe.model_validate(BODY)
    proposal = cosim.next_measurement(extract_joint(recipe, data))
    assert proposal is not None
    assert (proposal.parameter, proposal.observation) == ("theta_p[B]", "train B")


def test_the_shell_says_and_writes_what_to_measure_of_several(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["Chip,V,G"]
    for k, (name, theta) in enumerate(THETA.items()):
        curve = read(TRUTH.with_(theta_p=theta), weak(k), seed=0)
        lines += [
            f"{name},{v!r},{g!r}"
            for v, g in zip(curve["amplitude"].tolist(), (1e6 * curve.measured).tolist(), strict=True)
        ]
    (tmp_path / "trains.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "three.toml").write_text(
        """
name = "three"
device = "threshold_memristor"
start = { sets = ["tio2"], values = { alpha_p = 0.5 } }
[[observations]]
name = "train"
kind = "pulse train"
file = "trains.csv"
groups.device = "Chip"
columns.amplitude = { name = "V", unit = "V" }
columns.read = { name = "G", unit = "uS" }
conditions = { v_read = "0.1 V", width = "200 ns", rise = "5 ns", fall = "5 ns" }
[parameters]
alpha_p = {}
gamma_p = {}
theta_p = { scope = "own" }
"""
    )
    out = tmp_path / "next.csv"
    assert main(["fit", str(tmp_path / "three.toml"), "--next", str(out)]) == 0
    said = capsys.readouterr().out
    assert "next        " in said
    assert "on the device as train/" in said
    rows = out.read_text().splitlines()
    assert rows[0] == "amplitude (V)"
    assert len(rows) == 101


def test_sensitivities_by_nothing_touch_no_memory() -> None:
    """LAPACK's wrapper writes beyond an array without columns; a glance at a fit of several devices asks for none."""
    for _ in range(200):
        assert accumulate(np.full(60, -0.5), np.zeros((61, 0))).shape == (61, 0)


# --- through a netlist ----------------------------------------------------------------------------------------------

DIVIDER = """
title = "A diode behind a probe"
circuit = '''
V1 in 0 dc 0
R1 in out {rs}
D1 out 0 up
.model up D(is={is1} n=1.6)
'''
[parameters]
rs = "500 Ohm"
is1 = "1e-12 A"
[analyses.sweep]
kind = "dc"
source = "V1"
start = "-1 V"
stop = "1 V"
step = "0.5 V"
"""


OPEN = {"rs": 120.0, "is1": 3e-12}


@pytest.fixture
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSIM_CACHE", str(tmp_path / "cache"))


def divider(folder: Path) -> FitRecipe:
    (folder / "divider.toml").write_text(DIVIDER)
    body = {
        "name": "divider", "data": {"kind": "i-v"}, "path": folder / "recipe.toml",
        "circuit": {"bench": "divider.toml", "read": "-i(v1)", "workers": 2},
        "fit": {"vary": ("rs", "is1"), "bounds": {"rs": (10.0, 1e4)}},
    }  # fmt: skip
    return FitRecipe.model_validate(body)


def through(recipe: FitRecipe, blank: Recording, sigma: float, *, seed: int) -> Recording:
    """What the bench gives at other values than those that the fit starts from, with noise."""
    forward = recipe.forward_of(blank, np.ones(len(blank), dtype=bool), recipe.ramps)
    p = Values({entry.name: entry.default for entry in forward.params}).with_(**OPEN)
    return blank.with_measured(forward.predict(p) + sigma * np.random.default_rng(seed).standard_normal(len(blank)))


@pytest.mark.spice
@pytest.mark.usefixtures("_own_cache")
def test_the_measurement_proposed_through_a_netlist_halves_the_widest_interval(tmp_path: Path) -> None:
    """A diode behind a probe, in SPICE: both are told by a sweep that hardly reaches the knee, but badly."""
    recipe, sigma = divider(tmp_path), 2e-7
    v = np.linspace(0.0, 0.62, 21)
    curve = through(recipe, Recording.i_v(v, 0.0 * v), sigma, seed=1)
    found = extract(recipe, curve)
    assert found.proposal is None  # it takes simulations, and is made when asked for
    proposal = cosim.next_measurement(found)
    assert proposal is not None
    name, bounds = proposal.parameter, dict(found.bounds)[proposal.parameter]
    joined = proposal.design.after(curve)
    new = through(recipe, joined, sigma, seed=2).measured[len(curve) :]
    again = extract(recipe, proposal.design.after(curve, new))
    assert width(again, name, bounds) <= HALF * width(found, name, bounds)
    low, high = again.verdict[name].interval
    assert low <= OPEN[name] <= high


@pytest.mark.spice
@pytest.mark.usefixtures("_own_cache")
def test_few_designs_are_simulated(tmp_path: Path) -> None:
    """Of 65 trains for a cell behind its transistor, six are simulated; the device alone says which are worth it."""
    n = 30
    body = {
        "name": "cell", "device": "threshold_memristor", "data": {"kind": "pulse train"},
        "circuit": {"bench": "1t1r_random_pulses", "read": "conductance", "drive": "bl", "workers": 2},
        "start": {"sets": ["tio2"]}, "fit": {"vary": ("theta_p", "alpha_p")},
    }  # fmt: skip
    recipe = FitRecipe.model_validate(body)
    a = np.random.default_rng(0).uniform(-2.0, 1.6, n)
    blank = Recording.pulse_train(a, np.linspace(1e-6, 1e-5, n), v_read=0.2, shape=SHAPE)
    forward = recipe.forward_of(blank, np.ones(n, dtype=bool), recipe.ramps)
    clean = forward.predict(Values({entry.name: entry.default for entry in forward.params}))
    noise = 0.01 * float(np.ptp(clean)) * np.random.default_rng(1).standard_normal(n)
    found = extract(recipe, blank.with_measured(clean + noise))
    from cosim.fitting.study import SIMULATED, Study

    study = Study(found, rows=20)
    told = study.judged(reach=1.0)
    assert len(told) == SIMULATED
    assert min(one.after for one in told) < told[0].before
    assert len(study.judged(reach=1.0)) <= 2 * SIMULATED


@pytest.mark.spice
def test_a_bench_that_nothing_drives_is_refused(tmp_path: Path) -> None:
    """A measure of a bench with its own stimuli knows nothing of further rows."""
    (tmp_path / "own.toml").write_text(
        DIVIDER.replace("V1 in 0 dc 0", "V1 in 0 pwl(0 0 1m 1)").replace(
            '[analyses.sweep]\nkind = "dc"\nsource = "V1"\nstart = "-1 V"\nstop = "1 V"\nstep = "0.5 V"',
            '[analyses.time]\nkind = "tran"\nstop = "1 ms"\nmax_step = "10 us"',
        )
    )
    body = {
        "name": "own", "data": {"kind": "transient"}, "path": tmp_path / "recipe.toml",
        "circuit": {"bench": "own.toml", "read": "-i(v1)", "workers": 2}, "fit": {"vary": ("rs",)},
    }  # fmt: skip
    recipe = FitRecipe.model_validate(body)
    t = np.linspace(0.0, 1e-3, 21)
    blank = Recording(
        "transient", {"time": t, "voltage": 1e3 * t, "current": 0.0 * t}, {"time": "s", "voltage": "V", "current": "A"}
    )
    forward = recipe.forward_of(blank, np.ones(21, dtype=bool), recipe.ramps)
    p = Values({entry.name: entry.default for entry in forward.params})
    clean = forward.predict(p)
    found = extract(recipe, blank.with_measured(clean + 1e-6 * np.random.default_rng(1).standard_normal(21)))
    with pytest.raises(InputError, match="its bench is driven by nothing of the recording"):
        cosim.next_measurement(found)
