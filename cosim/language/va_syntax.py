"""The syntax tree of Verilog-A modules, as far as compact models use the language, with places in the text.

The parser resumes at the next statement after what it cannot read; what it skipped is in `Module.unread`.
"""

from __future__ import annotations

from cosim.language.expressions import Token, Unreadable
from cosim.language.va_statements import ENDS, PAIRS, PARAMETERS, TYPES, StatementParser
from cosim.language.va_tokens import Source
from cosim.language.va_tree import Function, Module, Unread

_DIRECTIONS = frozenset({"inout", "input", "output"})


class _ModuleParser(StatementParser):
    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.outside = self.unread

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
        elif word in PARAMETERS:
            self.parameter()
        elif word in TYPES:
            self.variable()
        elif word == "branch":
            self.branch(module)
        elif word == "aliasparam":
            self.upto(";")
        elif cursor.accept(";"):
            pass
        elif cursor.here.kind != "name" or word in PAIRS or word in ENDS:
            raise Unreadable(f"{word!r} is not read here", cursor.here.start)
        else:
            self.net_or_instance(module)

    def names(self) -> list[tuple[Token, str]]:
        """Names up to the semicolon, each with "," or "" before it: a discipline has no comma after it."""
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
        kind = cursor.take().text if cursor.at(*TYPES) else ""
        name = cursor.name().text
        found = Function(name, [], set(), [], start, cursor.here.start, integers={name} if kind == "integer" else set())
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
        found.integers |= {entry.name.text for entry in found.locals if entry.kind == "integer"}
        if not cursor.accept("endfunction"):
            self.unread.append(Unread(start, cursor.here.start, f"function {name!r} has no 'endfunction'"))
        module.functions[name] = found

    def arguments(self, found: Function) -> None:
        """``input x, y`` or ``input real x, y``; without a direction it has that of the one before."""
        cursor = self.cursor
        direction = cursor.take().text if cursor.at(*_DIRECTIONS) else "input"
        kind = cursor.here.text
        typed = bool(cursor.accept(*TYPES))
        names = [cursor.name()]
        while cursor.at(",") and cursor.peek().kind == "name" and cursor.peek().text not in _DIRECTIONS | TYPES:
            cursor.take()
            names.append(cursor.name())
        found.arguments += names
        found.typed |= {token.text for token in names} if typed else set()
        found.integers |= {token.text for token in names} if typed and kind == "integer" else set()
        found.read |= {token.text for token in names} if direction != "output" else set()
        found.written |= {token.text for token in names} if direction != "input" else set()


def parse(source: Source, outside: list[Unread] | None = None) -> list[Module]:
    """The modules of a file; what stands outside of them and is not understood is appended to ``outside``."""
    parser = _ModuleParser(source)
    found = parser.modules()
    if outside is not None:
        outside += [*parser.outside, *(Unread(*fault) for fault in source.faults)]
    return found
