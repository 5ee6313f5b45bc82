"""Properties of the extraction: what holds for any parameters, any train, any noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cosim.data.recording import Curve
from cosim.devices.base import Values
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import device
from cosim.fitting import trajectory
from cosim.fitting.extract import extract
from cosim.fitting.forward import perturbed
from cosim.fitting.forwards.equal_pulses import RampForward
from cosim.fitting.forwards.pulse_train import PulseTrainForward
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.recipe_tables import HeldOut
from cosim.fitting.residuals import runs_test

CELL = device("cell_1t1r")
VARY = ("theta_p", "theta_n", "alpha_p", "alpha_n", "gamma_p", "gamma_n", "g_max", "ratio", "w0")
# Without shrinking: a fit is too slow to be repeated a thousand times, and its parameters are plain numbers already.
QUICK = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


def forward_of(curve: Curve) -> PulseTrainForward:
    return PulseTrainForward(CELL, curve, np.ones(len(curve), dtype=bool))


def between(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


truths = st.fixed_dictionaries(
    {
        "theta_p": between(0.4, 1.6),
        "theta_n": between(0.4, 1.6),
        "alpha_p": between(0.5, 1.5),
        "alpha_n": between(0.5, 1.5),
        "gamma_p": between(0.4, 2.0),
        "gamma_n": between(0.4, 2.0),
        "g_max": between(1e-6, 4e-4),
        "ratio": between(2.0, 20.0),
        "w0": between(0.1, 0.9),
    }
)


def train(truth: dict[str, float], seed: int, n: int = 200) -> tuple[Values, Curve]:
    """A noise-free train: a read of the initial state, both ends of the range, random pulses."""
    p = CELL.values(truth)
    top = 1.7 * max(truth["theta_p"], truth["theta_n"])
    rng = np.random.default_rng(seed)
    amplitude = np.concatenate([[0.0], np.repeat([-top, top], 10), rng.uniform(-top, top, n - 21)])
    blank = Curve.pulse_train(amplitude, np.zeros(n), v_read=0.1, shape=PulseShape())
    return p, blank.with_measured(forward_of(blank).predict(p))


@given(truth=truths, seed=st.integers(0, 2**32 - 1))
@QUICK
def test_all_pulses_at_once_are_the_pulses_one_by_one(truth, seed):
    p, curve = train(truth, seed, n=60)
    forward = forward_of(curve)
    one_by_one = trajectory.sequential(
        lambda k, w: float(CELL.pulse(curve["amplitude"][k], w, p, shape=curve.shape)[0]), p.w0, len(curve)
    )
    # Newton's method ends when the correction is below 1e-12
    np.testing.assert_allclose(forward.states(p), one_by_one, atol=1e-11)


@given(truth=truths, seed=st.integers(0, 2**32 - 1))
@QUICK
def test_sensitivities_are_those_of_the_whole_train(truth, seed):
    """Each derivative against the difference of two trains that were solved by themselves."""
    p, curve = train(truth, seed, n=60)
    forward = forward_of(curve)
    _, ours = forward.linearise(p, VARY)
    for row, name in zip(ours, VARY, strict=True):
        shifted, distance = perturbed(p, [name], forward.params)
        up, down = (forward_of(curve).predict(p.with_(**{name: float(shifted[name].ravel()[k])})) for k in (0, 1))
        theirs = (up - down) / distance[0]
        # Two differences with a relative step of 6e-6, and kinks at the thresholds that only one of them may cross.
        rounding = 1e-15 * p.g_max / distance[0]
        np.testing.assert_allclose(row, theirs, atol=2e-4 * float(np.abs(theirs).max()) + rounding)


@given(truth=truths, seed=st.integers(0, 2**32 - 1))
@QUICK
def test_noise_free_parameters_are_recovered(truth, seed):
    """Nothing of the truth is in the recipe: range, thresholds and initial state are read off the curve."""
    p, curve = train(truth, seed)
    recipe = FitRecipe.model_validate(
        {"name": "x", "device": "cell_1t1r", "data": {"kind": "pulse train"}, "fit": {"vary": VARY}}
    )
    found = extract(recipe, curve)
    assert found.verdict.residuals.exact
    for name in VARY:
        # exact to rounding; the least determined direction loses six digits
        assert found.values[name] == pytest.approx(p[name], rel=1e-6), name


@given(
    strength=between(1e-3, 5e-2),
    gamma=between(0.0, 3.0),
    start=between(0.0, 0.6),
    course=st.sampled_from(["saturating", "accelerating"]),
    sign=st.sampled_from([1, -1]),
)
@QUICK
def test_ramps_obey_their_law(strength, gamma, start, course, sign):
    """du/dn = ∓s u^γ by differences of the course, towards the right bound, inside [0, 1]."""
    n = 60
    w0 = start if sign > 0 else 1.0 - start
    curve = Curve.equal_pulses([np.linspace(1e-4, 2e-4, n)], polarity=[sign])
    forward = RampForward(device("threshold_memristor"), curve, np.ones(n, dtype=bool), course=course, start="shared")
    suffix = "p" if sign > 0 else "n"
    p = Values(
        {"low": 1e-4, "high": 2e-4, f"strength_{suffix}": strength, f"gamma_{suffix}": gamma, f"start_{suffix}": w0}
    )
    w = forward.states(p)
    assert np.all((w >= 0.0) & (w <= 1.0))
    assert np.all(sign * np.diff(w) >= 0.0)
    u = (1.0 - w if sign > 0 else w) if course == "saturating" else (w if sign > 0 else 1.0 - w)
    middle = 0.5 * (u[1:] + u[:-1])
    inside = (middle > 0.05) & (middle < 0.95) & (u[1:] < 1.0) & (u[1:] > 0.0)
    direction = -1.0 if course == "saturating" else 1.0
    # the midpoint's rate is off by the third derivative: (γ s)² of it at most
    np.testing.assert_allclose(
        np.diff(u)[inside],
        (direction * strength * middle**gamma)[inside],
        rtol=max(0.02, (10.0 * gamma * strength) ** 2),
    )


@given(n=st.integers(4, 400), every=st.integers(2, 9), length=st.integers(1, 60))
@QUICK
def test_folds_are_a_partition_of_what_is_left(n, every, length):
    curve = Curve.i_v(np.arange(n, dtype=float), np.arange(n, dtype=float))
    for rule in (HeldOut(rule="blocks", every=every, length=length), HeldOut(rule="points", every=every)):
        inner = curve.select(~rule.rows(curve)) if not rule.rows(curve).all() else curve
        folds = np.stack(rule.folds(inner, 3))
        np.testing.assert_array_equal(folds.sum(axis=0), 1)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_the_runs_test_does_not_cry_wolf(seed):
    """On white noise its chance is uniform: below 1e-6 it would be a bug in all likelihood (200 trials)."""
    assert runs_test(np.random.default_rng(seed).standard_normal(300)) > 1e-6


def test_the_runs_test_sees_drift():
    assert runs_test(np.sin(np.linspace(0.0, 6.0, 300))) < 1e-10
