"""Surrogate: an event map of a device or a circuit, what was learned of it, and a certificate of how good it is.

``step(state, inputs) -> (state, outputs)`` in numpy, for any number of instances at once. The law is the device's own
physics (`cosim.devices.maps`), closed or integrated, alone, with a correction or with a learned remainder; of a circuit
without such physics it is learned (`cosim.surrogate.learned`). Closed pulses go by `cosim.surrogate.pulse_kernel`,
which is faster.
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

from cosim.devices.base import Array, Operand, Values
from cosim.devices.maps import ENERGY, EventMap
from cosim.devices.pulse import PulseShape
from cosim.errors import InputError, UnknownName
from cosim.parameters import ParameterSet
from cosim.surrogate.answers import (
    FARTHEST,
    Answer,
    Extrapolated,
    arrays_for,
    beyond,
    common_shape,
    described,
    extrapolated_in,
    outside_of,
    which_beyond,
)
from cosim.surrogate.base import (
    POLICIES,
    Certificate,
    Policy,
    Range,
    complain,
    parameters_outside,
    require_inside,
    require_names,
    widened,
)
from cosim.surrogate.conformal import USUAL, width_after
from cosim.surrogate.correction import Correction
from cosim.surrogate.density import near_enough
from cosim.surrogate.files import array_digest
from cosim.surrogate.law_kernel import LawKernel, compilable
from cosim.surrogate.laws import AnyLaw
from cosim.surrogate.learned import Law, Laws, learned_range
from cosim.surrogate.named import require_plain
from cosim.surrogate.pulse_kernel import PulseKernel
from cosim.surrogate.several import followed, rested
from cosim.surrogate.subjects import Subject, subject_of

if TYPE_CHECKING:
    import xarray as xr

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
        learned: of a circuit (`cosim.surrogate.circuit.CircuitSet`) the law itself: the change of each state, and each
            output; of a device what its map leaves out of them.
        reading: of a circuit: the outputs that depend on the states alone.
        certificate: None: not certified; the domain is then the states' bounds.
        policy: what to do outside the certificate's domain: "raise", "warn" or "ask", which takes the answer of
            ``reference``.
        reference: answers for single instances outside the domain.
        uncertified: networks and exports take it without a certificate, or one that misses its limits.
        threads: how many cores may work on a large array of closed pulses; more than are idle make it slower.
        answers: what it has answered so far, a sample each (`cosim.surrogate.train.save_samples`); copies share it.
        dtype: "float64" or, of closed pulses and what is ``compiled``, "float32" of the computation; it adds up to 3e-6
            to the certified error of the state.
        compiled: closed pulses, event neurons, filters and maps of circuits whose laws are polynomials or splines as
            vector instructions, by numba: the same answers to rounding, several times as fast on large arrays, after
            some seconds of compiling.
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
    learned: AnyLaw | None = None
    reading: Law | None = None
    certificate: Certificate | None = None
    policy: Policy = "raise"
    reference: Reference | None = field(default=None, compare=False)
    uncertified: bool = field(default=False, compare=False)
    threads: int = field(default=1, compare=False)
    answers: list[xr.Dataset] = field(default_factory=list, compare=False, repr=False)
    dtype: Literal["float64", "float32"] = "float64"
    compiled: bool = field(default=False, compare=False)
    map: EventMap = field(init=False, repr=False, compare=False)
    values: Values = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "map", self.subject.event_map(self))
        object.__setattr__(self, "name", self.map.name)
        require_plain(self)
        if self.policy not in POLICIES:
            raise UnknownName("policy outside the domain", self.policy, POLICIES)
        if self.policy == "ask" and self.reference is None:
            raise InputError("policy='ask' needs a reference", remedy="give reference=..., or take 'raise' or 'warn'")
        if self.threads < 1:
            raise InputError(f"{self.threads} threads do no work", remedy="give 1 or more")
        kind = np.dtype(self.dtype)
        if kind not in (np.float64, np.float32):
            raise UnknownName("dtype", str(self.dtype), ("float64", "float32"))
        if kind == np.float32 and self.map.pulse is None and self.law_kernel is None:
            remedy = "take dtype='float64'" if self.compiled else "add compiled=True, or take dtype='float64'"
            raise InputError(f"the map {self.name} of {self.parameters.name} has no float32 form", remedy=remedy)
        own = {name: np.asarray(values, dtype=kind) for name, values in self.instances.items()}
        self.parameters.resolved(**own)  # names and physical bounds
        # Python floats, which do not widen float32 arrays.
        nominal = {name: float(value) for name, value in self.parameters.resolved().items()}
        object.__setattr__(self, "values", Values({**nominal, **own}))
        if self.compiled and self.kernel is None and self.law_kernel is None:
            raise InputError(
                f"the map {self.name} of {self.parameters.name} has no compiled form", remedy="take compiled=False"
            )
        if self.certificate is not None:
            if self.certificate.surrogate != self.fingerprint():
                raise InputError(
                    "the certificate is of another surrogate: map, pulse shape, parameters or correction differ",
                    remedy="certify this one",
                )
            complaint = parameters_outside(self.parameters, self.certificate.domain, own, slack=self.slack)
            complain(complaint, kind="parameter", policy=self.policy)

    def __str__(self) -> str:
        return described(self)

    @cached_property
    def slack(self) -> float:
        """Of the rounding to ``dtype``, relative."""
        return max(SLACK, 4.0 * float(np.finfo(self.dtype).eps))

    @cached_property
    def ends(self) -> Mapping[str, Range]:
        """`allowed`, with room for rounding, of each state and input."""
        return {name: widened(self.allowed(name), self.slack) for name in (*self.map.states, *self.map.inputs)}

    @cached_property
    def subject(self) -> Subject:
        """What it is of."""
        return subject_of(self.parameters)

    @property
    def device(self) -> str:
        """Name of the device that it stands for."""
        return self.parameters.device

    @cached_property
    def kernel(self) -> PulseKernel | None:
        """What evaluates a closed pulse; None: the map itself does."""
        pulse, rest = self.map.pulse, self.learned
        compiled = self.compiled and self.correction is None
        law = rest if compiled and isinstance(rest, Law | Laws) and rest.traceable else None
        if pulse is None or law is not rest:
            return None
        negative, positive = (float(np.min(v, initial=np.inf)) for v in pulse.cell.thresholds(self.values))
        names = (next(iter(self.map.states)), next(iter(self.map.inputs)))
        own = tuple(sorted(self.instances))
        return PulseKernel(pulse, *names, self.values, own, self.correction, (negative, positive), self.compiled, law)

    @cached_property
    def law_kernel(self) -> LawKernel | None:
        """What evaluates the compiled law of a circuit; None: the map itself does."""
        law = self.learned
        ready = self.compiled and law is not None and self.subject.remainder(self) is None  # no map of a device
        if law is None or not ready or not compilable(law, self.reading):
            return None
        bounds = {name: self.map.bounds(name) for name in self.map.states}
        return LawKernel(law, bounds, np.dtype(self.dtype).name, self.reading)

    @cached_property
    def rest_map(self) -> EventMap | None:
        """What happens between events; None: there is no device, it has no such map, or it is this surrogate's own."""
        return self.subject.rest_map(self)

    def with_(self, **changes: Any) -> Self:
        """A copy with other ``dtype``, ``policy``, ``instances``, ...

        Another map, shape or parameter set than the certified drops certificate and correction; another correction
        or law drops the certificate.
        """
        if any(name in changes and changes[name] != getattr(self, name) for name in ("name", "shape", "parameters")):
            changes = {"certificate": None, "correction": None, "learned": None, "reading": None, **changes}
        elif any(n in changes and changes[n] is not getattr(self, n) for n in ("correction", "learned", "reading")):
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
        for name, law in self.laws():
            found = {key: array_digest(values) for key, values in law.arrays(name).items()}
            facts |= {name: {**law.document(), "arrays": found}}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def laws(self) -> list[tuple[str, AnyLaw]]:
        """The learned laws that it has, by the names of their fields."""
        laws: tuple[tuple[str, AnyLaw | None], ...] = (("learned", self.learned), ("reading", self.reading))
        return [(name, law) for name, law in laws if law is not None]

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

    def step(self, state: Values, inputs: Values, *, out: Mapping[str, Array] | None = None) -> tuple[Values, Values]:
        """One event on every instance.

        Args:
            state: each of the map's states, any shape; inputs and instances' parameters broadcast with them, e.g. a
                voltage (rows, 1) that a row shares.
            inputs: each of the map's inputs, in its unit.
            out: arrays of the result's shape and `dtype` by the name of a state or an output, into which it is written,
                e.g. the states themselves: new memory costs a large array more than its arithmetic.

        Returns:
            The states after the event, and the map's outputs: what a read gives after it, and the ``energy`` (J) that
            it takes. With the policy "warn" either tells how many events of an instance were ``extrapolated`` so far.

        Raises:
            UnknownName, InputError: a state or an input is unknown or missing, or their shapes do not fit.
            DomainError: outside the certificate's domain, where ``policy`` is "raise".
        """
        known = self._extrapolated(state, inputs)  # before `out` overwrites the states
        after, outputs = self._event(state, inputs, energy=True, out=out)
        return Answer(after, **known), Answer(outputs, **known)

    def follow(self, state: Values, inputs: Values, *, out: Mapping[str, Array] | None = None) -> tuple[Values, Values]:
        """Many events on every instance, one after the other: as `step` for each, without arrays of their own.

        Args:
            state: before the first event. inputs: of each event, (events, ...).
            out: arrays to write into, as for `step`: of a state as one event has it, of an output (events, ...).

        Returns:
            The states after the last event, and the outputs of all. Raises as `step`, at the event that is wrong.
        """
        return followed(self, state, inputs, out=out)

    def update(self, state: ArrayLike, drive: ArrayLike) -> Array:
        """`step` without its outputs, for a map with one state and one input: the states after one event."""
        (x,), (u,) = self.map.states, self.map.inputs
        after: Array = self.advance(Values({x: state}), Values({u: drive}))[x]
        return after

    def advance(self, state: Values, inputs: Values) -> Values:
        """`step` without its outputs."""
        known = self._extrapolated(state, inputs)
        return Answer(self._event(state, inputs, energy=False)[0], **known)

    def read(self, state: Values) -> Values:
        """What a read that disturbs nothing gives in these states, e.g. the ``conductance`` (S)."""
        return Values({name: np.asarray(value) for name, value in self.map.device.readout(state, self.values).items()})

    def rest(self, state: Values, duration: ArrayLike) -> Values:
        """The states after ``duration`` (s) without an event, by the device's rest map; broadcasts, as in `step`.

        Exact where the states decay linearly. A device without the map keeps its states. A filter follows its law, with
        no input on. The certificate holds rests of nominal parameters alone, also where instances differ.

        Raises:
            UnknownName, InputError: a state is unknown or missing, a duration is negative, or nothing is known of what
                a circuit does between events.
            DomainError: rests are not certified, or not so long ones, where ``policy`` is "raise".

        >>> cell = cosim.Surrogate(cosim.ParameterSet.load("fast"), "spike")
        >>> sorted(cell.rest(cosim.Values(dict.fromkeys(cell.map.states, 0.1)), 1.0))
        """
        return rested(self, state, duration)

    def interval(self, answer: Values, *, events: int = 1, level: float = USUAL) -> tuple[Values, Values]:
        """Lower and upper ends of the prediction intervals around an answer (`cosim.surrogate.conformal`).

        Args:
            answer: states or outputs by name, as `step` gives them.
            events: how many the surrogate has followed by itself since a state that was known.
            level: the share of fresh answers of the reference that lies within: 0.5, 0.9, 0.95 or 0.99.

        Raises:
            InputError: there is no certificate, or none for so many events or such a level. UnknownName: for a name.
            DomainError: for an answer that is not finite; where ``policy`` is not "warn" also for a state beyond its
                bounds, and for what `step` answered outside the certificate's domain, where no interval was calibrated.
        """
        if self.certificate is None:
            raise InputError("a surrogate without a certificate has no prediction intervals", remedy="certify it")
        if outside := outside_of(answer):
            complain(f"{outside}, where no interval was calibrated", kind="input", policy=self.policy)
        low, high = {}, {}
        for name, value in answer.items():
            if name not in self.map.states and name not in self.map.outputs:
                raise UnknownName("quantity of the surrogate", name, [*self.map.states, *self.map.outputs])
            width = width_after(self.certificate.bands, name, events=events, level=level)
            of_state = name in self.map.states
            ends = self.map.bounds(name) if of_state else (-np.inf, np.inf)
            complaint = require_inside(
                f"state {name}" if of_state else name, np.asarray(value, dtype=float), ends,
                unit=(self.map.states if of_state else self.map.outputs)[name].unit, slack=self.slack, known="",
            )  # fmt: skip
            complain(complaint, kind="state", policy=self.policy)
            low[name], high[name] = np.clip(value - width, *ends), np.clip(value + width, *ends)
        return Values(low), Values(high)

    def covered(self, state: Values, inputs: Values) -> NDArray[np.bool_]:
        """Which instances lie where the certificate's box was tested densely (`cosim.surrogate.density`).

        `step` looks at the box alone: this takes some microseconds an instance. Raises `InputError` without a
        certificate.
        """
        if self.certificate is None:
            raise InputError("a surrogate without a certificate was not tested anywhere", remedy="certify it")
        from cosim.surrogate.certify import coordinates

        domain = self.certificate.domain
        box = {**domain.states, **domain.inputs}
        names = [*self.map.states, *self.map.inputs]
        given = {name: np.asarray({**state, **inputs}[name], dtype=float) for name in names}
        shape = common_shape(given, {})
        flat = {name: np.broadcast_to(entry, shape).ravel() for name, entry in given.items()}
        inside = np.all([(x >= box[name][0]) & (x <= box[name][1]) for name, x in flat.items()], axis=0)
        columns = {f"{name}_before" if name in self.map.states else name: x[inside] for name, x in flat.items()}
        samples = np.array(domain.samples).reshape(-1, len(names))
        inside[inside] = near_enough(samples, coordinates(self.map, columns, box))
        return np.asarray(inside.reshape(shape))

    def full_scale(self, reading: str) -> float:
        """What errors and weights of a reading are shares of, with nominal parameters."""
        return self.map.device.full_scales(self.parameters.resolved())[reading]

    def _event(
        self, state: Values, inputs: Values, *, energy: bool, out: Mapping[str, Array] | None = None
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        x, u = self._arrays(state, inputs)
        shape = common_shape({**x, **u}, self.instances)
        outside = self.outside_domain(x, u)
        ready = arrays_for(self, out, shape) if out else {}
        if outside is not None and ready:
            x = {name: values.copy() for name, values in x.items()}  # the reference is asked for what was there
        if self.kernel is not None:
            w, found = self.kernel.run(
                x[self.kernel.state], u[self.kernel.drive], shape=shape, energy=energy, out=ready, threads=self.threads
            )
            after, outputs = {self.kernel.state: w}, found or {}
        elif self.law_kernel is not None:
            together = self.law_kernel.run({**x, **u}, shape=shape, out=ready, threads=self.threads)
            after, outputs = ({name: together[name] for name in part} for part in (self.map.states, self.map.outputs))
        else:
            after, outputs = self.whole(x, u, shape)
            for part in (after, outputs):
                for name in part.keys() & ready.keys():
                    ready[name][...] = part[name]
                    part[name] = ready[name]
        if outside is not None:
            from cosim.surrogate.references import ask

            ask(self, np.broadcast_to(outside, shape), x, u, after=after, outputs=outputs)
        return after, outputs

    def _arrays(self, state: Values, inputs: Values) -> tuple[dict[str, Array], dict[str, Array]]:
        """States and inputs as arrays of ``dtype``; raises as `require_names`."""
        require_names("state", state, {name: entry.unit for name, entry in self.map.states.items()})
        require_names("input", inputs, {name: entry.unit for name, entry in self.map.inputs.items()})
        x, u = (
            {name: np.asarray(part[name], dtype=self.dtype) for name in known}
            for part, known in ((state, self.map.states), (inputs, self.map.inputs))
        )
        return x, u

    def whole(
        self, x: Mapping[str, Array], u: Mapping[str, Array], shape: tuple[int, ...]
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """One event by the map itself, with the correction; the domain is not looked at."""
        before = Values({name: np.broadcast_to(values, shape) for name, values in x.items()})
        inputs = Values({name: np.broadcast_to(values, shape) for name, values in u.items()})
        after, outputs = self.corrected(before, inputs, *self.map(before, inputs, self.values), self.values)
        spread = (
            {n: np.array(np.broadcast_to(value, shape)) for n, value in part.items()} for part in (after, outputs)
        )
        return next(spread), next(spread)

    def corrected(
        self,
        state: Values,
        inputs: Values,
        after: Values,
        outputs: Values,
        p: Values,
        *,
        rest: Mapping[str, Operand] | None = None,
    ) -> tuple[Values, Values]:
        """What the map gives, with the correction or a device's learned remainder: of arrays, or of recording operands
        (`cosim.emit.expr`), for which ``rest`` is what the remainder gives.
        """
        remainder = self.subject.remainder(self)
        if self.correction is None and remainder is None:
            return after, outputs
        fields, held, spent = {**state, **inputs}, dict(after), outputs.get(ENERGY)
        if self.correction is not None:
            gains = {name: self.correction.gain(name, fields) for name in self.correction.tables}
            held = {name: w + (after[name] - w) * gains[name] for name, w in state.items()}
            spent = None if spent is None else spent * gains[ENERGY]
        if remainder is not None:
            rest = remainder(fields) if rest is None else rest
            held = {name: w + rest.get(name, 0.0) for name, w in held.items()}
            spent = None if spent is None else spent + rest.get(ENERGY, 0.0)
        for name, w in held.items():
            low, high = (end if np.isfinite(end) else None for end in self.map.bounds(name))
            held[name] = np.clip(w, low, high)
        return Values(held), Values(self.map.reading(Values(held), p, spent))

    def _extrapolated(self, state: Values, inputs: Values) -> Extrapolated:
        """What `Answer` tells of an event, and of those before it."""
        known = Extrapolated(outside=outside_of(state), extrapolated=extrapolated_in(state))
        if self.policy == "warn":
            x, u = self._arrays(state, inputs)
            if found := beyond(self, x, u):
                bad = np.broadcast_to(which_beyond(self, x, u), common_shape({**x, **u}, self.instances))
                known["outside"] = found[0][0]
                known["extrapolated"] += int(np.count_nonzero(bad))
        return known

    # -- outside the domain -------------------------------------------------------------------------------------------

    def allowed(self, name: str) -> Range:
        """The certified range of a state or an input; without a certificate a state's bounds, and `FARTHEST` times the
        inputs at which the map is tested, but no further than a learned law was trained."""
        if self.certificate is not None:
            domain = self.certificate.domain
            return domain.states[name] if name in domain.states else domain.inputs[name]
        if name in self.map.states:
            return self.map.bounds(name)
        if self.learned is not None:
            return learned_range(self.learned, name, self.map.inputs[name].range)
        low, high = self.map.inputs[name].range
        return (FARTHEST * low if low < 0.0 else 0.0, FARTHEST * high if high > 0.0 else 0.0)

    def uncovered(self) -> tuple[str, ...]:
        """Each state whose certified range is less than its own, as a sentence."""
        if self.certificate is None:
            return ()
        return tuple(
            f"{name} is certified from {low:.4g} to {high:.4g} of {entry.range[0]:.4g}..{entry.range[1]:.4g}"
            + ("" if entry.unit == "1" else f" {entry.unit}")
            + self.certificate.domain.but(name)
            for name, entry in self.map.states.items()
            for low, high in [self.allowed(name)]
            if high - low < (1.0 - SLACK) * entry.span or name in self.certificate.domain.gaps
        )

    def outside_domain(self, state: Mapping[str, Array], inputs: Mapping[str, Array]) -> NDArray[np.bool_] | None:
        """None inside the domain; else raises, warns, or gives the instances (bool) to ask the reference for."""
        found = beyond(self, state, inputs)
        if not found:
            return None
        if self.policy == "ask" and self.certificate is not None:
            return which_beyond(self, state, inputs)
        complain(found[0][0], kind=found[0][1], policy=self.policy)
        return None
