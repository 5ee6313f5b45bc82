"""A bench as an event map, ``(state, inputs) -> (state, outputs)``, by its stimulus and its measures.

`BenchMap` takes a Dataset over ``event`` and gives one back, with the fields of a device's map (`cosim.devices.maps`);
the bench declares it as ``[maps.NAME]`` (`cosim.bench.maps`).

What a circuit remembers beside the declared states (a charge on a node) starts each simulation anew. Only a train of
pulses in one transient carries it from event to event.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from cosim import units
from cosim.bench.maps import EVENT, FAILED, REASON, Fields, MapFile, closure, fields, known, one_of, same
from cosim.bench.measures.kinds import Kind, ReadConductance
from cosim.bench.stimulus_kinds import Pulses
from cosim.bench.testbench import Testbench
from cosim.devices.base import Array
from cosim.engines.prepare import fingerprint
from cosim.engines.simulator import Limits, Simulator
from cosim.errors import DomainError, InputError, UnitError

if TYPE_CHECKING:
    import xarray

    from cosim.parameters import ParameterSet

MOST_THREADS = 32  # that wait for the simulator's processes
SLACK = 1e-9  # of a range: rounding does not leave it


@dataclass(frozen=True)
class BenchMap:
    """An event map of a bench, ready to run (module docstring).

    Args:
        bench: reduced to the map's analysis and measures.
        name: of the map.
        given: as the bench has it.
        inputs, states, outputs: unit and range of each field.

    >>> pulse = cosim.BenchMap.load("1t1r_random_pulses")
    >>> pulse.inputs["amplitude"].unit, sorted(pulse.states), sorted(pulse.outputs)
    ('V', ['w'], ['energy'])
    """

    bench: Testbench
    name: str
    given: MapFile
    inputs: Fields = field(repr=False)
    states: Fields = field(repr=False)
    outputs: Fields = field(repr=False)

    @classmethod
    def load(cls, reference: str | Testbench, name: str = "") -> BenchMap:
        """A map of a bench, which is given as for `Testbench.load`; without ``name`` its first one."""
        bench = reference if isinstance(reference, Testbench) else Testbench.load(reference)
        name = one_of(bench.name, name, bench.file.maps, kind="event map", table="maps")
        given = bench.file.maps[name]
        return cls(_reduced(bench, given), name, given, *fields(bench.file, given))

    @property
    def fixed(self) -> Mapping[str, float]:
        """What is the same for all events (SI), e.g. ``width`` of the pulses in s."""
        found = {name: self.bench.file.parameters[parameter].value for name, parameter in self.given.fixed.items()}
        return found | (vars(self.bench.train(self.given.train).shape) if self.given.train is not None else {})

    @property
    def in_one_transient(self) -> bool:
        """Whether events that follow each other are one transient: a pulse train is the only input."""
        return self.given.train is not None and len(self.inputs) == 1

    def with_(
        self, *, device: ParameterSet | None = None, fixed: Mapping[str, float] = MappingProxyType({})
    ) -> BenchMap:
        """A copy with another parameter set of the map's device, or other values of `fixed` (SI).

        Raises `UnknownName` for what the map does not hold fixed; `InputError` for a device where it names none.
        """
        bench = self.bench
        for name in fixed:
            known(f"fixed quantity of map {self.name!r} of bench {bench.name}", name, self.fixed)
        if fixed:
            own = {self.given.fixed[name]: value for name, value in fixed.items() if name in self.given.fixed}
            shape = {name: value for name, value in {**self.fixed, **fixed}.items() if name not in self.given.fixed}
            stimuli = {self.given.train: {"shape": shape}} if self.given.train is not None else {}
            bench = bench.with_(parameters=own, stimuli=stimuli)
        if device is not None:
            if self.given.device is None:
                raise InputError(
                    f"map {self.name!r} of bench {bench.name} names no device, whose parameters could be changed",
                    remedy='write device = "NAME" into the map',
                )
            bench = bench.with_(devices={self.given.device: device})
        return replace(self, bench=bench)

    def digest(self) -> str:
        """SHA-256 of what decides the answers to events: the decks as they are written, with parameters, stimuli,
        options and all that they include, and the measures that read them; without the events' own values.

        Raises as writing and preparing a deck does.
        """
        lows = {one.parameter: self.inputs[name].range[0] for name, one in self.given.inputs.items() if one.parameter}
        lows |= {one.parameter: self.states[name].range[0] for name, one in self.given.states.items()}
        read = [self.given.model_dump(mode="json", include={"inputs", "states", "outputs"})]
        read.append({name: entry.model_dump(mode="json") for name, entry in self.bench.file.measures.items()})
        digest = hashlib.sha256(json.dumps(read, sort_keys=True).encode())
        for _, _, deck in self.bench.with_(parameters=lows).decks():
            digest.update(fingerprint(deck).encode())
        return digest.hexdigest()

    def respond(self, events: xarray.Dataset, simulator: Simulator, *, limits: Limits | None = None) -> xarray.Dataset:
        """What the circuit makes of ``events``.

        Args:
            events: each input over ``event``, SI. ``<state>_before`` of each state over ``event``: the events are
                independent, and each is a simulation; a scalar for every state: they follow each other, in one
                transient where a pulse train is the only input, else each starts where the last one ended.
            simulator: works on as many simulations as it has processes.
            limits: of each simulation.

        Returns:
            Over ``event``: each state after the event and each output, with ``units``. An event that failed is not
            there: it is in ``failed``, with its ``reason``; both count events by their coordinate, or from 0.

        Raises:
            InputError, UnknownName: for columns that the map does not have or that are missing, and for a measure
            that has several values for one event. DomainError: for a value outside a range.
        """
        count, inputs, starts, chained = self._read(events)
        labels: NDArray[Any] = events[EVENT].values if EVENT in events.coords else np.arange(count)
        ready = limits or Limits()
        if not chained:
            rows = [{name: column[k : k + 1] for name, column in inputs.items()} for k in range(count)]
            begins = [{name: float(column[k]) for name, column in starts.items()} for k in range(count)]
            with ThreadPoolExecutor(max_workers=max(min(count, MOST_THREADS), 1)) as threads:
                jobs = [threads.submit(self._run, *job, simulator, ready) for job in zip(rows, begins, strict=True)]
                answers = [job.result() for job in jobs]
        else:
            begin = {name: float(column) for name, column in starts.items()}
            answers = self._chain(inputs, begin, labels=labels, simulator=simulator, limits=ready)
        return self._dataset(labels, answers)

    def _read(self, events: xarray.Dataset) -> tuple[int, dict[str, Array], dict[str, Array], bool]:
        wanted = {**self.inputs, **{f"{name}_before": entry for name, entry in self.states.items()}}
        for name in map(str, events.data_vars):
            known(f"column of map {self.name!r}", name, wanted)
        if EVENT not in events.sizes:
            raise InputError(
                f"the events of map {self.name!r} have no dimension {EVENT!r}", remedy="give one value a event"
            )
        found: dict[str, Array] = {}
        for name, entry in wanted.items():
            if name not in events:
                raise InputError(f"the events of map {self.name!r} lack {name}", remedy=f"give it in {entry.unit}")
            unit = str(events[name].attrs.get("units", entry.unit))
            if not same(unit, entry.unit):
                raise UnitError(f"{name} of map {self.name!r} is in {entry.unit}, not in {unit}")
            if events[name].dims not in ((EVENT,), ()) or (name in self.inputs and not events[name].dims):
                raise InputError(f"{name} of map {self.name!r} is not a column over {EVENT!r}")
            values = np.asarray(events[name].values, dtype=float) * units.scale_of(unit)
            (low, high), slack = entry.range, SLACK * entry.span
            bad = ~((values >= low - slack) & (values <= high + slack))
            if np.any(bad):
                shown = units.show(float(values[bad].flat[0]), entry.unit)
                raise DomainError(
                    f"{name} = {shown} is outside {low:g}..{high:g} {entry.unit}, its range in the map {self.name!r} "
                    f"of bench {self.bench.name}",
                    remedy="stay within it, or widen it in the bench",
                )
            found[name] = values
        starts = {name: found[f"{name}_before"] for name in self.states}
        scalars = {values.ndim == 0 for values in starts.values()}
        if len(scalars) > 1:
            raise InputError(
                f"some states of map {self.name!r} start anew at each event and others do not",
                remedy="give every state's start once, or every one over event",
            )
        return events.sizes[EVENT], {name: found[name] for name in self.inputs}, starts, True in scalars

    def _chain(
        self,
        inputs: Mapping[str, Array],
        begin: dict[str, float],
        *,
        labels: NDArray[Any],
        simulator: Simulator,
        limits: Limits,
    ) -> list[dict[str, float] | str]:
        """Events that follow each other: one transient of them all, or one after the other."""
        if self.in_one_transient:
            return self._train(inputs, begin, simulator, limits)
        answers: list[dict[str, float] | str] = []
        for k in range(labels.size):
            answer = self._run({name: column[k : k + 1] for name, column in inputs.items()}, begin, simulator, limits)
            answers.append(answer)
            if isinstance(answer, str):
                return answers + [f"it follows event {labels[k]}, which failed"] * (labels.size - k - 1)
            begin = {name: answer[name] for name in self.states}
        return answers

    def _run(
        self, inputs: Mapping[str, Array], begin: Mapping[str, float], simulator: Simulator, limits: Limits
    ) -> dict[str, float] | str:
        return self._train(inputs, begin, simulator, limits)[0]

    def _train(
        self, inputs: Mapping[str, Array], begin: Mapping[str, float], simulator: Simulator, limits: Limits
    ) -> list[dict[str, float] | str]:
        """One simulation of the events of ``inputs`` (n,): the answer to each, or why there is none."""
        bench, parameters, count = self.bench, {}, 1
        for name, column in inputs.items():
            entry = self.given.inputs[name]
            if entry.parameter is not None:
                parameters[entry.parameter] = float(column[0])
            else:
                count = column.size
                file = bench.file
                train = cast(Pulses, file.stimuli[cast(str, entry.stimulus)]).model_copy(
                    update={"amplitudes": tuple(map(float, column))}
                )
                bench = replace(
                    bench, file=file.model_copy(update={"stimuli": {**file.stimuli, entry.stimulus: train}})
                )
        parameters |= {self.given.states[name].parameter: value for name, value in begin.items()}
        done = bench.with_(parameters=parameters).run(simulator, limits=limits)
        if not done.result.ok:
            return [f"{done.result.outcome.value}: {done.result.reason}"] * count
        read = {name: entry.measure for name, entry in self.given.states.items()} | self.given.outputs
        for measure in read.values():
            if measure in done.missing:
                return [done.absent(measure)] * count
            if (size := done[measure].values.size) != count:
                raise InputError(
                    f"measure {measure!r} of bench {bench.name} has {size} values for {count} "
                    f"event{'s' if count > 1 else ''} of the map {self.name!r}",
                    remedy="take a measure with one value for each event",
                )
        answers: list[dict[str, float] | str] = []
        for k in range(count):
            values = {name: float(done[measure].values[k]) for name, measure in read.items()}
            bad = [read[name] for name, value in values.items() if not np.isfinite(value)]
            answers.append(f"measure {bad[0]!r} is not finite" if bad else values)
        return answers

    def _dataset(self, labels: NDArray[Any], answers: list[dict[str, float] | str]) -> xarray.Dataset:
        import xarray

        lost = np.array([isinstance(answer, str) for answer in answers], dtype=bool)
        good = [answer for answer in answers if not isinstance(answer, str)]
        columns = {
            name: (EVENT, np.array([answer[name] for answer in good], dtype=float), {"units": entry.unit})
            for name, entry in {**self.states, **self.outputs}.items()
        }
        reasons = np.array([answer for answer in answers if isinstance(answer, str)], dtype=object)
        coords = {EVENT: labels[~lost], FAILED: labels[lost]}
        return xarray.Dataset({**columns, REASON: (FAILED, reasons)}, coords=coords)


def _reduced(bench: Testbench, given: MapFile) -> Testbench:
    """The bench with one analysis, without its sweep, and with the map's measures alone."""
    file = bench.file
    name = given.analysis or next(iter(file.plan))
    entry = file.plan[name]
    measures: dict[str, Kind] = {key: file.measures[key] for key in closure(file, [key for _, key in given.measures()])}
    stimuli = dict(file.stimuli)
    if given.train is not None:
        old = stimuli[given.train].model_dump()
        # A read would disturb a device whose threshold lies below it, and costs time.
        reads = {} if any(isinstance(one, ReadConductance) for one in measures.values()) else {"read_voltage": 0.0}
        kept = {key: value for key, value in old.items() if key in Pulses.model_fields}
        made = {**kept, "kind": "pulses", "amplitudes": (0.0,), "repeat": 1, **reads}
        stimuli[given.train] = Pulses.model_validate(made)
    own = {key: file.parameters[key].model_copy(update={"value": q.value}) for key, q in entry.parameters.items()}
    changes: dict[str, Any] = {
        "analysis": None, "analyses": {name: entry.model_copy(update={"parameters": {}, "sweep": {}})},
        "parameters": {**file.parameters, **own}, "stimuli": stimuli, "measures": measures, "save": (),
        "limits": {}, "corners": {}, "monte_carlo": None, "maps": {},
    }  # fmt: skip
    return replace(bench, file=file.model_copy(update=changes))
