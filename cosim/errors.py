"""One exception tree; every message is one sentence that says what is wrong, where, and what to do.

::

    CosimError
    ├── InputError (ValueError)           something a user wrote is wrong
    │   ├── MissingFile (FileNotFoundError)
    │   ├── UnknownName (LookupError)     device, node, parameter set, ...: with the nearest names
    │   ├── UnitError                     "12 parsec" where a voltage is asked for
    │   ├── DataError                     a measured file: row and column
    │   └── NetlistError                  a netlist that cannot be read: line
    │       └── NetlistRefused            a netlist that would run a program or leave its folders
    ├── EmitError (TypeError)             a construct that the target language cannot say
    ├── EngineMissing (RuntimeError)      no ngspice, no OSDI, no compiler: what to install
    ├── SimulationError (RuntimeError)    an outcome other than "converged", with the log's tail
    ├── FitError (RuntimeError)           the optimiser cannot start or end
    └── DomainError (ValueError)          a surrogate was asked outside its certified domain
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from numbers import Real
from pathlib import Path
from typing import Any


def legible(text: str) -> str:
    """``text`` with control characters written out: what a file says must not move a terminal's cursor."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def told(value: Any) -> str:
    """The kind and the numbers of a dataclass in words: ``LIF with tau = 0, threshold = 1``."""
    numbers = {entry.name: getattr(value, entry.name) for entry in fields(value)}
    shown = [f"{name} = {x:g}" for name, x in numbers.items() if isinstance(x, int | float) and not isinstance(x, bool)]
    return f"{type(value).__name__} with {', '.join(shown)}"


@dataclass(frozen=True)
class Where:
    """A place in a user's file: ``line`` and ``column`` count from 1; None where it is not known."""

    file: str | Path | None = None
    line: int | None = None
    column: str | int | None = None

    def __str__(self) -> str:
        parts = [str(self.file)] if self.file is not None else []
        if self.line is not None:
            parts.append(str(self.line) if parts else f"line {self.line}")
        text = ":".join(parts)
        if self.column is not None:
            text += f"{', ' if text else ''}column {self.column}"
        return text


class CosimError(Exception):
    """Root of the tree. ``str()`` is ``where: message; remedy``.

    ``keys`` lead to the entry of the user's file that it is about; `cosim.schema.located` adds the file and the line.

    >>> try:
    ...     cosim.device("vteem")
    ... except cosim.CosimError as error:
    ...     print(error)
    unknown device 'vteem'; did you mean vteam?
    """

    def __init__(self, message: str, *, where: Where | None = None, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.remedy = remedy
        self.keys: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where is not None and str(self.where) else ""
        return f"{place}{self.message}" + (f"; {self.remedy}" if self.remedy else "")


class at:  # noqa: N801  used like contextlib.suppress
    """Errors raised inside are about the entry ``keys`` of the user's file, or one below it."""

    def __init__(self, *keys: str | int) -> None:
        self._keys = keys

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, CosimError):
            error.keys = (*self._keys, *error.keys)


class InputError(CosimError, ValueError):
    """Something that a user wrote is wrong."""


class MissingFile(InputError, FileNotFoundError):
    """A file that was named does not exist or cannot be read."""

    def __str__(self) -> str:  # FileNotFoundError would print errno
        return CosimError.__str__(self)


def _few(names: list[str], *, most: int = 60) -> str:
    """Names for a sentence; of many the first ones."""
    more = f" and {len(names) - most} others" if len(names) > most else ""
    return (", ".join(names[:most]) or "none") + more


# what a name is of, and where it was looked for: "parameter", " of device 'cell' of bench b"
_KIND = re.compile(r"(.*?)( (?:of|in|with|outside) .*| \(.*|)", re.DOTALL)


class UnknownName(InputError, LookupError):
    """A name that is not among the known ones; the message offers the nearest.

    The name stands behind the noun of ``kind``: "parameter of bench b" makes "unknown parameter 'w' of bench b".
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: Where | None = None) -> None:
        names = sorted(set(known))
        near = difflib.get_close_matches(name, names, n=3)
        remedy = "did you mean " + " or ".join(near) + "?" if near else "known: " + _few(names)
        noun, place = _KIND.fullmatch(kind).groups()  # type: ignore[union-attr]
        super().__init__(f"unknown {noun} {name!r}{place}", where=where, remedy=remedy)
        self.name = name
        self.known = names


class UnitError(InputError):
    """A quantity whose unit is unknown, or not the one asked for."""


class DataError(InputError):
    """A measured file that cannot be used: ``where`` has row and column."""


class NetlistError(InputError):
    """A netlist that cannot be read."""


class NetlistRefused(NetlistError):
    """A netlist that would start a program, write a file, or reach outside its folders."""


class EmitError(CosimError, TypeError):
    """A construct of a device's physics that the target language cannot express."""


class EngineMissing(CosimError, RuntimeError):
    """A simulator, a compiler or a part of one is not on this machine."""


class SimulationError(CosimError, RuntimeError):
    """A simulation that did not converge, was stopped, or died. ``log`` holds the engine's last lines."""

    def __init__(
        self, message: str, *, outcome: str, log: str = "", where: Where | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(message, where=where, remedy=remedy)
        self.outcome = outcome
        self.log = log


class FitError(CosimError, RuntimeError):
    """An extraction that cannot start or does not end."""


class DomainError(CosimError, ValueError):
    """A surrogate was asked for something outside the domain of its certificate."""


def require_finite(settings: Any) -> None:
    """Raises `InputError` where a number among a dataclass's fields, or within one, is NaN or infinite."""
    for entry in fields(settings):
        value = getattr(settings, entry.name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Real) and not math.isfinite(one):
                raise InputError(f"{entry.name} has to be a finite number, not {one}", remedy="give a number")
