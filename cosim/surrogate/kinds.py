"""The kinds of learned laws (`cosim.surrogate.learned`), each evaluated from plain arrays in numpy."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.packages import optional, process_unchanged
from cosim.surrogate.bases import Polynomial, Spline
from cosim.surrogate.kinked import Hinge, Stretched
from cosim.surrogate.ridges import Ridge, Sheet

# Our choices of what is tried.
TREES, DEPTH, RATE = 300, 4, 0.1
HIDDEN = (24, 24)


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


# The faster ones first.
AnyKind = (
    type[Polynomial] | type[Stretched] | type[Hinge] | type[Ridge] | type[Sheet] | type[Spline] | type[Trees]
    | type[Network]
)  # fmt: skip
KINDS: Mapping[str, AnyKind] = {
    "polynomial": Polynomial,
    "stretched": Stretched,
    "hinge": Hinge,
    "ridge": Ridge,
    "sheet": Sheet,
    "spline": Spline,
    "trees": Trees,
    "network": Network,
}
