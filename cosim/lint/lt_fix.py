"""``--fix`` for LTspice netlists: the same netlist for ngspice, each change with a sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from cosim.language import lt_meas
from cosim.language.expressions import Expr, Unreadable
from cosim.language.findings import Fixed
from cosim.language.lt_syntax import (
    CONSTANTS,
    TEMP,
    ExpressionSpan,
    middle_number,
    parse_expression,
    segments,
    table_points,
    unclosed,
)
from cosim.language.netlist import SECTION, Line
from cosim.language.numbers import spice_number
from cosim.lint.lt_rules import (
    ATAN2,
    CARDS,
    FILE,
    GROUND,
    MIL,
    NO_FIX,
    OTHER_KEYS,
    OUTPUT,
    PARASITIC,
    SWEPT,
    TRANSFERS,
    Names,
    boolean,
    ends_in_m,
    even,
    is_constant,
    is_number,
    last_row,
    may_be_negative,
    names,
    one_number,
    temperature_cards,
)

INTEGRAL = 1e-9  # farads per unit of an integral: as the project's own state nodes
AS_POWER = "'^' is read as a power, as asked for"  # which ngspice does too
RESET = "1e-12"  # s in which a reset integral goes back: our choice, as for Verilog-A


@dataclass
class Writer:
    """Writes expressions for ngspice. ``done`` and ``left`` collect sentences, ``extra`` lines to be added."""

    caret: str
    own: Names
    heated: bool  # whether a card gives the temperature
    done: dict[str, None] = field(default_factory=dict)
    left: dict[str, None] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    count: int = 0
    source: bool = True
    known: frozenset[str] = frozenset()
    in_function: bool = False

    def write(self, body: str, line: Line, segment: ExpressionSpan) -> str:
        """``body``, a segment of ``line``, for ngspice; as it was where it is not read."""
        self.source, self.known = self.own.in_source(line, segment), self.own.known(line)
        self.in_function = line.card == ".func"
        return self._expression(body)

    def measured(self, body: str, *, source: bool) -> str:
        """``body``, of a ``.meas``: of vectors, or of measures and parameters."""
        self.source, self.known, self.in_function = source, self.own.parameters, False
        return self._expression(body)

    def _expression(self, body: str) -> str:
        is_power = self.caret == "power" or self.own.hspice
        try:
            tree = parse_expression(body, caret_is_power=is_power)
        except Unreadable:
            return body
        if missing := unclosed(body):
            body = self._say(body + ")" * missing, "brackets that are open at an expression's end are closed")
            tree = parse_expression(body, caret_is_power=is_power)
        if "{" in body:
            body = self._say(body.replace("{", "(").replace("}", ")"), "braces inside an expression are brackets")
        return self._of(tree, body)

    def _of(self, node: Expr, body: str) -> str:
        plain = body[node.start : node.end]
        if node.op == "number":
            other = middle_number(plain)
            if not other and not self.source and MIL.search(plain):
                other = repr(node.value)
            return self._say(other, f"{plain} is written {other}") if other else plain
        if node.op == "name" and not self.own.hspice and is_constant(node.name.lower(), self.known, source=self.source):
            return self._constant(node.name)
        if node.op in ("name", "string") or (node.op == "call" and node.name in ("V", "I")):
            return plain
        args = [self._of(arg, body) for arg in node.args]
        new = self._changed(node, args)
        if new is not None:
            return new
        pieces, position = [], node.start
        for arg, text in zip(node.args, args, strict=True):
            pieces += [body[position : arg.start], text]
            position = arg.end
        return "".join([*pieces, body[position : node.end]])

    def _say(self, text: str, why: str) -> str:
        self.done[why] = None
        return text

    def _constant(self, name: str) -> str:
        if name.lower() != "temp":
            value = repr(CONSTANTS[name.lower()])
            return self._say(f"({value})" if value.startswith("-") else value, f"{name} is written {value}")
        if self.source:
            return self._say("temper", "temp is ngspice's temper")
        if self.heated:
            self.left["temp has no counterpart in ngspice's parameters"] = None
            return name
        return self._say(repr(TEMP), f"temp is written {TEMP:g}, as no card says another temperature")

    def _changed(self, node: Expr, args: list[str]) -> str | None:
        op, name = node.op, node.name.lower()
        if op == "call" and name not in self.own.functions:
            return self._call(node, name, args)
        if op == "**":
            return self._power(node, args)
        if op == "^":
            return self._caret(node, args)
        if op == "==" and ends_in_m(node):
            return self._say(f"({args[0]}) == {args[1]}", "what ends in m is in brackets before ==")
        if op in ("&&", "||", "&", "|"):
            parts = [self._true(arg, text) for arg, text in zip(node.args, args, strict=True)]
            if op not in ("&", "|") and parts == args:
                return None
            return self._say(f"({parts[0]} {op[0] * 2} {parts[1]})", "'&' and '|' are && and ||, of values above 0.5")
        if op == "u~" or (op == "u!" and not (self.own.hspice or boolean(node.args[0]))):
            return self._say(f"({self._true(node.args[0], args[0])} ? 0 : 1)", f"{op[1]}x is written (x ? 0 : 1)")
        if op == "%":
            x, y = args
            return self._say(_remainder(x, y), "x % y is written out") if self.source else None
        if op == "cond" and not (self.own.hspice or boolean(node.args[0])):
            text = f"({self._true(node.args[0], args[0])} ? {args[1]} : {args[2]})"
            return self._say(text, "a condition is a value above 0.5")
        return None

    def _true(self, node: Expr, text: str) -> str:
        return text if self.own.hspice or boolean(node) else f"(({text}) > 0.5)"

    def _power(self, node: Expr, args: list[str]) -> str | None:
        base, exponent = node.args
        if even(exponent) or not may_be_negative(base):
            return None
        x, y = args
        if exponent.op == "number" and exponent.value % 2.0 == 1.0:
            less = repr(exponent.value - 1.0).removesuffix(".0")
            return self._say(f"(({x})*pow({x}, {less}))", "odd powers keep the sign of their base: x*pow(x, n - 1)")
        why = "powers of what may be negative have LTspice's real part, |x|^y cos(pi y)"
        return self._say(f"((({x}) < 0 ? cos(pi*({y})) : 1)*pow(abs({x}), {y}))", why)

    def _caret(self, node: Expr, args: list[str]) -> str | None:
        if self.caret == "power":
            self.done[AS_POWER] = None
            power = Expr("**", node.start, node.end, args=node.args)
            return self._power(power, args) or f"(({args[0]})**({args[1]}))"
        if self.caret == "xor":
            x, y = (self._true(arg, text) for arg, text in zip(node.args, args, strict=True))
            return self._say(f"({x} ? ({y} ? 0 : 1) : ({y} ? 1 : 0))", "'^' is LTspice's exclusive or, as asked for")
        self.left["'^' is an exclusive or in LTspice, though a power may be meant: say which with --caret"] = None
        return None

    def _call(self, node: Expr, name: str, args: list[str]) -> str | None:
        if name == "pow":
            return self._power(node, args)
        if self.own.hspice and name == "pwr":  # a source's keeps the sign, as HSPICE's does, and a parameter's does not
            if self.source or len(args) != 2 or node.args[0].op == "number":
                return None
            return self._say(f"(sgn({args[0]})*pow(abs({args[0]}), {args[1]}))", "pwr() keeps its sign")
        if self.own.hspice and name in ("log", "log10", "sqrt"):
            text = f"(sgn({args[0]})*{name}(abs({args[0]})))"
            return self._say(text, f"{name}() keeps its sign") if may_be_negative(node.args[0]) else None
        if self.own.hspice and name in _OF_HSPICE:
            count, form = _OF_HSPICE[name]
            if len(args) != count:
                self.left[f"{name}() takes {count} argument{'s' if count > 1 else ''}"] = None
                return None
            return self._say(form.format(*args), f"{name}() is written with what ngspice has")
        if name in NO_FIX:
            self.left[f"{name}() has no counterpart in ngspice"] = None
            return None
        if name in ("idt", "sdt"):
            if len(args) > 3 or self.in_function:
                where = "inside a .func" if self.in_function else "with more than a start and a reset"
                self.left[f"{name}() {where} has no counterpart in ngspice"] = None
                return None
            if len(args) > 2:
                args[2] = self._true(node.args[2], args[2])
            return self._integral(name, args)
        if name == "u":
            return self._say(f"(({args[0]}) > 0 ? 1 : 0)", "u(x) is written (x > 0 ? 1 : 0)")
        if name == "uramp" and not self.source:
            return self._say(f"max({args[0]}, 0)", "uramp(x) is written max(x, 0)")
        if name == "mod" and len(args) == 2:
            return self._say(_remainder(*args), "mod(x, y) is written out")
        if name in ("table", "tbl") and (len(args) < 3 or len(args) % 2 == 0):
            self.left[f"{name}() needs an x and pairs of numbers"] = None
            return None
        if name in ("table", "tbl"):
            return self._say(_table(args), f"{name}(x, ...) is written as a piecewise line")
        forms = {
            "stp": "(({0}) > 0 ? 1 : 0)", "limit": "min(max({0}, min({1}, {2})), max({1}, {2}))",
            "pwr": "pow(abs({0}), {1})", "pwrs": "(sgn({0})*pow(abs({0}), {1}))", "inv": "(({0}) > 0.5 ? 0 : 1)",
            "buf": "(({0}) > 0.5 ? 1 : 0)", "hypot": "sqrt(({0})*({0}) + ({1})*({1}))",
            "int": "(sgn({0})*floor(abs({0})))", "round": "floor(({0}) + 0.5)", "square": "(({0})*({0}))",
            "fabs": "abs({0})", "cbrt": "(sgn({0})*pow(abs({0}), 1/3))",
            "atan2": ATAN2, "arctan": "atan({0})", "arcsin": "asin({0})", "arccos": "acos({0})",
        }  # fmt: skip
        if name == "if" and len(args) == 3:
            condition = self._true(node.args[0], args[0])
            return self._say(f"({condition} ? {args[1]} : {args[2]})", "if(c, a, b) is written (c ? a : b)")
        if name not in forms:
            return None
        try:
            return self._say(forms[name].format(*args), f"{name}() is written with what ngspice has")
        except IndexError:
            self.left[f"{name}() has too few arguments"] = None
            return None

    def _integral(self, name: str, args: list[str]) -> str:
        self.count += 1
        node = f"integral_{self.count}"
        start = args[1] if len(args) > 1 else "0"
        rate = args[0]
        if len(args) > 2:
            rate = f"({args[2]}) ? (({start}) - V({node}))/{RESET} : ({args[0]})"
            self.done[f"an integral that is reset goes back to its start within {RESET} s"] = None
        self.extra += [
            f"B{node} 0 {node} I={INTEGRAL!r}*({rate})",
            f"C{node} {node} 0 {INTEGRAL!r}",
            f"R{node} {node} 0 1e15",
            f".ic V({node})={{{start}}}",
        ]
        return self._say(f"V({node})", f"{name}() is the voltage of a capacitor that a source charges")


# Functions that HSPICE alone has: the count of their arguments, and what they are. Halves are rounded away from zero.
_OF_HSPICE = {
    "db": (1, "(sgn({0})*20*log10(abs({0})))"),
    "nint": (1, "(sgn({0})*floor(abs({0}) + 0.5))"),
    "sign": (2, "(({1}) >= 0 ? abs({0}) : -abs({0}))"),
}


def _remainder(x: str, y: str) -> str:
    return f"(({x}) - ({y})*sgn(({x})/({y}))*floor(abs(({x})/({y}))))"


def _table(args: list[str]) -> str:
    x, points = args[0], list(zip(args[1::2], args[2::2], strict=False))
    text = points[-1][1]
    for (x0, y0), (x1, y1) in reversed(list(pairwise(points))):
        if x0 == x1:  # a step: there is nothing between the two
            continue
        text = f"(({x}) < {x1} ? {y0} + (({y1}) - ({y0}))*(({x}) - ({x0}))/(({x1}) - ({x0})) : {text})"
    return f"(({x}) < {points[0][0]} ? {points[0][1]} : {text})"


def fix(lines: Sequence[Line], text: str, *, caret: str) -> Fixed:
    """The repaired netlist; rows that need no change stay as they were written."""
    named = SECTION in text
    text = text.replace(SECTION, "_")
    rows: list[str | None] = list(text.split("\n"))
    held = {m[1].lower() for line in lines if line.card == ".ic" for m in re.finditer(r"[vV]\(([^(),]*)\)", line.text)}
    heated = any(line.card == ".temp" or re.match(r"\.opt\w*\s.*\btemp\b", line.text, re.I) for line in lines)
    writer = Writer(caret, names(lines), heated)
    if named:
        writer.done[f"{SECTION} is written _"] = None
    kept, dropped = _first_run(lines)
    for line in dropped:
        for index in range((line.where.line or 1) - 1, last_row(line, text.split("\n"))):
            rows[index] = None
    if dropped:
        writer.done[".alter and .data are removed: write their changes as corners of a bench, or as a plan"] = None
    for place, same in groupby(kept, key=lambda line: line.where.line):  # cards that stood on one line
        parts = list(same)
        made: list[str] = []
        for line in parts:
            writer.extra = []
            new = _line(line, writer, held)
            made += [*([new] if new else []), *writer.extra]
        if made == [line.text for line in parts] and len(parts) == 1:
            continue
        start, line = (place or 1) - 1, parts[0]
        rows[start] = "\n".join(made) or f"* {line.text}"
        for index in range(start + 1, last_row(line, text.split("\n"))):  # its continuations are part of it now
            row = rows[index]
            if row is not None and row.lstrip().startswith("+"):
                rows[index] = None
    written = [row for row in rows if row is not None]
    if cards := temperature_cards(kept):
        ends = (k for k in reversed(range(len(written))) if written[k].strip().lower() == ".end")
        behind = (k for k in reversed(range(len(written))) if written[k].strip())
        place = next(ends, next(behind, -1) + 1)
        written[place:place] = cards
        writer.done[f"{' and '.join(cards)} are written: HSPICE's temperatures, where a deck says no other"] = None
    return Fixed("\n".join(written), tuple(writer.done), tuple(writer.left))


def _first_run(lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """The lines of HSPICE's first run, and those of its tables and of what ``.alter`` changes after it."""
    kept, dropped, table, after = list[Line](), list[Line](), False, False
    for line in lines:
        table = table or line.card == ".data"
        after = (after or line.card == ".alter") and line.card != ".end"
        (dropped if table or after else kept).append(line)
        table = table and line.card != ".enddata"
    return kept, dropped


def _line(line: Line, writer: Writer, held: set[str]) -> str:
    """One logical line for ngspice; empty for one that goes."""
    text, first = line.text, line.text[0].lower()
    if line.card in CARDS:
        step = ": put it back where 'cosim new bench --from' is to make a sweep of it" if line.card == ".step" else ""
        writer.done[f"{line.card} is removed{step}"] = None
        return ""
    if line.card == ".lib" and len(text.split()) == 2 and FILE.search(text):
        writer.done[".lib of a whole file is .include"] = None
        return f".include {text.split()[1]}"
    if line.card in (".tran", ".dc", ".ac") and (swept := SWEPT.search(text)):
        how = "write it as a plan" if "=" in swept[0] else "'cosim new bench --from' the deck makes a sweep of it"
        writer.done[f"{' '.join(swept[0].split())!r} is removed: {how}"] = None
        return text[: swept.start()].rstrip()
    if writer.own.hspice and line.card in OUTPUT:
        writer.done[f"{line.card} is removed: all waveforms are kept"] = None
        return ""
    if GROUND.search(text):
        writer.done["gnd! is written 0"] = None
        text = GROUND.sub("0", text)
        if line.card == ".global" and not (names := [word for word in text.split()[1:] if word != "0"]):
            return ""
        text = " ".join([line.card, *names]) if line.card == ".global" else text
        line = Line(text, line.where)
    if line.card in lt_meas.CARDS:
        return _measure(line, writer)
    if line.card == ".tran" and (text.split()[1:2] == ["0"] or one_number(text)):
        words = [word for word in text.split() if word.lower() != "startup"]
        words = words if words[1] == "0" else [words[0], "0", *words[1:]]
        writer.done["the time step of .tran is a thousandth of its end"] = None
        stop = spice_number(words[2])
        step = f"{{{words[2]}/1000}}" if stop is None else f"{stop / 1000.0:.12g}"
        return " ".join([words[0], step, *words[2:]])
    if first in "bceg" and (transfer := TRANSFERS.search(text)):
        writer.left[f"{transfer[1].lower()} has no counterpart in ngspice's sources"] = None
        return text
    if re.match(r"\.para\w*\s+\w+\s*\(", text, re.IGNORECASE):
        writer.done["a function of .param is one of .func"] = None
        text = re.sub(r"^(\.\w+)(.*?)=", lambda m: f".func{m[2]}", text, count=1)
        line = Line(text, line.where)
    pieces, position = [], 0
    for segment in segments(line):
        body = text[segment.start : segment.end]
        key = segment.key.lower()
        if (first in "bcvil" and key in PARASITIC) or (first == "b" and key in OTHER_KEYS):
            head = text.rindex(segment.key, 0, segment.start)
            pieces.append(text[position:head])
            position = _end(text, segment)
            if key in PARASITIC:
                _parasitic(line, key, body, writer)
            else:
                writer.done[f"{segment.key} is removed: it steers LTspice's time step"] = None
            continue
        new = writer.write(body, line, segment)
        if first in "eg" and key == "table":
            return _table_source(line, segment, new, writer)
        if first == "b" and key == "r":
            nodes = ",".join(text.split()[1:3])
            writer.done["R= of a B source is a current V/R"] = None
            pieces.append(text[position : text.rindex(segment.key, 0, segment.start)])
            pieces.append(f"I=V({nodes})/({new})")
            position = _end(text, segment)
            continue
        if segment.bare and first in "eg" and key in ("value", "vol", "cur") and is_number(body):
            writer.done["expressions are in brackets"] = None
            new = f"{{{new}}}"
        if segment.bare and first in "rcl" and re.search(r"[*/(]", body) and not body.startswith(("{", "'")):
            writer.done["expressions are in brackets"] = None
            new = f"{{{new}}}"
        if first == "c" and key == "ic" and text.split()[1].lower() not in held:
            _start(line, new, writer)
        pieces += [text[position : segment.start], new]
        position = segment.end
    written = "".join([*pieces, text[position:]]).rstrip()
    if first in "rclxvi":
        written = re.sub(r"(?<![\w.{])\d+[A-Za-z]+\d+(?!\w)", lambda m: _decimal(m, writer), written)
    return writer_nodes(written, line, writer)


def _measure(line: Line, writer: Writer) -> str:
    if why := writer.own.measured.lost(line):
        writer.left[f"{lt_meas.shown(line)}: {why}"] = None
    if not writer.own.measured.is_other_form(line):
        return line.text
    rows = writer.own.measured.written(line)
    writer.done[".meas is written in ngspice's form"] = None
    if len(rows) > 1:
        writer.done["a phase is measured in radians, and given in degrees"] = None
    if any(re.search(r"\bvm\(", row) for row in rows) and not re.search(r"\bvm\(", line.text):
        writer.done["in .meas ac v(x) is its magnitude, vm(x)"] = None

    def again(match: re.Match[str], *, source: bool) -> str:
        return f"{match[1]}{writer.measured(match[2], source=source)}{match[3]}"

    rows = [re.sub(r"(par\(')([^']*)('\))", lambda m: again(m, source=True), row) for row in rows]
    return "\n".join(re.sub(r"(?i)(param=')([^']*)(')", lambda m: again(m, source=False), row) for row in rows)


def _table_source(line: Line, segment: ExpressionSpan, x: str, writer: Writer) -> str:
    points = table_points(line, segment)
    if len(points) < 2 or len(points) % 2:
        writer.left[f"TABLE of {line.text.split()[0]} is not pairs of numbers"] = None
        return line.text
    writer.done["TABLE {...} is written as a piecewise line, with sharp corners"] = None
    values = [f"({point.strip('{}')})" if "{" in point else middle_number(point) or point for point in points]
    return " ".join([*line.text.split()[:3], f"VALUE={{{_table([x, *values])}}}"])


def _decimal(match: re.Match[str], writer: Writer) -> str:
    other = middle_number(match[0])
    if not other or match.start() == 0:
        return match[0]
    writer.done[f"{match[0]} is written {other}"] = None
    return other


def _end(text: str, segment: ExpressionSpan) -> int:
    return segment.end + (0 if segment.bare else 1)


def _start(line: Line, value: str, writer: Writer) -> None:
    node, other = line.text.split()[1:3]
    bare = value.strip("{}'")
    if other.lower() in ("0", "gnd"):
        writer.extra.append(f".ic V({node})={{{bare}}}")
        writer.done["IC= of a capacitor is .ic of its node as well"] = None
    elif node.lower() in ("0", "gnd"):
        writer.extra.append(f".ic V({other})={{-({bare})}}")
        writer.done["IC= of a capacitor is .ic of its node as well"] = None
    else:
        writer.left[f"IC= of {line.text.split()[0]} between two nodes cannot become .ic: run .tran with uic"] = None


def _parasitic(line: Line, key: str, value: str, writer: Writer) -> None:
    name, first, second = line.text.split()[:3]
    if key in ("rpar", "rlshunt"):
        writer.extra.append(f"R{name}_par {first} {second} {{{value}}}")
    elif key == "cpar":
        writer.extra.append(f"C{name}_par {first} {second} {{{value}}}")
    else:
        writer.extra.append(f"{'L' if key == 'lser' else 'R'}{name}_ser {name}_ser {second} {{{value}}}")
    writer.done[f"{key} is a separate element"] = None


def writer_nodes(written: str, line: Line, writer: Writer) -> str:
    """The line with its second node moved to where a series element begins, if there is one."""
    name = line.text.split()[0]
    if not any(extra.split()[1] == f"{name}_ser" for extra in writer.extra):
        return written
    words = written.split(None, 3)
    return " ".join([words[0], words[1], f"{name}_ser", *words[3:]])
