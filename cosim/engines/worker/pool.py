"""The parent's side of worker processes: start, deadline, replacement.

A `Pool` hands each job to an idle worker. A worker that hangs is killed with its whole process group, one that died is
replaced, and the next job finds a fresh one; jobs wait their turn. Thread-safe. Workers end when their pipe closes,
so a parent that is killed leaves none behind; their scratch folders go with them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import termios
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cosim.engines.worker import frames, sandbox
from cosim.errors import EngineMissing

Kind = Literal["library", "command"]
_START_LIMIT = 60.0
_PIPE_SIZE = 1 << 20


class WorkerDied(Exception):
    """The worker ended: ``code`` as in `subprocess`, ``tail`` what it last wrote, ``accepted`` whether it had
    begun the job.

    If it ended before it accepted the job, something else was the cause, and the job can be given to another worker.
    """

    def __init__(self, code: int | None, tail: str, *, accepted: bool) -> None:
        super().__init__(tail)
        self.code = code
        self.tail = tail
        self.accepted = accepted


@dataclass(frozen=True)
class Answer:
    """The outcome of a job: done, exited, stale, failed, memory (the worker says), timeout or died (the pool says)."""

    status: str
    header: Mapping[str, Any]
    arrays: tuple[frames.Numbers, ...] = ()
    wall: float = 0.0
    code: int | None = None
    scratch: Path | None = None

    @property
    def log(self) -> list[tuple[str, str]]:
        """The engine's lines, each with its stream."""
        return [(stream, text) for stream, text in self.header.get("log", ())]

    def file(self, name: str) -> Path | None:
        """A file that the program left in its folder; None where there is none, or a link or a pipe in its place."""
        if self.scratch is None:
            return None
        path = self.scratch / name
        try:
            return path if stat.S_ISREG(path.lstat().st_mode) else None
        except OSError:
            return None


def _is_answer(header: Mapping[str, Any], arrays: Sequence[frames.Numbers]) -> bool:
    """Whether an answer is well-formed: the engine's code shares the worker's memory and may send anything."""

    def texts(entries: Any, count: int) -> bool:
        return isinstance(entries, list) and all(
            isinstance(entry, list) and len(entry) == count and all(isinstance(word, str) for word in entry)
            for entry in entries
        )

    plots = header.get("plots", [])
    if not isinstance(plots, list) or not all(
        isinstance(plot, dict) and isinstance(plot.get("name"), str) and texts(plot.get("vectors"), 2) for plot in plots
    ):
        return False
    numbers = (header.get(name) for name in ("code", "peak", "load_lines"))
    return (
        isinstance(header.get("status"), str)
        and texts(header.get("log", []), 2)
        and isinstance(header.get("folder", ""), str)
        and all(number is None or (isinstance(number, int) and not isinstance(number, bool)) for number in numbers)
        and sum(len(plot["vectors"]) for plot in plots) == len(arrays)
    )


class Worker:
    """One worker process, its two pipes and its folder: ``scratch``, which its engine may write in, and beside it one
    that it may only read, with copies of the compiled models and data files of its jobs.
    """

    def __init__(self, kind: Kind, *, environment: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self.folder = Path(tempfile.mkdtemp(prefix="cosim-"))
        self.scratch, self._read_only = self.folder / "scratch", self.folder / frames.READ_ONLY
        for folder in (self.scratch, self._read_only):
            folder.mkdir(mode=0o700)
        self._copies: dict[tuple[str, str], str] = {}
        self._copied = 0
        job_read, self._job_write = os.pipe()
        self._answer_read, answer_write = os.pipe()
        for handle in (self._job_write, self._answer_read):
            with contextlib.suppress(OSError, AttributeError):  # a whole answer at once; the usual 64 KiB also work
                fcntl.fcntl(handle, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        os.set_blocking(self._job_write, False)
        package = str(Path(__file__).resolve().parents[3])
        extra = {"PYTHONPATH": os.pathsep.join([package, *([p] if (p := os.environ.get("PYTHONPATH")) else [])])}
        argv = [
            sys.executable, "-B", "-P", "-m", "cosim.engines.worker.process", kind, "--read", str(job_read),
            "--write", str(answer_write), "--scratch", str(self.scratch),
        ]  # fmt: skip
        # Read back through this handle, not by a path: the engine may put a link into its scratch folder.
        self._log = os.open(self.folder / "worker.log", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, cwd=self.scratch,
                env=sandbox.environment(self.scratch, {**extra, **(environment or {})}),
                pass_fds=(job_read, answer_write), start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(job_read)
            os.close(answer_write)
        handles = (self._job_write, self._answer_read, self._log)
        self._close = weakref.finalize(self, _end, self._process, handles, self.folder)
        try:
            self.hello, _ = frames.receive(
                self._answer_read, deadline=time.monotonic() + _START_LIMIT, most=frames.MAX_ANSWER
            )
        except (frames.FrameClosed, frames.FrameTimeout):
            tail = self.tail()
            self.close()
            reason = tail.strip().splitlines()[-1] if tail.strip() else "no message"
            raise EngineMissing(
                f"the simulation worker does not start: {reason}",
                remedy="run 'cosim doctor', which says what is missing",
            ) from None
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process id, for tests that kill it."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def tail(self, size: int = 4000) -> str:
        """The end of what the process wrote beside its pipes."""
        with contextlib.suppress(OSError):
            start = max(0, os.fstat(self._log).st_size - size)
            return os.pread(self._log, size, start).decode("utf-8", "replace")
        return ""

    def ask(self, job: Mapping[str, Any], *, wall: float) -> tuple[dict[str, Any], list[frames.Numbers]]:
        """Send ``job`` and wait ``wall`` seconds for its answer. Raises `WorkerDied`, `frames.FrameTimeout`."""
        deadline = time.monotonic() + wall
        with self._handed_over(job) as readable:
            return self._exchange(readable, deadline)

    def _copy(self, source: str) -> str:
        """``source`` where the worker may read it, as it finds it from its working directory."""
        self._copied += 1
        target = self._read_only / f"{self._copied}-{Path(source).name}"
        # What was checked was neither a link nor a pipe; by now it might be.
        with os.fdopen(os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as given:
            if not stat.S_ISREG(os.fstat(given.fileno()).st_mode):
                raise OSError(errno.EINVAL, "is not a regular file", source)
            with target.open("xb") as copy:
                shutil.copyfileobj(given, copy, 1 << 20)
        return f"../{frames.READ_ONLY}/{target.name}"

    @contextlib.contextmanager
    def _handed_over(self, job: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """``job`` with copies in place of the files that a resident engine, being confined already, cannot open.

        Compiled models stay as long as the worker, which keeps them loaded; data files go with the job.
        """
        if self.kind != "library" or not (job.get("osdi") or job.get("reads")):
            yield job
            return
        for entry in job.get("osdi", ()):
            key = (entry["path"], entry["identity"])
            if key not in self._copies:
                self._copies[key] = self._copy(entry["path"])
        models = [{**entry, "file": self._copies[entry["path"], entry["identity"]]} for entry in job.get("osdi", ())]
        deck, copies = job["deck"], []
        try:
            for path in job.get("reads", ()):
                copies.append(self._copy(path))
                deck = deck.replace(f'"{path}"', f'"{copies[-1]}"')
            yield {**job, "osdi": models, "deck": deck}
        finally:
            for name in copies:
                (self.scratch / name).unlink(missing_ok=True)

    def _exchange(self, job: Mapping[str, Any], deadline: float) -> tuple[dict[str, Any], list[frames.Numbers]]:
        sent = False
        try:
            frames.send(self._job_write, job, deadline=deadline)
            sent = True
            # What an engine sends had room in its own memory.
            memory = job.get("memory", -1)
            limit = memory if memory >= 0 else frames.MAX_ARRAYS
            header, arrays = frames.receive(
                self._answer_read, deadline=deadline, limit=limit, most=frames.most_of_answer(limit)
            )
            if not _is_answer(header, arrays):
                raise frames.FrameClosed
            return header, arrays
        except frames.FrameClosed:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
            self.kill()  # one that still runs has sent a malformed frame
            raise WorkerDied(self._process.poll(), self.tail(), accepted=sent and self._took_all()) from None

    def _took_all(self) -> bool:
        """Whether nothing of the last job is left in its pipe: if the worker dies from then on, it is the job's fault.

        A message of the worker would say the same, and wake this process up in the middle of what it waits for.
        """
        try:
            left = fcntl.ioctl(self._job_write, termios.FIONREAD, bytes(4))
        except OSError:  # closed by another thread, which ends this worker for good
            return True
        return int.from_bytes(left, sys.byteorder) == 0

    def kill(self) -> None:
        """Kill the process group; a thread that waits for an answer learns of it from the pipe."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill the process group, close the pipes, remove the scratch folder. May be called again."""
        self._close()


def _end(process: subprocess.Popen[bytes], handles: tuple[int, ...], folder: Path) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for handle in handles:
        os.close(handle)
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)


class Pool:
    """Up to ``size`` workers of one kind, started when first needed."""

    def __init__(self, kind: Kind, *, size: int = 1, environment: Mapping[str, str] | None = None) -> None:
        if size < 1:
            raise ValueError(f"a pool needs at least one worker, not {size}")
        self.kind: Kind = kind
        self._environment = environment
        self._free = threading.Semaphore(size)
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        self._closed = False

    def _take(self) -> Worker:
        while True:
            with self._lock:
                if self._closed:
                    raise RuntimeError("this simulator is closed")
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                return self._start()
            if worker.alive:
                return worker
            self._drop(worker)

    def _start(self) -> Worker:
        worker = Worker(self.kind, environment=self._environment)
        with self._lock:
            self._all.add(worker)
        return worker

    def _drop(self, worker: Worker) -> None:
        with self._lock:
            self._all.discard(worker)
        worker.close()

    def _give(self, worker: Worker) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(worker)
                return
        self._drop(worker)

    def hello(self) -> Mapping[str, Any]:
        """What a worker said when it was ready: version, confinement. Raises `EngineMissing`."""
        with self._free:
            worker = self._take()
            self._give(worker)
            return worker.hello

    def pids(self) -> list[int]:
        """The process ids of all workers that run."""
        with self._lock:
            return [worker.pid for worker in self._all]

    @contextlib.contextmanager
    def run(self, job: Mapping[str, Any], *, wall: float) -> Iterator[Answer]:
        """Run ``job`` on a worker that stays reserved, with its scratch folder, until the block ends; gives an
        `Answer`.

        Raises `EngineMissing` where no worker can be started; whatever happens to the job is in the answer.
        """
        with self._free:
            worker = self._take()
            healthy = False
            try:
                started = time.monotonic()
                answer = self._ask(worker, job, wall)
                if answer.status in ("stale", "unaccepted"):
                    # It holds another compiled model of the same name, or died while it was idle: a fresh one takes
                    # the job.
                    self._drop(worker)
                    worker = self._start()
                    started = time.monotonic()
                    answer = self._ask(worker, job, wall)
                healthy = answer.status == "done" and not job.get("last", False)
                wall_taken = time.monotonic() - started
                folder = worker.scratch
                if self.kind == "command" and "folder" in answer.header:  # reported by our code, not by an engine
                    folder = folder / Path(answer.header["folder"]).name
                yield Answer(answer.status, answer.header, answer.arrays, wall_taken, answer.code, folder)
            except BaseException:
                healthy = False
                raise
            finally:
                if healthy:
                    self._give(worker)
                else:
                    self._drop(worker)

    @staticmethod
    def _ask(worker: Worker, job: Mapping[str, Any], wall: float) -> Answer:
        try:
            header, arrays = worker.ask(job, wall=wall)
        except OSError as error:
            return Answer("failed", {"log": [["stderr", f"cannot hand over {error.filename}: {error.strerror}"]]})
        except frames.FrameTimeout:
            return Answer("timeout", {"log": [["stderr", line] for line in worker.tail().splitlines()]})
        except WorkerDied as event:
            status = "died" if event.accepted else "unaccepted"
            return Answer(status, {"log": [["stderr", line] for line in event.tail.splitlines()]}, code=event.code)
        return Answer(str(header.get("status")), header, tuple(arrays), code=header.get("code"))

    def close(self) -> None:
        """End all workers, the busy ones too."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = self._all.difference(idle)
        for worker in busy:
            worker.kill()  # its own thread drops it: closing its pipes here could hand their numbers to another file
        for worker in idle:
            self._drop(worker)
