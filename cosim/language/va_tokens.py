"""Verilog-A text as tokens: comments, attributes and the branches of `ifdef that are not taken left out.

Written here because there is no Python library for Verilog-AMS.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cosim.errors import CosimError, InputError, Where
from cosim.language.expressions import Expr, Token
from cosim.language.findings import MAX_TOKENS, inside, read_source
from cosim.language.va_macros import Macro, Preprocessor, Use

_TOKEN = re.compile(
    r"""(?P<space>\s+|\\\n|//[^\n]*|/\*.*?\*/|\(\*(?!\s*\)).*?\*\))
    |(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<directive>`\w+)
    |(?P<system>\$\w+)
    |(?P<number>(?:\d[\d_]*)?\.?\d[\d_]*(?:\.(?!\w))?(?:[eE][+-]?\d+|[TGMKkmunpfa](?![A-Za-z0-9_])|[A-Za-z]+)?)
    |(?P<name>[A-Za-z_]\w*(?:\$\w+)*|\\\S+)
    |(?P<op><\+|<<<|>>>|<<|>>|===|!==|==|!=|<=|>=|&&|\|\||\*\*|~\^|\^~|'\{|[-+*/%<>=!~&|^?:;,.()\[\]{}@\#])
    """,
    re.VERBOSE | re.DOTALL,
)
SUFFIX: Mapping[str, float] = {
    "T": 1e12, "G": 1e9, "M": 1e6, "K": 1e3, "k": 1e3, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15,
    "a": 1e-18,
}  # fmt: skip
# Headers that the compiler brings itself.
STANDARD_HEADERS = frozenset(
    {"disciplines.vams", "constants.vams", "disciplines.h", "discipline.h", "constants.h", "discipline.vams"}
)


@dataclass(frozen=True)
class Source:
    """A file as tokens.

    ``tokens`` are those that the compiler sees, macros and included files expanded; ``written`` those of the file
    itself that count: in branches that are taken, and in macros that are used. ``includes`` are (name, token),
    ``standard`` what the compiler's own headers define, ``unopened`` the includes that were not read, ``uses`` where
    something is expanded, ``conditionals`` the places (start, end) from `ifdef to `endif, ``faults`` (start, end,
    message) that the preprocessor did not understand.
    """

    text: str
    tokens: tuple[Token, ...]
    written: tuple[Token, ...]
    directives: tuple[Token, ...]
    includes: tuple[tuple[str, Token], ...]
    standard: frozenset[str]
    unopened: frozenset[str]
    uses: tuple[Use, ...]
    conditionals: tuple[tuple[int, int], ...]
    faults: tuple[tuple[int, int, str], ...]
    macros: Mapping[str, Macro]
    starts: tuple[int, ...] = field(repr=False, default=())

    def place(self, position: int) -> tuple[int, int]:
        """Line and column, from 1, of an offset."""
        line = bisect_right(self.starts, position)
        return line, position - self.starts[line - 1] + 1

    def cuts(self, start: int, end: int) -> bool:
        """Whether an edit of ``start``..``end`` would cut a macro's use or an include, or be lost in one."""
        first = bisect_right(self.uses, start, key=lambda use: use.end)
        last = bisect_left(self.uses, end, key=lambda use: use.start) - 1
        for use in self.uses[first : first + 1] + self.uses[max(last, first) : last + 1]:
            encloses = start <= use.start and use.end <= end
            apart = end <= use.start or use.end <= start
            if not (encloses or apart or any(a <= start and end <= b for a, b in use.arguments)):
                return True
        return False

    def editable(self, node: Expr) -> bool:
        """Whether the text of ``node`` is what it means: no part of it is hidden in a macro that it shares."""
        if node.start >= node.end or self.cuts(node.start, node.end) or self.whole(node):
            return False
        return all((arg.op == "name" and not arg.name) or self.whole(arg) or self.editable(arg) for arg in node.args)

    def expanded(self, position: int) -> bool:
        """Whether a token at ``position`` comes out of a macro or an included file."""
        found = bisect_right(self.uses, position, key=lambda use: use.start)
        return found > 0 and position < self.uses[found - 1].end

    def whole(self, node: Expr) -> bool:
        """Whether ``node`` is exactly a macro's use."""
        found = bisect_left(self.uses, node.start, key=lambda use: use.start)
        return found < len(self.uses) and (self.uses[found].start, self.uses[found].end) == (node.start, node.end)

    def conditional(self, position: int, since: int) -> bool:
        """Whether ``position`` lies between an `ifdef behind ``since`` and its `endif."""
        return any(since < start < position < end for start, end in self.conditionals)

    def line_end(self, position: int) -> int:
        """The offset of the end of the line that ``position`` is on."""
        found = self.text.find("\n", position)
        return len(self.text) if found < 0 else found


def number(token: Token) -> tuple[float, bool]:
    """The value of a number, and whether it is an integer."""
    text = token.text.replace("_", "")
    if text.isdigit():
        return float(text), True
    if text[-1] in SUFFIX and not text[-2:].lower().startswith("e"):
        return float(text[:-1]) * SUFFIX[text[-1]], False
    match = re.match(r"[\d.]+(?:[eE][+-]?\d+)?", text)
    return float(match[0]) if match else 0.0, False


def lex(text: str) -> list[Token]:
    """Every token of ``text``. Raises `InputError` for a file with too many."""
    found: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:  # a lone quote, a NUL, a letter of another script
            found.append(Token("op", text[position], position, position + 1))
            position += 1
            continue
        kind = match.lastgroup or "op"
        if kind != "space":
            found.append(Token(kind, match[0], match.start(), match.end()))
        position = match.end()
        if len(found) > MAX_TOKENS:
            raise InputError(f"more than {MAX_TOKENS} tokens", remedy="lint one model at a time")
    return found


def scan(text: str, folders: Sequence[Path] = (), macros: Mapping[str, Macro] | None = None) -> Source:
    """The tokens of ``text``, in which ``macros`` are defined; what it includes is looked for in ``folders``.

    Raises `InputError` for a file with too many tokens, or too deep in macros or includes.
    """

    def open_file(name: str) -> str | None:
        if not folders or name in STANDARD_HEADERS:
            return None
        try:
            found = inside(name, folders, where=Where())
            return None if found is None else read_source(found)
        except CosimError:  # a rule reports it
            return None

    found = Preprocessor(lex, open_file, MAX_TOKENS)
    found.macros.update(macros or {})
    found.file(text)
    starts = (0, *(match.end() for match in re.finditer("\n", text)))
    last = Token("end", "", len(text), len(text))
    return Source(
        text, (*found.tokens, last), tuple(found.written), tuple(found.directives), tuple(found.includes),
        frozenset(found.standard), frozenset(found.unopened - STANDARD_HEADERS), tuple(found.uses),
        tuple(sorted(found.conditionals)), tuple(found.faults), found.macros, starts,
    )  # fmt: skip
