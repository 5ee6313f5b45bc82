"""Hidden state: variables of an analog block that are read before they are assigned.

The language keeps such a variable from one step to the next. OSDI has no memory for it: each evaluation begins with
zero (or the declared value), and ``@(initial_step)`` is run at every evaluation. What the analysis asks is whether an
assignment lies on every path to a read.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from cosim.language.expressions import Expr
from cosim.language.va_tree import Module, Statement
from cosim.lint.va_cover import covers

NOW = frozenset({"$abstime", "$realtime", "$time"})

INITIAL = frozenset({"initial_step", "initial_instance", "initial_model"})


def is_initial(statement: Statement) -> bool:
    """Whether this is the event of a simulation's start."""
    return statement.kind == "event" and bool(set(statement.name.split()) & INITIAL)


def enabling(event: Expr) -> Expr | None:
    """What @(cross(x, way, time, value, enable)) or @(above(x, time, value, enable)) has to find other than zero."""
    given = event.args[4 if event.name == "cross" else 3 :]
    return given[0] if given and given[0].start < given[0].end else None


@dataclass
class Flow:
    """What the analog blocks do to variables, by name.

    ``hidden``: the first read that an assignment may not have reached, of a variable that is assigned outside the
    initial blocks too. ``initial``: assignments at the start; ``assigned``: all others; ``ending``: in final_step.
    """

    hidden: dict[str, Expr] = field(default_factory=dict)
    initial: dict[str, list[Statement]] = field(default_factory=dict)
    assigned: dict[str, list[Statement]] = field(default_factory=dict)
    ending: dict[str, list[Statement]] = field(default_factory=dict)
    unset: dict[str, Expr] = field(default_factory=dict)


def flow(module: Module) -> Flow:
    """The flow of a module's variables."""
    found = Flow()
    known = {entry.name.text for entry in module.variables if not entry.array}

    def read(expr: Expr | None, ready: set[str]) -> set[str]:
        """Note what is read before it is surely assigned; what the functions called in ``expr`` give back."""
        given: set[str] = set()
        only: set[int] = set()
        for node in expr.walk() if expr is not None else ():
            function = module.functions.get(node.name) if node.op == "call" else None
            for argument, value in zip(function.arguments if function else (), node.args, strict=False):
                if function is not None and argument.text in function.written:
                    given.add(value.name)
                    only |= {id(value)} if argument.text not in function.read else set()
            if node.op == "name" and node.name in known and node.name not in ready and id(node) not in only:
                found.unset.setdefault(node.name, node)
        return given

    def run(statement: Statement, ready: set[str], where: dict[str, list[Statement]]) -> None:
        """Go through ``statement``; ``ready`` grows by what it surely assigns."""
        kind = statement.kind
        if kind == "assign":
            for name in (*read(statement.value, ready), statement.target):
                where.setdefault(name, []).append(statement)
                ready.add(name)
        elif kind == "block":
            under: dict[str, list[Expr]] = {}  # variable -> the conditions under which it is assigned here
            for child in statement.body:
                before = set(ready)
                run(child, ready, where)
                condition = child.value
                for name in taken.pop(id(child), set()) - before - ready:
                    under.setdefault(name, []).extend([condition] if condition is not None else [])
                    if len(under[name]) > 1 and covers(under[name], module):
                        ready.add(name)
        elif kind == "if" and len(arms := _arms(statement)) > 1 and covers([value for value, _ in arms], module):
            ends = []
            for value, body in arms:
                read(value, ready)
                ends.append(set(ready))
                for child in body:
                    run(child, ends[-1], where)
            ready |= set.intersection(*ends)
        elif kind == "if":
            read(statement.value, ready)
            first, second = set(ready), set(ready)
            for child in statement.body:
                run(child, first, where)
            for child in statement.other:
                run(child, second, where)
            if not statement.other:
                taken[id(statement)] = first
            ready |= first & second
            if statement.value is not None and constant(statement.value, module):
                ready |= (first | second) - loose  # it is always taken or never: nothing alternates
        elif kind == "case":
            read(statement.value, ready)
            results = []
            for label in statement.args:
                read(label, ready)
            for child in statement.body:
                one = set(ready)
                run(child, one, where)
                results.append(one)
            if any(label.name == "default" for label in statement.args) and results:
                ready |= set.intersection(*results)
        elif kind in ("loop", "repeat"):
            read(statement.value, ready)
            for child in statement.body:
                run(child, set(ready), where)
        elif kind == "event":
            target = found.initial if is_initial(statement) else where
            if "final_step" in statement.name.split():
                target = found.ending
            for expr in statement.args:
                read(expr, ready)
            for child in statement.body:
                run(child, set(ready), target)
        elif kind == "unread":
            ready |= set(statement.name.split())  # it may have been assigned there
        else:
            for expr in statement.expressions():
                for name in read(expr, ready):
                    where.setdefault(name, []).append(statement)
                    ready.add(name)

    taken: dict[int, set[str]] = {}  # an if without an else -> what is surely assigned where it is taken
    loose = {name for statement, _ in module.analogs for name in _loose(statement, module)}
    ready: set[str] = set()
    for statement, initial in module.analogs:
        run(statement, set() if initial else ready, found.initial if initial else found.assigned)
    found.hidden = {name: node for name, node in found.unset.items() if name in found.assigned}
    return found


def _arms(statement: Statement) -> list[tuple[Expr, list[Statement]]]:
    """Conditions and statements of ``if ... else if ...``; empty where a plain ``else`` ends it."""
    found = []
    while statement.kind == "if" and statement.value is not None:
        found.append((statement.value, statement.body))
        if not statement.other:
            return found
        if len(statement.other) != 1:
            break
        statement = statement.other[0]
        while statement.kind == "block" and len(statement.body) == 1:
            statement = statement.body[0]
    return []


def _loose(statement: Statement, module: Module) -> set[str]:
    """What is assigned outside of the start and of every ``if`` whose condition does not change."""
    if is_initial(statement):
        return set()
    if statement.kind == "if" and statement.value is not None and constant(statement.value, module):
        return set()
    found = {statement.target} if statement.kind == "assign" else set()
    if statement.kind == "unread":
        found = set(statement.name.split())
    for child in (*statement.body, *statement.other):
        found |= _loose(child, module)
    return found


def constant(expr: Expr, module: Module, variables: set[str] = frozenset()) -> bool:  # type: ignore[assignment]
    """Whether ``expr`` depends on parameters, numbers and ``variables`` only."""
    parameters = {entry.name.text for entry in module.parameters} | set(variables)
    for node in expr.walk():
        if node.op == "name" and not (node.name in parameters or node.name in MATH or node.name.startswith("`")):
            return False
        if node.op == "call" and node.name not in MATH and node.name not in module.functions and node.name != "{}":
            return False
        if node.op in ("name", "call") and node.name in NOW:
            return False
    return True


MATH = frozenset(
    """ln log exp sqrt min max abs pow floor ceil sin cos tan asin acos atan atan2 hypot sinh cosh tanh asinh acosh
    atanh limexp $vt $temperature $param_given $port_connected $simparam $mfactor""".split()  # noqa: SIM905
)


def sources(module: Module, states: Collection[str]) -> set[str]:
    """The variables that what is assigned to ``states`` is computed from, and these."""
    read = [(s.target, s.value.names()) for s in module.statements() if s.kind == "assign" and s.value is not None]
    found = set(states)
    while new := {name for target, of in read if target in found for name in of} - found:
        found |= new
    return found
