"""How fast networks run: processor time per image on one core, the compiling told apart.

VDSP's protocol is 784 → 200 neurons, 40 steps of 1 ms, with noise in each; a response to an image has 100 steps. The
generic load is 784 Poisson sources of up to 40 Hz → 200 LIF neurons, 350 steps of 1 ms, and the update of a row of 200
weights at each presynaptic spike. The images are drawn: as many bright pixels as MNIST's, of the same mean. A plain
loop over steps and spikes in numpy is the peer that is always there; Brian2 (C++ standalone and cython, without their
compiling) and NEST (whose STDP synapse is updated at presynaptic spikes, too) are measured in the environments of
``./run measure exports``, where there are.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from claims.base import Claim, Figures, Report
from claims.speed_peers import PEERS
from cosim.devices.base import Array
from cosim.network import LIF, Graph, Ideal, Local, Poisson, Population, Projection, Rule, Simulation, Source
from cosim.network.rules import Given
from cosim.network.systems.vdsp import VdspNetwork
from cosim.network.systems.vdsp_settings import VdspSettings
from cosim.parameters import ParameterSet
from cosim.surrogate.model import Surrogate

INPUTS, OUTPUTS, STEPS, RATE = 784, 200, 350, 40.0
BRIGHT = 133  # pixels of an image, as in MNIST
TEST_SET = 60_000
ROUNDS = 3
SLOWER = ("plain", "brian2_cython", "nest")  # peers that numpy alone is faster than


@dataclass(frozen=True)
class RowRule(Rule):
    """At each presynaptic spike the row moves by the postsynaptic traces over an offset."""

    post: ClassVar[Mapping[str, float]] = MappingProxyType({"trace": 0.0})

    tau: float = 20.0
    rate: float = 1e-3
    offset: float = 0.2

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """What is left of the trace after a step, rate and offset."""
        return {"left": math.exp(-ticks * dt / self.tau), "rate": self.rate, "offset": self.offset}

    def each_post(self, s: Local) -> Given:
        """The trace decays, and rises at a spike."""
        return {"trace": s.post.trace * s.p.left + s.post.spike}

    def on_pre(self, s: Local) -> Given:
        """A weight's change."""
        return {"change": s.p.rate * (s.post.trace - s.p.offset)}


NEURON = LIF(tau=20.0, threshold=60.0, reset=0.0, refractory=2.0)


def images(count: int, seed: int = 0) -> Array:
    """(count, 784) with `BRIGHT` pixels of 0.5..1 each."""
    rng = np.random.default_rng(seed)
    found = np.zeros((count, INPUTS))
    for image in found:
        image[rng.choice(INPUTS, BRIGHT, replace=False)] = rng.uniform(0.5, 1.0, BRIGHT)
    return found


def weights() -> Array:
    """(784, 200) where the generic load begins."""
    return np.random.default_rng(1).random((INPUTS, OUTPUTS))


def generic() -> Graph:
    """The generic load."""
    parts = Population("inputs", INPUTS, Source(), Poisson(RATE)), Population("outputs", OUTPUTS, NEURON)
    return Graph(parts, (Projection("inputs", "outputs", Ideal(), weights(), rule=RowRule()),))


def plain(shown: Array, rng: np.random.Generator) -> int:
    """The generic load as one writes it down in numpy; the presynaptic spikes."""
    w, rule, neuron = weights(), RowRule(), NEURON.parameters(1.0)
    left, spikes = rule.parameters(1.0)["left"], 0
    v, hold, trace = np.zeros(OUTPUTS), np.zeros(OUTPUTS), np.zeros(OUTPUTS)
    for image in shown:
        for _ in range(STEPS):
            fired = np.flatnonzero(rng.random(INPUTS) < image * (RATE * 1e-3))
            spikes += fired.size
            hold = np.maximum(hold - 1.0, 0.0)
            v = np.where(hold > 0.0, 0.0, v * neuron["leak"] + w[fired].sum(axis=0))
            for i in fired:
                w[i] = np.clip(w[i] + rule.rate * (trace - rule.offset), 0.0, 1.0)
            above = v > neuron["threshold"]
            v[above], hold[above] = 0.0, neuron["refractory"]
            trace = trace * left + above
    return spikes


def _each(call: Callable[[], object], count: int, rounds: int = ROUNDS) -> float:
    """Milliseconds of this process for each of ``count`` images: the best round."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return 1e3 * min(times) / count


def _first(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def _vdsp(backend: str, device: str, count: int) -> tuple[float, float, float]:
    """Milliseconds to learn an image and to respond to one, and seconds of the first images."""
    surrogate = Surrogate(ParameterSet.load("tio2").for_device(device))
    network = VdspNetwork(VdspSettings(), surrogate, inputs=INPUTS, rng=np.random.default_rng(0), backend=backend)
    shown = images(count)
    first = _first(lambda: network.learn(shown[:2], np.random.default_rng(1)))
    learned = _each(lambda: network.learn(shown, np.random.default_rng(1)), count)
    return learned, _each(lambda: network.respond(shown, np.random.default_rng(2)), count), first


def _generic(backend: str, count: int) -> tuple[float, float, float]:
    """Milliseconds per image, seconds of the first ones, and presynaptic spikes per image."""
    simulation, shown = Simulation(generic(), backend=backend), images(count)
    first = _first(lambda: simulation.run({"inputs": shown[:2]}, steps=STEPS, key=1))
    each = _each(lambda: simulation.run({"inputs": shown}, steps=STEPS, key=2), count)
    answers = simulation.run({"inputs": shown[:5]}, steps=STEPS, key=2)
    return each, first, float(answers.counts["inputs"].sum() / 5)


def _peer(name: str) -> float | str:
    """Milliseconds per image of a peer (`claims.speed_peers`) on the generic load; or why there is no figure."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    python = cache / "cosim" / "targets" / name.partition("_")[0] / "bin" / "python"
    if not python.is_file():
        return "not installed"
    command = [str(python), str(Path(__file__).with_name("speed_peers.py")), name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        return f"failed: {done.stderr.strip()[-200:]}"
    found: float = json.loads(done.stdout.splitlines()[-1])["ms"]
    return found


def measure(tell: Report, *, share: float = 1.0) -> Figures:
    """All figures; ``share`` makes fewer images."""
    found: Figures = {}
    backends = ["numpy", *(["numba"] if find_spec("numba") is not None else [])]
    for backend in backends:
        name, count = ("fast", 1000) if backend == "numba" else ("numpy", 60)
        count = max(int(share * count), 3)
        for cell, device in (("", "threshold_memristor"), ("_1t1r", "cell_1t1r")):
            tell(f"VDSP with {backend}, {device}")
            learned, responded, first = _vdsp(backend, device, count)
            found |= {f"vdsp{cell}_{name}_ms": learned, f"vdsp{cell}_{name}_first_seconds": first}
            if not cell:
                found[f"responses_{name}_seconds"] = responded * TEST_SET / 1e3
        tell(f"the generic load with {backend}")
        each, first, spikes = _generic(backend, count)
        found |= {f"generic_{name}_ms": each, f"generic_{name}_first_seconds": first, "spikes_per_image": spikes}
    tell("the generic load in a plain loop")
    count = max(int(share * 20), 2)
    found["generic_plain_ms"] = _each(lambda: plain(images(count), np.random.default_rng(0)), count, 2)
    for name in PEERS:
        tell(name)
        found[f"generic_{name}_ms"] = _peer(name)
    for name in ("plain", *PEERS):
        for one in ("numpy", "fast"):
            ours, theirs = found.get(f"generic_{one}_ms"), found[f"generic_{name}_ms"]
            if isinstance(ours, float) and isinstance(theirs, float):
                found[f"{name}_over_{one}"] = theirs / ours
    slower = [found[key] for name in SLOWER if (key := f"{name}_over_numpy") in found]
    # A peer that is not there was not beaten: then the claim is not measured.
    return found | ({"slowest_peers_over_numpy": min(slower)} if len(slower) == len(SLOWER) else {})


SPEED = Claim(
    "speed",
    "on one core VDSP learns an image of 784 pixels in 0.13 ms and answers to 60 000 in 8 s, and a network that "
    "updates rows takes 0.5 ms per image; in numpy alone 1.5 ms and 5 ms, faster than a plain loop, Brian2's cython "
    "and NEST",
    measure,
    {
        "vdsp_fast_ms": (None, 0.13),
        "vdsp_numpy_ms": (None, 1.5),
        "responses_fast_seconds": (None, 8.0),
        "generic_fast_ms": (None, 0.5),
        "generic_numpy_ms": (None, 5.0),
        "slowest_peers_over_numpy": (1.0, None),
    },
)
