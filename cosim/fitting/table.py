"""Text files of instruments as tables: CSV, TSV, semicolons with decimal commas, blanks; preambles, comments, BOMs.

What is read is never guessed silently: after the first row of numbers every further line has to be a row, and what is
not is an error with its row and column.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosim import units
from cosim.devices.base import Array
from cosim.errors import DataError, MissingFile, UnitError, UnknownName, Where
from cosim.files import decoded

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eEdD][+-]?\d+)?")
_COMMENT = ("#", "!", "%", "//")
_MISSING = {"", "nan", "na", "n/a", "-", "--", "none", "null"}
_BRACKETED = re.compile(r"^(.*?)\s*[(\[]([^()\[\]]*)[)\]]\s*$")
# SCPI instruments send 9.9e37 for an overflow and 9.91e37 for "not a number".
_OVERFLOW = 9.8e37


@dataclass(frozen=True)
class Table:
    """A text file's columns as text: ``cells`` by row, ``lines`` the line of each row (from 1), ``header`` or ()."""

    path: Path
    header: tuple[str, ...]
    units: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    decimal_comma: bool

    @property
    def width(self) -> int:
        """Number of columns."""
        return max(len(self.header), max((len(row) for row in self.cells), default=0))

    def label(self, column: int) -> str:
        """Name of a column for messages."""
        return self.header[column] if column < len(self.header) and self.header[column] else str(column + 1)

    def find(self, name: str | int) -> int:
        """The index of the column with this header (with or without its unit, any case) or this number, from 1."""
        if isinstance(name, int):
            if not 1 <= name <= self.width:
                raise UnknownName("column", str(name), [str(i + 1) for i in range(self.width)], where=Where(self.path))
            return name - 1
        plain = [bare(title) for title in self.header]
        for candidates in (self.header, [p.lower() for p in plain]):
            wanted = name if candidates is self.header else bare(name).lower()
            matches = [i for i, title in enumerate(candidates) if title == wanted]
            if len(matches) > 1:
                numbers = ", ".join(str(i + 1) for i in matches)
                raise DataError(
                    f"column {name!r} is there {len(matches)} times",
                    where=Where(self.path),
                    remedy=f"give its number: {numbers}",
                )
            if matches:
                return matches[0]
        known = self.header or [str(i + 1) for i in range(self.width)]
        raise UnknownName("column", name, known, where=Where(self.path))

    def unit(self, column: int) -> str:
        """The unit that the file states for a column: in its header's brackets, or in a row of units; "" if none."""
        if column < len(self.units) and self.units[column]:
            return self.units[column]
        match = _BRACKETED.match(self.header[column]) if column < len(self.header) else None
        return match[2] if match and _is_unit(match[2]) else ""  # "Current (mean)" says nothing about its unit

    def number(self, row: int, column: int) -> float:
        """One cell; NaN where it is blank; raises `DataError` with row and column."""
        text = self.cells[row][column].strip() if column < len(self.cells[row]) else ""
        if text.lower() in _MISSING:
            return float("nan")
        plain = text.replace(",", ".") if self.decimal_comma else text
        if not _NUMBER.fullmatch(plain):
            raise self._bad(row, column, f"{text!r} is no number", "mend the cell or leave the row out")
        value = float(plain.replace("d", "e").replace("D", "e"))
        if abs(value) > _OVERFLOW:
            raise self._bad(row, column, f"{text!r} is an instrument's mark for an overflow", "leave the row out")
        return value

    def _bad(self, row: int, column: int, message: str, remedy: str) -> DataError:
        place = f"row {self.lines[row]}, column {self.label(column)!r}: {message}"
        return DataError(place, where=Where(self.path), remedy=remedy)

    def column(self, index: int) -> Array:
        """A column; (n,), NaN where blank."""
        return np.array([self.number(row, index) for row in range(len(self.cells))], dtype=float)

    def full_columns(self, indices: Sequence[int]) -> tuple[Array, tuple[int, ...]]:
        """Columns of one length, (k, n), and the lines of their rows: blanks are allowed at the end only."""
        values = np.stack([self.column(index) for index in indices])
        blank = np.isnan(values)
        if blank.all(axis=1).any():
            index = indices[int(np.flatnonzero(blank.all(axis=1))[0])]
            raise DataError(f"column {self.label(index)!r} holds no number at all", where=Where(self.path))
        filled = np.flatnonzero(~blank.all(axis=0))
        n = int(filled[-1]) + 1
        gaps = np.argwhere(blank[:, :n].T)
        if gaps.size:
            row, which = gaps[0]
            raise self._bad(int(row), indices[int(which)], "the cell is blank", "fill it or leave the row out")
        return values[:, :n], self.lines[:n]


def bare(title: str) -> str:
    """A header without its unit in brackets."""
    match = _BRACKETED.match(title)
    return (match[1] if match else title).strip()


def read_text(path: str | Path) -> str:
    """A text file in UTF-8 (with or without BOM), UTF-16, or the Western code page of older instruments."""
    file = Path(path)
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise MissingFile(f"cannot read {file}: {error.strerror}", remedy="check the path") from None
    text = decoded(raw, where=Where(file), fallback="cp1252")
    if "\0" in text[:4096]:
        raise DataError("is no text file", where=Where(file), remedy="export the data as CSV")
    return text


def read_table(path: str | Path) -> Table:
    """The table in a text file; raises `MissingFile` and `DataError`."""
    file = Path(path)
    numbered = [(i, line.strip("\r\n")) for i, line in enumerate(read_text(file).splitlines(), 1)]
    kept = [(i, line) for i, line in numbered if line.strip() and not line.lstrip().startswith(_COMMENT)]
    if not kept:
        raise DataError("the file holds no data", where=Where(file), remedy="check that it was saved")
    delimiter = _delimiter([line for _, line in kept])
    rows = [(i, _split(line, delimiter)) for i, line in kept]
    tagged = [row for row in rows if row[1][0] == "DataValue"]
    if tagged:  # Keysight EasyEXPERT: each row of data, and the header, begins with a tag
        names = next((tuple(cells[1:]) for _, cells in rows if cells[0] == "DataName"), ())
        body = [(i, tuple(cells[1:])) for i, cells in tagged]
        return _table(file, names, (), body, delimiter)
    first = next((k for k, (_, cells) in enumerate(rows) if _numeric(cells, delimiter)), None)
    if first is None:
        line, cells = rows[min(1, len(rows) - 1)]
        raise DataError(
            f"no row holds numbers only; row {line} begins with {cells[0]!r}",
            where=Where(file),
            remedy="check the file and its decimal sign",
        )
    width = len(rows[first][1])
    heading = [cells for _, cells in rows[:first] if len(cells) == width]
    unit_row: tuple[str, ...] = ()
    if len(heading) > 1 and all(_is_unit(cell) for cell in heading[-1]):
        unit_row = tuple(cell.strip("()[] ") for cell in heading.pop())
    header = tuple(heading[-1]) if heading else ()
    return _table(file, header, unit_row, [(i, tuple(cells)) for i, cells in rows[first:]], delimiter)


def _table(
    file: Path, header: tuple[str, ...], unit_row: tuple[str, ...], body: list[tuple[int, tuple[str, ...]]], sign: str
) -> Table:
    width = Counter(len(cells) for _, cells in body).most_common(1)[0][0]
    for line, cells in body:
        if len(cells) > max(width, len(header)) and any(cell.strip() for cell in cells[width:]):
            raise DataError(
                f"row {line} has {len(cells)} cells where the others have {width}",
                where=Where(file),
                remedy="check the row and its delimiter",
            )
    comma = sign != "," and any(_DECIMAL_COMMA.fullmatch(cell.strip()) for _, cells in body for cell in cells)
    lines, cells_only = tuple(i for i, _ in body), tuple(cells for _, cells in body)
    return Table(file, tuple(name.strip() for name in header), unit_row, cells_only, lines, comma)


def _delimiter(lines: Sequence[str]) -> str:
    """The sign that most lines hold, semicolon and tab before comma; "" for blanks."""
    for sign in (";", "\t", ","):
        if sum(sign in line for line in lines) > len(lines) / 2:
            return sign
    return ""


def _split(line: str, delimiter: str) -> list[str]:
    if not delimiter:
        return line.split()
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]


def _numeric(cells: Sequence[str], delimiter: str) -> bool:
    """Whether the cells are numbers or blanks, one number at least."""
    filled = [cell for cell in cells if cell.lower() not in _MISSING]
    plain = filled if delimiter == "," else [cell.replace(",", ".") for cell in filled]
    return bool(filled) and all(_NUMBER.fullmatch(cell) for cell in plain)


def _is_unit(cell: str) -> bool:
    text = cell.strip("()[] ")
    try:
        units.dimension(text)
    except UnitError:
        return False
    return bool(text)
