"""Which noise a fit finds in a curve, what it says of it, and intervals against independent answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from claims import clipper, coverage_rows
from claims.coverage_rows import TRUTH, TrainLab
from cosim.data.recording import Curve
from cosim.devices.registry import device, devices
from cosim.errors import InputError
from cosim.fitting import correlated, noise, outliers
from cosim.fitting.extract import extract
from cosim.fitting.forward import forward_for
from cosim.fitting.problem import Problem
from cosim.fitting.process import clipped
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.recipe_tables import NoiseSpec
from cosim.fitting.residuals import Order

NINE = tuple(TRUTH)
FOUR = ("theta_p", "alpha_p", "alpha_n", "g_max")


def fit(curve: Curve, vary=FOUR, **given):
    body = {"name": "test", "device": "threshold_memristor", "data": {"kind": "pulse train"}, "fit": {"vary": vary}}
    body["start"] = {"values": {name: value for name, value in TRUTH.items() if name not in vary}}
    return extract(FitRecipe.model_validate({**body, "noise": given}), curve)


def order_of(group: list[int]) -> Order:
    return Order("measurement", np.arange(len(group)), np.array(group))


# --- correlated reads -------------------------------------------------------------------------------------------


def test_whitening_is_the_inverse_root_of_the_correlation_matrix():
    """Against the dense matrix r^|i − j|, with rows that are not fitted and a second group."""
    group, rows = [0] * 7 + [1] * 5, np.array([1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 1, 1], dtype=bool)
    made = correlated.Whitening.of(0.7, order_of(group), rows)
    at, of = np.arange(12)[rows], np.array(group)[rows]
    matrix = np.where(of[:, None] == of, 0.7 ** np.abs(at[:, None] - at), 0.0)
    z = np.random.default_rng(0).standard_normal((2, int(rows.sum())))
    assert made(z) == pytest.approx(np.linalg.solve(np.linalg.cholesky(matrix), z.T).T, rel=1e-9)
    assert made.log_determinant == pytest.approx(np.linalg.slogdet(matrix)[1])
    whole = np.zeros(12)
    whole[rows] = z[0]
    assert made.innovations(whole, rows)[rows] == pytest.approx(made(z[0]))


def test_correlated_reads_are_found_and_widen_the_intervals():
    curve = TrainLab(200, correlation=0.7)(np.random.default_rng(3))
    found, alone = fit(curve), fit(curve, correlation=0.0, step=0.0)
    assert found.verdict.residuals.white
    assert not alone.verdict.residuals.white
    assert any("the noise of neighbouring reads is correlated (0." in s for s in found.verdict.sentences())
    assert {entry.status for entry in found.verdict.parameters} == {"conditional"}
    assert found.uncertainty.stderr("g_max") > 1.3 * alone.uncertainty.stderr("g_max")
    stated = fit(curve, correlation="fit")
    assert {entry.status for entry in stated.verdict.parameters} == {"identifiable"}
    # 200 rows leave a standard error of 0.05
    assert stated.forward is not None
    assert "correlated" in " ".join(stated.verdict.sentences())


def test_correlated_noise_and_clipped_rows_are_refused_together():
    curve = TrainLab(80)(np.random.default_rng(0))
    high = curve.with_measured(np.minimum(curve.measured, 0.8 * curve.measured.max()))
    with pytest.raises(InputError, match="the curve has clipped values, and correlated noise is not for these"):
        fit(high, correlation="fit")


# --- outliers ---------------------------------------------------------------------------------------------------


def test_outliers_are_named_by_row_and_do_not_move_the_fit():
    curve = TrainLab(120)(np.random.default_rng(1))
    y = curve.measured.copy()
    y[[30, 71]] = [9e-3, -4e-4]  # a reading a hundred times too large, and one of the other sign
    found, clean = fit(curve.with_measured(y)), fit(curve)
    assert np.flatnonzero(found.left_out).tolist() == [30, 71]
    assert "but for 2 outliers" in found.verdict.summary
    assert any("2 of 120 values are outliers (rows 31, 72; " in s for s in found.verdict.sentences())
    for name in FOUR:
        assert abs(found.values[name] - clean.values[name]) < 0.5 * clean.uncertainty.stderr(name), name
    kept = fit(curve.with_measured(y), outliers="keep")
    assert not kept.left_out.any()
    assert not kept.verdict.trustworthy


def test_outliers_are_left_out_beside_a_prior():
    curve = TrainLab(120)(np.random.default_rng(1))
    y = curve.measured.copy()
    y[[30, 71]] = [3e-4, -4e-4]
    body = {"name": "test", "device": "threshold_memristor", "data": {"kind": "pulse train"}}
    body["start"] = {"values": {name: value for name, value in TRUTH.items() if name not in FOUR}}
    body["fit"] = {"vary": FOUR, "priors": {"theta_p": {"value": TRUTH["theta_p"], "sigma": 0.1}}}
    found = extract(FitRecipe.model_validate(body), curve.with_measured(y))
    assert np.flatnonzero(found.left_out).tolist() == [30, 71]
    assert any("2 of 120 values are outliers (rows 31, 72; " in s for s in found.verdict.sentences())
    low, high = found.verdict["g_max"].interval
    assert low < TRUTH["g_max"] < high


def test_neighbours_are_no_outliers():
    rows = np.ones(200, dtype=bool)
    alone, together = (np.isin(np.arange(200), places) for places in ([5, 90, 160], [90, 91, 92]))
    assert outliers.scattered(alone, rows, (order_of([0] * 200),))
    assert not outliers.scattered(together, rows, (order_of([0] * 200),))


def test_normal_noise_has_an_outlier_in_one_curve_of_a_hundred():
    rng, rows = np.random.default_rng(0), np.ones(100, dtype=bool)
    count = sum(
        outliers.beyond(rng.standard_normal(100), rows, parameters=4, known=False).max() > 1.0 for _ in range(2000)
    )
    assert 10 <= count <= 60  # 20 expected; the deviation's own scatter doubles it


# --- steps that vary --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mean", "width"), [(0.02, 0.26), (0.5, 0.1), (0.98, 0.3), (0.3, 0.9)])
def test_a_state_between_bounds(mean, width):
    drawn = np.clip(mean + width * np.random.default_rng(0).standard_normal(200_000), 0.0, 1.0)
    centre, variance = clipped(mean, width)
    assert float(centre) == pytest.approx(drawn.mean(), abs=3e-3)
    assert float(variance) == pytest.approx(drawn.var(), rel=0.02)


def test_noise_models_are_compared_on_the_same_rows(monkeypatch):
    """In siemens a row less costs 2 ln σ ≈ -27: the fit that leaves out less would win whatever it says of the rest."""
    seen: list[Any] = []

    def spy(found, stated, curve, *, again, starts):
        seen.extend([found, starts])
        return found

    monkeypatch.setattr("cosim.fitting.extract.explain", spy)
    curve, stated = TrainLab(120, read=0.01, step=0.3)(np.random.default_rng(6)), NoiseSpec(outliers="keep")
    fit(curve, outliers="keep")
    plain, starts = seen
    alike = noise._correlating(plain, stated, curve)
    few = plain.problem.rows & (np.arange(120) % 12 > 0)
    fewer = replace(plain, problem=replace(plain.problem, rows=few))
    varying = replace(noise._stepping(fewer, stated, curve, starts=starts), left=~few)
    assert varying.likelihood > alike.likelihood
    assert noise._likelier([alike, varying], plain, stated, curve) is varying


# --- intervals --------------------------------------------------------------------------------------------------


@pytest.fixture
def diodes(monkeypatch):
    monkeypatch.setitem(devices(), "clipper", clipper.Clipper())


def test_the_clipper_solves_its_circuit():
    """Kirchhoff's law with Shockley's equation, at the node and inside each diode."""
    model = clipper.Clipper()
    current = model.through({"input": clipper.VOLTAGES}, {}, model.values(clipper.TRUTH))["input"]
    node = clipper.VOLTAGES - clipper.SERIES * current
    for sign, k in ((1.0, "1"), (-1.0, "2")):
        i_s, n, r = (clipper.TRUTH[f"{name}{k}"] for name in ("i_s", "n_", "r_"))
        on = sign * clipper.VOLTAGES > 0.8  # the other one leaks i_s at most
        inner = sign * (node - r * current)[on]
        assert sign * current[on] == pytest.approx(i_s * np.expm1(inner / (n * clipper.THERMAL)), abs=2e-8)


def test_the_clipper_names_its_weak_parameters(diodes):
    found = extract(clipper.recipe(), clipper.lab(np.random.default_rng(0)))
    for name in clipper.NAMES:
        low, high = found.verdict[name].interval
        assert low <= clipper.TRUTH[name] <= high, name
        assert found.verdict[name].source == "profile likelihood"
    assert found.verdict["i_s1"].status == "not identifiable"
    low, high = found.verdict["i_s1"].interval
    assert f"any value from {low:.3g} to {high:.3g} fits within the noise" in found.verdict["i_s1"].reason
    assert found.verdict["n_1"].status == "weakly identifiable"
    assert found.verdict["r_2"].status == "identifiable"


@pytest.mark.parametrize(
    ("seed", "name"), [(1, "ratio"), (8, "gamma_p"), (29, "alpha_p"), (36, "alpha_p"), (50, "theta_n")]
)
def test_an_interval_does_not_end_where_a_search_does(seed, name):
    """A value at which the others, looked for from the truth, leave a chi-square below the level lies inside."""
    one = coverage_rows.row("30 pulses")
    curve = one.lab(np.random.default_rng(seed))
    found = extract(one.recipe, curve)
    truth = found.values.with_(**one.truth)
    problem = Problem(
        found.forward, curve.measured, found.sigma, np.ones(len(curve), dtype=bool), found.names, dict(found.bounds)
    )
    level = problem.chi_square(found.values) + stats.t.ppf(0.975, problem.free) ** 2
    assert problem.without(name).minimise(truth).chi_square < level
    entry = found.verdict[name]
    assert entry.interval[0] <= one.truth[name] <= entry.interval[1]
    assert (entry.status == "not identifiable") == (seed in (1, 8))
    if seed == 1:  # flat where it ended, and limited by the curve from below all the same: 1e6 is its bound
        low, high = entry.interval
        assert (low, high) == (pytest.approx(7.72, rel=1e-2), 1e6)
        assert entry.reason.startswith(f"ratio: the curve only says that it is above {low:.4g}")


@pytest.mark.needs("iminuit")
def test_profiles_agree_with_minos(diodes):
    """MINUIT's MINOS on the same chi-square, scaled as our noise and raised by Student's t squared."""
    from iminuit import Minuit

    curve = clipper.lab(np.random.default_rng(2))
    found = extract(clipper.recipe(), curve)
    model, rows = device("clipper"), np.ones(len(curve), dtype=bool)
    problem = Problem(
        forward_for(model, curve, rows), curve.measured, found.sigma, rows, clipper.NAMES, dict(found.bounds)
    )
    logs = {"i_s1", "i_s2"}

    def cost(*x: float) -> float:
        pairs = zip(clipper.NAMES, x, strict=True)
        return problem.chi_square(
            found.values.with_(**{n: float(np.exp(v)) if n in logs else float(v) for n, v in pairs})
        )

    start = [float(np.log(found.values[n]) if n in logs else found.values[n]) for n in clipper.NAMES]
    minuit = Minuit(cost, *start, name=clipper.NAMES)
    minuit.errordef = float(stats.t.ppf(0.975, 25 - 6)) ** 2
    minuit.strategy = 2
    minuit.limits["r_1", "r_2"] = (1e-3, 1e5)
    minuit.limits["n_1", "n_2"] = (0.5, 5.0)
    minuit.migrad()
    minuit.minos("n_1", "r_1", "i_s2")
    for name in ("n_1", "r_1", "i_s2"):
        ends = np.array(
            [minuit.values[name] + minuit.merrors[name].lower, minuit.values[name] + minuit.merrors[name].upper]
        )
        ends = np.exp(ends) if name in logs else ends
        ours = found.verdict[name].interval
        if name in logs:
            ends, ours = np.log(ends), tuple(np.log(ours))
        # our ends are good to 1 % of the half-width
        assert ours == pytest.approx(ends, abs=0.02 * float(np.ptp(ends))), name


def test_a_parameter_at_a_bound_has_an_interval():
    """The curve says that it is above; how far it reaches below comes from the profile."""
    body = {"name": "test", "device": "threshold_memristor", "data": {"kind": "pulse train"}}
    body["fit"] = {"vary": ["g_max", "alpha_p"], "bounds": {"g_max": [1e-6, 119e-6]}}
    body["start"] = {"values": {name: value for name, value in TRUTH.items() if name not in ("g_max", "alpha_p")}}
    entry = extract(FitRecipe.model_validate(body), TrainLab(120)(np.random.default_rng(0))).verdict["g_max"]
    assert (entry.status, entry.source) == ("at bound", "profile likelihood")
    assert 115e-6 < entry.interval[0] <= 119e-6
    assert entry.interval[1] == np.inf
