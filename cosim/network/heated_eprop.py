"""Eligibility as the temperature of a differential pair, for `cosim.network.eprop` (arXiv 2411.18272, Secs. 3.2, 7.3).

In each step the heater of one device of a pair gets a pulse with a power proportional to f·|ψ L| (Eqs. 22 to 24): the
one that a write pulse has to move so that the error falls. Both devices cool::

    T±(t) = k T±(t − 1) + s max(0, ±q f)      q = −side · ψ L,  k = e^(−step/τ_TH)

in units of the rise that counts as 1 in Eq. 27. That is the single pole of Eq. 23 in closed form; ``keep`` and
``scale`` are made of a device's parameters (`cosim.network.systems.rsnn_thermal`). What the supply allows bounds both
factors: f at ``f_full`` and q at ``q_full``, and steps in which they are at the bound are counted. Nothing is written
here: who runs the network reads the temperatures after a data frame, and writes the devices.

With ``alpha`` a device's conductance follows its temperature, W(1 + α T), while the frame lasts: the cells are then
pairs of `Ideal` ones, whose states are the conductances.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from cosim.errors import InputError, told
from cosim.network.eprop import Eligible
from cosim.network.rules import Given, Local


@dataclass(frozen=True)
class HeatedEProp(Eligible):
    """Into the layer, at the presynaptic spikes (module docstring); `HeatedOfValues` for values, which are >= 0.

    Args:
        beta, tau, threshold: as of `Eligible`.
        keep: of a rise after a step. scale: rise (of that which counts as 1) per unit of f·q.
        f_full, q_full: the largest of both.
        alpha: change of a conductance per unit of the rise, relative.
        side: 1 where a write pulse raises conductances, −1 where it lowers them.
    """

    pre: ClassVar[Mapping[str, float]] = MappingProxyType({"f": 0.0, "heat": 0.0, "bound": 0.0})
    post: ClassVar[Mapping[str, float]] = MappingProxyType({"q": 0.0, "bound": 0.0})
    states: ClassVar[Mapping[str, float]] = MappingProxyType({"plus": 0.0, "minus": 0.0})

    keep: float
    scale: float
    f_full: float
    q_full: float
    alpha: float = 0.0
    side: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0.0 <= self.keep <= 1.0 and min(self.scale, self.f_full, self.q_full) > 0.0):
            raise InputError(
                f"{told(self)} cannot work", remedy="give 0 <= keep <= 1, and scale, f_full and q_full > 0"
            )

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """As they are, and those of the neurons."""
        return {
            **super().parameters(dt, ticks=ticks), "keep": self.keep**ticks, "scale": self.scale,
            "f_full": self.f_full, "q_full": self.q_full, "alpha": self.alpha, "side": self.side,
        }  # fmt: skip

    def each_pre(self, s: Local) -> Given:
        """Eq. 14, and as much of it as the gate's voltage can say."""
        f = s.pre.f * s.p.leak + self.seen(s)
        return {
            "f": f,
            "heat": np.minimum(f, s.p.f_full),
            "bound": s.pre.bound + np.where(f > s.p.f_full, 1.0, 0.0),
        }

    def each_post(self, s: Local) -> Given:
        """Eq. 15, down the gradient, within what the heater's voltage can say."""
        psi: Any = super().each_post(s)["psi"]
        q = -s.p.side * psi * s.post.signal
        return {
            "q": np.minimum(np.maximum(q, -s.p.q_full), s.p.q_full),
            "bound": s.post.bound + np.where(np.abs(q) > s.p.q_full, 1.0, 0.0),
        }

    def on_step(self, s: Local) -> Given:
        """Eqs. 16 and 23: the heated device by its pulse, both by what leaves them."""
        pulse = s.p.scale * s.pre.heat * s.post.q
        plus = s.own.plus * s.p.keep + np.maximum(pulse, 0.0)
        minus = s.own.minus * s.p.keep + np.maximum(-pulse, 0.0)
        given: dict[str, Any] = {"plus": plus, "minus": minus}
        if self.alpha:
            alpha, cell = s.p.alpha, s.cell
            given["change"] = cell.w * alpha * (plus - s.own.plus) / (1.0 + alpha * s.own.plus)
            given["change_minus"] = cell.w_minus * alpha * (minus - s.own.minus) / (1.0 + alpha * s.own.minus)
        return given


@dataclass(frozen=True)
class HeatedOfValues(HeatedEProp):
    """The same for a projection that sends a value ``y`` >= 0 of its source's neurons in each step."""

    def seen(self, s: Local) -> Any:
        """The value."""
        return s.pre.y
