"""A walk through a module with a time step of zero, which shows what is a state, and what it grows by.

A variable that is still what it was at the step's start is a state; what is assigned to it grows per second by its
slope (`va_slope`). The walk collects the edits that write the module so: slopes beside values, and no time step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from cosim.language.expressions import Expr
from cosim.language.findings import Edit
from cosim.language.va_tree import Module, Statement
from cosim.lint.va_clip import inside
from cosim.lint.va_rules import Model
from cosim.lint.va_slope import ZERO, NotEuler, Slopes, names
from cosim.lint.va_state import NOW, Flow, clocks, constant, is_initial, sources, step_parameters

_NODE = "{} is the voltage of an internal node, integrated by idt"


@dataclass
class EulerState:
    """A recognised state: its variable, others that hold the same at a step's start, its start and bounds (as text)."""

    name: str
    same: list[str] = field(default_factory=list)
    initial: str = ""
    low: str = ""
    high: str = ""
    unbounded: bool = False  # it is the value of an idt, which goes on beyond the bounds of what is read


@dataclass
class _Path:
    """What is known on the way to a statement: the variables that equal a state, those with a slope, those of them
    that are zero, and those that were assigned.
    """

    alias: dict[str, str]
    live: set[str]
    nil: set[str]
    assigned: set[str]

    def copy(self) -> _Path:
        return _Path(dict(self.alias), set(self.live), set(self.nil), set(self.assigned))


def _joined(ends: list[_Path]) -> _Path:
    """Behind an ``if``: a variable that one end has not assigned is not read there."""
    alias = {}
    assigned = set().union(*(end.assigned for end in ends))
    for name in {name for end in ends for name in end.alias}:
        found = {end.alias.get(name, "") for end in ends if name in end.alias or name in end.assigned}
        if len(found) == 1 and "" not in found:
            alias[name] = found.pop()
    live = set().union(*(end.live for end in ends))
    nil = {n for n in live if all(n in end.nil for end in ends if n in end.live)}
    return _Path(alias, live, nil, assigned)


class Walk:
    """The statements at a time step of zero, with the edits that write them so.

    ``candidates`` are the hidden variables that may be states, each with the one whose value it has at a step's start.
    """

    def __init__(self, model: Model, module: Module, flow: Flow, candidates: dict[str, str]) -> None:
        self.model, self.module, self.flow = model, module, flow
        self.edits: list[Edit] = []
        self.lost: dict[str, str] = {}
        self.starts: list[Statement] = []  # guarded assignments of start values
        self._integrated: set[str] = set()
        self._now, self.clocks = clocks(flow)
        self.flags = _flags(module, flow)
        self.settled = _settled(module, flow, self.flags)
        self._parameters = step_parameters(module, flow)
        self.met: set[str] = set()  # those of them that are read as the step
        self.steps = self._step_variables()
        others = self.clocks | self.flags | self.settled | self.steps
        self._candidates = {name: of for name, of in candidates.items() if name not in others}
        self.states = {name: EulerState(name) for name in self._candidates.values()}
        self._path = _Path(dict(self._candidates), set(), set(), set())
        taken = set(module.nets) | {e.name.text for e in (*module.variables, *module.parameters)}
        assigned = dict.fromkeys([*self.states, *(s.target for s in module.statements() if s.kind == "assign")])
        self.rates = names(assigned, taken, "_rate")
        self.used: dict[str, None] = {}  # variables whose slope is assigned
        self.resets: set[str] = set()  # states that are set at once somewhere
        self.fast = names(["reset"], taken | set(self.rates.values()), "_time")["reset"]
        self._needed = sources(module, self._candidates)
        self._slopes = Slopes(
            model,
            is_step=self._is_step,
            rate=lambda name: self.rates[name] if name in self._path.live else "",
            nil=lambda name: name in self._path.nil,
        )

    def kept(self) -> dict[str, str]:
        """The candidates that still hold what they began with, or what another one did."""
        ends = {name: self._path.alias.get(name, "") for name in self._candidates}
        good = {name for name, of in self._candidates.items() if ends[name] == of == name and name in self._integrated}
        for name, of in ends.items():
            if name == of and name not in self._integrated and name in self._candidates.values():
                self.lost.setdefault(name, "it is not integrated over a time step or by idt")
        return {name: of for name, of in ends.items() if of in good and name not in self.lost}

    def _step_variables(self) -> set[str]:
        found: set[str] = set()
        self.steps = found
        while True:
            new = {
                name
                for name, given in self.flow.assigned.items()
                if name not in found | self._now | self.clocks
                and all(s.target == name and s.value is not None and self._is_step(s.value) for s in given)
            }
            if not new:
                return found
            found |= new

    def _is_step(self, node: Expr) -> bool:
        if node.op == "-":
            first, second = node.args
            return first.op == "name" and first.name in self._now and second.name in self.clocks
        if node.op == "name" and node.name in self._parameters:
            self.met.add(node.name)
            return True
        return node.op == "name" and node.name in self.steps

    def run(self, statement: Statement, guards: tuple[Expr, ...]) -> None:
        """Go through ``statement``, around which stand the conditions ``guards``."""
        kind = statement.kind
        if kind == "assign":
            self._assign(statement, guards)
        elif kind == "block":
            for child in statement.body:
                self.run(child, guards)
        elif kind == "if" and statement.value is not None:
            self._if(statement, statement.value, guards)
        elif kind == "case":
            self._branches([[child] for child in statement.body], guards, open_end=True)
        elif kind == "event" and is_initial(statement):
            return
        elif kind == "contrib" and statement.value is not None:
            if any(self._is_step(node) for node in statement.value.walk()):
                self.edits.append(
                    Edit(
                        statement.start,
                        statement.end,
                        f"{self._head(statement)} <+ {self._slopes.dual(statement.value)[0]};",
                        "the engine chooses the time step",
                    )
                )
        else:
            for child in statement.walk():
                for name in (child.target, *child.name.split()) if child.kind in ("assign", "unread") else ():
                    self._lose(name, self._text(child))

    def _head(self, statement: Statement) -> str:
        access = statement.access
        assert access is not None
        return self.model.source.text[access.start : access.end]

    def _text(self, statement: Statement) -> str:
        text = self.model.source.text[statement.start : statement.end]
        return f"{text!r} is not an explicit Euler step, start value or clamp"

    def _lose(self, name: str, reason: str) -> None:
        self._path.alias.pop(name, None)
        self._path.live.discard(name)
        self._path.nil.discard(name)
        self.lost.setdefault(name, reason)

    def _if(self, statement: Statement, condition: Expr, guards: tuple[Expr, ...]) -> None:
        if _is_start(condition, self.flags):
            inside = [s for child in statement.body for s in child.walk() if s.kind == "assign"]
            self.starts += inside
            if statement.other:
                self.edits.append(Edit(statement.start, statement.other[0].start, "", ""))
                for child in statement.other:
                    self.run(child, guards)
            elif all(s.target in self._known() for s in inside):
                self.edits.append(Edit(statement.start, statement.end, ";", "the start value is that of the node"))
            elif all(s.target in self._known() or self._constant(s) for s in inside):
                why = "what is set at the start, and does not change, is set always"
                self.edits.append(Edit(statement.start, statement.body[0].start, "", why))
            return
        taken = self._decided(condition)
        if taken is not None:
            chosen = statement.body if taken else statement.other
            if chosen:
                self.edits.append(Edit(statement.start, chosen[0].start, "", ""))
                if chosen[-1].end < statement.end:
                    self.edits.append(Edit(chosen[-1].end, statement.end, "", ""))
                for child in chosen:
                    self.run(child, guards)
            else:
                self.edits.append(Edit(statement.start, statement.end, ";", "the engine chooses the time step"))
            return
        self._branches([statement.body, statement.other], (*guards, condition))

    def _constant(self, statement: Statement) -> bool:
        """Whether a start value is constant and the only value of its variable."""
        name = statement.target
        if name in self.settled or statement.value is None or name in self.flow.hidden:
            return name in self.settled
        others = [s for s in self.flow.assigned.get(name, []) if s not in self.starts]
        return not others and constant(statement.value, self.module)

    def _known(self) -> set[str]:
        return set(self._candidates) | self.clocks | self.flags | self.steps

    def _decided(self, condition: Expr) -> bool | None:
        """What ``condition`` is for a step that is positive and as small as one likes; None where it is no such."""
        if condition.op not in ("<", "<=", ">", ">=", "==", "!=") or not self._is_step(condition.args[0]):
            return None
        if condition.args[0].op == "name" and condition.args[0].name in self._parameters:
            return None  # a switch
        return condition.op in (">", ">=", "!=") if _zero(condition.args[1]) else condition.op in ("<", "<=", "!=")

    def _branches(self, parts: list[list[Statement]], guards: tuple[Expr, ...], *, open_end: bool = False) -> None:
        path = self._path
        ends = [path] if open_end else []
        for part in parts:
            self._path = path.copy()
            for child in part:
                self.run(child, guards)
            ends.append(self._path)
        self._path = _joined(ends)

    def _assign(self, statement: Statement, guards: tuple[Expr, ...]) -> None:
        target, value = statement.target, statement.value
        assert value is not None  # an assignment has one
        self._path.assigned.add(target)
        if target in self.clocks | self.steps:
            self._edit(statement, ";", "the engine chooses the time step")
            return
        if statement.access is not None:
            self._lose(target, self._text(statement))
            return
        if target in self._path.alias and self._clamp(value, target, guards):
            return
        try:
            self._update(statement, target, value, guards)
        except NotEuler as reason:
            self._lose(target, str(reason))

    def _update(self, statement: Statement, target: str, value: Expr, guards: tuple[Expr, ...]) -> None:
        bounds: list[tuple[Expr, bool]] = []
        inner = inside(self.model, self.module, value, bounds)
        integral = _integral(inner, self.module) if target in self._candidates else None
        if integral is not None and self.model.source.editable(inner):
            of = self._candidates[target]
            rate, start, reset = (None if part is None else self._slopes.text(part) for part in integral)
            if reset is not None:
                rate = f"(({reset}) ? (({start}) - {target})/{self.fast} : ({rate}))"
                self.resets.add(target)
            self.states[of].initial, self.states[of].unbounded = start or "0.0", True
            self._grow(statement, target, target, rate or "0.0", of)
            return
        of = self._state(inner)
        if of and bounds:
            for bound, upper in bounds:
                _bound(self.model, self.states[of], bound, upper=upper)
        elif bounds:
            inner = value
        elif guards and target in self._candidates and constant(value, self.module):
            self._reset(statement, target)
            return
        now, slope = self._slopes.dual(inner)
        if not of and slope != ZERO:
            of = self._kick(inner)
        if of and bounds and (now, slope) == (target, self.rates[target]):
            return  # a clamp alone
        if target not in self._needed:  # nothing that is integrated depends on it
            if any(self._is_step(node) for node in value.walk()):
                self._edit(statement, f"{target} = {now};", "")
            return
        if slope == ZERO and not (of and bounds):
            if target in self._path.live:
                self._edit(statement, f"begin {self.rates[target]} = 0.0; {self._text_of(statement)} end", "")
                self._path.live.discard(target)
            self._path.nil.discard(target)
        else:
            self._grow(statement, target, of or now, slope, of)
        if of:
            self._path.alias[target] = of
        else:
            self._path.alias.pop(target, None)
            if target in self._candidates:
                self.lost.setdefault(target, self._text(statement))

    def _reset(self, statement: Statement, target: str) -> None:
        """Write a state that is set at once as one that goes there fast."""
        of, value = self._candidates[target], statement.value
        if of != target or value is None:
            raise NotEuler(self._text(statement))
        self._grow(statement, target, target, f"(({self._slopes.text(value)}) - {target})/{self.fast}", of)
        self.resets.add(target)

    def _grow(self, statement: Statement, target: str, now: str, slope: str, of: str) -> None:
        """Write ``target = now`` with its slope."""
        (self._path.nil.add if now == ZERO else self._path.nil.discard)(target)
        self.used[target] = None
        self._path.live.add(target)
        if of:
            self._integrated.add(of)
            self._path.alias[target] = of
        parts = [f"{self.rates[target]} = {slope};", *([f"{target} = {now};"] if now != target else [])]
        text = parts[0] if len(parts) == 1 else f"begin {' '.join(parts)} end"
        self._edit(statement, text, _NODE.format(of) if of else "")

    def _edit(self, statement: Statement, text: str, why: str) -> None:
        if not plain(self.model, statement):
            raise NotEuler("it is assigned in a macro")
        self.edits.append(Edit(statement.start, statement.end, text, why))

    def _text_of(self, statement: Statement) -> str:
        return self.model.source.text[statement.start : statement.end]

    def _state(self, node: Expr) -> str:
        """The state that ``node`` is where the step is zero; "" where it is none."""
        if node.op == "name":
            return self._path.alias.get(node.name, "")
        if node.op in ("+", "-"):
            first, second = node.args
            if self._slopes.moves(second) and self._nothing(second):
                return self._state(first)
            if node.op == "+" and self._slopes.moves(first) and self._nothing(first):
                return self._state(second)
        if node.op == "/" and self._grows(node.args[1]):  # an implicit step
            return self._state(node.args[0])
        return ""

    def _nothing(self, node: Expr) -> bool:
        """Whether ``node`` is zero where the step is."""
        return self._slopes.dual(node)[0] == ZERO

    def _grows(self, node: Expr) -> bool:
        """Whether ``node`` is 1 + something that is zero where the step is."""
        if node.op != "+":
            return False
        return any(
            one.op == "number" and one.value == 1.0 and self._slopes.moves(other) and self._nothing(other)
            for one, other in (node.args, node.args[::-1])
        )

    def _kick(self, node: Expr) -> str:
        """The state of ``state + dt * rate + kick``, "" for anything else: the kick has no rate, and goes."""
        if node.op != "+" or self._slopes.moves(node.args[1]):
            return ""
        of = self._state(node.args[0])
        if of:
            text = self._slopes.text(node.args[1])
            why = f"{text!r}, which is added at each step however short it is, has no rate and is left out"
            self.edits.append(Edit(node.end, node.end, "", why))
        return of

    def _clamp(self, value: Expr, target: str, guards: tuple[Expr, ...]) -> bool:
        """Whether this is ``if (w > high) w = high``; takes the bound."""
        if not constant(value, self.module):
            return False
        mirrored = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
        of = self._path.alias[target]
        for guard in reversed(guards):
            for condition in _parts(guard):
                if condition.op not in mirrored:
                    continue
                first, second = condition.args
                for one, op in ((first, condition.op), (second, mirrored[condition.op])):
                    if one.op == "name" and self._path.alias.get(one.name) == of:
                        _bound(self.model, self.states[of], value, upper=op in (">", ">="))
                        return True
        return False


def _parts(condition: Expr) -> Iterator[Expr]:
    if condition.op in ("&&", "||"):
        for arg in condition.args:
            yield from _parts(arg)
    else:
        yield condition


def _zero(expr: Expr) -> bool:
    return expr.op == "number" and expr.value == 0.0


def _flags(module: Module, flow: Flow) -> set[str]:
    """Hidden variables that only say that the start is over: zero at first, and asked for it."""
    asked = set()
    for statement in module.statements():
        for part in _parts(statement.value) if statement.kind == "if" and statement.value is not None else ():
            zero = part.op == "==" and _zero(part.args[1])
            asked |= {part.args[0].name} if (zero or part.op == "u!") and part.args[0].op == "name" else set()
    return {
        name
        for name in asked & flow.hidden.keys()
        if all(s.value is not None and s.value.op == "number" and s.value.value != 0.0 for s in flow.assigned[name])
    }


def _settled(module: Module, flow: Flow, flags: set[str]) -> set[str]:
    """Hidden variables that are constant: what is assigned to them at the start, and nowhere else."""
    starts = {
        id(inside)
        for statement in module.statements()
        if statement.kind == "if" and statement.value is not None and _is_start(statement.value, flags)
        for child in statement.body
        for inside in child.walk()
    }
    return {
        name
        for name in flow.hidden.keys() - flags
        if all(
            id(s) in starts and s.target == name and s.value is not None and constant(s.value, module)
            for s in flow.assigned[name]
        )
    }


def _integral(value: Expr, module: Module) -> tuple[Expr, Expr | None, Expr | None] | None:
    """Rate, start value (None: zero) and reset of ``idt(rate, start, reset)`` or ``start + idt(rate, 0)``.

    None for anything else.
    """
    if value.op == "call" and value.name == "idt" and 1 <= len(value.args) <= 3:
        rate, start, reset, *_ = *value.args, None, None
        return rate, start, reset
    if value.op == "+":
        for start, integral in (value.args, value.args[::-1]):
            zero = len(integral.args) < 2 or (_zero(integral.args[1]) and len(integral.args) == 2)
            if integral.op == "call" and integral.name == "idt" and zero and constant(start, module):
                return integral.args[0], start, None
    return None


def _is_start(condition: Expr, flags: set[str]) -> bool:
    """``$abstime == 0``, ``$abstime <= 0``, ``first == 0``, ``!first`` (one of ``flags``) or ``analysis("ic")``."""
    if condition.op in ("==", "<=") and _zero(condition.args[1]):
        return condition.args[0].name in NOW or (condition.op == "==" and condition.args[0].name in flags)
    if condition.op == "u!":
        return condition.args[0].name in flags
    if condition.op == "||":
        return all(_is_start(arg, flags) for arg in condition.args)
    return condition.op == "call" and condition.name == "analysis"


def plain(model: Model, statement: Statement) -> bool:
    """Whether ``statement`` is written in the file itself, and not by a macro."""
    source = model.source
    return statement.start < statement.end and not source.cuts(statement.start, statement.end)


def _bound(model: Model, state: EulerState, expr: Expr, *, upper: bool) -> None:
    """Take a constant ``expr`` for a bound of ``state``, unless it has one already."""
    written = model.source.text[expr.start : expr.end]
    if upper:
        state.high = state.high or written
    else:
        state.low = state.low or written
