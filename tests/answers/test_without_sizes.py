"""Searches that begin at zero without bounds, and draws at places where a device has no current."""

from __future__ import annotations

import numpy as np
import pytest

import cosim
from claims.next_measurement import CASES
from cosim.fitting.extract import extract

X = np.linspace(0.0, 1.0, 20)
NOISE = 0.05 * np.random.default_rng(0).standard_normal(20)


@pytest.mark.parametrize(
    ("law", "truth"),
    [
        (lambda x, a, b: a + b * x**2, {"a": 2.0, "b": -3.0}),
        (lambda x, a, b: np.exp(a * x) + b, {"a": 1.5, "b": -1.0}),
    ],
    ids=["parabola", "exponential"],
)
def test_a_law_is_fitted_from_zero_without_bounds(law, truth) -> None:
    """Neither start, default nor bounds give a size: the hypercube of further starts was full of NaN, and warned."""
    # residuals with a shape, so that further starts are tried
    y = law(X, **truth) + NOISE + 0.2 * np.sin(9.0 * X)
    found = cosim.fit_law(law, X, y, start={"a": 0.0, "b": 0.0})
    again = cosim.fit_law(law, X, y, start=truth)
    for name in truth:
        assert float(found.values[name]) == pytest.approx(float(again.values[name]), rel=1e-3)


def test_a_draw_without_a_current_is_left_out() -> None:
    """A dot's conductance beyond that of its leads has no logarithm; the proposal came with a warning."""
    case = next(case for case in CASES if case.name == "dots hardly filled")
    rng = np.random.default_rng(2)
    curve = case.curve(rng)
    sigma = case.noise * float(np.ptp(case.measured(curve, 0.0, rng)))
    curve = curve.with_measured(case.measured(curve, sigma, rng))
    fit = extract(case.recipe(curve), curve)
    proposal = cosim.next_measurement(fit, reach=1.0)
    assert proposal is None or np.isfinite([proposal.before, proposal.after]).all()
