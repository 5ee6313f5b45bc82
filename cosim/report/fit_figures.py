"""Figures of an extraction: curve and fit with confidence band, residuals, parity, correlations, profiles."""

from __future__ import annotations

import math
import re
import textwrap
from typing import TYPE_CHECKING

import numpy as np

from cosim.data.kinds import KINDS, READ
from cosim.data.recording import Recording
from cosim.fitting.forwards.pulse_ratio import RatioForward
from cosim.report.style import COLOURS, axes, new_figure, plain, spans_decades, styled
from cosim.units import show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from cosim.data.recording import Curve
    from cosim.devices.base import Array, Values
    from cosim.fitting.joint_result import JointResult
    from cosim.fitting.result import FitResult

# A pulse train jumps at every pulse: more of them in one frame are only ink.
PULSES_SHOWN = 120
FEW, MANY = 300, 2000  # rows, which have room for larger marks
RAMPS_SHOWN = 2  # of each polarity, beside a held-out one
MEASURED, FIT, HELD, CLIPPED = COLOURS[0], COLOURS[1], COLOURS[2], "0.6"
SIGMAS = 1.96
_PREFIXES = {-12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k"}


def scaled(values: Array, unit: str) -> tuple[float, str]:
    """Factor and unit with a prefix that make ``values`` (SI) readable; ("1" is normalised and stays)."""
    size = float(np.max(np.abs(values))) if values.size else 0.0
    if unit == "1" or size == 0.0:
        return 1.0, "normalised" if unit == "1" else unit
    exponent = min(max(3 * math.floor(math.log10(size) / 3), -12), 3)
    return 10.0**-exponent, _PREFIXES[exponent] + unit


def plot_curve(curve: Curve, ax: Axes | None = None) -> Axes:
    """What was measured."""
    ax = axes(ax)
    factor, unit = scaled(curve.measured, curve.measured_unit)
    _measured(ax, curve, curve.measured * factor, np.ones(len(curve), dtype=bool), MEASURED, "measured")
    _labels(ax, curve, unit)
    return ax


def plot_fit(result: FitResult, ax: Axes | None = None) -> Axes:
    """Curve and fit, with the 95 % confidence band of the fit and the held-out part marked."""
    ax = axes(ax)
    curve, held = result.curve, result.held_out
    factor, unit = scaled(curve.measured, curve.measured_unit)
    shown = _window(result)
    clipped = result.clipped
    for rows, colour, name in ((~held, MEASURED, "measured, fitted"), (held, HELD, "measured, held out")):
        for way, mark, which in _ways(curve):
            _measured(ax, curve, curve.measured * factor, shown & rows & ~clipped & way, colour, name + which, mark)
    _measured(ax, curve, curve.measured * factor, shown & clipped, CLIPPED, "clipped by the instrument")
    for number, rows in enumerate(_lines(curve, shown)):
        x, y, half = _abscissa(curve)[rows], result.predicted[rows] * factor, SIGMAS * result.band[rows] * factor
        order = np.argsort(np.arange(x.size) if curve.kind == "loop" else x, kind="stable")
        x, y, half = x[order], y[order], half[order]
        if isinstance(result.forward, RatioForward) and x.size > 1:  # few rows: the law itself between them
            fine = np.union1d(
                x, (np.geomspace if spans_decades(x[x > 0.0]) else np.linspace)(x[x > 0.0][0], x[-1], 200)
            )
            y, half = _ratio(result.forward, fine, result.values) * factor, np.interp(fine, x, half)
            x = fine
        ax.plot(x, y, color=FIT, lw=0.9, zorder=3, label="_" if number else "fit")
        name = "_" if number else "95 % confidence"
        ax.fill_between(x, y - half, y + half, color=FIT, alpha=0.3, lw=0, zorder=2, label=name)
    _labels(ax, curve, unit)
    if curve.kind == "pulse train" and not shown.all():
        ax.set_title(f"pulses {int(np.argmax(shown)) + 1}–{len(curve) - int(np.argmax(shown[::-1]))} of {len(curve)}")
    if curve.kind == "equal pulses" and not shown.all():
        numbers = ", ".join(f"{int(ramp) + 1}" for ramp in np.unique(curve["ramp"][shown]))
        count = np.unique(curve["ramp"]).size
        ax.set_title(
            f"ramps {numbers} of {count}, a held-out one among them" if held.any() else f"ramps {numbers} of {count}"
        )
    columns = 4 if len(ax.get_legend_handles_labels()[1]) <= 4 else 2
    ax.legend(
        loc="upper left", bbox_to_anchor=(0.0, -0.17), ncols=columns, fontsize=7.5, borderaxespad=0.0, markerscale=1.5
    )
    return ax


def plot_residuals(result: FitResult, ax: Axes | None = None) -> Axes:
    """Measured − fit of every row that is not clipped, and where 95 % of the noise lies."""
    ax = axes(ax)
    measured = ~result.clipped
    factor, unit = scaled(result.residuals[measured], result.curve.measured_unit)
    x = _abscissa(result.curve)
    groups = ((~result.held_out & measured, MEASURED, "fitted"), (result.held_out & measured, HELD, "held out"))
    for rows, colour, name in groups:
        if rows.any():
            ax.plot(x[rows], result.residuals[rows] * factor, ".", ms=2.5, color=colour, label=name)
    noise = SIGMAS * float(np.median(result.sigma)) * factor
    given = "stated" if result.noise_known else "estimated"
    for sign in (-1.0, 1.0):
        ax.axhline(sign * noise, color="0.4", lw=0.8, ls="--", label=f"±1.96 σ, {given}" if sign > 0 else None)
    ax.axhline(0.0, color="0.4", lw=0.6)
    _scale(ax, result.curve)
    ax.set(xlabel=KINDS[result.curve.kind].drawn[1], ylabel=f"measured − fit ({unit})")
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, -0.17), ncols=3, fontsize=7.5, borderaxespad=0.0)
    return ax


def plot_parity(result: FitResult, ax: Axes | None = None) -> Axes:
    """Fit over measurement."""
    ax = axes(ax)
    curve = result.curve
    factor, unit = scaled(curve.measured, curve.measured_unit)
    for rows, colour, name in (
        (~result.held_out & ~result.clipped, MEASURED, f"fitted, RMS {100 * result.training_error:.2g} % of range"),
        (
            result.held_out & ~result.clipped,
            HELD,
            f"held out, RMS {100 * (result.held_out_error or 0.0):.2g} % of range",
        ),
        (result.clipped, CLIPPED, "clipped: the true value lies beyond"),
    ):
        if rows.any():
            ax.plot(
                curve.measured[rows] * factor, result.predicted[rows] * factor, ".", ms=2.5, color=colour, label=name
            )
    ends = np.array([np.min(curve.measured), np.max(curve.measured)]) * factor
    ax.plot(ends, ends, color="0.4", lw=0.8, zorder=0)
    ax.set(xlabel=f"measured ({unit})", ylabel=f"fit ({unit})")
    ax.legend(loc="upper left", fontsize=7.5)
    return ax


def plot_correlation(result: FitResult, ax: Axes | None = None) -> Axes:
    """Correlation coefficients of the parameters; those that have no standard error are left out."""
    ax = axes(ax)
    names = result.uncertainty.names
    ax.grid(visible=False)
    if not names:
        ax.set_axis_off()
        ax.text(0.5, 0.5, "no parameter has a standard error", ha="center")
        return ax
    matrix = result.uncertainty.correlation
    image = ax.imshow(matrix, vmin=-1.0, vmax=1.0, cmap="RdBu_r")
    for (row, column), value in np.ndenumerate(matrix):
        if row != column:
            shade = "white" if abs(value) > 0.6 else "0.2"
            ax.text(
                column,
                row,
                f"{value:.2f}".replace("0.", ".").replace("-", "−"),
                ha="center",
                va="center",
                fontsize=6.5,
                color=shade,
            )
    ax.set_xticks(range(len(names)), [plain(name) for name in names], rotation=45, ha="right")
    ax.set_yticks(range(len(names)), [plain(name) for name in names])
    ax.set_title("correlation of the parameters")
    ax.figure.colorbar(image, ax=ax, shrink=0.8)
    return ax


def _title(figure: Figure, text: str, below: str = "") -> None:
    """A title in lines that are no wider than the figure: 12 of its letters take an inch."""
    figure.suptitle("\n".join(textwrap.wrap(text, int(12 * figure.get_figwidth()))) + below, fontsize=10)


def fit_figure(result: FitResult) -> Figure:
    """The four figures on one sheet, with the verdict as title."""
    with styled():
        figure = new_figure(10.0, 7.4)
        grid = figure.subplots(2, 2, width_ratios=(1.35, 1.0))
        plot_fit(result, grid[0, 0])
        plot_residuals(result, grid[1, 0])
        plot_parity(result, grid[0, 1])
        plot_correlation(result, grid[1, 1])
        choice = f"\n{chosen(result)}" if result.choice else ""
        _title(figure, f"{plain(result.recipe.name)}: {result.verdict.summary}", choice)
    return figure


def joint_figure(result: JointResult) -> Figure:
    """Every observation of a joint fit with its prediction, the verdict as title."""
    with styled():
        count = len(result.observations)
        columns = min(3, count)
        figure = new_figure(3.6 * columns, 2.9 * -(-count // columns) + 0.5)
        grid = figure.subplots(-(-count // columns), columns, squeeze=False).flat
        for one, ax in zip(result.observations, grid, strict=False):
            curve = one.recording
            factor, unit = scaled(curve.measured, curve.measured_unit)
            used = ~one.held_out & (one.side == 0)
            for rows, colour, name in ((used, MEASURED, "measured"), (~used, HELD, "held out or clipped")):
                _measured(ax, curve, curve.measured * factor, rows, colour, name)
            for rows in _lines(curve, np.ones(len(curve), dtype=bool)):
                ax.plot(_abscissa(curve)[rows], result.predicted(one)[rows] * factor, color=FIT, lw=0.9, zorder=3)
            _labels(ax, curve, unit)
            ax.set_title(plain(one.name), fontsize=8)
        for ax in list(figure.axes)[count:]:
            ax.set_axis_off()
        _title(figure, f"{plain(result.recipe.name)}: {result.verdict.summary}")
    return figure


def chosen(result: FitResult) -> str:
    """The law or the candidate that was kept; of a formula also what x is, and the values that did not vary."""
    forward = result.forward
    if not result.choice or result.choice != getattr(forward, "formula", ""):
        return result.choice
    column = KINDS[result.curve.kind].drawn[0]
    held = [
        f"{entry.name} = {show(float(result.values[entry.name]), entry.unit, digits=4)}"
        for entry in forward.params
        if entry.name not in result.names
    ]
    told = [*([f"x is the {column}"] if re.search(r"\bx\b", result.choice) else []), *held]
    return f"{result.choice}{', where ' if told else ''}{' and '.join(told)}"


def _abscissa(curve: Curve) -> Array:
    column = KINDS[curve.kind].drawn[0]
    return curve[column] if column else np.arange(1.0, len(curve) + 1.0)


def _ratio(forward: RatioForward, x: Array, p: Values) -> Array:
    """The law of paired pulses at intervals x (n,) s."""
    columns = {"interval": x, "ratio": np.ones_like(x)}
    blank = Recording("paired pulses", columns, {"interval": "s", "ratio": "1"})
    return RatioForward(forward.device, blank, np.ones(x.size, dtype=bool)).predict(p)


def _labels(ax: Axes, curve: Curve, unit: str) -> None:
    _scale(ax, curve)
    kind, name = KINDS[curve.kind], curve.measured_name
    quantity = name.removeprefix(READ).replace("_", " ") if name.startswith(READ) else kind.quantity
    # a long name on two lines: an axis is some 40 letters high
    ax.set(xlabel=kind.drawn[1], ylabel="\n".join(textwrap.wrap(f"{quantity} ({unit})", 36)))


def _scale(ax: Axes, curve: Curve) -> None:
    """A logarithmic abscissa where rows are spread over decades; what is at 0 stays on it."""
    x = np.unique(_abscissa(curve))
    above = x[x > 0.0]
    steps = np.diff(x)
    even = steps.size > 0 and float(steps.max()) < 1.5 * float(np.median(steps))
    if curve.kind == "loop" or x[0] < 0.0 or not KINDS[curve.kind].drawn[0] or not spans_decades(above):
        return
    if even and curve.kind not in ("relaxation", "endurance"):  # a sweep or a trace in equal steps
        return
    if x[0] > 0.0:
        ax.set_xscale("log")
    else:
        ax.set_xscale("symlog", linthresh=float(above[0]), linscale=0.3)


def _window(result: FitResult) -> NDArray[np.bool_]:
    """The rows that a frame can show: a train's stretch around its first held-out row, or a few of many ramps."""
    n = len(result.curve)
    if result.curve.kind == "equal pulses":
        ramp, up = result.curve["ramp"], result.curve["polarity"] > 0
        some = np.unique(ramp[result.held_out])[:1]
        for way in (np.unique(ramp[up]), np.unique(ramp[~up])):
            some = np.union1d(some, way[:: -(-way.size // RAMPS_SHOWN)] if way.size > RAMPS_SHOWN else way)
        return np.asarray(np.isin(ramp, some))
    if result.curve.kind != "pulse train" or n <= PULSES_SHOWN:
        return np.ones(n, dtype=bool)
    centre = int(np.argmax(result.held_out)) if result.held_out.any() else PULSES_SHOWN // 2
    first = min(max(centre - PULSES_SHOWN // 2, 0), n - PULSES_SHOWN)
    index = np.arange(n)
    return np.asarray((index >= first) & (index < first + PULSES_SHOWN))


def _lines(curve: Curve, shown: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """The rows of each line of a curve: one per ramp, or per sequence of events."""
    column = next((name for name in ("ramp", "sequence") if name in curve.columns), "")
    if not column:
        return [shown]
    return [shown & (curve[column] == one) for one in np.unique(curve[column][shown])]


def _ways(curve: Curve) -> list[tuple[NDArray[np.bool_], str, str]]:
    """The rows of each direction with a mark of their own, where a figure shows both; else all of them."""
    up = curve["polarity"] > 0 if "polarity" in curve.columns else np.ones(len(curve), dtype=bool)
    if up.all() or not up.any():
        return [(np.ones(len(curve), dtype=bool), ".", "")]
    return [(up, "^", ", potentiation"), (~up, "v", ", depression")]


def _measured(
    ax: Axes, curve: Curve, y: Array, rows: NDArray[np.bool_], colour: str, name: str, mark: str = "."
) -> None:
    if not rows.any():
        return
    size = 4.0 if len(curve) <= FEW or curve.kind in ("pulse train", "i-v") else 2.5 if len(curve) <= MANY else 1.5
    size = 2.5 if mark != "." else size
    order = 2 if size < 2 else 4
    ax.plot(_abscissa(curve)[rows], y[rows], mark, ms=size, mew=0.0, color=colour, label=name, zorder=order)
