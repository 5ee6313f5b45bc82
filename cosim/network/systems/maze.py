"""Reinforcement learning in mazes with eligibility as temperature (arXiv 2411.18272, Sec. 5.1, Figs. 7-9).

Places spike onto four action neurons through differential pairs of thermal ReRAMs (`cosim.network.heated`). Two maps
are made, of every grid size: mean episodes to the benchmark against γ and variability (Fig. 8), and the share of runs
that reach it in time against γ and the temperature coefficient α, at one variability (Fig. 9). A point is some runs,
and those of all points share their grids and random numbers, run by run: two points differ by what they stand for.

γ is what a rise keeps of itself in a hardware step: with the time constant of the stack's heat solution each γ is a
length of that step. γ = 0 is one so long that all is lost before it is used. γ = 1, as all above `least_loss`, is a
mathematical limit without loss: its step would be shorter than the e-update that it has to hold.

What a map claims of its optimum, γ chosen on one half of the runs is measured on the other, and the other way round.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.network.grid import Grid
from cosim.network.heated import worth
from cosim.network.run import Purpose, RunResult, SeedResult, Streams, System
from cosim.network.simulation import Simulation
from cosim.network.systems.maze_settings import ACTIONS, MazeSettings, graph, least_loss, step_time, synapse
from cosim.network.world import Ints
from cosim.surrogate.gate import require_certified
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
FEWEST = 5  # runs from which their resamples make an interval: our choice
KEPT = ("episodes", "steps", "reached", "beyond", "pulses", "spent")  # of each run
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
        for name in ("sizes", "gammas", "variabilities", "alphas"):
            values = getattr(self, name)
            if (not values and name != "alphas") or len(set(values)) != len(values):
                raise InputError(f"a map needs different {name}, not {list(values)}", remedy="give each value once")
        for name in ("gammas", "variabilities"):
            object.__setattr__(self, name, tuple(sorted(getattr(self, name))))
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
        require_certified(self.surrogate)
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

    @property
    def limits(self) -> tuple[float, ...]:
        """Those γ that no step of the hardware has."""
        most = least_loss(self.settings, self.cells.parameters.resolved())
        return tuple(gamma for gamma in self.gammas if gamma > most)

    @property
    def tested(self) -> tuple[float, float]:
        """The numbers of pulses for which the surrogate is certified, or else the devices' map is tested."""
        certificate = self.cells.certificate
        return self.cells.map.inputs["pulses"].range if certificate is None else certificate.domain.inputs["pulses"]

    def drawn(self, size: int, streams: Streams, run: int) -> Grid:
        """The grid of a run."""
        if self.grid is not None:
            return self.grid
        traps, most = round(self.settings.traps * size), size * size // 2
        if size >= 2 and traps > most:
            raise InputError(
                f"{self.settings.traps:g} traps per grid length are {traps} in {size} x {size} cells, and at most half "
                "of them can be traps",
                remedy=f"give {most / size:.3g} or fewer per grid length",
            )
        return Grid.drawn(size, traps, streams(Purpose.START, size, run))

    def start(self, streams: Streams) -> MazeRuns:
        """No runs yet."""
        return MazeRuns(self, streams)

    def to_dict(self, seeds: Sequence[SeedResult]) -> dict[str, Any]:
        """Settings, axes, parameter set."""
        p = self.cells.parameters.resolved()
        return {
            "settings": asdict(self.settings) | ({} if self.grid is None else {"traps": None}),
            **({} if self.grid is None else {"grid": list(self.grid.rows)}),
            "parameters": self.cells.parameters.name,
            "sizes": list(self.sizes),
            "gamma": list(self.gammas),
            "step_s": [None if gamma in self.limits else step_time(gamma, p) for gamma in self.gammas],
            "gamma_of_shortest_step": least_loss(self.settings, p),
            "pulses_tested": list(self.tested),
            "variability": list(self.variabilities),
            "alpha_per_K": list(self.alphas),
            "alpha_at_variability": self.at,
            "runs": self.runs,
        }

    def lines(self, seeds: Sequence[SeedResult]) -> list[str]:
        """The optimum of each size, and what variability costs."""
        out = [
            f"mazes       {', '.join(f'{n} x {n}' for n in self.sizes)}; {self.cells.parameters.name}, "
            f"{self.settings.levels} levels, {self.runs} {'run' if self.runs == 1 else 'runs'} a point"
        ]
        if self.limits:
            most = least_loss(self.settings, self.cells.parameters.resolved())
            out.append(
                f"            gamma {', '.join(f'{g:g}' for g in self.limits)}: a limit without loss, not a step; the "
                f"shortest that holds an e-update has {most:.3g}"
            )
        for seed in seeds:
            out += [f"seed {seed.seed:<6} {line}" for line in told(seed.values, self.settings.episodes)]
            if seed.values.writes_beyond:
                known = "tested" if self.cells.certificate is None else "certified"
                out.append(
                    f"            {seed.values.writes_beyond:.2%} of the writes are beyond the {self.tested[0]:g} to "
                    f"{self.tested[1]:g} pulses for which the devices' map is {known}: {seed.values.pulses[0]:.3g} to "
                    f"{seed.values.pulses[1]:.3g}"
                )
            rate = seed.values.steps / max(seed.seconds, 1e-9)
            out.append(f"            {seed.values.steps:.3g} agent steps in {seed.seconds:.1f} s, {rate:.2g} a second")
        return out

    def figures(self, result: RunResult) -> dict[str, Figure]:
        """Fig. 8 and Fig. 9 of the first seed."""
        from cosim.report.maze_figures import maze_figures

        return maze_figures(self, result.seeds[0])


def _more(entry: Mapping[str, Any]) -> str:
    """How many episodes more, with the error where there is one."""
    return f"{entry['more']:+.1f}" + (f" ± {entry['error']:.1f}" if entry["error"] else " (no error is known)")


def told(values: Mapping[str, Any], episodes: int) -> list[str]:
    """What the maps of runs of at most ``episodes`` say of each size, as sentences."""
    out = []
    for entry in values["optima"]:
        if entry["variability"] != min(e["variability"] for e in values["optima"]):
            continue
        if entry["gamma"] is None:
            out.append(
                f"{entry['size']} x {entry['size']}: no run reached the benchmark before its last episode, so no gamma "
                "is the best"
            )
            continue
        if entry["interval"] is None:
            interval = f"no interval of fewer than {FEWEST} runs"
        else:
            low, high = entry["interval"]
            interval = f"95 % of resamples {low:g} to {high:g}"
            if entry["unsuccessful"]:
                interval += f", but for the {entry['unsuccessful']:.1%} of them without a success"
        best = " and ".join(f"{gamma:g}" for gamma in (entry["gamma"], *entry.get("tied", ())))
        out.append(
            f"{entry['size']} x {entry['size']}: fewest episodes, {entry['episodes']:.1f}, at gamma {best}"
            f"{' alike' if entry.get('tied') else ''} "
            f"({interval}); " + ", ".join(f"{_more(x)} at {x['gamma']:g}" for x in entry["ends"])
        )
    lost = {(entry["size"], entry["variability"]) for entry in values["optima"] if entry["gamma"] is None}
    for entry in values["variability_costs"]:
        size, at, against = entry["size"], entry["at"], entry["against"]
        if none := [v for v in (against, at) if (size, v) in lost]:
            said = f"not known: at {' and '.join(f'{v:.0%}' for v in none)} no run reached the benchmark in time"
            out.append(f"{size} x {size}: what variability {at:.0%} costs against {against:.0%} is {said}")
        else:
            out.append(
                f"{size} x {size}: {_more(entry)} episodes at variability {at:.0%} against {against:.0%}, at the best "
                "gamma of the latter"
            )
    if values["missed"]:
        runs, count = ("run", "counts") if values["missed"] == 1 else ("runs", "count")
        out.append(
            f"{values['missed']} {runs} missed the benchmark within {episodes} episodes and {count} with as "
            "many: means with such runs are lower bounds"
        )
    return out


class MazeRuns:
    """The runs of one seed, point by point."""

    def __init__(self, system: MazeSystem, streams: Streams) -> None:
        self.system, self.streams = system, streams
        shape = len(system.points), system.runs
        self.episodes, self.steps = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        self.reached, self.beyond = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        self.pulses = np.zeros((*shape, 2))
        self.spent = np.zeros(shape)  # s of processor time
        self._first: Simulation | None = None

    def learn(self, batch: int) -> None:
        """All runs of a point."""
        for run in range(self.system.runs):
            began = time.process_time()
            found, rewards = self.one(self.system.points[batch], run)
            self.episodes[batch, run], self.steps[batch, run], self.reached[batch, run] = found
            s, size = self.system.settings, self.system.points[batch].size
            pulses = s.pulses * worth(rewards, s.rewards.best * size, s.chi)
            low, high = self.system.tested
            self.beyond[batch, run] = np.sum((pulses < low) | (pulses > high))
            self.pulses[batch, run] = np.min(pulses), np.max(pulses)
            self.spent[batch, run] = time.process_time() - began

    def one(self, point: Point, run: int) -> tuple[tuple[int, int, bool], Array]:
        """Episodes and steps of a run, and whether it reached the benchmark; the reward of each episode."""
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
        return (len(found.steps), int(found.steps.sum()), simulation.streak >= s.enough), found.rewards

    def evaluate(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Optima with intervals, and what variability costs; episodes of all runs as arrays."""
        system, rng = self.system, self.streams(Purpose.EVALUATE)
        arrays, optima, costs = {}, list[dict[str, Any]](), list[dict[str, Any]]()
        for size in system.sizes:
            cube = self._cube(EPISODES, size, self.episodes)
            arrays[f"episodes_{size}"] = cube
            arrays[f"reached_{size}"] = self._cube(EPISODES, size, self.reached)
            for k, v in enumerate(system.variabilities):
                best = optimum(cube[k], system.gammas, rng, most=system.settings.episodes)
                if best["unsuccessful"] == 1.0:  # all ran to the last episode: their order says nothing
                    best |= {"gamma": None, "tied": [], "ends": []}
                optima.append({"size": size, "variability": v, **best})
            for k, v in enumerate(system.variabilities[1:], start=1):
                more = _mean(chosen_apart(cube[0], cube[k] - cube[0]))
                costs.append({"size": size, "at": v, "against": system.variabilities[0], **more})
            if system.alphas:
                arrays[f"alpha_episodes_{size}"] = self._cube(SUCCESSES, size, self.episodes)
                arrays[f"alpha_reached_{size}"] = self._cube(SUCCESSES, size, self.reached)
        values = {
            "reached": float(np.mean(self.reached)),
            "missed": int(np.sum(self.reached == 0)),
            "steps": int(self.steps.sum()),
            "processor_seconds": {
                of: float(self.spent[[k for k, point in enumerate(system.points) if point.of == of]].sum())
                for of in (EPISODES, SUCCESSES)
            },
            "writes_beyond": float(self.beyond.sum() / self.episodes.sum()),
            "pulses": [float(self.pulses[..., 0].min()), float(self.pulses[..., 1].max())],
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
        return {name: getattr(self, name).copy() for name in KEPT}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `state`."""
        for name in KEPT:
            setattr(self, name, state[name].copy())


def success_ratio(episodes: Ints, reached: Ints, size: int, in_time: float = IN_TIME) -> Array:
    """(…, runs) → (…): runs within ``in_time`` episodes per grid length, over the largest number of them in the map."""
    counts = ((reached == 1) & (episodes <= in_time * size)).sum(axis=-1)
    found: Array = counts / max(counts.max(), 1)
    return found


def _mean(values: Array) -> dict[str, float]:
    """Mean and its standard error, which a lone run does not have and runs that are all alike do not show: 0."""
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return {"more": float(np.mean(values)), "error": error}


def chosen_apart(episodes: Ints, values: Ints) -> Array:
    """Of ``values`` (γ, runs) those at the γ with the fewest ``episodes`` (γ, runs), (runs,).

    γ of each half of the runs (every second) is chosen on the other half: no run is measured at what it chose. A lone
    run has no other.
    """
    runs = episodes.shape[1]
    found = np.empty(runs)
    for half in range(min(runs, 2)):
        others = np.arange(runs) % 2 != half if runs > 1 else np.ones(1, dtype=bool)
        found[half::2] = values[int(np.argmin(episodes[:, others].mean(axis=1))), half::2]
    return found


def optimum(
    episodes: Ints, gammas: Sequence[float], rng: np.random.Generator, *, most: float = np.inf
) -> dict[str, Any]:
    """The γ with the fewest episodes (γ, runs), an interval, and how many more the two γ at either end need.

    Of several γ with the fewest the lowest is ``gamma``; the others are ``tied``, and the interval spans them all. It
    holds the optimum of 95 % of the resamples of the runs, which are drawn for all γ at once: they share their grids
    and random numbers. Within a resample a tie goes to its lowest γ. Fewer than `FEWEST` runs have no interval (None).
    A resample all of whose runs take ``most`` episodes, at every γ, says nothing and is left out: ``unsuccessful`` is
    the share of those, and without others the interval is None. What the ends need more is against the best γ of the
    other half of the runs.
    """
    order = np.argsort(gammas)
    episodes, values = episodes[order], [float(gammas[k]) for k in order]
    means, runs = episodes.mean(axis=1), episodes.shape[1]
    best = [int(k) for k in np.flatnonzero(means == means.min())]
    drawn = episodes[:, rng.integers(runs, size=(DRAWS, runs))].mean(axis=2)
    useful = np.any(drawn < most, axis=0)
    places = np.argmin(drawn[:, useful], axis=0)
    interval = None
    if places.size and runs >= FEWEST:
        low, high = (int(np.quantile(places, q, method="nearest")) for q in (0.025, 0.975))
        interval = [values[min(low, best[0])], values[max(high, best[-1])]]
    ends = [
        {"gamma": values[k], **_mean(chosen_apart(episodes, episodes[k] - episodes))}
        for k in range(len(values))
        if k < 2 or k >= len(values) - 2
    ]
    return {
        "gamma": values[best[0]],
        "tied": [values[k] for k in best[1:]],
        "episodes": float(means[best[0]]),
        "interval": interval,
        "unsuccessful": 1.0 - float(useful.mean()),
        "ends": ends,
    }
