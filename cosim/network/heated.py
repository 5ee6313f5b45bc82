"""Eligibility as the temperature of a synapse, and neurons that choose (arXiv 2411.18272, Sec. 5.1).

`Chooser` is the source's action neuron: a leaky integrator of which the one with the highest potential acts in each
step, and has its potential halved (homeostasis). The leak of a step is not stated: half is our choice.

`HeatedEligibility` is Eqs. 4-6 on cells of the thermal ReRAM's map "published". The synapse from the mouse's place to
the action that was taken is heated by one pulse (Eq. 4, +1), and by itself everything cools (Eq. 5, the factor γ per
step); that is the device's own rest map, and no number of this rule. Unlike Eq. 4 the heated synapse cools in that step
as well, as Eq. 23 has it. At the end of an episode the whole array gets its write pulses: SET or RESET, and how many,
says the reward (Eq. 6); how much a cell moves, its temperature (Eq. 27). Of a differential pair one half has sign −1.

Eq. 6 sums e over the episode; what is there at its end is the temperature, which Eq. 4 has accumulated already. It is
that which a write pulse can see, and that is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from types import SimpleNamespace as Named
from typing import ClassVar

import numpy as np

from cosim.devices.base import Operand
from cosim.errors import InputError, told
from cosim.network.neurons import After, Model
from cosim.network.rules import Given, Local, Rule

LOWEST = -1e3  # far below any potential: somebody always acts


@dataclass(frozen=True)
class Chooser(Model):
    """An action neuron: of its potential ``keep`` is left after a step, and ``halve`` of that after it acted."""

    states: ClassVar[Mapping[str, float]] = MappingProxyType({"v": 0.0})

    keep: float = 0.5
    halve: float = 0.5

    def __post_init__(self) -> None:
        if not (0.0 <= self.keep < 1.0 and 0.0 <= self.halve <= 1.0):
            raise InputError(f"{told(self)} cannot work", remedy="give 0 <= keep < 1 and 0 <= halve <= 1")

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """What is left after a step, whatever its length."""
        return {"keep": self.keep**ticks, "halve": self.halve, "gain": 1.0}

    def step(self, x: Named, drive: Operand, p: Named) -> tuple[After, Operand]:
        """Leaks and adds up; always above `LOWEST`."""
        v = x.v * p.keep + drive
        return {"v": v}, v - LOWEST

    def spiked(self, x: Named, p: Named) -> After:
        """Homeostasis."""
        return {"v": x.v * p.halve}


def worth(reward: Operand, best: Operand, chi: Operand) -> Operand:
    """1/(1 + e^-r) - χ of Eq. 6, r the ``reward`` in units of the ``best``."""
    found: Operand = 1.0 / (1.0 + np.exp(-reward / best)) - chi
    return found


@dataclass(frozen=True)
class HeatedEligibility(Rule):
    """Reward-gated writing of heated cells (module docstring).

    Args:
        sign: 1, or -1 of the second half of a pair.
        volts: at the heater, for one e-update.
        pulses: published pulses per unit of 1/(1 + e^-r) - chi.
        chi: χ of Eq. 6. best: the highest positive reward, which r is in units of.
        spread: C_v of Sec. 7.5: ΔG is normal with this relative deviation.
    """

    states: ClassVar[Mapping[str, float]] = MappingProxyType({"heated": 0.0})
    noisy: ClassVar[bool] = True

    sign: float
    volts: float
    pulses: float
    best: float
    chi: float = 0.5
    spread: float = 0.0

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """As they are."""
        return {
            "volts": self.volts, "pulses": self.sign * self.pulses, "best": self.best, "chi": self.chi,
            "spread": self.spread,
        }  # fmt: skip

    def on_pre(self, s: Local) -> Given:
        """Eq. 4: the cell from the place to the action that was taken."""
        taken = s.post.spike > 0.0
        heated = np.where(taken, 1.0, s.own.heated)
        return {"when": taken, "heater": s.p.volts, "pulses": 0.0, "scatter": 0.0, "heated": heated}

    def on_end(self, s: Local) -> Given:
        """Eq. 6: cells that nothing heated would not move."""
        return {
            "when": s.own.heated > 0.0,
            "heater": 0.0,
            "pulses": s.p.pulses * worth(s.post.signal, s.p.best, s.p.chi),
            "scatter": s.p.spread * s.random,
        }
