"""A device traced: its functions called once with recording operands, for any target to render."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from cosim.devices.base import DeviceModel, Inner, Port, State, Values
from cosim.emit.expr import Node, merged
from cosim.errors import EmitError


@dataclass(frozen=True)
class Traced:
    """The graphs of a device: what flows through each port, the rate of each state (events included), and what flows
    into each inner node."""

    device: DeviceModel
    through: Mapping[str, Node]
    rates: Mapping[str, Node]
    balance: Mapping[str, Node]


def trace(
    device: DeviceModel,
    *,
    across: Callable[[Port], str],
    state: Callable[[State | Inner], str],
    param: Callable[[str], str],
) -> Traced:
    """Call the device with operands under the target's names, which ``across``, ``state`` and ``param`` give.

    Raises `EmitError` that names the device and the construct.
    """
    nodes: list[State | Inner] = [*device.all_states, *device.inner]
    inside = [entry.name for entry in nodes]
    doubled = sorted({name for name in inside if name in device.nodes or inside.count(name) > 1})
    if doubled:
        raise EmitError(
            f"device {device.name} has more than one node {', '.join(doubled)}",
            remedy="name states apart from each other and from the terminals",
        )
    values = Values({entry.name: Node("name", param(entry.name)) for entry in device.params})
    ports = {port.name: Node("name", across(port)) for port in device.ports}
    states = Values({entry.name: Node("name", state(entry)) for entry in nodes})
    try:
        with np.errstate(all="ignore"):
            through = {name: Node.of(graph) for name, graph in device.through(ports, states, values).items()}
            rates = {name: Node.of(graph) for name, graph in device.total_rates(ports, states, values).items()}
            balance = {name: Node.of(graph) for name, graph in device.balance(ports, states, values).items()}
    except EmitError as error:
        raise EmitError(f"device {device.name}: {error.message}", remedy=error.remedy) from None
    missing = {port.name for port in device.ports if port.nature != "sense"} - set(through)
    missing |= {entry.name for entry in device.all_states} - set(rates)
    missing |= {entry.name for entry in device.inner} - set(balance)
    if missing:
        raise EmitError(f"device {device.name} gives no equation for {', '.join(sorted(missing))}")
    kinds = {"i": through, "d": rates, "b": balance}
    graphs = merged({f"{kind} {name}": graph for kind, part in kinds.items() for name, graph in part.items()})
    return Traced(device, *({name: graphs[f"{kind} {name}"] for name in part} for kind, part in kinds.items()))
