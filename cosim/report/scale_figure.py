"""Efficiency of a campaign against the number of cores: ``python -m cosim.report.scale_figure FILE.png``.

The command measures the costs on this machine (dask on loopback, two workers) and simulates the rest.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cosim.campaign.forecast import Forecast
from cosim.claims import scale
from cosim.report.style import COLOURS, axes, save, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CORES = (1, 3, 10, 30, 100, 300, 1000, 3000)


def draw(
    now: Mapping[float, Sequence[Forecast]], before: Mapping[float, Sequence[Forecast]], ax: Axes | None = None
) -> Axes:
    """Efficiency over cores, one colour for each time of a case; dashed as it was ``before``."""
    ax = axes(ax)
    with styled():
        for found, line, words in ((now, "o-", ""), (before, "x--", ", before")):
            for colour, (seconds, entries) in zip(COLOURS, found.items(), strict=False):
                name = f"{1e3 * seconds:g} ms" if seconds < 1.0 else f"{seconds:g} s"
                ax.plot(
                    [entry.cores for entry in entries], [100.0 * entry.efficiency for entry in entries], line,
                    color=colour, markersize=4, label=f"{name} a case{words}",
                )  # fmt: skip
        ax.set_xscale("log")
        ax.set_xticks(CORES, [f"{count}" for count in CORES])
        ax.minorticks_off()
        ax.set(
            xlabel="cores", ylabel="efficiency (%)", ylim=(0.0, 105.0),
            title="10⁶ cases on a dask cluster: simulated with costs measured on two workers",
        )  # fmt: skip
        ax.legend(fontsize=8, loc="lower left")
    return ax


def main(target: str) -> None:
    """Measure, simulate, draw."""
    with scale.loopback(2) as (executor, pids, scheduler):
        costs, direct = scale.measure_costs(executor, pids, scheduler)
    old = scale.before(costs, direct)
    now = scale.at_scale(costs, cores=CORES)
    before = scale.at_scale(old, cores=CORES, sizes=scale.OLD_SIZES)
    for name, found in (("now", now), ("before", before)):
        for seconds, entries in found.items():
            for entry in entries:
                print(f"{name:<7}{seconds:>6g} s {entry.cores:>5} cores: {entry.efficiency:6.1%}, {entry.wall:.4g} s, "
                      f"parent {entry.parent:.0%}, scheduler {entry.scheduler:.0%}, {entry.bottleneck}")  # fmt: skip
    print({name: f"{1e6 * value:.3g} us" for name, value in vars(costs).items() if name != "row_bytes"})
    save(draw(now, before), target)


if __name__ == "__main__":
    main(sys.argv[1])
