"""The loop of a campaign: cases out, rows in, every row committed as it comes.

It may be stopped at any moment: by the ``stop`` event, which lets what runs finish; by an exception; by a signal that
cannot be caught. The store is then intact, and the next run continues with the cases that have no row. A case
whose process died is tried again in a separate process, where it harms no others.

The work of this process per case limits a campaign on many cores, so it is kept small: where the cases are known
by their numbers it sends numbers; the workers compute the keys for the cache, too; rows come as text and go into
the store unchanged. Batches are as long as the number of workers asks for, so that they end one after the other no
faster than they can be handed out, and become short at the end, so that all workers end together (guided
self-scheduling, Polychronopoulos and Kuck, IEEE Trans. Comput. C-36, 1425 (1987)).
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, Protocol

from cosim.campaign.cache import Cache, own_row
from cosim.campaign.cases import Case, Done
from cosim.campaign.executors import Executor
from cosim.campaign.finished import Finished
from cosim.campaign.store import Store, StoreError
from cosim.campaign.work import Job, key_batch, run_batch
from cosim.engines.simulator import Outcome
from cosim.statistics.verdict import Verdict

_BATCH_SECONDS = 0.25  # of work: what a kill may cost, and long against the millisecond that a batch costs
_HANDLING_SECONDS = 0.01  # between two batches: several times what a scheduler and this process take for one
_FIRST = 32  # batches of one case, to learn what a case takes ...
_FIRST_SECONDS = 5.0  # ... unless it takes longer than that
_SHARE = 3  # a batch is at most this part of a worker's share of what is left
_SHORTEST = 16  # and no shorter than this part of a long one
_LARGEST_BATCH = 1024
_LARGEST_KEPT = 64  # with waveforms, which come back with the batch
_KEYS = 256  # a batch of keys: some 50 ms
COMMIT_SECONDS = 0.2
_COMMIT_SHARE, _COMMIT_LATEST = 100.0, 1.0  # a slow disk gets a hundredth of the time, but no row waits for longer
COMMIT_ROWS = 4096
_CACHE_SECONDS = 5.0  # losing them costs no result
_CACHE_ROWS = 10_000
SMOOTH = 0.3


@dataclass
class Progress:
    """How far a campaign is: cases with a row, of ``total``; those of them that this run made, and how they ended.

    ``note`` is what a user should know at the moment, e.g. that no worker has connected yet; ``warning`` what holds
    for the rest of the run, e.g. that its cache failed.
    """

    total: int
    done: int
    ran: int = 0
    cached: int = 0
    failed: int = 0
    seconds: float = 0.0
    note: str = ""
    warning: str = ""

    @property
    def rate(self) -> float:
        """Rows that this run made per second."""
        return self.ran / self.seconds if self.seconds > 0.0 else 0.0

    @property
    def left(self) -> float | None:
        """Seconds to go at this rate; None where it is not known."""
        return (self.total - self.done) / self.rate if self.rate > 0.0 else None


Tell = Callable[[Progress], None]


class Numbered(Protocol):
    """Cases by their numbers."""

    def __getitem__(self, number: int, /) -> Case:
        """The case with that number."""
        ...


@dataclass(frozen=True)
class _Batch:
    """A future's task: the numbers of its cases, and whether they run, get their keys, or run alone."""

    numbers: list[int]
    kind: Literal["run", "keys", "alone"] = "run"


def batch_size(per_case: float, *, left: int, workers: int, most: int = _LARGEST_BATCH) -> int:
    """Cases of the next batch: of ``per_case`` seconds each (0: not known yet) with ``left`` cases to go."""
    if per_case <= 0.0:
        return 1
    wanted = min(max(_BATCH_SECONDS, _HANDLING_SECONDS * workers) / per_case, _SHORTEST * most)  # finite
    share = max(left / (_SHARE * workers), wanted / _SHORTEST)
    return max(1, min(round(wanted), most, math.ceil(share)))


def room(per_case: float, *, waited: float, workers: int) -> int:
    """How many batches may be under way: one that runs and one that waits for every worker.

    Until a first case has come back, ``waited`` seconds after the start, few: a thousand workers would otherwise begin
    with thousands of batches of one case.
    """
    most = 2 * workers
    return most if per_case > 0.0 or waited >= _FIRST_SECONDS else min(most, _FIRST)


class Loop:
    """Runs cases through an executor into a store.

    Args:
        store: locked by the caller.
        executor: where batches run.
        job: what all cases have in common.
        cases: every case by its number.
        by_number: whether a worker can find a case by its number alone.
        cache: of earlier cases; None leaves it out.
        keep: whether waveforms are kept.
        attempts: how often a case whose process dies is tried.
        tell: gets the progress, about five times a second.
        stop: when set, running batches finish and no others begin.
    """

    def __init__(
        self, store: Store, executor: Executor, job: Job, *, progress: Progress, cases: Numbered,
        by_number: bool = False, cache: Cache | None = None, keep: bool = False, attempts: int = 2,
        tell: Tell = lambda _: None, stop: threading.Event | None = None,
    ) -> None:  # fmt: skip
        self.store, self.executor, self.progress, self.cases = store, executor, progress, cases
        self._job, self._keep, self._attempts, self._tell = job.plain(), keep, attempts, tell
        self._by_number, self._cache = by_number, cache
        self.stop = stop or threading.Event()
        self._arrived: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._running: dict[Future[Any], _Batch] = {}
        self._busy = {"run": 0, "keys": 0, "alone": 0}
        self._todo: deque[int] = deque()  # keys are known, and the cache has no row
        self._suspects: deque[int] = deque()
        self._ready: list[Finished] = []
        self._fresh: list[Finished] = []
        self._hits: list[str] = []
        self._committed = self._cached = self._began = time.monotonic()
        self._per_case = self._commit_costs = 0.0
        self._tries: dict[int, int] = {}
        self._left = 0

    def run(self, numbers: Iterable[int], *, count: int) -> bool:
        """Run the cases with these numbers, ``count`` of them; returns whether all have a row now.

        Raises `StoreError`, and what a worker raises.
        """
        source, self._left, ended = iter(numbers), count, False
        try:
            while True:
                stopping = self.stop.is_set()
                if not stopping:
                    ended = self._fill(source, ended=ended)
                if not self._running and (stopping or ended):
                    break
                if stopping and not self.executor.awake:
                    break  # nothing that runs is worth waiting for
                self._collect()
                self._flush()
        finally:
            self._flush(now=True)
            for future in self._running:
                future.cancel()
        return ended and not (self._todo or self._suspects or self._running)

    def _fill(self, source: Iterator[int], *, ended: bool) -> bool:
        """Hand out batches until enough are under way; returns whether there is nothing left to hand out."""
        if self._suspects and not self._busy["alone"]:
            self._submit([self._suspects.popleft()], "alone")
        workers = self.executor.workers
        most = room(self._per_case, waited=time.monotonic() - self._began, workers=workers)
        while self._busy["run"] < most:
            size = self._size()
            # Keys are computed ahead, so that no worker waits for them.
            while self._cache is not None and not ended and self._busy["keys"] < most and (
                len(self._todo) + _KEYS * self._busy["keys"] < most * size
            ):  # fmt: skip
                asked = list(islice(source, _KEYS))
                ended = not asked
                if asked:
                    self._submit(asked, "keys")
            if self._cache is None and not ended:
                self._todo.extend(islice(source, max(0, size - len(self._todo))))
                ended = not self._todo
            batch = [self._todo.popleft() for _ in range(min(size, len(self._todo)))]
            if not batch:
                break
            self._submit(batch, "run")
        return ended

    def _size(self) -> int:
        most = _LARGEST_KEPT if self._keep else _LARGEST_BATCH
        return batch_size(self._per_case, left=self._left, workers=self.executor.workers, most=most)

    def _submit(self, numbers: list[int], kind: Literal["run", "keys", "alone"]) -> None:
        plain = numbers if self._by_number else [self.cases[number].plain() for number in numbers]
        function: Callable[..., Any] = key_batch if kind == "keys" else run_batch
        future: Future[Any] = self.executor.submit(function, self._job, plain, alone=kind == "alone")
        self._running[future] = _Batch(numbers, kind)
        self._busy[kind] += 1
        if kind == "run":
            self._left -= len(numbers)
        future.add_done_callback(self._arrived.put)

    def _collect(self) -> None:
        """Take in what has come; waits for it until the next commit is due."""
        died, wait = False, True
        while self._running:
            try:
                future = self._arrived.get(block=wait, timeout=COMMIT_SECONDS)
            except queue.Empty:
                break
            wait = False
            batch = self._running.pop(future)
            self._busy[batch.kind] -= 1
            try:
                found, seconds = future.result()
            except self.executor.lost:
                died = True
                self._lost(batch)
                continue
            if batch.kind == "keys":
                self._look_up(batch.numbers, found)
                continue
            each = seconds / len(batch.numbers)
            self._per_case = each if self._per_case <= 0.0 else self._per_case + SMOOTH * (each - self._per_case)
            rows = [Finished(*entry) for entry in found]
            self._ready += rows
            if self._cache is not None:
                self._fresh += rows
        if died:
            self.executor.mend()

    def _look_up(self, numbers: Sequence[int], keys: Sequence[str | None]) -> None:
        """Rows of the cases that the cache has; the others are to be run."""
        for number, key in zip(numbers, keys, strict=True):
            found = self._cached_row(key) if key is not None else None
            if found is None or key is None:
                self._todo.append(number)
                continue
            case = self.cases[number]
            self._hits.append(key)
            self._ready.append(Finished.of(own_row(found, number=number, corner=case.corner, values=case.values)))
            self._left -= 1
            self.progress.cached += 1

    def _cached_row(self, key: str) -> Done | None:
        if self._cache is None:  # it failed while keys were under way
            return None
        try:
            return self._cache.find(key, waveforms=self._keep)
        except StoreError as error:
            self._without_cache(error)
            return None

    def _without_cache(self, error: StoreError) -> None:
        """Continue without the cache, which holds nothing that the campaign needs."""
        if self._cache is not None:
            self._cache.close()
        self._cache = None
        self._fresh, self._hits = [], []
        self.progress.warning = f"{error.message}; the campaign continues without it"

    def _lost(self, batch: _Batch) -> None:
        """A process died. A case that ran alone is to blame; of several any may be; computing keys is harmless."""
        if batch.kind == "keys":
            self._todo.extend(batch.numbers)
            return
        if batch.kind == "run":
            self._suspects.extend(batch.numbers)
            return
        number = batch.numbers[0]
        self._tries[number] = self._tries.get(number, 0) + 1
        if self._tries[number] < self._attempts:
            self._suspects.append(number)
            return
        case = self.cases[number]
        row: dict[str, Any] = {
            "number": number, "corner": case.corner, "values": dict(case.values),
            "outcome": Outcome.CRASHED.value, "verdict": Verdict.CANNOT_TELL.value,
            "why": f"the process that ran it died {self._tries[number]} times",
        }  # fmt: skip
        self._ready.append(Finished.of(Done(row)))

    def _flush(self, *, now: bool = False) -> None:
        """Commit what is ready, if it is time."""
        since = time.monotonic() - self._committed
        due = since >= max(COMMIT_SECONDS, min(_COMMIT_SHARE * self._commit_costs, _COMMIT_LATEST))
        if not (now or due or len(self._ready) >= COMMIT_ROWS):
            return
        began = time.monotonic()
        ready, self._ready = self._ready, []
        if ready:
            new = self.store.add(ready)
            self.progress.done += new
            self.progress.ran += new
            self.progress.failed += sum(done.outcome != Outcome.CONVERGED.value for done in ready)
        old = time.monotonic() - self._cached >= _CACHE_SECONDS
        if self._cache is not None and (now or old or len(self._fresh) + len(self._hits) >= _CACHE_ROWS):
            self._cached = time.monotonic()
            fresh, self._fresh = self._fresh, []
            hits, self._hits = self._hits, []
            try:
                self._cache.add(fresh)
                self._cache.touch(hits)
            except StoreError as error:
                self._without_cache(error)
        self._committed = time.monotonic()
        self._commit_costs = self._committed - began
        self.progress.seconds = self._committed - self._began
        self.progress.note = self.executor.note
        self._tell(self.progress)
