"""A weighted least-squares problem, solved with lmfit's Levenberg–Marquardt and the forward model's own derivatives."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import lmfit
import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array, Values
from cosim.errors import FitError
from cosim.fitting.forward import Forward

TOLERANCE = 1e-12
EVALUATIONS = 200  # a fit that is not done by then oscillates between local minima or runs off to a bound
Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Minimum:
    """Where a minimisation ended.

    Args:
        p: all parameters, varied and fixed.
        chi_square: sum of the squared weighted residuals.
        evaluations: of the model.
        converged: whether the optimiser's own criteria were met.
        message: the optimiser's.
    """

    p: Values
    chi_square: float
    evaluations: int
    converged: bool
    message: str


@dataclass(frozen=True)
class Problem:
    """Which parameters of a forward model are to be found from which rows.

    Args:
        forward: the model of the curve.
        measured: (n,) what was measured.
        sigma: (n,) standard deviation of each value, or a common scale where it is not known.
        rows: (n,) true where a row takes part.
        names: of the k parameters that vary.
        bounds: of each of them; the search does not leave them.
    """

    forward: Forward
    measured: Array
    sigma: Array
    rows: NDArray[np.bool_]
    names: tuple[str, ...]
    bounds: Mapping[str, tuple[float, float]]

    @property
    def points(self) -> int:
        """Number of rows that take part."""
        return int(self.rows.sum())

    def residual(self, p: Values) -> Array:
        """(prediction − measurement) / sigma of the rows that take part."""
        return np.asarray(((self.forward.predict(p) - self.measured) / self.sigma)[self.rows])

    def jacobian(self, p: Values, names: Sequence[str] | None = None) -> Array:
        """Derivatives of `residual` by each parameter; (k, rows)."""
        wanted = self.names if names is None else tuple(names)
        return np.asarray((self.forward.linearise(p, wanted)[1] / self.sigma)[:, self.rows])

    def chi_square(self, p: Values) -> float:
        """Sum of the squared residuals; infinite where the model is."""
        residual = self.residual(p)
        return float(residual @ residual) if np.all(np.isfinite(residual)) else math.inf

    def without(self, *fixed: str) -> Problem:
        """The same problem with some parameters held."""
        return replace(self, names=tuple(name for name in self.names if name not in fixed))

    def minimise(self, start: Values, *, tolerance: float = TOLERANCE, progress: Progress | None = None) -> Minimum:
        """The minimum of chi-square that Levenberg–Marquardt reaches from ``start``, to a relative ``tolerance``.

        Raises `FitError` where the model gives no finite number at the start or along the way.
        """
        if not self.names:
            return Minimum(start, self.chi_square(start), 1, True, "nothing varies")
        parameters = lmfit.Parameters()
        for name in self.names:
            low, high = self.bounds[name]
            parameters.add(name, value=_inside(float(start[name]), low, high), min=low, max=high)

        def values(current: lmfit.Parameters) -> Values:
            return start.with_(**{name: float(current[name].value) for name in self.names})

        def residual(current: lmfit.Parameters) -> Array:
            found = self.residual(values(current))
            if not np.all(np.isfinite(found)):
                raise FitError(
                    "the model gives no finite number at " + _listed(values(current), self.names),
                    remedy="narrow the bounds or start closer",
                )
            return found

        def report(current: lmfit.Parameters, count: int, found: Array) -> None:
            if progress is not None:
                progress(count, float(found @ found))

        minimiser = lmfit.Minimizer(residual, parameters, iter_cb=report, calc_covar=False, max_nfev=EVALUATIONS)
        with warnings.catch_warnings():
            # Rounding errors at the minimum make MINPACK warn that it cannot improve; that is convergence.
            warnings.simplefilter("ignore", RuntimeWarning)
            found = minimiser.minimize(
                method="leastsq",
                Dfun=lambda current: self.jacobian(values(current)),
                col_deriv=1,
                ftol=tolerance,
                xtol=tolerance,
                gtol=0.0,
            )
        p = values(found.params)
        return Minimum(p, self.chi_square(p), int(found.nfev), not found.aborted, str(found.message))


def _inside(value: float, low: float, high: float) -> float:
    """``value`` a little inside the bounds: on a bound the search's transformed derivative is zero."""
    margin = 1e-3 * (high - low)
    return min(max(value, low + margin), high - margin)


def _listed(p: Values, names: Sequence[str]) -> str:
    return ", ".join(f"{name} = {p[name]:.4g}" for name in names)
