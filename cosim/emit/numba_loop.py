"""A device with one state along a swept voltage, compiled: the exponential steps of `cosim.fitting.forwards.loop`.

The same steps one after the other, which numpy takes side by side and again until they agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from cosim.devices.base import Array, Operand, Values
from cosim.emit.expr import Node, hoisted
from cosim.emit.numba import compiled
from cosim.emit.numba_sweep import function
from cosim.packages import optional

# Voltages (n,), lengths (n − 1,), steps from row to row, first states (m,), parameters (m, k) -> states (m, n).
Loop = Callable[[Array, Array, int, Array, Array], Array]
# Beyond this exponent a state has left its range in any case.
STEEP = 50.0
# The state is looked ahead by so much at least, for a secant of the rate, and at most.
STILL, REACH = 1e-12, 0.02


def loop(rate: Callable[[Operand, Operand, Values], Operand], *, own: Sequence[str]) -> Loop:
    """The compiled course of a state whose ``rate`` (1/s) depends on the voltage, the state and the parameters ``own``.

    Raises `EmitError` where an operation has no text, `EngineMissing` where numba is not there.
    """
    q = Values({name: Node("name", f"q[{k}]") for k, name in enumerate(own)})
    with np.errstate(all="ignore"):
        graph = Node.of(rate(Node("name", "v"), Node("name", "w"), q))
    # what depends on the parameters alone is computed once for each set, and stands behind them
    kept, rest = hoisted({"found": graph}, {f"q[{k}]" for k in range(len(own))}, lambda k: f"q[{len(own) + k}]")
    prepare, along = compiled(function("q", kept)), _along()
    drift = compiled(function("v, w, q", rest, give="found"))

    def run(v: Array, dt: Array, steps: int, start: Array, own: Array) -> Array:
        states = np.empty((start.size, v.size))
        whole = np.concatenate([own, np.empty((start.size, len(kept)))], axis=1)
        along(prepare, drift, v, dt, steps, start, whole, states)
        return states

    return run


@cache
def _along() -> Callable[..., None]:
    numba = optional("numba", extra="fast", needed_by="a compiled loop")

    @numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
    def along(
        prepare: Any, drift: Any, v: Array, dt: Array, steps: int, start: Array, own: Array, states: Array
    ) -> None:
        for i in range(start.size):
            w, q = start[i], own[i]
            prepare(q)
            states[i, 0] = w
            for k in range(dt.size):
                h, rise = dt[k] / steps, v[k + 1] - v[k]
                for j in range(steps):
                    here = v[k] + rise * ((j + 0.5) / steps)
                    rate = drift(here, w, q)
                    step = min(max(h * rate, -min(REACH, 0.5 * w)), min(REACH, 0.5 * (1.0 - w)))
                    u = (drift(here, w + step, q) - rate) / step * h if abs(step) > STILL else 0.0
                    if u > STEEP:
                        u = STEEP
                    phi = 1.0 + 0.5 * u if abs(u) < 1e-8 else math.expm1(u) / u
                    w = w + h * phi * rate
                    if w < 0.0:
                        w = 0.0
                    elif w > 1.0:
                        w = 1.0
                states[i, k + 1] = w

    found: Callable[..., None] = along
    return found
