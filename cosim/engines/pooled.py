"""What the engines have in common: decks run in the worker processes of a pool, and the answers are judged.

An engine says how a deck becomes a job, where the answer's waveforms are, and what the outcome is. The rest is here.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, Self, TypeVar

from cosim.engines import outcome, waveforms
from cosim.engines.prepare import Prepared, prepare
from cosim.engines.simulator import Deck, Limits, Result
from cosim.engines.worker.pool import Answer, Pool
from cosim.errors import InputError

Ready = TypeVar("Ready")


class Pooled(ABC, Generic[Ready]):
    """A `cosim.engines.simulator.Simulator` over a `Pool`. Thread-safe; a context manager.

    ``Ready`` is a deck that was read and checked, in the form that the engine needs.
    """

    name: str

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @abstractmethod
    def version(self) -> str:
        """The engine and its version: ``"ngspice-46"``."""

    @abstractmethod
    def _prepare(self, deck: Deck) -> Ready:
        """Raises `InputError` for a deck that is refused."""

    @abstractmethod
    def _job(self, ready: Ready) -> dict[str, Any]:
        """What the worker is asked, without the limits."""

    @abstractmethod
    def _read(self, ready: Ready, answer: Answer) -> list[waveforms.Plot]:
        """The plots in deck order; the worker's folder is still there."""

    @abstractmethod
    def _judge(
        self, deck: Deck, ready: Ready, *, answer: Answer, plots: list[waveforms.Plot], limits: Limits, wall: float
    ) -> Result:
        """The result. The worker already runs something else."""

    def run(self, deck: Deck, *, limits: Limits = Limits()) -> Result:  # noqa: B008  a frozen value
        """Run ``deck``; the outcome says what became of it. Raises `EngineMissing` only."""
        started = time.monotonic()
        try:
            ready = self._prepare(deck)
        except InputError as error:
            return outcome.refused(deck, self.name, str(error))
        job = {**self._job(ready), "memory": limits.memory, "file_size": limits.file_size}
        with self._pool.run(job, wall=limits.wall) as answer:
            plots = self._read(ready, answer)
        wall = time.monotonic() - started
        return self._judge(deck, ready, answer=answer, plots=plots, limits=limits, wall=wall)

    def confinement(self) -> Mapping[str, Any]:
        """What holds the engine back (`sandbox.Confinement`). Raises `EngineMissing`."""
        return dict(self._pool.hello()["confinement"])

    def pids(self) -> list[int]:
        """The process ids of the workers that run."""
        return self._pool.pids()

    def close(self) -> None:
        """End the worker processes and remove their scratch folders."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class PooledNgspice(Pooled[Prepared]):
    """ngspice, as a library or as a program: both read the same text and write the same logs."""

    def _prepare(self, deck: Deck) -> Prepared:
        return prepare(deck)

    def _judge(
        self, deck: Deck, ready: Prepared, *, answer: Answer, plots: list[waveforms.Plot], limits: Limits, wall: float
    ) -> Result:
        return outcome.of_ngspice(deck, ready, answer, plots, engine=self.name, limits=limits, wall=wall)
