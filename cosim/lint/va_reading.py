"""A Verilog-A two-terminal model as the language's standard reads it: variables keep their values from step to step.

The reference for ``--fix``: what the author of an explicitly integrated model meant, walked in small fixed steps over
the syntax tree, with nothing compiled. It reads modules with two terminals, inner nodes that are states or are
solved for, and ``idt``, ``ddt`` and hidden variables as memory; anything else raises `Unreadable`, and is reported as
not verified. Further ports that only show a value are left open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from cosim.devices.base import Array
from cosim.language.expressions import (
    VERILOG_LEVELS,
    Closure,
    Cursor,
    Dialect,
    Expr,
    ExpressionParser,
    Unreadable,
    compiled,
    evaluate,
)
from cosim.language.va_tokens import number, scan
from cosim.language.va_tree import Declared, Module, Statement
from cosim.lint.va_branches import Sums, current_of_one
from cosim.lint.va_clocks import step_parameters, ticks
from cosim.lint.va_rules import Model
from cosim.lint.va_state import INITIAL, NOW, enabling
from cosim.lint.va_values import CONSTANTS, FUNCTIONS, element, indices, rounded, starts

SILENT = {"$strobe", "$display", "$write", "$monitor", "$debug", "$bound_step", "bound_step", "$discontinuity",
           "discontinuity", "$warning", "$info", "$error"}  # fmt: skip
_SPECIAL = {"idt", "ddt", "analysis", "$temperature", "$vt", "$simparam", "$rdist_normal", "$dist_normal",
            "$rdist_uniform", "$dist_uniform", "$random", "$arandom", "V", "I", "^", "{}"}  # fmt: skip
_MAX_LOOP = 10_000
_NEWTON = 100  # steps to the voltages of inner nodes
# Draws whose last number is their mean (or in proportion to it).
MEANS = frozenset(
    f"${real}dist_{name}" for real in ("r", "") for name in ("exponential", "poisson", "chi_square", "erlang")
)


@dataclass(frozen=True)
class Trace:
    """What the reading gives over ``t`` (n,) s: current into the first port (n,) A, and each kept variable (n,)."""

    t: Array
    v: Array
    i: Array
    kept: Mapping[str, Array]


class ModuleReading:
    """One instance of a module, stepped by ``dt``. Parameters that are explicit time steps become ``dt``.

    Raises `Unreadable` for a module that it cannot read as a whole; ``partly``: only for its functions.
    """

    def __init__(self, model: Model, module: Module, dt: float, *, partly: bool = False) -> None:
        self._ports = module.terminals
        if len(self._ports) != 2 and not partly:
            raise Unreadable(f"a module with {len(self._ports)} terminals", module.start)
        for part in module.unread if not partly else ():
            raise Unreadable(part.message, part.start)
        for token in (*module.instances, *module.arrays) if not partly else ():
            raise Unreadable("an instance or an array", token.start)
        self._module, self._model, self._dt = module, model, dt
        self._open = {port.text for port in module.ports} - set(self._ports)
        self._integers = module.integers
        self._dialect = Dialect(FUNCTIONS, math.pow, integers=module.integers, caret_is_power=True)
        self._closures: dict[int, Closure] = {}
        self._parsed: list[Expr] = []
        self._values: dict[str, float] = {}
        self._strings: dict[str, float] = {}
        self._nodes: dict[str, float] = {}
        self._memory: dict[int, float] = {}
        self._pending: dict[int, float] = {}
        self._grounds = frozenset(token.text for token in module.grounds)
        self._sums = Sums(self._ports, self._grounds)
        self._grain = 0.0  # what the rounding of a derivative by the time may add to one
        self._time = 0.0
        self._last = (0.0, 0.0)  # time and voltage of the step before
        self._first = True
        self._scale = 1.0
        self._probe = {"V": 0.0, "I": 0.0}
        self._stated: set[str] = set()
        self._solved = self._to_solve() if not partly else []
        self._uses_current = any(
            node.op == "call" and node.name == "I" and self._is_main(node)
            for expr in module.expressions()
            for node in expr.walk()
        )
        if self._uses_current and not partly:
            current_of_one(module, self._ports, self._branch)
        steps = step_parameters(module, next(f for m, f in zip(model.modules, model.flows, strict=True) if m is module))
        self._arrays: dict[str, set[str]] = {}  # -> its elements
        for entry in (*module.parameters, *module.variables) if not partly else ():
            self._declare(entry)
        for entry in module.parameters:
            if entry.array:
                continue
            value = self._of(entry.value) if entry.value is not None else 0.0
            self._values[entry.name.text] = dt if entry.name.text in steps else value
        for entry in module.variables:
            if entry.array:
                continue
            self._values[entry.name.text] = self._of(entry.value) if entry.value is not None else 0.0

    def _declare(self, entry: Declared) -> None:
        """The elements of an array, each known by its name and index."""
        if not entry.array:
            return
        places = indices(entry, self._of)
        names = [element(entry.name.text, place) for place in places]
        self._arrays[entry.name.text] = set(names)
        for name, value in zip(names, starts(entry, len(names)), strict=True):
            self._values[name] = 0.0 if value is None else self._of(value)

    def _place(self, node: Expr) -> str:
        """The element that ``node`` means."""
        name = element(node.name, [self._of(arg) for arg in node.args])
        if name not in self._arrays.get(node.name, ()):
            raise Unreadable(f"{name!r} is not an element of an array", node.start)
        return name

    def _to_solve(self) -> list[str]:
        """The inner nodes that currents flow into, and whose voltage nothing states."""
        fed: dict[str, None] = {}
        for statement in self._module.statements():
            if statement.kind != "contrib" or statement.access is None:
                continue
            names = self._branch(statement.access)
            if statement.access.name == "V":
                self._stated |= set([name for name in names if name not in self._grounds][:1])
            elif statement.access.name == "I":
                fed |= dict.fromkeys(names)
        self._stated -= {port.text for port in self._module.ports}
        return [name for name in fed if name not in {*self._ports, *self._grounds, *self._stated}]

    def _branch(self, node: Expr) -> tuple[str, ...]:
        names = tuple(arg.name for arg in node.args)
        return self._module.branches.get(names[0], names) if len(names) == 1 else names

    def constant(self, text: str) -> float:
        """The value of an expression of parameters; raises `Unreadable`."""
        source = scan(text, macros=self._model.source.macros)
        expr = ExpressionParser(VERILOG_LEVELS, number).parse(Cursor(source.tokens))
        self._parsed.append(expr)  # closures are found by what an expression is: it has to stay
        return self._of(expr)

    def value(self, expr: Expr) -> float:
        """The value of an expression of the module's parameters; raises `Unreadable`."""
        return self._of(expr)

    def run(self, t: Array, v: Array) -> Trace:
        """Drive the ports with ``v`` (n,) V at ``t`` (n,) s, evenly spaced by ``dt``."""
        plain = [e.name.text for e in self._module.variables if e.kind != "string"]
        names = list(dict.fromkeys(one for name in plain for one in sorted(self._arrays.get(name, {name}))))
        kept = {name: np.empty(len(t)) for name in names}
        current = np.empty(len(t))
        guess = 0.0
        self._scale = max(float(np.max(np.abs(v))), 1e-12)
        for k, (now, volts) in enumerate(zip(t, v, strict=True)):
            guess = self._step(float(now), float(volts), guess)
            current[k] = guess
            for name in names:
                kept[name][k] = self._values[name]
        return Trace(t, v, current, kept)

    def _step(self, now: float, volts: float, guess: float) -> float:
        self._time = now
        before, nodes = dict(self._values), dict(self._nodes)

        def trial(current: float) -> float:
            """How far the branch is from its equation, with the state as it was before this step."""
            self._values, self._pending = dict(before), {}
            self._nodes = nodes | dict(zip(self._solved, at, strict=True))
            self._probe = {"V": volts, "I": current}
            self._sums, self._grain = Sums(self._ports, self._grounds), 0.0
            for statement, initial in self._module.analogs:
                if not initial or self._first:
                    self._run(statement)
            for name in self._stated - self._sums.stated.keys():
                raise Unreadable(f"in some step nothing contributes to node {name!r}", self._module.start)
            if self._sums.forced is None:
                return self._sums.leaving.get(self._ports[0], 0.0) - current
            if not self._uses_current:
                raise Unreadable("a voltage between the terminals whatever the current", self._module.start)
            return self._sums.forced - volts

        at = [nodes.get(name, 0.0) for name in self._solved]
        if self._solved:
            at = self._balanced(trial, at)
        current = self._solve(trial, guess) if self._uses_current else trial(0.0)
        self._memory.update(self._pending)
        self._first, self._last = False, (now, volts)
        return current

    def _balanced(self, trial: Callable[[float], float], at: list[float]) -> list[float]:
        """The voltages ``at`` of the inner nodes at which as much current leaves each of them as flows in."""
        if self._uses_current:
            raise Unreadable("inner nodes in a model that reads its current", self._module.start)

        def residual(x: Array) -> Array:
            at[:] = [float(value) for value in x]
            trial(0.0)
            return np.array([self._sums.leaving.get(name, 0.0) for name in self._solved])

        x, delta = np.array(at), 1e-7 * max(abs(self._probe["V"]), self._scale)
        for _ in range(_NEWTON):
            there = residual(x)
            if float(np.max(np.abs(there))) <= 1e-9 * self._sums.flow + self._grain + 1e-21:
                return [float(value) for value in x]
            ahead = [residual(x + delta * row) - there for row in np.eye(len(x))]
            try:
                x = x - np.linalg.solve(np.array(ahead).T / delta, there)
            except np.linalg.LinAlgError:
                break
        raise Unreadable("its inner nodes were not solved for", self._module.start)

    def _solve(self, trial: Callable[[float], float], guess: float) -> float:
        """The current at which ``trial`` is zero, by secants; leaves the state that belongs to it."""
        first, last = guess, guess + 1e-6 * abs(guess) + 1e-12
        residual = trial(first)
        for _ in range(60):
            found = trial(last)
            if abs(found) <= 1e-12 * self._scale or found == residual:
                break
            first, last, residual = last, last - found * (last - first) / (found - residual), found
        if abs(found) > 1e-6 * self._scale:
            last = self._bracketed(trial)
        return last

    def _bracketed(self, trial: Callable[[float], float]) -> float:
        """The same where secants run away: between zero and the first current, by decades, at which the sign turns."""
        at_zero = trial(0.0)
        for exponent in range(-15, 4):
            for end in (10.0**exponent, -(10.0**exponent)):
                if trial(end) * at_zero < 0.0:
                    current = float(optimize.brentq(trial, 0.0, end, xtol=1e-18, rtol=1e-12))
                    if abs(trial(current)) <= 1e-6 * self._scale:
                        return current
        raise Unreadable("its branch equation was not solved", self._module.start)

    def _is_main(self, node: Expr) -> bool:
        """Whether a probe or contribution is of the branch between the terminals."""
        return set(self._branch(node)) == set(self._ports)

    def _sign(self, node: Expr) -> float:
        return -1.0 if self._branch(node) == self._ports[::-1] else 1.0

    def _of(self, expr: Expr) -> float:
        try:
            closure = self._closures.get(id(expr))
            if closure is None:
                closure = self._closures[id(expr)] = compiled(expr, self._bind, self._dialect)
            return closure()
        except (ValueError, OverflowError, ZeroDivisionError):
            raise Unreadable("a value that is not finite", expr.start) from None

    def _bind(self, node: Expr) -> Closure | None:
        name = node.name
        if node.op == "name":
            if name in ("$abstime", "$realtime", "$time"):
                return lambda: self._time
            return lambda: self._named(node)
        if node.op == "index":
            return lambda: self._values[self._place(node)]
        if node.op == "string":  # a number that only the same text has
            value = self._strings.setdefault(name, float(len(self._strings)))
            return lambda: value
        if name in ("V", "I") and node.args and self._is_main(node):
            sign = self._sign(node)
            return lambda: sign * self._probe[name]
        if name in self._module.functions or name in _SPECIAL or name in MEANS:
            return lambda: self._special(node)
        return None

    def _named(self, node: Expr) -> float:
        name = node.name
        if name in self._values:
            return self._values[name]
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in ("$random", "$arandom"):
            return 0.0
        raise Unreadable(f"{name!r} has no value", node.start)

    def _special(self, node: Expr) -> float:
        name, args = node.name, node.args
        if name in self._module.functions:
            return self.call(name, [self._of(arg) for arg in args])
        if name == "idt":
            return self._idt(node)
        if name == "ddt":
            return self._ddt(node)
        if name == "analysis":
            wanted = {arg.name.strip('"') for arg in args}
            return float(bool(wanted & {"tran"}) or (self._first and bool(wanted & {"ic", "static", "nodeset"})))
        if name in ("$temperature", "$vt"):
            return CONSTANTS[name]
        if name == "$simparam" and len(args) > 1:
            return self._of(args[1])
        if name in ("$rdist_normal", "$dist_normal"):
            return self._of(args[1])  # without a deviation, as the fix has it
        if name in ("$rdist_uniform", "$dist_uniform"):
            return 0.5 * (self._of(args[1]) + self._of(args[2]))
        if name in MEANS and len(args) > 1:
            return self._of(args[-1] if args[-1].op != "string" else args[-2])
        if name in ("$random", "$arandom"):
            return 0.0
        if name == "V" and args:
            names = self._branch(node)
            return self._voltage(names[0], node) - (self._voltage(names[1], node) if len(names) > 1 else 0.0)
        raise Unreadable("the current of an inner branch" if name == "I" else "this is not read", node.start)

    def _voltage(self, name: str, arg: Expr) -> float:
        if name == self._ports[0]:
            return self._probe["V"]
        if name == self._ports[1] or name in self._grounds:
            return 0.0
        if name in self._nodes:
            self._sums.read(name)
            return self._nodes[name]
        if name in self._module.nets:
            return self._initial_node(name)
        raise Unreadable(f"node {name!r}", arg.start)

    def _initial_node(self, name: str) -> float:
        """An inner node that is read before its contributions: the start value that their idt state."""
        given = [s for s in self._module.statements() if s.kind == "contrib" and s.access and s.access.name == "V"]
        branches = [(s, self._branch(s.access)) for s in given if s.access is not None]
        found = [(s, n[0]) for s, n in branches if name in n and {*n} <= {name} | self._grounds]
        if not found:
            raise Unreadable(f"node {name!r} is not a state", self._module.start)
        once = {"block"} if len(found) > 1 else {"block", "if", "case", "event"}
        if any(around.kind not in once for s, _ in found for around in self._module.around(s)):
            raise Unreadable(f"{name!r} is read before its contributions, some under conditions", found[0][0].start)
        values = [(s.value, 1.0 if first == name else -1.0) for s, first in found if s.value is not None]
        return sum(sign * evaluate(x, self._named, self._start_of, self._dialect) for x, sign in values)

    def _start_of(self, node: Expr) -> float | None:
        if node.name == "idt":
            return self._of(node.args[1]) if len(node.args) > 1 else 0.0
        return None

    def _ddt(self, node: Expr) -> float:
        now = self._of(node.args[0])
        before = self._memory.get(node.start, now)
        self._pending[node.start] = now
        self._grain += 8.0 * float(np.finfo(float).eps) * abs(now) / self._dt
        return (now - before) / self._dt

    def _idt(self, node: Expr) -> float:
        start = self._of(node.args[1]) if len(node.args) > 1 else 0.0
        held = self._memory.get(node.start, start)
        if len(node.args) > 2 and self._of(node.args[2]) != 0.0:
            self._pending[node.start] = start
            return start
        rate = self._of(node.args[0])
        self._pending[node.start] = held + rate * self._dt
        return held

    def call(self, name: str, values: list[float]) -> float:
        """What an analog function gives; raises `Unreadable`."""
        function = self._module.functions[name]
        if function.written:
            raise Unreadable(f"{name}() gives its arguments back", function.start)
        outer, self._values = self._values, dict(self._values)
        module, self._integers = (self._integers, self._dialect), frozenset(function.integers)
        self._dialect = replace(self._dialect, integers=self._integers)
        try:
            self._values |= dict.fromkeys(function.typed, 0.0)
            given = {token.text: value for token, value in zip(function.arguments, values, strict=True)}
            for entry in function.locals:
                if entry.value is not None:
                    given[entry.name.text] = self._of(entry.value)
            self._values |= {n: rounded(x) if n in self._integers else x for n, x in given.items()}
            self._values[name] = 0.0
            for statement in function.body:
                self._run(statement)
            return self._values[name]
        except ValueError:
            raise Unreadable(f"{name}() is called with other arguments", function.start) from None
        finally:
            self._values, (self._integers, self._dialect) = outer, module

    def _run(self, statement: Statement) -> None:
        kind, value = statement.kind, statement.value
        if kind == "unread":
            raise Unreadable("a statement that is not read", statement.start)
        if kind == "assign" and value is not None:
            found = self._of(value)
            target = statement.target if statement.access is None else self._place(statement.access)
            self._values[target] = rounded(found) if statement.target in self._integers else found
        elif kind == "contrib" and value is not None and statement.access is not None:
            self._contribute(statement.access, self._of(value))
        elif kind == "block":
            for child in statement.body:
                self._run(child)
        elif kind == "if" and value is not None:
            for child in statement.body if self._of(value) != 0.0 else statement.other:
                self._run(child)
        elif kind == "case" and value is not None:
            self._case(statement, self._of(value))
        elif kind == "repeat" and value is not None:
            times = self._of(value)
            if not times < _MAX_LOOP:
                raise Unreadable("a loop that does not end", statement.start)
            for _ in range(int(times)):
                for child in statement.body:
                    self._run(child)
        elif kind == "loop" and value is not None:
            for _ in range(_MAX_LOOP):
                if self._of(value) == 0.0:
                    return
                for child in statement.body:
                    self._run(child)
            raise Unreadable("a loop that does not end", statement.start)
        elif kind == "event":
            self._event(statement)
        elif kind == "call" and statement.name not in SILENT | {"$stop", "$finish", "$fatal"}:
            raise Unreadable(f"{statement.name} is not read", statement.start)

    def _case(self, statement: Statement, value: float) -> None:
        otherwise = None
        for label, child in zip(statement.args, statement.body, strict=True):
            if label.name == "default":
                otherwise = child
            elif any(self._of(one) == value for one in (label.args if label.name == "labels" else (label,))):
                self._run(child)
                return
        if otherwise is not None:
            self._run(otherwise)

    def _event(self, statement: Statement) -> None:
        now, volts = self._time, self._probe["V"]
        for at, there in self._instants(statement):
            self._time, self._probe["V"] = at, there
            for child in statement.body:
                self._run(child)
        self._time, self._probe["V"] = now, volts

    def _instants(self, statement: Statement) -> list[tuple[float, float]]:
        """When the event happens in this step, and the voltage there."""
        happens, timed = False, list[float]()
        for event in statement.events:
            if event.name in INITIAL:
                happens = happens or self._first
            elif event.name in ("cross", "above"):
                happens = self._crosses(event) or happens
            elif event.name == "timer":
                if any(NOW & expr.names() for s in statement.walk() for expr in s.expressions()):
                    happens = True  # it asks for the time: each step of the reading is a tick
                else:
                    timed += self._ticks(event)
            elif event.name != "final_step" and any(s.kind == "assign" for s in statement.walk()):
                raise Unreadable(f"@({event.name}) is not read", statement.start)
        (before, was), volts = self._last, self._probe["V"]
        found = [(at, was + (volts - was) * (at - before) / (self._time - before)) for at in timed if at < self._time]
        return found + [(self._time, volts)] * (happens or len(found) < len(timed))

    def _ticks(self, event: Expr) -> list[float]:
        """When @(timer(start, period)) ticks in this step."""
        start, period, *_ = *(self._of(arg) for arg in event.args[:2] if arg.start < arg.end), 0.0, 0.0
        found = ticks(start, period, -math.inf if self._first else self._last[0], self._time)
        if found is None:
            raise Unreadable("its timer ticks more than a thousand times in a step of the comparison", event.start)
        return found

    def _crosses(self, event: Expr) -> bool:
        """Whether the argument of @(cross(x, way)) or @(above(x)) goes through zero in this step."""
        x = self._of(event.args[0])
        enable = enabling(event)
        if enable is not None and self._of(enable) == 0.0:
            return False
        way = self._of(event.args[1]) if len(event.args) > 1 else float(event.name == "above")
        before = self._memory.get(event.start, -1.0 if event.name == "above" else x)
        self._pending[event.start] = x
        return (before <= 0.0 < x and way >= 0.0) or (before >= 0.0 > x and way <= 0.0)

    def _contribute(self, access: Expr, value: float) -> None:
        names = self._branch(access)
        if len(names) == 1 and names[0] in self._open:
            return
        node = self._sums.add(access, names, value)
        if node:
            self._nodes[node] = self._sums.stated[node]
