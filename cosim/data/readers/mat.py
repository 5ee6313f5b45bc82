"""MATLAB ``.mat``, versions 4 to 7, by scipy: vectors of one length are the columns of a record.

A matrix with at least as many rows as columns gives a record of columns ``name_1``, ``name_2``, …; so does a structure,
with a column per field. Complex ones have columns ``re(name)`` and ``im(name)``. What gives no column is named in a
note. Version 7.3 is HDF5, and is refused with the remedy.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.data.readers.cells import MAX_BYTES
from cosim.data.readers.tables import Layout, NumberTable, check_count, real_columns
from cosim.devices.base import Array
from cosim.errors import DataError, Where
from cosim.files import read_plain
from cosim.packages import process_unchanged

# Our choice. Structures within structures: deeper ones would exhaust the stack of the library.
MAX_UNPACKED, MAX_DEPTH, MAX_ELEMENTS = 128 << 20, 8, 1_000_000
_MATRIX, _COMPRESSED = 14, 15


def begins(head: bytes) -> bool:
    """Whether its header names MATLAB, or it is HDF5, or begins with a matrix as in version 4."""
    return head.startswith((b"MATLAB ", b"\x89HDF\r\n\x1a\n")) or _is_version_4(head)


def _is_version_4(head: bytes) -> bool:
    """Whether a matrix begins: its type (order of bytes, a zero, precision, kind), size, imaginary flag and name."""
    if len(head) < 22:
        return False
    order, kind = ("<", 0) if head[0] or not head[2:4].strip(b"\0") else (">", 1000)
    stated, rows, columns, imaginary, length = struct.unpack_from(f"{order}5i", head)
    known = stated - kind in {10 * precision + form for precision in range(6) for form in range(3)}
    sized = rows >= 0 and columns >= 0 and imaginary in (0, 1) and 2 <= length <= 64
    name = head[20 : 20 + length] if known and sized else b""
    return name.endswith(b"\0") and name[:-1].decode("latin-1").isidentifier()


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
    if not _is_version_4(data[:100]):  # which packs nothing
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
    unused: list[str] = []
    made = _records(variables, "", unused, path)
    if not made:
        raise DataError(
            f"holds no vectors of numbers, only {_listed(unused) or 'nothing'}",
            where=Where(path),
            remedy="save the columns as vectors, or as fields of a structure; a table object needs table2struct(T, "
            "'ToScalar', true)",
        )
    notes = (f"not used: {_listed(unused)}",) if unused else ()
    return tuple(
        NumberTable.of(path, columns, units={}, layout=layout, name=name, notes=notes) for name, columns in made
    )


def _listed(unused: Sequence[str]) -> str:
    return ", ".join(unused[:20]) + (f" and {len(unused) - 20} others" if len(unused) > 20 else "")


def _records(
    variables: Mapping[str, Any], name: str, unused: list[str], path: Path
) -> list[tuple[str, dict[str, Array]]]:
    """(name, columns) of all vectors of each length, of each matrix and structure; ``unused`` gets what is neither."""
    vectors: dict[int, dict[str, Array]] = {}
    made = []
    check_count(sum(v.size for v in variables.values() if isinstance(v, np.ndarray) and v.dtype.kind in "biufc"), path)
    for title, value in variables.items():
        array = np.asarray(value)
        if array.dtype.names and array.ndim == 0:
            fields = {field: array[field].item() for field in array.dtype.names}
            made += _records(fields, f"{name}.{title}" if name else title, unused, path)
        elif array.dtype.kind in "biufc" and array.ndim == 1 and array.size > 1:
            vectors.setdefault(array.size, {}).update(real_columns(title, array))
        elif array.dtype.kind in "biufc" and array.ndim == 2 and array.shape[0] >= array.shape[1]:
            columns = [real_columns(f"{title}_{k}", column) for k, column in enumerate(array.T, 1)]
            made.append((title, {label: column for part in columns for label, column in part.items()}))
        else:
            unused.append(f"{f'{name}.{title}' if name else title} ({_described(array)})")
    return [(name, columns) for _, columns in sorted(vectors.items(), reverse=True)] + made


def _described(array: NDArray[Any]) -> str:
    if array.dtype.names:
        return "an array of structures"
    if array.dtype.kind not in "biufc":
        return "text" if array.dtype.kind in "US" else "an object or a cell array"
    if array.size <= 1:
        return "a single number" if array.size else "empty"
    size = " × ".join(map(str, array.shape))
    return f"{size}, wider than tall: save its transpose" if array.ndim == 2 else size


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
