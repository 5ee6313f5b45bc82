"""From several observations to shared, per-group and population parameters, in stages: `extract_joint`.

Every stage is one weighted least-squares problem over all its observations (`cosim.fitting.observation`), solved,
judged and profiled as that of a single curve. Two unknowns are estimated in alternation with it: the noise of each
observation that states none, from its residuals and the degrees of freedom that the fit uses up; and the spread of each
population (`cosim.fitting.population`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from scipy import stats

from cosim.data.recording import Recording
from cosim.errors import FitError, InputError, at
from cosim.fitting import correlated, outliers, plateau, stepping
from cosim.fitting.check import check_fit
from cosim.fitting.correlated import Whitening
from cosim.fitting.extract import AGAIN
from cosim.fitting.forward import Rows
from cosim.fitting.identify import LEVEL, WEAK, ParameterVerdict, Status, judge
from cosim.fitting.joint_recipe import JointRecipe, StageSpec
from cosim.fitting.joint_result import JointResult, StageResult
from cosim.fitting.joint_solve import Found, screened, solve
from cosim.fitting.observation import JointForward, Observation
from cosim.fitting.observe import check_parameters, observe
from cosim.fitting.priors import weighed
from cosim.fitting.problem import Problem, Progress
from cosim.fitting.residuals import orders
from cosim.fitting.result import Cost
from cosim.fitting.simulators import simulators
from cosim.fitting.uncertainty import covariance_of, natural_size
from cosim.schema import located

# Of a normal distribution, standard errors to the end of an interval.
HEIGHT = float(stats.norm.ppf(0.5 + LEVEL / 2))


def extract_joint(
    recipe: JointRecipe,
    recordings: Mapping[str, Recording] = MappingProxyType({}),
    *,
    profile: bool = False,
    progress: Progress | None = None,
) -> JointResult:
    """Fit all observations of a recipe together, stage by stage, and judge what they determine.

    Args:
        recipe: observations, parameters with their scopes, stages.
        recordings: by the name of an observation, in place of its file.
        profile: 95 % intervals from the profile likelihood throughout.
        progress: called with the number of evaluations and chi-square.

    Raises:
        InputError, DataError: the recipe or a recording cannot be used; FitError: a stage has no minimum.

    >>> from cosim.resources import find
    >>> curve = cosim.FitRecipe.load(find("fits", "virtual_lab/access.toml")).curve()
    >>> recipe = cosim.JointRecipe.model_validate({"name": "two", "device": "access_transistor",
    ...     "observations": [{"name": name, "kind": "i-v"} for name in "AB"],
    ...     "parameters": {"g_on": {"scope": "own"}, "v_sat": {}, "v_c": {}}})
    >>> found = cosim.extract_joint(recipe, {"A": curve, "B": curve.with_measured(2.0 * curve.measured)})
    >>> [row.name for row in found.rows()]
    ['g_on[A]', 'v_sat', 'v_c', 'g_on[B]']
    """
    began = time.perf_counter()
    with simulators(), located(recipe.path):
        observations = observe(recipe, recordings)
        check_parameters(recipe, observations)
        done: list[StageResult] = []
        values: dict[str, float] = {}
        for k, stage in enumerate(recipe.stages):
            with at("stages", k):
                result, observations = _stage(recipe, stage, observations, values, profile=profile, progress=progress)
            values |= {name: float(value) for name, value in result.values.items()}
            observations = [_moved(one, recipe, values) for one in observations]
            done.append(result)
    cost = Cost(sum(stage.evaluations for stage in done), time.perf_counter() - began)
    return JointResult(recipe, tuple(observations), tuple(done), cost)


def _moved(one: Observation, recipe: JointRecipe, values: Mapping[str, float]) -> Observation:
    """An observation whose parameters are where an earlier stage left them."""
    changes = {}
    for name, spec in recipe.parameters.items():
        unknown = name if spec.scope == "shared" else f"{name}[{one.group(spec.by)}]"
        if unknown in values and name in one.base:
            changes[name] = values[unknown]
    return replace(one, base=one.base.with_(**changes))


def _stage(
    recipe: JointRecipe,
    stage: StageSpec,
    observations: list[Observation],
    before: Mapping[str, float],
    *,
    profile: bool,
    progress: Progress | None,
) -> tuple[StageResult, list[Observation]]:
    """One stage, and all observations with what was found about their limits."""
    wanted = set(stage.observations)
    chosen = [one for one in observations if not wanted or {one.spec.name, one.spec.kind} & wanted]
    specs = {name: spec for name, spec in recipe.parameters.items() if not stage.vary or name in stage.vary}
    forward = JointForward(chosen, specs)
    if stage.vary and (idle := specs.keys() - {u.parameter for u in forward.unknowns.values()}):
        raise InputError(
            f"{' and '.join(sorted(idle))} cannot be determined from the observations of the stage",
            remedy="leave it out of vary, or add an observation that shows it",
        )
    start = forward.start()
    start = start.with_(**{name: before[name] for name in start if name in before})
    held, spent = {name: value for name, value in before.items() if name not in forward.unknowns}, 0
    for again in range(AGAIN + 1):
        found = solve(forward, stage, start, search_on=not before and not again, progress=progress)
        if not found.check.exact:
            limits = [
                one.limit or (plateau.found(one.recording) if one.spec.compliance is None else None) for one in chosen
            ]
            if any(new is not one.limit for one, new in zip(chosen, limits, strict=True)):
                chosen = [replace(one, limit=limit) for one, limit in zip(chosen, limits, strict=True)]
                forward = JointForward(chosen, specs)
                found = solve(forward, stage, found.minimum.p, search_on=False, progress=progress)
        refit = partial(solve, forward, stage, found.minimum.p, search_on=False, progress=progress)
        found, left = screened(found, lambda rows, refit=refit: refit(kept=rows))  # type: ignore[misc]
        if not found.minimum.converged:
            raise FitError(
                f"no minimum after {found.minimum.evaluations} evaluations ({found.minimum.message.strip()})",
                remedy="start closer, share or hold a parameter that the observations do not determine, or narrow "
                "bounds",
            )
        result = _judged(stage, found, left, held=sorted(held), profile=profile)
        spent += result.evaluations
        if result.verdict.better is None:
            break
        start = result.verdict.better.p
    result = replace(result, evaluations=spent)
    chosen = [
        replace(one, left=left[rows] if left[rows].any() else None, forward=fitted.forward)
        for one, fitted, rows in zip(chosen, found.forward.observations, forward.rows, strict=True)
    ]
    by_name = {one.name: one for one in chosen}
    return result, [by_name.get(one.name, one) for one in observations]


def _of_groups(entry: ParameterVerdict, problem: Problem, value: float, reach: float, groups: int) -> ParameterVerdict:
    """The verdict on a population's mean, whose interval is ``value`` ± ``reach`` within the bounds."""
    low, high = problem.bounds[entry.name]
    ends, source = (max(value - reach, low), min(value + reach, high)), "Student's t of the groups"
    size = natural_size(problem, entry.name, value)
    share = reach / (HEIGHT * size) if size > 0.0 else math.inf
    if entry.status not in ("identifiable", "conditional") or share <= WEAK:
        return replace(entry, interval=ends, source=source)
    reason = (
        f"{entry.name} is known to within {share:.0%} of its size only: it is the mean of {groups} groups that differ"
    )
    status: Status = "weakly identifiable" if share <= 1.0 else "not identifiable"
    return replace(entry, status=status, reason=f"{reason}; measure more of them", interval=ends, source=source)


def _judged(stage: StageSpec, found: Found, left: Rows, *, held: Sequence[str], profile: bool) -> StageResult:
    problem, minimum, forward = found.problem, found.minimum, found.forward
    deviations = found.deviations
    # Every sigma is the noise itself by now: as stated, or of this observation's residuals.
    uncertainty = covariance_of(problem, minimum.p, scale=1.0)
    known = found.check.noise_known
    verdict = judge(problem, minimum, uncertainty, found.check, scale=1.0, noise_known=known, profile=profile)
    parameters = list(verdict.parameters)
    remarks = [*verdict.remarks, *weighed(problem, minimum.p, uncertainty)]
    if not found.settled:
        remarks.append("noise and spreads between devices did not settle: their last values are taken")
    for j, entry in enumerate(parameters):
        of = entry.name.removesuffix(".mean")
        error = uncertainty.stderr(entry.name)
        if of in found.spread and of != entry.name and error is not None:
            # Of few groups the spread is uncertain itself: Student's t with one degree of freedom less than groups.
            reach = float(stats.t.ppf(0.5 + LEVEL / 2, found.spread[of].groups - 1)) * error
            parameters[j] = _of_groups(entry, problem, float(minimum.p[entry.name]), reach, found.spread[of].groups)
    checks = {}
    for k, one in enumerate(forward.observations):
        rows = forward.rows[k]
        local = forward.names[k]
        used = problem.rows[rows]
        if not used.any():
            continue
        p = forward.local(k, minimum.p)
        bounds = {name: problem.bounds[unknown] for name, unknown in local.items()}
        single = Problem(
            one.forward, problem.measured[rows], problem.sigma[rows], used, tuple(local), bounds,
            None if problem.side is None else problem.side[rows],
        )  # fmt: skip
        if isinstance(problem.whiten, Whitening) and one.spec.noise.correlation:
            r = float(problem.whiten.of_rows[rows.start])
            single = replace(single, whiten=Whitening.of(r, orders(one.recording)[0], used))
            remarks.append(f"{one.name}: {correlated.sentence(r, assumed=False)}")
        if (varying := stepping.found(one)) is not None:
            remarks.append(f"{one.name}: {varying.sentence(one.recording, assumed=False)}")
        if left[rows].any():
            remarks.append(f"{one.name}: {outliers.sentence(left[rows], one.recording, deviations[rows])}")
        if single.points > len(local):
            checks[one.name] = check_fit(single, p, one.recording, noise_known=stepping.noise_known(one))
        remarks += one.forward.remarks(tuple(local), p)
        if one.limit is not None:
            remarks.append(f"{one.name}: {one.limit.sentence(one.recording)}")
    bad = [name for name, check in checks.items() if not check.white and not check.exact]
    remarks += [
        f"{name}: the residuals are {math.sqrt(check.reduced_chi_square):.2f} times its stated noise"
        for name, check in checks.items()
        if check.too_large
    ]
    if bad:
        remarks.append(f"the law leaves more than noise of {', '.join(bad)}: look at these observations first")
    if len(found.spread) > 1:
        listed = " and ".join(found.spread)
        remarks.append(f"the interval of each spread is conditional on the other populations' best values ({listed})")
    for of, one_spread in found.spread.items():
        if one_spread.interval[0] == 0.0:
            remarks.append(
                f"{of}: that its {one_spread.groups} groups differ is not shown, their spread may be 0; share it, or "
                "measure more groups"
            )
    if held:
        listed = ", ".join(held[:8]) + (f" and {len(held) - 8} others" if len(held) > 8 else "")
        remarks.append(f"errors are conditional on what an earlier stage found: {listed}")
    verdict = replace(verdict, parameters=tuple(parameters), remarks=tuple(dict.fromkeys(remarks)))
    return StageResult(
        stage.title, forward, problem, minimum.p, uncertainty, verdict, found.spread, checks, minimum.evaluations
    )
