"""Rows that do not belong to a curve: a spike, a lost reading, a glitch of the instrument.

A row is an outlier where its residual exceeds what the noise of all other rows would give in one curve of a hundred
(Student's t of the residual over the median absolute deviation, for the number of rows). It is left out, named, and the
fit repeated until no row changes sides; a row that was left out comes back where the new fit agrees with it. Rows that
lie next to each other, in the order of measurement or of what was applied, more often than chance allows are not
outliers: there the law departs from the curve. Neither are they where they are more than a tenth of the rows. The
numbers are our choice. For noise with tails of Student's t with three degrees of freedom this is an estimator with hard
rejection, whose standard errors are 5 % too small.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import special

from cosim.data.recording import Curve
from cosim.devices.base import Array
from cosim.fitting.forward import Rows
from cosim.fitting.residuals import RESIDUALS_FOR_TESTS, Order

# Chance of an outlier in a curve that has none.
CHANCE = 0.01
# Chance of so many neighbours among outliers below which they are none.
CLUSTERED = 0.01
LARGEST_SHARE = 0.1
# Where too many rows are beyond, those go first that exceed this part of the largest.
LARGEST = 0.5
ROUNDS = 8
SHOWN = 8

Fit = TypeVar("Fit")


def beyond(residual: Array, kept: Rows, *, parameters: int, known: bool) -> Array:
    """How far each of all rows lies from the law over how far the noise allows; (n,): above 1 it is an outlier.

    Args:
        residual: (n,) in units of the noise, or of a common scale.
        kept: (n,) the rows that were fitted.
        parameters: how many the fit determined.
        known: whether the unit is a stated noise.
    """
    count = int(kept.sum())
    free = count - parameters
    if count < RESIDUALS_FOR_TESTS or free < parameters:
        return np.zeros(residual.size)
    away = np.median(np.abs(residual[kept] - np.median(residual[kept])))
    scale = float(away / special.ndtri(0.75)) * math.sqrt(count / free)
    limit = -float(special.stdtrit(free, 0.5 * CHANCE / count))
    return np.asarray(np.abs(residual) / (limit * max(scale, 1.0 if known else 1e-300)))


def scattered(rows: Rows, fitted: Rows, orders: tuple[Order, ...]) -> bool:
    """Whether outliers lie about as chance puts them, and are few."""
    count, total = int(rows.sum()), int(fitted.sum())
    if count > LARGEST_SHARE * total:
        return False
    for order in orders:
        inside = order.of(fitted)
        marked = rows[fitted][inside.index]
        pairs = int(np.count_nonzero(marked[1:] & marked[:-1] & (inside.group[1:] == inside.group[:-1])))
        if pairs and special.pdtrc(pairs - 1, count * (count - 1) / total) < CLUSTERED:
            return False
    return True


def without(
    fit: Fit,
    rows: Rows,
    *,
    excess: Callable[[Fit, Rows], Array],
    again: Callable[[Rows], Fit],
    orders: tuple[Order, ...],
) -> tuple[Fit, Rows]:
    """The fit without outliers, and which rows they are; the given one where there are none.

    Args:
        fit: of all ``rows`` (n,).
        excess: `beyond` (n,) of a fit of the rows that are given with it.
        again: the fit of other rows.
        orders: of all rows.
    """
    none = np.zeros(rows.size, dtype=bool)
    found, left = fit, none
    for _ in range(ROUNDS):
        size = np.where(rows, excess(found, rows & ~left), 0.0)
        new = size > 1.0
        if np.array_equal(new, left):
            return (found, left) if scattered(left, rows, orders) else (fit, none)
        if not scattered(new, rows, orders):  # a few may have led the fit astray from all others: they go first
            new &= size > LARGEST * size.max()
            if np.array_equal(new, left) or not scattered(new, rows, orders):
                return fit, none
        left = new
        found = again(rows & ~left) if left.any() else fit
    return fit, none


def sentence(left: Rows, curve: Curve, z: Array) -> str:
    """Which rows were left out, and how far they lie from the law; ``z`` (n,) in units of the noise."""
    numbers = np.asarray(curve.lines) if curve.lines else np.arange(1, len(curve) + 1)
    rows = np.flatnonzero(left)
    listed = ", ".join(str(number) for number in numbers[rows[:SHOWN]])
    more = f" and {rows.size - SHOWN} more" if rows.size > SHOWN else ""
    size, what = np.abs(z[rows]), "line" if curve.lines else "row"
    far, keep = "times the noise from the law", 'write noise.outliers = "keep" to fit'
    if rows.size == 1:
        one = f"1 of {len(curve)} values is an outlier ({what} {listed}; {_times(size[0])} {far})"
        return f"{one} and was left out; {keep} it"
    return (
        f"{rows.size} of {len(curve)} values are outliers ({what}s {listed}{more}; {_times(size.min())} to "
        f"{_times(size.max())} {far}) and were left out; {keep} them"
    )


def kept(numbers: NDArray[Any], curve: Curve) -> str:
    """Which rows lie as far from the law as outliers and were fitted; ``numbers`` of their lines or rows."""
    what = ("line" if curve.lines else "row") + "s" * (numbers.size > 1)
    more = f" and {numbers.size - SHOWN} more" if numbers.size > SHOWN else ""
    listed = ", ".join(str(number) for number in numbers[:SHOWN])
    lie = "lies further from the law than the noise allows and counts"
    if numbers.size > 1:
        lie = "lie further from the law than the noise allows and count"
    return f"{what} {listed}{more} {lie}"


def _times(size: float) -> str:
    return f"{size:.1f}" if size < 10.0 else f"{size:.0f}"
