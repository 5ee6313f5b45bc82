"""The gallery: every circuit's figures beside the numbers of its source. One module per system, with `entries`.

A module has ``TITLE: str`` and ``entries(simulator, tell) -> list[Entry]``; `MODULES` lists them in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODULES: tuple[str, ...] = ("stc", "quantum_dot", "ecram", "neo_hebbian")


@dataclass(frozen=True)
class Comparison:
    """A number of the source beside ours; ``verdict`` is "agrees", "differs" or "our choice" (the source has none)."""

    quantity: str
    source: str
    ours: str
    verdict: str
    why: str = ""


@dataclass(frozen=True)
class Entry:
    """One figure with its caption and the numbers it shows."""

    title: str
    caption: str
    figure: Figure
    comparisons: tuple[Comparison, ...] = ()
