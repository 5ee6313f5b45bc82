"""The workers' side: a batch of cases in, their rows out. Plain data both ways.

A process keeps a bench and its simulator from one batch to the next, for all of its threads: the simulator starts as
many engine processes as threads ask at once. A worker whose bench or engine differs from what the campaign
began with reports that, and no rows that do not belong together.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cosim.campaign.cases import Case, Done, PreparedBench, evaluate
from cosim.campaign.finished import Finished
from cosim.campaign.plan import Plan, load_bench
from cosim.campaign.points import Points
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Limits, Outcome, Simulator
from cosim.errors import CosimError, EngineMissing, InputError, MissingFile

Plain = list[Any] | int  # a case as JSON, or its number in the plan
Rows = tuple[list[tuple[Any, ...]], float]
Keys = tuple[list[str | None], float]

_JOBS = 2  # that a process keeps ready: enough for two campaigns that share a cluster
_MOST_THREADS = 256


@dataclass(frozen=True)
class Job:
    """What all cases of a campaign share, for a process that may be on another machine.

    ``plan`` is the plan as JSON; paths in it count from ``folder``, and are the same on every machine.
    """

    plan: str
    folder: str
    engine: str
    digest: str
    allow: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass
class _Ready:
    """A job that this process can run cases of; ``users`` batches do at the moment."""

    plan: Plan
    subject: PreparedBench
    simulator: Simulator
    limits: Limits
    keep: bool
    users: int = 0

    @cached_property
    def points(self) -> Points:
        return Points(self.plan, self.subject.bench)

    def case(self, plain: Plain) -> Case:
        return self.points[plain] if isinstance(plain, int) else Case.of(plain)

    def run(self, plain: Plain) -> Done:
        """A case; repeated, as often as the plan says, while its engine dies: it may have been killed from outside."""
        case, tries = self.case(plain), self.plan.attempts
        while True:
            tries -= 1
            try:
                done = evaluate(self.subject, case, self.simulator, limits=self.limits, keep=self.keep)
            except EngineMissing:  # one that died while it started
                if tries > 0:
                    continue
                raise
            if tries <= 0 or Outcome.CRASHED.value not in (done.row["outcome"], done.row.get("repeated")):
                return done

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.simulator.close()


_lock = threading.Lock()
_open: dict[str, _Ready] = {}  # the latest one last


def _begin(plain: Mapping[str, Any]) -> _Ready:
    job = Job(**{**plain, "allow": tuple(plain["allow"])})
    plan = Plan.model_validate_json(job.plan)
    simulator = open_simulator(plan.engine, _MOST_THREADS)
    try:
        bench = load_bench(plan, Path(job.folder), allow=tuple(map(Path, job.allow)))
        try:
            engine = simulator.version()
        except EngineMissing:  # it may have been killed while it started; what is missing stays missing
            engine = simulator.version()
        subject = PreparedBench(bench, engine, simulator=plan.engine)
        if subject.engine != job.engine:
            raise InputError(
                f"a worker has {subject.engine}, the campaign began with {job.engine}",
                remedy="give all workers the same engine",
            )
        if subject.digest() != job.digest:
            raise InputError(
                f"bench {plan.bench}, a file that it includes, the build of its engine or that one's start-up file, or "
                "cosim itself, is not what the campaign began with",
                remedy="undo the change, or begin a new campaign",
            )
    except BaseException:
        simulator.close()
        raise
    return _Ready(plan, subject, simulator, plan.limits.value(), plan.keep == "waveforms")


@contextlib.contextmanager
def _ready(plain: Mapping[str, Any]) -> Iterator[_Ready]:
    """The job's bench and simulator, made once in a process. Safe from several threads."""
    name = json.dumps(plain, sort_keys=True)
    with _lock:
        found = _open.pop(name, None) or _begin(plain)
        _open[name] = found
        found.users += 1
        _forget(_JOBS)
    try:
        yield found
    finally:
        with _lock:
            found.users -= 1


def _forget(kept: int) -> None:
    for name in [name for name, entry in _open.items() if not entry.users][: max(0, len(_open) - kept)]:
        _open.pop(name).close()


@contextlib.contextmanager
def _portable() -> Iterator[None]:
    """Errors that can be sent to another process: those with more than a message cannot."""
    try:
        yield
    except (EngineMissing, MissingFile):
        raise
    except CosimError as error:
        raise InputError(error.message, where=error.where, remedy=error.remedy or str(error)) from None


def run_batch(job: Mapping[str, Any], cases: Sequence[Plain]) -> Rows:
    """The cases as `Finished` (plain tuples), and the seconds that the batch took.

    Raises `InputError` where this worker's bench or engine differs from the campaign's.
    """
    began = time.perf_counter()
    with _portable(), _ready(job) as ready:
        found = [tuple(Finished.of(ready.run(plain))) for plain in cases]
    return found, time.perf_counter() - began


def key_batch(job: Mapping[str, Any], cases: Sequence[Plain]) -> Keys:
    """The keys of cases, None for one that cannot run, and the seconds that they took. Raises as `run_batch`."""
    began = time.perf_counter()
    found: list[str | None] = []
    with _portable(), _ready(job) as ready:
        for plain in cases:
            try:
                found.append(ready.subject.key(ready.case(plain)))
            except InputError:  # its row will say so
                found.append(None)
    return found, time.perf_counter() - began


def rest() -> None:
    """End the idle simulators; the next batch starts one again."""
    with _lock:
        _forget(0)


def close() -> None:
    """End the simulators of this process."""
    with _lock:
        while _open:
            _open.popitem()[1].close()


atexit.register(close)
