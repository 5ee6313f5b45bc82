r"""What a curve determines where it does not determine the parameters: products of their powers.

In the logarithms of the parameters the inverse of the information matrix is R = C/(p pᵀ). Its eigenvectors of large
eigenvalue are the directions in which the parameters trade (sloppy models: Gutenkunst et al., PLoS Comput. Biol. 3,
e189 (2007)). As many parameters as there are such directions are taken as carriers; every other parameter, multiplied
by those powers of the carriers that leave the least variance, is then known. The choice of carriers is the one whose
products are known best. The limits are our choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from cosim.devices.base import Array, Values
from cosim.fitting.uncertainty import Uncertainty

# Relative standard error above which parameters trade along a direction, and below which a product counts as known.
KNOWN = 0.05
# A product is reported where it is known this many times better than its first factor.
BETTER = 4.0
# A logarithm is taken as straight over a relative standard error up to this (our choice).
STRAIGHT = 0.25
# A power is written as a whole number where it is that close to one, and the product still counts as known.
WHOLE = 0.1
# A factor with a smaller power hardly matters; a product of more factors, or with a larger power, is of no use to a
# reader.
ABSENT, FACTORS, STEEP = 0.02, 3, 10.0


@dataclass(frozen=True)
class Combination:
    """A product of powers that the curve determines better than its factors.

    Args:
        powers: (name, power) of each factor; of a negative parameter its magnitude counts.
        value: of the product, in SI.
        known: its relative standard error.
        interval: 95 %.
        alone: relative standard error of each factor by itself.
        negative: names of the factors that are negative.
    """

    powers: tuple[tuple[str, float], ...]
    value: float
    known: float
    interval: tuple[float, float]
    alone: tuple[float, ...]
    negative: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """``a1·b``, ``r_on·|k_on|^-0.50``."""
        return product(self.powers, self.negative)

    @property
    def constraint(self) -> str:
        """The same with powers of so many digits that the product of the values is the stated one."""
        needed = 2 - math.floor(math.log10(max(self.known, 1e-9)))
        return product(self.powers, self.negative, digits=min(max(needed, 2), 6))

    def __str__(self) -> str:
        names = [name for name, _ in self.powers]
        each = " and ".join(f"{name} to {alone:.0%}" for name, alone in zip(names, self.alone, strict=True))
        if max(self.alone) > STRAIGHT:  # the product of the found values is not that of others along the valley
            return f"{self.title} is determined to {self.known:.1%} near these values, {each}"
        return (
            f"{self.constraint} = {self.value:.4g} ± {self.value * self.known:.2g} "
            f"(SI; 95 %: {self.interval[0]:.4g} .. {self.interval[1]:.4g}): only the product is determined, {each}"
        )


def product(powers: Sequence[tuple[str, float]], negative: Sequence[str] = (), *, digits: int = 2) -> str:
    """A product of powers as it is written, with the magnitudes of ``negative`` factors."""
    names = [(f"|{name}|" if name in negative else name, power) for name, power in powers]
    return "·".join(name if power == 1.0 else f"{name}^{_plain(power, digits)}" for name, power in names)


def _plain(power: float, digits: int) -> str:
    return f"{power:.0f}" if power == round(power) else f"{power:.{digits}f}"


def known_products(uncertainty: Uncertainty, p: Values, *, height: float) -> tuple[Combination, ...]:
    """The products of powers that are known although their factors trade; empty where no parameters trade.

    Args:
        uncertainty: at the minimum.
        p: its parameters.
        height: Student's t of the interval's level.
    """
    names = [name for name in uncertainty.names if float(p[name]) != 0.0]
    if len(names) < 2:
        return ()
    kept = [uncertainty.names.index(name) for name in names]
    size = np.array([abs(float(p[name])) for name in names])
    signs = np.sign([float(p[name]) for name in names])
    relative = uncertainty.covariance[np.ix_(kept, kept)] / np.outer(signs * size, signs * size)
    loose = int(np.sum(np.linalg.eigvalsh(relative) > KNOWN**2))
    if not 0 < loose < len(names):
        return ()
    carriers = min(combinations(range(len(names)), loose), key=lambda chosen: _left(relative, chosen))
    alone = np.sqrt(np.diag(relative))
    found = []
    for index in range(len(names)):
        if index in carriers or alone[index] <= KNOWN:
            continue
        weights = _weights(relative, index, carriers)
        known = _error(relative, weights)
        factors = [index, *(carrier for carrier in carriers if weights[carrier] != 0.0)]
        if known * BETTER > alone[index] or len(factors) > FACTORS or np.abs(weights).max() > STEEP:
            continue
        value = float(np.exp(weights @ np.log(size)))
        # The logarithm is what is normal: an interval of a product of positive factors stays positive.
        ends = (value * math.exp(-height * known), value * math.exp(height * known))
        powers = tuple((names[i], float(weights[i])) for i in factors)
        each = tuple(float(alone[i]) for i in factors)
        negative = tuple(names[i] for i in factors if signs[i] < 0.0)
        found.append(Combination(powers, value, known, ends, each, negative))
    return tuple(found)


def _error(relative: Array, weights: Array) -> float:
    return math.sqrt(max(float(weights @ relative @ weights), 0.0))


def _left(relative: Array, carriers: Sequence[int]) -> float:
    """The sum of the products' log variances with a choice of carriers."""
    others = [i for i in range(relative.shape[0]) if i not in carriers]
    errors = [_error(relative, _weights(relative, i, carriers, whole=False)) for i in others]
    return sum(math.log(max(error, 1e-12)) for error in errors)


def _weights(relative: Array, index: int, carriers: Sequence[int], *, whole: bool = True) -> Array:
    """Powers (k,) of the product of parameter ``index`` with the carriers that varies least."""
    chosen = list(carriers)
    weights = np.zeros(relative.shape[0])
    weights[index] = 1.0
    weights[chosen] = -np.linalg.lstsq(relative[np.ix_(chosen, chosen)], relative[chosen, index], rcond=None)[0]
    weights[np.abs(weights) < ABSENT] = 0.0
    near = np.where(np.abs(weights - np.round(weights)) <= WHOLE, np.round(weights), weights)
    return near if whole and _error(relative, near) * BETTER <= KNOWN else weights
