"""What several helpers of a fit decide together: limits, varying steps, candidates, and searches that do not end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cosim.data.recording import Curve
from cosim.devices.base import Values
from cosim.devices.pulse import PulseShape, apply_pulse
from cosim.devices.registry import device
from cosim.errors import FitError, InputError
from cosim.fitting import process
from cosim.fitting.extract import extract
from cosim.fitting.recipe import FitRecipe

MEMRISTOR, ACCESS = device("threshold_memristor"), device("access_transistor")
TRUTH = MEMRISTOR.values({"theta_p": 1.1, "theta_n": 1.2, "g_max": 120e-6, "w0": 0.4})


def recipe(curve: Curve, vary: tuple[str, ...], model: str, **more: Any) -> FitRecipe:
    data = {"kind": curve.kind, **more.pop("data", {})}
    return FitRecipe.model_validate({"name": "t", "device": model, "data": data, "fit": {"vary": vary}, **more})


def sweep() -> Curve:
    v = np.linspace(-1.5, 1.5, 80)
    current = ACCESS.current(v, ACCESS.values({"g_on": 4e-3, "v_sat": 2.0, "v_c": 2.5}))
    return Curve.i_v(v, current + 2e-6 * np.random.default_rng(2).standard_normal(v.size))


def train(*, step: float = 0.3, n: int = 120) -> Curve:
    rng = np.random.default_rng(6)
    v, w, reads = rng.uniform(0.0, 2.4, n) * rng.choice([-1.0, 1.0], n), float(TRUTH.w0), []
    for amplitude in v:
        after = float(apply_pulse(MEMRISTOR, TRUTH, v=amplitude, w=w, shape=PulseShape())[0])
        w = float(np.clip(w + (after - w) * (1.0 + step * rng.standard_normal()), 0.0, 1.0))
        reads.append(float(MEMRISTOR.conductance(Values({"w": w}), TRUTH)))
    return Curve.pulse_train(v, reads + 1.2e-6 * rng.standard_normal(n), v_read=0.2, shape=PulseShape())


def test_noise_of_steps_is_refused_where_there_are_none():
    which = recipe(sweep(), ("g_on",), "access_transistor", noise={"step": 0.3})
    with pytest.raises(InputError, match=r"noise\.step is for pulse trains, and the curve is of kind 'i-v'"):
        extract(which, sweep())


@pytest.mark.parametrize(("limit", "refused"), [("1 mA", True), ("5 mA", False)])
def test_a_compliance_that_most_values_exceed_is_refused(limit, refused):
    which = recipe(sweep(), ("g_on",), "access_transistor", data={"compliance": limit})
    if not refused:
        assert 0 < extract(which, sweep()).clipped.sum() < 6
        return
    with pytest.raises(InputError, match=r"values reach data.compliance = 1 mA, and most of them exceed it \(the lar"):
        extract(which, sweep())


def test_steps_that_do_not_settle_raise(monkeypatch):
    monkeypatch.setattr(process, "ROUNDS", 1)
    which = recipe(
        train(), ("theta_p", "g_max"), "threshold_memristor", noise={"step": "fit"}, start={"values": dict(TRUTH)}
    )
    with pytest.raises(FitError, match="parameters and noise do not settle in 1 rounds"):
        extract(which, train())
