"""A weighted least-squares problem, solved with lmfit's Levenberg–Marquardt and the forward model's own derivatives."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace

import lmfit
import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array, Values
from cosim.errors import FitError
from cosim.fitting.forward import Forward
from cosim.fitting.plateau import most_likely

TOLERANCE = 1e-10
EVALUATIONS = 400  # a fit that is not done by then follows a valley without end
# A parameter that stays within this part of its interval from a bound, for so many evaluations, is held at it.
PINNED = 1e-4
PATIENCE = 6
Progress = Callable[[int, float], None]


class _Stuck(Exception):
    """A parameter stays at a bound: the search is ended from inside."""


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
        side: (n,) of rows at an instrument's limit: +1 where the true value is at least the measured one, −1 at most,
            0 elsewhere (`plateau`); None: there are none. ``sigma`` has to be the noise itself then.
    """

    forward: Forward
    measured: Array
    sigma: Array
    rows: NDArray[np.bool_]
    names: tuple[str, ...]
    bounds: Mapping[str, tuple[float, float]]
    side: NDArray[np.int64] | None = None

    @property
    def seen(self) -> NDArray[np.bool_]:
        """True where a row takes part and was measured, not clipped; (n,)."""
        return self.rows if self.side is None else self.rows & (self.side == 0)

    @property
    def points(self) -> int:
        """Number of rows that take part and were measured, not clipped."""
        return int(self.seen.sum())

    def residual(self, p: Values) -> Array:
        """(prediction − measurement) / sigma of the rows that take part; of a clipped one, its likelihood's root."""
        residual = (self.forward.predict(p) - self.measured) / self.sigma
        if self.side is not None:
            clipped = self.side != 0
            residual[clipped] = most_likely(residual[clipped], self.side[clipped])[0]
        return np.asarray(residual[self.rows])

    def jacobian(self, p: Values, names: Sequence[str] | None = None) -> Array:
        """Derivatives of `residual` by each parameter; (k, rows)."""
        wanted = self.names if names is None else tuple(names)
        predicted, derivatives = self.forward.linearise(p, wanted)
        derivatives = derivatives / self.sigma
        if self.side is not None:
            clipped = self.side != 0
            residual = ((predicted - self.measured) / self.sigma)[clipped]
            derivatives[:, clipped] *= most_likely(residual, self.side[clipped])[1]
        return np.asarray(derivatives[:, self.rows])

    def scale(self, p: Values) -> float:
        """Standard deviation of the measured rows' residuals, in units of ``sigma``."""
        residual = ((self.forward.predict(p) - self.measured) / self.sigma)[self.seen]
        return math.sqrt(float(residual @ residual) / (residual.size - len(self.names)))

    def chi_square(self, p: Values) -> float:
        """Sum of the squared residuals; infinite where the model is."""
        residual = self.residual(p)
        return float(residual @ residual) if np.all(np.isfinite(residual)) else math.inf

    def without(self, *fixed: str) -> Problem:
        """The same problem with some parameters held."""
        return replace(self, names=tuple(name for name in self.names if name not in fixed))

    def minimise(self, start: Values, *, tolerance: float = TOLERANCE, progress: Progress | None = None) -> Minimum:
        """The minimum of chi-square that Levenberg–Marquardt reaches from ``start``, to a relative ``tolerance``.

        lmfit keeps a parameter within its bounds by a sine transform, on which Gauss–Newton steps crawl once the
        minimum lies on the bound. So a parameter that stays there is held at it, the others go on, and it is let go
        again where chi-square falls inwards (an active set).

        Raises `FitError` where the model gives no finite number at the start or along the way.
        """
        p, held, released, evaluations = start, dict[str, float](), set[str](), 0
        for _ in range(2 * len(self.names) + 1):
            free = self.without(*held)
            found, pinned = free._search(p, tolerance=tolerance, progress=progress, may_pin=set(free.names) - released)
            p, evaluations = found.p, evaluations + found.evaluations
            if pinned:
                held |= pinned
                p = p.with_(**held)
                continue
            inwards = self._inwards(p, held)
            if inwards is None or not found.converged:
                return Minimum(p, self.chi_square(p), evaluations, found.converged, found.message)
            del held[inwards]
            released.add(inwards)
        return Minimum(p, self.chi_square(p), evaluations, False, "parameters keep leaving and reaching their bounds")

    def _inwards(self, p: Values, held: Mapping[str, float]) -> str | None:
        """A parameter on a bound from which chi-square falls towards the inside, or None."""
        if not held:
            return None
        slope = self.jacobian(p, tuple(held)) @ self.residual(p)
        for name, downhill in zip(held, -slope, strict=True):
            low, high = self.bounds[name]
            rounding = 1e-9 * self.chi_square(p) / (high - low)
            if (downhill > rounding and held[name] == low) or (downhill < -rounding and held[name] == high):
                return name
        return None

    def _search(
        self, start: Values, *, tolerance: float, progress: Progress | None, may_pin: Set[str]
    ) -> tuple[Minimum, dict[str, float]]:
        """One run of lmfit; ended early where parameters stay at a bound, which are then returned with it."""
        if not self.names:
            return Minimum(start, self.chi_square(start), 1, True, "nothing varies"), {}
        parameters = lmfit.Parameters()
        for name in self.names:
            low, high = self.bounds[name]
            parameters.add(name, value=_inside(float(start[name]), low, high), min=low, max=high)
        stays = dict.fromkeys(may_pin, 0)

        last, count = start, 0

        def values(current: lmfit.Parameters) -> Values:
            return start.with_(**{name: float(current[name].value) for name in self.names})

        def residual(current: lmfit.Parameters) -> Array:
            nonlocal last, count
            last, count = values(current), count + 1
            found = self.residual(last)
            if not np.all(np.isfinite(found)):
                raise FitError(
                    f"the model gives no finite number at {_listed(last, self.names)}",
                    remedy="narrow the bounds or start closer",
                )
            if progress is not None:
                progress(count, float(found @ found))
            for name in stays:
                stays[name] = stays[name] + 1 if self._bound(name, float(last[name])) is not None else 0
            if max(stays.values(), default=0) >= PATIENCE:
                raise _Stuck
            return found

        minimiser = lmfit.Minimizer(residual, parameters, calc_covar=False, max_nfev=EVALUATIONS)
        converged, message = True, ""
        # lmfit switches numpy's error state and, left by an exception, would not switch it back. MINPACK warns where
        # rounding keeps it from improving, which is convergence.
        with warnings.catch_warnings(), np.errstate(), suppress(_Stuck):
            warnings.simplefilter("ignore", RuntimeWarning)
            found = minimiser.minimize(
                method="leastsq",
                Dfun=lambda current: self.jacobian(values(current)),
                col_deriv=1,
                ftol=tolerance,
                xtol=tolerance,
                gtol=0.0,
            )
            last, converged, message = values(found.params), not found.aborted, str(found.message)
        at_bound = {name: self._bound(name, float(last[name])) for name in may_pin}
        pinned = {name: bound for name, bound in at_bound.items() if bound is not None}
        return Minimum(last, self.chi_square(last), count, converged, message), pinned

    def _bound(self, name: str, value: float) -> float | None:
        low, high = self.bounds[name]
        return next((bound for bound in (low, high) if abs(value - bound) <= PINNED * (high - low)), None)


def _inside(value: float, low: float, high: float) -> float:
    """``value`` a little inside the bounds: on a bound the search's transformed derivative is zero."""
    margin = 1e-3 * (high - low)
    return min(max(value, low + margin), high - margin)


def _listed(p: Values, names: Sequence[str]) -> str:
    return ", ".join(f"{name} = {p[name]:.4g}" for name in names)
