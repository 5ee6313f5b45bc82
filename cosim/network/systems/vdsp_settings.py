"""The constants of `cosim.network.systems.vdsp`: the published ones, and those that suit other images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from cosim.errors import InputError, UnknownName, require_finite
from cosim.network.encoders import CurrentEncoder
from cosim.network.neurons import ALIF, LIF, whole_steps
from cosim.network.plasticity import threshold_cell
from cosim.network.wires import Wires
from cosim.surrogate.model import Surrogate

# The learning rules (`cosim.network.systems.vdsp_rules`), the first of which is the usual one.
RULES = ("vdsp", "pair-stdp", "post-stdp", "vdsp-post")
DRIVES = ("published", "annealed", "overdriven")
# Steps (potentiation, depression) of `overdriven` for a parameter set that has none of its own: those of TiO2.
OVERDRIVE = (0.55, 0.9)
TAU_TRACE = 20.0  # ms: of the traces of STDP (Song, Miller, Abbott, Nat. Neurosci. 3:919, 2000)
BIAS = 1.28 / 29.0  # thresholds per ms
# The authors' published currents (arXiv 2510.25787).
ENCODER = CurrentEncoder(gain=0.2, cut=0.1, noise=0.2, bias=BIAS, bias_noise=0.9793 * BIAS)


@dataclass(frozen=True)
class VdspSettings:
    """The network's constants: the authors' published ones, but for the last fourteen (our choice).

    Args:
        neurons: output neurons.
        encoder, input, output: currents and neurons.
        presentation, gap: of an image and after it, in ms.
        inhibition: how long a winner clamps the others, in ms.
        dt: time step in ms.
        scale_p, scale_d: scale factors of potentiation and depression; None: `default_scales`.
        w_init: range of the uniform initial states.
        scale_p_end, scale_d_end: where annealing ends; None: no annealing.
        anneal_steps: steps of the annealing per epoch.
        test_presentation: of an image for the read-outs S, P and NB, in ms.
        deviation: relative standard deviation of both thresholds from cell to cell; a certificate's ``spread`` of the
            same figure covers it.
        wires: resistances of the crossbar's wires when the trained network is read; None: none. Learning is without
            them, as it solves no array at each pulse.
        width, width_end: length of the programming pulses, edges and all, over that of the surrogate's; where its
            annealing ends (None: no annealing). The step is that of a pulse whose waveform is compressed in time:
            proportional to the length. A certificate is of the full length, and says nothing about shorter pulses.
        test_threshold: of the output neurons for the read-outs that take the test protocol; None: as they learned.
        gate_p, gate_d: the neuron programs only where its potential is below −gate_p or above gate_d; None: no gate.
        resistance_deviation: relative standard deviation of the conductances of both ends of a cell's range; None: 0.
        rule: one of `RULES`; None: VDSP.
        tau_pre, tau_post: of the traces of STDP, in ms; None: `TAU_TRACE`.
        cycle_deviation: relative standard deviation of both thresholds from pulse to pulse (of VDSP); None: 0.

    >>> cosim.VdspSettings(neurons=50).with_(deviation=0.1).deviation
    0.1
    """

    neurons: int = 200
    encoder: CurrentEncoder = ENCODER
    input: LIF = field(default_factory=lambda: LIF(tau=29.0, threshold=1.0, reset=-1.0, refractory=1.0))
    output: ALIF = field(
        default_factory=lambda: ALIF(tau=11.51, threshold=8.2, reset=0.0, refractory=3.0, jump=1.1, tau_threshold=115.1)
    )
    presentation: float = 40.0
    gap: float = 100.0
    inhibition: float = 12.0
    dt: float = 1.0
    scale_p: float | None = None
    scale_d: float | None = None
    w_init: tuple[float, float] = (0.0, 1.0)
    scale_p_end: float | None = None
    scale_d_end: float | None = None
    anneal_steps: int = 20
    test_presentation: float = 100.0
    deviation: float = 0.0
    wires: Wires | None = None
    width: float = 1.0
    width_end: float | None = None
    test_threshold: float | None = None
    gate_p: float | None = None
    gate_d: float | None = None
    resistance_deviation: float | None = None
    rule: str | None = None
    tau_pre: float | None = None
    tau_post: float | None = None
    cycle_deviation: float | None = None

    def __post_init__(self) -> None:
        require_finite(self)
        for name, count in (("output neuron", self.neurons), ("annealing step", self.anneal_steps)):
            if count < 1:
                raise InputError(f"the network needs at least one {name}, not {count}", remedy="give 1 or more")
            if count != int(count):
                raise InputError(f"a network cannot have {count:g} {name}s", remedy="give a whole number")
        for name in ("scale_p", "scale_d", "scale_p_end", "scale_d_end", "tau_pre", "tau_post"):
            if (value := getattr(self, name)) is not None and not value > 0.0:
                raise InputError(f"{name} has to be above zero, not {value:g}", remedy="leave it out for the usual one")
        if not 0.0 < self.dt <= min(self.presentation, self.test_presentation) or self.gap < 0 or self.inhibition < 0:
            raise InputError("the times of the network do not fit its time step", remedy="give times >= dt > 0")
        for name in ("presentation", "gap", "test_presentation"):
            whole_steps(getattr(self, name), self.dt, f"the time {name}")
        if not 0.0 <= self.w_init[0] <= self.w_init[1] <= 1.0:
            raise InputError(f"initial states need a range within 0..1, not {self.w_init}", remedy="give e.g. (0, 1)")
        if not 0.0 <= self.deviation < 1.0:
            raise InputError(
                f"the deviation has to be at least 0 and below 1, not {self.deviation:g}",
                remedy="give e.g. 0.2 for 20 %",
            )
        if not 0.0 <= (self.resistance_deviation or 0.0) < 1.0:
            raise InputError(
                f"the deviation of the resistances has to be at least 0 and below 1, not {self.resistance_deviation:g}",
                remedy="give e.g. 0.2 for 20 %",
            )
        if not 0.0 <= (self.cycle_deviation or 0.0) < 1.0:
            raise InputError(
                f"the deviation from pulse to pulse has to be at least 0 and below 1, not {self.cycle_deviation:g}",
                remedy="give e.g. 0.2 for 20 %",
            )
        if self.cycle_deviation and self.rule not in (None, RULES[0]):
            raise InputError(f"a deviation from pulse to pulse is for VDSP, not for {self.rule}", remedy="leave it out")
        if not min(self.gate_p or 0.0, self.gate_d or 0.0) >= 0.0:
            raise InputError(f"gates of {self.gate_p} and {self.gate_d} are not magnitudes", remedy="give e.g. 0.95")
        if self.rule is not None and self.rule not in RULES:
            raise UnknownName("learning rule", self.rule, RULES)
        widths = (self.width,) if self.width_end is None else (self.width, self.width_end)
        if not all(0.0 < width < np.inf for width in widths):
            raise InputError(
                f"pulses of {' to '.join(f'{width:g}' for width in widths)} times the surrogate's cannot be made",
                remedy="give widths above zero, e.g. 1 to 0.05",
            )

    @property
    def scales_width(self) -> bool:
        """Whether programming pulses are of another length than the surrogate's."""
        return self.width != 1.0 or self.width_end is not None

    def fingerprint(self) -> str:
        """SHA-256 of all values that are given."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()

    def with_(self, **changes: Any) -> Self:
        """A copy with some values changed."""
        return replace(self, **changes)


# Settings that a map is often drawn over, in words, with units; any other is called by its name.
LABELS: Mapping[str, str] = MappingProxyType(
    {
        "neurons": "output neurons",
        "scale_p": "scale factor of potentiation, V over θ",
        "scale_d": "scale factor of depression, V over θ",
        "width": "length of a pulse over the surrogate's",
        "deviation": "relative standard deviation of the thresholds",
        "resistance_deviation": "relative standard deviation of the conductances",
        "cycle_deviation": "relative standard deviation of the thresholds from pulse to pulse",
        "presentation": "presentation of an image (ms)",
        "gap": "gap between images (ms)",
        "inhibition": "inhibition by the winner (ms)",
        "tau_pre": "time constant of the presynaptic trace (ms)",
        "tau_post": "time constant of the postsynaptic trace (ms)",
        "input.tau": "time constant of the inputs (ms)",
        "output.tau": "time constant of the outputs (ms)",
        "output.threshold": "threshold of the outputs (input thresholds)",
        "output.jump": "rise of an output's threshold per spike (input thresholds)",
        "encoder.noise": "noise of a bright pixel, σ/mean per step",
        "encoder.bias": "bias current (thresholds per ms)",
    }
)


def annealed(neurons: int = 200) -> VdspSettings:
    """The published network with pulses that become shorter while it learns, from their full length to a twentieth.

    Our choice: scale factors stay those of the technology, so that what is programmed stays what it is while the steps
    become smaller; thresholds of 11 to learn with and 13 to be read with. It is meant to be trained for three epochs.
    """
    return _with_short_ends(VdspSettings(neurons=neurons))


def _with_short_ends(base: VdspSettings) -> VdspSettings:
    """Thresholds in the proportions of 8.2 to 11 and 13; the width ends at a twentieth."""
    threshold = base.output.threshold
    output = replace(base.output, threshold=threshold * 11.0 / 8.2)
    return base.with_(output=output, width_end=base.width * 0.05, test_threshold=threshold * 13.0 / 8.2)


def overdriven(
    surrogate: Surrogate,
    base: VdspSettings | None = None,
    *,
    step_p: float | None = None,
    step_d: float | None = None,
    width: float = 0.09,
    gates: tuple[float, float] = (0.95, 0.8),
) -> VdspSettings:
    """The annealed network (or ``base``) with scale factors far above 1 and pulses that are shorter by as much.

    Our choice, found on held-out training images. Of a pulse of full length the overdrive would move a cell by
    ``step_p`` or ``step_d`` (of a distance 1 from the bound, at V_mem = ∓1), so that a technology's exponent decides
    its scale factors; where they are not given they are those of its parameter set, else `OVERDRIVE`. ``width`` takes
    the step back to what a network can learn with. Far above the threshold its scatter from cell to cell counts less,
    and ``gates`` (potentiation, depression) make the dead zone in its place.
    """
    p, cell, own = surrogate.parameters.resolved(), threshold_cell(surrogate), surrogate.parameters.plasticity
    if step_p is None:
        step_p = own["step_p"].value if "step_p" in own else OVERDRIVE[0]
    if step_d is None:
        step_d = own["step_d"].value if "step_d" in own else OVERDRIVE[1]
    potentiates, depresses = (float(theta) for theta in cell.thresholds(p))
    return (base or annealed()).with_(
        scale_p=round(float(cell.reach(p, step=step_p)[0]) / potentiates, 3),
        scale_d=round(float(cell.reach(p, step=step_d)[1]) / depresses, 3),
        width=width,
        width_end=width * 0.05,
        gate_p=gates[0],
        gate_d=gates[1],
    )


def driven(name: str, base: VdspSettings, surrogate: Surrogate) -> VdspSettings:
    """``base`` as it is ("published"), with pulses that become shorter ("annealed"), or "overdriven" as well."""
    if name not in DRIVES:
        raise UnknownName("way to drive the cells", name, DRIVES)
    if name == DRIVES[0]:
        return base
    short = _with_short_ends(base)
    return short if name == DRIVES[1] else overdriven(surrogate, short)


def vdsp_preset(name: str) -> tuple[VdspSettings, int]:
    """Settings and epochs that suit an image set: the published ones for MNIST, and for a file of one's own, of which
    nothing is known; our choice, tuned, for the digits.

    For the digits: 64 inputs drive the output neurons less. The threshold (of 6, 7, 8.2, its jump in proportion) and no
    annealing of the potentiation were chosen on the last 400 of the 1400 training images, three seeds each, without a
    look at the test images.

    >>> settings, epochs = cosim.vdsp_preset("digits")
    >>> settings.neurons, epochs
    (100, 10)
    """
    if name == "mnist":
        return VdspSettings(), 1
    if name.endswith(".npz"):
        return VdspSettings(), 1
    if name == "digits":
        published = VdspSettings()
        output = replace(published.output, threshold=7.0, jump=0.94)
        return published.with_(neurons=100, output=output), 10
    raise UnknownName("image set", name, ("digits", "mnist"))
