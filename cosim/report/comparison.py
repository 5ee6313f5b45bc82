"""Measured numbers beside those of a source, in rows with a computed verdict.

A row says where the number beside it comes from. A *source* is published, and the row has its place in it; an *oracle*
is another way to compute the same quantity. Only these two can agree, and only within a tolerance that has a reason.
Most rows are limits of benches, where all of this stands already (`rows_of`); one of our choice is kept or broken. A
number beside which there is nothing is our choice, and is not judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from cosim.bench.file import Limit
from cosim.bench.measured import Measured
from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.statistics import verdict as limits
from cosim.units import show

if TYPE_CHECKING:
    from cosim.bench.result import BenchResult

Agreement = Literal["agrees", "differs", "cannot tell", "our choice", "our choice: kept", "our choice: broken"]
VERDICTS: tuple[Agreement, ...] = get_args(Agreement)
COLUMNS = ("quantity", "beside", "here", "verdict", "note")
LISTED = 4  # values that a cell lists; of more it shows the range


@dataclass(frozen=True)
class Yardstick:
    """What a measured number is held against.

    Args:
        origin: "source", a publication, or "oracle", another computation.
        place: section, equation, figure or table of the source; in words, what the oracle is.
        value: the number that it has, or one per measured value (SI). None where it has none.
        relative, absolute: the tolerance around ``value``: a share of it, and SI; they add up.
        reason: why the tolerance is what it is.
        above, below: bounds (SI, exclusive) that its ``statement`` sets.
        statement: what it says in words.
    """

    origin: Literal["source", "oracle"]
    place: str
    value: ArrayLike | None = None
    relative: float = 0.0
    absolute: float = 0.0
    reason: str = ""
    above: float | None = None
    below: float | None = None
    statement: str = ""

    def __post_init__(self) -> None:
        if not self.place:
            raise InputError(f"a reference to a {self.origin} needs its place", remedy="name section, equation, figure")
        if self.value is not None and (not self.relative + self.absolute > 0.0 or not self.reason):
            raise InputError(f"the value of {self.place} needs a tolerance and its reason")
        if (self.above is not None or self.below is not None) and not self.statement:
            raise InputError(f"the bound of {self.place} needs the statement that sets it")

    def judge(self, values: Array) -> Agreement:
        """Whether all ``values`` (SI) agree; "cannot tell" without a number on either side."""
        if not values.size or not np.all(np.isfinite(values)) or self.value is self.above is self.below is None:
            return "cannot tell"
        kept = np.ones(values.shape, bool)
        if self.value is not None:
            known = np.asarray(self.value, dtype=float)
            kept &= np.abs(values - known) <= self.absolute + self.relative * np.abs(known)
        if self.above is not None:
            kept &= values > self.above
        if self.below is not None:
            kept &= values < self.below
        return "agrees" if np.all(kept) else "differs"

    def text(self, unit: str) -> str:
        """In words, values in ``unit``."""
        said = [self.statement] if self.statement else []
        said += [listed(self.value, unit)] if self.value is not None else []
        said += [f"> {show(self.above, unit)}"] if self.above is not None else []
        said += [f"< {show(self.below, unit)}"] if self.below is not None else []
        return f"{self.origin}, {self.place}: {'; '.join(said) or 'no number'}"

    def tolerance(self, unit: str) -> str:
        """The tolerance in words, with its reason."""
        if self.value is None:
            return ""
        parts = [f"{100.0 * self.relative:g} %"] if self.relative else []
        parts += [show(self.absolute, unit)] if self.absolute else []
        return f"within {' + '.join(parts)}: {self.reason}"


source = partial(Yardstick, "source")
oracle = partial(Yardstick, "oracle")


@dataclass(frozen=True)
class Row:
    """One line of a comparison.

    Args:
        quantity: what was measured.
        measured: of a bench, with its unit; or numbers (SI).
        against: what it is held against: a reference, or the limit that the bench has; None for our choice.
        unit: of numbers.
        note: what a reader has to know, e.g. why it differs.
    """

    quantity: str
    measured: Measured | ArrayLike
    against: Yardstick | Limit | None = None
    unit: str = ""
    note: str = ""

    @property
    def values(self) -> Array:
        """(n,) SI."""
        given = self.measured.values if isinstance(self.measured, Measured) else self.measured
        return np.atleast_1d(np.asarray(given, dtype=float))

    @property
    def verdict(self) -> Agreement:
        """Of the reference or limit; "our choice" without one."""
        if self.against is None:
            return "our choice"
        if isinstance(self.against, Yardstick):
            return self.against.judge(self.values)
        kept = self.measured.verdict if isinstance(self.measured, Measured) else None
        if kept in (None, limits.Verdict.CANNOT_TELL):
            return "cannot tell"
        ok = kept is limits.Verdict.PASS
        if self.against.origin in ("source", "oracle"):
            return "agrees" if ok else "differs"
        return "our choice: kept" if ok else "our choice: broken"

    def cells(self) -> tuple[str, ...]:
        """As `COLUMNS` has them."""
        unit = self.unit or (self.measured.unit if isinstance(self.measured, Measured) else "")
        beside, reason = "", ""
        if isinstance(self.against, Yardstick):
            beside, reason = self.against.text(unit), self.against.tolerance(unit)
        elif self.against is not None and isinstance(self.measured, Measured):
            unit = self.measured.shown_in  # that of the limits beside it
            low, high = self.measured.show(self.measured.low), self.measured.show(self.measured.high)
            span = f"{low} … {high}" if low and high else f"≥ {low}" if low else f"≤ {high}"
            beside, reason = f"{self.against.origin or 'our choice'}: {span}", self.against.reason
        note = "; ".join(filter(None, [reason, self.note]))
        return self.quantity, beside, listed(self.values, unit), self.verdict, note


def rows_of(run: BenchResult, names: Mapping[str, str] | None = None) -> list[Row]:
    """A row per limit of the run's bench, as the bench states it; ``names`` has measures in words that their own name
    does not have.
    """
    rows = []
    file = run.bench.file
    for name, limit in file.limits.items():
        unit = file.measures[name].unit
        measured = run.measures.get(name) or Measured(np.empty(0), unit, *limit.span(unit))
        corner = f", {run.bench.corner}" if run.bench.corner else ""
        words = (names or {}).get(name, name.replace("_", " "))
        rows.append(Row(f"{run.bench.name}{corner}: {words}", measured, limit, note=run.missing.get(name, "")))
    return rows


def listed(values: ArrayLike, unit: str) -> str:
    """Values (SI) in words: all of a few, the range of many."""
    found = np.atleast_1d(np.asarray(values, dtype=float))
    if found.size > LISTED and np.all(np.isfinite(found)):
        return f"{show(float(found.min()), unit)} … {show(float(found.max()), unit)}"
    return ", ".join(show(float(value), unit) if np.isfinite(value) else "not measured" for value in found)
