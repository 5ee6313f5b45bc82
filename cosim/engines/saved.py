"""Vectors that a deck asks for and its circuit does not have.

An engine silently leaves them out, or takes one of its constants for a node of that name.

Nodes and branch currents at the top of the circuit, ``v(out)`` and ``i(v1)``, are checked. What stands inside a
subcircuit or a compiled model, differences and parameters of devices are left to the engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from cosim.errors import UnknownName, Where
from cosim.language.floating import nodes_of
from cosim.language.netlist import Line, Netlist

_SIMPLE = re.compile(r"([vi])\(\s*([^\s.,()#@\[\]]+)\s*\)", re.IGNORECASE)
_WORD = re.compile(r"[^\s()=,{}\[\]'\"]+")
_BRANCHES = "vlehb"
_ASKING = (".save", ".four", ".fourier")
_CONSTANTS = frozenset(["boltz", "c", "e", "echarge", "false", "i", "kelvin", "no", "pi", "planck", "true", "yes"])


def check_vectors(netlist: Netlist, vectors: Sequence[str], asked: Mapping[str, int]) -> None:
    """Raises `UnknownName` for the first vector whose node no element of the circuit has, or whose branch does not
    exist. ``asked`` has the line of the netlist's source that asks for a vector. The netlist's own
    ``.save`` and ``.four`` cards are checked as well; of ``.meas`` cards what ngspice would not call unknown itself.
    """
    places = [(vector, _place(netlist.source, asked.get(vector))) for vector in vectors]
    places += [(word, line.where) for line in netlist.cards(*_ASKING) for word in line.text.split()[1:]]
    simple = [(vector, match, where) for vector, where in places if (match := _SIMPLE.fullmatch(vector))]
    for line in netlist.cards(".meas", ".measure"):
        found = _SIMPLE.finditer(line.text)
        simple += [(match[0], match, line.where) for match in found if match[2].lower() in _CONSTANTS]
    if not simple:
        return
    top = list(_top(netlist))
    # every word of an element counts as a node: a misread element must not refuse a sound vector
    words = {word.lower() for line in top for word in _WORD.findall(line.text)} | {"0", "gnd"}
    names = {line.text.split(None, 1)[0].lower() for line in top if not line.text.startswith(".")}
    for vector, match, where in simple:
        if match[2].lower() not in (words if match[1].lower() == "v" else names):
            known = {f"v({node})" for line in top for node in nodes_of(line)} - {"v(0)", "v(gnd)"}
            known |= {f"i({name})" for name in names if name[0] in _BRANCHES}
            raise UnknownName("vector", vector, known, where=where)


def _top(netlist: Netlist) -> list[Line]:
    """The elements of the circuit itself, and its ``.global`` cards."""
    found: list[Line] = []
    depth = 0
    for line in netlist.lines:
        card = line.card
        if card in (".subckt", ".macro"):
            depth += 1
        elif card in (".ends", ".eom"):
            depth -= depth > 0
        elif card == ".global" or (not card and not depth):
            found.append(line)
    return found


def _place(source: Path | None, row: int | None) -> Where | None:
    return Where(source, row) if source is not None else None
