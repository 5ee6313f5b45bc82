"""Tables of steps: what one event of a device does (`DeviceModel.maps`), each row with a start and inputs of its own.

Beside ``step`` or ``read``, a column has the name and the unit of what it is of the device:

* a state, or a reading such as ``conductance``: where the event starts. A reading gives the first state without a
  column that moves it, within that state's bounds; every other state starts at its initial value.
* an input of a map. The device's first map that has all of them is taken, and an input without a column is zero.
* a parameter: a condition that differs from row to row, such as an ambient temperature.

``read`` is the reading after the event; ``step`` is its change, in 1 the change over the reading at the start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cosim.data.recording import Recording
from cosim.devices.base import Array, DeviceModel, Operand, Values
from cosim.devices.maps import EventMap
from cosim.errors import InputError
from cosim.fitting import checks
from cosim.fitting.forward import ExplicitForward, Forward, Index, Rows

# Of a state's range: 2^-50 is left of it.
BISECTIONS = 50


class StepForward(ExplicitForward):
    """The outcome of one event per row (module docstring)."""

    @classmethod
    def suited(cls, curve: Recording) -> type[Forward]:
        """A table that says nothing of its pulses is one of unknown ones."""
        from cosim.fitting.forwards.unknown_pulse import UnknownPulseForward

        return UnknownPulseForward if curve.columns.keys() == {"conductance", "step"} else cls

    def __init__(self, device: DeviceModel, curve: Recording, rows: Rows) -> None:
        self.device, self.curve, self.fitted, self.params = device, curve, rows, device.params
        maps = device.maps(device.defaults())
        if not maps or not device.readings:
            raise InputError(f"{device.name} has no event map that ends in a reading", remedy="fit another device")
        found = of_device(device, curve, maps, spare=(curve.measured_name,))
        self._states, self._readings, self._inputs, self._conditions = found.values()
        event = next((k for k, one in maps.items() if self._inputs and one.inputs.keys() >= self._inputs.keys()), None)
        if event is None:
            has = "; ".join(
                f"{name}: {listed({k: f.unit for k, f in one.inputs.items()})}" for name, one in maps.items()
            )
            raise InputError(
                f"{listed(self._inputs) or 'nothing'} among the columns is what an event map of {device.name} takes",
                where=curve.where,
                remedy=f"give the inputs of one of its maps: {has}",
            )
        self._event, self._shape = event, curve.shape if "width" in maps[event].fixed else None
        self._reading = next(iter([*self._readings, *device.readings]))
        if curve.measured_unit not in (device.readings[self._reading], "1"):
            raise InputError(
                f"{curve.measured_name} is in {curve.measured_unit}, and {self._reading} of {device.name} in "
                f"{device.readings[self._reading]}",
                where=curve.where,
                remedy="correct the column's unit",
            )
        self._found = {name: self._moved_by(name) for name in self._readings}
        taken = {*self._states, *self._found.values()}
        fixed = {*device.conventions, *self._conditions, *(s.initial for s in device.states if s.name in taken)}
        self.active = tuple(entry.name for entry in device.params if entry.name not in fixed)

    def _moved_by(self, reading: str) -> str:
        """The state that a start's ``reading`` gives."""
        p = self.device.defaults()
        for state in self.device.states:
            ends = Values({**self.device.initial(p), state.name: np.array(state.bounds)})
            if state.name not in self._states and np.ptp(np.broadcast_to(self.device.readout(ends, p)[reading], 2)):
                return state.name
        raise InputError(
            f"column {reading!r} gives none of the states of {self.device.name}: they all have columns",
            where=self.curve.where,
            remedy="leave out one of the columns",
        )

    def _start(self, p: Values) -> Values:
        """The states before each row's event."""
        x = Values({s.name: self._states.get(s.name, p[s.initial]) for s in self.device.states})
        for reading, name in self._found.items():
            low, high = map(np.array, next(state.bounds for state in self.device.states if state.name == name))
            first, last = (np.asarray(self.device.readout(x.with_(**{name: end}), p)[reading]) for end in (low, high))
            for _ in range(BISECTIONS):
                middle = 0.5 * (low + high)
                read = self.device.readout(x.with_(**{name: middle}), p)[reading]
                below = (read < self._readings[reading]) == (last >= first)
                low, high = np.where(below, middle, low), np.where(below, high, middle)
            x = x.with_(**{name: 0.5 * (low + high)})
        return x

    def _map(self, p: Values) -> EventMap:
        """The event; of what its range and length come from, the first column of parameters is enough."""
        return self.device.maps(Values({n: float(np.ravel(v)[0]) for n, v in p.items()}), shape=self._shape)[
            self._event
        ]

    def evaluate(self, p: Values) -> Array:
        """What was measured of each row's event."""
        event, p = self._map(p), p.with_(**self._conditions)
        x = self._start(p)
        inputs = {name: self._inputs.get(name, 0.0) for name in event.inputs}
        after: Operand = event(x, Values(inputs), p)[1][self._reading]
        if self.curve.measured_name == "step":
            before = self._readings.get(self._reading, self.device.readout(x, p)[self._reading])
            after = after - before
            if self.curve.measured_unit != self.device.readings[self._reading]:
                after = after / before
        return np.asarray(after, dtype=float)

    def guess(self, p: Values) -> Mapping[str, float]:
        """What the device reads off such a table."""
        return self.device.guess(self.curve.kind, self.curve.columns, rows=self.fitted, p=p)

    def check(self, p: Values, *, sign: bool = False, shift: bool = False) -> None:
        """Refuse steps that run against the device's."""
        if not sign and self.curve.measured_name == "step":
            checks.check_steps(self.device, self.predict(p), self.curve)

    def repeated(self, predicted: Array) -> Index:
        """Rows of the same start, inputs and conditions."""
        given = [self.curve[name] for name in self.curve.columns if name != self.curve.measured_name]
        return np.unique(np.column_stack(given), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)

    def remarks(self, names: Sequence[str], p: Values) -> tuple[str, ...]:
        """Which map was taken, and starts that the device cannot have."""
        p = p.with_(**self._conditions)
        x, said = self._start(p), [f"each row is one event of the map {self._event!r} of {self.device.name}"]
        for name, given in self._readings.items():
            off = np.abs(self.device.readout(x, p)[name] - given) > 1e-6 * np.abs(given)
            if off.any():
                said.append(f"{name} of {int(off.sum())} rows is out of the device's range: they start at its end")
        return tuple(said)


def of_device(
    device: DeviceModel, curve: Recording, maps: Mapping[str, EventMap], *, spare: Sequence[str]
) -> dict[str, dict[str, Array]]:
    """The columns by what they are of the device: states, readings, inputs of ``maps``, parameters; but ``spare``."""
    units = {
        "states": {state.name: state.unit for state in device.states},
        "readings": dict(device.readings),
        "inputs": {name: field.unit for one in maps.values() for name, field in one.inputs.items()},
        "parameters": {entry.name: entry.unit for entry in device.params},
    }
    found: dict[str, dict[str, Array]] = {part: {} for part in units}
    for name in curve.columns.keys() - {*spare}:
        part = next((part for part, known in units.items() if known.get(name) == curve.units[name]), None)
        if part is None:
            parts = (f"{part} {listed(known)}" for part, known in units.items() if known and part != "parameters")
            raise InputError(
                f"column {name!r} in {curve.units[name]} is nothing that an event of {device.name} depends on",
                where=curve.where,
                remedy=f"it has the {'; '.join(parts)}; and its parameters",
            )
        found[part][name] = curve[name]
    return found


def listed(units: Mapping[str, object]) -> str:
    """Names with their units, where they have any, in one line."""
    return ", ".join(f"{name} ({unit})" if isinstance(unit, str) else name for name, unit in units.items())
