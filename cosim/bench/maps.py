"""``[maps.NAME]`` of a bench: which of its parameters, stimuli and measures are the fields of an event map.

An input is a parameter of the circuit, or the amplitude of a pulse train; a state has the parameter that sets it at the
start and the measure that reads it after the event; an output is a measure. `cosim.bench.events` runs them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pydantic
from pydantic import Field as Key

from cosim import units
from cosim.bench.measures.kinds import DerivedMeasure
from cosim.devices.maps import Field
from cosim.devices.registry import device as find_device
from cosim.errors import InputError, UnitError, UnknownName, at
from cosim.schema import Quantity, Table

if TYPE_CHECKING:
    from cosim.bench.file import BenchFile
    from cosim.bench.testbench import Testbench

EVENT, FAILED, REASON = "event", "failed", "reason"
SHAPE = ("width", "rise", "fall")


class _Ranged(Table):
    range: tuple[Quantity, Quantity]

    @pydantic.field_validator("range")
    @classmethod
    def _rising(cls, given: tuple[Quantity, Quantity]) -> tuple[Quantity, Quantity]:
        if not given[0].value < given[1].value:
            raise InputError(f"{given[0].value:g} is not below {given[1].value:g}", remedy="write the lower end first")
        return given

    def field(self, unit: str) -> Field:
        """Unit and range (SI); raises `UnitError` for a range of another dimension than ``unit``."""
        for end in self.range:
            if end.unit != "1" and not same(end.unit, unit):
                with at("range"):
                    raise UnitError(
                        f"its range is {units.described(end.unit)}, and what it drives is {units.described(unit)}",
                        remedy=f"write it in {unit}" if unit != "1" else "write it without a unit",
                    )
        return Field(unit, (self.range[0].value, self.range[1].value))


class MapInput(_Ranged):
    """An input of an event map: what differs from event to event. It has either ``parameter`` or ``stimulus``.

    Args:
        parameter: of the circuit, which the input sets.
        stimulus: a pulse train, whose amplitude the input is: one event is one pulse. Its reads are left out unless a
            measure of the map needs them.
        range: lowest and highest value.
    """

    parameter: str | None = None
    stimulus: str | None = None

    @pydantic.model_validator(mode="after")
    def _one(self) -> MapInput:
        if (self.parameter is None) == (self.stimulus is None):
            raise InputError("an input has either a parameter or a stimulus", remedy='e.g. parameter = "v_write"')
        return self


class MapState(_Ranged):
    """A state of an event map.

    Args:
        parameter: of the circuit, which sets the state at the start.
        measure: which reads the state after the event.
        range: lowest and highest value to start from.
    """

    parameter: str
    measure: str


class MapFile(Table):
    """An event of the circuit, ``(state, inputs) -> (state, outputs)``, for campaigns, surrogates and networks.

    Args:
        analysis: the one that is the event; default: the only one. What it sweeps has to be an input or a state.
        device: that of the bench whose parameters a surrogate of the map has; default: the map is the circuit's own.
        inputs: what differs from event to event, by name.
        states: what an event starts from and leaves behind, by name.
        outputs: measures, by the output's name.
        fixed: parameters that are the same for all events, by the name of what they set, e.g. ``width``; the shape of a
            train's pulses (``width``, ``rise``, ``fall``) needs no entry.
    """

    analysis: str | None = None
    device: str | None = None
    inputs: dict[str, MapInput] = Key(default_factory=dict)
    states: dict[str, MapState] = Key(default_factory=dict)
    outputs: dict[str, str] = Key(default_factory=dict)
    fixed: dict[str, str] = Key(default_factory=dict)

    @property
    def train(self) -> str | None:
        """The pulse train that an input drives."""
        return next((entry.stimulus for entry in self.inputs.values() if entry.stimulus is not None), None)

    def parameters(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Every parameter that the map sets, with the keys of the entry that names it."""
        for name, given in self.inputs.items():
            if given.parameter is not None:
                yield ("inputs", name, "parameter"), given.parameter
        for name, state in self.states.items():
            yield ("states", name, "parameter"), state.parameter
        for name, parameter in self.fixed.items():
            yield ("fixed", name), parameter

    def measures(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Every measure that the map reads, with the keys of the entry that names it."""
        for name, state in self.states.items():
            yield ("states", name, "measure"), state.measure
        for name, measure in self.outputs.items():
            yield ("outputs", name), measure


def check_map(file: BenchFile, name: str, given: MapFile) -> None:
    """Raises `InputError` for a map that its bench cannot have, with the keys of what is wrong."""
    if not given.states and not given.outputs:
        raise InputError(
            f"map {name!r} has neither a state nor an output", remedy="give it what the event leaves behind"
        )
    if given.analysis is None and len(file.plan) > 1:
        raise InputError(
            f"map {name!r} does not say which analysis is its event", remedy=f"one of {', '.join(file.plan)}"
        )
    with at("analysis"):
        known(f"analysis of map {name!r}", given.analysis or next(iter(file.plan)), file.plan)
    if given.device is not None:
        with at("device"):
            known(f"device of map {name!r}", given.device, file.devices)
    _check_names(name, given)
    set_by: dict[str, str] = {}
    for keys, parameter in given.parameters():
        with at(*keys):
            known(f"parameter of map {name!r}", parameter, file.parameters)
            if parameter in set_by:
                raise InputError(
                    f"{parameter} is set by {set_by[parameter]} already", remedy="give each its own parameter"
                )
            set_by[parameter] = keys[1]
    for keys, measure in given.measures():
        with at(*keys):
            known(f"measure of map {name!r}", measure, file.measures)
    _check_analysis(file, name, given, set_by)
    fields(file, given)


def _check_names(name: str, given: MapFile) -> None:
    tables: dict[str, Mapping[str, object]] = {
        "inputs": given.inputs,
        "states": given.states,
        "outputs": given.outputs,
        "fixed": given.fixed,
    }
    taken = {f"{state}_before": "states" for state in given.states} | {EVENT: "", FAILED: "", REASON: ""}
    for table, entries in tables.items():
        for key in entries:
            with at(table, key):
                if not key.isidentifier():
                    raise InputError(f"{key!r} is not a name", remedy="use letters, digits and _")
                if key in taken:
                    raise InputError(f"map {name!r} has {key} twice, or uses the name itself", remedy="rename one")
            taken[key] = table


def _check_analysis(file: BenchFile, name: str, given: MapFile, set_by: Mapping[str, str]) -> None:
    chosen = given.analysis or next(iter(file.plan))
    for parameter in file.plan[chosen].sweep:
        if parameter not in set_by:
            raise InputError(
                f"map {name!r}: analysis {chosen!r} sweeps {parameter}, so that one event would be many",
                remedy="make it an input, or take another analysis",
            )
    for keys, measure in given.measures():
        for needed in closure(file, [measure]):
            entry = file.measures[needed]
            seen = chosen if isinstance(entry, DerivedMeasure) and entry.analysis is None else file.analysis_of(needed)
            if seen != chosen:
                with at(*keys):
                    raise InputError(
                        f"measure {needed!r} sees the analysis {seen!r}, and the map's is {chosen!r}",
                        remedy="take a measure of that analysis",
                    )
    trains = [(key, entry.stimulus) for key, entry in given.inputs.items() if entry.stimulus is not None]
    for number, (key, stimulus) in enumerate(trains):
        with at("inputs", key, "stimulus"):
            known(f"stimulus of map {name!r}", stimulus, file.stimuli)
            if number:
                raise InputError(
                    "only one input can be a pulse train's amplitude", remedy="drive the other by a parameter"
                )
            if file.stimuli[stimulus].train() is None:
                raise InputError(f"{stimulus} is not a pulse train", remedy="drive it by a parameter of the circuit")
            if getattr(file.plan[chosen], "stop", None) is not None:
                raise InputError(
                    f"the analysis {chosen!r} stops at a time, however many pulses there are",
                    remedy=f'write stimulus = "{stimulus}" in place of stop',
                )
    with at("fixed"):
        for key in set(given.fixed) & set(SHAPE) if trains else ():
            raise InputError(f"{key} is that of the train's pulses", remedy="remove it")


def known(kind: str, name: str, among: Mapping[str, object]) -> None:
    """Raises `UnknownName` where ``name`` is not one of ``among``."""
    if name not in among:
        raise UnknownName(kind, name, among)


def one_of(bench: str, name: str, among: Mapping[str, object], *, kind: str, table: str) -> str:
    """``name``, or without it the first of a bench's; raises `InputError` where it has none, `UnknownName`."""
    if not among:
        raise InputError(f"bench {bench} has no {kind}", remedy=f"write [{table}.NAME]")
    name = name or next(iter(among))
    known(f"{table.removesuffix('s')} of bench {bench}", name, among)
    return name


def same(one: str, other: str) -> bool:
    """Whether two units have one dimension."""
    return units.dimension(one)[1] == units.dimension(other)[1]


def closure(file: BenchFile, wanted: list[str]) -> list[str]:
    """``wanted`` measures and those that they are made of, in the order of the file."""
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        entry = file.measures[name]
        if isinstance(entry, DerivedMeasure):
            waiting += [text for text in _texts(entry.model_dump()) if text in file.measures]
    return [name for name in file.measures if name in found]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value.removeprefix("-")
    elif isinstance(value, Mapping):
        yield from (text for entry in value.values() for text in _texts(entry))
    elif isinstance(value, list | tuple):
        yield from (text for entry in value for text in _texts(entry))


Fields = Mapping[str, Field]


def fields(file: BenchFile, given: MapFile) -> tuple[Fields, Fields, Fields]:
    """Inputs, states and outputs of a map; raises `UnitError` where the units of one field differ."""
    inputs, states = {}, {}
    for name, entry in given.inputs.items():
        with at("inputs", name):
            unit = "V" if entry.parameter is None else file.parameters[entry.parameter].unit
            inputs[name] = entry.field(unit)
    for name, state in given.states.items():
        with at("states", name):
            unit, read = file.parameters[state.parameter].unit, file.measures[state.measure].unit
            if not same(unit, read):
                raise UnitError(
                    f"the parameter {state.parameter} is {units.described(unit)}, and the measure {state.measure}, "
                    f"which reads the state, is {units.described(read)}",
                    remedy="write both in units of one dimension",
                )
            states[name] = state.field(unit)
    outputs = {name: Field(units.si_unit(file.measures[measure].unit)) for name, measure in given.outputs.items()}
    return inputs, states, outputs


def check_maps(bench: Testbench) -> None:
    """What the maps of a loaded bench need of its devices: the bounds of their states, and measures with a unit.

    Raises `InputError`, `UnitError` with the keys of what is wrong.
    """
    from cosim.bench.units import measured

    if not bench.file.maps:
        return
    numbers = {name: found for name, _, _, found in measured(bench)}
    for name, given in bench.file.maps.items():
        with at("maps", name):
            for keys, measure in given.measures():
                found, unit = numbers[measure], bench.file.measures[measure].unit
                if unit == "1" and not isinstance(found, UnitError) and found.sure and not found.allows(unit):
                    with at(*keys):
                        raise UnitError(
                            f"measure {measure!r} is {found}, and has no unit",
                            remedy=f'write unit = "{found.kinds[0]}"',
                        )
            if given.device is None:
                continue
            if given.device not in bench.sets:
                with at("device"):
                    raise InputError(
                        f"device {given.device!r} is a Verilog-A file, and surrogates have parameter sets",
                        remedy="leave device out",
                    )
            model = find_device(bench.sets[given.device].device)
            bounds = {entry.name: entry.bounds for entry in model.states}
            for key, (low, high) in ((key, bounds[key]) for key in given.states if key in bounds):
                ends = [end.value for end in given.states[key].range]
                if ends[0] < low or ends[1] > high:
                    with at("states", key, "range"):
                        raise InputError(
                            f"{ends[0]:g}..{ends[1]:g} leaves the bounds {low:g}..{high:g} of the state {key} of "
                            f"{model.name}",
                            remedy="write a range within them",
                        )
