r"""Standard errors and correlations from the Jacobian at the minimum.

C = s² (JᵀJ)⁻¹ with J the derivatives of the weighted residuals: linear least squares around the minimum (Seber & Wild,
*Nonlinear Regression*, ch. 2.1). A parameter that the search holds on its bound is taken as fixed there, and the errors
of the others are conditional on it; one that is merely close to a bound has its error as any other. A direction in
which the curve does not move at all (a singular value below 1e-6 of the largest, columns scaled to unit length) leaves
the parameters that take part in it without a standard error, and the others with theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cosim.devices.base import DECADES, Array, Values
from cosim.fitting.forward import Forward
from cosim.fitting.problem import Problem

# Below this part of the largest, a singular value is that of differences with a step of 6e-6, not the curve's.
FLAT = 1e-6
TAKES_PART = 1e-3
# A standard error that grows by this factor once what is at a bound moves too is conditional on it (our choice).
DEPENDS = 1.2


@dataclass(frozen=True)
class Uncertainty:
    """Standard errors and correlations at a minimum.

    Args:
        names: the k parameters that have a standard error.
        covariance: (k, k), SI.
        flat: parameters that the curve does not determine at all: alone, or against another one.
        at_bound: parameter → the bound it stopped at.
        determined: the parameters that are neither at a bound nor without any effect, ``flat`` ones included.
        subspace: (m, m) covariance of those in the directions that the curve does determine; what a prediction needs.
        conditional: the parameters whose error would be larger if those at a bound were not held there.
    """

    names: tuple[str, ...]
    covariance: Array
    flat: tuple[str, ...]
    at_bound: Mapping[str, float]
    determined: tuple[str, ...]
    subspace: Array
    conditional: tuple[str, ...] = ()

    def stderr(self, name: str) -> float | None:
        """Standard error of a parameter; None where it could not be estimated."""
        if name not in self.names:
            return None
        index = self.names.index(name)
        return float(np.sqrt(self.covariance[index, index]))

    def ridge(self, name: str) -> dict[str, float]:
        """How far each parameter moves for a unit of ``name`` where a straight law's chi-square rises least; SI."""
        if name not in self.names:
            return {name: 1.0}
        column = self.covariance[:, self.names.index(name)]
        return dict(zip(self.names, (column / column[self.names.index(name)]).tolist(), strict=True))

    @property
    def correlation(self) -> Array:
        """Correlation coefficients; (k, k)."""
        deviation = np.sqrt(np.diag(self.covariance))
        return np.asarray(self.covariance / np.outer(deviation, deviation))


def natural_size(problem: Problem, name: str, value: float) -> float:
    """What a change of a parameter is small or large against (our choice): its value, where that cannot be zero.

    Of a parameter that may be zero, such as an initial state, the value says nothing about its scale: there it is the
    default's size, at most the searched interval, if the value is not larger. A scale
    (`Param.is_scale`) is held against its value again.
    """
    low, high = problem.bounds[name]
    physical = problem.forward.bounds()[name]
    entry = next(entry for entry in problem.forward.params if entry.name == name)
    default = abs(entry.default)
    # Without a default, bounds decades above the value say nothing about its size either.
    scale = entry.is_scale or (not default and high - low > DECADES * abs(value))
    if not physical[0] <= 0.0 <= physical[1] or (scale and value):
        return abs(value)
    usual = min(default or high - low, high - low)
    return max(abs(value), usual) if np.isfinite(usual) else abs(value) or 1.0


def _pressed(problem: Problem, p: Values, name: str, bound: float, *, scale: float) -> bool:
    """Whether a step off the bound raises chi-square by a standard deviation, though the slope there is zero."""
    low, high = problem.bounds[name]
    step = 0.1 * min(natural_size(problem, name, float(p[name])), high - low)
    inside = p.with_(**{name: bound + step if bound == low else bound - step})
    return problem.chi_square(inside) - problem.chi_square(p) > scale**2


def covariance_of(problem: Problem, p: Values, *, scale: float) -> Uncertainty:
    """Standard errors at ``p``; ``scale`` multiplies the sigma of the problem."""
    jacobian = problem.jacobian(p).T
    reached = {name: problem.bound_of(name, float(p[name])) for name in problem.names}
    # Columns compare by what a change of the parameter by its own size does.
    usual = {entry.name: abs(entry.default) * entry.is_scale for entry in problem.forward.params}
    sizes = [
        # a scale that has vanished to its bound does nothing by its own size, but may by its usual one
        max(natural_size(problem, name, float(p[name])), usual[name] * (reached[name] is not None))
        for name in problem.names
    ]
    effect = np.linalg.norm(jacobian, axis=0) * sizes
    dead = effect <= FLAT * max(float(effect.max()), 1e-300)
    involved = dead.copy()
    for index in np.flatnonzero(dead):
        name = problem.names[index]
        bound = reached[name]
        involved[index] = bound is None or not _pressed(problem, p, name, bound, scale=scale)
    if not dead.all():
        _, _, idle = _directions(jacobian[:, ~dead])
        involved[~dead] = (np.abs(idle) > TAKES_PART).any(axis=0)
    flat = tuple(name for name, is_in in zip(problem.names, involved, strict=True) if is_in)
    # A parameter that drifted to a bound along a flat direction is not held there by the curve.
    at_bound = {name: bound for name, bound in reached.items() if bound is not None and name not in flat}
    moving = ~dead & np.array([name not in at_bound for name in problem.names])
    determined = tuple(name for name, moves in zip(problem.names, moving, strict=True) if moves)
    if not determined:
        return Uncertainty((), np.empty((0, 0)), flat, at_bound, (), np.empty((0, 0)))
    strong, length, _ = _directions(jacobian[:, moving])
    subspace = np.asarray(scale**2 * (strong.T @ strong) / np.outer(length, length))
    kept = np.array([name not in flat for name in determined])
    names = tuple(name for name in determined if name not in flat)
    covariance = subspace[np.ix_(kept, kept)]
    conditional: tuple[str, ...] = ()
    if at_bound:
        free = [name for name, idle in zip(problem.names, dead, strict=True) if not idle and name not in flat]
        strong, length, _ = _directions(jacobian[:, [problem.names.index(name) for name in free]])
        released = scale * np.linalg.norm(strong, axis=0) / length
        error = dict(zip(names, np.sqrt(np.diag(covariance)), strict=True))
        conditional = tuple(n for n, e in zip(free, released, strict=True) if n in error and e > DEPENDS * error[n])
    return Uncertainty(names, covariance, flat, at_bound, determined, subspace, conditional)


def _directions(jacobian: Array) -> tuple[Array, Array, Array]:
    """Of columns of unit length: singular vectors over their values; the lengths; the vectors that move nothing."""
    length = np.linalg.norm(jacobian, axis=0)
    _, singular, directions = np.linalg.svd(jacobian / length, full_matrices=False)
    idle = singular < FLAT * singular[0]
    return directions[~idle] / singular[~idle, None], length, directions[idle]


def leverage(problem: Problem, p: Values) -> Array:
    """How much of each fitted row's noise the fit follows, 0 to 1; (rows,)."""
    jacobian = problem.jacobian(p)
    length = np.linalg.norm(jacobian, axis=1)
    left, singular, _ = np.linalg.svd((jacobian[length > 0.0] / length[length > 0.0, None]).T, full_matrices=False)
    return np.asarray(np.sum(left[:, singular > FLAT * singular.max(initial=0.0)] ** 2, axis=1))


def band_of(forward: Forward, p: Values, uncertainty: Uncertainty) -> Array:
    """Standard error of the prediction from that of the parameters; (n,), in the unit of the curve."""
    if not uncertainty.determined:
        return np.zeros_like(forward.predict(p))
    jacobian = forward.linearise(p, uncertainty.determined)[1]
    return np.asarray(np.sqrt(np.maximum(np.einsum("kn,kl,ln->n", jacobian, uncertainty.subspace, jacobian), 0.0)))
