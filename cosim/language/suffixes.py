"""Numbers whose suffix looks like a unit and is a power of ten: ``2A`` is 2e-18, ``1F`` 1e-15, and ``5M`` 5e-3.

SPICE's letters have no case, but their writers do: a capital A behind a current, F behind a capacitance and M behind a
resistance or a frequency mostly mean ampere, farad and mega. In lower case they are taken as intended: ``10f`` is
how a capacitor of 10 fF is written, and an inductor's ``1M`` is a millihenry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cosim.language.netlist import Line, Netlist
from cosim.language.numbers import spice_number

_TRAP = re.compile(
    r"(?<![\w.])([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"(?:(A)(?:mp\w*|MP\w*)?|(F)(?:arad\w*|ARAD\w*)?|(M)(?:[oO]hms?|OHMS?|Hz|HZ)?)(?![\w.])"
)
_PREFIX = {"A": "atto", "F": "femto", "M": "milli"}
# By the first letter of an element, or of a parameter's name: the letter that is a trap in its value.
_UNIT = {"i": "A", "c": "F", "r": "M"}
_WAVE = re.compile(r"\b(?:sin|sffm|am)\s*\(?([^()]*)", re.IGNORECASE)
_ASSIGNED = re.compile(r"\b([A-Za-z])\w*\s*=\s*(?=[+\-.\d])")
_FREQUENCIES = {".ac": 3, ".noise": 4, ".disto": 3, ".sp": 3}  # the word where they begin
_FOURIER = (".four", ".fourier")


@dataclass(frozen=True)
class Trap:
    """One such number: where it stands in its logical line, and the sentence on it."""

    line: Line
    start: int
    says: str
    remedy: str


def traps(lines: Sequence[Line]) -> Iterator[Trap]:
    """The numbers of ``lines`` that look like another quantity than they are."""
    for line in lines:
        if not ("A" in line.text or "F" in line.text or "M" in line.text):
            continue
        found = list(_TRAP.finditer(line.text))
        for match in found:
            letter = match[2] or match[3] or match[4]
            if letter in _expected(line, match.start()):
                value = spice_number(match[0])
                meant = f"{match[1]}Meg" if letter == "M" else match[1]
                yield Trap(
                    line,
                    match.start(),
                    f"{match[0]} is {value:g}, for {letter} is {_PREFIX[letter]} in SPICE",
                    f"write {meant}, or {match[1]}{letter.lower()} where that is meant",
                )


def _expected(line: Line, at: int) -> str:
    """The letters that are traps for a number at ``at`` in a line."""
    text, card = line.text, line.card
    words = len(text[:at].split()) - (not text[at - 1 : at].isspace())  # words before the one that it stands in
    if card in _FREQUENCIES:
        return "M" if words >= _FREQUENCIES[card] else ""
    if card in _FOURIER:
        return "M" if words == 1 else ""
    assigned = [match for match in _ASSIGNED.finditer(text[: at + 1]) if match.end() == at]
    if assigned:
        first = text[0].lower()
        named = card in (".param", ".params", ".subckt", ".macro") or first == "x"
        whole = first in _UNIT and assigned[0][0].rstrip("= \t").lower() in (first, "dc", "value")
        return _UNIT.get(assigned[0][1].lower(), "") if named else _UNIT[first] if whole else ""
    if card or words < 3:  # an element's name and nodes
        return ""
    first = text[0].lower()
    wave = _WAVE.search(text) if first in "vi" else None
    if wave is not None and wave.start(1) <= at < wave.end(1) and len(text[wave.start(1) : at].split()) == 2:
        return "M" + _UNIT.get(first, "")
    return _UNIT.get(first, "")


def notes(netlist: Netlist) -> tuple[str, ...]:
    """Sentences on the traps in the user's own files; a kit from elsewhere is taken at its word."""
    found = traps(netlist.own_lines())
    return tuple(f"{trap.line.where}: {trap.says}; {trap.remedy}" for trap in found)
