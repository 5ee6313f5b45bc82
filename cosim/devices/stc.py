r"""Synapse with synaptic tagging and capture in CMOS: the reduced model of its circuits, delays and tails included.

Source: M. A. Nicholson, "Modelling and Simulation of a CMOS Synapse Implementing Two-phase Plasticity" (thesis,
Groningen, 2024), Eqs. 4–6 and Fig. 8; the circuits are transistor-level in ``netlists/stc_cells.cir``.

**Calcium** (Eq. 6 in its full form; the source prints the limit I_g → 0)::

    τ (1 + I_g / i) di/dt = I_rest + I_pre·pre + I_post·post − i

**Comparators** (our model; the source's script has Heaviside functions and leaves delays out). A winner-take-all's two
input nodes are a charge Q that the difference of the currents moves; x = (V_1 − V_2)/V_winner in [−1, 1]::

    Q dx/dt = i (1 − g max(x, 0)) (1 − e^(−κ(1−x))) − I_TH (1 + g min(x, 0)) (1 − e^(−κ(1+x)))
    I_out   = I_tail / (1 + e^(−s x))

g is the input transistors' finite gain over the winner's voltage, κ = V_winner/U_T says where a loser's transistor
leaves saturation.

**Mirrors** (our model; the tails that the source saw and left out). A subthreshold mirror's gate charge makes its
current logistic, and 1/t when it is switched off: d ln I/dt = (I_in − I)/Q_m, with I_in = I_out + I_low.

**Early phase** (Fig. 8, with the circuit's saturation at both rails)::

    C dh/dt = I_p (1 + λ_p (h_0 − h)) S(V_DD − h) − I_d (1 + λ_d (h − h_0)) S(h) + I_rec,   S(v) = 1 − e^(−v/v_sat)
    I_rec   = A · i_hr · tanh((h_0 + v_off − h)/v_rec),   i_hr = i_hrp above zero, i_hrm below

The source's recovery is a sign function; an OTA's is this tanh. A accelerates the recovery alone (Fig. 11: 7.2 and 32);
the source's network accelerates both phases by 32 (Sec. 3.3.2), which is A = 32 and τ_z = 11.25 s.

**Late phase** (Eqs. 4, 5), tags and protein as steps of width v_edge, the protein latched within t_latch::

    dz/dt = α p ((z_max − z) Θ(h − h_0 − θ_tag) − (z − z_min) Θ(h_0 − h − θ_tag)) / τ_z
    p → 1 for good once |h − h_0| + others > θ_pro

``others`` is a voltage that brings Σ|h_j − h_0| of the neuron's other synapses. The weight is h + h_0 z (the script's
up to its factor β).

Contradictions of the source: its script tests the protein per synapse where Eq. 5 sums over the neuron's synapses
(leave ``others`` at 0 for the script's reading) and clamps z at 0 where Eq. 4 reaches −0.5; its tables and its listing
differ in τ_z (360 and 11.25 s, which is 360/32) and in θ_pro (0.45, 0.02 and 0.01); Eq. 6 is the DPI's limit of a large
current, which I_TH = 10 pA does not reach.

Currents are states relative to the source's: ``ca`` = i/I_THPOT, ``up`` and ``ud`` = ln(I/I_tail).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from cosim.devices.base import DeviceModel, Operand, Param, Port, State, Values
from cosim.devices.maps import EventMap, pulse_map, rest_map

if TYPE_CHECKING:
    from cosim.devices.pulse import PulseShape

SOURCE = "Nicholson 2024, Table 1"
EXPONENT_LIMIT = 60.0


def logistic(x: Operand) -> Operand:
    """1 / (1 + e^(−x)), with the exponent limited so that no engine overflows."""
    return 1.0 / (1.0 + np.exp(np.minimum(-x, EXPONENT_LIMIT)))


def saturation(v: Operand, v_sat: Operand) -> Operand:
    """1 − e^(−v/v_sat): how much of its current a subthreshold transistor carries at ``v`` (V) across it."""
    return 1.0 - np.exp(np.minimum(-v / v_sat, EXPONENT_LIMIT))


def step(v: Operand, width: Operand) -> Operand:
    """A step at 0, linear over ``width`` (V)."""
    return np.minimum(np.maximum(v / width + 0.5, 0.0), 1.0)


def comparator_rate(x: Operand, i: Operand, threshold: Operand, p: Values, *, charge: Operand) -> Operand:
    """dx/dt (1/s) of a winner-take-all with the currents ``i`` and ``threshold`` (A); ``charge`` in C."""
    first = i * (1.0 - p.wta_gain * np.maximum(x, 0.0)) * saturation(1.0 - x, 1.0 / p.wta_kappa)
    second = threshold * (1.0 + p.wta_gain * np.minimum(x, 0.0)) * saturation(1.0 + x, 1.0 / p.wta_kappa)
    return (first - second) / charge


# Of every model of the synapse. Not "gnd", which ngspice takes for node 0 in a subcircuit, too.
PORTS = (
    Port("pre", ("pre", "ref")),
    Port("post", ("post", "ref")),
    Port("others", ("others", "ref")),
    Port("weight", ("w", "ref")),
)


class StcSynapse(DeviceModel):
    """A whole synapse: spikes at ``pre`` and ``post`` (0 to V_DD), its weight as a voltage at ``w``."""

    name = "stc_synapse"
    title = "CMOS synapse with tagging and capture (reduced model)"
    source = "Nicholson 2024, Eqs. 4-6, Fig. 8"
    passive = False  # it drives its weight output
    readings = MappingProxyType({"weight": "V"})
    observables = MappingProxyType(dict.fromkeys(("calcium", "potentiation", "depression", "recovery"), "A"))
    ports = PORTS
    states = (
        State("ca", "ca_init", (0.0, 16.0), description="calcium current over I_THPOT"),
        State("xp", "x_init", (-1.0, 1.0), description="potentiation comparator"),
        State("xd", "x_init", (-1.0, 1.0), description="depression comparator"),
        State("up", "up_init", (-16.0, 2.0), description="ln of the potentiation current over I_TAILP"),
        State("ud", "ud_init", (-16.0, 2.0), description="ln of the depression current over I_TAILD"),
        State("h", "h_init", (0.0, 1.8), "V", "early-phase weight"),
        State("protein", "protein_init", (0.0, 1.0), description="latched protein availability"),
        State("z", "z_init", (-0.5, 1.0), description="late-phase weight"),
    )
    params = (
        Param("tau_ca", 4.88e-3, "s", (1e-9, 1e3), "calcium time constant of the DPI", SOURCE),
        Param("i_rest", 12.5e-12, "A", (1e-15, 1e-3), "calcium current without spikes", "I_TH I_INDC / I_TAU"),
        Param("i_pre", 400e-12, "A", (0.0, 1e-2), "calcium drive of a presynaptic spike", "listing A"),
        Param("i_post", 100e-12, "A", (0.0, 1e-2), "calcium drive of a postsynaptic spike", "listing A"),
        Param("i_gain", 1e-12, "A", (0.0, 1e-3), "DPI's I_g, which slows it at small currents"),
        Param("i_th_p", 62e-12, "A", (1e-15, 1e-3), "potentiation threshold I_THPOT", SOURCE),
        Param("i_th_d", 55e-12, "A", (1e-15, 1e-3), "depression threshold I_THDEP", SOURCE),
        Param("q_wta_p", 3e-15, "C", (1e-20, 1e-6), "charge that turns the potentiation comparator"),
        Param("q_wta_d", 3e-15, "C", (1e-20, 1e-6), "charge that turns the depression comparator"),
        Param("wta_gain", 0.2, "1", (0.0, 0.9), "finite gain of a comparator's input over its winner's voltage"),
        Param("wta_slope", 16.0, "1", (1.0, 200.0), "slope s of a comparator's output"),
        Param("wta_kappa", 20.0, "1", (2.0, 200.0), "winner's voltage over the thermal voltage"),
        Param("i_tail_p", 90e-12, "A", (1e-15, 1e-3), "high potentiation current I_TAILP", SOURCE),
        Param("i_tail_d", 10e-12, "A", (1e-15, 1e-3), "high depression current I_TAILD", SOURCE),
        Param("i_low_p", 1.2e-15, "A", (1e-22, 1e-6), "low potentiation current", SOURCE),
        Param("i_low_d", 0.8e-15, "A", (1e-22, 1e-6), "low depression current", SOURCE),
        Param("q_mirror_p", 3e-16, "C", (1e-22, 1e-6), "gate charge of the potentiation mirror per e-fold"),
        Param("q_mirror_d", 5e-16, "C", (1e-22, 1e-6), "gate charge of the depression mirrors per e-fold"),
        Param("lambda_p", 0.0, "1/V", (-0.5, 1.0), "slope of the potentiation current with the weight"),
        Param("lambda_d", 0.0, "1/V", (-0.5, 1.0), "slope of the depression current with the weight"),
        Param("c_h", 1.2215e-12, "F", (1e-18, 1e-6), "early-phase capacitor", SOURCE),
        Param("v_dd", 1.8, "V", (0.5, 1.8), "supply, the weight's upper end", SOURCE),
        Param("v_sat", 0.026, "V", (1e-3, 0.2), "saturation voltage of the output transistors"),
        Param("h0", 0.9, "V", (0.1, 1.7), "reference of the early-phase weight V_H0", SOURCE),
        Param("i_hrp", 2.5e-15, "A", (0.0, 1e-3), "recovery current below the reference", SOURCE),
        Param("i_hrm", 2.5e-15, "A", (0.0, 1e-3), "recovery current above the reference (printed i_hrn)", SOURCE),
        Param("v_rec", 0.07, "V", (1e-4, 1.0), "width of the recovery amplifier's tanh"),
        Param("v_off", 0.0, "V", (-0.1, 0.1), "offset of the recovery amplifier"),
        Param("acceleration", 1.0, "1", (1e-3, 1e6), "acceleration of the recovery", "Nicholson, Fig. 11"),
        Param("theta_tag", 0.0151226, "V", (0.0, 1.0), "tagging threshold theta_tag_c", SOURCE),
        Param("theta_pro", 0.45, "V", (0.0, 1e4), "protein threshold theta_pro_circuit", SOURCE),
        Param("alpha", 1.0, "1", (0.0, 1e3), "protein synthesis rate", "Nicholson 2024, Table 2"),
        Param("tau_z", 360.0, "s", (1e-9, 1e6), "late-phase time constant", SOURCE),
        Param("z_max", 1.0, "1", (0.0, 1.0), "upper end of the late-phase weight", "Nicholson 2024, Eq. 4"),
        Param("z_min", -0.5, "1", (-0.5, 0.0), "lower end of the late-phase weight", "Nicholson 2024, Eq. 4"),
        Param("v_edge", 1e-3, "V", (1e-6, 0.5), "width of the tag's and protein's steps"),
        Param("t_latch", 1e-2, "s", (1e-9, 10.0), "time in which the protein latches"),
        Param("g_in", 1e-15, "S", (1e-18, 1e-3), "input conductance"),
        Param("g_out", 1e-9, "S", (1e-15, 1.0), "output conductance of the weight's buffer"),
        Param("ca_init", 0.2016129, "1", (0.0, 16.0), "initial calcium current over I_THPOT", "I_rest/I_THPOT"),
        Param("x_init", -0.99, "1", (-1.0, 1.0), "initial comparators"),
        Param("up_init", -11.2, "1", (-16.0, 2.0), "initial potentiation current, ln(I_low/I_tail)"),
        Param("ud_init", -9.4, "1", (-16.0, 2.0), "initial depression current, ln(I_low/I_tail)"),
        Param("h_init", 0.9, "V", (0.0, 1.8), "initial early-phase weight", SOURCE),
        Param("protein_init", 0.0, "1", (0.0, 1.0), "initial protein availability"),
        Param("z_init", 0.0, "1", (-0.5, 1.0), "initial late-phase weight", "Nicholson 2024, Table 3"),
    )  # fmt: skip

    def drive_ranges(self, p: Values) -> Mapping[str, tuple[float, float]]:
        """Spikes at both inputs, and other synapses that change."""
        level = float(p.v_dd)
        return {"pre": (-level, level), "post": (-level, level), "others": (0.0, 0.6)}

    def pulse_width(self, p: Values) -> float:
        """An eighth of the calcium's time constant (s): forty of them cross both thresholds now and again."""
        return float(p.tau_ca) / 8.0

    def readout(self, x: Values, p: Values) -> Mapping[str, Operand]:
        """The total weight (V)."""
        return {"weight": self.weight(x, p)}

    def observe(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """The circuit's currents (A), too."""
        return {
            **super().observe(across, x, p),
            "calcium": p.i_th_p * x.ca,
            "potentiation": self.potentiation(x, p),
            "depression": self.depression(x, p),
            "recovery": self.recovery(x, p),
        }

    def state_ranges(self, p: Values) -> Mapping[str, tuple[float, float]]:
        """Calcium between rest and both inputs held high; mirrors between their low and their tail currents."""
        strongest = p.i_rest + p.i_pre + p.i_post
        return {
            **{state.name: state.bounds for state in self.states},
            "ca": (float(p.i_rest / p.i_th_p), min(float(strongest / p.i_th_p), 16.0)),
            "up": (float(np.log(p.i_low_p / p.i_tail_p)), 0.0),
            "ud": (float(np.log(p.i_low_d / p.i_tail_d)), 0.0),
            "h": (0.0, float(p.v_dd)),
            "z": (float(p.z_min), float(p.z_max)),
        }

    def maps(self, p: Values, *, shape: PulseShape | None = None) -> Mapping[str, EventMap]:
        """A spike at either input, as high as each is given, with other synapses that have moved; a rest."""
        level = (0.0, float(p.v_dd))
        spike = pulse_map(
            self, p, name="spike", shape=shape, ranges={"pre": level, "post": level, "others": (0.0, 0.6)}
        )
        return {"spike": spike, "rest": rest_map(self, p, span=(0.0, 3.0 * float(p.tau_ca)))}

    def spike(self, v: Operand, p: Values) -> Operand:
        """How much of a spike's current flows at ``v`` (V): 0 below 0, 1 above V_DD, linear between."""
        return np.minimum(np.maximum(v / p.v_dd, 0.0), 1.0)

    def weight(self, x: Values, p: Values) -> Operand:
        """Total weight (V): h + h_0 z."""
        return x.h + p.h0 * x.z

    def potentiation(self, x: Values, p: Values) -> Operand:
        """Potentiation current (A) into the capacitor."""
        level = p.i_tail_p * np.exp(x.up) * (1.0 + p.lambda_p * (p.h0 - x.h))
        return level * saturation(p.v_dd - x.h, p.v_sat)

    def depression(self, x: Values, p: Values) -> Operand:
        """Depression current (A) out of the capacitor."""
        return p.i_tail_d * np.exp(x.ud) * (1.0 + p.lambda_d * (x.h - p.h0)) * saturation(x.h, p.v_sat)

    def recovery(self, x: Values, p: Values) -> Operand:
        """Recovery current (A) into the capacitor."""
        pull = np.tanh((p.h0 + p.v_off - x.h) / p.v_rec)
        return p.acceleration * (p.i_hrp * np.maximum(pull, 0.0) + p.i_hrm * np.minimum(pull, 0.0))

    def through(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """Input conductances, and the weight's buffer."""
        flows = {name: p.g_in * across[name] for name in ("pre", "post", "others")}
        return {**flows, "weight": p.g_out * (across["weight"] - self.weight(x, p))}

    def rates(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """The equations of the module docstring."""
        i = p.i_th_p * np.maximum(x.ca, 0.0)
        drive = p.i_rest + p.i_pre * self.spike(across["pre"], p) + p.i_post * self.spike(across["post"], p)
        moved = x.h - p.h0
        tag_up, tag_down = step(moved - p.theta_tag, p.v_edge), step(-moved - p.theta_tag, p.v_edge)
        trigger = step(np.abs(moved) + across["others"] - p.theta_pro, p.v_edge)
        consolidation = tag_up * (p.z_max - x.z) - tag_down * (x.z - p.z_min)
        charging = self.potentiation(x, p) - self.depression(x, p) + self.recovery(x, p)
        return {
            "ca": (drive - i) * i / (i + p.i_gain) / (p.tau_ca * p.i_th_p),
            "xp": comparator_rate(x.xp, i, p.i_th_p, p, charge=p.q_wta_p),
            "xd": comparator_rate(x.xd, i, p.i_th_d, p, charge=p.q_wta_d),
            "up": self._mirror(x.up, x.xp, p, tail=p.i_tail_p, low=p.i_low_p, charge=p.q_mirror_p),
            "ud": self._mirror(x.ud, x.xd, p, tail=p.i_tail_d, low=p.i_low_d, charge=p.q_mirror_d),
            "h": charging / p.c_h,
            "protein": (1.0 - x.protein) * trigger / p.t_latch,
            "z": p.alpha * x.protein * consolidation / p.tau_z,
        }

    @staticmethod
    def _mirror(u: Operand, x: Operand, p: Values, *, tail: Operand, low: Operand, charge: Operand) -> Operand:
        return (low + tail * (logistic(p.wta_slope * x) - np.exp(u))) / charge
