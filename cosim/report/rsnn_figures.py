"""Figures of the recurrent network that learns phones: its loss, which phone is taken for which, and what writes do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cosim.network.systems.rsnn_thermal import EDGES
from cosim.report.style import COLOURS, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cosim.network.run import RunResult

SMOOTH = 40  # stretches of the loss that are averaged


def rsnn_figures(result: RunResult, phones: Sequence[str]) -> dict[str, Figure]:
    """By name; that of the writes where synapses are thermal."""
    found = {"loss": plot_loss(result), "confusion": plot_confusion(result, phones)}
    if all("relative_steps" in seed.arrays for seed in result.seeds):
        found["writes"] = plot_writes(np.sum([seed.arrays.relative_steps for seed in result.seeds], axis=0))
    return found


def plot_loss(result: RunResult) -> Figure:
    """Cross-entropy of the training frames as they were learned, of each seed, averaged over stretches of batches."""
    with styled():
        figure = new_figure(6.0, 3.4)
        ax = figure.add_subplot()
        for seed, colour in zip(result.seeds, COLOURS * len(result.seeds), strict=False):
            parts = np.array_split(seed.arrays.loss, min(SMOOTH, len(seed.arrays.loss)))
            at = np.cumsum([len(part) for part in parts]) / len(seed.arrays.loss)
            ax.plot(at, [part.mean() for part in parts], "o-", color=colour, markersize=2.5, label=f"seed {seed.seed}")
        ax.axhline(np.log(len(seed.arrays.confusion)), color="0.5", ls=":", lw=0.8, label="every phone alike")
        ax.set(xlabel="share of the training", ylabel="cross-entropy per frame (nat)", ylim=(0.0, None))
        ax.legend()
    return figure


def plot_learning(results: Mapping[str, RunResult]) -> Figure:
    """Cross-entropy of the training frames as they were learned, by the name of a network: mean and deviation of its
    seeds, averaged over stretches of batches (Fig. 11(b)).
    """
    with styled():
        figure = new_figure(6.0, 3.4)
        ax = figure.add_subplot()
        for (name, result), colour in zip(results.items(), COLOURS * len(results), strict=False):
            losses = np.array([seed.arrays.loss for seed in result.seeds])
            parts = np.array_split(losses, min(SMOOTH, losses.shape[1]), axis=1)
            each = np.stack([part.mean(axis=1) for part in parts])
            at = np.cumsum([part.shape[1] for part in parts]) / losses.shape[1]
            ax.errorbar(at, each.mean(axis=1), each.std(axis=1), fmt="o-", color=colour, ms=2.5, lw=1.0, label=name)
        ax.set(xlabel="share of the training", ylabel="cross-entropy per frame (nat)", ylim=(0.0, None))
        ax.legend()
    return figure


def plot_confusion(result: RunResult, phones: Sequence[str]) -> Figure:
    """Of each phone of new sentences the shares of the answers, over all seeds; phones without a frame are left out."""
    counts = np.sum([seed.arrays.confusion for seed in result.seeds], axis=0)
    there = np.flatnonzero(counts.sum(axis=1))
    shares = counts[np.ix_(there, there)] / counts[there].sum(axis=1, keepdims=True)
    with styled():
        figure = new_figure(7.2, 6.4)
        ax = figure.add_subplot()
        image = ax.imshow(shares, cmap="viridis", vmin=0.0, vmax=1.0)
        names = [phones[k] for k in there.tolist()]
        ax.set_xticks(range(len(names)), names, fontsize=5.5, rotation=90)
        ax.set_yticks(range(len(names)), names, fontsize=5.5)
        ax.grid(visible=False)
        ax.set(xlabel="answered", ylabel="spoken")
        ax.set_title("Frames of new sentences", fontsize=9)
        figure.colorbar(image, ax=ax, shrink=0.8, pad=0.02).set_label("share of the phone's frames")
    return figure


def plot_writes(counts: NDArray[np.int64]) -> Figure:
    """How often a write of a heated device changed its conductance by how much (Fig. 14(c)); (bins,) over `EDGES`."""
    shares = counts / max(counts.sum(), 1)
    with styled():
        figure = new_figure(6.0, 3.4)
        ax = figure.add_subplot()
        ax.stairs(shares, EDGES, fill=True, color=COLOURS[0])
        ax.set(xlabel="ΔG/G₀ of a write", ylabel="share of the writes", yscale="log", xlim=(EDGES[0], EDGES[-1]))
        ax.set_title("Writes of heated devices; the outer bins take what lies beyond", fontsize=9)
    return figure


def plot_sweeps(
    sweeps: Mapping[str, Mapping[str, Mapping[str, float]]], beside: Mapping[str, Any], *, titles: Mapping[str, str],
    curves: Collection[str] = (),
) -> Figure:  # fmt: skip
    """Accuracy (%) of networks by the name of a point, mean and deviation, a panel per sweep; lines are those of
    ``beside``, numbers or means. The sweeps that ``curves`` names are curves over the numbers that their points begin
    with, positive and rising, on a logarithmic axis.
    """
    with styled():
        figure = new_figure(10.0, 4.0)
        panels = figure.subplots(1, len(sweeps), sharey=True, width_ratios=[len(each) + 1 for each in sweeps.values()])
        for ax, (name, points) in zip(np.atleast_1d(panels), sweeps.items(), strict=True):
            means, deviations = ([x[key] for x in points.values()] for key in ("mean", "deviation"))
            curve = name in curves
            at = np.log10([float(point.split()[0]) for point in points]) if curve else np.arange(len(points))
            ax.errorbar(at, means, deviations, fmt="o-" if curve else "o", color=COLOURS[0], lw=1.0, ms=4, capsize=3)
            for (label, x), line in zip(beside.items(), ("-", ":", "--", "-.", (0, (1, 4))), strict=False):
                ax.axhline(x["mean"] if isinstance(x, Mapping) else x, color="0.5", ls=line, lw=0.9, label=label)
            names = [point.replace(" us", " µs") for point in points]
            ax.set_xticks(at, names, fontsize=6.5, rotation=40, ha="right")
            margin = 0.6 * float(np.mean(np.diff(at))) if len(at) > 1 else 0.6
            ax.set(ylim=(0.0, 100.0), xlim=(at[0] - margin, at[-1] + margin))
            ax.set_title(titles[name], fontsize=8)
        first = np.atleast_1d(panels)[0]
        first.set_ylabel("frames of new sentences, %")
        handles, labels = first.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=7)
    return figure
