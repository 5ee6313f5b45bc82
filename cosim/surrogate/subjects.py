"""What a surrogate is of: a device with a parameter set, whose law is physics, or a circuit, whose law is learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cosim.devices.base import Array, Values
from cosim.devices.maps import EventMap
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import device as find_device
from cosim.devices.registry import devices
from cosim.errors import InputError, UnknownName
from cosim.parameters import ParameterSet, Quantity
from cosim.surrogate.circuit import CIRCUIT, CircuitSet
from cosim.surrogate.filter import FilterLaw
from cosim.surrogate.laws import AnyLaw
from cosim.surrogate.neuron import NeuronLaw

if TYPE_CHECKING:
    from cosim.surrogate.model import Surrogate

REST_NAME = "rest"
# Of the set of a surrogate that was made of a bench, and goes by its name, the provenance says which set it was.
PARAMETER_SET, BENCH, BENCH_MAP = "parameter_set", "bench", "bench_map"


class Subject(Protocol):
    """What differs between surrogates of devices and of circuits."""

    @property
    def bench(self) -> tuple[str, str]:
        """The bench that a surrogate was made of, and its map; "" of a device by itself."""
        ...

    def event_map(self, surrogate: Surrogate) -> EventMap:
        """The map of a surrogate that has none yet. Raises `InputError` where it and the learned law do not agree."""
        ...

    def rest_map(self, surrogate: Surrogate) -> EventMap | None:
        """What happens between events; None: nothing, or it is the surrogate's own map."""
        ...

    def rest_event(self, surrogate: Surrogate, duration: Array) -> Values | None:
        """Inputs of the surrogate's own map that make a rest of ``duration`` (s); None: `rest_map` says what it does.

        Raises `InputError` where nobody knows.
        """
        ...

    def remainder(self, surrogate: Surrogate) -> AnyLaw | None:
        """What a learned law adds to the map."""
        ...

    def document(self) -> dict[str, Any]:
        """As JSON values, by which `rebuilt_set` makes the parameter set again."""
        ...


@dataclass(frozen=True)
class DeviceSubject:
    """A device with the parameter set ``chosen``."""

    chosen: ParameterSet

    @property
    def bench(self) -> tuple[str, str]:
        """As the provenance has it."""
        return self.chosen.provenance.get(BENCH, ""), self.chosen.provenance.get(BENCH_MAP, "")

    def event_map(self, surrogate: Surrogate) -> EventMap:
        """The device's own."""
        found = find_map(self.chosen, surrogate.name, shape=surrogate.shape)
        if surrogate.learned is not None:
            require_fields(surrogate.learned, found, wanted={*found.states, *found.outputs})
        return found

    def rest_map(self, surrogate: Surrogate) -> EventMap | None:
        """The device's, unless it has none."""
        maps = find_device(self.chosen.device).maps(self.chosen.resolved())
        return None if surrogate.name == REST_NAME else maps.get(REST_NAME)

    def rest_event(self, surrogate: Surrogate, duration: Array) -> Values | None:
        """Of the map of rests the event itself."""
        return Values({"duration": duration}) if surrogate.name == REST_NAME else None

    def remainder(self, surrogate: Surrogate) -> AnyLaw | None:
        """The learned law."""
        return surrogate.learned

    def document(self) -> dict[str, Any]:
        """Without its covariance."""
        chosen = self.chosen
        return {
            "parameters": {
                "device": chosen.device,
                "name": chosen.name,
                "source": chosen.source,
                "notes": list(chosen.notes),
                "provenance": dict(chosen.provenance),
                "plasticity": {name: [q.value, q.source] for name, q in chosen.plasticity.items()},
                "values": {name: [q.value, q.stderr, q.source] for name, q in chosen.values.items()},
            }
        }


@dataclass(frozen=True)
class CircuitSubject:
    """The circuit ``chosen``: its law is the learned one, which of a filter says what it does between events too."""

    chosen: CircuitSet

    @property
    def bench(self) -> tuple[str, str]:
        """As the circuit has it."""
        return self.chosen.bench, self.chosen.event

    def event_map(self, surrogate: Surrogate) -> EventMap:
        """By the learned law: the change of each state, and each output that the states alone do not give."""
        law, reading = surrogate.learned, surrogate.reading
        if law is None:
            raise InputError(f"the circuit {self.chosen.name} has no law", remedy="train it: cosim surrogate train")

        def closed(state: Values, inputs: Values, p: Values) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
            given = law({**state, **inputs})
            after = {name: np.clip(w + given.pop(name), *found.bounds(name)) for name, w in state.items()}
            return after, {**given, **({} if reading is None else reading(after))}

        found = self.chosen.event_map(closed, reading)
        wanted = {*found.states, *found.outputs} - set(() if reading is None else reading.targets)
        require_fields(law, found, wanted=wanted)
        if lacking := wanted - set(law.targets):
            raise InputError(f"the learned law lacks {', '.join(sorted(lacking))}")
        return found

    def rest_map(self, surrogate: Surrogate) -> EventMap | None:
        """None."""
        return None

    def rest_event(self, surrogate: Surrogate, duration: Array) -> Values | None:
        """Of a filter the level at which no input is on."""
        if isinstance(surrogate.learned, FilterLaw):
            return Values({"level": 0.0, "interval": duration})
        if isinstance(surrogate.learned, NeuronLaw):
            raise InputError(
                f"the neuron {self.chosen.name} has no rest by itself: its intervals begin with an input",
                remedy="lengthen the interval of the last event",
            )
        raise InputError(
            f"what the circuit {self.chosen.name} does between events was not learned",
            remedy="make the time between events an input of the bench's map",
        )

    def remainder(self, surrogate: Surrogate) -> AnyLaw | None:
        """None: the learned law is the map."""
        return None

    def document(self) -> dict[str, Any]:
        """As of the circuit."""
        return {"circuit": self.chosen.document()}


def subject_of(chosen: ParameterSet) -> Subject:
    """What a surrogate with these parameters is of."""
    return SUBJECTS.get(chosen.device, DeviceSubject)(chosen)


SUBJECTS: Mapping[str, Callable[[Any], Subject]] = MappingProxyType({CIRCUIT: CircuitSubject})


def rebuilt_set(document: Mapping[str, Any]) -> ParameterSet:
    """The inverse of `Subject.document`; raises KeyError, TypeError or ValueError for any other document."""
    return CircuitSet.rebuilt(document["circuit"]) if "circuit" in document else _set_of(document["parameters"])


def _set_of(given: Mapping[str, Any]) -> ParameterSet:
    values = {
        str(name): Quantity(float(value), None if stderr is None else float(stderr), str(source))
        for name, (value, stderr, source) in given["values"].items()
    }
    factors = {str(k): Quantity(float(v), None, str(s)) for k, (v, s) in given.get("plasticity", {}).items()}
    return ParameterSet(
        given["device"],
        str(given["name"]),
        MappingProxyType(values),
        str(given["source"]),
        tuple(str(note) for note in given["notes"]),
        provenance=MappingProxyType({str(k): str(v) for k, v in given["provenance"].items()}),
        plasticity=MappingProxyType(factors),
    )


def require_fields(law: AnyLaw, found: EventMap, *, wanted: set[str]) -> None:
    """Raises `InputError` for a law of fields or targets that the map does not have, or that are not ``wanted``."""
    if set(law.fields) - {*found.states, *found.inputs} or set(law.targets) - wanted:
        raise InputError(f"the learned law has other fields than the map {found.name}")


def find_map(parameters: ParameterSet, name: str = "", *, shape: PulseShape | None = None) -> EventMap:
    """A map of a set's device; "" is its usual one. Raises `InputError` for a device without states."""
    maps = find_device(parameters.device).maps(parameters.resolved(), shape=shape)
    if not maps:
        known = ", ".join(key for key, entry in devices().items() if entry.states)
        raise InputError(
            f"{parameters.device} has no event map, because it has no state", remedy=f"take one of {known}"
        )
    if name and name not in maps:
        raise UnknownName(f"map of {parameters.device}", name, maps)
    return maps[name] if name else next(iter(maps.values()))
