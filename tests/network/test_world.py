"""Worlds that answer spikes, devices with levels, graphs that share their loops; and what is refused."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from cosim.errors import InputError, UnknownName
from cosim.network import (
    LIF,
    Answers,
    Current,
    Graph,
    Ideal,
    Leaky,
    Local,
    Population,
    Projection,
    Rule,
    Simulation,
    Source,
    WinnerTakesAll,
)
from cosim.network.alike import alike
from cosim.network.rules import Given
from cosim.network.world import World

CELLS = 5
RIGHT = 1


def corridor(*, enough: int = 5, **changes: object) -> World:
    """Five cells in a row with a success at the right end and a failure at the left one."""
    place = np.arange(CELLS)
    leads = np.stack([np.maximum(place - 1, 0), np.minimum(place + 1, CELLS - 1)], axis=1)
    ends = np.zeros((CELLS, 2), dtype=np.int64)
    ends[CELLS - 2, RIGHT], ends[1, 0] = 1, -1
    given = {"leads": leads, "rewards": ends - 0.1 * (ends <= 0), "ends": ends, "starts": place[1:-1], **changes}
    return World("places", "actions", **given, enough=enough)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Traced(Rule):
    states: ClassVar = {"e": 0.0}

    rate: float = 0.02

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        return {"rate": self.rate}

    def on_pre(self, s: Local) -> Given:
        return {"e": s.own.e + s.post.spike}

    def on_step(self, s: Local) -> Given:
        return {"e": s.own.e * 0.9}

    def on_gap(self, s: Local) -> Given:
        return {}

    def on_end(self, s: Local) -> Given:
        return {"change": s.p.rate * s.post.signal * s.own.e}


def agent(world: World, *, rate: float = 0.02, levels: int = 0, start: float = 0.0, dt: float = 1.0) -> Graph:
    neuron = LIF(tau=2.0, threshold=-100.0, reset=-101.0, refractory=0.0)
    return Graph(
        (
            Population("places", CELLS, Source()),
            Population("actions", 2, neuron, Current(noise=1.0), WinnerTakesAll()),
        ),
        (
            Projection(
                "places", "actions", Ideal(-1.0, 1.0), np.full((CELLS, 2), start), rule=Traced(rate), levels=levels
            ),
        ),
        dt,
        world,
    )


def lived(graph: Graph, *, backend: str, episodes: int = 300, **options: object) -> tuple[Answers, Simulation]:
    simulation = Simulation(graph, backend=backend)
    given = {"steps": 50, "key": 3, "fresh": True, **options}
    found = simulation.run({"actions": np.full((1, 2), 0.1)}, episodes=episodes, **given)  # type: ignore[arg-type]
    return found, simulation


def test_an_agent_learns_its_way_and_stops_when_it_has_enough() -> None:
    found, simulation = lived(agent(corridor()), backend="numpy")
    ends = found.episodes.ends
    assert simulation.streak == 5
    assert ends[-5:].tolist() == [1] * 5
    assert ends[-6] < 1  # so it has stopped as soon as it could
    assert len(found.counts["actions"]) == len(ends) < 300
    assert found.counts["actions"].sum(axis=1).tolist() == found.episodes.steps.tolist()
    # each step costs 0.1, but for the last one of a success
    steps = found.episodes.steps - (ends > 0)
    np.testing.assert_allclose(found.episodes.rewards, ends - 0.1 * steps, atol=1e-12)
    weights = simulation.cells["places_to_actions"].weight
    assert np.all(weights[1:-1, RIGHT] > weights[1:-1, 0])


def test_an_episode_without_an_end_lasts_as_long_as_it_may() -> None:
    nowhere = replace(corridor(enough=0), ends=np.zeros((CELLS, 2), dtype=np.int64), starts=np.array([2]))
    found, simulation = lived(agent(nowhere), backend="numpy", episodes=3, steps=7)
    assert found.episodes.steps.tolist() == [7, 7, 7]
    assert found.episodes.ends.tolist() == [0, 0, 0]
    assert simulation.clock == 21
    assert all(row[2] >= 1 for row in found.counts["places"])  # it begins in the middle


@pytest.mark.needs("numba")
def test_both_loops_live_the_same_life() -> None:
    """Episode by episode, and the weights to rounding, on their levels."""
    levels = 32
    (a, one), (b, two) = (
        lived(agent(corridor(), levels=levels, rate=0.3), backend=name, gap=10.0) for name in ("numpy", "numba")
    )
    for name in ("rewards", "steps", "ends"):
        assert getattr(a.episodes, name).tolist() == getattr(b.episodes, name).tolist()
    weights = one.cells["places_to_actions"].weight
    np.testing.assert_allclose(weights, two.cells["places_to_actions"].weight, atol=1e-12)
    assert (one.clock, one.streak) == (two.clock, two.streak)
    grid, moved = (weights + 1.0) / 2.0 * (levels - 1), weights != 0.0
    assert np.any(moved)
    np.testing.assert_allclose(grid[moved], np.round(grid[moved]), atol=1e-9)


def test_a_step_smaller_than_half_a_level_is_lost() -> None:
    (fine, _), (coarse, simulation) = (
        lived(agent(corridor(enough=0), levels=n, rate=1e-3), backend="numpy", episodes=20) for n in (0, 4)
    )
    assert len(fine.episodes.ends) == len(coarse.episodes.ends) == 20
    # of four levels -1, -1/3, 1/3, 1 the nearest to any small weight
    assert set(np.abs(simulation.cells["places_to_actions"].weight).ravel().round(9)) <= {0.0, round(1 / 3, 9)}


@pytest.mark.needs("numba")
def test_another_run_takes_the_loops_that_there_are() -> None:
    """Other states, numbers, time step and world, and the answers of a simulation of its own."""
    first = Simulation(agent(corridor()), backend="numba")
    other = agent(corridor(enough=3), rate=0.05, start=0.1, dt=0.5)
    shared, own = Simulation(other, like=first), Simulation(other, backend="numpy")
    assert shared.kernels is first.kernels
    a, b = (s.run({"actions": np.ones((1, 2))}, steps=9, key=1, episodes=40) for s in (shared, own))
    assert a.episodes.steps.tolist() == b.episodes.steps.tolist()
    assert not alike(other, agent(corridor(), levels=4))
    with pytest.raises(InputError, match="loops of is another one"):
        Simulation(agent(corridor(), levels=4), like=first)


def test_a_life_goes_on_from_its_state() -> None:
    """Two successes before and three after make five."""
    _, first = lived(agent(corridor(enough=2)), backend="numpy")
    safe = replace(corridor(), ends=np.abs(corridor().ends))
    follower = Simulation(agent(safe), backend="numpy")
    follower.restore(first.state())
    assert follower.streak == 2
    found = follower.run({"actions": np.ones((1, 2))}, steps=50, key=9, episodes=40)
    assert found.episodes.ends.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"leads": np.full((CELLS, 2), CELLS)}, r"leads of a world has to name places 0\.\.4"),
        ({"starts": np.array([], dtype=int)}, "starts of a world has to name"),
        ({"rewards": np.zeros((CELLS, 3))}, "the tables of a world have the shapes"),
        ({"rewards": np.full((CELLS, 2), np.nan)}, "not finite"),
        ({"enough": -1}, "cannot stop after -1 successes"),
    ],
)
def test_worlds_that_cannot_be(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        corridor(**changes)  # type: ignore[arg-type]


def test_worlds_that_do_not_fit() -> None:
    graph = agent(corridor())
    with pytest.raises(UnknownName, match="population that acts"):
        replace(graph, world=replace(corridor(), actions="hands"))
    with pytest.raises(InputError, match="sees in a world of 5, and has 2"):
        replace(graph, world=replace(corridor(), places="actions"))
    numb = replace(graph.populations[1], model=Leaky(2.0), winner=None)
    with pytest.raises(InputError, match="do not spike, and so cannot take part"):
        replace(graph, populations=(graph.populations[0], numb))
    with pytest.raises(InputError, match="episodes cannot be run in a world"):
        Simulation(graph, backend="numpy").run({"actions": np.ones((1, 2))}, steps=5, key=1)
    with pytest.raises(InputError, match="3 episodes cannot be run without a world"):
        Simulation(replace(graph, world=None), backend="numpy").run(
            {"actions": np.ones((1, 2))}, steps=5, key=1, episodes=3
        )
    with pytest.raises(InputError, match="is the world's reward"):
        Simulation(graph, backend="numpy").run(
            {"actions": np.ones((1, 2))}, steps=5, key=1, episodes=3, signals={"actions": np.ones((3, 2))}
        )
    with pytest.raises(InputError, match=r"cannot have 1 levels in -1\.\.1"):
        agent(corridor(), levels=1)
