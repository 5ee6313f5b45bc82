"""Filters of benches: random trains of spikes through the circuit, the law that is fitted to them, and its certificate.

The certificate is made on trains that took no part in the fit: the error of each event from the circuit's own state,
and that of the law that follows itself from the first. Their means are drawn at random, and a train is the exchangeable
unit of the intervals (`cosim.surrogate.conformal`): its events share its rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import cast

import numpy as np

from cosim import __version__
from cosim.bench.filters import FilterFile
from cosim.bench.maps import one_of
from cosim.bench.stimulus_kinds import Spikes
from cosim.bench.testbench import Testbench
from cosim.devices.base import Array
from cosim.devices.maps import Field
from cosim.engines.simulator import Simulator
from cosim.errors import InputError, SimulationError
from cosim.surrogate.base import FREE_RUN, UNTESTED, Certificate, Domain, read_limits
from cosim.surrogate.certify import Tell, growth, seconds_per_step
from cosim.surrogate.circuit import CIRCUIT, CircuitSet
from cosim.surrogate.conformal import LEAST_RUNS, LENGTHS, Band, counted, scores_of
from cosim.surrogate.density import covered_share
from cosim.surrogate.files import array_digest
from cosim.surrogate.filter import FilterLaw, FilterTrain, fit_filter, pulse_train, run_filter
from cosim.surrogate.model import Surrogate
from cosim.surrogate.neuron_trains import drawn_means, held_out_means, random_spikes
from cosim.surrogate.spike_bench import (
    SpikeBench,
    answered,
    behind,
    intervals_tested,
    recorded,
    samples_in,
    seen,
    seen_said,
    steady_seconds,
    time_said,
    timed,
)
from cosim.surrogate.summary import ErrorSummary
from cosim.surrogate.trains import covered_range

STATE = "i"
OFTEN = 0.5  # of tau: how often the state is compared in a rest (our choice)
REST = 5.0  # times tau: the rest at the end of a train
HELD = 25  # spikes of a held-out train, at most: intervals take many trains rather than long ones (our choice)
REPEATED = 2  # trains that are run again at tightened tolerances
ROOM = 1.02  # above the largest state that the law reaches


@dataclass(frozen=True)
class FilterBench(SpikeBench[FilterFile, Sequence[Array], FilterTrain]):
    """A filter of a bench, ready to be driven."""

    @property
    def train(self) -> type[FilterTrain]:
        """A train of levels, and what came of it."""
        return FilterTrain

    @classmethod
    def load(cls, reference: str | Testbench, name: str = "") -> FilterBench:
        """A filter of a bench, which is given as for `Testbench.load`; without ``name`` its first one."""
        bench = reference if isinstance(reference, Testbench) else Testbench.load(reference)
        name = one_of(bench.name, name, bench.file.filters, kind="filter", table="filters")
        return cls(bench, name, bench.file.filters[name])

    def tightened(self) -> FilterBench:
        """The same filter at the tolerances of `Testbench.tightened`."""
        return replace(self, bench=self.bench.tightened())

    @property
    def levels(self) -> int:
        """How many combinations of inputs there are."""
        return 1 << len(self.given.stimuli)

    def recorded(self, asked: Sequence[Array], simulator: Simulator) -> FilterTrain:
        """What the circuit makes of spikes at ``asked`` (n,) s of each input."""
        given = self.given
        stop = max(float(times[-1]) for times in asked) + REST * given.tau
        driven = self.driven(dict(zip(given.stimuli, asked, strict=True)), stop=stop, save=(given.state,))
        data = answered(driven, simulator)
        t, state = (np.asarray(data[name].values, dtype=float) for name in ("time", given.state))
        if not np.all(state > 0.0):
            raise InputError(
                f"the state {given.state} of filter {self.name!r} falls to {state.min():.3g} A",
                remedy="take a current that stays above zero; a source counts its current into its first node",
            )
        # a spike counts from the middle of its rise to that of its fall
        pulses = [
            (times + 0.5 * one.edge, one.width + one.edge)
            for times, name in zip(asked, given.stimuli, strict=True)
            for one in [cast(Spikes, self.bench.file.stimuli[name])]
        ]
        return pulse_train(t, state, pulses, points=np.arange(OFTEN * given.tau, stop, OFTEN * given.tau).tolist())

    def random(self, rng: np.random.Generator, *, mean: float, count: int) -> list[Array]:
        """Random spikes of each input, ``count`` of all together."""
        each = max(count // len(self.given.stimuli), 2)
        shortest = self.given.intervals[0]
        return [
            random_spikes(rng, mean=mean, shortest=shortest, count=each, first=self.given.tau)[:-1]
            for _ in self.given.stimuli
        ]


@dataclass(frozen=True)
class HeldOut:
    """Trains of a certificate, the spikes (n,) s of each input that they are of, and the seconds that each took."""

    starts: Sequence[Sequence[Array]]
    trains: Sequence[FilterTrain]
    seconds: Sequence[float]


@dataclass(frozen=True)
class TrainedFilter:
    """A certified filter, with its held-out trains, and the seconds that SPICE took for all events and for each."""

    surrogate: Surrogate
    trains: tuple[FilterTrain, ...]
    seconds: float
    seconds_per_event: float

    @property
    def after(self) -> Mapping[int, Mapping[str, tuple[Array, ...]]]:
        """`errors_after` of the held-out trains."""
        return errors_after(cast(FilterLaw, self.surrogate.learned), self.trains)


def errors_after(
    law: FilterLaw, trains: Sequence[FilterTrain], *, seed: int = 0
) -> Mapping[int, Mapping[str, tuple[Array, ...]]]:
    """Signed errors (A) by the number of events that the law followed by itself from the circuit's state, of each train
    an array, as `cosim.surrogate.conformal.scores_of` takes them: after one event, and after more where there are
    trains enough to calibrate an interval by."""
    found: dict[int, dict[str, tuple[Array, ...]]] = {}
    for events in LENGTHS:
        errors = tuple(piece_errors(law, train, events) for train in trains)
        if events == 1 or counted(errors) >= LEAST_RUNS:
            found[events] = {STATE: scores_of(errors, rng=np.random.default_rng([seed, 16, events]))}
    return found


def piece_errors(law: FilterLaw, train: FilterTrain, events: int) -> Array:
    """Signed errors (A) after so many ``events``, of pieces of a train that share none."""
    first, interval = np.arange(0, train.level.size - events + 1, events), np.diff(train.begin)
    state = train.state[first]
    for at in (first + k for k in range(events if first.size else 0)):
        level = train.level[at].astype(float)
        state = state + law({STATE: state, "level": level, "interval": interval[at]})[STATE]
    return np.asarray(state - train.state[first + events])


def train_filter(
    found: FilterBench,
    simulator: Simulator,
    *,
    trains: int = 6,
    count: int = 100,
    budget: float = np.inf,
    held_out: int = 3,
    seed: int = 0,
    limits: Mapping[str, float] = MappingProxyType({}),
    tell: Tell | None = None,
) -> TrainedFilter:
    """Record, fit and certify a filter; the arguments are those of `cosim.surrogate.neuron_bench.train_neuron`.

    Held-out trains have `HELD` spikes at most.

    ``limits`` go by "state" or "i", and "free run".

    Raises:
        InputError: the state is not above zero, or there is a limit that a filter has not. FitError: as `fit_filter`.
    """
    filter_limits(limits)
    rng = np.random.default_rng([seed, 12])
    means = held_out_means(*found.given.intervals, count=trains)

    def record(mean: float, _: list[FilterTrain]) -> FilterTrain:
        return found.record(found.random(rng, mean=mean, count=count), simulator)

    # slow and fast trains in turn: a budget that is spent early leaves both
    total = trains + held_out
    given = recorded([*means[::2], *means[1::2]], record, budget=budget, total=total, tell=tell, clock=found.clock)
    made, spent = given.trains, given.seconds
    law = fit_filter(made, tau=found.given.tau, seed=seed)
    held = _held_out(found, simulator, trains=held_out, count=count, seed=seed, tell=behind(tell, trains, total))
    longest = max(float(np.diff(one.begin).max()) for one in (*made, *held.trains))
    plain = Surrogate(filter_set(found, law, longest=longest), learned=law)
    notes = (*given.notes, time_said(given, held.trains, sum(held.seconds)))
    surrogate = plain.with_(
        certificate=_certificate(plain, found, simulator, held, seed=seed, limits=limits, notes=notes)
    )
    return TrainedFilter(surrogate, tuple(held.trains), spent, spent / sum(train.level.size for train in made))


def certify_filter(
    surrogate: Surrogate,
    found: FilterBench,
    simulator: Simulator,
    *,
    trains: int = 3,
    count: int = 100,
    seed: int = 1,
    limits: Mapping[str, float] = MappingProxyType({}),
    tell: Tell | None = None,
) -> TrainedFilter:
    """Certify a filter's surrogate anew on so many ``trains``; the rest as for `train_filter`.

    Raises `InputError` for a surrogate that is not of a filter, or of one with other inputs.
    """
    if not isinstance(surrogate.learned, FilterLaw):
        raise InputError(f"the surrogate of {surrogate.parameters.name} is not of a filter", remedy="see cosim.certify")
    if surrogate.learned.ends.size != found.levels:
        raise InputError(
            f"the filter of bench {found.bench.name} has {found.levels} levels, and the surrogate "
            f"{surrogate.learned.ends.size}",
            remedy="take the bench that the surrogate was learned from",
        )
    held = _held_out(found, simulator, trains=trains, count=count, seed=seed, tell=tell)
    plain, spent = surrogate.with_(certificate=None), sum(held.seconds)
    made = plain.with_(certificate=_certificate(plain, found, simulator, held, seed=seed, limits=limits))
    return TrainedFilter(made, tuple(held.trains), spent, spent / sum(train.level.size for train in held.trains))


def _held_out(
    found: FilterBench, simulator: Simulator, *, trains: int, count: int, seed: int, tell: Tell | None
) -> HeldOut:
    rng = np.random.default_rng([seed, 13])
    means = drawn_means(rng, intervals=found.given.intervals, count=trains)
    starts = [found.random(rng, mean=mean, count=min(count, HELD)) for mean in means]
    return HeldOut(starts, *timed(starts, lambda one: found.record(one, simulator), tell=tell, clock=found.clock))


def filter_limits(limits: Mapping[str, float]) -> Mapping[str, float]:
    """The limits of a filter with ``limits`` over them; raises `InputError` and `UnknownName` as `base.read_limits`."""
    found = read_limits(limits, states=(STATE,), outputs={})
    return MappingProxyType({name: share for name, share in found.items() if name in (STATE, FREE_RUN, UNTESTED)})


def filter_set(found: FilterBench, law: FilterLaw, *, longest: float) -> CircuitSet:
    """The fields of an event of a filter: a level, and for how long it is held."""
    whole = found.bench
    return CircuitSet(
        CIRCUIT, whole.name, {}, source=f"the bench {whole.name}",
        inputs=MappingProxyType(
            {"level": Field("1", (0.0, law.ends.size - 1.0)), "interval": Field("s", (1e-6 * law.tau, longest))}
        ),
        states=MappingProxyType({STATE: Field("A", (0.0, ROOM * float(law.ends.max())))}),
        event=found.name, bench=str(whole.source),
        netlist=found.netlist(),
    )  # fmt: skip


def _certificate(
    plain: Surrogate,
    found: FilterBench,
    simulator: Simulator,
    held: HeldOut,
    *,
    seed: int,
    limits: Mapping[str, float],
    notes: tuple[str, ...] = (),
) -> Certificate:
    chosen, law, trains = cast(CircuitSet, plain.parameters), cast(FilterLaw, plain.learned), held.trains
    entry, single = chosen.states[STATE], np.concatenate([piece_errors(law, one, 1) for one in trains])
    top = max(float(one.state[1:].max()) for one in trains)
    bands = tuple(Band.of(one, events=events) for events, one in errors_after(law, trains).items())
    own, tightened = _own_error(found, simulator, held, top)
    counts = seen([one.state[:-1] for one in trains], entry.range)
    box = {
        STATE: covered_range(entry, counts, name=STATE),
        "level": chosen.inputs["level"].range,
        "interval": intervals_tested([np.diff(one.begin) for one in trains]),
    }
    columns = {
        STATE: np.concatenate([one.state[:-1] for one in trains]),
        "level": np.concatenate([one.level for one in trains]).astype(float),
        "interval": np.concatenate([np.diff(one.begin) for one in trains]),
    }
    samples = samples_in(plain.map, columns, box, seed=seed)
    return Certificate(
        errors=MappingProxyType({STATE: ErrorSummary.of(single, full_scale=top, unit="A")}),
        rollout=growth(tuple(np.stack([one.state, run_filter(law, one)]) / top for one in trains)),
        domain=Domain(
            MappingProxyType({name: box[name] for name in chosen.inputs}),
            MappingProxyType({STATE: box[STATE]}),
            units=MappingProxyType({n: e.unit for n, e in {**chosen.inputs, **chosen.states}.items()}),
            samples=tuple(map(tuple, samples.tolist())),
            covered=covered_share(samples, levels={1: found.levels}),
        ),
        bands=bands,
        pulses=int(single.size),
        seconds_per_event=steady_seconds([one.level.size for one in trains], held.seconds),
        seconds_per_step=seconds_per_step(plain),
        against=simulator.version(),
        reference=f"trains of random spikes through the circuit of {chosen.name}",
        extraction="",
        carried="none: the circuit itself answers, and the law was fitted to it",
        simulator=own,
        tightened=tightened,
        limits=filter_limits(limits),
        netlist=chosen.netlist,
        data=array_digest(*(one.begin for one in trains), *(one.state for one in trains)),
        parameters=chosen.fingerprint(),
        surrogate=plain.fingerprint(),
        tolerances=MappingProxyType(found.tolerances()),
        seed=str(seed),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        notes=(
            f"law: a filter with tau {law.tau:.4g} s and a threshold of {law.threshold:.3g} A"
            + ("" if law.rest is None else f", with a learned remainder ({law.rest.kind})"),
            f"levels: {', '.join(found.given.stimuli)} count 1, 2, 4, ...; full scale is the largest current",
            seen_said(STATE, counts),
            f"intervals: calibrated on {len(trains)} trains of random means, each of which counts once"
            + ("" if len(trains) >= LEAST_RUNS else f", too few for 95 %: {LEAST_RUNS} or more take more --pulses"),
            *notes,
        ),
    )  # fmt: skip


def _own_error(
    found: FilterBench, simulator: Simulator, held: HeldOut, top: float
) -> tuple[Mapping[str, ErrorSummary], str]:
    """What the simulator answers differently to `REPEATED` trains at tightened tolerances; and how it was asked."""
    closer, errors = found.tightened(), list[Array]()
    try:
        for starts, train in list(zip(held.starts, held.trains, strict=True))[:REPEATED]:
            again = closer.record(starts, simulator)
            errors.append(np.interp(train.begin, again.begin, again.state) - train.state)
    except SimulationError as error:
        return MappingProxyType({}), f"its own error is missing: {error.message}"
    own = ErrorSummary.of(np.concatenate(errors), full_scale=top, unit="A")
    reltol = closer.deck().options["reltol"]
    said = f"its own error by {len(errors)} trains again at reltol {reltol:g} and half the step"
    return MappingProxyType({STATE: own}), said
