"""Distributions against scipy.stats, which computes them by other means, far into both tails."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from cosim.schema import validate
from cosim.statistics.spread import Spread

SIGMA = math.sqrt(math.log1p(0.09))
NOMINAL = 2.0
CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "normal": ({"relative": 0.1, "clip": math.inf}, stats.norm(2.0, 0.2)),
    "normal, clipped": ({"relative": 0.1}, stats.truncnorm(-4.0, 4.0, 2.0, 0.2)),
    "normal, bounded": (
        {"relative": 0.1, "clip": math.inf, "min": 1.9, "max": 2.6},
        stats.truncnorm(-0.5, 3.0, 2.0, 0.2),
    ),
    "lognormal": (
        {"relative": 0.3, "distribution": "lognormal", "clip": math.inf},
        stats.lognorm(SIGMA, scale=2.0 * math.exp(-0.5 * SIGMA**2)),
    ),
    "uniform": ({"absolute": 0.3, "distribution": "uniform"}, stats.uniform(1.7, 0.6)),
    "triangular": ({"absolute": 0.3, "distribution": "triangular"}, stats.triang(0.5, 1.7, 0.6)),
    "student-t": (
        {"absolute": 0.3, "distribution": "student-t", "dof": 5, "clip": math.inf},
        stats.t(5, 2.0, 0.3 * math.sqrt(3.0 / 5.0)),
    ),
    "gamma": ({"relative": 0.5, "distribution": "gamma", "clip": math.inf}, stats.gamma(4.0, scale=0.5)),
    "weibull": (
        {"shape": 2.5, "distribution": "weibull", "clip": math.inf},
        stats.weibull_min(2.5, scale=2.0 / math.gamma(1.4)),
    ),
    "beta": ({"absolute": 0.5, "distribution": "beta", "a": 2, "b": 3}, stats.beta(2, 3, 1.5, 1.0)),
}  # fmt: skip
every = pytest.mark.parametrize("name", CASES)


@every
def test_quantiles_far_into_both_tails(name: str) -> None:
    keys, reference = CASES[name]
    z = np.linspace(-7.5, 7.5, 61)
    found = validate(Spread, keys).value(NOMINAL, z)
    expected = np.where(z < 0.0, reference.ppf(stats.norm.cdf(z)), reference.isf(stats.norm.sf(z)))
    # scipy's triangular quantile loses digits near its ends, and its truncated one in the far tail
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@every
def test_mean_and_deviation(name: str) -> None:
    """By the midpoint rule over the probability."""
    keys, reference = CASES[name]
    p = (np.arange(200_000) + 0.5) / 200_000
    values = validate(Spread, keys).value(NOMINAL, stats.norm.ppf(p))
    # it leaves out 2.5e-6 of either tail: 1 % of the variance of a t with 5 degrees of freedom
    assert values.mean() == pytest.approx(reference.mean(), rel=1e-4)
    assert values.std() == pytest.approx(reference.std(), rel=1e-2)


@every
def test_samples_pass_kolmogorov_and_smirnov(name: str) -> None:
    keys, reference = CASES[name]
    values = validate(Spread, keys).value(NOMINAL, np.random.default_rng(8).standard_normal(20_000))
    # one fixed seed for ten distributions: a right map is refused once in 1000 times ten
    assert stats.kstest(values, reference.cdf).pvalue > 1e-4


@pytest.mark.parametrize("relative", [0.005, 0.1, 1.0, 8.0])
def test_a_weibull_has_the_deviation_that_was_asked_for(relative: float) -> None:
    from cosim.statistics.spread import weibull_shape

    reference = stats.weibull_min(weibull_shape(relative))
    assert reference.std() / reference.mean() == pytest.approx(relative, rel=1e-6)
