r"""Synaptic tagging and capture as differential equations: what the CMOS synapse of `cosim.devices.stc` stands for.

Source: M. A. Nicholson (thesis, Groningen, 2024), Eqs. 2–5 and listing B, after J. Luboeinski and C. Tetzlaff
(Cogn. Comput. 15, 2022). A spike is an edge at ``pre`` or ``post`` (`cosim.devices.base.Event`)::

    dc/dt     = −A c/τ_c,             c → c + c_pre, c + c_post per spike                                  (2)
    τ_h dh/dt = A (0.1 (h_0 − h) + γ_p (h_max − h) Θ(c − θ_p) − γ_d h Θ(c − θ_d))                          (3)
    τ_z dz/dt = A α p ((z_max − z) Θ(h − h_0 − θ_tag) − (z − z_min) Θ(h_0 − h − θ_tag))                    (4)
    p → 1 for good once |h − h_0| + others > θ_pro                                                         (5)

A is the acceleration of everything: the circuit's constants are those of A = 10 (Fig. 9). The steps Θ are linear over
``c_edge`` and ``v_edge``, the protein latches within ``t_latch``. ``others`` is a voltage that brings Σ|h_j − h_0| of
the neuron's other synapses. The weight is h + h_0 z.

t_c,delay of Eq. 2 is a delay line before ``pre`` (``stc_delay`` of ``netlists/stc_neuron.cir``), as no finite set of
states delays a spike. The source's code leaves it out. Left out of [11] by the source, and here: calcium-dependent
noise, and the two conditions under which noise and plasticity act (Sec. 3.2.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from cosim.devices.base import DeviceModel, Event, Operand, Param, State, Values
from cosim.devices.stc import PORTS, step

SOURCE = "Nicholson 2024, Table 2"


def _spiked(port: str, jump: str) -> Event:
    return Event(
        port,
        lambda across, x, p: (across[port] - p.v_spike) / p.band + 0.5,
        lambda across, x, p: {"c": p[jump]},
        "settle",
    )


class StcEquations(DeviceModel):
    """Eqs. 2–5: spikes at ``pre`` and ``post``, the weight as a voltage at ``w``."""

    name = "stc_equations"
    title = "Synapse with tagging and capture (differential equations)"
    source = "Nicholson 2024, Eqs. 2-5"
    passive = False  # it drives its weight
    readings = MappingProxyType({"weight": "V"})
    ports = PORTS
    states = (
        State("c", "c_init", (0.0, 20.0), description="calcium concentration (mM)"),
        State("h", "h_init", (0.0, 20e-3), "V", "early-phase weight"),
        State("protein", "protein_init", (0.0, 1.0), description="latched protein availability"),
        State("z", "z_init", (-0.5, 1.0), description="late-phase weight"),
    )
    events = (_spiked("pre", "c_pre"), _spiked("post", "c_post"))
    params = (
        Param("c_pre", 0.6, "1", (0.0, 10.0), "calcium (mM) of a presynaptic spike", SOURCE),
        Param("c_post", 0.1655, "1", (0.0, 10.0), "calcium (mM) of a postsynaptic spike", SOURCE),
        Param("tau_c", 48.8e-3, "s", (1e-9, 1e3), "calcium time constant", SOURCE),
        Param("tau_h", 688.4, "s", (1e-9, 1e6), "early-phase time constant", SOURCE),
        Param("gamma_p", 1645.6, "1", (0.0, 1e6), "potentiation rate", SOURCE),
        Param("gamma_d", 313.1, "1", (0.0, 1e6), "depression rate", SOURCE),
        Param("theta_p", 0.3, "1", (1e-3, 20.0), "calcium (mM) that potentiates", SOURCE),
        Param("theta_d", 0.2, "1", (1e-3, 20.0), "calcium (mM) that depresses", SOURCE),
        Param("h0", 4.20075e-3, "V", (0.0, 20e-3), "reference of the early-phase weight", SOURCE),
        Param("h_max", 10e-3, "V", (0.0, 20e-3), "largest early-phase weight", SOURCE),
        Param("theta_pro", 2.3e-3, "V", (0.0, 10.0), "protein threshold", SOURCE),
        Param("theta_tag", 0.0640149e-3, "V", (0.0, 20e-3), "tagging threshold", SOURCE),
        Param("alpha", 1.0, "1", (0.0, 1e3), "protein synthesis rate", SOURCE),
        Param("tau_z", 3600.0, "s", (1e-9, 1e6), "late-phase time constant", SOURCE),
        Param("z_max", 1.0, "1", (0.0, 1.0), "upper end of the late-phase weight", SOURCE),
        Param("z_min", -0.5, "1", (-0.5, 0.0), "lower end of the late-phase weight", SOURCE),
        Param("acceleration", 1.0, "1", (1e-3, 1e6), "acceleration of all rates"),
        Param("v_spike", 0.9, "V", (1e-3, 20.0), "voltage of a spike's edge"),
        Param("band", 0.2, "V", (1e-3, 10.0), "voltage from no spike to a full one, centred on the level"),
        Param("settle", 20e-6, "s", (1e-12, 1.0), "time constant with which a spike is spent and re-armed"),
        Param("c_edge", 2e-3, "1", (1e-9, 1.0), "width (mM) of the calcium thresholds"),
        Param("v_edge", 2e-6, "V", (1e-12, 1e-2), "width of the tag's and protein's steps"),
        Param("t_latch", 1e-3, "s", (1e-9, 10.0), "time in which the protein latches"),
        Param("g_in", 1e-15, "S", (1e-18, 1e-3), "input conductance"),
        Param("g_out", 1e-6, "S", (1e-15, 1.0), "output conductance of the weight's buffer"),
        Param("c_init", 0.0, "1", (0.0, 20.0), "initial calcium (mM)"),
        Param("h_init", 4.20075e-3, "V", (0.0, 20e-3), "initial early-phase weight", SOURCE),
        Param("protein_init", 0.0, "1", (0.0, 1.0), "initial protein availability"),
        Param("z_init", 0.0, "1", (-0.5, 1.0), "initial late-phase weight", "listing A; 0.1 in listing B"),
    )  # fmt: skip

    def drive_ranges(self, p: Values) -> Mapping[str, tuple[float, float]]:
        """Spikes at both inputs, and other synapses that change."""
        level = 2.0 * float(p.v_spike)
        return {"pre": (-level, level), "post": (-level, level), "others": (0.0, 2.0 * float(p.theta_pro))}

    def pulse_width(self, p: Values) -> float:
        """A hundred times as long as a spike takes to be spent (s)."""
        return 100.0 * float(p.settle)

    def readout(self, x: Values, p: Values) -> Mapping[str, Operand]:
        """The total weight (V): h + h_0 z."""
        return {"weight": x.h + p.h0 * x.z}

    def state_ranges(self, p: Values) -> Mapping[str, tuple[float, float]]:
        """Calcium up to twice the higher threshold."""
        own = {state.name: state.bounds for state in self.states}
        top = min(2.0 * float(max(p.theta_p, p.theta_d)), 20.0)
        return {**own, "c": (0.0, top), "h": (0.0, float(p.h_max)), "z": (float(p.z_min), float(p.z_max))}

    def through(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """Input conductances, and the weight's buffer."""
        flows = {name: p.g_in * across[name] for name in ("pre", "post", "others")}
        return {**flows, "weight": p.g_out * (across["weight"] - x.h - p.h0 * x.z)}

    def rates(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """Eqs. 2–5 between spikes."""
        up, down = step(x.c - p.theta_p, p.c_edge), step(x.c - p.theta_d, p.c_edge)
        moved = x.h - p.h0
        tag_up, tag_down = step(moved - p.theta_tag, p.v_edge), step(-moved - p.theta_tag, p.v_edge)
        early = 0.1 * (p.h0 - x.h) + p.gamma_p * (p.h_max - x.h) * up - p.gamma_d * x.h * down
        late = tag_up * (p.z_max - x.z) - tag_down * (x.z - p.z_min)
        return {
            "c": -p.acceleration * x.c / p.tau_c,
            "h": p.acceleration * early / p.tau_h,
            "protein": (1.0 - x.protein) * step(np.abs(moved) + across["others"] - p.theta_pro, p.v_edge) / p.t_latch,
            "z": p.acceleration * p.alpha * x.protein * late / p.tau_z,
        }
