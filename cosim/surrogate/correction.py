"""A learned correction of the pulse map: what the cell's closed form leaves out of the circuit's answer (our choice).

The correction multiplies the physics, so it cannot move a cell that the physics leaves alone::

    w_after = clip(w + Δw · (1 + c_p(w, V)), 0, 1)          energy = E · (1 + e_p(w, V))

with one c and one e per polarity p: a tensor product of Chebyshev polynomials in 2w − 1 and in |V| scaled to [−1, 1]
from the span in which the state moves (c), or from zero to its end (e). The coefficients are a linear least-squares
problem; the degree is chosen on held-out samples (`train.fit_correction`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Self

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from cosim.devices.base import Operand
from cosim.errors import InputError

Array = NDArray[np.float64]
POLARITIES = {-1: "negative", 1: "positive"}


@dataclass(frozen=True)
class Correction:
    """Coefficients per polarity (−1, +1): ``state`` and ``energy`` (k, l), powers of w first; ``spans`` of |V| in V."""

    state: Mapping[int, Array]
    energy: Mapping[int, Array]
    spans: Mapping[int, tuple[float, float]]

    def __post_init__(self) -> None:
        for polarity in POLARITIES:
            low, high = self.spans[polarity]
            if not low < high:
                raise InputError(f"correction: its span of amplitudes {low:g}..{high:g} V is empty")
            for kind in (self.state, self.energy):
                if kind[polarity].ndim != 2 or not np.all(np.isfinite(kind[polarity])):
                    raise InputError("correction: its coefficients are not a finite table")

    def gain(self, kind: str, v: Operand, w: Operand, *, polarity: int) -> Operand:
        """1 + c (``kind`` "state") or 1 + e ("energy"); ``v`` and ``w`` broadcast, V and 1."""
        table = (self.state if kind == "state" else self.energy)[polarity]
        low, high = self.spans[polarity]
        low = low if kind == "state" else 0.0
        x = (2.0 * np.abs(v) - (low + high)) / (high - low)
        # First over V, which often is one value a row, then over w.
        return 1.0 + clenshaw(2.0 * w - 1.0, [clenshaw(x, [float(c) for c in row]) for row in table])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every coefficient under a name, for a file."""
        out: dict[str, NDArray[Any]] = {}
        for polarity, name in POLARITIES.items():
            out[f"correction_state_{name}"] = self.state[polarity]
            out[f"correction_energy_{name}"] = self.energy[polarity]
            out[f"correction_span_{name}"] = np.asarray(self.spans[polarity])
        return out

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The inverse of `arrays`; raises KeyError where one is missing."""

        def tables(kind: str) -> dict[int, Array]:
            return {p: np.asarray(arrays[f"correction_{kind}_{name}"], dtype=float) for p, name in POLARITIES.items()}

        spans = {p: (float(a[0]), float(a[1])) for p, a in tables("span").items()}
        return cls(tables("state"), tables("energy"), spans)


def clenshaw(x: Operand, coefficients: Sequence[Operand]) -> Operand:
    """The sum of c_k T_k(x); ``x`` and the coefficients broadcast, and may be traced."""
    ahead: Operand = 0.0
    behind: Operand = 0.0
    for c in reversed(coefficients[1:]):
        ahead, behind = c + 2.0 * x * ahead - behind, ahead
    return coefficients[0] + x * ahead - behind


def design(v: Array, w: Array, *, span: tuple[float, float], degree: int) -> Array:
    """The (n, (degree+1)²) basis at ``v`` (n,) V and ``w`` (n,), flattened as `Correction`'s tables are."""
    x = (2.0 * np.abs(v) - (span[0] + span[1])) / (span[1] - span[0])
    return np.asarray(chebyshev.chebvander2d(2.0 * w - 1.0, x, [degree, degree]), dtype=float)


@dataclass(frozen=True)
class MapCorrection:
    """The same for any event map: a gain for the change of each state, and for the energy, in states and inputs.

    Args:
        fields: names of the states and inputs that the gains depend on, in order.
        ranges: (k, 2), each field's range, which is scaled to [−1, 1].
        degree: the products of Chebyshev polynomials have this total degree at most.
        tables: coefficients (m,) of each corrected quantity, in the order of `orders`.
    """

    fields: tuple[str, ...]
    ranges: Array
    degree: int
    tables: Mapping[str, Array]

    def __post_init__(self) -> None:
        count = len(orders(len(self.fields), self.degree))
        for name, table in self.tables.items():
            if table.shape != (count,) or not np.all(np.isfinite(table)):
                raise InputError(f"correction: the coefficients of {name} are not {count} finite numbers")

    def gain(self, name: str, basis: Array) -> Array:
        """The gain (n,) of one quantity on a `basis`."""
        return np.asarray(1.0 + basis @ self.tables[name])

    def basis(self, values: Mapping[str, Array]) -> Array:
        """(n, m): the products at the fields' ``values``, each (n,); outside of a range they are held at its end."""
        polynomials = []
        for name, (low, high) in zip(self.fields, self.ranges, strict=True):
            x = np.clip((2.0 * values[name] - (low + high)) / (high - low), -1.0, 1.0)
            polynomials.append(chebyshev.chebvander(x, self.degree))
        columns = [
            np.prod([polynomials[k][:, n] for k, n in enumerate(order)], axis=0)
            for order in orders(len(self.fields), self.degree)
        ]
        return np.stack(columns, axis=1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every array under a name, for a file."""
        tables = {f"correction_of_{name}": table for name, table in self.tables.items()}
        return {**tables, "correction_ranges": self.ranges}


def orders(fields: int, degree: int) -> list[tuple[int, ...]]:
    """The exponents of every product of total ``degree`` or less, in a fixed order."""
    return [order for order in product(range(degree + 1), repeat=fields) if sum(order) <= degree]
