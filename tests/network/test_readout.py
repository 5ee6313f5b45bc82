"""Read-outs on counts whose answers are known."""

import numpy as np
import pytest

from cosim.errors import InputError, UnknownName
from cosim.network.readout import PROTOCOL, confusion, fit_readout


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
    answers = {kind: fit_readout(kind, seen, truth, classes=2).predict(shown).tolist() for kind in PROTOCOL}
    # Neuron 2 answers to both alike: it is counted for class 0 by its label, and for neither by P and NB.
    assert answers == dict.fromkeys(PROTOCOL, [0, 1, -1])
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
