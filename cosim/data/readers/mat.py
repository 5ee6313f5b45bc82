"""MATLAB ``.mat``, versions 4 to 7, by scipy: vectors of one length are the columns of a record.

A matrix with at least as many rows as columns gives a record of columns ``name_1``, ``name_2``, …; so does a structure,
with a column per field. Version 7.3 is HDF5, and is refused with the remedy.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cosim.data.readers.cells import MAX_BYTES
from cosim.data.readers.tables import Layout, NumberTable
from cosim.devices.base import Array
from cosim.errors import DataError, Where
from cosim.files import read_plain
from cosim.packages import process_unchanged

# Our choice. Structures within structures: deeper ones would exhaust the stack of the library.
MAX_UNPACKED, MAX_DEPTH, MAX_ELEMENTS = 512 << 20, 8, 1_000_000
_MATRIX, _COMPRESSED = 14, 15


def begins(head: bytes) -> bool:
    """Whether its header names MATLAB, or it is HDF5."""
    return head.startswith((b"MATLAB ", b"\x89HDF\r\n\x1a\n"))


def tables(path: Path, layout: Layout) -> tuple[NumberTable, ...]:
    """The records; raises `DataError`."""
    with process_unchanged():  # scipy.io draws in what sets variables for OpenMP
        from scipy.io import loadmat

    data = read_plain(path, limit=MAX_BYTES, kind="MATLAB file")
    if data.startswith(b"\x89HDF") or data[512:520] == b"\x89HDF\r\n\x1a\n" or data.startswith(b"MATLAB 7.3"):
        raise DataError(
            "is a MATLAB file of version 7.3, which is HDF5",
            where=Where(path),
            remedy="save it with save('file.mat', '-v7')",
        )
    _check(path, data)
    stream: Any = io.BytesIO(data)  # whose stubs know paths alone
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = loadmat(stream, squeeze_me=True)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except Exception as error:
        said = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise DataError(
            f"cannot be read as a MATLAB file: {said}", where=Where(path), remedy="it may be cut off: copy it again"
        ) from None
    variables = {name: value for name, value in found.items() if not name.startswith("__")}
    made = _records(variables, "")
    if not made:
        raise DataError(
            f"holds no vectors of numbers, only {', '.join(map(repr, list(variables)[:20])) or 'nothing'}",
            where=Where(path),
            remedy="save the columns as vectors, or as fields of a structure; a table object needs table2struct(T, "
            "'ToScalar', true)",
        )
    return tuple(NumberTable.of(path, columns, units={}, layout=layout, name=name) for name, columns in made)


def _records(variables: Mapping[str, Any], name: str) -> list[tuple[str, dict[str, Array]]]:
    """(name, columns) of all vectors of each length, of each matrix and of each structure."""
    vectors: dict[int, dict[str, Array]] = {}
    made = []
    for title, value in variables.items():
        array = np.asarray(value)
        if array.dtype.names and array.ndim == 0:
            made += _records({field: array[field].item() for field in array.dtype.names}, title)
        elif array.dtype.kind in "biuf" and array.ndim == 1 and array.size > 1:
            vectors.setdefault(array.size, {})[title] = array.astype(float)
        elif array.dtype.kind in "biuf" and array.ndim == 2 and array.shape[0] >= array.shape[1]:
            made.append((title, {f"{title}_{k}": column.astype(float) for k, column in enumerate(array.T, 1)}))
    return [(name, columns) for _, columns in sorted(vectors.items(), reverse=True)] + made


def _check(path: Path, data: bytes) -> None:
    """Refuse what unpacks to too much, or is nested too deep: the elements of a version 5 file, one after the other."""
    if len(data) < 128:
        raise DataError("is cut off within its header", where=Where(path), remedy="copy it again")
    order = ">" if data[126:128] == b"MI" else "<"
    left, elements = MAX_UNPACKED, 0
    stack: list[tuple[memoryview, int]] = [(memoryview(data)[128:], 0)]
    while stack:
        part, depth = stack.pop()
        at = 0
        while at + 8 <= len(part):
            kind, size = struct.unpack_from(f"{order}II", part, at)
            elements += 1
            if depth > MAX_DEPTH or elements > MAX_ELEMENTS:
                raise DataError(
                    "its structures are nested too deep, or too many", where=Where(path), remedy="save plain vectors"
                )
            if kind >> 16:  # a small element: its value stands in the tag
                at += 8
                continue
            body = part[at + 8 : at + 8 + size]
            if kind == _COMPRESSED:
                try:
                    unpacked = zlib.decompressobj().decompress(body, left + 1)
                except zlib.error:
                    raise DataError("is damaged", where=Where(path), remedy="copy it again") from None
                left -= len(unpacked)
                if left < 0:
                    raise DataError(
                        f"unpacks to more than {MAX_UNPACKED >> 20} MiB",
                        where=Where(path),
                        remedy="save the columns to be fitted alone",
                    )
                stack.append((memoryview(unpacked), depth + 1))
            elif kind == _MATRIX:
                stack.append((body, depth + 1))
            at += 8 + size + (-size % 8 if kind != _COMPRESSED else 0)
