"""Measures as a bench names them: a schema and how each is evaluated. Each topic adds its kinds in its own file.

A *point measure* is evaluated on the waveforms of one run and gives one value or a fixed number of them. A *derived
measure* is evaluated on other measures, over all points of a sweep. `registry` lists the kinds.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pydantic

from cosim.bench.measures import waveforms as measure
from cosim.bench.measures.dimensions import PLAIN, Dimension, Known, of_unit
from cosim.devices.base import Array
from cosim.errors import InputError, UnknownName
from cosim.schema import Ampere, Hertz, Number, Second, Stated, Volt
from cosim.units import parse, si_unit, unit_in

if TYPE_CHECKING:
    import xarray

    from cosim.bench.stimuli import PulseTrain


# A place on an analysis's coordinate, whichever that is, and a level of a vector; a bench tells which is meant.
Place = Second | Volt | Ampere | Hertz | Number
Level = Volt | Ampere | Number


@dataclass(frozen=True)
class Point:
    """One run: its waveforms, the values of the circuit's parameters (SI), and the pulse trains of its stimuli.

    ``card`` is what the engine made of the measure's own ``.meas``, where it has one: its value, or why it has none.
    """

    data: xarray.Dataset
    parameters: Mapping[str, float]
    trains: Mapping[str, PulseTrain]
    card: float | str = ""

    def train(self, stimulus: str) -> PulseTrain:
        """The pulse train of a stimulus."""
        if stimulus not in self.trains:
            raise UnknownName("pulse stimulus", stimulus, self.trains)
        return self.trains[stimulus]


class Kind(Stated):
    """What every measure has: the unit of its values and the analysis whose waveforms it sees (None: the only one).

    Args:
        unit: in which tables, files and figures have its values: `"mA"` for a current. One of another dimension than
            what is measured is an error; `"1"` gives the SI number, and nothing is checked.
        analysis: the one that it sees; default: the only one.
    """

    unit: str = "1"
    analysis: str | None = None

    def vectors(self) -> tuple[str, ...]:
        """The vectors that have to be saved."""
        return ()

    def dimension(self, known: Known) -> Dimension:
        """The dimension of its values; raises `UnitError` where they cannot have one."""
        del known
        return PLAIN


class PointMeasure(Kind):
    """A measure of the waveforms of one run.

    Args:
        of: the vector, in ngspice's name: ``v(out)``, ``i(v1)``, ``v(xcell.xm.w)``.
        stimulus: the pulse train whose pulses and reads are meant.
        voltage: the vector of the voltage.
        current: the vector of the current, ``i(SOURCE)``, into the source as SPICE counts it.
        start, stop: bounds of the analysis's coordinate; default: all of it.
        level: the value that has to be crossed.
        edge: which crossings count.
        after: where the search begins.
        at: place or places on the analysis's coordinate.
        count: how many.
    """

    @abstractmethod
    def evaluate(self, point: Point) -> Any:
        """One value or (n,) values, in SI. Raises `InputError` where they cannot be computed."""


class DerivedMeasure(Kind):
    """A measure of other measures.

    Args:
        of: another measure, or a parameter of the circuit.
        against: measures, or swept parameters, that are multiplied.
    """

    @abstractmethod
    def combine(self, found: Mapping[str, Array], coordinates: Mapping[str, Array]) -> Any:
        """``found``: (points, n) per measure; ``coordinates``: (points,) per swept parameter, (1,) per other one."""

    @staticmethod
    def take(name: str, found: Mapping[str, Array], coordinates: Mapping[str, Array]) -> Array:
        """A measure (flattened) or a parameter of the circuit by name."""
        if name in found:
            return found[name].ravel()
        if name in coordinates:
            return coordinates[name]
        raise UnknownName("measure or parameter", name, [*found, *coordinates])


class ReadConductance(PointMeasure):
    """Conductance read after each pulse of a train; ``current`` flows into the drive's source."""

    kind: Literal["read-conductance"]
    current: str
    stimulus: str

    def vectors(self) -> tuple[str, ...]:
        """The drive's current."""
        return (self.current,)

    def dimension(self, known: Known) -> Dimension:
        """Current over the read voltage."""
        return known.vector(self.current) / Dimension(("V",))

    def evaluate(self, point: Point) -> Array:
        """(pulses,) S."""
        return measure.read_conductance(point.data, self.current, train=point.train(self.stimulus))


class AfterPulse(PointMeasure):
    """A vector at each read time of a train."""

    kind: Literal["after-pulse"]
    of: str
    stimulus: str

    def vectors(self) -> tuple[str, ...]:
        """The vector."""
        return (self.of,)

    def dimension(self, known: Known) -> Dimension:
        """The vector's."""
        return known.vector(self.of)

    def evaluate(self, point: Point) -> Array:
        """(pulses,)."""
        return measure.sample(point.data, self.of, at=point.train(self.stimulus).read_times)


class PulseEnergy(PointMeasure):
    """Energy that a source delivers per programming pulse of a train."""

    kind: Literal["pulse-energy"]
    voltage: str
    current: str
    stimulus: str

    def vectors(self) -> tuple[str, ...]:
        """Voltage and current of the source."""
        return self.voltage, self.current

    def dimension(self, known: Known) -> Dimension:
        """Power times time."""
        return known.vector(self.voltage) * known.vector(self.current) * known.axis

    def evaluate(self, point: Point) -> Array:
        """(pulses,) J."""
        train = point.train(self.stimulus)
        return measure.energy(point.data, self.voltage, self.current, starts=train.write_starts, stops=train.write_ends)


class SourceEnergy(PointMeasure):
    """Energy that a source delivers in a window (s).

    ``drawn-energy`` counts only while the source delivers: what flows back to a driver is lost.
    """

    kind: Literal["energy", "drawn-energy"]
    voltage: str
    current: str
    start: Second | None = None
    stop: Second | None = None

    def vectors(self) -> tuple[str, ...]:
        """Voltage and current of the source."""
        return self.voltage, self.current

    def dimension(self, known: Known) -> Dimension:
        """Power times time."""
        return known.vector(self.voltage) * known.vector(self.current) * known.axis

    def evaluate(self, point: Point) -> float:
        """J."""
        t, v = measure.window(point.data, self.voltage, start=self.start, stop=self.stop)
        _, i = measure.window(point.data, self.current, start=self.start, stop=self.stop)
        power = -v * i
        return measure.integral(t, power if self.kind == "energy" else np.maximum(power, 0.0))


class Reduced(PointMeasure):
    """The largest, smallest, mean, last value of a vector, its swing, or its integral over the analysis's coordinate.

    ``start`` and ``stop`` bound it, in s, in V or A of a sweep, or in Hz. An operating point has one value.
    """

    kind: Literal["max", "min", "mean", "final", "integral", "swing"]
    of: str
    start: Place | None = None
    stop: Place | None = None

    def vectors(self) -> tuple[str, ...]:
        """The vector."""
        return (self.of,)

    def dimension(self, known: Known) -> Dimension:
        """The vector's; of an integral, times that of the coordinate."""
        own = known.vector(self.of)
        return own * known.axis if self.kind == "integral" else own

    def evaluate(self, point: Point) -> float:
        """One value."""
        if not point.data.coords:
            if self.kind == "integral" or self.start is not None or self.stop is not None:
                raise InputError("an operating point has no window", remedy="leave start, stop and integral out")
            values = times = measure.vector(point.data, self.of).ravel()
        else:
            times, values = measure.window(point.data, self.of, start=self.start, stop=self.stop)
        if self.kind == "integral":
            return measure.integral(times, values)
        if self.kind == "mean":
            return measure.integral(times, values) / (times[-1] - times[0]) if times.size > 1 else float(values[0])
        if self.kind == "swing":
            return float(np.ptp(values))
        if self.kind == "final":
            return float(values[-1])
        return float(values.max() if self.kind == "max" else values.min())


class At(PointMeasure):
    """A vector, or its derivative, at one or several places of the analysis's coordinate: s, V or A of a sweep, Hz."""

    kind: Literal["at", "derivative"]
    of: str
    at: Place | tuple[Place, ...]

    def vectors(self) -> tuple[str, ...]:
        """The vector."""
        return (self.of,)

    def dimension(self, known: Known) -> Dimension:
        """The vector's; of a derivative, over that of the coordinate."""
        own = known.vector(self.of)
        return own / known.axis if self.kind == "derivative" else own

    def evaluate(self, point: Point) -> Array:
        """One value per place."""
        take = measure.derivative if self.kind == "derivative" else measure.sample
        return take(point.data, self.of, at=np.asarray(self.at, dtype=float))


class Crossing(PointMeasure):
    """The time (s) at which a vector crosses ``level`` for the ``number``-th time, counted from ``since``.

    Args:
        number: which crossing, from 1; -1 is the last.
        since: the time (s) that is zero for the measure.
    """

    kind: Literal["crossing"]
    of: str
    level: Level
    edge: Literal["rise", "fall", "either"] = "rise"
    number: int = 1
    after: Second = 0.0
    since: Second = 0.0

    def vectors(self) -> tuple[str, ...]:
        """The vector."""
        return (self.of,)

    def dimension(self, known: Known) -> Dimension:
        """The coordinate's."""
        return known.axis

    def evaluate(self, point: Point) -> float:
        """s."""
        if self.number == 0:
            raise InputError("crossings are counted from 1", remedy="write number = 1, or -1 for the last")
        times = measure.crossings(point.data, self.of, level=self.level, edge=self.edge)
        times = times[times >= self.after]
        if times.size < abs(self.number):
            raise InputError(
                f"{self.of} crosses {self.level:g} {times.size} times, not {abs(self.number)}",
                remedy="lower the level, or run longer",
            )
        return float(times[self.number - 1 if self.number > 0 else self.number]) - self.since


class Count(PointMeasure):
    """How often a vector crosses ``level``: spikes."""

    kind: Literal["count"]
    of: str
    level: Level
    edge: Literal["rise", "fall"] = "rise"
    start: Second = 0.0
    stop: Second | None = None

    def vectors(self) -> tuple[str, ...]:
        """The vector."""
        return (self.of,)

    def evaluate(self, point: Point) -> float:
        """A number of crossings."""
        times = measure.crossings(point.data, self.of, level=self.level, edge=self.edge)
        stop = np.inf if self.stop is None else self.stop
        return float(np.count_nonzero((times >= self.start) & (times <= stop)))


class Whole(PointMeasure):
    """The vector itself, at the engine's own points."""

    kind: Literal["vector"]
    of: str

    def vectors(self) -> tuple[str, ...]:
        """The vector."""
        return (self.of,)

    def dimension(self, known: Known) -> Dimension:
        """The vector's."""
        return known.vector(self.of)

    def evaluate(self, point: Point) -> Array:
        """(points of the engine,)."""
        return measure.vector(point.data, self.of)


class Quotient(DerivedMeasure):
    """One measure over another, or over a number.

    Args:
        by: the divisor: a measure, a parameter of the circuit, or a number with its unit: `"1 uA"`.
    """

    kind: Literal["quotient"]
    of: str
    by: str | float

    @pydantic.field_validator("by")
    @classmethod
    def _number(cls, by: str | float) -> str | float:
        """A name stays; the text of a quantity becomes its SI number."""
        return parse(by, si_unit(unit_in(by))) if isinstance(by, str) and not by[:1].isidentifier() else by

    def dimension(self, known: Known) -> Dimension:
        """That of the one over that of the other."""
        stated = self.units_of("by") if not isinstance(self.by, str) else []
        below = known.entry(self.by) if isinstance(self.by, str) else of_unit(stated[0] if stated else "1")
        return known.entry(self.of) / below

    def combine(self, found: Mapping[str, Array], coordinates: Mapping[str, Array]) -> Array:
        """Element by element."""
        below = np.asarray(self.by) if not isinstance(self.by, str) else self.take(self.by, found, coordinates)
        if np.any(below == 0.0):
            raise InputError(f"{self.by} is zero", remedy="divide by another measure")
        return self.take(self.of, found, coordinates) / below


class Linearity(DerivedMeasure):
    """R² of a straight line (through the origin where ``origin``) of ``of`` against the product of ``against``.

    Args:
        origin: whether the line goes through the origin.
    """

    kind: Literal["r-squared"]
    of: str
    against: tuple[str, ...]
    origin: bool = False

    def combine(self, found: Mapping[str, Array], coordinates: Mapping[str, Array]) -> float:
        """Dimensionless; 1 is a straight line."""
        y = self.take(self.of, found, coordinates)
        x = np.prod([self.take(name, found, coordinates) for name in self.against], axis=0)
        if x.shape != y.shape or x.size < 3:
            raise InputError(f"{self.of} has {y.size} values, {'·'.join(self.against)} has {x.size}")
        basis = x[:, None] if self.origin else np.stack([x, np.ones_like(x)], axis=1)
        residual = y - basis @ np.linalg.lstsq(basis, y, rcond=None)[0]
        return float(1.0 - np.sum(residual**2) / np.sum((y - y.mean()) ** 2))


class Span(DerivedMeasure):
    """The largest, smallest or mean of a measure over the points of a sweep, or last minus first."""

    kind: Literal["largest", "smallest", "average", "change"]
    of: str

    def dimension(self, known: Known) -> Dimension:
        """That of the measure."""
        return known.entry(self.of)

    def combine(self, found: Mapping[str, Array], coordinates: Mapping[str, Array]) -> float:
        """One value."""
        y = self.take(self.of, found, coordinates)
        if self.kind == "change":
            return float(y[-1] - y[0])
        if self.kind == "average":
            return float(y.mean())
        return float(y.max() if self.kind == "largest" else y.min())


KINDS: tuple[type[Kind], ...] = (
    ReadConductance, AfterPulse, PulseEnergy, SourceEnergy, Reduced, At, Crossing, Count, Whole,
    Quotient, Linearity, Span,
)  # fmt: skip
