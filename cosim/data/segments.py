"""Where a recording turns: sweeps of a voltage, ramps of a read; found from the noise of the column itself.

A turning point is an extreme that the column leaves by more than its noise and a share of its range (zigzag). The
shares are our choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import ndtri

from cosim.devices.base import Array

# A reversal smaller than this part of the range is a ripple of the same sweep.
RIPPLE = 0.05
# A sweep's steps are smaller than this part of its range; pulses of random amplitude jump.
SMOOTH = 0.15
# Chance that noise about a constant is taken for ramps, and the part of the range that a ramp goes at least.
CHANCE, SWING = 1e-3, 0.3
# Of fewer reads even a strict order may be chance.
ENOUGH = 12


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
    """Rows between two swings of ``y`` (n,) of more than ``least`` each, with the first and the last row."""
    found, high, low, rising = [0], 0, 0, 0
    for k in range(1, y.size):
        if y[k] > y[high]:
            high = k
        if y[k] < y[low]:
            low = k
        if rising >= 0 and y[high] - y[k] > least:
            if rising > 0:
                found.append(high)
            rising, low, high = -1, k, k
        elif rising <= 0 and y[k] - y[low] > least:
            if rising < 0:
                found.append(low)
            rising, high, low = 1, k, k
    return [*dict.fromkeys(found), y.size - 1] if found[-1] != y.size - 1 else found


def sweeps(v: Array) -> list[Segment]:
    """The sweeps of a voltage: stretches between its turning points."""
    span = float(np.ptp(v))
    return _segments(v, turning_points(v, RIPPLE * span)) if span else []


def ramps(y: Array) -> list[Segment]:
    """The stretches of a read that rise or fall: what trains of potentiation and depression leave.

    A turn is a swing that no two of n reads of a constant differ by through noise; where the reads between the turns
    do not follow their stretch either, the course has no turn: it is one stretch.
    """
    span = float(np.ptp(y))
    if not span:
        return []
    noise = noise_of(y)
    pairs = y.size * (y.size - 1)
    points = turning_points(y, max(math.sqrt(2.0) * noise * float(ndtri(1.0 - CHANCE / pairs)), SWING * span))
    # Where a course is flat its extreme is luck: the turn is the last row that is as good.
    for k in range(1, len(points) - 1):
        reach = y[points[k] : points[k + 1]]
        level = np.abs(reach - reach[0]) <= 3.0 * noise
        points[k] += int(np.flatnonzero(level)[-1]) if level.any() else 0
    found = _segments(y, points)
    return found if len(found) < 2 or follows(y, found) else _segments(y, [0, y.size - 1])


def follows(y: Array, found: Sequence[Segment]) -> bool:
    """Whether reads go the way of their stretches by more than chance: Kendall's S, summed over all of them.

    The ends of a stretch take no part: they were chosen for being extreme.
    """
    total = variance = 0.0
    for one in found:
        inner = y[one.start + 1 : min(one.stop, y.size - 1)]
        n = inner.size
        order = np.sign(inner[None, :] - inner[:, None])[np.triu_indices(n, 1)]
        total += float(order.sum()) * (1.0 if one.rising else -1.0)
        variance += n * (n - 1) * (2 * n + 5) / 18.0
    return total > float(ndtri(1.0 - CHANCE)) * math.sqrt(variance)


def _segments(y: Array, points: list[int]) -> list[Segment]:
    last = len(points) - 2
    return [Segment(a, b + (k == last), float(y[a]), float(y[b])) for k, (a, b) in enumerate(pairwise(points)) if b > a]


def is_flat(y: Array) -> bool:
    """Whether reads neither rise nor fall by more than chance; too few of them to tell are not flat."""
    known = y[np.isfinite(y)]
    up, down = (Segment(0, known.size, -sign, sign) for sign in (1.0, -1.0))
    return known.size >= ENOUGH and not follows(known, [up]) and not follows(known, [down])


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
