"""Recording operands: called with `Node` instead of arrays, a device's numpy functions write themselves down.

An `Node` is a node of an expression graph. numpy's ufuncs reach it through ``__array_ufunc__`` and ``np.where``,
``np.clip`` through ``__array_function__``; whatever has no counterpart in the target languages raises an `EmitError`
that names it. sympy would rearrange floating-point forms; here each operation stays as it was written.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Container, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from cosim.errors import EmitError

# numpy ufunc -> (operation of the graph, number of operands)
_UFUNCS: Mapping[str, str] = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "true_divide": "/", "negative": "neg",
    "positive": "pos", "power": "pow", "float_power": "pow", "exp": "exp", "expm1": "expm1", "log": "ln",
    "exp2": "exp2", "log2": "log2", "log1p": "log1p", "sqrt": "sqrt", "absolute": "abs", "fabs": "abs",
    "maximum": "max", "minimum": "min", "fmax": "max", "fmin": "min", "sin": "sin", "cos": "cos", "tan": "tan",
    "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "arctan": "atan", "square": "square", "reciprocal": "reciprocal",
    "greater": ">", "less": "<", "greater_equal": ">=", "less_equal": "<=", "logical_and": "and", "logical_or": "or",
    "logical_not": "not", "bitwise_and": "and", "bitwise_or": "or", "invert": "not", "sign": "sign",
}  # fmt: skip
BOOLEAN = frozenset({">", "<", ">=", "<=", "and", "or", "not"})


class Node:
    """One node: ``op`` is ``"const"`` (args: a float), ``"name"`` (args: what the target calls it) or an operation."""

    __slots__ = ("args", "op")
    __array_priority__ = 1000

    def __init__(self, op: str, *args: Any) -> None:
        self.op = op
        self.args = args

    @classmethod
    def of(cls, value: Any) -> Node:
        """``value`` as a node; arrays with more than one element are refused."""
        if isinstance(value, Node):
            return value
        if isinstance(value, bool | np.bool_):
            return cls("const", 1.0) > 0.5 if value else cls("const", 0.0) > 0.5
        array = np.asarray(value, dtype=float)
        if array.size != 1:
            raise EmitError(
                f"an array of shape {array.shape} cannot be written in a netlist", remedy="use scalars and parameters"
            )
        value = float(array.reshape(()))
        if not math.isfinite(value):
            raise EmitError(f"the constant {value} cannot be written in a netlist", remedy="leave the bound out")
        return cls("const", value)

    @property
    def boolean(self) -> bool:
        """Whether the node is a condition."""
        return self.op in BOOLEAN

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Node:
        op = _UFUNCS.get(ufunc.__name__)
        if method != "__call__" or op is None or set(kwargs) - {"where"} or kwargs.get("where", True) is not True:
            name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
            raise EmitError(f"np.{name} has no counterpart in a netlist", remedy="use " + ", ".join(sorted(_UFUNCS)))
        return Node(op, *(Node.of(value) for value in inputs))

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Node:
        if func is np.where and len(args) == 3:
            condition, yes, no = (Node.of(value) for value in args)
            return Node("where", condition if condition.boolean else condition > 0.0, yes, no)
        if func is np.clip and len(args) == 3 and not kwargs:
            result = Node.of(args[0])
            if args[1] is not None:
                result = Node("max", result, Node.of(args[1]))
            return result if args[2] is None else Node("min", result, Node.of(args[2]))
        raise EmitError(f"np.{func.__name__} has no counterpart in a netlist", remedy="use ufuncs, np.where, np.clip")

    def __bool__(self) -> bool:
        raise EmitError(
            "an 'if' on a voltage or a state cannot be written in a netlist",
            remedy="use np.where, np.maximum, np.minimum",
        )

    def __float__(self) -> float:
        raise EmitError("float(...) of a traced value cannot be written in a netlist", remedy="leave it out")

    def _binary(self, op: str, other: Any, *, swapped: bool = False) -> Node:
        left, right = (Node.of(other), self) if swapped else (self, Node.of(other))
        return Node(op, left, right)

    def __add__(self, other: Any) -> Node:
        return self._binary("+", other)

    def __radd__(self, other: Any) -> Node:
        return self._binary("+", other, swapped=True)

    def __sub__(self, other: Any) -> Node:
        return self._binary("-", other)

    def __rsub__(self, other: Any) -> Node:
        return self._binary("-", other, swapped=True)

    def __mul__(self, other: Any) -> Node:
        return self._binary("*", other)

    def __rmul__(self, other: Any) -> Node:
        return self._binary("*", other, swapped=True)

    def __truediv__(self, other: Any) -> Node:
        return self._binary("/", other)

    def __rtruediv__(self, other: Any) -> Node:
        return self._binary("/", other, swapped=True)

    def __pow__(self, other: Any) -> Node:
        return self._binary("pow", other)

    def __rpow__(self, other: Any) -> Node:
        return self._binary("pow", other, swapped=True)

    def __neg__(self) -> Node:
        return Node("neg", self)

    def __abs__(self) -> Node:
        return Node("abs", self)

    def __gt__(self, other: Any) -> Node:
        return self._binary(">", other)

    def __lt__(self, other: Any) -> Node:
        return self._binary("<", other)

    def __ge__(self, other: Any) -> Node:
        return self._binary(">=", other)

    def __le__(self, other: Any) -> Node:
        return self._binary("<=", other)

    def __eq__(self, other: object) -> bool:
        raise EmitError("'==' of traced values has no counterpart in a netlist", remedy="use < or >, with a width")

    def __ne__(self, other: object) -> bool:
        raise EmitError("'!=' of traced values has no counterpart in a netlist", remedy="use < or >, with a width")

    __hash__ = object.__hash__

    def _no_remainder(self, other: Any) -> Node:
        raise EmitError("'%' and '//' have no counterpart in a netlist", remedy="write them with np.where")

    __mod__ = __rmod__ = __floordiv__ = __rfloordiv__ = _no_remainder

    def __and__(self, other: Any) -> Node:
        return self._binary("and", other)

    def __or__(self, other: Any) -> Node:
        return self._binary("or", other)

    def __invert__(self) -> Node:
        return Node("not", self)


_INFIX = {"+": "+", "-": "-", "*": "*", "/": "/", ">": ">", "<": "<", ">=": ">=", "<=": "<=", "and": "&&", "or": "||"}
# The same text in B-sources and in Verilog-A; {0}, {1}, ... are the operands.
_COMMON = {
    "neg": "(-{0})", "pos": "{0}", "not": "(!{0})", "expm1": "(exp({0}) - 1.0)",
    "exp2": "exp(0.6931471805599453 * {0})", "log2": "(1.4426950408889634 * ln({0}))", "log1p": "ln(1.0 + {0})",
    "square": "({0} * {0})", "reciprocal": "(1.0 / {0})", "where": "({0} ? {1} : {2})",
}  # fmt: skip
_CALLS = frozenset(
    ("exp", "ln", "sqrt", "abs", "max", "min", "sin", "cos", "tan", "sinh", "cosh", "tanh", "atan", "pow")
)
Writer = Callable[[Node, tuple[str, ...]], str]


def writer(special: Mapping[str, str]) -> Writer:
    """A function that writes one node; ``special`` holds the templates of a target that differ from the common ones."""
    templates = {**_COMMON, **special}

    def write(node: Node, args: tuple[str, ...]) -> str:
        if node.op == "const":
            value = node.args[0]
            return repr(value) if value >= 0 else f"({value!r})"
        if node.op == "name":
            return str(node.args[0])
        if node.op in _INFIX:
            return f"({args[0]} {_INFIX[node.op]} {args[1]})"
        if node.op in templates:
            return templates[node.op].format(*args)
        if node.op in _CALLS:
            return f"{node.op}({', '.join(args)})"
        raise EmitError(f"operation {node.op!r} has no text in this target")

    return write


def children(node: Node) -> tuple[Node, ...]:
    """The operands that are nodes."""
    return tuple(arg for arg in node.args if isinstance(arg, Node))


def postorder(roots: Iterable[Node]) -> list[Node]:
    """Every node below ``roots`` once, operands before users; iterative, as a traced solver can be deep."""
    order: list[Node] = []
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(root, False) for root in reversed(list(roots))]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(children(node)))
    return order


def merged(roots: Mapping[str, Node]) -> dict[str, Node]:
    """The same graphs with equal sub-expressions made one node."""
    canonical: dict[int, Node] = {}
    known: dict[tuple[object, ...], Node] = {}
    for node in postorder(roots.values()):
        args = tuple(canonical[id(arg)] if isinstance(arg, Node) else arg for arg in node.args)
        key = (node.op, *(id(arg) if isinstance(arg, Node) else (type(arg), repr(arg)) for arg in args))
        canonical[id(node)] = known.setdefault(key, Node(node.op, *args))
    return {name: canonical[id(root)] for name, root in roots.items()}


_COMPARED: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le}
)
# Of a number: whether it is known to be >= 0, to be <= 0, and not to be 0.
_Sign = tuple[bool, bool, bool]


def settled(roots: Mapping[str, Node], signs: Mapping[str, _Sign]) -> dict[str, Node]:
    """The same graphs without what the ``signs`` of names settle: conditions, the branches not taken, magnitudes.

    A sign says of a name whether it is >= 0, whether it is <= 0, and whether it is not 0. No result changes.
    """
    graphs = merged(roots)
    made: dict[int, Node] = {}
    truth: dict[int, bool] = {}  # of conditions
    known: dict[int, _Sign] = {}  # of what was made
    unknown = (False, False, False)

    def sign(node: Node) -> _Sign:
        if node.op == "const":
            return node.args[0] >= 0.0, node.args[0] <= 0.0, node.args[0] != 0.0
        return signs.get(node.args[0], unknown) if node.op == "name" else known.get(id(node), unknown)

    def told(node: Node, args: list[Node]) -> bool | None:
        """Whether a condition holds, where that is known."""
        parts = [truth.get(id(child)) for child in children(node)]
        if node.op in ("and", "or"):
            decisive = node.op == "or"
            return decisive if decisive in parts else None if None in parts else not decisive
        if node.op == "not":
            return None if parts[0] is None else not parts[0]
        if all(arg.op == "const" for arg in args):
            return _COMPARED[node.op](args[0].args[0], args[1].args[0])
        if args[1].op != "const":
            return None
        least, most, apart = sign(args[0])
        if (end := args[1].args[0]) != 0.0:  # beyond an end on the other side of 0
            return (
                node.op in (">", ">=")
                if least and end < 0.0
                else node.op in ("<", "<=")
                if most and end > 0.0
                else None
            )
        yes, no = {
            ">": (least and apart, most), "<": (most and apart, least),
            ">=": (least, most and apart), "<=": (most, least and apart),
        }[node.op]  # fmt: skip
        return True if yes else False if no else None

    def simpler(node: Node, args: list[Node]) -> Node:
        """A node of operands that are made."""
        if node.op == "where" and (which := truth.get(id(children(node)[0]))) is not None:
            return args[1] if which else args[2]
        if node.op in ("and", "or"):  # one side is known not to matter
            open_ones = [arg for arg, child in zip(args, children(node), strict=True) if id(child) not in truth]
            if len(open_ones) == 1:
                return open_ones[0]
        if node.op == "abs":
            least, most, _ = sign(args[0])
            return args[0] if least else Node("neg", args[0]) if most else Node("abs", args[0])
        if node.op in ("+", "-") and args[1].op == "const" and args[1].args[0] == 0.0:
            return args[0]
        rest = iter(args)
        return Node(node.op, *(next(rest) if isinstance(arg, Node) else arg for arg in node.args))

    def of(node: Node) -> _Sign:
        """The sign of an operation."""
        if node.op in ("sqrt", "exp", "exp2", "square"):
            return True, False, False
        if node.op not in ("+", "*", "/", "neg", "abs", "where", "max", "min"):
            return unknown
        parts = [sign(arg) for arg in children(node)][-2:]
        (a, b, apart), (c, d, _) = parts[0], parts[-1]
        if node.op == "neg":
            return b, a, apart
        if node.op == "abs":
            return True, False, apart
        if node.op in ("*", "/"):  # a product may underflow
            return (a and c) or (b and d), (a and d) or (b and c), False
        if node.op in ("max", "min"):
            return (a or c, b and d, False) if node.op == "max" else (a and c, b or d, False)
        return a and c, b and d, False

    for node in postorder(graphs.values()):
        args = [made[id(child)] for child in children(node)]
        if node.boolean and (holds := told(node, args)) is not None:
            truth[id(node)], made[id(node)] = holds, Node.of(holds)
            continue
        found = node if not args else simpler(node, args)
        made[id(node)] = found
        if id(found) not in known:
            known[id(found)] = of(found)
    return {name: made[id(root)] for name, root in graphs.items()}


def hoisted(
    roots: Mapping[str, Node], names: Container[str], name: Callable[[int], str]
) -> tuple[dict[str, Node], dict[str, Node]]:
    """What depends on ``names`` alone, under names of its own: ``name(k)`` → graph; and the graphs that refer to these.

    A condition is kept as 1 or 0.
    """
    graphs = merged(roots)
    alone: dict[int, bool] = {}
    made: dict[int, Node] = {}
    kept: dict[str, Node] = {}
    used: dict[int, Node] = {}

    def use(node: Node) -> Node:
        """A node as one that is not ``alone`` sees it."""
        if not alone[id(node)] or node.op in ("const", "name"):
            return made[id(node)]
        if id(node) not in used:
            target = name(len(kept))
            kept[target] = Node("where", node, Node("const", 1.0), Node("const", 0.0)) if node.boolean else node
            used[id(node)] = Node("name", target) > 0.5 if node.boolean else Node("name", target)
        return used[id(node)]

    for node in postorder(graphs.values()):
        parts = children(node)
        alone[id(node)] = node.args[0] in names if node.op == "name" else all(alone[id(part)] for part in parts)
        made[id(node)] = (
            node
            if alone[id(node)] or not parts
            else Node(node.op, *(use(arg) if isinstance(arg, Node) else arg for arg in node.args))
        )
    return kept, {target: use(graph) for target, graph in graphs.items()}


def render(root: Node, write: Writer, memo: dict[int, str]) -> str:
    """Text of a graph. ``memo`` maps nodes already written to their text, and grows."""
    for node in postorder([root]):
        if id(node) not in memo:
            memo[id(node)] = write(node, tuple(memo[id(child)] for child in children(node)))
    return memo[id(root)]
