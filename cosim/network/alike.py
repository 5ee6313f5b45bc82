"""Graphs that differ in values alone, and so share their compiled loops: runs of one network, a batch of them.

What a loop has as arguments may differ: sizes, states, instances' parameters, the time step, inputs, worlds, and the
numbers of models and rules (`Model.parameters`, `Rule.parameters`), which their other functions take from there alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cosim.network.crossbar import Ideal
from cosim.network.graph import Graph, Projection
from cosim.surrogate.model import Surrogate


def _projection(graph: Graph, p: Projection) -> tuple[Any, ...]:
    cells: Surrogate | Ideal = p.cells
    names: tuple[str, ...] = ()
    if isinstance(cells, Surrogate):
        cells, names = replace(cells, instances={}, certificate=None), tuple(sorted(cells.instances))
    rule = None if p.rule is None else (type(p.rule), p.rule.every)
    what = (
        p.source,
        p.target,
        rule,
        graph.delay_of(p),
        dict(p.held),
        p.pair,
        p.gain,
        p.connected() is None,
        p.wires is None,
    )
    return *what, p.sends, p.into, p.reading, p.levels, p.name, names, cells


def _parts(graph: Graph) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = [
        (
            one.name, type(one.model), dict(one.model.states), type(one.encoder),
            None if one.winner is None else one.winner.groups, tuple(one.own),
        )
        for one in graph.populations
    ]  # fmt: skip
    found += [_projection(graph, p) for p in graph.projections]
    return [*found, () if graph.world is None else (graph.world.places, graph.world.actions)]


def alike(one: Graph, other: Graph) -> bool:
    """Whether two graphs differ in values alone."""
    return _parts(one) == _parts(other)
