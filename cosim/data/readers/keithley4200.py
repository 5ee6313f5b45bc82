"""Keithley 4200 (Clarius, KITE): a workbook with a sheet ``Data``, one ``AppendN`` for each repetition, ``Settings``.

``Data`` has a title per column and no units: ``DrainI``, ``DrainV``, ``GateV``, ``Time``. A terminal's name and a
quantity's letter, or the whole title of a capacitance meter, say the unit; of any other title ("PulseNumber", "LogI",
"Phi") nothing is concluded. ``Settings`` lists, for each terminal, what it forced and its compliance, which is passed
on as a note.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cosim.data.readers import excel
from cosim.data.readers.cells import number
from cosim.data.readers.table import TextFile
from cosim.data.readers.tables import Layout, TextTable

_DATA = re.compile(r"data|append\d*|run\d+", re.IGNORECASE)
# What an analysis wrote over a current or a voltage is in another unit.
_MADE = re.compile(r"log|ln|sqrt|norm|ratio|rel", re.IGNORECASE)
_TITLES: Mapping[str, str] = {
    r"(?:[A-Z]\w*[a-z0-9]|[A-Z]|DC|AC)?I": "A", r"(?:[A-Z]\w*[a-z0-9]|[A-Z]|DC|AC)?V": "V",
    r"(?:[A-Z]\w*[a-z0-9])?Time|TIME|time": "s", r"(?:[A-Z]\w*[a-z0-9]|[A-Z])?R|R[sp]": "Ohm",
    r"C[sp]": "F", r"G[sp]": "S", r"F|Freq|Frequency": "Hz",
}  # fmt: skip


def is_it(files: list[TextFile]) -> bool:
    """Whether a workbook's sheets are those of this instrument."""
    names = {file.name.casefold() for file in files}
    return {"data", "settings"} <= names


def tables(path: Path, files: list[TextFile], layout: Layout, *, format: str) -> tuple[TextTable, ...]:
    """The records of ``Data`` and of each repetition."""
    notes = tuple(note for file in files if file.name.casefold() == "settings" for note in _limits(file))
    limits = {
        terminal: limit
        for file in files
        if file.name.casefold() == "settings"
        for terminal, cell in _compliance(file)
        if (limit := number(cell, ".")) is not None
    }
    data = [replace(file, implied=_unit, notes=notes, limits=limits) for file in files if _DATA.fullmatch(file.name)]
    return excel.of_sheets(path, data, layout, format=format)


def _unit(title: str) -> str:
    word = re.sub(r"(\(\d+\)|_\w+)$", "", title.strip())  # of a step, of a capacitance meter: "DrainI(2)", "Cp_GB"
    if _MADE.match(word):
        return ""
    return next((unit for pattern, unit in _TITLES.items() if re.fullmatch(pattern, word)), "")


def _limits(settings: TextFile) -> list[str]:
    """The compliance of each terminal, in words."""
    listed = ", ".join(f"{title} {cell}" for title, cell in _compliance(settings))
    return [f"compliance by the settings: {listed}"] if listed else []


def _compliance(settings: TextFile) -> list[tuple[str, str]]:
    """The compliance of each terminal that has one, as it is written."""
    terminals: tuple[str, ...] = ()
    found: list[tuple[str, str]] = []
    for row in settings.rows:
        name = row.cells[0].casefold()
        if name in ("device terminal", "terminal", "name") and not terminals:
            terminals = row.cells[1:]
        elif name == "compliance":
            cells = zip(terminals, row.cells[1:], strict=False)
            found += [(title, cell) for title, cell in cells if title and cell and cell.upper() != "N/A"]
    return found
