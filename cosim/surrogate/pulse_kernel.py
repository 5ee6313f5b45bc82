"""Closed pulses on arrays of cells, evaluated so that little is computed and little leaves the cache.

Rows below every threshold are left alone, rows of one sign of the voltage get that polarity's law only, a voltage
shared by a row is exponentiated once, and the rest goes in blocks that fit the second-level cache. For a few hundred
cells, where the calls of numpy cost more than their arithmetic, the same laws run as a scalar loop by numba.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from threading import Lock, Thread
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array, Operand, Values
from cosim.devices.maps import ENERGY
from cosim.devices.pulse import ClosedPulse
from cosim.emit.expr import Node
from cosim.emit.numba import assignments, compiled
from cosim.surrogate.correction import Correction

# Bytes of a block: a dozen temporaries of this size stay within a second-level cache of 1 MB.
BLOCK = 131072
WORTH_A_THREAD = 50_000  # cells: what takes about as long as three threads to start
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
    """

    pulse: ClosedPulse
    state: str
    drive: str
    values: Values
    own: tuple[str, ...]
    correction: Correction | None
    lowest: tuple[float, float]

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
        w = np.broadcast_to(w, shape)
        # A voltage per row of a matrix stays one; anything else is taken as a matrix with one column.
        shared = len(shape) >= 2 and v.ndim == len(shape) and v.size == v.shape[0] == shape[0]
        rows = shape[0] if shared else w.size
        column = v.reshape(rows) if shared or v.shape == shape else np.broadcast_to(v, shape).reshape(rows)
        flat = w.reshape(rows, w.size // max(rows, 1))
        own = {name: np.broadcast_to(self.values[name], shape).reshape(flat.shape) for name in self.own}
        device = self.pulse.cell.device
        # every row is written where the rest is run too
        after = out[self.state].reshape(flat.shape) if self.state in out else np.empty_like(flat)
        if not energy:
            after[...] = flat
        results = (*device.readings, ENERGY) if energy else ()
        found = {n: out[n].reshape(flat.shape) if n in out else np.empty_like(flat) for n in results}
        step = max(BLOCK // max(w.itemsize * flat.shape[1], 1), 1)
        blocks = [
            (polarity, chosen[start : start + step])
            for polarity, chosen in self._sorted(column, rest=energy)
            for start in range(0, chosen.size, step)
        ]

        def work(part: Iterable[tuple[int, NDArray[np.intp]]]) -> None:
            for polarity, block in part:
                p = self.values.with_(**{name: values[block] for name, values in own.items()}) if own else self.values
                before = flat.take(block, axis=0)
                now, used = self.law(column[block, None], before, p, polarity=polarity, energy=energy)
                after[block] = now
                if energy:
                    found[ENERGY][block] = used
                    for name, read in device.readout(Values({self.state: now}), p).items():
                        found[name][block] = read

        _together(work, blocks, count=min(threads, len(blocks), flat.size // WORTH_A_THREAD))
        return after.reshape(shape), {name: x.reshape(shape) for name, x in found.items()} if energy else None

    def _sorted(self, v: Array, *, rest: bool) -> Iterator[tuple[int, NDArray[np.intp]]]:
        """Rows by polarity: −1 and +1 beyond the lowest threshold of any instance, and 0, which move nothing.

        A series element only takes voltage away, so the threshold of the memristor is safe for the cell.
        """
        below, above = v < -self.lowest[0], v > self.lowest[1]
        yield -1, np.flatnonzero(below)
        yield 1, np.flatnonzero(above)
        if rest:
            # By sign as well, which is all that a correction of the energy asks for.
            yield 0, np.flatnonzero((v < 0.0) & ~below)
            yield 0, np.flatnonzero((v >= 0.0) & ~above)

    def law(self, v: Operand, w: Operand, p: Values, *, polarity: int, energy: bool) -> tuple[Operand, Operand]:
        """The state after pulses ``v`` (V) of one polarity, and their energy (J) or None; recording operands too."""
        if polarity == 0:
            after, used = w, self.pulse.still(v, w, p)
        else:
            after, used = self.pulse.part(v, w, p, polarity=polarity, energy=energy)
        if self.correction is not None:
            fields = {self.state: w, self.drive: v}
            if polarity:
                gain = self.correction.gain(self.state, fields, signs=(polarity,))
                after = np.clip(w + (after - w) * gain, 0.0, 1.0)
            if used is not None:
                signs = (polarity or (-1 if v[0, 0] < 0.0 else 1),)
                used = used * self.correction.gain("energy", fields, signs=signs)
        return after, used

    def source(self) -> str:
        """The text of the scalar loop, one assignment per operation; raises `EmitError` for one that has no text."""
        lines = ["def kernel(w, v, out, own):", "    for i in range(w.size):", "        w0 = w[i]", "        v0 = v[i]"]
        lines += [f"        {name} = own[{k}, i]" for k, name in enumerate(self.own)]
        p = self.values.with_(**{name: Node("name", name) for name in self.own})
        low, high = self.lowest
        for keyword, condition, polarity in (("if", f"v0 < {-low!r}", -1), ("elif", f"v0 > {high!r}", 1)):
            with np.errstate(all="ignore"):
                after = self.law(Node("name", "v0"), Node("name", "w0"), p, polarity=polarity, energy=False)[0]
            body, found = assignments({"after": Node.of(after)})
            lines.append(f"        {keyword} {condition}:")
            lines += [f"            {line}" for line in [*body, f"out[i] = {found['after']}"]]
        return "\n".join([*lines, "        else:", "            out[i] = w0", ""])

    def compiled(self) -> Kernel:
        """The scalar loop; needs numba."""
        found: Any = compiled(self.source())
        kernel: Kernel = found
        return kernel


def _together(work: Callable[[Iterable[Any]], None], blocks: list[Any], *, count: int) -> None:
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
