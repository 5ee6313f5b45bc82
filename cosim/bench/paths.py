"""Which files a bench may read: those in its own folder, in those that it was granted, and the shipped ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from cosim.errors import NetlistRefused
from cosim.files import resolved


def inside(reference: str, what: str, *, folder: Path, roots: Sequence[Path]) -> Path:
    """The file that ``reference`` means, from ``folder``; raises `NetlistRefused` for one outside ``roots``."""
    path = _resolved(reference, folder)
    if not any(path.is_relative_to(root) for root in roots):
        raise NetlistRefused(
            f"{what} lies outside the bench's folder, in {str(path.parent)!r}",
            remedy=f"allow it: --allow {path.parent}",
        )
    return path


@lru_cache(maxsize=1024)
def _resolved(reference: str, folder: Path) -> Path:
    """Where a path leads; cached, as what a deck includes is checked again when it is read, link by link."""
    return resolved(reference if reference.startswith("~") else folder / reference)
