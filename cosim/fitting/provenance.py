"""What a result depends on beside its data and recipe: the code that made it, as a hash, and the versions under it."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

from cosim import __version__

# The packages whose source decides on what a fit finds.
ROOMS = ("devices", "data", "fitting")
# Of a result's files; it changes when what they say changes its meaning.
FORMAT = "1"


@cache
def code_fingerprint() -> str:
    """SHA-256 of the sources that a fit runs through."""
    root, found = Path(__file__).resolve().parents[1], hashlib.sha256()
    for path in sorted(path for room in ROOMS for path in (root / room).rglob("*.py")):
        data = path.read_bytes()
        found.update(f"{path.relative_to(root).as_posix()} {len(data)}\n".encode() + data)
    return found.hexdigest()


def made_with() -> dict[str, str]:
    """The format of a result, and the hash and versions of the code that made it."""
    return {
        "format": FORMAT,
        "code_sha256": code_fingerprint(),
        "cosim": __version__,
        **{name: version(name) for name in ("lmfit", "scipy", "numpy")},
    }
