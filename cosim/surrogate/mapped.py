"""Surrogate of any device: one of its event maps, a learned correction where it pays, and a certificate.

What a device with a closed pulse is to `cosim.surrogate.pulse`, every other device is to this one: `MapSurrogate` calls
the device's own `EventMap` for all instances at once. The correction multiplies the change of each state and the
energy, so that it cannot move what the map leaves alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Values
from cosim.devices.maps import ENERGY, EventMap
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import device as find_device
from cosim.devices.registry import devices
from cosim.errors import InputError, UnknownName
from cosim.parameters import ParameterSet
from cosim.surrogate.base import (
    OUTSIDE,
    Array,
    Certificate,
    Outside,
    Range,
    Surrogate,
    complain,
    parameters_outside,
    require_inside,
    require_names,
    set_document,
    set_of,
)
from cosim.surrogate.correction import MapCorrection
from cosim.surrogate.files import array_digest

SLACK = 1e-9  # of a range: rounding is no departure from a domain


@dataclass(frozen=True)
class MapSurrogate(Surrogate):
    """An event map of a device, for any number of instances (module docstring).

    Args:
        parameters: of a device that has maps.
        name: of the map; "" takes the device's usual one.
        shape: of its pulses; None: the device's own.
        instances: parameters that differ from instance to instance; each broadcasts to the shape of the states.
        correction: learned from samples; None: the map alone.
        certificate: None: made without one; there is then no domain but the states' bounds.
        outside: what to do outside the certificate's domain: "raise" or "warn".
        map: the map itself.
    """

    kind: ClassVar[str] = "map"

    parameters: ParameterSet
    name: str = ""
    shape: PulseShape | None = None
    instances: Mapping[str, Array] = field(default_factory=lambda: MappingProxyType({}))
    correction: MapCorrection | None = None
    certificate: Certificate | None = None
    outside: Outside = "raise"
    map: EventMap = field(init=False, repr=False, compare=False)
    values: Values = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "map", find_map(self.parameters, self.name, shape=self.shape))
        object.__setattr__(self, "name", self.map.name)
        if self.outside not in OUTSIDE[:2]:
            raise UnknownName("choice outside the domain of a map", self.outside, OUTSIDE[:2])
        own = {name: np.asarray(values, dtype=float) for name, values in self.instances.items()}
        self.parameters.resolved(**own)  # names and physical bounds
        object.__setattr__(self, "values", self.parameters.resolved().with_(**own))
        if self.certificate is not None:
            if self.certificate.surrogate != self.fingerprint():
                raise InputError(
                    "the certificate is of another surrogate: map, pulse shape, parameters or correction differ",
                    remedy="certify this one",
                )
            complain(
                parameters_outside(self.parameters, self.certificate.domain, own, slack=SLACK), outside=self.outside
            )

    @property
    def device(self) -> str:
        """Name of the device that it stands for."""
        return self.parameters.device

    def with_(self, **changes: Any) -> Self:
        """A copy with changes; another map, shape or parameter set drops correction and certificate."""
        if any(name in changes and changes[name] != getattr(self, name) for name in ("name", "shape", "parameters")):
            changes = {"certificate": None, "correction": None, **changes}
        elif "correction" in changes and changes["correction"] is not self.correction:
            changes = {"certificate": None, **changes}
        return replace(self, **changes)

    def fingerprint(self) -> str:
        """SHA-256 of what decides the answers of nominal instances: map, waveform, parameters, correction."""
        learned = self.correction.arrays() if self.correction is not None else {}
        facts = {
            "map": self.name,
            "fixed": dict(self.map.fixed),
            "parameters": self.parameters.fingerprint(),
            "correction": {name: array_digest(values) for name, values in learned.items()},
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def step(self, state: Values, inputs: Values) -> tuple[Values, Values]:
        """One event on every instance.

        Args:
            state: each of the map's states, any shape; inputs and instances' parameters broadcast with them.
            inputs: each of the map's inputs, in its unit.

        Returns:
            The states after the event, and the map's outputs.

        Raises:
            UnknownName, InputError: a state or an input that there is not, or that is missing.
            DomainError: outside the certificate's domain, where ``outside`` is "raise".
        """
        require_names("state", state, {name: entry.unit for name, entry in self.map.states.items()})
        require_names("input", inputs, {name: entry.unit for name, entry in self.map.inputs.items()})
        given = {name: np.asarray(value, dtype=float) for name, value in {**state, **inputs}.items()}
        shape = np.broadcast_shapes(*(x.shape for x in given.values()), *(x.shape for x in self.instances.values()))
        given = {name: np.broadcast_to(x, shape) for name, x in given.items()}
        for name, x in given.items():
            kind, entry = ("state ", self.map.states[name]) if name in state else ("", self.map.inputs[name])
            allowed = self.allowed(name)
            slack = SLACK * (allowed[1] - allowed[0] if np.all(np.isfinite(allowed)) else 0.0)
            wide = (allowed[0] - slack, allowed[1] + slack)
            complain(require_inside(f"{kind}{name}", x, wide, unit=entry.unit), outside=self.outside)
        before = Values({name: given[name] for name in self.map.states})
        after, outputs = self.map(before, Values({name: given[name] for name in self.map.inputs}), self.values)
        if self.correction is not None:
            basis = self.correction.basis({name: x.reshape(-1) for name, x in given.items()})
            moved = {}
            for name, x in before.items():
                gain = self.correction.gain(name, basis).reshape(shape)
                moved[name] = np.clip(x + (after[name] - x) * gain, *self.map.bounds(name))
            energy = outputs.get(ENERGY)
            if energy is not None:
                energy = energy * self.correction.gain(ENERGY, basis).reshape(shape)
            after = Values(moved)
            outputs = Values(self.map.reading(after, self.values, energy))
        spread = (Values({name: np.broadcast_to(x, shape) for name, x in part.items()}) for part in (after, outputs))
        return next(spread), next(spread)

    def allowed(self, name: str) -> Range:
        """The certified range of a state or an input; without a certificate a state's bounds, and any input."""
        if self.certificate is not None:
            domain = self.certificate.domain
            return domain.states[name] if name in domain.states else domain.inputs[name]
        return self.map.bounds(name) if name in self.map.states else (-np.inf, np.inf)

    # -- files --------------------------------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """What is needed to make it again, as JSON values."""
        return {
            "map": self.name,
            "shape": None if self.shape is None else vars(self.shape),
            "instances": sorted(self.instances),
            "correction": None
            if self.correction is None
            else {
                "fields": list(self.correction.fields),
                "degree": self.correction.degree,
                "of": sorted(self.correction.tables),
            },
            "parameters": set_document(self.parameters),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Instances and correction."""
        out: dict[str, NDArray[Any]] = {f"instance_{name}": values for name, values in self.instances.items()}
        return out | (self.correction.arrays() if self.correction is not None else {})

    @classmethod
    def rebuilt(
        cls, document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], certificate: Certificate | None
    ) -> Self:
        """The surrogate of a file."""
        shape, learned = document["shape"], document["correction"]
        correction = None
        if learned is not None:
            correction = MapCorrection(
                tuple(str(name) for name in learned["fields"]),
                np.asarray(arrays["correction_ranges"], dtype=float),
                int(learned["degree"]),
                {str(name): np.asarray(arrays[f"correction_of_{name}"], dtype=float) for name in learned["of"]},
            )
        return cls(
            parameters=set_of(document["parameters"]),
            name=str(document["map"]),
            shape=None if shape is None else PulseShape(**{k: float(shape[k]) for k in ("width", "rise", "fall")}),
            instances={str(name): arrays[f"instance_{name}"] for name in document["instances"]},
            correction=correction,
            certificate=certificate,
        )


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
