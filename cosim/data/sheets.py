"""The tables of a file as columns with units, read without a recipe: what `cosim.data.recognise` looks at."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim import units
from cosim.data.readers import fingerprint
from cosim.data.readers.cells import COMMENT, is_mark, is_number, lines_of, read_text
from cosim.data.readers.formats import read_file
from cosim.data.readers.tables import NumberTable, Table, TextTable, in_title, misspelt, unknown_unit
from cosim.data.recording import Curve, Reading
from cosim.data.spec import CONDITIONS
from cosim.devices.base import Array
from cosim.errors import DataError, InputError, UnitError

# Words of a title that say what a column is, where its unit does not.
WORDS: Mapping[str, str] = {
    "interval": r"Δ\s*t|delta[ _]?t|\bdt\b|interval|\bisi\b|\blag\b|spacing|delay|timing|\bt_?(post|pre)",
    "time": r"time|\bt\b|elapsed|timestamp",
    "count": r"cycle|count|number|pulses?\b|\bn\b|\bno\b|index|#|switch",
    "ratio": r"ratio|ppf|ppr|facilitation|a2/a1",
    "change": r"Δ\s*[gw]|d[gw]\b|delta[ _]?[gw]|change|weight|step",
    "sequence": r"pair|sequence|burst",
    "rest": r"\brest\b|pause",
    "gate": r"gate|\bv_?gs?\b",
    "read voltage": r"read|v_?read",
    "conductance": r"conductance|normali[sz]ed|\bg\b|g/g",
}
# Of files that name their columns and have no units: MATLAB's, LabVIEW's.
SI_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("v", "voltage"), "V"), **dict.fromkeys(("i", "current"), "A"), **dict.fromkeys(("t", "time"), "s"),
    **dict.fromkeys(("g", "conductance"), "S"), **dict.fromkeys(("r", "resistance"), "Ohm"),
}  # fmt: skip
# A voltage that moves by less than this part of its size is a constant read voltage.
CONSTANT = 1e-3


@dataclass(frozen=True)
class Column:
    """A numeric column of a file: its title without unit, its SI unit ("" where none is stated), its values (n,)."""

    title: str
    unit: str
    values: Array
    number: int

    def says(self, word: str) -> bool:
        """Whether the title has a word for a role."""
        return re.search(WORDS[word], self.title, re.IGNORECASE) is not None

    @property
    def constant(self) -> bool:
        """Whether it does not move."""
        return float(np.ptp(self.values)) <= CONSTANT * float(np.abs(self.values).max())


# So many lines are named in a sentence.
NAMED = 8


@dataclass(frozen=True)
class Sheet:
    """One table of a file as columns, with its preamble's settings (SI); its ``record`` where there are several.

    ``misread``: a sentence for each column whose title states a unit that is unknown. ``missing``: words in its cells
    by which an instrument marks a failed reading.
    """

    name: str
    path: Path
    columns: tuple[Column, ...]
    lines: Sequence[int]
    total: int
    header: int | None
    settings: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    record: int | None = None
    sweep_rate: float | None = None
    misread: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def of(self, unit: str) -> list[Column]:
        """The columns in a unit (SI)."""
        return [column for column in self.columns if column.unit == unit]

    def compliance(self, current: Column) -> float | None:
        """The instrument's limit (A) on a current, where the file states it."""
        title = current.title.casefold()
        known = [limit for start, limit in self.limits.items() if title.startswith(start.casefold()) and limit > 0.0]
        return known[0] if len(known) == 1 else None

    def titles(self, columns: Mapping[str, Column]) -> dict[str, str]:
        """What a recipe calls ``columns``, the first of which a law is over; empty where it would read other rows."""
        there = {(column.number, column.title) for column in self.columns}
        known = all((column.number, column.title) in there and column.unit for column in columns.values())
        ordered = np.all(np.diff(next(iter(columns.values())).values) >= 0.0)
        return {name: column.title for name, column in columns.items()} if known and ordered else {}

    def only(self, rows: NDArray[Any]) -> Sheet:
        """The sheet whose lines are those of ``rows``, by index or mask; its columns are as they were."""
        known = len(self.lines) and len(self.lines) == max(column.values.size for column in self.columns)
        return replace(self, lines=tuple(np.asarray(self.lines)[rows].tolist()) if known else ())

    def blanks(self, columns: Sequence[Column]) -> tuple[str, ...]:
        """A sentence for each of ``columns`` in which cells hold no number: those rows are left out."""
        empty = {column.title: ~np.isfinite(column.values) for column in columns}
        return tuple(
            f"{self.rows_out(rows)} without a number in {title!r}" for title, rows in empty.items() if rows.any()
        )

    def rows_out(self, rows: NDArray[np.bool_]) -> str:
        """``2 rows left out (lines 9 and 22)`` for a mask (n,)."""
        count = int(rows.sum())
        said = f"{count} row{'s' * (count > 1)} left out"
        if len(self.lines) != rows.size:
            return said
        named = [str(line) for line in np.asarray(self.lines)[rows][:NAMED]]
        if count > NAMED:
            named.append(f"{count - NAMED} more")
        listed = " and ".join(part for part in (", ".join(named[:-1]), named[-1]) if part)
        return f"{said} (line{'s' * (count > 1)} {listed})"

    def curve(
        self, kind: str, columns: Mapping[str, Column | Array], si: Mapping[str, str], **conditions: float
    ) -> Curve:
        """A recording of a kind from its columns; rows in which one is blank are left out."""
        arrays = {n: np.asarray(c.values if isinstance(c, Column) else c, dtype=float) for n, c in columns.items()}
        kept = np.all([np.isfinite(array) for array in arrays.values()], axis=0)
        if not kept.any():
            raise DataError("no row has a number in every column that is needed")
        lines: Sequence[int] = self.lines if len(self.lines) == kept.size else ()
        if lines and not kept.all():
            lines = np.asarray(lines)[kept].tolist()
        notes = (*self.notes, *self.blanks([column for column in columns.values() if isinstance(column, Column)]))
        ends = ((lines[0], lines[-1]),) if lines else ((0, 0),)
        reading = Reading((int(kept.sum()),), self.total, ends, (self.header,), notes)
        made = {name: array[kept] for name, array in arrays.items()}
        source = self.path.name
        return Curve(kind, made, si, conditions, source, fingerprint(self.path), lines, reading)


def sheets_of(file: Path) -> list[Sheet]:
    """The tables of a file with all their numeric columns; raises `DataError`, `MissingFile`."""
    tables = read_file(file)
    stated = settings(file)
    many = len(tables) > 1
    found = [_sheet(f"{file.name}#{k}" if many else file.name, t, stated) for k, t in enumerate(tables, 1)]
    return [replace(sheet, record=k) for k, sheet in enumerate(found, 1)] if many else found


def _sheet(name: str, table: Table, stated: Mapping[str, float]) -> Sheet:
    columns, words = [], []
    misread: list[str] = []
    table, missing = _marked(table)
    notes = [*([f"read as {table.format}"] if table.format else []), *table.notes]
    for index in range(table.width):
        title = in_title(table.header[index])[0] if index < len(table.header) else ""
        try:
            values = table.columns([index])[0]
        except DataError as error:
            if isinstance(table, NumberTable):
                notes.append(f"{error.message}, and is not used")
                continue
            cells = [cell for row in table.rows if (cell := row.cell(index))]
            if sum(map(is_number, cells)) > len(cells) / 2:
                notes.append(f"column {table.label(index)} is not used: {error.message}")
            elif cells:
                words.append(table.label(index))
            continue
        unit = table.unit(index)
        if not unit and isinstance(table, NumberTable) and title.casefold() in SI_NAMES:
            unit = SI_NAMES[title.casefold()]
            notes.append(f"{title}: in {unit}, which is assumed: such a file has no place for a unit")
        try:
            scale, si = units.dimension(unit)[0], units.si_unit(unit)
        except UnitError:
            scale, si = 1.0, ""
        if not unit and (wrong := misspelt(table.header[index] if index < len(table.header) else "")):
            said = unknown_unit(wrong, index, table.header[index])
            misread.append(f"{said}: did you mean {units.near(wrong)}?")
        columns.append(Column(title or f"column {index + 1}", si if unit else "", values * scale, index + 1))
    if words:
        notes.append(f"columns of text are not used: {', '.join(words)}")
    total, head = len(table.rows), table.header_line
    return Sheet(
        name, table.path, tuple(columns), table.lines, total, head, stated, (*notes, *misread), table.limits,
        misread=tuple(misread), missing=missing,
    )  # fmt: skip


def _marked(table: Table) -> tuple[Table, tuple[str, ...]]:
    """The table with an instrument's words for a failed reading as missing ones, in columns of numbers; these words."""
    found: dict[str, None] = {}
    for index in range(table.width if isinstance(table, TextTable) else 0):
        cells = [cell for row in table.rows if (cell := row.cell(index))]
        if sum(map(is_number, cells)) > len(cells) / 2:
            found |= dict.fromkeys(cell for cell in cells if is_mark(cell))
    missing = tuple(found)
    return (replace(table, layout=replace(table.layout, missing=missing)), missing) if missing else (table, missing)


_SETTING = re.compile(r"([A-Za-z][\w ]*?)\s*[:=,]\s*([+-]?[\d.]+(?:[eE][+-]?\d+)?\s*[A-Za-zµμ]+)\s*(?=[,;)]|$)")
_NAMES: Mapping[str, str] = {
    "v_read": r"v_?read|read voltage|v_?r\b", "width": r"width|duration|t_?pulse", "rise": r"rise", "fall": r"fall",
}  # fmt: skip


def settings(file: Path) -> dict[str, float]:
    """Conditions that a file's comments state, as in ``# pulse width = 200 ns``; SI."""
    found: dict[str, float] = {}
    try:
        lines = lines_of(read_text(file))
    except InputError:
        return {}
    for line in lines[:200]:
        if not line.lstrip().startswith(COMMENT):
            continue
        for label, value in _SETTING.findall(line):
            for name, words in _NAMES.items():
                if re.search(words, label, re.IGNORECASE) and name not in found:
                    try:
                        found[name] = units.parse(value, CONDITIONS[name])
                    except UnitError:
                        continue
    return found
