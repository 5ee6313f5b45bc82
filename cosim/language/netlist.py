"""Reading a SPICE netlist: logical lines with their places, and the include tree flattened into one text.

A simulator never opens a user's file: `read` follows ``.include`` and ``.lib`` itself, within declared folders, and
`Netlist.flatten` writes what is left as one self-contained deck, one logical line a row, so that a line number in an
engine's message leads back to the user's file. What the netlist may say is `cosim.language.hazards`' part: `check`
refuses.

Comments are ngspice's: ``*`` in front, ``;``, ``//``, and ``$`` after a blank or a comma.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from cosim import resources
from cosim.errors import InputError, MissingFile, NetlistError, NetlistRefused, Where
from cosim.files import decoded, read_plain, resolved
from cosim.language.numbers import spice_number

if TYPE_CHECKING:
    from cosim.language.control import Translated

MAX_DEPTH = 40
MAX_INCLUDES = 20_000
MAX_LINES = 3_000_000
MAX_FILE = 128 << 20
_SHOWN = 200  # characters of a name in a message

# Every character at which str.splitlines() or a C reader could break a line and this reader does not.
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029]")
_COMMENT = re.compile(r"""("[^"]*"|'[^']*')|(;.*|//.*|(?:^|(?<=[\s,]))\$.*)""")
SECTION = "§"  # in LTspice's names of instances, X§U1
_UNICODE_UNITS = str.maketrans({"µ": "u", "μ": "u", "\u03a9": "Ohm", "\u2126": "Ohm", "°": "", SECTION: "_"})
_WORD = re.compile(r'"([^"]*)"|\'([^\']*)\'|(\S+)')


@dataclass(frozen=True, slots=True)
class Line:
    """One logical line: comments gone, continuations joined with one blank; ``where`` is its first physical line."""

    text: str
    where: Where

    @property
    def card(self) -> str:
        """The lower-case first word of a dot-card (``".tran"``); empty for an element."""
        return self.text.split(None, 1)[0].lower() if self.text.startswith(".") else ""


@dataclass(frozen=True)
class ControlBlock:
    """A ``.control`` block: the place of its head, and its commands."""

    where: Where
    commands: tuple[Line, ...]


@dataclass(frozen=True)
class Analysis:
    """One analysis card. ``stop`` is where a ``.tran`` ends in s, or None: no transient, or an expression."""

    kind: str
    line: Line
    stop: float | None = None


@dataclass(frozen=True)
class Netlist:
    """A netlist with all that it includes, in order.

    ``lines`` holds elements and cards, without ``.include``, ``.lib`` and ``.end``. ``directives`` are comment lines
    that ngspice runs as commands (``*#``). ``roots`` are the folders that files may come from, ``files`` those
    that were read, ``found`` maps each place that was tried to the file found there, or to None.
    """

    title: str
    lines: tuple[Line, ...]
    controls: tuple[ControlBlock, ...]
    directives: tuple[Line, ...]
    source: Path | None
    roots: tuple[Path, ...]
    files: tuple[Path, ...]
    found: tuple[tuple[Path, Path | None], ...] = ()

    def cards(self, *names: str) -> Iterator[Line]:
        """The dot-cards with one of ``names`` (``".tran"``)."""
        return (line for line in self.lines if line.text.startswith(".") and line.card in names)

    def own_lines(self) -> tuple[Line, ...]:
        """The lines of the user's own files: the source, and what lies in its folder."""
        folder = self.source.resolve().parent if self.source is not None else None
        files = {line.where.file for line in self.lines}
        own = {file for file in files if file is None or (folder and Path(file).resolve().is_relative_to(folder))}
        return tuple(line for line in self.lines if line.where.file in own)

    def analyses(self) -> tuple[Analysis, ...]:
        """The analysis cards in the order of the text."""
        found: list[Analysis] = []
        for line in self.cards(*ANALYSES):
            words = line.text.split()
            stop = spice_number(words[2]) if line.card == ".tran" and len(words) > 2 else None
            found.append(Analysis(line.card[1:], line, stop))
        return tuple(found)

    def flatten(
        self, extra: Sequence[str] = (), *, drop: frozenset[str] = frozenset()
    ) -> tuple[str, tuple[Where, ...]]:
        """One self-contained deck, and the place that each of its rows came from.

        ``extra`` rows go before ``.end``; cards in ``drop`` are left out. The title is replaced by a fixed one:
        ngspice executes some titles, and echoes all of them into the log.
        """
        kept = [line for line in self.lines if not (line.text.startswith(".") and line.card in drop)]
        rows = [TITLE, *(line.text for line in kept), *extra, ".end"]
        nowhere = Where(None, None)
        places = [Where(self.source, 1), *(line.where for line in kept), *[nowhere] * (len(extra) + 1)]
        return "\n".join(rows) + "\n", tuple(places)


TITLE = "* cosim"
ANALYSES = (".op", ".tran", ".dc", ".ac", ".noise", ".tf", ".sens", ".pz", ".disto", ".sp")


def source_text(path: str | Path) -> str:
    """The text of a netlist file: UTF-8, UTF-16 as LTspice writes it, or Latin-1 as in many foundries' files. Raises
    `MissingFile`; `NetlistError` for one that is too large, not a plain file, or broken UTF-16.
    """
    try:
        return decoded(read_plain(path, limit=MAX_FILE, kind="netlist"), where=Where(path))
    except MissingFile:
        raise
    except InputError as error:
        raise NetlistError(error.message, where=error.where or Where(path), remedy=error.remedy) from None


def netlist_path(path: Path, where: Where | None) -> Path:
    """``path`` absolute and without links. Raises `NetlistError` for what the file system rejects."""
    try:
        return resolved(path, where=where)
    except InputError as error:
        raise NetlistError(error.message, where=where, remedy=error.remedy) from None


def _strip_comment(text: str) -> str:
    if not (";" in text or "$" in text or "//" in text):
        return text.strip()
    for match in _COMMENT.finditer(text):
        if match[2] is not None:
            return text[: match.start(2)].strip()
    return text.strip()


def logical_lines(
    text: str, *, file: Path | None = None, has_title: bool = False, rows: Sequence[int | None] = ()
) -> list[Line]:
    """The logical lines of ``text``; with ``has_title`` the first physical line is skipped. ``rows`` are the lines
    of ``file`` in which those of ``text`` stand, for a text that was made from the file.

    Lines that begin with ``*#`` are kept, because ngspice runs them. Raises `NetlistError` for a control character, a
    continuation of nothing, or a character outside the simulator's language.
    """
    found: list[Line] = []
    pieces: list[str] = []
    start = 0
    open_end = in_control = False

    def place(number: int) -> Where:
        if not rows:
            return Where(file, number)
        return Where(file, rows[number - 1] if number <= len(rows) else None)

    def finish() -> None:
        if pieces:
            found.append(Line(" ".join(pieces), place(start)))
            pieces.clear()

    for number, raw in enumerate(text.split("\n"), start=1):
        row = raw[:-1] if raw.endswith("\r") else raw
        if not row.isprintable() and (bad := _CONTROL_CHARACTER.search(row.replace("\r", "\v"))):
            raise NetlistError(
                f"control character {bad[0]!r} in a netlist",
                where=place(number),
                remedy="remove it: one line, one row",
            )
        if number == 1 and has_title:
            continue
        stripped = row.strip()
        if not stripped or stripped[0] == "*":
            if stripped.startswith("*#"):
                found.append(Line(stripped, place(number)))
            continue
        in_control = in_control and not stripped.lower().startswith(".endc")
        # Within a block ';' separates commands and '$' names variables; the block is only ever shown, never run.
        body = stripped if in_control else _strip_comment(row)
        if not body:
            continue
        in_control = in_control or body.lower().startswith(".control")
        if not body.isascii() and not in_control:
            body = body.translate(_UNICODE_UNITS)
            if not body.isascii():
                odd = next(c for c in body if not c.isascii())
                raise NetlistError(
                    f"character {odd!r} outside a comment", where=place(number), remedy="write plain ASCII"
                )
        continues = body.endswith("\\\\")
        if continues:
            body = body[:-2].rstrip()
        if body.startswith("+"):
            if not pieces:
                raise NetlistError(
                    "a continuation ('+') with nothing to continue", where=place(number),
                    remedy="remove the '+', or the line between",
                )  # fmt: skip
            body = body[1:].strip()
        elif not open_end:
            finish()
            start = number
        if body:
            pieces.append(body)
        open_end = continues
    finish()
    return found


def words(text: str) -> list[str]:
    """The words of a card's argument list, quotes removed."""
    return [next(group for group in match.groups() if group is not None) for match in _WORD.finditer(text)]


@lru_cache(maxsize=32)
def _lines_of(path: Path, changed: int, size: int) -> list[Line]:
    """The lines of a file, once for all runs that share a kit; ``changed`` and ``size`` are keys only."""
    del changed, size
    return logical_lines(source_text(path), file=path)


class _Reader:
    """One walk over an include tree."""

    def __init__(self, roots: tuple[Path, ...]) -> None:
        self.roots = roots
        self.lines: list[Line] = []
        self.controls: list[ControlBlock] = []
        self.directives: list[Line] = []
        self.files: dict[Path, list[Line]] = {}
        self.found: dict[Path, Path | None] = {}
        self.walks = self.walked = 0

    def locate(self, name: str, *, base: Path | None, where: Where) -> Path:
        """The file that ``name`` means: beside the including file, else below a root; never outside the roots."""
        asked = Path(name)
        bases = [asked] if asked.is_absolute() else [b / asked for b in ((base,) if base else ()) + self.roots]
        outside: Path | None = None
        for candidate in bases:
            found = netlist_path(candidate, where)
            inside = any(found.is_relative_to(root) for root in self.roots)
            if inside and os.path.isfile(found):
                self.found[candidate] = found
                return found
            self.found[candidate] = None
            outside = outside or (None if inside else found)
        if outside is not None:
            folders = ", ".join(str(root) for root in self.roots) or "none"
            raise NetlistRefused(
                f"{name[:_SHOWN]!r} leads outside the folders that this netlist may read ({folders})",
                where=where, remedy="move the file there, or allow its folder",
            )  # fmt: skip
        raise MissingFile(f"included file {name[:_SHOWN]!r} does not exist", where=where, remedy="check the path")

    def load(self, path: Path, where: Where) -> list[Line]:
        if path not in self.files:
            try:
                status = path.stat()
                self.files[path] = _lines_of(path, status.st_mtime_ns, status.st_size)
            except OSError as error:
                raise MissingFile(
                    f"cannot read {str(path)!r}: {error.strerror}", where=where, remedy="check it"
                ) from None
        return self.files[path]

    def walk(self, lines: Sequence[Line], *, base: Path | None, section: str | None, depth: int) -> bool:
        """Append what ``lines`` hold, with ``section`` only that part of a library; returns whether it was found."""
        if depth > MAX_DEPTH:
            raise NetlistError(
                f"includes nest deeper than {MAX_DEPTH}", where=lines[0].where if lines else None,
                remedy="a file probably includes itself",
            )  # fmt: skip
        self.walks += 1
        self.walked += len(lines)
        if self.walks > MAX_INCLUDES or self.walked > 4 * MAX_LINES:
            raise NetlistError(
                f"more than {MAX_INCLUDES} includes, or {4 * MAX_LINES} lines in them",
                where=lines[0].where if lines else None, remedy="files probably include each other over and over",
            )  # fmt: skip
        inside: str | None = None
        found = False
        block: tuple[Where, list[Line]] | None = None
        for line in lines:
            card = line.card
            if inside is not None and card == ".endl":
                inside = None
                continue
            if card == ".lib" and block is None:
                arguments = words(line.text[4:])
                if len(arguments) == 1 and (inside is None or section is None):
                    inside = arguments[0].lower()
                    found = found or inside == section
                    if section is None:
                        self._require_end(lines, line)
                    continue
            if (inside != section) if section is not None else (inside is not None):
                continue
            if line.text.startswith("*#"):
                self.directives.append(line)
            elif block is not None:
                if card == ".endc":
                    self.controls.append(ControlBlock(block[0], tuple(block[1])))
                    block = None
                else:
                    block[1].append(line)
            elif card.startswith(".control"):
                block = (line.where, [])
            elif card in (".include", ".inc", ".incl"):
                self.include(line, base=base, depth=depth)
            elif card == ".lib":
                self.library(line, base=base, depth=depth)
            elif card == ".endl":
                raise NetlistError(".endl without .lib", where=line.where, remedy="remove it")
            elif card == ".end":
                continue
            else:
                self.lines.append(line)
                if len(self.lines) > MAX_LINES:
                    raise NetlistError(
                        f"more than {MAX_LINES} lines", where=line.where, remedy="is a file included twice?"
                    )
        if block is not None:
            self.controls.append(ControlBlock(block[0], tuple(block[1])))
        return found

    @staticmethod
    def _require_end(lines: Sequence[Line], head: Line) -> None:
        position = next(i for i, line in enumerate(lines) if line is head)
        if not any(line.card == ".endl" for line in lines[position + 1 :]):
            raise NetlistError(
                ".lib with one argument opens a section that no .endl closes", where=head.where,
                remedy="write '.include FILE' for a whole file, or '.lib FILE SECTION'",
            )  # fmt: skip

    def include(self, line: Line, *, base: Path | None, depth: int) -> None:
        arguments = line.text.split(None, 1)[1:]
        name = arguments[0].strip() if arguments else ""
        if len(name) > 1 and name[0] in "\"'" and name[-1] == name[0]:
            name = name[1:-1]
        if not name:
            raise NetlistError(f"{line.card} names no file", where=line.where, remedy="write .include 'FILE'")
        path = self.locate(name, base=base, where=line.where)
        self.walk(self.load(path, line.where), base=path.parent, section=None, depth=depth + 1)

    def library(self, line: Line, *, base: Path | None, depth: int) -> None:
        arguments = words(line.text[4:])
        if len(arguments) != 2:
            raise NetlistError(".lib takes a file and a section", where=line.where, remedy="write .lib 'FILE' SECTION")
        name, section = arguments[0], arguments[1].lower()
        path = self.locate(name, base=base, where=line.where)
        lines = self.load(path, line.where)
        if not self.walk(lines, base=path.parent, section=section, depth=depth + 1):
            heads = [words(other.text[4:]) for other in lines if other.card == ".lib"]
            known = dict.fromkeys(head[0] for head in heads if len(head) == 1)
            near = difflib.get_close_matches(arguments[1], known) or list(known)[:8]
            raise NetlistError(
                f"{path.name!r} has no section {arguments[1]!r}", where=line.where,
                remedy=f"it has {', '.join(near) or 'none'}{' and others' if len(known) > len(near) else ''}",
            )  # fmt: skip


def read_text(
    text: str, *, source: Path | None = None, roots: Sequence[Path] = (), rows: Sequence[int | None] = ()
) -> Netlist:
    """The netlist ``text`` and all that it includes.

    Args:
        text: the first line is the title.
        source: the file that it came from: named in messages; its folder is allowed, and includes are relative to it.
        roots: further folders that ``.include`` and ``.lib`` may read from; cosim's own are always among them.
        rows: the line of ``source`` that each row of ``text`` stands in; empty: they are the same.

    Raises:
        NetlistError: it cannot be read. NetlistRefused: an include leaves the roots. MissingFile: an include is not
        there.
    """
    own = (source.resolve().parent,) if source is not None else ()
    allowed = tuple(dict.fromkeys([*own, *(Path(root).resolve() for root in roots), *resources.shipped_roots()]))
    title, _, _ = text.partition("\n")
    _require_title(title, source)
    reader = _Reader(allowed)
    lines = logical_lines(text, file=source, has_title=True, rows=rows)
    reader.walk(lines, base=own[0] if own else None, section=None, depth=0)
    directives = list(reader.directives)
    if re.match(r"\s*\*\s*(#|ng_script)", title, re.IGNORECASE):
        directives.insert(0, Line(title.strip(), Where(source, 1)))
    return Netlist(
        title.strip().lstrip("* ").strip(), tuple(reader.lines), tuple(reader.controls), tuple(directives),
        source, allowed, tuple(reader.files), tuple(reader.found.items()),
    )  # fmt: skip


def read(path: str | Path, *, roots: Sequence[Path] = ()) -> Netlist:
    """The netlist in a file; see `read_text`. Raises `MissingFile`."""
    source = Path(path)
    return read_text(source_text(source), source=source, roots=roots)


def _require_title(title: str, source: Path | None) -> None:
    word = title.split(None, 1)[0].lower() if title.strip() else ""
    if word in ANALYSES or word in (".include", ".inc", ".lib", ".param", ".model", ".subckt", ".options", ".control"):
        raise NetlistError(
            f"the first line of a netlist is its title, and {word} stands there", where=Where(source, 1),
            remedy="put a title line before it",
        )  # fmt: skip


def translate(netlist: Netlist) -> Translated:
    """What the ``.control`` blocks of ``netlist`` would be as cards; see `cosim.language.control`."""
    from cosim.language.control import translate as translated  # control builds on this module

    return translated(netlist)


def check(netlist: Netlist) -> Netlist:
    """``netlist`` itself; raises `NetlistRefused` where it could run a program or reach files outside its roots."""
    from cosim.language.hazards import refuse  # hazards builds on this module

    return replace(netlist, lines=refuse(netlist))
