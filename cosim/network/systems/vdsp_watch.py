"""What a VDSP network shows of itself while it learns, and the signs by which a failing one is recognised.

The accuracy is estimated as it goes: an image is answered with the class of the neuron that spikes most for it, and
neurons have the classes to which they answered before that image was shown. Labels decide nothing else.

The signs are those that arXiv 2510.25787 names (stuck weights, one dominating neuron, answers at random), each with the
cause that the settings make likely; and a network that does not spike. The limits are our choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.network.systems.vdsp_settings import VdspSettings

Ints = NDArray[np.int64]
WINDOW = 2000.0  # images in which what was seen loses all but 1/e of its weight
LEAST = 600  # images before anything is said
BINS = 20  # of the histogram of the states
EDGE = 0.1  # a cell so close to a bound is at it
BETWEEN = 0.02  # a smaller share of cells between the bounds is a sign; or more at the upper one than between
MOVED = 0.01  # a smaller share of the cells that was ever programmed is a sign
DOMINANT = 0.5  # a neuron with more of all spikes is a sign, of at least so many neurons:
COMPETING = 5
GUESSING = 1.5  # an accuracy below so many times chance, or within three standard errors of it, is a sign


@dataclass(frozen=True)
class Glance:
    """A network while it learns.

    Attributes:
        images: how many were shown.
        accuracy: the estimate (0..1) over the last `WINDOW` images; None before there is any.
        states: shares of the cells in `BINS` equal parts of 0..1.
        rates: (neurons,) spikes per image of each neuron, over the same images.
        signs: what points at a failure, with its likely cause, a sentence each.
    """

    images: int
    accuracy: float | None
    states: Array
    rates: Array
    signs: tuple[str, ...]


class Tally:
    """Running counts of a network's answers; they fade over `WINDOW` images."""

    def __init__(self, *, classes: int, neurons: int) -> None:
        self.spikes = np.zeros((classes, neurons))  # by class of the image
        self.shown = np.zeros(classes)
        self.answers = np.zeros(2)  # right ones, and all
        self.images = 0

    def add(self, counts: Ints, truth: Ints) -> None:
        """Spikes (images, neurons) of a batch, and its classes."""
        if self.images and self.shown.all():
            label = (self.spikes / self.shown[:, None]).argmax(axis=0)
            answered = np.where(counts.any(axis=1), label[counts.argmax(axis=1)], -1)
            self.answers *= np.exp(-len(truth) / WINDOW)
            self.answers += (float(np.sum(answered == truth)), len(truth))
        fade = np.exp(-len(truth) / WINDOW)
        self.spikes *= fade
        self.shown *= fade
        np.add.at(self.spikes, truth, counts)
        self.shown += np.bincount(truth, minlength=self.shown.size)
        self.images += len(truth)

    @property
    def accuracy(self) -> float | None:
        """The estimate (0..1); None before the first answer."""
        return float(self.answers[0] / self.answers[1]) if self.answers[1] else None

    @property
    def rates(self) -> Array:
        """(neurons,) spikes per image."""
        found: Array = self.spikes.sum(axis=0) / max(float(self.shown.sum()), 1.0)
        return found

    def state(self) -> dict[str, NDArray[Any]]:
        """All of it, copied."""
        return {
            "tally_spikes": self.spikes.copy(),
            "tally_shown": self.shown.copy(),
            "tally_answers": self.answers.copy(),
            "tally_images": np.array(self.images),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `state`."""
        self.spikes, self.shown = state["tally_spikes"].copy(), state["tally_shown"].copy()
        self.answers, self.images = state["tally_answers"].copy(), int(state["tally_images"])


def glance(tally: Tally, settings: VdspSettings, *, w: Array, start: Array) -> Glance:
    """What the tally and the states ``w`` of the cells, which began at ``start``, show."""
    histogram = np.histogram(w, bins=BINS, range=(0.0, 1.0))[0] / w.size
    return Glance(tally.images, tally.accuracy, histogram, tally.rates, signs(tally, settings, w=w, start=start))


def signs(tally: Tally, settings: VdspSettings, *, w: Array, start: Array) -> tuple[str, ...]:
    """The signs of a failure, each with its likely cause; before `LEAST` images only that nothing was programmed."""
    if tally.images < LEAST:
        return tuple(_stuck(w, start, settings)) if tally.images and not np.any(w != start) else ()
    rates = tally.rates
    if not rates.sum() > 0.0:
        return (
            f"no output neuron spiked for the last images: their threshold ({settings.output.threshold:g}) is probably "
            "too high for what the inputs drive",
        )
    found = [*_stuck(w, start, settings), *_dominating(rates, settings), *_guessing(tally, settings)]
    return tuple(found)


def _stuck(w: Array, start: Array, settings: VdspSettings) -> list[str]:
    moved = float(np.mean(w != start))
    if moved < MOVED:
        gated = settings.gate_p is not None or settings.gate_d is not None
        cause = (
            "the neuron's gates, or scale factors that are too low, probably keep the pulses back"
            if gated
            else "the scale factors are probably too low, so that pulses stay below the thresholds"
        )
        share = f"{100.0 * moved:.2g} % of all" if moved else "no"
        return [f"stuck weights: {share} cells were ever programmed; {cause}"]
    between, high = float(np.mean((w > EDGE) & (w < 1.0 - EDGE))), float(np.mean(w >= 1.0 - EDGE))
    if between < max(BETWEEN, high) and np.mean((start > EDGE) & (start < 1.0 - EDGE)) > between:
        return [
            f"stuck weights: {100.0 * (1.0 - between - high):.0f} % of the cells are at the lower bound, "
            f"{100.0 * high:.0f} % at the upper one and {100.0 * between:.0f} % between; the scale factors are "
            "probably too high, or the pulses too long, so that one pulse takes a cell to its bound"
        ]
    return []


def _dominating(rates: Array, settings: VdspSettings) -> list[str]:
    share = float(rates.max() / rates.sum())
    if rates.size < COMPETING or share < DOMINANT:
        return []
    said = f"one dominating neuron: neuron {int(rates.argmax())} makes {100.0 * share:.0f} % of all spikes"
    if settings.encoder.bias <= 0.0:
        return [f"{said}; the inputs have no bias current, so that nothing depresses its weights from dark pixels"]
    if settings.inhibition < settings.output.tau:
        return [
            f"{said}; the winner probably holds the others for too short a time ({settings.inhibition:g} ms, with a "
            f"time constant of {settings.output.tau:g} ms)"
        ]
    return [f"{said}; the thresholds probably adapt too little (a jump of {settings.output.jump:g})"]


def _guessing(tally: Tally, settings: VdspSettings) -> list[str]:
    if tally.accuracy is None or tally.answers[1] < 0.5 * LEAST:
        return []
    classes = tally.shown.size
    chance = 1.0 / classes
    if not tally.accuracy < min(GUESSING * chance, chance + 3.0 * np.sqrt(chance * (1.0 - chance) / tally.answers[1])):
        return []
    said = f"answers at random: about {100.0 * tally.accuracy:.0f} % are right, chance is {100.0 * chance:.3g} %"
    if max(settings.encoder.noise, settings.encoder.bias_noise) > 1.0:
        return [
            f"{said}; the noise of the inputs ({settings.encoder.noise:g} of a pixel's current) is probably too high"
        ]
    ratio = settings.presentation / settings.input.tau
    if not 0.7 <= ratio <= 4.0:
        return [
            f"{said}; the inputs' time constant ({settings.input.tau:g} ms) probably does not suit the "
            f"{settings.presentation:g} ms that an image is shown"
        ]
    return [f"{said}; the noise of the inputs is probably too high, or the scale factors let nothing be learned"]
