"""A walk through a module with a time step of zero, which shows what is a state, and what it grows by.

A variable that is still what it was at the step's start is a state; what is assigned to it grows per second by its
slope (`va_slope`). The walk collects the edits that write the module so: slopes beside values, and no time step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cosim.language.expressions import Expr
from cosim.language.findings import Edit
from cosim.language.va_tree import Module, Statement
from cosim.lint import va_probe
from cosim.lint.va_clip import inside
from cosim.lint.va_clocks import clocks, fitful, instants, step_parameters
from cosim.lint.va_marks import asked_exactly, conjuncts, flags_of, integral_of, is_start, is_zero, settled_of
from cosim.lint.va_path import EulerState, Way, joined
from cosim.lint.va_rules import Model
from cosim.lint.va_slope import COMPARED, UNKNOWN, ZERO, NotEuler, Slopes, difference, names
from cosim.lint.va_state import Flow, constant, is_initial, sources

_NODE = "{} is the voltage of an internal node, integrated by idt"
_INSTANT = (
    "{!r} is the time at which something happened, which nothing keeps; integrate what depends on it, such as a decay, "
    "as a state, or set it to the time at each step if it is meant to be that of the last one"
)


class Walk:
    """The statements at a time step of zero, with the edits that write them so.

    ``candidates`` are the hidden variables that may be states, each with the one whose value it has at a step's start;
    ``lags`` those that are the value of something at the step before, each with what that is now.
    """

    def __init__(
        self, model: Model, module: Module, flow: Flow, candidates: dict[str, str], lags: Mapping[str, Expr]
    ) -> None:
        self.model, self.module, self.flow = model, module, flow
        self.edits: list[Edit] = []
        self.lost: dict[str, str] = {}
        self.starts: list[Statement] = []  # guarded assignments of start values
        self._integrated: set[str] = set()
        self._now, self.clocks = clocks(module, flow)
        self._instants = instants(module, flow)
        self._fitful = fitful(module, flow, self._instants)
        self.flags = flags_of(module, flow)
        self.settled = settled_of(module, flow, self.flags)
        self._parameters = step_parameters(module, flow)
        self.met: set[str] = set()  # those of them that are read as the step
        self.steps = self._step_variables()
        self.lags = {name: of for name, of in lags.items() if name not in self.clocks | self.steps}
        others = self.clocks | self.flags | self.settled | self.steps | self.lags.keys()
        self._candidates = {name: of for name, of in candidates.items() if name not in others}
        self.states = {name: EulerState(name) for name in self._candidates.values()}
        self._path = Way(dict(self._candidates), set(self.lags), set(), {}, set())
        taken = set(module.nets) | {e.name.text for e in (*module.variables, *module.parameters)}
        assigned = dict.fromkeys(
            [*self.states, *self.lags, *(s.target for s in module.statements() if s.kind == "assign")]
        )
        self.rates = names(assigned, taken, "_rate")
        self.nodes = names(self.states, taken, "_state")
        self.snapped = {name for name in self.states if name in module.integers or asked_exactly(name, module)}
        self.used: dict[str, None] = {}  # variables whose slope is assigned
        self.resets: set[str] = set()  # states that are set at once somewhere
        self.fast = names(["reset"], taken | set(self.rates.values()), "_time")["reset"]
        self._needed = sources(module, {*self._candidates, *(self._beside_steps() if self.lags else ())})
        self._slopes = Slopes(model, is_step=self._is_step, rate=self._rate, nothing=self._nothing)

    def _beside_steps(self) -> Iterator[str]:
        """The variables that are read beside a time step."""
        for expr in self.module.expressions():
            if any(self._is_step(node) for node in expr.walk()):
                yield from expr.names()

    def _rate(self, name: str) -> str:
        """The slope of a variable, "" where it does not depend on the step here."""
        if name in self._path.dim:
            return UNKNOWN
        return self.rates[name] if name in self._path.live else ""

    def _drawn(self, node: Expr) -> va_probe.Values:
        """The values of ``node`` where the step is zero, in draws of what it is made of."""
        return va_probe.values(node, self._known_values)

    def _known_values(self, node: Expr) -> va_probe.Values | None:
        if self._is_step(node):
            return va_probe.ZEROS
        name = node.name if node.op == "name" else ""
        if name in self._now | self.clocks:
            return va_probe.drawn("$abstime")
        if name in self._path.alias:
            return va_probe.drawn(self._path.alias[name])
        if name in self.lags:
            return self._drawn(self.lags[name])
        return self._path.drawn.get(name)

    def _nothing(self, node: Expr) -> bool:
        """Whether ``node`` is zero where the step is."""
        return va_probe.same(self._drawn(node), va_probe.ZEROS)

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
                if name not in found | self._now | self.clocks | self._fitful
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
        self._path.drawn[name] = va_probe.fresh(name)
        self.lost.setdefault(name, reason)

    def _if(self, statement: Statement, condition: Expr, guards: tuple[Expr, ...]) -> None:
        if is_start(condition, self.flags):
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
        if self._slopes.moves(condition):
            try:
                asked = self._asked(condition)
                if plain(self.model, statement) and asked != self._slopes.text(condition):
                    self.edits.append(Edit(condition.start, condition.end, asked, ""))
            except NotEuler as reason:
                for name in {s.target for s in statement.walk() if s.kind == "assign"}:
                    self._lose(name, str(reason))
                return
        self._branches([statement.body, statement.other], (*guards, condition))

    def _asked(self, condition: Expr) -> str:
        """``condition`` for a step that is as small as one likes. Raises `NotEuler`."""
        for part in conjuncts(condition):
            lagging = part.names() & self.lags.keys()
            if lagging and not (part.op in COMPARED and self._nothing(difference(part))):
                name = lagging.pop()
                raise NotEuler(f"what {name!r} was at the step before is asked for: an event between two steps")
        return self._slopes.asked(condition)

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
        if condition.op not in COMPARED:
            return None
        if self._is_step(difference(condition)):  # the time, and that of the last step
            return condition.op in (">", ">=", "!=")
        if not self._is_step(condition.args[0]):
            return None
        if condition.args[0].op == "name" and condition.args[0].name in self._parameters:
            return None  # a switch
        return condition.op in (">", ">=", "!=") if is_zero(condition.args[1]) else condition.op in ("<", "<=", "!=")

    def _branches(self, parts: list[list[Statement]], guards: tuple[Expr, ...], *, open_end: bool = False) -> None:
        path = self._path
        ends = [path] if open_end else []
        for part in parts:
            self._path = path.copy()
            for child in part:
                self.run(child, guards)
            ends.append(self._path)
        self._path = joined(ends)

    def _assign(self, statement: Statement, guards: tuple[Expr, ...]) -> None:
        target, value = statement.target, statement.value
        assert value is not None  # an assignment has one
        self._path.assigned.add(target)
        if target in self._instants:
            self._lose(target, _INSTANT.format(target))
            return
        if target in self.clocks | self.steps:
            self._edit(statement, ";", "the engine chooses the time step")
            return
        if target in self.lags:
            self._edit(statement, ";", f"{target!r}, a value of the step before, is that of this step")
            return
        if statement.access is not None:
            self._lose(target, self._text(statement))
            return
        if target in self._path.alias and self._clamp(value, target, guards):
            return
        try:
            drawn = self._drawn(value)
            self._update(statement, target, value, guards)
            self._path.drawn[target] = drawn
        except NotEuler as reason:
            self._lose(target, str(reason))

    def _update(self, statement: Statement, target: str, value: Expr, guards: tuple[Expr, ...]) -> None:
        bounds: list[tuple[Expr, bool]] = []
        inner = inside(self.model, self.module, value, bounds)
        integral = integral_of(inner, self.module) if target in self._candidates else None
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
                self.states[of].bound(self.model, bound, upper=upper)
        elif bounds:
            inner = value
        elif guards and target in self._candidates and self._free(value):
            self._reset(statement, target)
            return
        if target in self._candidates and self._follow(statement, target, inner, bounds):
            return
        now, slope = self._slopes.dual(inner)
        if not of and slope != ZERO:
            of = self._kick(inner)
        if not of and slope != ZERO and target in self._fitful:
            raise NotEuler(f"{self._text_of(statement)!r} is not run at each step: what it was at another one is read")
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
            self._path.dim.discard(target)
        elif slope == UNKNOWN:
            if of:
                raise NotEuler(f"what {self._text_of(statement)!r} adds per second has no writing")
            self._edit(statement, f"{target} = {now};", "")
            self._path.live.add(target)
            self._path.dim.add(target)
        else:
            self._path.dim.discard(target)
            self._grow(statement, target, of or now, slope, of)
        if of:
            self._path.alias[target] = of
        else:
            self._path.alias.pop(target, None)
            if target in self._candidates:
                self.lost.setdefault(target, self._why_not(statement, target))

    def _why_not(self, statement: Statement, target: str) -> str:
        """Why a value that does not depend on the time step is not that of a state."""
        value = statement.value
        own = self._candidates[target]
        if value is None or not any(self._path.alias.get(n, n) == own for n in value.names() | {""}):
            return self._text(statement)
        return (
            f"{self._text_of(statement)!r} changes it by an amount without a time step: the result depends on how many "
            "steps are made; multiply the amount by the time since the last step"
        )

    def _free(self, value: Expr) -> bool:
        """Whether ``value`` depends neither on the step nor on a state."""
        from_states = sources(self.module, value.names()) & (self._candidates.keys() | self.lags.keys())
        return constant(value, self.module) or not (from_states or self._slopes.moves(value))

    def _follow(self, statement: Statement, target: str, value: Expr, bounds: list[tuple[Expr, bool]]) -> bool:
        """``x = max(x, v)``, ``x = c ? v : x``: a state that goes to ``v`` at once, in some cases."""
        of = self._candidates[target]
        chosen = (value.op == "cond" or value.name in ("max", "min")) and not self._free(value)
        slope = self._goes(value, of) if chosen else None
        if slope is None:
            return False
        for bound, upper in bounds:
            self.states[of].bound(self.model, bound, upper=upper)
        self._grow(statement, target, of, slope, of)
        self.resets.add(of)
        return True

    def _goes(self, value: Expr, of: str) -> str | None:
        """The slope of the state ``of`` where it becomes ``value``; None where that is neither it nor free of it."""
        held = self._held(of)
        if self._state(value) == of:
            slope = self._slopes.dual(value)[1]
            return None if slope == UNKNOWN else slope
        if self._free(value):
            return f"(({self._slopes.text(value)}) - {held})/{self.fast}"
        if value.op == "cond":
            first, second = (self._goes(arg, of) for arg in value.args[1:])
            return None if first is None or second is None else f"(({self._asked(value.args[0])}) ? {first} : {second})"
        if value.op == "call" and value.name in ("max", "min") and len(value.args) == 2:
            sign = ">" if value.name == "max" else "<"
            for own, other in (value.args, value.args[::-1]):
                before = self._goes(own, of) if self._state(own) == of and self._free(other) else None
                if before is not None:
                    limit = self._slopes.text(other)
                    return f"(({limit}) {sign} {held} ? (({limit}) - {held})/{self.fast} : {before})"
        return None

    def _reset(self, statement: Statement, target: str) -> None:
        """Write a state that is set at once as one that goes there fast."""
        of, value = self._candidates[target], statement.value
        if of != target or value is None:
            raise NotEuler(self._text(statement))
        self._grow(statement, target, target, f"(({self._slopes.text(value)}) - {self._held(of)})/{self.fast}", of)
        self.resets.add(target)

    def _held(self, name: str) -> str:
        """A state as it goes from one value to another, where what is read of it jumps."""
        return f"V({self.nodes[name]})" if name in self.snapped else name

    def _grow(self, statement: Statement, target: str, now: str, slope: str, of: str) -> None:
        """Write ``target = now`` with its slope."""
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
        if self._slopes.moves(node):  # in any other writing
            drawn = self._drawn(node)
            for of in dict.fromkeys(self._path.alias.values()):
                if va_probe.same(drawn, va_probe.drawn(of)):
                    return of
        return ""

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
            for condition in conjuncts(guard):
                if condition.op not in mirrored:
                    continue
                first, second = condition.args
                for one, op in ((first, condition.op), (second, mirrored[condition.op])):
                    if one.op == "name" and self._path.alias.get(one.name) == of:
                        self.states[of].bound(self.model, value, upper=op in (">", ">="))
                        return True
        return False


def plain(model: Model, statement: Statement) -> bool:
    """Whether ``statement`` is written in the file itself, and not by a macro."""
    source = model.source
    return statement.start < statement.end and not source.cuts(statement.start, statement.end)
