"""The filter of `cosim.fitting.process` as scalar functions: compiled where numba is there, Python's elsewhere.

One step of a filter is a few numbers, for which the calls of numpy take a hundred times as long as the arithmetic. A
train that is compiled (`cosim.emit.numba_train`) is followed here from read to read as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from itertools import count
from typing import Any

import numpy as np

from cosim.devices.base import Array

# A width below this counts as zero.
NARROW = 1e-9
# A process that has filtered so many trains has spent on them what compiling costs, and compiles it.
MANY = 500
_filtered = count()
# Beyond so many σ the tail of a normal distribution is taken from its series, before it is too small for a float.
FAR = -35.0


def moved_to_bounds(mean: float, width: float) -> tuple[float, float, float]:
    """Mean and variance of a normal variable whose values below 0 are moved to 0, and those above 1 to 1; its share
    between them, which is the derivative of the mean by ``mean``.
    """
    s = max(width, NARROW)
    low, high = (0.0 - mean) / s, (1.0 - mean) / s
    below, above = 0.5 * math.erfc(-low / math.sqrt(2.0)), 0.5 * math.erfc(high / math.sqrt(2.0))
    within = 0.5 * math.erfc(-high / math.sqrt(2.0)) - below
    first = math.exp(-0.5 * low * low) / math.sqrt(2.0 * math.pi)
    last = math.exp(-0.5 * high * high) / math.sqrt(2.0 * math.pi)
    centre = mean * within + s * (first - last) + above
    square = (
        s * s * (within + low * first - high * last)
        + below * mean * mean
        + above * (1.0 - mean) * (1.0 - mean)
        - (centre - mean) * (centre - mean)  # all about ``mean``, for precision where the width is small
    )
    return centre, max(square, 0.0), within


def beyond_limit(z: float) -> float:
    """φ(z)/Φ(z), as `cosim.fitting.plateau.hazard`."""
    if z < FAR:
        return -z - 1.0 / z + 2.0 / z**3 - 10.0 / z**5
    return math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi) / (0.5 * math.erfc(-z / math.sqrt(2.0)))


def _variances(moved: Any, hazard: Any) -> Callable[..., None]:
    def variances(
        after: Array, slope: Array, process: Array, read: Array, own: Array, beyond: Array, used: Any, found: Array
    ) -> None:
        left = 0.0  # of the state's variance after the last read
        for k in range(after.size):
            width = math.sqrt(slope[k] * left + process[k])
            state = moved(after[k], width)[1]
            variance = read[k] * read[k] * state + own[k]
            gain = read[k] * state / variance if used[k] else 0.0
            known = 1.0
            if not math.isnan(beyond[k]):  # how much less a limit determines than a read does
                z = beyond[k] / math.sqrt(variance)
                rate = hazard(z)
                known = rate * (rate + z)
            left = max(1.0 - known * gain * read[k], 0.0) * state
            found[0, k], found[1, k], found[2, k] = variance, gain, width

    return variances


def variances(*columns: Any) -> Array:
    """Variance of each innovation, gain of each read and width of the state before it; (3, n).

    Args:
        columns: (n,) each: state after the pulse, squares of its slope and of its step's deviation, slope of the read,
            square of the read's deviation, how far beyond its limit the prediction is (NaN: not clipped), whether used.
    """
    found = np.empty((3, columns[0].size))
    if next(_filtered) < MANY or find_spec("numba") is None:
        _variances(moved_to_bounds, beyond_limit)(*columns, found)
    else:
        _compiled_variances()(*columns, found)
    return found


@cache
def _compiled_variances() -> Callable[..., None]:
    compile_, (moved, hazard) = _njit(), _scalars()
    made: Callable[..., None] = compile_(_variances(moved, hazard))
    return made


def _njit() -> Any:
    import numba

    return numba.njit(error_model="numpy")


@cache
def _scalars() -> tuple[Any, Any]:
    compile_ = _njit()
    return compile_(moved_to_bounds), compile_(beyond_limit)


@cache
def loops(negative: Any, positive: Any, look: Any) -> tuple[Callable[..., None], Callable[..., None]]:
    """A train whose state is corrected by each read: of its compiled functions, without and with derivatives."""
    compile_, (moved, hazard) = _njit(), _scalars()

    @compile_  # type: ignore[untyped-decorator]
    def reads(
        v: Array, w: float, q: Array,
        gain: Array, read: Array, side: Array, sigma: Array, width: Array, found: Array,
    ) -> None:  # fmt: skip
        span, seen = look(0.0, 1.0, q) - look(0.0, 0.0, q), 0.0
        for k in range(v.size):
            error = read[k] - seen
            if side[k] != 0:
                error = side[k] * sigma[k] * hazard(-side[k] * error / sigma[k])
            w = min(max(w + gain[k] * error / span, 0.0), 1.0)
            w = negative(v[k], w, q) if v[k] < 0.0 else positive(v[k], w, q)
            w = moved(w, width[k])[0]
            seen = look(v[k], w, q)
            found[k] = seen

    @compile_  # type: ignore[untyped-decorator]
    def linearised(
        v: Array, w: float, q: Array, initial: int,
        gain: Array, read: Array, side: Array, sigma: Array, width: Array, found: Array, slopes: Array,
    ) -> None:  # fmt: skip
        of_state, of_read, slope, of_span = np.zeros(q.size), np.zeros(q.size), np.empty(q.size + 1), np.empty(q.size)
        of_state[initial] = 1.0
        span, seen = look(0.0, 1.0, q, slope), 0.0
        of_span[:] = slope[1:]
        span -= look(0.0, 0.0, q, slope)
        of_span -= slope[1:]
        for k in range(v.size):
            error, known = read[k] - seen, 1.0
            if side[k] != 0:
                z = -side[k] * error / sigma[k]
                rate = hazard(z)
                error, known = side[k] * sigma[k] * rate, rate * (rate + z)
            corrected = w + gain[k] * error / span
            w = min(max(corrected, 0.0), 1.0)
            for i in range(q.size):
                of_state[i] -= gain[k] / span * (known * of_read[i] + error / span * of_span[i])
                if w != corrected:
                    of_state[i] = 0.0
            w = negative(v[k], w, q, slope) if v[k] < 0.0 else positive(v[k], w, q, slope)
            w, _, within = moved(w, width[k])
            for i in range(q.size):
                of_state[i] = within * (slope[0] * of_state[i] + slope[i + 1])
            seen = look(v[k], w, q, slope)
            found[k] = seen
            for i in range(q.size):
                of_read[i] = slope[0] * of_state[i] + slope[i + 1]
                slopes[i, k] = of_read[i]

    return reads, linearised
