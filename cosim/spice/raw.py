"""Raw files, as ngspice's ``-r`` and VACASK write them: binary or ASCII, real or complex, several plots in one file.

A header of ``Key: value`` lines, a table of variables, then ``Binary:`` (float64 in the machine's order, point by
point) or ``Values:``. With the flag ``unpadded`` a vector that is shorter than the plot (``dims=``) ends early;
otherwise it is filled up with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from cosim.errors import DataError, MissingFile, Where
from cosim.spice.frames import Array

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


@dataclass(frozen=True)
class RawPlot:
    """One plot. ``values[k]`` belongs to ``names[k]``, (points,) float64 or complex128; names and types as written."""

    name: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    values: tuple[Array, ...]
    title: str = ""


class _Cursor:
    """A position in the file's bytes, and the number of header lines passed."""

    def __init__(self, data: NDArray[np.uint8], path: Path) -> None:
        self.view = memoryview(cast(bytes, data))
        self.path = path
        self.at = 0
        self.row = 0

    def line(self) -> str | None:
        """The next line without its end; None at the end of the file."""
        if self.at >= len(self.view):
            return None
        window = bytes(self.view[self.at : self.at + 4096])
        size = 4096
        while (end := window.find(b"\n")) < 0 and self.at + size < len(self.view):
            size *= 4
            window = bytes(self.view[self.at : self.at + size])
        end = len(window) if end < 0 else end
        self.at += end + 1
        self.row += 1
        return window[:end].decode("latin-1").rstrip("\r")

    def fail(self, what: str) -> DataError:
        return DataError(
            f"raw file: {what}", where=Where(self.path, self.row), remedy="the simulator may have been stopped"
        )


def read_raw(path: str | Path) -> list[RawPlot]:
    """All plots of a raw file, in its order. Raises `MissingFile`, and `DataError` for a file that is cut off."""
    file = Path(path)
    try:
        if file.stat().st_size == 0:
            return []
        data = np.memmap(file, dtype=np.uint8, mode="r")
    except OSError as error:
        raise MissingFile(f"cannot read raw file {str(path)!r}: {error.strerror}", remedy="check the path") from None
    cursor = _Cursor(data, file)
    plots: list[RawPlot] = []
    while (plot := _read_plot(cursor)) is not None:
        plots.append(plot)
    return plots


def _read_plot(cursor: _Cursor) -> RawPlot | None:
    header: dict[str, str] = {}
    names: list[str] = []
    types: list[str] = []
    lengths: list[int] = []
    while True:
        line = cursor.line()
        if line is None:
            if header:
                raise cursor.fail("ends within a header")
            return None
        key, colon, value = line.partition(":")
        key = key.strip().lower()
        if not line.strip():
            continue
        if not colon:
            raise cursor.fail(f"{line[:40]!r} is no header line")
        if key == "variables":
            count, points = _integer(cursor, header, "no. variables"), _integer(cursor, header, "no. points")
            for _ in range(count):
                words = (cursor.line() or "").split()
                if len(words) < 3:
                    raise cursor.fail("a variable without name and type")
                names.append(words[1])
                types.append(words[2])
                dims = next((word[5:] for word in words[3:] if word.startswith("dims=")), "")
                lengths.append(min(points, prod(int(size) for size in dims.split(",") if size)) if dims else points)
        elif key in ("binary", "values"):
            flags = header.get("flags", "").split()
            points = _integer(cursor, header, "no. points")
            read = _read_binary if key == "binary" else _read_ascii
            values = read(cursor, points, lengths if "unpadded" in flags else [points] * len(names), "complex" in flags)
            kept = tuple(column[:length] for column, length in zip(values, lengths, strict=True))
            return RawPlot(header.get("plotname", ""), tuple(names), tuple(types), kept, header.get("title", ""))
        elif key in _KEYS:
            header[key] = value.strip()


def _integer(cursor: _Cursor, header: dict[str, str], key: str) -> int:
    try:
        return int(header[key])
    except (KeyError, ValueError):
        raise cursor.fail(f"no number under {key!r}") from None


def _read_binary(cursor: _Cursor, points: int, lengths: list[int], is_complex: bool) -> list[Array]:
    kind: np.dtype[np.complex128] | np.dtype[np.float64]
    kind = np.dtype(np.complex128) if is_complex else np.dtype(np.float64)
    total = sum(lengths)
    size = total * kind.itemsize
    if cursor.at + size > len(cursor.view):
        raise cursor.fail("is cut off within its values")
    flat = np.frombuffer(cursor.view[cursor.at : cursor.at + size], dtype=kind)
    cursor.at += size
    if all(length == points for length in lengths):
        return list(np.ascontiguousarray(flat.reshape(points, len(lengths)).T))
    # Point i holds only the vectors that reach so far.
    members = np.array(lengths)[None, :] > np.arange(points)[:, None]
    table = np.zeros(members.shape, dtype=kind)
    table[members] = flat
    return list(np.ascontiguousarray(table.T))


def _read_ascii(cursor: _Cursor, points: int, lengths: list[int], is_complex: bool) -> list[Array]:
    table = np.zeros((len(lengths), points), dtype=np.complex128 if is_complex else np.float64)
    for point in range(points):
        first = True
        for vector, length in enumerate(lengths):
            if point >= length:
                continue
            words = (cursor.line() or "").split()
            if len(words) != (2 if first else 1):
                raise cursor.fail("is cut off within its values")
            first = False
            real, _, imaginary = words[-1].partition(",")
            try:
                table[vector, point] = complex(float(real), float(imaginary or 0.0)) if is_complex else float(real)
            except ValueError:
                raise cursor.fail(f"{words[-1][:40]!r} is no number") from None
    return list(table)
