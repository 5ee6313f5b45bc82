"""Measures of arrays: how far many cells move between two times, and whether they move as they should."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pydantic
from pydantic import Field

from cosim.bench.measures import waveforms as measure
from cosim.bench.measures.dimensions import Dimension, Known, total
from cosim.bench.measures.kinds import Kind, Point, PointMeasure
from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.schema import Second


def terms(text: str) -> list[tuple[float, str]]:
    """A signed sum of vectors, ``"v(a) + v(b) - v(c)"``, as signs and names; raises `InputError`."""
    words = text.split()
    signs = [1.0] + [{"+": 1.0, "-": -1.0}.get(word, 0.0) for word in words[1::2]]
    if not words or len(words) % 2 == 0 or 0.0 in signs:
        raise InputError(f"{text!r} is not a sum of vectors", remedy='write it like "v(a) + v(b) - v(c)"')
    return list(zip(signs, words[::2], strict=True))


class _Cells(PointMeasure):
    """``of`` lists a vector, or a signed sum of vectors, per cell.

    A cell's change is its value at ``stop`` minus that at ``start`` (None: minus nothing).

    Args:
        of: a vector, or a signed sum of vectors, per cell.
        start: where a change begins; default: from nothing.
        stop: where it ends.
    """

    of: tuple[str, ...] = Field(min_length=1)
    start: Second | None = None
    stop: Second

    @pydantic.field_validator("of")
    @classmethod
    def _sums(cls, of: tuple[str, ...]) -> tuple[str, ...]:
        for text in of:
            terms(text)
        return of

    def vectors(self) -> tuple[str, ...]:
        """Each vector once."""
        return tuple(dict.fromkeys(name for text in self.of for _, name in terms(text)))

    def _values(self, point: Point, at: float) -> Array:
        found = {name: float(measure.sample(point.data, name, at=at)) for name in self.vectors()}
        return np.array([sum(sign * found[name] for sign, name in terms(text)) for text in self.of])

    def changes(self, point: Point) -> Array:
        """(cells,) in the vectors' unit."""
        after = self._values(point, self.stop)
        return after if self.start is None else after - self._values(point, self.start)


class Changes(_Cells):
    """The change of every cell, or the largest of their magnitudes."""

    kind: Literal["changes", "largest-change"]

    def dimension(self, known: Known) -> Dimension:
        """The vectors'."""
        return total([known.vector(name) for name in self.vectors()])

    def evaluate(self, point: Point) -> Array | float:
        """(cells,), or one value."""
        changes = self.changes(point)
        return changes if self.kind == "changes" else float(np.max(np.abs(changes)))


class ChangeLine(_Cells):
    """R² of a straight line through the origin of the cells' changes against given numbers, one per cell.

    Args:
        against: numbers, one a cell.
    """

    kind: Literal["change-r-squared"]
    against: tuple[float, ...]

    @pydantic.model_validator(mode="after")
    def _one_each(self) -> ChangeLine:
        if len(self.against) != len(self.of) or len(self.of) < 3 or not any(self.against):
            raise InputError(
                f"{len(self.of)} cells are compared to {len(self.against)} numbers", remedy="give one number per cell"
            )
        return self

    def evaluate(self, point: Point) -> float:
        """Dimensionless; 1 is a straight line."""
        x, y = np.asarray(self.against), self.changes(point)
        if np.ptp(y) == 0.0:
            raise InputError("every cell changes by the same amount", remedy="write the cells with different pulses")
        residual = y - x * (x @ y) / (x @ x)
        return float(1.0 - np.sum(residual**2) / np.sum((y - y.mean()) ** 2))


KINDS: tuple[type[Kind], ...] = (Changes, ChangeLine)
