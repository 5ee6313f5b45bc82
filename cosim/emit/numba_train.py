"""Trains of pulses, compiled: a device's map of one pulse and its read, traced, from pulse to pulse.

For a few hundred pulses `cosim.fitting.trajectory`, which solves them all at once in numpy, spends its time in calls.
Beside each read comes its derivative by every parameter: with w the state, f the pulse and S the state's derivative,
S <- ∂f/∂w S + ∂f/∂p from pulse to pulse, where ∂f is that of the traced graph (`cosim.emit.derivative`). What no pulse
of the other sign needs is not computed: each sign has a function of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from cosim.devices.base import Array, Operand, Values
from cosim.emit import numba_filter
from cosim.emit.derivative import derivatives
from cosim.emit.expr import Node
from cosim.emit.numba import compiled
from cosim.emit.numba_sweep import function
from cosim.errors import EmitError
from cosim.packages import optional

# Lines of a function beyond which compiling takes longer than the fits do: that time grows faster than the lines.
LONGEST = 500


@dataclass(frozen=True)
class Train:
    """A compiled train: functions of a pulse of either sign and of a read, alone and with derivatives."""

    plain: tuple[Any, Any, Any]
    sloped: tuple[Any, Any, Any]

    def reads(self, v: Array, w: float, q: Array, corrections: tuple[Array, ...] = ()) -> Array:
        """What is read after each pulse of ``v`` (n,) volts, from the state ``w`` and the parameters (k,); (n,).

        ``corrections`` are those of the state before each pulse by the read before it, (n,) each: gain, read, side of
        a limit, deviation of the innovation, width of the state (`cosim.fitting.process`).
        """
        found = np.empty(v.size)
        loop = (numba_filter.loops if corrections else _loops)(*self.plain)[0]
        loop(v, w, q, *corrections, found)
        return found

    def linearised(
        self, v: Array, w: float, q: Array, corrections: tuple[Array, ...] = (), *, initial: int
    ) -> tuple[Array, Array]:
        """The same with the derivatives by each parameter, that of ``initial`` being ``w``; (n,), (k, n)."""
        found, slopes = np.empty(v.size), np.empty((q.size, v.size))
        loop = (numba_filter.loops if corrections else _loops)(*self.sloped)[1]
        loop(v, w, q, initial, *corrections, found, slopes)
        return found, slopes


def train(
    *,
    after: Callable[[Operand, Operand, Values, int], Operand],
    seen: Callable[[Operand, Values], Operand],
    own: Sequence[str],
) -> Train:
    """Compile a train.

    Args:
        after: the state after a pulse of a voltage, from the state before it, the parameters and the pulse's sign.
        seen: what is read of a state.
        own: names of the parameters, in the order in which they are given.

    Raises:
        EmitError: an operation has no text or no derivative, or there are too many; EngineMissing: numba is not there.
    """
    v, w = Node("name", "v"), Node("name", "w")
    labels = [f"q[{k}]" for k in range(len(own))]
    q = Values({name: Node("name", label) for name, label in zip(own, labels, strict=True)})
    with np.errstate(all="ignore"):
        graphs = [Node.of(after(v, w, q, -1)), Node.of(after(v, w, q, 1)), Node.of(seen(w, q))]
        plain = [function("v, w, q", {"found": graph}, give="found") for graph in graphs]
        sloped = [
            function(
                "v, w, q, slope",
                {"found": graph, **{f"slope[{k}]": s for k, s in enumerate(derivatives(graph, ["w", *labels]))}},
                give="found",
            )
            for graph in graphs
        ]
    if (lines := max(text.count("\n") for text in sloped)) > LONGEST:
        raise EmitError(f"a pulse of {lines} lines takes too long to compile")
    first, second = (tuple(compiled(text) for text in texts) for texts in (plain, sloped))
    return Train((first[0], first[1], first[2]), (second[0], second[1], second[2]))


@cache
def _loops(negative: Any, positive: Any, look: Any) -> tuple[Callable[..., None], Callable[..., None]]:
    """Without and with derivatives, for functions of the same kind: as arguments numba would look at them each time."""
    numba = optional("numba", extra="fast", needed_by="a compiled train")

    @numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
    def reads(v: Array, w: float, q: Array, found: Array) -> None:
        for k in range(v.size):
            w = negative(v[k], w, q) if v[k] < 0.0 else positive(v[k], w, q)
            found[k] = look(v[k], w, q)

    @numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
    def linearised(v: Array, w: float, q: Array, initial: int, found: Array, slopes: Array) -> None:
        of_state, slope = np.zeros(q.size), np.empty(q.size + 1)
        of_state[initial] = 1.0
        for k in range(v.size):
            w = negative(v[k], w, q, slope) if v[k] < 0.0 else positive(v[k], w, q, slope)
            for i in range(q.size):
                of_state[i] = slope[0] * of_state[i] + slope[i + 1]
            found[k] = look(v[k], w, q, slope)
            for i in range(q.size):
                slopes[i, k] = slope[0] * of_state[i] + slope[i + 1]

    return reads, linearised
