"""Multinomial logistic regression: what a classifier without memory makes of the same features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from cosim.devices.base import Array

PENALTY = 1.0  # on half the squared weights, against the sum of the cross-entropies


@dataclass(frozen=True)
class Logistic:
    """``weights`` (features + 1, classes); the last row is the offset."""

    weights: Array

    def predict(self, x: Array) -> NDArray[np.int64]:
        """(n,) classes of features (n, features)."""
        found: NDArray[np.int64] = np.argmax(x @ self.weights[:-1] + self.weights[-1], axis=1)
        return found


def fit_logistic(x: Array, y: NDArray[np.int64], *, classes: int, steps: int = 200) -> Logistic:
    """The maximum of the penalised likelihood by L-BFGS, in at most ``steps`` iterations.

    Args:
        x: (n, features), best of mean 0 and deviation 1. y: (n,) classes. classes: how many there are.
    """
    places, shape = np.arange(len(y)), (x.shape[1] + 1, classes)

    def loss(flat: Array) -> tuple[float, Array]:
        w = flat.reshape(shape)
        scores = x @ w[:-1] + w[-1]
        scores -= scores.max(axis=1, keepdims=True)
        at = scores[places, y]
        off = np.exp(scores, out=scores)
        pool = off.sum(axis=1, keepdims=True)
        off /= pool
        off[places, y] -= 1.0
        slope = np.vstack([x.T @ off + PENALTY * w[:-1], off.sum(axis=0)])
        value = float(np.sum(np.log(pool)) - np.sum(at)) + 0.5 * PENALTY * float(np.sum(w[:-1] ** 2))
        return value / len(y), slope.ravel() / len(y)

    found = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": steps})
    return Logistic(found.x.reshape(shape))
