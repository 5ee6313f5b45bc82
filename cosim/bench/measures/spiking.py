"""Measures of spiking circuits: intervals, widths, energy per spike, paired pulses."""

from __future__ import annotations

from typing import Literal

import numpy as np

from cosim.bench.measures import waveforms as measure
from cosim.bench.measures.dimensions import Dimension, Known, total
from cosim.bench.measures.kinds import Kind, Level, Point, PointMeasure
from cosim.devices.base import Array
from cosim.errors import InputError, UnknownName
from cosim.schema import Second


class SpikeMeasure(PointMeasure):
    """What every measure of a spike train has: the vector, the level that a spike crosses, the time to begin at (s)."""

    of: str
    level: Level
    after: Second = 0.0

    def vectors(self) -> tuple[str, ...]:
        """The spiking vector."""
        return (self.of,)

    def dimension(self, known: Known) -> Dimension:
        """A time, except where a measure says otherwise."""
        return known.axis

    def times(self, point: Point, *, at_least: int) -> Array:
        """(n,) s: the rising crossings; raises where there are fewer than ``at_least``."""
        found = measure.crossings(point.data, self.of, level=self.level)
        found = found[found >= self.after]
        if found.size < at_least:
            raise InputError(
                f"{self.of} has {found.size} spikes, and {at_least} are needed", remedy="drive it harder, or run longer"
            )
        return found


class SpikeInterval(SpikeMeasure):
    """The first, last, shortest or mean interval between spikes (s).

    Args:
        which: of the intervals.
    """

    kind: Literal["spike-interval"]
    which: Literal["first", "last", "shortest", "mean"] = "mean"

    def evaluate(self, point: Point) -> float:
        """s."""
        gaps = np.diff(self.times(point, at_least=2))
        return float({"first": gaps[0], "last": gaps[-1], "shortest": gaps.min(), "mean": gaps.mean()}[self.which])


class SpikeTime(SpikeMeasure):
    """The time (s) of the spike with a number, from 1; a negative one counts from the last.

    Args:
        number: of the spike.
    """

    kind: Literal["spike-time"]
    number: int = 1

    def evaluate(self, point: Point) -> float:
        """s."""
        if self.number == 0:
            raise InputError("spikes are counted from 1", remedy="write number = 1, or -1 for the last")
        found = self.times(point, at_least=abs(self.number))
        return float(found[self.number - 1 if self.number > 0 else self.number])


class SpikeWidth(SpikeMeasure):
    """The mean time (s) above the level, over the spikes that end within the run."""

    kind: Literal["spike-width"]

    def evaluate(self, point: Point) -> float:
        """s."""
        rises = self.times(point, at_least=1)
        falls = measure.crossings(point.data, self.of, level=self.level, edge="fall")
        falls = falls[falls > rises[0]]
        if falls.size == 0:
            raise InputError(f"{self.of} does not come back below {self.level:g}", remedy="run longer")
        return float(np.mean(falls - rises[: falls.size]))


class EnergyPerSpike(SpikeMeasure):
    """Energy (J) that supplies deliver per spike: over whole intervals, from the spike ``skip`` to the last one.

    ``supplies`` are pairs of voltage and current (into the source, as SPICE counts it).

    Args:
        supplies: pairs of voltage and current.
        skip: spikes at the beginning that are left out.
    """

    kind: Literal["energy-per-spike"]
    supplies: tuple[tuple[str, str], ...]
    skip: int = 0

    def vectors(self) -> tuple[str, ...]:
        """The spiking vector and those of the supplies."""
        return (self.of, *(name for pair in self.supplies for name in pair))

    def dimension(self, known: Known) -> Dimension:
        """Power times time."""
        return total([known.vector(v) * known.vector(i) * known.axis for v, i in self.supplies])

    def evaluate(self, point: Point) -> float:
        """J."""
        found = self.times(point, at_least=self.skip + 2)[self.skip :]
        starts, stops = found[:1], found[-1:]
        total = sum(
            float(measure.energy(point.data, voltage, current, starts=starts, stops=stops)[0])
            for voltage, current in self.supplies
        )
        return total / (found.size - 1)


class PairedPulse(PointMeasure):
    """Second response over first, in charge (∫ of dt) or in peak, each above what the vector was before its pulse.

    ``interval`` is the name of a circuit parameter; ``window`` (s) is how long a response is followed, and at
    most the interval.

    Args:
        response: what of the vector is compared.
        first: where the first pulse begins.
        interval: the circuit parameter that holds the interval.
        window: how long each response is followed.
    """

    kind: Literal["paired-pulse-ratio"]
    of: str
    response: Literal["charge", "peak"] = "charge"
    first: Second
    interval: str
    window: Second

    def vectors(self) -> tuple[str, ...]:
        """The vector."""
        return (self.of,)

    def _interval(self, point: Point) -> float:
        if self.interval not in point.parameters:
            raise UnknownName("circuit parameter", self.interval, point.parameters)
        return point.parameters[self.interval]

    def evaluate(self, point: Point) -> float:
        """Dimensionless."""
        interval = self._interval(point)
        responses = []
        for start in (self.first, self.first + interval):
            stop = start + min(self.window, interval)
            t, y = measure.window(point.data, self.of, start=start, stop=stop)
            above = y - y[0]
            responses.append(
                measure.integral(t, above) if self.response == "charge" else above[np.argmax(np.abs(above))]
            )
        if responses[0] == 0.0:
            raise InputError(f"{self.of} does not answer the first pulse", remedy="check 'first' and 'window'")
        return float(responses[1] / responses[0])


KINDS: tuple[type[Kind], ...] = (SpikeInterval, SpikeTime, SpikeWidth, EnergyPerSpike, PairedPulse)
