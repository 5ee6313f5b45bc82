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
from types import MappingProxyType

import numpy as np
from scipy import stats

from cosim.data.recording import Recording
from cosim.devices.base import Array, Values
from cosim.devices.registry import device as find_device
from cosim.errors import DataError, FitError, InputError, UnknownName, at
from cosim.fitting import plateau, plausible
from cosim.fitting.check import check_fit
from cosim.fitting.identify import LEVEL, judge
from cosim.fitting.joint_recipe import JointRecipe, StageSpec
from cosim.fitting.joint_result import JointResult, StageResult
from cosim.fitting.methods import LEAST_SQUARES
from cosim.fitting.observation import JointForward, Observation
from cosim.fitting.population import PopulationSpread, spreads
from cosim.fitting.priors import Prior, weighed
from cosim.fitting.problem import Minimum, Problem, Progress
from cosim.fitting.residuals import EXACT, Order, ResidualCheck, check_residuals, orders
from cosim.fitting.result import Cost
from cosim.fitting.search import dead, search
from cosim.fitting.simulators import simulators
from cosim.fitting.start import bounds_of, start_of
from cosim.fitting.uncertainty import covariance_of
from cosim.schema import located

# Turns of fit and noise; they end where no noise and no spread changes by more than this part.
ROUNDS, SETTLED = 30, 1e-3


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
        _check_parameters(recipe, observations)
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


def observe(recipe: JointRecipe, recordings: Mapping[str, Recording]) -> list[Observation]:
    """The observations of a recipe: each recording with its forward model, split by the groups of its rows."""
    found: list[Observation] = []
    for k, spec in enumerate(recipe.observations):
        with at("observations", k):
            whole = recordings.get(spec.name) or recipe.recording(spec)
            if whole.kind != spec.kind:
                raise InputError(f"a curve of kind {whole.kind!r}; the recipe's is {spec.kind!r}", where=whole.where)
            parts = whole.parts()
            for labels, recording in parts:
                name = spec.name if len(parts) == 1 else f"{spec.name}/{'/'.join(labels.values())}"
                held_out = spec.held_out.rows(recording)
                name_of = spec.model or recipe.device
                device = find_device(name_of) if name_of or spec.circuit is None else None
                law = {"course": spec.ramps.course, "start": spec.ramps.start}
                forward = recipe.forward(recording, ~held_out, law=law, device=device, circuit=spec.circuit)
                known = {entry.name for entry in forward.params}
                vary = {n: p.bounds for n, p in recipe.parameters.items() if n in forward.active}
                given = {n: ends for n, ends in vary.items() if ends is not None}
                bounds = bounds_of(forward, tuple(vary), given)
                for parameter in spec.values:
                    if parameter not in known:
                        raise UnknownName("parameter", parameter, known)
                common = {n: v for n, v in recipe.start.values.items() if n in known}
                own = recipe.model_copy(update={"start": recipe.start.model_copy(update={"values": common})})
                base = start_of(own, forward, bounds, spec.values)[0]
                stated = spec.columns.values()
                plausible.check(recording, sign=any(c.sign is not None for c in stated))
                forward.check(
                    base, sign=any(c.sign is not None for c in stated), shift=any(c.shift is not None for c in stated)
                )
                limit, noise = plateau.stated(recording, spec.clipping), spec.noise.per_point(recording)
                marks = {**spec.labels, **labels}
                found.append(
                    Observation(name, spec, recording, marks, device, forward, bounds, held_out, noise, base, limit)
                )
    names = [one.name for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(
            f"two observations are called {twice[0]!r}", remedy="rename one, or leave '/' out of the labels in its file"
        )
    return found


def _check_parameters(recipe: JointRecipe, observations: Sequence[Observation]) -> None:
    known = {entry.name for one in observations for entry in one.forward.params}
    active = {name for one in observations for name in one.forward.active}
    saved: dict[str, tuple[tuple[str, ...], set[str]]] = {}
    for name in recipe.start.values:
        if name not in known:
            with at("start", "values", name):
                raise UnknownName("parameter", name, known)
    for name, spec in recipe.parameters.items():
        with at("parameters", name):
            if name not in known:
                raise UnknownName("parameter", name, known)
            if name not in active:
                raise InputError(
                    f"{name} has no effect on any observation", remedy="leave it out, or add one that shows it"
                )
            groups: dict[tuple[str, ...], set[str]] = {}
            for one in observations:
                if name in one.forward.active:
                    groups.setdefault(one.key(spec.by), set()).add(one.name)
            if spec.scope == "population" and len(groups) < 3:
                raise InputError(
                    f"{name} has {len(groups)} {'value' if len(groups) == 1 else 'values'} by {spec.by}, and a "
                    "population needs at least three",
                    remedy='write scope = "own", or label more groups',
                )
            if spec.scope == "shared":
                continue
            # Different groups need different names, for their values and for the sets that these are saved in.
            for key, members in groups.items():
                title = recipe.set_name("/".join(key))
                other, theirs = saved.setdefault(title, (key, members))
                if other != key and members.isdisjoint(theirs):
                    raise InputError(
                        f"the groups {_quoted(other)} and {_quoted(key)} would both be saved as {title!r}",
                        remedy="rename one of their labels, without '/' and '_'",
                    )


def _quoted(key: tuple[str, ...]) -> str:
    return "/".join(repr(label) for label in key)


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
    found = _solve(forward, stage, start, search_on=not before, progress=progress)
    if not found.check.exact:
        limits = [
            one.limit or (plateau.found(one.recording) if one.spec.compliance is None else None) for one in chosen
        ]
        if any(new is not one.limit for one, new in zip(chosen, limits, strict=True)):
            chosen = [replace(one, limit=limit) for one, limit in zip(chosen, limits, strict=True)]
            forward = JointForward(chosen, specs)
            found = _solve(forward, stage, found.minimum.p, search_on=False, progress=progress)
    if not found.minimum.converged:
        raise FitError(
            f"no minimum after {found.minimum.evaluations} evaluations ({found.minimum.message.strip()})",
            remedy="start closer, share or hold a parameter that the observations do not determine, or narrow bounds",
        )
    held = {name: value for name, value in before.items() if name not in forward.unknowns}
    result = _judged(stage, found, held=sorted(held), profile=profile)
    by_name = {one.name: one for one in chosen}
    return result, [by_name.get(one.name, one) for one in observations]


class _Found:
    """A minimum with its problem, the check of its residuals and the spreads of populations."""

    def __init__(self, problem: Problem, minimum: Minimum, spread: Mapping[str, PopulationSpread]) -> None:
        self.problem, self.minimum, self.spread = problem, minimum, spread
        self.check = _check(problem, minimum.p)


def _solve(
    forward: JointForward, stage: StageSpec, start: Values, *, search_on: bool, progress: Progress | None
) -> _Found:
    """Fit, noise and spreads in turns."""
    observations = forward.observations
    n = forward.measured_rows
    measured = np.concatenate([one.recording.measured for one in observations])
    rows = np.concatenate([one.rows(stage.part) for one in observations])
    side = np.concatenate([one.side for one in observations])
    seen = rows & (side == 0)
    sigma = np.concatenate(
        [
            np.full(len(one.recording), max(float(np.std(one.recording.measured)), 1e-300)) if one.noise is None
            else one.noise
            for one in observations
        ]
    )  # fmt: skip
    members = len(forward.members)
    bounds = _bounds(forward)
    priors = _priors(forward)
    start = start.with_(**{name: min(max(float(start[name]), low), high) for name, (low, high) in bounds.items()})
    names = forward.active
    if int(seen.sum()) <= len(names):
        raise DataError(
            f"{int(seen.sum())} points for {len(names)} parameters",
            remedy="measure more, share more parameters or hold out less",
        )
    free = Problem(
        forward, np.zeros(n + members), np.ones(n + members), np.ones(n + members, dtype=bool), names, bounds
    )
    size = {of: free.size(f"{of}.mean", float(start[f"{of}.mean"])) for of in forward.population}
    # Wide at first: each group follows its recordings alone.
    tau = {of: size[of] for of in forward.population}
    spread: dict[str, PopulationSpread] = {}

    def problem(*, limits: bool) -> Problem:
        width = np.array([tau[of] for _, of in forward.members])
        kept = rows if limits else seen
        return Problem(
            forward,
            np.concatenate([measured, np.zeros(members)]),
            np.concatenate([sigma, width]),
            np.concatenate([kept, np.ones(members, dtype=bool)]),
            names,
            bounds,
            np.concatenate([side, np.zeros(members, dtype=np.int64)]) if limits and side.any() else None,
            priors,
        )

    current = problem(limits=False)
    idle = dead(current, start)
    if idle:
        raise InputError(
            f"{' and '.join(idle)} {'has' if len(idle) == 1 else 'have'} no effect on the observations, whatever the "
            "value within the bounds",
            remedy="vary what they show",
        )
    if search_on or stage.method != LEAST_SQUARES:
        others = _elsewhere(forward, start)
        best = search(current, start, others=others, method=stage.method, progress=progress)
    else:
        best = current.minimise(start, progress=progress)
    spent = best.evaluations
    for _ in range(ROUNDS):
        last = np.concatenate([sigma, [tau[of] for of in forward.population]])
        sigma = _noise(forward, current, best.p, sigma, seen)
        current = problem(limits=bool(side.any()))
        if members:
            spread = _spreads(current, best.p, size)
            tau = {of: max(one.value, 1e-4 * size[of]) for of, one in spread.items()}
            current = problem(limits=bool(side.any()))
        best = current.minimise(best.p, progress=progress)
        spent += best.evaluations
        now = np.concatenate([sigma, [tau[of] for of in forward.population]])
        if np.all(np.abs(now / last - 1.0) < SETTLED):
            break
    return _Found(current, replace(best, evaluations=spent), spread)


def _bounds(forward: JointForward) -> dict[str, tuple[float, float]]:
    """Those of the recipe or the model, the same for each group of a parameter."""
    found = forward.bounds()
    for one, local in zip(forward.observations, forward.names, strict=True):
        for name, unknown in local.items():
            found[unknown] = one.bounds[name]
            if f"{name}.mean" in found:
                found[f"{name}.mean"] = one.bounds[name]
    return found


def _priors(forward: JointForward) -> tuple[Prior, ...]:
    """Of each value of a parameter that has one; of a population, of its mean."""
    entries, found = {entry.name: entry for entry in forward.params}, []
    for name, unknown in forward.unknowns.items():
        given = forward.specs[unknown.parameter].prior
        if given is not None and (unknown.scope != "population" or not unknown.group):
            with at("parameters", unknown.parameter, "prior"):
                found.append(given.prior(name, entries[name]))
    return tuple(found)


def _elsewhere(forward: JointForward, start: Values) -> list[Values]:
    """Further starts that the devices propose."""
    models = {one.model.name: one.model for one in forward.observations if one.model is not None}
    made = []
    for factors in (factors for device in models.values() for factors in device.elsewhere):
        changes = {
            name: float(start[name]) * factors[unknown.parameter]
            for name, unknown in forward.unknowns.items()
            if unknown.parameter in factors
        }
        made += [start.with_(**changes)] if changes else []
    return made


def _noise(forward: JointForward, problem: Problem, p: Values, sigma: Array, seen: Array) -> Array:
    """Standard deviations of the rows: of an observation without stated noise, from its residuals at ``p``.

    The degrees of freedom that the fit takes from an observation are the sum of its rows' leverages.
    """
    leverage = _leverage(problem, p)
    residual = forward.predict(p) - problem.measured
    changed = sigma.copy()
    for one, rows in zip(forward.observations, forward.rows, strict=True):
        used = seen[rows]
        if one.noise is not None or not used.any():
            continue
        left = max(float(used.sum() - leverage[rows][used].sum()), 1.0)
        floor = EXACT * float(np.abs(one.recording.measured).max())
        changed[rows] = max(math.sqrt(float(np.sum(residual[rows][used] ** 2)) / left), floor)
    return changed


def _leverage(problem: Problem, p: Values) -> Array:
    """What the fit at ``p`` takes from each row, of one degree of freedom; 0 of rows that take no part; (n,)."""
    jacobian = problem.jacobian(p)
    length = np.linalg.norm(jacobian, axis=1)
    q = np.linalg.qr((jacobian[length > 0.0] / length[length > 0.0, None]).T)[0]
    leverage = np.zeros(problem.rows.size)
    leverage[problem.rows] = np.sum(q**2, axis=1)[: int(problem.rows.sum())]  # without those of priors
    return leverage


def _spreads(problem: Problem, p: Values, size: Mapping[str, float]) -> dict[str, PopulationSpread]:
    forward = problem.forward
    assert isinstance(forward, JointForward)
    data = np.arange(problem.rows.size) < forward.measured_rows
    kept = data[problem.rows]
    residual, jacobian = (found[..., : kept.size][..., kept] for found in (problem.residual(p), problem.jacobian(p)))
    return spreads(forward, p, names=problem.names, residual=residual, jacobian=jacobian, size=size)


def _check(problem: Problem, p: Values) -> ResidualCheck:
    """The tests on the residuals of all observations, neighbours within an observation only.

    Chi-square is that of the observations whose noise is stated: of the others it is 1 by construction.
    """
    forward = problem.forward
    assert isinstance(forward, JointForward)
    n = forward.measured_rows
    seen = problem.seen.copy()
    seen[n:] = False
    predicted, derivatives = forward.linearise(p, problem.names)
    null = np.concatenate([
        ((y - np.average(y[used], weights=s[used] ** -2)) / s)[used]
        for rows in forward.rows
        for y, s, used in [(problem.measured[rows], problem.sigma[rows], seen[rows])]
        if used.any()
    ])  # fmt: skip
    residual = (predicted - problem.measured) / problem.sigma
    stated = np.zeros(seen.size, dtype=bool)
    for one, rows in zip(forward.observations, forward.rows, strict=True):
        stated[rows] = one.noise is not None
    check = check_residuals(
        residual[seen],
        (derivatives / problem.sigma)[:, seen],
        orders=tuple(order.of(seen[:n]) for order in _orders(forward)),
        measured=(problem.measured / problem.sigma)[seen],
        null=null,
        noise_known=bool(stated[seen].all()),
    )
    stated &= seen
    if check.noise_known or not stated.any():
        return check
    squares = float(residual[stated] @ residual[stated])
    free = max(float(stated.sum() - _leverage(problem, p)[stated].sum()), 1.0)
    return replace(check, reduced_chi_square=squares / free, chi_square_chance=float(stats.chi2.sf(squares, free)))


def _orders(forward: JointForward) -> tuple[Order, ...]:
    """The orders of all observations one after the other; an observation with fewer of them repeats its first."""
    each = [orders(one.recording) for one in forward.observations]
    made = []
    for j in range(max(map(len, each))):
        index, group, count = [], [], 0
        for found, rows in zip(each, forward.rows, strict=True):
            order = found[min(j, len(found) - 1)]
            index.append(order.index + rows.start)
            group.append(order.group + count)
            count += int(order.group.max()) + 1
        titles = dict.fromkeys(found[min(j, len(found) - 1)].title for found in each)
        made.append(Order(" and ".join(titles), np.concatenate(index), np.concatenate(group)))
    return tuple(made)


def _judged(stage: StageSpec, found: _Found, *, held: Sequence[str], profile: bool) -> StageResult:
    problem, minimum, forward = found.problem, found.minimum, found.problem.forward
    assert isinstance(forward, JointForward)
    # Every sigma is the noise itself by now: as stated, or of this observation's residuals.
    uncertainty = covariance_of(problem, minimum.p, scale=1.0)
    known = found.check.noise_known
    verdict = judge(problem, minimum, uncertainty, found.check, scale=1.0, noise_known=known, profile=profile)
    parameters = list(verdict.parameters)
    remarks = [*verdict.remarks, *weighed(problem, minimum.p, uncertainty)]
    for j, entry in enumerate(parameters):
        of = entry.name.removesuffix(".mean")
        error = uncertainty.stderr(entry.name)
        if of in found.spread and of != entry.name and error is not None:
            # Of few groups the spread is uncertain itself: Student's t with one degree of freedom less than groups.
            reach = float(stats.t.ppf(0.5 + LEVEL / 2, found.spread[of].groups - 1)) * error
            value = float(minimum.p[entry.name])
            parameters[j] = replace(entry, interval=(value - reach, value + reach), source="Student's t of the groups")
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
        if single.points > len(local):
            checks[one.name] = check_fit(single, p, one.recording, noise_known=one.noise is not None)
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
