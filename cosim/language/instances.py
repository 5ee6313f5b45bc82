"""What a circuit passes to its devices, held against their bounds before anything runs.

A deck says which of its subcircuits stand for a device of the library (`Deck.devices`). From the top of the circuit the
values that instances pass are followed down to those subcircuits, through the subcircuits between, and each has to lie
within the bounds of the device's parameter: a state that starts at 7 where its range ends at 1 is a mistake.

Numbers, names, and expressions of arithmetic and ordinary functions are followed. Any other value (random numbers,
user-defined functions, voltages), and whatever stands in an ``.if``, is left to the engine.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from cosim.devices.base import DeviceModel
from cosim.devices.registry import device as find_device
from cosim.errors import NetlistError
from cosim.language.netlist import Line, Netlist
from cosim.language.numbers import in_parameter, spice_number

_ASSIGNED = re.compile(r"([A-Za-z_]\w*)\s*=(?!=)\s*(\{[^{}]*\}|'[^']*'|\"[^\"]*\"|[^\s{}'\"]+)")
_NAME = re.compile(r"[A-Za-z_]\w*\Z")
_EVERYWHERE = frozenset({"m"})  # how many in parallel: ngspice knows it for every subcircuit
# Of a parameter's value, or of its range: sums of decimals miss a bound by rounding.
_SLACK = 1e-9
# Functions that mean the same in every SPICE.
_FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "abs": abs, "min": min, "max": max, "sqrt": math.sqrt, "exp": math.exp, "ln": math.log, "log10": math.log10,
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "atan": math.atan, "tanh": math.tanh, "pow": math.pow,
}  # fmt: skip


@dataclass(frozen=True)
class _Value:
    """A number, and the parameters of the whole circuit that it was made of."""

    number: float
    of: frozenset[str] = frozenset()


@dataclass
class _Circuit:
    """The circuit, or one subcircuit: what its head and its ``.param`` cards assign, and its instances of other
    subcircuits.
    """

    assigned: dict[str, str] = field(default_factory=dict)
    calls: list[tuple[str, str, Line, dict[str, str]]] = field(default_factory=list)


_Scope = Callable[[str, frozenset[str]], _Value | None]


def check_instances(netlist: Netlist, devices: Mapping[str, str]) -> None:
    """Raises `NetlistError` for a parameter that an instance gives and its subcircuit does not have, and for the first
    value that an instance of a device gets and its bounds do not allow.

    ``devices``: subcircuit -> name of a device of the library.
    """
    parts = _parts(netlist)
    _require_known(parts, netlist.source)
    if not devices:
        return
    models = {name.lower(): find_device(device) for name, device in devices.items()}
    leading = _leading(parts, models)
    whole = _whole(parts)
    done: set[tuple[str, tuple[tuple[str, float | None], ...]]] = set()

    def walk(part: _Circuit, scope: _Scope, path: str) -> None:
        for instance, called, line, texts in part.calls:
            if called not in leading:
                continue
            given = {name: _value(in_parameter(text), scope, frozenset()) for name, text in texts.items()}
            here = f"{path}{instance}"
            if called in models:
                _require_inside(models[called], called, given, here, line)
                continue
            key = (called, tuple(sorted((name, None if v is None else v.number) for name, v in given.items())))
            if key in done or called not in parts:
                continue
            done.add(key)
            walk(parts[called], _inside(parts[called], given, whole), f"{here}.")

    walk(parts[""], whole, "")


def _require_known(parts: Mapping[str, _Circuit], source: Path | None) -> None:
    """A subcircuit declares its parameters in its head, or by ``.param`` in its body; an instance may give either. An
    engine silently accepts one that is not declared, and uses the default of the one that was meant. In a kit from
    elsewhere that may be on purpose; in the user's own file it is a mistake.
    """
    own = source.parent if source is not None else None
    for part in parts.values():
        for instance, called, line, texts in part.calls:
            if called not in parts:
                continue
            declared = parts[called].assigned.keys()
            unknown = texts.keys() - declared - _EVERYWHERE
            if not unknown:
                continue
            file = line.where.file
            if file is not None and (own is None or not Path(file).is_relative_to(own)):
                continue
            name = min(unknown)
            near = difflib.get_close_matches(name, declared, n=3, cutoff=0.5)
            known = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(sorted(declared)) or 'none'}"
            raise NetlistError(
                f"{instance} gives subcircuit {called!r} a parameter {name!r} that it does not have",
                where=line.where, remedy=known,
            )  # fmt: skip


def _inside(part: _Circuit, given: Mapping[str, _Value | None], whole: _Scope) -> _Scope:
    """The names defined inside an instance: what it was given, its own assignments, the circuit's."""

    def scope(name: str, above: frozenset[str]) -> _Value | None:
        if name in given:
            return given[name]
        if name in part.assigned:
            return None if name in above else _value(in_parameter(part.assigned[name]), scope, above | {name})
        return whole(name, frozenset())

    return scope


def constant(netlist: Netlist, text: str, given: Mapping[str, float] = MappingProxyType({})) -> float | None:
    """The value of a number, or of an expression of ``given`` and the circuit's own parameters; None for
    anything else.
    """
    whole = _whole(_parts(netlist))

    def scope(name: str, above: frozenset[str]) -> _Value | None:
        return _Value(given[name]) if name in given else whole(name, above)

    found = _value(text, scope, frozenset())
    return None if found is None else found.number


def _whole(parts: Mapping[str, _Circuit]) -> _Scope:
    """The names defined in the circuit itself."""

    def whole(name: str, above: frozenset[str]) -> _Value | None:
        text = parts[""].assigned.get(name)
        if text is None or name in above:
            return None
        found = _value(in_parameter(text), whole, above | {name})
        return None if found is None else _Value(found.number, found.of | {name})

    return whole


def _value(text: str, scope: _Scope, above: frozenset[str]) -> _Value | None:
    """The value of a number, a name or an expression; None for one that is not followed."""
    plain = text.strip("{}'\" ").lower()
    number = spice_number(plain)
    if number is not None:
        return _Value(number)
    if _NAME.match(plain):
        return scope(plain, above)
    from cosim.language.expressions import Dialect, Expr, Unreadable, evaluate
    from cosim.language.lt_syntax import parse_expression

    used: set[str] = set()

    def lookup(node: Expr) -> float:
        found = scope(node.name.lower(), above)
        if found is None:
            raise Unreadable("a name without a value", node.start)
        used.update(found.of)
        return found.number

    try:
        tree = parse_expression(plain, caret_is_power=True)
        value = evaluate(tree, lookup, lambda node: None, Dialect(_FUNCTIONS, math.pow, caret_is_power=True))
    except (Unreadable, ValueError, OverflowError, TypeError):  # the last: a function of other arguments
        return None
    return _Value(value, frozenset(used))


def _require_inside(model: DeviceModel, name: str, given: Mapping[str, _Value | None], path: str, line: Line) -> None:
    entries = {entry.name.lower(): entry for entry in model.params}
    for key, value in given.items():
        entry = entries.get(key)
        if entry is None or value is None:
            continue
        low, high = entry.bounds
        slack = _SLACK * max(abs(value.number), high - low if math.isfinite(high - low) else 0.0)
        if low - slack <= value.number <= high + slack:
            continue
        # a parameter that is passed down under its own name needs no second mention
        cause = f" (made of {', '.join(sorted(value.of))})" if value.of - {key} else ""
        unit = "" if entry.unit == "1" else f" {entry.unit}"
        raise NetlistError(
            f"{entry.name} = {value.number:g}{cause} of {path}, the {name}, is outside {low:g}..{high:g}{unit}",
            where=line.where,
            remedy=f"{entry.name} is the {entry.description} of a {model.name}",
        )


def _leading(parts: Mapping[str, _Circuit], models: Mapping[str, DeviceModel]) -> set[str]:
    """The subcircuits that are a device, or hold one."""
    found = set(models)
    grown = True
    while grown:
        grown = False
        for name, part in parts.items():
            if name not in found and any(called in found for _, called, _, _ in part.calls):
                found.add(name)
                grown = True
    return found


def _parts(netlist: Netlist) -> dict[str, _Circuit]:
    parts = {"": _Circuit()}
    stack = [""]
    for line in netlist.lines:
        first = line.text[0]
        if first in "xX":
            before, assigned = _split(line.text)
            if len(before) > 1:
                parts[stack[-1]].calls.append((before[0].lower(), before[-1].lower(), line, assigned))
        elif first == ".":
            card = line.card
            if card in (".subckt", ".macro"):
                before, assigned = _split(line.text)
                name = before[1].lower() if len(before) > 1 else ""
                parts[name] = _Circuit(assigned)
                stack.append(name)
            elif card in (".ends", ".eom"):
                if len(stack) > 1:
                    stack.pop()
            elif card in (".param", ".params"):
                parts[stack[-1]].assigned |= _split(line.text)[1]
    return parts


def assigned(lines: Iterable[Line]) -> Iterator[tuple[str, Line]]:
    """Each parameter that a ``.param`` card outside of subcircuits gives, in order: its lower-case name, its line."""
    depth = 0
    for line in lines:
        if line.text.startswith("."):
            depth += line.card in (".subckt", ".macro")
            if depth == 0 and line.card in (".param", ".params"):
                yield from ((match[1].lower(), line) for match in _ASSIGNED.finditer(line.text))
            depth = max(0, depth - (line.card in (".ends", ".eom")))


def _split(text: str) -> tuple[Sequence[str], dict[str, str]]:
    """The words in front of a line's assignments, and the assignments, names in lower case."""
    first = _ASSIGNED.search(text)
    if first is None:
        return text.split(), {}
    words = [word for word in text[: first.start()].split() if word.lower() != "params:"]
    return words, {match[1].lower(): match[2] for match in _ASSIGNED.finditer(text, first.start())}


def calls(netlist: Netlist) -> dict[str, dict[str, str]]:
    """Per subcircuit ("" is the circuit itself) the subcircuit of each of its instances; lower case."""
    return {name: {instance: called for instance, called, _, _ in part.calls} for name, part in _parts(netlist).items()}
