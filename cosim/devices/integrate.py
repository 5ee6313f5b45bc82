"""A device driven by known waveforms, integrated by scipy: what every engine and every surrogate is held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from cosim.devices.base import Array, DeviceModel, Operand, Values
from cosim.errors import InputError, SimulationError


@dataclass(frozen=True)
class Trajectory:
    """Times (m,) s; states and through values by name, each (m,); energy (m,) J, where it was asked for."""

    t: Array
    states: Mapping[str, Array]
    through: Mapping[str, Array]
    energy: Array | None = None


def integrate(
    device: DeviceModel,
    p: Values,
    *,
    t: Array,
    across: Mapping[str, Array],
    x0: Values | None = None,
    rtol: float = 1e-9,
    atol: float = 1e-12,
    energy: bool = False,
    method: Literal["Radau", "LSODA", "BDF"] = "Radau",
) -> Trajectory:
    """Integrate a device's states through piecewise linear drives.

    Args:
        device: with any number of ports; a port that ``across`` leaves out is held at zero.
        p: its parameters, scalars.
        t: (m,) s, increasing: the knots; the solution is returned there, and the integrator restarts at each.
        across: port name -> (m,) V or K.
        x0: states at ``t[0]``; default: the device's own.
        rtol: relative tolerance of ``method``: scipy's "Radau" (IIA, order 5), "LSODA" or "BDF", for stiff equations.
        atol: absolute tolerance, as a fraction of each state's range.
        energy: integrate what the electrical ports take in, too.
    """
    t = np.asarray(t, dtype=float)
    if t.ndim != 1 or np.any(np.diff(t) <= 0):
        raise InputError("knots have to be at increasing times", remedy="sort them and drop duplicates")
    drives = {port.name: np.asarray(across.get(port.name, np.zeros_like(t)), dtype=float) for port in device.ports}
    names = [state.name for state in device.all_states]
    from scipy.integrate import solve_ivp  # here, since what only simulates needs none of it

    start = device.initial(p) if x0 is None else x0
    y = np.array([float(start[name]) for name in names])
    spans = np.array([state.bounds[1] - state.bounds[0] for state in device.all_states])
    floor = atol * np.where(np.isfinite(spans), spans, 1.0)
    path = np.empty((t.size, y.size))
    path[0] = y
    taking = [port.name for port in device.ports if port.nature == "electrical"]
    spent = np.zeros(t.size)
    for k in range(t.size - 1):
        a, b = t[k], t[k + 1]
        ends = {name: (drive[k], drive[k + 1]) for name, drive in drives.items()}

        def power(now: Mapping[str, float], x: Values) -> float:
            flows = device.through(now, x, p)
            return sum(float(now[name] * flows[name]) for name in taking)

        # of the segment's energy: its own order of magnitude, so that one tolerance serves both
        start_of = Values(dict(zip(names, y, strict=True)))
        corners = [power({n: e[side] for n, e in ends.items()}, start_of) for side in (0, 1)] if energy else []
        unit = max((abs(corner) for corner in corners), default=0.0) * (b - a) or 1.0

        def slope(
            time: float,
            state: Array,
            a: float = a,
            b: float = b,
            ends: dict[str, tuple[float, float]] = ends,
            unit: float = unit,
        ) -> Array:
            s = (time - a) / (b - a)
            now = {name: (1.0 - s) * left + s * right for name, (left, right) in ends.items()}
            x = Values(dict(zip(names, state[: len(names)], strict=True)))
            rates = device.total_rates(now, x, p)
            found = [float(rates[name]) for name in names]
            return np.array([*found, power(now, x) / unit] if energy else found)

        if names:
            begin, atols = (np.append(y, 0.0), np.append(floor, atol)) if energy else (y, floor)
            solution = solve_ivp(slope, (a, b), begin, method=method, rtol=rtol, atol=atols)
            if not solution.success:
                raise SimulationError(
                    f"scipy stopped at {solution.t[-1]:g} s: {solution.message}", outcome="not converged"
                )
            y = solution.y[: len(names), -1]
            spent[k + 1] = spent[k] + (unit * float(solution.y[-1, -1]) if energy else 0.0)
        path[k + 1] = y
    states = {name: path[:, k] for k, name in enumerate(names)}
    through = device.through(drives, Values(states), p)
    flows = {name: np.broadcast_to(value, t.shape) for name, value in through.items()}
    return Trajectory(t, states, flows, spent if energy else None)


@dataclass(frozen=True)
class Segment:
    """A straight piece of a drive: ``length`` (s) > 0, and the ports' values (V or K) at its ends; absent ones are 0.

    Lengths and values are scalars or arrays with one entry per instance.
    """

    length: Operand
    begin: Mapping[str, Operand]
    end: Mapping[str, Operand]


# Rodas3: A. Sandu et al., Atmos. Environ. 31, 3459 (1997): Rosenbrock's method of order 3, stiffly accurate, with an
# embedded one of order 2. Stage i: rows of A and C for the stages before it, its time, its weight of df/dt.
GAMMA = 0.5
STAGES = (
    ((), (), 0.0, 0.5),
    ((0.0,), (4.0,), 0.0, 1.5),
    ((2.0, 0.0), (1.0, -1.0), 1.0, 0.0),
    ((2.0, 0.0, 1.0), (1.0, -1.0, -8.0 / 3.0), 1.0, 0.0),
)
DIFFERENCE = 1e-7  # of a state's range, in its difference quotient
MAX_STEPS = 20_000


def sweep(
    device: DeviceModel,
    p: Values,
    *,
    segments: Sequence[Segment],
    x0: Mapping[str, Operand],
    tolerance: float = 1e-5,
    rates: Callable[[Mapping[str, Operand], Values, Values], Mapping[str, Operand]] | None = None,
    scales: Mapping[str, float] = MappingProxyType({}),
    energy: bool = True,
) -> tuple[dict[str, Array], Array]:
    """Integrate many instances of a device through a waveform at once.

    Args:
        device: with any number of states; events begin armed.
        p: its parameters, scalars or one per instance.
        segments: the waveform; each instance may have its own lengths and values.
        x0: the device's states at the beginning; everything broadcasts to the shape of the result.
        tolerance: error of a step, as a fraction of each state's range; every instance takes the same steps.
        rates: of the states; default: the device's own, with its events.
        scales: state -> what counts as its range, where its bounds do not.
        energy: whether to integrate it, which costs as much as the rates where a current is implicit; else it is 0.

    Returns:
        The states at the end, and the energy (J) taken in by the electrical ports.
    """
    ports = [port.name for port in device.ports]
    taking = [port.name for port in device.ports if port.nature == "electrical" and energy]
    given = [*x0.values(), *p.values()]
    given += [v for s in segments for v in (s.length, *s.begin.values(), *s.end.values())]
    shape = np.broadcast_shapes(*(np.shape(value) for value in given))

    def flat(value: Operand) -> Array:
        return np.broadcast_to(np.asarray(value, dtype=float), shape).reshape(-1)

    names = [state.name for state in device.all_states]
    spans = np.array([scales.get(state.name, state.bounds[1] - state.bounds[0]) for state in device.all_states])
    spans = np.where(np.isfinite(spans), spans, 1.0)
    drift = rates or device.total_rates
    values = Values({name: value if np.ndim(value) == 0 else flat(value) for name, value in p.items()})
    y = np.stack([flat(x0[name]) if name in x0 else np.zeros(int(np.prod(shape))) for name in names])
    spent = np.zeros(y.shape[1])
    for segment in segments:
        length = flat(segment.length)
        ends = [(flat(segment.begin.get(name, 0.0)), flat(segment.end.get(name, 0.0))) for name in ports]

        def across(s: Operand, ends: list[tuple[Array, Array]] = ends) -> dict[str, Operand]:
            return {name: a + s * (b - a) for name, (a, b) in zip(ports, ends, strict=True)}

        def rate(
            s: Operand,
            state: Array,
            length: Array = length,
            across: Callable[[Operand], dict[str, Operand]] = across,
        ) -> Array:
            found = drift(across(s), Values(dict(zip(names, state, strict=True))), values)
            return np.stack([np.broadcast_to(found[name] * length, state.shape[1:]) for name in names])

        def power(
            s: float, state: Array, across: Callable[[Operand], dict[str, Operand]] = across, length: Array = length
        ) -> Array:
            if not taking:
                return np.zeros(length.size)
            now = across(s)
            flows = device.through(now, Values(dict(zip(names, state, strict=True))), values)
            return np.asarray(sum((now[name] * flows[name] for name in taking), np.zeros(length.size))) * length

        # a step too long may overflow before it is refused
        with np.errstate(over="ignore", invalid="ignore"):
            y, spent = _rodas(rate, power, y=y, energy=spent, spans=spans, tolerance=tolerance)
    return {name: y[k].reshape(shape) for k, name in enumerate(names)}, spent.reshape(shape)


def _rodas(
    rate: Callable[[Operand, Array], Array],
    power: Callable[[float, Array], Array],
    *,
    y: Array,
    energy: Array,
    spans: Array,
    tolerance: float,
) -> tuple[Array, Array]:
    """One segment, s from 0 to 1, for states ``y`` (k, n) and the energy (n,); Simpson's rule for the latter."""
    count, width = y.shape
    scale = spans[:, None]
    s, h = 0.0, 0.05
    taken = power(0.0, y)
    for _ in range(MAX_STEPS):
        h = min(h, 1.0 - s)
        # one call for the rate, its slope against each state and against time: (k, 2 + k, n)
        states = np.repeat(y[:, None, :], count + 2, axis=1)
        steps = DIFFERENCE * np.where(y > 0.5 * scale, -scale, scale)
        for k in range(count):
            states[k, k + 1] += steps[k]
        ahead = min(DIFFERENCE, 1.0 - s) or -DIFFERENCE
        times = np.full((count + 2, 1), s)
        times[-1] += ahead
        found = rate(times, states)
        first = found[:, 0]
        slope = (found[:, 1:-1] - first[:, None]) / steps[None]
        forced = (found[:, -1] - first) / ahead
        matrix = np.eye(count)[None] / (h * GAMMA) - np.moveaxis(slope, 2, 0)
        inverse = np.linalg.inv(matrix)
        stages: list[Array] = []
        for a, c, time, weight in STAGES:
            here = y + sum((x * u for x, u in zip(a, stages, strict=True) if x), np.zeros_like(y))
            right = first if not any(a) else rate(s + time * h, here)
            right = right + sum((x / h * u for x, u in zip(c, stages, strict=True)), np.zeros_like(y))
            right = right + h * weight * forced
            stages.append(np.einsum("nij,jn->in", inverse, right))
        after = y + 2.0 * stages[0] + stages[2] + stages[3]
        error = float(np.max(np.abs(stages[3]) / scale, initial=0.0)) / tolerance
        if not np.isfinite(error):
            h *= 0.1
        elif error <= 1.0:
            # the states half way by Hermite's cubic, whose ends the method knows
            last = rate(s + h, after)
            middle = 0.5 * (y + after) + 0.125 * h * (first - last)
            begin, taken = taken, power(s + h, after)
            energy = energy + h / 6.0 * (begin + 4.0 * power(s + 0.5 * h, middle) + taken)
            y, s = after, s + h
            if s >= 1.0 - 1e-12:
                return y, energy
            h *= min(5.0, 0.9 * max(error, 1e-9) ** (-1.0 / 3.0))
        else:
            h *= max(0.1, 0.9 * error ** (-1.0 / 3.0))
        if h < 1e-14:
            break
    raise SimulationError(
        f"an event of {width} instances was not followed to its end: it stopped at {s:.3g} of a segment",
        outcome="not converged",
    )
