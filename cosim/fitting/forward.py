"""What a device predicts for a measured curve, and how the prediction changes with each parameter.

A `Forward` is made for one curve and one device, and calls that device's functions. Derivatives are central
differences of those functions, all parameters in one call.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cosim import units
from cosim.data.kinds import KINDS
from cosim.data.recording import Curve
from cosim.devices.base import Array, DeviceModel, Param, State, Values
from cosim.errors import InputError
from cosim.fitting import trajectory

Rows = NDArray[np.bool_]
Index = NDArray[np.int64]
# Whose the bounds of a parameter are (`Param.source`) where they are not physical.
THE_DATA, THE_CALLER = "the data", "the caller"


# A difference is more than the predictions' error where it is this many times as large: of five rows that are noise one
# draw in sixty is (our choice).
SEEN = 3.0
# A bend up to this share of the range may be rounding.
BENDS = 1e-6
# How the relative step of a difference grows that shows nothing, and up to where.
WIDER, WIDEST = 30.0, 3e-2


def perturbed(p: Values, names: Sequence[str], params: Sequence[Param], *, ndim: int = 1) -> tuple[Values, Array]:
    """Columns of parameters for central differences: each of ``names`` up, then each down.

    Returns:
        ``p`` with every named parameter as an array (2k, 1, ...) of ``ndim`` trailing axes, and the k distances.
        A parameter at a bound is moved to one side only.
    """
    k, by_name = len(names), {entry.name: entry for entry in params}
    changed: dict[str, Any] = {}
    distance = np.empty(k)
    for j, name in enumerate(names):
        entry = by_name[name]
        low, high = entry.bounds
        may_vanish = low <= 0.0 <= high and not (entry.is_scale and p[name])
        floor = 1e-3 * min(high - low, 1.0) if may_vanish else 0.0
        step = trajectory.DIFFERENCE * max(abs(p[name]), floor)
        column = np.full(2 * k, p[name], dtype=float)
        column[j], column[k + j] = min(p[name] + step, high), max(p[name] - step, low)
        distance[j] = column[j] - column[k + j]
        changed[name] = column.reshape((2 * k,) + (1,) * ndim)
    return p.with_(**changed), distance


@dataclass(frozen=True)
class Limits:
    """Ends of an interval, infinite where the curve sets no limit; ``determined``: whether they make a value known."""

    low: float
    high: float
    determined: bool = True


class Forward(ABC):
    """A device's prediction of one curve; `forward_for` makes the one for a curve's kind.

    Attributes:
        params: the parameters that it takes: the device's, and those that belong to the measurement only.
        active: the names among them that the prediction of this kind of curve can depend on.
        choices: keyword arguments of its constructor that a recipe may choose (``[ramps]``).
        tolerance: the relative change of chi-square below which a prediction is not smooth but rounding.
        expensive: whether a prediction takes a simulation: then a search makes few of them.
        formula: the law as it is written, where it is a closed form.
        level: whether it is one value for all rows: then it is held against zero, not against a constant.
        stand_in: a fast model of the same curve, from whose minimum a search of an expensive one starts.
        reach: a scale that nothing else bounds is searched between its start over this factor and its start times it.
    """

    params: tuple[Param, ...]
    active: tuple[str, ...]
    choices: ClassVar[tuple[str, ...]] = ()
    tolerance: float = 1e-10
    expensive: ClassVar[bool] = False
    formula: str = ""
    level: bool = False
    stand_in: Forward | None = None
    reach: float = math.inf

    @classmethod
    def suited(cls, curve: Curve) -> type[Forward]:
        """The class for a curve of its kind, which may depend on the columns that the curve has."""
        del curve
        return cls

    def limits(self, name: str, p: Values, height: float) -> Limits | None:
        """Ends of a parameter's interval, of Student's t ``height``, where the model knows its likelihood by itself.

        None: chi-square says it, as of nearly all parameters.
        """
        del name, p, height
        return None

    def bounds(self) -> dict[str, tuple[float, float]]:
        """The physical bounds of each parameter."""
        return {entry.name: entry.bounds for entry in self.params}

    @abstractmethod
    def predict(self, p: Values) -> Array:
        """The measured column as the device would give it; (n,), in the column's unit."""

    def predict_each(self, places: Sequence[Values]) -> list[Array]:
        """`predict` at each of several places; (n,) each."""
        return [self.predict(p) for p in places]

    @abstractmethod
    def linearise(self, p: Values, names: Sequence[str]) -> tuple[Array, Array]:
        """The prediction (n,) and its derivative by each of ``names`` (k, n)."""

    def families(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """``names`` by what a simpler law would leave out at once: each alone."""
        return [(name,) for name in names]

    @abstractmethod
    def guess(self, p: Values) -> Mapping[str, float]:
        """Start values read off the fitted rows of the curve, for the parameters where that is possible."""

    def check(self, p: Values, *, sign: bool = False, shift: bool = False) -> None:
        """Refuse a curve that contradicts the device in sign, order of rows or kind, before any fit (`checks`).

        ``p`` are parameters to ask the model with: only the direction of its answers counts. ``sign`` and ``shift``
        say whether the recipe states them for a column: they are not doubted then. Raises `DataError`.
        """
        del p, sign, shift

    def repeated(self, predicted: Array) -> Index | None:
        """A number for each row, the same where rows repeat each other; None where that is not known."""
        del predicted
        return None

    def remarks(self, names: Sequence[str], p: Values) -> tuple[str, ...]:
        """What this kind of curve cannot determine, however good the fit, when ``names`` vary and end at ``p``."""
        return ()

    def finer(self, p: Values, *, noise: Array) -> Forward | None:
        """The same prediction in smaller steps, where its own are too large at ``p``; None where they are not.

        ``noise``: (n,) standard deviation of each row.
        """
        return None

    def finish(self, values: Mapping[str, float]) -> dict[str, float]:
        """The device parameters that ``values`` of `params` amount to."""
        return dict(values)

    def provenance(self) -> dict[str, str]:
        """What a prediction depends on beside curve, recipe and cosim: hashes and versions, by name."""
        return {}


class ExplicitForward(Forward):
    """A prediction without a memory from row to row: ``evaluate`` takes parameters (m, 1) and gives (m, n) or (n,)."""

    _last: tuple[Values, Array] | None = None

    @abstractmethod
    def evaluate(self, p: Values) -> Array:
        """The prediction for parameters that broadcast against the rows."""

    def predict(self, p: Values) -> Array:
        """The prediction; (n,). The last one is kept: derivatives follow it at the same place."""
        if self._last is None or self._last[0] != p:
            self._last = p, np.asarray(self.evaluate(p), dtype=float)
        return self._last[1]

    def linearise(self, p: Values, names: Sequence[str]) -> tuple[Array, Array]:
        """Prediction and derivatives; (n,), (k, n)."""
        shifted, distance = perturbed(p, names, self.params)
        predicted, k = self.predict(p), len(names)
        # Where none of the parameters acts, the prediction has no columns for them.
        both = np.broadcast_to(np.asarray(self.evaluate(shifted), dtype=float), (2 * k, predicted.size))
        return predicted, (both[:k] - both[k:]) / distance[:, None]


class PointForward(Forward):
    """A prediction for one place at a time: derivatives are differences of `predict_each`, all in one call.

    A difference that is no larger than the error of the predictions shows no derivative, but would be a huge one of a
    tiny parameter. The step is widened then, and where even `WIDEST` shows nothing the derivative is 0.

    Attributes:
        difference: step of the differences, relative to a parameter's size.
        roughness: RMS error of a prediction, over its range, as far as it is known.
        over: of a function of one column, the only one of the curve beside what was measured: its name.
    """

    difference: float = trajectory.DIFFERENCE
    roughness: float = 0.0
    over: str = ""

    @abstractmethod
    def predict_each(self, places: Sequence[Values]) -> list[Array]:
        """The prediction at each place; (n,) each, NaN where there is none."""

    def predict(self, p: Values) -> Array:
        """The prediction; (n,)."""
        return self.predict_each([p])[0]

    def linearise(self, p: Values, names: Sequence[str]) -> tuple[Array, Array]:
        """Prediction and derivatives; (n,), (k, n).

        A parameter is moved to one side only at a physical bound, and where the other side has no prediction.
        """
        by_name = {entry.name: entry for entry in self.params}
        steps = np.array([_size(by_name[name], float(p[name])) for name in names], dtype=float)
        predicted, slopes, drowned = self._differences(p, names, self.difference * steps)
        widened = self.difference
        while drowned.any() and widened < WIDEST:
            widened = min(WIDER * widened, WIDEST)
            again = np.flatnonzero(drowned)
            _, slopes[again], drowned[again] = self._differences(
                p, [names[int(j)] for j in again], widened * steps[again]
            )
        # What has all but vanished would be seen again at its usual size.
        usual = np.array([abs(by_name[name].default) for name in names], dtype=float)
        if (again := np.flatnonzero(drowned & (usual > steps))).size:
            _, slopes[again], drowned[again] = self._differences(
                p, [names[int(j)] for j in again], WIDEST * usual[again]
            )
        slopes[drowned] = 0.0
        return predicted, slopes

    def _differences(self, p: Values, names: Sequence[str], steps: Array) -> tuple[Array, Array, Rows]:
        """Prediction (n,), derivatives (k, n), and true where these are the predictions' error (k,)."""
        by_name, places = {entry.name: entry for entry in self.params}, [p]
        for name, step in zip(names, steps.tolist(), strict=True):
            value, (low, high) = float(p[name]), by_name[name].bounds
            places += [p.with_(**{name: min(value + step, high)}), p.with_(**{name: max(value - step, low)})]
        predicted, *moved = self.predict_each(places)
        ends = [
            (found, at) if np.all(np.isfinite(found)) else (predicted, p)
            for found, at in zip(moved, places[1:], strict=True)
        ]
        slopes, drowned = np.full((len(names), predicted.size), np.nan), np.zeros(len(names), dtype=bool)
        for k, (name, (up, above), (down, below)) in enumerate(zip(names, ends[::2], ends[1::2], strict=True)):
            if (distance := float(above[name]) - float(below[name])) > 0.0:
                with np.errstate(invalid="ignore"):  # where there is no prediction there is no derivative
                    slopes[k] = (up - down) / distance
                    drowned[k] = self._drowned(
                        down, predicted, up, both=float(below[name]) < float(p[name]) < float(above[name])
                    )
        return predicted, slopes, drowned

    def _drowned(self, down: Array, here: Array, up: Array, *, both: bool) -> bool:
        """Whether three predictions differ by their errors alone: by no more than their bend, if to ``both`` sides."""
        slope, bend = _rms(up - down) / math.sqrt(2.0), _rms(up - 2.0 * here + down) / math.sqrt(6.0)
        span = float(np.ptp(here))
        # A bend beyond rounding may be the law's.
        error = max(self.roughness * span, min(bend, BENDS * span) if both else 0.0)
        return 0.0 < slope <= SEEN * error

    def guess(self, p: Values) -> Mapping[str, float]:
        """Empty: nothing is known of the law but its values."""
        return {}


def _size(entry: Param, value: float) -> float:
    """What a step of a difference is a part of."""
    span = entry.bounds[1] - entry.bounds[0]
    return abs(value) or abs(entry.default) or (span if math.isfinite(span) else 1.0)


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


class DeviceForward(Forward):
    """A device's prediction of a curve, of which the rows ``fitted`` (n,) are looked at."""

    device: DeviceModel
    curve: Curve
    fitted: Rows

    def guess(self, p: Values) -> Mapping[str, float]:
        """Start values that the device reads off such a curve."""
        return self.device.guess(self.curve.kind, self.curve.columns, rows=self.fitted, p=p)


class SequenceForward(DeviceForward):
    """A prediction that follows the device's only state from row to row, solved for all rows at once (`trajectory`)."""

    def __init__(self, device: DeviceModel, curve: Curve, rows: Rows) -> None:
        self._port, self._state = only_port(device, curve), only_state(device, curve)
        self.state_name = self._state.name
        self.device, self.curve, self.fitted = device, curve, rows
        self.params = device.params
        self.active = tuple(entry.name for entry in device.params if entry.name not in device.conventions)
        self._states: Array | None = None
        self._solved: tuple[Values, Array, Array] | None = None

    # How many maps lead to the states, and which states are observed.
    _maps: int
    _observed: slice

    @abstractmethod
    def _after(self, w: Array, p: Values) -> Array:
        """The state after each map, column k by map k; (m, maps) -> (m, maps)."""

    @abstractmethod
    def _after_one(self, k: int, w: float, p: Values) -> float:
        """The state after map ``k``."""

    @abstractmethod
    def _observe(self, w: Array, p: Values) -> Array:
        """What is measured of each observed state; (m, n) -> (m, n)."""

    def _solve(self, p: Values) -> tuple[Array, Array]:
        """All states at ``p`` and the slopes from each to the next; kept: derivatives follow the prediction there."""
        if self._solved is not None and self._solved[0] == p:
            return self._solved[1:]
        w0 = float(p[self._state.initial])
        guess = np.full(self._maps + 1, w0) if self._states is None else self._states.copy()
        states, slope, converged = trajectory.solve(partial(self._after, p=p), w0, guess=guess)
        if not converged:
            states = trajectory.sequential(partial(self._after_one, p=p), w0, self._maps)
            slope = trajectory.slopes(partial(self._after, p=p), states[:-1])[1]
        self._states, self._solved = states, (p, states, slope)
        return states, slope

    def states(self, p: Values) -> Array:
        """The state before the first map and after each; (maps + 1,)."""
        return self._solve(p)[0]

    def predict(self, p: Values) -> Array:
        """The measured column; (n,)."""
        return self._observe(self._solve(p)[0][self._observed], p)

    def linearise(self, p: Values, names: Sequence[str]) -> tuple[Array, Array]:
        """Prediction and derivatives; (n,), (k, n). Cost: two calls of the maps with 2k columns."""
        states, slope = self._solve(p)
        shifted, distance = perturbed(p, names, self.params)
        k = len(names)
        moved = self._after(np.broadcast_to(states[:-1], (2 * k, slope.size)), shifted)
        source = np.zeros((states.size, k))
        source[1:] = ((moved[:k] - moved[k:]) / distance[:, None]).T
        if self._state.initial in names:
            source[0, list(names).index(self._state.initial)] = 1.0
        sensitivity = trajectory.accumulate(slope, source)[self._observed].T
        w = states[self._observed]
        read, gain = trajectory.slopes(partial(self._observe, p=p), w)
        seen = self._observe(np.broadcast_to(w, (2 * k, w.size)), shifted)
        return read, gain * sensitivity + (seen[:k] - seen[k:]) / distance[:, None]


def alike(columns: Sequence[Array]) -> Index:
    """A number for each row (n,), the same where all ``columns`` (n,) agree."""
    return np.unique(np.column_stack(columns), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def each_row(device: DeviceModel, curve: Curve, taken: Sequence[str]) -> dict[str, Array]:
    """The parameters that have a column, beside those ``taken`` otherwise: (n,) each, in the parameter's unit.

    Raises `InputError` for a column that no parameter of the device is, or that is in another unit.
    """
    known, found = {entry.name: entry.unit for entry in device.params}, {}
    for name in curve.columns:
        if name in taken:
            continue
        if name not in known or units.dimension(curve.units[name]) != units.dimension(known[name]):
            listed = ", ".join(f"{entry} ({unit})" for entry, unit in known.items())
            raise InputError(
                f"column {name!r} in {curve.units[name]} is not a parameter of {device.name}",
                where=curve.where,
                remedy=f"it has {listed}",
            )
        found[name] = curve[name]
    return found


def only_port(device: DeviceModel, curve: Curve) -> str:
    """The name of a two-terminal device's port; raises `InputError` for any other device."""
    if len(device.ports) != 1 or device.ports[0].nature != "electrical":
        raise InputError(
            f"{device.name} has ports {', '.join(port.name for port in device.ports)}",
            remedy=f"a curve of kind {curve.kind!r} needs a device with two terminals"
            + (", kind = 'transient' does not" if "time" in curve.columns else ""),
        )
    return device.ports[0].name


def only_state(device: DeviceModel, curve: Curve) -> State:
    """The only state of a device, between 0 and 1; raises `InputError` for a device that has none or several."""
    states = device.all_states
    if len(states) != 1 or states[0].bounds != (0.0, 1.0):
        has = f"the states {', '.join(state.name for state in states)}" if states else "no state"
        kind = "'transient'" if states else "'i-v'"
        remedy = f"write kind = {kind}" if "voltage" in curve.columns else "fit another device"
        raise InputError(
            f"{device.name} has {has}, and a curve of kind {curve.kind!r} follows one state between 0 and 1",
            remedy=remedy,
        )
    return states[0]


def forward_for(device: DeviceModel, curve: Curve, rows: Rows, *, law: Mapping[str, str] | None = None) -> Forward:
    """The `Forward` for a curve's kind, of which ``rows`` (n,) are fitted: nothing is learnt from the others.

    ``law`` holds choices of the kind, if it has any (``[ramps]`` of a recipe).
    """
    module, _, name = KINDS[curve.kind].forward.partition(":")
    made = getattr(import_module(f"cosim.fitting.forwards.{module}"), name).suited(curve)
    found: Forward = made(device, curve, rows, **{name: law[name] for name in made.choices if law and name in law})
    return found
