"""The thermal synapse's circuits by hand: where the numbers of their benches' limits are from.

Nothing here runs a simulator or the device's code: Eq. 27 and the channel's law are typed anew, thermal poles and links
are read from the shipped sets.
"""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.optimize import brentq

from cosim.bench.testbench import Testbench
from cosim.parameters import ParameterSet

A, B, C, D = 0.143, -2.216, 0.8232, 0.4043  # SET, b with the sign of the text
RATIO, G_MAX, FULL, V_SET = 20.0, 100e-6, 20.0, 0.85
V_0 = (1.7 - 0.85) / math.log(280e-6 / 10e-9)
VTH, K, M, L_CHANNEL, V_GATE = 0.4965, 0.3258e-3, 0.154, 0.35e-6, 3.3
R_ROD = 30e-9 / (1e5 * math.pi * 4.19e-9**2)  # Table 2


def overdrive(x: float) -> float:
    """V over the threshold for a channel of the conductance k x."""
    return x / (1.0 - M * x)


def test_where_the_gate_ends() -> None:
    """Eq. 22 with a 3.3 V gate: the largest f."""
    v = V_GATE - VTH
    a = R_ROD * K * v / (1.0 + M * v)
    f = (a / (1.0 + a)) ** 2
    assert f == pytest.approx(0.6026, abs=5e-4)
    limit = Testbench.load("1t1h1m_power").file.limits["largest_f"]
    assert limit.min is not None
    assert limit.max is not None
    assert float(limit.min) < f < float(limit.max)
    # the law as published, without the mobility's decline
    assert (R_ROD * K * v / (1.0 + R_ROD * K * v)) ** 2 == pytest.approx(0.693, abs=1e-3)


def test_where_triode_ends() -> None:
    """V_OV = V_H2 of a square-law channel at psi = 1, 0.3 V: I = k V²/2 there."""
    v = brentq(lambda v: 0.3 - v - R_ROD * K * v * v / 2.0, 0.0, 0.3)
    a = R_ROD * K * v / (1.0 + M * v)
    f = (a / (1.0 + a)) ** 2
    assert f == pytest.approx(0.088, abs=1e-3)
    limit = Testbench.load("1t1h1m_power").file.limits["smallest_f"]
    assert float(limit.min or 0) < f < float(limit.max or 0)


def drift(w: float, theta: float) -> float:
    """d ln G per published SET pulse: the flow whose map over one unit of time is Eq. 27, exact for affine steps."""
    if theta <= 0.0:
        return 0.0

    def step(x: float) -> float:
        return math.log1p(A * math.exp(B * x) * theta ** (C * math.exp(D * x)))

    bottom = 1.0 / (RATIO - 1.0)
    slope = (step(w + 1e-6) - step(w - 1e-6)) / 2e-6 * (w + bottom)
    return step(w) * math.log1p(slope) / slope


def write(w0: float, rise: float, *, volts: float = 1.8, width: float = 11e-9, edge: float = 1e-9) -> float:
    """Δw by the write pulse on a ReRAM with the access transistor and two line drivers' 10 Ohm in series."""
    v = V_GATE - VTH
    channel = (1.0 + M * v) / (K * v) + 10.0

    def rate(t: float, y: np.ndarray) -> list[float]:
        w = float(y[0])
        share = min(1.0, t / edge, (width - t) / edge)
        g = G_MAX * ((1.0 - 1.0 / RATIO) * w + 1.0 / RATIO)
        cell = volts * share / (1.0 + g * channel)
        speed = math.sinh(cell / V_0) / math.sinh(V_SET / V_0)
        return [(w + 1.0 / (RATIO - 1.0)) * drift(w, rise / FULL) * speed / 280e-6]

    found = solve_ivp(rate, (0.0, width), [w0], rtol=1e-8, atol=1e-12, max_step=edge / 4)
    return float(found.y[0, -1] - w0)


def poles(name: str) -> dict[str, float]:
    p = ParameterSet.load(f"thermal_reram:{name}").resolved()
    return {key: float(p[key]) for key in ("r_fast", "tau_fast", "r_slow", "tau_slow")}


def frame(power: np.ndarray, *, until: float, after: float) -> tuple[float, float]:
    """The rises (K) at ``until`` and ``after`` of e-updates of 21 ns at 15 ns + 40 ns k of the cell alone."""
    p = poles("stack_60nm")
    starts = 15e-9 + 40e-9 * np.arange(power.size)
    rises = []
    for time in (until, after):
        total = 0.0
        for r, tau in ((p["r_fast"], p["tau_fast"]), (p["r_slow"], p["tau_slow"])):
            pulses = r * power * -math.expm1(-21e-9 / tau) * np.exp(-(time - starts - 21e-9) / tau)
            total += float(pulses.sum())
        rises.append(total)
    return rises[0], rises[1]


def kept(bench: str, name: str, value: float) -> None:
    """An oracle's value is what the limit that names it is around: it was not moved towards the result."""
    file = Testbench.load(bench).file
    limit = file.limits[name]
    assert limit.origin == "oracle"
    low, high = limit.span(file.measures[name].unit)
    assert low is not None
    assert high is not None
    assert value == pytest.approx(0.5 * (low + high), rel=0.01), (name, value)


def test_a_frame_and_its_update() -> None:
    stimuli = Testbench.load("1t1h1m_phases").file.stimuli
    f, psi = (np.array(stimuli[name].values) for name in ("f", "psi"))  # type: ignore[union-attr]
    # the write pulse is halfway at 821.5 ns
    rise, at_write = frame(0.3**2 * f * psi / R_ROD, until=815e-9, after=821.5e-9)
    kept("1t1h1m_phases", "accumulated", rise)
    kept("1t1h1m_phases", "update", write(0.3, at_write))


def test_the_steps_of_a_pair() -> None:
    _, rise = frame(np.full(20, 0.3**2 * 0.55 / R_ROD), until=815e-9, after=821.5e-9)
    kept("1t1h1m_pair", "largest", write(0.3, rise))
    # heated is the cell that holds more, or the one that holds less; the other, cold one does not move
    kept("1t1h1m_pair", "fall_over_rise", -write(0.2, rise) / write(0.4, rise))
    assert write(0.3, 0.0) == 0.0


def test_the_area_of_table_1() -> None:
    """450 F² at 65 nm are its 1.9 µm², and not the pitch of its text."""
    assert pytest.approx(1.9e-12, rel=0.01) == 450 * 65e-9**2
    assert pytest.approx(48, rel=0.01) == (250e-9 + 200e-9) ** 2 / 65e-9**2
    # this transistor with contacts, and 0.3 µm to the next
    assert pytest.approx(1.97e-12, rel=0.01) == (0.35e-6 + 2 * 0.7e-6 + 0.3e-6) * (0.66e-6 + 0.3e-6)


def rises(name: str, power: np.ndarray, *, period: float, width: float, pulses: int, after: float) -> np.ndarray:
    """(rows, columns) K: an array of cells ``after`` the end of its last e-update; powers (rows, columns) in W."""
    p = ParameterSet.load(f"thermal_reram:{name}_array").resolved()
    g = {
        key: float(ParameterSet.load(f"thermal_link:{name}_{key}").resolved().g_link)
        for key in ("along_row", "along_column")
    }
    rows, columns = power.shape
    index = np.arange(power.size).reshape(power.shape)
    links = np.zeros((power.size, power.size))
    for key, a, b in (("along_row", index[:, :-1], index[:, 1:]), ("along_column", index[:-1], index[1:])):
        for i, j in zip(a.ravel(), b.ravel(), strict=True):
            links[[i, j], [i, j]] += g[key]
            links[[i, j], [j, i]] -= g[key]
    contact = 1000.0 / p.r_slow * np.eye(power.size)
    conduction = np.eye(power.size) / p.r_slow + contact - contact @ np.linalg.solve(contact + links, contact)
    rates = -conduction * (p.r_slow / p.tau_slow)
    on, off, last = (expm(rates * t) for t in (width, period - width, after))
    driven = np.linalg.solve(conduction, (np.eye(power.size) - on) @ power.ravel())
    slow, fast = np.zeros(power.size), np.zeros(power.size)
    for k in range(pulses):
        end = k == pulses - 1
        slow = (last if end else off) @ (on @ slow + driven)
        fast = fast * math.exp(-width / p.tau_fast) + p.r_fast * power.ravel() * -math.expm1(-width / p.tau_fast)
        fast = fast * math.exp(-(after if end else period - width) / p.tau_fast)
    return np.asarray((slow + fast).reshape(rows, columns))


F_ROWS, PSI_PAIRS = np.array([0.6, 0.4, 0.2, 0.05]), np.array([1.0, 0.5, -0.5, -1.0])


def eligibilities(name: str) -> np.ndarray:
    """(16,) K of `1t1h1m_array_4x4`, with the power that Eqs. 21 and 22 give."""
    power = np.zeros((4, 8))
    power[:, 0::2] = np.outer(F_ROWS, np.maximum(PSI_PAIRS, 0.0))
    power[:, 1::2] = np.outer(F_ROWS, np.maximum(-PSI_PAIRS, 0.0))
    # heaters are on from the middle of one edge of 1 ns to the middle of the other; the last ends at 258 ns
    found = rises(name, power * 0.3**2 / R_ROD, period=26e-9, width=11e-9, pulses=10, after=3e-9)
    return np.asarray((found[:, 0::2] - found[:, 1::2]).ravel())


def straightness(found: np.ndarray) -> tuple[float, float]:
    """R² of a line through the origin against f ψ, and the median relative error."""
    law = np.outer(F_ROWS, PSI_PAIRS).ravel()
    line = law * (law @ found) / (law @ law)
    return 1.0 - float(np.sum((found - line) ** 2) / np.sum(found**2)), float(np.median(np.abs(found / line - 1.0)))


def test_both_structures_at_the_pitch_of_the_source() -> None:
    """What crosstalk alone leaves of the proportionality: Fig. 6(e) is better than (b), and gets less warm."""
    plain, modified = eligibilities("stack_250nm"), eligibilities("stack_250nm_modified")
    (r2, median), (r2_modified, median_modified) = straightness(plain), straightness(modified)
    assert 0.99 < r2 < r2_modified < 1.0
    assert median_modified < 0.7 * median
    assert 0.8 * plain.max() < modified.max() < 0.9 * plain.max()


def test_the_modified_structure_couples_better() -> None:
    """Sec. 4 and Fig. 6(f): more of the heater's rise reaches its ReRAM after 60 ns."""
    coupling = []
    for name in ("stack_250nm", "stack_250nm_modified"):
        p = ParameterSet.load(f"thermal_reram:{name}").resolved()
        early = sum(p[f"r_{k}"] * -math.expm1(-60e-9 / p[f"tau_{k}"]) for k in ("fast", "slow"))
        coupling.append(early / (early + p.r_rod))
    assert coupling[1] > 1.1 * coupling[0]
