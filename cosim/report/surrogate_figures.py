"""Figures of a surrogate: against its circuit, pulse by pulse and in a free run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cosim.report.style import COLOURS, axes, new_figure, styled

LEAST_SHOWN = 1e-3  # of full scale: a state that moves by less shows nothing but rounding (our choice)
MOST_TRAINS = 3  # of a neuron on one sheet
MOST_NAMED = 6  # free runs in a legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cosim.devices.base import Array
    from cosim.surrogate.certify import HeldOutEvents
    from cosim.surrogate.filter import FilterTrain
    from cosim.surrogate.neuron import SpikeTrain
    from cosim.surrogate.neuron_bench import NeuronErrors


def plot_parity(held: HeldOutEvents, ax: Axes | None = None) -> Axes:
    """Change of every state per pulse, as shares of its largest: surrogate over reference, one colour a state.

    A state whose largest change is below `LEAST_SHOWN` of full scale is left out, and the title names it.
    """
    ax = axes(ax)
    still = []
    for k, name in enumerate(held.states):
        before = held[f"{name}_before"]
        step, ours = held[name] - before, held[f"{name}_surrogate"] - before
        scale = float(np.max(np.abs(step)))
        if max(scale, float(np.max(np.abs(ours)))) < LEAST_SHOWN * held.full_scale(name):
            still.append(name)
            continue
        scale = scale or held.full_scale(name)
        ax.plot(step / scale, ours / scale, ".", color=COLOURS[k % len(COLOURS)], ms=3, label=name)
    ax.plot([-1.0, 1.0], [-1.0, 1.0], color="0.5", lw=0.8, zorder=0)
    ax.set(xlabel="change per pulse over the largest, reference", ylabel="the same, surrogate")
    if still:
        ax.set_title(f"left out, moves by less than {LEAST_SHOWN:.1%} of full scale: {', '.join(still)}", fontsize=8)
    if len(still) < len(held.states):
        ax.legend(loc="upper left")
    return ax


def plot_error(held: HeldOutEvents, ax: Axes | None = None) -> Axes:
    """Error of every state per pulse over the first input, in % of the certificate's full scale."""
    ax = axes(ax)
    drive = held.events[next(str(name) for name in held.events if "units" in held.events[name].attrs)]
    for k, name in enumerate(held.states):
        error = 100.0 * (held[f"{name}_surrogate"] - held[name]) / held.full_scale(name)
        ax.plot(drive.values, error, ".", color=COLOURS[k % len(COLOURS)], ms=3, label=name)
    ax.axhline(0.0, color="0.5", lw=0.8, zorder=0)
    ax.set(xlabel=f"{drive.name} ({drive.attrs['units']})", ylabel="error of the state (% of full scale)")
    ax.legend(loc="best")
    return ax


def plot_free_run(held: HeldOutEvents, ax: Axes | None = None) -> Axes:
    """The longest free run: both of each state over the number of pulses."""
    ax = axes(ax)
    names, each = held.states, len(held.free) // len(held.states)
    for k, name in enumerate(names):
        run = max(held.free[k * each : (k + 1) * each], key=lambda states: states.shape[1])
        number = np.arange(1, run.shape[1] + 1)
        ax.step(number, run[0], where="mid", color="0.55", lw=2.2, label="_" if k else "reference")
        label = "surrogate, following itself" if len(names) == 1 else f"surrogate, {name}"
        colour = COLOURS[k % len(COLOURS) if len(names) > 1 else 1]
        ax.step(number, run[1], where="mid", color=colour, lw=0.9, label=label)
    ax.set(xlabel="pulse", ylabel=f"state {names[0]} over its range" if len(names) == 1 else "states over their ranges")
    ax.legend(loc="upper center", ncols=2, bbox_to_anchor=(0.5, 1.0 + 0.07 * (2 + len(names) // 2)), fontsize=8)
    return ax


def plot_growth(held: HeldOutEvents, ax: Axes | None = None) -> Axes:
    """|error| of the free runs over the number of pulses, in % of full scale; marks at the bottom where it is zero.

    A colour a run, or, of several states, a state.
    """
    ax = axes(ax)
    zeros, count = 0, len(held.free) // max(len(held.states), 1)
    ax.set_yscale("log")
    for number, run in enumerate(held.free):
        state, first = number // count, number % count == 0
        several = len(held.states) > 1
        error, colour = 100.0 * np.abs(run[1] - run[0]), COLOURS[(state if several else number) % len(COLOURS)]
        pulse, none = np.arange(1, error.size + 1), error == 0.0
        name = f"run {number + 1}" if number < MOST_NAMED else "_"
        if several:
            name = held.states[state] if first else "_"
        # a point between two zeros has no line
        ax.plot(pulse, np.where(none, np.nan, error), ".-", ms=1.5, lw=0.8, color=colour, label=name)
        if none.any():
            at = np.full(int(none.sum()), 0.015)
            ax.plot(pulse[none], at, "v", ms=3, color=colour, transform=ax.get_xaxis_transform(), clip_on=False)
            zeros += at.size
    title = f"{count} free run{'' if count == 1 else 's'}" + (f"; ▾ no error at all ({zeros} pulses)" if zeros else "")
    ax.set(xlabel="pulse", ylabel="|error of the state| (% of full scale)")
    ax.set_title(title, fontsize=9)
    if count:
        ax.legend(fontsize=7, ncols=2, loc="lower right")
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


def plot_spikes(train: SpikeTrain, spikes: Array, membrane: Array, ax: Axes | None = None) -> Axes:
    """An event neuron: the circuit's membrane, the law's at each input, and both trains of output spikes above them.

    ``spikes`` (k,) s and ``membrane`` (n,) V are the law's, of a `NeuronErrors`.
    """
    ax = axes(ax)
    scale, top = 1e6, float(train.membrane.max())
    ax.plot(scale * train.time, train.membrane, color="0.7", lw=0.9, label="membrane, circuit")
    ax.plot(scale * train.inputs[:-1], membrane, ".", color=COLOURS[1], ms=4, label="membrane at an input, surrogate")
    for times, height, colour, label in (
        (train.spikes, 1.25, "0.3", "output spikes, circuit"),
        (spikes, 1.12, COLOURS[1], "output spikes, surrogate"),
    ):
        ax.plot(scale * times, np.full(times.size, height * top), "|", color=colour, ms=8, label=label)
    ax.plot(scale * train.inputs, np.full(train.inputs.size, -0.08 * top), "|", color="0.6", ms=5, label="inputs")
    ax.set(xlabel="time (µs)", ylabel="membrane (V)")
    ax.legend(loc="upper center", ncols=3, bbox_to_anchor=(0.5, 1.3), fontsize=7)
    return ax


def plot_state_errors(
    train: SpikeTrain, found: NeuronErrors, spans: Mapping[str, float], ax: Axes | None = None
) -> Axes:
    """Error of each state of an event neuron at its inputs, in % of its range in ``spans``, over time."""
    ax = axes(ax)
    for k, (name, (circuit, ours)) in enumerate(found.states.items()):
        error = 100.0 * (ours - circuit) / spans[name]
        ax.plot(1e6 * train.inputs[:-1], error, ".", color=COLOURS[k % len(COLOURS)], ms=3, label=name)
    ax.axhline(0.0, color="0.5", lw=0.8, zorder=0)
    ax.set(xlabel="time (µs)", ylabel="error of the state (% of its range)")
    ax.legend(loc="upper center", ncols=4, bbox_to_anchor=(0.5, 1.16), fontsize=7)
    return ax


def neuron_overview(
    held: Sequence[tuple[SpikeTrain, NeuronErrors]], spans: Mapping[str, float], *, title: str = ""
) -> Figure:
    """`plot_spikes` and `plot_state_errors` of the first `MOST_TRAINS` held-out trains, one above the other."""
    with styled():
        figure = new_figure(12.0, 3.4 * min(len(held), MOST_TRAINS))
        shown = held[:MOST_TRAINS]
        grid = figure.subplots(len(shown), 2, squeeze=False, width_ratios=(3, 2))
        for (train, found), (left, right) in zip(shown, grid, strict=True):
            plot_spikes(train, found.spikes[1], found.states["v"][1], left)
            plot_state_errors(train, found, spans, right)
        if title:
            figure.suptitle(title + (f"; {len(shown)} of {len(held)} trains" if len(held) > len(shown) else ""))
    return figure


def filter_overview(held: Sequence[tuple[FilterTrain, Array]], *, title: str = "") -> Figure:
    """`plot_filter` of the first `MOST_TRAINS` held-out trains, one above the other."""
    with styled():
        figure = new_figure(9.0, 3.4 * min(len(held), MOST_TRAINS))
        shown = held[:MOST_TRAINS]
        for (train, ours), ax in zip(shown, figure.subplots(len(shown), squeeze=False).flat, strict=True):
            plot_filter(train, ours, ax)
        if title:
            figure.suptitle(title + (f"; {len(shown)} of {len(held)} trains" if len(held) > len(shown) else ""))
    return figure


def plot_filter(train: FilterTrain, ours: Array, ax: Axes | None = None) -> Axes:
    """A filter: the circuit's state and the law's (n + 1,) A, which follows itself, over time."""
    ax = axes(ax)
    ax.plot(1e3 * train.begin, 1e12 * train.state, color="0.65", lw=2.2, label="circuit")
    ax.plot(1e3 * train.begin, 1e12 * ours, color=COLOURS[1], lw=0.9, label="surrogate, following itself")
    ax.set(xlabel="time (ms)", ylabel="current (pA)")
    ax.legend(loc="upper right")
    return ax
