"""What looks numbers up where the law of a neuron or a filter is traced (`cosim.surrogate.law_kernel`).

A neuron's flow, its tables and its splines all lie in one array that the compiled text holds. Where a number lies in a
grid is told by a guide, even in the number or in the pace of its logarithm: how many points of the grid are below; a
comparison or two does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from cosim.devices.base import Array
from cosim.emit.expr import Node
from cosim.errors import EmitError
from cosim.surrogate.neuron import NEVER, Table
from cosim.surrogate.planar import Flow

GUIDES = (256, 1024, 4096, 16384)  # points of a guide, of which the first that needs one comparison is taken
STEPS = 8  # comparisons that a grid may need at most
ALL = "table0"


@lru_cache(maxsize=64)
def guide_of(points: tuple[float, ...]) -> tuple[bool, Array, int]:
    """Of a rising grid: whether its guide is even in the `pace` of a number and not in the number itself; the last
    point below each of its steps; and how many comparisons tell the rest.

    Raises `EmitError` for a grid that is too uneven.
    """
    grid = np.array(points)
    best: tuple[int, bool, Array] | None = None
    for count in GUIDES:
        for paced in (False, True) if grid[0] > 0.0 else (False,):
            x = pace(grid) if paced else grid
            # what rounding puts on the wrong side of a step is found by a comparison more
            edges = np.linspace(x[0], x[-1], count + 1) - 1e-6 * (x[-1] - x[0]) / count
            below = np.clip(np.searchsorted(x, edges, side="right") - 1, 0, grid.size - 2)
            steps = int(np.max(np.diff(below)))
            if best is None or steps < best[0]:
                best = steps, paced, below[:-1].astype(float)
        if best is not None and best[0] <= 1:
            break
    assert best is not None
    if best[0] > STEPS:
        raise EmitError("a grid of the law is too uneven to be looked up", remedy="take compiled=False")
    return best[1], best[2], best[0]


def pace(x: Array) -> Array:
    """Of numbers above zero: their logarithm to the base 2 at the powers of 2, and linear between them."""
    fraction, exponent = np.frexp(x)
    return np.asarray(exponent - 1 + (2.0 * fraction - 1.0))


class Store:
    """Tables one behind the other in one array, and what looks numbers up in it."""

    def __init__(self) -> None:
        self.parts: list[Array] = []
        self.starts: dict[bytes, int] = {}
        self.size = 0

    def start(self, table: Array) -> int:
        """Where ``table`` begins; the same one is kept once."""
        flat = np.ascontiguousarray(table, dtype=float).ravel()
        key = flat.tobytes()
        if key not in self.starts:
            self.starts[key] = self.size
            self.parts.append(flat)
            self.size += flat.size
        return self.starts[key]

    def at(self, table: Array, index: Any) -> Node:
        """The element of the flat ``table`` at a traced index, which lies in it."""
        index, offset = Node.of(index), self.start(table)
        while index.op == "+" and index.args[1].op == "const":
            offset += int(index.args[1].args[0])
            index = index.args[0]
        return Node("look", Node("name", ALL), index, offset)

    def cell(self, x: Any, grid: Array) -> Any:
        """The cell of a rising ``grid`` (k,) in which ``x`` lies; the first and the last one beyond its ends."""
        paced, guide, steps = guide_of(tuple(grid.tolist()))
        low, high = pace(grid[[0, -1]]).tolist() if paced else grid[[0, -1]].tolist()
        place = Node("pace", Node.of(np.maximum(x, float(grid[0])))) if paced else x
        at = np.clip((place - low) * (guide.size / (high - low)), 0.0, guide.size - 1.0)
        cell: Any = self.at(guide, Node("floor", Node.of(at)))
        for _ in range(steps):
            cell = cell + np.where(x >= self.at(grid, np.minimum(cell + 1.0, grid.size - 1.0)), 1.0, 0.0)
        return np.minimum(cell, grid.size - 2.0)

    def within(self, x: Any, grid: Array) -> tuple[Any, Any]:
        """The cell of a rising ``grid`` (k,) in which ``x`` lies, and the place in it (0..1), held at the ends."""
        cell = self.cell(x, grid)
        begin, end = self.at(grid, cell), self.at(grid, cell + 1.0)
        return cell, np.clip((x - begin) / (end - begin), 0.0, 1.0)

    def interpolated(self, x: Any, grid: Array, values: Array) -> Any:
        """``np.interp``."""
        held = np.clip(x, float(grid[0]), float(grid[-1]))
        cell, slopes = self.cell(held, grid), np.diff(values) / np.diff(grid)
        return self.at(values, cell) + (held - self.at(grid, cell)) * self.at(slopes, cell)


@dataclass(frozen=True)
class TracedTable(Table):
    """A `Table` for recording operands."""

    store: Store = field(kw_only=True)

    def __call__(self, x: Any) -> Any:
        """At ``x``."""
        return self.store.interpolated(x, self.x, self.y)


@dataclass(frozen=True)
class TracedFlow(Flow):
    """A `Flow` for recording operands; what it says of states that come to no spike is `NEVER`."""

    store: Store = field(kw_only=True)

    def place(self, v: Any, n: Any) -> Any:
        """As `Flow.place`."""
        row, y = self.store.within(n, self.stages)
        distance = v - self._edge(row, y)
        half, above = self.distances.size // 2, distance > 0.0
        found: Any = self.store.within(abs(distance), self.distances[half:])
        nearer, x = found
        cell = np.where(above, half + nearer, half - 2.0 - nearer)
        return cell, row, np.where(above, x, 1.0 - x), y, distance

    def _edge(self, row: Any, y: Any) -> Any:
        low = self.store.at(self.edge, row)
        return low + y * (self.store.at(self.edge, row + 1.0) - low)

    def beside(self, v: Any, n: Any, *, spikes: Any) -> Any:
        """As `Flow.beside`."""
        edge = self._edge(*self.store.within(n, self.stages))
        near = float(self.distances[self.distances.size // 2])
        return np.where(spikes, np.maximum(v, edge + near), np.minimum(v, edge - near))

    def arrives(self, v: Any, n: Any) -> Any:
        """As `Flow.arrives`."""
        cell, row, x, y, distance = self.place(v, n)
        half, rows = self.distances.size // 2, float(self.stages.size)
        table = np.where(np.isfinite(self.arrival), self.arrival, NEVER)
        found: Any = 0.0
        for (i, p), (j, q) in product(((cell, 1.0 - x), (cell + 1.0, x)), ((row, 1.0 - y), (row + 1.0, y))):
            found = found + p * q * self.store.at(table, i * rows + j)
        nearest, further = self.distances[half : half + 2].tolist()
        steep = (table[half] - table[half + 1]) / np.log(further / nearest)
        steeper = (1.0 - y) * self.store.at(steep, row) + y * self.store.at(steep, row + 1.0)
        closer = found + steeper * np.log(nearest / np.maximum(distance, SMALLEST))
        found = np.where((distance > 0.0) & (distance < nearest), closer, found)
        # a corner that never arrives weighs more than this, or nothing
        return np.where((distance > 0.0) & (found < LONG), found, NEVER)

    def _read(self, table: Array, v: Any, n: Any, t: Any) -> Any:
        """As `Flow._read`."""
        cell, row, x, y, _ = self.place(v, n)
        at, z = self.store.within(np.log(np.maximum(t, 1e-30)), np.log(self.times))
        rows, times = float(self.stages.size), float(self.times.size)
        found: Any = 0.0
        for (i, p), (j, q) in product(((cell, 1.0 - x), (cell + 1.0, x)), ((row, 1.0 - y), (row + 1.0, y))):
            first = (i * rows + j) * times + at
            found = found + p * q * ((1.0 - z) * self.store.at(table, first) + z * self.store.at(table, first + 1.0))
        return found, np.minimum(t / float(self.times[0]), 1.0)

    def leaked(self, v: Any, t: Any) -> Any:
        """As `Flow.leaked`."""
        begin = self.store.interpolated(v, self.grid, self.clock)
        return self.store.interpolated(begin - t, self.clock, self.grid)


SMALLEST = 1e-300
LONG = 1.0  # s, beyond every time of a flow
