"""Read-outs on counts whose answers are known."""

import numpy as np
import pytest

from cosim.errors import InputError, UnknownName
from cosim.network.readout import GRADED, PROTOCOL, Ridge, confusion, fit_readout

COUNTS = [kind for kind in PROTOCOL if kind != GRADED]


def counts(rng: np.random.Generator, truth: np.ndarray, rates: np.ndarray) -> np.ndarray:
    return rng.poisson(rates[truth])


def test_labels_are_the_classes_that_neurons_answer_to() -> None:
    truth = np.array([0, 0, 1, 1, 1, 1])
    # Neuron 1 spikes more often in class 1 because that is shown more often, but more per image in class 0.
    seen = np.array([[4, 3, 0], [4, 3, 0], [0, 2, 0], [0, 2, 0], [1, 2, 0], [0, 2, 0]])
    found = fit_readout("S", seen, truth, classes=2)
    assert found.labels.tolist() == [0, 0, -1]
    np.testing.assert_allclose(found.rates, [[4.0, 3.0, 0.0], [0.25, 2.0, 0.0]])


def test_each_read_out_by_hand() -> None:
    truth = np.array([0, 1])
    seen = np.array([[6, 0, 2], [0, 4, 2]])
    shown = np.array([[1, 0, 9], [0, 3, 1], [0, 0, 0]])
    answers = {kind: fit_readout(kind, seen, truth, classes=2).predict(shown).tolist() for kind in COUNTS}
    # Neuron 2 answers to both alike: it is counted for class 0 by its label, and for neither by P and NB.
    assert list(answers.values()) == [[0, 1, -1]] * len(COUNTS)
    p = fit_readout("P", seen, truth, classes=2)
    np.testing.assert_allclose(p.scores(shown[:1]), [[1 + 4.5, 4.5]])


def test_naive_bayes_wins_where_the_rates_overlap() -> None:
    rng = np.random.default_rng(0)
    rates = rng.uniform(0.5, 2.0, (5, 40))
    truth, test = rng.integers(0, 5, 400), rng.integers(0, 5, 400)
    seen, shown = counts(rng, truth, rates), counts(rng, test, rates)
    accuracy = {kind: fit_readout(kind, seen, truth, classes=5).accuracy(shown, test) for kind in PROTOCOL}
    assert accuracy["NB"] == max(accuracy.values()) > 0.8
    assert min(accuracy.values()) > 0.25  # chance is a fifth


def test_a_regression_chooses_its_penalty_by_leaving_each_image_out() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 60)
    x = rng.standard_normal((60, 12)) + np.eye(3)[y] @ rng.standard_normal((3, 12))
    found = Ridge.fit(x, y, classes=3)
    right = 0
    for k in range(60):  # the same penalty, standardised by all images as the fit is
        z, rest = (x - x.mean(axis=0)) / x.std(axis=0), np.arange(60) != k
        a = np.hstack([z[rest], np.ones((59, 1))])
        penalty = np.diag([60 * found.penalty] * 12 + [0.0])
        line = np.linalg.solve(a.T @ a + penalty, a.T @ np.eye(3)[y[rest]])
        right += int(np.append(z[k], 1.0) @ line @ np.eye(3)[y[k]] == (np.append(z[k], 1.0) @ line).max())
    assert right / 60 == found.left_out
    assert found(x).argmax(axis=1)[0] in range(3)


def test_graded_activity_is_read_whatever_its_scale() -> None:
    """A brighter image drives every column alike: what is read is how the columns differ."""
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 4, 300)
    currents = rng.uniform(1.0, 2.0, (4, 30))[truth] + 0.1 * rng.standard_normal((300, 30))
    found = fit_readout(GRADED, currents[:200], truth[:200], classes=4)
    shown = currents[200:]
    assert found.accuracy(shown, truth[200:]) > 0.95
    np.testing.assert_array_equal(found.predict(3.0 * shown + 1.0), found.predict(shown))


def test_silence_is_wrong() -> None:
    found = fit_readout("NB", np.array([[1, 0], [0, 1]]), np.array([0, 1]), classes=2)
    assert found.accuracy(np.zeros((4, 2), dtype=np.int64), np.zeros(4, dtype=np.int64)) == 0.0
    assert confusion(np.array([0, 0, 1]), np.array([0, -1, 0]), classes=2).tolist() == [[1, 0, 1], [1, 0, 0]]


def test_bad_input() -> None:
    seen = np.ones((2, 3), dtype=np.int64)
    with pytest.raises(UnknownName, match="read-out"):
        fit_readout("oracle", seen, np.array([0, 1]), classes=2)
    with pytest.raises(InputError, match="every class"):
        fit_readout("S", seen, np.array([0, 0]), classes=2)
