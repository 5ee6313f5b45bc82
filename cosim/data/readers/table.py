"""Rows of text as tables: CSV, TSV, semicolons with decimal commas, blanks; preambles, comments, BOMs.

Where a table begins does not depend on which of its cells happen to be numbers:

* Where columns are named, its header is the row that holds all the names; each further such row begins a new record.
* Where columns go by number, its header is the last row with text in all of them above the first row of data. Only rows
  above a header are preamble.

Every row below is a row of the table until it ends, and only the cells of the columns that were asked for are judged.
What an instrument does otherwise is said by its own module, which makes such rows of what it writes (`TextFile`).
"""

from __future__ import annotations

import csv
import re
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cosim import units
from cosim.data.readers import cells as text
from cosim.data.readers.tables import Layout, TextRow, TextTable, in_title, positions, unit_named
from cosim.errors import DataError, UnknownName, Where

# What an instrument's preamble calls its limit on the current, and how many lines it may take.
_LIMIT = re.compile(r"source limit( level)?|(current )?(compliance|limit)|i[ _-]?(compliance|limit)|compliance \(a\)")
_HEAD = 60


@dataclass(frozen=True)
class Record:
    """A ``header`` and the ``rows`` below it; ``followed`` by another, or the number of rows ``announced``."""

    header: TextRow | None
    rows: tuple[TextRow, ...]
    announced: int | None = None
    unit_row: TextRow | None = None
    followed: bool = False
    name: str = ""


@dataclass(frozen=True)
class TextFile:
    """The rows of a text file or a sheet.

    Args:
        path: of the file.
        delimiter: between cells; "" for blanks.
        rows: lines that are neither blank nor comments.
        remarks: comments.
        channels, implied, assumed: as of a `Table`.
        records: where the rows are tagged: already divided.
        notes: what was done to the rows.
        name: of the sheet.
        limits: as of a `Table`.
    """

    path: Path
    delimiter: str
    rows: Sequence[TextRow]
    remarks: Sequence[TextRow] = ()
    channels: bool = False
    implied: Callable[[str], str] | None = None
    assumed: bool = False
    records: Sequence[Record] = ()
    notes: tuple[str, ...] = ()
    name: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)

    def head(self, count: int = 60) -> Sequence[TextRow]:
        """The first rows, which show what wrote the file."""
        return self.rows[:count]


def read_lines(path: str | Path) -> TextFile:
    """The rows of a text file. Raises `MissingFile`, `DataError`."""
    file = Path(path)
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
    return TextFile(file, delimiter, rows, remarks, limits=_limits([*remarks, *rows[:_HEAD]]))


def _limits(head: Sequence[TextRow]) -> dict[str, float]:
    """The limit (A) of every current that a line above the data states, for a voltage that was forced; else empty."""
    said = {row.cell(0).strip().rstrip(":").casefold(): row.cell(1).strip() for row in head if len(row.cells) == 2}
    if "current" in said.get("source function", "").casefold():
        return {}
    found = [cell for title, cell in said.items() if _LIMIT.fullmatch(title)]
    if len(found) != 1:
        return {}
    if (plain := text.number(found[0], ".")) is not None:
        return {"": plain}
    return {"": units.parse(found[0], "A")} if units.unit_in(found[0]).endswith("A") else {}


def tables_of(file: TextFile, layout: Layout, *, format: str = "") -> tuple[TextTable, ...]:
    """The records that hold the columns of ``layout``.

    Raises `DataError`, and `UnknownName` where no row holds the names of the columns.
    """
    found = file.records or _untagged(list(file.rows), list(file.remarks), file.path, layout)
    return tuple(_table(file, record, layout, format) for record in found)


def read_tables(path: str | Path, layout: Layout | None = None) -> tuple[TextTable, ...]:
    """The records of a plain text file; raises as `read_lines` and `tables_of`."""
    return tables_of(read_lines(path), layout or Layout())


def _untagged(rows: list[TextRow], remarks: list[TextRow], file: Path, layout: Layout) -> list[Record]:
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
            missed = next((n for n in names if guess is None or not positions(guess.cells, n)), names[0])
            raise UnknownName("column", missed, columns, where=Where(file))
    else:
        guess = _first_header(rows, layout) or _remarked(rows, remarks)
        heads = [guess, *(row for row in rows if row.line > guess.line and row.cells == guess.cells)] if guess else []
    if not heads:
        wanted = _asked(None, layout, rows)
        start = next((k for k, row in enumerate(rows) if _has_reading(row, wanted, layout)), 0)
        return [Record(None, tuple(rows[start:]))]
    # A header without a number below it belongs to a preamble, or to the rows above it.
    headed = [r for r in _under(heads, rows) if any(_has_number(row, _asked(r.header, layout, rows)) for row in r.rows)]
    return _under([r.header for r in headed if r.header is not None] or heads[-1:], rows)


def _remarked(rows: Sequence[TextRow], remarks: Sequence[TextRow]) -> TextRow | None:
    """The comment above the first row that names as many columns, one with its unit at least; None where none does."""
    above = [row for row in remarks if row.line < rows[0].line]
    if not above or len(above[-1].cells) != _common_width(rows) or any(map(text.is_number, above[-1].cells)):
        return None
    return above[-1] if any(in_title(cell)[1] for cell in above[-1].cells) else None


def _under(heads: Sequence[TextRow], rows: Sequence[TextRow]) -> list[Record]:
    """The rows below each header, as far as the next."""
    lines = [row.line for row in rows]
    begins = [bisect(lines, head.line) for head in heads]
    ends = [*(begin - 1 for begin in begins[1:]), len(rows)]
    parts = zip(heads, begins, ends, strict=True)
    return [Record(head, tuple(rows[i:j]), followed=head is not heads[-1]) for head, i, j in parts]


def _has_number(row: TextRow, wanted: Sequence[int]) -> bool:
    return any(text.is_reading(row.cell(i)) for i in wanted)


def _asked(header: TextRow | None, layout: Layout, rows: Sequence[TextRow]) -> list[int]:
    """The columns that are judged, as far as the header has them; all where none is named."""
    if not layout.names:
        return list(range(len(header.cells) if header else _common_width(rows)))
    found = []
    for name in layout.names:
        found += [name - 1] if isinstance(name, int) else positions(header.cells if header else (), name)
    return found


def _is_header(row: TextRow, layout: Layout, like: TextRow | None = None) -> bool:
    """Whether a row holds all the names (or is ``like`` another header) and no number where the columns are."""
    if like is not None and not any(isinstance(name, str) for name in layout.names):
        return row.cells == like.cells
    names = [name for name in layout.names if isinstance(name, str)]
    if sum(not text.is_number(cell) for cell in row.cells) < len(set(names)):
        return False  # the usual row, at once
    return all(positions(row.cells, name) for name in names) and not any(
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


def _is_data(
    row: TextRow, wanted: Sequence[int], layout: Layout, number: Callable[[str], bool] = text.is_reading
) -> bool:
    """Whether the columns that are judged hold numbers, blanks and failed readings alone, one number at least."""
    found = [row.cell(i) for i in wanted]
    good = (not cell or number(cell) or text.is_failed(cell, layout.is_missing) for cell in found)
    return all(good) and any(map(number, found))


def _has_reading(row: TextRow, wanted: Sequence[int], layout: Layout) -> bool:
    """Whether a column that is judged holds a number or the mark of a failed reading."""
    found = [row.cell(i) for i in wanted]
    return any(text.is_reading(cell) or text.is_failed(cell, layout.is_missing) for cell in found)


def _first_header(rows: Sequence[TextRow], layout: Layout) -> TextRow | None:
    """The last row with text in each column above the first row of data; the one above where it is a row of units."""
    numbers = Layout(tuple(name for name in layout.names if isinstance(name, int)), missing=layout.missing)
    wanted = _asked(None, numbers, rows)
    # A title may look like a number with a unit, "300 K", where the readings are plain.
    number = text.is_number if any(_is_data(row, wanted, layout, text.is_number) for row in rows) else text.is_reading
    above = []
    for row in rows:
        if _is_data(row, wanted, layout, number):
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
    return any(map(unit_named, found)) and all(unit_named(cell) for cell in found if cell)


def _table(source: TextFile, record: Record, layout: Layout, format: str) -> TextTable:
    """A record without its row of units and what follows its rows, checked for its shape."""
    file, delimiter, tagged = source.path, source.delimiter, bool(source.records)
    header, body = record.header, list(record.rows)
    unit_row = record.unit_row
    if header is not None and unit_row is None and body and not tagged:
        wanted = _asked(header, layout, body)
        if not any(text.is_reading(body[0].cell(i)) for i in wanted) and _is_unit_row(body[0], wanted):
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
    names = tuple(unit_named(cell) for cell in unit_row.cells) if unit_row else ()
    channels = source.channels or (unit_row is not None and any(map(text.is_number, unit_row.cells)))
    return TextTable(
        file, titles, names, tuple(body), delimiter, header.line if header else None, layout,
        (*source.notes, *notes), channels,
        implied={title: source.implied(title) for title in titles} if source.implied else {},
        assumed=source.assumed, limits=source.limits, name=record.name or source.name, format=format,
    )  # fmt: skip


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
            and not _has_number(row, wanted)
            and any(_is_data(r, wanted, layout) for r in body[k:])
        ):
            words = ", ".join(repr(row.cell(i)) for i in wanted)
            raise DataError(
                f"row {row.line} has text in every column that is read ({words}), like the header of a second table",
                where=Where(file),
                remedy="put that table into a separate file, or correct the row",
            )
