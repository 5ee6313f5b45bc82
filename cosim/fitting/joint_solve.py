"""The minimum of a joint fit, in turns with the noise of each observation and the spread of each population."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from scipy import stats

from cosim.devices.base import Array, Values
from cosim.errors import DataError, InputError, at
from cosim.fitting import outliers
from cosim.fitting.correlated import Whitening, most_likely
from cosim.fitting.forward import Rows
from cosim.fitting.identify import SMALL
from cosim.fitting.joint_recipe import StageSpec
from cosim.fitting.methods import LEAST_SQUARES
from cosim.fitting.observation import JointForward
from cosim.fitting.population import PopulationSpread, spreads
from cosim.fitting.priors import Prior
from cosim.fitting.problem import Minimum, Problem, Progress
from cosim.fitting.residuals import EXACT, Order, ResidualCheck, check_residuals, orders
from cosim.fitting.search import dead, search
from cosim.fitting.stepping import Stepping, noise_known, varies

# Turns of fit and noise; they end where no noise and no spread changes by more than this part.
ROUNDS, SETTLED = 30, 1e-3
# Of the variation of steps and the noise of their reads, which a search over heights gives to half of it.
STEADY = 0.01


class Found:
    """A minimum with its problem, the check of its residuals, the spreads of populations, and whether all settled."""

    def __init__(
        self, problem: Problem, minimum: Minimum, spread: Mapping[str, PopulationSpread], *, settled: bool = True
    ) -> None:
        self.problem, self.minimum, self.spread, self.settled = problem, minimum, spread, settled
        self.check = _check(problem, minimum.p)

    @property
    def forward(self) -> JointForward:
        """Of all observations."""
        assert isinstance(self.problem.forward, JointForward)
        return self.problem.forward

    @property
    def deviations(self) -> Array:
        """How far each row lies from what the law and the fitted rows before it say, in units of its noise; (n,)."""
        problem = self.problem
        z = (problem.forward.predict(self.minimum.p) - problem.measured) / problem.sigma
        return z if not isinstance(problem.whiten, Whitening) else problem.whiten.innovations(z, problem.rows)


def solve(
    forward: JointForward,
    stage: StageSpec,
    start: Values,
    *,
    search_on: bool,
    progress: Progress | None,
    kept: Rows | None = None,
) -> Found:
    """Fit, noise and spreads in turns; ``kept``: (n,) the rows that are fitted; default: those of the stage."""
    observations = forward.observations
    n = forward.measured_rows
    measured = np.concatenate([one.recording.measured for one in observations])
    rows = np.concatenate([one.rows(stage.part) for one in observations]) if kept is None else kept
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
    whiten: Whitening | None = None
    forward, stepping = Stepping.begun(forward, seen)

    def problem(*, limits: bool) -> Problem:
        width = np.array([tau[of] for _, of in forward.members])
        used = rows if limits else seen
        return Problem(
            forward,
            np.concatenate([measured, np.zeros(members)]),
            np.concatenate([sigma, width]),
            np.concatenate([used, np.ones(members, dtype=bool)]),
            names,
            bounds,
            np.concatenate([side, np.zeros(members, dtype=np.int64)]) if limits and side.any() else None,
            priors,
            whiten,
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
    # Deviations of a train with varying steps follow from what its noise is made of, which is compared instead.
    trains = np.concatenate([np.full(len(one.recording), varies(one)) for one in observations])
    for _ in range(ROUNDS):
        last = np.concatenate([sigma, [tau[of] for of in forward.population], _correlations(whiten)])
        whiten = _whitening(forward, current, best.p, seen)
        sigma = _noise(forward, current, best.p, sigma, seen)
        settled = True
        if stepping is not None:
            before = stepping.numbers
            forward, stepping, sigma = stepping.next(forward, best.p, rows, sigma)
            settled = before.size > 0 and np.allclose(stepping.numbers, before, rtol=STEADY)
            last[:n][trains] = sigma[trains]
        current = problem(limits=bool(side.any()))
        if members:
            spread = _spreads(current, best.p, size)
            tau = {of: max(one.value, 1e-4 * size[of]) for of, one in spread.items()}
            current = problem(limits=bool(side.any()))
        best = current.minimise(best.p, progress=progress)
        spent += best.evaluations
        now = np.concatenate([sigma, [tau[of] for of in forward.population], _correlations(whiten)])
        settled = bool(settled and now.size == last.size and np.all(np.abs(now / last - 1.0) < SETTLED))
        if settled:
            break
    return Found(current, replace(best, evaluations=spent), spread, settled=settled)


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
    """Standard deviations of the rows at ``p``: of an observation without stated noise, from its residuals.

    Stated noise that is a share of the value is one of what is predicted.

    The degrees of freedom that the fit takes from an observation are the sum of its rows' leverages.
    """
    leverage = _leverage(problem, p)
    predicted = forward.predict(p)
    residual = problem.sigma * independent(problem, (predicted - problem.measured) / problem.sigma)
    changed = sigma.copy()
    for one, rows in zip(forward.observations, forward.rows, strict=True):
        used = seen[rows]
        if varies(one) or not used.any():
            continue
        if (stated := one.noise_of(predicted[rows])) is not None:
            changed[rows] = stated
            continue
        left = max(float(used.sum() - leverage[rows][used].sum()), 1.0)
        floor = EXACT * float(np.abs(one.recording.measured).max())
        changed[rows] = max(math.sqrt(float(np.sum(residual[rows][used] ** 2)) / left), floor)
    return changed


def independent(problem: Problem, z: Array) -> Array:
    """Residuals (..., n) of all rows, or their derivatives, with the fitted ones made independent."""
    found = z.copy()
    found[..., problem.rows] = problem.independent(z[..., problem.rows])
    return found


def _correlations(whiten: Whitening | None) -> Array:
    """What is compared from round to round: 1 + r, which is never zero."""
    return np.empty(0) if whiten is None else 1.0 + np.asarray(whiten.r)


def _whitening(forward: JointForward, problem: Problem, p: Values, seen: Rows) -> Whitening | None:
    """That of the observations whose noise is stated to be correlated, each with a correlation of its own."""
    if not any(one.spec.noise.correlation for one in forward.observations):
        return None
    predicted, derivatives = forward.linearise(p, problem.names)
    r, index, group, count = np.zeros(problem.rows.size), [], [], 0
    for one, rows in zip(forward.observations, forward.rows, strict=True):
        order, stated = orders(one.recording)[0], one.spec.noise.correlation
        if stated and one.side.any():
            raise InputError(
                f"{one.name} has clipped values, and correlated noise is not for these",
                remedy='leave out its noise.correlation, or write compliance = "none"',
            )
        used = seen[rows]
        if stated == "fit" and used.any():
            sigma = problem.sigma[rows][used]
            z = ((predicted - problem.measured)[rows][used] / sigma, derivatives[:, rows][:, used] / sigma)
            r[rows] = most_likely(Whitening.of(0.0, order, used), *z)
        elif stated:
            r[rows] = float(stated)
        index.append(order.index + rows.start)
        group.append(order.group + count)
        count += int(order.group.max()) + 1
    members = np.arange(forward.measured_rows, r.size)
    index.append(members)
    group.append(count + members)
    return Whitening.of(r, Order("each observation", np.concatenate(index), np.concatenate(group)), problem.rows)


def screened(found: Found, again: Callable[[Rows], Found]) -> tuple[Found, Rows]:
    """The fit without outliers, looked for in each observation by the noise of that one, and which rows they are; (n,).

    None are looked for where rows are clipped, or the law leaves more than noise.
    """
    forward, n = found.forward, found.forward.measured_rows
    rows, check = found.problem.rows[:n], found.check
    wanted = [one.spec.noise.outliers == "leave out" for one in forward.observations]
    if not any(wanted) or found.problem.side is not None or check.exact or check.size < SMALL:
        return found, np.zeros(n, dtype=bool)
    if check.structured and check.explains:
        return found, np.zeros(n, dtype=bool)

    def excess(one: Found, kept: Rows) -> Array:
        z, size = one.deviations, np.zeros(n)
        z[one.problem.rows] /= np.sqrt(np.maximum(1.0 - _leverage(one.problem, one.minimum.p)[one.problem.rows], 0.1))
        for k, (each, part) in enumerate(zip(forward.observations, forward.rows, strict=True)):
            if wanted[k]:
                known = noise_known(each)
                size[part] = outliers.beyond(z[part], kept[part], parameters=len(forward.names[k]), known=known)
        return size

    return outliers.without(found, rows, excess=excess, again=again, orders=_orders(forward))


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
    null = np.zeros(seen.size)
    for rows in forward.rows:
        if (used := seen[rows]).any():
            y, s = problem.measured[rows], problem.sigma[rows]
            null[rows] = (y - np.average(y[used], weights=s[used] ** -2)) / s
    null = independent(problem, null)[seen]
    residual = independent(problem, (predicted - problem.measured) / problem.sigma)
    stated = np.zeros(seen.size, dtype=bool)
    for one, rows in zip(forward.observations, forward.rows, strict=True):
        stated[rows] = noise_known(one)
    check = check_residuals(
        residual[seen],
        independent(problem, derivatives / problem.sigma)[:, seen],
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
