"""The limits of the ECRAM benches against closed forms that take no number and no function from the device.

arXiv 2605.11243 states 1.5 kOhm per spike and 2 pJ per spike; the other numbers are those of the two parameter sets,
typed anew: 20 kOhm, a clamp of 2 kOhm and 20 us (fast), 30 kOhm, 5 kOhm and 0.7 of it 20 ms, 0.3 of it 200 ms (slow).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.integrate import solve_ivp

from reference.oracles.base import Oracle, Oracles, Table, around, between
from reference.oracles.transistors import node

DR, W0 = 1500.0, 0.217051
FAST, SLOW = ((1.0, 20e-6),), ((0.7, 20e-3), (0.3, 200e-3))


def resistance(w: float) -> float:
    return 1.0 / (0.1e-6 + w * (230e-6 - 0.1e-6))


def fall(
    times: Sequence[float], at: float, *, r0: float, floor: float = 2e3, parts: Sequence[tuple[float, float]] = FAST
) -> float:
    """By how much (Ohm) the spikes at ``times`` have lowered the resistance ``at`` a time, one by one."""
    falls, last = [0.0] * len(parts), 0.0
    for time in times:
        falls = [x * math.exp(-(time - last) / tau) for x, (_, tau) in zip(falls, parts, strict=True)]
        step = DR * (1.0 - sum(falls) / (r0 - floor))
        falls = [x + share * step for x, (share, _) in zip(falls, parts, strict=True)]
        last = time
    return sum(x * math.exp(-(at - last) / tau) for x, (_, tau) in zip(falls, parts, strict=True))


def train(first: float, interval: float, count: int) -> list[float]:
    return [first + k * interval for k in range(count)]


def part(volts: float, threshold: float) -> float:
    """The part of an event that a gate voltage (V) makes: a smooth step over a band of 0.2 V around the threshold."""
    x = min(max((volts - threshold) / 0.2 + 0.5, 0.0), 1.0)
    return x * x * (3.0 - 2.0 * x)


def step(events: float) -> float:
    """What is left 0.1 us after a part of one spike from rest, as a fraction of the room of 18 kOhm."""
    return float((1.0 - (1.0 - DR / 18e3) ** events) * math.exp(-0.1 / 20.0))


def short_pulse() -> float:
    """The part of an event in a trapezoid of 1.2 V: 10 ps, 0.3 ns, 10 ps, spent with 0.3 ns."""

    def right(t: float, y: np.ndarray) -> list[float]:
        rate = (part(1.2 * max(0.0, min(t / 0.01, 1.0, (0.32 - t) / 0.01)), 0.6) - y[0]) / 0.3
        return [rate, max(rate, 0.0)]

    return float(solve_ivp(right, (0.0, 0.4), [0.0, 0.0], rtol=1e-8, atol=1e-10, max_step=1e-3).y[1, -1])


def coexistence() -> Oracles:
    """An account of spikes before and after a write, and at the clamp."""
    before, written = resistance(W0), resistance(W0 + 0.1)
    early, late, burst = train(2e-6, 0.5e-6, 5), train(500e-6, 0.5e-6, 5), train(600e-6, 20e-9, 60)
    return {
        "fall_after_five": around(fall(early, 4.05e-6, r0=before), 0.01),
        "fall_after_20us": around(fall(early, 24e-6, r0=before), 0.01),
        "fall_after_40us": around(fall(early, 44e-6, r0=before), 0.01),
        "fall_after_five_late": around(fall(late, 502.05e-6, r0=written), 0.01),
        "r_before": around(20e3, 0.01),
        "r_written": around(written, 0.01),
        "written": around(100 / 1000, 0.01),
        "clamped": around(written - fall(burst, 601.3e-6, r0=written), 0.03),
    }


def events() -> Oracles:
    """The part of an event that a voltage within the band makes; below it, nothing: a thousandth of an event."""
    level = 1 / 1000
    return {
        "spike_below": between(-1e-5, 1e-5),
        "spike_within": around(step(part(0.56, 0.6)), 0.01),
        "spike_beyond": around(step(part(0.72, 0.6)), 0.01),
        **{f"{name}_below": between(-1e-3 * level, 1e-3 * level) for name in ("write", "erase")},
        **{
            f"{name}_{place}": around(sign * level * part(volts, 2.4), 0.01)
            for name, sign in (("write", 1.0), ("erase", -1.0))
            for place, volts in (("within", 2.36), ("beyond", 2.52))
        },
        "spike_short": around(step(short_pulse()), 0.02),
        "leakage": around(-3.0 * 10e-12, 0.01),
    }


def relaxation() -> Oracles:
    """An account with two time constants."""
    spikes = train(1e-3, 3e-3, 5)
    after = {"after_five": 13.1e-3, "after_20ms": 33e-3, "after_200ms": 213e-3}
    falls = {name: fall(spikes, at, r0=30e3, floor=5e3, parts=SLOW) for name, at in after.items()}
    return {
        **{f"fall_{name}": around(value, 0.01) for name, value in falls.items()},
        "r_before": around(30e3, 0.01),
        "erased": around(-5 / 1000, 0.01),
    }


def facilitations(fastest: float, slowest: float) -> Oracles:
    """u at the last of 30 spikes, for two intervals (s)."""
    r0 = resistance(W0)
    return {
        f"facilitation_{name}": around(fall(train(0.0, interval, 30), 29 * interval, r0=r0) / (r0 - 2e3), 0.01)
        for name, interval in (("fastest", fastest), ("slowest", slowest))
    }


def frequency() -> Oracles:
    """From before the summit of the excitability to where it ends."""
    return facilitations(0.07e-6, 2e-6)


def ratio(r0: float, interval: float, series: float) -> float:
    """Paired-pulse ratio of charges that go as 1/(R + ``series``); the first charge is that after the first spike."""
    first = r0 - fall([0.0], 0.0, r0=r0)
    second = r0 - fall([0.0, interval], interval, r0=r0)
    return (first + series) / (second + series)


def decay(r0: float, series: float) -> float:
    """What is left at 20 us of the facilitation at 2 us."""
    return (ratio(r0, 20e-6, series) - 1.0) / (ratio(r0, 2e-6, series) - 1.0)


def paired_pulse() -> Oracles:
    """Two resistors, from none in series to so much that only the ECRAM's relaxation is left."""
    return {
        "ratio": between(1.0, ratio(10e3, 0.1e-6, 0.0)),
        "decay_10k": between(decay(10e3, 0.0), decay(10e3, 1e9)),
        "decay_20k": between(decay(20e3, 0.0), decay(20e3, 1e9)),
    }


INPUT = node(0.2556e-12, 2 * 1.42e-6)  # F: gates of the switch, 1 x 0.18 um, and of the pull-up, 0.42 x 0.18 um
BIAS = 1.2 * (4 * 100e-9 + 75e-9) / 8  # W: four references of i/8 and one of i_leak/8


def energy() -> Oracles:
    """C V² of the gates, bias branches, and what a slow rate adds: bias and leak for the nine inputs of a spike.

    The leak's charge comes through a mirror of 1:3, which takes a third more from the supply.
    """
    slow = 9 * 2e-6 * (BIAS + 1.2 * 75e-9 * 4 / 3)
    return {
        "drive_per_input": between(5e-15 * 1.2**2, (10e-15 + INPUT) * 1.2**2),
        "bias_power": around(BIAS, 0.05),
        "energy_beyond": between(slow, slow + 2e-12),
        **facilitations(0.1e-6, 1.4e-6),
    }


def charged(least: float, parasitic: float, current: float = 20e-9) -> Oracle:
    """V/s on a capacitor with, and without, what transistors add to its node."""
    return between(current / (least + parasitic), current / least)


def stage(length: float) -> float:
    """What a delay stage's drains, 0.8 and 0.4 um wide, and the gates behind it, as wide, add to c_d (F)."""
    return node(1.2e-6 * length, 3 * 1.2e-6, areas=0.6e-12, perimeters=3.2e-6)


def delay() -> Oracles:
    """A constant current charges a capacitor: R² of the width against 1/i is 1."""
    # gates of 0.8 and 0.4 x 0.18 um; drains of leak (eight of 0.25 um) and reset (1 um)
    membrane = node(0.216e-12, (2 * 1.2 + 2.0 + 1.0) * 1e-6, areas=1.5e-12, perimeters=12e-6)
    return {
        "agreement": Oracle(0.99, None, 0.01),
        "charging": charged(20e-15, stage(0.18e-6)),
        "charging_membrane": charged(0.5e-12, membrane),
        "charging_input": charged(10e-15, INPUT),
    }


def feedback() -> Oracles:
    """What the delay stage discharges; c_m, c_fb, gates of 0.5 x 0.5 and 0.5 x 0.18 um, drains of leak and reset."""
    membrane = node(0.34e-12, (2 * 0.5 + 2 * 0.5 + 0.5 + 1.0) * 1e-6, areas=0.75e-12, perimeters=3.5e-6)
    return {
        "capacitance": between(80e-15, 80e-15 + stage(0.36e-6)),
        "climb": charged(0.5e-12 + 30e-15, membrane),
    }


ORACLES: Table = {
    "ecram_coexistence": coexistence,
    "ecram_events": events,
    "ecram_relaxation": relaxation,
    "ecram_lif_frequency": frequency,
    "ecram_feedback_stp": frequency,
    "ecram_paired_pulse": paired_pulse,
    "ecram_lif_energy": energy,
    "ecram_lif_delay": delay,
    "ecram_feedback_delay": feedback,
}
