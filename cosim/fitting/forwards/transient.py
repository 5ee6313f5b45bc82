"""Transients of any device: all its states followed through what was applied to its ports.

Between two rows every drive is a straight line in time; the states are integrated from row to row, for all shifted
parameters at once, so that all of them take the same steps and the derivatives are those of one scheme: by compiled
rates where numba is there (`cosim.emit.numba_along`), else by `cosim.devices.integrate.sweep`.

What was measured is the ``current`` at a port, with ``voltage`` applied there; or ``read_NAME``, where NAME is a
reading, a state or another observable of the device (`DeviceModel.observe`). A column with the name of another port is
at that one (V, or K of a thermal port). Without a column an electrical port is held at zero, and a thermal one is open:
no heat flows through it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from cosim.data.kinds import READ
from cosim.data.recording import Recording
from cosim.devices.base import Array, DeviceModel, Operand, Values
from cosim.devices.integrate import Segment, sweep
from cosim.errors import DataError, EmitError, InputError, SimulationError
from cosim.fitting.forward import DeviceForward, Rows, perturbed

if TYPE_CHECKING:
    from cosim.emit.numba_along import Along

# Of a step, as a fraction of the range that each state usually has (our choice).
TOLERANCE = 1e-5
# Rows from which on a fit takes longer than compiling the rates.
LONG = 20


class TransientForward(DeviceForward):
    """What a device with any number of ports and states shows over time (module docstring)."""

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
        measured = curve.measured_name
        named = [name for name in curve.columns if name not in ("time", "voltage", measured)]
        ports = {port.name: "K" if port.nature == "thermal" else "V" for port in device.ports}
        for name in named:
            if name not in ports or curve.units[name] != ports[name]:
                raise InputError(
                    f"column {name!r} in {curve.units[name]} is at no port of {device.name}",
                    where=curve.where,
                    remedy="its ports: " + ", ".join(f"{port} ({unit})" for port, unit in ports.items()),
                )
        self._drives = {name: curve[name] for name in named}
        self._seen = measured.removeprefix(READ)
        if measured == "current" or "voltage" in curve.columns:
            self._port = self._only_port(named)
            self._drives[self._port] = curve["voltage"]
        if measured != "current" and device.visible.get(self._seen) != curve.measured_unit:
            known = ", ".join(f"{READ}{name} ({unit})" for name, unit in device.visible.items())
            raise InputError(
                f"column {measured!r} in {curve.measured_unit} is nothing that {device.name} shows",
                where=curve.where,
                remedy=f"it shows current and {known}",
            )
        self._open = tuple(p.name for p in device.ports if p.nature == "thermal" and p.name not in self._drives)
        usual = device.state_ranges(device.defaults())
        self._scales = {name: high - low for name, (low, high) in usual.items() if high > low}
        self._texts: Along | None = None
        if find_spec("numba") is not None and self._t.size > LONG and device.all_states:
            from cosim.emit.numba_along import rates_along

            names = (tuple(ports), tuple(s.name for s in device.all_states), tuple(e.name for e in device.params))
            with suppress(EmitError):  # a device that numpy alone can follow
                self._texts = rates_along(self._rates, ports=names[0], states=names[1], own=names[2])

    def _only_port(self, named: Sequence[str]) -> str:
        """The electrical port that ``voltage`` and ``current`` are of."""
        left = [port.name for port in self.device.ports if port.nature == "electrical" and port.name not in named]
        if len(left) != 1:
            raise InputError(
                f"the current may be that of {' or '.join(left) or 'no port'} of {self.device.name}",
                where=self.curve.where,
                remedy="give a column to every other electrical port, under the port's name",
            )
        return left[0]

    def _across(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """What is at all ports: an open one is where no heat flows, which grows in proportion to its temperature."""
        for port in self._open:
            none, one = (self.device.through({**across, port: rise}, x, p)[port] for rise in (0.0, 1.0))
            gain = one - none
            across = {**across, port: -none / np.where(gain > 0.0, gain, 1.0)}
        return across

    def _rates(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        return self.device.total_rates(self._across(across, x, p), x, p)

    def _followed(self, p: Values, count: int) -> Array:
        """All states at every row for parameters that are scalars or (count,), the first set of which is the usual one;
        (n, states, count).
        """
        device, n = self.device, self._t.size
        names = [state.name for state in device.all_states]
        start = np.empty((len(names), count))
        for k, state in enumerate(device.all_states):
            start[k] = p[state.initial] if state.initial else 0.0
        if self._texts is not None:
            from cosim.emit.numba_along import follow

            found = follow(
                self._texts,
                t=self._t,
                drive=np.stack([self._drives.get(port.name, np.zeros(n)) for port in device.ports], axis=1),
                start=start,
                own=np.stack([np.broadcast_to(np.float64(p[e.name]), (count,)) for e in device.params]),
                spans=np.array([self._scales.get(s.name, s.bounds[1] - s.bounds[0]) for s in device.all_states]),
                tolerance=TOLERANCE,
            )
            if found is None:
                said = f"a transient of {device.name} was not followed to its end"
                raise SimulationError(said, outcome="not converged")
            return found
        path = np.empty((n, len(names), count))
        path[0], x = start, dict(zip(names, start, strict=True))
        for k in range(1, n if names else 0):
            last, here = ({port: float(drive[j]) for port, drive in self._drives.items()} for j in (k - 1, k))
            segment = Segment(self._t[k] - self._t[k - 1], last, here)
            x = sweep(
                device,
                p,
                segments=(segment,),
                x0=x,
                tolerance=TOLERANCE,
                rates=self._rates,
                scales=self._scales,
                energy=False,
            )[0]
            path[k] = np.stack([x[name] for name in names])
        return path

    def _shown(self, p: Values, count: int) -> Array:
        """What was measured at every row; (count, n) for parameters that are scalars or (count,)."""
        path, n = self._followed(p, count), self._t.size
        x = Values({state.name: path[:, k] for k, state in enumerate(self.device.all_states)})
        rest = {port.name: np.zeros((n, 1)) for port in self.device.ports}
        across = self._across({**rest, **{port: drive[:, None] for port, drive in self._drives.items()}}, x, p)
        if self.curve.measured_name == "current":
            found = self.device.through(across, x, p)[self._port]
        else:
            found = self.device.observe(across, x, p)[self._seen]
        return np.broadcast_to(np.asarray(found, dtype=float), (n, count)).T

    def predict(self, p: Values) -> Array:
        """What was measured at each row; (n,)."""
        return np.asarray(self._shown(p, 1)[0])

    def linearise(self, p: Values, names: Sequence[str]) -> tuple[Array, Array]:
        """Prediction and derivatives; (n,), (k, n)."""
        k = len(names)
        if not k:
            return self.predict(p), np.empty((0, self._t.size))
        shifted, distance = perturbed(p, names, self.params, ndim=0)
        columns = {name: np.append(p[name], shifted[name]) for name in names}
        found = self._shown(p.with_(**columns), 2 * k + 1)
        return found[0], (found[1 : k + 1] - found[k + 1 :]) / distance[:, None]
