"""From a plan to its cases: how each is found by its number alone.

A plan of a million cases is a million numbers: nothing is listed, a case is computed when it is due, and its random
numbers are a function of the plan's seed and its number, whoever runs it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from cosim.bench.testbench import Testbench
from cosim.campaign.address import CORNER, NOMINAL
from cosim.campaign.cases import Case
from cosim.campaign.plan import Plan, Sample, check_spreads, grid_values
from cosim.devices.base import Array
from cosim.statistics import sampling
from cosim.statistics.spread import Correlation, Spread, correlate

_GOLDEN = 0.6180339887498949
_LARGEST_HYPERCUBE = 1_000_000  # coordinates, 8 MB


class Variables:
    """What is drawn: from standard normal coordinates to values (SI) by address."""

    def __init__(self, spreads: Mapping[str, tuple[Spread, float]], correlations: Sequence[Correlation]) -> None:
        self.names = tuple(spreads)
        self._spreads = tuple(spreads.values())
        self._correlations = tuple(correlations)

    def __len__(self) -> int:
        return len(self.names)

    def values(self, z: Array) -> dict[str, float]:
        """The values at independent standard normal coordinates ``z`` (d,)."""
        z = correlate(z[None, :], self.names, self._correlations)[0] if self._correlations else z
        rows = zip(self.names, self._spreads, z, strict=True)
        return {name: float(spread.value(centre, at)) for name, (spread, centre), at in rows}


def repeats(number: int, share: float) -> bool:
    """Whether case ``number`` belongs to the ``share`` that is repeated: spread evenly, and the same in every run."""
    return math.floor((number + 1) * share + _GOLDEN) > math.floor(number * share + _GOLDEN)


class Points:
    """The cases of a plan whose cases are known beforehand: a grid, a sample, or a sample at each point of a grid.

    Every point of the grid gets the same draws: differences between its points are then not those of the draws (our
    choice). They are drawn around the values of the point's corner.
    """

    def __init__(self, plan: Plan, bench: Testbench) -> None:
        columns = grid_values(plan, bench)
        self._grid = sampling.grid(columns)
        self._trust = plan.trust
        self._draws: sampling.Draws | None = None
        if plan.sample is not None:
            # nothing but the corner moves them: what the grid varies is not drawn
            self._variables = {
                corner: Variables(check_spreads(plan, at_corner(bench, corner)), plan.sample.correlations)
                for corner in map(str, columns.get(CORNER, [NOMINAL]))
            }
            self._draws = draws(plan.sample)

    @property
    def per_point(self) -> int:
        """Cases at each point of the grid."""
        return len(self._draws) if self._draws is not None else 1

    def __len__(self) -> int:
        return len(self._grid) * self.per_point

    @property
    def cheap(self) -> bool:
        """Whether every worker can find a case by its number; a large Latin hypercube is made as a whole, once."""
        if self._draws is None or self._draws.method != "latin-hypercube":
            return True
        return self.per_point * self._draws.width <= _LARGEST_HYPERCUBE

    def __iter__(self) -> Iterator[Case]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Case:
        """Case ``number``, from 0: the draws run fastest, then the last column of the grid."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        row, draw = divmod(number, self.per_point)
        chosen = self._grid.at(row)
        corner = str(chosen.pop(CORNER, NOMINAL))
        values = {name: cast(float, value) for name, value in chosen.items()}
        seed = None
        if self._draws is not None:
            values |= self._variables[corner].values(self._draws[draw])
            seed = self._draws.seed_of(draw)
        return Case(number, corner, values, repeats(number, self._trust), seed)

    @property
    def note(self) -> str:
        """What a reader has to know about the sample; may be empty."""
        return self._draws.note if self._draws is not None else ""


def at_corner(bench: Testbench, corner: str) -> Testbench:
    """The bench at a corner, or as it is."""
    return bench if corner == NOMINAL else bench.at_corner(corner)


def draws(sample: Sample) -> sampling.Draws:
    """The standard normal coordinates of a sample."""
    return sampling.Draws(
        sample.samples, len(sample.variables), sample.seed, sample.method, cycles=sample.cycles,
        cycle_dimensions=len(sample.cycle_variables),
    )  # fmt: skip
