"""Figures of what a bench measures: each measure over its sweep with its limits, how near single values come to theirs,
and the current–voltage loops.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cosim import units
from cosim.bench.measures.kinds import PointMeasure
from cosim.bench.measures.loops import LoopArea, Pinch
from cosim.devices.base import Array
from cosim.report import style
from cosim.report.panels import described, labelled, level, prefixed, ratio, scaling
from cosim.report.style import spans_decades
from cosim.statistics.verdict import Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

    from cosim.bench.measured import Measured
    from cosim.bench.result import BenchResult

PANELS, CURVES, RUNS = 12, 7, 6
MARKED = 60  # points of a curve, beyond which marks would be all that is seen of it
_LIMIT, _KEPT, _BROKEN = "#B00020", style.COLOURS[2], style.COLOURS[1]


def measure_figure(result: BenchResult) -> Figure | None:
    """A panel per measure with several values: over what is swept, or value by value, with its limits; below them, how
    near single values come to theirs. None without any.

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
        if measured.values.size == 1 and (_share(measured) is not None or measured.verdict is Verdict.FAIL)
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
        places = [grid[divmod(number, columns)] for number in range(len(shown))]
        sweep_panels(figure, [_swept(result, name, measured) for name, measured in shown], places)
        if single:
            _nearness(figure.add_subplot(grid[rows, :]), single)
        some = f"\n{PANELS} of {len(many)} measures with several values" if len(many) > PANELS else ""
        figure.suptitle(style.plain(f"{result.bench.file.title}{some}"))
    return figure


def limit_lines(panel: Axes, low: float | None, high: float | None, *, factor: float = 1.0) -> None:
    """Limits as lines at ``factor`` times their value; what lies beyond is tinted, and the axis keeps room for it."""
    for limit, beyond in ((low, -1.0), (high, 1.0)):
        if limit is None:
            continue
        bottom, top = panel.get_ylim()
        at = limit * factor
        if panel.get_yscale() == "log":
            if at <= 0.0:
                continue
            around = (at / 1.5, at * 1.5)
        else:
            room = 0.12 * abs(max(top, at) - min(bottom, at))
            around = (at - room, at + room)
        panel.set_ylim(min(bottom, around[0]), max(top, around[1]))
        bottom, top = panel.get_ylim()
        panel.axhline(at, color=_LIMIT, linewidth=0.9, linestyle="--")
        panel.axhspan(at, top if beyond > 0.0 else bottom, color=_LIMIT, alpha=0.07, linewidth=0)


@dataclass(frozen=True)
class Swept:
    """A measure at several points: what a panel shows.

    Args:
        name, unit: of the measure; the unit that it is shown in.
        values: (n,) SI.
        over: (n,) per swept quantity: numbers in SI, or names.
        units: of the quantities, where they have one.
        low, high: limits, SI.
        deviation: (n,) of the values, SI, where they are means.
        kind: what kind of measure it is.
    """

    name: str
    unit: str
    values: Array
    over: Mapping[str, Sequence[float] | Sequence[str]]
    units: Mapping[str, str]
    low: float | None = None
    high: float | None = None
    deviation: Array | None = None
    kind: str = ""

    @property
    def varied(self) -> dict[str, Sequence[float] | Sequence[str]]:
        """What is not the same at all points."""
        return {key: column for key, column in self.over.items() if len(set(column)) > 1}


def sweep_panels(figure: Figure, shown: Sequence[Swept], places: Sequence[SubplotSpec]) -> None:
    """A panel per measure, in its place; a legend where curves are new, for the next ones have the same colours."""
    told: set[tuple[str, ...]] = set()
    for swept, place in zip(shown, places, strict=True):
        panel = figure.add_subplot(place)
        _over_sweep(panel, swept)
        curves = tuple(panel.get_legend_handles_labels()[1])
        if curves and curves not in told:
            told.add(curves)
            legend_above(panel)


def legend_above(panel: Axes, *, title: str | None = None) -> None:
    """A legend between a panel's title and what is above it: nothing in the panel can cover it."""
    from matplotlib.transforms import ScaledTranslation

    figure = panel.get_figure(root=True)
    assert figure is not None
    longest = max(map(len, panel.get_legend_handles_labels()[1]), default=0)
    above_title = panel.transAxes + ScaledTranslation(0.0, 15.0 / 72.0, figure.dpi_scale_trans)
    panel.legend(
        fontsize="x-small", title=title, title_fontsize="x-small", loc="lower left", bbox_to_anchor=(0.0, 1.0),
        bbox_transform=above_title, ncols=max(1, 60 // (longest + 8)), borderpad=0.0, borderaxespad=0.0,
    )  # fmt: skip


def _over_sweep(panel: Axes, swept: Swept) -> None:
    from matplotlib.ticker import MaxNLocator

    scale, unit = scaling(swept.values, swept.unit)
    y = swept.values / scale
    varied = swept.varied
    title = f"{swept.name}: {swept.kind.replace('-', ' ')}" if swept.kind else swept.name
    if not varied:  # values side by side: a line would join what is not next to each other
        panel.plot(np.arange(1, y.size + 1), y, "o", ms=3)
        panel.set_xlabel("value")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        # numbers before names, and of these what takes most values
        key, column = max(varied.items(), key=lambda entry: (not _named(entry[1]), len(set(entry[1]))))
        x = _abscissa(panel, key, column, swept.units.get(key, "1"))
        curves = _curves({other: values for other, values in varied.items() if other != key}, swept)
        for number, (label, mask) in enumerate(curves[:CURVES]):
            order = np.argsort(x[mask], kind="stable")
            once = np.unique(x[mask]).size == np.count_nonzero(mask) and not _named(column)
            colour = style.COLOURS[number % len(style.COLOURS)]
            style_of_line = "o" if not once else "-" if np.count_nonzero(mask) > MARKED else "o-"
            panel.plot(
                x[mask][order], y[mask][order], style_of_line, ms=3, linewidth=0.9, color=colour, label=label or None
            )
            if swept.deviation is not None:
                spread = swept.deviation[mask][order] / scale
                panel.errorbar(
                    x[mask][order], y[mask][order], spread, fmt="none", ecolor=colour, elinewidth=0.8, capsize=2
                )
        if len(curves) > CURVES:
            title = f"{title}, {CURVES} of {len(curves)} curves"
    if spans_decades(y):
        panel.set_yscale("log")
    level(panel)
    limit_lines(panel, swept.low, swept.high, factor=1.0 / scale)
    panel.set_title(style.plain(title.replace("_", " ")), loc="left", fontsize=8.5)
    panel.set_ylabel(labelled(swept.name.replace("_", " "), unit or "1"), fontsize=7.5)


def _named(column: Sequence[float] | Sequence[str]) -> bool:
    return isinstance(column[0], str)


def _abscissa(panel: Axes, key: str, column: Sequence[float] | Sequence[str], unit: str) -> Array:
    """The places (n,) on the horizontal axis, which gets its label and its scale."""
    if _named(column):
        names = list(dict.fromkeys(map(str, column)))
        panel.set_xticks(range(len(names)), [style.plain(name.replace("_", " ")) for name in names])
        panel.set_xlabel(key.replace("_", " "))
        return np.array([names.index(str(name)) for name in column], dtype=float)
    x, x_unit = prefixed(np.asarray(column, dtype=float), unit)
    panel.set_xlabel(labelled(key.replace("_", " "), x_unit))
    if spans_decades(x):
        panel.set_xscale("log")
    return x


def _curves(others: Mapping[str, Sequence[float] | Sequence[str]], swept: Swept) -> list[tuple[str, NDArray[np.bool_]]]:
    """A label and a mask (n,) for each combination of the other swept quantities."""
    rows = list(zip(*others.values(), strict=True)) if others else [()] * swept.values.size
    found = []
    for row in dict.fromkeys(rows):
        said = [
            f"{key} = {value if isinstance(value, str) else units.show(float(value), swept.units.get(key, '1'))}"
            for key, value in zip(others, row, strict=True)
        ]
        found.append((style.plain(", ".join(said)), np.array([one == row for one in rows])))
    return found


def _places(result: BenchResult, name: str, size: int) -> tuple[str, Array, str] | None:
    """Where values stand that no sweep gives: what, (n,), its unit. None where the bench does not say."""
    measures = result.bench.file.measures
    at = getattr(measures[name], "at", None)
    transient = result.bench.file.plan[result.bench.file.analysis_of(name)].kind == "tran"
    if transient and isinstance(at, tuple) and len(at) == size:
        return "time", np.array(at, dtype=float), "s"
    for other in measures.values():
        delays = getattr(other, "delays", None)
        if delays is not None and getattr(other, "of", None) == name and delays.count == size:
            return "delay", delays.values(), "s"
    data = result.waveforms_of(result.bench.file.analysis_of(name))[0]
    if isinstance(measures[name], PointMeasure) and data.coords and size > 2:
        key, column = next(iter(data.coords.items()))
        if column.size == size:  # a measure that is a waveform
            source = getattr(result.bench.file.plan[result.bench.file.analysis_of(name)], "source", key)
            return str(source), np.asarray(column.values, dtype=float), str(column.attrs.get("units", ""))
    return None


def _swept(result: BenchResult, name: str, measured: Measured) -> Swept:
    """A measure of a bench over what its analysis sweeps, or over the places that its values are taken at."""
    given = result.bench.parameter_units
    found = Swept(
        name, measured.shown_in, measured.values.ravel(), {k: list(v) for k, v in measured.coordinates.items()}, given,
        measured.low, measured.high, kind=str(getattr(result.bench.file.measures[name], "kind", "")),
    )  # fmt: skip
    places = None if found.varied else _places(result, name, found.values.size)
    if places is None:
        return found
    return replace(found, over={places[0]: list(places[1])}, units={places[0]: places[2]})


def _share(measured: Measured) -> float | None:
    """How much of what its limits allow a single value uses: 0 none (between two, in the middle), 1 at a limit.

    None without limits, and where a single limit cannot be a scale: zero, or of another sign.
    """
    value, low, high = float(measured.values.ravel()[0]), measured.low, measured.high
    if not math.isfinite(value):
        return None
    if low is not None and high is not None:
        return abs(2.0 * value - low - high) / (high - low) if high > low else None
    if high is not None:
        return value / high if high > 0.0 and value >= 0.0 else None
    return low / value if low is not None and low > 0.0 and value > 0.0 else None


def _nearness(panel: Axes, single: Mapping[str, Measured]) -> None:
    """How much of what their limits allow single values use."""
    for row, measured in enumerate(single.values()):
        share, kept = _share(measured), measured.verdict is Verdict.PASS
        # a value far off, or beyond a limit that is not a scale, stands at the edge
        at = min(share, 1.25) if share is not None else 1.25
        panel.plot([at], [row], "o" if kept else "X", ms=6 if kept else 8, color=_KEPT if kept else _BROKEN)
        low, high = (measured.show(x) for x in (measured.low, measured.high))
        limit = f"{low} .. {high}" if low and high else f"at least {low}" if low else f"at most {high}"
        value = measured.show(float(measured.values.ravel()[0]))
        panel.text(1.32, row, style.plain(f"{value}  ({limit})"), va="center", fontsize=7.5)
    panel.set_yticks(range(len(single)), [style.plain(name.replace("_", " ")) for name in single], fontsize=8)
    panel.set_ylim(len(single) - 0.5, -0.5)
    panel.set_xlim(-0.05, 2.3)
    panel.set_xticks([0.0, 0.5, 1.0])
    panel.axvspan(0.0, 1.0, color=_KEPT, alpha=0.08, linewidth=0)
    panel.axvline(1.0, color=_LIMIT, linewidth=0.9, linestyle="--")
    panel.grid(visible=False, axis="y")
    panel.set_xlabel("share of the allowed range that is used (1: at the limit)")


def loop_figure(result: BenchResult) -> Figure | None:
    """Current over voltage, for each pair that a measure of a loop names; None without any."""
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
        given = result.bench.parameter_units
        label = ", ".join(f"{key} = {units.show(value, given[key])}" for key, value in run.point.items())
        colour = style.COLOURS[number % len(style.COLOURS)]
        panel.plot(v, i, color=colour, linewidth=1.0, label=style.plain(label) or None)
        _arrows(panel, v, i, colour)
    panel.axhline(0.0, color="0.6", linewidth=0.6)
    panel.axvline(0.0, color="0.6", linewidth=0.6)
    panel.set_xlabel(labelled("voltage", "V"))
    panel.set_ylabel(labelled("current", unit))
    panel.set_title(style.plain(f"{described(current)}; over {voltage}"), loc="left", fontsize=8.5)
    if any(run.point for run in runs):
        legend_above(panel, title=f"{RUNS} of {len(runs)} runs" if len(runs) > RUNS else None)


def _arrows(panel: Axes, v: Array, i: Array, colour: str) -> None:
    """The direction of the loop, marked on either side where the voltage first passes 0.6 of its peak."""
    level = 0.6 * float(np.max(np.abs(v)))
    passes = [np.flatnonzero(np.diff(np.sign(v - side)) != 0.0)[:2] for side in (level, -level)]
    for k in np.concatenate(passes):
        panel.annotate(
            "", xy=(v[k + 1], i[k + 1]), xytext=(v[k], i[k]),
            arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 0.0, "mutation_scale": 9},
        )  # fmt: skip
