"""The rules for LTspice netlists: each was seen to be refused, or to give another result, in ngspice 46."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cosim.language import lt_meas
from cosim.language.expressions import Expr, Unreadable
from cosim.language.findings import Finding, Rule, Severity
from cosim.language.lt_syntax import (
    CONSTANTS,
    FUNCTIONS,
    ExpressionSpan,
    is_hspice,
    is_source,
    middle_number,
    parse_expression,
    segments,
    unclosed,
    untold_temperatures,
)
from cosim.language.netlist import Line

E, W = Severity.ERROR, Severity.WRONG
# Functions of LTspice that ngspice lacks, or has with another meaning.
MISSING = frozenset(
    """stp if idt sdt table tbl inv buf hypot int round atan2 arctan arcsin arccos square rand random white delay
    absdelay uplim dnlim pwrs fabs cbrt mod""".split()  # noqa: SIM905
)
NO_FIX = frozenset({"rand", "random", "white", "delay", "absdelay", "uplim", "dnlim"})
# atan2({0}, {1}) with what ngspice has; it evaluates what is chosen alone, so that nothing is divided by zero.
ATAN2 = (
    "(({1}) > 0 ? atan(({0})/({1})) : ({1}) < 0 ? atan(({0})/({1})) + (({0}) >= 0 ? pi : -pi)"
    " : ({0}) > 0 ? pi/2 : ({0}) < 0 ? -pi/2 : 0)"
)
PARASITIC = frozenset({"rser", "rpar", "cpar", "lser", "rlshunt"})
OTHER_KEYS = frozenset({"tripdv", "tripdt", "nojacob", "window", "nfft", "mtol", "noiseless"})
KNOWN = FUNCTIONS.keys() | {"ddt", "{}", "agauss", "gauss", "aunif", "unif"}
GROUND = re.compile(r"(?<![\w.])gnd!(?!\w)", re.IGNORECASE)
TRANSFERS = re.compile(r"\b(laplace|freq|chebyshev)\b\s*[={]", re.IGNORECASE)
TRUTHS = frozenset({"<", "<=", ">", ">=", "==", "!=", "&&", "||", "&", "|", "u!", "u~"})
OUTPUT = frozenset({".probe", ".print", ".plot", ".graph"})  # whose vectors HSPICE may name by patterns
CARDS = frozenset({".step", ".machine", ".endmachine", ".wave", ".net", ".savebias", ".loadbias", ".ferret", ".text"})

SEVERAL = frozenset({".alter", ".data", ".enddata"})  # of HSPICE, which runs a circuit several times
SWEPT = re.compile(r"(?<=\s)sweep\s.*", re.IGNORECASE)
FILE = re.compile(r"\.\w+[\"']?\s*$|[/\\]")

RULES = {
    rule.code: rule
    for rule in (
        Rule("function", E, "ngspice has no function {}()", "write it with the functions that it has"),
        Rule("limit", W, "limit(x, a, b) is a random number in ngspice, not x between a and b",
             "write min(max(x, a), b)"),
        Rule("pwr", W, "pwr(x, y) is |x|^y in LTspice and keeps the sign of x in ngspice", "write pow(abs(x), y)"),
        Rule("signed", W, "{} of a negative number is that of its magnitude, with its sign, in HSPICE",
             "write sgn(x) times that of abs(x)"),
        Rule("multiplier", E, "ngspice takes {} for a multiplier, m=", "write brackets around what ends in m"),
        Rule("ground", W, "{} is a node of its own in ngspice, and ground in HSPICE", "write 0"),
        Rule("power", W, "a power of something that may be negative is one of its magnitude in ngspice",
             "write x*pow(x, n - 1) for an odd n"),
        Rule("caret", W, "'^' is a Boolean exclusive or in LTspice and a power in ngspice", "write ** for a power"),
        Rule("operator", E, "operator {!r} is not known to ngspice", "write && and ||"),
        Rule("number", W, "ngspice reads {} as the part before the letter", "write a decimal point"),
        Rule("capacitor-ic", W, "IC= of a capacitor is ignored in ngspice's .tran without uic", "write .ic V(node)="),
        Rule("parasitic", E, "{} is not known to ngspice", "write it as a separate element"),
        Rule("key", E, "{} is not known to ngspice", "remove it"),
        Rule("bare", E, "the expression {!r} needs brackets in ngspice", "write {{...}}"),
        Rule("laplace", E, "{} is not known to ngspice's sources", "write it with R and C, or as s_xfer"),
        Rule("table", W, "ngspice rounds the corners of TABLE {{...}} by a tenth of its steps", "write out the line"),
        Rule("constant", E, "LTspice's constant {} is not known to ngspice here", "write its value"),
        Rule("bracket", E, "{} closing brackets are missing, which LTspice adds at the end", "write them"),
        Rule("braces", W, "ngspice ignores braces inside an expression: 2*{{1 + 1}} is 3", "write (...)"),
        Rule("step", W, "u(0) is 0.5 in ngspice and 0 in LTspice: half a step at rest", "write (x > 0 ? 1 : 0)"),
        Rule("mil", W, "ngspice reads {} as milli in .param and in braces", "write the number without a suffix"),
        Rule("truth", W, "true is what is above 0.5 in LTspice, and what is not 0 in ngspice", "write (x) > 0.5"),
        Rule("resistance", E, "a B source has no R= in ngspice", "write I=V(a,b)/(...)"),
        Rule("card", E, "{} is LTspice's own card", "remove it"),
        Rule("several", E, "{} is HSPICE's, which ngspice does not have", "write its changes as corners, or as a plan"),
        Rule("library", E, ".lib with a file alone is LTspice's", "write .include"),
        Rule("measure", E, "{} is not in ngspice's form", "write at=5u, param='x/2', par('v(a)*i(v1)'), val=1"),
        Rule("unmeasured", E, "{}", "take it out, or measure it in a bench"),
        Rule("stop", E, ".tran with one number is LTspice's: its end", "write .tran STEP STOP"),
        Rule("tran", E, ".tran with a time step of 0 is refused by ngspice", "give a time step"),
        Rule("temperature", W, "HSPICE's temperatures are 25 degC where none are given, ngspice's 27: {} would say so",
             "write it, or .temp 27 where that is meant"),
        Rule("unread", Severity.UNVERIFIED, "{}: it was not checked", "check it by hand"),
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
    what = spot.what
    if spot.rule == "unread":
        last = last_row(spot.line, rows)
        what = f"{f'line {first} was' if last == first else f'lines {first}-{last} were'} not understood ({what})"
    says = rule.says.replace("{!r}", repr(what)).replace("{}", what).replace("{{", "{").replace("}}", "}")
    return Finding(rule.code, rule.severity, row, column, says, rule.remedy.replace("{{", "{").replace("}}", "}"))


def last_row(line: Line, rows: Sequence[str]) -> int:
    """The last row of a logical line that begins at its ``where``, from 1."""
    first = last = line.where.line or 1
    for number in range(first + 1, len(rows) + 1):
        row = rows[number - 1].strip()
        if row.startswith("+"):
            last = number
        elif row and not row.startswith(("*", ";")):
            break
    return last


@dataclass(frozen=True)
class Names:
    """The names of a file: its functions, its parameters, and those of its functions that give numbers."""

    functions: frozenset[str]
    parameters: frozenset[str]
    numeric: frozenset[str]
    models: frozenset[str]
    measured: lt_meas.Circuit
    hspice: bool = False

    def known(self, line: Line) -> frozenset[str]:
        """The names that have a value in ``line``."""
        match = _FUNC.match(line.text)
        own = () if match is None else (word.strip().lower() for word in match[2].split(","))
        return self.parameters | frozenset(own)

    def in_source(self, line: Line, segment: ExpressionSpan) -> bool:
        """Whether ngspice reads an expression as one of a source, with its functions and constants."""
        match = _FUNC.match(line.text)
        return is_source(line, segment) if match is None else match[1].lower() not in self.numeric


_FUNC = re.compile(r"\.(?:func|params?|para)\s+(\w+)\s*\(([^()]*)\)", re.IGNORECASE)


def names(lines: Sequence[Line]) -> Names:
    """The file's own names, lower case."""
    bodies: dict[str, str] = {}
    parameters: set[str] = set()
    called = ""
    for line in lines:
        match = _FUNC.match(line.text)
        if match is not None:
            bodies[match[1].lower()] = line.text[match.end() :].lower()
            continue
        for segment in segments(line):
            if line.card in (".param", ".params", ".para", ".subckt", ".macro"):
                parameters.add(segment.key.lower())
            if not is_source(line, segment):
                called += " " + line.text[segment.start : segment.end].lower()
    numeric: set[str] = set()
    waiting = [called]
    while waiting:
        text = waiting.pop()
        new = {word for word in re.findall(r"(\w+)\s*\(", text) if word in bodies} - numeric
        numeric |= new
        waiting += [bodies[name] for name in new]
    models = frozenset(line.text.split()[1].lower() for line in lines if line.card == ".model" and " " in line.text)
    hspice = is_hspice(lines)
    measured = lt_meas.Circuit.of(lines, functions=frozenset(bodies), hspice=hspice)
    return Names(frozenset(bodies), frozenset(parameters), frozenset(numeric), models, measured, hspice)


def check(lines: Sequence[Line], text: str, file: Path) -> list[Finding]:
    """All findings of a netlist's logical lines."""
    rows = text.split("\n")
    own = names(lines)
    held = {m[1].lower() for line in lines if line.card == ".ic" for m in re.finditer(r"[vV]\(([^(),]*)\)", line.text)}
    uic = any(line.card == ".tran" and line.text.lower().split()[-1] == "uic" for line in lines)
    found = [place(spot, rows) for line in lines for spot in _line(line, own, held, uic=uic)]
    if cards := temperature_cards(lines):
        first = next(line for line in lines if line.card in _RUNS)
        found.append(place(Spot("temperature", first, 0, " and ".join(cards)), rows))
    unique = {(f.rule, f.line, f.column, f.message): f for f in found}
    return sorted(unique.values(), key=lambda f: (f.line, f.column))


def _line(line: Line, own: Names, held: set[str], *, uic: bool) -> Iterator[Spot]:
    text, first = line.text, line.text[0].lower()
    if line.card in CARDS:
        yield Spot("card", line, 0, line.card)
        return
    if line.card in SEVERAL:
        yield Spot("several", line, 0, line.card)
        return
    if line.card == ".lib" and len(text.split()) == 2 and FILE.search(text):
        yield Spot("library", line, 0)
        return
    if line.card in (".tran", ".dc", ".ac") and (swept := SWEPT.search(text)):
        yield Spot("several", line, swept.start(), " ".join(swept[0].split())[:40])
    if line.card == ".tran":
        if text.split()[1:2] == ["0"]:
            yield Spot("tran", line, text.index("0"))
        elif one_number(text):
            yield Spot("stop", line, text.index(text.split()[1]))
        return
    if line.card in lt_meas.CARDS:
        if own.measured.is_other_form(line):
            yield Spot("measure", line, 0, " ".join(text.split())[:60])
        elif lost := own.measured.lost(line):
            yield Spot("unmeasured", line, 0, f"{lt_meas.shown(line)}: {lost}")
        return
    if first in "bceg" and (transfer := TRANSFERS.search(text)):
        yield Spot("laplace", line, transfer.start(), transfer[1].lower())
        return
    if (ground := GROUND.search(text)) is not None:
        yield Spot("ground", line, ground.start(), ground[0])
    if (why := _strange(line, own)) is not None:
        yield Spot("unread", line, 0, why)
    for segment in segments(line):
        key, body = segment.key.lower(), text[segment.start : segment.end]
        if first in "bcvil" and key in PARASITIC:
            yield Spot("parasitic", line, segment.start, segment.key)
        elif first == "b" and key in OTHER_KEYS:
            yield Spot("key", line, segment.start, segment.key)
        elif first == "b" and key == "r":
            yield Spot("resistance", line, segment.start)
        if first in "eg" and key == "table":
            yield Spot("table", line, text.lower().index("table"))
        if first == "c" and key == "ic" and not uic and text.split()[1].lower() not in held:
            yield Spot("capacitor-ic", line, segment.start)
        if segment.bare and first in "rcl" and key in ("value", "r", "c", "q", "l", "ic") and re.search(r"[*/(]", body):
            yield Spot("bare", line, segment.start, body)
        if segment.bare and first in "eg" and key in ("value", "vol", "cur") and is_number(body):
            yield Spot("bare", line, segment.start, body)
        if missing := unclosed(body):
            yield Spot("bracket", line, segment.start, str(missing))
        try:
            tree = parse_expression(body, caret_is_power=own.hspice)
        except Unreadable as reason:
            if re.search(r"[*/^(?]", body):
                yield Spot("unread", line, segment.start, reason.message)
            continue
        for rule, position, what in spots(tree, body, own, line, segment):
            yield Spot(rule, line, segment.start + position, what)
    if not text.startswith((".param", ".func")) and first in "rclxvi":
        for match in re.finditer(r"(?<![\w.{])\d+[A-Za-z]+\d+(?!\w)", text):
            if middle_number(match[0]) and match.start() >= len(text.split()[0]):
                yield Spot("number", line, match.start(), match[0])


_RUNS = frozenset({".tran", ".ac", ".dc", ".op", ".noise", ".tf"})


def temperature_cards(lines: Sequence[Line]) -> tuple[str, ...]:
    """The cards of HSPICE's temperatures that a circuit lacks; a library takes those of its decks."""
    return untold_temperatures(lines) if any(line.card in _RUNS for line in lines) else ()


def one_number(text: str) -> bool:
    """Whether a ``.tran`` has an end alone."""
    words = [word for word in text.split()[1:] if word.lower() not in ("uic", "startup", "steady", "nodiscard", "step")]
    return len(words) == 1


def _strange(line: Line, own: Names) -> str | None:
    """Why the rules cannot read a line."""
    text, first = line.text, line.text[0].lower()
    words = text.split()
    if text.count("{") != text.count("}"):
        return "its braces do not match"
    if line.card == ".func" and not _FUNC.match(text):
        return "a function is NAME(ARGUMENTS) {EXPRESSION}"
    if first == "a" and words[-1].lower() not in own.models:
        return "an element of LTspice's own, or of a model that is not in this file"
    keys = {segment.key.lower() for segment in segments(line)}
    if first == "b" and not keys & {"i", "v", "r"}:
        return "a B source has I= or V="
    if first in "eg" and not keys & {"value", "vol", "cur", "table"}:
        plain = len(words) == 6 or (len(words) > 3 and words[3].lower().startswith("poly"))
        return None if plain else "neither VALUE nor TABLE nor POLY nor a gain"
    return None


def spots(tree: Expr, body: str, own: Names, line: Line, segment: ExpressionSpan) -> Iterator[tuple[str, int, str]]:
    """Rule, position and subject of what an expression holds."""
    source, known = own.in_source(line, segment), own.known(line)
    for match in re.finditer(r"\{[^{}]*[-+*/?<>=&|^][^{}]*\}", body):
        yield "braces", match.start(), match[0]
    for node in plain(tree):
        name = node.name.lower()
        written = body[node.start : node.end]
        if node.op == "call" and name not in own.functions and name not in ("v", "i"):
            if name in ("limit", "pwr") and not own.hspice:
                yield name, node.start, name
            elif own.hspice and name in SIGNED[source:] and may_be_negative(node.args[0]):
                yield "signed", node.start, name
            elif name == "u":
                yield "step", node.start, name
            elif name in MISSING or name not in KNOWN or (name == "uramp" and not source):
                yield "function", node.start, name
            elif name == "pow" and may_be_negative(node.args[0]) and not even(node.args[1]):
                yield "power", node.start, "pow"
        elif node.op == "name" and not own.hspice and is_constant(name, known, source=source):
            yield "constant", node.start, node.name
        elif node.op == "**" and may_be_negative(node.args[0]) and not even(node.args[1]):
            yield "power", node.start, "**"
        elif node.op == "==" and ends_in_m(node):
            yield "multiplier", node.start, written
        elif node.op == "^":
            yield "caret", node.args[0].end, "^"
        elif node.op in ("&", "|", "u~") or (node.op == "%" and source):
            yield "operator", node.start if node.op == "u~" else node.args[0].end, node.op.removeprefix("u")
        elif node.op in ("&&", "||", "u!", "cond") and not own.hspice:
            asked = node.args[:1] if node.op == "cond" else node.args
            if any(not boolean(arg) for arg in asked):
                yield "truth", node.start, ""
        elif node.op == "number" and middle_number(written):
            yield "number", node.start, written
        elif node.op == "number" and not source and MIL.search(written):
            yield "mil", node.start, written


SIGNED = ("pwr", "log", "log10", "sqrt")  # HSPICE's; in a source ngspice's pwr keeps the sign as well
MIL = re.compile(r"\d\.?mil", re.IGNORECASE)


def is_number(body: str) -> bool:
    """Whether an expression is free of voltages and currents."""
    return re.search(r"\b[vi]\s*\(", body, re.IGNORECASE) is None


def boolean(node: Expr) -> bool:
    """Whether a value is 0 or 1, so that both programs mean the same by true."""
    if node.op == "number":
        return node.value in (0.0, 1.0)
    if node.op == "call":
        return node.name.lower() in ("u", "stp", "inv", "buf")
    return node.op in TRUTHS or (node.op == "*" and all(boolean(arg) for arg in node.args))


def plain(tree: Expr) -> Iterator[Expr]:
    """The nodes of an expression without the names of circuit nodes and elements in V(...) and I(...)."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if not (node.op == "call" and node.name in ("V", "I")):
            waiting += reversed(node.args)


def is_constant(name: str, known: frozenset[str], *, source: bool) -> bool:
    """Whether a lower-case name is a constant of LTspice, or ``temp``, that ngspice does not have there."""
    if name in known or (source and name in ("pi", "e")):
        return False
    return name in CONSTANTS or name == "temp"


def ends_in_m(node: Expr) -> bool:
    """Whether the text of a comparison has ``m=`` in it: a name that ends in m stands before its sign."""
    first = node.args[0]
    bare = first.end - first.start == len(first.name)  # without brackets
    return first.op == "name" and bare and first.name.lower().endswith("m")


def even(exponent: Expr) -> bool:
    """Whether an exponent is an even number for every whole value of its parameters: 2, 2*p."""
    if exponent.op == "number":
        return exponent.value % 2.0 == 0.0
    return exponent.op == "*" and any(even(arg) for arg in exponent.args)


def may_be_negative(base: Expr) -> bool:
    """Whether a base may be negative; a plain parameter counts as positive."""
    if base.op in ("number", "name"):
        return False
    if base.op == "call":
        return base.name.lower() not in ("abs", "exp", "sqrt", "cosh", "uramp", "hypot", "u", "stp")
    if base.op in ("+", "*", "/"):
        return any(may_be_negative(arg) for arg in base.args)
    return True
