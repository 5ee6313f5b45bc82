"""What simple classifiers make of the very images that a network learns: controls that stand beside its result.

* ``class mean``: the nearest mean of a class, by Euclidean distance;
* ``perceptron``: a weight per pixel and class, one pass over the training images in the network's order, changed by an
  image where it is answered wrongly; the mean of the weights over the pass answers (Freund and Schapire, Machine
  Learning 37:277, 1999).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array

Ints = NDArray[np.int64]
CHUNK = 100  # images whose copies are held at a time


def controls(
    train: tuple[NDArray[np.uint8], Ints, Ints], test: tuple[NDArray[np.uint8], Ints, Ints], *, classes: int
) -> dict[str, float]:
    """The share (0..1) of the test images that each control gets right.

    Args:
        train, test: all images (k, pixels), which of them are taken, in order, and the class of each that is taken.
        classes: how many there are; each has a training image.
    """
    own = np.arange(classes)
    sums = sum((y == own[:, None]).astype(float) @ x for x, y in _parts(*train))  # whole numbers, so exact
    means = sums / np.bincount(train[2], minlength=classes)[:, None]
    weights = {"class mean": (means, -0.5 * np.sum(means**2, axis=1)), "perceptron": (_perceptron(train, classes), 0.0)}
    found = {}
    for name, (w, offset) in weights.items():
        right = sum(int(np.sum(np.argmax(x @ w.T + offset, axis=1) == y)) for x, y in _parts(*test))
        found[name] = right / len(test[1])
    return found


def _parts(images: NDArray[np.uint8], chosen: Ints, y: Ints) -> Iterator[tuple[Array, Ints]]:
    for at in range(0, len(chosen), CHUNK):
        yield images[chosen[at : at + CHUNK]].astype(float), y[at : at + CHUNK]


def _perceptron(train: tuple[NDArray[np.uint8], Ints, Ints], classes: int) -> Array:
    """(classes, pixels), times the number of images: a change counts in the mean from its image on."""
    w, late, seen = np.zeros((classes, train[0].shape[1])), np.zeros((classes, train[0].shape[1])), 0
    for x, y in _parts(*train):
        for image, truth in zip(x, y.tolist(), strict=True):
            given = int((w @ image).argmax())
            if given != truth:
                w[truth] += image
                w[given] -= image
                late[truth] += seen * image
                late[given] -= seen * image
            seen += 1
    return seen * w - late
