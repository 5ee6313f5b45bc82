"""Trains of programming pulses: the read value after each, from the device's map of one pulse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from cosim.data.recording import Curve
from cosim.devices.base import Array, DeviceModel, Values
from cosim.devices.pulse import ClosedPulse, PulseShape
from cosim.errors import EmitError, InputError
from cosim.fitting import checks
from cosim.fitting.forward import Index, Rows, SequenceForward, each_row

if TYPE_CHECKING:
    from cosim.emit.numba_train import Train

# A process that has solved so many trains in numpy has spent on them what compiling the pulse costs, and compiles it.
MANY = 1500
# A prediction that moves by less of its range has not moved.
SAME = 1e-9
_TIMES = ("width", "rise", "fall")
_solved = count()


@lru_cache(maxsize=16)
def _compiled(model: DeviceModel, shape: PulseShape, v_read: float) -> Train | None:
    """The train of a device, compiled; None where numba is not there, or a function has no text."""
    cell, port, state = model.pulse_cell(), model.ports[0].name, model.states[0].name
    if cell is None or find_spec("numba") is None:
        return None
    from cosim.emit.numba_train import train

    closed = ClosedPulse(cell, "rate", shape)
    with suppress(EmitError):
        return train(
            after=lambda v, w, p, sign: closed.part(v, w, p, polarity=sign, energy=False)[0],
            seen=lambda w, p: model.through({port: v_read}, Values({state: w}), p)[port] / v_read,
            own=tuple(entry.name for entry in model.params),
        )
    return None


class PulseTrainForward(SequenceForward):
    """The read value after each pulse of a train, from the device's pulse map (`trajectory`).

    Columns ``width``, ``rise`` and ``fall`` are those of each pulse; a column with a parameter's name is that parameter
    during each pulse, as a gate voltage, while reads are made with the parameter's own value.
    """

    def __init__(self, device: DeviceModel, curve: Curve, rows: Rows) -> None:
        self._map = checks.pulse_map(device)
        super().__init__(device, curve, rows)
        self._v, self._read = curve["amplitude"], curve["read"]
        self._maps, self._observed = self._v.size, slice(1, None)
        times: dict[str, Any] = {name: curve.columns.get(name, curve.conditions.get(name, 0.0)) for name in _TIMES}
        self._shape = PulseShape(**times) if "width" in curve.columns else replace(curve.shape, **times)
        self._each = each_row(device, curve, ("amplitude", "read", *_TIMES))
        self.active = tuple(name for name in self.active if name not in self._each)
        cell = device.pulse_cell()
        self._closed = None if cell is None else ClosedPulse(cell, "rate", self._shape)
        # Whether one compiled pulse serves every row.
        self._alike = not self._each and not any(map(np.ndim, vars(self._shape).values()))
        self._places = {entry.name: k for k, entry in enumerate(device.params)}
        self._first = self._places[self._state.initial]
        self._kept = np.empty(0), np.empty(0), np.empty((0, 0))  # of the last derivatives: parameters, reads, slopes
        self._v_read = curve.condition("v_read")
        if self._v_read == 0.0:
            raise InputError("v_read is 0 V", remedy="give the voltage at which the state was read")

    def _train(self) -> Train | None:
        """The compiled train, once it is worth it; None where numpy solves it."""
        if not self._alike or next(_solved) < MANY:
            return None
        return _compiled(self.device, self._shape, self._v_read)

    @property
    def _corrections(self) -> tuple[Array, ...]:
        """What corrects the state before each pulse, as `Train` takes it; empty: nothing."""
        return ()

    def _row(self, p: Values) -> Array:
        """The parameters; (k,)."""
        return np.array([p[name] for name in self._places], dtype=float)

    def predict(self, p: Values) -> Array:
        """The read after each pulse; (n,)."""
        run = self._train()
        if run is None:
            return super().predict(p)
        q = self._row(p)
        if not self._corrections and np.array_equal(q, self._kept[0]):
            return self._kept[1].copy()
        return run.reads(self._v, q[self._first], q, self._corrections)

    def linearise(self, p: Values, names: Sequence[str]) -> tuple[Array, Array]:
        """Prediction and derivatives; (n,), (k, n)."""
        run = self._train()
        if run is None:
            return super().linearise(p, names)
        q = self._row(p)
        if self._corrections or not np.array_equal(q, self._kept[0]):
            self._kept = q, *run.linearised(self._v, q[self._first], q, self._corrections, initial=self._first)
        _, reads, slopes = self._kept
        if not np.isfinite(slopes).all():  # a power below one, at an end of the states: no derivative, but steps
            return super().linearise(p, names)
        return reads.copy(), slopes[[self._places[name] for name in names]]

    def _after(self, w: Array, p: Values) -> Array:
        here = p.with_(**self._each) if self._each else p
        if self._closed is not None:  # without the energy
            return np.asarray(self._closed.part(self._v, w, here, energy=False)[0], dtype=float)
        return np.asarray(self._map(self._v, w, here, shape=self._shape)[0], dtype=float)

    def _after_each(self, k: int, w: Array | float, p: Values) -> Array:
        """The states after pulse k from any, as ``w``."""
        here = p.with_(**{name: float(column[k]) for name, column in self._each.items()})
        return np.asarray(self._map(self._v[k], w, here, shape=self._shape_by(lambda times: times[k]))[0], dtype=float)

    def _after_one(self, k: int, w: float, p: Values) -> float:
        return float(self._after_each(k, w, p))

    def _shape_by(self, choose: Callable[[Array], float]) -> PulseShape:
        """The shape of one pulse, where they differ."""
        times = {name: getattr(self._shape, name) for name in _TIMES}
        if all(isinstance(time, float) for time in times.values()):
            return self._shape
        return PulseShape(**{n: float(choose(t)) if isinstance(t, np.ndarray) else t for n, t in times.items()})

    def _observe(self, w: Array, p: Values) -> Array:
        """Read conductance (S) of the whole device in state ``w``."""
        flow = self.device.through({self._port: self._v_read}, Values({self._state.name: w}), p)
        return np.asarray(flow[self._port] / self._v_read, dtype=float)

    def check(self, p: Values, *, sign: bool = False, shift: bool = False) -> None:
        """Refuse reads that follow another row's pulse, and pulses that move the read against the model."""
        direction = self._direction(p)
        if direction and not shift:
            checks.check_shift(self.curve)
        if direction and not sign:
            checks.check_pulses(self.device, self.curve, direction)

    def _direction(self, p: Values) -> int:
        """1 where positive pulses raise the model's read and negative ones lower it, -1 the other way; 0: neither."""
        start, usual = np.array([0.5, 0.5]), self._shape_by(np.median)
        for factor in (1.0, 2.0, 4.0, 8.0):  # the threshold of `p` may lie above the amplitudes
            top = factor * float(np.abs(self._v).max())
            after = np.asarray(self._map(np.array([top, -top]), start, p, shape=usual)[0], dtype=float)
            up, down = np.sign(self._observe(after, p) - self._observe(start, p))
            if up * down == -1.0:
                return int(up)
        return 0

    def repeated(self, predicted: Array) -> Index | None:
        """Rows between which the model does not move."""
        moved = np.abs(np.diff(predicted)) > SAME * max(float(np.ptp(predicted)), 1e-300)
        return np.concatenate([[0], np.cumsum(moved)]).astype(np.int64)
