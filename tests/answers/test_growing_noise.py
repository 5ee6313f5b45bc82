"""Noise that grows with the reading: weights of the law's values bias nothing, and intervals hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cosim.data.recording import Recording
from cosim.fitting.auto import _weighted
from cosim.fitting.extract import extract
from cosim.fitting.joint import extract_joint
from cosim.fitting.joint_recipe import JointRecipe
from cosim.fitting.recipe import FitRecipe

SEEDS, PART = 40, 0.15
V = np.linspace(0.02, 1.0, 120)
LAWS = {
    "ohmic": ({"g": 1e-4}, 1e-4 * V),
    "hopping (sinh)": ({"g": 5e-5, "v_0": 0.4}, 2e-5 * np.sinh(V / 0.4)),
}


def curve(law: str, seed: int) -> Recording:
    clean = LAWS[law][1]
    return Recording.i_v(V, clean * (1.0 + PART * np.random.default_rng(seed).standard_normal(V.size)))


def recipe(law: str, **noise: object) -> FitRecipe:
    body = {"name": "test", "law": law, "data": {"kind": "i-v"}, "fit": {"vary": tuple(LAWS[law][0])}, "noise": noise}
    return FitRecipe.model_validate(body)


def hold(values: list[tuple[float, tuple[float, float]]], truth: float) -> None:
    """The mean is right to 1 %, and no more intervals miss than chance has in one test of a thousand."""
    found = np.array([value for value, _ in values])
    assert abs(found.mean() / truth - 1.0) < 0.01
    held = sum(low <= truth <= high for _, (low, high) in values)
    assert held >= stats.binom.ppf(1e-3, len(values), 0.95)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("stated", [True, False])
def test_noise_that_is_a_share_of_the_reading_biases_nothing(law, stated):
    """Weights of measured values leave a mean error of -4 %, and hold in a quarter of the seeds."""
    found = dict[str, list[tuple[float, tuple[float, float]]]]()
    for seed in range(SEEDS):
        one = curve(law, seed)
        if stated:
            result = extract(recipe(law, relative=PART), one)
        else:  # as `fit --auto` goes on from what the residuals show
            plain = recipe(law)
            result = _weighted(plain, one, extract(plain, one))
            assert result.recipe.noise.relative == pytest.approx(PART, rel=0.35)
        for name in LAWS[law][0]:
            found.setdefault(name, []).append((float(result.values[name]), result.verdict[name].interval))
    for name, truth in LAWS[law][0].items():
        hold(found[name], truth)


@pytest.mark.parametrize("noise", [{}, {"correlation": 0.3}])
def test_weights_are_those_of_the_fit_itself(noise):
    """Also where neighbours are alike."""
    one = curve("hopping (sinh)", 1)
    result = extract(recipe("hopping (sinh)", relative=PART, **noise), one)
    assert result.sigma == pytest.approx(PART * result.predicted, rel=2e-3)


def test_a_law_of_zero_does_not_weigh_a_row_without_limit():
    one = Recording.i_v(np.append(V, 0.0), np.append(curve("ohmic", 2).measured, 1e-9))
    result = extract(recipe("ohmic", relative=PART, outliers="keep"), one)
    assert result.sigma[-1] == pytest.approx(0.1 * PART * 1e-9)
    assert result.values["g"] == pytest.approx(1e-4, rel=0.05)


def test_a_joint_fit_has_the_weights_and_values_of_a_single_one():
    v = np.linspace(0.02, 1.0, 60)
    clean = 1e-4 * np.tanh(v)
    one = Recording.i_v(v, clean * (1.0 + PART * np.random.default_rng(4).standard_normal(v.size)))
    noise = {"relative": PART}
    body = {"name": "test", "device": "access_transistor", "data": {"kind": "i-v"}, "noise": noise}
    alone = extract(FitRecipe.model_validate({**body, "fit": {"vary": ("g_on",)}}), one)
    observations = [{"name": "A", "kind": "i-v", "noise": noise}]
    joint = {"name": "test", "device": "access_transistor", "observations": observations, "parameters": {"g_on": {}}}
    found = extract_joint(JointRecipe.model_validate(joint), {"A": one})
    (row,) = found.rows()
    assert row.value == pytest.approx(float(alone.values["g_on"]), rel=1e-4)
    assert found.stages[-1].problem.sigma == pytest.approx(alone.sigma, rel=2e-3)
    assert alone.sigma == pytest.approx(PART * alone.predicted, rel=2e-3)
