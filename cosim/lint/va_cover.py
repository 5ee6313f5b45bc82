"""Do conditions leave no case out? ``if (v > b) ...; if (v <= b) ...`` assigns on every path, without an ``else``.

Shown at the parameters' defaults: what the conditions compare (at most two voltages, currents or variables) is tried
at, below and above every constant that occurs in them, and where it is one alone, on both sides of every value at which
a comparison changes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from cosim.language.expressions import Dialect, Expr, Unreadable, evaluate
from cosim.language.va_tree import Module
from cosim.lint.va_values import FUNCTIONS

_MOST = 24  # values of each
_BETWEEN = 96
_GRID = sorted(sign * 10.0 ** (k / 10.0) for k in range(-90, 61) for sign in (-1.0, 1.0))  # where edges are looked for
_COMPARED = frozenset({"<", "<=", ">", ">=", "==", "!="})


def covers(conditions: Sequence[Expr], module: Module) -> bool:
    """Whether one of ``conditions`` holds in every case."""
    return _in_every_case(conditions, module, any)


def apart(conditions: Sequence[Expr], module: Module) -> bool:
    """Whether no two of ``conditions`` hold at once in any case."""
    return _in_every_case(conditions, module, lambda held: sum(held) < 2, between=_BETWEEN)


def at_rest(condition: Expr, module: Module) -> bool | None:
    """Whether ``condition`` holds where every voltage, current and variable is zero; None where that is not known."""
    reader = _Reader(module)
    try:
        return reader.value(condition, dict.fromkeys(reader.atoms(condition), 0.0)) != 0.0
    except (Unreadable, ValueError, OverflowError, ZeroDivisionError):
        return None


def _in_every_case(
    conditions: Sequence[Expr], module: Module, judge: Callable[[Iterator[bool]], bool], between: int = 0
) -> bool:
    """Whether ``judge`` says so of what holds in each case; ``between``: further values, where a scale moves edges."""
    reader = _Reader(module)
    atoms = list(dict.fromkeys(key for condition in conditions for key in reader.atoms(condition)))
    if not 1 <= len(atoms) <= 2:
        return False
    try:
        values = {0.0} | {x for condition in conditions for x in reader.constants(condition)}
        values |= {-x for x in values}
        tried = sorted({y for x in values for y in (x - 1e-9 - 1e-6 * abs(x), x, x + 1e-9 + 1e-6 * abs(x))})
        if len(tried) > 3 * _MOST:
            return False
        far = 2.0 * max(1.0, *tried)
        tried += [far * (2.0 * k / between - 1.0) for k in range(between + 1)] if between else []
        if len(atoms) == 1:
            tried = _sides(reader, conditions, atoms[0], tried)
        return all(
            judge(reader.value(condition, dict(zip(atoms, case, strict=True))) != 0.0 for condition in conditions)
            for case in itertools.product(tried, repeat=len(atoms))
        )
    except (Unreadable, ValueError, OverflowError, ZeroDivisionError):
        return False


def _sides(reader: _Reader, conditions: Sequence[Expr], atom: str, tried: Sequence[float]) -> list[float]:
    """``tried``, each edge where something that is compared changes its order, its sides, and what lies between."""

    def order(node: Expr, x: float) -> float:
        return reader.value(node.args[0], {atom: x}) - reader.value(node.args[1], {atom: x})

    edges = {0.0, *tried}
    for node in (one for condition in conditions for one in condition.walk() if one.op in _COMPARED):
        ends = [(x, order(node, x) > 0.0) for x in _GRID]
        for (low, below), (high, above) in itertools.pairwise(ends):
            if below != above:
                while (middle := 0.5 * (low + high)) not in (low, high):
                    low, high = (middle, high) if (order(node, middle) > 0.0) == below else (low, middle)
                edges |= {low, high}
    inner = sorted(edges)
    return [2.0 * inner[0] - 1.0, *inner, *(0.5 * (a + b) for a, b in itertools.pairwise(inner)), 2.0 * inner[-1] + 1.0]


class _Reader:
    """Evaluates conditions of ``module`` where the values of voltages, currents and variables are given."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._defaults = {entry.name.text: entry.value for entry in module.parameters}
        self._dialect = Dialect(FUNCTIONS, math.pow)

    def _key(self, node: Expr) -> str:
        """What a voltage, a current or a variable is known by; "" for anything else."""
        if node.op == "call" and node.name in ("V", "I"):
            return f"{node.name}({','.join(arg.name for arg in node.args)})"
        plain = node.op == "name" and node.name not in self._defaults and not node.name.startswith("`")
        return node.name if plain else ""

    def atoms(self, node: Expr) -> list[str]:
        """All of them in ``node``."""
        key = self._key(node)
        return [key] if key else [found for arg in node.args for found in self.atoms(arg)]

    def constants(self, node: Expr) -> list[float]:
        """The values of the largest parts of ``node`` that do not depend on any of them."""
        if not self.atoms(node):
            return [self.value(node, {})]
        return [] if self._key(node) else [value for arg in node.args for value in self.constants(arg)]

    def value(self, node: Expr, case: Mapping[str, float]) -> float:
        """The value of ``node``; raises `Unreadable`."""

        def name(inner: Expr) -> float:
            if inner.name in case:
                return case[inner.name]
            default = self._defaults.get(inner.name)
            if default is None:
                raise Unreadable(f"{inner.name!r} has no value here", inner.start)
            return self.value(default, {})

        def special(inner: Expr) -> float | None:
            key = self._key(inner)
            if key:
                return case[key]
            function = self._module.functions.get(inner.name)
            if function is None:
                return None
            body = function.body
            if len(body) == 1 and body[0].kind == "block":
                body = body[0].body
            if len(body) != 1 or body[0].target != function.name or body[0].value is None:
                raise Unreadable("a function of several statements", inner.start)
            given = {a.text: of(arg) for a, arg in zip(function.arguments, inner.args, strict=True)}
            return self.value(body[0].value, given)

        def of(inner: Expr) -> float:
            return evaluate(inner, name, special, self._dialect)

        return of(node)
