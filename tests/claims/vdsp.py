"""VDSP on MNIST with pulses that become shorter while it learns: three technologies, three epochs, all read-outs.

Cells and network are those of `claims.mnist`, but that the programming pulses shrink to a twentieth (`annealed`); rows
of 200 and 400 neurons. Each row is a run in a folder of its own, ``cosim-out/vdsp``, and goes on where it was stopped.
Beside them k-means on the same pixels, with the same read-outs, and what the shortened pulses do in SPICE.
Figures: receptive fields and confusion of each row, accuracy by read-out and technology.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from claims.base import Claim, Figures, Report
from claims.mnist import bars, cell
from cosim.data import datasets
from cosim.devices.base import Array
from cosim.devices.pulse import PulseShape
from cosim.engines.registry import open_simulator
from cosim.network.images import ImageSet, ImageTask, load_images
from cosim.network.plasticity import Vdsp, default_scales
from cosim.network.readout import GRADED, PROTOCOL, fit_readout
from cosim.network.run import RunResult, run_network
from cosim.network.systems.vdsp import EVENT_TIME, VdspSystem
from cosim.network.systems.vdsp_settings import VdspSettings, annealed
from cosim.report.network_figures import plot_by_technology
from cosim.report.style import new_figure, save, styled
from cosim.surrogate.model import Surrogate
from cosim.surrogate.references import events_of, reference_for

FOLDER = Path("cosim-out/vdsp")
EPOCHS = 3
FITTED, CHOSEN = 20_000, 5_000
# Technology, neurons, seeds.
ROWS: Sequence[tuple[str, int, tuple[int, ...]]] = (
    ("tio2", 200, (0, 1, 2, 3, 4)),
    ("hfo2", 200, (0, 1, 2, 3, 4)),
    ("hzo", 200, (0, 1, 2, 3, 4)),
    ("tio2", 400, (0,)),
)
SHARES = (1.0, 0.5, 0.25, 0.1, 0.05)  # of the full length of a pulse, held against SPICE
TRAIN = 20  # pulses of a train in SPICE


def system(name: str, images: ImageSet, network: VdspSettings, *, backend: str = "auto") -> VdspSystem:
    """The network on ``images`` and cells of a technology."""
    split = (FITTED, CHOSEN) if len(images.train_y) >= FITTED + CHOSEN else (0, 0)
    return VdspSystem(network, Surrogate(cell(name), "pulse"), ImageTask(images, EPOCHS, *split), backend=backend)


def settings() -> Mapping[str, Any]:
    """All that the figures depend on but the code."""
    names = sorted({name for name, _, _ in ROWS})
    return {
        "rows": [list(row) for row in ROWS],
        "epochs": EPOCHS,
        "fitted_and_chosen_on": [FITTED, CHOSEN],
        "cells": {name: cell(name).resolved() for name in names},
        "network": annealed(),
        "images": {file: md5 for file, (md5, _) in datasets.MNIST.items()},
    }


def measure(tell: Report) -> Figures:
    """Test accuracy by row, seed and read-out; the limits are on the means over the seeds."""
    images = load_images("mnist")
    results: dict[str, RunResult] = {}
    for name, neurons, seeds in ROWS:
        label = f"{name}_{neurons}"

        def shown(seed: int, done: int, total: int, label: str = label) -> None:
            tell(f"{label}, seed {seed}: {done} of {total} images")

        made = system(name, images, annealed(neurons))
        results[label] = run_network(made, seeds=seeds, folder=FOLDER / label, resume=True, progress=shown)
    tell("k-means")
    centres = {str(count): k_means(images, count) for count in sorted({neurons for _, neurons, _ in ROWS})}
    tell("pulses in SPICE")
    widths = {name: in_spice(name) for name in sorted({name for name, _, _ in ROWS})}
    draw(results)
    table = {
        label: {kind: [float(seed.values.accuracy_on_test_images[kind]) for seed in result.seeds] for kind in PROTOCOL}
        for label, result in results.items()
    }
    # Of the read-outs of counts the one that does best on held-out training images, seed by seed.
    best = {label: result.scores for label, result in results.items()}
    rows = [label for label in table if label.endswith("_200")]
    return {
        "best_of_counts_lowest_mean": min(float(np.mean(best[label])) for label in rows),
        "winner_lowest_mean": min(float(np.mean(table[label]["W"])) for label in rows),
        "graded_lowest_mean": min(float(np.mean(table[label]["G"])) for label in rows),
        "majority_lowest_mean": min(float(np.mean(table[label]["S"])) for label in rows),
        "best_of_counts": best,
        "chosen": {label: [seed.values.read_out for seed in result.seeds] for label, result in results.items()},
        "accuracies": table,
        "mean_and_deviation": {
            label: {kind: mean_deviation(values) for kind, values in row.items()} for label, row in table.items()
        },
        "k_means": centres,
        "shortened_pulse_against_spice": widths,
        "learning_seconds": {label: [round(seed.seconds, 1) for seed in r.seeds] for label, r in results.items()},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "scipy", "numba", "scikit-learn")},
        },
    }


def mean_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and standard deviation (n − 1); None of one value."""
    spread = round(float(np.std(values, ddof=1)), 5) if len(values) > 1 else None
    return round(float(np.mean(values)), 5), spread


def k_means(images: ImageSet, count: int) -> Mapping[str, float]:
    """Test accuracy of k-means on the pixels: by the nearest centre's majority, and by graded closeness.

    Closeness to each centre is the mean distance to all less that to it; it is read as the network's currents are.
    """
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(count, batch_size=4096, max_iter=30, n_init=1, random_state=0).fit(images.train_x)
    pick = np.random.default_rng(0).permutation(len(images.train_y))[: FITTED + CHOSEN]

    def closeness(x: NDArray[np.floating]) -> Array:
        distance = model.transform(x)
        return np.asarray(distance.mean(axis=1, keepdims=True) - distance, dtype=float)

    def nearest(near: Array) -> Array:
        return np.asarray(near == near.max(axis=1, keepdims=True), dtype=float)

    fitted, tested, found = closeness(images.train_x[pick]), closeness(images.test_x), {}
    for name, kind, seen, shown in (
        ("majority", "W", nearest(fitted), nearest(tested)),
        ("graded", GRADED, fitted, tested),
    ):
        read_out = fit_readout(kind, seen, images.train_y[pick], classes=images.classes)
        found[name] = float(np.mean(read_out.scores(shown).argmax(axis=1) == images.test_y))
    return found


def in_spice(name: str, shares: Sequence[float] = SHARES) -> Mapping[str, Mapping[str, float]]:
    """The largest difference of a state, over a train of pulses as the network gives them, between cells and ngspice.

    For each share of the full length: by the network's law, of a pulse compressed in time, edges and all; by that law
    against pulses with edges of the full pulse; and how far the train takes the state.
    """
    whole = Surrogate(cell(name), "pulse")
    rng, shape = np.random.default_rng(3), whole.map.pulse.shape if whole.map.pulse is not None else PulseShape()
    scale_d, scale_p = default_scales(whole)
    rule = Vdsp.of(whole, scale_p=scale_p, scale_d=scale_d)
    reach = np.where(rng.uniform(size=TRAIN) < 0.5, -1.0, 1.0) * rng.uniform(0.9, 1.0, TRAIN)
    volts = reach * np.where(reach < 0.0, rule.threshold_p * rule.scale_p, rule.threshold_d * rule.scale_d)
    event_time = float(whole.parameters.resolved()[EVENT_TIME])
    found = {}
    with open_simulator() as simulator:
        for share in shares:
            ours = whole.with_(instances={EVENT_TIME: np.full(1, event_time / share)})
            w, states = np.array([0.5]), []
            for v in volts:
                w = ours.update(w, np.array([v]))
                states.append(float(w[0]))
            row = {"travel": float(np.ptp([0.5, *states]))}
            for label, edge in (("compressed", share), ("full_edges", 1.0)):
                short = PulseShape(shape.width * share, shape.rise * edge, shape.fall * edge)
                event_map = whole.with_(shape=short).map
                answer = reference_for(event_map, simulator).respond(
                    whole.parameters, event_map, events_of(event_map, {"amplitude": volts}, begin={"w": 0.5})
                )
                row[label] = float(np.max(np.abs(np.array(states) - answer["w"].values)))
            found[f"{share * shape.width * 1e9:g} ns"] = row
    return found


def draw(results: Mapping[str, RunResult]) -> None:
    """The figures, beside the runs."""
    for label, result in results.items():
        for name, figure in result.figures().items():
            save(figure, FOLDER / f"{label}_{name}.png")
    with styled():
        figure = new_figure(7.2, 3.6)
        plot_by_technology(results, figure.add_subplot())
        save(figure, FOLDER / "accuracy.png")


def probe() -> Figures:
    """The networks with 10 neurons on 150 images of bars: weights, pulses, spikes, read-outs."""
    found: Figures = {}
    output = annealed().output
    small = annealed(10).with_(output=type(output)(**{**vars(output), "threshold": 8.2}), test_threshold=9.7)
    for name in sorted({name for name, _, _ in ROWS}):
        seed = run_network(system(name, bars(150), small, backend="numpy")).seeds[0]
        w, values = seed.arrays.w, seed.values
        found |= {
            f"{name}_weights_mean": float(w.mean()),
            f"{name}_weights_deviation": float(w.std()),
            f"{name}_pulses": values.programming_pulses,
            f"{name}_spikes": float(np.sum(values.spikes_per_image)),
            **{f"{name}_on_test_{kind}": float(x) for kind, x in values.accuracy_on_test_images.items()},
        }
    return found


VDSP = Claim(
    "vdsp",
    "VDSP on 200 neurons and 1T1R cells as SPICE runs them, with pulses that become shorter, learns MNIST in three "
    "epochs to 90 % by the best read-out of counts, 85 % by the winner's label and 95 % by graded activity, with TiO2, "
    "HfO2 and HZO memristors",
    measure,
    {
        "best_of_counts_lowest_mean": (0.90, None),
        "winner_lowest_mean": (0.85, None),
        "majority_lowest_mean": (0.83, None),
        "graded_lowest_mean": (0.95, None),
    },
    settings=settings,
    probe=probe,
)
