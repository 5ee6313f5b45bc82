r"""From a value of each parameter in many groups (devices, or cycles) to the distributions that a campaign draws from.

The margin of a parameter is the normal, the lognormal or the empirical distribution (quantiles joined on normal paper,
`Spread`) with the smallest AICc. The values come from fits and have errors of their own, which widen what is seen: for
the two parametric ones x_i ~ N(μ, τ² + e_i²) with known e_i, and τ is what is drawn; the empirical quantiles are drawn
towards their mean by the same share. Correlations are those of the normal scores, less what the errors' own
covariances contribute (a Gaussian copula, as in `cosim.statistics.spread`); one that Fisher's z does not show at the
5 % level is left out. Held-out coverage is how many values of groups that were left out, in `FOLDS` turns, lie in the
95 % range that the others give, widened by the value's own error; with plug-in widths of m groups some 95 − 40/m % are
expected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import ndtri

from cosim.devices.base import Array
from cosim.errors import DataError
from cosim.schema import Quantity
from cosim.statistics.spread import LEAST_EIGENVALUE, Correlation, Spread

FEWEST, FOLDS = 5, 5
PROBABILITIES = (0.05, 0.25, 0.5, 0.75, 0.95)
WIDE = 1.959964  # 95 % of a normal distribution
# Below this part of the observed variance the groups' own is not told from the errors: they are not shown to differ.
SHOWN = 0.05


@dataclass(frozen=True)
class Margin:
    """The distribution of one parameter.

    Args:
        nominal: the value (SI) that ``spread`` is around.
        spread: of the groups; None where they are not shown to differ beyond their errors.
        aicc: of each distribution that was tried, the smallest is kept.
        scores: (m,) normal scores of the groups.
        scale: (m,) derivative of the value by the score.
        held_out: how many values of left-out groups lay in the range that the others gave, and of how many.
    """

    nominal: float
    spread: Spread | None
    aicc: Mapping[str, float]
    scores: Array
    scale: Array
    held_out: tuple[int, int] = (0, 0)

    @property
    def distribution(self) -> str:
        """Its name."""
        return min(self.aicc, key=lambda name: self.aicc[name])


@dataclass(frozen=True)
class Groups:
    """Distributions and correlations of parameters between ``count`` groups."""

    margins: Mapping[str, Margin]
    correlations: tuple[Correlation, ...]
    count: int

    def variables(self, address: str = "") -> dict[str, Any]:
        """``variables`` and ``correlations`` of a campaign plan's [sample], to be written as TOML.

        ``address``: of the device in the bench, such as ``"devices.memristor"``. The bench has to give it the
        `nominal` values.
        """
        prefix = f"{address}." if address else ""
        told = {
            prefix + name: margin.spread.model_dump(mode="json", exclude_defaults=True)
            for name, margin in self.margins.items()
            if margin.spread is not None
        }
        pairs = [{"of": [prefix + name for name in one.of], "rho": one.rho} for one in self.correlations]
        return {"variables": told, "correlations": pairs}

    @property
    def nominal(self) -> dict[str, float]:
        """What each spread is around (SI)."""
        return {name: margin.nominal for name, margin in self.margins.items()}

    def sentences(self) -> list[str]:
        """What was found of each parameter, in words."""
        said = []
        for name, margin in self.margins.items():
            if margin.spread is None:
                said.append(f"{name}: that the {self.count} groups differ is not shown; it is not drawn")
                continue
            held, total = margin.held_out
            said.append(f"{name}: {margin.distribution}; the 95 % range held {held} of {total} left-out groups")
        return said


def distributions(
    values: Mapping[str, ArrayLike],
    *,
    covariance: ArrayLike | None = None,
    units: Mapping[str, str] | None = None,
) -> Groups:
    """Margins and correlations of ``values``: by parameter (m,) numbers of m groups, SI.

    Args:
        values: of each of k parameters.
        covariance: (m, k, k) of each group's errors, SI; default: none.
        units: SI unit by parameter, for `Groups.variables`; default: 1.

    Raises:
        DataError: fewer than `FEWEST` groups, or a value that is not finite.

    >>> import numpy as np
    >>> made = np.exp(np.random.default_rng(0).normal(-9.0, 0.1, 40))
    >>> sorted(cosim.distributions({"g_on": made}, units={"g_on": "S"}).variables("devices.access"))
    ['correlations', 'variables']
    """
    names = tuple(values)
    x = np.array([np.asarray(values[name], dtype=float) for name in names])
    count = x.shape[1]
    if count < FEWEST:
        raise DataError(f"{count} groups are too few for a distribution", remedy=f"measure {FEWEST} or more")
    if not np.all(np.isfinite(x)):
        raise DataError("a group's value is not finite", remedy="leave the group out")
    errors = np.zeros((count, len(names), len(names))) if covariance is None else np.asarray(covariance, dtype=float)
    margins = {}
    for k, name in enumerate(names):
        own, unit = np.sqrt(errors[:, k, k]), (units or {}).get(name, "1")
        margins[name] = _margin(x[k], own, unit, held_out=_left_out(x[k], own))
    return Groups(margins, _correlations(margins, errors), count)


def _margin(x: Array, e: Array, unit: str, *, held_out: tuple[int, int] = (0, 0)) -> Margin:
    found = {"normal": _parametric(x, e)}
    if np.all(x > 0.0):
        mean, tau, likelihood = _parametric(np.log(x), e / x)
        found["lognormal"] = (mean, tau, likelihood + 2.0 * float(np.sum(np.log(x))))
    aicc = {name: _aicc(likelihood, 2, x.size) for name, (_, _, likelihood) in found.items()}
    nodes, z = np.quantile(x, PROBABILITIES, method="hazen"), ndtri(PROBABILITIES)
    scores, slope = x, np.ones(x.size)
    if x.size > len(nodes) + 1 and np.all(np.diff(nodes) > 0.0):
        slopes = np.diff(nodes) / np.diff(z)
        piece = np.clip(np.searchsorted(nodes, x) - 1, 0, len(slopes) - 1)
        slope = slopes[piece]
        scores = z[piece] + (x - nodes[piece]) / slope
        likelihood = float(np.sum(scores**2 + np.log(2.0 * math.pi * slope**2)))
        aicc["empirical"] = _aicc(likelihood, len(nodes), x.size)
    best = min(aicc, key=lambda name: aicc[name])
    mean, tau, _ = found[best if best in found else "normal"]
    seen = e / x if best == "lognormal" else e
    total = math.sqrt(tau**2 + float(np.mean(seen**2)))
    shown = tau**2 > SHOWN * total**2
    spread: Spread | None
    if best == "empirical":
        nominal, share = float(np.mean(x)), tau / total
        deviations = tuple(Quantity(value=share * float(node - nominal), unit=unit) for node in nodes)
        spread = Spread(distribution="empirical", values=deviations, quantiles=PROBABILITIES, are="deviations")
        return Margin(nominal, spread if shown else None, aicc, scores, slope, held_out)
    if best == "lognormal":
        nominal = math.exp(mean + 0.5 * tau**2)
        spread = Spread(relative=math.sqrt(math.expm1(tau**2)), distribution="lognormal") if shown else None
        return Margin(nominal, spread, aicc, (np.log(x) - mean) / total, x * total, held_out)
    spread = Spread(absolute=Quantity(value=tau, unit=unit)) if shown else None
    return Margin(mean, spread, aicc, (x - mean) / total, np.full(x.size, total), held_out)


def _parametric(x: Array, e: Array) -> tuple[float, float, float]:
    """Mean, τ and −2 ln L of normal groups with known errors; τ² has one group less, as a sample variance has."""
    deviation = float(np.std(x)) or abs(float(x[0])) * 1e-12 or 1e-300

    def at(log_tau: float) -> tuple[float, float]:
        variance = (deviation * math.exp(log_tau)) ** 2 + e**2
        mean = float(np.sum(x / variance) / np.sum(1.0 / variance))
        return mean, float(np.sum((x - mean) ** 2 / variance + np.log(2.0 * math.pi * variance)))

    found = minimize_scalar(lambda t: at(t)[1], bounds=(-7.0, 1.0), method="bounded", options={"xatol": 1e-4})
    mean, likelihood = at(float(found.x))
    noise = float(np.mean(e**2))
    total = ((deviation * math.exp(float(found.x))) ** 2 + noise) * x.size / (x.size - 1)
    return mean, math.sqrt(max(total - noise, 0.0)), likelihood


def _aicc(likelihood: float, k: int, n: int) -> float:
    return likelihood + 2.0 * k + 2.0 * k * (k + 1) / (n - k - 1)


def _left_out(x: Array, e: Array) -> tuple[int, int]:
    held, total = 0, 0
    order = np.random.default_rng(0).permutation(x.size)
    for fold in range(FOLDS):
        out = np.zeros(x.size, dtype=bool)
        out[order[fold::FOLDS]] = True
        if (~out).sum() < FEWEST:
            continue
        margin = _margin(x[~out], e[~out], "1")
        low, middle, high = (
            (margin.nominal,) * 3
            if margin.spread is None
            else margin.spread.value(margin.nominal, np.array([-WIDE, 0.0, WIDE]))
        )
        reach = WIDE * e[out]
        inside = (x[out] >= middle - np.hypot(middle - low, reach)) & (
            x[out] <= middle + np.hypot(high - middle, reach)
        )
        held, total = held + int(inside.sum()), total + int(out.sum())
    return held, total


def _correlations(margins: Mapping[str, Margin], errors: Array) -> tuple[Correlation, ...]:
    names, found = list(margins), []
    for a, b in combinations(range(len(names)), 2):
        one, other = margins[names[a]], margins[names[b]]
        if one.spread is None or other.spread is None:
            continue
        count = one.scores.size
        own = [1.0 - float(np.mean(errors[:, k, k] / m.scale**2)) for k, m in ((a, one), (b, other))]
        seen = float(np.corrcoef(one.scores, other.scores)[0, 1])
        rho = seen - float(np.mean(errors[:, a, b] / (one.scale * other.scale)))
        if abs(math.atanh(min(max(rho, -0.999), 0.999))) * math.sqrt(count - 3) < WIDE:
            continue
        rho /= math.sqrt(max(own[0], SHOWN) * max(own[1], SHOWN))
        found.append(Correlation(of=(names[a], names[b]), rho=min(max(rho, -0.99), 0.99)))
    # Pairs by themselves need not fit together: all are drawn towards 0 until they do.
    while found and np.linalg.eigvalsh(_matrix(names, found))[0] < LEAST_EIGENVALUE:
        found = [Correlation(of=one.of, rho=0.98 * float(one.rho)) for one in found]
    return tuple(found)


def _matrix(names: list[str], found: list[Correlation]) -> Array:
    matrix = np.eye(len(names))
    for one in found:
        i, j = (names.index(name) for name in one.of)
        matrix[i, j] = matrix[j, i] = one.rho
    return matrix
