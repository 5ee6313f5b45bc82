"""Any bench as the reference of a surrogate: a map that it declares, with the fields of the device's own map.

`BenchReference` is what maps of any device are held against (`cosim.surrogate.circuit.MapBench`), `BenchPulses` the
same for pulses in closed form (`cosim.surrogate.references.PulseBench`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cosim import units
from cosim.bench.events import BenchMap
from cosim.bench.maps import EVENT, FAILED, REASON, Fields
from cosim.bench.testbench import Testbench
from cosim.devices.base import Values
from cosim.devices.maps import EventMap
from cosim.devices.registry import device as find_device
from cosim.errors import InputError, SimulationError
from cosim.parameters import ParameterSet
from cosim.surrogate.base import Array, Range, Reference, Response
from cosim.surrogate.references import named

if TYPE_CHECKING:
    from cosim.devices.pulse import PulseShape
    from cosim.engines.simulator import Simulator


def _alike(ours: Fields, theirs: Fields) -> bool:
    """Whether fields have the same names and dimensions."""
    return ours.keys() == theirs.keys() and all(
        units.dimension(entry.unit)[1] == units.dimension(theirs[name].unit)[1] for name, entry in ours.items()
    )


def _shown(inputs: Fields, states: Fields) -> str:
    return ", ".join(f"{name} ({entry.unit})" for name, entry in {**inputs, **states}.items())


@dataclass(frozen=True)
class BenchReference:
    """A bench that answers the events of a device's map by the map of its own that has the same fields.

    What a read of the device gives (its conductance) follows from the bench's states by the device's law, unless the
    bench measures it.

    Args:
        bench: one with a map.
        simulator: an open one; the caller closes it.
        kind: the device of the surrogate.
        given: the set that stands in the bench, whatever set is held against it; None: the surrogate's own.
    """

    bench: Testbench
    simulator: Simulator
    kind: str
    given: ParameterSet | None = None

    @property
    def engine(self) -> str:
        """The simulator and its version."""
        return self.simulator.version()

    @cached_property
    def tolerances(self) -> Mapping[str, float]:
        """The numeric options of the bench's deck."""
        options = self.bench.deck().options
        return MappingProxyType({key: float(x) for key, x in options.items() if isinstance(x, int | float)})

    @property
    def device(self) -> ParameterSet | None:
        """As `given`; where the bench's map names no device, its circuit: that is not the surrogate's set either."""
        if self.given is None and all(given.device is None for given in self.bench.file.maps.values()):
            return ParameterSet(self.kind, self.bench.name, {})
        return self.given

    def found(self, event_map: EventMap) -> BenchMap:
        """The bench's map with the fields of ``event_map``, its own name first. Raises `InputError` where none has."""
        names = sorted(self.bench.file.maps, key=lambda name: name != event_map.name)
        maps = [BenchMap.load(self.bench, name) for name in names] or [BenchMap.load(self.bench)]
        for one in maps:
            lacks = event_map.outputs.keys() - one.outputs.keys() - event_map.device.readings.keys()
            if not lacks and _alike(event_map.inputs, one.inputs) and _alike(event_map.states, one.states):
                return one
        wanted = f"{_shown(event_map.inputs, event_map.states)} and the outputs {', '.join(event_map.outputs)}"
        known = "; ".join(
            f"{one.name} has {_shown(one.inputs, one.states)} and the outputs {', '.join(one.outputs) or 'none'}"
            for one in maps
        )
        raise InputError(
            f"bench {self.bench.name} has no map with the fields of {event_map.device.name}'s {event_map.name}, "
            f"{wanted}: its map {known}",
            remedy="declare one, [maps.NAME]",
        )

    def ranges(self, event_map: EventMap) -> dict[str, Range]:
        """Of the inputs: where both the bench and the device's map are at home."""
        theirs = self.found(event_map).inputs
        return {
            name: (max(entry.range[0], theirs[name].range[0]), min(entry.range[1], theirs[name].range[1]))
            for name, entry in event_map.inputs.items()
        }

    def netlist(self, event_map: EventMap) -> str:
        """SHA-256 of the bench's circuit and its netlist."""
        return self.found(event_map).digest()

    def subject(self, parameters: ParameterSet) -> str:
        """The bench, and the device in it."""
        if self.device is not self.given:
            return f"the circuit of {self.bench.name}"
        return f"{self.bench.name} with {named(self.given or parameters, self.given)}"

    def respond(self, parameters: ParameterSet, event_map: EventMap, events: xr.Dataset) -> xr.Dataset:
        """The events one after the other, as a `MapBench` answers them; raises `SimulationError` where one failed."""
        found = self.found(event_map)
        slot, chosen = found.given.device, self.given or parameters
        if slot is not None:
            chosen = self._fitted(chosen, slot)
            found = found.with_(device=chosen)
        missing = event_map.fixed.keys() - found.fixed.keys()
        if missing:
            raise InputError(
                f"{event_map.device.name}'s map {event_map.name} holds {', '.join(sorted(missing))} fixed, which the "
                f"map {found.name} of bench {self.bench.name} does not set",
                remedy="name the parameters that set them in the map's fixed",
            )
        answer = found.with_(fixed=event_map.fixed).respond(events, self.simulator)
        if answer.sizes[FAILED]:
            event, why = answer[FAILED].values[0], str(answer[REASON].values[0])
            raise SimulationError(
                f"bench {self.bench.name} gave no answer to event {event}: {why}", outcome=why.partition(":")[0]
            )
        model, p = find_device(chosen.device), chosen.resolved()
        read = model.readout(Values({name: answer[name].values for name in event_map.states}), p)
        for name, entry in event_map.outputs.items():
            if name not in answer:
                answer[name] = (EVENT, np.asarray(read[name], dtype=float), {"units": entry.unit})
        return answer[[*event_map.states, *event_map.outputs]]

    def _fitted(self, given: ParameterSet, slot: str) -> ParameterSet:
        """A set of the bench's device: ``given``, or the memristor's part of a cell's; raises `InputError`."""
        kind, cell = self.bench.sets[slot].device, find_device(given.device).pulse_cell()
        if given.device != kind and (cell is None or cell.memristor.name != kind):
            raise InputError(
                f"{slot} of bench {self.bench.name} is a {kind}, and {given.name} is a set of {given.device}",
                remedy="take a bench with that device",
            )
        return given.for_device(kind)


@dataclass(frozen=True)
class BenchPulses:
    """The pulses of a device with a closed form, answered by a bench's map."""

    answers: BenchReference
    netlist: str = field(default="", init=False)

    def __post_init__(self) -> None:
        model = find_device(self.answers.kind)
        event_map = next(iter(model.maps(model.defaults()).values()))
        object.__setattr__(self, "netlist", self.answers.netlist(event_map))

    @property
    def engine(self) -> str:
        """The simulator and its version."""
        return self.answers.engine

    @property
    def tolerances(self) -> Mapping[str, float]:
        """Of the bench's deck."""
        return self.answers.tolerances

    @property
    def device(self) -> ParameterSet | None:
        """As `BenchReference.device`."""
        return self.answers.device

    def subject(self, parameters: ParameterSet) -> str:
        """The bench, and the device in it."""
        return self.answers.subject(parameters)

    def reference(self, parameters: ParameterSet, *, shape: PulseShape) -> Reference:
        """The bench under pulses of this shape; every call is one train."""
        model = find_device(parameters.device)
        event_map = next(iter(model.maps(parameters.resolved(), shape=shape).values()))
        p = (self.answers.given or parameters).resolved()

        def respond(amplitudes: Array, w0: float) -> Response:
            events = xr.Dataset({"amplitude": (EVENT, np.asarray(amplitudes)), "w_before": w0})
            answer = self.answers.respond(parameters, event_map, events)
            return Response.of(answer["w"].values, answer["energy"].values, p)

        return respond
