"""The limits of the shipped loop benches against their papers' equations, typed anew and integrated by scipy.

Nothing here takes a number or a function from the devices: constants are the papers', the drive is the bench's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from cosim.bench.testbench import Testbench
from reference.oracles.base import Oracles, Table, around

Array = NDArray[np.float64]
# Engines agree to 2e-3 of full scale on every device; what is read at one instant, or divided, moves by more.
TOLERANCE = 0.01
RAMP = 0.02  # the release's rate jumps at F_min where the device's rises over 1 % of the field


@dataclass(frozen=True)
class Loop:
    """A sine over a one-port: its law, its drive (V, Hz) and its first state."""

    current: Callable[[float, float], float]
    speed: Callable[[float, float], float]
    amplitude: float
    frequency: float
    first: float
    tolerance: float = TOLERANCE

    def measures(self) -> dict[str, float]:
        """Over the second period: areas (W) of both lobes, swing of the state, conductances (S) as voltage falls."""
        period = 1.0 / self.frequency
        ends = np.linspace(0.0, 2.0 * period, 80001)

        def drive(t: float) -> float:
            return self.amplitude * math.sin(2.0 * math.pi * self.frequency * t)

        def rate(t: float, x: Array) -> list[float]:
            speed = self.speed(drive(t), float(x[0]))
            return [0.0 if (x[0] >= 1.0 and speed > 0.0) or (x[0] <= 0.0 and speed < 0.0) else speed]

        path = solve_ivp(
            rate, (0.0, 2.0 * period), [self.first], t_eval=ends, method="LSODA", rtol=1e-8, atol=1e-10,
            max_step=period / 5000,
        )  # fmt: skip
        x = np.clip(path.y[0], 0.0, 1.0)
        v = self.amplitude * np.sin(2.0 * np.pi * self.frequency * ends)
        i = np.array([self.current(a, b) for a, b in zip(v, x, strict=True)])

        def area(low: float, high: float) -> float:
            part = (ends >= low * period) & (ends <= high * period)
            return abs(float(np.trapezoid(i[part], v[part])))

        def conductance(share: float) -> float:
            at = int(np.argmin(np.abs(ends - share * period)))
            return float(i[at] / v[at])

        late = x[ends >= period]
        return {
            "area_positive": area(1.0, 1.5),
            "area_negative": area(1.5, 2.0),
            "state": float(np.ptp(late)),
            "after_positive": conductance(1.45),
            "after_negative": conductance(1.95),
        }


def vteam() -> Loop:
    """IEEE TCAS-II 62, 786: 50 Ohm to 1 kOhm over 3 nm."""

    def speed(v: float, x: float) -> float:
        if v > 0.02:
            return 5e-4 * (v / 0.02 - 1.0) / 3e-9
        return -10.0 * (v / -0.2 - 1.0) ** 3 / 3e-9 if v < -0.2 else 0.0

    return Loop(lambda v, x: v / (50.0 + 950.0 * x), speed, 1.0, 50e6, 0.5)


def yakopcic() -> Loop:
    """IEEE EDL 32, 1436: the chalcogenide device."""

    def speed(v: float, x: float) -> float:
        g = 4000.0 * (math.exp(v) - math.exp(0.16)) if v > 0.16 else 0.0
        g = -4000.0 * (math.exp(-v) - math.exp(0.15)) if v < -0.15 else g
        if g > 0.0:
            return g * (math.exp(-(x - 0.3)) * ((0.3 - x) / 0.7 + 1.0) if x >= 0.3 else 1.0)
        return g * (math.exp(5.0 * (x - 0.5)) * x / 0.5 if x <= 0.5 else 1.0)

    return Loop(lambda v, x: 0.17 * x * math.sinh(0.05 * v), speed, 0.5, 100.0, 0.11)


def filament() -> Loop:
    """Stanford RRAM model 1.0.0."""

    def current(v: float, x: float) -> float:
        return 1e-3 * math.exp(-(1.7e-9 - 1.5e-9 * x) / 0.25e-9) * math.sinh(v / 0.25)

    def speed(v: float, x: float) -> float:
        gap = 1.7e-9 - 1.5e-9 * x
        gamma = 16.0 - 0.8 * (gap / 1e-9) ** 3
        if gamma * abs(v) / 12e-9 < 1.4e9:
            return 0.0
        thermal = 1.380649e-23 / 1.602176634e-19 * (298.0 + abs(v * current(v, x)) * 2.1e3)
        return 10.0 * math.exp(-0.6 / thermal) * math.sinh(gamma * 0.25 / 12.0 * v / thermal) / 1.5e-9

    return Loop(current, speed, 1.6, 1e5, 1.0, RAMP)


LOOPS = {"vteam_loop": vteam, "yakopcic_loop": yakopcic, "filament_loop": filament}


def oracles(name: str) -> Oracles:
    """Of one loop, whose bench has the drive that is typed here."""
    loop, drive = LOOPS[name](), Testbench.load(name).file.stimuli["drive"].model_dump()
    assert (drive["amplitude"], drive["frequency"]) == (loop.amplitude, loop.frequency)
    areas = ("area_positive", "area_negative")
    return {key: around(value, loop.tolerance if key in areas else TOLERANCE) for key, value in loop.measures().items()}


ORACLES: Table = {name: partial(oracles, name) for name in LOOPS}
