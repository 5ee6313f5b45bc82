r"""The spread of a population of parameters, from the curvature of a joint fit.

Each of m groups has its own value θ_i ~ N(μ, τ²). At given τ a joint fit minimises χ² + Σ (θ_i − μ)²/τ² over all
unknowns, μ among them (Lindstrom & Bates, Biometrics 46, 673 (1990): penalised non-linear least squares), which draws a
group that its own recordings hardly determine towards the mean. τ maximises the restricted likelihood of the model
linearised there, all other unknowns integrated out with flat priors:

    −2 ln L(τ) = m ln τ² + min_{θ, μ, …} Q(τ) + ln det A(τ),    A = JᵀJ + P(τ),

with J the derivatives of the recordings' residuals alone and P the penalty's Hessian. The two take turns. (The plain
likelihood's τ² would be too small by (m − 1)/m.) The 95 % interval of τ is where −2 ln L has risen by 3.84, chi-square
of one degree of freedom; where the groups' values are known exactly it covers 93.2 % with m = 3 and 94.2 % with m = 6.
It is conditional on the noise, and with several populations on the other populations' best values: neither is profiled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import chi2

from cosim.devices.base import Array, Values
from cosim.fitting.observation import JointForward

# τ is looked for between these shares of the parameter's size (our choice): below, the groups do not differ.
LEAST, MOST = 1e-4, 1e2
HEIGHT = float(chi2.ppf(0.95, 1))


@dataclass(frozen=True)
class PopulationSpread:
    """The standard deviation ``value`` of a population, its 95 % ``interval`` (0 and infinite: open), ``groups``.

    The interval is conditional on the noise and on the other populations' best values; of three groups it covers 93 %.
    """

    value: float
    interval: tuple[float, float]
    groups: int

    def __str__(self) -> str:
        low, high = self.interval
        upper = "open" if math.isinf(high) else f"{high:.4g}"
        return f"{self.value:.4g} (95 % {low:.4g} .. {upper}) of {self.groups} groups"


def spreads(
    forward: JointForward,
    p: Values,
    *,
    names: tuple[str, ...],
    residual: Array,
    jacobian: Array,
    size: Mapping[str, float],
) -> dict[str, PopulationSpread]:
    """The spread of each population at ``p``, the minimum under the present ones.

    Args:
        forward: whose populations.
        p: the unknowns.
        names: of the k that vary.
        residual: (n,) of the recordings alone, in units of their noise.
        jacobian: (k, n) its derivatives.
        size: natural size of each population's parameter.
    """
    scale = np.array([size.get(forward.unknowns[name].parameter, abs(float(p[name]))) or 1.0 for name in names])
    columns = jacobian * scale[:, None]
    curvature, slope, value = columns @ columns.T, columns @ residual, np.array([float(p[n]) for n in names]) / scale
    ridge = 1e-12 * max(float(np.trace(curvature)) / len(names), 1.0) * np.eye(len(names))
    penalties = {of: _penalty(names, members, f"{of}.mean") for of, members in forward.population.items()}

    def cost(log_tau: Mapping[str, float]) -> float:
        """−2 ln L, with every τ in units of its parameter's size."""
        p_matrix = sum((penalties[of] * math.exp(-2.0 * t) for of, t in log_tau.items()), np.zeros_like(curvature))
        matrix, pull = curvature + ridge + p_matrix, slope + p_matrix @ value
        least = float(value @ p_matrix @ value - pull @ np.linalg.solve(matrix, pull))
        count = sum(2.0 * len(forward.population[of]) * t for of, t in log_tau.items())
        return count + least + float(np.linalg.slogdet(matrix)[1])

    ends = (math.log(LEAST), math.log(MOST))
    best = dict.fromkeys(forward.population, math.log(0.1))

    def along(of: str, log_tau: float, floor: float = 0.0) -> float:
        return cost({**best, of: log_tau}) - floor

    for _ in range(20 if len(best) > 1 else 1):
        last = dict(best)
        for of in best:
            best[of] = _lowest(partial(along, of), ends)
        if all(abs(best[of] - last[of]) < 1e-4 for of in best):
            break
    floor, found = cost(best), {}
    for of, t in best.items():
        above = partial(along, of, floor=floor + HEIGHT)
        low = 0.0 if above(ends[0]) < 0.0 else math.exp(float(brentq(above, ends[0], t)))
        high = math.inf if above(ends[1]) < 0.0 else math.exp(float(brentq(above, t, ends[1])))
        unit, tau = size[of], 0.0 if t < ends[0] + 0.01 else math.exp(t)
        found[of] = PopulationSpread(tau * unit, (low * unit, high * unit), len(forward.population[of]))
    return found


def _lowest(cost: Callable[[float], float], ends: tuple[float, float]) -> float:
    """The lowest place of a function of one variable: a grid first, for it may be flat at its lower end."""
    grid = np.linspace(*ends, 28)
    k = int(np.argmin([cost(t) for t in grid]))
    between = (grid[max(k - 1, 0)], grid[min(k + 1, grid.size - 1)])
    return float(minimize_scalar(cost, bounds=between, method="bounded", options={"xatol": 1e-6}).x)


def _penalty(names: tuple[str, ...], members: list[str], mean: str) -> Array:
    """Σ (θ_i − μ)² as a matrix over the unknowns; (k, k)."""
    rows = np.zeros((len(members), len(names)))
    for i, name in enumerate(members):
        rows[i, names.index(name)], rows[i, names.index(mean)] = 1.0, -1.0
    return rows.T @ rows
