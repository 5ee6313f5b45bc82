"""The threshold memristor against oracles that do not share its code: the published map typed anew, Radau, quad."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

from cosim.devices.base import Values
from cosim.devices.cell import Cell1T1R
from cosim.devices.pulse import PulseShape, drive
from cosim.devices.threshold import ThresholdMemristor
from cosim.parameters import ParameterSet

MEMRISTOR = ThresholdMemristor()
SETS = ("tio2", "hfo2", "hzo")
# Published values, typed here a second time on purpose: (theta_p, theta_n, alpha_p, alpha_n, gamma_p, gamma_n, r).
PUBLISHED = {
    "tio2": (1.4323, 1.5643, 0.6790, 0.7637, 1.6796, 1.5853, 7.5),
    "hfo2": (0.8038, 0.8518, 0.9608, 1.2833, 1.0172, 0.5086, 4.0),
    "hzo": (0.4117, 0.3886, 1.1592, 0.5496, 1.0679, 1.6871, 2.65),
}


def oracle_map(v: float, w: float, row: tuple[float, ...]) -> float:
    tp, tn, ap, an, gp, gn, _ = row
    if v < -tp:
        w += (1 - w) ** gp * abs(math.exp(-ap * (v + tp)) - 1)
    elif v > tn:
        w -= (w**gn if w > 0.01 else 1.0) * abs(math.exp(an * (v - tn)) - 1)
    return min(max(w, 0.0), 1.0)


@pytest.mark.parametrize("name", SETS)
def test_published_map(name: str) -> None:
    p = ParameterSet.load(name).resolved()
    rng = np.random.default_rng(3)
    v, w = rng.uniform(-3, 3, 500), rng.uniform(0, 1, 500)
    w[:20] = 0.005
    expected = [oracle_map(a, b, PUBLISHED[name]) for a, b in zip(v, w, strict=True)]
    # two orders of the same operations: rounding only
    np.testing.assert_allclose(MEMRISTOR.published_map(v, w, p), expected, rtol=1e-12, atol=1e-15)
    ratio = PUBLISHED[name][6]
    on, off = (MEMRISTOR.conductance(Values({"w": x}), p) for x in (1.0, 0.0))
    assert on / off == pytest.approx(ratio, rel=1e-12)


def small_steps(name: str, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Pulses whose published step is at most 0.05 and starts at least 0.2 from the bound it goes to."""
    p = ParameterSet.load(name).resolved()
    span = 1.6 * max(p.theta_p, p.theta_n)
    v, w = rng.uniform(-span, span, 40 * n), rng.uniform(0, 1, 40 * n)
    step = MEMRISTOR.published_map(v, w, p) - w
    room = np.where(v < 0, 1 - w, w)
    good = (np.abs(step) <= 0.05) & (np.abs(step) > 0) & (room >= 0.2)
    return v[good][:n], w[good][:n]


@pytest.mark.parametrize("name", SETS)
def test_rate_law_agrees_with_the_map_for_small_steps(name: str) -> None:
    p = ParameterSet.load(name).resolved()
    v, w = small_steps(name, np.random.default_rng(4), 2000)
    assert v.size == 2000
    after = MEMRISTOR.advance(v, Values({"w": w}), p, duration=200e-9).w
    # 1 % of full scale is the claim; the second-order difference γ Δw²/(2·0.2) is at most 0.0106 for γ = 1.69
    assert np.max(np.abs(after - MEMRISTOR.published_map(v, w, p))) <= 0.01


@pytest.mark.parametrize("name", SETS)
def test_rate_law_saturates_where_the_map_jumps_to_the_bound(name: str) -> None:
    p = ParameterSet.load(name).resolved()
    v = -(p.theta_p + math.log(4.0) / p.alpha_p)  # K = 3
    assert MEMRISTOR.published_map(v, 0.5, p) == 1.0
    after = MEMRISTOR.advance(v, Values({"w": 0.5}), p, duration=200e-9).w
    assert 0.5 < after < 1.0


@given(
    v=st.floats(-4, 4), w=st.floats(0, 1), gamma=st.floats(0.3, 4), alpha=st.floats(0.1, 2), theta=st.floats(0.3, 2),
    events=st.floats(0.01, 3),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_closed_form_solves_the_rate_law(
    v: float, w: float, gamma: float, alpha: float, theta: float, events: float
) -> None:
    p = MEMRISTOR.values(
        {"theta_p": theta, "theta_n": theta, "alpha_p": alpha, "alpha_n": alpha, "gamma_p": gamma, "gamma_n": gamma}
    )
    duration = events * p.t_event
    after = float(MEMRISTOR.advance(v, Values({"w": w}), p, duration=duration).w)
    assert 0.0 <= after <= 1.0

    def slope(_: float, y: np.ndarray) -> list[float]:
        # 1e-3 of an event as the unit of time keeps RK's first step sensible
        return [float(MEMRISTOR.drift(v, Values({"w": y[0]}), p)["w"]) * p.t_event]

    exact = solve_ivp(slope, (0, events), [w], method="Radau", rtol=1e-9, atol=1e-12).y[0, -1]
    # below EDGE = 1e-6 of a bound the drift is regularised and the closed form is not; γ = 0.3 ends there in finite
    # time, and the regularised tail carries at most EDGE^(γ)-scaled remainders
    assert after == pytest.approx(exact, abs=2e-5)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_overdrive_integral_of_a_trapezoid(sign: float) -> None:
    p = ParameterSet.load("tio2").resolved()
    shape = PulseShape(width=150e-9, rise=40e-9, fall=20e-9)
    top = 2.3
    theta, alpha = (p.theta_p, p.alpha_p) if sign < 0 else (p.theta_n, p.alpha_n)

    def k(time: float) -> float:
        v = top * np.interp(time, [0, 40e-9, 190e-9, 210e-9], [0, 1, 1, 0])
        return math.expm1(alpha * max(v - theta, 0.0))

    expected = (
        sum(
            quad(k, a, b, limit=200, epsabs=0.0, epsrel=1e-9)[0]
            for a, b in ((0, 40e-9), (40e-9, 190e-9), (190e-9, 210e-9))
        )
        / 200e-9
    )
    both = drive(sign * top, p, shape=shape)
    got, other = both if sign < 0 else both[::-1]
    # the integrand has a kink at the threshold, where quad loses a few digits
    assert got == pytest.approx(expected, rel=1e-7)
    assert other == 0.0


@pytest.mark.parametrize("g_on", [4e-3, 7e-4])
def test_cell_pulse_follows_the_drop(g_on: float) -> None:
    cell, rng = Cell1T1R(), np.random.default_rng(5)
    p = cell.values({"g_on": g_on})
    shape = PulseShape()
    worst = 0.0
    for _ in range(25):
        v, w = rng.choice([-1, 1]) * rng.uniform(1.4, 2.6), rng.uniform(0, 1)

        def slope(time: float, y: np.ndarray, v: float = v) -> list[float]:
            now = v * np.interp(time, [0, 5e-9, 205e-9, 210e-9], [0, 1, 1, 0])
            return [float(cell.drift(now, Values({"w": y[0]}), p)["w"])]

        exact = solve_ivp(slope, (0, 210e-9), [w], method="Radau", rtol=1e-8, atol=1e-11, max_step=5e-9).y[0, -1]
        worst = max(worst, abs(float(cell.pulse(v, w, p, shape=shape)[0]) - exact))
    # Kutta's rule; a transistor of 1.4 kOhm against a 5 kOhm device is the hard case
    assert worst < (1.5e-4 if g_on > 1e-3 else 1.5e-3)


@given(
    v=st.floats(-4, 4),
    g=st.floats(1e-9, 1e-1),
    g_on=st.floats(1e-5, 1e-1),
    v_sat=st.floats(0.2, 5),
    v_c=st.floats(0.2, 50),
)
@settings(max_examples=300, deadline=None)
def test_the_drop_carries_one_current(v: float, g: float, g_on: float, v_sat: float, v_c: float) -> None:
    from cosim.devices.access import AccessTransistor

    access = AccessTransistor()
    p = access.values({"g_on": g_on, "v_sat": v_sat, "v_c": v_c})
    u = access.drop(np.float64(v), g, p)
    assert 0 <= u * np.sign(v) <= abs(v) * (1 + 1e-12)
    through = g * (v - u)
    # rounding of the root, relative to the larger of the two currents' scales
    assert access.current(u, p) == pytest.approx(through, rel=1e-6, abs=1e-12 * g_on * max(abs(v), 1e-6))
