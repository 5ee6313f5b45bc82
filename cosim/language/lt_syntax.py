"""LTspice netlists as elements, cards and expressions, as far as memristor subcircuits use the language.

Meanings after LTspice's documented behaviour: ``**`` and ``pow`` give the real part of a power, ``pwr`` takes the
magnitude, ``^`` is a Boolean exclusive or, a value above 0.5 is true.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cosim.language.expressions import (
    LTSPICE_LEVELS,
    SPICE_LEVELS,
    Cursor,
    Dialect,
    Expr,
    ExpressionParser,
    Token,
    Unreadable,
)
from cosim.language.netlist import Line
from cosim.language.numbers import spice_number

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[A-Za-z]*\d*)
    |(?P<access>\b[vViI]\s*\([^()]*\))
    |(?P<name>[A-Za-z_@\#$][\w.:\#$@]*)
    |(?P<op>\*\*|==|!=|<=|>=|&&|\|\||[-+*/%<>!~&|^?:,(){}'])
    """,
    re.VERBOSE,
)
_MIDDLE = re.compile(r"(\d+)([a-zA-Z]+?)(\d+)$")
_SCALE = re.compile(r"[\d.]+(?:[eE][+-]?\d+)?")


def middle_number(text: str) -> str:
    """``4k7`` as ``4.7k``; empty for any other number."""
    match = _MIDDLE.match(text)
    if match is None or match[2].lower() == "e":
        return ""
    suffix = "" if match[2].lower() == "r" else match[2]
    return f"{match[1]}.{match[3]}{suffix}"


def _number(token: Token) -> tuple[float, bool]:
    value = spice_number(middle_number(token.text) or token.text)
    if value is None:
        raise Unreadable(f"{token.text!r} is not a number", token.start)
    return value, False


def unclosed(text: str) -> int:
    """How many brackets of ``text`` are open at its end."""
    return max(0, text.count("(") - text.count(")"))


def parse_expression(text: str, *, caret_is_power: bool = False) -> Expr:
    """The tree of an LTspice expression; ``V(a,b)`` is a call with its nodes as names. Raises `Unreadable`.

    ``^`` binds as an exclusive or, loosely, or as a power, tighter than any other. Brackets that are open at
    the end are closed there, as LTspice does.
    """
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise Unreadable(f"{text[position]!r} is not read", position)
        kind = match.lastgroup or "op"
        if kind != "space":
            tokens.append(Token(kind, match[0], match.start(), match.end()))
        position = match.end()
    end = len(text)
    tokens += [Token("op", ")", end, end)] * unclosed(text)
    tokens.append(Token("end", "", end, end))
    parser = _Parser(SPICE_LEVELS if caret_is_power else LTSPICE_LEVELS, _number)
    cursor = Cursor(tokens)
    found = parser.parse(cursor)
    if cursor.here.kind != "end":
        raise Unreadable(f"{cursor.here.text!r} is not read here", cursor.here.start)
    return found


class _Parser(ExpressionParser):
    def _primary(self, cursor: Cursor) -> Expr:
        if cursor.here.kind == "access":
            token = cursor.take()
            inner = token.text[token.text.index("(") + 1 : -1]
            args = tuple(Expr("name", token.start, token.end, name=part.strip()) for part in inner.split(","))
            return Expr("call", token.start, token.end, name=token.text[0].upper(), args=args)
        return super()._primary(cursor)


def _power(x: float, y: float) -> float:
    if x >= 0.0:
        return math.pow(x, y) if x > 0.0 or y >= 0.0 else math.inf
    return math.pow(-x, y) * math.cos(math.pi * y)


def _hspice_power(x: float, y: float) -> float:
    return math.pow(x, y) if x > 0.0 else math.pow(x, round(y)) if x < 0.0 else 0.0


def _table(x: float, *points: float) -> float:
    pairs = sorted(zip(points[::2], points[1::2], strict=True))
    if x <= pairs[0][0]:
        return pairs[0][1]
    for (x0, y0), (x1, y1) in pairwise(pairs):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return pairs[-1][1]


def _sign(x: float) -> float:
    return float((x > 0.0) - (x < 0.0))


FUNCTIONS: dict[str, Callable[..., float]] = {
    "exp": math.exp, "ln": math.log, "log": math.log, "log10": math.log10, "abs": abs, "min": min, "max": max,
    "sqrt": lambda x: math.sqrt(x) if x > 0.0 else 0.0, "pow": _power, "pwr": lambda x, y: _power(abs(x), y),
    "pwrs": lambda x, y: _sign(x) * _power(abs(x), y), "sgn": _sign, "u": lambda x: float(x > 0.0),
    "stp": lambda x: float(x > 0.0), "uramp": lambda x: max(x, 0.0), "limit": lambda x, a, b: sorted((x, a, b))[1],
    "if": lambda c, a, b: a if c > 0.5 else b, "table": _table, "tbl": _table, "inv": lambda x: float(x <= 0.5),
    "buf": lambda x: float(x > 0.5), "hypot": math.hypot, "int": lambda x: float(math.trunc(x)),
    "round": lambda x: float(math.floor(x + 0.5)), "floor": lambda x: float(math.floor(x)),
    "ceil": lambda x: float(math.ceil(x)), "sin": math.sin, "cos": math.cos, "tan": math.tan, "asin": math.asin,
    "acos": math.acos, "atan": math.atan, "arctan": math.atan, "arcsin": math.asin, "arccos": math.acos,
    "atan2": math.atan2, "sinh": math.sinh, "cosh": math.cosh, "tanh": math.tanh, "asinh": math.asinh,
    "acosh": math.acosh, "atanh": math.atanh, "square": lambda x: x * x, "fabs": abs,
    "cbrt": lambda x: math.copysign(abs(x) ** (1.0 / 3.0), x), "mod": math.fmod,
}  # fmt: skip
# Predefined in LTspice; the exact SI values, from which LTspice's differ in the seventh digit.
CONSTANTS: dict[str, float] = {
    "pi": math.pi, "e": math.e, "boltz": 1.380649e-23, "k": 1.380649e-23, "echarge": 1.602176634e-19,
    "q": 1.602176634e-19, "planck": 6.62607015e-34, "kelvin": -273.15, "true": 1.0, "false": 0.0,
}  # fmt: skip
TEMP = 27.0  # degrees Celsius, where no card says otherwise


# HSPICE's meanings where they are others: a power by the whole part, and what keeps the sign of a negative number.
HSPICE: dict[str, Callable[..., float]] = {
    "pow": lambda x, y: math.pow(x, math.trunc(y)), "pwr": lambda x, y: _sign(x) * math.pow(abs(x), y),
    **{name: lambda x, of=of: _sign(x) * of(abs(x)) for name, of in
       (("log", math.log), ("log10", math.log10), ("sqrt", math.sqrt))},
    "db": lambda x: _sign(x) * 20.0 * math.log10(abs(x)), "nint": lambda x: _sign(x) * math.floor(abs(x) + 0.5),
    "sign": lambda x, y: math.copysign(abs(x), y),
}  # fmt: skip
_HSPICE = re.compile(  # not cur= and vol=, which are ngspice's too
    r"\.(hdl|alter|data)\b|\.(tran|dc|ac)\s.*\bsweep\b|\.opt\w*\s.*\b(post|ingold|runlvl|lvltim|gmindc|accurate|probe)\b|.*\bgnd!",
    re.IGNORECASE,
)


def is_hspice(lines: Sequence[Line]) -> bool:
    """Whether a netlist is written for HSPICE: by its options, sweeps and name of ground."""
    return any(map(_of_hspice, lines))


def _of_hspice(line: Line) -> bool:
    may = line.text[0] == "." or "!" in line.text  # what is quick to see
    return may and _HSPICE.match(line.text) is not None


HSPICE_TEMP = 25.0  # degrees Celsius, of the circuit and of its models, where a deck of HSPICE says no other


def untold_temperatures(lines: Sequence[Line]) -> tuple[str, ...]:
    """The cards that would give a deck the temperatures at which HSPICE runs it and ngspice does not; empty for a deck
    that says its own, that asks for those of SPICE (``.option spice``), or that is not HSPICE's.

    Where ``tnom`` alone is given, it is the circuit's as well.
    """
    options = " ".join(line.text for line in lines if line.card.startswith(".opt")).lower()
    words = set(re.findall(r"[a-z]\w*", options))
    told = "temp" in words or any(line.card == ".temp" for line in lines)
    if "spice" in words or (told and "tnom" in words) or not is_hspice(lines):
        return ()
    reference = re.search(r"\btnom\s*=\s*(\{[^}]*\}|'[^']*'|\S+)", options)
    temperature = f".temp {reference[1] if reference else f'{HSPICE_TEMP:g}'}"
    cards = [] if told else [temperature]
    return (*cards, *([] if "tnom" in words else [f".options tnom={HSPICE_TEMP:g}"]))


def dialect(*, caret_is_power: bool, hspice: bool = False) -> Dialect:
    """LTspice's or HSPICE's meanings; ``^`` is a power where its author meant one."""
    if hspice:
        return Dialect(FUNCTIONS | HSPICE, _hspice_power, caret_is_power=True)
    return Dialect(FUNCTIONS, _power, true=lambda x: x > 0.5, caret_is_power=caret_is_power)


@dataclass(frozen=True)
class ExpressionSpan:
    """An expression in a logical line, at ``start``..``end`` without its brackets; ``key`` names its parameter."""

    start: int
    end: int
    key: str
    bare: bool  # written without brackets or quotes


@dataclass
class Element:
    """An element line: its name, nodes, and expressions by lower-case key ("i", "v", "r", "value", "ic", ...)."""

    line: Line
    name: str
    nodes: tuple[str, ...]
    given: dict[str, str] = field(default_factory=dict)

    @property
    def volts(self) -> str | None:
        """The expression of the voltage that it fixes; None for an element that fixes none."""
        kind = self.name[0].lower()
        if kind == "v":
            return self.given.get("dc", "0")
        return self.given.get("v") if kind == "b" else self.given.get("value") if kind == "e" else None


_ASSIGN = re.compile(r"(?<![\w.])([A-Za-z_]\w*(?:\s*\([^()=]*\))?)\s*=(?!=)\s*")
_ABM = re.compile(r"(value|vol|cur|table)\s*=?\s*(?=[{'])", re.IGNORECASE)
_PAIR = re.compile(r"[^\s,()=]+")
_NODES = {"b": 2, "g": 2, "e": 2, "r": 2, "c": 2, "l": 2, "v": 2, "i": 2, "d": 2, "s": 4}


def assignments(text: str, start: int = 0) -> Iterator[ExpressionSpan]:
    """Each ``name = expression`` of a line from ``start`` on."""
    heads = [m for m in _ASSIGN.finditer(text, start) if not _nested(text, start, m.start())]
    for match, after in zip(heads, [*heads[1:], None], strict=False):
        end = after.start() if after is not None else len(text)
        yield _unbracketed(text, match.end(), end, match[1])


def apart(line: Line) -> list[Line]:
    """A ``.param`` card that defines functions among other things, as a card for each function and one for the rest."""
    if line.card not in (".param", ".params", ".para"):
        return [line]
    spans = list(assignments(line.text, len(line.card)))
    if len(spans) < 2 or not any("(" in span.key for span in spans):
        return [line]
    begins = [line.text.rindex(span.key, 0, span.start) for span in spans]
    found: list[str] = []
    for span, begin, end in zip(spans, begins, [*begins[1:], len(line.text)], strict=True):
        piece = line.text[begin:end].strip()
        if "(" in span.key or not found or "(" in found[-1].partition("=")[0]:
            found.append(f"{line.text[: len(line.card)]} {piece}")
        else:
            found[-1] += f" {piece}"
    return [Line(text, line.where) for text in found]


def _nested(text: str, start: int, position: int) -> bool:
    part = text[start:position]
    return part.count("{") > part.count("}") or part.count("(") > part.count(")") or part.count("'") % 2 == 1


def _unbracketed(text: str, start: int, end: int, key: str) -> ExpressionSpan:
    while end > start and text[end - 1].isspace():
        end -= 1
    body = text[start:end]
    if (
        len(body) > 1
        and (body[0], body[-1]) in (("{", "}"), ("'", "'"))
        and body[1:-1].count("{") == body[1:-1].count("}")
    ):
        return ExpressionSpan(start + 1, end - 1, key, False)
    return ExpressionSpan(start, end, key, True)


def segments(line: Line) -> list[ExpressionSpan]:
    """The expressions of a logical line."""
    text = line.text
    first = text[0].lower()
    if line.card in (".param", ".params", ".para", ".subckt", ".macro"):
        return list(assignments(text, len(line.card)))
    if line.card == ".func":
        match = re.match(r"\.func\s+\w+\s*\([^)]*\)\s*=?\s*", text, re.IGNORECASE)
        return [_unbracketed(text, match.end(), len(text), "func")] if match else []
    if line.card == ".ic":
        return [_unbracketed(text, match.end(), end, "ic") for match, end in _ic(text)]
    if first == ".":
        return [] if line.card in (".meas", ".measure", ".control") else list(_braces(text, ()))
    found = []
    words = list(re.finditer(r"\S+", text))
    count = _NODES.get(first, 0)
    if first in "eg" and len(words) > count + 1 and (head := _ABM.match(text, words[count + 1].start())):
        end = _closing(text, head.end())
        found.append(ExpressionSpan(head.end() + 1, end, head[1].lower(), False))
    elif first in "begrcliv" and len(words) > count + 1:
        begin = words[count + 1].start()
        keyed = list(assignments(text, begin))
        if first in "rcl" and not _ASSIGN.match(text, begin):
            stop = keyed[0].start if keyed else len(text)
            stop = next((m.start() for m in _ASSIGN.finditer(text, begin)), stop)
            found.append(_unbracketed(text, begin, stop, "value"))
        found += keyed
    elif first == "x":
        found += list(assignments(text))
    return found + list(_braces(text, found))


def _closing(text: str, start: int) -> int:
    """Where the bracket or quote at ``start`` ends; the text's end where it does not."""
    if text[start] == "'":
        found = text.find("'", start + 1)
        return found if found > 0 else len(text)
    depth = 0
    for position in range(start, len(text)):
        depth += (text[position] in "({") - (text[position] in ")}")
        if depth == 0:
            return position
    return len(text)


def _braces(text: str, known: Sequence[ExpressionSpan]) -> Iterator[ExpressionSpan]:
    """The expressions in braces without a key: those of a pulse, of a model's area."""
    position = 0
    while (start := text.find("{", position)) >= 0:
        covering = next((s for s in known if s.start - 1 <= start < s.end), None)
        if covering is not None:
            position = covering.end
            continue
        position = _closing(text, start)
        yield ExpressionSpan(start + 1, position, "brace", False)


def table_points(line: Line, segment: ExpressionSpan) -> list[str]:
    """x and y in turn of ``TABLE {expression} = (x, y) (x, y)``."""
    return _PAIR.findall(line.text[segment.end + 1 :])


def is_source(line: Line, segment: ExpressionSpan) -> bool:
    """Whether an expression belongs to a source: it may contain voltages, and ngspice's sources know pi and e."""
    first, key = line.text[0].lower(), segment.key.lower()
    if first in "beg":
        return key not in ("brace", "ic")
    return first in "rcl" and re.search(r"\b[vi]\s*\(", line.text[segment.start : segment.end], re.I) is not None


def _ic(text: str) -> Iterator[tuple[re.Match[str], int]]:
    heads = list(re.finditer(r"[vV]\s*\([^()]*\)\s*=\s*", text))
    for match, after in zip(heads, [*heads[1:], None], strict=False):
        yield match, after.start() if after is not None else len(text)


def element(line: Line) -> Element:
    """An element line in parts."""
    words = line.text.split()
    first = line.text[0].lower()
    count = _NODES.get(first, 0)
    found = segments(line)
    given = {segment.key.lower(): line.text[segment.start : segment.end] for segment in found}
    if first == "v" and "=" not in line.text and len(words) > 3:
        given["dc"] = words[3] if words[3].lower() != "dc" else words[4]
    if first in "eg":
        for segment in found:
            if segment.key == "table":
                given["value"] = f"table({', '.join([given['table'], *table_points(line, segment)])})"
            elif segment.key in ("vol", "cur"):
                given["value"] = given[segment.key]
        if "value" not in given and len(words) == 6:
            given["value"] = f"({words[5].strip('{}')})*V({words[3]},{words[4]})"
    return Element(line, words[0], tuple(word.lower() for word in words[1 : 1 + count]), given)
