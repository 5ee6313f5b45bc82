"""Spike trains to be told apart: by their rate, or by the pattern of their intervals with nothing in their counts.

Patterns have a number of spikes that is drawn from the same range whatever the class; only the order of short and long
intervals differs. All of this is our choice: the source (arXiv 2605.11243) has no task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.errors import InputError, UnknownName

RATES, PATTERNS = TASKS = ("rates", "patterns")
CLASSES = (0.25e6, 0.45e6, 0.8e6, 1.4e6, 2.5e6, 4.5e6)  # Hz, of the task "rates"
SHORT = 0.15  # of a burst's intervals, in units of the mean
SWEEP = 6.0  # ratio of the longest to the shortest interval of a train that speeds up
JITTER = 0.15  # relative deviation of each interval
LEAST = 0.3  # of an interval, over what it would be without jitter


def _bursts(size: int) -> Callable[[int, np.random.Generator], Array]:
    def made(count: int, rng: np.random.Generator) -> Array:
        return np.where((np.arange(count) + rng.integers(size)) % size == 0, size - (size - 1) * SHORT, SHORT)

    return made


def _sweep(count: int, sign: float) -> Array:
    found: Array = SWEEP ** (sign * np.linspace(-0.5, 0.5, count))
    return found


SHAPES: Mapping[str, Callable[[int, np.random.Generator], Array]] = MappingProxyType({
    "regular": lambda count, rng: np.ones(count),
    "pairs": _bursts(2),
    "bursts of four": _bursts(4),
    "random": lambda count, rng: rng.standard_exponential(count) + 1e-3,
    "speeding up": lambda count, rng: _sweep(count, -1.0),
    "slowing down": lambda count, rng: _sweep(count, 1.0),
})  # fmt: skip


@dataclass(frozen=True)
class Trains:
    """What a layer is to tell apart.

    Args:
        task: "rates" or "patterns".
        duration: of a train (s).
        step: time step (s); two spikes never share one.
        rates: of the classes of the task "rates" (Hz), Poisson trains.
        counts: fewest and most spikes of a pattern.
        train, test: trains of each class.
    """

    task: str
    duration: float = 40e-6
    step: float = 20e-9
    rates: tuple[float, ...] = CLASSES
    counts: tuple[int, int] = (24, 48)
    train: int = 60
    test: int = 60

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise UnknownName("task", self.task, TASKS)
        if min(self.train, self.test) < 2:
            raise InputError(
                f"{self.train} trains of a class to learn and {self.test} to test cannot be judged",
                remedy="give at least 2 of each",
            )
        if not 0.0 < 2.0 * self.step < self.duration:
            raise InputError(f"a train of {self.duration:g} s in steps of {self.step:g} s has no room for a spike")
        most = max(self.rates) if self.task == RATES else self.counts[1] / self.duration / SHORT
        if most * self.step > 0.5:
            raise InputError(
                f"spikes at {most:g} Hz share time steps of {self.step:g} s",
                remedy="give slower trains, or longer ones",
            )
        if self.task == RATES and (len(self.rates) < 2 or min(self.rates) * self.duration < 1.0):
            raise InputError(
                f"the rates {', '.join(f'{rate:g}' for rate in self.rates)} Hz cannot be told in {self.duration:g} s",
                remedy="give two or more, each with at least one spike",
            )
        if len(set(self.classes)) < len(self.classes):
            raise InputError(
                f"of the rates {', '.join(self.classes)} some are the same, which no layer can tell apart",
                remedy="give each rate once, different in its first six digits",
            )
        if self.task == PATTERNS and not 8 <= self.counts[0] <= self.counts[1]:
            raise InputError(f"a pattern of {self.counts[0]} spikes shows nothing", remedy="give at least 8 spikes")

    @property
    def classes(self) -> tuple[str, ...]:
        """In words."""
        return tuple(f"{rate * 1e-6:g} MHz" for rate in self.rates) if self.task == RATES else tuple(SHAPES)

    @property
    def steps(self) -> int:
        """Time steps of a train."""
        return round(self.duration / self.step)

    def drawn(self, each: int, rng: np.random.Generator) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """(trains, steps) spikes of ``each`` trains of every class in any order, and their classes (trains,)."""
        y = rng.permutation(np.repeat(np.arange(len(self.classes)), each))
        x = np.zeros((len(y), self.steps), dtype=bool)
        for k, kind in enumerate(y):
            x[k] = self._poisson(self.rates[kind], rng) if self.task == RATES else self._pattern(kind, rng)
        return x, y

    def _poisson(self, rate: float, rng: np.random.Generator) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = rng.random(self.steps) < rate * self.step
        return found

    def _pattern(self, kind: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        count = int(rng.integers(self.counts[0], self.counts[1] + 1))
        shape = SHAPES[self.classes[kind]](count, rng)
        intervals = shape * np.maximum(1.0 + JITTER * rng.standard_normal(count), LEAST)
        # a share of the first interval has passed when the train begins
        times = (np.cumsum(intervals) - intervals[0] * rng.random()) / intervals.sum()
        at = np.minimum((times * self.steps).astype(int), self.steps - 1)
        found = np.zeros(self.steps, dtype=bool)
        for step in at:  # two spikes of one step: the later one comes a step later
            free = np.flatnonzero(~found[step:])
            found[step + free[0] if free.size else np.flatnonzero(~found)[-1]] = True
        return found
