"""Leaky integrate-and-fire neurons, written once: for arrays in numpy, and compiled for scalars (`compiled`).

Source: arXiv 2510.25787 and its authors' published parameters. Membrane potentials are in units of the input neuron's
threshold, currents in threshold per ms. Between two time steps dv/dt = I − v/τ is solved exactly for a constant I:

    v ← v e^(−Δ/τ) + I τ (1 − e^(−Δ/τ))

and a spike that arrives adds its weight to v at once. A neuron that is held (refractory, or clamped by a winner) stays
at its reset potential; its hold is counted in time steps and includes the one in which it began.

The functions take and give arrays or scalars, positional only, without branches: so numba compiles what numpy runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from cosim.errors import InputError

Operand = Any


@dataclass(frozen=True)
class LIF:
    """A leaky integrate-and-fire neuron: ``tau`` ms, ``refractory`` ms; potentials in units of the input threshold."""

    tau: float
    threshold: float
    reset: float
    refractory: float

    def __post_init__(self) -> None:
        if not self.tau > 0.0 or not self.refractory >= 0.0 or not self.threshold > self.reset:
            raise InputError(
                f"{self} cannot work", remedy="a neuron needs tau > 0, refractory >= 0 and a threshold above its reset"
            )

    def leak(self, dt: float) -> float:
        """The share of the potential that is left after ``dt`` (ms)."""
        return math.exp(-dt / self.tau)

    def gain(self, dt: float) -> float:
        """What a current of 1 per ms adds in ``dt`` (ms): τ (1 − e^(−dt/τ))."""
        return -self.tau * math.expm1(-dt / self.tau)


@dataclass(frozen=True)
class ALIF(LIF):
    """A LIF neuron whose threshold rises by ``jump`` at each spike and comes back with ``tau_threshold`` (ms)."""

    jump: float
    tau_threshold: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tau_threshold > 0.0 or not self.jump >= 0.0:
            raise InputError(f"{self} cannot adapt", remedy="an adaptive neuron needs jump >= 0 and tau_threshold > 0")


def lif_step(
    v: Operand, hold: Operand, drive: Operand, leak: Operand, threshold: Operand, reset: Operand, refractory: Operand
) -> tuple[Operand, Operand, Operand]:
    """One time step of a LIF neuron: the potential, the steps that it is held, and whether it fires (0 or 1).

    ``drive`` is what the input adds to the potential in this step; ``refractory`` in steps.
    """
    hold = np.maximum(hold - 1.0, 0.0)
    free = 1.0 * (hold == 0.0)
    v = free * (v * leak + drive) + (1.0 - free) * reset
    fires = 1.0 * (v > threshold)
    v = (1.0 - fires) * v + fires * reset
    hold = (1.0 - fires) * hold + fires * refractory
    return v, hold, fires


def alif_step(
    v: Operand, hold: Operand, raised: Operand, drive: Operand, leak: Operand, threshold: Operand, relax: Operand
) -> tuple[Operand, Operand, Operand, Operand]:
    """One time step of an adaptive LIF neuron before the competition.

    Returns the potential, the steps that it is held, the rise of its threshold, and by how much the potential is above
    the raised threshold. The winner-take-all decides which neuron spikes. Reset potential: 0.
    """
    raised = raised * relax
    hold = np.maximum(hold - 1.0, 0.0)
    free = 1.0 * (hold == 0.0)
    v = free * (v * leak + drive)
    return v, hold, raised, v - threshold - raised
