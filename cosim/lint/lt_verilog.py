"""A repaired subcircuit as a Verilog-A module: the same netlist for an engine without behavioural sources.

Every function has ngspice's meaning: the text that is read is one that ngspice runs. A capacitor from a node to ground
that has a start value is an integral, ``V(node) <+ start + idt(current/C, 0)``, which begins right in each engine; one
without is ``ddt``. A call of a ``.func`` is written where it is made, its arguments held in variables. What has no
counterpart, or would need one that differs, raises `Unreadable` with the element's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from cosim.language.expressions import Expr, Unreadable
from cosim.language.lt_syntax import Element, parse_expression
from cosim.language.netlist import Line
from cosim.language.va_words import RESERVED
from cosim.lint.lt_reading import GROUND, Parts, parts
from cosim.lint.va_rules import taken

_ARITHMETIC = frozenset({"+", "-", "*", "/"})
_COMPARED = frozenset({"<", "<=", ">", ">=", "==", "!="})
_SAME = frozenset(
    """ln exp sqrt min max abs floor ceil sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh""".split()  # noqa: SIM905
)
_WRITTEN = {
    "log": "ln({0})", "log10": "log({0})", "nint": "floor({0} + 0.5)", "uramp": "max({0}, 0.0)",
    "sgn": "({0} > 0.0 ? 1.0 : ({0} < 0.0 ? -1.0 : 0.0))", "u": "({0} > 0.0 ? 1.0 : ({0} < 0.0 ? 0.0 : 0.5))",
    "pow": "pow(abs({0}), {1})", "pwr": "({0} < 0.0 ? -pow(-({0}), {1}) : pow({0}, {1}))",
}  # fmt: skip
_CONSTANTS = {"pi": "`M_PI", "e": "`M_E", "time": "$abstime", "temper": "($temperature - 273.15)"}
_OHMS = "1e-15"  # of an ammeter: a compiler makes one node of the ends of a branch without voltage, and no current
_NEVER_ZERO = "1e-12"  # our choice
_CALLS = 10_000  # of functions, each of which is written where it is called
_LONG = 100_000  # letters of a value
_CURRENT = re.compile(r"\bi\s*\(\s*([\w.]+)\s*\)", re.IGNORECASE)
_NOTHING = re.compile(r"0*\.?0*(e[-+]?\d+)?v?\s*$", re.IGNORECASE)
_DEPTH = 60  # of functions and parameters that call each other


def module(lines: Sequence[Line]) -> tuple[str, str, tuple[str, ...]]:
    """The first subcircuit as Verilog-A: the text, the module's name and its ports. Raises `Unreadable`."""
    return _Writer(*_joined(parts(lines))).written()


def _joined(read: Parts) -> tuple[Parts, dict[str, str]]:
    """The parts without sources of 0 V whose current nothing asks for, and the nodes that are others of them.

    As a branch such a source makes the equations of a large current singular, and tells nothing.
    """
    asked = {name.lower() for part in read.elements for text in part.given.values() for name in _CURRENT.findall(text)}
    for _, body in read.functions.values():
        asked |= {node.args[0].name.lower() for node in body.walk() if node.name.lower() == "i" and node.args}
    same: dict[str, str] = {}

    def now(node: str) -> str:
        while node in same:
            node = same[node]
        return node

    kept = []
    for part in read.elements:
        if part.name[0].lower() == "v" and part.name.lower() not in asked and not _NOTHING.sub("", part.volts or ""):
            first, second = map(now, part.nodes)
            if first != second and first not in GROUND | set(read.ports):
                same[first] = second
                continue
            if first != second and second not in GROUND | set(read.ports):
                same[second] = first
                continue
        kept.append(part)
    elements = [replace(part, nodes=tuple(map(now, part.nodes))) for part in kept]
    ics = {now(node): text for node, text in read.ics.items()}
    return replace(read, elements=elements, ics=ics), {node: now(node) for node in same}


class _Writer:
    def __init__(self, read: Parts, same: dict[str, str]) -> None:
        self._read, self._same = read, same
        self._names: dict[tuple[str, str], str] = {}
        self._rows: list[str] = []  # of the analog block
        self._temporary: list[str] = []
        self._current: dict[str, str] = {}  # element -> its current, where that is written already
        self._making: list[str] = []
        self._calls = 0
        self._elements = {part.name.lower(): part for part in read.elements}
        self._branches: list[str] = []
        self._starts = self._find_starts()

    def _name(self, kind: str, text: str) -> str:
        """An identifier for ``text`` that nothing else has."""
        text = self._same.get(text.lower(), text) if kind == "net" else text
        key = kind, text.lower()
        if key not in self._names:
            plain = re.sub(r"\W", "_", text.lower())
            plain = plain if re.match(r"[a-z_]", plain) else f"n{plain}"
            while plain in RESERVED or plain in self._names.values() or (kind == "module" and taken(plain)):
                plain += "_"
            self._names[key] = plain
        return self._names[key]

    def _find_starts(self) -> dict[str, tuple[Element, str]]:
        """Node -> the capacitor to ground that holds it, and its start value."""
        found = {}
        for part in self._read.elements:
            if part.name[0].lower() != "c":
                continue
            node = part.nodes[0] if part.nodes[1] in GROUND else part.nodes[1] if part.nodes[0] in GROUND else ""
            start = part.given.get("ic")
            if start is not None and node == part.nodes[1]:
                start = f"-({start})"
            start = self._read.ics.get(node, start)
            if start is not None and not node:
                raise Unreadable(f"capacitor {part.name!r} begins at a voltage between two nodes", 0)
            if start is not None and node in found:
                raise Unreadable(f"node {node!r} has two capacitors that begin at a voltage", 0)
            if start is not None:
                found[node] = part, start
        return found

    def written(self) -> tuple[str, str, tuple[str, ...]]:
        read = self._read
        name = self._name("module", read.name)
        ports = tuple(self._name("net", port) for port in read.ports)
        body = self._contributions()
        declared = self._parameters()
        nets = [text for (kind, _), text in self._names.items() if kind == "net" and text not in ports]
        rows = [
            "// Written by cosim from a netlist.",
            '`include "disciplines.vams"',
            '`include "constants.vams"',
            "",
            f"module {name}({', '.join(ports)});",
            f"    inout {', '.join(ports)};",
            f"    electrical {', '.join([*ports, *nets])};",
            *self._branches,
            *declared,
            *([f"    real {', '.join(self._temporary)};"] if self._temporary else []),
            "    analog begin",
            *(f"        {row}" for row in [*self._rows, *body]),
            "    end",
            "endmodule",
        ]
        return "\n".join(rows) + "\n", name, ports

    def _parameters(self) -> list[str]:
        """The declarations of the parameters that are used, each after those that it is made of."""
        rows: dict[str, str] = {}

        def declare(key: str, depth: int) -> None:
            if key in rows:
                return
            if depth > _DEPTH:
                raise Unreadable(f"parameter {key!r} is made of itself", 0)
            for other in sorted(self._made_of(parse_expression(self._read.params[key].strip("{}'")), 0)):
                declare(other, depth + 1)
            kind = "parameter" if key in self._read.offered else "localparam"
            text = self._inline(self._read.params[key], 0, {})
            rows[key] = f"    {kind} real {self._name('parameter', key)} = {text};"

        for key in [*self._read.offered, *(k for kind, k in self._names if kind == "parameter")]:
            declare(key, 0)
        return list(rows.values())

    def _made_of(self, tree: Expr, depth: int) -> set[str]:
        """The parameters in an expression, those in its functions too."""
        if depth > _DEPTH:
            raise Unreadable("its functions call each other in a circle", tree.start)
        found = {name.lower() for name in tree.names()} & self._read.params.keys()
        for node in tree.walk():
            if node.op == "call" and node.name.lower() in self._read.functions:
                names, body = self._read.functions[node.name.lower()]
                found |= self._made_of(body, depth + 1) - set(names)
        return found

    # Elements

    def _contributions(self) -> list[str]:
        rows = []
        for part in self._read.elements:
            kind = part.name[0].lower()
            if kind == "c":
                rows += self._capacitor(part)
                continue
            if (volts := part.volts) is not None:
                sign = "-" if part.nodes[0] in GROUND else ""
                branch, text = self._branch(part), self._source(part, volts)
                text = f"{sign}({text})" if text != "0.0" else f"{_OHMS}*I({branch})"
                rows.append(f"V({branch}) <+ {text};")
                continue
            current = self._through(part)
            if not self._held(part.nodes):
                sign = "-" if part.nodes[0] in GROUND else ""
                rows.append(f"I({self._pair(_turned(part.nodes))}) <+ {sign}{current};")
        for node, (part, start) in self._starts.items():
            rows.append(self._integral(node, part, start))
        return rows

    def _held(self, nodes: tuple[str, ...]) -> bool:
        """Whether both ends are ground or an integral, so that the current changes nothing else."""
        return all(node in GROUND or node in self._starts for node in nodes)

    def _capacitor(self, part: Element) -> list[str]:
        if "q" in part.given:
            raise Unreadable(f"{part.name!r} is given by its charge", 0)
        value = part.given.get("value", part.given.get("c"))
        if value is None:
            raise Unreadable(f"{part.name!r} has no value", 0)
        if any(held is part for held, _ in self._starts.values()):
            return []
        ends = self._pair(_turned(part.nodes))
        return [f"I({ends}) <+ ({self._source(part, value)})*ddt(V({ends}));"]

    def _integral(self, node: str, part: Element, start: str) -> str:
        entering = []
        for other in self._read.elements:
            if other is part or node not in other.nodes:
                continue
            if other.name[0].lower() == "c":
                raise Unreadable(f"{other.name!r} at node {node!r}, which begins at a voltage", 0)
            first, second = other.nodes
            if first != second:
                entering.append(f"{'-' if first == node else '+'} {self._flow(other)}")
        value = part.given.get("value", part.given.get("c", ""))
        rate = f"({' '.join(entering) or '0.0'})/({self._source(part, value)})"
        return f"V({self._name('net', node)}) <+ ({self._source(part, start)}) + idt({rate}, 0.0);"

    def _pair(self, nodes: Sequence[str]) -> str:
        first, second = nodes
        return self._name("net", first) + ("" if second in GROUND else f", {self._name('net', second)}")

    def _branch(self, part: Element) -> str:
        """The named branch of a voltage source; its flow is the current through it."""
        key = "branch", part.name.lower()
        if key not in self._names:
            name = self._name("branch", part.name)
            first, second = part.nodes
            if first in GROUND and second in GROUND:
                raise Unreadable(f"{part.name!r} is between ground and ground", 0)
            self._branches.append(f"    branch ({self._pair(_turned(part.nodes))}) {name};")
        return self._names[key]

    def _through(self, part: Element) -> str:
        """The current of an element that is no voltage source, from its first node to its second: a variable."""
        key = part.name.lower()
        if key in self._current:
            return self._current[key]
        if key in self._making:
            raise Unreadable(f"the current of {part.name!r} depends on itself", 0)
        kind = key[0]
        self._making.append(key)
        if kind == "r":
            text = part.given.get("r", part.given.get("value"))
            if text is None:
                raise Unreadable(f"{part.name!r} has no value", 0)
            found = f"{self._volts(part.nodes)}/{self._divisor(self._source(part, text))}"
        elif kind in "gbi" and (text := part.given.get("i", part.given.get("value", part.given.get("cur")))):
            found = self._source(part, text)
        else:
            raise Unreadable(f"element {part.name!r} has no counterpart", 0)
        self._making.pop()
        name = self._hold(found, f"i_{key}")
        self._current[key] = name
        return name

    def _hold(self, text: str, stem: str) -> str:
        if ("variable", stem) in self._names:
            stem = f"{stem}_{len(self._names)}"
        name = self._name("variable", stem)
        self._temporary.append(name)
        self._rows.append(f"{name} = {text};")
        return name

    def _volts(self, nodes: Sequence[str]) -> str:
        plus, minus = (("" if node in GROUND else self._name("net", node)) for node in (*nodes, "0")[:2])
        if not plus:
            return f"(-V({minus}))" if minus else "0.0"
        return f"V({plus}, {minus})" if minus else f"V({plus})"

    # Expressions

    def _source(self, part: Element, text: str) -> str:
        try:
            return self._of(parse_expression(text.strip("{}'")), {}, 0, hold=True)
        except Unreadable as reason:
            raise Unreadable(f"{part.name!r}: {reason.message}", 0) from None

    def _inline(self, text: str, depth: int, given: dict[str, str]) -> str:
        return self._of(parse_expression(text.strip("{}'")), given, depth, hold=False)

    def _of(self, node: Expr, given: dict[str, str], depth: int, *, hold: bool) -> str:
        """The text of a value; ``given`` are the arguments of the function that is being written."""
        op = node.op

        def of(arg: Expr) -> str:
            return self._of(arg, given, depth, hold=hold)

        if depth > _DEPTH:
            raise Unreadable("its functions call each other in a circle", node.start)
        if op == "number":
            return repr(node.value)
        if op == "name":
            return self._named(node, given)
        if op in ("u-", "u+"):
            return f"({op[1]}{of(node.args[0])})"
        if op == "/" and hold:
            return f"({of(node.args[0])} / {self._divisor(of(node.args[1]))})"
        if op in _ARITHMETIC:
            return f"({of(node.args[0])} {op} {of(node.args[1])})"
        if op == "**":
            form = "pow(abs({}), {})" if hold else "pow({}, {})"  # that of .param has the sign of its base
            return form.format(*(of(arg) for arg in node.args))
        if op == "cond":
            return f"({self._true(node.args[0], of)} ? {of(node.args[1])} : {of(node.args[2])})"
        if op in _COMPARED or op in ("&&", "||", "u!"):
            return f"({self._true(node, of)} ? 1.0 : 0.0)"
        if op == "call":
            return self._call(node, given, depth, hold=hold)
        raise Unreadable(f"{op!r} has no counterpart in Verilog-A", node.start)

    def _divisor(self, text: str) -> str:
        """What is divided by; of signals, which may be zero before there are any, it is never zero, as in ngspice."""
        if not re.search(r"\b[VI]\(|\bheld|\bi_", text):
            return f"({text})"
        name = self._hold(text, "held")
        return f"({name} == 0.0 ? {_NEVER_ZERO} : {name})"

    def _true(self, node: Expr, of: Callable[[Expr], str]) -> str:
        if node.op in _COMPARED:
            return f"({of(node.args[0])} {node.op} {of(node.args[1])})"
        if node.op in ("&&", "||"):
            return f"({self._true(node.args[0], of)} {node.op} {self._true(node.args[1], of)})"
        if node.op == "u!":
            return f"(!{self._true(node.args[0], of)})"
        return f"({of(node)} != 0.0)"

    def _named(self, node: Expr, given: dict[str, str]) -> str:
        key = node.name.lower()
        if key in given:
            return given[key]
        if key in self._read.params:
            return self._name("parameter", key)
        if key in _CONSTANTS:
            return _CONSTANTS[key]
        raise Unreadable(f"{node.name!r} has no value", node.start)

    def _call(self, node: Expr, given: dict[str, str], depth: int, *, hold: bool) -> str:
        key, args = node.name.lower(), node.args
        if key == "v":
            return self._volts([arg.name.lower() for arg in args])
        if key == "i":
            part = self._elements.get(args[0].name.lower())
            if part is None:
                raise Unreadable(f"the current of {args[0].name!r}", node.start)
            return self._flow(part)
        texts = [self._of(arg, given, depth, hold=hold) for arg in args]
        if key in self._read.functions:
            names, body = self._read.functions[key]
            self._calls += 1
            if self._calls > _CALLS or sum(map(len, texts)) > _LONG:
                raise Unreadable("its functions call each other too often", node.start)
            if len(names) != len(texts):
                raise Unreadable(f"{node.name}() takes {len(names)} arguments", node.start)
            if hold:
                texts = [text if len(text) < 20 else self._hold(text, "held") for text in texts]
            return self._of(body, dict(zip(names, texts, strict=True)), depth + 1, hold=hold)
        if key in _SAME:
            return f"{key}({', '.join(texts)})"
        if key in _WRITTEN:
            if hold:
                texts[0] = texts[0] if len(texts[0]) < 20 else self._hold(texts[0], "held")
            return _WRITTEN[key].format(*texts)
        raise Unreadable(f"{node.name}() has no counterpart in Verilog-A", node.start)

    def _flow(self, part: Element) -> str:
        """The current of an element from its first node to its second."""
        if part.volts is None:
            return self._through(part)
        branch = f"I({self._branch(part)})"
        return f"(-{branch})" if part.nodes[0] in GROUND else branch


def _turned(nodes: tuple[str, ...]) -> tuple[str, ...]:
    return nodes[::-1] if nodes[0] in GROUND else nodes
