"""What a neuron with its synapse draws, from the runs of its circuit's bench: per input, per spike, and all the time.

    E = power · t + per_input · inputs + per_spike · spikes

The bench (`BENCH`) sends the same number of inputs at several rates, so that least squares over its runs tell an output
spike from what comes with the inputs. Bias power and the gates' charge have measures of their own.

It is a fit to runs of a bench and no surrogate with a certificate. Outside the bench's band of intervals between inputs
it is an extrapolation: the longer the interval, the more leaks between spikes that no term of it has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cosim.bench.stimulus_kinds import Spikes
from cosim.bench.testbench import Testbench
from cosim.devices.base import Array
from cosim.engines.simulator import Simulator

BENCH = "ecram_lif_energy"


@dataclass(frozen=True)
class NeuronEnergy:
    """Of one neuron and its synapse: ``power`` (W), ``per_input`` and ``per_spike`` (J).

    ``off`` is the largest relative difference of the sum from a run of the bench; ``quoted`` (J) are the smallest and
    largest energy per output spike of its runs, everything counted. ``band`` (s) are the shortest and longest interval
    between inputs of its runs: what lies beyond is extrapolated.
    """

    power: float
    per_input: float
    per_spike: float
    off: float
    quoted: tuple[float, float]
    band: tuple[float, float]

    def of(self, time: float, inputs: Array, spikes: Array) -> Array:
        """J, of neurons that got ``inputs`` and gave ``spikes`` in ``time`` (s)."""
        found: Array = self.power * time + self.per_input * np.asarray(inputs) + self.per_spike * np.asarray(spikes)
        return found

    def beyond(self, spikes: NDArray[np.bool_], step: float) -> float:
        """Share of the time between inputs of ``spikes`` (trains, steps) that is in intervals outside the band."""
        found = np.concatenate([np.diff(np.flatnonzero(row)) * step for row in spikes])
        low, high = self.band
        outside = (found < low * (1.0 - 1e-9)) | (found > high * (1.0 + 1e-9))
        return float(found[outside].sum() / found.sum()) if found.size else 1.0


def measured_energy(simulator: Simulator) -> NeuronEnergy:
    """Run the bench; tens of seconds."""
    bench = Testbench.load(BENCH)
    run = bench.run(simulator)
    stimulus = bench.file.stimuli["input"]
    assert isinstance(stimulus, Spikes)
    sweep = bench.file.analyses["rates"].sweep["interval"]
    intervals = [one.value for one in sweep]
    names = ("spikes", "energy_core", "energy_bias", "energy_gates", "bias_power", "drive_per_input")
    return fitted(stimulus.count, (min(intervals), max(intervals)), *(run[name].values for name in names))


def fitted(
    inputs: int,
    band: tuple[float, float],
    spikes: Array,
    core: Array,
    bias: Array,
    gates: Array,
    power: Array,
    drive: Array,
) -> NeuronEnergy:
    """From the values of a bench's runs, (runs,) each: output spikes, J per output spike of the three parts, W, and J
    per input; ``band`` (s) of their intervals.
    """
    columns = np.column_stack([np.full(spikes.shape, float(inputs)), spikes])
    per_input, per_spike = np.linalg.lstsq(columns, core * spikes, rcond=None)[0]
    off = np.abs(columns @ [per_input, per_spike] - core * spikes) / (core * spikes)
    whole = core + bias + gates
    return NeuronEnergy(
        float(np.mean(power)), float(per_input + np.mean(drive)), float(per_spike), float(off.max()),
        (float(whole.min()), float(whole.max())), band,
    )  # fmt: skip
