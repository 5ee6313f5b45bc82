"""Which of a module's variables do not hold a state: flags of the start, constants set there, integrals."""

from __future__ import annotations

from collections.abc import Iterator

from cosim.language.expressions import Expr
from cosim.language.va_tree import Module
from cosim.lint.va_state import NOW, Flow, constant


def asked_exactly(name: str, module: Module) -> bool:
    """Whether the module asks whether ``name`` is zero, or equal to something, and sets it to whole numbers alone."""
    given = [s.value for s in module.statements() if s.kind == "assign" and s.target == name]
    given += [entry.value for entry in module.variables if entry.name.text == name and entry.value is not None]
    if not all(value is not None and value.op == "number" and value.value % 1.0 == 0.0 for value in given):
        return False
    asked = [s.value for s in module.statements() if s.kind in ("if", "case")]
    asked += [arg for expr in module.expressions() for node in expr.walk() for arg in _truths(node)]
    return any(expr is not None and expr.op == "name" and expr.name == name for expr in asked)


def _truths(node: Expr) -> tuple[Expr, ...]:
    """The arguments of ``node`` whose exact value counts."""
    return node.args[:1] if node.op == "cond" else node.args if node.op in ("==", "!=", "&&", "||", "u!") else ()


def conjuncts(condition: Expr) -> Iterator[Expr]:
    """What ``condition`` joins by && and ||."""
    if condition.op in ("&&", "||"):
        for arg in condition.args:
            yield from conjuncts(arg)
    else:
        yield condition


def is_zero(expr: Expr) -> bool:
    """Whether ``expr`` is the number zero."""
    return expr.op == "number" and expr.value == 0.0


def flags_of(module: Module, flow: Flow) -> set[str]:
    """Hidden variables that only say that the start is over: zero at first, and asked for it."""
    asked = set()
    for statement in module.statements():
        for part in conjuncts(statement.value) if statement.kind == "if" and statement.value is not None else ():
            zero = part.op == "==" and is_zero(part.args[1])
            asked |= {part.args[0].name} if (zero or part.op == "u!") and part.args[0].op == "name" else set()
    return {
        name
        for name in asked & flow.hidden.keys()
        if all(s.value is not None and s.value.op == "number" and s.value.value != 0.0 for s in flow.assigned[name])
    }


def settled_of(module: Module, flow: Flow, flags: set[str]) -> set[str]:
    """Hidden variables that are constant: what is assigned to them at the start, and nowhere else."""
    starts = {
        id(inside)
        for statement in module.statements()
        if statement.kind == "if" and statement.value is not None and is_start(statement.value, flags)
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


def integral_of(value: Expr, module: Module) -> tuple[Expr, Expr | None, Expr | None] | None:
    """Rate, start value (None: zero) and reset of ``idt(rate, start, reset)`` or ``start + idt(rate, 0)``.

    None for anything else.
    """
    if value.op == "call" and value.name == "idt" and 1 <= len(value.args) <= 3:
        rate, start, reset, *_ = *value.args, None, None
        return rate, start, reset
    if value.op == "+":
        for start, integral in (value.args, value.args[::-1]):
            zero = len(integral.args) < 2 or (is_zero(integral.args[1]) and len(integral.args) == 2)
            if integral.op == "call" and integral.name == "idt" and zero and constant(start, module):
                return integral.args[0], start, None
    return None


def is_start(condition: Expr, flags: set[str]) -> bool:
    """``$abstime == 0``, ``$abstime <= 0``, ``first == 0``, ``!first`` (one of ``flags``) or ``analysis("ic")``."""
    if condition.op in ("==", "<=") and is_zero(condition.args[1]):
        return condition.args[0].name in NOW or (condition.op == "==" and condition.args[0].name in flags)
    if condition.op == "u!":
        return condition.args[0].name in flags
    if condition.op == "||":
        return all(is_start(arg, flags) for arg in condition.args)
    static = {'"ic"', '"static"', '"nodeset"'}
    return condition.name == "analysis" and {arg.name for arg in condition.args} <= static
