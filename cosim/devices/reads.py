"""Start values from the curve itself, so that an extraction does not depend on what its user guessed.

The methods are our choice. Of a pulse train the reads give range and initial state, and a threshold is where, with
growing amplitude, the reads begin to move. Slopes and non-linearities are not looked for here; the fit tries several.

Of a loop, `slopes` follows the state as far as the voltage shows it, and `speed` is what a drive has to be multiplied
with to move the state over its range; the voltage at which a conductance begins to move is a threshold (`from_loop`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array

# Neighbours in amplitude that vote together on whether the state moves.
WINDOW = 9
SIGNIFICANT = 4.0
TRIM = 0.01
# Part of the largest squared voltage above which a stretch of a loop shows the state.
SHOWN = 0.1
# Part of a state's way on one side of a loop after which it counts as moving, and of the range below which it is noise
# (our choice).
MOVED, SMALL_WAY = 0.1, 0.1


def threshold(amplitude: Array, change: Array) -> float:
    """The smallest amplitude (> 0) at which ``change`` departs from zero; amplitude (n,) V, change (n,).

    Means over `WINDOW` neighbours in amplitude are held against the scatter of the lowest third, where little moves. A
    start that is too low is harmless, because every pulse above it still tells the fit where to go; one that is too
    high leaves nothing to fit. Where nothing stands out, it is the median amplitude.
    """
    order = np.argsort(amplitude, kind="stable")
    v, d = amplitude[order], change[order]
    window = min(WINDOW, max(1, v.size // 4))
    mean = np.convolve(d, np.full(window, 1.0 / window), mode="valid")
    centre = np.convolve(v, np.full(window, 1.0 / window), mode="valid")
    quiet = d[: max(window, v.size // 3)]
    scatter = 1.4826 * float(np.median(np.abs(quiet - np.median(quiet))))
    moving = np.flatnonzero(np.abs(mean) > SIGNIFICANT * scatter / np.sqrt(window))
    return float(centre[moving[0]] if moving.size else np.median(v))


def from_pulse_train(amplitude: Array, read: Array, rows: NDArray[np.bool_]) -> dict[str, float]:
    """Start values for a threshold memristor or its cell; amplitude (n,) V, read (n,) S, ``rows`` that count (n,)."""
    low, high = (float(q) for q in np.quantile(read[rows], [TRIM, 1.0 - TRIM]))
    span = high - low
    change = np.diff(read, prepend=read[0])
    g_max = high + 0.1 * span
    g_min = max(low - 0.1 * span, 0.05 * high)
    start = {
        "g_max": g_max,
        "ratio": max(g_max / g_min, 1.01),
        "w0": float(np.clip((np.mean(read[rows][:2]) - g_min) / (g_max - g_min), 0.02, 0.98)),
    }
    for suffix, sign in (("p", -1.0), ("n", 1.0)):
        pulses = (sign * amplitude > 0.0) & rows
        pulses[1:] &= rows[:-1]
        pulses[0] = False  # what was read before the first pulse is not known
        if pulses.sum() >= 4:
            start[f"theta_{suffix}"] = threshold(sign * amplitude[pulses], change[pulses])
    return start


def slopes(v: Array, current: Array) -> tuple[Array, Array]:
    """Conductances (S), each of a short stretch of a loop that has a voltage, in order of time, and their voltages (V).

    ``v``, ``current`` (n,) of the rows; a stretch is a hundredth of them, at least five.
    """
    window = np.ones(max(5, v.size // 100))
    squares, products = (np.convolve(column, window, mode="valid") for column in (v * v, v * current))
    shown = squares > SHOWN * squares.max()
    return products[shown] / squares[shown], np.convolve(v, window / window.size, mode="valid")[shown]


def speed(t: Array, drive: Array) -> float:
    """What ``drive`` (n,) >= 0 (1/s) has to be multiplied with to move a state over its range.

    It does so in the mean of the times at which it is driven, and not only in all of them; ``t`` (n,) s.
    """
    total = float(np.sum(0.5 * (drive[1:] + drive[:-1]) * np.diff(t)))
    times = 1 + np.count_nonzero(np.diff((drive > 0.0).astype(int)) > 0)
    return float(times / total) if total > 0.0 else 1.0


def from_loop(t: Array, v: Array, current: Array, *, event: float) -> dict[str, float]:
    """Start values for a threshold memristor from a loop; ``t`` s, ``v`` V, ``current`` A (n,), ``event`` s.

    A threshold is the voltage at which the conductance has gone the first `MOVED` of its way on that side. The slope
    above it is that with which the state goes over its range in the time that was left, of events of this length.
    """
    seen, at = slopes(v, current)
    low, high = (float(q) for q in np.quantile(seen, [0.02, 0.98]))
    g_max, g_min = high, max(low, 1e-3 * high)
    if not 0.0 < g_min < g_max:
        return {}
    first = (float(np.median(seen[:3])) - g_min) / (g_max - g_min)
    start = {"g_max": g_max, "ratio": max(g_max / g_min, 1.01), "w0": float(np.clip(first, 0.02, 0.98))}
    for suffix, sign in (("p", -1.0), ("n", 1.0)):
        side, driven = sign * at > 0.0, sign * v > 0.0
        if np.count_nonzero(side) < 2 or not driven.any():
            continue
        # A negative voltage raises the conductance.
        way = -sign * seen[side]
        whole = float(np.ptp(way))
        moved = (
            np.flatnonzero(way - way[0] > MOVED * whole) if whole > SMALL_WAY * (g_max - g_min) else np.zeros(0, int)
        )
        top = float(np.max(sign * v))
        theta = float(sign * at[side][moved[0]]) if moved.size else top  # beyond what was applied, where nothing moves
        start[f"theta_{suffix}"] = theta = min(theta, top) if moved.size else 1.05 * top
        beyond = np.maximum(sign * v - theta, 0.0) / event
        if moved.size and beyond.any():
            start[f"alpha_{suffix}"] = speed(t, beyond)
    return start
