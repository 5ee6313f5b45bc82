"""Linear crossbars with wires by the nodal equations as one sparse matrix: an oracle for the solver."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

from cosim.devices.base import Array
from cosim.network.wires import Wires

Edges = tuple[NDArray[np.int64], NDArray[np.int64], Array]


def edges_of(shape: tuple[int, int], wires: Wires, *, rows: Array, columns: Array) -> tuple[Edges, Array, Array]:
    """The segments as (node, node, S), what each node has to its driver (S), and what that brings (A).

    Nodes are counted by rows, first those of the row wires, then those of the column wires.
    """
    m, n = shape
    found: list[tuple[int, int, float]] = []
    ends, sources = np.zeros(2 * m * n), np.zeros(2 * m * n)
    for i in range(m):
        for j in range(n):
            up, low = i * n + j, m * n + i * n + j
            if j:
                found.append((up - 1, up, 1.0 / wires.row))
            else:
                ends[up] = 1.0 / (wires.driver + wires.row)
                sources[up] = ends[up] * rows[i]
            if i:
                found.append((low - n, low, 1.0 / wires.column))
            if i == m - 1:
                ends[low] = 1.0 / (wires.sense + wires.column)
                sources[low] = ends[low] * columns[j]
    a, b = np.array([(a, b) for a, b, _ in found], dtype=np.int64).reshape(-1, 2).T
    return (a, b, np.array([y for _, _, y in found])), ends, sources


def linear_currents(g: Array, wires: Wires, *, rows: Array, columns: Array) -> Array:
    """(m, n) A through cells of conductance ``g`` (S), rows driven on the left, columns at the bottom."""
    m, n = g.shape
    (a, b, y), ends, sources = edges_of(g.shape, wires, rows=rows, columns=columns)
    nodes = np.arange(2 * m * n)
    one, other, value = np.r_[a, nodes[: m * n]], np.r_[b, nodes[m * n :]], np.r_[y, g.ravel()]
    entries = np.r_[value, value, -value, -value, ends]
    where = (np.r_[one, other, one, other, nodes], np.r_[one, other, other, one, nodes])
    v = spsolve(sparse.csc_array((entries, where), shape=(2 * m * n, 2 * m * n)), sources)
    return g * (v[: m * n] - v[m * n :]).reshape(m, n)


def netlist(g: Array, rows: Array, wires: Wires) -> str:
    """An array of cells g · 0.1 sinh(v / 0.1), columns at 0 V, as a netlist that measures in vs0, ..."""
    m, n = g.shape
    lines = ["crossbar"]
    for i in range(m):
        lines += [f"vr{i} r{i} 0 {float(rows[i])!r}", f"rd{i} r{i} u{i}_0 {wires.driver + wires.row!r}"]
        lines += [f"ru{i}_{j} u{i}_{j - 1} u{i}_{j} {wires.row!r}" for j in range(1, n)]
    for j in range(n):
        lines += [f"vs{j} s{j} 0 0", f"rs{j} w{m - 1}_{j} s{j} {wires.sense + wires.column!r}"]
        lines += [f"rw{i}_{j} w{i - 1}_{j} w{i}_{j} {wires.column!r}" for i in range(1, m)]
    for i in range(m):
        for j in range(n):
            lines.append(f"b{i}_{j} u{i}_{j} w{i}_{j} i={float(g[i, j])!r}*0.1*sinh(v(u{i}_{j},w{i}_{j})/0.1)")
    return "\n".join([*lines, ".op", ".end", ""])
