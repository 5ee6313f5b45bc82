"""Nodes that no direct current can reach: ngspice simulates them, and their voltages are rounding errors.

A node is floating where no chain of resistors, inductors, voltage sources, junctions, channels or behavioural sources
leads to ground, and no ``.ic`` or ``uic`` says where it begins; a ``.nodeset`` is released before the operating point
is found. The options ``rshunt`` and ``gshunt`` connect every node. What is not known (a compiled model, a code model)
is taken to conduct between all its terminals, so no sound node is called floating.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from cosim.errors import NetlistError
from cosim.language.hazards import options_of
from cosim.language.instances import constant
from cosim.language.netlist import Line, Netlist
from cosim.language.numbers import spice_number

_GROUND = "0"
_SET = re.compile(r"v\s*\(\s*([^\s(),]+)\s*\)\s*=", re.IGNORECASE)
# Which terminals of an element conduct, by its first letter; all others conduct among all their nodes.
_PAIRS = {"r": (0, 1), "l": (0, 1), "v": (0, 1), "e": (0, 1), "h": (0, 1), "b": (0, 1), "g": (0, 1), "s": (0, 1),
          "w": (0, 1), "d": (0, 1)}  # fmt: skip
_OPEN = "cif"
_SPACED = re.compile(r"\s*=\s*")
_BLOCK = re.compile(r"[^\s\[\]%()]+")
_LONG = 1024
# The least value with which ngspice connects every node to ground: rshunt by a resistance, gshunt by a conductance.
_SHUNTS = {"rshunt": 1e-30, "gshunt": 0.0}


@dataclass
class _Part:
    """The circuit, or one subcircuit: its ports, its elements, and the nodes whose start is given."""

    ports: tuple[str, ...] = ()
    lines: list[Line] = field(default_factory=list)
    held: set[str] = field(default_factory=set)


# subcircuit, those around it -> which of its ports conduct among each other, ground as -1
_Conduct = Callable[[str, tuple[str, ...]], list[tuple[int, ...]]]


class _Groups:
    """Nodes in groups that conduct."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def find(self, node: str) -> str:
        self._above.setdefault(node, node)
        while self._above[node] != node:
            self._above[node] = self._above[self._above[node]]
            node = self._above[node]
        return node

    def join(self, nodes: Iterable[str]) -> None:
        first: str | None = None
        for node in nodes:
            root = self.find(node)
            if first is None:
                first = root
            else:
                self._above[root] = self.find(first)

    def nodes(self) -> list[str]:
        return list(self._above)


def shunted(netlist: Netlist, options: Mapping[str, float | str]) -> bool:
    """Whether ``options``, or the netlist's own, connect every node to ground; an expression that cannot be evaluated
    counts as one that does.
    """
    for name, value in _options(netlist, options):
        least = _SHUNTS.get(name.lower())
        if least is None or value == "" or isinstance(value, bool):
            continue
        number = constant(netlist, str(value))
        if number is None or number > least:
            return True
    return False


def shunted_by_name(netlist: Netlist, options: Mapping[str, float | str]) -> bool:
    """Whether an expression says if they do: parameters decide then whether nodes float."""
    shunts = (value for name, value in _options(netlist, options) if name.lower() in _SHUNTS)
    return any(isinstance(value, str) and value and spice_number(value) is None for value in shunts)


def _options(netlist: Netlist, options: Mapping[str, float | str]) -> list[tuple[str, float | str]]:
    cards = netlist.cards(".options", ".option", ".opt")
    return [*options.items(), *(entry for card in cards for entry in options_of(card))]


def check_floating(netlist: Netlist) -> None:
    """Raises `NetlistError` for the first node without a path to ground, with the line that names it."""
    if any(analysis.kind == "tran" and re.search(r"\buic\s*$", analysis.line.text, re.IGNORECASE)
           for analysis in netlist.analyses()):  # fmt: skip
        return
    parts, globals_ = _parts(netlist)
    joined: dict[str, list[tuple[int, ...]]] = {}

    def conduct(name: str, above: tuple[str, ...]) -> list[tuple[int, ...]]:
        """Which ports of a subcircuit conduct among each other, ground as -1."""
        if name not in joined:
            part = parts[name]
            groups = _walk(part, above)
            roots = [groups.find(port) for port in part.ports]
            ground = groups.find(_GROUND)
            kept: dict[str, list[int]] = {}
            for index, root in enumerate(roots):
                kept.setdefault(root, [-1] if root == ground else []).append(index)
            joined[name] = [tuple(members) for members in kept.values()]
        return joined[name]

    def _walk(part: _Part, above: tuple[str, ...]) -> _Groups:
        groups = _Groups()
        groups.join([_GROUND, "gnd", *globals_])
        first: dict[str, Line] = {}
        for line in part.lines:
            nodes, pairs = _terminals(line, parts, conduct, above)
            for node in nodes:
                groups.find(node)
                first.setdefault(node, line)
            for pair in pairs:
                groups.join(pair)
        safe = {groups.find(_GROUND), *(groups.find(port) for port in part.ports)}
        safe |= {groups.find(node) for node in part.held}
        for node in groups.nodes():
            if groups.find(node) not in safe and node in first:
                raise NetlistError(
                    f"node {node!r} floats: it has no path to ground for direct current",
                    where=first[node].where,
                    remedy=f"connect it, give it a large resistor to ground, or write .ic V({node})=",
                )
        return groups

    _walk(parts[""], ())


def nodes_of(line: Line) -> list[str]:
    """The nodes that an element's line names, lower case; none of a card."""
    if line.text.startswith("."):
        return []
    return _terminals(line, {}, lambda name, above: [], ())[0]


def _parts(netlist: Netlist) -> tuple[dict[str, _Part], list[str]]:
    parts = {"": _Part()}
    stack = [""]
    globals_: list[str] = []
    for line in netlist.lines:
        card = line.card
        if card in (".subckt", ".macro"):
            words = _plain(line.text.split()[1:])
            name = words[0].lower() if words else ""
            parts[name] = _Part(tuple(word.lower() for word in words[1:]))
            stack.append(name)
        elif card in (".ends", ".eom"):
            if len(stack) > 1:
                stack.pop()
        elif card == ".ic":
            for node in _SET.findall(line.text):
                parts[stack[-1]].held.add(node.lower())
        elif card == ".global":
            globals_ += [word.lower() for word in line.text.split()[1:]]
        elif not card:
            parts[stack[-1]].lines.append(line)
    # a node of an instance may be set from outside: v(x1.a)
    held = {node.rpartition(".")[2] for part in parts.values() for node in part.held if "." in node}
    for part in parts.values():
        part.held |= held
    return parts, globals_


def _plain(words: Iterable[str]) -> list[str]:
    found: list[str] = []
    for word in words:
        if "=" in word or word.lower() == "params:":
            break
        found.append(word)
    return found


def _terminals(
    line: Line, parts: dict[str, _Part], conduct: _Conduct, above: tuple[str, ...]
) -> tuple[list[str], list[list[str]]]:
    """The nodes of an element, and those of them that conduct among each other."""
    text, letter = line.text.lower(), line.text[0].lower()
    if len(text) > _LONG and letter in _PAIRS:  # a source with a long table: its nodes are in front
        text = text[:_LONG].rpartition(" ")[0] or text
    words = _plain((_SPACED.sub("=", text) if "=" in text else text).split())
    if letter == "x":
        name, nodes = words[-1], words[1:-1]
        if name in parts and name not in above and len(nodes) == len(parts[name].ports):
            pairs = [[_GROUND if k < 0 else nodes[k] for k in group] for group in conduct(name, (*above, name))]
            return nodes, pairs
        return nodes, [nodes]
    if letter == "m":
        nodes = words[1:5]
        return nodes, [[nodes[0], *nodes[2:]]] if len(nodes) == 4 else [nodes]
    if letter == "k":
        return [], []
    if letter == "a":
        return [], [[_GROUND, *_BLOCK.findall(" ".join(words[1:-1]))]]
    count = {"q": 3, "j": 3, "z": 3, "t": 4, "o": 4, "u": 3, "y": 4}.get(letter, 2)
    nodes = words[1:-1] if letter in "np" else words[1 : count + 1]
    if letter in _OPEN:
        return nodes, []
    if letter in _PAIRS:
        return nodes, [nodes[:2]]
    return nodes, [nodes]
