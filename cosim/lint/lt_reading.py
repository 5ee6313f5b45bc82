"""An LTspice subcircuit of a memristor in numpy, with LTspice's meaning of every function: the reference for ``--fix``.

It reads subcircuits whose inner nodes are states (one capacitor to ground, charged by sources), nodes fixed by a
voltage source or a behavioural voltage, which may depend on its own current, and elements whose current is an
expression of those. Any other circuit that would
have to be solved for a node raises `Unreadable`, and is reported as not verified.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from cosim.devices.base import Array
from cosim.language.expressions import Expr, Unreadable, evaluate
from cosim.language.lt_syntax import CONSTANTS, TEMP, Element, dialect, element, parse_expression, segments
from cosim.language.netlist import Line
from cosim.lint.drive import ModelRun

_GROUND = {"0", "gnd"}
_DEPTH = 60
_SECANTS = 60
_FUNCTION = re.compile(r"\.para\w*\s+\w+\s*\(", re.IGNORECASE)


class Subcircuit:
    """The first subcircuit of a file. Raises `Unreadable`, which names what cannot be read."""

    def __init__(self, lines: Sequence[Line], *, caret_is_power: bool) -> None:
        self._dialect = dialect(caret_is_power=caret_is_power)
        self._functions: dict[str, tuple[list[str], Expr]] = {}
        self._params: dict[str, str] = {}
        self._ics: dict[str, str] = {}
        self._elements: list[Element] = []
        self.name, self.ports = "", tuple[str, ...]()
        self._take(lines)
        self._values: dict[str, float] = {}
        self._trees: dict[str, Expr] = {}
        self._v: dict[str, float] = {}
        self._integrals: dict[tuple[str, int], int] = {}
        self._held: dict[str, float] = {}  # currents that are being solved for, of which these were asked for
        self._met: set[str] = set()
        self._guess: dict[str, float] = {}
        self.states = self._find_states()
        self._find_integrals()

    def _take(self, lines: Sequence[Line]) -> None:
        depth = 0
        for line in lines:
            card = line.card
            if card in (".subckt", ".macro"):
                depth += 1
                if depth > 1 or self.name:
                    depth = 2 if depth == 1 else depth
                    continue
                head = re.split(r"\bparams:|\w+\s*=", line.text, maxsplit=1, flags=re.IGNORECASE)[0].split()
                self.name, self.ports = head[1], tuple(word.lower() for word in head[2:])
                self._params.update(_assigned(line))
            elif card in (".ends", ".eom"):
                depth = max(0, depth - 1)
            elif depth == 2:
                continue
            elif card in (".param", ".params", ".para") and not _FUNCTION.match(line.text):
                self._params.update(_assigned(line))
            elif card == ".func" or _FUNCTION.match(line.text):
                match = re.match(r"\.\w+\s+(\w+)\s*\(([^)]*)\)\s*=?\s*[{']?(.*?)[}']?$", line.text, re.IGNORECASE)
                if match is None:
                    raise Unreadable(f"{line.text[:40]!r} is not read", 0)
                names = [name.strip().lower() for name in match[2].split(",") if name.strip()]
                self._functions[match[1].lower()] = (names, parse_expression(match[3]))
            elif card == ".ic":
                for node, value in re.findall(r"[vV]\(([^()]*)\)\s*=\s*(\{[^}]*\}|\S+)", line.text):
                    self._ics[node.strip().lower()] = value.strip("{}'")
            elif depth == 1 and line.text[0].isalpha():
                if line.text[0].lower() not in "bgervci":
                    raise Unreadable(f"element {line.text.split()[0]!r} is not read", 0)
                self._elements.append(element(line))
        if not self.name or len(self.ports) < 2:
            raise Unreadable("the file has no subcircuit with two terminals", 0)

    def _find_states(self) -> dict[str, tuple[float, float]]:
        """State node -> capacitance and start value."""
        found = {}
        for part in self._elements:
            if part.name[0].lower() != "c":
                continue
            node, other = part.nodes
            if other not in _GROUND or node in self.ports[:2] or node in found or "q" in part.given:
                raise Unreadable(f"capacitor {part.name!r} does not hold a single state", 0)
            start = self._ics.get(node, part.given.get("ic", "0"))
            value = part.given.get("value", part.given.get("c"))
            if value is None:
                raise Unreadable(f"capacitor {part.name!r} has no value", 0)
            found[node] = (self._constant(value), self._constant(start))
        return found

    def _find_integrals(self) -> None:
        for part in self._elements:
            for text in part.given.values():
                try:
                    tree = self._tree(text)
                except Unreadable:
                    continue
                for node in tree.walk():
                    if node.op == "call" and node.name.lower() in ("idt", "sdt"):
                        if len(node.args) > 2:
                            raise Unreadable("an integral with a reset", node.start)
                        self._integrals[text, node.start] = len(self._integrals)

    def _tree(self, text: str) -> Expr:
        if text not in self._trees:
            self._trees[text] = parse_expression(text)
        return self._trees[text]

    def _constant(self, text: str) -> float:
        return self._of(text, {}, 0)

    def _of(self, text: str, local: dict[str, float], depth: int) -> float:
        return self._value(self._tree(text), text, local, depth)

    def _value(self, tree: Expr, text: str, local: dict[str, float], depth: int) -> float:
        if depth > _DEPTH:
            raise Unreadable("its elements depend on each other in a circle", tree.start)

        def name(node: Expr) -> float:
            key = node.name.lower()
            if key in local:
                return local[key]
            if key == "time":
                return self._v.get("time", 0.0)
            if key not in self._values:
                if key not in self._params and (key in CONSTANTS or key == "temp"):
                    return CONSTANTS.get(key, TEMP)
                if key not in self._params:
                    raise Unreadable(f"{node.name!r} has no value", node.start)
                self._values[key] = self._of(self._params[key], {}, depth + 1)
            return self._values[key]

        def special(node: Expr) -> float | None:
            key = node.name.lower()
            if key == "v":
                volts = [self._node(arg.name, depth + 1) for arg in node.args]
                return volts[0] - (volts[1] if len(volts) > 1 else 0.0)
            if key == "i":
                return self._current(node.args[0].name, depth + 1)
            if key in ("idt", "sdt"):
                if (text, node.start) not in self._integrals:
                    raise Unreadable("an integral inside a function", node.start)
                return self._v[f"#{self._integrals[text, node.start]}"]
            if key in self._functions:
                names, body = self._functions[key]
                given = [self._value(arg, text, local, depth + 1) for arg in node.args]
                return self._value(body, "", dict(zip(names, given, strict=True)), depth + 1)
            return None

        try:
            return evaluate(tree, name, special, self._dialect)
        except (ValueError, OverflowError, ZeroDivisionError, TypeError):
            raise Unreadable("a value that is not finite", tree.start) from None

    def _node(self, node: str, depth: int) -> float:
        key = node.lower()
        if key in _GROUND:
            return 0.0
        if key in self._v:
            return self._v[key]
        if depth > _DEPTH:
            raise Unreadable(f"node {node!r} has to be solved for", 0)
        for part in self._elements:
            volts = self._source(part)
            if volts is None or key not in part.nodes:
                continue
            other = part.nodes[1] if part.nodes[0] == key else part.nodes[0]
            if other in _GROUND or other in self._v:
                sign = 1.0 if part.nodes[0] == key else -1.0
                return self._node(other, depth + 1) + sign * self._of(volts, {}, depth + 1)
        raise Unreadable(f"node {node!r} has to be solved for", 0)

    @staticmethod
    def _source(part: Element) -> str | None:
        """The voltage of an element that fixes one."""
        kind = part.name[0].lower()
        if kind == "v":
            return part.given.get("dc", "0")
        if kind == "b":
            return part.given.get("v")
        return part.given.get("value") if kind == "e" else None

    def _current(self, name: str, depth: int) -> float:
        part = next((p for p in self._elements if p.name.lower() == name.lower()), None)
        if part is None:
            raise Unreadable(f"the current of {name!r}", 0)
        return self._through(part, depth)

    def _through(self, part: Element, depth: int) -> float:
        """The current from the first node of an element through it to the second."""
        if depth > _DEPTH:
            raise Unreadable(f"the current of {part.name!r} has to be solved for", 0)
        kind = part.name[0].lower()
        if kind == "r" or (kind == "b" and "r" in part.given):
            text = part.given.get("r", part.given.get("value"))
            if text is None:
                raise Unreadable(f"resistor {part.name!r} has no value", 0)
            volts = self._node(part.nodes[0], depth + 1) - self._node(part.nodes[1], depth + 1)
            return volts / self._of(text, {}, depth + 1)
        if kind in "gbi":
            text = part.given.get("i", part.given.get("value", part.given.get("cur")))
            if text is not None:
                return self._of(text, {}, depth + 1)
        if self._source(part) is not None:
            end = part.nodes[1]
            if end in self.ports[:2] or end in _GROUND or end in self.states:
                end = part.nodes[0]
            sign = -1.0 if end == part.nodes[0] else 1.0
            return self._consistent(part.name.lower(), lambda: sign * self._leaving(end, part, depth + 1))
        raise Unreadable(f"element {part.name!r} is not read", 0)

    def _consistent(self, name: str, current: Callable[[], float]) -> float:
        """The current of a source whose voltage may depend on it: what ``current`` gives where it is held at that."""
        if name in self._held:
            self._met.add(name)
            return self._held[name]
        try:
            self._held[name] = first = self._guess.get(name, 0.0)
            found = current()
            if name not in self._met:
                return found
            residual = found - first
            last = found
            for _ in range(_SECANTS):
                self._held[name] = last
                found = current()
                if abs(found - last) <= 1e-12 * abs(found) or found - last == residual:
                    self._guess[name] = found
                    return found
                ahead = last - (found - last) * (last - first) / (found - last - residual)
                first, last, residual = last, ahead, found - last
        finally:
            del self._held[name]
            self._met.discard(name)
        raise Unreadable(f"the current of {name!r} was not solved for", 0)

    def _leaving(self, node: str, without: Element | None, depth: int) -> float:
        total = 0.0
        for part in self._elements:
            if part is without or node not in part.nodes or part.name[0].lower() == "c":
                continue
            total += self._through(part, depth + 1) * (1.0 if part.nodes[0] == node else -1.0)
        return total

    def _set(self, volts: float, state: Array, now: float) -> None:
        self._v = {self.ports[0]: volts, self.ports[1]: 0.0, "time": now}
        names = [*self.states, *(f"#{k}" for k in range(len(self._integrals)))]
        self._v.update({name: float(x) for name, x in zip(names, state, strict=True)})

    def run(self, t: Array, v: Array) -> ModelRun:
        """The current (n,) A into the first terminal and the states (n,) V under ``v`` (n,) V at ``t`` (n,) s."""
        starts = [start for _, start in self.states.values()] + [0.0] * len(self._integrals)
        for (text, position), index in self._integrals.items():
            node = next(n for n in self._tree(text).walk() if n.start == position and n.name.lower() in ("idt", "sdt"))
            if len(node.args) > 1:
                starts[len(self.states) + index] = self._value(node.args[1], text, {}, 0)

        def rates(now: float, state: Array) -> Array:
            self._set(float(np.interp(now, t, v)), state, now)
            found = [-self._leaving(node, None, 0) / c for node, (c, _) in self.states.items()]
            for text, position in self._integrals:
                tree = self._tree(text)
                node = next(n for n in tree.walk() if n.start == position and n.name.lower() in ("idt", "sdt"))
                found.append(self._value(node.args[0], text, {}, 0))
            return np.array(found)

        # Heun's rule at the given times: a law that switches hard at its bounds makes an adaptive method crawl.
        current, found = np.empty(len(t)), np.empty((len(starts), len(t)))
        state = np.array(starts)
        for k in range(len(t)):
            found[:, k] = state
            self._set(float(v[k]), state, float(t[k]))
            current[k] = self._leaving(self.ports[0], None, 0)
            if k + 1 < len(t):
                dt = float(t[k + 1] - t[k])
                first = rates(float(t[k]), state)
                state = state + 0.5 * dt * (first + rates(float(t[k + 1]), state + dt * first))
                if not np.all(np.isfinite(state)):
                    raise Unreadable("its states do not stay finite", 0)
        names = [*self.states, *(f"integral {k + 1}" for k in range(len(self._integrals)))]
        return ModelRun(current, dict(zip(names, found, strict=True)))


def _assigned(line: Line) -> dict[str, str]:
    return {s.key.lower(): line.text[s.start : s.end] for s in segments(line) if "(" not in s.key}
