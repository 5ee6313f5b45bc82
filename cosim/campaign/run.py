"""The loop of a campaign: cases out, rows in, every row committed as it comes.

It may be stopped at any moment: by the ``stop`` event, which lets what runs finish; by an exception; by a signal that
nobody can catch. What is in the store is then whole, and the next run goes on with the cases that have no row. A case
whose process died is tried again, alone, so that it cannot take others with it or be blamed for them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any

from cosim.campaign.cache import Cache, own_row
from cosim.campaign.cases import Case, Done, Subject
from cosim.campaign.executors import Executor
from cosim.campaign.store import Store
from cosim.campaign.work import Job, Rows
from cosim.measure.physics import Verdict
from cosim.spice.simulator import Outcome

_BATCH_SECONDS = 0.25  # of work: what a kill may cost, and long against the millisecond that a batch costs
_LARGEST_BATCH = 256
_COMMIT_SECONDS = 0.2
_COMMIT_ROWS = 512
_SMOOTH = 0.3


@dataclass
class Progress:
    """How far a campaign is: cases with a row, of ``total``; those of them that this run made, and how they ended."""

    total: int
    done: int
    ran: int = 0
    cached: int = 0
    failed: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Rows that this run made per second."""
        return self.ran / self.seconds if self.seconds > 0.0 else 0.0

    @property
    def left(self) -> float | None:
        """Seconds to go at this rate; None where it is not known."""
        return (self.total - self.done) / self.rate if self.rate > 0.0 else None


Tell = Callable[[Progress], None]
Running = dict[Future[Rows], tuple[list[Case], bool]]


class Loop:
    """Runs cases through an executor into a store.

    Args:
        store: locked by the caller.
        executor: where batches run.
        job: what all cases have in common.
        subject: for keys; None where there is no cache.
        cache: of earlier cases; None leaves it out.
        keep: whether waveforms are kept.
        attempts: how often a case is tried whose process dies.
        tell: gets the progress, about five times a second.
        stop: when set, what runs is finished, and nothing begun.
    """

    def __init__(
        self, store: Store, executor: Executor, job: Job, *, progress: Progress, subject: Subject | None = None,
        cache: Cache | None = None, keep: bool = False, attempts: int = 2, tell: Tell = lambda _: None,
        stop: threading.Event | None = None,
    ) -> None:  # fmt: skip
        self.store, self.executor, self.progress = store, executor, progress
        self._job, self._keep, self._attempts, self._tell = job.plain(), keep, attempts, tell
        self._subject, self._cache = subject, cache
        self.stop = stop or threading.Event()
        self._ready: list[Done] = []
        self._fresh: list[Done] = []
        self._hits: list[str] = []
        self._committed = time.monotonic()
        self._began = time.monotonic()
        self._per_case = 0.0
        self._tries: dict[int, int] = {}

    def run(self, cases: Iterable[Case]) -> bool:
        """Run ``cases``; returns whether all of them have a row now. Raises `StoreError`, and what a worker raises."""
        todo = iter(cases)
        running: Running = {}
        suspects: deque[Case] = deque()
        ended = False
        try:
            while running or suspects or not ended:
                if self.stop.is_set() and not running:
                    break
                # After a death cases run one by one, until it is known whose fault it was.
                if suspects and not running and not self.stop.is_set():
                    self._submit([suspects.popleft()], running, alone=True)
                room = 2 * self.executor.workers
                while not (suspects or ended or self.stop.is_set()) and len(running) < room:
                    batch = list(self._missing(islice(todo, self._size())))
                    ended = batch == [] and self._exhausted
                    if batch:
                        self._submit(batch, running)
                    self._flush()
                if running:
                    finished, _ = wait(running, timeout=_COMMIT_SECONDS, return_when=FIRST_COMPLETED)
                    self._collect({future: running.pop(future) for future in finished}, suspects)
                self._flush()
        finally:
            self._flush(now=True)
            for future in running:
                future.cancel()
        return ended and not running and not suspects and not self.stop.is_set()

    def _size(self) -> int:
        if self._per_case <= 0.0:
            return 1
        return max(1, min(_LARGEST_BATCH, round(_BATCH_SECONDS / self._per_case)))

    def _missing(self, cases: Iterator[Case]) -> Iterator[Case]:
        """Those of the next cases that the cache does not have."""
        self._exhausted = True
        for case in cases:
            self._exhausted = False
            found = None
            if self._cache is not None and self._subject is not None:
                key = self._subject.key(case)
                found = self._cache.find(key, waveforms=self._keep)
            if found is None:
                yield case
                continue
            self._hits.append(key)
            self._ready.append(own_row(found, number=case.number, corner=case.corner, values=case.values))
            self.progress.cached += 1

    def _submit(self, batch: list[Case], running: Running, *, alone: bool = False) -> None:
        running[self.executor.submit(self._job, [case.plain() for case in batch])] = batch, alone

    def _collect(self, finished: Running, suspects: deque[Case]) -> None:
        died = False
        for future, (batch, alone) in finished.items():
            try:
                rows, seconds = future.result()
            except self.executor.lost:
                died = True
                self._blame(batch, suspects, alone=alone)
                continue
            each = seconds / len(batch)
            self._per_case = each if self._per_case <= 0.0 else self._per_case + _SMOOTH * (each - self._per_case)
            found = [Done(row, waveforms) for row, waveforms in rows]
            self._ready += found
            self._fresh += found
        if died:
            self.executor.mend()

    def _blame(self, batch: list[Case], suspects: deque[Case], *, alone: bool) -> None:
        """Cases whose process died: one that ran alone is to blame; of several nobody knows."""
        if not alone:
            suspects.extend(batch)
            return
        case = batch[0]
        self._tries[case.number] = self._tries.get(case.number, 0) + 1
        if self._tries[case.number] < self._attempts:
            suspects.append(case)
            return
        row: dict[str, Any] = {
            "number": case.number, "corner": case.corner, "values": dict(case.values),
            "outcome": Outcome.CRASHED.value, "verdict": Verdict.CANNOT_TELL.value,
            "why": f"the process that ran it died {self._tries[case.number]} times",
        }  # fmt: skip
        self._ready.append(Done(row))

    def _flush(self, *, now: bool = False) -> None:
        """Commit what is ready, if it is time."""
        due = time.monotonic() - self._committed >= _COMMIT_SECONDS
        if not (now or due or len(self._ready) >= _COMMIT_ROWS):
            return
        self._committed = time.monotonic()
        ready, self._ready = self._ready, []
        if ready:
            new = self.store.add(ready)
            self.progress.done += new
            self.progress.ran += new
            self.progress.failed += sum(done.row["outcome"] != Outcome.CONVERGED.value for done in ready)
        if self._cache is not None:
            fresh, self._fresh = self._fresh, []
            hits, self._hits = self._hits, []
            self._cache.add(fresh)
            self._cache.touch(hits)
        else:
            self._fresh.clear()
        self.progress.seconds = time.monotonic() - self._began
        self._tell(self.progress)
