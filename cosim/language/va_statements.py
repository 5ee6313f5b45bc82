"""Statements and declarations of Verilog-A, as far as compact models use them: what stands inside a module.

The parser resumes at the next statement after what it cannot read, and notes what it skipped.
"""

from __future__ import annotations

from dataclasses import replace

from cosim.language.expressions import VERILOG_LEVELS, Cursor, Expr, ExpressionParser, Token, Unreadable
from cosim.language.va_tokens import Source, number
from cosim.language.va_tree import Declared, Statement, Unread, scoped

TYPES = frozenset({"real", "integer", "string"})
PARAMETERS = frozenset({"parameter", "localparam"})
ENDS = frozenset({"end", "endcase", "endfunction", "endgenerate", "endmodule"})
PAIRS = {
    "begin": "end", "case": "endcase", "casex": "endcase", "casez": "endcase", "generate": "endgenerate",
    "function": "endfunction", "(": ")", "[": "]", "{": "}", "'{": "}",
}  # fmt: skip
_CLOSING = frozenset(PAIRS.values())


class StatementParser:
    """Reads one statement or declaration at ``cursor``; what it declares goes into ``variables`` and ``parameters``."""

    def __init__(self, source: Source) -> None:
        self.cursor = Cursor(source.tokens)
        self.expressions = ExpressionParser(VERILOG_LEVELS, number)
        self.depth = 0
        self.unread: list[Unread] = []
        self.block = -1
        self.variables: list[Declared] = []
        self.parameters: list[Declared] = []

    def balanced(self) -> None:
        """Behind the bracket that closes the one here."""
        depth = 0
        while self.cursor.here.kind != "end" and not self.cursor.at(*ENDS):
            text = self.cursor.take().text
            depth += (text == "(") - (text == ")")
            if depth == 0:
                return

    def upto(self, word: str) -> None:
        """Behind ``word``."""
        while self.cursor.here.kind != "end" and self.cursor.take().text != word:
            pass

    def skipped(self, index: int, message: str) -> Statement:
        """Skip the statement that begins at token ``index``; note and return it.

        It ends after a semicolon, or after the end of what it opened, and before an end that it did not open.
        """
        cursor = self.cursor
        cursor.index = index
        start, open_, assigned = cursor.here.start, list[str](), []
        while cursor.here.kind != "end" and not cursor.at("endmodule"):
            text = cursor.here.text if cursor.here.kind in ("op", "name") else ""
            if text in ENDS and text not in open_:
                break
            token = cursor.take()
            if cursor.at("=", "[") and token.kind == "name":
                assigned.append(token.text)
            if text == "for" and cursor.at("("):  # its semicolons end nothing
                self.balanced()
                continue
            if text in _CLOSING and text in open_:  # what was opened in it and not closed ends with it
                while open_.pop() != text:
                    pass
            elif text in PAIRS:
                open_.append(PAIRS[text])
            closes = text == ";" or text in ("end", "endcase", "endfunction", "endgenerate")
            if closes and not (open_ and set(open_) - {")", "]", "}"}) and not cursor.at("else"):
                break
        if cursor.index == index:
            cursor.take()
        self.unread.append(Unread(start, cursor.last.end, message))
        return Statement("unread", start, cursor.last.end, name=" ".join(assigned))

    def ranged(self) -> list[tuple[Expr, Expr]] | None:
        """The ranges of an array, empty where they cannot be read; None for a single variable."""
        cursor = self.cursor
        if not cursor.at("["):
            return None
        found = []
        while cursor.at("["):
            before = cursor.index
            try:
                cursor.take()
                first = self.expressions.parse(cursor)
                cursor.expect(":")
                found.append((first, self.expressions.parse(cursor)))
                cursor.expect("]")
            except Unreadable:
                cursor.index, found = before, []
                self.upto("]")
        return found

    def allowed(self) -> list[Token]:
        """What a parameter may be: [0:1), a list, a value; returns the commas that stand in place of a colon."""
        cursor, commas = self.cursor, list[Token]()
        if not cursor.at("[", "("):
            self.expressions.parse(cursor)
            return commas
        opened = cursor.take()
        while True:
            while cursor.accept("+", "-"):
                pass
            if not cursor.accept("inf"):
                self.expressions.parse(cursor)
            if cursor.at(",") and not commas:
                commas.append(cursor.take())
            elif not (cursor.at(":") and cursor.take()):
                break
        if opened.text == "[" or not cursor.at(")"):
            if not cursor.accept("]", ")"):
                raise Unreadable(f"{cursor.here.text!r} where a range ends", cursor.here.start)
        else:
            cursor.expect(")")
        return commas

    def parameter(self) -> None:
        """Parameters up to the semicolon, into ``self.parameters``."""
        cursor = self.cursor
        first = cursor.take()
        kind = cursor.take().text if cursor.at(*TYPES) else ""
        found: list[Declared] = []
        while True:
            ranges = self.ranged()
            name = cursor.name()
            behind = self.ranged()
            ranges = behind if behind is not None else ranges
            cursor.expect("=")
            value = self.expressions.parse(cursor)
            commas: list[Token] = []
            words: dict[str, tuple[str, ...]] = {"from": (), "exclude": ()}
            while cursor.at("from", "exclude"):
                clause, begin = cursor.take().text, cursor.index
                commas += self.allowed()
                said = cursor.tokens[begin : cursor.index]
                words[clause] += tuple(token.text[1:-1] for token in said if token.kind == "string")
            found.append(
                Declared(name, kind, value, first.start, cursor.last.end, first.text == "localparam",
                         ranges is not None, ranges=tuple(ranges or ()),
                         commas=tuple(commas), block=self.block, allowed=words["from"], excluded=words["exclude"])
            )  # fmt: skip
            if not cursor.accept(","):
                break
        cursor.expect(";")
        self.parameters += [replace(entry, closed=cursor.last.end) for entry in found]

    def variable(self) -> None:
        """Variables up to the semicolon, into ``self.variables``."""
        cursor = self.cursor
        start, kind = cursor.here.start, cursor.take().text
        found: list[Declared] = []
        everywhere = self.ranged()
        while True:
            name = cursor.name()
            ranges = self.ranged()
            ranges = ranges if ranges is not None else everywhere
            value = self.expressions.parse(cursor) if cursor.accept("=") else None
            found.append(Declared(name, kind, value, start, cursor.last.end, array=ranges is not None, block=self.block,
                                  ranges=tuple(ranges or ())))  # fmt: skip
            if not cursor.accept(","):
                break
        cursor.expect(";")
        self.variables += [replace(entry, closed=cursor.last.end) for entry in found]

    def declared_or_statement(self) -> list[Statement]:
        """The statement here; empty for a declaration, which is noted."""
        if self.cursor.at(*TYPES):
            self.variable()
        elif self.cursor.at(*PARAMETERS):
            self.parameter()
        else:
            return [self.statement()]
        return []

    def statement(self) -> Statement:
        """The statement here, with all that is nested in it; raises `Unreadable`."""
        self.depth += 1
        try:
            if self.depth > 100:
                raise Unreadable("statements nest too deep", self.cursor.here.start)
            return self._statement()
        finally:
            self.depth -= 1

    def condition(self) -> Expr:
        """An expression in parentheses."""
        self.cursor.expect("(")
        value = self.expressions.parse(self.cursor)
        self.cursor.expect(")")
        return value

    def _statement(self) -> Statement:
        cursor = self.cursor
        token = cursor.here
        start = token.start
        if cursor.accept(";"):
            return Statement("empty", start, cursor.last.end)
        if cursor.accept("begin"):
            return self._block(start)
        if cursor.accept("if"):
            value = self.condition()
            body = [self.statement()]
            other = [self.statement()] if cursor.accept("else") else []
            return Statement("if", start, cursor.last.end, value=value, body=body, other=other)
        if cursor.accept("@"):
            return self._event(start)
        if cursor.at("while", "repeat"):
            kind = "loop" if cursor.take().text == "while" else "repeat"
            value = self.condition()
            body = [self.statement()]
            return Statement(kind, start, cursor.last.end, value=value, body=body)
        if cursor.accept("for"):
            return self._for(start)
        if cursor.accept("case", "casex", "casez"):
            return self._case(start)
        if token.kind not in ("name", "system", "directive") or token.text in ENDS | {"generate", "else", "function"}:
            raise Unreadable(f"{token.text or 'the end'!r} where a statement is expected", start)
        return self._simple(start)

    def _block(self, start: int) -> Statement:
        cursor, outer = self.cursor, self.block
        name = cursor.name().text if cursor.accept(":") else ""
        self.block = start
        variables, parameters = len(self.variables), len(self.parameters)
        body: list[Statement] = []
        while not cursor.at(*ENDS) and cursor.here.kind != "end":
            before = cursor.index
            try:
                body += self.declared_or_statement()
            except Unreadable as problem:
                body.append(self.skipped(before, problem.message))
        self.block = outer
        scoped(name, body, ((self.variables, variables), (self.parameters, parameters)))
        if not cursor.accept("end"):
            self.unread.append(Unread(start, cursor.last.end, "a block has no 'end'"))
        return Statement("block", start, cursor.last.end, body=body)

    def _for(self, start: int) -> Statement:
        cursor = self.cursor
        cursor.expect("(")
        first = self._assignment()
        cursor.expect(";")
        value = self.expressions.parse(cursor)
        cursor.expect(";")
        step = self._assignment()
        cursor.expect(")")
        loop = Statement("loop", start, start, value=value, body=[self.statement(), step])
        loop.end = cursor.last.end
        return Statement("block", start, loop.end, body=[first, loop])

    def _assignment(self) -> Statement:
        cursor = self.cursor
        target = self.expressions.operand(cursor)
        if target.op not in ("name", "index") or target.name.startswith("$") or not cursor.at("="):
            raise Unreadable("this is not an assignment", target.start)
        cursor.take()
        value = self.expressions.parse(cursor)
        element = target if target.op == "index" else None
        return Statement("assign", target.start, cursor.last.end, target=target.name, value=value, access=element)

    def _case(self, start: int) -> Statement:
        cursor = self.cursor
        value = self.condition()
        labels: list[Expr] = []
        body = []
        while not cursor.at(*ENDS) and cursor.here.kind != "end":
            if cursor.at("default"):
                token = cursor.take()
                cursor.accept(":")
                labels.append(Expr("name", token.start, token.end, name="default"))
            else:
                given = [self.expressions.parse(cursor)]
                while cursor.accept(","):
                    given.append(self.expressions.parse(cursor))
                cursor.expect(":")
                several = Expr("call", given[0].start, given[-1].end, name="labels", args=tuple(given))
                labels.append(given[0] if len(given) == 1 else several)
            before = cursor.index
            try:
                body.append(self.statement())
            except Unreadable as problem:
                body.append(self.skipped(before, problem.message))
        cursor.expect("endcase")
        return Statement("case", start, cursor.last.end, value=value, args=tuple(labels), body=body)

    def _simple(self, start: int) -> Statement:
        cursor = self.cursor
        before = cursor.index
        called = self.expressions.operand(cursor)
        if cursor.at("=") and called.op in ("name", "index"):
            cursor.index = before
            statement = self._assignment()
            cursor.expect(";")
            statement.end = cursor.last.end
            return statement
        if cursor.accept("<+"):
            value = self.expressions.parse(cursor)
            cursor.expect(";")
            return Statement("contrib", start, cursor.last.end, access=called, value=value)
        if called.name.startswith("`"):  # a macro may end without a semicolon
            cursor.accept(";")
        else:
            cursor.expect(";")
        return Statement("call", start, cursor.last.end, value=called, name=called.name)

    def _event(self, start: int) -> Statement:
        cursor = self.cursor
        events: list[Expr] = []
        cursor.expect("(")
        while not cursor.at(")"):
            name = cursor.name()
            if cursor.at("("):
                cursor.index -= 1
                events.append(self.expressions.parse(cursor))
            else:
                events.append(Expr("name", name.start, name.end, name.text))
            if not cursor.accept("or", ","):
                break
        cursor.expect(")")
        body = [self.statement()]
        names, args = " ".join(event.name for event in events), tuple(arg for event in events for arg in event.args)
        return Statement("event", start, cursor.last.end, name=names, args=args, events=tuple(events), body=body)
