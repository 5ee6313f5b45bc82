"""Figures of a surrogate: against its circuit, pulse by pulse and in a free run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cosim.report.style import COLOURS, axes, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cosim.surrogate.certify import HeldOutEvents


def plot_parity(held: HeldOutEvents, ax: Axes | None = None) -> Axes:
    """Change of every state per pulse, as shares of its largest: surrogate over reference, one colour a state."""
    ax = axes(ax)
    for k, name in enumerate(held.states):
        before = held[f"{name}_before"]
        step, ours = held[name] - before, held[f"{name}_surrogate"] - before
        scale = float(np.max(np.abs(step))) or 1.0
        ax.plot(step / scale, ours / scale, ".", color=COLOURS[k % len(COLOURS)], ms=3, label=name)
    ax.plot([-1.0, 1.0], [-1.0, 1.0], color="0.5", lw=0.8, zorder=0)
    ax.set(xlabel="change per pulse over the largest, reference", ylabel="the same, surrogate")
    ax.legend(loc="upper left")
    return ax


def plot_error(held: HeldOutEvents, ax: Axes | None = None) -> Axes:
    """Error of every state per pulse over the first input, in % of its largest value."""
    ax = axes(ax)
    drive = held.events[next(str(name) for name in held.events if "units" in held.events[name].attrs)]
    for k, name in enumerate(held.states):
        scale = float(np.max(np.abs(held[name]))) or 1.0
        error = 100.0 * (held[f"{name}_surrogate"] - held[name]) / scale
        ax.plot(drive.values, error, ".", color=COLOURS[k % len(COLOURS)], ms=3, label=name)
    ax.axhline(0.0, color="0.5", lw=0.8, zorder=0)
    ax.set(xlabel=f"{drive.name} ({drive.attrs['units']})", ylabel="error of the state (%)")
    return ax


def plot_free_run(held: HeldOutEvents, ax: Axes | None = None) -> Axes:
    """The longest free run of the first state: both over the number of pulses."""
    ax = axes(ax)
    run = max(held.free, key=lambda states: states.shape[1])
    number = np.arange(1, run.shape[1] + 1)
    ax.step(number, run[0], where="mid", color="0.55", lw=2.2, label="reference")
    ax.step(number, run[1], where="mid", color=COLOURS[1], lw=0.9, label="surrogate, following itself")
    ax.set(xlabel="pulse", ylabel=f"state {held.states[0]} over its range")
    ax.legend(loc="upper center", ncols=2, bbox_to_anchor=(0.5, 1.14))
    return ax


def plot_growth(held: HeldOutEvents, ax: Axes | None = None) -> Axes:
    """|error| of the free runs over the number of pulses, in % of full scale."""
    ax = axes(ax)
    for number, run in enumerate(held.free):
        error = 100.0 * np.abs(run[1] - run[0])
        ax.semilogy(np.arange(1, error.size + 1), np.maximum(error, 1e-9), lw=0.8, color=COLOURS[number % len(COLOURS)])
    ax.set(xlabel="pulse", ylabel="|error of the state| (% of full scale)", title=f"{len(held.free)} free runs")
    return ax


def overview(held: HeldOutEvents, *, title: str = "") -> Figure:
    """Everything on one sheet."""
    with styled():
        figure = new_figure(9.0, 6.4)
        for draw, ax in zip(
            (plot_parity, plot_error, plot_free_run, plot_growth), figure.subplots(2, 2).flat, strict=True
        ):
            draw(held, ax)
        if title:
            figure.suptitle(title)
    return figure
