"""The ECRAM against an event-by-event account of spikes that shares no code with it, and the figures of its source."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.devices.base import Values
from cosim.devices.ecram import Ecram
from cosim.devices.integrate import integrate
from cosim.parameters import ParameterSet

ECRAM = Ecram()
COARSE = {"rtol": 1e-6, "atol": 1e-9}  # of full scale: three digits beyond what is compared


def account(times: list[float], at: float, *, r0: float, floor: float, dr: float, parts: list[tuple[float, float]]):
    """Resistance (Ohm) at ``at``, after the spikes at ``times``; each part of a fall is a pair (share, tau)."""
    falls, last = [0.0] * len(parts), 0.0
    for time in times:
        falls = [fall * math.exp(-(time - last) / tau) for fall, (_, tau) in zip(falls, parts, strict=True)]
        step = dr * (1.0 - sum(falls) / (r0 - floor))
        falls = [fall + share * step for fall, (share, _) in zip(falls, parts, strict=True)]
        last = time
    return r0 - sum(fall * math.exp(-(at - last) / tau) for fall, (_, tau) in zip(falls, parts, strict=True))


def gate(times: list[float], *, width: float, edge: float, level: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    t, v = [0.0], [0.0]
    for start in times:
        t += [start, start + edge, start + edge + width, start + 2 * edge + width]
        v += [0.0, level, level, 0.0]
    return np.array([*t, end]), np.array([*v, 0.0])


# Typed anew: the device of the public description (30 kOhm, 1.5 kOhm, 0.7 at 20 ms and 0.3 at 200 ms), and the
# time-scaled one (20 kOhm, clamp 2 kOhm, 20 us); clamps and the second are own.
ROWS = {
    "slow": {"r0": 30e3, "floor": 5e3, "dr": 1.5e3, "parts": [(0.7, 20e-3), (0.3, 200e-3)]},
    "fast": {"r0": 20e3, "floor": 2e3, "dr": 1.5e3, "parts": [(1.0, 20e-6), (0.0, 200e-6)]},
}


@pytest.mark.parametrize(("name", "unit"), [("slow", 1e-3), ("fast", 1e-6)])
def test_spike_train_against_the_account(name: str, unit: float) -> None:
    p = ParameterSet.load(f"ecram:{name}").resolved()
    times = [float(k) * unit for k in (5, 8, 12, 13, 30, 31, 60, 61, 62, 63, 64, 65, 130)]
    end = 200 * unit
    t, v = gate(times, width=0.05 * unit, edge=1e-3 * unit, level=1.2, end=end)
    path = integrate(ECRAM, p, t=t, across={"gate": v}, **COARSE)
    got = ECRAM.resistance(Values(path.states), p)
    after = [account(times[: k + 1], times[k] + 0.052 * unit, **ROWS[name]) for k in range(len(times))]
    # an event is spent with the time constant `settle`, 5 ns and 0.3 ns, during which the volatile part relaxes; and w0
    # has six digits: together below 1e-3 of 1.5 kOhm
    np.testing.assert_allclose(got[4::4], after, atol=1.5)
    assert got[-1] == pytest.approx(account(times, end, **ROWS[name]), abs=1.5)


@pytest.mark.parametrize("name", ["slow", "fast"])
def test_one_spike_from_rest_is_the_published_1500_ohm(name: str) -> None:
    p = ParameterSet.load(f"ecram:{name}").resolved()
    rest = ECRAM.initial(p)
    fall = ECRAM.resistance(rest, p) - ECRAM.resistance(ECRAM.after_spikes(rest, p), p)
    assert fall == pytest.approx(1500.0, rel=1e-9)


@given(
    w=st.floats(0, 1), fast=st.floats(0, 1), slow=st.floats(0, 1), dr=st.floats(0, 1e6), r_min=st.floats(10, 1e6),
    count=st.integers(0, 1000),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_facilitation_never_leaves_the_clamp(
    w: float, fast: float, slow: float, dr: float, r_min: float, count: int
) -> None:
    p = ECRAM.values({"dr": dr, "r_min": r_min})
    x = Values({"m_fast": fast, "m_slow": (1 - fast) * slow, "w": w})
    after = ECRAM.after_spikes(x, p, count=count)
    before, r = ECRAM.resistance(x, p), ECRAM.resistance(after, p)
    rest = 1.0 / (p.g_off + w * (p.g_on - p.g_off))
    # rounding of sums of order R0
    assert min(r_min, rest) * (1 - 1e-9) - 1e-6 <= r <= before * (1 + 1e-12)


@pytest.mark.parametrize("width", [20e-9, 200e-9, 2e-6])
def test_an_edge_counts_once_and_a_sub_threshold_pulse_not_at_all(width: float) -> None:
    p = ParameterSet.load("ecram:fast").resolved().with_(tau_fast=1.0, tau_slow=1.0)
    t, v = gate([1e-6], width=width, edge=1e-9, level=1.2, end=4e-6)
    moved = integrate(ECRAM, p, t=t, across={"gate": v}, **COARSE).states["m_fast"][-1]
    assert moved == pytest.approx(1500.0 / (1 / (0.1e-6 + 0.217051 * 229.9e-6) - 2000.0), rel=2e-5)  # 4 us of 1 s
    weak = integrate(ECRAM, p, t=t, across={"gate": v * 0.4}, **COARSE).states["m_fast"][-1]
    assert weak == 0.0


def test_writes_move_the_long_term_part_by_levels_and_keep_it() -> None:
    p = ParameterSet.load("ecram:fast").resolved()
    up = [float(k) * 1e-6 for k in range(1, 9)]
    t, v = gate(up, width=100e-9, edge=1e-9, level=3.0, end=400e-6)
    path = integrate(ECRAM, p, t=t, across={"gate": v}, **COARSE)
    # 8 levels of 1000; the pulse is 100 settle times long
    assert path.states["w"][-1] - p.w0 == pytest.approx(0.008, rel=1e-5)
    assert path.states["m_fast"][-1] < 1e-7  # the volatile part is gone, 19 tau after the last pulse
    down = integrate(ECRAM, p, t=t, across={"gate": -v}, **COARSE)
    assert down.states["w"][-1] - p.w0 == pytest.approx(-0.008, rel=1e-5)
    assert np.all(down.states["m_fast"] == 0.0)
    full = integrate(ECRAM, p.with_(w0=0.9985), t=t, across={"gate": v}, **COARSE).states["w"]
    assert np.all(full <= 1.0)
    # the second event ends half a level above the linear part; each further one leaves 1/e of what was left
    assert full[-1] == pytest.approx(1.0, abs=1e-5)
