"""One picture of the whole line: curve and fit, waveforms, surrogate against SPICE, receptive fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cosim.devices.base import Array
from cosim.report import style
from cosim.report.bench_figures import time_scale
from cosim.report.surrogate_figures import plot_parity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cosim.demo import Demonstration

PULSES, COLUMNS = 60, 10


def line_figure(done: Demonstration) -> Figure:
    """Four panels of a demonstration, in the order of the line."""
    figure = style.new_figure(9.6, 6.2)
    with style.styled():
        grid = figure.add_gridspec(2, 2)
        curve = figure.add_subplot(grid[0, 0])
        fit = done.fit
        n = np.arange(1, min(PULSES, len(fit.curve)) + 1)
        curve.plot(n, fit.curve.measured[: n.size] / 1e-6, ".", color=style.COLOURS[0], label="measured, 2 % noise")
        curve.plot(n, fit.predicted[: n.size] / 1e-6, color=style.COLOURS[1], label="extracted cell")
        curve.set(xlabel="pulse", ylabel="read conductance (µS)", title="1 · extraction")
        curve.legend(loc="lower right", fontsize="small")

        waves = figure.add_subplot(grid[0, 1])
        data, train = done.lab.experiment.run.waveforms, done.lab.experiment.run.bench.train("bl")
        t = np.asarray(data["time"].values, dtype=float)
        first = _random_from(train.amplitudes)
        start, stop = train.write_starts[first] - train.gap, train.write_starts[first] + 6 * train.period
        shown = (t >= start) & (t <= stop)
        scale, unit = time_scale(float(stop - start))
        waves.plot((t[shown] - start) / scale, data["v(bl)"].values[shown], color=style.COLOURS[0], label="bit line")
        waves.set(xlabel=f"time ({unit})", ylabel="bit line (V)", title="2 · 1T1R cell in ngspice")
        state = waves.twinx()
        state.plot(
            (t[shown] - start) / scale, data["v(xcell.xm.w)"].values[shown], color=style.COLOURS[2], label="state"
        )
        state.set(ylabel="state w", ylim=(0, 1))
        state.spines["right"].set_visible(True)
        state.grid(visible=False)
        lines = [*waves.get_lines(), *state.get_lines()]
        waves.legend(lines, [str(line.get_label()) for line in lines], loc="lower left", fontsize="small")

        parity = plot_parity(done.held, figure.add_subplot(grid[1, 0]))
        parity.set_title("3 · surrogate against ngspice")

        weight, side = done.network.seeds[0].arrays.weight, done.images.side
        neurons = weight.shape[1]
        fields = grid[1, 1].subgridspec(-(-neurons // COLUMNS), COLUMNS, wspace=0.08, hspace=0.08)
        order = np.argsort(done.network.seeds[0].arrays.labels, kind="stable")
        for k, neuron in enumerate(order):
            panel = figure.add_subplot(fields[divmod(k, COLUMNS)])
            panel.imshow(weight[:, neuron].reshape(side, side), cmap="viridis", vmin=0, vmax=1)
            panel.set(xticks=[], yticks=[])
            panel.grid(visible=False)
            if k == COLUMNS // 2:
                panel.set_title(f"4 · all {neurons} receptive fields, {done.network.mean:.0%} right", fontsize=10)
    return figure


def _random_from(amplitudes: Array) -> int:
    """The first pulse behind the conditioning ones, which are equal."""
    changes = np.flatnonzero(np.diff(amplitudes) != 0.0) + 1
    return int(changes[1]) if changes.size > 1 and changes[0] > 1 else 0
