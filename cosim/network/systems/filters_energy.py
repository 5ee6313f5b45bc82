"""What a neuron with its synapse draws, from the runs of its circuit's bench: per input, per spike, and all the time.

    E = power · t + per_input · inputs + per_spike · spikes

The bench (`BENCH`) sends the same number of inputs at several rates, so that least squares over its runs tell an output
spike from what comes with the inputs. Bias power and the gates' charge have measures of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosim.bench.stimulus_kinds import Spikes
from cosim.bench.testbench import Testbench
from cosim.devices.base import Array
from cosim.engines.simulator import Simulator

BENCH = "ecram_lif_energy"


@dataclass(frozen=True)
class NeuronEnergy:
    """Of one neuron and its synapse: ``power`` (W), ``per_input`` and ``per_spike`` (J).

    ``off`` is the largest relative difference of the sum from a run of the bench; ``quoted`` (J) are the smallest and
    largest energy per output spike of its runs, everything counted.
    """

    power: float
    per_input: float
    per_spike: float
    off: float
    quoted: tuple[float, float]

    def of(self, time: float, inputs: Array, spikes: Array) -> Array:
        """J, of neurons that got ``inputs`` and gave ``spikes`` in ``time`` (s)."""
        found: Array = self.power * time + self.per_input * np.asarray(inputs) + self.per_spike * np.asarray(spikes)
        return found


def measured_energy(simulator: Simulator) -> NeuronEnergy:
    """Run the bench; tens of seconds."""
    bench = Testbench.load(BENCH)
    run = bench.run(simulator)
    stimulus = bench.file.stimuli["input"]
    assert isinstance(stimulus, Spikes)
    return fitted(
        stimulus.count, *(run[name].values for name in ("spikes", "energy_core", "energy_bias", "energy_gates",
                                                       "bias_power", "drive_per_input")),
    )  # fmt: skip


def fitted(
    inputs: int, spikes: Array, core: Array, bias: Array, gates: Array, power: Array, drive: Array
) -> NeuronEnergy:
    """From the values of a bench's runs, (runs,) each: output spikes, J per output spike of the three parts, W, and J
    per input.
    """
    columns = np.column_stack([np.full(spikes.shape, float(inputs)), spikes])
    per_input, per_spike = np.linalg.lstsq(columns, core * spikes, rcond=None)[0]
    off = np.abs(columns @ [per_input, per_spike] - core * spikes) / (core * spikes)
    whole = core + bias + gates
    return NeuronEnergy(
        float(np.mean(power)), float(per_input + np.mean(drive)), float(per_spike), float(off.max()),
        (float(whole.min()), float(whole.max())),
    )  # fmt: skip
