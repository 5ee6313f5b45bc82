"""Learned laws of what a circuit does that is not smooth, evaluated from plain arrays in numpy.

- ``Stretched``: a polynomial of the logarithm of what moves by decades (a rate behind an exponential law);
- ``Hinge``: the larger, or the smaller, of two polynomials, as Magnani and Boyd fit such (Optim. Eng. 10, 2009): a
  maximum over two phases of an event, a clipped state. Where one takes over from the other follows from both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.surrogate.bases import Polynomial

MOST_DEGREE = 50  # of a file
BEYOND = 0.1  # how far a stretched law may leave what it was trained on, in logarithms (our choice)
# Our choices of how a hinge is sought: turns from each start, and the samples of a side over its coefficients.
TURNS, LEAST_OF_SIDE = 30, 1.5


@dataclass(frozen=True)
class Stretched:
    """origin + width · sinh of a polynomial.

    Args:
        inner: the polynomial.
        width: up to which it is linear in the target.
        origin: (targets,) where it is.
        ends: (2, targets) of the polynomial, which is held there.
    """

    inner: Polynomial
    width: float
    origin: Array
    ends: Array

    def predict(self, x: Array) -> Array:
        """(n, targets)."""
        found: Array = self.origin + self.width * np.sinh(np.clip(self.inner.predict(x), *self.ends))
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As `cosim.surrogate.bases.Model.arrays`."""
        return {**self.inner.arrays(), "width": np.array(self.width), "origin": self.origin, "ends": self.ends}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], fields: int) -> Self:
        """The inverse of `arrays`; raises ValueError for what cannot be one."""
        inner, width = Polynomial.of(arrays, fields), float(arrays["width"])
        origin, ends = (np.asarray(arrays[name], dtype=float) for name in ("origin", "ends"))
        targets = inner.coefficients.shape[1]
        if not width > 0.0 or origin.shape != (targets,) or ends.shape != (2, targets) or np.any(ends[0] > ends[1]):
            raise ValueError("numbers of a stretched polynomial")
        return cls(inner, width, origin, ends)

    @classmethod
    def trained(cls, x: Array, y: Array, *, degree: int, width: float, origin: Array) -> Self:
        """By least squares in the stretched target."""
        z = np.arcsinh((y - origin) / width)
        ends = np.stack([z.min(axis=0) - BEYOND, z.max(axis=0) + BEYOND])
        return cls(Polynomial.trained(x, z, degree), width, origin, ends)


@dataclass(frozen=True)
class Hinge:
    """The larger, where ``sign`` (targets,) is 1, or the smaller of two polynomials; ``sides`` (2, terms, targets)."""

    degree: int
    sides: Array
    sign: Array

    def predict(self, x: Array) -> Array:
        """(n, targets)."""
        one, other = Polynomial.basis(x, self.degree) @ self.sides
        return np.asarray(np.where(self.sign > 0.0, np.maximum(one, other), np.minimum(one, other)))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As `cosim.surrogate.bases.Model.arrays`."""
        return {"degree": np.array(self.degree), "sides": self.sides, "sign": self.sign}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], fields: int) -> Self:
        """The inverse of `arrays`; raises ValueError for what cannot be one."""
        degree = int(arrays["degree"])
        sides, sign = (np.asarray(arrays[name], dtype=float) for name in ("sides", "sign"))
        if not 0 <= degree <= MOST_DEGREE or sides.shape != (2, math.comb(fields + degree, degree), sign.size):
            raise ValueError(f"coefficients of a hinge of degree {degree}")
        return cls(degree, sides, sign.reshape(-1))

    @classmethod
    def trained(cls, x: Array, y: Array, *, degree: int) -> Self:
        """By turns: least squares of each side, then each sample to the side that decides; of degree 1 first.

        Polynomials of a higher degree leave their side so steeply that turns from a poor start do not converge.
        """
        bases = [Polynomial.basis(x, d) for d in range(1, degree + 1)]
        sides, signs = [], []
        for k in range(y.shape[1]):
            found = {sign: _hinged(x, bases, y[:, k], sign) for sign in (1.0, -1.0)}
            signs.append(min(found, key=lambda sign: found[sign].square))
            sides.append(found[signs[-1]].both)
        return cls(degree, np.stack(sides, axis=2), np.array(signs))


@dataclass(frozen=True)
class _Split:
    """Which samples (n,) are on the first side, both sides (2, terms), and the sum of squares that they leave."""

    first: NDArray[np.bool_]
    both: Array
    square: float


def _hinged(x: Array, bases: Sequence[Array], y: Array, sign: float) -> _Split:
    """The best split for the last of ``bases`` and a ``sign``; without any, both sides are the same.

    The turns begin with the samples split at the median of each field, and where a polynomial alone lies below ``y``.
    """
    whole = np.linalg.lstsq(bases[-1], y, rcond=1e-10)[0]
    none = _Split(np.ones(y.size, dtype=bool), np.stack([whole, whole]), float(np.sum((y - bases[-1] @ whole) ** 2)))
    first = bases[min(1, len(bases) - 1)]
    starts = [x[:, k] > np.median(x[:, k]) for k in range(x.shape[1])]
    starts.append(y > first @ np.linalg.lstsq(first, y, rcond=1e-10)[0])
    for basis in bases:
        found = [split for start in starts if (split := _turned(basis, y, start, sign)) is not None]
        if not found:
            return none
        best = min(found, key=lambda split: split.square)
        starts = [best.first]
    return best if best.square < none.square else none


def _turned(basis: Array, y: Array, first: NDArray[np.bool_], sign: float) -> _Split | None:
    """The best of the turns that begin with a split; None where a side has too few samples."""
    least = LEAST_OF_SIDE * basis.shape[1]
    best: _Split | None = None
    for _ in range(TURNS):
        if not least <= np.count_nonzero(first) <= y.size - least:
            break
        both = np.stack([np.linalg.lstsq(basis[part], y[part], rcond=1e-10)[0] for part in (first, ~first)])
        ours = sign * (basis @ both.T)
        square = float(np.sum((sign * np.max(ours, axis=1) - y) ** 2))
        turned = ours[:, 0] > ours[:, 1]
        if best is None or square < best.square:
            best = _Split(turned, both, square)
        if np.array_equal(turned, first):
            break
        first = turned
    return best
