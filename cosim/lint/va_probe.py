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
_CLOSE = 1e-9
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
    return 2 * len(pairs) >= DRAWS and all(abs(x - y) <= _CLOSE * (abs(x) + abs(y) + 1e-3) for x, y in pairs)


def values(expr: Expr, known: Callable[[Expr], Values | None]) -> Values:
    """Those of ``expr``; ``known`` gives those of what is more than drawn by its name: variables, the time step."""
    return tuple(_value(expr, known, k) for k in range(DRAWS))


def _value(expr: Expr, known: Callable[[Expr], Values | None], k: int) -> float | None:
    def lookup(node: Expr) -> float:
        name = "$abstime" if node.name in NOW else node.name
        given = known(node) or drawn(name)
        value = given[k]
        if value is None:
            raise Unreadable(f"{node.name!r} has no value", node.start)
        return value

    def special(node: Expr) -> float | None:
        given = known(node)
        if given is not None and given[k] is not None:
            return given[k]
        if node.name in FUNCTIONS:
            return None
        if node.name in ("V", "I") or node.op == "string":
            return drawn(f"{node.name}({','.join(arg.name for arg in node.args)})")[k]
        inner = [round(evaluate(arg, lookup, special, _DIALECT), 9) for arg in node.args]
        return drawn(f"{node.name}({inner})")[k]  # a function, of which only that is known

    try:
        return float(evaluate(expr, lookup, special, _DIALECT))
    except (Unreadable, ValueError, OverflowError, ZeroDivisionError, TypeError):
        return None
