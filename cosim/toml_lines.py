"""Where the entries of a TOML text stand: the standard library reads the values and forgets the lines.

The text has been parsed already and is TOML: what this scanner does not understand it skips, without an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

_NAME = r"(?:[A-Za-z0-9_-]+|\"[^\"\n]*\"|'[^'\n]*')"
_HEADER = re.compile(r"(\[\[?)[ \t]*((?:[^\]\"'#\n]|\"[^\"\n]*\"|'[^'\n]*')+?)[ \t]*\]\]?")
_KEY = re.compile(rf"{_NAME}(?:[ \t]*\.[ \t]*{_NAME})*")
_PART = re.compile(_NAME)
_TEXT = re.compile(r'"""(?:\\.|[^\\])*?"{3,5}|' + r"'''.*?'{3,5}" + r'|"(?:\\.|[^"\\\n])*"' + r"|'[^'\n]*'", re.DOTALL)
_PLAIN = re.compile(r"[^,\]}#\n]+")


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text, self.at, self.line = text, 0, 1
        self.found: list[tuple[tuple[str, ...], int]] = []

    def move(self, end: int) -> None:
        self.line += self.text.count("\n", self.at, end)
        self.at = end

    def blank(self, *, lines: bool) -> None:
        """Skip blanks and comments, and with ``lines`` the ends of lines, too."""
        wanted = r"(?:[ \t\r\n]|#[^\n]*)*" if lines else r"[ \t\r]*(?:#[^\n]*)?"
        match = re.compile(wanted).match(self.text, self.at)
        assert match is not None
        self.move(match.end())

    def value(self, path: tuple[str, ...]) -> None:
        """A value, whose own entries are below ``path``."""
        start = self.text[self.at : self.at + 1]
        if match := _TEXT.match(self.text, self.at):
            self.move(match.end())
        elif start == "[":
            self.move(self.at + 1)
            self.array(path)
        elif start == "{":
            self.move(self.at + 1)
            self.inline(path)
        elif match := _PLAIN.match(self.text, self.at):
            self.move(match.end())

    def array(self, path: tuple[str, ...]) -> None:
        number = 0
        self.blank(lines=True)
        while self.at < len(self.text) and self.text[self.at] != "]":
            before = self.at
            self.found.append(((*path, str(number)), self.line))
            self.value((*path, str(number)))
            self.blank(lines=True)
            if self.text[self.at : self.at + 1] == ",":
                self.move(self.at + 1)
                number += 1
                self.blank(lines=True)
            if self.at == before:
                return
        self.move(min(self.at + 1, len(self.text)))

    def inline(self, path: tuple[str, ...]) -> None:
        self.blank(lines=True)
        while self.at < len(self.text) and self.text[self.at] != "}":
            if not self.entry(path):
                return
            self.blank(lines=True)
            if self.text[self.at : self.at + 1] == ",":
                self.move(self.at + 1)
                self.blank(lines=True)
        self.move(min(self.at + 1, len(self.text)))

    def entry(self, path: tuple[str, ...]) -> bool:
        """``key = value``; whether there was one."""
        match = _KEY.match(self.text, self.at)
        if match is None:
            return False
        here = (*path, *_parts(match[0]))
        self.found.append((here, self.line))
        self.move(match.end())
        self.blank(lines=False)
        if self.text[self.at : self.at + 1] != "=":
            return False
        self.move(self.at + 1)
        self.blank(lines=False)
        self.value(here)
        return True

    def document(self) -> None:
        path: tuple[str, ...] = ()
        counts: dict[tuple[str, ...], int] = {}
        while True:
            self.blank(lines=True)
            if self.at >= len(self.text):
                return
            if match := _HEADER.match(self.text, self.at):
                path = tuple(_parts(match[2]))
                # a table below a list of tables is one of its latest entry
                for depth in range(1, len(path) + (match[1] == "[")):
                    if path[:depth] in counts:
                        path = (*path[:depth], str(counts[path[:depth]] - 1), *path[depth:])
                if match[1] == "[[":
                    counts[path] = counts.get(path, 0) + 1
                    path = (*path, str(counts[path] - 1))
                self.found.append((path, self.line))
                self.move(match.end())
            elif not self.entry(path):
                end = self.text.find("\n", self.at)
                self.move(len(self.text) if end < 0 else end + 1)


def _parts(key: str) -> list[str]:
    return [part.strip("\"'") for part in _PART.findall(key)]


@lru_cache(maxsize=8)
def entries(text: str) -> tuple[tuple[tuple[str, ...], int], ...]:
    """Every entry of a TOML text, in its order: its keys (numbers for those of lists), and its line from 1."""
    scanner = _Scanner(text)
    with suppress(RecursionError):  # an entry nested too deeply gets the line of one above
        scanner.document()
    return tuple(scanner.found)


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """The line (from 1) of the key ``path`` in a TOML text, of its first entry, or of the nearest table above it."""
    wanted = tuple(str(part) for part in path)
    best: tuple[int, int] | None = None
    for here, line in entries(text):
        depth = min(len(here), len(wanted))
        if depth and here[:depth] == wanted[:depth] and (best is None or depth > best[0]):
            best = (depth, line)
    return best[1] if best else None
