"""How far a surrogate can be trusted: its certificate, its domain, and what happens to a call outside the domain.

A `Certificate` holds the error against a reference on data that took no part in making the surrogate, the growth of the
error over a long free run, and what is needed to make it again. Outside the domain a surrogate raises `DomainError`, or
warns and extrapolates, or asks a reference, as its user chose.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from cosim import units
from cosim.devices.base import Array
from cosim.devices.maps import Field
from cosim.devices.registry import device as find_device
from cosim.errors import DomainError, InputError, UnknownName
from cosim.parameters import ParameterSet
from cosim.surrogate.conformal import LEVELS, USUAL, Band
from cosim.surrogate.density import LEAST_NEAR, NEAR
from cosim.surrogate.summary import ErrorSummary, Rollout

Range = tuple[float, float]
Policy = Literal["raise", "warn", "ask"]
POLICIES: tuple[Policy, ...] = ("raise", "warn", "ask")


# Largest errors (shares of full scale) of a surrogate that is used without `uncertified`: our choice. A network
# depends on states and readings; energy and latency are only reported, and 7 % and 8 % are the best published errors
# (arXiv 2507.10748).
STATE, FREE_RUN, REST, UNTESTED = "state", "free run", " at rest", "untested"
LIMITS: Mapping[str, float] = MappingProxyType({STATE: 0.01, "energy": 0.07, "latency": 0.08, FREE_RUN: 0.05})
# Cells deviate from their nominal parameters by a normal distribution, cut off so many standard deviations away ...
DEVIATIONS = 3.0
# ... and at this share of the nominal value: a threshold has a sign.
LEAST_SHARE = 0.1


def deviating_range(nominal: float, deviation: float) -> Range:
    """Where the values of cells lie whose parameter has the relative standard deviation ``deviation``."""
    ends = (nominal * max(1.0 - DEVIATIONS * deviation, LEAST_SHARE), nominal * (1.0 + DEVIATIONS * deviation))
    return (min(ends), max(ends))


def deviation_within(nominal: float, ends: Range) -> float:
    """The relative standard deviation whose `deviating_range` is ``ends``: of the end that was not cut off."""
    return (max(ends, key=abs) / nominal - 1.0) / DEVIATIONS


def kind_of(name: str, unit: str, *, states: Iterable[str]) -> str:
    """What the error of a state or an output of the ``unit`` is one of: state, energy, latency or behaviour."""
    if name.removesuffix(REST) in states:
        return STATE
    return {"J": "energy", "s": "latency"}.get(unit, "behaviour")


def read_limits(
    given: Mapping[str, Any], *, states: Iterable[str], outputs: Mapping[str, Field]
) -> Mapping[str, float]:
    """Limits by name over `LIMITS`; ``state`` applies to each state that is not named.

    Only where they are given have limits: "untested", the share of the box that held-out events may leave untested, and
    a state " at rest", which otherwise has that of the state.

    Raises `UnknownName`, and `InputError` for a limit that is not a share above zero.
    """
    states = list(states)
    for name, limit in given.items():
        known = (STATE, *states, *outputs, FREE_RUN, UNTESTED, *(f"{state}{REST}" for state in states))
        if name not in known:
            raise UnknownName("error of a certificate", str(name), known)
        if not float(limit) > 0.0:
            raise InputError(f"the limit of {name} is {float(limit):g}", remedy="give a share above zero, e.g. 1 %")
        if float(limit) > 1.0:
            raise InputError(
                f"the limit of {name} is {float(limit):g}, which is {100.0 * float(limit):g} % of full scale",
                remedy=f"write {float(limit):g}%" if float(limit) < 100.0 else "give a share of at most 100 %",
            )
    of = {**LIMITS, **{str(name): float(limit) for name, limit in given.items()}}
    found = {name: of.get(name, of[STATE]) for name in states}
    found |= {
        name: of.get(name, LIMITS.get(kind_of(name, entry.unit, states=states), LIMITS[STATE]))
        for name, entry in outputs.items()
    }
    rest = [name for name in of if name in (FREE_RUN, UNTESTED) or name.endswith(REST)]
    return MappingProxyType({**found, **{name: of[name] for name in rest}})


def named(values: Mapping[str, str]) -> str:
    """Values in words, each behind its name."""
    return ", ".join(f"{name} = {value}" for name, value in values.items())


class DomainWarning(UserWarning):
    """A surrogate is used outside the domain of its certificate, and extrapolates."""


@dataclass(frozen=True)
class Domain:
    """Where a surrogate holds: inclusive ranges in SI units.

    Args:
        inputs: by name, e.g. ``amplitude`` in V.
        states: by name; the range that the held-out runs covered, not the device's; of a neuron, that of the runs to
            learn from too, and of a neuron's check that of the certificate it checks.
        parameters: of instances; a parameter that is not named may only have its nominal value.
        fixed: what does not vary at all, e.g. the pulse's ``width``, ``rise`` and ``fall`` in s.
        units: of inputs, states and parameters, by name; what is not named has none.
        samples: where held-out events lie in the box of states and inputs, each field in [0, 1]
            (`cosim.surrogate.density`); at most a thousand of them.
        covered: the share of the box that has enough of them near it; None: not known.
        gaps: of a state, open parts of its range that were not tested: one that jumps is seldom in between.
    """

    inputs: Mapping[str, Range]
    states: Mapping[str, Range]
    parameters: Mapping[str, Range] = field(default_factory=lambda: MappingProxyType({}))
    fixed: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    units: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    samples: tuple[tuple[float, ...], ...] = field(default=(), repr=False)
    covered: float | None = None
    gaps: Mapping[str, tuple[Range, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def shown(self, name: str) -> str:
        """The range of an input, a state or a parameter in words, e.g. "amplitude -2..2 V"."""
        low, high = {**self.inputs, **self.states, **self.parameters}[name]
        unit = self.units.get(name, "1")
        return f"{name} {low:.4g}..{high:.4g}" + ("" if unit == "1" else f" {unit}") + self.but(name)

    def but(self, name: str) -> str:
        """The gaps of a state in words, behind its range."""
        gaps = " and ".join(f"{start:.4g}..{end:.4g}" for start, end in self.gaps.get(name, ()))
        return f" but for {gaps}" if gaps else ""

    def in_gap(self, name: str, x: Array) -> NDArray[np.bool_]:
        """Which values of a state lie in one of its gaps."""
        found: NDArray[np.bool_] = np.zeros(np.shape(x), dtype=bool)
        for low, high in self.gaps.get(name, ()):
            found |= (x > low) & (x < high)
        return found

    def clear(self, name: str, x: Array) -> Array:
        """Values of a state with those in a gap moved to its lower end, which is tested."""
        for low, high in self.gaps.get(name, ()):
            x = np.where((x > low) & (x < high), low, x)
        return x

    def __post_init__(self) -> None:
        for kind in ("inputs", "states", "parameters"):
            for name, (low, high) in getattr(self, kind).items():
                if not low <= high:
                    raise InputError(f"domain of {name}: {low:g}..{high:g} is empty", remedy="give low <= high")


# The entries of a certificate that are plain text.
TEXTS = (
    "against", "reference", "extraction", "netlist", "data", "parameters", "surrogate", "seed", "made", "version",
    "tightened", "carried",
)  # fmt: skip


@dataclass(frozen=True)
class Certificate:
    """How far a surrogate can be trusted, and what is needed to make it again.

    Args:
        errors: per event on held-out data, of each state and output by its name.
        rollout: growth of the states' error.
        domain: where this holds.
        pulses: how many held-out events.
        against: the engine that answered, e.g. ``"ngspice-46"``.
        reference: the circuit and the device in it, e.g. ``"1t1r_random_pulses with the device tio2"``.
        extraction: whether the errors hold that of the parameters' extraction: "included" where the reference is
            another device than the surrogate's own parameter set, else "not included"; "" of a circuit, whose law
            was learned from itself.
        limits: by the name of an error, and ``"free run"`` for the largest in `rollout`: the largest share of full
            scale at which the surrogate may be used without `uncertified`.
        netlist: SHA-256 of the circuit; "" for an integration of the device's equations.
        data: SHA-256 of the held-out data.
        parameters: fingerprint of the parameter set.
        surrogate: fingerprint of what was certified; a surrogate refuses the certificate of another one.
        tolerances: of the engine.
        seed: of the held-out events, as text.
        made: UTC, ISO 8601.
        version: of cosim.
        notes: choices made on the way, e.g. which correction was taken.
        simulator: what the reference itself answers differently at tightened tolerances, by name; empty: missing.
        tightened: which events were run again, and how; or why none was.
        extracted: what the standard errors of the parameters make of the same events, by name; empty: missing.
        carried: where these standard errors come from, or whose are missing.
        bands: prediction intervals, by the length of a free run, shortest first.
        seconds_per_event: of the reference, its start-up left out; None: too few events to tell.
        seconds_per_step: of the surrogate, processor time of an event of one of many instances in one thread, on the
            machine that certified it (`cosim.surrogate.certify.seconds_per_step`); None: not measured.
        unverified: thresholds that are not from the data of the parameter set, value and source by name: no measurement
            says that they are the device's.
        assumed: those of them that whoever certified it answers for.
        answered: which bench and device answered (`cosim.surrogate.reopened`), to ask them again.
    """

    errors: Mapping[str, ErrorSummary]
    rollout: Rollout
    domain: Domain
    pulses: int
    against: str
    reference: str
    extraction: str
    limits: Mapping[str, float]
    netlist: str
    data: str
    parameters: str
    surrogate: str
    tolerances: Mapping[str, float]
    seed: str
    made: str
    version: str
    notes: tuple[str, ...] = ()
    simulator: Mapping[str, ErrorSummary] = field(default_factory=lambda: MappingProxyType({}))
    tightened: str = ""
    extracted: Mapping[str, ErrorSummary] = field(default_factory=lambda: MappingProxyType({}))
    carried: str = ""
    bands: tuple[Band, ...] = ()
    seconds_per_event: float | None = None
    seconds_per_step: float | None = None
    unverified: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    assumed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    answered: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def broken(self) -> tuple[str, ...]:
        """What speaks against its use, each as a sentence: limits that it misses, thresholds that nothing verified."""
        largest = {name: error.max_percent for name, error in self.errors.items()}
        largest[FREE_RUN] = 100.0 * max(self.rollout.max)
        largest[UNTESTED] = 100.0 * (1.0 - (self.domain.covered or 0.0))
        missed = [
            f"{name}: not measured, limit {100.0 * limit:.3g} %"
            if name not in largest
            else f"{name}: {largest[name]:.3g} % of {'the domain' if name == UNTESTED else 'full scale'}, limit "
            f"{100.0 * limit:.3g} %"
            for name, limit in self.limits.items()
            if name not in largest or not largest[name] <= 100.0 * limit
        ]
        return (*missed, *([f"not verified: thresholds {named(self.unverified)}"] if self.unverified else []))

    def lines(self) -> list[str]:
        """The certificate as text, one fact per line."""
        out = [
            f"against     {self.against}, {self.pulses} held-out pulses (seed {self.seed}), made {self.made}",
            f"reference   {self.reference}"
            + (f"; the error of the extraction is {self.extraction}" if self.extraction else ""),
        ]
        for name, error in self.errors.items():
            kind = kind_of(name, error.unit, states=self.domain.states)
            out.append(f"{name:<11} {error.shown()} ({kind})")
            if name in self.simulator:
                own = self.simulator[name]
                out.append(
                    f"            the simulator's own error: worst {100.0 * own.max / error.full_scale:.2g} %, "
                    f"rms {100.0 * own.rms / error.full_scale:.2g} %"
                )
            if name in self.extracted:
                out.append(f"            the standard errors of the parameters: {self.extracted[name].shown()}")
        out.append(f"simulator   {self.tightened or 'its own error is missing'}")
        if self.assumed:
            out.append(f"assumed     {named(self.assumed)}")
        out.append(f"parameters  {self.carried or 'the error of their extraction is missing'}")
        grown = "; ".join(f"{n}: {high:.2g}" for n, high in zip(self.rollout.pulses, self.rollout.max, strict=True))
        out.append(f"free run    largest state error after n pulses ({self.rollout.trains} trains): {grown}")
        ranges = {**self.domain.inputs, **self.domain.states, **self.domain.parameters}
        for band in self.bands:
            at = LEVELS.index(USUAL)
            widths = ", ".join(
                f"{name} ±{units.show(w[at], self.errors[name].unit)}" for name, w in band.widths.items() if len(w) > at
            )
            after = "1 event" if band.events == 1 else f"{band.events} events"
            out.append(f"intervals   95 % after {after} ({band.runs} runs): {widths or 'too few runs'}")
        out.append("domain      " + ", ".join(map(self.domain.shown, ranges)))
        if (ours := self.seconds_per_step) is not None:
            out.append(f"time        an event takes {units.show(ours, 's')} of a core, of many instances")
            if (theirs := self.seconds_per_event) is not None:
                out[-1] += f"; {units.show(theirs, 's')} for one more in the reference: {theirs / ours:.3g} x"
        if self.domain.covered is not None:
            out.append(
                f"density     {self.domain.covered:.1%} of this box of states and inputs has at least {LEAST_NEAR} "
                f"held-out events in the {NEAR:.0%} of it around each point"
            )
        if self.domain.fixed:
            fixed = ", ".join(f"{n} {units.show(value, 's')}" for n, value in self.domain.fixed.items())
            out.append(f"fixed       {fixed}")
        out.append("limits      " + ", ".join(f"{name} {100.0 * x:.3g} %" for name, x in self.limits.items()))
        out.extend(f"missed      {sentence}" for sentence in self.broken)
        out.append("tolerances  " + (", ".join(f"{k} {v:g}" for k, v in self.tolerances.items()) or "none"))
        out.append(f"hashes      parameters {self.parameters[:12]}, netlist {self.netlist[:12] or 'none'}, ")
        out[-1] += f"data {self.data[:12]}; cosim {self.version}"
        out.extend(f"note        {note}" for note in self.notes)
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            **{
                part: {name: vars(error) for name, error in getattr(self, part).items()}
                for part in ("errors", "simulator", "extracted")
            },
            "bands": [band.to_dict() for band in self.bands],
            "seconds_per_event": self.seconds_per_event,
            "seconds_per_step": self.seconds_per_step,
            "rollout": {**vars(self.rollout)},
            "domain": {
                "inputs": dict(self.domain.inputs),
                "states": dict(self.domain.states),
                "parameters": dict(self.domain.parameters),
                "fixed": dict(self.domain.fixed),
                "units": dict(self.domain.units),
                "samples": [list(point) for point in self.domain.samples],
                "covered": self.domain.covered,
                "gaps": {name: list(parts) for name, parts in self.domain.gaps.items()},
            },
            "limits": dict(self.limits),
            "broken": list(self.broken),
            "unverified": dict(self.unverified),
            "assumed": dict(self.assumed),
            "answered": dict(self.answered),
            "tolerances": dict(self.tolerances),
            "notes": list(self.notes),
            "pulses": self.pulses,
            **{name: getattr(self, name) for name in TEXTS},
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises KeyError, TypeError or ValueError where ``given`` is not a certificate."""

        def ranges(kind: str) -> Mapping[str, Range]:
            return MappingProxyType({str(k): (float(v[0]), float(v[1])) for k, v in given["domain"][kind].items()})

        def errors(part: str) -> Mapping[str, ErrorSummary]:
            return MappingProxyType({str(name): ErrorSummary.from_dict(e) for name, e in given[part].items()})

        def texts(part: str) -> Mapping[str, str]:
            return MappingProxyType({str(name): str(text) for name, text in given[part].items()})

        rollout, covered, seconds = given["rollout"], given["domain"]["covered"], given["seconds_per_event"]
        step, gaps = given.get("seconds_per_step"), given["domain"].get("gaps", {})
        limits = {str(name): float(limit) for name, limit in given["limits"].items()}
        return cls(
            errors=errors("errors"),
            simulator=errors("simulator"),
            extracted=errors("extracted"),
            bands=tuple(Band.from_dict(band) for band in given["bands"]),
            seconds_per_event=None if seconds is None else float(seconds),
            seconds_per_step=None if step is None else float(step),
            unverified=texts("unverified"),
            assumed=texts("assumed"),
            answered=MappingProxyType(dict(given.get("answered", {}))),
            rollout=Rollout(
                tuple(int(n) for n in rollout["pulses"]),
                tuple(float(x) for x in rollout["max"]),
                tuple(float(x) for x in rollout["rms"]),
                int(rollout["trains"]),
            ),
            domain=Domain(
                ranges("inputs"),
                ranges("states"),
                ranges("parameters"),
                MappingProxyType({str(k): float(v) for k, v in given["domain"]["fixed"].items()}),
                MappingProxyType({str(k): str(v) for k, v in given["domain"]["units"].items()}),
                tuple(tuple(float(x) for x in point) for point in given["domain"]["samples"]),
                None if covered is None else float(covered),
                MappingProxyType({str(n): tuple((float(a), float(b)) for a, b in parts) for n, parts in gaps.items()}),
            ),
            pulses=int(given["pulses"]),
            limits=MappingProxyType(limits),
            tolerances=MappingProxyType({str(k): float(v) for k, v in given["tolerances"].items()}),
            notes=tuple(str(note) for note in given["notes"]),
            **{name: str(given[name]) for name in TEXTS},
        )


def require_names(kind: str, given: Mapping[str, object], wanted: Mapping[str, str]) -> None:
    """Whether ``given`` has the names of ``wanted`` (name -> unit), and no other.

    Raises:
        UnknownName: for one that the surrogate does not know. InputError: for one that is missing.
    """
    for name in given:
        if name not in wanted:
            raise UnknownName(f"{kind} of the surrogate", name, wanted)
    for name, unit in wanted.items():
        if name not in given:
            in_unit = "" if unit == "1" else f" in {unit}"
            raise InputError(f"{kind} {name!r} of the surrogate is missing", remedy=f"give {name}{in_unit}")


def require_inside(
    name: str,
    values: Array,
    allowed: Range,
    *,
    unit: str,
    slack: float = 0.0,
    known: str = "the certified ",
    why: str = "",
) -> str | None:
    """None where every one of ``values`` lies in ``allowed``, widened by ``slack``; else the sentence that says which
    one does not. ``known`` and ``why``: what these ends are, before and behind them.

    Raises `DomainError` for values that are not finite, whatever the policy.
    """
    low, high = widened(allowed, slack)
    if values.size == 0:
        return None
    smallest, largest = float(values.min()), float(values.max())
    if smallest >= low and largest <= high:
        return None
    if not (np.isfinite(smallest) and np.isfinite(largest)):
        raise DomainError(f"{name} is not finite", remedy="find out where it comes from: the surrogate did not make it")
    worst = smallest if smallest < low else largest
    shown = f"{worst:.6g}"
    if shown in (f"{end:.6g}" for end in allowed):  # beyond the end by less than six digits tell
        shown = repr(worst)
    of = "" if unit == "1" else f" {unit}"
    return f"{name} = {shown}{of} is outside {known}{allowed[0] + 0.0:.6g}..{allowed[1] + 0.0:.6g}{of}{why}"


def widened(allowed: Range, slack: float) -> Range:
    """``allowed`` with each end moved outwards by a share of the larger one: room for rounding."""
    room = slack * max((abs(end) for end in allowed if np.isfinite(end)), default=0.0)
    return (allowed[0] - room, allowed[1] + room)


def parameters_outside(
    parameters: ParameterSet, domain: Domain, own: Mapping[str, Array], *, slack: float
) -> str | None:
    """None where the instances' ``own`` parameters lie in the domain; else the sentence that says which do not."""
    for name, values in own.items():
        nominal = float(parameters.resolved()[name])
        allowed = domain.parameters.get(name, (nominal, nominal))
        unit = find_device(parameters.device).param(name).unit
        complaint = require_inside(name, values, allowed, unit=unit, slack=slack)
        if complaint:
            return complaint
    return None


# What widens the domain of each kind of quantity.
WIDENED_BY: Mapping[str, str] = {
    "input": "--span, or of a bench a wider range in its map", "state": "more --pulses",
    "parameter": "--spread, as of its variation", "rest": "--against ngspice or integration, which know rests",
}  # fmt: skip


def complain(complaint: str | None, *, kind: Literal["input", "state", "parameter", "rest"], policy: Policy) -> None:
    """Warn where ``policy`` is "warn", raise `DomainError` otherwise; nothing where there is no complaint.

    ``kind`` is that of the quantity which is outside.
    """
    if complaint is None:
        return
    if policy == "warn":
        warnings.warn(f"{complaint}: the surrogate extrapolates", DomainWarning, stacklevel=4)
    else:
        raise DomainError(
            complaint,
            remedy=f"certify a wider domain (cosim surrogate train with {WIDENED_BY[kind]}), or take the policy 'warn' "
            "(--policy warn)",
        )
