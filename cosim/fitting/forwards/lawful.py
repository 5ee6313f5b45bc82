"""Closed forms without a device: a law of `cosim.fitting.laws` over one column of a curve, or any function."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from cosim.data.recording import Curve
from cosim.devices.base import Array, Param, Values
from cosim.errors import InputError
from cosim.fitting.forward import Index, PointForward, Rows, alike
from cosim.fitting.laws import CONSTANT, LAWS


class LawForward(PointForward):
    """The values (n,) of a function of the parameters; where it raises `ArithmeticError` it has none (NaN).

    Args:
        value: the function; one number stands for every row.
        size: n.
        params: its parameters; one whose bounds agree does not vary.
        formula: as it is written.
        repeats: (n,) a number for each row, the same where rows repeat each other.
        over: as in `PointForward`.
    """

    # A closed form is smooth to its rounding, and a valley may be so flat that chi-square's tenth digit says little.
    tolerance = 1e-15

    def __init__(
        self,
        value: Callable[[Values], ArrayLike],
        *,
        size: int,
        params: Sequence[Param],
        formula: str = "",
        repeats: Index | None = None,
        over: str = "",
    ) -> None:
        self.over = over
        self._value, self._size, self._repeats = value, size, repeats
        self.params, self.formula = tuple(params), formula
        self.active = tuple(entry.name for entry in params if entry.bounds[0] < entry.bounds[1])

    def predict_each(self, places: Sequence[Values]) -> list[Array]:
        """One call of the function for each place; (n,) each."""
        return [self._called(p) for p in places]

    def _called(self, p: Values) -> Array:
        try:
            with np.errstate(all="ignore"):
                found = np.asarray(self._value(p), dtype=float)
        except ArithmeticError:
            return np.full(self._size, np.nan)
        if found.shape not in ((self._size,), ()):
            raise InputError(
                f"the law gives values of shape {found.shape}, and {self._size} were measured",
                remedy="return one value for each measured one",
            )
        return np.broadcast_to(found, (self._size,)).copy()

    def repeated(self, predicted: Array) -> Index | None:
        """Rows at the same place, where that is known."""
        return self._repeats


def law_forward(name: str, curve: Curve, rows: Rows) -> LawForward:
    """A law for curves of this kind, by its name; its parameters start at what the ``rows`` (n,) show."""
    law = next(one for one in LAWS[curve.kind] if one.name == name)
    others = curve.columns.keys() - {law.over, curve.measured_name}
    if curve.kind == "step table" and (others or law.over not in curve.columns or curve.measured_name != "step"):
        raise InputError(
            f"the law {name!r} is of a step over {law.over} alone; the columns are {', '.join(sorted(curve.columns))}",
            where=curve.where,
            remedy="leave out the other columns, or name a device, which knows what they do",
        )
    x, units = curve[law.over], (curve.units[law.over], curve.measured_unit)
    params = law.params(x[rows], curve.measured[rows], *units)
    found = LawForward(
        lambda p: law.value(x, p), size=len(curve), params=params, formula=law.formula, repeats=alike([x]),
        over="" if others else law.over,
    )  # fmt: skip
    found.level = name == CONSTANT
    return found
