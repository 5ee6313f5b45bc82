"""Raw files of circuit simulators, ngspice's, VACASK's and LTspice's: each plot is a record, each vector a column.

The runs of LTspice's ``.step`` are records of their own. Of complex vectors ``re(v(out))`` and ``im(v(out))`` are the
columns; the frequency is real.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from cosim.data.readers.tables import Layout, NumberTable, check_count, real_columns
from cosim.devices.base import Array
from cosim.engines.raw import RawBlock, stream_raw

_TYPES = {"time": "s", "voltage": "V", "frequency": "Hz", "resistance": "Ohm", "power": "W"}


def begins(head: bytes) -> bool:
    """Whether it begins with a title, in one byte a letter or in UTF-16, and goes on as a header."""
    plain = head[::2] if head.startswith(b"T\0") else head
    return plain.startswith(b"Title:") and b"\nNo. Variables:" in plain


def tables(path: Path, layout: Layout) -> tuple[NumberTable, ...]:
    """The plots; raises `DataError`."""
    plots: dict[int, list[RawBlock]] = {}
    count = 0
    for block in stream_raw(path):
        count += sum(values.size for values in block.values)
        check_count(count, path)
        plots.setdefault(block.plot, []).append(block)
    return tuple(table for plot in plots.values() if plot[0].values for table in _of(path, plot, layout))


def _of(path: Path, blocks: list[RawBlock], layout: Layout) -> list[NumberTable]:
    columns: dict[str, Array] = {}
    units: dict[str, str] = {}
    plot = blocks[0]
    vectors = [np.concatenate(parts) for parts in zip(*(block.values for block in blocks), strict=True)]
    notes, length = [], len(vectors[0])
    for name, kind, values in zip(plot.names, plot.types, vectors, strict=True):
        if len(values) != length:
            notes.append(f"{name} has {len(values)} of {length} values, and is left out")
            continue
        parts = real_columns(name, values)
        columns.update(parts)
        units.update(dict.fromkeys(parts, "A" if "current" in kind else _TYPES.get(kind, "")))
    whole = NumberTable.of(path, columns, units=units, layout=layout, notes=tuple(notes), name=plot.name)
    if "stepped" not in plot.flags or length < 2:
        return [whole]
    scale = whole.numbers[0]
    starts = [0, *(np.flatnonzero(scale[1:] == scale[0]) + 1).tolist(), length]
    return [replace(whole.only(np.arange(a, b)), name=f"step {k}") for k, (a, b) in enumerate(pairwise(starts), 1)]
