"""What verbs print: tables, JSON, and progress that is quiet in a pipe."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import rich.box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from cosim.errors import legible

QUIET = 60.0  # s between two lines of progress in a file


def console() -> Console:
    """Standard output; a pipe is as wide as its widest line: nothing is cut."""
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False, soft_wrap=True)


def advise(sentences: Iterable[str]) -> None:
    """Print what may not be intended, and what was left out, to standard error: a line each."""
    for sentence in sentences:
        print(f"cosim: note: {legible(sentence)}", file=sys.stderr)


def show_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[int] = ()
) -> None:
    """Print a table; columns whose index is in ``right`` are right-aligned."""
    table = Table(title=Text(legible(title)) if title else None, title_justify="left", box=rich.box.SIMPLE_HEAD)
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index in right else "left")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(legible(str(cell))) for cell in row))
    console().print(table)


def _plain(value: object) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def to_json(data: object, *, indent: int | None = 2) -> str:
    """``data`` as JSON; arrays become lists; NaN is refused, because absent values are left out, not marked."""
    return json.dumps(data, indent=indent, default=_plain, allow_nan=False)


def print_json(data: object) -> None:
    """Print ``data`` as JSON."""
    print(to_json(data))


@contextmanager
def progress() -> Iterator[Progress]:
    """Progress bars on standard error; nothing where that is not a terminal."""
    shown = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=shown,
        transient=True,
        disable=not shown.is_terminal,
    )
    with bars:
        yield bars


@contextmanager
def working(what: str) -> Iterator[None]:
    """A spinner for work without steps; nothing where standard error is not a terminal."""
    shown = Console(stderr=True)
    if not shown.is_terminal:
        yield
        return
    with shown.status(what):
        yield


@contextmanager
def counting(what: str, total: int, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that shows at once; call what it yields with how many are done, and of how many.

    Where standard error is not a terminal, a line each `QUIET` s.
    """
    said = time.monotonic()

    def tell(done: int, of: int) -> None:
        nonlocal said
        bars.update(task, completed=done, total=of)
        if bars.disable and time.monotonic() - said > QUIET:
            said = time.monotonic()
            print(f"cosim: {what}: {done} of {of} {unit}", file=sys.stderr, flush=True)

    with progress() as bars:
        task = bars.add_task(f"{what} ({unit})", total=total)
        yield tell
