"""From a curve to parameters with uncertainty: `extract`."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cosim import units
from cosim.devices.base import Values
from cosim.errors import DataError, FitError, InputError, UnknownName, Where
from cosim.fitting.checks import check_curve, remarks_on
from cosim.fitting.curve import Curve
from cosim.fitting.forward import Forward, forward_for
from cosim.fitting.identify import judge
from cosim.fitting.problem import Minimum, Problem, Progress
from cosim.fitting.recipe import Candidate, FitRecipe, Quantities, RampLaw
from cosim.fitting.result import Cost, FitResult, Trial, rms_over_range
from cosim.fitting.uncertainty import band_of, covariance_of

# Without bounds of its own a positive parameter is searched within this factor of its start value.
REACH = 20.0
# A relative misfit of two minima that counts as the same one.
SAME = 1e-6
FOLDS = 3


def extract(
    recipe: FitRecipe,
    curve: Curve | None = None,
    *,
    profile: bool = False,
    progress: Progress | None = None,
) -> FitResult:
    """Fit a device's parameters to a curve by Levenberg–Marquardt, and judge what the curve determines.

    Args:
        recipe: what varies, from where, within which bounds; the held-out part.
        curve: measured; None: the recipe's own.
        profile: 95 % intervals from the profile likelihood (some fifteen times the fit's time), not standard errors.
        progress: called with the number of evaluations and chi-square.

    Raises:
        InputError, DataError: the recipe or the curve cannot be used; FitError: the optimiser found no minimum.
    """
    began = time.perf_counter()
    curve = recipe.curve() if curve is None else curve
    _check_curve(recipe, curve)
    held_out = recipe.held_out.rows(curve)
    if held_out.all():
        raise InputError("held_out leaves no row to fit", remedy="hold out less")
    _check_against_device(recipe, curve, held_out)
    chosen, trials = _choose(recipe, curve, held_out)
    minimum, problem = _fit(recipe, curve, ~held_out, chosen, progress=progress)
    forward = problem.forward
    noise = recipe.noise.per_point(curve)
    free = problem.points - len(problem.names)
    scale = 1.0 if noise is not None else math.sqrt(minimum.chi_square / free)
    uncertainty = covariance_of(problem, minimum.p, scale=scale)
    predicted = forward.predict(minimum.p)
    verdict = judge(problem, minimum, uncertainty, noise_known=noise is not None, profile=profile)
    verdict = replace(
        verdict, remarks=verdict.remarks + forward.remarks(problem.names) + remarks_on(recipe.model, curve)
    )
    return FitResult(
        recipe=recipe,
        curve=curve,
        choice=chosen.title if isinstance(chosen, Candidate) else "",
        trials=trials,
        forward=forward,
        names=problem.names,
        values=minimum.p,
        bounds={name: problem.bounds[name] for name in problem.names},
        uncertainty=uncertainty,
        predicted=predicted,
        band=band_of(forward, minimum.p, uncertainty),
        held_out=held_out,
        sigma=problem.sigma * scale,
        noise_known=noise is not None,
        chi_square=minimum.chi_square / scale**2,
        verdict=verdict,
        cost=Cost(minimum.evaluations, time.perf_counter() - began),
    )


def _check_curve(recipe: FitRecipe, curve: Curve) -> None:
    where = Where(curve.source) if curve.source else None
    if curve.kind != recipe.data.kind:
        raise InputError(f"the curve is of kind {curve.kind!r}, the recipe's is {recipe.data.kind!r}", where=where)
    y = curve.measured
    if np.ptp(y) <= 1e-12 * float(np.abs(y).max()):
        raise DataError(
            f"the measured column is constant ({y[0]:g} {curve.measured_unit}): it determines nothing",
            where=where,
            remedy="apply pulses above the threshold, or check the column",
        )


def _check_against_device(recipe: FitRecipe, curve: Curve, held_out: NDArray[np.bool_]) -> None:
    """Sign, order and kind of the whole curve, before its noise is taken for the law's fault."""
    forward = forward_for(recipe.model, curve, ~held_out)
    stated = recipe.data.columns.values()
    check_curve(
        recipe.model,
        forward,
        curve,
        p=_start(recipe, forward, (), {}),
        sign=any(column.sign is not None for column in stated),
        shift=any(column.shift is not None for column in stated),
    )


def _fit(
    recipe: FitRecipe,
    curve: Curve,
    rows: NDArray[np.bool_],
    choice: RampLaw,
    *,
    progress: Progress | None = None,
) -> tuple[Minimum, Problem]:
    """The best minimum of ``rows`` that the recipe's start leads to, with one choice of the law."""
    vary, extra = (choice.vary, choice.values) if isinstance(choice, Candidate) else (recipe.fit.vary, {})
    forward = forward_for(recipe.model, curve, rows, law={"course": choice.course, "start": choice.start})
    for name in vary:
        if name not in forward.active:
            known = {entry.name for entry in forward.params}
            if name in known:
                raise InputError(
                    f"{name} cannot be had from a curve of kind {curve.kind!r}", remedy="leave it out of fit.vary"
                )
            raise UnknownName(f"parameter of {recipe.device} in a curve of kind {curve.kind!r}", name, known)
    if rows.sum() <= len(vary):
        raise DataError(
            f"{int(rows.sum())} points for {len(vary)} parameters",
            where=Where(curve.source) if curve.source else None,
            remedy="measure more, vary fewer parameters or hold out less",
        )
    start = _start(recipe, forward, vary, extra)
    bounds = _bounds(recipe, forward, start, vary)
    noise = recipe.noise.per_point(curve)
    sigma = np.full(len(curve), float(np.std(curve.measured[rows]))) if noise is None else noise
    problem = Problem(forward, curve.measured, sigma, rows, tuple(vary), bounds)
    minima = []
    for candidate in _starts(start, vary):
        found = problem.minimise(candidate, progress=progress)
        minima.append(found)
        # A second start that ends at the same minimum is evidence enough.
        best = min(minima, key=lambda m: m.chi_square)
        if sum(m.chi_square <= best.chi_square * (1.0 + SAME) + 1e-18 for m in minima) >= 2:
            break
    best = min(minima, key=lambda m: m.chi_square)
    if not best.converged:
        raise FitError(
            f"no minimum after {best.evaluations} evaluations ({best.message.strip()})",
            remedy="start closer, fix a parameter that the curve does not determine, or narrow the bounds",
        )
    return best, problem


def _starts(start: Values, vary: Sequence[str]) -> list[Values]:
    """The start and others: slopes and non-linearities are what a curve shows least at first sight."""
    shifts: list[Mapping[str, float]] = [
        {},
        {"gamma": 0.5, "alpha": 1.5},
        {"gamma": 2.0, "alpha": 0.6},
        {"theta": 0.85},
    ]
    shifts.append({"theta": 1.1, "gamma": 0.7})
    made = []
    for shift in shifts:
        changes = {name: start[name] * shift[name[:-2]] for name in vary if name[:-2] in shift}
        if changes or not shift:
            made.append(start.with_(**changes))
    return made if len(made) > 1 else [start, start]


def _start(recipe: FitRecipe, forward: Forward, vary: Sequence[str], extra: Quantities) -> Values:
    by_name = {entry.name: entry for entry in forward.params}
    given = recipe.starting_set()
    start = {entry.name: entry.default for entry in forward.params}
    start |= {name: quantity.value for name, quantity in given.values.items() if name in start}
    if recipe.start.from_data:
        found = forward.guess(Values(start))
        start |= {name: value for name, value in found.items() if name in vary}
    for name, value in {**recipe.start.values, **extra}.items():
        if name not in by_name:
            raise UnknownName("parameter", name, by_name)
        start[name] = units.parse(value, by_name[name].unit)
    for name, value in start.items():
        low, high = by_name[name].bounds
        start[name] = min(max(value, low), high)
    return Values(start)


def _bounds(recipe: FitRecipe, forward: Forward, start: Values, vary: Sequence[str]) -> dict[str, tuple[float, float]]:
    physical, by_name = forward.bounds(), {entry.name: entry for entry in forward.params}
    for name in recipe.fit.bounds:
        if name not in physical:
            raise UnknownName("parameter", name, physical)
    bounds = {}
    for name in vary:
        low, high = physical[name]
        if name in recipe.fit.bounds:
            given = sorted(units.parse(value, by_name[name].unit) for value in recipe.fit.bounds[name])
            if given[0] < low or given[1] > high or given[0] == given[1]:
                raise InputError(
                    f"bounds of {name} = {given[0]:g}..{given[1]:g} {by_name[name].unit} are no part of its physical "
                    f"range {low:g}..{high:g}",
                    remedy="narrow them",
                )
            bounds[name] = (given[0], given[1])
        elif low > 0.0 and high / low > REACH**2:
            bounds[name] = (max(low, start[name] / REACH), min(high, start[name] * REACH))
        else:
            bounds[name] = (low, high)
    return bounds


def _choose(recipe: FitRecipe, curve: Curve, held_out: NDArray[np.bool_]) -> tuple[RampLaw, tuple[Trial, ...]]:
    """The candidate with the smallest cross-validated error on the training part; held-out rows are not looked at."""
    if not recipe.candidates:
        return recipe.ramps, ()
    inner = curve.select(~held_out)
    trials = [_try(recipe, inner, candidate) for candidate in recipe.candidates]
    found = [(trial.error, index) for index, trial in enumerate(trials) if trial.error is not None]
    if not found:
        raise FitError(f"no candidate has a minimum; {trials[0].title}: {trials[0].note}", remedy="narrow the bounds")
    return recipe.candidates[min(found)[1]], tuple(trials)


def _try(recipe: FitRecipe, curve: Curve, candidate: Candidate) -> Trial:
    """Cross-validation of one candidate: the held-out rule again, turned, within the training part."""
    errors = []
    for out in recipe.held_out.folds(curve, FOLDS):
        try:
            found, problem = _fit(recipe, curve, ~out, candidate)
        except FitError as error:
            return Trial(candidate.title, None, error.message)
        errors.append(rms_over_range(curve.measured[out] - problem.forward.predict(found.p)[out], curve.measured[out]))
    return Trial(candidate.title, float(np.mean(errors)))
