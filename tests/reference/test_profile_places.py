"""An interval reaches every place that fits within the noise, whichever parameter's profile met it."""

from __future__ import annotations

import numpy as np

from cosim.data.recording import Curve
from cosim.devices.base import Values
from cosim.devices.pulse import PulseShape
from cosim.devices.threshold import ThresholdMemristor
from cosim.fitting.combinations import known_products
from cosim.fitting.extract import extract
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.uncertainty import Uncertainty

TRUTH = {
    "theta_p": 1.1, "theta_n": 1.2, "alpha_p": 0.8, "alpha_n": 0.9, "gamma_p": 1.5, "gamma_n": 1.4, "ratio": 9.0,
    "g_max": 120e-6, "w0": 0.4,
}  # fmt: skip


def test_a_state_that_looks_known_by_its_standard_error_is_known_as_far_as_the_range_is() -> None:
    """The train drives the state to one end only: the range is open on the other side, and w0 and alpha_n with it."""
    model, rng = ThresholdMemristor(), np.random.default_rng(2)
    p, w, states = model.values(TRUTH), 0.4, []
    amplitude = rng.uniform(0.0, 2.0, 150) * rng.choice([1.0, 1.0, 1.0, -0.8], 150)
    for v in amplitude:
        w = float(model.pulse(v, w, p, shape=PulseShape())[0])
        states.append(w)
    clean = np.asarray(model.conductance(Values({"w": np.array(states)}), p))
    reads = clean + 0.03 * TRUTH["g_max"] * rng.standard_normal(150)
    curve = Curve.pulse_train(amplitude, reads, v_read=0.2, shape=PulseShape())
    recipe = FitRecipe.model_validate(
        {
            "name": "one end",
            "device": "threshold_memristor",
            "data": {"kind": "pulse train"},
            "fit": {"vary": tuple(TRUTH)},
        }
    )
    verdict = extract(recipe, curve).verdict
    for name in ("w0", "alpha_n"):
        low, high = verdict[name].interval
        assert low <= TRUTH[name] <= high, (name, low, high)
    assert verdict["ratio"].status == "not identifiable"


def test_a_product_with_a_power_of_hundreds_is_not_reported() -> None:
    """Its value has no room in a float where a parameter is small, and no reader any use for it."""
    rng = np.random.default_rng(988)
    direction = rng.standard_normal(3) * 10.0 ** rng.uniform(-4.0, 1.0, 3)
    relative = np.outer(direction, direction) + np.diag(10.0 ** rng.uniform(-8.0, -3.0, 3))
    for size in (1.0, 1e-6):
        names, covariance = ("a", "b", "c"), size**2 * relative
        uncertainty = Uncertainty(names, covariance, (), {}, names, covariance)
        found = known_products(uncertainty, Values(dict.fromkeys(names, size)), height=2.0)
        assert all(abs(power) < 100.0 for one in found for _, power in one.powers)
