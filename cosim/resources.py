"""The shipped folders ``netlists/``, ``device_models/`` and ``fits/``, in a wheel and in a checkout.

Beside them stands the library of whoever works here: parameter sets in ``device_models/`` of the working directory and
in the folders of ``COSIM_MODELS``, each file under its own name.

A wheel carries them as ``cosim/_data/<kind>``; a checkout (and ``pip install -e .``) has them beside the package. They
are read only: whatever cosim writes goes to a folder that the user named, or to ``cosim-out`` in the working directory.
"""

from __future__ import annotations

import os
import re
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath

from cosim.errors import InputError, MissingFile, UnknownName

# Folders of a library, separated as in PATH; and its folder in the working directory.
LIBRARY, HERE = "COSIM_MODELS", "device_models"
KINDS = ("netlists", "device_models", "fits")


def folder(kind: str) -> Path:
    """The folder of one kind: ``"netlists"``, ``"device_models"`` or ``"fits"``.

    Raises `UnknownName` for another kind, and `MissingFile` where an installation has lost the folder.
    """
    if kind not in KINDS:
        raise UnknownName("folder of shipped files", kind, KINDS)
    package = Path(str(files("cosim")))
    for candidate in (package / "_data" / kind, package.parent / kind):
        if candidate.is_dir():
            return candidate
    raise MissingFile(f"this installation of cosim lacks its folder {kind!r}", remedy="install cosim-spice again")


def listing(kind: str, suffix: str = "") -> list[Path]:
    """All shipped files of one kind whose name ends in ``suffix`` (``".toml"``), sub-folders included, sorted."""
    root = folder(kind)
    found = (path for path in root.rglob(f"*{suffix}") if path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts))


def find(kind: str, name: str, *, suffix: str = "") -> Path:
    """The shipped file called ``name``: its path below the folder, with or without ``suffix``.

    ``find("netlists", "1t1r", suffix=".cir")`` and ``find("netlists", "1t1r.cir")`` are the same file.
    Raises `UnknownName` with the nearest names; a name that leads out of the folder is unknown too.
    """
    root = folder(kind)
    parts = PurePosixPath(name)
    if name and not parts.is_absolute() and ".." not in parts.parts:
        for candidate in (root / parts, root / f"{parts}{suffix}"):
            if os.path.isfile(candidate) and candidate.name.endswith(suffix):
                return candidate
    known = [path.relative_to(root).as_posix().removesuffix(suffix) for path in listing(kind, suffix)]
    raise UnknownName(f"file in {kind}", name[:200], known)


def library() -> dict[str, Path]:
    """The parameter files of the library by name, NAME.toml each: of the working directory and of ``COSIM_MODELS``.

    Raises `InputError` where two folders have a file of the same name, `MissingFile` for a folder that is not there.
    """
    given = [Path(entry) for entry in os.environ.get(LIBRARY, "").split(os.pathsep) if entry]
    for entry in given:
        if not entry.is_dir():
            raise MissingFile(f"{LIBRARY} names the folder {str(entry)!r}, which is not there", remedy="correct it")
    found: dict[str, Path] = {}
    for place in dict.fromkeys(entry.resolve() for entry in (Path(HERE), *given) if entry.is_dir()):
        if place in shipped_roots():
            continue
        for path in sorted(place.glob("*.toml")):
            if not re.fullmatch(r"\w[\w.-]*", path.stem):
                continue
            if path.stem in found:
                raise InputError(
                    f"the parameter set {path.stem!r} is in two folders, {found[path.stem].parent} and {place}",
                    remedy=f"rename one of the files {path.name}",
                )
            found[path.stem] = path
    return found


@cache
def shipped_roots() -> tuple[Path, ...]:
    """The three folders, resolved, for callers that allow a netlist to include what cosim ships.

    Resolved once: an installation does not move while it runs, and a resolution is a tenth of reading a deck.
    """
    return tuple(folder(kind).resolve() for kind in KINDS)


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/cosim``, or ``~/.cache/cosim``: what may be deleted at any time."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "cosim"
