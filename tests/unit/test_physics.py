"""Physics checks: each tells a sound model from a broken one, and every device of the registry passes."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim.bench import physics
from cosim.bench.examine import Subject, examine
from cosim.bench.physics import Check, Physics, check_device
from cosim.devices.base import Inner, Operand, Param, State, TwoTerminal, Values
from cosim.devices.registry import device, devices
from cosim.engines.simulator import Simulator
from cosim.errors import InputError
from cosim.statistics.verdict import Verdict

T = np.linspace(0.0, 2.0, 401)
V = np.sin(2 * np.pi * T)


class Broken(TwoTerminal):
    """A memristor with one fault at a time."""

    name = "broken"
    title = "Broken"
    source = "test"
    states = (State("w", "w0", (0.0, 1.0)),)
    params = (
        Param("g", 1e-3, "S", (0.0, 1.0), "conductance"),
        Param("offset", 0.0, "A", (-1.0, 1.0), "current at zero volts"),
        Param("rate", 0.0, "1/s", (-1e9, 1e9), "drift that knows no bound"),
        Param("gain", 0.0, "S", (-1.0, 1.0), "negative resistance below zero volts"),
        Param("hole", 0.0, "1", (0.0, 1.0), "1: no current is defined above 2 V"),
        Param("w0", 0.5, "1", (0.0, 1.0), "initial state"),
    )

    def current(self, v: Operand, x: Values, p: Values) -> Operand:
        with np.errstate(invalid="ignore"):
            lost = np.where(p.hole * v > 2.0, np.sqrt(-np.abs(v)), 0.0)
        return p.g * (0.5 + x.w) * v + p.offset + np.where(v < 0.0, -p.gain * v, 0.0) + lost

    def drift(self, v: Operand, x: Values, p: Values) -> Mapping[str, Operand]:
        return {"w": p.rate + 1e6 * v * x.w * (1.0 - x.w)}


def of_broken(**given: float) -> Physics:
    model = Broken()
    return check_device(model, model.values(given), rng=np.random.default_rng(0))


def test_a_sound_model_passes() -> None:
    found = of_broken()
    assert found.verdict is Verdict.PASS, found
    assert {check.name for check in found.checks} == {
        "solvable at DC", "passive", "pinched loop", "state in bounds", "energy balance", "time step",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "fails"),
    [
        ({"offset": 1e-5}, "pinched loop"),
        ({"offset": 1e-5}, "passive"),
        ({"rate": 1e6}, "state in bounds"),
        ({"gain": 0.1}, "passive"),
        ({"gain": 0.1}, "energy balance"),
        ({"hole": 1.0}, "solvable at DC"),
    ],
)
def test_a_fault_fails_its_check(fault: dict[str, float], fails: str) -> None:
    found = of_broken(**fault)
    assert found[fails].verdict is Verdict.FAIL, found
    assert found.verdict is Verdict.FAIL
    assert found[fails].passed is False


def test_an_inner_node_with_two_solutions_fails() -> None:
    class Bistable(Broken):
        name = "bistable"
        inner = (Inner("u"),)

        def balance(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
            return {"u": across["pn"] - x.u + 3.0 * np.tanh(2.0 * x.u)}

    found = check_device(Bistable(), Bistable().defaults(), rng=np.random.default_rng(0))
    assert found["solvable at DC"].verdict is Verdict.FAIL


@pytest.mark.parametrize("name", [n for n, d in devices().items() if d.passive])
def test_no_device_of_the_registry_fails(name: str) -> None:
    model = device(name)
    found = check_device(model, model.defaults(), rng=np.random.default_rng(1))
    assert not [check for check in found.checks if check.verdict is Verdict.FAIL]
    if len(model.ports) == 1 and model.states:
        assert found.verdict is Verdict.PASS, found


def test_pinched_loop_of_a_capacitor_fails() -> None:
    assert physics.pinched_loop(V, np.cos(2 * np.pi * T)).verdict is Verdict.FAIL
    assert physics.pinched_loop(V, V**3).verdict is Verdict.PASS
    assert physics.pinched_loop(V + 2.0, V).verdict is Verdict.CANNOT_TELL


@given(shift=st.floats(-1.0, 1.0), tilt=st.floats(-3.0, 3.0))
def test_zero_crossings_are_interpolated(shift: float, tilt: float) -> None:
    v = np.array([-1.0 - shift / 2, 1.5 - shift])
    i = shift + tilt * v
    # two points of a straight line: exact up to rounding
    np.testing.assert_allclose(physics.zero_crossings(v, i), shift, atol=1e-12)


def test_loop_area() -> None:
    assert physics.loop_area(V, 3.0 * V) == pytest.approx(0.0, abs=1e-12)
    once = np.linspace(0.0, 1.0, 20001)
    v, i = np.sin(2 * np.pi * once), np.sin(4 * np.pi * once)
    # each lobe of this figure: the integral of 2 s (1 − s²)^(1/2) over the half-period, 4/3, by 20 000 points
    assert physics.loop_area(v, i) == pytest.approx(2 * 4 / 3, rel=1e-3)


def test_states_in_bounds() -> None:
    states = {"w": np.array([0.0, 1.0, 1.0005]), "t": np.array([0.0, 300.0])}
    bounds = {"w": (0.0, 1.0), "t": (0.0, np.inf)}
    assert physics.states_in_bounds(states, bounds).verdict is Verdict.PASS
    far = physics.states_in_bounds(states | {"t": np.array([-3.0, 300.0])}, bounds)
    assert far.verdict is Verdict.FAIL
    assert far.says.startswith("t ")
    assert physics.states_in_bounds(states | {"w": np.array([np.nan])}, bounds).verdict is Verdict.FAIL
    assert physics.states_in_bounds({}, {}).verdict is Verdict.CANNOT_TELL


def test_energy_balance_counts_what_is_stored() -> None:
    power = 2.0 + V
    assert physics.energy_balance(T, [power], [power]).verdict is Verdict.PASS
    assert physics.energy_balance(T, [power], [0.5 * power]).verdict is Verdict.FAIL
    assert physics.energy_balance(T, [power], [0.5 * power], stored=2.0).verdict is Verdict.PASS
    assert physics.energy_balance(T, [], []).verdict is Verdict.CANNOT_TELL


def test_energy_kept() -> None:
    assert physics.energy_kept(T, V**2).verdict is Verdict.PASS
    assert physics.energy_kept(T, V).verdict is Verdict.FAIL


def test_time_step_convergence() -> None:
    fine = np.linspace(0.0, 2.0, 4001)
    exact = (fine, np.sin(2 * np.pi * fine))
    assert physics.time_step_convergence((T, V), exact).verdict is Verdict.PASS
    moved = physics.time_step_convergence((T, V + 0.05), exact)
    assert moved.verdict is Verdict.FAIL
    assert moved.value == pytest.approx(0.025, rel=1e-3)  # 0.05 of a range of 2
    assert physics.time_step_convergence((T, V + 0.05), exact, span=100.0).verdict is Verdict.PASS
    assert physics.time_step_convergence((T, 0 * V), (fine, 0 * fine)).verdict is Verdict.CANNOT_TELL


def test_the_worst_check_counts() -> None:
    checks = [physics.judge("time step", value, 1.0, says="{value}") for value in (0.1, np.inf, 0.5)]
    assert physics.worst_of(checks) is checks[1]
    assert physics.worst_of([]).passed is None
    summary = Physics("m", (Check("a", Verdict.PASS, ""), physics.cannot_tell("b", "")))
    assert summary.verdict is Verdict.CANNOT_TELL


ONE_PORTS = [n for n, d in devices().items() if len(d.ports) == 1 and d.states and d.passive]


@pytest.mark.spice
@pytest.mark.parametrize("name", ONE_PORTS)
@pytest.mark.parametrize("form", ["behavioural", pytest.param("verilog-a", marks=pytest.mark.osdi)])
def test_one_ports_pass_in_ngspice(name: str, form: str, simulator: Simulator) -> None:
    model = device(name)
    found = examine(Subject.of_device(model, model.defaults(), form=form), simulator)
    assert found.verdict is Verdict.PASS, found


RESISTOR = "R1 te 0 1k"


@pytest.mark.spice
@pytest.mark.parametrize(
    ("body", "check", "verdict"),
    [
        (RESISTOR, "passive", Verdict.PASS),
        (RESISTOR, "state in bounds", Verdict.CANNOT_TELL),
        ("C1 te 0 1u\nR1 te 0 1k", "pinched loop", Verdict.FAIL),
        ("C1 te 0 1u\nR1 te 0 1k", "energy balance", Verdict.FAIL),
        ("R1 te 0 -1k", "passive", Verdict.FAIL),
        ("B1 te 0 I=1m*V(te)+1u", "pinched loop", Verdict.PASS),  # a thousandth of the current: below the limit
        ("B1 te 0 I=1m*V(te)+50u", "pinched loop", Verdict.FAIL),
        ("X1 te 0 nothing", "solvable at DC", Verdict.FAIL),
        ("X1 te 0 nothing", "pinched loop", Verdict.CANNOT_TELL),
    ],
)
def test_a_user_s_netlist_is_judged(body: str, check: str, verdict: Verdict, simulator: Simulator) -> None:
    found = examine(Subject("user", body, amplitude=1.0, period=1e-3), simulator)
    assert found[check].verdict is verdict, found


def test_wrong_subjects() -> None:
    with pytest.raises(InputError, match="above zero"):
        Subject("user", RESISTOR, amplitude=0.0, period=1e-3)
    several = next(d for d in devices().values() if len(d.ports) > 1)
    with pytest.raises(InputError, match="more than one port"):
        Subject.of_device(several, several.defaults())
