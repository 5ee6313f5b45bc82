"""A device driven by known waveforms, integrated by scipy: what every engine and every surrogate is held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp

from cosim.devices.base import Array, DeviceModel, Values
from cosim.errors import InputError, SimulationError


@dataclass(frozen=True)
class Trajectory:
    """Times (m,) s; states and through values by name, each (m,)."""

    t: Array
    states: Mapping[str, Array]
    through: Mapping[str, Array]


def integrate(
    device: DeviceModel,
    p: Values,
    *,
    t: Array,
    across: Mapping[str, Array],
    x0: Values | None = None,
    rtol: float = 1e-9,
    atol: float = 1e-12,
) -> Trajectory:
    """Integrate a device's states through piecewise linear drives.

    Args:
        device: with any number of ports; a port that ``across`` leaves out is held at zero.
        p: its parameters, scalars.
        t: (m,) s, increasing: the knots; the solution is returned there, and the integrator restarts at each.
        across: port name -> (m,) V or K.
        x0: states at ``t[0]``; default: the device's own.
        rtol: relative tolerance of Radau IIA (order 5).
        atol: absolute tolerance, as a fraction of each state's range.
    """
    t = np.asarray(t, dtype=float)
    if t.ndim != 1 or np.any(np.diff(t) <= 0):
        raise InputError("knots have to be increasing times", remedy="sort them and drop doubles")
    drives = {port.name: np.asarray(across.get(port.name, np.zeros_like(t)), dtype=float) for port in device.ports}
    names = [state.name for state in device.all_states]
    start = device.initial(p) if x0 is None else x0
    y = np.array([float(start[name]) for name in names])
    spans = np.array([state.bounds[1] - state.bounds[0] for state in device.all_states])
    floor = atol * np.where(np.isfinite(spans), spans, 1.0)
    path = np.empty((t.size, y.size))
    path[0] = y
    for k in range(t.size - 1):
        a, b = t[k], t[k + 1]
        ends = {name: (drive[k], drive[k + 1]) for name, drive in drives.items()}

        def slope(
            time: float, state: Array, a: float = a, b: float = b, ends: dict[str, tuple[float, float]] = ends
        ) -> Array:
            s = (time - a) / (b - a)
            now = {name: (1.0 - s) * left + s * right for name, (left, right) in ends.items()}
            rates = device.total_rates(now, Values(dict(zip(names, state, strict=True))), p)
            return np.array([float(rates[name]) for name in names])

        if names:
            solution = solve_ivp(slope, (a, b), y, method="Radau", rtol=rtol, atol=floor)
            if not solution.success:
                raise SimulationError(
                    f"scipy stopped at {solution.t[-1]:g} s: {solution.message}", outcome="not converged"
                )
            y = solution.y[:, -1]
        path[k + 1] = y
    states = {name: path[:, k] for k, name in enumerate(names)}
    through = device.through(drives, Values(states), p)
    return Trajectory(t, states, {name: np.broadcast_to(value, t.shape) for name, value in through.items()})
