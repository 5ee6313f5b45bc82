"""Expressions of Verilog-A and of LTspice: one syntax tree, one precedence parser, one evaluator.

Only what a compact model needs; an unknown construct raises `Unreadable` with its place, and the caller can say
what was not read. Nothing is ever executed: the evaluator walks the tree.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

MAX_DEPTH = 40  # of nested brackets, each a dozen frames
MAX_CHAIN = 300  # of operators in a row, a level of the tree each


class Unreadable(Exception):
    """A text that this parser does not read: ``position`` is an offset into it."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


@dataclass(frozen=True, slots=True)
class Token:
    """``kind`` is name, number, string, system ($x), directive (`x), op or end; offsets into the text."""

    kind: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Expr:
    """A node, at ``start``..``end`` of the text.

    ``op`` is "number" (``value``), "string", "name", "call" (``name`` of ``args``), "index" (``name`` at ``args``),
    "cond", a binary operator, or "u-", "u!", "u~", "u+".
    """

    op: str
    start: int
    end: int
    name: str = ""
    value: float = 0.0
    args: tuple[Expr, ...] = ()
    integer: bool = False  # of a number: written without point, exponent and suffix

    def walk(self) -> Iterator[Expr]:
        """This node and all below it."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed(node.args)

    def names(self) -> set[str]:
        """Every plain name that is read."""
        return {node.name for node in self.walk() if node.op == "name"}


class Cursor:
    """A position in a list of tokens that ends with one of kind "end"."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.index = 0

    @property
    def here(self) -> Token:
        """The next token."""
        return self.tokens[self.index]

    def peek(self, ahead: int = 1) -> Token:
        """A later token."""
        return self.tokens[min(self.index + ahead, len(self.tokens) - 1)]

    @property
    def last(self) -> Token:
        """The token before the next one."""
        return self.tokens[max(self.index - 1, 0)]

    def take(self) -> Token:
        """The next token, and go on."""
        token = self.here
        if token.kind != "end":
            self.index += 1
        return token

    def at(self, *texts: str) -> bool:
        """Whether the next token is one of these."""
        return self.here.kind not in ("string", "end") and self.here.text in texts

    def accept(self, *texts: str) -> bool:
        """Take the next token if it is one of these."""
        if self.at(*texts):
            self.index += 1
            return True
        return False

    def expect(self, text: str) -> Token:
        """Take ``text``; raises `Unreadable`."""
        if not self.at(text):
            raise Unreadable(f"expected {text!r}, found {self.here.text or 'the end'!r}", self.here.start)
        return self.take()

    def name(self) -> Token:
        """Take a name; raises `Unreadable`."""
        if self.here.kind != "name":
            raise Unreadable(f"expected a name, found {self.here.text or 'the end'!r}", self.here.start)
        return self.take()


Levels = Sequence[frozenset[str]]
# From loosest to tightest; powers are made from left to right. In Verilog-A a sign binds tighter than "**", and "^" is
# exclusive or and stands below "&"; here it binds like a power, looser than a sign, because that is what those who
# write it between real numbers mean (rule "caret").
VERILOG_LEVELS: Levels = tuple(
    frozenset(level.split())
    for level in (
        "||", "&&", "|", "~^ ^~", "&", "== != === !==", "< <= > >=", "<< >> <<< >>>", "+ -", "* / %", "** ^",
    )
)  # fmt: skip
LTSPICE_LEVELS: Levels = tuple(
    frozenset(level.split()) for level in ("|| |", "&& &", "^", "== !=", "< <= > >=", "+ -", "* / %", "**")
)
# The same where "^" is a power.
SPICE_LEVELS: Levels = (*(level for level in LTSPICE_LEVELS[:-1] if "^" not in level), frozenset({"**", "^"}))


class ExpressionParser:
    """Reads expressions off a cursor. ``number`` gives the value of a number token and whether it is an integer."""

    def __init__(self, levels: Levels, number: Callable[[Token], tuple[float, bool]]) -> None:
        self._levels = levels
        self._number = number
        self._depth = 0

    def parse(self, cursor: Cursor) -> Expr:
        """One expression; raises `Unreadable`."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unreadable("an expression nests too deep", cursor.here.start)
        try:
            condition = self._binary(cursor, 0)
            if not cursor.accept("?"):
                return condition
            first = self.parse(cursor)
            cursor.expect(":")
            second = self.parse(cursor)
            return Expr("cond", condition.start, second.end, args=(condition, first, second))
        finally:
            self._depth -= 1

    def _binary(self, cursor: Cursor, level: int) -> Expr:
        if level == len(self._levels):
            return self._unary(cursor)
        left = self._binary(cursor, level + 1)
        chain = 0
        while cursor.here.kind == "op" and cursor.here.text in self._levels[level]:
            symbol = cursor.take().text
            chain += 1
            if chain > MAX_CHAIN:
                raise Unreadable("an expression is too long", cursor.here.start)
            right = self._binary(cursor, level + 1)
            left = Expr(symbol, left.start, right.end, args=(left, right))
        return left

    def _unary(self, cursor: Cursor) -> Expr:
        if cursor.at("-", "+", "!", "~"):
            sign = cursor.take()
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise Unreadable("an expression nests too deep", sign.start)
            if self._levels is VERILOG_LEVELS:  # -x**2 is (-x)**2
                operand = self._unary(cursor)
                while cursor.accept("^"):
                    power = self._unary(cursor)
                    operand = Expr("^", operand.start, power.end, args=(operand, power))
            else:  # -x**2 is -(x**2)
                operand = self._binary(cursor, len(self._levels) - 1)
            self._depth -= 1
            return Expr(f"u{sign.text}", sign.start, operand.end, args=(operand,))
        return self._primary(cursor)

    def operand(self, cursor: Cursor) -> Expr:
        """A number, name, call or bracket; raises `Unreadable`."""
        return self._primary(cursor)

    def _primary(self, cursor: Cursor) -> Expr:
        token = cursor.take()
        if token.kind == "number":
            value, integer = self._number(token)
            return Expr("number", token.start, token.end, value=value, integer=integer)
        if token.kind == "string":
            return Expr("string", token.start, token.end, name=token.text)
        if token.text in ("(", "{", "'{"):
            inner = [self.parse(cursor)]
            while token.text != "(" and cursor.accept(","):
                inner.append(self.parse(cursor))
            close = cursor.expect(")" if token.text == "(" else "}")
            if len(inner) == 1 and token.text != "'{":
                found = inner[0]  # the span takes the brackets in
                return Expr(found.op, token.start, close.end, found.name, found.value, found.args, found.integer)
            return Expr("call", token.start, close.end, name="{}", args=tuple(inner))
        if token.kind in ("name", "system", "directive"):
            if cursor.at("[") and self._levels is VERILOG_LEVELS:
                return self._indexed(cursor, token)
            if not cursor.at("("):
                return Expr("name", token.start, token.end, name=token.text)
            cursor.take()
            args: list[Expr] = []
            while not cursor.at(")"):
                args.append(self._argument(cursor))
                if not cursor.accept(","):
                    break
            close = cursor.expect(")")
            return Expr("call", token.start, close.end, name=token.text, args=tuple(args))
        raise Unreadable(f"{token.text or 'the end'!r} where a value is expected", token.start)

    def _indexed(self, cursor: Cursor, name: Token) -> Expr:
        """An element of an array, ``name[i]`` or ``name[i][j]``, or a part ``name[i:j]``."""
        args: list[Expr] = []
        while cursor.accept("["):
            args.append(self.parse(cursor))
            if cursor.accept(":"):
                args.append(self.parse(cursor))
            close = cursor.expect("]")
        return Expr("index", name.start, close.end, name=name.text, args=tuple(args))

    def _argument(self, cursor: Cursor) -> Expr:
        if cursor.at("<") and cursor.peek(2).text == ">":  # the flow through a port, I(<p>)
            start, port, end = cursor.take(), cursor.take(), cursor.take()
            return Expr("name", start.start, end.end, name=f"<{port.text}>")
        if cursor.at(",", ")"):  # an argument left out
            return Expr("name", cursor.here.start, cursor.here.start, name="")
        if cursor.at("+", "-") and cursor.peek().text in (",", ")"):  # a direction, as some write in cross(x, +)
            token = cursor.take()
            return Expr("name", token.start, token.end, name=token.text)
        return self.parse(cursor)


def truth(value: float) -> bool:
    """Verilog-A: anything but zero."""
    return value != 0.0


@dataclass(frozen=True)
class Dialect:
    """What operators and functions mean. ``power`` is the meaning of ``**``.

    ``integers`` are the names that Verilog-A computes in integers, so that 1/2 is 0; None: there are no integers.
    """

    functions: Mapping[str, Callable[..., float]]
    power: Callable[[float, float], float]
    true: Callable[[float], bool] = truth
    integers: frozenset[str] | None = None
    caret_is_power: bool = False


_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b,
}  # fmt: skip
Special = Callable[[Expr], float | None]


def evaluate(expr: Expr, lookup: Callable[[Expr], float], special: Special, dialect: Dialect) -> float:
    """The value of ``expr``.

    Args:
        lookup: the value of a name.
        special: the value of a call that is more than a function of its arguments (V, I, idt); None where it is not.
        dialect: of the language.

    Raises:
        Unreadable: for what has no value here.
    """

    def of(node: Expr) -> float:
        op, args = node.op, node.args
        if op == "number":
            return node.value
        if op == "name":
            return lookup(node)
        if op == "call":
            found = special(node)
            if found is not None:
                return found
            function = dialect.functions.get(node.name.lower())
            if function is None:
                raise Unreadable(f"{node.name}() has no value here", node.start)
            return float(function(*(of(arg) for arg in args)))
        if op == "cond":
            return of(args[1]) if dialect.true(of(args[0])) else of(args[2])
        if op == "&&" or (op == "&" and dialect.integers is None):
            return float(dialect.true(of(args[0])) and dialect.true(of(args[1])))
        if op == "||" or (op == "|" and dialect.integers is None):
            return float(dialect.true(of(args[0])) or dialect.true(of(args[1])))
        if op == "u-":
            return -of(args[0])
        if op == "u+":
            return of(args[0])
        if op in ("u!", "u~"):
            return float(not dialect.true(of(args[0])))
        if op == "string" and (found := special(node)) is not None:
            return found
        if op in ("string", "index") or len(args) != 2:
            raise Unreadable("this has no value here", node.start)
        return _binary(node, of(args[0]), of(args[1]), dialect)

    return of(expr)


Closure = Callable[[], float]


def compiled(expr: Expr, bind: Callable[[Expr], Closure | None], dialect: Dialect) -> Closure:
    """``expr`` as a function of nothing, for an expression that is evaluated many times; see `evaluate`.

    ``bind`` gives what a name, a string, or a call that is more than a function of its arguments, comes to.
    Calling the result raises `Unreadable` for what has no value.
    """
    op = expr.op
    if op in ("name", "call", "string", "index") and (bound := bind(expr)) is not None:
        return bound
    parts = [compiled(arg, bind, dialect) for arg in expr.args]
    true = dialect.true
    if op == "number":
        value = expr.value
        return lambda: value
    if op == "call":
        function = dialect.functions.get(expr.name.lower())
        if function is None:
            raise Unreadable(f"{expr.name}() has no value here", expr.start)
        if len(parts) == 1:
            (one,) = parts
            return lambda: float(function(one()))
        return lambda: float(function(*[part() for part in parts]))
    if op == "cond":
        asked, first, second = parts
        return lambda: first() if true(asked()) else second()
    if op in ("u-", "u+", "u!", "u~"):
        (part,) = parts
        if op in ("u-", "u+"):
            return (lambda: -part()) if op == "u-" else part
        return lambda: float(not true(part()))
    if op in ("string", "index", "name") or len(parts) != 2:
        raise Unreadable("this has no value here", expr.start)
    a, b = parts
    if op == "&&" or (op == "&" and dialect.integers is None):
        return lambda: float(true(a()) and true(b()))
    if op == "||" or (op == "|" and dialect.integers is None):
        return lambda: float(true(a()) or true(b()))
    if op in _PLAIN:
        plain = _PLAIN[op]
        return lambda: plain(a(), b())
    return lambda: _binary(expr, a(), b(), dialect)


_PLAIN: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, **_COMPARE,
}  # fmt: skip


def is_integer(expr: Expr, integers: frozenset[str]) -> bool:
    """Whether Verilog-A computes ``expr`` in integers; ``integers`` are the names declared so."""
    if expr.op == "number":
        return expr.integer
    if expr.op in ("name", "index", "call"):  # of an array or a function that is declared so
        return expr.name in integers
    if expr.op in ("u-", "u+", "+", "-", "*", "/", "%", "**"):
        return all(is_integer(arg, integers) for arg in expr.args)
    return False


def _binary(node: Expr, a: float, b: float, dialect: Dialect) -> float:
    op = node.op
    if op in _COMPARE:
        return float(_COMPARE[op](a, b))
    if op == "+":
        return a + b
    if op == "-":
        return a - b
    if op == "*":
        return a * b
    if op == "/":
        if b == 0.0:
            raise Unreadable("a division by zero", node.start)
        whole = dialect.integers is not None and is_integer(node, dialect.integers)
        return float(int(a / b)) if whole else a / b
    if op == "%":
        return math.fmod(a, b)
    if op == "**":
        return dialect.power(a, b)
    if op == "^":
        return dialect.power(a, b) if dialect.caret_is_power else float(dialect.true(a) != dialect.true(b))
    raise Unreadable(f"operator {op!r} has no value here", node.start)
