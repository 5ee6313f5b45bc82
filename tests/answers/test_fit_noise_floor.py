"""Parameters that a model's own error hides: no derivative from rounding, and no value below a circuit's reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from answers.test_fit_circuits import CLIPPER, RECIPE, TRUTH, made, sweep
from cosim.devices.base import Array, Param, Values
from cosim.fitting.extract import extract
from cosim.fitting.forwards.circuit import REACH
from cosim.fitting.forwards.lawful import LawForward
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.start import within_reach

X = np.linspace(0.0, 1.0, 41)
PARAMS = tuple(Param(name, 100.0, "Ohm", (0.0, np.inf), "of a circuit") for name in ("seen", "hidden", "floating"))
AT = Values({"seen": 80.0, "hidden": 100.0, "floating": 100.0})


def rough(p: Values, *, error: float = 1e-9) -> Array:
    """A line by ``seen``, a little of ``floating``, and an error that jumps whenever anything moves."""
    place = np.array([p["seen"], p["hidden"], p["floating"]]).view(np.uint64)
    jumps = np.random.default_rng(place).standard_normal(X.size)
    return np.asarray(p["seen"] / 100.0 * X + 1e-4 * p["floating"] * X**2 + error * jumps)


@pytest.mark.parametrize("value", [100.0, 1.0, 1e-8])
def test_a_derivative_of_rounding_is_none(value: float) -> None:
    forward = LawForward(rough, size=X.size, params=PARAMS)
    _, (seen, hidden, floating) = forward.linearise(
        AT.with_(hidden=value, floating=value), ("seen", "hidden", "floating")
    )
    np.testing.assert_allclose(seen, X / 100.0, atol=1e-5)
    assert not hidden.any()  # differences of 1e-9 over a step of 6e-6 of 1e-8 would be a derivative of 1e4
    np.testing.assert_allclose(floating, 1e-4 * X**2, atol=2e-5)  # seen at its usual size where it has vanished


def test_what_is_smooth_keeps_its_derivative() -> None:
    """A tenth digit that a parameter moves is seen where the law has no error; so is one that starts on a bound."""
    forward = LawForward(lambda p: rough(p, error=0.0), size=X.size, params=PARAMS)
    _, (floating,) = forward.linearise(AT.with_(floating=1e-5), ("floating",))
    np.testing.assert_allclose(floating, 1e-4 * X**2, atol=1e-6)
    _, (edge,) = forward.linearise(AT.with_(floating=0.0), ("floating",))
    np.testing.assert_allclose(edge, 1e-4 * X**2, atol=1e-9)


def test_open_ends_are_within_reach_of_the_start() -> None:
    class Circuit(LawForward):
        reach = REACH

    forward = Circuit(rough, size=X.size, params=(*PARAMS, Param("v", 0.5, "V", (-np.inf, np.inf), "voltage")))
    start = AT.with_(v=0.5)
    given = {"seen": (0.0, np.inf), "hidden": (1.0, np.inf), "floating": (0.0, 1e3), "v": (-np.inf, np.inf)}
    found = within_reach(forward, given, start)
    assert found == {
        "seen": (80.0 / REACH, 80.0 * REACH),
        "hidden": (1.0, 1e8),
        "floating": (1e-4, 1e3),
        "v": given["v"],
    }
    assert within_reach(LawForward(rough, size=X.size, params=PARAMS), {"seen": (0.0, np.inf)}, start) == {
        "seen": (0.0, np.inf)
    }


@pytest.mark.spice
def test_a_resistance_that_nothing_shows_is_not_determined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its branch is off: the search may leave with it, but not to where differences are the simulator's rounding."""
    monkeypatch.setenv("COSIM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "clipper.toml").write_text(CLIPPER)
    (tmp_path / "recipe.toml").write_text(RECIPE.replace('"rp", "rn", "is1", "is2"', '"rp", "is2"'))
    recipe = FitRecipe.load(tmp_path / "recipe.toml")
    curve = made(recipe, sweep(-2.0, 0.2, 12), {**TRUTH, "rp": 120.0, "rn": 20.0})
    found = extract(recipe, curve)
    rows = {row.name: row for row in found.rows()}
    assert rows["rp"].verdict.status in ("not identifiable", "at bound")
    assert rows["rp"].stderr is None
    assert 20.0 / REACH <= rows["rp"].value <= 20.0 * REACH
    low, high = rows["rp"].verdict.interval
    assert low < 120.0 < high
    low, high = rows["is2"].verdict.interval
    assert rows["is2"].verdict.status == "identifiable"
    assert low < TRUTH["is2"] < high


@pytest.mark.slow
def test_the_order_of_names_and_columns_changes_no_minimum(tmp_path: Path) -> None:
    """Thresholds put kinks into chi-square, at each of which a search may end: which one must not hang on an order."""
    recipe = FitRecipe.load("stc_equations")
    away = {"c_pre": 0.4, "tau_c": 0.03, "gamma_p": 1000.0}
    recipe = recipe.model_copy(
        update={"start": recipe.start.model_copy(update={"values": {**recipe.start.values, **away}}),
                "fit": recipe.fit.model_copy(update={"vary": tuple(away)})}
    )  # fmt: skip
    curve = recipe.curve()
    names = list(reversed(curve.columns))
    turned = curve.with_(columns={n: curve[n] for n in names}, units={n: curve.units[n] for n in names})
    other = recipe.model_copy(update={"fit": recipe.fit.model_copy(update={"vary": recipe.fit.vary[::-1]})})
    first, second = extract(recipe, curve), extract(other, turned)
    # States are integrated to 1e-5, by which chi-square is rough by 0.4: within the root of that, in standard errors,
    # two searches are at one minimum. In some processes they end 1e-5 apart instead of 1e-6; why is not known.
    for row in first.rows():
        assert row.stderr is not None
        assert abs(second.values[row.name] - row.value) <= 0.4**0.5 * row.stderr, row.name
    assert not any("better minimum" in said for said in first.verdict.remarks)
