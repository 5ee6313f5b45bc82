"""Writing and reading files safely.

A file is replaced as a whole, or left as it was. Only plain files up to a size are read, which neither block nor grow
without bound; text may be in any of the encodings that other programs write.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cosim.errors import InputError, MissingFile, Where
from cosim.packages import process_unchanged

if TYPE_CHECKING:
    import xarray


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``; it takes the place of ``path`` when the block ends without an error."""
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror}", remedy="choose another folder") from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp's 0600 would hide results from a group
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(FileNotFoundError):
            temporary.unlink()
        # a write that fails, as on a full disk, does not say what it wrote
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(target)
        raise


def write_atomic(path: str | Path, content: str | bytes) -> Path:
    """``content`` in ``path``, which is replaced as a whole; folders are made."""
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    return Path(path)


def write_netcdf(path: str | Path, data: xarray.Dataset) -> Path:
    """``data`` as netCDF 3 in ``path``, which is replaced as a whole; folders are made."""
    with replacing(path) as temporary, process_unchanged():  # scipy.io draws in what sets variables for OpenMP
        data.to_netcdf(temporary, engine="scipy")
    return Path(path)


@contextmanager
def open_plain(path: str | Path, *, kind: str) -> Iterator[BinaryIO]:
    """A plain file, open for reading; a pipe would block, a device would not end.

    Raises `MissingFile` for one that cannot be opened; `InputError` for anything but a plain file.
    """
    try:
        # a pipe without a writer is opened at once, and found out
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise MissingFile(
            f"cannot read {kind} {str(path)[:200]!r}: {error.strerror}", remedy="check the path"
        ) from None
    except ValueError:  # a null in the path
        raise MissingFile(f"there is no {kind} {str(path)[:80]!r}", remedy="check the path") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InputError(f"{kind} {str(path)!r} is not a regular file", remedy="check the path")
    with os.fdopen(handle, "rb") as file:
        yield file


def read_plain(path: str | Path, *, limit: int, kind: str) -> bytes:
    """The content of a plain file; raises as `open_plain`, and `InputError` for one of more than ``limit`` bytes."""
    try:
        with open_plain(path, kind=kind) as file:
            size = os.fstat(file.fileno()).st_size
            data = b"" if size > limit else file.read(size + 1)  # reading reserves what it may read
            if len(data) > size:  # it grows, or the system does not know its size
                data += file.read(limit + 1 - len(data))
    except InputError:  # MissingFile is an OSError
        raise
    except OSError as error:
        raise MissingFile(
            f"cannot read {kind} {str(path)[:200]!r}: {error.strerror}", remedy="check the path"
        ) from None
    if max(size, len(data)) > limit:
        raise InputError(f"larger than {limit >> 20} MiB", where=Where(path), remedy=f"check that this is a {kind}")
    return data


def refuse_results(data: bytes, *, where: Where) -> None:
    """Raises `InputError` for a simulator's raw file where a netlist, a bench or a plan is meant."""
    head = data[:_HEAD].replace(b"\0", b"").lstrip(b"\xff\xfe")
    if head.startswith(b"Title:") and b"\nNo. Variables:" in head:
        raise InputError(
            "a simulator's raw file, which holds results", where=where,
            remedy="give the circuit here; 'cosim fit' and recipes read raw files",
        )  # fmt: skip


_MARKS = (b"\xff\xfe", b"\xfe\xff")
_HEAD = 4096  # bytes that an encoding is guessed from


def decoded(data: bytes, *, where: Where, fallback: str = "latin-1") -> str:
    """Text of a file: UTF-8 or UTF-16, with or without a byte-order mark, else ``fallback``, one byte per character.

    The caller checks what the text may contain. Raises `InputError` for a file that begins as UTF-16 and is not.
    """
    refuse_results(data, where=where)
    head = data[:_HEAD]
    # ASCII in UTF-16 has a null for every second byte; no text has a null character.
    evens, odds = head[::2].count(0), head[1::2].count(0)
    wide = "utf-16" if data[:2] in _MARKS else ""
    if not wide and len(head) > 1:
        half = len(head) // 4
        wide = "utf-16-le" if odds > half and not evens else "utf-16-be" if evens > half and not odds else ""
    try:
        if wide:
            return data.decode(wide)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if wide:
            raise InputError(
                f"begins as UTF-16, and its byte {error.start} is not", where=where, remedy="save it as UTF-8"
            ) from None
        return data.decode(fallback, "replace")


def resolved(path: str | Path, *, where: Where | None = None) -> Path:
    """``path`` absolute and without links. Raises `InputError` for what the file system rejects: a link to
    itself, a null, an unknown user's home. Ask `os.path.isfile` of it: names may still be too long.
    """
    try:
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error).partition(" from ")[0].lower()
        raise InputError(f"{str(path)[:80]!r} is not a path: {why}", where=where, remedy="check it") from None
