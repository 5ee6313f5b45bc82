"""Logistic regression at the minimum of its loss, and against classes whose best answers are known."""

import numpy as np

from cosim.network.logistic import PENALTY, fit_logistic


def test_the_slope_of_the_loss_is_zero_where_it_ends() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(4, size=600)
    x = rng.standard_normal((4, 5))[y] + rng.standard_normal((600, 5))
    found = fit_logistic(x, y, classes=4, steps=2000)
    scores = np.exp(x @ found.weights[:-1] + found.weights[-1])
    off = scores / scores.sum(axis=1, keepdims=True) - np.eye(4)[y]
    # L-BFGS stops where the loss per sample changes by some 1e-9; its slope per sample is then of the order of 1e-5.
    np.testing.assert_allclose((x.T @ off + PENALTY * found.weights[:-1]) / len(y), 0.0, atol=1e-4)
    np.testing.assert_allclose(off.sum(axis=0) / len(y), 0.0, atol=1e-4)
    assert abs(found.weights).max() > 0.5


def test_far_apart_classes_are_told_apart() -> None:
    y = np.repeat([0, 1, 2], 20)
    x = np.column_stack([4.0 * (y - 1.0), np.where(y == 1, 3.0, -3.0)])
    assert np.array_equal(fit_logistic(x, y, classes=3).predict(x), y)
