"""The worst case of a measure: its smallest or largest value within so many standard deviations of all variables.

The worst case within a sphere, and the worst-case distance of `cosim.statistics.distance`, are those of Antreich, Graeb
and Wieser, IEEE TCAD 1994. The method is our choice: a start design, then a quadratic model in a trust region around
each of the best points that lie apart; new starts until they find nothing better. A point without a value (the circuit
did not converge there) is left out of the models, and the region around it shrinks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.statistics.ask_tell import Search, Steps
from cosim.statistics.quadratic import Project, highest, through
from cosim.statistics.sampling import generator

LEADERS = 3
APART = 0.3  # of the region's radius: leaders nearer to each other are one
FIRST_RADIUS, LAST_RADIUS = 0.5, 1e-3  # of a trust region
GAIN = 1e-3  # of the spread of all values: a restart that improves by less found nothing
HUGE = 1e150  # not a plausible measure; its square would overflow
RESTARTS = 2  # in a row that found nothing end the search


@dataclass(frozen=True)
class WorstCase:
    """What a search for the worst case found.

    Args:
        sense: "min" or "max".
        value: the worst value; None where no point has one.
        z: (d,) where, in standard normal coordinates; None likewise.
        nominal: the value at the nominal point; None where it has none.
        sigma: how far the search went.
        evaluated, failed: points, and those without a value.
        converged: whether the search ended by itself, not with its budget.
        points, values: all that was evaluated (n, d) and its values (n,), NaN where there was none.
    """

    sense: str
    value: float | None
    z: Array | None
    nominal: float | None
    sigma: float
    evaluated: int
    failed: int
    converged: bool
    points: Array
    values: Array

    @property
    def why(self) -> str:
        """What a reader has to know; may be empty."""
        notes = []
        if self.value is None:
            notes.append("no point has a value")
        elif not self.converged:
            notes.append("the budget ended before the search did: the true worst case may be worse")
        if self.failed:
            notes.append(
                f"{self.failed} of {self.evaluated} points have no value: the worst case among those is unknown"
            )
        return "; ".join(notes)

    def __str__(self) -> str:
        if self.value is None or self.z is None:
            return f"worst case: cannot tell: {self.why}"
        side = "smallest" if self.sense == "min" else "largest"
        text = (
            f"{side} value {self.value:.6g} at {np.linalg.norm(self.z):.2f} sigma, of {self.sigma:g} searched"
            f" ({self.evaluated} points)"
        )
        return f"{text}; {self.why}" if self.why else text


class Evaluated:
    """Points and values so far; ``sign`` makes the wanted end the largest."""

    def __init__(self, d: int, budget: int) -> None:
        self.points = np.empty((0, d))
        self.values = np.empty(0)
        self.left = budget

    def ask(self, points: Array) -> Steps[np.float64, Array]:
        """Values at ``points``, at most as many as the budget has left; an infinite value counts as missing."""
        asked = points[: self.left]
        if not len(asked):
            return np.empty(0)
        answers = yield asked
        values = np.where(np.abs(answers) < HUGE, answers, np.nan)
        self.points = np.concatenate([self.points, asked])
        self.values = np.concatenate([self.values, values])
        self.left -= len(asked)
        return values

    @property
    def good(self) -> tuple[Array, Array]:
        """Those with a value."""
        kept = np.isfinite(self.values)
        return self.points[kept], self.values[kept]


def worst_case(
    d: int,
    *,
    sense: Literal["min", "max"],
    seed: int,
    sigma: float = 3.0,
    budget: int = 200,
    region: Literal["sphere", "box"] = "sphere",
) -> Search[np.float64, WorstCase]:
    """A search for the worst value of a measure of ``d`` standard normal coordinates.

    Its answers are the measure, NaN for a missing one. The region is |z| <= ``sigma``, or each |z_i| <= ``sigma``
    (box); ``budget`` is the largest number of points.
    """
    if d < 1:
        raise InputError("nothing varies", remedy="name at least one parameter")
    if budget < 1 or not sigma > 0.0:
        raise InputError(
            f"no worst case is found with {budget} points within {sigma:g} sigma",
            remedy="give more than 0 of both",
        )
    if sense not in ("min", "max") or region not in ("sphere", "box"):
        raise InputError(f"a worst case cannot be a {sense} in a {region}", remedy="min or max, sphere or box")
    return Search(_steps(d, sense, seed, sigma, budget, region), np.float64)


def _steps(d: int, sense: str, seed: int, sigma: float, budget: int, region: str) -> Steps[np.float64, WorstCase]:
    sign = 1.0 if sense == "max" else -1.0
    known = Evaluated(d, budget)
    project = _onto_box if region == "box" else _onto_ball

    def asked(x: Array) -> Steps[np.float64, Array]:
        values = yield from known.ask(sigma * x)
        return np.asarray(sign * values, dtype=float)

    yield from asked(np.zeros((1, d)))
    best, idle, converged = -math.inf, 0, False
    for restart in range(budget):
        yield from asked(_start(d, restart, seed, region, budget))
        points, values = known.good
        x, y = points / sigma, sign * values
        leaders = [
            _Leader(x[k], float(y[k]), generator(seed, 2, restart, number)) for number, k in enumerate(_apart(x, y))
        ]
        while leaders and known.left:
            wanted = [leader.wants(known, sigma, sign, project) for leader in leaders]
            answers = yield from asked(np.concatenate(wanted))
            offset = 0
            for leader, points in zip(leaders, wanted, strict=True):
                leader.learns(points, answers[offset : offset + len(points)])
                offset += len(points)
            leaders = _still_apart([leader for leader in leaders if leader.radius > LAST_RADIUS])
        values = sign * known.good[1]
        if known.left == 0:
            converged = idle > 0 and not leaders
            break
        if not len(values):
            continue
        top = float(values.max())
        idle = 0 if top - best > GAIN * float(np.ptp(values)) else idle + 1
        best = top
        if idle >= RESTARTS:
            converged = True
            break
    points, values = known.good
    k = int(np.argmax(sign * values)) if len(values) else None
    first = float(known.values[0])
    return WorstCase(
        sense, None if k is None else float(values[k]), None if k is None else points[k],
        first if math.isfinite(first) else None, sigma, len(known.points), len(known.points) - len(values), converged,
        known.points, known.values,
    )  # fmt: skip


class _Leader:
    """A trust region around one of the best points (unit region)."""

    def __init__(self, centre: Array, value: float, rng: np.random.Generator) -> None:
        self.centre = centre
        self.value = value
        self.radius = FIRST_RADIUS
        self._rng = rng
        self._promised = 0.0

    def wants(self, known: Evaluated, sigma: float, sign: float, project: Project) -> Array:
        """The points it asks next, (m, d): the model's optimum, and others that the model needs."""
        points, values = known.good
        x, y = points / sigma, sign * values
        scale = float(np.ptp(y)) or 1.0
        model = through(x, (y - self.value) / scale, centre=self.centre, radius=self.radius)
        proposed = highest(model, project, self._rng)
        self._promised = scale * float(model(proposed[None])[0])
        d = len(self.centre)
        near = int(np.count_nonzero(np.linalg.norm(x - self.centre, axis=1) <= 2.0 * self.radius))
        extra = max(1, (2 * d + 1 - near) // 2)
        directions = self._rng.standard_normal((extra, d))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return np.concatenate([proposed[None], project(self.centre + self.radius * directions)])

    def learns(self, points: Array, values: Array) -> None:
        """Take in the answers: the best point becomes the centre, and the radius follows how far the model held."""
        finite = np.isfinite(values)
        gain = float(np.max(values[finite], initial=-math.inf)) - self.value
        if gain > 0.0:
            k = int(np.flatnonzero(finite)[np.argmax(values[finite])])
            self.centre, self.value = points[k], float(values[k])
        first = float(values[0]) - self.value if finite[:1].any() else -math.inf
        held = gain > 0.5 * self._promised > 0.0 and first >= 0.0
        self.radius = min(2.0 * self.radius, 1.0) if held else self.radius * (0.7 if gain > 0.0 else 0.4)


def _apart(x: Array, y: Array) -> list[int]:
    """The best points that lie apart from each other."""
    chosen: list[int] = []
    for k in np.argsort(-y, kind="stable"):
        if all(np.linalg.norm(x[k] - x[other]) > APART for other in chosen):
            chosen.append(int(k))
        if len(chosen) == LEADERS:
            break
    return chosen


def _still_apart(leaders: list[_Leader]) -> list[_Leader]:
    """The best of each group of leaders that met."""
    kept: list[_Leader] = []
    for leader in sorted(leaders, key=lambda one: -one.value):
        if all(np.linalg.norm(leader.centre - other.centre) > 0.5 * APART for other in kept):
            kept.append(leader)
    return kept


def _start(d: int, restart: int, seed: int, region: str, budget: int) -> Array:
    """A start design in the unit region: axes and corners at first, then points all over it."""
    rng = generator(seed, 1, restart)
    size = max(min(2 * d + 6, budget // 4), 1)
    spread = rng.standard_normal((size, d))
    if region == "box":
        inside = rng.uniform(-1.0, 1.0, (size, d))
        inside[::2] = np.sign(spread[::2])
    else:
        inside = spread / np.linalg.norm(spread, axis=1, keepdims=True)
        inside[1::2] *= rng.uniform(0.0, 1.0, (len(inside[1::2]), 1)) ** (1.0 / d)
    if restart == 0 and 4 * d <= budget:
        return np.concatenate([np.eye(d), -np.eye(d), inside])
    return np.asarray(inside, dtype=float)


def _onto_ball(x: Array) -> Array:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1.0), dtype=float)


def _onto_box(x: Array) -> Array:
    return np.asarray(np.clip(x, -1.0, 1.0), dtype=float)
