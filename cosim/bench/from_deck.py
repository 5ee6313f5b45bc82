"""A bench from a working deck: its circuit as it is, its analyses, and its ``.meas`` as measures.

What a bench cannot hold is named, line by line, and nothing is left out in silence. A ``.control`` block is read as
`cosim.language.control` does: analyses and measures as cards. A bench runs at tighter tolerances than ngspice's own,
and from its operating point, so numbers differ from the deck's within the deck's tolerance.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cosim.bench.deck_measures import NAME, DeckMeasures, LeftError, number
from cosim.errors import InputError, NetlistRefused
from cosim.language.dialect import temperatures
from cosim.language.hazards import REMEDIES, refuse_language
from cosim.language.instances import assigned
from cosim.language.lt_meas import Circuit
from cosim.language.lt_syntax import assignments
from cosim.language.netlist import Line, logical_lines, read_text, source_text, translate
from cosim.language.numbers import in_parameter, spice_number

SUFFIXES = (".cir", ".sp", ".spice", ".net", ".ckt", ".spi")
_MOST_STEPS = 10_000
_ANALYSES = (".tran", ".dc", ".ac", ".op", ".noise", ".tf", ".sens", ".pz")
# Cards that change no number that a bench measures.
_OUTPUT = frozenset({".save", ".print", ".plot", ".probe", ".width", ".end", ".four", ".fourier", ".backanno"})


@dataclass
class FromDeck:
    """The tables of a bench, and what was left out or changed, a sentence each.

    ``lines`` are those of the deck for each row of the circuit, ``measured`` those of its measures, by name; empty
    where they are not known, of a deck with a ``.control`` block.
    """

    tables: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    lines: tuple[int | None, ...] = ()
    measured: Mapping[str, int] = field(default_factory=dict)

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
        self._sweep: dict[str, list[float]] = {}
        self._after: dict[str, float] = {}  # analysis -> where its data begin
        self._circuit: list[str] = []
        self._places: list[int | None] = []
        self._placed = not (netlist.controls or netlist.directives)

    def read(self) -> FromDeck:
        depth = 0
        measures = []
        self._notes += temperatures(self._lines)
        for line in self._lines:
            refuse_language(line)
            depth += line.card in (".subckt", ".macro")
            if depth or not line.card:
                self._take(line.text, line)
            elif line.card in (".meas", ".measure"):
                measures.append(line)
            else:
                self._try(self._card, line)
            depth = max(0, depth - (line.card in (".ends", ".eom")))
        if not self._analyses:
            why = f": {'; '.join(self._notes)}" if self._notes else ""
            raise InputError(
                f"{self._file}: no analysis that a bench has{why}", remedy=f"one of {', '.join(_ANALYSES)}"
            )
        found = self._measured(measures)
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
            "measures": found.table,
        }
        kept = {key: value for key, value in tables.items() if value}
        if not self._placed:
            return FromDeck(kept, self._notes)
        return FromDeck(kept, self._notes, tuple(self._places), found.lines)

    def _measured(self, lines: Sequence[Line]) -> DeckMeasures:
        found = DeckMeasures(
            self._analyses, numbers=set(self._parameters), others=set(self._again),
            circuit=Circuit.of(self._lines, functions=frozenset(), hspice=False), file=self._file.name,
        )  # fmt: skip
        for line in lines:
            self._try(found.add, line)
        found.of_analyses(self._circuit)
        for name, begin in self._after.items():
            found.begin(name, begin)
        self._notes += found.notes
        return found

    def _left(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)

    def _try(self, take: Any, line: Line) -> None:
        try:
            take(line)
        except LeftError as reason:
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
            self._options["temp"] = number(words[1])
        elif line.card == ".step":
            self._step([word.lower() for word in words])
        elif line.card in _OUTPUT:
            return
        elif line.card in (".alter", ".data", ".hdl"):
            raise NetlistRefused(f"{self._file}, line {line.where.line}: {line.card}", remedy=REMEDIES[line.card])
        else:
            self._take(line.text, line)

    def _take(self, text: str, line: Line) -> None:
        self._circuit.append(text)
        self._places.append(line.where.line)

    def _param(self, line: Line) -> None:
        pairs = list(assignments(line.text, len(line.card)))
        rest = []
        for pair in pairs:
            name, given = pair.key, line.text[pair.start : pair.end]
            value, cards = spice_number(in_parameter(given)), self._again.get(name.lower(), [])
            if value is not None and value != spice_number(given):
                self._left(
                    f"line {line.where.line}: {name}={given} is {value:g}, as in ngspice, which reads mil as milli in "
                    f".param; 25.4e-6 is a mil, as an element's value alone"
                )
            if value is not None and len(cards) > 1:
                value = None
                places = " and ".join(dict.fromkeys(str(card.where) for card in cards))
                self._left(f"{name!r} is not a parameter of the bench, as it is set more than once: at {places}")
            if value is None or not NAME.match(name):
                rest.append(f"{name}={given if pair.bare else f'{{{given}}}'}")
            else:
                self._parameters[name.lower()] = value
        if rest or not pairs:
            self._take(f".param {' '.join(rest)}" if pairs else line.text, line)

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
            self._sweep[words[2]] = [number(word) for word in words[4:]]
        elif words[1:2] == ["param"] and len(words) == 6:
            start, stop, step = (number(word) for word in words[3:])
            if step == 0.0:
                raise LeftError("its step is zero")
            self._sweep[words[2]] = [start + k * step for k in range(int((stop - start) / step + 1e-9) + 1)]
        elif words[1:2] in (["dec"], ["oct"]) and words[2:3] == ["param"] and len(words) == 7:
            self._sweep[words[3]] = _spaced(words[1], *(number(word) for word in words[4:]))
        else:
            raise LeftError(
                "only '.step param NAME list ...', '.step param NAME START STOP STEP' and "
                "'.step dec|oct param NAME START STOP POINTS' are read"
            )

    def _analysis(self, line: Line, words: list[str]) -> None:
        kind, given = words[0][1:], words[1:]
        if "sweep" in given:  # HSPICE's
            at = given.index("sweep")
            self._swept_by_hspice(line, given[at + 1 :])
            given = given[:at]
        if kind == "tran":
            entry = self._tran(line, given)
        elif kind == "dc":
            if len(given) != 4:
                raise LeftError("a bench sweeps one source by START STOP STEP; sweep the other one as a parameter")
            start, stop, step = (number(word) for word in given[1:])
            entry = {"source": given[0], "start": start, "stop": stop, "step": step}
        elif kind == "ac":
            entry = _frequencies(given)
        elif kind == "noise":
            entry = {"output": given[0], "source": given[1], **_frequencies(given[2:6])}
        elif kind == "tf":
            entry = {"output": given[0], "source": given[1]}
        elif kind == "sens" and len(given) == 1:
            entry = {"output": given[0]}
        elif kind == "pz" and len(given) == 6 and given[5] in ("pz", "pol", "zer"):
            of = "voltage" if given[4] == "vol" else "current"
            entry = {"input": given[:2], "output": given[2:4], "of": of}
        elif kind == "op":
            entry = {}
        else:
            raise LeftError("a bench has this analysis in another form, see docs/benches.md")
        count = sum(entry["kind"] == kind for entry in self._analyses.values())
        self._analyses[kind if not count else f"{kind}_{count + 1}"] = {"kind": kind, **entry}

    def _swept_by_hspice(self, line: Line, words: list[str]) -> None:
        """``sweep NAME START STOP STEP``, ``sweep NAME poi COUNT VALUES``."""
        try:
            if len(words) == 5 and words[1] in ("dec", "oct"):
                self._step([".step", words[1], "param", words[0], *words[3:], words[2]])
            elif len(words) == 4 and words[1] not in ("poi", "lin", "dec", "oct"):
                self._step([".step", "param", *words])
            elif words[1:2] == ["poi"] and len(words) > 3:
                self._step([".step", "param", words[0], "list", *words[3:]])
            else:
                raise LeftError("write it as a sweep of the bench, its [monte_carlo], or a plan of 'cosim campaign'")
        except LeftError as reason:
            self._notes.append(f"line {line.where.line}: 'sweep {' '.join(words)}' is left out: {reason}")

    def _tran(self, line: Line, given: list[str]) -> dict[str, Any]:
        if "uic" in given:
            raise InputError(
                f"{self._file}, line {line.where.line}: a bench's transient begins at the operating point, without uic",
                remedy="write .ic V(node)=value for what starts elsewhere, and leave uic out",
            )
        if len(given) < 2:
            raise InputError(
                f"{self._file}, line {line.where.line}: {line.text!r} has no time step, as in LTspice",
                remedy=f"'cosim lint {self._file} --fix OUT' writes the deck for ngspice",
            )
        step, stop, *more = (number(word) for word in given)
        begin = more[0] if more else 0.0
        if begin:
            self._after["tran"] = begin
        return {"stop": stop, "step": step, "max_step": more[1] if len(more) > 1 else min(step, (stop - begin) / 50.0)}


def _spaced(by: str, start: float, stop: float, points: float) -> list[float]:
    """``points`` per decade or octave, both ends among them. Raises `LeftError`."""
    if start * stop <= 0.0 or points < 1.0:
        raise LeftError("its ends have one sign, and there is a point per decade or octave at least")
    base = 10.0 if by == "dec" else 2.0
    steps = points * math.log(stop / start, base)
    if steps < 0.0 or steps > _MOST_STEPS or abs(steps - round(steps)) > 1e-6:
        raise LeftError("its end is not a whole number of its steps above its start: write the values as a list")
    return [float(f"{start * base ** (k / points):.12g}") for k in range(round(steps) + 1)]


def _frequencies(words: list[str]) -> dict[str, Any]:
    if len(words) != 4 or words[0] not in ("dec", "oct", "lin"):
        raise LeftError("frequencies are dec, oct or lin, POINTS START STOP")
    spacing = {} if words[0] == "dec" else {"spacing": words[0]}
    return {"points": int(number(words[1])), **spacing, "start": number(words[2]), "stop": number(words[3])}
