"""The pulse map compiled for single cells: the surrogate's own functions, traced and rendered for numba.

For the few hundred cells of one column the calls of numpy cost more than their arithmetic. Here the surrogate is called
once per polarity with recording operands (`cosim.emit.expr`), as a device is for a netlist; what it writes down becomes
the body of a loop over cells. The physics stays where it is written; the compiled text comes from that graph alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cosim.emit.expr import Expr, children, merged, postorder
from cosim.errors import EmitError
from cosim.packages import optional

if TYPE_CHECKING:
    from cosim.surrogate.pulse import PulseSurrogate

Array = NDArray[np.float64]
# (w, v, out, rows of instances' parameters): one pulse on each cell.
Kernel = Callable[[Array, Array, Array, Array], None]

_TEXT: Mapping[str, str] = MappingProxyType(
    {
        "+": "{0} + {1}", "-": "{0} - {1}", "*": "{0} * {1}", "/": "{0} / {1}", ">": "{0} > {1}", "<": "{0} < {1}",
        ">=": "{0} >= {1}", "<=": "{0} <= {1}", "and": "{0} and {1}", "or": "{0} or {1}", "not": "not {0}",
        "neg": "-{0}", "pos": "{0}", "abs": "abs({0})", "max": "max({0}, {1})", "min": "min({0}, {1})",
        "pow": "{0} ** {1}", "exp": "math.exp({0})", "exp2": "math.exp(0.6931471805599453 * {0})",
        "expm1": "math.expm1({0})", "ln": "math.log({0})", "log2": "math.log2({0})", "log1p": "math.log1p({0})",
        "sqrt": "math.sqrt({0})", "square": "{0} * {0}", "where": "{1} if {0} else {2}",
    }
)  # fmt: skip


def source(surrogate: PulseSurrogate) -> str:
    """The text of the loop, one assignment per operation; raises `EmitError` for one that has no text."""
    names = sorted(surrogate.instances)
    loads = [f"{name} = own[{k}, i]" for k, name in enumerate(names)]
    lines = ["def kernel(w, v, out, own):", "    for i in range(w.size):", "        w0 = w[i]", "        v0 = v[i]"]
    lines += [f"        {load}" for load in loads]
    low, high = surrogate.lowest
    for keyword, condition, polarity in (("if", f"v0 < {-low!r}", -1), ("elif", f"v0 > {high!r}", 1)):
        graph = surrogate.traced(polarity=polarity)
        body, result = _assignments(graph)
        lines.append(f"        {keyword} {condition}:")
        lines += [f"            {line}" for line in [*body, f"out[i] = {result}"]]
    return "\n".join([*lines, "        else:", "            out[i] = w0", ""])


def _assignments(root: Expr) -> tuple[list[str], str]:
    """One line per node of a graph, operands first, and the name of its value."""
    graph = merged({"after": root})["after"]
    text: dict[int, str] = {}
    lines: list[str] = []
    for node in postorder([graph]):
        if node.op == "const":
            value = float(node.args[0])
            if not math.isfinite(value):
                raise EmitError(f"a constant {value} cannot be compiled")
            text[id(node)] = repr(value) if value >= 0.0 else f"({value!r})"
        elif node.op == "name":
            text[id(node)] = str(node.args[0])
        elif node.op in _TEXT:
            name = f"t{len(lines)}"
            lines.append(f"{name} = " + _TEXT[node.op].format(*(text[id(child)] for child in children(node))))
            text[id(node)] = name
        else:
            raise EmitError(f"operation {node.op!r} cannot be compiled")
    return lines, text[id(graph)]


def kernel(surrogate: PulseSurrogate) -> Kernel:
    """The compiled loop for a surrogate; needs numba. Compiled once per process for the same text."""
    return _compile(source(surrogate))


@lru_cache(maxsize=32)
def _compile(text: str) -> Kernel:
    numba = optional("numba", extra="fast", needed_by="a compiled map")
    space: dict[str, Any] = {"math": math, "__builtins__": {"range": range, "max": max, "min": min, "abs": abs}}
    # The text holds operations of _TEXT, numbers and names of this module's making, and nothing else.
    exec(compile(text, "<pulse map>", "exec"), space)  # noqa: S102
    found: Kernel = numba.njit(space["kernel"], error_model="numpy")
    return found
