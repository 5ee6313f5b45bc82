"""VTEAM, Yakopcic and the filament model against their papers' equations, typed anew for one point at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosim.devices.base import Values
from cosim.devices.filament import FilamentReram
from cosim.devices.integrate import integrate
from cosim.devices.vteam import Vteam
from cosim.devices.yakopcic import Yakopcic
from cosim.parameters import ParameterSet

VTEAM, YAKOPCIC, FILAMENT = Vteam(), Yakopcic(), FilamentReram()
V = ParameterSet.load("vteam_2015").resolved()
Y = ParameterSet.load("yakopcic_chalcogenide").resolved()
F = ParameterSet.load("stanford_1_0_0").resolved()
INSIDE = st.floats(0.01, 0.99)  # away from the stops, which are own


@given(v=st.floats(-1, 1), x=INSIDE)
def test_vteam(v: float, x: float) -> None:
    w = 3e-9 * x
    current = v / (50 + (1000 - 50) / 3e-9 * w)
    if v > 0.02:
        speed = 5e-4 * (v / 0.02 - 1)
    elif v < -0.2:
        speed = -10 * (v / -0.2 - 1) ** 3
    else:
        speed = 0.0
    state = Values({"x": x})
    assert float(VTEAM.current(v, state, V)) == pytest.approx(current, rel=1e-12)
    # below 1e-6 of the overdrive the power is continued linearly: at most 1e-6 of the speed at twice the threshold
    assert float(VTEAM.drift(v, state, V)["x"]) * 3e-9 == pytest.approx(speed, rel=1e-9, abs=1e-9)
    exponential = VTEAM.values({**V, "exponential": 1.0})
    assert float(VTEAM.current(v, state, exponential)) == pytest.approx(v / 50 * math.exp(-x * math.log(20)), rel=1e-12)


def test_vteam_moves_at_constant_speed() -> None:
    """At 0.3 V: 5e-4 m/s · 14 on 3 nm; a stop at the bound."""
    t = np.array([0.0, 1e-7, 1e-6])
    path = integrate(VTEAM, VTEAM.values({**V, "x0": 0.1}), t=t, across={"pn": np.full(3, 0.3)})
    assert path.states["x"][1] == pytest.approx(0.1 + 5e-4 * 14 * 1e-7 / 3e-9, rel=1e-7)
    assert path.states["x"][2] == pytest.approx(1.0, abs=1e-6)


@given(v=st.floats(-2, 2), x=st.floats(0, 1))
def test_yakopcic(v: float, x: float) -> None:
    current = 0.17 * x * math.sinh(0.05 * v)
    if v > 0.16:
        g = 4000 * (math.exp(v) - math.exp(0.16))
    elif v < -0.15:
        g = -4000 * (math.exp(-v) - math.exp(0.15))
    else:
        g = 0.0
    if g > 0:
        f = math.exp(-1.0 * (x - 0.3)) * ((0.3 - x) / (1 - 0.3) + 1) if x >= 0.3 else 1.0
    else:
        f = math.exp(5.0 * (x + 0.5 - 1)) * x / (1 - 0.5) if x <= 1 - 0.5 else 1.0
    state = Values({"x": x})
    assert float(YAKOPCIC.current(v, state, Y)) == pytest.approx(current, rel=1e-12)
    assert float(YAKOPCIC.drift(v, state, Y)["x"]) == pytest.approx(g * f, rel=1e-9, abs=1e-9)
    # eta = -1 turns the direction round, and the window with it
    turned = YAKOPCIC.values({**Y, "eta": -1.0})
    assert np.sign(YAKOPCIC.drift(v, Values({"x": 0.4}), turned)["x"]) == -np.sign(g)


@given(v=st.floats(-2, 2), x=INSIDE)
@settings(max_examples=200)
def test_filament(v: float, x: float) -> None:
    k, q = 1.380649e-23, 1.602176634e-19
    gap = 1.7e-9 - x * 1.5e-9
    current = 1e-3 * math.exp(-gap / 0.25e-9) * math.sinh(v / 0.25)
    kelvin = 298 + abs(v * current * 2.1e3)
    gamma = 16 - 0.8 * (gap / 1e-9) ** 3
    field = gamma * abs(v) / 12e-9
    state = Values({"x": x})
    assert float(FILAMENT.current(v, state, F)) == pytest.approx(current, rel=1e-12)
    assert float(FILAMENT.temperature(v, state, F)) == pytest.approx(kelvin, rel=1e-12)
    moved = -float(FILAMENT.drift(v, state, F)["x"]) * 1.5e-9
    if field < 1.4e9:
        assert moved == 0.0
    elif field > 1.01 * 1.4e9:  # between, the release jumps and this ramps
        speed = -10 * math.exp(-q * 0.6 / (k * kelvin)) * math.sinh(gamma * 0.25e-9 / 12e-9 * q * v / (k * kelvin))
        assert moved == pytest.approx(speed, rel=1e-9)


@pytest.mark.parametrize(("v", "x0", "end"), [(1.6, 0.0, 1.0), (-1.6, 1.0, 0.0)])
def test_filament_closes_and_opens(v: float, x0: float, end: float) -> None:
    t = np.array([0.0, 1e-6])
    path = integrate(FILAMENT, FILAMENT.values({**F, "x0": x0}), t=t, across={"pn": np.full(2, v)})
    assert path.states["x"][-1] == pytest.approx(end, abs=1e-6)


def test_published_windows_of_resistance() -> None:
    on, off = (float(FILAMENT.current(0.1, Values({"x": x}), F)) for x in (1.0, 0.0))
    assert on / off == pytest.approx(math.exp(1.5 / 0.25), rel=1e-12)
    assert 0.1 / on == pytest.approx(541.8, rel=1e-3)  # 100 Ohm · e^0.8 / sinh 0.4, by hand
