r"""Noise whose neighbours are alike: a first-order autoregression, as drift and slow fluctuations leave it.

With r the correlation of rows that follow each other, a row differs from r^d times the one d rows before it by
independent noise of variance σ² (1 − r^{2d}) (Prais & Winsten, Cowles Commission Discussion Paper 383 (1954), for gaps
too). Least squares of these differences is the generalised one. r maximises the restricted likelihood of the model
linearised at the fit (Harville, J. Am. Stat. Assoc. 72, 320 (1977)): what the parameters absorb of the noise would make
the plain likelihood's r too small, and intervals with it. Fit and r take turns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize_scalar

from cosim.devices.base import Array, Values
from cosim.fitting.forward import Index, Rows
from cosim.fitting.problem import Minimum, Problem
from cosim.fitting.residuals import Order

# The correlation is looked for up to here: beyond it, noise cannot be told from a drift of the whole curve.
MOST = 0.98
ROUNDS, SETTLED = 12, 2e-3


@dataclass(frozen=True)
class Whitening:
    """From rows with correlated noise to independent ones of the same variance.

    Args:
        r: correlation of rows that follow each other; of several observations (n,), that of each row's.
        rows: (n,) the m rows that are fitted.
        before: (m,) for each row the one before it; itself where there is none.
        gap: (m,) how many rows it is away, 1 for neighbours; 0 where there is none before.
        order: of all n rows, those that are not fitted, too.
    """

    r: float | Array
    rows: Rows
    before: Index
    gap: Index
    order: Order

    @classmethod
    def of(cls, r: float | Array, order: Order, rows: Rows) -> Whitening:
        """That of the ``rows`` (n,) that are fitted, along the ``order`` of all n."""
        before, gap = _before(order, rows)
        position = np.cumsum(rows) - 1
        return cls(r, rows, position[before[rows]], gap[rows], order)

    def innovations(self, z: Array, rows: Rows) -> Array:
        """Residuals (n,) of all rows, each less what the last fitted row before it says; ``rows`` (n,) are fitted."""
        before, gap = _before(self.order, rows)
        kept = np.where(gap > 0, self.r**gap, 0.0)
        return np.asarray((z - kept * z[before]) / np.sqrt(1.0 - kept**2))

    @property
    def of_rows(self) -> Array:
        """r of each of all rows; (n,)."""
        return np.broadcast_to(self.r, self.rows.shape)

    @property
    def kept(self) -> Array:
        """r^d of each row, 0 where there is none before; (m,)."""
        return np.where(self.gap > 0, self.of_rows[self.rows] ** self.gap, 0.0)

    def __call__(self, z: Array) -> Array:
        """Residuals or their derivatives (..., m), each less what the row before it says."""
        kept = self.kept
        return np.asarray((z - kept * z[..., self.before]) / np.sqrt(1.0 - kept**2))

    @property
    def worth(self) -> float:
        """How many independent rows one of these is worth for an estimate of the variance."""
        r = self.of_rows[self.rows]
        return float(np.mean((1.0 - r**2) / (1.0 + r**2)))

    @property
    def log_determinant(self) -> float:
        """ln det of the correlation matrix."""
        return float(np.sum(np.log1p(-(self.kept**2))))


def _before(order: Order, rows: Rows) -> tuple[Index, Index]:
    """For each of n rows the last one before it of ``rows`` (n,) in its group, and how far away it is; 0: none."""
    before, gap = np.arange(rows.size), np.zeros(rows.size, dtype=np.int64)
    last: tuple[int, int, int] | None = None
    for place, (row, group) in enumerate(zip(order.index.tolist(), order.group.tolist(), strict=True)):
        if last is not None and last[2] == group:
            before[row], gap[row] = last[1], place - last[0]
        if rows[row]:
            last = (place, row, group)
    return before, gap


def sentence(r: float, *, assumed: bool) -> str:
    """What was found, and what it means for errors and intervals; ``assumed``: the recipe does not mention it."""
    advice = '; a wrong law can look like that: write noise.correlation = "fit" if the instrument is known to do so'
    return (
        f"the noise of neighbouring reads is correlated ({r:.2f}): errors and intervals allow for it"
        f"{advice if assumed else ''}"
    )


def fit_correlated(problem: Problem, start: Values, *, order: Order, r: float | None) -> tuple[Minimum, Problem]:
    """The fit with correlated noise from ``start``.

    Args:
        problem: with independent noise, and without clipped rows.
        start: near the minimum.
        order: in which the rows were measured.
        r: their correlation where it is known.
    """
    white = replace(problem, whiten=None)
    found = Whitening.of(0.0 if r is None else r, order, problem.rows)
    best = Minimum(start, math.inf, 0, False, "")
    for _ in range(ROUNDS):
        last, before = found.r, white
        white = white.reweighed(best.p)
        if r is None:
            found = replace(found, r=most_likely(found, white.residual(best.p), white.jacobian(best.p)))
        problem = replace(white, whiten=found)
        best = problem.minimise(best.p)
        if not white.moved(before) and (r is not None or abs(float(found.r - last)) < SETTLED):
            return best, problem
    return replace(best, converged=False, message=f"parameters and noise do not settle in {ROUNDS} rounds"), problem


def most_likely(whitening: Whitening, residual: Array, jacobian: Array) -> float:
    """The correlation that makes ``residual`` (m,), of a model with derivatives ``jacobian`` (k, m), most likely."""
    length = np.linalg.norm(jacobian, axis=1)
    columns = jacobian[length > 0.0] / length[length > 0.0, None]
    free = max(residual.size - columns.shape[0], 1)

    def cost(r: float) -> float:
        made = replace(whitening, r=r)
        q, upper = np.linalg.qr(made(columns).T)
        z = made(residual)
        rest = z - q @ (q.T @ z)
        size = np.abs(np.diag(upper))
        return float(
            made.log_determinant
            + 2.0 * float(np.sum(np.log(np.maximum(size, 1e-12))))
            + free * math.log(max(float(rest @ rest), 1e-300))
        )

    found = minimize_scalar(cost, bounds=(-MOST, MOST), method="bounded", options={"xatol": 1e-3})
    return float(found.x)
