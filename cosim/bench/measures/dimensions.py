"""The dimension of a measure: a voltage, a conductance, volts per second; as far as the bench shows it.

A node's voltage is a voltage, unless the node is a state of one of the bench's devices: then it has the state's unit.
In a bench with thermal nodes (1 V = 1 K, 1 A = 1 W) it may be a temperature, and a current a heat flow. What a node
inside a user's subcircuit stands for, or a parameter of a device (``@m1[gm]``), is not known: those are not sure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

from cosim import units
from cosim.errors import UnitError

Powers = frozenset[tuple[str, int]]


def powers_of(unit: str) -> Powers:
    """The dimension of ``unit`` as a value."""
    return frozenset(units.dimension(unit)[1].items())


def _times(one: Powers, other: Powers, sign: int) -> units.Dimension:
    found = dict(one)
    for base, power in other:
        found[base] = found.get(base, 0) + sign * power
    return {base: power for base, power in found.items() if power}


@dataclass(frozen=True)
class Dimension:
    """What a number may be, and whether that is sure: it has one of the SI units ``kinds``; empty: unknown."""

    kinds: tuple[str, ...]
    sure: bool = True

    def _with(self, other: Dimension, sign: int) -> Dimension:
        found = [units.unit_of(_times(powers_of(a), powers_of(b), sign)) for a in self.kinds for b in other.kinds]
        return Dimension(tuple(dict.fromkeys(found)), self.sure and other.sure)

    def __mul__(self, other: Dimension) -> Dimension:
        return self._with(other, 1)

    def __truediv__(self, other: Dimension) -> Dimension:
        return self._with(other, -1)

    def __add__(self, other: Dimension) -> Dimension:
        """Of a sum. Raises `UnitError` where its terms cannot be added."""
        known = [powers_of(kind) for kind in other.kinds]
        both = tuple(kind for kind in self.kinds if powers_of(kind) in known)
        if both:
            return Dimension(both, self.sure and other.sure)
        if self.sure and other.sure:
            raise UnitError(f"it adds {self} and {other}", remedy="add what has one dimension")
        return Dimension((*self.kinds, *other.kinds), sure=False)

    def allows(self, unit: str) -> bool:
        """Whether a number of this kind can be written in ``unit``."""
        return any(powers_of(kind) == powers_of(unit) for kind in self.kinds)

    def __str__(self) -> str:
        return " or ".join(map(units.described, self.kinds)) or "of a dimension that is not known"


UNKNOWN = Dimension((), sure=False)
PLAIN = Dimension(("1",))
# A number without a unit: most of them are factors, and one may have left its unit out.
UNSAID = Dimension(("1",), sure=False)


def of_unit(unit: str) -> Dimension:
    """That of a quantity which was written in ``unit``, "1" where it was written without one."""
    return UNSAID if unit == "1" else Dimension((units.si_unit(unit),))


def total(terms: list[Dimension]) -> Dimension:
    """That of a sum of ``terms``; raises `UnitError` where they cannot be added."""
    return reduce(Dimension.__add__, terms) if terms else UNKNOWN


@dataclass(frozen=True)
class Known:
    """What a bench knows about the numbers that a measure is made of.

    Args:
        vector: the dimension of a vector by its name.
        axis: that of the analysis's coordinate.
        entry: that of another measure, or of a swept parameter, by its name.
    """

    vector: Callable[[str], Dimension]
    axis: Dimension
    entry: Callable[[str], Dimension]
