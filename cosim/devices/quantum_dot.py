r"""Quantum-dot memristor: a narrow channel gated by the charge on site-controlled quantum dots.

Source: P. Maier et al., "Mimicking of pulse shape-dependent learning rules with a quantum dot memristor", J. Appl.
Phys. 120, 134503 (2016). Its Eq. 2, in the limit of a single transverse subband, with the series resistor R::

    I = (e²/h) f(E) (ΔV − I R),   f = 1 / (exp((E − µ)/kT) + 1),   E = E0 + γ n + η u,   u = ΔV − I R

and its Eqs. 4–6 for the charge on the dots::

    charging,    ΔV < V_c < 0:   dn/dt = α_c (V_c − ΔV)
    discharging, ΔV > V_d > 0:   dn/dt = −α_d (ΔV − V_d) n

**Finite bias.** Eq. 2 is the limit of u ≪ kT/e, which is 0.36 mV at 4.2 K. ``finite_bias = 1`` takes Eq. 1, whose
integral over one subband is closed, with the two reservoirs at µ ± eu/2 (our choice: the source states only that they
are eu apart)::

    I = (e²/h) (kT/e) [s(b + w) − s(b − w)],   s(z) = ln(1 + exp z),   b = −(E − µ)/kT,   w = eu/2kT

The two conductances that the source states put only 4.6 meV between empty and full dots at 4.2 K. By Eq. 1 with η = 0
full dots therefore block no more than some 11 mV; above, the wire is open whatever its charge. The blocked branch of
the source's Fig. 1(b), up to V_d = 3.9 V, follows from Eq. 2 alone, used far outside its limit. ``finite_bias = 0``,
the default, is that reading; conductances at zero bias, and so the learning rules, are the same in both.

**State.** From the source's data only the products B α_c, α_d and AB/(A + ρ) can be told, B = γ/kT. The state ``q`` is
therefore the charge as a fraction of the fully charged dots', and B n_full follows from the two conductances that the
source states, G_h (empty) and G_l (full): 1/G = R + (h/e²)(exp(x) + 1), x = x_h + q (x_l − x_h), at 4.2 K. The
temperature is the device's own, not the simulator's; x scales as 1/T.

**Series resistor.** u is the voltage on the wire, behind R. With η = 0 and Eq. 2 it is a division; otherwise the
equation is implicit: an inner node in a simulator, a bracketed Newton iteration in numpy. By Eq. 2 it has one solution
as long as the wire's resistance at its highest conductance, A = (h/e²) exp(x_h) at its temperature, exceeds R/e² (e:
Euler's number), which is asked for where η is not zero; below it the wire has a region of negative differential
conductance, for which Eq. 2, the limit of low voltages, was not made. By Eq. 1 |η| ≤ 1/2 is enough.

**Where the source contradicts itself.** Its Eq. 3 lacks the factor e²/h in the numerator. Eq. 4 has ΔV where Eqs. 5, 6
have the overdrive ΔV − V_c and ΔV − V_d: the overdrive is used. Eq. 7 lacks n0; Eq. 8's sign disagrees with Eq. 5's (in
Eq. 5, −α_c ∫(ΔV − V_c) dt raises n). The charging and discharging see the applied ΔV, not u: behind R the thresholds
would never be met in the high state. G0 ≈ 1 µS cannot be measured through 1 MΩ and rise; it is read as the wire's own,
R taken off (our reading): G_h is then 4 µS, and G_h/G0 − 1 = 3 the factor that the source states for Eq. 7. Eqs. 4–6
have no slow discharge, Sec. II has one.

**Pulse pairs.** `PAIRS` are the pulses of Table 1, by rule; Fig. 1(c) is a sketch, and the text leaves the shapes, so
that these have no free knot: straight between their amplitudes, those of the asymmetric rules on both sides of a jump
in the middle, the others equally spaced (``netlists/quantum_dot_stdp.cir`` has the same in SPICE, and says why they are
5 ms long). Eqs. 5 and 6 over straight pieces are closed.

**Our choice.** Slow discharge below V_d: the source states the regime, but no law; dn/dt = −α_s ΔV n for 0 < ΔV < V_d,
continued as −α_s V_d n above. Charging stops at the full dots (`limits`). Exponents are clipped at ±80.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cosim.devices.base import Inner, Operand, Param, State, TwoTerminal, Values
from cosim.devices.limits import within
from cosim.devices.pairs import Knots, PulsePair, beyond, pair_maps
from cosim.errors import InputError, SimulationError
from cosim.units import BOLTZMANN, CHARGE, PLANCK

if TYPE_CHECKING:
    from cosim.devices.maps import Closed, EventMap
    from cosim.devices.pulse import PulseShape

SOURCE = "J. Appl. Phys. 120, 134503 (2016)"
T_MEASURED = 4.2  # K: the conductances belong to this temperature
R_QUANTUM = PLANCK / CHARGE**2  # Ohm: one subband of one spin, as in the source's Eq. 2
EXPONENT_LIMIT = 80.0
ITERATIONS = 100
TINY = 1e-300  # V: below it a relative tolerance underflows
_ROUNDING = 256.0 * np.finfo(float).eps  # the exponent, up to 80, multiplies the rounding of its operands
WIDTH = 5e-3  # s, of every pulse


def _phases(*tops: float) -> Knots:
    """Zero, amplitudes (V) equally spaced, zero; two have a jump of a hundredth of the width between them."""
    at = (0.495, 0.505) if len(tops) == 2 else tuple((k + 1) / (len(tops) + 1) for k in range(len(tops)))
    return ((0.0, 0.0), *((share * WIDTH, top) for share, top in zip(at, tops, strict=True)), (WIDTH, 0.0))


PAIRS: Mapping[str, PulsePair] = {
    "hebbian": PulsePair(_phases(-3.0, 4.2), _phases(-2.0, 2.0)),
    "anti_hebbian": PulsePair(_phases(4.2, -2.8), _phases(2.0, -2.0)),
    "symmetric": PulsePair(_phases(-3.8, 3.8, -3.7), _phases(-2.0)),
    "anti_symmetric": PulsePair(_phases(-2.4), _phases(2.4)),
}


def _softplus(z: Operand) -> Operand:
    """ln(1 + exp z) without overflow."""
    return np.maximum(z, 0.0) + np.log1p(np.exp(np.maximum(-np.abs(z), -EXPONENT_LIMIT)))


def _occupation(z: Operand) -> Operand:
    """1/(1 + exp −z), clipped."""
    return 1.0 / (1.0 + np.exp(np.minimum(np.maximum(-z, -EXPONENT_LIMIT), EXPONENT_LIMIT)))


class QuantumDotMemristor(TwoTerminal):
    """Quantum-dot memristor between drain ``p`` and source ``n``, its series resistor included (module docstring)."""

    name = "quantum_dot_memristor"
    title = "Quantum-dot memristor"
    source = SOURCE
    states = (State("q", "q0", (0.0, 1.0), description="charge on the dots, as a fraction of the full charge"),)
    inner = (Inner("u", "voltage on the wire, behind the series resistor"),)
    ordered = (("g_low", "g_high"),)
    params = (
        Param("g_high", 0.8e-6, "S", (1e-12, 1e-3), "conductance with empty dots at 4.2 K, R included", SOURCE),
        Param("g_low", 1.4e-11, "S", (1e-30, 1e-3), "conductance with full dots at 4.2 K, R included", SOURCE),
        Param("r_series", 1e6, "Ohm", (1.0, 1e12), "series resistance", SOURCE),
        Param("v_c", -1.9, "V", (-100.0, 0.0), "charging threshold", SOURCE),
        Param("v_d", 3.9, "V", (0.0, 100.0), "discharging threshold", SOURCE),
        Param("b_alpha_c", 402.0, "1/V/s", (0.0, 1e12), "charging efficiency B·alpha_c"),
        Param("alpha_d", 1287.0, "1/V/s", (0.0, 1e12), "discharging efficiency above v_d"),
        Param("alpha_s", 0.0, "1/V/s", (0.0, 1e12), "slow discharging efficiency below v_d"),
        Param("eta", 0.0, "1", (-1.0, 1.0), "gating efficiency of the wire's own voltage, eV per V"),
        Param(
            "finite_bias",
            0.0,
            "1",
            (0.0, 1.0),
            "above 0.5: current by Eq. 1; below: by Eq. 2, the limit of low voltages",
            SOURCE,
        ),
        Param("temperature", T_MEASURED, "K", (0.01, 1000.0), "temperature of the device", SOURCE),
        Param("q0", 0.115937, "1", (0.0, 1.0), "initial state (1 µS of the wire)"),
    )

    def values(self, given: Mapping[str, Any]) -> Values:
        """As of any device; the conductances have to suit each other and R, and with η allow one solution only."""
        p = super().values(given)
        wire = 1.0 / np.asarray(p.g_high) - p.r_series - R_QUANTUM  # A
        if np.any(wire <= 0.0):
            raise InputError(
                f"g_high = {p.g_high} S of {self.name} is above what r_series = {p.r_series} Ohm lets through",
                remedy="lower one of them",
            )
        if np.any(np.asarray(p.g_low) >= p.g_high):
            raise InputError(f"g_low = {p.g_low} S of {self.name} is not below g_high = {p.g_high} S")
        warm = R_QUANTUM * (wire / R_QUANTUM) ** (T_MEASURED / np.asarray(p.temperature))  # A at the temperature
        eta, bias = np.asarray(p.eta), np.asarray(p.finite_bias)
        if np.any((bias > 0.5) & (np.abs(eta) > 0.5)):
            raise InputError(
                f"eta = {p.eta} of {self.name} is beyond ±0.5, where Eq. 1 gives more than one current",
                remedy="lower it, or set finite_bias = 0",
            )
        if np.any((eta != 0.0) & (bias <= 0.5) & (warm < p.r_series * np.exp(-2.0))):
            raise InputError(
                f"eta = {p.eta} of {self.name} gives more than one current where r_series exceeds e² times the wire",
                remedy=f"lower g_high, r_series or temperature: the wire has {float(np.min(warm)):.4g} Ohm",
            )
        return p

    def pulse_width(self, p: Values) -> float:
        """1 ms (s)."""
        return 1e-3

    def drive_level(self, p: Values) -> float:
        """1.7 times the larger threshold (V)."""
        return 1.7 * float(max(p.v_d, -p.v_c))

    def exponent_high(self, p: Values) -> Operand:
        """(E0 − µ)/kT of empty dots at 4.2 K."""
        return np.log((1.0 / p.g_high - p.r_series) / R_QUANTUM - 1.0)

    def full_charge(self, p: Values) -> Operand:
        """B n_full at 4.2 K: how far the full dots raise the exponent."""
        return np.log((1.0 / p.g_low - p.r_series) / R_QUANTUM - 1.0) - self.exponent_high(p)

    def exponent(self, u: Operand, x: Values, p: Values) -> Operand:
        """(E − µ)/kT at a wire voltage ``u`` (V), clipped."""
        raised = self.exponent_high(p) + x.q * self.full_charge(p)
        cold = raised + p.eta * u * (CHARGE / (BOLTZMANN * T_MEASURED))
        return np.minimum(np.maximum(cold * (T_MEASURED / p.temperature), -EXPONENT_LIMIT), EXPONENT_LIMIT)

    def wire_conductance(self, u: Operand, x: Values, p: Values) -> Operand:
        """Conductance (S) of the wire alone, Landauer–Büttiker, at ``u`` (V) over it."""
        return 1.0 / (R_QUANTUM * (np.exp(self.exponent(u, x, p)) + 1.0))

    def finite_current(self, u: Operand, x: Values, p: Values) -> tuple[Operand, Operand, Operand]:
        """Eq. 1 at ``u`` (V) over the wire: its current (A), and the occupation of E in either reservoir."""
        thermal = p.temperature * (BOLTZMANN / CHARGE)
        raised = (self.exponent_high(p) + x.q * self.full_charge(p)) * (T_MEASURED / p.temperature)
        half, middle = 0.5 * u / thermal, -(raised + p.eta * u / thermal)
        upper, lower = middle + half, middle - half
        # the difference of two logarithms, written as one where it would cancel
        near, level = np.clip(half, -1.0, 1.0), np.clip(middle, -EXPONENT_LIMIT, EXPONENT_LIMIT)
        small = np.log1p(2.0 * np.sinh(near) / (np.exp(-level) + np.exp(-near)))
        apart = np.where(np.abs(half) < 1.0, small, _softplus(upper) - _softplus(lower))
        return (thermal / R_QUANTUM) * apart, _occupation(upper), _occupation(lower)

    def wire_current(self, u: Operand, x: Values, p: Values) -> Operand:
        """Current (A) of the wire alone at ``u`` (V) over it: Eq. 2, or Eq. 1 with ``finite_bias``."""
        ohmic = self.wire_conductance(u, x, p) * u
        return np.where(p.finite_bias > 0.5, self.finite_current(u, x, p)[0], ohmic)

    def wire_voltage(self, v: Operand, x: Values, p: Values) -> Operand:
        """u (V) with ``v`` (V) over wire and resistor: the inner node's where ``x`` has it, else solved.

        Newton's method from the linear wire's solution; bisection where it leaves the bracket or does not close in.
        """
        if "u" in x:
            return x.u
        v = np.asarray(v, dtype=float)
        low, high = np.minimum(v, 0.0), np.maximum(v, 0.0)
        slope_of_exponent = p.eta * (CHARGE / (BOLTZMANN * p.temperature))
        u = v / (1.0 + p.r_series * self.wire_conductance(0.0, x, p))
        change = np.abs(v)
        for _ in range(ITERATIONS):
            conductance = self.wire_conductance(u, x, p)
            _, upper, lower = self.finite_current(u, x, p)
            drop = p.r_series * self.wire_current(u, x, p)
            residual = u + drop - v
            empty = 1.0 - conductance * R_QUANTUM  # 1 − f
            ohmic_slope = conductance * (1.0 - slope_of_exponent * u * empty)
            finite_slope = ((0.5 - p.eta) * upper + (0.5 + p.eta) * lower) / R_QUANTUM
            slope = 1.0 + p.r_series * np.where(p.finite_bias > 0.5, finite_slope, ohmic_slope)
            size = np.abs(v) + np.abs(u) + np.abs(drop)
            wrong = np.abs(residual) > _ROUNDING * size + TINY
            if not np.any(wrong):
                return u
            low, high = np.where(residual <= 0.0, u, low), np.where(residual >= 0.0, u, high)
            step = u - residual / np.where(slope > 0.0, slope, 1.0)
            good = (slope > 0.0) & (step >= low) & (step <= high) & (np.abs(step - u) <= 0.5 * change)
            following = np.where(good, step, 0.5 * (low + high))
            change = np.abs(following - u)
            u = np.where(wrong, following, u)
        raise SimulationError(f"the wire's voltage of {self.name} was not found", outcome="not converged")

    def balance(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """The current (A) into the node between resistor and wire."""
        return {"u": (across["pn"] - x.u) / p.r_series - self.wire_current(x.u, x, p)}

    def current(self, v: Operand, x: Values, p: Values) -> Operand:
        """Current (A) at ``v`` (V): that of the wire, which is accurate in the low state, too."""
        return self.wire_current(self.wire_voltage(v, x, p), x, p)

    def conductance(self, x: Values, p: Values) -> Operand:
        """Conductance (S) at zero bias, resistor included: the source's Eq. 3 with its factor e²/h."""
        return 1.0 / (p.r_series + 1.0 / self.wire_conductance(0.0, x, p))

    def readout(self, x: Values, p: Values) -> Mapping[str, Operand]:
        """Conductance (S) at zero bias."""
        return {"conductance": self.conductance(x, p)}

    def maps(self, p: Values, *, shape: PulseShape | None = None) -> Mapping[str, EventMap]:
        """A pulse, and the pulse pairs of the four learning rules (`cosim.devices.pairs`)."""
        return {**super().maps(p, shape=shape), **pair_maps(self, p, PAIRS, self._paired)}

    def _paired(self, pair: PulsePair) -> Closed:
        """Eqs. 5 and 6 piece by piece; on a rising piece what charges comes first."""

        def closed(x: Values, u: Values, p: Values) -> tuple[Mapping[str, Operand], Mapping[str, Operand]]:
            q = x.q
            for length, a, b in pair.pieces(u):
                filled = p.b_alpha_c / self.full_charge(p) * beyond(length, p.v_c - a, p.v_c - b)
                fast = beyond(length, a - p.v_d, b - p.v_d)
                left = np.exp(-p.alpha_d * fast - p.alpha_s * (beyond(length, a, b) - fast))
                rising, falling = np.minimum(q + filled, 1.0) * left, np.minimum(q * left + filled, 1.0)
                q = np.where(b > a, rising, falling)
            after = x.with_(q=q)
            return after, self.readout(after, p)

        return closed

    def drift(self, v: Operand, x: Values, p: Values) -> Mapping[str, Operand]:
        """dn/dt (1/s) at the applied ``v`` (V): Eqs. 5 and 6, and the slow discharge."""
        charging = within(p.b_alpha_c * np.maximum(p.v_c - v, 0.0) / self.full_charge(p), x.q)
        slow = p.alpha_s * np.minimum(np.maximum(v, 0.0), p.v_d)
        return {"q": charging - (p.alpha_d * np.maximum(v - p.v_d, 0.0) + slow) * x.q}
