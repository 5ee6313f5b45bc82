r"""Step response of a linear stack from a rational Krylov space: a few solutions take the place of many time steps.

The rise obeys C dT/dt + A T = q. The solutions (A + s_k C)⁻¹ q at geometrically spaced s_k between the inverse of the
last and of the first time, and at s = 0, span a space; A and C projected onto it (Galerkin; both are symmetric and
positive, so that every pole is real and stable) have the step response of the whole, exactly at rest and to a small
error between (Druskin, Lieberman and Zaslavsky, SIAM J. Sci. Comput. 32, 2485). About twenty solutions take the place
of a hundred time steps, and the response is then known at any time. `cosim.heat.solve.march` is the check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.sparse import diags

from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.heat.solve import Discretised, solver


@dataclass(frozen=True)
class ReducedStack:
    """The stack's response to a heat source switched on at 0.

    Args:
        modes: (cells, k) thermal modes.
        rates: (k,) 1/s of their decay, rising.
        weights: (k,) K: each mode's amplitude at rest.
    """

    modes: Array
    rates: Array
    weights: Array

    def field(self, time: float | None) -> Array:
        """(cells,) K at ``time`` (s); None: at rest."""
        share = self.weights if time is None else self.weights * -np.expm1(-self.rates * time)
        return np.asarray(self.modes @ share)

    def means(self, probes: Sequence[Array], volumes: Array, *, times: Array) -> Array:
        """(times, probes) K: volume means over the cells of each probe."""
        seen = np.stack([volumes[mask] @ self.modes[mask] / volumes[mask].sum() for mask in probes])
        share = self.weights * -np.expm1(-np.outer(times, self.rates))
        return np.asarray(share @ seen.T)


def reduce(
    model: Discretised,
    heat: Array,
    *,
    first: float,
    last: float,
    per_decade: float = 2.0,
    rtol: float = 1e-6,
    tell: Callable[[str], None] = lambda _: None,
) -> ReducedStack:
    """The reduced model for a source ``heat`` (cells,) W, good between ``first`` and ``last`` (s) and at rest."""
    if not 0.0 < first < last:
        raise InputError(f"{first:g} to {last:g} s is not a range of times", remedy="give 0 < first < last")
    n = max(3, int(np.ceil(per_decade * np.log10(last / first))) + 1)
    shifts = np.concatenate([[0.0], np.geomspace(1.0 / last, 1.0 / first, n)])
    basis = np.empty((heat.size, shifts.size))
    for k, shift in enumerate(shifts):
        tell(f"solution {k + 1} of {shifts.size}")
        matrix = (model.heat + diags(model.capacity * shift)).tocsr()
        guess = None
        if k:  # what the space so far says: it halves the iterations
            v = basis[:, :k]
            small = v.T @ (matrix @ v)
            guess = v @ np.linalg.solve(small, v.T @ heat)
        column = solver(matrix, rtol=rtol, what=f"solution at {shift:.3g} 1/s")(heat, guess)
        for _ in range(2):  # twice: once leaves rounding behind
            column -= basis[:, :k] @ (basis[:, :k].T @ column)
        basis[:, k] = column / np.linalg.norm(column)
    a = basis.T @ (model.heat @ basis)
    c = basis.T @ (model.capacity[:, None] * basis)
    rates, vectors = eigh(0.5 * (a + a.T), 0.5 * (c + c.T))
    modes = basis @ vectors
    return ReducedStack(modes, rates, (modes.T @ heat) / rates)
