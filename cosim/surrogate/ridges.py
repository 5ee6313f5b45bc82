"""Learned laws of what switches with one quantity, evaluated from plain arrays in numpy.

- ``Ridge``: a cubic spline along a field, or along the difference of two, whose coefficients are polynomials of the
  others: a comparator that switches with the time between two spikes;
- ``Sheet``: a tensor of such a spline and of one along a further field, the rest linear: a state that saturates, too.

Their knots are dense where they bend most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.surrogate.bases import Polynomial, uniform_parts

MOST_DEGREE, MOST_CELLS = 50, 10_000  # of a file
# Our choices: knots follow curvature and samples by these shares, in so many turns, above a floor.
BY_CURVATURE, TURNS, FLOOR = 0.85, 4, 0.3
BENDING, HELD, LEAST = 1e-5, 1e-6, 1e-10  # penalties: on second differences, on what is linear, and on everything
SCREENED = 24, 6  # cells of the splines by which directions are compared, and fields across them
SLACK = 1e-9  # of what adds up to 1, or ends at it, for rounding
SEEN = 15  # places along the first axis of a sheet at which its second one's curvature is looked at


@dataclass(frozen=True)
class Axis:
    """Where a spline runs.

    Args:
        direction: (fields,) whose magnitudes add up to 1: a place is its product with the scaled fields.
        place, knot: (m,) from −1 to 1: of a place, where it lies among the spline's uniform knots, linear in between.
    """

    direction: Array
    place: Array
    knot: Array

    @classmethod
    def along(cls, direction: Array) -> Self:
        """With knots at equal distances."""
        return cls(direction, np.array([-1.0, 1.0]), np.array([-1.0, 1.0]))

    def parts(self, x: Array, cells: int) -> tuple[NDArray[np.int64], Array]:
        """As `uniform_parts`, of samples ``x`` (n, fields)."""
        return uniform_parts(np.interp(x @ self.direction, self.place, self.knot), cells)

    def basis(self, x: Array, cells: int) -> Array:
        """(n, cells + 3)."""
        return _filled(*self.parts(x, cells), cells)

    def grid(self, cells: int) -> tuple[Array, Array]:
        """Places four to a cell, and the basis there."""
        knot = np.linspace(-1.0, 1.0, 4 * cells + 1)
        return np.interp(knot, self.knot, self.place), _filled(*uniform_parts(knot, cells), cells)

    def bent(self, place: Array, course: Array, x: Array) -> Self:
        """With knots that share the curvature of a ``course`` (m, k) over ``place``, and the samples ``x``, evenly."""
        slope = np.gradient(course, place, axis=0)
        bend = np.sqrt(np.max(np.abs(np.gradient(slope, place, axis=0)), axis=1))
        bend = np.convolve(bend, np.full(9, 1.0 / 9.0), "same")
        bend = bend + FLOOR * float(np.trapezoid(bend, place)) / 2.0 + 1e-12
        share = np.concatenate([[0.0], np.cumsum(0.5 * (bend[1:] + bend[:-1]) * np.diff(place))])
        seen = np.interp(place, np.sort(x @ self.direction), np.linspace(-1.0, 1.0, x.shape[0]))
        mixed = BY_CURVATURE * (2.0 * share / share[-1] - 1.0) + (1.0 - BY_CURVATURE) * seen
        return replace(self, place=place, knot=(2.0 * mixed - mixed[0] - mixed[-1]) / (mixed[-1] - mixed[0]))

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Its numbers by their names."""
        return {f"{name}_direction": self.direction, f"{name}_place": self.place, f"{name}_knot": self.knot}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], name: str, fields: int) -> Self:
        """The inverse of `arrays`; raises ValueError for what cannot be one."""
        direction, place, knot = (
            np.asarray(arrays[f"{name}_{part}"], dtype=float) for part in ("direction", "place", "knot")
        )
        if direction.shape != (fields,) or not abs(float(np.sum(np.abs(direction))) - 1.0) <= SLACK:
            raise ValueError("the direction of a spline")
        if place.ndim != 1 or place.shape != knot.shape or place.size < 2:
            raise ValueError("the knots of a spline")
        if np.any(np.diff(place) <= 0.0) or np.any(np.diff(knot) <= 0.0):
            raise ValueError("the knots of a spline")
        if max(np.max(np.abs(np.abs(ends[[0, -1]]) - 1.0)) for ends in (place, knot)) > SLACK:
            raise ValueError("the ends of a spline's knots")
        return cls(direction, place, knot)


def _filled(cell: NDArray[np.int64], weights: Array, cells: int) -> Array:
    found = np.zeros((cell.size, cells + 3))
    for k, weight in enumerate(weights):
        found[np.arange(cell.size), cell + k] = weight
    return found


def _across(*directions: Array) -> Array:
    """(fields, rest): what is left of the fields, each column with magnitudes that add up to 1."""
    rest = np.linalg.qr(np.stack(directions, axis=1), mode="complete")[0][:, len(directions) :]
    return np.asarray(rest / np.maximum(np.abs(rest).sum(axis=0), 1e-12))


def _bending(side: int) -> Array:
    """(side, side): the penalty on the second differences of a spline's coefficients."""
    second = np.diff(np.eye(side), n=2, axis=0)
    return np.asarray(BENDING / side * second.T @ second)


def _solved(first: Array, second: Array, y: Array, penalty: NDArray[np.floating]) -> Array:
    """The coefficients (a, b, targets) of the products of two bases (n, a) and (n, b), by least squares."""
    rows, a, b = first.shape[0], first.shape[1], second.shape[1]
    products = (first[:, :, None] * second[:, None, :]).reshape(rows, a * b)
    normal = products.T @ products / rows + penalty + LEAST * np.eye(a * b)
    return np.asarray(np.linalg.solve(normal, products.T @ y / rows)).reshape(a, b, -1)


@dataclass(frozen=True)
class Ridge:
    """A spline along an axis, with polynomials of ``degree`` across; ``coefficients`` (cells + 3, terms, targets)."""

    axis: Axis
    degree: int
    coefficients: Array

    def predict(self, x: Array) -> Array:
        """(n, targets)."""
        terms = self.terms(x, self.axis, self.degree)
        cell, weights = self.axis.parts(x, len(self.coefficients) - 3)
        found = np.zeros((x.shape[0], self.coefficients.shape[2]))
        for k, weight in enumerate(weights):
            found += weight[:, None] * np.einsum("nt,ntj->nj", terms, self.coefficients[cell + k])
        return found

    @staticmethod
    def terms(x: Array, axis: Axis, degree: int) -> Array:
        """(n, terms): the polynomials' products across."""
        return Polynomial.basis(x @ _across(axis.direction), degree) if x.shape[1] > 1 else np.ones((x.shape[0], 1))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As `cosim.surrogate.bases.Model.arrays`."""
        return {**self.axis.arrays("axis"), "degree": np.array(self.degree), "coefficients": self.coefficients}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], fields: int) -> Self:
        """The inverse of `arrays`; raises ValueError for what cannot be one."""
        degree, c = int(arrays["degree"]), np.asarray(arrays["coefficients"], dtype=float)
        if not 0 <= degree <= MOST_DEGREE or c.ndim != 3 or not 4 <= len(c) <= MOST_CELLS:
            raise ValueError("coefficients of a ridge")
        if c.shape[1] != math.comb(fields - 1 + degree, degree):
            raise ValueError(f"coefficients of a ridge of degree {degree}")
        return cls(Axis.of(arrays, "axis", fields), degree, c)

    @classmethod
    def trained(cls, x: Array, y: Array, *, direction: Array, cells: int, degree: int, turns: int = TURNS) -> Self:
        """By least squares with small penalties; then again with the knots where the spline bends, by turns."""
        axis = Axis.along(direction)
        for turn in range(turns + 1):
            terms = cls.terms(x, axis, degree)
            count = terms.shape[1]
            linear = np.diag(np.tile(np.where(np.arange(count) > 0, HELD, 0.0), cells + 3))
            c = _solved(axis.basis(x, cells), terms, y, np.kron(_bending(cells + 3), np.eye(count)) + linear)
            found = cls(axis, degree, c)
            if turn < turns:
                place, basis = axis.grid(cells)
                # of the polynomial's constant term: the spline where the other fields are in the middle of their ranges
                axis = axis.bent(place, basis @ c[:, 0], x)
        return found


@dataclass(frozen=True)
class Sheet:
    """A tensor of splines along two axes, and linear in the rest; ``coefficients`` (cells + 3, others, targets), where
    ``others`` are the second axis's cells + 3 and the rest."""

    axis: Axis
    second: Axis
    coefficients: Array

    def predict(self, x: Array) -> Array:
        """(n, targets)."""
        rest = x @ _across(self.axis.direction, self.second.direction)
        others, targets = self.coefficients.shape[1:]
        side = others - rest.shape[1]
        cell, weights = self.axis.parts(x, len(self.coefficients) - 3)
        other, cross = self.second.parts(x, side - 3)
        start = cell * others
        found = np.zeros((x.shape[0], targets))
        for j in range(targets):
            flat = self.coefficients[:, :, j].ravel()
            for k, weight in enumerate(weights):
                here = start + k * others
                inner = sum(share * flat[here + other + m] for m, share in enumerate(cross))
                for m, share in enumerate(rest.T, start=side):
                    inner += share * flat[here + m]
                found[:, j] += weight * inner
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As `cosim.surrogate.bases.Model.arrays`."""
        return {**self.axis.arrays("axis"), **self.second.arrays("second"), "coefficients": self.coefficients}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], fields: int) -> Self:
        """The inverse of `arrays`; raises ValueError for what cannot be one."""
        c = np.asarray(arrays["coefficients"], dtype=float)
        if c.ndim != 3 or not 4 <= len(c) <= MOST_CELLS or not 4 <= c.shape[1] - (fields - 2) <= MOST_CELLS:
            raise ValueError("coefficients of a sheet")
        return cls(Axis.of(arrays, "axis", fields), Axis.of(arrays, "second", fields), c)

    @classmethod
    def trained(
        cls, x: Array, y: Array, *, direction: Array, second: Array, cells: tuple[int, int], turns: int = TURNS
    ) -> Self:
        """As a `Ridge`."""
        axis, other = Axis.along(direction), Axis.along(second)
        rest = x @ _across(direction, second)
        side, count = cells[1] + 3, cells[1] + 3 + rest.shape[1]
        cross = np.diag(np.where(np.arange(count) < side, 0.0, HELD))
        cross[:side, :side] = _bending(side)
        penalty = np.kron(_bending(cells[0] + 3), np.eye(count)) + np.kron(np.eye(cells[0] + 3), cross)
        for turn in range(turns + 1):
            c = _solved(axis.basis(x, cells[0]), np.concatenate([other.basis(x, cells[1]), rest], axis=1), y, penalty)
            found = cls(axis, other, c)
            if turn < turns:
                (place, basis), (there, across) = axis.grid(cells[0]), other.grid(cells[1])
                middle = np.einsum("gi,ijk,j->gk", basis, c[:, :side], across[len(across) // 2])
                few = basis[np.linspace(0, len(basis) - 1, SEEN).astype(int)]
                courses = np.einsum("gi,ijk,hj->hgk", few, c[:, :side], across).reshape(len(across), -1)
                axis, other = axis.bent(place, middle, x), other.bent(there, courses, x)
        return found


def best_directions(x: Array, y: Array, *, directions: Sequence[Array]) -> list[Array]:
    """Those along which a ridge explains a target best."""
    found = [Ridge.trained(x, y, direction=one, cells=SCREENED[0], degree=1, turns=0) for one in directions]
    rest = [np.sum((model.predict(x) - y) ** 2, axis=0) for model in found]
    return [directions[k] for k in dict.fromkeys(np.argmin(rest, axis=0).tolist())]


def best_second(x: Array, y: Array, *, direction: Array) -> list[Array]:
    """The fields across a direction with which a sheet explains a target best."""
    fields = [one for one in np.eye(x.shape[1]) if not direction @ one]
    found = [Sheet.trained(x, y, direction=direction, second=one, cells=SCREENED, turns=0) for one in fields]
    rest = [np.sum((model.predict(x) - y) ** 2, axis=0) for model in found]
    return [fields[k] for k in dict.fromkeys(np.argmin(rest, axis=0).tolist())] if fields else []
