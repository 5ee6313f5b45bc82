"""The quantum-dot benches' limits by Eqs. 1 and 3 to 6 of J. Appl. Phys. 120, 134503 (2016), typed anew.

The fitted efficiencies, the charge of G0 and the slow rate of our choice are read from the sets.
"""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
from scipy.optimize import brentq

from cosim.bench.measures.stdp import change_by_action, delay_at
from cosim.parameters import ParameterSet
from reference.oracles.base import Oracle, Oracles, Table, around, between

P = ParameterSet.load("qd_2016").resolved()
H_E2 = 6.62607015e-34 / 1.602176634e-19**2
KT = 1.380649e-23 * 4.2 / 1.602176634e-19  # eV
R = 1e6
A = 1 / 0.8e-6 - R - H_E2  # of G = 1/(A exp(Bn) + rho), from G_h
RHO = R + H_E2
B_N_FULL = math.log((1 / 1.4e-11 - RHO) / A)

TABLE = {  # (S_d, S_c in powers of ms; delays between which the dots discharge; max, its delay; min, its delay)
    "a": ((0.34, 0.34, -0.17), (0.9, -0.864, -0.24), (0, 20), 1.199, 1.0, -0.813, -1.8),
    "b": ((0.96, 0, -0.08), (0.18, 0, -0.1), (-20, 0), 1.851, 0.0, -0.165, 0.0),
    "c": ((0.2, 0, -0.2), (0, 0, 0.2), (-1, 1), 0.544, 0.0, -1.0, 6.0),
    "d": ((), (0.65, 0, -0.1), (0, 0), 0.0, 6.0, -0.478, 0.0),
}


def two_phases(first: float, second: float, width: float) -> list[tuple[float, float]]:
    return [(0, 0), (0.495 * width, first), (0.505 * width, second), (width, 0)]


def three_phases(first: float, second: float, third: float, width: float) -> list[tuple[float, float]]:
    return [(0, 0), (width / 4, first), (width / 2, second), (0.75 * width, third), (width, 0)]


def one_phase(top: float, width: float) -> list[tuple[float, float]]:
    return [(0, 0), (width / 2, top), (width, 0)]


PULSES = {  # Table 1
    "a": lambda w: (two_phases(-3.0, 4.2, w), two_phases(-2.0, 2.0, w)),
    "b": lambda w: (two_phases(4.2, -2.8, w), two_phases(2.0, -2.0, w)),
    "c": lambda w: (three_phases(-3.8, 3.8, -3.7, w), one_phase(-2.0, w)),
    "d": lambda w: (one_phase(-2.4, w), one_phase(2.4, w)),
}
NAMES = {"a": "hebbian", "b": "anti_hebbian", "c": "symmetric", "d": "anti_symmetric"}
DELAYS = np.linspace(-6, 6, 41)
WIDTH = 5.0  # ms


def actions(rule: str, delay: float, width: float) -> list[tuple[float, float]]:
    """(S_c, S_d) in V·ms of the pieces of ΔV beyond a threshold, in their order: exact for piecewise linear pulses."""
    pre, post = (np.array(knots, dtype=float) for knots in PULSES[rule](width))
    t = np.unique(np.concatenate([pre[:, 0], post[:, 0] + delay]))
    v = np.interp(t, *pre.T) - np.interp(t, post[:, 0] + delay, post[:, 1])
    found = []
    for (t0, v0), (t1, v1) in itertools.pairwise(zip(t, v, strict=True)):
        crossed = [t0 + (th - v0) / (v1 - v0) * (t1 - t0) for th in (-1.9, 3.9) if (v0 - th) * (v1 - th) < 0]
        for begin, end in itertools.pairwise(sorted([t0, *crossed, t1])):
            middle = v0 + (v1 - v0) * ((begin + end) / 2 - t0) / (t1 - t0)
            if middle < -1.9:
                found.append(((-1.9 - middle) * (end - begin), 0.0))
            elif middle > 3.9:
                found.append((0.0, (middle - 3.9) * (end - begin)))
    return found


def predicted(pieces: list[tuple[float, float]], charging: float, discharging: float, g0: float = 1e-6) -> float:
    """ΔG of the wire after the pieces, Eqs. 3, 5 and 6; efficiencies in 1/(V·ms)."""
    first = y = math.log((1 / g0 - H_E2) / A)
    for s_c, s_d in pieces:
        y = min(y + charging * s_c, B_N_FULL) * math.exp(-discharging * s_d)
    return A * (math.exp(first) - math.exp(y)) / (A * math.exp(y) + H_E2)


def table(rule: str) -> np.ndarray:
    discharge, charge, between = TABLE[rule][:3]
    return change_by_action(
        DELAYS, discharge=np.array(discharge), charge=np.array(charge), factor=3.0, between=(between[0], between[1])
    )


def change(rule: str, delay: float, *, pairs: int = 1, g0: float = 1e-6) -> float:
    """ΔG of the wire after ``pairs`` pairs, by the set's efficiencies."""
    return predicted(actions(rule, delay, WIDTH) * pairs, P.b_alpha_c * 1e-3, P.alpha_d * 1e-3, g0)


def rule(letter: str) -> Oracles:
    """Peaks and flat of one rule, and the root mean square of Table 2 itself: a prediction of no change."""
    name = NAMES[letter]
    curve = np.array([change(letter, delay) for delay in DELAYS])
    found = {
        f"{name}_max": around(curve.max(), 0.02),
        f"{name}_min": around(curve.min(), 0.02),
        "late": around(curve[-1], 0.02),
        "distance": Oracle(None, float(np.sqrt(np.mean(table(letter) ** 2)))),
    }
    if letter == "a":
        opens = 1e-3 * delay_at(DELAYS, curve, -0.2)
        third = 1e-3 * (DELAYS[1] - DELAYS[0]) / 3
        found["opens"] = between(opens - third, opens + third)
    return found


def levels() -> Oracles:
    """Ten pairs; of the charge's 8.9 kT, one in a hundred moves the lowest conductance by a tenth."""
    beyond = [1e-6 * (1 + change("a", delay, pairs=10)) for delay in (-4.4, -4.2, -4.0, -3.8, -3.6)]
    assert np.ptp(beyond) < 1e-3 * beyond[0]  # the presynaptic pulse alone
    lowest = 1e-6 * (1 + change("a", -2.0, pairs=10))
    charge = math.log((1 / lowest - H_E2) / A) - math.log((1 / 1e-6 - H_E2) / A)
    return {
        "after_one": around(1e-6 * (1 + change("a", 0.9)), 0.02),
        "fallen": around(beyond[2], 0.02),
        "plateau": around(beyond[0], 0.02),
        "lowest": Oracle(lowest * math.exp(-0.01 * charge), lowest * math.exp(0.01 * charge), 0.01),
    }


def initial() -> Oracles:
    """One pair from half of the charge."""
    half = 1 / (A * math.exp(B_N_FULL * 0.5) + H_E2)
    return {
        "smallest_fall": around(1 + change("a", -1.5, g0=half), 0.02),
        "largest_rise": around(1 + change("a", 0.9, g0=half), 0.04),
    }


def loop() -> Oracles:
    """Ramps of 20 V/s, and full dots by Eq. 1 far above the barrier E: (u/2 - E)/(h/e²) over the wire."""
    slope = 20.0
    emptied = brentq(
        lambda v: v / (A * math.exp(B_N_FULL * math.exp(-P.alpha_d * (v - 3.9) ** 2 / 2 / slope)) + RHO) - 1.6e-6,
        3.9, 5.0,
    )  # fmt: skip
    filled = 1.9 + math.sqrt(slope * B_N_FULL / P.b_alpha_c)
    barrier = KT * (math.log(A / H_E2) + B_N_FULL)
    on, off = 1.04 + emptied / slope, 0.52 + filled / slope
    return {
        "switches_at": between(on - 8e-3 / slope, on + 8e-3 / slope),
        "fills_at": between(off - 10e-3 / slope, off + 10e-3 / slope),
        "below_finite": around((3.7 - 2 * barrier) / (R + 2 * H_E2) / 3.7, 0.005),
    }


def discharge() -> Oracles:
    """Pulses of 1 ms with edges of 20 us, each with a read of 0.1 V; below V_d at the slow rate alone."""
    rate = ParameterSet.load("quantum_dot_memristor:slow_discharge").values["alpha_s"].value
    over = (4.5 - 3.9) * 1e-3 + (4.5 - 3.9) ** 2 / 4.5 * 20e-6
    below = 3.9 * (1e-3 + 2 * 20e-6) - 3.9**2 / 4.5 * 20e-6
    fast = P.q0 * math.exp(-P.alpha_d * over - rate * below)
    slow = P.q0 * math.exp(-rate * 40 * (3.7 * 1020e-6 + 0.1 * 220e-6))
    first, last = (1 / (A * math.exp(B_N_FULL * q) + RHO) for q in (fast, slow))
    return {"fast_first": around(first, 0.01), "slow_last": around(last, 0.01)}


ORACLES: Table = {
    **{f"quantum_dot_{name}": partial(rule, letter) for letter, name in NAMES.items()},
    "quantum_dot_levels": levels,
    "quantum_dot_initial": initial,
    "quantum_dot_loop": loop,
    "quantum_dot_slow": discharge,
}
