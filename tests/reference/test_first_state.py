"""The first state of a train whose steps vary, against many trains of that kind, and one whose first step misleads."""

from __future__ import annotations

import numpy as np
import pytest

from cosim.devices.base import Array
from cosim.fitting import first_state

VARIATION, READ = 0.3, 0.02
READS = np.array([0.97, 0.99])


def after(k: int, w: Array) -> Array:
    return np.asarray(w + 0.9 * (1.0 - w))


def read(k: int, w: Array) -> Array:
    return np.asarray(np.exp(-0.5 * ((READS[k] - w) / READ) ** 2))


def test_likelihood_is_that_of_many_trains_with_bounds() -> None:
    starts = np.array([0.1, 0.5, 0.8, 0.95])
    found = first_state.log_likelihood(starts, after, read, pulses=2, variation=VARIATION, count=400)
    rng, draws = np.random.default_rng(1), 400_000
    expected = []
    for w0 in starts:
        w, weight = np.full(draws, w0), np.ones(draws)
        for k in range(2):
            w = np.clip(w + (after(k, w) - w) * (1.0 + VARIATION * rng.standard_normal(draws)), 0.0, 1.0)
            weight *= read(k, w)
        expected.append(np.log(weight.mean()))
    assert found - found[0] == pytest.approx(np.array(expected) - expected[0], abs=0.02)


def test_a_step_that_ends_at_the_bound_leaves_small_first_states_open_at_a_high_level() -> None:
    starts = np.linspace(0.0, 1.0, first_state.STARTS)
    found = first_state.log_likelihood(starts, after, lambda k, w: read(1, w), pulses=2, variation=VARIATION, count=200)
    assert found[40] > found.max() - 0.5 * (1.96 * first_state.SURE) ** 2  # w0 = 0.2, whose step has to overshoot


def test_limits_lie_where_the_likelihood_has_the_level() -> None:
    starts = np.linspace(0.0, 1.0, first_state.STARTS)
    low, high = first_state.limits(starts, -0.5 * ((starts - 0.4) / 0.1) ** 2, 1.96)
    assert (low, high) == pytest.approx((0.204, 0.596), abs=2e-4)
    assert first_state.limits(starts, -0.5 * ((starts - 0.1) / 0.1) ** 2, 1.96)[0] == -np.inf
