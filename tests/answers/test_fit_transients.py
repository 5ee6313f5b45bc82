"""Transients of devices with several states or ports."""

from __future__ import annotations

import numpy as np
import pytest

from cosim.data.recording import Recording
from cosim.devices.base import Values
from cosim.devices.integrate import integrate
from cosim.devices.registry import device
from cosim.errors import InputError
from cosim.fitting.extract import extract
from cosim.fitting.forwards.transient import TransientForward
from cosim.fitting.recipe import FitRecipe
from cosim.parameters import ParameterSet

UNITS = {"time": "s", "voltage": "V", "current": "A", "heater": "V"}


def recorded(noise: float = 0.005) -> tuple[Recording, Values]:
    """A thermal ReRAM under SET pulses of cell and heater, from scipy's integrator: another one than the fit's."""
    model = device("thermal_reram")
    p = model.defaults()
    t = np.array([0.0, 0.02, 0.2, 0.22, 0.4, 0.42, 0.6, 0.62, 0.8, 0.82, 1.0]) * 1e-6
    top = 1.02 * model.drive_level(p)
    cell = top * np.array([0.1, 1, 1, 0.1, 0.1, 1, 1, 0.1, 0.1, 1, 1])
    heater = 0.25 * np.array([0, 1, 1, 1, 1, 1, 1, 0, 0, 0.5, 0.5])
    fine = np.unique(np.concatenate([t, np.linspace(0.0, 1e-6, 11)]))
    drives = {"cell": np.interp(fine, t, cell), "heater": np.interp(fine, t, heater)}
    # without a contact no heat flows through the thermal port: it is open, as a fit takes one without a column
    current = integrate(model, p.with_(contact=0.0), t=fine, across=drives).through["cell"]
    current = current * (1.0 + noise * np.random.default_rng(0).standard_normal(fine.size))
    columns = {"time": fine, "voltage": drives["cell"], "current": current, "heater": drives["heater"]}
    return Recording("transient", columns, UNITS), p


def recipe(
    kind: str = "transient", name: str = "thermal_reram", vary: tuple[str, ...] = ("a_set", "g_max")
) -> FitRecipe:
    start = {"values": {"a_set": 0.15}} if "a_set" in vary else {}
    noise = {"relative": 0.005}
    body = {"name": "t", "device": name, "data": {"kind": kind}, "fit": {"vary": vary}, "start": start, "noise": noise}
    return FitRecipe.model_validate(body)


def test_all_states_are_followed() -> None:
    curve, p = recorded()
    found = extract(recipe(), curve)
    for row in found.rows():
        assert abs(row.value - p[row.name]) < 4.0 * row.stderr
        assert row.stderr < 0.05 * p[row.name]
    assert found.verdict.trustworthy, found.verdict.sentences()


def test_it_is_what_another_integrator_gives() -> None:
    curve, p = recorded(0.0)

    predicted = TransientForward(device("thermal_reram"), curve, np.ones(len(curve), dtype=bool)).predict(p)
    # steps to 1e-5 of each state's usual range
    np.testing.assert_allclose(predicted, curve.measured, rtol=1e-3)


def test_a_port_that_nobody_named_is_asked_for() -> None:
    curve, _ = recorded()
    columns = {name: column for name, column in curve.columns.items() if name != "heater"}
    with pytest.raises(InputError, match="that of cell or heater of thermal_reram; give a column"):
        extract(recipe(), curve.with_(columns=columns, fingerprint=""))


def test_the_refusal_of_a_loop_names_the_kind_to_use() -> None:
    curve, _ = recorded()
    loop = Recording.loop(curve["time"], curve["voltage"], curve.measured)
    with pytest.raises(InputError, match="kind = 'transient'"):
        extract(recipe("loop"), loop)


def test_the_events_of_an_ecram_are_followed() -> None:
    """Spikes at the gate and rests, read at the channel; from 5 % off, one linear step finds the parameters again."""
    model, p = device("ecram"), ParameterSet.load("ecram:fast").resolved()
    spikes = np.add.outer(np.array([1.0, 3.0, 30.0]) * 1e-6, np.array([0.0, 1e-9, 11e-9, 12e-9])).ravel()
    t = np.unique(np.concatenate([spikes, np.linspace(0.0, 60e-6, 13)]))
    drives = {"gate": np.interp(t, spikes, np.tile([0.0, 1.2, 1.2, 0.0], 3)), "channel": np.full(t.size, 0.1)}
    current = integrate(model, p, t=t, across=drives).through["channel"]
    columns = {"time": t, "voltage": drives["channel"], "current": current, "gate": drives["gate"]}
    curve = Recording("transient", columns, {"time": "s", "voltage": "V", "current": "A", "gate": "V"})
    forward = TransientForward(model, curve, np.ones(t.size, dtype=bool))
    names = ["tau_fast", "dr"]
    predicted, slope = forward.linearise(p.with_(tau_fast=1.05 * p.tau_fast, dr=1.05 * p.dr), names)
    step = np.linalg.lstsq(slope.T, current - predicted, rcond=None)[0]
    for name, change in zip(names, step, strict=True):
        # the second order of 5 % is 0.25 %, and steps to 1e-5
        assert 1.05 * p[name] + change == pytest.approx(p[name], rel=0.01), name


def _compiled_or_not(monkeypatch: pytest.MonkeyPatch, compiled: bool) -> tuple[np.ndarray, np.ndarray]:
    curve, p = recorded(0.0)
    monkeypatch.setattr("cosim.fitting.forwards.transient.LONG", 0 if compiled else 10**9)
    forward = TransientForward(device("thermal_reram"), curve, np.ones(len(curve), dtype=bool))
    assert (forward._texts is not None) is compiled
    return forward.linearise(p, ("a_set", "tau_slow"))


@pytest.mark.needs("numba")
def test_compiled_rates_take_the_same_course(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (_compiled_or_not(monkeypatch, compiled) for compiled in (True, False))
    np.testing.assert_allclose(one[0], other[0], rtol=1e-4)  # steps of 1e-5 each
    for row, expected in zip(one[1], other[1], strict=True):
        # of other steps, whose errors add up along the recording
        np.testing.assert_allclose(row, expected, atol=5e-3 * np.max(np.abs(expected)))


@pytest.mark.needs("numba")
def test_a_long_recording_of_an_ecram_takes_milliseconds() -> None:
    """Compiled once; in numpy a prediction of these 25 rows takes half a second."""
    import time

    model, p = device("ecram"), ParameterSet.load("ecram:fast").resolved()
    spikes = np.add.outer(np.array([1.0, 3.0, 30.0]) * 1e-6, np.array([0.0, 1e-9, 11e-9, 12e-9])).ravel()
    t = np.unique(np.concatenate([spikes, np.linspace(0.0, 60e-6, 13)]))
    gate = np.interp(t, spikes, np.tile([0.0, 1.2, 1.2, 0.0], 3))
    columns = {"time": t, "voltage": np.full(t.size, 0.1), "current": np.zeros(t.size), "gate": gate}
    curve = Recording("transient", columns, {"time": "s", "voltage": "V", "current": "A", "gate": "V"})
    forward = TransientForward(model, curve, np.ones(t.size, dtype=bool))
    forward.predict(p)
    began = time.process_time()
    forward.predict(p.with_(dr=1.01 * p.dr))
    assert time.process_time() - began < 0.05  # 1 ms on an idle machine


def test_the_rise_under_a_heater_is_that_of_two_poles() -> None:
    """Against the closed form, at an open thermal port; the columns are those of a heat solver's step response."""
    model = device("thermal_reram")
    p = model.defaults()
    t = np.concatenate([[0.0], np.geomspace(1e-10, 5e-6, 40)])
    columns = {"time": t, "heater": np.full(t.size, 0.1), "read_rise": np.zeros(t.size)}
    curve = Recording("transient", columns, {"time": "s", "heater": "V", "read_rise": "K"})
    found = TransientForward(model, curve, np.ones(t.size, dtype=bool)).predict(p)
    power = 0.1**2 / p.r_heater
    poles = ((p.r_fast, p.tau_fast), (p.r_slow, p.tau_slow))
    np.testing.assert_allclose(found, power * sum(r * -np.expm1(-t / tau) for r, tau in poles), atol=2e-4)
    volts = curve.with_(units={**curve.units, "read_rise": "V"}, fingerprint="")
    with pytest.raises(InputError, match=r"'read_rise' in V is nothing .* read_temperature \(K\)"):
        TransientForward(model, volts, np.ones(t.size, dtype=bool))
