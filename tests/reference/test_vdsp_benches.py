"""The limits of the VDSP benches against arXiv 2510.25787 typed anew: TiO2's law, its thresholds and scale factors.

The law is the source's map read as the first Euler step of a rate (the device's docstring says why), integrated by
scipy through each pulse; nothing here takes a number or a function from the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from cosim.bench.file import Limit
from cosim.bench.testbench import Testbench

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


def holds(limit: Limit, unit: str, value: float, tolerance: float) -> None:
    low, high = limit.span(unit)
    assert low is not None
    assert high is not None
    assert low < value < high
    assert high - low <= 2.02 * tolerance * abs(value)


@pytest.mark.parametrize(("name", "oracle"), [("memristor_random_pulses", train), ("vdsp_update", update)])
def test_limits_are_the_law(name: str, oracle: Callable[[str], dict[str, float]]) -> None:
    bench = Testbench.load(name)
    found = oracle(name)
    judged = {key: limit for key, limit in bench.file.limits.items() if limit.origin == "oracle"}
    assert judged.keys() == found.keys()
    for key, value in found.items():
        holds(judged[key], bench.file.measures[key].unit, value, 0.01)


@pytest.mark.parametrize("quantity", ["average_conductance", "average_energy"])
def test_cell_takes_little_off_the_law(quantity: str) -> None:
    bench = Testbench.load("1t1r_random_pulses")
    low, high = bench.file.limits[quantity].span(bench.file.measures[quantity].unit)
    assert (low, high) == pytest.approx((0.95 * train(bench.name)[quantity], train(bench.name)[quantity]), rel=1e-3)


def test_amplifier_is_the_rule() -> None:
    """V_prog = V_mem · θ · scale factor at V_mem = ±1 V, and up to 25 mV more for the access transistor."""
    limits = Testbench.load("vdsp_amplifier").file.limits
    assert limits["prog_at_threshold"].span("V") == pytest.approx(
        (THETA_N * SCALE_D, THETA_N * SCALE_D + 0.025), abs=1e-4
    )
    assert limits["prog_at_reset"].span("V") == pytest.approx(
        (-THETA_P * SCALE_P - 0.025, -THETA_P * SCALE_P), abs=1e-4
    )
