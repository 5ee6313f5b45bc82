"""Figures of mazes with heated synapses (arXiv 2411.18272, Figs. 8 and 9), and how they depend on our choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cosim import units
from cosim.devices.base import Array
from cosim.network.systems.maze import IN_TIME, success_ratio
from cosim.network.systems.maze_settings import least_loss, step_time
from cosim.report.style import COLOURS, axes, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cosim.network.run import SeedResult
    from cosim.network.systems.maze import MazeSystem

GAMMA = "left of an eligibility per step, γ (step)"
LEFT = "left of an eligibility per hardware step, γ (shaded: no loss, limit)"


def plot_map(
    values: Array, ax: Axes | None = None, *, rows: Sequence[str], columns: Sequence[str], colours: str, text: str,
    label: str, ends: tuple[float, float], logarithmic: bool = False,
) -> Axes:  # fmt: skip
    """A map (rows, columns) with its numbers, from below upwards; colours go from one of the ``ends`` to the other."""
    from matplotlib.colors import LogNorm, Normalize

    ax = axes(ax)
    norm = (LogNorm if logarithmic else Normalize)(ends[0], max(ends[1], ends[0] + 1e-9))
    image = ax.imshow(values, cmap=colours, norm=norm, origin="lower", aspect="auto")
    for r, row in enumerate(values):
        for c, value in enumerate(row):
            red, green, blue, _ = image.cmap(image.norm(value))
            light = 0.299 * red + 0.587 * green + 0.114 * blue
            ax.text(c, r, format(value, text), ha="center", va="center", fontsize=6.5,
                    color="white" if light < 0.5 else "black")  # fmt: skip
    ax.set_xticks(range(len(columns)), columns, fontsize=7.5)
    ax.set_yticks(range(len(rows)), rows, fontsize=7.5)
    ax.grid(visible=False)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.85, pad=0.02)
    if logarithmic:  # powers of ten may not lie among them
        marks = np.unique(np.geomspace(*ends, 5)).tolist()
        bar.set_ticks(marks, labels=[f"{mark:.3g}" if mark < 1000.0 else f"{mark:.0f}" for mark in marks])
        bar.minorticks_off()
    bar.set_label(label)
    return ax


def _gammas(system: MazeSystem) -> tuple[list[int], list[str]]:
    """The order of γ, and each with the length of a hardware step that it is at the synapse's time constant."""
    p = system.cells.parameters.resolved()
    order = sorted(range(len(system.gammas)), key=lambda k: system.gammas[k])
    names = {0.0: "all lost"} | dict.fromkeys(system.limits, "no loss, limit")
    return order, [
        f"{g:g}  ({names[g] if g in names else units.show(step_time(g, p), 's', digits=3)})"
        for g in (system.gammas[k] for k in order)
    ]


def _shade(ax: Axes, limit: float) -> None:
    """The axis of γ, marked where it is no longer a step."""
    ax.axvspan(limit, 1.0 + 0.01, color="0.88", lw=0, zorder=0)
    ax.set_xlabel(LEFT)


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    with styled():
        columns = min(count, 2)
        high = -(-count // columns)
        figure = new_figure(4.6 * columns, 3.7 * high)
        return figure, [figure.add_subplot(high, columns, k + 1) for k in range(count)]


def plot_episodes(system: MazeSystem, seed: SeedResult) -> Figure:
    """Fig. 8: mean episodes to the benchmark. The colours span the fewest and the most of a grid, logarithmically."""
    figure, panels = _panels(len(system.sizes))
    order, names = _gammas(system)
    with styled():
        for ax, size in zip(panels, system.sizes, strict=True):
            mean = seed.arrays[f"episodes_{size}"].mean(axis=2).T
            plot_map(
                mean[order], ax, rows=names, columns=[f"{100 * v:g}" for v in system.variabilities],
                colours="viridis", text=".0f", label="episodes", ends=(float(mean.min()), float(mean.max())),
                logarithmic=True,
            )  # fmt: skip
            ax.set(xlabel="variability D$_v$ = C$_v$ (%)", ylabel=GAMMA)
            cap = system.settings.episodes
            ax.set_title(f"{size} × {size}: mean episodes of {system.runs} runs of at most {cap}", fontsize=9)
    return figure


def plot_successes(system: MazeSystem, seed: SeedResult) -> Figure:
    """Fig. 9: the share of runs that reach the benchmark in time; lighter is less."""
    figure, panels = _panels(len(system.sizes))
    order, names = _gammas(system)
    with styled():
        for ax, size in zip(panels, system.sizes, strict=True):
            ratio = success_ratio(seed.arrays[f"alpha_episodes_{size}"], seed.arrays[f"alpha_reached_{size}"], size).T
            plot_map(
                ratio[order], ax, rows=names, columns=[f"{alpha:g}" for alpha in system.alphas],
                colours="Blues", text=".2f", label="share of the largest", ends=(0.0, 1.0),
            )  # fmt: skip
            ax.set(xlabel="temperature coefficient α (1/K)", ylabel=GAMMA)
            ax.set_title(
                f"{size} × {size}: success ratio within {IN_TIME * size:g} episodes, variability {system.at:.0%}",
                fontsize=9,
            )
    return figure


def plot_gammas(system: MazeSystem, seed: SeedResult) -> Figure:
    """Episodes against γ without variability: mean and its standard error over the runs."""
    with styled():
        figure = new_figure(6.4, 3.8)
        ax = figure.add_subplot()
        order = np.argsort(system.gammas)
        for size, colour in zip(system.sizes, COLOURS * 9, strict=False):
            runs = seed.arrays[f"episodes_{size}"][0][order]
            error = runs.std(axis=1, ddof=1) / np.sqrt(system.runs) if system.runs > 1 else None
            ax.errorbar(np.array(system.gammas)[order], runs.mean(axis=1), error, fmt="o-", color=colour, capsize=2,
                        markersize=3.5, label=f"{size} × {size}")  # fmt: skip
        ax.axhline(system.settings.episodes, color="0.5", lw=0.8, ls=":")
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        if high < 20.0 * low:  # less than this may hold no power of ten, and would have no number
            at = (low * high) ** 0.5
            ax.set_ylim(min(low, at / 20.0**0.5), max(high, at * 20.0**0.5))
        ax.set_ylabel("episodes to five successes in a row")
        _shade(ax, least_loss(system.settings, system.cells.parameters.resolved()))
        ax.set_title(
            f"Variability {system.variabilities[0]:.0%}; dotted: a run ends after {system.settings.episodes} episodes, "
            "means are\nlower bounds where runs end there" + (
                "; bars: standard error of the mean" if system.runs > 1 else "; one run a point"
            ), fontsize=9,
        )  # fmt: skip
        ax.legend(title="grid")
    return figure


def maze_figures(system: MazeSystem, seed: SeedResult) -> dict[str, Figure]:
    """The figures of a seed, by name."""
    found = {"episodes": plot_episodes(system, seed), "gamma": plot_gammas(system, seed)}
    return found | ({"successes": plot_successes(system, seed)} if system.alphas else {})


def plot_choices(
    choices: Mapping[str, Mapping[str, Sequence[float]]], *, gammas: Sequence[float], limit: float, title: str
) -> Figure:
    """Mean episodes against γ for each of our choices: ``mean`` and ``error`` of each, by its name.

    Above ``limit`` no γ is a step.
    """
    with styled():
        figure = new_figure(6.8, 4.2)
        ax = figure.add_subplot()
        styles = ("-", "--", ":", "-.")
        for k, (name, found) in enumerate(choices.items()):
            ax.errorbar(gammas, found["mean"], found["error"], fmt="o" + styles[k // len(COLOURS) % 4], markersize=3,
                        color=COLOURS[k % len(COLOURS)], capsize=1.5, lw=1.0, label=name)  # fmt: skip
        ax.set_yscale("log")
        ax.set_ylabel("episodes to five successes in a row")
        _shade(ax, limit)
        ax.set_title(title, fontsize=9)
        ax.legend(fontsize=6.5, ncols=2)
    return figure
