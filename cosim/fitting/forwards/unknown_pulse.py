"""Tables of steps without what caused them: one pulse of unknown amplitude, equal in all rows, from each start.

A row is a ramp of a single pulse (`cosim.fitting.forwards.equal_pulses`) whose start was measured: the law and what it
can tell are those of ramps. The steps' sign says in which direction the pulse went.
"""

from __future__ import annotations

import numpy as np

from cosim.data.recording import Recording
from cosim.devices.base import Array, DeviceModel, Values
from cosim.errors import InputError
from cosim.fitting.forward import Rows
from cosim.fitting.forwards.equal_pulses import RampForward


class UnknownPulseForward(RampForward):
    """The step of each row's only pulse (module docstring)."""

    choices = ("course",)

    def __init__(self, device: DeviceModel, curve: Recording, rows: Rows, *, course: str = "saturating") -> None:
        before, step = curve["conductance"], curve["step"]
        if curve.measured_unit != "S":
            raise InputError(
                f"steps of unknown pulses in {curve.measured_unit}", where=curve.where, remedy="give them in S"
            )
        n, sign = step.size, float(np.sign(np.median(step[rows]))) or 1.0
        columns = {
            "ramp": np.arange(float(n)),
            "pulse": np.ones(n),
            "polarity": np.full(n, sign),
            "before": before,
            "read": before + step,
        }
        units = dict.fromkeys(columns, "1") | {"before": "S", "read": "S"}
        super().__init__(device, Recording("equal pulses", columns, units, source=curve.source), rows, course=course)

    def evaluate(self, p: Values) -> Array:
        """The step of each row (S)."""
        return np.asarray(super().evaluate(p) - self._first)

    def check(self, p: Values, *, sign: bool = False, shift: bool = False) -> None:
        """Nothing: the direction is taken from the steps."""
