"""Any bench as the reference of a surrogate: a map that the bench declares, with the fields of the device's map."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cosim.bench.events import BenchMap
from cosim.bench.maps import EVENT, FAILED, REASON, same
from cosim.bench.testbench import Testbench
from cosim.devices.base import Values
from cosim.devices.maps import EventMap
from cosim.devices.registry import device as find_device
from cosim.errors import InputError, SimulationError, at
from cosim.parameters import ParameterSet
from cosim.schema import located
from cosim.surrogate.base import Range
from cosim.surrogate.references import named

if TYPE_CHECKING:
    from cosim.engines.simulator import Simulator


def differences(event_map: EventMap, one: BenchMap) -> list[str]:
    """What keeps a bench's map from standing for a device's, each as a part of a sentence; empty where it can."""
    found = []
    readings = event_map.device.readings.keys()
    outputs = {name: entry for name, entry in event_map.outputs.items() if name not in readings}
    for kind, wanted, theirs in (
        ("input", event_map.inputs, one.inputs),
        ("state", event_map.states, one.states),
        ("output", outputs, one.outputs),
    ):
        spare = [name for name in theirs if name not in wanted]
        for name, entry in wanted.items():
            if name not in theirs:
                unit = "" if entry.unit == "1" else f" ({entry.unit})"
                # a field that is left over where one is missing is the likely one, whatever it is called
                alike = [other for other in spare if same(entry.unit, theirs[other].unit)]
                near = difflib.get_close_matches(name, alike, n=1) or (alike if len(alike) == 1 else [])
                found.append(f"lacks the {kind} {name}{unit}" + (f" (did you mean its {near[0]}?)" if near else ""))
                spare = [other for other in spare if other not in near]
            elif not same(entry.unit, theirs[name].unit):
                found.append(f"has the {kind} {name} in {theirs[name].unit}, not in {entry.unit}")
        found += [f"has the {kind} {name}, which the device's has not" for name in spare if kind != "output"]
    return found


@dataclass(frozen=True)
class BenchReference:
    """A bench as the reference of a device's map: it answers by its map with the same fields.

    What a read of the device gives (its conductance) follows from the bench's states by the device's law, unless the
    bench measures it.

    Args:
        bench: one with a map.
        simulator: an open one; the caller closes it.
        device: the set that stands in the bench, e.g. of the device that was measured, whatever set is held against
            it; None: the surrogate's own set, whose extraction is then not tested. A bench whose maps name no device
            stands for itself: its circuit is what was measured.

    >>> with cosim.open_simulator() as simulator:
    ...     bench = cosim.Testbench.load("1t1r_random_pulses")
    ...     reference = cosim.BenchReference(bench, simulator, device=cosim.ParameterSet.load("tio2"))
    ...     reference.subject(cosim.ParameterSet.load("hfo2"))
    '1t1r_random_pulses with the device tio2'
    """

    bench: Testbench
    simulator: Simulator
    device: ParameterSet | None = None

    @property
    def independent(self) -> bool:
        """Whether the answers come from a device other than the surrogate's parameter set."""
        return self.device is not None or self._stands_for_itself

    @property
    def _stands_for_itself(self) -> bool:
        return all(given.device is None for given in self.bench.file.maps.values())

    def _chosen(self, parameters: ParameterSet) -> ParameterSet:
        """The set by which the bench is run and its states are read."""
        return parameters if self._stands_for_itself else self.device or parameters

    @property
    def engine(self) -> str:
        """The simulator and its version."""
        return self.simulator.version()

    @cached_property
    def tolerances(self) -> Mapping[str, float]:
        """The numeric options of the bench's deck."""
        options = self.bench.deck().options
        return MappingProxyType({key: float(x) for key, x in options.items() if isinstance(x, int | float)})

    def tightened(self) -> BenchReference:
        """The bench at tightened tolerances and half its largest step."""
        return replace(self, bench=self.bench.tightened())

    def found(self, event_map: EventMap) -> BenchMap:
        """The bench's map with the fields of ``event_map``, its own name first. Raises `InputError` where none has."""
        names = sorted(self.bench.file.maps, key=lambda name: name != event_map.name)
        maps = [BenchMap.load(self.bench, name) for name in names] or [BenchMap.load(self.bench)]
        if not any(one.states for one in maps):
            with located(self.bench.source), at("maps"):
                raise InputError(
                    f"no map of bench {self.bench.name} names a state, and a surrogate follows states from event to "
                    "event",
                    remedy="write states.NAME = { parameter = ..., measure = ..., range = [...] } into [maps.NAME]",
                )
        differing = [differences(event_map, one) for one in maps]
        nearest = min(range(len(maps)), key=lambda k: len(differing[k]))
        if not differing[nearest]:
            return maps[nearest]
        with located(self.bench.source), at("maps", maps[nearest].name):
            raise InputError(
                f"bench {self.bench.name} has no map with the fields of {event_map.device.name}'s {event_map.name}: "
                f"its {'map' if len(maps) == 1 else 'nearest map'} {maps[nearest].name} "
                + ", ".join(differing[nearest]),
                remedy="name its fields as the device's are named, or declare another map, [maps.NAME]",
            )

    def ranges(self, event_map: EventMap) -> dict[str, Range]:
        """Of the inputs: where both the bench and the device's map are at home."""
        theirs = self.found(event_map).inputs
        return {
            name: (max(entry.range[0], theirs[name].range[0]), min(entry.range[1], theirs[name].range[1]))
            for name, entry in event_map.inputs.items()
        }

    def netlist(self, event_map: EventMap) -> str:
        """SHA-256 of the circuit that answers, as it is written for the map."""
        return self.found(event_map).with_(fixed=event_map.fixed).digest()

    def subject(self, parameters: ParameterSet) -> str:
        """The bench, and the device in it."""
        if self._stands_for_itself:
            return f"the circuit of {self.bench.name}"
        return f"{self.bench.name} with {named(self.device or parameters, self.device)}"

    def respond(self, parameters: ParameterSet, event_map: EventMap, events: xr.Dataset) -> xr.Dataset:
        """The events one after the other, as a `Reference` answers them; raises `SimulationError` where one failed."""
        found = self.found(event_map)
        slot, chosen = found.given.device, self._chosen(parameters)
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
