"""Recall without plasticity, many images side by side: what other trains and other inputs make of the same weights.

``balanced`` is ours, and a read-out beside the source's: each pixel's train begins at a time of its own, and each
output neuron gets what its synapses send less the mean of what all neurons' synapses send, as from one inhibiting
neuron that all pixels drive equally; then both times a gain. Neurons, thresholds, resets and refractory times are the
network's. It was picked among the variants of ``claims.stc_counts`` on 2000 test images of MNIST (seed 0, ten digits),
so that what it makes of MNIST's test set is no figure of images that chose nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.network.systems.stc_loop import Neurons, lif_step

Ints = NDArray[np.int64]
GAINS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 400.0, 1000.0)
CHUNK = 100  # images side by side


def drives(w: Array, counts: NDArray[np.uint8], steps: int, phase: Array) -> Array:
    """(images, steps, neurons): the weights ``w`` (neurons, pixels) V that presynaptic spikes meet in each step.

    ``phase`` (pixels,) in 0..1 of an interval is when each pixel's train begins.
    """
    found = np.zeros((len(counts), steps, len(w)))
    for n in range(1, int(counts.max(initial=0)) + 1):
        period = max(steps // n, 1)
        first, of_n = np.floor(phase * period).astype(int), (counts == n).astype(float)
        beginning = {t: of_n[:, first == t] @ w.T[first == t] for t in np.unique(first).tolist()}
        for t in range(min(period * n, steps)):
            if t % period in beginning:
                found[:, t] += beginning[t % period]
    return found


def balanced(drive: Array) -> Array:
    """``drive`` (images, steps, neurons) less its mean over the neurons."""
    return np.asarray(drive - drive.mean(axis=2, keepdims=True))


def fired(drive: Array, neurons: Neurons, threshold: Array) -> Array:
    """(images, neurons) spikes of neurons that begin at rest."""
    v, hold, total = (np.zeros((drive.shape[0], drive.shape[2])) for _ in range(3))
    for gained in neurons.jump * np.moveaxis(drive, 1, 0):
        v, hold, spikes = lif_step(v, hold, gained, neurons.leak, threshold, neurons.reset, neurons.refractory)
        total += spikes
    return total


def balanced_counts(
    images: NDArray[np.uint8], chosen: Ints, w: Array, *, steps: int, phase: Array, neurons: Neurons, threshold: Array
) -> Callable[[float], Array]:
    """What gives the spikes (chosen images, neurons) at a gain."""

    def parts() -> Iterator[Array]:
        for at in range(0, len(chosen), CHUNK):
            yield balanced(drives(w, images[chosen[at : at + CHUNK]], steps, phase))

    def at(gain: float) -> Array:
        return np.concatenate([fired(gain * part, neurons, threshold) for part in parts()])

    return at


def best_gain(counts: Callable[[float], Array], right: Callable[[Any], float]) -> tuple[float, float]:
    """The gain at which the largest share is right, and that share."""
    shares = [right(counts(gain)) for gain in GAINS]
    best = int(np.argmax(shares))
    return GAINS[best], shares[best]
