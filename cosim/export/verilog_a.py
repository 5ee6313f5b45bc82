"""Verilog-A: the map as a module, which takes an event at each edge of its trigger (`circuit`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cosim.emit.expr import merged, render, writer
from cosim.emit.veriloga import SIGN, module, shared_nodes
from cosim.engines.openvaf import compile_model
from cosim.export import circuit
from cosim.export.base import Draft, Files, Target
from cosim.export.circuit import LOGARITHMS, OFF, ON, TAU, Block, block, golden_decks

_write = writer({"sign": SIGN, **LOGARITHMS})


def text(made: Block, name: str) -> str:
    """The module."""
    graphs = merged({**made.after, **made.outputs})
    inner = [f"m_{state}" for state in made.after]
    shared = shared_nodes(list(graphs.values()))
    memo: dict[int, str] = {}
    body = []
    for number, node in enumerate(shared):
        body.append(f"        t{number} = {render(node, _write, memo)};")
        memo[id(node)] = f"t{number}"
    ports = ", ".join(made.terminals)
    lines = [
        *made.header("//"), '`include "disciplines.vams"', "", f"module {name}({ports});", f"    inout {ports};",
        f"    electrical {', '.join([*made.terminals, *inner])};", f"    parameter real tau = {TAU!r} from (0:inf);",
        *(f"    parameter real {state}0 = 0.5;" for state in made.after),
        f"    real {', '.join(['on', 'off', *(f't{number}' for number in range(len(shared)))])};",
        "    analog begin", f"        on = {ON};", f"        off = {OFF};", *body,
    ]  # fmt: skip

    def held(node: str, rate: str, start: str) -> str:
        # from its start by the device's own voltage: in both engines it starts, and stays, right
        return f"        V({node}) <+ {start} + idt({rate} / tau, 0);"

    for state in made.after:
        lines.append(held(f"m_{state}", f"on * ({render(graphs[state], _write, memo)} - V(m_{state}))", f"{state}0"))
        lines.append(held(state, f"off * (V(m_{state}) - V({state}))", f"{state}0"))
    lines += [
        held(output, f"on * ({render(graphs[output], _write, memo)} - V({output}))", "0.0") for output in made.outputs
    ]
    return "\n".join([*lines, "    end", "endmodule"]) + "\n"


def write(draft: Draft) -> Files:
    """``block.va``, ``device.va`` (a device's own law), and the golden netlists."""
    made = block(draft, across=lambda node: f"V({node})")

    def instance(name: str, nodes: str, starts: Mapping[str, float]) -> list[str]:
        given = " ".join(f"{state}0={volts!r}" for state, volts in starts.items())
        return [f"N{name} {nodes} block_{name}", f".model block_{name} {draft.name} {given}".rstrip()]

    return {
        "block.va": text(made, draft.name),
        **({} if made.of_circuit else {"device.va": module(draft.surrogate.map.device)}),
        **golden_decks(draft, made, instance, "* load block.va, compiled to OSDI, before this netlist"),
    }


def check(folder: Path) -> dict[str, Any]:
    """The golden events in ngspice, with the module compiled by OpenVAF."""
    model = compile_model((folder / "block.va").read_text(encoding="utf-8"))
    return circuit.check(folder, osdi=(model,))


TARGET = Target(
    "verilog-a",
    "OpenVAF-Reloaded >= 0.3.3 with ngspice >= 43 (OSDI)",
    (),
    frozenset({"energy", "readings", "correction", "circuit"}),
    write,
    tolerance=circuit.TOLERANCE,
    check=check,
)
