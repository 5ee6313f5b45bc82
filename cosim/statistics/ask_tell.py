"""Searches that ask for evaluations and take the answers: the caller evaluates, and may stop, store and replay.

A search is a generator: it yields points (n, d), is sent the answers (n,), and returns its result. It draws random
numbers from its seed only, so a new one that gets the same answers asks for the same points::

    search = importance_sampling(4, seed=1)
    while (points := search.ask()) is not None:
        search.tell(evaluate(points))
    search.result
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cosim.devices.base import Array
from cosim.errors import InputError

Answer = TypeVar("Answer", bound=np.generic)
Result = TypeVar("Result")
Steps = Generator[Array, NDArray[Answer], Result]


class Search(Generic[Answer, Result]):
    """One search under way.

    Args:
        steps: the generator.
        dtype: of the answers: bool ("does it fail?") or float (a measure; NaN for a missing one).
    """

    def __init__(self, steps: Steps[Answer, Result], dtype: type[Answer]) -> None:
        self._steps = steps
        self._dtype = dtype
        self._pending: Array | None = None
        self._result: Result | None = None
        self.asked = 0
        self._advance(None)

    def ask(self) -> Array | None:
        """The points (n, d) to evaluate next, the same ones until they are answered; None where the search is over."""
        return self._pending

    def tell(self, answers: ArrayLike) -> None:
        """The answers (n,) to the points that were asked. Raises `InputError` where they do not fit."""
        if self._pending is None:
            raise InputError("this search is over and asked for nothing", remedy="look at .result")
        found = np.asarray(answers, dtype=self._dtype)
        if found.shape != (len(self._pending),):
            raise InputError(
                f"{found.shape} answers to {len(self._pending)} points", remedy="give one answer per point, in order"
            )
        self._advance(found)

    @property
    def done(self) -> bool:
        """Whether the search is over."""
        return self._pending is None

    @property
    def result(self) -> Result:
        """What was found. Raises `InputError` before the end."""
        if self._result is None:
            raise InputError("this search is not over", remedy="ask and tell until ask() is None")
        return self._result

    def run(self, evaluate: Callable[[Array], ArrayLike]) -> Result:
        """Ask and tell to the end."""
        while self._pending is not None:
            self.tell(evaluate(self._pending))
        return self.result

    def _advance(self, answers: NDArray[Answer] | None) -> None:
        try:
            points = next(self._steps) if answers is None else self._steps.send(answers)
        except StopIteration as end:
            self._pending, self._result = None, end.value
            return
        points = np.array(points, dtype=float)
        points.setflags(write=False)
        self._pending = points
        self.asked += len(points)
