"""What the contributions of a Verilog-A model add up to in one step."""

from __future__ import annotations

from collections.abc import Callable

from cosim.language.expressions import Expr, Unreadable
from cosim.language.va_tree import Module


class Sums:
    """The sums of one step, which begins from none; what they leave open raises `Unreadable`.

    ``leaving``: currents (A) out of a node into its branches. ``forced``: the voltage (V) between the terminals, None
    where currents are contributed there. ``stated``: voltages (V) of inner nodes. ``flow``: the largest current (A).
    """

    def __init__(self, ports: tuple[str, ...], grounds: frozenset[str]) -> None:
        self.leaving: dict[str, float] = {}
        self.forced: float | None = None
        self.stated: dict[str, float] = {}
        self.flow = 0.0
        self._ports, self._grounds = ports, grounds
        self._kinds: dict[frozenset[str], tuple[str, str]] = {}  # nodes -> what is contributed, in which named branch
        self._read: set[str] = set()

    def read(self, name: str) -> None:
        """The sum for an inner node is asked for: it has to be whole."""
        if name in self.stated:
            self._read.add(name)

    def add(self, access: Expr, names: tuple[str, ...], value: float) -> str:
        """Contribute ``value`` to the branch between ``names``; the inner node whose voltage that is, or ""."""
        nodes = frozenset(names) - self._grounds
        if access.name not in ("V", "I"):
            raise Unreadable(f"a contribution to {access.name}()", access.start)
        written = tuple(arg.name for arg in access.args)
        named = "" if written == names else written[0]
        kind, branch = self._kinds.setdefault(nodes, (access.name, named))
        if kind != access.name:
            raise Unreadable("a potential and a flow are contributed to a branch in one step", access.start)
        if access.name == "I":
            self.flow = max(self.flow, abs(value))
            for name, sign in zip(names, (1.0, -1.0), strict=False):
                self.leaving[name] = self.leaving.get(name, 0.0) + sign * value
            return ""
        if branch != named:
            raise Unreadable("potentials of two branches between the same nodes", access.start)
        if nodes == {*self._ports}:
            self.forced = (self.forced or 0.0) + (value if names == self._ports else -value)
            return ""
        if len(nodes) != 1 or not nodes.isdisjoint(self._ports):
            raise Unreadable("a voltage between inner nodes, or of a terminal against ground", access.start)
        (node,) = nodes
        if node in self._read:
            raise Unreadable(f"the voltage of {node!r} is read between its contributions", access.start)
        self.stated[node] = self.stated.get(node, 0.0) + (value if node == names[0] else -value)
        return node


def current_of_one(module: Module, ports: tuple[str, ...], branch: Callable[[Expr], tuple[str, ...]]) -> None:
    """Raise `Unreadable` where the current between the terminals, which is read, is not all that enters the first."""
    seen: set[frozenset[str]] = set()
    for statement in module.statements():
        access = statement.access if statement.kind == "contrib" else None
        probes = [node for expr in statement.expressions() for node in expr.walk() if node.op == "call"]
        for node in (*probes, *([] if access is None else [access])):
            if node.name not in ("V", "I") or not node.args or (node.name == "V" and node is not access):
                continue
            names = branch(node)
            if {*names} == {*ports}:
                seen.add(frozenset(arg.name for arg in node.args))
            elif node is access and node.name == "I" and ports[0] in names:
                raise Unreadable("a current of the first terminal beside the branch whose current is read", node.start)
    if len(seen) > 1:
        raise Unreadable("a current is read where there are several branches between the terminals", module.start)
