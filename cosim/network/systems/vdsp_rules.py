"""The learning rules that `cosim.network.systems.vdsp` can run on its cells: VDSP, and STDP to compare it with.

All of them program by the same amplifier: a voltage of θ · scale factor is what a quantity of 1 gives, so that they are
tuned by the same factors. Of VDSP that quantity is the presynaptic potential; of ``vdsp-post``, which
the source's text describes and its code does not run, the postsynaptic one at a presynaptic spike; of STDP a trace,
which is 1 right after a spike and decays with ``tau_pre`` or ``tau_post`` (nearest spikes; our choice)::

    pair STDP   at a presynaptic spike   V = + θ_n · scale_d · y     at a postsynaptic one   V = − θ_p · scale_p · x
    post STDP   at a postsynaptic spike  V = θ_n · scale_d − (θ_n · scale_d + θ_p · scale_p) · x

so that post STDP gives the full depressing voltage to an input without a recent spike, and the full potentiating one to
an input that has just spiked.
"""

from __future__ import annotations

from cosim.errors import UnknownName
from cosim.network.plasticity import PairStdp, PostStdp, PostVdsp, StochasticVdsp, Vdsp
from cosim.network.rules import Rule
from cosim.network.systems.vdsp_settings import RULES, TAU_TRACE, VdspSettings
from cosim.surrogate.model import Surrogate


def rule_of(settings: VdspSettings, surrogate: Surrogate, *, scale_p: float, scale_d: float) -> Rule:
    """The rule of the settings on the nominal cell of a surrogate, with these scale factors."""
    vdsp = Vdsp.of(
        surrogate,
        scale_p=scale_p,
        scale_d=scale_d,
        gate_p=settings.gate_p or 0.0,
        gate_d=settings.gate_d or 0.0,
    )
    chosen = settings.rule or RULES[0]
    if chosen == "vdsp-post":
        neuron = settings.output
        middle, half = 0.5 * (neuron.threshold + neuron.reset), 0.5 * (neuron.threshold - neuron.reset)
        return PostVdsp(**vars(vdsp), middle=middle, half=half)
    if chosen == RULES[0]:
        cycle = settings.cycle_deviation
        return StochasticVdsp(**vars(vdsp), cycle=cycle) if cycle else vdsp
    up, down = vdsp.threshold_p * scale_p, vdsp.threshold_d * scale_d
    tau_pre, tau_post = settings.tau_pre or TAU_TRACE, settings.tau_post or TAU_TRACE
    if chosen == "pair-stdp":
        return PairStdp(tau_pre=tau_pre, tau_post=tau_post, at_pre=down, at_post=-up, nearest=True, input=vdsp.input)
    if chosen == "post-stdp":
        return PostStdp(tau_pre=tau_pre, at_post=-(up + down), offset=down / (up + down), input=vdsp.input)
    raise UnknownName("learning rule", chosen, RULES)
