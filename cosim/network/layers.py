"""Two layers of spiking neurons through one presentation: the loops around `neurons`, in numpy and compiled.

The input layer does not depend on the output layer, so it is run through the whole presentation first; the output layer
then stops at each postsynaptic spike, where a synapse may learn, and goes on from there.

`numpy_layers` and `compiled_layers` (numba, extra ``fast``) run the same neuron equations on the same random numbers in
the same order, and give the same spikes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.errors import UnknownName
from cosim.network.neurons import alif_step, lif_step
from cosim.packages import optional

# (v, hold, mean, deviation, noise, leak, threshold, reset, refractory, potential, starts, sources) -> spikes in all:
# runs v, hold (n,) through noise.shape[0] steps; potential (steps, n); sources[starts[t]:starts[t + 1]] fire in step t.
InputLayer = Callable[..., int]
# (step, v, hold, raised, conductance, starts, sources, counts, leak, threshold, relax, jump, refractory, clamp, stop)
# -> (step, winner): runs v, hold, raised (m,) until a spike (stop) or to the end (then the winner is −1).
OutputLayer = Callable[..., tuple[int, int]]


@dataclass(frozen=True)
class Layers:
    """The two loops of one backend."""

    name: str
    run_input: InputLayer
    run_output: OutputLayer


def layers(name: str = "auto") -> Layers:
    """A backend: "numpy", "numba", or "auto", which takes numba where it is installed.

    Raises `UnknownName`, `EngineMissing`.
    """
    if name == "auto":
        name = "numba" if find_spec("numba") is not None else "numpy"
    if name == "numpy":
        return Layers("numpy", _input_numpy, _output_numpy)
    if name != "numba":
        raise UnknownName("backend", name, ("auto", "numba", "numpy"))
    return _compiled()


def _input_numpy(
    v: Array, hold: Array, mean: Array, deviation: Array, noise: NDArray[np.float32], leak: float, threshold: float,
    reset: float, refractory: float, potential: Array, starts: NDArray[np.int64], sources: NDArray[np.int64],
) -> int:  # fmt: skip
    total = 0
    for t in range(noise.shape[0]):
        drive = mean + deviation * noise[t]
        v[:], hold[:], fires = lif_step(v, hold, drive, leak, threshold, reset, refractory)
        potential[t] = v
        starts[t] = total
        fired = np.flatnonzero(fires)
        sources[total : total + fired.size] = fired
        total += fired.size
    starts[noise.shape[0]] = total
    return total


def _output_numpy(
    step: int, v: Array, hold: Array, raised: Array, conductance: Array, starts: NDArray[np.int64],
    sources: NDArray[np.int64], counts: NDArray[np.int64], leak: float, threshold: float, relax: float, jump: float,
    refractory: float, clamp: float, stop: bool,
) -> tuple[int, int]:  # fmt: skip
    for t in range(step, starts.size - 1):
        drive = conductance[sources[starts[t] : starts[t + 1]]].sum(axis=0)
        v[:], hold[:], raised[:], above = alif_step(v, hold, raised, drive, leak, threshold, relax)
        winner = int(np.argmax(above))
        if above[winner] > 0.0:
            v[:] = 0.0
            hold[:] = np.maximum(hold, clamp)
            hold[winner] = refractory
            raised[winner] += jump
            counts[winner] += 1
            if stop:
                return t + 1, winner
    return starts.size - 1, -1


@cache
def _compiled() -> Layers:
    numba = optional("numba", extra="fast", needed_by="the backend numba")
    lif: Any = numba.njit(lif_step)
    alif: Any = numba.njit(alif_step)

    def run_input(
        v: Any, hold: Any, mean: Any, deviation: Any, noise: Any, leak: Any, threshold: Any, reset: Any,
        refractory: Any, potential: Any, starts: Any, sources: Any,
    ) -> int:  # fmt: skip
        total = 0
        fires = np.empty(v.size)
        for t in range(noise.shape[0]):
            for i in range(v.size):
                drive = mean[i] + deviation[i] * noise[t, i]
                v[i], hold[i], fires[i] = lif(v[i], hold[i], drive, leak, threshold, reset, refractory)
                potential[t, i] = v[i]
            starts[t] = total
            for i in range(v.size):
                if fires[i] > 0.0:
                    sources[total] = i
                    total += 1
        starts[noise.shape[0]] = total
        return total

    def run_output(
        step: Any, v: Any, hold: Any, raised: Any, conductance: Any, starts: Any, sources: Any, counts: Any, leak: Any,
        threshold: Any, relax: Any, jump: Any, refractory: Any, clamp: Any, stop: Any,
    ) -> tuple[int, int]:  # fmt: skip
        drive = np.empty(v.size)
        above = np.empty(v.size)
        for t in range(step, starts.size - 1):
            drive[:] = 0.0
            for k in range(starts[t], starts[t + 1]):
                drive += conductance[sources[k]]
            for j in range(v.size):
                v[j], hold[j], raised[j], above[j] = alif(v[j], hold[j], raised[j], drive[j], leak, threshold, relax)
            winner = int(np.argmax(above))
            if above[winner] > 0.0:
                for j in range(v.size):
                    v[j] = 0.0
                    hold[j] = max(hold[j], clamp)
                hold[winner] = refractory
                raised[winner] += jump
                counts[winner] += 1
                if stop:
                    return t + 1, winner
        return starts.size - 1, -1

    return Layers("numba", numba.njit(run_input), numba.njit(run_output))
