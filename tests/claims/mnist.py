"""VDSP on MNIST with the cell that SPICE runs: 200 neurons, one epoch of 60 000 images, three technologies and seeds.

The cell is the published memristor behind the access transistor that the virtual lab's curve gives (1T1R), its pulse
the rate law that the netlists run. The read-out is named: by majority vote (``S``, the class whose neurons spike most
in all), which is the source's, and by the winner's label (``W``), probabilities (``P``) and naive Bayes (``NB``) beside
it. Labels of neurons come from training images, and test images decide nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from claims.base import Claim, Figures, Report
from cosim.data import datasets
from cosim.network.images import ImageSet, ImageTask, load_images
from cosim.network.run import run_network
from cosim.network.systems.vdsp import VdspSystem
from cosim.network.systems.vdsp_settings import VdspSettings
from cosim.parameters import ParameterSet
from cosim.resources import find
from cosim.surrogate.model import Surrogate

SEEDS = (0, 1, 2)
EPOCHS = 1
SETS = ("tio2", "hfo2", "hzo")
MAP = "pulse"
NETWORK = VdspSettings()
FACTORS = ("scale_p", "scale_d")  # of a parameter set: what the published drive takes
READ_OUTS = ("S", "W", "P", "NB")


def cell(name: str) -> ParameterSet:
    """The 1T1R cell of a technology: its published memristor and the extracted access transistor."""
    access = ParameterSet.load(str(find("fits", "virtual_lab/access_set.toml")))
    return ParameterSet.load(name).for_device("cell_1t1r", others=[access])


def system(name: str, images: ImageSet, network: VdspSettings = NETWORK, *, backend: str = "auto") -> VdspSystem:
    """The claim's network on ``images`` and cells of a technology."""
    return VdspSystem(network, Surrogate(cell(name), MAP), ImageTask(images, EPOCHS), backend=backend)


def settings() -> Mapping[str, Any]:
    """All that the figures depend on but the code."""
    return {
        "seeds": SEEDS,
        "epochs": EPOCHS,
        "cells": {name: cell(name).resolved() for name in SETS},
        "plasticity": {name: {key: cell(name).plasticity[key].value for key in FACTORS} for name in SETS},
        "map": MAP,
        "network": NETWORK,
        "images": {file: md5 for file, (md5, _) in datasets.MNIST.items()},
    }


def measure(tell: Report) -> Figures:
    """Test accuracy per technology, seed and read-out, and what an epoch takes."""
    images, table, seconds = load_images("mnist"), dict[str, dict[str, list[float]]](), []
    for name in SETS:

        def shown(seed: int, done: int, total: int, name: str = name) -> None:
            tell(f"{name}, seed {seed}: {done} of {total} images")

        result = run_network(system(name, images), seeds=SEEDS, progress=shown)
        on_test = [seed.values.accuracy_on_test_images for seed in result.seeds]
        table[name] = {kind: [float(one[kind]) for one in on_test] for kind in READ_OUTS}
        seconds += [round(seed.seconds, 1) for seed in result.seeds]
    return {
        "majority_lowest": min(min(row["S"]) for row in table.values()),
        "winner_lowest": min(min(row["W"]) for row in table.values()),
        "mean": {name: {kind: round(float(np.mean(x)), 4) for kind, x in row.items()} for name, row in table.items()},
        "deviation": {
            name: {kind: round(float(np.std(x, ddof=1)), 4) for kind, x in row.items()} for name, row in table.items()
        },
        "accuracies": table,
        "seconds_per_epoch": seconds,
    }


def bars(n: int, *, classes: int = 4, side: int = 28) -> ImageSet:
    """``n`` images of a bar at one of ``classes`` places, with noise; a third of them to test on."""
    rng = np.random.default_rng(5)
    y = np.arange(n) % classes
    x = rng.uniform(0.0, 0.05, (n, classes, side // classes, side)).astype(np.float32)
    x[np.arange(n), y, 1:5] += rng.uniform(0.5, 0.9, (n, 4, side)).astype(np.float32)
    flat, k = x.reshape(n, -1), 2 * n // 3
    return ImageSet("bars", flat[:k], y[:k].astype(np.int64), flat[k:], y[k:].astype(np.int64), side)


def probe(network: VdspSettings = NETWORK, seeds: Sequence[int] = SEEDS[:1]) -> Figures:
    """The claim's networks with 10 neurons on 60 images of bars: weights, pulses, spikes, read-outs."""
    found: Figures = {}
    for name in SETS:
        made = system(name, bars(60), network.with_(neurons=10), backend="numpy")
        seed = run_network(made, seeds=seeds).seeds[0]
        w, values = seed.arrays.w, seed.values
        found |= {
            f"{name}_weights_mean": float(w.mean()),
            f"{name}_weights_deviation": float(w.std()),
            f"{name}_pulses": values.programming_pulses,
            f"{name}_spikes": float(np.sum(values.spikes_per_image)),
            **{f"{name}_on_test_{kind}": float(values.accuracy_on_test_images[kind]) for kind in READ_OUTS},
        }
    return found


MNIST = Claim(
    "mnist",
    "VDSP on 200 neurons and 1T1R cells as SPICE runs them learns MNIST in one epoch to more than 83 % by majority "
    "vote, with TiO2, HfO2 and HZO memristors",
    measure,
    {"majority_lowest": (0.83, None)},
    long=True,
    settings=settings,
    probe=probe,
)
