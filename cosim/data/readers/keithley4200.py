"""Keithley 4200 (Clarius, KITE): a workbook with a sheet ``Data``, one ``AppendN`` for each repetition, ``Settings``.

``Data`` has a title per column and no units: ``DrainI``, ``DrainV``, ``GateV``, ``Time``, whose last letters say what
they are. ``Settings`` lists, for each terminal, what it forced and its compliance, which is passed on as a note.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from cosim.data.readers import excel
from cosim.data.readers.table import TextFile
from cosim.data.readers.tables import Layout, TextTable

_DATA = re.compile(r"data|append\d*|run\d+", re.IGNORECASE)
# By the end of a title, longest first: capacitance meters write Cp_GB, Gp_GB, F_GB.
_ENDS = {"time": "s", "cp": "F", "cs": "F", "gp": "S", "rs": "Ohm", "i": "A", "v": "V", "r": "Ohm", "f": "Hz"}


def is_it(files: list[TextFile]) -> bool:
    """Whether a workbook's sheets are those of this instrument."""
    names = {file.name.casefold() for file in files}
    return {"data", "settings"} <= names


def tables(path: Path, files: list[TextFile], layout: Layout, *, format: str) -> tuple[TextTable, ...]:
    """The records of ``Data`` and of each repetition."""
    notes = tuple(note for file in files if file.name.casefold() == "settings" for note in _limits(file))
    data = [replace(file, implied=_unit, notes=notes) for file in files if _DATA.fullmatch(file.name)]
    return excel.of_sheets(path, data, layout, format=format)


def _unit(title: str) -> str:
    word = re.sub(r"(\(\d+\)|_\w+)$", "", title.strip()).casefold()
    return next((unit for end, unit in _ENDS.items() if word.endswith(end)), "")


def _limits(settings: TextFile) -> list[str]:
    """The compliance of each terminal, in words."""
    terminals: tuple[str, ...] = ()
    found = []
    for row in settings.rows:
        name = row.cells[0].casefold()
        if name in ("device terminal", "terminal", "name") and not terminals:
            terminals = row.cells[1:]
        elif name == "compliance":
            cells = zip(terminals, row.cells[1:], strict=False)
            listed = ", ".join(f"{title} {cell}" for title, cell in cells if title and cell and cell.upper() != "N/A")
            found += [f"compliance by the settings: {listed}"] if listed else []
    return found
