"""Figures of the thermal synapse's circuits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cosim.devices.thermal_reram import ThermalReram
from cosim.parameters import ParameterSet
from cosim.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cosim.surface import Surface


def plot_surface(surface: Surface, ax: Axes | None = None, *, parameters: ParameterSet | None = None) -> Axes:
    """Measured ΔG/G0 against the initial conductance, a colour per temperature; Eq. 27 of ``parameters`` as lines."""
    ax = style.axes(ax)
    chosen = parameters or ParameterSet.load("thermal_reram:published")
    p, device = chosen.resolved(), ThermalReram()
    w = np.linspace(0.0, 1.0, 101)
    with style.styled():
        for colour, theta in zip(style.COLOURS, np.unique(surface.theta), strict=False):
            own = surface.theta == theta
            label = f"θ = {theta:g}"
            ax.plot(surface.g0[own], 100 * surface.step[own], "o", markersize=3, color=colour, label=label)
            law = surface.polarity * device.surface(w, theta, p, polarity=surface.polarity)
            ax.plot(w, 100 * law, color=colour, linewidth=0.9)
        ax.set_xlabel("initial conductance (fraction of the range)")
        ax.set_ylabel("ΔG/G0 (%)")
        ax.set_title("SET" if surface.polarity > 0 else "RESET")
        ax.legend(fontsize="small")
    return ax
