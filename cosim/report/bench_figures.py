"""Figures of a bench's run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cosim.devices.base import Array
from cosim.devices.registry import device
from cosim.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cosim.spice.stimuli import PulseTrain
    from cosim.spice.testbench import BenchResult, Measured

_PREFIXES = (("M", 1e6), ("k", 1e3), ("", 1.0), ("m", 1e-3), ("µ", 1e-6), ("n", 1e-9), ("p", 1e-12), ("f", 1e-15))
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
        ax.set_title(style.plain(result.bench.file.title))
    return ax


def bench_figure(result: BenchResult, *, periods: int = 8) -> Figure:
    """A panel per saved vector, and one per measure with a value per pulse.

    Vectors of a pulse bench are shown over the first ``periods`` pulses, measures over all of them.
    """
    bench, data = result.bench, result.waveforms
    train = next(iter(bench.trains().values()), None)
    many = {name: m for name, m in result.measures.items() if train is not None and m.values.size == len(train)}
    vectors = [str(name) for name in data.data_vars]
    coordinate = next((str(name) for name in data.coords), None)
    if coordinate is None:
        figure = style.new_figure()
        plot_waveforms(result, figure.add_subplot())
        return figure
    x = np.asarray(data[coordinate].values, dtype=float)
    end = x[-1] if train is None or coordinate != "time" else train.gap + min(periods, len(train)) * train.period
    shown = x <= end
    scale, unit = time_scale(end) if coordinate == "time" else (1.0, data[coordinate].attrs.get("units", ""))
    figure = style.new_figure(7.6, 1.1 + 1.25 * (len(vectors) + len(many)))
    with style.styled():
        grid = figure.add_gridspec(len(vectors) + len(many), 1)
        first = None
        for row, name in enumerate(vectors):
            panel = figure.add_subplot(grid[row], sharex=first)
            first = first or panel
            values, label = _labelled(result, name)
            panel.plot(x[shown] / scale, values[shown], color=style.COLOURS[row % len(style.COLOURS)])
            panel.set_ylabel(label)
            panel.tick_params(labelbottom=row == len(vectors) - 1)
        panel.set_xlabel(f"{coordinate} ({unit})")
        for row, (name, measured) in enumerate(many.items(), len(vectors)):
            panel = figure.add_subplot(grid[row])
            assert train is not None
            _plot_per_pulse(panel, name, measured, train)
            if row == len(vectors):
                panel.legend(ncols=2, loc="upper right", fontsize="small")
            panel.tick_params(labelbottom=row == len(vectors) + len(many) - 1)
        if many:
            panel.set_xlabel("pulse")
        figure.suptitle(style.plain(bench.file.title))
    return figure


def _labelled(result: BenchResult, name: str) -> tuple[Array, str]:
    """A vector in a readable scale with its label; a device's state is no voltage."""
    values = np.asarray(result.waveforms[name].values)
    state = name.rpartition(".")[2].rstrip(")")
    for chosen in result.bench.sets.values():
        for entry in device(chosen.device).all_states:
            if "." in name and entry.name == state:
                return values, f"state {state}" + ("" if entry.unit == "1" else f" ({entry.unit})")
    unit = str(result.waveforms[name].attrs.get("units", ""))
    top = float(np.max(np.abs(values))) or 1.0
    prefix, factor = next(((p, f) for p, f in _PREFIXES if top >= f), _PREFIXES[-1])
    return values / factor, f"{name} ({prefix}{unit})"


def _plot_per_pulse(panel: Axes, name: str, measured: Measured, train: PulseTrain) -> None:
    top = float(np.max(np.abs(measured.values))) or 1.0
    prefix, factor = next(((p, f) for p, f in _PREFIXES if top >= f), _PREFIXES[-1])
    if measured.unit == "1":
        prefix, factor = "", 1.0
    n, y = np.arange(1, len(train) + 1), measured.values / factor
    panel.plot(n, y, color="0.75", linewidth=0.7, zorder=1)
    for mask, label, colour in (
        (train.amplitudes < 0, "after V < 0", style.COLOURS[0]),
        (train.amplitudes >= 0, "after V > 0", style.COLOURS[1]),
    ):
        panel.scatter(n[mask], y[mask], s=7, color=colour, label=label, zorder=2)
    panel.set_ylabel(name.replace("_", " ") + ("" if measured.unit == "1" else f"\n({prefix}{measured.unit})"))
