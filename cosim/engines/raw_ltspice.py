"""The values of LTspice's raw files: a header in UTF-16, and numbers in single precision behind a scale in double.

A point of real values is the scale as float64 and every other vector as float32, or all as float64 (``.options numdgt``
above 6); complex values are complex128 throughout. With the flag ``fastaccess`` one vector follows the other. Which of
these a file has is told by its length. The time of a point that compression left out of a straight line is negative.
With ``stepped`` the runs of ``.step`` follow each other, and the scale starts anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cosim.engines.raw_values import STOPPED, Index, RawFile, RawLayout
from cosim.engines.worker.frames import Numbers


def ltspice_values(file: RawFile, layout: RawLayout, keep: Index, *, partial: bool) -> tuple[tuple[Numbers, ...], bool]:
    """The kept vectors, and whether all points are there; the file stands at its end. Raises `DataError`."""
    size, count = file.size - layout.at, len(layout.names)
    if not layout.binary:
        columns, points = _ascii(file, layout)
    else:
        columns, points = _binary(file, layout, size, count)
    if points < layout.points and not partial:
        raise file.fail(
            f"is cut off within its values: {points} of {layout.points} points are complete", remedy=STOPPED
        )
    file.seek(file.size)
    if count and layout.types[0] == "time":
        columns[0] = np.abs(columns[0])
    return tuple(columns[int(k)] for k in keep), points == layout.points


def _binary(file: RawFile, layout: RawLayout, size: int, count: int) -> tuple[list[Numbers], int]:
    scale: np.dtype[Any] = np.dtype("<c16" if layout.is_complex else "<f8")
    other: np.dtype[Any] = scale if layout.is_complex else np.dtype("<f4")
    mixed = scale.itemsize + (count - 1) * other.itemsize
    if "double" in layout.flags or (layout.points and size >= layout.points * count * scale.itemsize):
        other, mixed = scale, count * scale.itemsize
    points = min(layout.points, size // max(mixed, 1))
    if "fastaccess" in layout.flags:
        if points < layout.points:  # the last vectors are missing, not the last points
            points = 0
        columns, at = [], layout.at
        for k in range(count):
            column = np.empty(points, dtype=other if k else scale)
            file.read(column, at)
            at += column.nbytes
            columns.append(column)
    else:
        table = np.empty(points, dtype=[("scale", scale), ("others", other, (count - 1,))])
        file.read(table.view(np.uint8) if points else np.empty(0, dtype=np.uint8), layout.at)
        columns = [table["scale"], *table["others"].T]
    return [np.ascontiguousarray(column, dtype=layout.dtype) for column in columns], points


def _ascii(file: RawFile, layout: RawLayout) -> tuple[list[Numbers], int]:
    """Each point its number, then its values (``re,im`` of complex ones)."""
    data = file.text(layout.at, file.size)
    words = (data.decode("utf-16-le", "replace") if file.wide else data.decode("latin-1")).replace(",", " ").split()
    width = 1 + len(layout.names) * (2 if layout.is_complex else 1)
    points = min(layout.points, len(words) // width)
    try:
        table = np.array(words[: points * width], dtype=float).reshape(points, width)
    except ValueError as error:
        raise file.fail(f"{str(error).rpartition(': ')[2][:40]} is not a number", row=file.row + 1) from None
    if not np.array_equal(table[:, 0], np.arange(points)):
        raise file.fail("its points are not numbered in order", remedy="a value is missing or too many")
    rows = np.ascontiguousarray(table[:, 1:]).view(layout.dtype)
    return list(np.ascontiguousarray(rows.T)), points
