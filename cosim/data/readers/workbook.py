"""A workbook's sheets as text, read by python-calamine in a process apart: this file is run as a program by `excel`.

A damaged workbook can make the library ask for more memory than there is, run for minutes, or end its process. It
imports nothing of cosim, so that it starts at once. The workbook comes in, JSON goes out: of each sheet its name and
its rows, of each row its line, whether a blank one stands before it, and its cells.
"""

from __future__ import annotations

import datetime
import io
import json
import os
import resource
import sys
from typing import Any

# Our choice: far more than a measurement has, and what it needs, several times over.
MAX_CELLS, MAX_SHEETS = 4_000_000, 256
MAX_TEXT = 128 << 20  # characters of all cells
MAX_CELL = 32_767  # characters of a cell: Excel's own limit
SECONDS, MEMORY = 60, 3 << 30
REFUSED = 3

Rows = list[tuple[int, bool, list[str]]]


def read(data: bytes) -> list[tuple[str, Rows]]:
    """The sheets."""
    import python_calamine as calamine  # type: ignore[import-not-found, unused-ignore]

    with calamine.CalamineWorkbook.from_filelike(io.BytesIO(data)) as book:
        found: list[tuple[str, Rows]] = []
        left = MAX_TEXT
        for name in book.sheet_names[:MAX_SHEETS]:
            rows, left = _rows(book.get_sheet_by_name(name), left)
            found.append((name, rows))
        return found


def _rows(sheet: Any, left: int) -> tuple[Rows, int]:
    """The rows, and how many of the characters that were ``left`` are so afterwards."""
    first = 1 if sheet.start is None else sheet.start[0] + 1
    if sheet.height * sheet.width > MAX_CELLS:
        raise ValueError(f"a sheet spans {sheet.height} rows and {sheet.width} columns, more than {MAX_CELLS} cells")
    rows: Rows = []
    blank = False
    for line, cells in enumerate(sheet.to_python(skip_empty_area=True), first):
        texts = [_text(cell) for cell in cells]
        # A text that cells share is in the file once.
        left -= sum(map(len, texts))
        longest = max(map(len, texts), default=0)
        if longest > MAX_CELL:
            raise ValueError(f"a cell of row {line} holds {longest} characters, more than {MAX_CELL}")
        if left < 0:
            raise ValueError(f"its cells hold more than {MAX_TEXT >> 20} million characters")
        if any(texts):
            rows.append((line, blank, texts))
        blank = not any(texts)
    return rows, left


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return repr(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, datetime.date | datetime.time | datetime.timedelta):
        return str(cell)
    return str(cell).strip()


def main() -> None:
    """The program: limits, the workbook from standard input, the answer on standard output."""
    sys.path[:] = json.loads(sys.argv[1])
    for kind, limit in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(kind)
        most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (most, most))
    code = 0
    answer: object
    try:
        answer = read(sys.stdin.buffer.read())
    except BaseException as error:  # a panic of the library is not an Exception; this process ends in any case
        lines = str(error).splitlines()
        code, answer = REFUSED, lines[0][:120] if lines else type(error).__name__
    json.dump(answer, sys.stdout)
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
