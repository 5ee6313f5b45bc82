"""The files that verbs write, checked before the work."""

from __future__ import annotations

from pathlib import Path

from cosim.errors import InputError

FIGURES = (".png", ".svg", ".pdf")


def require_file(path: Path, *suffixes: str, example: str) -> None:
    """Raise `InputError` where ``path`` cannot become a file of that kind."""
    if path.suffix not in suffixes:
        raise InputError(f"{path} is not a {', '.join(suffixes)} file", remedy=f"name it e.g. {example}")
    if path.is_dir():
        raise InputError(f"{path} is a folder", remedy=f"name a file in it, e.g. {path / example}")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} for {path.name}", remedy="make it, or choose another")


def figure_file(path: Path | None) -> Path | None:
    """The callback of every ``--figure``."""
    if path is not None:
        require_file(path, *FIGURES, example="figure.png")
    return path
