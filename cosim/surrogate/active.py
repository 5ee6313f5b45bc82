"""Samples where they tell most: a Latin hypercube first, then the points at which the error is expected to be largest.

The inputs of the first events are those of the hypercube. They run in trains of `SHORT`, each begun in the state of its
first point: the states of the others are those that the train comes to.

The expected error of a point is that of its nearest samples, weighted by their distances, times the root of the
distance to the nearest one, so that what nobody has seen counts too (our choice). Every batch of such points is first
predicted, then learned: its errors are those of fresh events at the worst places that could be found, and where all of
them keep the limits, learning ends.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import xarray as xr
from scipy.spatial import cKDTree
from scipy.stats import qmc

from cosim.devices.base import Array
from cosim.devices.maps import EventMap
from cosim.errors import FitError
from cosim.surrogate.base import Range
from cosim.surrogate.certify import Tell, coordinates, require_dependence, stepped
from cosim.surrogate.density import LOGARITHMIC, drawn_share
from cosim.surrogate.model import Surrogate
from cosim.surrogate.references import EVENT, Reference, events_of
from cosim.surrogate.trains import SHORT

FIRST_EVENTS, BATCH = 60, 20  # events of the hypercube, and of each batch behind it
MOST = 20_000  # events, where only a time was given
CANDIDATES = 2000
NEIGHBOURS = 4


@dataclass(frozen=True)
class Budget:
    """What learning may cost: ``events``, and ``seconds`` of the reference, of which ``reserve`` events are kept for
    the certificate."""

    events: int = MOST
    seconds: float = math.inf
    reserve: int = 0


def drawn_value(entry_range: Range, share: Array, cumulative: Array, grid: Array) -> Array:
    """The inputs with ``share`` of the drawn ones below them, by interpolation of the distribution on a ``grid``."""
    return np.asarray(np.clip(np.interp(share, cumulative, grid), *entry_range))


class _Space:
    """States and inputs as a unit cube, in the coordinates of `cosim.surrogate.density`."""

    def __init__(self, event_map: EventMap, ranges: Mapping[str, Range]) -> None:
        self.map = event_map
        self.box = {name: entry.range for name, entry in event_map.states.items()}
        self.box |= {name: ranges.get(name, entry.range) for name, entry in event_map.inputs.items()}

    def values(self, points: Array) -> dict[str, Array]:
        """``<state>_before`` and inputs (n,) of ``points`` (n, d)."""
        found = {}
        for k, (name, (low, high)) in enumerate(self.box.items()):
            if name in self.map.states:
                found[f"{name}_before"] = low + (high - low) * points[:, k]
                continue
            entry = self.map.inputs[name]
            grid = np.linspace(low, high, 1001)
            if low > 0.0 and high > LOGARITHMIC * low:
                grid = np.geomspace(low, high, 1001)
            grid = np.unique(np.concatenate([grid, np.clip([*entry.still, 0.0], low, high)]))
            found[name] = drawn_value((low, high), points[:, k], drawn_share(entry, (low, high), grid), grid)
        return found

    def points(self, data: xr.Dataset) -> Array:
        """(n, d) of joined events."""
        return coordinates(self.map, data, self.box)


def _asked(
    surrogate: Surrogate, reference: Reference, values: Mapping[str, Array], *, length: int
) -> tuple[list[xr.Dataset], float]:
    """Trains of ``length`` events with these inputs, each begun in the states of its first one, and their seconds."""
    event_map, parts, seconds = surrogate.map, [], 0.0
    count = next(iter(values.values())).size
    for start in range(0, count, length):
        here = slice(start, min(start + length, count))
        begin = {name: float(values[f"{name}_before"][start]) for name in event_map.states}
        events = events_of(event_map, {name: values[name][here] for name in event_map.inputs}, begin=begin)
        begun = time.perf_counter()
        answer = reference.respond(surrogate.parameters, event_map, events)
        seconds += time.perf_counter() - begun
        before = {}
        for name in event_map.states:
            path = np.concatenate([[begin[name]], answer[name].values[:-1]])
            before[f"{name}_before"] = (EVENT, np.clip(path, *event_map.bounds(name)))
        parts.append(events.drop_vars(list(before)).assign(before).merge(answer))
    return parts, seconds


def _excess(surrogate: Surrogate, data: xr.Dataset, allowed: Mapping[str, float], scales: Mapping[str, float]) -> Array:
    """(n,) the largest error of each event over its limit, among all states and outputs."""
    ours = stepped(surrogate, data)
    parts = [np.abs(ours[name] - data[name].values) / (scales[name] * allowed[name]) for name in scales]
    return np.asarray(np.max(parts, axis=0))


def _worst(space: _Space, data: xr.Dataset, excess: Array, rng: np.random.Generator, *, count: int) -> Array:
    """(count, d): the candidates whose expected error is the largest, none too near to another."""
    points = qmc.LatinHypercube(len(space.box), rng=rng).random(CANDIDATES)
    tree = cKDTree(space.points(data))
    distance, index = tree.query(points, k=min(NEIGHBOURS, excess.size))
    distance, index = np.reshape(distance, (CANDIDATES, -1)), np.reshape(index, (CANDIDATES, -1))
    weight = 1.0 / np.maximum(distance, 1e-9)
    score = np.sum(weight * excess[index], axis=1) / np.sum(weight, axis=1) * np.sqrt(distance[:, 0])
    apart = 0.5 * CANDIDATES ** (-1.0 / points.shape[1])
    chosen: list[int] = []
    for k in np.argsort(-score).tolist():
        if all(np.max(np.abs(points[k] - points[other])) > apart for other in chosen):
            chosen.append(k)
        if len(chosen) == count:
            break
    return np.asarray(points[chosen])


def learn_actively(
    surrogate: Surrogate,
    reference: Reference,
    *,
    allowed: Mapping[str, float],
    budget: Budget,
    seed: int = 0,
    ranges: Mapping[str, Range] = MappingProxyType({}),
    tell: Tell | None = None,
) -> tuple[Surrogate, xr.Dataset, str]:
    """Correct a surrogate by samples that are chosen as it learns (module docstring).

    Args:
        allowed: limits as shares of full scale, by the name of each state and output, as `base.read_limits` gives them.
        budget: where learning ends, whether the limits are kept or not.
        seed, ranges, tell: as in `cosim.surrogate.certify.certify`.

    Returns:
        The surrogate, its samples over ``event``, and what was spent in a sentence.

    Raises:
        FitError: the samples are too few for any correction. InputError: an output depends on nothing.
    """
    from cosim.surrogate.train import correct

    rng, space = np.random.default_rng([seed, 0]), _Space(surrogate.map, ranges)
    first = min(FIRST_EVENTS, budget.events)
    if tell is not None:
        tell(0, budget.events)
    points = qmc.LatinHypercube(len(space.box), rng=rng).random(first)
    parts, seconds = _asked(surrogate, reference, space.values(points), length=SHORT)
    data = xr.concat(parts, EVENT)
    require_dependence(surrogate.map, data)
    reserved = budget.reserve * seconds / first
    full = surrogate.map.device.full_scales(surrogate.parameters.resolved())
    made, met, worst = surrogate.with_(correction=None, certificate=None), False, math.inf
    while True:
        count = data.sizes[EVENT]
        if tell is not None:
            tell(count, budget.events)
        try:
            made, sentence = correct(made, data, rng=np.random.default_rng([seed, 2]))
        except FitError:
            sentence = ""
        left = min(BATCH, budget.events - count)
        if met or left < 1 or seconds + reserved >= budget.seconds:
            break
        scales = {name: entry.span for name, entry in surrogate.map.states.items()}
        for name in surrogate.map.outputs:
            scales[name] = full.get(name) or float(np.max(np.abs(data[name].values))) or 1.0
        chosen = _worst(space, data, _excess(made, data, allowed, scales), rng, count=left)
        parts, spent = _asked(surrogate, reference, space.values(chosen), length=1)
        seconds += spent
        batch = xr.concat(parts, EVENT)
        worst = float(np.max(_excess(made, batch, allowed, scales)))
        met = worst <= 1.0
        data = xr.concat([data, batch], EVENT)
    if not sentence:
        made, sentence = correct(made, data, rng=np.random.default_rng([seed, 2]))  # says what the samples lack
    count = data.sizes[EVENT]
    why = "the limits were kept by the last of them before they were learned" if met else "the budget was spent"
    if not met and math.isfinite(worst):
        why += f", with the last of them up to {worst:.2g} times the limits"
    spent_all = (
        f"learned from {count} events in {seconds:.3g} s of {reference.engine}, {first} in trains of {SHORT} begun at "
        f"points of a Latin hypercube and {count - first} where the error was largest: {why}"
    )
    return made, data, f"{sentence}; {spent_all}"
