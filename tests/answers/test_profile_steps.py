"""A profile that goes by Gauss–Newton steps ends where one does that searches at every place."""

from __future__ import annotations

import numpy as np
import pytest

from claims.coverage import NumpyLab
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import device
from cosim.fitting import profile
from cosim.fitting.extract import extract
from cosim.fitting.problem import Problem
from cosim.fitting.recipe import FitRecipe

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
