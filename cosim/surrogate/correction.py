"""A learned correction of an event map for what its physics leaves out of the circuit's answer (our choice).

It multiplies the map's own changes, so it cannot move what the map leaves alone::

    x_after = clip(x + Δx · (1 + c), bounds)          energy = E · (1 + e)

c and e are sums of products of Chebyshev polynomials in the states and inputs, each scaled to [−1, 1] and held at the
ends of its range. An input of either sign counts by its magnitude, and each sign has separate coefficients: a device
seldom behaves alike in both directions. The coefficients are a linear least-squares problem; the degree is chosen on
held-out samples (`cosim.surrogate.train.correct`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from cosim.devices.base import Array, Operand
from cosim.errors import InputError

Signs = tuple[int, ...]
# Our choice, far above what is trained: a file cannot ask for more products than it is worth to sum.
MOST_DEGREE, MOST_TERMS = 20, 10_000


@dataclass(frozen=True)
class Correction:
    """A gain for the change of each state, and for the energy, in states and inputs (module docstring).

    Args:
        fields: names of the states and inputs that the gains depend on, in order.
        signed: those that count by their magnitude, and whose signs choose the coefficients.
        ranges: (k, 2), each field's range, which is scaled to [−1, 1].
        degree: the products have this total degree at most.
        tables: coefficients (2^signed, m) of each corrected quantity: rows as in `branches`, columns as in `orders`.
    """

    fields: tuple[str, ...]
    signed: tuple[str, ...]
    ranges: Array
    degree: int
    tables: Mapping[str, Array]

    def __post_init__(self) -> None:
        if not 0 <= self.degree <= MOST_DEGREE:
            raise InputError(f"correction: its degree {self.degree:.4g} is not within 0..{MOST_DEGREE}")
        if not set(self.signed) <= set(self.fields) or len(set(self.signed)) != len(self.signed):
            raise InputError("correction: a signed field is not one of its fields, or is named twice")
        # counted, not listed: the list of a file's degree may be larger than any memory
        terms, signs = math.comb(len(self.fields) + self.degree, self.degree), len(self.signed)
        if terms << min(signs, MOST_TERMS.bit_length()) > MOST_TERMS:
            raise InputError(
                f"correction: degree {self.degree} in {len(self.fields)} fields, {signs} of them signed, takes more "
                f"than {MOST_TERMS} coefficients"
            )
        wanted = (2**signs, terms)
        for name, table in self.tables.items():
            if table.shape != wanted or not np.all(np.isfinite(table)):
                raise InputError(f"correction: the coefficients of {name} are not {wanted} finite numbers")
        if self.ranges.shape != (len(self.fields), 2) or not np.all(self.ranges[:, 0] < self.ranges[:, 1]):
            raise InputError("correction: the range of a field is empty")

    @property
    def branches(self) -> list[Signs]:
        """The signs of the signed fields, row by row of a table."""
        return list(product((-1, 1), repeat=len(self.signed)))

    def scaled(self, values: Mapping[str, Operand]) -> list[Operand]:
        """Each field in [−1, 1]."""
        found = []
        for name, (low, high) in zip(self.fields, self.ranges.tolist(), strict=True):
            x = np.abs(values[name]) if name in self.signed else values[name]
            found.append(np.clip((2.0 * x - (low + high)) / (high - low), -1.0, 1.0))
        return found

    def gain(self, name: str, values: Mapping[str, Operand], *, signs: Signs | None = None) -> Operand:
        """The gain of one quantity at the fields' ``values``, which broadcast and may be traced.

        ``signs`` is the branch that all of them are on, where that is known.
        """
        x, powers = self.scaled(values), orders(len(self.fields), self.degree)
        found: Operand = None
        for branch, table in zip(self.branches, self.tables[name].tolist(), strict=True):
            if signs is not None and branch != signs:
                continue
            here = 1.0 + series(list(zip(powers, table, strict=True)), x)
            found = here if found is None else np.where(self.on(branch, values), here, found)
        return found

    def on(self, branch: Signs, values: Mapping[str, Operand]) -> Operand:
        """Whether the ``values`` lie on a branch; zero counts as positive."""
        negative = (values[name] < 0.0 for name in self.signed)
        matches = (x if sign < 0 else np.logical_not(x) for x, sign in zip(negative, branch, strict=True))
        return reduce(np.logical_and, matches, np.True_)

    def basis(self, values: Mapping[str, Array]) -> Array:
        """(n, m): the products at the fields' ``values``, each (n,)."""
        polynomials = [chebyshev.chebvander(x, self.degree) for x in self.scaled(values)]
        columns = [
            np.prod([polynomials[k][:, n] for k, n in enumerate(order)], axis=0)
            for order in orders(len(self.fields), self.degree)
        ]
        return np.stack(columns, axis=1)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Every array under a name, for a file."""
        tables = {f"correction_of_{name}": table for name, table in self.tables.items()}
        return {**tables, "correction_ranges": self.ranges}


def orders(fields: int, degree: int) -> list[tuple[int, ...]]:
    """The exponents of every product of total ``degree`` or less, in a fixed order."""
    if fields == 0:
        return [()]
    return [(n, *rest) for n in range(degree + 1) for rest in orders(fields - 1, degree - n)]


def clenshaw(x: Operand, coefficients: Sequence[Operand]) -> Operand:
    """The sum of c_k T_k(x); ``x`` and the coefficients broadcast, and may be traced."""
    if len(coefficients) == 1:
        return coefficients[0]
    ahead: Operand = 0.0
    behind: Operand = 0.0
    for c in reversed(coefficients[1:]):
        ahead, behind = c + 2.0 * x * ahead - behind, ahead
    return coefficients[0] + x * ahead - behind


def series(terms: Sequence[tuple[tuple[int, ...], float]], x: Sequence[Operand]) -> Operand:
    """The sum of the products; the last field first, which often has one value a row, then the others."""
    if not x:
        return terms[0][1]
    most = max(order[0] for order, _ in terms)
    return clenshaw(
        x[0], [series([(order[1:], c) for order, c in terms if order[0] == n], x[1:]) for n in range(most + 1)]
    )
