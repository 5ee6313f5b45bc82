"""Compliance: measured values that an instrument held at its limit.

A source-measure unit at its compliance, an amplifier or a converter at the end of its range give the same number again
and again. Such a row says only that the true value is at least the limit (at most, for a lower limit): it is
censored, not measured. What counts as a plateau is our choice: three equal values at an end of the range, and three
times as many as any value between the ends has, which a quantised or noise-free curve does not show. Equal minima near
zero are an off state that the instrument cannot resolve, not a limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cosim import units
from cosim.data.recording import Curve
from cosim.data.select import REACHED, limit_of
from cosim.devices.base import Array
from cosim.errors import InputError

EQUAL = 3
# Below this part of the largest value a lower plateau is the off state.
FLOOR = 0.01
# An instrument overshoots its limit now and then; where most values lie further above it, it is not the limit.
BEYOND = 1.05
SHOWN = 8


@dataclass(frozen=True)
class Plateau:
    """Rows at a limit: ``side`` (n,) is +1 where the true value is at least the measured one, −1 at most, 0 elsewhere.

    ``stated``: whether the recipe gave the limit.
    """

    side: NDArray[np.int64]
    stated: bool

    @property
    def rows(self) -> NDArray[np.bool_]:
        """True where a row is at a limit; (n,)."""
        return np.asarray(self.side != 0)

    def sentence(self, curve: Curve) -> str:
        """How many rows, which, and how they were taken."""
        numbers = np.asarray(curve.lines) if curve.lines else np.arange(1, len(curve) + 1)
        what = "lines" if curve.lines else "rows"
        found = []
        for side, bound, end in ((1, "at least", "largest"), (-1, "at most", "smallest")):
            rows = np.flatnonzero(self.side == side)
            if rows.size:
                value = units.show(float(curve.measured[rows[0]]), curve.measured_unit.replace("1", ""), digits=4)
                listed = ", ".join(str(number) for number in numbers[rows[:SHOWN]])
                more = f" and {rows.size - SHOWN} more" if rows.size > SHOWN else ""
                kind = "are at the stated compliance" if self.stated else f"equal {value}, the {end} of the curve"
                found.append(
                    f"{rows.size} values {kind} ({what} {listed}{more}): taken as clipped, the true value {bound} that"
                )
        advice = "" if self.stated else '; write data.compliance = "none" where the device itself stops there'
        return "; ".join(found) + advice


def stated(curve: Curve, compliance: str | float | None) -> Plateau | None:
    """The rows at the limit that the recipe states; None without one.

    Raises `InputError` where no row reaches it, or most that do exceed it; `UnitError`.
    """
    if compliance is None or compliance == "none":
        return None
    limit = limit_of(curve, compliance)
    y = curve.measured
    side = np.where(y >= REACHED * limit, 1, np.where(y <= -REACHED * limit, -1, 0))
    if limit <= 0.0 or not side.any():
        raise InputError(
            f"no value reaches data.compliance = {compliance} (the largest is {np.abs(y).max():g} "
            f"{curve.measured_unit})",
            remedy="correct it, or leave it out",
        )
    size = np.abs(y[side != 0])
    if np.median(size) > BEYOND * limit:
        raise InputError(
            f"{size.size} values reach data.compliance = {compliance}, and most of them exceed it (the largest is "
            f"{size.max():g} {curve.measured_unit})",
            remedy="correct it, or leave it out",
        )
    return Plateau(side, stated=True)


def found(curve: Curve) -> Plateau | None:
    """The rows of equal values at the ends of the range, as an instrument's limit gives them (module docstring)."""
    y = curve.measured
    values, counts = np.unique(y, return_counts=True)
    if values.size < EQUAL:
        return None
    needed = EQUAL * max(1, int(counts[1:-1].max()))
    side = np.zeros(y.size, dtype=np.int64)
    largest = float(np.abs(values[[0, -1]]).max())
    for end, sign in ((-1, 1), (0, -1)):
        rows = y == values[end]
        applied = curve["voltage"] if "voltage" in curve.columns else np.arange(y.size)
        repeats = np.unique(applied[rows]).size < EQUAL
        off = abs(float(values[end])) <= FLOOR * largest
        if counts[end] >= needed and not repeats and not off:
            side[rows] = sign
    return Plateau(side, stated=False) if side.any() else None


def most_likely(residual: Array, side: NDArray[np.int64]) -> tuple[Array, Array]:
    """Of censored rows: signed √(−2 ln Φ), whose square is the likelihood's part, and its derivative by the residual.

    Args:
        residual: (n,) (prediction − limit)/σ.
        side: (n,) ±1.
    """
    from scipy.special import log_ndtr

    z = side * residual
    size = np.sqrt(-2.0 * log_ndtr(z))
    slope = np.divide(hazard(z), size, out=np.zeros_like(size), where=size > 0.0)
    return np.asarray(-side * size), np.asarray(slope)


def hazard(z: Array) -> Array:
    """φ(z)/Φ(z): by how many σ the mean of values beyond a limit exceeds a prediction that is z σ beyond it."""
    from scipy.special import log_ndtr

    return np.asarray(np.exp(-0.5 * z**2 - 0.5 * math.log(2.0 * math.pi) - log_ndtr(z)))
