"""Figures of synapses as temporal filters: what each passes at which rate, what its neuron makes of it, accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cosim.network.systems.filters import RATES, FiltersSystem
from cosim.network.systems.filters_settings import response
from cosim.report.style import COLOURS, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cosim.network.run import SeedResult
    from cosim.network.systems.filters_trains import Trains

MHZ = 1e-6


class Layer(Protocol):
    """A system whose tasks are told apart in several ways."""

    @property
    def tasks(self) -> tuple[Trains, ...]:
        """What is told apart."""
        ...

    def table(self, seeds: Sequence[SeedResult]) -> dict[str, dict[str, dict[str, Any]]]:
        """Mean and deviation of the accuracy by task and way."""
        ...


def plot_responses(system: FiltersSystem, seed: SeedResult) -> Figure:
    """Left: conductance that a spike of a long regular train finds, by relaxation time. Right: output spikes per input
    of one neuron of each group in regular trains, with and without STP.
    """
    s = system.settings
    with styled():
        figure = new_figure(9.2, 3.8)
        left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
        for k, (tau, curve) in enumerate(zip(s.taus(), response(s, RATES).T, strict=True)):
            left.plot(RATES * MHZ, curve, color=COLOURS[k % len(COLOURS)], label=f"{tau * 1e6:g} µs")
        left.set(xscale="log", xlabel="rate of the spikes (MHz)", ylabel="conductance over that at rest")
        left.set_title("Synapses, by the device's map", fontsize=9)
        left.legend(title="relaxation time", fontsize=7)
        middle = len(s.shares) // 2
        for k, tau in enumerate(s.taus()):
            n = k * len(s.shares) + middle
            right.plot(seed.arrays.rates * MHZ, seed.arrays.response_with[:, n], "o-", color=COLOURS[k % len(COLOURS)],
                       markersize=3, label=f"{tau * 1e6:g} µs")  # fmt: skip
        right.plot(seed.arrays.rates * MHZ, seed.arrays.response_without[:, middle], "s--", color="0.4", markersize=3,
                   label="without STP")  # fmt: skip
        right.set(xscale="log", xlabel="rate of the spikes (MHz)", ylabel="output spikes per input spike")
        right.set_title(f"Neurons set to {s.shares[middle]:g} spikes per input ({system.tasks[-1].task})", fontsize=9)
        right.legend(fontsize=7)
    return figure


def plot_accuracies(system: Layer, seeds: Sequence[SeedResult]) -> Figure:
    """Test accuracy of each task by each way; whiskers are deviations of a seed, dotted lines chance."""
    table = system.table(seeds)
    ways = list(table[system.tasks[0].task])
    with styled():
        figure = new_figure(7.0, 3.8)
        ax = figure.add_subplot()
        width = 0.8 / len(ways)
        for k, way in enumerate(ways):
            at = np.arange(len(table)) + (k - (len(ways) - 1) / 2) * width
            found = [row[way] for row in table.values()]
            mean, spread = ([100 * (x[part] or 0.0) for x in found] for part in ("mean", "deviation"))
            ax.bar(at, mean, 0.9 * width, color=COLOURS[k], label=way)
            ax.errorbar(at, mean, spread, fmt="none", ecolor="0.2", capsize=2)
        for k, trains in enumerate(system.tasks):
            chance = 100 / len(trains.classes)
            ax.plot([k - 0.45, k + 0.45], [chance, chance], ":", color="0.3", lw=1.0, label="chance" if not k else "")
        ax.set_xticks(range(len(table)), [f"{t.task}, {len(t.classes)} classes" for t in system.tasks])
        ax.set(ylabel="test accuracy (%)", xlabel="task", ylim=(0, 119))
        ax.legend(fontsize=7, ncols=3, loc="upper left")
    return figure


def plot_confusion(system: Layer, seeds: Sequence[SeedResult], *, of: str = "with STP") -> Figure:
    """Of the layer that facilitates, over all seeds: true classes by rows, answers by columns, in % of a row."""
    from cosim.report.maze_figures import plot_map

    with styled():
        figure = new_figure(5.2 * len(system.tasks), 4.2)
        for k, trains in enumerate(system.tasks):
            ax = figure.add_subplot(1, len(system.tasks), k + 1)
            counts = np.sum([seed.arrays[f"{trains.task}_confusion"] for seed in seeds], axis=0)[:, :-1]
            plot_map(100 * counts / counts.sum(axis=1, keepdims=True), ax, rows=trains.classes, columns=trains.classes,
                     colours="Blues", text=".0f", label="% of the class", ends=(0.0, 100.0))  # fmt: skip
            ax.set(xlabel="answer", ylabel="class")
            ax.tick_params(axis="x", rotation=30)
            ax.set_title(f"{trains.task}, {of}", fontsize=9)
    return figure


def filters_figures(system: FiltersSystem, seeds: Sequence[SeedResult]) -> dict[str, Figure]:
    """The figures of a result, by name; neurons are those of the first seed."""
    return {
        "responses": plot_responses(system, seeds[0]), "accuracies": plot_accuracies(system, seeds),
        "confusion": plot_confusion(system, seeds),
    }  # fmt: skip
