"""Step response of the 3×3 array to the heater in its middle: thermal resistance, coupling coefficients.

Source: arXiv 2411.18272, Sec. 7.4, which defines the thermal coupling coefficient as the rise at a ReRAM over the rise
at the heater, and compares its values after 60 ns (Fig. 6). Rises are volume means over the rod and over each filament
(our choice). Position A is the middle crossing, B the next one in the row or in the column, C the diagonal one (our
reading of Fig. 13).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.heat.reduced import ReducedStack, reduce
from cosim.heat.solve import Discretised, Heater, discretise, heater, joule, steady
from cosim.heat.stack import BoxGrid, Stack, make_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PROBES = ("heater", "A", "B row", "B column", "C")
COUPLING_TIME = 60e-9
FIRST_TIME = 1e-10  # s: what is shorter is the rod alone
VOLTAGE = 0.1  # V: the problem is linear without a coefficient of the rod, and results are stated per watt


@dataclass(frozen=True)
class StepResponse:
    """Rises per watt after the heater in the middle is switched on.

    Args:
        stack: what was solved.
        cells: of the grid.
        resistance: of the heater with its leads (Ohm).
        steady: (5,) K/W at rest, in the order of `PROBES`.
        times: (n,) s.
        rises: (n, 5) K/W.
    """

    stack: Stack
    cells: int
    resistance: float
    steady: Array
    times: Array
    rises: Array

    @property
    def r_th(self) -> float:
        """Thermal resistance of the heater (K/W)."""
        return float(self.steady[0])

    def at(self, time: float | None) -> dict[str, float]:
        """Coupling coefficients at a time (s), None at rest: by probe, the heater's own is 1."""
        if time is None:
            row = self.steady
        elif not self.times[0] <= time <= self.times[-1]:
            raise InputError(f"{time:g} s lies outside the response {self.times[0]:g}..{self.times[-1]:g} s")
        else:
            log = np.log(self.times)
            row = np.array([np.interp(np.log(time), log, column) for column in self.rises.T])
        return {name: float(value / row[0]) for name, value in zip(PROBES, row, strict=True)}

    def plot(self, ax: Axes | None = None) -> Axes:
        """Rises per watt over time, logarithmic."""
        from cosim.report.heat_figures import plot_response

        return plot_response(self, ax)


def probes(grid: BoxGrid) -> list[Array]:
    """The cells of each of `PROBES`."""
    middle = grid.stack.cells // 2
    other = middle + 1
    if grid.stack.cells < 3:
        raise InputError("coupling needs three lines", remedy="cells=3")
    return [
        grid.rod(middle, middle, kind="heater"),
        grid.rod(middle, middle, kind="filament"),
        grid.rod(middle, other, kind="filament"),  # along the bottom electrode: the same row of the array
        grid.rod(other, middle, kind="filament"),  # along the top electrode: the same column
        grid.rod(other, other, kind="filament"),
    ]


@dataclass(frozen=True)
class SteadyField:
    """A steady solution: ``rise`` (cells,) K on ``grid`` at ``power`` (W)."""

    grid: BoxGrid
    rise: Array
    power: float

    def means(self) -> Array:
        """(5,) K/W in the order of `PROBES`."""
        volumes = self.grid.volumes
        return np.array([(self.rise[m] @ volumes[m]) / volumes[m].sum() for m in probes(self.grid)]) / self.power


def prepare(stack: Stack) -> tuple[Discretised, Heater]:
    """The discretised stack and the heater in its middle."""
    model = discretise(make_grid(stack))
    return model, heater(model, stack.cells // 2, stack.cells // 2)


def steady_field(stack: Stack, *, voltage: float = VOLTAGE, rod_coefficient: float = 0.0) -> SteadyField:
    """The temperature at rest with the heater in the middle at ``voltage`` (V)."""
    model, site = prepare(stack)
    rise, power = steady(model, site, voltage=voltage, rod_coefficient=rod_coefficient)
    return SteadyField(model.grid, rise, power)


def step_times(stop: float, *, start: float = FIRST_TIME, per_decade: int = 8) -> Array:
    """Geometric time steps (s), with `COUPLING_TIME` among them where it lies within."""
    n = max(2, int(np.ceil(per_decade * np.log10(stop / start))))
    times = np.geomspace(start, stop, n)
    return np.unique(np.append(times, COUPLING_TIME)) if start < COUPLING_TIME < stop else times


def solution(
    stack: Stack, *, stop: float = 20e-6, tell: Callable[[str], None] = lambda _: None
) -> tuple[BoxGrid, ReducedStack, float]:
    """The grid, the reduced model at `VOLTAGE` and the current (A); fields are valid up to ``stop`` (s)."""
    model, site = prepare(stack)
    heat, current = joule(model, site, voltage=VOLTAGE)
    return model.grid, reduce(model, heat, first=FIRST_TIME, last=stop, tell=tell), current


def response(
    stack: Stack, *, stop: float = 20e-6, per_decade: int = 20, tell: Callable[[str], None] = lambda _: None
) -> StepResponse:
    """The step response up to ``stop`` (s), and the state of rest."""
    grid, model, current = solution(stack, stop=stop, tell=tell)
    power, times = VOLTAGE * current, step_times(stop, per_decade=per_decade)
    seen = model.means(probes(grid), grid.volumes, times=np.append(times, np.inf)) / power
    return StepResponse(stack, grid.size, VOLTAGE / current, seen[-1], times, seen[:-1])


def coupling_sweep(
    stacks: Mapping[str, Stack] | Iterable[tuple[str, Stack]], *, tell: Callable[[str], None] = lambda _: None
) -> dict[str, StepResponse]:
    """Responses up to 60 ns, and at rest, of several stacks."""
    found = {}
    for name, stack in dict(stacks).items():
        tell(name)
        found[name] = response(stack, stop=1.5 * COUPLING_TIME)
    return found
