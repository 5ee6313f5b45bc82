"""Which of several laws a curve prefers: AICc and BIC from the likelihood of the fitted rows.

AICc: Hurvich & Tsai, Biometrika 76, 297 (1989); BIC: Schwarz, Ann. Statist. 6, 461 (1978). An estimated noise is a
parameter too. Both suppose independent residuals: where these are not noise, differences are overstated, and the
held-out error is the better judge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cosim.devices.base import Array


@dataclass(frozen=True)
class Criteria:
    """AICc and BIC of ``parameters`` fitted parameters on ``points`` rows; compare them on the same rows only."""

    aicc: float
    bic: float
    parameters: int
    points: int


def criteria(residual: Array, sigma: Array, *, parameters: int, noise_known: bool) -> Criteria:
    """From residuals (n,) and their standard deviations (n,), up to a common factor where the noise is not known."""
    n = residual.size
    z = residual / sigma
    square = float(z @ z)
    if noise_known:
        deviance = square + float(np.sum(np.log(2.0 * math.pi * sigma**2)))
    else:
        scale = max(square / n, 1e-300)
        deviance = n * (1.0 + math.log(2.0 * math.pi * scale)) + 2.0 * float(np.sum(np.log(sigma)))
    k = parameters + (not noise_known)
    spare = n - k - 1
    aicc = deviance + 2.0 * k + (2.0 * k * (k + 1) / spare if spare > 0 else math.inf)
    return Criteria(aicc, deviance + k * math.log(n), parameters, n)
