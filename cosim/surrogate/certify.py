"""Certificates and corrections of `MapSurrogate`: held-out events against any `MapBench`.

As for pulses (`cosim.surrogate.check`): two long trains begin at the lower and the upper ends of the states' ranges,
the rest are short ones. A tenth of a state's range counts as tested with `LEAST_TESTED` events in it, and the domain is
the widest run of such tenths; each short train begins in the tenths that lack least, so that few events certify a part
of a range rather than nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cosim import __version__
from cosim.devices.base import Values
from cosim.devices.maps import ENERGY, EventMap
from cosim.errors import FitError, InputError, UnknownName
from cosim.parameters import ParameterSet
from cosim.surrogate.base import (
    LIMITS,
    Array,
    Certificate,
    Domain,
    ErrorSummary,
    Range,
    deviating_range,
    read_limits,
)
from cosim.surrogate.check import LEAST_TESTED, TENTHS, Tell, _covered, _seconds_per_pulse, growth
from cosim.surrogate.circuit import EVENT, MapBench
from cosim.surrogate.correction import MapCorrection, orders
from cosim.surrogate.files import array_digest
from cosim.surrogate.mapped import MapSurrogate
from cosim.surrogate.train import DEGREES, WORTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONG, SHORT = 100, 2  # events of a long train, at most, and of a short one
LEARNED = 20  # events of a training train
LOGARITHMIC = 100.0  # a positive range whose ends differ by more is drawn from by its logarithm


@dataclass(frozen=True)
class HeldEvents:
    """Held-out events and what both made of them.

    Args:
        events: over ``event``: each input; ``<state>_before``; each state and output of the reference, and the
            surrogate's as ``<name>_surrogate``.
        free: per train and state, both states (2, n) as shares of the range, where each follows itself.
        seconds_per_pulse: wall time that one event more takes the reference; None where the trains do not tell.
    """

    events: xr.Dataset
    free: tuple[Array, ...]
    seconds_per_pulse: float | None

    def plot(self, ax: Axes | None = None) -> Axes:
        """The surrogate's states after an event over the reference's, as shares of full scale."""
        from cosim.report.surrogate_figures import plot_events

        return plot_events(self, ax)


def random_events(
    event_map: EventMap,
    rng: np.random.Generator,
    *,
    count: int,
    begin: Mapping[str, float],
    ranges: Mapping[str, Range],
) -> xr.Dataset:
    """``count`` events with inputs from ``ranges``, beginning in the states ``begin``, as a `MapBench` takes them.

    A range on both sides of zero is drawn from by sign, and denser towards its ends: a device does most there.
    """
    columns: dict[str, object] = {}
    for name, entry in event_map.inputs.items():
        low, high = ranges.get(name, entry.range)
        part = rng.random(count)
        if low < 0.0 < high:
            drawn = np.where(rng.random(count) < 0.5, low, high) * np.sqrt(part)
        elif low > 0.0 and high > LOGARITHMIC * low:
            drawn = low * (high / low) ** part
        else:
            drawn = low + (high - low) * part
        columns[name] = (EVENT, drawn, {"units": entry.unit})
    return xr.Dataset(columns | {f"{name}_before": value for name, value in begin.items()})


def joined(event_map: EventMap, events: xr.Dataset, answer: xr.Dataset) -> xr.Dataset:
    """Inputs, the states before each event and the answers, over ``event``; states clipped to their bounds."""
    before = {}
    for name in event_map.states:
        # an engine may overshoot a bound by its tolerance
        path = np.concatenate([[float(events[f"{name}_before"])], answer[name].values[:-1]])
        before[f"{name}_before"] = (EVENT, np.clip(path, *event_map.bounds(name)))
    return events.drop_vars([f"{name}_before" for name in event_map.states]).assign(before).merge(answer)


def stepped(surrogate: MapSurrogate, data: xr.Dataset) -> dict[str, Array]:
    """States and outputs of the surrogate for each event of `joined` data."""
    state = Values({name: data[f"{name}_before"].values for name in surrogate.map.states})
    after, outputs = surrogate.step(state, Values({name: data[name].values for name in surrogate.map.inputs}))
    return {**after, **outputs}


def collect_events(
    surrogate: MapSurrogate,
    bench: MapBench,
    *,
    seed: int = 0,
    pulses: int = 600,
    ranges: Mapping[str, Range] = MappingProxyType({}),
    tell: Tell | None = None,
) -> xr.Dataset:
    """Training samples from a circuit (`joined`), of a stream that `certify_map` does not use."""
    rng = np.random.default_rng([seed, 0])
    parts = []
    for start in range(0, pulses, LEARNED):
        if tell is not None:
            tell(start, pulses)
        begin = {name: float(rng.uniform(*entry.range)) for name, entry in surrogate.map.states.items()}
        count = min(LEARNED, pulses - start)
        events = random_events(surrogate.map, rng, count=count, begin=begin, ranges=ranges)
        parts.append(joined(surrogate.map, events, bench.respond(surrogate.parameters, surrogate.map, events)))
    return xr.concat(parts, EVENT)


def correct(surrogate: MapSurrogate, samples: xr.Dataset, *, rng: np.random.Generator) -> tuple[MapSurrogate, str]:
    """``surrogate`` with the correction that a held-out third of ``samples`` prefers, and a sentence on it."""
    plain = surrogate.with_(correction=None, certificate=None)
    order = rng.permutation(samples.sizes[EVENT])
    held, used = samples.isel({EVENT: order[: order.size // 3]}), samples.isel({EVENT: order[order.size // 3 :]})
    fields = len(plain.map.states) + len(plain.map.inputs)
    degrees = [d for d in DEGREES if used.sizes[EVENT] >= 4 * len(orders(fields, d))]
    if not held.sizes[EVENT] or not degrees:
        raise FitError(f"{order.size} samples are too few for a correction", remedy="give at least a few hundred")
    alone = _rms(plain, held)
    found = {degree: _rms(plain.with_(correction=_solve(plain, used, degree)), held) for degree in degrees}
    best = min(found, key=lambda degree: found[degree])
    if found[best] > WORTH * alone:
        return plain, f"no correction: it would change the held-out rms error from {alone:.2e} to {found[best]:.2e}"
    sentence = f"correction of degree {best}: held-out rms error of training {alone:.2e} -> {found[best]:.2e}"
    return plain.with_(correction=_solve(plain, samples, best)), sentence


def _rms(surrogate: MapSurrogate, data: xr.Dataset) -> float:
    """Over all states, as a share of their ranges."""
    found = stepped(surrogate, data)
    errors = [(found[name] - data[name].values) / entry.span for name, entry in surrogate.map.states.items()]
    return float(np.sqrt(np.mean(np.square(errors))))


def _solve(surrogate: MapSurrogate, data: xr.Dataset, degree: int) -> MapCorrection:
    """Least squares of what the map leaves out, on the basis times the map's own change."""
    event_map = surrogate.map
    fields = {**event_map.states, **event_map.inputs}
    values = {name: data[f"{name}_before" if name in event_map.states else name].values for name in fields}
    ranges = np.array([[np.min(x), np.max(x)] for x in values.values()])
    ranges[:, 1] = np.where(ranges[:, 1] > ranges[:, 0], ranges[:, 1], ranges[:, 0] + 1.0)
    empty = MapCorrection(tuple(fields), ranges, degree, {})
    basis = empty.basis(values)
    own = stepped(surrogate, data)
    tables: dict[str, Array] = {}
    for name in [*event_map.states, *([ENERGY] if ENERGY in event_map.outputs else [])]:
        start = values[name] if name in event_map.states else 0.0
        change, rest = own[name] - start, data[name].values - own[name]
        scale = float(np.max(np.abs(change))) or 1.0
        found = np.linalg.lstsq(basis * (change / scale)[:, None], rest / scale, rcond=1e-10)[0]
        tables[name] = np.asarray(found, dtype=float)
    return replace(empty, tables=tables)


def certify_map(
    surrogate: MapSurrogate,
    bench: MapBench,
    *,
    seed: int = 0,
    pulses: int = 500,
    ranges: Mapping[str, Range] = MappingProxyType({}),
    spread: Mapping[str, float] = MappingProxyType({}),
    limits: Mapping[str, float] = MappingProxyType({}),
    notes: tuple[str, ...] = (),
    tell: Tell | None = None,
) -> tuple[MapSurrogate, HeldEvents]:
    """Hold ``surrogate`` against ``bench`` on fresh events, and give it the certificate.

    Args:
        surrogate: with nominal parameters; its own certificate is ignored.
        bench: the circuit.
        seed: of the held-out events; training used another stream of it.
        pulses: how many events in all.
        ranges: of inputs, over the map's own.
        spread, limits, notes, tell: as in `cosim.surrogate.check.certify`; limits go by the name of a state, an output
            or "free run".
    """
    event_map = surrogate.map
    if surrogate.instances:
        raise InputError("a surrogate is certified with nominal parameters", remedy="certify it, then set instances")
    if pulses < 1:
        raise InputError(f"{pulses} events are too few to certify with", remedy="give at least 100")
    if spread and bench.device is not None:
        raise InputError(
            f"a spread of {', '.join(spread)} cannot be held against the device {bench.device.name}, which has none",
            remedy="certify against the surrogate's own set",
        )
    for name in ranges:
        if name not in event_map.inputs:
            raise UnknownName(f"input of the map {event_map.name}", name, event_map.inputs)
    quantities = [*event_map.states, *event_map.outputs]
    allowed = read_limits(
        limits, {**{name: LIMITS[ENERGY if name == ENERGY else "state"] for name in quantities}, "free run": 0.05}
    )
    deviating: dict[str, Range] = {}
    for name, share in spread.items():
        event_map.device.param(name)
        if not 0.0 < share < 1.0:
            raise InputError(f"the spread of {name} is {share:g}", remedy="give a share, e.g. 0.2 for 20 %")
        deviating[name] = deviating_range(float(surrogate.parameters.resolved()[name]), share)
    plain = surrogate.with_(certificate=None, outside="raise")
    rng = np.random.default_rng([seed, 1])
    long = max(min(LONG, pulses // 4), 1)
    sizes = [min(long, pulses), *([long] if pulses >= 2 * long else [])]
    sizes += [min(SHORT, pulses - start) for start in range(sum(sizes), pulses, SHORT)]
    tested = {name: np.zeros(TENTHS, dtype=np.int64) for name in event_map.states}
    parts: list[xr.Dataset] = []
    drawn: list[dict[str, float]] = []
    seconds: list[float] = []
    for number, count in enumerate(sizes):
        if tell is not None:
            tell(sum(sizes[:number]), pulses)
        drawn.append({name: float(rng.uniform(*ends)) for name, ends in deviating.items()} if number else {})
        own = plain.parameters.with_values(drawn[-1]) if drawn[-1] else plain.parameters
        begin = _begin(event_map, number, tested, rng)
        events = random_events(event_map, rng, count=count, begin=begin, ranges=ranges)
        clock = time.perf_counter()
        answer = bench.respond(own, event_map, events)
        seconds.append(time.perf_counter() - clock)
        parts.append(joined(event_map, events, answer))
        for name, entry in event_map.states.items():
            tested[name] += np.histogram(parts[-1][f"{name}_before"], bins=TENTHS, range=entry.range)[0]
    if tell is not None:
        tell(pulses, pulses)
    data = xr.concat(parts, EVENT)
    nominal = plain.parameters.resolved()
    of_event = {
        name: np.concatenate([np.full(n, own.get(name, nominal[name])) for n, own in zip(sizes, drawn, strict=True)])
        for name in deviating
    }
    ours = stepped(plain.with_(instances=of_event), data)
    data = data.assign({f"{name}_surrogate": (EVENT, values) for name, values in ours.items()})
    held = HeldEvents(data, _free(plain, parts, drawn), _seconds_per_pulse(sizes, seconds))
    errors = {}
    for name in quantities:
        theirs = data[name].values
        scale = event_map.states[name].span if name in event_map.states else float(np.max(np.abs(theirs)))
        unit = (event_map.states.get(name) or event_map.outputs[name]).unit
        errors[name] = ErrorSummary.of(ours[name] - theirs, full_scale=scale or 1.0, unit="" if unit == "1" else unit)
    states = {}
    for name, entry in event_map.states.items():
        low, high = _covered(tested[name], of=f"the state {name}")
        states[name] = (entry.range[0] + low * entry.span, entry.range[0] + high * entry.span)
    certificate = Certificate(
        errors=MappingProxyType(errors),
        rollout=replace(growth(held.free), trains=len(sizes)),
        domain=Domain(
            MappingProxyType({name: ranges.get(name, entry.range) for name, entry in event_map.inputs.items()}),
            MappingProxyType(states),
            MappingProxyType(deviating),
            event_map.fixed,
        ),
        pulses=pulses,
        against=bench.engine,
        reference=f"map {event_map.name} on {bench.subject(plain.parameters)}",
        extraction="included" if bench.device is not None else "not included",
        limits=allowed,
        netlist=bench.netlist(event_map),
        data=array_digest(*(data[name].values for name in sorted(str(key) for key in data.data_vars))),
        parameters=plain.parameters.fingerprint(),
        surrogate=plain.fingerprint(),
        tolerances=MappingProxyType(dict(bench.tolerances)),
        seed=str(seed),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        notes=(*notes, *(_tested(name, counts) for name, counts in tested.items())),
    )
    return surrogate.with_(certificate=certificate), held


def _tested(name: str, counts: NDArray[np.int64]) -> str:
    shown = ", ".join(str(n) for n in counts)
    return f"events in each tenth of {name}: {shown}; a tenth with fewer than {LEAST_TESTED} is not certified"


def _begin(
    event_map: EventMap, number: int, tested: Mapping[str, NDArray[np.int64]], rng: np.random.Generator
) -> dict[str, float]:
    """Where a train begins: at either end of all ranges, then in each in the tenth that lacks least to be tested."""
    begin = {}
    for name, entry in event_map.states.items():
        counts = tested[name]
        lacking = np.where(counts < LEAST_TESTED, counts, -1)
        tenth = int(np.argmax(lacking)) if np.any(lacking >= 0) else int(np.argmin(counts))
        share = float(number) if number < 2 else (tenth + float(rng.random())) / TENTHS
        begin[name] = entry.range[0] + share * entry.span
    return begin


def _free(surrogate: MapSurrogate, parts: list[xr.Dataset], drawn: list[dict[str, float]]) -> tuple[Array, ...]:
    """Every train once more, each following itself from its first state; all of them step together."""
    event_map, nominal = surrogate.map, surrogate.parameters.resolved()
    x = {name: np.array([float(part[f"{name}_before"].values[0]) for part in parts]) for name in event_map.states}
    own = {name: np.array([values.get(name, nominal[name]) for values in drawn]) for name in drawn[-1]}
    sizes = np.array([part.sizes[EVENT] for part in parts])
    paths: dict[str, list[Array]] = {name: [] for name in x}
    for k in range(int(sizes.max())):
        going = np.flatnonzero(sizes > k)
        inputs = {name: np.array([parts[i][name].values[k] for i in going]) for name in event_map.inputs}
        here = surrogate.with_(instances={name: values[going] for name, values in own.items()}) if own else surrogate
        after, _ = here.step(Values({name: values[going] for name, values in x.items()}), Values(inputs))
        for name, path in paths.items():
            x[name][going] = after[name]
            path.append(x[name].copy())
    runs = []
    for name, entry in event_map.states.items():
        for i, part in enumerate(parts):
            ours = np.array([moment[i] for moment in paths[name][: sizes[i]]])
            runs.append(np.stack([part[name].values, ours]) / entry.span)
    return tuple(runs)


def train_map(
    parameters: ParameterSet,
    bench: MapBench,
    *,
    surrogate: MapSurrogate | None = None,
    samples: xr.Dataset | None = None,
    seed: int = 0,
    pulses: int = 500,
    ranges: Mapping[str, Range] = MappingProxyType({}),
    spread: Mapping[str, float] = MappingProxyType({}),
    limits: Mapping[str, float] = MappingProxyType({}),
    tell: Tell | None = None,
) -> tuple[MapSurrogate, HeldEvents]:
    """A certified surrogate of a device's map, and the held-out data of its certificate.

    Args:
        parameters: of any device with maps.
        bench: the circuit it is certified against.
        surrogate: which map, with which pulse shape; default: the device's usual one.
        samples: of `collect_events`: a correction is fitted where it pays.
        seed, pulses, ranges, spread, limits, tell: as in `certify_map`.
    """
    made = surrogate or MapSurrogate(parameters)
    notes: tuple[str, ...] = ()
    if samples is not None:
        made, sentence = correct(made, samples, rng=np.random.default_rng([seed, 2]))
        notes = (sentence,)
    return certify_map(
        made, bench, seed=seed, pulses=pulses, ranges=ranges, spread=spread, limits=limits, notes=notes, tell=tell
    )


def events_per_second(surrogate: MapSurrogate, *, seconds: float = 0.3, seed: int = 0) -> float:
    """Events per second, states and inputs drawn from the domain: the best of ten, a hundred, ... instances at once.

    Stops where one call takes ``seconds``.
    """
    rng = np.random.default_rng(seed)
    fields = {**surrogate.map.states, **surrogate.map.inputs}
    ends = {n: surrogate.allowed(n) if surrogate.certificate is not None else e.range for n, e in fields.items()}
    best = 0.0
    for instances in (10, 100, 1000, 10_000, 100_000):
        drawn = {name: rng.uniform(low, high, instances) for name, (low, high) in ends.items()}
        state = Values({name: drawn[name] for name in surrogate.map.states})
        inputs = Values({name: drawn[name] for name in surrogate.map.inputs})
        begin = time.perf_counter()
        surrogate.step(state, inputs)
        taken = time.perf_counter() - begin
        best = max(best, instances / taken)
        if taken > seconds:
            break
    return best
