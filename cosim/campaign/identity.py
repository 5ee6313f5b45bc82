"""What a row is known by: SHA-256 of the files that it depends on, of cosim's own code, and of decks.

Files are hashed once in a process and looked at again, by what the file system says of them, around every case: an
engine's deck is read anew for each run, and a row made of a changed file must not get the key of the old one.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from cosim import __version__
from cosim.errors import InputError
from cosim.spice.simulator import Deck

Decks = Sequence[tuple[str, Mapping[str, float], Deck]]
_Stamp = tuple[int, int, int]
# What decks are written, run, measured and judged by.
_CODE = ("measure", "spice", "campaign", "devices", "emit")


class FilesChanged(InputError):
    """A file of a campaign is not what it was: its rows must not be mixed with earlier ones."""

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
        """SHA-256 of a file's content. Raises `FilesChanged` where it is another than before, or cannot be read."""
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
        """Raises `FilesChanged` where a file's content is not that which was hashed."""
        with self._lock:
            for path in list(self._known):
                self._digest(path)


@cache
def own_code() -> bytes:
    """SHA-256 of the part of cosim that rows depend on; its version says less where it runs from a checkout."""
    root = Path(__file__).resolve().parents[1]
    sources = [root / "validate.py", *(path for name in _CODE for path in (root / name).rglob("*.py"))]
    found = hashlib.sha256(__version__.encode())
    for path in sorted(sources):
        data = path.read_bytes()
        found.update(f"{path.relative_to(root).as_posix()} {len(data)}\n".encode() + data)
    return found.digest()


def told_apart(decks: Decks) -> Iterator[bytes]:
    """What tells the decks of two cases apart, where all that they include is the same."""
    for _, _, deck in decks:
        rest = json.dumps([deck.save, sorted(deck.options.items()), sorted(deck.devices.items())], default=str)
        yield deck.text.encode() + b"\0" + rest.encode() + b"\0"


def circuits(decks: Decks) -> list[Deck]:
    """Those decks whose circuits differ in more than the values of parameters: no others include other files."""
    found: dict[bytes, Deck] = {}
    for _, _, deck in decks:
        rows = (row for row in deck.text.split("\n") if not row.startswith(".param "))
        text = hashlib.sha256("\n".join(rows).encode()).digest()
        found.setdefault(text + repr((deck.osdi, deck.roots)).encode(), deck)
    return list(found.values())
