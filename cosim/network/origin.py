"""Which code trains a network: a digest of the source that a system's numbers come from.

Checkpoints and results note it, so that none is gone on with by other code unnoticed. It covers the files of `PARTS`
that the system's module reaches by its imports, lazy ones included, without their comment lines; the package's version
would not tell two states of a checkout apart. A system from elsewhere counts with its own file and all of `PARTS`. What
it does not cover: numpy, numba and other libraries, and devices of other packages.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
PARTS = ("devices", "emit", "fitting", "network", "surrogate")
_IMPORTS = re.compile(r"^\s*from cosim\.([\w.]+) import (\([^)]*\)|.*)$", re.MULTILINE)


@cache
def code_of(system: type) -> str:
    """Sixteen hexadecimal digits for the code of a class; read once per process, as the code itself is."""
    own = _file(system)
    if own is not None and PACKAGE in own.parents:
        files = _reached({own, PACKAGE / "network" / "run.py"})
    else:
        files = {file for part in PARTS for file in (PACKAGE / part).rglob("*.py")} | ({own} if own else set())
    found = hashlib.sha256()
    for file in sorted(files):
        lines = (line.rstrip() for line in file.read_text(encoding="utf-8").splitlines())
        kept = "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))
        found.update(f"{file.name}\n{kept}\n".encode())
    return found.hexdigest()[:16]


def _file(system: type) -> Path | None:
    """Where a class is written; None for one that was typed into an interpreter."""
    try:
        name = inspect.getsourcefile(system)
    except (OSError, TypeError):
        return None
    return None if name is None or not Path(name).is_file() else Path(name).resolve()


def _reached(files: set[Path]) -> set[Path]:
    """These files and all of `PARTS` that they import, directly or not."""
    done: set[Path] = set()
    while todo := files - done:
        done |= todo
        files = files | {target for file in todo for target in _imported(file)}
    return files


def _imported(file: Path) -> Iterator[Path]:
    for module, names in _IMPORTS.findall(file.read_text(encoding="utf-8")):
        if module.partition(".")[0] not in PARTS:
            continue
        place = PACKAGE / module.replace(".", "/")
        if place.is_dir():  # names of a package may be its modules
            candidates = [place / "__init__.py", *(place / f"{name}.py" for name in re.findall(r"\w+", names))]
        else:
            candidates = [place.with_suffix(".py")]
        yield from (candidate for candidate in candidates if candidate.is_file())
