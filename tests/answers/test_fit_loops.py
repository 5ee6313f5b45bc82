"""Loops in time: what a sweep that moves the state determines, and what it does not."""

from __future__ import annotations

import numpy as np
import pytest

from cosim.bench.measures import waveforms
from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.data.recording import Curve
from cosim.devices.integrate import integrate
from cosim.devices.registry import device, devices
from cosim.engines.registry import open_simulator
from cosim.errors import DataError, InputError
from cosim.fitting.extract import extract
from cosim.fitting.forward import forward_for
from cosim.fitting.forwards.loop import LoopForward
from cosim.fitting.recipe import FitRecipe

TRUTH = {
    "vteam": {
        "v_off": 0.6, "v_on": -0.7, "k_off": 1.2e-8, "k_on": -3e-8, "alpha_off": 1.5, "alpha_on": 2.0, "r_on": 1e3,
        "r_off": 2e4, "x0": 0.4,
    },
    "yakopcic": {
        "a1": 2e-3, "a2": 1.5e-3, "b": 1.2, "v_p": 0.5, "v_n": 0.4, "a_p": 6.0, "a_n": 8.0, "x_p": 0.3, "x_n": 0.5,
        "alpha_p": 1.0, "alpha_n": 5.0, "eta": 1.0, "x0": 0.11,
    },
}  # fmt: skip
# What a user knows of such devices beforehand: exponents and windows.
HELD = {"vteam": ("alpha_off", "alpha_on"), "yakopcic": ("x_p", "x_n", "alpha_p", "alpha_n", "eta")}
BENCH = """
title = "A loop of growing amplitude"
netlist = "memristor_loop.cir"
circuit = '''
Xl te loop
Vdrive te more SIN(0 0.84 1)
Vmore more 0 SIN(0 0.56 1 2)
'''

[devices.memristor]
parameters = "set.toml"

[analysis]
kind = "tran"
stop = "4 s"
max_step = "1 ms"

[measures.pinch]
kind = "pinch"
voltage = "v(te)"
current = "i(v.xl.vammeter)"
"""
ROWS = 2000


def vary(name: str) -> list[str]:
    return [parameter for parameter in TRUTH[name] if parameter not in HELD[name]]


def recipe(name: str, path=None, **parts) -> FitRecipe:
    columns = {key: {"name": key} for key in ("time", "voltage", "current")}
    body = {
        "name": "mine", "device": name, "data": {"kind": "loop", "file": path and str(path), "columns": columns},
        "start": {"values": {key: TRUTH[name][key] for key in HELD[name]}}, "fit": {"vary": vary(name)},
    }  # fmt: skip
    return FitRecipe.model_validate({**body, **parts})


@pytest.mark.spice
@pytest.mark.parametrize("name", TRUTH)
def test_a_loop_made_in_ngspice_gives_its_parameters_back(name, tmp_path):
    """1 % noise: every identifiable parameter within 5 % and inside its interval, from a CSV file."""
    text = "".join(f"{key} = {value!r}\n" for key, value in TRUTH[name].items())
    (tmp_path / "set.toml").write_text(f'device = "{name}"\n[sets.mine]\nsource = "own"\n[sets.mine.values]\n{text}')
    (tmp_path / "bench.toml").write_text(BENCH)
    with open_simulator("ngspice") as simulator:
        data = Testbench.load(tmp_path / "bench.toml").run(simulator).waveforms
    t = np.linspace(0.0, 4.0, ROWS)
    v, current = (waveforms.sample(data, vector, at=t) for vector in ("v(te)", "i(v.xl.vammeter)"))
    noisy = current + 0.01 * np.ptp(current) * np.random.default_rng(0).standard_normal(ROWS)
    rows = "".join(f"{a:.9g},{b:.9g},{c:.9g}\n" for a, b, c in zip(t, v, noisy, strict=True))
    (tmp_path / "loop.csv").write_text("time (s),voltage (V),current (A)\n" + rows)

    found = extract(recipe(name, tmp_path / "loop.csv"))
    assert found.verdict.residuals.white, found.verdict.sentences()
    good = [entry for entry in found.verdict.parameters if entry.status == "identifiable"]
    assert len(good) >= 5
    for entry in good:
        assert found.values[entry.name] == pytest.approx(TRUTH[name][entry.name], rel=0.05), entry
        assert entry.interval[0] <= TRUTH[name][entry.name] <= entry.interval[1], entry


FOLLOWED = [n for n in devices() if device(n).states and len(device(n).ports) == 1]


def swept(name: str, p, *, rows: int = 200) -> Curve:
    """One and a half periods of a sine at which the device moves well, with the current of the numpy device."""
    model = device(name)
    t = np.linspace(0.0, 12.0 * model.pulse_width(p), rows)
    v = model.drive_level(p) * np.sin(3.0 * np.pi * t / t[-1])
    path = integrate(model, p, t=t, across={model.ports[0].name: v}, rtol=1e-7)
    return Curve.loop(t, v, path.through[model.ports[0].name])


@pytest.mark.parametrize("name", FOLLOWED)
def test_every_device_with_one_state_is_followed(name):
    """The prediction is scipy's, and its derivative by a current's scale or an initial state is that of differences."""
    model = device(name)
    initial = model.states[0].initial
    p = model.defaults().with_(**{initial: 0.4})
    curve = swept(name, p)
    forward = forward_for(model, curve, np.ones(len(curve), dtype=bool))
    span = float(np.ptp(curve["current"]))
    assert np.sqrt(np.mean((forward.predict(p) - curve["current"]) ** 2)) < 2e-3 * span
    initial = model.states[0].initial
    slope, step = forward.linearise(p, [initial])[1][0], 1e-5
    ends = [
        LoopForward(model, curve, forward.fitted).predict(p.with_(**{initial: p[initial] + s})) for s in (step, -step)
    ]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2.0 * step), atol=2e-3 * np.abs(slope).max())


def test_a_static_recipe_on_a_loop_says_what_to_use():
    p = device("vteam").values(TRUTH["vteam"])
    t = np.linspace(0.0, 2.0, 400)
    v = 1.2 * np.sin(np.pi * t)
    current = integrate(device("vteam"), p, t=t, across={"pn": v}, rtol=1e-6).through["pn"]
    static = recipe("vteam", data={"kind": "i-v"}, fit={"vary": ["r_on"]})
    with pytest.raises(DataError, match=r"the curve is a loop: .*write kind = 'loop' and columns.time"):
        extract(static, Curve.i_v(v, current))
    with pytest.raises(DataError, match=r"opposite sign .*columns\.current\.sign = -1"):
        extract(recipe("vteam"), Curve.loop(t, v, -current))


@pytest.mark.parametrize(
    ("name", "time", "message"),
    [
        ("vteam", [0.0, 1.0, 1.0, 2.0], r"the time of row 3, 1 s, is not later than the one before it, 1 s"),
        ("access_transistor", [0.0, 1.0, 2.0, 3.0], r"access_transistor has no state.*write kind = 'i-v'"),
        ("ecram", [0.0, 1.0, 2.0, 3.0], r"ecram has ports gate, channel.*needs a device with two terminals"),
    ],
)
def test_what_cannot_be_followed_is_refused(name, time, message):
    curve = Curve.loop(time, [0.0, 1.0, 0.5, -1.0], [0.0, 1e-3, 1e-3, -1e-3])
    with pytest.raises((DataError, InputError), match=message):
        forward_for(device(name), curve, np.ones(4, dtype=bool))


def test_rows_too_far_apart_are_said():
    """A state that crosses its range between two rows: what halving the steps changes is in the remarks."""
    p = device("yakopcic").values(TRUTH["yakopcic"])
    t = np.linspace(0.0, 1.0, 1000)
    coarse = LoopForward(device("yakopcic"), Curve.loop(t, 1.4 * np.sin(7.0 * t), t), np.ones(t.size, dtype=bool))
    assert coarse.remarks((), p) == ()
    fast = p.with_(a_p=6e3, a_n=8e3)
    assert "halving the integration steps changes the current" in " ".join(coarse.remarks((), fast))


@pytest.mark.parametrize("current", [1e-9, 1e-6])
def test_a_small_scale_has_its_own_derivative(current):
    """Of a current scale of 1 nA, whose bounds reach from zero to 1000 A, differences were wider than its value."""
    model, t = device("yakopcic"), np.linspace(0.0, 1.0, 60)
    p = model.values({**TRUTH["yakopcic"], "a1": current, "a2": current})
    curve = Curve.loop(t, 1.2 * np.sin(6.0 * t), t)
    forward = forward_for(model, curve, np.ones(60, dtype=bool))
    predicted, slopes = forward.linearise(p, ["a1", "a2"])
    np.testing.assert_allclose(current * slopes.sum(axis=0), predicted, rtol=1e-6, atol=1e-9 * current)


def test_a_loop_is_fitted_and_reported_from_the_command_line(tmp_path, capsys):
    p = device("yakopcic").values(TRUTH["yakopcic"])
    t = np.linspace(0.0, 2.0, 300)
    v = 1.3 * np.sin(2.0 * np.pi * t)
    current = integrate(device("yakopcic"), p, t=t, across={"pn": v}, rtol=1e-6).through["pn"]
    current = current + 1e-5 * np.random.default_rng(1).standard_normal(300)
    rows = "".join(f"{a:.9g},{b:.9g},{c:.9g}\n" for a, b, c in zip(1e3 * t, v, current, strict=True))
    (tmp_path / "loop.csv").write_text("t (ms),V (V),I (A)\n" + rows)
    (tmp_path / "fit.toml").write_text(
        'name = "mine"\ndevice = "yakopcic"\n[data]\nkind = "loop"\nfile = "loop.csv"\ncolumns.time = { name = "t" }\n'
        'columns.voltage = { name = "V" }\ncolumns.current = { name = "I" }\n[fit]\nvary = ["a1", "a2", "a_p", "a_n"]\n'
        '[start.values]\nb = 1.2\nv_p = 0.5\nv_n = 0.4\n'
    )  # fmt: skip
    assert main(["fit", str(tmp_path / "fit.toml"), "--output", str(tmp_path / "out.toml")]) == 0
    assert "4 of 4 parameters identifiable" in capsys.readouterr().out
