"""Classifying images: the sets, the order in which they are shown, and which of them the read-outs get.

Read-outs are fitted on training images with learning off and chosen on further training images, which took part in the
unsupervised learning but not in the fit. The chosen one is then fitted on both. The test set is shown after that,
to all of them: the accuracies of the others are reported, and decide nothing. A spot check shows it once more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.errors import InputError, UnknownName, Where
from cosim.network.readout import PROTOCOL, Evaluation, choose
from cosim.network.run import Purpose, Streams
from cosim.surrogate.files import array_digest, read_npz

# Images between two possible checkpoints.
BATCH = 200
# (images (k, pixels), random numbers, protocol) -> spike counts or currents (k, neurons), with learning off.
Respond = Callable[[NDArray[np.floating], np.random.Generator, str], NDArray[Any]]


@dataclass(frozen=True)
class ImageSet:
    """Images (n, pixels) with values 0..1 and their classes (n,), whole numbers from 0; ``side`` pixels make a row.

    Raises `InputError` where they do not fit together.

    >>> import numpy as np
    >>> x, y = np.eye(4), np.array([0, 1, 0, 1])
    >>> cosim.ImageSet("corners", x, y, x, y, side=2).classes
    2
    """

    name: str
    train_x: NDArray[np.floating]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.floating]
    test_y: NDArray[np.int64]
    side: int

    def __post_init__(self) -> None:
        for part, x, y in (("train", self.train_x, self.train_y), ("test", self.test_x, self.test_y)):
            if x.ndim != 2 or not x.size:
                raise InputError(
                    f"the images to {part} on {self.name} have shape {x.shape}", remedy="give (images, pixels)"
                )
            if y.shape != (len(x),):
                raise InputError(
                    f"{self.name} has {len(x)} images to {part} on and labels of shape {y.shape}",
                    remedy="give one label per image",
                )
            if not np.issubdtype(y.dtype, np.integer) or y.min() < 0:
                raise InputError(
                    f"the labels to {part} on {self.name} are not whole numbers from 0", remedy="number the classes"
                )
            if not (x.min() >= 0.0 and x.max() <= 1.0):
                raise InputError(
                    f"{self.name} has pixels from {x.min():g} to {x.max():g} to {part} on", remedy="scale them to 0..1"
                )
        pixels = self.train_x.shape[1]
        if self.test_x.shape[1] != pixels:
            raise InputError(
                f"the images of {self.name} have {pixels} pixels to train on and {self.test_x.shape[1]} to test on",
                remedy="give images of one size",
            )
        if self.side < 1 or pixels % self.side:
            raise InputError(f"{pixels} pixels of {self.name} do not make rows of {self.side}")

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(max(self.train_y.max(), self.test_y.max())) + 1

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all of it."""
        return array_digest(self.train_x, self.train_y, self.test_x, self.test_y)

    def first(self, images: int) -> ImageSet:
        """With the first ``images`` training images only."""
        if not 0 < images <= len(self.train_y):
            raise InputError(f"{images} images are asked for, {self.name} has {len(self.train_y)} to train on")
        return replace(self, train_x=self.train_x[:images], train_y=self.train_y[:images])


def load_images(name: str) -> ImageSet:
    """ "mnist" (60 000 and 10 000), "digits" (the first 1400 of 1797 to train on), or a file of your own, FILE.npz.

    A file has arrays ``train_x``, ``test_x``: images (n, rows, columns), or (n, pixels) of a square, as bytes or as
    numbers of 0 to 1; and ``train_y``, ``test_y``: their classes (n,), whole numbers from 0. `numpy.savez` writes one.

    Raises `UnknownName`, `MissingFile`, and `InputError` for a file that is something else.

    >>> digits = cosim.load_images("digits")
    >>> digits.train_x.shape, digits.classes
    ((1400, 64), 10)
    """
    from cosim.data import datasets

    if name.endswith(".npz"):
        return _own_images(Path(name))
    if name == "mnist":
        raw = datasets.load_mnist()
        train_x, train_y, test_x, test_y = (np.asarray(part) for part in raw)
        full = 255.0
    elif name == "digits":
        images, labels = datasets.digits()
        # By position, not shuffled: neighbours are by one writer, who would end up in both parts of a shuffled split.
        train_x, train_y, test_x, test_y = images[:1400], labels[:1400], images[1400:], labels[1400:]
        full = 16.0
    else:
        raise UnknownName("image set", name, ("digits", "mnist", "FILE.npz"))
    side = train_x.shape[-1]
    return ImageSet(
        name,
        (train_x.reshape(len(train_x), -1) / full).astype(np.float32),
        train_y.astype(np.int64),
        (test_x.reshape(len(test_x), -1) / full).astype(np.float32),
        test_y.astype(np.int64),
        side,
    )


def _own_images(path: Path) -> ImageSet:
    found = read_npz(path, kind="set of images")
    if absent := [name for name in ("train_x", "train_y", "test_x", "test_y") if name not in found]:
        raise InputError(
            f"the image set lacks {', '.join(absent)}", where=Where(path), remedy=f"it has {', '.join(found)}"
        )
    images, sides = {}, []
    for name in ("train_x", "test_x"):
        x = found[name]
        side = x.shape[2] if x.ndim == 3 else round(math.sqrt(x.shape[1])) if x.ndim == 2 else 0
        if not side or not x.size or x.dtype.kind not in "uif" or (x.ndim == 2 and side**2 != x.shape[1]):
            raise InputError(
                f"{name} holds {x.dtype} of shape {x.shape}",
                where=Where(path),
                remedy="give images (n, rows, columns), or (n, pixels) of squares",
            )
        sides.append(side)
        images[name] = (x.reshape(len(x), -1) / (255.0 if x.dtype == np.uint8 else 1.0)).astype(np.float32)
    if sides[0] != sides[1]:
        raise InputError(f"images have {sides[0]} columns to train on and {sides[1]} to test on", where=Where(path))
    # Small kinds of whole numbers would be refused by what counts with them.
    labels = {n: y.astype(np.int64) if (y := found[n]).dtype.kind in "ui" else y for n in ("train_y", "test_y")}
    made = ImageSet(path.stem, images["train_x"], labels["train_y"], images["test_x"], labels["test_y"], sides[0])
    if unseen := sorted(set(range(made.classes)) - set(made.train_y.tolist())):
        raise InputError(
            f"the classes go from 0 to {made.classes - 1}, and no image of train_x is of class "
            f"{', '.join(map(str, unseen))}",
            where=Where(path),
            remedy="number the classes without gaps, and show each of them to train on",
        )
    return made


@dataclass(frozen=True)
class ImageTask:
    """Images to learn for some epochs, each in a different order; then the read-outs.

    ``label_images`` fit the read-outs, ``choice_images`` choose among them; 0: as suits the size of the set.

    >>> import numpy as np
    >>> x, y = np.tile(np.eye(4), (100, 1)), np.arange(400) % 2
    >>> task = cosim.ImageTask(cosim.ImageSet("corners", x, y, x, y, side=2), epochs=2)
    >>> task.batches, task.split
    ((200, 200, 200, 200), (266, 133))
    """

    images: ImageSet
    epochs: int = 1
    label_images: int = 0
    choice_images: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise InputError(f"{self.epochs} epochs leave nothing to learn", remedy="give at least one")
        if self.images.classes < 2:
            raise InputError(
                f"all images of {self.images.name} are of class 0, so that there is nothing to tell apart",
                remedy="give images of two or more classes",
            )
        if sum(self.split) > len(self.images.train_y):
            raise InputError(
                f"{self.split[0]} images for labels and {self.split[1]} for the choice are more than there are",
                remedy=f"{self.images.name} has {len(self.images.train_y)} training images here",
            )
        if self.split[1] < 1:
            raise InputError("no image is left to choose among the read-outs", remedy="take more training images")

    @property
    def split(self) -> tuple[int, int]:
        """Images for the fit of the read-outs and for the choice among them."""
        total = len(self.images.train_y)
        return self.label_images or min(10_000, 2 * total // 3), self.choice_images or min(5_000, total // 3)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of everything that the results depend on."""
        return f"{self.images.fingerprint}\n{self.epochs} {self.split} {BATCH}"

    @cached_property
    def batches(self) -> tuple[int, ...]:
        """The images of each batch of all epochs."""
        whole, rest = divmod(len(self.images.train_y), BATCH)
        return ((BATCH,) * whole + (rest,) * (rest > 0)) * self.epochs

    def batch(self, number: int, streams: Streams) -> tuple[NDArray[np.floating], np.random.Generator]:
        """The images of a batch, and the random numbers to learn them with."""
        epoch, place = divmod(number, len(self.batches) // self.epochs)
        return self.images.train_x[self._shown(number, streams)], streams(Purpose.LEARN, epoch, place)

    def truth(self, number: int, streams: Streams) -> NDArray[np.int64]:
        """The classes of a batch's images, for an estimate while learning."""
        return self.images.train_y[self._shown(number, streams)]

    def _shown(self, number: int, streams: Streams) -> NDArray[np.int64]:
        epoch, place = divmod(number, len(self.batches) // self.epochs)
        order = streams(Purpose.ORDER, epoch).permutation(len(self.images.train_y))
        return order[place * BATCH :][:BATCH]

    def _picked(self, streams: Streams) -> NDArray[np.int64]:
        """Training images for the read-outs, first those for their fit; spread over the set, so that both are alike."""
        return streams(Purpose.EVALUATE, 0).permutation(len(self.images.train_y))[: sum(self.split)]

    def require_labels(self, streams: Streams) -> None:
        """Raises `InputError` where the images that the read-outs are fitted on do not show every class."""
        fitted_on = self.split[0]
        shown = np.bincount(self.images.train_y[self._picked(streams)[:fitted_on]], minlength=self.images.classes)
        absent = np.flatnonzero(shown == 0)
        if absent.size:
            raise InputError(
                f"the {fitted_on} images that the read-outs are fitted on show none of class "
                f"{', '.join(str(k) for k in absent)} (seed {streams.seed})",
                remedy=f"take more than {len(self.images.train_y)} training images, or more of them for the labels",
            )

    def read(self, respond: Respond, streams: Streams) -> Evaluation:
        """Show the images for the read-outs and the test set, and choose a read-out."""
        images, pick = self.images, self._picked(streams)
        protocols = sorted(set(PROTOCOL.values()))
        train, test = (
            {p: respond(x, streams(Purpose.EVALUATE, place), p) for p in protocols}
            for place, x in ((1, images.train_x[pick]), (2, images.test_x))
        )
        return choose(
            train, images.train_y[pick], test=test, truth=images.test_y, fitted_on=self.split[0], classes=images.classes
        )
