"""The kinds of learned laws (`cosim.surrogate.learned`), each evaluated from plain arrays in numpy."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol, Self

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from cosim.devices.base import Array, Operand
from cosim.emit.expr import Node
from cosim.packages import optional, process_unchanged
from cosim.surrogate.correction import orders, series

# Our choices of what is tried.
MOST_SPLINE_FIELDS = 3
TREES, DEPTH, RATE = 300, 4, 0.1
HIDDEN = (24, 24)
PENALTY = 1e-6  # on the splines' second differences: what no sample determines is smooth


class Model(Protocol):
    """Predicts scaled targets from scaled fields."""

    def predict(self, x: Array) -> Array:
        """(n, targets) from (n, fields)."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that it needs, by name."""
        ...


@dataclass(frozen=True)
class Polynomial:
    """``coefficients`` (terms, targets) of the products of total degree ``degree`` or less, as in `orders`."""

    degree: int
    coefficients: Array

    def predict(self, x: Array) -> Array:
        """(n, targets)."""
        found: Array = self.basis(x, self.degree) @ self.coefficients
        return found

    def traced(self, x: Sequence[Node], tables: list[Array]) -> list[Node]:
        """Each target of the traced fields; ``tables`` stays as it is."""
        powers = orders(len(x), self.degree)
        return [Node.of(series(list(zip(powers, c, strict=True)), x)) for c in self.coefficients.T.tolist()]

    @staticmethod
    def basis(x: Array, degree: int) -> Array:
        """(n, terms)."""
        powers = [chebyshev.chebvander(x[:, k], degree) for k in range(x.shape[1])]
        columns = []
        for order in orders(x.shape[1], degree):
            column = np.ones(x.shape[0])
            for k, n in enumerate(order):
                if n:
                    column = column * powers[k][:, n]
            columns.append(column)
        return np.stack(columns, axis=1)

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
        weights, first = [], Node.of(0.0)
        for value in x:
            at = 0.5 * (value + 1.0) * float(self.cells)
            cell = Node("min", Node("max", Node("floor", at), Node.of(0.0)), Node.of(self.cells - 1.0))
            weights.append(cubic_weights(at - cell))
            first = first * (self.cells + 3.0) + cell
        found = [Node.of(0.0)] * len(names)
        for offsets in product(range(4), repeat=len(x)):
            ahead, weight = 0, Node.of(1.0)
            for k, offset in enumerate(offsets):
                ahead, weight = ahead * (self.cells + 3) + offset, weight * weights[k][offset]
            index = first + float(ahead)
            found = [sum_ + weight * Node("at", name, index) for sum_, name in zip(found, names, strict=True)]
        return found

    @staticmethod
    def parts(x: Array, cells: int) -> Iterator[tuple[NDArray[np.int64], Array]]:
        """The coefficients' index and weight of each of the 4^fields products that are not zero at ``x``."""
        at = 0.5 * (x + 1.0) * cells
        cell = np.clip(np.floor(at).astype(np.int64), 0, cells - 1)
        t = at - cell
        weights = np.stack(cubic_weights(t))
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


@dataclass(frozen=True)
class Trees:
    """Boosted trees: ``start`` (targets,), and per target, tree and node a split or a value.

    Args:
        feature: (targets, trees, nodes) the field of a split, −1 at a leaf.
        threshold: of the split: left where the field is less or equal; the value of a leaf.
        child: of the split: its left child; the right one follows.
        depth: the longest way to a leaf.
    """

    start: Array
    feature: NDArray[np.int16]
    threshold: Array
    child: NDArray[np.int32]
    depth: int

    def predict(self, x: Array) -> Array:
        """(n, targets)."""
        # scikit-learn compares in single precision
        x = np.asarray(np.asarray(x, dtype=np.float32), dtype=float)
        rows = np.arange(x.shape[0])
        found = np.tile(self.start, (x.shape[0], 1))
        for target, (features, thresholds, children) in enumerate(
            zip(self.feature, self.threshold, self.child, strict=True)
        ):
            for feature, threshold, child in zip(features, thresholds, children, strict=True):
                node = np.zeros(x.shape[0], dtype=np.int64)
                for _ in range(self.depth):
                    split = feature[node]
                    right = x[rows, np.maximum(split, 0)] > threshold[node]
                    node = np.where(split >= 0, child[node] + right, node)
                found[:, target] += threshold[node]
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As `Model.arrays`."""
        named: dict[str, NDArray[Any]] = {
            "start": self.start,
            "feature": self.feature,
            "threshold": self.threshold,
            "child": self.child,
        }
        return {**named, "depth": np.array(self.depth)}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], fields: int) -> Self:
        """The inverse of `arrays`; raises ValueError for what cannot be one."""
        feature, child = (np.asarray(arrays[name]) for name in ("feature", "child"))
        depth, nodes = int(arrays["depth"]), feature.shape[-1]
        if feature.ndim != 3 or not 1 <= depth <= 30 or np.any(feature >= fields) or np.any(feature < -1):
            raise ValueError("the splits of trees")
        if np.any(child < 0) or np.any(child + (feature >= 0) >= nodes):
            raise ValueError("the children of trees")
        threshold = np.asarray(arrays["threshold"], dtype=float)
        if not feature.shape == child.shape == threshold.shape:
            raise ValueError("trees of several shapes")
        return cls(np.asarray(arrays["start"], dtype=float), feature.astype(np.int16), threshold,
                   child.astype(np.int32), depth)  # fmt: skip

    @classmethod
    def trained(cls, x: Array, y: Array, *, seed: int) -> Self:
        """By scikit-learn's GradientBoostingRegressor, one for each target."""
        ensemble = optional("sklearn.ensemble", extra="train", needed_by="a law of boosted trees")
        starts, parts = [], []
        for target in y.T:
            with process_unchanged():
                booster = ensemble.GradientBoostingRegressor(
                    n_estimators=TREES, max_depth=DEPTH, learning_rate=RATE, subsample=0.7, random_state=seed
                ).fit(x, target)
            starts.append(float(booster.init_.constant_.item()))
            parts.append([_flat(tree.tree_) for tree in booster.estimators_[:, 0]])
        nodes = max(feature.size for trees in parts for feature, _, _ in trees)
        shape = (len(parts), TREES, nodes)
        feature, threshold = np.full(shape, -1, dtype=np.int16), np.zeros(shape)
        child = np.zeros(shape, dtype=np.int32)
        for k, trees in enumerate(parts):
            for j, (f, t, c) in enumerate(trees):
                feature[k, j, : f.size], threshold[k, j, : t.size], child[k, j, : c.size] = f, t, c
        return cls(np.array(starts), feature, threshold, child, DEPTH)


def _flat(tree: Any) -> tuple[NDArray[Any], Array, NDArray[Any]]:
    """Field, threshold or value, and left child of each node, level by level so that a right child follows the left."""
    order, queue = [], [0]
    position: dict[int, int] = {0: 0}
    while queue:
        node = queue.pop(0)
        order.append(node)
        left, right = int(tree.children_left[node]), int(tree.children_right[node])
        if left >= 0:
            for part in (left, right):
                position[part] = len(position)
                queue.append(part)
    inner = tree.children_left[order] >= 0
    child = [position[int(tree.children_left[node])] if split else 0 for node, split in zip(order, inner, strict=True)]
    value = np.where(inner, tree.threshold[order], RATE * tree.value[order, 0, 0])
    return np.where(inner, tree.feature[order], -1), np.asarray(value, dtype=float), np.array(child)


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron: tanh between layers, none behind the last; ``weights`` (in, out) and ``biases``."""

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]

    def predict(self, x: Array) -> Array:
        """(n, targets)."""
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight + bias
            if k + 1 < len(self.weights):
                x = np.tanh(x)
        return x

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As `Model.arrays`."""
        found: dict[str, NDArray[Any]] = {"layers": np.array(len(self.weights))}
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            found |= {f"weight{k}": weight, f"bias{k}": bias}
        return found

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], fields: int) -> Self:
        """The inverse of `arrays`; raises ValueError for what cannot be one."""
        count = int(arrays["layers"])
        if not 1 <= count <= 20:
            raise ValueError(f"{count} layers")
        weights = tuple(np.asarray(arrays[f"weight{k}"], dtype=float) for k in range(count))
        biases = tuple(np.asarray(arrays[f"bias{k}"], dtype=float) for k in range(count))
        for weight, bias in zip(weights, biases, strict=True):
            if weight.ndim != 2 or weight.shape != (fields, bias.size):
                raise ValueError("the weights of a network")
            fields = bias.size
        return cls(weights, biases)

    @classmethod
    def trained(cls, x: Array, y: Array, *, seed: int) -> Self:
        """By scikit-learn's MLPRegressor with L-BFGS."""
        package = optional("sklearn.neural_network", extra="train", needed_by="a law of a neural network")
        # comes with scikit-learn; so small products are faster on one thread, by far where the machine is busy
        pools = optional("threadpoolctl", extra="train", needed_by="a law of a neural network")
        with process_unchanged(), warnings.catch_warnings(), pools.threadpool_limits(1):
            warnings.simplefilter(
                "ignore"
            )  # that it stopped at its iterations: the held-out error says what came of it
            found = package.MLPRegressor(
                hidden_layer_sizes=HIDDEN, activation="tanh", solver="lbfgs", alpha=1e-7, max_iter=800, max_fun=1200,
                tol=1e-9, random_state=seed,
            ).fit(x, y if y.shape[1] > 1 else y[:, 0])  # fmt: skip
        return cls(tuple(found.coefs_), tuple(found.intercepts_))


KINDS: Mapping[str, type[Polynomial] | type[Spline] | type[Trees] | type[Network]] = {
    "polynomial": Polynomial,
    "spline": Spline,
    "trees": Trees,
    "network": Network,
}
