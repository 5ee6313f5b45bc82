"""What of LTspice, PSpice and HSPICE ngspice silently reads as something else: noted beside a run.

``4k7`` is 4700 in LTspice and 4000 in ngspice. ``IC=`` of a capacitor or an inductor is followed there by every
transient, in ngspice by one with ``uic`` alone. HSPICE runs at 25 degC, ngspice at 27. The rest of those languages is
`cosim.lint`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cosim.language.lt_syntax import HSPICE_TEMP, TEMP, untold_temperatures
from cosim.language.netlist import Line, Netlist
from cosim.language.numbers import MIL

_MIDDLE = re.compile(r"(?<![\w.{])(\d+)(meg|[tgkmunpf])(\d+)(?!\w)", re.IGNORECASE)
_BRACES = re.compile(r"\{[^{}]*\}|'[^']*'")
_VALUED = "rRcClLvViI"
_IC = re.compile(r"\bic\s*=\s*([^\s]+)", re.IGNORECASE)
_SET = re.compile(r"v\s*\(\s*([^\s(),]+)\s*\)\s*=", re.IGNORECASE)
_UIC = re.compile(r"\buic\s*$", re.IGNORECASE)


def notes(netlist: Netlist) -> tuple[str, ...]:
    """Sentences on numbers and initial conditions that ngspice reads differently from what their writer meant."""
    return (*_middles(netlist), *_mils(netlist), *_conditions(netlist))


def temperatures(lines: Sequence[Line]) -> tuple[str, ...]:
    """A sentence on a deck of HSPICE that says no temperature."""
    if not (cards := untold_temperatures(lines)):
        return ()
    return (
        f"the deck looks like HSPICE's, whose temperatures are {HSPICE_TEMP:g} degC where none are given; ngspice's "
        f"are {TEMP:g}, as here: write {' and '.join(cards)}, or .temp {TEMP:g} where that is meant",
    )


def _middles(netlist: Netlist) -> Iterator[str]:
    for line in netlist.lines:
        if line.text[0] in _VALUED and _MIDDLE.search(line.text):
            _, _, _, *rest = line.text.split(None, 3)
            for match in _MIDDLE.finditer(rest[0] if rest else ""):
                number, suffix, behind = match.groups()
                yield f"{line.where}: {match[0]} is {number}{suffix} in ngspice; write {number}.{behind}{suffix}"


def _mils(netlist: Netlist) -> Iterator[str]:
    for line in netlist.lines:
        text = line.text.lower()
        if "mil" not in text or line.card in (".model", ".meas", ".measure"):
            continue
        whole = line.card in (".param", ".params", ".subckt", ".macro") or text[0] == "x"
        for part in [text] if whole else _BRACES.findall(text):
            for match in MIL.finditer(part):
                yield f"{line.where}: {match[0]} of a parameter is milli in ngspice; write {match[1]}*25.4e-6 for mils"


def _conditions(netlist: Netlist) -> Iterator[str]:
    transients = list(netlist.cards(".tran"))
    if not transients or all(_UIC.search(line.text) for line in transients):
        return
    held = {node.lower() for line in netlist.cards(".ic") for node in _SET.findall(line.text)}
    held |= {node.rpartition(".")[2] for node in held}
    for line in netlist.lines:
        if line.text[0] in "cClL" and "=" in line.text and (given := _IC.search(line.text)) and not _holds(line, held):
            name, node = line.text.split()[:2]
            way = f"add uic to the .tran, or write .ic V({node})={given[1]}" if name[0] in "cC" else "add uic to it"
            yield f"{line.where}: ic= of {name} is ignored: the .tran has no uic; {way}"


def _holds(line: Line, held: set[str]) -> bool:
    return bool(held & {node.lower() for node in line.text.split()[1:3]})
