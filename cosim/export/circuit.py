"""A surrogate as a block of a circuit: what `spice` and `verilog_a` have in common.

The block takes an event when its ``trigger`` rises from 0 to 1 V: two capacitors a state hold it before and after the
event, as the two halves of a flip-flop do. While the trigger is high the second follows the map of the first and of the
inputs, with the time constant ``tau``; while it is low the first follows the second; in between, at 0.5 V, neither
moves. Trigger and pause have to last a hundred ``tau`` or more, and the inputs stay as they are while it is high. One
volt at a state's or an output's node is a full scale, which the file's header names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from cosim.bench.stimuli import fmt
from cosim.emit.expr import Node
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Deck, Limits
from cosim.errors import InputError, SimulationError
from cosim.export.base import Draft
from cosim.export.laws import told
from cosim.export.program import program, subject
from cosim.language.va_words import RESERVED
from cosim.surrogate.circuit import CircuitSet
from cosim.surrogate.model import Surrogate

# How much either half of the flip-flop conducts: continuous, as a simulator's steps need it.
ON, OFF = "min(max(4.0 * V(trigger) - 2.0, 0.0), 1.0)", "min(max(2.0 - 4.0 * V(trigger), 0.0), 1.0)"
# What a block calls something else: its own nodes and variables.
INNER = re.compile(r"_.*|trigger|tau|on|off|time|temp|[xt]\d+", re.IGNORECASE)
WALL = 600.0  # s for a golden netlist
# A logarithm of zero, where a law saturates, ends a simulator's step; e^-690 is zero to it all the same.
LOGARITHMS: Mapping[str, str] = MappingProxyType(
    {
        "ln": "ln(max({0}, 1e-300))",
        "log2": "(1.4426950408889634 * ln(max({0}, 1e-300)))",
        "log1p": "ln(max(1.0 + {0}, 1e-300))",
    }
)
TAU = 1e-9  # s; the block's own speed, which its parameter tau sets
CAPACITANCE = 1e-9  # F
HIGH = 100.0  # time constants that trigger and pause last in the golden run: e^-100 is left
OPTIONS: Mapping[str, float] = MappingProxyType({"reltol": 1e-6, "abstol": 1e-12, "vntol": 1e-9})
TOLERANCE = (1e-5, "ngspice's tolerances in the golden run, reltol 1e-6")


@dataclass(frozen=True)
class Block:
    """The graphs of a block in volts: ``after`` by state and ``outputs`` by output; ``scales`` by either's name."""

    surrogate: Surrogate
    after: Mapping[str, Node]
    outputs: Mapping[str, Node]
    scales: Mapping[str, float]

    @property
    def terminals(self) -> list[str]:
        """The nodes in order."""
        return ["trigger", *self.surrogate.map.inputs, *self.after, *self.outputs]

    @property
    def of_circuit(self) -> bool:
        """Whether it is of a circuit, without a device whose law could be written beside it."""
        return isinstance(self.surrogate.parameters, CircuitSet)

    def header(self, comment: str) -> list[str]:
        """What the file says of itself; ``comment`` begins a line."""
        event_map = self.surrogate.map
        units = {name: entry.unit for name, entry in {**event_map.states, **event_map.outputs}.items()}
        volts = (
            f"{name} {scale:g} {'' if units[name] == '1' else units[name]}".strip()
            for name, scale in self.scales.items()
        )
        given = (f"{name}, 1 V is 1 {entry.unit}" for name, entry in event_map.inputs.items())
        return [
            f"{comment} The {told(self.surrogate)} as a block; surrogate {self.surrogate.fingerprint()[:12]}.",
            f"{comment} An event: V(trigger) = 1 for 100 tau, then 0 for 100 tau. Inputs: {', '.join(given)}.",
            f"{comment} 1 V at a node is: {', '.join(volts)}. Written by cosim; do not edit.",
        ]  # fmt: skip


def block(draft: Draft, *, across: Callable[[str], str]) -> Block:
    """The block of a surrogate; ``across`` is a node's voltage in the target's words. Raises `InputError`."""
    surrogate = draft.surrogate
    if surrogate.map.closed is None:
        raise InputError(
            f"the map {surrogate.name} of {subject(surrogate)} is integrated, and has no block",
            remedy=f"take the device itself, device_models/{surrogate.device}.lib or .va, with the set's parameters",
        )
    nodes = [*surrogate.map.inputs, *surrogate.map.states, *surrogate.map.outputs]
    for name in nodes:
        if not name.isascii() or not name.isidentifier() or INNER.fullmatch(name) or name in RESERVED:
            raise InputError(f"a node of a circuit cannot be called {name!r}", remedy="rename it in the map")
    for state in surrogate.map.states:  # what the block calls its initial value and its other half
        nodes += [f"{state}0", f"m_{state}"]
    if len({name.lower() for name in nodes}) < len(nodes):
        raise InputError(f"two nodes have one name: {', '.join(sorted(nodes))}", remedy="rename one in the map")
    scales = draft.golden.document["scale"]

    def naming(kind: str, name: str) -> str:
        return f"({scales[name]!r} * {across(name)})" if kind == "state" else across(name)

    found = program(surrogate, naming, own=())
    volts = {name: graph / scales[name] for name, graph in found.results.items()}
    return Block(
        surrogate,
        {name: volts[name] for name in surrogate.map.states},
        {name: volts[name] for name in surrogate.map.outputs},
        {name: scales[name] for name in found.results},
    )


Instance = Callable[[str, str, Mapping[str, float]], list[str]]


def golden_decks(draft: Draft, made: Block, instance: Instance, body: str) -> dict[str, str]:
    """The golden events as netlists by file name: each on a block of its own, and the train on one.

    ``instance(name, nodes, starts)`` are the lines of a block named so; ``starts`` are the volts of its states.
    """
    return {f"golden_{part}.cir": _deck(draft, made, instance, body, part) for part in ("events", "train")}


def _deck(draft: Draft, made: Block, instance: Instance, body: str, part: str) -> str:
    golden, lines = draft.golden, [f"golden {part} of {draft.name}", body]
    period, inputs = 2.0 * HIGH * TAU, list(made.surrogate.map.inputs)
    count = len(golden.array(part, "inputs", inputs[0]))
    blocks = [[k] for k in range(count)] if part == "events" else [list(range(count))]
    for number, rows in enumerate(blocks):
        starts = {name: float(golden.array(part, "before", name)[rows[0]]) / made.scales[name] for name in made.after}
        lines += instance(f"b{number}", " ".join(f"b{number}_{node}" for node in made.terminals), starts)
        for name in inputs:
            values = golden.array(part, "inputs", name)[rows]
            knots = (f"{fmt(k * period)} {fmt(v)} {fmt((k + 1) * period - TAU)} {fmt(v)}" for k, v in enumerate(values))
            lines.append(f"V{number}_{name} b{number}_{name} 0 PWL({' '.join(knots)})")
        times = (0.25 * period, TAU, TAU, 0.5 * period, period)
        lines.append(f"V{number}_trigger b{number}_trigger 0 PULSE(0 1 {' '.join(map(fmt, times))})")
    end, step = period * len(blocks[0]), 0.1 * period
    return "\n".join([*lines, f".tran {fmt(step)} {fmt(end)} 0 {fmt(step)} uic", ".end"]) + "\n"


def check(folder: Path, *, osdi: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Run the golden netlists in ngspice and compare, as `cosim.export.write.checked` tells it."""
    golden = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
    period, difference = 2.0 * HIGH * TAU, dict.fromkeys([*golden["states"], *golden["outputs"]], 0.0)
    events = {}
    with open_simulator() as simulator:
        for part in ("events", "train"):
            count = events[part] = len(golden[part]["inputs"][golden["inputs"][0]])
            blocks = range(count) if part == "events" else range(1)
            save = tuple(f"v(b{k}_{name})".lower() for k in blocks for name in difference)
            text = (folder / f"golden_{part}.cir").read_text(encoding="utf-8")
            deck = Deck(text, osdi=osdi, save=save, options=dict(OPTIONS))
            data = simulator.run(deck, limits=Limits(wall=WALL)).require()["tran"]
            time = np.asarray(data["time"].values, dtype=float)
            ends = period * (np.arange(count if part == "train" else 1) + 0.98)
            for name in difference:
                found = np.array(
                    [np.interp(ends, time, data[f"v(b{k}_{name})".lower()].values) for k in blocks]
                ).ravel()
                wanted = np.array(golden[part]["after" if name in golden["states"] else "outputs"][name])
                if found.shape != wanted.shape or not np.all(np.isfinite(found)):
                    raise SimulationError(
                        f"{name} of the golden {part} is not a finite value for each event", outcome="crashed"
                    )
                error = float(np.max(np.abs(found - wanted / golden["scale"][name])))
                difference[name] = max(difference[name], error)
        return {"version": simulator.version(), "events": events, "difference": difference}
