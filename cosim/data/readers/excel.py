"""Excel: ``.xlsx``, ``.xlsm``, ``.xlsb`` and ``.xls``, by python-calamine; each sheet is read as a text file is.

A workbook is checked before it is read, in a process apart (`workbook`): what its archive unpacks to, and how large a
grid its cells span, since a spreadsheet of one cell in the last corner would be 17 thousand million cells.
"""

from __future__ import annotations

import io
import json
import re
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from cosim.data.readers import workbook
from cosim.data.readers.table import TextFile, tables_of
from cosim.data.readers.tables import Layout, TextRow, TextTable
from cosim.errors import DataError, UnknownName, Where
from cosim.files import read_plain
from cosim.packages import optional

ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# Our choice: far more than a measurement, and what memory holds as cells.
MAX_FILE, MAX_UNPACKED, MAX_PARTS = 128 << 20, 512 << 20, 10_000
_REFERENCE = re.compile(rb'<(?:\w+:)?c\b[^>]*?\br="([A-Z]{1,3})(\d{1,7})"')
_CELL, _ROW = re.compile(rb"<(?:\w+:)?c[\s/>]"), re.compile(rb'<(?:\w+:)?row\b[^>]*?\br="(\d{1,9})"')


def begins(head: bytes) -> bool:
    """Whether it is an archive or a compound file."""
    return head.startswith((ZIP, OLE))


def tables(path: Path, layout: Layout) -> tuple[TextTable, ...]:
    """The records of all sheets that have the columns; raises `DataError`, `EngineMissing`, `UnknownName`."""
    return of_sheets(path, sheets(path), layout, format="Excel")


def of_sheets(path: Path, files: list[TextFile], layout: Layout, *, format: str) -> tuple[TextTable, ...]:
    """The records of those sheets that have the columns of ``layout``."""
    found: list[TextTable] = []
    refused: UnknownName | None = None
    for file in files:
        try:
            found += tables_of(file, layout, format=format)
        except UnknownName as error:
            refused = refused or error
    filled = [table for table in found if table.rows]
    if not filled:
        raise refused or DataError("the workbook holds no data", where=Where(path), remedy="check that it was saved")
    return tuple(filled)


def sheets(path: Path) -> list[TextFile]:
    """The sheets that hold anything, as rows of text."""
    data = read_plain(path, limit=MAX_FILE, kind="workbook")
    if data.startswith(ZIP):
        _check_archive(path, data)
    optional("python_calamine", extra="instruments", needed_by=f"reading the Excel file {str(path)!r}")
    return [
        TextFile(path, ",", [TextRow(line, tuple(cells), gap) for line, gap, cells in rows], name=name)
        for name, rows in _read_apart(path, data)
        if rows
    ]


def _read_apart(path: Path, data: bytes) -> list[tuple[str, workbook.Rows]]:
    """What `workbook` reads, in a process with limits."""
    command = [sys.executable, "-P", workbook.__file__, json.dumps(sys.path)]
    remedy = "save it anew without a password, or export the sheet as CSV"
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=2 * workbook.SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise DataError(f"is not read within {2 * workbook.SECONDS} s", where=Where(path), remedy=remedy) from None
    if done.returncode == 0:
        found: list[tuple[str, workbook.Rows]] = json.loads(done.stdout)
        return found
    said = f"the library that reads it ended, or needs more than {workbook.MEMORY >> 30} GiB or {workbook.SECONDS} s"
    if done.returncode == workbook.REFUSED:
        said = json.loads(done.stdout)
    raise DataError(f"cannot be read as a workbook: {said}", where=Where(path), remedy=remedy)


def _check_archive(path: Path, data: bytes) -> None:
    """Refuse an archive that unpacks to more than it says or than fits, and sheets that span too large a grid."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, EOFError) as error:
        raise DataError(
            f"cannot be read as a workbook: {error}", where=Where(path), remedy="it may be cut off: copy it again"
        ) from None
    names = {part.filename for part in parts}
    if "[Content_Types].xml" not in names:
        raise DataError("is an archive, not a workbook", where=Where(path), remedy="unpack it, and read a file of it")
    if len(parts) > MAX_PARTS:
        raise DataError(f"its archive has {len(parts)} parts", where=Where(path), remedy="save it anew")
    left = MAX_UNPACKED
    for part in parts:
        sheet = part.filename.startswith("xl/worksheets/") and part.filename.endswith(".xml")
        text = bytearray()
        size = 0
        for piece in _unpacked(path, data, part):
            size += len(piece)
            if size > left or size > part.file_size:
                break
            if sheet:
                text += piece
        if size != part.file_size or size > left:
            too = f"unpacks to more than {MAX_UNPACKED >> 20} MiB" if size > left else "is damaged"
            raise DataError(
                f"its part {part.filename[:60]!r} {too}", where=Where(path), remedy="save it anew, or export it as CSV"
            )
        left -= size
        if sheet:
            _check_grid(path, part.filename, bytes(text))


def _unpacked(path: Path, data: bytes, part: zipfile.ZipInfo) -> Iterator[bytes]:
    """The bytes of a part, whatever size its directory states, a MiB at a time."""
    at = part.header_offset
    head = data[at : at + 30]
    if len(head) < 30 or part.flag_bits & 1 or part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"its part {part.filename[:60]!r} is encrypted or damaged", where=Where(path), remedy="save it anew"
        )
    name, extra = struct.unpack("<HH", head[26:30])
    body = memoryview(data)[at + 30 + name + extra :][: part.compress_size]
    if part.compress_type == zipfile.ZIP_STORED:
        yield bytes(body)
        return
    engine = zlib.decompressobj(-15)
    try:
        yield engine.decompress(body, 1 << 20)
        while engine.unconsumed_tail:
            yield engine.decompress(engine.unconsumed_tail, 1 << 20)
    except zlib.error:
        raise DataError(
            f"its part {part.filename[:60]!r} is damaged", where=Where(path), remedy="copy it again"
        ) from None


def _check_grid(path: Path, name: str, text: bytes) -> None:
    """Refuse a sheet whose cells span more than `workbook.MAX_CELLS`."""
    columns, rows, lines = 1, 1, 0
    for letters, number in _REFERENCE.findall(text):
        column = 0
        for letter in letters:
            column = 26 * column + letter - 64
        columns, rows = max(columns, column), max(rows, int(number))
    for number in _ROW.findall(text):
        lines = max(lines, int(number))
    written = len(_CELL.findall(text))
    if columns * max(rows, lines) > workbook.MAX_CELLS or written > workbook.MAX_CELLS:
        raise DataError(
            f"its sheet {name[:60]!r} spans {max(rows, lines)} rows and {columns} columns, more than "
            f"{workbook.MAX_CELLS} cells",
            where=Where(path),
            remedy="delete what stands far off, or export the part to be fitted as CSV",
        )
