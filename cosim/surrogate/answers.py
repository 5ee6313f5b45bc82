"""What a surrogate answers, and says of itself.

Values that know whether they come from within its domain, of shapes that fit each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from cosim import units
from cosim.devices.base import Array, Values
from cosim.errors import InputError, UnknownName
from cosim.surrogate.base import REST, require_inside
from cosim.surrogate.circuit import CircuitSet
from cosim.surrogate.subjects import PARAMETER_SET, REST_NAME

if TYPE_CHECKING:
    from cosim.surrogate.base import Domain
    from cosim.surrogate.model import Surrogate


# A surrogate without a certificate takes inputs up to so many times those at which its map is tested (our choice).
FARTHEST = 5.0


class Extrapolated(TypedDict):
    """What an `Answer` tells beside its values."""

    outside: str
    extrapolated: int


class Answer(Values):
    """States or outputs after an event.

    Attributes:
        outside: what of it, or of one before, was outside the domain, or "".
        extrapolated: how many events of an instance were, of this one and those before.
    """

    __slots__ = ("extrapolated", "outside")
    outside: str
    extrapolated: int

    def __init__(self, data: Mapping[str, Any], *, outside: str = "", extrapolated: int = 0) -> None:
        super().__init__(data)
        object.__setattr__(self, "outside", outside)
        object.__setattr__(self, "extrapolated", extrapolated)

    def __getstate__(self) -> dict[str, Any]:
        return {"data": super().__getstate__(), "outside": self.outside, "extrapolated": self.extrapolated}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state["data"])
        for name in self.__slots__:
            object.__setattr__(self, name, state[name])


def outside_of(values: Mapping[str, Any]) -> str:
    """What was outside the domain where ``values`` come from, as far as they know."""
    return values.outside if isinstance(values, Answer) else ""


def extrapolated_in(values: Mapping[str, Any]) -> int:
    """How many events of an instance were outside the domain where ``values`` come from, as far as they know."""
    return values.extrapolated if isinstance(values, Answer) else 0


def which_beyond(surrogate: Surrogate, state: Mapping[str, Array], inputs: Mapping[str, Array]) -> NDArray[np.bool_]:
    """Which instances have an input or a state outside the domain; their shape is that of states and inputs."""
    bad: NDArray[np.bool_] = np.zeros((), dtype=bool)
    certificate = surrogate.certificate
    for name, x in (*inputs.items(), *state.items()):
        low, high = surrogate.ends[name]
        bad = bad | ~((x >= low) & (x <= high))
        if certificate is not None:
            bad = bad | certificate.domain.in_gap(name, x)
    return bad


def between(domain: Domain, name: str, x: Array) -> str | None:
    """None where no value of a state lies in a gap of its certified range; else the sentence that says which one."""
    if name not in domain.gaps or not np.any(inside := domain.in_gap(name, x)):
        return None
    unit = domain.units.get(name, "1")
    worst = f"{float(x[inside].flat[0]):.6g}" + ("" if unit == "1" else f" {unit}")
    return f"state {name} = {worst} is outside the certified {domain.shown(name).removeprefix(f'{name} ')}"


def beyond(
    surrogate: Surrogate, state: Mapping[str, Array], inputs: Mapping[str, Array]
) -> list[tuple[str, Literal["input", "state"]]]:
    """A sentence for each input and state that is outside the domain, and which of both it is."""
    found: list[tuple[str, Literal["input", "state"]]] = []
    certificate = surrogate.certificate
    for name, x in (*inputs.items(), *state.items()):
        low, high = surrogate.ends[name]
        within = x.size == 0 or (x.min() >= low and x.max() <= high)
        if within and (certificate is None or name not in certificate.domain.gaps):
            continue
        of_state = name in surrogate.map.states
        unit = (surrogate.map.states if of_state else surrogate.map.inputs)[name].unit
        complaint = require_inside(
            f"state {name}" if of_state else name,
            x,
            surrogate.allowed(name),
            unit=unit,
            slack=surrogate.slack,
            known="the certified " if certificate is not None else "",
            why=f", {FARTHEST:g} times what the map is meant for, and the surrogate has no certificate"
            if certificate is None and not of_state and surrogate.learned is None
            else "",
        )
        if complaint is None and certificate is not None:
            complaint = between(certificate.domain, name, x)
        if complaint is not None:
            found.append((complaint, "state" if of_state else "input"))
    return found


def common_shape(arrays: Mapping[str, Array], own: Mapping[str, Array]) -> tuple[int, ...]:
    """The shape that states, inputs and the parameters of instances (``own``) broadcast to. Raises `InputError`."""
    given = {values.shape for values in (*arrays.values(), *own.values())}
    if len(given) == 1:
        return given.pop()
    try:
        return np.broadcast_shapes(*given)
    except ValueError:
        shapes = ", ".join(f"{name} {values.shape}" for name, values in {**arrays, **own}.items() if values.ndim)
        raise InputError(
            f"these shapes do not broadcast with each other: {shapes}",
            remedy="give states and inputs of one shape, or of 1 where all instances share a value",
        ) from None


def arrays_for(surrogate: Surrogate, out: Mapping[str, Array], shape: tuple[int, ...]) -> dict[str, Array]:
    """``out``, to write the states and outputs of an event into.

    Raises `UnknownName` and `InputError` for arrays that do not fit.
    """
    known = [*surrogate.map.states, *surrogate.map.outputs]
    for name, values in out.items():
        if name not in known:
            raise UnknownName("quantity of the surrogate", name, known)
        if values.shape != shape or values.dtype != surrogate.dtype or not values.flags.c_contiguous:
            raise InputError(
                f"the array for {name} is {values.dtype} of shape {values.shape}, and the result {surrogate.dtype} of "
                f"shape {shape}",
                remedy="give a contiguous array of that kind",
            )
    return dict(out)


def rests(surrogate: Surrogate) -> str:
    """What becomes of a device's states between events, in words; "" for a circuit, and for a map of rests itself."""
    rest = surrogate.rest_map
    if isinstance(surrogate.parameters, CircuitSet) or surrogate.name == REST_NAME:
        return ""
    if rest is None:
        return f"{surrogate.device} keeps its states between events"
    certificate, longest = surrogate.certificate, units.show(rest.inputs["duration"].range[1], "s")
    if certificate is None or not all(f"{name}{REST}" in certificate.errors for name in surrogate.map.states):
        return "not certified"
    spread = ", of nominal parameters alone" if certificate.domain.parameters else ""
    return f"certified up to {longest}, with the errors at rest above{spread}"


def described(surrogate: Surrogate, *, briefly: bool = False) -> str:
    """A surrogate in one line: what it is of, how good it is, and where; ``briefly``: what it is of alone."""
    chosen, certificate = surrogate.parameters, surrogate.certificate
    given = chosen.provenance.get(PARAMETER_SET)
    of = (
        f"{surrogate.device} {chosen.name}"
        if given is None
        else f"the bench {chosen.name} ({surrogate.device} {given})"
    )
    if isinstance(chosen, CircuitSet):
        of = f"the bench {chosen.name}"
    if briefly:
        return f"{of}, map {surrogate.name}"
    said = f"surrogate of {of}, map {surrogate.name}"
    if certificate is None:
        return f"{said}: not certified"
    largest = [certificate.errors[name].max_percent for name in surrogate.map.states if name in certificate.errors]
    within = f" within {max(largest):.3g} % of full scale" if largest else ""
    missed = f", misses its limits ({'; '.join(certificate.broken)})" if certificate.broken else ""
    ranges = [
        f"{name} {low:.4g}..{high:.4g}{'' if entry.unit == '1' else f' {entry.unit}'}"
        for name, entry in {**surrogate.map.inputs, **surrogate.map.states}.items()
        for low, high in [surrogate.allowed(name)]
    ]
    return f"{said}: states{within} against {certificate.against}{missed}; {', '.join(ranges)}"
