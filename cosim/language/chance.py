"""The random numbers of a netlist: agauss, gauss, aunif, unif and limit in expressions, and trrandom in a transient.

ngspice draws the functions when it reads a deck: anew at each use of a parameter that is defined by one, and for each
instance of a subcircuit; a parameter made of such a parameter holds one draw (release 46, as HSPICE). Decks with a
seed leave the drawing to ngspice: a library means here what it means there. In decks without one each function is its
mean, ``nominal``; that of limit, too, whose two values lie evenly about it.

Either way each call is written anew. ngspice reads arguments in a behavioural source as plain numbers: an
expression among them silently holds the function at its mean. ``agauss(n, a, s)`` becomes
``((n)+(a)/(s)*agauss(0,1,1))``, which is the same number everywhere. ngspice also accepts any number of
arguments; a wrong number is refused here (LTspice and PSpice have a clamp called limit, with three).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat

from cosim.errors import InputError, NetlistError
from cosim.language.netlist import Line, Netlist

LARGEST_SEED = 999_999_999  # what `cosim.language.hazards` lets a deck say

# The arguments of each function, and the same draw with arguments that are numbers.
_FUNCTIONS = {
    "agauss": (("nominal", "deviation", "sigmas"), "(({0})+({1})/({2})*agauss(0,1,1))"),
    "gauss": (("nominal", "relative deviation", "sigmas"), "(({0})*(1+({1})/({2})*agauss(0,1,1)))"),
    "aunif": (("nominal", "deviation"), "(({0})+({1})*aunif(0,1))"),
    "unif": (("nominal", "relative deviation"), "(({0})*(1+({1})*aunif(0,1)))"),
    "limit": (("nominal", "deviation"), "(({0})+({1})*limit(0,1))"),
}
_CALL = re.compile(rf"(?<![\w.$@#])({'|'.join(_FUNCTIONS)})\s*\(", re.IGNORECASE)
_NOISE = re.compile(r"\btr(noise|random)\b", re.IGNORECASE)
# What may look like a call and is the name of a function or of a code model.
_HEAD = re.compile(r"\.func\s+(\w+)\s*\([^)]*\)|\.model\s+\S+\s+\w+", re.IGNORECASE)
_TOLERANCE = re.compile(r"\.model\b.*? ((?:dev|lot)(?:/\w+)* ?=? ?[\d.]+ ?%)", re.IGNORECASE)
_MAX_NESTING = 20
_PARTS = ((".subckt", ".macro"), (".ends", ".eom"))


def check_seed(seed: int) -> int:
    """``seed``; raises `InputError` for one that ngspice does not take."""
    if not 0 < seed <= LARGEST_SEED:
        raise InputError(f"a seed of {seed} is out of range", remedy=f"give 1 to {LARGEST_SEED}")
    return seed


def functions_of(netlist: Netlist) -> list[Line]:
    """The lines that call a random function."""
    return [line for line, own in _with_own(netlist) if _may_call(line.text) and any(_calls(line.text, own))]


def noise_of(netlist: Netlist) -> list[Line]:
    """The sources whose value is random in time (``trrandom``), by the seed of their deck.

    Raises `NetlistError` for ``trnoise``: ngspice 46 seeds its generator from the process and the time, whatever the
    deck's seed.
    """
    found = []
    for line in netlist.lines:
        word = _NOISE.search(line.text) if line.text[0] in "vViI" else None
        if word is None or len(line.text[: word.start()].split()) < 3:  # one of its nodes
            continue
        if word[1].lower() == "noise":
            raise NetlistError(
                "ngspice cannot seed trnoise, and results would differ from run to run", where=line.where,
                remedy="write trrandom(2 NT 0 NA 0), Gaussian values that each last for NT",
            )  # fmt: skip
        found.append(line)
    return found


def refuse_tolerances(netlist: Netlist) -> None:
    """Raises `NetlistError` for a DEV or LOT tolerance, which ngspice ignores: samples would not vary by it."""
    for line in netlist.cards(".model"):
        if found := _TOLERANCE.match(" ".join(line.text.split())):
            raise NetlistError(
                f"ngspice ignores the tolerance {found[1]!r}: no sample would vary by it", where=line.where,
                remedy="write the value with agauss or unif",
            )  # fmt: skip


def settled(netlist: Netlist, *, draw: bool) -> Netlist:
    """``netlist`` with each call of a random function in the form that ngspice draws everywhere, or as its mean.

    Raises `NetlistError` for a call with another number of arguments.
    """
    lines = tuple(
        replace(line, text=_written(line, line.text, own, draw=draw)) if _may_call(line.text) else line
        for line, own in _with_own(netlist)
    )
    return replace(netlist, lines=lines)


def _with_own(netlist: Netlist) -> Iterator[tuple[Line, frozenset[str]]]:
    """Each line with the functions that a ``.func`` redefines for it: in its own subcircuit or further out."""
    if not any(_may_call(line.text) for line in netlist.lines if line.text[:5].lower() == ".func"):
        return zip(netlist.lines, repeat(frozenset()), strict=False)
    part, parts = 0, 0
    outer = {0: 0}
    defined: dict[int, set[str]] = {}
    at: list[int] = []
    for line in netlist.lines:
        card = line.card
        if card in _PARTS[0]:
            parts += 1
            outer[parts], part = part, parts
        elif card in _PARTS[1]:
            part = outer[part]
        elif card == ".func" and (head := _HEAD.match(line.text)) and head[1].lower() in _FUNCTIONS:
            defined.setdefault(part, set()).add(head[1].lower())
        at.append(part)
    visible: dict[int, frozenset[str]] = {0: frozenset(defined.get(0, ()))}
    for inner in range(1, parts + 1):  # what is further out came first
        visible[inner] = visible[outer[inner]] | defined.get(inner, set())
    return zip(netlist.lines, (visible[part] for part in at), strict=True)


def _may_call(text: str) -> bool:
    """Whether a line is worth a closer look: few lines of a kit are."""
    lower = text.lower()
    return "gauss" in lower or "unif" in lower or "limit" in lower


def _calls(text: str, own: frozenset[str]) -> Iterator[re.Match[str]]:
    head = _HEAD.match(text)
    return (call for call in _CALL.finditer(text, head.end() if head else 0) if call[1].lower() not in own)


def _written(line: Line, text: str, own: frozenset[str], *, draw: bool, depth: int = 0) -> str:
    if depth > _MAX_NESTING:
        raise NetlistError(
            f"random functions nest deeper than {_MAX_NESTING}", where=line.where, remedy="name parts of the expression"
        )
    found, done = [], 0
    for call in _calls(text, own):
        if call.start() < done:
            continue  # within the arguments of another
        name = call[1].lower()
        names, drawn = _FUNCTIONS[name]
        arguments, end = _arguments(text, call.end())
        if len(arguments) != len(names):
            clamp = name == "limit" and len(arguments) == 3
            raise NetlistError(
                f"{name} takes {len(names)} arguments in ngspice, where it draws a random number:  "
                f"{text[call.start() : end][:60]!r}",
                where=line.where,
                remedy="write min(max(x, low), high) for a clamp" if clamp else f"write {name}({', '.join(names)})",
            )  # fmt: skip
        plain = [_written(line, argument, own, draw=draw, depth=depth + 1) for argument in arguments]
        found += [text[done : call.start()], drawn.format(*plain) if draw else f"({plain[0]})"]
        done = end
    return "".join([*found, text[done:]])


def _arguments(text: str, start: int) -> tuple[list[str], int]:
    """The arguments of a call whose parenthesis opens before ``start``, without blanks, braces and quotes; its end."""
    depth, begin, found = 1, start, []
    for k in range(start, len(text)):
        depth += (text[k] in "([{") - (text[k] in ")]}")
        if depth == 0 or (depth == 1 and text[k] == ","):
            found.append("".join(text[begin:k].split()).strip("'\""))
            begin = k + 1
        if depth == 0:
            return [re.sub(r"^\{([^{}]*)\}$", r"\1", argument) for argument in found if argument], k + 1
    return [], len(text)
