"""Learning rules: the voltages that a neuron's spike puts on the rows of its column.

Voltage-dependent synaptic plasticity (arXiv 2510.25787; Front. Neurosci. 16:983950): at the **post**synaptic spike the
**pre**synaptic membrane potentials are amplified onto the rows. A low potential follows a presynaptic spike and
potentiates; a high one precedes a spike that did not come in time, and depresses::

    V_prog = V_mem · θ_p · scale_p   for V_mem < 0        V_prog = V_mem · θ_n · scale_d   for V_mem > 0

The thresholds θ are those of the nominal cell, since one amplifier drives a whole row. In a 1T1R cell θ is the voltage
over the cell that puts the memristor's θ on a memristor in mid-state (our choice).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.devices.pulse import PulseCell
from cosim.errors import InputError
from cosim.surrogate.model import Surrogate

# Steps of w at V_mem = ±1 and unit distance from the bound that an unknown cell is tuned to: our choice, those of TiO2.
STEPS = (0.14, 0.05)


@dataclass(frozen=True)
class PostSpike:
    """The local quantities that a rule sees at a postsynaptic spike.

    Args:
        neuron: the one that spikes.
        step: time steps since the presentation began, the spike's own included.
        potential: (n,) presynaptic potentials after this step.
        starts, sources: presynaptic spikes of the presentation: ``sources[starts[t]:starts[t + 1]]`` in step t.
    """

    neuron: int
    step: int
    potential: Array
    starts: NDArray[np.int64]
    sources: NDArray[np.int64]


class LearningRule(Protocol):
    """A learning rule: the voltages that a postsynaptic spike puts on the rows."""

    def amplitudes(self, spike: PostSpike) -> Array:
        """(n,) V on the rows while the spiking neuron's column is selected."""
        ...


@dataclass(frozen=True)
class Vdsp:
    """Voltage-dependent synaptic plasticity: thresholds (V, magnitudes) over the cell and scale factors, each of
    potentiation and of depression (module docstring).
    """

    threshold_p: float
    threshold_d: float
    scale_p: float
    scale_d: float

    def __post_init__(self) -> None:
        if min(self.threshold_p, self.threshold_d, self.scale_p, self.scale_d) <= 0.0:
            raise InputError(f"{self} cannot program", remedy="give thresholds and scale factors above zero")

    def amplitudes(self, spike: PostSpike) -> Array:
        """V_prog of each row."""
        v = spike.potential
        return v * np.where(v < 0.0, self.threshold_p * self.scale_p, self.threshold_d * self.scale_d)

    @classmethod
    def of(cls, surrogate: Surrogate, *, scale_p: float, scale_d: float) -> Vdsp:
        """With the thresholds of a surrogate's nominal cell."""
        cell, p = threshold_cell(surrogate), surrogate.parameters.resolved()
        negative, positive = (float(theta) for theta in cell.thresholds(p))
        return cls(-cell.voltage(-negative, p), cell.voltage(positive, p), scale_p, scale_d)


def threshold_cell(surrogate: Surrogate) -> PulseCell:
    """The cell whose thresholds the rule amplifies to; raises `InputError` for a map without."""
    if surrogate.map.pulse is None:
        raise InputError(
            f"voltage-dependent plasticity needs a pulse in closed form with thresholds (DeviceModel.pulse_cell), "
            f"which the map {surrogate.name} of {surrogate.device} does not have",
            remedy="take a surrogate of e.g. cell_1t1r",
        )
    return surrogate.map.pulse.cell


def default_scales(surrogate: Surrogate) -> tuple[float, float]:
    """Scale factors (depression, potentiation): those that the parameter set carries for this rule, else by `STEPS`."""
    given = surrogate.parameters.plasticity
    if "scale_d" in given and "scale_p" in given:
        return given["scale_d"].value, given["scale_p"].value
    p, cell = surrogate.parameters.resolved(), threshold_cell(surrogate)
    potentiates, depresses = (float(theta) for theta in cell.thresholds(p))
    return (
        float(cell.reach(p, step=STEPS[0])[1]) / depresses,
        float(cell.reach(p, step=STEPS[1])[0]) / potentiates,
    )
