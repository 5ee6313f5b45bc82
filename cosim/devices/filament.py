r"""Filament ReRAM: the Stanford/PKU model, in which a gap between filament and electrode sets the current.

Source: X. Guan, S. Yu, H.-S. P. Wong, "A SPICE Compact Model of Metal Oxide Resistive Switching Memory With
Variations", IEEE Electron Device Lett. 33, 1405 (2012); Z. Jiang et al., "A Compact Model for Metal–Oxide Resistive
Random Access Memory With Experiment Verification", IEEE Trans. Electron Devices 63, 1884 (2016), with the values of its
published release 1.0.0 (doi 10.4231/D37H1DN48). Gap g (m)::

    I = I0 exp(−g/g0) sinh(V/V0)
    dg/dt = −v0 exp(−E_a/kT) sinh(γ (a0/t_ox) qV/kT),   γ = γ0 − β (g/1 nm)³, 0 below the field F_min: γ|V|/t_ox
    T = T_amb + |V I| R_th

The state is ``x`` = (g_max − g)/(g_max − g_min): 1 with the filament closed, 0 with the widest gap. A positive voltage
closes it.

Deviations (our choice): γ rises from 0 at F_min to its value within 1 % of it, where the release jumps; g stops
continuously within a thousandth of its range (`limits`), where the release clips it; the cycle-to-cycle variation, a
random drift in the release, is left to the parameters of a Monte Carlo run; exponents are limited to 80.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cosim.devices.base import Operand, Param, State, TwoTerminal, Values
from cosim.devices.limits import within
from cosim.units import BOLTZMANN, CHARGE

SOURCE = "IEEE EDL 33, 1405 (2012); IEEE TED 63, 1884 (2016)"
NANOMETRE = 1e-9
FIELD_RAMP = 0.01
EXPONENT_LIMIT = 80.0


def _limited(exponent: Operand) -> Operand:
    return np.minimum(np.maximum(exponent, -EXPONENT_LIMIT), EXPONENT_LIMIT)


class FilamentReram(TwoTerminal):
    """Stanford/PKU filament ReRAM (module docstring)."""

    name = "filament_reram"
    title = "Filament ReRAM (Stanford/PKU)"
    source = SOURCE
    states = (State("x", "x0", (0.0, 1.0), description="1 filament closed (g_min), 0 widest gap (g_max)"),)
    ordered = (("g_min", "g_max"),)
    params = (
        Param("i_0", 1e-3, "A", (1e-15, 1.0), "current scale I0", SOURCE),
        Param("g_0", 0.25e-9, "m", (1e-12, 1e-7), "decay length of the current", SOURCE),
        Param("v_0", 0.25, "V", (1e-3, 100.0), "voltage scale of the current", SOURCE),
        Param("vel_0", 10.0, "m/s", (0.0, 1e12), "speed scale v0 of the gap", SOURCE),
        Param("gamma_0", 16.0, "1", (0.0, 1000.0), "local field enhancement at zero gap", SOURCE),
        Param("beta", 0.8, "1", (0.0, 1000.0), "decrease of the enhancement with the gap's cube", SOURCE),
        Param("e_a", 0.6, "V", (0.0, 10.0), "activation energy in eV, divided by the electron charge", SOURCE),
        Param("a_0", 0.25e-9, "m", (1e-12, 1e-7), "hopping distance", SOURCE),
        Param("t_ox", 12e-9, "m", (1e-10, 1e-3), "oxide thickness", SOURCE),
        Param("f_min", 1.4e9, "V/m", (0.0, 1e12), "least enhanced field that moves the gap", SOURCE),
        Param("r_th", 2.1e3, "K/W", (0.0, 1e12), "thermal resistance", SOURCE),
        Param("t_amb", 298.0, "K", (1.0, 2000.0), "ambient temperature", SOURCE),
        Param("g_min", 0.2e-9, "m", (0.0, 1e-7), "smallest gap", SOURCE),
        Param("g_max", 1.7e-9, "m", (1e-12, 1e-6), "widest gap", SOURCE),
        Param("x0", 1.0, "1", (0.0, 1.0), "initial state", SOURCE),
    )

    def drive_level(self, p: Values) -> float:
        """0.92 times the voltage (V) at which the widest gap begins to close: the closed filament opens and closes."""
        gamma = p.gamma_0 - p.beta * (p.g_max / NANOMETRE) ** 3
        return 0.92 * float(p.f_min * p.t_ox / gamma)

    def pulse_width(self, p: Values) -> float:
        """40 ns (s): the heated filament is fast."""
        return 40e-9

    def gap(self, x: Values, p: Values) -> Operand:
        """g (m) in state ``x``."""
        return p.g_max - x.x * (p.g_max - p.g_min)

    def current(self, v: Operand, x: Values, p: Values) -> Operand:
        """Current (A) at ``v`` (V)."""
        return p.i_0 * np.exp(-self.gap(x, p) / p.g_0) * np.sinh(_limited(v / p.v_0))

    def temperature(self, v: Operand, x: Values, p: Values) -> Operand:
        """Temperature of the filament (K) at ``v`` (V): in balance with the power at every instant."""
        return p.t_amb + v * self.current(v, x, p) * p.r_th

    def drift(self, v: Operand, x: Values, p: Values) -> Mapping[str, Operand]:
        """dx/dt (1/s) at ``v`` (V)."""
        relative = self.gap(x, p) / NANOMETRE
        gamma = p.gamma_0 - p.beta * relative * relative * relative
        above = gamma * np.abs(v) / p.t_ox - p.f_min
        moved = np.minimum(np.maximum(above / (FIELD_RAMP * np.maximum(p.f_min, 1.0)), 0.0), 1.0)
        thermal = (BOLTZMANN / CHARGE) * self.temperature(v, x, p)  # kT/q in V
        hop = np.sinh(_limited(moved * gamma * (p.a_0 / p.t_ox) * v / thermal))
        closing = p.vel_0 * np.exp(-p.e_a / thermal) * hop
        return {"x": within(closing / (p.g_max - p.g_min), x.x)}
