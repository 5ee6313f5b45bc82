"""How every figure looks: one place for fonts, sizes and colours (Okabe–Ito, told apart by the colour-blind)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from cosim.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cosim.devices.base import Array

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SETTINGS = {
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "savefig.bbox": "tight",
}

_DECADES = 2.0  # from which on an axis of positive values is logarithmic


def spans_decades(values: Array) -> bool:
    """Whether values are spread over decades: not where a single step makes most of them."""
    finite = np.unique(values[np.isfinite(values)])
    if finite.size < 2 or finite[0] <= 0.0:
        return False
    steps = np.diff(np.log10(finite))
    return bool(steps.sum() >= _DECADES and (finite.size == 2 or steps.max() <= 0.5 * steps.sum()))


@contextmanager
def styled() -> Iterator[None]:
    """matplotlib with the project's style and without a screen."""
    import matplotlib as mpl
    from cycler import cycler

    settings: Any = {**SETTINGS, "axes.prop_cycle": cycler(color=COLOURS)}  # matplotlib's type lists every key
    with mpl.rc_context(settings):
        yield


def plain(text: str) -> str:
    """``text`` from a file as a figure shows it: a dollar sign stays one, and does not begin a formula."""
    return text.replace("$", r"\$")


def new_figure(width: float = 6.4, height: float = 3.6) -> Figure:
    """A figure (inches) that no window manager knows of."""
    from matplotlib.figure import Figure

    with styled():
        return Figure(figsize=(width, height))


def axes(ax: Axes | None) -> Axes:
    """``ax``, or the only axes of a new figure."""
    if ax is not None:
        return ax
    with styled():
        return new_figure().add_subplot()


def mark_lone_points(figure: Figure) -> None:
    """Give every line of a single point a marker: without one it is not to be seen."""
    for ax in figure.axes:
        for line in ax.lines:
            shown = np.isfinite(np.asarray(line.get_xydata(), dtype=float)).all(axis=1)
            if np.count_nonzero(shown) == 1 and line.get_marker() in ("None", "none", "", " ", None):
                line.set(marker="o", markersize=4.0)


def save(ax_or_figure: Axes | Figure, path: str | Path) -> Path:
    """Write a figure to ``path`` (format by suffix), replacing it atomically."""
    figure = cast("Figure", getattr(ax_or_figure, "figure", ax_or_figure))
    mark_lone_points(figure)
    with replacing(path) as temporary, styled():
        figure.savefig(temporary, format=Path(path).suffix.lstrip(".") or "png")
    return Path(path)
