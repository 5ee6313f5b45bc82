"""A surrogate as a block of a circuit: what `spice` and `verilog_a` have in common.

The block takes an event when its ``trigger`` rises from 0 to 1 V: two capacitors a state hold it before and after the
event, as the two halves of a flip-flop do. While the trigger is high the second follows the map of the first and of the
inputs, with the time constant ``tau``; while it is low the first follows the second; in between, at 0.5 V, neither
moves. Trigger and pause have to last a hundred ``tau`` or more, and the inputs stay as they are while it is high. One volt at a state's or an output's
node is a full scale, which the file's header names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from cosim.bench.stimuli import fmt
from cosim.emit.expr import Node
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Deck, Simulator
from cosim.errors import InputError
from cosim.export.base import Draft
from cosim.export.program import program
from cosim.surrogate.model import Surrogate

# How much either half of the flip-flop conducts: continuous, as a simulator's steps need it.
ON, OFF = "min(max(4.0 * V(trigger) - 2.0, 0.0), 1.0)", "min(max(2.0 - 4.0 * V(trigger), 0.0), 1.0)"
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

    def header(self, comment: str) -> list[str]:
        """What the file says of itself; ``comment`` begins a line."""
        event_map = self.surrogate.map
        units = {name: entry.unit for name, entry in {**event_map.states, **event_map.outputs}.items()}
        volts = (
            f"{name} {scale:g} {'' if units[name] == '1' else units[name]}".strip()
            for name, scale in self.scales.items()
        )
        given = (f"{name} in {entry.unit}" for name, entry in event_map.inputs.items())
        return [
            f"{comment} The map {self.surrogate.name} of {self.surrogate.device}, set {self.surrogate.parameters.name},"
            f" as a block; surrogate {self.surrogate.fingerprint()[:12]}.",
            f"{comment} An event: V(trigger) = 1 for 100 tau, then 0 for 100 tau. Inputs, 1 V each: {', '.join(given)}.",
            f"{comment} 1 V at a node is: {', '.join(volts)}. Written by cosim; do not edit.",
        ]  # fmt: skip


def block(draft: Draft, *, across: Callable[[str], str]) -> Block:
    """The block of a surrogate; ``across`` is a node's voltage in the target's words. Raises `InputError`."""
    surrogate = draft.surrogate
    if surrogate.map.closed is None:
        raise InputError(
            f"the map {surrogate.name} of {surrogate.device} is integrated: as a part of a circuit it is the device itself",
            remedy=f"take device_models/{surrogate.device}.lib or .va with the set's parameters",
        )
    if doubled := {*surrogate.map.states, *surrogate.map.outputs, "trigger"} & {*surrogate.map.inputs}:
        raise InputError(f"an input has the name of another node: {', '.join(doubled)}")
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


def golden_deck(
    draft: Draft, made: Block, instance: Callable[[str, str, Mapping[str, float]], list[str]], body: str
) -> str:
    """The golden events as a netlist: each on a block of its own, and the train on one.

    ``instance(name, nodes, starts)`` are the lines of a block named so; ``starts`` are the volts of its states.
    """
    golden, lines = draft.golden, [f"golden events of {draft.name}", body]
    period = 2.0 * HIGH * TAU
    singles = len(golden.document["events"]["after"][next(iter(made.after or made.outputs))])
    rows: list[tuple[str, dict[str, float], dict[str, list[float]]]] = []
    for k in range(singles):
        start = {name: float(golden.array("events", "before", name)[k]) for name in made.after}
        rows.append(
            (f"e{k}", start, {n: [float(golden.array("events", "inputs", n)[k])] for n in made.surrogate.map.inputs})
        )
    start = {name: float(golden.array("train", "before", name)[0]) for name in made.after}
    rows.append(("t", start, {n: golden.array("train", "inputs", n).tolist() for n in made.surrogate.map.inputs}))
    count = len(next(iter(rows[-1][2].values())))
    edge = TAU
    for name, begin, inputs in rows:
        nodes = " ".join([f"{name}_{node}" for node in made.terminals])
        lines += instance(name, nodes, {state: begin[state] / made.scales[state] for state in begin})
        for given, values in inputs.items():
            knots = []
            for k, value in enumerate(values):
                begins = k * period
                knots.append(f"{fmt(begins)} {fmt(value)} {fmt(begins + period - edge)} {fmt(value)}")
            lines.append(f"V{name}_{given} {name}_{given} 0 PWL({' '.join(knots)})")
        pulses = f"PULSE(0 1 {fmt(0.25 * period)} {fmt(edge)} {fmt(edge)} {fmt(0.5 * period)} {fmt(period)})"
        if len(next(iter(inputs.values()))) == 1:  # one event, and rest
            pulses = pulses.replace(f"{fmt(period)})", f"{fmt(10 * period * count)})")
        lines.append(f"V{name}_trigger {name}_trigger 0 {pulses}")
    lines += [f".tran {fmt(0.02 * period)} {fmt(period * count)} 0 {fmt(0.02 * period)} uic", ".end"]
    return "\n".join(lines) + "\n"


def check(folder: Path, *, osdi: tuple[Path, ...] = (), simulator: Simulator | None = None) -> dict[str, Any]:
    """Run ``golden.cir`` in ngspice and compare, as `cosim.export.write.checked` tells it."""
    golden = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
    names = [*golden["states"], *golden["outputs"]]
    singles = len(golden["events"]["after" if golden["states"] else "outputs"][names[0]])
    count = len(golden["train"]["after" if golden["states"] else "outputs"][names[0]])
    save = [f"v({row}_{name})".lower() for row in [*(f"e{k}" for k in range(singles)), "t"] for name in names]
    deck = Deck((folder / "golden.cir").read_text(encoding="utf-8"), osdi=osdi, save=tuple(save), options=dict(OPTIONS))
    if simulator is None:
        with open_simulator() as own:
            return check(folder, osdi=osdi, simulator=own)
    data = simulator.run(deck).require()["tran"]
    time = np.asarray(data["time"].values, dtype=float)
    period = 2.0 * HIGH * TAU
    ends = period * (np.arange(count) + 0.98)
    difference = {}
    for name in names:
        kind = "after" if name in golden["states"] else "outputs"
        found = [np.interp(ends[0], time, data[f"v(e{k}_{name})".lower()].values) for k in range(singles)]
        path = np.interp(ends, time, data[f"v(t_{name})".lower()].values)
        wanted = np.array([*golden["events"][kind][name], *golden["train"][kind][name]]) / golden["scale"][name]
        difference[name] = float(np.max(np.abs(np.array([*found, *path]) - wanted)))
    return {"version": simulator.version(), "events": {"events": singles, "train": count}, "difference": difference}
