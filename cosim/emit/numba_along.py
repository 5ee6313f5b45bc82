"""A device followed along a recording, compiled: the rates, traced, from row to row for many sets of parameters.

A fit differs between sets of parameters that are all but equal, so that all of them have to take the same steps: those
that the first one asks for. `cosim.devices.integrate.sweep` does the same in numpy, at some hundred times the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any

import numpy as np

from cosim.devices.base import Array, Operand, Values
from cosim.devices.integrate import MAX_STEPS
from cosim.emit.expr import Node
from cosim.emit.numba import compiled
from cosim.emit.numba_sweep import function, one_step
from cosim.packages import optional

# Rates of a device: ports, states, parameters -> states, each by name.
Rates = Callable[[Mapping[str, Operand], Values, Values], Mapping[str, Operand]]


def rates_along(rates: Rates, *, ports: tuple[str, ...], states: tuple[str, ...], own: tuple[str, ...]) -> str:
    """The text of ``rates``; ``own`` names its parameters. Raises `EmitError` for what has no text."""

    def rows(array: str, names: tuple[str, ...]) -> Values:
        return Values({name: Node("name", f"{array}[{k}]") for k, name in enumerate(names)})

    with np.errstate(all="ignore"):
        found = rates(rows("a", ports), rows("y", states), rows("q", own))
    return function("a, y, q, out", {f"out[{k}]": found[name] for k, name in enumerate(states)})


def follow(
    text: str, *, t: Array, drive: Array, start: Array, own: Array, spans: Array, tolerance: float
) -> Array | None:
    """The states at every row; None where an integration was not followed to its end. Needs numba.

    Args:
        text: of `rates_along`.
        t: (n,) s of the rows.
        drive: (n, ports) of the rows, straight between them.
        start: (states, m) at the first row.
        own: (parameters, m), the first set of which asks for the steps.
        spans: (states,) what errors are parts of.
        tolerance: error of a step as such a part.

    Returns:
        (n, states, m)
    """
    return _followed(
        text,
        start.shape,
        *(np.ascontiguousarray(part).tobytes() for part in (t, drive, start, own.T, spans)),
        tolerance,
    )


@lru_cache(maxsize=4)
def _followed(
    text: str, shape: tuple[int, int], t: bytes, drive: bytes, start: bytes, own: bytes, spans: bytes, tolerance: float
) -> Array | None:
    """`follow`, whose last results are kept: waveforms of one experiment differ in what is seen of the states alone."""
    times, (_, m) = np.frombuffer(t), shape
    out = np.empty((times.size, *shape))
    done: bool = _along()(
        compiled(text),
        times,
        np.frombuffer(drive).reshape(times.size, -1),
        np.frombuffer(start).reshape(shape),
        np.frombuffer(own).reshape(m, -1),
        out,
        np.frombuffer(spans),
        tolerance,
    )
    out.setflags(write=False)
    return out if done else None


@cache
def _along() -> Callable[..., bool]:
    numba = optional("numba", extra="fast", needed_by="a compiled recording")
    slopes, step, workspace = one_step()

    @numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
    def along(
        rates: Any, t: Array, drive: Array, start: Array, own: Array, out: Array, spans: Array, tolerance: float
    ) -> bool:
        n, m = start.shape
        first, forced, after = np.empty(n), np.empty(n), np.empty(n)
        slope, matrix, stages, work = np.empty((n, n)), np.empty((n, n)), np.zeros((4, n)), workspace(n, drive.shape[1])
        rise, y = np.empty(drive.shape[1]), np.empty((m, n))
        for i in range(m):
            for k in range(n):
                y[i, k] = out[0, k, i] = start[k, i]
        ahead = 0.05 * (t[1] - t[0]) if t.size > 1 else 0.0  # the step (s) that the error allows
        for row in range(1, t.size):
            length = t[row] - t[row - 1]
            begin, s = drive[row - 1], 0.0
            for k in range(rise.size):
                rise[k] = drive[row, k] - begin[k]
            error = 0.0
            for attempt in range(MAX_STEPS + 1):
                h = min(ahead / length, 1.0 - s)
                if attempt == MAX_STEPS or h < 1e-14:
                    return False
                for i in range(m):
                    here, q = y[i], own[i]
                    slopes(rates, here, begin, rise, length, s, q, spans, first, slope, forced, work)
                    wrong = step(
                        rates, here, begin, rise, length, s, h, q, spans,
                        first, slope, forced, after, work, matrix, stages,
                    )  # fmt: skip
                    if i == 0:
                        error = wrong / tolerance
                        if not error <= 1.0:
                            break
                    for k in range(n):
                        here[k] = after[k]
                if not error <= 1.0:
                    ahead = h * length * (max(0.1, 0.9 * error ** (-1.0 / 3.0)) if np.isfinite(error) else 0.1)
                    continue
                s += h
                wanted = h * length * min(5.0, 0.9 * max(error, 1e-9) ** (-1.0 / 3.0))
                if s >= 1.0 - 1e-12:
                    ahead = max(ahead, wanted)  # a row may have cut the step short
                    break
                ahead = wanted
            for i in range(m):
                for k in range(n):
                    out[row, k, i] = y[i, k]
        return True

    found: Callable[..., bool] = along
    return found
