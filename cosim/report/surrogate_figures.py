"""Figures of a surrogate: against its circuit, pulse by pulse and in a free run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cosim.report.style import COLOURS, axes, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cosim.surrogate.certify import HeldEvents
    from cosim.surrogate.check import HeldOut


def plot_parity(held: HeldOut, ax: Axes | None = None) -> Axes:
    """Change of the state per pulse: surrogate over reference; both polarities, and the line on which they agree."""
    ax = axes(ax)
    step, ours = held.w - held.w_before, held.w_surrogate - held.w_before
    for sign, colour, name in ((-1, COLOURS[0], "V < 0 (potentiation)"), (1, COLOURS[1], "V > 0 (depression)")):
        chosen = np.sign(held.amplitude) == sign
        ax.plot(step[chosen], ours[chosen], ".", color=colour, ms=3, label=name)
    edge = float(np.max(np.abs(step))) * 1.05
    ax.plot([-edge, edge], [-edge, edge], color="0.5", lw=0.8, zorder=0)
    ax.set(xlabel="Δw per pulse, reference", ylabel="Δw per pulse, surrogate")
    ax.legend(loc="upper left")
    return ax


def plot_error(held: HeldOut, ax: Axes | None = None) -> Axes:
    """Error of the state per pulse over its amplitude, in % of full scale."""
    ax = axes(ax)
    error = 100.0 * (held.w_surrogate - held.w)
    dots = ax.scatter(held.amplitude, error, c=held.w_before, s=6, cmap="viridis", vmin=0, vmax=1)
    ax.axhline(0.0, color="0.5", lw=0.8, zorder=0)
    ax.set(xlabel="pulse amplitude (V)", ylabel="error of w (% of full scale)")
    bar = ax.figure.colorbar(dots, ax=ax)
    bar.set_label("w before the pulse")
    return ax


def plot_free_run(held: HeldOut, ax: Axes | None = None) -> Axes:
    """The longest free run: both states over the number of pulses."""
    ax = axes(ax)
    run = max(held.free, key=lambda states: states.shape[1])
    number = np.arange(1, run.shape[1] + 1)
    ax.step(number, run[0], where="mid", color="0.55", lw=2.2, label="reference")
    ax.step(number, run[1], where="mid", color=COLOURS[1], lw=0.9, label="surrogate, following itself")
    ax.set(xlabel="pulse", ylabel="state w", ylim=(-0.03, 1.03))
    ax.legend(loc="upper center", ncols=2, bbox_to_anchor=(0.5, 1.14))
    return ax


def plot_growth(held: HeldOut | HeldEvents, ax: Axes | None = None) -> Axes:
    """|error| of the free runs over the number of pulses, in % of full scale."""
    ax = axes(ax)
    for number, run in enumerate(held.free):
        error = 100.0 * np.abs(run[1] - run[0])
        ax.semilogy(np.arange(1, error.size + 1), np.maximum(error, 1e-9), lw=0.8, color=COLOURS[number % len(COLOURS)])
    ax.set(xlabel="pulse", ylabel="|error of the state| (% of full scale)", title=f"{len(held.free)} free runs")
    return ax


def plot_events(held: HeldEvents, ax: Axes | None = None) -> Axes:
    """Change of every state per event, as shares of its largest: surrogate over reference, one colour a state."""
    ax = axes(ax)
    names = [str(name).removesuffix("_before") for name in held.events if str(name).endswith("_before")]
    for k, name in enumerate(names):
        before = held.events[f"{name}_before"].values
        step, ours = held.events[name].values - before, held.events[f"{name}_surrogate"].values - before
        scale = float(np.max(np.abs(step))) or 1.0
        ax.plot(step / scale, ours / scale, ".", color=COLOURS[k % len(COLOURS)], ms=3, label=name)
    ax.plot([-1.0, 1.0], [-1.0, 1.0], color="0.5", lw=0.8, zorder=0)
    ax.set(xlabel="change of the state per event, reference", ylabel="the same, surrogate")
    ax.legend(loc="upper left")
    return ax


def overview(held: HeldOut | HeldEvents, *, title: str = "") -> Figure:
    """Everything on one sheet: four figures for pulses of a cell, two for the events of any device."""
    from cosim.surrogate.certify import HeldEvents

    with styled():
        if isinstance(held, HeldEvents):
            figure = new_figure(9.0, 3.4)
            plot_events(held, (grid := figure.subplots(1, 2))[0])
            plot_growth(held, grid[1])
        else:
            figure = new_figure(9.0, 6.4)
            grid = figure.subplots(2, 2)
            plot_parity(held, grid[0, 0])
            plot_error(held, grid[0, 1])
            plot_free_run(held, grid[1, 0])
            plot_growth(held, grid[1, 1])
        if title:
            figure.suptitle(title)
    return figure
