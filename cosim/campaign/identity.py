"""The identity of a row: SHA-256 of the files that it depends on, of cosim's own code, and of decks.

Files are hashed once in a process and checked again, by their size and times, around every case: an
engine's deck is read anew for each run, and a row made of a changed file must not get the key of the old one.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from cosim import __version__
from cosim.devices.registry import device as find_device
from cosim.engines.library import find_libngspice, find_ngspice
from cosim.engines.simulator import Deck
from cosim.engines.vacask import find_vacask
from cosim.errors import InputError

Decks = Sequence[tuple[str, Mapping[str, float], Deck]]
_Stamp = tuple[int, int, int]
# What decks are written, run, measured and judged by.
_CODE = ("bench", "campaign", "devices", "emit", "engines", "language", "statistics")
_MODULES = ("units.py", "schema.py", "parameters.py")
# What an engine follows beside its deck: variables that it gets from the user's environment, and its start-up file.
_VARIABLES = ("SPICE_SCRIPTS", "SPICE_LIB_DIR", "SPICE_EXEC_DIR", "LD_LIBRARY_PATH")
_SPINIT = "scripts/spinit"


class FilesChanged(InputError):
    """A file of a campaign is not what it was: its rows must not mix with earlier ones."""

    def __init__(self, what: object) -> None:
        super().__init__(f"{what} changed while the campaign ran", remedy="undo the change, or begin anew")


class Files:
    """Files with the hash of their content, taken once. Safe to share between threads."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[_Stamp, bytes]] = {}
        self._lock = threading.Lock()

    def __contains__(self, path: Path) -> bool:
        return path in self._known

    def digest(self, path: Path) -> bytes:
        """SHA-256 of a file's content. Raises `FilesChanged` where it differs from before, or cannot be read."""
        with self._lock:
            return self._digest(path)

    def _digest(self, path: Path) -> bytes:
        before = self._known.get(path)
        try:
            status = os.stat(path)
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if before is not None and before[0] == stamp:
                return before[1]
            content = hashlib.sha256(path.read_bytes()).digest()
        except OSError:
            raise FilesChanged(path) from None
        if before is not None and before[1] != content:
            raise FilesChanged(path)
        self._known[path] = stamp, content
        return content

    def require_unchanged(self) -> None:
        """Raises `FilesChanged` where a file's content is not the one that was hashed."""
        with self._lock:
            for path in list(self._known):
                self._digest(path)


@cache
def own_code() -> bytes:
    """SHA-256 of the part of cosim that rows depend on; in a checkout its version alone says too little."""
    root = Path(__file__).resolve().parents[1]
    sources = [*(root / name for name in _MODULES), *(path for name in _CODE for path in (root / name).rglob("*.py"))]
    found = hashlib.sha256(__version__.encode())
    for path in sorted(sources):
        data = path.read_bytes()
        found.update(f"{path.relative_to(root).as_posix()} {len(data)}\n".encode() + data)
    return found.digest()


def engine_build(simulator: str) -> bytes:
    """SHA-256 of the engine's file, of its start-up files, and of the variables that lead it elsewhere.

    Two builds of one version, or one with other options in its ``spinit``, need not give the same numbers.
    """
    return _build(simulator, tuple(os.environ.get(name, "") for name in _VARIABLES))


@cache
def _build(simulator: str, variables: tuple[str, ...]) -> bytes:
    find: Mapping[str, Callable[[], str | None]] = {
        "pyspice": find_libngspice, "ngspice": find_ngspice, "vacask": find_vacask,
    }  # fmt: skip
    name = find[simulator]() if simulator in find else None
    program = Path(name or "unknown").resolve()
    scripts, library, *_ = variables
    starts = [Path(scripts) / "spinit"] if scripts else []
    starts += [Path(library) / _SPINIT] if library else []
    if simulator != "vacask":
        starts += [
            folder / "share/ngspice" / _SPINIT for folder in (*program.parents, Path("/usr"), Path("/usr/local"))
        ]
    found = hashlib.sha256(json.dumps([simulator, variables]).encode())
    for path in (program, *dict.fromkeys(starts)):
        try:
            content = path.read_bytes()
        except OSError:
            continue  # a name that only the loader knows, or a folder without a start-up file
        found.update(f"{path.name} {len(content)}\n".encode() + content)
    return found.digest()


def own_devices(names: Iterable[str]) -> Iterator[Path]:
    """The source files of devices that do not come with cosim."""
    for name in names:
        source = inspect.getsourcefile(type(find_device(name)))
        if source is not None and not Path(source).resolve().is_relative_to(Path(__file__).resolve().parents[1]):
            yield Path(source)


def told_apart(decks: Decks) -> Iterator[bytes]:
    """What tells the decks of two cases apart, where all that they include is the same."""
    for _, _, deck in decks:
        tables = (sorted(deck.options.items()), sorted(deck.devices.items()))
        rest = json.dumps([deck.save, *tables, deck.seed], default=str)
        yield deck.text.encode() + b"\0" + rest.encode() + b"\0"


def circuits(decks: Decks) -> list[Deck]:
    """Those decks whose circuits differ in more than the values of parameters: no others include other files."""
    found: dict[bytes, Deck] = {}
    for _, _, deck in decks:
        rows = (row for row in deck.text.split("\n") if not row.startswith(".param "))
        text = hashlib.sha256("\n".join(rows).encode()).digest()
        found.setdefault(text + repr((deck.osdi, deck.roots)).encode(), deck)
    return list(found.values())
