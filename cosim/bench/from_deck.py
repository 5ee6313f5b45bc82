"""A bench from a working deck: its circuit as it is, its analyses, and its ``.meas`` as measures.

What a bench cannot hold is named, line by line, and nothing is left out in silence. A ``.control`` block is read as
`cosim.language.control` does: analyses and measures as cards. A bench runs at tighter tolerances than ngspice's own,
and from its operating point, so numbers differ from the deck's within the deck's tolerance.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cosim.bench.measures.signals import FUNCTIONS
from cosim.errors import InputError, NetlistRefused
from cosim.language.expressions import Expr, Unreadable
from cosim.language.instances import assigned
from cosim.language.lt_syntax import parse_expression, unclosed
from cosim.language.netlist import Line, logical_lines, read_text, source_text, translate
from cosim.language.numbers import spice_number

SUFFIXES = (".cir", ".sp", ".spice", ".net", ".ckt", ".spi")
_ANALYSES = (".tran", ".dc", ".ac", ".op", ".noise", ".tf", ".sens", ".pz")
# Cards that change no number that a bench measures.
_OUTPUT = frozenset({".save", ".print", ".plot", ".probe", ".width", ".end", ".four", ".fourier", ".backanno"})
_REDUCED = {"max": "max", "min": "min", "pp": "swing", "avg": "mean", "rms": "rms", "integ": "integral",
            "integral": "integral"}  # fmt: skip
_NAME = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)


class _LeftError(Exception):
    """Why a card has no counterpart in a bench."""


@dataclass
class FromDeck:
    """The tables of a bench, and what was left out or changed, a sentence each."""

    tables: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    def to_toml(self) -> str:
        """The bench's file."""
        top = {key: value for key, value in self.tables.items() if not isinstance(value, dict)}
        rows = [f"# {note}" for note in self.notes]
        rows += [f"{key} = {_value(value)}" for key, value in top.items()]
        for key, table in self.tables.items():
            if isinstance(table, dict) and table:
                rows += list(_table(key, table))
        return "\n".join(rows) + "\n"


def from_deck(path: str | Path, *, roots: Sequence[Path] = ()) -> FromDeck:
    """The bench of a netlist file. Raises `InputError` for one without an analysis, that starts without
    an operating point, or whose ``.control`` block does more than analyses and measures.
    """
    file = Path(path)
    return _Reader(file, roots).read()


def _value(value: Any) -> str:
    if isinstance(value, str) and "\n" in value and "'''" not in value:
        return f"'''\n{value}'''"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(one) for one in value)}]"
    return repr(value) if isinstance(value, float | int) and not isinstance(value, bool) else json.dumps(value)


def _table(name: str, table: dict[str, Any]) -> Iterator[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    if plain:
        yield ""
        yield f"[{name}]"
        yield from (f"{key} = {_value(value)}" for key, value in plain.items())
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _table(f"{name}.{key}", value)


class _Reader:
    def __init__(self, file: Path, roots: Sequence[Path]) -> None:
        self._file = file
        text = source_text(file)
        self._notes: list[str] = []
        netlist = read_text(text, source=file, roots=roots)
        if netlist.controls or netlist.directives:
            found = translate(netlist)
            for first in found.impossible[:1]:
                count = len(found.impossible)
                raise NetlistRefused(
                    f"{first.line.text!r} has no equivalent in a bench: {first.reason}",
                    where=first.line.where, remedy=f"take {'it' if count == 1 else f'these {count} lines'} out",
                )  # fmt: skip
            text = found.apply(text)
        self._again: dict[str, list[Line]] = {}
        for name, line in assigned(netlist.lines):
            self._again.setdefault(name, []).append(line)
        self._title = netlist.title or file.stem
        self._lines = list(logical_lines(text, file=file, has_title=True))
        self._parameters: dict[str, float] = {}
        self._options: dict[str, float | str] = {}
        self._analyses: dict[str, dict[str, Any]] = {}
        self._measures: dict[str, dict[str, Any]] = {}
        self._sweep: dict[str, list[float]] = {}
        self._after: dict[str, float] = {}  # analysis -> where its data begin
        self._circuit: list[str] = []

    def read(self) -> FromDeck:
        depth = 0
        measures = []
        for line in self._lines:
            depth += line.card in (".subckt", ".macro")
            if depth or not line.card:
                self._circuit.append(line.text)
            elif line.card in (".meas", ".measure"):
                measures.append(line)
            else:
                self._try(self._card, line)
            depth = max(0, depth - (line.card in (".ends", ".eom")))
        if not self._analyses:
            raise InputError(f"{self._file}: no analysis that a bench has", remedy=f"one of {', '.join(_ANALYSES)}")
        for line in measures:
            self._try(self._measure, line)
        self._start_late()
        for name in self._sweep.keys() - self._parameters.keys():
            self._notes.append(f".step of {name!r} is left out: it is not a number of a .param card")
        sweep = {name: values for name, values in self._sweep.items() if name in self._parameters}
        for analysis in self._analyses.values() if sweep else ():
            analysis["sweep"] = sweep
        tables = {
            "title": self._title,
            "circuit": "\n".join(self._circuit) + "\n",
            "parameters": self._parameters,
            "options": self._options,
            "analyses": self._analyses,
            "measures": self._measures,
        }
        return FromDeck({key: value for key, value in tables.items() if value}, self._notes)

    def _left(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)

    def _try(self, take: Any, line: Line) -> None:
        try:
            take(line)
        except _LeftError as reason:
            self._notes.append(f"line {line.where.line}: {line.text[:80]!r} is left out: {reason}")

    def _card(self, line: Line) -> None:
        words = line.text.split()
        if line.card in _ANALYSES:
            self._analysis(line, [word.lower() for word in words])
        elif line.card in (".param", ".params"):
            self._param(line)
        elif line.card in (".options", ".option", ".opt"):
            self._option(line)
        elif line.card == ".temp" and len(words) == 2:
            self._options["temp"] = _number(words[1])
        elif line.card == ".step":
            self._step([word.lower() for word in words])
        elif line.card in _OUTPUT:
            return
        else:
            self._circuit.append(line.text)

    def _param(self, line: Line) -> None:
        text = line.text.split(None, 1)[1] if len(line.text.split()) > 1 else ""
        pairs = re.findall(r"(\w+)\s*=\s*(\{[^}]*\}|'[^']*'|\S+)", text)
        rest = []
        for name, given in pairs:
            value, cards = spice_number(given), self._again.get(name.lower(), [])
            if value is not None and len(cards) > 1:
                value = None
                places = " and ".join(dict.fromkeys(str(card.where) for card in cards))
                self._left(f"{name!r} is not a parameter of the bench, as it is set more than once: at {places}")
            if value is None or not _NAME.match(name):
                rest.append(f"{name}={given}")
            else:
                self._parameters[name.lower()] = value
        if rest or not pairs:
            self._circuit.append(f".param {' '.join(rest)}" if pairs else line.text)

    def _option(self, line: Line) -> None:
        for word in re.sub(r"\s*=\s*", "=", line.text).split()[1:]:
            name, equals, given = word.lower().partition("=")
            value = spice_number(given) if equals else None
            if value is not None:
                self._options[name] = value
            elif equals:
                self._options[name] = given
            else:
                self._notes.append(f"line {line.where.line}: option {name!r} is left out: a bench's have values")

    def _step(self, words: list[str]) -> None:
        if words[1:2] == ["param"] and len(words) > 4 and words[3] == "list":
            self._sweep[words[2]] = [_number(word) for word in words[4:]]
        elif words[1:2] == ["param"] and len(words) == 6:
            start, stop, step = (_number(word) for word in words[3:])
            if step == 0.0:
                raise _LeftError("its step is zero")
            self._sweep[words[2]] = [start + k * step for k in range(int((stop - start) / step + 1e-9) + 1)]
        else:
            raise _LeftError("only '.step param NAME list ...' and '.step param NAME START STOP STEP' are read")

    def _analysis(self, line: Line, words: list[str]) -> None:
        kind, given = words[0][1:], words[1:]
        if kind == "tran":
            entry = self._tran(line, given)
        elif kind == "dc":
            if len(given) != 4:
                raise _LeftError("a bench sweeps one source by START STOP STEP; sweep the other one as a parameter")
            start, stop, step = (_number(word) for word in given[1:])
            entry = {"source": given[0], "start": start, "stop": stop, "step": step}
        elif kind == "ac":
            entry = _frequencies(given)
        elif kind == "noise":
            entry = {"output": given[0], "source": given[1], **_frequencies(given[2:6])}
        elif kind == "tf":
            entry = {"output": given[0], "source": given[1]}
        elif kind == "sens" and len(given) == 1:
            entry = {"output": given[0]}
        elif kind == "pz" and len(given) == 6 and given[5] == "pz":
            of = "voltage" if given[4] == "vol" else "current"
            entry = {"input": given[:2], "output": given[2:4], "of": of}
        elif kind == "op":
            entry = {}
        else:
            raise _LeftError("a bench has this analysis in another form, see docs/benches.md")
        count = sum(entry["kind"] == kind for entry in self._analyses.values())
        self._analyses[kind if not count else f"{kind}_{count + 1}"] = {"kind": kind, **entry}

    def _tran(self, line: Line, given: list[str]) -> dict[str, Any]:
        if "uic" in given:
            raise InputError(
                f"{self._file}, line {line.where.line}: a bench's transient begins at the operating point, without uic",
                remedy="write .ic V(node)=value for what starts elsewhere, and leave uic out",
            )
        step, stop, *more = (_number(word) for word in given)
        begin = more[0] if more else 0.0
        if begin:
            self._after["tran"] = begin
        return {"stop": stop, "step": step, "max_step": more[1] if len(more) > 1 else min(step, (stop - begin) / 50.0)}

    def _start_late(self) -> None:
        """What is measured of a transient begins where the deck's data did."""
        for name, begin in self._after.items():
            self._notes.append(f"the deck keeps its transient from {begin:g} s on: windows without a start begin there")
            for measure in self._measures.values():
                if measure.get("analysis") != name or measure["kind"] in ("at", "expression"):
                    continue
                key = "after" if measure["kind"] == "crossing" else "start"
                measure[key] = max(begin, measure.get(key, begin))

    # Measures

    def _measure(self, line: Line) -> None:
        text = re.sub(r"\s*=\s*", "=", line.text)
        words = text.split()
        if len(words) < 4:
            raise _LeftError("it is not complete")
        kind, name = words[1].lower(), words[2].lower()
        plan = [key for key, entry in self._analyses.items() if entry["kind"] == kind]
        if not plan:
            raise _LeftError(f"the deck has no .{kind} that a bench has")
        if len(plan) > 1:
            raise _LeftError(f"the deck has {len(plan)} analyses of this kind: name one in the bench")
        if not _NAME.match(name) or name in self._measures:
            raise _LeftError("its name is taken, or has other signs than letters, digits and _")
        op = words[3].lower().partition("=")[0]
        rest = [word.lower() for word in words[4:]]
        if op == "param":
            self._expression(name, text.partition("=")[2].strip())
        elif op in _REDUCED:
            unit = "1" if op.startswith("integ") else _unit(rest[0])
            self._measures[name] = {"kind": _REDUCED[op], "of": _of(rest[0], kind), **_window(rest[1:]),
                                    "analysis": plan[0], "unit": unit}  # fmt: skip
        elif op == "find" and len(rest) == 2 and rest[1].startswith("at="):
            place = _number(rest[1][3:])
            self._measures[name] = {"kind": "at", "of": _of(rest[0], kind), "at": place, "analysis": plan[0],
                                    "unit": _unit(rest[0])}  # fmt: skip
        elif op == "when" and rest:
            self._measures[name] = self._crossing(rest, plan[0], kind)
        elif op == "trig" and "targ" in rest:
            self._between(name, rest, plan[0], kind)
        else:
            raise _LeftError("a bench has no measure of this form; 'cosim run' computes it from the deck")

    def _expression(self, name: str, formula: str) -> None:
        if formula[:1] + formula[-1:] in ("''", '""', "{}"):
            formula = formula[1:-1]
        try:
            tree = parse_expression(formula, caret_is_power=True)
        except Unreadable as reason:
            raise _LeftError(f"its formula is not read: {reason.message}") from None
        if unclosed(formula):
            raise _LeftError("its formula has brackets that are not closed")
        if unknown := sorted({name.lower() for name in tree.names()} - self._measures.keys()):
            raise _LeftError(f"{unknown[0]!r} is not a measure above it")
        self._measures[name] = {"kind": "expression", "value": _formula(tree, formula)}

    def _crossing(self, words: list[str], plan: str, kind: str) -> dict[str, Any]:
        """``v(out)=0.5 rise=2 td=1n``"""
        vector, _, level = words[0].partition("=")
        of = _of(vector, kind)
        entry: dict[str, Any] = {"kind": "crossing", "of": of, "level": _number(level), "edge": "either", "number": 1}
        for word in words[1:]:
            key, _, given = word.partition("=")
            if key in ("rise", "fall", "cross"):
                entry["edge"] = "either" if key == "cross" else key
                entry["number"] = -1 if given == "last" else int(_number(given))
            elif key == "td":
                entry["after"] = _number(given)
            else:
                raise _LeftError(f"{word!r} has no counterpart in a crossing")
        return {**entry, "analysis": plan, "unit": {"tran": "s", "ac": "Hz"}.get(kind, "1")}

    def _between(self, name: str, words: list[str], plan: str, kind: str) -> None:
        """``trig v(a) val=0.5 rise=1 targ v(b) val=0.5 rise=1``: two crossings, and their difference."""
        at = words.index("targ")
        ends: list[tuple[str, dict[str, Any] | None]] = []
        for end, part in (("trig", words[:at]), ("targ", words[at + 1 :])):
            if len(part) == 1 and part[0].startswith("at="):
                ends.append((repr(_number(part[0][3:])), None))
                continue
            value = next((word for word in part if word.startswith("val=")), None)
            if value is None:
                raise _LeftError("a crossing without val= is not read")
            others = [word for word in part[1:] if word is not value]
            ends.append((f"{name}_{end}", self._crossing([f"{part[0]}={value[4:]}", *others], plan, kind)))
        if any(of in self._measures for of, _ in ends):
            raise _LeftError(f"{name}_trig or {name}_targ is taken")
        self._measures |= {of: entry for of, entry in ends if entry is not None}
        unit = {"tran": "s", "ac": "Hz"}.get(kind, "1")
        self._measures[name] = {"kind": "expression", "value": f"{ends[1][0]} - {ends[0][0]}", "unit": unit}


def _number(word: str) -> float:
    value = spice_number(word)
    if value is None or not math.isfinite(value):
        raise _LeftError(f"{word!r} is not a number; a bench's analyses and measures have numbers")
    return value


def _frequencies(words: list[str]) -> dict[str, Any]:
    if len(words) != 4 or words[0] != "dec":
        raise _LeftError("a bench has frequencies by decade: dec POINTS START STOP")
    return {"points": int(_number(words[1])), "start": _number(words[2]), "stop": _number(words[3])}


def _window(words: list[str]) -> dict[str, float]:
    found = {}
    for word in words:
        key, _, given = word.partition("=")
        if key not in ("from", "to"):
            raise _LeftError(f"{word!r} has no counterpart")
        found["start" if key == "from" else "stop"] = _number(given)
    return found


# Functions of ngspice's formulas -> those of a bench's.
_FUNCTIONS = {"log": "ln", "arctan": "atan"} | {name: name for name in FUNCTIONS if name != "db"}


def _formula(node: Expr, text: str) -> str:
    """A formula of a ``.meas`` as a bench writes it. Raises `_LeftError` for what a bench's have not."""
    parts = [_formula(arg, text) for arg in node.args]
    if node.op == "number":
        return repr(node.value)
    if node.op == "name":
        return node.name.lower()
    if node.op == "call":
        if node.name.lower() not in _FUNCTIONS:
            raise _LeftError(f"a bench has no function {node.name.lower()}()")
        return f"{_FUNCTIONS[node.name.lower()]}({', '.join(parts)})"
    if node.op in ("**", "^"):
        if node.args[1].op in ("**", "^") and text[node.args[1].start] != "(":
            raise _LeftError("its powers follow each other without brackets")
        return f"pow(abs({parts[0]}), {parts[1]})"  # of a negative number ngspice takes the magnitude
    if node.op == "cond":
        return f"({parts[0]} ? {parts[1]} : {parts[2]})"
    if len(parts) == 1:
        return f"({node.op[1]}{parts[0]})"
    return f"({parts[0]} {node.op} {parts[1]})"


def _of(vector: str, kind: str) -> str:
    """A vector of a ``.meas`` as a bench names it: in ``.ac`` ngspice takes the real part, and a phase in radians."""
    match = re.fullmatch(r"([vi])(p?)(\(.*\))", vector) if kind == "ac" else None
    if match is None:
        return vector
    return f"rad({match[1]}{match[3]})" if match[2] else f"{match[1]}r{match[3]}"


def _unit(vector: str) -> str:
    return "V" if re.match(r"v[rim]?\(", vector) else "A" if re.match(r"i[rim]?\(", vector) else "1"
