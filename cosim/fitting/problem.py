"""A weighted least-squares problem, solved with lmfit and the forward model's derivatives.

lmfit handles bounds by MINUIT's sine transform, which is flat at the bounds: with bounds decades apart it can stop away
from a minimum. scipy's reflective interior-point method crawls where distant bounds distort its steps. The search
here is therefore unbounded: it runs in the coordinates of `cosim.fitting.coordinates`, the model is evaluated at the
nearest point within the bounds, and a parameter whose accepted step crosses a bound is held at it until chi-square
falls inwards (an active set).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from cosim.devices.base import Array, Values
from cosim.errors import FitError
from cosim.fitting.coordinates import Coordinates
from cosim.fitting.forward import Forward
from cosim.fitting.minimise import minimise
from cosim.fitting.plateau import most_likely
from cosim.fitting.priors import Prior

EVALUATIONS = 400  # a fit that is not done by then follows an endless valley
# Relative to the coordinates' size; what is left is rounding.
STEP = 1e-10
# A step off a bound that promises less than this part of chi-square is rounding.
GAIN = 1e-10
# What is left of a scale where it is all but zero.
VANISHED = 1e-12
# Turns of the fit and of weights that hang on it; they end where no weight's sigma changes by more than this part.
TURNS, SETTLED = 30, 1e-3
Progress = Callable[[int, float], None]


class Whitening(Protocol):
    """From residuals (..., rows) with correlated noise to independent ones (`cosim.fitting.correlated`)."""

    def __call__(self, z: Array) -> Array:
        """Residuals, or their derivatives, as independent ones."""

    @property
    def worth(self) -> float:
        """How many independent rows one of these is worth for an estimate of the variance."""


class _Crossed(Exception):
    """The search has accepted a step across a bound."""


@dataclass(frozen=True)
class Minimum:
    """Where a minimisation ended.

    Args:
        p: all parameters, varied and fixed.
        chi_square: sum of the squared weighted residuals.
        evaluations: of the model.
        converged: whether the optimiser's criteria were met.
        message: what the optimiser reported.
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
            0 elsewhere (`plateau`); None: no row is clipped. ``sigma`` has to be the noise itself then.
        priors: what is known of parameters that vary, a row of the residual each; ``sigma`` as with ``side``.
        whiten: makes residuals (..., rows) with correlated noise independent; None: they are.
        noise: ``sigma`` (n,) from the prediction (n,), where it hangs on that; None: it does not.
    """

    forward: Forward
    measured: Array
    sigma: Array
    rows: NDArray[np.bool_]
    names: tuple[str, ...]
    bounds: Mapping[str, tuple[float, float]]
    side: NDArray[np.int64] | None = None
    priors: tuple[Prior, ...] = ()
    whiten: Whitening | None = None
    noise: Callable[[Array], Array] | None = None

    @property
    def seen(self) -> NDArray[np.bool_]:
        """True where a row takes part and was measured, not clipped; (n,)."""
        return self.rows if self.side is None else self.rows & (self.side == 0)

    @property
    def points(self) -> int:
        """Number of rows that take part and were measured, not clipped; a prior on a varying parameter is one."""
        return int(self.seen.sum()) + len(self._priors)

    @property
    def _priors(self) -> list[Prior]:
        return [prior for prior in self.priors if prior.name in self.names]

    def residual(self, p: Values) -> Array:
        """(prediction − measurement) / sigma of the rows that take part; of a clipped one, its likelihood's root.

        Below them the priors: how far each parameter is from its centre, in standard deviations.
        """
        return self._residual(p, self.forward.predict(p))

    def _residual(self, p: Values, predicted: Array) -> Array:
        residual = (predicted - self.measured) / self.sigma
        if self.side is not None:
            clipped = self.side != 0
            residual[clipped] = most_likely(residual[clipped], self.side[clipped])[0]
        rows = self.independent(np.asarray(residual[self.rows]))
        return np.append(rows, [prior.residual(p) for prior in self._priors]) if self.priors else rows

    def independent(self, z: Array) -> Array:
        """Residuals (..., rows), or their derivatives, as they are where the noise of each row is its own."""
        return z if self.whiten is None else self.whiten(z)

    def jacobian(self, p: Values, names: Sequence[str] | None = None) -> Array:
        """Derivatives of `residual` by each parameter; (k, rows). Raises `FitError` where one is not finite."""
        wanted = self.names if names is None else tuple(names)
        found = self.slopes(p, wanted)
        if not np.isfinite(found).all():
            bad = [name for name, row in zip(wanted, found, strict=True) if not np.isfinite(row).all()]
            raise FitError(
                f"the model has no finite derivative by {' and '.join(bad)} at {_listed(p, wanted)}",
                remedy=f"narrow the bounds of {' and '.join(bad)}, or start closer",
            )
        return found

    def slopes(self, p: Values, wanted: tuple[str, ...]) -> Array:
        """`jacobian` by ``wanted``, with what is not finite."""
        predicted, derivatives = self.forward.linearise(p, wanted)
        derivatives = derivatives / self.sigma
        if self.side is not None:
            clipped = self.side != 0
            residual = ((predicted - self.measured) / self.sigma)[clipped]
            derivatives[:, clipped] *= most_likely(residual, self.side[clipped])[1]
        rows = self.independent(np.asarray(derivatives[:, self.rows]))
        if not (priors := self._priors):
            return rows
        known = [[prior.slope(p) * (name == prior.name) for prior in priors] for name in wanted]
        return np.concatenate([rows, np.array(known).reshape(len(wanted), -1)], axis=1)

    def scale(self, p: Values) -> float:
        """Standard deviation of the measured rows' residuals, in units of ``sigma``."""
        residual = self.independent(((self.forward.predict(p) - self.measured) / self.sigma)[self.seen])
        free = float(residual.size - len(self.names))
        if priors := len(self._priors):  # a prior takes part of the parameters off the rows: its rows' leverage
            jacobian = self.jacobian(p)
            length = np.maximum(np.linalg.norm(jacobian, axis=1, keepdims=True), 1e-300)
            free += float(np.sum(np.linalg.qr((jacobian / length).T)[0][-priors:] ** 2))
        return math.sqrt(float(residual @ residual) / free)

    @property
    def free(self) -> float:
        """Degrees of freedom of the noise's variance: of correlated rows, what so many independent ones have."""
        worth = 1.0 if self.whiten is None else self.whiten.worth
        return max(worth * self.points - len(self.names), 1.0)

    def chi_square(self, p: Values) -> float:
        """Sum of the squared residuals; infinite where the model is."""
        with np.errstate(all="ignore"):  # that there is none is the answer
            return _squares(self.residual(p))

    def chi_squares(self, places: Sequence[Values]) -> list[float]:
        """`chi_square` at each of several places."""
        with np.errstate(all="ignore"):
            made = zip(places, self.forward.predict_each(places), strict=True)
            return [_squares(self._residual(p, predicted)) for p, predicted in made]

    def without(self, *fixed: str) -> Problem:
        """The same problem with some parameters held."""
        return replace(self, names=tuple(name for name in self.names if name not in fixed))

    def ordered(self) -> Problem:
        """The same problem with its names as the model lists them: where a search ends does not hang on a recipe's."""
        wanted = {*self.names}
        return replace(self, names=tuple(entry.name for entry in self.forward.params if entry.name in wanted))

    def reweighed(self, p: Values) -> Problem:
        """The same problem with the noise that its rows have where the parameters are ``p``."""
        return self if self.noise is None else replace(self, sigma=self.noise(self.forward.predict(p)))

    def moved(self, last: Problem) -> bool:
        """Whether a row that takes part has another ``sigma`` than in ``last``."""
        return bool(np.any(np.abs(self.sigma / last.sigma - 1.0)[self.rows] > SETTLED))

    def by_turns(self, found: Minimum, *held: str, progress: Progress | None = None) -> tuple[Minimum, Problem]:
        """From a minimum to the one whose own prediction gives its weights, and the problem with these.

        At given weights it is a least-squares fit, which noise that is a share of the prediction does not bias:
        quasi-likelihood (Wedderburn, Biometrika 61, 439 (1974)). ``held`` parameters stay.
        """
        problem = self
        for _ in range(TURNS):
            last, problem = problem, problem.reweighed(found.p)
            if not problem.moved(last):
                return found, last
            found = problem.without(*held).minimise(found.p, progress=progress)
        return replace(found, converged=False, message=f"parameters and noise do not settle in {TURNS} rounds"), problem

    def size(self, name: str, value: float) -> float:
        """What counts as 1 of a parameter that is searched in multiples: its value, or of 0 its default or range.

        Without any of them it is 1.
        """
        low, high = self.bounds[name]
        default = next(abs(entry.default) for entry in self.forward.params if entry.name == name)
        found = abs(value) or min(default or high - low, high - low)
        return found if math.isfinite(found) else 1.0

    def coordinates(self, start: Values, *, logarithmic: bool = True) -> Coordinates:
        """The coordinates of a search from ``start``."""
        sizes = {name: self.size(name, float(start[name])) for name in self.names}
        bounds = {name: self._without_zero(name, sizes[name]) for name in self.names}
        return Coordinates.of(self.names, bounds, sizes=sizes, logarithmic=logarithmic)

    def _without_zero(self, name: str, size: float) -> tuple[float, float]:
        """The bounds of a parameter; those of a scale end short of zero, so that it has a logarithm."""
        low, high = self.bounds[name]
        if next(entry for entry in self.forward.params if entry.name == name).is_scale:
            return low or VANISHED * size, high or -VANISHED * size
        return low, high

    def minimise(
        self,
        start: Values,
        *,
        tolerance: float | None = None,
        logarithmic: bool = True,
        evaluations: int = EVALUATIONS,
        total: int | None = None,
        nested: bool = False,
        progress: Progress | None = None,
    ) -> Minimum:
        """The minimum of chi-square that a trust region reaches from ``start``, to a relative ``tolerance``.

        By default that is what the forward model's smoothness allows.
        ``logarithmic`` False searches in the parameters themselves: another path, which may end at another minimum.
        ``evaluations`` of the model are allowed between two changes of what is held at a bound, ``total`` in all.
        ``nested``: one of the many searches within a fit, which takes lmfit's path without its records: the same
        numbers, without copies of the parameters and a covariance that nobody reads.

        Raises `FitError` where the model gives no finite number at the start.
        """
        inside = {name: (max(float(start[name]), self.bounds[name][0]), self.bounds[name][1]) for name in self.names}
        p = start.with_(**{name: min(pair) for name, pair in inside.items()})
        held, spent, reached = set[str](), 0, math.inf
        for _ in range(4 * len(self.names) + 4):
            free = self.without(*held)
            found, crossed = free._search(
                p,
                tolerance=max(tolerance or 0.0, self.forward.tolerance),
                logarithmic=logarithmic,
                evaluations=evaluations if total is None else min(evaluations, total - spent),
                nested=nested,
                progress=progress,
            )
            p, spent = found.p, spent + found.evaluations
            if total is not None and spent >= total and (crossed or not found.converged):
                return replace(found, evaluations=spent, converged=False)
            if crossed:
                held |= crossed
                continue
            inwards = self._inwards(p, found.chi_square)
            if inwards is None or not found.converged or found.chi_square >= reached * (1.0 - GAIN):
                return replace(found, evaluations=spent)
            held.discard(inwards)
            reached = found.chi_square
        return Minimum(p, self.chi_square(p), spent, False, "parameters keep leaving and reaching their bounds")

    def _inwards(self, p: Values, chi_square: float) -> str | None:
        """The parameter on a bound from which chi-square falls most towards the inside, or None."""
        on = {name: bound for name in self.names if (bound := self.bound_of(name, float(p[name]))) is not None}
        if not on:
            return None
        jacobian = self.jacobian(p, tuple(on))
        slope, square = jacobian @ self.residual(p), np.sum(jacobian**2, axis=1)
        lower = np.array([bound == self.bounds[name][0] for name, bound in on.items()])
        gain = np.where((slope < 0.0) == lower, slope**2 / np.where(square > 0.0, square, 1.0), 0.0)
        best = int(np.argmax(gain))
        return list(on)[best] if gain[best] > GAIN * chi_square else None

    def bound_of(self, name: str, value: float) -> float | None:
        """The bound that a value lies on to within rounding, or None."""
        ends = (bound for bound in self.bounds[name] if math.isfinite(bound))
        return next((bound for bound in ends if abs(value - bound) <= 1e-12 * abs(bound)), None)

    def _search(
        self,
        start: Values,
        *,
        tolerance: float,
        logarithmic: bool,
        evaluations: int,
        nested: bool,
        progress: Progress | None,
    ) -> tuple[Minimum, set[str]]:
        """One search; it ends where it crosses bounds: the parameters that did are returned, on their bounds."""
        if not self.names:
            return Minimum(start, self.chi_square(start), 1, True, "nothing varies"), set()
        frame = self.coordinates(start, logarithmic=logarithmic)
        low, high = frame.box
        crossed, count, last, found = set[str](), 0, start, np.empty(0)

        def place(p: Values) -> Array:
            return np.array([p[name] for name in self.names], dtype=float)

        def point(z: Array) -> Values:
            # numpy's floats: a law that divides by zero gives a point that is not finite instead of an error.
            return start.with_(**dict(zip(self.names, frame.x(z), strict=True)))

        def residual(z: Array) -> Array:
            nonlocal count, found
            count += 1
            # Where chi-square is all but flat a step may overflow, which no model can evaluate.
            found = self.residual(point(z)) if np.all(np.isfinite(z)) else np.full(first.size, math.nan)
            if progress is not None:
                progress(count, float(found @ found))
            return found

        def jacobian(z: Array) -> Array:
            # The optimiser asks for derivatives at its start and where a step was accepted, nowhere else.
            nonlocal last
            last = point(z)
            beyond = (z < low) | (z > high)
            if beyond.any():
                crossed.update(name for name, out in zip(self.names, beyond, strict=True) if out)
                raise _Crossed
            slope = frame.slope(place(last))
            return np.asarray((self.jacobian(last) * slope[:, None]).T)

        begin = frame.z(place(start))
        with np.errstate(all="ignore"):  # what the model cannot compute is said below
            first = self.residual(start)
        if not np.all(np.isfinite(first)):
            raise FitError(
                f"the model gives no finite number at {_listed(start, self.names)}",
                remedy="narrow the bounds or start closer",
            )
        converged, message = True, ""
        with warnings.catch_warnings(), np.errstate(all="ignore"), suppress(_Crossed):
            warnings.simplefilter("ignore", RuntimeWarning)
            options: dict[str, Any] = {
                "x_scale": "jac",
                "ftol": tolerance,
                "xtol": max(STEP, self.forward.tolerance),
                "gtol": None,
            }
            if nested:
                ended = least_squares(residual, begin, jac=jacobian, max_nfev=evaluations, **options)
            else:
                ended = minimise(
                    lambda p: residual(place(p)), dict(zip(self.names, begin, strict=True)),
                    jacobian=lambda p: jacobian(place(p)), evaluations=evaluations, method="least_squares", **options,
                )  # fmt: skip
            # lmfit says by itself when it stopped for the number of evaluations, and then gives no status.
            converged, message = getattr(ended, "status", 0) > 0, str(ended.message)
        last = last.with_(**{name: float(last[name]) for name in self.names})
        return Minimum(last, self.chi_square(last), count, converged, message), crossed


def _squares(residual: Array) -> float:
    return float(residual @ residual) if np.all(np.isfinite(residual)) else math.inf


def _listed(p: Values, names: Sequence[str]) -> str:
    return ", ".join(f"{name} = {p[name]:.4g}" for name in names)
