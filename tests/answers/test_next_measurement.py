"""What a fit proposes to measure next: where it lies, and that it tells what was open."""

from __future__ import annotations

import numpy as np
import pytest

import cosim
from claims.next_measurement import CASES, Case, tried, widest
from cosim.data.recording import Recording
from cosim.errors import InputError
from cosim.fitting.designs import designs
from cosim.fitting.extract import extract
from cosim.fitting.result import FitResult

_CASES = {case.name: case for case in CASES}


def _fitted(case: Case, seed: int = 1) -> FitResult:
    rng = np.random.default_rng(seed)
    curve = case.curve(rng)
    sigma = case.noise * float(np.ptp(case.measured(curve, 0.0, rng)))
    curve = curve.with_measured(case.measured(curve, sigma, rng))
    return extract(case.recipe(curve), curve)


@pytest.mark.parametrize("name", ["linear region", "pulses of one size"])
def test_the_proposed_measurement_halves_the_widest_interval(name: str) -> None:
    """The virtual laboratory makes it; the old rows and the new ones are fitted together."""
    row = tried(_CASES[name], 1)
    assert row["halved"], row


def test_a_transistor_known_in_its_linear_region_is_asked_beyond_it() -> None:
    """Where the current bends is told by voltages that were not applied; reach = 1 keeps to those that were."""
    fit = _fitted(_CASES["linear region"])
    far, near = cosim.next_measurement(fit), cosim.next_measurement(fit, reach=1.0)
    assert far is not None
    assert np.abs(far.design.columns["voltage"]).max() > 0.4
    assert near is None or np.abs(near.design.columns["voltage"]).max() <= 0.1 + 1e-12
    assert "voltage" in str(far)


def test_the_linear_estimate_is_that_of_a_linear_law() -> None:
    """A law that is linear in its only parameter: the error after as many rows again is known in closed form."""
    v = np.linspace(-0.1, 0.1, 41)
    case = Case("line", "access_transistor", "", lambda rng: Recording.i_v(v, 0.0 * v), ("g_on",), noise=0.02)
    fit = _fitted(case)
    proposal = cosim.next_measurement(fit, reach=1.0, rows=41)
    assert proposal is not None
    # Every new row stands at an end of the range, where the current tells most: 41 of them at full voltage.
    flat = case.p
    slope = np.abs(v) / np.sqrt(1.0 + (v / float(flat.v_sat)) ** 2) if hasattr(flat, "v_sat") else np.abs(v)
    weight = np.sum(slope**2)
    assert np.abs(proposal.design.columns["voltage"]).min() == pytest.approx(0.1, rel=1e-9)
    expected = proposal.before * np.sqrt(weight / (weight + 41 * slope.max() ** 2))
    assert proposal.after == pytest.approx(expected, rel=0.02)  # the transistor bends by a percent at 0.1 V


def test_an_initial_state_is_not_what_a_later_row_is_chosen_for() -> None:
    """What the state was before the first pulse is no wish of the next measurement."""
    proposal = cosim.next_measurement(_fitted(_CASES["few pulses"]))
    assert proposal is not None
    assert "w0" not in (proposal.parameter, proposal.worst)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_designs_continue_their_curve_within_reach(case: Case) -> None:
    """Rows of every design: time goes on, and what is applied stays within reach times what was."""
    curve = case.curve(np.random.default_rng(0))
    for design in designs(curve, reach=1.5, rows=50):
        joined = design.after(curve)
        assert len(joined) == len(curve) + len(design)
        for name, column in design.columns.items():
            if name == "time":
                assert np.all(np.diff(joined["time"]) > 0.0)
            else:
                assert np.abs(column).max() <= 1.5 * np.abs(curve[name]).max() * (1.0 + 1e-12)


@pytest.mark.parametrize(("arguments", "said"), [({"reach": 0.5}, "reach = 0.5"), ({"rows": 0}, "0 rows")])
def test_arguments_out_of_range(arguments: dict[str, float], said: str) -> None:
    """One sentence with what to give instead."""
    fit = extract(cosim.FitRecipe.load("virtual_lab/access"))
    with pytest.raises(InputError, match=said):
        cosim.next_measurement(fit, **arguments)  # type: ignore[arg-type]


def test_the_widest_interval_counts_an_open_end_to_the_bound() -> None:
    """Of a parameter that the curve does not limit, the whole of the search's interval."""
    case = _CASES["linear region"]
    fit = _fitted(case)
    width, name = widest(fit, case.p)
    assert name == "v_c"
    assert width == pytest.approx((1000.0 - 0.05) / float(case.p["v_c"]), rel=0.05)


def test_a_curve_may_repeat_zero_volts() -> None:
    """Rows at 0 V tell no conductance; the guess is read off the others."""
    v = np.concatenate([np.zeros(40), np.linspace(0.1, 0.5, 20)])
    case = Case("zeros", "access_transistor", "", lambda rng: Recording.i_v(v, 0.0 * v), ("g_on",), noise=0.001)
    fit = _fitted(case)
    assert float(fit.values["g_on"]) == pytest.approx(float(case.p["g_on"]), rel=0.01)
