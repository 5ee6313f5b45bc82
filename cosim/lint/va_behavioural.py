"""A Verilog-A module as an ngspice subcircuit of B-sources: the same model without Verilog-A (``--to behavioural``).

The analog blocks are followed once with text in place of numbers. An ``if`` becomes ``c ? a : b`` for each variable and
contribution that it changes; what grows long is held as the voltage of a node. ``idt`` is a capacitor that a source
charges, ``ddt`` the current of one. An ``if`` over parameters alone is decided at their defaults, and these parameters
are held: an option of a model that leaves a branch open would otherwise short it.

ngspice's ``pow(x, y)`` is that of ``abs(x)``, so the sign of a negative x is put back. Numbers are written in full.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cosim.language.expressions import Expr, Unreadable, is_integer
from cosim.language.va_tree import Module, Statement
from cosim.lint.lt_rules import ATAN2
from cosim.lint.va_reading import SILENT, ModuleReading
from cosim.lint.va_rules import Model
from cosim.lint.va_state import NOW, constant, is_initial
from cosim.lint.va_values import CONSTANTS

_LONG = 1500  # letters of an expression, beyond which it gets a node: our choice
_FARADS = 1e-9  # of a state, as in the subcircuits of devices
_KELVIN = "(temper + 273.15)"
_SAME = frozenset(
    """ln log10 exp sqrt min max abs floor ceil sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh""".split()  # noqa: SIM905
)
_RENAMED = {"log": "log10", "limexp": "exp", "fabs": "abs", "sgn": "sgn", "sign": "sgn"}
_INFIX = frozenset({"+", "-", "*", "/", "<", "<=", ">", ">=", "==", "!=", "&&", "||"})

# What is contributed: ("I" or "V", node, node or "")
_Branch = tuple[str, str, str]


@dataclass
class _Path:
    """The text of each variable, and of what was contributed, on one way through the block."""

    values: dict[str, str]
    given: dict[_Branch, str] = field(default_factory=dict)

    def copy(self) -> _Path:
        return _Path(dict(self.values), dict(self.given))


def subcircuit(model: Model, module: Module) -> tuple[str, list[str]]:
    """The ``.subckt`` of ``module``, and what was dropped or decided, a sentence each. Raises `Unreadable`."""
    return _Writer(model, module).written()


class _Writer:
    def __init__(self, model: Model, module: Module) -> None:
        for part in module.unread:
            raise Unreadable(part.message, part.start)
        for token in (*module.instances, *module.arrays):
            raise Unreadable("an instance or an array", token.start)
        self._module = module
        self._reading = ModuleReading(model, module, 1e-9, partly=True)
        self._parameters = {entry.name.text: entry for entry in module.parameters}
        self._held = self._decided_by()
        self._lines: list[str] = []
        self._notes: dict[str, None] = {}
        self._made: dict[int, str] = {}  # an operator -> its text
        self._nodes = {name.lower() for name in module.nets} | {port.text.lower() for port in module.ports}
        self._open = {port.text for port in module.ports} - set(module.terminals)
        self._sensed = self._currents_read()
        self._count = 0
        self._path = _Path({e.name.text: "0" for e in module.variables if not e.array})
        self._functions: list[str] = []
        self._integers = module.integers

    def _decided_by(self) -> set[str]:
        """The parameters that conditions without a signal are made of."""
        return {
            name
            for statement in self._module.statements()
            if statement.kind in ("if", "case") and statement.value is not None
            and constant(statement.value, self._module)
            for name in statement.value.names() & self._parameters.keys()
        }  # fmt: skip

    def _currents_read(self) -> dict[tuple[str, ...], str]:
        """The branches whose current is read -> the source that senses it."""
        found: dict[tuple[str, ...], str] = {}
        for expr in self._module.expressions():
            for node in expr.walk():
                if node.op == "call" and node.name == "I" and node.args:
                    found.setdefault(self._branch(node), f"Vsense{len(found)}")
        return found

    def _branch(self, node: Expr) -> tuple[str, ...]:
        names = tuple(arg.name for arg in node.args)
        return self._module.branches.get(names[0], names) if len(names) == 1 else names

    def _node(self, name: str) -> str:
        return "0" if not name or any(token.text == name for token in self._module.grounds) else name

    def _new(self, stem: str) -> str:
        while True:
            self._count += 1
            name = f"{stem}{self._count}"
            if name.lower() not in self._nodes:
                self._nodes.add(name.lower())
                return name

    def written(self) -> tuple[str, list[str]]:
        module = self._module
        for entry in module.variables:
            if entry.value is not None:
                self._path.values[entry.name.text] = self._text(entry.value)
        for statement, _ in module.analogs:
            self._run(statement)
        stated = {node for kind, node, _ in self._path.given if kind == "V"}
        for branch, text in self._path.given.items():
            self._contribution(branch, text)
        for names, source in self._sensed.items():
            if not any({branch[1], branch[2]} == {*names, *([""] if len(names) == 1 else [])}
                       for branch in self._path.given):  # fmt: skip
                raise Unreadable(f"the current of a branch without a contribution ({source})", module.start)
        for port in self._open - stated:
            self._lines.append(f"R{port} {port} 0 1e12")
        ports = " ".join(port.text for port in module.ports)
        offered = [
            f"{name}={self._reading.value(entry.value)!r}"
            for name, entry in self._parameters.items()
            if not entry.local and entry.kind != "string" and entry.value is not None and name not in self._held
        ]
        for name in sorted(self._held):
            self._notes[f"parameter {name!r} chooses a part of the model and is held at its default"] = None
        head = f".subckt {module.name} {ports}" + (f" params: {' '.join(offered)}" if offered else "")
        lines = ["* Written by cosim from a Verilog-A model.", head, *self._lines, f".ends {module.name}"]
        return "\n".join(lines) + "\n", list(self._notes)

    def _contribution(self, branch: _Branch, text: str) -> None:
        kind, first, second = branch
        a, b = self._node(first), self._node(second)
        names = (first, second) if second else (first,)
        if names in self._sensed or names[::-1] in self._sensed:
            forward = names in self._sensed
            source = self._sensed[names if forward else names[::-1]]
            inner = self._new("inner")
            self._lines.append(f"{source} {a} {inner} 0" if forward else f"{source} {inner} {a} 0")
            a = inner
        self._lines.append(f"B{self._new('b')} {a} {b} {kind}={text}")

    # Statements

    def _run(self, statement: Statement) -> None:
        kind, value = statement.kind, statement.value
        if kind == "assign" and value is not None and statement.access is None:
            self._path.values[statement.target] = self._assigned(statement.target, value)
        elif kind == "contrib" and value is not None and statement.access is not None:
            self._contribute(statement.access, value)
        elif kind == "block":
            for child in statement.body:
                self._run(child)
        elif kind == "if" and value is not None:
            self._if(statement, value)
        elif kind == "event" and is_initial(statement):  # the repaired text sets constants there
            for child in statement.body:
                self._run(child)
        elif kind == "case" and value is not None and constant(value, self._module):
            self._case(statement, self._reading.value(value))
        elif kind == "call" and statement.name in SILENT:
            self._notes[f"{statement.name} is left out"] = None
        elif kind != "empty":
            raise Unreadable(f"this statement ({kind}) has no counterpart in a netlist", statement.start)

    def _assigned(self, name: str, value: Expr) -> str:
        text = self._text(value)
        if name in self._integers and not is_integer(value, self._integers):
            text = _rounded(text)
        if len(text) <= _LONG:
            return text
        node = self._new("held")
        self._lines.append(f"B{node} {node} 0 V={text}")
        return f"V({node})"

    def _contribute(self, access: Expr, value: Expr) -> None:
        names = self._branch(access)
        kind = "I" if access.name == "I" else "V"
        if access.name not in ("I", "V") and names[0] not in self._open:
            raise Unreadable(f"a contribution to {access.name}()", access.start)
        branch = (kind, names[0], names[1] if len(names) > 1 else "")
        if kind == "V" and len(names) == 1 and self._alone(names[0]) and self._state(branch[1], value):
            return
        text = self._text(value)
        if (kind, branch[2], branch[1]) in self._path.given:  # the same branch the other way
            branch, text = (kind, branch[2], branch[1]), f"-({text})"
        before = self._path.given.get(branch)
        self._path.given[branch] = text if before is None else f"{before} + {text}"

    def _alone(self, node: str) -> bool:
        """Whether one statement alone contributes to the potential of ``node``."""
        given = [s.access for s in self._module.statements() if s.kind == "contrib" and s.access is not None]
        return sum(access.name == "V" and node in self._branch(access) for access in given) == 1

    def _state(self, node: str, value: Expr) -> bool:
        """``V(node) <+ x0 + idt(rate, 0)``: the node itself is the integral."""
        if self._functions or value.op != "+" or len(value.args[1].args) != 2 or value.args[1].name != "idt":
            return False
        start, integral = value.args
        if not constant(start, self._module) or integral.args[1].op != "number" or integral.args[1].value != 0.0:
            return False
        self._integral(node, self._text(integral.args[0]), self._text(start))
        return True

    def _integral(self, node: str, rate: str, start: str) -> None:
        self._lines += [
            f"B{node} 0 {node} I={_FARADS!r} * ({rate})",
            f"C{node} {node} 0 {_FARADS!r} IC={{{_plain(start)}}}",
            f"R{node} {node} 0 1e15",
            f".ic V({node})={{{_plain(start)}}}",
        ]

    def _case(self, statement: Statement, value: float) -> None:
        otherwise = None
        for label, child in zip(statement.args, statement.body, strict=True):
            if label.name == "default":
                otherwise = child
            elif any(self._reading.value(one) == value for one in (label.args if label.name == "labels" else (label,))):
                self._run(child)
                return
        if otherwise is not None:
            self._run(otherwise)

    def _if(self, statement: Statement, condition: Expr) -> None:
        if constant(condition, self._module):
            for child in statement.body if self._reading.value(condition) != 0.0 else statement.other:
                self._run(child)
            return
        asked = self._text(condition)
        before = self._path
        ends = []
        for part in (statement.body, statement.other):
            self._path = before.copy()
            for child in part:
                self._run(child)
            ends.append(self._path)
        first, second = ends
        self._path = before.copy()
        for name in first.values:
            a, b = first.values[name], second.values.get(name, "0")
            self._path.values[name] = a if a == b else self._short(f"(({asked}) ? ({a}) : ({b}))")
        for branch in {**first.given, **second.given}:
            if branch[0] == "V" and not (branch in first.given and branch in second.given):
                raise Unreadable("a branch that is a voltage in some cases only", statement.start)
            a, b = first.given.get(branch, "0"), second.given.get(branch, "0")
            self._path.given[branch] = a if a == b else f"(({asked}) ? ({a}) : ({b}))"

    def _short(self, text: str) -> str:
        if len(text) <= _LONG:
            return text
        node = self._new("held")
        self._lines.append(f"B{node} {node} 0 V={text}")
        return f"V({node})"

    # Expressions

    def _text(self, expr: Expr) -> str:
        op, args = expr.op, expr.args
        if op == "number":
            return repr(expr.value)
        if op == "name":
            return self._named(expr)
        if op in ("u-", "u+", "u!"):
            return f"({'!' if op == 'u!' else op[1]}({self._text(args[0])}))"
        if op == "cond":
            asked, a, b = (self._text(arg) for arg in args)
            return f"(({asked}) ? ({a}) : ({b}))"
        if op == "**":
            return self._power(expr)
        if op == "/" and is_integer(expr, self._integers):
            a, b = (self._text(arg) for arg in args)
            return f"(({a})*({b}) >= 0 ? floor(({a})/({b})) : ceil(({a})/({b})))"
        if op in _INFIX:
            return f"({self._text(args[0])} {op} {self._text(args[1])})"
        if op == "call":
            return self._call(expr)
        raise Unreadable(f"{op!r} has no counterpart in a netlist", expr.start)

    def _named(self, expr: Expr) -> str:
        name = expr.name
        if name in self._path.values:
            return self._path.values[name]
        entry = self._parameters.get(name)
        if entry is not None:
            if entry.value is None or entry.kind == "string":
                raise Unreadable(f"parameter {name!r} has no value that a netlist could hold", expr.start)
            if name in self._held:
                return repr(self._reading.value(entry.value))
            return f"({self._text(entry.value)})" if entry.local else f"{{{name}}}"
        if name in NOW:
            return "time"
        if name == "$temperature":
            return _KELVIN
        if name == "$vt":
            return f"({CONSTANTS['`P_K'] / CONSTANTS['`P_Q']!r}*{_KELVIN})"
        if name in CONSTANTS:
            return repr(CONSTANTS[name])
        raise Unreadable(f"{name!r} has no value", expr.start)

    def _power(self, expr: Expr) -> str:
        base, exponent = (self._text(arg) for arg in expr.args)
        power = expr.args[1]
        if power.op == "number" and power.value % 1.0 == 0.0:
            return f"{'pwr' if power.value % 2.0 else 'pow'}({base}, {exponent})"
        odd = f"(1 - 2*(nint({exponent}) - 2*floor(nint({exponent})/2)))"
        return f"(({base}) >= 0 ? pow({base}, {exponent}) : {odd}*pow({base}, {exponent}))"

    def _call(self, expr: Expr) -> str:
        name, args = expr.name, expr.args
        if name in self._module.functions:
            return self._function(expr)
        if name in ("V", "I") and args:
            return self._access(expr)
        if name == "pow" and len(args) == 2:
            return self._power(expr)
        if name in ("idt", "ddt"):
            return self._operator(expr)
        if name == "$simparam" and len(args) > 1:
            return self._text(args[1])
        if name in ("$temperature", "$vt", *NOW):
            return self._named(Expr("name", expr.start, expr.end, name))
        known = name.removeprefix("$")
        if known in ("atan2", "hypot") and len(args) == 2:
            y, x = (self._short(self._text(arg)) for arg in args)
            return (ATAN2 if known == "atan2" else "sqrt(({0})*({0}) + ({1})*({1}))").format(y, x)
        if known in _SAME or known in _RENAMED:
            return f"{_RENAMED.get(known, known)}({', '.join(self._text(arg) for arg in args)})"
        raise Unreadable(f"{name}() has no counterpart in a netlist", expr.start)

    def _access(self, expr: Expr) -> str:
        names = self._branch(expr)
        if expr.name == "V":
            nodes = [self._node(name) for name in names]
            return f"V({','.join(nodes)})" if nodes[0] != "0" else f"(-V({nodes[1]}))"
        return f"I({self._sensed[names]})"

    def _operator(self, expr: Expr) -> str:
        """A node for each ``idt`` and ``ddt``, which the language keeps out of conditions."""
        if expr.start not in self._made:
            text = self._text(expr.args[0])
            if expr.name == "idt":
                node = self._new("integral")
                self._integral(node, text, self._text(expr.args[1]) if len(expr.args) > 1 else "0")
                self._made[expr.start] = f"V({node})"
            else:
                node, foot = self._new("value"), self._new("slope")
                self._lines += [f"B{node} {node} 0 V={text}", f"C{node} {node} {foot} 1e-9", f"V{foot} {foot} 0 0"]
                self._made[expr.start] = f"(1e9*I(V{foot}))"
        return self._made[expr.start]

    def _function(self, expr: Expr) -> str:
        function = self._module.functions[expr.name]
        if function.written or expr.name in self._functions or len(function.arguments) != len(expr.args):
            raise Unreadable(f"{expr.name}() has no counterpart in a netlist", expr.start)
        given = {token.text: self._text(arg) for token, arg in zip(function.arguments, expr.args, strict=True)}
        given = {name: _rounded(text) if name in function.integers else text for name, text in given.items()}
        outer, integers = self._path, self._integers
        self._functions.append(expr.name)
        self._integers = frozenset(function.integers)
        self._path = _Path({**dict.fromkeys(function.typed, "0"), **given, expr.name: "0"})
        for entry in function.locals:
            if entry.value is not None:
                self._path.values[entry.name.text] = self._assigned(entry.name.text, entry.value)
        for statement in function.body:
            self._run(statement)
        found = self._path.values[expr.name]
        self._path, self._integers = outer, integers
        self._functions.pop()
        return f"({found})"


def _rounded(text: str) -> str:
    """``text`` as an integer variable takes it: ngspice's nint() takes a half to the even number."""
    return f"(sgn({text})*floor(abs({text}) + 0.5))"


def _plain(text: str) -> str:
    """An expression of parameters as it stands inside of braces."""
    return text.replace("{", "").replace("}", "")


def mapped(states: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """State -> its vector in the subcircuit ``X1``, from that in the module ``N1``."""
    for name, vector in states.items():
        yield name, f"v(x1.{vector.removeprefix('v(n1#').removesuffix(')')})"
