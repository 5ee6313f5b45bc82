r"""Are the residuals noise, and does the law explain anything? Tests in the orders in which a misfit would show.

A wrong law leaves residuals whose neighbours are alike, whose mean is not zero, or which are larger than repeated reads
scatter. Neighbours are rows that follow each other in the measurement (along one ramp, not from ramp to ramp) and rows
that are next to each other in what was applied: in a train of random amplitudes only the latter shows a wrong law.

* runs of one sign: Wald & Wolfowitz, Ann. Math. Statist. 11, 147 (1940);
* neighbours: d of Durbin & Watson, Biometrika 38, 159 (1951), whose distribution under least squares is a beta on
  [0, 4] with the exact mean and variance for this fit's Jacobian (their section 4);
* neighbours up to ten rows away: Ljung & Box, Biometrika 65, 297 (1978); where rows are few, the chances of these two
  come from drawn noise (`calibrated`);
* mean: Student's t, with the number of rows that are worth one independent row each, n (1 − r)/(1 + r);
* size: against the stated noise (chi-square), and against the scatter of rows that repeat each other (lack of fit,
  Draper & Smith, *Applied Regression Analysis*, ch. 2);
* use: F of the law against a constant.

The limits below are our choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from cosim.data.kinds import KINDS
from cosim.data.recording import Curve
from cosim.devices.base import Array

# Chance of a departure at least as large in residuals that are only noise, below which they are called structured.
SUSPICIOUS = 1e-3
RESIDUALS_FOR_TESTS = 20
# Degrees of freedom that the tests on neighbours and mean need at least.
FREE_FOR_TESTS = 6
REPEATS_FOR_TESTS = 5
LAGS = 10
# Up to so many rows the chances of runs and lags, which are approximate, are found by drawing noise so many times.
FEW, DRAWS = 1000, 4000
# Residuals below this part of the measured values are rounding, not noise.
EXACT = 1e-9

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Order:
    """One order of a curve's rows: ``index`` (n,) of the rows in it, ``group`` (n,) of each; pairs stay in a group."""

    title: str
    index: Index
    group: Index

    def of(self, rows: NDArray[np.bool_]) -> Order:
        """The order of the rows where ``rows`` (n,) is true, as positions among them."""
        position = np.cumsum(rows) - 1
        kept = rows[self.index]
        return Order(self.title, position[self.index[kept]], self.group[kept])


def orders(curve: Curve) -> tuple[Order, ...]:
    """The orders in which a misfit of this kind of curve would show."""
    n = len(curve)
    one, row = np.zeros(n, dtype=np.int64), np.arange(n)
    if curve.kind == "equal pulses":
        index = np.lexsort((row, curve["pulse"], curve["ramp"]))
        return (Order("pulse", index, np.unique(curve["ramp"][index], return_inverse=True)[1].astype(np.int64)),)
    kind = KINDS[curve.kind]
    applied = [kind.applied] if kind.applied else [
        name for name, column in curve.columns.items() if kind.role(name) == "applied" and np.ptp(column)
    ]  # fmt: skip
    found = [Order(name, np.argsort(curve[name], kind="stable"), one) for name in applied]
    turns = np.count_nonzero(np.diff(np.sign(np.diff(curve["voltage"])))) if curve.kind == "i-v" else 0
    if kind.ordered or not found or 0 < turns < n // 4:
        found.insert(0, Order("measurement", row, one))
    return tuple(found)


@dataclass(frozen=True)
class ResidualCheck:
    """Are the residuals only noise?

    Chances are those of a departure at least as large if they were; of several orders, the smallest times their number.

    Args:
        points: residuals that were tested.
        exact: residuals at the level of rounding (1e-9 of the measured values): there is nothing to test.
        size: RMS residual over the range of the fitted values.
        durbin_watson: 2 for independent neighbours, towards 0 for slowly varying residuals; in the worst order.
        neighbours: chance of such a Durbin–Watson.
        order: the order that ``durbin_watson`` was found in.
        runs: chance of so few or so many changes of sign.
        lags: chance of such autocorrelations up to ten rows away (Ljung–Box).
        mean: of the residuals over their RMS.
        mean_chance: chance of such a mean.
        normal: chance of so unnormal a distribution.
        repeats: chance of residuals so much larger than the scatter of repeated rows; None where too few repeat.
        repeat_scatter: RMS scatter of repeated rows over the range; None as above.
        constant: chance that a constant is as good as the law (F test).
        reduced_chi_square: chi-square per degree of freedom; 1 by construction where the noise was not known.
        noise_known: whether the noise was stated.
        chi_square_chance: chance of a chi-square as large or larger; None where the noise was not known.
    """

    points: int
    exact: bool
    size: float
    durbin_watson: float = 2.0
    neighbours: float = 1.0
    order: str = ""
    runs: float = 1.0
    lags: float = 1.0
    mean: float = 0.0
    mean_chance: float = 1.0
    normal: float = 1.0
    repeats: float | None = None
    repeat_scatter: float | None = None
    constant: float = 0.0
    reduced_chi_square: float = 1.0
    noise_known: bool = False
    chi_square_chance: float | None = None

    @property
    def explains(self) -> bool:
        """Whether the law explains more than a constant."""
        return self.exact or self.constant < SUSPICIOUS

    @property
    def structured(self) -> bool:
        """Whether order or mean of the residuals are not those of noise, or repeated rows scatter less."""
        chances = (
            self.neighbours,
            self.runs,
            self.lags,
            self.mean_chance,
            1.0 if self.repeats is None else self.repeats,
        )
        return min(chances) < SUSPICIOUS

    @property
    def too_large(self) -> bool:
        """Whether the residuals exceed the stated noise."""
        return self.chi_square_chance is not None and self.chi_square_chance < SUSPICIOUS

    @property
    def white(self) -> bool:
        """Whether order, mean and size are those of noise, and the law explains something."""
        return self.explains and not self.structured and not self.too_large

    def sentences(self) -> list[str]:
        """One sentence for each departure from noise."""
        said = []
        if not self.explains:
            said.append(
                f"the law explains no more than a constant (F test {_p(self.constant)}; residuals {self.size:.0%} "
                "of the range): nothing can be said about its parameters; check the columns, the sign or polarity of "
                "what was applied, and whether it exceeds the thresholds"
            )
        if self.structured:
            said.append(
                f"the residuals, {self.size:.2g} of the range, are not noise ({'; '.join(self._evidence())}): the law "
                "departs from the curve by more than the curve scatters, and standard errors and intervals hold only "
                "if it did not"
            )
        if self.too_large:
            said.append(
                f"the residuals are {math.sqrt(self.reduced_chi_square):.2f} times the stated noise: the noise is "
                "larger than stated, or the law does not describe what was measured"
            )
        if self.chi_square_chance is not None and self.chi_square_chance > 1.0 - SUSPICIOUS:
            said.append(
                f"the residuals are {math.sqrt(self.reduced_chi_square):.2f} times the stated noise, less than it "
                "allows: the noise is smaller than stated, and so are the standard errors"
            )
        if self.normal < SUSPICIOUS:
            said.append(f"the residuals are not normal (Shapiro–Wilk p = {self.normal:.1g}): look for outliers")
        return said

    def _evidence(self) -> list[str]:
        found = [f"Durbin–Watson {self.durbin_watson:.2f} in order of {self.order}, {_p(self.neighbours)}"]
        if self.runs < SUSPICIOUS:
            found.append(f"runs test {_p(self.runs)}")
        if self.lags < SUSPICIOUS:
            found.append(f"Ljung–Box {_p(self.lags)}")
        if self.mean_chance < SUSPICIOUS:
            found.append(f"mean {self.mean:+.2f} of their RMS, {_p(self.mean_chance)}")
        if self.repeats is not None and self.repeat_scatter is not None and self.repeats < SUSPICIOUS:
            found.append(f"repeated rows scatter by {self.repeat_scatter:.2g} of the range, {_p(self.repeats)}")
        return found


def _p(chance: float) -> str:
    return f"p = {chance:.1g}" if chance > 1e-16 else "p < 1e-16"


def check_residuals(
    residual: Array,
    jacobian: Array,
    *,
    orders: tuple[Order, ...],
    measured: Array,
    null: Array,
    repeated: Index | None = None,
    noise_known: bool = False,
) -> ResidualCheck:
    """Tests on the residuals of a least-squares fit.

    Args:
        residual: (n,) in units of the noise.
        jacobian: (k, n) its derivatives by the parameters.
        orders: of these n rows.
        measured: (n,) in the unit of ``residual``: what rounding and size are held against.
        null: (n,) residuals of the best constant, in the same unit.
        repeated: (n,) rows with the same number repeat each other; None: not known.
        noise_known: whether the unit of ``residual`` is a stated noise.
    """
    n, k = residual.size, jacobian.shape[0]
    free, squares = n - k, float(residual @ residual)
    rms = math.sqrt(squares / n)
    size = rms / max(float(np.ptp(measured)), 1e-300)
    chance = float(special.chdtrc(free, squares)) if noise_known else None
    reduced = squares / free if noise_known else 1.0
    if rms <= EXACT * float(np.abs(measured).max()):
        return ResidualCheck(
            n, True, size, reduced_chi_square=reduced, noise_known=noise_known, chi_square_chance=chance
        )
    basis, count = _basis(jacobian), len(orders)
    ordered = [(residual[o.index], basis[o.index], o.group) for o in orders]
    neighbours = [(durbin_watson(r, group=g, basis=q), o.title) for (r, q, g), o in zip(ordered, orders, strict=True)]
    (d, worst), title = min(neighbours, key=lambda found: found[0][1])
    mean, mean_chance = mean_test(residual[orders[0].index], free=free)
    lack = lack_of_fit(residual, repeated, parameters=k) if repeated is not None else None
    shapiro = 1.0
    if n >= RESIDUALS_FOR_TESTS:
        # Beyond 5000 values Shapiro–Wilk's tables end: an even choice of the residuals is tested.
        shapiro = float(stats.shapiro(residual[:: max(1, -(-n // 5000))]).pvalue)
    return ResidualCheck(
        points=n,
        exact=False,
        size=size,
        durbin_watson=d,
        neighbours=min(1.0, count * worst),
        order=title,
        runs=min(1.0, count * min(calibrated(runs_test, r, basis=q) for r, q, _ in ordered)),
        lags=min(1.0, count * min(calibrated(partial(ljung_box, group=g), r, basis=q) for r, q, g in ordered)),
        mean=mean / rms,
        mean_chance=mean_chance,
        normal=shapiro,
        repeats=None if lack is None else lack[0],
        repeat_scatter=None if lack is None else size * lack[1] / rms,
        constant=against_constant(squares, float(null @ null), points=n, parameters=k),
        reduced_chi_square=reduced,
        noise_known=noise_known,
        chi_square_chance=chance,
    )


def _basis(jacobian: Array) -> Array:
    """Orthonormal columns (n, rank) that span the derivatives of the residuals."""
    length = np.linalg.norm(jacobian, axis=1)
    moving = length > 0.0
    left, singular, _ = np.linalg.svd((jacobian[moving] / length[moving, None]).T, full_matrices=False)
    return np.asarray(left[:, singular > 1e-8 * singular.max(initial=0.0)])


def durbin_watson(residual: Array, *, group: Index, basis: Array) -> tuple[float, float]:
    """d, and the two-sided chance of it; 1 where fewer than 6 degrees of freedom are left.

    Args:
        residual: (n,) in order.
        group: (n,) pairs are taken within a group only.
        basis: (n, k) orthonormal columns to which least squares made the residuals orthogonal.
    """
    n, k = basis.shape
    pair = group[1:] == group[:-1]
    squares = float(residual @ residual)
    pairs = int(pair.sum())
    d = float(np.sum(np.diff(residual)[pair] ** 2)) / squares
    free = n - k
    if free < FREE_FOR_TESTS or pairs < FREE_FOR_TESTS:
        return d, 1.0
    step = np.where(pair[:, None], np.diff(basis, axis=0), 0.0)
    image = np.concatenate([np.zeros((1, k)), step]) - np.concatenate([step, np.zeros((1, k))])  # A Q, A = DᵀD
    inner = basis.T @ image
    ends = np.concatenate([[0], pair.astype(int)]) + np.concatenate([pair.astype(int), [0]])  # the diagonal of A
    trace = float(ends.sum() - np.trace(inner))
    trace_squared = float(np.sum(ends**2) + 2 * pairs - 2.0 * np.sum(image**2) + np.sum(inner**2))
    mean = trace / free
    variance = 2.0 * (trace_squared - trace * mean) / (free * (free + 2.0))
    if not 0.0 < mean < 4.0 or variance <= 0.0:
        return d, 1.0
    total = mean * (4.0 - mean) / variance - 1.0
    shape, at = (total * mean / 4.0, total * (1.0 - mean / 4.0)), min(max(d / 4.0, 0.0), 1.0)
    return d, min(1.0, 2.0 * min(float(special.betainc(*shape, at)), float(special.betaincc(*shape, at))))


def calibrated(test: Callable[[Array], Array], residual: Array, *, basis: Array) -> float:
    """The chance that ``test`` gives of residuals, which takes them for independent; below the limit, the true one.

    With few rows for each parameter least squares makes neighbours unlike: of nine parameters from 24 rows of noise
    Ljung & Box's approximation has one in twenty below 0.001. What fits leave of normal noise is therefore drawn, and
    the chance is the share of draws in which ``test`` is as small. ``residual`` (n,), ``basis`` as in `durbin_watson`.
    """
    chance = float(test(residual))
    if chance >= SUSPICIOUS or residual.size > FEW:
        return chance
    noise = _drawn(residual.size)
    noise = noise - (noise @ basis) @ basis.T
    return (1.0 + int(np.count_nonzero(test(noise) <= chance))) / (DRAWS + 1.0)


@lru_cache(maxsize=1)  # several tests ask for the same size
def _drawn(n: int) -> Array:
    return np.random.default_rng(0).standard_normal((DRAWS, n))


def ljung_box(residual: Array, *, group: Index, lags: int = LAGS) -> Array:
    """Chance of such autocorrelations at ``lags`` lags, within groups, of each row of (..., n); 1 for fewer than 20."""
    n = residual.shape[-1]
    if n < RESIDUALS_FOR_TESTS:
        return np.ones(residual.shape[:-1])
    lags, squares = min(lags, n // 5), np.sum(residual**2, axis=-1)
    q = np.zeros(residual.shape[:-1])
    for lag in range(1, lags + 1):
        same = group[lag:] == group[:-lag]
        pairs = int(same.sum())
        if pairs:
            r = np.sum((residual[..., lag:] * residual[..., :-lag])[..., same], axis=-1) / squares
            q += n * (n + 2.0) / pairs * r**2
    return np.asarray(special.chdtrc(lags, q))


def mean_test(residual: Array, *, free: int) -> tuple[float, float]:
    """The mean, and the two-sided chance of it with the effective number of rows; 1 below 6 degrees of freedom."""
    n, mean = residual.size, float(residual.mean())
    rest = residual - mean
    squares = float(rest @ rest)
    if free < FREE_FOR_TESTS or squares == 0.0:
        return mean, 1.0
    r = min(max(float(rest[1:] @ rest[:-1]) / squares, 0.0), 0.99)
    effective = n * (1.0 - r) / (1.0 + r)
    t = mean / math.sqrt(squares / (n - 1) / effective)
    return mean, float(2.0 * special.stdtr(max(effective - 1.0, 1.0), -abs(t)))


def lack_of_fit(residual: Array, repeated: Index, *, parameters: int) -> tuple[float, float] | None:
    """Chance of so large a misfit against the scatter of repeated rows, and that scatter (RMS); None: too few repeat.

    ``repeated``: (n,) rows with the same number repeat each other.
    """
    number, count = np.unique(repeated, return_inverse=True, return_counts=True)[1:]
    pure = int(np.sum(count - 1))
    free = residual.size - parameters - pure
    if pure < REPEATS_FOR_TESTS or free < 1:
        return None
    mean = np.bincount(number, weights=residual) / count
    scatter = float(np.sum((residual - mean[number]) ** 2))
    if scatter == 0.0:
        return None  # a noise-free curve: its repeats carry no information
    lack = max(float(residual @ residual) - scatter, 0.0)
    return float(special.fdtrc(free, pure, lack / free / (scatter / pure))), math.sqrt(scatter / pure)


def against_constant(squares: float, null: float, *, points: int, parameters: int) -> float:
    """Chance of ``squares`` (the law's sum) if a constant, which leaves ``null``, were as good."""
    if squares >= null:
        return 1.0
    more, free = max(parameters - 1, 1), points - parameters
    return float(special.fdtrc(more, free, (null - squares) / more / (squares / free)))


def runs_test(residual: Array) -> Array:
    """Chance (two-sided, normal approximation) of the runs of one sign in each row of (..., n); 1 for fewer than 20."""
    signs = residual > 0.0
    n, above = residual.shape[-1], signs.sum(axis=-1)
    if n < RESIDUALS_FOR_TESTS:
        return np.ones(residual.shape[:-1])
    runs = 1 + np.count_nonzero(signs[..., 1:] != signs[..., :-1], axis=-1)
    mean = 1.0 + 2.0 * above * (n - above) / n
    variance = (mean - 1.0) * (mean - 2.0) / (n - 1.0)
    # The position of a single value of the other sign is uninformative; without one there is a single run.
    away = np.where(variance > 0.0, np.abs(runs - mean) / np.sqrt(np.where(variance > 0.0, variance, 1.0)), 0.0)
    return np.asarray(np.where(runs == 1, 0.0, 2.0 * special.ndtr(-away)))
