"""VDSP on MNIST: the published TiO2 set, 200 neurons, one epoch of 60 000 images, three seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from claims.base import Claim, Figures, Report
from cosim.data import datasets
from cosim.devices.pulse import Law
from cosim.network.images import ImageSet, ImageTask, load_images
from cosim.network.run import run_network
from cosim.network.systems.vdsp import VdspSettings, VdspSystem
from cosim.parameters import ParameterSet
from cosim.surrogate.model import Surrogate

SEEDS = (0, 1, 2)
EPOCHS = 1
SET = "threshold_memristor:tio2"
LAW: Law = "published"
NETWORK = VdspSettings()


def system(images: ImageSet, network: VdspSettings = NETWORK, *, backend: str = "auto") -> VdspSystem:
    """The claim's network on ``images``."""
    surrogate = Surrogate(ParameterSet.load(SET), LAW)
    return VdspSystem(network, surrogate, ImageTask(images, EPOCHS), backend=backend)


def settings() -> Mapping[str, Any]:
    """All that the figures depend on but the code."""
    chosen = ParameterSet.load(SET)
    return {
        "seeds": SEEDS,
        "epochs": EPOCHS,
        "set": SET,
        "parameters": chosen.resolved(),
        "plasticity": {name: quantity.value for name, quantity in chosen.plasticity.items()},
        "law": LAW,
        "network": NETWORK,
        "images": {file: md5 for file, (md5, _) in datasets.MNIST.items()},
    }


def measure(tell: Report) -> Figures:
    """Test accuracy per seed of the read-out that was chosen on training images, and what an epoch takes."""

    def shown(seed: int, images: int, total: int) -> None:
        tell(f"seed {seed}: {images} of {total} images")

    result = run_network(system(load_images("mnist")), seeds=SEEDS, progress=shown)
    on_test = [seed.values.accuracy_on_test_images for seed in result.seeds]
    return {
        "accuracy": result.mean,
        "accuracy_deviation": result.deviation,
        "accuracy_lowest": min(result.scores),
        "accuracies": result.scores,
        "read_outs": [seed.values.read_out for seed in result.seeds],
        "on_test": {kind: [one[kind] for one in on_test] for kind in on_test[0]},
        "seconds_per_epoch": [round(seed.seconds, 1) for seed in result.seeds],
    }


def _bars(n: int, *, classes: int = 4, side: int = 28) -> ImageSet:
    """``n`` images of a bar at one of ``classes`` places, with noise; a third of them to test on."""
    rng = np.random.default_rng(5)
    y = np.arange(n) % classes
    x = rng.uniform(0.0, 0.05, (n, classes, side // classes, side)).astype(np.float32)
    x[np.arange(n), y, 1:5] += rng.uniform(0.5, 0.9, (n, 4, side)).astype(np.float32)
    flat, k = x.reshape(n, -1), 2 * n // 3
    return ImageSet("bars", flat[:k], y[:k].astype(np.int64), flat[k:], y[k:].astype(np.int64), side)


def probe(network: VdspSettings = NETWORK, seeds: Sequence[int] = SEEDS[:1]) -> Figures:
    """The claim's network with 20 neurons on 300 images of bars: weights, pulses, spikes, read-outs."""
    seed = run_network(system(_bars(300), network.with_(neurons=20), backend="numpy"), seeds=seeds).seeds[0]
    w, found = seed.arrays.w, seed.values
    return {
        "weights_mean": float(w.mean()), "weights_deviation": float(w.std()), "pulses": found.programming_pulses,
        "spikes": float(np.sum(found.spikes_per_image)), "chosen": found.read_out,
        **{f"on_test_{kind}": float(value) for kind, value in found.accuracy_on_test_images.items()},
    }  # fmt: skip


MNIST = Claim(
    "mnist",
    "VDSP on 200 neurons with the published TiO2 memristor learns MNIST in one epoch to more than 83 %",
    measure,
    {"accuracy_lowest": (0.83, None)},
    long=True,
    settings=settings,
    probe=probe,
)
