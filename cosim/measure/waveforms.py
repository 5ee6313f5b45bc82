"""Measures of waveforms: plain functions of a dataset, its vectors and times. A measure that cannot be had raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cosim.devices.base import Array
from cosim.errors import InputError, UnknownName

if TYPE_CHECKING:
    import xarray

    from cosim.spice.stimuli import PulseTrain


def vector(data: xarray.Dataset, name: str) -> Array:
    """One saved vector, (n,), by its name in any case; of a small-signal analysis its magnitude; else `UnknownName`."""
    if name.lower() not in data:
        raise UnknownName("vector", name, [str(key) for key in data.data_vars])
    values = np.asarray(data[name.lower()].values)
    return np.asarray(np.abs(values) if np.iscomplexobj(values) else values, dtype=float)


def sample(data: xarray.Dataset, name: str, *, at: Array | float) -> Array:
    """A vector at times ``at`` (s), linear between points; raises where a time lies outside the run."""
    t = np.asarray(data["time"].values, dtype=float)
    times = np.asarray(at, dtype=float)
    slack = 1e-9 * max(t[-1] - t[0], 1e-30)
    if np.any(times < t[0] - slack) or np.any(times > t[-1] + slack):
        raise InputError(
            f"{name} is asked for at {times.max():g} s, the run ends at {t[-1]:g} s", remedy="measure within the run"
        )
    return np.asarray(np.interp(times, t, vector(data, name)), dtype=float)


def window(data: xarray.Dataset, name: str, *, start: float | None, stop: float | None) -> tuple[Array, Array]:
    """Times (s) and values of a vector between ``start`` and ``stop`` (s), both ends interpolated."""
    t = np.asarray(data["time"].values, dtype=float)
    y = vector(data, name)
    a, b = t[0] if start is None else start, t[-1] if stop is None else stop
    if not (t[0] <= a < b <= t[-1] * (1 + 1e-9)):
        raise InputError(f"window {a:g}..{b:g} s is not within the run {t[0]:g}..{t[-1]:g} s")
    inside = (t > a) & (t < b)
    times = np.concatenate([[a], t[inside], [b]])
    return times, np.interp(times, t, y)


def integral(times: Array, values: Array) -> float:
    """∫ values dt by the trapezoidal rule; unit of ``values`` times s."""
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
        raise InputError("this pulse train has no reads", remedy="give it a read_voltage")
    return -sample(data, current, at=train.read_times) / train.read_voltage


def crossings(data: xarray.Dataset, name: str, *, level: float, edge: str = "rise") -> Array:
    """(k,) s: where a vector crosses ``level``, linear between points; ``edge`` is "rise", "fall" or "either"."""
    t = np.asarray(data["time"].values, dtype=float)
    above = vector(data, name) > level
    y = vector(data, name)
    rising, falling = ~above[:-1] & above[1:], above[:-1] & ~above[1:]
    index = np.flatnonzero({"rise": rising, "fall": falling, "either": rising | falling}[edge])
    share = (level - y[index]) / (y[index + 1] - y[index])
    return np.asarray(t[index] + share * (t[index + 1] - t[index]))
