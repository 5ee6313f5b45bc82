"""Measures of spike-timing-dependent plasticity: ΔG = (G1 − G0)/G0 against the delay, its peaks, windows and actions.

Source of the actions: P. Maier et al., J. Appl. Phys. 120, 134503 (2016), Eqs. 7, 8 and Table 2, with delays in ms and
actions S clipped at zero: ΔG = F (1 − exp(−S_d)) where the dots discharge, ΔG = exp(−S_c) − 1 where they charge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from cosim.bench.measures import waveforms as measure
from cosim.bench.measures.dimensions import Dimension, Known
from cosim.bench.measures.kinds import DerivedMeasure, Kind, Point, PointMeasure
from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.schema import Second, Table


def change_by_action(
    delays: Array, *, discharge: Array, charge: Array, factor: float, between: tuple[float, float]
) -> Array:
    """ΔG (n,) at ``delays`` (n,) ms by pulse actions.

    Args:
        delays: postsynaptic minus presynaptic time, ms.
        discharge: coefficients of S_d in ascending powers of the delay; empty: no discharge.
        charge: those of S_c.
        factor: AB/(A + ρ) of Eq. 7, with n0.
        between: the delays (ms) between which the dots discharge.
    """
    t = np.asarray(delays, dtype=float)

    def action(coefficients: Array) -> Array:
        total: Array = np.maximum(np.polynomial.polynomial.polyval(t, [*coefficients, 0.0]), 0.0)
        return total

    inside = (t > between[0]) & (t < between[1])
    changed: Array = np.where(inside, -factor * np.expm1(-action(discharge)), np.expm1(-action(charge)))
    return changed


def delay_at(delays: Array, change: Array, level: float, *, last: bool = False) -> float:
    """The first (or last) delay at which ``change`` crosses ``level``, linear between points; raises `InputError`."""
    beyond = change >= level if level > 0.0 else change <= level
    if not np.any(beyond):
        raise InputError(f"the change never reaches {level:g}", remedy="lower the level")
    index = int(np.flatnonzero(beyond)[-1 if last else 0])
    neighbour = index + (1 if last else -1)
    if not 0 <= neighbour < delays.size:
        return float(delays[index])
    share = (level - change[neighbour]) / (change[index] - change[neighbour])
    return float(delays[neighbour] + share * (delays[index] - delays[neighbour]))


def numbered(pattern: str, count: int) -> tuple[str, ...]:
    """``pattern`` with 00, 01, ... where it has ``{}``."""
    return tuple(pattern.replace("{}", f"{number:02d}") for number in range(count))


class Delays(Table):
    """``count`` delays from ``first`` to ``last``, equally spaced.

    Args:
        first, last: delays.
        count: how many, both ends included.
    """

    first: Second
    last: Second
    count: int = Field(gt=1, le=10_000)

    def values(self) -> Array:
        """(count,) s."""
        return np.linspace(self.first, self.last, self.count)


class StdpCurve(PointMeasure):
    """ΔG of devices that differ in their delay: currents read ``before`` and ``after`` at the same voltage.

    ``current`` is the vector of one device, with ``{}`` where its number stands, in two digits from 00.

    Args:
        voltage: over what conducts, where that is not the whole of the device; default: the same in both reads.
        before, after: times of the two reads.
    """

    kind: Literal["stdp-curve"]
    current: str
    voltage: str | None = None
    count: int = Field(gt=0, le=100)
    before: Second
    after: Second

    def vectors(self) -> tuple[str, ...]:
        """The current of every device, and the voltages."""
        over = () if self.voltage is None else numbered(self.voltage, self.count)
        return (*numbered(self.current, self.count), *over)

    def evaluate(self, point: Point) -> Array:
        """(count,) ΔG."""
        at = np.array([self.before, self.after])
        reads = np.array([measure.sample(point.data, name, at=at) for name in self.vectors()])
        reads, over = reads[: self.count], reads[self.count :]
        if np.any(reads[:, 0] == 0.0):
            raise InputError("a device carries no current before its pulses", remedy="read within the read pulse")
        if np.any(over == 0.0):
            raise InputError(f"{self.voltage} is zero in a read", remedy="read within the read pulse")
        reads = reads / over if over.size else reads
        return np.asarray(reads[:, 1] / reads[:, 0] - 1.0)


class RowConductance(PointMeasure):
    """The conductance of each of a row of devices at one time.

    ``current`` is as in `StdpCurve`, and so is ``voltage`` where it has ``{}``; else it lies over all of them.
    """

    kind: Literal["row-conductance"]
    current: str
    voltage: str
    count: int = Field(gt=0, le=100)
    at: Second

    def vectors(self) -> tuple[str, ...]:
        """The voltage, or those of every device, and the current of every device."""
        over = numbered(self.voltage, self.count) if "{}" in self.voltage else (self.voltage,)
        return (*over, *numbered(self.current, self.count))

    def dimension(self, known: Known) -> Dimension:
        """Current over voltage."""
        return known.vector(self.vectors()[-1]) / known.vector(self.vectors()[0])

    def evaluate(self, point: Point) -> Array:
        """(count,) S."""
        found = np.array([float(measure.sample(point.data, name, at=self.at)) for name in self.vectors()])
        v, i = found[: -self.count], found[-self.count :]
        if np.any(v == 0.0):
            raise InputError(f"{self.voltage} is zero at {self.at:g} s", remedy="measure within a read pulse")
        return np.asarray(i / v)


class _OfCurve(DerivedMeasure):
    """What every measure of an STDP curve has.

    Args:
        delays: of the devices, in their order.
    """

    of: str
    delays: Delays

    def curve(self, found: Mapping[str, Array], coordinates: Mapping[str, Array]) -> tuple[Array, Array]:
        change = self.take(self.of, found, coordinates)
        if change.size != self.delays.count:
            raise InputError(f"{self.of} has {change.size} values for {self.delays.count} delays")
        return self.delays.values(), change


class StdpPeak(_OfCurve):
    """The delay (s) of the largest or smallest ΔG."""

    kind: Literal["stdp-max-delay", "stdp-min-delay"]

    def dimension(self, known: Known) -> Dimension:
        """A delay."""
        return Dimension(("s",))

    def combine(self, found: Mapping[str, Array], coordinates: Mapping[str, Array]) -> float:
        """s."""
        delays, change = self.curve(found, coordinates)
        return float(delays[np.argmax(change) if self.kind == "stdp-max-delay" else np.argmin(change)])


class StdpWindow(_OfCurve):
    """Where the window opens or closes: the first or last delay (s) at which ΔG is beyond ``level``.

    Args:
        level: the change that counts as one.
    """

    kind: Literal["stdp-window-opens", "stdp-window-closes"]
    level: float

    def dimension(self, known: Known) -> Dimension:
        """A delay."""
        return Dimension(("s",))

    def combine(self, found: Mapping[str, Array], coordinates: Mapping[str, Array]) -> float:
        """s."""
        delays, change = self.curve(found, coordinates)
        return delay_at(delays, change, self.level, last=self.kind == "stdp-window-closes")


class StdpAt(_OfCurve):
    """ΔG at one ``delay`` (s), which has to be within the curve's; linear between its points."""

    kind: Literal["stdp-at"]
    delay: Second

    def combine(self, found: Mapping[str, Array], coordinates: Mapping[str, Array]) -> float:
        """Dimensionless."""
        delays, change = self.curve(found, coordinates)
        if not delays[0] <= self.delay <= delays[-1]:
            raise InputError(f"delay = {self.delay:g} s is outside the curve's {delays[0]:g} .. {delays[-1]:g} s")
        return float(np.interp(self.delay, delays, change))


class StdpDistance(_OfCurve):
    """Root mean square of ΔG minus `change_by_action`; ``between`` in s, coefficients in powers of ms.

    Args:
        discharge, charge: coefficients of the published curve.
        between: delays between which the dots discharge; elsewhere they charge. All delays are compared.
        factor: of the drive.
    """

    kind: Literal["stdp-distance"]
    discharge: tuple[float, ...] = ()
    charge: tuple[float, ...] = ()
    between: tuple[Second, Second] = (0.0, 0.0)
    factor: float = 3.0

    def combine(self, found: Mapping[str, Array], coordinates: Mapping[str, Array]) -> float:
        """Dimensionless."""
        delays, change = self.curve(found, coordinates)
        wanted = change_by_action(
            delays * 1e3,
            discharge=np.array(self.discharge),
            charge=np.array(self.charge),
            factor=self.factor,
            between=(self.between[0] * 1e3, self.between[1] * 1e3),
        )
        return float(np.sqrt(np.mean((change - wanted) ** 2)))


class LevelRatio(DerivedMeasure):
    """The smallest ratio of neighbouring values, in order of size: how far apart programmed levels are."""

    kind: Literal["level-ratio"]
    of: str

    def combine(self, found: Mapping[str, Array], coordinates: Mapping[str, Array]) -> float:
        """Dimensionless, at least 1."""
        values = np.sort(self.take(self.of, found, coordinates))
        if values.size < 2 or values[0] <= 0.0:
            raise InputError(f"{self.of} needs at least two positive levels")
        return float(np.min(values[1:] / values[:-1]))


KINDS: tuple[type[Kind], ...] = (StdpCurve, RowConductance, StdpPeak, StdpWindow, StdpAt, StdpDistance, LevelRatio)
