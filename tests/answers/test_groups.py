"""From many devices to the distributions that a campaign draws from, against the ones that they were drawn from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from cosim.campaign.plan import Sample
from cosim.data.recording import Curve
from cosim.devices.registry import device
from cosim.errors import DataError
from cosim.fitting.extract import extract
from cosim.fitting.recipe import FitRecipe
from cosim.statistics.groups import distributions
from cosim.statistics.spread import correlate

RNG = np.random.default_rng(5)
NORMAL = RNG.permutation(ndtri((np.arange(60) + 0.5) / 60))
TWO_KINDS = np.where(RNG.random(60) < 0.5, -1.0, 1.0) + 0.05 * RNG.standard_normal(60)


def drawn(groups, n=20_000):
    """Values by parameter, drawn as a campaign does from what `Groups.variables` writes."""
    sample = Sample.model_validate({"samples": n, **groups.variables("devices.m")})
    names = list(sample.variables)
    z = correlate(np.random.default_rng(1).standard_normal((n, len(names))), names, sample.correlations)
    short = [name.removeprefix("devices.m.") for name in names]
    return {
        name: sample.variables[f"devices.m.{name}"].value(groups.nominal[name], z[:, k]) for k, name in enumerate(short)
    }


def test_thirty_devices_are_fitted_and_drawn_again():
    """Lognormal conductances that go with a normal voltage; the errors of the fits are no part of the spread."""
    model, v = device("access_transistor"), np.linspace(-1.5, 1.5, 40)
    rng = np.random.default_rng(2)
    first, second = rng.standard_normal((2, 30))
    truth = {"g_on": 4e-3 * np.exp(0.3 * first), "v_sat": 2.0 + 0.1 * (0.8 * first + 0.6 * second)}
    recipe = FitRecipe.model_validate(
        {"name": "one", "device": "access_transistor", "data": {"kind": "i-v"}, "fit": {"vary": ["g_on", "v_sat"]},
         "start": {"values": {"v_c": 2.5}}}
    )  # fmt: skip
    results = []
    for g_on, v_sat in zip(*truth.values(), strict=True):
        clean = model.current(v, model.values({"g_on": g_on, "v_sat": v_sat, "v_c": 2.5}))
        results.append(extract(recipe, Curve.i_v(v, clean + 2e-5 * rng.standard_normal(v.size))))
    values = {name: [one.values[name] for one in results] for name in truth}
    covariance = [one.uncertainty.covariance for one in results]
    found = distributions(values, covariance=covariance, units={"g_on": "S", "v_sat": "V"})
    assert found.margins["g_on"].distribution == "lognormal"
    again = drawn(found)
    for name in truth:  # a deviation of 30 groups is known to 13 %, and to twice that with 95 %
        assert np.std(again[name]) == pytest.approx(np.std(truth[name], ddof=1), rel=0.15), name
        held, total = found.margins[name].held_out
        assert total == 30
        assert held >= 25  # of 28 expected
    assert np.corrcoef(np.log(again["g_on"]), again["v_sat"])[0, 1] == pytest.approx(
        np.corrcoef(np.log(truth["g_on"]), truth["v_sat"])[0, 1], abs=0.1
    )


@pytest.mark.parametrize(
    ("values", "kind"),
    [(5.0 + NORMAL, "normal"), (np.exp(0.8 * NORMAL), "lognormal"), (10.0 + TWO_KINDS, "empirical")],
)
def test_a_margin_is_chosen_by_its_values(values, kind):
    found = distributions({"a": values})
    assert found.margins["a"].distribution == kind
    again = drawn(found)["a"]
    for share in (0.1, 0.5, 0.9):  # within what 60 values know of a quantile, three deviations
        low, high = np.quantile(values, np.clip([share - 0.2, share + 0.2], 0.0, 1.0))
        assert low <= np.quantile(again, share) <= high


def test_errors_are_taken_off_and_what_is_left_of_nothing_is_not_drawn():
    rng = np.random.default_rng(3)
    error = 2.0 * np.ones(400)
    covariance = (error**2)[:, None, None] * np.ones((1, 2, 2))  # both share one error
    shared = 2.0 * rng.standard_normal(400)
    found = distributions(
        {"a": 50.0 + rng.standard_normal(400) + shared, "b": 50.0 + rng.standard_normal(400) + shared},
        covariance=covariance,
    )
    assert float(np.std(drawn(found)["a"])) == pytest.approx(1.0, rel=0.25)  # τ² = 5 − 4 ± 0.35
    assert not found.correlations  # they go together only in what the fits got wrong
    none = distributions({"a": 50.0 + shared}, covariance=(error**2)[:, None, None])
    assert none.margins["a"].spread is None
    assert "is not shown" in none.sentences()[0]


def test_too_few_groups():
    with pytest.raises(DataError, match="4 groups are too few"):
        distributions({"a": [1.0, 2.0, 3.0, 4.0]})
