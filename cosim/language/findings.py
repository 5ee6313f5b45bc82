"""What lint reports: a finding has a rule, a place, one sentence and a remedy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from cosim.errors import InputError, MissingFile, NetlistRefused, Where
from cosim.files import decoded, resolved

MAX_FILE = 2 << 20
MAX_TOKENS = 200_000


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"  # does not compile, or does not run
    WRONG = "wrong"  # runs, and gives another result than its text says
    UNVERIFIED = "unverified"  # was not understood, or could not be shown: cosim claims nothing about it
    WARNING = "warning"  # may be intended


@dataclass(frozen=True)
class Rule:
    """One thing to look for. ``says`` and ``remedy`` may have a ``{}`` for what was found."""

    code: str
    severity: Severity
    says: str
    remedy: str


@dataclass(frozen=True)
class Finding:
    """One thing found. ``line`` and ``column`` count from 1."""

    rule: str
    severity: Severity
    line: int
    column: int
    message: str
    remedy: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**vars(self), "severity": self.severity.value}

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.severity.value} [{self.rule}] {self.message}; {self.remedy}"


def at(rule: Rule, line: int, column: int, what: str = "") -> Finding:
    """A finding of ``rule``."""
    return Finding(rule.code, rule.severity, line, column, rule.says.format(what), rule.remedy.format(what))


@dataclass(frozen=True)
class Edit:
    """Replace ``text[start:end]`` by ``new``; ``why`` is what the fix says about it.

    Edits of one ``group`` (default: ``why``) are made together or not at all.
    """

    start: int
    end: int
    new: str
    why: str = ""
    group: str = ""


def apply_edits(text: str, edits: Sequence[Edit]) -> str:
    """``text`` with all edits; of two that overlap the outer one counts, and an insertion inside it is lost."""
    kept: list[Edit] = []
    for edit in sorted(edits, key=lambda e: (e.start, e.start != e.end, -e.end)):
        if kept and edit.start < kept[-1].end:
            continue
        kept.append(edit)
    pieces, position = [], 0
    for edit in kept:
        pieces += [text[position : edit.start], edit.new]
        position = edit.end
    return "".join([*pieces, text[position:]])


@dataclass(frozen=True)
class Fixed:
    """A repaired text: ``done`` says what was changed, ``left`` what was not and why, both one sentence each."""

    text: str
    done: tuple[str, ...]
    left: tuple[str, ...]


def read_source(path: Path) -> str:
    """The text of a file to lint. Raises `MissingFile`; `InputError` for a file that is too large, or not text."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(f"{path} is not a file", remedy="give a .va, .sub, .lib or .cir file")
        if size > MAX_FILE:
            raise InputError(f"larger than {MAX_FILE >> 20} MiB", where=Where(path), remedy="lint one model at a time")
        data = path.read_bytes()
    except OSError as error:
        raise MissingFile(f"cannot read {path}: {error.strerror}", remedy="check the path") from None
    text = decoded(data, where=Where(path))
    if "\0" in text:
        raise InputError("this is not text", where=Where(path), remedy="give a .va, .sub, .lib or .cir file")
    return text.replace("\r\n", "\n")


def inside(name: str, folders: Sequence[Path], *, where: Where) -> Path | None:
    """The file that an include means, looked for in ``folders`` in turn; None if it does not exist.

    Raises `NetlistRefused` for one outside of them.
    """
    roots = [folder.resolve() for folder in folders]
    outside = False
    for folder in folders:
        found = resolved(folder / name, where=where)
        if not any(found.is_relative_to(root) for root in roots):
            outside = True
        elif os.path.isfile(found):
            return found
    if outside:
        raise NetlistRefused(
            f"{name!r} leads outside the file's folder",
            where=where,
            remedy="put it beside the file",
        )
    return None
