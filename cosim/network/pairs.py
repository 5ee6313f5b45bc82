"""Learning from pairs of pulses: each neuron sends one pulse in a presentation, and a synapse sees the two of them.

A neuron that spikes starts its pulse, which takes milliseconds and meets the other neuron's at the synapse. Both rules
note when either spike came to the synapse (the last one; a projection's delay counts), and act when the presentation
has ended and nothing overlaps any more:

* `PulsePairs` hands delay and presence of the two pulses to cells whose map is a pulse pair's
  (`cosim.devices.pairs`): what they do is the device's, a pulse without a partner included.
* `IdealWindow` changes ideal weights by exponentials of the delay (Song, Miller, Abbott, Nat. Neurosci. 3:919, 2000)::

    Δt > 0: after · e^(−Δt/τ)    Δt < 0: before · e^(Δt/τ)    Δt = 0: their mean    and alone, at each presynaptic spike

`Unit` is a neuron without memory, for networks whose time is that of pulses.
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

LONG_AGO = -1e9  # ms
MS = 1e-3


@dataclass(frozen=True)
class Unit(Model):
    """Fires where what arrives in a step exceeds ``threshold``; ``v`` is what arrived, ``fired`` whether it fired."""

    states: ClassVar[Mapping[str, float]] = MappingProxyType({"v": 0.0, "fired": 0.0})

    threshold: float = 0.0

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """The threshold."""
        return {"threshold": self.threshold, "gain": 1.0}

    def step(self, x: Named, drive: Operand, p: Named) -> tuple[After, Operand]:
        """Forgets, and takes what arrives."""
        return {"v": 0.0 * x.v + drive, "fired": 0.0 * x.fired}, drive - p.threshold

    def spiked(self, x: Named, p: Named) -> After:
        """Notes it."""
        return {"fired": 1.0}


@dataclass(frozen=True)
class _OfPairs(Rule):
    """Notes spikes; what is older than ``span`` (ms) belongs to a presentation before: it is to be longer than any of
    them, and not longer than the gap between two.
    """

    pre: ClassVar[Mapping[str, float]] = MappingProxyType({"at": LONG_AGO})
    post: ClassVar[Mapping[str, float]] = MappingProxyType({"at": LONG_AGO})

    span: float

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """The span."""
        return {"span": self.span}

    def each_pre(self, s: Local) -> Given:
        """When it spiked."""
        return {"at": np.where(s.pre.spike > 0.0, s.now, s.pre.at)}

    def each_post(self, s: Local) -> Given:
        """When it spiked."""
        return {"at": np.where(s.post.spike > 0.0, s.now, s.post.at)}

    def seen(self, s: Local) -> tuple[Operand, Operand, Operand]:
        """Delay (ms; 0 where a pulse is missing), and whether there is a presynaptic and a postsynaptic pulse."""
        pre = np.where(s.pre.at > s.now - s.p.span, 1.0, 0.0)
        post = np.where(s.post.at > s.now - s.p.span, 1.0, 0.0)
        return np.where(pre * post > 0.0, s.post.at - s.pre.at, 0.0), pre, post


@dataclass(frozen=True)
class PulsePairs(_OfPairs):
    """Cells are programmed by the pulses that overlap on them; pairs farther apart than ``reach`` (ms) are as far."""

    reach: float

    def __post_init__(self) -> None:
        if not 0.0 < self.reach <= self.span:
            raise InputError(f"{told(self)} cannot work", remedy="give a reach (ms) above zero, and at most the span")

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """Span and reach."""
        return {"span": self.span, "reach": self.reach}

    def on_end(self, s: Local) -> Given:
        """One pair, or a pulse without a partner."""
        delay, pre, post = self.seen(s)
        held = np.minimum(np.maximum(delay, -s.p.reach), s.p.reach)
        return {"when": pre + post > 0.0, "delay": MS * held, "pre": pre, "post": post}


@dataclass(frozen=True)
class IdealWindow(_OfPairs):
    """Ideal weights change by the window of the module docstring; ``tau`` in ms."""

    after: float
    before: float
    tau: float
    alone: float = 0.0

    def __post_init__(self) -> None:
        if not self.tau > 0.0:
            raise InputError(f"{told(self)} cannot work", remedy="give tau > 0")

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """All of it."""
        window = {"after": self.after, "before": self.before, "tau": self.tau, "alone": self.alone}
        return {"span": self.span, **window}

    def on_end(self, s: Local) -> Given:
        """By the delay."""
        delay, pre, post = self.seen(s)
        mean = 0.5 * (s.p.after + s.p.before)
        side = np.where(delay > 0.0, s.p.after, np.where(delay < 0.0, s.p.before, mean))
        return {"change": pre * post * side * np.exp(-np.abs(delay) / s.p.tau) + pre * s.p.alone}
