"""Arrays of variables and parameters as single ones, and the loops over their indices as what they repeat.

``real x[0:2]`` is ``x_0``, ``x_1`` and ``x_2``; a ``for`` with ends that are constant is written out, the outermost
first. Where parameters decide how often, they are held at their defaults, and named.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from cosim.language.expressions import Dialect, Expr, Unreadable, evaluate
from cosim.language.findings import Edit
from cosim.language.va_tree import Declared, Module, Statement
from cosim.lint.va_reading import ModuleReading
from cosim.lint.va_rules import Model
from cosim.lint.va_values import FUNCTIONS, MOST, indices, starts
from cosim.lint.va_walk import plain

_LONG = 200_000  # letters of a loop that is written out


class NotUnrolled(Exception):
    """Why arrays stay."""


def unrolled(model: Model, module: Module) -> list[Edit]:
    """The edits of one round: loops, and where no loop is left, declarations and elements. Raises `NotUnrolled`."""
    arrays = {entry.name.text: entry for entry in (*module.parameters, *module.variables) if entry.array}
    if not arrays:
        return []
    if module.arrays or any(entry.array for function in module.functions.values() for entry in function.locals):
        raise NotUnrolled(
            "arrays of nodes, and those in functions, are not written out: declare each by a name of its own"
        )
    try:
        loops = list(_loops(model, module))
        if sum(len(edit.new) for edit in loops) > _LONG:
            raise NotUnrolled("its loops are too long to be written out")
        return loops or list(_elements(model, module, arrays))
    except Unreadable as reason:
        raise NotUnrolled(reason.message) from None


def _loops(model: Model, module: Module) -> Iterator[Edit]:
    def search(statement: Statement) -> Iterator[Edit]:
        if _is_for(statement) and any(_indexed(s) for s in statement.walk()):
            yield _written_out(model, module, statement)
            return
        for child in (*statement.body, *statement.other):
            yield from search(child)

    for block, _ in module.analogs:
        yield from search(block)


def _is_for(statement: Statement) -> bool:
    """Whether this is the block of a start and a loop that the parser makes of a ``for``."""
    body = statement.body
    return (
        statement.kind == "block" and len(body) == 2 and body[0].kind == "assign" and body[1].kind == "loop"
        and body[1].start == statement.start and body[1].body[-1].kind == "assign"
    )  # fmt: skip


def _indexed(statement: Statement) -> bool:
    own = [statement.access] if statement.kind == "assign" and statement.access is not None else []
    return any(node.op == "index" for expr in (*statement.expressions(), *own) for node in expr.walk())


def _written_out(model: Model, module: Module, statement: Statement) -> Edit:
    first, loop = statement.body
    body, step = loop.body
    if not plain(model, statement) or first.value is None or loop.value is None or step.value is None:
        raise NotUnrolled("a loop is written in a macro")
    name, (turns, end) = first.target, _turns(model, module, statement, {})
    if any(s.target == name for s in body.walk()):
        raise NotUnrolled(f"a loop over {name!r} assigns it")
    if _size(model, module, statement, {}) > _LONG:
        raise NotUnrolled(f"a loop over {name!r} is too long to be written out")
    places = [t for t in model.source.written if body.start <= t.start < body.end and t.kind == "name"]
    spans = [(token.start, token.end) for token in places if token.text == name]
    whole = name in module.integers or module.nets.get(name) == "genvar"
    pieces = [_replaced(model.source.text, body, spans, _number(k, whole=whole)) for k in turns]
    variable = any(entry.name.text == name for entry in module.variables)
    if variable and any(node.name == name and not statement.start <= node.start < statement.end
           for expr in module.expressions() for node in expr.walk()):  # fmt: skip
        pieces.append(f"{name} = {_number(end, whole=whole)};")  # what is read behind the loop
    read = loop.value.names() | first.value.names() | step.value.names()
    held = sorted({entry.name.text for entry in module.parameters} & read)
    why = f"the loop over {name!r} is written out" + (f", with {', '.join(held)} at the default" if held else "")
    return Edit(statement.start, statement.end, "begin\n" + "\n".join(pieces) + "\nend", why)


def _number(value: float, *, whole: bool) -> str:
    return str(int(value)) if whole else repr(float(value))


def _turns(model: Model, module: Module, statement: Statement, given: dict[str, float]) -> tuple[list[float], float]:
    """The values of the variable of a ``for``, and that behind it, where ``given`` are those of the loops around it."""
    first, loop = statement.body
    name, step = first.target, loop.body[1]
    assert first.value is not None
    assert loop.value is not None
    assert step.value is not None
    if step.target != name:
        raise NotUnrolled(f"a loop over {name!r} counts {step.target!r}")
    turns, at = list[float](), _value(model, module, first.value, given)
    while _value(model, module, loop.value, {**given, name: at}) != 0.0:
        turns.append(at)
        at = _value(model, module, step.value, {**given, name: at})
        if len(turns) > MOST:
            raise NotUnrolled(f"a loop over {name!r} has more than {MOST} turns")
    return turns, at


def _size(model: Model, module: Module, statement: Statement, given: dict[str, float]) -> int:
    """How many letters ``statement`` has with the loops in it written out, each as in the longer of its end's turns."""
    if not _is_for(statement):
        inner = [*statement.body, *statement.other]
        return statement.end - statement.start + sum(_size(model, module, child, given) for child in inner)
    turns, _ = _turns(model, module, statement, given)
    body = statement.body[1].body[0]
    name = statement.body[0].target
    return len(turns) * max(
        (_size(model, module, body, {**given, name: k}) for k in {*turns[:1], *turns[-1:]}), default=0
    )


def _replaced(text: str, body: Statement, places: list[tuple[int, int]], value: str) -> str:
    pieces, position = [], body.start
    for start, end in places:
        pieces += [text[position:start], value]
        position = end
    return "".join([*pieces, text[position : body.end]])


def _value(model: Model, module: Module, expr: Expr, given: dict[str, float]) -> float:
    reading = ModuleReading(model, module, 1e-9, partly=True)

    def named(node: Expr) -> float:
        if node.name in given:
            return given[node.name]
        if any(entry.name.text == node.name for entry in module.variables):
            raise Unreadable(
                f"a loop or an index depends on the variable {node.name!r}: use constants, or a 'for' over them",
                node.start,
            )
        return reading.value(node)

    dialect = Dialect(FUNCTIONS, math.pow, integers=module.integers)
    try:
        value = evaluate(expr, named, lambda node: None, dialect)
    except (ValueError, OverflowError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        line, text = model.source.place(expr.start)[0], model.source.text[expr.start : expr.end]
        raise Unreadable(f"line {line}: {text!r}, of a loop or an index, is not finite", expr.start)
    return value


def _elements(model: Model, module: Module, arrays: dict[str, Declared]) -> Iterator[Edit]:
    text = model.source.text
    reading = ModuleReading(model, module, 1e-9, partly=True)
    taken = {token.text for token in model.source.tokens if token.kind == "name"}
    names: dict[str, dict[tuple[int, ...], str]] = {}
    for name, entry in arrays.items():
        stem = name if not any(re.fullmatch(rf"{re.escape(name)}_[\d_]+", other) for other in taken) else f"{name}_of"
        places = indices(entry, reading.value)
        names[name] = {k: f"{stem}_{'_'.join(map(str, k))}".replace("-", "m") for k in places}
        if model.source.cuts(entry.start, entry.end):
            raise NotUnrolled(f"{name!r} is declared in a macro")
        given = starts(entry, len(places))
        end = text[entry.value.end : entry.end] if entry.value is not None else ""
        written = [
            one if value is None else f"{one} = {text[value.start : value.end]}{end}"
            for one, value in zip(names[name].values(), given, strict=True)
        ]
        yield Edit(entry.name.start, entry.end, ", ".join(written), f"array {name!r} is single variables")
        before = re.search(r"\[[^;]*\]\s*$", text[entry.start : entry.name.start])
        if before is not None:  # the range stands behind the type
            yield Edit(entry.start + before.start(), entry.name.start, " ", "")
    for expr in (*module.expressions(), *(s.access for s in module.statements() if s.kind == "assign" and s.access)):
        for node in expr.walk():
            if node.op == "index" and node.name in names:
                yield _element(model, module, node, names[node.name])


def _element(model: Model, module: Module, node: Expr, names: dict[tuple[int, ...], str]) -> Edit:
    text = model.source.text
    if model.source.cuts(node.start, node.end):
        raise NotUnrolled(f"an element of {node.name!r} is written in a macro")
    try:
        values = [_value(model, module, arg, {}) for arg in node.args]
    except Unreadable:
        if len(node.args) != 1 or any(s.access is node for s in module.statements()):
            raise
        index = text[node.args[0].start : node.args[0].end]
        *others, last = names.items()
        chosen = "".join(f"(({index}) == {k[0]}) ? {one} : " for k, one in others)
        return Edit(node.start, node.end, f"({chosen}{last[1]})", f"an element of {node.name!r} is chosen by its index")
    place = tuple(int(value) for value in values)
    if place not in names or any(value % 1.0 for value in values):
        line = model.source.place(node.start)[0]
        raise NotUnrolled(f"line {line} reads {text[node.start : node.end]!r}, which the array does not have")
    return Edit(node.start, node.end, names[place], "")
