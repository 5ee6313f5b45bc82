"""Crossbars with wires and non-linear cells: how fast they are solved, and how far from others' solutions.

Cells are g · v_0 sinh(v / v_0) with conductances spread over two decades and v_0 = 0.1 V. The peer is Newton's method
with a sparse direct solve of all nodes (SuperLU), which is what one writes with scipy alone; the oracle is ngspice.
Where the package badcrossbar is installed, its linear arrays are compared too.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from importlib.util import find_spec

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from claims.base import Claim, Figures, Report
from cosim.devices.base import Array
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Deck
from cosim.network.wires import Wires, solve_wired
from reference.oracles.wires import edges_of, netlist

WIRES = Wires(row=2.5, column=2.5)
V0, CHANGE, REPEATS = 0.1, 0.02, 5


def cells(size: int, seed: int = 0) -> tuple[Array, Array]:
    """Conductances (size, size) S and row voltages (size,) V."""
    rng = np.random.default_rng(seed)
    return 10 ** rng.uniform(-6.0, -4.0, (size, size)), rng.uniform(0.0, 0.4, size)


def law(g: Array) -> Callable[[Array], Array]:
    """The cells' currents."""
    return lambda v: g * V0 * np.sinh(v / V0)


def direct(g: Array, rows: Array, wires: Wires) -> tuple[Array, int]:
    """Column currents by Newton's method with a direct solve, and its steps."""
    m, n = g.shape
    count = m * n
    (a, b, y), ends, sources = edges_of(g.shape, wires, rows=rows, columns=np.zeros(n))
    nodes = np.arange(2 * count)
    upper, lower = nodes[:count], nodes[count:]

    def matrix(slopes: Array) -> sparse.csc_array:
        one, other, value = np.r_[a, upper], np.r_[b, lower], np.r_[y, slopes]
        entries = np.r_[value, value, -value, -value, ends]
        where = (np.r_[one, other, one, other, nodes], np.r_[one, other, other, one, nodes])
        return sparse.csc_array((entries, where), shape=(2 * count, 2 * count))

    linear, v = matrix(np.zeros(count)), np.r_[np.repeat(rows, n), np.zeros(count)]
    for step in range(1, 60):
        across = v[:count] - v[count:]
        i = g.ravel() * V0 * np.sinh(across / V0)
        off = linear @ v - sources + np.r_[i, -i]
        if np.max(np.abs(off)) <= 1e-12 * np.max(np.abs(i)):
            return i.reshape(m, n).sum(axis=0), step - 1
        v = v - splu(matrix(g.ravel() * np.cosh(across / V0))).solve(off)
    raise ArithmeticError("the peer does not converge")


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def apart(ours: Array, theirs: Array) -> float:
    """The largest relative difference of column currents (n,); inf where one is not finite."""
    off = float(np.max(np.abs(ours / theirs - 1.0)))
    return off if np.isfinite(off) else np.inf


def _large() -> tuple[float, float, float]:
    """Seconds and peak memory (GB) of 1024 × 1024 cells, and by what share of the largest current a node is off."""
    g, rows = cells(1024)
    began = time.perf_counter()
    found = solve_wired(law(g), WIRES, rows=rows, columns=np.zeros(1024))
    took = time.perf_counter() - began
    unit = 1 if sys.platform == "darwin" else 1024
    return (
        took,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9,
        found.residual / float(np.max(np.abs(found.column_current))),
    )


def _badcrossbar() -> float | str:
    if find_spec("badcrossbar") is None:
        return "not installed"
    g, rows = cells(64)
    theirs = import_module("badcrossbar").compute(rows[:, None], 1.0 / g, r_i=WIRES.row).currents.output.ravel()
    ours = solve_wired(lambda v: g * v, WIRES, rows=rows, columns=np.zeros(64)).column_current
    return float(np.max(np.abs(ours / theirs - 1.0)))


def measure(tell: Report) -> Figures:
    """Agreement first, then speed."""
    tell("16 x 16 in ngspice")
    g, rows = cells(16)
    saved = tuple(f"i(vs{j})" for j in range(16))
    options = {"reltol": 1e-10, "abstol": 1e-20, "vntol": 1e-14}
    with open_simulator() as simulator:
        data = simulator.run(Deck(netlist(g, rows, WIRES), save=saved, options=options))["op"]
    theirs = np.array([float(data[name].values.ravel()[-1]) for name in saved])
    ours = solve_wired(law(g), WIRES, rows=rows, columns=np.zeros(16)).column_current
    g, rows = cells(256)
    later = g * np.random.default_rng(1).normal(1.0, CHANGE, g.shape)
    zeros = np.zeros(256)
    first = solve_wired(law(g), WIRES, rows=rows, columns=zeros)
    cold, warm, peer = list[float](), list[float](), list[float]()
    for turn in range(REPEATS):
        tell(f"256 x 256, {turn + 1} of {REPEATS}")
        cold.append(_seconds(lambda: solve_wired(law(g), WIRES, rows=rows, columns=zeros)))
        warm.append(_seconds(lambda: solve_wired(law(later), WIRES, rows=rows, columns=zeros, start=first)))
        if turn < 1:
            peer.append(_seconds(lambda: direct(g, rows, WIRES)))
    again = solve_wired(law(later), WIRES, rows=rows, columns=zeros, start=first)
    tell("256 x 256, the peer's currents")
    currents, changed = (direct(one, rows, WIRES)[0] for one in (g, later))
    tell("1024 x 1024")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        large, peak, residual = pool.submit(_large).result()
    return {
        "ngspice_apart": apart(ours, theirs),
        "direct_apart": apart(first.column_current, currents),
        "changed_apart": apart(again.column_current, changed),
        "badcrossbar_apart": _badcrossbar(),
        "residual_amperes": first.residual,
        "cold_seconds": statistics.median(cold),
        "changed_seconds": statistics.median(warm),
        "direct_seconds": statistics.median(peer),
        "direct_over_cold": statistics.median(peer) / statistics.median(cold),
        "iterations": first.iterations,
        "large_seconds": large,
        "large_peak_gb": peak,
        "large_residual_share": residual,
    }


WIRES_CLAIM = Claim(
    "wires",
    "a crossbar of 256 x 256 non-linear cells with resistive wires is solved again after a change of 2 % in 0.3 s, one "
    "of 1024 x 1024 in less than 24 GB, with the currents that ngspice gives",
    measure,
    {
        "ngspice_apart": (None, 1e-9),
        "direct_apart": (None, 1e-9),
        "changed_apart": (None, 1e-9),  # what is fast has to be right
        "large_residual_share": (None, 1e-9),
        "changed_seconds": (None, 0.3),
        "direct_over_cold": (3.0, None),
        "large_peak_gb": (None, 24.0),
    },
)
