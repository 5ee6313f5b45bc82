"""Keithley source-measure units.

* Buffers of the 2450 and its kin, as CSV: ``Index,Reading,Unit,…,Value,Unit,…,Relative Time``: the unit of a column
  stands in the column ``Unit`` behind it.
* TSP Express of the 2600 series: ``Smu1.V[1][1],Smu1.I[1][1],Smu1.Time[1][1]``: the quantity is the unit.
* ``TRAC:DATA?`` of the 2400 in one line: voltage, current, resistance, time and status of each reading, in turn.
"""

from __future__ import annotations

import re
from dataclasses import replace

from cosim.data.readers.table import Record, TextFile
from cosim.data.readers.tables import TextRow, unit_named

_TSP = re.compile(r"smu\w*\.(v|i|r|p|time|timestamp)\w*\[\d+\]\[\d+\]", re.IGNORECASE)
_QUANTITY = {"v": "V", "i": "A", "r": "Ohm", "p": "W", "time": "s", "timestamp": "s"}
_ELEMENTS = ("Voltage", "Current", "Resistance", "Time", "Status")
_ELEMENT_UNITS = ("V", "A", "Ohm", "s", "")
_SCPI = re.compile(r"[+-]\d\.\d+E[+-]\d\d")


def recognise(file: TextFile) -> bool:
    """Whether it is one of the three."""
    return _buffer(file) is not None or _tsp(file) or _trace(file)


def _buffer(file: TextFile) -> int | None:
    rows = enumerate(file.head())
    return next((k for k, row in rows if "Unit" in row.cells and {"Reading", "Value"} & set(row.cells)), None)


def _tsp(file: TextFile) -> bool:
    return any(_TSP.fullmatch(cell) for row in file.head() for cell in row.cells)


def _trace(file: TextFile) -> bool:
    cells = file.rows[0].cells
    whole = len(file.rows) == 1 and len(cells) % len(_ELEMENTS) == 0 and len(cells) > len(_ELEMENTS)
    return whole and all(_SCPI.fullmatch(cell) for cell in cells)


def prepare(file: TextFile) -> TextFile:
    """The rows with the unit of each column."""
    if _trace(file):
        line, cells, n = file.rows[0].line, file.rows[0].cells, len(_ELEMENTS)
        rows = tuple(TextRow(k // n + 1, cells[k : k + n]) for k in range(0, len(cells), n))
        units = TextRow(line, _ELEMENT_UNITS)
        return replace(file, records=(Record(TextRow(line, _ELEMENTS), rows, unit_row=units),))
    if _tsp(file):
        return replace(file, implied=_of_quantity)
    head = _buffer(file)
    assert head is not None
    header, body = file.rows[head], tuple(file.rows[head + 1 :])
    named, notes = [""] * len(header.cells), list[str]()
    for k, title in enumerate(header.cells):
        if title == "Unit" and k:
            words = list(dict.fromkeys(row.cell(k) for row in body if row.cell(k)))
            named[k - 1] = unit_named(words[0]) if len(words) == 1 else ""
            if len(words) > 1:
                notes.append(f"{header.cells[k - 1]!r} is in {' and in '.join(words[:3])}: state the unit")
        elif title.casefold().startswith(("relative", "time stamp", "timestamp")):
            named[k] = "s"
    record = Record(header, body, unit_row=TextRow(header.line, tuple(named)))
    return replace(file, records=(record,), notes=(*file.notes, *notes))


def _of_quantity(title: str) -> str:
    found = _TSP.fullmatch(title.strip())
    return _QUANTITY[found[1].lower()] if found else ""
