"""Estimates of small failure probabilities against closed forms, over many seeds."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate
from scipy.stats import chi2, norm

from cosim.errors import CosimError
from cosim.statistics.importance import importance_sampling
from cosim.statistics.rare import RareFailure
from cosim.statistics.scaled import fit_scales, scaled_sigma

Fails = Callable[[NDArray[np.float64]], NDArray[np.bool_]]


@dataclass(frozen=True)
class Case:
    """A failure region in ``d`` coordinates and its probability."""

    fails: Fails
    probability: float
    d: int


def half_space(sigma: float, d: int) -> Case:
    """Behind a plane that no axis is normal to."""
    normal = np.linspace(1.0, 2.0, d) * (-1.0) ** np.arange(d)
    normal /= np.linalg.norm(normal)
    return Case(lambda z: z @ normal > sigma, norm.sf(sigma), d)


def two_regions(first: float, second: float, d: int) -> Case:
    """Behind either of two planes at right angles."""
    both = 1.0 - norm.cdf(first) * norm.cdf(second)
    return Case(lambda z: (z[:, 0] > first) | (z[:, 1] < -second), both, d)


def opposite(sigma: float, d: int) -> Case:
    """On both sides of the nominal point."""
    return Case(lambda z: np.abs(z[:, 0]) > sigma, 2.0 * norm.sf(sigma), d)


def curved(sigma: float, bend: float, d: int) -> Case:
    """Behind a parabola, which bends away from the nominal point (positive) or around it (negative)."""
    p = integrate.quad(lambda y: norm.pdf(y) * norm.sf(sigma + bend * y * y), -12.0, 12.0, epsabs=0.0)[0]
    return Case(lambda z: z[:, 0] > sigma + bend * z[:, 1] ** 2, p, d)


CASES = {
    "3 sigma": half_space(3.0, 2),
    "4 sigma": half_space(4.0, 4),
    "5 sigma": half_space(5.0, 6),
    "4 sigma, 20 dimensions": half_space(4.0, 20),
    "5 sigma, 20 dimensions": half_space(5.0, 20),
    "4 sigma, 60 dimensions": half_space(4.0, 60),
    "one dimension": half_space(4.0, 1),
    "two regions": two_regions(3.5, 3.8, 5),
    "both sides": opposite(4.0, 10),
    "bent away": curved(4.0, 0.3, 3),
    "bent around": curved(4.0, -0.1, 3),
}
SEEDS = 60


@pytest.mark.parametrize("name", CASES)
def test_importance_sampling_is_unbiased_and_its_interval_holds(name: str) -> None:
    """60 seeds of 2000 points. Measured with 100: 4 to 10 % deviation of one estimate, 91 to 97 % of intervals hold."""
    case = CASES[name]
    found = [importance_sampling(case.d, seed=seed, budget=2000).run(case.fails) for seed in range(SEEDS)]
    assert all(one.evaluated <= 2000 for one in found)
    trusted = [one for one in found if one.trusted]
    assert len(trusted) >= 0.75 * SEEDS  # the parabola around the nominal point is the hardest: 85 %
    ratio = np.array([one.probability for one in found if one.probability is not None]) / case.probability
    # 4 standard errors of a mean of 60, and 3 %: the tail of the weights is cut off in a finite number of seeds
    assert ratio.mean() == pytest.approx(1.0, abs=4.0 * ratio.std() / np.sqrt(len(ratio)) + 0.03)
    held = np.mean([one.low <= case.probability <= one.high for one in trusted])
    # 95 % of 60 scatters by 2.8 %; where weights are skewed (around) about 90 % hold
    assert held >= 0.82
    assert np.median([one.standard_error / one.probability for one in trusted]) < 0.12


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["3 sigma", "4 sigma", "5 sigma", "5 sigma, 20 dimensions", "two regions", "bent around"]
)
def test_the_interval_of_scaled_sigma_holds(name: str) -> None:
    """60 seeds of 4000 points. Measured: 88 to 98 % of intervals hold; they span 1.3 decades, at 5 sigma 5."""
    case = CASES[name]
    found = [scaled_sigma(case.d, seed=seed, budget=4000).run(case.fails) for seed in range(SEEDS)]
    assert all(one.evaluated <= 4000 for one in found)
    told = [one for one in found if one.probability is not None]
    assert len(told) >= 0.9 * SEEDS
    held = np.mean([one.low <= case.probability <= one.high for one in told])
    assert held >= 0.82  # as above
    assert all(one.high <= 10.0 * one.low for one in found if one.trusted)
    wide = [one for one in told if one.high > 10.0 * one.low]
    assert all(not one.trusted and one.why for one in wide)
    assert any("spans a factor" in one.why for one in wide)
    sigma = norm.isf(case.probability)
    # the deviation of one estimate grows with the way that is extrapolated; of the median of 60 it is a fifth of that
    assert np.median([one.sigma for one in told]) == pytest.approx(sigma, abs=0.1 * sigma)


def estimators() -> list[Callable[..., object]]:
    return [importance_sampling, scaled_sigma]


@pytest.mark.parametrize("make", estimators())
@pytest.mark.parametrize("name", ["3 sigma", "two regions", "4 sigma, 20 dimensions"])
def test_a_replay_asks_the_same_and_finds_the_same(make: Callable, name: str) -> None:
    case = CASES[name]
    first, told = make(case.d, seed=3, budget=1000), []
    while (points := first.ask()) is not None:
        told.append((points, case.fails(points)))
        first.tell(told[-1][1])
    second = make(case.d, seed=3, budget=1000)
    for points, answers in told:
        np.testing.assert_array_equal(second.ask(), points)
        second.tell(answers)
    assert second.done
    assert str(second.result) == str(first.result)
    other = make(case.d, seed=4, budget=1000).run(case.fails)
    assert str(other) != str(first.result)


@pytest.mark.parametrize("make", estimators())
@pytest.mark.parametrize("budget", [200, 333, 1000, 5000])
@pytest.mark.parametrize("d", [1, 7, 40])
def test_no_more_is_asked_than_was_allowed(make: Callable, budget: int, d: int) -> None:
    for case in (half_space(3.0, d), half_space(0.5, d), Case(lambda z: np.sum(z**2, axis=1) > d + 25.0, 0.0, d)):
        search = make(d, seed=1, budget=budget)
        search.run(case.fails)
        assert search.asked <= budget
        assert search.result.evaluated == search.asked


def test_brute_force_agrees_at_three_sigma() -> None:
    case = half_space(3.0, 3)
    z = np.random.default_rng(0).standard_normal((1_000_000, 3))
    count = int(case.fails(z).sum())
    found = importance_sampling(3, seed=2, budget=2000).run(case.fails)
    assert found.standard_error is not None
    # brute force scatters by 2.7 % here; 4 deviations of both together
    error = np.hypot(found.standard_error, np.sqrt(count) / 1e6)
    assert found.probability == pytest.approx(count / 1e6, abs=4.0 * error)


def test_what_importance_sampling_cannot_tell_it_says() -> None:
    def result(fails: Fails, d: int, **keys: float) -> RareFailure:
        return importance_sampling(d, seed=0, **keys).run(fails)  # type: ignore[arg-type]

    never = result(lambda z: np.zeros(len(z), dtype=bool), 3)
    assert never.probability is None
    assert "no failure up to 8 sigma" in never.why
    assert never.sigma is None
    assert "cannot tell" in str(never)
    nominal = result(lambda z: z[:, 0] > -1.0, 3)
    assert "nominal point itself fails" in nominal.why
    # a shell has no region to shift to: 49 of 50 failures lie elsewhere
    shell = result(lambda z: np.sum(z**2, axis=1) > chi2.isf(1e-8, 8), 8, budget=1500)
    assert not shell.trusted
    assert "raise the budget" in shell.why


@pytest.mark.parametrize("make", estimators())
def test_unknown_points_are_not_evidence(make: Callable) -> None:
    """Behind a plane at 3 sigma, where nothing is known beyond 3.2 sigma (half of the weight), or far off only."""
    case = half_space(3.0, 2)
    normal = np.array([1.0, -2.0]) / np.sqrt(5.0)

    def beyond(z: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(z @ normal > 3.2, np.nan, z @ normal > 3.0)

    def far(z: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(z @ normal < -12.0, np.nan, z @ normal > 3.0)

    blind = make(2, seed=1, budget=4000).run(beyond)
    assert blind.unknown > 0
    assert not blind.trusted
    assert "verdict" in blind.why
    clear = make(2, seed=1, budget=4000).run(far)
    assert "verdict" not in clear.why
    assert clear.low <= case.probability <= clear.high
    assert make(2, seed=1, budget=4000).run(lambda z: np.full(len(z), np.nan)).probability is None


def test_what_scaled_sigma_cannot_tell_it_says() -> None:
    never = scaled_sigma(3, seed=0).run(lambda z: np.zeros(len(z), dtype=bool))
    assert never.probability is None
    assert "few points fail even at 12 times" in never.why
    # a slit nearby and a plane far away: at first the rate falls with the scale, then it rises
    window = scaled_sigma(1, seed=0, budget=20_000, scales=[1, 1.5, 2, 3, 4, 6]).run(
        lambda z: (np.abs(z[:, 0] - 1.5) < 0.1) | (z[:, 0] > 9.0)
    )
    assert not window.trusted
    assert "model misses the measured rates" in window.why


def test_scaled_sigma_is_trusted_where_its_interval_is_narrow() -> None:
    """Measured at 3 sigma: 1.3 decades with 4000 points, 0.3 with 40 000."""
    case = CASES["3 sigma"]
    few, many = (scaled_sigma(2, seed=1, budget=budget).run(case.fails) for budget in (1500, 40_000))
    assert not few.trusted
    assert "spans a factor of" in few.why
    assert many.trusted, many.why
    assert many.low < case.probability < many.high < 10.0 * many.low


def test_the_scaled_sigma_fit_finds_a_model_that_is_exact() -> None:
    scales = np.array([2.0, 2.5, 3.0, 3.5, 4.0])
    samples = np.full(5, 10**9)
    rate = np.exp(-0.5 + 1.2 * np.log(scales) - 9.0 / scales**2)
    fit = fit_scales(scales, np.round(rate * samples).astype(np.intp), samples)
    # counts of 1e9 are rounded at 1e-9 of themselves; the extrapolation multiplies that by about 100
    assert (fit.alpha, fit.beta, fit.gamma) == pytest.approx((-0.5, 1.2, -9.0), abs=1e-5)
    assert fit.freedom == 2


@pytest.mark.parametrize("make", estimators())
def test_what_cannot_be_sampled_says_why(make: Callable) -> None:
    for keys, words in (({"d": 0}, "nothing varies"), ({"budget": 10}, "too few"), ({"level": 1.5}, "a level of 1.5")):
        with pytest.raises(CosimError, match=words):
            make(**{"d": 2, "seed": 0, **keys})
    search = make(2, seed=0)
    with pytest.raises(CosimError, match="one answer per point"):
        search.tell([True, False] * 5000)
    with pytest.raises(CosimError, match="not over"):
        _ = search.result
    search.run(lambda z: z[:, 0] > 2.0)
    with pytest.raises(CosimError, match="over and asked for nothing"):
        search.tell([True])
    with pytest.raises(CosimError, match="four different scales"):
        scaled_sigma(2, seed=0, scales=[1.0, 2.0])
