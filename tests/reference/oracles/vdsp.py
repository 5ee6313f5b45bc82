"""The limits of the VDSP benches against arXiv 2510.25787 typed anew: TiO2's law, its thresholds and scale factors.

The law is the source's map read as the first Euler step of a rate (the device's docstring says why), integrated by
scipy through each pulse; nothing here takes a number or a function from the device.
"""

from __future__ import annotations

import math
from functools import cache, partial

import numpy as np
from scipy.integrate import solve_ivp

from cosim.bench.testbench import Testbench
from reference.oracles.base import Oracles, Table, around, between

THETA_P, THETA_N, ALPHA_P, ALPHA_N, GAMMA_P, GAMMA_N = 1.4323, 1.5643, 0.6790, 0.7637, 1.6796, 1.5853
SCALE_P, SCALE_D = 1.05, 1.11
G_MAX, RATIO, EVENT = 200e-6, 7.5, 200e-9


def conductance(w: float) -> float:
    return G_MAX * (w * (1.0 - 1.0 / RATIO) + 1.0 / RATIO)


def rate(v: float, w: float) -> float:
    up = math.exp(ALPHA_P * max(-v - THETA_P, 0.0)) - 1.0
    down = math.exp(ALPHA_N * max(v - THETA_N, 0.0)) - 1.0
    w = min(max(w, 0.0), 1.0)
    return ((1.0 - w) ** GAMMA_P * up - w**GAMMA_N * down) / EVENT


def pulse(w: float, amplitude: float, *, width: float = 200e-9, edge: float = 5e-9) -> tuple[float, float]:
    """State after a trapezoid from ``w``, and the energy (J) that it takes."""

    def right(t: float, y: np.ndarray) -> list[float]:
        v = amplitude * min(t / edge, 1.0, max((2.0 * edge + width - t) / edge, 0.0))
        return [rate(v, float(y[0])), v * v * conductance(float(y[0]))]

    end = 2.0 * edge + width
    path = solve_ivp(right, (0.0, end), [w, 0.0], rtol=1e-7, atol=[1e-10, 1e-18], max_step=width / 10)
    return float(path.y[0, -1]), float(path.y[1, -1])


@cache
def train(name: str) -> dict[str, float]:
    """Averages and ends over a bench's 500 pulses: conductance (S) after each, energy (J) of each."""
    w, conductances, energies = 0.5, [], []
    for amplitude in Testbench.load(name).train("bl").amplitudes:
        w, energy = pulse(w, float(amplitude))
        conductances.append(conductance(w))
        energies.append(energy)
    return {
        "average_conductance": float(np.mean(conductances)),
        "largest_conductance": max(conductances),
        "smallest_conductance": min(conductances),
        "average_energy": float(np.mean(energies)),
    }


def update(name: str) -> dict[str, float]:
    """The law's largest and smallest step of the update bench's 24 points."""
    bench = Testbench.load(name)
    sweep = {name: [q.value for q in values] for name, values in bench.file.plan["analysis"].sweep.items()}
    steps = [
        pulse(w, v * (THETA_N * SCALE_D if v > 0 else THETA_P * SCALE_P), width=199.8e-9, edge=0.2e-9)[0] - w
        for v in sweep["v_mem"]
        for w in sweep["w0"]
    ]
    return {"largest_step": max(steps), "smallest_step": min(steps)}


def law(name: str) -> Oracles:
    """Within 1 % of the law."""
    found = update(name) if name == "vdsp_update" else train(name)
    return {key: around(value, 0.01) for key, value in found.items()}


def cell() -> Oracles:
    """The access transistor takes up to 5 % off what the bare memristor does."""
    found = train("1t1r_random_pulses")
    return {key: between(0.95 * found[key], found[key]) for key in ("average_conductance", "average_energy")}


def amplifier() -> Oracles:
    """V_prog = V_mem · θ · scale factor at V_mem = ±1 V, and up to 25 mV more for the access transistor."""
    up, down = THETA_N * SCALE_D, -THETA_P * SCALE_P
    return {"prog_at_threshold": between(up, up + 0.025), "prog_at_reset": between(down - 0.025, down)}


def pair() -> Oracles:
    """A leaky integrator of 29 µs towards 450 nA · 2.9 MOhm from 1 µs on fires at 1 V; 2 µs for the comparator."""
    top = 450e-9 * 2.9e6
    spike = 1e-6 + 29e-6 * math.log(top / (top - 1.0))
    return {"pre_spike": between(spike, spike + 2e-6)}


ORACLES: Table = {
    "memristor_random_pulses": partial(law, "memristor_random_pulses"),
    "vdsp_update": partial(law, "vdsp_update"),
    "1t1r_random_pulses": cell,
    "vdsp_amplifier": amplifier,
    "vdsp_pair": pair,
}
