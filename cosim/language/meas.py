"""What became of a deck's ``.meas`` cards: their values, and ngspice's reason for each that has no value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from cosim.errors import NetlistError
from cosim.language.hazards import options_of
from cosim.language.netlist import Line, Netlist

CARDS = (".meas", ".measure")
_VALUE = re.compile(r"(\S+)\s*=\s*([+-]?[\d.]+(?:e[+-]?\d+)?)(?=\s|$)", re.IGNORECASE)
_NUMBER = r"([+-]?\d[\d.]*(?:e[+-]?\d+)?)"
_WINDOW = re.compile(rf"\bfrom=\s*{_NUMBER}\s+to=\s*{_NUMBER}", re.IGNORECASE)
_FAILED = re.compile(r"\.meas(?:ure)?\s+\S+\s+(\S+).*failed!?$", re.IGNORECASE)
_ADDRESSED = re.compile(r"^error:\s*(?:measure\s+\S+\s+(?:failed:\s*)?(?:\S+\([^)]*\)\s*:\s*)?)?", re.IGNORECASE)
_ROW = re.compile(r"new internal line no\. (\d+)", re.IGNORECASE)
SEVERAL = "give it a deck of its own, or 'cosim new bench --from' the deck, which runs each by itself"
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


def values(texts: Sequence[str], wanted: Sequence[str]) -> dict[str, float]:
    """The values as ngspice prints them; a measure that failed, or has an empty window, is absent."""
    found: dict[str, float] = {}
    for text in texts:
        match = _VALUE.match(text.strip())
        if match and match[1].lower() in wanted and not _empty(text):
            found[match[1].lower()] = float(match[2])
    return found


def _empty(text: str) -> str:
    """Why a measure's window is empty, for which ngspice gives 0: it begins after the end of the run."""
    match = _WINDOW.search(text)
    low, high = (float(match[1]), float(match[2])) if match is not None else (0.0, 0.0)
    return f"its window from {low:g} to {high:g} is empty" if low > high else ""


def reasons(netlist: Netlist, rows: Sequence[str], texts: Sequence[str], had: Mapping[str, float]) -> dict[str, str]:
    """Why each measure that is not in ``had`` has no value, in ngspice's words where it gives any.

    ``rows`` are those of the deck that ngspice ran, by which its messages on expressions count.
    """
    lines = [text.strip() for text in texts if text.strip()]
    said: dict[str, str] = {}
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
        elif (window := _empty(text)) and (value := _VALUE.match(text)):
            said.setdefault(value[1].lower(), window)
    kinds = {analysis.kind for analysis in netlist.analyses()}
    found = {}
    for _, words in _cards(netlist):
        name, kind = words[2].lower(), words[1].lower()
        if name not in had:
            silent = "ngspice gives neither a value nor a reason"
            if len(kinds) > 1 and kind in ("tran", "dc", "ac"):
                silent = f"ngspice measures one analysis of a deck, not .{kind} here: {SEVERAL}"
            elif kind not in ("tran", "dc", "ac"):
                silent = "ngspice's .meas is limited to tran, dc, sp, or ac analysis"
            other = f"there is no .{kind} analysis" if kind not in kinds else silent
            found[name] = said.get(name, other)
    return found
