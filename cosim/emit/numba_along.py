"""A device followed along a recording, compiled: the rates, traced, from row to row for many sets of parameters.

A fit differs between sets of parameters that are all but equal, so that all of them have to take the same steps: those
that the first one asks for. `cosim.devices.integrate.sweep` does the same in numpy, at some hundred times the cost. The
slopes of the rates are those of the traced graph, and what depends on parameters alone is computed once for each set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np

from cosim.devices.base import Array, Operand, Values
from cosim.devices.integrate import MAX_STEPS
from cosim.emit.derivative import derivatives
from cosim.emit.expr import Node, hoisted
from cosim.emit.numba import compiled
from cosim.emit.numba_sweep import function, one_step
from cosim.packages import optional

# Rates of a device: ports, states, parameters -> states, each by name.
Rates = Callable[[Mapping[str, Operand], Values, Values], Mapping[str, Operand]]


@dataclass(frozen=True)
class Along:
    """The texts of a device's rates, as `rates_along` writes them.

    Args:
        prepare: of what depends on the parameters alone: of a set's array the part behind them.
        rates: of the rates.
        slopes: of the rates, their slopes against the states, and how fast they change as the ports do.
        kept: how many numbers ``prepare`` makes.
    """

    prepare: str
    rates: str
    slopes: str
    kept: int


def rates_along(rates: Rates, *, ports: tuple[str, ...], states: tuple[str, ...], own: tuple[str, ...]) -> Along:
    """The texts of ``rates``; ``own`` names its parameters.

    Raises `EmitError` for what has no text or no derivative.
    """

    def rows(array: str, names: tuple[str, ...]) -> Values:
        return Values({name: Node("name", f"{array}[{k}]") for k, name in enumerate(names)})

    with np.errstate(all="ignore"):
        found = rates(rows("a", ports), rows("y", states), rows("q", own))
        graphs = {f"out[{k}]": Node.of(found[name]) for k, name in enumerate(states)}
        moved: dict[str, Node] = {}
        for k, graph in enumerate(tuple(graphs.values())):
            slopes = derivatives(
                graph, [*(f"y[{i}]" for i in range(len(states))), *(f"a[{i}]" for i in range(len(ports)))]
            )
            moved |= {f"slope[{k}, {i}]": slopes[i] for i in range(len(states))}
            driven = (by * Node("name", f"rise[{i}]") for i, by in enumerate(slopes[len(states) :]))
            moved[f"forced[{k}]"] = Node.of(sum(driven, 0.0))
    names = {f"q[{k}]" for k in range(len(own))}
    kept, rest = hoisted({**graphs, **moved}, names, lambda k: f"q[{len(own) + k}]")
    return Along(
        function("q", kept),
        function("a, y, q, out", {target: rest[target] for target in graphs}),
        function("a, y, q, rise, out, slope, forced", rest),
        len(kept),
    )


def follow(
    texts: Along, *, t: Array, drive: Array, start: Array, own: Array, spans: Array, tolerance: float
) -> Array | None:
    """The states at every row; None where an integration was not followed to its end. Needs numba.

    Args:
        texts: of `rates_along`.
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
        texts,
        start.shape,
        *(np.ascontiguousarray(part).tobytes() for part in (t, drive, start, own.T, spans)),
        tolerance,
    )


@lru_cache(maxsize=4)
def _followed(
    texts: Along, shape: tuple[int, int], t: bytes, drive: bytes, start: bytes, own: bytes, spans: bytes,
    tolerance: float,
) -> Array | None:  # fmt: skip
    """`follow`, whose last results are kept: waveforms of one experiment differ in what is seen of the states alone."""
    times, (_, m) = np.frombuffer(t), shape
    out = np.empty((times.size, *shape))
    done: bool = _along()(
        *(compiled(text) for text in (texts.prepare, texts.rates, texts.slopes)),
        times,
        np.frombuffer(drive).reshape(times.size, -1),
        np.frombuffer(start).reshape(shape),
        _with_room(np.frombuffer(own).reshape(m, -1), texts.kept),
        out,
        np.frombuffer(spans),
        tolerance,
    )
    out.setflags(write=False)
    return out if done else None


def follow_each(
    texts: Along, *, lengths: Array, drive: Array, start: Array, own: Array, spans: Array, tolerance: float
) -> Array | None:
    """The states of many instances after a waveform of their own; None where one was not followed to its end.

    Args:
        texts: of `rates_along`.
        lengths: (n, segments) s.
        drive: (n, segments, 2, ports) at both ends of each segment.
        start: (n, states, m).
        own: (n, m, parameters), the first set of which asks for the steps of an instance.
        spans: (states,) what errors are parts of.
        tolerance: error of a step as such a part.

    Returns:
        (n, states, m)
    """
    after = np.array(start, dtype=float, order="C")
    along, rates = _along(), [compiled(text) for text in (texts.prepare, texts.rates, texts.slopes)]
    own, drive, out = _with_room(own, texts.kept), np.ascontiguousarray(drive), np.empty((2, *after.shape[1:]))
    for row, waveform in enumerate(lengths):
        for part in np.flatnonzero(waveform > 0.0):
            t = np.array([0.0, waveform[part]])
            if not along(*rates, t, drive[row, part], after[row], own[row], out, spans, tolerance):
                return None
            after[row] = out[1]
    return after


def _with_room(own: Array, kept: int) -> Array:
    return np.concatenate([own, np.empty((*own.shape[:-1], kept))], axis=-1)


@cache
def _along() -> Callable[..., bool]:
    numba = optional("numba", extra="fast", needed_by="a compiled recording")
    _, step, workspace = one_step()

    @numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
    def along(
        prepare: Any, rates: Any, slopes: Any, t: Array, drive: Array, start: Array, own: Array, out: Array,
        spans: Array, tolerance: float,
    ) -> bool:  # fmt: skip
        n, m = start.shape
        first, forced, after = np.empty(n), np.empty(n), np.empty(n)
        slope, matrix, stages, work = np.empty((n, n)), np.empty((n, n)), np.zeros((4, n)), workspace(n, drive.shape[1])
        rise, y = np.empty(drive.shape[1]), np.empty((m, n))
        now = np.empty(drive.shape[1])
        for i in range(m):
            prepare(own[i])
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
                    for k in range(rise.size):
                        now[k] = begin[k] + s * rise[k]
                    slopes(now, here, q, rise, first, slope, forced)
                    for k in range(n):
                        first[k] *= length
                        forced[k] *= length
                        for j in range(n):
                            slope[k, j] *= length
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
