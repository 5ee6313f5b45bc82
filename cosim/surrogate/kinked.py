"""Learned laws of what a circuit does that is not smooth, evaluated from plain arrays in numpy.

- ``Stretched``: a polynomial of the logarithm of what moves by decades (a rate behind an exponential law);
- ``Hinge``: the larger, or the smaller, of two polynomials, as Magnani and Boyd fit such (Optim. Eng. 10, 2009): a
  maximum over two phases of an event, a clipped state. Where one takes over from the other follows from both;
- ``Ridge``: a cubic spline along one field, or along the difference of two, with polynomials across: a comparator that
  switches with the time between two spikes. Its knots are dense where the spline bends most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.surrogate.bases import Polynomial, uniform_parts

MOST_DEGREE, MOST_CELLS = 50, 10_000  # of a file
BEYOND = 0.1  # how far a stretched law may leave what it was trained on, in logarithms (our choice)
# Our choices of how a hinge is sought: turns from each start, and the samples of a side over its coefficients.
TURNS, LEAST_OF_SIDE = 30, 1.5
# Our choices for ridges: knots follow curvature and samples by these shares, in so many turns, above a floor.
BY_CURVATURE, KNOT_TURNS, FLOOR = 0.6, 4, 0.3
BENDING, HELD = 1e-5, 1e-7  # penalties: on second differences, and on all but the spline alone
SCREENED = 24  # cells of the splines by which directions are compared


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


@dataclass(frozen=True)
class Ridge:
    """A spline along a direction, with coefficients that are polynomials of what is across it.

    Args:
        direction: (fields,) whose magnitudes add up to 1: the spline's place is its product with the scaled fields.
        place, knot: (m,) from −1 to 1: of a place, where it lies among the spline's uniform knots, linear in between.
        degree: of the polynomials.
        coefficients: (cells + 3, terms, targets).
    """

    direction: Array
    place: Array
    knot: Array
    degree: int
    coefficients: Array

    def predict(self, x: Array) -> Array:
        """(n, targets)."""
        terms, cell, weights = _ridge_parts(x, self.direction, self.place, self.knot, self.degree, self.cells)
        found = np.zeros((x.shape[0], self.coefficients.shape[2]))
        for k, weight in enumerate(weights):
            found += weight[:, None] * np.einsum("nt,ntj->nj", terms, self.coefficients[cell + k])
        return found

    @property
    def cells(self) -> int:
        """Of the spline."""
        return int(self.coefficients.shape[0]) - 3

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As `cosim.surrogate.bases.Model.arrays`."""
        own: dict[str, NDArray[Any]] = {"direction": self.direction, "place": self.place, "knot": self.knot}
        return {**own, "degree": np.array(self.degree), "coefficients": self.coefficients}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], fields: int) -> Self:
        """The inverse of `arrays`; raises ValueError for what cannot be one."""
        degree = int(arrays["degree"])
        direction, place, knot, c = (
            np.asarray(arrays[name], dtype=float) for name in ("direction", "place", "knot", "coefficients")
        )
        if direction.shape != (fields,) or not 0 <= degree <= MOST_DEGREE or not np.any(direction):
            raise ValueError("the direction of a ridge")
        if c.ndim != 3 or not 4 <= len(c) <= MOST_CELLS or c.shape[1] != math.comb(fields - 1 + degree, degree):
            raise ValueError(f"coefficients of a ridge of degree {degree}")
        if place.ndim != 1 or place.shape != knot.shape or place.size < 2:
            raise ValueError("the knots of a ridge")
        if np.any(np.diff(place) <= 0.0) or np.any(np.diff(knot) <= 0.0):
            raise ValueError("the knots of a ridge")
        return cls(direction, place, knot, degree, c)

    @classmethod
    def trained(cls, x: Array, y: Array, *, direction: Array, cells: int, degree: int) -> Self:
        """By least squares with small penalties; then again with the knots where the spline bends, by turns."""
        place = knot = np.array([-1.0, 1.0])
        found = cls(direction, place, knot, degree, _ridged(x, y, direction, place, knot, degree, max(cells, 64)))
        for _ in range(KNOT_TURNS):
            place, knot = _knots(found, x @ direction)
            found = cls(direction, place, knot, degree, _ridged(x, y, direction, place, knot, degree, cells))
        return found

    @classmethod
    def best_directions(cls, x: Array, y: Array, *, directions: Sequence[Array]) -> list[Array]:
        """Those that explain a target best."""
        rest, ends = [], np.array([-1.0, 1.0])
        for direction in directions:
            model = cls(direction, ends, ends, 1, _ridged(x, y, direction, ends, ends, 1, SCREENED))
            rest.append(np.sum((model.predict(x) - y) ** 2, axis=0))
        return [directions[k] for k in dict.fromkeys(np.argmin(rest, axis=0).tolist())]


def _ridge_parts(
    x: Array, direction: Array, place: Array, knot: Array, degree: int, cells: int
) -> tuple[Array, NDArray[np.int64], Array]:
    """The polynomials' products (n, terms) across a direction, and `uniform_parts` along it."""
    across = np.linalg.qr(direction[:, None], mode="complete")[0][:, 1:]
    across = across / np.abs(across).sum(axis=0)
    terms = Polynomial.basis(x @ across, degree) if x.shape[1] > 1 else np.ones((x.shape[0], 1))
    return terms, *uniform_parts(np.interp(x @ direction, place, knot), cells)


def _ridged(x: Array, y: Array, direction: Array, place: Array, knot: Array, degree: int, cells: int) -> Array:
    """(cells + 3, terms, targets): the coefficients of a ridge."""
    terms, cell, weights = _ridge_parts(x, direction, place, knot, degree, cells)
    side, count = cells + 3, terms.shape[1]
    spline = np.zeros((x.shape[0], side))
    for k, weight in enumerate(weights):
        spline[np.arange(x.shape[0]), cell + k] = weight
    a = (spline[:, :, None] * terms[:, None, :]).reshape(x.shape[0], side * count)
    second = np.diff(np.eye(side), n=2, axis=0)
    normal = a.T @ a / x.shape[0] + BENDING / side * np.kron(second.T @ second, np.eye(count))
    normal += np.diag(np.tile(np.where(np.arange(count) > 0, HELD, 0.0), side) + 1e-10)
    return np.asarray(np.linalg.solve(normal, a.T @ y / x.shape[0])).reshape(side, count, -1)


def _knots(found: Ridge, places: Array) -> tuple[Array, Array]:
    """Place and knot of `Ridge` that share the spline's curvature and the samples at ``places`` (n,) evenly."""
    knot = np.linspace(-1.0, 1.0, 4 * found.cells + 1)
    place = np.interp(knot, found.knot, found.place)
    cell, weights = uniform_parts(knot, found.cells)
    # of the polynomial's constant term: the spline where the other fields are in the middle of their ranges
    course = sum(weight[:, None] * found.coefficients[cell + k, 0] for k, weight in enumerate(weights))
    slope = np.gradient(course, place, axis=0)
    bend = np.sqrt(np.max(np.abs(np.gradient(slope, place, axis=0)), axis=1))
    bend = np.convolve(bend, np.full(9, 1.0 / 9.0), "same")
    bend = bend + FLOOR * float(np.trapezoid(bend, place)) / 2.0 + 1e-12
    share = np.concatenate([[0.0], np.cumsum(0.5 * (bend[1:] + bend[:-1]) * np.diff(place))])
    seen = np.interp(place, np.sort(places), np.linspace(-1.0, 1.0, places.size))
    mixed = BY_CURVATURE * (2.0 * share / share[-1] - 1.0) + (1.0 - BY_CURVATURE) * seen
    return place, (2.0 * mixed - mixed[0] - mixed[-1]) / (mixed[-1] - mixed[0])
