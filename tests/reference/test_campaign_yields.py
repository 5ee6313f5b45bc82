"""Intervals of a yield: against scipy, and how often they hold the truth over many seeds."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from cosim.errors import CosimError
from cosim.statistics.sampling import Draws
from cosim.statistics.verdict import Verdict
from cosim.statistics.yields import estimate, interval, replicated, samples_to_tell, sigma_of

P, N, SEEDS = 0.97, 200, 4000


@pytest.mark.parametrize(("passed", "n"), [(0, 1), (1, 1), (0, 30), (30, 30), (7, 30), (199, 200), (9995, 10_000)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize(("method", "name"), [("clopper-pearson", "exact"), ("wilson", "wilson")])
def test_intervals_are_those_of_scipy(passed: int, n: int, level: float, method: str, name: str) -> None:
    low, high = interval(passed, n, level=level, method=method)  # type: ignore[arg-type]
    reference = stats.binomtest(passed, n).proportion_ci(level, method=name)
    # two implementations of the inverse incomplete beta function
    assert (low, high) == pytest.approx((reference.low, reference.high), rel=1e-9, abs=1e-12)


def exact_coverage(method: str) -> float:
    """How often the interval holds P, summed over all counts: no sampling."""
    counts = np.arange(N + 1)
    holds = [low <= P <= high for low, high in (interval(int(k), N, method=method) for k in counts)]  # type: ignore[arg-type]
    return float(np.sum(stats.binom.pmf(counts, N, P)[np.array(holds)]))


def test_clopper_pearson_covers_at_least_and_wilson_about_as_often_as_it_says() -> None:
    assert exact_coverage("clopper-pearson") >= 0.95
    # Wilson's swings around its level; Brown, Cai and DasGupta show ±2 % at these n and p
    assert exact_coverage("wilson") == pytest.approx(0.95, abs=0.02)
    assert np.diff(interval(194, N, method="wilson"))[0] < np.diff(interval(194, N))[0]


def test_coverage_of_draws_is_the_computed_one() -> None:
    """The pipeline from seeds to intervals: 4000 seeds, whose coverage scatters by 0.3 % around the computed one."""
    counts = np.random.default_rng(2).binomial(N, P, SEEDS)
    held = [low <= P <= high for low, high in (interval(int(k), N) for k in counts)]
    expected = exact_coverage("clopper-pearson")
    error = np.sqrt(expected * (1.0 - expected) / SEEDS)
    assert np.mean(held) == pytest.approx(expected, abs=4.0 * error)


def shares(method: str, seeds: range, n: int = 256) -> np.ndarray:
    """Samples in which z₀ + z₁/2 stays below 1.5, of ``n``, for each seed."""
    return np.array([np.sum(Draws(n, 2, seed, method).rows() @ [1.0, 0.5] < 1.5) for seed in seeds])  # type: ignore[arg-type]


def test_a_binomial_interval_is_too_wide_for_a_latin_hypercube_and_a_sobol_set_and_says_so() -> None:
    truth = stats.norm.cdf(1.5 / np.sqrt(1.25))
    binomial = np.sqrt(truth * (1.0 - truth) / 256)
    for method in ("latin-hypercube", "sobol"):
        found = shares(method, range(200)) / 256
        # 200 seeds tell a deviation to 5 %; measured 0.69 (Latin hypercube) and 0.30 (Sobol) of the binomial one
        assert np.std(found) < 0.85 * binomial
        assert "only replicates can show" in estimate(int(found[0] * 256), 256, sampling=method).note
    assert estimate(250, 256).note == ""


def test_replicates_give_an_interval_that_holds_as_often_as_it_says() -> None:
    truth = float(stats.norm.cdf(1.5 / np.sqrt(1.25)))
    counts = shares("sobol", range(2000, 4000)).reshape(200, 10)
    found = [replicated([(int(k), 256) for k in row]) for row in counts]
    held = np.mean([one.low <= truth <= one.high for one in found])
    # 200 intervals: 95 % ± 1.5 %, three of them
    assert held == pytest.approx(0.95, abs=0.047)
    assert np.median([one.high - one.low for one in found]) < np.diff(interval(int(truth * 2560), 2560))[0]


def test_replicates_that_agree_fall_back_on_the_exact_interval() -> None:
    one = replicated([(64, 64)] * 5)
    assert (one.low, one.high) == interval(320, 320)
    assert "agree" in one.note
    with pytest.raises(CosimError, match="do not show a scatter"):
        replicated([(60, 64), (61, 64)])


def test_samples_without_a_verdict_widen_the_interval_both_ways() -> None:
    one = estimate(90, 100, unknown=5)
    assert one.share == 0.9
    assert one.low == interval(90, 100)[0]
    assert one.high == interval(95, 100)[1]
    assert "5 without a verdict" in one.note
    assert "cycles of one device" in estimate(90, 100, cycles=10).note


def test_sigma_of_a_probability() -> None:
    assert sigma_of(stats.norm.sf(4.2)) == pytest.approx(4.2, rel=1e-12)
    assert estimate(9987, 10_000).sigma == pytest.approx(stats.norm.isf(13e-4))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: interval(3, 2), "3 of 2 is not a share from 0 to 1"),
        (lambda: interval(0, 0), "is not a share from 0 to 1"),
        (lambda: interval(1, 2, level=1.0), "a level of 1"),
        (lambda: interval(1, 2, method="wald"), "unknown interval 'wald'"),  # type: ignore[arg-type]
        (lambda: estimate(9, 10, unknown=2), "without a verdict"),
    ],
)
def test_a_yield_that_cannot_be_computed_says_why(call, words: str) -> None:
    with pytest.raises(CosimError, match=words):
        call()


@given(passed=st.integers(0, 60), unknown=st.integers(0, 5), more=st.integers(0, 60), least=st.floats(0.01, 0.99))
def test_a_yield_is_judged_by_its_interval(passed: int, unknown: int, more: int, least: float) -> None:
    n = passed + unknown + more + 1
    found = estimate(passed, n, unknown=unknown)
    low = stats.binomtest(passed, n).proportion_ci(0.95, method="exact").low
    high = stats.binomtest(passed + unknown, n).proportion_ci(0.95, method="exact").high
    assume(min(abs(low - least), abs(high - least)) > 1e-9)  # two programs round differently
    expected = Verdict.PASS if low > least else Verdict.FAIL if high < least else Verdict.CANNOT_TELL
    assert found.judged(least) is expected
    assert (f"which holds {least:.6g}" in found.judgement(least)) == (expected is Verdict.CANNOT_TELL)


def test_a_least_yield_of_one_asks_for_every_sample() -> None:
    assert estimate(40, 40).judged(1.0) is Verdict.PASS
    assert estimate(39, 40).judged(1.0) is Verdict.FAIL
    assert estimate(39, 40, unknown=1).judged(1.0) is Verdict.CANNOT_TELL


@pytest.mark.parametrize(("share", "least"), [(1.0, 0.9), (1.0, 0.999), (0.95, 0.9), (0.85, 0.9), (0.5, 0.49)])
def test_as_many_samples_as_were_asked_for_tell(share: float, least: float) -> None:
    n = samples_to_tell(share, least)
    assert n is not None
    assert estimate(round(share * n), n).judged(least) is (Verdict.PASS if share > least else Verdict.FAIL)
    half = n // 2  # and not many more than that
    assert estimate(round(share * half), half).judged(least) is Verdict.CANNOT_TELL


def test_no_number_of_samples_separates_a_yield_from_itself() -> None:
    assert samples_to_tell(0.5, 0.5) is None
    assert "no number" in estimate(50, 100).judgement(0.5)
