"""The rules for LTspice netlists: each was seen to be refused, or to give another result, in ngspice 46."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cosim.lint.expressions import Expr, Unreadable
from cosim.lint.findings import Finding, Rule, Severity
from cosim.lint.lt_syntax import FUNCTIONS, middle_number, parse_expression, segments
from cosim.spice.netlist import Line

E, W = Severity.ERROR, Severity.WRONG
# Functions of LTspice that ngspice has not, or has with another meaning.
MISSING = frozenset(
    """stp if idt sdt table tbl inv buf hypot int round atan2 arctan arcsin arccos square rand random white delay
    absdelay uplim dnlim pwrs""".split()  # noqa: SIM905
)
NO_FIX = frozenset({"rand", "random", "white", "delay", "absdelay", "uplim", "dnlim", "atan2"})
PARASITIC = frozenset({"rser", "rpar", "cpar", "lser", "rlshunt"})
OTHER_KEYS = frozenset({"tripdv", "tripdt", "nojacob", "window", "nfft", "mtol", "noiseless"})
CARDS = frozenset({".step", ".machine", ".endmachine", ".wave", ".net", ".savebias", ".loadbias", ".ferret", ".text"})

RULES = {
    rule.code: rule
    for rule in (
        Rule("function", E, "ngspice has no function {}()", "write it with the functions that it has"),
        Rule("limit", W, "limit(x, a, b) is a random number in ngspice, not x between a and b",
             "write min(max(x, a), b)"),
        Rule("pwr", W, "pwr(x, y) is |x|^y in LTspice and keeps the sign of x in ngspice", "write pow(abs(x), y)"),
        Rule("power", W, "a power of something that may be negative is one of its magnitude in ngspice",
             "write x*pow(x, n - 1) for an odd n"),
        Rule("caret", W, "'^' is a Boolean exclusive or in LTspice and a power in ngspice", "write ** for a power"),
        Rule("operator", E, "operator {!r} is not known to ngspice", "write && and ||"),
        Rule("number", W, "ngspice reads {} as the part before the letter", "write a decimal point"),
        Rule("capacitor-ic", W, "IC= of a capacitor is ignored in ngspice's .tran without uic", "write .ic V(node)="),
        Rule("parasitic", E, "{} is not known to ngspice", "write it as an element of its own"),
        Rule("key", E, "{} is not known to ngspice", "remove it"),
        Rule("bare", E, "the expression {!r} needs brackets in ngspice", "write {{...}}"),
        Rule("laplace", E, "laplace is not known to ngspice's sources", "write it with R and C, or as s_xfer"),
        Rule("card", E, "{} is LTspice's own card", "remove it"),
        Rule("tran", E, ".tran with a time step of 0 is refused by ngspice", "give a time step"),
        Rule("unread", Severity.WARNING, "{}: the rules did not see this expression", "check it by hand"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Spot:
    """A finding before its place is known: the text it is about, and where that is in a logical line."""

    rule: str
    line: Line
    position: int
    what: str = ""


def place(spot: Spot, rows: Sequence[str]) -> Finding:
    """The finding with line and column of the file: the text is looked for in the rows of its logical line."""
    rule = RULES[spot.rule]
    first = spot.line.where.line or 1
    snippet = re.match(r"\w+|\S", spot.line.text[spot.position :])
    row, column = first, 1
    if snippet is not None:
        pattern = re.compile(rf"(?<!\w){re.escape(snippet[0])}" if snippet[0].isalnum() else re.escape(snippet[0]))
        wanted = len(pattern.findall(spot.line.text[: spot.position]))  # how often it stands there before
        for number in range(first, len(rows) + 1):
            text = rows[number - 1]
            if number > first and not text.lstrip().startswith(("+", "*", ";")) and text.strip():
                break
            hits = list(pattern.finditer(text))
            if len(hits) > wanted:
                row, column = number, hits[wanted].start() + 1
                break
            wanted -= len(hits)
    says = rule.says.replace("{!r}", repr(spot.what)).replace("{}", spot.what)
    return Finding(rule.code, rule.severity, row, column, says, rule.remedy.replace("{{", "{").replace("}}", "}"))


def check(lines: Sequence[Line], text: str, file: Path) -> list[Finding]:
    """All findings of a netlist's logical lines."""
    rows = text.split("\n")
    own = {m[1].lower() for line in lines if (m := re.match(r"\.func\s+(\w+)", line.text, re.IGNORECASE))}
    held = {m[1].lower() for line in lines if line.card == ".ic" for m in re.finditer(r"[vV]\(([^(),]*)\)", line.text)}
    uic = any(line.card == ".tran" and line.text.lower().split()[-1] == "uic" for line in lines)
    found = [place(spot, rows) for line in lines for spot in _line(line, own, held, uic=uic)]
    unique = {(f.rule, f.line, f.column, f.message): f for f in found}
    return sorted(unique.values(), key=lambda f: (f.line, f.column))


def _line(line: Line, own: set[str], held: set[str], *, uic: bool) -> Iterator[Spot]:
    text, first = line.text, line.text[0].lower()
    if line.card in CARDS:
        yield Spot("card", line, 0, line.card)
        return
    if line.card == ".tran":
        if text.split()[1:2] == ["0"]:
            yield Spot("tran", line, text.index("0"))
        return
    if re.search(r"\blaplace\s*=", text, re.IGNORECASE):
        yield Spot("laplace", line, text.lower().index("laplace"))
        return
    for segment in segments(line):
        key, body = segment.key.lower(), text[segment.start : segment.end]
        if first in "bcvil" and key in PARASITIC:
            yield Spot("parasitic", line, segment.start, segment.key)
        elif first == "b" and key in OTHER_KEYS:
            yield Spot("key", line, segment.start, segment.key)
        if first == "c" and key == "ic" and not uic and text.split()[1].lower() not in held:
            yield Spot("capacitor-ic", line, segment.start)
        if segment.bare and first in "rcl" and key in ("value", "r", "c", "q", "l", "ic") and re.search(r"[*/(]", body):
            yield Spot("bare", line, segment.start, body)
        try:
            tree = parse_expression(body)
        except Unreadable as reason:
            if re.search(r"[*/^(]", body) and first != "x":
                yield Spot("unread", line, segment.start, reason.message)
            continue
        for rule, position, what in spots(tree, body, own):
            yield Spot(rule, line, segment.start + position, what)
    if not text.startswith((".param", ".func")) and first in "rclxvi":
        for match in re.finditer(r"(?<![\w.{])\d+[A-Za-z]+\d+(?!\w)", text):
            if middle_number(match[0]) and match.start() >= len(text.split()[0]):
                yield Spot("number", line, match.start(), match[0])


def spots(tree: Expr, body: str, own: set[str]) -> Iterator[tuple[str, int, str]]:
    """Rule, position and subject of what an expression holds; ``own`` are the file's own functions."""
    for node in tree.walk():
        name = node.name.lower()
        if node.op == "call" and name not in own and name not in ("v", "i"):
            if name in ("limit", "pwr"):
                yield name, node.start, name
            elif name in MISSING or (name not in FUNCTIONS and name not in ("ddt", "{}", "uramp")):
                yield "function", node.start, name
            elif name == "pow" and may_be_negative(node.args[0]) and not even(node.args[1]):
                yield "power", node.start, "pow"
        elif node.op == "**" and may_be_negative(node.args[0]) and not even(node.args[1]):
            yield "power", node.start, "**"
        elif node.op == "^":
            yield "caret", node.args[0].end, "^"
        elif node.op in ("&", "|", "%", "u~"):
            yield "operator", node.start if node.op == "u~" else node.args[0].end, node.op.removeprefix("u")
        elif node.op == "number" and middle_number(body[node.start : node.end]):
            yield "number", node.start, body[node.start : node.end]


def even(exponent: Expr) -> bool:
    """Whether an exponent is an even number for every whole value of its parameters: 2, 2*p."""
    if exponent.op == "number":
        return exponent.value % 2.0 == 0.0
    return exponent.op == "*" and any(even(arg) for arg in exponent.args)


def may_be_negative(base: Expr) -> bool:
    """Whether a base may be negative; a plain parameter is taken for positive."""
    if base.op in ("number", "name"):
        return False
    if base.op == "call":
        return base.name.lower() not in ("abs", "exp", "sqrt", "cosh", "uramp", "hypot", "u", "stp")
    if base.op in ("+", "*", "/"):
        return any(may_be_negative(arg) for arg in base.args)
    return True
