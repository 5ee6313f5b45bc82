"""The constants of `cosim.network.systems.rsnn`: the source's, and those that it leaves to us."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from cosim.errors import InputError, UnknownName

OPTIMISERS = ("sgd", "adam")
INPUTS = ("signed", "split")
TRAINED = ("all", "readout")
WRITES = ("set", "alternate")
LAYOUTS = ("beside", "apart")


@dataclass(frozen=True)
class RsnnSettings:
    """The network's constants; times in ms.

    Args:
        hidden, tau, threshold, beta: of the layer (Sec. 7.2).
        rate: η per step of an utterance (``sgd``: Δw = −η Σ/steps), or Adam's.
        left: of the rate, and of the pulses of a thermal write, at the end; both fall linearly. 1: they stay.
        optimiser: "sgd" (source), or "adam".
        batch: utterances per change of the weights.
        tau_out: of the read-outs; not stated, that of the public implementations.
        filtered: whether the eligibility is low-passed as the read-out (Bellec; exact), or not (the source's Eq. 16).
        steps: per frame of 10 ms, of 10/steps ms each.
        feedback: "symmetric" (Eq. 12), or "random".
        spread: of the first weights, over 1/√(inputs of a neuron).
        inputs: "signed", a row per feature; "split", two: its positive and its negative part, so that f >= 0.
        trained: "all" weights, or the "readout" alone, with the others as they begin.
    """

    hidden: int = 200
    tau: float = 200.0
    threshold: float = 0.615
    beta: float = 0.3
    rate: float = 0.3
    left: float = 1.0
    optimiser: str = "sgd"
    batch: int = 1
    tau_out: float = 3.0
    filtered: bool = True
    steps: int = 5
    feedback: str = "symmetric"
    spread: float = 0.3
    inputs: str = "signed"
    trained: str = "all"

    def __post_init__(self) -> None:
        for name, known in (("optimiser", OPTIMISERS), ("feedback", ("symmetric", "random")), ("inputs", INPUTS)):
            if getattr(self, name) not in known:
                raise UnknownName(name, getattr(self, name), known)
        if self.trained not in TRAINED:
            raise UnknownName("part that is trained", self.trained, TRAINED)
        for name, what in (("hidden", "neuron"), ("batch", "utterance a batch"), ("steps", "step a frame")):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, and a network needs at least one {what}")
        for name in ("rate", "beta", "spread"):
            if not getattr(self, name) > 0.0:
                raise InputError(f"{name} is {getattr(self, name):g}", remedy="give a number above zero")
        if not self.tau > 0.0 or math.exp(-10.0 / self.steps / self.tau) < sys.float_info.epsilon:
            raise InputError(
                f"tau is {self.tau:g} ms, and nothing is left of a potential after a step of {10.0 / self.steps:g} ms",
                remedy=f"give {10.0 / self.steps / 30.0:.2g} ms or more",
            )
        if not 0.0 <= self.left <= 1.0:
            raise InputError(f"what is left of the rate is {self.left:g}", remedy="give a share of 0..1")

    def with_(self, **changes: Any) -> Self:
        """A copy with some values changed."""
        return replace(self, **changes)


PRESETS: Mapping[str, RsnnSettings] = {
    "source": RsnnSettings(),
    "public": RsnnSettings(tau=20.0, rate=0.01, optimiser="adam", batch=8),
    # Of a thermal synapse: one write per utterance, and as many steps an utterance as the source has (about 700). Rates
    # were chosen on held-out training utterances.
    "thermal": RsnnSettings(tau=20.0, rate=0.5, left=0.05, steps=2, filtered=False, inputs="split"),
}


@dataclass(frozen=True)
class ThermalSettings:
    """Synapses of the hidden layer; no constant of a device is among them. Where nothing is said it is our choice;
    gain, pulses and the kind of writes were chosen on held-out training utterances (docs/networks.md).

    Args:
        parameters: of the devices: the slow pole of a stack, with which eligibility decays.
        levels: of each device (source: 200 or more lose little); 0: any conductance.
        gain: weight per unit of a pair's difference.
        unit: the rise of an e-update at the bounds of f and q, as a share of the rise that counts as 1 in Eq. 27.
        f_full, q_full: those bounds, of f (Eq. 14) and of ψ L (Eq. 15).
        step: of the hardware (s), in which all cool; the source's 10 ns. e_width: of the e-update in it (s).
        tau: time constant of the temperature (s) in place of the device's own.
        pulses: published SET pulses of a write; of RESET as many as move a device in its middle as far.
        writes: "set": all are SET pulses, and a pair is refreshed; "alternate": SET and RESET take turns.
        refresh: a pair with a state beyond the second is set back by as much in both, the lower one to the first.
        alpha: temperature coefficient of the conductance (1/K) in place of the device's own.
        device_spread, cycle_spread: D_v of a, b, c, d, and C_v of ΔG (Sec. 7.5), both relative.
        coupling: of a heater to the devices beside it, over that to its own: in its row, its column, diagonally.
        screen: pairs with a device whose test step is more than so many times the nominal one are left out for good:
            they weigh nothing. 0: all are taken.
        layout: of a pair: "beside", + and − side by side in a row; "apart", all + in one array and all − in another,
            each with as many places as there are synapses.
    """

    parameters: str = "thermal_reram:stack_60nm"
    levels: int = 256
    gain: float = 1.0
    unit: float = 0.1
    f_full: float = 10.0
    q_full: float = 0.3
    step: float = 10e-9
    e_width: float = 10e-9
    tau: float | None = None
    pulses: float = 5.0
    writes: str = "set"
    refresh: tuple[float, float] = (0.2, 0.8)
    alpha: float | None = None
    device_spread: float = 0.0
    cycle_spread: float = 0.0
    coupling: tuple[float, float, float] = (0.0, 0.0, 0.0)
    screen: float = 0.0
    layout: str = "beside"

    def __post_init__(self) -> None:
        for name in ("gain", "unit", "f_full", "q_full", "step", "e_width", "pulses"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise InputError(
                    f"{name} of the synapses is {getattr(self, name):g}", remedy="give a number above zero"
                )
        for name in ("device_spread", "cycle_spread"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} of the synapses is {getattr(self, name):g}", remedy="give a number >= 0")
        if self.screen and not 1.0 < self.screen < math.inf:
            raise InputError(
                f"a screen at {self.screen:g} times the nominal step would leave out nominal devices",
                remedy="give a factor above 1, or 0 for none",
            )
        if self.writes not in WRITES:
            raise UnknownName("kind of writes", self.writes, WRITES)
        if self.layout not in LAYOUTS:
            raise UnknownName("layout of pairs", self.layout, LAYOUTS)
        low, high = self.refresh
        if not 0.0 <= low < high <= 1.0:
            raise InputError(f"a refresh from {high:g} to {low:g} is not possible", remedy="give 0 <= low < high <= 1")
        if self.tau is not None and not 0.0 < self.tau < math.inf:
            raise InputError(f"the time constant of the synapses is {self.tau:g} s", remedy="give one above zero")
        if self.e_width > self.step:
            raise InputError(
                f"an e-update of {self.e_width:g} s does not fit a step of {self.step:g} s", remedy="give a longer step"
            )
        if self.levels < 0 or self.levels == 1:
            raise InputError(f"devices with {self.levels} level hold no weight", remedy="give 2 or more, or 0")
        if len(self.coupling) != 3 or not all(0.0 <= x <= 1.0 for x in self.coupling):
            raise InputError(f"couplings of {self.coupling} are not shares", remedy="give three numbers of 0..1")

    def with_(self, **changes: Any) -> Self:
        """A copy with some values changed."""
        return replace(self, **changes)
