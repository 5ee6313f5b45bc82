"""Figures of a bench's run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cosim.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cosim.spice.stimuli import PulseTrain
    from cosim.spice.testbench import BenchResult

_TIME = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"), (1e-12, "ps"))


def time_scale(span: float) -> tuple[float, str]:
    """The unit in which ``span`` (s) reads as a number of at least one."""
    return next(((scale, name) for scale, name in _TIME if span >= scale), _TIME[-1])


def plot_waveforms(result: BenchResult, ax: Axes | None = None, *, vectors: tuple[str, ...] = ()) -> Axes:
    """Vectors over time (or sweep) in one pair of axes; by default every saved vector of the first vector's unit."""
    data = result.waveforms
    names = [name.lower() for name in vectors] or [str(name) for name in data.data_vars]
    first_unit = data[names[0]].attrs.get("units", "")
    names = [name for name in names if data[name].attrs.get("units", "") == first_unit]
    ax = style.axes(ax)
    coordinate = next(iter(data.coords), None)
    with style.styled():
        if coordinate is None:
            ax.bar(names, [float(data[name].values.reshape(-1)[0]) for name in names])
        else:
            x = np.asarray(data[coordinate].values, dtype=float)
            scale, unit = (
                time_scale(float(x[-1])) if coordinate == "time" else (1.0, data[coordinate].attrs.get("units", "V"))
            )
            for name in names:
                ax.plot(x / scale, data[name].values, label=name)
            ax.set_xlabel(f"{coordinate} ({unit})")
            ax.legend()
        ax.set_ylabel(first_unit or "value")
        ax.set_title(result.bench.file.title)
    return ax


def plot_pulses(
    result: BenchResult, *, train: PulseTrain, drive: str, current: str, state: str, periods: int = 8
) -> Figure:
    """Drive, current and state over the first ``periods`` pulses, and the conductance read after every pulse."""
    data = result.waveforms
    t = np.asarray(data["time"].values, dtype=float)
    end = train.gap + min(periods, len(train)) * train.period
    shown = t <= end
    scale, unit = time_scale(end)
    figure = style.new_figure(7.6, 6.4)
    with style.styled():
        grid = figure.add_gridspec(4, 1, height_ratios=[1.1, 1.1, 1.1, 1.6])
        panels = [figure.add_subplot(grid[0])]
        panels += [figure.add_subplot(grid[k], sharex=panels[0]) for k in (1, 2)]
        rows = (
            (data[drive].values, 1.0, "bit line (V)", style.COLOURS[0]),
            (-data[current].values, 1e-6, "current (µA)", style.COLOURS[1]),
            (data[state].values, 1.0, "state w", style.COLOURS[2]),
        )
        for panel, (values, factor, label, colour) in zip(panels, rows, strict=True):
            panel.plot(t[shown] / scale, values[shown] / factor, color=colour)
            panel.set_ylabel(label)
        panels[-1].set_xlabel(f"time ({unit})")
        for panel in panels[:-1]:
            panel.tick_params(labelbottom=False)
        last = figure.add_subplot(grid[3])
        reads = result["conductance"].values / 1e-6
        potentiating = train.amplitudes < 0
        n = np.arange(1, len(train) + 1)
        last.plot(n, reads, color="0.7", linewidth=0.8, zorder=1)
        last.scatter(n[potentiating], reads[potentiating], s=9, color=style.COLOURS[0], label="after V < 0", zorder=2)
        last.scatter(n[~potentiating], reads[~potentiating], s=9, color=style.COLOURS[1], label="after V > 0", zorder=2)
        last.set_xlabel("pulse")
        last.set_ylabel("read conductance (µS)")
        last.legend(ncols=2, loc="upper right")
        panels[0].set_title(result.bench.file.title)
    return figure
