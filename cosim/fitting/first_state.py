"""Which first states a train whose steps vary allows: their likelihood, from the distribution of the state itself.

The filter of `process` takes the state for normally distributed. About the first one it then errs: a strong pulse whose
step varies leads to a bound with a probability of its own, and reads that show a state at its bound seem far likelier
after a first state from which hardly a step was left than after one from which a large step ended there. Here the
distribution of the state is carried along on equidistant points, the two bounds among them (a point-mass filter:
Bucy & Senne, Automatica 7, 287 (1971)), until it does not show any more where it began.

The other parameters stay where they are: what the whole train says of them leaves less doubt than one varying step. (It
is our choice, and not right where a train is so short that they are as uncertain.)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import ndtr

from cosim.devices.base import Array

# First states that are tried; the ends of an interval lie between them, on a straight line.
STARTS = 201
CELLS = 100, 300
# Two beliefs are alike where no more than this part of them differs; a start that is so much less likely is left out.
FORGOTTEN, UNLIKELY = 1e-3, 20.0
# A level of 99.9 % over one of 95 %, in standard deviations (our choice).
SURE = 3.29 / 1.96


def cells(width: float) -> int:
    """How many cells show a state that one read tells to within ``width`` (standard deviation)."""
    return int(np.clip(2.0 / max(width, 1e-9), *CELLS))


def spread(mean: Array, width: Array, nodes: Array) -> Array:
    """How normal variables (m,), moved to 0 and 1 where they are beyond, lie on equidistant ``nodes`` (c,) from 0 to 1.

    Each value is divided between its two neighbours so that its mean stays: steps below a cell are not lost. (m, c).
    """
    width = np.maximum(width, 1e-9)[:, None]
    away = mean[:, None] - nodes
    beyond = width * np.exp(-0.5 * (away / width) ** 2) / math.sqrt(2.0 * math.pi) + away * ndtr(away / width)
    fallen = -np.diff(beyond, axis=1) / nodes[1]  # of the mean, between nodes
    ends = np.ones((mean.size, 1)), np.zeros((mean.size, 1))
    return np.maximum(-np.diff(np.concatenate([ends[0], fallen, ends[1]], axis=1), axis=1), 0.0)


def log_likelihood(
    starts: Array, after: Callable[[int, Array], Array], read: Callable[[int, Array], Array], *,
    pulses: int, variation: float, count: int,
) -> Array:  # fmt: skip
    """ln of the reads' likelihood after each of the first states ``starts`` (m,), up to a constant; (m,).

    A start that cannot lead to the reads has −inf; so have all where none can.

    Args:
        starts: within 0 and 1.
        after: the states (c,) after pulse k from states (c,), without variation.
        read: ln of the likelihood (c,) of read k in states (c,).
        pulses: of the train.
        variation: standard deviation of a step over the step.
        count: of cells.
    """
    nodes = np.linspace(0.0, 1.0, count + 1)

    def moved(k: int, w: Array) -> Array:
        mean = after(k, w)
        return spread(mean, variation * np.abs(mean - w), nodes)

    belief, found = np.empty(0), np.zeros(starts.size)
    with np.errstate(divide="ignore"):
        for k in range(pulses):
            height = read(k, nodes)
            belief = (moved(k, starts) if k == 0 else belief @ moved(k, nodes)) * np.exp(height - height.max())
            total = belief.sum(axis=1)
            found += np.log(total)
            if not np.isfinite(found).any():
                break
            belief /= np.where(total > 0.0, total, 1.0)[:, None]
            likely = belief[found > found.max() - UNLIKELY]
            if 0.5 * np.abs(likely - likely[0]).sum(axis=1).max() < FORGOTTEN:
                break
    return found


def limits(starts: Array, found: Array, height: float) -> tuple[float, float]:
    """The ends between which −2 ln of a likelihood lies within ``height``² of its least value.

    An end is infinite where it stays there up to the bound.

    ``starts`` (m,) rise from bound to bound, ``found`` (m,) as `log_likelihood` gives it.
    """
    with np.errstate(invalid="ignore"):
        excess = np.minimum(2.0 * (found.max() - found), 1e6) - height**2
    inside = np.flatnonzero(excess <= 0.0)
    first, last = int(inside[0]), int(inside[-1])

    def between(a: int, b: int) -> float:
        return float(starts[a] + (starts[b] - starts[a]) * excess[a] / (excess[a] - excess[b]))

    low = -math.inf if first == 0 else between(first - 1, first)
    return low, math.inf if last == starts.size - 1 else between(last, last + 1)
