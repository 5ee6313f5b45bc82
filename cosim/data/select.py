"""Which rows of a record are read: by their lines, by a condition on their cells, in the order of a column.

A condition is comparisons joined by ``and``: ``cell == 1452 and V > 100 mV``. On the left stands a column, by its
title (in quotes where it holds an operator or "and") or its number; on the right a number, with a unit, an SI prefix or
neither, or a text. With a number the numbers are compared that a fit would see, with a text the cells as text in any
case. Nothing is evaluated.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim import units
from cosim.data.readers import cells as text
from cosim.data.readers.tables import Table
from cosim.data.recording import Recording
from cosim.devices.base import Array
from cosim.errors import DataError, InputError, UnitError, Where

Rows = NDArray[np.intp]
# A stated limit holds values from this part of it on: a unit in compliance regulates to about a thousandth.
REACHED = 0.999
# Our choice: numbers that differ by less than this part are one number, written or scaled in two ways.
ROUNDING = 1e-12
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = MappingProxyType(
    {"==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
)
_TOKEN = re.compile(r"""\s*("[^"]*"|'[^']*'|[=!<>]+|[^\s"'=!<>]+)""")
_EXAMPLE = 'write e.g. where = "cell == 1452 and V > 0.1"'
MAX_TERMS, MAX_LENGTH = 50, 2000


@dataclass(frozen=True)
class Comparison:
    """``column``, an operator, and a ``value``; ``quoted`` where it is a text whatever it looks like."""

    column: str
    symbol: str
    value: str
    quoted: bool = False

    def __str__(self) -> str:
        return f"{self.column} {self.symbol} {self.value}"


def parse(condition: str) -> tuple[Comparison, ...]:
    """The comparisons of a condition; raises `InputError`.

    >>> from cosim.data.select import parse
    >>> [str(one) for one in parse("cell == 1452 and 'Gate V' > 0.1 V")]
    ['cell == 1452', 'Gate V > 0.1 V']
    """
    if len(condition) > MAX_LENGTH:
        raise InputError(f"where has more than {MAX_LENGTH} characters", remedy=_EXAMPLE)
    tokens, at = [], 0
    while condition[at:].strip():
        found = _TOKEN.match(condition, at)
        if found is None:
            raise InputError(f"where: a quote is not closed in {condition[at:].strip()[:40]!r}", remedy=_EXAMPLE)
        tokens.append(found[1])
        at = found.end()
    terms: list[list[str]] = [[]]
    for token in tokens:
        if token.lower() == "and":
            terms.append([])
        else:
            terms[-1].append(token)
    if len(terms) > MAX_TERMS:
        raise InputError(f"where has more than {MAX_TERMS} comparisons", remedy="use a column that says which rows")
    return tuple(_comparison(term, condition) for term in terms)


def _comparison(term: Sequence[str], condition: str) -> Comparison:
    signs = [k for k, token in enumerate(term) if token[0] in "=!<>"]
    shown = " ".join(term) or condition
    if len(signs) != 1 or signs[0] in (0, len(term) - 1):
        raise InputError(f"where: {shown[:60]!r} is not a comparison of a column with a value", remedy=_EXAMPLE)
    symbol = term[signs[0]]
    if symbol not in _OPERATORS:
        raise InputError(f"where: {symbol!r} is not an operator", remedy=f"write one of {', '.join(_OPERATORS)}")
    left, right = term[: signs[0]], term[signs[0] + 1 :]
    if any(token.lower() in ("or", "not") for token in term):
        raise InputError(f"where: {shown[:60]!r} has more than comparisons joined by 'and'", remedy=_EXAMPLE)
    plain = [" ".join(token[1:-1] if token[0] in "\"'" else token for token in side) for side in (left, right)]
    return Comparison(plain[0], symbol, plain[1], quoted=right[0][0] in "\"'")


def where(table: Table, condition: str, *, stated: Mapping[int, str] = MappingProxyType({})) -> Table:
    """The rows that meet a condition; raises `InputError`, `UnknownName`, and `DataError` where none does.

    ``stated`` are units by column that the file does not have. A row without a number in a column whose order is asked
    for is left out, and a note says so.
    """
    kept = np.ones(len(table.rows), dtype=bool)
    notes = []
    for one in parse(condition):
        column = _column(table, one.column)
        found, unread = _met(table, column, one, stated.get(column) or table.unit(column))
        if not found.any():
            raise DataError(f"no row has {one}", where=Where(table.path), remedy=_held(table, column, one))
        if (left := np.flatnonzero(kept & unread)).size:
            rows = f"{left.size} {'row' if left.size == 1 else 'rows'}"
            said = text.spans(table.lines[int(k)] for k in left)
            notes.append(f"{rows} left out ({said}): no number in column {table.label(column)}, as {one} needs")
        kept &= found
    if not kept.any():
        raise DataError(f"no row has {condition}", where=Where(table.path), remedy="each part alone is met by some")
    return table.only(np.flatnonzero(kept), f"{np.count_nonzero(kept)} rows where {condition}", *notes)


def _held(table: Table, column: int, one: Comparison) -> str:
    if one.symbol not in ("==", "!=") and np.isfinite(values := table.readings(column)).any():
        return f"the column's numbers lie between {np.nanmin(values):g} and {np.nanmax(values):g}"
    held = list(dict.fromkeys(row.cell(column) for row in table.rows))
    more = f" and {len(held) - 12} others" if len(held) > 12 else ""
    return f"the column holds {', '.join(held[:12])}{more}"


def _column(table: Table, name: str) -> int:
    return table.find(int(name) if name.isdecimal() and name not in table.header else name)


def _met(table: Table, column: int, one: Comparison, unit: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows (n,) meet a comparison, and which have no number where an order needs one."""
    compare, mark = _OPERATORS[one.symbol], one.value.strip().casefold()
    equality = one.symbol in ("==", "!=")
    wanted = None if one.quoted else _number(one.value, unit)
    if wanted is not None:
        apart = table.readings(column) - wanted
        apart[np.abs(apart) <= ROUNDING * abs(wanted)] = 0.0
        return np.asarray(compare(apart, 0.0), dtype=bool), np.isnan(apart) & (not equality)
    if not equality and text.is_reading(one.value) and not one.quoted:
        raise InputError(
            f"where: {one.value!r} has a unit, and column {table.label(column)} has none",
            remedy="state the column's unit, or write a plain number",
        )
    if not equality:
        raise InputError(f"where: {one.value!r} in {str(one)!r} is not a number", remedy="compare text by == or !=")
    found = np.array([compare(row.cell(column).strip().casefold(), mark) for row in table.rows], dtype=bool)
    return found, np.zeros(found.size, dtype=bool)


def _number(value: str, unit: str) -> float | None:
    """A value as a number in a column's unit; None where it is a text."""
    if "," in value and text.is_reading(value):
        raise InputError(f"where: {value!r} has a comma", remedy="write a decimal point, or quotes around a text")
    plain, suffix = text.number(value, "."), text.suffix(value)
    if plain is not None or not text.is_reading(value):
        return plain
    if not unit:  # "3A" is a name in a column without a unit
        bare = text.number(value.strip().removesuffix(suffix), ".")
        return bare * text.factor(suffix) if bare is not None and text.is_prefix(suffix) else None
    try:
        return float(units.in_unit(units.parse(value, unit), unit))
    except UnitError as error:
        raise InputError(f"where: {error.message}", remedy=error.remedy) from None


def lines(table: Table, spans: Sequence[tuple[int, int]]) -> Table:
    """The rows in these lines of the file, ends included; raises `InputError`, and `DataError` where none is there."""
    number = np.asarray(table.lines)
    kept = np.zeros(number.size, dtype=bool)
    for first, last in spans:
        if not 1 <= first <= last:
            raise InputError(f"rows = [{first}, {last}] is not a range of lines", remedy="write the first line first")
        kept |= (number >= first) & (number <= last)
    shown = " and ".join(f"{first}–{last}" for first, last in spans)
    if not kept.any():
        raise DataError(
            f"no row of the table stands in lines {shown}",
            where=Where(table.path),
            remedy=f"its rows stand in {text.spans(number.tolist())}",
        )
    return table.only(np.flatnonzero(kept), f"lines {shown} alone")


def ordered(table: Table, name: str | int, *, whole: bool, within: Sequence[int] = ()) -> Table:
    """The rows in the order of a column of numbers, those of one group (the cells of ``within``) together.

    Raises `DataError` for a number that appears twice, and where the sequence has to be ``whole``, for a gap in it.
    """
    column = table.find(name)
    order = table.values([column])[0]
    bad = np.flatnonzero(~np.isfinite(order))
    if bad.size:
        raise table.bad(table.rows[int(bad[0])], column, "the sequence has no number here")
    groups: dict[tuple[str, ...], list[int]] = {}
    for k, row in enumerate(table.rows):
        groups.setdefault(tuple(row.cell(i) for i in within), []).append(k)
    parts = [np.array(members)[np.argsort(order[members], kind="stable")] for members in groups.values()]
    for rows in parts:
        _check_sequence(table, column, order, rows, whole=whole)
    rows = np.concatenate(parts)
    moved = int(np.count_nonzero(rows != np.arange(rows.size)))
    return table.only(rows, f"{moved} rows moved into the order of {table.label(column)}") if moved else table


def _check_sequence(table: Table, column: int, order: Array, rows: Rows, *, whole: bool) -> None:
    steps = np.diff(order[rows])
    wrong = np.flatnonzero((steps == 0.0) | (whole & (steps != steps.min(initial=np.inf))))
    if not wrong.size:
        return
    first, second = rows[wrong[0] : wrong[0] + 2].tolist()
    if order[first] == order[second]:
        raise DataError(
            f"rows {table.rows[first].line} and {table.rows[second].line} have the same number in the sequence "
            f"{table.label(column)}, {order[first]:g}",
            where=Where(table.path),
            remedy="select one device or cycle by where, or correct the column",
        )
    ends = [f"{order[k]:g} (row {table.rows[k].line})" for k in (first, second)]
    raise DataError(
        f"the sequence {table.label(column)} goes from {ends[0]} to {ends[1]}: the pulses between moved the state",
        where=Where(table.path),
        remedy="keep the part before or after by rows or where",
    )


def limit_of(recording: Recording, compliance: str | float) -> float:
    """An instrument's limit in the unit of what was measured; a current limits a read at ``v_read``."""
    if isinstance(compliance, str) and recording.measured_unit == "S" and recording.conditions.get("v_read"):
        unit = units.unit_in(compliance)
        if unit and units.dimension(unit)[1] == units.dimension("A")[1]:
            return units.parse(compliance, "A") / abs(recording.conditions["v_read"])
    return units.parse(compliance, recording.measured_unit)


def below_limit(recording: Recording, compliance: str | float) -> Recording:
    """The rows whose measured value has not reached an instrument's limit; raises `DataError` where none is left."""
    kept = np.abs(recording.measured) < REACHED * limit_of(recording, compliance)
    if kept.all():
        return recording
    gone = np.flatnonzero(~kept)
    said = text.spans([recording.lines[k] for k in gone.tolist()])
    where = recording.where
    if not kept.any():
        raise DataError(f"every value has reached compliance = {compliance}", where=where, remedy="correct it")
    inner = kept[np.flatnonzero(kept)[0] : np.flatnonzero(kept)[-1] + 1]
    if recording.kind == "pulse train" and not inner.all():
        raise DataError(
            f"values at the compliance ({said}) stand within a pulse train, whose pulses moved the state",
            where=where,
            remedy='leave "compliance" out of mask: they are then taken as clipped',
        )
    reading = recording.reading
    note = f"{gone.size} {'row' if gone.size == 1 else 'rows'} left out ({said}): at compliance = {compliance}"
    if reading is not None:
        reading = replace(
            reading.part([recording.lines[k] for k in np.flatnonzero(kept).tolist()], int(kept.sum())),
            notes=(*reading.notes, note),
        )
    return recording.select(kept).with_(reading=reading, fingerprint=recording.fingerprint)
