r"""Current–voltage loops in time: the device's state followed along the measured voltage.

Between two rows the voltage is a straight line in time, and the state follows dx/dt = r(v, x) by the exponential
midpoint rule (Hochbruck & Ostermann, "Exponential integrators", Acta Numerica 19, 209 (2010), sec. 2.4), with the
voltage h/2 ahead:

    x ← x + h φ(J h) r(v(t + h/2), x),   φ(u) = (e^u − 1)/u

with J the secant of r from x towards x + h r, over 0.02 at most and half of the way to the bound, where the rule has
the slope: at a kink of a window the slope jumps as a step passes it, and the prediction would jump with it. It is of
second order, exact where r is linear in x, as at the wall of a window, and stable however fast the state is there.
Steps do not depend on the parameters, so that the prediction is a continuous function of them; where halving them
changes the current at a minimum, or by more than a part of its noise, the fit goes on with smaller ones
(`LoopForward.finer`). All rows are solved at once (`trajectory`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from cosim.data.recording import Curve
from cosim.devices.base import Array, DeviceModel, Values
from cosim.errors import DataError, EmitError
from cosim.fitting import checks
from cosim.fitting.forward import Rows, SequenceForward, perturbed

if TYPE_CHECKING:
    from cosim.emit.numba_loop import Loop

# Steps along a whole loop, and at least so many between two rows (our choice).
STEPS, LEAST = 1024, 2
# Where they are too large at a minimum, smaller ones are taken, down to this many along a loop.
MOST = 32768
# A step of the state by less shows no secant, and needs none; the longest secant (our choice).
STILL, REACH = 1e-12, 0.02
# An integration error above this part of the current's range is said.
COARSE = 1e-3
# Halving the steps may change the current by this much of its noise, all rows together, where it changes it by more
# than `LEAST_SEEN` of its range: else the steps' error would bend chi-square, and shift what is found (our choice).
MOVED, LEAST_SEEN = 0.2, 1e-5


@lru_cache(maxsize=32)
def _compiled(model: DeviceModel, port: str, state: str) -> Loop | None:
    """The course of a device's state, compiled; None where numba is not there, or its rate has no text."""
    if find_spec("numba") is None:
        return None
    from cosim.emit.numba_loop import loop

    with suppress(EmitError):
        return loop(
            lambda v, w, p: model.total_rates({port: v}, Values({state: w}), p)[state],
            own=tuple(entry.name for entry in model.params),
        )
    return None


class LoopForward(SequenceForward):
    """The current along a loop, from the device's rates (module docstring)."""

    def __init__(self, device: DeviceModel, curve: Curve, rows: Rows) -> None:
        super().__init__(device, curve, rows)
        t, self._v = curve["time"], curve["voltage"]
        back = np.flatnonzero(np.diff(t) <= 0.0)
        if back.size:
            row = curve.lines[back[0] + 1] if curve.lines else int(back[0]) + 2
            raise DataError(
                f"the time of row {row}, {t[back[0] + 1]:g} s, is not later than the one before it, {t[back[0]]:g} s",
                where=curve.where,
                remedy="give the rows in the order in which they were measured, each with its own time",
            )
        self._maps, self._observed = t.size - 1, slice(None)
        self._dt, self._rise = np.diff(t), np.diff(self._v)
        self._steps = max(LEAST, -(-STEPS // max(self._maps, 1)))

    def _moved(self, w: Array, p: Values, *, at: slice, steps: int) -> Array:
        h = self._dt[at] / steps
        for k in range(steps):
            v = self._v[:-1][at] + self._rise[at] * ((k + 0.5) / steps)
            rate = self._rate(v, w, p)
            step = np.clip(h * rate, -np.minimum(REACH, 0.5 * w), np.minimum(REACH, 0.5 * (1.0 - w)))
            moves = np.abs(step) > STILL
            u = np.where(moves, (self._rate(v, w + step, p) - rate) / np.where(moves, step, 1.0) * h, 0.0)
            u = np.minimum(u, 50.0)
            small = np.abs(u) < 1e-8
            phi = np.where(small, 1.0 + 0.5 * u, np.expm1(u) / np.where(small, 1.0, u))
            w = np.clip(w + h * phi * rate, 0.0, 1.0)
        return w

    def _rate(self, v: Array, w: Array, p: Values) -> Array:
        rates = self.device.total_rates({self._port: v}, Values({self._state.name: w}), p)
        return np.asarray(np.broadcast_to(rates[self._state.name], np.shape(w)), dtype=float)

    def _courses(self, run: Loop, p: Values, sets: int) -> Array:
        """The states at every row for parameters that are scalars or (sets,); (sets, n)."""
        own = np.empty((sets, len(self.params)))
        for k, entry in enumerate(self.params):
            own[:, k] = p[entry.name]
        start = np.full(sets, 0.0) + p[self._state.initial]
        return run(self._v, self._dt, self._steps, start, own)

    def states(self, p: Values) -> Array:
        """The state at every row; (n,)."""
        run = _compiled(self.device, self._port, self._state.name)
        return super().states(p) if run is None else self._courses(run, p, 1)[0]

    def predict(self, p: Values) -> Array:
        """The current at every row; (n,)."""
        return self._observe(self.states(p), p)

    def linearise(self, p: Values, names: Sequence[str]) -> tuple[Array, Array]:
        """Prediction and derivatives; (n,), (k, n)."""
        run, k = _compiled(self.device, self._port, self._state.name), len(names)
        if run is None:
            return super().linearise(p, names)
        shifted, distance = perturbed(p, names, self.params, ndim=0)
        columns = {name: np.append(p[name], shifted[name]) for name in names}
        states = self._courses(run, p.with_(**columns), 2 * k + 1)
        seen = self._observe(states, p.with_(**{name: column[:, None] for name, column in columns.items()}))
        return seen[0], (seen[1 : k + 1] - seen[k + 1 :]) / distance[:, None]

    def _after(self, w: Array, p: Values) -> Array:
        return self._moved(w, p, at=slice(None), steps=self._steps)

    def _after_one(self, k: int, w: float, p: Values) -> float:
        return float(self._moved(np.array([w]), p, at=slice(k, k + 1), steps=self._steps)[0])

    def _observe(self, w: Array, p: Values) -> Array:
        """Current (A) in state ``w`` at each row's voltage."""
        flow = self.device.through({self._port: self._v}, Values({self._state.name: w}), p)[self._port]
        return np.asarray(flow, dtype=float)

    def check(self, p: Values, *, sign: bool = False, shift: bool = False) -> None:
        """Refuse a current of the other sign."""
        if not sign:
            checks.check_current(self.device.name, self.predict(p), self.curve)

    def _halved(self, p: Values) -> Array:
        """What halving the steps changes of the current; (n,)."""
        return np.asarray(self._in(2 * self._steps).predict(p) - self.predict(p))

    def _error(self, p: Values) -> float:
        """What halving the steps changes of the current, over its range."""
        return float(np.max(np.abs(self._halved(p)))) / float(np.ptp(self.predict(p)))

    def _in(self, steps: int) -> LoopForward:
        made = LoopForward(self.device, self.curve, self.fitted)
        made._steps = steps
        return made

    def finer(self, p: Values, *, noise: Array) -> LoopForward | None:
        """In so many more steps as a second-order rule needs; None where they suffice, or are as many as allowed."""
        halved, error = self._halved(p), self._error(p)
        excess = error / COARSE
        if error > LEAST_SEEN:
            # No parameter moves by a larger part of its standard error than this (Cauchy–Schwarz).
            excess = max(excess, float(np.linalg.norm((halved / noise)[self.fitted])) / MOVED)
        if excess <= 1.0 or self._steps * self._maps >= MOST:
            return None
        wanted = math.ceil(self._steps * min(math.sqrt(2.0 * excess), 8.0))
        return self._in(min(max(wanted, 2 * self._steps), max(MOST // self._maps, self._steps + 1)))

    def remarks(self, names: Sequence[str], p: Values) -> tuple[str, ...]:
        """An integration that the rows are too far apart for."""
        error = self._error(p)
        if error <= COARSE:
            return ()
        return (
            f"halving the integration steps changes the current by up to {error:.1%} of its range: the rows are too "
            "far apart for so fast a state; measure more of them along the loop",
        )
