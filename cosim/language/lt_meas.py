"""``.meas`` as LTspice writes it, in ngspice's form: ``AT 5u``, ``V(a)*I(V1)``, ``PARAM x/2``, ``TRIG V(a)=1``.

An expression becomes ``par('...')``, which ngspice computes as a source of the circuit: in ``.ac`` that is another
number, so that only one part of one vector is written there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cosim.language.control import DEGREES
from cosim.language.lt_syntax import FUNCTIONS, middle_number
from cosim.language.netlist import Line
from cosim.language.numbers import spice_number

CARDS = (".meas", ".measure")
_KINDS = ("tran", "ac", "dc", "op", "noise", "tf", "four", "sp")
_MEASURED = ("tran", "ac", "dc")
_REDUCED = ("avg", "max", "min", "pp", "rms", "integ", "integral", "min_at", "max_at")
_HEADS = frozenset({"find", "when", "deriv", "derivative", "param", "trig", "targ", "at", *_REDUCED})
_WORDS = frozenset({*_HEADS, "from", "to", "td", "val", "rise", "fall", "cross"})
# Parts of a complex vector -> those of ngspice's names, v(out) itself being a real part there.
_PARTS = {"mag": "vm", "db": "vdb", "ph": "vp", "phase": "vp", "re": "vr", "real": "vr", "im": "vi", "imag": "vi"}
_VECTOR = re.compile(
    r"(?:v\(\s*[^\s(),]+\s*\)|i\(\s*v[^\s(),]*\s*\)|v(?:m|db|p|r|i)\(\s*[^\s(),]+\s*\)"
    r"|par\(\s*'.*'\s*\)|@?[a-z][\w.#:]*(?:\[\w+\])?)\Z",
    re.IGNORECASE | re.DOTALL,
)
_CURRENT = re.compile(r"\bi\(\s*([^\s(),]+)\s*\)", re.IGNORECASE)
_KEYWORD = re.compile(r"[A-Za-z]\w*")


class LostError(Exception):
    """What of a card ngspice cannot measure."""


@dataclass(frozen=True)
class Circuit:
    """What the cards need to know of a file: its analyses, its resistors, and whether another simulator wrote it.

    Args:
        resistors: nodes and resistance by lower-case name, of those outside subcircuits.
        functions: what an expression may call, lower case.
        foreign: a plain ``v(out)`` of ``.ac`` is a magnitude.
    """

    analyses: tuple[str, ...] = ()
    resistors: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    functions: frozenset[str] = frozenset()
    foreign: bool = False

    @classmethod
    def of(cls, lines: Sequence[Line], *, functions: frozenset[str], hspice: bool) -> Circuit:
        """That of a file's logical lines."""
        kinds, resistors, depth = list[str](), dict[str, tuple[str, str, str]](), 0
        for line in lines:
            depth += line.card in (".subckt", ".macro")
            words = line.text.split()
            if line.card[1:] in _KINDS and line.card not in kinds:
                kinds.append(line.card[1:])
            elif not depth and words[0][0] in "rR" and len(words) > 3:
                value = " ".join(words[3:])
                plain = re.match(r"(?:r\s*=\s*)?(\{[^{}]*\}|[\w.+-]+)\s*$", value, re.IGNORECASE)
                if plain is not None:  # what else stands there (tc=, temp=, m=) makes another resistance of it
                    given = plain[1].strip("{}")
                    own = given if hspice else middle_number(given) or given
                    resistors[words[0].lower()] = (words[1], words[2], own)
            depth = max(0, depth - (line.card in (".ends", ".eom")))
        callable_ = functions | FUNCTIONS.keys() | {"v", "i"}
        found = cls(tuple(kinds), resistors, callable_)
        cards = [line for line in lines if line.card in CARDS]
        foreign = hspice or any(line.card == ".backanno" for line in lines) or any(map(found.is_other_form, cards))
        return cls(found.analyses, resistors, callable_, foreign)

    def is_other_form(self, line: Line) -> bool:
        """Whether a card is not one of ngspice's."""
        try:
            return _plain(self.written(line)) != _plain([line.text])
        except LostError:
            return False

    def lost(self, line: Line) -> str:
        """Why ngspice cannot measure what a card asks for; empty where it can."""
        try:
            self.written(line)
        except LostError as reason:
            return str(reason)
        return ""

    def written(self, line: Line) -> list[str]:
        """A card for ngspice, and one before it where it needs another. Raises `LostError`."""
        head, _, rest = line.text.partition(" ")
        words = rest.split(None, 2)
        if len(words) < 2:
            raise LostError("it is not complete")
        if words[0].lower() in _KINDS and not (words[1].lower() in _HEADS and len(words) == 2):
            kind, name, body = words[0], words[1], words[2] if len(words) > 2 else ""
        else:
            kind = next((one for one in self.analyses if one in _MEASURED), "")
            name, body = words[0], rest.split(None, 1)[1]
        if kind.lower() not in _MEASURED:
            raise LostError(f"ngspice has no .meas of {f'an analysis {kind}' if kind else 'this file'}")
        before, made = _Body(self, kind.lower(), name).card(body)
        return [f"{head} {kind} {row}" for row in (*before, f"{name} {made}")]


def shown(line: Line) -> str:
    """A card for a sentence."""
    return repr(" ".join(line.text.split())[:60])


def _plain(rows: list[str]) -> list[str]:
    return ["".join(row.lower().split()) for row in rows]


@dataclass(frozen=True)
class _Body:
    circuit: Circuit
    kind: str
    name: str

    def card(self, body: str) -> tuple[list[str], str]:
        """Cards that come before it, and what follows the name."""
        word = _KEYWORD.match(body.strip())
        if word is not None and word[0].lower() == "param":
            formula = body.strip()[5:].strip()
            if formula.startswith("="):  # as ngspice has it
                return [], body.strip()
            if re.search(r"\b[vi]\s*\(", formula, re.IGNORECASE):
                raise LostError("a formula of other measures cannot name vectors in ngspice")
            quoted = formula if formula[:1] in "'{\"" and formula[-1:] in "'}\"" else f"'{formula}'"
            return [], f"{word[0]}={quoted}"
        parts = list(_parts(body))
        if word is not None and re.fullmatch(r"err[123]?", word[0].lower()):
            raise LostError(f"ngspice: function '{word[0].lower()}' currently not supported")
        if not parts or parts[0][0] not in _HEADS:
            raise LostError("it begins with none of FIND, WHEN, TRIG, PARAM, AVG and their kin")
        op = parts[0][0]
        if op in _REDUCED and any(key in ("trig", "targ") for key, _, _ in parts[1:]):
            raise LostError(f"{op} between TRIG and TARG is not in ngspice, which takes FROM= and TO= with numbers")
        before: list[str] = []
        made: list[str] = []
        for key, word_, given in parts:
            if key in ("from", "to", "td", "at", "rise", "fall", "cross", "val"):
                made.append(f"{word_}={given}")
            elif key in ("when", "trig", "targ"):
                made.append(self._event(key, word_, given))
            else:
                vector = self._vector(given)
                if vector.lower().startswith("vp(") and self.circuit.foreign:  # degrees there, radians in ngspice
                    before = [f"{self.name}_rad"]
                made.append(f"{word_} {vector}")
        text = " ".join(part for part in made if part)
        if not before:
            return [], text
        return [f"{before[0]} {text}"], f"param='{before[0]}*{DEGREES}'"

    def _event(self, key: str, word: str, given: str) -> str:
        """``WHEN a=b``; ``TRIG a=b`` is ``trig a val=b``."""
        if not given:
            return word
        sides = _sides(given)
        if len(sides) == 1:
            return f"{word} {self._vector(sides[0])}"
        left, right = self._vector(sides[0]), sides[1]
        if re.search(r"\b[vi]\w*\(", right, re.IGNORECASE):
            right = self._vector(right)
            if key != "when":
                raise LostError(f"{key} of one vector against another is not in ngspice; WHEN takes two")
        elif left.lower().startswith("vp(") and self.circuit.foreign:
            value = spice_number(right)
            if value is None:
                raise LostError("a phase is in radians in ngspice, and this level is not a number")
            right = repr(value / float(DEGREES))
        elif spice_number(right) is None and not re.fullmatch(r"\{.*\}|'.*'|\w+", right):
            right = f"{{{right}}}"
        return f"{word} {left}={right}" if key == "when" else f"{word} {left} val={right}"

    def _vector(self, text: str) -> str:
        text = text.strip()
        if text.lower() == "power":
            raise LostError("ngspice has no power of the whole circuit; measure par('-V(vdd)*I(Vdd)') of its supplies")
        if self.kind == "ac":
            return self._part(text)
        if _VECTOR.match(text):
            return text
        if text[:1] + text[-1:] in ("{}", "''"):
            text = text[1:-1]
        if odd := [name for name in re.findall(r"(\w+)\s*\(", text.lower()) if name not in self.circuit.functions]:
            raise LostError(f"ngspice's .meas has no {odd[0]}()")
        return f"par('{''.join(_CURRENT.sub(self._current, text).split())}')"

    def _current(self, match: re.Match[str]) -> str:
        name = match[1].lower()
        if name in self.circuit.resistors:
            first, second, value = self.circuit.resistors[name]
            return f"((V({first})-V({second}))/({value}))"
        if name[0] in "velh":
            return match[0]
        raise LostError(f"{match[0]}: ngspice measures the currents of sources; put a voltage source of 0 V in series")

    def _part(self, text: str) -> str:
        """One part of one vector: all that ``.ac`` has in ngspice."""
        if match := re.fullmatch(r"(\w+)\(\s*v\(\s*([^\s(),]+)\s*\)\s*\)", text, re.IGNORECASE):
            if match[1].lower() not in _PARTS:
                raise LostError(f"{match[1]}() of a vector is not in ngspice's .meas ac")
            return f"{_PARTS[match[1].lower()]}({match[2]})"
        if self.circuit.foreign and (plain := re.fullmatch(r"v(\(\s*[^\s(),]+\s*\))", text, re.IGNORECASE)):
            return f"vm{plain[1]}"
        if not _VECTOR.match(text):
            raise LostError(f"{text!r}: ngspice's .meas ac takes one vector, v(out), vdb(out) or vp(out)")
        return text


def _parts(body: str) -> Iterator[tuple[str, str, str]]:
    """Keyword, as it was written, and what follows it, brackets and quotes kept together."""
    marks, depth, quoted, position = list[re.Match[str]](), 0, False, 0
    while position < len(body):
        sign = body[position]
        if sign == "'":
            quoted = not quoted
        depth += (sign in "({") - (sign in ")}")
        word = _KEYWORD.match(body, position)
        if word is None:
            position += 1
            continue
        begins = not position or not (body[position - 1].isalnum() or body[position - 1] in "_.")
        if (
            begins
            and not depth
            and not quoted
            and word[0].lower() in _WORDS
            and body[word.end() : word.end() + 1] != "("
        ):
            marks.append(word)
        position = word.end()
    for mark, after in zip(marks, [*marks[1:], None], strict=False):
        given = body[mark.end() : after.start() if after is not None else len(body)].strip()
        yield mark[0].lower(), mark[0], given.removeprefix("=").strip()


def _sides(text: str) -> list[str]:
    """Both sides of an equation."""
    match = re.search(r"(?<![=<>!])=(?!=)", text)
    return [text] if match is None else [text[: match.start()].strip(), text[match.end() :].strip()]
