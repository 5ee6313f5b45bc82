"""Where batches run: in this process, in processes of this machine, or on a cluster that dask manages.

All three call `cosim.campaign.work.run_batch` and give futures; a row is the same from each of them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from cosim.campaign import work
from cosim.campaign.work import Rows

_WATCH = 0.5  # s


class Executor(Protocol):
    """What runs batches. ``workers`` batches run at once; ``lost`` are the errors by which a future says that the
    process of its batch died, after which `mend` makes the executor whole again.
    """

    workers: int
    lost: tuple[type[BaseException], ...]

    def submit(self, job: Mapping[str, Any], cases: Sequence[list[Any]]) -> Future[Rows]:
        """A future for the rows of a batch."""
        ...

    def mend(self) -> None:
        """Start anew what died."""
        ...

    def close(self, *, now: bool = False) -> None:
        """End it: when what runs is done, or at once."""
        ...


class InProcess:
    """Batches run in the calling thread, one after the other; only the simulator is a process of its own."""

    workers = 1
    lost: tuple[type[BaseException], ...] = ()

    def submit(self, job: Mapping[str, Any], cases: Sequence[list[Any]]) -> Future[Rows]:
        """A future that is done."""
        future: Future[Rows] = Future()
        try:
            future.set_result(work.run_batch(job, cases))
        except Exception as error:
            future.set_exception(error)
        return future

    def mend(self) -> None:
        """Nothing can have died."""

    def close(self, *, now: bool = False) -> None:
        """End the simulator."""
        del now
        work.close()


def _begin(parent: int) -> None:
    """In a new process: Ctrl-C is the parent's business, and without a parent there is nothing to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Processes:
    """``workers`` processes of this machine, each with a simulator process of its own."""

    lost: tuple[type[BaseException], ...] = (BrokenProcessPool,)

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self.workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(os.getpid(),)
        )

    def submit(self, job: Mapping[str, Any], cases: Sequence[list[Any]]) -> Future[Rows]:
        """A future for the rows of a batch."""
        try:
            return self._pool.submit(work.run_batch, job, cases)
        except BrokenProcessPool as error:  # a process died while nothing ran on it
            future: Future[Rows] = Future()
            future.set_exception(error)
            return future

    def pids(self) -> list[int]:
        """The processes, for tests that kill them."""
        return list(self._pool._processes or {})

    def mend(self) -> None:
        """Replace all processes: one that dies takes the pool's queues with it."""
        self.close(now=True)
        self._pool = self._start()

    def close(self, *, now: bool = False) -> None:
        """End the processes."""
        processes = list((self._pool._processes or {}).values())
        if now:
            for process in processes:
                process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)


def cores() -> int:
    """How many processes this one may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
