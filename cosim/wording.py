"""What a schema asks for, in words: "list of quantities in V"; for the messages of `cosim.schema` and for
the reference pages (`tools/reference_pages.py`).

A type of the schema is an annotation of its class, whose metadata hold the unit (`In`) and the bounds.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pydantic


@dataclass(frozen=True)
class In:
    """The unit that a quantity of a schema is asked for in; "" where it is a plain number."""

    unit: str


_PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
_SIGN = (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))


def unit_of(annotation: Any, metadata: Iterable[Any] = ()) -> str | None:
    """The unit of a quantity; "" for a plain number, None for anything else."""
    _, more = _stripped(annotation)
    return next((entry.unit for entry in (*more, *metadata) if isinstance(entry, In)), None)


def words(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """What a value of this type is: ``"list of quantities in V"``, ``"one of rise, fall"``, ``"table"``."""
    base, more = _stripped(annotation)
    metadata = (*more, *metadata)
    unit = unit_of(base, metadata)
    bounds = _bounds(metadata)
    if unit is not None:
        return (f"quantity in {unit}" if unit else "number") + bounds
    origin, args = get_origin(base), get_args(base)
    if origin is Literal:
        return choice(str(arg) for arg in args)
    if origin in (Union, types.UnionType):
        return _either([arg for arg in args if arg is not type(None)]) + bounds
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return f"list of {_plural(words(args[0]))}" + (", not empty" if bounds else "")
        return f"list of {len(args)}: {', '.join(words(arg) for arg in args)}"
    if origin is dict:
        return f"table of NAME = {words(args[1])}"
    if isinstance(base, type) and issubclass(base, pydantic.BaseModel):
        return "quantity with a unit" if base.__name__ == "Quantity" else "table"
    return _PLAIN.get(base, "value") + bounds


def choice(names: Iterable[str]) -> str:
    """``one of a, b``; of one name the name."""
    found = list(names)
    return found[0] if len(found) == 1 else f"one of {', '.join(found)}"


def tables(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    """The schemas within an annotation, in its order."""
    base, _ = _stripped(annotation)
    if isinstance(base, type) and issubclass(base, pydantic.BaseModel):
        yield base
    for arg in get_args(base):
        yield from tables(arg)


def _stripped(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    if get_origin(annotation) is Annotated:
        base, *metadata = get_args(annotation)
        return base, tuple(metadata)
    return annotation, ()


def _either(args: list[Any]) -> str:
    units = [unit_of(arg) for arg in args]
    quantities = [unit for unit in units if unit]
    found = [f"quantity in {' or '.join(quantities)}"] if quantities else []
    for arg, unit in zip(args, units, strict=True):
        if not unit and words(arg) not in found:
            found.append(words(arg))
    return " or ".join(dict.fromkeys(found))


def _plural(text: str) -> str:
    head, _, tail = text.partition(" in ")
    known = {"text": "texts", "number": "numbers", "whole number": "whole numbers", "quantity": "quantities",
             "quantity with a unit": "quantities with units", "table": "tables"}  # fmt: skip
    return f"{known[head]}{' in ' + tail if tail else ''}" if head in known else text


def _bounds(metadata: Iterable[Any]) -> str:
    found = []
    for entry in metadata:
        if getattr(entry, "min_length", None):
            found.append("≥ 1 long")
        for name, sign in _SIGN:
            value = getattr(entry, name, None)
            if value is not None:
                found.append(f"{sign} {value:g}" if abs(value) < 1e6 else f"{sign} {value:.0e}".replace("e+0", "e"))
    return f" {', '.join(found)}" if found else ""
