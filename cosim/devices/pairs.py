"""Pulse pairs: one pulse at either terminal of a device, the second one a delay after the first, as one event map.

The presynaptic pulse is at ``p`` and the postsynaptic one at ``n``, so that ΔV = V_pre(t) − V_post(t − delay). Both are
straight between their knots and zero outside. A map of a pair has the inputs ``delay`` (s), and ``pre`` and ``post``,
the share of either pulse's amplitudes: 0 leaves it out, so that a neuron's pulse without a partner is an event as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from cosim.devices.base import DeviceModel, Operand, Values
from cosim.devices.integrate import Segment
from cosim.devices.maps import EventMap, Field, event_map

if TYPE_CHECKING:
    from cosim.devices.maps import Closed

Knots = tuple[tuple[float, float], ...]  # s, V; the first and the last at zero volts
TINY = 1e-12  # V: a piece that rises by less is flat


@dataclass(frozen=True)
class PulsePair:
    """The two pulses of a learning rule."""

    pre: Knots
    post: Knots

    @property
    def width(self) -> float:
        """The longer pulse (s): pairs farther apart do not overlap."""
        return max(self.pre[-1][0], self.post[-1][0])

    def pieces(self, u: Values) -> Iterator[tuple[Operand, Operand, Operand]]:
        """Length (s) and ΔV (V) at both ends of each straight piece, in their order in time, for inputs ``u``.

        A piece of one pulse is cut by each of the other's; what does not overlap has the length zero.
        """
        begin = np.minimum(u.delay, 0.0) + self.pre[0][0]
        end = np.maximum(u.delay, 0.0) + self.width
        for a0, a1 in _ends(self.pre, 0.0, begin, end):
            for b0, b1 in _ends(self.post, u.delay, begin, end):
                if a0[1] == a1[1] == b0[1] == b1[1] == 0.0:
                    continue  # nothing at either terminal
                t0, t1 = np.maximum(a0[0], b0[0]), np.minimum(a1[0], b1[0])
                t1 = np.maximum(t0, t1)
                yield t1 - t0, *(u.pre * _at(a0, a1, t) - u.post * _at(b0, b1, t) for t in (t0, t1))


Point = tuple[Operand, float]


def _ends(knots: Knots, delay: Operand, begin: Operand, end: Operand) -> Iterator[tuple[Point, Point]]:
    """The pieces of a pulse, with the rest before and after it from ``begin`` to ``end``."""
    shifted = [(t + delay, v) for t, v in knots]
    yield from pairwise([(begin, 0.0), *shifted, (end, 0.0)])


def _at(a: Point, b: Point, t: Operand) -> Operand:
    """The voltage at ``t`` on the piece from ``a`` to ``b``."""
    if a[1] == b[1]:
        return a[1]
    return a[1] + (b[1] - a[1]) * ((t - a[0]) / (b[0] - a[0]))


def beyond(length: Operand, a: Operand, b: Operand) -> Operand:
    """∫ max(v, 0) dt of a piece on which v goes from ``a`` to ``b`` in ``length``."""
    top = np.maximum(np.maximum(a, b), 0.0)
    over = np.minimum(top / np.maximum(np.abs(b - a), TINY), 1.0)
    found: Operand = 0.5 * length * over * (np.maximum(a, 0.0) + np.maximum(b, 0.0))
    return found


def pair_maps(
    device: DeviceModel, p: Values, pairs: Mapping[str, PulsePair], closed: Callable[[PulsePair], Closed]
) -> dict[str, EventMap]:
    """A map for each pair of pulses, by its name; energy is not among the outputs."""

    def waveform(pair: PulsePair) -> Callable[[Values, Values], tuple[Segment, ...]]:
        return lambda u, p: tuple(Segment(length, {"pn": a}, {"pn": b}) for length, a, b in pair.pieces(u))

    found = {}
    for name, pair in pairs.items():
        reach = 1.2 * pair.width
        inputs = {"delay": Field("s", (-reach, reach)), "pre": Field("1", (0.0, 1.0)), "post": Field("1", (0.0, 1.0))}
        found[name] = event_map(
            device, name, p, inputs=inputs, waveform=waveform(pair), closed=closed(pair),
            fixed=MappingProxyType({"width": pair.width}), energy=False,
        )  # fmt: skip
    return found
