"""Closed forms of one column that belong to no device (`cosim.fitting.laws`)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cosim.data.recording import Curve
from cosim.devices.base import Array, DeviceModel, Values
from cosim.errors import InputError
from cosim.fitting.forward import ExplicitForward, Index, Rows
from cosim.fitting.laws import Law


class LawForward(ExplicitForward):
    """A law over one column of a curve; its parameters start at what the fitted ``rows`` show."""

    def __init__(self, law: Law | DeviceModel, curve: Curve, rows: Rows) -> None:
        if not isinstance(law, Law):
            raise InputError(
                f"a curve of kind {curve.kind!r} is described by laws that belong to no device, not by {law.name}",
                where=curve.where,
                remedy="run cosim fit --auto on the file, or fit what the device was driven with (kind = 'transient')",
            )
        self.law, self._x = law, curve[law.over]
        units = (curve.units[law.over], curve.measured_unit)
        self.params = tuple(law.params(self._x[rows], curve.measured[rows], *units))
        self.active = tuple(entry.name for entry in self.params if entry.bounds[0] < entry.bounds[1])

    def evaluate(self, p: Values) -> Array:
        """The law at each row."""
        return self.law.value(self._x, p)

    def guess(self, p: Values) -> Mapping[str, float]:
        """Nothing beyond the defaults, which are read off the curve already."""
        return {}

    def repeated(self, predicted: Array) -> Index:
        """Rows at the same place."""
        return np.unique(self._x, return_inverse=True)[1].astype(np.int64)
