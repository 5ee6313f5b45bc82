"""Mazes: a square grid with a cheese and traps, as the world of an agent (arXiv 2411.18272, Sec. 5.1 and Fig. 7).

An episode begins at a cell without cheese or trap and ends at one of them. A move off the grid leaves the mouse where
it is. The source scales its best and worst reward with the grid's length; their values are in Fig. 7(b), which the text
does not repeat: those of `Rewards` are our choice, and so are number and places of the traps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cosim.errors import InputError, Where, told
from cosim.network.world import Ints, World

FREE, CHEESE, TRAP = ".", "c", "x"
MOVES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
LARGEST = 64  # cells along a side


@dataclass(frozen=True)
class Rewards:
    """What the mouse gets: ``best`` and ``worst`` (above zero) per grid length at cheese and trap, and ``step``, the
    penalty of a move that does not find the cheese. All are our choice.
    """

    best: float = 1.0
    worst: float = 1.0
    step: float = 0.05

    def __post_init__(self) -> None:
        if not (self.best > 0.0 and self.worst >= 0.0 and self.step >= 0.0) or max(self.worst, self.step) == np.inf:
            raise InputError(f"{told(self)} rewards nothing", remedy="give best > 0, worst >= 0 and step >= 0")


@dataclass(frozen=True)
class Grid:
    """Rows of letters: ``.`` free, ``c`` cheese, ``x`` a trap.

    Raises `InputError` for one that is not square, that holds no cheese, or a cell from which no way leads there.

    >>> Grid((".x.", ".xc", "..."))
    Grid(rows=('.x.', '.xc', '...'))
    >>> Grid((".x.", "x.c", "..."))
    Traceback (most recent call last):
    cosim.errors.InputError: no way leads from row 1, column 1 of the grid to the cheese; take away a trap
    """

    rows: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.rows)
        if not 2 <= n <= LARGEST or any(len(row) != n for row in self.rows):
            odd = next((r for r, row in enumerate(self.rows, start=1) if len(row) != n), 0)
            rows = "1 row" if n == 1 else f"{n} rows"
            cells = len(self.rows[odd - 1]) if odd else n
            raise InputError(
                f"row {odd} of the grid has {'1 cell' if cells == 1 else f'{cells} cells'}, and the grid {rows}"
                if odd
                else f"a grid of {rows} cannot be run",
                remedy=f"write a square of 2 to {LARGEST} rows",
            )
        for r, row in enumerate(self.rows, start=1):
            for c, letter in enumerate(row, start=1):
                if letter not in (FREE, CHEESE, TRAP):
                    raise InputError(
                        f"{letter!r} in row {r}, column {c} of the grid is unknown",
                        remedy="write . for a free cell, c for the cheese, x for a trap",
                    )
        if not any(CHEESE in row for row in self.rows):
            raise InputError("the grid holds no cheese", remedy="write c in one of its cells")
        if not self.at(FREE).size:
            raise InputError("the grid has no free cell to begin at", remedy="write . in one of its cells")
        near = np.isfinite(self.distances())
        for place in self.at(FREE):
            if not near[place]:
                r, c = divmod(int(place), n)
                raise InputError(
                    f"no way leads from row {r + 1}, column {c + 1} of the grid to the cheese",
                    remedy="take away a trap",
                )

    @property
    def size(self) -> int:
        """Cells along a side."""
        return len(self.rows)

    def at(self, letter: str) -> Ints:
        """The places of the cells with a letter, row by row."""
        return np.flatnonzero(np.array(list("".join(self.rows))) == letter).astype(np.int64)

    def leads(self) -> Ints:
        """(places, 4) where each of `MOVES` leads."""
        n = self.size
        r, c = np.divmod(np.arange(n * n), n)
        ways = [np.clip(r + down, 0, n - 1) * n + np.clip(c + right, 0, n - 1) for down, right in MOVES.values()]
        return np.stack(ways, axis=1).astype(np.int64)

    def distances(self) -> NDArray[np.float64]:
        """(places,) moves to the cheese on the shortest way around the traps; infinite where there is none."""
        leads, trapped = self.leads(), np.isin(np.arange(self.size**2), self.at(TRAP))
        far = np.where(np.isin(np.arange(self.size**2), self.at(CHEESE)), 0.0, np.inf)
        while True:
            nearer = np.where(trapped, np.inf, np.minimum(far, far[leads].min(axis=1) + 1.0))
            if np.array_equal(nearer, far):
                return far
            far = nearer

    def world(self, rewards: Rewards, *, places: str, actions: str, enough: int) -> World:
        """The grid with rewards, as what a network's populations ``places`` and ``actions`` live in."""
        leads, n = self.leads(), self.size
        found, caught = np.isin(leads, self.at(CHEESE)), np.isin(leads, self.at(TRAP))
        gained = np.where(found, rewards.best * n, np.where(caught, -rewards.worst * n, 0.0))
        return World(
            places, actions, leads, gained - np.where(found, 0.0, rewards.step), found.astype(np.int64) - caught,
            self.at(FREE), enough,
        )  # fmt: skip

    @classmethod
    def drawn(cls, size: int, traps: int, rng: np.random.Generator) -> Self:
        """Cheese and traps in random cells, drawn again until a way leads to the cheese from everywhere.

        Raises `InputError` where there is no room for them.
        """
        if not 2 <= size <= LARGEST or not 0 <= traps <= size * size // 2:
            raise InputError(
                f"a grid of {size} x {size} cells cannot hold {traps} traps",
                remedy=f"give a size of 2 to {LARGEST}, and traps in at most half of its cells",
            )
        for _ in range(1000):
            cells = np.full(size * size, FREE)
            chosen = rng.choice(size * size, traps + 1, replace=False)
            cells[chosen] = TRAP
            cells[chosen[0]] = CHEESE
            try:
                return cls(tuple("".join(row) for row in cells.reshape(size, size).tolist()))
            except InputError:
                continue
        raise InputError(
            f"{traps} traps leave no way to the cheese of {size} x {size} cells", remedy="give fewer traps"
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """A grid from a text file: a row per line, empty lines and those that begin with # left out."""
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"the grid cannot be read: {error.strerror}", where=Where(path)) from None
        except UnicodeDecodeError:
            raise InputError("the grid is not UTF-8 text", where=Where(path), remedy="write it as plain text") from None
        lines = [line.strip() for line in text.splitlines()[: 10 * LARGEST]]
        try:
            return cls(tuple(line for line in lines if line and not line.startswith("#")))
        except InputError as error:
            raise InputError(error.message, where=Where(path), remedy=error.remedy) from None


def sizes_of(grids: Sequence[Grid]) -> str:
    """Their sizes as text."""
    return ", ".join(f"{n} x {n}" for n in sorted({grid.size for grid in grids}))
