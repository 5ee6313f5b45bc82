"""Paired pulses as a table: the ratio of the second response to the first, over the interval between the two.

A response is the change of the device's first reading from before the pair to right after a spike (A2/A1 of Zucker &
Regehr, Annu. Rev. Physiol. 64, 355 (2002), with both counted from rest). Each row starts anew, in the initial states.
What multiplies every response alike does not show: of a conductance only the share of its room that a spike takes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosim.data.recording import Recording
from cosim.devices.base import Array, DeviceModel, Values
from cosim.errors import InputError
from cosim.fitting.forward import DeviceForward, ExplicitForward, Rows

INTERVAL = "interval"


class RatioForward(DeviceForward, ExplicitForward):
    """The ratio of two responses over their interval (module docstring)."""

    def __init__(self, device: DeviceModel, curve: Recording, rows: Rows) -> None:
        self.device, self.curve, self.fitted, self.params = device, curve, rows, device.params
        spikes = [name for name, one in device.maps(device.defaults()).items() if set(one.inputs) == {INTERVAL}]
        if not spikes or not device.readings:
            raise InputError(
                f"{device.name} has no event that takes the interval to the next one",
                where=curve.where,
                remedy="fit a law in place of the device, or a device with spikes: ecram",
            )
        if curve.measured_unit != "1":
            raise InputError(
                f"the ratio is in {curve.measured_unit}",
                where=curve.where,
                remedy="give the second response over the first, or every read after its pulse: kind = 'events'",
            )
        self._spike, self._seen = spikes[0], next(iter(device.readings))
        self.active = tuple(entry.name for entry in device.params if entry.name not in device.conventions)

    def evaluate(self, p: Values) -> Array:
        """The ratio of each row."""
        spike = self.device.maps(Values({name: float(np.ravel(value)[0]) for name, value in p.items()}))[self._spike]
        rest = Values({state.name: p[state.initial] for state in self.device.states})
        at_rest = self.device.readout(rest, p)[self._seen]
        first = spike(rest, Values({INTERVAL: 0.0}), p)[1][self._seen] - at_rest
        again = spike(rest, Values({INTERVAL: self.curve[INTERVAL]}), p)[0]
        second = spike(again, Values({INTERVAL: 0.0}), p)[1][self._seen] - at_rest
        with np.errstate(divide="ignore", invalid="ignore"):  # of a spike that does nothing there is no ratio
            return np.asarray(second / first, dtype=float)

    def remarks(self, names: Sequence[str], p: Values) -> tuple[str, ...]:
        """What a response is."""
        return (f"a response is the change of the {self._seen} from rest to right after a spike",)
