"""Keysight EasyEXPERT (B1500A, B1505A): each row begins with a tag.

``SetupTitle``, ``PrimitiveTest``, ``TestParameter``, ``MetaData`` and ``AnalysisSetup`` describe a test; ``Dimension1``
and ``Dimension2`` announce its rows; ``DataName`` begins a record, ``DataUnit`` has its units, ``DataValue`` its rows.
Its export as text writes the same tags as two words.
"""

from __future__ import annotations

from dataclasses import replace

from cosim.data.readers.table import Record, TextFile
from cosim.data.readers.tables import TextRow


def _tag(row: TextRow) -> str:
    return row.cells[0].replace(" ", "").casefold()


def recognise(file: TextFile) -> bool:
    """Whether rows are tagged ``DataValue``."""
    return any(_tag(row) == "datavalue" for row in file.rows)


def prepare(file: TextFile) -> TextFile:
    """The records: each ``DataName`` begins one, named after its test."""
    made: list[Record] = []
    header = unit_row = None
    announced: int | None = None
    body: list[TextRow] = []
    sizes: dict[str, int] = {}
    titles: dict[str, str] = {}
    limits: dict[str, str] = {}
    for row in [*file.rows, TextRow(0, ("DataName",))]:
        tag, rest = _tag(row), TextRow(row.line, row.cells[1:])
        if tag in ("dimension1", "dimension2") and rest.cell(0).isdigit():
            sizes[tag] = int(rest.cell(0)[:9])
        elif tag in ("setuptitle", "primitivetest"):
            titles[tag] = rest.cell(0)
        elif tag == "testparameter" and "compliance" in rest.cell(0).casefold() and any(rest.cells[1:]):
            limits[rest.cell(0)] = ", ".join(cell for cell in rest.cells[1:] if cell)
        elif tag == "dataname":
            if body:
                made.append(Record(header, tuple(body), announced, unit_row, name=titles.get("setuptitle", "")))
            header, unit_row, body = rest, None, []
            announced = sizes["dimension1"] * max(1, sizes.get("dimension2", 1)) if "dimension1" in sizes else None
            sizes = {}
        elif tag == "dataunit":
            unit_row = rest
        elif tag == "datavalue":
            body.append(rest)
    notes = tuple(f"the file states {name} = {value}" for name, value in limits.items())
    return replace(file, records=made, notes=(*file.notes, *notes))
