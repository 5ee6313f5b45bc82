"""Readers: from a file, and the meaning of its columns, to a `Curve`.

``table``: one column per quantity. ``ramps``: one column per ramp of equal pulses, blank below its end. ``steps``: the
conductance-step tables of CrossSim (a line of text, the conductances, the points of the CDF, then CDF × conductance).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from cosim import units
from cosim.data import select
from cosim.data.kinds import KINDS
from cosim.data.readers.cells import MAX_BYTES, lines_of, read_text
from cosim.data.readers.formats import read_file
from cosim.data.readers.tables import Layout, Table, TextTable, misspelt, several, unknown_unit
from cosim.data.recording import Curve, Reading
from cosim.data.spec import DataSpec
from cosim.devices.base import Array
from cosim.errors import DataError, InputError, UnitError, UnknownName, Where, at
from cosim.files import read_plain

# Of pairs of pulses: without a unit a ratio is a number.
RATIO = "ratio"


def read_curve(path: str | Path, spec: DataSpec) -> Curve:
    """The curve in ``path`` as ``spec`` describes it; raises `MissingFile`, `DataError`, `UnknownName`, `UnitError`.

    >>> from pathlib import Path
    >>> from cosim.data.spec import DataSpec
    >>> _ = Path("iv.csv").write_text("V (mV),I (uA)\\n0,0\\n100,10\\n200,20\\n")
    >>> spec = DataSpec(kind="i-v", columns={"voltage": {"name": "V (mV)"}, "current": {"name": "I (uA)"}})
    >>> cosim.read_curve("iv.csv", spec).columns["voltage"].tolist()
    [0.0, 0.1, 0.2]
    """
    if spec.reader not in READERS:
        raise UnknownName("reader", spec.reader, READERS)
    made = READERS[spec.reader](Path(path), spec)
    return made.with_(pulses=spec.resolved_pulses()) if spec.pulses else made


def fingerprint(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(read_plain(path, limit=MAX_BYTES, kind="data file")).hexdigest()


def to_si(
    values: Array, unit: str, *, name: str, allowed: tuple[str, ...], conditions: Mapping[str, float]
) -> tuple[Array, str]:
    """A column in one of the units ``allowed``, and which.

    Where a conductance is wanted, a resistance is inverted and a current divided by ``conditions["v_read"]``.
    """
    scale, dimension = units.dimension(unit)
    for target in allowed:
        if units.dimension(target)[1] == dimension:
            return values * scale, target
    if "S" in allowed and dimension == units.dimension("Ohm")[1] and np.all(values != 0.0):
        return np.asarray(1.0 / (values * scale), dtype=float), "S"
    if "S" in allowed and dimension == units.dimension("A")[1]:
        if not conditions.get("v_read"):
            raise InputError(
                f"columns.{name} is a current", remedy='state conditions.v_read, e.g. "0.1 V", to make it a conductance'
            )
        return values * scale / conditions["v_read"], "S"
    raise UnitError(f"columns.{name} is in {unit!r}", remedy=f"it has to be in {' or '.join(allowed)}")


def unit_of(table: Table, index: int, given: str, *, name: str, allowed: tuple[str, ...]) -> str:
    """The unit of a column: of the recipe (``given``) or of the file's header, which must not contradict each other.

    Only dimensionless columns and ratios go without: a guess would be off by a power of ten. Raises `UnitError`.
    """
    own = "" if given and table.assumes(index) else table.unit(index)
    if own and given and table.channels and not _alike(own, given):
        return given  # of an oscilloscope's channel, which counts volts whatever its probe makes of them
    if own and given and not _same(own, given):
        raise UnitError(
            f"column {table.label(index)} is in {own} by the file's header, and in {given} by the recipe",
            where=Where(table.path),
            remedy=f"correct one of them, or leave the unit out of columns.{name}",
        )
    title = table.header[index] if index < len(table.header) else ""
    if not own and (wrong := misspelt(title)) and given != (meant := units.near(wrong)):
        raise UnitError(
            unknown_unit(wrong, index, title),
            where=Where(table.path),
            remedy=f'did you mean {meant}? Correct the header, or write unit = "{meant}" into columns.{name}',
        )
    if not own and not given and allowed != ("1",) and name != RATIO:
        raise UnitError(
            f"column {table.label(index)} has no unit, in the file or in the recipe",
            where=Where(table.path),
            remedy=f'write it into columns.{name}, e.g. unit = "{allowed[0]}"'
            + (', or "1" where it is normalised' if "1" in allowed else ""),
        )
    return given or own or "1"


def _alike(one: str, other: str) -> bool:
    return units.dimension(one)[1] == units.dimension(other)[1]


def _same(one: str, other: str) -> bool:
    (scale, dimension), (other_scale, other_dimension) = units.dimension(one), units.dimension(other)
    return dimension == other_dimension and math.isclose(scale, other_scale, rel_tol=1e-12)


def read_columns(path: Path, spec: DataSpec) -> Curve:
    """``table``: the columns that the recipe names."""
    wanted = KINDS[spec.kind].wanted(spec.columns)
    for name in spec.columns:
        # no parameter is called "time": with it the rows have an order, and the kind is another
        if name not in wanted or (name == "time" and name not in KINDS[spec.kind].columns):
            others = [kind for kind, entry in KINDS.items() if set(spec.columns) == set(entry.required(spec.columns))]
            if others:
                raise InputError(
                    f"a curve of kind {spec.kind!r} has no column {name!r}",
                    remedy="with these columns write kind = " + " or ".join(f'"{kind}"' for kind in others),
                )
            raise UnknownName(f"column of a curve of kind {spec.kind!r}", name, wanted)
    absent = next((name for name in wanted if name not in spec.columns), None)
    if absent is not None:
        table = read_file(path, format=spec.format)[0]
        raise InputError(
            f"data.columns does not say which column is {absent!r}",
            remedy=f'write columns.{absent} = {{ name = "...", unit = "{wanted[absent][0]}" }}; '
            f"the file has {', '.join(table.header) or f'{table.width} columns'}",
        )
    tables = _records(path, spec, tuple(spec.columns[name].name for name in wanted))
    parts = [_columns(table, spec) for table in tables]
    units_of = {name: {part.units[name] for part in parts} for name in wanted}
    for name, found in units_of.items():
        if len(found) > 1:
            raise UnitError(f"columns.{name} is in {' and '.join(sorted(found))} in different records")
    notes = [note for part in parts if part.reading for note in part.reading.notes]
    once: list[Curve] = []
    for number, part in enumerate(parts, 1):
        twin = next((k for k, other in enumerate(parts[: number - 1], 1) if _repeats(part, other, wanted)), None)
        if twin is None or spec.record is not None:
            once.append(part)
        else:  # the same readings twice add no evidence: their noise is not independent
            notes.append(f"record {number} repeats record {twin}, and is fitted once")
    made = Curve(
        spec.kind,
        {name: np.concatenate([part[name] for part in once]) for name in wanted},
        parts[0].units,
        parts[0].conditions,
        str(path),
        fingerprint(path),
        once[0].lines if len(once) == 1 else [line for part in once for line in part.lines],
        _reading(tables, [part.lines for part in parts], notes),
        {group: [label for part in once for label in part.groups[group]] for group in spec.groups},
    )
    if "compliance" in spec.mask and spec.compliance is not None:
        return select.below_limit(made, spec.compliance)
    return made


def _repeats(one: Curve, other: Curve, names: Iterable[str]) -> bool:
    """Whether two records hold the same readings, but for what their units round."""
    return len(one) == len(other) and all(np.allclose(one[n], other[n], rtol=1e-9, atol=0.0) for n in names)


def _records(path: Path, spec: DataSpec, names: tuple[str | int, ...]) -> tuple[Table, ...]:
    """The records that the recipe asks for; of several one has to be chosen, unless their order means nothing."""
    layout = Layout(names, spec.header, spec.missing, spec.decimal, "nan" in spec.mask)
    tables = read_file(path, layout, format=spec.format)
    if isinstance(spec.record, str) and spec.record != "all":
        named = tuple(table for table in tables if table.name.casefold() == spec.record.casefold())
        if not named:
            raise UnknownName("record", spec.record, [table.name for table in tables if table.name], where=Where(path))
        return named
    if isinstance(spec.record, int):
        if not 1 <= spec.record <= len(tables):
            raise DataError(
                f"record {spec.record} is asked for; {several(tables)}",
                where=Where(path),
                remedy=f"write record = 1..{len(tables)} under [data]",
            )
        return (tables[spec.record - 1],)
    if len(tables) > 1 and spec.record is None and spec.kind != "i-v":
        raise DataError(
            several(tables),
            where=Where(path),
            remedy='write record = 1, or another, or "all" to read them one after the other, under [data]',
        )
    return tables


def _selected(table: Table, spec: DataSpec) -> Table:
    """The rows of a record that the recipe asks for, in its order."""
    stated = {table.find(column.name): column.unit for column in spec.columns.values() if column.unit}
    with at("data"):
        if spec.spans:
            with at("rows"):
                table = select.lines(table, spec.spans)
        if spec.where is not None:
            with at("where"):
                table = select.where(table, spec.where, stated=stated)
        if spec.sequence is not None:
            with at("sequence"):
                within = [table.find(name) for name in spec.groups.values()]
                table = select.ordered(table, spec.sequence, whole=spec.kind == "pulse train", within=within)
    return table


def _reading(tables: Sequence[Table], lines: Sequence[Sequence[int]], notes: Iterable[str]) -> Reading:
    return Reading(
        tuple(len(part) for part in lines),
        sum(len(table.rows) for table in tables),
        tuple((part[0], part[-1]) for part in lines),
        tuple(table.header_line for table in tables),
        tuple(dict.fromkeys(notes)),
        tables[0].format,
    )


def _columns(table: Table, spec: DataSpec) -> Curve:
    """The curve of one record."""
    wanted, conditions = KINDS[spec.kind].wanted(spec.columns), spec.resolved_conditions()
    whole, table = table, _selected(table, spec)
    indices = {name: table.find(spec.columns[name].name) for name in wanted}
    labels = {group: table.find(name) for group, name in spec.groups.items()}
    values, kept, said = table.complete(list(indices.values()))
    if spec.kind == "pulse train" and kept[-1] - kept[0] + 1 != len(kept):
        raise DataError(
            f"{said[0]}: a pulse train cannot lose rows from its middle, whose pulses moved the state",
            where=Where(table.path),
            remedy="measure them again, or keep the part before or after them",
        )
    notes = [*said, *table.notes]
    shifts = {name: spec.columns[name].shift or 0 for name in wanted}
    first, last = max(0, -min(shifts.values())), max(0, *shifts.values())
    n = len(kept) - first - last
    if n < 1:
        raise DataError(f"the shifts of its columns leave none of {len(kept)} rows", where=Where(table.path))
    columns: dict[str, Array] = {}
    si: dict[str, str] = {}
    for row, (name, index) in zip(values, indices.items(), strict=True):
        column = spec.columns[name]
        unit = unit_of(table, index, column.unit, name=name, allowed=wanted[name])
        if isinstance(table, TextTable) and column.unit:
            table.check_prefixes(index, unit)
        full, si[name] = to_si(row, unit, name=name, allowed=wanted[name], conditions=conditions)
        columns[name] = (column.sign or 1) * full[first + shifts[name] :][:n]
        own = table.unit(index)
        if own and not _alike(own, unit):
            notes.append(f"{name}: in {unit} by the recipe, {own} by the oscilloscope")
        if column.sign == -1:
            notes.append(f"{name}: sign turned")
        if column.shift:
            side = f"{abs(column.shift)} {'below' if column.shift > 0 else 'above'}"
            notes.append(f"{name}: of the row {side}; {first + last} of the rows left out for it")
    rows, lines = kept[first : first + n], table.lines
    lines = lines[rows.start : rows.stop] if isinstance(rows, range) else [lines[k] for k in rows]
    groups = {group: [table.rows[k].cell(index) for k in rows] for group, index in labels.items()}
    reading = _reading([whole], [lines], notes)
    return Curve(spec.kind, columns, si, conditions, str(table.path), "-", lines, reading, groups)


def read_ramps(path: Path, spec: DataSpec) -> Curve:
    """``ramps``: each column one ramp; ``columns.read.unit`` is the unit of all, ``polarity`` one sign or one each."""
    if spec.kind != "equal pulses":
        raise InputError(
            f"reader 'ramps' cannot make a curve of kind {spec.kind!r}", remedy='write kind = "equal pulses"'
        )
    tables, conditions = [_selected(table, spec) for table in _records(path, spec, ())], spec.resolved_conditions()
    given = spec.columns.get("read")
    places = [(table, index) for table in tables for index in _filled(table)]
    signs = [spec.polarity] * len(places) if isinstance(spec.polarity, int) else list(spec.polarity)
    if len(signs) != len(places):
        raise InputError(
            f"data.polarity has {len(signs)} signs for {len(places)} ramps", remedy="give one, or one each"
        )
    allowed, kept = KINDS[spec.kind].columns["read"], "S"
    ramps, notes = [], [note for table in tables for note in table.notes]
    lines: dict[int, set[int]] = {}
    for table, index in places:
        column, rows, said = table.complete([index])
        if rows[-1] + 1 != len(rows):
            raise DataError(
                f"{said[0]}: a ramp cannot lose reads from its middle",
                where=Where(path),
                remedy="measure them again, or cut the ramp there",
            )
        unit = unit_of(table, index, given.unit if given else "", name="read", allowed=allowed)
        ramp, kept = to_si(column[0], unit, name="read", allowed=allowed, conditions=conditions)
        ramps.append(ramp * ((given.sign if given else None) or 1))
        lines.setdefault(id(table), set()).update(table.rows[k].line for k in rows)
    made = Curve.equal_pulses(ramps, polarity=signs, unit=kept)
    reading = _reading(tables, [sorted(lines[id(table)]) for table in tables], notes)
    return Curve(spec.kind, made.columns, made.units, conditions, str(path), fingerprint(path), reading=reading)


def _filled(table: Table) -> list[int]:
    """The columns of a table without those that a closing delimiter leaves: no title and no cell."""
    return [
        i
        for i in range(table.width)
        if (i < len(table.header) and table.header[i]) or any(row.cell(i) for row in table.rows)
    ]


def read_steps(path: Path, spec: DataSpec) -> Curve:
    """``steps``: a table of conductance steps, as long columns; ``mean steps``: the mean over its distribution."""
    lines = [(i, line) for i, line in enumerate(lines_of(read_text(path)), 1) if line.strip()]

    def numbers(line: int, text: str) -> list[float]:
        cells = [cell.strip() for cell in text.split(",")]
        try:
            return [float(cell) for cell in cells if cell]
        except ValueError as error:
            bad = str(error).rpartition(": ")[2]
            raise DataError(f"row {line}: {bad} is not a number", where=Where(path)) from None

    if len(lines) < 4:
        raise DataError(f"the table has {len(lines)} lines", where=Where(path), remedy="it needs text, G, CDF, dG")
    conductance, cdf = numbers(*lines[1]), numbers(*lines[2])
    rows = [numbers(*line) for line in lines[3:]]
    for (line, _), row in zip(lines[3:], rows, strict=True):
        if len(row) != len(conductance):
            raise DataError(f"row {line} has {len(row)} steps for {len(conductance)} conductances", where=Where(path))
    if len(rows) != len(cdf):
        raise DataError(f"{len(rows)} rows for {len(cdf)} points of the CDF", where=Where(path))
    reading = Reading((len(rows),), len(rows), ((lines[3][0], lines[-1][0]),), (lines[0][0],))
    si = {"conductance": "S", "cdf": "1", "step": "S"}
    if spec.reader == "mean steps":
        said = f"step: mean over the {len(cdf)} quantiles at each of the {len(conductance)} conductances"
        columns = {"conductance": np.array(conductance), "step": np.trapezoid(np.array(rows), cdf, axis=0)}
        reading = replace(reading, notes=(said,))
    else:
        grid = np.meshgrid(np.array(cdf), np.array(conductance), indexing="ij")
        columns = {"conductance": grid[1].ravel(), "cdf": grid[0].ravel(), "step": np.array(rows).ravel()}
    si = {name: si[name] for name in columns}
    return Curve("step table", columns, si, {}, str(path), fingerprint(path), reading=reading)


READERS: Mapping[str, Callable[[Path, DataSpec], Curve]] = MappingProxyType(
    {"table": read_columns, "ramps": read_ramps, "steps": read_steps, "mean steps": read_steps}
)
