"""Random trains of events that a surrogate is held against.

Two long trains begin at the lower and the upper ends of the states' ranges, the rest are short ones. A tenth of a
state's range counts as tested with `LEAST_TESTED` events in it; each short train begins in the tenths that lack least,
so that few events certify a part of a range rather than nothing. A train ends where it leaves the range within which
events may begin, which a circuit's states do where its bench gives too narrow a one.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cosim import units
from cosim.devices.base import Array
from cosim.devices.maps import EventMap, Field
from cosim.errors import InputError, UnknownName
from cosim.surrogate.base import Range
from cosim.surrogate.conformal import LENGTHS
from cosim.surrogate.density import LOGARITHMIC, STILL
from cosim.surrogate.references import EVENT, events_of

# The states' ranges are tested and certified in tenths; one counts as tested with so many events (our choice).
TENTHS = 10
LEAST_TESTED = 5
LONG, SHORT = 200, 5  # events of a long train, at most, and of one that begins where too few were tested
# Of a state's range: an engine may overshoot a bound by so much; a circuit that goes further leaves it (our choice).
OVERSHOOT = 1e-3


def random_inputs(entry: Field, rng: np.random.Generator, *, count: int, name: str, span: Range) -> Array:
    """(count,) values of an input from ``span``.

    A span on both sides of zero is drawn from by sign, and denser towards its ends, where a device does most; of an
    input with thresholds nine in ten lie beyond them, uniformly.
    """
    low, high = span
    if entry.still[0] < entry.still[1]:
        if not low < 0.0 < high:
            most = max(abs(low), abs(high))
            raise InputError(
                f"the {name} {low:g}..{high:g} {entry.unit} has one sign, and a cell is moved by both",
                remedy=f"give both signs, e.g. {-most:g} {entry.unit} to {most:g} {entry.unit}",
            )
        negative, below = rng.random(count) < 0.5, rng.random(count) < STILL
        end, theta = np.where(negative, -low, high), np.where(negative, -entry.still[0], entry.still[1])
        least = np.where(below | (end <= theta), 0.0, theta)
        size = least + rng.random(count) * (np.where(below, np.minimum(theta, end), end) - least)
        return np.asarray(np.where(negative, -size, size))
    part = rng.random(count)
    if low < 0.0 < high:
        return np.asarray(np.where(rng.random(count) < 0.5, low, high) * np.sqrt(part))
    if low > 0.0 and high > LOGARITHMIC * low:
        return np.asarray(low * (high / low) ** part)
    return np.asarray(low + (high - low) * part)


def random_events(
    event_map: EventMap,
    rng: np.random.Generator,
    *,
    count: int,
    begin: Mapping[str, float],
    ranges: Mapping[str, Range] = MappingProxyType({}),
) -> xr.Dataset:
    """``count`` events with inputs from ``ranges``, else from the map's own, that begin in the states ``begin``."""
    drawn = {
        name: random_inputs(entry, rng, count=count, name=name, span=ranges.get(name, entry.range))
        for name, entry in event_map.inputs.items()
    }
    return events_of(event_map, drawn, begin=begin)


class RandomTrains:
    """Random trains of ``count`` events in all, and how often each tenth of each state has been tested by them."""

    def __init__(
        self,
        event_map: EventMap,
        rng: np.random.Generator,
        *,
        count: int,
        longest: int,
        ranges: Mapping[str, Range],
        rollouts: int = 0,
        instances: int = 0,
    ) -> None:
        """``longest``: events of a train at most; ``ranges`` of inputs, over the map's own; ``rollouts``: so many
        trains of the longest calibrated length more, each begun anywhere; ``instances``: at least so many trains behind
        the first, which are shorter for it."""
        for name in ranges:
            if name not in event_map.inputs:
                raise UnknownName(f"input of the map {event_map.name}", name, event_map.inputs)
        self.map, self._rng, self._ranges = event_map, rng, ranges
        long, short = max(min(longest, max(count // 4, (count - 100) // 2)), 1), SHORT
        if instances:
            short = max(min(SHORT, count // (2 * instances)), 1)
            long = max(min(longest, (count - instances * short) // 2), 1)
        self.sizes = [min(long, count), *([long] if count >= 2 * long else [])]
        self.sizes += [min(short, count - start) for start in range(sum(self.sizes), count, short)]
        if len(self.sizes) - 1 < instances:
            raise InputError(
                f"{count} events are too few for a spread, which takes {instances} instances drawn from it",
                remedy="certify with 100 pulses or more",
            )
        self.usual = len(self.sizes)
        self.sizes += [LENGTHS[-1]] * rollouts
        self.asked = list(self.sizes)  # before any was cut
        self.left: dict[str, int] = {}  # state that left its range -> events that are no evidence
        self.tested = {name: np.zeros(TENTHS, dtype=np.int64) for name in event_map.states}
        self.seen = {name: np.zeros(TENTHS, dtype=np.int64) for name in event_map.states}  # trains: independent starts

    def events(self, number: int) -> xr.Dataset:
        """A train: from either end of all ranges, then in each from the tenth that lacks least to be tested."""
        begin = {}
        for name, entry in self.map.states.items():
            counts = self.tested[name]
            lacking = np.where(counts < LEAST_TESTED, counts, -1)
            tenth = int(np.argmax(lacking)) if np.any(lacking >= 0) else int(np.argmin(counts))
            share = float(number) if number < 2 else (tenth + float(self._rng.random())) / TENTHS
            if self.usual <= number and self.asked[number] == LENGTHS[-1]:
                share = float(self._rng.random())
            begin[name] = entry.range[0] + share * entry.span
        return random_events(self.map, self._rng, count=self.sizes[number], begin=begin, ranges=self._ranges)

    def joined(self, number: int, events: xr.Dataset, answer: xr.Dataset) -> xr.Dataset:
        """Inputs, the states before each event and the answers, over ``event``; they count as tested.

        The train ends where a state has left the range within which events may begin; others take its place.
        """
        before, count = {}, events.sizes[EVENT]
        for name, entry in self.map.states.items():
            low, high = self.map.bounds(name)
            path = np.concatenate([[float(events[f"{name}_before"])], answer[name].values[:-1]])
            beyond = OVERSHOOT * entry.span
            outside = np.flatnonzero((path < low - beyond) | (path > high + beyond))
            if outside.size and outside[0] < count:
                self.left[name] = self.left.get(name, 0) + count - int(outside[0])
                count = int(outside[0])
            before[f"{name}_before"] = (EVENT, np.clip(path, low, high))
        rest = self.sizes[number] - count
        self.sizes[number] = count
        more = [min(SHORT, rest - start) for start in range(0, rest, SHORT)]
        self.sizes, self.asked = self.sizes + more, self.asked + more
        found = events.drop_vars(list(before)).assign(before).merge(answer).isel({EVENT: slice(0, count)})
        for name, entry in self.map.states.items():
            counts = np.histogram(found[f"{name}_before"], bins=TENTHS, range=entry.range)[0]
            self.tested[name] += counts
            self.seen[name] += counts > 0
        return found

    def notes(self) -> list[str]:
        """For a certificate: which states left their range, and how often each tenth of a state was tested."""
        said = []
        for name, entry in self.map.states.items():
            if name in self.left:
                low, high = (units.show(end, "" if entry.unit == "1" else entry.unit) for end in entry.range)
                said.append(
                    f"{name} left {low} to {high}, and the {self.left[name]} events that followed count for nothing: "
                    "others were drawn; widen its range in the bench"
                )
        for name, counts in self.tested.items():
            shown = ", ".join(str(n) for n in counts)
            said.append(
                f"pulses in each tenth of {name}: {shown}; a tenth with fewer than {LEAST_TESTED} is not certified; "
                f"they come of {', '.join(map(str, self.seen[name]))} trains, in which one follows another"
            )
        return said


def covered_parts(entry: Field, tested: NDArray[np.int64], *, name: str) -> tuple[Range, tuple[Range, ...]]:
    """From the first to the last tenth of a state's range with `LEAST_TESTED` events, and the gaps in between.

    For a state that jumps between two ranges: the widest run of tenths would leave out one of both. Raises as
    `covered_range`.
    """
    covered_range(entry, tested, name=name)
    kept = np.flatnonzero(tested >= LEAST_TESTED).tolist()

    def part(first: int, end: int) -> Range:
        return (entry.range[0] + first / TENTHS * entry.span, entry.range[0] + end / TENTHS * entry.span)

    gaps = [part(before + 1, after) for before, after in pairwise(kept) if after > before + 1]
    return part(kept[0], kept[-1] + 1), tuple(gaps)


def covered_range(entry: Field, tested: NDArray[np.int64], *, name: str) -> Range:
    """The widest range of tenths of a state with `LEAST_TESTED` events each. Raises `InputError` without one."""
    best = (0, 0)
    start = 0
    for k in range(TENTHS + 1):
        if k == TENTHS or tested[k] < LEAST_TESTED:
            best = max(best, (start, k), key=lambda ends: ends[1] - ends[0])
            start = k + 1
    if best[0] == best[1]:
        raise InputError(
            f"no tenth of the state {name}'s range has {LEAST_TESTED} held-out pulses",
            remedy="certify with 100 pulses or more",
        )
    low, high = (entry.range[0] + k / TENTHS * entry.span for k in best)
    return (low, high)
