"""What designers measure of amplifiers, filters and edges: times, overshoot, distortion, gains and margins; arithmetic.

Of a step the levels are the first and the last value in the window, unless they are given. Frequencies between points
are interpolated in their logarithm.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import pydantic

from cosim.bench.measures import waveforms as measure
from cosim.bench.measures.dimensions import PLAIN, UNKNOWN, UNSAID, Dimension, Known, total
from cosim.bench.measures.kinds import DerivedMeasure, Kind, Level, Place, Point, PointMeasure
from cosim.devices.base import Array
from cosim.errors import InputError, UnknownName
from cosim.language.expressions import VERILOG_LEVELS, Cursor, Dialect, Expr, ExpressionParser, Unreadable, evaluate
from cosim.language.va_tokens import number, scan
from cosim.schema import Hertz

_SAMPLES = 8192  # of a period whose harmonics are taken
FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "abs": abs, "min": min, "max": max, "sqrt": math.sqrt, "exp": math.exp, "ln": math.log, "log10": math.log10,
    "db": lambda x: 20.0 * math.log10(abs(x)), "pow": math.pow, "sin": math.sin, "cos": math.cos, "atan": math.atan,
}  # fmt: skip


class Rms(PointMeasure):
    """The root of the mean square of a vector over the analysis's coordinate."""

    kind: Literal["rms"]
    of: str
    start: Place | None = None
    stop: Place | None = None

    def vectors(self) -> tuple[str, ...]:
        """The vector."""
        return (self.of,)

    def dimension(self, known: Known) -> Dimension:
        """The vector's."""
        return known.vector(self.of)

    def evaluate(self, point: Point) -> float:
        """One value."""
        t, y = measure.window(point.data, self.of, start=self.start, stop=self.stop)
        square = np.sum(np.diff(t) * (y[1:] ** 2 + y[1:] * y[:-1] + y[:-1] ** 2)) / 3.0  # exact between points
        return float(np.sqrt(square / (t[-1] - t[0])))


class Step(PointMeasure):
    """What a step has: its levels.

    Args:
        base: the level before the step; default: the first value in the window.
        top: the level after it; default: the last value in the window.
    """

    of: str
    start: Place | None = None
    stop: Place | None = None
    base: Level | None = None
    top: Level | None = None

    def vectors(self) -> tuple[str, ...]:
        """The vector."""
        return (self.of,)

    def _step(self, point: Point) -> tuple[Array, Array, float, float]:
        """Times and values of the window, and both levels; raises `InputError` for a vector that makes no step."""
        t, y = measure.window(point.data, self.of, start=self.start, stop=self.stop)
        base = float(y[0]) if self.base is None else self.base
        top = float(y[-1]) if self.top is None else self.top
        if base == top:
            raise InputError(f"{self.of} ends where it begins, at {base:g}", remedy="give base and top")
        return t, y, base, top


class Edge(Step):
    """The time of an edge between two shares of its step, and the slope there (per s).

    Args:
        low, high: the shares of the step between which the edge is timed.
    """

    kind: Literal["rise-time", "fall-time", "slew-rate"]
    low: float = pydantic.Field(default=0.1, ge=0.0, lt=1.0)
    high: float = pydantic.Field(default=0.9, gt=0.0, le=1.0)

    def dimension(self, known: Known) -> Dimension:
        """The coordinate's; of the slope, the vector's per coordinate."""
        return known.vector(self.of) / known.axis if self.kind == "slew-rate" else known.axis

    def evaluate(self, point: Point) -> float:
        """One value."""
        t, y, base, top = self._step(point)
        if self.low >= self.high:
            raise InputError(f"low {self.low:g} is not below high {self.high:g}", remedy="write low = 0.1, high = 0.9")
        if (self.kind == "rise-time" and top < base) or (self.kind == "fall-time" and top > base):
            raise InputError(f"{self.of} goes from {base:g} to {top:g}", remedy="take the other edge")
        share = (y - base) / (top - base)
        if share[0] > self.low:
            raise InputError(
                f"{self.of} is at {share[0]:.0%} of its step where the window begins, past {self.low:.0%}",
                remedy="begin earlier",
            )
        first = _reached(share, self.low, 0)
        last = None if first is None else _reached(share, self.high, first)
        if first is None or last is None:
            raise InputError(f"{self.of} does not go from {self.low:.0%} to {self.high:.0%} of its step")
        begin, end = _crossing(t, share, self.low, first), _crossing(t, share, self.high, last)
        if self.kind == "slew-rate":
            return (self.high - self.low) * (top - base) / (end - begin)
        return end - begin


def _reached(share: Array, level: float, since: int) -> int | None:
    """The first point from ``since`` on where ``share`` has reached ``level``; None where it does not."""
    k = since + int(np.argmax(share[since:] >= level))
    return k if share[k] >= level else None


def _crossing(t: Array, share: Array, level: float, k: int) -> float:
    """When ``share`` crossed ``level``, on the straight line that ends in point ``k``."""
    if k == 0:
        return float(t[0])
    return float(t[k - 1] + (level - share[k - 1]) / (share[k] - share[k - 1]) * (t[k] - t[k - 1]))


class Overshoot(Step):
    """How far a vector goes beyond the end of its step, as a share of the step; 0 where it does not."""

    kind: Literal["overshoot"]

    def evaluate(self, point: Point) -> float:
        """A share: 0.1 is 10 %."""
        _, y, base, top = self._step(point)
        return max(0.0, float(np.max((y - top) / (top - base))))


class Settling(Step):
    """The time from the window's start after which a vector stays within ``within`` of its step around its end.

    Args:
        within: a share of the step.
    """

    kind: Literal["settling-time"]
    within: float = pydantic.Field(default=0.01, gt=0.0)

    def dimension(self, known: Known) -> Dimension:
        """The coordinate's."""
        return known.axis

    def evaluate(self, point: Point) -> float:
        """One value."""
        t, y, base, top = self._step(point)
        off = np.abs(y - top) / abs(top - base)
        outside = np.flatnonzero(off > self.within)
        if not outside.size:
            return 0.0
        k = int(outside[-1])
        if k + 1 == t.size:
            raise InputError(f"{self.of} is {off[k]:.2%} of its step away at the end", remedy="run longer")
        return float(t[k] + (off[k] - self.within) / (off[k] - off[k + 1]) * (t[k + 1] - t[k]) - t[0])


class Distortion(PointMeasure):
    """The total harmonic distortion over the last period of ``frequency``: harmonics from the second on, by the first.

    Args:
        frequency: of the first harmonic.
        harmonics: how many are taken, the first among them.
    """

    kind: Literal["thd"]
    of: str
    frequency: Hertz
    harmonics: int = pydantic.Field(default=9, ge=2, le=1000)

    def vectors(self) -> tuple[str, ...]:
        """The vector."""
        return (self.of,)

    def evaluate(self, point: Point) -> float:
        """A share: 0.01 is 1 %."""
        end, period = float(measure.axis(point.data)[-1]), 1.0 / self.frequency
        t = end - period + period * np.arange(_SAMPLES) / _SAMPLES
        found = np.abs(np.fft.rfft(measure.sample(point.data, self.of, at=t)))[1 : self.harmonics + 1]
        if found[0] == 0.0:
            raise InputError(f"{self.of} has nothing at {self.frequency:g} Hz", remedy="give the input's frequency")
        return float(np.sqrt(np.sum(found[1:] ** 2)) / found[0])


class Response(PointMeasure):
    """Of a small-signal response: its bandwidth, and where its magnitude is 1 (both Hz); 180 degrees and the phase
    there (degrees); how far the gain is below 1 where the phase is -180 degrees (dB).

    A bandwidth ends where the magnitude has fallen by ``drop``. A gain that is level and inverted at the lowest
    frequency is turned round before its phase counts, as that of a loop from its inverting input.

    Args:
        drop: of the bandwidth, in dB.
        band: "low", from the lowest frequency up; "high", from the highest one down, which gives the lower corner;
            "band", from the peak to both sides, which gives the distance of the corners.
    """

    kind: Literal["bandwidth", "unity-gain", "phase-margin", "gain-margin"]
    of: str
    drop: float = pydantic.Field(default=float(10.0 * np.log10(2.0)), gt=0.0)
    band: Literal["low", "high", "band"] = "low"

    def vectors(self) -> tuple[str, ...]:
        """The vector."""
        return (self.of,)

    def dimension(self, known: Known) -> Dimension:
        """Hz, or none."""
        return known.axis if self.kind in ("bandwidth", "unity-gain") else PLAIN

    def evaluate(self, point: Point) -> float:
        """One value."""
        frequency = np.log10(measure.axis(point.data))
        gain, phase = measure.vector(point.data, f"db({self.of})"), measure.vector(point.data, f"ph({self.of})")
        if self.kind == "bandwidth":
            return self._bandwidth(frequency, gain)
        phase = phase - _origin(frequency, gain, float(phase[0]))
        if self.kind == "gain-margin":
            return -float(np.interp(self._where(frequency, phase + 180.0, "reaches -180 degrees"), frequency, gain))
        at = self._where(frequency, gain, "falls to a gain of 1")
        return float(10.0**at) if self.kind == "unity-gain" else 180.0 + float(np.interp(at, frequency, phase))

    def _bandwidth(self, frequency: Array, gain: Array) -> float:
        start = {"low": 0, "high": gain.size - 1, "band": int(np.argmax(gain))}[self.band]
        left = gain - gain[start] + self.drop
        up, down = slice(start, None), slice(start, None, -1)
        what = f"falls by {self.drop:.3g} dB"
        upper = 10.0 ** self._where(frequency[up], left[up], f"{what} above") if self.band != "high" else 0.0
        lower = 10.0 ** self._where(frequency[down], left[down], f"{what} below") if self.band != "low" else 0.0
        return float(abs(upper - lower))

    def _where(self, x: Array, y: Array, what: str) -> float:
        """Where ``y`` first falls through zero."""
        index = np.flatnonzero((y[:-1] > 0.0) & (y[1:] <= 0.0))
        if not index.size:
            raise InputError(f"{self.of} nowhere {what}", remedy="sweep to other frequencies")
        k = int(index[0])
        return float(x[k] + y[k] / (y[k] - y[k + 1]) * (x[k + 1] - x[k]))


_DOUBT = 45.0  # degrees, our choice: half of the way to where both signs would be as near


def _origin(frequency: Array, gain: Array, first: float) -> float:
    """What the phase is counted from, a multiple of 180 degrees, as a phase alone is known up to whole turns.

    The phase where the sweep begins is what the gain's slope makes of it, 90 degrees per 20 dB per decade (Bode), from
    0 or, inverted, from 180. ``frequency`` is in decades, ``gain`` in dB, ``first`` in degrees.
    """
    beyond = first - 4.5 * float((gain[1] - gain[0]) / (frequency[1] - frequency[0]))
    found = 180.0 * round(beyond / 180.0)
    if abs(beyond - found) > _DOUBT:
        raise InputError(
            f"whether the loop is inverted cannot be told where the sweep begins: a phase of {first:.0f} degrees does"
            " not go with the slope of the gain there",
            remedy="begin the sweep at a lower frequency, where the gain is level",
        )
    return found


class IntegratedNoise(PointMeasure):
    """The root of the integral of a spectrum's square from ``start`` to ``stop``: the noise in a band, V or A.

    Between points the density is a power of the frequency, which is exact for white and for flicker noise.
    """

    kind: Literal["integrated-noise"]
    of: str
    start: Hertz | None = None
    stop: Hertz | None = None

    def vectors(self) -> tuple[str, ...]:
        """The spectrum."""
        return (self.of,)

    def dimension(self, known: Known) -> Dimension:
        """That of the noise's total over all frequencies."""
        return known.vector(self.of.lower().replace("_spectrum", "_total"))

    def evaluate(self, point: Point) -> float:
        """One value."""
        f, density = measure.axis(point.data), measure.vector(point.data, self.of)
        low, high = f[0] if self.start is None else self.start, f[-1] if self.stop is None else self.stop
        if not f[0] * (1 - 1e-9) <= low < high <= f[-1] * (1 + 1e-9):
            raise InputError(f"the band {low:g}..{high:g} Hz is not within the run {f[0]:g}..{f[-1]:g} Hz")
        if np.any(density <= 0.0):
            raise InputError(f"{self.of} is not positive everywhere", remedy="take a spectrum")
        x = np.log(np.concatenate([[low], f[(f > low) & (f < high)], [high]]))
        y = 2.0 * np.interp(x, np.log(f), np.log(density)) + x  # ln(f S^2), whose integral over ln f is wanted
        rise = np.diff(y)
        mean = np.where(np.abs(rise) < 1e-9, 1.0, np.expm1(rise) / np.where(rise == 0.0, 1.0, rise))
        return float(np.sqrt(np.sum(np.exp(y[:-1]) * mean * np.diff(x))))


_ROOT = re.compile(r"re\((pole|zero)\((\d+)\)\)")


class Roots(PointMeasure):
    """Of ``pz``: the natural frequencies of all poles or zeros (Hz), in rising order, or the largest real part of a
    pole (1/s), which is negative where the circuit is stable.
    """

    kind: Literal["pole-frequencies", "zero-frequencies", "rightmost-pole"]

    def dimension(self, known: Known) -> Dimension:
        """Hz."""
        del known
        return Dimension(("Hz",))

    def evaluate(self, point: Point) -> Array | float:
        """(poles,) or one value."""
        wanted = "zero" if self.kind == "zero-frequencies" else "pole"
        found = [match for name in point.data.data_vars if (match := _ROOT.fullmatch(str(name)))]
        names = [match[2] for match in found if match[1] == wanted]
        if not names:
            raise InputError(f"the transfer function has no {wanted}", remedy="take this measure out")
        real, imaginary = (
            np.array([float(point.data[f"{part}({wanted}({name}))"]) for name in names]) for part in ("re", "im")
        )
        if self.kind == "rightmost-pole":
            return float(real.max())
        return np.sort(np.hypot(real, imaginary)) / (2.0 * np.pi)


class Expression(DerivedMeasure):
    """Arithmetic on other measures and the circuit's parameters: `"(high - low)/vdd"`, with abs, min, max, sqrt, exp,
    ln, log10, db, pow, sin, cos, atan. A measure of one value goes with each of the others.

    Args:
        value: the expression; numbers in it are SI, with a suffix as in `1k`.
    """

    kind: Literal["expression"]
    value: str

    def _tree(self) -> Expr:
        cursor = Cursor(scan(self.value).tokens)
        try:
            found = ExpressionParser(VERILOG_LEVELS, number).parse(cursor)
        except Unreadable as reason:
            raise InputError(f"{self.value!r} is not an expression: {reason.message}") from None
        if cursor.here.kind != "end":
            raise InputError(f"{self.value!r} is not an expression: {cursor.here.text!r} follows its end")
        return found

    def dimension(self, known: Known) -> Dimension:
        """As far as it is built of products, quotients and sums."""

        def of(node: Expr) -> Dimension:
            if node.op == "number":
                return UNSAID
            if node.op == "name":
                return known.entry(node.name)
            if node.op in ("u-", "u+") or (node.op == "call" and node.name in ("abs", "min", "max")):
                return total([of(arg) for arg in node.args])
            if node.op in ("*", "/"):
                return of(node.args[0]) * of(node.args[1]) if node.op == "*" else of(node.args[0]) / of(node.args[1])
            return of(node.args[0]) + of(node.args[1]) if node.op in ("+", "-") else UNKNOWN

        return of(self._tree())

    def combine(self, found: Mapping[str, Array], coordinates: Mapping[str, Array]) -> Array:
        """Element by element."""
        tree = self._tree()
        taken = {name: self.take(name, found, coordinates) for name in sorted(tree.names())}
        length = max((values.size for values in taken.values()), default=1)
        if odd := [name for name, values in taken.items() if values.size not in (1, length)]:
            raise InputError(f"{odd[0]} has {taken[odd[0]].size} values, where another measure has {length}")
        dialect = Dialect(FUNCTIONS, math.pow, caret_is_power=True)
        return np.array([self._at(tree, taken, k, dialect) for k in range(length)])

    def _at(self, tree: Expr, taken: Mapping[str, Array], k: int, dialect: Dialect) -> float:
        def lookup(node: Expr) -> float:
            if node.name not in taken:
                raise UnknownName("measure or parameter", node.name, taken)
            values = taken[node.name]
            return float(values[k if values.size > 1 else 0])

        try:
            value = evaluate(tree, lookup, lambda node: None, dialect)
        except Unreadable as reason:
            raise InputError(f"{self.value!r}: {reason.message}") from None
        except TypeError:
            raise InputError(f"{self.value!r} calls a function with the wrong number of arguments") from None
        except (ValueError, OverflowError, ZeroDivisionError):
            value = np.nan
        if not np.isfinite(value):
            raise InputError(f"{self.value!r} is not finite here")
        return float(value)


KINDS: tuple[type[Kind], ...] = (
    Rms, Edge, Overshoot, Settling, Distortion, Response, IntegratedNoise, Roots, Expression,
)  # fmt: skip
