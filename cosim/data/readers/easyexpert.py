"""Keysight EasyEXPERT (B1500A, B1505A): each row begins with a tag.

``SetupTitle``, ``PrimitiveTest``, ``TestParameter``, ``MetaData`` and ``AnalysisSetup`` describe a test; ``Dimension1``
and ``Dimension2`` announce its rows; ``DataName`` begins a record, ``DataUnit`` has its units, ``DataValue`` its rows.
Its export as text writes the same tags as two words. A file without ``DataUnit`` is in V, A and s, as the instrument
measures: which column is which its name tells (`_unit`), and that it was assumed is noted.
"""

from __future__ import annotations

import re
from dataclasses import replace

from cosim.data.readers.cells import number
from cosim.data.readers.table import Record, TextFile
from cosim.data.readers.tables import TextRow

# V1, Vd, Vgs, V_drain, and the same of I; not Index, Value or Version.
_TERMINAL = re.compile(r"([VI])(\d{1,2}|_?[A-Za-z]{1,2}\d?|_?(drain|gate|source|bulk|sub|base|collector|emitter)\d?)?")


def _unit(title: str) -> str:
    """The unit of a column by its name: V and I of a terminal, or the time; "" for any other."""
    found = _TERMINAL.fullmatch(title.strip())
    return {"V": "V", "I": "A"}[found[1]] if found else "s" if title.strip().casefold() == "time" else ""


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
    notes = [f"the file states {name} = {value}" for name, value in limits.items()]
    bare = dict.fromkeys(
        title
        for one in made
        for k, title in enumerate(one.header.cells if one.header else ())
        if one.unit_row is None or not one.unit_row.cell(k)
    )
    if assumed := [f"{title} in {unit}" for title in bare if (unit := _unit(title))]:
        notes.append(
            f"a Keysight EasyEXPERT file without DataUnit: {', '.join(assumed)} is assumed where no unit is stated"
        )
    stated = [values for name, values in limits.items() if "primary" in name.casefold()] or list(limits.values())
    limit = number(stated[0], ".") if len(stated) == 1 else None
    known = {} if limit is None else {"": limit}
    return replace(file, records=made, notes=(*file.notes, *notes), implied=_unit, assumed=True, limits=known)
