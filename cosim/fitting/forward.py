"""What a device predicts for a measured curve, and how the prediction changes with each parameter.

A `Forward` is made for one curve and one device; it calls the device's own functions. Derivatives are central
differences of those functions, all parameters in one call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array, DeviceModel, Param, Values
from cosim.devices.pulse import PulseShape, apply_pulse
from cosim.devices.threshold import ThresholdMemristor
from cosim.errors import FitError, InputError
from cosim.fitting import trajectory
from cosim.fitting.curve import Curve

PulseMap = Callable[..., tuple[Any, Any]]
Rows = NDArray[np.bool_]
# Voltages (V) at which it is asked whether a static current depends on a parameter.
PROBE = np.logspace(-2.0, 1.0, 7)


def perturbed(
    p: Values, names: Sequence[str], bounds: Mapping[str, tuple[float, float]], *, ndim: int = 1
) -> tuple[Values, Array]:
    """Columns of parameters for central differences: each of ``names`` up, then each down.

    Returns:
        ``p`` with every named parameter as an array (2k, 1, ...) of ``ndim`` trailing axes, and the k distances.
        A parameter at a bound is moved to one side only.
    """
    k = len(names)
    changed: dict[str, Any] = {}
    distance = np.empty(k)
    for j, name in enumerate(names):
        low, high = bounds[name]
        floor = 1e-3 * min(high - low, 1.0) if low <= 0.0 <= high else 0.0  # of what may be zero
        step = trajectory.DIFFERENCE * max(abs(p[name]), floor)
        column = np.full(2 * k, p[name], dtype=float)
        column[j], column[k + j] = min(p[name] + step, high), max(p[name] - step, low)
        distance[j] = column[j] - column[k + j]
        changed[name] = column.reshape((2 * k,) + (1,) * ndim)
    return p.with_(**changed), distance


class Forward(ABC):
    """A device's prediction of one curve.

    Attributes:
        params: the parameters that it takes: the device's, and those that belong to the measurement only.
        active: the names among them that the prediction of this kind of curve can depend on.
    """

    params: tuple[Param, ...]
    active: tuple[str, ...]

    def bounds(self) -> dict[str, tuple[float, float]]:
        """The physical bounds of each parameter."""
        return {entry.name: entry.bounds for entry in self.params}

    @abstractmethod
    def predict(self, p: Values) -> Array:
        """The measured column as the device would give it; (n,), in the column's unit."""

    @abstractmethod
    def linearise(self, p: Values, names: Sequence[str]) -> tuple[Array, Array]:
        """The prediction (n,) and its derivative by each of ``names`` (k, n)."""

    @abstractmethod
    def guess(self, p: Values) -> dict[str, float]:
        """Start values read off the fitted rows of the curve, for the parameters where that is possible."""

    def remarks(self, names: Sequence[str]) -> tuple[str, ...]:
        """What a curve of this kind cannot tell, whatever the fit's quality, when ``names`` vary."""
        return ()

    def finish(self, values: Mapping[str, float]) -> dict[str, float]:
        """The device parameters that ``values`` of `params` amount to."""
        return dict(values)


class ExplicitForward(Forward):
    """A prediction without a memory from row to row: ``evaluate`` takes parameters (m, 1) and gives (m, n) or (n,)."""

    @abstractmethod
    def evaluate(self, p: Values) -> Array:
        """The prediction for parameters that broadcast against the rows."""

    def predict(self, p: Values) -> Array:
        """The prediction; (n,)."""
        return np.asarray(self.evaluate(p), dtype=float)

    def linearise(self, p: Values, names: Sequence[str]) -> tuple[Array, Array]:
        """Prediction and derivatives; (n,), (k, n)."""
        shifted, distance = perturbed(p, names, self.bounds())
        predicted, k = self.predict(p), len(names)
        # Where none of the parameters acts, the prediction has no columns for them.
        both = np.broadcast_to(np.asarray(self.evaluate(shifted), dtype=float), (2 * k, predicted.size))
        return predicted, (both[:k] - both[k:]) / distance[:, None]


class StaticForward(ExplicitForward):
    """A static I–V curve of a device with one electrical port; its states, if any, stay at their initial values."""

    def __init__(self, device: DeviceModel, curve: Curve, rows: Rows) -> None:
        ports = [port for port in device.ports if port.nature == "electrical"]
        if len(device.ports) != 1 or len(ports) != 1:
            raise InputError(f"{device.name} has more than one port", remedy="an I–V fit needs a two-terminal device")
        self._device, self._port, self._v = device, ports[0].name, curve["voltage"]
        self._fitted = curve["voltage"][rows], curve["current"][rows]
        self.params = device.params
        self.active = tuple(entry.name for entry in device.params if self._acts(entry))

    def _acts(self, entry: Param) -> bool:
        """Whether the current depends on a parameter: at its bounds or its default, at some voltage, in some state."""
        v = np.concatenate([-PROBE, [0.0], PROBE])
        for share in (0.0, 0.5, 1.0):  # of all states' ranges: at an end of it a parameter may have no part
            states = {state.initial: state.bounds[0] + share * np.ptp(state.bounds) for state in self._device.states}
            p = Values({other.name: other.default for other in self.params} | states)
            with np.errstate(all="ignore"):
                first, *others = (
                    np.asarray(self._current(v, p.with_(**{entry.name: np.float64(value)})))
                    for value in (entry.default, *entry.bounds)
                )
            if any(not np.array_equal(first, other, equal_nan=True) for other in others):
                return True
        return False

    def _current(self, v: Array, p: Values) -> Any:
        return self._device.through({self._port: v}, self._device.initial(p), p)[self._port]

    def evaluate(self, p: Values) -> Array:
        """The current (A) at each voltage."""
        return np.asarray(self._current(self._v, p), dtype=float)

    def guess(self, p: Values) -> dict[str, float]:
        """A triode's conductance from the points nearest to zero volts; nothing for other devices."""
        if "g_on" not in p:
            return {}
        v, current = self._fitted
        near = np.argsort(np.abs(v))[: max(5, v.size // 20)]
        return {"g_on": abs(float(v[near] @ current[near] / (v[near] @ v[near])))}


def pulse_map(device: DeviceModel) -> PulseMap:
    """The device's map of one pulse; raises where it has none."""
    own = getattr(device, "pulse", None)
    if callable(own):
        found: PulseMap = own
        return found
    if isinstance(device, ThresholdMemristor):
        return lambda v, w, p, *, shape: apply_pulse(device, p, v=v, w=w, shape=shape)
    raise InputError(f"{device.name} has no map of a pulse", remedy="fit cell_1t1r or threshold_memristor")


class PulseTrainForward(Forward):
    """The read value after each pulse of a train, from the device's pulse map (`trajectory`)."""

    def __init__(self, device: DeviceModel, curve: Curve, rows: Rows) -> None:
        self._device, self._port, self._map = device, device.ports[0].name, pulse_map(device)
        self.curve, self._v, self._read, self._rows = curve, curve["amplitude"], curve["read"], rows
        self._shape: PulseShape = curve.shape
        self._v_read = curve.condition("v_read")
        if self._v_read == 0.0:
            raise InputError("v_read is 0 V", remedy="give the voltage at which the state was read")
        self.params = device.params
        self.active = tuple(entry.name for entry in device.params if entry.name != "t_event")
        self._states: Array | None = None

    def _after(self, w: Array, p: Values) -> Array:
        return np.asarray(self._map(self._v, w, p, shape=self._shape)[0], dtype=float)

    def _after_one(self, k: int, w: float, p: Values) -> float:
        return float(self._map(self._v[k], w, p, shape=self._shape)[0])

    def _observe(self, w: Array, p: Values) -> Array:
        """Read conductance (S) of the whole cell in state ``w``."""
        flow = self._device.through({self._port: self._v_read}, Values({"w": w}), p)
        return np.asarray(flow[self._port] / self._v_read, dtype=float)

    def _solve(self, p: Values) -> tuple[Array, Array]:
        w0 = float(p.w0)
        guess = np.full(self._v.size + 1, w0) if self._states is None else self._states.copy()
        states, slope, converged = trajectory.solve(partial(self._after, p=p), w0, guess=guess)
        if not converged:
            states = trajectory.sequential(partial(self._after_one, p=p), w0, self._v.size)
            slope = trajectory.slopes(partial(self._after, p=p), states[:-1])[1]
        self._states = states
        return states, slope

    def states(self, p: Values) -> Array:
        """The state before the first pulse and after each; (n + 1,)."""
        return self._solve(p)[0]

    def predict(self, p: Values) -> Array:
        """Read conductance (S) after each pulse; (n,)."""
        return self._observe(self._solve(p)[0][1:], p)

    def linearise(self, p: Values, names: Sequence[str]) -> tuple[Array, Array]:
        """Prediction and derivatives; (n,), (k, n). Cost: two calls of the pulse map with 2k columns."""
        states, slope = self._solve(p)
        shifted, distance = perturbed(p, names, self.bounds())
        k = len(names)
        moved = self._after(np.broadcast_to(states[:-1], (2 * k, slope.size)), shifted)
        source = np.zeros((states.size, k))
        source[1:] = ((moved[:k] - moved[k:]) / distance[:, None]).T
        if "w0" in names:
            source[0, list(names).index("w0")] = 1.0
        sensitivity = trajectory.accumulate(slope, source)[1:].T
        w = states[1:]
        read, gain = trajectory.slopes(partial(self._observe, p=p), w)
        seen = self._observe(np.broadcast_to(w, (2 * k, w.size)), shifted)
        return read, gain * sensitivity + (seen[:k] - seen[k:]) / distance[:, None]

    def guess(self, p: Values) -> dict[str, float]:
        """Range, initial state and thresholds from the reads (`start.from_pulse_train`)."""
        from cosim.fitting.start import from_pulse_train

        return from_pulse_train(self._v, self._read, self._rows)


def forward_for(device: DeviceModel, curve: Curve, rows: Rows, *, law: Mapping[str, str] | None = None) -> Forward:
    """The `Forward` for a curve's kind, of which ``rows`` (n,) are fitted: nothing is learnt from the others.

    ``law`` holds choices of the kind (`ramps.RampForward`).
    """
    if curve.kind == "pulse train":
        return PulseTrainForward(device, curve, rows)
    if curve.kind == "equal pulses":
        from cosim.fitting.ramps import RampForward

        return RampForward(device, curve, rows, **(law or {}))
    if curve.kind == "i-v":
        return StaticForward(device, curve, rows)
    raise FitError(f"a curve of kind {curve.kind!r} is a table of steps, not a curve of one device", remedy="see docs")
