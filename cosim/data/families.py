"""Curves of one file that a stepped column tells apart: output curves at several gate voltages.

The rows of such a file jump back from curve to curve, which is not a loop. A column is stepped where it rests on a few
levels, each in one run of rows, along which another voltage moves. The numbers are our choice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from cosim import units
from cosim.data.segments import sweeps
from cosim.data.sheets import Column, Sheet
from cosim.devices.base import Array
from cosim.devices.registry import devices

# A curve has at least so many rows; the rows of a level differ by less than this part of the steps between levels.
ROWS, FLAT = 4, 0.02
# A voltage that varies by less than this part of its size is a constant one.
SWING = 0.05


def quoted(title: str) -> str:
    """A column's title as a condition names it."""
    return f"'{title}'" if " " in title or any(sign in title for sign in "=!<>") else title


@dataclass(frozen=True)
class Family:
    """A ``swept`` voltage at each level of a ``stepped`` column; ``edges``: the first row of each curve, the end."""

    swept: Column
    stepped: Column
    edges: tuple[int, ...]

    @property
    def levels(self) -> Array:
        """The level of each curve; (curves,)."""
        return np.array([np.median(self.stepped.values[a:b]) for a, b in pairwise(self.edges)])

    @property
    def shown(self) -> str:
        """The levels in words."""
        said = [units.show(float(level), self.stepped.unit, digits=4) for level in self.levels]
        return ", ".join(said[:8]) + (f" and {len(said) - 8} more" if len(said) > 8 else "")

    @property
    def parameter(self) -> str:
        """The parameter of some device that the stepped column is by its name and unit; ""."""
        name = self.stepped.title.strip().casefold()
        known = {(entry.name, entry.unit) for model in devices().values() for entry in model.params}
        return name if (name, self.stepped.unit) in known else ""

    def where(self, number: int) -> str:
        """The condition that selects a curve in a recipe."""
        title, unit, levels = self.stepped.title, self.stepped.unit, self.levels
        name = quoted(title)
        level = float(levels[number])
        rows = self.stepped.values[self.edges[number] : self.edges[number + 1]]
        if np.ptp(rows) == 0.0:
            return f"{name} == {level!r} {unit}"
        apart = 0.5 * float(np.min(np.abs(np.diff(np.sort(levels)))))
        return f"{name} > {level - apart:.6g} {unit} and {name} < {level + apart:.6g} {unit}"

    def curve(self, sheet: Sheet, number: int) -> tuple[Sheet, slice]:
        """The sheet with the rows of one curve alone, and which they are."""
        rows = slice(self.edges[number], self.edges[number + 1])
        columns = tuple(replace(column, values=column.values[rows]) for column in sheet.columns)
        level = units.show(float(self.levels[number]), self.stepped.unit, digits=4)
        name = f"{sheet.name} [{self.stepped.title} = {level}]"
        return replace(sheet.only(np.arange(rows.start, rows.stop)), columns=columns, name=name), rows


def family(moving: list[Column], others: list[Column]) -> Family | None:
    """The family that ``moving`` voltages, or one of them and one of the ``others``, form; None where they do not."""
    for stepped in (*moving, *others):
        edges = _runs(stepped.values)
        if edges is None:
            continue
        for swept in moving:
            if swept is not stepped and all(_moves(swept.values[a:b]) for a, b in pairwise(edges)):
                return Family(swept, stepped, tuple(edges))
    return None


def _moves(v: Array) -> bool:
    """Whether a voltage is swept, there or there and back, and not a constant one with noise."""
    span = float(np.ptp(v))
    if span <= SWING * float(np.abs(v).max()) or np.unique(v).size < ROWS:
        return False
    return len(sweeps(v)) <= max(2, v.size // 8)


def _runs(x: Array) -> list[int] | None:
    """Where the level of a stepped column changes, with both ends; None where it is not stepped."""
    if not np.all(np.isfinite(x)) or not np.ptp(x):
        return None
    step: Any = np.abs(np.diff(x))
    far = np.flatnonzero(step > FLAT * float(step.max()))
    edges = [0, *(far + 1).tolist(), x.size]
    runs = [x[a:b] for a, b in pairwise(edges)]
    if len(runs) < 2 or min(run.size for run in runs) < ROWS:
        return None
    levels = np.sort([float(np.median(run)) for run in runs])
    apart = float(np.diff(levels).min())
    return edges if apart > 0.0 and max(float(np.ptp(run)) for run in runs) <= FLAT * apart else None
