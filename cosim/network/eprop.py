"""Eligibility propagation for a layer of recurrent spiking neurons (arXiv 2411.18272, Eqs. 9-17; Bellec et al., Nat.
Commun. 11:3625, 2020).

Neurons are `Subtracting`: leaky integrators that lose their threshold when they spike (Eqs. 9-11). A synapse has its
presynaptic trace f (Eq. 14), its neuron the pseudo-derivative of a spike times the learning signal (Eq. 15), and their
product is added up until the data frame ends (Eqs. 16 and 17)::

    f(t) = e^(−dt/τ) f(t − 1) + s(t)      ψ(t) = β/V_th max(0, 1 − |u(t)/V_th − 1|)      Δw = −η Σ_t L(t) ē(t)

with ē = f ψ, low-passed as the read-out is where that leaks (Bellec's F_κ): then the sum is the exact gradient of the
loss but for paths through spikes of other neurons and of the past, which e-prop leaves out. Without a leak ē = f ψ is
the source's. L is what reaches the neuron as its teaching signal: errors of the read-outs through a projection with
``sends="error", into="signal"`` (Eq. 12). Against the source's text:

* Eq. 15 takes V(t − 1); the derivative of a spike is that at its own potential before the subtraction, u(t), and that
  is taken.
* Eqs. 13 and 17 add to a weight what lowers the error if y* − y stood there; here the sign is the gradient's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from types import SimpleNamespace as Named
from typing import Any, ClassVar

import numpy as np

from cosim.devices.base import Operand
from cosim.errors import InputError, told
from cosim.network.neurons import After, Model
from cosim.network.rules import Given, Local, Rule


@dataclass(frozen=True)
class Subtracting(Model):
    """Eqs. 9-11: ``tau`` (ms) and ``threshold``; ``u`` is the potential before a spike takes the threshold off it."""

    states: ClassVar[Mapping[str, float]] = MappingProxyType({"v": 0.0, "u": 0.0})

    tau: float
    threshold: float

    def __post_init__(self) -> None:
        if not (self.tau > 0.0 and self.threshold > 0.0):
            raise InputError(f"{told(self)} cannot work", remedy="give tau > 0 and threshold > 0")

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """What is left after a step, and the threshold."""
        return {"leak": math.exp(-ticks * dt / self.tau), "threshold": self.threshold, "gain": 1.0}

    def step(self, x: Named, drive: Operand, p: Named) -> tuple[After, Operand]:
        """Leaks and adds up."""
        u = x.v * p.leak + drive
        return {"v": u, "u": u}, u - p.threshold

    def spiked(self, x: Named, p: Named) -> After:
        """The threshold less."""
        return {"v": x.u - p.threshold}


@dataclass(frozen=True)
class Eligible(Rule):
    """What a synapse into the layer needs of its neurons: Eq. 14, and Eq. 15 without the learning signal.

    Args:
        beta: β. tau, threshold: of the postsynaptic neurons.
    """

    pre: ClassVar[Mapping[str, float]] = MappingProxyType({"f": 0.0})
    post: ClassVar[Mapping[str, float]] = MappingProxyType({"psi": 0.0})

    beta: float
    tau: float
    threshold: float

    def __post_init__(self) -> None:
        if not (self.tau > 0.0 and self.threshold > 0.0):
            raise InputError(f"{told(self)} cannot work", remedy="give tau > 0 and threshold > 0")

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """Slope of the pseudo-derivative, and what is left of traces after a step."""
        return {
            "slope": self.beta / self.threshold,
            "threshold": self.threshold,
            "leak": math.exp(-ticks * dt / self.tau),
        }

    def seen(self, s: Local) -> Any:
        """What arrives from the presynaptic neuron."""
        return s.pre.spike

    def each_pre(self, s: Local) -> Given:
        """Eq. 14."""
        return {"f": s.pre.f * s.p.leak + self.seen(s)}

    def each_post(self, s: Local) -> Given:
        """Eq. 15 without the learning signal."""
        return {"psi": s.p.slope * np.maximum(0.0, 1.0 - np.abs(s.post.u / s.p.threshold - 1.0))}


@dataclass(frozen=True)
class EProp(Eligible):
    """Into the layer, at the presynaptic spikes (module docstring); `EPropOfValues` for inputs that are values.

    Args:
        beta, tau, threshold: as of `Eligible`. rate: η. tau_out: of the read-outs (ms); 0: they do not remember.
    """

    states: ClassVar[Mapping[str, float]] = MappingProxyType({"e": 0.0, "total": 0.0})

    rate: float
    tau_out: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tau_out >= 0.0:
            raise InputError(f"{told(self)} cannot work", remedy="give tau_out >= 0")

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """The rate, and what is left of the eligibility after a step, too."""
        return {
            **super().parameters(dt, ticks=ticks),
            "rate": self.rate,
            "kappa": math.exp(-ticks * dt / self.tau_out) if self.tau_out else 0.0,
        }

    def on_step(self, s: Local) -> Given:
        """Eq. 16."""
        e = s.own.e * s.p.kappa + s.pre.f * s.post.psi
        return {"e": e, "total": s.own.total + s.post.signal * e}

    def on_end(self, s: Local) -> Given:
        """Eq. 17, down the gradient; the sum begins anew."""
        return {"change": -s.p.rate * s.own.total, "total": 0.0}


@dataclass(frozen=True)
class EPropOfValues(EProp):
    """The same for a projection that sends a value ``y`` of its source's neurons in each step."""

    def seen(self, s: Local) -> Any:
        """The value."""
        return s.pre.y


@dataclass(frozen=True)
class ReadOutDescent(Rule):
    """Eq. 13: spikes, as the read-out of ``tau_out`` (ms) remembers them, times its error; exact for a softmax."""

    pre: ClassVar[Mapping[str, float]] = {"z": 0.0}
    states: ClassVar[Mapping[str, float]] = {"total": 0.0}

    rate: float
    tau_out: float

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """Rate, and what is left of the trace after a step."""
        return {"rate": self.rate, "kappa": math.exp(-ticks * dt / self.tau_out)}

    def each_pre(self, s: Local) -> Given:
        """What the read-out holds of a spike."""
        return {"z": s.pre.z * s.p.kappa + s.pre.spike}

    def on_step(self, s: Local) -> Given:
        """Adds up."""
        return {"total": s.own.total + s.pre.z * s.post.error}

    def on_end(self, s: Local) -> Given:
        """Down the gradient; the sum begins anew."""
        return {"change": -s.p.rate * s.own.total, "total": 0.0}
