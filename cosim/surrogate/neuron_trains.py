"""Trains of input spikes for an event neuron: random ones, and those that put it where its law is hardest to tell."""

from __future__ import annotations

import numpy as np

from cosim.devices.base import Array
from cosim.surrogate.conformal import LEAST_RUNS
from cosim.surrogate.neuron import STATES, NeuronLaw, at_rest

FIRST = 10.0 / 3.0  # shortest intervals before the first input, in which a circuit comes to rest (our choice)
DRAWN = 64  # intervals of which the next one is chosen
# Of the inputs: those chosen to end next to the threshold, and those chosen to come next to the end of a reset.
CRITICAL, RESETTING = 0.4, 0.2
NEAR_RESET = 0.4  # dead times on either side of the end of a reset
REST = 40.0  # longest mean intervals: the longest rest of a run (our choice)


def random_spikes(
    rng: np.random.Generator, *, mean: float, shortest: float, count: int, first: float | None = None
) -> Array:
    """(count + 1,) s: random input spikes with exponential intervals above the ``shortest`` (s), from ``first`` (s;
    None: `FIRST`) on.
    """
    first = FIRST * shortest if first is None else first
    intervals = shortest + rng.exponential(mean - shortest, count)
    return np.asarray(first + np.concatenate([[0.0], np.cumsum(intervals)]))


def run_spikes(rng: np.random.Generator, *, intervals: tuple[float, float], count: int, rests: bool) -> Array:
    """As `random_spikes`, at a mean that is drawn evenly by its logarithm from the ``intervals`` of a neuron.

    With ``rests`` one of the intervals is a rest of up to `REST` times the longest mean: networks have such pauses, and
    a simulator passes them in a few steps.
    """
    shortest, longest = intervals
    mean = float(np.exp(rng.uniform(*np.log([min(5.0 * shortest, longest), longest]))))
    inputs = random_spikes(rng, mean=mean, shortest=shortest, count=count)
    if rests:
        at, rest = int(rng.integers(count)), longest * float(np.exp(rng.uniform(0.0, np.log(REST))))
        inputs[at + 1 :] += rest - (inputs[at + 1] - inputs[at])
    return inputs


def critical_spikes(law: NeuronLaw, rng: np.random.Generator, *, mean: float, shortest: float, count: int) -> Array:
    """As `random_spikes`, with intervals chosen by what ``law`` makes of them.

    A few mV next to the threshold, or a few kicks at the end of a reset, decide whether and when the circuit spikes; in
    random trains few inputs come to lie there, and what is learned of them alone is worst where it matters most.
    """
    state = {name: np.full(1, value) for name, value in at_rest(law).items()}
    intervals = []
    for _ in range(count):
        drawn = shortest + rng.exponential(mean - shortest, DRAWN)
        found = law({**state, "interval": drawn})
        after = {name: state[name] + found[name] for name in STATES}
        chosen, way = 0, rng.random()
        if way < CRITICAL:
            free = after["phase"] >= min(law.numbers["again"], 0.0)
            chosen = int(np.argmin(np.where(free, np.abs(law.margin(after)), np.inf)))
        elif way < CRITICAL + RESETTING:
            away = np.abs(after["phase"]) > NEAR_RESET * law.numbers["dead"]
            chosen = int(np.argmin(away))
        intervals.append(drawn[chosen])
        state = {name: column[chosen : chosen + 1] for name, column in after.items()}
    return np.asarray(FIRST * shortest + np.concatenate([[0.0], np.cumsum(intervals)]))


def drawn_means(rng: np.random.Generator, *, intervals: tuple[float, float], count: int) -> list[float]:
    """Mean intervals (s) of held-out trains, drawn by their logarithm.

    Each from all of the ``intervals``, or, of too few to calibrate anything by, one from each of as many parts of them.
    """
    low, high = np.log([min(5.0 * intervals[0], intervals[1]), intervals[1]])
    drawn = rng.random(count)
    part = drawn if count >= LEAST_RUNS else (rng.permutation(count) + drawn) / count
    found: list[float] = np.exp(low + (high - low) * part).tolist()
    return found


def held_out_means(shortest: float, longest: float, *, count: int) -> list[float]:
    """The mean intervals (s) of held-out trains: evenly from end to end by their logarithm; of one the middle."""
    low = min(5.0 * shortest, longest)
    found: list[float] = np.geomspace(low, longest, count).tolist() if count > 1 else [float(np.sqrt(low * longest))]
    return found
