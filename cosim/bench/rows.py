"""Where the rows of a bench's deck stand in the bench's file: a message about a circuit names the line to edit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from cosim.toml_lines import line_of

_PLACE = re.compile(r"\{(stimulus|section|library|device)\.([\w.]+)\}")


def filled(circuit: str, value: Callable[[str, str], str]) -> tuple[str, list[int]]:
    """``circuit`` stripped, with ``value(kind, name)`` for each ``{kind.name}``, and the line that each row is from.

    A device's negative value stands in parentheses inside an expression, where ``-1.9**2`` would be -3.61; elsewhere
    it stays the number that a card asks for.
    """
    lines: list[str] = []
    rows: list[int] = []
    card = ""  # with its continuations, as far as it is read
    for number, line in enumerate(circuit.strip().split("\n")):
        card = f"{card}\n" if line.lstrip().startswith("+") else ""
        made, end = [], 0
        for match in _PLACE.finditer(line) if "{" in line else ():
            made.append(line[end : match.start()])
            card += line[end : match.start()]
            text, end = value(match[1], match[2]), match.end()
            negative = match[1] == "device" and text.startswith("-")
            made.append(f"({text})" if negative and _in_expression(card, line[end:]) else text)
        card += line[end:]
        lines.append("".join(made) + line[end:])
        rows += [number] * (lines[-1].count("\n") + 1)
    return "\n".join(lines), rows


def _in_expression(before: str, after: str) -> bool:
    """Whether what stands between two parts of a card is part of an expression: in braces or quotes, of a behavioural
    source, or beside an operator.
    """
    braces = before.count("{") > before.count("}")
    source = before.lstrip()[:1] in ("b", "B") and "=" in before
    operator = re.search(r"[^\s][-+*/^]$", before) or re.match(r"\s*[*/^]", after)
    quotes = before.rpartition("\n")[2].count("'") % 2  # of its row: an earlier one may end in a comment
    return bool(braces or quotes or source or operator)


def deck_rows(file: Path, circuit: str, *, before: int, rows: Sequence[int], analysis: str) -> tuple[int | None, ...]:
    """The line of ``file`` for each row of a deck, None for what is not in it; empty for a bench without a file.

    Args:
        file: the bench.
        circuit: its circuit as the file has it.
        before: how many rows the deck has before its circuit.
        rows: for each row of the circuit in the deck, the line of the stripped ``circuit`` that it came from.
        analysis: the name of the analysis, which the row after the circuit asks for.
    """
    try:
        status = file.stat()
        found = _lines(file, status.st_mtime_ns, status.st_size, circuit, analysis)
    except (OSError, UnicodeDecodeError):
        return ()  # a bench that was not loaded from a file
    lines, card = found
    return (*[None] * before, *(lines[row] for row in rows), card)


def asked_rows(file: Path, asked: tuple[tuple[str, tuple[str, ...]], ...]) -> Mapping[str, int]:
    """The line of ``file`` for each vector: ``asked`` has vectors with the keys of the entry that asks for them."""
    try:
        status = file.stat()
        return _asked(file, status.st_mtime_ns, status.st_size, asked)
    except (OSError, UnicodeDecodeError):
        return {}  # a bench that was not loaded from a file


@lru_cache(maxsize=256)
def _asked(file: Path, changed: int, size: int, asked: tuple[tuple[str, tuple[str, ...]], ...]) -> Mapping[str, int]:
    del changed, size  # keys only
    text = file.read_text(encoding="utf-8")
    found = {vector: row for vector, keys in reversed(asked) if (row := line_of(text, keys)) is not None}
    return MappingProxyType(found)


@lru_cache(maxsize=256)
def _lines(
    file: Path, changed: int, size: int, circuit: str, analysis: str
) -> tuple[tuple[int | None, ...], int | None]:
    """The line of ``file`` for each line of its stripped circuit, and that of the analysis."""
    del changed, size  # keys only
    text = file.read_text(encoding="utf-8")
    physical = text.split("\n")
    lines = circuit.strip().split("\n")
    key = line_of(text, ("circuit",))
    card = line_of(text, ("analyses", analysis)) or line_of(text, ("analysis",))
    # Row for row as it was written, beginning at the key or below it; a text with escapes gets the line of its key.
    for first in range(key or 1, len(physical) - len(lines) + 2) if key else ():
        if all(line.strip() in physical[first - 1 + k] for k, line in enumerate(lines)):
            return tuple(range(first, first + len(lines))), card
    return (key,) * len(lines), card
