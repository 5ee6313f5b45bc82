"""Batches on a cluster that dask manages: one whose scheduler runs already, or one that a batch system is asked for.

``connect("tcp://node7:8786")`` uses a scheduler with whatever workers it has from one moment to the next.
``connect("cluster.yaml")`` starts a scheduler here and asks SLURM (or another batch system that dask-jobqueue knows)
for jobs that hold workers; the file has the form of dask's own configuration::

    jobs: 20                    # how many
    jobqueue:
      slurm:
        cores: 16               # of a job; one worker process each, unless `processes` says otherwise
        memory: 32GB
        walltime: "04:00:00"

Needs the extra ``cluster``. The scheduler repeats what was on a worker that died; a batch that ended several workers
comes back as lost. Plan, bench and the files that it includes are read by the workers under the same paths.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from cosim.campaign import work
from cosim.campaign.work import Plain
from cosim.errors import EngineMissing, InputError, MissingFile, UnknownName, Where
from cosim.packages import optional

T = TypeVar("T")

SCHEMES = ("tcp", "tls", "ucx", "ws", "wss", "inproc")
KINDS = {
    "slurm": "SLURMCluster", "pbs": "PBSCluster", "sge": "SGECluster", "lsf": "LSFCluster", "oar": "OARCluster",
    "moab": "MoabCluster", "htcondor": "HTCondorCluster",
}  # fmt: skip
_ANSWER = 10.0  # s, for a scheduler to answer
_HEAD, _MOST_PARTS = 8, 10_000  # bytes; parts of a first message, which are a handful
_RECOUNT = 1.0  # s, between two looks at how many workers there are
_SILENT = 5.0  # s without a worker before the user gets a note


def connect(scheduler: str) -> Dask:
    """What ``--scheduler`` names: an address, or a dask-jobqueue file (``.yaml``, ``.yml``, ``.toml``).

    Raises `InputError`, `MissingFile` for what it names; `EngineMissing` where dask is not installed.
    """
    _package("distributed")
    for name in ("distributed", "distributed.client"):  # this module reports what goes wrong, once
        for handler in logging.getLogger(name).handlers:
            handler.setLevel(logging.CRITICAL)
    scheme, separator, _ = scheduler.partition("://")
    if separator and scheme in SCHEMES:
        return Dask(scheduler)
    if Path(scheduler).suffix.lower() in (".yaml", ".yml", ".toml"):
        make, jobs = read_cluster(scheduler)
        cluster = make()
        cluster.scale(jobs=jobs)
        return Dask(cluster)
    raise InputError(
        f"{scheduler!r} is neither the address of a scheduler nor a dask-jobqueue file",
        remedy="give tcp://HOST:PORT, or a file .yaml or .toml",
    )


class Dask:
    """A dask cluster as an executor. ``workers`` are the threads of all its workers, and change as they come and go.

    Args:
        cluster: address of a scheduler, or a cluster object of dask, which is closed with this one.
        answer: seconds within which the scheduler has to answer.

    Raises `InputError` where it does not, `EngineMissing` without dask.
    """

    def __init__(self, cluster: Any, *, answer: float = _ANSWER) -> None:
        distributed = _package("distributed")
        self.lost: tuple[type[BaseException], ...] = (distributed.KilledWorker,)
        self.address = cluster if isinstance(cluster, str) else str(cluster.scheduler_address)
        self._cluster = None if isinstance(cluster, str) else cluster
        try:
            if isinstance(cluster, str):
                _require_dask(cluster, answer)
            self.client = distributed.Client(cluster, timeout=answer, set_as_default=False)
        except InputError:
            raise
        except (OSError, TimeoutError, ValueError) as error:
            why = "does not answer" if isinstance(error, OSError | TimeoutError) else f"is not an address: {error}"
            raise InputError(
                f"the scheduler at {self.address} {why}",
                remedy="start it (dask scheduler), check host, port and firewall, or run here with --workers",
            ) from None
        self._name, self._count = f"cosim-{uuid4().hex}", count()
        self._failure: EngineMissing | None = None
        self._threads: int = sum(self.client.nthreads().values())
        self._seen = time.monotonic()
        self._watch = _package("tornado.ioloop").PeriodicCallback(self._recount, 1e3 * _RECOUNT)
        self.client.loop.add_callback(self._watch.start)

    async def _recount(self) -> None:
        """On the client's loop, so nothing waits for a busy scheduler."""
        try:
            self._threads = sum((await self.client.nthreads()).values())
        except (OSError, TimeoutError, CancelledError):
            self._failure = self._gone()
        if self._threads:
            self._seen = time.monotonic()

    @property
    def workers(self) -> int:
        """Threads of all workers; 1 without any, so that one batch waits for the first.

        Raises `EngineMissing` where the scheduler is gone.
        """
        if self._failure is not None:
            raise self._failure
        return max(1, self._threads)

    @property
    def awake(self) -> bool:
        """Whether there is a worker that something could run on."""
        return self._threads > 0

    @property
    def note(self) -> str:
        """A note that no worker is connected, once none was for a while."""
        waited = time.monotonic() - self._seen
        if self._threads or waited < _SILENT:
            return ""
        return (
            f"no worker has been connected to {self.address} for {waited:.0f} s: start one (dask worker {self.address})"
        )

    def _gone(self) -> EngineMissing:
        return EngineMissing(
            f"the scheduler at {self.address} is gone",
            remedy="what was committed is kept: start the scheduler again, then cosim campaign resume",
        )

    def submit(
        self, function: Callable[[Mapping[str, Any], Sequence[Plain]], T], job: Mapping[str, Any],
        cases: Sequence[Plain], *, alone: bool = False,
    ) -> Future[T]:  # fmt: skip
        """A future for ``function(job, cases)`` on some worker. Errors are raised by the future."""
        del alone  # the scheduler counts the deaths of each task by itself
        # A unique name for every task: dask would give the same task the same answer, and waits and counts by it.
        task = self.client.submit(function, dict(job), list(cases), key=f"{self._name}-{next(self._count)}", pure=False)
        future: Future[T] = Future()

        async def fetch() -> None:
            try:
                found = await self.client.gather(task, asynchronous=True)
            except CancelledError:  # dask's own way to say that the scheduler is lost
                self._failure = self._gone()
                _settle(future, error=self._failure)
            except ImportError as error:
                _settle(future, error=InputError(
                    f"a worker of {self.address} cannot load cosim: {error}",
                    remedy="install the same version of cosim on every worker",
                ))  # fmt: skip
            except Exception as error:
                _settle(future, error=error)
            else:
                _settle(future, found=found)
            finally:
                task.release()

        def cancelled(done: Future[T]) -> None:
            if done.cancelled():
                task.cancel()

        future.add_done_callback(cancelled)
        self.client.loop.add_callback(fetch)
        return future

    def mend(self) -> None:
        """Workers that died are replaced by whoever started them."""

    def close(self, *, now: bool = False) -> None:
        """Leave the cluster, whose workers end their idle simulators; end one that was started here."""
        try:
            if not now and self._threads and self._failure is None:
                self.client.run(work.rest, on_error="ignore", wait=True)
        except (OSError, TimeoutError, CancelledError):
            pass  # the scheduler ended first
        finally:
            self.client.loop.add_callback(self._watch.stop)
            self.client.close(timeout=_ANSWER)
            if self._cluster is not None:
                self._cluster.close()


def _require_dask(address: str, answer: float) -> None:
    """Raises `InputError` where something other than a dask scheduler answers: dask's client would take the first
    bytes of any answer for a length. A scheduler speaks first, with the number of parts of its message in eight bytes.
    """
    parts = urlsplit(address)
    if parts.scheme != "tcp" or not parts.hostname or not parts.port:
        return
    head = b""
    with socket.create_connection((parts.hostname, parts.port), timeout=answer) as line:
        while len(head) < _HEAD and (more := line.recv(_HEAD - len(head))):
            head += more
    if len(head) < _HEAD or int.from_bytes(head, "little") > _MOST_PARTS:
        raise InputError(
            f"the server at {address} is not a dask scheduler",
            remedy="give the port of the scheduler (usually 8786), not that of its web page (8787)",
        )


def _settle(future: Future[T], *, found: Any = None, error: BaseException | None = None) -> None:
    """Set a future that may have been cancelled meanwhile."""
    if not future.set_running_or_notify_cancel():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(found)


def _package(name: str) -> Any:
    return optional(name, extra="cluster", needed_by="a cluster")


def read_cluster(path: str | Path) -> tuple[Callable[[], Any], int]:
    """What makes the cluster that a dask-jobqueue file describes, and how many jobs it is to ask for.

    Raises `MissingFile`, `InputError` with the file, `UnknownName` for unknown kinds and settings.
    """
    file = Path(path)
    content = _read(file)
    where = Where(file)
    for name in content:
        if name not in ("jobs", "jobqueue"):
            raise UnknownName("entry", str(name), ("jobs", "jobqueue"), where=where)
    jobs, section = content.get("jobs", 1), content.get("jobqueue")
    if not isinstance(jobs, int) or isinstance(jobs, bool) or jobs < 1:
        raise InputError(f"jobs = {jobs!r} is not a number of jobs", where=where, remedy="give 1 or more")
    if not isinstance(section, dict) or len(section) != 1:
        raise InputError(
            "names no batch system, or several", where=where, remedy="write one, e.g. jobqueue: slurm: ..."
        )
    kind, given = next(iter(section.items()))
    if kind not in KINDS:
        raise UnknownName("batch system", str(kind), KINDS, where=where)
    if not isinstance(given, dict):
        raise InputError(f"jobqueue.{kind} has no settings", where=where, remedy="write cores, memory and walltime")
    package = _package("dask_jobqueue")
    known = _package("dask").config.get(f"jobqueue.{kind}")
    known = {str(name).replace("-", "_") for name in known} | {"cores", "memory", "nanny", "protocol"}
    settings = {str(name).replace("-", "_"): value for name, value in given.items()}
    for name in settings:
        if name not in known:
            raise UnknownName(f"setting of jobqueue.{kind}", name, known, where=where)
    for name in ("cores", "memory"):
        if settings.get(name) is None:
            raise InputError(f"jobqueue.{kind} does not say {name}", where=where, remedy="write it")
    # Threads of one Python process take turns; a case is a third Python, so every core gets its own process.
    settings.setdefault("processes", settings["cores"])
    # The scheduler's web page is not open to the network unless it is asked for; what dask answers there even so
    # is for this machine only, at any port: 8787 may be another scheduler's.
    options = {"dashboard": False, **(settings.get("scheduler_options") or {})}
    if not options["dashboard"]:
        options.setdefault("dashboard_address", "127.0.0.1:0")
    settings["scheduler_options"] = options

    def make() -> Any:
        try:
            return getattr(package, KINDS[kind])(**settings)
        except (TypeError, ValueError) as error:
            raise InputError(f"jobqueue.{kind}: {error}", where=where, remedy="correct the file") from None

    return make, jobs


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise MissingFile(f"cannot read {file}: {error.strerror}", remedy="name a dask-jobqueue file") from None
    except UnicodeDecodeError:
        raise InputError("is not text", where=Where(file), remedy="write it in UTF-8") from None
    if file.suffix.lower() == ".toml":
        import tomllib

        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"is not TOML: {error}", where=Where(file), remedy="correct it") from None
    yaml = _package("yaml")
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        said = getattr(error, "problem", None) or str(error)
        raise InputError(f"is not YAML: {said}", where=Where(file, line), remedy="correct it") from None
    if not isinstance(found, dict):
        raise InputError("does not contain any settings", where=Where(file), remedy="write jobqueue: slurm: ...")
    return found
