"""Models of neurons, written once: on arrays in numpy, and traced into compiled code (`cosim.network.kernel`).

Source: arXiv 2510.25787 and its authors' published parameters. Membrane potentials are in units of the input neuron's
threshold, currents in threshold per ms. Between two time steps dv/dt = I − v/τ is solved exactly for a constant I:

    v ← v e^(−Δ/τ) + I τ (1 − e^(−Δ/τ))

and a spike that arrives adds its weight to v at once. A neuron that is held (refractory, or clamped by a winner) stays
at its reset potential; its hold is counted in time steps, rounded up, and includes the one in which it began.

Between two presentations may lie a gap, taken as one long step (`Model.idle`): nothing arrives in it and nothing fires.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from types import SimpleNamespace as Named
from typing import ClassVar

import numpy as np

from cosim.devices.base import Operand
from cosim.errors import InputError, told

After = dict[str, Operand]
NOTHING = np.array(0.0)  # a number as numpy takes it fastest
NOTHING.flags.writeable = False


class Model(ABC):
    """What a neuron does in a time step; its functions take arrays or recording operands, and use no branches.

    Attributes:
        states: by name, with the values at rest.
        spiking: whether it spikes at all.
        pools: whether `finish` needs `pooled`, the sum of something over the population (a softmax, for one). It and
            `pooled` find the largest `level` of the population in ``x.top``.
        holds: the state that counts down, a step at a time, while a neuron is held, and with its last step to 0; "":
            there is none. A `step` that has the keyword ``held`` gets ``held=False`` where no neuron is held in it, and
            that state is 0, which spares numpy the operations on it.
    """

    states: ClassVar[Mapping[str, float]] = MappingProxyType({})
    spiking: ClassVar[bool] = True
    pools: ClassVar[bool] = False
    holds: ClassVar[str] = ""

    @abstractmethod
    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """What `step` uses, for steps of ``dt`` (ms), or one long step of ``ticks`` of them; ``gain`` is what a current
        of 1 adds in a step.
        """

    @abstractmethod
    def step(self, x: Named, drive: Operand, p: Named) -> tuple[After, Operand]:
        """One time step: the states after it, and by how much the neuron is above its threshold: it fires where that is
        above zero. ``drive`` is what input and spikes add to the potential.
        """

    def idle(self, x: Named, p: Named) -> After:
        """The states after a gap, with the parameters of its ``ticks``: those after as many steps without a drive."""
        return self.step(x, 0.0, p)[0]

    def spiked(self, x: Named, p: Named) -> After:
        """The states that a spike of its own changes."""
        return {}

    def inhibited(self, x: Named, p: Named) -> After:
        """The states that the winner of a competition changes; it holds the others for ``p.clamp`` steps."""
        return {}

    def level(self, x: Named, p: Named) -> Operand:
        """What the largest of the population is taken of after a step."""
        return 0.0

    def pooled(self, x: Named, p: Named) -> Operand:
        """What is summed over the population after a step."""
        return 0.0

    def finish(self, x: Named, pool: Operand, signal: Operand, p: Named) -> After:
        """The states that depend on the population's sum, and on the teaching signal."""
        return {}


def whole_steps(time: float, dt: float, what: str) -> int:
    """A time (ms) in time steps; raises `InputError` where these are not whole."""
    steps = round(time / dt)
    if abs(time / dt - steps) > 1e-9 * max(steps, 1):
        raise InputError(
            f"{what} is {time:g} ms, which is not a whole number of time steps of {dt:g} ms",
            remedy=f"give e.g. {steps * dt:g} or {(steps + 1) * dt:g} ms",
        )
    return steps


def steps_held(time: float, dt: float) -> float:
    """For how many steps of ``dt`` (ms) a neuron is held, the one in which it begins among them."""
    return float(math.ceil(time / dt - 1e-9))


@dataclass(frozen=True)
class LIF(Model):
    """A leaky integrate-and-fire neuron: ``tau`` ms, ``refractory`` ms; potentials in units of the input threshold."""

    states: ClassVar[Mapping[str, float]] = MappingProxyType({"v": 0.0, "hold": 0.0})
    holds: ClassVar[str] = "hold"

    tau: float
    threshold: float
    reset: float
    refractory: float

    def __post_init__(self) -> None:
        if not self.tau > 0.0 or not self.refractory >= 0.0 or not self.threshold > self.reset:
            raise InputError(
                f"{told(self)} cannot work",
                remedy="a neuron needs tau > 0, refractory >= 0 and a threshold above its reset",
            )

    def leak(self, dt: float) -> float:
        """The share of the potential that is left after ``dt`` (ms)."""
        return math.exp(-dt / self.tau)

    def gain(self, dt: float) -> float:
        """What a current of 1 per ms adds in ``dt`` (ms): τ (1 − e^(−dt/τ))."""
        return -self.tau * math.expm1(-dt / self.tau)

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """Leak, gain, threshold, reset, and the refractory time in steps."""
        return {
            "leak": self.leak(ticks * dt),
            "gain": self.gain(ticks * dt),
            "threshold": self.threshold,
            "reset": self.reset,
            "refractory": steps_held(self.refractory, dt),
            "ticks": ticks,
            "rate": dt / self.tau,
        }

    def step(self, x: Named, drive: Operand, p: Named, *, held: bool = True) -> tuple[After, Operand]:
        """Held at the reset, or leaking and driven."""
        hold, v = x.hold, x.v * p.leak + drive
        if held:
            hold = np.maximum(hold - p.ticks, NOTHING)
            v = np.where(hold > NOTHING, p.reset, v)
        return {"v": v, "hold": hold}, v - p.threshold

    def idle(self, x: Named, p: Named) -> After:
        """A neuron that is held leaks for the rest of the gap alone."""
        held = np.minimum(np.maximum(x.hold - 1.0, 0.0), p.ticks)
        after = super().idle(x, p)
        return {**after, "v": np.where(held > 0.0, p.reset * np.exp((held - p.ticks) * p.rate), after["v"])}

    def spiked(self, x: Named, p: Named) -> After:
        """Reset and refractory."""
        return {"v": p.reset, "hold": p.refractory}

    def inhibited(self, x: Named, p: Named) -> After:
        """Reset, and held for as long as the competition's clamp."""
        return {"v": p.reset, "hold": np.maximum(x.hold, p.clamp)}


@dataclass(frozen=True)
class ALIF(LIF):
    """A LIF neuron whose threshold rises by ``jump`` at each spike and comes back with ``tau_threshold`` (ms)."""

    states: ClassVar[Mapping[str, float]] = MappingProxyType({"v": 0.0, "hold": 0.0, "raised": 0.0})

    jump: float
    tau_threshold: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tau_threshold > 0.0 or not self.jump >= 0.0:
            raise InputError(
                f"{told(self)} cannot adapt", remedy="an adaptive neuron needs jump >= 0 and tau_threshold > 0"
            )

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """Those of a LIF neuron, the jump, and what is left of the raised threshold."""
        return super().parameters(dt, ticks=ticks) | {
            "jump": self.jump,
            "relax": math.exp(-ticks * dt / self.tau_threshold),
        }

    def step(self, x: Named, drive: Operand, p: Named, *, held: bool = True) -> tuple[After, Operand]:
        """A LIF neuron's step against the raised threshold."""
        after, above = super().step(x, drive, p, held=held)
        raised = x.raised * p.relax
        return {**after, "raised": raised}, above - raised

    def spiked(self, x: Named, p: Named) -> After:
        """Reset, refractory, and harder to excite."""
        return {**super().spiked(x, p), "raised": x.raised + p.jump}


@dataclass(frozen=True)
class Leaky(Model):
    """A leaky integrator that does not spike: a read-out, with ``tau`` in ms; it adds up what arrives in ``y``."""

    states: ClassVar[Mapping[str, float]] = MappingProxyType({"y": 0.0})
    spiking: ClassVar[bool] = False

    tau: float

    def __post_init__(self) -> None:
        if not self.tau > 0.0:
            raise InputError(f"{told(self)} cannot work", remedy="a read-out needs tau > 0")

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """What is left after a step."""
        return {"leak": math.exp(-ticks * dt / self.tau), "gain": 1.0}

    def step(self, x: Named, drive: Operand, p: Named) -> tuple[After, Operand]:
        """Leaks and adds up."""
        return {"y": x.y * p.leak + drive}, 0.0


@dataclass(frozen=True)
class Softmax(Leaky):
    """A leaky read-out with the share e^y / Σ e^y of each neuron, and its ``error``: the share less the teaching
    signal, which is 1 for the neuron of the right class.
    """

    states: ClassVar[Mapping[str, float]] = MappingProxyType({"y": 0.0, "share": 0.0, "error": 0.0})
    pools: ClassVar[bool] = True

    def step(self, x: Named, drive: Operand, p: Named) -> tuple[After, Operand]:
        """Leaks and adds up."""
        after, above = super().step(x, drive, p)
        return {**after, "share": x.share, "error": x.error}, above

    def level(self, x: Named, p: Named) -> Operand:
        """Its y."""
        return x.y

    def pooled(self, x: Named, p: Named) -> Operand:
        """e^y over that of the neuron with the largest y."""
        return np.exp(x.y - x.top)

    def finish(self, x: Named, pool: Operand, signal: Operand, p: Named) -> After:
        """Shares and errors."""
        share = np.exp(x.y - x.top) / pool
        return {"share": share, "error": share - signal}


@dataclass(frozen=True)
class Source(Model):
    """A source of spikes without a state: it fires where its drive is above zero, as `Poisson` encodes it."""

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """None but the gain."""
        return {"gain": 1.0}

    def step(self, x: Named, drive: Operand, p: Named) -> tuple[After, Operand]:
        """Fires where it is driven."""
        return {}, drive


@dataclass(frozen=True)
class Regular(Model):
    """A source of evenly spaced spikes: its phase grows by the drive, and each whole turn is a spike."""

    states: ClassVar[Mapping[str, float]] = MappingProxyType({"phase": 0.0})

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """None but the gain."""
        return {"gain": 1.0}

    def step(self, x: Named, drive: Operand, p: Named) -> tuple[After, Operand]:
        """The phase goes on; rounding (1e-9 of a turn) does not delay a spike."""
        phase = x.phase + drive
        return {"phase": phase}, phase - (1.0 - 1e-9)

    def spiked(self, x: Named, p: Named) -> After:
        """A turn less."""
        return {"phase": x.phase - 1.0}


@dataclass(frozen=True)
class WinnerTakesAll:
    """In each step at most one neuron fires, the one farthest above its threshold; it resets the others, and holds them
    for ``clamp`` ms. Of a population of equal ``groups``, neuron by neuron, each group competes within itself.
    """

    clamp: float = 0.0
    groups: int = 1

    def __post_init__(self) -> None:
        if not self.clamp >= 0.0:
            raise InputError(f"a winner cannot clamp the others for {self.clamp} ms", remedy="give a time >= 0")
        if self.groups < 1:
            raise InputError(f"a competition needs at least one group, not {self.groups}")
