"""Events of a bench at many places: what one of its maps makes of every row of a table, for each set of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import xarray as xr

from cosim.bench.events import BenchMap
from cosim.bench.maps import EVENT, FAILED, REASON, same
from cosim.bench.testbench import Testbench
from cosim.campaign.address import apply
from cosim.campaign.executors import cores
from cosim.data.recording import Recording
from cosim.devices.base import Array
from cosim.engines.simulator import Limits
from cosim.errors import InputError, UnitError, UnknownName, at
from cosim.fitting.circuit import CircuitSpec
from cosim.fitting.simulators import simulator_for


class EventRuns:
    """A map of a bench as `cosim.fitting.runs.Runs`: each row is an event of its own, and a simulation.

    A column has the name of an input of the map, or of the state that the event starts from; a state without a column
    starts where its parameter of the bench has it.

    Args:
        bench: as its file has it.
        spec: ``map`` and ``read``, one of the map's states or outputs.
        curve: a table of events, with what was read after each.
    """

    def __init__(self, bench: Testbench, spec: CircuitSpec, name: str, curve: Recording) -> None:
        self.bench, self._spec, self._read, self._curve = bench, spec, name, curve
        self._workers, self._limits = spec.workers or cores(), Limits(wall=spec.wall)
        self._known: dict[tuple[tuple[str, float], ...], Array] = {}
        self.simulated = self.reused = 0
        self.failed: list[str] = []
        one = self._map = BenchMap.load(bench, spec.map or "")
        known = {**one.states, **one.outputs}
        if name not in known:
            with at("read"):
                raise UnknownName(f"state or output of map {one.name} of bench {bench.name}", name, known)
        if curve.measured_name == "step":
            raise InputError(
                "a change from event to event cannot be fitted through a circuit", remedy="give what was read: read"
            )
        if not same(known[name].unit, curve.measured_unit):
            with at("read"):
                raise UnitError(f"{name} is in {known[name].unit}, and the measured column in {curve.measured_unit}")
        columns = [column for column in curve.columns if column not in (curve.measured_name, "at")]
        fields = {**one.inputs, **one.states}
        for column in columns:
            if column not in fields:
                raise UnknownName(f"input or state of map {one.name} of bench {bench.name}", column, fields)
        if missing := one.inputs.keys() - set(columns):
            raise InputError(
                f"map {one.name} of bench {bench.name} takes {', '.join(sorted(missing))}", remedy="give a column of it"
            )
        self._columns = columns

    @cached_property
    def engine(self) -> str:
        """The simulator and its version."""
        return simulator_for(self._spec.engine, self._workers).version()

    def digest(self) -> str:
        """SHA-256 of the circuit that answers."""
        return self._map.digest()

    def tightened(self) -> EventRuns:
        """The same events at tightened tolerances and half the maximum step."""
        spec = self._spec.model_copy(update={"wall": 4.0 * self._spec.wall})
        return EventRuns(self.bench.tightened(), spec, self._read, self._curve)

    def at(self, places: Sequence[Mapping[str, float]]) -> list[Array]:
        """What was read after each event, (n,), at each place; NaN where an event has no answer: `failed` says why."""
        keys = [tuple(sorted((name, float(value)) for name, value in place.items())) for place in places]
        for key in dict.fromkeys(keys):
            if key not in self._known:
                self._known[key] = self._answers(dict(key))
        return [self._known[key] for key in keys]

    def _answers(self, place: Mapping[str, float]) -> Array:
        curve, one = self._curve, self._map
        found = np.full(len(curve), np.nan)
        try:
            changed = replace(one, bench=apply(one.bench, place))
        except InputError as error:
            self.failed.append(str(error))
            return found
        events = {name: (EVENT, curve[name]) for name in self._columns if name in one.inputs}
        for name in one.states:
            start = changed.bench.file.parameters[one.given.states[name].parameter].value
            column = curve[name] if name in self._columns else np.full(len(curve), start)
            events[f"{name}_before"] = (EVENT, column)
        simulator = simulator_for(self._spec.engine, self._workers)
        answer = changed.respond(xr.Dataset(events), simulator, limits=self._limits)
        self.simulated += len(curve)
        self.failed += [str(why) for why in answer[REASON].values]
        if not answer.sizes[FAILED]:
            found = np.asarray(answer[self._read].values, dtype=float)
        return found
