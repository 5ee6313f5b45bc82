"""A profile that goes by Gauss–Newton steps ends where one does that searches at every place."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from claims.coverage import NumpyLab
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import device
from cosim.fitting import checks, profile
from cosim.fitting.extract import extract
from cosim.fitting.problem import Problem
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.residuals import durbin_watson

TRUTH = {"theta_p": 1.4, "theta_n": 1.5, "alpha_p": 0.7, "alpha_n": 0.8, "g_max": 180e-6, "ratio": 6.0}
RECIPE = FitRecipe.model_validate({
    "name": "train", "device": "threshold_memristor", "data": {"kind": "pulse train"}, "fit": {"vary": tuple(TRUTH)},
})  # fmt: skip


def fitted(pulses, seed):
    lab = NumpyLab(
        "threshold_memristor", device("threshold_memristor").values(TRUTH), pulses=pulses, conditioning=8,
        shape=PulseShape(),
    )  # fmt: skip
    return extract(RECIPE, lab(np.random.default_rng(seed)), profile=True)


@pytest.mark.parametrize(("pulses", "seed"), [(60, 1), (250, 3), (250, 4)])
def test_steps_and_searches_give_the_same_interval(pulses, seed, monkeypatch):
    searches = 0
    minimise = Problem.minimise

    def counted(self, *args, nested=False, **options):
        nonlocal searches
        searches += nested
        return minimise(self, *args, nested=nested, **options)

    monkeypatch.setattr(Problem, "minimise", counted)
    quick, by_steps = fitted(pulses, seed), searches
    monkeypatch.setattr(profile, "_near", lambda *args, **options: None)
    slow, by_searches = fitted(pulses, seed), searches - by_steps
    for name in TRUTH:
        one, other = quick.verdict[name], slow.verdict[name]
        assert one.source == other.source == "profile likelihood"
        width = other.interval[1] - other.interval[0]
        # both ends are each within 1 % of half the width (`profile.CLOSE`)
        assert np.allclose(one.interval, other.interval, rtol=0.0, atol=0.01 * width), name
    assert by_steps < 0.6 * by_searches


def test_ranks_and_chances_are_those_of_scipy_s_distributions():
    rng = np.random.default_rng(0)
    for size in (4, 7, 60):
        for values in (rng.integers(0, 5, size).astype(float), rng.standard_normal(size)):
            other = rng.standard_normal(size)
            if np.ptp(values):
                found = checks.rank_correlation(values, other)
                assert found == pytest.approx(stats.spearmanr(values, other).statistic, abs=1e-12)
    residual, basis = rng.standard_normal(60), np.linalg.qr(rng.standard_normal((60, 3)))[0]
    residual -= basis @ (basis.T @ residual)
    d, chance = durbin_watson(residual, group=np.zeros(60, dtype=np.int64), basis=basis)
    # the same d, of noise alone: as often as that chance says, of 4000 draws (four standard errors)
    noise = rng.standard_normal((4000, 60))
    noise -= (noise @ basis) @ basis.T
    drawn = np.sum(np.diff(noise, axis=1) ** 2, axis=1) / np.sum(noise**2, axis=1)
    share = 2.0 * min(np.mean(drawn <= d), np.mean(drawn >= d))
    assert chance == pytest.approx(share, abs=4.0 * 2.0 * np.sqrt(0.25 / 4000))
