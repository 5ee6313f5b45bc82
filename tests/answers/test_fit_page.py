"""The page of a fit: its axes, the ramps that it draws, the law that it prints, and advice that does not disagree."""

from dataclasses import replace

import numpy as np
import pytest

from cosim.data.recording import Curve, Recording
from cosim.devices.base import Values
from cosim.devices.registry import device
from cosim.fitting.extract import extract
from cosim.fitting.forwards.equal_pulses import RampForward
from cosim.fitting.identify import Pair
from cosim.fitting.law import fit_law
from cosim.fitting.recipe import FitRecipe
from cosim.report import fit_figures
from cosim.report.fit_page import _sentence, next_steps

LOGARITHMIC = np.geomspace(1.0, 1e5, 40)


@pytest.mark.parametrize(
    ("kind", "x", "scale"),
    [
        ("relaxation", LOGARITHMIC, "log"),
        ("relaxation", np.append(0.0, LOGARITHMIC), "symlog"),
        ("relaxation", np.arange(1.0, 1000.0), "log"),
        ("relaxation", np.linspace(1.0, 60.0, 40), "linear"),
        ("endurance", np.round(np.geomspace(1.0, 1e6, 30)), "log"),
        ("paired pulses", np.geomspace(1e-3, 10.0, 20), "log"),
        ("stdp window", np.append(-LOGARITHMIC, LOGARITHMIC), "linear"),
        ("transient", np.arange(1.0, 1000.0), "linear"),  # a trace in equal steps
        ("transient", LOGARITHMIC, "log"),
    ],
)
def test_rows_over_decades_are_drawn_over_decades(kind: str, x: np.ndarray, scale: str) -> None:
    names = {
        "relaxation": ("time", "read"), "endurance": ("cycle", "read"), "paired pulses": ("interval", "ratio"),
        "stdp window": ("interval", "change"), "transient": ("time", "current"),
    }[kind]  # fmt: skip
    columns = {names[0]: x, names[1]: 1.0 + 0.0 * x, **({"voltage": 1.0 + 0.0 * x} if kind == "transient" else {})}
    units = {"time": "s", "cycle": "1", "interval": "s", "read": "S", "ratio": "1", "change": "1", "voltage": "V"}
    found = Recording(kind, columns, {name: units.get(name, "A") for name in columns})
    assert fit_figures.plot_curve(found).get_xscale() == scale


def ramps(truth: dict[str, float], starts: list[float], *, n: int = 30) -> Curve:
    """Ramps of the published law: potentiation and depression in turn."""
    signs = [1 if k % 2 == 0 else -1 for k in range(len(starts))]
    p = Values(truth)
    first = p.low + (p.high - p.low) * np.repeat(starts, n)
    blank = Curve.equal_pulses(first.reshape(-1, n), polarity=signs, unit="S")
    forward = RampForward(device("threshold_memristor"), blank, np.ones(first.size, dtype=bool))
    return blank.with_measured(forward.evaluate(p))


TRUE = {"low": 2e-5, "high": 2e-4, "strength_p": 0.03, "strength_n": 0.02, "gamma_p": 1.6, "gamma_n": 0.7}


def recipe(vary: tuple[str, ...], **start: float) -> FitRecipe:
    body = {"name": "r", "device": "threshold_memristor", "data": {"kind": "equal pulses"}, "fit": {"vary": vary}}
    return FitRecipe.model_validate({**body, "start": {"values": start, "from_data": not start}})


@pytest.mark.parametrize("count", [4, 6, 12])
def test_ramps_of_both_polarities_are_drawn(count: int) -> None:
    starts = [0.1 + 0.005 * k if k % 2 == 0 else 0.9 - 0.005 * k for k in range(count)]
    found = extract(recipe(tuple(TRUE)), ramps(TRUE, starts))
    fits = [line.get_ydata() for line in found.plot().lines if line.get_linestyle() == "-"]
    rising = sum(bool(y[-1] > y[0]) for y in map(np.asarray, fits))
    assert (rising, len(fits) - rising) == (2, 2)


def test_a_limit_that_the_reads_set_is_not_called_physical_nor_wide_enough() -> None:
    """Ramps that go an eleventh of the way: ``high`` is looked for no further than twice what was read."""
    curve = ramps({**TRUE, "high": 2e-3, "strength_p": 0.003, "gamma_p": 3.0}, [0.0], n=30)
    found = extract(recipe(("high", "strength_p"), low=2e-5, high=4e-4, gamma_p=3.0, strength_p=0.01), curve)
    entry = found.verdict["high"]
    assert entry.status == "at bound"
    assert (
        f"high stopped at the upper end {found.values.high:.4g} of the range that the measured values set"
        in entry.reason
    )
    said = " ".join(next_steps(found))
    assert f"fix high at {found.values.high:.4g}, or try another law" in said
    assert "widen" not in said + entry.reason
    assert "amplitude of the pulses is not known" not in " ".join(found.verdict.sentences())


def test_a_bound_that_the_caller_gave_can_be_widened() -> None:
    x = np.linspace(1.0, 2.0, 20)
    y = 2.0 * x + 0.01 * np.random.default_rng(0).standard_normal(x.size)
    found = fit_law(lambda x, a, b: a * x + b, x, y, start={"a": 0.5, "b": 0.1}, bounds={"a": (0.0, 1.0)})
    assert found.verdict["a"].reason == "a stopped at its upper bound 1: widen the bound, or fix a"
    assert "widen the bounds of a, or fix it" in next_steps(found)


@pytest.mark.parametrize(
    ("held", "how"), [({}, "taken from the reads"), ({"low": 1e-6, "high": 2e-4}, "low = 1e-06: not fitted but held")]
)
def test_a_bound_that_was_not_fitted_says_where_it_is_from(held: dict[str, float], how: str) -> None:
    start = {name: value for name, value in TRUE.items() if name not in held} | held if held else {}
    found = extract(recipe(tuple(name for name in TRUE if name != "low"), **start), ramps(TRUE, [0.1, 0.9, 0.2, 0.8]))
    assert how in " ".join(found.verdict.sentences())


def test_a_law_is_printed_with_what_x_is_and_the_values_that_it_holds() -> None:
    noise = 1e-3 * np.random.default_rng(1).standard_normal(LOGARITHMIC.size)
    reads = 5e-5 * (LOGARITHMIC / 1.0) ** -0.04 * (1.0 + noise)
    curve = Recording("relaxation", {"time": 2.0 * LOGARITHMIC, "read": reads}, {"time": "s", "read": "S"})
    body = {"name": "r", "law": "power law", "data": {"kind": "relaxation"}, "fit": {"vary": ["first", "exponent"]}}
    found = extract(FitRecipe.model_validate(body), curve)
    assert fit_figures.chosen(found) == "first·(x/reference)^exponent, where x is the time and reference = 2 s"
    assert found.verdict.trustworthy
    assert not any("set" in sentence.split() for sentence in next_steps(found))  # a law has none


def test_advice_beside_a_proposal_is_the_proposal() -> None:
    x = np.linspace(0.0, 1.0, 30)
    y = x + 0.01 * np.random.default_rng(2).standard_normal(x.size)
    found = fit_law(lambda x, a, b: a * x + b, x, y, start={"a": 1.0, "b": 0.1})
    pair = Pair("a", "b", 0.99, 1.0, 0.01, (0.5, 0.5), ("drive", "drive"))
    traded = replace(found, verdict=replace(found.verdict, pairs=(pair,)))
    wider = "over a wider range of amplitudes"
    assert wider in " ".join(next_steps(traded))
    assert wider in " ".join(traded.verdict.sentences())
    assert wider not in " ".join(traded.verdict.sentences(remedies=False))
    traded.__dict__["proposal"] = "a longer ramp"
    assert "measure a longer ramp" in next_steps(traded)
    assert wider not in " ".join(next_steps(traded))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("V_on is known to 3 %", "V_on is known to 3 %."),
        ("v_on is known to 3 %", "v_on is known to 3 %."),
        ("gamma and ratio cannot be told apart", "gamma and ratio cannot be told apart."),
        ("gammas differ", "Gammas differ."),
        ("low = 0: not fitted", "low = 0: not fitted."),
        ("measure a ramp", "Measure a ramp."),
        ("", ""),
    ],
)
def test_a_name_is_not_capitalised(text: str, shown: str) -> None:
    assert _sentence(text, ("gamma", "low", "ratio")) == shown
