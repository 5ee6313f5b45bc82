"""``--fix`` for Verilog-A: edits of the text as it was written, each with a sentence; what has none is named."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cosim.lint import va_euler
from cosim.lint.expressions import Expr, is_integer
from cosim.lint.findings import Edit, Finding, Fixed, apply_edits
from cosim.lint.va_rules import RENAMED, RESERVED, Model, check, read
from cosim.lint.va_state import is_initial
from cosim.lint.va_syntax import Module, Statement
from cosim.lint.va_tokens import SUFFIX

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
_ROUNDS = 6


def fix(model: Model) -> Fixed:
    """The repaired text. Several rounds, because an edit may stand inside another one."""
    done: list[str] = []
    left: dict[str, str] = {}
    for _ in range(_ROUNDS):
        edits = list(_edits(model, left))
        if not edits:
            break
        text = apply_edits(model.source.text, edits)
        for edit in edits:
            if edit.why and edit.why not in done:
                done.append(edit.why)
        if text == model.source.text:
            break
        model = read(text, model.folder)
    remaining = [f for f in check(model) if f.severity.value != "warning"]
    reasons = [f"line {f.line}: {f.message}{_because(f, left)}" for f in remaining]
    return Fixed(model.source.text, tuple(done), tuple(reasons))


def _because(finding: Finding, left: dict[str, str]) -> str:
    for name, reason in left.items():
        if finding.rule == "hidden-state" and repr(name) in finding.message:
            return f" ({reason})"
    return ""


def _edits(model: Model, left: dict[str, str]) -> Iterator[Edit]:
    codes = {finding.rule for finding in check(model)}
    yield from _header(model, codes)
    yield from _tokens(model)
    for module, states in zip(model.modules, model.flows, strict=True):
        yield from _declarations(model, module)
        for statement in module.statements():
            yield from _statement(model, module, statement)
        for expr in module.expressions():
            for node in expr.walk():
                yield from _expression(model, module, node)
        syntax = codes & {"reserved", "caret", "number", "attr", "ground", "ground-order", "discipline", "event"}
        if states.hidden and not syntax:  # one thing at a time: texts that both change would collide
            done = va_euler.rewrite(model, module, states)
            left.update(done.left)
            yield from done.edits


def _header(model: Model, codes: set[str]) -> Iterator[Edit]:
    lines = [
        f'`include "{name}.vams"'
        for name in ("disciplines", "constants")
        if f"no-{name}" in codes
    ]  # fmt: skip
    if lines:
        yield Edit(0, 0, "\n".join(lines) + "\n", "standard headers are included")
    for token in model.source.directives:
        if token.text in ("`timescale", "`default_discipline", "`default_transition", "`celldefine", "`line"):
            yield Edit(token.start, model.source.line_end(token.start), "", f"{token.text} is removed")


def _tokens(model: Model) -> Iterator[Edit]:
    source = model.source
    tokens = source.tokens
    reserved = {
        token.text
        for module in model.modules
        for token in [*module.ports, *(e.name for e in (*module.parameters, *module.variables))]
        if token.text in RESERVED
    }
    known = {token.text for token in tokens if token.kind == "name"}
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
        if not entry.kind and entry.name.text in module.integers and not entry.local:
            yield Edit(entry.name.start, entry.name.start, "real ", f"parameter {entry.name.text!r} is real")
    for function in module.functions.values():
        untyped = [token.text for token in function.arguments if token.text not in function.typed]
        if untyped:
            where = function.body_start
            yield Edit(where, where, f"real {', '.join(untyped)}; ", "arguments of analog functions are real")


def _statement(model: Model, module: Module, statement: Statement) -> Iterator[Edit]:
    text = model.source.text
    if statement.kind == "event":
        events = statement.name.split()
        body = [s for child in statement.body for s in child.walk() if s.kind not in ("block", "empty")]
        unknown = {"cross", "above", "timer"} & set(events)
        only_printed = all(s.kind == "call" for s in body)
        if unknown and only_printed:
            yield Edit(statement.start, statement.end, ";", f"@({statement.name}) without an assignment is removed")
        elif events == ["final_step"] and only_printed:
            yield Edit(
                statement.start, statement.end, ";", "printing at the end is removed: it would print at each step"
            )
        elif events == ["timer"] and _euler_body(body):
            inner = "\n".join(text[s.start : s.end] for s in statement.body)
            yield Edit(
                statement.start, statement.end, inner, "the integration on a timer follows the engine's own steps"
            )
        elif is_initial(statement) and (len(events) > 1 or events[0] != "initial_step"):
            inner = text[statement.body[0].start : statement.body[0].end]
            yield Edit(
                statement.start, statement.end, f"@(initial_step) {inner}", f"@({statement.name}) is @(initial_step)"
            )
    elif statement.kind == "contrib" and statement.value is not None:
        value = statement.value
        if value.op == "call" and value.name == "idt" and len(value.args) > 1 and not _zero(value.args[1]):
            yield _idt(model, value)
    elif statement.kind == "call" and statement.name in ("$stop", "$fatal", "$finish"):
        yield Edit(statement.start, statement.end, ";", f"{statement.name} is removed: the netlist ends the analysis")


def _euler_body(body: list[Statement]) -> bool:
    """Whether some assignment in ``body`` adds to the variable it assigns."""
    return any(
        s.kind == "assign" and s.value is not None and s.value.op in "+-" and s.target in s.value.names() for s in body
    )


def _zero(expr: Expr) -> bool:
    return expr.op == "number" and expr.value == 0.0


def _idt(model: Model, node: Expr) -> Edit:
    text = model.source.text
    rate, start = (text[arg.start : arg.end] for arg in node.args[:2])
    return Edit(node.start, node.end, f"(({start}) + idt({rate}, 0))", "idt(rate, x0) is x0 + idt(rate, 0)")


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
    elif name == "idt" and len(parts) > 1 and not _zero(node.args[1]):
        yield _idt(model, node)
    elif name in ("$rdist_normal", "$dist_normal") and len(parts) == 3:
        yield from _deviate(model, module, node, f"(({parts[1]}) + {{}} * ({parts[2]}))", "0.0", "standard deviations")
    elif name in ("$rdist_uniform", "$dist_uniform") and len(parts) == 3:
        formula = f"(({parts[1]}) + {{}} * (({parts[2]}) - ({parts[1]})))"
        yield from _deviate(model, module, node, formula, "0.5", "the range")


def _deviate(model: Model, module: Module, node: Expr, formula: str, value: str, of: str) -> Iterator[Edit]:
    taken = {entry.name.text for entry in module.parameters}
    name = next(f"deviation_{k}" for k in range(1, 1000) if f"deviation_{k}" not in taken)
    why = (
        f"{node.name} is parameter {name!r}, in {of}, {value} by default: nothing varies from step to step; draw it "
        "outside, once per device (Monte Carlo)"
    )
    # only one a round: the next one needs another name
    first = min((n.start for e in module.expressions() for n in e.walk() if re.match(r"\$r?dist_", n.name)), default=-1)
    if node.start == first:
        yield Edit(node.start, node.end, formula.format(name), why)
        at = max([module.header_end, *(entry.end + 1 for entry in module.parameters)])
        yield Edit(at, at, f"\n    parameter real {name} = {value}; // own: a random draw before")
