"""A surrogate against a reference: held-out events, free runs, and the certificate that comes of them.

The events are `cosim.surrogate.trains`; the domain is the widest run of tenths of the states' ranges that they tested.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from cosim import __version__, units
from cosim.devices.base import Array, Values
from cosim.devices.maps import EventMap
from cosim.errors import InputError
from cosim.surrogate.base import (
    REST,
    STATE,
    Certificate,
    Domain,
    Range,
    deviating_range,
    read_limits,
)
from cosim.surrogate.conformal import Band
from cosim.surrogate.density import KEPT, covered_share, drawn_share
from cosim.surrogate.evidence import (
    RESTS,
    Scales,
    errors_of,
    errors_per_instance,
    extraction_error,
    free_run_errors,
    instance_shares,
    instances_said,
    rest_errors,
    simulator_error,
)
from cosim.surrogate.files import array_digest
from cosim.surrogate.filter import FilterLaw
from cosim.surrogate.measured import undecided_thresholds
from cosim.surrogate.model import Surrogate
from cosim.surrogate.references import EVENT, Reference
from cosim.surrogate.reopened import origin
from cosim.surrogate.summary import Rollout
from cosim.surrogate.trains import LEAST_TESTED, LONG, SHORT, TENTHS, RandomTrains, covered_range, random_inputs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Tell = Callable[[int, int], None]
CONSTANT = 1e-9  # of an output's largest magnitude: what varies by less does not vary
MARKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class HeldOutEvents:
    """Held-out events with the answers of reference and surrogate; ``held["w"]`` is a column's values.

    Args:
        events: over ``event``: each input; ``<state>_before``; each state (with its ``full_scale``) and output of the
            reference, and the surrogate's as ``<name>_surrogate``.
        free: per state and train, both states (2, n) as shares of the range, where each follows itself.
        seconds_per_pulse: wall time that one event more takes the reference, its start-up left out; None where the
            trains are too few or too short to tell.
        after: by the length of a free run, the signed errors of states and outputs at the end of each
            (`cosim.surrogate.evidence.free_run_errors`), and after single events; with a spread, one of each instance.
    """

    events: xr.Dataset
    free: tuple[Array, ...]
    seconds_per_pulse: float | None
    after: Mapping[int, Mapping[str, Array]] = field(default_factory=lambda: MappingProxyType({}))

    def __getitem__(self, name: str) -> Array:
        return np.asarray(self.events[name].values)

    @property
    def states(self) -> list[str]:
        """Names of the states."""
        return [str(name).removesuffix("_before") for name in self.events if str(name).endswith("_before")]

    def full_scale(self, state: str) -> float:
        """What the certificate's errors of a state are shares of, in its unit."""
        return float(self.events[state].attrs["full_scale"])

    def plot(self, ax: Axes | None = None) -> Axes:
        """The surrogate's change of every state over the reference's."""
        from cosim.report.surrogate_figures import plot_parity

        return plot_parity(self, ax)


def stepped(surrogate: Surrogate, data: xr.Dataset) -> dict[str, Array]:
    """States and outputs of the surrogate for each event of joined data."""
    state = Values({name: data[f"{name}_before"].values for name in surrogate.map.states})
    after, outputs = surrogate.step(state, Values({name: data[name].values for name in surrogate.map.inputs}))
    return {**after, **outputs}


def certify(
    surrogate: Surrogate,
    reference: Reference,
    *,
    seed: int = 0,
    pulses: int = 500,
    train: int = LONG,
    ranges: Mapping[str, Range] = MappingProxyType({}),
    spread: Mapping[str, float] = MappingProxyType({}),
    limits: Mapping[str, float] = MappingProxyType({}),
    rollouts: int = 0,
    assume: Collection[str] = (),
    notes: tuple[str, ...] = (),
    tell: Tell | None = None,
) -> tuple[Surrogate, HeldOutEvents]:
    """Compare ``surrogate`` with ``reference`` on fresh events, and give it the certificate (module docstring).

    Args:
        surrogate: with nominal parameters; its certificate, if any, is ignored.
        reference: the circuit, or the device's equations.
        seed: of the held-out events; training used another stream of it.
        pulses: how many events in all.
        train: how many follow one another, at most; the free run is as long.
        ranges: of inputs, e.g. ``{"amplitude": (-2.0, 2.0)}``, over the map's own; they become the domain.
        spread: relative standard deviation from instance to instance by parameter, e.g. ``{"theta_p": 0.2}``: the first
            train is nominal, each further one has those parameters drawn from `deviating_range`, which becomes part of
            the domain: evenly from its tenths, `LEAST_TESTED` instances or more from each. Events of one instance are
            not independent, so that the intervals are calibrated on one score of each drawn instance. Not for a
            reference with a device of its own.
        limits: shares of full scale over `base.LIMITS`, by the name of a state, an output, "state" or "free run"; of
            the domain: "untested".
        rollouts: so many free runs of 1000 events more, which calibrate the intervals after 10, 100 and 1000 events;
            those after one event, and what shorter runs allow, need none.
        assume: thresholds that are not from the data of the parameter set, and that the caller answers for; any other
            of them is what the certificate fails for (`cosim.surrogate.measured.undecided_thresholds`).
        notes: for the certificate.
        tell: called with the events that are done and all of them, before each train and at the end.

    Raises:
        InputError: the events move the states by less than the limit of the error, and therefore test nothing; or they
            are too few for a spread.
    """
    event_map, device = surrogate.map, surrogate.map.device
    if surrogate.instances:
        raise InputError("a surrogate is certified with nominal parameters", remedy="certify it, then set instances")
    if pulses < 1 or train < 1:
        raise InputError("a certificate needs at least one held-out pulse and one pulse in a train", remedy="give 500")
    if spread and reference.independent:
        raise InputError(
            f"a spread of {', '.join(spread)} cannot be held against {reference.subject(surrogate.parameters)}, which "
            "has none",
            remedy="certify against the surrogate's own set",
        )
    if surrogate.learned is not None:  # nobody asks a learned law beyond what it was trained on
        bare = surrogate.with_(certificate=None)
        ranges = {**{name: bare.allowed(name) for name in event_map.inputs}, **ranges}
    allowed = read_limits(limits, states=event_map.states, outputs=event_map.outputs)
    nominal = surrogate.parameters.resolved()
    undecided = {}
    for name in assume:
        device.param(name)
    if reference.device is not None or not reference.independent:
        chosen = reference.device or surrogate.parameters
        undecided = undecided_thresholds(chosen, event_map, shape=surrogate.shape)
    deviating: dict[str, Range] = {}
    for name, share in spread.items():
        device.param(name)
        if not 0.0 < share < 1.0:
            raise InputError(f"the spread of {name} is {share:g}", remedy="give a share, e.g. 0.2 for 20 %")
        deviating[name] = deviating_range(float(nominal[name]), share)
    plain = surrogate.with_(certificate=None, policy="raise", dtype="float64")
    rng = np.random.default_rng([seed, 1])
    if rollouts < 0:
        raise InputError(f"a certificate cannot have {rollouts} free runs more", remedy="give 0 or more")
    trains = RandomTrains(
        event_map, rng, count=pulses, longest=train, ranges=ranges, rollouts=rollouts,
        instances=TENTHS * LEAST_TESTED if deviating else 0,
    )  # fmt: skip
    shares = instance_shares(len(trains.sizes) - 1, len(deviating), rng=np.random.default_rng([seed, 18]))
    total = sum(trains.sizes)
    parts: list[xr.Dataset] = []
    drawn: list[dict[str, float]] = []
    seconds: list[float] = []
    while (number := len(parts)) < len(trains.sizes):
        if tell is not None:
            tell(sum(trains.sizes[:number]), total)
        if number > len(shares):  # in place of a train that was cut
            shares = np.vstack([shares, rng.random(len(deviating))])
        at = zip(deviating.items(), shares[number - 1] if number else (), strict=bool(number))
        drawn.append({name: low + share * (high - low) for (name, (low, high)), share in at})
        own = plain.parameters.with_values(drawn[-1]) if drawn[-1] else plain.parameters
        events = trains.events(number)
        begin = time.perf_counter()
        answer = reference.respond(own, event_map, events)
        seconds.append(time.perf_counter() - begin)
        parts.append(trains.joined(number, events, answer))
    if tell is not None:
        tell(total, total)
    data = xr.concat(parts, EVENT)
    covered = {name: covered_range(entry, trains.tested[name], name=name) for name, entry in event_map.states.items()}
    spans = {name: ranges.get(name, entry.range) for name, entry in event_map.inputs.items()}
    samples = coordinates(event_map, data, {**covered, **spans})
    domain = Domain(
        MappingProxyType(spans),
        MappingProxyType(covered),
        MappingProxyType(deviating),
        event_map.fixed,
        MappingProxyType(
            {name: entry.unit for name, entry in {**event_map.inputs, **event_map.states}.items()}
            | {name: device.param(name).unit for name in deviating}
        ),
        tuple(map(tuple, samples[:KEPT].round(4).tolist())),
        covered_share(samples[:KEPT]),
    )
    moved = {  # within a train: where the trains begin moves nothing
        name: max(float(np.ptp(np.concatenate([part[f"{name}_before"], part[name]]))) for part in parts) / entry.span
        for name, entry in event_map.states.items()
    }
    if all(share <= allowed[name] for name, share in moved.items()):
        raise InputError(
            f"the {STATE} moves by {100.0 * max(moved.values()):.2g} % at most under these pulses, which is within the "
            f"limit of its error: a surrogate that never moved would pass",
            remedy="certify amplitudes beyond the thresholds, or longer pulses",
        )
    require_dependence(event_map, data)
    of_event = {
        name: np.repeat([own.get(name, float(nominal[name])) for own in drawn], trains.sizes) for name in deviating
    }
    ours = stepped(plain.with_(instances=of_event), data)
    data = data.assign({f"{name}_surrogate": (EVENT, values) for name, values in ours.items()})
    for name, entry in event_map.states.items():
        data[name].attrs["full_scale"] = entry.span
    names = {**event_map.states, **event_map.outputs}
    single = errors_of(ours, data, list(names))
    after = {1: single, **free_run_errors(plain, data, trains.sizes, of_event)}
    if deviating:
        after[1] = errors_per_instance(single, trains.sizes, rng=np.random.default_rng([seed, 5]))
        notes = (*notes, instances_said(shares, list(deviating)))
    held = HeldOutEvents(data, _free(plain, parts, drawn), seconds_per_event(trains.asked, seconds), after)
    answering = (reference.device or plain.parameters).for_device(device.name).resolved()
    full = {**{n: e.span for n, e in event_map.states.items()}, **device.full_scales(answering)}
    scales = Scales(
        {name: full.get(name) or float(np.max(np.abs(held[name]))) or 1.0 for name in names}
        | {f"{name}{REST}": full[name] for name in event_map.states},
        {name: "" if entry.unit == "1" else entry.unit for name, entry in names.items()}
        | {f"{n}{REST}": "" if entry.unit == "1" else entry.unit for n, entry in event_map.states.items()},
    )
    sets = [plain.parameters.with_values(own) if own else plain.parameters for own in drawn]
    short = [pair for pair in zip(sets, parts, strict=True) if pair[1].sizes[EVENT] <= SHORT]
    own_error, tightened = simulator_error(reference, event_map, short or [(sets[0], parts[0])], scales)
    extracted, carried = extraction_error(plain, data, scales)
    if reference.independent and plain.parameters.values and not extracted:
        carried = (
            f"{plain.parameters.name} states no standard errors; another device answers, so that the errors hold theirs"
        )
    rested: Mapping[str, Array] = {}
    if plain.rest_map is not None:
        resting = RandomTrains(plain.rest_map, np.random.default_rng([seed, 3]), count=RESTS, longest=SHORT, ranges={})
        rested, untested = rest_errors(plain, reference, resting, plain.rest_map)
        notes = (*notes, *([untested] if untested else []))
    certificate = Certificate(
        errors=scales.summary({**single, **rested}),
        rollout=replace(growth(held.free), trains=len(trains.sizes)),
        domain=domain,
        pulses=total,
        against=reference.engine,
        reference=f"map {event_map.name} on {reference.subject(plain.parameters)}",
        extraction="" if not plain.parameters.values else "included" if reference.independent else "not included",
        limits=MappingProxyType({**{name: allowed[name.removesuffix(REST)] for name in rested}, **allowed}),
        netlist=reference.netlist(event_map),
        data=array_digest(*(held[name] for name in sorted(str(key) for key in data.data_vars))),
        parameters=plain.parameters.fingerprint(),
        surrogate=plain.fingerprint(),
        tolerances=MappingProxyType(dict(reference.tolerances)),
        seed=str(seed),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        notes=(*notes, *trains.notes()),
        simulator=own_error,
        tightened=tightened,
        extracted=extracted,
        carried=carried,
        bands=tuple(Band.of(errors, events=length) for length, errors in after.items()),
        seconds_per_event=held.seconds_per_pulse,
        unverified=MappingProxyType({name: text for name, text in undecided.items() if name not in assume}),
        assumed=MappingProxyType({name: text for name, text in undecided.items() if name in assume}),
        answered=MappingProxyType(origin(reference)),
    )
    # in the certified domain, as it will be used
    timed = replace(certificate, seconds_per_step=seconds_per_step(surrogate.with_(certificate=certificate)))
    return surrogate.with_(certificate=timed), held


def require_dependence(event_map: EventMap, data: xr.Dataset) -> None:
    """Raises `InputError` for an output that is the same in all events, which no surrogate could get wrong."""
    for name, entry in event_map.outputs.items():
        values = np.asarray(data[name].values)
        if values.size > 1 and np.ptp(values) <= CONSTANT * np.max(np.abs(values)):
            shown = units.show(float(values[0]), "" if entry.unit == "1" else entry.unit)
            raise InputError(
                f"the output {name} of the map {event_map.name} does not depend on any input or state: it was {shown} "
                f"in all of {values.size} events",
                remedy="leave it out of the map, or take amplitudes that move it",
            )


def coordinates(event_map: EventMap, data: Mapping[str, Any] | xr.Dataset, box: Mapping[str, Range]) -> Array:
    """(n, states + inputs): where events lie in a ``box``, as shares of it (`cosim.surrogate.density`)."""
    columns = []
    for name in event_map.states:
        low, high = box[name]
        columns.append((np.asarray(data[f"{name}_before"]) - low) / ((high - low) or 1.0))
    for name, entry in event_map.inputs.items():
        columns.append(drawn_share(entry, box[name], np.asarray(data[name])))
    return np.stack(columns, axis=-1)


def seconds_per_event(sizes: list[int], seconds: list[float]) -> float | None:
    """The slope of time over length; the first train is left out, because it warms caches."""
    n, t = np.asarray(sizes[1:], dtype=float), np.asarray(seconds[1:])
    if n.size < 2 or n.max() < 10.0 * n.min():
        return None
    slope = float(np.polyfit(n, t, 1)[0])
    return slope if slope > 0.0 else None


def _free(surrogate: Surrogate, parts: list[xr.Dataset], drawn: list[dict[str, float]]) -> tuple[Array, ...]:
    """Every train again, free-running from its first state; all of them step together."""
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


def growth(free: tuple[Array, ...]) -> Rollout:
    """How the error of free runs (2, n) grows with the number of events."""
    longest = max(run.shape[1] for run in free)
    marks = [mark for mark in MARKS if mark < longest] + [longest]
    largest, rms = [], []
    for mark in marks:
        # All errors up to the mark: a saturating pulse forgets, and the last error alone would flatter.
        errors = np.concatenate([run[1, :mark] - run[0, :mark] for run in free])
        largest.append(float(np.max(np.abs(errors))))
        rms.append(float(np.sqrt(np.mean(errors**2))))
    return Rollout(tuple(marks), tuple(largest), tuple(rms), len(free))


def updates_per_second(
    surrogate: Surrogate, *, shape: tuple[int, int] = (784, 200), seconds: float = 0.5, seed: int = 0
) -> float:
    """Updates of one instance per second in an array of ``shape``, a row sharing its inputs; the median run.

    States and inputs are drawn from the domain, the latter beyond the thresholds, where there are any. Where one call
    takes longer than ``seconds``, the array is a smaller one.
    """
    rng = np.random.default_rng(seed)
    inputs = {}
    for name, entry in surrogate.map.inputs.items():
        span = surrogate.allowed(name) if surrogate.certificate is not None else entry.range
        drawn = random_inputs(entry, rng, count=20 * shape[0], name=name, span=span)
        if isinstance(surrogate.learned, FilterLaw) and name == "level":
            drawn = np.floor(drawn)
        moving = drawn[(drawn < entry.still[0]) | (drawn > entry.still[1])]
        inputs[name] = (moving if moving.size >= shape[0] else drawn)[: shape[0], None]
    states = {}
    for name, entry in surrogate.map.states.items():
        low, high = surrogate.allowed(name) if surrogate.certificate is not None else entry.range
        states[name] = low + (high - low) * rng.random(shape)
        if surrogate.certificate is not None:
            states[name] = surrogate.certificate.domain.clear(name, states[name])
    rows, times = min(shape[0], 8), [0.0]
    surrogate.advance(*(Values({name: x[:rows] for name, x in part.items()}) for part in (states, inputs)))  # compiles
    while True:
        x = Values({name: values[:rows] for name, values in states.items()})
        u = Values({name: values[:rows] for name, values in inputs.items()})
        begin = time.perf_counter()
        surrogate.advance(x, u)
        first = time.perf_counter() - begin
        if rows == shape[0] or 10.0 * first > seconds:
            break
        rows = min(10 * rows, shape[0])
    while sum(times) < seconds:
        begin = time.perf_counter()
        surrogate.advance(x, u)
        times.append(time.perf_counter() - begin)
    return rows * shape[1] / float(np.median(times[1:]))


def seconds_per_step(surrogate: Surrogate, *, count: int = 20_000, most: float = 0.2, seed: int = 0) -> float:
    """s of processor time of an event, with its outputs, of one of ``count`` instances in one thread.

    The median of up to thirty steps in the steady state, each instance with a state and inputs of its own, drawn from
    the certified domain or else the ranges that the surrogate takes. Fewer steps where they take more than ``most`` s,
    and fewer instances where one step does. It is the time of the surrogate as it is, compiled or not; a compiled one
    writes into arrays that are there.
    """
    rng, surrogate = np.random.default_rng(seed), surrogate.with_(threads=1)
    inside = surrogate.certificate is not None or surrogate.learned is not None
    drawn = {}
    for name, entry in {**surrogate.map.states, **surrogate.map.inputs}.items():
        low, high = surrogate.allowed(name) if inside else entry.range
        drawn[name] = (low + (high - low) * rng.random(count)).astype(surrogate.dtype)
        if isinstance(surrogate.learned, FilterLaw) and name == "level":
            drawn[name] = np.floor(drawn[name])
        if surrogate.certificate is not None:
            drawn[name] = surrogate.certificate.domain.clear(name, drawn[name])

    names = (*surrogate.map.states, *surrogate.map.outputs) if surrogate.compiled else ()
    room = {name: np.zeros(count, dtype=surrogate.dtype) for name in names}

    def step(size: int) -> float:
        x, u = (
            Values({name: drawn[name][:size] for name in part}) for part in (surrogate.map.states, surrogate.map.inputs)
        )
        out = {name: values[:size] for name, values in room.items()} or None
        begin = time.process_time()
        surrogate.step(x, u, out=out)
        return time.process_time() - begin

    size = min(count, 200)
    step(size)  # compiles
    while size < count and 10.0 * step(size) < most:
        size = min(10 * size, count)
    step(size)
    times = [step(size)]
    while len(times) < 30 and sum(times) < most:
        times.append(step(size))
    return float(np.median(times)) / size
