"""A posterior drawn: each parameter's samples on the diagonal, each pair below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cosim.report.style import COLOURS, new_figure, plain, spans_decades, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cosim.fitting.posterior import Posterior

# So many parameters are drawn at most, on so many bins; shares of the samples that the lines of a pair enclose.
DRAWN, BINS, SHARES = 8, 40, (0.95, 0.68)


def corner_figure(found: Posterior) -> Figure:
    """Histograms with the 95 % interval of the samples (dashed) and of the likelihood (dotted); pairs with their 68 and
    95 % regions.
    """
    names = found.names[:DRAWN]
    k = len(names)
    size = max(1.5 * k, 3.2)
    figure = new_figure(size, size)
    data = [found.samples[:, j] for j in range(k)]
    edges = []
    for column in data:
        low, high = np.percentile(column, [0.1, 99.9])
        logarithmic = spans_decades(np.array([low, high])) and low > 0.0
        edges.append(np.geomspace(low, high, BINS + 1) if logarithmic else np.linspace(low, high or 1.0, BINS + 1))
    with styled():
        grid = figure.subplots(k, k, squeeze=False)
        for i in range(k):
            for j in range(k):
                ax = grid[i, j]
                if j > i:
                    ax.axis("off")
                    continue
                if edges[j][0] > 0.0 and edges[j][-1] / edges[j][0] > 100.0:
                    ax.set_xscale("log")
                if i == j:
                    ax.hist(data[i], bins=edges[i].tolist(), histtype="step", color=COLOURS[0])
                    for end in found.interval(names[i]):
                        ax.axvline(end, color=COLOURS[0], linestyle="--", linewidth=0.8)
                    for end in found.likelihood[names[i]]:
                        if edges[i][0] < end < edges[i][-1]:
                            ax.axvline(end, color=COLOURS[1], linestyle=":")
                    ax.set_yticks([])
                else:
                    if edges[i][0] > 0.0 and edges[i][-1] / edges[i][0] > 100.0:
                        ax.set_yscale("log")
                    counts = np.histogram2d(data[j], data[i], bins=(edges[j], edges[i]))[0].T
                    ax.pcolormesh(edges[j], edges[i], counts, cmap="Blues", rasterized=True)
                    _regions(ax, edges[j], edges[i], counts)
                if ax.get_xscale() == "linear":
                    ax.locator_params(axis="x", nbins=3)
                ax.tick_params(labelsize=6, labelbottom=i == k - 1, labelleft=j == 0 and i > 0)
                if i == k - 1:
                    ax.set_xlabel(plain(f"{names[j]} ({found.units[j]})"), fontsize=7)
                if j == 0 and i > 0:
                    ax.set_ylabel(plain(f"{names[i]} ({found.units[i]})"), fontsize=7)
    return figure


def _regions(ax: object, x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> None:
    """Lines around the densest bins that hold given shares of the samples."""
    height = np.sort(counts.ravel())[::-1]
    held = np.cumsum(height) / max(height.sum(), 1.0)
    levels = sorted({float(height[int(np.searchsorted(held, share))]) for share in SHARES})
    if levels and levels[0] > 0.0 and counts.max() > levels[-1]:
        middle = [0.5 * (edges[1:] + edges[:-1]) for edges in (x, y)]
        ax.contour(*middle, counts, levels=levels, colors=COLOURS[0], linewidths=0.6)  # type: ignore[attr-defined]
