"""A surrogate of any bench that names inputs, states and outputs (``[maps.NAME]``): sampled, learned, certified.

Samples fill the box of states and inputs (a scrambled Sobol sequence) and double until what is held out of the fit is
within the wanted error, or the samples or the budget are spent. Every second one of a further round begins in states
that an earlier one ended in: there the circuit is found in use, and a box that is filled evenly has hardly a sample of
it. Further samples where the error is expected to be the largest, as `cosim.surrogate.active` chooses them for physics
that is corrected, were tried and left: a spline of ``1t1r_random_pulses`` from 384 samples had more than twice the
error in w, and where half of them were chosen so a little less in w and more in the energy (four seeds each); the
laws of a clipped RC circuit were as good either way. What is compared on the held-out third:

- where the bench names a device that has a map with the same fields, its physics alone, and with a learned remainder;
- laws learned from the samples alone, of each state and output by the kind in `cosim.surrogate.learned` that suits it.

Physics alone is taken where no sample is further off than `SAFE` of its limit: it is the fastest, and no export refuses
it for its law. Else it is the simplest one within `WORTH` of the best; the certificate's notes say what each reached.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cosim import units
from cosim.bench.events import BenchMap
from cosim.bench.maps import EVENT
from cosim.bench.testbench import Testbench
from cosim.devices.base import Array
from cosim.devices.maps import ENERGY
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import devices
from cosim.errors import FitError, InputError, SimulationError, UnknownName
from cosim.surrogate.base import read_limits
from cosim.surrogate.bench_reference import BenchReference, differences
from cosim.surrogate.certify import Tell, stepped
from cosim.surrogate.circuit import CircuitReference, CircuitSet
from cosim.surrogate.density import LOGARITHMIC
from cosim.surrogate.kept import Kept
from cosim.surrogate.kinds import KINDS
from cosim.surrogate.learned import CONSTANT, WORTH, Fitted, FittedEach, fit, fit_each
from cosim.surrogate.model import Surrogate
from cosim.surrogate.references import Reference
from cosim.surrogate.samples import LEAST_SAMPLES
from cosim.surrogate.subjects import BENCH, BENCH_MAP, PARAMETER_SET, find_map

if TYPE_CHECKING:
    from cosim.engines.simulator import Simulator

FIRST_SAMPLES = 64  # samples of the first round
SAMPLES, BUDGET = 1024, 300.0  # at most; of samples, and of seconds
# The held-out rms error that ends sampling, as a share of the limit of the largest error (our choice).
AIM = 0.15
# Physics alone is good enough where the largest error of the samples is so much of each limit (our choice).
SAFE = 0.7
# Of all samples, how many may fail before the circuit counts as not answering (our choice).
MOST_FAILED = 0.2
# Kinds that are fitted in no time; those of them that read outputs off the states.
QUICK, READING = ("polynomial", "stretched", "hinge", "ridge", "sheet", "spline"), ("polynomial", "spline")
# An output that the states alone explain to so much of its scale is read from them (our choice).
READING_ERROR = 1e-3
# The share of each state's range that the samples have to end in, or nothing is read from the states (our choice).
REACHED = 0.5
INDEPENDENT = 1e-3  # of what an output moves: what an input moves it by at least, or it depends on other inputs alone

ALONE, REMAINDER, LEARNED = WAYS = ("physics alone", "physics with a learned remainder", "learned")
PHYSICS = "physics"
# What may be asked for: physics alone, a kind that is learned, or physics with a remainder of such a kind.
LAWS = (PHYSICS, *KINDS, *(f"{PHYSICS}+{kind}" for kind in KINDS))


@dataclass(frozen=True)
class Learned:
    """A surrogate that is not certified yet, and how it came about.

    Args:
        surrogate: with the law that was taken.
        reference: what answered.
        errors: candidate -> the largest held-out rms error of a state or an output, a share of full scale.
        samples: over ``event``, as `sample` gives them.
        notes: for the certificate.
        met: whether the wanted error was met before samples or budget were spent.
        seconds: of sampling.
    """

    surrogate: Surrogate
    reference: Reference
    errors: Mapping[str, float]
    samples: xr.Dataset
    notes: tuple[str, ...]
    met: bool
    seconds: float


def design(found: BenchMap, *, count: int, seed: int, skip: int = 0) -> xr.Dataset:
    """``count`` independent events that fill the box of a map's states and inputs evenly, from number ``skip`` on."""
    from scipy.stats import qmc

    entries = {**{f"{name}_before": entry for name, entry in found.states.items()}, **found.inputs}
    sequence = qmc.Sobol(len(entries), seed=np.random.default_rng([seed, 4]))
    if skip:
        sequence.fast_forward(skip)
    with np.errstate(all="ignore"):
        # scipy warns of a first draw that is not a power of two, whose first points are the same
        shares = sequence.random(count if skip else 1 << (count - 1).bit_length())[:count]
    columns = {}
    for (name, entry), share in zip(entries.items(), shares.T, strict=True):
        low, high = entry.range
        logarithmic = low > 0.0 and high > LOGARITHMIC * low
        values = low * (high / low) ** share if logarithmic else low + (high - low) * share
        columns[name] = (EVENT, np.clip(values, low, high), {"units": entry.unit})
    return xr.Dataset(columns)


def revisited(found: BenchMap, events: xr.Dataset, data: xr.Dataset, *, rng: np.random.Generator) -> xr.Dataset:
    """``events``, every second of which begins in the states after one of ``data`` that are within their ranges."""
    ends = {name: data[name].values for name in found.states}
    inside = [(ends[name] >= entry.range[0]) & (ends[name] <= entry.range[1]) for name, entry in found.states.items()]
    kept = np.flatnonzero(np.all(inside, axis=0))
    if not kept.size:
        return events
    chosen = rng.choice(kept, events[f"{next(iter(found.states))}_before"][1::2].size)
    begun = {}
    for name in found.states:
        column = events[f"{name}_before"].copy(deep=True)
        column[1::2] = ends[name][chosen]
        begun[f"{name}_before"] = column
    return events.assign(begun)


def learn(
    bench: Testbench | str,
    simulator: Simulator,
    *,
    event: str = "",
    seed: int = 0,
    samples: int = SAMPLES,
    budget: float = BUDGET,
    kinds: Sequence[str] = tuple(KINDS),
    law: str = "",
    limits: Mapping[str, float] = MappingProxyType({}),
    kept: Path | None = None,
    tell: Tell | None = None,
) -> Learned:
    """A surrogate of a bench's map (module docstring), for `cosim.surrogate.certify.certify`.

    Args:
        bench: one with a map, or its name as for `Testbench.load`.
        simulator: works on as many samples as it has processes.
        event: name of the map; "" is the first.
        seed: of the samples.
        samples: at most.
        budget: at most so many seconds of sampling; a round that has begun is finished.
        kinds: of learned laws that are tried, of `cosim.surrogate.kinds.KINDS`.
        law: the only one that is tried, as `LAWS` lists them; "": all, and the best is taken.
        limits: shares of full scale, as of `certify`.
        kept: a file in which the samples are kept as they come: learning that was stopped goes on with them, and the
            seconds of earlier runs count.
        tell: called with the samples that are done and all of them, after each round.

    Raises:
        InputError: the map has no states or inputs, a state or an output moves with nothing, or the law is of a device
            and the map has none. UnknownName: no such law. SimulationError: too many samples failed.
    """
    whole = bench if isinstance(bench, Testbench) else Testbench.load(bench)
    found = BenchMap.load(whole, event)
    chosen = CircuitSet.of(found)
    if samples < LEAST_SAMPLES or not budget > 0.0:
        raise InputError(
            f"{samples} samples in {budget:g} s are too few to learn from",
            remedy=f"give at least {LEAST_SAMPLES} samples, and a budget above zero",
        )
    allowed = read_limits(limits, states=found.states, outputs=found.outputs)
    physics = physical(whole, found)
    ways, kinds = _asked(law, found, kinds, physics)
    # the cheap kinds tell whether to go on; at the end all of them are tried
    quick = [kind for kind in kinds if kind in QUICK] or list(kinds)
    data: xr.Dataset | None = None
    failures: Counter[str] = Counter()
    answers, done = Kept(found, kept), 0
    if not answers:
        require_reached(found, simulator)
    while True:
        count = min(FIRST_SAMPLES if data is None else done, samples - done)
        events = design(found, count=count, seed=seed, skip=done)
        if data is not None:
            events = revisited(found, events, data, rng=np.random.default_rng([seed, 7, done]))
        part, reasons = answers.sample(simulator, events)
        done += count
        failures += reasons
        if failures.total() > MOST_FAILED * done:
            why = failures.most_common(1)[0][0]
            raise SimulationError(
                f"{failures.total()} of {done} samples of bench {whole.name} failed, most often: {why}",
                outcome=why.partition(":")[0],
            )
        data = part if data is None else xr.concat([data, part], EVENT)
        if tell is not None:
            tell(done, samples)
        require_moving(found, data)
        met = not _wanting(_best(candidates(chosen, data, physics, kinds=quick, seed=seed, ways=ways)), allowed)
        if met or done >= samples or answers.seconds >= budget:
            break
    tried = candidates(chosen, data, physics, kinds=kinds, seed=seed, ways=ways)
    enough = next((one for one in tried if one.keeps(allowed)), None)
    best = _best(tried) if enough is None else enough
    wanting = _wanting(best, allowed) if enough is None else ""
    listed = "; ".join(f"{one.name} {100.0 * one.error:.2g} %" for one in sorted(tried, key=lambda one: one.error))
    notes = [f"law: {best.name}, by the largest held-out rms error of {data.sizes[EVENT]} samples: {listed}"]
    if enough is not None and enough.error > min(one.error for one in tried):
        worst = max(enough.largest.values())
        notes.append(
            f"{best.name} alone keeps the limits on every sample (at most {100.0 * worst:.2g} % off): no remainder was "
            "added; a narrower --limit adds one"
        )
    for name in best.errors if best.of_kinds else ():
        reached = {kind: found[name] for kind, found in best.of_kinds.items() if name in found}
        if reached:
            said = ", ".join(
                f"{kind} {100.0 * reached[kind]:.2g} %" for kind in sorted(reached, key=reached.__getitem__)
            )
            notes.append(f"{name} by each kind of law: {said}")
    notes += [f"{count} samples failed: {why}" for why, count in failures.items()]
    if wanting:
        what = f"all {samples} samples were" if done >= samples else f"the budget of {budget:g} s was"
        notes.append(f"{what} spent before the held-out rms error was {AIM:g} of the limit: {wanting}")
    surrogate = best.make()
    if not found.in_one_transient:
        notes.append(f"each event of {found.name} is a simulation of its own, whose start-up its time includes")
    notes += [f"no state or output depends on {name}" for name in found.inputs if not _depends(surrogate, data, name)]
    reference = BenchReference(whole, simulator) if best.physical else CircuitReference(found, simulator)
    errors = {one.name: one.error for one in tried}
    return Learned(surrogate, reference, MappingProxyType(errors), data, tuple(notes), not wanting, answers.seconds)


def _asked(
    law: str, found: BenchMap, kinds: Sequence[str], physics: Mapping[str, Surrogate]
) -> tuple[Sequence[str], Sequence[str]]:
    """Ways and kinds of one of `LAWS`, or all. Raises `UnknownName`, and `InputError` for physics of no device."""
    if not law:
        return WAYS, kinds
    if law not in LAWS:
        raise UnknownName("law", law, LAWS)
    _, plus, kind = law.rpartition("+")
    if PHYSICS in law and not physics:
        raise InputError(
            f"map {found.name!r} of bench {found.bench.name} has no physics: it names no device that has a map with "
            "its fields",
            remedy=f'take another law, e.g. {next(iter(KINDS))}, or write device = "NAME" into the map',
        )
    if law == PHYSICS:
        return (ALONE,), kinds
    return (REMAINDER if plus else LEARNED,), (kind,)


@dataclass(frozen=True)
class _Candidate:
    """A law that is tried: its held-out rms ``errors`` by state and output, shares of full scale.

    ``of_kinds``: those that each kind of learned law has by itself; ``physical``: with a device's physics; ``largest``:
    the largest errors, of physics alone.
    """

    name: str
    errors: Mapping[str, float]
    make: Callable[[], Surrogate]
    of_kinds: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: MappingProxyType({}))
    physical: bool = True
    largest: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def keeps(self, allowed: Mapping[str, float]) -> bool:
        """Whether it is physics alone, and each of its samples far enough within the limits."""
        return bool(self.largest) and all(
            error <= SAFE * allowed.get(name, np.inf) for name, error in self.largest.items()
        )

    @property
    def error(self) -> float:
        """The largest one."""
        return max(self.errors.values())


def _best(tried: Sequence[_Candidate]) -> _Candidate:
    """The first, that is the simplest, of those that are worth as much as the best."""
    least = min(one.error for one in tried)
    return next(one for one in tried if WORTH * one.error <= least)


def _wanting(one: _Candidate, allowed: Mapping[str, float]) -> str:
    """What is missing to the wanted error, in words; "" where nothing is."""
    return ", ".join(
        f"{name} {100.0 * error:.2g} %" for name, error in one.errors.items() if error > AIM * allowed.get(name, np.inf)
    )


def candidates(
    chosen: CircuitSet,
    data: xr.Dataset,
    physics: Mapping[str, Surrogate],
    *,
    kinds: Sequence[str],
    seed: int,
    ways: Sequence[str] = WAYS,
) -> list[_Candidate]:
    """Every law with its held-out error, the simplest first: physics, with a remainder, learned kinds; of ``ways``."""
    before = {name: data[f"{name}_before"].values for name in chosen.states}
    fields = {**before, **{name: data[name].values for name in chosen.inputs}}
    scales = {name: entry.span for name, entry in chosen.states.items()}
    scales |= {name: float(np.max(np.abs(data[name].values))) for name in chosen.outputs}
    entries = {**chosen.states, **chosen.inputs}
    alike = [(one, other) for one, other in combinations(entries, 2) if entries[one].unit == entries[other].unit]

    def learned(targets: Mapping[str, Array]) -> FittedEach:
        return fit_each(
            fields, targets, scales=scales, rng=np.random.default_rng([seed, 6]), kinds=kinds,
            ranges={name: entry.range for name, entry in entries.items()}, alike=alike,
        )  # fmt: skip

    found: list[_Candidate] = []
    for name, plain in physics.items():
        rest = {key: data[key].values - ours for key, ours in stepped(plain, data).items() if key in scales}
        rms = {key: float(np.sqrt(np.mean(values**2))) / scales[key] for key, values in rest.items()}
        largest = {key: float(np.max(np.abs(values))) / scales[key] for key, values in rest.items()}
        if ALONE in ways:
            found.append(_Candidate(name, rms, partial(plain.with_, policy=plain.policy), largest=largest))
        if REMAINDER not in ways:
            continue
        fitted = learned({key: rest[key] for key in rest if key in chosen.states or key == ENERGY})
        found.append(
            _Candidate(
                f"{name} + learned remainder ({fitted.law.kind})",
                {**rms, **fitted.held},
                partial(plain.with_, learned=fitted.law),
                fitted.errors,
            )
        )
    if LEARNED not in ways:
        return found
    reading = read_law(chosen, data, scales, seed=seed)
    targets = {name: data[name].values - w for name, w in before.items()}
    spare = reading.law.targets if reading is not None else ()
    targets |= {name: data[name].values for name in chosen.outputs if name not in spare}
    try:
        fitted = learned(targets)
    except FitError:
        if not found:
            raise
        return found
    errors = {**fitted.held, **({} if reading is None else reading.held)}
    law = None if reading is None else reading.law
    make = partial(Surrogate, chosen, learned=fitted.law, reading=law)
    return [*found, _Candidate(f"learned ({fitted.law.kind})", errors, make, fitted.errors, physical=False)]


def require_reached(found: BenchMap, simulator: Simulator) -> None:
    """Raises `InputError` for a state whose value before an event reaches nothing that the map measures.

    Two events that differ in it alone are then the same to the last bit: what a circuit forgets within an event still
    moves a simulator's last digits.
    """
    middle = {f"{name}_before": float(np.mean(entry.range)) for name, entry in found.states.items()}
    middle |= {name: entry.range[0] + 0.75 * entry.span for name, entry in found.inputs.items()}
    for name, entry in found.states.items():
        begins = entry.range[0] + entry.span * np.array([0.25, 0.75])
        columns = {key: np.full(2, value) for key, value in middle.items()} | {f"{name}_before": begins}
        answer = found.respond(xr.Dataset({key: (EVENT, values) for key, values in columns.items()}), simulator)
        if answer.sizes[EVENT] < begins.size:  # what fails is told of the samples
            continue
        if all(np.ptp(answer[key].values) == 0.0 for key in (*found.states, *found.outputs)):
            low, high = (units.show(begin, "" if entry.unit == "1" else entry.unit) for begin in begins)
            raise InputError(
                f"nothing that map {found.name!r} of bench {found.bench.name} measures depends on its state {name}: "
                f"events that begin at {low} and at {high} are the same to the last digit",
                remedy=f"let parameter {found.given.states[name].parameter} set the circuit's start, as "
                ".ic v(node)={parameter} does; ic= of an element takes uic",
            )


def read_law(chosen: CircuitSet, data: xr.Dataset, scales: Mapping[str, float], *, seed: int) -> Fitted | None:
    """The law of the outputs that depend on the states after the event alone; None where there are none.

    A state that every event ends in the same part of says nothing of what would be read from it elsewhere.
    """
    after = {name: data[name].values for name in chosen.states}
    if any(np.ptp(after[name]) < REACHED * entry.span for name, entry in chosen.states.items()):
        return None
    ranges = {name: entry.range for name, entry in chosen.states.items()}

    def fitted(names: Sequence[str]) -> Fitted:
        wanted = {name: data[name].values for name in names}
        rng = np.random.default_rng([seed, 6])
        return fit(after, wanted, scales=scales, rng=rng, kinds=READING, ranges=ranges)

    good = [name for name in chosen.outputs if fitted([name]).held[name] <= READING_ERROR]
    return fitted(good) if good else None


def _depends(surrogate: Surrogate, data: xr.Dataset, name: str) -> bool:
    """Whether anything that the surrogate gives moves with an input."""
    other = data.assign({name: (EVENT, np.roll(data[name].values, 1))})
    one, two = stepped(surrogate, data), stepped(surrogate, other)
    return any(np.ptp(one[key] - two[key]) > INDEPENDENT * np.ptp(one[key]) for key in one)


def require_moving(bench: BenchMap, data: xr.Dataset) -> None:
    """Raises `InputError` for an output, or a state, that is the same after every event."""
    for name in [*bench.states, *bench.outputs]:
        values = data[name].values
        spread, size = float(np.ptp(values)), float(np.max(np.abs(values), initial=0.0))
        kind = "state" if name in bench.states else "output"
        measure = bench.given.states[name].measure if name in bench.states else bench.given.outputs[name]
        if spread <= CONSTANT * size or size == 0.0:
            raise InputError(
                f"the {kind} {name} of map {bench.name!r} of bench {bench.bench.name} does not depend on any input or "
                f"state: it is {values[0]:.6g} after each of {values.size} events",
                remedy=f"look at its measure {measure}, widen the ranges, or leave {name} out",
            )


def physical(whole: Testbench, bench: BenchMap) -> Mapping[str, Surrogate]:
    """Surrogates by physics alone that have the fields of a bench's map, by device: of the set that it names.

    They go by the bench's name; which set it was, their provenance says.
    """
    if bench.given.device is None:
        return {}
    given = whole.sets[bench.given.device]
    names = [given.device, *(name for name in devices() if name != given.device)]
    found: dict[str, Surrogate] = {}
    for name in names:
        cell = devices()[name].pulse_cell()
        if name != given.device and (cell is None or cell.memristor.name != given.device):
            continue
        try:
            own = given if name == given.device else given.for_device(name)
            told = {PARAMETER_SET: given.name, BENCH: str(whole.source), BENCH_MAP: bench.name}
            own = replace(own, name=whole.name, provenance={**own.provenance, **told})
            shape = None
            if {"width", "rise", "fall"} <= bench.fixed.keys():
                shape = PulseShape(*(bench.fixed[key] for key in ("width", "rise", "fall")))
            for event in devices()[name].maps(own.resolved(), shape=shape):
                event_map = find_map(own, event, shape=shape)
                if not differences(event_map, bench):
                    found[f"physics of {name} ({event})"] = Surrogate(own, event, shape=shape)
        except InputError:  # a set that is not for this device
            continue
    return found
