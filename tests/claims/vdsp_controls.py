"""Networks of `claims.vdsp` that never learn, read as those that do: what of an accuracy is the read-out's own.

`random`: cells as they are before learning, uniform over their range. `images`: training images drawn at random, one
per neuron, as states. Thresholds of the neurons are in proportion to the mean weight, so that they suit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from claims.vdsp_parts import EPOCHS, Part, chosen
from cosim.network.images import ImageSet
from cosim.network.readout import PROTOCOL
from cosim.network.run import RunResult, Streams
from cosim.network.systems.vdsp import VdspRun
from cosim.network.systems.vdsp_settings import VdspSettings

TECHNOLOGY = "tio2"
CONTROLS = ("random", "images")
DRAWS = 8_512  # of the images, with the seed


def control(name: str, learned: RunResult, seed: int, images: ImageSet) -> dict[str, float]:
    """Test accuracy (0..1) of a network without learning, by read-out; ``learned``: the one that it stands beside."""
    network = chosen(TECHNOLOGY)
    untaught = _started(network, name, seed, images).network.crossbar.weight.mean()
    share = float(untaught) / float(np.mean([one.arrays.weight.mean() for one in learned.seeds]))
    output = replace(network.output, threshold=share * network.output.threshold)
    suited = network.with_(output=output, test_threshold=share * (network.test_threshold or network.output.threshold))
    run = _started(suited, name, seed, images)
    reading = run.system.task.read(
        lambda shown, rng, protocol: run.network.respond(shown, rng, protocol=protocol), run.streams
    )
    found = reading.to_dict()["accuracy_on_test_images"]
    return {kind: float(found[kind]) for kind in PROTOCOL}


def _started(network: VdspSettings, name: str, seed: int, images: ImageSet) -> VdspRun:
    run = VdspRun(Part(TECHNOLOGY, network, (seed,), EPOCHS).system(images), Streams(seed))
    if name == "images":
        pick = np.random.default_rng((DRAWS, seed)).choice(len(images.train_y), network.neurons, replace=False)
        run.network.crossbar.load(np.asarray(images.train_x[pick].T, dtype=float))
    return run
