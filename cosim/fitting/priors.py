"""What is known of a parameter before the curve: one more observation, of the parameter itself.

A normal prior is a measurement of the value with its standard deviation, a lognormal one of the value's logarithm: both
add a row to the least squares, and with it to degrees of freedom, standard errors and profiles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from cosim import units
from cosim.devices.base import Param, Values
from cosim.errors import InputError, UnknownName, at
from cosim.schema import Table

if TYPE_CHECKING:
    from cosim.fitting.problem import Problem
    from cosim.fitting.uncertainty import Uncertainty

# A standard error above this part of the prior's comes from the prior and not from the curve (our choice).
OWN = 0.7
# A value this many standard deviations from its prior contradicts it.
APART = 3.0


class PriorSpec(Table):
    """What is known of a parameter beforehand.

    Args:
        kind: ``normal``, with ``value`` and ``sigma``; ``lognormal``, with ``value`` (the median) and ``factor``.
        value: the most likely one, or the median; with a unit.
        sigma: standard deviation of a normal prior, with a unit.
        factor: of a lognormal prior: 68 % lie between the median over ``factor`` and the median times it.
    """

    kind: Literal["normal", "lognormal"] = "normal"
    value: str | float
    sigma: str | float | None = None
    factor: float | None = Field(default=None, gt=1)

    @model_validator(mode="after")
    def _one_width(self) -> PriorSpec:
        wanted, other = ("sigma", "factor") if self.kind == "normal" else ("factor", "sigma")
        if getattr(self, wanted) is None or getattr(self, other) is not None:
            raise InputError(f"a {self.kind} prior has value and {wanted}", remedy=f"write {wanted}, and no {other}")
        return self

    def prior(self, name: str, entry: Param) -> Prior:
        """In SI, of the unknown ``name``. Raises `UnitError`, `InputError`."""
        centre = units.parse(self.value, entry.unit)
        if self.kind == "lognormal":
            if centre <= 0.0:
                raise InputError(
                    f"the median of a lognormal prior of {name} is not above zero", remedy="take a normal one"
                )
            assert self.factor is not None  # as validated
            return Prior(name, math.log(centre), math.log(self.factor), logarithmic=True)
        assert self.sigma is not None
        sigma = units.parse(self.sigma, entry.unit)
        if sigma <= 0.0:
            raise InputError(
                f"sigma of the prior of {name} is not above zero", remedy="to hold a parameter, don't vary it"
            )
        return Prior(name, centre, sigma)


@dataclass(frozen=True)
class Prior:
    """An observation of a parameter: its value, or its logarithm, is ``centre`` ± ``width``."""

    name: str
    centre: float
    width: float
    logarithmic: bool = False

    def residual(self, p: Values) -> float:
        """Its distance from the centre in standard deviations; infinite where a logarithm has no value."""
        value = float(p[self.name])
        if not self.logarithmic:
            return (value - self.centre) / self.width
        return (math.log(value) - self.centre) / self.width if value > 0.0 else math.inf

    def slope(self, p: Values) -> float:
        """Its derivative by the parameter."""
        return 1.0 / (self.width * (float(p[self.name]) if self.logarithmic else 1.0))


def priors_of(given: Mapping[str, PriorSpec], params: Sequence[Param], names: Sequence[str]) -> tuple[Prior, ...]:
    """The priors of a recipe; raises `UnknownName`, `InputError` for a parameter that does not vary."""
    by_name, found = {entry.name: entry for entry in params}, []
    for name, spec in given.items():
        with at("fit", "priors", name):
            if name not in by_name:
                raise UnknownName("parameter", name, by_name)
            if name not in names:
                raise InputError(
                    f"{name} has a prior but does not vary", remedy="add it to fit.vary, or drop its prior"
                )
            found.append(spec.prior(name, by_name[name]))
    return tuple(found)


def weighed(problem: Problem, p: Values, uncertainty: Uncertainty) -> list[str]:
    """A sentence for each parameter at ``p`` that its prior determines more than the curve does, or contradicts."""
    said = []
    for prior in problem.priors:
        error = uncertainty.stderr(prior.name)
        if error is not None and error * prior.slope(p) > OWN:
            said.append(f"{prior.name} is what its prior says: what was measured adds little to it")
        if abs(off := prior.residual(p)) > APART:
            side = "above" if off > 0 else "below"
            said.append(
                f"{prior.name} is {abs(off):.1f} of its prior's standard deviations {side} it: the prior and what was "
                "measured contradict each other"
            )
    return said
