"""The limits of the ECRAM benches against closed forms that take no number and no function from the device.

arXiv 2605.11243 states 1.5 kOhm per spike and 2 pJ per spike; the other numbers are those of the two parameter sets,
typed anew: 20 kOhm, a clamp of 2 kOhm and 20 us (fast), 30 kOhm, 5 kOhm and 0.7 of it 20 ms, 0.3 of it 200 ms (slow).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from cosim.bench.testbench import Testbench

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


def coexistence() -> dict[str, tuple[float, float]]:
    before, written = resistance(W0), resistance(W0 + 0.1)
    early, late, burst = train(2e-6, 0.5e-6, 5), train(500e-6, 0.5e-6, 5), train(600e-6, 20e-9, 60)
    return {
        "fall_after_five": (fall(early, 4.05e-6, r0=before), 0.01),
        "fall_after_20us": (fall(early, 24e-6, r0=before), 0.01),
        "fall_after_40us": (fall(early, 44e-6, r0=before), 0.01),
        "fall_after_five_late": (fall(late, 502.05e-6, r0=written), 0.01),
        "r_before": (20e3, 0.01),
        "r_written": (written, 0.01),
        "written": (100 / 1000, 0.01),
        "clamped": (written - fall(burst, 601.3e-6, r0=written), 0.03),
    }


def events() -> dict[str, tuple[float, float]]:
    below, within, beyond = 2.28, 2.36, 2.52
    level = 1 / 1000
    return {
        "spike_below": (step(part(0.48, 0.6)), 0.01),
        "spike_within": (step(part(0.56, 0.6)), 0.01),
        "spike_beyond": (step(part(0.72, 0.6)), 0.01),
        **{
            f"{name}_{place}": (sign * level * part(volts, 2.4), 0.01)
            for name, sign in (("write", 1.0), ("erase", -1.0))
            for place, volts in (("below", below), ("within", within), ("beyond", beyond))
        },
        "spike_short": (step(short_pulse()), 0.02),
        "leakage": (-3.0 * 10e-12, 0.01),
    }


def relaxation() -> dict[str, tuple[float, float]]:
    spikes = train(1e-3, 3e-3, 5)
    after = {"after_five": 13.1e-3, "after_20ms": 33e-3, "after_200ms": 213e-3}
    falls = {name: fall(spikes, at, r0=30e3, floor=5e3, parts=SLOW) for name, at in after.items()}
    return {
        **{f"fall_{name}": (value, 0.01) for name, value in falls.items()},
        "r_before": (30e3, 0.01),
        "erased": (-5 / 1000, 0.01),
    }


def at_the_last(interval: float) -> float:
    """u at the last of 30 spikes."""
    r0 = resistance(W0)
    return fall(train(0.0, interval, 30), 29 * interval, r0=r0) / (r0 - 2e3)


def frequency() -> dict[str, tuple[float, float]]:
    return {"facilitation_fastest": (at_the_last(0.07e-6), 0.01), "facilitation_slowest": (at_the_last(2e-6), 0.01)}


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("ecram_coexistence", coexistence()),
        ("ecram_events", events()),
        ("ecram_relaxation", relaxation()),
        ("ecram_lif_frequency", frequency()),
        ("ecram_feedback_stp", frequency()),
    ],
)
def test_limits_are_closed_forms(name: str, oracle: dict[str, tuple[float, float]]) -> None:
    file = Testbench.load(name).file
    judged = {key for key, limit in file.limits.items() if limit.origin == "oracle"}
    assert judged == oracle.keys()
    for key, (value, tolerance) in oracle.items():
        low, high = file.limits[key].span(file.measures[key].unit)
        assert low is not None
        assert high is not None
        assert low < value < high, key
        if value != 0.0:
            assert high - low <= 2.02 * tolerance * abs(value), key


@pytest.mark.parametrize("name", ["ecram_coexistence", "ecram_relaxation"])
def test_published_fall_per_spike(name: str) -> None:
    limit = Testbench.load(name).file.limits["fall_per_spike"]
    assert limit.origin == "source"
    assert limit.span("Ohm") == pytest.approx((0.99 * DR, 1.01 * DR))


def ratio(r0: float, interval: float, series: float) -> float:
    """Paired-pulse ratio of charges that go as 1/(R + ``series``); the first charge is that after the first spike."""
    first = r0 - fall([0.0], 0.0, r0=r0)
    second = r0 - fall([0.0, interval], interval, r0=r0)
    return (first + series) / (second + series)


def test_paired_pulse_limits_are_two_resistors() -> None:
    """The series resistances are those that `test_ecram_circuits` finds with fixed ECRAMs."""
    limits = Testbench.load("ecram_paired_pulse").file.limits
    assert {key for key, limit in limits.items() if limit.origin == "oracle"} == {
        "ratio", "decay_10k", "decay_20k",
    }  # fmt: skip
    assert limits["ratio"].span("1") == pytest.approx((1.0, ratio(10e3, 0.1e-6, 0.0)), abs=1e-4)
    for name, r0, series in (("10k", 10e3, 7.53e3), ("20k", 20e3, 9.14e3)):
        excess = ratio(r0, 2e-6, series) - 1.0
        assert limits[f"excess_early_{name}"].span("1") == pytest.approx((0.97 * excess, 1.03 * excess), rel=1e-3)

        def decay(series: float, r0: float = r0) -> float:
            return (ratio(r0, 20e-6, series) - 1.0) / (ratio(r0, 2e-6, series) - 1.0)

        assert decay(1e9) == pytest.approx(math.exp(-0.9), abs=1e-4)
        assert limits[f"decay_{name}"].span("1") == pytest.approx((decay(0.0), math.exp(-0.9)), abs=1e-4)


def test_energy_limits_are_charges() -> None:
    """C V² of the gates, and four references of i/8 and one of i_leak/8 from 1.2 V."""
    limits = Testbench.load("ecram_lif_energy").file.limits
    oxide = 3.9 * 8.854e-12 / 4.1e-9
    transistors = (1.0 + 0.42) * 0.18e-12 * oxide + 2 * (1.0 + 0.42) * 1e-6 * 3e-10  # channel and both overlaps
    assert limits["drive_per_input"].span("J") == pytest.approx((5e-15 * 1.2**2, (10e-15 + 3.9e-15) * 1.2**2), rel=2e-3)
    assert transistors < 3.9e-15
    for name, interval in (("fastest", 0.1e-6), ("slowest", 1.4e-6)):
        u = at_the_last(interval)
        assert limits[f"facilitation_{name}"].span("1") == pytest.approx((0.99 * u, 1.01 * u), rel=1e-3)
    power = 1.2 * (4 * 100e-9 + 75e-9) / 8
    assert limits["bias_power"].span("W") == pytest.approx((0.95 * power, 1.05 * power), rel=1e-3)
    for name in ("ecram_lif_energy", "ecram_feedback_delay", "ecram_feedback_stp"):
        assert Testbench.load(name).file.limits["energy"].span("J") == pytest.approx((0.5e-12 * 0.6 * 1.2, 2e-12))


def test_every_limit_says_where_it_is_from() -> None:
    names = [
        "coexistence", "events", "relaxation", "paired_pulse", "lif_delay", "lif_energy", "lif_excitability",
        "lif_frequency", "feedback_delay", "feedback_excitability", "feedback_stp",
    ]  # fmt: skip
    for name in names:
        for key, limit in Testbench.load(f"ecram_{name}").file.limits.items():
            assert limit.origin, (name, key)
