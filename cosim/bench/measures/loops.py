"""Measures of current–voltage loops: how well a loop is pinched, its area, the conductance on its branches."""

from __future__ import annotations

from typing import Literal

import numpy as np

from cosim.bench import physics
from cosim.bench.measures import waveforms as measure
from cosim.bench.measures.dimensions import Dimension, Known
from cosim.bench.measures.kinds import Kind, Point, PointMeasure
from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.schema import Second


class _OfLoop(PointMeasure):
    """``current`` flows into the device, ``voltage`` is the one across it."""

    voltage: str
    current: str

    def vectors(self) -> tuple[str, ...]:
        """Voltage and current."""
        return self.voltage, self.current


class Pinch(_OfLoop):
    """The largest current where the voltage is zero, as a fraction of the largest current."""

    kind: Literal["pinch"]

    def evaluate(self, point: Point) -> float:
        """Dimensionless."""
        v, i = measure.vector(point.data, self.voltage), measure.vector(point.data, self.current)
        crossings, top = physics.zero_crossings(v, i), float(np.max(np.abs(i)))
        if crossings.size == 0 or top == 0.0:
            raise InputError(f"{self.voltage} never crosses zero, or no current flows", remedy="drive it both ways")
        return float(np.max(np.abs(crossings))) / top


class LoopArea(_OfLoop):
    """The area between the branches of a loop (W), both lobes; ``start`` and ``stop`` (s) of one period."""

    kind: Literal["loop-area"]
    start: Second | None = None
    stop: Second | None = None

    def dimension(self, known: Known) -> Dimension:
        """Voltage times current."""
        return known.vector(self.voltage) * known.vector(self.current)

    def evaluate(self, point: Point) -> float:
        """W."""
        _, v = measure.window(point.data, self.voltage, start=self.start, stop=self.stop)
        _, i = measure.window(point.data, self.current, start=self.start, stop=self.stop)
        return physics.loop_area(v, i)


class ConductanceAt(_OfLoop):
    """Current over voltage (S) at one or several times (s), where the voltage is not zero."""

    kind: Literal["conductance-at"]
    at: Second | tuple[Second, ...]

    def dimension(self, known: Known) -> Dimension:
        """Current over voltage."""
        return known.vector(self.current) / known.vector(self.voltage)

    def evaluate(self, point: Point) -> Array:
        """One value per time, S."""
        at = np.atleast_1d(np.asarray(self.at, dtype=float))
        v, i = (measure.sample(point.data, name, at=at) for name in (self.voltage, self.current))
        if np.any(v == 0.0):
            raise InputError(
                f"{self.voltage} is zero where a conductance is asked for", remedy="choose a time beside the zero"
            )
        return np.asarray(i / v)


KINDS: tuple[type[Kind], ...] = (Pinch, LoopArea, ConductanceAt)
