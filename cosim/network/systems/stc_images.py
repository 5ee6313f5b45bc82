"""Images as regular trains of spikes: how many spikes each pixel sends while its image is shown; a byte per pixel.

Source: M. A. Nicholson (thesis, Groningen, 2024), listing A: a pixel of the largest value spikes at ``rate`` for
``shown``, a darker one at its share of it, and the number is cut to a whole one; a third of six is two here, and one in
the listing, whose product of doubles comes out just below it (so do two thirds). All 60 000 images of MNIST take 47 MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cosim.errors import InputError, UnknownName
from cosim.network.images import ImageSet
from cosim.network.run import Purpose, Streams
from cosim.surrogate.files import array_digest

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
# What double precision leaves of a product that is a whole number.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class RateImages:
    """Spike counts (k, pixels) and classes (k,) to train and to test on; ``side`` pixels make a row.

    ``rate`` (Hz) is that of the largest value, ``shown`` (s) how long an image is.

    >>> import numpy as np
    >>> x, y = np.eye(4), np.array([0, 1, 0, 1])
    >>> cosim.RateImages.of(cosim.ImageSet("corners", x, y, x, y, side=2)).train[0].tolist()
    [6, 0, 0, 0]
    """

    name: str
    train: Bytes
    train_y: Ints
    test: Bytes
    test_y: Ints
    side: int
    rate: float = 40.0
    shown: float = 0.15

    def __post_init__(self) -> None:
        for what, x, y in (("training", self.train, self.train_y), ("test", self.test, self.test_y)):
            if x.ndim != 2 or len(x) != len(y):
                raise InputError(f"{self.name} has {len(x)} {what} images and {len(y)} labels for them")
        if self.train.shape[1] != self.test.shape[1]:
            raise InputError(
                f"{self.name} is trained on images of {self.train.shape[1]} pixels and tested on images of "
                f"{self.test.shape[1]}",
                remedy="give both the same size",
            )
        if self.side < 1 or self.train.shape[1] % self.side:
            raise InputError(f"{self.train.shape[1]} pixels cannot be laid out in rows of {self.side}")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all of it."""
        return array_digest(self.train, self.train_y, self.test, self.test_y)

    @classmethod
    def of(cls, images: ImageSet, *, rate: float = 40.0, shown: float = 0.15) -> RateImages:
        """Any images (values 0..1); ``rate`` in Hz, ``shown`` in s."""
        train, test = (
            np.concatenate([spike_counts(x[at : at + 1000], rate=rate, shown=shown) for at in range(0, len(x), 1000)])
            for x in (images.train_x, images.test_x)
        )
        return cls(images.name, train, images.train_y, test, images.test_y, images.side, rate, shown)

    @classmethod
    def load(cls, name: str, *, rate: float = 40.0, shown: float = 0.15) -> RateImages:
        """ "mnist" or "digits" as in `cosim.load_images`, without floating-point images in between."""
        from cosim.data import datasets

        if name == "mnist":
            train_x, train_y, test_x, test_y = datasets.load_mnist()
            full = 255
        elif name == "digits":
            images, labels = datasets.digits()
            train_x, train_y, test_x, test_y = images[:1400], labels[:1400], images[1400:], labels[1400:]
            full = 16
        else:
            raise UnknownName("image set", name, ("digits", "mnist"))
        table = spike_counts(np.arange(full + 1) / full, rate=rate, shown=shown)
        for x in (train_x, test_x):
            for part in (x[at : at + 1000] for at in range(0, len(x), 1000)):
                part[...] = table[part]  # in place: there is one copy of the images
        train, test = (x.reshape(len(x), -1) for x in (train_x, test_x))
        return cls(name, train, train_y.astype(np.int64), test, test_y.astype(np.int64), train_x.shape[-1], rate, shown)


def spike_counts(x: NDArray[np.floating], *, rate: float, shown: float) -> Bytes:
    """Spikes of pixels ``x`` in 0..1 at up to ``rate`` (Hz) in ``shown`` (s); raises `InputError` outside 0..1."""
    if not 0.0 < rate * shown < 256.0:
        raise InputError(
            f"{rate:g} Hz for {shown:g} s are {rate * shown:g} spikes per pixel, of which 1 to 255 can be counted",
            remedy="give a rate and a time that fit",
        )
    if not (np.all(x >= 0.0) and np.all(x <= 1.0)):
        raise InputError("pixels have to lie in 0..1", remedy="divide the images by their largest value")
    return np.floor(np.asarray(x, dtype=float) * rate * shown + _ROUNDING).astype(np.uint8)


@dataclass(frozen=True)
class Draw:
    """Which images a seed trains on, in order, which choose its read-out, and which test it."""

    train: Ints
    choice: Ints
    test: Ints


@dataclass(frozen=True)
class DigitTask:
    """Telling ``digits`` apart: each seed draws its images anew.

    Args:
        images: the set.
        digits: classes, each with an output neuron of its own, in this order.
        train, test: how many images of each kind; 0: all there are.
        choice: further training images that choose the read-out. Where all are trained on, it is chosen on so many of
            these.

    >>> images = cosim.RateImages.of(cosim.load_images("digits"))
    >>> cosim.DigitTask(images, digits=(3, 8), train=0, test=0).total
    279
    """

    images: RateImages
    digits: tuple[int, ...] = (0, 1)
    train: int = 170
    test: int = 100
    choice: int = 100

    def __post_init__(self) -> None:
        if len(self.digits) < 2 or len(set(self.digits)) != len(self.digits):
            raise InputError(
                f"a network needs at least two different digits, one output neuron each, not {list(self.digits)}",
                remedy="give e.g. 0,1",
            )
        for what, y in (("train on", self.images.train_y), ("test on", self.images.test_y)):
            absent = sorted(set(self.digits) - set(y.tolist()))
            if absent:
                raise InputError(
                    f"{self.images.name} has no image of {', '.join(map(str, absent))} to {what}",
                    remedy=f"leave it out of the digits; there are {', '.join(map(str, sorted(set(y.tolist()))))}",
                )
        if min(self.train, self.test) < 0 or self.choice < 1:
            raise InputError("a number of images is below zero, or none is left to choose the read-out on")
        have = self._have(self.images.train_y).size, self._have(self.images.test_y).size
        if self.train + (self.choice if self.train else 0) > have[0] or self.choice > have[0] or self.test > have[1]:
            raise InputError(
                f"{self.train} images to train on, {self.choice} more to choose the read-out and {self.test} to test "
                f"are asked for; {self.images.name} has {have[0]} and {have[1]} of these digits",
                remedy="ask for fewer",
            )

    @property
    def total(self) -> int:
        """How many images are trained on."""
        return self.train or self._have(self.images.train_y).size

    @property
    def fingerprint(self) -> str:
        """A digest of everything that the results depend on."""
        return f"{self.images.fingerprint}\n{self.digits} {self.train} {self.test} {self.choice}"

    @staticmethod
    def of(
        images: RateImages, digits: tuple[int, ...], *, train: int = 170, test: int | None = None, most: int = 5000
    ) -> DigitTask:
        """As many images to test on as the source has (100), or as there are; to choose on, as many as to train on.

        Both, and ``most`` for the choice, are upper limits: what is left after training decides.
        """
        have = int(np.isin(images.train_y, digits).sum())
        left = int(np.isin(images.test_y, digits).sum())
        choice = min(most, train, have - train) if train else min(most, have)
        return DigitTask(images, digits, train, min(100, left) if test is None else test, max(choice, 1))

    def _have(self, y: Ints) -> Ints:
        return np.flatnonzero(np.isin(y, self.digits))

    def neuron_of(self, y: Ints) -> Ints:
        """(k,): the output neuron of each label."""
        order = np.argsort(self.digits)
        return np.asarray(order[np.searchsorted(np.sort(self.digits), y)], dtype=np.int64)

    def draw(self, streams: Streams) -> Draw:
        """The images of a seed; raises `InputError` where those to train on lack a digit."""
        rng = streams(Purpose.ORDER)
        pool = rng.permutation(self._have(self.images.train_y))
        tested = rng.permutation(self._have(self.images.test_y))
        train = pool[: self.total]
        choice = pool[self.total :][: self.choice] if self.train else rng.permutation(pool)[: self.choice]
        absent = sorted(set(self.digits) - set(self.images.train_y[train].tolist()))
        if absent:
            raise InputError(
                f"the {train.size} images that seed {streams.seed} draws to train on show no "
                f"{', '.join(map(str, absent))}",
                remedy="train on more images, or take another seed",
            )
        return Draw(train, choice, tested[: self.test] if self.test else tested)
