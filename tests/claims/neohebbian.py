"""Thermal neo-Hebbian synapses at network level: mazes (arXiv 2411.18272, Sec. 5.1), with all that is our choice.

The source's heatmaps have no numbers in its text; it states where the optimum lies, what variability does, and what α
does with growing grids. Fig. 7(b)'s rewards are not in the text either: the claim is for those that we chose, and
`CHOICES` changes choices of ours one at a time. Where it does not hold is counted, and told.
``./run reproduce neohebbian`` writes ``cosim-out/neohebbian``: figures, and a page with the source's statements beside.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from claims.base import Claim, Figures, Report, resuming
from cosim.network.grid import Rewards
from cosim.network.run import RunResult, run_network
from cosim.network.systems.maze import MazeSystem, success_ratio
from cosim.network.systems.maze_settings import MazeSettings, least_loss
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
    "worst 0.5": USUAL.with_(rewards=Rewards(worst=0.5)),
    "chi 0.4": USUAL.with_(chi=0.4),
    "chi 0.6": USUAL.with_(chi=0.6),
    "traps 0": USUAL.with_(traps=0.0),
    "pulses 20": USUAL.with_(pulses=20.0),
    "pulses 80": USUAL.with_(pulses=80.0),
    "unit 0.05": USUAL.with_(unit=0.05),
    "unit 0.2": USUAL.with_(unit=0.2),
    "keep 0.25": USUAL.with_(keep=0.25),
    "keep 0.75": USUAL.with_(keep=0.75),
    "noise 0.1": USUAL.with_(noise=0.1),
    "noise 0.4": USUAL.with_(noise=0.4),
    "bias 0.2": USUAL.with_(bias=0.2),
    "gain 2": USUAL.with_(gain=2.0),
    "episodes of 10 n²": USUAL.with_(longest=10.0),
}
IN_TIMES = (5.0, 10.0, 20.0)  # episodes per grid length that count as in time
RUNS = 40  # of the maps; each choice has 20
DRAWS = 1000  # of the bootstrap
FAST, STEP, LIMIT = 0.2, 0.95, 1.0  # γ: the lowest that learns at all, the highest that is a step, and no loss
GAMMAS = (0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0)


def chosen(settings: MazeSettings) -> MazeSystem:
    """Both large grids without variability."""
    return MazeSystem(settings, sizes=LARGE, gammas=GAMMAS, variabilities=(0.0,), alphas=())


def optima(result: RunResult, variability: float = 0.0) -> dict[int, dict[str, Any]]:
    """The optimum of each size at one variability."""
    return {x["size"]: x for x in result.seeds[0].values["optima"] if x["variability"] == variability}


def against(entry: Mapping[str, Any], gamma: float) -> Mapping[str, float]:
    """How many episodes one ``gamma`` needs more than the optimum ``entry``."""
    return next(x for x in entry["ends"] if x["gamma"] == gamma)


def inside(entry: Mapping[str, Any]) -> bool:
    """Whether the whole interval lies between the lowest γ that learns and the limit without loss."""
    return entry["interval"] is not None and bool(entry["interval"][0] > FAST and entry["interval"][1] < LIMIT)


def usual() -> MazeSystem:
    """Both maps."""
    return MazeSystem(USUAL, runs=RUNS)


def measure(tell: Report) -> Figures:
    """The maps, and each choice alone; minutes of processor time."""
    system = usual()
    tell("maps")
    whole = run_network(
        system,
        folder=FOLDER / "maps",
        resume=resuming(),
        progress=lambda _, done, of: tell(f"maps: {done} of {of} runs"),
    )
    run_network(chosen(USUAL.with_(episodes=USUAL.enough)))  # compiles
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
                "inside": inside(best[size]),
                "pulses": np.round(found.seeds[0].values["pulses"], 1).tolist(),
                "writes_beyond": round(found.seeds[0].values["writes_beyond"], 4),
            }
    rate = steps / (time.process_time() - started)
    seed = whole.seeds[0]
    best = optima(whole)
    costs = seed.values["variability_costs"]
    figures: Figures = {
        "lowest_optimum": min(best[n]["interval"][0] for n in LARGE),
        "highest_optimum": max(best[n]["interval"][1] for n in LARGE),
        "no_loss_costs": min(_surely(against(best[n], LIMIT)) for n in LARGE),
        "slowest_decay_costs": min(_surely(against(best[n], STEP)) for n in LARGE),
        "fast_decay_costs": min(_surely(against(best[n], FAST)) for n in LARGE),
        "variability_costs": _surely(together([x for x in costs if x["at"] == 0.5])),
        "variability_half": together([x for x in costs if x["at"] == 0.5]),
        "choices_inside": sum(all(others[str(n)][name]["inside"] for n in LARGE) for name in CHOICES),
        "choices_tried": len(CHOICES),
        "steps_per_second": rate,
        "optima": seed.values["optima"],
        "costs": costs,
        "mean_episodes": seed.values["mean_episodes"],
        "success_ratio": seed.values["success_ratio"],
        "alpha_spread": {str(n): spreads(seed.arrays, n) for n in system.sizes},
        "writes_beyond": seed.values["writes_beyond"],
        "pulses": seed.values["pulses"],
        "missed": seed.values["missed"],
        "steps": seed.values["steps"],
        "choices": others,
        "axes": {"gamma": system.gammas, "variability": system.variabilities, "alpha": system.alphas},
    }
    show(whole, figures)
    return figures


def together(entries: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of differences in grids that have no run in common."""
    more, error = ([x[name] for x in entries] for name in ("more", "error"))
    return {"more": float(np.mean(more)), "error": float(np.linalg.norm(error) / len(error))}


def _surely(entry: Mapping[str, float]) -> float:
    """What is left of a difference of two standard errors."""
    return entry["more"] - 2.0 * entry["error"]


def alpha_spread(ratio: Any) -> float:
    """Mean over γ > 0 of the range of the success ratio over α, (α, γ)."""
    return float(np.mean(np.ptp(ratio, axis=0)[1:]))


def spreads(arrays: Mapping[str, Any], size: int) -> dict[str, dict[str, float]]:
    """`alpha_spread` of a size for each of `IN_TIMES`, with its bootstrap error, and what it is where α does nothing:
    the same with the α of each run and γ shuffled.
    """
    episodes, reached = arrays[f"alpha_episodes_{size}"], arrays[f"alpha_reached_{size}"]
    out = {}
    for in_time in IN_TIMES:
        rng, again, chance = np.random.default_rng(size), [], []
        for _ in range(DRAWS):
            runs = rng.integers(episodes.shape[2], size=episodes.shape[2])
            again.append(alpha_spread(success_ratio(episodes[..., runs], reached[..., runs], size, in_time)))
            order = np.argsort(rng.random(episodes.shape), axis=0)
            counts, hits = (np.take_along_axis(x, order, axis=0) for x in (episodes, reached))
            chance.append(alpha_spread(success_ratio(counts, hits, size, in_time)))
        out[f"{in_time:g} n"] = {
            "spread": alpha_spread(success_ratio(episodes, reached, size, in_time)),
            "error": float(np.std(again, ddof=1)),
            "by_chance": float(np.mean(chance)),
            "by_chance_error": float(np.std(chance, ddof=1)),
        }
    return out


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
    page.text(
        "γ = 1 is a limit without loss and not a step of the hardware: the shortest that holds an e-update has γ = "
        f"{least_loss(USUAL, whole.system.cells.parameters.resolved()):.3f}. "
        f"Of the writes {figures['writes_beyond']:.2%} are beyond the pulses for which the devices' map is tested "
        f"({whole.system.tested[0]:g} to {whole.system.tested[1]:g}): there are {figures['pulses'][0]:.1f} to "
        f"{figures['pulses'][1]:.1f}."
    )
    best, rows = optima(whole), []
    for n in LARGE:
        within = source("Sec. 5.1 and Fig. 8", above=FAST, below=LIMIT, statement="an optimal γ inside the axis")
        rows.append(Row(f"{n} x {n}: ends of the optimum's 95 % interval", best[n]["interval"], within))
        slow = source("Sec. 5.1", above=0.0, statement="fast and slow decay take more episodes")
        for gamma in (FAST, STEP, LIMIT):
            end = against(best[n], gamma)
            note = f"{end['more']:.1f} ± {end['error']:.1f}; shown is that less two errors"
            rows.append(Row(f"{n} x {n}: episodes more at γ = {gamma:g}", _surely(end), slow, note=note))
    for x in figures["costs"]:
        note = f"{x['more']:.1f} ± {x['error']:.1f}; shown is that less two errors"
        note += "; C_v turns 16 % of the writes around" if x["at"] == 1.0 else ""
        costs = source("Sec. 5.1", above=0.0, statement="episodes rise with variability")
        quantity = f"{x['size']} x {x['size']}: episodes more at {x['at']:.0%} than at {x['against']:.0%}"
        rows.append(Row(quantity, _surely(x), costs, note=note))
    half = figures["variability_half"]
    note = f"mean of the grids, {half['more']:.1f} ± {half['error']:.1f}; shown is that less two errors"
    rows.append(Row("all grids: episodes more at 50 %", _surely(half), costs, note=note))
    spread = figures["alpha_spread"]
    small, large = (spread[str(n)]["10 n"] for n in (whole.system.sizes[0], whole.system.sizes[-1]))
    less = source("Sec. 5.1 and Fig. 9", above=0.0, statement="α matters less in larger grids")
    note = (
        f"mean over γ of the range of the success ratio over α: {small['spread']:.3f} ± {small['error']:.3f} less "
        f"{large['spread']:.3f} ± {large['error']:.3f}; were α nothing, {small['by_chance']:.3f} and "
        f"{large['by_chance']:.3f}"
    )
    gap = small["spread"] - large["spread"]
    rows.append(Row("α's effect in the smallest grid less that in the largest", gap, less, note=note))
    page.table(COLUMNS, [row.cells() for row in rows])
    page.section("What is our choice").text(
        "Fig. 7(b)'s rewards are not in the source's text. Each curve changes one choice; the others stay. In "
        f"{figures['choices_inside']} of {figures['choices_tried']} the optimum's interval lies inside {FAST:g} < γ < "
        f"{LIMIT:g} in both grids."
    )
    columns = ("choice", *(f"{n} × {n}: optimum, 95 %" for n in LARGE), "pulses of a write")
    page.table(columns, table(figures["choices"]))
    for n in LARGE:
        choices = figures["choices"][str(n)]
        limit = least_loss(USUAL, whole.system.cells.parameters.resolved())
        drawn = plot_choices(
            choices, gammas=GAMMAS, limit=limit, title=f"{n} × {n}, no variability: one choice changed"
        )
        save(drawn, FOLDER / f"choices_{n}.png")
        page.figure(drawn, f"{n} × {n}: mean and standard error of 20 runs.")
    page.write(FOLDER / "neohebbian.html")


def table(choices: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row for each choice: its name, optimum and interval in each large grid, and pulses in both."""
    rows = []
    for name in choices[str(LARGE[0])]:
        each = [choices[str(n)][name] for n in LARGE]
        optimal = (
            "no run reached it"
            if x["interval"] is None
            else f"{x['gamma']:g} ({x['interval'][0]:g} to {x['interval'][1]:g})"
            for x in each
        )
        low, high = zip(*(x["pulses"] for x in each), strict=True)
        rows.append((name, *optimal, f"{min(low):g} to {max(high):g}"))
    return rows


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
    system = usual()
    return {
        "maps": system.fingerprint,
        "choices": {name: chosen(one).fingerprint for name, one in CHOICES.items()},
    }


NEOHEBBIAN = Claim(
    "neohebbian",
    "Thermal neo-Hebbian synapses learn mazes of 7 x 7 and 10 x 10 places fastest where their eligibility decays, "
    "neither at once nor not at all: without variability, and for the chosen rewards (with four times "
    "the penalty of a step, no decay is as good)",
    measure,
    {
        "lowest_optimum": (FAST + 1e-9, None),
        "highest_optimum": (None, LIMIT - 1e-9),
        "no_loss_costs": (0.0, None),
        "fast_decay_costs": (0.0, None),
        "variability_costs": (0.0, None),
        "steps_per_second": (1e5, None),  # of processor time, over all runs of `CHOICES`
    },
    long=True,
    settings=settings,
    probe=probe,
)
