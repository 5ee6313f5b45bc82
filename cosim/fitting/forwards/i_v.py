"""Static I–V curves: the states stay where they start, and the order of the rows means nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cosim.data.recording import Curve
from cosim.devices.base import Array, DeviceModel, Param, Values
from cosim.fitting import checks
from cosim.fitting.forward import ExplicitForward, Index, Rows, alike, each_row, only_port

# Voltages (V) at which it is asked whether a static current depends on a parameter.
PROBE = np.logspace(-2.0, 1.0, 7)


class StaticForward(ExplicitForward):
    """A static I–V curve of a device with one electrical port; its states, if any, stay at their initial values.

    A column with a parameter's name is that parameter at each row.
    """

    def __init__(self, device: DeviceModel, curve: Curve, rows: Rows) -> None:
        self._device, self._port, self._v = device, only_port(device, curve), curve["voltage"]
        self._curve, self._rows = curve, rows
        self._each = each_row(device, curve, ("voltage", "current"))
        self.params = device.params
        self.active = tuple(entry.name for entry in device.params if entry.name not in self._each and self._acts(entry))

    def _acts(self, entry: Param) -> bool:
        """Whether the current depends on a parameter: at its bounds or its default, at some voltage, in some state."""
        v = np.concatenate([-PROBE, [0.0], PROBE])
        for share in (0.0, 0.5, 1.0):  # of all states' ranges: at an end of it a parameter may have no part
            states = {state.initial: state.bounds[0] + share * np.ptp(state.bounds) for state in self._device.states}
            p = Values({other.name: other.default for other in self.params} | states)
            with np.errstate(all="ignore"):
                first, *others = (
                    np.asarray(self._current(v, p.with_(**{entry.name: np.float64(value)})))
                    for value in (entry.default, *entry.bounds)
                )
            if any(not np.array_equal(first, other, equal_nan=True) for other in others):
                return True
        return False

    def _current(self, v: Array, p: Values) -> Any:
        return self._device.through({self._port: v}, self._device.initial(p), p)[self._port]

    def evaluate(self, p: Values) -> Array:
        """The current (A) at each voltage."""
        return np.asarray(self._current(self._v, p.with_(**self._each)), dtype=float)

    def guess(self, p: Values) -> Mapping[str, float]:
        """What the device reads off a static curve."""
        return self._device.guess("i-v", self._curve.columns, rows=self._rows, p=p)

    def check(self, p: Values, *, sign: bool = False, shift: bool = False) -> None:
        """Refuse a current of the other sign, records that are not one curve, and a loop of a device with states."""
        if not sign:
            checks.check_current(self._device.name, self.predict(p), self._curve)
        checks.check_records(self._curve)
        if self._device.states:
            checks.check_loop(self._device, self._curve)

    def repeated(self, predicted: Array) -> Index:
        """Rows at the same voltage, under the same conditions."""
        return alike([self._v, *self._each.values()])

    def remarks(self, names: Sequence[str], p: Values) -> tuple[str, ...]:
        """A loop that a device without a state cannot follow."""
        return () if self._device.states else checks.remarks_on(self._device, self._curve)
