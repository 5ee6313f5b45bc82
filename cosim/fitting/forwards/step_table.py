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
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from cosim.data.recording import Recording
from cosim.devices.base import Array, DeviceModel, Operand, Values
from cosim.devices.integrate import Segment, sweep
from cosim.devices.maps import EventMap
from cosim.errors import EmitError, InputError, SimulationError
from cosim.fitting import checks
from cosim.fitting.forward import DeviceForward, ExplicitForward, Forward, Index, Rows, alike

if TYPE_CHECKING:
    from cosim.emit.numba_along import Along

# Of a step of the compiled integration, as a part of each state's range: rows with steps of their own are as exact with
# it as those that share theirs are with `sweep`'s (1e-5 of what is measured, for the thermal ReRAM).
TOLERANCE = 3e-6
# Of a state's range: 2^-50 is left of it.
BISECTIONS = 50


@lru_cache(maxsize=16)
def _texts(device: DeviceModel) -> Along | None:
    """A device's rates, to be compiled; None where numba is not there, or numpy alone can follow it."""
    if find_spec("numba") is None:
        return None
    from cosim.emit.numba_along import rates_along

    names = ([*device.ports], [*device.all_states], [*device.params])
    ports, states, own = (tuple(entry.name for entry in entries) for entries in names)
    with suppress(EmitError):
        return rates_along(device.total_rates, ports=ports, states=states, own=own)
    return None


class TableForward(DeviceForward, ExplicitForward):
    """Rows in any order, each of which starts anew."""

    def check(self, p: Values, *, sign: bool = False, shift: bool = False) -> None:
        """Refuse steps that run against the device's."""
        if not sign and self.curve.measured_name == "step":
            checks.check_steps(self.device, self.predict(p), self.curve)

    def repeated(self, predicted: Array) -> Index:
        """Rows of the same start, inputs and conditions."""
        return alike([self.curve[name] for name in self.curve.columns if name != self.curve.measured_name])


class StepForward(TableForward):
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
        self._texts = _texts(device) if maps[event].closed is None else None
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
        inputs = Values({name: self._inputs.get(name, 0.0) for name in event.inputs})
        after: Operand
        if event.closed is None and self._reading in self.device.readings:
            after = self.device.readout(self._integrated(event, x, inputs, p), p)[self._reading]
        else:
            after = event(x, inputs, p)[1][self._reading]
        if self.curve.measured_name == "step":
            before = self._readings.get(self._reading, self.device.readout(x, p)[self._reading])
            after = after - before
            if self.curve.measured_unit != self.device.readings[self._reading]:
                after = after / before
        return np.asarray(after, dtype=float)

    def _integrated(self, event: EventMap, x: Values, inputs: Values, p: Values) -> Values:
        """The states after an event without a closed form, whose energy nobody asks for."""
        segments, n = event.waveform(inputs, p), len(self.curve)
        given = [v for s in segments for v in (s.length, *s.begin.values(), *s.end.values())]
        if self._texts is not None and all(np.shape(value) in ((), (n,)) for value in given):
            after = self._compiled(segments, x, p)
        else:
            after = sweep(self.device, p, segments=segments, x0=x, energy=False)[0]
        return Values({name: np.clip(after[name], *event.bounds(name)) for name in event.states})

    def _compiled(self, segments: Sequence[Segment], x: Values, p: Values) -> dict[str, Array]:
        """The states of each row and each set of parameters at the end of the ``segments``; (m, n) or (n,)."""
        from cosim.emit.numba_along import follow_each

        device, n = self.device, len(self.curve)
        shape = np.broadcast_shapes((n,), *(np.shape(value) for value in (*x.values(), *p.values())))
        sets = int(np.prod(shape[:-1]))

        def columns(values: Sequence[Operand]) -> Array:
            """(n, sets, values)"""
            found = np.empty((n, sets, len(values)))
            for k, value in enumerate(values):
                found[:, :, k] = np.broadcast_to(np.asarray(value, dtype=float), shape).reshape(sets, n).T
            return found

        ports = [port.name for port in device.ports]
        lengths = np.stack([np.broadcast_to(np.float64(s.length), (n,)) for s in segments], axis=1)
        drive = np.zeros((n, len(segments), 2, len(ports)))
        for j, segment in enumerate(segments):
            for side, ends in enumerate((segment.begin, segment.end)):
                for k, name in enumerate(ports):
                    drive[:, j, side, k] = ends.get(name, 0.0)
        states = device.all_states
        spans = np.array([state.bounds[1] - state.bounds[0] for state in states])
        assert self._texts is not None
        found = follow_each(
            self._texts, lengths=lengths, drive=drive,
            start=columns([x.get(state.name, 0.0) for state in states]).transpose(0, 2, 1),
            own=columns([p[entry.name] for entry in device.params]),
            spans=np.where(np.isfinite(spans), spans, 1.0), tolerance=TOLERANCE,
        )  # fmt: skip
        if found is None:
            said = f"an event of the map {self._event} of {device.name} was not followed to its end"
            raise SimulationError(said, outcome="not converged")
        return {state.name: found[:, k].T.reshape(shape) for k, state in enumerate(states)}

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
