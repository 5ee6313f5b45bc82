"""Text files of instruments as tables: CSV, TSV, semicolons with decimal commas, blanks; preambles, comments, BOMs.

Where a table begins does not depend on which of its cells happen to be numbers:

* Where columns are named, its header is the row that holds all the names; each further such row begins a new record.
* Where columns go by number, its header is the last row with text in all of them above the first row of data. Only rows
  above a header are preamble.
* Keysight EasyEXPERT tags its rows: ``DataName`` begins a record, ``DataUnit`` has its units, ``DataValue`` its rows.

Every row below is a row of the table until it ends, and only the cells of the columns that were asked for are judged.
"""

from __future__ import annotations

import csv
import re
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cosim import units
from cosim.data.readers import cells as text
from cosim.devices.base import Array
from cosim.errors import DataError, UnitError, UnknownName, Where

_BRACKETED = re.compile(r"^(.*?)\s*[(\[]([^()\[\]]*)[)\]]\s*$")
_WORDS = {
    "volt": "V", "volts": "V", "amp": "A", "amps": "A", "ampere": "A", "amperes": "A", "second": "s", "seconds": "s",
    "sec": "s", "ohms": "Ohm", "siemens": "S", "hertz": "Hz", "watt": "W", "watts": "W", "kelvin": "K",
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """How to read a file: the ``names`` of columns (header, or number from 1; () for all), and what a user states.

    Args:
        names: the columns that are judged.
        header: line of the header; None: it is looked for.
        missing: cells that stand for a missing reading; their rows are left out.
        decimal: the decimal sign; None where it is to be read off the cells.
    """

    names: tuple[str | int, ...] = ()
    header: int | None = None
    missing: tuple[str | float, ...] = ()
    decimal: Literal[".", ","] | None = None

    def is_missing(self, cell: str) -> bool:
        """Whether the user named the cell as missing."""
        return bool(self.missing) and any(text.same(cell, mark) for mark in self.missing)


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
class TextTable:
    """A record of a text file: its ``header`` or (), the unit of each column or "", and its ``rows`` as text.

    ``notes`` say what was left out; ``channels`` whether its row of units is an oscilloscope's, with numbers in it.
    """

    path: Path
    header: tuple[str, ...]
    units: tuple[str, ...]
    rows: tuple[TextRow, ...]
    delimiter: str = ","
    header_line: int | None = None
    layout: Layout = Layout()
    notes: tuple[str, ...] = ()
    channels: bool = False

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
        matches = _positions(self.header, name)
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
        """The unit that the file states for a column: in its header's brackets, or in a row of units; "" if none."""
        if column < len(self.units) and self.units[column]:
            return self.units[column]
        match = _BRACKETED.match(self.header[column]) if column < len(self.header) else None
        return _unit(match[2]) if match else ""  # "Current (mean)" says nothing about its unit

    def _number(self, row: TextRow, column: int, decimal: str) -> float:
        """One cell; NaN where it is empty or named as missing; raises `DataError` with row and column."""
        cell = row.cell(column)
        if self.layout.is_missing(cell):
            return float("nan")
        value = text.number(cell, decimal)
        if value is None and cell.lower() in text.EMPTY:
            return float("nan")
        if value is None:
            raise self._bad(row, column, f"{cell!r} is not a number")
        if abs(value) > text.OVERFLOW:
            raise self._bad(row, column, f"{cell!r} is an instrument's mark for an overflow or a failed reading")
        return value

    def _bad(self, row: TextRow, column: int, message: str) -> DataError:
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

    def columns(self, indices: Sequence[int]) -> Array:
        """Columns (k, n), NaN where a cell is empty or named as missing; every other cell has to be a number."""
        asked = [row.cell(index) for row in self.rows for index in indices]
        decimal = self.layout.decimal or text.decimal_sign(asked, self.delimiter, file=self.path)
        values = [[self._number(row, index, decimal) for index in indices] for row in self.rows]
        found = np.array(values, dtype=float).reshape(len(self.rows), len(indices)).T
        for index, column in zip(indices, found, strict=True):
            if np.isnan(column).all():
                raise DataError(f"column {self.label(index)} holds no numbers", where=Where(self.path))
        return found

    def complete(self, indices: Sequence[int]) -> tuple[Array, tuple[int, ...], tuple[str, ...]]:
        """Columns without the rows in which one is missing: (k, n), the index of each row kept, and what was left out.

        A row is left out where a cell is named as missing, or at the end where nothing is filled in; raises `DataError`
        for any other empty cell.
        """
        values = self.columns(indices)
        blank = np.isnan(values)
        end = int(np.flatnonzero(~blank.all(axis=0))[-1]) + 1
        left: dict[str, list[int]] = {}
        kept = []
        gaps = np.asarray(blank.any(axis=0))
        for position, row in enumerate(self.rows):
            if not gaps[position]:
                kept.append(position)
                continue
            named = next((i for i in indices if self.layout.is_missing(row.cell(i))), None)
            if named is not None:
                left.setdefault(f"{row.cell(named)!r} in column {self.label(named)}", []).append(row.line)
            elif position >= end:
                left.setdefault("nothing in the columns that are read", []).append(row.line)
            else:
                column = indices[int(np.flatnonzero(blank[:, position])[0])]
                cell = row.cell(column)
                raise self._bad(row, column, f"{cell!r} is not a number" if cell else "the cell is blank")
        said = tuple(
            f"{len(lines)} {'row' if len(lines) == 1 else 'rows'} left out ({text.spans(lines)}): {why}"
            for why, lines in left.items()
        )
        return values[:, kept], tuple(kept), said


def bare(title: str) -> str:
    """A header without its unit in brackets."""
    match = _BRACKETED.match(title)
    return (match[1] if match else title).strip()


def several(tables: Sequence[TextTable]) -> str:
    """The records of a file in words."""
    listed = "; ".join(
        f"record {i}: {len(table.rows)} rows, {text.spans(row.line for row in table.rows)}, "
        f"columns {', '.join(title for title in table.header if title)}"
        for i, table in enumerate(tables, 1)
    )
    return f"the file holds {len(tables)} records ({listed})"


def read_tables(path: str | Path, layout: Layout | None = None) -> tuple[TextTable, ...]:
    """The records of a text file that hold the columns of ``layout``.

    Raises `MissingFile`, `DataError`, and `UnknownName` where no row holds the names of the columns.
    """
    file, layout = Path(path), layout or Layout()
    raw = [(i, line) for i, line in enumerate(text.lines_of(text.read_text(file)), 1)]
    kept = [(i, line) for i, line in raw if line.strip() and not line.lstrip().startswith(text.COMMENT)]
    if not kept:
        raise DataError("the file holds no data", where=Where(file), remedy="check that it was saved")
    blank = {i for i, line in raw if not line.strip()}
    try:
        delimiter = text.delimiter_of([line for _, line in kept])
        rows = [TextRow(i, tuple(text.split(line, delimiter)), i - 1 in blank) for i, line in kept]
        remarks = [
            TextRow(i, tuple(text.split(line.lstrip().lstrip("#!%/").strip(), delimiter)))
            for i, line in raw
            if line.lstrip().startswith(text.COMMENT) and line.strip("#!%/ \t")
        ]
    except csv.Error as error:
        raise DataError(f"cannot be split into cells: {error}", where=Where(file), remedy="check its quotes") from None
    tagged = any(_tag(row) == "datavalue" for row in rows)
    found = _tagged(rows) if tagged else _untagged(rows, remarks, file, layout)
    return tuple(_table(file, record, delimiter, layout, tagged=tagged) for record in found)


@dataclass(frozen=True)
class _Record:
    header: TextRow | None
    rows: tuple[TextRow, ...]
    announced: int | None = None
    unit_row: TextRow | None = None
    followed: bool = False


def _tag(row: TextRow) -> str:
    return row.cells[0].replace(" ", "").casefold()


def _tagged(rows: Sequence[TextRow]) -> list[_Record]:
    """Keysight EasyEXPERT: each row begins with a tag, and each ``DataName`` begins a record."""
    made: list[_Record] = []
    header = unit_row = None
    announced: int | None = None
    body: list[TextRow] = []
    sizes: dict[str, int] = {}
    for row in [*rows, TextRow(0, ("DataName",))]:
        tag, rest = _tag(row), TextRow(row.line, row.cells[1:])
        if tag in ("dimension1", "dimension2") and rest.cell(0).isdigit():
            sizes[tag] = int(rest.cell(0))
        elif tag == "dataname":
            if body:
                made.append(_Record(header, tuple(body), announced, unit_row))
            header, unit_row, body = rest, None, []
            announced = sizes["dimension1"] * max(1, sizes.get("dimension2", 1)) if "dimension1" in sizes else None
            sizes = {}
        elif tag == "dataunit":
            unit_row = rest
        elif tag == "datavalue":
            body.append(rest)
    return made


def _untagged(rows: list[TextRow], remarks: list[TextRow], file: Path, layout: Layout) -> list[_Record]:
    """Records that begin with a header each, or the only one, with or without a header."""
    if layout.header is not None:
        first = next((row for row in [*rows, *remarks] if row.line == layout.header), None)
        if first is None:
            raise DataError(f"header = {layout.header}: the line is blank or beyond the end", where=Where(file))
        rows = [first, *(row for row in rows if row.line > layout.header)]
    names = tuple(name for name in layout.names if isinstance(name, str))
    heads: list[TextRow]
    if layout.header is not None:
        heads = [rows[0], *(row for row in rows[1:] if _is_header(row, layout, rows[0]))]
    elif names:
        heads = [row for row in rows if _is_header(row, layout)] or [r for r in remarks if _is_header(r, layout)][-1:]
        if not heads:
            guess = _first_header(rows, layout)
            known = [title for title in guess.cells if title] if guess else []
            columns = known or [str(i + 1) for i in range(_common_width(rows))]
            missed = next((n for n in names if guess is None or not _positions(guess.cells, n)), names[0])
            raise UnknownName("column", missed, columns, where=Where(file))
    else:
        guess = _first_header(rows, layout)
        heads = [guess, *(row for row in rows if row.line > guess.line and row.cells == guess.cells)] if guess else []
    if not heads:
        wanted = _asked(None, layout, rows)
        start = next((k for k, row in enumerate(rows) if _has_reading(row, wanted, layout)), 0)
        return [_Record(None, tuple(rows[start:]))]
    # A header without a number below it belongs to a preamble, or to the rows above it.
    headed = [r for r in _under(heads, rows) if any(_has_number(row, _asked(r.header, layout, rows)) for row in r.rows)]
    return _under([r.header for r in headed if r.header is not None] or heads[-1:], rows)


def _under(heads: Sequence[TextRow], rows: Sequence[TextRow]) -> list[_Record]:
    """The rows below each header, as far as the next."""
    lines = [row.line for row in rows]
    begins = [bisect(lines, head.line) for head in heads]
    ends = [*(begin - 1 for begin in begins[1:]), len(rows)]
    parts = zip(heads, begins, ends, strict=True)
    return [_Record(head, tuple(rows[i:j]), followed=head is not heads[-1]) for head, i, j in parts]


def _has_number(row: TextRow, wanted: Sequence[int]) -> bool:
    return any(text.is_number(row.cell(i)) for i in wanted)


def _positions(cells: Sequence[str], name: str) -> list[int]:
    """Where a header stands: literally, or else without unit and in any case."""
    exact = [i for i, title in enumerate(cells) if title == name]
    return exact or [i for i, title in enumerate(cells) if bare(title).lower() == bare(name).lower()]


def _asked(header: TextRow | None, layout: Layout, rows: Sequence[TextRow]) -> list[int]:
    """The columns that are judged, as far as the header has them; all where none is named."""
    if not layout.names:
        return list(range(len(header.cells) if header else _common_width(rows)))
    found = []
    for name in layout.names:
        found += [name - 1] if isinstance(name, int) else _positions(header.cells if header else (), name)
    return found


def _is_header(row: TextRow, layout: Layout, like: TextRow | None = None) -> bool:
    """Whether a row holds all the names (or is ``like`` another header) and no number where the columns are."""
    if like is not None and not any(isinstance(name, str) for name in layout.names):
        return row.cells == like.cells
    names = [name for name in layout.names if isinstance(name, str)]
    if sum(not text.is_number(cell) for cell in row.cells) < len(set(names)):
        return False  # the usual row, at once
    return all(_positions(row.cells, name) for name in names) and not any(
        text.is_number(row.cell(i)) for i in _asked(row, layout, [row])
    )


def _common_width(rows: Sequence[TextRow]) -> int:
    widths = Counter(len(row.cells) for row in rows if any(map(text.is_number, row.cells)))
    return widths.most_common(1)[0][0] if widths else max(len(row.cells) for row in rows)


def _is_text(row: TextRow, wanted: Sequence[int], layout: Layout) -> bool:
    """Whether every column that is judged holds a word that stands for no reading."""
    found = [cell for i in wanted if (cell := row.cell(i)) or layout.names]
    words = (cell and not text.is_number(cell) and not text.is_failed(cell, layout.is_missing) for cell in found)
    return bool(found) and all(words)


def _is_data(row: TextRow, wanted: Sequence[int], layout: Layout) -> bool:
    """Whether the columns that are judged hold numbers, blanks and failed readings alone, one number at least."""
    found = [row.cell(i) for i in wanted]
    good = (not cell or text.is_number(cell) or text.is_failed(cell, layout.is_missing) for cell in found)
    return all(good) and any(map(text.is_number, found))


def _has_reading(row: TextRow, wanted: Sequence[int], layout: Layout) -> bool:
    """Whether a column that is judged holds a number or the mark of a failed reading."""
    found = [row.cell(i) for i in wanted]
    return any(text.is_number(cell) or text.is_failed(cell, layout.is_missing) for cell in found)


def _first_header(rows: Sequence[TextRow], layout: Layout) -> TextRow | None:
    """The last row with text in each column above the first row of data; the one above where it is a row of units."""
    numbers = Layout(tuple(name for name in layout.names if isinstance(name, int)), missing=layout.missing)
    wanted = _asked(None, numbers, rows)
    above = []
    for row in rows:
        if _is_data(row, wanted, layout):
            break
        above.append(row)
    else:
        above = [row for row in rows[:1] if not any(map(text.is_number, row.cells))]
    words = [row for row in above if _is_text(row, wanted, layout)]
    if len(words) > 1 and _is_unit_row(words[-1], wanted) and len(words[-1].cells) == len(words[-2].cells):
        return words[-2]
    return words[-1] if words else None


def _is_unit_row(row: TextRow, wanted: Sequence[int]) -> bool:
    found = [row.cell(i) for i in wanted]
    return any(map(_unit, found)) and all(_unit(cell) for cell in found if cell)


def _table(file: Path, record: _Record, delimiter: str, layout: Layout, *, tagged: bool) -> TextTable:
    """A record without its row of units and what follows its rows, checked for its shape."""
    header, body = record.header, list(record.rows)
    unit_row = record.unit_row
    if header is not None and unit_row is None and body and not tagged:
        wanted = _asked(header, layout, body)
        if not any(text.is_number(body[0].cell(i)) for i in wanted) and _is_unit_row(body[0], wanted):
            unit_row = body.pop(0)
    wanted = _asked(header, layout, body)
    end = len(body) if tagged else _end(body, wanted, layout, followed=record.followed)
    after, body = body[end:], [row for row in body[:end] if any(row.cells)]
    titles = tuple(title.strip() for title in header.cells) if header else ()
    if body and header is not None and not delimiter and len(titles) != _common_width(body):
        words = tuple(re.split(r"\s{2,}", "  ".join(titles)))
        raise DataError(
            f"the header in line {header.line} has {len(words)} words for {_common_width(body)} columns",
            where=Where(file),
            remedy="give the columns by number, or set them apart by tabs",
        )
    _check_shape(file, body, titles, wanted, layout)
    notes = []
    if after:
        notes.append(
            f"{text.spans(row.line for row in after)} after the data left out: {' '.join(after[0].cells).strip()!r}"
        )
    if record.announced is not None and record.announced != len(body):
        notes.append(f"the file announces {record.announced} rows: the measurement was cut off, or its file was")
    names = tuple(_unit(cell) for cell in unit_row.cells) if unit_row else ()
    channels = unit_row is not None and any(map(text.is_number, unit_row.cells))
    line = header.line if header else None
    return TextTable(file, titles, names, tuple(body), delimiter, line, layout, tuple(notes), channels)


def _end(body: Sequence[TextRow], wanted: Sequence[int], layout: Layout, *, followed: bool) -> int:
    """Number of rows before the lines that close a table or lead to the next: text alone, or anything after a gap.

    A row with a reading, or the mark of a failed one, is a row of the table wherever it stands; but where a table is
    ``followed`` by another, words and numbers after a gap are what leads to it.
    """
    last = max((k for k, row in enumerate(body) if _is_data(row, wanted, layout)), default=-1)
    for k in range(last + 1, len(body)):
        row = body[k]
        closing = row.gap or not any(row.cells[1:]) or not all(row.cell(i) for i in wanted)
        failed = any(text.is_failed(row.cell(i), layout.is_missing) for i in wanted)
        leading = followed and row.gap and not failed
        if leading or (closing and any(row.cells) and not _has_reading(row, wanted, layout)):
            return k
    return len(body)


def _check_shape(
    file: Path, body: Sequence[TextRow], titles: Sequence[str], wanted: Sequence[int], layout: Layout
) -> None:
    if not body:
        return
    width = max(len(titles), Counter(len(row.cells) for row in body).most_common(1)[0][0])
    for k, row in enumerate(body):
        if len(row.cells) > width and any(row.cells[width:]):
            raise DataError(
                f"row {row.line} has {len(row.cells)} cells where the others have {width}",
                where=Where(file),
                remedy="check the row and its delimiter",
            )
        if (
            k
            and len(wanted) > 1
            and _is_text(row, wanted, layout)
            and any(_is_data(r, wanted, layout) for r in body[k:])
        ):
            words = ", ".join(repr(row.cell(i)) for i in wanted)
            raise DataError(
                f"row {row.line} has text in every column that is read ({words}), like the header of a second table",
                where=Where(file),
                remedy="put that table into a separate file, or correct the row",
            )


def _unit(cell: str) -> str:
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
