"""What an independent computation says about a measure of a shipped bench, and which limit follows from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Oracle:
    """A limit (SI) that follows from a computation.

    Args:
        low, high: the edges; None is open.
        share: the tolerance that the edges are made with, which the limit's reason has to name; None where both edges
            are computed, or the reason says in words what is between.
    """

    low: float | None
    high: float | None
    share: float | None = None


Oracles = dict[str, Oracle]
# By bench: all that its limits of origin "oracle" bound.
Table = dict[str, Callable[[], Oracles]]


def around(value: float, share: float, *, of: float | None = None) -> Oracle:
    """``value`` within ``share`` of it, or of ``of``."""
    margin = share * abs(value if of is None else of)
    return Oracle(value - margin, value + margin, share)


def between(low: float | None, high: float | None) -> Oracle:
    """Two computed edges."""
    return Oracle(low, high)
