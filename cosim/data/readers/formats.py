"""The registry of file formats: what a file is told by, never by its name, and what reads it.

A format is an entry here and a module beside it: of a binary file ``begins`` and ``tables``, of a text file
``recognise`` and ``prepare``. Anything else is read as plain text (`table`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from cosim.data.readers import (
    easyexpert,
    excel,
    keithley4200,
    keithley_smu,
    keysight_scope,
    lecroy,
    mat,
    raw,
    rigol,
    tdms,
    tektronix,
)
from cosim.data.readers.table import TextFile, read_lines, tables_of
from cosim.data.readers.tables import Layout, NumberTable, Table
from cosim.errors import DataError, UnknownName, Where
from cosim.files import open_plain

_HEAD = 1 << 14


@dataclass(frozen=True)
class TextFormat:
    """A text file of an instrument: its title, what tells it, and what makes plain rows or records of its rows."""

    title: str
    recognise: Callable[[TextFile], bool]
    prepare: Callable[[TextFile], TextFile]


@dataclass(frozen=True)
class BinaryFormat:
    """A binary file: its title, what tells it by its first bytes, and what reads it."""

    title: str
    begins: Callable[[bytes], bool]
    tables: Callable[[Path, Layout], tuple[Table, ...]]


def _workbook(path: Path, layout: Layout) -> tuple[Table, ...]:
    """A workbook, which may be an instrument's."""
    files = excel.sheets(path)
    if keithley4200.is_it(files):
        return keithley4200.tables(path, files, layout, format=FORMATS["keithley 4200"].title)
    return excel.of_sheets(path, files, layout, format=FORMATS["excel"].title)


PLAIN = "text"
FORMATS: Mapping[str, TextFormat | BinaryFormat] = MappingProxyType(
    {
        "raw": BinaryFormat("simulator's raw file", raw.begins, raw.tables),
        "tdms": BinaryFormat("LabVIEW TDMS", tdms.begins, tdms.tables),
        "matlab": BinaryFormat("MATLAB", mat.begins, mat.tables),
        "keithley 4200": BinaryFormat("Keithley 4200", excel.begins, _workbook),
        "excel": BinaryFormat("Excel", excel.begins, excel.tables),
        "easyexpert": TextFormat("Keysight EasyEXPERT", easyexpert.recognise, easyexpert.prepare),
        "keithley smu": TextFormat("Keithley SMU", keithley_smu.recognise, keithley_smu.prepare),
        "tektronix": TextFormat("Tektronix oscilloscope", tektronix.recognise, tektronix.prepare),
        "lecroy": TextFormat("LeCroy oscilloscope", lecroy.recognise, lecroy.prepare),
        "rigol": TextFormat("Rigol oscilloscope", rigol.recognise, rigol.prepare),
        "keysight oscilloscope": TextFormat("Keysight oscilloscope", keysight_scope.recognise, keysight_scope.prepare),
        PLAIN: TextFormat("text", lambda file: True, lambda file: file),
    }
)


def read_file(path: str | Path, layout: Layout | None = None, *, format: str = "auto") -> tuple[Table, ...]:
    """The records of a file that hold the columns of ``layout``, each with the title of its format.

    Args:
        path: of the file.
        layout: what is asked for; None: every column.
        format: a name of `FORMATS`; ``auto``: by the file's content.

    Raises:
        MissingFile, DataError: it cannot be read, or is not what it was said to be.
        UnknownName: a format, or a column that no record has.
        EngineMissing: it needs a package that is not installed.
    """
    file, layout = Path(path), layout or Layout()
    if format not in ("auto", *FORMATS):
        raise UnknownName("format of a file", format, ["auto", *FORMATS])
    with open_plain(file, kind="data file") as opened:
        head = opened.read(_HEAD)
    for name, entry in FORMATS.items():
        if isinstance(entry, BinaryFormat) and format in ("auto", name):
            if entry.begins(head):
                made = _asked(entry.tables(file, layout), layout)
                return tuple(replace(table, format=table.format or entry.title) for table in made)
            if format == name:
                raise DataError(f"is not a file of format {name!r}", where=Where(file), remedy='write format = "auto"')
    rows = read_lines(file)
    for name, entry in FORMATS.items():
        if (
            isinstance(entry, TextFormat) and format in ("auto", name) and (layout.header is None or format == name)
        ):  # whoever states the line of the header knows the file better
            if entry.recognise(rows):
                return tables_of(entry.prepare(rows), layout, format="" if name == PLAIN else entry.title)
            if format == name:
                raise DataError(f"is not a file of format {name!r}", where=Where(file), remedy='write format = "auto"')
    return tables_of(rows, layout)


def _asked(tables: tuple[Table, ...], layout: Layout) -> tuple[Table, ...]:
    """Those of a binary file's records that have the columns, all where none has: the message names what they have."""
    names = [name for name in layout.names if isinstance(name, str)]

    def has(table: Table) -> bool:
        try:
            return all(table.find(name) >= 0 for name in names)
        except UnknownName:
            return False

    found = tuple(table for table in tables if not isinstance(table, NumberTable) or has(table))
    return found or tables[:1]
