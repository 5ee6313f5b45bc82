"""Figures of a network: receptive fields, states of the cells, confusion, accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from cosim.network.readout import READ_OUTS
from cosim.report.style import COLOURS, axes, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cosim.network.images import ImageTask
    from cosim.network.map import NetworkMap
    from cosim.network.run import RunResult, SeedResult

FIELDS = 50


def plot_fields(seed: SeedResult, ax: Axes | None = None, *, side: int, neurons: int = FIELDS) -> Axes:
    """Receptive fields G/G_max of the first ``neurons`` neurons in order of their class, ``side`` pixels a row.

    A neuron that is silent or was never trained comes last, without a class.
    """
    ax = axes(ax)
    order = np.argsort(np.where(seed.arrays.labels < 0, 99, seed.arrays.labels), kind="stable")
    # An even choice over the classes, where not all can be shown.
    order = order[np.linspace(0, order.size - 1, min(neurons, order.size)).round().astype(int)]
    columns = min(10, order.size)
    rows = -(-order.size // columns)
    gap = max(side // 14, 1)
    sheet = np.full((rows * (side + gap) - gap, columns * (side + gap) - gap), np.nan)
    for place, neuron in enumerate(order):
        r, c = divmod(place, columns)
        top, left = r * (side + gap), c * (side + gap)
        sheet[top : top + side, left : left + side] = seed.arrays.weight[:, neuron].reshape(-1, side)
        label = seed.arrays.labels[neuron]
        if label >= 0:
            ax.text(left + 0.02 * side, top + 0.02 * side, str(label), color="white", fontsize=6.5, va="top", ha="left")
    # From the conductance of an empty cell to the largest but for one cell in a thousand.
    low, high = float(np.nanmin(seed.arrays.weight)), float(np.quantile(seed.arrays.weight, 0.999))
    image = ax.imshow(sheet, cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
    ax.set_axis_off()
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.75, aspect=30, pad=0.02, extend="max")
    bar.set_label("$G/G_{max}$")
    silent = int(np.count_nonzero(seed.arrays.labels < 0))
    ax.set_title(
        f"Receptive fields with the neuron's class, {order.size} of {seed.arrays.labels.size} neurons"
        + (f" ({silent} of all silent or untrained: no class)" if silent else "")
    )
    return ax


def plot_states(seed: SeedResult, ax: Axes | None = None, *, initial: tuple[float, float] = (0.0, 1.0)) -> Axes:
    """Histogram of the states of all cells, over the uniform distribution in which learning began."""
    ax = axes(ax)
    ax.hist(seed.arrays.w.ravel(), bins=[k / 50 for k in range(51)], density=True, color=COLOURS[0], label="after")
    low, high = initial
    if high > low:
        level = 1.0 / (high - low)
        ax.plot([low, low, high, high], [0, level, level, 0], color=COLOURS[1], label="before")
    ax.set(xlabel="state w", ylabel="probability density", xlim=(-0.02, 1.02))
    ax.legend(title="learning")
    ax.set_title("States of the cells")
    return ax


def plot_confusion(seed: SeedResult, ax: Axes | None = None) -> Axes:
    """Answers by true class, in % of the class's images; the last column is silence, where there is any."""
    ax = axes(ax)
    counts = np.array(seed.values.confusion)
    silent = bool(counts[:, -1].any())
    shown = counts if silent else counts[:, :-1]
    share = 100.0 * shown / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for (i, j), value in np.ndenumerate(share):
        if value >= 0.5:
            ax.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=6.5, color="w" if value > 55 else "0.2")
    names = [str(k) for k in range(counts.shape[0])]
    ax.set_xticks(range(share.shape[1]), names + (["–"] if silent else []))
    ax.set_yticks(range(counts.shape[0]), names)
    ax.grid(visible=False)
    ax.set(xlabel="answer", ylabel="true class")
    ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03).set_label("% of the class's test images")
    ax.set_title(f"Read-out {seed.values.read_out}: {100 * seed.values.accuracy:.1f} % right (seed {seed.seed})")
    return ax


def plot_accuracy(result: RunResult, ax: Axes | None = None, *, classes: int) -> Axes:
    """Test accuracy of the read-outs: a point per seed (filled: chosen), the mean as a bar; chance dashed."""
    ax = axes(ax)
    kinds = list(READ_OUTS)
    for place, kind in enumerate(kinds):
        values = np.array([100.0 * seed.values.accuracy_on_test_images[kind] for seed in result.seeds])
        ax.bar(place, values.mean(), width=0.6, color=COLOURS[5], alpha=0.5)
        chosen = np.array([seed.values.read_out == kind for seed in result.seeds])
        spread = np.linspace(-0.15, 0.15, values.size) if values.size > 1 else np.zeros(1)
        ax.plot(place + spread[~chosen], values[~chosen], "o", ms=4, mfc="none", color="0.4")
        ax.plot(place + spread[chosen], values[chosen], "o", ms=5, color=COLOURS[1])
        ax.text(place, 2, f"{values.mean():.1f}", ha="center", va="bottom", fontsize=8)
    ax.plot([], [], "o", ms=5, color=COLOURS[1], label="a seed, best of counts on held-out training images")
    ax.plot([], [], "o", ms=4, mfc="none", color="0.4", label="a seed, read-out not chosen")
    ax.axhline(100.0 / classes, color="0.5", ls="--", lw=0.8, label="chance")
    ax.set_xticks(range(len(kinds)), [f"{kind}\n{READ_OUTS[kind]}".replace(" ", "\n") for kind in kinds], fontsize=6.5)
    ax.set(ylabel="test accuracy (%)", ylim=(0, 118), yticks=range(0, 101, 20))
    ax.grid(visible=False, axis="x")
    ax.legend(loc="upper left", fontsize=7, ncols=2)
    return ax


def plot_by_technology(results: Mapping[str, RunResult], ax: Axes | None = None) -> Axes:
    """Test accuracy of several runs by read-out: a point per seed, and a dash with its number for the mean."""
    ax = axes(ax)
    width = 0.8 / len(results)
    for k, (label, result) in enumerate(results.items()):
        colour = COLOURS[k % len(COLOURS)]
        for place, kind in enumerate(READ_OUTS):
            values = np.array([100.0 * seed.values.accuracy_on_test_images[kind] for seed in result.seeds])
            at = place + (k - 0.5 * (len(results) - 1)) * width
            ax.plot(
                np.full(values.size, at), values, "o", ms=3.5, color=colour, alpha=0.7, label="" if place else label
            )
            ax.plot([at - 0.4 * width, at + 0.4 * width], [values.mean()] * 2, color=colour, lw=1.5)
            ax.text(at, values.max() + 0.6, f"{values.mean():.1f}", ha="center", fontsize=5.5, rotation=90, va="bottom")
    ax.set_xticks(range(len(READ_OUTS)), [f"{kind}\n{text}".replace(" ", "\n") for kind, text in READ_OUTS.items()])
    ax.tick_params(axis="x", labelsize=6.5)
    ax.set(ylabel="test accuracy (%)", ylim=(None, 104))
    ax.grid(visible=False, axis="x")
    ax.legend(fontsize=7)
    ax.set_title("Accuracy by read-out: a point per seed, a dash for their mean")
    return ax


def plot_map(found: NetworkMap, ax: Axes | None = None, *, kind: str = "W") -> Axes:
    """Mean accuracy of a read-out over one setting, or over two as colours with the best point marked."""
    ax = axes(ax)
    mean = 100.0 * found.mean(kind)
    if len(found.axes) == 1:
        (axis,) = found.axes
        values = 100.0 * np.asarray(found.accuracies[kind])
        ax.plot(axis.values, mean, "-", color=COLOURS[0])
        for k in range(values.shape[-1]):
            ax.plot(axis.values, values[:, k], "o", ms=3, color=COLOURS[0])
        ax.set(xlabel=axis.label, ylabel="held-out accuracy (%)")
    else:
        across, up = found.axes[1], found.axes[0]
        image = ax.imshow(mean, origin="lower", aspect="auto", cmap="viridis")
        ax.set_xticks(range(len(across.values)), [f"{x:g}" for x in across.values], fontsize=7)
        ax.set_yticks(range(len(up.values)), [f"{x:g}" for x in up.values], fontsize=7)
        for (i, j), value in np.ndenumerate(mean):
            dark = value < 0.5 * (mean.min() + mean.max())
            ax.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=6.5, color="w" if dark else "0.1")
        i, j = np.unravel_index(int(mean.argmax()), mean.shape)
        ax.plot(j, i, "s", ms=16, mfc="none", color=COLOURS[1])
        ax.grid(visible=False)
        ax.set(xlabel=across.label, ylabel=up.label)
        ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03).set_label("held-out accuracy (%)")
    ax.set_title(READ_OUTS[kind])
    return ax


def map_figure(found: NetworkMap) -> Figure:
    """The map by the winner's class and by naive Bayes, side by side."""
    with styled():
        figure = new_figure(9.6, 4.2)
        for place, kind in enumerate(("W", "NB")):
            plot_map(found, figure.add_subplot(1, 2, place + 1), kind=kind)
    return figure


def plot_activity(result: RunResult, ax: Axes | None = None) -> Axes:
    """Output spikes per image while learning, over the images shown; one line a seed."""
    ax = axes(ax)
    for seed in result.seeds:
        ax.plot(np.cumsum(result.system.batches), seed.values.spikes_per_image, lw=0.9, label=f"seed {seed.seed}")
    ax.set(xlabel="images shown", ylabel="output spikes per image", ylim=(0, 1.05 * ax.get_ylim()[1]))
    ax.legend()
    return ax


def image_figures(result: RunResult, task: ImageTask, *, initial: tuple[float, float]) -> dict[str, Figure]:
    """Every figure of a system that classifies images, by the name of its file; ``initial`` as for `plot_states`."""
    first = result.seeds[0]
    drawn: dict[str, tuple[tuple[float, float], Callable[[Axes], Axes]]] = {
        "receptive_fields": ((7.2, 3.9), lambda ax: plot_fields(first, ax, side=task.images.side)),
        "states": ((4.6, 3.2), lambda ax: plot_states(first, ax, initial=initial)),
        "confusion": ((5.2, 4.3), lambda ax: plot_confusion(first, ax)),
        "accuracy": ((6.0, 3.6), lambda ax: plot_accuracy(result, ax, classes=task.images.classes)),
        "activity": ((4.6, 3.2), lambda ax: plot_activity(result, ax)),
    }
    out: dict[str, Figure] = {}
    with styled():
        for name, (size, draw) in drawn.items():
            out[name] = new_figure(*size)
            draw(out[name].add_subplot())
    return out
