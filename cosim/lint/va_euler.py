"""Recognising a state that is integrated by hand, ``w = w + dt * rate``, and writing it as an internal node.

Both common forms are read: a variable updated from itself, and a pair ``w = w_last + dt * rate; ...; w_last = w``. The
node holds the state as a fraction of its upper clamp where there is one, so that an engine's absolute tolerances mean
the same for a width in metres and for a fraction. Clamps are kept for what is read, and stop the rate at the bound.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from cosim.language.expressions import Expr, Unreadable
from cosim.language.findings import Edit
from cosim.language.va_tree import Module, Statement
from cosim.lint.va_reading import ModuleReading
from cosim.lint.va_rules import Model
from cosim.lint.va_state import STEP_NAME, Flow, constant, is_initial

# State, low and high at which a function has to clip in order to be taken for a clamp.
_CLIPPED = tuple(
    (u, low, low + span) for u in (-3.7, -0.2, 0.31, 0.9, 4.2) for low in (-0.5, 0.1) for span in (0.6, 2.0)
)


class NotEuler(Exception):
    """Why a hidden state cannot be rewritten."""


@dataclass
class EulerState:
    """A recognised state: its variables, its start, its bounds (as text) and what has to be changed."""

    name: str
    last: str
    initial: str
    low: str = ""
    high: str = ""
    edits: list[Edit] = field(default_factory=list)
    helpers: set[str] = field(default_factory=set)


@dataclass
class Rewrite:
    """The rewriting of a module's states, and the hidden variables that it does not explain, each with a reason."""

    edits: list[Edit]
    states: list[EulerState]
    left: dict[str, str]


def rewrite(model: Model, module: Module, flow: Flow) -> Rewrite:
    """Internal nodes in place of recognisable hidden states."""
    states: list[EulerState] = []
    left: dict[str, str] = {}
    aliases = _aliases(flow)
    for name in flow.hidden:
        if any(name in (state.name, state.last) or name in state.helpers for state in states):
            continue
        try:
            states.append(_recognise(model, module, flow, name, aliases))
        except NotEuler as reason:
            left[name] = str(reason)
    for state in states:
        for name in {state.name, state.last} | state.helpers:
            left.pop(name, None)
    main = [block for block, initial in module.analogs if not initial]
    if not states or not all(_plain(model, block) for block in main):
        return Rewrite([], [], left | {state.name: "it is integrated in a macro" for state in states})
    return Rewrite(_assemble(model, module, states), states, left)


def _aliases(flow: Flow) -> dict[str, str]:
    """``w_last`` -> ``w`` for every ``w_last = w`` that is its only assignment outside the start."""
    found = {}
    for name, statements in flow.assigned.items():
        plain = [
            s for s in statements if s.value is not None and s.value.op == "name" and s.value.name in flow.assigned
        ]
        if name in flow.hidden and plain and statements[-1] is plain[-1]:
            found[name] = plain[-1].value.name  # type: ignore[union-attr]
    return found


def _recognise(model: Model, module: Module, flow: Flow, hidden: str, aliases: dict[str, str]) -> EulerState:
    name, last = (aliases[hidden], hidden) if hidden in aliases else (hidden, "")
    if not last:
        last = next((alias for alias, of in aliases.items() if of == hidden), "")
    state = EulerState(name, last, "")
    own = (name, last) if last else (name,)
    updates = 0
    for statement in flow.assigned.get(name, []):
        value = statement.value
        assert value is not None  # an assignment has one
        if statement.target != name or not _plain(model, statement):
            raise NotEuler("it is assigned in a function's argument or in a macro")
        inner = _inside(model, module, value, state)
        term = _increment(inner, own)
        if (integral := _integral(inner, module)) is not None and model.source.editable(inner):
            rate, state.initial = (
                "0.0" if part is None else model.source.text[part.start : part.end] for part in integral
            )
            state.edits.append(
                Edit(statement.start, statement.end, f"{name}_rate = {rate};",
                     f"{name} is the voltage of an internal node: it is read before its idt")
            )  # fmt: skip
            updates += 1
        elif term is not None:
            sign, increment = term
            rate = _rate(model, module, flow, increment, state)
            state.edits.append(
                Edit(statement.start, statement.end, f"{name}_rate = {sign}({rate});",
                     f"{name} is the voltage of an internal node, integrated by idt")
            )  # fmt: skip
            updates += 1
        elif inner.op == "name" and inner.name in own:
            continue  # w = w_last, and w = clip(w, 0, 1): stay
        elif not _guarded_start(module, statement, flow, own) and not _clamp(model, module, statement, state):
            text = model.source.text[statement.start : statement.end]
            raise NotEuler(f"{text!r} is not an explicit Euler step, start value or clamp")
    if not updates:
        raise NotEuler("it is not integrated as 'w = w + dt * rate' or by idt")
    _start(model, module, flow, state, own)
    return state


def _integral(value: Expr, module: Module) -> tuple[Expr, Expr | None] | None:
    """Rate and start value (None: zero) of ``idt(rate, start)`` or ``start + idt(rate, 0)``; None for anything else."""
    if value.op == "call" and value.name == "idt" and 1 <= len(value.args) <= 2:
        return value.args[0], value.args[1] if len(value.args) > 1 else None
    if value.op == "+":
        for start, integral in (value.args, value.args[::-1]):
            zero = len(integral.args) < 2 or (integral.args[1].op == "number" and integral.args[1].value == 0.0)
            if integral.op == "call" and integral.name == "idt" and zero and constant(start, module):
                return integral.args[0], start
    return None


def _increment(value: Expr, own: tuple[str, ...]) -> tuple[str, Expr] | None:
    """Sign and increment of ``own + increment``, None for any other ``value``."""
    if value.op not in ("+", "-"):
        return None
    first, second = value.args
    if first.op == "name" and first.name in own:
        return ("-" if value.op == "-" else ""), second
    if value.op == "+" and second.op == "name" and second.name in own:
        return "", first
    return None


def _rate(model: Model, module: Module, flow: Flow, increment: Expr, state: EulerState) -> str:
    """The text of ``increment`` without its factor of a time step."""
    text = model.source.text
    if not model.source.editable(increment):
        raise NotEuler("its rate is written in a macro")
    for node in _factors(increment):
        if _is_step(module, flow, node, state):
            return f"{text[increment.start : node.start]}1.0{text[node.end : increment.end]}"
    raise NotEuler(f"no factor of {text[increment.start : increment.end]!r} is a time step")


def _factors(expr: Expr) -> list[Expr]:
    """The factors of a product that stand in its numerator."""
    if expr.op == "*":
        return [factor for arg in expr.args for factor in _factors(arg)]
    if expr.op == "/":
        return _factors(expr.args[0])
    if expr.op == "u-":
        return _factors(expr.args[0])
    return [expr]


def _is_step(module: Module, flow: Flow, node: Expr, state: EulerState) -> bool:
    if node.op == "-":  # $abstime - t_last
        first, second = node.args
        if first.name == "$abstime" and second.op == "name":
            state.helpers.add(second.name)
            return True
        return False
    if node.op != "name":
        return False
    given = flow.assigned.get(node.name, [])
    if given:
        steps = [s for s in given if s.value is not None and s.value.op == "-" and s.value.args[0].name == "$abstime"]
        if len(steps) == len(given):
            state.helpers |= {node.name, *(s.value.args[1].name for s in steps if s.value is not None)}
            return True
        return False
    parameters = {entry.name.text for entry in module.parameters}
    return node.name in parameters and bool(STEP_NAME.match(node.name))


def _guards(module: Module, statement: Statement) -> list[Statement]:
    """The statements that stand around ``statement``, from the outside."""

    def search(within: Statement, above: list[Statement]) -> list[Statement] | None:
        if within is statement:
            return above
        for child in (*within.body, *within.other):
            if (found := search(child, [*above, within])) is not None:
                return found
        return None

    for block, _ in module.analogs:
        if (found := search(block, [])) is not None:
            return found
    return []


def _is_start(condition: Expr, flow: Flow, own: tuple[str, ...]) -> bool:
    """``$abstime == 0``, ``$abstime <= 0``, ``first == 0``, ``!first`` (a hidden flag) or ``analysis("ic")``."""

    def flag(expr: Expr) -> bool:
        return expr.op == "name" and expr.name in flow.hidden and expr.name not in own

    if condition.op in ("==", "<=") and condition.args[1].op == "number" and condition.args[1].value == 0.0:
        return condition.args[0].name == "$abstime" or (condition.op == "==" and flag(condition.args[0]))
    if condition.op == "u!":
        return flag(condition.args[0])
    if condition.op == "||":
        return all(_is_start(arg, flow, own) for arg in condition.args)
    return condition.op == "call" and condition.name == "analysis"


def _guarded_start(module: Module, statement: Statement, flow: Flow, own: tuple[str, ...]) -> bool:
    guards = [g.value for g in _guards(module, statement) if g.kind == "if" and g.value is not None]
    return any(_is_start(condition, flow, own) for condition in guards)


def _plain(model: Model, statement: Statement) -> bool:
    """Whether ``statement`` is written in the file itself, and not by a macro."""
    source = model.source
    return statement.start < statement.end and not source.cuts(statement.start, statement.end)


def _bound(model: Model, module: Module, expr: Expr, state: EulerState, *, upper: bool) -> bool:
    """Take a constant ``expr`` for a bound of ``state``, unless it has one already."""
    if not constant(expr, module):
        return False
    written = model.source.text[expr.start : expr.end]
    if upper:
        state.high = state.high or written
    else:
        state.low = state.low or written
    return True


def _inside(model: Model, module: Module, value: Expr, state: EulerState) -> Expr:
    """What is clamped in ``value`` by min, max or a function that clips; takes the bounds."""
    while value.op == "call":
        moving = [k for k, arg in enumerate(value.args) if not constant(arg, module)]
        limits = [arg for arg in value.args if constant(arg, module)]
        sides = _sides(model, module, value.name, moving[0], len(value.args)) if len(moving) == 1 else ()
        if not sides or len(sides) != len(limits):
            return value
        for limit, upper in zip(limits, sides, strict=True):
            _bound(model, module, limit, state, upper=upper)
        value = value.args[moving[0]]
    return value


def _sides(model: Model, module: Module, name: str, moving: int, count: int) -> tuple[bool, ...]:
    """For each argument but ``moving`` whether it is the upper bound of a clamp; empty where it is not a clamp.

    A function that the module defines is tried at some points.
    """
    if count == 2 and name in ("min", "max"):
        return (name == "min",)
    if name not in module.functions or count not in (2, 3):
        return ()
    try:
        reading = ModuleReading(model, module, 1e-9, partly=True)
        for sides in ((True,), (False,)) if count == 2 else ((False, True), (True, False)):
            for u, low, high in _CLIPPED:
                values = [high if upper else low for upper in sides]
                values.insert(moving, u)
                clipped = min(max(u, low if False in sides else u), high if True in sides else math.inf)
                if reading.call(name, values) != clipped:
                    break
            else:
                return sides
    except Unreadable:
        pass
    return ()


def _clamp(model: Model, module: Module, statement: Statement, state: EulerState) -> bool:
    """Whether ``statement`` is ``if (w > high) w = high``; takes the bound."""
    value = statement.value
    assert value is not None
    around = [g for g in _guards(module, statement) if g.kind == "if" and g.value is not None]
    for guard in reversed(around):
        condition = guard.value
        assert condition is not None
        if condition.op in ("<", "<=", ">", ">=") and condition.args[0].name == state.name:
            return _bound(model, module, value, state, upper=condition.op in (">", ">="))
    return False


def _start(model: Model, module: Module, flow: Flow, state: EulerState, own: tuple[str, ...]) -> None:
    """Find the start value, and remove its assignments."""
    text = model.source.text
    found: list[Expr] = []
    for name in own:
        given = list(flow.initial.get(name, []))
        given += [s for s in flow.assigned.get(name, []) if _guarded_start(module, s, flow, own)]
        for statement in given:
            assert statement.value is not None
            if statement.target != name or not _plain(model, statement):
                raise NotEuler("its start value is written in a macro or by a function")
            if statement.value.op == "name" and statement.value.name in own:
                continue
            found.append(statement.value)
            state.edits.append(_removed(module, statement))
        found += [e.value for e in module.variables if e.name.text == name and e.value is not None]
    known = {n: s[0].value for n, s in flow.initial.items() if n not in flow.assigned}
    if state.initial or not found:  # that of an idt counts
        state.initial = state.initial or "0.0"
        return
    value = found[0]
    while value.op == "name" and value.name in known and known[value.name] is not None:
        value = known[value.name]  # type: ignore[assignment]
    if not constant(value, module):
        raise NotEuler(f"its start value {text[value.start : value.end]!r} is not constant")
    if any(text[e.start : e.end] != text[found[0].start : found[0].end] for e in found[1:]):
        raise NotEuler("it has more than one start value")
    state.initial = text[value.start : value.end]


def _removed(module: Module, statement: Statement) -> Edit:
    """An edit that removes ``statement``, with the guard around it if nothing else is in it."""
    target = statement
    for guard in reversed(_guards(module, statement)):
        rest = [s for s in guard.body if s is not target and s.kind != "empty"]
        if rest or guard.other or (guard.kind == "block" and guard in [block for block, _ in module.analogs]):
            break
        if not (guard.kind in ("block", "if") or is_initial(guard)):
            break
        target = guard
    why = "the start value is that of the internal node"
    return Edit(target.start, target.end, ";" if target is not statement or target.kind == "assign" else "", why)


def _assemble(model: Model, module: Module, states: list[EulerState]) -> list[Edit]:
    """The edits of all states, with declarations, what is read first and what is contributed last."""
    main = [block for block, initial in module.analogs if not initial]
    taken = set(module.nets) | {e.name.text for e in (*module.variables, *module.parameters)}
    edits: list[Edit] = []
    declare, before, after = [], [], []
    for state in states:
        node = f"{state.name}_state"
        while node in taken:
            node += "_"
        scale = state.high if state.high and not re.fullmatch(r"1(\.0*)?", state.high) else ""
        read = f"({scale}) * V({node})" if scale else f"V({node})"
        if state.high and state.low:
            read = f"min(max({read}, {state.low}), {state.high})"
        declare += [f"    electrical {node};", f"    real {state.name}_rate;"]
        before += [f"        {state.name} = {read};", f"        {state.name}_rate = 0.0;"]
        if state.last:
            before.append(f"        {state.last} = {state.name};")
        value = f"(({scale}) * V({node}))" if scale else f"V({node})"
        if state.high:
            after.append(f"        if ({value} >= {state.high} && {state.name}_rate > 0.0) {state.name}_rate = 0.0;")
        if state.low:
            after.append(f"        if ({value} <= {state.low} && {state.name}_rate < 0.0) {state.name}_rate = 0.0;")
        start = f"({state.initial})/({scale})" if scale else state.initial
        rate = f"{state.name}_rate/({scale})" if scale else f"{state.name}_rate"
        after.append(f"        V({node}) <+ {start} + idt({rate}, 0);")
        edits += state.edits
        edits += _helpers(module, state)
    first, final = main[0], main[-1]
    edits.append(Edit(first.start, first.start, ""))
    line_start = model.source.text.rfind("analog", 0, first.start)
    edits.append(Edit(line_start, line_start, "\n".join([*declare, "", "    "]).lstrip(" ")))
    opening, closing = "\n".join(before), "\n".join(after)
    if first.kind == "block":
        head = first.start + len("begin")
        colon = re.match(r"\s*:\s*\w+", model.source.text[head:])
        head += colon.end() if colon else 0
        edits.append(Edit(head, head, f"\n{opening}"))
    else:
        edits.append(Edit(first.start, first.start, f"begin\n{opening}\n        "))
    if final.kind == "block":
        foot = final.end - len("end")
        edits.append(Edit(foot, foot, f"{closing.lstrip()}\n    "))
    else:
        edits.append(Edit(final.end, final.end, f"\n{closing}\n    end"))
    return edits


def _helpers(module: Module, state: EulerState) -> list[Edit]:
    """Remove the bookkeeping of the step (``dt = $abstime - t_last; t_last = $abstime``)."""
    return [
        Edit(statement.start, statement.end, ";", "the engine chooses the time step")
        for statement in module.statements()
        if statement.kind == "assign" and statement.target in state.helpers
    ]
