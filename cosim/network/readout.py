"""From an unsupervised layer's activity to classes: read-outs that are fitted and chosen on training images.

- ``W``: the class of the neuron that spikes most, under the learning protocol (winner-take-all with its clamp).
- ``S``: the class whose neurons spike most in all.
- ``P``: counts × P(class | neuron).
- ``NB``: naive Bayes: the class that makes the counts most likely, each spike an independent draw of a neuron.
- ``R``: ridge regression of the classes on the counts' roots, which a spike's chance spreads alike at every rate.
- ``G``: ridge regression on graded activity: each neuron's current less the mean of all, over their deviation,
  rectified at each of `LEVELS`. No neuron has to spike for it; it is reported beside the others, and not chosen.

S, P, NB and R take counts of the test protocol, in which losers are reset but not clamped. A neuron belongs to the
class to which it responds most, in spikes per image of that class. The penalty of a regression is the one of
`PENALTIES` with which most images get the right class from a fit to all the others.
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
from cosim.statistics.yields import interval

Ints = NDArray[np.int64]
# Which protocol's counts each read-out takes.
PROTOCOL: Mapping[str, str] = MappingProxyType(
    {"W": "learning", "S": "test", "P": "test", "NB": "test", "R": "test", "G": "graded"}
)
GRADED = "G"
# Of figures and results.
READ_OUTS: Mapping[str, str] = MappingProxyType(
    {
        "W": "winner's class",
        "S": "class with most spikes",
        "P": "counts × P(class|neuron)",
        "NB": "naive Bayes",
        "R": "ridge on counts",
        "G": "ridge on currents",
    }
)
# Chosen on training images of MNIST; the current itself says little more than the pixels do.
LEVELS = (-1.0, 0.0, 1.0, 2.0)
# Of a regression on standardised features, per image that it is fitted to (our choice).
PENALTIES = tuple(10.0**power for power in range(-6, 1))


def known_to(share: float, images: int, *, classes: int) -> str:
    """How well so many test images know a share of right answers (Wilson's interval), and what a guess gets."""
    low, high = interval(round(share * images), images, method="wilson")
    return f"95 %: {100.0 * low:.1f} .. {100.0 * high:.1f} %, chance {100.0 / classes:.3g} %"


@dataclass(frozen=True)
class ReadOut:
    """A fitted read-out: ``rates`` (classes, neurons) are spikes per image of each class; ``line``, the regression of
    a kind that is one.
    """

    kind: str
    rates: Array
    line: Ridge | None = None

    @property
    def labels(self) -> Ints:
        """(neurons,) the class of each neuron; −1 for one that never spiked."""
        return np.where(self.rates.max(axis=0) > 0.0, self.rates.argmax(axis=0), -1)

    def scores(self, counts: NDArray[Any]) -> Array:
        """(images, classes) from counts (images, neurons): the larger the likelier."""
        counts = np.asarray(counts)
        if self.line is not None:
            return self.line(_features(self.kind, counts))
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

    def predict(self, counts: NDArray[Any]) -> Ints:
        """(images,) classes; −1 where no neuron spiked."""
        return np.where(np.asarray(counts).sum(axis=1) > 0, self.scores(counts).argmax(axis=1), -1)

    def accuracy(self, counts: NDArray[Any], truth: Ints) -> float:
        """Share of the images (0..1) whose class is right; a silent image is wrong."""
        return float(np.mean(self.predict(counts) == truth))


def _features(kind: str, activity: NDArray[Any]) -> Array:
    """What a regression takes of counts or graded activity (images, neurons): (images, features)."""
    if kind != GRADED:
        return np.asarray(np.sqrt(activity))
    above = activity - activity.mean(axis=1, keepdims=True)
    spread = above.std(axis=1, keepdims=True)
    share = above / np.where(spread > 0.0, spread, 1.0)
    return np.hstack([np.maximum(share - level, 0.0) for level in LEVELS])


@dataclass(frozen=True)
class Ridge:
    """Scores = offset + (features − mean) @ coefficients (features, classes); the ``penalty`` per image, and the share
    of the images that are right by a fit to all the others.
    """

    mean: Array
    coefficients: Array
    offset: Array
    penalty: float
    left_out: float

    def __call__(self, features: Array) -> Array:
        """(images, classes) from (images, features)."""
        return np.asarray(self.offset + (features - self.mean) @ self.coefficients)

    @classmethod
    def fit(cls, x: Array, truth: Ints, *, classes: int) -> Ridge:
        """Of the classes, one against the others, on features (images, features); leaves each image out in turn.

        The residual of an image that is left out is its residual over 1 − its leverage.
        """
        n, mean, scale = len(x), x.mean(axis=0), x.std(axis=0)
        scale = np.where(scale > 0.0, scale, 1.0)
        z = (x - mean) / scale
        y = (truth[:, None] == np.arange(classes)).astype(float)
        offset = y.mean(axis=0)
        values, axes = np.linalg.eigh(z.T @ z)
        turned = z @ axes
        target = turned.T @ (y - offset)
        inverses = 1.0 / (np.maximum(values, 0.0)[:, None] + n * np.array(PENALTIES))
        left = np.maximum(1.0 - 1.0 / n - (turned**2) @ inverses, 1e-9)
        best, right = (PENALTIES[-1], np.zeros((x.shape[1], classes))), -1.0
        for k, penalty in reversed([*enumerate(PENALTIES)]):
            coefficients = inverses[:, k, None] * target
            residual = y - offset - turned @ coefficients
            found = float(np.mean((y - residual / left[:, k, None]).argmax(axis=1) == truth))
            if found > right:
                right, best = found, (penalty, axes @ coefficients)
        return cls(mean, best[1] / scale[:, None], offset, best[0], right)


def fit_readout(kind: str, counts: NDArray[Any], truth: Ints, *, classes: int) -> ReadOut:
    """A read-out from counts (images, neurons) and their classes (images,). Raises `UnknownName`, `InputError`."""
    if kind not in PROTOCOL:
        raise UnknownName("read-out", kind, PROTOCOL)
    present = np.bincount(truth, minlength=classes)
    if present.size > classes or np.any(present == 0):
        raise InputError(
            "the images for the read-out do not show every class", remedy="take more training images for the labels"
        )
    onehot = (truth[None, :] == np.arange(classes)[:, None]).astype(float)
    line = Ridge.fit(_features(kind, counts), truth, classes=classes) if kind in ("R", GRADED) else None
    return ReadOut(kind, onehot @ counts / present[:, None], line)


def confusion(truth: Ints, predicted: Ints, *, classes: int) -> Ints:
    """(classes, classes + 1) counts, true classes by rows; the last column holds the images without an answer."""
    table = np.zeros((classes, classes + 1), dtype=np.int64)
    np.add.at(table, (truth, np.where(predicted < 0, classes, predicted)), 1)
    return table


@dataclass(frozen=True)
class Evaluation:
    """The read-outs of one network: accuracies (0..1) by name, and the chosen one's answers on the test set.

    ``penalties``: of the regressions.
    """

    chosen: str
    on_choice: Mapping[str, float]
    on_test: Mapping[str, float]
    confusion: Ints
    labels: Ints
    penalties: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON values, without the labels of the neurons."""
        return {
            "read_out": self.chosen,
            "accuracy": self.on_test[self.chosen],
            "accuracy_on_choice_images": dict(self.on_choice),
            "accuracy_on_test_images": dict(self.on_test),
            "confusion": self.confusion.tolist(),
            "penalties": dict(self.penalties),
        }


def choose(
    train: Mapping[str, NDArray[Any]],
    y: Ints,
    *,
    test: Mapping[str, NDArray[Any]],
    truth: Ints,
    fitted_on: int,
    classes: int,
) -> Evaluation:
    """Fit every read-out, choose one, fit it again on all, and test.

    Args:
        train, y: spike counts or graded activity (n, neurons) by protocol, and classes (n,), of training images.
        test, truth: the same of the test set.
        fitted_on: the first so many of ``train`` fit the read-outs, the others choose among them.
        classes: how many there are.
    """
    on_choice, final = dict[str, float](), dict[str, ReadOut]()
    for kind, p in PROTOCOL.items():
        tried = fit_readout(kind, train[p][:fitted_on], y[:fitted_on], classes=classes)
        on_choice[kind] = tried.accuracy(train[p][fitted_on:], y[fitted_on:])
        final[kind] = fit_readout(kind, train[p], y, classes=classes)
    chosen = max((kind for kind in PROTOCOL if kind != GRADED), key=lambda kind: on_choice[kind])
    answer = final[chosen].predict(test[PROTOCOL[chosen]])
    return Evaluation(
        chosen,
        on_choice,
        {kind: found.accuracy(test[PROTOCOL[kind]], truth) for kind, found in final.items()},
        confusion(truth, answer, classes=classes),
        final["S"].labels,
        {kind: found.line.penalty for kind, found in final.items() if found.line is not None},
    )
