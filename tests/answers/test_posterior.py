"""Samples of what the parameters of a fit may be: against laws whose posterior is known, and beside the likelihood."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import cosim
from cosim.cli.app import main
from cosim.errors import EngineMissing, InputError
from cosim.fitting.extract import extract
from cosim.fitting.posterior import _log_density, _target
from cosim.fitting.recipe import FitRecipe

X = np.linspace(-1.0, 1.0, 15)
Y = 2.0 + 3.0 * X + 0.1 * np.random.default_rng(3).standard_normal(X.size)
emcee = pytest.mark.needs("emcee")


def line(**more):
    return cosim.fit_law(lambda x, a, b: a + b * x, X, Y, start={"a": 1.0, "b": 3.0}, **more)


@emcee
def test_a_straight_law_with_noise_of_its_own_has_students_t() -> None:
    """With flat priors and 1/σ for the noise each parameter is Student's t with n − k degrees of freedom."""
    found = cosim.posterior(fit := line(), steps=1500)
    assert found.long_enough
    assert str(found).startswith("32 walkers, ")
    t = stats.t(X.size - 2)
    for name in ("a", "b"):
        value, error = float(fit.values[name]), fit.uncertainty.stderr(name)
        z = (np.percentile(found.samples[:, found.names.index(name)], [2.5, 16.0, 50.0, 84.0, 97.5]) - value) / error
        # some 1000 independent samples: 0.1 is three standard errors of the outer quantiles
        assert z == pytest.approx(t.ppf([0.025, 0.16, 0.5, 0.84, 0.975]), abs=0.2)


@emcee
def test_a_prior_is_in_the_density_once() -> None:
    """A normal prior on one parameter, noise stated: the posterior is normal, with the precisions added up."""
    fit = line(sigma=0.1, priors={"a": {"value": 2.2, "sigma": 0.02}})
    found = cosim.posterior(fit, steps=1000)
    rows = X.size / 0.1**2
    expected = (rows * Y.mean() + 2.2 / 0.02**2) / (rows + 1.0 / 0.02**2)
    width = (rows + 1.0 / 0.02**2) ** -0.5
    low, high = found.interval("a")
    assert (low, high) == pytest.approx((expected - 1.96 * width, expected + 1.96 * width), abs=0.15 * width)


def test_the_density_of_rows_with_estimated_noise() -> None:
    """−(n/2) ln Σ z² of the rows, whatever the unit of z."""
    problem, values, blocks = _target(line())
    there = values.with_(a=float(values["a"]) + 0.05)
    change = _log_density(problem, there, blocks) - _log_density(problem, values, blocks)
    ratio = problem.chi_square(there) / problem.chi_square(values)
    assert change == pytest.approx(-0.5 * X.size * math.log(ratio))


@emcee
def test_samples_are_those_of_the_seed_and_keep_to_the_bounds() -> None:
    fit = line(bounds={"b": (2.99, 3.01)})
    one, again, other = (cosim.posterior(fit, steps=500, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.samples, again.samples)
    assert not np.array_equal(one.samples, other.samples)
    b = one.samples[:, 1]
    assert (b.min() >= 2.99, b.max() <= 3.01) == (True, True)
    # a hundredth of b's standard error wide: uniform between the bounds
    assert np.mean(b < 3.0) == pytest.approx(0.5, abs=0.1)


@emcee
def test_a_short_chain_says_so() -> None:
    found = cosim.posterior(line(), steps=40)
    assert not found.long_enough
    assert "too short, 50 are wanted" in str(found)


def test_a_fit_through_a_netlist_or_of_nothing_is_not_sampled() -> None:
    flat = cosim.fit_law(
        lambda x, a, b: a + b * x**2, X, np.random.default_rng(0).standard_normal(15), start={"a": 1, "b": 1}
    )
    with pytest.raises(InputError, match="no more than a constant"):
        cosim.posterior(flat)


def test_without_the_package_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "emcee", None)
    with pytest.raises(EngineMissing, match=r"needs the package emcee, which is not installed"):
        cosim.posterior(line())
    assert main(["fit", "virtual_lab/access", "--posterior"]) != 0
    said = capsys.readouterr()
    assert "pip install 'cosim-spice[posterior]'" in said.err
    assert said.out == ""


@emcee
def test_the_shell_prints_writes_and_draws_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosim.fitting.posterior.RUN", 200)
    monkeypatch.setattr("cosim.fitting.posterior.LONG", 1.0)
    page = tmp_path / "fit.html"
    assert main(["fit", "virtual_lab/access", "--posterior", "--json", "--report", str(page)]) == 0
    told = json.loads(capsys.readouterr().out)["posterior"]
    assert told["steps"] == 200
    fit = extract(FitRecipe.load("virtual_lab/access"))
    for name, entry in told["parameters"].items():
        low, high = entry["interval_95"]
        assert low < float(fit.values[name]) < high, name
    text = page.read_text()
    assert "95 % of the samples" in text
    assert "Posterior: 32 walkers, 200 steps" in text


@emcee
def test_several_recordings_are_sampled_together() -> None:
    curve = FitRecipe.load("virtual_lab/access").curve()
    recipe = cosim.JointRecipe.model_validate(
        {
            "name": "two", "device": "access_transistor", "observations": [{"name": n, "kind": "i-v"} for n in "AB"],
            "parameters": {"g_on": {"scope": "own"}, "v_sat": {}, "v_c": {}},
        }
    )  # fmt: skip
    fit = cosim.extract_joint(recipe, {"A": curve, "B": curve.with_measured(2.0 * curve.measured)})
    found = cosim.posterior(fit, steps=300)
    for row in fit.rows():
        low, high = found.interval(row.name)
        a, b = row.verdict.interval
        assert (high - low) == pytest.approx(b - a, rel=0.4), row.name
