"""The files that a simulation process may still reach. Source: landlock(7), and the kernel's description of its ABI.

What is not named in a rule cannot be opened, made, moved or removed. Rules apply to open handles: a path
that changes afterwards leads nowhere else. What an ABI cannot prevent is not claimed: truncating files by a read-only
open (before 3) is left to `seccomp`.

Standard library only: the worker loads this before anything else.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_LINUX = sys.platform.startswith("linux") and sys.byteorder == "little"
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION, _BENEATH = 1, 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG, _MAKE_SYM = 1 << 4, 1 << 5, 1 << 7, 1 << 8, 1 << 12
_MAKE_OTHER = 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11  # devices, sockets, pipes: a scratch folder has no use for them
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
_TCP, _SCOPES = 1 << 0 | 1 << 1, 1 << 0 | 1 << 1  # bind and connect; abstract sockets and signals


@cache
def abi() -> int:
    """The version of the kernel's Landlock, 0 where it has none."""
    if not _LINUX:
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(ctypes.c_long(_CREATE), None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))))


def _changes() -> int:
    made = _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SYM
    return _WRITE_FILE | made | (_REFER if abi() >= 2 else 0) | (_TRUNCATE if abi() >= 3 else 0)


def handle(path: str | Path) -> int | None:
    """A handle to give rules to; None where the file does not exist or the system has no such handles."""
    if not _LINUX:
        return None
    with suppress(OSError):
        return os.open(path, os.O_PATH | os.O_CLOEXEC)
    return None


@dataclass(frozen=True)
class Readable:
    """Folders and files to read from, opened once and given to any number of processes.

    With ``execute`` what lies in them may be started as well, as far as `seccomp` lets anything start.
    """

    handles: tuple[int, ...] = ()
    execute: bool = False

    @classmethod
    def of(cls, paths: Iterable[str | Path], *, execute: bool = False) -> Readable:
        """Those of ``paths`` that are there."""
        found = (handle(path) for path in dict.fromkeys(map(str, paths)))
        return cls(tuple(number for number in found if number is not None), execute)


@dataclass(frozen=True)
class Rules:
    """What stays allowed: ``scratch`` for changes, ``readable`` and ``files`` (or folders, opened now) for reading.

    Without ``readable`` everything stays readable, and any program executable.
    """

    scratch: Path
    readable: Readable | None = None
    files: tuple[str, ...] = ()


def restrict(rules: Rules) -> bool:
    """Hold this thread, and those that it starts later, to ``rules`` for good; whether that worked.

    The process has given up new privileges before (PR_SET_NO_NEW_PRIVS).
    """
    version = abi()
    if version == 0:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    changes = _changes()
    read = _READ_FILE | _READ_DIR | _EXECUTE if rules.readable is not None else 0
    handled = changes | _MAKE_OTHER | read | (_IOCTL if version >= 5 else 0)
    attribute = struct.pack("=Q", handled)
    if version >= 4:
        attribute += struct.pack("=Q", _TCP)
    if version >= 6:
        attribute += struct.pack("=Q", _SCOPES)
    buffer = ctypes.create_string_buffer(attribute, len(attribute))
    ruleset = libc.syscall(ctypes.c_long(_CREATE), buffer, ctypes.c_size_t(len(attribute)), ctypes.c_uint32(0))
    if ruleset < 0:
        return False

    def allow(number: int, rights: int) -> bool:
        # a right to list is refused for anything but a folder
        return add(number, rights) or (bool(rights & _READ_DIR) and add(number, rights & ~_READ_DIR))

    def add(number: int, rights: int) -> bool:
        packed = struct.pack("=Qi", rights & handled, number)
        rule = ctypes.create_string_buffer(packed, len(packed))
        added = libc.syscall(ctypes.c_long(_ADD), ctypes.c_int(ruleset), _BENEATH, rule, ctypes.c_uint32(0))
        return bool(added == 0)

    def allow_path(path: str | Path, rights: int, *, needed: bool = False) -> None:
        number = handle(path)
        if number is None:
            refused.append(needed)
            return
        refused.append(not allow(number, rights) and needed)
        os.close(number)

    refused: list[bool] = []
    try:
        allow_path(rules.scratch, changes | _READ_FILE | _READ_DIR, needed=True)
        allow_path("/dev/null", _READ_FILE | _WRITE_FILE | _TRUNCATE, needed=True)
        if rules.readable is not None:
            more = _EXECUTE if rules.readable.execute else 0
            for path in ("/proc/self", *rules.files):  # opened here: /proc/self is another one in each process
                allow_path(path, _READ_FILE | _READ_DIR)
            for number in rules.readable.handles:
                allow(number, _READ_FILE | _READ_DIR | more)
        if any(refused):
            return False
        return bool(libc.syscall(ctypes.c_long(_RESTRICT), ctypes.c_int(ruleset), ctypes.c_uint32(0)) == 0)
    finally:
        os.close(ruleset)
