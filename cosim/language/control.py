"""What a plain ``.control`` block would be without one: analyses as cards, measures as ``.meas``, the rest named.

A block is a program and is never run. Most blocks only start analyses, plot and measure: `translate` writes those as
cards, with which the netlist can run, and names each command without an equivalent, with its line and the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cosim.language.expressions import Unreadable
from cosim.language.hazards import OPTIONS
from cosim.language.instances import constant
from cosim.language.lt_syntax import parse_expression
from cosim.language.netlist import Line, Netlist
from cosim.language.numbers import spice_number

_ANALYSES = frozenset(["op", "tran", "dc", "ac", "noise", "tf", "sens", "pz", "disto", "sp"])
_SHOWN = frozenset(
    ["print", "plot", "iplot", "gnuplot", "asciiplot", "xgraph", "hardcopy", "bltplot", "pyplot", "eprint"]
)
_WITHOUT_EFFECT = frozenset(
    ["run", "display", "listing", "rusage", "quit", "exit", "destroy", "echo", "status", "version", "setplot",
     "setscale", "unset", "remcirc", "where", "state", "reset",
     "settype", "show", "showmod", "unlet", "remzerovec", "inventory", "edisplay", "esave", "undefine", "help",
     "history", "jobs", "rehash", "sysinfo", "shift"]
)  # fmt: skip
_PROGRAMS = frozenset(["shell", "system", "source", "aspice", "rspice", "edit", "cd", "codemodel", "!"])
_WRITTEN = frozenset(["write", "wrdata", "wrs2p", "snsave", "wrnodev", "eprvcd", "dump", "mrdump", "cdump", "sndprint"])
_READ = frozenset(["load", "snload"])
_COMPUTED = frozenset(["let", "compose", "define", "deriv", "cross", "transpose", "reshape"])
_NEW_PLOTS = frozenset(["fft", "linearize", "spec", "psd", "cutout"])
_LOOPS = frozenset(["foreach", "while", "dowhile", "repeat", "if", "else", "end", "break", "continue", "goto", "label"])
_CHANGES = frozenset(["alter", "altermod", "alterparam", "mc_source", "stop", "step", "resume", "trace"])
_QUIET_VARIABLES = re.compile(
    r"(color\d*|xbrushwidth|xgridwidth|hcopy\w*|filetype|noaskquit|nobreak|num_threads|wr_\w+|appendwrite|units|"
    r"ngbehavior|noprintscale|nounits|width|height|curplot\w*|nomoremode|no_mem_check|xfont|gnuplot_terminal|"
    r"nolegend|plainwrite|pointchars|pyplot\w*|wfont\w*|strict_errorhandling|plotstyle|gridsize|nogrid|xcompress|"
    r"polydegree|polysteps|ticmarks|rawfile|rawfileprec|noglob|echo|debug|history|prompt|editor|svg\w*|plotwinstyle)$",
    re.IGNORECASE,
)
_PHASE = re.compile(r"\.meas\w*\s.*\b[vi]p\(", re.IGNORECASE)
_UNITS = re.compile(r"(?:(?:pre_)?set\s(?:.*\s)?units\s*=\s*\"?(\w)|unset\s(?:.*\s)?units\b)", re.IGNORECASE)
_OF_ANGLE = re.compile(r"\b(?:a?(?:rc)?(?:sin|cos|tan)h?|c?ph|phase)\s*\(", re.IGNORECASE)
DEGREES = "57.295779513082323"
_NOT_PHASE = r"(?:(?!\b[vi]p\().)*"
_OF_PHASE = re.compile(
    rf"(\.meas\w*\s+\w+)\s+(\S+)\s+((?:find|max|min|avg|pp)\s+[vi]p\([^()]*\){_NOT_PHASE})", re.IGNORECASE
)
_WHEN_PHASE = re.compile(
    rf"(\.meas\w*\s+\w+\s+\S+\s+(?:find\s+{_NOT_PHASE})?when\s+[vi]p\([^()]*\)\s*=\s*)([^\s=]+)({_NOT_PHASE})",
    re.IGNORECASE,
)
# Functions that blocks and cards have, with one meaning where the value is real: below zero cards give none for a root.
_SAME = frozenset({"abs", "sqrt", "exp", "ln", "log10"})
# A sign behind another one, and numbers as 4k7: cards read them otherwise.
_ODD = re.compile(r"[-+*/(]\s*[-+]|(?<![\w.])[\d.]+[A-Za-z]+\d")
_NUMBER = re.compile(r"(?<![\w.])(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[A-Za-z]*")
_WORD = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
_LET = re.compile(r"let\s+(\w+)\s*=\s*(.+)$", re.IGNORECASE)
_SCALAR = re.compile(r"\$&(\w+)")
_RESULT = re.compile(r"(?:let|compose|cross|meas(?:ure)?\s+\w+)\s+(\w+)", re.IGNORECASE)
_TARGET = re.compile(r"\w+\s+([^\s=\[(]+)")
_COMMENT = re.compile(r"""("[^"]*"|'[^']*')|(;.*|//.*|\$\s.*)""")
READ_BY_BLOCKS = ".csparam"
_GIVEN = re.compile(r"(\w+)\s*=\s*(\{[^{}]*\}|'[^']*'|\S+)")
_PARAMETER_VECTOR = re.compile(r"@[\w.#]+\[\w+\]")


@dataclass(frozen=True)
class Note:
    """One command of a block that becomes no card, and the reason."""

    line: Line
    reason: str

    def __str__(self) -> str:
        return f"{self.line.where}: {self.line.text!r}: {self.reason}"


@dataclass(frozen=True)
class Translated:
    """``cards`` replace a netlist's blocks; ``dropped`` has no effect on its results; ``impossible`` would be lost."""

    cards: tuple[str, ...]
    dropped: tuple[Note, ...]
    impossible: tuple[Note, ...]

    def apply(self, text: str) -> str:
        """``text`` (of the main file) without its blocks, and with the cards before ``.end``."""
        kept: list[str] = []
        inside = read = False
        for number, row in enumerate(text.splitlines()):
            word = row.split(None, 1)[0].lower() if row.strip() else ""
            read = bool(number) and (word == READ_BY_BLOCKS or (read and word.startswith("+")))
            if read:
                continue
            if number and word.startswith(".control"):
                inside = True
            elif inside:
                inside = word != ".endc"
            elif not (number and (row.strip().startswith("*#") or word == ".end")):
                kept.append(row)
        return "\n".join([*kept, *self.cards, ".end"]) + "\n"


def translate(netlist: Netlist) -> Translated:
    """What the ``.control`` blocks of ``netlist`` (and its ``*#`` lines) would be as cards."""
    cards: list[str] = []
    dropped: list[Note] = []
    impossible: list[Note] = []
    commands = [Line(line.text.lstrip("*# "), line.where) for line in netlist.directives]
    commands += [command for block in netlist.controls for command in block.commands]
    saved: list[str] = []
    scalars: dict[str, float] = {}
    computed: dict[str, str] = {}  # a vector that is not computed -> the command that would
    measured: dict[str, str] = {}  # a measure, which only param= can name in a card -> its command
    kinds: dict[str, str] = {}  # a measure -> its analysis
    taken = {  # a measure -> the card that gives it; empty where that is the block's
        words[2].lower(): _plain(line.text)
        for line in netlist.cards(".meas", ".measure")
        if len(words := line.text.split()) > 2
    }
    degrees = False  # whether phases are measured in degrees
    phases = next((line for line in netlist.cards(".meas", ".measure") if _PHASE.match(line.text)), None)
    plot = ""  # the command that began a plot of computed vectors
    for line in netlist.cards(READ_BY_BLOCKS):
        for name, text in _GIVEN.findall(line.text):
            if (value := constant(netlist, text)) is not None:
                scalars[name.lower()] = value
        dropped.append(Note(line, "only a .control block could read it"))
    for command in commands:
        for part in _statements(command):
            word = part.text.split()[0].lower()
            result = found[1].lower() if (found := _RESULT.match(part.text)) else ""
            if taken.get(result, own := _plain(f".{part.text}")) != own:
                impossible.append(Note(part, f"{result!r} is measured before this, and cards keep one value of a name"))
                continue
            if degrees and word == "let" and _OF_ANGLE.search(part.text):
                impossible.append(Note(part, "is computed in degrees, and cards have radians: write its value"))
                continue
            if (let := _LET.match(part.text)) and (value := constant(netlist, let[2], scalars)) is not None:
                scalars[let[1].lower()] = value
                dropped.append(Note(part, f"is {value:g}, and is put in where the block names it"))
                continue
            if let is not None and (formula := _of_measures(let[2], scalars, kinds)):
                kind, text = formula
                cards.append(f".meas {kind} {let[1]} param='{text}'")
                measured[result], kinds[result], taken[result] = part.text, kind, ""
                scalars.pop(result, None)
                continue
            if units := _UNITS.match(part.text):
                degrees = (units[1] or "").lower() == "d"
                if degrees and phases is not None:
                    impossible.append(
                        Note(part, f"changes {phases.text.strip()!r} of the deck, which is in radians here")
                    )
                    continue
            if word in _COMPUTED or word in _NEW_PLOTS:
                plot = part.text if word in _NEW_PLOTS else plot
                if word in _COMPUTED and (name := _TARGET.match(part.text)):
                    computed[name[1].lower()] = part.text
                    scalars.pop(name[1].lower(), None)
                dropped.append(Note(part, "is not computed: do it in Python on the waveforms, or with .meas"))
                continue
            card, reason, lost = _one(Line(_filled(part.text, scalars), part.where), saved)
            if card and word in _ANALYSES:
                plot = ""
            if card and word in ("meas", "measure", "fourier"):
                parts = card.split(None, 3)
                body = parts[-1] if word != "fourier" and len(parts) > 3 else card
                known = computed if body.lower().startswith("param") else {**measured, **computed}
                named = next((text for name, text in known.items() if _names(body, name)), plot)
                if body is not card:
                    measured[result], kinds[result], taken[result] = part.text, parts[1].lower(), ""
                    scalars.pop(result, None)
                if named:
                    card, reason, lost = "", f"measures what {named!r} computes, which is not done here", True
            if unknown := _SCALAR.search(card):
                card, reason, lost = "", f"names {unknown[0]}, which is not known before the run", True
            if card and degrees and _PHASE.match(card):
                turned = _in_degrees(card)
                if not turned:
                    impossible.append(Note(part, "measures a phase in degrees; cards have radians: write it in those"))
                cards += turned
            elif card:
                cards.append(card)
            elif lost:
                impossible.append(Note(part, reason))
            elif units:
                dropped.append(Note(part, f"phases are in {'degrees' if degrees else 'radians'} from here on"))
            else:
                dropped.append(Note(part, reason))
    if saved:
        cards.append(".save all " + " ".join(dict.fromkeys(saved)))
    present = {_plain(line.text) for line in netlist.lines}
    unique = [card for card in dict.fromkeys(cards) if _plain(card) not in present]
    return Translated(tuple(unique), tuple(dropped), tuple(impossible))


def _of_measures(text: str, scalars: Mapping[str, float], kinds: Mapping[str, str]) -> tuple[str, str] | None:
    """The analysis, and ``text`` with the numbers of ``scalars``, where it is a formula of measures of one analysis
    that means the same in a block and in a card; None for any other.
    """
    try:
        tree = parse_expression(text, caret_is_power=True)
    except Unreadable:
        return None
    named = {name.lower() for name in tree.names()}
    of = {kinds[name] for name in named & kinds.keys()}
    known = all(
        node.op in ("number", "name", "+", "-", "*", "/", "u-", "u+")
        or (node.op == "call" and node.name.lower() in _SAME)
        for node in tree.walk()
    )
    if not known or _ODD.search(text) or len(of) != 1 or named - kinds.keys() - scalars.keys():
        return None
    filled = _NUMBER.sub(lambda match: repr(spice_number(match[0])), text)

    def value(match: re.Match[str]) -> str:
        name = match[0].lower()
        return f"({scalars[name]!r})" if name in scalars and name not in kinds else match[0]

    return of.pop(), "".join(_WORD.sub(value, filled).split())


def _in_degrees(card: str) -> list[str]:
    """A ``.meas`` of a phase in degrees as cards in radians; empty where it cannot be one."""
    if match := _OF_PHASE.fullmatch(card):
        head, name, what = match.groups()
        return [f"{head} {name}_rad {what}", f"{head} {name} param='{name}_rad*{DEGREES}'"]
    if (match := _WHEN_PHASE.fullmatch(card)) and (level := spice_number(match[2])) is not None:
        return [f"{match[1]}{level / float(DEGREES)!r}{match[3]}"]
    return []


def _plain(card: str) -> str:
    """A card to compare: small letters, single blanks, ``.measure`` as ``.meas``."""
    return re.sub(r"\.measure\b", ".meas", " ".join(card.lower().split()))


def _names(card: str, vector: str) -> bool:
    return re.search(rf"(?<![\w.#@]){re.escape(vector)}(?![\w.#@(])", card, re.IGNORECASE) is not None


def _filled(text: str, scalars: Mapping[str, float]) -> str:
    """A command with the numbers that it names: ``tran $&step 1u``."""
    return _SCALAR.sub(lambda match: repr(scalars[match[1].lower()]) if match[1].lower() in scalars else match[0], text)


def _statements(command: Line) -> list[Line]:
    """The command without its comment: ``;``, ``//`` and ``$`` before a blank begin one in a block, too."""
    text = _COMMENT.sub(lambda match: match[1] or "", command.text).strip()
    return [Line(text, command.where)] if text else []


def _one(command: Line, saved: list[str]) -> tuple[str, str, bool]:
    """The card, or the reason why there is none and whether the results change without it."""
    word, _, rest = command.text.partition(" ")
    name, rest = word.lower(), rest.strip()
    if "`" in command.text or name in _PROGRAMS or name.startswith("!") or name == "pre_shell":
        return "", "starts a program, which a netlist may not", True
    if re.search(r">|<", rest) and name in (_SHOWN | {"echo", "display", "listing"}):
        return "", "writes a file; cosim keeps all waveforms itself", False
    if name in _ANALYSES:
        return f".{name} {rest}".rstrip(), "", False
    if name in ("meas", "measure"):
        return f".meas {rest}", "", False
    if name == "fourier":
        return f".four {rest}", "", False
    if name == "save":
        return f".save {rest}", "", False
    if name in ("option", "options", "set", "pre_set") and rest:
        return _setting(name.removeprefix("pre_"), rest)
    if name in _SHOWN:
        saved += _PARAMETER_VECTOR.findall(rest)
        return "", f"all vectors are kept: look at {rest or 'them'} in the result", False
    if name in _WITHOUT_EFFECT or not name:
        return "", "has no effect on the results", False
    if name in _WRITTEN:
        return "", "writes a file; cosim keeps all waveforms itself", False
    if name in _READ:
        return "", "reads a file", True
    if name in _LOOPS:
        return "", "a loop or a branch; a campaign does that (sweep, Monte Carlo)", True
    if name in _CHANGES:
        return "", "changes the circuit between runs; a campaign does that", True
    if name in ("osdi", "pre_osdi"):
        return "", "loads a compiled model; name it to cosim instead (Deck.osdi)", True
    return "", "has no equivalent", True


def _setting(name: str, rest: str) -> tuple[str, str, bool]:
    variable, _, value = (part.strip() for part in rest.partition("="))
    several = rest.split()
    if name != "set" and len(several) > 1 and "=" not in rest:
        known = [word.lower() for word in several if not _QUIET_VARIABLES.match(word)]
        if all(word in OPTIONS for word in known):
            return (f".options {' '.join(known)}" if known else ""), "has no effect on the results", False
    if variable.lower() in OPTIONS:
        return f".options {variable}={value}" if value else f".options {variable}", "", False
    if _QUIET_VARIABLES.match(variable):
        return "", "has no effect on the results", False
    return "", "sets something that is not an option of the solver", True
