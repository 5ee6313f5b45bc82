"""Closed pulses compiled into vector instructions: the traced laws of a `PulseKernel`, block by block of cells.

The law of each polarity is traced (`cosim.emit.expr`). What depends on a row's voltage alone is computed once a row;
the rest becomes a sequence of loops over a block of cells, each with one power, exponential or logarithm
(`cosim.surrogate.vector_math`) on the longest path through it, so that a processor overlaps many cells instead of
waiting for one. A block is one array that nothing else points to, without branches, a multiple of a register long:
nothing is in a vectorising compiler's way. Cells with a voltage of their own are sorted by polarity, block by block.

A learned spline of two fields is looked up before the law, in two loops: where each cell is in the table, and its sums
of coefficients, a register at a time (`tensor_sum`). The law then reads them as it reads a parameter.

The answer is the law's to rounding, not bit by bit that of numpy; the number of threads does not change it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from cosim.devices.base import Array
from cosim.emit.expr import Node, children, merged, postorder
from cosim.errors import EmitError
from cosim.packages import optional
from cosim.surrogate.vector_math import FLAGS, functions, tensor_sum

SLOT = 256  # cells of a block: what is live of it stays within a first-level cache
REGISTER = 16  # numbers of single precision that the widest register holds
# From one slot of a block to the next: at a power of two all slots would fall on the same few lines of the cache.
STRIDE = SLOT + REGISTER
SORTED = 8 * SLOT  # cells that are sorted by polarity at a time, so that most blocks of one are full
LEAST_COLUMNS = 48  # of a row whose cells share a voltage; fewer are cheaper one by one


_HEAVY: Mapping[str, str] = MappingProxyType(
    {
        "exp2": "exp2({0})", "expm1": "expm1({0})", "log2": "log2({0})", "log1p": "log1p({0})", "sqrt": "sqrt({0})",
        "exp": "exp2(T(1.4426950408889634) * {0})", "ln": "T(0.6931471805599453) * log2({0})",
        # of a base >= 0; its logarithm is finite at 0
        "pow": "pick({0} > zero, exp2({1} * log2({0})), pick({1} > zero, zero, one))",
    }
)  # fmt: skip
_TEXT: Mapping[str, str] = MappingProxyType(
    {
        "+": "{0} + {1}", "-": "{0} - {1}", "*": "{0} * {1}", "/": "{0} / {1}", ">": "{0} > {1}", "<": "{0} < {1}",
        ">=": "{0} >= {1}", "<=": "{0} <= {1}", "and": "{0} & {1}", "or": "{0} | {1}", "not": "not {0}",
        "neg": "-{0}", "pos": "{0}", "abs": "abs({0})", "max": "pick({0} > {1}, {0}, {1})",
        "min": "pick({0} < {1}, {0}, {1})", "square": "{0} * {0}", "where": "pick({0}, {1}, {2})",
        "floor": "floor({0})", "pace": "pace({0})", "at": "{0}[whole({1})]",
        "look": "{0}[whole({1}) + whole({2})]",
        # sums over 4 x 4 and 4 x 4 x 4 coefficients: where the first is, the places in its cell, and three offsets
        "patch": "patch({0}, whole({1}) + whole({4}), whole({5}), {2}, {3})",
        "cube": "cube({0}, whole({1}) + whole({5}), whole({6}), whole({7}), {2}, {3}, {4})",
        **_HEAVY,
    }
)  # fmt: skip
_LOOKS = frozenset({"look", "patch", "cube"})  # what reads a table
# Operations and their operands that take a condition; elsewhere it counts as 1 or 0.
_CONDITIONS = frozenset({("and", 0), ("and", 1), ("or", 0), ("or", 1), ("not", 0), ("where", 0)})


def law_text(
    results: Mapping[str, Node], own: Sequence[str], *, shared: bool, slot_size: int = STRIDE, whole: bool = False
) -> tuple[str, int]:
    """One polarity as a function of a block ``b``, and how many slots of ``slot_size`` numbers its block has.

    The first slots are the states ``w0``, the voltages ``v0``, the parameters ``own`` and the ``results``; the others
    hold what goes from one loop to the next. ``shared``: the voltage is one for all. ``slot_size``: numbers from one
    slot to the next; ``whole``: every block is full. Raises `EmitError`.
    """
    roots = merged(results)
    graph = postorder(roots.values())
    fixed = {name: k for k, name in enumerate(["w0", "v0", *own])}
    varying = fixed.keys() - ({"v0"} if shared else set())
    ends = [(id(root), len(fixed) + k) for k, root in enumerate(roots.values())]
    loop: dict[int, int] = {}  # that computes each node: the heavy operations before it; −1: once for the whole block
    for node in graph:
        before = max((loop[id(child)] for child in children(node)), default=-1)
        if node.op == "name":
            before = 0 if node.args[0] in varying else -1
        elif node.op not in _TEXT and node.op != "const":
            raise EmitError(f"operation {node.op!r} cannot be compiled")
        # even loops compute, and odd ones look up
        if before >= 0 and node.op in _LOOKS:
            before += 1 + before % 2
        elif before >= 0:
            before += before % 2 + 2 * (node.op in _HEAVY)
        loop[id(node)] = before
    readers: dict[int, set[int]] = {id(node): set() for node in graph}
    for node in graph:
        for child in children(node):
            readers[id(child)].add(loop[id(node)])
    for key, _ in ends:
        readers[key].add(max(loop[key], 0))
    number = {id(node): k for k, node in enumerate(graph)}

    def text(node: Node, k: int) -> str:
        """What a node is called in loop ``k``; one name for all would keep numba long in telling its values apart."""
        if node.op == "const":
            return f"T({float(node.args[0])!r})"
        name = str(node.args[0]) if node.op == "name" else f"t{number[id(node)]}"
        return name if loop[id(node)] < 0 else f"{name}_{k}"

    def assignment(node: Node, k: int) -> str:
        operands = [
            f"pick({text(child, k)}, one, zero)"
            if child.boolean and (node.op, at) not in _CONDITIONS
            else text(child, k)
            for at, child in enumerate(children(node))
        ]
        offset = [arg for arg in node.args if not isinstance(arg, Node)]  # of a look
        return f"{text(node, k)} = {_TEXT[node.op].format(*operands, *offset)}"

    plain = ("const", "name")
    lines = ["def kernel(b, n, v0):"]
    lines += [f"    {assignment(node, -1)}" for node in graph if loop[id(node)] < 0 and node.op not in plain]
    slot = {id(node): fixed[node.args[0]] for node in graph if node.op == "name" and node.args[0] in varying}
    used, busy = len(fixed) + len(ends), dict[int, int]()  # slots: how many, and the last loop that reads each
    for k in range(max(max(loop.values()), 0) + 1):
        loads, body, stores = [], [], []
        for node in graph:
            key, here = id(node), loop[id(node)] == k and node.op not in plain
            if here:
                body.append(assignment(node, k))
            elif loop[key] >= 0 and k in readers[key]:
                loads.append(
                    f"{text(node, k)} = b[{slot[key] * slot_size} + i_{k}]" + (" > zero" if node.boolean else "")
                )
            if here and max(readers[key]) > k:
                free = [at for at, last in busy.items() if last < k]
                slot[key] = free[0] if free else used
                used += not free
                busy[slot[key]] = max(readers[key])
                value = f"pick({text(node, k)}, one, zero)" if node.boolean else text(node, k)
                stores.append(f"b[{slot[key] * slot_size} + i_{k}] = {value}")
            if max(loop[key], 0) == k:
                stores += [f"b[{at * slot_size} + i_{k}] = {text(node, k)}" for root, at in ends if root == key]
        if body or stores:
            lines += [
                f"    for i_{k} in range({slot_size if whole else 'n'}):",
                *(f"        {line}" for line in (*loads, *body, *stores)),
            ]
    return "\n".join([*lines, ""]), used


@dataclass(frozen=True)
class Lookup:
    """A spline of two fields: where a cell is in its table, and the sums that are taken there.

    Args:
        text, slots: as `law_text` gives them: three results, the index of the first coefficient and the place of both
            fields in its cell, from the slot ``work`` on.
        work: the first of these slots.
        stride: from one row of coefficients to the next.
        results: the slot of each sum, and its offset and scale.
        table: the coefficients of each sum, one after the other, of float64; as many of each.
    """

    text: str
    slots: int
    work: int
    stride: int
    results: tuple[tuple[int, float, float], ...]
    table: bytes

    def sums(self) -> str:
        """The second loop, as a function of a block and of the table."""
        first, row, across = (f"b[{(self.work + k) * STRIDE} + i]" for k in range(3))
        lines = ["def kernel(b, n, table):", "    for i in range(n):"]
        size = len(self.table) // (8 * len(self.results))
        for k, (slot, offset, scale) in enumerate(self.results):
            found = f"patch(table, whole({first}) + whole({k * size}), whole({self.stride}), {row}, {across})"
            lines.append(f"        b[{slot * STRIDE} + i] = T({offset!r}) + T({scale!r}) * {found}")
        return "\n".join([*lines, ""])


_rooms = threading.local()


def workspace(count: int, dtype: Any) -> Array:
    """(count,) numbers to work on, this thread's own, which begin where a register of the widest kind does."""
    rooms: dict[Any, Array] = _rooms.__dict__.setdefault("of", {})
    if dtype not in rooms or rooms[dtype].size < count:
        room, size = REGISTER * 4, np.dtype(dtype).itemsize
        whole = np.zeros(count + room // size, dtype=dtype)
        first = (-whole.ctypes.data % room) // size
        rooms[dtype] = whole[first : first + count]
    return rooms[dtype]


@lru_cache(maxsize=64)
def compiled(text: str, dtype: str, tables: tuple[bytes, ...]) -> Any:
    """The function ``kernel`` of a text that this package wrote; compiled once per process and text."""
    numba = optional("numba", extra="fast", needed_by="a compiled pulse")
    kind = np.dtype(dtype).type
    space: dict[str, Any] = {"__builtins__": {"range": range, "abs": abs}, "T": kind, "sqrt": np.sqrt}
    space |= {"floor": np.floor, "whole": np.uintp}
    space |= {f"table{k}": np.frombuffer(table).astype(kind) for k, table in enumerate(tables)}
    space |= {"zero": kind(0.0), "one": kind(1.0), **functions(dtype)}
    space |= {"patch": tensor_sum(dtype, 2), "cube": tensor_sum(dtype, 3)}
    # The text holds operations of _TEXT, numbers and names that cosim wrote, and nothing else.
    exec(compile(text, "<pulse>", "exec"), space)  # noqa: S102
    return numba.njit(space["kernel"], fastmath=set(FLAGS), error_model="numpy", nogil=True)


@lru_cache(maxsize=64)
def _looked_up(lookups: tuple[Lookup, ...], dtype: str) -> Any:
    """The ``lookups`` of a block, one after the other."""
    numba = optional("numba", extra="fast", needed_by="a compiled pulse")
    make = numba.njit(nogil=True, error_model="numpy")
    before = make(lambda b, n, v0: None)
    for one in lookups:
        before = _after(before, compiled(one.text, dtype, ()), compiled(one.sums(), dtype, ()), one.table, dtype)
    return before


def _after(before: Any, located: Any, summed: Any, table: bytes, dtype: str) -> Any:
    numba = optional("numba", extra="fast", needed_by="a compiled pulse")
    numbers = np.frombuffer(table).astype(dtype)

    def lookup(b: Array, n: int, v0: Any) -> None:
        before(b, n, v0)
        located(b, n, v0)
        summed(b, n, numbers)

    return numba.njit(lookup, nogil=True, error_model="numpy")


def _driver(laws: Sequence[Any], lookup: Any, spare: int, *, shared: bool) -> Callable[..., None]:
    """What takes blocks through the ``lookup`` and the ``laws``: of rows that share a voltage, or of single cells.

    ``spare``: so many slots between parameters and results, in which the lookup leaves what it finds.
    """
    numba = optional("numba", extra="fast", needed_by="a compiled pulse")
    negative, positive, still_negative, still_positive = laws

    def rows(
        w: Array, v: Array, own: Any, count: int, out: Any, b: Array, first: int, last: int, low: Any, high: Any
    ) -> None:
        for r in range(first, last):
            v0 = v[r]
            for start in range(0, w.shape[1], SLOT):
                n = min(SLOT, w.shape[1] - start)
                whole = (n + REGISTER - 1) // REGISTER * REGISTER
                before = w[r, start:]
                for i in range(n):
                    b[i] = before[i]
                for k in range(count):
                    given, place = own[k][r, start:], b[(2 + k) * STRIDE :]
                    for i in range(n):
                        place[i] = given[i]
                lookup(b, whole, v0)
                if v0 < low:
                    negative(b, whole, v0)
                elif v0 > high:
                    positive(b, whole, v0)
                elif v0 < 0.0:
                    still_negative(b, whole, v0)
                else:
                    still_positive(b, whole, v0)
                for k in range(len(out)):
                    found, place = out[k][r, start:], b[(2 + count + spare + k) * STRIDE :]
                    for i in range(n):
                        found[i] = place[i]

    def cells(
        w: Array, v: Array, own: Any, count: int, out: Any, b: Array, first: int, last: int, low: Any, high: Any
    ) -> None:
        index = np.empty((4, SORTED), np.uintp)  # unsigned: no element is counted from the end
        for start in range(first, last, SORTED):
            # The numbers of the cells of each kind, without a branch that nobody could foresee.
            n0 = n1 = n2 = n3 = 0
            for i in range(start, min(start + SORTED, last)):
                v0 = v[i]
                below, above, minus = v0 < low, v0 > high, v0 < 0.0
                index[0, n0] = index[1, n1] = index[2, n2] = index[3, n3] = i
                n0 += below
                n1 += above
                n2 += minus & (not below)
                n3 += (not minus) & (not above)
            for kind, total in enumerate((n0, n1, n2, n3)):
                for at in range(0, total, SLOT):
                    n, chosen = min(SLOT, total - at), index[kind, at:]
                    whole = (n + REGISTER - 1) // REGISTER * REGISTER
                    drive = b[STRIDE:]
                    for i in range(n):
                        b[i] = w[chosen[i]]
                        drive[i] = v[chosen[i]]
                    for k in range(count):
                        given, place = own[k], b[(2 + k) * STRIDE :]
                        for i in range(n):
                            place[i] = given[chosen[i]]
                    lookup(b, whole, low)
                    if kind == 0:
                        negative(b, whole, low)
                    elif kind == 1:
                        positive(b, whole, low)
                    elif kind == 2:
                        still_negative(b, whole, low)
                    else:
                        still_positive(b, whole, low)
                    for k in range(len(out)):
                        found, place = out[k], b[(2 + count + spare + k) * STRIDE :]
                        for i in range(n):
                            found[chosen[i]] = place[i]

    made: Callable[..., None] = numba.njit(rows if shared else cells, nogil=True, error_model="numpy")
    return made


class VectorPulse:
    """The compiled laws of one kernel, for one precision and one layout of the voltages: `vector_pulse` makes them."""

    def __init__(
        self,
        laws: Sequence[tuple[str, int]],
        dtype: str,
        *,
        shared: bool,
        lowest: tuple[float, float],
        tables: tuple[bytes, ...],
        lookups: tuple[Lookup, ...],
    ) -> None:
        self.dtype, self.slots = np.dtype(dtype), max([*(slots for _, slots in laws), *(one.slots for one in lookups)])
        made = [compiled(text, dtype, tables) for text, _ in laws]
        spare = sum(len(one.results) for one in lookups)
        self.driver = _driver(made, _looked_up(lookups, dtype), spare, shared=shared)
        self.ends = (self.dtype.type(-lowest[0]), self.dtype.type(lowest[1]))

    def run(self, w: Array, v: Array, own: Sequence[Array], out: Sequence[Array], *, first: int, last: int) -> None:
        """Rows ``first`` to ``last`` of the states ``w`` (rows, columns) by ``v`` (rows,), or so many cells of ``w``
        and ``v`` (n,): into ``out``, an array for the state and for each other result; ``own``: parameters, as ``w``.
        ``out`` may hold ``w`` itself."""
        work = workspace(self.slots * STRIDE, self.dtype)
        given = tuple(own) or (w,)  # numba has no type for the elements of an empty tuple
        self.driver(w, v, given, len(own), tuple(out), work, first, last, *self.ends)


@lru_cache(maxsize=32)
def vector_pulse(
    laws: tuple[tuple[str, int], ...],
    dtype: str,
    *,
    shared: bool,
    lowest: tuple[float, float],
    tables: tuple[bytes, ...] = (),
    lookups: tuple[Lookup, ...] = (),
) -> VectorPulse:
    """Laws to be compiled, once in a process.

    Args:
        laws: texts and slots (`law_text`) below the negative threshold, above the positive one, and of negative and
            of positive voltages between them.
        dtype: of the states, voltages, parameters and results.
        shared: whether the laws take one voltage a row.
        lowest: the thresholds (V) as in `PulseKernel`.
        tables: the arrays table0, table1, ... of float64 that the laws look numbers up in.
        lookups: what is looked up before; the laws name the sums after the parameters.
    """
    return VectorPulse(laws, dtype, shared=shared, lowest=lowest, tables=tables, lookups=lookups)
