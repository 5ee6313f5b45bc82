"""SPICE: the map as a subcircuit of B-sources, which takes an event at each edge of its trigger (`circuit`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cosim.emit.expr import BOOLEAN, children, merged, postorder, render, writer
from cosim.emit.ngspice import subcircuit
from cosim.export import circuit
from cosim.export.base import Draft, Files, Target
from cosim.export.circuit import CAPACITANCE, LOGARITHMS, OFF, ON, TAU, Block, block, golden_decks

LONG = 40  # characters: a longer text that is used twice gets a node of its own
_write = writer({"sign": "sgn({0})", **LOGARITHMS})


def text(made: Block, name: str) -> str:
    """The subcircuit."""
    starts = " ".join(f"{state}0=0.5" for state in made.after)
    lines = [*made.header("*"), f".subckt {name} {' '.join(made.terminals)} params: tau={TAU!r} {starts}".rstrip()]
    graphs = merged({**made.after, **made.outputs})
    order = postorder(graphs.values())
    uses = Counter(id(child) for node in order for child in children(node))
    memo: dict[int, str] = {}
    for part in order:
        written = render(part, _write, memo)
        if uses[id(part)] > 1 and len(written) > LONG and part.op not in BOOLEAN:
            lines.append(f"Bx{len(lines)} x{len(lines)} 0 V={written}")
            memo[id(part)] = f"V(x{len(lines) - 1})"
    rate = f"{CAPACITANCE!r} / {{tau}}"
    for state in made.after:
        lines += [
            f"Bm_{state} 0 m_{state} I={rate} * {ON} * ({memo[id(graphs[state])]} - V(m_{state}))",
            f"Bs_{state} 0 {state} I={rate} * {OFF} * (V(m_{state}) - V({state}))",
        ]
        for node in (f"m_{state}", state):
            lines += [f"C{node} {node} 0 {CAPACITANCE!r} IC={{{state}0}}", f"R{node} {node} 0 1e15"]
    for output in made.outputs:
        lines += [
            f"Bm_{output} 0 {output} I={rate} * {ON} * ({memo[id(graphs[output])]} - V({output}))",
            f"C{output} {output} 0 {CAPACITANCE!r} IC=0",
            f"R{output} {output} 0 1e15",
        ]
    return "\n".join([*lines, f".ends {name}"]) + "\n"


def write(draft: Draft) -> Files:
    """``block.lib``, ``device.lib`` (a device's own law with the set's values), and the golden netlists."""
    made = block(draft, across=lambda node: f"V({node})")
    body = text(made, draft.name)

    def instance(name: str, nodes: str, starts: Mapping[str, float]) -> list[str]:
        given = " ".join(f"{state}0={volts!r}" for state, volts in starts.items())
        return [f"X{name} {nodes} {draft.name} {given}".rstrip()]

    surrogate = draft.surrogate
    values = {name: float(value) for name, value in surrogate.parameters.resolved().items()}
    device = {} if made.of_circuit else {"device.lib": subcircuit(surrogate.map.device, values=values)}
    return {
        "block.lib": body,
        **device,
        **golden_decks(draft, made, instance, body),
    }


def check(folder: Path) -> dict[str, Any]:
    """The golden events in ngspice."""
    return circuit.check(folder)


TARGET = Target(
    "spice",
    "ngspice >= 39 (B-sources)",
    (),
    frozenset({"energy", "readings", "correction", "circuit"}),
    write,
    tolerance=circuit.TOLERANCE,
    check=check,
)
