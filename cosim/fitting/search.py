"""Which minimum: several starts, more of them where the first ones disagree or what they found is doubtful.

Two searches that end at the same minimum, with residuals that look like noise, are evidence enough. Otherwise the
search goes on along other paths: from the fits with one parameter fewer (a fit must not end above one inside it), and
from a Latin hypercube over the bounds, the best points of which are followed; what lies at a bound then is tried
elsewhere. Every call gives the same result: the hypercube's seed is fixed. The numbers are our choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import qmc

from cosim.devices.base import Array, Values
from cosim.errors import FitError
from cosim.fitting.coordinates import spans_decades
from cosim.fitting.explore import explore
from cosim.fitting.methods import LEAST_SQUARES, NEAREST, Method
from cosim.fitting.problem import Minimum, Problem, Progress
from cosim.fitting.residuals import EXACT, SUSPICIOUS, runs_test
from cosim.fitting.uncertainty import covariance_of, natural_size

# A relative misfit of two minima that counts as the same one.
SAME = 1e-6
# A path is first followed to this tolerance, for so many evaluations, and to its end where it comes close to the best
# minimum so far, at another place: by more than this in a logarithm or in units of a parameter's size.
QUICK, GLANCES, CLOSE, APART = 1e-4, 60, 3e-3, 0.03
# Points of the hypercube, of which so many are followed.
POINTS, FOLLOWED = 64, 5
# Of simulated ones so many.
PURSUED = 2
# Places at which a parameter that does nothing at the start is tried.
PROBES = 8
# A residual that changes by no more of itself has not changed: trains are solved to 1e-12 of the state.
SAME_ROW = 1e-9
# Half of the points lie within this factor of the start, the others within the bounds.
NEAR, FAR = 30.0, 1e4
# From so many rows on one start is enough where it ends in noise with every parameter known to this part of its size:
# in about 100 such trains that were searched on all the same, one in ten had a lower minimum, by 0.26 of the noise's
# variance at most (kinks of chi-square where a threshold passes a pulse).
ROWS_ENOUGH, KNOWN = 100, 0.1
# A law that leaves more than this share of the measured values' variance is searched on.
UNEXPLAINED = 0.1


def search(
    problem: Problem,
    start: Values,
    *,
    others: Sequence[Values] = (),
    outside: Values | None = None,
    method: Method = LEAST_SQUARES,
    progress: Progress | None = None,
) -> Minimum:
    """The lowest minimum that the starts lead to, or that lies below where another ``method`` ends.

    Args:
        problem: the problem.
        start: all parameters, varied and fixed.
        others: further starts, worth trying before any others.
        outside: the values that parameters have where they do not vary; default: those of ``start``.
        method: of `cosim.fitting.explore`.
        progress: called with the number of evaluations and chi-square.

    Raises:
        FitError: the model gives no finite number at any start.
    """
    problem = problem.ordered()
    if method == NEAREST:
        return problem.minimise(start, progress=progress)
    if method != LEAST_SQUARES:
        place, spent = explore(problem, start, method)
        found = problem.minimise(place, progress=progress)
        return replace(found, evaluations=found.evaluations + spent)
    if problem.forward.expensive:
        return _frugal(problem, start, others, progress)
    minima: list[Minimum] = []
    failures: list[FitError] = []

    def follow(point: Values, *, logarithmic: bool = True) -> None:
        try:
            minima.append(problem.minimise(point, logarithmic=logarithmic, progress=progress))
        except FitError as error:
            failures.append(error)

    def glance(part: Problem, point: Values) -> None:
        """Follow a path only as far as it promises something."""
        try:
            found = part.minimise(point, tolerance=QUICK, evaluations=GLANCES, nested=True)
        except FitError as error:
            failures.append(error)
            return
        if minima:
            best = _lowest(minima)
            if found.chi_square > (1.0 + CLOSE) * best.chi_square or _distance(problem, found.p, best.p) < APART:
                return
        follow(found.p)

    def settled() -> bool:
        return _agree(minima) and not _doubtful(problem, _lowest(minima))

    follow(start)
    if minima and _sufficient(problem, minima[0]):
        return minima[0]
    for point in others:
        if settled():
            return _lowest(minima)
        follow(point)
    if not settled():
        follow(start, logarithmic=False)
    if settled():
        return _lowest(minima)
    if len(problem.names) > 1:
        apart = start if outside is None else outside
        for together in problem.forward.families(problem.names):
            glance(problem.without(*together), start.with_(**{name: apart[name] for name in together}))
    for point in scattered(problem, start):
        glance(problem, point)
    if not minima:
        raise failures[0]
    best = _lowest(minima)
    stuck = [name for name in problem.names if problem.bound_of(name, float(best.p[name])) is not None]
    if stuck and _doubtful(problem, best):
        for point in scattered(replace(problem, names=tuple(stuck)), best.p):
            glance(problem, point)
    return _lowest(minima)


def _frugal(problem: Problem, start: Values, others: Sequence[Values], progress: Progress | None) -> Minimum:
    """The search where each evaluation is a simulation: the best of some places is followed.

    These are the starts, and with a fast model of the same curve its minimum. If what is found is doubtful, the best
    places of the hypercube, which are simulated side by side, are followed as well.
    """
    places = [start, *others]
    fast = problem.forward.stand_in
    if fast is not None and (names := tuple(name for name in problem.names if name in fast.active)):
        known = {entry.name for entry in fast.params}
        part = replace(
            problem, forward=fast, names=names, priors=tuple(q for q in problem.priors if q.name in names)
        )  # fmt: skip
        try:
            found = search(part, Values({name: value for name, value in start.items() if name in known}))
        except FitError:
            pass  # it was to find a start, and there are others
        else:
            places.append(start.with_(**{name: found.p[name] for name in names}))
    heights = problem.chi_squares(places)
    best = problem.minimise(places[int(np.argmin(heights))], progress=progress)
    spent = best.evaluations
    if _doubtful(problem, best):
        for place in scattered(problem, best.p, best=PURSUED):
            found = problem.minimise(place, tolerance=QUICK, evaluations=GLANCES, nested=True, progress=progress)
            spent += found.evaluations
            if found.chi_square < (1.0 - SAME) * best.chi_square:
                best = problem.minimise(found.p, progress=progress)
    return replace(best, evaluations=spent)


def _lowest(minima: Sequence[Minimum]) -> Minimum:
    return min(minima, key=lambda m: m.chi_square)


def _distance(problem: Problem, p: Values, q: Values) -> float:
    """How far apart two places are, in the coordinates of the search."""
    frame = problem.coordinates(q)
    first, second = (frame.z(np.array([place[name] for name in problem.names], dtype=float)) for place in (p, q))
    return float(np.max(np.abs(first - second)))


def _agree(minima: Sequence[Minimum]) -> bool:
    if len(minima) < 2:
        return False
    best = _lowest(minima).chi_square
    return sum(m.chi_square <= best * (1.0 + SAME) + 1e-18 for m in minima) >= 2


def _doubtful(problem: Problem, minimum: Minimum) -> bool:
    """Whether residuals are structured, the fit is poor, or a parameter has no effect where it ended."""
    residual = problem.residual(minimum.p)
    measured = (problem.measured / problem.sigma)[problem.rows]
    residual = residual[: measured.size]  # without the priors
    if float(np.sqrt(np.mean(residual**2))) <= EXACT * float(np.abs(measured).max()):
        return False
    if minimum.chi_square > UNEXPLAINED * float(np.sum((measured - measured.mean()) ** 2)):
        return True
    return bool(runs_test(residual) < SUSPICIOUS) or not problem.slopes(minimum.p, problem.names).any(axis=1).all()


def _sufficient(problem: Problem, minimum: Minimum) -> bool:
    """Whether no second start is needed to confirm a minimum: noise is left, and the law is all but straight there."""
    p = minimum.p
    if not minimum.converged or problem.points < ROWS_ENOUGH or _doubtful(problem, minimum):
        return False
    known = covariance_of(problem, p, scale=problem.scale(p))
    if known.at_bound or known.names != problem.names:
        return False
    sizes = (natural_size(problem, name, float(p[name])) for name in problem.names)
    return bool(np.all(np.sqrt(np.diag(known.covariance)) < KNOWN * np.fromiter(sizes, dtype=float)))


def dead(problem: Problem, start: Values) -> tuple[str, ...]:
    """The varying parameters that change no fitted row, from the start or from anywhere else, whatever their value."""
    slopes = problem.slopes(start, problem.names)
    idle = [name for name, row in zip(problem.names, slopes, strict=True) if not np.any(row)]
    if not idle:
        return ()
    places = _places(problem, start, PROBES)
    tried = {name: np.array([place[name] for place in places], dtype=float) for name in idle}
    return tuple(name for name in idle if not any(_acts(problem, p, name, tried[name]) for p in (start, *places)))


def _acts(problem: Problem, place: Values, name: str, values: Array) -> bool:
    """Whether a residual changes as a parameter goes through ``values`` and its bounds; (n,)."""
    ends = [bound for bound in problem.bounds[name] if np.isfinite(bound)]
    with np.errstate(all="ignore"):
        rows = np.array([problem.residual(place.with_(**{name: v})) for v in (place[name], *ends, *values)])
    rows[~np.isfinite(rows)] = np.nan
    low, high = np.fmin.reduce(rows), np.fmax.reduce(rows)
    return bool(np.any(high - low > SAME_ROW * np.maximum(np.abs(low), np.abs(high))))


def idle_at(problem: Problem, place: Values, names: Sequence[str]) -> tuple[str, ...]:
    """Those of the varying ``names`` that change no fitted row as they move away from ``place``, each alone."""
    tried = _places(problem, place, PROBES) if names else []
    return tuple(
        name for name in names if not _acts(problem, place, name, np.array([p[name] for p in tried], dtype=float))
    )


def scattered(problem: Problem, start: Values, *, points: int = POINTS, best: int = FOLLOWED) -> list[Values]:
    """The ``best`` of ``points`` places of a Latin hypercube with the smallest chi-square."""
    places = _places(problem, start, points)
    with np.errstate(all="ignore"):
        height = np.array(problem.chi_squares(places))
    return [places[j] for j in np.argsort(height, kind="stable")[:best] if np.isfinite(height[j])]


def _places(problem: Problem, start: Values, count: int) -> list[Values]:
    """A Latin hypercube of ``count`` places: half of them about ``start``, half anywhere within the bounds."""
    cube = qmc.LatinHypercube(len(problem.names), rng=np.random.default_rng(0)).random(count)
    columns = {name: _spread(problem, name, float(start[name]), cube[:, i]) for i, name in enumerate(problem.names)}
    return [start.with_(**{name: column[j] for name, column in columns.items()}) for j in range(count)]


def _spread(problem: Problem, name: str, value: float, share: Array) -> Array:
    """Values of a parameter at shares 0..1 of its range, by turns near ``value`` and anywhere; (n,) -> (n,)."""
    low, high = problem.bounds[name]
    size, near = problem.size(name, value), np.arange(share.size) % 2 == 0
    if not spans_decades(low, high) and high - low <= NEAR * size:
        return np.asarray(low + share * (high - low))
    decades = spans_decades(low, high)
    anywhere = np.abs(low) * (high / low) ** share if decades else size * FAR ** (2.0 * share - 1.0)
    magnitude = np.where(near, size * NEAR ** (2.0 * share - 1.0), anywhere)
    sign = np.where(np.arange(share.size) % 4 < 2, 1.0, -1.0) if low < 0.0 < high else np.sign(low + high)
    return np.asarray(np.clip(sign * magnitude, low, high))
