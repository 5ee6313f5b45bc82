"""Spreads as a plan writes them, and what is refused; correlation."""

import math
from typing import Any

import numpy as np
import pytest

from cosim.errors import CosimError, UnknownName
from cosim.schema import validate
from cosim.statistics.spread import Correlation, Spread, correlate, correlation_matrix

Z = np.array([-3.0, -1.0, 0.0, 0.5, 2.0])


def spread(**keys: Any) -> Spread:
    return validate(Spread, keys)


def test_the_old_keys_keep_their_meaning() -> None:
    """What a bench could always write: truncation at 4 sigma moves a value by less than 1e-4 sigma within 3."""
    np.testing.assert_allclose(spread(relative="5 %").value(2.0, Z), 2.0 + 0.1 * Z, atol=0.1 * 1e-2)
    np.testing.assert_allclose(spread(absolute="10 mV", clip=math.inf).value(1.0, Z), 1.0 + 0.01 * Z)
    flat = spread(absolute="10 mV", distribution="uniform").value(1.0, np.array([-40.0, 0.0, 40.0]))
    np.testing.assert_allclose(flat, [0.99, 1.0, 1.01])


def test_a_draw_is_the_value_at_a_normal_number() -> None:
    one = spread(relative=0.2, distribution="gamma")
    assert one.draw(3.0, np.random.default_rng(4)) == one.value(3.0, np.random.default_rng(4).standard_normal())


def test_a_spread_survives_being_dumped() -> None:
    for one in (
        spread(relative=0.1),
        spread(absolute="3 mV", min="1 V"),
        spread(distribution="empirical", values=[1, 2]),
    ):
        assert validate(Spread, one.model_dump()) == one


def test_truncation_and_bounds_renormalise() -> None:
    """No value beyond a bound, and none piled up on it: the median of the upper half is where it belongs."""
    one = spread(absolute=1.0, clip=math.inf, min=0.0)
    far = one.value(0.0, np.array([-9.0, 9.0]))
    assert far[0] == pytest.approx(0.0, abs=1e-15)
    assert far[0] >= 0.0
    assert far[1] > 8.0
    # the half normal distribution has its median at the normal's upper quartile
    assert float(one.value(0.0, 0.0)) == pytest.approx(0.6744897501960817, rel=1e-12)
    assert float(spread(absolute=1.0, clip=2.0).value(0.0, 8.0)) == pytest.approx(2.0, abs=1e-9)


def test_a_negative_nominal_value_mirrors_a_positive_distribution() -> None:
    for kind in ("lognormal", "gamma", "weibull"):
        one = spread(relative=0.4, distribution=kind)
        np.testing.assert_allclose(one.value(-2.0, Z), -one.value(2.0, Z))
    bounded = spread(relative=0.4, distribution="lognormal", min=-3.0)
    assert np.all(bounded.value(-2.0, np.linspace(-8, 8, 33)) >= -3.0)


def test_measured_values_and_quantiles() -> None:
    values = [0.9, 1.3, 1.0, 1.2]
    one = spread(distribution="empirical", values=values)
    assert sorted(set(one.value(7.0, np.array([-9.0, 9.0])))) == [0.9, 1.3]
    assert float(one.value(7.0, 0.0)) == pytest.approx(1.1)
    factors = spread(distribution="empirical", values=values, are="factors")
    assert float(factors.value(2.0, 0.0)) == pytest.approx(2.2)
    deviations = spread(distribution="empirical", values=["-10 mV", "10 mV"], are="deviations")
    assert float(deviations.value(2.0, 0.0)) == pytest.approx(2.0)
    # two quantiles of a normal distribution give it back, and its tails
    normal = spread(distribution="empirical", values=[1.0, 1.5], quantiles=[0.5, 0.8413447460685429], clip=math.inf)
    np.testing.assert_allclose(normal.value(0.0, Z), 1.0 + 0.5 * Z, rtol=1e-12)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "either relative or absolute"),
        ({"relative": 0.1, "absolute": 0.1}, "either relative or absolute"),
        ({"relative": 0.0}, "is not above zero"),
        ({"relative": -0.1}, "is not above zero"),
        ({"absolute": 1.0, "distribution": "lognormal"}, "lognormal spread is relative"),
        ({"relative": 0.1, "clip": 0}, "clip"),
        ({"relative": 0.1, "dof": 5}, "dof belongs to a spread that is student-t"),
        ({"relative": 0.1, "distribution": "student-t"}, "lacks dof"),
        ({"relative": 0.1, "distribution": "student-t", "dof": 2}, "dof"),
        ({"relative": 0.1, "distribution": "beta", "a": 2}, "lacks b"),
        ({"relative": 0.1, "min": 2.0, "max": 1.0}, "min is not below max"),
        ({"relative": 50.0, "distribution": "weibull"}, "a Weibull spread of 50 is impossible"),
        ({"relative": 0.1, "shape": 2.0, "distribution": "weibull"}, "either"),
        ({"distribution": "empirical", "values": [1.0]}, "two different values"),
        ({"distribution": "empirical", "values": [1.0, 2.0], "relative": 0.1}, "no relative width"),
        ({"distribution": "empirical", "values": [1.0, 2.0], "quantiles": [0.5]}, "1 quantiles for 2 values"),
        ({"distribution": "empirical", "values": [1.0, 2.0], "quantiles": [0.0, 0.5]}, "not between 0 and 1"),
        ({"distribution": "empirical", "values": [2.0, 1.0], "quantiles": [0.1, 0.5]}, "have to rise"),
        ({"relative": 0.1, "distribution": "cauchy"}, "distribution"),
        ({"relative": 0.1, "width": 1}, "width"),
    ],
)
def test_what_is_refused_says_why(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(CosimError, match=words):
        spread(**keys)


def test_what_a_nominal_value_rules_out_says_why() -> None:
    for kind in ("normal", "lognormal", "gamma", "weibull", "uniform"):
        with pytest.raises(CosimError, match="relative to a value of 0"):
            spread(relative=0.1, distribution=kind).value(0.0, Z)
    with pytest.raises(CosimError, match="leave nothing"):
        spread(relative=0.01, min=2.0).value(1.0, Z)


def correlation(*of: str, rho: float) -> Correlation:
    return validate(Correlation, {"of": list(of), "rho": rho})


def test_correlated_coordinates_have_their_correlation() -> None:
    names = ["a", "b", "c", "d"]
    given = [correlation("a", "c", rho=0.8), correlation("b", "d", rho=-0.5)]
    z = np.random.default_rng(1).standard_normal((200_000, 4))
    found = np.corrcoef(correlate(z, names, given).T)
    # the standard error of a correlation of 200 000 pairs is 2.2e-3 at most; five of them
    np.testing.assert_allclose(found, correlation_matrix(names, given), atol=0.011)
    np.testing.assert_array_equal(correlate(z[0], names, given)[:2], z[0, :2])
    assert correlate(z, names, []) is z


def test_correlations_that_cannot_be_name_their_group() -> None:
    with pytest.raises(CosimError, match=r"rho = -0\.7 is impossible between each two of 3 parameters \(a, b, c\)"):
        correlation("a", "b", "c", rho=-0.7)
    with pytest.raises(CosimError, match="impossible"):
        correlation("a", "b", rho=1.0)
    with pytest.raises(CosimError, match="two or more different"):
        correlation("a", "a", rho=0.5)
    with pytest.raises(UnknownName, match="did you mean theta_p"):
        correlation_matrix(["theta_p", "b"], [correlation("theta_q", "b", rho=0.5)])
    with pytest.raises(CosimError, match=r"given as 0\.5 and 0\.4"):
        correlation_matrix(["a", "b"], [correlation("a", "b", rho=0.5), correlation("b", "a", rho=0.4)])
    chain = [correlation("x", "y", rho=0.5), correlation("a", "b", rho=0.9), correlation("b", "c", rho=0.9)]
    with pytest.raises(CosimError, match=r"between a, b, c contradict"):
        correlation_matrix(["x", "a", "b", "y", "c"], [*chain, correlation("a", "c", rho=-0.9)])
