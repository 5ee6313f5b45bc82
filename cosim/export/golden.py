"""Golden events: inputs and the surrogate's own answers in plain JSON, which whatever was exported has to repeat.

They are drawn inside the certified domain with a seed: single events from any state, of either polarity, so that every
branch of the map that a few thousand events reach is among them; and a train, whose events follow one another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from cosim.devices.base import Array, Values
from cosim.devices.maps import Field
from cosim.errors import EmitError, InputError
from cosim.export.program import evaluated, program
from cosim.surrogate.base import Range
from cosim.surrogate.filter import FilterLaw
from cosim.surrogate.model import Surrogate
from cosim.surrogate.neuron import NeuronLaw, at_rest
from cosim.surrogate.trains import random_inputs

FORMAT, VERSION = "cosim golden events", 1
POOL = 4000  # events among which branches are looked for
TRAIN, SHORT = 40, 10  # events of a train: of a closed map, of an integrated one, which is some hundred times as slow
SAME = 1e-9  # largest difference between a surrogate and its own graphs: rounding
READY = 0.75  # of events at a neuron: those that find it at rest after its last reset, but for its membrane
TRIES = 50  # inputs tried for an event of the train that stays inside the domain


@dataclass(frozen=True)
class Golden:
    """Events of a surrogate: ``document`` is what `golden.json` holds.

    Its ``events`` and ``train`` each have ``before``, ``inputs``, ``parameters``, ``after`` and ``outputs``: lists by
    name, in SI units; ``scale`` is what a difference in a state or an output is a share of.
    """

    document: Mapping[str, Any]

    def text(self) -> str:
        """As JSON."""
        return json.dumps(self.document, indent=1, allow_nan=False) + "\n"

    def array(self, part: str, kind: str, name: str) -> Array:
        """A column of "events" or "train"."""
        return np.asarray(self.document[part][kind][name], dtype=float)


def span_of(surrogate: Surrogate, name: str, entry: Field) -> Range:
    """The certified range of a state or an input; without a certificate its usual one, or what a law was trained on."""
    learned = surrogate.learned is not None and name in surrogate.map.inputs
    return surrogate.allowed(name) if learned or surrogate.certificate is not None else entry.range


def deviating(surrogate: Surrogate) -> dict[str, Range]:
    """The ranges of parameters that may differ between instances: the certified, else those of the instances."""
    certified = {} if surrogate.certificate is None else dict(surrogate.certificate.domain.parameters)
    return certified or {name: (float(np.min(v)), float(np.max(v))) for name, v in surrogate.instances.items()}


Levels = Mapping[str, Sequence[float]]


def golden(
    surrogate: Surrogate,
    *,
    seed: int = 0,
    events: int = 100,
    instances: bool = True,
    levels: Levels = MappingProxyType({}),
) -> Golden:
    """Golden events of a surrogate.

    Args:
        surrogate: any.
        seed: of what is drawn.
        events: how many single ones.
        instances: whether parameters that may differ between instances do.
        levels: the only values of an input, a state before an event or a parameter, by name, where a target knows no
            others.
    """
    if events < 1:
        raise InputError("an export needs at least one golden event", remedy="give --events 100")
    rng = np.random.default_rng([seed, 3])
    if isinstance(surrogate.learned, FilterLaw):
        levels = {"level": range(surrogate.learned.ends.size), **levels}
    own = deviating(surrogate) if instances else {}
    plain = surrogate.with_(instances={}, dtype="float64", policy="warn")
    pool = max(POOL, events)
    drawn = random_events(plain, own, rng, count=pool, levels=levels)
    chosen, told = _covering(plain, drawn, own, count=events)
    singles = {kind: {name: values[chosen] for name, values in part.items()} for kind, part in drawn.items()}
    single = _answered(plain, singles)
    _require_same(plain, single)
    train = _train(plain, own, rng, levels)
    fields = {**plain.map.states, **plain.map.outputs}
    return Golden(
        {
            "format": FORMAT,
            "version": VERSION,
            "seed": seed,
            "device": plain.device,
            "map": plain.name,
            "units": {name: entry.unit for name, entry in {**fields, **plain.map.inputs}.items()},
            "states": list(plain.map.states),
            "inputs": list(plain.map.inputs),
            "outputs": list(plain.map.outputs),
            "scale": {name: _scale(plain, name, single) for name in fields},
            "branches": told,
            "events": _listed(single),
            "train": _listed(train),
        }
    )


def _listed(part: Mapping[str, Mapping[str, Array]]) -> dict[str, dict[str, list[float]]]:
    return {kind: {name: np.asarray(v, dtype=float).tolist() for name, v in of.items()} for kind, of in part.items()}


def _scale(surrogate: Surrogate, name: str, part: Mapping[str, Mapping[str, Array]]) -> float:
    if name in surrogate.map.states:
        return float(surrogate.map.states[name].span)
    scales = surrogate.map.device.full_scales(surrogate.parameters.resolved())
    return float(scales.get(name) or np.max(np.abs(part["outputs"][name])) or 1.0)


def random_events(
    surrogate: Surrogate,
    own: Mapping[str, Range],
    rng: np.random.Generator,
    *,
    count: int,
    levels: Levels = MappingProxyType({}),
) -> dict[str, dict[str, Array]]:
    """States ``before``, ``inputs`` and ``parameters``, those in ``own``: (count,) each, in the certified domain."""
    states = {}
    for name, entry in surrogate.map.states.items():
        low, high = span_of(surrogate, name, entry)
        edges = np.array([low, *(end for gap in _gaps(surrogate, name) for end in gap), high])
        lengths = np.diff(edges)
        lengths[1::2] = 0.0  # of gaps
        states[name] = np.interp(lengths.sum() * rng.random(count), np.append(0.0, np.cumsum(lengths)), edges)
        states[name][:2] = low, high  # the ends, too
        if name in levels:
            states[name] = rng.choice(levels[name], count)
    if isinstance(surrogate.learned, NeuronLaw):  # most events find a neuron ready, or none would spike
        ready, rest = rng.random(count) < READY, at_rest(surrogate.learned)
        states["n"][ready], states["phase"][ready] = rest["n"], np.abs(states["phase"][ready])
    return {
        "before": states,
        "inputs": _inputs(surrogate, rng, count=count, levels=levels),
        "parameters": {name: _own(rng, name, ends, levels, count) for name, ends in own.items()},
    }


def _gaps(surrogate: Surrogate, name: str) -> tuple[Range, ...]:
    return () if surrogate.certificate is None else surrogate.certificate.domain.gaps.get(name, ())


def _own(rng: np.random.Generator, name: str, ends: Range, levels: Levels, count: int) -> Array:
    return rng.choice(levels[name], count) if name in levels else rng.uniform(*ends, count)


def _inputs(surrogate: Surrogate, rng: np.random.Generator, *, count: int, levels: Levels) -> dict[str, Array]:
    return {
        name: rng.choice(levels[name], count)
        if name in levels
        else random_inputs(entry, rng, count=count, name=name, span=span_of(surrogate, name, entry))
        for name, entry in surrogate.map.inputs.items()
    }


def _answered(surrogate: Surrogate, drawn: Mapping[str, Mapping[str, Array]]) -> dict[str, Mapping[str, Array]]:
    here = surrogate.with_(instances=dict(drawn["parameters"])) if drawn["parameters"] else surrogate
    after, outputs = here.step(Values(drawn["before"]), Values(drawn["inputs"]))
    return {**drawn, "after": dict(after), "outputs": dict(outputs)}


def _covering(
    surrogate: Surrogate, drawn: Mapping[str, Mapping[str, Array]], own: Mapping[str, Range], *, count: int
) -> tuple[list[int], dict[str, Any]]:
    """The first events of the pool with one for every side of a choice that they miss, and how many sides there are."""
    chosen = list(range(count))
    if surrogate.learned is not None:
        return chosen, {"seen": None, "of": None, "note": "a law is learned: its pieces are not counted"}
    try:
        found = program(surrogate, lambda kind, name: f"{kind} {name}", own=own)
    except EmitError:
        found = None
    if found is None or not found.closed:
        return chosen, {"seen": None, "of": None, "note": "the map is integrated: its branches are not counted"}
    kinds = {"before": "state", "inputs": "input", "parameters": "parameter"}
    values = {f"{kinds[kind]} {name}": column for kind, part in drawn.items() for name, column in part.items()}
    seen = total = 0
    for sides in evaluated(found.results, values)[1].values():
        for side in (sides, ~sides):
            total += 1
            if np.any(side):
                seen += 1
                if not np.any(side[chosen]):
                    chosen.append(int(np.argmax(side)))
    return chosen, {"seen": seen, "of": total, "note": f"sides of the map's choices that {POOL} random events reach"}


def _require_same(surrogate: Surrogate, part: Mapping[str, Mapping[str, Array]]) -> None:
    """Raises `EmitError` where the graphs of a closed map are not what the surrogate does: nothing is then written."""
    if surrogate.map.closed is None:
        return
    try:
        found = program(surrogate, lambda kind, name: f"{kind} {name}", own=part["parameters"])
    except EmitError:  # of a target without graphs: it only needs the answers
        return
    kinds = {"before": "state", "inputs": "input", "parameters": "parameter"}
    values = {f"{of} {name}": column for kind, of in kinds.items() for name, column in part[kind].items()}
    ours = {**part["after"], **part["outputs"]}
    for name, theirs in evaluated(found.results, values)[0].items():
        worst = float(np.max(np.abs(theirs - ours[name])))
        if not worst <= SAME * float(np.max(np.abs(ours[name]), initial=1e-300)):
            raise EmitError(
                f"the map {surrogate.name} of {surrogate.device} as it would be written differs from the surrogate by "
                f"{worst:.2g} in {name}",
                remedy="something that the surrogate learned has no counterpart in an export",
            )


def _middle(surrogate: Surrogate, name: str) -> float:
    """Of a state's range; where nothing was tested there, the nearest end of the gap."""
    found = 0.5 * sum(span_of(surrogate, name, surrogate.map.states[name]))
    for low, high in _gaps(surrogate, name):
        if low < found < high:
            return low if found - low < high - found else high
    return found


def _train(
    surrogate: Surrogate, own: Mapping[str, Range], rng: np.random.Generator, levels: Levels
) -> dict[str, Mapping[str, Array]]:
    """Events one after the other with one set of parameters, from the middle of the states' ranges."""
    state = {name: np.array([_middle(surrogate, name)]) for name in surrogate.map.states}
    state |= {name: np.array([levels[name][0]]) for name in state if name in levels}
    fixed = {name: _own(rng, name, ends, levels, 1) for name, ends in own.items()}
    rows = []
    for _ in range(TRAIN if surrogate.map.closed is not None else SHORT):
        for _ in range(TRIES):
            inputs = _inputs(surrogate, rng, count=1, levels=levels)
            row = _answered(surrogate, {"before": state, "inputs": inputs, "parameters": fixed})
            low_high = {name: span_of(surrogate, name, entry) for name, entry in surrogate.map.states.items()}
            if all(low <= row["after"][name][0] <= high for name, (low, high) in low_high.items()) and not any(
                low < row["after"][name][0] < high for name in low_high for low, high in _gaps(surrogate, name)
            ):
                rows.append(row)
                state = {name: np.asarray(value) for name, value in row["after"].items()}
                break
    if not rows:
        raise InputError(
            "no event that begins in the middle of the certified states stays inside of them",
            remedy="certify a wider domain (cosim surrogate train with more --pulses)",
        )
    return {
        kind: {name: np.concatenate([row[kind][name] for row in rows]) for name in rows[0][kind]} for kind in rows[0]
    }
