r"""The measurement that would tell most about what a fit left open: `next_measurement`.

The information of rows is M = Σ J Jᵀ/σ², J the derivative of a row's prediction by the parameters, each in units of its
own size (Atkinson, Donev & Tobias, *Optimum Experimental Designs*, ch. 9 and 17). Before any row there is that of the
bounds: a parameter within them has the variance of a uniform distribution. What further rows would leave is
C = (M + M_new)⁻¹, and the design that is proposed is the one with the smallest error of the parameter that is then
known worst (a minimax design). Between designs that are equal in that, the gain in ln det M decides, as in a D-optimal
design. A parameter that is hardly known makes J itself uncertain, so that the error is averaged in its logarithm over
parameters that fit the curve too (a pseudo-Bayesian design, ibid. ch. 18).

Rows whose order means nothing are chosen one by one, each where it lowers the sum of all relative variances most
(A-optimal, by the Sherman–Morrison formula); a row may be chosen again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cosim.data.kinds import KINDS
from cosim.data.recording import Recording
from cosim.devices.base import Array, Values
from cosim.errors import InputError
from cosim.files import write_atomic
from cosim.fitting.designs import DRIVES, Design, designs
from cosim.fitting.forward import Forward, PointForward, SequenceForward
from cosim.fitting.problem import Problem
from cosim.fitting.result import FitResult
from cosim.fitting.uncertainty import natural_size
from cosim.units import show

# Times what the curve applied, one after the other until a design would halve the largest error; rows of a proposal, at
# least and at most (our choice).
REACHES, HALF, ROWS = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0), 0.5, (100, 200)
# Parameter values that a design is averaged over, of so many that are drawn, those that fit the curve best.
DRAWS, DRAWN = 6, 60
# More than what was applied by this factor is said.
BEYOND = 1.01
# An error that falls by less is not put into numbers.
NO_BETTER = 0.8
# Parameters that raise chi-square by no more than that of three standard deviations describe the curve too.
LIKELY = 9.0
# Designs within this part of the smallest error are equal: the larger determinant decides.
EQUAL = 0.05
# Groups of rows that a proposal of loose rows consists of, at most; the part of the information that is located.
SITES, MOST = 8, 0.8


@dataclass(frozen=True)
class NextMeasurement:
    """A proposal, judged by the linear model around parameters that fit the curve.

    Args:
        design: the rows to measure.
        parameter: the one known worst today.
        before, after: largest relative standard error of a parameter, today and with the proposed rows (relative to the
            parameter's natural size; today's is limited by the bounds).
        worst: the parameter known worst afterwards.
        gain: of ln det M, all parameters together.
        tells: where the information about ``parameter`` would come from: column or state -> (low, high), SI.
        units: of ``tells``.
        units_applied: of the columns of ``design``.
        reach: the largest voltage or current that it applies, over the largest of the curve.
    """

    design: Design
    parameter: str
    before: float
    after: float
    worst: str
    gain: float
    tells: Mapping[str, tuple[float, float]]
    units: Mapping[str, str]
    units_applied: Mapping[str, str]
    reach: float

    def write(self, path: str | Path) -> Path:
        """What to apply, as a table with units that `cosim fit` reads once the measured column is added (.csv)."""
        head = ",".join(f"{name} ({self.units_applied[name]})" for name in self.design.columns)
        rows = zip(*(column.tolist() for column in self.design.columns.values()), strict=True)
        lines = (",".join(f"{value:.10g}" for value in row) for row in rows)
        return write_atomic(path, "\n".join([head, *lines]) + "\n")

    def __str__(self) -> str:
        spans = [
            f"{name} = {show(low, self.units[name], digits=3)} .. {show(high, self.units[name], digits=3)}"
            for name, (low, high) in self.tells.items()
        ]
        what = self.design.title + ("" if self.design.loose else ", on the device as the recording left it")
        tells = f"; what tells {self.parameter} is at {', '.join(spans)}" if spans else ""
        if self.reach > BEYOND:
            tells += f"; this is up to {self.reach:.2g} times what was applied so far: see that the device bears it"
        if self.after > NO_BETTER * self.before:  # the linear model at a bound says little about how much
            return f"{what}: would tell most about {self.parameter}{tells}"
        still = "" if self.worst == self.parameter else f" (of {self.worst})"
        return (
            f"{what}: the largest standard error, {self.before:.2g} of {self.parameter}, would become "
            f"about {self.after:.2g}{still}{tells}"
        )


def next_measurement(
    fit: FitResult, *, reach: float | None = None, rows: int | None = None, seed: int = 0
) -> NextMeasurement | None:
    """The measurement that would lower the largest relative error of a fit most; None where none would lower it.

    Args:
        fit: of one curve.
        reach: largest applied value, in terms of the curve's; 1 stays within what was applied. None: 1 where that would
            halve the largest error, else 1.5, 2, 3, 5 or 10, the first that would.
        rows: of the proposal; None: as many as the curve has, but at least 100 and at most 200.
        seed: of the parameters that a design is averaged over.

    Raises:
        InputError: ``reach`` below 1 or not finite, fewer than one row, a fit of a circuit or of a function.

    >>> fit = cosim.extract(cosim.FitRecipe.load("virtual_lab/access"))
    >>> proposal = cosim.next_measurement(fit)
    >>> proposal.after < proposal.before
    True
    """
    if reach is not None and not 1.0 <= reach < math.inf:
        raise InputError(f"reach = {reach:g}", remedy="give 1 to stay within what was applied, or more")
    if rows is not None and rows < 1:
        raise InputError(f"{rows} rows", remedy="give at least one")
    if isinstance(fit.forward, PointForward):
        raise InputError(
            f"{fit.recipe.name} was fitted by {'simulations' if fit.forward.expensive else 'a function'}, for which "
            "further measurements are not designed",
            remedy="fit the device alone, where that is possible",
        )
    study, count = _Study(fit, np.random.default_rng(seed)), rows or min(max(len(fit.curve), ROWS[0]), ROWS[1])
    best: NextMeasurement | None = None
    for far in REACHES if reach is None else (reach,):
        found = [study.judged(design, rows=count) for design in designs(fit.curve, reach=far, rows=count)]
        better = [one for one in found if one.after < one.before]
        if not better:
            continue
        least = min(one.after for one in better)
        here = max((one for one in better if one.after <= (1.0 + EQUAL) * least), key=lambda one: one.gain)
        best = here if best is None or here.after < best.after else best
        if best.after <= HALF * best.before:
            break
    return best


class _Study:
    """What a fit knows today, at several parameters that fit its curve."""

    def __init__(self, fit: FitResult, rng: np.random.Generator) -> None:
        self._fit, self._names = fit, fit.names
        self._problem = Problem(
            fit.forward, fit.curve.measured, fit.sigma, ~fit.held_out & ~fit.clipped, fit.names, fit.bounds
        )
        self._best = self._usual()
        self._sizes = np.array([natural_size(self._problem, name, float(self._best[name])) for name in fit.names])
        self._law = next((c for c in fit.recipe.candidates if c.title == fit.choice), fit.recipe.ramps)
        width = np.array([high - low for low, high in (fit.bounds[name] for name in fit.names)])
        # Bounds of a scale are decades apart, which no linear model spans: ten times a size counts as wide.
        self._bounds_know = 12.0 / np.minimum(width / self._sizes, 10.0) ** 2
        # Where a curve began is over: further rows need not tell it.
        began = {state.initial for state in fit.recipe.model.all_states}
        self._of_device = np.array([name not in began for name in fit.names]) | began.issuperset(fit.names)
        self._points = self._likely(rng)

    def _usual(self) -> Values:
        """The fitted parameters; those that the curve does not hold where they are, flat or at a bound, by default."""
        fit, entries = self._fit, {entry.name: entry for entry in self._fit.forward.params}

        def usual(names: Iterable[str]) -> Values:
            values = {name: float(np.clip(entries[name].default, *fit.bounds[name])) for name in names}
            return fit.values.with_(**values)

        both = usual([*fit.uncertainty.flat, *fit.uncertainty.at_bound])
        likely = self._problem.chi_square(both) <= self._problem.chi_square(fit.values) + LIKELY
        return both if likely else usual(fit.uncertainty.flat)

    def _likely(self, rng: np.random.Generator) -> list[Values]:
        """The fitted parameters, and others that describe the curve hardly worse."""
        best = self._best
        middle = np.array([float(best[name]) for name in self._names])
        low, high = (np.array([self._fit.bounds[name][side] for name in self._names]) for side in (0, 1))
        spread = np.linalg.cholesky(np.linalg.inv(self._information(best, self._fit.forward, slice(None)))).T
        found: list[tuple[float, Values]] = []
        for _ in range(DRAWN):
            step = self._sizes * (rng.standard_normal(len(self._names)) @ spread)
            values = np.clip(middle + step, low, high)
            p = best.with_(**dict(zip(self._names, values.tolist(), strict=True)))
            with np.errstate(all="ignore"):
                chi_square = self._problem.chi_square(p)
            if math.isfinite(chi_square):
                found.append((chi_square, p))
        found.sort(key=lambda entry: entry[0])
        return [best, *(p for _, p in found[: DRAWS - 1])]

    def _jacobian(self, p: Values, forward: Forward, sigma: Array | float) -> Array:
        with np.errstate(all="ignore"):
            slopes = forward.linearise(p, self._names)[1]
        return np.asarray(np.nan_to_num(slopes * self._sizes[:, None] / sigma))

    def _information(self, p: Values, forward: Forward, rows: slice) -> Array:
        """(k, k) of the fitted rows of the curve, and of the bounds."""
        fitted = self._problem.rows[rows]
        jacobian = self._jacobian(p, forward, self._fit.sigma)[:, rows][:, fitted]
        return np.asarray(jacobian @ jacobian.T + np.diag(self._bounds_know))

    def judged(self, design: Design, *, rows: int) -> NextMeasurement:
        """What a design would tell."""
        fit, n = self._fit, len(self._fit.curve)
        noise = float(np.median(fit.sigma))
        curve = design.after(fit.curve)
        forward = self._forward(curve)
        known = [
            (jacobian[:, :n][:, self._problem.rows], jacobian[:, n:])
            for jacobian in (
                self._jacobian(p, forward, np.append(fit.sigma, np.full(len(design), noise))) for p in self._points
            )
        ]
        today = [old @ old.T + np.diag(self._bounds_know) for old, _ in known]
        most = float(np.ptp(fit.curve.measured)) / noise
        known = [(old, _bounded(new, m, most=most)) for (old, new), m in zip(known, today, strict=True)]
        if design.loose:
            chosen = _chosen(today, [new for _, new in known], count=rows)
            design = _named(design, chosen, fit.curve)
            known = [(old, new[:, chosen]) for old, new in known]
            forward = self._forward(design.after(fit.curve))
        then = [m + new @ new.T for m, (_, new) in zip(today, known, strict=True)]
        before, after = (_errors(some)[self._of_device] for some in (today, then))
        names = [name for name, is_in in zip(self._names, self._of_device, strict=True) if is_in]
        parameter = names[int(np.argmax(before))]
        gains = [np.linalg.slogdet(t)[1] - np.linalg.slogdet(m)[1] for m, t in zip(today, then, strict=True)]
        tells, units = self._tells(design, forward, then[0], known[0][1], parameter)
        return NextMeasurement(
            design, parameter, float(before.max()), float(after.max()), names[int(np.argmax(after))],
            float(np.mean(gains)), tells, units, {name: fit.curve.units[name] for name in design.columns},
            _reach(design, fit.curve),
        )  # fmt: skip

    def _forward(self, curve: Recording) -> Forward:
        rows = np.append(self._problem.rows, np.zeros(len(curve) - self._problem.rows.size, dtype=bool))
        return self._fit.recipe.forward_of(curve, rows, self._law)

    def _tells(
        self, design: Design, forward: Forward, information: Array, new: Array, parameter: str
    ) -> tuple[dict[str, tuple[float, float]], dict[str, str]]:
        """Where the rows lie that lower the variance of one parameter most."""
        weight = (np.linalg.inv(information)[self._names.index(parameter)] @ new) ** 2
        if not weight.any():
            return {}, {}
        heavy = np.argsort(-weight)
        heavy = heavy[: 1 + int(np.searchsorted(np.cumsum(weight[heavy]) / weight.sum(), MOST))]
        curve = self._fit.curve
        places = {name: c for name, c in design.columns.items() if KINDS[curve.kind].role(name) == "applied"}
        units = {name: curve.units[name] for name in places}
        if isinstance(forward, SequenceForward):
            state = forward.states(self._best)[:-1][-len(design) :]
            places, units = {**places, forward.state_name: state}, {**units, forward.state_name: "1"}
        found = {name: (float(column[heavy].min()), float(column[heavy].max())) for name, column in places.items()}
        return {n: ends for n, ends in found.items() if np.ptp(places[n]) > 0.0}, units


def _reach(design: Design, curve: Recording) -> float:
    driven = [name for name in design.columns if curve.units[name] in DRIVES and np.any(curve[name])]
    factors = [float(np.abs(design.columns[name]).max() / np.abs(curve[name]).max()) for name in driven]
    return max(factors, default=1.0)


def _bounded(new: Array, information: Array, *, most: float) -> Array:
    """Derivatives (k, m) of readings in units of their noise, no reading expected to tell more than ``most`` levels.

    Where today's errors would move a reading by more than the range of the curve, as where a state switches at once,
    the linear model promises what no reading can tell.
    """
    moved = np.sqrt(np.sum(new * np.linalg.solve(information, new), axis=0))
    return np.asarray(new / np.maximum(moved / most, 1.0))


def _errors(informations: list[Array]) -> Array:
    """The relative standard errors (k,), averaged in their logarithm."""
    variances = [np.diag(np.linalg.inv(m)) for m in informations]
    return np.asarray(np.exp(0.5 * np.mean(np.log(np.maximum(variances, 1e-300)), axis=0)))


def _chosen(today: list[Array], new: list[Array], *, count: int) -> NDArray[np.int64]:
    """The ``count`` rows, with repetitions, that lower the sum of the variances most; each time the best one."""
    left, chosen = [np.linalg.inv(m) for m in today], np.empty(count, dtype=np.int64)
    for k in range(count):
        drop = np.zeros(new[0].shape[1])
        for c, j in zip(left, new, strict=True):
            cj = c @ j
            drop += np.sum(cj**2, axis=0) / (1.0 + np.sum(j * cj, axis=0)) / np.trace(c)
        best = int(np.argmax(drop))
        chosen[k] = best
        for i, j in enumerate(new):
            v = left[i] @ j[:, best]
            left[i] = left[i] - np.outer(v, v) / (1.0 + j[:, best] @ v)
    return chosen


def _named(design: Design, chosen: NDArray[np.int64], curve: Recording) -> Design:
    """The chosen rows, in words."""
    columns = {name: column[chosen] for name, column in design.columns.items()}
    sites, counts = np.unique(chosen, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:SITES]

    def place(site: int) -> str:
        return ", ".join(f"{n} = {show(float(c[site]), curve.units[n], digits=3)}" for n, c in design.columns.items())

    parts = [f"{counts[i]} at {place(int(sites[i]))}" for i in most]
    tail = f" and {sites.size - most.size} more places" if sites.size > most.size else ""
    return Design(f"{chosen.size} rows: {'; '.join(parts)}{tail}", columns, loose=True)
