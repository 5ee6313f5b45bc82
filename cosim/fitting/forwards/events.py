"""Sequences of events: pulses, spikes and rests in the order in which they came, and what was read after each row.

Beside ``read`` (the device's first reading; ``read_NAME`` another one, or a state), a column has the name and the unit
of what it is of the device: an input of one of its event maps (`DeviceModel.maps`), or a parameter, a condition that
differs from row to row. A row stands for one event of each map of which it has an input other than zero, in the order
of the device's maps: a pulse, then a rest. A row of zeros only reads.

``count`` repeats the events of a row so many times before the read: a burst, or a train of one frequency. Where the
number in ``sequence`` changes, the device starts again in its initial state: one pair of pulses for each interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cosim.data.kinds import READ
from cosim.data.recording import Recording
from cosim.devices.base import Array, DeviceModel, Values
from cosim.devices.maps import EventMap
from cosim.devices.pulse import PulseShape
from cosim.errors import DataError, EmitError, InputError
from cosim.fitting.forward import DeviceForward, ExplicitForward, Index, Rows
from cosim.fitting.forwards.step_table import listed, of_device

if TYPE_CHECKING:
    from cosim.emit.numba import MapKernel

# A process that has evaluated so many sequences has spent on them what compiling the maps costs, and compiles them.
MANY = 200
_evaluated = count()
ORDER = ("sequence", "count")


def seen_of(device: DeviceModel, curve: Recording) -> str:
    """The quantity of the device that was read; raises `InputError` where the device does not show it in this unit."""
    name = curve.measured_name.removeprefix(READ)
    name = name if curve.measured_name.startswith(READ) else next(iter(device.readings), "")
    relative = curve.measured_name == "step" and curve.measured_unit == "1"  # over the reading before it
    if device.visible.get(name, "") != curve.measured_unit and not (relative and name):
        raise InputError(
            f"{curve.measured_name} is in {curve.measured_unit}, and {device.name} shows {listed(device.visible)}",
            where=curve.where,
            remedy=f"name what was read, as in columns.{READ}{next(iter(device.visible), 'NAME')}, and its unit",
        )
    return name


def counts(curve: Recording) -> NDArray[np.int64]:
    """How often each row's events came; (n,); raises `DataError` where that is not a whole number."""
    given = curve["count"] if "count" in curve.columns else np.ones(len(curve))
    bad = np.flatnonzero((given < 0) | (given != np.round(given)))
    if bad.size:
        row = curve.lines[bad[0]] if curve.lines else int(bad[0]) + 1
        raise DataError(
            f"count of row {row} is {given[bad[0]]:g}", where=curve.where, remedy="give a whole number, 0 or above"
        )
    return given.astype(np.int64)


@dataclass(frozen=True)
class _Event:
    """An event of a ``map``: its ``inputs``, the ``rows`` of the curve and ``which`` of the sequences; (k,) each."""

    map: str
    inputs: Values
    rows: Index
    which: Index


@lru_cache(maxsize=32)
def _compiled(device: DeviceModel, name: str, shape: PulseShape | None) -> MapKernel | None:
    """A map of a device for instances with parameters of their own, compiled; None where it has no text."""
    p = device.defaults()
    one = device.maps(p, shape=shape)[name]
    if one.closed is None or [*one.states] != [state.name for state in device.states] or find_spec("numba") is None:
        return None
    from cosim.emit.numba import map_kernel

    with suppress(EmitError):
        return map_kernel(one, p, own=[entry.name for entry in device.params])
    return None


class EventsForward(DeviceForward, ExplicitForward):
    """What is read after each row of a sequence of events (module docstring)."""

    def __init__(self, device: DeviceModel, curve: Recording, rows: Rows) -> None:
        self.device, self.curve, self.fitted, self.params = device, curve, rows, device.params
        maps = device.maps(device.defaults())
        found = of_device(device, curve, maps, spare=(curve.measured_name, *ORDER))
        starts = [*found["states"], *found["readings"]]
        if starts:
            raise InputError(
                f"column {starts[0]!r} says where an event starts, and each one of a sequence starts where the one "
                "before it ended",
                where=curve.where,
                remedy="vary the initial state, or write kind = 'step table' for events that start anew",
            )
        self._conditions = found["parameters"]
        self._inputs: dict[str, dict[str, Array]] = {}
        for name, one in maps.items():
            taken = {entry for inputs in self._inputs.values() for entry in inputs}
            own = {entry: found["inputs"][entry] for entry in one.inputs if entry in found["inputs"].keys() - taken}
            if own:
                self._inputs[name] = own
        if not self._inputs:
            has = "; ".join(f"{name}: {listed({k: f.unit for k, f in m.inputs.items()})}" for name, m in maps.items())
            raise InputError(
                f"no column is an input of an event map of {device.name}",
                where=curve.where,
                remedy=f"give the inputs of its maps: {has}" if has else "fit another device",
            )
        self._shape = curve.shape if any("width" in maps[name].fixed for name in self._inputs) else None
        self._seen = seen_of(device, curve)
        self._count = counts(curve)
        sequence = curve["sequence"] if "sequence" in curve.columns else np.zeros(len(curve))
        first = np.flatnonzero(np.diff(sequence, prepend=np.nan) != 0.0)
        self._sequences = np.split(np.arange(len(curve)), first[1:])
        self._order = self._planned()
        fixed = {*device.conventions, *self._conditions}
        self.active = tuple(entry.name for entry in device.params if entry.name not in fixed)

    def evaluate(self, p: Values) -> Array:
        """What is read of each row; all sequences are followed at once."""
        scalars = Values({name: float(np.ravel(value)[0]) for name, value in p.items()})
        maps = self.device.maps(scalars, shape=self._shape)
        sets = max(np.size(value) for value in p.values())
        seen = {state.name: np.empty((sets, len(self.curve))) for state in self.device.states}
        kernels = self._kernels()
        x = {
            state.name: np.broadcast_to(np.float64(p[state.initial]), (sets, len(self._sequences))).copy()
            for state in self.device.states
        }
        if kernels:
            self._follow(kernels, maps, x, p, seen)
        for running, rows, events in self._order if not kernels else ():
            for event in events:
                self._happen(maps[event.map], x, p, event)
            for name, value in x.items():
                seen[name][:, rows] = value[:, running]
        ports = {port.name: 0.0 for port in self.device.ports}
        read = self.device.observe(ports, Values(seen), p.with_(**self._conditions))[self._seen]
        found = np.array(np.broadcast_to(read, (sets, len(self.curve))), dtype=float)
        return found[0] if sets == 1 else found

    def _kernels(self) -> dict[str, MapKernel]:
        """The compiled maps, once they are worth it; empty where numpy runs them."""
        if self._conditions or next(_evaluated) < MANY:
            return {}
        found = {name: _compiled(self.device, name, self._shape) for name in self._inputs}
        return {name: kernel for name, kernel in found.items() if kernel is not None} if all(found.values()) else {}

    def _follow(
        self,
        kernels: Mapping[str, MapKernel],
        maps: Mapping[str, EventMap],
        x: Mapping[str, Array],
        p: Values,
        seen: Mapping[str, Array],
    ) -> None:
        """Fill ``seen`` (sets, rows) with the states after each row, from ``x`` (sets, sequences)."""
        shape = next(iter(x.values())).shape
        now = np.stack([value.ravel() for value in x.values()])
        own = np.stack([np.broadcast_to(p[entry.name], shape).ravel() for entry in self.params]).astype(float)
        places = np.arange(now.shape[1]).reshape(shape)
        for running, rows, events in self._order:
            for event in events:
                one, everyone = maps[event.map], event.which.size == shape[1]
                which = slice(None) if everyone else places[:, event.which].ravel()
                given = np.zeros((len(one.inputs), shape[0], event.which.size))
                for k, name in enumerate(one.inputs):
                    given[k] = event.inputs.get(name, 0.0)
                out = np.empty((now.shape[0] + len(one.outputs), shape[0] * event.which.size))
                kernels[event.map](now[:, which], given.reshape(len(one.inputs), -1), own[:, which], out)
                now[:, which] = out[: now.shape[0]]
            here = now.reshape(-1, *shape)
            for value, state in zip(seen.values(), here, strict=True):
                value[:, rows] = state[:, running]

    def _planned(self) -> list[tuple[Index, Index, list[_Event]]]:
        """The sequences that go on, their rows, and the events of these; one entry for each row of the longest."""
        order = []
        for j in range(max(map(len, self._sequences))):
            running = np.array([k for k, rows in enumerate(self._sequences) if len(rows) > j])
            rows = np.array([self._sequences[k][j] for k in running])
            events = []
            for again in range(int(self._count[rows].max())):
                for name, columns in self._inputs.items():
                    given = {entry: column[rows] for entry, column in columns.items()}
                    acts = np.any([column != 0.0 for column in given.values()], axis=0)
                    comes = (self._count[rows] > again) & acts
                    if comes.any():
                        here = {entry: column[comes] for entry, column in given.items()}
                        events.append(_Event(name, Values(here), rows[comes], running[comes]))
            order.append((running, rows, events))
        return order

    def _happen(self, event: EventMap, x: dict[str, Array], p: Values, what: _Event) -> None:
        """Move the states of the sequences in which the event comes."""
        everyone = what.which.size == len(self._sequences)
        before = Values(x if everyone else {name: value[:, what.which] for name, value in x.items()})
        now = (
            p.with_(**{name: column[what.rows] for name, column in self._conditions.items()}) if self._conditions else p
        )
        inputs = {name: what.inputs.get(name, 0.0) for name in event.inputs}
        after = event(before, Values(inputs), now)[0]
        for name, value in x.items():
            value[:, what.which] = after[name]

    def remarks(self, names: Sequence[str], p: Values) -> tuple[str, ...]:
        """Which maps were taken."""
        order = ", then ".join(repr(name) for name in self._inputs)
        return (f"each row is an event of the map {order} of {self.device.name}",)
