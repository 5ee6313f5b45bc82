"""Networks of the VDSP claims made small enough for a record's probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from claims.base import Figures
from claims.mnist import bars
from claims.vdsp_parts import Part
from cosim.network.run import run_network


def probed(parts: Mapping[str, Part]) -> Figures:
    """Each with 10 neurons on 60 images of bars, for as many epochs: weights, pulses, spikes, read-outs.

    Thresholds suit the bars; all else of a network stays, so that annealing and adaptation are seen.
    """
    found: Figures = {}
    for label, part in parts.items():
        lower = replace(part.network.output, threshold=8.2)
        one = Part(part.technology, part.network.with_(neurons=10, output=lower, test_threshold=9.7), (0,), part.epochs)
        seed = run_network(one.system(bars(60), backend="numpy")).seeds[0]
        w, values = seed.arrays.w, seed.values
        found |= {
            f"{label}_weights_mean": float(w.mean()),
            f"{label}_weights_deviation": float(w.std()),
            f"{label}_pulses": values.programming_pulses,
            f"{label}_spikes": float(np.sum(values.spikes_per_image)),
            **{f"{label}_on_test_{kind}": float(x) for kind, x in values.accuracy_on_test_images.items()},
        }
    return found
