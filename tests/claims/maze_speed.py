"""How long the whole of Fig. 8 of arXiv 2411.18272 takes: four sizes of maze, 20 runs for each point of the map."""

from __future__ import annotations

import time

from claims.base import Claim, Figures, Report
from cosim.network.run import run_network
from cosim.network.systems.maze import RUNS, MazeSystem
from cosim.network.systems.maze_settings import MazeSettings
from cosim.report.maze_figures import maze_figures

MOST = 900.0  # s


def measure(tell: Report) -> Figures:
    """From nothing but the imports to the drawn map, in one process of one thread; some minutes."""
    clocks = time.perf_counter, time.process_time
    started = [clock() for clock in clocks]
    system = MazeSystem(MazeSettings(), alphas=())
    result = run_network(system, progress=lambda _, done, of: tell(f"mazes: {done} of {of} runs"))
    maze_figures(system, result.seeds[0])
    wall, processor = (clock() - begun for clock, begun in zip(clocks, started, strict=True))
    values = result.seeds[0].values
    return {
        "wall_seconds": wall,
        "processor_seconds": processor,
        "steps_per_second": values["steps"] / wall,
        "steps": values["steps"],
        "sizes": list(system.sizes),
        "points": len(system.points),
        "runs": RUNS * len(system.points),
        "missed": values["missed"],
        "processes": 1,
    }


MAZE_SPEED = Claim(
    "maze_speed",
    "All four mazes of Fig. 8, 20 runs for each point of the map, take at most 15 minutes of one process, at 100 000 "
    "steps of the agent a second or more",
    measure,
    {
        "wall_seconds": (None, MOST),
        "processor_seconds": (None, MOST),
        "steps_per_second": (1e5, None),  # of the clock on the wall, with compiling and all else
    },
)
