"""Figures of the heat solution: temperature in the stack, step responses, coupling against feature size and pitch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cosim.devices.base import Array
from cosim.heat.network import NetworkFit
from cosim.heat.response import COUPLING_TIME, PROBES, StepResponse
from cosim.heat.stack import NAMES, BoxGrid
from cosim.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_response(
    response: StepResponse, ax: Axes | None = None, *, fits: Mapping[str, NetworkFit] | None = None
) -> Axes:
    """Rise per watt of heater and filaments over time; fitted networks dashed."""
    ax = style.axes(ax)
    with style.styled():
        for k, name in enumerate(PROBES):
            label = "heater" if k == 0 else f"ReRAM {name}"
            ax.semilogx(response.times * 1e9, response.rises[:, k] / 1e6, label=label, color=style.COLOURS[k])
        for dashes, (name, fit) in zip(("--", ":", "-."), (fits or {}).items(), strict=False):
            for k in range(fit.fitted.shape[1]):
                shown = name if k == 0 else None
                ax.semilogx(fit.times * 1e9, fit.fitted[:, k] / 1e6, dashes, color="0.25", linewidth=0.9, label=shown)
        ax.axvline(COUPLING_TIME * 1e9, color="0.7", linewidth=0.8)
        ax.set_xlabel("time after the heater is on (ns)")
        ax.set_ylabel("rise per power (K/µW)")
        ax.legend(fontsize="small")
    return ax


def temperature_figure(grid: BoxGrid, rise: Array, *, title: str) -> Figure:
    """Two cuts (K) through the heated crossing: along the top electrode, and the plane of the filaments."""
    stack = grid.stack
    nx, ny, nz = grid.shape
    field = rise.reshape(nz, ny, nx)
    material = grid.material.reshape(nz, ny, nx)
    x, y, z = (0.5 * (edge[1:] + edge[:-1]) for edge in grid.edges)
    middle = stack.centres[stack.cells // 2]
    j, k = int(np.argmin(np.abs(y - middle))), int(np.argmin(np.abs(z - np.mean(stack.layers["switching"]))))
    floor = stack.layers["bottom"][0] - 0.15e-6
    figure = style.new_figure(9.0, 3.8)
    with style.styled():
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1.0))
        top = float(field[:, j, :].max())
        levels = np.geomspace(max(0.01 * top, 1e-6), top, 15)
        for panel, data, what, vertical, edges in (
            (left, field[:, j, :], material[:, j, :], z, grid.edges[2]),
            (right, field[k], material[k], y, grid.edges[1]),
        ):
            drawn = panel.contourf(
                x * 1e9, vertical * 1e9, data, levels=levels, cmap="inferno", norm="log", extend="min"
            )
            # outlines of the materials, on the grid's own planes
            for name in range(len(NAMES)):
                inside = np.kron(what == name, np.ones((2, 2)))
                xs, zs = (np.repeat(edge, 2)[1:-1] * 1e9 for edge in (grid.edges[0], edges))
                panel.contour(xs, zs, inside, levels=[0.5], colors="white", linewidths=0.4, alpha=0.7)
            panel.set_aspect("equal")
            panel.set_xlabel("x (nm)")
            panel.grid(visible=False)
        left.set_ylim(max(floor, 0.0) * 1e9, grid.edges[2][-1] * 1e9)
        left.set_ylabel("z (nm), heat sink at 0")
        left.set_title("cut along the top electrode")
        right.set_ylabel("y (nm)")
        right.set_title("plane of the filaments")
        figure.colorbar(drawn, ax=(left, right), label="rise (K)", format="%.3g", shrink=0.8)
        figure.suptitle(title)
    return figure


def sweep_figure(rows: Sequence[Mapping[str, float | str]]) -> Figure:
    """Coupling after 60 ns against F at each pitch, baseline and modified: Fig. 6(f, g, h) in this model.

    Each row has ``geometry``, ``feature`` and ``pitch`` (m), and the coefficients ``A``, ``B row`` and ``C``.
    """
    figure = style.new_figure(9.0, 3.2)
    pitches = sorted({round(float(row["pitch"]) / float(row["feature"]), 2) for row in rows})
    with style.styled():
        panels = figure.subplots(1, 3)
        for panel, key, title in zip(
            panels, ("A", "B row", "C"), ("own ReRAM", "neighbour B", "diagonal C"), strict=True
        ):
            for colour, ratio in zip(style.COLOURS, pitches, strict=False):
                for geometry, line in (("baseline", "o-"), ("modified", "s--")):
                    own = [
                        (float(row["feature"]) * 1e9, float(row[key]))
                        for row in rows
                        if row["geometry"] == geometry
                        and abs(float(row["pitch"]) / float(row["feature"]) - ratio) < 0.01
                    ]
                    label = f"K = {ratio:g} F, {geometry}"
                    panel.plot(*zip(*sorted(own), strict=True), line, color=colour, markersize=3.5, label=label)
            panel.set_title(title)
            panel.set_xlabel("F (nm)")
            panel.set_ylim(bottom=0.0)
        panels[0].set_ylabel("coupling after 60 ns")
        panels[2].legend(fontsize="x-small")
    return figure
