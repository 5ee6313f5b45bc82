"""Figures of the recurrent network that learns phones: its loss, and which phone is taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cosim.report.style import COLOURS, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cosim.network.run import RunResult

SMOOTH = 40  # stretches of the loss that are averaged


def rsnn_figures(result: RunResult, phones: Sequence[str]) -> dict[str, Figure]:
    """By name."""
    return {"loss": plot_loss(result), "confusion": plot_confusion(result, phones)}


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
