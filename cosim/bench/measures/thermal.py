"""Measures of electro-thermal circuits: power and energy in a resistor, and how well a straight line fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from cosim.bench.measures import arrays
from cosim.bench.measures import waveforms as measure
from cosim.bench.measures.dimensions import Dimension, Known, total
from cosim.bench.measures.kinds import DerivedMeasure, Kind, Point, PointMeasure
from cosim.devices.base import Array
from cosim.errors import InputError, UnknownName
from cosim.schema import Second


class ResistorPower(PointMeasure):
    """Power in a resistor between two nodes: at the end of a run, its largest value, or its energy in a window (s).

    ``resistance`` is in Ohm, or the name of a circuit parameter. ``between`` names one node's voltage against ground,
    or two.

    Args:
        between: its two nodes; one alone is against ground.
        resistance: in ohm, or the name of a circuit parameter or of a device's (`reram.r_heater`).
    """

    kind: Literal["resistor-power", "resistor-peak-power", "resistor-energy"]
    between: tuple[str, ...]
    resistance: float | str
    start: Second | None = None
    stop: Second | None = None

    def vectors(self) -> tuple[str, ...]:
        """Both nodes."""
        return self.between

    def _resistance(self, point: Point) -> float:
        if not isinstance(self.resistance, str):
            return self.resistance
        if self.resistance not in point.parameters:
            raise UnknownName("circuit parameter", self.resistance, point.parameters)
        return point.parameters[self.resistance]

    def dimension(self, known: Known) -> Dimension:
        """Power; of the energy, times time."""
        drop = total([known.vector(name) for name in self.between])
        power = drop * drop / Dimension(("Ohm",))
        return power * known.axis if self.kind == "resistor-energy" else power

    def evaluate(self, point: Point) -> float:
        """W, or J."""
        r = self._resistance(point)
        if len(self.between) not in (1, 2) or not r > 0.0:
            raise InputError(f"not a resistor: {r:g} Ohm between {self.between}", remedy="name one or two nodes")
        if "time" not in point.data.coords:
            nodes = [measure.vector(point.data, name).ravel() for name in self.between]
            times = np.arange(nodes[0].size, dtype=float)
        else:
            windows = [measure.window(point.data, n, start=self.start, stop=self.stop) for n in self.between]
            times, nodes = windows[0][0], [values for _, values in windows]
        drop = nodes[0] - (nodes[1] if len(nodes) == 2 else 0.0)
        power: Array = drop * drop / r
        if self.kind == "resistor-energy":
            return measure.integral(times, power)
        return float(power.max() if self.kind == "resistor-peak-power" else power[-1])


class ReadStep(PointMeasure):
    """ΔG/G0 between the first and the last read of a pulse train; ``current`` flows into the drive's source."""

    kind: Literal["read-step"]
    current: str
    stimulus: str

    def vectors(self) -> tuple[str, ...]:
        """The drive's current."""
        return (self.current,)

    def evaluate(self, point: Point) -> float:
        """Dimensionless, signed."""
        read = measure.read_conductance(point.data, self.current, train=point.train(self.stimulus))
        if read[0] == 0.0:
            raise InputError("the current of the first read is zero", remedy="place the first read before the pulses")
        return float(read[-1] / read[0] - 1.0)


class Sum(DerivedMeasure):
    """The sum of measures, element by element; a name with a minus in front counts negatively.

    Args:
        of: measures; a minus in front counts negatively.
    """

    kind: Literal["sum"]
    of: tuple[str, ...]

    def dimension(self, known: Known) -> Dimension:
        """That of all of them."""
        return total([known.entry(name.lstrip("-")) for name in self.of])

    def combine(self, found: Mapping[str, Array], coordinates: Mapping[str, Array]) -> Array:
        """As many values as each of them has."""
        total: Array = np.zeros(())
        for name in self.of:
            sign = -1.0 if name.startswith("-") else 1.0
            total = total + sign * self.take(name.lstrip("-"), found, coordinates)
        return total


class LineError(DerivedMeasure):
    """|y/(slope x) − 1| of a straight line through the origin: its mean, median or largest value.

    Args:
        against: the product of measures and swept parameters by name, or numbers, one for each value of `of`.
    """

    kind: Literal["line-error", "median-line-error", "largest-line-error"]
    of: str
    against: tuple[str, ...] | tuple[float, ...]

    def combine(self, found: Mapping[str, Array], coordinates: Mapping[str, Array]) -> float:
        """Dimensionless; 0 is a straight line."""
        y = self.take(self.of, found, coordinates)
        names = [name for name in self.against if isinstance(name, str)]
        x: Array = np.prod([self.take(name, found, coordinates) for name in names], axis=0)
        if not names:
            x = np.asarray(self.against, dtype=float)
        if x.shape != y.shape or np.any(x == 0.0):
            raise InputError(
                f"{self.of} cannot be compared to {'·'.join(map(str, self.against))}", remedy="leave out zeros"
            )
        error = np.abs(y * (x @ x) / ((x @ y) * x) - 1.0)
        if self.kind == "median-line-error":
            return float(np.median(error))
        return float(error.mean() if self.kind == "line-error" else error.max())


class Deviation(DerivedMeasure):
    """Each value over the one that is expected of it, minus 1.

    Args:
        expected: numbers in SI, one for each value of `of` in the order of the sweep.
    """

    kind: Literal["deviation"]
    of: str
    expected: tuple[float, ...] = Field(min_length=1)

    def combine(self, found: Mapping[str, Array], coordinates: Mapping[str, Array]) -> Array:
        """(n,) dimensionless."""
        y, expected = self.take(self.of, found, coordinates).ravel(), np.asarray(self.expected)
        if y.shape != expected.shape or np.any(expected == 0.0):
            raise InputError(
                f"{self.of} has {y.size} values, {expected.size} are expected", remedy="give as many, none of them zero"
            )
        return np.asarray(y / expected - 1.0)


KINDS: tuple[type[Kind], ...] = (ResistorPower, ReadStep, Sum, LineError, Deviation, *arrays.KINDS)
