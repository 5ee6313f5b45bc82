"""Why the count of spikes tells digits apart so much worse than the charge does, and what little would do.

All trains begin together, so that an image reaches the output neurons in a dozen volleys, six of which are large.
A neuron fires at most once in a volley, and its reset throws away what was above the threshold: a count is one of seven
numbers, and the best two neurons often have the same. Beside the network's own counts, of the same trained weights:

* ``ties by charge``: equal counts are decided by the charge;
* ``trains apart``: each pixel's train begins at a time of its own;
* ``surplus kept``: a spike takes a threshold off the potential, as often as there is one; nothing else is reset.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cosim.devices.base import Array
from cosim.network.run import Streams
from cosim.network.systems.stc import THRESHOLDS, StcRun, StcSystem
from cosim.network.systems.stc_images import DigitTask
from cosim.network.systems.stc_loop import Memory, lif_step, rest
from cosim.network.systems.stc_settings import StcSettings, pause
from cosim.network.systems.stc_synapse import laws

LOW = (0.002, 0.005, 0.01, 0.02, *THRESHOLDS)
MOST = 1000  # images of each kind


def late(settings: StcSettings, task: DigitTask, seed: int) -> tuple[StcRun, Memory]:
    """A trained network, and its synapses in the late phase."""
    run = StcSystem(settings, task).start(Streams(seed))
    assert isinstance(run, StcRun)
    for batch in range(len(run.system.batches)):
        run.learn(batch)
    memory = run.memory.copy()
    rest(memory, settings.steps(pause(settings)), run.neurons, run.k)
    return run, memory


def drives(run: StcRun, memory: Memory, counts: Any, *, apart: bool) -> Array:
    """(images, steps, neurons): the weights (V) that presynaptic spikes meet in each step."""
    w, steps = laws().weight(memory.h, memory.z, run.k).T, run.system.settings.steps(run.system.settings.shown)
    phase = np.random.default_rng(0).random(counts.shape[1]) * apart
    found = np.zeros((len(counts), steps, w.shape[1]))
    for n in range(1, int(counts.max()) + 1):
        period = max(steps // n, 1)
        first, of_n = np.floor(phase * period).astype(int), (counts == n).astype(float)
        for t in range(min(period * n, steps)):
            if (here := first == t % period).any():
                found[:, t] += of_n[:, here] @ w[here]
    return found


def fired(run: StcRun, drive: Array, threshold: float, *, kept: bool) -> Array:
    """(images, neurons) spikes."""
    neurons, shape = run.neurons, (drive.shape[0], drive.shape[2])
    v, hold, total = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for gained in neurons.jump * np.moveaxis(drive, 1, 0):
        if kept:
            v = v * neurons.leak + gained
            spikes = np.floor(np.maximum(v / threshold, 0.0))
            v -= spikes * threshold
        else:
            v, hold, spikes = lif_step(v, hold, gained, neurons.leak, threshold, neurons.reset, neurons.refractory)
        total += spikes
    return total


def right(scores: Array, y: Any) -> float:
    """The share of images whose neuron has the largest score; one without a score is wrong."""
    return float(np.mean(np.where(np.any(scores != 0.0, axis=1), np.argmax(scores, axis=1), -1) == y))


def shares(settings: StcSettings, task: DigitTask, seed: int) -> dict[str, float]:
    """Shares of test images told apart in the late phase; how often the best two counts are equal, and by what part of
    the larger one the best two charges differ (median).
    """
    run, memory = late(settings, task, seed)
    base, images = float(memory.threshold[0]), task.images
    sets = [
        (x[chosen[:MOST]], task.neuron_of(y[chosen[:MOST]]))
        for x, y, chosen in (
            (images.train, images.train_y, run.draw.choice),
            (images.test, images.test_y, run.draw.test),
        )
    ]
    together, apart = ([drives(run, memory, x, apart=one) for x, _ in sets] for one in (False, True))
    (_, chosen_y), (_, y) = sets
    charge = together[1].sum(axis=1)

    def best(way: list[Array], factors: tuple[float, ...], *, kept: bool = False) -> Array:
        reached: Callable[[float], float] = lambda f: right(fired(run, way[0], base * f, kept=kept), chosen_y)  # noqa: E731
        return fired(run, way[1], base * max(factors, key=reached), kept=kept)

    counts = best(together, THRESHOLDS)
    ordered, margins = np.sort(counts, axis=1), np.sort(charge, axis=1)
    return {
        "charge": right(charge, y),
        "count": right(counts, y),
        "ties by charge": right(counts + 1e-6 * charge / charge.max(), y),
        "trains apart": right(best(apart, LOW), y),
        "surplus kept": right(best(together, LOW, kept=True), y),
        "largest count": float(counts.max()),
        "equal counts": float(np.mean(ordered[:, -1] == ordered[:, -2])),
        "charge margin": float(np.median(1.0 - margins[:, -2] / margins[:, -1])),
    }


def table(tasks: dict[str, tuple[StcSettings, DigitTask, range]]) -> dict[str, dict[str, float]]:
    """Means over seeds, by task."""
    found = {}
    for name, (settings, task, seeds) in tasks.items():
        each = [shares(settings, task, seed) for seed in seeds]
        found[name] = {key: round(float(np.mean([one[key] for one in each])), 4) for key in each[0]}
    return found
