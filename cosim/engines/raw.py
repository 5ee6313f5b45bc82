"""Raw files, as ngspice's ``-r`` and VACASK write them: binary or ASCII, real or complex, several plots in one file.

A header of ``Key: value`` lines, a table of variables, then ``Binary:`` (float64 in the machine's order, point by
point) or ``Values:``. With the flag ``unpadded`` a vector that is shorter than the plot (``dims=``) ends early;
otherwise it is filled up with zeros. A simulator that still writes, or was stopped, leaves ``No. Points: 0`` before
the points that it has written. LTspice's files are told by their header (`cosim.engines.raw_ltspice`).

A header is believed as far as the size of the file bears it out: memory is allocated for what is there, never for what
is claimed. The values are read by `cosim.engines.raw_values`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from cosim.engines.raw_ltspice import ltspice_values
from cosim.engines.raw_values import MAX_HEADER, STOPPED, Index, RawFile, RawLayout, ascii_pieces, blocks, held
from cosim.engines.worker.frames import Numbers
from cosim.errors import InputError, UnknownName, Where

_KEYS = (
    "title",
    "date",
    "plotname",
    "flags",
    "no. variables",
    "no. points",
    "dimensions",
    "command",
    "option",
    "offset",
)
_STARTS = tuple(f"{key}:".encode() for key in _KEYS)
_DIMENSIONS = 8  # of a vector in ngspice
_STREAM_BLOCK = 8 << 20  # bytes of a block where its points are not given


@dataclass(frozen=True)
class RawPlot:
    """One plot. ``values[k]`` belongs to ``names[k]``, (points,) float64 or complex128; names and types as written.

    Vectors of one length share a block of memory. ``complete`` is False where the file ends before the plot does;
    ``flags`` are the header's, in small letters.
    """

    name: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    values: tuple[Numbers, ...]
    title: str = ""
    complete: bool = True
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class RawBlock(RawPlot):
    """Some points of plot number ``plot`` of the file, from point ``start``; a vector that has ended is shorter."""

    plot: int = 0
    start: int = 0


def read_raw(path: str | Path, *, vectors: Collection[str] | None = None, partial: bool = False) -> list[RawPlot]:
    """All plots of a raw file, in its order, in little more memory than what is kept.

    Args:
        path: the file; an empty one has no plots.
        vectors: the names of those to keep, in any case and of any plot; None keeps all. Name the scale
            (``time``) too where it is wanted.
        partial: of a file that is cut off, or still being written, give the points that are complete.

    Raises `MissingFile`, `UnknownName` for a vector that no plot has, and `DataError` for a file that is not as its
    header says.
    """
    with RawFile(path) as file:
        return [
            RawPlot(block.name, block.names, block.types, block.values, block.title, block.complete, block.flags)
            for block in _blocks(file, vectors, partial, size=lambda _: None)
        ]


def stream_raw(
    path: str | Path, *, vectors: Collection[str] | None = None, block: int | None = None, partial: bool = False
) -> Iterator[RawBlock]:
    """The plots of a raw file in blocks of ``block`` points (None: 8 MiB), for files that are larger than memory.

    Each block has arrays of its own; a plot without points is one block, and so is one of LTspice's. Arguments and
    errors are those of `read_raw`, the errors raised as the reading reaches them, and `InputError` for a block without
    points.
    """
    if block is not None and block < 1:
        raise InputError(f"a block of {block} points", remedy="give 1 or more")
    with RawFile(path) as file:
        for found in _blocks(file, vectors, partial, size=lambda point: block or max(1, _STREAM_BLOCK // point)):
            file.header_left = MAX_HEADER  # of earlier plots nothing is kept
            yield found


def _blocks(
    file: RawFile, vectors: Collection[str] | None, partial: bool, *, size: Callable[[int], int | None]
) -> Iterator[RawBlock]:
    """All blocks of all plots; ``size`` says how many points of so many bytes make a block."""
    missing = set() if vectors is None else {name.lower() for name in vectors}
    wanted, known = frozenset(missing), set[str]()
    plot = 0
    while (layout := _header(file, partial)) is not None:
        layout = layout if layout.ltspice else _borne_out(file, layout, partial)
        lower = [name.lower() for name in layout.names]
        missing.difference_update(lower)
        known.update(layout.names)
        if (
            missing and layout.binary and (layout.end >= file.size or not layout.complete)
        ):  # last plot: before it is read
            break
        keep = np.flatnonzero([vectors is None or name in wanted for name in lower])
        names, types = (tuple(texts[k] for k in keep) for texts in (layout.names, layout.types))
        if layout.ltspice:
            found, whole = ltspice_values(file, layout, keep, partial=partial)
            yield RawBlock(layout.name, names, types, found, layout.title, whole, layout.flags, plot)
            plot += 1
            continue
        points = size(max(1, len(keep)) * layout.dtype.itemsize)
        for start, values in blocks(file, layout, keep, size=points):
            yield RawBlock(layout.name, names, types, values, layout.title, layout.complete, layout.flags, plot, start)
        plot += 1
    if missing:
        original = next(name for name in vectors or () if name.lower() in missing)
        raise UnknownName("vector", original, known, where=Where(file.path))


def _header(file: RawFile, partial: bool) -> RawLayout | None:
    """The next header, as it stands; None at the end of the file, with ``partial`` also for half a header."""
    header: dict[str, str] = {}
    variables: list[tuple[str, str, int]] = []
    while True:
        line = file.line(ended=partial)
        if line is None:
            if header and not partial:
                raise file.fail("ends within a header", remedy=STOPPED)
            return None
        if not line.strip():
            continue
        key, colon, value = line.partition(":")
        key = key.strip().lower()
        if not colon:
            raise file.fail(f"{line[:40]!r} is not a header line")
        if key == "variables":
            count, points = _count(file, header, "no. variables"), _count(file, header, "no. points")
            if variables:
                raise file.fail("a second table of variables")
            for _ in range(count):
                entry = file.line(ended=partial)
                if entry is None and partial:
                    return None
                variables.append(_variable(file, entry or "", points))
        elif key in ("binary", "values"):
            points = _count(file, header, "no. points")
            if _count(file, header, "no. variables") != len(variables):
                raise file.fail("has no table of its variables")
            flags = header.get("flags", "").lower().split()
            lengths: Index = np.array([length for _, _, length in variables], dtype=np.intp)
            return RawLayout(
                names=tuple(name for name, _, _ in variables),
                types=tuple(kind for _, kind, _ in variables),
                lengths=lengths,
                stored=lengths if "unpadded" in flags else np.full(len(variables), min(points, file.most)),
                points=points,
                is_complex="complex" in flags,
                binary=key == "binary",
                at=file.at,
                name=header.get("plotname", ""),
                title=header.get("title", ""),
                flags=tuple(flags),
                ltspice=file.wide or "ltspice" in header.get("command", "").lower(),
            )
        elif key in _KEYS:
            header[key] = value.strip()


def _variable(file: RawFile, entry: str, points: int) -> tuple[str, str, int]:
    """Name, type and length of a vector, from its line in the table."""
    words = entry.split()
    if len(words) < 3:
        raise file.fail("a variable without name and type", remedy=STOPPED)
    dims = next((word[5:] for word in words[3:] if word.startswith("dims=")), "")
    try:
        sizes = [int(size) for size in dims.split(",", _DIMENSIONS + 1) if size]
    except ValueError:
        sizes = [-1]
    if any(size < 0 for size in sizes) or len(sizes) > _DIMENSIONS:
        raise file.fail(f"the dimensions {dims[:40]!r} of {words[1][:40]!r} are malformed")
    return words[1], words[2], min(points, prod(sizes) if sizes else points, file.most)


def _count(file: RawFile, header: dict[str, str], key: str) -> int:
    try:
        number = int(header[key])
    except (KeyError, ValueError):
        number = -1
    if number < 0:
        raise file.fail(f"the value of {key!r} is not a number")
    return number


def _borne_out(file: RawFile, layout: RawLayout, partial: bool) -> RawLayout:
    """The layout with no more points than the file has; those that it lacks are an error unless ``partial``."""
    size = file.size - layout.at
    unknown = layout.points == 0 and bool(layout.names) and _has_values(file, layout.at)
    # two bytes are the least that a value takes as text: a digit and the end of its line
    short = layout.total * (layout.dtype.itemsize if layout.binary else 2) > size
    if not (unknown or short) and (layout.binary or not partial):
        return layout
    claimed = layout
    if unknown:
        layout = layout.endless()
    if layout.binary:
        points = held(layout, size)
    elif partial:
        points = _count_points(file, layout)
    else:
        points = None
    if not partial:
        told = "" if points is None else f": {points} {f'of {claimed.points} ' if short else ''}points are complete"
        raise file.fail(
            f"is cut off within its values{told}" if short else f"has values after its 0 points{told}",
            remedy=STOPPED,
        )
    assert points is not None
    return claimed if points == claimed.points and not unknown else layout.cut(points)


def _has_values(file: RawFile, at: int) -> bool:
    """Whether anything but another header follows."""
    text = file.text(at, 4096).lstrip().lower()
    return bool(text) and not text.startswith(_STARTS)


def _count_points(file: RawFile, layout: RawLayout) -> int:
    """How many points of a plot in text are complete."""
    row, points = file.row, 0
    for first, rows, _ in ascii_pieces(file, layout, np.arange(0), short=True):
        points = first + len(rows)
    file.row = row
    return points
