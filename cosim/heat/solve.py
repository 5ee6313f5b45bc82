r"""Potential and temperature in the stack: finite volumes (FiPy), conjugate gradients, an L-stable time step.

Source: arXiv 2411.18272, Eqs. 25 and 26::

    ρ C ∂T/∂t = ∇·(κ ∇T) + σ |∇V|²,   ∇·(σ ∇V) = 0

FiPy builds the mesh and the matrices (harmonic means of κ and σ at interfaces, fluxes of second order). The systems are
symmetric: conjugate gradients (scipy, with PyAMG's multigrid in front) solve the temperature, a direct solver the
potential. That is solved in the conductor that joins the two contacts: an oxide carries 1e-11 of the current, and a
filament none, because the memristor is decoupled while its heater works. A contact is the electrode's vertical plane at
the edge of the domain (top electrode) or of the pad (shared electrode); all other surfaces are insulating.

Both equations are coupled by the heat and, where ``rod_coefficient`` (1/K) is not zero, by σ(T) = σ/(1 + β ΔT) of the
rod (our choice; Table 2 has constants): then potential and temperature are solved in turn until the power stands still.

`march` steps through time with SDIRK of order 2 (Alexander; L-stable). Where nothing depends on the temperature,
`cosim.heat.reduced` gives the same response in a fraction of the time.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, cg, splu

from cosim.devices.base import Array
from cosim.errors import InputError, SimulationError
from cosim.heat.stack import NAMES, BoxGrid
from cosim.packages import optional

DOMINANT = 1e-3  # share of a row's sum in its diagonal above which the diagonal preconditions well enough
Index = NDArray[np.intp]
GAMMA = 1.0 - 1.0 / np.sqrt(2.0)  # SDIRK2: L-stable
CONDUCTOR = 1.0  # S/m: above it a material is a conductor


def _library(name: str) -> Any:
    return optional(name, extra="heat", needed_by="the heat solution")


@dataclass(frozen=True)
class Discretised:
    """The stack on its mesh, ready for any number of solutions.

    Args:
        grid: the boxes and their materials.
        heat: conduction of heat with the heat sink at z = 0, W/K.
        charge: conduction of charge without contacts, S.
        capacity: (cells,) J/K.
    """

    grid: BoxGrid
    heat: csr_matrix
    charge: csr_matrix
    capacity: Array


def discretise(grid: BoxGrid, *, charge: bool = True) -> Discretised:
    """Mesh and matrices of a grid, that of the charge empty unless ``charge``. Raises `EngineMissing` without FiPy."""
    fipy = _library("fipy")
    dx, dy, dz = (np.diff(edge) for edge in grid.edges)
    # FiPy's mesh is built in units of 1 nm: coordinates of 1e-9 would fall under its tolerances.
    mesh = fipy.Grid3D(dx=dx * 1e9, dy=dy * 1e9, dz=dz * 1e9)
    sink = mesh.exteriorFaces & (mesh.faceCenters[2] < 1e-6)
    heat = _matrix(fipy, mesh, grid.of_material("kappa"), sink)
    current = _matrix(fipy, mesh, grid.of_material("sigma"), None) if charge else csr_matrix(heat.shape)
    del mesh, sink
    gc.collect()  # FiPy's mesh holds itself in cycles: 2 kB a cell that would stay until Python's own round
    return Discretised(grid, heat * 1e-9, current * 1e-9, grid.heat_capacity)


def _matrix(fipy: Any, mesh: Any, coefficient: Array, fixed: Any) -> csr_matrix:
    """The matrix of −∇·(k ∇u) integrated over each cell, u = 0 on the faces ``fixed``."""
    u = fipy.CellVariable(mesh=mesh, value=0.0)
    if fixed is not None:
        u.constrain(0.0, fixed)
    k = fipy.CellVariable(mesh=mesh, value=coefficient)
    term = fipy.DiffusionTerm(coeff=k.harmonicFaceValue)
    term.cacheMatrix()
    term.justResidualVector(var=u)
    matrix = csr_matrix(term.matrix.matrix)
    return matrix if matrix.diagonal().sum() > 0 else -matrix


def solver(matrix: csr_matrix, *, rtol: float, what: str) -> Callable[[Array, Array | None], Array]:
    """A solver of a symmetric positive definite system: conjugate gradients, called with right side and first guess.

    A matrix that its diagonal dominates (a short time step) is preconditioned by it, any other by algebraic multigrid
    (Ruge and Stüben), which cells of very different sizes and conductivities do not slow down.
    """
    diagonal = matrix.diagonal()
    if _dominance(matrix) > DOMINANT:
        inverse = 1.0 / diagonal
        preconditioner = LinearOperator(matrix.shape, matvec=lambda r: inverse * r, dtype=float)
    else:
        pyamg = _library("pyamg")
        preconditioner = pyamg.ruge_stuben_solver(matrix).aspreconditioner()

    def solve(right: Array, start: Array | None = None) -> Array:
        found, info = cg(matrix, right, x0=start, rtol=rtol, maxiter=5_000, M=preconditioner)
        if info != 0:
            raise SimulationError(
                f"{what}: conjugate gradients stopped after {info} iterations", outcome="not converged",
                remedy="use a grid with less contrast of sizes",
            )  # fmt: skip
        return np.asarray(found)

    return solve


def _dominance(matrix: csr_matrix) -> float:
    """The smallest ratio of a row's sum to its diagonal: 0 for pure conduction, 1 for pure heat capacity."""
    return float(np.min(np.asarray(matrix.sum(axis=1)).ravel() / matrix.diagonal()))


@dataclass(frozen=True)
class Heater:
    """The heater at one crossing under 1 V, or under what the caller gives: where its heat goes.

    Args:
        column, row: of the crossing.
        cells: indices of the conductor between the contacts.
        contact: indices (into the grid) of the cells at the supply's potential.
        ground: those at zero.
    """

    column: int
    row: int
    cells: Index
    contact: Index
    ground: Index


def heater(model: Discretised, column: int, row: int) -> Heater:
    """The conductor from the top electrode's end to the shared electrode's side, through the rod of a crossing."""
    grid = model.grid
    stack, layers = grid.stack, grid.stack.layers
    x, y, half = stack.centres[column], stack.centres[row], 0.5 * stack.feature
    first, across = grid.edges[0][1], grid.edges[1]
    top = grid.box((-1.0, first), (y - half, y + half), layers["top"])
    # the pad's plane at larger y
    last = across[np.searchsorted(across, y + half - 1e-15) - 1]
    ground = grid.box((x - half, x + half), (last, y + half), layers["shared"])
    conducting = (grid.of_material("sigma") > CONDUCTOR) & (grid.material != NAMES.index("filament"))
    here = np.flatnonzero(conducting)
    links = model.charge[here][:, here]
    _, label = connected_components(links, directed=False)
    part = label[np.searchsorted(here, np.flatnonzero(top)[0])]
    cells = here[label == part]
    if not np.all(np.isin(np.flatnonzero(ground), cells)) or not np.any(top) or not np.any(ground):
        raise InputError(f"the contacts of the heater at ({column}, {row}) are not connected by a conductor")
    return Heater(column, row, cells, np.flatnonzero(top), np.flatnonzero(ground))


def joule(model: Discretised, site: Heater, *, voltage: float, scale: Array | None = None) -> tuple[Array, float]:
    """Heat (cells,) W from ``voltage`` (V) over a heater, and its current (A).

    ``scale`` (cells,) multiplies σ; None: Table 2 unchanged. The heat of a face is split between its two cells as
    their halves' resistances, so that the sum is voltage times current.
    """
    keep = site.cells
    links = model.charge[keep][:, keep].tocoo()
    upper = links.row < links.col
    i, j, g = links.row[upper], links.col[upper], -links.data[upper]
    # resistance of each half of a face's path, but for its area: half a cell along the face's normal, over σ
    half = _half_widths(model.grid, keep[i], keep[j])
    sigma = model.grid.of_material("sigma")[keep]
    before, after = half[0] / sigma[i], half[1] / sigma[j]
    if scale is not None:
        path = before + after
        before, after = before / scale[keep[i]], after / scale[keep[j]]
        g = g * path / (before + after)
    potential = np.full(keep.size, np.nan)
    potential[np.isin(keep, site.contact)] = voltage
    potential[np.isin(keep, site.ground)] = 0.0
    free = np.isnan(potential)
    n = keep.size
    laplacian = csr_matrix(
        (np.concatenate([g, g, -g, -g]), (np.concatenate([i, j, i, j]), np.concatenate([i, j, j, i]))), shape=(n, n)
    )
    known = np.where(free, 0.0, potential)
    right = -(laplacian @ known)[free]
    potential[free] = splu(laplacian[free][:, free].tocsc()).solve(right)
    drop = potential[i] - potential[j]
    power = g * drop * drop
    share = before / (before + after)
    heat = np.zeros(model.grid.size)
    np.add.at(heat, keep[i], power * share)
    np.add.at(heat, keep[j], power * (1.0 - share))
    current = float((laplacian @ potential)[np.isin(keep, site.contact)].sum())
    return heat, current


def _half_widths(grid: BoxGrid, first: Index, second: Index) -> tuple[Array, Array]:
    """Half the widths (m) of neighbouring cells along the normal of the face between them; ``first`` < ``second``."""
    nx, ny, _ = grid.shape
    axis = np.where(second - first == 1, 0, np.where(second - first == nx, 1, 2))
    found = []
    for cell in (first, second):
        places = (cell % nx, cell // nx % ny, cell // (nx * ny))
        widths = [np.diff(edge)[place] for edge, place in zip(grid.edges, places, strict=True)]
        found.append(0.5 * np.choose(axis, widths))
    return found[0], found[1]


def steady(
    model: Discretised, site: Heater, *, voltage: float, rod_coefficient: float = 0.0, rtol: float = 1e-7
) -> tuple[Array, float]:
    """The steady rise (cells,) K over ambient under ``voltage`` (V), and the power (W).

    Raises `SimulationError` where the solver, or the exchange between the two equations, does not converge.
    """
    rise: Array | None = None
    power = 0.0
    solve = solver(model.heat, rtol=rtol, what="steady temperature")
    for _ in range(50):
        heat, current = joule(model, site, voltage=voltage, scale=_scale(model, rise, rod_coefficient))
        rise = solve(heat, rise)
        before, power = power, voltage * current
        if rod_coefficient == 0.0 or abs(power - before) <= 1e-6 * abs(power):
            return rise, power
    raise SimulationError(
        f"potential and temperature do not settle: the power goes from {before:g} to {power:g} W",
        outcome="not converged",
        remedy="lower the voltage or the rod's temperature coefficient",
    )


def _scale(model: Discretised, rise: Array | None, coefficient: float) -> Array | None:
    if coefficient == 0.0 or rise is None:
        return None
    rod = np.zeros(model.grid.size, dtype=bool)
    for column in range(model.grid.stack.cells):
        for row in range(model.grid.stack.cells):
            rod |= model.grid.rod(column, row, kind="heater")
    return np.asarray(np.where(rod, 1.0 / np.maximum(1.0 + coefficient * rise, 0.05), 1.0))


def march(
    model: Discretised,
    site: Heater,
    *,
    voltage: float,
    times: Array,
    probes: Sequence[Array],
    rod_coefficient: float = 0.0,
    rtol: float = 1e-5,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Array, Array, Array]:
    """After the voltage is switched on at 0: mean rises (times, probes) K, power (times,) W, the last field (cells,) K.

    ``times`` (s) increase and are the time steps' ends; ``probes`` are cells (masks) whose volume mean is taken.
    """
    times = np.asarray(times, dtype=float)
    if times.size == 0 or times[0] <= 0.0 or np.any(np.diff(times) <= 0.0):
        raise InputError("the times of a transient have to increase from above zero")
    volumes = model.grid.volumes
    weights = [np.where(mask, volumes, 0.0) / volumes[mask].sum() for mask in probes]
    heat, current = joule(model, site, voltage=voltage)
    rise = np.zeros(model.grid.size)
    slope: Array | None = None
    rows, powers, now = [], [], 0.0
    for end in times:
        step, now = end - now, end
        matrix = (model.heat * (GAMMA * step) + diags(model.capacity)).tocsr()
        solve = solver(matrix, rtol=rtol, what=f"temperature at {end:g} s")
        first = solve(heat - model.heat @ rise, slope)
        middle = rise + (1.0 - GAMMA) * step * first
        second = solve(heat - model.heat @ middle, first)
        rise = middle + GAMMA * step * second
        slope = second
        rows.append([float(weight @ rise) for weight in weights])
        powers.append(voltage * current)
        if rod_coefficient != 0.0:  # the next step's heat, at this step's temperature
            heat, current = joule(model, site, voltage=voltage, scale=_scale(model, rise, rod_coefficient))
        tell(f"{end * 1e9:.3g} ns")
    return np.array(rows), np.array(powers), rise
