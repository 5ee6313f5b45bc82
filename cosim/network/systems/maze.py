"""Reinforcement learning in mazes with eligibility as temperature (arXiv 2411.18272, Sec. 5.1, Figs. 7-9).

Places spike onto four action neurons through differential pairs of thermal ReRAMs (`cosim.network.heated`). Two maps
are made, of every grid size: mean episodes to the benchmark against γ and variability (Fig. 8), and the share of runs
that reach it in time against γ and the temperature coefficient α, at one variability (Fig. 9). A point is some runs,
and those of all points share their grids and random numbers, run by run: two points differ by what they stand for.

γ is what a rise keeps of itself in a hardware step: with the time constant of the stack's heat solution each γ is a
length of that step. γ = 1 is a step too short to lose anything, γ = 0 one so long that all is lost before it is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.network.grid import Grid
from cosim.network.run import Purpose, RunResult, SeedResult, Streams, System
from cosim.network.simulation import Simulation
from cosim.network.systems.maze_settings import ACTIONS, MazeSettings, graph, step_time, synapse
from cosim.network.world import Ints
from cosim.surrogate.model import Surrogate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (3, 5, 7, 10)
GAMMAS = (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
VARIABILITIES = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)
ALPHAS = (0.0, 4e-4, 2e-3, 5e-3, 1e-2)
AT = 0.5  # variability of Fig. 9
RUNS = 20
IN_TIME = 10.0  # episodes per grid length within which Fig. 9 counts a success: our choice
DRAWS = 4000  # of the bootstrap
EPISODES, SUCCESSES = "episodes", "successes"


@dataclass(frozen=True)
class Point:
    """A point of a map: grid ``size``, ``gamma``, ``variability``, and ``alpha`` (1/K; None: the device's own)."""

    of: str
    size: int
    gamma: float
    variability: float
    alpha: float | None = None


@dataclass(frozen=True)
class MazeSystem(System):
    """Both maps; a seed is a whole set of runs.

    >>> from cosim.network.systems.maze_settings import MazeSettings
    >>> tiny = MazeSystem(MazeSettings(), sizes=(3,), gammas=(0.8,), variabilities=(0.0,), alphas=(), runs=2)
    >>> cosim.run_network(tiny).mean  # of the runs, those that learned
    1.0
    """

    name: ClassVar[str] = "maze"
    score: ClassVar[str] = "reached"

    settings: MazeSettings
    sizes: tuple[int, ...] = SIZES
    gammas: tuple[float, ...] = GAMMAS
    variabilities: tuple[float, ...] = VARIABILITIES
    alphas: tuple[float, ...] = ALPHAS
    at: float = AT
    runs: int = RUNS
    grid: Grid | None = None
    surrogate: Surrogate | None = None
    backend: str = "auto"

    def __post_init__(self) -> None:
        if self.grid is not None:
            object.__setattr__(self, "sizes", (self.grid.size,))
        for name in ("sizes", "gammas", "variabilities"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise InputError(f"a map needs different {name}, not {list(values)}", remedy="give each value once")
        if self.runs < 1:
            raise InputError(f"{self.runs} runs show nothing", remedy="give 1 or more")
        low, high = self.cells.map.device.param("alpha").bounds
        for alpha in self.alphas:
            if not low <= alpha <= high:
                raise InputError(
                    f"alpha is {alpha:g} 1/K", remedy=f"give a coefficient of {low:g}..{high:g} 1/K, the device's range"
                )
        for gamma in self.gammas:
            step_time(gamma, self.cells.parameters.resolved())
        for size in self.sizes:
            self.drawn(size, Streams(0), 0)

    @cached_property
    def cells(self) -> Surrogate:
        """Of all devices, before they differ."""
        if self.surrogate is None:
            return synapse(self.settings)
        if self.surrogate.device != "thermal_reram" or self.surrogate.name != "published":
            raise InputError(
                f"the surrogate is of the map {self.surrogate.name} of {self.surrogate.device}",
                remedy="take one of the map published of thermal_reram",
            )
        return self.surrogate

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """Of both maps, size by size."""
        found = []
        for size in self.sizes:
            found += [Point(EPISODES, size, gamma, v) for v in self.variabilities for gamma in self.gammas]
            found += [Point(SUCCESSES, size, gamma, self.at, a) for a in self.alphas for gamma in self.gammas]
        return tuple(found)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that the numbers depend on, but for the seed."""
        about = [
            self.settings.fingerprint(), [asdict(point) for point in self.points], self.runs,
            None if self.grid is None else self.grid.rows, self.cells.fingerprint(),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    @property
    def options(self) -> Mapping[str, str]:
        """Of the command line."""
        return {
            "sizes": str(self.sizes), "gamma": str(self.gammas), "variability": str(self.variabilities),
            "alpha": str(self.alphas), "runs": str(self.runs), "episodes": str(self.settings.episodes),
        }  # fmt: skip

    @property
    def batches(self) -> Sequence[int]:
        """Runs of each point."""
        return (self.runs,) * len(self.points)

    def drawn(self, size: int, streams: Streams, run: int) -> Grid:
        """The grid of a run."""
        if self.grid is not None:
            return self.grid
        traps = round(self.settings.traps * size)
        return Grid.drawn(size, traps, streams(Purpose.START, size, run))

    def start(self, streams: Streams) -> MazeRuns:
        """No runs yet."""
        return MazeRuns(self, streams)

    def to_dict(self, seeds: Sequence[SeedResult]) -> dict[str, Any]:
        """Settings, axes, parameter set."""
        p = self.cells.parameters.resolved()
        return {
            "settings": asdict(self.settings),
            "parameters": self.cells.parameters.name,
            "sizes": list(self.sizes),
            "gamma": list(self.gammas),
            "step_s": [step_time(gamma, p) for gamma in self.gammas],
            "variability": list(self.variabilities),
            "alpha_per_K": list(self.alphas),
            "alpha_at_variability": self.at,
            "runs": self.runs,
        }

    def lines(self, seeds: Sequence[SeedResult]) -> list[str]:
        """The optimum of each size, and what variability costs."""
        out = [
            f"mazes       {', '.join(f'{n} x {n}' for n in self.sizes)}; {self.cells.parameters.name}, "
            f"{self.settings.levels} levels, {self.runs} runs a point"
        ]
        for seed in seeds:
            out += [f"seed {seed.seed:<6} {line}" for line in told(seed.values)]
            rate = seed.values.steps / max(seed.seconds, 1e-9)
            out.append(f"            {seed.values.steps:.3g} agent steps in {seed.seconds:.1f} s, {rate:.2g} a second")
        return out

    def figures(self, result: RunResult) -> dict[str, Figure]:
        """Fig. 8 and Fig. 9 of the first seed."""
        from cosim.report.maze_figures import maze_figures

        return maze_figures(self, result.seeds[0])


def told(values: Mapping[str, Any]) -> list[str]:
    """What the maps say of each size, as sentences."""
    out = []
    for entry in values["optima"]:
        if entry["variability"] != min(e["variability"] for e in values["optima"]):
            continue
        low, high = entry["interval"]
        out.append(
            f"{entry['size']} x {entry['size']}: fewest episodes, {entry['episodes']:.1f}, at gamma {entry['gamma']:g} "
            f"(95 % of resamples {low:g} to {high:g}); "
            + ", ".join(f"{x['more']:+.1f} ± {x['error']:.1f} at {x['gamma']:g}" for x in entry["ends"])
        )
    out += [
        f"{entry['size']} x {entry['size']}: variability {entry['most']:.0%} costs {entry['more']:+.1f} ± "
        f"{entry['error']:.1f} episodes at gamma {entry['gamma']:g}"
        for entry in values["variability_costs"]
    ]
    if values["missed"]:
        out.append(f"{values['missed']} runs missed the benchmark and count with all their episodes")
    return out


class MazeRuns:
    """The runs of one seed, point by point."""

    def __init__(self, system: MazeSystem, streams: Streams) -> None:
        self.system, self.streams = system, streams
        shape = len(system.points), system.runs
        self.episodes, self.steps = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        self.reached = np.zeros(shape, dtype=np.int64)
        self._first: Simulation | None = None

    def learn(self, batch: int) -> None:
        """All runs of a point."""
        for run in range(self.system.runs):
            found = self.one(self.system.points[batch], run)
            self.episodes[batch, run], self.steps[batch, run], self.reached[batch, run] = found

    def one(self, point: Point, run: int) -> tuple[int, int, bool]:
        """Episodes and steps of a run, and whether it reached the benchmark."""
        system = self.system
        s = system.settings
        grid = system.drawn(point.size, self.streams, run)
        made, pause = graph(
            s, grid, gamma=point.gamma, variability=point.variability, alpha=point.alpha,
            rng=self.streams(Purpose.LEARN, point.size, run), cells=system.cells,
        )  # fmt: skip
        simulation = Simulation(made, backend=system.backend, like=self._first)
        self._first = self._first or simulation
        key = int(self.streams(Purpose.ORDER, point.size, run).integers(1 << 62))
        found = simulation.run(
            {ACTIONS: np.full((1, made[ACTIONS].size), s.bias)}, steps=s.steps(grid), key=key, fresh=True, gap=pause,
            episodes=s.episodes,
        ).episodes  # fmt: skip
        return len(found.steps), int(found.steps.sum()), simulation.streak >= s.enough

    def evaluate(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Optima with intervals, and what variability costs; episodes of all runs as arrays."""
        system, rng = self.system, self.streams(Purpose.EVALUATE)
        arrays, optima, costs = {}, list[dict[str, Any]](), list[dict[str, Any]]()
        for size in system.sizes:
            cube = self._cube(EPISODES, size, self.episodes)
            arrays[f"episodes_{size}"] = cube
            arrays[f"reached_{size}"] = self._cube(EPISODES, size, self.reached)
            for k, v in enumerate(system.variabilities):
                optima.append({"size": size, "variability": v, **optimum(cube[k], system.gammas, rng)})
            if len(system.variabilities) > 1:
                at = system.gammas.index(optima[-len(system.variabilities)]["gamma"])
                more = (cube[-1, at] - cube[0, at]).astype(float)
                named = {"size": size, "gamma": system.gammas[at], "most": system.variabilities[-1]}
                costs.append({**named, **_mean(more)})
            if system.alphas:
                arrays[f"alpha_episodes_{size}"] = self._cube(SUCCESSES, size, self.episodes)
                arrays[f"alpha_reached_{size}"] = self._cube(SUCCESSES, size, self.reached)
        values = {
            "reached": float(np.mean(self.reached)),
            "missed": int(np.sum(self.reached == 0)),
            "steps": int(self.steps.sum()),
            "optima": optima,
            "variability_costs": costs,
            "mean_episodes": {str(n): arrays[f"episodes_{n}"].mean(axis=2).tolist() for n in system.sizes},
            "success_ratio": {str(n): self.ratio(n, arrays).tolist() for n in system.sizes if system.alphas},
        }
        return values, arrays

    def ratio(self, size: int, arrays: Mapping[str, NDArray[Any]]) -> Array:
        """(α, γ) share of runs that reach the benchmark within `IN_TIME` episodes per grid length, over the largest of
        these shares, as the source has it.
        """
        return success_ratio(arrays[f"alpha_episodes_{size}"], arrays[f"alpha_reached_{size}"], size)

    def _cube(self, of: str, size: int, values: Ints) -> Ints:
        """(variabilities or alphas, gammas, runs) of a map."""
        chosen = [k for k, point in enumerate(self.system.points) if (point.of, point.size) == (of, size)]
        return values[chosen].reshape(-1, len(self.system.gammas), self.system.runs)

    def state(self) -> dict[str, NDArray[Any]]:
        """All runs so far."""
        return {"episodes": self.episodes.copy(), "steps": self.steps.copy(), "reached": self.reached.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `state`."""
        self.episodes, self.steps, self.reached = (state[name].copy() for name in ("episodes", "steps", "reached"))


def success_ratio(episodes: Ints, reached: Ints, size: int) -> Array:
    """(…, runs) → (…): runs in time, over the largest number of them in the map."""
    counts = ((reached == 1) & (episodes <= IN_TIME * size)).sum(axis=-1)
    found: Array = counts / max(counts.max(), 1)
    return found


def _mean(values: Array) -> dict[str, float]:
    """Mean and its standard error."""
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return {"more": float(np.mean(values)), "error": error}


def optimum(episodes: Ints, gammas: Sequence[float], rng: np.random.Generator) -> dict[str, Any]:
    """The γ with the fewest episodes (γ, runs), an interval, and how many more the ends of the axis need.

    The interval holds the optimum of 95 % of the resamples of the runs, which are drawn for all γ at once: they share
    their grids and random numbers.
    """
    means = episodes.mean(axis=1)
    best = int(np.argmin(means))
    chosen = rng.integers(episodes.shape[1], size=(DRAWS, episodes.shape[1]))
    places = np.argmin(episodes[:, chosen].mean(axis=2), axis=0)
    order = np.argsort(gammas)
    ranks = np.argsort(order)[places]
    low, high = (int(np.quantile(ranks, q, method="nearest")) for q in (0.025, 0.975))
    ends = [
        {"gamma": float(gammas[k]), **_mean((episodes[k] - episodes[best]).astype(float))}
        for k in (order[0], order[-1])
        if k != best
    ]
    return {
        "gamma": float(gammas[best]),
        "episodes": float(means[best]),
        "interval": [float(gammas[order[low]]), float(gammas[order[high]])],
        "ends": ends,
    }
