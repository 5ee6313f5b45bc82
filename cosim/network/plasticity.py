"""Learning rules that ship (`cosim.network.rules` says what a rule is).

Voltage-dependent synaptic plasticity (arXiv 2510.25787; Front. Neurosci. 16:983950): at the **post**synaptic spike the
**pre**synaptic membrane potentials are amplified onto the rows. A low potential follows a presynaptic spike and
potentiates; a high one precedes a spike that did not come in time, and depresses::

    V_prog = V_mem · θ_p · scale_p   for V_mem < 0        V_prog = V_mem · θ_n · scale_d   for V_mem > 0

The thresholds θ are those of the nominal cell, since one amplifier drives a whole row. In a 1T1R cell θ is the voltage
over the cell that puts the memristor's θ on a memristor in mid-state (our choice). With gates (our choice) the neuron
programs only where V_mem is below −gate_p or above gate_d, so that the neuron and not the device makes the dead zone.

`PostVdsp` is the rule as a summary of arXiv 2510.25787 tells it, which its authors' public code does not follow: at the
**pre**synaptic spike the **post**synaptic potential decides; a high one comes before a postsynaptic spike and
potentiates, a low one after it and depresses. The potential is taken from the middle between reset and threshold, over
half their distance (our choice: these neurons have no negative potentials)::

    V_prog = −u · θ_p · scale_p   for u > gate_p          V_prog = −u · θ_n · scale_d   for u < −gate_d

Pair STDP (Song, Miller, Abbott, Nat. Neurosci. 3:919, 2000) by two traces, x of presynaptic and y of postsynaptic
spikes, each of which raises its own by 1 (or to 1: `PairStdp.nearest`)::

    at a presynaptic spike    input = at_pre · y            at a postsynaptic spike    input = at_post · x

`PostStdp` acts at postsynaptic spikes alone: input = at_post · (x − offset), so that a synapse without a recent
presynaptic spike changes the other way (Querlioz et al., IEEE Trans. Nanotechnol. 12:288, 2013, in the form of Diehl
and Cook, Front. Comput. Neurosci. 9:99, 2015). The input is a weight's change, or a voltage: then the signs are the
cells' own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Self

import numpy as np

from cosim.devices.pulse import PulseCell
from cosim.errors import InputError, told
from cosim.network.rules import Given, Local, Rule
from cosim.surrogate.model import Surrogate

# Steps of w at V_mem = ±1 and unit distance from the bound that an unknown cell is tuned to: our choice, those of TiO2.
STEPS = (0.14, 0.05)


@dataclass(frozen=True)
class Amplified(Rule):
    """A membrane potential is amplified onto the cells: thresholds (V, magnitudes) over the cell, scale factors and
    gates (magnitudes of the potential), each of potentiation and of depression (module docstring); ``input`` of the
    cells' map takes the voltage.
    """

    threshold_p: float
    threshold_d: float
    scale_p: float
    scale_d: float
    gate_p: float = 0.0
    gate_d: float = 0.0
    input: str = "amplitude"

    def __post_init__(self) -> None:
        if not min(self.gate_p, self.gate_d) >= 0.0:
            raise InputError(f"{told(self)} has a negative gate", remedy="give magnitudes of V_mem, >= 0")
        if min(self.threshold_p, self.threshold_d, self.scale_p, self.scale_d) <= 0.0:
            raise InputError(f"{told(self)} cannot program", remedy="give thresholds and scale factors above zero")

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """Volts per potential, and gates of it."""
        up, down = self.threshold_p * self.scale_p, self.threshold_d * self.scale_d
        return {"up": up, "down": down, "gate_p": self.gate_p, "gate_d": self.gate_d}

    @classmethod
    def of(
        cls, surrogate: Surrogate, *, scale_p: float, scale_d: float, gate_p: float = 0.0, gate_d: float = 0.0
    ) -> Self:
        """With the thresholds of a surrogate's nominal cell."""
        cell, p = threshold_cell(surrogate), surrogate.parameters.resolved()
        negative, positive = (float(theta) for theta in cell.thresholds(p))
        return cls(-cell.voltage(-negative, p), cell.voltage(positive, p), scale_p, scale_d, gate_p, gate_d)


@dataclass(frozen=True)
class Vdsp(Amplified):
    """Voltage-dependent synaptic plasticity: by the presynaptic potential, at the postsynaptic spike."""

    def on_post(self, s: Local) -> Given:
        """V_prog of each row."""
        v = s.pre.v
        return {self.input: v * np.where(v < -s.p.gate_p, s.p.up, np.where(v > s.p.gate_d, s.p.down, 0.0))}


@dataclass(frozen=True)
class StochasticVdsp(Vdsp):
    """`Vdsp` on cells whose thresholds vary from pulse to pulse: by a normal number times ``cycle`` of the nominal one,
    and never below zero.

    A threshold that is higher by ΔV acts as a voltage that is lower by ΔV, which is what the cells' map gets.
    """

    noisy: ClassVar[bool] = True

    cycle: float = 0.0

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """Those of `Vdsp`, the deviations in V, and the lowest normal number: that of a threshold of zero."""
        noise = {"noise_p": self.cycle * self.threshold_p, "noise_d": self.cycle * self.threshold_d}
        lowest = -1.0 / self.cycle if self.cycle > 0.0 else 0.0
        return {**super().parameters(dt, ticks=ticks), **noise, "lowest": lowest}

    def on_post(self, s: Local) -> Given:
        """V_prog of each row, less what each cell's threshold is higher by; it does not change its sign."""
        v, drawn = super().on_post(s)[self.input], np.maximum(s.random, s.p.lowest)
        depressing = np.where(v > 0.0, np.maximum(v - s.p.noise_d * drawn, 0.0), 0.0)
        return {self.input: np.where(v < 0.0, np.minimum(v + s.p.noise_p * drawn, 0.0), depressing)}


@dataclass(frozen=True)
class PostVdsp(Amplified):
    """By the postsynaptic potential at the presynaptic spike (module docstring), from ``middle`` and over
    ``half`` the distance between reset and threshold.
    """

    middle: float = 0.5
    half: float = 0.5

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """Those of `Amplified`, and where the potential is taken from."""
        return {**super().parameters(dt, ticks=ticks), "middle": self.middle, "half": self.half}

    def on_pre(self, s: Local) -> Given:
        """V_prog of each synapse of the row."""
        u = (s.post.v - s.p.middle) / s.p.half
        return {self.input: -u * np.where(u > s.p.gate_p, s.p.up, np.where(u < -s.p.gate_d, s.p.down, 0.0))}


@dataclass(frozen=True)
class PairStdp(Rule):
    """Pair STDP (module docstring); ``tau_pre``, ``tau_post`` in ms; it gives the ``input`` of the cells' map."""

    pre: ClassVar[Mapping[str, float]] = MappingProxyType({"trace": 0.0})
    post: ClassVar[Mapping[str, float]] = MappingProxyType({"trace": 0.0})

    tau_pre: float = 20.0
    tau_post: float = 20.0
    at_pre: float = -0.0105
    at_post: float = 0.01
    nearest: bool = False
    input: str = "change"

    def __post_init__(self) -> None:
        if not (self.tau_pre > 0.0 and self.tau_post > 0.0):
            raise InputError(f"{told(self)} cannot work", remedy="give time constants above zero")

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """What is left of the traces after a step, and the amplitudes."""
        left = {"left_pre": math.exp(-ticks * dt / self.tau_pre), "left_post": math.exp(-ticks * dt / self.tau_post)}
        return {**left, "at_pre": self.at_pre, "at_post": self.at_post}

    def _after(self, trace: float, left: float, spike: float) -> float:
        if self.nearest:
            return np.maximum(trace * left, spike)  # type: ignore[no-any-return]
        return trace * left + spike

    def each_pre(self, s: Local) -> Given:
        """The trace decays, and rises at a spike."""
        return {"trace": self._after(s.pre.trace, s.p.left_pre, s.pre.spike)}

    def each_post(self, s: Local) -> Given:
        """The trace decays, and rises at a spike."""
        return {"trace": self._after(s.post.trace, s.p.left_post, s.post.spike)}

    def on_pre(self, s: Local) -> Given:
        """By the postsynaptic trace, which decays in this step as well."""
        return {self.input: s.p.at_pre * (s.post.trace * s.p.left_post)}

    def on_post(self, s: Local) -> Given:
        """By the presynaptic trace."""
        return {self.input: s.p.at_post * s.pre.trace}


@dataclass(frozen=True)
class PostStdp(Rule):
    """STDP at postsynaptic spikes alone (module docstring); ``tau_pre`` in ms."""

    pre: ClassVar[Mapping[str, float]] = MappingProxyType({"trace": 0.0})

    tau_pre: float = 20.0
    at_post: float = 0.01
    offset: float = 0.4
    nearest: bool = True
    input: str = "change"

    def __post_init__(self) -> None:
        if not self.tau_pre > 0.0:
            raise InputError(f"{told(self)} cannot work", remedy="give a time constant above zero")

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """What is left of the trace after a step, amplitude and offset."""
        return {"left": math.exp(-ticks * dt / self.tau_pre), "at_post": self.at_post, "offset": self.offset}

    def each_pre(self, s: Local) -> Given:
        """The trace decays, and rises at a spike."""
        left = s.pre.trace * s.p.left
        return {"trace": np.maximum(left, s.pre.spike) if self.nearest else left + s.pre.spike}

    def on_post(self, s: Local) -> Given:
        """By the presynaptic trace over the offset."""
        return {self.input: s.p.at_post * (s.pre.trace - s.p.offset)}


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
