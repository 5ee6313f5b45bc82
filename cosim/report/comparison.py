"""Measured numbers beside those of a source, in rows with a computed verdict.

Each row names the origin of the number that it is compared with. A *source* is published, and the row says where in it;
an *oracle* is another way to compute the same quantity. Only these two can agree, within a tolerance that has a reason.
A number with neither beside it is our choice, and is not judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from cosim.bench.measured import Measured
from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.units import show

Agreement = Literal["agrees", "differs", "cannot tell", "our choice"]
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
        against: what it is held against; None for our choice.
        unit: of numbers.
        note: what a reader has to know, e.g. why it differs.
    """

    quantity: str
    measured: Measured | ArrayLike
    against: Yardstick | None = None
    unit: str = ""
    note: str = ""

    @property
    def values(self) -> Array:
        """(n,) SI."""
        given = self.measured.values if isinstance(self.measured, Measured) else self.measured
        return np.atleast_1d(np.asarray(given, dtype=float))

    @property
    def verdict(self) -> Agreement:
        """Of the reference; "our choice" without one."""
        return "our choice" if self.against is None else self.against.judge(self.values)

    def cells(self) -> tuple[str, ...]:
        """As `COLUMNS` has them."""
        unit = self.unit or (self.measured.unit if isinstance(self.measured, Measured) else "")
        beside, tolerance = (
            ("", "") if self.against is None else (self.against.text(unit), self.against.tolerance(unit))
        )
        note = "; ".join(filter(None, [tolerance, self.note]))
        return self.quantity, beside, listed(self.values, unit), self.verdict, note


def listed(values: ArrayLike, unit: str) -> str:
    """Values (SI) in words: all of a few, the range of many."""
    found = np.atleast_1d(np.asarray(values, dtype=float))
    if found.size > LISTED and np.all(np.isfinite(found)):
        return f"{show(float(found.min()), unit)} … {show(float(found.max()), unit)}"
    return ", ".join(show(float(value), unit) if np.isfinite(value) else "not measured" for value in found)
