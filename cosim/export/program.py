"""What a surrogate does in one event, as graphs: what every target renders, so that the physics stays written once.

A map in closed form is one set of graphs, correction included. An integrated map is the graphs of its pieces: the
waveform, the rates and flows along it, and what is read at its end; the integrator belongs to the target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array, Values
from cosim.emit.expr import Node, children, merged, postorder
from cosim.errors import EmitError
from cosim.export.laws import Writing, graphs, written
from cosim.surrogate.circuit import CircuitSet
from cosim.surrogate.model import Surrogate

# (kind, name) -> what the target calls it; kinds: "state", "after", "input", "parameter", "across", "energy".
Naming = Callable[[str, str], str]


@dataclass(frozen=True)
class Piece:
    """A straight piece of a waveform: its length (s), and the ports' values at its ends."""

    length: Node
    begin: Mapping[str, Node]
    end: Mapping[str, Node]


@dataclass(frozen=True)
class Program:
    """The graphs of a map.

    Args:
        results: each state and output after the event. Of an integrated map in terms of the states before ("state")
            and after its integration ("after"), and of the energy that it took ("energy").
        pieces: the waveform of an integrated map; empty for a closed one.
        rates: the rates of its states, auxiliary ones included, in terms of "across", "after" and "parameter".
        flows: what flows through its ports.
        parameters: names of the parameters that the graphs use, in the device's order.
    """

    results: Mapping[str, Node]
    pieces: tuple[Piece, ...] = ()
    rates: Mapping[str, Node] | None = None
    flows: Mapping[str, Node] | None = None
    parameters: tuple[str, ...] = ()

    @property
    def closed(self) -> bool:
        """Whether ``results`` is all of it."""
        return self.rates is None


def program(
    surrogate: Surrogate, naming: Naming, *, own: Iterable[str] | None = None, write: Writing = graphs
) -> Program:
    """The graphs of a surrogate's event.

    Args:
        surrogate: any.
        naming: what the target calls the quantities of the map.
        own: parameters that are quantities; the others are numbers. None: all of them are.
        write: of a learned law, as `cosim.export.laws.graphs` and `named` do.

    Raises:
        EmitError: for a device whose current only an iteration finds, and for what has no graph.
    """
    surrogate = written(surrogate, write)
    event_map = surrogate.map

    def named(kind: str, names: Iterable[str]) -> Values:
        return Values({name: Node("name", naming(kind, name)) for name in names})

    nominal = {name: float(value) for name, value in surrogate.parameters.resolved().items()}
    p = Values({**nominal, **named("parameter", nominal if own is None else own)})
    x, u = named("state", event_map.states), named("input", event_map.inputs)
    try:
        with np.errstate(all="ignore"):
            if event_map.closed is not None:
                after, outputs = event_map(x, u, p)
                after, outputs = surrogate.corrected(x, u, after, outputs, p)
                found = Program({name: Node.of(graph) for name, graph in {**after, **outputs}.items()})
            else:
                found = _integrated(surrogate, x, u, p, named)
    except EmitError as error:
        raise EmitError(
            f"the map {event_map.name} of {subject(surrogate)}: {error.message}", remedy=error.remedy
        ) from None
    except TypeError as error:  # numpy's, of an operation that takes arrays only
        raise EmitError(f"the map {event_map.name} of {subject(surrogate)} cannot be written down: {error}") from None
    used = {str(node.args[0]) for node in postorder(_roots(found)) if node.op == "name"}
    names = tuple(name for name in nominal if name in p and naming("parameter", name) in used)
    return Program(found.results, found.pieces, found.rates, found.flows, names)


def subject(surrogate: Surrogate) -> str:
    """Whose map it is, in words."""
    return surrogate.parameters.name if isinstance(surrogate.parameters, CircuitSet) else surrogate.device


def _integrated(
    surrogate: Surrogate, x: Values, u: Values, p: Values, named: Callable[[str, Iterable[str]], Values]
) -> Program:
    event_map, model = surrogate.map, surrogate.map.device
    across, y = named("across", [port.name for port in model.ports]), named("after", [s.name for s in model.all_states])
    held = {}
    for name in event_map.states:
        low, high = (end if np.isfinite(end) else None for end in event_map.bounds(name))
        held[name] = np.clip(y[name], low, high)
    energy = named("energy", ["energy"])["energy"]
    after, outputs = surrogate.corrected(x, u, Values(held), Values(event_map.reading(Values(held), p, energy)), p)
    pieces = tuple(
        Piece(
            Node.of(segment.length),
            {name: Node.of(value) for name, value in segment.begin.items()},
            {name: Node.of(value) for name, value in segment.end.items()},
        )
        for segment in event_map.waveform(u, p)
    )
    return Program(
        {name: Node.of(graph) for name, graph in {**after, **outputs}.items()},
        pieces,
        {name: Node.of(graph) for name, graph in model.total_rates(across, y, p).items()},
        {name: Node.of(graph) for name, graph in model.through(across, y, p).items()},
    )


def _roots(found: Program) -> list[Node]:
    roots = [*found.results.values(), *(found.rates or {}).values(), *(found.flows or {}).values()]
    for piece in found.pieces:
        roots += [piece.length, *piece.begin.values(), *piece.end.values()]
    return roots


_NUMPY: Mapping[str, Callable[..., Array]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, ">": np.greater, "<": np.less,
    ">=": np.greater_equal, "<=": np.less_equal, "and": np.logical_and, "or": np.logical_or, "not": np.logical_not,
    "neg": np.negative, "pos": np.positive, "abs": np.abs, "max": np.maximum, "min": np.minimum, "pow": np.power,
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "ln": np.log, "log2": np.log2, "log1p": np.log1p,
    "sqrt": np.sqrt, "square": np.square, "where": np.where, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "atan": np.arctan, "sign": np.sign, "reciprocal": np.reciprocal,
}  # fmt: skip
# Nodes that choose between their operands, and which of a node's operands they compare.
_CHOOSING = ("where", "max", "min")


def evaluated(
    results: Mapping[str, Node], values: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[int, NDArray[np.bool_]]]:
    """What closed graphs give at ``values`` (n,) by name, and which side each of their choices takes there.

    A choice is a ``where``, a maximum or a minimum; its number is its place among the merged graphs. A side is (n,)
    bool, by number.
    """
    shape = np.broadcast_shapes(*(np.shape(value) for value in values.values()))
    found: dict[int, Array] = {}
    sides: dict[int, NDArray[np.bool_]] = {}
    graphs = merged(results)
    with np.errstate(all="ignore"):
        for number, node in enumerate(postorder(graphs.values())):
            if node.op == "const":
                here = np.asarray(float(node.args[0]))
            elif node.op == "name":
                here = np.asarray(values[str(node.args[0])])
            else:
                operands = [found[id(child)] for child in children(node)]
                here = _NUMPY[node.op](*operands)
                if node.op in _CHOOSING and not all(child.op == "const" for child in children(node)[:2]):
                    side = operands[0] if node.op == "where" else operands[0] >= operands[1]
                    sides[number] = np.broadcast_to(np.asarray(side, dtype=bool), shape)
            found[id(node)] = here
    return {name: np.broadcast_to(found[id(graph)], shape) for name, graph in graphs.items()}, sides
