"""What an expression grows by per second of a small time step: its derivative by the step at a step of zero, as text.

An explicit integration, however it is written, assigns to its state something that is the state where the step is
zero. What it adds per second is then a plain expression of the same names, in which no step is left, and of each
variable on the way there: ``x_rate`` beside ``x``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from cosim.language.expressions import Expr
from cosim.lint.va_rules import Model

ZERO = "0.0"
UNKNOWN = "?"  # a slope that is not written: that of a function of the module's own
_ONE = re.compile(r"1(\.0*)?")
# f -> its derivative at {0}
_DERIVATIVES = {
    "exp": "exp({0})", "limexp": "limexp({0})", "ln": "1.0/({0})", "sqrt": "0.5/sqrt({0})", "sinh": "cosh({0})",
    "cosh": "sinh({0})", "tanh": "(1.0 - pow(tanh({0}), 2))", "sin": "cos({0})", "cos": "(-sin({0}))",
    "atan": "1.0/(1.0 + pow({0}, 2))", "abs": "(({0}) < 0.0 ? -1.0 : 1.0)",
}  # fmt: skip
_AT_ZERO = {"exp": "1.0", "limexp": "1.0", "sinh": ZERO, "cosh": "1.0", "tanh": ZERO, "sin": ZERO, "cos": "1.0",
            "atan": ZERO}  # fmt: skip
_AT_ZERO_SLOPE = {"exp": "1.0", "limexp": "1.0", "sinh": "1.0", "cosh": ZERO, "tanh": "1.0", "sin": "1.0", "cos": ZERO,
                  "atan": "1.0"}  # fmt: skip
COMPARED = frozenset({"<", "<=", ">", ">=", "==", "!="})


class NotEuler(Exception):
    """Why a hidden state cannot be rewritten."""


class Slopes:
    """Values and slopes of expressions.

    Args:
        model: the file.
        is_step: whether a node is the time step.
        rate: the name of a variable's slope, "" for one that does not depend on the step here.
        nothing: whether what depends on the step is zero where the step is.
    """

    def __init__(
        self,
        model: Model,
        *,
        is_step: Callable[[Expr], bool],
        rate: Callable[[str], str],
        nothing: Callable[[Expr], bool],
    ) -> None:
        self._source = model.source
        self._is_step, self._rate, self._nothing = is_step, rate, nothing

    def moves(self, node: Expr) -> bool:
        """Whether ``node`` depends on the step."""
        if self._is_step(node) or (node.op == "name" and bool(self._rate(node.name))):
            return True
        return any(self.moves(arg) for arg in node.args)

    def text(self, node: Expr) -> str:
        """``node`` as it is written."""
        if node.op != "name" and node.op != "number" and not (self._source.editable(node) or self._source.whole(node)):
            raise NotEuler("its rate is written in a macro")
        if node.start >= node.end:
            return node.name or repr(node.value)
        return self._source.text[node.start : node.end]

    def dual(self, node: Expr) -> tuple[str, str]:
        """Value and slope of ``node`` where the step is zero.

        The slope is `ZERO` where it does not depend on the step, and `UNKNOWN` where it has no writing. Raises
        `NotEuler`.
        """
        if self._is_step(node):
            return ZERO, "1.0"
        if not self.moves(node):
            return self.text(node), ZERO
        value, slope = self._dual(node)
        return (ZERO if value != ZERO and self._nothing(node) else value), slope

    def _dual(self, node: Expr) -> tuple[str, str]:
        op, args = node.op, node.args
        if op == "name":
            return node.name, self._rate(node.name)
        if op in ("u-", "u+"):
            value, slope = self.dual(args[0])
            return (value, slope) if op == "u+" else (_minus(ZERO, value), _minus(ZERO, slope))
        if op in ("+", "-", "*", "/"):
            (a, da), (b, db) = self.dual(args[0]), self.dual(args[1])
            if op in "+-":
                join = _plus if op == "+" else _minus
                return join(a, b), join(da, db)
            if op == "*":
                return _times(a, b), _plus(_times(da, b), _times(a, db))
            if b == ZERO:  # a difference over the step: what it comes to
                return (_over(da, db), UNKNOWN) if a == ZERO and da != UNKNOWN else self._no(node)
            value = _over(a, b)
            return value, _minus(_over(da, b), _over(_times(value, db), b))
        if op == "cond":
            (a, da), (b, db) = self.dual(args[1]), self.dual(args[2])
            asked = self.asked(args[0])
            slope = UNKNOWN if UNKNOWN in (da, db) else f"(({asked}) ? ({da}) : ({db}))"
            return f"(({asked}) ? ({a}) : ({b}))", slope
        if op in COMPARED or op in ("&&", "||", "u!"):
            return self.asked(node), UNKNOWN
        if op == "call" and len(args) == 1 and node.name in _DERIVATIVES:
            a, da = self.dual(args[0])
            value = _AT_ZERO.get(node.name, "") if a == ZERO else f"{node.name}({a})"
            if not value:
                return f"{node.name}({a})", UNKNOWN
            return value, _times(_AT_ZERO_SLOPE[node.name] if a == ZERO else _DERIVATIVES[node.name].format(a), da)
        if (op == "call" and node.name == "pow") or op == "**":
            (a, da), (b, db) = self.dual(args[0]), self.dual(args[1])
            if db == ZERO:
                return f"pow({a}, {b})", _times(_times(f"({b})", f"pow({a}, ({b}) - 1.0)"), da)
        if op == "call":
            return f"{node.name}({', '.join(self.dual(arg)[0] for arg in args)})", UNKNOWN
        return self._no(node)

    def _no(self, node: Expr) -> tuple[str, str]:
        text = self._source.text[node.start : node.end]
        raise NotEuler(f"{text!r} depends on the time step in a way that is not read")

    def asked(self, node: Expr) -> str:
        """The condition ``node`` for a step that is as small as one likes. Raises `NotEuler`."""
        if not self.moves(node):
            return self.text(node)
        if node.op in ("&&", "||"):
            return f"({self.asked(node.args[0])}) {node.op} ({self.asked(node.args[1])})"
        if node.op == "u!":
            return f"!({self.asked(node.args[0])})"
        if node.op not in COMPARED:
            return self.dual(node)[0]
        value, slope = self.dual(difference(node))
        if value == ZERO:  # equal but for what the step adds
            return f"{_term(slope)} {node.op} 0.0" if slope != UNKNOWN else self._no(node)[0]
        return f"{_term(self.dual(node.args[0])[0])} {node.op} {_term(self.dual(node.args[1])[0])}"


def difference(node: Expr) -> Expr:
    """What a comparison compares to zero."""
    return Expr("-", node.start, node.end, args=node.args)


def _atom(text: str) -> str:
    """``text`` as a factor."""
    if re.fullmatch(r"[\w.$`]+|[\w$]+\([^()]*\)", text) or _enclosed(text):
        return text
    return f"({text})"


def _enclosed(text: str) -> bool:
    """Whether one pair of brackets is around all of ``text``."""
    depth = 0
    for k, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and (k == 0 or k < len(text) - 1):
            return False
    return bool(text) and depth == 0


def _term(text: str) -> str:
    """``text`` as the first term of a sum."""
    return _atom(text) if re.search(r"[?<>=&|]", text) else text


def _plus(a: str, b: str) -> str:
    if UNKNOWN in (a, b):
        return UNKNOWN
    if ZERO in (a, b):
        return b if a == ZERO else a
    return f"{_term(a)} + {_atom(b)}"


def _minus(a: str, b: str) -> str:
    if UNKNOWN in (a, b):
        return UNKNOWN
    if b == ZERO:
        return a
    return f"-{_atom(b)}" if a == ZERO else f"{_term(a)} - {_atom(b)}"


def _times(a: str, b: str) -> str:
    if ZERO in (a, b):
        return ZERO
    if UNKNOWN in (a, b):
        return UNKNOWN
    if _ONE.fullmatch(a) or _ONE.fullmatch(b):
        return b if _ONE.fullmatch(a) else a
    return f"{_atom(a)}*{_atom(b)}"


def _over(a: str, b: str) -> str:
    if a == ZERO or UNKNOWN in (a, b):
        return ZERO if a == ZERO else UNKNOWN
    return a if _ONE.fullmatch(b) else f"{_atom(a)}/{_atom(b)}"


def names(values: Collection[str], taken: Collection[str], suffix: str) -> dict[str, str]:
    """A free name with ``suffix`` for each of ``values``."""
    found: dict[str, str] = {}
    for value in values:
        name = value.replace(".", "_") + suffix
        while name in taken or name in found.values():
            name += "_"
        found[value] = name
    return found
