"""Derivatives of traced graphs, by the chain rule from node to node (forward mode).

Where a graph chooses (``where``, ``max``, ``min``, ``abs``) its derivative is that of what is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from cosim.emit.expr import BOOLEAN, Node, postorder
from cosim.errors import EmitError

ZERO, ONE = Node("const", 0.0), Node("const", 1.0)
LN_2 = 0.6931471805599453

# Operation of one operand x with the result y -> dy/dx.
_ONE: Mapping[str, Callable[[Node, Node], Node]] = {
    "exp": lambda x, y: y,
    "exp2": lambda x, y: LN_2 * y,
    "expm1": lambda x, y: y + 1.0,
    "ln": lambda x, y: 1.0 / x,
    "log2": lambda x, y: 1.0 / (LN_2 * x),
    "log1p": lambda x, y: 1.0 / (1.0 + x),
    "sqrt": lambda x, y: 0.5 / y,
    "square": lambda x, y: 2.0 * x,
    "reciprocal": lambda x, y: -y * y,
    "sin": lambda x, y: np.cos(x),
    "cos": lambda x, y: -np.sin(x),
    "tan": lambda x, y: 1.0 + y * y,
    "sinh": lambda x, y: np.cosh(x),
    "cosh": lambda x, y: np.sinh(x),
    "tanh": lambda x, y: 1.0 - y * y,
    "atan": lambda x, y: 1.0 / (1.0 + x * x),
}


def derivatives(root: Node, names: Sequence[str]) -> list[Node]:
    """The derivative of ``root`` by each of the ``names``; raises `EmitError` for an operation that has none."""
    order = postorder([root])
    return [_by(name, order, root) for name in names]


def _by(name: str, order: Sequence[Node], root: Node) -> Node:
    found: dict[int, Node] = {}

    def of(node: Node) -> Node:
        return found.get(id(node), ZERO)

    for node in order:
        slope = ZERO
        if node.op == "name":
            slope = ONE if node.args[0] == name else ZERO
        elif node.op == "where":
            condition, yes, no = node.args
            if of(yes) is not ZERO or of(no) is not ZERO:
                slope = Node("where", condition, of(yes), of(no))
        elif node.op not in BOOLEAN and node.op != "const":
            operands = [arg for arg in node.args if of(arg) is not ZERO]
            if operands:
                slope = _rule(node, of)
        if slope is not ZERO:
            found[id(node)] = slope
    return of(root)


def _times(slope: Node, factor: Node) -> Node:
    if slope is ZERO or factor is ONE:
        return slope
    return factor if slope is ONE else slope * factor


def _sum(first: Node, second: Node) -> Node:
    if first is ZERO or second is ZERO:
        return second if first is ZERO else first
    return first + second


def _rule(node: Node, of: Callable[[Node], Node]) -> Node:
    """The derivative of a node, of whose operands at least one moves."""
    x = node.args[0]
    if node.op in _ONE:
        return _times(of(x), _ONE[node.op](x, node))
    if node.op in ("neg", "pos"):
        return -of(x) if node.op == "neg" else of(x)
    if node.op == "abs":
        return Node("where", x < 0.0, -of(x), of(x))
    if len(node.args) != 2:
        raise EmitError(f"operation {node.op!r} has no derivative")
    y = node.args[1]
    if node.op in ("+", "-"):
        return _sum(of(x), of(y) if node.op == "+" or of(y) is ZERO else -of(y))
    if node.op == "*":
        return _sum(_times(of(x), y), _times(of(y), x))
    if node.op == "/":
        part = ZERO if of(x) is ZERO else of(x) / y
        return _sum(part, ZERO if of(y) is ZERO else -_times(of(y), node) / y)
    if node.op in ("max", "min"):
        first = x > y if node.op == "max" else x < y
        return Node("where", first, of(x), of(y))
    if node.op == "pow":
        part = ZERO if of(x) is ZERO else _times(of(x), y * x ** (y - 1.0))
        # Of 0^y the derivative by y is 0, and the logarithm is not finite.
        return _sum(part, ZERO if of(y) is ZERO else Node("where", x > 0.0, _times(of(y), node * np.log(x)), ZERO))
    raise EmitError(f"operation {node.op!r} has no derivative")
