"""The tree of a Verilog-A file: modules, what they declare, and their statements, with places in the text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cosim.language.expressions import Expr, Token


@dataclass
class Statement:
    """A statement at ``start``..``end``.

    ``kind``: assign (``target`` = ``value``; ``access`` is an array's element), contrib (``access`` <+ ``value``), if
    (``value``; ``body``, ``other``), block (``body``), event (``name`` with ``args``; ``body``; ``events`` are those
    that 'or' joins), loop (``value``; ``body``), repeat (``value`` times ``body``), case (``value``; a label in
    ``args`` for each of ``body``; several are the arguments of a call "labels"), call (``value``), empty, unread
    (``name``: what is assigned in it).
    """

    kind: str
    start: int
    end: int
    target: str = ""
    value: Expr | None = None
    access: Expr | None = None
    name: str = ""
    args: tuple[Expr, ...] = ()
    events: tuple[Expr, ...] = ()
    body: list[Statement] = field(default_factory=list)
    other: list[Statement] = field(default_factory=list)

    def walk(self) -> Iterator[Statement]:
        """This statement and all below it."""
        yield self
        for child in (*self.body, *self.other):
            yield from child.walk()

    def rename(self, names: Mapping[str, str]) -> None:
        """Rename variables in this statement alone."""

        def renamed(expr: Expr) -> Expr:
            name = names.get(expr.name, expr.name) if expr.op in ("name", "index") else expr.name
            return replace(expr, name=name, args=tuple(renamed(arg) for arg in expr.args))

        self.target = names.get(self.target, self.target)
        self.value = None if self.value is None else renamed(self.value)
        self.access = None if self.access is None else renamed(self.access)
        self.args = tuple(renamed(arg) for arg in self.args)
        self.events = tuple(renamed(event) for event in self.events)

    def expressions(self) -> Iterator[Expr]:
        """The expressions of this statement alone."""
        if self.value is not None:
            yield self.value
        yield from self.args
        if self.access is not None:
            yield from self.access.args


@dataclass(frozen=True)
class Declared:
    """A parameter or variable: ``kind`` is its type ("" where none is written), ``value`` its default.

    ``closed`` is the end of the whole declaration, its semicolon taken in; ``commas`` stand in its ranges where a
    colon has to; ``block`` is the start of the block that declares it, -1 for the module. ``allowed`` and ``excluded``
    are the strings that one of type string may, and may not be. ``ranges`` are the first and the last index of an
    array, a pair for each dimension.
    """

    name: Token
    kind: str
    value: Expr | None
    start: int
    end: int
    local: bool = False
    array: bool = False
    closed: int = -1
    commas: tuple[Token, ...] = ()
    block: int = -1
    allowed: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    ranges: tuple[tuple[Expr, Expr], ...] = ()


def scoped(block: str, body: Sequence[Statement], declared: Sequence[tuple[list[Declared], int]]) -> None:
    """Prefix the names that ``block`` declares, and that are declared around it too, with the block's name.

    ``declared`` are lists of declarations, each with the index of the first one that is the block's.
    """
    around = {entry.name.text for entries, first in declared for entry in entries[:first]}
    names: dict[str, str] = {}
    for entries, first in declared:
        for k, entry in enumerate(entries[first:], first):
            if entry.name.text in around:
                names[entry.name.text] = f"{block}.{entry.name.text}"
                entries[k] = replace(entry, name=replace(entry.name, text=names[entry.name.text]))
    for statement in body if names else ():
        for part in statement.walk():
            part.rename(names)


@dataclass
class Function:
    """An analog function. ``typed`` are the names that it declares, ``locals`` those of them with a start value or a
    parameter's default; ``written`` are its output arguments, ``read`` its input arguments; ``integers`` the names in
    it, its own too, that are declared so.
    """

    name: str
    arguments: list[Token]
    typed: set[str]
    body: list[Statement]
    start: int
    body_start: int
    locals: list[Declared] = field(default_factory=list)
    written: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    integers: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Unread:
    """A part of the text, ``start``..``end``, that the parser skipped, and why."""

    start: int
    end: int
    message: str


@dataclass
class Module:
    """A module, whose name begins at ``named``. ``nets`` map a name to its discipline; ``analogs`` are (statement,
    whether ``initial``).
    """

    name: str
    named: int
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
    unread: list[Unread] = field(default_factory=list)
    instances: list[Token] = field(default_factory=list)
    arrays: list[Token] = field(default_factory=list)

    def statements(self) -> Iterator[Statement]:
        """Every statement of every analog block."""
        for statement, _ in self.analogs:
            yield from statement.walk()

    def around(self, statement: Statement) -> list[Statement]:
        """The statements that stand around ``statement``, from the outside."""
        return [s for s in self.statements() if s is not statement and any(one is statement for one in s.walk())]

    def expressions(self) -> Iterator[Expr]:
        """Every expression of the declarations, the analog blocks and the functions."""
        functions = [entry for function in self.functions.values() for entry in function.locals]
        for entry in (*self.parameters, *self.variables, *functions):
            if entry.value is not None:
                yield entry.value
        bodies = [s for s, _ in self.analogs] + [s for f in self.functions.values() for s in f.body]
        for body in bodies:
            for statement in body.walk():
                yield from statement.expressions()

    @property
    def terminals(self) -> tuple[str, ...]:
        """The ports but those that only show a value: to which a potential is contributed, and nothing else."""
        shown: set[str] = set()
        used: set[str] = set()
        for statement in self.statements():
            access = statement.access if statement.kind == "contrib" else None
            if access is not None and access.name != "I" and len(access.args) == 1 and not access.args[0].args:
                shown.add(access.args[0].name)
            elif access is not None:
                used |= {name for arg in access.args for name in (arg.name, *self.branches.get(arg.name, ()))}
        for expr in self.expressions():
            for node in expr.walk():
                used |= {arg.name for arg in node.args} if node.op == "call" else set()
        return tuple(port.text for port in self.ports if port.text not in shown - used)

    @property
    def integers(self) -> frozenset[str]:
        """Names that are computed in integers: declared so, or a parameter without a type whose default is one."""
        found = {entry.name.text for entry in (*self.parameters, *self.variables) if entry.kind == "integer"}
        found |= {
            entry.name.text
            for entry in self.parameters
            if not entry.kind and entry.value is not None and entry.value.op == "number" and entry.value.integer
        }
        found |= {name for name, function in self.functions.items() if name in function.integers}
        return frozenset(found)
