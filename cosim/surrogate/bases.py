"""Learned laws of products: polynomials and tensors of splines, evaluated from plain arrays in numpy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol, Self

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from cosim.devices.base import Array, Operand
from cosim.emit.expr import Node
from cosim.surrogate.correction import orders, series

MOST_SPLINE_FIELDS = 3
PENALTY = 1e-6  # on the splines' second differences: what no sample determines is smooth (our choice)


class Model(Protocol):
    """Predicts scaled targets from scaled fields."""

    def predict(self, x: Array) -> Array:
        """(n, targets) from (n, fields)."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that it needs, by name."""
        ...


def scaled(x: Array, ranges: Array, logarithmic: NDArray[np.bool_]) -> Array:
    """(n, k) in [−1, 1], held at the ends of the ``ranges`` (k, 2)."""
    x = np.clip(x, ranges[:, 0], ranges[:, 1])
    ends = ranges.copy()
    for k in np.flatnonzero(logarithmic):
        x[:, k], ends[k] = np.log(x[:, k]), np.log(ends[k])
    found: Array = (2.0 * x - (ends[:, 0] + ends[:, 1])) / (ends[:, 1] - ends[:, 0])
    return found


@dataclass(frozen=True)
class Polynomial:
    """``coefficients`` (terms, targets) of the products of total degree ``degree`` or less, as in `orders`."""

    degree: int
    coefficients: Array

    def predict(self, x: Array) -> Array:
        """(n, targets)."""
        # so many rows at a time that their products stay in a cache
        parts = [self.basis(x[k : k + 1024], self.degree) @ self.coefficients for k in range(0, max(len(x), 1), 1024)]
        return np.concatenate(parts)

    def traced(self, x: Sequence[Node], tables: list[Array]) -> list[Node]:
        """Each target of the traced fields; ``tables`` stays as it is."""
        powers = orders(len(x), self.degree)
        return [Node.of(series(list(zip(powers, c, strict=True)), x)) for c in self.coefficients.T.tolist()]

    @staticmethod
    def basis(x: Array, degree: int) -> Array:
        """(n, terms)."""
        powers = [chebyshev.chebvander(column, degree).T for column in x.T]
        rows, filled = np.empty((math.comb(x.shape[1] + degree, degree), x.shape[0])), 0

        def fill(k: int, left: int, product: Array) -> None:
            """The products with the fields from ``k`` on, in the order of `orders`."""
            nonlocal filled
            if k == len(powers):
                rows[filled] = product
                filled += 1
                return
            for n in range(left + 1):
                fill(k + 1, left - n, product * powers[k][n] if n else product)

        fill(0, degree, np.ones(x.shape[0]))
        return rows.T

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As `Model.arrays`."""
        return {"degree": np.array(self.degree), "coefficients": self.coefficients}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], fields: int) -> Self:
        """The inverse of `arrays`; raises ValueError for what cannot be one."""
        degree, c = int(arrays["degree"]), np.asarray(arrays["coefficients"], dtype=float)
        if not 0 <= degree <= 50 or c.ndim != 2 or c.shape[0] != math.comb(fields + degree, degree):
            raise ValueError(f"coefficients of a polynomial of degree {degree}")
        return cls(degree, c)

    @classmethod
    def trained(cls, x: Array, y: Array, degree: int) -> Self:
        """By least squares."""
        found = np.linalg.lstsq(cls.basis(x, degree), y, rcond=1e-10)[0]
        return cls(degree, np.asarray(found, dtype=float))


def cubic_weights(t: Operand) -> list[Operand]:
    """Of the four cubic B-splines that are not zero at ``t`` of a cell."""
    s, square = 1.0 - t, t * t
    cube = square * t
    inner = (3.0 * cube - 6.0 * square + 4.0, 3.0 * (square + t - cube) + 1.0)
    return [weight / 6.0 for weight in (s * s * s, *inner, cube)]


def uniform_parts(x: Array, cells: int) -> tuple[NDArray[np.int64], Array]:
    """The cell of uniform cubic B-splines on [−1, 1] in which ``x``, of any shape, lies; the weights (4, …) there."""
    at = 0.5 * (x + 1.0) * cells
    cell = np.clip(np.floor(at).astype(np.int64), 0, cells - 1)
    return cell, np.stack(cubic_weights(at - cell))


@dataclass(frozen=True)
class Spline:
    """``coefficients`` ((cells + 3)^fields, targets) of uniform cubic B-splines with so many ``cells`` on [−1, 1]."""

    cells: int
    coefficients: Array

    def predict(self, x: Array) -> Array:
        """(n, targets)."""
        found = np.zeros((x.shape[0], self.coefficients.shape[1]))
        for index, weight in self.parts(x, self.cells):
            found += weight[:, None] * self.coefficients[index]
        return found

    def traced(self, x: Sequence[Node], tables: list[Array]) -> list[Node]:
        """Each target of the traced fields; ``tables`` grows by its coefficients."""
        names = [Node("name", f"table{len(tables) + k}") for k in range(self.coefficients.shape[1])]
        tables += list(self.coefficients.T)
        first, places = self.located(x)
        weights = [cubic_weights(place) for place in places]
        found = [Node.of(0.0)] * len(names)
        for offsets in product(range(4), repeat=len(x)):
            ahead, weight = 0, Node.of(1.0)
            for k, offset in enumerate(offsets):
                ahead, weight = ahead * (self.cells + 3) + offset, weight * weights[k][offset]
            index = first + float(ahead)
            found = [sum_ + weight * Node("at", name, index) for sum_, name in zip(found, names, strict=True)]
        return found

    def located(self, x: Sequence[Node]) -> tuple[Node, list[Node]]:
        """Of traced fields: the index of the first coefficient that counts, and where in its cell each field is."""
        places, first = [], Node.of(0.0)
        for value in x:
            at = 0.5 * (value + 1.0) * float(self.cells)
            cell = Node("min", Node("max", Node("floor", at), Node.of(0.0)), Node.of(self.cells - 1.0))
            places.append(at - cell)
            first = first * (self.cells + 3.0) + cell
        return first, places

    @staticmethod
    def parts(x: Array, cells: int) -> Iterator[tuple[NDArray[np.int64], Array]]:
        """The coefficients' index and weight of each of the 4^fields products that are not zero at ``x``."""
        cell, weights = uniform_parts(x, cells)
        for offsets in product(range(4), repeat=x.shape[1]):
            index = np.zeros(x.shape[0], dtype=np.int64)
            weight = np.ones(x.shape[0])
            for k, offset in enumerate(offsets):
                index = index * (cells + 3) + cell[:, k] + offset
                weight = weight * weights[offset, :, k]
            yield index, weight

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As `Model.arrays`."""
        return {"cells": np.array(self.cells), "coefficients": self.coefficients}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], fields: int) -> Self:
        """The inverse of `arrays`; raises ValueError for what cannot be one."""
        cells, c = int(arrays["cells"]), np.asarray(arrays["coefficients"], dtype=float)
        if not 1 <= cells <= 1000 or fields > MOST_SPLINE_FIELDS or c.shape[:1] != ((cells + 3) ** fields,):
            raise ValueError(f"coefficients of a spline of {cells} cells")
        return cls(cells, c)

    @classmethod
    def trained(cls, x: Array, y: Array, cells: int) -> Self:
        """By least squares with a small penalty on second differences."""
        from scipy import sparse
        from scipy.sparse.linalg import splu

        n, k = x.shape
        rows: list[NDArray[np.int64]] = []
        indices, weights = [], []
        for index, weight in cls.parts(x, cells):
            rows.append(np.arange(n))
            indices.append(index)
            weights.append(weight)
        side = cells + 3
        size = side**k
        a = sparse.csr_array(
            (np.concatenate(weights), (np.concatenate(rows), np.concatenate(indices))), shape=(n, size)
        )
        second = sparse.diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(side - 2, side))
        normal = (a.T @ a) / n
        for axis in range(k):
            ends = (sparse.eye_array(side**axis), second, sparse.eye_array(side ** (k - axis - 1)))
            d = sparse.kron(sparse.kron(ends[0], ends[1]), ends[2])
            normal = normal + PENALTY / side * (d.T @ d)
        # the plane that second differences leave open is held where no sample determines it
        normal = sparse.csc_array(normal + 1e-12 * sparse.eye_array(size))
        return cls(cells, np.asarray(splu(normal).solve(np.asarray((a.T @ y) / n)), dtype=float))
