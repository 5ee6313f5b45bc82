"""The tables of a fit recipe: where a fit starts, what varies, its noise, held-out rows, choices of the law."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cosim import units
from cosim.data.recording import Curve
from cosim.data.spec import Quantities
from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.fitting.methods import LEAST_SQUARES, Method
from cosim.fitting.priors import PriorSpec
from cosim.schema import Table

# Noise that is a share of the law's value is at least that share of this part of the reading: where a law gives zero, a
# row would weigh without limit (our choice; noise of less than the reading itself does not reach it).
LEAST = 0.1


class StartSpec(Table):
    """Values before the fit: published or extracted sets, single values over them, and what the curve itself shows.

    Without ``sets`` a parameter starts at the device's default. What is not in ``fit.vary`` is held at its value here;
    the result lists it (``held``).

    Args:
        sets: parameter sets, later ones win: a name, or a file from the recipe's folder.
        values: of single parameters, over the sets'; a plain number is SI.
        from_data: whether what the curve shows (range, threshold) is read off it before the fit.
    """

    sets: tuple[str, ...] = ()
    values: Quantities = Field(default_factory=dict)
    from_data: bool = True


class FitSpec(Table):
    """Which parameters vary, and within which bounds; the others keep their start values.

    Args:
        vary: the parameters that the fit may change.
        bounds: lower and upper, by parameter; default: the device's. A plain number is SI.
        priors: what is known of a parameter beforehand, each counted as an observation.
        method: how the minimum is looked for: ``least_squares`` (from several starts), or any method of lmfit, such as
            ``differential_evolution``, ``basinhopping`` or ``nelder``, or ``cma``; least squares go on from there.
            ``nearest``: the start is where a search has been, and no other minimum is looked for.
        undetermined: parameters that are held though the curve does not determine them: no other is called determined
            that owes it to them.
    """

    vary: tuple[str, ...] = Field(min_length=1)
    bounds: dict[str, tuple[str | float, str | float]] = Field(default_factory=dict)
    priors: dict[str, PriorSpec] = Field(default_factory=dict)
    method: Method = LEAST_SQUARES
    undetermined: tuple[str, ...] = ()


class NoiseSpec(Table):
    """What is known about the noise of one read; the parts add in quadrature. Empty: estimated from the residuals.

    Args:
        sigma: standard deviation of a read, with a unit.
        of_range: as a share of the curve's range.
        relative: as a share of the value that the law gives: fit and weights take turns until both stay.
        step: standard deviation of a step from pulse to pulse (cycle to cycle), as a share of the step; ``"fit"``: the
            steps vary, and by how much is fitted; 0: they do not. By default it is fitted where the residuals of a
            pulse train are not noise, and the parameters are then conditional on it. Not beside priors.
        correlation: of the noise of rows that follow each other, from -1 to 1; ``"fit"``: it is fitted; 0: there is
            none. By default it is fitted where the residuals show structure in time and none along what was applied,
            and the parameters are then conditional on it. Not beside priors.
        outliers: ``"leave out"`` the rows that lie further from the law than the noise of the others allows, and name
            them; or ``"keep"`` them.
    """

    sigma: str | float | None = None
    of_range: float | None = Field(default=None, gt=0)
    relative: float | None = Field(default=None, gt=0)
    step: Literal["fit"] | Annotated[float, Field(ge=0)] | None = None
    correlation: Literal["fit"] | Annotated[float, Field(gt=-1, lt=1)] | None = None
    outliers: Literal["keep", "leave out"] = "leave out"

    def per_point(self, curve: Curve, predicted: Array | None = None) -> Array | None:
        """Standard deviation of each measured value (n,) in the column's unit; None: not known.

        ``predicted``: (n,) by the law, of which ``relative`` is a share; without it, of what was measured. Weights of
        measured values favour the rows that came out small: they are for a first fit alone.
        """
        y = curve.measured
        variance = np.zeros(y.size)
        if self.sigma is not None:
            sigma = units.parse(self.sigma, curve.measured_unit)
            if sigma <= 0.0:
                raise InputError(f"noise.sigma = {self.sigma} is not positive", remedy="give a standard deviation")
            variance += sigma**2
        if self.of_range is not None:
            variance += (self.of_range * float(np.ptp(y))) ** 2
        if self.relative is not None:
            size = np.abs(y) if predicted is None else np.maximum(np.abs(predicted), LEAST * np.abs(y))
            variance += (self.relative * size) ** 2
        if not variance.any():
            return None
        if not variance.all():
            raise InputError("the noise of a point is zero", remedy="add sigma or of_range to noise.relative")
        return np.asarray(np.sqrt(variance), dtype=float)

    def weights(self, curve: Curve) -> Callable[[Array], Array] | None:
        """`per_point` as a function of the law's values (n,), where it hangs on them; else None."""
        if self.relative is None:
            return None

        def sigma(predicted: Array) -> Array:
            found = self.per_point(curve, predicted)
            assert found is not None  # a share of the value is stated
            return found

        return sigma


class HeldOut(Table):
    """The part of the curve that the fit does not see.

    ``last``: the last ``fraction`` of the rows (a forecast). ``blocks``: every ``every``-th block of ``length`` rows
    (an interpolation). ``ramps``: every ``every``-th ramp (a new ramp of the same device). ``points``: every
    ``every``-th row. ``none``.

    Args:
        rule: which rows.
        fraction: of ``last``.
        every: of ``blocks``, ``ramps``, ``points``: 4 is each fourth.
        length: of a block, in rows.
    """

    rule: Literal["last", "blocks", "ramps", "points", "none"] = "none"
    fraction: float = Field(default=0.2, gt=0, lt=1)
    every: int = Field(default=4, ge=2)
    length: int = Field(default=50, ge=1)

    def rows(self, curve: Curve) -> NDArray[np.bool_]:
        """True where a row is held out; (n,)."""
        n = len(curve)
        if self.rule == "none":
            return np.zeros(n, dtype=bool)
        if self.rule == "last":
            return np.asarray(np.arange(n) >= n - max(1, round(self.fraction * n)))
        return np.asarray(self._groups(curve) % self.every == self.every // 2)

    def folds(self, curve: Curve, count: int) -> list[NDArray[np.bool_]]:
        """The rule again, within a curve that is left of it: ``count`` masks (n,) for cross-validation."""
        if self.rule == "last":
            return [self.rows(curve)]
        if self.rule == "none":
            raise InputError("candidates are compared on held-out rows", remedy="write a [held_out] rule")
        number = np.unique(self._groups(curve), return_inverse=True)[1]
        return [np.asarray(number % count == phase) for phase in range(count)]

    def _groups(self, curve: Curve) -> NDArray[np.int64]:
        """The number of the ramp, block or row that is held out as a whole; (n,)."""
        index = np.arange(len(curve))
        if self.rule == "ramps":
            if curve.kind != "equal pulses":
                raise InputError(f"held_out.rule = 'ramps' with a curve of kind {curve.kind!r}", remedy="take 'blocks'")
            return np.unique(curve["ramp"], return_inverse=True)[1].astype(np.int64)
        if self.rule == "blocks":
            index = index if curve.kind != "equal pulses" else curve["pulse"].astype(np.int64)
            return np.asarray(index // self.length, dtype=np.int64)
        return index


class RampLaw(Table):
    """Choices for ramps of equal pulses (`ramps.RampForward`).

    Args:
        course: whether the step shrinks or grows along a ramp.
        start: where the model begins a ramp.
    """

    course: Literal["saturating", "accelerating"] = "saturating"
    start: Literal["first read", "shared", "shifted"] = "first read"


class Candidate(RampLaw):
    """One of several choices, of which cross-validation on the training part keeps the best.

    Args:
        title: what it is called in tables.
        vary: as in ``fit``.
        values: as in ``start``.
    """

    title: str
    vary: tuple[str, ...] = Field(min_length=1)
    values: Quantities = Field(default_factory=dict)
