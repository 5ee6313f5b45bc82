"""Recognising states that are integrated by hand, and writing each as an internal node.

However the integration is written (``w = w + dt * rate``, ``w = w_last + dw; ...; w_last = w``, an implicit step, a
time step in variables), the module is walked with a time step of zero: what is then still the state that it began
with is a state, and what it grows by per second of the step (`va_slope`) is its rate. The node holds the state as a
fraction of its upper clamp, or of its start, so that an engine's absolute tolerances mean the same for a width in
metres and for a fraction. Clamps are kept for what is read, and stop the rate at the bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cosim.language.expressions import Expr, Unreadable
from cosim.language.findings import Edit
from cosim.language.va_tree import Module, Statement
from cosim.lint.va_path import EulerState
from cosim.lint.va_reading import ModuleReading
from cosim.lint.va_rules import Model
from cosim.lint.va_slope import NotEuler
from cosim.lint.va_state import Flow, constant, is_initial, sources
from cosim.lint.va_walk import Walk, plain

FAST = "1e-12"  # s, for a state that is set at once: our choice


@dataclass
class Rewrite:
    """The rewriting of a module's states, and the hidden variables that it does not explain, each with a reason."""

    edits: list[Edit]
    states: list[EulerState]
    left: dict[str, str]


def rewrite(model: Model, module: Module, flow: Flow) -> Rewrite:
    """Internal nodes in place of recognisable hidden states."""
    main = [block for block, initial in module.analogs if not initial]
    pairs = _pairs(flow)
    every = {name: pairs.get(name, name) for name in flow.hidden}
    lags: dict[str, Expr] = {}
    candidates, left = every, dict[str, str]()
    while True:
        walk = Walk(model, module, flow, candidates, lags)
        for block in main:
            walk.run(block, ())
        left |= {name: reason for name, reason in walk.lost.items() if name in flow.hidden}
        kept = walk.kept()
        late = {name: of for name in candidates.keys() - kept.keys() if (of := lagging(module, flow, name)) is not None}
        if late:  # what a state is made of may be the value of something at the step before: once more, with that known
            lags |= late
            candidates, left = {name: of for name, of in every.items() if not {name, of} & lags.keys()}, {}
        elif kept == candidates:
            break
        else:
            candidates = kept
    lags = walk.lags
    states: list[EulerState] = []
    edits: list[Edit] = []
    for name in dict.fromkeys(candidates.values()):
        state = walk.states[name]
        state.same = [other for other, of in candidates.items() if of == name != other]
        try:
            edits += _start(model, module, flow, walk, state)
            states.append(state)
        except NotEuler as reason:
            left[name] = str(reason)
    known = {name for state in states for name in (state.name, *state.same)} | walk.clocks | walk.steps | walk.settled
    known |= lags.keys() if not walk.lost.keys() & lags.keys() else set()
    left = {name: reason for name, reason in left.items() if name not in known}
    for name in flow.hidden.keys() - known - left.keys() - walk.flags:
        left[name] = "it is not integrated over a time step or by idt"
    delays: list[str] = []
    try:
        delays = [line for name, of in lags.items() for line in _delay(model, module, flow, walk, name, of)]
    except NotEuler as reason:
        return Rewrite([], [], left | dict.fromkeys(lags, str(reason)))
    for name in lags:
        given = [*flow.initial.get(name, []), *(s for s in walk.starts if s.target == name)]
        edits += [_removed(module, statement) for statement in given if plain(model, statement)]
    if not (states or lags) or len(states) < len(set(candidates.values())) or (lags and left):
        return Rewrite([], [], left)
    if any(sources(module, {name}) & (walk.clocks | walk.steps) for name in left):  # what it is integrated by would go
        return Rewrite([], [], left)
    if not all(plain(model, block) for block in main):
        return Rewrite([], [], left | {state.name: "it is integrated in a macro" for state in states})
    unique = {(e.start, e.end): e for e in (*edits, *walk.edits)}
    if walk.resets:
        which = ", ".join(sorted(walk.resets))
        why = f"{which}, which is set at once, goes there within {FAST} s (our choice; parameter {walk.fast!r})"
        unique[-2, 0] = Edit(main[0].start, main[0].start, "", why)
    for number, name in enumerate(sorted(walk.met)):
        why = f"parameter {name!r} is taken for the time step, which the engine chooses: check that it is nothing else"
        unique[-1, number] = Edit(main[0].start, main[0].start, "", why)
    return Rewrite(_assemble(model, module, walk, states, list(unique.values()), delays), states, left)


def lagging(module: Module, flow: Flow, name: str) -> Expr | None:
    """What ``name`` is one step later than: the value of its only assignment, which is made at each step.

    None where it is not that.
    """
    (only, *others) = flow.assigned.get(name, [None])
    top = [s for block, initial in module.analogs if not initial for s in _always(block)]
    if only is None or others or only.target != name or only.value is None or not any(s is only for s in top):
        return None
    return None if name in only.value.names() or constant(only.value, module) else only.value


def _always(statement: Statement) -> Iterator[Statement]:
    """The statements that are run at each step."""
    if statement.kind == "block":
        for child in statement.body:
            yield from _always(child)
    else:
        yield statement


def _delay(model: Model, module: Module, flow: Flow, walk: Walk, name: str, of: Expr) -> Iterator[str]:
    """Lines that set ``name``, which is later than ``of`` by a step, before it is read. Raises `NotEuler`."""
    now = _at_top(model, module, flow, walk, of, 8)
    rate = walk.rates[name]
    yield f"        {name} = {now};"
    if any(re.search(rf"\b{rate}\b", edit.new) for edit in walk.edits):
        walk.used[name] = None
        yield f"        {rate} = -ddt({now});"


def _at_top(model: Model, module: Module, flow: Flow, walk: Walk, node: Expr, depth: int) -> str:
    """``node`` as it can be written where only states and parameters have values. Raises `NotEuler`."""
    text = model.source.text
    if not model.source.editable(node) and node.op not in ("name", "number"):
        raise NotEuler("it is written in a macro")
    if node.op == "name" and any(entry.name.text == node.name for entry in module.variables):
        if node.name in walk.states or any(node.name in state.same for state in walk.states.values()):
            return node.name
        given = flow.assigned.get(node.name, [])
        top = [s for block, initial in module.analogs if not initial for s in _always(block)]
        value = given[0].value if len(given) == 1 and any(s is given[0] for s in top) else None
        if value is None or not depth or node.name in {*flow.hidden, *flow.initial}:
            raise NotEuler(f"it is what {node.name!r} was at the step before, which is computed in several places")
        return f"({_at_top(model, module, flow, walk, value, depth - 1)})"
    pieces, position = [], node.start
    for arg in node.args if node.op != "call" or node.name not in ("V", "I") else ():
        pieces += [text[position : arg.start], _at_top(model, module, flow, walk, arg, depth)]
        position = arg.end
    return "".join([*pieces, text[position : node.end]])


def _pairs(flow: Flow) -> dict[str, str]:
    """``w`` -> ``w_last`` for every ``w_last = w`` that is the last assignment of a hidden one, both hidden."""
    found = {}
    for name in flow.hidden:
        value = flow.assigned[name][-1].value
        if value is not None and value.op == "name" and value.name in flow.hidden and value.name != name:
            found[value.name] = name
    return {name: last for name, last in found.items() if last not in found}


def _start(model: Model, module: Module, flow: Flow, walk: Walk, state: EulerState) -> Iterator[Edit]:
    """Find the start value, and remove its assignments. Raises `NotEuler`."""
    text = model.source.text
    own = (state.name, *state.same)
    found: list[Expr] = []
    for name in own:
        for statement in (*flow.initial.get(name, []), *(s for s in walk.starts if s.target == name)):
            assert statement.value is not None
            if statement.target != name or not plain(model, statement):
                raise NotEuler("its start value is written in a macro or by a function")
            if statement.value.op == "name" and statement.value.name in own:
                continue
            found.append(statement.value)
            if not any(e.start <= statement.start and statement.end <= e.end for e in walk.edits):
                yield _removed(module, statement)
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
    for guard in reversed(module.around(statement)):
        rest = [s for s in guard.body if s is not target and s.kind != "empty"]
        if rest or guard.other or (guard.kind == "block" and guard in [block for block, _ in module.analogs]):
            break
        if not (guard.kind in ("block", "if") or is_initial(guard)):
            break
        target = guard
    why = "the start value is that of the internal node"
    return Edit(target.start, target.end, ";" if target is not statement or target.kind == "assign" else "", why)


def _scale(model: Model, module: Module, walk: Walk, state: EulerState) -> str:
    """What the state is divided by in its node; empty for 1."""
    if state.name in walk.snapped:
        return ""
    if state.high:
        return "" if re.fullmatch(r"1(\.0*)?", state.high) else state.high
    try:
        start = abs(ModuleReading(model, module, 1e-9, partly=True).constant(state.initial))
    except Unreadable:
        return ""
    return "" if start == 0.0 or 1e-2 <= start <= 1e2 else repr(start)


def _assemble(
    model: Model, module: Module, walk: Walk, states: list[EulerState], edits: list[Edit], delays: list[str]
) -> list[Edit]:
    """The edits of all states, with declarations, what is read first and what is contributed last."""
    main = [block for block, initial in module.analogs if not initial]
    nodes = {state.name: walk.nodes[state.name] for state in states}
    rates = [walk.rates[name] for name in dict.fromkeys([*(state.name for state in states), *walk.used])]
    declare = [f"    electrical {', '.join(nodes.values())};"] if nodes else []
    declare += [f"    real {', '.join(rates)};"] if rates else []
    before = [f"        {rate} = 0.0;" for rate in rates]
    if walk.resets:
        declare.append(f"    parameter real {walk.fast} = {FAST}; // s, in which what is set at once goes there")
    after = []
    for state in states:
        node, name, rate = nodes[state.name], state.name, walk.rates[state.name]
        scale = _scale(model, module, walk, state)
        read = f"({scale}) * V({node})" if scale else f"V({node})"
        if name in walk.snapped:
            read = f"floor({read} + 0.5)"
        if state.low:
            read = f"max({read}, {state.low})"
        if state.high:
            read = f"min({read}, {state.high})"
        before.append(f"        {name} = {read};")
        before += [f"        {other} = {name};" for other in state.same]
        value = f"(({scale}) * V({node}))" if scale else f"V({node})"
        if state.high and not state.unbounded:
            after.append(f"        if ({value} >= {state.high} && {rate} > 0.0) {rate} = 0.0;")
        if state.low and not state.unbounded:
            after.append(f"        if ({value} <= {state.low} && {rate} < 0.0) {rate} = 0.0;")
        start = f"({state.initial})/({scale})" if scale else state.initial
        after.append(f"        V({node}) <+ {start} + idt({f'{rate}/({scale})' if scale else rate}, 0);")
    before += delays
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
