"""A device as a Verilog-A module that OpenVAF compiles and ngspice (OSDI) and VACASK run.

A state is the voltage of an internal node, ``V(w) <+ w0 + idt(rate, 0)``: the form that starts right and stays right in
both engines (``idt`` with an initial condition falls to zero at ngspice's first step). Thermal ports use the
electrical discipline as well, 1 V for 1 K and 1 A for 1 W, because ngspice connects them to ordinary nodes. Shared
sub-expressions become variables, so that a long law is evaluated once.
"""

from __future__ import annotations

from collections import Counter

from cosim.devices.base import DeviceModel
from cosim.emit.expr import BOOLEAN, Node, children, postorder, render, writer
from cosim.emit.trace import trace

SIGN = "(({0} > 0.0) ? 1.0 : (({0} < 0.0) ? -1.0 : 0.0))"
_write = writer({"sign": SIGN})


def shared_nodes(roots: list[Node]) -> list[Node]:
    """Nodes that more than one node refers to, operands before users; names, constants and conditions left out."""
    order = postorder(roots)
    uses = Counter(id(child) for node in order for child in children(node)) + Counter(id(root) for root in roots)
    return [n for n in order if uses[id(n)] > 1 and n.op not in BOOLEAN | {"const", "name"}]


def _limit(value: float, fallback: str) -> str:
    return fallback if abs(value) == float("inf") else repr(value)


def module(device: DeviceModel, name: str | None = None) -> str:
    """The Verilog-A module of a device, named ``name`` (default: the device's name). Raises `EmitError`."""
    traced = trace(
        device,
        across=lambda port: f"V({port.nodes[0]}, {port.nodes[1]})",
        state=lambda state: f"V({state.name})",
        param=lambda parameter: parameter,
    )
    name = name or device.name
    flows = [(port, traced.through[port.name]) for port in device.ports if port.nature != "sense"]
    rates = [(state, traced.rates[state.name]) for state in device.all_states]
    inner = [(node.name, traced.balance[node.name]) for node in device.inner]
    shared = shared_nodes([graph for part in (flows, inner, rates) for _, graph in part])
    memo: dict[int, str] = {}
    assignments = []
    for number, node in enumerate(shared):
        assignments.append(f"        t{number} = {render(node, _write, memo)};")
        memo[id(node)] = f"t{number}"  # users refer to the variable
    lines = [
        f"// {' '.join(device.title.split())}",
        f"// Source: {' '.join(device.source.split())}. Written by cosim from the device's equations; do not edit.",
        '`include "disciplines.vams"',
        "",
        f"module {name}({', '.join(device.nodes)});",
        f"    inout {', '.join(device.nodes)};",
        f"    electrical {', '.join(device.nodes)};",
    ]
    inside = [*(state.name for state in device.all_states), *(node.name for node in device.inner)]
    if inside:
        lines.append(f"    electrical {', '.join(inside)};")
    for entry in device.params:
        low, high = _limit(entry.bounds[0], "-inf"), _limit(entry.bounds[1], "inf")
        lines.append(f"    parameter real {entry.name} = {entry.default!r} from [{low}:{high}];")
    if shared:
        lines.append(f"    real {', '.join(f't{number}' for number in range(len(shared)))};")
    lines += ["    analog begin", *assignments]
    for port, graph in flows:
        lines.append(f"        I({port.nodes[0]}, {port.nodes[1]}) <+ {render(graph, _write, memo)};")
    for terminal, graph in inner:
        lines.append(f"        I({terminal}) <+ -({render(graph, _write, memo)});")
    for state, graph in rates:
        start = f"{state.initial} + " if state.initial else ""
        rate = render(graph, _write, memo)
        span = state.bounds[1] - state.bounds[0]
        # As a fraction of its range: an engine's absolute tolerance then means the same for kelvins and for fractions.
        scaled = f"idt({rate}, 0)" if span in (1.0, float("inf")) else f"{span!r} * idt(({rate}) / {span!r}, 0)"
        lines.append(f"        V({state.name}) <+ {start}{scaled};")
    lines += ["    end", "endmodule"]
    return "\n".join(lines) + "\n"
