"""Vectors that a deck asks for and its circuit cannot have: an engine leaves them out without a word.

Looked at are nodes and branch currents of the top of the circuit, ``v(out)`` and ``i(v1)``. What stands inside a
subcircuit or a compiled model, differences and parameters of devices are left to the engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from cosim.errors import UnknownName, Where
from cosim.spice.floating import nodes_of
from cosim.spice.netlist import Line, Netlist

_SIMPLE = re.compile(r"([vi])\(\s*([^\s.,()#@\[\]]+)\s*\)", re.IGNORECASE)
_WORD = re.compile(r"[^\s()=,{}\[\]'\"]+")
_BRANCHES = "vlehb"


def check_vectors(netlist: Netlist, vectors: Sequence[str], asked: Mapping[str, int]) -> None:
    """Raises `UnknownName` for the first vector of which no element of the circuit knows the node, or that is the
    current of no element. ``asked`` has the line of the netlist's source that asks for a vector.
    """
    simple = [(vector, match) for vector in vectors if (match := _SIMPLE.fullmatch(vector))]
    if not simple:
        return
    top = list(_top(netlist))
    # every word of an element counts as a node: no sound vector is refused for an element that is read wrong
    words = {word.lower() for line in top for word in _WORD.findall(line.text)} | {"0", "gnd"}
    names = {line.text.split(None, 1)[0].lower() for line in top if not line.text.startswith(".")}
    for vector, match in simple:
        if match[2].lower() not in (words if match[1].lower() == "v" else names):
            known = {f"v({node})" for line in top for node in nodes_of(line)} - {"v(0)", "v(gnd)"}
            known |= {f"i({name})" for name in names if name[0] in _BRANCHES}
            raise UnknownName("vector", vector, known, where=_place(netlist.source, asked.get(vector)))


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
