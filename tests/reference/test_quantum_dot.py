"""The quantum-dot memristor against its source's equations, typed anew, and against a hand-written circuit."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq, least_squares

from cosim.bench.measures.stdp import change_by_action, delay_at
from cosim.bench.testbench import TIGHT, Testbench
from cosim.devices.base import Values
from cosim.devices.integrate import integrate
from cosim.devices.quantum_dot import QuantumDotMemristor
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Deck
from cosim.errors import InputError
from cosim.fitting.extract import extract
from cosim.fitting.recipe import FitRecipe
from cosim.resources import find
from reference.oracles.quantum_dot import (
    B_N_FULL,
    DELAYS,
    H_E2,
    KT,
    NAMES,
    PULSES,
    RHO,
    TABLE,
    WIDTH,
    A,
    P,
    R,
    actions,
    predicted,
    table,
)  # fmt: skip

DOT = QuantumDotMemristor()


def test_the_source_s_conductances() -> None:
    empty, full = (DOT.conductance(Values({"q": q}), P) for q in (0.0, 1.0))
    assert empty == pytest.approx(0.8e-6, rel=1e-12)
    assert full == pytest.approx(1.4e-11, rel=1e-9)
    assert empty / full == pytest.approx(57000, rel=0.01)  # "around 57000" of 0.8/1.4e-5
    assert pytest.approx(0.224e6, rel=1e-3) == A
    assert 1 / (A * math.exp(B_N_FULL * P.q0) + H_E2) == pytest.approx(1e-6, rel=1e-4)  # the wire's G0
    # G_h behind 1 MOhm is 4 µS of the wire, and from 1 µS the largest change that of Eq. 7, "AB/(A + rho) = 3"
    assert pytest.approx(3.0, rel=1e-6) == 1 / (A + H_E2) / 1e-6 - 1


@given(q=st.floats(0, 1), v=st.floats(-6, 6))
def test_general_form_of_the_conductance(q: float, v: float) -> None:
    expected = v / (A * math.exp(B_N_FULL * q) + RHO)
    assert float(DOT.current(v, Values({"q": q}), P)) == pytest.approx(expected, rel=1e-9, abs=1e-30)


SINGLE = 4.2 * math.log(A / H_E2) / math.log(R / math.e**2 / H_E2)  # K: above it eta gives several currents


@given(eta=st.floats(-0.05, 0.05).filter(bool), kelvin=st.floats(1, 50))
@example(eta=0.00390625, kelvin=18.0)
@settings(max_examples=30, deadline=None)
def test_a_warm_wire_with_several_currents_is_refused(eta: float, kelvin: float) -> None:
    if kelvin < 0.999 * SINGLE:
        DOT.values({**P, "eta": eta, "temperature": kelvin})
    elif kelvin > 1.001 * SINGLE:
        with pytest.raises(InputError, match="more than one current"):
            DOT.values({**P, "eta": eta, "temperature": kelvin})


@given(q=st.floats(0, 1), v=st.floats(-8, 8), eta=st.floats(-0.05, 0.05), kelvin=st.floats(1, 50))
@settings(max_examples=60, deadline=None)
def test_the_implicit_current_solves_eq_2(q: float, v: float, eta: float, kelvin: float) -> None:
    eta = eta if kelvin < 0.99 * SINGLE else 0.0
    p = DOT.values({**P, "eta": eta, "temperature": kelvin})
    raised = KT * (math.log(A / H_E2) + B_N_FULL * q)

    def wire(u: float) -> float:
        exponent = (raised + eta * u) / (KT * kelvin / 4.2)
        return u / H_E2 / (math.exp(min(max(exponent, -80), 80)) + 1)

    got = float(DOT.current(v, Values({"q": q}), p))
    u = brentq(lambda u: u + R * wire(u) - v, min(v, 0) - 1e-9, max(v, 0) + 1e-9, xtol=1e-15, rtol=1e-14)
    # brentq stops at 1e-15 V of a wire whose exponent grows by eta/kT = 140 /V at most
    assert got == pytest.approx(wire(u), rel=1e-8, abs=1e-20)


@given(
    q=st.floats(0, 1),
    v=st.floats(1e-5, 6).flatmap(lambda v: st.sampled_from([-v, v])),  # nearer to zero the integrand is rounding
    eta=st.floats(-0.5, 0.5),
    kelvin=st.floats(2, 50),
)
@example(q=1.0, v=5e-5, eta=0.0, kelvin=4.2)
@example(q=1.0, v=0.011, eta=0.0, kelvin=4.2)
@settings(max_examples=60, deadline=None)
def test_finite_bias_is_the_integral_of_eq_1(q: float, v: float, eta: float, kelvin: float) -> None:
    """(e/h) ∫ [f(E, µ + eu/2) − f(E, µ − eu/2)] dE above the subband, by quadrature, at the wire's own voltage."""
    p = DOT.values({**P, "eta": eta, "temperature": kelvin, "finite_bias": 1.0})
    x = Values({"q": q})
    u = float(DOT.wire_voltage(v, x, p))
    thermal = KT * kelvin / 4.2
    bottom = KT * (math.log(A / H_E2) + B_N_FULL * q) + eta * u

    def window(energy: float) -> float:
        def occupied(at: float) -> float:
            return 1 / (1 + math.exp(min(max((energy - at) / thermal, -700), 700)))

        return occupied(u / 2) - occupied(-u / 2)

    marks = sorted({bottom, *(x for x in (-u / 2, u / 2) if x > bottom)})
    cuts = sorted({max(m + d * thermal, bottom) for m in marks for d in (-40, -8, -2, 0, 2, 8, 40)})
    current = sum(quad(window, a, b, epsrel=1e-10, epsabs=1e-16)[0] for a, b in itertools.pairwise(cuts)) / H_E2
    # quad's epsabs over h/e² is 4e-21 A a piece
    assert float(DOT.current(v, x, p)) == pytest.approx(current, rel=1e-7, abs=1e-18)
    assert u + R * float(DOT.current(v, x, p)) == pytest.approx(v, rel=1e-9, abs=1e-15)


def test_full_dots_block_millivolts_only() -> None:
    """By Eq. 1 the 4.6 meV between the source's two conductances at 4.2 K; by Eq. 2, any voltage."""
    p = DOT.values({**P, "finite_bias": 1.0})
    full = Values({"q": 1.0})
    assert pytest.approx(4.6e-3, rel=0.01) == KT * B_N_FULL
    assert float(DOT.current(1e-4, full, p)) / 1e-4 < 2e-11
    assert float(DOT.current(0.1, full, p)) / 0.1 > 0.8e-6
    assert float(DOT.current(3.7, full, P)) / 3.7 == pytest.approx(1.4e-11, rel=1e-6)


def action(knots: list[tuple[float, float]], threshold: float, *, above: bool) -> float:
    t, v = np.array(knots).T

    def over(time: float) -> float:
        excess = np.interp(time, t, v) - threshold
        return max(excess if above else -excess, 0.0)

    return sum(quad(over, a, b, limit=200, epsrel=1e-10)[0] for a, b in itertools.pairwise(t))


@pytest.mark.parametrize("top", [4.5, 6.0])
def test_discharging_is_eq_6(top: float) -> None:
    p = DOT.values({**P, "alpha_s": 0.0})
    knots = [(0.0, 0.0), (1e-3, top), (2e-3, top), (3e-3, 0.0)]
    t, v = np.array(knots).T
    path = integrate(DOT, p, t=t, across={"pn": v})
    expected = P.q0 * math.exp(-P.alpha_d * action(knots, 3.9, above=True))
    assert path.states["q"][-1] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("top", [-2.5, -5.0])
def test_charging_is_eq_5(top: float) -> None:
    knots = [(0.0, 0.0), (1e-3, top), (2e-3, top), (3e-3, 0.0)]
    t, v = np.array(knots).T
    path = integrate(DOT, P, t=t, across={"pn": v})
    expected = P.q0 + P.b_alpha_c * action(knots, -1.9, above=False) / B_N_FULL
    assert path.states["q"][-1] == pytest.approx(expected, rel=1e-6)
    # Eq. 8, the limit of full dots: ΔG = exp(−B α_c S_c) − 1
    before, after = (float(DOT.conductance(Values({"q": 0.7 + d}), P)) for d in (0.0, expected - P.q0))
    assert after / before == pytest.approx(math.exp(-P.b_alpha_c * action(knots, -1.9, above=False)), rel=2e-3)


def test_slow_discharge_and_nothing_between_the_thresholds() -> None:
    t = np.array([0.0, 1e-2])
    p = DOT.values({**P, "alpha_s": 4.0})
    assert integrate(DOT, P, t=t, across={"pn": np.array([3.8, 3.8])}).states["q"][-1] == P.q0  # Eq. 4 has none
    slow = integrate(DOT, p, t=t, across={"pn": np.array([3.0, 3.0])}).states["q"][-1]
    assert slow == pytest.approx(P.q0 * math.exp(-4 * 3.0 * 1e-2), rel=1e-7)
    assert integrate(DOT, P, t=t, across={"pn": np.array([-1.8, -1.8])}).states["q"][-1] == P.q0


@pytest.mark.spice
def test_a_hand_written_circuit_gives_the_same_current() -> None:
    """Wire and resistor as two elements, the charge fixed, with a gating of 1 meV per V."""
    q = 0.15
    exponent = math.log(A / H_E2) + B_N_FULL * q
    text = (
        "wire and resistor\nV1 p 0 0\nR1 p u 1meg\n"
        f"B1 u 0 I=V(u)/{H_E2!r}/(exp({exponent!r}+{1e-3 / KT!r}*V(u))+1)\n.dc V1 -5 5 0.5\n.end\n"
    )
    options = {**TIGHT, "vntol": 1e-12, "abstol": 1e-18}
    with open_simulator() as simulator:
        data = simulator.run(Deck(text, save=("i(v1)",), options=options))["dc"]
    p = DOT.values({**P, "eta": 1e-3})
    got = -np.asarray(data["i(v1)"].values)
    want = DOT.current(np.linspace(-5, 5, 21), Values({"q": q}), p)
    # Newton's method in ngspice at reltol 1e-6, squared in its last step
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-15)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"g_high": 1e-6}, "lets through"),
        ({"g_low": 0.9e-6}, "not below"),
        ({"eta": 1e-3, "g_high": 0.95e-6}, "more than one current"),
        ({"eta": 0.6, "finite_bias": 1.0}, "more than one current"),
    ],
)
def test_parameters_that_do_not_fit(given: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        DOT.values({**P, **given})


@pytest.mark.parametrize("rule", TABLE)
def test_table_2(rule: str) -> None:
    """The peaks that reference tables state for the printed actions, from the function that the benches use."""
    discharge, charge, between, top, top_at, bottom, bottom_at = TABLE[rule]
    t = np.linspace(-6, 6, 12001)
    change = change_by_action(
        t, discharge=np.array(discharge), charge=np.array(charge), factor=3.0, between=(between[0], between[1])
    )
    # three decimals are stated; at the jump of rules (a), (b) the grid is a step off
    assert change.max() == pytest.approx(top, abs=1.5e-3)
    assert change.min() == pytest.approx(bottom, abs=2e-3)
    if rule == "a":
        assert t[np.argmax(change)] == pytest.approx(top_at, abs=2e-3)
        assert t[np.argmin(change)] == pytest.approx(bottom_at, abs=2e-3)


def test_window_edges() -> None:
    t = np.array([0.0, 1.0, 2.0, 3.0])
    change = np.array([0.0, 0.4, 0.4, 0.0])
    assert delay_at(t, change, 0.1) == pytest.approx(0.25)
    assert delay_at(t, change, 0.1, last=True) == pytest.approx(2.75)
    assert delay_at(t, -change, -0.4) == 1.0
    with pytest.raises(InputError, match="never reaches"):
        delay_at(t, change, 0.5)


def fitted(width: float) -> tuple[float, float, float]:
    """B·alpha_c and alpha_d (1/V/s) by least squares over the four rules at all delays, and the rms that is left."""
    pieces = {rule: [actions(rule, delay, width) for delay in DELAYS] for rule in PULSES}

    def residual(log: np.ndarray) -> np.ndarray:
        own = [np.array([predicted(part, *np.exp(log)) for part in pieces[rule]]) for rule in PULSES]
        return np.concatenate([curve - table(rule) for curve, rule in zip(own, PULSES, strict=True)])

    found = least_squares(residual, [-1.0, 0.0], diff_step=1e-4)
    first, second = np.exp(found.x) * 1e3
    return float(first), float(second), float(np.sqrt(np.mean(found.fun**2)))


def test_the_set_is_the_fit_to_the_four_rules() -> None:
    charging, discharging, rest = fitted(WIDTH)
    # rounded to three and four digits
    assert charging == pytest.approx(P.b_alpha_c, rel=2e-3)
    assert discharging == pytest.approx(P.alpha_d, rel=1e-3)
    nothing = float(np.sqrt(np.mean(np.concatenate([table(rule) for rule in PULSES]) ** 2)))
    # what the set's notes say: a better prediction than none, and than that of pulses of 10 ms
    assert (rest, nothing) == (pytest.approx(0.362, abs=2e-3), pytest.approx(0.631, abs=2e-3))
    assert fitted(10.0) == (pytest.approx(106, abs=1), pytest.approx(350, abs=2), pytest.approx(0.476, abs=2e-3))


@pytest.mark.parametrize("rule", ["a", "b", "c", "d"])
def test_beyond_5_ms_the_presynaptic_pulse_charges(rule: str) -> None:
    """Sec. IV of the source, Fig. 4; and what Eq. 7 calls the largest change is never passed."""
    change = [predicted(actions(rule, d, WIDTH), P.b_alpha_c * 1e-3, P.alpha_d * 1e-3) for d in (-5.5, -5.0, 5.0, 5.5)]
    assert max(change) < -0.08
    assert np.ptp(change) < 1e-3  # nothing depends on the delay any more
    assert max(predicted(actions(rule, d, WIDTH), 0.4, 1.3) for d in DELAYS) < 3.0


def test_more_efficient_charging_as_in_fig_4() -> None:
    """Sec. IV: it widens the delays of charging, and narrows those of discharging in (c)."""

    def curve(rule: str, factor: float) -> np.ndarray:
        return np.array(
            [predicted(actions(rule, d, WIDTH), factor * P.b_alpha_c * 1e-3, P.alpha_d * 1e-3) for d in DELAYS]
        )

    assert np.sum(curve("a", 1.5) < -0.3) > np.sum(curve("a", 1.0) < -0.3) > np.sum(curve("a", 0.5) < -0.3)
    assert np.sum(curve("c", 2.0) > 0) < np.sum(curve("c", 1.0) > 0) < np.sum(curve("c", 0.5) > 0)


def test_why_no_set_holds_table_2() -> None:
    """Charges (V·ms) that pulses of any length have in the same ratio, against Table 2's B·alpha_c·S_c."""
    for width in (5.0, 10.0):
        a, b = (max(sum(c for c, _ in actions(rule, d, width)) for d in DELAYS) for rule in "ab")
        assert b / a > 0.9  # Table 2: 0.18 / 1.68
        tail = sum(c for c, _ in actions("c", 11.0, width))  # the presynaptic pulse alone, and none of the other's
        assert sum(c for c, _ in actions("d", 0.0, width)) / tail > 2.5  # Table 2: 0.65 / 2.3 or more


@pytest.mark.spice
@pytest.mark.parametrize("rule", ["a", "c"])
def test_the_bench_agrees_with_the_equations(rule: str) -> None:
    """The 41 changes of the netlist against Eqs. 3, 5 and 6 over the same pulses, typed anew."""
    change = Testbench.load(f"quantum_dot_{NAMES[rule]}").run()[NAMES[rule]].values
    expected = [predicted(actions(rule, d, WIDTH), P.b_alpha_c * 1e-3, P.alpha_d * 1e-3) for d in DELAYS]
    # reltol 1e-5 follows the state to 1e-4 of its range, of which one unit is a factor exp(12.7) in G
    np.testing.assert_allclose(change, expected, atol=6e-3)


@pytest.mark.spice
def test_what_table_2_has_and_the_prediction_has_not() -> None:
    """Fails by exactly these."""
    run = Testbench.load("quantum_dot_table_2").run()
    failed = {name for name, m in run.measures.items() if m.passed is False}
    held = {name for name, m in run.measures.items() if m.passed}
    assert held == {"anti_hebbian_max"}
    assert failed == {
        "hebbian_max", "hebbian_min", "hebbian_at_minus_4", "rise_at_2", "anti_hebbian_min",
        "anti_hebbian_max_delay", "anti_hebbian_min_delay",
        "anti_hebbian_at_minus_2", "symmetric_max", "symmetric_tail", "anti_symmetric_min", "anti_symmetric_tail",
    }  # fmt: skip


def test_the_extraction_finds_the_lab_s_device() -> None:
    """A (g_high), B·alpha_c, alpha_d, B·n0 (q0) and the thresholds from a noisy loop and distant starts."""
    fit = extract(FitRecipe.load(find("fits", "virtual_lab/quantum_dot.toml")))
    assert {row.name for row in fit.rows()} == {"g_high", "b_alpha_c", "alpha_d", "v_c", "v_d", "q0"}
    for row in fit.rows():
        low, high = row.verdict.interval
        # one in twenty 95 % intervals misses, and six are asked: twice their width
        margin = 0.5 * (high - low)
        assert low - margin < P[row.name] < high + margin, row.name
        assert high - low < 0.2 * abs(P[row.name]), row.name


@pytest.mark.spice
def test_the_lab_s_curve_is_the_shipped_device() -> None:
    ends = np.array([0.0, 4.4, -2.3, 4.2, -2.4, 4.5, -2.2, 4.3, 0.0])
    t = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(ends)))]) / 20.0
    bench = Testbench.load("quantum_dot_loop")
    sweep = {"points": [[float(a), float(b)] for a, b in zip(t, ends, strict=True)]}
    file = bench.file.model_copy(update={"measures": {}, "limits": {}})  # they belong to the bench's own sweep
    data = replace(bench, file=file).with_(stimuli={"sweep": sweep}).run().waveforms
    at = np.linspace(0, t[-1], 1001)
    current = np.interp(at, data["time"].values, data["i(v.xl.vammeter)"].values)
    full = np.max(np.abs(current))
    noisy = current + np.random.default_rng(0).normal(0, 0.01 * full, at.size)
    rows = np.loadtxt(find("fits", "virtual_lab/quantum_dot_loop.csv"), delimiter=",", skiprows=2)
    np.testing.assert_allclose(rows[:, 1], np.interp(at, t, ends), atol=1e-5)  # six digits are written
    # an engine's steps around the fast discharge, against 1 % of noise
    np.testing.assert_allclose(rows[:, 2] * 1e-9, noisy, atol=2e-3 * full)
