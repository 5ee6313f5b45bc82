"""A world in the compiled loop: where an episode begins, the answer to a step's spikes, and what is noted of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cosim.network.graph import Graph, Population
from cosim.network.noise import FIELDS
from cosim.network.world import STARTS

if TYPE_CHECKING:
    from cosim.network.kernel import Text
    from cosim.network.simulation import Job, Simulation


def acts(graph: Graph, one: Population) -> bool:
    """Whether these neurons act in the graph's world."""
    return graph.world is not None and graph.world.actions == one.name


def sees(graph: Graph, one: Population) -> bool:
    """Whether the world drives these neurons."""
    return graph.world is not None and graph.world.places == one.name


def begin(text: Text, graph: Graph) -> None:
    """Before the first step of an episode."""
    if graph.world is not None:
        text.add(
            f"drawn = np.empty({FIELDS})",
            f"draw_uniform(key_of(item, {STARTS}), 0, 1, drawn)",
            "place = world_starts[np.int64(drawn[0] * world_starts.shape[0])]",
            "total, end, t = 0.0, 0, 0",
        )


def answer(text: Text, graph: Graph, places: Mapping[str, int]) -> None:
    """The answer to a step's spikes; ``places`` are the populations' numbers."""
    if graph.world is None:
        return
    actions = places[graph.world.actions]
    rows = graph.depth[graph.world.actions] + 1
    row = "0" if rows == 1 else f"t % {rows}"
    with text.under(f"if g{actions}[{row}] > 0:"):
        text.add(f"act = f{actions}[{row}, 0]", "total += world_rewards[place, act]")
        text.add("end = world_ends[place, act]", "place = world_leads[place, act]")
    with text.under("if end != 0:"):
        text.add("break")


def note(text: Text, graph: Graph, places: Mapping[str, int]) -> None:
    """After the last step of an episode, before the rules' `on_end`."""
    if graph.world is not None:
        text.add(
            "noted_rewards[k], noted_steps[k], noted_ends[k] = total, t + 1, end",
            "streak[0], streak[1] = streak[0] + 1 if end > 0 else 0, k + 1",
            f"x{places[graph.world.actions]}_signal[:] = total",
        )


def end(text: Text, graph: Graph) -> None:
    """After an episode and all that follows it."""
    if graph.world is not None:
        with text.under("if enough > 0 and streak[0] >= enough:"):
            text.add("break")


def arguments(graph: Graph, job: Job | None, streak: int) -> dict[str, Any]:
    """What the kernel takes of the world, by name."""
    world = graph.world
    if world is None:
        return {}
    found: dict[str, Any] = {f"world_{name}": getattr(world, name) for name in ("leads", "rewards", "ends", "starts")}
    found |= {"enough": world.enough, "streak": np.array([streak, 0])}  # and how many episodes there were
    names = ("rewards", "steps", "ends")
    return found | {f"noted_{name}": None if job is None else getattr(job.episodes, name) for name in names}


def finish(simulation: Simulation, job: Job, arguments: Mapping[str, Any]) -> None:
    """Take over what a run noted of its episodes."""
    if simulation.graph.world is not None:
        simulation.streak, job.done[0] = (int(x) for x in arguments["streak"])
