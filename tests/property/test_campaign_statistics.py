"""What holds for every spread, point set, interval and search, whatever it is given."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.schema import validate
from cosim.statistics.distance import worst_case_distance
from cosim.statistics.importance import importance_sampling
from cosim.statistics.sampling import METHODS, Draws, grid
from cosim.statistics.scaled import scaled_sigma
from cosim.statistics.spread import Correlation, Spread, correlation_matrix
from cosim.statistics.worst import worst_case
from cosim.statistics.yields import interval

KINDS: dict[str, dict[str, Any]] = {
    "normal": {}, "lognormal": {}, "uniform": {}, "triangular": {}, "student-t": {"dof": 4}, "gamma": {}, "weibull": {},
    "beta": {"a": 0.7, "b": 3.0},
}  # fmt: skip
coordinates = st.lists(st.floats(-9.0, 9.0), min_size=1, max_size=20).map(np.array)
relative = st.floats(1e-2, 1.0)


def spread(kind: str, **keys: Any) -> Spread:
    return validate(Spread, {"distribution": kind, **KINDS.get(kind, {}), **keys})


@pytest.mark.parametrize("kind", KINDS)
@given(z=coordinates, width=relative, nominal=st.floats(1e-12, 1e12), clip=st.sampled_from([2.0, 4.0, math.inf]))
def test_a_value_rises_with_its_coordinate(kind: str, z: np.ndarray, width: float, nominal: float, clip: float) -> None:
    one = spread(kind, relative=width, clip=clip)
    values = one.value(nominal, np.sort(z))
    assert np.all(np.isfinite(values))
    assert np.all(np.diff(values) >= -1e-12 * np.abs(values[1:]) - 1e-13 * nominal)  # rounding of either
    np.testing.assert_allclose([float(one.value(nominal, at)) for at in np.sort(z)], values, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@given(z=coordinates, width=relative, low=st.floats(0.5, 0.95), high=st.floats(1.05, 2.0))
def test_bounds_are_kept(kind: str, z: np.ndarray, width: float, low: float, high: float) -> None:
    one = spread(kind, relative=width, min=low, max=high)
    values = one.value(1.0, z)
    assert np.all((values >= low) & (values <= high))


@given(values=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9, unique=True), z=coordinates)
def test_measured_values_bound_their_distribution(values: list[float], z: np.ndarray) -> None:
    found = spread("empirical", values=values).value(0.0, z)
    assert np.all((found >= min(values)) & (found <= max(values)))


@given(n=st.integers(2, 8), share=st.floats(0.01, 0.99))
def test_every_rho_that_is_accepted_gives_a_matrix_that_can_be_used(n: int, share: float) -> None:
    names = [f"p{k}" for k in range(n)]
    lowest = -1.0 / (n - 1)
    matrix = correlation_matrix(names, [validate(Correlation, {"of": names, "rho": lowest + share * (1.0 - lowest)})])
    factor = np.linalg.cholesky(matrix)
    np.testing.assert_allclose(factor @ factor.T, matrix, atol=1e-12)


@given(
    samples=st.integers(1, 1100), d=st.integers(0, 4), seed=st.integers(0, 2**63), method=st.sampled_from(METHODS),
    cycles=st.integers(1, 4), cycle_d=st.integers(0, 2), pick=st.floats(0, 1, exclude_max=True),
)  # fmt: skip
@settings(deadline=None)  # the first point of a Latin hypercube makes all of them
def test_a_point_is_the_row_of_its_number(
    samples: int, d: int, seed: int, method: Any, cycles: int, cycle_d: int, pick: float
) -> None:
    draws = Draws(samples, d, seed, method, cycles=cycles, cycle_dimensions=cycle_d)
    k = int(pick * len(draws))
    start = max(k - 3, 0)
    np.testing.assert_array_equal(draws[k], draws.rows(start, k + 1)[-1])
    assert draws[k].shape == (draws.width,)


@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=6), pick=st.floats(0, 1, exclude_max=True))
def test_a_combination_is_its_number_in_mixed_radix(sizes: list[int], pick: float) -> None:
    given_grid = grid({f"p{k}": range(size) for k, size in enumerate(sizes)})
    index = int(pick * given_grid.count)
    number = 0
    for size, digit in zip(sizes, given_grid.at(index).values(), strict=True):
        number = number * size + digit
    assert number == index


@given(n=st.integers(1, 10_000), share=st.floats(0, 1), level=st.floats(0.5, 0.999))
@pytest.mark.parametrize("method", ["clopper-pearson", "wilson"])
def test_an_interval_holds_its_share_and_mirrors(method: Any, n: int, share: float, level: float) -> None:
    passed = round(share * n)
    low, high = interval(passed, n, level=level, method=method)
    assert 0.0 <= low <= passed / n <= high <= 1.0
    mirrored = interval(n - passed, n, level=level, method=method)
    np.testing.assert_allclose([1.0 - high, 1.0 - low], mirrored, atol=1e-9)
    wider = interval(passed, n, level=0.5 + 0.5 * level, method=method)
    assert wider[0] <= low
    assert wider[1] >= high


SEARCHES = {
    "importance": lambda d, seed, budget: importance_sampling(d, seed=seed, budget=max(budget, 200)),
    "scaled": lambda d, seed, budget: scaled_sigma(d, seed=seed, budget=max(budget, 200)),
    "worst": lambda d, seed, budget: worst_case(d, sense="min", seed=seed, budget=budget),
    "worst in a box": lambda d, seed, budget: worst_case(d, sense="max", seed=seed, budget=budget, region="box"),
    "distance": lambda d, seed, budget: worst_case_distance(d, seed=seed, budget=budget, max=0.3),
}


@pytest.mark.parametrize("name", SEARCHES)
@given(
    d=st.integers(1, 6), seed=st.integers(0, 2**32), budget=st.integers(1, 400), share=st.floats(0.0, 1.0),
    answers=st.integers(0, 2**32), scale=st.sampled_from([1e-12, 1.0, 1e9]),
)  # fmt: skip
@settings(deadline=None, max_examples=25)  # each example is a whole search
def test_a_search_ends_within_its_budget_whatever_the_answers(
    name: str, d: int, seed: int, budget: int, share: float, answers: int, scale: float
) -> None:
    """Answers that no function gives: noise, with a share of failures, of points without a value, of infinities."""
    rng = np.random.default_rng(answers)
    search = SEARCHES[name](d, seed, budget)
    while (points := search.ask()) is not None:
        assert np.all(np.isfinite(points))
        assert len(points) > 0
        if name in ("importance", "scaled"):
            search.tell(rng.random(len(points)) < share)
            continue
        values = scale * rng.standard_normal(len(points))
        values[rng.random(len(points)) < share] = rng.choice([np.nan, np.inf])
        search.tell(values)
    assert search.asked == search.result.evaluated <= max(budget, 200 if name in ("importance", "scaled") else 1)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("value", [0.0, 1.0, np.nan, 5e-324, 1e300])
def test_a_search_ends_where_nothing_ever_changes(name: str, value: float) -> None:
    search = SEARCHES[name](3, 0, 300)
    while (points := search.ask()) is not None:
        boolean = name in ("importance", "scaled")
        search.tell([value == 1.0] * len(points) if boolean else np.full(len(points), value))
    assert search.result.evaluated <= 300
