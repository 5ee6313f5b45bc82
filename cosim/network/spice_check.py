"""Spot checks of a running network: randomly chosen cells see the same events again in SPICE.

A `Watch` notes what drives the chosen cells of a crossbar while it learns. `replay` sends the events through the
circuit, from the state in which each cell began, and compares where it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array, Values
from cosim.errors import InputError
from cosim.surrogate.model import Surrogate
from cosim.surrogate.references import EVENT, Reference, events_of

if TYPE_CHECKING:
    from cosim.network.crossbar import Crossbar

MOST_EVENTS = 1000  # that move a cell are replayed; of a cell that saw more, the first ones (our choice)


class Watch:
    """Notes the events of some cells of a crossbar.

    Attributes:
        cells: (n, 2), row and column of each.
        begin: state -> (n,), where the cells were when it began to look.
        drives: of each cell, the drives of its events.
    """

    def __init__(self, crossbar: Crossbar, count: int, rng: np.random.Generator) -> None:
        """Watches ``count`` cells that ``rng`` chooses; raises `InputError` for more than there are."""
        rows, columns = crossbar.shape
        if not 1 <= count <= rows * columns:
            raise InputError(
                f"{count} cells cannot be checked in SPICE: the network has {rows * columns}",
                remedy="give --spice-check a number of at least 1 and at most that",
            )
        chosen = rng.choice(rows * columns, count, replace=False)
        self.cells: NDArray[np.int64] = np.stack(np.unravel_index(chosen, (rows, columns)), axis=1)
        self.restart(crossbar)

    def restart(self, crossbar: Crossbar) -> None:
        """Forget the events so far: the cells begin where they are now."""
        rows, columns = self.cells.T
        self.begin = {name: x[rows, columns].copy() for name, x in crossbar.state.items()}
        self.drives: list[list[float]] = [[] for _ in self.cells]

    def note(self, crossbar: Crossbar, index: Any, inputs: Mapping[str, Array], when: Array | None) -> None:
        """One event on the cells of ``index``, with ``inputs`` that broadcast to their shape."""
        near = np.ones(len(self.cells), dtype=bool)  # most events reach none of them
        for part, numbers in zip(index, self.cells.T, strict=True):
            if not isinstance(part, slice):
                near &= np.isin(numbers, part)
        if not near.any():
            return
        block = np.shape(crossbar.w[index])
        for k in near.nonzero()[0]:
            places = [_place(part, number) for part, number in zip(index, self.cells[k], strict=True)]
            place = tuple(i for part, i in zip(index, places, strict=True) if not isinstance(part, int | np.integer))
            if when is None or np.broadcast_to(when, block)[place]:
                self.drives[k].append(float(np.broadcast_to(inputs[crossbar.drive], block)[place]))


def _place(part: Any, number: int) -> int:
    """Where a row or column is among those of an index that holds it."""
    return number if isinstance(part, slice) else int(np.flatnonzero(np.atleast_1d(part) == number)[0])


@dataclass(frozen=True)
class SpiceCheck:
    """Where the chosen cells ended, in the network and in SPICE.

    Args:
        cells: (n, 2). events, moving: (n,) that each cell saw, and of those that the surrogate lets move it.
        network, spice: state -> (n,), after the events that were replayed.
        spans: of the states. against: what answered.
        whole: whether every event that moved a cell was replayed.
    """

    cells: NDArray[np.int64]
    events: NDArray[np.int64]
    moving: NDArray[np.int64]
    network: Mapping[str, Array]
    spice: Mapping[str, Array]
    spans: Mapping[str, float]
    against: str
    whole: bool

    def difference(self, name: str) -> Array:
        """(n,) of a state, network less SPICE, as shares of its range."""
        found: Array = (self.network[name] - self.spice[name]) / self.spans[name]
        return found

    def spread(self, state: Mapping[str, Array], surrogate: Surrogate, rng: np.random.Generator) -> dict[str, Array]:
        """The states of all cells, each moved by the difference of one of the chosen cells, which ``rng`` picks."""
        pick = rng.integers(len(self.cells), size=next(iter(state.values())).shape)
        return {
            name: np.clip(x - (self.network[name] - self.spice[name])[pick], *surrogate.map.bounds(name))
            for name, x in state.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "against": self.against,
            "cells": self.cells.tolist(),
            "events": self.events.tolist(),
            "moving": self.moving.tolist(),
            "whole": self.whole,
            "network": {name: x.tolist() for name, x in self.network.items()},
            "spice": {name: x.tolist() for name, x in self.spice.items()},
            "largest": {name: float(np.max(np.abs(self.difference(name)))) for name in self.network},
        }


def replay(
    surrogate: Surrogate,
    watch: Watch,
    reference: Reference,
    *,
    drive: str,
    held: Mapping[str, Array],
    tell: Callable[[int, int], None] | None = None,
) -> SpiceCheck:
    """What a watched cell saw, again in SPICE.

    Events that the surrogate does not let move a cell are left out: a check of those is the certificate's.

    Args:
        surrogate: of the crossbar, with its instances.
        watch: of its cells.
        reference: the circuit.
        drive: the input that the events differ in; the others are ``held``.
        tell: called with the cells that are done and all of them.
    """
    event_map, count = surrogate.map, len(watch.cells)
    network = {name: x.copy() for name, x in watch.begin.items()}
    spice = {name: x.copy() for name, x in watch.begin.items()}
    moving = np.zeros(count, dtype=np.int64)
    whole = True
    for k, (row, column) in enumerate(watch.cells):
        if tell is not None:
            tell(k, count)
        own = {
            name: float(np.broadcast_to(x, (row + 1, column + 1))[row, column] if x.ndim < 2 else x[row, column])
            for name, x in surrogate.instances.items()
        }
        one = surrogate.with_(instances={name: np.array([x]) for name, x in own.items()}) if own else surrogate
        state = {name: np.array([x[k]]) for name, x in watch.begin.items()}
        seen: list[float] = []
        for value in watch.drives[k]:
            after = one.advance(Values(state), Values({drive: np.array([value]), **held}))
            if any(after[name][0] != state[name][0] for name in state):
                if len(seen) == MOST_EVENTS:
                    whole = False
                    break
                seen.append(value)
                state = {name: np.asarray(after[name]) for name in state}
        moving[k] = len(seen)
        for name in network:
            network[name][k] = state[name][0]
        if not seen:
            continue
        begin = {name: float(x[k]) for name, x in watch.begin.items()}
        inputs = {drive: np.array(seen), **{name: np.full(len(seen), float(x)) for name, x in held.items()}}
        chosen = surrogate.parameters.with_values(own) if own else surrogate.parameters
        answer = reference.respond(chosen, event_map, events_of(event_map, inputs, begin=begin))
        for name in spice:
            spice[name][k] = float(answer[name].isel({EVENT: -1}))
    if tell is not None:
        tell(count, count)
    spans = {name: entry.span for name, entry in event_map.states.items()}
    seen_all = np.array([len(drives) for drives in watch.drives])
    return SpiceCheck(watch.cells, seen_all, moving, network, spice, spans, reference.engine, whole)


def checked_lines(found: Mapping[str, Any], accuracy: Mapping[str, float], read_out: str) -> list[str]:
    """A spot check, as in a seed's results, in words; ``accuracy`` by read-out is that of the network as it is."""
    largest = ", ".join(f"{name} {100.0 * x:.3g} %" for name, x in found["largest"].items())
    moving = found["moving"]
    few, most = min(moving), max(moving)
    count = f"{few}" if few == most else f"{few} to {most}"
    events = f"{count} {'event' if most == 1 else 'events'} that moved each"
    there = found["accuracy_with_such_differences"][read_out] - accuracy[read_out]
    return [
        f"spice check {len(moving)} {'cell' if len(moving) == 1 else 'cells'} in {found['against']}, {events}"
        + ("" if found["whole"] else " (the first of more)")
        + f": largest difference {largest} of the range; such differences in every cell change read-out {read_out} by "
        f"{100.0 * there:+.2f} points"
    ]
