"""From a curve to parameters with uncertainty: `extract`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cosim import units
from cosim.data.recording import Curve
from cosim.devices.base import Values
from cosim.errors import DataError, FitError, InputError, UnknownName, at
from cosim.fitting import outliers, plateau, plausible
from cosim.fitting.check import check_fit
from cosim.fitting.heteroscedastic import Growing, growing
from cosim.fitting.identify import judge
from cosim.fitting.methods import NEAREST
from cosim.fitting.noise import Found, explain
from cosim.fitting.plateau import Plateau
from cosim.fitting.priors import priors_of, weighed
from cosim.fitting.problem import Minimum, Problem, Progress
from cosim.fitting.published import turned_round, unusual
from cosim.fitting.recipe import FitRecipe
from cosim.fitting.recipe_tables import Candidate, RampLaw
from cosim.fitting.result import Cost, FitResult, Trial, rms_over_range
from cosim.fitting.search import SAME_ROW, dead, search
from cosim.fitting.simulators import simulators
from cosim.fitting.start import bounds_of, other_starts, start_of, within_reach
from cosim.fitting.uncertainty import band_of, covariance_of
from cosim.schema import located

FOLDS = 3
# A relative difference of two chi-squares that is rounding.
SAME = 1e-12
# Fits that alternate with the estimate of the noise where rows are clipped.
CENSORED_ROUNDS = 3
# The same with priors, which may have moved the first fit far from the curve.
PRIOR_ROUNDS = 6
# Fits in smaller and smaller steps of integration, at most.
FINER_ROUNDS = 3
# A fit that still gains after `problem.EVALUATIONS` ends where a step gains less than this part of chi-square.
VALLEY = 1e-6
# Profiles that meet a lower minimum begin the fit again from there, at most so often: chi-square of a law with
# thresholds has kinks, at each of which a search may end.
AGAIN = 4


def extract(
    recipe: FitRecipe,
    curve: Curve | None = None,
    *,
    profile: bool = False,
    near: Values | None = None,
    loose: Sequence[str] = (),
    ends: bool = False,
    progress: Progress | None = None,
) -> FitResult:
    """Fit a device's parameters to a curve by Levenberg–Marquardt, and judge what the curve determines.

    Args:
        recipe: what varies, from where, within which bounds; the held-out part.
        curve: measured; None: the one that the recipe names.
        profile: 95 % intervals from the profile likelihood (some fifteen times the fit's time), not standard errors.
        near: where a search has been already: the minimum there is taken, and no other looked for.
        loose: parameters that the recipe holds though the curve does not determine them (`identify.judge`), beside
            its ``fit.undetermined``.
        ends: a search in finer steps that follows a valley without end is an error, and no result: of a law that was
            not asked for, whose parameters would take long to be judged.
        progress: called with the number of evaluations and chi-square.

    Raises:
        InputError, DataError: the recipe or the curve cannot be used; FitError: the optimiser found no minimum.

    >>> fit = cosim.extract(cosim.FitRecipe.load("virtual_lab/access"))
    >>> fit.training_error < 1e-3
    True
    """
    loose = tuple(dict.fromkeys((*recipe.fit.undetermined, *loose)))
    with simulators():
        measured = recipe.curve() if curve is None else curve
        return _extract(recipe, measured, profile=profile, near=near, loose=loose, ends=ends, progress=progress)


def _extract(
    recipe: FitRecipe, curve: Curve, *, profile: bool, near: Values | None, loose: tuple[str, ...],
    ends: bool, progress: Progress | None, again: int = 0, grown: Growing | None = None,
) -> FitResult:  # fmt: skip
    """``grown``: the noise that was found in this curve, and that is taken as if the recipe stated it."""
    began = time.perf_counter()
    stated = recipe
    if grown is not None:
        recipe = recipe.model_copy(update={"noise": grown.stated(recipe.noise)})
    _check_curve(recipe, curve)
    held_out = recipe.held_out.rows(curve)
    if held_out.all():
        raise InputError("held_out leaves no row to fit", remedy="hold out less")
    _check_against_device(recipe, curve, held_out)
    limit = plateau.stated(curve, recipe.data.clipping)
    chosen, trials, tried = _choose(recipe, curve, held_out, limit)
    fitted = partial(_fitted, recipe, curve, near=near, ends=ends, progress=progress, estimated=grown is not None)
    found = fitted(~held_out, chosen, limit, tried=tried)
    if recipe.data.compliance is None and not found.check.exact:
        limit = plateau.found(curve)
        if limit is not None:
            chosen, trials, tried = _choose(recipe, curve, held_out, limit)
            found = fitted(~held_out, chosen, limit, tried=tried)
    plain = found.problem
    found = explain(
        found, recipe.noise, curve,
        again=lambda rows: fitted(rows, chosen, limit, tried=None),
        starts=lambda: _starts(recipe, found.problem, chosen),
    )  # fmt: skip
    problem, minimum, forward = found.problem, found.minimum, found.problem.forward
    scale = found.scale
    uncertainty = covariance_of(problem, minimum.p, scale=scale)
    if uncertainty.flat:
        minimum = replace(minimum, p=_settled(problem, minimum.p, uncertainty.flat, _starts(recipe, plain, chosen)[0]))
        uncertainty = covariance_of(problem, minimum.p, scale=scale)
    if grown is None and (noise := growing(found, curve)) is not None:
        found_again = _extract(
            recipe, curve, profile=profile, near=near, loose=loose, ends=ends, progress=progress, grown=noise
        )
        evaluations = minimum.evaluations + found_again.cost.evaluations
        return replace(found_again, cost=Cost(evaluations, time.perf_counter() - began))
    verdict = judge(
        problem, minimum, uncertainty, found.check,
        scale=scale, noise_known=found.noise_known, profile=profile,
        assumed=found.assumed if grown is None else grown.assumption, outliers=int(found.left.sum()), loose=loose,
    )  # fmt: skip
    if verdict.better is not None and again < AGAIN:
        better, spent = verdict.better.p, minimum.evaluations
        found_again = _extract(
            stated, curve, profile=profile, near=better, loose=loose, ends=ends, progress=progress, again=again + 1,
            grown=grown,
        )  # fmt: skip
        evaluations = spent + found_again.cost.evaluations
        return replace(found_again, cost=Cost(evaluations, time.perf_counter() - began))
    remarks = [
        *_still(recipe, curve),
        *_unreached(recipe, curve, minimum.p),
        *verdict.remarks,
        *forward.remarks(problem.names, minimum.p),
    ]
    remarks += [] if limit is None else [limit.sentence(curve)]
    remarks += [] if grown is None else [grown.sentence()]
    remarks += found.remarks(curve)
    if limit is not None and recipe.noise.outliers == "leave out" and not found.check.exact:
        far = found.beyond()
        numbers = (np.asarray(curve.lines) if curve.lines else np.arange(1, len(curve) + 1))[far]
        said = f"where values are clipped no outlier is left out: {outliers.kept(numbers, curve)}"
        remarks += [said] if far.any() else []
    remarks += weighed(problem, minimum.p, uncertainty)
    if recipe.device:
        fresh = {n: v for n, v in forward.finish(minimum.p).items() if _is_new(n, problem)}
        # A value that the curve does not give says nothing about its unit.
        known = {entry.name for entry in recipe.model.params} - {*uncertainty.flat}
        remarks += turned_round(recipe.model, minimum.p, fresh)
        remarks += unusual(recipe.model, {name: value for name, value in fresh.items() if name in known})
    return FitResult(
        recipe=stated,
        curve=curve,
        choice=chosen.title if isinstance(chosen, Candidate) else forward.formula,
        trials=trials,
        forward=forward,
        names=problem.names,
        values=minimum.p,
        bounds={name: problem.bounds[name] for name in problem.names},
        uncertainty=uncertainty,
        predicted=forward.predict(minimum.p),
        band=band_of(forward, minimum.p, uncertainty),
        held_out=held_out,
        clipped=np.zeros(len(curve), dtype=bool) if limit is None else limit.rows,
        left_out=found.left,
        sigma=problem.sigma * scale,
        noise_known=found.noise_known,
        spread=found.spread,
        growing=grown,
        loose=loose,
        chi_square=problem.points - len(problem.names) if not found.noise_known else minimum.chi_square,
        verdict=replace(verdict, remarks=tuple(remarks)),
        cost=Cost(minimum.evaluations, time.perf_counter() - began),
        problem=replace(problem, sigma=problem.sigma * scale),
    )


def _fitted(
    recipe: FitRecipe,
    curve: Curve,
    rows: NDArray[np.bool_],
    choice: RampLaw,
    limit: Plateau | None,
    *,
    near: Values | None,
    tried: Minimum | None,
    ends: bool,
    progress: Progress | None,
    estimated: bool,
) -> Found:
    """A fit to ``rows``; ``estimated``: the noise of the recipe was, from an earlier fit, up to a common factor."""
    minimum, problem = _fit(
        recipe, curve, rows, choice, limit=limit, near=near, tried=tried, ends=ends, progress=progress
    )
    known = recipe.noise.per_point(curve) is not None and not estimated
    check = check_fit(problem, minimum.p, curve, noise_known=known)
    return Found(minimum, problem, check, known, np.zeros(len(curve), dtype=bool))


def _starts(recipe: FitRecipe, problem: Problem, choice: RampLaw) -> list[Values]:
    """Where a train with varying steps is looked for."""
    extra = choice.values if isinstance(choice, Candidate) else {}
    start = start_of(recipe, problem.forward, problem.bounds, extra)[0]
    return [start, *(other_starts(recipe.model, start, problem.names) if recipe.device else ())]


def _settled(problem: Problem, p: Values, flat: Sequence[str], start: Values) -> Values:
    """``p`` with each of the ``flat`` parameters back at its start, where that changes no fitted row."""
    for name in flat:
        back = p.with_(**{name: start[name]})
        if np.allclose(problem.residual(back), problem.residual(p), rtol=SAME_ROW, atol=0.0):
            p = back
    return p


def _still(recipe: FitRecipe, curve: Curve) -> list[str]:
    """A sentence on the pulses that do nothing to a set from pulses of unknown amplitude; [] for any other curve."""
    if not recipe.device or curve.kind != "equal pulses":
        return []
    known = {name: quantity.value for name, quantity in recipe.starting_set().values.items()}
    inputs = next(iter(recipe.model.maps(recipe.model.values(known)).values())).inputs
    whose = " and ".join(recipe.start.sets) or f"the defaults of {recipe.device}"
    return [
        f"equal pulses do not determine a threshold, and the set takes its thresholds from {whose}: it predicts no "
        f"change for an {name} from {units.show(entry.still[0], entry.unit, digits=3)} to "
        f"{units.show(entry.still[1], entry.unit, digits=3)}; name a set with the thresholds of this device under "
        "start.sets"
        for name, entry in inputs.items()
        if entry.still[0] < entry.still[1]
    ]


def _unreached(recipe: FitRecipe, curve: Curve, p: Values) -> list[str]:
    """A sentence where none of the pulses does anything at the found parameters, and the reads move."""
    if not recipe.device or curve.kind != "pulse train":
        return []
    inputs = next(iter(recipe.model.maps(p).values())).inputs
    said = []
    for name, entry in inputs.items():
        low, high = entry.still
        if name not in curve.columns or not low < high:
            continue
        applied = curve[name]
        if low <= applied.min() and applied.max() <= high:
            ends = [units.show(float(v), entry.unit, digits=3) for v in (applied.min(), applied.max(), low, high)]
            said.append(
                f"no pulse does anything: {name} goes from {ends[0]} to {ends[1]}, and {recipe.device} begins to "
                f"change below {ends[2]} and above {ends[3]}: check the unit of its column, or start from the "
                "thresholds of this device"
            )
    return said


def _is_new(name: str, problem: Problem) -> bool:
    """Whether a device parameter that a fit ends with comes from the curve."""
    return name in problem.names or name not in problem.forward.bounds()


def _check_curve(recipe: FitRecipe, curve: Curve) -> None:
    if curve.kind != recipe.data.kind:
        raise InputError(f"a curve of kind {curve.kind!r}; the recipe's is {recipe.data.kind!r}", where=curve.where)
    if recipe.noise.correlation and recipe.fit.priors:
        with located(recipe.path), at("noise", "correlation"):
            raise InputError("noise.correlation is not for a fit with priors", remedy="remove it, or the priors")
    if recipe.noise.step:
        reason = ""
        if curve.kind != "pulse train":
            reason = f"noise.step is for pulse trains, and the curve is of kind {curve.kind!r}"
        elif recipe.circuit is not None or recipe.fit.priors:
            what = "through a circuit" if recipe.circuit is not None else "with priors"
            reason = f"noise.step is not for a pulse train that is fitted {what}"
        if reason:
            with located(recipe.path), at("noise", "step"):
                raise InputError(reason, remedy="remove it")
    parts = curve.parts()
    if len(parts) > 1:
        labels = ", ".join("/".join(labels.values()) for labels, _ in parts[:8])
        group = next(iter(recipe.data.groups), "device")
        raise InputError(
            f"the rows are of {len(parts)} groups by {' and '.join(curve.groups)} ({labels})",
            where=curve.where,
            remedy=f"choose one by where under [data], give --together, or write [[observations]] to fit every {group}",
        )
    plausible.check_alone(curve, sign=any(column.sign is not None for column in recipe.data.columns.values()))


def _check_against_device(recipe: FitRecipe, curve: Curve, held_out: NDArray[np.bool_]) -> None:
    """Sign, order and kind of the whole curve, before its noise is taken for the law's fault."""
    forward = recipe.forward_of(curve, ~held_out, recipe.ramps)
    stated = recipe.data.columns.values()
    forward.check(
        start_of(recipe, forward, {}, {})[0],
        sign=any(column.sign is not None for column in stated),
        shift=any(column.shift is not None for column in stated),
    )


def _fit(
    recipe: FitRecipe,
    curve: Curve,
    rows: NDArray[np.bool_],
    choice: RampLaw,
    *,
    limit: Plateau | None = None,
    near: Values | None = None,
    tried: Minimum | None = None,
    ends: bool = False,
    progress: Progress | None = None,
) -> tuple[Minimum, Problem]:
    """The best minimum of ``rows`` that the recipe's start leads to, with one choice of the law; or that ``near``.

    ``tried`` is what an earlier search found: it is taken where it was of the same problem.
    """
    vary, extra = (choice.vary, choice.values) if isinstance(choice, Candidate) else (recipe.fit.vary, {})
    measured = rows if limit is None else rows & ~limit.rows  # start values cannot be read off a clipped row
    forward = recipe.forward_of(curve, measured, choice)
    known = {entry.name for entry in forward.params}
    for name in vary:
        if name not in known:
            raise UnknownName(f"parameter of {recipe.subject} in a curve of kind {curve.kind!r}", name, known)
    twice = sorted({name for name in vary if vary.count(name) > 1})
    if twice:
        with located(recipe.path), at(*(() if isinstance(choice, Candidate) else ("fit", "vary"))):
            raise InputError(
                f"{_listed(twice)} is named twice among the parameters that vary", remedy="name each parameter once"
            )
    with located(recipe.path), at("fit", "undetermined"):
        for name in recipe.fit.undetermined:
            if name not in known:
                raise UnknownName("parameter", name, known)
            if name in vary:
                raise InputError(f"{name} varies and is listed as undetermined", remedy="leave it out of one of them")
    absent = [name for name in vary if name not in forward.active]
    if absent:
        raise InputError(
            f"{_no_effect(absent)}: {_listed(absent)} cannot be determined from a curve of kind {curve.kind!r}",
            remedy="leave out of fit.vary what has no effect",
        )
    if measured.sum() <= len(vary):
        raise DataError(
            f"{int(measured.sum())} points for {len(vary)} parameters",
            where=curve.where,
            remedy="measure more, vary fewer parameters or hold out less",
        )
    everywhere = {*recipe.fit.vary, *(name for candidate in recipe.candidates for name in candidate.vary)}
    with located(recipe.path):
        for name in recipe.fit.bounds:
            with at("fit", "bounds", name):
                if name not in known:
                    raise UnknownName("parameter", name, known)
                if name not in everywhere:
                    raise InputError(
                        f"{name} has bounds but does not vary", remedy="add it to fit.vary, or drop its bounds"
                    )
        bounds = bounds_of(forward, vary, recipe.fit.bounds, "fit", "bounds")
    start, outside = start_of(recipe, forward, bounds, extra)
    bounds = within_reach(forward, bounds, start)
    noise = recipe.noise.per_point(curve)
    sigma = np.full(len(curve), float(np.std(curve.measured[measured]))) if noise is None else noise
    with located(recipe.path):
        # A prior is of every candidate that varies its parameter.
        wanted = {name: spec for name, spec in recipe.fit.priors.items() if name in vary or name not in everywhere}
        priors = priors_of(wanted, forward.params, vary)
    problem = Problem(forward, curve.measured, sigma, measured, tuple(vary), bounds, priors=priors)
    problem = replace(problem, noise=recipe.noise.weights(curve))
    idle = dead(problem, start)
    if len(idle) == len(vary):
        raise InputError(
            f"{_no_effect(idle)}, whatever the value within the bounds",
            remedy="vary a parameter that the curve shows",
        )
    moving = problem.without(*idle)
    if near is None and recipe.fit.method == NEAREST:
        near = start
    if near is not None:
        begin = start.with_(**{name: near[name] for name in vary})
        problem = problem.reweighed(begin)
        best = problem.without(*idle).ordered().minimise(begin, progress=progress)
    elif tried is not None and _same(moving, tried):
        best = tried
    else:
        others = other_starts(recipe.model, start, vary) if recipe.device else []
        method = recipe.fit.method
        best = search(moving, start, others=others, outside=outside, method=method, progress=progress)
    if not best.converged:  # in a valley without end: what it still gains is far below what the noise does
        best = moving.minimise(best.p, tolerance=VALLEY, progress=progress)
    for _ in range(FINER_ROUNDS):
        finer = problem.forward.finer(best.p, noise=problem.sigma * (problem.scale(best.p) if noise is None else 1.0))
        if finer is None:
            break
        problem = replace(problem, forward=finer)
        moving = problem.without(*idle)
        best = moving.minimise(best.p, progress=progress)
        if not best.converged and not ends:
            best = moving.minimise(best.p, tolerance=VALLEY, progress=progress)
    best, problem = problem.by_turns(best, *idle, progress=progress)
    _require_minimum(best)
    if limit is None and not (priors and noise is None):
        return best, problem
    for _ in range(CENSORED_ROUNDS if limit is not None else PRIOR_ROUNDS):
        # The likelihood of a clipped row, and the weight of a prior, depend on the noise.
        sigma = problem.sigma * (problem.scale(best.p) if noise is None else 1.0)
        problem = replace(problem, rows=rows, sigma=sigma, side=None if limit is None else limit.side)
        best = problem.without(*idle).minimise(best.p, progress=progress)
    best, problem = problem.by_turns(best, *idle, progress=progress)
    _require_minimum(best)
    return best, problem


def _same(problem: Problem, tried: Minimum) -> bool:
    """Whether a minimum is that of a problem: the same chi-square of the same rows, to within rounding."""
    return abs(problem.chi_square(tried.p) - tried.chi_square) <= SAME * tried.chi_square


def _require_minimum(found: Minimum) -> None:
    if not found.converged:
        raise FitError(
            f"no minimum after {found.evaluations} evaluations ({found.message.strip()})",
            remedy="start closer, fix a parameter that the curve does not determine, or narrow the bounds",
        )


def _listed(names: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _no_effect(names: Sequence[str]) -> str:
    return f"{_listed(names)} {'has' if len(names) == 1 else 'have'} no effect on this curve"


def _choose(
    recipe: FitRecipe, curve: Curve, held_out: NDArray[np.bool_], limit: Plateau | None
) -> tuple[RampLaw, tuple[Trial, ...], Minimum | None]:
    """The candidate with the smallest cross-validated error on the training part, and its minimum there.

    Held-out rows are not looked at.
    """
    if not recipe.candidates:
        return recipe.ramps, (), None
    kept = ~held_out if limit is None else ~held_out & ~limit.rows
    inner = curve.select(kept)
    trials, minima = zip(*(_try(recipe, inner, candidate) for candidate in recipe.candidates), strict=True)
    found = [(trial.error, index) for index, trial in enumerate(trials) if trial.error is not None]
    if not found:
        raise FitError(f"no candidate has a minimum; {trials[0].title}: {trials[0].note}", remedy="narrow the bounds")
    best = min(found)[1]
    return recipe.candidates[best], trials, minima[best]


def _try(recipe: FitRecipe, curve: Curve, candidate: Candidate) -> tuple[Trial, Minimum | None]:
    """Cross-validation of one candidate: the held-out rule again, turned, within the training part; and its minimum.

    One search over the whole part says where the minimum is; each fold's is looked for from there.
    """
    errors = []
    try:
        whole = _fit(recipe, curve, np.ones(len(curve), dtype=bool), candidate)[0]
        for out in recipe.held_out.folds(curve, FOLDS):
            found, problem = _fit(recipe, curve, ~out, candidate, near=whole.p)
            predicted = problem.forward.predict(found.p)
            errors.append(rms_over_range(curve.measured[out] - predicted[out], curve.measured[out]))
    except FitError as error:
        return Trial(candidate.title, None, error.message), None
    return Trial(candidate.title, float(np.mean(errors))), whole
