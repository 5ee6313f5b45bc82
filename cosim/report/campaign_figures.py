"""Figures of a campaign's statistics, drawn from plain arrays and the results of `cosim.campaign`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from cosim.devices.base import Array
from cosim.engines.simulator import Outcome
from cosim.report import style
from cosim.report.measure_figures import PANELS, Swept, sweep_panels
from cosim.report.panels import labelled, scaling
from cosim.statistics.yields import Yield, interval, sigma_of
from cosim.units import show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cosim.campaign.results import Group
    from cosim.statistics.rare import RareFailure
    from cosim.statistics.worst import WorstCase

KEEPS, BREAKS, LIMIT = style.COLOURS[0], style.COLOURS[1], style.COLOURS[6]
MOST_BINS = 80
_MARKS = (1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)


def plot_yield(
    values: ArrayLike,
    ax: Axes | None = None,
    *,
    name: str,
    unit: str,
    low: float | None = None,
    high: float | None = None,
    found: Yield | None = None,
    kind: Literal["histogram", "cdf"] = "histogram",
) -> Axes:
    """The distribution of a measure (n,) in SI with its limits; those that break one in another colour.

    ``found`` is the yield for the legend. ``kind`` "cdf" draws the share of samples below each value instead.
    """
    data, scale, shown_unit = _scaled(values, unit, low, high)
    ends = [None if end is None else end / scale for end in (low, high)]
    keeps = np.ones(data.shape, dtype=bool)
    if ends[0] is not None:
        keeps &= data >= ends[0]
    if ends[1] is not None:
        keeps &= data <= ends[1]
    ax = style.axes(ax)
    with style.styled():
        if kind == "histogram":
            _histogram(ax, data, keeps, [end for end in ends if end is not None])
        else:
            rank = np.argsort(data, kind="stable")
            order, share = data[rank], np.arange(1, data.size + 1) / data.size
            ax.step(order, share, where="post", color=KEEPS)
            broken = ~keeps[rank]
            if broken.any():
                ax.plot(order[broken], share[broken], ".", ms=4, color=BREAKS, label=f"{int(broken.sum())} break one")
            ax.set(ylabel="share of samples below", ylim=(-0.02, 1.02))
        _limits(ax, ends, low, high, unit)
        handles, labels = ax.get_legend_handles_labels()
        title = None
        if found is not None:
            title = f"yield {found.share:.3%} ({found.passed} of {found.n})\n{found.level:.0%}: {_span(found)}"
        if handles or title:
            ax.legend(handles, labels, title=title, loc="upper left", bbox_to_anchor=(1.0, 1.0), alignment="left")
    ax.set_xlabel(labelled(name, shown_unit))
    return ax


def plot_normal_probability(
    values: ArrayLike,
    ax: Axes | None = None,
    *,
    name: str,
    unit: str,
    low: float | None = None,
    high: float | None = None,
) -> Axes:
    """A measure (n,) in SI on normal paper: a normal distribution is a straight line, here through the quartiles.

    Each limit says how many standard deviations of that line it is from its mean.
    """
    data, scale, shown_unit = _scaled(values, unit, low, high)
    order = np.sort(data)
    quantile = special.ndtri((np.arange(order.size) + 0.5) / order.size)
    quarter = special.ndtri(0.75)
    first, third = (float(x) for x in np.quantile(order, [0.25, 0.75]))
    mean, deviation = 0.5 * (first + third), (third - first) / (2.0 * quarter)
    ax = style.axes(ax)
    with style.styled():
        ax.plot(order, quantile, ".", ms=3, color=KEEPS, label=f"{order.size} samples", rasterized=order.size > 5000)
        if deviation > 0.0:
            at = np.array([quantile[0], quantile[-1]]) if order.size > 1 else np.array([-1.0, 1.0])
            ax.plot(mean + deviation * at, at, color="0.55", lw=1.0, label="normal, through the quartiles")
        ends = [None if end is None else end / scale for end in (low, high)]
        for end, given in zip(ends, (low, high), strict=True):
            if end is None or given is None:
                continue
            away = f", {abs(end - mean) / deviation:.1f} σ of the line" if deviation > 0.0 else ""
            ax.axvline(end, color=LIMIT, lw=1.0, ls="--", label=f"limit {show(given, unit)}{away}")
        reach = max(2.5, float(np.max(np.abs(quantile), initial=0.0)) + 0.3)
        marks = [p for p in _MARKS if abs(special.ndtri(p)) <= reach]
        ax.set(ylabel="standard deviations", ylim=(-reach, reach))
        shares = ax.secondary_yaxis("right")
        shares.set_yticks([float(special.ndtri(p)) for p in marks], [f"{p:.4g}" for p in marks])
        shares.set_ylabel("share below")
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    ax.set_xlabel(labelled(name, shown_unit))
    return ax


def plot_high_sigma(
    estimates: Mapping[str, RareFailure],
    ax: Axes | None = None,
    *,
    brute: tuple[int, int] | None = None,
    level: float = 0.95,
) -> Axes:
    """Estimates of one failure probability side by side with their intervals.

    ``brute`` is the count of failures among plain Monte Carlo samples, if there was one: its interval is shaded.
    """
    ax = style.axes(ax)
    rows = [(name, one) for name, one in estimates.items() if one.probability is not None]
    silent = [name for name, one in estimates.items() if one.probability is None]
    seen: list[float] = []
    with style.styled():
        if brute is not None:
            passed, n = brute[1] - brute[0], brute[1]
            ends = [1.0 - end for end in interval(passed, n, level=level)[::-1]]
            label = f"Monte Carlo, {brute[0]} of {n} fail ({level:.0%})"
            ax.axhspan(max(ends[0], 1e-300), ends[1], color="0.85", zorder=0, label=label)
            if brute[0]:
                ax.axhline(brute[0] / n, color="0.5", lw=1.0)
            seen += [ends[1], brute[0] / n or ends[1] / 10.0, *([ends[0]] if ends[0] > 0.0 else [])]
        for k, (_, one) in enumerate(rows):
            assert one.probability is not None
            assert one.low is not None
            assert one.high is not None
            colour = style.COLOURS[k % len(style.COLOURS)]
            bar = [
                [one.probability - min(one.low, one.probability)],
                [max(one.high, one.probability) - one.probability],
            ]
            face = colour if one.trusted else "white"
            ax.errorbar([k], [one.probability], yerr=bar, fmt="o", color=colour, mfc=face, capsize=4)
            ax.annotate(
                f"{one.sigma:.2f} σ\n{one.evaluated} points" + ("" if one.trusted else "\nnot trusted"),
                (k, one.probability), xytext=(8, 0), textcoords="offset points", va="center", fontsize="small",
            )  # fmt: skip
            seen += [max(one.low, 1e-300), one.high]
        ax.set_yscale("log")
        if seen:
            # an interval of a poor estimate may span a hundred decades: twelve are shown
            top = max(seen)
            ax.set_ylim(max(min(seen) / 3.0, top * 1e-12), min(3.0 * top, 1.0))
        ax.set_xticks(range(len(rows)), [style.plain(name) for name, _ in rows])
        ax.set_xlim(-0.5, max(len(rows), 1) - 0.1)
        ax.set_ylabel("probability to fail")
        ax.grid(visible=False, axis="x")
        _sigma_axis(ax)
        if silent:
            ax.text(0.01, 0.02, style.plain("cannot tell: " + ", ".join(silent)), transform=ax.transAxes, color=BREAKS)
        if brute is not None:
            ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return ax


def plot_worst_case(
    found: WorstCase,
    ax: Axes | None = None,
    *,
    names: Sequence[str],
    measure: str,
    unit: str,
    limit: float | None = None,
) -> Axes:
    """The search for a worst case: the measure at each point asked, and the worst so far; where it lies, in the legend.

    ``names`` are the variables; the four that are farthest from their nominal value are listed.
    """
    ax = style.axes(ax)
    values, scale, shown_unit = _scaled(found.values, unit, limit, None)
    number = np.arange(1, found.values.size + 1)
    scaled = found.values / scale
    running = (np.fmin if found.sense == "min" else np.fmax).accumulate(scaled)
    with style.styled():
        ax.plot(number, scaled, ".", ms=3, color="0.6", label="points asked")
        ax.plot(number, running, color=KEEPS, label="smallest so far" if found.sense == "min" else "largest so far")
        missing = number[~np.isfinite(scaled)]
        if missing.size and values.size:
            at = float(np.min(values) if found.sense == "max" else np.max(values))
            ax.plot(
                missing, np.full(missing.size, at), "x", ms=4, color=BREAKS, label=f"{missing.size} without a value"
            )
        if limit is not None:
            ax.axhline(limit / scale, color=LIMIT, lw=1.0, ls="--", label=f"limit {show(limit, unit)}")
        title = None
        if found.z is not None and found.value is not None:
            farthest = np.argsort(-np.abs(found.z), kind="stable")[:4]
            rows = [f"{names[int(k)]}: {found.z[k]:+.2f} σ" for k in farthest]
            title = style.plain("\n".join([f"worst {show(found.value, unit)} within {found.sigma:g} σ", *rows]))
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), title=title, alignment="left")
    ax.set(xlabel="point", ylabel=labelled(measure, shown_unit))
    return ax


def plot_worst_point(found: WorstCase, ax: Axes | None = None, *, names: Sequence[str]) -> Axes:
    """Where the worst case lies: each variable's distance from its nominal value, the largest on top."""
    ax = style.axes(ax)
    z = np.zeros(len(names)) if found.z is None else found.z
    order = np.argsort(np.abs(z), kind="stable")
    with style.styled():
        ax.barh(range(len(z)), z[order], color=[BREAKS if value < 0.0 else KEEPS for value in z[order]])
        ax.set_yticks(range(len(z)), [style.plain(names[int(k)]) for k in order])
        ax.axvline(0.0, color="0.3", lw=0.8)
        ax.set(xlabel="standard deviations from nominal", xlim=(-1.05 * found.sigma, 1.05 * found.sigma))
        ax.grid(visible=False, axis="y")
    return ax


def plot_search(
    found: RareFailure | WorstCase,
    title: str = "",
    *,
    names: Sequence[str] = (),
    measure: str = "measure",
    unit: str = "",
) -> Figure:
    """The result of a campaign's search, of any kind.

    ``names`` are its variables, ``measure`` and ``unit`` those of a worst case.
    """
    from cosim.statistics.worst import WorstCase

    with style.styled():
        if not isinstance(found, WorstCase):
            figure = style.new_figure(4.6, 3.6)
            plot_high_sigma({found.method: found}, figure.add_subplot())
        else:
            figure = style.new_figure(7.4, 5.6)
            named = list(names) or [f"variable {k + 1}" for k in range(found.points.shape[1])]
            upper, lower = figure.subplots(2, 1)
            plot_worst_case(found, upper, names=named, measure=measure, unit=unit)
            plot_worst_point(found, lower, names=named)
        if title:
            figure.suptitle(style.plain(title))
    return figure


def yield_figure(
    values: ArrayLike,
    *,
    name: str,
    unit: str,
    low: float | None = None,
    high: float | None = None,
    found: Yield | None = None,
    title: str = "",
) -> Figure:
    """A measure's histogram over its normal probability plot."""
    with style.styled():
        figure = style.new_figure(7.4, 5.6)
        upper, lower = figure.subplots(2, 1)
        plot_yield(values, upper, name=name, unit=unit, low=low, high=high, found=found)
        plot_normal_probability(values, lower, name=name, unit=unit, low=low, high=high)
        if title:
            figure.suptitle(style.plain(title))
    return figure


def grid_figure(found: Sequence[Group], *, title: str = "") -> Figure | None:
    """Each measure over the grid; of a sample mean and standard deviation. None where nothing varies in the grid.

    What takes most values is the horizontal axis, the other columns are curves; limits are lines. A measure with
    several values a case has a panel for each of them.
    """
    measures = dict.fromkeys(name for group in found for name in group.measures)
    shown = [swept for name in measures for swept in _over_grid(name, found) if swept.varied]
    chosen = sorted(shown, key=lambda swept: swept.low is None and swept.high is None)[:PANELS]
    if not chosen:
        return None
    wide = min(len(chosen), 2)
    rows = -(-len(chosen) // wide)
    with style.styled():
        figure = style.new_figure(7.4, 0.6 + 2.3 * rows)
        grid = figure.add_gridspec(rows, wide)
        sweep_panels(figure, chosen, [grid[divmod(number, wide)] for number in range(len(chosen))])
        some = f"\n{PANELS} of {len(shown)} values of measures" if len(shown) > PANELS else ""
        if title or some:
            figure.suptitle(style.plain(f"{title}{some}".strip()))
    return figure


def _over_grid(name: str, found: Sequence[Group]) -> list[Swept]:
    """A measure over the points of a grid, once for each of its values."""
    blocks = []
    for group in found:
        values = group.measures[name].values if name in group.measures else np.empty(0)
        runs = group.outcomes.get(Outcome.CONVERGED.value, 0)
        if values.size and runs and values.size % runs == 0:
            blocks.append((group, values.reshape(runs, -1)))
    if not blocks or len({block.shape[1] for _, block in blocks}) > 1:
        return []
    first, short = blocks[0][0], {key: key.rpartition(".")[2] for key in blocks[0][0].point}
    over: dict[str, Sequence[float] | Sequence[str]] = {
        short[key]: cast("list[float]", [group.point[key] for group, _ in blocks]) for key in short
    }
    units = {short[key]: unit for key, unit in first.units.items()}
    observed, count = first.measures[name], blocks[0][1].shape[1]
    several = any(block.shape[0] > 1 for _, block in blocks)
    shown = []
    for k in range(count):
        column = [block[:, k] for _, block in blocks]
        means = np.array([np.mean(values) for values in column])
        spread = np.array([np.std(values, ddof=1) if values.size > 1 else 0.0 for values in column])
        one = f"{name}[{k}]" if count > 1 else name
        deviation = spread if several else None
        shown.append(Swept(one, observed.shown_in, means, over, units, observed.low, observed.high, deviation))
    return shown


def _scaled(values: ArrayLike, unit: str, *limits: float | None) -> tuple[Array, float, str]:
    """The finite values in a readable unit, by what it is more than SI, and its name."""
    data = np.asarray(values, dtype=float).ravel()
    data = data[np.isfinite(data)]
    scale, shown_unit = scaling(np.concatenate([data, [x for x in limits if x is not None]]), unit)
    return data / scale, scale, shown_unit


def _histogram(ax: Axes, data: Array, keeps: NDArray[np.bool_], ends: list[float]) -> None:
    """Bars whose edges meet the limits, so that no bar is half in and half out."""
    if not data.size:
        return
    bins = np.histogram_bin_edges(data, "auto" if np.ptp(data) > 0.0 else 1)
    if bins.size > MOST_BINS:
        bins = np.linspace(bins[0], bins[-1], MOST_BINS + 1)
    inside = [end for end in ends if bins[0] < end < bins[-1]]
    if inside:
        width = bins[1] - bins[0]
        start = inside[0] - np.ceil((inside[0] - bins[0]) / width) * width
        bins = np.arange(start, bins[-1] + width, width)
        bins = np.unique(np.concatenate([bins, inside]))
    broken = int(data.size - np.count_nonzero(keeps))
    parts = [data[keeps], data[~keeps]] if broken else [data]
    labels = [f"{data.size - broken} keep the limits" if ends else f"{data.size} samples", f"{broken} break one"]
    ax.hist(parts, bins=list(bins), stacked=True, color=[KEEPS, BREAKS][: len(parts)], label=labels[: len(parts)])
    if 0 < broken < 0.02 * data.size:
        ax.set_yscale("log")  # else nobody sees them
    ax.set_ylabel("samples")


def _limits(ax: Axes, ends: Sequence[float | None], low: float | None, high: float | None, unit: str) -> None:
    for end, given, word in zip(ends, (low, high), ("at least", "at most"), strict=True):
        if end is not None and given is not None:
            ax.axvline(end, color=LIMIT, lw=1.2, ls="--", label=f"{word} {show(given, unit)}")


def _span(found: Yield) -> str:
    return f"{found.low:.3%} .. {found.high:.3%}\n{found.method}"


def _sigma_axis(ax: Axes) -> None:
    """A second scale in standard deviations, at whole and half ones that are in sight."""
    low, high = ax.get_ylim()
    first, last = sigma_of(min(high, 0.5)), sigma_of(max(low, 1e-300))
    step = 0.5 if last - first < 5.0 else 1.0
    marks = np.arange(np.ceil(first / step) * step, last + 1e-9, step)
    other = ax.secondary_yaxis("right")
    other.set_yticks([float(special.ndtr(-mark)) for mark in marks], [f"{mark:g}" for mark in marks])
    other.set_yticks([], minor=True)
    other.set_ylabel("standard deviations")
