"""Figures of the four learning rules of one device: windows against α_c (Fig. 4), and what each is good for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cosim.network.systems.stdp import (
    COMPLETION,
    FAMILIARITY,
    RECALL,
    STORED,
    UNLEARNING,
    WAYS,
    StdpSystem,
)
from cosim.network.systems.stdp_settings import (
    ANTI_HEBBIAN,
    ANTI_SYMMETRIC,
    HEBBIAN,
    SYMMETRIC,
    StdpSettings,
)
from cosim.network.systems.stdp_windows import CHARGING, DELAYS, ideal, published, window
from cosim.report.style import COLOURS, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cosim.network.run import SeedResult

TITLES = {
    HEBBIAN: "asymmetric Hebbian", ANTI_HEBBIAN: "asymmetric anti-Hebbian",
    SYMMETRIC: "symmetric Hebbian", ANTI_SYMMETRIC: "symmetric anti-Hebbian",
}  # fmt: skip
AXES = {
    COMPLETION: ("patterns", "groups completed rightly"),
    RECALL: ("sequences", "groups recalled rightly"),
    UNLEARNING: (f"times one of {STORED} sequences is shown again", "groups recalled rightly"),
    FAMILIARITY: ("familiar patterns", "pairs told rightly (familiar, new)"),
}
SHOWN = {
    COMPLETION: "Completion: symmetric Hebbian", RECALL: "Recall: asymmetric Hebbian",
    UNLEARNING: "Unlearning: asymmetric anti-Hebbian", FAMILIARITY: "Familiarity: symmetric anti-Hebbian",
}  # fmt: skip
OF = {"": "", "kept": ": the others", "forgotten": ": the one shown"}


def plot_windows(settings: StdpSettings) -> Figure:
    """ΔG of the wire against the delay for each rule: three charging efficiencies, Table 2, the ideal window."""
    with styled():
        figure = new_figure(9.2, 6.6)
        for place, (rule, title) in enumerate(TITLES.items()):
            ax = figure.add_subplot(2, 2, place + 1)
            for k, factor in enumerate(CHARGING):
                curve = window(settings.with_(charging=settings.charging * factor), rule)
                ax.plot(DELAYS, curve, color=COLOURS[k], lw=1.8 if factor == 1.0 else 1.1,
                        ls="-" if factor == 1.0 else "--", label=f"device, α$_c$ × {factor:g}")  # fmt: skip
                if factor == 1.0:
                    tallest = float(np.max(np.abs(curve)))
            ax.plot(DELAYS, published(rule), "k:", lw=1.1, label="source, Table 2")
            shape = ideal(rule)
            ax.plot(DELAYS, shape * tallest / np.max(np.abs(shape)), color="0.6", lw=1.0, label="ideal window (scaled)")
            ax.axhline(0.0, color="0.8", lw=0.8, zorder=0)
            ax.set(xlabel="delay Δt = t$_{post}$ − t$_{pre}$ (ms)", ylabel="ΔG/G$_0$ of the wire")
            ax.set_title(title, fontsize=9)
            if place == 0:
                ax.legend(fontsize=7)
    return figure


def plot_scores(system: StdpSystem, seeds: Sequence[SeedResult]) -> Figure:
    """Score against load for each task; bars are deviations of a seed, which one alone does not have."""
    table = system.table(seeds)
    with styled():
        figure = new_figure(9.2, 3.4 * -(-len(table) // 2))
        for place, (task, ways) in enumerate(table.items()):
            ax = figure.add_subplot(-(-len(table) // 2), 2, place + 1)
            for way, entries in ways.items():
                colour, loads = COLOURS[WAYS.index(way)], [int(load) for load in entries]
                parts = {"kept": "o-", "forgotten": "s--"} if task == UNLEARNING else {"": "o-"}
                for part, style in parts.items():
                    found = [entry[part] if part else entry for entry in entries.values()]
                    ax.errorbar(
                        loads, [x["mean"] for x in found], [x["deviation"] for x in found] if len(seeds) > 1 else None,
                        fmt=style, color=colour, capsize=2, markersize=3.5, lw=1.1, label=f"{way}{OF[part]}",
                    )  # fmt: skip
            chance = 1.0 / system.settings.width if task == UNLEARNING else system.chance(task)
            ax.axhline(chance, color="0.5", lw=0.8, ls=":", label="chance")
            if task != UNLEARNING:
                ax.set_xscale("log")
                ax.set_xticks(loads, [str(load) for load in loads])
                ax.minorticks_off()
            ax.set(xlabel=AXES[task][0], ylabel=AXES[task][1], ylim=(-0.03, 1.05))
            ax.set_title(SHOWN[task], fontsize=9)
            ax.legend(fontsize=7)
        figure.suptitle(
            f"Mean of {len(seeds)} seeds; bars: standard deviation of a seed" if len(seeds) > 1 else "One seed",
            fontsize=9,
        )
    return figure


def stdp_figures(system: StdpSystem, seeds: Sequence[SeedResult]) -> dict[str, Figure]:
    """The figures of a result, by name."""
    return {"windows": plot_windows(system.settings), "scores": plot_scores(system, seeds)}
