"""The values of a raw file: from positions in the file to one contiguous array per vector, a block at a time.

Read with ``preadv`` and never mapped into memory: a mapped file that its writer cuts short ends the process that reads
it. Points lie one after the other, each with all vectors that reach so far; a block of them that fits the cache is
turned into columns before the next one is read, so that little more than the answer is ever in memory.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cosim.engines.worker.frames import Numbers
from cosim.errors import DataError, MissingFile, Where

Index = NDArray[np.intp]
Piece = tuple[int, Numbers, Index]

_BLOCK = 1 << 19  # bytes of points turned into columns at once: what the second-level cache holds
_TEXT = 1 << 20
_LINE = 1 << 20
_SEEK = 1 << 13  # bytes that are read in the time of one more call
_LENGTHS = 1024  # distinct lengths of vectors in one plot; ngspice writes two or three
MAX_HEADER = 64 << 20
STOPPED = "the simulator may have been stopped or may still write: partial=True reads the points that are complete"


class RawFile:
    """A raw file that is open: lines in order, values by position, both with the number of lines passed."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe in its place is refused without waiting for it
        except OSError as error:
            raise _missing(path, error.strerror) from None
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            os.close(handle)
            raise _missing(path, "it is not a regular file")
        self._lines = open(handle, "rb")  # noqa: SIM115  closed by __exit__
        self.size = status.st_size  # what is written from now on is ignored
        self.row = 0
        self.wide = self.text(0, 4) == b"T\0i\0"  # "Title:" in UTF-16, as LTspice writes it
        self.header_left = MAX_HEADER

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()

    @property
    def at(self) -> int:
        """The position of the next line."""
        return self._lines.tell()

    @property
    def most(self) -> int:
        """More points than it can have: claims beyond are ignored."""
        return self.size + 1

    def seek(self, at: int) -> None:
        """Go on with the line at ``at``."""
        self._lines.seek(at)

    def line(self, *, ended: bool = False) -> str | None:
        """The next line without its end; None at the end of the file, with ``ended`` also for half a line there."""
        data = self._lines.readline(max(0, min(_LINE, self.size - self.at)))
        while self.wide and 0 < len(data) < _LINE and not (len(data) % 2 == 0 and data.endswith(b"\n\0")):
            more = self._lines.read(1) or b""  # the other half of a line's end, or a sign that only looks like one
            if data.endswith(b"\n") and more == b"\0" and len(data) % 2:
                data += more
                break
            data += more + self._lines.readline(max(0, min(_LINE, self.size - self.at)))
            if not more:
                break
        if not data or (ended and not data.endswith(b"\n\0" if self.wide else b"\n")):
            return None
        self.row += 1
        self.header_left -= len(data)
        if len(data) == _LINE or self.header_left < 0:
            raise self.fail(f"its header is longer than {MAX_HEADER >> 20} MiB, or a line of it than {_LINE >> 20} MiB")
        return data.decode("utf-16-le" if self.wide else "latin-1", "replace").rstrip("\r\n")

    def text(self, at: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``at``; fewer only at the end of the file."""
        data = np.empty(max(0, min(size, self.size - at)), dtype=np.uint8)
        self.read(data, at)
        return data.tobytes()

    def read(self, into: NDArray[Any], at: int) -> None:
        """Fill ``into``, contiguous, from position ``at``. Raises `DataError` where the file has become shorter."""
        view = into.reshape(-1).view(np.uint8).data
        while view:
            got = os.preadv(self._lines.fileno(), [view], at)
            if got == 0:
                raise self.fail("became shorter while it was read")
            view, at = view[got:], at + got

    def fail(self, what: str, *, row: int | None = None, remedy: str | None = None) -> DataError:
        """The error for what is wrong in line ``row``, or in the last one passed."""
        where = Where(self.path, self.row if row is None else row)
        return DataError(f"raw file: {what}", where=where, remedy=remedy)


def _missing(path: str | Path, why: str | None) -> MissingFile:
    return MissingFile(f"cannot read raw file {str(path)!r}: {why}", remedy="check the path")


@dataclass(frozen=True)
class RawLayout:
    """What a header says of its values, which begin at byte ``at``.

    Vector k has ``lengths[k]`` values, and stands in the first ``stored[k]`` of the ``points``.
    """

    names: tuple[str, ...]
    types: tuple[str, ...]
    lengths: Index
    stored: Index
    points: int
    is_complex: bool
    binary: bool
    at: int
    name: str = ""
    title: str = ""
    complete: bool = True
    flags: tuple[str, ...] = ()
    ltspice: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a value."""
        return np.dtype(np.complex128) if self.is_complex else np.dtype(np.float64)

    @property
    def total(self) -> int:
        """How many values are stored, of all vectors."""
        return sum(self.stored.tolist())  # of any size, where numpy's sum would overflow

    @property
    def end(self) -> int:
        """The byte behind the values of a binary plot."""
        return self.at + self.total * self.dtype.itemsize

    def cut(self, points: int) -> RawLayout:
        """The first ``points`` of a plot that should have more."""
        lengths, stored = np.minimum(self.lengths, points), np.minimum(self.stored, points)
        return replace(self, lengths=lengths, stored=stored, points=points, complete=False)

    def endless(self) -> RawLayout:
        """The same where the number of points is not known."""
        ends = np.full(len(self.names), sys.maxsize, dtype=np.intp)
        return replace(self, lengths=ends, stored=ends, points=sys.maxsize)

    def segments(self) -> Iterator[tuple[int, int, Index]]:
        """(first point, end, the vectors stored in each point) of stretches in which these are the same."""
        active, start = np.arange(len(self.names)), 0
        for end in np.unique(self.stored).tolist():
            active = active[self.stored[active] >= end]
            if end > start:
                yield start, end, active
            start = end


def held(layout: RawLayout, size: int) -> int:
    """How many points of a binary plot are whole in ``size`` bytes."""
    left = size // layout.dtype.itemsize
    for start, end, active in layout.segments():
        count = min(end - start, left // len(active))
        if count < end - start:
            return start + count
        left -= count * len(active)
    return layout.points


@dataclass(frozen=True)
class _Run:
    """Columns of a point that are worth one call: bytes to skip, where they come to, which of them are wanted."""

    skip: int
    part: Numbers
    chosen: Index
    into: slice


def _runs(columns: Index, dtype: np.dtype[Any]) -> list[_Run]:
    breaks = np.flatnonzero(np.diff(columns) * dtype.itemsize > _SEEK) + 1
    runs, done = [], 0
    for part in np.split(columns, breaks):
        first, count = int(part[0]), int(part[-1] - part[0]) + 1
        into = slice(done, done + len(part))
        runs.append(_Run(first * dtype.itemsize, np.empty(count, dtype=dtype), part - first, into))
        done += len(part)
    return runs


def binary_pieces(file: RawFile, layout: RawLayout, keep: Index) -> Iterator[Piece]:
    """(first point, (points, kept) values, the kept vectors) in order. The values are overwritten by the next piece."""
    at, dtype = layout.at, layout.dtype
    for start, end, active in layout.segments():
        row = len(active) * dtype.itemsize
        columns = np.flatnonzero(np.isin(active, keep))
        if not len(columns):
            at += (end - start) * row
            continue
        runs = _runs(columns, dtype)
        # A few vectors of very many are read each alone; else all, and several at once of large points, because a
        # column is # written a cache line at a time.
        sparse = sum(run.part.nbytes + _SEEK for run in runs) < row
        width = len(columns) if sparse else len(active)
        count = min(end - start, max(1, _BLOCK // (width * dtype.itemsize), min(16, (end - start) // 8)))
        buffer = np.empty((count, width), dtype=dtype)
        for first in range(start, end, count):
            rows = buffer[: min(count, end - first)]
            if sparse:
                for k, line in enumerate(rows):
                    for run in runs:
                        file.read(run.part, at + k * row + run.skip)
                        line[run.into] = run.part[run.chosen]
                yield first, rows, active[columns]
            else:
                file.read(rows, at)
                yield first, rows[:, _slice(columns)], active[columns]
            at += len(rows) * row
    file.seek(at if layout.complete else file.size)


def _slice(columns: Index) -> slice | Index:
    """Neighbouring columns as a slice, which avoids a copy."""
    if len(columns) and columns[-1] - columns[0] + 1 == len(columns):
        return slice(int(columns[0]), int(columns[-1]) + 1)
    return columns


def _lines(file: RawFile, at: int) -> Iterator[bytes]:
    """Whole lines from ``at`` to the next header or the end of the file, in pieces; the file continues after them."""
    rest = b""
    while True:
        new = file.text(at + len(rest), _TEXT)
        text = rest + new
        colon = text.find(b":")  # every line of a header has one, and no number
        end = text.rfind(b"\n", 0, colon if colon >= 0 else len(text)) + 1
        yield text[:end]
        at, rest = at + end, text[end:]
        if colon >= 0 or not new:
            break
        if len(rest) > _LINE:
            raise file.fail(f"{rest[:40].decode('latin-1')!r} is not a number", row=file.row + 1)
    file.seek(at)


def _number_error(file: RawFile, text: bytes) -> DataError:
    for row, line in enumerate(text.split(b"\n"), file.row + 1):
        for word in line.replace(b",", b" ").split():
            try:
                float(word)
            except ValueError:
                return file.fail(f"{word[:40].decode('latin-1')!r} is not a number", row=row)
    return file.fail("a value is not a number", row=file.row + 1)


def _line_of(text: bytes, word: int) -> int:
    """In which line of ``text``, from 1, its word number ``word`` stands."""
    for row, line in enumerate(text.split(b"\n"), 1):
        word -= len(line.replace(b",", b" ").split())
        if word < 0:
            return row
    return 1


def ascii_pieces(file: RawFile, layout: RawLayout, keep: Index, *, short: bool = False) -> Iterator[Piece]:
    """What `binary_pieces` gives, from text: for each point its number, then its values (``re,im`` of complex ones).

    Raises `DataError` for a word that is not a number, for points that are not numbered from 0, for too many values,
    and unless ``short`` for too few.
    """
    file.seek(layout.at)
    segments = layout.segments()
    start, end, active = next(segments, (0, 0, np.arange(0)))
    point, values = start, np.empty(0)
    for text in _lines(file, layout.at):
        plain = text.replace(b",", b" ").strip()  # numpy reads blanks as a number
        try:
            new = np.fromstring(plain, sep=" ") if plain else np.empty(0)
        except ValueError:
            raise _number_error(file, text) from None
        values = np.concatenate([values, new]) if len(values) else new
        while point < end:
            width = 1 + len(active) * (2 if layout.is_complex else 1)
            count = min(end - point, len(values) // width)
            if count == 0:
                break
            table = values[: count * width].reshape(count, width)
            values = values[count * width :]
            wrong = np.flatnonzero(table[:, 0] != np.arange(point, point + count))
            if len(wrong):
                word = len(new) - len(values) - table.size + int(wrong[0]) * width
                raise file.fail(
                    f"{table[wrong[0], 0]:.6g} instead of the number of point {point + wrong[0]}",
                    row=file.row + _line_of(text, word),
                    remedy="a value is missing or too many",
                )
            rows = np.ascontiguousarray(table[:, 1:])
            columns = np.flatnonzero(np.isin(active, keep))
            yield point, rows.view(layout.dtype)[:, _slice(columns)], active[columns]
            point += count
            if point == end:
                start, end, active = next(segments, (end, end, active))
        file.row += text.count(b"\n")
        if point == end and len(values) and layout.complete:
            raise file.fail(f"there are more values than {layout.points} points have")
    if point < layout.stored.max(initial=0) and not short:
        raise file.fail(f"is cut off within its values: {point} of {layout.points} points are complete", remedy=STOPPED)


class _Columns:
    """The kept vectors of the points from ``start`` to ``end``: those of one length share one table."""

    def __init__(self, layout: RawLayout, keep: Index, start: int, end: int) -> None:
        self.start, self.end = start, end
        lengths = np.clip(layout.lengths[keep], start, end) - start
        self._groups = [
            (keep[lengths == length], np.empty((np.count_nonzero(lengths == length), length), dtype=layout.dtype))
            for length in np.unique(lengths).tolist()
        ]
        self._keep = keep

    def put(self, first: int, rows: Numbers, vectors: Index) -> None:
        at = first - self.start
        for members, table in self._groups:
            count = min(len(rows), table.shape[1] - at)
            if count > 0:
                chosen = _slice(np.searchsorted(vectors, members))
                table[:, at : at + count] = rows[:count, chosen].T

    def values(self) -> tuple[Numbers, ...]:
        found = {int(k): row for members, table in self._groups for k, row in zip(members, table, strict=True)}
        return tuple(found[int(k)] for k in self._keep)


def blocks(
    file: RawFile, layout: RawLayout, keep: Index, *, size: int | None
) -> Iterator[tuple[int, tuple[Numbers, ...]]]:
    """(first point, the kept vectors' values) of ``size`` points after ``size`` points, or of all at once.

    A plot without points gives one block without values. Raises `DataError`.
    """
    if len(np.unique(layout.stored)) > _LENGTHS or len(np.unique(layout.lengths)) > _LENGTHS:
        raise file.fail(f"its vectors have more than {_LENGTHS} different lengths")
    size = max(1, layout.points) if size is None else size
    block = _Columns(layout, keep, 0, min(size, layout.points))
    for first, rows, vectors in (binary_pieces if layout.binary else ascii_pieces)(file, layout, keep):
        done = 0
        while done < len(rows):
            count = min(len(rows) - done, block.end - first - done)
            block.put(first + done, rows[done : done + count], vectors)
            done += count
            if first + done == block.end and block.end < layout.points:
                yield block.start, block.values()
                block = _Columns(layout, keep, block.end, min(block.end + size, layout.points))
    yield block.start, block.values()
