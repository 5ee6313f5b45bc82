"""``--fix`` for Verilog-A: edits of the text as it was written, each with a sentence; what is left is named."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import count

from cosim.language.expressions import Expr, is_integer
from cosim.language.findings import Edit, Finding, Fixed, apply_edits
from cosim.language.va_tokens import SUFFIX
from cosim.language.va_tree import Module, Statement
from cosim.language.va_words import RESERVED
from cosim.lint import va_arrays, va_euler, va_events, va_timer
from cosim.lint.va_marks import is_zero
from cosim.lint.va_rules import RENAMED, Model, check, read, taken, unused_nodes
from cosim.lint.va_state import is_initial

_SUFFIXES = {
    "meg": "e6",
    "Meg": "e6",
    "MEG": "e6",
    "x": "e6",
    "g": "e9",
    "t": "e12",
    "U": "e-6",
    "N": "e-9",
    "P": "e-12",
}
_DRAW = re.compile(r"\$(random|arandom|r?dist_\w+)$")
_ROUNDS = 8
_FIRST = frozenset({"reserved", "caret", "number", "attr", "ground", "ground-order", "discipline", "event", "array",
                    "case-clash"})  # fmt: skip
# The line and the message of a text's first error, None where it compiles.
Compiler = Callable[[str], tuple[int, str] | None]
# draw -> formula of its last arguments {0}, {1} and of the parameter {2}; the parameter's default, and what it is
_DRAWS = {
    "normal": ("(({0}) + {2} * ({1}))", "0.0", "in standard deviations"),
    "uniform": ("(({0}) + {2} * (({1}) - ({0})))", "0.5", "as a fraction of the range"),
    "t": ("{2}", "0.0", "as drawn"),
    **dict.fromkeys(
        ("exponential", "poisson", "chi_square", "erlang"), ("(({1}) * {2})", "1.0", "in units of the mean")
    ),
}


def fix(model: Model, compiler: Compiler | None = None) -> Fixed:
    """The repaired text.

    With ``compiler``, a fix that keeps the text from compiling is not made, but named in ``left``, and so is the
    error of a text that still does not compile.
    """
    refused: dict[str, str] = {}  # a group of edits -> why it is not made
    found = _attempt(model, frozenset())
    error = compiler(found.fixed.text) if compiler is not None else None
    while compiler is not None and error is not None and found.groups:
        culprit = _culprit(model, found, error, frozenset(refused), compiler)
        if culprit is None:
            break
        what = "; ".join(found.groups[culprit])
        refused[culprit] = f"not done: {what} (with it the text does not compile: line {error[0]}: {error[1]})"
        found = _attempt(model, frozenset(refused))
        error = compiler(found.fixed.text)
    if compiler is not None and error is not None and found.groups and compiler(model.source.text) is None:
        refused["all"] = f"nothing was changed: with the fixes line {error[0]} does not compile: {error[1]}"
        found, error = _attempt(model, None), None
    left = (*found.fixed.left, *refused.values())
    if error is not None:
        left += (f"line {error[0]} of the fixed text still does not compile: {error[1]}",)
    return Fixed(found.fixed.text, found.fixed.done, left)


@dataclass(frozen=True)
class _Attempt:
    """A repaired text, and the sentence of each group of its edits."""

    fixed: Fixed
    groups: dict[str, list[str]]


def _attempt(model: Model, without: frozenset[str] | None) -> _Attempt:
    """Fix, except for the groups ``without`` (None: nothing). Several rounds: an edit may stand inside another one."""
    groups: dict[str, list[str]] = {}
    left: dict[str, str] = {}
    for _ in range(_ROUNDS if without is not None else 0):
        edits = [e for e in _edits(model, left) if (e.group or e.why) not in (without or ())]
        if not edits:
            break
        text = apply_edits(model.source.text, edits)
        for edit in edits:
            whys = groups.setdefault(edit.group or edit.why, [])
            if edit.why and edit.why not in whys:
                whys.append(edit.why)
        if text == model.source.text:
            break
        model = read(text, *model.folders)
    remaining = [f for f in check(model) if f.severity.value != "warning" or f.rule == "unread"]
    reasons = [f"line {f.line}: {f.message}{_because(f, left)}" for f in remaining]
    done = tuple(dict.fromkeys(why for whys in groups.values() for why in whys))
    return _Attempt(Fixed(model.source.text, done, tuple(reasons)), {k: v for k, v in groups.items() if v})


def _culprit(
    model: Model, found: _Attempt, error: tuple[int, str], refused: frozenset[str], compiler: Compiler
) -> str | None:
    """The group without which the text compiles; or one that changed the line of the error, and without which the
    compiler reports another.
    """
    suspects = []
    lines = found.fixed.text.split("\n")
    for group in reversed(found.groups):
        other = _attempt(model, refused | {group}).fixed.text
        said = compiler(other)
        if said is None:
            return group
        match = SequenceMatcher(None, other.split("\n"), lines, autojunk=False)
        changed = {k for tag, _, _, start, end in match.get_opcodes() if tag != "equal" for k in range(start, end)}
        if error[0] - 1 in changed and said[1] != error[1]:
            suspects.append(group)
    return suspects[0] if suspects else None


def _because(finding: Finding, left: dict[str, str]) -> str:
    for name, reason in left.items():
        if finding.rule == "hidden-state" and repr(name) in finding.message:
            return f" ({reason})"
    if finding.rule == "array" and "array" in left:
        return f" ({left['array']})"
    if finding.rule == "event" and f"line {finding.line}" in left:
        return f" ({left[f'line {finding.line}']})"
    return ""


def _edits(model: Model, left: dict[str, str]) -> Iterator[Edit]:
    codes = {finding.rule for finding in check(model)}
    source = model.source
    for line in [name for name in left if name.startswith("line ")]:  # of an earlier round's text
        del left[line]
    yield from _header(model, codes)
    yield from _tokens(model)
    for module, states in zip(model.modules, model.flows, strict=True):
        if source.expanded(module.start):  # it lies in an included file
            continue
        if taken(module.name):
            new = f"{module.name}_va"
            yield Edit(module.named, module.named + len(module.name), new, f"module {module.name!r} is {new!r}")
        yield from _declarations(model, module)
        yield from _clashes(model, module)
        yield from _unused(model, module)
        try:
            yield from va_arrays.unrolled(model, module)
        except va_arrays.NotUnrolled as reason:
            left["array"] = str(reason)
        timed = va_timer.recurrences(model, module, states)
        held, refused = va_events.conditions(model, module, states)
        left.update({f"line {line}": reason for line, reason in refused.items()})
        if not codes & (_FIRST - {"event", "array"}):  # they take text along in which the others change words
            yield from va_timer.rates(model, module, states)
            yield from held
        for statement in module.statements():
            if statement.start < statement.end and not source.cuts(statement.start, statement.end):
                if statement.start not in timed or statement.kind != "event":
                    yield from _statement(model, module, statement)
                if statement.target not in states.hidden:
                    yield from _resets(model, module, statement)
        for expr in module.expressions():
            for node in expr.walk():
                if source.editable(node):
                    yield from _expression(model, module, node)
        yield from _draws(model, module)
        if states.hidden and not codes & _FIRST:  # one thing at a time: texts that both change would collide
            done = va_euler.rewrite(model, module, states)
            left.update(done.left)
            yield from (replace(edit, group=f"states of {module.name}") for edit in done.edits)


def _header(model: Model, codes: set[str]) -> Iterator[Edit]:
    lines = [
        f'`include "{name}.vams"'
        for name in ("disciplines", "constants")
        if f"no-{name}" in codes
    ]  # fmt: skip
    if lines:
        yield Edit(0, 0, "\n".join(lines) + "\n", "standard headers are included")
    for token in model.source.directives:
        yield Edit(token.start, model.source.line_end(token.start), "", f"{token.text} is removed")


def _tokens(model: Model) -> Iterator[Edit]:
    source = model.source
    tokens = (*source.written, source.tokens[-1])
    reserved = {
        token.text
        for module in model.modules
        for token in [*module.ports, *(e.name for e in (*module.parameters, *module.variables))]
        if token.text in RESERVED
    }
    known = {token.text for token in source.tokens if token.kind == "name"}
    for index, token in enumerate(tokens[:-1]):
        after = tokens[index + 1]
        if token.kind == "directive" and token.text in ("`attr", "`P", "`ATTR") and after.text == "(":
            end, depth = index + 1, 0
            while end < len(tokens) - 1:
                depth += (tokens[end].text == "(") - (tokens[end].text == ")")
                if depth == 0:
                    break
                end += 1
            yield Edit(token.start, tokens[end].end, "", f"{token.text} descriptions are removed")
        elif token.kind == "number":
            match = re.fullmatch(r"([\d._]+)([A-Za-z]*)", token.text)
            tail = match[2] if match else ""
            new = token.text
            if match and tail and tail not in SUFFIX and tail in _SUFFIXES:
                new = match[1] + _SUFFIXES[tail]
            if new.startswith("."):
                new = f"0{new}"
            if new != token.text:
                yield Edit(token.start, token.end, new, f"{token.text} is written {new}")
        elif token.kind == "name" and token.text in reserved and not (after.text == "(" and token.text != "time"):
            new = f"{token.text}_1" if f"{token.text}_1" not in known else f"{token.text}_renamed"
            yield Edit(token.start, token.end, new, f"{token.text!r} is renamed {new!r}")
        elif token.text == "ground" and index and tokens[index - 1].kind == "name" and after.kind == "name":
            before = tokens[index - 1]
            end = index
            while end < len(tokens) - 1 and tokens[end].text != ";":
                end += 1
            names = source.text[after.start : tokens[end].start]
            yield Edit(
                before.start,
                tokens[end].end,
                f"{before.text} {names}; ground {names};",
                "ground is declared in two steps",
            )


def _declarations(model: Model, module: Module) -> Iterator[Edit]:
    lines = []
    loose = [token.text for token in module.grounds if token.text not in module.nets]
    for token in module.grounds:
        if token.text in loose:
            yield Edit(
                (start := model.source.text.rfind("ground", 0, token.start)), start, f"electrical {token.text}; ",
                f"ground {token.text!r} is electrical",
            )  # fmt: skip
    ports = [p.text for p in module.ports]
    missing = [p for p in ports if p not in module.directed]
    if missing:
        lines.append(f"    inout {', '.join(missing)};")
    bare = [p for p in ports if p not in module.nets and p not in RESERVED]
    if bare:
        lines.append(f"    electrical {', '.join(bare)};")
    if lines:
        yield Edit(
            module.header_end, module.header_end, "\n" + "\n".join(lines), "ports are declared inout and electrical"
        )
    for entry in module.parameters:
        for comma in entry.commas:
            if not model.source.cuts(comma.start, comma.end) and comma.start < comma.end:
                yield Edit(comma.start, comma.end, ":", f"the range of parameter {entry.name.text!r} has a colon")
        if not entry.kind and entry.name.text in module.integers and not entry.local:
            yield Edit(entry.name.start, entry.name.start, "real ", f"parameter {entry.name.text!r} is real")
    for function in module.functions.values():
        untyped = [token.text for token in function.arguments if token.text not in function.typed]
        if untyped:
            where = function.body_start
            yield Edit(where, where, f"real {', '.join(untyped)}; ", "arguments of analog functions are real")


def _clashes(model: Model, module: Module) -> Iterator[Edit]:
    """Of two parameters that differ in case only the later one is renamed."""
    known = {token.text.lower() for token in model.source.tokens if token.kind == "name"}
    seen: dict[str, str] = {}
    for entry in module.parameters:
        name = entry.name.text
        other = seen.setdefault(name.lower(), name)
        if other == name or entry.local:
            continue
        new = next(one for k in count(1) if (one := f"{name}_{k}").lower() not in known)
        why = f"parameter {name!r}, which differs from {other!r} in case only, is renamed {new!r}"
        for token in model.source.written:
            if token.kind == "name" and token.text == name and module.start <= token.start < module.end:
                yield Edit(token.start, token.end, new, why)


def _unused(model: Model, module: Module) -> Iterator[Edit]:
    """Nodes that are only declared are declared no longer."""
    text = model.source.text
    for first, *names in unused_nodes(model, module):
        end = text.find(";", first.start)
        listed = re.split(r"\s*,\s*", text[first.end : end].strip())
        rest = [name for name in listed if name not in {token.text for token in names}]
        if not all(re.fullmatch(r"\w+", name) for name in listed) or model.source.cuts(first.start, end + 1):
            continue  # comments between them, or a macro
        new = f"{first.text} {', '.join(rest)};" if rest else ""
        for token in names:
            yield Edit(first.start, end + 1, new, f"node {token.text!r}, which nothing uses, is removed")


def _statement(model: Model, module: Module, statement: Statement) -> Iterator[Edit]:
    text = model.source.text
    if statement.kind == "event":
        events = statement.name.split()
        body = [s for child in statement.body for s in child.walk() if s.kind not in ("block", "empty")]
        unknown = {"cross", "above", "timer"} & set(events)
        only_printed = all(s.kind == "call" for s in body)
        apart = va_timer.split(model, statement) if unknown else None
        if unknown and only_printed:
            yield Edit(statement.start, statement.end, ";", f"@({statement.name}) without an assignment is removed")
        elif events == ["final_step"] and only_printed:
            yield Edit(
                statement.start, statement.end, ";", "printing at the end is removed: it would print at each step"
            )
        elif apart is not None:
            yield apart
        elif events == ["timer"] and _euler_body(body) and va_timer.asks_the_time(statement):
            inner = "\n".join(text[s.start : s.end] for s in statement.body)
            yield Edit(
                statement.start, statement.end, inner, "the integration on a timer follows the engine's own steps"
            )
        elif is_initial(statement) and not unknown and (len(events) > 1 or events[0] != "initial_step"):
            inner = text[statement.body[0].start : statement.body[0].end]
            yield Edit(
                statement.start, statement.end, f"@(initial_step) {inner}", f"@({statement.name}) is @(initial_step)"
            )
    elif statement.kind == "contrib" and statement.value is not None:
        value = statement.value
        if value.op == "call" and value.name == "idt" and len(value.args) == 2 and not is_zero(value.args[1]):
            yield _idt(model, value)
    elif statement.kind == "call" and statement.name in ("$stop", "$fatal", "$finish"):
        yield Edit(statement.start, statement.end, ";", f"{statement.name} is removed: the netlist ends the analysis")


def _euler_body(body: list[Statement]) -> bool:
    """Whether some assignment in ``body`` adds to the variable it assigns."""
    return any(
        s.kind == "assign" and s.value is not None and s.value.op in "+-" and s.target in s.value.names() for s in body
    )


def _idt(model: Model, node: Expr) -> Edit:
    text = model.source.text
    rate, start = (text[arg.start : arg.end] for arg in node.args[:2])
    return Edit(node.start, node.end, f"(({start}) + idt({rate}, 0))", "idt(rate, x0) is x0 + idt(rate, 0)")


def _resets(model: Model, module: Module, statement: Statement) -> Iterator[Edit]:
    """``idt(rate, x0, reset)`` as the voltage of a node that goes back to ``x0`` fast where it is reset."""
    text = model.source.text
    for expr in statement.expressions():
        for node in expr.walk():
            if node.op != "call" or node.name != "idt" or len(node.args) != 3 or not model.source.editable(node):
                continue
            rate, start, reset = (text[arg.start : arg.end] for arg in node.args)
            access = statement.access
            if statement.kind == "contrib" and node == expr and access is not None and access.name == "V":
                held, before = text[access.start : access.end], ""
            else:
                stem = statement.target or "integral"
                net = f"{stem}_state" if f"{stem}_state" not in module.nets else f"{stem}_state_{node.start}"
                held = f"V({net})"
                before = f"{held} <+ "
                yield Edit(module.header_end, module.header_end, f"\n    electrical {net};", "")
            new = f"(({start}) + idt(({reset}) ? (({start}) - {held})/{va_euler.FAST} : ({rate}), 0))"
            why = f"an integral that is reset goes back to its start within {va_euler.FAST} s (our choice)"
            if before:
                yield Edit(statement.start, statement.start, f"{before}{new};\n", why)
            yield Edit(node.start, node.end, held if before else new, why)


def _expression(model: Model, module: Module, node: Expr) -> Iterator[Edit]:
    text = model.source.text
    parts = [text[arg.start : arg.end] for arg in node.args]
    if node.op == "^" and not all(is_integer(arg, module.integers) for arg in node.args):
        yield Edit(node.start, node.end, f"pow({parts[0]}, {parts[1]})", "'^' is read as a power: pow(x, y)")
    if node.op not in ("call", "name") or node.name in module.functions:
        return
    name = node.name
    if name in RENAMED and (node.op == "call" or name.startswith("$")):
        yield Edit(node.start, node.start + len(name), RENAMED[name], f"{name} is {RENAMED[name]}")
    elif name in ("sgn", "sign") and len(parts) == 1:
        x = parts[0]
        new = f"(({x}) > 0.0 ? 1.0 : (({x}) < 0.0 ? -1.0 : 0.0))"
        yield Edit(node.start, node.end, new, f"{name}(x) is written out")
    elif name == "idt" and node.op == "call" and len(parts) == 1:
        yield Edit(node.end - 1, node.end - 1, ", 0", "idt(rate) is idt(rate, 0)")
    elif name == "idt" and len(parts) == 2 and not is_zero(node.args[1]):
        yield _idt(model, node)


def _draws(model: Model, module: Module) -> Iterator[Edit]:
    """Each draw becomes a parameter, declared after the last declaration that is always there."""
    source = model.source
    nodes = {n.start: n for expr in module.expressions() for n in expr.walk() if _DRAW.match(n.name)}
    taken = {token.text.lower() for token in (*source.tokens, *source.written)}
    names = (name for k in count(1) if (name := f"deviation_{k}") not in taken)
    places = [
        entry.closed for entry in module.parameters
        if entry.block < 0 and not source.conditional(entry.closed, module.start)
        and not any(use.start <= entry.closed < use.end for use in source.uses)
    ]  # fmt: skip
    at, end = max((place for place in places), default=module.header_end), 0
    if re.fullmatch(r"\s*(//.*)?", source.text[at : source.line_end(at)]):
        at = source.line_end(at)
    for _, node in sorted(nodes.items()):
        if node.start < end or not source.editable(node):  # inside another draw: in the next round
            continue
        values = [source.text[arg.start : arg.end] for arg in node.args if arg.op != "string"]
        kind = re.sub(r"^\$r?dist_", "", node.name)
        if kind in _DRAWS and len(values) in (2, 3):
            formula, default, unit = _DRAWS[kind]
            typed = "real"
        elif node.name in ("$random", "$arandom"):
            formula, default, unit, typed = "{2}", "0", "as drawn", "integer"
        else:
            continue
        end, name = node.end, next(names)
        new = formula.format(values[-2] if len(values) > 2 else "", values[-1] if values else "", name)
        yield Edit(
            node.start, node.end, new,
            f"{node.name} is parameter {name!r}, {unit}, {default} by default: nothing varies from step to step; draw "
            "it outside, once per device (Monte Carlo)", group=name,
        )  # fmt: skip
        yield Edit(at, at, f"\n    parameter {typed} {name} = {default}; // instead of {node.name}, {unit}", group=name)
