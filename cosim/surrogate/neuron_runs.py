"""How wrong an event neuron's law is after events that it followed by itself from a state of the circuit.

These errors calibrate prediction intervals. Events of one train share its rate, its facilitation and the error of a
reset that is under way: the train is the exchangeable unit (`cosim.surrogate.conformal`), and each of its pieces of a
length, begun at any of its inputs, is one of its scores.

A state of the circuit is the membrane, the share and the stage as its waveforms have them at an input, and the time
since the last reset. Within a spike nothing tells when its reset will end, which further inputs put off: there the
phase is the law's own, counted from the circuit's spike. So the phase has an error where an event ends outside of one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import cast

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array, Values
from cosim.surrogate.base import Range
from cosim.surrogate.certify import Tell
from cosim.surrogate.conformal import LEAST_RUNS, LENGTHS, Band, scores_of
from cosim.surrogate.model import Surrogate
from cosim.surrogate.neuron import STATES, NeuronLaw, SpikeTrain
from cosim.surrogate.neuron_trains import held_out_means, random_spikes, run_spikes
from cosim.surrogate.spike_bench import steady_seconds, timed

# Inputs of a run by the most events that are followed in it: more, as a train ends before a spike that does not.
INPUTS: Mapping[int, int] = MappingProxyType({10: 22, 100: 112, 1000: 1012})
Runs = Mapping[int, Sequence[SpikeTrain]]
Errors = Mapping[str, tuple[Array, ...]]


@dataclass(frozen=True)
class HeldOut:
    """Trains of a certificate.

    Args:
        trains: those of its errors.
        runs: those of its intervals, by the most events that are followed in them.
        seconds: that the simulator took for all of them.
        seconds_per_event: of ``trains``, the first left out: it warms caches; None where there is only one.
    """

    trains: list[SpikeTrain]
    runs: Runs
    seconds: float
    seconds_per_event: float | None

    @property
    def all(self) -> list[SpikeTrain]:
        """Every train once."""
        return [*self.trains, *(one for runs in self.runs.values() if runs is not self.trains for one in runs)]

    def said(self, bands: Sequence[Band]) -> list[str]:
        """On which trains the intervals rest, and what the longest would take where they are missing."""
        sizes = [(len(runs), max(one.intervals.size for one in runs)) for runs in self.runs.values()]
        lengths = " and ".join(f"{count} of {size} events" for count, size in sizes)
        found = [f"intervals: calibrated on trains of random means, {lengths} at most, each of which counts once"]
        if bands[-1].events < LENGTHS[-1] and self.seconds_per_event is not None:
            minutes = (LEAST_RUNS + 1) * INPUTS[LENGTHS[-1]] * self.seconds_per_event / 60.0
            found.append(
                f"intervals: none after {LENGTHS[-1]} events; --rollouts {LEAST_RUNS + 1}, trains of so many, would "
                f"take the simulator {minutes:.0f} minutes"
            )
        return found


def held_out_trains(
    record: Callable[[Array], SpikeTrain],
    intervals: Range,
    *,
    trains: int,
    count: int = 100,
    stretches: int = 0,
    rollouts: int = 0,
    seed: int,
    tell: Tell | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> HeldOut:
    """Random trains of the neuron, from streams of ``seed`` that training does not use.

    Args:
        record: what the circuit makes of input spikes at (n + 1,) s.
        intervals: the shortest, and the longest mean (s).
        trains: those of the errors. A few have mean intervals from one end of the neuron's to the other; `LEAST_RUNS`
            or more have means drawn at random, are long enough, and calibrate the intervals after 100 events too.
        count: input spikes of each.
        stretches, rollouts: short and long ones of random means, as for `train_neuron`.
        clock: s, by which the time of a train is taken.
    """
    many = trains >= LEAST_RUNS
    counts = {10: stretches, 100: trains if many else 0, 1000: rollouts}
    inputs = list[tuple[int, Array]]()
    rng, shortest = np.random.default_rng([seed, 11]), intervals[0]
    if not many:
        means = held_out_means(*intervals, count=trains)
        inputs = [(0, random_spikes(rng, mean=mean, shortest=shortest, count=count)) for mean in means]
    for length, asked in counts.items():
        rng = np.random.default_rng([seed, 14, length])
        how = partial(run_spikes, rng, intervals=intervals, rests=length == min(counts))
        inputs += [(length, how(count=INPUTS[length])) for _ in range(asked)]
    trained, seconds = timed([spikes for _, spikes in inputs], record, tell=tell, clock=clock)
    made: dict[int, list[SpikeTrain]] = {}
    for (length, _), train in zip(inputs, trained, strict=True):
        made.setdefault(length, []).append(train)
    own = 100 if many else 0
    spent = [one for (length, _), one in zip(inputs, seconds, strict=True) if length == own]
    runs = {length: kept for length, kept in made.items() if length}
    return HeldOut(
        made[own],
        MappingProxyType(runs or {min(INPUTS): made[own]}),
        sum(seconds),
        steady_seconds([train.intervals.size for train in made[own]], spent),
    )


def errors_after(plain: Surrogate, runs: Runs, *, seed: int = 0) -> Mapping[int, Errors]:
    """Signed errors (SI) by the number of events that the law followed, of each train an array; after one event those
    of the trains with the shortest runs.

    Args:
        plain: of a neuron, without a certificate.
        runs: trains by the most events that are to be followed in them.
        seed: of the draws.
    """
    shortest = min(runs)
    found = dict[int, Errors]()
    for length, trains in runs.items():
        wanted = [events for events in LENGTHS if events == length or events < length == shortest]
        for events, errors in piece_errors(plain, trains, wanted):
            rng = np.random.default_rng([seed, 16, events])
            found[events] = {name: scores_of(of, rng=rng) for name, of in errors.items()}
    return found


def piece_errors(
    plain: Surrogate, trains: Sequence[SpikeTrain], lengths: Sequence[int]
) -> Iterator[tuple[int, Errors]]:
    """After so many events each, of every piece of the trains; but for lengths that no train has."""
    table = _Table(plain, trains)
    for length in lengths:
        if np.any(table.sizes >= length):
            yield length, table.errors(length)


def circuit_at(train: SpikeTrain, memory: float) -> dict[str, Array]:
    """States at the inputs (n + 1,), the phase up to ``memory`` (s), and of each event (n,) its interval, whether it
    spikes, the latency (0 without a spike) and the energy."""
    t = train.inputs
    there = train.at(t)
    coming = np.append(train.spikes, np.inf)[np.searchsorted(train.spikes, t[:-1], side="right")]
    fires = coming < t[1:]
    return {
        **{name: there[name] for name in ("v", "u", "n")},
        "phase": np.minimum(train.phase(t), memory),
        "interval": train.intervals,
        "spikes": fires.astype(float),
        "latency": np.where(fires, coming - t[:-1], 0.0),
        "energy": np.diff(there["energy"]),
    }


class _Table:
    """Trains side by side, (trains, events + 1) each column, with the phase as it is known."""

    def __init__(self, plain: Surrogate, trains: Sequence[SpikeTrain]) -> None:
        law = cast(NeuronLaw, plain.learned)
        self.plain, self.sizes = plain, np.array([train.intervals.size for train in trains])
        columns = [circuit_at(train, law.numbers["memory"]) for train in trains]
        width = int(self.sizes.max()) + 1
        self.of = {
            name: np.stack([np.pad(one[name], (0, width - one[name].size), mode="edge") for one in columns])
            for name in columns[0]
        }
        self.begin = self.of["phase"].copy()
        for k in range(width - 1):
            rows = np.flatnonzero((self.of["phase"][:, k + 1] < 0.0) & (k < self.sizes))
            if not rows.size:
                continue
            after, found = self._step(self._state(rows, k), rows, k)
            fires, late = self.of["spikes"][rows, k] > 0.0, self.of["latency"][rows, k]
            expected = after["phase"] + np.where(fires, found["latency"] - late, 0.0)
            unforeseen = self.of["interval"][rows, k] - late - law.numbers["dead"]
            self.begin[rows, k + 1] = np.where(fires & (found["spikes"] == 0.0), unforeseen, expected)

    def _state(self, rows: NDArray[np.int64], k: NDArray[np.int64] | int) -> Values:
        return Values({name: (self.begin if name == "phase" else self.of[name])[rows, k] for name in STATES})

    def _step(self, x: Values, rows: NDArray[np.int64], k: NDArray[np.int64] | int) -> tuple[Values, Values]:
        after, found = self.plain.map(x, Values({"interval": self.of["interval"][rows, k]}), self.plain.values)
        return Values(dict(after)), Values(dict(found))

    def errors(self, length: int) -> Errors:
        """After ``length`` events that begin at any input that leaves so many."""
        counts = np.maximum(self.sizes - length + 1, 0)
        rows = np.repeat(np.arange(counts.size), counts)
        k = np.concatenate([np.arange(count) for count in counts])
        x = self._state(rows, k)
        for step in range(length):
            x, found = self._step(x, rows, k + step)
        of = {name: column[rows, k + length - (name not in STATES)] for name, column in self.of.items()}
        away = {name: value - of[name] for name, value in {**x, **found}.items()}
        both = (of["spikes"] > 0.0) & (found["spikes"] > 0.0)
        kept = {name: np.ones(rows.size, dtype=bool) for name in away} | {"phase": of["phase"] >= 0.0, "latency": both}
        return {
            name: tuple(value[kept[name] & (rows == number)] for number in range(counts.size))
            for name, value in away.items()
        }
