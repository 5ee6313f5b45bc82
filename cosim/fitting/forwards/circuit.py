"""Any bench as the model of a curve: a prediction is a simulation, so that a fit sees the whole circuit.

The parameters are those of the device (its series resistance, access transistor and heater are in the circuit), under
their names; those of the bench's other devices as ``DEVICE.NAME``; and the circuit's own. What was applied replaces a
stimulus of the bench (``circuit.drive``); a sweep takes the voltages of the curve.

An adaptive time step makes waveforms jump by about their tolerance when a parameter moves. The step of the differences
follows from these jumps, which are measured once: h = (3 ε)^(1/3) of a parameter's size minimises the sum of jumps ε/h
and curvature h²/6. All runs of a Jacobian are simulated side by side. Our choices are said to be so below.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import ClassVar

import numpy as np

from cosim.bench.analyses import Ac, Dc, Tran
from cosim.bench.foreign import foreign_parameters
from cosim.bench.maps import closure
from cosim.bench.measures.kinds import At
from cosim.bench.stimulus_kinds import Knots, Pulses, Shape, StimulusKind
from cosim.bench.testbench import Testbench
from cosim.data.kinds import KINDS
from cosim.data.recording import Recording
from cosim.devices.base import Array, DeviceModel, Param, Values
from cosim.devices.registry import device as find_device
from cosim.errors import DataError, FitError, InputError, UnitError, UnknownName, at
from cosim.fitting import checks
from cosim.fitting.circuit import CircuitSpec
from cosim.fitting.events import EventRuns
from cosim.fitting.forward import WIDEST, PointForward, Rows, forward_for
from cosim.fitting.runs import Runs
from cosim.units import dimension, si_unit

# A voltage sweep that the rows do not follow in equal steps has at least so many points.
SWEPT = 2000
FINE = 1000  # points of a decade where the rows are on no grid
EQUAL = 1e-6  # of a step: rows so close to a grid are on it
# Runs this close together (relative) differ by the jumps of the simulator alone.
NEAR = 1e-5
# Step of the differences, relative; at the smallest a change of 1e-9 in the number of Newton's iterations does no harm.
SMALLEST = 1e-3
# A netlist's parameter without bounds is searched between a millionth of its start and a million times it: beyond them
# the circuit no longer shows it (our choice).
REACH = 1e6
# Of chi-square: below it the jumps of a simulation decide (our choice).
TOLERANCE = 1e-6
# A simulation that is repeated at tightened tolerances should not move by more than this part of the residuals.
MOVES = 0.3
_BARE = re.compile(r"(?:v|i)(?:db|ph?)\(|(?:ph|rad)\(", re.IGNORECASE)  # decibels and angles
READ = "fitted"  # the measure that reads a vector at the rows


class CircuitForward(PointForward):
    """What a bench gives at each row of a curve (module docstring).

    Args:
        bench: as its file has it.
        spec: which of its numbers was measured, and what was applied.
        device: of the recipe; None: the parameters are the bench's alone.
        curve: what was measured.
        rows: those that are fitted.
    """

    expensive: ClassVar[bool] = True
    tolerance = TOLERANCE
    reach = REACH

    def __init__(
        self, bench: Testbench, spec: CircuitSpec, device: DeviceModel | None, curve: Recording, rows: Rows
    ) -> None:
        self.device, self.curve, self.spec, self.original = device, curve, spec, bench
        self._sign, name = (-1.0, spec.read[1:].strip()) if spec.read.startswith("-") else (1.0, spec.read)
        with at("circuit"):
            slot = _slot(bench, spec, device)
            self._addresses, self.params = _parameters(bench, slot, device)
            self.runs = _runs(bench, spec, name, curve)
        idle = set(device.conventions) if device is not None else set()
        self.active = tuple(entry.name for entry in self.params if entry.name not in idle)
        self._nominal = {entry.name: entry.default for entry in self.params}
        self._measured = False
        self.stand_in, self._without = None, ""
        if device is not None and curve.kind != "values":
            try:
                self.stand_in = forward_for(device, curve, rows)
            except InputError as error:
                self._without = f"{device.name} alone cannot stand in for the circuit: {error.message}"

    def _place(self, p: Mapping[str, float]) -> dict[str, float]:
        return {
            address: float(p[name])
            for name, address in self._addresses.items()
            if float(p[name]) != self._nominal[name]
        }

    def predict_each(self, places: Sequence[Values]) -> list[Array]:
        """The measured column at each place, simulated side by side; (n,), NaN where a simulation has no answer."""
        return [self._sign * found for found in self.runs.at([self._place(p) for p in places])]

    def linearise(self, p: Values, names: Sequence[str]) -> tuple[Array, Array]:
        """Prediction and derivatives; (n,), (k, n)."""
        if not self._measured and names:
            self.roughness, self._measured = self._roughness(p, names), True
            self.difference = min(max((3.0 * self.roughness) ** (1.0 / 3.0), SMALLEST), WIDEST)
        return super().linearise(p, names)

    def differ_as(self, other: CircuitForward) -> None:
        """Take the step of the differences from the model of a part of this curve."""
        if other._measured:
            self.roughness, self.difference, self._measured = other.roughness, other.difference, True

    def _roughness(self, p: Values, names: Sequence[str]) -> float:
        """RMS of what the simulator alone makes of a move of all ``names`` by `NEAR`, over the curve's range."""
        low, high = (p.with_(**{name: float(p[name]) * (1.0 + s * NEAR) for name in names}) for s in (-1.0, 1.0))
        by_name = {entry.name: entry for entry in self.params}
        inside = all(by_name[n].bounds[0] <= float(q[n]) <= by_name[n].bounds[1] for n in names for q in (low, high))
        if not inside:
            low, high = p, p
        below, here, above = self.predict_each([low, p, high])
        jump = float(np.sqrt(np.mean((above - 2.0 * here + below) ** 2) / 6.0))
        return jump / float(np.ptp(self.curve.measured)) if math.isfinite(jump) else 0.0

    def check(self, p: Values, *, sign: bool = False, shift: bool = False) -> None:
        """Refuse a bench that does not run where the fit starts, and a current of the other sign."""
        predicted = self.predict(p)
        if not np.all(np.isfinite(predicted)):
            why = self.runs.failed[-1] if self.runs.failed else "the measure is not finite"
            raise FitError(
                f"bench {self.original.name} gives no curve at the start: {why}",
                remedy="correct the bench, or start from other values",
            )
        if not sign and "current" in self.curve.columns and "voltage" in self.curve.columns:
            named = self.device.name if self.device is not None else f"bench {self.original.name}"
            checks.check_current(named, predicted, self.curve)

    def departure(self, p: Values) -> float:
        """RMS of what tightened tolerances change at ``p``, over the curve's range; NaN where a run has no answer."""
        again, found = self._tight.at([self._place(p)])[0], self.runs.at([self._place(p)])[0]
        return float(np.sqrt(np.mean((again - found) ** 2))) / float(np.ptp(self.curve.measured))

    @cached_property
    def _tight(self) -> Runs | EventRuns:
        return self.runs.tightened()

    def remarks(self, names: Sequence[str], p: Values) -> tuple[str, ...]:
        """The final check in SPICE, beside tightened tolerances and the fast stand-in, and what could not be simulated.

        It takes one more simulation.
        """
        found, span = self.predict(p), float(np.ptp(self.curve.measured))
        misfit = float(np.sqrt(np.mean((found - self.curve.measured) ** 2))) / span
        moved, said = self.departure(p), []
        if math.isfinite(moved):
            tail = ""
            if moved > MOVES * misfit:
                tail = ": as large as the residuals; tighten options.reltol of the bench, or its max_step"
            said.append(
                f"final check in {self.runs.engine}: at tightened tolerances bench {self.original.name} moves by "
                f"{moved:.1g} of the range (residuals {misfit:.1g}){tail}"
            )
        else:
            why = self._tight.failed[-1]
            said.append(f"final check in {self.runs.engine}: no answer at tightened tolerances: {why}")
        if self.stand_in is not None:
            with np.errstate(all="ignore"):
                alone = self.stand_in.predict(Values({e.name: p[e.name] for e in self.stand_in.params}))
            apart = float(np.sqrt(np.mean((alone - found) ** 2))) / span
            said.append(
                f"{self.device.name if self.device else 'the stand-in'} alone, without the circuit, is off by "
                f"{apart:.1g} of the range at these values"
            )
        if self.runs.failed:
            reasons = "; ".join(dict.fromkeys(self.runs.failed))[:300]
            said.append(f"{len(self.runs.failed)} simulations had no answer, and the fit went round them: {reasons}")
        if self._without:
            said.append(self._without)
        return tuple(said)

    def provenance(self) -> dict[str, str]:
        """The bench with all its files, and the engine."""
        return {"bench": self.original.name, "bench_sha256": self.runs.digest(), "engine": self.runs.engine}


def _runs(bench: Testbench, spec: CircuitSpec, name: str, curve: Recording) -> Runs | EventRuns:
    if spec.map is not None or curve.kind == "step table":
        return EventRuns(bench, spec, name, curve)
    usual = KINDS[curve.kind].required(curve.columns)
    for column in curve.columns:
        if column not in usual and column not in bench.file.stimuli:
            raise UnknownName(
                f"stimulus of bench {bench.name} (a further column drives one)", column, bench.file.stimuli
            )
    measure, reduced = _reduced(bench, spec, name, curve)
    return Runs(reduced, measure, size=len(curve), engine=spec.engine, workers=spec.workers, wall=spec.wall)


def _slot(bench: Testbench, spec: CircuitSpec, device: DeviceModel | None) -> str | None:
    """The bench's name for the recipe's device."""
    if device is None:
        if spec.device is not None:
            with at("device"):
                raise InputError("circuit.device needs the recipe's device", remedy='write device = "..."')
        return None
    alike = [name for name, chosen in bench.sets.items() if chosen.device == device.name]
    if spec.device is not None:
        if spec.device not in bench.sets:
            with at("device"):
                raise UnknownName(f"device of bench {bench.name}", spec.device, bench.sets)
        if spec.device not in alike:
            with at("device"):
                raise InputError(
                    f"{spec.device} of bench {bench.name} is a {bench.sets[spec.device].device}, and the recipe's "
                    f"device is {device.name}",
                    remedy="name another of its devices",
                )
        return spec.device
    if len(alike) != 1:
        has = ", ".join(f"{name} ({chosen.device})" for name, chosen in bench.sets.items()) or "none"
        raise InputError(
            f"bench {bench.name} has {len(alike) or 'no'} device{'s' if len(alike) > 1 else ''} of {device.name}",
            remedy=f"write circuit.device; its devices: {has}",
        )
    return alike[0]


def _parameters(
    bench: Testbench, slot: str | None, device: DeviceModel | None
) -> tuple[dict[str, str], tuple[Param, ...]]:
    """Address and `Param` of everything that a fit may vary, with the bench's values for defaults."""
    addresses: dict[str, str] = {}
    params: list[Param] = []
    own = {entry.name: entry for entry in device.params} if device is not None else {}
    for name, quantity in bench.file.parameters.items():
        addresses[name] = f"parameters.{name}"
        meant = own.get(name)
        if meant is not None and meant.bounds[0] <= quantity.value <= meant.bounds[1]:  # the circuit passes it on
            params.append(replace(meant, default=quantity.value))
            continue
        # A value above zero stays there, but for voltages: a resistance, a saturation current, an exponent.
        positive = quantity.value > 0.0 and quantity.unit != "V"
        low = 0.0 if positive else -math.inf
        params.append(Param(name, quantity.value, quantity.unit, (low, math.inf), f"of bench {bench.name}"))
    for label, chosen in bench.sets.items():
        values = chosen.resolved()
        for entry in find_device(chosen.device).params:
            name = entry.name if label == slot and entry.name not in bench.file.parameters else f"{label}.{entry.name}"
            addresses[name] = f"devices.{label}.{entry.name}"
            params.append(replace(entry, name=name, default=float(values[entry.name])))
    for label, use in bench.file.devices.items():
        if use.verilog_a is None:
            continue
        for key, found in foreign_parameters(label, use, bench.folder, roots=bench.roots()).items():
            if found.value is None or found.integer:
                continue
            addresses[f"{label}.{key}"] = f"devices.{label}.{key}"
            params.append(Param(f"{label}.{key}", found.value, found.unit, found.bounds, f"of {use.verilog_a}"))
    return addresses, tuple(params)


def _reduced(bench: Testbench, spec: CircuitSpec, name: str, curve: Recording) -> tuple[str, Testbench]:
    """The bench with one analysis, driven as the curve was, and the measure that gives a value for each row."""
    file = bench.file
    if spec.analysis is not None and spec.analysis not in file.plan:
        with at("analysis"):
            raise UnknownName(f"analysis of bench {bench.name}", spec.analysis, file.plan)
    is_measure = name in file.measures
    analysis = spec.analysis or (file.analysis_of(name) if is_measure else next(iter(file.plan)))
    if spec.analysis is None and not is_measure and len(file.plan) > 1:
        raise InputError(
            f"bench {bench.name} has several analyses", remedy=f"write circuit.analysis, one of {', '.join(file.plan)}"
        )
    entry = file.plan[analysis]
    stimuli, start = _driven(bench, spec, curve)
    if is_measure:
        measures = {key: file.measures[key] for key in closure(file, [name])}
        unit = measures[name].unit
    else:
        if "(" not in name:
            with at("read"):
                raise UnknownName(f"measure of bench {bench.name}", name, file.measures)
        where, entry = _followed(bench, entry, curve, start)
        unit = "1" if _BARE.match(name) else {"v": "V", "i": "A"}.get(name[:1].lower(), "1")
        measures = {READ: At(kind="at", of=name, at=tuple(where.tolist()), unit=unit)}
    if unit != "1" and dimension(si_unit(unit))[1] != dimension(curve.measured_unit)[1]:
        with at("read"):
            raise UnitError(
                f"{name} of bench {bench.name} is in {si_unit(unit)}, and the measured column in {curve.measured_unit}",
                remedy="read another vector or measure, or correct the column's unit",
            )
    changes = {
        "analysis": None, "analyses": {analysis: entry}, "stimuli": {**file.stimuli, **stimuli}, "measures": measures,
        "limits": {}, "corners": {}, "monte_carlo": None, "maps": {}, "save": (),
    }  # fmt: skip
    return name if is_measure else READ, replace(bench, file=file.model_copy(update=changes))


def _driven(bench: Testbench, spec: CircuitSpec, curve: Recording) -> tuple[dict[str, StimulusKind], float]:
    """The stimuli that the curve's columns replace, and the time of the curve that is the bench's zero."""
    known, made = bench.file.stimuli, dict[str, StimulusKind]()
    drives = {name: name for name in curve.columns if name in known}
    usual = next((name for name in ("voltage", "amplitude") if name in curve.columns), None)
    if spec.drive is not None:
        with at("drive"):
            if spec.drive not in known:
                raise UnknownName(f"stimulus of bench {bench.name}", spec.drive, known)
            if usual is None:
                raise InputError(
                    f"a curve of kind {curve.kind!r} has no voltage", remedy="name a column as the stimulus instead"
                )
        drives[spec.drive] = usual
    if not drives:
        return {}, 0.0
    if curve.kind == "pulse train":
        for stimulus, column in drives.items():
            old = known[stimulus]
            if old.train() is None:
                raise InputError(
                    f"stimulus {stimulus!r} of bench {bench.name} is not a train of pulses",
                    remedy="drive one that is",
                )
            fields = old.model_dump()
            edges = {key: curve.conditions.get(key) or fields["shape"][key] for key in ("rise", "fall")}
            kept = {key: value for key, value in fields.items() if key in Pulses.model_fields}
            kept |= {"kind": "pulses", "amplitudes": tuple(curve[column].tolist()), "repeat": 1}
            kept |= {"shape": Shape(width=curve.conditions.get("width", fields["shape"]["width"]), **edges)}
            kept |= {"read_voltage": curve.conditions.get("v_read", fields["read_voltage"])}
            made[stimulus] = Pulses.model_validate(kept)
        return made, 0.0
    if "time" not in curve.columns and not (curve.kind == "values" and curve.units["at"] == "s"):
        raise InputError(
            f"a curve of kind {curve.kind!r} has no time, along which a stimulus could follow it",
            remedy="remove circuit.drive: a sweep takes its voltages from the curve",
        )
    t = curve["time" if "time" in curve.columns else "at"]
    if any(b <= a for a, b in pairwise(t.tolist())):
        raise DataError(
            "the time of a row is not later than that of the row before it",
            where=curve.where,
            remedy="give the rows in the order in which they were measured, each with its own time",
        )
    if len(t) < 2:
        raise DataError("one row is not a waveform", where=curve.where, remedy="measure more")
    for stimulus, column in drives.items():
        points = tuple(zip((t - t[0]).tolist(), curve[column].tolist(), strict=True))
        made[stimulus] = Knots(kind="pwl", points=points)
    return made, float(t[0])


def _followed(bench: Testbench, entry: object, curve: Recording, start: float) -> tuple[Array, Tran | Dc | Ac]:
    """Where the analysis is read, (n,) on its coordinate, and the analysis that covers all of it."""
    if isinstance(entry, Tran):
        if "time" in curve.columns:
            t = curve["time"] - start
        elif curve.kind == "values" and curve.units["at"] == "s":
            t = curve["at"] - start
        else:
            raise InputError(
                f"a curve of kind {curve.kind!r} has no time, along which the transient of bench {bench.name} could be "
                "read",
                remedy="read a measure with a value for each row",
            )
        if t.min() < 0.0:
            raise DataError("a time is below zero, where the transient begins", where=curve.where, remedy="shift them")
        apart = np.diff(np.unique(t))
        finest = min(entry.max_step, float(np.median(apart))) if apart.size else entry.max_step
        end = entry.stop if entry.stop is not None else bench.file.duration(entry.stimulus or "")
        stop = float(t.max()) if end is None else max(end, float(t.max()))
        return t, entry.model_copy(update={"stop": stop, "max_step": finest})
    if isinstance(entry, Dc):
        v = curve["voltage"] if "voltage" in curve.columns else curve["at"] if "at" in curve.columns else None
        if v is None:
            raise InputError(f"a curve of kind {curve.kind!r} has no column that a sweep could follow")
        low, high = float(v.min()), float(v.max())
        if low == high:
            raise DataError("all voltages are equal: that is not a sweep", where=curve.where, remedy="sweep further")
        each = np.diff(np.unique(v))
        # Rows that repeat a voltage to within rounding are one point of the sweep.
        step = float(each[each > EQUAL * (high - low) / v.size].min())
        count = round((high - low) / step)
        off = np.abs((v - low) / step - np.round((v - low) / step))
        if count > SWEPT or np.any(off > EQUAL * count):
            count = max(SWEPT, 4 * v.size)
        step = (high - low) / count
        return v, entry.model_copy(update={"start": low, "stop": high + 0.25 * step, "step": step})
    if isinstance(entry, Ac):
        if curve.kind != "values" or curve.units["at"] != "Hz":
            raise InputError(f"a curve of kind {curve.kind!r} has no frequency", remedy="read a curve of kind 'values'")
        f = curve["at"]
        if f.min() <= 0.0:
            raise DataError("a frequency is not above zero", where=curve.where, remedy="leave its row out")
        decades = np.log10(f / f.min())
        points = round((np.unique(decades).size - 1) / max(float(decades.max()), EQUAL)) or 1
        if points > FINE or np.any(np.abs(decades * points - np.round(decades * points)) > EQUAL * f.size):
            points = FINE
        # One step more, since a sweep by decades may end short of its stop.
        span = {"start": float(f.min()), "stop": float(f.max()) * 10.0 ** (1.0 / points)}
        return f, entry.model_copy(update={**span, "points": points, "spacing": "dec"})
    raise InputError(
        f"the analysis of bench {bench.name} is neither a transient nor a sweep", remedy="read a measure of it"
    )
