"""The quantum-dot memristor against its source's equations, typed anew, and against a hand-written circuit."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq

from cosim.bench.measures.stdp import change_by_action, delay_at
from cosim.bench.testbench import TIGHT, Testbench
from cosim.devices.base import Values
from cosim.devices.integrate import integrate
from cosim.devices.quantum_dot import QuantumDotMemristor
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Deck
from cosim.errors import InputError
from cosim.parameters import ParameterSet

DOT = QuantumDotMemristor()
P = ParameterSet.load("qd_2016").resolved()
H_E2 = 6.62607015e-34 / 1.602176634e-19**2
KT = 1.380649e-23 * 4.2 / 1.602176634e-19  # eV
R = 1e6
A = 1 / 0.8e-6 - R - H_E2  # of G = 1/(A exp(Bn) + rho), from G_h
RHO = R + H_E2
B_N_FULL = math.log((1 / 1.4e-11 - RHO) / A)


def test_the_source_s_conductances() -> None:
    empty, full = (DOT.conductance(Values({"q": q}), P) for q in (0.0, 1.0))
    assert empty == pytest.approx(0.8e-6, rel=1e-12)
    assert full == pytest.approx(1.4e-11, rel=1e-9)
    assert empty / full == pytest.approx(57000, rel=0.01)  # "around 57000" of 0.8/1.4e-5
    assert pytest.approx(0.224e6, rel=1e-3) == A
    assert float(DOT.charge_of(0.2e-6, P)) == pytest.approx(P.q0, abs=1e-4)


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
    expected = P.q0 * math.exp(-430 * action(knots, 3.9, above=True))
    assert path.states["q"][-1] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("top", [-2.5, -5.0])
def test_charging_is_eq_5(top: float) -> None:
    knots = [(0.0, 0.0), (1e-3, top), (2e-3, top), (3e-3, 0.0)]
    t, v = np.array(knots).T
    path = integrate(DOT, P, t=t, across={"pn": v})
    expected = P.q0 + 450 * action(knots, -1.9, above=False) / B_N_FULL
    assert path.states["q"][-1] == pytest.approx(expected, rel=1e-6)
    # Eq. 8, the limit of full dots: ΔG = exp(−B α_c S_c) − 1
    before, after = (float(DOT.conductance(Values({"q": 0.7 + d}), P)) for d in (0.0, expected - P.q0))
    assert after / before == pytest.approx(math.exp(-450 * action(knots, -1.9, above=False)), rel=2e-3)


def test_slow_discharge_and_nothing_between_the_thresholds() -> None:
    t = np.array([0.0, 1e-2])
    slow = integrate(DOT, P, t=t, across={"pn": np.array([3.0, 3.0])}).states["q"][-1]
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
    ],
)
def test_parameters_that_do_not_fit(given: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        DOT.values({**P, **given})


TABLE = {  # (S_d, S_c in powers of ms; delays between which the dots discharge; max, its delay; min, its delay)
    "a": ((0.34, 0.34, -0.17), (0.9, -0.864, -0.24), (0, 20), 1.199, 1.0, -0.813, -1.8),
    "b": ((0.96, 0, -0.08), (0.18, 0, -0.1), (-20, 0), 1.851, 0.0, -0.165, 0.0),
    "c": ((0.2, 0, -0.2), (0, 0, 0.2), (-1, 1), 0.544, 0.0, -1.0, 6.0),
    "d": ((), (0.65, 0, -0.1), (0, 0), 0.0, 6.0, -0.478, 0.0),
}


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


@pytest.mark.spice
@pytest.mark.parametrize("rule", ["hebbian", "anti_symmetric"])
def test_the_bench_agrees_with_numpy(rule: str) -> None:
    """Every sixth of the 41 delays, from the knots of the netlist to ΔG, without a simulator."""
    bench = Testbench.load(f"quantum_dot_{rule}")
    change = bench.run()[rule].values
    pre = np.array(bench.file.stimuli["pre"].points)
    text = next(
        line
        for line in (bench.folder / bench.file.netlist).read_text().split(f".subckt {rule} pre")[1].splitlines()[1:]
    )
    numbers = [
        float(w.rstrip("m")) * (1e-3 if w.endswith("m") else 1) for w in text.split("(")[1].split(")")[0].split()
    ]
    post = np.array(numbers).reshape(-1, 2)
    delays = np.linspace(-6e-3, 6e-3, 41)
    for index in range(0, 41, 6):
        shifted = post[:, 0] + 8e-3 + delays[index]
        t = np.unique(np.concatenate([pre[:, 0], shifted]))
        v = np.interp(t, *pre.T) - np.interp(t, shifted, post[:, 1])
        path = integrate(DOT, P, t=t, across={"pn": v})
        g0, g1 = (float(DOT.conductance(Values({"q": path.states["q"][k]}), P)) for k in (0, -1))
        # the read pulses' own slow discharge is 3e-4; the bench follows the state to 2e-3 of its range
        assert change[index] == pytest.approx(g1 / g0 - 1, abs=0.01)
