"""Transients of any device: all its states followed through what was applied to its ports.

Between two rows every drive is a straight line in time; the states are integrated from row to row by
`cosim.devices.integrate.sweep`, for all shifted parameters at once, so that all of them take the same steps and the
derivatives are those of one scheme. ``voltage`` is at the port whose current was measured; a column with the name of
another port is at that one (V, or K of a thermal port), and a port without a column is held at zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cosim.data.recording import Recording
from cosim.devices.base import Array, DeviceModel, Values
from cosim.devices.integrate import Segment, sweep
from cosim.errors import DataError, InputError
from cosim.fitting.forward import Forward, Rows, perturbed

# Of a step, as a fraction of each state's range (our choice).
TOLERANCE = 1e-5


class TransientForward(Forward):
    """The current at one port of a device with any number of ports and states (module docstring)."""

    def __init__(self, device: DeviceModel, curve: Recording, rows: Rows) -> None:
        self.device, self.curve, self.fitted = device, curve, rows
        self.params = device.params
        self.active = tuple(entry.name for entry in device.params if entry.name not in device.conventions)
        self._t = curve["time"]
        if np.any(np.diff(self._t) <= 0.0):
            raise DataError(
                "the time of a row is not later than that of the row before it",
                where=curve.where,
                remedy="give the rows in the order in which they were measured, each with its own time",
            )
        named = [name for name in curve.columns if name not in ("time", "voltage", "current")]
        ports = {port.name: "K" if port.nature == "thermal" else "V" for port in device.ports}
        for name in named:
            if name not in ports or curve.units[name] != ports[name]:
                raise InputError(
                    f"column {name!r} in {curve.units[name]} is at no port of {device.name}",
                    where=curve.where,
                    remedy="its ports: " + ", ".join(f"{port} ({unit})" for port, unit in ports.items()),
                )
        left = [port.name for port in device.ports if port.nature == "electrical" and port.name not in named]
        if len(left) != 1:
            raise InputError(
                f"the current may be that of {' or '.join(left) or 'no port'} of {device.name}",
                where=curve.where,
                remedy="give a column to every other electrical port, under the port's name",
            )
        self._port = left[0]
        self._drives = {self._port: curve["voltage"], **{name: curve[name] for name in named}}

    def _currents(self, p: Values, count: int) -> Array:
        """The current (A) at every row; (count, n) for parameters that are scalars or (count,)."""
        device, n = self.device, self._t.size
        x: Mapping[str, Array] = {
            state.name: np.broadcast_to(np.asarray(p[state.initial] if state.initial else 0.0, dtype=float), (count,))
            for state in device.all_states
        }
        found = np.empty((count, n))
        rest = {port.name: 0.0 for port in device.ports}
        for k in range(n):
            here = {port: float(drive[k]) for port, drive in self._drives.items()}
            if k and x:
                last = {port: float(drive[k - 1]) for port, drive in self._drives.items()}
                segment = Segment(self._t[k] - self._t[k - 1], last, here)
                x = sweep(device, p, segments=(segment,), x0=x, tolerance=TOLERANCE)[0]
            found[:, k] = device.through({**rest, **here}, Values(x), p)[self._port]
        return found

    def predict(self, p: Values) -> Array:
        """The current (A) at each row; (n,)."""
        return np.asarray(self._currents(p, 1)[0])

    def linearise(self, p: Values, names: Sequence[str]) -> tuple[Array, Array]:
        """Prediction and derivatives; (n,), (k, n)."""
        k = len(names)
        if not k:
            return self.predict(p), np.empty((0, self._t.size))
        shifted, distance = perturbed(p, names, self.params, ndim=0)
        columns = {name: np.append(shifted[name], p[name]) for name in names}
        found = self._currents(p.with_(**columns), 2 * k + 1)
        return found[-1], (found[:k] - found[k:-1]) / distance[:, None]

    def guess(self, p: Values) -> Mapping[str, float]:
        """What the device reads off such a recording."""
        return self.device.guess(self.curve.kind, self.curve.columns, rows=self.fitted, p=p)
