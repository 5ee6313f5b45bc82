"""The files that verbs write, and options that have no meaning, checked before the work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cosim.errors import InputError

if TYPE_CHECKING:
    import typer

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


def refuse(context: typer.Context, options: Mapping[str, str], where: str) -> None:
    """Raises `InputError` for an option on the command line that has no meaning here, by the name of its variable."""
    for name, option in options.items():
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise InputError(f"{option} has no meaning {where}", remedy=f"leave out {option}, or see --help")
