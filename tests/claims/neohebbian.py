"""Thermal neo-Hebbian synapses at network level: mazes (arXiv 2411.18272, Sec. 5.1), with all that is our choice.

The source's heatmaps have no numbers in its text; it states where the optimum lies, what variability does, and what α
does with growing grids. Fig. 7(b)'s rewards are not in the text either: `CHOICES` changes each choice of ours alone.
``./run reproduce neohebbian`` writes ``cosim-out/neohebbian``: figures, and a page with the source's statements beside.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from claims.base import Claim, Figures, Report
from cosim.network.grid import Rewards
from cosim.network.run import RunResult, run_network
from cosim.network.systems.maze import MazeSystem
from cosim.network.systems.maze_settings import MazeSettings
from cosim.report.comparison import COLUMNS, Row, source
from cosim.report.html import Report as Page
from cosim.report.maze_figures import maze_figures, plot_choices
from cosim.report.style import save

FOLDER = Path("cosim-out/neohebbian")
LARGE = (7, 10)  # of which the source says that slow decay harms
USUAL = MazeSettings()
CHOICES: Mapping[str, MazeSettings] = {
    "as chosen": USUAL,
    "step 0.02": USUAL.with_(rewards=Rewards(step=0.02)),
    "step 0.1": USUAL.with_(rewards=Rewards(step=0.1)),
    "step 0.2": USUAL.with_(rewards=Rewards(step=0.2)),
    "worst 2": USUAL.with_(rewards=Rewards(worst=2.0)),
    "chi 0.4": USUAL.with_(chi=0.4),
    "chi 0.6": USUAL.with_(chi=0.6),
    "traps 0": USUAL.with_(traps=0.0),
    "pulses 80": USUAL.with_(pulses=80.0),
    "episodes of 10 n²": USUAL.with_(longest=10.0),
}
GAMMAS = (0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0)


def chosen(settings: MazeSettings) -> MazeSystem:
    """Both large grids without variability."""
    return MazeSystem(settings, sizes=LARGE, gammas=GAMMAS, variabilities=(0.0,), alphas=())


def optima(result: RunResult, variability: float = 0.0) -> dict[int, dict[str, Any]]:
    """The optimum of each size at one variability."""
    return {x["size"]: x for x in result.seeds[0].values["optima"] if x["variability"] == variability}


def measure(tell: Report) -> Figures:
    """The maps, and each choice alone; minutes of processor time."""
    system = MazeSystem(USUAL)
    tell("maps")
    whole = run_network(
        system, folder=FOLDER / "maps", resume=True, progress=lambda _, done, of: tell(f"maps: {done} of {of} runs")
    )
    run_network(chosen(USUAL.with_(episodes=1)))  # compiles
    started, steps = time.process_time(), 0
    others: dict[str, Any] = {}
    for name, settings in CHOICES.items():
        tell(name)
        found = run_network(chosen(settings))
        best, steps = optima(found), steps + found.seeds[0].values["steps"]
        for size in LARGE:
            runs = found.seeds[0].arrays[f"episodes_{size}"][0]
            others.setdefault(str(size), {})[name] = {
                "mean": runs.mean(axis=1).round(2).tolist(),
                "error": (runs.std(axis=1, ddof=1) / np.sqrt(runs.shape[1])).round(2).tolist(),
                "gamma": best[size]["gamma"],
                "interval": best[size]["interval"],
            }
    rate = steps / (time.process_time() - started)
    seed = whole.seeds[0]
    best = optima(whole)
    costs = seed.values["variability_costs"]
    figures: Figures = {
        "lowest_optimum": min(best[n]["interval"][0] for n in LARGE),
        "highest_optimum": max(best[n]["interval"][1] for n in LARGE),
        "slow_decay_costs": min(_surely(best[n]["ends"][-1]) for n in LARGE),
        "fast_decay_costs": min(_surely(best[n]["ends"][0]) for n in LARGE),
        "variability_costs": min(_surely(x) for x in costs),
        "steps_per_second": rate,
        "optima": seed.values["optima"],
        "costs": costs,
        "mean_episodes": seed.values["mean_episodes"],
        "success_ratio": seed.values["success_ratio"],
        "alpha_spread": {n: alpha_spread(np.array(x)) for n, x in seed.values["success_ratio"].items()},
        "missed": seed.values["missed"],
        "steps": seed.values["steps"],
        "choices": others,
        "axes": {"gamma": system.gammas, "variability": system.variabilities, "alpha": system.alphas},
    }
    show(whole, figures)
    return figures


def _surely(entry: Mapping[str, float]) -> float:
    """What is left of a difference of two standard errors."""
    return entry["more"] - 2.0 * entry["error"]


def alpha_spread(ratio: Any) -> float:
    """Mean over γ > 0 of the range of the success ratio over α, (α, γ)."""
    return float(np.mean(np.ptp(ratio, axis=0)[1:]))


def show(whole: RunResult, figures: Figures) -> None:
    """Figures and the page with the source's statements."""
    assert isinstance(whole.system, MazeSystem)
    seed, page = whole.seeds[0], Page("Thermal neo-Hebbian synapses in networks", "arXiv 2411.18272, Sec. 5.1.")
    page.section("Mazes (Figs. 8 and 9)")
    captions = {
        "episodes": "Fig. 8: mean episodes to five successes in a row. γ = 0 learns nothing: even of the last e-update "
        "nothing is left when the write pulse comes. Runs that miss the benchmark count with all their episodes.",
        "gamma": "The column without variability: mean and its standard error over the runs.",
        "successes": "Fig. 9: runs that learn in time, over the largest share of the map. How many episodes are in "
        "time is our choice.",
    }
    for name, figure in maze_figures(whole.system, seed).items():
        save(figure, FOLDER / f"{name}.png")
        page.figure(figure, captions[name])
    best, rows = optima(whole), []
    for n in LARGE:
        inside = source("Sec. 5.1 and Fig. 8", above=0.0, below=1.0, statement="an optimal γ inside 0..1")
        rows.append(Row(f"{n} x {n}: ends of the optimum's 95 % interval", best[n]["interval"], inside))
        end = best[n]["ends"][-1]
        note = f"{end['more']:.1f} ± {end['error']:.1f}; shown is that less two errors"
        slow = source("Sec. 5.1", above=0.0, statement="γ = 1 takes more episodes")
        rows.append(Row(f"{n} x {n}: episodes more at γ = 1", _surely(end), slow, note=note))
    for x in figures["costs"]:
        note = f"{x['more']:.1f} ± {x['error']:.1f} at γ = {x['gamma']:g}; shown is that less two errors"
        costs = source("Sec. 5.1", above=0.0, statement="episodes rise with variability")
        quantity = f"{x['size']} x {x['size']}: episodes more at {x['most']:.0%}"
        rows.append(Row(quantity, _surely(x), costs, note=note))
    spread = figures["alpha_spread"]
    small, large = (spread[str(n)] for n in (whole.system.sizes[0], whole.system.sizes[-1]))
    less = source("Sec. 5.1 and Fig. 9", above=0.0, statement="α matters less in larger grids")
    note = "mean over γ of the range of the success ratio over α; 20 runs resolve 0.05"
    rows.append(Row("α's effect in the smallest grid less that in the largest", small - large, less, note=note))
    page.table(COLUMNS, [row.cells() for row in rows])
    page.section("What is our choice").text(
        "Fig. 7(b)'s rewards are not in the source's text. Each curve changes one choice; the others stay."
    )
    for n in LARGE:
        choices = figures["choices"][str(n)]
        drawn = plot_choices(choices, gammas=GAMMAS, title=f"{n} × {n}, no variability: one choice changed")
        save(drawn, FOLDER / f"choices_{n}.png")
        page.figure(drawn, f"{n} × {n}: mean and standard error of 20 runs.")
    page.write(FOLDER / "neohebbian.html")


def probe() -> Figures:
    """Two small mazes in numpy: episodes and steps of each run."""
    small = MazeSystem(
        USUAL.with_(episodes=25), sizes=(3, 4), gammas=(0.6, 1.0), variabilities=(0.0, 0.5), alphas=(0.01,), runs=2,
        backend="numpy",
    )  # fmt: skip
    seed = run_network(small).seeds[0]
    return {
        "steps": seed.values["steps"],
        "episodes": {str(n): seed.arrays[f"episodes_{n}"].tolist() for n in small.sizes},
        "alpha": {str(n): seed.arrays[f"alpha_episodes_{n}"].tolist() for n in small.sizes},
    }


def settings() -> Mapping[str, Any]:
    """All that the figures depend on but the code."""
    system = MazeSystem(USUAL)
    return {
        "maps": system.fingerprint,
        "choices": {name: chosen(one).fingerprint for name, one in CHOICES.items()},
    }


NEOHEBBIAN = Claim(
    "neohebbian",
    "Thermal neo-Hebbian synapses learn mazes fastest where their eligibility decays, neither at once nor not at all",
    measure,
    {
        "lowest_optimum": (1e-9, None),
        "highest_optimum": (None, 1.0 - 1e-9),
        "slow_decay_costs": (0.0, None),
        "fast_decay_costs": (0.0, None),
        "variability_costs": (0.0, None),
        "steps_per_second": (1e5, None),  # of processor time, over all runs of `CHOICES`
    },
    long=True,
    settings=settings,
    probe=probe,
)
