"""Where libngspice and ngspice are on this machine."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import sys
from functools import cache
from pathlib import Path

_FOLDERS = (
    "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64", "/opt/homebrew/lib", "/opt/local/lib",
    "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
)  # fmt: skip
_NAMES = ("libngspice.so.0", "libngspice.so", "libngspice.0.dylib", "libngspice.dylib")


@cache
def find_libngspice() -> str | None:
    """What to load: ``$NGSPICE_LIBRARY_PATH``, a file in the usual folders, or the loader's own answer; or None."""
    named = os.environ.get("NGSPICE_LIBRARY_PATH")
    if named:
        return named if Path(named).is_file() else None
    folders = [Path(sys.prefix) / "lib", *map(Path, _FOLDERS)]
    for folder in folders:
        for name in _NAMES:
            if (folder / name).is_file():
                return str(folder / name)
    return ctypes.util.find_library("ngspice")


def find_ngspice() -> str | None:
    """The absolute path of the ``ngspice`` program, or None."""
    found = shutil.which("ngspice")
    return os.path.realpath(found) if found else None
