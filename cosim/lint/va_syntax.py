"""The syntax tree of Verilog-A modules, as far as compact models use the language, with places in the text.

The parser goes on after what it cannot read: a part that it skipped is in `Module.unread`, with its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from cosim.lint.expressions import VERILOG_LEVELS, Cursor, Expr, ExpressionParser, Token, Unreadable
from cosim.lint.va_tokens import Source, number

_DIRECTIONS = frozenset({"inout", "input", "output"})
_TYPES = frozenset({"real", "integer", "string"})


@dataclass
class Statement:
    """A statement at ``start``..``end``.

    ``kind``: assign (``target`` = ``value``), contrib (``access`` <+ ``value``), if (``value``; ``body``, ``other``),
    block (``body``), event (``name`` with ``args``; ``body``), loop (``value``; ``body``), case (``value``; a label in
    ``args`` for each of ``body``), call (``value``), empty.
    """

    kind: str
    start: int
    end: int
    target: str = ""
    value: Expr | None = None
    access: Expr | None = None
    name: str = ""
    args: tuple[Expr, ...] = ()
    body: list[Statement] = field(default_factory=list)
    other: list[Statement] = field(default_factory=list)

    def walk(self) -> Iterator[Statement]:
        """This statement and all below it."""
        yield self
        for child in (*self.body, *self.other):
            yield from child.walk()

    def expressions(self) -> Iterator[Expr]:
        """The expressions of this statement alone."""
        if self.value is not None:
            yield self.value
        yield from self.args
        if self.access is not None:
            yield from self.access.args


@dataclass(frozen=True)
class Declared:
    """A parameter or variable: ``kind`` is its type ("" where none is written), ``value`` its default. ``allowed`` and
    ``excluded`` are the strings that one of type string may, and may not be.
    """

    name: Token
    kind: str
    value: Expr | None
    start: int
    end: int
    local: bool = False
    allowed: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()


@dataclass
class Function:
    """An analog function; ``typed`` are the names that a ``real`` or ``integer`` line declares."""

    name: str
    arguments: list[Token]
    typed: set[str]
    body: list[Statement]
    start: int
    body_start: int


@dataclass
class Module:
    """A module. ``nets`` map a name to its discipline; ``analogs`` are (statement, whether ``initial``)."""

    name: str
    start: int
    end: int
    ports: list[Token]
    header_end: int
    directed: set[str] = field(default_factory=set)
    nets: dict[str, str] = field(default_factory=dict)
    grounds: list[Token] = field(default_factory=list)
    parameters: list[Declared] = field(default_factory=list)
    variables: list[Declared] = field(default_factory=list)
    branches: dict[str, tuple[str, ...]] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    analogs: list[tuple[Statement, bool]] = field(default_factory=list)
    unread: list[tuple[int, str]] = field(default_factory=list)
    instances: list[Token] = field(default_factory=list)

    def statements(self) -> Iterator[Statement]:
        """Every statement of every analog block."""
        for statement, _ in self.analogs:
            yield from statement.walk()

    def expressions(self) -> Iterator[Expr]:
        """Every expression of the analog blocks and functions."""
        bodies = [s for s, _ in self.analogs] + [s for f in self.functions.values() for s in f.body]
        for body in bodies:
            for statement in body.walk():
                yield from statement.expressions()

    @property
    def integers(self) -> frozenset[str]:
        """Names that are computed in integers: declared so, or a parameter without a type whose default is one."""
        found = {entry.name.text for entry in (*self.parameters, *self.variables) if entry.kind == "integer"}
        found |= {
            entry.name.text
            for entry in self.parameters
            if not entry.kind and entry.value is not None and entry.value.op == "number" and entry.value.integer
        }
        return frozenset(found)


class _Parser:
    def __init__(self, source: Source) -> None:
        self.cursor = Cursor(source.tokens)
        self.expressions = ExpressionParser(VERILOG_LEVELS, number)
        self.depth = 0

    def modules(self) -> list[Module]:
        found = []
        while self.cursor.here.kind != "end":
            if self.cursor.accept("module", "macromodule"):
                found.append(self.module())
            else:
                self.cursor.take()
        return found

    def module(self) -> Module:
        cursor, start = self.cursor, self.cursor.last.start
        name = cursor.take().text
        found = Module(name, start, start, [], cursor.last.end)
        if cursor.accept("("):
            discipline = ""
            while not cursor.at(")") and cursor.here.kind != "end":
                token = cursor.take()
                if token.text in _DIRECTIONS:
                    discipline = cursor.take().text if cursor.peek().kind == "name" else ""
                    found.directed.add("*")
                elif token.kind == "name":
                    found.ports.append(token)
                    if discipline:
                        found.nets[token.text] = discipline
            cursor.accept(")")
        cursor.accept(";")
        found.header_end = cursor.last.end
        if "*" in found.directed:
            found.directed = {port.text for port in found.ports}
        while not cursor.at("endmodule") and cursor.here.kind != "end":
            before = cursor.index
            try:
                self.item(found)
            except Unreadable as problem:
                found.unread.append((problem.position, problem.message))
                self.skip()
            if cursor.index == before:
                cursor.take()
        found.end = cursor.take().end
        return found

    def skip(self) -> None:
        """Behind the next semicolon, or to the next word that starts something."""
        cursor = self.cursor
        while cursor.here.kind != "end" and not cursor.at("endmodule", "analog", "end"):
            if cursor.take().text == ";":
                return
        cursor.accept("end")

    def item(self, module: Module) -> None:
        cursor = self.cursor
        word = cursor.here.text
        if word == "analog":
            self.analog(module)
        elif word in _DIRECTIONS:
            cursor.take()
            names = self.names()
            if len(names) > 1 and names[0][1] == "":  # "inout electrical p, n": the first is a discipline
                discipline = names.pop(0)[0].text
                module.nets.update({token.text: discipline for token, _ in names})
            module.directed |= {token.text for token, _ in names}
            cursor.expect(";")
        elif word == "ground":
            cursor.take()
            module.grounds += [token for token, _ in self.names()]
            cursor.expect(";")
        elif word in ("parameter", "localparam"):
            self.parameter(module, local=word == "localparam")
        elif word in _TYPES:
            self.variable(module)
        elif word == "branch":
            self.branch(module)
        elif word in (";", "aliasparam"):
            self.skip()
        elif cursor.here.kind == "name" and (cursor.peek().kind == "name" or cursor.peek().text == "#"):
            self.net_or_instance(module)
        else:
            raise Unreadable(f"{word!r} is not read here", cursor.here.start)

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

    def net_or_instance(self, module: Module) -> None:
        cursor = self.cursor
        discipline = cursor.take()
        if cursor.peek().text == "(" or cursor.at("#"):
            module.instances.append(discipline)
            raise Unreadable("an instance of another module", discipline.start)
        for token, _ in self.names():
            module.nets[token.text] = discipline.text
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

    def parameter(self, module: Module, *, local: bool) -> None:
        cursor = self.cursor
        start = cursor.take().start
        kind = cursor.take().text if cursor.at(*_TYPES) else ""
        while True:
            name = cursor.name()
            cursor.expect("=")
            value = self.expressions.parse(cursor)
            end = cursor.last.end
            words: dict[str, list[str]] = {"from": [], "exclude": []}
            clause = "from"
            # ranges: from [0:1) exclude 0, from '{"a", "b"} exclude "c"
            while not cursor.at(",", ";") and cursor.here.kind != "end":
                if cursor.accept("[", "("):
                    while not cursor.at("]", ")") and cursor.here.kind != "end":
                        cursor.take()
                elif cursor.accept("'{"):
                    while not cursor.at("}") and cursor.here.kind != "end":
                        token = cursor.take()
                        words[clause] += [token.text[1:-1]] * (token.kind == "string")
                elif cursor.at("from", "exclude"):
                    clause = cursor.here.text
                elif cursor.here.kind == "string":
                    words[clause].append(cursor.here.text[1:-1])
                end = cursor.take().end
            allowed, excluded = tuple(words["from"]), tuple(words["exclude"])
            module.parameters.append(Declared(name, kind, value, start, end, local, allowed, excluded))
            if not cursor.accept(","):
                break
        cursor.expect(";")

    def variable(self, module: Module) -> None:
        cursor = self.cursor
        start, kind = cursor.here.start, cursor.take().text
        while True:
            name = cursor.name()
            if cursor.at("["):
                raise Unreadable("an array of variables", cursor.here.start)
            value = self.expressions.parse(cursor) if cursor.accept("=") else None
            module.variables.append(Declared(name, kind, value, start, cursor.last.end))
            if not cursor.accept(","):
                break
        cursor.expect(";")

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
        cursor.expect(";")
        found = Function(name, [], set(), [], start, cursor.here.start)
        while not cursor.at("endfunction") and cursor.here.kind != "end":
            if cursor.at(*_DIRECTIONS):
                cursor.take()
                found.arguments += [token for token, _ in self.names()]
                cursor.expect(";")
            elif cursor.at(*_TYPES):
                cursor.take()
                found.typed |= {token.text for token, _ in self.names()}
                cursor.expect(";")
            else:
                found.body.append(self.statement())
        cursor.accept("endfunction")
        module.functions[name] = found

    def statement(self) -> Statement:
        self.depth += 1
        try:
            if self.depth > 100:
                raise Unreadable("statements nest too deep", self.cursor.here.start)
            return self._statement()
        finally:
            self.depth -= 1

    def _statement(self) -> Statement:
        cursor = self.cursor
        token = cursor.here
        start = token.start
        if cursor.accept(";"):
            return Statement("empty", start, cursor.last.end)
        if cursor.accept("begin"):
            if cursor.accept(":"):
                cursor.name()
            body = []
            while not cursor.at("end") and cursor.here.kind != "end":
                if cursor.at(*_TYPES):  # variables of a named block
                    raise Unreadable("a variable declared in a block", cursor.here.start)
                body.append(self.statement())
            cursor.expect("end")
            return Statement("block", start, cursor.last.end, body=body)
        if cursor.accept("if"):
            cursor.expect("(")
            value = self.expressions.parse(cursor)
            cursor.expect(")")
            body = [self.statement()]
            other = [self.statement()] if cursor.accept("else") else []
            return Statement("if", start, cursor.last.end, value=value, body=body, other=other)
        if cursor.accept("@"):
            return self._event(start)
        if cursor.accept("while"):
            cursor.expect("(")
            value = self.expressions.parse(cursor)
            cursor.expect(")")
            return Statement("loop", start, cursor.last.end, value=value, body=[self.statement()])
        if cursor.accept("for"):
            return self._for(start)
        if cursor.accept("case"):
            return self._case(start)
        if token.text in ("repeat", "generate"):
            raise Unreadable(f"'{token.text}' is not read here", start)
        if token.kind not in ("name", "system", "directive"):
            raise Unreadable(f"{token.text or 'the end'!r} where a statement is expected", start)
        return self._simple(start)

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
        name = cursor.name()
        cursor.expect("=")
        value = self.expressions.parse(cursor)
        return Statement("assign", name.start, value.end, target=name.text, value=value)

    def _case(self, start: int) -> Statement:
        cursor = self.cursor
        cursor.expect("(")
        value = self.expressions.parse(cursor)
        cursor.expect(")")
        labels: list[Expr] = []
        body = []
        while not cursor.at("endcase") and cursor.here.kind != "end":
            if cursor.at("default"):
                token = cursor.take()
                cursor.accept(":")
                labels.append(Expr("name", token.start, token.end, name="default"))
            else:
                labels.append(self.expressions.parse(cursor))
                if cursor.at(","):
                    raise Unreadable("several labels of one case", cursor.here.start)
                cursor.expect(":")
            body.append(self.statement())
        cursor.expect("endcase")
        return Statement("case", start, cursor.last.end, value=value, args=tuple(labels), body=body)

    def _simple(self, start: int) -> Statement:
        cursor = self.cursor
        if cursor.here.kind == "name" and cursor.peek().text == "=":
            name = cursor.take().text
            cursor.take()
            value = self.expressions.parse(cursor)
            cursor.expect(";")
            return Statement("assign", start, cursor.last.end, target=name, value=value)
        if cursor.peek().text == "=":  # $x = : no such thing
            raise Unreadable("an assignment to a system name", start)
        called = self.expressions.parse(cursor)
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


def parse(source: Source) -> list[Module]:
    """The modules of a file."""
    return _Parser(source).modules()
