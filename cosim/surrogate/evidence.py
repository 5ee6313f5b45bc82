"""What a certificate says beside the error of single held-out events.

That of free runs of a certain length, the simulator's own, what the standard errors of the parameters make of the same
events, and the error of what happens between events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import numpy as np
import xarray as xr

from cosim.devices.base import Array, Values
from cosim.devices.maps import EventMap
from cosim.errors import CosimError, InputError
from cosim.parameters import ParameterSet
from cosim.surrogate.base import REST
from cosim.surrogate.conformal import LEAST_RUNS, LENGTHS, LEVELS
from cosim.surrogate.density import LEAST_NEAR, NEAR, covered_share
from cosim.surrogate.model import Surrogate
from cosim.surrogate.references import EVENT, Reference, events_of
from cosim.surrogate.summary import ErrorSummary
from cosim.surrogate.trains import TENTHS, RandomTrains

Errors = Mapping[str, Array]
Summaries = Mapping[str, ErrorSummary]
REPEATED = 4  # trains that are run again at tightened tolerances, at most
CARRIED = 200  # held-out events by which standard errors are propagated, at most
RESTS = 10


@runtime_checkable
class Tightening(Protocol):
    """A reference that can be asked again at tighter tolerances."""

    def tightened(self) -> Reference:
        """The same reference at tightened tolerances."""
        ...


@dataclass(frozen=True)
class Scales:
    """Full scale and unit of each quantity, by name."""

    full: Mapping[str, float]
    units: Mapping[str, str]

    def summary(self, errors: Errors) -> Summaries:
        """The summary of each error."""
        return MappingProxyType(
            {
                name: ErrorSummary.of(values, full_scale=self.full[name], unit=self.units[name])
                for name, values in errors.items()
            }
        )


def errors_of(ours: Mapping[str, Array], theirs: xr.Dataset, names: Sequence[str]) -> dict[str, Array]:
    """Signed errors by name."""
    return {name: np.asarray(ours[name] - theirs[name].values) for name in names}


def free_run_errors(surrogate: Surrogate, data: xr.Dataset, sizes: Sequence[int], own: Errors) -> dict[int, Errors]:
    """Errors after each of `LENGTHS` events that the held-out trains hold often enough to calibrate intervals on.

    Args:
        surrogate: without a certificate.
        data: joined events of all trains, one behind the other.
        sizes: of the trains.
        own: parameters that differ from train to train, (events,) each; with any, only the first piece of each train
            counts, and none of the first train, which is nominal.

    Returns:
        By length: signed errors of states and outputs at the end of disjoint pieces of the trains, each begun in the
        reference's state.
    """
    names = [*surrogate.map.states, *surrogate.map.outputs]
    ends = np.cumsum(sizes)
    columns = {str(name): np.asarray(data[name].values) for name in data.data_vars}
    found: dict[int, Errors] = {}
    for length in LENGTHS[1:]:
        pieces = [
            np.arange(end - size, end - length + 1, length)[: 1 if own else None]
            for number, (end, size) in enumerate(zip(ends.tolist(), sizes, strict=True))
            if size >= length and not (own and number == 0)
        ]
        starts = np.concatenate([*pieces, np.zeros(0, dtype=int)]).astype(int)
        if starts.size < LEAST_RUNS:
            continue
        here = surrogate.with_(instances={name: values[starts] for name, values in own.items()}) if own else surrogate
        x, outputs = Values({name: columns[f"{name}_before"][starts] for name in surrogate.map.states}), Values({})
        for k in range(length):
            u = Values({name: columns[name][starts + k] for name in surrogate.map.inputs})
            if k + 1 == length:
                x, outputs = here.step(x, u)
            else:
                x = here.advance(x, u)
        last = data.isel({EVENT: starts + length - 1})
        found[length] = errors_of({**x, **outputs}, last, names)
    return found


def errors_per_instance(errors: Errors, sizes: Sequence[int], *, rng: np.random.Generator) -> Errors:
    """The error of one event, drawn at random, of each train but the first: one score of each drawn instance.

    Empty where there is no other train.
    """
    ends = np.cumsum(sizes)
    chosen = np.array([rng.integers(end - size, end) for end, size in zip(ends[1:], sizes[1:], strict=True)], dtype=int)
    return {name: values[chosen] for name, values in errors.items()}


def instance_shares(count: int, parameters: int, *, rng: np.random.Generator) -> Array:
    """(count, parameters) where instances lie in the ranges of their parameters: evenly in the tenths of each."""
    tenth = np.arange(count) % TENTHS
    columns = [(rng.permutation(tenth) + rng.random(count)) / TENTHS for _ in range(parameters)]
    return np.stack(columns, axis=-1) if columns else np.zeros((count, 0))


def instances_said(shares: Array, names: Sequence[str]) -> str:
    """On which instances a spread rests, how densely they fill its box, and which intervals they are too few for."""
    # n scores allow the levels up to n / (n + 1)
    count, near = len(shares), covered_share(shares)
    lacking = [f"{100.0 * level:g} %" for level in LEVELS if (count + 1) * (1.0 - level) < 1.0 - 1e-9]
    return (
        f"spread: {count} instances, {count // TENTHS} or more from each tenth of {', '.join(names)}; {near:.1%} of "
        f"their box has {LEAST_NEAR} in the {NEAR:.0%} of it around each point; intervals are calibrated on one run of "
        "each" + (f", too few for {', '.join(lacking)}" if lacking else "")
    )


def simulator_error(
    reference: Reference, event_map: EventMap, trains: Sequence[tuple[ParameterSet, xr.Dataset]], scales: Scales
) -> tuple[Summaries, str]:
    """What the reference answers differently at tightened tolerances, and to which events; or why that is missing.

    Args:
        trains: the parameters and the joined events of each that may be run again, begun in its first state: errors add
            up from event to event, so that short ones are to be given.
    """
    if not isinstance(reference, Tightening):
        return MappingProxyType({}), f"its own error is missing: {reference.engine} is not asked at other tolerances"
    names, again = [*event_map.states, *event_map.outputs], reference.tightened()
    found: dict[str, list[Array]] = {name: [] for name in names}
    chosen = trains[:REPEATED]
    try:
        for parameters, part in chosen:
            begin = {name: float(part[f"{name}_before"].values[0]) for name in event_map.states}
            events = events_of(event_map, {name: part[name].values for name in event_map.inputs}, begin=begin)
            answer = again.respond(parameters, event_map, events)
            for name in names:
                found[name].append(part[name].values - answer[name].values)
    except CosimError as error:
        return MappingProxyType({}), f"its own error is missing: no answer at tightened tolerances ({error.message})"
    count, longest = sum(part.sizes[EVENT] for _, part in chosen), max(part.sizes[EVENT] for _, part in chosen)
    at = ", ".join(f"{name} {value:g}" for name, value in again.tolerances.items())
    said = (
        f"its own error by {count} of the events again at {at}, in trains of at most {longest}, within which it adds up"
    )
    return scales.summary({name: np.concatenate(values) for name, values in found.items()}), said


def extraction_error(surrogate: Surrogate, data: xr.Dataset, scales: Scales) -> tuple[Summaries, str]:
    """What the standard errors of the parameter set do to the answers to ``data``, linearly; and whose they are.

    With the set's covariance where it has one. Empty where the set states no standard error.
    """
    chosen = surrogate.parameters
    nominal = chosen.resolved()
    if not chosen.values:
        return MappingProxyType({}), "none: the circuit itself answers, and the law was learned from it"
    errors = {name: q.stderr for name, q in chosen.values.items() if q.stderr is not None and q.stderr > 0.0}
    if not errors:
        return MappingProxyType({}), f"{chosen.name} states no standard errors: the error of its extraction is missing"
    covariance, said = np.diag(np.square(list(errors.values()))), "without their correlations"
    if chosen.covariance is not None and set(chosen.extracted) >= set(errors):
        index = [chosen.extracted.index(name) for name in errors]
        covariance, said = chosen.covariance[np.ix_(index, index)], "with their correlations"
    few = data.isel({EVENT: slice(0, CARRIED)})
    names = [*surrogate.map.states, *surrogate.map.outputs]
    # what was learned beside the parameters stays as it is, where another set would drop it
    kept = {part: getattr(surrogate, part) for part in ("correction", "learned", "reading")}

    def answers(values: Mapping[str, float]) -> Mapping[str, Array]:
        here = surrogate.with_(parameters=chosen.with_values(values), **kept)
        x = Values({name: few[f"{name}_before"].values for name in surrogate.map.states})
        after, outputs = here.step(x, Values({name: few[name].values for name in surrogate.map.inputs}))
        return {**after, **outputs}

    before = answers({})
    slopes = []
    for name, error in errors.items():
        value = float(nominal[name])
        try:
            found, step = answers({name: value + error}), error
        except InputError:  # beyond a physical bound
            found, step = answers({name: value - error}), -error
        slopes.append({key: (found[key] - before[key]) / step for key in names})
    moved = {}
    for key in names:
        slope = np.stack([one[key] for one in slopes])
        moved[key] = np.sqrt(np.maximum(np.einsum("ke,kl,le->e", slope, covariance, slope), 0.0))
    return scales.summary(moved), f"standard errors of {', '.join(errors)} of {chosen.name}, {said}, taken linearly"


def rest_errors(surrogate: Surrogate, reference: Reference, trains: RandomTrains, rest: EventMap) -> tuple[Errors, str]:
    """Errors of the states after rests, by the name of the state and " at rest"; and what was left out, if anything."""
    parts = []
    try:
        for number in range(len(trains.sizes)):  # a device's states stay within their bounds: none is cut
            events = trains.events(number)
            parts.append(trains.joined(number, events, reference.respond(surrogate.parameters, rest, events)))
    except CosimError as error:
        return {}, f"rests are not certified: {error.message}"
    data = xr.concat(parts, EVENT)
    x = Values({name: data[f"{name}_before"].values for name in rest.states})
    after, _ = rest(x, Values({name: data[name].values for name in rest.inputs}), surrogate.values)
    return {f"{name}{REST}": np.asarray(after[name] - data[name].values) for name in rest.states}, ""
