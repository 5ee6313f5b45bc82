"""Mixtures of normals around failures, from which `importance` draws, and how they follow what is found.

A shift is the mean of a region's failures, as the normal distribution has them. Of a region whose border is a plane,
as far as a linear classifier of all points nearby can tell, the plane gives it much better: its normal is known to
about d/n, a mean to the root of that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from cosim.devices.base import Array

Bools = NDArray[np.bool_]
NOMINAL_SHARE, WIDE_SHARE = 0.05, 0.2  # of the samples of a round
LEAST_WIDE = 1.5  # standard deviation of the wide normal
NARROW, SPREADS = 0.35, 1.5  # a shifted normal is so wide outwards at least, and so many deviations of its failures
PLANE_ERRORS = 0.03  # share of points on the wrong side of a plane that is believed
PLANE_POINTS = 5  # per coordinate: fewer are separated by some plane whatever they are
TINY = 1e-300
RIDGE = 0.01  # keeps the classifier of separable points finite, near the one of widest margin


@dataclass(frozen=True)
class Mixture:
    """Normals around ``centres`` (k, d), ``counts`` samples (k,) of each.

    Component k has the standard deviation ``along`` [k] in the direction of its centre and ``across`` [k] otherwise.
    """

    centres: Array
    along: Array
    across: Array
    counts: NDArray[np.intp]

    def draw(self, rng: np.random.Generator) -> Array:
        """All samples, component by component, (n, d)."""
        which = np.repeat(np.arange(len(self.counts)), self.counts)
        noise = rng.standard_normal((len(which), self.centres.shape[1]))
        out = directions(self.centres)[which]
        noise_out = np.sum(noise * out, axis=1, keepdims=True)
        narrowed = self.across[which, None] * noise + (self.along - self.across)[which, None] * noise_out * out
        return np.asarray(self.centres[which] + narrowed, dtype=float)

    def weights(self, z: Array) -> Array:
        """The density of the normal distribution over the mixture's at ``z`` (n, d), (n,)."""
        d = z.shape[1]
        away = z[:, None, :] - self.centres
        out = np.einsum("nkd,kd->nk", away, directions(self.centres)) ** 2
        exponent = out / self.along**2 + (np.sum(away**2, axis=2) - out) / self.across**2
        share = np.log(self.counts / self.counts.sum()) - np.log(self.along) - (d - 1) * np.log(self.across)
        log_mixture = special.logsumexp(share - 0.5 * exponent, axis=1)
        return np.asarray(np.exp(-0.5 * np.sum(z**2, axis=1) - log_mixture), dtype=float)


def directions(centres: Array) -> Array:
    """Unit vectors from the nominal point to ``centres``; the first axis where that is a centre itself."""
    length = np.linalg.norm(centres, axis=1, keepdims=True)
    return np.where(length > 0.0, centres / np.maximum(length, TINY), np.eye(1, centres.shape[1]))


def believed_plane(points: Array, fails: Bools) -> tuple[Array, float] | None:
    """The plane that separates failures from the rest: its unit normal (d,) outwards and its distance.

    None where no plane is credible: few points, many on the wrong side, or the nominal point among failures.
    """
    n, d = points.shape
    if n < PLANE_POINTS * d or not d <= int(fails.sum()) <= n - d:
        return None
    sign = np.where(fails, 1.0, -1.0)

    def loss(w: Array) -> tuple[float, Array]:
        margin = sign * (points @ w[1:] + w[0])
        slope = -sign * special.expit(-margin)
        gradient = np.concatenate([[slope.sum()], points.T @ slope + RIDGE * w[1:]])
        return float(-special.log_expit(margin).sum() + 0.5 * RIDGE * (w[1:] @ w[1:])), gradient

    w = np.asarray(optimize.minimize(loss, np.zeros(d + 1), jac=True, method="L-BFGS-B").x, dtype=float)
    length = float(np.linalg.norm(w[1:]))
    wrong = float(np.mean((points @ w[1:] + w[0] > 0.0) != fails))
    if wrong > PLANE_ERRORS or not length > 0.0 or not w[0] < 0.0:
        return None
    return w[1:] / length, -float(w[0]) / length


def tail_moments(distance: float) -> tuple[float, float]:
    """Mean and standard deviation of a normal variable beyond ``distance``."""
    mean = math.exp(-0.5 * distance**2 - 0.5 * math.log(2.0 * math.pi) - float(special.log_ndtr(-distance)))
    return mean, math.sqrt(max(1.0 + distance * mean - mean**2, 1e-6))


@dataclass(frozen=True)
class Shifts:
    """Where the next round draws: around ``centres`` (k, d), in ``shares`` (k,), ``along`` (k,) wide outwards."""

    centres: Array
    shares: Array
    along: Array

    @classmethod
    def of(cls, samples: Array, centres: Array) -> Shifts:
        """Around ``centres``, in equal shares, as wide as the failures ``samples`` (n, d) are."""
        nearest = np.argmin(_away(samples, centres), axis=1)
        along = np.ones(len(centres))
        for label, out in enumerate(directions(centres)):
            if (nearest == label).any():
                along[label] = _narrow(float(np.std(samples[nearest == label] @ out)))
        return cls(centres, np.full(len(centres), 1.0 / len(centres)), along)

    def mixture(self, n: int, nearest: float) -> Mixture:
        """At most ``n`` samples, also of the normal itself and of one wide enough to reach ``nearest``."""
        most = max(n // 4 - 2, 1)  # regions that get samples to speak of
        kept = np.sort(np.argsort(-self.shares, kind="stable")[:most])
        d = self.centres.shape[1]
        wide = max(LEAST_WIDE, nearest / math.sqrt(d))
        own = self.shares[kept] / self.shares[kept].sum() * (1.0 - NOMINAL_SHARE - WIDE_SHARE)
        counts = np.maximum(
            (np.concatenate([[NOMINAL_SHARE, WIDE_SHARE], own]) * n).astype(np.intp), 2
        )  # 2: a variance
        counts[np.argmax(counts)] += n - counts.sum()
        return Mixture(
            np.concatenate([np.zeros((2, d)), self.centres[kept]]),
            np.concatenate([[1.0, wide], self.along[kept]]),
            np.concatenate([[1.0, wide], np.ones(len(kept))]),
            counts,
        )

    def on_planes(self, points: Array, fails: Bools) -> Shifts:
        """The shifts moved behind the planes that separate failures from the rest, where there are any."""
        centres, along = self.centres.copy(), self.along.copy()
        reach = 2.5 + math.sqrt(points.shape[1])
        near = _away(points, centres) < reach**2
        for k in range(len(centres)):
            found = believed_plane(points[near[:, k]], fails[near[:, k]])
            if found is not None:
                mean, deviation = tail_moments(found[1])
                centres[k], along[k] = mean * found[0], _narrow(deviation)
        return Shifts(centres, self.shares, along)

    def follow(self, failing: Array, weights: Array) -> Shifts:
        """The shifts where the weight of the failures is; a region that nobody had found becomes one."""
        centres, along = self.centres, self.along
        away = _away(failing, centres)
        lost = (np.min(away, axis=1) > (2.0 + math.sqrt(centres.shape[1])) ** 2) & (weights > 0.03 * weights.sum())
        if lost.any():
            new = failing[lost][np.argsort(-weights[lost], kind="stable")[:3]]
            centres, along = np.concatenate([centres, new]), np.concatenate([along, np.ones(len(new))])
            away = _away(failing, centres)
        nearest = np.argmin(away, axis=1)
        moved, carried = [], []
        for label, centre in enumerate(centres):
            own, points = weights[nearest == label], failing[nearest == label]
            carried.append(float(own.sum()))
            if not own.sum() > 0.0:
                moved.append(centre)
                continue
            own = own / own.sum()
            # a mean of few samples is noise in many dimensions: shrunk as James and Stein (1961) do
            move = np.average(points, axis=0, weights=own) - centre
            noise = points.shape[1] * float(np.sum(own**2))
            moved.append(centre + max(0.0, 1.0 - noise / max(float(move @ move), TINY)) * move)
        share = np.maximum(np.array(carried) / max(sum(carried), TINY), 0.1 / len(carried))
        return Shifts(np.stack(moved), share / share.sum(), along)


def _narrow(deviation: float) -> float:
    return min(max(NARROW, SPREADS * deviation), 1.0)


def _away(points: Array, centres: Array) -> Array:
    """Squared distances, (points, centres)."""
    return np.asarray(np.sum((points[:, None, :] - centres) ** 2, axis=2), dtype=float)
