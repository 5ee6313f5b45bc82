"""A device as an ngspice subcircuit of B-sources (the behavioural twin; runs without OSDI).

Each state is the voltage of an internal node ``<state>`` (1 V = one unit of the state) on a capacitor that a B-source
charges with the state's rate. Terminals come in the device's order; a thermal node's voltage is a temperature rise in K
and its current a heat flow in W. Parameters are subcircuit parameters under their own names. A
B-source feeds an inner node with its balance, which the engine drives to zero.

Two traps shape the text. In ngspice ``pwr(x, y)`` keeps the sign of x while ``pow`` and ``**`` do not: ``pow`` is used.
And an expression is evaluated with all its branches, so a quotient in a branch not taken still has to be finite.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from cosim.devices.base import DeviceModel, State
from cosim.emit.expr import render, writer
from cosim.emit.trace import trace

# Farads per range of a state: large enough that abstol (1 pA) resolves 1e-3 of the range per second and chgtol
# (1e-14 C) 1e-5 of it; small enough that no current exceeds what the solver is used to (our choice).
CAPACITANCE = 1e-9
_write = writer({"sign": "sgn({0})"})


def capacitance(state: State) -> float:
    """The capacitor (F) on which a state is a voltage."""
    span = state.bounds[1] - state.bounds[0]
    return CAPACITANCE if span == float("inf") else CAPACITANCE / span


def _header(device: DeviceModel, name: str, values: Mapping[str, float]) -> list[str]:
    defaults = " ".join(f"{entry.name}={float(values[entry.name])!r}" for entry in device.params)
    return [
        f"* {' '.join(device.title.split())}",
        f"* Source: {' '.join(device.source.split())}. Written by cosim from the device's equations; do not edit.",
        f".subckt {name} {' '.join(device.nodes)} params: {defaults}",
    ]


def osdi_subcircuit(device: DeviceModel, name: str | None = None, values: Mapping[str, float] | None = None) -> str:
    """A ``.subckt`` with the same terminals and parameters around the compiled Verilog-A module of a device.

    ``values`` become the defaults. The module has the device's name; its states are the internal nodes of ``n1``.
    """
    name = name or device.name
    passed = " ".join(f"{entry.name}={{{entry.name}}}" for entry in device.params)
    lines = [
        *_header(device, name, values or device.defaults()),
        f"N1 {' '.join(device.nodes)} {name}_module",
        f".model {name}_module {device.name} {passed}",
        f".ends {name}",
    ]
    return "\n".join(lines) + "\n"


def subcircuit(
    device: DeviceModel,
    name: str | None = None,
    values: Mapping[str, float] | None = None,
    *,
    initial: Mapping[str, float] = MappingProxyType({}),
) -> str:
    """The behavioural ``.subckt`` of a device, named ``name`` (default: the device's name). Raises `EmitError`.

    ``values`` become the parameters' defaults in place of the device's own, ``initial`` the states at t = 0 in place of
    their parameters, which states may share.
    """
    name = name or device.name
    body = list(_body(device))
    for state in device.states:
        if state.initial and state.name in initial:
            old, new = f"={{{state.initial}}}", f"={float(initial[state.name])!r}"
            starts = (f"C{state.name} ", f".ic V({state.name})=")
            body = [line.replace(old, new) if line.startswith(starts) else line for line in body]
    return "\n".join([*_header(device, name, values or device.defaults()), *body, f".ends {name}"]) + "\n"


@lru_cache(maxsize=256)
def _body(device: DeviceModel) -> tuple[str, ...]:
    """The elements of a behavioural subcircuit: the same whatever its values, and traced once."""
    traced = trace(
        device,
        across=lambda port: f"V({port.nodes[0]},{port.nodes[1]})",
        state=lambda state: f"V({state.name})",
        param=lambda parameter: f"{{{parameter}}}",
    )
    lines: list[str] = []
    memo: dict[int, str] = {}
    for port in device.ports:
        if port.nature != "sense":
            text = render(traced.through[port.name], _write, memo)
            lines.append(f"B{port.name} {port.nodes[0]} {port.nodes[1]} I={text}")
    for node in device.inner:
        text = render(traced.balance[node.name], _write, memo)
        lines.append(f"B{node.name} 0 {node.name} I={text}")
    for state in device.all_states:
        text = render(traced.rates[state.name], _write, memo)
        initial = f"{{{state.initial}}}" if state.initial else "0"
        farads = capacitance(state)
        lines += [
            f"B{state.name} 0 {state.name} I={farads!r} * ({text})",
            f"C{state.name} {state.name} 0 {farads!r} IC={initial}",
            f"R{state.name} {state.name} 0 1e15",
            f".ic V({state.name})={initial}",
        ]
    return tuple(lines)
