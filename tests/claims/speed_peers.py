"""The generic load of `claims.speed` in other simulators, run by an interpreter that has the one that is named.

``brian2_cpp`` is Brian2's C++ standalone, ``brian2_cython`` its cython, ``nest`` NEST with its STDP synapse, which
updates a row of weights at each presynaptic spike as well. Two lengths, so that compiling and start-up fall out; one
thread. Prints a line of JSON: milliseconds of processor time per image.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

INPUTS, OUTPUTS, BRIGHT, RATE, SECONDS = 784, 200, 133, 30.0, 0.35
FEW, MANY = 10, 60


def _brian2(b: Any) -> Any:
    """The network; its sources are the same 133 for all images."""
    b.defaultclock.dt = 1.0 * b.ms
    b.seed(1)
    names = {"bright": BRIGHT, "rate": RATE * b.Hz}
    sources = b.PoissonGroup(INPUTS, rates="(i < bright) * rate", namespace=names)
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
    return b.Network(sources, neurons, synapses)


def brian2_cpp(images: int, folder: str) -> float:
    """Seconds that the compiled program takes, which is a process of its own."""
    b = import_module("brian2")
    b.device.reinit()
    b.set_device("cpp_standalone", build_on_run=False)
    _brian2(b).run(images * SECONDS * b.second)
    b.device.build(directory=folder, compile=True, run=False, debug=False)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    b.device.run(folder, with_output=False, run_args=[])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def brian2_cython(images: int, folder: str) -> float:
    """Seconds of this process."""
    b = import_module("brian2")
    b.prefs.codegen.target = "cython"
    network = _brian2(b)
    network.run(b.defaultclock.dt)  # compiles
    began = time.process_time()
    network.run(images * SECONDS * b.second)
    return time.process_time() - began


def nest(images: int, folder: str) -> float:
    """Seconds of this process."""
    n: Any = import_module("nest")
    n.set_verbosity("M_ERROR")
    n.ResetKernel()
    n.resolution, n.local_num_threads = 1.0, 1
    generators = n.Create("poisson_generator", BRIGHT, params={"rate": RATE})
    sources = n.Create("parrot_neuron", INPUTS)
    n.Connect(generators, sources[:BRIGHT], "one_to_one", {"delay": 1.0})
    neuron = {"tau_m": 20.0, "C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "V_reset": 0.0, "V_th": 60.0, "t_ref": 2.0}
    neurons = n.Create("iaf_psc_delta", OUTPUTS, params=neuron)
    weights = n.random.uniform(0.0, 1.0)
    n.Connect(sources, neurons, "all_to_all", {"synapse_model": "stdp_synapse", "weight": weights, "delay": 1.0})
    n.Simulate(1.0)
    began = time.process_time()
    n.Simulate(images * SECONDS * 1e3)
    return time.process_time() - began


PEERS: dict[str, Callable[[int, str], float]] = {"brian2_cpp": brian2_cpp, "brian2_cython": brian2_cython, "nest": nest}

if __name__ == "__main__":
    run = PEERS[sys.argv[1]]
    with tempfile.TemporaryDirectory(prefix="peer-") as folder:
        few, many = (run(images, folder) for images in (FEW, MANY))
    print(json.dumps({"ms": 1e3 * (many - few) / (MANY - FEW)}))
    sys.exit(0)
