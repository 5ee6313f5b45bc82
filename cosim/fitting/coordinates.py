"""The coordinates in which a fit searches: the logarithm of what spans decades, multiples of a size of the rest.

A step of a search is then a factor where the physics thinks in factors (a conductance between 1 nS and 10 S), and all
coordinates are of the order of 1. The limit is our choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cosim.devices.base import Array

# Bounds of one sign whose ratio exceeds this are searched in the logarithm.
SPAN = 100.0


def spans_decades(low: float, high: float) -> bool:
    """Whether bounds are of one sign and more than two decades apart."""
    return (low > 0.0 and high / low > SPAN) or (high < 0.0 and low / high > SPAN)


@dataclass(frozen=True)
class Coordinates:
    """Parameters x as coordinates z: z = s ln(s x) of the sign s where ``sign`` is not 0, and z = x/size elsewhere.

    Args:
        low, high: (k,) bounds of x.
        sign: (k,) 1 or -1 for a logarithm, 0 for a multiple of ``size``.
        size: (k,) what counts as 1 of a multiple.
    """

    low: Array
    high: Array
    sign: Array
    size: Array

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        bounds: Mapping[str, tuple[float, float]],
        *,
        sizes: Mapping[str, float],
        logarithmic: bool = True,
    ) -> Coordinates:
        """Those of ``names``; ``logarithmic`` False takes multiples throughout."""
        low, high = (np.array([bounds[name][side] for name in names], dtype=float) for side in (0, 1))
        decades = [logarithmic and spans_decades(*bounds[name]) for name in names]
        sign = np.where(decades, np.sign(low), 0.0)
        return cls(low, high, sign, np.array([sizes[name] for name in names], dtype=float))

    def z(self, x: Array) -> Array:
        """Coordinates of ``x`` (..., k)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(self.sign == 0.0, x / self.size, self.sign * np.log(self.sign * x)))

    def x(self, z: Array) -> Array:
        """Parameters at ``z`` (..., k), moved to the nearest bound where they lie beyond it."""
        free = z * self.size
        if self.sign.any():
            with np.errstate(over="ignore"):
                free = np.where(self.sign == 0.0, free, self.sign * np.exp(self.sign * z))
        return np.asarray(np.minimum(np.maximum(free, self.low), self.high))

    def slope(self, x: Array) -> Array:
        """dx/dz at ``x`` (k,)."""
        return np.asarray(np.where(self.sign == 0.0, self.size, np.abs(x)))

    @property
    def box(self) -> tuple[Array, Array]:
        """Bounds of z; (k,) each."""
        return self.z(self.low), self.z(self.high)
