"""Noise that grows with the reading: a part of each value, beside a part that all rows share.

An instrument's ranges and an amplifier's gain give such noise. Where the size of the residuals rises with what was read
(Spearman's rank correlation of the two, by chance less often than `SUSPICIOUS`), both parts are estimated from the
residuals by maximum likelihood, and the fit goes on with the rows weighted accordingly. The model is proposed only
where it leaves nothing but noise: a wrong law may leave more where more flows, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, special

from cosim import units
from cosim.data.recording import Curve
from cosim.devices.base import Array
from cosim.fitting import outliers
from cosim.fitting.check import check_fit
from cosim.fitting.checks import rank_correlation
from cosim.fitting.noise import Found
from cosim.fitting.recipe_tables import NoiseSpec
from cosim.fitting.residuals import RESIDUALS_FOR_TESTS, SUSPICIOUS

# Refits of the weights and of the parameters by turns; they end where no row's noise changes by more than this part.
ROUNDS, SETTLED = 30, 1e-3
# The shared part of the noise is at least this part of the largest residual: a row of zero weighs no more (our choice).
LEAST = 1e-3


@dataclass(frozen=True)
class Growing:
    """Noise of ``relative`` times the value beside ``sigma`` (in ``unit``, SI).

    ``correlation`` and ``chance``: of the residuals' size with the value, before any weight.
    """

    sigma: float
    relative: float
    unit: str
    correlation: float
    chance: float

    @property
    def evidence(self) -> str:
        """How it showed."""
        return f"rank correlation {self.correlation:+.2f}, p = {max(self.chance, 1e-99):.1g}"

    @property
    def assumption(self) -> str:
        """What was supposed and the recipe does not say."""
        return f"the noise grows with the reading, by {self.relative:.2g} of it"

    def stated(self, noise: NoiseSpec) -> NoiseSpec:
        """``noise`` as a recipe states it that knows of this."""
        return noise.model_copy(update={"sigma": f"{self.sigma!r} {self.unit}", "relative": self.relative})

    def sentence(self) -> str:
        """What was found, and what a recipe says of it."""
        sigma = units.show(self.sigma, self.unit.replace("1", ""), digits=3)
        return (
            f"the residuals grow with the reading ({self.evidence}), as noise of {self.relative:.2%} of it beside "
            f"{sigma} does, and the rows were weighted accordingly: if that is what your instrument does, write "
            f'noise = {{ relative = {self.relative:.3g}, sigma = "{sigma}" }}'
        )


def growing(found: Found, curve: Curve) -> Growing | None:
    """The noise of a fit, where it grows with the reading and weights leave nothing but noise; else None."""
    problem = found.problem
    seen = problem.seen & ~found.left
    if found.noise_known or found.check.exact or not found.check.explains or problem.priors:
        return None
    if problem.forward.expensive:
        return None
    if found.spread is not None or problem.whiten is not None or int(seen.sum()) < RESIDUALS_FOR_TESTS:
        return None
    p = found.minimum.p
    predicted = problem.forward.predict(p)
    size = np.abs(predicted[seen])
    if np.ptp(size) == 0.0:
        return None
    away, free = np.abs((problem.measured - predicted)[seen]), size.size - 2
    if np.ptp(away) == 0.0:
        return None
    correlation = rank_correlation(away, size)
    t = correlation * math.sqrt(free / max(1.0 - correlation**2, 1e-300))
    chance = float(2.0 * special.stdtr(free, -abs(t)))
    if not (correlation > 0.0 and chance < SUSPICIOUS):
        return None
    last = np.full(predicted.size, math.inf)
    every, clipped = problem.seen | found.left, problem.rows & ~problem.seen
    for _ in range(ROUNDS):
        predicted = problem.forward.predict(p)
        residual, size = (problem.measured - predicted)[seen], np.abs(predicted[seen])
        if not (residual.any() and size.any()):  # nothing that grows, or nothing that it could grow with
            return None
        sigma, relative = _parts(residual, size)
        if relative <= 0.0:
            return None
        # Of what the law gives: weights of measured values favour the rows that came out small.
        spread = np.hypot(sigma, relative * predicted)
        # Where much flows a row may look like an outlier under noise that is the same everywhere.
        z = (problem.measured - predicted) / spread
        seen = every & (outliers.beyond(z, seen, parameters=len(problem.names), known=False) <= 1.0)
        weighted = replace(problem, sigma=spread, rows=seen | clipped)
        minimum = weighted.minimise(p)
        p = minimum.p
        if np.all(np.abs(last / spread - 1.0) < SETTLED):
            break
        last = spread
    else:  # the two do not settle, and say nothing
        return None
    if not minimum.converged or not check_fit(weighted, p, curve, noise_known=False).white:
        return None
    # What the parameters take of the residuals is not the noise's.
    unbiased = math.sqrt(seen.sum() / max(int(seen.sum()) - len(problem.names), 1))
    return Growing(sigma * unbiased, relative * unbiased, curve.measured_unit, correlation, chance)


def _parts(residual: Array, size: Array) -> tuple[float, float]:
    """Both parts of the noise (sigma, relative), by maximum likelihood; ``residual``, ``size`` (n,)."""
    rms, scale = math.sqrt(float(np.mean(residual**2))), float(np.sqrt(np.mean(size**2)))
    least = LEAST * float(np.abs(residual).max())

    def height(parts: Array) -> float:
        variance = math.exp(2.0 * parts[0]) + (math.exp(parts[1]) * size) ** 2
        return float(np.sum(residual**2 / variance + np.log(variance)))

    box = [(math.log(least), math.log(10.0 * rms)), (math.log(1e-6 * rms / scale), math.log(1e3 * rms / scale))]
    best = optimize.minimize(height, [math.log(0.3 * rms), math.log(rms / scale)], bounds=box, method="L-BFGS-B")
    return math.exp(float(best.x[0])), math.exp(float(best.x[1]))
