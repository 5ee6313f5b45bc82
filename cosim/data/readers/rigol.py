"""Rigol oscilloscopes: the time stands in the header, as a start and an increment, and no row has it.

The DS1000Z and its kin write ``X,CH1,CH2,Start,Increment,`` over ``Sequence,Volt,Volt,-6.0e-03,1.0e-05,`` and rows that
are counted from 0; the MSO5000 and later ``CH1V,CH2V,t0 =-5.0e-03, tInc = 1.0e-06,`` and rows without a number. Both
get a column ``Time``.
"""

from __future__ import annotations

import re
from dataclasses import replace

from cosim.data.readers import cells as text
from cosim.data.readers.table import Record, TextFile
from cosim.data.readers.tables import TextRow
from cosim.errors import DataError, Where

_PARTS = re.compile(r"(t0|tInc)\s*=\s*(\S+?)s?", re.IGNORECASE)


def recognise(file: TextFile) -> bool:
    """Whether the header has a start and an increment."""
    return bool(_counted(file) or _stated(file))


def _counted(file: TextFile) -> bool:
    first = file.rows[0].cells
    return first[0] == "X" and {"Start", "Increment"} <= set(first) and len(file.rows) > 1


def _stated(file: TextFile) -> bool:
    return sum(bool(_PARTS.fullmatch(cell)) for cell in file.rows[0].cells) == 2


def prepare(file: TextFile) -> TextFile:
    """The rows with a column ``Time`` in s behind the channels."""
    header, body = file.rows[0], list(file.rows[1:])
    if _counted(file):
        units, body = body[0], body[1:]
        width = header.cells.index("Start")
        stated = [units.cell(header.cells.index(name)) for name in ("Start", "Increment")]
        titles, named = header.cells[:width], tuple(units.cell(k) for k in range(1, width))
        labels = ("", *named)
    else:
        parts = {m[1].lower(): m[2] for cell in header.cells if (m := _PARTS.fullmatch(cell))}
        stated = [parts["t0"], parts["tinc"]]
        channels = [cell for cell in header.cells if cell and not _PARTS.fullmatch(cell)]
        width = len(channels)
        titles = tuple(re.sub(r"(?<=\d)[VA]$", "", cell) for cell in channels)
        labels = tuple(cell[len(title) :] for cell, title in zip(channels, titles, strict=True))
        units = header
    numbers = [text.number(cell, ".") for cell in stated]
    if None in numbers:
        raise DataError(
            f"row {units.line}: its start and increment, {stated[0]!r} and {stated[1]!r}, are not numbers",
            where=Where(file.path),
        )
    start, step = (float(number or 0.0) for number in numbers)
    rows = []
    for k, row in enumerate(body):
        count = text.number(row.cell(0), ".") if titles[0] == "X" else k
        time = "" if count is None else repr(start + count * step)
        rows.append(TextRow(row.line, (*(row.cell(i) for i in range(width)), time), row.gap))
    unit_row = TextRow(units.line, (*labels, "s"))
    record = Record(TextRow(header.line, (*titles, "Time")), tuple(rows), unit_row=unit_row)
    return replace(file, records=(record,), channels=True)
