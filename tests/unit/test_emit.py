"""The tracer: what it can say, what it refuses, and that two devices that are still to come fit into it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from cosim.devices.base import DeviceModel, Event, Inner, Operand, Param, Port, State, TwoTerminal, Values
from cosim.devices.integrate import integrate
from cosim.devices.registry import device, devices
from cosim.emit import files
from cosim.emit.expr import Node, merged, postorder, render, settled, writer
from cosim.emit.ngspice import subcircuit
from cosim.emit.numba import assignments
from cosim.emit.veriloga import module
from cosim.errors import EmitError


class ThermalCell(DeviceModel):
    """A heater and a ReRAM on one thermal node: two electrical ports and a thermal one."""

    name = "thermal_sketch"
    title = "Thermal sketch"
    source = "test"
    ports = (Port("heater", ("h1", "h2")), Port("cell", ("p", "n")), Port("heat", ("t", "amb"), nature="thermal"))
    states = (State("g", "g0", (0.0, 1.0)),)
    params = (
        Param("r_heater", 5439.0, "Ohm", (1.0, 1e6), "heater resistance"),
        Param("r_th", 6.2e6, "K/W", (1.0, 1e9), "thermal resistance"),
        Param("rate", 1e6, "1/s", (0.0, 1e9), "drift at full rise"),
        Param("g0", 0.2, "1", (0.0, 1.0), "initial state"),
    )

    def through(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        i_heater = across["heater"] / p.r_heater
        i_cell = 1e-6 * x.g * across["cell"]
        heat_in = across["heater"] * i_heater + across["cell"] * i_cell
        return {"heater": i_heater, "cell": i_cell, "heat": across["heat"] / p.r_th - heat_in}

    def rates(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        return {
            "g": p.rate
            * np.maximum(across["heat"], 0.0)
            / 100.0
            * (1.0 - x.g)
            * np.where(across["cell"] > 0.5, 1.0, 0.0)
        }


class EdgeCell(TwoTerminal):
    """An ECRAM sketch: a conductance that jumps once per gate spike, whatever the spike's width, and relaxes."""

    name = "edge_sketch"
    title = "Edge-triggered sketch"
    source = "test"
    ports = (Port("pn", ("p", "n")), Port("gate", ("g", "n"), nature="sense"))
    states = (State("d", "d0", (0.0, 1.0)),)
    params = (
        Param("g_0", 1e-4, "S", (0.0, 1.0), "conductance"),
        Param("jump", 0.1, "1", (0.0, 1.0), "increment per spike"),
        Param("tau", 1e-5, "s", (1e-9, 1.0), "relaxation time"),
        Param("settle", 1e-9, "s", (1e-12, 1.0), "event time"),
        Param("d0", 0.0, "1", (0.0, 1.0), "initial state"),
    )
    events = (
        Event(
            "spike", lambda a, _x, _p: (a["gate"] - 0.5) / 0.05, lambda _a, x, p: {"d": p.jump * (1.0 - x.d)}, "settle"
        ),
    )

    def current(self, v: Operand, x: Values, p: Values) -> Operand:
        return p.g_0 * (1.0 + x.d) * v

    def drift(self, v: Operand, x: Values, p: Values) -> Mapping[str, Operand]:
        return {"d": -x.d / p.tau}


@pytest.mark.parametrize("model", [*devices().values(), ThermalCell(), EdgeCell()], ids=lambda m: m.name)
def test_every_device_can_be_written(model: DeviceModel) -> None:
    text = subcircuit(model, "dut")
    assert text.splitlines()[2].startswith(f".subckt dut {' '.join(model.nodes)} params:")
    for state in model.all_states:
        assert f"C{state.name} {state.name} 0" in text
    code = module(model, "dut")
    flows = [p for p in model.ports if p.nature != "sense"]
    assert code.count("<+") == len(flows) + len(model.all_states) + len(model.inner)


def test_a_sense_port_draws_no_current() -> None:
    assert "Bgate" not in subcircuit(EdgeCell())
    assert "I(g, n)" not in module(EdgeCell())


@pytest.mark.parametrize("width", [20e-9, 100e-9, 1e-6])
def test_an_event_counts_once_whatever_its_length(width: float) -> None:
    model = EdgeCell()
    p = model.values({"tau": 1.0})  # no relaxation to speak of
    t = np.cumsum([0.0, 1e-6, 1e-9, width, 1e-9, 1e-6])
    gate = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    path = integrate(model, p, t=t, across={"gate": gate})
    # dd/de = jump (1 − d) over e = 0..1; relaxation over 2 µs of 1 s and the armed state's tail are below 1e-5
    assert path.states["d"][-1] == pytest.approx(1 - np.exp(-0.1), abs=2e-5)
    assert path.states["e_spike"][-1] == pytest.approx(0.0, abs=1e-9)


def test_two_spikes_count_twice() -> None:
    model = EdgeCell()
    p = model.values({"tau": 1.0})
    t = np.cumsum([0.0, 1e-6, 1e-9, 5e-8, 1e-9, 1e-6, 1e-9, 5e-8, 1e-9, 1e-6])
    gate = np.array([0.0, 0, 1, 1, 0, 0, 1, 1, 0, 0])
    path = integrate(model, p, t=t, across={"gate": gate})
    assert path.states["d"][-1] == pytest.approx(1 - np.exp(-0.2), abs=2e-5)


class Broken(TwoTerminal):
    name = "broken"
    title = "Broken"
    source = "test"
    params = (Param("k", 1.0, "1", (0.0, 10.0), "constant"),)

    def __init__(self, law: Any) -> None:
        self.law = law

    def current(self, v: Operand, x: Values, p: Values) -> Operand:
        return self.law(v)


@pytest.mark.parametrize(
    ("law", "construct"),
    [
        (lambda v: np.arctan2(v, 1.0), "np.arctan2"),
        (lambda v: v if v > 0 else -v, "'if'"),
        (lambda v: float(v) * 2, "float"),
        (lambda v: v + np.arange(3.0), "array of shape"),
        (lambda v: np.sum(v), "np.sum"),
        (lambda v: np.add.reduce(v), "np.add.reduce"),
        (lambda v: np.interp(v, [0, 1], [0, 1]), "np.interp|float"),
        (lambda v: np.where(v == 0.0, 1.0, 2.0), "'=='"),
        (lambda v: np.where(v != 0.0, 1.0, 2.0), "'!='"),
        (lambda v: v % 2, "'%'"),
        (lambda v: 2 // v, "'//'"),
        (lambda v: np.minimum(v, np.inf), "constant inf"),
        (lambda v: v * np.nan, "constant nan"),
    ],
)
def test_what_cannot_be_written_is_named(law: Any, construct: str) -> None:
    with pytest.raises(EmitError, match=f"broken.*({construct})"):
        subcircuit(Broken(law))


def test_a_port_without_a_law_is_named() -> None:
    class Silent(EdgeCell):
        name = "silent"

        def through(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
            return {}

    with pytest.raises(EmitError, match="gives no equation for pn"):
        subcircuit(Silent())


class Divided(TwoTerminal):
    """A resistor in series with a square-law element: the node between them is an inner one."""

    name = "divided"
    title = "Divided"
    source = "test"
    inner = (Inner("m"),)
    params = (Param("g", 1e-3, "S", (1e-9, 1.0), "conductance"),)

    def current(self, v: Operand, x: Values, p: Values) -> Operand:
        return p.g * np.abs(x.m) * x.m

    def balance(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        return {"m": p.g * (across["pn"] - x.m) - p.g * np.abs(x.m) * x.m}


def test_an_inner_node_is_written_with_its_balance() -> None:
    assert "\nBm 0 m I=((" in subcircuit(Divided())
    code = module(Divided())
    assert "I(m) <+ -(" in code
    assert "    electrical m;" in code


def test_an_inner_node_without_a_balance_is_named() -> None:
    class Floating(Divided):
        name = "floating"

        def balance(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
            return {}

    with pytest.raises(EmitError, match="gives no equation for m"):
        subcircuit(Floating())


def test_a_node_that_has_two_meanings_is_named() -> None:
    class Doubled(Divided):
        name = "doubled"
        inner = (Inner("n"),)

    with pytest.raises(EmitError, match="more than one node n"):
        module(Doubled())


def test_deep_graphs_are_written() -> None:
    node = Node("name", "x")
    for _ in range(5000):  # deeper than Python's recursion limit
        node = node + 1.0
    assert len(postorder([node])) == 10001
    assert render(node, writer({}), {}).count("+") == 5000


@pytest.mark.parametrize("name", sorted(devices()))
def test_shipped_files_are_of_today(name: str) -> None:
    for path, text in files.shipped(device(name)).items():
        assert path.read_text() == text, f"{path.name} is old: write it again with `cosim devices emit {name}`"


def test_clip_with_one_bound() -> None:
    text = subcircuit(Broken(lambda v: np.clip(v, 0.0, None)))
    assert "max(V(p,n), 0.0)" in text
    assert "min(" not in text


BELOW, ABOVE, LEAST = (False, True, True), (True, False, True), (True, False, False)


@pytest.mark.parametrize(
    ("of", "sign", "gone"),
    [
        (lambda v, w: np.where(v >= 0.0, np.abs(v) * w, -w), BELOW, {">=", "where", "abs", "*"}),
        (lambda v, w: np.where(v >= 0.0, np.abs(v) * w, -w), LEAST, {">=", "where", "abs", "neg"}),
        (lambda v, w: np.where(np.where(v < 0.0, -1.0, 1.0) < 0.0, w, v), ABOVE, {"<", "where"}),
        (lambda v, w: np.where((v < 0.0) | (w > 1.0), w, v), BELOW, {"<", "or", "where", ">"}),
        (lambda v, w: np.where((v < 0.0) | (w > 1.0), w, v), ABOVE, {"<", "or"}),
        (lambda v, w: np.where(np.minimum(v, 3.0) < -1.0, w, v + 1.0), LEAST, {"<", "where", "min"}),
        (lambda v, w: np.where(np.maximum(v, -3.0) > 1.0, w, v - 0.0), BELOW, {">", "where", "max", "-"}),
        (lambda v, w: np.where(np.logical_not(v * v > 0.0), w, v), ABOVE, set()),  # a square may underflow
        (lambda v, w: np.where(v > 0.0, w, v), LEAST, set()),
        (lambda v, w: np.where(v > 1.0, w, v), ABOVE, set()),
    ],
)  # fmt: skip
def test_what_a_sign_settles_is_left_out(of: Any, sign: tuple[bool, bool, bool], gone: set[str]) -> None:
    graph: Any = {"it": of(Node("name", "v"), Node("name", "w"))}
    found = settled(graph, {"v": sign})
    before, after = ({node.op for node in postorder(merged(one).values())} - {"const"} for one in (graph, found))
    assert before - after == gone
    for v in (-4.0, -0.3, 0.0, 0.3, 4.0):
        if (v >= 0.0 or not sign[0]) and (v <= 0.0 or not sign[1]) and (v != 0.0 or not sign[2]):
            for w in (-2.0, 0.5, 2.0):
                answers = []
                for one in (graph, found):
                    lines, names = assignments(one)
                    space: dict[str, Any] = {"v": v, "w": w}
                    exec("\n".join(lines), space)
                    answers.append(float(eval(names["it"], space)))
                assert answers[0] == answers[1]
