"""A measure's values, its limits, and whether they are kept. All rules are our choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.statistics.verdict import Verdict
from cosim.units import in_unit, show, si_unit

# A limit is kept where it is broken by rounding only: relative to the value or the limit, whichever is larger. Against
# a limit of 0 there is nothing to be relative to, and an integrated state ends at -4e-12 as well as at 0: there it is
# the same share of 1 for a number without unit, of the measure's largest value for others.
LIMIT_SLACK = 1e-9


@dataclass(frozen=True)
class Measured:
    """One measure: ``values`` (n,) and limits in SI (``unit``), and whether every value keeps them.

    ``shown_in`` is the unit that the bench asks for, e.g. mA, in which tables, files and figures have them;
    ``coordinates`` has, per swept parameter, the value (n,) that belongs to each of ``values``.
    """

    values: Array
    shown_in: str
    low: float | None = None
    high: float | None = None
    coordinates: Mapping[str, Array] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def unit(self) -> str:
        """The SI unit of the values and limits."""
        return si_unit(self.shown_in)

    @property
    def verdict(self) -> Verdict | None:
        """None without limits; ``fail`` where a value breaks one; ``cannot tell`` where none does, but one is not
        finite or the measure is empty.
        """
        if self.low is None and self.high is None:
            return None
        if np.any(self.excess > 0.0):
            return Verdict.FAIL
        return Verdict.PASS if self.values.size and np.all(np.isfinite(self.values)) else Verdict.CANNOT_TELL

    @property
    def passed(self) -> bool | None:
        """The verdict as a bool; None without limits, and where it cannot be told."""
        return None if self.verdict in (None, Verdict.CANNOT_TELL) else self.verdict is Verdict.PASS

    @property
    def excess(self) -> Array:
        """How far each value (n,) is beyond a limit and its slack; negative where it is not, NaN for one not finite."""
        finite = np.isfinite(self.values)
        values = self.values[finite]
        largest = 1.0 if self.unit == "1" else float(np.max(np.abs(values), initial=0.0))
        beyond = np.full(values.shape, -np.inf)
        for limit, sign in ((self.low, -1.0), (self.high, 1.0)):
            if limit is not None:
                slack = LIMIT_SLACK * np.maximum(np.abs(values), abs(limit) if limit != 0.0 else largest)
                beyond = np.maximum(beyond, sign * (values - limit) - slack)
        found = np.full(self.values.shape, np.nan)
        found[finite] = beyond
        return found

    def to_dict(self) -> dict[str, object]:
        """JSON values, in the unit that it is shown in."""
        low, high = (None if x is None else in_unit(x, self.shown_in) for x in (self.low, self.high))
        values = in_unit(self.values, self.shown_in)
        return {"unit": self.shown_in, "values": values, "min": low, "max": high, "passed": self.passed}

    def show(self, value: float | None) -> str:
        """A value or limit (SI) in the unit that it is shown in; empty for None."""
        return "" if value is None else show(value, self.shown_in)

    @property
    def scale(self) -> float:
        """The scale of this measure's differences: its largest value or limit (SI)."""
        known = [abs(x) for x in (self.low, self.high) if x is not None]
        return float(max([np.max(np.abs(self.values), initial=0.0), *known]))

    @property
    def scalar(self) -> float:
        """The only value; raises where there are many."""
        if self.values.size != 1:
            raise InputError(f"this measure has {self.values.size} values, not one", remedy="use .values")
        return float(self.values.reshape(()))
