"""Pairs of a presynaptic and a postsynaptic pulse of any shape: what each delay between them changes (an STDP window).

The shapes are stated with the data, ``[data.pulses]``: corners (s, V), straight between them, zero before and after; a
pair of corners at one time is a jump. The postsynaptic pulse comes ``delay`` after the presynaptic one, each counted
from the zero of its own time. A device with two terminals has the presynaptic pulse on the first and the postsynaptic
one on the second, so that it sees their difference; a device with ports ``pre`` and ``post`` has each at its own.

Each row starts anew, in the initial states or in those of columns with a state's name. ``step`` is the change of the
device's first reading (in 1 over the reading before the pair), ``read`` or ``read_NAME`` what is read afterwards. A
column ``count`` repeats the pair, a column with a parameter's name is a condition.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cosim.data.recording import PULSES, Recording
from cosim.devices.base import Array, DeviceModel, Operand, Values
from cosim.devices.integrate import Segment, sweep
from cosim.devices.maps import ARMED
from cosim.errors import InputError
from cosim.fitting.forward import Rows, only_port
from cosim.fitting.forwards.events import counts, seen_of
from cosim.fitting.forwards.step_table import TableForward, of_device

# Of a step, as a fraction of a state's range (our choice).
TOLERANCE = 1e-5


class PairForward(TableForward):
    """The outcome of one pair, or several equal ones, per row (module docstring)."""

    def __init__(self, device: DeviceModel, curve: Recording, rows: Rows) -> None:
        self.device, self.curve, self.fitted, self.params = device, curve, rows, device.params
        for name in PULSES:
            if name not in curve.pulses:
                raise InputError(
                    f"the shape of the {name}synaptic pulse is not stated",
                    where=curve.where,
                    remedy=f'write data.pulses.{name} = [["0 ms", "0 V"], ["1 ms", "2 V"], ["2 ms", "0 V"]]',
                )
        if {*PULSES} <= {port.name for port in device.ports}:
            weights = {name: {name: 1.0} for name in PULSES}
        else:
            weights = {only_port(device, curve): {"pre": 1.0, "post": -1.0}}
        self._segments = _segments(curve, weights)
        found = of_device(device, curve, {}, spare=(curve.measured_name, "delay", "count"))
        self._states, self._conditions = found["states"], found["parameters"]
        self._seen = seen_of(device, curve)
        self._count = counts(curve)
        fixed = {*device.conventions, *self._conditions, *(s.initial for s in device.states if s.name in self._states)}
        self.active = tuple(entry.name for entry in device.params if entry.name not in fixed)

    def evaluate(self, p: Values) -> Array:
        """What was measured of each row's pair."""
        p = p.with_(**self._conditions)
        pause = ARMED * max((float(np.max(p[event.settle])) for event in self.device.events), default=0.0)
        segments = [*self._segments, *([Segment(pause, {}, {})] if pause else [])]
        shape = np.broadcast_shapes((len(self.curve),), *(np.shape(value) for value in p.values()))
        x = Values({s.name: self._states.get(s.name, p[s.initial]) for s in self.device.states})
        x = Values({name: np.broadcast_to(np.float64(value), shape) for name, value in x.items()})
        before = self._read(x, p)
        for again in range(int(self._count.max())):
            after = sweep(self.device, p, segments=segments, x0=x, tolerance=TOLERANCE, energy=False)[0]
            comes = self._count > again
            x = Values({name: np.where(comes, after[name], x[name]) for name in x})
        found = self._read(x, p)
        if self.curve.measured_name == "step":
            found = found - before
            if self.curve.measured_unit != self.device.visible[self._seen]:
                found = found / before
        return np.asarray(found, dtype=float)

    def _read(self, x: Values, p: Values) -> Operand:
        return self.device.observe({port.name: 0.0 for port in self.device.ports}, x, p)[self._seen]


def _segments(curve: Recording, weights: Mapping[str, Mapping[str, float]]) -> list[Segment]:
    """The straight pieces of every row's pair; ``weights`` says how much of which pulse is at which port."""
    corners = {name: np.array(curve.pulses[name]) for name in PULSES}
    shift = {"pre": np.zeros((len(curve), 1)), "post": curve["delay"][:, None]}
    times = np.sort(np.concatenate([corners[name][:, 0] + shift[name] for name in PULSES], axis=1), axis=1)
    found = []
    for begin, end in zip(times[:, :-1].T, times[:, 1:].T, strict=True):
        length = end - begin
        if not length.any():
            continue
        # Two points inside a piece give both of its ends, whatever jumps there.
        inner = {}
        for name in PULSES:
            at = [begin + length * part - shift[name][:, 0] for part in (1.0 / 3.0, 2.0 / 3.0)]
            own = corners[name]
            inner[name] = [np.interp(t, own[:, 0], own[:, 1], left=0.0, right=0.0) for t in at]
        ends = {name: (2.0 * one - other, 2.0 * other - one) for name, (one, other) in inner.items()}
        at_port = [
            {port: sum(part * ends[name][side] for name, part in shares.items()) for port, shares in weights.items()}
            for side in (0, 1)
        ]
        found.append(Segment(length, at_port[0], at_port[1]))
    return found
