"""numpy ≡ B-source ≡ Verilog-A at points: currents and drifts at random voltages, states and parameters.

The device's own text runs, with its states made terminals: sources hold terminals and states at a point, and the
operating point's source currents are what flows in and how the states would drift. An inner node stays inside, so an
implicit current is solved by the engine and compared with numpy's solution.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from cosim.bench.measures.waveforms import vector
from cosim.bench.stimuli import fmt
from cosim.devices.base import Array, DeviceModel, Values
from cosim.emit.ngspice import capacitance, subcircuit
from cosim.emit.veriloga import module
from cosim.engines.openvaf import compile_model
from cosim.engines.simulator import Deck, Simulator
from cosim.errors import EmitError, InputError

# Newton's method ends with steps below these; its last step is squared in the answer.
OPTIONS: Mapping[str, float] = MappingProxyType({"reltol": 1e-9, "abstol": 1e-20, "vntol": 1e-12, "itl1": 500})
SPREAD = 0.15  # of the parameters around their values
WIDEST = 1e3  # stands for an infinite bound of a state
THERMAL = 300.0  # K
FLOOR = 1e-9  # of a quantity's largest value: what is smaller is held to an absolute difference
_IDT = re.compile(r"V\((\w+)\) <\+ (?:\w+ \+ )?(?:([\d.e+-]+) \* )?idt\((.*), 0\);")


@dataclass(frozen=True)
class Point:
    """Terminal voltages by node (V; K at a thermal one), states and parameters, scalars."""

    nodes: Mapping[str, float]
    x: Values
    p: Values


def random_points(device: DeviceModel, p: Values, *, rng: np.random.Generator, count: int) -> list[Point]:
    """``count`` points: voltages over the device's drive ranges, states over their bounds, parameters near ``p``."""
    seconds = {port.nodes[1] for port in device.ports}
    points = []
    for _ in range(count):
        parameters = _near(device, p, rng)
        ranges = device.drive_ranges(parameters)
        nodes = dict.fromkeys(device.nodes, 0.0)
        for port in device.ports:
            low, high = ranges.get(port.name, (0.0, THERMAL) if port.nature == "thermal" else (-1.0, 1.0))
            if port.nodes[0] not in seconds:
                nodes[port.nodes[0]] = float(rng.uniform(low, high))
        spans = {s.name: np.clip(s.bounds, -WIDEST, WIDEST) for s in device.all_states}
        points.append(Point(nodes, Values({k: float(rng.uniform(*span)) for k, span in spans.items()}), parameters))
    return points


def _near(device: DeviceModel, p: Values, rng: np.random.Generator) -> Values:
    for _ in range(100):
        given = {
            entry.name: float(np.clip(p[entry.name] * rng.uniform(1 - SPREAD, 1 + SPREAD), *entry.bounds))
            for entry in device.params
        }
        try:
            return device.values(given)
        except InputError:  # parameters that do not fit together: draw again
            continue
    raise InputError(f"no parameters of {device.name} near the given ones fit together", remedy="start elsewhere")


def expected(device: DeviceModel, point: Point) -> dict[str, float]:
    """numpy's answer: the current into each terminal and the drift of each state, by node."""
    across = {port.name: point.nodes[port.nodes[0]] - point.nodes[port.nodes[1]] for port in device.ports}
    found = dict.fromkeys(device.nodes, 0.0)
    flows = device.through(across, point.x, point.p)
    for port in device.ports:
        if port.nature != "sense":
            found[port.nodes[0]] += float(flows[port.name])
            found[port.nodes[1]] -= float(flows[port.name])
    return found | {name: float(rate) for name, rate in device.total_rates(across, point.x, point.p).items()}


def opened_subcircuit(device: DeviceModel, name: str) -> str:
    """The B-source subcircuit with its states as further terminals, without their capacitors."""
    states = [state.name for state in device.all_states]
    kept = []
    for line in subcircuit(device, name).splitlines():
        if line.startswith(f".subckt {name} "):
            line = line.replace(" params:", f" {' '.join(states)} params:")
        if not re.match(rf"([CR](?:{'|'.join(states) or '$'}) )|\.ic ", line):
            kept.append(line)
    return "\n".join(kept) + "\n"


def opened_module(device: DeviceModel) -> str:
    """The Verilog-A module with its states as further terminals: the drift flows into them, as from a source."""
    states = [state.name for state in device.all_states]
    farads = {state.name: capacitance(state) for state in device.all_states}
    lines, opened = [], 0
    terminals = ", ".join([*device.nodes, *states])
    for line in module(device).splitlines():
        if line.startswith("module "):
            line = f"module {device.name}({terminals});"
        elif line.strip().startswith("inout "):
            line = f"    inout {terminals};"
        integral = _IDT.search(line)
        if integral:
            opened += 1
            scale = integral[2] or "1.0"
            line = f"        I({integral[1]}) <+ -({farads[integral[1]]!r} * {scale} * ({integral[3]}));"
        lines.append(line)
    if opened != len(states):
        raise EmitError(f"the module of {device.name} has {opened} integrals for {len(states)} states")
    return "\n".join(lines) + "\n"


def deck(device: DeviceModel, points: list[Point], form: str) -> Deck:
    """All ``points`` as instances of one operating point; ``form`` is "behavioural" or "verilog-a"."""
    pins = [*device.nodes, *(state.name for state in device.all_states)]
    lines = [f"{device.name} at {len(points)} points"]
    if form == "behavioural":
        lines.append(opened_subcircuit(device, "dut"))
    save = []
    for number, point in enumerate(points):
        values = " ".join(f"{name}={fmt(value)}" for name, value in point.p.items())
        nodes = " ".join(f"{pin}_{number}" for pin in pins)
        if form == "behavioural":
            lines.append(f"X{number} {nodes} dut {values}")
        else:
            lines += [f"N{number} {nodes} dut{number}", f".model dut{number} {device.name} {values}"]
        for pin in pins:
            level = point.nodes[pin] if pin in point.nodes else point.x[pin]
            lines.append(f"Vs_{pin}_{number} {pin}_{number} 0 {fmt(level)}")
            save.append(f"i(vs_{pin}_{number})".lower())
    osdi = (compile_model(opened_module(device)),) if form == "verilog-a" else ()
    return Deck("\n".join([*lines, ".op", ".end"]) + "\n", osdi=osdi, save=tuple(save), options=OPTIONS)


def differences(
    device: DeviceModel, p: Values, *, simulator: Simulator, form: str, rng: np.random.Generator, count: int = 50
) -> dict[str, float]:
    """The largest relative difference of each current and drift over ``count`` points, by node.

    Relative to numpy's value plus `FLOOR` times its largest magnitude over the points. Raises `SimulationError`.
    """
    points = random_points(device, p, rng=rng, count=count)
    data = simulator.run(deck(device, points, form))["op"]
    answers = [expected(device, point) for point in points]
    farads = {state.name: capacitance(state) for state in device.all_states}
    found = {}
    for pin in answers[0]:
        scale = 1.0 / farads[pin] if pin in farads else -1.0
        got: Array = np.array([scale * vector(data, f"i(vs_{pin}_{k})".lower()).item() for k in range(count)])
        want = np.array([answer[pin] for answer in answers])
        top = float(np.max(np.abs(want)))
        found[pin] = (
            float(np.max(np.abs(got - want) / (np.abs(want) + FLOOR * top))) if top else float(np.max(np.abs(got)))
        )
    return found
