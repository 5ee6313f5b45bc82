"""What runs where the cases run: a batch of them in, their rows out. Plain data both ways.

A process keeps the bench and its simulator from one batch to the next. A worker that finds another bench or another
engine than the campaign began with says so instead of mixing rows that do not belong together.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cosim.campaign.cases import Case, Done, Subject, evaluate
from cosim.campaign.plan import Plan, load_bench
from cosim.errors import InputError
from cosim.spice.engines import open_simulator
from cosim.spice.simulator import Limits, Simulator

Rows = tuple[list[tuple[dict[str, Any], bytes | None]], float]


@dataclass(frozen=True)
class Job:
    """What all cases of a campaign have in common, for a process that may be on another machine.

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


_lock = threading.Lock()
_open: dict[str, tuple[Subject, Simulator, Limits, bool]] = {}


def _ready(plain: Mapping[str, Any]) -> tuple[Subject, Simulator, Limits, bool]:
    name = json.dumps(plain, sort_keys=True)
    with _lock:
        if name not in _open:
            close()
            job = Job(**{**plain, "allow": tuple(plain["allow"])})
            plan = Plan.model_validate_json(job.plan)
            simulator = open_simulator(plan.engine)
            subject = Subject(
                load_bench(plan, Path(job.folder), allow=tuple(map(Path, job.allow))), simulator.version()
            )
            if subject.engine != job.engine:
                simulator.close()
                raise InputError(
                    f"a worker has {subject.engine}, the campaign began with {job.engine}",
                    remedy="give all workers the same engine",
                )
            if subject.digest() != job.digest:
                simulator.close()
                raise InputError(
                    f"bench {plan.bench}, or a file that it includes, is not what the campaign began with",
                    remedy="undo the change, or begin a new campaign",
                )
            _open[name] = subject, simulator, plan.limits.value(), plan.keep == "waveforms"
        return _open[name]


def run_batch(job: Mapping[str, Any], cases: Sequence[list[Any]]) -> Rows:
    """Rows and waveforms of cases, and the seconds that the batch took.

    Raises `InputError` where this worker's bench or engine differs from the campaign's.
    """
    began = time.perf_counter()
    subject, simulator, limits, keep = _ready(job)
    found = []
    for plain in cases:
        done: Done = evaluate(subject, Case.of(plain), simulator, limits=limits, keep=keep)
        found.append((dict(done.row), done.waveforms))
    return found, time.perf_counter() - began


def close() -> None:
    """End the simulators of this process."""
    while _open:
        _, (_, simulator, _, _) = _open.popitem()
        with contextlib.suppress(OSError):
            simulator.close()


atexit.register(close)
