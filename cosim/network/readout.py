"""From spike counts to classes: four read-outs of an unsupervised layer, fitted and chosen on training images.

- ``W``: the class of the neuron that spikes most, under the learning protocol (winner-take-all with its clamp).
- ``S``: the class whose neurons spike most in all.
- ``P``: counts × P(class | neuron).
- ``NB``: naive Bayes: the class that makes the counts most likely, each spike an independent draw of a neuron.

S, P and NB take counts of the test protocol, in which losers are reset but not clamped. A neuron belongs to the class
to which it responds most, in spikes per image of that class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.errors import InputError, UnknownName

Ints = NDArray[np.int64]
# Which protocol's counts each read-out takes.
PROTOCOL: Mapping[str, str] = MappingProxyType({"W": "learning", "S": "test", "P": "test", "NB": "test"})


@dataclass(frozen=True)
class ReadOut:
    """A fitted read-out: ``rates`` (classes, neurons) are spikes per image of each class."""

    kind: str
    rates: Array

    @property
    def labels(self) -> Ints:
        """(neurons,) the class of each neuron; −1 for one that never spiked."""
        return np.where(self.rates.max(axis=0) > 0.0, self.rates.argmax(axis=0), -1)

    def scores(self, counts: NDArray[np.int64]) -> Array:
        """(images, classes) from counts (images, neurons): the larger the likelier."""
        counts = np.asarray(counts)
        classes = self.rates.shape[0]
        member = (self.labels[None, :] == np.arange(classes)[:, None]).astype(float)
        if self.kind == "W":
            winner = counts.argmax(axis=1)
            return np.asarray(member.T[winner] * (counts.max(axis=1) > 0)[:, None])
        if self.kind == "S":
            return np.asarray(counts @ member.T)
        if self.kind == "P":
            total = self.rates.sum(axis=0)
            return np.asarray(counts @ (self.rates / np.where(total > 0.0, total, 1.0)).T)
        # Additive smoothing of a hundredth of the mean rate, so that one stray spike does not exclude a class.
        smooth = self.rates + 0.01 * max(float(self.rates.mean()), 1e-12)
        return np.asarray(counts @ np.log(smooth / smooth.sum(axis=1, keepdims=True)).T)

    def predict(self, counts: NDArray[np.int64]) -> Ints:
        """(images,) classes; −1 where no neuron spiked."""
        return np.where(np.asarray(counts).sum(axis=1) > 0, self.scores(counts).argmax(axis=1), -1)

    def accuracy(self, counts: NDArray[np.int64], truth: Ints) -> float:
        """Share of the images (0..1) whose class is right; a silent image is wrong."""
        return float(np.mean(self.predict(counts) == truth))


def fit_readout(kind: str, counts: NDArray[np.int64], truth: Ints, *, classes: int) -> ReadOut:
    """A read-out from counts (images, neurons) and their classes (images,). Raises `UnknownName`, `InputError`."""
    if kind not in PROTOCOL:
        raise UnknownName("read-out", kind, PROTOCOL)
    present = np.bincount(truth, minlength=classes)
    if present.size > classes or np.any(present == 0):
        raise InputError(
            "the images for the read-out do not show every class", remedy="take more training images for the labels"
        )
    onehot = (truth[None, :] == np.arange(classes)[:, None]).astype(float)
    return ReadOut(kind, onehot @ counts / present[:, None])


def confusion(truth: Ints, predicted: Ints, *, classes: int) -> Ints:
    """(classes, classes + 1) counts, true classes by rows; the last column holds the images without an answer."""
    table = np.zeros((classes, classes + 1), dtype=np.int64)
    np.add.at(table, (truth, np.where(predicted < 0, classes, predicted)), 1)
    return table


@dataclass(frozen=True)
class Evaluation:
    """The read-outs of one network: accuracies (0..1) by name, and the chosen one's answers on the test set."""

    chosen: str
    on_choice: Mapping[str, float]
    on_test: Mapping[str, float]
    confusion: Ints
    labels: Ints

    def to_dict(self) -> dict[str, Any]:
        """JSON values, without the labels of the neurons."""
        return {
            "read_out": self.chosen,
            "accuracy": self.on_test[self.chosen],
            "accuracy_on_choice_images": dict(self.on_choice),
            "accuracy_on_test_images": dict(self.on_test),
            "confusion": self.confusion.tolist(),
        }


def choose(
    train: Mapping[str, Ints], y: Ints, *, test: Mapping[str, Ints], truth: Ints, fitted_on: int, classes: int
) -> Evaluation:
    """Fit every read-out, choose one, fit it again on all, and test.

    Args:
        train, y: spike counts (n, neurons) by protocol, and classes (n,), of training images.
        test, truth: the same of the test set.
        fitted_on: the first so many of ``train`` fit the read-outs, the others choose among them.
        classes: how many there are.
    """
    on_choice, final = dict[str, float](), dict[str, ReadOut]()
    for kind, p in PROTOCOL.items():
        tried = fit_readout(kind, train[p][:fitted_on], y[:fitted_on], classes=classes)
        on_choice[kind] = tried.accuracy(train[p][fitted_on:], y[fitted_on:])
        final[kind] = fit_readout(kind, train[p], y, classes=classes)
    chosen = max(on_choice, key=lambda kind: on_choice[kind])
    answer = final[chosen].predict(test[PROTOCOL[chosen]])
    return Evaluation(
        chosen,
        on_choice,
        {kind: found.accuracy(test[PROTOCOL[kind]], truth) for kind, found in final.items()},
        confusion(truth, answer, classes=classes),
        final["S"].labels,
    )
