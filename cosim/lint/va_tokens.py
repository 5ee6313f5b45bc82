"""Verilog-A text as tokens: comments, attributes and the branches of `ifdef that are not taken left out.

Own reader: there is no Python library for Verilog-AMS. It reads one file as it is written; macros are kept as tokens
(their bodies in `Source.macros`), and what an ```include`` brings is not followed.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from cosim.errors import InputError
from cosim.lint.expressions import Token
from cosim.lint.findings import MAX_TOKENS

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/|\(\*(?!\s*\)).*?\*\))
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
CONSTANTS = frozenset(
    """M_E M_LOG2E M_LOG10E M_LN2 M_LN10 M_PI M_TWO_PI M_PI_2 M_PI_4 M_1_PI M_2_PI M_2_SQRTPI M_SQRT2 M_SQRT1_2
    P_Q P_C P_K P_H P_EPS0 P_U0 P_CELSIUS0 P_EPS_SI P_EPS_OX""".split()  # noqa: SIM905
)
DIRECTIVES = frozenset(
    """include define undef ifdef ifndef else elsif endif resetall timescale default_discipline default_transition
    line begin_keywords end_keywords celldefine endcelldefine __VAMS_ENABLE__ __VAMS_COMPACT_MODELING__""".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Source:
    """A file as tokens. ``includes`` are (name, token); ``macros`` map a name to its body."""

    text: str
    tokens: tuple[Token, ...]
    directives: tuple[Token, ...]
    includes: tuple[tuple[str, Token], ...]
    macros: Mapping[str, str]
    starts: tuple[int, ...] = field(repr=False, default=())

    def place(self, position: int) -> tuple[int, int]:
        """Line and column, from 1, of an offset."""
        line = bisect_right(self.starts, position)
        return line, position - self.starts[line - 1] + 1

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


def scan(text: str) -> Source:
    """The tokens of ``text``. Raises `InputError` for a file with too many."""
    everything: list[Token] = []
    position, taken = 0, True
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:  # a lone quote, a NUL, a letter of another script
            everything.append(Token("op", text[position], position, position + 1))
            position += 1
            continue
        kind = match.lastgroup or "op"
        if kind != "space":
            everything.append(Token(kind, match[0], match.start(), match.end()))
        position = match.end()
        if len(everything) > MAX_TOKENS:
            raise InputError(f"more than {MAX_TOKENS} tokens", remedy="lint one model at a time")
    tokens: list[Token] = []
    directives: list[Token] = []
    includes: list[tuple[str, Token]] = []
    macros: dict[str, str] = {}
    branches: list[bool] = []
    index = 0
    while index < len(everything):
        token = everything[index]
        index += 1
        taken = all(branches)
        if token.kind != "directive":
            if taken:
                tokens.append(token)
            continue
        word = token.text[1:]
        following = everything[index] if index < len(everything) else token
        if word in ("ifdef", "ifndef"):
            branches.append((following.text in macros) == (word == "ifdef"))
            index += 1
        elif word in ("else", "elsif") and branches:
            branches[-1] = not branches[-1]
            index += word == "elsif"
        elif word == "endif" and branches:
            branches.pop()
        elif not taken:
            continue
        elif word == "define":
            end = _define_end(text, token.end)
            body = text[following.end : end].strip()
            if following.end <= end:
                macros[following.text] = body
            while index < len(everything) and everything[index].start < end:
                index += 1
        elif word == "include" and following.kind == "string":
            includes.append((following.text[1:-1], token))
            index += 1
        elif word in DIRECTIVES:
            directives.append(token)
            end = text.find("\n", token.end)
            while index < len(everything) and end >= 0 and everything[index].start < end:
                index += 1
        else:
            tokens.append(token)  # a macro is used
    starts = (0, *(match.end() for match in re.finditer("\n", text)))
    last = Token("end", "", len(text), len(text))
    return Source(text, (*tokens, last), tuple(directives), tuple(includes), macros, starts)


def _define_end(text: str, position: int) -> int:
    while True:
        end = text.find("\n", position)
        if end < 0:
            return len(text)
        if text[end - 1] != "\\":
            return end
        position = end + 1
