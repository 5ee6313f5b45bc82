"""Where a recording turns: sweeps of a voltage, ramps of a read; found from the noise of the column itself.

A turning point is an extreme that the column leaves by more than its noise and a share of its range (zigzag). The
shares are our choice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cosim.devices.base import Array

# A reversal smaller than this part of the range is a ripple of the same sweep.
RIPPLE = 0.05
# A sweep's steps are smaller than this part of its range; pulses of random amplitude jump.
SMOOTH = 0.15
# Standard deviations of its noise that a read has to turn by.
CLEAR = 5.0


@dataclass(frozen=True)
class Segment:
    """Rows ``start`` to ``stop`` (exclusive) along which a column goes from ``first`` to ``last``."""

    start: int
    stop: int
    first: float
    last: float

    @property
    def rising(self) -> bool:
        """Whether the column grows along it."""
        return self.last > self.first

    def __len__(self) -> int:
        return self.stop - self.start


def noise_of(y: Array) -> float:
    """Standard deviation of white noise on a smooth course, from second differences (median); 0 of fewer than 4."""
    if y.size < 4:
        return 0.0
    second = np.diff(y, 2)
    return float(1.4826 * np.median(np.abs(second - np.median(second))) / math.sqrt(6.0))


def turning_points(y: Array, least: float) -> list[int]:
    """Rows at which ``y`` (n,) turns by more than ``least``, with the first and the last row."""
    found, high, low, rising = [0], 0, 0, 0
    for k in range(1, y.size):
        if y[k] > y[high]:
            high = k
        if y[k] < y[low]:
            low = k
        if rising >= 0 and y[high] - y[k] > least:
            if rising > 0 or high > 0:
                found.append(high)
            rising, low, high = -1, k, k
        elif rising <= 0 and y[k] - y[low] > least:
            if rising < 0 or low > 0:
                found.append(low)
            rising, high, low = 1, k, k
    return [*dict.fromkeys(found), y.size - 1] if found[-1] != y.size - 1 else found


def sweeps(v: Array) -> list[Segment]:
    """The sweeps of a voltage: stretches between its turning points."""
    span = float(np.ptp(v))
    return _segments(v, turning_points(v, RIPPLE * span)) if span else []


def ramps(y: Array) -> list[Segment]:
    """The stretches of a read that rise or fall: what trains of potentiation and depression leave."""
    span = float(np.ptp(y))
    noise = noise_of(y)
    points = turning_points(y, max(CLEAR * noise, 0.3 * span))
    # Where a course is flat its extreme is luck: the turn is the last row that is as good.
    for k in range(1, len(points) - 1):
        reach = y[points[k] : points[k + 1]]
        level = np.abs(reach - reach[0]) <= 3.0 * noise
        points[k] += int(np.flatnonzero(level)[-1]) if level.any() else 0
    return _segments(y, points) if span else []


def _segments(y: Array, points: list[int]) -> list[Segment]:
    last = len(points) - 2
    return [Segment(a, b + (k == last), float(y[a]), float(y[b])) for k, (a, b) in enumerate(pairwise(points)) if b > a]


def is_swept(v: Array) -> bool:
    """Whether a voltage goes in small steps, most of them the way of the step before: a sweep, not pulses."""
    span = float(np.ptp(v))
    if v.size < 5 or span == 0.0:
        return False
    step = np.diff(v)
    moving = step[step != 0.0]
    if moving.size < 4 or float(np.quantile(np.abs(moving), 0.9)) > SMOOTH * span:
        return False
    return len(sweeps(v)) <= max(2, v.size // 8)


def is_stepped(v: Array) -> bool:
    """Whether a voltage rests on a few levels, in runs of several rows: pulses followed in time."""
    levels, counts = np.unique(np.round(v / (np.ptp(v) or 1.0), 2), return_counts=True)
    changes = int(np.count_nonzero(np.diff(v)))
    return levels.size <= 12 and changes < v.size // 3 and float(np.sort(counts)[::-1][:4].sum()) > 0.7 * v.size
