"""Measures of waveforms: plain functions of a dataset, its vectors and times. They raise where there is no value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from cosim.devices.base import Array
from cosim.errors import InputError, UnknownName

if TYPE_CHECKING:
    import xarray

    from cosim.bench.stimuli import PulseTrain


# vdb(out), ip(v1), db(v(out)): decibels, degrees, real and imaginary part, magnitude
_PART = re.compile(
    r"(?:(?P<of>[vi])(?P<short>db|p|r|i|m)|(?P<part>db|ph|rad|re|im|mag))\((?P<inner>.*)\)", re.IGNORECASE
)
_DIFFERENCE = re.compile(r"v\(\s*([^(),\s]+)\s*,\s*([^(),\s]+)\s*\)", re.IGNORECASE)
_GROUNDS = ("0", "gnd")
_SHORT = {"db": "db", "p": "ph", "r": "re", "i": "im", "m": "mag"}


def part(name: str) -> tuple[str, str]:
    """What is taken of a vector, "" for all of it, and the vector: ``vdb(out)`` is "db" of ``v(out)``."""
    match = _PART.fullmatch(name.strip())
    if match is None:
        return "", name
    if match["part"]:
        return match["part"].lower(), match["inner"]
    return _SHORT[match["short"].lower()], f"{match['of']}({match['inner']})"


def needed(name: str) -> tuple[str, ...]:
    """The vectors of a run, lower case, that a name is made of: ``vdb(a,b)`` of ``v(a)`` and ``v(b)``."""
    of = part(name)[1].lower()
    pair = _DIFFERENCE.fullmatch(of)
    return (of,) if pair is None else tuple(f"v({node})" for node in pair.groups() if node not in _GROUNDS)


def vector(data: xarray.Dataset, name: str) -> Array:
    """One saved vector, (n,), by its name in any case; of a small-signal analysis its magnitude; else `UnknownName`.

    ``vdb(out)`` and ``vp(out)`` (or ``db(v(out))``, ``ph(v(out))``) are dB and degrees, the phase without jumps;
    ``rad(v(out))`` is the phase from -pi to pi, as ngspice's ``.meas`` has it; ``vr``, ``vi`` and ``vm`` (``re``,
    ``im``, ``mag``) are the parts of a complex vector; ``v(a,b)`` is the difference of two nodes.
    """
    taken, of = ("", name) if name.lower() in data else part(name)
    pair = _DIFFERENCE.fullmatch(of) if of.lower() not in data else None
    ends = [f"v({node.lower()})" for node in pair.groups()] if pair is not None else [of.lower()]
    if lacks := next((end for end in ends if end not in data and end[2:-1] not in _GROUNDS), None):
        raise UnknownName("vector", of if pair is None else lacks, [str(key) for key in data.data_vars])
    first, *second = (data[end].values if end in data else 0.0 for end in ends)
    values = np.asarray(first - second[0] if second else first)
    if taken == "db":
        if np.any(values == 0.0):
            raise InputError(f"{of} is zero somewhere, which has no decibels", remedy="take its magnitude")
        values = 20.0 * np.log10(np.abs(values))
    elif taken == "ph":
        values = np.degrees(np.unwrap(np.angle(values)))
    elif taken == "rad":
        values = np.angle(values)
    elif taken in ("re", "im"):
        values = np.real(values) if taken == "re" else np.imag(values)
    return np.asarray(np.abs(values) if np.iscomplexobj(values) else values, dtype=float)


def axis(data: xarray.Dataset) -> Array:
    """The coordinate of an analysis, (n,): ``time`` in s, ``sweep`` in V or A, ``frequency`` in Hz; op has none."""
    name = next((str(key) for key in data.coords), None)
    if name is None:
        raise InputError("an operating point has neither time nor sweep", remedy="take 'final', or another analysis")
    return np.asarray(data[name].values, dtype=float)


def sample(data: xarray.Dataset, name: str, *, at: Array | float) -> Array:
    """A vector where the analysis's coordinate is ``at``, linear between points; raises outside the run."""
    t, y = _rising(data, name)
    return np.asarray(np.interp(_within(t, name, at), t, y), dtype=float)


def derivative(data: xarray.Dataset, name: str, *, at: Array | float) -> Array:
    """Its derivative there: the slope of each step, linear between the middles of the steps."""
    t, y = _rising(data, name)
    kept = np.concatenate([[True], np.diff(t) > 0.0])
    if np.count_nonzero(kept) < 2:
        raise InputError(f"{name} has one point, and no derivative", remedy="sweep over more points")
    t, y = t[kept], y[kept]
    return np.asarray(np.interp(_within(t, name, at), 0.5 * (t[1:] + t[:-1]), np.diff(y) / np.diff(t)), dtype=float)


def _rising(data: xarray.Dataset, name: str) -> tuple[Array, Array]:
    """Coordinate and vector, a sweep downwards turned round."""
    t, y = axis(data), vector(data, name)
    return (t[::-1], y[::-1]) if t.size > 1 and t[0] > t[-1] else (t, y)


def _within(t: Array, name: str, at: Array | float) -> Array:
    """``at``; raises outside the run."""
    times = np.asarray(at, dtype=float)
    slack = 1e-9 * max(t[-1] - t[0], 1e-30)
    if np.any(times < t[0] - slack) or np.any(times > t[-1] + slack):
        raise InputError(
            f"{name} is asked for at {times.max():g}, the run goes from {t[0]:g} to {t[-1]:g}",
            remedy="measure within the run",
        )
    return times


def window(data: xarray.Dataset, name: str, *, start: float | None, stop: float | None) -> tuple[Array, Array]:
    """Coordinate and values of a vector between ``start`` and ``stop``, both ends interpolated."""
    t, y = _rising(data, name)
    a, b = t[0] if start is None else start, t[-1] if stop is None else stop
    slack = 1e-9 * (t[-1] - t[0])
    if not (t[0] - slack <= a < b <= t[-1] + slack):
        raise InputError(f"window {a:g}..{b:g} is not within the run {t[0]:g}..{t[-1]:g}")
    inside = (t > a) & (t < b)
    times = np.concatenate([[a], t[inside], [b]])
    return times, np.interp(times, t, y)


def integral(times: Array, values: Array) -> float:
    """∫ values over the coordinate by the trapezoidal rule; unit of ``values`` times that of ``times``."""
    return float(np.trapezoid(values, times))


def energy(data: xarray.Dataset, voltage: str, current: str, *, starts: Array, stops: Array) -> Array:
    """(n,) J: energy delivered by a source between each start and stop (s).

    ``current`` is SPICE's current *into* the source's positive node, so that power delivered is −v·i.
    """
    t = np.asarray(data["time"].values, dtype=float)
    power = -vector(data, voltage) * vector(data, current)
    total = np.concatenate([[0.0], np.cumsum(0.5 * (power[1:] + power[:-1]) * np.diff(t))])
    # between points the integral of a linear power is quadratic; edges of windows lie on breakpoints, where it is exact
    return np.asarray(np.interp(stops, t, total) - np.interp(starts, t, total))


def read_conductance(data: xarray.Dataset, current: str, *, train: PulseTrain) -> Array:
    """(n,) S: what an instrument reads after each pulse of ``train``; ``current`` flows into the drive's source."""
    if not train.read_voltage:
        raise InputError("the pulse train has no reads", remedy="give it a read_voltage")
    return -sample(data, current, at=train.read_times) / train.read_voltage


def crossings(data: xarray.Dataset, name: str, *, level: float, edge: str = "rise") -> Array:
    """(k,) s: where a vector crosses ``level``, linear between points; ``edge`` is "rise", "fall" or "either"."""
    t = axis(data)
    above = vector(data, name) > level
    y = vector(data, name)
    rising, falling = ~above[:-1] & above[1:], above[:-1] & ~above[1:]
    index = np.flatnonzero({"rise": rising, "fall": falling, "either": rising | falling}[edge])
    share = (level - y[index]) / (y[index + 1] - y[index])
    return np.asarray(t[index] + share * (t[index + 1] - t[index]))
