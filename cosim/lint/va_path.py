"""What is known on the way through a module: what each variable is where the time step is zero."""

from __future__ import annotations

from dataclasses import dataclass, field

from cosim.language.expressions import Expr
from cosim.lint import va_probe
from cosim.lint.va_rules import Model


@dataclass
class EulerState:
    """A recognised state: its variable, others that hold the same at a step's start, its start and bounds (as text)."""

    name: str
    same: list[str] = field(default_factory=list)
    initial: str = ""
    low: str = ""
    high: str = ""
    unbounded: bool = False  # it is the value of an idt, which goes on beyond the bounds of what is read

    def bound(self, model: Model, expr: Expr, *, upper: bool) -> None:
        """Take a constant ``expr`` for a bound, unless there is one already."""
        written = model.source.text[expr.start : expr.end]
        if upper:
            self.high = self.high or written
        else:
            self.low = self.low or written


@dataclass
class Way:
    """What is known on the way to a statement: the variables that equal a state, those with a slope (of them ``dim``
    those whose slope has no writing), what each variable is in draws of numbers, and those that were assigned.
    """

    alias: dict[str, str]
    live: set[str]
    dim: set[str]
    drawn: dict[str, va_probe.Values]
    assigned: set[str]

    def copy(self) -> Way:
        """What is known, to go on with apart."""
        return Way(dict(self.alias), set(self.live), set(self.dim), dict(self.drawn), set(self.assigned))


def joined(ends: list[Way]) -> Way:
    """Behind an ``if``: a variable that one end has not assigned is not read there."""
    assigned = set().union(*(end.assigned for end in ends))
    alias = {}
    for name in {name for end in ends for name in end.alias}:
        found = {end.alias.get(name, "") for end in ends if name in end.alias or name in end.assigned}
        if len(found) == 1 and "" not in found:
            alias[name] = found.pop()
    drawn = {}
    for name in {name for end in ends for name in end.drawn}:
        values = [end.drawn[name] for end in ends if name in end.drawn]
        drawn[name] = values[0] if all(va_probe.same(values[0], one) for one in values[1:]) else va_probe.fresh(name)
    live = set().union(*(end.live for end in ends))
    dim = set().union(*(end.dim for end in ends))
    return Way(alias, live, dim, drawn, assigned)
