"""Laws of circuits as vector instructions: event neurons and filters, traced, in blocks of instances.

The law is called with recording operands, as a pulse is, and becomes a sequence of loops over a block
(`cosim.surrogate.pulse_vectors`). The states are held within their bounds there too, and what comes out is written
where it is wanted: a step makes no array of its own.

A filter's law is turned round by Halley's method: a text begins, one is a step, which a block repeats until all of it
is solved, and one ends. The answer is the law's to rounding, but for a neuron whose spike falls on its next input
within rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from cosim.devices.base import Array
from cosim.emit.expr import Node
from cosim.errors import EmitError, FitError, InputError
from cosim.packages import optional
from cosim.surrogate.bases import Polynomial, Spline
from cosim.surrogate.correction import orders
from cosim.surrogate.filter import NEWTON, SMALLEST, TURN, FilterLaw
from cosim.surrogate.learned import Law
from cosim.surrogate.neuron import NeuronLaw
from cosim.surrogate.neuron_kernel import Store, TracedFlow, TracedTable
from cosim.surrogate.pulse_kernel import constant, together
from cosim.surrogate.pulse_vectors import REGISTER, compiled, law_text, workspace

NEEDED = "a compiled law of a circuit"
FEW = 32  # neurons of a block: its hundreds of slots stay within a second-level cache
MANY, ROOM = 256, REGISTER  # filters of a block, and between its slots (`pulse_vectors.STRIDE`)
# As `cosim.surrogate.filter.SOLVED`: what is left after a step is as its third power, which is rounding then.
ENOUGH: Mapping[str, float] = MappingProxyType({"float64": 2e-5, "float32": 3e-3})
WORTH_A_THREAD = 2048
ALL = Node("name", "table0")
Range = tuple[float, float]


def chebyshev(x: Node, degree: int) -> list[Node]:
    """T₀ … T_degree of ``x``."""
    found = [Node.of(1.0), x]
    for _ in range(degree - 1):
        found.append(2.0 * x * found[-1] - found[-2])
    return found[: degree + 1]


def polynomial(terms: Mapping[tuple[int, ...], float], powers: Sequence[Sequence[Node]]) -> Any:
    """The sum of the products, of which each costs one addition and one multiplication in one rounding."""
    if not powers:
        return terms[()]
    found: Any = None
    for n in range(max(order[0] for order in terms) + 1):
        part = polynomial({order[1:]: c for order, c in terms.items() if order[0] == n}, powers[1:])
        term = part if n == 0 else part * powers[0][n]
        found = term if found is None else found + term
    return found


def traced_law(law: Law, values: Mapping[str, Any], store: Store) -> Any:
    """The only target of a learned law of recording operands; raises `EmitError` for a kind without a text."""
    model, offset, scale = law.model, float(law.offset[0]), float(law.scale[0])
    if isinstance(model, Polynomial):
        powers = [chebyshev(Node.of(x), model.degree) for x in scaled(law, values)]
        found = (scale * model.coefficients[:, 0]).tolist()
        terms = dict(zip(orders(len(law.fields), model.degree), found, strict=True))
        return offset + polynomial(terms, powers)
    if not isinstance(model, Spline):
        raise EmitError(f"a law of kind {law.kind} has no text")
    first, weights = model.located([Node.of(x) for x in scaled(law, values)])
    side = model.cells + 3
    start = store.start(offset + scale * model.coefficients[:, 0])  # the weights add up to 1
    if len(weights) == 1:
        return sum(weight * Node("look", ALL, first, start + k) for k, weight in enumerate(weights[0]))
    parts = [weight for column in weights for weight in column]
    op = {2: "patch", 3: "cube"}[len(law.fields)]
    return Node(op, ALL, first, *parts, start, side ** (len(law.fields) - 1), side)


def scaled(law: Law, values: Mapping[str, Any]) -> list[Any]:
    """`Law.scaled_traced` with fewer operations: each field in [−1, 1], by a logarithm that laws share."""
    found = []
    for name, ends, logarithmic in zip(law.fields, law.ranges, law.logarithmic.tolist(), strict=True):
        low, high = np.log2(ends).tolist() if logarithmic else ends.tolist()
        x = np.log2(values[name]) if logarithmic else values[name]
        found.append(np.clip(x * (2.0 / (high - low)) - (low + high) / (high - low), -1.0, 1.0))
    return found


@dataclass(frozen=True)
class KernelNeuron(NeuronLaw):
    """A `NeuronLaw` of recording operands, whose laws look numbers up in a ``store``."""

    store: Store = field(kw_only=True)

    def law(self, name: str, values: Mapping[str, Any], where: Any = None) -> Any:
        """As `NeuronLaw.law`."""
        law = self.laws[name]
        if law is None:
            return 0.0
        found = traced_law(law, values, self.store)
        return found if where is None else np.where(where, found, 0.0)


class Kernel(Protocol):
    """A compiled law: ``run(given, found, work, first, last)`` takes instances from columns to columns."""

    slots: int
    step: int

    def run(self, given: tuple[Array, ...], found: tuple[Array, ...], work: Array, first: int, last: int) -> None:
        """Instances ``first`` to ``last``; raises `FitError` where a law is not solved."""
        ...


class _Neurons:
    """A compiled `NeuronLaw`; raises `EmitError` for one with a law of a kind that has no text."""

    step = FEW

    def __init__(self, law: NeuronLaw, bounds: Mapping[str, Range], dtype: str) -> None:
        names = ["w0", *(f"q{k}" for k in range(len(law.fields) - 1))]
        store = Store()
        flow = TracedFlow(**law.flow.__dict__, store=store)
        tables = {name: TracedTable(table.x, table.y, store=store) for name, table in law.tables.items()}
        traced = KernelNeuron(flow, law.laws, MappingProxyType(tables), law.numbers, store=store)
        given: list[Any] = [Node("name", name) for name in names]
        with np.errstate(all="ignore"):
            graphs = _held(traced.event(*given), dict(zip(law.fields, given, strict=True)), bounds)
        text, slots = law_text(graphs, names[1:], shared=True, slot_size=FEW, whole=True)
        self.slots = slots * FEW
        self.driver = _neurons(compiled(text, dtype, (np.concatenate(store.parts).tobytes(),)))

    def run(self, given: tuple[Array, ...], found: tuple[Array, ...], work: Array, first: int, last: int) -> None:
        """As `Kernel.run`."""
        self.driver(given, found, work, first, last)


@lru_cache(maxsize=16)
def _neurons(law: Any) -> Any:
    """What takes blocks of neurons through the ``law``."""
    numba = optional("numba", extra="fast", needed_by=NEEDED)

    def run(given: tuple[Array, ...], found: tuple[Array, ...], b: Array, first: int, last: int) -> None:
        for start in range(first, last, FEW):
            n = min(FEW, last - start)
            for k in range(len(given)):
                column, place = given[k][start:], b[(k + (k > 0)) * FEW :]  # the second slot is not used
                for i in range(n):
                    place[i] = column[i]
                for i in range(n, FEW):
                    place[i] = column[0]
            law(b, FEW, 0.0)
            for k in range(len(found)):
                row, place = found[k][start:], b[(len(given) + 1 + k) * FEW :]
                for i in range(n):
                    row[i] = place[i]

    return numba.njit(run, nogil=True, error_model="numpy")


class _Filters:
    """A compiled `FilterLaw`."""

    step = MANY

    def __init__(self, law: FilterLaw, bounds: Mapping[str, Range], dtype: str) -> None:
        store, own = Store(), float(law.threshold)
        i, level, interval = _named("w0", "v0", "q0")
        lowest = max(SMALLEST * float(law.ends.max()), -TURN * own)
        with np.errstate(all="ignore"):
            end: Any = store.at(law.ends, level)
            held = np.maximum(i, lowest)
            y = -interval / (law.tau * (1.0 + own / np.maximum(held, end)))
            begun = {"y": y, "held": held, "a": own / end, "gap": end - held, "end": end, "time": interval / law.tau}
            given = dict(zip(begun, _named("w0", "v0", "q0", "q1", "q2", "q3"), strict=True))
            left = given["gap"] * np.exp(given["y"])
            now = np.maximum(given["end"] - left, 1e-30)
            value = -(1.0 + given["a"]) * given["y"] + given["a"] * np.log(now / given["held"]) - given["time"]
            share = left / now
            slope = -(1.0 + given["a"]) - given["a"] * share
            bend = -given["a"] * share * (1.0 + share)
            step = 2.0 * value * slope / (2.0 * slope * slope - value * bend)
            stepped = {"y": np.minimum(given["y"] - step, 0.0), "moved": np.abs(step)}
            after = dict(zip(begun, _named(*(f"q{k}" for k in range(1, 7))), strict=True))
            change: Any = after["end"] - after["gap"] * np.exp(after["y"]) - i
            if law.rest is not None:
                change = change + traced_law(law.rest, {"i": i, "level": level, "interval": interval}, store)
            ended = _held({"i": change}, {"i": i}, bounds)
        names = [f"q{k}" for k in range(7)]
        parts = [
            law_text({n: Node.of(node) for n, node in graphs.items()}, own_names, shared=False, slot_size=MANY + ROOM)
            for graphs, own_names in ((begun, names[:1]), (stepped, names[:4]), (ended, names))
        ]
        self.slots = max(slots + ahead for (_, slots), ahead in zip(parts, (0, 3, 0), strict=True)) * (MANY + ROOM)
        numbers = (np.concatenate(store.parts).tobytes(),)
        self.driver = _filters(*(compiled(text, dtype, numbers) for text, _ in parts))
        self.solved = ENOUGH[dtype]

    def run(self, given: tuple[Array, ...], found: tuple[Array, ...], work: Array, first: int, last: int) -> None:
        """As `Kernel.run`."""
        moved = self.driver(given, found, work, first, last, self.solved)
        if not moved < self.solved:
            raise FitError(
                f"the time course of the filter was not solved in {NEWTON} steps: the last moved it by {moved:.2g}",
                remedy="give a state above zero, or fit the filter again: its threshold does not suit its levels",
            )


def _named(*names: str) -> list[Any]:
    """Recording operands."""
    return [Node("name", name) for name in names]


@cache
def _wrong() -> Any:
    """Whether a column has numbers that are not whole ones from 0 to below a count."""
    numba = optional("numba", extra="fast", needed_by=NEEDED)

    def wrong(column: Array, count: int) -> int:
        found = 0
        for i in range(column.size):
            found += (column[i] != np.floor(column[i])) | (column[i] < 0.0) | (column[i] >= count)
        return found

    return numba.njit(wrong, nogil=True, error_model="numpy")


@lru_cache(maxsize=16)
def _filters(begin: Any, step: Any, finish: Any) -> Any:
    """What takes blocks through the three texts of a filter."""
    numba = optional("numba", extra="fast", needed_by=NEEDED)
    slot = MANY + ROOM

    def run(
        given: tuple[Array, ...], found: tuple[Array, ...], b: Array, first: int, last: int, solved: float
    ) -> float:
        none, inner = b[0], b[3 * slot :]
        for start in range(first, last, MANY):
            n = min(MANY, last - start)
            whole = (n + ROOM - 1) // ROOM * ROOM
            for k in range(len(given)):
                column, place = given[k][start:], b[k * slot :]
                for i in range(n):
                    place[i] = column[i]
                for i in range(n, whole):
                    place[i] = column[0]
            begin(b, whole, none)
            for _ in range(NEWTON):
                step(inner, whole, none)
                left, now, moved = 0, inner[6 * slot :], inner[7 * slot :]
                for i in range(whole):
                    inner[i] = now[i]
                    left += moved[i] >= solved
                if left == 0:
                    break
            if left:
                return float(moved[:whole].max())
            finish(b, whole, none)
            row, place = found[0][start:], b[9 * slot :]
            for i in range(n):
                row[i] = place[i]
        return 0.0

    return numba.njit(run, nogil=True, error_model="numpy")


def _held(found: Mapping[str, Any], before: Mapping[str, Node], bounds: Mapping[str, Range]) -> dict[str, Node]:
    """What a law gives, with the states after an event for their changes, held within their bounds."""
    after = {}
    for name, change in found.items():
        low, high = (end if np.isfinite(end) else None for end in bounds.get(name, (-np.inf, np.inf)))
        after[name] = Node.of(np.clip(before[name] + change, low, high) if name in bounds else change)
    return after


@dataclass(frozen=True)
class LawKernel:
    """A compiled law of a circuit. Needs numba.

    Args:
        law: the law.
        bounds: of its states.
        dtype: of all numbers.
    """

    law: NeuronLaw | FilterLaw
    bounds: Mapping[str, Range]
    dtype: str

    @cached_property
    def made(self) -> Kernel:
        """Compiled; raises `EmitError` for a law with a part that has no text."""
        if isinstance(self.law, FilterLaw):
            return _Filters(self.law, self.bounds, self.dtype)
        return _Neurons(self.law, self.bounds, self.dtype)

    def run(
        self,
        values: Mapping[str, Array],
        *,
        shape: tuple[int, ...],
        out: Mapping[str, Array] = MappingProxyType({}),
        threads: int = 1,
    ) -> dict[str, Array]:
        """One event: the states after it and the outputs, by name; in the arrays of ``out``, where it has one.

        ``values`` are the states and inputs, which broadcast to ``shape``. ``threads`` that work on it side by side,
        at most. Raises `InputError` for a level that a filter does not have, and `FitError` where it is not solved.
        """
        kernel = self.made
        given = tuple(constant(np.broadcast_to(values[name], shape).reshape(-1)) for name in self.law.fields)
        if isinstance(self.law, FilterLaw):
            require_levels(given[self.law.fields.index("level")], self.law.ends.size)
        found = {n: out[n] if n in out else np.empty(shape, dtype=self.dtype) for n in self.law.targets}
        flat = tuple(array.reshape(-1) for array in found.values())
        count = flat[0].size

        def work(starts: Iterable[int]) -> None:
            room = workspace(kernel.slots, np.dtype(self.dtype))
            for first in starts:
                kernel.run(given, flat, room, first, min(first + step, count))

        step = kernel.step * max(WORTH_A_THREAD // kernel.step, 1) if threads > 1 else max(count, 1)
        starts = list(range(0, count, step))
        together(work, starts, count=min(threads, len(starts), count // WORTH_A_THREAD))
        return found


def require_levels(level: Array, count: int) -> None:
    """Raises `InputError` for a level that is not one of so many."""
    if _wrong()(level, count):
        bad = level[(level != np.floor(level)) | (level < 0.0) | (level >= count)][0]
        raise InputError(
            f"the level {bad:g} of the input is not one of the filter's",
            remedy=f"give a whole number from 0 to {count - 1}",
        )
