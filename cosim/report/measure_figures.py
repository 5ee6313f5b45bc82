"""Figures of what a bench measures: each measure over its sweep with its limits, how near single values come to theirs,
and the current–voltage loops.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from cosim import units
from cosim.devices.base import Array
from cosim.measure.loops import LoopArea, Pinch
from cosim.measure.physics import Verdict
from cosim.report import style
from cosim.report.panels import described, labelled, prefixed, ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cosim.spice.measured import Measured
    from cosim.spice.testbench import BenchResult

PANELS, CURVES, RUNS = 12, 7, 6
_DECADES = 2.0  # from which on an axis of positive values is logarithmic
_LIMIT, _KEPT, _BROKEN = "#B00020", style.COLOURS[2], style.COLOURS[1]


def measure_figure(result: BenchResult) -> Figure | None:
    """A panel per measure with several values: over what is swept, or value by value, with its limits; below them, how
    near single values come to theirs. None where there is neither.

    A measure with a value per pulse is in the figure of the waveforms.
    """
    trains = {len(train) for train in result.bench.trains().values()}
    many = {
        name: measured
        for name, measured in result.measures.items()
        if measured.values.size > 1 and (measured.coordinates or measured.values.size not in trains)
    }
    single = {
        name: measured
        for name, measured in result.measures.items()
        if measured.values.size == 1 and _share(measured) is not None
    }
    if not many and not single:
        return None
    # those with limits first
    shown = sorted(many.items(), key=lambda entry: entry[1].low is None and entry[1].high is None)[:PANELS]
    columns = 1 if len(shown) == 1 else 2
    rows = math.ceil(len(shown) / columns)
    low = 0.9 + 0.24 * len(single) if single else 0.0
    figure = style.new_figure(7.6, 0.6 + 2.1 * rows + low)
    with style.styled():
        grid = figure.add_gridspec(rows + bool(single), columns, height_ratios=[2.1] * rows + [low] * bool(single))
        told: set[tuple[str, ...]] = set()
        for number, (name, measured) in enumerate(shown):
            panel = figure.add_subplot(grid[divmod(number, columns)])
            _over_sweep(panel, name, measured, result)
            curves = tuple(panel.get_legend_handles_labels()[1])
            if curves and curves not in told:  # the next panels have the same colours
                told.add(curves)
                panel.legend(fontsize="x-small")
        if single:
            _nearness(figure.add_subplot(grid[rows, :]), single)
        some = f"\n{PANELS} of {len(many)} measures with several values" if len(many) > PANELS else ""
        figure.suptitle(style.plain(f"{result.bench.file.title}{some}"))
    return figure


def limit_lines(panel: Axes, measured: Measured, *, factor: float = 1.0) -> None:
    """The limits of a measure as lines, with what lies beyond them hatched; the axis keeps room for both."""
    for limit, beyond in ((measured.low, -1.0), (measured.high, 1.0)):
        if limit is None:
            continue
        bottom, top = panel.get_ylim()
        at = limit * factor
        reach = 0.12 * abs(max(top, at) - min(bottom, at))
        if panel.get_yscale() == "log":
            if at <= 0.0:
                continue
            edge = at * 1.5**beyond
        else:
            edge = at + beyond * reach
        panel.set_ylim(min(bottom, edge), max(top, edge))
        bottom, top = panel.get_ylim()
        panel.axhline(at, color=_LIMIT, linewidth=0.9, linestyle="--")
        panel.axhspan(at, top if beyond > 0.0 else bottom, color=_LIMIT, alpha=0.07, linewidth=0)


def _over_sweep(panel: Axes, name: str, measured: Measured, result: BenchResult) -> None:
    from matplotlib.ticker import MaxNLocator

    y, unit = prefixed(measured.values, measured.unit)
    factor = ratio(y, measured.values)
    varied = {key: column for key, column in measured.coordinates.items() if np.unique(column).size > 1}
    places = _places(result, name, y.size) if not varied else None
    if places is not None:
        label, (x, x_unit) = places[0], prefixed(places[1], "s")
        panel.plot(x, y, "o-", ms=3, linewidth=0.9)
        panel.set_xlabel(labelled(label, x_unit))
    elif not varied:
        panel.plot(np.arange(1, y.size + 1), y, "o-", ms=3, linewidth=0.9)
        panel.set_xlabel("value")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        key, column = max(varied.items(), key=lambda entry: np.unique(entry[1]).size)
        quantity = result.bench.file.parameters.get(key)
        x, x_unit = prefixed(column, quantity.unit if quantity is not None else "1")
        panel.set_xlabel(labelled(key.replace("_", " "), x_unit))
        if _spans(x):
            panel.set_xscale("log")
        curves = list(_curves({other: values for other, values in varied.items() if other != key}, result, x.size))
        for number, (label, mask) in enumerate(curves[:CURVES]):
            order = np.argsort(x[mask], kind="stable")
            line = "o-" if np.unique(x[mask]).size == np.count_nonzero(mask) else "o"
            colour = style.COLOURS[number % len(style.COLOURS)]
            panel.plot(x[mask][order], y[mask][order], line, ms=3, linewidth=0.9, color=colour, label=label or None)
        if len(curves) > CURVES:
            name = f"{name}: {CURVES} of {len(curves)} curves"
    if _spans(y):
        panel.set_yscale("log")
    limit_lines(panel, measured, factor=factor)
    panel.set_title(labelled(name.replace("_", " "), unit), loc="left", fontsize=8.5)


def _places(result: BenchResult, name: str, size: int) -> tuple[str, Array] | None:
    """Where the values of a measure stand that no sweep gives: what, and (n,) s. None where the bench does not say."""
    measures = result.bench.file.measures
    at = getattr(measures[name], "at", None)
    transient = result.bench.file.plan[result.bench.file.analysis_of(name)].kind == "tran"
    if transient and isinstance(at, tuple) and len(at) == size:
        return "time", np.array(at, dtype=float)
    for other in measures.values():
        delays = getattr(other, "delays", None)
        if delays is not None and getattr(other, "of", None) == name and delays.count == size:
            return "delay", delays.values()
    return None


def _curves(others: Mapping[str, Array], result: BenchResult, size: int) -> Iterator[tuple[str, Array]]:
    """A label and a mask (n,) for each combination of the other swept parameters."""
    if not others:
        yield "", np.ones(size, bool)
        return
    table = np.stack(list(others.values()), axis=1)
    for row in dict.fromkeys(map(tuple, table)):
        said = []
        for key, value in zip(others, row, strict=True):
            quantity = result.bench.file.parameters.get(key)
            said.append(f"{key} = {units.show(float(value), quantity.unit if quantity is not None else '1')}")
        yield style.plain(", ".join(said)), np.all(table == np.array(row), axis=1)


def _spans(values: Array) -> bool:
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0.0 and math.log10(finite.max() / finite.min()) >= _DECADES)


def _share(measured: Measured) -> float | None:
    """Where a single value is between its limits (0 to 1), or which part of its only limit it takes; below 1 is kept.

    None without limits, and where one limit alone is no scale: zero, or of another sign.
    """
    value, low, high = float(measured.values.ravel()[0]), measured.low, measured.high
    if not math.isfinite(value):
        return None
    if low is not None and high is not None:
        return (value - low) / (high - low) if high > low else None
    if high is not None:
        return value / high if high > 0.0 and value >= 0.0 else None
    return low / value if low is not None and low > 0.0 and value > 0.0 else None


def _nearness(panel: Axes, single: Mapping[str, Measured]) -> None:
    """Single values between their limits."""
    for row, measured in enumerate(single.values()):
        share = _share(measured)
        assert share is not None  # chosen by it
        at = min(max(share, -0.25), 1.25)
        kept = measured.verdict is Verdict.PASS
        panel.plot([at], [row], "o" if kept else "X", ms=6 if kept else 8, color=_KEPT if kept else _BROKEN)
        low, high = (None if x is None else units.show(x, measured.unit) for x in (measured.low, measured.high))
        limit = f"{low} .. {high}" if low and high else f"at least {low}" if low else f"at most {high}"
        value = units.show(float(measured.values.ravel()[0]), measured.unit)
        panel.text(1.32, row, style.plain(f"{value}  ({limit})"), va="center", fontsize=7.5)
    panel.set_yticks(range(len(single)), [style.plain(name.replace("_", " ")) for name in single], fontsize=8)
    panel.invert_yaxis()
    panel.set_xlim(-0.3, 2.3)
    panel.set_xticks([0.0, 0.5, 1.0])
    panel.axvspan(0.0, 1.0, color=_KEPT, alpha=0.08, linewidth=0)
    panel.axvline(0.0, color="0.5", linewidth=0.9, linestyle="--")
    panel.axvline(1.0, color=_LIMIT, linewidth=0.9, linestyle="--")
    panel.grid(visible=False, axis="y")
    panel.set_xlabel("place between two limits (0 and 1), or share of the only one (1: just kept)")


def loop_figure(result: BenchResult) -> Figure | None:
    """Current over voltage, for each pair that a measure of a loop names; None where none does."""
    pairs: dict[tuple[str, str, str], None] = {}
    for name, entry in result.bench.file.measures.items():
        if isinstance(entry, Pinch | LoopArea):
            pairs[result.bench.file.analysis_of(name), entry.voltage.lower(), entry.current.lower()] = None
    if not pairs:
        return None
    figure = style.new_figure(7.6 if len(pairs) > 1 else 4.8, 0.5 + 3.0 * math.ceil(len(pairs) / 2))
    with style.styled():
        grid = figure.add_gridspec(math.ceil(len(pairs) / 2), min(len(pairs), 2))
        for number, (analysis, voltage, current) in enumerate(pairs):
            panel = figure.add_subplot(grid[divmod(number, 2)])
            _loop(panel, result, analysis, voltage=voltage, current=current)
        figure.suptitle(style.plain(result.bench.file.title))
    return figure


def _loop(panel: Axes, result: BenchResult, analysis: str, *, voltage: str, current: str) -> None:
    runs = [run for run in result.runs if run.analysis == analysis]
    found = result.waveforms_of(analysis)
    top = max((np.asarray(data[current].values, float) for data in found), key=lambda i: float(np.max(np.abs(i))))
    scaled, unit = prefixed(top, "A")
    factor = ratio(scaled, top)
    for number, (run, data) in enumerate(zip(runs[:RUNS], found, strict=False)):
        v, i = np.asarray(data[voltage].values, float), factor * np.asarray(data[current].values, float)
        parameters = result.bench.file.parameters
        label = ", ".join(f"{key} = {units.show(value, parameters[key].unit)}" for key, value in run.point.items())
        colour = style.COLOURS[number % len(style.COLOURS)]
        panel.plot(v, i, color=colour, linewidth=1.0, label=style.plain(label) or None)
        _arrows(panel, v, i, colour)
    panel.axhline(0.0, color="0.6", linewidth=0.6)
    panel.axvline(0.0, color="0.6", linewidth=0.6)
    panel.set_xlabel(labelled(described(voltage), "V"))
    panel.set_ylabel(labelled(described(current), unit))
    if any(run.point for run in runs):
        panel.legend(fontsize="x-small", title=f"{RUNS} of {len(runs)} runs" if len(runs) > RUNS else None)


def _arrows(panel: Axes, v: Array, i: Array, colour: str) -> None:
    """Which way the loop is gone through, on either side where the voltage passes 0.6 of its peak first."""
    level = 0.6 * float(np.max(np.abs(v)))
    passes = [np.flatnonzero(np.diff(np.sign(v - side)) != 0.0)[:2] for side in (level, -level)]
    for k in np.concatenate(passes):
        panel.annotate(
            "", xy=(v[k + 1], i[k + 1]), xytext=(v[k], i[k]),
            arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 0.0, "mutation_scale": 9},
        )  # fmt: skip
