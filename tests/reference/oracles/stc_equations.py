"""Eqs. 2 to 5 of M. A. Nicholson (thesis, Groningen 2024), typed anew and solved in closed form piece by piece."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from cosim.bench.testbench import Testbench
from reference.oracles.base import Oracle, Oracles, Table, around, between
from reference.oracles.stc import beside_the_equations

# Nicholson 2024, Table 2; Luboeinski and Tetzlaff 2022 (in vivo): typed here a second time on purpose
SHARED = {
    "tau_c": 48.8e-3, "tau_h": 688.4, "gamma_p": 1645.6, "gamma_d": 313.1, "h0": 4.20075e-3, "h_max": 10e-3,
    "alpha": 1.0, "tau_z": 3600.0, "z_max": 1.0, "z_min": -0.5, "c_pre": 0.6,
}  # fmt: skip
TABLE = {**SHARED, "c_post": 0.1655, "theta_p": 0.3, "theta_d": 0.2, "theta_pro": 2.3e-3, "theta_tag": 0.0640149e-3}
LITERATURE = {
    **SHARED, "c_post": 0.6 * 0.2758, "theta_p": 3.0, "theta_d": 1.2, "theta_pro": 0.5 * 4.20075e-3,
    "theta_tag": 0.2 * 4.20075e-3,
}  # fmt: skip


def relaxed(h: float, c: float, t: float, p: dict[str, float]) -> tuple[float, float]:
    """h (V) and c (mM) after ``t`` (s) without spikes: exponentials between the crossings of the thresholds."""
    crossings = [p["tau_c"] * math.log(c / level) for level in (p["theta_p"], p["theta_d"]) if c > level]
    cuts = sorted({0.0, t, *(min(cut, t) for cut in crossings)})
    for a, b in pairwise(cuts):
        here = c * math.exp(-(a + b) / 2 / p["tau_c"])
        up, down = here > p["theta_p"], here > p["theta_d"]
        pull = 0.1 + p["gamma_p"] * up + p["gamma_d"] * down
        end = (0.1 * p["h0"] + p["gamma_p"] * p["h_max"] * up) / pull
        h = end + (h - end) * math.exp(-pull * (b - a) / p["tau_h"])
    return h, c * math.exp(-t / p["tau_c"])


EDGE = 50e-6 / 2  # s: a spike counts at half of its edge


def spiked(at: float, spikes: list[tuple[float, float]], p: dict[str, float], rate: float = 1.0) -> tuple[float, float]:
    """h (V) and c (mM) at ``at`` (s) after ``spikes``, (time, mM) each; ``rate`` accelerates everything."""
    h, c, now = p["h0"], 0.0, 0.0
    for time, jump in sorted(spikes):
        if time > at:
            break
        h, c = relaxed(h, c, (time - now) * rate, p)
        c, now = c + jump, time
    return relaxed(h, c, (at - now) * rate, p)


def of_the_literature() -> Oracles:
    """A strong stimulus and the hours after it; single spikes."""
    p = LITERATURE
    both = p["c_pre"] + p["c_post"]
    burst = [(0.01 * (k + 1) + EDGE, both) for k in range(20)]
    single = [(0.01 + EDGE, p["c_post"]), (0.0288 + EDGE, p["c_pre"])]
    early = spiked(0.5, burst, p)[0]
    slow = p["tau_h"] / 0.1  # s
    moved = early - p["h0"]
    tagged = slow * math.log(moved / p["theta_tag"])
    assert moved + 1.1e-3 > p["theta_pro"]  # so that the protein is there at once

    def left(after: float, share: float) -> Oracle:
        change = moved * math.exp(-after / slow)
        return around(p["h0"] + change, share, of=change)

    return {
        "after_post": around(spiked(0.02, single, p)[1], 0.01),
        "after_pre": around(spiked(0.04, single, p)[1], 0.01),
        "calcium": around(spiked(burst[-1][0], burst, p)[1], 0.01),
        "early": around(early, 0.01),
        "early_1h": left(3600.0, 0.01),
        "early_7h": left(25200.0, 0.05),
        "late_1h": around(1.0 - math.exp(-tagged / p["tau_z"]), 0.01),
    }


def of_the_equations() -> Oracles:
    """Eqs. 2 to 5 under the bench's spikes, and the circuit beside them."""
    p, rate = TABLE, 10.0
    stimuli = Testbench.load("stc_equations").file.stimuli
    spikes = []
    for name, jump in (("pre", p["c_pre"]), ("post", p["c_post"])):
        given = stimuli[name].model_dump()
        spikes += [
            (given["start"] + k * given["period"] + EDGE, jump) for k, level in enumerate(given["values"]) if level
        ]

    def h(at: float) -> float:
        return spiked(at, spikes, p, rate)[0] / p["h0"]

    level = 1.0 + p["theta_pro"] / p["h0"]
    # on the peak after a spike, before it depresses again
    protein = min(t for t, _ in spikes if max(h(t + after) for after in np.arange(0.0, 6e-3, 0.2e-3)) > level)
    assert h(1000.0) > 1.0 + p["theta_tag"] / p["h0"]  # tagged to the end
    return {
        "equations_spiked": around(h(100.0), 0.005),
        "equations_end": around(h(1000.0), 0.005),
        "equations_late": around(1.0 - math.exp(-(1000.0 - protein) * rate / p["tau_z"]), 0.005),
        "equations_recovery": around((h(250.0) - h(150.0)) / 100.0, 0.02),
        "equations_pulled": around((h(13e-3) - h(11e-3)) / 2e-3, 0.02),
        "equations_dropping": around((h(15e-3) - h(14e-3)) / 1e-3, 0.02),
        "equations_step": around(h(40e-3), 0.002),
        "equations_protein": between(protein - 10e-3, protein + 40e-3),
        "equations_tag": around(1.0 - math.exp(-10.0 * rate / p["tau_z"]), 0.02),
        **beside_the_equations(),
    }


ORACLES: Table = {"stc_literature": of_the_literature, "stc_equations": of_the_equations}
