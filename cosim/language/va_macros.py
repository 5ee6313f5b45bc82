"""The preprocessor of Verilog-A as OpenVAF has it: conditionals, macros with arguments, included files.

The parser has to see what the compiler sees, and every place has to lie in the file that is linted. So a token that
comes out of a macro or of an included file has the place where that is used: the first one begins at the use's start,
the last one ends at its end, and those between have no width. An expression that is exactly a use has its text; a part
of one has none, which is how `Source.editable` knows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from cosim.errors import InputError
from cosim.language.expressions import Token

T = TypeVar("T")
MAX_DEPTH = 40  # of macros in macros, and of includes
PREDEFINED = ("__OPENVAF__", "__VAMS_COMPACT_MODELING__")
# What the headers that the compiler brings define: their guards, and constants.vams its constants.
GUARDS: Mapping[str, str] = {"constants": "CONSTANTS_VAMS", "discipline": "DISCIPLINES_VAMS"}
CONSTANTS = frozenset(
    """M_E M_LOG2E M_LOG10E M_LN2 M_LN10 M_PI M_TWO_PI M_PI_2 M_PI_4 M_1_PI M_2_PI M_2_SQRTPI M_SQRT2 M_SQRT1_2
    P_Q P_C P_K P_H P_EPS0 P_U0 P_CELSIUS0 P_Q_SPICE P_Q_OLD P_Q_NIST1998 P_Q_NIST2010 P_K_SPICE P_K_OLD P_K_NIST1998
    P_K_NIST2010 P_H_SPICE P_H_OLD P_H_NIST1998 P_H_NIST2010 P_EPS0_SPICE P_EPS0_OLD P_EPS0_NIST1998
    P_EPS0_NIST2010""".split()  # noqa: SIM905
)
# Directives of the language that OpenVAF does not know.
FOREIGN = frozenset(
    """timescale default_discipline default_transition default_nodetype default_nettype default_decay_time
    default_trireg_strength default_function_type_analog begin_keywords end_keywords celldefine endcelldefine line
    unconnected_drive nounconnected_drive pragma""".split()  # noqa: SIM905
)
_CONDITIONS = frozenset({"ifdef", "ifndef", "elsif", "else", "endif"})
_OPEN, _CLOSE = frozenset("([{") | {"'{"}, frozenset(")]}")


@dataclass(frozen=True)
class Macro:
    """A macro: ``names`` of its arguments (None: it takes none), and the tokens of its body."""

    names: tuple[str, ...] | None
    body: tuple[Token, ...] = ()


@dataclass(frozen=True)
class Use:
    """Where a macro or an included file is used, with the places of a macro's arguments."""

    start: int
    end: int
    arguments: tuple[tuple[int, int], ...] = ()


@dataclass
class _Condition:
    start: int
    outer: bool
    taken: bool
    done: bool


@dataclass
class Preprocessor:
    """Collects what a file, and what it includes, come to.

    ``lex`` makes tokens of a text, ``open_file`` finds the text of an included file (None: it cannot be read).
    """

    lex: Callable[[str], list[Token]]
    open_file: Callable[[str], str | None]
    limit: int
    macros: dict[str, Macro] = field(default_factory=lambda: {name: Macro(None) for name in PREDEFINED})
    standard: set[str] = field(default_factory=set)
    tokens: list[Token] = field(default_factory=list)
    written: list[Token] = field(default_factory=list)
    directives: list[Token] = field(default_factory=list)
    includes: list[tuple[str, Token]] = field(default_factory=list)
    unopened: set[str] = field(default_factory=set)
    uses: list[Use] = field(default_factory=list)
    conditionals: list[tuple[int, int]] = field(default_factory=list)
    faults: list[tuple[int, int, str]] = field(default_factory=list)
    _depth: int = 0
    _work: int = 0
    _bodies: set[int] = field(default_factory=set)

    def file(self, text: str) -> None:
        """Take a whole file in."""
        everything, index = self.lex(text), 0
        stack: list[_Condition] = []
        while index < len(everything):
            token = everything[index]
            index += 1
            taken = not stack or stack[-1].taken
            word = token.text[1:] if token.kind == "directive" else ""
            following = everything[index] if index < len(everything) else Token("end", "", token.end, token.end)
            if word in _CONDITIONS:
                index += word in ("ifdef", "ifndef", "elsif")
                self._condition(word, token, following, stack)
            elif word == "define":
                end = _line_end(text, token.end, continued=True)
                inside = index
                while index < len(everything) and everything[index].start < end:
                    index += 1
                if taken and index > inside:
                    self._define(everything[inside:index])
            elif not taken:
                continue
            elif word == "undef":
                index += 1
                self.macros.pop(following.text, None)
            elif word == "include" and following.kind == "string":
                index += 1
                self._include(following.text[1:-1], token, following)
            elif word in FOREIGN:
                self._own(self.directives, token)
                end = _line_end(text, token.end, continued=False)
                while index < len(everything) and everything[index].start < end:
                    index += 1
            elif word == "resetall":
                continue
            elif word in self.macros:
                index = self._used(everything, index - 1)
            else:  # an undefined macro is left to the rules
                self.tokens.append(token)
                self._own(self.written, token)
            self._limited()
        for condition in stack:
            self._fault(condition.start, len(text), "a condition has no `endif")
            self._own(self.conditionals, (condition.start, len(text)))

    def _own(self, into: list[T], what: T) -> None:
        """Note something that has a place in the file itself, not in one that it includes."""
        if not self._depth:
            into.append(what)

    def _fault(self, start: int, end: int, message: str) -> None:
        self._own(self.faults, (start, end, message))

    def _limited(self) -> None:
        self._work += 1  # also where it expands to nothing
        if len(self.tokens) > self.limit or self._work > 10 * self.limit:
            raise InputError(
                f"its macros and includes come to more than {self.limit} tokens", remedy="lint one model at a time"
            )

    def _condition(self, word: str, token: Token, following: Token, stack: list[_Condition]) -> None:
        known = following.text in self.macros or following.text in self.standard
        if word in ("ifdef", "ifndef"):
            outer = not stack or stack[-1].taken
            taken = outer and known == (word == "ifdef")
            stack.append(_Condition(token.start, outer, taken, taken))
        elif not stack:
            self._fault(token.start, token.end, f"{token.text} without an `ifdef")
        elif word == "endif":
            self._own(self.conditionals, (stack.pop().start, token.end))
        else:
            top = stack[-1]
            top.taken = top.outer and not top.done and (word == "else" or known)
            top.done = top.done or top.taken

    def _define(self, words: Sequence[Token]) -> None:
        """``words`` behind `define: a name, arguments in a bracket that follows at once, and the body."""
        name, rest = words[0], list(words[1:])
        names: tuple[str, ...] | None = None
        if rest and rest[0].text == "(" and rest[0].start == name.end:
            close = next((k for k, token in enumerate(rest) if token.text == ")"), len(rest) - 1)
            names = tuple(token.text for token in rest[1:close] if token.kind == "name")
            rest = rest[close + 1 :]
        self.macros[name.text] = Macro(names, tuple(rest))

    def _include(self, name: str, token: Token, string: Token) -> None:
        if not self._depth:
            self.includes.append((name, token))
        for start, guard in GUARDS.items():
            if name.startswith(start):
                self.standard |= {guard} | (CONSTANTS if start == "constants" else set())
        text = self.open_file(name)
        if text is None:
            self.unopened.add(name)
            return
        if self._depth > MAX_DEPTH:
            raise InputError(f"{name!r} is included more than {MAX_DEPTH} deep", remedy="include it once")
        before = len(self.tokens)
        self._depth += 1
        self.file(text)
        self._depth -= 1
        if not self._depth:
            self._placed(before, token.start, string.end, frozenset())
            self.uses.append(Use(token.start, string.end))

    def _used(self, everything: Sequence[Token], index: int) -> int:
        """Expand the macro at ``index``; returns the index behind it."""
        token = everything[index]
        macro = self.macros[token.text[1:]]
        given, after = _arguments(everything, index + 1) if macro.names is not None else ([], index + 1)
        if macro.names is not None and len(given) != len(macro.names):
            last = everything[after - 1]
            self._fault(token.start, last.end, f"{token.text} takes {len(macro.names)} arguments and has {len(given)}")
            self.tokens.append(token)
            return index + 1
        before, end = len(self.tokens), everything[after - 1].end
        self.tokens += self._expanded(macro, given, 0)
        if not self._depth:
            inside = frozenset(id(t) for argument in given for t in argument)
            self._placed(before, token.start, end, inside)
            self.written += everything[index:after]
            self._mark(token.text[1:])
            places = tuple((argument[0].start, argument[-1].end) for argument in given if argument)
            self.uses.append(Use(token.start, end, places))
        return after

    def _mark(self, name: str) -> None:
        """The body of a macro that is used is text of the file that counts (once)."""
        waiting = [name]
        while waiting:
            macro = self.macros.get(waiting.pop())
            if macro is None or not macro.body or id(macro) in self._bodies:
                continue
            self._bodies.add(id(macro))
            if not self._depth:
                self.written += macro.body
            waiting += [token.text[1:] for token in macro.body if token.kind == "directive"]

    def _expanded(self, macro: Macro, given: Sequence[Sequence[Token]], depth: int) -> Iterator[Token]:
        if depth > MAX_DEPTH:
            raise InputError(f"a macro is used more than {MAX_DEPTH} deep in itself", remedy="look at its definition")
        self._limited()
        bound = dict(zip(macro.names or (), given, strict=False))
        body: list[Token] = []
        for token in macro.body:
            body += bound[token.text] if token.kind == "name" and token.text in bound else [token]
            if len(body) > self.limit:
                self.tokens += body
                self._limited()
        index = 0
        while index < len(body):
            token = body[index]
            index += 1
            inner = self.macros.get(token.text[1:]) if token.kind == "directive" else None
            if inner is None:
                self._limited()
                yield token
                continue
            arguments, after = _arguments(body, index) if inner.names is not None else ([], index)
            if inner.names is not None and len(arguments) != len(inner.names):
                yield token
                continue
            index = after
            yield from self._expanded(inner, arguments, depth + 1)

    def _placed(self, before: int, start: int, end: int, own: frozenset[int]) -> None:
        """Give the tokens from ``before`` on the place of the use; those of arguments (``own``) keep their places."""
        count = len(self.tokens) - before
        for k in range(count):
            token = self.tokens[before + k]
            first, last = start, start
            if id(token) in own:
                first, last = token.start, token.end
            elif k == count - 1:
                first, last = end, end
            if k == 0:
                first = start
            if k == count - 1:
                last = end
            self.tokens[before + k] = replace(token, start=first, end=last)


def _arguments(tokens: Sequence[Token], index: int) -> tuple[list[list[Token]], int]:
    """The arguments in the bracket at ``index``, and the index after it; none where no bracket opens or closes."""
    if index >= len(tokens) or tokens[index].text != "(":
        return [], index
    found: list[list[Token]] = [[]]
    depth = 0
    for k in range(index, len(tokens)):
        token = tokens[k]
        plain = token.kind == "op"
        depth += (plain and token.text in _OPEN) - (plain and token.text in _CLOSE)
        if depth == 0:
            return found, k + 1
        if depth == 1 and plain and token.text == ",":
            found.append([])
        elif k > index:
            found[-1].append(token)
    return [], index


def _line_end(text: str, position: int, *, continued: bool) -> int:
    while True:
        end = text.find("\n", position)
        if end < 0:
            return len(text)
        if not continued or text[end - 1] != "\\":
            return end
        position = end + 1
