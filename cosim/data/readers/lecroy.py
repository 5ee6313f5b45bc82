"""Teledyne LeCroy oscilloscopes: ``LECROY…,…,Waveform``, the segments and their trigger times, then ``Time,Ampl``.

A sequence of triggers is a file of several segments, one below the other: each becomes a record.
"""

from __future__ import annotations

from dataclasses import replace

from cosim.data.readers.table import Record, TextFile


def recognise(file: TextFile) -> bool:
    """Whether the first row names the maker, or the second the segments."""
    first = file.rows[0]
    return first.cells[0].upper().startswith("LECROY") and first.cells[-1].casefold() == "waveform"


def prepare(file: TextFile) -> TextFile:
    """A record for each segment."""
    head = next((k for k, row in enumerate(file.rows) if row.cells[0].casefold() == "time"), None)
    if head is None:
        return file
    header, body = file.rows[head], tuple(file.rows[head + 1 :])
    stated = next((row.cells for row in file.rows[:head] if row.cells[0] == "Segments"), ())
    count, size = (int(stated[k]) if len(stated) > k and stated[k].isdecimal() else 0 for k in (1, 3))
    parts = range(0, len(body), size) if 0 < size < len(body) and count > 1 else [0]
    records = tuple(
        Record(header, body[at : at + size] if len(parts) > 1 else body, size or None, name=f"segment {k}")
        for k, at in enumerate(parts, 1)
    )
    implied = {"time": "s"}
    return replace(file, records=records, channels=True, implied=lambda title: implied.get(title.casefold(), "V"))
