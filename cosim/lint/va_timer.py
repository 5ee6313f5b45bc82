"""What a timer changes at each tick, as a state that goes there within the timer's period.

``@(timer(0, T)) x = f(x);`` is the recurrence x[n + 1] = f(x[n]). Where little happens in a period, it is the integral
of (f(x) - x)/T: that is written, and compared under drives that are slow beside the period. A timer that counts in
integers, or turns a sign, is left.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace

from cosim.language.expressions import Expr, Unreadable
from cosim.language.findings import Edit
from cosim.language.va_tree import Module, Statement
from cosim.lint.va_marks import is_zero
from cosim.lint.va_reading import ModuleReading
from cosim.lint.va_rules import Model
from cosim.lint.va_slope import names
from cosim.lint.va_state import NOW, Flow, constant
from cosim.lint.va_state import flow as run_through
from cosim.lint.va_walk import plain


def asks_the_time(statement: Statement) -> bool:
    """Whether what an event does depends on when it happens."""
    return any(NOW & expr.names() for s in statement.walk() for expr in s.expressions())


def _times(statement: Statement, module: Module) -> tuple[Expr, Expr] | None:
    """When a timer ticks first, and its period; None for other events."""
    events = [event for event in statement.events if event.name != "initial_step"]
    if statement.kind != "event" or [event.name for event in events] != ["timer"] or len(events[0].args) < 2:
        return None
    start, every = events[0].args[:2]
    both = constant(start, module) and constant(every, module) and every.start < every.end
    return (start, every) if both and (len(statement.events) == 1 or is_zero(start)) else None


def period(model: Model, module: Module, statement: Statement) -> float:
    """The period (s) of a timer that ticks again and again from the start on, at the parameters' defaults; else 0."""
    times = _times(statement, module)
    if times is None:
        return 0.0
    try:
        reading = ModuleReading(model, module, 1e-9, partly=True)
        start, every = (reading.value(one) for one in times)
    except Unreadable:
        return 0.0
    return every if 0.0 <= start <= every < math.inf else 0.0


def _turns(name: str, flow: Flow) -> bool:
    """Whether a tick turns a variable's sign: what changes by its whole size at each has no rate."""
    values = (s.value for s in flow.assigned[name])
    return any(v is not None and v.op == "u-" and v.args[0].op == "name" and v.args[0].name == name for v in values)


def recurrences(model: Model, module: Module, flow: Flow) -> dict[int, list[str]]:
    """The timers (by their start) that are read so, and the variables that each of them changes."""
    found = {}
    top = {id(s) for block, initial in module.analogs if not initial for s in (block, *block.body)}
    for statement in module.statements():
        if not period(model, module, statement) or not plain(model, statement) or id(statement) not in top:
            continue
        inside = {id(s) for s in statement.walk()}
        carried = run_through(replace(module, analogs=[(statement.body[0], False)])).hidden  # from tick to tick
        kept = [name for name in flow.assigned if name in flow.hidden and name in carried]
        alone = all(id(s) in inside and s.access is None for name in kept for s in flow.assigned[name])
        counts = any(name in module.integers or _turns(name, flow) for name in kept)
        if kept and alone and not counts and not asks_the_time(statement):
            found[statement.start] = kept
    return found


def rates(model: Model, module: Module, flow: Flow) -> Iterator[Edit]:
    """Edits that write timers as integrations over the time since the last step."""
    text = model.source.text
    taken = {token.text for token in (*model.source.tokens, *model.source.written)}
    found = recurrences(model, module, flow)
    for statement in module.statements():
        kept = found.get(statement.start, []) if statement.kind == "event" else []
        times = _times(statement, module) if kept else None
        if times is None:
            continue
        every = times[1]
        after = names(kept, taken, "_next")
        (ticked,) = names(["ticked"], taken | set(after.values()), "").values()
        body = statement.body[0]
        pieces, position = [], body.start
        for token in model.source.written:
            if body.start <= token.start < body.end and token.kind == "name" and token.text in after:
                pieces += [text[position : token.start], after[token.text]]
                position = token.end
        written = "".join([*pieces, text[position : body.end]])
        of = text[every.start : every.end]
        before = "".join(f"{new} = {name};\n" for name, new in after.items())
        behind = "".join(f"{n} = {n} + ({a} - {n})/({of})*($abstime - {ticked});\n" for n, a in after.items())
        declared = f"\n    real {', '.join([*after.values(), ticked])};"
        yield Edit(module.header_end, module.header_end, declared, "")
        why = f"what @(timer) changes at each tick goes there within its period {of}: fast signals are not sampled"
        yield Edit(statement.start, statement.end, f"begin\n{before}{written}\n{behind}{ticked} = $abstime;\nend", why)


def longest(model: Model) -> float:
    """The longest period (s) of a timer in the first module that is read as a rate; 0 where no timer is."""
    module, flow = model.modules[0], model.flows[0]
    found = recurrences(model, module, flow)
    every = [period(model, module, s) for s in module.statements() if s.kind == "event" and s.start in found]
    return max(every, default=0.0)


def split(model: Model, statement: Statement) -> Edit | None:
    """Events that 'or' joins as several, where what they do is the same when it is done twice; None elsewhere."""
    if len(statement.events) < 2 or not plain(model, statement):
        return None
    inside = [s for child in statement.body for s in child.walk() if s.kind not in ("block", "empty")]
    targets = {s.target for s in inside}
    again = any(s.kind != "assign" or s.value is None or s.value.names() & targets for s in inside)
    if again or not inside:
        return None
    text = model.source.text
    body = text[statement.body[0].start : statement.body[0].end]
    parts = [f"@({text[event.start : event.end]}) {body}" for event in statement.events]
    joined = re.sub(r"\s+", " ", " or ".join(event.name for event in statement.events))
    return Edit(statement.start, statement.end, "begin\n" + "\n".join(parts) + "\nend",
                f"@({joined}) is written as {len(parts)} events")  # fmt: skip
