"""Figures of `claims.vdsp`: accuracy over the number of neurons, sweeps of noise and time constant, scale factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from claims.vdsp_sweeps import SWEEPS
from cosim.network.map import NetworkMap
from cosim.report.network_figures import plot_map
from cosim.report.style import COLOURS, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Table = Mapping[str, Mapping[str, Sequence[float]]]
# Neurons and test accuracy (%) that the sources state: arXiv 2510.25787 (a lower bound), Front. Neurosci. 16:983950.
SOURCE_2025 = {200: 83.0}
NAMES = {"tio2": "TiO2", "hfo2": "HfO2", "hzo": "HZO"}
SOURCE_2022 = {100: 85.01, 400: 89.93, 500: 90.56}
READ_OUTS = {"W": "winner's label", "S": "majority vote", "NB": "naive Bayes", "R": "ridge on counts", "G": "graded"}


def over_neurons(
    table: Table, labels: Mapping[int, str], k_means: Mapping[int, Mapping[str, float]], *, even: tuple[int, str]
) -> Figure:
    """Accuracy by read-out over the neurons: mean, and the range of the seeds; k-means and the sources beside it.

    ``even``: neurons and part of the network that shares the images more evenly.
    """
    with styled():
        figure = new_figure(6.8, 4.4)
        ax = figure.add_subplot()
        counts = sorted(labels)
        for colour, (kind, name) in zip(COLOURS, READ_OUTS.items(), strict=False):
            rows = [100.0 * np.asarray(table[labels[count]][kind]) for count in counts]
            mean = np.array([row.mean() for row in rows])
            ends = np.array([[m - row.min(), row.max() - m] for m, row in zip(mean, rows, strict=True)]).T
            ax.errorbar(counts, mean, yerr=ends, fmt="o-", ms=4, capsize=2, color=colour, label=name)
            ax.plot(1.06 * even[0], 100.0 * np.mean(table[even[1]][kind]), "*", ms=7, color=colour)
        centres = sorted(k_means)
        for kind, colour, name in (("majority", COLOURS[1], "majority"), ("graded", COLOURS[4], "graded")):
            shares = [100.0 * k_means[count][kind] for count in centres]
            ax.plot(centres, shares, "--", marker="x", ms=5, color=colour, label=f"k-means on the pixels, {name}")
        ax.plot([], [], "k*", ms=7, label="stronger adaptation")
        ax.plot(*_points(SOURCE_2022), "k^", ms=6, label="Front. Neurosci. 16:983950")
        for count, bound in SOURCE_2025.items():
            ax.plot(count, bound, "k_", ms=9)
            ax.annotate("", (count, bound + 2.6), (count, bound), arrowprops={"arrowstyle": "->"})
        ax.plot([], [], "k_", ms=9, label="arXiv 2510.25787: more than")
        ax.set_xscale("log")
        ticks = sorted({*counts, *SOURCE_2022})
        ax.set_xticks(ticks, [str(count) for count in ticks])
        ax.minorticks_off()
        ax.set(xlabel="neurons, or centres", ylabel="MNIST test accuracy (%)")
        ax.legend(fontsize=7, ncols=2, loc="lower right")
        ax.set_title("TiO2, overdriven, three epochs: mean and range of the seeds")
    return figure


def _points(given: Mapping[int, float]) -> tuple[list[int], list[float]]:
    return list(given), list(given.values())


Swept = Mapping[str, Mapping[str, Mapping[str, float]]]


def deviations(found: Swept) -> Figure:
    """Accuracy over the deviation of thresholds and conductances, one seed, at both operating points, and over the rise
    of a neuron's threshold."""
    panels = (
        (("thresholds", "thresholds_far"), "deviation of the thresholds (%)"),
        (("conductances", "conductances_far"), "deviation of both conductances (%)"),
        (("homeostasis", "homeostasis_theta20"), "rise of the threshold at a spike"),
    )
    with styled():
        figure = new_figure(9.6, 3.5)
        axes: Sequence[Axes] = figure.subplots(1, 3, sharey=True)
        for ax, (names, label) in zip(axes, panels, strict=True):
            for name, line in zip(names, ("o-", "s--"), strict=True):
                scale = 1.0 if name.startswith("homeostasis") else 100.0
                for colour, kind in zip(COLOURS, READ_OUTS, strict=False):
                    values = [scale * float(value) for value in found[name]]
                    shares = [100.0 * row[kind] for row in found[name].values()]
                    ax.plot(values, shares, line, ms=4, color=colour, label=READ_OUTS[kind] if line == "o-" else None)
            ax.set_xlabel(label)
        axes[0].set_ylabel("MNIST test accuracy (%)")
        axes[0].plot([], [], "s--", ms=4, color="0.4", label="far above the thresholds")
        axes[2].plot([], [], "s--", ms=4, color="0.4", label="thresholds deviate by 20 %")
        axes[1].legend(*axes[0].get_legend_handles_labels(), fontsize=7, loc="lower left")
        axes[2].legend(handles=axes[2].get_lines()[-1:], fontsize=7, loc=(0.03, 0.4))
        axes[1].set_title("lines: published drive, one seed", fontsize=8)
    return figure


def sweeps(found: Swept, seeds: Mapping[str, Sequence[float]]) -> Figure:
    """Accuracy over noise and over the time constant, one seed; ``seeds``: of the published setting, by read-out."""
    panels = (
        (("noise",), "noise of bright pixels, σ/mean per ms"),
        (("dark_noise",), "noise of dark pixels, σ/mean per ms"),
        (("tau", "tau_same_bias"), "time constant of the input neurons (ms)"),
    )
    with styled():
        figure = new_figure(9.6, 3.5)
        axes: Sequence[Axes] = figure.subplots(1, 3)
        for ax, (names, label) in zip(axes, panels, strict=True):
            for name, line in zip(names, ("o-", "s--"), strict=False):
                for colour, kind in zip(COLOURS, ("S", "NB", "G"), strict=False):
                    values = [float(value) for value in found[name]]
                    shares = [100.0 * row[kind] for row in found[name].values()]
                    ax.plot(values, shares, line, ms=4, color=colour, label=READ_OUTS[kind] if line == "o-" else None)
            (published,) = SWEEPS[names[0]].parts
            for colour, kind in zip(COLOURS, ("S", "NB", "G"), strict=False):
                of_seeds = 100.0 * np.asarray(seeds[kind])
                ax.plot(np.full(of_seeds.size, published), of_seeds, "_", ms=9, color=colour)
            ax.axvline(published, color="0.5", ls=":", lw=0.9)
            if names[0] != "tau":
                ax.set_xscale("log")
                ax.set_xticks((0.01, 0.1, 0.5), ("0.01", "0.1", "0.5"))
                ax.minorticks_off()
            ax.set_xlabel(label)
        axes[0].set_ylabel("MNIST test accuracy (%)")
        axes[0].set_title("dotted: published; dashes: its seeds", fontsize=8)
        axes[2].plot([], [], "s--", ms=4, color="0.4", label="the same, bias as published")
        axes[2].legend(fontsize=7)
        axes[2].set_title("bias such that a dark pixel ends at 0.96", fontsize=8)
    return figure


def maps(found: Mapping[str, NetworkMap], published: Mapping[str, tuple[float, float]]) -> Figure:
    """Held-out accuracy over both scale factors by technology; a circle where the published ones (p, d) lie."""
    with styled():
        figure = new_figure(10.5, 6.4)
        for row, kind in enumerate(("W", "NB")):
            for place, (name, one) in enumerate(found.items()):
                ax = plot_map(one, figure.add_subplot(2, len(found), 1 + row * len(found) + place), kind=kind)
                up, across = (np.asarray(axis.values) for axis in one.axes)
                p, d = published[name]
                at = np.interp(d, across, range(across.size)), np.interp(p, up, range(up.size))
                ax.plot(*at, "o", ms=19, mfc="none", color="r")
                ax.set(xlabel="scale factor of depression", ylabel="scale factor of potentiation")
                ax.set_title(f"{NAMES[name]}, {READ_OUTS[kind]}")
        figure.suptitle("10 neurons, 1000 images, one seed (square: best, circle: published)", fontsize=9)
    return figure
