"""Surrogate: an event map of a device, a learned correction where it pays, and a certificate of how good it is.

``step(state, inputs) -> (state, outputs)`` in numpy, for any number of instances at once: the device's own physics
(`cosim.devices.maps`), closed or integrated. Closed pulses go by `cosim.surrogate.pulse_kernel`, which is faster.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cosim.devices.base import Array, Values
from cosim.devices.maps import ENERGY, EventMap
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import device as find_device
from cosim.devices.registry import devices
from cosim.errors import DomainError, InputError, UnknownName
from cosim.parameters import ParameterSet
from cosim.surrogate.base import (
    OUTSIDE,
    Certificate,
    Outside,
    Range,
    complain,
    parameters_outside,
    require_inside,
    require_names,
    set_document,
    set_of,
    widened,
)
from cosim.surrogate.correction import Correction
from cosim.surrogate.files import array_digest
from cosim.surrogate.pulse_kernel import PulseKernel

if TYPE_CHECKING:
    from cosim.surrogate.references import Reference

SLACK = 1e-9  # of a range: rounding does not leave a domain


@dataclass(frozen=True)
class Surrogate:
    """An event map of a device, for any number of instances (module docstring).

    Args:
        parameters: of a device that has maps.
        name: of the map, e.g. "pulse", "published" or "spike"; "" takes the device's usual one.
        shape: of its pulses; None: the device's own.
        instances: parameters that differ from instance to instance; each broadcasts to the shape of the states.
        correction: learned from samples; None: the map alone.
        certificate: None: not certified; the domain is then the states' bounds.
        outside: what to do outside the certificate's domain: "raise", "warn" or "ask", which takes the answer of
            ``reference``.
        reference: answers for single instances outside the domain.
        dtype: "float64" or, of closed pulses, "float32" of the computation; the latter adds up to 3e-6 to the certified
            error of the state.
        map: the map itself.
        values: the parameters in use: floats, and arrays of instances.

    >>> cell = cosim.Surrogate(cosim.ParameterSet.load("tio2"))
    >>> cell.update([0.5, 0.5, 0.5], [-2.0, 0.0, 2.0]).round(3).tolist()
    [0.618, 0.5, 0.391]
    """

    parameters: ParameterSet
    name: str = ""
    shape: PulseShape | None = None
    instances: Mapping[str, Array] = field(default_factory=lambda: MappingProxyType({}))
    correction: Correction | None = None
    certificate: Certificate | None = None
    outside: Outside = "raise"
    reference: Reference | None = field(default=None, compare=False)
    dtype: Literal["float64", "float32"] = "float64"
    map: EventMap = field(init=False, repr=False, compare=False)
    values: Values = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "map", find_map(self.parameters, self.name, shape=self.shape))
        object.__setattr__(self, "name", self.map.name)
        if self.outside not in OUTSIDE:
            raise UnknownName("choice outside the domain", self.outside, OUTSIDE)
        if self.outside == "ask" and self.reference is None:
            raise InputError("outside='ask' needs a reference", remedy="give reference=..., or take 'raise' or 'warn'")
        kind = np.dtype(self.dtype)
        if kind not in (np.float64, np.float32):
            raise UnknownName("dtype", str(self.dtype), ("float64", "float32"))
        if kind == np.float32 and self.map.pulse is None:
            raise InputError(f"the map {self.name} of {self.device} has no float32 form", remedy="take dtype='float64'")
        own = {name: np.asarray(values, dtype=kind) for name, values in self.instances.items()}
        self.parameters.resolved(**own)  # names and physical bounds
        # Python floats, which do not widen float32 arrays.
        nominal = {name: float(value) for name, value in self.parameters.resolved().items()}
        object.__setattr__(self, "values", Values({**nominal, **own}))
        if self.certificate is not None:
            if self.certificate.surrogate != self.fingerprint():
                raise InputError(
                    "the certificate is of another surrogate: map, pulse shape, parameters or correction differ",
                    remedy="certify this one",
                )
            complaint = parameters_outside(self.parameters, self.certificate.domain, own, slack=self._slack)
            complain(complaint, kind="parameter", outside=self.outside)

    @property
    def _slack(self) -> float:
        """Of the rounding to ``dtype``, relative."""
        return max(SLACK, 4.0 * float(np.finfo(self.dtype).eps))

    @property
    def device(self) -> str:
        """Name of the device that it stands for."""
        return self.parameters.device

    @cached_property
    def kernel(self) -> PulseKernel | None:
        """What evaluates a closed pulse; None: the map itself does."""
        pulse = self.map.pulse
        if pulse is None:
            return None
        negative, positive = (float(np.min(v, initial=np.inf)) for v in pulse.cell.thresholds(self.values))
        names = (next(iter(self.map.states)), next(iter(self.map.inputs)))
        own = tuple(sorted(self.instances))
        return PulseKernel(pulse, *names, self.values, own, self.correction, (negative, positive))

    def with_(self, **changes: Any) -> Self:
        """A copy with other ``dtype``, ``outside``, ``instances``, ...

        Another map, shape or parameter set than the certified drops certificate and correction; another correction
        drops the certificate.
        """
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

    def select(self, index: Any) -> Self:
        """The surrogate of some of the instances: ``index`` as for an array of the states' shape."""
        if not self.instances:
            return self
        picked = {name: values[index] if values.ndim else values for name, values in self.instances.items()}
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__, instances=picked, values=self.values.with_(**picked))
        made.__dict__.pop("kernel", None)
        return made

    # -- running ------------------------------------------------------------------------------------------------------

    def step(self, state: Values, inputs: Values) -> tuple[Values, Values]:
        """One event on every instance.

        Args:
            state: each of the map's states, any shape; inputs and instances' parameters broadcast with them, e.g. a
                voltage (rows, 1) that a row shares.
            inputs: each of the map's inputs, in its unit.

        Returns:
            The states after the event, and the map's outputs: what a read gives after it, and the ``energy`` (J) that
            it takes.

        Raises:
            UnknownName, InputError: a state or an input is unknown or missing.
            DomainError: outside the certificate's domain, where ``outside`` is "raise".
        """
        return self._event(state, inputs, energy=True)

    def update(self, state: ArrayLike, drive: ArrayLike) -> Array:
        """`step` without its outputs, for a map with one state and one input: the states after one event."""
        (x,), (u,) = self.map.states, self.map.inputs
        after: Array = self.advance(Values({x: state}), Values({u: drive}))[x]
        return after

    def advance(self, state: Values, inputs: Values) -> Values:
        """`step` without its outputs."""
        return self._event(state, inputs, energy=False)[0]

    def read(self, state: Values) -> Values:
        """What a read that disturbs nothing gives in these states, e.g. the ``conductance`` (S)."""
        return Values({name: np.asarray(value) for name, value in self.map.device.readout(state, self.values).items()})

    def full_scale(self, reading: str) -> float:
        """What errors and weights of a reading are shares of, with nominal parameters."""
        return self.map.device.full_scales(self.parameters.resolved())[reading]

    def _event(self, state: Values, inputs: Values, *, energy: bool) -> tuple[Values, Values]:
        require_names("state", state, {name: entry.unit for name, entry in self.map.states.items()})
        require_names("input", inputs, {name: entry.unit for name, entry in self.map.inputs.items()})
        x, u = (
            {name: np.asarray(part[name], dtype=self.dtype) for name in known}
            for part, known in ((state, self.map.states), (inputs, self.map.inputs))
        )
        own = (values.shape for values in self.instances.values())
        shape = np.broadcast_shapes(*(values.shape for values in (*x.values(), *u.values())), *own)
        beyond = self.outside_domain(x, u)
        if self.kernel is not None:
            w, spent = self.kernel.run(x[self.kernel.state], u[self.kernel.drive], shape=shape, energy=energy)
            after, outputs = {self.kernel.state: w}, self._outputs({self.kernel.state: w}, spent)
        else:
            after, outputs = self._whole(x, u, shape)
        if beyond is not None:
            self._ask(np.broadcast_to(beyond, shape), x, u, after, outputs)
        return Values(after), Values(outputs)

    def _outputs(self, after: Mapping[str, Array], energy: Array | None) -> dict[str, Array]:
        """Outputs of a pulse from `kernel`; empty where the energy was not asked for."""
        return {} if energy is None else {**self.read(Values(after)), ENERGY: energy}

    def _whole(
        self, x: Mapping[str, Array], u: Mapping[str, Array], shape: tuple[int, ...]
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """By the map itself, with the correction."""
        before = Values({name: np.broadcast_to(values, shape) for name, values in x.items()})
        inputs = Values({name: np.broadcast_to(values, shape) for name, values in u.items()})
        after, outputs = self.corrected(before, inputs, *self.map(before, inputs, self.values), self.values)
        spread = (
            {n: np.array(np.broadcast_to(value, shape)) for n, value in part.items()} for part in (after, outputs)
        )
        return next(spread), next(spread)

    def corrected(
        self, state: Values, inputs: Values, after: Values, outputs: Values, p: Values
    ) -> tuple[Values, Values]:
        """What the map gives, with the correction: of arrays, or of recording operands (`cosim.emit.expr`)."""
        if self.correction is None:
            return after, outputs
        fields = {**state, **inputs}
        gains = {name: self.correction.gain(name, fields) for name in self.correction.tables}
        held = {}
        for name, w in state.items():
            low, high = (end if np.isfinite(end) else None for end in self.map.bounds(name))
            held[name] = np.clip(w + (after[name] - w) * gains[name], low, high)
        spent = outputs[ENERGY] * gains[ENERGY] if ENERGY in outputs else None
        return Values(held), Values(self.map.reading(Values(held), p, spent))

    # -- outside the domain -------------------------------------------------------------------------------------------

    def allowed(self, name: str) -> Range:
        """The certified range of a state or an input; without a certificate a state's bounds, and any input."""
        if self.certificate is not None:
            domain = self.certificate.domain
            return domain.states[name] if name in domain.states else domain.inputs[name]
        return self.map.bounds(name) if name in self.map.states else (-np.inf, np.inf)

    def uncovered(self) -> tuple[str, ...]:
        """Each state whose certified range is less than its own, as a sentence."""
        if self.certificate is None:
            return ()
        return tuple(
            f"{name} is certified from {low:.4g} to {high:.4g} of {entry.range[0]:.4g}..{entry.range[1]:.4g}"
            + ("" if entry.unit == "1" else f" {entry.unit}")
            for name, entry in self.map.states.items()
            for low, high in [self.allowed(name)]
            if high - low < (1.0 - SLACK) * entry.span
        )

    def outside_domain(self, state: Mapping[str, Array], inputs: Mapping[str, Array]) -> NDArray[np.bool_] | None:
        """None inside the domain; else raises, warns, or gives the instances (bool) to ask the reference for."""
        found: list[tuple[str, Literal["input", "state"]]] = []
        bad: NDArray[np.bool_] = np.zeros((), dtype=bool)
        for name, x in (*inputs.items(), *state.items()):
            of_state, allowed = name in self.map.states, self.allowed(name)
            unit = (self.map.states if of_state else self.map.inputs)[name].unit
            complaint = require_inside(f"state {name}" if of_state else name, x, allowed, unit=unit, slack=self._slack)
            if complaint is not None:
                low, high = widened(allowed, self._slack)
                found.append((complaint, "state" if of_state else "input"))
                bad = bad | ~((x >= low) & (x <= high))
        if not found:
            return None
        if self.outside == "ask" and self.certificate is not None:
            return bad
        complain(found[0][0], kind=found[0][1], outside=self.outside)
        return None

    def _ask(
        self,
        instances: NDArray[np.bool_],
        x: Mapping[str, Array],
        u: Mapping[str, Array],
        after: dict[str, Array],
        outputs: dict[str, Array],
    ) -> None:
        """Put the reference's answers for some ``instances`` (bool) into ``after`` and ``outputs``."""
        from cosim.surrogate.references import events_of

        if self.instances:
            raise DomainError(
                "a reference cannot be asked for instances with parameters of their own",
                remedy="certify a wider domain",
            )
        assert self.reference is not None
        fields = {name: np.broadcast_to(values, instances.shape) for name, values in {**x, **u}.items()}
        for index in map(tuple, np.argwhere(instances)):
            here = {name: float(values[index]) for name, values in fields.items()}
            events = events_of(self.map, {name: [here[name]] for name in u}, begin={name: here[name] for name in x})
            answer = self.reference.respond(self.parameters, self.map, events)
            for part in (after, outputs):
                for name, values in part.items():
                    values[index] = float(answer[name].values[0])

    # -- files --------------------------------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """What is needed to make it again, as JSON values, without the certificate."""
        learned = self.correction
        return {
            "map": self.name,
            "shape": None if self.shape is None else vars(self.shape),
            "dtype": self.dtype,
            "instances": sorted(self.instances),
            "correction": None
            if learned is None
            else {
                "fields": list(learned.fields),
                "signed": list(learned.signed),
                "degree": learned.degree,
                "of": sorted(learned.tables),
            },
            "parameters": set_document(self.parameters),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of its file: instances and correction."""
        out: dict[str, NDArray[Any]] = {f"instance_{name}": values for name, values in self.instances.items()}
        return out | (self.correction.arrays() if self.correction is not None else {})

    @classmethod
    def rebuilt(
        cls, document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], certificate: Certificate | None
    ) -> Self:
        """The inverse of `document` and `arrays`."""
        shape, learned = document["shape"], document["correction"]
        correction = None
        if learned is not None:
            correction = Correction(
                tuple(str(name) for name in learned["fields"]),
                tuple(str(name) for name in learned["signed"]),
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
            dtype=document["dtype"],
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
