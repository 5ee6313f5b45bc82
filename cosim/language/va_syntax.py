"""The syntax tree of Verilog-A modules, as far as compact models use the language, with places in the text.

The parser goes on behind what it cannot read, at the next statement: what it skipped is in `Module.unread`.
"""

from __future__ import annotations

from dataclasses import replace

from cosim.language.expressions import VERILOG_LEVELS, Cursor, Expr, ExpressionParser, Token, Unreadable
from cosim.language.va_tokens import Source, number
from cosim.language.va_tree import Declared, Function, Module, Statement, Unread, scoped

_DIRECTIONS = frozenset({"inout", "input", "output"})
_TYPES = frozenset({"real", "integer", "string"})
_PARAMETERS = frozenset({"parameter", "localparam"})
_ENDS = frozenset({"end", "endcase", "endfunction", "endgenerate", "endmodule"})
_PAIRS = {
    "begin": "end", "case": "endcase", "casex": "endcase", "casez": "endcase", "generate": "endgenerate",
    "function": "endfunction", "(": ")", "[": "]", "{": "}", "'{": "}",
}  # fmt: skip
_CLOSING = frozenset(_PAIRS.values())


class _Parser:
    def __init__(self, source: Source) -> None:
        self.cursor = Cursor(source.tokens)
        self.expressions = ExpressionParser(VERILOG_LEVELS, number)
        self.depth = 0
        self.outside: list[Unread] = []
        self.unread = self.outside
        self.block = -1
        self.variables: list[Declared] = []
        self.parameters: list[Declared] = []

    def modules(self) -> list[Module]:
        found, cursor = [], self.cursor
        while cursor.here.kind != "end":
            if cursor.accept("module", "macromodule"):
                found.append(self.module())
            elif cursor.at("nature", "discipline"):
                self.upto(f"end{cursor.here.text}")
            elif not cursor.accept(";"):
                start = cursor.here
                while cursor.here.kind != "end" and not cursor.at("module", "macromodule", "nature", "discipline"):
                    cursor.take()
                self.outside.append(Unread(start.start, cursor.last.end, f"{start.text!r} outside of a module"))
        return found

    def upto(self, word: str) -> None:
        """Behind ``word``."""
        while self.cursor.here.kind != "end" and self.cursor.take().text != word:
            pass

    def balanced(self) -> None:
        """Behind the bracket that closes the one here."""
        depth = 0
        while self.cursor.here.kind != "end" and not self.cursor.at(*_ENDS):
            text = self.cursor.take().text
            depth += (text == "(") - (text == ")")
            if depth == 0:
                return

    def module(self) -> Module:
        cursor, start = self.cursor, self.cursor.last.start
        name = cursor.take().text
        found = Module(name, cursor.last.start, start, start, [], cursor.last.end)
        self.unread, self.variables, self.parameters = found.unread, found.variables, found.parameters
        if cursor.accept("#"):
            opened = cursor.here.start
            self.balanced()
            found.unread.append(Unread(opened, cursor.last.end, "parameters in front of the ports"))
        if cursor.accept("("):
            self.ports(found)
        cursor.accept(";")
        found.header_end = cursor.last.end
        while not cursor.at("endmodule") and cursor.here.kind != "end":
            before = cursor.index
            try:
                self.item(found)
            except Unreadable as problem:
                self.skipped(before, problem.message)
        found.end = cursor.take().end
        return found

    def ports(self, found: Module) -> None:
        cursor, discipline, directed = self.cursor, "", False
        while not cursor.at(")") and cursor.here.kind != "end":
            self.array_range(found)
            token = cursor.take()
            if token.text in _DIRECTIONS:
                directed, discipline = True, ""
                if cursor.here.kind == "name" and (cursor.peek().kind == "name" or cursor.peek().text == "["):
                    discipline = cursor.take().text
            elif token.kind == "name":
                found.ports.append(token)
                if directed:
                    found.directed.add(token.text)
                if discipline:
                    found.nets[token.text] = discipline
        cursor.accept(")")

    def skipped(self, index: int, message: str) -> Statement:
        """Skip the statement that begins at token ``index``; note and return it.

        It ends behind a semicolon, or behind the end of what it opened, and before an end that it did not open.
        """
        cursor = self.cursor
        cursor.index = index
        start, open_, assigned = cursor.here.start, list[str](), []
        while cursor.here.kind != "end" and not cursor.at("endmodule"):
            text = cursor.here.text if cursor.here.kind in ("op", "name") else ""
            if text in _ENDS and text not in open_:
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
            elif text in _PAIRS:
                open_.append(_PAIRS[text])
            closes = text == ";" or text in ("end", "endcase", "endfunction", "endgenerate")
            if closes and not (open_ and set(open_) - {")", "]", "}"}) and not cursor.at("else"):
                break
        if cursor.index == index:
            cursor.take()
        self.unread.append(Unread(start, cursor.last.end, message))
        return Statement("unread", start, cursor.last.end, name=" ".join(assigned))

    def item(self, module: Module) -> None:
        cursor = self.cursor
        word = cursor.here.text
        if word == "analog":
            self.analog(module)
        elif word in _DIRECTIONS:
            cursor.take()
            self.array_range(module)
            names = self.names()
            if len(names) > 1 and names[0][1] == "":  # "inout electrical p, n": the first is a discipline
                discipline = names.pop(0)[0].text
                module.nets.update({token.text: discipline for token, _ in names})
            elif len(names) == 1 and cursor.at("["):  # "inout electrical [0:1] p"
                self.array_range(module)
                names = self.names()
            module.directed |= {token.text for token, _ in names}
            cursor.expect(";")
        elif word == "ground":
            cursor.take()
            module.grounds += [token for token, _ in self.names()]
            cursor.expect(";")
        elif word in _PARAMETERS:
            self.parameter()
        elif word in _TYPES:
            self.variable()
        elif word == "branch":
            self.branch(module)
        elif word == "aliasparam":
            self.upto(";")
        elif cursor.accept(";"):
            pass
        elif cursor.here.kind != "name" or word in _PAIRS or word in _ENDS:
            raise Unreadable(f"{word!r} is not read here", cursor.here.start)
        else:
            self.net_or_instance(module)

    def names(self) -> list[tuple[Token, str]]:
        """Names up to the semicolon, each with "," or "" before it: a discipline has no comma behind it."""
        found, separator, cursor = [], ",", self.cursor
        while cursor.here.kind == "name":
            token = cursor.take()
            separator = "," if cursor.accept(",") else ""
            found.append((token, separator))
        if len(found) == 1:
            found = [(found[0][0], ",")]
        return found

    def array_range(self, module: Module) -> None:
        if self.cursor.at("["):
            module.arrays.append(self.cursor.here)
            self.upto("]")

    def ranged(self) -> bool:
        """Whether ranges of an array stand here; behind them."""
        found = self.cursor.at("[")
        while self.cursor.at("["):
            self.upto("]")
        return found

    def net_or_instance(self, module: Module) -> None:
        cursor = self.cursor
        discipline = cursor.take()
        self.array_range(module)
        if cursor.peek().text == "(" or cursor.at("#"):
            module.instances.append(discipline)
            self.upto(";")
            return
        while True:
            module.nets[cursor.name().text] = discipline.text
            self.array_range(module)
            if not cursor.accept(","):
                break
        cursor.expect(";")

    def branch(self, module: Module) -> None:
        cursor = self.cursor
        cursor.take()
        cursor.expect("(")
        nodes = tuple(token.text for token, _ in self.names())
        cursor.expect(")")
        for token, _ in self.names():
            module.branches[token.text] = nodes
        cursor.expect(";")

    def parameter(self) -> None:
        """Parameters up to the semicolon, into ``self.parameters``."""
        cursor = self.cursor
        first = cursor.take()
        kind = cursor.take().text if cursor.at(*_TYPES) else ""
        found: list[Declared] = []
        while True:
            array = self.ranged()
            name = cursor.name()
            array = self.ranged() or array
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
                Declared(name, kind, value, first.start, cursor.last.end, first.text == "localparam", array,
                         commas=tuple(commas), block=self.block, allowed=words["from"], excluded=words["exclude"])
            )  # fmt: skip
            if not cursor.accept(","):
                break
        cursor.expect(";")
        self.parameters += [replace(entry, closed=cursor.last.end) for entry in found]

    def allowed(self) -> list[Token]:
        """What a parameter may be: [0:1), a list, a value; returns the commas that stand where a colon has to."""
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

    def variable(self) -> None:
        """Variables up to the semicolon, into ``self.variables``."""
        cursor = self.cursor
        start, kind = cursor.here.start, cursor.take().text
        found: list[Declared] = []
        everywhere = self.ranged()
        while True:
            name = cursor.name()
            array = self.ranged() or everywhere
            value = self.expressions.parse(cursor) if cursor.accept("=") else None
            found.append(Declared(name, kind, value, start, cursor.last.end, array=array, block=self.block))
            if not cursor.accept(","):
                break
        cursor.expect(";")
        self.variables += [replace(entry, closed=cursor.last.end) for entry in found]

    def analog(self, module: Module) -> None:
        cursor = self.cursor
        start = cursor.take().start
        if cursor.accept("function"):
            self.function(module, start)
            return
        initial = cursor.accept("initial")
        module.analogs.append((self.statement(), initial))

    def function(self, module: Module, start: int) -> None:
        cursor = self.cursor
        if cursor.at(*_TYPES):
            cursor.take()
        name = cursor.name().text
        found = Function(name, [], set(), [], start, cursor.here.start)
        outer, self.variables, self.parameters = (self.variables, self.parameters), found.locals, found.locals
        try:
            if cursor.accept("("):  # as in SystemVerilog: f(input real x, y)
                while not cursor.at(")") and cursor.here.kind != "end":
                    self.arguments(found)
                    cursor.accept(",")
                cursor.expect(")")
            cursor.expect(";")
            found.body_start = cursor.last.end
            while not cursor.at("endfunction", "endmodule") and cursor.here.kind != "end":
                before = cursor.index
                try:
                    if cursor.at(*_DIRECTIONS):
                        self.arguments(found)
                        cursor.expect(";")
                    else:
                        found.body += self.declared_or_statement()
                except Unreadable as problem:
                    found.body.append(self.skipped(before, problem.message))
        finally:
            self.variables, self.parameters = outer
        found.typed |= {entry.name.text for entry in found.locals}
        if not cursor.accept("endfunction"):
            self.unread.append(Unread(start, cursor.here.start, f"function {name!r} has no 'endfunction'"))
        module.functions[name] = found

    def arguments(self, found: Function) -> None:
        """``input x, y`` or ``input real x, y``; without a direction as the one before."""
        cursor = self.cursor
        direction = cursor.take().text if cursor.at(*_DIRECTIONS) else "input"
        typed = bool(cursor.accept(*_TYPES))
        names = [cursor.name()]
        while cursor.at(",") and cursor.peek().kind == "name" and cursor.peek().text not in _DIRECTIONS | _TYPES:
            cursor.take()
            names.append(cursor.name())
        found.arguments += names
        found.typed |= {token.text for token in names} if typed else set()
        found.read |= {token.text for token in names} if direction != "output" else set()
        found.written |= {token.text for token in names} if direction != "input" else set()

    def declared_or_statement(self) -> list[Statement]:
        if self.cursor.at(*_TYPES):
            self.variable()
        elif self.cursor.at(*_PARAMETERS):
            self.parameter()
        else:
            return [self.statement()]
        return []

    def statement(self) -> Statement:
        self.depth += 1
        try:
            if self.depth > 100:
                raise Unreadable("statements nest too deep", self.cursor.here.start)
            return self._statement()
        finally:
            self.depth -= 1

    def condition(self) -> Expr:
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
        if token.kind not in ("name", "system", "directive") or token.text in _ENDS | {"generate", "else", "function"}:
            raise Unreadable(f"{token.text or 'the end'!r} where a statement is expected", start)
        return self._simple(start)

    def _block(self, start: int) -> Statement:
        cursor, outer = self.cursor, self.block
        name = cursor.name().text if cursor.accept(":") else ""
        self.block = start
        variables, parameters = len(self.variables), len(self.parameters)
        body: list[Statement] = []
        while not cursor.at(*_ENDS) and cursor.here.kind != "end":
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
            raise Unreadable("no assignment", target.start)
        cursor.take()
        value = self.expressions.parse(cursor)
        element = target if target.op == "index" else None
        return Statement("assign", target.start, cursor.last.end, target=target.name, value=value, access=element)

    def _case(self, start: int) -> Statement:
        cursor = self.cursor
        value = self.condition()
        labels: list[Expr] = []
        body = []
        while not cursor.at(*_ENDS) and cursor.here.kind != "end":
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
        names, args = [], tuple[Expr, ...]()
        cursor.expect("(")
        while not cursor.at(")"):
            name = cursor.name()
            names.append(name.text)
            if cursor.at("("):
                cursor.index -= 1
                args += self.expressions.parse(cursor).args
            if not cursor.accept("or", ","):
                break
        cursor.expect(")")
        body = [self.statement()]
        return Statement("event", start, cursor.last.end, name=" ".join(names), args=args, body=body)


def parse(source: Source, outside: list[Unread] | None = None) -> list[Module]:
    """The modules of a file; what it has outside of them and is not understood is put into ``outside``."""
    parser = _Parser(source)
    found = parser.modules()
    if outside is not None:
        outside += [*parser.outside, *(Unread(*fault) for fault in source.faults)]
    return found
