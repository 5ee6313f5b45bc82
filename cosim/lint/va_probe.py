"""What an expression is where the time step is zero, shown by numbers: its values where all that it reads is drawn.

Two writings of one thing agree in every draw: ``x``, ``y + (x - y)*exp(-0/tau)``, ``(tau*x + 0*y)/(tau + 0)``.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import lru_cache
from itertools import count

from cosim.language.expressions import Dialect, Expr, Unreadable, evaluate
from cosim.lint.va_state import NOW
from cosim.lint.va_values import FUNCTIONS

DRAWS = 6
Values = tuple[float | None, ...]  # None where there is no value: the root of a negative number
ZEROS: Values = (0.0,) * DRAWS
_CLOSE = 1e-12  # relative
_POSITIVE = ("exp", "limexp", "pow")
_fresh = count()
_DIALECT = Dialect(FUNCTIONS, math.pow, caret_is_power=True)


@lru_cache(maxsize=4096)
def drawn(name: str) -> Values:
    """The values of something that is known by ``name`` alone: the same at each call, between 0.3 and 1.7."""
    return tuple(random.Random(f"{name} {k}").uniform(0.3, 1.7) for k in range(DRAWS))  # noqa: S311  (no secret)


def fresh(name: str) -> Values:
    """The values of something of which nothing is known: others at each call."""
    return drawn(f"{name} {next(_fresh)}")


def same(a: Values, b: Values) -> bool:
    """Whether two expressions agree wherever both have a value, which is in half of the draws at least."""
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    return 2 * len(pairs) >= DRAWS and all(_cancels(x, y) for x, y in pairs)


def _cancels(x: float, y: float) -> bool:
    return abs(x - y) <= _CLOSE * max(abs(x), abs(y))


def values(expr: Expr, known: Callable[[Expr], Values | None]) -> Values:
    """Those of ``expr``; ``known`` gives those of what is more than drawn by its name: variables, the time step."""
    return tuple(_value(expr, known, k) for k in range(DRAWS))


def _value(expr: Expr, known: Callable[[Expr], Values | None], k: int) -> float | None:
    def lookup(node: Expr) -> float:
        name = "$abstime" if node.name in NOW else node.name
        return _given((known(node) or drawn(name))[k], node)

    def call(node: Expr) -> float | None:
        given = known(node)
        if given is not None and given[k] is not None:
            return given[k]
        if node.name in ("V", "I") or node.op == "string":
            return drawn(f"{node.name}({','.join(arg.name for arg in node.args)})")[k]
        parts = [_given(of(arg), arg) for arg in node.args]
        if node.name in FUNCTIONS:
            value = float(FUNCTIONS[node.name](*parts))
            small = value == 0.0 and node.name in _POSITIVE and (node.name != "pow" or parts[0] != 0.0)
            return None if small else value  # it is not zero, only too small for a number
        return drawn(f"{node.name}({[round(part, 9) for part in parts]})")[k]  # of which only that is known

    def of(node: Expr) -> float | None:
        try:
            if node.op in ("call", "string"):
                return call(node)
            if node.op in ("+", "-", "*", "/"):
                return _joined(node.op, of(node.args[0]), of(node.args[1]))
            return float(evaluate(node, lookup, call, _DIALECT))
        except (Unreadable, ValueError, OverflowError, ZeroDivisionError, TypeError):
            return None

    return of(expr)


def _given(value: float | None, node: Expr) -> float:
    if value is None:
        raise Unreadable(f"{node.name!r} has no value", node.start)
    return value


def _joined(op: str, a: float | None, b: float | None) -> float | None:
    """A sum that cancels is zero, and so is zero times what has no value: a rate that the drawn numbers make too large.

    What becomes zero because it is too small for a number has no value.
    """
    if op == "*" and 0.0 in (a, b):
        return 0.0
    if op == "/" and a == 0.0 and b != 0.0:
        return 0.0
    if a is None or b is None:
        return None
    if op in "+-":
        b = b if op == "+" else -b
        return 0.0 if _cancels(a, -b) else a + b
    value = a * b if op == "*" else a / b
    return value if value != 0.0 and math.isfinite(value) else None
