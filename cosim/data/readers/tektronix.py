"""Tektronix oscilloscopes.

The TDS series writes its settings into the first three columns beside the first rows, and time and signal into the
fourth and fifth; several channels are several files. The DPO and MSO series writes the settings above, in rows of a
name and a value per channel, and then ``TIME,CH1,CH2``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cosim.data.readers.table import Record, TextFile
from cosim.data.readers.tables import TextRow, unit_named


def recognise(file: TextFile) -> bool:
    """Whether the first rows name a record's length and its units as these oscilloscopes do."""
    names = {row.cells[0] for row in file.head()}
    return {"Record Length", "Vertical Units", "Horizontal Units"} <= names


def prepare(file: TextFile) -> TextFile:
    """One record with the titles and units that the settings state."""
    settings = {row.cells[0].casefold(): row.cells[1:] for row in file.head() if row.cells[0]}
    horizontal = unit_named(_first(settings["horizontal units"]).lower()) or "s"
    vertical = [cell for cell in settings["vertical units"] if cell] or ["V"]
    if file.rows[0].cell(3):  # rows begin at once: the settings stand beside them
        titles = ("", "", "", "Time", _first(settings.get("source", ())) or "CH1")
        record = Record(
            TextRow(file.rows[0].line, titles),
            tuple(TextRow(row.line, ("", "", "", row.cell(3), row.cell(4)), row.gap) for row in file.rows),
            unit_row=TextRow(0, ("", "", "", horizontal, vertical[0])),
        )
        return replace(file, records=(record,), channels=True)
    head = next((k for k, row in enumerate(file.rows) if row.cells[0].casefold() == "time"), None)
    if head is None:
        return file
    header = file.rows[head]
    channels = sum(bool(cell) for cell in header.cells) - 1
    named = (horizontal, *(vertical[min(k, len(vertical) - 1)] for k in range(channels)))
    record = Record(header, tuple(file.rows[head + 1 :]), unit_row=TextRow(header.line, named))
    return replace(file, records=(record,), channels=True)


def _first(cells: Sequence[str]) -> str:
    return next((cell for cell in cells if cell), "")
