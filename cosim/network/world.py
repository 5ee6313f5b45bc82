"""A world that answers a network's spikes: a finite Markov decision process, as tables.

One population says where the agent is: the neuron of its place is driven in each step, and fires. Another one acts: the
neuron that fires chooses what is done (of several the first; without a spike the agent stays, and nothing is rewarded).
A presentation is an episode. It begins at one of ``starts``, drawn anew, and ends where the world says so, or after the
run's steps. The rewards so far are the teaching signal of the acting population, in the rule's `on_end` all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.errors import InputError, UnknownName
from cosim.network.noise import UNIFORM, draws, key_of

if TYPE_CHECKING:
    from cosim.network.graph import Graph
    from cosim.network.simulation import Job

Ints = NDArray[np.int64]
STARTS = (1 << 16) - 1  # the place of its random numbers, below those of the rules


@dataclass(frozen=True, eq=False)
class World:
    """Tables of what an action does.

    Args:
        places, actions: names of the populations that see and act.
        leads: (places, actions) the place after an action.
        rewards: (places, actions) what it brings.
        ends: (places, actions) 1 where it ends the episode as a success, -1 as a failure, 0 where the episode goes on.
        starts: places where an episode may begin, all alike.
        enough: successes in a row after which a run stops; 0: it does not.
    """

    places: str
    actions: str
    leads: Ints
    rewards: Array
    ends: Ints
    starts: Ints
    enough: int = 0

    def __post_init__(self) -> None:
        shape = np.shape(self.leads)
        for name, kind in (("leads", np.int64), ("rewards", np.float64), ("ends", np.int64), ("starts", np.int64)):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=kind))
        if len(shape) != 2 or self.rewards.shape != shape or self.ends.shape != shape:
            raise InputError(
                f"the tables of a world have the shapes {shape}, {self.rewards.shape} and {self.ends.shape}",
                remedy="give each of them as places x actions",
            )
        for name, chosen in (("leads", self.leads), ("starts", self.starts)):
            if chosen.size == 0 or chosen.min() < 0 or chosen.max() >= shape[0]:
                raise InputError(f"{name} of a world has to name places 0..{shape[0] - 1}")
        if not np.all(np.isfinite(self.rewards)):
            raise InputError("a world's rewards hold values that are not finite")
        if self.enough < 0:
            raise InputError(f"a run cannot stop after {self.enough} successes", remedy="give 0 or more")

    def require(self, graph: Graph) -> None:
        """Raises `InputError` or `UnknownName` where the world does not fit a graph."""
        names = [one.name for one in graph.populations]
        for what, name, size in (
            ("sees", self.places, self.leads.shape[0]), ("acts", self.actions, self.leads.shape[1]),
        ):  # fmt: skip
            if name not in names:
                raise UnknownName(f"population that {what} in the world", name, names)
            if graph[name].size != size:
                raise InputError(f"{name} {what} in a world of {size}, and has {graph[name].size} neurons")
            if not graph[name].model.spiking:
                raise InputError(f"the neurons of {name} do not spike, and so cannot take part in a world")
        if graph[self.places].encoder is not None:
            raise InputError(f"{self.places} is driven by the world, and cannot have an encoder")
        if any(p.target == self.actions and p.into == "signal" for p in graph.projections):
            raise InputError(
                f"the teaching signal of {self.actions} is the world's reward, and cannot come from neurons"
            )

    def start(self, key: int) -> int:
        """Where the episode with this key begins."""
        drawn = draws(key_of(key, STARTS), UNIFORM, first=0, steps=1, n=1)[0, 0]
        return int(self.starts[int(drawn * self.starts.size)])


@dataclass(frozen=True)
class Episodes:
    """What came of the episodes of a run, (episodes,) each: the sum of rewards, the steps, and how it ended (1, -1; 0:
    the steps were over).
    """

    rewards: Array
    steps: Ints
    ends: Ints

    @classmethod
    def empty(cls, count: int) -> Episodes:
        """Room for ``count`` of them."""
        return cls(np.zeros(count), np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64))

    def __getitem__(self, part: slice) -> Episodes:
        """Some of them, as views."""
        return Episodes(self.rewards[part], self.steps[part], self.ends[part])


class Visit:
    """An episode as the loop in numpy sees it."""

    def __init__(self, world: World, job: Job) -> None:
        self.world, self.episodes = world, job.episodes

    def begin(self, key: int) -> None:
        """A new episode."""
        self.place, self.total, self.end, self.steps = self.world.start(key), 0.0, 0, 0

    def answer(self, fired: Ints) -> bool:
        """Take the step that the spikes choose; whether the episode is over."""
        self.steps += 1
        if fired.size:
            at = self.place, int(fired[0])
            self.total += float(self.world.rewards[at])
            self.end, self.place = int(self.world.ends[at]), int(self.world.leads[at])
        return self.end != 0

    def note(self, item: int, streak: int) -> int:
        """Write the episode down; the successes in a row after it."""
        self.episodes.rewards[item], self.episodes.steps[item] = self.total, self.steps
        self.episodes.ends[item] = self.end
        return streak + 1 if self.end > 0 else 0
