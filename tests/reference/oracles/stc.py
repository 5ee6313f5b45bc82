"""The transistor-level and reduced benches of synaptic tagging and capture by the equations of their source.

M. A. Nicholson (thesis, Groningen 2024): Eq. 6 under rectangular pulses in closed form, charge over capacitance, Eqs. 1
and 4 as exponentials. Constants are Table 1's and listing A's, typed anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from reference.oracles.base import Oracle, Oracles, Table, around, between

TAU, REST, PRE, POST = 4.88e-3, 12.5e-12, 400e-12, 100e-12  # s, A: inputs times I_TH/I_TAU
THP, THD, TAILP, TAILD = 62e-12, 55e-12, 90e-12, 10e-12
LOWP, LOWD, HR, C, H0, VDD = 1.2e-15, 0.8e-15, 2.5e-15, 1.2215e-12, 0.9, 1.8
TAG, PRO, TAU_Z = 0.0151226, 0.45, 360.0
WIDTH = 792.3e-6  # s: a spike, at half of its edges
U_T, SLOPE = 25.865e-3, 1.33  # V at 27 °C; of the card, 79 mV a decade
GATE = 0.55 * 5e-15  # C: a threshold on the gate capacitance of a comparator's node
LINEAR = 70e-3  # V: within which the recovery's amplifier is linear


@dataclass(frozen=True)
class Calcium:
    """Eq. 6 from rest under pulses (start in s, height in A)."""

    pulses: tuple[tuple[float, float], ...]

    def __call__(self, t: float) -> float:
        """The current (A) at ``t`` (s)."""

        def risen(x: float) -> float:
            return -math.expm1(-x / TAU) if x > 0.0 else 0.0

        return REST + sum(i * (risen(t - start) - risen(t - start - WIDTH)) for start, i in self.pulses)

    @property
    def peak(self) -> float:
        """The largest current (A)."""
        return max(self(start + WIDTH) for start, _ in self.pulses)

    def crossings(self, level: float, *, until: float = 0.2) -> list[float]:
        """When the current passes ``level`` (s): up, down, up, ..."""
        edges = sorted({0.0, until, *(start + after for start, _ in self.pulses for after in (0.0, WIDTH))})
        return [
            brentq(lambda t: self(t) - level, a, b, xtol=1e-12)
            for a, b in pairwise(edges)
            if (self(a) - level) * (self(b) - level) < 0.0
        ]

    def above(self, level: float) -> float:
        """For how long (s) the current is above ``level``."""
        times = self.crossings(level)
        return sum(times[1::2]) - sum(times[::2])


PAIR = Calcium(((2e-3, POST), (4e-3, PRE)))


def pair() -> Oracles:
    """One pair of spikes: calcium, delays, tails of a mirror's gate (Q/t), charges."""
    off = PAIR.crossings(THP)[-1]
    ramp = (REST + PRE - THP) / TAU  # A/s
    delay = math.sqrt(2.0 * GATE / ramp)
    potentiation, depression = TAILP * PAIR.above(THP), TAILD * PAIR.above(THD)
    left = PAIR.crossings(THD)[-1]
    alone = TAILD * (left - off) / C
    return {
        "calcium_rest": around(REST, 0.03),
        "calcium_post": around(PAIR(3.9e-3), 0.03),
        "calcium_peak": around(PAIR.peak, 0.03),
        "calcium_decay": around(PAIR(14.7923e-3), 0.04),
        "potentiation_delay": between(delay / 2, delay * 2),
        "potentiation_tail_ratio": around((21e-3 - off) / (11e-3 - off), 0.25),
        "depression_tail_ratio": around((21e-3 - left) / (11e-3 - left), 0.25),
        "after_peak": between(-2 * alone, -alone / 2),
        "potentiation_charge": around(potentiation, 0.1),
        "depression_charge": around(depression, 0.1),
        "weight": weight(),
    }


def weight(stronger: float = 1.0, share: float = 0.12) -> Oracle:
    """V after a pair whose depression is so many times stronger."""
    change = (TAILP * PAIR.above(THP) - stronger * TAILD * PAIR.above(THD)) / C
    return around(H0 + change, share, of=change)


def offset() -> Oracles:
    """A subthreshold mirror with an offset."""
    three, turned = (math.exp(v / (SLOPE * U_T)) for v in (23e-3, 75e-3))
    potentiation, depression = TAILP * PAIR.above(THP) / C, turned * TAILD * PAIR.above(THD) / C
    return {
        "stronger": around(three, 0.1),
        "weight_three_sigma": weight(three, 0.15),
        "weight_turned": around(H0 + potentiation - depression, 0.15, of=depression),
    }


def full(gain: float, drive: Calcium, t: np.ndarray, *, lower: float) -> np.ndarray:
    """(n,) A: Eq. 6 in its full form, slower by 1 + I_g/i and resting ``lower`` (A) below it, by scipy."""

    def rate(time: float, i: np.ndarray) -> np.ndarray:
        given = REST + sum(height for start, height in drive.pulses if start <= time < start + WIDTH)
        return np.asarray((given - lower - i) / (TAU * (1.0 + gain / i)))

    found = solve_ivp(rate, (0.0, t[-1]), [REST - lower], t_eval=t, rtol=1e-9, atol=1e-18, max_step=1e-5)
    return np.asarray(found.y[0])


def integrator() -> Oracles:
    """Eq. 6 at rest and at its peak; half of the peak's deviation in the full form at 10 pA has to be there."""
    t = np.linspace(0.0, 40e-3, 8001)
    eq6 = np.array([PAIR(x) for x in t])
    apart = np.abs(full(10e-12, PAIR, t, lower=10e-12) - eq6)
    of_peak = float(np.max(apart) / eq6.max())
    exact = Oracle(None, 0.03, 0.03)  # the deviation of Eq. 6 from itself is none
    return {
        "rest": around(REST, 0.03),
        "calcium_post": around(PAIR(3.9e-3), 0.03),
        "peak": around(PAIR.peak, 0.03),
        **{f"{kind}{at}": exact for kind in ("deviation", "pointwise") for at in ("", "_2pa", "_3pa")},
        "deviation_10pa_trimmed": exact,
        "deviation_10pa": between(of_peak / 2, None),
    }


def model() -> Oracles:
    """The reduced synapse, whose input makes it rest at 12.5 pA."""
    t = np.array([0.0, 3.9e-3, 4e-3 + WIDTH, 14.7923e-3])
    post, peak, decay = full(1e-12, PAIR, t, lower=0.0)[1:] / THP
    return {
        "rest": around(REST / THP, 0.01),
        "calcium_post": around(post, 0.01),
        "calcium_peak": around(peak, 0.01),
        "calcium_decay": around(decay, 0.01),
        "weight": weight(),
        "fall": around(-(HR + LOWD - LOWP) / C, 0.03),
        "rise": around((HR + LOWP - LOWD) / C, 0.03),
        "late": around(-math.expm1(-100 / TAU_Z), 0.01),
        "late_below": around(0.5 * math.expm1(-100 / TAU_Z), 0.01),
        "late_shared": around(-math.expm1(-40 / TAU_Z), 0.01),
    }


def consolidation() -> Oracles:
    """A linear recovery r against listing A's tau_z; the last edges of z by a linear and by a tanh-like amplifier."""
    tau = 11.25

    def peak(factor: float) -> Oracle:
        rate = factor * HR / C
        t = tau * math.log(H0 / (rate * tau))
        return around(VDD - rate * t + H0 - rate * tau, 0.03)

    def tagged(factor: float, top: float) -> tuple[float, float]:
        """How long (s) the tag stays, without and with the amplifier's linear range."""
        rate, start = factor * HR / C, top - H0
        return (start - TAG) / rate, LINEAR / rate * math.log(math.sinh(start / LINEAR) / math.sinh(TAG / LINEAR))

    def late(factor: float) -> tuple[float, float]:
        """Of the late phase, from 20 mV below the supply and a linear amplifier to the supply and the other."""
        return -math.expm1(-tagged(factor, 1.78)[0] / tau), -math.expm1(-tagged(factor, VDD)[1] / tau)

    (slow, slow_top), (fast, fast_top) = late(7.2), late(32.0)
    step = 1.5 / 255
    at_5s = [-math.expm1(-(5.0 - latched) / tau) for latched in (0.1, 0.03)]
    return {
        "peak_slow": peak(7.2),
        "peak_fast": peak(32.0),
        "late_end_slow": Oracle(0.99 * slow, min(1.01 * slow_top, 1.0), 0.01),
        "late_end_fast": Oracle(0.99 * fast, 1.01 * fast_top, 0.01),
        "decay_relative": around(-HR / C, 0.1),
        "late_eight_bits": between(at_5s[0] - step, at_5s[1] + step),
        "bits": between(1.0 - step / at_5s[1], 1.0 + step / at_5s[1]),
    }


def leg(volts: float) -> float:
    """What a leg of a bump circuit with S = 4 takes of its current (T. Delbruck 1991)."""
    u = volts / (2.0 * SLOPE * U_T)
    return math.exp(u) / (2.0 * math.cosh(u) + 4.0 / (2.0 * math.cosh(u)))


def tagged(volts: float) -> float:
    """The comparator behind it: a logistic of slope 80 in the logarithm of the leg's current."""
    return 1.0 / (1.0 + (leg(volts) / leg(TAG)) ** -80.0)


def late() -> Oracles:
    """A ramp of 0.1 V/s from 1 s on, back from 11 s; then Eq. 4 from the protein on and below the other tag."""
    slope, grown = 0.1, -math.expm1(-1.0)
    up, up_ends, down = 1.0 + TAG / slope, 11.0 + (VDD - H0 - TAG) / slope, 11.0 + (VDD - H0 + TAG) / slope
    protein, shared = 1.0 + PRO / slope, 1.0 + (PRO - 0.2) / slope
    top = -math.expm1(-(2000.0 - protein) / TAU_Z)
    start, end = (brentq(lambda v, level=level: tagged(v) - level, 0.0, 0.1, xtol=1e-9) for level in (0.1, 0.9))
    return {
        "tag_up": around(up, 0.02, of=TAG / slope),
        "tag_up_takes": around((end - start) / slope, 0.05),
        "leg_at_rest": around(leg(0.0), 0.01),
        "leg_above": around(leg(0.1), 0.01),
        "tag_up_ends": around(up_ends, 0.02, of=TAG / slope),
        "tag_down": around(down, 0.02, of=TAG / slope),
        "protein": between(protein - 10e-3, protein + 10e-3),
        "protein_shared": between(shared - 10e-3, shared + 10e-3),
        "grown": around(grown, 0.01),
        "top": around(top, 0.002),
        "bottom": around(-0.5 + (0.5 + top) * math.exp(-(4000.0 - (down + 2000.0)) / TAU_Z), 0.004),
    }


def neuron() -> Oracles:
    """Eq. 1: 10 MOhm, 10 ms, -65, -70 and -55 mV, 2 ms; a kernel of 5 ms of the weight of h_0."""
    rest, v_th, reset, tau, kernel, h = -65e-3, -55e-3, -70e-3, 10e-3, 5e-3, 4.20075e-3

    def potential(t: float) -> float:
        return h * kernel / (tau - kernel) * (math.exp(-t / tau) - math.exp(-t / kernel))

    peak = potential(math.log(tau / kernel) * tau * kernel / (tau - kernel))
    below, above = rest + 10e6 * 0.9e-9, rest + 10e6 * 1.5e-9
    assert below < v_th
    first = 50e-3 + tau * math.log((above - rest) / (above - v_th))
    return {
        "potential": around(rest + peak, 0.01, of=peak),
        "potential_late": around(rest + potential(20e-3), 0.02, of=potential(20e-3)),
        "spikes_below": between(None, 0.0),
        "end_below": around(below, 0.005, of=below - rest),
        "interval": around(2e-3 + tau * math.log((above - reset) / (above - v_th)), 0.01),
        "first": between(first - 0.05e-3, first + 0.1e-3),
        "inhibited": around(rest - 10e6 * 1e-9, 0.01, of=10e-3),
    }


def recovery() -> Oracles:
    """Table 1's 2.5 fA with, and without, what its low currents may be."""
    return {
        "down_minus_up": around(2 * HR / C, 0.1),
        "fall": between(-(HR + LOWD) / C, -(HR - LOWP) / C),
        "rise": between((HR - LOWD) / C, (HR + LOWP) / C),
    }


def bias() -> Oracles:
    """Currents at 0.5 and 1.5 V_H0, from Fig. 8's constant ones to Eq. 3's."""
    top = 10e-3 / 4.20075e-3
    return {"potentiation_range": between(1.0, (top - 0.5) / (top - 1.5)), "depression_range": between(1.0, 1.5 / 0.5)}


def comparator() -> Oracles:
    """Charge over current: the winner's gate at 50 pA of overdrive, the loser's at the threshold; a factor of two."""
    on, off = GATE / 50e-12, GATE / THP
    return {"shortest": between(on / 2, on * 2), "longest_off": between(off / 2, off * 2)}


def rules() -> Oracles:
    """Six pairs 25 ms apart by listing A's constants: 30 and 25 pA, 50 and 10 pA, 15 pA a spike, tau_z 11.25 s."""
    thp, thd, tailp, pro, tau = 30e-12, 25e-12, 50e-12, 0.01, 11.25
    starts = [10e-3 + 25e-3 * k for k in range(6)]
    spike = 15e-12 / -math.expm1(-WIDTH / TAU)
    assert math.isclose(spike, 100e-12, rel_tol=0.01)
    both, one = (Calcium(tuple((start, count * spike) for start in starts)) for count in (2, 1))
    rise = (tailp * both.above(thp) - TAILD * both.above(thd)) / C
    fall = TAILD * one.above(thd) / C
    protein = both.crossings(thp)[0] + pro * C / (tailp - TAILD)
    ends = one.crossings(thd)[1::2]
    # the recovery of 80 fA between the spikes at most, and none: which spike passes the tag
    recovered = 80e-15 * 25e-3 / C
    steps = fall / 6, 0.7 * fall / 6 - recovered
    tags = [ends[math.ceil(TAG / step) - 1] for step in steps]
    below = [0.5 * math.expm1(-(150e-3 - tag) / tau) for tag in tags]
    return {
        "both": around(H0 + rise, 0.2, of=rise),
        **{f"only_{name}": around(H0 - fall, 0.3, of=fall) for name in ("pre", "post")},
        "late_both": around(-math.expm1(-(150e-3 - protein) / tau), 0.05),
        **{f"late_only_{name}": between(*below) for name in ("pre", "post")},
        "recovery": around(-80e-15 / C, 0.05),
    }


def beside_the_equations() -> Oracles:
    """The circuit of stc_equations: one presynaptic spike, the recovery after all of them, how long a tag lasts."""
    one = Calcium(((10e-3, PRE),))
    step = (TAILP * one.above(THP) - TAILD * one.above(THD)) / C / H0
    fastest = (HR + LOWD) / C
    top = VDD - H0 - TAG
    shortest, longest = top / fastest, top / (HR / C) + 50.0
    return {
        "circuit_step": around(1.0 + step, 0.25, of=step),
        "circuit_recovery": between(-fastest / H0, -0.9 * HR / C / H0),
        "circuit_late": between(-math.expm1(-shortest / TAU_Z), -math.expm1(-longest / TAU_Z)),
    }


ORACLES: Table = {
    "stc_spike_pair": pair,
    "stc_depression_offset": offset,
    "stc_dpi": integrator,
    "stc_dpi_filter": lambda: {"deviation": Oracle(None, 0.03), "peak": around(PAIR.peak, 0.03)},
    "stc_model": model,
    "stc_consolidation": consolidation,
    "stc_late": late,
    "stc_neuron": neuron,
    "stc_recovery": recovery,
    "stc_early_bias": bias,
    "stc_wta": comparator,
    "stc_rules": rules,
}
