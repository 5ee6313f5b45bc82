"""An LTspice subcircuit of a memristor in numpy, with LTspice's meaning of every function: the reference for ``--fix``.

It reads subcircuits whose inner nodes are states (one capacitor to ground, charged by sources), nodes fixed by a
voltage source or a behavioural voltage, which may depend on its own current, nodes that only currents flow into, which
are solved for, and elements whose current is an expression of those. Any other circuit raises `Unreadable`, and is
reported as not verified.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cosim.devices.base import Array
from cosim.language.expressions import Closure, Expr, Unreadable, compiled
from cosim.language.lt_syntax import CONSTANTS, TEMP, Element, dialect, element, is_hspice, parse_expression, segments
from cosim.language.netlist import Line
from cosim.lint.drive import ModelRun

GROUND = {"0", "gnd", "gnd!"}
_DEPTH = 60
_SECANTS = 60
_NODES = 20  # that are solved for at each step: more would take too long
_CALLS = 10_000  # of functions, each of which is compiled where it is called
_FUNCTION = re.compile(r"\.para\w*\s+\w+\s*\(", re.IGNORECASE)


@dataclass
class Parts:
    """What the first subcircuit of a file consists of; names are in lower case, expressions as they were written.

    ``params`` are those of the file and of the subcircuit, ``offered`` those that an instance may give.
    """

    name: str = ""
    ports: tuple[str, ...] = ()
    functions: dict[str, tuple[list[str], Expr]] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    offered: list[str] = field(default_factory=list)
    ics: dict[str, str] = field(default_factory=dict)
    elements: list[Element] = field(default_factory=list)


def parts(lines: Sequence[Line], *, caret_is_power: bool = False) -> Parts:
    """The first subcircuit of a file; ``^`` as in `parse_expression`.

    Raises `Unreadable`, which names what cannot be read.
    """
    found = Parts()
    depth = 0
    for line in lines:
        card = line.card
        if card in (".subckt", ".macro"):
            depth += 1
            if depth > 1 or found.name:
                depth = 2 if depth == 1 else depth
                continue
            head = re.split(r"\bparams:|\w+\s*=", line.text, maxsplit=1, flags=re.IGNORECASE)[0].split()
            found.name, found.ports = head[1], tuple(word.lower() for word in head[2:])
            given = _assigned(line)
            found.params.update(given)
            found.offered += given
        elif card in (".ends", ".eom"):
            depth = max(0, depth - 1)
        elif depth == 2:
            continue
        elif card in (".param", ".params", ".para") and not _FUNCTION.match(line.text):
            found.params.update(_assigned(line))
        elif card == ".func" or _FUNCTION.match(line.text):
            match = re.match(r"\.\w+\s+(\w+)\s*\(([^)]*)\)\s*=?\s*[{']?(.*?)[}']?$", line.text, re.IGNORECASE)
            if match is None:
                raise Unreadable(f"{line.text[:40]!r} is not read", 0)
            names = [name.strip().lower() for name in match[2].split(",") if name.strip()]
            found.functions[match[1].lower()] = (names, parse_expression(match[3], caret_is_power=caret_is_power))
        elif card == ".ic":
            for node, value in re.findall(r"[vV]\(([^()]*)\)\s*=\s*(\{[^}]*\}|\S+)", line.text):
                found.ics[node.strip().lower()] = value.strip("{}'")
        elif depth == 1 and line.text[0].isalpha():
            if line.text[0].lower() not in "bgervci":
                raise Unreadable(f"element {line.text.split()[0]!r} is not read", 0)
            found.elements.append(element(line))
    if not found.name or len(found.ports) < 2:
        raise Unreadable("the file has no subcircuit with two terminals", 0)
    return found


class Subcircuit:
    """The first subcircuit of a file. Raises `Unreadable`, which names what cannot be read."""

    def __init__(self, lines: Sequence[Line], *, caret_is_power: bool) -> None:
        self._dialect = dialect(caret_is_power=caret_is_power, hspice=is_hspice(lines))
        read = parts(lines, caret_is_power=self._dialect.caret_is_power)
        self.name, self.ports = read.name, read.ports
        self._functions, self._params, self._ics, self._elements = (
            read.functions,
            read.params,
            read.ics,
            read.elements,
        )
        self._values: dict[str, float] = {}
        self._trees: dict[str, Expr] = {}
        self._closures: dict[int, Closure] = {}  # of trees that are kept
        self._calling: list[str] = []
        self._calls = 0
        self._deep = 0
        self._v: dict[str, float] = {}
        self._integrals: dict[tuple[str, int], int] = {}
        self._held: dict[str, float] = {}  # currents that are being solved for, of which these were asked for
        self._met: set[str] = set()
        self._guess: dict[str, float] = {}
        self.states = self._find_states()
        self._find_integrals()
        self._unknown = dict.fromkeys(self._find_unknown(), 0.0)  # node -> its last voltage
        self._scale = 1.0

    def _find_states(self) -> dict[str, tuple[float, float]]:
        """State node -> capacitance and start value."""
        found = {}
        for part in self._elements:
            if part.name[0].lower() != "c":
                continue
            node, other = part.nodes
            if other not in GROUND or node in self.ports[:2] or node in found or "q" in part.given:
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
                        if len(node.args) > 3:
                            raise Unreadable("an integral with more than a start and a reset", node.start)
                        self._integrals[text, node.start] = len(self._integrals)

    def _find_unknown(self) -> list[str]:
        """The nodes whose voltage no source states: as much current leaves each of them as flows in."""
        known = {*GROUND, *self.ports[:2], *self.states}
        sources = [part.nodes for part in self._elements if part.volts is not None]
        while (
            new := {b for first, second in sources for a, b in ((first, second), (second, first)) if a in known} - known
        ):
            known |= new
        nodes = dict.fromkeys(node for part in self._elements for node in part.nodes if node not in known)
        stated = any(node in nodes for pair in sources for node in pair)
        return [] if stated or len(nodes) > _NODES else list(nodes)

    def _solve(self) -> None:
        """Find the voltages of the unknown nodes, by Newton's method from the last ones."""
        names = list(self._unknown)

        def residual(x: Array) -> Array:
            self._v.update(zip(names, (float(value) for value in x), strict=True))
            return np.array([self._leaving(node, None, 0) for node in names])

        x, delta = np.array([self._unknown[name] for name in names]), 1e-7 * self._scale
        for _ in range(_SECANTS):
            there = residual(x)
            slopes = np.array([residual(x + delta * row) - there for row in np.eye(len(x))]).T / delta
            try:
                step = np.linalg.solve(slopes, there)
            except np.linalg.LinAlgError:
                break
            x = x - step
            if float(np.max(np.abs(step))) <= 1e-10 * self._scale:
                residual(x)
                self._unknown = dict(zip(names, (float(value) for value in x), strict=True))
                return
        raise Unreadable(f"node {names[0]!r} was not solved for", 0)

    def _tree(self, text: str) -> Expr:
        if text not in self._trees:
            self._trees[text] = parse_expression(text, caret_is_power=self._dialect.caret_is_power)
        return self._trees[text]

    def _constant(self, text: str) -> float:
        return self._of(text, 0)

    def _of(self, text: str, depth: int) -> float:
        return self._value(self._tree(text), text, depth)

    def _value(self, tree: Expr, text: str, depth: int) -> float:
        """The value of ``tree``, a part of the expression ``text``."""
        if depth > _DEPTH:
            raise Unreadable("its elements depend on each other in a circle", tree.start)
        closure = self._closures.get(id(tree))
        if closure is None:
            closure = self._closures[id(tree)] = compiled(tree, lambda node: self._bind(node, text, {}), self._dialect)
        outer, self._deep = self._deep, depth
        try:
            return closure()
        except (ValueError, OverflowError, ZeroDivisionError, TypeError):
            raise Unreadable("a value that is not finite", tree.start) from None
        finally:
            self._deep = outer

    def _bind(self, node: Expr, text: str, local: Mapping[str, Closure]) -> Closure | None:
        """What a name, or a call that is more than a function of its arguments, comes to in ``text``."""
        key = node.name.lower()
        if node.op == "name":
            return local.get(key) or (lambda: self._named(node))
        if key == "v":
            plus, *minus = (arg.name for arg in node.args)
            if not minus:
                return lambda: self._node(plus, self._deep + 1)
            return lambda: self._node(plus, self._deep + 1) - self._node(minus[0], self._deep + 1)
        if key == "i":
            return lambda: self._current(node.args[0].name, self._deep + 1)
        if key in ("idt", "sdt"):
            if (text, node.start) not in self._integrals:
                raise Unreadable("an integral inside a function", node.start)
            name = f"#{self._integrals[text, node.start]}"
            return lambda: self._v[name]
        if key in self._functions:
            return self._function(node, text, local)
        return None

    def _function(self, node: Expr, text: str, local: Mapping[str, Closure]) -> Closure:
        """A call of a function of the file: its arguments are evaluated once."""
        key = node.name.lower()
        names, body = self._functions[key]
        self._calls += 1
        if self._calls > _CALLS:
            raise Unreadable("its functions call each other too often", node.start)
        if key in self._calling:
            raise Unreadable(f"{node.name}() calls itself", node.start)
        if len(names) != len(node.args):
            raise Unreadable(f"{node.name}() takes {len(names)} arguments", node.start)
        given = [compiled(arg, lambda part: self._bind(part, text, local), self._dialect) for arg in node.args]
        values = [0.0] * len(names)
        inner: dict[str, Closure] = {name: lambda k=k: values[k] for k, name in enumerate(names)}  # type: ignore[misc]
        self._calling.append(key)
        called = compiled(body, lambda part: self._bind(part, "", inner), self._dialect)
        self._calling.pop()

        def call() -> float:
            values[:] = [part() for part in given]
            return called()

        return call

    def _named(self, node: Expr) -> float:
        key = node.name.lower()
        if key == "time":
            return self._v.get("time", 0.0)
        if key not in self._values:
            if key not in self._params and (key in CONSTANTS or key == "temp"):
                return CONSTANTS.get(key, TEMP)
            if key not in self._params:
                raise Unreadable(f"{node.name!r} has no value", node.start)
            self._values[key] = self._of(self._params[key], self._deep + 1)
        return self._values[key]

    def _node(self, node: str, depth: int) -> float:
        key = node.lower()
        if key in GROUND:
            return 0.0
        if key in self._v:
            return self._v[key]
        if key in self._unknown:
            self._solve()
            return self._v[key]
        if depth > _DEPTH:
            raise Unreadable(f"node {node!r} has to be solved for", 0)
        for part in self._elements:
            volts = part.volts
            if volts is None or key not in part.nodes:
                continue
            other = part.nodes[1] if part.nodes[0] == key else part.nodes[0]
            if other in GROUND or other in self._v:
                sign = 1.0 if part.nodes[0] == key else -1.0
                return self._node(other, depth + 1) + sign * self._of(volts, depth + 1)
        raise Unreadable(f"node {node!r} has to be solved for", 0)

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
            return volts / self._of(text, depth + 1)
        if kind in "gbi":
            text = part.given.get("i", part.given.get("value", part.given.get("cur")))
            if text is not None:
                return self._of(text, depth + 1)
        if part.volts is not None:
            end = part.nodes[1]
            if end in self.ports[:2] or end in GROUND or end in self.states:
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
        integrals = [
            (text, next(n for n in self._tree(text).walk() if n.start == position and n.name.lower() in ("idt", "sdt")))
            for text, position in self._integrals
        ]
        starts = [start for _, start in self.states.values()]
        starts += [self._value(node.args[1], text, 0) if len(node.args) > 1 else 0.0 for text, node in integrals]
        first = len(self.states)

        def rates(now: float, state: Array) -> Array:
            self._set(float(np.interp(now, t, v)), state, now)
            found = [-self._leaving(node, None, 0) / c for node, (c, _) in self.states.items()]
            return np.array([*found, *(self._value(node.args[0], text, 0) for text, node in integrals)])

        def reset(now: float, state: Array) -> Array:
            """The state with the integrals that are reset at their start."""
            if all(len(node.args) < 3 for _, node in integrals):
                return state
            self._set(float(np.interp(now, t, v)), state, now)
            new = state.copy()
            for k, (text, node) in enumerate(integrals, first):
                if len(node.args) > 2 and self._dialect.true(self._value(node.args[2], text, 0)):
                    new[k] = starts[k]
            return new

        # Heun's rule at the given times: a law that switches hard at its bounds makes an adaptive method crawl.
        self._scale = max(float(np.max(np.abs(v))), 1e-12)
        self._unknown = dict.fromkeys(self._unknown, 0.0)
        current, found = np.empty(len(t)), np.empty((len(starts), len(t)))
        state = np.array(starts)
        for k in range(len(t)):
            found[:, k] = state
            self._set(float(v[k]), state, float(t[k]))
            current[k] = self._leaving(self.ports[0], None, 0)
            if k + 1 < len(t):
                dt = float(t[k + 1] - t[k])
                slope = rates(float(t[k]), state)
                state = state + 0.5 * dt * (slope + rates(float(t[k + 1]), state + dt * slope))
                state = reset(float(t[k + 1]), state)
                if not np.all(np.isfinite(state)):
                    raise Unreadable("its states do not stay finite", 0)
        names = [*self.states, *(f"integral {k + 1}" for k in range(len(self._integrals)))]
        return ModelRun(current, dict(zip(names, found, strict=True)))


def _assigned(line: Line) -> dict[str, str]:
    return {s.key.lower(): line.text[s.start : s.end] for s in segments(line) if "(" not in s.key}
