"""Events that set variables, as conditions under which the variables are held.

The compiler knows no ``@(cross)``, and OSDI no memory. A variable that nothing but events sets, to constants, is a
latch: it has what the last event set. Where no two of its events' conditions can hold at once, a latch that is held at
an event's constant as long as that event's condition holds is the same one. Everything else that an event may do
depends on the instant at which it happens, and is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cosim.language.expressions import Expr, Unreadable
from cosim.language.findings import Edit
from cosim.language.va_tree import Module, Statement
from cosim.lint.va_cover import apart, at_rest
from cosim.lint.va_reading import ModuleReading
from cosim.lint.va_rules import Model
from cosim.lint.va_state import Flow, constant, enabling
from cosim.lint.va_walk import plain

EVENTS = (["cross"], ["above"])
_UP, _DOWN = ("+1", "1", "1.0", "+1.0"), ("-1", "-1.0")
_DEEP = 10  # of variables that are computed from variables


class NotHeld(Exception):
    """Why an event is not a condition."""


def conditions(model: Model, module: Module, flow: Flow) -> tuple[list[Edit], dict[int, str]]:
    """The events of ``module`` as conditions, all or none; else why, by the line of each that cannot be one."""
    edits, left = [], dict[int, str]()
    if any({*EVENTS[0], *EVENTS[1]} & set(s.name.split()) for s in module.statements() if len(s.events) > 1):
        return [], {}  # one thing at a time: they are set apart first
    for statement in _events(module):
        if all(s.kind in ("call", "block", "empty") for child in statement.body for s in child.walk()):
            continue  # it prints, and goes
        try:
            edits.append(_condition(model, module, flow, statement))
        except NotHeld as reason:
            left[model.source.place(statement.start)[0]] = str(reason)
    return ([], left) if left else (edits, left)


def _condition(model: Model, module: Module, flow: Flow, statement: Statement) -> Edit:
    """``statement`` as an ``if`` that holds what it sets. Raises `NotHeld`."""
    source = model.source
    if not plain(model, statement):
        raise NotHeld("it is written in a macro")
    own = _asked(model, statement)
    if kept := resolved(own, flow).names() & flow.hidden.keys():
        raise NotHeld(f"its condition depends on {min(kept)!r}, which keeps a value itself")
    if enabling(statement.events[0]) is not None:
        raise NotHeld("it is enabled by an argument of its own: put it under an 'if' with that condition instead")
    for guard in module.around(statement):
        if guard.kind not in ("block", "if") or not (guard.value is None or constant(guard.value, module)):
            raise NotHeld("it stands under a condition that changes")
    for assigned in (s for child in statement.body for s in child.walk() if s.kind not in ("block", "empty")):
        if assigned.kind != "assign" or assigned.value is None or assigned.access is not None:
            raise NotHeld("it does more than set variables")
        if not constant(assigned.value, module):
            text = source.text[assigned.value.start : assigned.value.end]
            raise NotHeld(f"{assigned.target!r} is set to {text!r}, which is not constant: nothing keeps its value")
        _latch(model, module, flow, assigned, own)
    text = source.text[statement.args[0].start : statement.args[0].end]
    body = source.text[statement.body[0].start : statement.end]
    conditions = [resolved(_asked(model, event), flow) for event in _events(module)]
    parameters = {e.name.text for e in module.parameters} & set().union(*(one.names() for one in conditions))
    why = (
        f"@({statement.name}({text})) is a condition: what it sets holds from there on, and from the start of a "
        "circuit that begins beyond it"
    )
    if parameters:
        why += f"; shown with {', '.join(sorted(parameters))} at the default alone"
    return Edit(statement.start, statement.end, f"if (({text}) {own.op} 0.0) {body}", why)


def _asked(model: Model, statement: Statement) -> Expr:
    """What holds from the event on, until the opposite one."""
    text = [model.source.text[arg.start : arg.end].replace(" ", "") for arg in statement.args]
    way = text[1] if len(text) > 1 and statement.name == "cross" else "+1" if statement.name == "above" else ""
    if way not in _UP + _DOWN:
        raise NotHeld("it happens in both directions, so that no condition holds behind it")
    argument = statement.args[0]
    if not model.source.editable(argument) and argument.op != "name":
        raise NotHeld("it is written in a macro")
    zero = Expr("number", argument.end, argument.end, value=0.0)
    return Expr(">" if way in _UP else "<", argument.start, argument.end, args=(argument, zero))


def _latch(model: Model, module: Module, flow: Flow, assigned: Statement, own: Expr) -> None:
    """Refuse a variable whose events do not make it a latch. Raises `NotHeld`."""
    name = assigned.target
    reading = ModuleReading(model, module, 1e-9, partly=True)

    def value(expr: Expr | None) -> float:
        try:
            return 0.0 if expr is None else reading.value(expr)
        except Unreadable:
            raise NotHeld(f"what {name!r} is set to has no value at the parameters' defaults") from None

    events = {id(s): event for event in _events(module) for s in event.walk()}
    for other in flow.assigned.get(name, []):
        event = events.get(id(other))
        if event is None:
            line = model.source.place(other.start)[0]
            raise NotHeld(f"{name!r} changes in line {line} too, and would be held as long as the condition holds")
        if other.value is None or value(other.value) == value(assigned.value):
            continue
        beside = _asked(model, event)
        if not apart([resolved(own, flow), resolved(beside, flow)], module):
            line = model.source.place(event.start)[0]
            raise NotHeld(
                f"it and the event in line {line}, which sets {name!r} too, can be past at once: the later one counts, "
                "and no condition tells which that was"
            )
    declared = [entry.value for entry in module.variables if entry.name.text == name]
    start = value([s.value for s in flow.initial.get(name, [])][-1] if flow.initial.get(name) else declared[0])
    sets_late = events[id(assigned)].name == "cross" and start != value(assigned.value)
    if sets_late and at_rest(resolved(own, flow), module) is not False:
        raise NotHeld(f"its condition holds at 0 V, where {name!r} has another value to begin with")


def _events(module: Module) -> Iterator[Statement]:
    return (s for s in module.statements() if s.kind == "event" and s.name.split() in EVENTS)


def resolved(expr: Expr, flow: Flow, depth: int = _DEEP) -> Expr:
    """``expr`` with what each variable is computed from, where one assignment alone does that."""
    given = flow.assigned.get(expr.name, []) if expr.op == "name" else []
    value = given[0].value if len(given) == 1 and expr.name not in flow.hidden | flow.initial.keys() else None
    if value is not None and depth:
        return resolved(value, flow, depth - 1)
    return replace(expr, args=tuple(resolved(arg, flow, depth) for arg in expr.args)) if expr.args else expr
