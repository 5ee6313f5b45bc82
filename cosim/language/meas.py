"""What became of a deck's ``.meas`` cards: their values, and ngspice's reason for each that has no value."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from cosim.errors import NetlistError
from cosim.language.expressions import Expr, Unreadable, evaluate
from cosim.language.hazards import options_of
from cosim.language.lt_syntax import dialect, parse_expression, segments
from cosim.language.netlist import Line, Netlist
from cosim.language.numbers import spice_number

CARDS = (".meas", ".measure")
_VALUE = re.compile(r"(\S+)\s*=\s*([+-]?[\d.]+(?:e[+-]?\d+)?)(?=\s|$)", re.IGNORECASE)
_NUMBER = r"([+-]?(?:nan|\d[\d.]*(?:e[+-]?\d+)?))"
_WINDOW = re.compile(rf"\bfrom=\s*{_NUMBER}\s+to=\s*{_NUMBER}", re.IGNORECASE)
_NOWHERE = re.compile(r"\b(?:at|with)=\s*[+-]?0\.?0*(?:e[+-]?0+)?\s*$", re.IGNORECASE)
_ENDS = re.compile(r"\b(from|to)\s*=\s*(\{[^}]*\}|'[^']*'|\"[^\"]*\"|[^\s=]+)")
_FAILED = re.compile(r"\.meas(?:ure)?\s+\S+\s+(\S+).*failed!?$", re.IGNORECASE)
_ADDRESSED = re.compile(r"^error:\s*(?:measure\s+\S+\s+(?:failed:\s*)?(?:\S+\([^)]*\)\s*:\s*)?)?", re.IGNORECASE)
_ROW = re.compile(r"new internal line no\. (\d+)", re.IGNORECASE)
SEVERAL = "give it a deck of its own, or 'cosim new bench --from' the deck, which runs each by itself"
_SILENT = "ngspice gives neither a value nor a reason"
_AFTERMATH = "cannot compute substitute"


def names(netlist: Netlist) -> tuple[str, ...]:
    """The names that ``.meas`` cards give, lower case. Raises `NetlistError` for an incomplete card, which ngspice
    would ignore.
    """
    return tuple(words[2].lower() for _, words in _cards(netlist))


def _cards(netlist: Netlist) -> Iterator[tuple[Line, list[str]]]:
    for line in netlist.cards(*CARDS):
        words = line.text.split()
        if len(words) < 4:
            raise NetlistError(
                f"{line.text[:60]!r} is incomplete", where=line.where,
                remedy="write .meas ANALYSIS NAME and what to measure, e.g. .meas tran top max v(out)",
            )  # fmt: skip
        yield line, words


def check_autostop(netlist: Netlist, options: Mapping[str, float | str]) -> None:
    """Raises `NetlistError` for the option autostop without a measure: ngspice would end a transient at its start."""
    cards = netlist.cards(".options", ".option", ".opt")
    given = [(line, *entry) for line in cards for entry in options_of(line)]
    on = [line for line, name, value in given if name.lower() == "autostop" and not value]
    asked = on or any(name.lower() == "autostop" and value in (True, "") for name, value in options.items())
    measured = any(words[1].lower() == "tran" for _, words in _cards(netlist))
    if asked and not measured and any(analysis.kind == "tran" for analysis in netlist.analyses()):
        raise NetlistError(
            "the option autostop ends a transient when all .meas are done, and there is none",
            where=on[0].where if on else None, remedy="add a .meas tran, or remove the option",
        )  # fmt: skip


def values(netlist: Netlist, texts: Sequence[str]) -> dict[str, float]:
    """The values as ngspice prints them; a measure that failed, or has an empty window, is absent."""
    found: dict[str, float] = {}
    empty = _empty_windows(netlist, texts)
    wanted = names(netlist)
    for text in texts:
        match = _VALUE.match(text.strip())
        if match and match[1].lower() in wanted and match[1].lower() not in empty:
            found[match[1].lower()] = float(match[2])
    return found


def _empty_windows(netlist: Netlist, texts: Sequence[str]) -> dict[str, str]:
    """Why a measure's window is empty, for which ngspice gives 0: it misses the run, or holds no point of it."""
    spans, parameters = _spans(netlist), _parameters(netlist)
    falling = {kind for kind, (first, last) in spans.items() if first > last}
    found: dict[str, str] = {}
    kinds: dict[str, str] = {}
    windows: dict[str, tuple[float | None, float | None]] = {}
    for _, words in _cards(netlist):
        kind, name = words[1].lower(), words[2].lower()
        kinds[name] = kind
        given = dict(_ENDS.findall(" ".join(words[3:]).lower()))
        if not given:
            continue
        low, high = sorted(spans.get(kind, (-math.inf, math.inf)))
        start = _number(given["from"], parameters) if "from" in given else low
        stop = _number(given["to"], parameters) if "to" in given else high
        windows[name] = (start, stop)
        if start is None or stop is None:
            continue
        missed = f"its window from {start:g} to {stop:g} is empty"
        if kind == "tran" and start > stop:
            found[name] = f"{missed}: it ends before it begins"
        elif start > high:
            found[name] = f"{missed}: the .{kind} ends at {high:g}"
        elif stop < low:
            found[name] = f"{missed}: the .{kind} begins at {low:g}"
    for text in texts:
        value, window = _VALUE.match(text.strip()), _WINDOW.search(text)
        if value is None or value[1].lower() in found:
            continue
        name = value[1].lower()
        start, stop = windows.get(name, (-math.inf, math.inf))
        if window is None:
            if not _NOWHERE.search(text) or float(value[2]):
                continue
            if start is None or stop is None:
                found[name] = (
                    "ngspice gives 0 at 0, as for an empty window, and the ends of its window are unknown here"
                )
            elif not min(start, stop) <= 0.0 <= max(start, stop):
                found[name] = "ngspice finds no point in its window"
            continue
        first, last = float(window[1]), float(window[2])
        if math.isnan(first):
            found[name] = "ngspice finds no point in its window"
        elif first > last and kinds.get(name) not in falling:
            found[name] = f"its window from {first:g} to {last:g} is empty"
        elif start is not None and start == stop:
            found[name] = f"its window from {start:g} to {stop:g} has no width"
    return found


def _parameters(netlist: Netlist) -> dict[str, str]:
    """The expressions of the parameters that ``.param`` cards set once."""
    cards = netlist.cards(".param", ".params", ".para")
    given = [(s.key.lower(), line.text[s.start : s.end]) for line in cards for s in segments(line)]
    count = Counter(key for key, _ in given)
    return {key: text for key, text in given if count[key] == 1}


def _number(text: str, parameters: Mapping[str, str], within: frozenset[str] = frozenset()) -> float | None:
    """A number, or what an expression of parameters comes to; None where that is unknown."""
    text = text.strip("{}'\" ")
    if (number := spice_number(text)) is not None:
        return number

    def lookup(node: Expr) -> float:
        key = node.name.lower()
        known = key in parameters and key not in within
        value = _number(parameters[key], parameters, within | {key}) if known else None
        if value is None:
            raise Unreadable(f"{node.name!r} has no value", node.start)
        return value

    try:
        return evaluate(
            parse_expression(text, caret_is_power=True), lookup, lambda _: None, dialect(caret_is_power=True)
        )
    except (Unreadable, ArithmeticError, ValueError, TypeError):
        return None


def _spans(netlist: Netlist) -> dict[str, tuple[float, float]]:
    """Where the only transient and the only sweep of one source begin and end, of those that are numbers."""
    found: dict[str, tuple[float, float]] = {}
    analyses = netlist.analyses()
    for kind, at in (("tran", (3, 2)), ("dc", (2, 3))):
        cards = [analysis.line.text.split() for analysis in analyses if analysis.kind == kind]
        if len(cards) != 1 or len(cards[0]) < 3 or (kind == "dc" and len(cards[0]) != 5):
            continue
        first, last = (spice_number(cards[0][k]) if len(cards[0]) > k and cards[0][k] != "uic" else 0.0 for k in at)
        if first is not None and last is not None:
            found[kind] = (first, last)
    return found


def reasons(netlist: Netlist, rows: Sequence[str], texts: Sequence[str], had: Mapping[str, float]) -> dict[str, str]:
    """Why each measure that is not in ``had`` has no value, in ngspice's words where it gives any.

    ``rows`` are those of the deck that ngspice ran, by which its messages on expressions count.
    """
    lines = [text.strip() for text in texts if text.strip()]
    said: dict[str, str] = _empty_windows(netlist, texts)
    for index, text in enumerate(lines):
        if failed := _FAILED.match(text):
            above = lines[index - 1] if index else ""
            reason = _ADDRESSED.sub("", above).strip(" .")
            said.setdefault(failed[1].lower(), reason or above)
        elif (row := _ROW.search(text)) and index + 1 < len(lines):
            number, reason = int(row[1]), lines[index + 1]
            words = rows[number - 1].split() if 0 < number <= len(rows) else []
            if len(words) > 2 and words[0].lower() in CARDS and _AFTERMATH not in reason.lower():
                said.setdefault(words[2].lower(), reason.rstrip("}"))
    kinds, parameters = {analysis.kind for analysis in netlist.analyses()}, _parameters(netlist)
    found = {}
    for _, words in _cards(netlist):
        name, kind = words[2].lower(), words[1].lower()
        if name not in had:
            silent = _SILENT
            if len(kinds) > 1 and kind in ("tran", "dc", "ac"):
                silent = f"ngspice measures one analysis of a deck, not .{kind} here: {SEVERAL}"
            elif kind not in ("tran", "dc", "ac"):
                silent = "ngspice's .meas is limited to tran, dc, sp, or ac analysis"
            other = f"there is no .{kind} analysis" if kind not in kinds else silent
            found[name] = (
                said.get(name) or (_no_number(words[3:], had, parameters) if other == _SILENT else "") or other
            )
    return found


def _no_number(card: Sequence[str], had: Mapping[str, float], parameters: Mapping[str, str]) -> str:
    """Which part of a formula is not a number, and of what; empty where all are, or a name is unknown."""
    word, _, formula = " ".join(card).partition("=")
    formula = formula.strip(" {}'\"")
    if word.strip().lower() != "param":
        return ""
    taken: dict[str, float] = {}

    def lookup(node: Expr) -> float:
        key = node.name.lower()
        value = had[key] if key in had else _number(parameters.get(key, ""), parameters)
        if value is None:
            raise Unreadable(f"{node.name!r} has no value", node.start)
        taken[node.name] = value
        return value

    language = dialect(caret_is_power=True)
    language = replace(language, functions={**language.functions, "sqrt": math.sqrt, "pow": math.pow})
    try:
        parts = reversed(list(parse_expression(formula, caret_is_power=True).walk()))
        for part in parts:  # what stands in brackets before what it stands in
            taken.clear()
            try:
                whole = math.isfinite(evaluate(part, lookup, lambda _: None, language))
            except (ArithmeticError, ValueError):
                whole = False
            except Unreadable:
                if (
                    part.op != "/"
                    or taken.keys() < part.names()
                    or evaluate(part.args[1], lookup, lambda _: None, language)
                ):
                    raise
                whole = False
            if not whole:
                of = " and ".join(f"{name} is {value:g}" for name, value in taken.items())
                return f"{formula[part.start : part.end]!r} is not a finite number{f', as {of}' if of else ''}"
    except (Unreadable, TypeError):
        return ""
    return ""
