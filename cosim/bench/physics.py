"""Physics checks of memristive models: pinched loop, state in bounds, passive, solvable at DC, energy, time step.

Each check gives a `Check` with its verdict, the number that was measured and the limit that it is held to. The first
functions judge waveforms, wherever they come from; `check_device` runs a device's numpy functions through all of them.
`cosim.bench.examine` does the same for a subcircuit in a simulator. All tolerances are our choice.

A memristive one-port (Chua 2014): i(v = 0) = 0 in every state, so its loop in the v–i plane is pinched at the origin;
it stores no energy that its port sees, so v·i >= 0 at every instant and ∫ v·i dt never falls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cosim.devices.base import Array, DeviceModel, Operand, Values
from cosim.devices.integrate import integrate
from cosim.errors import CosimError, InputError
from cosim.statistics.verdict import Verdict

PINCH = 1e-3  # of the largest current: what linear interpolation between a run's points may leave at v = 0
PASSIVE = 1e-6  # of the largest power: rounding of an engine's tolerances
BOUNDS = 1e-3  # of a state's range: an engine's tolerance at a hard stop
ENERGY = 1e-2  # of the energy delivered: the trapezoidal rule on a run's points
STEP = 5e-3  # of a waveform's range: a result that moves more than this in a finer run is void
PERIODS = 2
POINTS = 200  # per period


@dataclass(frozen=True)
class Check:
    """One check: ``value`` has to be at most ``limit``, both in ``unit``; ``says`` is one sentence."""

    name: str
    verdict: Verdict
    says: str
    value: float | None = None
    limit: float | None = None
    unit: str = "1"

    @property
    def passed(self) -> bool | None:
        """True, False, or None where it cannot be told."""
        return None if self.verdict is Verdict.CANNOT_TELL else self.verdict is Verdict.PASS


@dataclass(frozen=True)
class Physics:
    """The checks of one model."""

    model: str
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        """Fail where one fails, else cannot tell where one cannot."""
        found = {check.verdict for check in self.checks}
        return next(v for v in (Verdict.FAIL, Verdict.CANNOT_TELL, Verdict.PASS) if v in found or v is Verdict.PASS)

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)


def judge(name: str, value: float, limit: float, *, says: str, unit: str = "1") -> Check:
    """A check of ``value`` <= ``limit``; ``says`` has the places ``{value}`` and ``{limit}``."""
    sentence = says.format(value=f"{value:.3g}", limit=f"{limit:.3g}")
    if not np.isfinite(value):
        return Check(name, Verdict.FAIL, f"{sentence} (not finite)", None, limit, unit)
    return Check(name, Verdict.PASS if value <= limit else Verdict.FAIL, sentence, float(value), limit, unit)


def cannot_tell(name: str, why: str) -> Check:
    """A check without a verdict, and why."""
    return Check(name, Verdict.CANNOT_TELL, why)


def zero_crossings(v: Array, i: Array) -> Array:
    """The current (A) at each zero of ``v`` (n,) V, linear between points; points at zero count as they are."""
    v, i = np.asarray(v, dtype=float), np.asarray(i, dtype=float)
    at_zero = i[v == 0.0]
    between = np.flatnonzero(v[:-1] * v[1:] < 0.0)
    share = v[between] / (v[between] - v[between + 1])
    return np.concatenate([at_zero, i[between] + share * (i[between + 1] - i[between])])


def pinched_loop(v: Array, i: Array, *, limit: float = PINCH) -> Check:
    """Whether the loop of ``v`` (n,) V and ``i`` (n,) A goes through the origin."""
    crossings = zero_crossings(v, i)
    top = float(np.max(np.abs(i)))
    if crossings.size == 0 or top == 0.0:
        return cannot_tell("pinched loop", "the voltage never crosses zero, or no current flows")
    worst = float(np.max(np.abs(crossings))) / top
    return judge("pinched loop", worst, limit, says="at v = 0 the current is {value} of its largest (limit {limit})")


def loop_area(v: Array, i: Array) -> float:
    """The area (W) between the branches of a loop, positive and negative voltages added: 0 for a resistor.

    The signed area of each lobe, ∮ i dv over the half-period in which ``v`` keeps its sign.
    """
    v, i = np.asarray(v, dtype=float), np.asarray(i, dtype=float)
    mean = 0.5 * (i[1:] + i[:-1])
    return float(sum(abs(np.sum(mean * np.diff(np.maximum(sign * v, 0.0)))) for sign in (1.0, -1.0)))


def states_in_bounds(
    states: Mapping[str, Array], bounds: Mapping[str, tuple[float, float]], *, limit: float = BOUNDS
) -> Check:
    """Whether each state (n,) stays within its bounds, by the largest excursion as a fraction of the state's range.

    An open bound is never crossed; the range of a state with one is the one that it spans.
    """
    worst, where = 0.0, ""
    for name, (low, high) in bounds.items():
        values = np.asarray(states[name], dtype=float)
        if not np.all(np.isfinite(values)):
            return judge("state in bounds", np.inf, limit, says=f"state {name} is not finite")
        span = high - low if np.isfinite(high - low) else max(float(np.ptp(values)), 1e-30)
        outside = max(float(np.max(values)) - high, low - float(np.min(values)), 0.0) / span
        if outside >= worst:
            worst, where = outside, name
    if not bounds:
        return cannot_tell("state in bounds", "no state has bounds")
    return judge(
        "state in bounds", worst, limit, says=f"{where} leaves its bounds by {{value}} of its range (limit {{limit}})"
    )


def passive(powers: Array, *, limit: float = PASSIVE) -> Check:
    """Whether the power (n,) W into all electrical ports together is never negative."""
    powers = np.asarray(powers, dtype=float)
    top = float(np.max(np.abs(powers)))
    if top == 0.0:
        return cannot_tell("passive", "no power flows")
    worst = max(-float(np.min(powers)) / top, 0.0)
    return judge("passive", worst, limit, says="it delivers {value} of its largest power (limit {limit})")


def energy_balance(
    times: Array, delivered: Sequence[Array], taken: Sequence[Array], *, stored: float = 0.0, limit: float = ENERGY
) -> Check:
    """Whether the energy of the sources is that of the sinks plus what is stored more at the end than at the start.

    Args:
        times: (n,) s.
        delivered: power (n,) W out of each source.
        taken: power (n,) W into each element, or as its model has it on the run's voltages and states.
        stored: J, more at the end than at the start.
        limit: of the larger of the two energies.
    """
    given = float(sum(np.trapezoid(power, times) for power in delivered))
    used = float(sum(np.trapezoid(power, times) for power in taken)) + stored
    scale = max(abs(given), abs(used))
    if scale == 0.0:
        return cannot_tell("energy balance", "no energy flows")
    says = f"{given:.4g} J delivered, {used:.4g} J taken: {{value}} apart (limit {{limit}})"
    return judge("energy balance", abs(given - used) / scale, limit, says=says)


def energy_kept(times: Array, power: Array, *, limit: float = ENERGY) -> Check:
    """Whether a one-port without a store of energy ever gives back what it took: ``power`` (n,) W into it.

    The balance of a device alone: ∫ v·i dt became heat, and heat does not come back.
    """
    taken = np.concatenate([[0.0], np.cumsum(0.5 * (power[1:] + power[:-1]) * np.diff(times))])
    top = float(np.max(np.abs(taken)))
    if top == 0.0:
        return cannot_tell("energy balance", "no energy flows")
    back = float(np.max(np.maximum.accumulate(taken) - taken)) / top
    return judge("energy balance", back, limit, says="it gives back {value} of the energy it took (limit {limit})")


def time_step_convergence(
    coarse: tuple[Array, Array],
    fine: tuple[Array, Array],
    *,
    span: float | None = None,
    limit: float = STEP,
    name: str = "time step",
) -> Check:
    """Whether a waveform stays the same when the run is repeated finer: the largest difference, relative to its range.

    Args:
        coarse: times (n,) s and values (n,).
        fine: times (m,) and values (m,) of the run with tighter tolerances and half the step.
        span: the range; by default, and where it is not finite, the fine waveform's.
        limit: of the range.
        name: of the check.
    """
    (t, y), (t_fine, y_fine) = coarse, fine
    inside = (t >= t_fine[0]) & (t <= t_fine[-1])
    moved = float(np.ptp(y_fine))
    span = moved if span is None or not np.isfinite(span) else span
    if not np.any(inside) or moved == 0.0:
        return cannot_tell(name, "the waveform does not move")
    worst = float(np.max(np.abs(np.interp(t[inside], t_fine, y_fine) - y[inside]))) / span
    return judge(name, worst, limit, says="a finer run moves it by {value} of its range (limit {limit})")


def worst_of(checks: Sequence[Check]) -> Check:
    """The check with the largest value; where none could tell, one of those."""
    told = [check for check in checks if check.verdict is not Verdict.CANNOT_TELL]
    if told:
        return max(told, key=lambda check: np.inf if check.value is None else check.value)
    return checks[0] if checks else cannot_tell("time step", "the device has no state")


def electrical_power(device: DeviceModel, across: Mapping[str, Operand], x: Values, p: Values) -> Operand:
    """Power (W) into the electrical ports of a device, together."""
    flows = device.through(across, x, p)
    return sum(across[port.name] * flows[port.name] for port in device.ports if port.nature == "electrical")


def sine(device: DeviceModel, p: Values, *, periods: int = PERIODS) -> tuple[str, Array, Array]:
    """The port, the times (n,) s and the voltages (n,) V of a sine at a device's drive level, four pulse widths long.

    Raises `InputError` where the device has no electrical port to drive.
    """
    ranges = device.drive_ranges(p)
    port = next((port.name for port in device.ports if port.nature == "electrical" and port.name in ranges), None)
    if port is None:
        raise InputError(f"device {device.name} has no electrical port to drive")
    t = np.linspace(0.0, periods * 4.0 * device.pulse_width(p), periods * POINTS + 1)
    v = max(map(abs, ranges[port])) * np.sin(2.0 * np.pi * np.arange(t.size) / POINTS)
    v[:: POINTS // 2] = 0.0  # not the rounding of sin(kπ)
    return port, t, v


def solvable_at_dc(device: DeviceModel, p: Values, *, rng: np.random.Generator, count: int = 200) -> Check:
    """Whether currents and drifts are finite numbers at random states and voltages up to three times the drive level.

    An inner node has to have a solution everywhere, and only one: its balance has to fall with its voltage.
    """
    name = "solvable at DC"
    ranges = {port: 3.0 * max(map(abs, span)) for port, span in device.drive_ranges(p).items()}
    across = {q.name: rng.uniform(-1.0, 1.0, count) * ranges.get(q.name, 0.0) for q in device.ports}
    x = _random_states(device, rng, count)
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            found = [*device.through(across, x, p).values(), *device.total_rates(across, x, p).values()]
    except CosimError as error:
        return Check(name, Verdict.FAIL, str(error))
    lost = max(float(np.mean(~np.isfinite(np.broadcast_to(value, (count,))))) for value in found)
    if lost:
        return judge(name, lost, 0.0, says="at {value} of the points the current or a drift is not finite")
    top = max(ranges.values(), default=1.0)
    rising = 0.0
    for node in device.inner:
        grid = np.linspace(-top, top, 401)[:, None]
        with_node = x.with_(**{node.name: grid})
        balance = np.broadcast_to(device.balance(across, with_node, p)[node.name], (grid.size, count))
        rising = max(rising, float(np.mean(np.diff(balance, axis=0) > 0.0)))
    return judge(name, rising, 0.0, says="an inner node's balance rises over {value} of the voltages (limit {limit})")


def _random_states(device: DeviceModel, rng: np.random.Generator, count: int) -> Values:
    """States over their bounds; an open bound stands for 1e3."""
    spans = {state.name: np.clip(state.bounds, -1e3, 1e3) for state in device.all_states}
    return Values({name: rng.uniform(low, high, count) for name, (low, high) in spans.items()})


def passive_everywhere(device: DeviceModel, p: Values, *, rng: np.random.Generator, count: int = 500) -> Check:
    """Whether power is never delivered at random states and voltages."""
    ranges = device.drive_ranges(p)
    across = {q.name: rng.uniform(*ranges.get(q.name, (0.0, 0.0)), count) for q in device.ports}
    return passive(np.broadcast_to(electrical_power(device, across, _random_states(device, rng, count), p), (count,)))


def check_device(device: DeviceModel, p: Values, *, rng: np.random.Generator) -> Physics:
    """Every check on a device's numpy functions: at random points, and over two periods of a sine."""
    checks = [solvable_at_dc(device, p, rng=rng), passive_everywhere(device, p, rng=rng)]
    try:
        port, t, v = sine(device, p)
        run, loose = (integrate(device, p, t=t, across={port: v}, rtol=r, atol=1e-3 * r) for r in (1e-8, 1e-4))
    except CosimError as error:
        names = ("pinched loop", "state in bounds", "energy balance", "time step")
        return Physics(device.name, (*checks, *(cannot_tell(name, str(error)) for name in names)))
    checks.append(pinched_loop(v, run.through[port]))
    checks.append(states_in_bounds(run.states, {s.name: s.bounds for s in device.states}))
    checks.append(energy_kept(t, v * run.through[port]))
    moved = [
        time_step_convergence((t, loose.states[s.name]), (t, run.states[s.name]), span=s.bounds[1] - s.bounds[0])
        for s in device.states
    ]
    checks.append(worst_of(moved))
    return Physics(device.name, tuple(checks))
