"""The generic load of `claims.speed` in Brian2's C++ standalone, run by an interpreter that has Brian2.

Two lengths, so that compiling and start-up fall out; one thread. Prints a line of JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib import import_module

INPUTS, OUTPUTS, BRIGHT, SECONDS = 784, 200, 133, 0.35


def run(images: int) -> float:
    """Seconds that the compiled program takes for ``images`` images, each of the same 133 sources."""
    b = import_module("brian2")
    b.device.reinit()
    b.set_device("cpp_standalone", build_on_run=False)
    b.defaultclock.dt = 1.0 * b.ms
    b.seed(1)
    sources = b.PoissonGroup(INPUTS, rates="(i < bright) * 30 * Hz", namespace={"bright": BRIGHT})
    neurons = b.NeuronGroup(
        OUTPUTS,
        "dv/dt = -v / (20*ms) : 1 (unless refractory)\ndy/dt = -y / (20*ms) : 1",
        threshold="v > 60",
        reset="v = 0; y += 1",
        refractory=2 * b.ms,
        method="exact",
    )
    synapses = b.Synapses(sources, neurons, "w : 1", on_pre="v_post += w\nw = clip(w + 0.001 * (y_post - 0.2), 0, 1)")
    synapses.connect()
    synapses.w = "rand()"
    b.run(images * SECONDS * b.second)
    with tempfile.TemporaryDirectory(prefix="brian2-") as folder:
        b.device.build(directory=folder, compile=True, run=True, debug=False)
        found: float = b.device._last_run_time
    return found


if __name__ == "__main__":
    few, many = (run(count) for count in (10, 210))
    print(json.dumps({"ms": 1e3 * (many - few) / 200}))
    sys.exit(0)
