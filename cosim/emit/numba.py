"""Event maps as scalar kernels for numba: the third target of tracing, beside B-sources and Verilog-A.

For a few hundred instances the calls of numpy cost more than their arithmetic. Here the map is called once with
recording operands, as a device is for a netlist; what it writes down becomes the body of a loop over instances. The
physics stays where it is written; the compiled text comes from that graph alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from cosim.devices.base import Array, Values
from cosim.devices.maps import EventMap
from cosim.emit.expr import Node, children, merged, postorder
from cosim.errors import EmitError
from cosim.packages import optional

# (states, inputs, parameters of instances, results), each with a row per quantity and a column per instance.
MapKernel = Callable[[Array, Array, Array, Array], None]

TEXT: Mapping[str, str] = MappingProxyType(
    {
        "+": "{0} + {1}", "-": "{0} - {1}", "*": "{0} * {1}", "/": "{0} / {1}", ">": "{0} > {1}", "<": "{0} < {1}",
        ">=": "{0} >= {1}", "<=": "{0} <= {1}", "and": "{0} and {1}", "or": "{0} or {1}", "not": "not {0}",
        "neg": "-{0}", "pos": "{0}", "abs": "abs({0})", "max": "max({0}, {1})", "min": "min({0}, {1})",
        "pow": "{0} ** {1}", "exp": "math.exp({0})", "exp2": "math.exp(0.6931471805599453 * {0})",
        "expm1": "math.expm1({0})", "ln": "math.log({0})", "log2": "math.log2({0})", "log1p": "math.log1p({0})",
        "sqrt": "math.sqrt({0})", "square": "{0} * {0}", "where": "{1} if {0} else {2}", "sinh": "math.sinh({0})",
        "cosh": "math.cosh({0})", "tanh": "math.tanh({0})",
    }
)  # fmt: skip


def assignments(
    roots: Mapping[str, Node], templates: Mapping[str, str] = TEXT, *, temporary: str = "t"
) -> tuple[list[str], dict[str, str]]:
    """One line per node of the graphs, operands first, and the text of each root; raises `EmitError`.

    ``templates`` write an operation in a language with Python's assignments; default: that of numba. The lines assign
    to ``temporary`` with a number.
    """
    graphs = merged(roots)
    text: dict[int, str] = {}
    lines: list[str] = []
    for node in postorder(graphs.values()):
        if node.op == "const":
            value = float(node.args[0])
            if not math.isfinite(value):
                raise EmitError(f"a constant {value} cannot be compiled")
            text[id(node)] = repr(value) if value >= 0.0 else f"({value!r})"
        elif node.op == "name":
            text[id(node)] = str(node.args[0])
        elif node.op in templates:
            name = f"{temporary}{len(lines)}"
            lines.append(f"{name} = " + templates[node.op].format(*(text[id(child)] for child in children(node))))
            text[id(node)] = name
        else:
            raise EmitError(f"operation {node.op!r} cannot be compiled")
    return lines, {name: text[id(graph)] for name, graph in graphs.items()}


def map_source(event_map: EventMap, p: Values, *, own: Sequence[str] = ()) -> str:
    """The loop of a map in closed form; ``own`` names the parameters that differ between instances.

    Raises `EmitError` for a map that is integrated (`cosim.emit.numba_sweep`), and for an operation without a text.
    """
    if event_map.closed is None:
        raise EmitError(
            f"the map {event_map.name} of {event_map.device.name} is integrated, and has no scalar kernel",
            remedy="call it on arrays",
        )
    rows = {"x": [*event_map.states], "u": [*event_map.inputs], "own": list(own)}
    names = {part: {name: f"{part}_{name}" for name in entries} for part, entries in rows.items()}
    x, u, q = (Values({name: Node("name", text) for name, text in names[part].items()}) for part in rows)
    with np.errstate(all="ignore"):
        after, outputs = event_map(x, u, p.with_(**q))
    results = {name: Node.of(graph) for name, graph in {**after, **outputs}.items()}
    body, found = assignments(results)
    loads = [f"{names[part][name]} = {part}[{k}, i]" for part in rows for k, name in enumerate(rows[part])]
    stores = [f"out[{k}, i] = {found[name]}" for k, name in enumerate([*event_map.states, *event_map.outputs])]
    lines = ["def kernel(x, u, own, out):", "    for i in range(out.shape[1]):"]
    return "\n".join([*lines, *(f"        {line}" for line in [*loads, *body, *stores]), ""])


def map_kernel(event_map: EventMap, p: Values, *, own: Sequence[str] = ()) -> MapKernel:
    """The compiled loop of a map: results are its states, then its outputs, in the map's order. Needs numba.

    Raises `EmitError` for a map that has no text: of a device with an implicit current, for one.
    """
    if event_map.closed is None:
        from cosim.emit.numba_sweep import sweep_kernel

        return sweep_kernel(event_map, p, own=own)
    found: MapKernel = compiled(map_source(event_map, p, own=own))
    return found


@lru_cache(maxsize=32)
def compiled(text: str) -> Any:
    """The function ``kernel`` of a text that this package wrote; compiled once per process and text."""
    numba = optional("numba", extra="fast", needed_by="a compiled map")
    space: dict[str, Any] = {"math": math, "__builtins__": {"range": range, "max": max, "min": min, "abs": abs}}
    # The text holds operations of TEXT, numbers and names that cosim wrote, and nothing else.
    exec(compile(text, "<event map>", "exec"), space)  # noqa: S102
    return numba.njit(space["kernel"], error_model="numpy")
