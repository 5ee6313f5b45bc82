"""Laws of circuits as vector instructions: learned maps, event neurons and filters, traced, in blocks of instances.

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
from cosim.surrogate.bases import Polynomial, Spline, cubic_weights
from cosim.surrogate.correction import orders
from cosim.surrogate.filter import NEWTON, SMALLEST, TURN, FilterLaw
from cosim.surrogate.laws import AnyLaw
from cosim.surrogate.learned import Law, Laws
from cosim.surrogate.neuron import NeuronLaw
from cosim.surrogate.neuron_kernel import Store, TracedFlow, TracedTable
from cosim.surrogate.pulse_kernel import constant, together
from cosim.surrogate.pulse_vectors import REGISTER, compiled, law_text, workspace

NEEDED = "a compiled law of a circuit"
FEW = 32  # neurons of a block: its hundreds of slots stay within a second-level cache
MANY, ROOM = 256, REGISTER  # filters or maps of a block, and between its slots (`pulse_vectors.STRIDE`)
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
    (found,) = traced_targets(law, values, store).values()
    return found


def traced_targets(law: Law, values: Mapping[str, Any], store: Store) -> dict[str, Any]:
    """Each target of a learned law, as `traced_law`."""
    model, x = law.model, [Node.of(column) for column in scaled(law, values)]
    if not isinstance(model, Polynomial | Spline):
        raise EmitError(f"a law of kind {law.kind} has no text")
    ends = list(zip(law.targets, law.offset.tolist(), law.scale.tolist(), model.coefficients.T, strict=True))
    if isinstance(model, Polynomial):
        powers, products = [chebyshev(column, model.degree) for column in x], orders(len(x), model.degree)
        return {
            name: offset + polynomial(dict(zip(products, (scale * c).tolist(), strict=True)), powers)
            for name, offset, scale, c in ends
        }
    first, places = model.located(x)
    found: dict[str, Any] = {}
    for name, offset, scale, c in ends:
        start, side = store.start(offset + scale * c), model.cells + 3  # the weights add up to 1
        if len(x) == 1:
            weights = cubic_weights(places[0])
            found[name] = sum(weight * Node("look", ALL, first, start + k) for k, weight in enumerate(weights))
        else:
            op = {2: "patch", 3: "cube"}[len(x)]
            found[name] = Node(op, ALL, first, *places, start, side ** (len(x) - 1), side)
    return found


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


class _Blocks:
    """A compiled law of one text; ``step`` instances of a block, so far from one slot to the next."""

    step: int

    def __init__(self, graphs: Mapping[str, Node], names: Sequence[str], store: Store, dtype: str, room: int) -> None:
        size = self.step + room
        text, slots = law_text(graphs, names[1:], shared=True, slot_size=size, whole=not room)
        self.slots = slots * size
        numbers = (np.concatenate(store.parts).tobytes(),) if store.parts else ()
        self.driver = _blocks(compiled(text, dtype, numbers), self.step, size)

    def run(self, given: tuple[Array, ...], found: tuple[Array, ...], work: Array, first: int, last: int) -> None:
        """As `Kernel.run`."""
        self.driver(given, found, work, first, last)


class _Maps(_Blocks):
    """Compiled learned laws of a circuit's map; raises `EmitError` for one of a kind that has no text."""

    step = MANY

    def __init__(self, kernel: LawKernel, law: Law | Laws) -> None:
        store, names = Store(), ["w0", *(f"q{k}" for k in range(len(kernel.fields) - 1))]
        given = dict(zip(kernel.fields, _named(*names), strict=True))
        found: dict[str, Any] = {}
        for part in law.parts if isinstance(law, Laws) else (law,):
            found |= traced_targets(part, given, store)
        graphs = _held(found, given, kernel.bounds)
        if kernel.reading is not None:
            read = traced_targets(kernel.reading, {name: graphs[name] for name in kernel.bounds}, store)
            graphs |= {name: Node.of(node) for name, node in read.items()}
        super().__init__({name: graphs[name] for name in kernel.targets}, names, store, kernel.dtype, ROOM)


class _Neurons(_Blocks):
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
        super().__init__(graphs, names, store, dtype, 0)


@lru_cache(maxsize=16)
def _blocks(law: Any, step: int, slot: int) -> Any:
    """What takes blocks of ``step`` instances through the ``law``, in slots of ``slot`` numbers."""
    numba = optional("numba", extra="fast", needed_by=NEEDED)

    def run(given: tuple[Array, ...], found: tuple[Array, ...], b: Array, first: int, last: int) -> None:
        for start in range(first, last, step):
            n = min(step, last - start)
            whole = step if slot == step else (n + ROOM - 1) // ROOM * ROOM
            for k in range(len(given)):
                column, place = given[k][start:], b[(k + (k > 0)) * slot :]  # the second slot is not used
                for i in range(n):
                    place[i] = column[i]
                for i in range(n, whole):
                    place[i] = column[0]
            law(b, whole, 0.0)
            for k in range(len(found)):
                row, place = found[k][start:], b[(len(given) + 1 + k) * slot :]
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


def compilable(law: AnyLaw, reading: Law | None) -> bool:
    """Whether `LawKernel` takes it: a neuron, a filter, or learned laws that can be traced."""
    if isinstance(law, NeuronLaw | FilterLaw):
        return reading is None
    return law.traceable and (reading is None or reading.traceable)


@dataclass(frozen=True)
class LawKernel:
    """A compiled law of a circuit. Needs numba.

    Args:
        law: the law, `compilable`.
        bounds: of its states.
        dtype: of all numbers.
        reading: what the states after an event give.
    """

    law: AnyLaw
    bounds: Mapping[str, Range]
    dtype: str
    reading: Law | None = None

    @cached_property
    def made(self) -> Kernel:
        """Compiled; raises `EmitError` for a law with a part that has no text."""
        if isinstance(self.law, FilterLaw):
            return _Filters(self.law, self.bounds, self.dtype)
        if isinstance(self.law, Law | Laws):
            return _Maps(self, self.law)
        return _Neurons(self.law, self.bounds, self.dtype)

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """States and inputs, in the order in which the text takes them; a learned law may depend on fewer."""
        own = self.law.fields
        return own if isinstance(self.law, NeuronLaw | FilterLaw) else tuple(dict.fromkeys((*self.bounds, *own)))

    @property
    def targets(self) -> tuple[str, ...]:
        """The states after an event, and the outputs."""
        return (*self.law.targets, *(self.reading.targets if self.reading is not None else ()))

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
        given = tuple(
            constant((x if x.shape == shape else np.broadcast_to(x, shape)).reshape(-1))
            for x in (values[name] for name in self.fields)
        )
        if isinstance(self.law, FilterLaw):
            require_levels(given[self.fields.index("level")], self.law.ends.size)
        found = {n: out[n] if n in out else np.empty(shape, dtype=self.dtype) for n in self.targets}
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
