"""Measures of a synapse with tagging and capture: its integrator against Eq. 6, a comparator's trip, a slope.

Source: M. A. Nicholson (thesis, Groningen, 2024), Eq. 6.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from cosim.bench.measures import waveforms as measure
from cosim.bench.measures.dimensions import Dimension, Known
from cosim.bench.measures.kinds import Kind, Level, Point, PointMeasure
from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.schema import Second


def first_order(t: Array, drive: Array, *, tau: float) -> Array:
    """τ dy/dt = drive − y from rest at ``drive[0]``, exact for a drive linear between the times ``t`` (n,) s."""
    y = np.empty_like(drive)
    y[0] = drive[0]
    steps = np.diff(t)
    decay = np.exp(-steps / tau)
    # mean weights of a linear drive's ends; the series avoids a cancellation at steps far below tau
    r = steps / tau
    late = np.where(r > 1e-4, 1.0 + np.expm1(-r) / np.where(r > 0.0, r, 1.0), r / 2.0)
    gain = (1.0 - decay - late) * drive[:-1] + late * drive[1:]
    for k in range(steps.size):
        y[k + 1] = decay[k] * y[k] + gain[k]
    return y


class Eq6Deviation(PointMeasure):
    """The largest difference of a DPI's output from Eq. 6, over the answer's peak or, ``of_value``, over itself.

    ``drive`` is the current (A) through a source in the tail, ``gain`` the parameter that holds I_TH/I_TAU.

    Args:
        output: the vector of the integrator's output current.
        drive: the vector of its drive.
        gain: the circuit parameter that holds I_TH/I_TAU.
        tau: the time constant of Eq. 6.
        of_value: relative to the value at each time, and not to the peak.
    """

    kind: Literal["eq6-deviation"]
    output: str
    drive: str
    gain: str
    tau: Second
    of_value: bool = False

    def vectors(self) -> tuple[str, ...]:
        """Output and drive."""
        return self.output, self.drive

    def evaluate(self, point: Point) -> float:
        """Dimensionless."""
        if self.gain not in point.parameters:
            raise InputError(f"{self.gain!r} is not a parameter of the bench")
        t = np.asarray(point.data["time"].values, dtype=float)
        drive = point.parameters[self.gain] * measure.vector(point.data, self.drive)
        expected = first_order(t, drive, tau=self.tau)
        difference = np.abs(measure.vector(point.data, self.output) - expected)
        return float(np.max(difference / (expected if self.of_value else expected.max())))


class Trip(PointMeasure):
    """The value of a swept source at which a vector crosses ``level``, or how far it is from there to ``until``.

    Args:
        until: a second level, to which the distance is measured.
    """

    kind: Literal["trip"]
    of: str
    level: Level
    until: Level | None = None

    def vectors(self) -> tuple[str, ...]:
        """The vector."""
        return (self.of,)

    def dimension(self, known: Known) -> Dimension:
        """The swept source's."""
        return known.axis

    def evaluate(self, point: Point) -> float:
        """In the source's unit."""
        if "sweep" not in point.data.coords:
            raise InputError("a trip is a measure of a dc sweep", remedy="let it see a dc analysis")
        found = self._at(point, self.level)
        return found if self.until is None else self._at(point, self.until) - found

    def _at(self, point: Point, level: float) -> float:
        x = np.asarray(point.data["sweep"].values, dtype=float)
        y = measure.vector(point.data, self.of) - level
        index = np.flatnonzero(np.signbit(y[:-1]) != np.signbit(y[1:]))
        if index.size != 1:
            raise InputError(f"{self.of} crosses {level:g} {index.size} times, not once", remedy="sweep further")
        k = int(index[0])
        return float(x[k] - y[k] * (x[k + 1] - x[k]) / (y[k + 1] - y[k]))


class Slope(PointMeasure):
    """The mean slope of a vector between two times (s)."""

    kind: Literal["slope"]
    of: str
    start: Second
    stop: Second

    def vectors(self) -> tuple[str, ...]:
        """The vector."""
        return (self.of,)

    def dimension(self, known: Known) -> Dimension:
        """The vector over the coordinate."""
        return known.vector(self.of) / known.axis

    def evaluate(self, point: Point) -> float:
        """In the vector's unit per second."""
        low, high = measure.sample(point.data, self.of, at=np.array([self.start, self.stop]))
        return float((high - low) / (self.stop - self.start))


class CrossingDelay(PointMeasure):
    """The time (s) from one vector's crossing of its level to another's: negative where the second comes first.

    Args:
        cause, effect: the vectors.
        cause_level, effect_level: what each has to cross.
    """

    kind: Literal["crossing-delay"]
    cause: str
    cause_level: Level
    effect: str
    effect_level: Level
    edge: Literal["rise", "fall"] = "rise"
    after: Second = 0.0

    def vectors(self) -> tuple[str, ...]:
        """Cause and effect."""
        return self.cause, self.effect

    def dimension(self, known: Known) -> Dimension:
        """The coordinate's."""
        return known.axis

    def evaluate(self, point: Point) -> float:
        """s."""
        first = self._crossing(point, self.cause, self.cause_level)
        return self._crossing(point, self.effect, self.effect_level) - first

    def _crossing(self, point: Point, name: str, level: float) -> float:
        times = measure.crossings(point.data, name, level=level, edge=self.edge)
        times = times[times >= self.after]
        if times.size == 0:
            raise InputError(f"{name} does not cross {level:g} ({self.edge})", remedy="run longer, or lower the level")
        return float(times[0])


KINDS: tuple[type[Kind], ...] = (Eq6Deviation, Trip, Slope, CrossingDelay)
