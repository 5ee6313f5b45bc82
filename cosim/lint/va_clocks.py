"""Which variables are the time of the last step: those that are set to the time at each step, and in no step left out.

One that is set to the time in some cases only (``if (V(p, n) > 0.5) t0 = $abstime;``) is the instant at which something
happened, not a clock.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection

from cosim.language.expressions import Expr
from cosim.language.va_tree import Module, Statement
from cosim.lint.va_marks import flags_of, is_start, is_zero
from cosim.lint.va_state import NOW, Flow, constant, sources

# Names of a parameter that may be a time step, the surest first.
_STEP_NAMES = tuple(
    re.compile(names, re.IGNORECASE)
    for names in (r"(d_?t|delta_?t|(time|t)_?step)$", r"((time|t)_?step\w*|delta_?t\w*)$", r"(step|h|ts|d_?t\w*)$")
)
_MOST_TICKS = 1000


def clocks(module: Module, flow: Flow) -> tuple[set[str], set[str]]:
    """The variables that are the time, and those that are the time of the last step."""
    left = instants(module, flow)
    now = _times(flow, left)
    return {name for name in now if name not in flow.hidden}, {name for name in now if name in flow.hidden}


def instants(module: Module, flow: Flow) -> set[str]:
    """The variables that keep the time at which something happened: set to the time, but not at each step."""
    found: set[str] = set()
    while new := _times(flow, found) & fitful(module, flow, found):
        found |= new
    return found


def fitful(module: Module, flow: Flow, times_but: Collection[str] = ()) -> set[str]:
    """The hidden variables that some steps leave as they are; ``times_but``: variables that are not times."""
    steady = _Steady(module, flow, _times(flow, times_but))
    return flow.hidden.keys() - {n for block, initial in module.analogs if not initial for n in steady.assigned(block)}


def _times(flow: Flow, without: Collection[str]) -> set[str]:
    """The variables that nothing but the time is assigned to, now or at an earlier step."""
    now: set[str] = set(NOW)
    while True:
        new = {
            name
            for name, given in flow.assigned.items()
            if name not in now and name not in without
            and given
            and all(s.target == name and s.value is not None and s.value.op == "name" and s.value.name in now
                    for s in given)
        }  # fmt: skip
        if not new:
            return now
        now |= new


class _Steady:
    """What is assigned at each step but the first, where ``now`` are the variables that may be times."""

    def __init__(self, module: Module, flow: Flow, now: set[str]) -> None:
        self._module, self._flow, self._now = module, flow, now
        self._flags = flags_of(module, flow)
        self._steps = {
            name
            for name, given in flow.assigned.items()
            if all(s.target == name and s.value is not None and self._elapsed(s.value) for s in given)
        }

    def _elapsed(self, node: Expr) -> bool:
        """Whether ``node`` is the time since an earlier step."""
        return node.op == "-" and all(arg.op == "name" and arg.name in self._now for arg in node.args)

    def assigned(self, statement: Statement) -> set[str]:
        """The variables that ``statement`` assigns at each step."""
        kind = statement.kind
        if kind == "assign":
            return {statement.target}
        if kind == "block" or (kind == "event" and statement.name == "timer"):
            return self._all(statement.body)
        if kind == "if" and statement.value is not None:
            runs = self._runs(statement.value)
            if runs is not None:
                return self._all(statement.body if runs else statement.other)
            first, second = self._all(statement.body), self._all(statement.other)
            return first | second if constant(statement.value, self._module) else first & second
        if kind == "case":
            ends = [self.assigned(child) for child in statement.body]
            if statement.value is not None and constant(statement.value, self._module):
                return set().union(*ends)
            if any(label.name == "default" for label in statement.args):
                return set.intersection(*ends)
        return set()

    def _all(self, body: list[Statement]) -> set[str]:
        return set().union(*(self.assigned(child) for child in body))

    def _runs(self, condition: Expr) -> bool | None:
        """Whether ``condition`` holds at each step but the first; None where that depends on more than the time."""
        if is_start(condition, self._flags):
            return False
        op, args = condition.op, condition.args
        if op == "&&":
            parts = [self._runs(arg) for arg in args]
            return False if False in parts else None if None in parts else True
        if op == "u!":
            runs = self._runs(args[0])
            return None if runs is None else not runs
        if op == "name":
            return True if condition.name in self._flags else None
        if op == "call" and condition.name == "analysis":
            return any(arg.name.strip('"') == "tran" for arg in args)
        if op in (">", ">=", "!=", "<", "<=", "=="):
            more, less = args[::-1] if op in ("<", "<=") else args
            passed = self._is_elapsed(more) and is_zero(less)
            times = more.op == less.op == "name" and {more.name, less.name} <= self._now
            begun = more.op == "name" and more.name in NOW | self._flags and is_zero(less)
            if passed or times or begun:
                return op != "=="
        return None

    def _is_elapsed(self, node: Expr) -> bool:
        return self._elapsed(node) or (node.op == "name" and node.name in self._steps)


def step_parameters(module: Module, states: Flow) -> set[str]:
    """The parameters that stand for the time step of an integration by hand.

    Where the step is the difference of two times, only a parameter that may replace it; otherwise that with the surest
    name, of those that a hidden variable is computed from.
    """
    named = [e.name.text for e in module.parameters if any(names.match(e.name.text) for names in _STEP_NAMES)]
    hidden = {*states.hidden, *(e.name.text for e in module.variables if e.array)}  # an array may keep its values too
    if not named or not hidden:
        return set()
    now, last = clocks(module, states)
    given = [{id(s): s.value for s in s_list if s.value is not None} for s_list in states.assigned.values()]
    if last & {name for values in given for value in values.values() for name in value.names()}:
        measured = [
            values
            for values in given
            if any(v.op == "-" and v.args[0].name in now and v.args[1].name in last for v in values.values())
        ]
        return {v.name for values in measured for v in values.values() if v.op == "name" and v.name in named}
    needed = sources(module, hidden) & set(named)
    for names in _STEP_NAMES:
        if found := {name for name in needed if names.match(name)}:
            return found
    return set()


def ticks(start: float, period: float, last: float, now: float) -> list[float] | None:
    """When a timer ticks after ``last`` and up to ``now`` (s); None for more than `_MOST_TICKS` times."""
    if period <= 0.0:
        return [start] if last < start <= now else []
    first = max(0, math.floor((max(last, start - period) - start) / period + 1e-6) + 1)
    final = math.floor((now - start) / period + 1e-6)
    if final - first >= _MOST_TICKS:
        return None
    return [min(start + k * period, now) for k in range(first, final + 1)]
