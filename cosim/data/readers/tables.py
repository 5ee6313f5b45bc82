"""Tables as instruments and programs write them, whatever the file: titles, units, and rows of text or of numbers.

A text file and a sheet give a `TextTable`, whose cells are judged one by one; a binary file gives a `NumberTable`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray

from cosim import units
from cosim.data.readers import cells as text
from cosim.devices.base import Array
from cosim.errors import DataError, UnitError, UnknownName, Where

_BRACKETED = re.compile(r"(.*?)(\s*)[(\[]([^()\[\]]*)[)\]]\s*")
# "Current / mA" and "I in mA"; without blanks, "I/V", it may be a quotient.
_SET_APART = re.compile(r"(.*\S)\s+(?:/|in)\s+(\S+)")
_WORDS = {
    "volt": "V", "volts": "V", "amp": "A", "amps": "A", "ampere": "A", "amperes": "A", "second": "s", "seconds": "s",
    "sec": "s", "ohms": "Ohm", "siemens": "S", "hertz": "Hz", "watt": "W", "watts": "W", "kelvin": "K",
    "volt dc": "V", "amp dc": "A", "ohm 2w": "Ohm", "ohm 4w": "Ohm", "kohms": "kOhm", "mohms": "MOhm",
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """How to read a file: the ``names`` of columns (header, or number from 1; () for all), and what a user states.

    Args:
        names: the columns that are judged.
        header: line of the header; None: it is looked for.
        missing: cells that stand for a missing reading; their rows are left out.
        decimal: the decimal sign; None where it is to be read off the cells.
        blank: whether rows with an empty cell or NaN are left out wherever they stand.
    """

    names: tuple[str | int, ...] = ()
    header: int | None = None
    missing: tuple[str | float, ...] = ()
    decimal: Literal[".", ","] | None = None
    blank: bool = False

    def is_missing(self, cell: str) -> bool:
        """Whether the user named the cell as missing."""
        return bool(self.missing) and any(text.same(cell, mark, self.decimal) for mark in self.missing)


@dataclass(frozen=True)
class TextRow:
    """A line that is neither blank nor a comment; ``gap`` where a blank line stands before it."""

    line: int
    cells: tuple[str, ...]
    gap: bool = False

    def cell(self, column: int) -> str:
        """The text in a column, "" where the row is shorter."""
        return self.cells[column] if column < len(self.cells) else ""


@dataclass(frozen=True)
class Table:
    """A record of a file: its ``header`` or (), the unit of each column or "", and its ``rows``.

    Args:
        path: of the file.
        header: titles of the columns, or ().
        units: of each column where a row of the file states them, or ().
        rows: as text.
        delimiter: between cells; "" for blanks.
        header_line: line of the header.
        layout: how it was asked for.
        notes: what was left out.
        channels: whether its columns are an oscilloscope's, which counts volts whatever its probe makes of them.
        implied: units by title that the instrument does not write, and always means.
        assumed: whether ``implied`` is but likely, so that a recipe may state another unit.
        name: of the record: a sheet, a group, a plot.
        format: title of the format that it came in; "" for plain text.
        limits: compliance of currents (A), by what their titles begin with, where the file states it.
    """

    path: Path
    header: tuple[str, ...]
    units: tuple[str, ...]
    rows: Sequence[TextRow]
    delimiter: str = ","
    header_line: int | None = None
    layout: Layout = Layout()
    notes: tuple[str, ...] = ()
    channels: bool = False
    implied: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    assumed: bool = False
    name: str = ""
    format: str = ""
    limits: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def lines(self) -> Sequence[int]:
        """The line of each row in the file."""
        return self.rows.lines if isinstance(self.rows, Points) else tuple(row.line for row in self.rows)

    @property
    def width(self) -> int:
        """Number of columns."""
        return max(len(self.header), max((len(row.cells) for row in self.rows), default=0))

    def label(self, column: int) -> str:
        """A column for messages: as it was asked for, by its number or in quotes by its header."""
        named = column < len(self.header) and self.header[column] and column + 1 not in self.layout.names
        return repr(self.header[column]) if named else str(column + 1)

    def find(self, name: str | int) -> int:
        """The index of the column with this header (with or without its unit, any case) or this number, from 1."""
        if isinstance(name, int):
            if not 1 <= name <= self.width:
                raise UnknownName("column", str(name), [str(i + 1) for i in range(self.width)], where=Where(self.path))
            return name - 1
        matches = positions(self.header, name)
        if len(matches) > 1:
            numbers = ", ".join(str(i + 1) for i in matches)
            raise DataError(
                f"column {name!r} appears {len(matches)} times",
                where=Where(self.path),
                remedy=f"give its number: {numbers}",
            )
        if matches:
            return matches[0]
        known = [title for title in self.header if title] or [str(i + 1) for i in range(self.width)]
        raise UnknownName("column", name, known, where=Where(self.path))

    def unit(self, column: int) -> str:
        """The unit that the file states for a column; "" if none.

        It stands in a row of units, in the header's brackets, behind the numbers, or follows from the instrument.
        """
        if column < len(self.units) and self.units[column]:
            return self.units[column]
        title = self.header[column] if column < len(self.header) else ""
        return in_title(title)[1] or self.implied.get(title, "") or self._in_cells(column)

    def assumes(self, column: int) -> bool:
        """Whether the `unit` of a column is assumed."""
        stated = column < len(self.units) and bool(self.units[column])
        return self.assumed and not stated and self.implied.get(self.header[column], "") != ""

    def _in_cells(self, column: int) -> str:
        return ""

    def values(self, indices: Sequence[int]) -> Array:
        """Columns (k, n), NaN where a cell is empty or named as missing; every other cell has to be a number."""
        raise NotImplementedError

    def readings(self, column: int) -> Array:
        """A column (n,) as numbers, NaN where a cell is not one."""
        raise NotImplementedError

    def columns(self, indices: Sequence[int]) -> Array:
        """As `values`; raises `DataError` for a column without numbers too."""
        found = self.values(indices)
        for index, column in zip(indices, found, strict=True):
            if np.isnan(column).all():
                raise DataError(f"column {self.label(index)} holds no numbers", where=Where(self.path))
        return found

    def only(self, rows: NDArray[np.intp], *notes: str) -> Self:
        """The rows with these indices, in this order, and further ``notes``."""
        return replace(self, rows=[self.rows[int(k)] for k in rows], notes=(*self.notes, *notes))

    def bad(self, row: TextRow, column: int, message: str) -> DataError:
        """The error for a cell, with what to do."""
        cell = row.cell(column)
        remedy = f"correct the cell, or write missing = [{_quoted(cell)}] under [data] to leave such rows out"
        if text.with_suffix(cell):
            remedy = 'write plain numbers, and their unit ("mA") in the header or the recipe'
        elif not cell:
            remedy = 'fill it, or write missing = [""] under [data] to leave such rows out'
        elif self.header_line is None and not text.is_failed(cell, self.layout.is_missing):
            remedy += "; where the line belongs to a preamble, write header = the line above the first row of data"
        place = f"row {row.line}, column {self.label(column)}: {message}"
        return DataError(place, where=Where(self.path), remedy=remedy)

    def complete(self, indices: Sequence[int]) -> tuple[Array, Sequence[int], tuple[str, ...]]:
        """Columns without the rows in which one is missing: (k, n), the index of each row kept, and what was left out.

        A row is left out where a cell is named as missing, or at the end where nothing is filled in; raises `DataError`
        for any other empty cell.
        """
        values = self.columns(indices)
        blank = np.isnan(values)
        end = int(np.flatnonzero(~blank.all(axis=0))[-1]) + 1
        left: dict[str, list[int]] = {}
        gaps = np.asarray(blank.any(axis=0))
        for position in np.flatnonzero(gaps).tolist():
            row = self.rows[position]
            named = next((i for i in indices if self.layout.is_missing(row.cell(i))), None)
            column = indices[int(np.flatnonzero(blank[:, position])[0])]
            cell = row.cell(column)
            if named is not None:
                why = f"{row.cell(named)!r} in column {self.label(named)}"
            elif position >= end:
                why = "nothing in the columns that are read"
            elif self.layout.blank:
                why = f"{cell!r} in column {self.label(column)}" if cell else f"column {self.label(column)} is blank"
            else:
                raise self.bad(row, column, f"{cell!r} is not a number" if cell else "the cell is blank")
            left.setdefault(why, []).append(row.line)
        said = tuple(
            f"{len(lines)} {'row' if len(lines) == 1 else 'rows'} left out ({text.spans(lines)}): {why}"
            for why, lines in left.items()
        )
        if not gaps.any():
            return values, range(gaps.size), said
        kept = np.flatnonzero(~gaps)
        return values[:, kept], tuple(kept.tolist()), said


@dataclass(frozen=True)
class TextTable(Table):
    """A record of a text file or a sheet."""

    def _in_cells(self, column: int) -> str:
        """The SI unit of what stands behind the numbers ("3 mA" -> "A"); "" where nothing does."""
        cell = next((cell for row in self.rows if text.is_reading(cell := row.cell(column))), "")
        suffix = text.suffix(cell)
        return "" if not suffix or text.is_prefix(suffix) else units.si_unit(suffix)

    def _reading(self, row: TextRow, column: int, decimal: str) -> float | None:
        """The number in a cell; NaN where it is empty or named as missing, None where it is anything else."""
        cell = row.cell(column)
        if self.layout.is_missing(cell):
            return float("nan")
        value = text.number(cell, decimal)
        if value is None and cell.lower() in text.EMPTY:
            return float("nan")
        return self._scaled(row, column, decimal) if value is None and text.is_reading(cell) else value

    def _number(self, row: TextRow, column: int, decimal: str) -> float:
        """One cell; NaN where it is empty or named as missing; raises `DataError` with row and column."""
        cell, value = row.cell(column), self._reading(row, column, decimal)
        if value is None:
            raise self.bad(row, column, f"{cell!r} is not a number")
        if abs(value) > text.OVERFLOW:
            raise self.bad(row, column, f"{cell!r} is an instrument's mark for an overflow or a failed reading")
        return value

    def check_prefixes(self, column: int, unit: str) -> None:
        """Refuse a cell with an SI prefix where the ``unit`` that a recipe gives has one: either may be meant."""
        if units.dimension(unit)[0] == 1.0 or not (text.is_prefix(unit[:1]) or text.is_prefix(unit[:2])):
            return
        for row in self.rows:
            if text.is_prefix(text.suffix(row.cell(column))):
                raise self._twice(row, column, unit, "which has a prefix too")

    def _twice(self, row: TextRow, column: int, unit: str, why: str) -> DataError:
        return DataError(
            f"row {row.line}, column {self.label(column)}: {row.cell(column)!r} stands in a column in {unit}, {why}",
            where=Where(self.path),
            remedy="correct the column's unit or the cell",
        )

    def _scaled(self, row: TextRow, column: int, decimal: str) -> float | None:
        """A cell with a prefix or a unit behind its number, in the column's unit."""
        cell, unit = row.cell(column), self.unit(column)
        suffix = text.suffix(cell)
        value = text.number(cell.strip().removesuffix(suffix), decimal)
        if value is None:
            return None
        prefix = text.is_prefix(suffix)
        scale, dimension = units.dimension(unit)
        if prefix and scale == 1.0:
            return value * text.factor(suffix)
        other, found = units.dimension("1" if prefix else suffix)
        if prefix or found != dimension:
            why = "which has a prefix too" if prefix else f"which is {units.described(unit)}"
            raise self._twice(row, column, unit, why)
        return value * (other / scale)

    def _decimal(self, indices: Sequence[int]) -> str:
        asked = (row.cell(index) for row in self.rows for index in indices)
        return self.layout.decimal or text.decimal_sign(asked, self.delimiter, file=self.path)

    def readings(self, column: int) -> Array:
        """A column (n,); see `Table.readings`. A column that is asked for has the decimal sign of all that are."""
        asked = [self.find(name) for name in self.layout.names]
        decimal = self._decimal(asked if column in asked else [column])
        read = (self._reading(row, column, decimal) for row in self.rows)
        return np.array([np.nan if value is None or abs(value) > text.OVERFLOW else value for value in read])

    def values(self, indices: Sequence[int]) -> Array:
        """Columns (k, n); see `Table.values`."""
        decimal = self._decimal(indices)
        found = [[self._number(row, index, decimal) for index in indices] for row in self.rows]
        return np.array(found, dtype=float).reshape(len(self.rows), len(indices)).T

    def complete(self, indices: Sequence[int]) -> tuple[Array, Sequence[int], tuple[str, ...]]:
        """As `Table.complete`; and says where suffixes were read as SI prefixes."""
        values, kept, said = super().complete(indices)
        for index in indices:
            suffixed = (cell for row in self.rows if text.suffix(cell := row.cell(index)) and text.is_reading(cell))
            if cell := next(suffixed, ""):
                said += (f"column {self.label(index)}: {cell!r} and the like read with SI prefixes (m milli, M mega)",)
        return values, kept, said


class Points(Sequence[TextRow]):
    """The rows of columns of numbers, numbered from 1, as text where one is looked at."""

    def __init__(self, columns: Sequence[Array]) -> None:
        self._columns = columns
        self.lines: Sequence[int] = range(1, len(columns[0]) + 1 if columns else 1)

    def __len__(self) -> int:
        return len(self.lines)

    @overload
    def __getitem__(self, at: int) -> TextRow: ...
    @overload
    def __getitem__(self, at: slice) -> list[TextRow]: ...
    def __getitem__(self, at: int | slice) -> TextRow | list[TextRow]:
        if isinstance(at, slice):
            return [self[k] for k in range(len(self))[at]]
        return TextRow(self.lines[at], tuple(_shown(column[at]) for column in self._columns))

    def only(self, rows: NDArray[np.intp]) -> Points:
        """Some of the rows, with their numbers."""
        found = Points([column[rows] for column in self._columns])
        found.lines = [self.lines[k] for k in rows.tolist()]
        return found


def _shown(value: float) -> str:
    number = float(value)
    return repr(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


@dataclass(frozen=True)
class NumberTable(Table):
    """A record of a binary file: ``numbers`` is a float column (n,) each."""

    numbers: tuple[Array, ...] = ()

    @classmethod
    def of(cls, path: Path, columns: Mapping[str, Array], *, units: Mapping[str, str], **other: object) -> NumberTable:
        """The table of titled ``columns`` of one length; ``units`` by title, of which unknown words are dropped."""
        numbers = tuple(np.asarray(column, dtype=float) for column in columns.values())
        named = tuple(unit_named(units.get(title, "")) for title in columns)
        return cls(path, tuple(columns), named, Points(numbers), numbers=numbers, **other)  # type: ignore[arg-type]

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.numbers)

    def values(self, indices: Sequence[int]) -> Array:
        """Columns (k, n); see `Table.values`."""
        found = np.array([self.numbers[index] for index in indices])
        found[~np.isfinite(found) | (np.abs(found) > text.OVERFLOW)] = np.nan
        for mark in self.layout.missing:
            value = text.number(mark, ".") if isinstance(mark, str) else mark
            if value is not None:
                found[found == value] = np.nan
        return found

    def readings(self, column: int) -> Array:
        """A column (n,); see `Table.readings`."""
        return np.asarray(self.values([column])[0])

    def only(self, rows: NDArray[np.intp], *notes: str) -> Self:
        """The rows with these indices, in this order, and further ``notes``."""
        points = self.rows.only(rows) if isinstance(self.rows, Points) else self.rows
        numbers = tuple(column[rows] for column in self.numbers)
        return replace(self, rows=points, numbers=numbers, notes=(*self.notes, *notes))


def check_count(count: int, path: Path) -> None:
    """Refuse a binary file's numbers before they are made columns; raises `DataError`."""
    if count > text.MAX_VALUES:
        raise DataError(
            f"holds {count} numbers, more than {text.MAX_VALUES}",
            where=Where(path),
            remedy="save the columns and rows to be fitted alone",
        )


def real_columns(title: str, values: NDArray[Any]) -> dict[str, Array]:
    """A vector (n,) as columns: itself, or ``re(title)`` and ``im(title)`` where it has an imaginary part."""
    if np.iscomplexobj(values) and values.imag.any():
        return {f"re({title})": values.real.astype(float), f"im({title})": values.imag.astype(float)}
    return {title: values.real.astype(float, copy=False)}


def in_title(title: str) -> tuple[str, str]:
    """A title without its unit, and the unit or "": "I (mA)", "I [mA]", "I / mA", "I in mA".

    "Smu1.V[1][1]" has indices, "Current (mean)" says nothing about its unit.
    """
    bracketed, apart = _BRACKETED.fullmatch(title), _SET_APART.fullmatch(title)
    if bracketed:
        index = not bracketed[2] and bracketed[3].isdigit()
        return (title.strip(), "") if index else (bracketed[1].strip(), unit_named(bracketed[3]))
    if apart and (unit := unit_named(apart[2])):
        return apart[1].strip(), unit
    return title.strip(), ""


def misspelt(title: str) -> str:
    """The text in a title's brackets that is not a known unit, such as "XA" of "I (XA)"; else ""."""
    bracketed = _BRACKETED.fullmatch(title)
    return bracketed[3] if bracketed and not unit_named(bracketed[3]) and units.near(bracketed[3]) else ""


def unknown_unit(unit: str, column: int, title: str) -> str:
    """The sentence on a `misspelt` unit in a ``column``, counted from 0."""
    return f"unknown unit {unit!r} in column {column + 1} ({title!r})"


def bare(title: str) -> str:
    """A header without its unit."""
    return in_title(title)[0]


def several(tables: Sequence[Table]) -> str:
    """The records of a file in words."""
    listed = "; ".join(
        f"record {i}{f' ({table.name})' if table.name else ''}: {len(table.rows)} rows, "
        f"{text.spans(table.lines)}, columns {', '.join(title for title in table.header if title)}"
        for i, table in enumerate(tables, 1)
    )
    return f"the file holds {len(tables)} records ({listed})"


def positions(cells: Sequence[str], name: str) -> list[int]:
    """Where a header stands: literally, or else without unit and in any case."""
    exact = [i for i, title in enumerate(cells) if title == name]
    return exact or [i for i, title in enumerate(cells) if bare(title).lower() == bare(name).lower()]


def unit_named(cell: str) -> str:
    """The unit that a cell names, with or without brackets, in letters or in full ("Volt"); "" for anything else."""
    word = cell.strip("()[] ")
    word = _WORDS.get(word.lower(), word)
    try:
        units.dimension(word)
    except UnitError:
        return ""
    return word


def _quoted(cell: str) -> str:
    return '"' + cell.replace("\\", "\\\\").replace('"', '\\"') + '"'
