"""A small failure probability by scaled-sigma sampling.

S. Sun, X. Li, H. Liu, K. Luo and B. Gu, "Fast statistical analysis of rare circuit failure events via scaled-sigma
sampling for high-dimensional variation space", IEEE TCAD 34 (2015) 1096. All standard deviations are scaled up by s
until failures are frequent; their rates at several s are extrapolated to s = 1 by

    log P(s) = alpha + beta log s + gamma / s²,        P(1) = exp(alpha + gamma)

fitted by least squares, weighted by the binomial variance of log P; the interval is a bootstrap of the counts. The
scales are our choice: a pilot finds one at which a fifth of the points fails, and how far below it failures can still
be counted: the error of the extrapolation is least where the scales span as much as that. The method never looks for a
region and so misses none, in any number of dimensions; but it extrapolates, and its residuals only show whether the
model holds where it was measured. An interval that is wider than a decade is not to be trusted (our choice).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.statistics.ask_tell import Search, Steps
from cosim.statistics.rare import UNKNOWN, RareFailure, ScaleFit, Undecided, decided, nothing
from cosim.statistics.sampling import generator

METHOD = "scaled-sigma"
SCALES = 5
FREQUENT = 0.2  # share of failures at the largest scale
SECOND = 0.6  # of the largest scale: where a second pilot tells how fast the rate falls
LOWEST = np.linspace(0.25, 0.8, 56)  # of the largest scale: candidates for the smallest
EXPECTED = 15.0  # failures at the smallest scale
PILOT_GROWTH, PILOT_END = 1.25, 12.0
LEAST_FAILED = 5  # at a scale that enters the fit
RESAMPLES = 2000
UNLIKELY = 0.01  # a p-value of the residuals below it says that the model does not hold
WIDEST = 10.0  # our choice: the ratio of the ends of an interval that is still useful
LEAST_BUDGET = 200


def scaled_sigma(
    d: int, *, seed: int, budget: int = 3000, level: float = 0.95, scales: Sequence[float] | None = None
) -> Search[np.float64, RareFailure]:
    """A search for the failure probability of ``d`` standard normal coordinates.

    Its answers are True for a point that fails, NaN for an unknown one. ``budget`` is the largest number of points;
    ``scales`` are the factors of the standard deviation (four or more above 1), by default chosen by a pilot.
    """
    if d < 1:
        raise InputError("nothing varies", remedy="name at least one parameter")
    if budget < LEAST_BUDGET:
        raise InputError(f"{budget} points are too few for scaled sigma", remedy=f"give {LEAST_BUDGET} or more")
    if not 0.0 < level < 1.0:
        raise InputError(f"a level of {level:g} is not between 0 and 1", remedy="give e.g. 0.95")
    if scales is not None and (len(set(scales)) < 4 or min(scales) < 1.0):
        raise InputError("scaled sigma needs four different scales, none below 1", remedy="give e.g. 2, 2.5, 3, 4")
    unknown = Undecided()
    steps = _steps(d, seed, budget, level, None if scales is None else np.sort(np.array(scales, float)), unknown)
    return Search(decided(steps, unknown), np.float64)


def _steps(
    d: int, seed: int, budget: int, level: float, scales: Array | None, unknown: Undecided
) -> Steps[np.bool_, RareFailure]:
    used = failures = 0
    nearest = math.inf
    if scales is None:
        size = max(10, budget // 50)
        top, number = PILOT_GROWTH, 0
        while True:
            z = top * generator(seed, 1, number).standard_normal((size, d))
            fails = yield z
            used, failures, nearest = used + size, failures + int(fails.sum()), _nearest(nearest, z, fails)
            if np.mean(fails) >= FREQUENT:
                break
            top, number = top * PILOT_GROWTH, number + 1
            if top > PILOT_END:
                why = f"few points fail even at {PILOT_END:g} times the standard deviations"
                return nothing(METHOD, why, level=level, evaluated=used, failed=failures)
        z = SECOND * top * generator(seed, 1, number + 1).standard_normal((4 * size, d))
        second = yield z
        used, failures, nearest = used + len(z), failures + int(second.sum()), _nearest(nearest, z, second)
        scales = _chosen(top, float(np.mean(fails)), max(float(second.sum()), 0.5) / len(z), budget - used)
    samples = _shares(scales, budget - used)
    failed, lost = np.zeros((2, len(scales)), dtype=np.intp)
    for k, scale in enumerate(scales):
        z = scale * generator(seed, 2, k).standard_normal((int(samples[k]), d))
        fails = yield z
        used, failed[k], nearest = used + len(z), int(fails.sum()), _nearest(nearest, z, fails)
        lost[k] = int(unknown.last.sum())
    failures += int(failed.sum())
    if np.count_nonzero(failed >= LEAST_FAILED) < 4:
        why = f"{LEAST_FAILED} or more points fail at fewer than four scales: raise the budget"
        return nothing(METHOD, why, level=level, evaluated=used, failed=failures)
    fit = fit_scales(scales, failed, samples - lost)
    logs = _bootstrap(fit, seed)
    low, high = np.exp(np.minimum(np.quantile(logs, [0.5 - 0.5 * level, 0.5 + 0.5 * level]), 0.0))
    why = ""
    entered = failed >= LEAST_FAILED
    share = float(np.max(lost[entered] / (lost[entered] + failed[entered])))
    if share > UNKNOWN:
        why = f"at one scale {share:.0%} of what may be failures are points without a verdict: vary less"
    elif fit.p_value < UNLIKELY:
        why = (
            f"the model misses the measured rates (chi² = {fit.chi_square:.3g} at {fit.freedom} degrees of freedom,"
            f" p = {fit.p_value:.2g})"
        )
    elif fit.gamma >= 0.0:
        why = "the fitted rate does not fall towards a scale of 1"
    elif high > WIDEST * low:
        why = f"the interval spans a factor of {high / max(low, 1e-300):.2g}, more than {WIDEST:g}: raise the budget"
    return RareFailure(
        METHOD, min(math.exp(fit.alpha + fit.gamma), 1.0), float(low), float(high), level, used, failures,
        trusted=not why, why=why, nearest=nearest if math.isfinite(nearest) else None, fit=fit,
    )  # fmt: skip


def _chosen(top: float, rate: float, second: float, n: int) -> Array:
    """Scales between ``top``, where ``rate`` fails, and the lowest at which ``n`` points shared out still fail."""
    # beta = 1, as behind a plane far away, leaves two unknowns for the two rates
    at = SECOND * top
    gamma = (math.log(second / at) - math.log(rate / top)) / (at**-2 - top**-2)
    alpha = math.log(rate / top) - gamma / top**2
    for low in np.maximum(LOWEST * top, 1.0):
        scales = np.linspace(low, max(top, 1.5), SCALES)
        if _shares(scales, n)[0] * math.exp(min(alpha + math.log(low) + gamma / low**2, 0.0)) >= EXPECTED:
            return scales
    return np.linspace(max(1.0, float(LOWEST[-1]) * top), max(top, 1.5), SCALES)


def _nearest(nearest: float, z: Array, fails: NDArray[np.bool_]) -> float:
    return min(nearest, float(np.min(np.linalg.norm(z[fails], axis=1)))) if fails.any() else nearest


def _shares(scales: Array, n: int) -> NDArray[np.intp]:
    """How many samples each scale gets: more where less fails."""
    share = scales**-2.0
    counts = np.maximum((n * share / share.sum()).astype(np.intp), 1)
    return np.asarray(counts, dtype=np.intp)


def _design(scales: Array) -> Array:
    return np.stack([np.ones_like(scales), np.log(scales), scales**-2.0], axis=1)


def _solve(scales: Array, failed: Array, samples: Array) -> tuple[Array, Array]:
    """Coefficients (..., 3) and weighted residuals (..., k) of the model for counts (..., k)."""
    rate = failed / samples
    weight = np.sqrt(failed / np.maximum(1.0 - rate, 0.5 / samples))  # 1/deviation of log P: (1 − P)/(N P) its variance
    design = weight[..., None] * _design(scales)
    target = weight * np.log(rate)
    found = (np.linalg.pinv(design) @ target[..., None])[..., 0]
    return found, target - (design @ found[..., None])[..., 0]


def fit_scales(scales: Array, failed: NDArray[np.intp], samples: NDArray[np.intp]) -> ScaleFit:
    """The model through ``failed`` of ``samples`` at ``scales`` (k,); scales with few failures are left out."""
    used = failed >= LEAST_FAILED
    s, k, n = scales[used], failed[used].astype(float), samples[used].astype(float)
    (alpha, beta, gamma), residual = _solve(s, k, n)
    freedom = len(s) - 3
    chi_square = float(residual @ residual)
    return ScaleFit(
        s, k, n, float(alpha), float(beta), float(gamma), chi_square, freedom, float(stats.chi2.sf(chi_square, freedom))
    )


def _bootstrap(fit: ScaleFit, seed: int) -> Array:
    """log P(1) of counts drawn anew from the measured rates."""
    rng = generator(seed, 3)
    drawn = rng.binomial(fit.samples.astype(np.int64), fit.failed / fit.samples, (RESAMPLES, len(fit.scales)))
    found, _ = _solve(fit.scales, np.maximum(drawn, 0.5), fit.samples)
    return np.asarray(found[:, 0] + found[:, 2], dtype=float)
