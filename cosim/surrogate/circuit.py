"""A circuit as the subject of a surrogate: a bench's map stands where a device's would, and has no parameters to set.

`CircuitSet` takes the place of a device's parameter set, and its `event_map` that of the device's map, whose law is
learned (`cosim.surrogate.learned`). `CircuitReference` lets the bench answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from cosim.bench.events import BenchMap
from cosim.bench.maps import EVENT, FAILED, REASON
from cosim.devices.base import DeviceModel, Operand, State, Values
from cosim.devices.integrate import Segment
from cosim.devices.maps import EventMap, Field
from cosim.errors import InputError, SimulationError
from cosim.parameters import ParameterSet
from cosim.surrogate.learned import Law

if TYPE_CHECKING:
    from cosim.engines.simulator import Simulator

CIRCUIT = "circuit"


class _Circuit(DeviceModel):
    """What a surrogate asks of its device, of a circuit: states, and what a read gives."""

    name = CIRCUIT
    title = "a circuit of the user's"
    source = "a bench"
    ports = ()
    params = ()

    def __init__(self, chosen: CircuitSet, reading: Law | None) -> None:
        self.chosen, self.reading = chosen, reading
        own: dict[str, Any] = {
            "states": tuple(State(n, "", entry.range, entry.unit) for n, entry in chosen.states.items()),
            "readings": {n: chosen.outputs[n].unit for n in (reading.targets if reading is not None else ())},
        }
        self.__dict__.update(own)

    def through(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """Nothing: a circuit has no ports."""
        return {}

    def state_ranges(self, p: Values) -> Mapping[str, tuple[float, float]]:
        """Those of the bench."""
        return {name: entry.range for name, entry in self.chosen.states.items()}

    def readout(self, x: Values, p: Values) -> Mapping[str, Operand]:
        """The outputs that depend on the states alone."""
        return {} if self.reading is None else self.reading({name: x[name] for name in self.reading.fields})


@dataclass(frozen=True)
class CircuitSet(ParameterSet):
    """Stands where a device's parameter set would: what a map of a bench is made of, without any value to set.

    Args:
        inputs, states, outputs: of the map, by name.
        fixed: what is the same for all events (SI).
        event: name of the map.
        bench: where the bench was found; "" where nobody knows.
        netlist: SHA-256 of the circuit as it is written for the map.
    """

    inputs: Mapping[str, Field] = field(default_factory=lambda: MappingProxyType({}))
    states: Mapping[str, Field] = field(default_factory=lambda: MappingProxyType({}))
    outputs: Mapping[str, Field] = field(default_factory=lambda: MappingProxyType({}))
    fixed: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    event: str = ""
    bench: str = ""
    netlist: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_checked", Values({}))

    @classmethod
    def of(cls, found: BenchMap) -> CircuitSet:
        """Of a bench's map. Raises `InputError` for one without states or inputs."""
        if not found.states:
            raise InputError(
                f"map {found.name!r} of bench {found.bench.name} names no state, and a surrogate says what an event "
                "leaves behind",
                remedy=f"write [maps.{found.name}.states.NAME] with parameter, measure and range",
            )
        if not found.inputs:
            raise InputError(
                f"map {found.name!r} of bench {found.bench.name} names no input, so that all events are the same",
                remedy=f"write [maps.{found.name}.inputs.NAME] with a parameter or a stimulus, and a range",
            )
        return cls(
            CIRCUIT, found.bench.name, {}, source=f"the bench {found.bench.name}", inputs=found.inputs,
            states=found.states, outputs=found.outputs, fixed=found.fixed, event=found.name,
            bench=str(found.bench.source), netlist=found.digest(),
        )  # fmt: skip

    def resolved(self, **changes: Any) -> Values:
        """Nothing; raises `InputError` for ``changes``."""
        if changes:
            raise InputError(
                f"a surrogate of the circuit {self.name} has no parameter {next(iter(changes))}",
                remedy="make it an input of the bench's map",
            )
        return Values({})

    def not_from_data(self) -> dict[str, tuple[float, str, str]]:
        """Nothing."""
        return {}

    def for_device(self, device: str, *, others: Any = ()) -> ParameterSet:
        """Itself."""
        return self

    def fingerprint(self) -> str:
        """SHA-256 of the circuit and the fields of its map."""
        facts = {name: value for name, value in self.document().items() if name not in ("bench", "name")}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def event_map(self, closed: Callable[..., Any] | None, reading: Law | None) -> EventMap:
        """As a device's; ``closed`` is the learned law."""

        def waveform(inputs: Values, p: Values) -> tuple[Segment, ...]:
            raise InputError("the waveform of an event is in the circuit", remedy=f"ask the bench {self.name}")

        model = _Circuit(self, reading)
        return EventMap(self.event, model, self.inputs, self.states, self.outputs, waveform, closed, self.fixed)

    def document(self) -> dict[str, Any]:
        """As JSON values."""

        def fields(kind: Mapping[str, Field]) -> dict[str, Any]:
            return {
                name: [entry.unit, *(entry.range if np.isfinite(entry.span) else ())] for name, entry in kind.items()
            }

        return {
            "name": self.name,
            "event": self.event,
            "bench": self.bench,
            "netlist": self.netlist,
            "inputs": fields(self.inputs),
            "states": fields(self.states),
            "outputs": fields(self.outputs),
            "fixed": dict(self.fixed),
        }

    @classmethod
    def rebuilt(cls, given: Mapping[str, Any]) -> CircuitSet:
        """The inverse of `document`; raises KeyError, TypeError or ValueError for any other document."""

        def fields(kind: str, *, ranged: bool) -> Mapping[str, Field]:
            found = {}
            for name, (unit, *ends) in given[kind].items():
                if ranged and not (len(ends) == 2 and float(ends[0]) < float(ends[1])):
                    raise ValueError(f"the range of {name}")
                found[str(name)] = Field(str(unit), (float(ends[0]), float(ends[1]))) if ends else Field(str(unit))
            return MappingProxyType(found)

        return cls(
            CIRCUIT, str(given["name"]), {}, source=f"the bench {given['name']}",
            inputs=fields("inputs", ranged=True), states=fields("states", ranged=True),
            outputs=fields("outputs", ranged=False),
            fixed=MappingProxyType({str(name): float(value) for name, value in given["fixed"].items()}),
            event=str(given["event"]), bench=str(given["bench"]), netlist=str(given["netlist"]),
        )  # fmt: skip


@dataclass(frozen=True)
class CircuitReference:
    """A bench as the reference of a surrogate that was learned from it, as in `cosim.surrogate.references.Reference`.

    Args:
        found: the bench's map.
        simulator: an open one; the caller closes it.
    """

    found: BenchMap
    simulator: Simulator
    device: ParameterSet | None = None
    independent: bool = True  # the circuit is what was measured: nothing was extracted

    @property
    def engine(self) -> str:
        """The simulator and its version."""
        return self.simulator.version()

    @cached_property
    def tolerances(self) -> Mapping[str, float]:
        """The numeric options of the bench's deck."""
        options = self.found.bench.deck().options
        return MappingProxyType({key: float(x) for key, x in options.items() if isinstance(x, int | float)})

    def tightened(self) -> CircuitReference:
        """The bench at tightened tolerances and half its largest step."""
        return replace(self, found=replace(self.found, bench=self.found.bench.tightened()))

    def netlist(self, event_map: EventMap) -> str:
        """SHA-256 of the circuit."""
        return self.found.digest()

    def subject(self, parameters: ParameterSet) -> str:
        """The bench."""
        return f"the circuit of {self.found.bench.name}"

    def respond(self, parameters: ParameterSet, event_map: EventMap, events: xr.Dataset) -> xr.Dataset:
        """The events as `BenchMap.respond` answers them; raises `SimulationError` where one failed."""
        wanted = {*event_map.states, *event_map.outputs}
        theirs = {*self.found.states, *self.found.outputs}
        if not wanted <= theirs or event_map.inputs.keys() != self.found.inputs.keys():
            raise InputError(
                f"the map {self.found.name} of bench {self.found.bench.name} has other fields than the surrogate's "
                f"{event_map.name}",
                remedy="take the bench that the surrogate was learned from",
            )
        answer = self.found.respond(events, self.simulator)
        if answer.sizes[FAILED]:
            event, why = answer[FAILED].values[0], str(answer[REASON].values[0])
            raise SimulationError(
                f"bench {self.found.bench.name} gave no answer to event {event}: {why}", outcome=why.partition(":")[0]
            )
        return answer[[*event_map.states, *event_map.outputs]].drop_vars([EVENT, FAILED], errors="ignore")
