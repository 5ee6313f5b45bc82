"""Figures of the network of synapses with tagging and capture (Nicholson 2024, Figs. 12, 14 and 15, and beyond)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from cosim.network.systems.stc_loop import trains
from cosim.network.systems.stc_settings import StcSettings, beta, synapse
from cosim.network.systems.stc_synapse import laws
from cosim.report.style import COLOURS, axes, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cosim.network.run import RunResult, SeedResult
    from cosim.network.systems.stc import StcSystem

PHASES = {"early": "right after training", "late": "after consolidation"}


def phases_of(seed: SeedResult) -> list[str]:
    """The phases that a seed was tested in."""
    return [phase for phase in PHASES if f"early_{phase}" in seed.arrays]


def plot_weights(
    seed: SeedResult, ax: Axes | None = None, *, phase: str, side: int, digits: Sequence[int], top: float | None = None
) -> Axes:
    """The total weight (mV, the literature's scale) of each pixel and neuron, the source's Fig. 15."""
    ax = axes(ax)
    w = 1e3 * (seed.arrays[f"early_{phase}"] + seed.arrays[f"late_{phase}"])
    columns, gap = min(5, len(digits)), max(side // 14, 1)
    rows = -(-len(digits) // columns)
    high = w.shape[1] // side
    sheet = np.full((rows * (high + gap) - gap, columns * (side + gap) - gap), np.nan)
    for place, digit in enumerate(digits):
        r, c = divmod(place, columns)
        above, left = r * (high + gap), c * (side + gap)
        sheet[above : above + high, left : left + side] = w[place].reshape(high, side)
        ax.text(left + 0.5, above + 0.5, str(digit), color="white", fontsize=7, va="top", ha="left")
    image = ax.imshow(sheet, cmap="hot", vmin=0.0, vmax=top, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.set(xlabel="pixel, horizontal", ylabel="pixel, vertical")
    ax.figure.colorbar(image, ax=ax, shrink=0.75, pad=0.02).set_label("total synaptic weight (mV)")
    ax.set_title(f"Weights of each digit's neuron, {PHASES[phase]} (seed {seed.seed})")
    return ax


def plot_phases(seed: SeedResult, ax: Axes | None = None, *, phase: str) -> Axes:
    """How early and late phase of all synapses are distributed (mV, the literature's scale)."""
    ax = axes(ax)
    parts = {"early phase h": seed.arrays[f"early_{phase}"], "late phase h₀z": seed.arrays[f"late_{phase}"]}
    low = min(float(x.min()) for x in parts.values())
    high = max(float(x.max()) for x in parts.values())
    bins = np.linspace(1e3 * low - 0.1, 1e3 * high + 0.1, 60).tolist()
    for (name, x), colour in zip(parts.items(), COLOURS, strict=False):
        ax.hist(1e3 * x.ravel(), bins=bins, histtype="step", lw=1.4, color=colour, label=name)
    ax.set(xlabel="contribution to the weight (mV)", ylabel="synapses", yscale="log")
    ax.legend()
    ax.set_title(f"Synapses, {PHASES[phase]} (seed {seed.seed})")
    return ax


def plot_accuracies(result: RunResult, ax: Axes | None = None, *, digits: int) -> Axes:
    """Test accuracy in both phases, by each read-out and with plasticity: a point per seed, the mean as a bar."""
    ax = axes(ax)
    names, place = [], 0
    for phase in phases_of(result.seeds[0]):
        kinds = {kind: [seed.values[phase]["on_test"][kind] for seed in result.seeds]
                 for kind in result.seeds[0].values[phase]["on_test"]}  # fmt: skip
        plastic = [seed.values[phase]["plastic"] for seed in result.seeds]
        if all(value is not None for value in plastic):
            kinds["plastic\nrecall"] = plastic
        for kind, values in kinds.items():
            shown = 100.0 * np.array(values, dtype=float)
            ax.bar(place, shown.mean(), width=0.7, color=COLOURS[0 if phase == "early" else 1], alpha=0.5)
            spread = np.linspace(-0.2, 0.2, shown.size) if shown.size > 1 else np.zeros(1)
            ax.plot(place + spread, shown, "o", ms=3, mfc="none", color="0.3")
            ax.text(place, 2, f"{shown.mean():.1f}", ha="center", va="bottom", fontsize=8)
            names.append(f"{phase}\n{kind}")
            place += 1
    ax.plot([], [], "o", ms=3, mfc="none", color="0.3", label="a seed")
    ax.axhline(100.0 / digits, color="0.5", ls="--", lw=0.8, label="chance")
    ax.set_xticks(range(len(names)), names, fontsize=7.5)
    ax.set(ylabel="test accuracy (%)", ylim=(0, 112), yticks=range(0, 101, 20))
    ax.grid(visible=False, axis="x")
    ax.legend(loc="upper left", ncols=2, fontsize=7)
    ax.set_title("Recall without plasticity, and with it")
    return ax


def plot_confusion(seed: SeedResult, ax: Axes | None = None, *, phase: str, digits: Sequence[int]) -> Axes:
    """Answers by true digit, in % of its test images; the last column is silence, where there is any."""
    ax = axes(ax)
    counts = np.asarray(seed.arrays[f"confusion_{phase}"])
    shown = counts if counts[:, -1].any() else counts[:, :-1]
    share = 100.0 * shown / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for (i, j), value in np.ndenumerate(share):
        if value >= 0.5:
            ax.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=6.5, color="w" if value > 55 else "0.2")
    names = [str(digit) for digit in digits]
    ax.set_xticks(range(share.shape[1]), names + ["–"] * (share.shape[1] - len(names)))
    ax.set_yticks(range(len(names)), names)
    ax.grid(visible=False)
    ax.set(xlabel="answer", ylabel="true digit")
    ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03).set_label("% of the digit's test images")
    ax.set_title(f"{phase} phase: {100 * seed.values[f'accuracy_{phase}']:.1f} % (seed {seed.seed})")
    return ax


def plot_teaching(result: RunResult, ax: Axes | None = None) -> Axes:
    """The share of the images that were taught, over the images shown; one line a seed."""
    ax = axes(ax)
    sizes = np.cumsum(result.system.batches)
    for seed in result.seeds:
        ax.plot(sizes, 100.0 * np.array(seed.values.taught), lw=1.0, label=f"seed {seed.seed}")
    ax.set(xlabel="training images shown", ylabel="images taught (%)", ylim=(0, 105))
    if len(result.seeds) <= 8:
        ax.legend(fontsize=7)
    ax.set_title("Images that the teacher taught")
    return ax


def plot_trains(system: StcSystem, ax: Axes | None = None) -> Axes:
    """The trains of the first training image of the first digit, a dot per spike, the source's Fig. 12."""
    ax = axes(ax)
    images, settings = system.task.images, system.settings
    chosen = int(np.flatnonzero(images.train_y == system.task.digits[0])[0])
    fires = trains(int(images.train.max()), settings.steps(settings.shown))[images.train[chosen]]
    pixel, step = np.nonzero(fires)
    ax.plot(1e3 * settings.dt * step, pixel, ".", ms=2.0, color=COLOURS[0])
    ax.set(xlabel="time (ms)", ylabel="pixel", ylim=(-0.5, images.train.shape[1] - 0.5))
    ax.set_title(f"Spikes of a {images.train_y[chosen]}, up to {settings.rate:g} Hz")
    return ax


def plot_rule(settings: StcSettings, ax: Axes | None = None) -> Axes:
    """The weight (mV, the literature's scale) while pixel, neuron, both or none spike, the source's Fig. 14."""
    ax = axes(ax)
    k, rule = synapse(settings), laws()
    spikes = np.arange(0.0, settings.shown - 0.5 * settings.dt, 1.0 / settings.rate)
    times = np.linspace(0.0, settings.shown, 601)
    for name, kicks, line in (
        ("both", (rule.on_pre, rule.on_post), "-"),
        ("neither", (), "--"),
        ("pixel alone", (rule.on_pre,), "-"),
        ("neuron alone", (rule.on_post,), ":"),
    ):
        c, h, z, w = k.c_rest, k.h0, 0.0, np.empty_like(times)
        for begin, end in zip(spikes, [*spikes[1:], np.inf], strict=True):
            for kick in kicks:
                c = kick(c, k)
            here = (times >= begin) & (times < end)
            early, late = (
                np.broadcast_to(x, here.sum()) for x in rule.advance(c, h, z, 0.0, times[here] - begin, k)[1:]
            )
            w[here] = rule.weight(early, late, k)
            if np.isfinite(end):
                c, h, z = rule.advance(c, h, z, 0.0, end - begin, k)
        ax.plot(1e3 * times, 1e3 * beta(k.h0) * w, line, label=name)
    ax.set(xlabel="time (ms)", ylabel="total synaptic weight (mV)")
    ax.legend(title="spikes of")
    ax.set_title(f"The rule, law {settings.law}, tails × {settings.tails:g}")
    return ax


def stc_figures(result: RunResult, *, side: int, digits: Sequence[int]) -> dict[str, Figure]:
    """All figures of a run, by name; weights, phases and confusion of its first seed."""
    first = result.seeds[0]
    phases = phases_of(first)
    top = max(1e3 * float(np.max(first.arrays[f"early_{p}"] + first.arrays[f"late_{p}"])) for p in phases)
    drawn: dict[str, tuple[tuple[float, float], Callable[[Axes], Axes]]] = {}
    for phase in phases:
        drawn[f"weights_{phase}"] = (
            (7.2, 3.9),
            partial(plot_weights, first, phase=phase, side=side, digits=digits, top=top),
        )
        drawn[f"phases_{phase}"] = (4.6, 3.2), partial(plot_phases, first, phase=phase)
        drawn[f"confusion_{phase}"] = (5.2, 4.3), partial(plot_confusion, first, phase=phase, digits=digits)
    system = cast("StcSystem", result.system)
    drawn["trains"] = (4.6, 3.2), lambda ax: plot_trains(system, ax)
    if system.settings.law != "listing":
        drawn["rule"] = (4.6, 3.2), lambda ax: plot_rule(system.settings, ax)
    drawn["accuracy"] = (6.0, 3.6), lambda ax: plot_accuracies(result, ax, digits=len(digits))
    if len(first.values.taught) > 1:
        drawn["teaching"] = (4.6, 3.2), lambda ax: plot_teaching(result, ax)
    out: dict[str, Figure] = {}
    with styled():
        for name, (size, draw) in drawn.items():
            out[name] = new_figure(*size)
            draw(out[name].add_subplot())
    return out
