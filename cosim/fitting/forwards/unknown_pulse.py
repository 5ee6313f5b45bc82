"""Tables of steps without what caused them: one pulse of unknown amplitude, equal in all rows, from each start.

A row is a ramp of a single pulse (`cosim.fitting.forwards.equal_pulses`) whose start was measured: the law and what it
can tell are those of ramps. The steps' sign says in which direction the pulse went.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosim.data.recording import Recording
from cosim.devices.base import Array, DeviceModel, Values
from cosim.errors import InputError
from cosim.fitting.forward import Rows
from cosim.fitting.forwards.equal_pulses import RampForward
from cosim.fitting.laws import LAWS

# A law that leaves more than so many times what a polynomial leaves lacks a shape that the steps have (our choice).
WORSE = 1.3


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
        self._steps = before[rows], step[rows]
        super().__init__(device, Recording("equal pulses", columns, units, source=curve.source), rows, course=course)

    def evaluate(self, p: Values) -> Array:
        """The step of each row (S)."""
        return np.asarray(super().evaluate(p) - self._first)

    def check(self, p: Values, *, sign: bool = False, shift: bool = False) -> None:
        """Nothing: the direction is taken from the steps."""

    def remarks(self, names: Sequence[str], p: Values) -> tuple[str, ...]:
        """What ramps cannot tell; and a polynomial with as many coefficients that is nearer to the fitted steps."""
        x, y = self._steps
        said = super().remarks(names, p)
        if np.unique(x).size <= len(names) or np.ptp(y) == 0.0:
            return said
        line = np.polynomial.Polynomial.fit(x, y, len(names) - 1)
        law, smooth = (float(np.std(y - z) / np.ptp(y)) for z in (self.evaluate(p)[self._rows], line(x)))
        if law <= WORSE * smooth:
            return said
        laws = " or ".join(repr(one.name) for one in LAWS["step table"][-2:])
        better = (
            f"the law leaves {law:.1%} of the range of the steps, and a polynomial with as many coefficients "
            f"{smooth:.1%}: the steps have a shape that it lacks; a law that belongs to no device may have it: "
            f"law = {laws}"
        )
        return (*said, better)
