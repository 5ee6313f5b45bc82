"""The thermal ReRAM against oracles that do not share its code: Eq. 27 typed anew, closed forms, Eq. 23's recursion."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from cosim.bench.testbench import Testbench
from cosim.devices.base import Values
from cosim.devices.integrate import integrate
from cosim.devices.thermal_reram import ThermalReram
from cosim.parameters import ParameterSet

DEVICE = ThermalReram()
# Published values, typed here a second time on purpose: a, b, c, d (arXiv 2411.18272, Sec. 7.5; b of SET as printed).
SET = (0.143, 2.216, 0.8232, 0.4043)
RESET = (0.3124, 0.8064, 1.138, -0.8806)


def eq27(g0: float, theta: float, row: tuple[float, float, float, float]) -> float:
    a, b, c, d = row
    return (a * math.exp(b * g0)) * theta ** (c * math.exp(d * g0))


def state(w: float, rise: float) -> Values:
    return Values({"w": w, "rise_fast": 0.0, "rise_slow": rise})


@pytest.mark.parametrize(("name", "sign"), [("published", -1.0), ("printed", 1.0)])
def test_published_surface(name: str, sign: float) -> None:
    p = ParameterSet.load(f"thermal_reram:{name}").resolved()
    rng = np.random.default_rng(0)
    w, theta = rng.uniform(0, 1, 300), rng.uniform(0.001, 1, 300)
    row = (SET[0], sign * SET[1], *SET[2:])
    # the same operations in the same order: rounding only
    expected = [eq27(a, b, row) for a, b in zip(w, theta, strict=True)]
    np.testing.assert_allclose(DEVICE.surface(w, theta, p, polarity=1), expected, rtol=1e-12)
    expected = [eq27(a, b, RESET) for a, b in zip(w, theta, strict=True)]
    np.testing.assert_allclose(DEVICE.surface(w, theta, p, polarity=-1), expected, rtol=1e-12)


def test_only_one_sign_of_b_agrees_with_the_text() -> None:
    """Sec. 3.1: SET changes most near the lowest conductance, RESET near the highest; both grow with T."""
    w = np.linspace(0.0, 1.0, 11)
    published, printed = (ParameterSet.load(f"thermal_reram:{name}").resolved() for name in ("published", "printed"))
    for theta in (0.3, 0.6, 1.0):
        assert np.all(np.diff(DEVICE.surface(w, theta, published, polarity=1)) < 0)
        assert np.all(np.diff(DEVICE.surface(w, theta, published, polarity=-1)) > 0)
    assert np.all(np.diff(DEVICE.surface(w, 1.0, printed, polarity=1)) > 0)
    theta = np.linspace(0.0, 1.0, 11)
    for polarity in (1, -1):
        assert np.all(np.diff(DEVICE.surface(0.5, theta, published, polarity=polarity)) > 0)


def after_pulse(v: float, duration: float, w: float, rise: float, p: Values) -> float:
    """The state after a rectangular pulse at a held temperature, by an integration of its own."""

    def slope(_: float, y: np.ndarray) -> list[float]:
        across = {"cell": v, "heater": 0.0, "heat": 0.0}
        return [float(DEVICE.rates(across, state(y[0], rise), p)["w"]) * duration]

    return float(solve_ivp(slope, (0, 1), [w], method="RK45", rtol=1e-9, atol=1e-12).y[0, -1])


@pytest.mark.parametrize(("v", "row"), [(0.85, (0.143, -2.216, 0.8232, 0.4043)), (-1.05, RESET)])
def test_one_pulse_gives_the_published_step(v: float, row: tuple[float, float, float, float]) -> None:
    p = ParameterSet.load("thermal_reram:published").resolved()
    sign = 1.0 if v > 0 else -1.0
    for w in (0.1, 0.3, 0.5, 0.7, 0.9):
        for theta in (0.05, 0.25, 1.0):
            g0 = w + 1.0 / (p.ratio - 1.0)  # G over the range's width
            moved = (after_pulse(v, 280e-6, w, theta * 20.0, p) - w) / g0
            h = eq27(w, theta, row)
            # SET: what the Padé approximant leaves. RESET: steps of up to 67 %, whose slope is no constant; near θ = 1
            # and the top of the range the surface is no flow at all
            assert moved * sign == pytest.approx(h, rel=4e-4 if v > 0 else 0.085), (w, theta)
            if v < 0 and h < 0.3:
                assert moved * sign == pytest.approx(h, rel=0.04), (w, theta)


@pytest.mark.parametrize(("v", "fast"), [(0.85, 1.7), (-1.05, -1.7)])
def test_projected_fast_write_is_the_same_step(v: float, fast: float) -> None:
    p = DEVICE.defaults()
    slow_step = after_pulse(v, 280e-6, 0.5, 10.0, p) - 0.5
    fast_step = after_pulse(fast, 10e-9, 0.5, 10.0, p) - 0.5
    # sinh is half an exponential to exp(−20) there
    assert fast_step == pytest.approx(slow_step, rel=1e-7)
    assert abs(slow_step) > 0.005


def test_a_cold_cell_is_not_disturbed_and_ambient_counts() -> None:
    """Sec. 3.2: the pulse changes nothing to speak of where the rise is negligible."""
    p = DEVICE.defaults()
    assert after_pulse(0.85, 280e-6, 0.5, 0.0, p) == 0.5
    warm = DEVICE.values({"t_amb": 310.0})
    hot = DEVICE.values({"t_amb": 300.0})
    # 10 K of ambient are 10 K of rise
    assert after_pulse(0.85, 280e-6, 0.5, 0.0, warm) == pytest.approx(
        after_pulse(0.85, 280e-6, 0.5, 10.0, hot), rel=1e-9
    )


def test_heater_is_the_rod_of_table_2() -> None:
    rod = 30e-9 / (1e5 * math.pi * 4.19e-9**2)
    assert DEVICE.defaults().r_heater == pytest.approx(rod, rel=1e-4)  # stated to five digits


def test_conductance_follows_temperature() -> None:
    p = DEVICE.values({"alpha": 1e-3, "g_max": 50e-6, "ratio": 10.0})
    cold = 50e-6 * (0.4 * 0.9 + 0.1)
    assert DEVICE.conductance(state(0.4, 0.0), p) == pytest.approx(cold, rel=1e-12)
    assert DEVICE.conductance(state(0.4, 30.0), p) == pytest.approx(cold * 1.03, rel=1e-12)


def test_loop_is_eq_27_on_a_ramp() -> None:
    """`netlists/reram_iv.toml`: where a sweep of 1 V/s at theta = 0.5 takes w through 1/2, on both branches."""
    bottom, theta, t_pulse = 1.0 / 19.0, 0.5, 280e-6
    limits = Testbench.load("reram_iv").file.limits

    # SET: Eq. 27 applied pulse after pulse, the last one in part; then the ramp that does as much
    v_0 = (1.7 - 0.85) / math.log(t_pulse / 10e-9)
    row, w, pulses = (SET[0], -SET[1], *SET[2:]), 0.0, 0.0
    while w < 0.5:
        step = eq27(w, theta, row) * (w + bottom)
        pulses += min(1.0, (0.5 - w) / step)
        w += step
    v_set = v_0 * math.acosh(1.0 + pulses * t_pulse * math.sinh(0.85 / v_0) / v_0)
    assert limits["half_set"].span("s") == pytest.approx((v_set * 0.994, v_set * 1.006), rel=2e-4)

    # RESET: steps of a third of G are no pulses to count; the flow whose map they are, with the Padé approximant
    v_0 = (1.7 - 1.05) / math.log(t_pulse / 10e-9)

    def slope(v: float, y: np.ndarray) -> list[float]:
        _, b, c, d = RESET
        w = float(y[0])
        h = -eq27(w, theta, RESET)
        steep = max(h / (1.0 + h) * (b + c * d * math.exp(d * w) * math.log(theta)) * (w + bottom), -0.9)
        pace = math.log1p(h) * (1.0 + steep / 6.0) / (1.0 + 2.0 * steep / 3.0)
        return [(w + bottom) * pace * math.sinh(v / v_0) / math.sinh(1.05 / v_0) / t_pulse]

    def half(_: float, y: np.ndarray) -> float:
        return float(y[0]) - 0.5

    v_reset = solve_ivp(slope, (0.0, 1.0), [1.0], method="LSODA", rtol=1e-9, atol=1e-12, events=half).t_events[0][0]
    expected = (2.4 + v_reset * 0.99, 2.4 + v_reset * 1.01)
    assert limits["half_reset"].span("s") == pytest.approx(expected, rel=2e-4)


def heated(p: Values, t: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The rise under a heater voltage with the thermal port open, which is its own temperature."""

    def slope(time: float, y: np.ndarray) -> list[float]:
        across = {"cell": 0.0, "heater": float(np.interp(time, t, v)), "heat": y[1]}
        rates = DEVICE.rates(across, Values({"w": 0.5, "rise_fast": y[0], "rise_slow": y[1]}), p)
        return [float(rates["rise_fast"]), float(rates["rise_slow"])]

    step = float(np.min(np.diff(t)))
    path = solve_ivp(slope, (t[0], t[-1]), [0.0, 0.0], t_eval=t, rtol=1e-9, atol=1e-9, method="Radau", max_step=step)
    return np.asarray(path.y.sum(axis=0))


def test_step_response_of_two_poles() -> None:
    p = DEVICE.defaults()
    t = np.linspace(0.0, 1e-6, 101)
    rise = heated(p, t, np.full(t.size, 0.1))
    power = 0.01 / p.r_heater
    exact = power * (p.r_fast * (1 - np.exp(-t / p.tau_fast)) + p.r_slow * (1 - np.exp(-t / p.tau_slow)))
    np.testing.assert_allclose(rise, exact, rtol=1e-6, atol=1e-7)


def test_eq_23_is_the_euler_step_of_one_pole() -> None:
    p = ParameterSet.load("thermal_reram:single_pole").resolved()
    t_pw, n = 10e-9, 100
    t = np.arange(n + 1) * t_pw
    rise = heated(p, t, np.full(n + 1, 0.1))
    discrete, power = 0.0, 0.01 / p.r_heater
    for _ in range(n):
        discrete += t_pw / p.tau_slow * (power * p.r_slow - discrete)
    # Euler's error of a decay: half of t_pw/τ = 0.5 % of e⁻¹, at t = τ
    assert discrete == pytest.approx(rise[-1], rel=0.004)
    assert discrete != pytest.approx(rise[-1], rel=1e-4)


def test_the_thermal_port_carries_what_neighbours_give() -> None:
    """A port held at T pulls the slow pole to contact/(1 + contact)·T, and takes in that much heat."""
    p = DEVICE.defaults()
    t = np.linspace(0.0, 2e-6, 41)
    path = integrate(DEVICE, p, t=t, across={"heat": np.full(t.size, 10.0)})
    expected = 10.0 * p.contact / (1 + p.contact)
    assert path.states["rise_slow"][-1] == pytest.approx(expected, rel=1e-6)
    assert path.through["heat"][-1] == pytest.approx(expected / p.r_slow, rel=1e-6)


def test_electrical_ports_only_take_power() -> None:
    rng = np.random.default_rng(1)
    across = {name: rng.uniform(-2, 2, 200) for name in ("cell", "heater", "heat")}
    x = Values(
        {"w": rng.uniform(0, 1, 200), "rise_fast": rng.uniform(0, 50, 200), "rise_slow": rng.uniform(0, 50, 200)}
    )
    flow = DEVICE.through(across, x, DEVICE.defaults())
    assert np.all(across["cell"] * flow["cell"] >= 0)
    assert np.all(across["heater"] * flow["heater"] >= 0)
