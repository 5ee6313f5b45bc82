"""Quadratic models of a measure through the points where it is known, and their optimum in a trust region.

The model interpolates the nearest points with the least curvature that they allow (as in Powell's NEWUOA, 2006), so it
is useful from a handful of points on and exact for a quadratic once (d + 1)(d + 2)/2 of them are there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cosim.devices.base import Array

Project = Callable[[Array], Array]
_LINEAR_FIRST = 10.0  # how much cheaper slope is than curvature where the points allow both
_ASCENTS, _STARTS = 60, 10
_STILL = 1e-5  # of the radius: a step that changes nothing worth another evaluation


@dataclass(frozen=True)
class Quadratic:
    """``value + slope·u + ½ u·curvature·u`` with u = (x − centre)/radius."""

    centre: Array
    radius: float
    value: float
    slope: Array
    curvature: Array

    def __call__(self, x: Array) -> Array:
        """At points x (n, d), (n,)."""
        u = (x - self.centre) / self.radius
        return np.asarray(self.value + u @ self.slope + 0.5 * np.sum((u @ self.curvature) * u, axis=1), dtype=float)

    def gradient(self, x: Array) -> Array:
        """At points x (n, d), (n, d)."""
        u = (x - self.centre) / self.radius
        return np.asarray((self.slope + u @ self.curvature) / self.radius, dtype=float)


def through(points: Array, values: Array, *, centre: Array, radius: float) -> Quadratic:
    """The model near ``centre`` of ``values`` (n,), all finite, at ``points`` (n, d)."""
    d = points.shape[1]
    rows, columns = np.triu_indices(d)
    full = 1 + d + len(rows)
    away = np.linalg.norm(points - centre, axis=1)
    nearest = np.argsort(away, kind="stable")
    # a few points more than unknowns average noise away; those far off would bend the model
    inside = int(np.count_nonzero(away <= 2.0 * radius))
    chosen = nearest[: max(min(inside, full + d), min(len(points), d + 1))]
    u = (points[chosen] - centre) / radius
    scale = float(np.ptp(values[chosen])) or 1.0
    products = np.where(rows == columns, 0.5, 1.0) * u[:, rows] * u[:, columns]
    design = np.concatenate([np.full((len(u), 1), _LINEAR_FIRST), _LINEAR_FIRST * u, products], axis=1)
    found = scale * np.linalg.lstsq(design, values[chosen] / scale, rcond=1e-10)[0]
    curvature = np.zeros((d, d))
    curvature[rows, columns] = curvature[columns, rows] = found[1 + d :]
    return Quadratic(centre, radius, float(_LINEAR_FIRST * found[0]), _LINEAR_FIRST * found[1 : 1 + d], curvature)


def highest(model: Quadratic, project: Project, rng: np.random.Generator) -> Array:
    """The point (d,) of the largest model value within its radius and the set that ``project`` projects onto.

    Projected gradient ascent from several points.
    """
    d = len(model.centre)

    def inside(x: Array) -> Array:
        for _ in range(3):
            step = x - model.centre
            length = np.linalg.norm(step, axis=1, keepdims=True)
            x = project(model.centre + step * np.minimum(1.0, model.radius / np.maximum(length, 1e-300)))
        return x

    directions = rng.standard_normal((_STARTS, d))
    directions[0] = model.slope
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-300)
    x = inside(model.centre + model.radius * directions)
    steepness = float(np.linalg.norm(model.slope) + np.linalg.norm(model.curvature, 2)) / model.radius**2
    best, value = model.centre, float(model(model.centre[None])[0])
    for _ in range(_ASCENTS):
        at = model(x)
        k = int(np.argmax(at))
        if at[k] > value:
            best, value = x[k].copy(), float(at[k])
        after = inside(x + model.gradient(x) / max(steepness, 1e-300))
        if float(np.max(np.abs(after - x))) < _STILL * model.radius:
            break
        x = after
    return best
