"""A restricted SPICE deck in VACASK's own language.

Supported are R, C, independent V and I (DC, PULSE, PWL, SIN), instances of Verilog-A modules (``N``), subcircuits
with parameters, ``.param``, ``.model`` of a module, ``.tran`` from zero, a few options. Anything else raises, with its
line: an engine that is held against ngspice must not run another circuit than ngspice does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cosim.errors import NetlistError, Where
from cosim.language.netlist import Line, Netlist
from cosim.language.numbers import spice_number

_ASSIGNMENT = re.compile(r"(\w+)=(\{[^}]*\}|'[^']*'|\"[^\"]*\"|[^\s,]+)")
_TOKEN = re.compile(r"\{[^}]*\}|'[^']*'|[^\s(),]+")
_NUMBER = re.compile(r"(?<![\w.])(\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d+))?([A-Za-z]*)")
_EXPRESSION = re.compile(r"[\w.+\-*/() ,]*")
_BUILT_IN = frozenset(
    ["r", "res", "c", "cap", "l", "ind", "d", "npn", "pnp", "njf", "pjf", "nmf", "pmf", "nmos", "pmos", "vdmos", "sw",
     "csw", "ltra", "urc", "txl", "cpl"]
)  # fmt: skip
_OPTIONS = {
    "reltol": "reltol", "abstol": "abstol", "vntol": "vntol", "chgtol": "chgtol", "gmin": "gmin", "temp": "temp",
    "trtol": "tran_lteratio", "maxord": "tran_maxord",
    "tran_redofactor": "tran_redofactor",
}  # fmt: skip
# The first step after a breakpoint is a backward Euler one, and VACASK's own choice of it, a quarter of the way to the
# next, makes an error of 1e-3 of a state on a 5 ns edge, whatever the tolerances; a hundredth of the way makes 1e-5.
_FIRST_STEP = {"tran_fbr": "0.01"}
# ngspice's switches that change neither the circuit nor the equations.
_WITHOUT_MEANING = frozenset(["klu", "sparse", "noacct", "acct", "noinit", "nomod", "nopage", "list", "node", "opts"])
_SILENT_CARDS = frozenset([".print", ".plot", ".width", ".title", ".end", ".backanno", ".save"])


@dataclass
class Translation:
    """The text for VACASK, and for each of its rows (from 0) the place that it came from.

    ``stop`` is the end of the transient in s; ``names`` leads from VACASK's identifiers back to the deck's names.
    """

    rows: list[str] = field(default_factory=list)
    places: list[Where | None] = field(default_factory=list)
    stop: float = 0.0
    names: dict[str, str] = field(default_factory=dict)

    def add(self, row: str, line: Line | None = None) -> None:
        """One row, and where it came from."""
        self.rows.append(row)
        self.places.append(line.where if line is not None else None)


def _cannot(line: Line, what: str) -> NetlistError:
    return NetlistError(
        f"VACASK cannot run {what}: {line.text[:60]!r}",
        where=line.where,
        remedy="give a device of the library as --form verilog-a, or run it with ngspice",
    )


def value(text: str, line: Line) -> str:
    """A SPICE number, or an expression in braces or quotes, as VACASK writes it."""
    number = spice_number(text)
    if number is not None:
        return repr(number)
    inner = text[1:-1] if text[:1] in "{'" else text
    if not _EXPRESSION.fullmatch(inner):
        raise _cannot(line, f"the expression {inner!r}")

    def plain(match: re.Match[str]) -> str:
        found = spice_number(match[1] + (f"e{match[2]}" if match[2] else "") + match[3])
        return repr(found)

    return f"({_NUMBER.sub(plain, inner.lower())})"


class _Translator:
    def __init__(self, netlist: Netlist) -> None:
        self.netlist = netlist
        self.out = Translation()
        self.inside: str | None = None
        self.step = 0.0

    def name(self, text: str) -> str:
        """An identifier for a node, an instance, a model or a subcircuit; case does not count."""
        lower = text.lower()
        if lower in ("0", "gnd"):
            return "0"
        if re.fullmatch(r"[a-z_]\w*", lower):
            return lower
        encoded = "_" + re.sub(r"\W", lambda match: f"_{ord(match[0]):x}_", lower)
        self.out.names[encoded] = lower
        return encoded

    def assignments(self, text: str, line: Line, *, keep_case: bool = False) -> str:
        rest = _ASSIGNMENT.sub("", text).replace("(", " ").replace(")", " ").replace(",", " ").strip()
        if rest:
            raise _cannot(line, f"{rest!r}")
        pairs = [
            (name if keep_case else name.lower(), given if given.startswith('"') else value(given, line))
            for name, given in _ASSIGNMENT.findall(text)
        ]
        return " ".join(f"{name}={given}" for name, given in pairs)

    def element(self, line: Line) -> None:
        text = re.sub(r"\s*=\s*", "=", line.text)
        rules: dict[str, Callable[[str, Line], str]] = {
            "r": self.passive, "c": self.passive, "v": self.source, "i": self.source, "n": self.module, "x": self.call,
        }  # fmt: skip
        rule = rules.get(text[0].lower())
        if rule is None:
            raise _cannot(line, "this element")
        self.out.add(("  " if self.inside else "") + rule(text, line), line)

    def passive(self, text: str, line: Line) -> str:
        words = text.split(None, 3)
        if len(words) < 4:
            raise NetlistError(f"{words[0]} needs two nodes and a value", where=line.where, remedy="complete the line")
        kind = words[0][0].lower()
        given = words[3].strip()
        named = re.fullmatch(rf"{kind}=(.+)", given, re.IGNORECASE)
        given = named[1] if named else given
        if "=" in given or (len(_TOKEN.findall(given)) != 1 and given[:1] not in "{'"):
            raise _cannot(line, "more than a plain value")
        nodes = f"{self.name(words[1])} {self.name(words[2])}"
        return f"{self.name(words[0])} ({nodes}) cosim_{kind} {kind}={value(given, line)}"

    def source(self, text: str, line: Line) -> str:
        words = text.split(None, 3)
        if len(words) < 3:
            raise NetlistError(f"{words[0]} needs two nodes", where=line.where, remedy="complete the line")
        if len(words) > 3 and "=" in words[3]:
            raise _cannot(line, "a source with options")
        tokens = _TOKEN.findall(words[3]) if len(words) > 3 else []
        wave = self.waveform(tokens, line)
        kind = "vsource" if words[0][0].lower() == "v" else "isource"
        return f"{self.name(words[0])} ({self.name(words[1])} {self.name(words[2])}) {kind} {wave}"

    def waveform(self, tokens: Sequence[str], line: Line) -> str:
        parts: list[str] = []
        level = "0.0"
        position = 0
        while position < len(tokens):
            word = tokens[position].lower()
            position += 1
            if word == "dc":
                if position == len(tokens):
                    raise NetlistError("DC without a value", where=line.where, remedy="complete the line")
                level = value(tokens[position], line)
                position += 1
            elif word == "ac":
                while position < len(tokens) and spice_number(tokens[position]) is not None:
                    position += 1
            elif word in ("pulse", "pwl", "sin"):
                end = position
                while end < len(tokens) and tokens[end].lower() not in ("dc", "ac"):
                    end += 1
                given = [value(token, line) for token in tokens[position:end]]
                parts = [{"pulse": self.pulse, "pwl": self.pwl, "sin": self.sine}[word](given, line)]
                position = end
            elif position == 1 and (word[0] in "{'" or spice_number(word) is not None):
                level = value(word, line)
            else:
                raise _cannot(line, f"a source with {word!r}")
        return " ".join([f"dc={level}", *parts])

    def pulse(self, given: Sequence[str], line: Line) -> str:
        # What ngspice takes for a width or a period that is left out differs between V and I, and between releases.
        if len(given) != 7:
            raise _cannot(line, f"a PULSE with {len(given)} values instead of all seven")
        filled = list(given)
        for index in (3, 4):  # zero means the printing step, as in ngspice
            filled[index] = repr(self.step) if filled[index] == "0.0" else filled[index]
        names = ("val0", "val1", "delay", "rise", "fall", "width", "period")
        return 'type="pulse" ' + " ".join(f"{name}={text}" for name, text in zip(names, filled, strict=True))

    def pwl(self, given: Sequence[str], line: Line) -> str:
        if len(given) < 2 or len(given) % 2:
            raise _cannot(line, f"a PWL with {len(given)} values")
        try:
            points = [(float(given[i]), float(given[i + 1])) for i in range(0, len(given), 2)]
        except ValueError:
            raise _cannot(line, "a PWL with expressions") from None
        if points[0][0] > 0.0:
            points.insert(0, (0.0, points[0][1]))
        if len(points) == 1:
            points.append((max(self.out.stop, points[0][0] + 1.0), points[0][1]))
        if any(later[0] <= earlier[0] for earlier, later in pairwise(points)):
            raise _cannot(line, "a PWL whose times do not rise")
        return 'type="pwl" wave=[' + ", ".join(f"{t!r}, {v!r}" for t, v in points) + "]"

    def sine(self, given: Sequence[str], line: Line) -> str:
        if len(given) < 3 or any(text != "0.0" for text in given[3:]):
            raise _cannot(line, "a SIN other than offset, amplitude, frequency")
        return f'type="sine" sinedc={given[0]} ampl={given[1]} freq={given[2]}'

    def module(self, text: str, line: Line) -> str:
        words = text.split()
        plain = [word for word in words[1:] if "=" not in word]
        if len(plain) < 2:
            raise NetlistError(f"{words[0]} needs nodes and a model", where=line.where, remedy="complete the line")
        nodes = " ".join(self.name(node) for node in plain[:-1])
        rest = self.assignments(" ".join(word for word in words[1:] if "=" in word), line, keep_case=True)
        return f"{self.name(words[0])} ({nodes}) {self.name(plain[-1])} {rest}".rstrip()

    def call(self, text: str, line: Line) -> str:
        head, tail = _split_assignments(text)
        words = head.split()
        if words and words[-1].lower() == "params:":
            words.pop()
        if len(words) < 2:
            raise NetlistError(f"{words[0]} names no subcircuit", where=line.where, remedy="complete the line")
        nodes = " ".join(self.name(node) for node in words[1:-1])
        return f"{self.name(words[0])} ({nodes}) {self.name(words[-1])} {self.assignments(tail, line)}".rstrip()

    def card(self, line: Line) -> None:
        card = line.card
        text = re.sub(r"\s*=\s*", "=", line.text)
        rest = text.split(None, 1)[1] if len(text.split(None, 1)) > 1 else ""
        if card in _SILENT_CARDS or card in (".tran", ".options", ".option", ".opt", ".temp"):
            return
        if card in (".param", ".params"):
            self.out.add(f"parameters {self.assignments(rest, line)}", line)
        elif card in (".subckt", ".macro"):
            if self.inside is not None:
                raise _cannot(line, "a subcircuit within a subcircuit")
            head, tail = _split_assignments(rest)
            words = [word for word in head.split() if word.lower() != "params:"]
            if not words:
                raise NetlistError(".subckt without a name", where=line.where, remedy="complete the line")
            self.inside = words[0]
            self.out.add(f"subckt {self.name(words[0])}({' '.join(self.name(word) for word in words[1:])})", line)
            if tail:
                self.out.add(f"  parameters {self.assignments(tail, line)}", line)
        elif card in (".ends", ".eom"):
            self.inside = None
            self.out.add("ends", line)
        elif card == ".model":
            words = rest.replace("(", " ").replace(")", " ").split(None, 2)
            if len(words) < 2 or words[1].lower() in _BUILT_IN:
                raise _cannot(line, "a model other than a Verilog-A module")
            tail = self.assignments(words[2], line, keep_case=True) if len(words) > 2 else ""
            self.out.add(f"model {self.name(words[0])} {words[1].lower()} {tail}".rstrip(), line)
        else:
            raise _cannot(line, f"{card}")

    def options(self, lines: Sequence[Line]) -> str:
        found: dict[str, str] = dict(_FIRST_STEP)
        for line in lines:
            body = re.sub(r"\s*=\s*", "=", line.text.split(None, 1)[1] if len(line.text.split(None, 1)) > 1 else "")
            for word in [f"temp={body.strip()}"] if line.card == ".temp" else body.replace(",", " ").split():
                name, _, given = word.lower().partition("=")
                if name in _OPTIONS:
                    found[_OPTIONS[name]] = value(given, line)
                elif name == "method" and given in ("trap", "trapezoidal", "gear"):
                    found["tran_method"] = '"gear2"' if given == "gear" else '"trap"'
                elif name not in _WITHOUT_MEANING:
                    raise _cannot(line, f"option {name}")
        return " ".join(f"{name}={text}" for name, text in found.items())

    def transient(self) -> tuple[Line, str]:
        analyses = self.netlist.analyses()
        if len(analyses) != 1 or analyses[0].kind != "tran":
            line = next(analysis.line for analysis in analyses if analysis.kind != "tran" or len(analyses) > 1)
            raise _cannot(line, "anything but one .tran")
        line = analyses[0].line
        numbers = [spice_number(word) for word in line.text.split()[1:]]
        plain = [number for number in numbers if number is not None]
        if len(plain) != len(numbers) or len(plain) < 2:
            raise _cannot(line, "a .tran other than numbers (no uic, no parameters)")
        self.step, self.out.stop = plain[0], plain[1]
        if len(plain) > 2 and plain[2] != 0.0:
            raise _cannot(line, "a .tran that starts late")
        longest = plain[3] if len(plain) > 3 else min(self.step, self.out.stop / 50)
        return line, f"  analysis tran1 tran step={self.step!r} stop={self.out.stop!r} maxstep={longest!r}"


def _split_assignments(text: str) -> tuple[str, str]:
    match = re.search(r"\s(\w+=)", text)
    return (text[: match.start()], text[match.start() :].strip()) if match else (text, "")


def translate(netlist: Netlist, osdi: Sequence[str], extra: Sequence[Line] = ()) -> Translation:
    """``netlist`` for VACASK, with the compiled models ``osdi`` (paths) and further option cards ``extra``.

    Raises `NetlistError` for a line that VACASK's language cannot express.
    """
    translator = _Translator(netlist)
    tran_line, tran = translator.transient()
    out = translator.out
    out.add("cosim")
    for path in ("spice/resistor.osdi", "spice/capacitor.osdi", *osdi):
        out.add(f'load "{path}"')
    for model in ("vsource vsource", "isource isource", "cosim_r sp_resistor", "cosim_c sp_capacitor"):
        out.add(f"model {model}")
    for line in netlist.lines:
        if line.text.startswith("."):
            translator.card(line)
        else:
            translator.element(line)
    cards = [line for line in (*netlist.lines, *extra) if line.card in (".options", ".option", ".opt", ".temp")]
    given = translator.options(cards)
    out.add("control")
    if given:
        out.add(f"  options {given}")
    for row in ("  abort always", "  save default", "  save full"):
        out.add(row)
    out.add(tran, tran_line)
    out.add("endc")
    return out
