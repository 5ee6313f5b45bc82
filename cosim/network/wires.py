"""A crossbar with resistive wires and non-linear cells: every node's voltage in one solve.

Cell (i, j) joins a node of row wire i to a node of column wire j. A row is driven at its left end, a column is held at
its lower end, each through one segment of its wire and the resistance of its driver; the other ends are open::

    rows[i] --driver--row--o--row--o--row--o          o  node of a cell, and between the two layers the cell's I(v)
                           |       |       |
                         column  column  column       (to the next row's nodes, and at the lower end
                           |       |       |           through ``sense`` to columns[j])

Kirchhoff's law at the row nodes U and the column nodes W, with the wires' Laplacians R and C and their sources r and c:

    R U + I(U - W) = r        C W - I(U - W) = c

is solved by Newton's method with a line search. A Newton step is symmetric and positive definite where no cell has a
negative slope g = dI/dv. Eliminating the columns leaves S = R + g - g (C + g)^-1 g on the row nodes, which conjugate
gradients solve with R + g as the preconditioner. Both R + g and C + g are one tridiagonal matrix (a line per wire, by
LAPACK), so an iteration costs two sweeps over the array and no factor fills in. The count of iterations grows with the
root of g·(wire's resistance)·(length), not with the number of cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg.lapack import dpttrf, dpttrs

from cosim.devices.base import Array, DeviceModel, Values
from cosim.errors import InputError, UnknownName

# Voltages over the cells (..., m, n) V to their currents A; what it does with one cell does not depend on the others.
CellCurrent = Callable[[Array], Array]
# The largest current that a node may fail to balance by, as a share of the largest cell current: our choice. Where a
# wire conducts so well that rounding of its voltages makes more, ROUNDING roundings of the largest current that it
# could carry.
TOLERANCE, ROUNDING = 1e-12, 16.0
NEWTON_STEPS, HALVINGS, ITERATIONS = 60, 30, 5000
SLOPE_STEP = 1e-4  # of the largest voltage: the difference that a cell's slope is taken over


@dataclass(frozen=True)
class Wires:
    """Resistances in Ω: a segment of a ``row`` and of a ``column`` between two cells, each row's ``driver``, and what
    each column ends in, ``sense``.

    >>> cosim.Wires(row=2.0, column=2.0).driver
    0.0
    """

    row: float
    column: float
    driver: float = 0.0
    sense: float = 0.0

    def __post_init__(self) -> None:
        for name in ("row", "column"):
            if not 0.0 < getattr(self, name) < np.inf:
                raise InputError(
                    f"a {name} wire with {getattr(self, name):g} Ω a segment cannot be solved",
                    remedy="give a resistance above zero; wires without resistance need no solve",
                )
        for name in ("driver", "sense"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise InputError(f"the resistance {name} = {getattr(self, name):g} Ω is negative or not finite")


@dataclass(frozen=True)
class WiredSolution:
    """Voltages and currents of an array; leading axes are those of the drive.

    Args:
        row_nodes, column_nodes: (..., m, n) V.
        cell_current: (..., m, n) A from row to column.
        row_current: (..., m) A into each row; column_current: (..., n) A out of each column.
        residual: the largest current (A) that any node fails to balance by.
        steps, iterations: of Newton's method, and of conjugate gradients in all.

    >>> import numpy as np
    >>> found = cosim.solve_wired(lambda v: 1e-3 * v, cosim.Wires(50.0, 50.0), rows=np.ones(3), columns=np.zeros(2))
    >>> found.cell_voltage.shape, bool(np.all(found.cell_voltage < 1.0))
    ((3, 2), True)
    """

    row_nodes: Array
    column_nodes: Array
    cell_current: Array
    row_current: Array
    column_current: Array
    residual: float
    steps: int
    iterations: int

    @cached_property
    def cell_voltage(self) -> Array:
        """(..., m, n) V over each cell."""
        return self.row_nodes - self.column_nodes


class _Lines:
    """Equal wires side by side, each driven at its first node: the Laplacian, and the solve with a diagonal added.

    Fields are (..., lines, nodes).
    """

    def __init__(self, segment: float, end: float, floating: Array) -> None:
        """``floating`` (..., lines) true where a wire is not driven; ``segment`` and ``end`` in S."""
        self.segment, self.end = segment, np.where(floating, 0.0, end)[..., None]

    def flow(self, v: Array, source: Array) -> Array:
        """Current out of each node into its wire, where the wires are driven at ``source`` (..., lines)."""
        out = np.zeros_like(v)
        along = self.segment * (v[..., 1:] - v[..., :-1])
        out[..., 1:] += along
        out[..., :-1] -= along
        out[..., :1] += self.end * (v[..., :1] - source[..., None])
        return out

    def entering(self, v: Array, source: Array) -> Array:
        """(..., lines) A that the drivers deliver."""
        return (self.end * (source[..., None] - v[..., :1]))[..., 0]

    def solver(self, diagonal: Array) -> Callable[[Array], Array]:
        """The inverse of the Laplacian with ``diagonal`` (..., lines, nodes) > 0 added."""
        whole = diagonal.copy()
        whole[..., 1:] += self.segment
        whole[..., :-1] += self.segment
        whole[..., :1] += self.end
        beside = np.full(whole.shape, -self.segment)
        beside[..., -1] = 0.0  # a line ends, the next one begins
        off = beside.ravel()[:-1] if whole.size > 1 else np.zeros(1)
        d, e, failed = dpttrf(whole.ravel(), off)
        if failed:
            raise InputError("the array is singular", remedy="a wire that is not driven needs cells that conduct")

        def solve(right: Array) -> Array:
            found = dpttrs(d, e, right.ravel())[0]
            return np.asarray(found).reshape(right.shape)

        return solve


def cell_current(device: DeviceModel, state: Values, p: Values, *, port: str = "") -> CellCurrent:
    """The current through an electrical port of a device, in the given states; every other port is held at zero.

    Args:
        device: any with an electrical port.
        state, p: its states and parameters, each a scalar or (m, n).
        port: between row and column; may be left out where there is one electrical port only.

    Raises `InputError` where the port is not named and there are several, `UnknownName` where it is another one.

    >>> import numpy as np
    >>> p = cosim.ParameterSet.load("tio2").resolved()
    >>> current = cosim.cell_current(cosim.device("threshold_memristor"), cosim.Values({"w": np.full((4, 3), 0.5)}), p)
    >>> current(np.full((4, 3), 0.1)).shape
    (4, 3)
    """
    electrical = [entry.name for entry in device.ports if entry.nature == "electrical"]
    if port and port not in electrical:
        raise UnknownName(f"electrical port of {device.name}", port, electrical)
    if not port and len(electrical) != 1:
        raise InputError(
            f"{device.name} has the electrical ports {', '.join(electrical) or '(none)'}",
            remedy="name the one between row and column (port=...)",
        )
    between = port or electrical[0]
    held = {entry.name: 0.0 for entry in device.ports}

    def current(v: Array) -> Array:
        found = device.through({**held, between: v}, state, p)[between]
        return np.asarray(np.broadcast_to(found, v.shape), dtype=float)

    return current


def solve_wired(
    current: CellCurrent,
    wires: Wires,
    *,
    rows: ArrayLike,
    columns: ArrayLike,
    start: WiredSolution | None = None,
) -> WiredSolution:
    """Every node of a crossbar (module docstring).

    Args:
        current: of the cells, e.g. `cell_current`; finite, and not falling with the voltage.
        wires: their resistances.
        rows: (..., m) V that drive the rows; NaN leaves a row open.
        columns: (..., n) V at the columns' ends, or (n,) for all of the drives; NaN leaves a column open.
        start: of an array that differs little, from which the solve begins.

    Raises:
        InputError: shapes that do not fit, cells whose current falls with the voltage, or no convergence.

    >>> import numpy as np
    >>> found = cosim.solve_wired(lambda v: 1e-3 * v, cosim.Wires(1.0, 1.0), rows=np.ones(2), columns=np.zeros(2))
    >>> bool(abs(found.row_current.sum() - found.column_current.sum()) < 1e-12)
    True
    """
    array = _Array(current, wires, np.asarray(rows, dtype=float), np.asarray(columns, dtype=float))
    return array.solve(start)


def effective_conductance(conductance: ArrayLike, wires: Wires, *, chunk: int = 8) -> Array:
    """(m, n) S: the current out of each column for a volt on each row, with every other wire held at zero.

    By reciprocity it is the current into a row for a volt at the column's end, so that it takes a solve per column.

    Args:
        conductance: (m, n) S of linear cells.
        wires: their resistances.
        chunk: columns that are solved side by side, which is what memory is taken for.

    >>> import numpy as np
    >>> ideal = np.full((3, 2), 1e-4)
    >>> bool(np.all(cosim.effective_conductance(ideal, cosim.Wires(1.0, 1.0)) < ideal))
    True
    """
    g = np.asarray(conductance, dtype=float)
    if g.ndim != 2 or not np.all(np.isfinite(g)) or np.any(g < 0.0):
        raise InputError(f"conductances need to be a finite matrix without negative values, not {g.shape}")
    m, n = g.shape
    found = np.empty((m, n))
    for first in range(0, n, chunk):
        some = np.arange(first, min(first + chunk, n))
        drive = np.zeros((some.size, n))
        drive[np.arange(some.size), some] = 1.0
        solution = solve_wired(lambda v: g * v, wires, rows=np.zeros((some.size, m)), columns=drive)
        found[:, some] = -solution.row_current.T
    return found


class _Array:
    """An array under one drive, or under several side by side."""

    def __init__(self, current: CellCurrent, wires: Wires, rows: Array, columns: Array) -> None:
        if rows.ndim < 1 or columns.ndim < 1 or not rows.shape[-1] or not columns.shape[-1]:
            raise InputError(f"rows {rows.shape} and columns {columns.shape} need at least one voltage each")
        lead = np.broadcast_shapes(rows.shape[:-1], columns.shape[:-1])
        rows = np.broadcast_to(rows, (*lead, rows.shape[-1]))
        columns = np.broadcast_to(columns, (*lead, columns.shape[-1]))
        if np.any(np.isinf(rows)) or np.any(np.isinf(columns)):
            raise InputError("a drive is infinite", remedy="give volts; NaN leaves a wire open")
        self.shape = (*lead, rows.shape[-1], columns.shape[-1])
        self.current = current
        self.rows, self.columns = np.nan_to_num(rows), np.nan_to_num(columns)
        self._open = np.isnan(rows), np.isnan(columns)
        if np.all(self._open[0]) and np.all(self._open[1]):
            raise InputError("no wire is driven", remedy="give at least one row or column a voltage")
        self.across = _Lines(1.0 / wires.row, 1.0 / (wires.driver + wires.row), self._open[0])
        self.down = _Lines(1.0 / wires.column, 1.0 / (wires.sense + wires.column), self._open[1])
        self.largest = float(max(np.max(np.abs(self.rows)), np.max(np.abs(self.columns)))) or 1.0
        best = 1.0 / min(wires.row, wires.column)
        self.rounding = ROUNDING * float(np.finfo(float).eps) * self.largest * best

    def _begin(self) -> tuple[Array, Array]:
        """As if the wires had no resistance; an open wire at the mean of the wires that it crosses."""
        u, w = self.rows.copy(), self.columns.copy()
        for mine, open_, others, others_open in (
            (u, self._open[0], w, self._open[1]),
            (w, self._open[1], u, self._open[0]),
        ):
            driven = np.where(others_open, 0.0, 1.0)
            mean = np.sum(others * driven, -1, keepdims=True) / np.maximum(np.sum(driven, -1, keepdims=True), 1.0)
            mine[...] = np.where(open_, mean, mine)
        return (
            np.broadcast_to(u[..., :, None], self.shape).copy(),
            np.broadcast_to(w[..., None, :], self.shape).copy(),
        )

    def _residual(self, u: Array, w: Array) -> tuple[Array, Array, Array]:
        """What leaves each row node and each column node, the latter transposed, and the cells' currents."""
        i = self.current(u - w)
        if not np.all(np.isfinite(i)):
            raise InputError("a cell's current is not finite", remedy="drive the array with less")
        upside = np.swapaxes(w, -1, -2)[..., ::-1]  # a column begins at its lower, driven end
        down = self.down.flow(np.ascontiguousarray(upside), self.columns)
        return self.across.flow(u, self.rows) + i, down - _turned(i), i

    def _slopes(self, v: Array) -> Array:
        step = SLOPE_STEP * self.largest
        return (self.current(v + step) - self.current(v - step)) / (2.0 * step)

    def solve(self, start: WiredSolution | None) -> WiredSolution:
        """By Newton's method."""
        if start is not None and start.row_nodes.shape != self.shape:
            raise InputError(f"the start has the shape {start.row_nodes.shape}, the array {self.shape}")
        u, w = self._begin() if start is None else (start.row_nodes.copy(), start.column_nodes.copy())
        above, below, i = self._residual(u, w)
        total, size = 0, _size(above, below)
        forcing = 0.1
        for step in range(NEWTON_STEPS):
            scale = float(np.max(np.abs(i))) or self.largest * float(np.max(np.abs(self._slopes(u - w))))
            wanted = max(TOLERANCE * scale, self.rounding)
            if size <= wanted:
                return self._solution(u, w, i, size, step, total)
            du, dw, used = self._step(u - w, above, below, max(forcing, 0.1 * wanted / size))
            total += used
            share = 1.0
            for _ in range(HALVINGS):
                there = self._residual(u + share * du, w + share * dw)
                if _size(there[0], there[1]) < size:
                    break
                share *= 0.5
            else:
                raise InputError(
                    f"the array does not converge: a node is off by {size:.3g} A after {step} Newton steps",
                    remedy="look at the cells' I-V for a jump or a negative slope",
                )
            u, w = u + share * du, w + share * dw
            above, below, i = there
            now = _size(above, below)
            forcing = min(0.1, max((now / size) ** 2, 1e-6))
            size = now
        raise InputError(f"the array does not converge in {NEWTON_STEPS} Newton steps", remedy="drive it with less")

    def _step(self, v: Array, above: Array, below: Array, accuracy: float) -> tuple[Array, Array, int]:
        """A Newton step in rows and columns, and the iterations that it took."""
        g = self._slopes(v)
        if float(np.min(g)) < 0.0:
            place = tuple(int(k) for k in np.unravel_index(int(np.argmin(g)), g.shape))
            raise InputError(
                f"the current of cell {place[-2:]} falls with its voltage at {v[place]:.4g} V",
                remedy="a crossbar with wires is solved for cells whose current rises with the voltage",
            )
        turned = _turned(g)
        columns, rows = self.down.solver(turned), self.across.solver(g)
        pull = columns(-below)
        right = -above + g * _back(pull)
        nothing = np.zeros_like(self.rows)

        def schur(x: Array) -> Array:
            return self.across.flow(x, nothing) + g * (x - _back(columns(turned * _turned(x))))

        du, used = _conjugate_gradients(schur, right, rows, accuracy)
        return du, _back(pull + columns(turned * _turned(du))), used

    def _solution(self, u: Array, w: Array, i: Array, size: float, steps: int, iterations: int) -> WiredSolution:
        down = np.ascontiguousarray(np.swapaxes(w, -1, -2)[..., ::-1])
        return WiredSolution(
            u,
            w,
            i,
            self.across.entering(u, self.rows),
            -self.down.entering(down, self.columns),
            size,
            steps,
            iterations,
        )


def _turned(x: Array) -> Array:
    """By column, from its driven end: (..., m, n) to (..., n, m)."""
    return np.ascontiguousarray(np.swapaxes(x, -1, -2)[..., ::-1])


def _back(x: Array) -> Array:
    """The inverse of `_turned`."""
    return np.ascontiguousarray(np.swapaxes(x[..., ::-1], -1, -2))


def _size(above: Array, below: Array) -> float:
    return float(max(np.max(np.abs(above)), np.max(np.abs(below))))


def _conjugate_gradients(
    apply: Callable[[Array], Array], right: Array, precondition: Callable[[Array], Array], accuracy: float
) -> tuple[Array, int]:
    """x with ``apply(x)`` = ``right`` to ``accuracy`` of it, and the iterations; drives side by side."""

    def dot(a: Array, b: Array) -> Array:
        return np.asarray(np.einsum("...ij,...ij->...", a, b))[..., None, None]

    x, r = np.zeros_like(right), right.copy()
    z = precondition(r)
    p, rho = z.copy(), dot(r, z)
    wanted = accuracy * float(np.max(np.abs(right)))
    for k in range(ITERATIONS):
        if float(np.max(np.abs(r))) <= wanted:
            return x, k
        q = apply(p)
        curve = dot(p, q)
        alpha = np.divide(rho, curve, out=np.zeros_like(rho), where=curve > 0.0)
        x += alpha * p
        r -= alpha * q
        z = precondition(r)
        new = dot(r, z)
        p = z + np.divide(new, rho, out=np.zeros_like(rho), where=rho > 0.0) * p
        rho = new
    raise InputError(
        f"the wires are not solved in {ITERATIONS} iterations", remedy="the wires resist far more than the cells"
    )
