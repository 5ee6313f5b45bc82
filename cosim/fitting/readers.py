"""Readers: from a file and what its columns mean to a `Curve`.

``table``: one column per quantity. ``ramps``: one column per ramp of equal pulses, blank below its end. ``steps``: the
conductance-step tables of CrossSim (a line of text, the conductances, the points of the CDF, then CDF × conductance).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from cosim import units
from cosim.devices.base import Array
from cosim.errors import DataError, InputError, UnitError, UnknownName, Where
from cosim.fitting.curve import COLUMNS, Curve
from cosim.fitting.recipe import DataSpec
from cosim.fitting.table import Table, read_table, read_text


def read_curve(path: str | Path, spec: DataSpec) -> Curve:
    """The curve in ``path`` as ``spec`` describes it; raises `MissingFile`, `DataError`, `UnknownName`, `UnitError`."""
    if spec.reader not in READERS:
        raise UnknownName("reader", spec.reader, READERS)
    return READERS[spec.reader](Path(path), spec)


def fingerprint(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


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

    Only a plain number goes without: a guess would be off by a power of ten. Raises `UnitError`.
    """
    own = table.unit(index)
    if own and given and not _same(own, given):
        raise UnitError(
            f"column {table.label(index)!r} is in {own} by the file's header, and in {given} by the recipe",
            where=Where(table.path),
            remedy=f"correct one of them, or leave the unit out of columns.{name}",
        )
    if not own and not given and allowed != ("1",):
        raise UnitError(
            f"column {table.label(index)!r} has no unit, in the file or in the recipe",
            where=Where(table.path),
            remedy=f'write it into columns.{name}, e.g. unit = "{allowed[0]}"'
            + (', or "1" where it is normalised' if "1" in allowed else ""),
        )
    return given or own or "1"


def _same(one: str, other: str) -> bool:
    (scale, dimension), (other_scale, other_dimension) = units.dimension(one), units.dimension(other)
    return dimension == other_dimension and math.isclose(scale, other_scale, rel_tol=1e-12)


def read_columns(path: Path, spec: DataSpec) -> Curve:
    """``table``: the columns that the recipe names."""
    table, conditions = read_table(path), spec.resolved_conditions()
    wanted = COLUMNS[spec.kind]
    for name in spec.columns:
        if name not in wanted:
            raise UnknownName(f"column of a curve of kind {spec.kind!r}", name, wanted)
    for name, allowed in wanted.items():
        if name not in spec.columns:
            raise InputError(
                f"data.columns does not say which column is {name!r}",
                remedy=f'write columns.{name} = {{ name = "...", unit = "{allowed[0]}" }}; '
                f"the file has {', '.join(table.header) or f'{table.width} columns'}",
            )
    indices = {name: table.find(spec.columns[name].name) for name in wanted}
    values, lines = table.full_columns(list(indices.values()))
    columns: dict[str, Array] = {}
    si: dict[str, str] = {}
    for row, (name, index) in zip(values, indices.items(), strict=True):
        unit = unit_of(table, index, spec.columns[name].unit, name=name, allowed=wanted[name])
        columns[name], si[name] = to_si(row, unit, name=name, allowed=wanted[name], conditions=conditions)
    return Curve(spec.kind, columns, si, conditions, str(path), fingerprint(path), lines)


def read_ramps(path: Path, spec: DataSpec) -> Curve:
    """``ramps``: each column one ramp; ``columns.read.unit`` is the unit of all, ``polarity`` one sign or one each."""
    if spec.kind != "equal pulses":
        raise InputError(f"reader 'ramps' makes no curve of kind {spec.kind!r}", remedy='write kind = "equal pulses"')
    table, conditions = read_table(path), spec.resolved_conditions()
    given = spec.columns["read"].unit if "read" in spec.columns else ""
    signs = [spec.polarity] * table.width if isinstance(spec.polarity, int) else list(spec.polarity)
    if len(signs) != table.width:
        raise InputError(
            f"data.polarity has {len(signs)} signs for {table.width} ramps", remedy="give one, or one each"
        )
    allowed, kept = COLUMNS[spec.kind]["read"], "S"
    ramps = []
    for index in range(table.width):
        ramp = table.full_columns([index])[0][0]
        unit = unit_of(table, index, given, name="read", allowed=allowed)
        ramp, kept = to_si(ramp, unit, name="read", allowed=allowed, conditions=conditions)
        ramps.append(ramp)
    made = Curve.equal_pulses(ramps, polarity=signs, unit=kept)
    return Curve(spec.kind, made.columns, made.units, conditions, str(path), fingerprint(path))


def read_steps(path: Path, spec: DataSpec) -> Curve:
    """``steps``: a table of conductance steps, as long columns."""
    lines = [(i, line) for i, line in enumerate(read_text(path).splitlines(), 1) if line.strip()]

    def numbers(line: int, text: str) -> list[float]:
        cells = [cell.strip() for cell in text.split(",")]
        try:
            return [float(cell) for cell in cells if cell]
        except ValueError as error:
            bad = str(error).rpartition(": ")[2]
            raise DataError(f"row {line}: {bad} is no number", where=Where(path)) from None

    if len(lines) < 4:
        raise DataError(f"the table has {len(lines)} lines", where=Where(path), remedy="it needs text, G, CDF, dG")
    conductance, cdf = numbers(*lines[1]), numbers(*lines[2])
    rows = [numbers(*line) for line in lines[3:]]
    for (line, _), row in zip(lines[3:], rows, strict=True):
        if len(row) != len(conductance):
            raise DataError(f"row {line} has {len(row)} steps for {len(conductance)} conductances", where=Where(path))
    if len(rows) != len(cdf):
        raise DataError(f"{len(rows)} rows for {len(cdf)} points of the CDF", where=Where(path))
    grid = np.meshgrid(np.array(cdf), np.array(conductance), indexing="ij")
    columns = {"conductance": grid[1].ravel(), "cdf": grid[0].ravel(), "step": np.array(rows).ravel()}
    return Curve("step table", columns, {"conductance": "S", "cdf": "1", "step": "S"}, {}, str(path), fingerprint(path))


READERS: Mapping[str, Callable[[Path, DataSpec], Curve]] = MappingProxyType(
    {"table": read_columns, "ramps": read_ramps, "steps": read_steps}
)
