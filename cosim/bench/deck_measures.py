"""The ``.meas`` cards of a deck as measures of a bench.

A form that a bench has is written as its own, computed between points and with parameters that may vary. Every other
one stays ngspice's, as a measure of kind ``meas``, and so does each that such a one is made of.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from cosim.bench.measures.cards import OF_THE_AXIS
from cosim.bench.measures.signals import FUNCTIONS
from cosim.language.expressions import Expr, Unreadable
from cosim.language.lt_meas import Circuit
from cosim.language.lt_syntax import parse_expression, unclosed
from cosim.language.netlist import Line
from cosim.language.numbers import spice_number

NAME = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)
_REDUCED = {"max": "max", "min": "min", "pp": "swing", "avg": "mean", "rms": "rms", "integ": "integral",
            "integral": "integral"}  # fmt: skip
_VECTOR = re.compile(r"\b(?:[vi](?:m|db|ph?|r|i)?|par)\(|[@#]")
_MIL = re.compile(r"\d\.?mil", re.IGNORECASE)
_AXES = {"tran": "s", "ac": "Hz", "noise": "Hz"}


class LeftError(Exception):
    """Why a card has no counterpart in a bench."""


class _ForeignError(LeftError):
    """Why a bench's own measures do not hold a ``.meas`` that ngspice computes."""


class DeckMeasures:
    """What becomes of a deck's ``.meas`` cards.

    Args:
        analyses: the tables of the bench's analyses, by name.
        numbers: the parameters that the bench has.
        others: the other names that the deck's ``.param`` cards give.
        circuit: the deck, as its ``.meas`` cards see it.
        file: its name.
    """

    def __init__(
        self, analyses: Mapping[str, Mapping[str, Any]], *, numbers: set[str], others: set[str], circuit: Circuit,
        file: str,
    ) -> None:  # fmt: skip
        self.table: dict[str, dict[str, Any]] = {}
        self.lines: dict[str, int] = {}
        self.notes: list[str] = []
        self._cards: dict[str, str] = {}  # what follows .meas ANALYSIS NAME
        self._analyses = analyses
        self._numbers, self._others = numbers, others
        self._circuit, self._file = circuit, file

    def add(self, line: Line) -> None:
        """Take one card. Raises `LeftError`."""
        text = re.sub(r"\s*=\s*", "=", line.text)
        words = text.split()
        if len(words) < 4:
            raise LeftError("it is not complete")
        kind, name, op = words[1].lower(), words[2].lower(), words[3].lower().partition("=")[0]
        other = f"it is not in ngspice's form; 'cosim lint {self._file} --fix OUT' writes it"
        foreign = self._circuit.is_other_form(line)
        if foreign and (kind not in ("tran", "dc") or op == "param"):
            raise LeftError(other)
        plan = [key for key, entry in self._analyses.items() if entry["kind"] == kind]
        if not plan:
            raise LeftError(f"the deck has no .{kind} that a bench has")
        if len(plan) > 1:
            raise LeftError(f"the deck has {len(plan)} analyses of this kind: name one in the bench")
        if not NAME.match(name):
            raise LeftError("its name has other signs than letters, digits and _")
        card = line.text.split(None, 3)[3]
        if name in self.table:
            if self._cards.get(name) == card:
                return
            name = next(new for k in count(2) if (new := f"{name}_{k}") not in self.table)
            self.notes.append(f"line {line.where.line}: {line.text[:80]!r} is measure {name!r}, as its name is taken")
        self._cards[name], self.lines[name] = card, line.where.line or 0
        try:
            self.table |= self._own(name, op, text, plan[0], kind)
        except _ForeignError as reason:
            if foreign:
                raise LeftError(other) from None
            if op.startswith("deriv"):
                raise LeftError(f"ngspice: function '{op}' currently not supported; in a bench {reason}") from None
            if lost := self._circuit.lost(line):
                raise LeftError(lost if kind in ("tran", "dc", "ac") else f"{reason}, and {lost}") from None
            self._keep(name, plan[0], kind)

    def _own(self, name: str, op: str, text: str, plan: str, kind: str) -> dict[str, dict[str, Any]]:
        """A card as measures of the bench's own kinds. Raises `_ForeignError`."""
        rest = [word.lower() for word in text.split()[4:]]
        if op == "param":
            return {name: self._expression(text.partition("=")[2].strip())}
        run = self._analyses[plan]
        if kind == "dc" and run["stop"] < run.get("start", 0.0):
            raise _ForeignError("the sweep falls, and a bench's own measures take it as rising")
        if op.startswith("integ") and rest and kind == "noise":
            entry = {"kind": "integrated-noise", "of": _of(rest[0], kind), **_window(rest[1:]), "analysis": plan}
            return {name: {**entry, "unit": _noise_unit(rest[0], self._analyses[plan])}}
        if op in _REDUCED and rest:
            if kind in ("ac", "dc") and (len(rest) > 1 or op[:3] in ("rms", "int")):
                raise _ForeignError("where points lie far apart ngspice's sums over them are other numbers")
            unit = "1" if op.startswith("integ") else _unit(rest[0])
            entry = {"kind": _REDUCED[op], "of": _of(rest[0], kind), **self._inside(plan, _window(rest[1:]))}
            return {name: {**entry, "analysis": plan, "unit": unit}}
        if op == "find" and len(rest) == 2 and rest[1].startswith("at="):
            entry = {"kind": "at", "of": _of(rest[0], kind), "at": _place(rest[1][3:])}
            return {name: {**entry, "analysis": plan, "unit": _unit(rest[0])}}
        if op in ("deriv", "derivative") and len(rest) == 2 and rest[1].startswith("at="):
            return {name: {"kind": "derivative", "of": _of(rest[0], kind), "at": _place(rest[1][3:]), "analysis": plan}}
        if op.startswith(("deriv", "err")):
            raise LeftError(f"ngspice: function '{op}' currently not supported")
        if op == "trig" and "targ" in rest:
            at = rest.index("targ")
            for end, part in (("trig", rest[:at]), ("targ", rest[at + 1 :])):
                if not any(word.partition("=")[0] in ("at", "rise", "fall", "cross") for word in part):
                    raise LeftError(f"ngspice: at, rise, fall or cross must be given, and {end} has none of them")
        if op in ("when", "trig") and kind != "noise":
            raise _ForeignError("of a curve that begins or rests on its level ngspice counts other crossings")
        if op == "when" and rest:
            return {name: _crossing(rest, plan, kind)}
        if op == "trig" and "targ" in rest:
            return self._between(name, rest, plan, kind)
        raise _ForeignError("a bench has no measure of this form")

    def _inside(self, plan: str, window: dict[str, float]) -> dict[str, float]:
        """``window`` without what lies outside the run, as ngspice takes it."""
        run = self._analyses[plan]
        low, high = sorted((run.get("start", 0.0), run["stop"]))
        outside = {"start": window.get("start", high) <= low, "stop": window.get("stop", low) >= high}
        return {key: value for key, value in window.items() if not outside[key]}

    def _keep(self, name: str, plan: str, kind: str) -> None:
        """The card as it is, and as cards the measures that it names."""
        card = self._cards[name]
        op, _, of = card.lower().partition(" ")
        if not op.startswith("param") and (unknown := self._unknown(card)):
            measured = "a measure, which only param= may name" if unknown in self.table else "not a parameter"
            raise LeftError(f"{unknown!r} is {measured}")
        if op.startswith("param"):
            for used in sorted(set(re.findall(r"[a-z_]\w*", card.lower())) & self.table.keys()):
                entry = self.table[used]
                if entry["kind"] != "meas" and (entry.get("analysis") or plan) != plan:
                    raise LeftError(f"it names {used!r} of another analysis, in a formula that a bench's have not")
                if entry["kind"] != "meas":
                    self._keep(used, plan, kind)
                    for end in (f"{used}_trig", f"{used}_targ"):
                        if end in self.table and end not in self._cards:
                            del self.table[end]
        unit = _AXES.get(kind, "1") if op in OF_THE_AXIS else _unit(of) if op in ("find", *_REDUCED) else "1"
        shown = "1" if op.startswith("integ") else unit
        self.table[name] = {"kind": "meas", "card": card, "analysis": plan, "unit": shown}

    def _unknown(self, card: str) -> str:
        """The first name in a level, place or window that is not a parameter: ngspice refuses the whole deck for it."""
        for value in re.findall(r"=\s*(\{[^{}]*\}|'[^']*'|\S+)", card.lower()):
            if _VECTOR.search(value):
                continue
            for name, call in re.findall(r"(?<![\w.])([a-z_]\w*)\s*(\()?", value):
                if not call and name != "last" and name not in self._numbers | self._others:
                    return str(name)
        return ""

    def _expression(self, formula: str) -> dict[str, Any]:
        if formula[:1] + formula[-1:] in ("''", '""', "{}"):
            formula = formula[1:-1]
        if _MIL.search(formula):
            raise _ForeignError("ngspice reads mil as milli in a formula")
        try:
            tree = parse_expression(formula, caret_is_power=True)
        except Unreadable as reason:
            raise LeftError(f"its formula is not read: {reason.message}") from None
        if unclosed(formula):
            raise LeftError("its formula has brackets that are not closed")
        named = {name.lower() for name in tree.names()}
        if unknown := sorted(named - self.table.keys() - self._numbers - self._others):
            raise LeftError(f"{unknown[0]!r} is neither a measure above it nor a parameter")
        if named - self.table.keys() - self._numbers:
            raise _ForeignError("its formula names a parameter that is a formula itself")
        return {"kind": "expression", "value": _formula(tree, formula)}

    def _between(self, name: str, words: list[str], plan: str, kind: str) -> dict[str, dict[str, Any]]:
        """``trig v(a) val=0.5 rise=1 targ v(b) val=0.5 rise=1``: two crossings, and their difference."""
        at = words.index("targ")
        ends: list[tuple[str, dict[str, Any] | None]] = []
        for end, part in (("trig", words[:at]), ("targ", words[at + 1 :])):
            if len(part) == 1 and part[0].startswith("at="):
                ends.append((repr(_place(part[0][3:])), None))
                continue
            value = next((word for word in part if word.startswith("val=")), None)
            if value is None:
                raise _ForeignError("a crossing without val= is not read")
            others = [word for word in part[1:] if word is not value]
            ends.append((f"{name}_{end}", _crossing([f"{part[0]}={value[4:]}", *others], plan, kind)))
        if any(of in self.table for of, _ in ends):
            raise LeftError(f"{name}_trig or {name}_targ is taken")
        own = {of: entry for of, entry in ends if entry is not None}
        difference = {"kind": "expression", "value": f"{ends[1][0]} - {ends[0][0]}", "unit": _AXES.get(kind, "1")}
        return {**own, name: difference}

    def of_analyses(self, circuit: Sequence[str]) -> None:
        """Measures of what ngspice prints of noise, transfer functions, sensitivities and poles.

        ``circuit`` are the lines of the circuit, by whose elements sensitivities are named.
        """
        for plan, entry in self._analyses.items():
            found: dict[str, tuple[str, str]] = {}  # name -> vector, unit
            if entry["kind"] == "noise":
                found = {f"{of}_total": (f"{of}_total", _noise_unit(of, entry)) for of in ("onoise", "inoise")}
            elif entry["kind"] == "tf":
                output = entry["output"]
                resistance = f"{output[2:-1]}#output_impedance" if output[0] == "i" else f"output_impedance_at_{output}"
                found = {
                    "transfer_function": ("transfer_function", "1"), "output_impedance": (resistance, "Ohm"),
                    "input_impedance": (f"{entry['source']}#input_impedance", "Ohm"),
                }  # fmt: skip
            elif entry["kind"] == "sens":
                names = [line.split(None, 1)[0].lower() for line in _top(circuit)]
                found = {f"d_{name}": (name, "1") for name in names if re.fullmatch(r"[rvi]\w*", name)}
            elif entry["kind"] == "pz":
                for name, kind, unit in (("poles", "pole-frequencies", "Hz"), ("rightmost", "rightmost-pole", "1/s")):
                    self.table[self._free(name, plan)] = {"kind": kind, "analysis": plan, "unit": unit}
                self.notes.append(
                    f"analysis {plan!r}: its zeros are a measure of kind 'zero-frequencies', where it has any"
                )
            for name, (vector, unit) in found.items():
                self.table[self._free(name, plan)] = {"kind": "final", "of": vector, "analysis": plan, "unit": unit}

    def _free(self, name: str, plan: str) -> str:
        return name if name not in self.table else f"{plan}_{name}"

    def begin(self, plan: str, begin: float) -> None:
        """What is measured of a transient begins where the deck's data did."""
        self.notes.append(f"the deck keeps its transient from {begin:g} s on: windows without a start begin there")
        for name, measure in list(self.table.items()):
            if measure.get("analysis") != plan or measure["kind"] in ("at", "derivative", "expression"):
                continue
            if measure["kind"] != "meas":
                key = "after" if measure["kind"] == "crossing" else "start"
                measure[key] = max(begin, measure.get(key, begin))
                continue
            words = measure["card"].lower()
            if words.startswith("param") or re.search(r"\bat\s*=", words):
                continue
            if words.startswith("trig") or re.search(r"\b(td|from)\s*=", words):
                self.notes.append(
                    f"measure {name!r} is of the whole transient: see that its window begins at {begin:g} s"
                )
            else:
                measure["card"] += f" from={begin!r}"


def _noise_unit(of: str, noise: Mapping[str, Any]) -> str:
    return "A" if of.startswith("inoise") and noise["source"][0] == "i" else "V"


def _top(circuit: Sequence[str]) -> Iterator[str]:
    """The elements outside subcircuits."""
    depth = 0
    for line in circuit:
        word = line.split(None, 1)[0].lower() if line.strip() else "."
        depth += word in (".subckt", ".macro")
        if not depth and word[0] not in ".*+":
            yield line
        depth = max(0, depth - (word in (".ends", ".eom")))


def number(word: str) -> float:
    """A number of a card. Raises `LeftError`."""
    value = spice_number(word)
    if value is None or not math.isfinite(value):
        raise LeftError(f"{word!r} is not a number; a bench's analyses have numbers")
    return value


def _place(word: str) -> float:
    value = spice_number(word)
    if value is None or not math.isfinite(value):
        raise _ForeignError(f"{word!r} is not a number")
    return value


def _crossing(words: list[str], plan: str, kind: str) -> dict[str, Any]:
    """``v(out)=0.5 rise=2 td=1n``"""
    vector, _, level = words[0].partition("=")
    of = _of(vector, kind)
    entry: dict[str, Any] = {"kind": "crossing", "of": of, "level": _place(level), "edge": "either", "number": 1}
    for word in words[1:]:
        key, _, given = word.partition("=")
        if key in ("rise", "fall", "cross"):
            entry["edge"] = "either" if key == "cross" else key
            entry["number"] = -1 if given == "last" else int(_place(given))
        elif key == "td":
            entry["after"] = _place(given)
        else:
            raise _ForeignError(f"{word!r} has no counterpart in a crossing")
    return {**entry, "analysis": plan, "unit": _AXES.get(kind, "1")}


def _window(words: list[str]) -> dict[str, float]:
    found = {}
    for word in words:
        key, _, given = word.partition("=")
        if key not in ("from", "to"):
            raise _ForeignError(f"{word!r} has no counterpart")
        found["start" if key == "from" else "stop"] = _place(given)
    return found


# Functions of ngspice's formulas -> those of a bench's.
_FUNCTIONS = {"log": "ln", "arctan": "atan"} | {name: name for name in FUNCTIONS if name != "db"}


def _formula(node: Expr, text: str) -> str:
    """A formula of a ``.meas`` as a bench writes it. Raises `_ForeignError` for what a bench's have not."""
    parts = [_formula(arg, text) for arg in node.args]
    if node.op == "number":
        return repr(node.value)
    if node.op == "name":
        return node.name.lower()
    if node.op == "call":
        if node.name.lower() not in _FUNCTIONS:
            raise _ForeignError(f"a bench has no function {node.name.lower()}()")
        return f"{_FUNCTIONS[node.name.lower()]}({', '.join(parts)})"
    if node.op in ("**", "^"):
        if node.args[1].op in ("**", "^") and text[node.args[1].start] != "(":
            raise _ForeignError("its powers follow each other without brackets")
        if node.args[1].op[0] == "u" and text[node.args[1].start] != "(":
            signed = node.args[1].args[0]
            if signed.op != "number" and signed.op not in ("name", "call") and text[signed.start] != "(":
                raise _ForeignError("a sign stands between its powers")
        return f"pow(abs({parts[0]}), {parts[1]})"  # of a negative number ngspice takes the magnitude
    if node.op == "cond":
        return f"({parts[0]} ? {parts[1]} : {parts[2]})"
    if len(parts) == 1:
        return f"({node.op[1]}{parts[0]})"
    return f"({parts[0]} {node.op} {parts[1]})"


def _of(vector: str, kind: str) -> str:
    """A vector of a ``.meas`` as a bench names it: in ``.ac`` ngspice takes the real part, and a phase in radians."""
    if kind == "noise":
        if vector not in ("onoise_spectrum", "inoise_spectrum"):
            raise _ForeignError(f"{vector!r} is neither onoise_spectrum nor inoise_spectrum")
        return vector
    if not re.fullmatch(r"(?:[vi][a-z]{0,2}\([^()]*\)|@[\w.#]+\[\w+\])", vector):
        raise _ForeignError(f"{vector!r} is not a vector")
    match = re.fullmatch(r"([vi])(p?)(\(.*\))", vector) if kind == "ac" else None
    if match is None:
        return vector
    return f"rad({match[1]}{match[3]})" if match[2] else f"{match[1]}r{match[3]}"


def _unit(vector: str) -> str:
    return "V" if re.match(r"v[rim]?\(", vector) else "A" if re.match(r"i[rim]?\(", vector) else "1"
