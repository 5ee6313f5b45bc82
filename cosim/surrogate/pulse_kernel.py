"""Closed pulses on arrays of cells, evaluated so that little is computed and little leaves the cache.

Rows below every threshold are left alone, rows of one sign of the voltage get that polarity's law only, a voltage
shared by a row is exponentiated once, and the rest goes in blocks that fit the second-level cache. For a few hundred
cells, where the calls of numpy cost more than their arithmetic, the same laws run as a scalar loop by numba; on demand
those of a large array do as vector instructions (`cosim.surrogate.pulse_vectors`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from threading import Lock, Thread
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array, Operand, Values
from cosim.devices.maps import ENERGY
from cosim.devices.pulse import ClosedPulse
from cosim.emit.expr import Node, settled
from cosim.emit.numba import assignments, compiled
from cosim.surrogate.bases import Spline
from cosim.surrogate.correction import Correction
from cosim.surrogate.learned import Law, Laws
from cosim.surrogate.pulse_vectors import LEAST_COLUMNS, Lookup, VectorPulse, law_text, vector_pulse

# Bytes of a block: a dozen temporaries of this size stay within a second-level cache of 1 MB.
BLOCK = 131072
WORTH_A_THREAD = 50_000  # cells: what takes about as long as three threads to start
WORTH_A_THREAD_COMPILED = 5 * WORTH_A_THREAD
# The sign of the voltage, and whether it is beyond a threshold: −, +, − and +, in the order of `VectorPulse`.
KINDS = ((-1, True), (1, True), (-1, False), (1, False))
# (states, voltages, results, rows of instances' parameters): one pulse on each cell.
Kernel = Callable[[Array, Array, Array, Array], None]


@dataclass(frozen=True)
class PulseKernel:
    """A closed pulse with the names of its state and input, the parameters in use, and the correction.

    Args:
        pulse: the map in parts.
        state, drive: names of its only state and its only input.
        values: parameters: floats, and arrays of instances.
        own: names of the latter.
        correction: None: the physics alone.
        lowest: the lowest thresholds (V) of any instance: negative, positive.
        remainder: what a learned law adds to the state and the energy; only where ``vectorised``.
        vectorised: whether arrays are run by numba (`cosim.surrogate.pulse_vectors`).
    """

    pulse: ClosedPulse
    state: str
    drive: str
    values: Values
    own: tuple[str, ...]
    correction: Correction | None
    lowest: tuple[float, float]
    vectorised: bool = False
    remainder: Law | Laws | None = None
    _vectors: dict[tuple[str, bool, bool], VectorPulse] = field(default_factory=dict, compare=False, repr=False)

    def run(
        self,
        w: Array,
        v: Array,
        *,
        shape: tuple[int, ...],
        energy: bool,
        out: Mapping[str, Array] = MappingProxyType({}),
        threads: int = 1,
    ) -> tuple[Array, dict[str, Array] | None]:
        """One pulse on ``w`` by ``v``, which broadcast to ``shape``: the states after it, and on demand its energy (J)
        and what a read gives after it, by name; in the arrays of ``out``, where it has one.
        ``threads`` that work on it side by side, at most."""
        w = w if w.shape == shape else np.broadcast_to(w, shape)
        # A voltage per row of a matrix stays one; anything else is taken as a matrix with one column.
        shared = len(shape) >= 2 and v.ndim == len(shape) and v.size == v.shape[0] == shape[0]
        rows = shape[0] if shared else w.size
        column = v.reshape(rows) if shared or v.shape == shape else np.broadcast_to(v, shape).reshape(rows)
        flat = w.reshape(rows, w.size // max(rows, 1))
        own = {name: np.broadcast_to(self.values[name], shape).reshape(flat.shape) for name in self.own}
        device = self.pulse.cell.device
        names = (self.state, *((*device.readings, ENERGY) if energy else ()))
        found = {n: out[n].reshape(flat.shape) if n in out else np.empty_like(flat) for n in names}
        if self.vectorised:
            self._run_compiled(flat, column, own, found, energy=energy, threads=threads)
        else:
            self._run_numpy(flat, column, own, found, energy=energy, threads=threads)
        after = found.pop(self.state).reshape(shape)
        return after, {name: x.reshape(shape) for name, x in found.items()} if energy else None

    def _run_numpy(
        self, w: Array, v: Array, own: Mapping[str, Array], found: Mapping[str, Array], *, energy: bool, threads: int
    ) -> None:
        """``w`` (rows, columns) by ``v`` (rows,) into ``found``."""
        device, after = self.pulse.cell.device, found[self.state]
        if not energy:  # every row is written where the rest is run too
            after[...] = w
        step = max(BLOCK // max(w.itemsize * w.shape[1], 1), 1)
        blocks = [
            (kind, chosen[start : start + step])
            for kind, chosen in self._sorted(v, rest=energy)
            for start in range(0, chosen.size, step)
        ]

        def work(part: Iterable[tuple[tuple[int, bool], NDArray[np.intp]]]) -> None:
            for (sign, moving), block in part:
                p = self.values.with_(**{name: values[block] for name, values in own.items()}) if own else self.values
                before = w.take(block, axis=0)
                now, used = self.law(v[block, None], before, p, sign=sign, moving=moving, energy=energy)
                after[block] = now
                if energy:
                    found[ENERGY][block] = used
                    for name, read in device.readout(Values({self.state: now}), p).items():
                        found[name][block] = read

        together(work, blocks, count=min(threads, len(blocks), w.size // WORTH_A_THREAD))

    def _run_compiled(
        self, w: Array, v: Array, own: Mapping[str, Array], found: Mapping[str, Array], *, energy: bool, threads: int
    ) -> None:
        """The same by numba."""
        shared = w.shape[1] >= LEAST_COLUMNS
        given, out = [w, *own.values()], list(found.values())
        if not shared:
            v = np.repeat(v, w.shape[1]) if w.shape[1] > 1 else v
            given, out = ([part.reshape(-1) for part in parts] for parts in (given, out))
        w, v, *rest = (constant(part) for part in (given[0], v, *given[1:]))
        law = self._vector("float64" if w.itemsize == 8 else "float32", energy=energy, shared=shared)
        if threads < 2:
            law.run(w, v, rest, out, first=0, last=len(w))
            return
        step = max(BLOCK // max(w.itemsize * (w.shape[1] if shared else 1), 1), 1)

        def work(starts: Iterable[int]) -> None:
            for first in starts:
                law.run(w, v, rest, out, first=first, last=min(first + step, len(w)))

        starts = list(range(0, len(w), step))
        together(work, starts, count=min(threads, len(starts), w.size // WORTH_A_THREAD_COMPILED))

    def _vector(self, dtype: str, *, energy: bool, shared: bool) -> VectorPulse:
        """The laws in vector instructions; raises `EmitError` for one that has no text. Needs numba."""
        key = (dtype, energy, shared)
        if key not in self._vectors:
            p, texts = self._named(), []
            own = [f"q{k}" for k in range(len(self.own))]
            v, w = Node("name", "v0"), Node("name", "w0")
            tables: list[Array] = []
            rest, lookups, sums = self._remainder(w, v, own, tables, energy=energy, shared=shared)
            for sign, moving in KINDS:
                with np.errstate(all="ignore"):
                    after, used = self.law(v, w, p, sign=sign, moving=moving, energy=energy)
                    if rest:
                        after = np.clip(after + rest.get(self.state, 0.0), 0.0, 1.0)
                        used = used + rest.get(ENERGY, 0.0) if energy else None
                    results = {self.state: after}
                    if energy:
                        results |= {**self.pulse.cell.device.readout(Values({self.state: after}), p), ENERGY: used}
                graphs = {name: Node.of(result) for name, result in results.items()}
                graphs = settled(graphs, {"v0": (sign > 0, sign < 0, moving or sign < 0)})
                texts.append(law_text(graphs, [*own, *sums], shared=shared))
            found = tuple(np.ascontiguousarray(table, dtype=float).tobytes() for table in tables)
            self._vectors[key] = vector_pulse(
                tuple(texts), dtype, shared=shared, lowest=self.lowest, tables=found, lookups=tuple(lookups)
            )
        return self._vectors[key]

    def _remainder(
        self, w: Node, v: Node, own: list[str], tables: list[Array], *, energy: bool, shared: bool
    ) -> tuple[dict[str, Operand], list[Lookup], list[str]]:
        """What is added to the state and the energy; what is looked up for it, and the names of the sums that it finds.

        A spline of two fields is looked up before the law; ``tables`` grows by those of others.
        """
        if self.remainder is None:
            return {}, [], []
        fields: dict[str, Operand] = {self.state: w, self.drive: v}
        wanted = [self.state, ENERGY] if energy else [self.state]
        rest: dict[str, Operand] = {}
        spread: list[tuple[Law, list[int]]] = []
        for law in self.remainder.parts if isinstance(self.remainder, Laws) else (self.remainder,):
            columns = [k for k, name in enumerate(law.targets) if name in wanted]
            if isinstance(law.model, Spline) and len(law.fields) == 2 and columns:
                spread.append((law, columns))
            else:
                rest |= law.traced(fields, tables)
        names = [f"s{k}" for k in range(sum(len(columns) for _, columns in spread))]
        slots, made = iter(range(2 + len(own), 2 + len(own) + len(names))), []
        for law, columns in spread:
            assert isinstance(law.model, Spline)
            first, (row, across) = law.model.located([Node.of(x) for x in law.scaled_traced(fields)])
            graphs = {"first": first, "row": row, "across": across}
            text, used = law_text(graphs, [*own, *names], shared=shared)
            places = []
            for k in columns:
                slot = next(slots)
                rest[law.targets[k]] = Node("name", f"s{slot - 2 - len(own)}")
                places.append((slot, float(law.offset[k]), float(law.scale[k])))
            table = law.model.coefficients[:, columns].T.tobytes()  # one target after the other
            made.append(Lookup(text, used, 2 + len(own) + len(names), law.model.cells + 3, tuple(places), table))
        return rest, made, names

    def _sorted(self, v: Array, *, rest: bool) -> Iterator[tuple[tuple[int, bool], NDArray[np.intp]]]:
        """Rows of each of `KINDS`: beyond the lowest threshold of any instance, and those which move nothing.

        A series element only takes voltage away, so the threshold of the memristor is safe for the cell.
        """
        below, above = v < -self.lowest[0], v > self.lowest[1]
        masks = [below, above, *([(v < 0.0) & ~below, (v >= 0.0) & ~above] if rest else [])]
        for kind, mask in zip(KINDS, masks, strict=False):
            yield kind, mask.nonzero()[0]

    def law(
        self, v: Operand, w: Operand, p: Values, *, sign: int, moving: bool, energy: bool
    ) -> tuple[Operand, Operand]:
        """The state after pulses ``v`` (V) of one ``sign``, beyond a threshold or not, and their energy (J) or None.

        Recording operands too.
        """
        if moving:
            after, used = self.pulse.part(v, w, p, polarity=sign, energy=energy)
        else:
            after, used = w, self.pulse.still(v, w, p) if energy else None
        if self.correction is not None:
            fields = {self.state: w, self.drive: v}
            if moving:
                gain = self.correction.gain(self.state, fields, signs=(sign,))
                after = np.clip(w + (after - w) * gain, 0.0, 1.0)
            if used is not None:
                used = used * self.correction.gain("energy", fields, signs=(sign,))
        return after, used

    def _named(self) -> Values:
        """The parameters, those of instances as q0, q1, ...: one may be called as the state is."""
        return self.values.with_(**{name: Node("name", f"q{k}") for k, name in enumerate(self.own)})

    def source(self) -> str:
        """The text of the scalar loop, one assignment per operation; raises `EmitError` for one that has no text."""
        lines = ["def kernel(w, v, out, own):", "    for i in range(w.size):", "        w0 = w[i]", "        v0 = v[i]"]
        lines += [f"        q{k} = own[{k}, i]" for k in range(len(self.own))]
        p = self._named()
        low, high = self.lowest
        for keyword, condition, sign in (("if", f"v0 < {-low!r}", -1), ("elif", f"v0 > {high!r}", 1)):
            with np.errstate(all="ignore"):
                v, w = Node("name", "v0"), Node("name", "w0")
                after = self.law(v, w, p, sign=sign, moving=True, energy=False)[0]
            body, found = assignments({"after": Node.of(after)})
            lines.append(f"        {keyword} {condition}:")
            lines += [f"            {line}" for line in [*body, f"out[i] = {found['after']}"]]
        return "\n".join([*lines, "        else:", "            out[i] = w0", ""])

    def compiled(self) -> Kernel:
        """The scalar loop; needs numba."""
        found: Any = compiled(self.source())
        kernel: Kernel = found
        return kernel


def constant(x: Array) -> Array:
    """``x`` as numba takes it for the same type whoever gives it: contiguous, not to be written to."""
    x = np.ascontiguousarray(x).view()
    x.flags.writeable = False
    return x


def together(work: Callable[[Iterable[Any]], None], blocks: list[Any], *, count: int) -> None:
    """Do ``work`` on all ``blocks`` by ``count`` threads, this one and others that live for this call alone.

    numpy lets go of Python's lock within each of its calls, so that threads work side by side.
    """
    if count < 2:
        work(blocks)
        return
    waiting, failed = iter(list(blocks)), []
    lock = Lock()

    def next_ones() -> Iterator[Any]:
        while True:
            with lock:
                block = next(waiting, None)
            if block is None:
                return
            yield block

    def guarded() -> None:
        try:
            work(next_ones())
        except BaseException as error:
            failed.append(error)

    threads = [Thread(target=copy_context().run, args=(guarded,)) for _ in range(count - 1)]
    for thread in threads:
        thread.start()
    guarded()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
