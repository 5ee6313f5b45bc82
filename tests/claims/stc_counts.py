"""Why the count of spikes tells digits apart so much worse than the charge does, and what little would do.

All trains begin together, so that an image reaches the output neurons in a dozen volleys, six of which are large.
A neuron fires at most once in a volley, and its reset throws away what was above the threshold: a count is one of seven
numbers, and the best two neurons often have the same. Beside the network's own counts, of the same trained weights:

* ``ties by charge``: equal counts are decided by the charge;
* ``surplus kept``: a spike takes a threshold off the potential, as often as there is one; nothing else is reset;
* ``trains apart``: each pixel's train begins at a time of its own, and inputs times a gain;
* ``mean inhibited``: neurons get their input less the mean of all neurons', times a gain;
* ``balanced``: both, which the network reports itself (`cosim.network.systems.stc_recall`).

Thresholds and gains are chosen on training images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cosim.devices.base import Array
from cosim.network.run import Streams
from cosim.network.systems.stc import THRESHOLDS, StcRun, StcSystem, answers
from cosim.network.systems.stc_images import DigitTask
from cosim.network.systems.stc_loop import Memory, rest
from cosim.network.systems.stc_recall import GAINS, balanced, drives, fired
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


def surplus(run: StcRun, drive: Array, threshold: float) -> Array:
    """(images, neurons) spikes of neurons that keep what is above their threshold."""
    v, total = np.zeros((drive.shape[0], drive.shape[2])), np.zeros((drive.shape[0], drive.shape[2]))
    for gained in run.neurons.jump * np.moveaxis(drive, 1, 0):
        v = v * run.neurons.leak + gained
        spikes = np.floor(np.maximum(v / threshold, 0.0))
        v -= spikes * threshold
        total += spikes
    return total


def right(scores: Array, y: Any) -> float:
    """The share of images whose neuron has the largest score; one without a score is wrong."""
    return float(np.mean(answers(scores) == y))


def shares(settings: StcSettings, task: DigitTask, seed: int) -> dict[str, float]:
    """Shares of test images told apart in the late phase, how often the best two counts are equal, by what part of the
    larger one the best two charges differ (median), and spikes of the neuron that answers.
    """
    run, memory = late(settings, task, seed)
    base, images = float(memory.threshold[0]), task.images
    (chosen, chosen_y), (tested, y) = (
        (x[which[:MOST]], task.neuron_of(labels[which[:MOST]]))
        for x, labels, which in (
            (images.train, images.train_y, run.draw.choice),
            (images.test, images.test_y, run.draw.test),
        )
    )
    w, steps = laws().weight(memory.h, memory.z, run.k), settings.steps(settings.shown)
    phase = np.random.default_rng(seed).random(w.shape[1])
    together, apart = ([drives(w, x, steps, p) for x in (chosen, tested)] for p in (0.0 * phase, phase))
    charge = together[1].sum(axis=1)

    def best(way: list[Array], spikes: Callable[[Array, float], Array], factors: Sequence[float]) -> Array:
        return spikes(way[1], max(factors, key=lambda f: right(spikes(way[0], f), chosen_y)))

    def reset(drive: Array, factor: float) -> Array:
        return fired(drive, run.neurons, factor * memory.threshold)

    def raised(drive: Array, gain: float) -> Array:
        return fired(gain * drive, run.neurons, memory.threshold)

    counts = best(together, reset, THRESHOLDS)
    both = best([balanced(drive) for drive in apart], raised, GAINS)
    ordered, margins = np.sort(counts, axis=1), np.sort(charge, axis=1)
    kept = best(together, lambda drive, factor: surplus(run, drive, base * factor), LOW)
    return {
        "charge": right(charge, y),
        "count": right(counts, y),
        "ties by charge": right(counts + 1e-6 * charge / charge.max(), y),
        "surplus kept": right(kept, y),
        "trains apart": right(best(apart, raised, GAINS), y),
        "mean inhibited": right(best([balanced(drive) for drive in together], raised, GAINS), y),
        "balanced": right(both, y),
        "largest count": float(counts.max()),
        "equal counts": float(np.mean(ordered[:, -1] == ordered[:, -2])),
        "charge margin": float(np.median(1.0 - margins[:, -2] / margins[:, -1])),
        "spikes, surplus kept": float(kept.max(axis=1).mean()),
        "spikes, balanced": float(both.max(axis=1).mean()),
    }


def table(tasks: dict[str, tuple[StcSettings, DigitTask, range]]) -> dict[str, dict[str, float]]:
    """Means over seeds, by task."""
    found = {}
    for name, (settings, task, seeds) in tasks.items():
        each = [shares(settings, task, seed) for seed in seeds]
        found[name] = {key: round(float(np.mean([one[key] for one in each])), 4) for key in each[0]}
    return found
