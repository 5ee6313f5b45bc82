"""Keysight (Agilent) InfiniiVision oscilloscopes: ``x-axis,1,2`` over ``second,Volt,Volt``.

Channels are called by their number in quotes, ``name = "1"``; without quotes that is the first column, the time, which
may be called ``Time`` too.
"""

from __future__ import annotations

from dataclasses import replace

from cosim.data.readers.table import Record, TextFile
from cosim.data.readers.tables import TextRow


def recognise(file: TextFile) -> bool:
    """Whether the first row begins with ``x-axis`` and the second with a unit in full."""
    return file.rows[0].cells[0].casefold() == "x-axis" and len(file.rows) > 1


def prepare(file: TextFile) -> TextFile:
    """One record, its first column called Time; a channel that began later has blank cells above."""
    header, units, body = file.rows[0], file.rows[1], tuple(file.rows[2:])
    record = Record(TextRow(header.line, ("Time", *header.cells[1:])), body, unit_row=units)
    return replace(file, records=(record,), channels=True)
