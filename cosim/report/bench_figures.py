"""Figures of a bench's run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cosim import units
from cosim.devices.base import Array, Inner, State
from cosim.devices.registry import device
from cosim.report import style
from cosim.report.measure_figures import limit_lines, loop_figure, measure_figure
from cosim.report.panels import (
    PANELS,
    Level,
    bars,
    coordinate_of,
    described,
    draw,
    drawn,
    finish,
    is_complex,
    labelled,
    level,
    operating_figure,
    ratio,
    readable,
    scaling,
    waveform_figure,
)

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cosim.bench.measured import Measured
    from cosim.bench.result import BenchResult
    from cosim.bench.stimuli import PulseTrain

CONDITIONING = "0.88"
GREY = 8


def plot_waveforms(result: BenchResult, ax: Axes | None = None, *, vectors: tuple[str, ...] = ()) -> Axes:
    """Vectors over time (or sweep) in one pair of axes; by default every saved vector of the first vector's unit."""
    data = result.waveforms
    names = [name.lower() for name in vectors] or [str(name) for name in data.data_vars]
    first_unit = data[names[0]].attrs.get("units", "")
    names = [name for name in names if data[name].attrs.get("units", "") == first_unit]
    ax = style.axes(ax)
    with style.styled():
        if not data.coords:
            bars(ax, _levels(result, names))
        else:
            x = coordinate_of(data, name=_swept(result))
            for name in names:
                values = np.asarray(data[name].values)
                ax.plot(x.values, drawn(values), label=described(name, magnitude=is_complex(values)))
            finish(ax, x, last=True)
            ax.set_ylabel(first_unit or "value")
            ax.legend()
        ax.set_title(style.plain(result.bench.file.title))
    return ax


def bench_figure(result: BenchResult, *, periods: int = 8) -> Figure:
    """A panel per saved vector, and one per measure with a value per pulse; of an operating point bars with values. Of
    more than `PANELS` vectors those of a unit share a panel.

    Vectors of a pulse bench are shown over ``periods`` pulses, of which two are conditioning where there is any;
    measures over all of them, the conditioning ones and those of the panels above shaded. Of several runs of the first
    analysis the first is shown, and up to `GREY` others behind it; of operating points the range of all.
    """
    bench, data = result.bench, result.waveforms
    if not data.coords:
        names = [str(name) for name in data.data_vars]
        return operating_figure(
            _levels(result, names), f"{bench.file.title}\n{_which(result, all_of_them=True)}".strip()
        )
    name, train = next(iter(bench.trains().items()), ("", None))
    many = {key: m for key, m in result.measures.items() if train is not None and m.values.size == len(train)}
    vectors = [str(key) for key in data.data_vars]
    if len(vectors) > PANELS and not many:
        stated = data.copy()
        called: dict[str, str] = {}
        for key in vectors:  # an engine calls a state's node a voltage
            name, unit = _named(result, key)
            stated[key].attrs = {**data[key].attrs, "units": unit}
            if not is_complex(np.asarray(data[key].values)):
                called[key] = name
        stated = stated.rename(called)
        return waveform_figure(stated, f"{bench.file.title}\n{_which(result, grey=False)}".strip())
    conditioning = 2 * int(getattr(bench.file.stimuli[name], "conditioning", 0)) if train is not None else 0
    first_pulse = max(conditioning - 2, 0)
    last_pulse = min(first_pulse + periods, len(train)) if train is not None else 0
    over_pulses = train is not None and "time" in data.coords and last_pulse < len(train)
    figure = style.new_figure(7.6, 1.1 + 1.42 * len(vectors) + 1.25 * len(many))
    with style.styled():
        grid = figure.add_gridspec(len(vectors) + len(many), 1)
        start, end = None, None
        if over_pulses and train is not None:
            start, end = (
                float(train.write_starts[0] + k * train.period - train.gap) for k in (first_pulse, last_pulse)
            )
        x = coordinate_of(data, name=_swept(result), end=end)
        seconds = np.asarray(data[next(iter(data.coords))].values, dtype=float)
        shown = slice(None) if end is None else (seconds >= start) & (seconds <= end)
        first = None
        for row, key in enumerate(vectors):
            panel = figure.add_subplot(grid[row], sharex=first)
            first = first or panel
            values, label, factor = _labelled(result, key)
            draw(panel, x.values[shown], values[shown], label, colour=style.COLOURS[row % len(style.COLOURS)])
            _behind(panel, result, key, start=start, end=end, scale=ratio(x.values, seconds), factor=factor)
            level(panel)
            if over_pulses and train is not None and first_pulse < conditioning:
                until = train.write_starts[0] + conditioning * train.period - train.gap
                panel.axvspan(x.values[shown][0], until * x.values[-1] / seconds[-1], color=CONDITIONING, zorder=0)
            finish(panel, x, last=row == len(vectors) - 1)
        if over_pulses and train is not None:
            note = f", the last {conditioning - first_pulse} of {conditioning} conditioning ones shaded"
            panel.set_xlabel(
                f"{x.label}: pulses {first_pulse + 1} to {last_pulse} of {len(train)}" + (note if conditioning else "")
            )
        for row, (key, measured) in enumerate(many.items(), len(vectors)):
            panel = figure.add_subplot(grid[row])
            assert train is not None
            _plot_per_pulse(panel, key, measured, train)
            if over_pulses:
                panel.axvspan(first_pulse + 0.5, last_pulse + 0.5, color=style.COLOURS[4], alpha=0.25, label="above")
            if conditioning:
                panel.axvspan(0.5, conditioning + 0.5, color=CONDITIONING, zorder=0, label="conditioning")
            if row == len(vectors):
                panel.legend(ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize="small", borderpad=0.0)
            panel.tick_params(labelbottom=row == len(vectors) + len(many) - 1)
        if many:
            panel.set_xlabel("pulse")
        figure.suptitle(style.plain(f"{bench.file.title}\n{_which(result)}".strip()))
    return figure


def bench_figures(result: BenchResult) -> dict[str, Figure]:
    """Every figure of a run: ``waveforms`` of the first analysis, ``waveforms_NAME`` of further ones; ``measures`` and
    ``loops`` where there are such.
    """
    found: dict[str, Figure | None] = {"waveforms": bench_figure(result)}
    for name in list(dict.fromkeys(run.analysis for run in result.runs))[1:]:
        own = tuple(run for run in result.runs if run.analysis == name)
        found[f"waveforms_{name}"] = bench_figure(replace(result, runs=own, measures={}))
    found |= {"measures": measure_figure(result), "loops": loop_figure(result)}
    return {name: figure for name, figure in found.items() if figure is not None}


def _which(result: BenchResult, *, all_of_them: bool = False, grey: bool = True) -> str:
    """Which of several runs a figure shows; empty for a single run."""
    run = result.runs[0]
    count = sum(entry.analysis == run.analysis for entry in result.runs)
    name = f"analysis {run.analysis}" if len(result.bench.file.plan) > 1 else ""
    if all_of_them:
        return ", ".join(filter(None, [f"range over {count} points" if count > 1 else "", name]))
    given = result.bench.parameter_units
    at = ", ".join(f"{key} = {units.show(value, given[key])}" for key, value in run.point.items())
    others = f" in colour{f', {GREY} others grey' if count > GREY + 1 else ''}" if grey else ""
    which = f"run 1 of {count}{others}" if count > 1 else ""
    return ", ".join(filter(None, [name, which])) + (f": {at}" if at else "")


def _behind(
    panel: Axes, result: BenchResult, name: str, *, start: float | None, end: float | None, scale: float, factor: float
) -> None:
    """The same vector in other runs of the shown analysis, grey."""
    for data in _others(result, name):
        x = np.asarray(data[next(iter(data.coords))].values, dtype=float)
        inside = np.ones(x.size, bool) if start is None or end is None else (x >= start) & (x <= end)
        y = drawn(np.asarray(data[name].values))
        panel.plot(scale * x[inside], factor * y[inside], color="0.78", linewidth=0.6, zorder=1)


def _others(result: BenchResult, name: str) -> list[xarray.Dataset]:
    """The other runs that are drawn behind the first; a choice in the circuit may take a vector out."""
    return [data for data in result.waveforms_of(result.runs[0].analysis)[1 : GREY + 1] if name in data]


def _swept(result: BenchResult) -> str:
    """The source that the shown analysis sweeps; empty for any other analysis."""
    return str(getattr(result.bench.file.plan[result.runs[0].analysis], "source", ""))


def _levels(result: BenchResult, names: list[str]) -> list[Level]:
    """Vectors of operating points: over all points of the first analysis."""
    points = result.waveforms_of(result.runs[0].analysis)
    found = []
    for name in names:
        values = np.array([float(np.asarray(data[name].values).reshape(-1)[0]) for data in points if name in data])
        label, unit = _named(result, name)
        found.append(Level(label, unit, float(values.min()), float(values.max())))
    return found


def _named(result: BenchResult, name: str) -> tuple[str, str]:
    """The label of a vector without its unit, and the unit; a device's state is not a voltage."""
    path, _, state = name.partition("(")[2].rstrip(")").rpartition(".")
    for chosen in result.bench.sets.values():
        used = device(chosen.device)
        nodes: list[State | Inner] = [*used.all_states, *used.inner]
        for entry in nodes:
            if path and entry.name == state:
                kind = "state " if isinstance(entry, State) else ""
                return f"{kind}{state} of {path}", "" if entry.unit == "1" else entry.unit
    given = result.waveforms[name]
    return described(name, magnitude=is_complex(given.values)), str(given.attrs.get("units", ""))


def _labelled(result: BenchResult, name: str) -> tuple[Array, str, float]:
    """A vector in a scale that suits all that is drawn with it, its label, and the factor of the scale."""
    label, unit = _named(result, name)
    values = drawn(np.asarray(result.waveforms[name].values))
    every = np.concatenate([values, *(drawn(np.asarray(data[name].values)) for data in _others(result, name))])
    scaled, unit = readable(every, unit)
    factor = ratio(scaled, every)
    return factor * values, labelled(label, unit), factor


def _plot_per_pulse(panel: Axes, name: str, measured: Measured, train: PulseTrain) -> None:
    from matplotlib.ticker import MaxNLocator

    scale, unit = scaling(measured.values, measured.shown_in)
    y = measured.values / scale
    n = np.arange(1, len(train) + 1)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.plot(n, y, color="0.75", linewidth=0.7, zorder=1)
    for mask, label, colour in (
        (train.amplitudes < 0, "after V < 0", style.COLOURS[0]),
        (train.amplitudes >= 0, "after V > 0", style.COLOURS[1]),
    ):
        panel.scatter(n[mask], y[mask], s=7, color=colour, label=label, zorder=2)
    limit_lines(panel, measured.low, measured.high, factor=1.0 / scale)
    said = style.plain(name.replace("_", " "))
    panel.set_title(f"{said}, pulse by pulse", loc="left", fontsize=8.5)
    panel.set_ylabel(labelled(said, unit or "1"), fontsize=7.5)
