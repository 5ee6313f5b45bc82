"""A small failure probability by importance sampling around the most probable failures.

Mean-shifted importance sampling (Kanj, Joshi and Nassif, DAC 2006; the norm minimisation of Dolecek et al., ICCAD 2008)
knows of every point only whether it fails, so it works on any simulator's verdict. The stages, our choice where no
source is named:

1. Spheres of growing radius are sampled until points fail; each is drawn back along its ray to where failing begins.
2. Two such points whose midpoint fails belong to the same region.
3. Markov chains (preconditioned Crank–Nicolson, as in subset simulation: Papaioannou et al., Probabilistic Engineering
   Mechanics 2015) wander through the failures as the normal distribution has them. Their mean in each region is the
   shift, which in many dimensions is a better one than the most probable point.
4. Samples are drawn from a mixture: the shifted normals, the normal itself (which bounds every weight) and a wide one
   (which may hit a region that nobody found). Each round's mixture is fixed before it is drawn, so the estimate is
   unbiased; between rounds shifts follow the weighted failures (cross entropy, Rubinstein 1997).

The interval is the normal one of log P. It is not to be trusted where few samples carry the weight, and no method can
see a region that no sample ever hit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.sparse.csgraph import connected_components

from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.statistics.ask_tell import Search, Steps
from cosim.statistics.mixture import Bools, Mixture, Shifts, directions
from cosim.statistics.rare import UNKNOWN, RareFailure, Undecided, decided, nothing
from cosim.statistics.sampling import generator

METHOD = "importance"
GROWTH = 1.35  # of the spheres' radius
BISECTIONS = 5  # along a ray: 1/32 of its length
CANDIDATES = 12  # failing points from which chains start
ROUNDS = 4
LEAST_EFFECTIVE = 50.0
LARGEST_WEIGHT = 0.2
LEAST_BUDGET = 200


def importance_sampling(
    d: int, *, seed: int, budget: int = 3000, level: float = 0.95, reach: float | None = None
) -> Search[np.float64, RareFailure]:
    """A search for the failure probability of ``d`` standard normal coordinates.

    Its answers are True for a point that fails, NaN for an unknown one. ``budget`` is the largest number of points;
    ``reach`` is the largest radius (in standard deviations) that is searched for failures: max(8, 3 √d) by default,
    since in many dimensions failures near the centre are hit by few directions.
    """
    if d < 1:
        raise InputError("nothing varies", remedy="name at least one parameter")
    if budget < LEAST_BUDGET:
        raise InputError(f"{budget} points are too few to sample by importance", remedy=f"give {LEAST_BUDGET} or more")
    if not 0.0 < level < 1.0:
        raise InputError(f"a level of {level:g} is not between 0 and 1", remedy="give e.g. 0.95")
    unknown = Undecided()
    steps = _steps(d, seed, budget, level, reach if reach is not None else max(8.0, 3.0 * math.sqrt(d)), unknown)
    return Search(decided(steps, unknown), np.float64)


def _steps(
    d: int, seed: int, budget: int, level: float, reach: float, unknown: Undecided
) -> Steps[np.bool_, RareFailure]:
    used = 1
    origin = yield np.zeros((1, d))
    if origin[0]:
        why = "the nominal point itself fails: count failures by plain Monte Carlo"
        return nothing(METHOD, why, level=level, evaluated=used, failed=1)

    failing = yield from _spheres(d, seed, budget, reach)
    used += failing.asked
    if not len(failing.points):
        why = f"no failure up to {reach:.3g} sigma from the nominal point: raise the budget, or the reach"
        return nothing(METHOD, why, level=level, evaluated=used)
    order = np.argsort(np.linalg.norm(failing.points, axis=1), kind="stable")
    followed = failing.points[order[: min(CANDIDATES, max(4, budget // 100))]]
    edge = yield from _drawn_back(followed)
    used += BISECTIONS * len(edge)
    labels = np.zeros(1, dtype=np.intp)
    if len(edge) > 1:
        labels = yield from _regions(edge)
        used += len(edge) * (len(edge) - 1) // 2
        start = np.stack([edge[labels == label].mean(axis=0) for label in range(int(labels.max()) + 1)])
        fails = yield start  # of an outward bulging region they lie nearer than any of its points
        if fails.any():
            nearer = yield from _drawn_back(start[fails])
            used += BISECTIONS * len(nearer)
            start[fails] = nearer
            edge = np.where(fails[labels][:, None], start[labels], edge)
        used += len(start)
    chains = max(len(edge), min(16, budget // 60))
    length = max((budget // 4) // chains, 4)
    chain = yield from _wander(edge, labels, seed, chains, length)
    used += chains * length
    samples = chain.failures
    nearest = min(float(np.min(np.linalg.norm(edge, axis=1))), float(np.min(np.linalg.norm(samples, axis=1))))

    tally = _Tally(chain, nearest, Shifts.of(samples, _means(samples, chain.region)))
    per_round = (budget - used) // ROUNDS
    for number in range(ROUNDS):
        mixture = tally.shifts.mixture(per_round, tally.nearest)
        z = mixture.draw(generator(seed, 3, number))
        fails = yield z
        used += len(z)
        tally.add(z, mixture, fails, unknown.last)
    return tally.result(level, used)


@dataclass(frozen=True)
class _Found:
    points: Array
    asked: int


@dataclass(frozen=True)
class _Chain:
    """Failures (m, d) that the chains visited, the region (m,) of each, and all points with their answers."""

    failures: Array
    region: NDArray[np.intp]
    asked: Array
    answers: Bools


def _spheres(d: int, seed: int, budget: int, reach: float) -> Steps[np.bool_, _Found]:
    """Failing points on spheres of growing radius: the first with five of them, and the next one."""
    steps = max(math.ceil(math.log(reach / max(2.0, reach / 5.0)) / math.log(GROWTH)), 1)
    size = max(8, budget // (4 * (steps + 1)))
    found = np.empty((0, d))
    asked, last = 0, False
    for number in range(steps + 1):
        directions = generator(seed, 1, number).standard_normal((size, d))
        if 4 * d <= size:  # a circuit often fails by one of its parameters
            directions[: 2 * d] = np.concatenate([np.eye(d), -np.eye(d)])
        radius = reach * GROWTH ** (number - steps)
        points = radius * directions / np.linalg.norm(directions, axis=1, keepdims=True)
        fails = yield points
        asked += size
        found = np.concatenate([found, points[fails]])
        if last:
            break
        last = len(found) >= 5
    return _Found(found, asked)


def _drawn_back(points: Array) -> Steps[np.bool_, Array]:
    """Failing points, each drawn back along its ray to where failing begins."""
    low, high = np.zeros(len(points)), np.ones(len(points))
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        fails = yield points * middle[:, None]
        high, low = np.where(fails, middle, high), np.where(fails, low, middle)
    return np.asarray(points * high[:, None], dtype=float)


def _regions(edge: Array) -> Steps[np.bool_, NDArray[np.intp]]:
    """The region of each failing point: two are in one region where their midpoint fails."""
    first, second = np.triu_indices(len(edge), 1)
    fails = yield 0.5 * (edge[first] + edge[second])
    joined = np.zeros((len(edge), len(edge)), dtype=bool)
    joined[first[fails], second[fails]] = True
    return np.asarray(connected_components(joined, directed=False)[1], dtype=np.intp)


def _wander(edge: Array, labels: NDArray[np.intp], seed: int, chains: int, length: int) -> Steps[np.bool_, _Chain]:
    """Markov chains among the failures, from each of ``edge``; the first third of each is forgotten."""
    start = np.resize(np.arange(len(edge)), chains)
    at, of = edge[start].copy(), labels[start]
    steps = [0.4, 0.8]
    kept, asked, answers = list[Array](), list[Array](), list[Bools]()
    for number in range(length):
        # two of three proposals moves across the way out of the region, where the normal distribution is free to go far
        across = int(number % 3 > 0)
        out = directions(np.stack([at[of == label].mean(axis=0) for label in of]))
        along = np.sum(at * out, axis=1, keepdims=True) * out
        noise = generator(seed, 2, number).standard_normal(at.shape)
        noise_along = np.sum(noise * out, axis=1, keepdims=True) * out
        step = steps[across]
        keep = math.sqrt(1.0 - step**2)
        if across:
            proposed = along + keep * (at - along) + step * (noise - noise_along)
        else:
            proposed = keep * along + step * noise_along + (at - along)
        fails = yield proposed
        at = np.where(fails[:, None], proposed, at)
        asked.append(proposed)
        answers.append(fails)
        # towards 40 % accepted, where the chain forgets fastest (Papaioannou et al. 2015)
        steps[across] = float(np.clip(step * math.exp(float(np.mean(fails)) - 0.4), 0.05, 0.98))
        if number >= length // 3:
            kept.append(at.copy())
    return _Chain(np.concatenate(kept), np.tile(of, len(kept)), np.concatenate(asked), np.concatenate(answers))


def _means(samples: Array, of: NDArray[np.intp]) -> Array:
    """The mean of each region; a sample that wandered off counts for the one that it is nearest to."""
    centres = np.stack([samples[of == label].mean(axis=0) for label in np.unique(of)])
    for _ in range(5):
        nearest = np.argmin(np.sum((samples[:, None, :] - centres) ** 2, axis=2), axis=1)
        centres = np.stack([samples[nearest == label].mean(axis=0) for label in np.unique(nearest)])
    return centres


class _Tally:
    """What the rounds found so far, and where the next one draws."""

    def __init__(self, chain: _Chain, nearest: float, shifts: Shifts) -> None:
        self.failing = np.empty((0, chain.asked.shape[1]))
        self.weights = np.empty(0)
        self.nearest = nearest
        self.shifts = shifts.on_planes(chain.asked, chain.answers)
        self._asked, self._answers = chain.asked, chain.answers
        self._lost = 0.0  # weight of the unknown samples
        self._sums: list[tuple[int, float, float]] = []  # samples, estimate, variance of a round

    def add(self, z: Array, mixture: Mixture, fails: Bools, unknown: Bools) -> None:
        """One round."""
        weights = mixture.weights(z)
        self._lost += float(weights[unknown].sum())
        terms = np.where(fails, weights, 0.0)
        parts = np.split(terms, np.cumsum(mixture.counts)[:-1])
        variance = sum(len(part) * float(np.var(part, ddof=1)) for part in parts) / len(z) ** 2
        self._sums.append((len(z), float(terms.mean()), variance))
        self._asked, self._answers = np.concatenate([self._asked, z]), np.concatenate([self._answers, fails])
        self.failing = np.concatenate([self.failing, z[fails]])
        self.weights = np.concatenate([self.weights, weights[fails]])
        if fails.any():
            self.nearest = min(self.nearest, float(np.min(np.linalg.norm(z[fails], axis=1))))
            self.shifts = self.shifts.follow(self.failing, self.weights).on_planes(self._asked, self._answers)

    def result(self, level: float, used: int) -> RareFailure:
        """The estimate of all rounds."""
        n = sum(size for size, _, _ in self._sums)
        probability = sum(size * value for size, value, _ in self._sums) / n
        error = math.sqrt(sum((size / n) ** 2 * variance for size, _, variance in self._sums))
        if not len(self.failing) or probability <= 0.0:
            why = "no sample around the failures that were found fails again"
            return nothing(METHOD, why, level=level, evaluated=used)
        effective = float(self.weights.sum() ** 2 / np.sum(self.weights**2))
        largest = float(self.weights.max() / self.weights.sum())
        z = float(-special.ndtri(0.5 * (1.0 - level)))
        factor = math.exp(min(z * error / probability, 700.0))
        lost = self._lost / n
        why = ""
        if lost > UNKNOWN * (probability + lost):
            why = (
                f"{lost / (probability + lost):.0%} of the weight lies on points without a verdict: vary less,"
                " or bound what varies"
            )
        elif effective < LEAST_EFFECTIVE:
            why = f"the failures weigh like {effective:.0f} samples, fewer than {LEAST_EFFECTIVE:.0f}: raise the budget"
        elif largest > LARGEST_WEIGHT:
            why = f"one sample carries {largest:.0%} of the weight: raise the budget"
        high = min((probability + lost) * factor, 1.0)
        return RareFailure(
            METHOD, probability, probability / factor, high, level, used, len(self.failing), trusted=not why,
            why=why, standard_error=error, effective=effective, nearest=self.nearest,
            centres=self.shifts.centres,
        )  # fmt: skip
