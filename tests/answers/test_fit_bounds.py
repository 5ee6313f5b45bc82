"""What a fit answers at, near and beyond bounds: truth inside the intervals, refusals, one-sided limits, products.

The curves are made here from known parameters with seeded noise: the right answers are those parameters.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import curve_fit

from claims.coverage import NumpyLab, noisy
from cosim.cli.app import main
from cosim.data.recording import Curve
from cosim.devices.base import Param, Values
from cosim.devices.pulse import full_scale
from cosim.devices.registry import device
from cosim.errors import CosimError, FitError
from cosim.fitting.extract import extract
from cosim.fitting.forward import ExplicitForward
from cosim.fitting.problem import Problem
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.search import search
from cosim.fitting.uncertainty import covariance_of
from cosim.parameters import ParameterSet


def iv(name: str, truth: dict[str, float], v: np.ndarray, *, sigma: float, seed: int = 0) -> Curve:
    """A static curve of a device with Gaussian noise ``sigma`` (A)."""
    model = device(name)
    p = model.values(truth)
    current = np.asarray(model.current(v, model.initial(p), p) if model.states else model.current(v, p))
    return Curve.i_v(v, current + sigma * np.random.default_rng(seed).standard_normal(v.size))


def recipe(name: str, vary: tuple[str, ...], *, kind: str = "i-v", bounds=None, **parts) -> FitRecipe:
    fit = {"vary": vary, "bounds": bounds or {}}
    return FitRecipe.model_validate({"name": "t", "device": name, "data": {"kind": kind}, "fit": fit, **parts})


# --- truth inside the intervals ---------------------------------------------------------------------------------

TRIODE = {"g_on": 4e-3, "v_sat": 45.0, "v_c": 3.0}  # v_sat more than twenty times its start, within the device's 50 V
SINH = {"a1": 0.05, "a2": 0.08, "b": 0.4}
CURVED = {"a1": 0.02, "b": 3.0}
SLOW = {"i_0": 2e-9, "v_0": 0.4}  # i_0 six decades from its default
TRUTHS = {
    "far from the start": ("access_transistor", TRIODE, np.linspace(-1.0, 2.5, 141), 1e-6),
    "a bound of 0 under an upper one of 1000": ("yakopcic", CURVED, np.linspace(-1.0, 1.0, 101), 2e-5),
    "decades from the start": ("filament_reram", SLOW, np.linspace(-1.0, 1.0, 101), 1e-13),
}


@pytest.mark.parametrize("case", TRUTHS)
def test_the_device_s_own_bounds_hold_the_truth(case):
    name, truth, v, sigma = TRUTHS[case]
    found = extract(recipe(name, tuple(truth)), iv(name, truth, v, sigma=sigma))
    assert found.bounds == {entry: device(name).param(entry).bounds for entry in truth}
    for row in found.rows():
        low, high = row.verdict.interval
        assert low <= truth[row.name] <= high, row
        assert row.verdict.status == "identifiable", row
        assert row.value == pytest.approx(truth[row.name], rel=0.02)


@pytest.mark.parametrize("upper", [1.0, 1e3])
def test_errors_are_those_of_curve_fit_however_wide_the_bounds(upper):
    v = np.linspace(-1.0, 1.0, 101)
    curve = iv("yakopcic", {**CURVED, "a1": 0.5}, v, sigma=0.02)  # 0.5: within 0.2 % of 0..1000 from 0
    found = extract(recipe("yakopcic", ("a1", "b"), bounds={"a1": [0, upper]}), curve)

    def current(v, a1, b):
        p = device("yakopcic").values({"a1": a1, "b": b})
        return device("yakopcic").current(v, Values({"x": p.x0}), p)

    values, covariance = curve_fit(current, v, curve.measured, p0=(0.3, 2.0))
    errors = np.sqrt(np.diag(covariance))
    for i, entry in enumerate(("a1", "b")):
        assert found.values[entry] == pytest.approx(values[i], rel=1e-4)
        assert found.uncertainty.stderr(entry) == pytest.approx(errors[i], rel=1e-3)


# --- refusals ---------------------------------------------------------------------------------------------------

RECIPE = """name = "t"
device = "{device}"
[data]
kind = "i-v"
file = "iv.csv"
columns.voltage = {{ name = "V", unit = "V" }}
columns.current = {{ name = "I", unit = "A" }}
[start]
values = {start}
[fit]
vary = {vary}
bounds = {bounds}
"""
REFUSED = {
    "reversed bounds": (
        "access_transistor", ["v_sat"], {"v_sat": ["5 V", "3 V"]}, {},
        "t.toml:12: the lower bound of v_sat, 5 V, is above its upper bound, 3 V"),
    "equal bounds": ("access_transistor", ["v_sat"], {"v_sat": ["3 V", "3 V"]}, {}, "both bounds of v_sat are 3 V"),
    "bounds beyond physics": (
        "access_transistor", ["v_sat"], {"v_sat": ["1 V", "60 V"]}, {},
        "the bounds of v_sat, 1..60 V, reach beyond its physical range 0.05..50 V"),
    "bounds of what does not vary": (
        "access_transistor", ["v_sat"], {"v_c": ["1 V", "6 V"]}, {}, "v_c has bounds but does not vary"),
    "a start outside the bounds": (
        "access_transistor", ["v_sat"], {"v_sat": ["1 V", "3 V"]}, {"v_sat": "5 V"},
        "t.toml:9: the start of v_sat, 5 V, is outside its bounds 1..3 V"),
    "a held value outside physics": (
        "access_transistor", ["v_sat"], {}, {"v_c": "2 kV"}, "t.toml:9: the start of v_c, 2000 V, is outside"),
    "a parameter twice": (
        "access_transistor", ["g_on", "g_on"], {}, {}, "t.toml:11: g_on is named twice among the parameters that vary"),
    "no effect on any static curve": (
        "vteam", ["v_on"], {}, {},
        "v_on has no effect on this curve: v_on cannot be determined from a curve of kind 'i-v'"),
    "two of three without effect": (
        "vteam", ["r_on", "v_on", "k_on"], {}, {}, "v_on and k_on have no effect on this curve"),
    "no effect on these rows": ("yakopcic", ["a2"], {}, {}, "a2 has no effect on this curve, whatever the value"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_exit_code_2(case, tmp_path, capsys):
    name, vary, bounds, start, message = REFUSED[case]
    path = tmp_path / "t.toml"

    def table(entries):
        return "{ " + ", ".join(f"{key} = {value!r}" for key, value in entries.items()) + " }"

    path.write_text(RECIPE.format(device=name, vary=vary, bounds=table(bounds), start=table(start)).replace("'", '"'))
    v = np.linspace(0.0, 1.0, 30)
    rows = [f"{x!r},{1e-3 * x + 1e-4 * x**2!r}" for x in v.tolist()]
    (tmp_path / "iv.csv").write_text("\n".join(["V,I", *rows]))
    assert main(["fit", str(path)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


# --- at and near a bound ----------------------------------------------------------------------------------------

MEMRISTOR = ParameterSet.load("tio2").resolved()


def weak_train(seed: int, top: float) -> tuple[FitRecipe, Curve]:
    """Eighty pulses that hardly pass the thresholds: the range beyond what was reached is a guess."""
    rng = np.random.default_rng(seed)
    clean = NumpyLab("threshold_memristor", MEMRISTOR).clean(rng.uniform(-top, top, 80))
    vary = ("gamma_n", "gamma_p", "ratio", "g_max", "w0")
    spec = recipe("threshold_memristor", vary, kind="pulse train", start={"sets": ["tio2"]})
    return spec, noisy(clean, sigma=0.02 * full_scale(MEMRISTOR))(rng)


@pytest.mark.parametrize(("seed", "top"), [(0, 1.7), (0, 1.8), (0, 2.0), (2, 1.8)])
def test_intervals_stay_within_physics_and_hold_the_truth(seed, top):
    found = extract(*weak_train(seed, top))
    for row in found.rows():
        low, high = row.verdict.interval
        if np.isnan(low):
            assert row.verdict.status in ("at bound", "not identifiable")
            continue
        physical = device("threshold_memristor").param(row.name).bounds
        assert low == -np.inf or low >= physical[0]
        assert high == np.inf or high <= physical[1]
    # with gamma_n held at its bound of 0 the ratio had 1.43 .. 2.86 of a true 7.5, and was called identifiable
    low, high = found.verdict["ratio"].interval
    assert low <= MEMRISTOR.ratio <= high
    assert found.verdict["ratio"].status != "identifiable"


def test_an_error_beside_a_bound_is_called_conditional():
    found = extract(*weak_train(0, 1.7))
    assert found.verdict["gamma_n"].status == "at bound"
    said = found.verdict.sentences()
    assert any("standard errors of the others are conditional on gamma_n = 0" in text for text in said)
    assert found.verdict["ratio"].interval == (pytest.approx(1.7, abs=0.2), np.inf)
    assert "the curve only says that it is above" in found.verdict["ratio"].reason


# --- fits inside each other -------------------------------------------------------------------------------------


def ramps(course: str) -> Curve:
    """Two ramps of the law's course or of its reverse, with noise of 1 % of the range."""
    from cosim.fitting.forwards.equal_pulses import RampForward

    signs, n = [1, 1], 60
    blank = Curve.equal_pulses(np.repeat([[3e-5], [5e-5]], n, axis=1), polarity=signs)
    p = Values({"low": 2e-5, "high": 2e-4, "strength_p": 0.03, "gamma_p": 0.6})
    reads = RampForward(device("threshold_memristor"), blank, np.ones(2 * n, bool), course=course).evaluate(p)
    return blank.with_measured(reads + 1.8e-6 * np.random.default_rng(1).standard_normal(reads.size))


@pytest.mark.parametrize(
    ("truth", "law", "start"),
    [
        ("accelerating", "saturating", "first read"),
        ("accelerating", "saturating", "shared"),
        ("saturating", "accelerating", "first read"),
        ("saturating", "accelerating", "shifted"),
    ],
)
def test_more_parameters_never_fit_worse(truth, law, start):
    """Under the wrong law the misfit has many minima: no fit may end above one with fewer of its parameters."""
    curve, cost = ramps(truth), {}
    names = ["low", "high", "strength_p", "gamma_p"] + ["start_p"] * (start != "first read")
    for count in range(1, len(names) + 1):
        for vary in combinations(names, count):
            spec = recipe("threshold_memristor", vary, kind="equal pulses", ramps={"course": law, "start": start})
            try:
                cost[vary] = float(np.sum(extract(spec, curve).residuals ** 2))
            except CosimError:
                cost[vary] = np.inf
    for larger, smaller in combinations(sorted(cost, key=len, reverse=True), 2):
        if set(smaller) < set(larger):
            assert cost[larger] <= cost[smaller] * (1 + 1e-6), (larger, smaller)


class Waves(ExplicitForward):
    """A sum of two sines: chi-square has a minimum for nearly every pair of frequencies."""

    params = tuple(Param(name, value, "1", (0.01, 20.0), name)
                   for name, value in (("a", 1.0), ("f", 1.0), ("b", 1.0), ("g", 2.0)))  # fmt: skip
    active = tuple(entry.name for entry in params)

    def __init__(self, x):
        self._x = x

    def evaluate(self, p):
        return p.a * np.sin(p.f * self._x) + p.b * np.sin(p.g * self._x)

    def guess(self, p):
        return {}


def test_two_sines_of_unknown_frequency_are_found():
    x = np.linspace(0.0, 6.0, 80)
    forward = Waves(x)
    truth = Values({"a": 2.0, "f": 3.1, "b": 0.7, "g": 6.4})
    y = forward.predict(truth) + 0.05 * np.random.default_rng(0).standard_normal(x.size)
    problem = Problem(forward, y, np.full(x.size, 0.05), np.ones(x.size, bool), forward.active, forward.bounds())
    start = Values({entry.name: entry.default for entry in forward.params})
    assert problem.minimise(start).chi_square > 5 * x.size  # one start alone ends elsewhere
    found = search(problem, start)
    errors = covariance_of(problem, found.p, scale=1.0)
    pairs = sorted([(found.p.a, found.p.f, "f"), (found.p.b, found.p.g, "g")], reverse=True)
    assert pairs[0][1] == pytest.approx(3.1, abs=4 * errors.stderr(pairs[0][2]))
    assert pairs[1][1] == pytest.approx(6.4, abs=4 * errors.stderr(pairs[1][2]))


class Logarithm(Waves):
    """A law that has no value where a exceeds f."""

    def evaluate(self, p):
        return np.log(p.f - p.a) + self._x


def test_a_start_without_a_value_is_an_error_and_no_warning():
    x = np.linspace(0.0, 6.0, 80)
    forward = Logarithm(x)
    problem = Problem(forward, x, np.full(x.size, 0.05), np.ones(x.size, bool), ("a", "f"), forward.bounds())
    for nested in (False, True):
        with pytest.raises(FitError, match="no finite number"):
            problem.minimise(Values({"a": 2.0, "f": 1.0, "b": 1.0, "g": 1.0}), nested=nested)


# --- what only products determine -------------------------------------------------------------------------------


def test_a_nearly_straight_sinh_gives_its_products():
    v = np.linspace(-1.0, 1.0, 201)
    found = extract(recipe("yakopcic", tuple(SINH)), iv("yakopcic", SINH, v, sigma=3e-5, seed=4))
    for entry in SINH:
        assert found.verdict[entry].status == "weakly identifiable", entry
        assert "trades against" in found.verdict[entry].reason
    products = {product.title: product for product in found.verdict.products}
    assert set(products) == {"a1·b", "a2·b"}
    for title, value in (("a1·b", 0.02), ("a2·b", 0.032)):
        low, high = products[title].interval
        assert low <= value <= high
        assert high - low < 0.05 * value
    assert any(text.startswith("a1·b = 0.0") and "only the product is determined" in text
               for text in found.verdict.sentences())  # fmt: skip
    assert found.to_json()["products"][0]["powers"] == {"a1": 1.0, "b": 1.0}


def test_no_products_where_each_parameter_is_known():
    v = np.linspace(-1.0, 2.5, 141)
    assert not extract(
        recipe("access_transistor", tuple(TRIODE)), iv("access_transistor", TRIODE, v, sigma=1e-6)
    ).verdict.products
