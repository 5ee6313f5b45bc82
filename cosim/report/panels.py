"""Waveforms as panels, one per vector (or per unit, where there are many), with units that read well; operating points.

A voltage source's current is SPICE's: positive where it flows into the source's plus terminal. The label says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cosim import units
from cosim.devices.base import Array
from cosim.report import style

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PREFIXES = (
    ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0), ("m", 1e-3), ("µ", 1e-6), ("n", 1e-9), ("p", 1e-12), ("f", 1e-15),
    ("a", 1e-18),
)  # fmt: skip
_PREFIXED = frozenset({"V", "A", "s", "K", "m", "Ohm", "Ω", "S", "F", "C", "J", "W", "H", "Wb", "Hz", "eV"})
_SOURCE = re.compile(r"i\((v[^()]*)\)")
# Panels of one vector each that a figure has room for; more vectors share a panel per unit.
PANELS = 8
ROUNDING = 1e-9  # of a vector: what an engine adds to a constant
LINES = 12
# Of the largest value: what moves less is drawn as level, as an engine's rounding is no waveform.
_LEVEL = 1e-4
_ZERO = 1e-12  # V: what is left of a behavioural node's zero


@dataclass(frozen=True)
class Coordinate:
    """What waveforms are drawn over: ``values`` (n,) in the unit of ``label``."""

    values: Array
    label: str
    logarithmic: bool = False


@dataclass(frozen=True)
class Level:
    """A vector of operating points: its label without unit, its ``unit``, its lowest and highest value (SI)."""

    label: str
    unit: str
    low: float
    high: float


def scaling(values: Array, unit: str) -> tuple[float, str]:
    """What ``values`` (SI) are divided by on an axis, and its unit: ``unit`` as it was asked for, or, where it is an SI
    unit, with the prefix that suits the largest finite one of them.
    """
    scale = units.scale_of(unit)
    if scale != 1.0:
        return scale, unit
    top = np.max(np.abs(values[np.isfinite(values)]), initial=0.0)
    scaled, shown = prefixed(np.array([top]), unit)
    return (float(top / scaled[0]) if scaled[0] else 1.0), shown


def prefixed(values: Array, unit: str) -> tuple[Array, str]:
    """``values``, numbers in ``unit``, with the prefix that suits the largest finite one of them, and its unit.

    A plain number stays, and so does one in a unit that begins with a power or a reciprocal: a mm^2 is not an m(m^2).
    """
    if unit in ("", "1"):
        return values, ""
    first = re.match(r"([A-Za-zΩ]+)(?:[*/·].*)?$", unit)
    if first is None or first[1] not in _PREFIXED:
        return values, unit
    finite = np.abs(values[np.isfinite(values)])
    top = float(np.max(finite, initial=0.0))
    prefix, factor = next(((p, f) for p, f in _PREFIXES if top >= f * (1.0 - 1e-12)), ("", 1.0))
    return values / factor, f"{prefix}{unit}"


def readable(values: Array, unit: str) -> tuple[Array, str]:
    """`prefixed` for waveforms, in which a voltage that is an engine's rounding of zero has no prefix."""
    zero = unit == "V" and float(np.max(np.abs(values[np.isfinite(values)]), initial=0.0)) < _ZERO
    return (values, unit) if zero else prefixed(values, unit)


def ratio(scaled: Array, values: Array) -> float:
    """The factor between ``values`` and the same with a prefix."""
    sizes = np.where(np.isfinite(values), np.abs(values), 0.0).ravel()
    k = int(np.argmax(sizes)) if sizes.size else 0
    return float(scaled.ravel()[k] / values.ravel()[k]) if sizes.size and sizes[k] else 1.0


def described(name: str, *, magnitude: bool = False) -> str:
    """A vector's name as a label: of a source's current with its sign, of a complex vector as a magnitude."""
    if magnitude:
        return f"|{name}|"
    return f"{name}, into the source" if _SOURCE.fullmatch(name) else name


def labelled(label: str, unit: str) -> str:
    """``label (unit)``; without brackets if it has no unit."""
    return style.plain(f"{label} ({unit})" if unit else label)


def coordinate_of(data: xarray.Dataset, *, name: str = "", end: float | None = None) -> Coordinate:
    """The only coordinate of ``data``; ``name`` is that of a swept source, ``end`` how far it is shown."""
    key = next(str(k) for k in data.coords)
    values = np.asarray(data[key].values, dtype=float)
    unit = str(data[key].attrs.get("units", "s" if key == "time" else "Hz" if key == "frequency" else "V"))
    shown = values if end is None else values[values <= end]
    label = key if key in ("time", "frequency") else name or key  # noise has a source, and no sweep of it
    if key == "frequency" and shown.size > 1 and shown[0] > 0.0 and shown[-1] > 10.0 * shown[0]:
        return Coordinate(values, labelled(label, unit), logarithmic=True)
    scaled, unit = prefixed(shown, unit)
    return Coordinate(values * ratio(scaled, shown), labelled(label, unit))


def is_complex(values: Array) -> bool:
    """Whether only the magnitude of ``values`` can be drawn."""
    return bool(np.iscomplexobj(values))


def drawn(values: Array) -> Array:
    """``values`` as real numbers: the magnitude of complex ones."""
    return np.asarray(np.abs(values) if is_complex(values) else values, dtype=float)


def draw(panel: Axes, x: Array, y: Array, label: str, *, colour: str) -> None:
    """One vector in its panel, its label above."""
    panel.plot(x, y, color=colour)
    panel.set_title(label, loc="left", fontsize=8.5)


def level(panel: Axes) -> None:
    """Keep the vertical axis from magnifying what does not move, and from numbers over an offset."""
    drawn_values = [np.asarray(line.get_ydata(), dtype=float) for line in panel.get_lines()]
    finite = [values[np.isfinite(values)] for values in drawn_values if values.size]
    y = np.concatenate(finite) if finite else np.zeros(0)
    if panel.get_yscale() != "linear" or not y.size:
        return
    top, middle = float(np.max(np.abs(y))), 0.5 * float(y.max() + y.min())
    low, high = panel.get_ylim()
    if np.ptp(y) < _LEVEL * top and high - low < 2.0 * _LEVEL * top:
        panel.set_ylim(middle - 0.05 * top, middle + 0.05 * top)
    panel.ticklabel_format(axis="y", useOffset=False)


def waveform_figure(data: xarray.Dataset, title: str) -> Figure:
    """All vectors of an analysis: a panel each, or a panel per unit where they are more than `PANELS`."""
    names = [str(name) for name in data.data_vars if data[name].size]
    if not data.coords:
        return operating_figure([_level(data, name) for name in names], title)
    x = coordinate_of(data)
    groups: list[list[str]] = [[name] for name in names]
    if len(names) > PANELS:
        by_unit: dict[str, list[str]] = {}
        for name in names:
            by_unit.setdefault(str(data[name].attrs.get("units", "")), []).append(name)
        groups = list(by_unit.values())
    height = 1.45 if len(groups) == len(names) else 2.6
    figure = style.new_figure(7.6, 0.7 + height * len(groups))
    with style.styled():
        grid = figure.add_gridspec(len(groups), 1)
        for row, group in enumerate(groups):
            panel = figure.add_subplot(grid[row])
            unit = str(data[group[0]].attrs.get("units", ""))
            shown = [
                group[k] for k in np.unique(np.linspace(0, len(group) - 1, min(LINES, len(group))).round().astype(int))
            ]
            found = [np.asarray(data[name].values) for name in shown]
            scaled, unit = readable(np.stack([drawn(values) for values in found]), unit)
            labels = [described(n, magnitude=is_complex(v)) for n, v in zip(shown, found, strict=True)]
            if len(group) == 1:
                draw(panel, x.values, scaled[0], labelled(labels[0], unit), colour=_colour(row))
            else:
                for number, (y, label) in enumerate(zip(scaled, labels, strict=True)):
                    dashes = "-" if number < len(style.COLOURS) else "--"
                    panel.plot(x.values, y, dashes, color=_colour(number), label=style.plain(label))
                panel.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1.0, 0.5))
                some = f"{LINES} of {len(group)} vectors" if len(group) > LINES else f"{len(group)} vectors"
                panel.set_title(labelled(some, unit), loc="left", fontsize=8.5)
            level(panel)
            finish(panel, x, last=row == len(groups) - 1)
        figure.suptitle(style.plain(title))
    return figure


def finish(panel: Axes, x: Coordinate, *, last: bool) -> None:
    """The horizontal axis, labelled on the ``last`` panel; rounding about a constant is not blown up to the panel."""
    low, high = panel.dataLim.intervaly
    if np.isfinite(high - low) and high - low < ROUNDING * max(abs(low), abs(high)):
        left = panel.dataLim.x0
        panel.update_datalim([(left, 0.95 * low), (left, 1.05 * high)])
        panel.autoscale_view()
    if x.logarithmic:
        panel.set_xscale("log")
    panel.tick_params(labelbottom=last)
    if last:
        panel.set_xlabel(x.label)


def operating_figure(levels: Sequence[Level], title: str) -> Figure:
    """Operating points as horizontal bars with their values: a panel per unit, a bar from zero or over the range."""
    by_unit: dict[str, list[Level]] = {}
    for level in levels:
        by_unit.setdefault(level.unit, []).append(level)
    rows = [max(len(group), 1) for group in by_unit.values()]
    figure = style.new_figure(7.6, 0.8 + sum(0.27 * n + 0.62 for n in rows))
    with style.styled():
        grid = figure.add_gridspec(len(rows), 1, height_ratios=[n + 0.8 for n in rows])
        for row, group in enumerate(by_unit.values()):
            bars(figure.add_subplot(grid[row]), group)
        figure.suptitle(style.plain(title))
    return figure


def bars(panel: Axes, levels: Sequence[Level]) -> None:
    """Levels of one unit as horizontal bars: from zero to a value, or from the lowest to the highest."""
    unit = levels[0].unit
    scaled, shown = prefixed(np.array([[level.low, level.high] for level in levels]), unit)
    low, high = scaled.T
    ranges = np.array([level.high > level.low for level in levels])
    y = np.arange(len(levels))
    left = np.where(ranges, low, 0.0)
    panel.barh(y, high - left, left=left, height=0.55, color=style.COLOURS[0], alpha=0.8)
    panel.plot(low[~ranges], y[~ranges], "o", ms=4, color=style.COLOURS[0])
    panel.set_yticks(y, [style.plain(level.label) for level in levels])
    panel.invert_yaxis()
    panel.grid(visible=False, axis="y")
    panel.axvline(0.0, color="0.4", linewidth=0.8)
    reach = max(float(np.max(scaled)), 0.0) - min(float(np.min(scaled)), 0.0) or 1.0
    for place, level in enumerate(levels):
        text = units.show(level.low, unit)
        if ranges[place]:
            text = f"{text} .. {units.show(level.high, unit)}"
        panel.text(max(high[place], 0.0) + 0.015 * reach, place, text, va="center", fontsize=8)
    panel.set_xlim(min(float(np.min(scaled)), 0.0) - 0.03 * reach, max(float(np.max(scaled)), 0.0) + 0.35 * reach)
    panel.set_xlabel(shown or "no unit")


def _level(data: xarray.Dataset, name: str) -> Level:
    given = np.asarray(data[name].values).reshape(-1)
    values, unit = drawn(given), str(data[name].attrs.get("units", ""))
    return Level(described(name, magnitude=is_complex(given)), unit, float(values.min()), float(values.max()))


def netlist_figures(waveforms: Mapping[str, xarray.Dataset], title: str) -> dict[str, Figure]:
    """A figure per analysis, by the name of the analysis; none for one without vectors."""
    return {
        kind: waveform_figure(data, title if len(waveforms) == 1 else f"{title}: {kind}")
        for kind, data in waveforms.items()
        if any(data[name].size for name in data.data_vars)
    }


def _colour(number: int) -> str:
    return style.COLOURS[number % len(style.COLOURS)]
