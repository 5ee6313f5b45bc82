"""How densely a certificate's box was tested: the joint of states and inputs, not each range alone.

A point counts as tested where `LEAST_NEAR` held-out events lie in the cube around it that takes a twentieth of the box
(our choice). The coordinates are those in which the events were drawn uniformly: inputs by their own distribution
(`cosim.surrogate.trains.random_inputs`), states by their range. The cube's side grows with the number of fields as
0.05^(1/d), so that a fixed number of events tests a box of any dimension, the more coarsely the more fields it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.devices.maps import Field

NEAR = 0.05  # of the box
LEAST_NEAR = 5
KEPT = 1000  # points that a certificate carries at most
PROBES = 4096
STILL = 0.1  # the share of events between two thresholds
LOGARITHMIC = 100.0  # a positive range whose ends differ by more is drawn from by its logarithm


def drawn_share(entry: Field, span: tuple[float, float], x: Array) -> Array:
    """The share of drawn inputs below ``x``, of any shape: how `trains.random_inputs` draws from ``span``."""
    low, high = span
    if entry.still[0] < entry.still[1] and low < 0.0 < high:
        size, negative = np.abs(x), x < 0.0
        end, theta = np.where(negative, -low, high), np.where(negative, -entry.still[0], entry.still[1])
        inner = np.minimum(theta, end)
        beyond = np.clip((size - inner) / np.where(end > inner, end - inner, 1.0), 0.0, 1.0)
        within = STILL * np.clip(size / np.where(inner > 0.0, inner, 1.0), 0.0, 1.0)
        share = np.where(end > inner, within + (1.0 - STILL) * beyond, within / STILL)
        return np.asarray(np.where(negative, 0.5 - 0.5 * share, 0.5 + 0.5 * share))
    if low < 0.0 < high:
        share = np.where(x < 0.0, np.square(x / low), np.square(x / high))
        return np.asarray(np.clip(np.where(x < 0.0, 0.5 - 0.5 * share, 0.5 + 0.5 * share), 0.0, 1.0))
    if low > 0.0 and high > LOGARITHMIC * low:
        return np.asarray(np.log(np.maximum(x, low) / low) / np.log(high / low))
    return np.asarray((x - low) / (high - low) if high > low else np.full(np.shape(x), 0.5))


def near_enough(samples: Array, points: Array) -> NDArray[np.bool_]:
    """(m,) whether each of ``points`` (m, d) has enough of ``samples`` (n, d) near it; coordinates in [0, 1]."""
    if samples.shape[0] < LEAST_NEAR:
        return np.zeros(points.shape[0], dtype=bool)
    from scipy.spatial import cKDTree  # here, since what only simulates needs none of it

    reach = 0.5 * NEAR ** (1.0 / samples.shape[1])
    distance = np.asarray(cKDTree(samples).query(points, k=[LEAST_NEAR], p=np.inf)[0])
    return np.asarray(distance[:, 0] <= reach)


def covered_share(samples: Array, *, levels: Mapping[int, int] = MappingProxyType({})) -> float:
    """The share of the unit box that ``samples`` (n, d) test, on points of a fixed low-discrepancy sequence.

    ``levels``: how many a column has that takes no other values.
    """
    from scipy.stats import qmc

    points = qmc.Sobol(samples.shape[1], scramble=False).random(PROBES)
    for column, count in levels.items():
        points[:, column] = np.floor(count * points[:, column]) / max(count - 1, 1)
    return float(np.mean(near_enough(samples, points)))
