r"""The step response with the mesh extrapolated away: three nested meshes of a quarter of the stack (Richardson).

Heat crosses the edges of rods and pads, where the flux has a singularity, so that finite volumes converge slowly: on
the grid of ``refine`` = 1 the heater's thermal resistance is still 4 % too large at F = 60 nm. What is shipped is the
limit. A coarse grid, each of whose cells is divided into 2³, 3³ and 4³, gives values u(h) = u_0 + c hᵖ at h = 1/2, 1/3
and 1/4 of its cells; p is the order at which the heater's own resistance converges, and u_0 is then the least-squares
limit of each rise at each time. The error that is stated is the distance between the limits of the coarser two and of
the finer two meshes.

The stack is its own mirror image in both planes through the heater in its middle, the heat sink and the adiabatic sides
included; only the leads are not. So a quarter is solved, with the heat spread evenly over the rod, which takes 99 % of
it (`tests/unit/test_heat.py`); what the leads take is the difference from `cosim.heat.response`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq

from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.heat.reduced import reduce
from cosim.heat.response import FIRST_TIME, PROBES, StepResponse, probes, step_times
from cosim.heat.solve import discretise
from cosim.heat.stack import BoxGrid, Stack, make_grid

BASE = 0.25  # fineness of the grid that is divided
SPLITS = (2, 3, 4)
ORDERS = (0.5, 3.0)  # between which the order of convergence is sought


@dataclass(frozen=True)
class Extrapolated:
    """The limit of a step response, and how well it is known.

    Args:
        response: the limit of all meshes.
        pairs: the limits of the coarser two meshes and of the finer two.
        meshes: the responses on the meshes themselves, coarse to fine; `cells` are of the whole stack.
        order: of convergence.
    """

    response: StepResponse
    pairs: tuple[StepResponse, StepResponse]
    meshes: tuple[StepResponse, ...]
    order: float

    @property
    def error(self) -> Mapping[str, float]:
        """By probe, the distance of both `pairs` over the rise: the largest after 1 ns and at rest.

        Rises below a twentieth of the probe's rise at rest are held against that.
        """
        late = self.response.times >= 1e-9
        rises = np.vstack([self.response.rises[late], self.response.steady])
        apart = np.abs(np.subtract(*(np.vstack([one.rises[late], one.steady]) for one in self.pairs)))
        largest = np.max(apart / np.maximum(rises, 0.05 * self.response.steady), axis=0)
        return dict(zip(PROBES, map(float, largest), strict=True))


def quarter(stack: Stack, *, split: int) -> BoxGrid:
    """The stack beyond both planes through its middle, each cell of the grid divided into ``split``³."""
    whole = make_grid(stack, middle=True)
    edges = []
    for axis, edge in enumerate(whole.edges):
        parts = np.concatenate([np.linspace(a, b, split, endpoint=False) for a, b in itertools.pairwise(edge)])
        fine = np.append(parts, edge[-1])
        centre = 0.5 * stack.width
        edges.append(fine if axis == 2 else np.concatenate([[centre], fine[fine > centre * (1.0 + 1e-9)]]))
    coarse = whole.material.reshape(whole.shape[::-1])
    centres = [0.5 * (edge[1:] + edge[:-1]) for edge in edges]
    at = [np.searchsorted(edge, centre) - 1 for edge, centre in zip(whole.edges, centres, strict=True)]
    material = coarse[np.ix_(at[2], at[1], at[0])].ravel()
    return BoxGrid(stack, (edges[0], edges[1], edges[2]), material)


def quarter_response(
    stack: Stack, *, split: int, stop: float = 20e-6, per_decade: int = 20, tell: Callable[[str], None] = lambda _: None
) -> StepResponse:
    """Rises per watt in the heater's rod, from a quarter of the stack; the resistance is the rod's own."""
    grid = quarter(stack, split=split)
    model = discretise(grid, charge=False)
    seen = probes(grid)
    heat = np.where(seen[0], grid.volumes, 0.0)
    heat *= 0.25 / heat.sum()
    small = reduce(model, heat, first=FIRST_TIME, last=stop, tell=tell)
    times = step_times(stop, per_decade=per_decade)
    found = small.means(seen, grid.volumes, times=np.append(times, np.inf))
    rod = stack.oxide / (stack.materials["metallic rod"].sigma * np.pi * stack.rod_radius**2)
    return StepResponse(stack, 4 * grid.size, float(rod), found[-1], times, found[:-1])


def limit(values: Array, steps: Array, *, order: float) -> Array:
    """The limit (...) of ``values`` (meshes, ...) at cells of ``steps`` (meshes,): u_0 of u_0 + c hᵖ, least squares."""
    values = np.asarray(values, dtype=float)
    basis = np.stack([np.ones_like(steps), steps**order], axis=1)
    found = np.linalg.lstsq(basis, values.reshape(steps.size, -1), rcond=None)[0][0]
    return np.asarray(found.reshape(values.shape[1:]))


def convergence_order(values: Sequence[float], steps: Array) -> float:
    """p of u_0 + c hᵖ through three values; raises `InputError` where they do not converge."""
    a, b, c = values
    ratio = (a - b) / (b - c) if b != c else np.nan

    def off(p: float) -> float:
        h = steps**p
        return float((h[0] - h[1]) / (h[1] - h[2]) - ratio)

    if not np.isfinite(ratio) or off(ORDERS[0]) * off(ORDERS[1]) > 0.0:
        shown = ", ".join(f"{value:.4g}" for value in values)
        raise InputError(f"the meshes do not converge: {shown}", remedy="take a finer base")
    return float(brentq(off, *ORDERS))


def extrapolate(
    stack: Stack,
    *,
    base: float = BASE,
    splits: tuple[int, int, int] = SPLITS,
    stop: float = 20e-6,
    tell: Callable[[str], None] = lambda _: None,
) -> Extrapolated:
    """The step response of ``stack`` in the limit of a fine mesh; its own ``refine`` is not used.

    The grid of fineness ``base`` has its cells divided into each of ``splits`` in turn, coarse to fine.
    """
    coarse = replace(stack, refine=base)
    found = []
    for split in splits:
        tell(f"mesh {split} of {splits[-1]}")
        found.append(quarter_response(coarse, split=split, stop=stop, tell=tell))
    steps = 1.0 / np.array(splits, dtype=float)
    order = convergence_order([one.r_th for one in found], steps)

    def of(which: slice) -> StepResponse:
        steady = limit(np.array([one.steady for one in found[which]]), steps[which], order=order)
        rises = limit(np.array([one.rises for one in found[which]]), steps[which], order=order)
        return replace(found[-1], stack=stack, steady=steady, rises=rises)

    return Extrapolated(of(slice(None)), (of(slice(0, 2)), of(slice(1, None))), tuple(found), order)
