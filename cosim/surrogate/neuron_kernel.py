"""Events of many neurons as vector instructions: a `NeuronLaw`, traced, in blocks (`cosim.surrogate.pulse_vectors`).

The law is called once with recording operands, as a pulse is. What is different is that it looks numbers up: its flow,
its tables and its splines all lie in one array that the compiled text holds. Where a number lies in a grid is told by a
guide, even in the number or in its logarithm: how many points of the grid are below; a comparison or two does the
rest. Every law is computed for every neuron, whether it fires or not, which costs less than to part them.

The answer is the law's to rounding, but for a neuron whose spike falls on its next input within rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np

from cosim.devices.base import Array
from cosim.emit.expr import Node, postorder
from cosim.errors import EmitError
from cosim.packages import optional
from cosim.surrogate.neuron import NEVER, NeuronLaw, Table
from cosim.surrogate.planar import Flow
from cosim.surrogate.pulse_vectors import compiled, law_text

GUIDES = (256, 1024, 4096, 16384)  # points of a guide, of which the first that needs one comparison is taken
BLOCK = 32  # neurons of a block: its 200 slots stay within a second-level cache, and near a first-level one
STEPS = 8  # comparisons that a grid may need at most
ALL = "table0"


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

    def within(self, x: Any, grid: Array) -> tuple[Node, Node]:
        """The cell of a rising ``grid`` (k,) in which ``x`` lies, and the place in it (0..1), held at the ends."""
        logarithmic, guide = _guide(tuple(grid.tolist()))
        ends = (grid[0], grid[-1])
        low, high = np.log(ends).tolist() if logarithmic else ends
        place = np.log(np.maximum(x, float(grid[0]))) if logarithmic else x
        last = float(guide.shape[1] - 1)
        place = Node("floor", Node.of(np.clip((place - low) * (guide.shape[1] / (high - low)), 0.0, last)))
        cell: Any = self.at(guide[0], place)
        for _ in range(int(guide[1, 0])):
            cell = cell + np.where(x >= self.at(grid, np.minimum(cell + 1.0, grid.size - 1.0)), 1.0, 0.0)
        cell = np.minimum(cell, grid.size - 2.0)
        begin, end = self.at(grid, cell), self.at(grid, cell + 1.0)
        return cell, np.clip((x - begin) / (end - begin), 0.0, 1.0)

    def interpolated(self, x: Any, grid: Array, values: Array) -> Any:
        """``np.interp``."""
        cell, part = self.within(x, grid)
        return (1.0 - part) * self.at(values, cell) + part * self.at(values, cell + 1.0)


@lru_cache(maxsize=64)
def _guide(points: tuple[float, ...]) -> tuple[bool, Array]:
    """Of a grid: whether its guide is even in the logarithm; (2, m) the last point below each of its steps, and how
    many comparisons tell the rest."""
    grid = np.array(points)
    best: tuple[int, int, bool, Array] | None = None
    for count in GUIDES:
        for logarithmic in (False, True) if grid[0] > 0.0 else (False,):
            x = np.log(grid) if logarithmic else grid
            edges = np.linspace(x[0], x[-1], count + 1)
            below = np.clip(np.searchsorted(x, edges, side="right") - 1, 0, grid.size - 2)
            steps = int(np.max(np.diff(below)))
            if best is None or steps < best[0]:
                best = steps, count, logarithmic, below[:-1].astype(float)
        if best is not None and best[0] <= 1:
            break
    assert best is not None
    if best[0] > STEPS:
        raise EmitError("a grid of the neuron's law is too uneven to be looked up", remedy="take compiled=False")
    return best[2], np.stack([best[3], np.full(best[1], float(best[0]))])


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
        nearer, x = self.store.within(abs(distance), self.distances[half:])
        return (
            np.where(above, half + nearer, half - 2.0 - nearer), row, np.where(above, x, 1.0 - x), y, distance
        )  # fmt: skip

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


@dataclass(frozen=True)
class TracedLaw(NeuronLaw):
    """A `NeuronLaw` for recording operands; ``splines`` grows by the coefficients that its laws look up."""

    splines: list[Array] = field(kw_only=True, default_factory=lambda: [np.zeros(1)])

    def law(self, name: str, values: Mapping[str, Any], where: Any = None) -> Any:
        """As `NeuronLaw.law`."""
        law = self.laws[name]
        if law is None:
            return 0.0
        found = law.traced(values, self.splines)[law.targets[0]]
        return found if where is None else np.where(where, found, 0.0)


def _stored(roots: Mapping[str, Node], store: Store, splines: list[Array]) -> dict[str, Node]:
    """The graphs with the tables of ``splines``, which they name table0, table1, ..., in the ``store``."""
    own = {f"table{k}": table for k, table in enumerate(splines) if k}
    made: dict[int, Node] = {}
    for node in postorder(roots.values()):
        args = [made[id(arg)] if isinstance(arg, Node) else arg for arg in node.args]
        named = node.op == "at" and args[0].args[0] in own
        made[id(node)] = store.at(own[args[0].args[0]], args[1]) if named else Node(node.op, *args)
    return {name: made[id(root)] for name, root in roots.items()}


@dataclass(frozen=True)
class NeuronKernel:
    """A compiled `NeuronLaw`: called as it is, with the same answers to rounding. Needs numba.

    Raises `EmitError` where it is called first, for a law of a kind that has no text.
    """

    law: NeuronLaw

    @cached_property
    def made(self) -> tuple[Any, int]:
        """The compiled loop, and how many slots a block has."""
        law, store = self.law, Store()
        for name, part in law.laws.items():
            if part is not None and not part.traceable:
                raise EmitError(f"the law of {name!r} is of kind {part.kind}, and has no text")
        flow = TracedFlow(**law.flow.__dict__, store=store)
        tables = {name: TracedTable(table.x, table.y, store=store) for name, table in law.tables.items()}
        traced = TracedLaw(flow, law.laws, MappingProxyType(tables), law.numbers)
        names = ["w0", *(f"q{k}" for k in range(len(law.fields) - 1))]
        given: list[Any] = [Node("name", name) for name in names]
        with np.errstate(all="ignore"):
            found = traced.event(*given)
        graphs = _stored({name: Node.of(found[name]) for name in law.targets}, store, traced.splines)
        text, slots = law_text(graphs, names[1:], shared=True, slot_size=BLOCK, whole=True)
        return _driver(compiled(text, "float64", (np.concatenate(store.parts).tobytes(),))), slots

    def __call__(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """As `NeuronLaw.__call__`."""
        loop, slots = self.made
        columns = np.broadcast_arrays(*(np.asarray(values[name], dtype=float) for name in self.law.fields))
        given = tuple(np.ascontiguousarray(column).ravel() for column in columns)
        found = np.empty((len(self.law.targets), given[0].size))
        loop(given, found, np.zeros(slots * BLOCK))
        return {name: row.reshape(columns[0].shape) for name, row in zip(self.law.targets, found, strict=True)}


@lru_cache(maxsize=16)
def _driver(law: Any) -> Any:
    """What takes blocks through the compiled ``law``."""
    numba = optional("numba", extra="fast", needed_by="a compiled neuron")

    def run(given: tuple[Array, ...], found: Array, b: Array) -> None:
        for start in range(0, found.shape[1], BLOCK):
            n = min(BLOCK, found.shape[1] - start)
            for i in range(n):
                b[i] = given[0][start + i]
            for k in range(1, len(given)):
                for i in range(n):
                    b[(k + 1) * BLOCK + i] = given[k][start + i]
            law(b, BLOCK, 0.0)
            for k in range(found.shape[0]):
                for i in range(n):
                    found[k, start + i] = b[(len(given) + 1 + k) * BLOCK + i]

    return numba.njit(run, nogil=True, error_model="numpy")
