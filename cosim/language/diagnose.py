"""What is wrong with a netlist, in a user's words: asked after an engine has refused it.

ngspice's own messages name expanded lines and internal numbers. These checks find the frequent mistakes in the text
as it was written: a line too short, a subcircuit, model or parameter that nobody defined, a block that is not closed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from cosim.errors import NetlistError, UnknownName, Where
from cosim.language.netlist import Line, Netlist
from cosim.language.numbers import spice_number

MAX_ELEMENTS = 5_000_000
MAX_NESTING = 100

# Words that a line needs at least, its name included.
_SHORTEST = {
    "r": (4, "two nodes and a value"), "c": (4, "two nodes and a value"), "l": (4, "two nodes and a value"),
    "k": (4, "two inductors and a coupling"), "v": (3, "two nodes"), "i": (3, "two nodes"),
    "b": (4, "two nodes and an expression"), "e": (4, "two nodes and what controls it"),
    "g": (4, "two nodes and what controls it"), "f": (5, "two nodes, a source and a gain"),
    "h": (5, "two nodes, a source and a gain"), "d": (4, "two nodes and a model"),
    "q": (5, "three nodes and a model"), "j": (5, "three nodes and a model"), "m": (5, "its nodes and a model"),
    "z": (5, "three nodes and a model"), "s": (6, "four nodes and a model"), "w": (5, "two nodes, a source, a model"),
    "t": (5, "four nodes and its parameters"), "x": (2, "a subcircuit"), "n": (3, "its nodes and a model"),
}  # fmt: skip
_MODEL_AT = {"d": 3, "q": 4, "j": 4, "m": 4, "z": 4, "s": 5, "w": 4, "n": 2, "a": 1}
_EXPRESSION = re.compile(r"\{([^{}]*)\}|'([^']*)'")
_CALL_OR_NAME = re.compile(r"(?<![\w.$@])([A-Za-z_]\w*)\s*(\()?")
_ASSIGNED = re.compile(r"([A-Za-z_]\w*)\s*(?:\([^)]*\)\s*)?=(?!=)")
_WORDS_OF_EXPRESSIONS = frozenset(
    """time temper hertz temp pi e c boltz kelvin echarge planck true false and or not if else var vt v i exp ln log
    log10 sqrt abs sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh atan2 min max int nint floor ceil sgn
    sign pow pwr pwrs pwl limit uramp u u2 ternary_fcn agauss gauss aunif unif random defined m scale gmin reltol
    vntol abstol sgn ddt idt sdt table valif dummy w l ad as pd ps nrd nrs tc1 tc2 version""".split()  # noqa: SIM905
)


def diagnose(netlist: Netlist) -> list[NetlistError | UnknownName]:
    """The mistakes that the text shows, in its order; empty where these checks find nothing."""
    found: list[NetlistError | UnknownName] = []
    for check in (_lengths, _braces, _twice, _blocks, _subcircuits, _models, _parameters):
        found += check(netlist)
    return sorted(found, key=lambda error: (error.where.line or 0) if error.where is not None else 0)


def check_expansion(netlist: Netlist) -> None:
    """Raises `NetlistError` for a subcircuit that contains itself, or one that unfolds into more than `MAX_ELEMENTS`.

    An engine would unfold it until it runs out of memory or time.
    """
    bodies: dict[str, list[tuple[str, Line]]] = {}
    own: dict[str, int] = {}
    stack = [""]
    for line in netlist.lines:
        first = line.text[0]
        if first == ".":
            if line.card in (".subckt", ".macro"):
                stack.append(line.text.split(None, 2)[1].lower() if " " in line.text.strip() else "")
            elif line.card in (".ends", ".eom") and len(stack) > 1:
                stack.pop()
            continue
        own[stack[-1]] = own.get(stack[-1], 0) + 1
        if first in "xX" and (plain := _before_parameters(re.sub(r"\s*=\s*", "=", line.text).split())):
            bodies.setdefault(stack[-1], []).append((plain[-1].lower(), line))

    sizes: dict[str, int] = {}

    def size(name: str, line: Line | None, above: tuple[str, ...]) -> int:
        if name in above:
            raise NetlistError(
                f"subcircuit {name!r} contains itself", where=line.where if line else None, remedy="break the circle"
            )
        if len(above) > MAX_NESTING:
            raise NetlistError(
                f"subcircuits nest deeper than {MAX_NESTING}", where=line.where if line else None,
                remedy="flatten some of them",
            )  # fmt: skip
        if name not in sizes:
            calls = bodies.get(name, ())
            sizes[name] = own.get(name, 0) + sum(size(called, call, (*above, name)) for called, call in calls)
        return sizes[name]

    total = size("", None, ())
    if total > MAX_ELEMENTS:
        raise NetlistError(
            f"the netlist unfolds into {total:.3g} elements, more than {MAX_ELEMENTS:.3g}",
            where=Where(netlist.source), remedy="simulate a part of it",
        )  # fmt: skip


def _elements(netlist: Netlist) -> Iterator[tuple[Line, list[str]]]:
    for line in netlist.lines:
        if not line.text.startswith("."):
            yield line, re.sub(r"\s*=\s*", "=", line.text).split()


def _lengths(netlist: Netlist) -> Iterator[NetlistError]:
    for line, words in _elements(netlist):
        least, needs = _SHORTEST.get(words[0][0].lower(), (1, ""))
        if len(words) < least:
            yield NetlistError(f"{words[0]} is incomplete: {line.text!r}", where=line.where, remedy=f"it needs {needs}")


def _braces(netlist: Netlist) -> Iterator[NetlistError]:
    """A line with a brace that is not closed, or not open."""
    for line in netlist.lines:
        if line.text.count("{") != line.text.count("}"):
            lacks = "{" if line.text.count("}") > line.text.count("{") else "}"
            yield NetlistError(
                f"{line.text[:60]!r} has a brace without its pair",
                where=line.where,
                remedy=f"write the missing {lacks}",
            )


def _twice(netlist: Netlist) -> Iterator[NetlistError]:
    """An element whose name another one of the same subcircuit has."""
    seen: list[dict[str, Line]] = [{}]
    choices = 0
    for line in netlist.lines:
        card = line.card
        choices += (card == ".if") - (card == ".endif")
        if choices > 0:
            continue  # of several branches one is taken
        if card in (".subckt", ".macro"):
            seen.append({})
        elif card in (".ends", ".eom") and len(seen) > 1:
            seen.pop()
        elif not card:
            name = line.text.split(None, 1)[0]
            first = seen[-1].setdefault(name.lower(), line)
            if first is not line:
                yield NetlistError(
                    f"{name} is there already, in {first.where}", where=line.where, remedy="give it another name"
                )


def _blocks(netlist: Netlist) -> Iterator[NetlistError]:
    pairs = {".subckt": ".ends", ".macro": ".eom", ".if": ".endif"}
    closing = {".ends": ".subckt", ".eom": ".macro", ".endif": ".if"}
    open_heads: list[Line] = []
    for line in netlist.lines:
        card = line.card
        if card in pairs:
            open_heads.append(line)
        elif card in closing:
            if not open_heads or pairs[open_heads[-1].card] != card:
                yield NetlistError(f"{card} has nothing to close", where=line.where, remedy="remove it, or open one")
            else:
                open_heads.pop()
    for head in open_heads:
        yield NetlistError(
            f"{head.text[:40]!r} is not closed", where=head.where, remedy=f"add {pairs[head.card]} after its last line"
        )


def _subcircuits(netlist: Netlist) -> Iterator[UnknownName | NetlistError]:
    ports: dict[str, int] = {}
    for line in netlist.cards(".subckt", ".macro"):
        words = _before_parameters(re.sub(r"\s*=\s*", "=", line.text).split()[1:])
        if words:
            ports[words[0].lower()] = len(words) - 1
    for line, words in _elements(netlist):
        if words[0][0].lower() != "x":
            continue
        plain = _before_parameters(words)
        name = plain[-1].lower()
        if len(plain) < 2 or name not in ports:
            yield UnknownName("subcircuit", plain[-1] if len(plain) > 1 else "", ports, where=line.where)
        elif len(plain) - 2 != ports[name]:
            yield NetlistError(
                f"{words[0]} has {len(plain) - 2} nodes, subcircuit {name!r} has {ports[name]}", where=line.where,
                remedy="give as many nodes as its .subckt line",
            )  # fmt: skip


def _before_parameters(words: Iterable[str]) -> list[str]:
    plain: list[str] = []
    for word in words:
        if "=" in word or word.lower() == "params:":
            break
        plain.append(word)
    return plain


def _models(netlist: Netlist) -> Iterator[UnknownName]:
    known = {words[1].lower() for line in netlist.cards(".model") if len(words := line.text.split()) > 1}
    known |= {name.partition(".")[0] for name in known}  # binned models: nch.1, nch.2
    for line, words in _elements(netlist):
        first = _MODEL_AT.get(words[0][0].lower())
        plain = _before_parameters(words)
        if first is None or len(plain) <= first:
            continue
        if not any(word.lower() in known for word in plain[first:]):
            name = next((word for word in reversed(plain[first:]) if spice_number(word) is None), plain[-1])
            yield UnknownName("model", name, known, where=line.where)


def _parameters(netlist: Netlist) -> Iterator[UnknownName]:
    known: set[str] = set()
    for line in netlist.cards(".param", ".params", ".subckt", ".macro", ".func", ".csparam"):
        known |= {name.lower() for name in _ASSIGNED.findall(line.text)}
        if line.card == ".func" and (match := re.match(r"\.func\s+(\w+)\s*\(([^)]*)\)", line.text, re.IGNORECASE)):
            known |= {match[1].lower(), *(name.strip().lower() for name in match[2].split(","))}
    for line, _ in _elements(netlist):
        if line.text[0] in "xX":
            known |= {name.lower() for name in _ASSIGNED.findall(line.text)}
    for line in netlist.lines:
        if line.card in (".save", ".print", ".plot", ".meas", ".measure", ".func"):
            continue
        for braces, quotes in _EXPRESSION.findall(line.text):
            for name, call in _CALL_OR_NAME.findall(_without_accesses(braces or quotes)):
                lower = name.lower()
                if lower in known or lower in _WORDS_OF_EXPRESSIONS or (call and lower in known):
                    continue
                yield UnknownName("parameter", name, known, where=line.where)


def _without_accesses(expression: str) -> str:
    """The expression without node and branch accesses, quoted words and numbers with their suffixes."""
    cleaned = re.sub(r"\b[vViI]\s*\([^()]*\)|\"[^\"]*\"|@\S+\[[^\]]*\]", " ", expression)
    return re.sub(r"(?<![\w])(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[A-Za-z]*", " ", cleaned)
