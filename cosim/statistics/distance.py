"""Worst-case distance: how many standard deviations the nearest point is away at which a measure meets its limit.

Antreich, Graeb and Wieser, IEEE TCAD 1994; the same number is the reliability index of Hasofer and Lind (1974). It is
negative where the nominal point breaks the limit already. Behind a plane border the probability to keep the limit is
Phi(distance). The iteration is that of Hasofer, Lind, Rackwitz and Fiessler on quadratic models in trust regions (our
choice), from several starts; the point that it reports was evaluated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.statistics.ask_tell import Search, Steps
from cosim.statistics.quadratic import Quadratic, through
from cosim.statistics.sampling import generator
from cosim.statistics.worst import Evaluated

STARTS = 3
APART = 0.4  # between the directions of two starts, as a distance of unit vectors
FIRST_RADIUS, LAST_RADIUS = 1.5, 3e-3  # of a trust region (standard deviations)
ON_LIMIT = 1e-3  # how near the limit a point has to be to lie on it, of the nominal point's distance to the limit
_INNER = 60  # iterations on a model


@dataclass(frozen=True)
class WorstCaseDistance:
    """What a search for a worst-case distance found.

    Args:
        distance: in standard deviations, negative where the nominal point breaks the limit; None if none was found.
        z: (d,) the point, which lies on the limit; None likewise.
        value: the measure there.
        nominal: the measure at the nominal point; None where it has no value.
        reach: how far the search went.
        evaluated, failed: points, and those without a value.
        converged: whether the search ended by itself, not with its budget.
        why: what a reader has to know; may be empty.
    """

    distance: float | None
    z: Array | None
    value: float | None
    nominal: float | None
    reach: float
    evaluated: int
    failed: int
    converged: bool
    why: str = ""

    def __str__(self) -> str:
        if self.distance is None:
            return f"worst-case distance: cannot tell: {self.why}"
        text = f"worst-case distance {self.distance:.3f} sigma ({self.evaluated} points)"
        return f"{text}; {self.why}" if self.why else text


def worst_case_distance(
    d: int,
    *,
    seed: int,
    min: float | None = None,
    max: float | None = None,
    reach: float = 8.0,
    budget: int = 200,
) -> Search[np.float64, WorstCaseDistance]:
    """A search for the worst-case distance of one limit of a measure of ``d`` standard normal coordinates.

    Its answers are the measure, NaN for a missing one. The limit is a lowest value ``min`` or a largest one ``max``;
    ``reach`` is the largest distance that is searched, ``budget`` the largest number of points.
    """
    if d < 1:
        raise InputError("nothing varies", remedy="name at least one parameter")
    if (min is None) == (max is None):
        raise InputError("a worst-case distance is that of one limit", remedy="give min or max")
    if budget < 1 or not reach > 0.0:
        raise InputError(
            f"no distance is found with {budget} points within {reach:g} sigma",
            remedy="give more than 0 of both",
        )
    limit, sign = (min, 1.0) if min is not None else (max, -1.0)
    return Search(_steps(d, float(limit or 0.0), sign, seed, reach, budget), np.float64)


def _steps(
    d: int, limit: float, sign: float, seed: int, reach: float, budget: int
) -> Steps[np.float64, WorstCaseDistance]:
    known = Evaluated(d, budget)
    nominal = yield from known.ask(np.zeros((1, d)))
    if not np.isfinite(nominal[0]):
        return WorstCaseDistance(None, None, None, None, reach, 1, 1, False, "the nominal point has no value")
    margin = sign * (float(nominal[0]) - limit)
    inwards = 1.0 if margin >= 0.0 else -1.0  # from a point that breaks the limit to one that keeps it
    scale = abs(margin) or abs(limit) or 1.0

    def slack(values: Array) -> Array:
        return np.asarray(inwards * sign * (values - limit) / scale, dtype=float)

    def result(converged: bool) -> WorstCaseDistance:
        points, values = known.good
        failed = len(known.points) - len(points)
        first = float(nominal[0])
        on = np.flatnonzero(
            (np.abs(slack(values)) <= ON_LIMIT) & (np.linalg.norm(points, axis=1) <= reach * (1 + 1e-9))
        )
        if not len(on):
            why = f"no point within {reach:g} sigma was found on the limit"
            return WorstCaseDistance(None, None, None, first, reach, len(known.points), failed, converged, why)
        k = int(on[np.argmin(np.linalg.norm(points[on], axis=1))])
        why = "" if converged else "the budget ended before the search did: the true distance may be smaller"
        distance = inwards * float(np.linalg.norm(points[k]))
        return WorstCaseDistance(
            distance, points[k], float(values[k]), first, reach, len(known.points), failed, converged, why
        )

    yield from known.ask(_start(d, seed, reach, budget))
    points, values = known.good
    walkers = [
        _Walker(points[k], float(slack(values)[k]), generator(seed, 2, number))
        for number, k in enumerate(_first(points, slack(values)))
    ]
    while walkers and known.left:
        points, values = known.good
        wanted = [walker.wants(points, slack(values), reach) for walker in walkers]
        answers = yield from known.ask(np.concatenate(wanted))
        told, offset = slack(answers), 0
        for walker, mine in zip(walkers, wanted, strict=True):
            walker.learns(mine, told[offset : offset + len(mine)])
            offset += len(mine)
        walkers = _different([walker for walker in walkers if walker.radius > LAST_RADIUS])
    return result(converged=not walkers)


class _Walker:
    """One iteration towards the nearest point on the limit."""

    def __init__(self, at: Array, slack: float, rng: np.random.Generator) -> None:
        self.at = at
        self.slack = slack
        self.radius = FIRST_RADIUS
        self._rng = rng
        self._weight = 1.0

    def _merit(self, z: Array, slack: Array) -> Array:
        """½|z|² + c |slack|: the penalty outweighs the way to the limit."""
        return np.asarray(0.5 * np.sum(z**2, axis=1) + self._weight * np.abs(slack), dtype=float)

    def wants(self, points: Array, slack: Array, reach: float) -> Array:
        """The points it asks next, (m, d)."""
        model = through(points, slack, centre=self.at, radius=self.radius)
        proposed = nearest_zero(model, reach)
        steep = float(np.linalg.norm(model.gradient(proposed[None])[0]))
        self._weight = max(2.0 * (float(np.linalg.norm(proposed)) + 1.0) / max(steep, 1e-12), 1e-3)
        d = len(self.at)
        near = int(np.count_nonzero(np.linalg.norm(points - self.at, axis=1) <= 2.0 * self.radius))
        extra = max(0 if near > 2 * d else 1, (d + 1 - near) // 2)
        directions = self._rng.standard_normal((extra, d))
        directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-300)
        others = self.at + self.radius * directions
        others *= np.minimum(1.0, reach / np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-300))
        return np.concatenate([proposed[None], others])

    def learns(self, points: Array, slack: Array) -> None:
        """Take in the answers."""
        points, finite = points[: len(slack)], np.isfinite(slack)  # the budget may have cut them short
        if not finite.any():
            self.radius *= 0.4
            return
        before = float(self._merit(self.at[None], np.array([self.slack]))[0])
        merits = np.where(finite, self._merit(points, np.where(finite, slack, 0.0)), math.inf)
        k = int(np.argmin(merits))
        if merits[k] < before:
            moved = float(np.linalg.norm(points[k] - self.at))
            self.at, self.slack = points[k], float(slack[k])
            # a step well inside the region says that the model ends here
            self.radius = min(2.0 * self.radius, 3.0) if moved > 0.7 * self.radius else 0.5 * self.radius
        else:
            self.radius *= 0.4


def nearest_zero(model: Quadratic, reach: float) -> Array:
    """The point (d,) nearest to the origin at which the model is zero, as far as its radius lets one see.

    Hasofer, Lind, Rackwitz and Fiessler's iteration; each step goes to the nearest zero of the linearised model.
    """
    z = model.centre
    for _ in range(_INNER):
        value, gradient = float(model(z[None])[0]), model.gradient(z[None])[0]
        square = float(gradient @ gradient)
        if not square > 1e-24:
            break
        target = (float(gradient @ z) - value) / square * gradient
        step = z + 0.5 * (target - z) - model.centre  # halved: the plain iteration may circle
        z = model.centre + step * min(1.0, model.radius / max(float(np.linalg.norm(step)), 1e-300))
        z = z * min(1.0, reach / max(float(np.linalg.norm(z)), 1e-300))
    return z


def _start(d: int, seed: int, reach: float, budget: int) -> Array:
    """Both ends of the axes at half the reach, and points at radii all over it."""
    rng = generator(seed, 1)
    size = max(min(2 * d + 6, budget // 4), 1)
    spread = rng.standard_normal((size, d))
    spread *= reach * rng.uniform(0.2, 1.0, (size, 1)) / np.linalg.norm(spread, axis=1, keepdims=True)
    if 4 * d <= budget:
        return np.concatenate([0.5 * reach * np.eye(d), -0.5 * reach * np.eye(d), spread])
    return np.asarray(spread, dtype=float)


def _first(points: Array, slack: Array) -> list[int]:
    """Where walkers start: the nominal point, and beyond the limit the nearest points in different directions."""
    chosen = [0]
    beyond = np.flatnonzero(slack < 0.0)
    order = beyond[np.argsort(np.linalg.norm(points[beyond], axis=1), kind="stable")]
    units = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-300)
    for k in order:
        if all(np.linalg.norm(units[k] - units[other]) > APART for other in chosen[1:]):
            chosen.append(int(k))
        if len(chosen) == STARTS:
            break
    return chosen


def _different(walkers: list[_Walker]) -> list[_Walker]:
    """One of each group of walkers that met."""
    kept: list[_Walker] = []
    for walker in sorted(walkers, key=lambda one: (abs(one.slack) > ON_LIMIT, float(np.linalg.norm(one.at)))):
        if all(np.linalg.norm(walker.at - other.at) > 0.1 for other in kept):
            kept.append(walker)
    return kept
