"""Integrated event maps as scalar kernels: the rates of a device, traced, inside one integrator per instance.

`cosim.devices.integrate.sweep` follows many instances through a waveform with the steps of the worst one; for a few
hundred instances its calls cost more than their arithmetic. Here each instance takes its own steps of the same method,
Rodas3 with the same tolerance, in compiled code. An implicit current, which numpy solves by iterating, has no text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from cosim.devices.base import Array, Operand, Values
from cosim.devices.integrate import DIFFERENCE, GAMMA, MAX_STEPS, STAGES
from cosim.devices.maps import EventMap
from cosim.emit.expr import Node
from cosim.emit.numba import MapKernel, assignments, compiled
from cosim.errors import EmitError, SimulationError
from cosim.packages import optional

_A, _C = np.zeros((4, 4)), np.zeros((4, 4))
for _i, (_a, _c, _, _) in enumerate(STAGES):
    _A[_i, : len(_a)], _C[_i, : len(_c)] = _a, _c
_TIMES, _WEIGHTS = (np.array([row[part] for row in STAGES]) for part in (2, 3))


def sweep_kernel(event_map: EventMap, p: Values, *, own: Sequence[str] = (), tolerance: float = 1e-5) -> MapKernel:
    """The compiled loop of an integrated map, as `cosim.emit.numba.map_kernel`'s of a closed one. Needs numba.

    Raises `EmitError` for a device whose current is implicit. The loop raises `SimulationError` where an instance is
    not followed to its end.
    """
    run = integrator(event_map, p, own=own, tolerance=tolerance)

    def kernel(x: Array, u: Array, q: Array, out: Array) -> None:
        failed = run(x, u, q, out)
        if failed >= 0:
            raise SimulationError(
                f"an event of the map {event_map.name} was not followed to its end in instance {failed}",
                outcome="not converged",
            )

    return kernel


def integrator(
    event_map: EventMap, p: Values, *, own: Sequence[str] = (), tolerance: float = 1e-5
) -> Callable[[Array, Array, Array, Array], int]:
    """The loop of `sweep_kernel` for compiled code to call; it gives the first instance that it could not follow, or −1

    Raises `EmitError` for a device whose current is implicit.
    """
    numba = optional("numba", extra="fast", needed_by="a compiled map")
    rates, power, segments, finish = (compiled(text) for text in sweep_sources(event_map, p, own=own))
    spans = np.array([state.bounds[1] - state.bounds[0] for state in event_map.device.all_states])
    spans = np.where(np.isfinite(spans), spans, 1.0)
    pieces = event_map.waveform(Values({name: Node("name", name) for name in event_map.inputs}), p)
    sizes = (len(pieces), len(event_map.device.ports), len(event_map.states))
    loop = _loop()

    @numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
    def run(x: Any, u: Any, q: Any, out: Any) -> Any:
        return loop(rates, power, segments, finish, x, u, q, out, spans, sizes, tolerance)

    found: Callable[[Array, Array, Array, Array], int] = run
    return found


def sweep_sources(event_map: EventMap, p: Values, *, own: Sequence[str] = ()) -> tuple[str, str, str, str]:
    """The texts of the rates, the power taken in (W), the segments of the waveform, and what is left at the end."""
    model = event_map.device
    if model.inner:
        raise EmitError(
            f"the current of {model.name} is implicit, so that its map {event_map.name} has no scalar kernel",
            remedy="call it on arrays",
        )

    def rows(array: str, names: Sequence[str]) -> Values:
        return Values({name: Node("name", f"{array}[{k}]") for k, name in enumerate(names)})

    ports, states = [port.name for port in model.ports], [state.name for state in model.all_states]
    here, across, x = p.with_(**rows("q", own)), rows("a", ports), rows("y", states)
    taking = [port.name for port in model.ports if port.nature == "electrical"]
    with np.errstate(all="ignore"):
        rates = model.total_rates(across, x, here)
        flows = model.through(across, x, here)
        power: Operand = sum((across[name] * flows[name] for name in taking), 0.0)
        pieces = {}
        for i, segment in enumerate(event_map.waveform(rows("u", list(event_map.inputs)), here)):
            pieces[f"lengths[{i}]"] = segment.length
            for k, name in enumerate(ports):
                pieces[f"drive[{i}, {k}, 0]"] = segment.begin.get(name, 0.0)
                pieces[f"drive[{i}, {k}, 1]"] = segment.end.get(name, 0.0)
        held = {}
        for name in event_map.states:
            low, high = event_map.bounds(name)
            held[name] = np.clip(x[name], low if np.isfinite(low) else None, high if np.isfinite(high) else None)
        outputs = event_map.reading(Values(held), here, Node("name", "energy"))
    end = [*held.values(), *(outputs[name] for name in event_map.outputs)]
    return (
        function("a, y, q, out", {f"out[{k}]": rates[name] for k, name in enumerate(states)}),
        function("a, y, q", {"power": power}, give="power"),
        function("u, q, lengths, drive", pieces),
        function("y, q, energy, out", {f"out[{k}]": value for k, value in enumerate(end)}),
    )


def function(arguments: str, targets: Mapping[str, Operand], *, give: str = "") -> str:
    """The text of a function that computes ``targets``, and returns the one named ``give``."""
    body, found = assignments({target: Node.of(value) for target, value in targets.items()})
    lines = [*body, *(f"{target} = {found[target]}" for target in targets), *([f"return {give}"] if give else [])]
    lines = lines or ["pass"]
    return "\n".join([f"def kernel({arguments}):", *(f"    {line}" for line in lines), ""])


@cache
def one_step() -> tuple[Callable[..., None], Callable[..., float], Callable[..., Array]]:
    """A step of Rodas3 of one instance, compiled: the rates with their slopes at its start, the step, a workspace.

    Both write into the arrays that they are given; the step returns its error as a part of the states' ranges.
    """
    numba = optional("numba", extra="fast", needed_by="a compiled map")

    @numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
    def solve(matrix: Array, right: Array, anew: bool, pivots: Array) -> bool:
        """``right`` becomes the solution; ``matrix`` its LU factors where it comes ``anew``, and is taken as such."""
        n = right.size
        if anew:
            for k in range(n):
                best = k
                for i in range(k + 1, n):
                    if abs(matrix[i, k]) > abs(matrix[best, k]):
                        best = i
                pivots[k] = best
                if not 0.0 < abs(matrix[best, k]) < np.inf:
                    return False
                for j in range(n):
                    matrix[k, j], matrix[best, j] = matrix[best, j], matrix[k, j]
                for i in range(k + 1, n):
                    matrix[i, k] /= matrix[k, k]
                    for j in range(k + 1, n):
                        matrix[i, j] -= matrix[i, k] * matrix[k, j]
        for k in range(n):
            best = int(pivots[k])
            right[k], right[best] = right[best], right[k]
        for k in range(n):
            for j in range(k):
                right[k] -= matrix[k, j] * right[j]
        for k in range(n - 1, -1, -1):
            for j in range(k + 1, n):
                right[k] -= matrix[k, j] * right[j]
            right[k] /= matrix[k, k]
        return True

    # Loops over scalars, and a solver by hand: numba takes seconds to compile each expression of arrays.
    @numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
    def slopes(
        rates: Any, y: Array, begin: Array, rise: Array, length: float, s: float, q: Array, spans: Array,
        first: Array, slope: Array, forced: Array, work: Array,
    ) -> None:  # fmt: skip
        n, now, rate = y.size, work[0], work[1]
        for k in range(begin.size):
            now[k] = begin[k] + s * rise[k]
        rates(now, y, q, first)
        for i in range(n):
            first[i] *= length
        for k in range(n):
            here = y[k]
            moved = here + DIFFERENCE * (-spans[k] if here > 0.5 * spans[k] else spans[k])
            y[k] = moved
            rates(now, y, q, rate)
            y[k] = here
            for i in range(n):
                slope[i, k] = (rate[i] * length - first[i]) / (moved - here)
        ahead = min(DIFFERENCE, 1.0 - s)
        if ahead == 0.0:
            ahead = -DIFFERENCE
        for k in range(begin.size):
            now[k] = begin[k] + (s + ahead) * rise[k]
        rates(now, y, q, rate)
        for i in range(n):
            forced[i] = (rate[i] * length - first[i]) / ahead

    @numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
    def step(
        rates: Any, y: Array, begin: Array, rise: Array, length: float, s: float, h: float, q: Array, spans: Array,
        first: Array, slope: Array, forced: Array, after: Array, work: Array, matrix: Array, stages: Array,
    ) -> float:  # fmt: skip
        n, now, rate = y.size, work[0], work[1]
        for i in range(n):
            for k in range(n):
                matrix[i, k] = -slope[i, k]
            matrix[i, i] += 1.0 / (h * GAMMA)
        for stage in range(4):
            for i in range(n):
                after[i] = y[i]
                for j in range(stage):
                    after[i] += _A[stage, j] * stages[j, i]
            if stage < 2:
                for i in range(n):
                    rate[i] = first[i]
            else:
                for k in range(begin.size):
                    now[k] = begin[k] + (s + _TIMES[stage] * h) * rise[k]
                rates(now, after, q, rate)
                for i in range(n):
                    rate[i] *= length
            for i in range(n):
                right = rate[i] + _WEIGHTS[stage] * h * forced[i]
                for j in range(stage):
                    right += _C[stage, j] / h * stages[j, i]
                stages[stage, i] = right
            if not solve(matrix, stages[stage], stage == 0, work[2]):
                return np.nan
        error = 0.0
        for i in range(n):
            after[i] = y[i] + 2.0 * stages[0, i] + stages[2, i] + stages[3, i]
            part = abs(stages[3, i]) / spans[i]
            if not part <= error:  # NaN too
                error = part
        return error

    @numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
    def workspace(states: int, ports: int) -> Array:
        return np.empty((3, max(states, ports)))

    return slopes, step, workspace


@cache
def _loop() -> Callable[..., int]:
    """The integrator, compiled: instance by instance, segment by segment; the first that fails, or −1."""
    numba = optional("numba", extra="fast", needed_by="a compiled map")
    slopes, step, workspace = one_step()

    @numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
    def follow(
        rates: Any, power: Any, y: Array, drive: Array, length: float, q: Array, spans: Array, tolerance: float
    ) -> float:
        n = y.size
        first, last, forced, after = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
        slope, matrix, stages, work = np.empty((n, n)), np.empty((n, n)), np.zeros((4, n)), workspace(n, drive.shape[0])
        begin, rise = drive[:, 0], drive[:, 1] - drive[:, 0]
        s, h, energy = 0.0, 0.05, 0.0
        taken = power(begin, y, q) * length
        for _ in range(MAX_STEPS):
            h = min(h, 1.0 - s)
            slopes(rates, y, begin, rise, length, s, q, spans, first, slope, forced, work)
            error = step(
                rates, y, begin, rise, length, s, h, q, spans, first, slope, forced, after, work, matrix, stages
            )
            error /= tolerance
            if not np.isfinite(error):
                h *= 0.1
            elif error <= 1.0:
                rates(begin + (s + h) * rise, after, q, last)
                last *= length
                middle = 0.5 * (y + after) + 0.125 * h * (first - last)
                left = taken
                taken = power(begin + (s + h) * rise, after, q) * length
                energy += h / 6.0 * (left + 4.0 * power(begin + (s + 0.5 * h) * rise, middle, q) * length + taken)
                y[:] = after
                s += h
                if s >= 1.0 - 1e-12:
                    return float(energy)
                h *= min(5.0, 0.9 * max(error, 1e-9) ** (-1.0 / 3.0))
            else:
                h *= max(0.1, 0.9 * error ** (-1.0 / 3.0))
            if h < 1e-14:
                break
        return float(np.nan)

    @numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
    def loop(
        rates: Any, power: Any, segments: Any, finish: Any, x: Array, u: Array, own: Array, out: Array, spans: Array,
        sizes: tuple[int, int, int], tolerance: float,
    ) -> int:  # fmt: skip
        count, ports, states = sizes
        lengths, drive = np.empty(count), np.empty((count, ports, 2))
        y, result = np.empty(spans.size), np.empty(out.shape[0])
        for i in range(out.shape[1]):
            q = own[:, i].copy()
            y[:] = 0.0
            y[:states] = x[:, i]
            segments(u[:, i].copy(), q, lengths, drive)
            energy = 0.0
            for k in range(count):
                energy += follow(rates, power, y, drive[k], lengths[k], q, spans, tolerance)
            if not np.isfinite(energy):
                return i
            finish(y, q, energy, result)
            out[:, i] = result
        return -1

    found: Callable[..., int] = loop
    return found
