"""Where batches run: in this process, in processes of this machine, or (`cosim.campaign.cluster`) on a cluster.

All of them call a function of `cosim.campaign.work` and give futures; a row is the same from each of them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from cosim.campaign import work
from cosim.campaign.work import Plain

_WATCH = 0.5  # s

T = TypeVar("T")


class Executor(Protocol):
    """What runs batches. ``lost`` are the errors by which a future says that the process of its batch died, after
    which `mend` makes the executor whole again.
    """

    lost: tuple[type[BaseException], ...]

    @property
    def workers(self) -> int:
        """How many batches run at once, at least 1; may change from one moment to the next."""
        ...

    @property
    def awake(self) -> bool:
        """Whether there is a worker for a batch at the moment."""
        ...

    @property
    def note(self) -> str:
        """What a user should know at the moment, e.g. that no worker is connected; may be empty."""
        ...

    def submit(
        self, function: Callable[[Mapping[str, Any], Sequence[Plain]], T], job: Mapping[str, Any],
        cases: Sequence[Plain], *, alone: bool = False,
    ) -> Future[T]:  # fmt: skip
        """A future for ``function(job, cases)``; ``alone``: in a process that nothing else runs in meanwhile."""
        ...

    def mend(self) -> None:
        """Restart what died."""
        ...

    def close(self, *, now: bool = False) -> None:
        """End it: when the running batches are done, or at once."""
        ...


class InProcess:
    """Batches run in the calling thread, one after the other; only the simulator is a separate process."""

    workers = 1
    awake = True
    note = ""
    lost: tuple[type[BaseException], ...] = ()

    def submit(
        self, function: Callable[[Mapping[str, Any], Sequence[Plain]], T], job: Mapping[str, Any],
        cases: Sequence[Plain], *, alone: bool = False,
    ) -> Future[T]:  # fmt: skip
        """A future that is done."""
        del alone
        future: Future[T] = Future()
        try:
            future.set_result(function(job, cases))
        except Exception as error:
            future.set_exception(error)
        return future

    def mend(self) -> None:
        """Nothing to do: nothing here can die."""

    def close(self, *, now: bool = False) -> None:
        """End the simulator."""
        del now
        work.close()


def _begin(parent: int) -> None:
    """In a new process: the parent handles Ctrl-C, and without a parent there is nothing left to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A process started inside never gets Ctrl-C, not even while it starts: the parent handles it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Process:
    """One process and the batches that wait for it, which fail with it; no others do."""

    def __init__(self) -> None:
        self.waiting = 0
        self.broken = False
        self._lock = threading.Lock()
        self._pool = self._start()

    @staticmethod
    def _start() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(os.getpid(),)
        )

    def submit(
        self, function: Callable[[Mapping[str, Any], Sequence[Plain]], T], job: Mapping[str, Any],
        cases: Sequence[Plain],
    ) -> Future[T]:  # fmt: skip
        try:
            with _uninterrupted():
                future = self._pool.submit(function, job, cases)
        except (BrokenProcessPool, BrokenPipeError) as error:  # it died while nothing ran on it, or while it started
            self.broken = True
            future = Future()
            future.set_exception(BrokenProcessPool(str(error)))
            return future
        with self._lock:
            self.waiting += 1
        future.add_done_callback(self._done)
        return future

    def _done(self, future: Future[Any]) -> None:
        with self._lock:
            self.waiting -= 1
        if not future.cancelled() and isinstance(future.exception(), BrokenProcessPool):
            self.broken = True

    def pids(self) -> list[int]:
        return list(self._pool._processes or {})

    def mend(self) -> None:
        if self.broken:
            self.close(now=True)
            self._pool, self.broken = self._start(), False

    def kill(self) -> None:
        for process in list((self._pool._processes or {}).values()):
            process.kill()

    def close(self, *, now: bool) -> None:
        if now:
            self.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)


class Processes:
    """``workers`` processes of this machine, each with its own simulator process, and one more for a case that
    may have ended its process.

    >>> executor = cosim.Processes(2)
    >>> executor.workers
    2
    >>> executor.close()
    """

    awake = True
    note = ""
    lost: tuple[type[BaseException], ...] = (BrokenProcessPool,)

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._processes = [_Process() for _ in range(workers)]
        self._apart: _Process | None = None

    def submit(
        self, function: Callable[[Mapping[str, Any], Sequence[Plain]], T], job: Mapping[str, Any],
        cases: Sequence[Plain], *, alone: bool = False,
    ) -> Future[T]:  # fmt: skip
        """A future for the result of ``function``, in the process with the fewest waiting batches."""
        if alone:
            self._apart = self._apart or _Process()
            return self._apart.submit(function, job, cases)
        return min(self._processes, key=lambda process: process.waiting).submit(function, job, cases)

    def _all(self) -> list[_Process]:
        return [*self._processes, *([self._apart] if self._apart else [])]

    def pids(self) -> list[int]:
        """The processes, for tests that kill them."""
        return [pid for process in self._all() for pid in process.pids()]

    def mend(self) -> None:
        """Replace the processes that died."""
        for process in self._all():
            process.mend()

    def close(self, *, now: bool = False) -> None:
        """End the processes."""
        if now:
            for process in self._all():
                process.kill()
        for process in self._all():
            process.close(now=now)


def cores() -> int:
    """How many processes this one may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
