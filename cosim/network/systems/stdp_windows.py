"""Learning windows: ΔG/G0 of the wire against the delay of a pulse pair, by the device, by Table 2, and ideal."""

from __future__ import annotations

from typing import cast

import numpy as np

from cosim.bench.measures.stdp import StdpDistance, change_by_action
from cosim.bench.testbench import Testbench
from cosim.devices.base import Array, Values
from cosim.devices.quantum_dot import QuantumDotMemristor
from cosim.network.systems.stdp_settings import IDEAL, MS, StdpSettings

DELAYS = np.linspace(-6.0, 6.0, 121)  # ms, the range of the source's figures
CHARGING = (0.5, 1.0, 2.0)  # factors of α_c: our choice, the source's own are not in its text


def window(settings: StdpSettings, rule: str, delays: Array = DELAYS) -> Array:
    """ΔG/G0 (n,) of the wire after one pair at ``delays`` (n,) ms, from the device's first state."""
    cells = settings.cells(rule)
    model, p = cast(QuantumDotMemristor, cells.map.device), cells.values
    before = Values({"q": np.full(delays.shape, float(p.q0))})
    after, _ = cells.step(before, Values({"delay": MS * delays, "pre": np.array(1.0), "post": np.array(1.0)}))
    found: Array = model.wire_conductance(0.0, after, p) / model.wire_conductance(0.0, before, p) - 1.0
    return found


def alone(settings: StdpSettings, rule: str) -> tuple[float, float]:
    """ΔG/G0 after the presynaptic pulse alone, and after the postsynaptic one alone."""
    cells = settings.cells(rule)
    model, p = cast(QuantumDotMemristor, cells.map.device), cells.values
    before = Values({"q": np.full(2, float(p.q0))})
    single = {"delay": np.zeros(2), "pre": np.array([1.0, 0.0]), "post": np.array([0.0, 1.0])}
    after, _ = cells.step(before, Values(single))
    change = model.wire_conductance(0.0, after, p) / model.wire_conductance(0.0, before, p) - 1.0
    return float(change[0]), float(change[1])


def published(rule: str, delays: Array = DELAYS) -> Array:
    """ΔG/G0 (n,) of the source's Table 2, whose actions stand in the rule's bench."""
    distance = cast(StdpDistance, Testbench.load(f"quantum_dot_{rule}").file.measures["distance"])
    return change_by_action(
        delays,
        discharge=np.array(distance.discharge),
        charge=np.array(distance.charge),
        factor=distance.factor,
        between=(distance.between[0] / MS, distance.between[1] / MS),
    )


def ideal(rule: str, delays: Array = DELAYS) -> Array:
    """The change (n,) of an ideal weight."""
    w = IDEAL[rule]
    side = np.where(delays > 0.0, w.after, np.where(delays < 0.0, w.before, 0.5 * (w.after + w.before)))
    found: Array = side * np.exp(-np.abs(delays) / w.tau) + w.alone
    return found


def width(change: Array, level: float, delays: Array = DELAYS) -> float:
    """For how many ms of the delays ``change`` is beyond ``level`` (above it, or below one that is negative)."""
    inside = change > level if level > 0.0 else change < level
    return float(np.mean(inside) * np.ptp(delays))
