"""What a campaign costs beside its simulations, measured here; the model of it held against real campaigns; and what
it says of a million cases on a thousand cores.

Costs of processes are their processor times (what a busy machine does not change), taken from campaigns of blank cases,
which cost a worker nothing: long and short batches tell what a batch costs from what a row costs. The time of a real
case is what workers report, with as many of them at work as in the campaign that is forecast.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np

from cosim.campaign.campaign import Campaign
from cosim.campaign.cases import Done
from cosim.campaign.cluster import Dask
from cosim.campaign.executors import Executor, Processes
from cosim.campaign.finished import Finished
from cosim.campaign.forecast import Costs, Forecast, Sizes, Work, curve, fixed_sizes, simulate
from cosim.campaign.run import batch_size
from cosim.campaign.store import Store
from cosim.campaign.work import Plain, Rows, run_batch
from cosim.claims.base import Claim, Figures, Report

CASES, CORES = 1_000_000, 1000
TIMES = (0.02, 1.0, 60.0)  # s a case
_PLAN = """
bench = "1t1r_write"
[sample]
samples = {cases}
seed = 1
variables.devices.memristor.theta_p = {{ relative = "20 %" }}
variables.devices.memristor.theta_n = {{ relative = "20 %" }}
"""
_REAL, _ROUNDS = 400, 4
_SHORT, _LONG = 400, 30_000  # blank cases in batches of one, and of hundreds
OLD_SIZES = fixed_sizes(0.25, 256)


def blank_batch(job: Mapping[str, Any], cases: Sequence[Plain]) -> Rows:
    """What `run_batch` gives, without running anything: every case has the row that the job brings."""
    template = job["row"]
    return [(number, *template) for number in cases], job["seconds"] * len(cases)


class Metered:
    """An executor that counts batches and the seconds that workers report; of blank cases where it has a row for them.

    ``seconds`` is what a blank case says that it took, by which the campaign sizes its batches.
    """

    def __init__(self, inner: Executor, *, row: Finished | None = None, seconds: float = 0.0) -> None:
        self.inner, self.lost = inner, inner.lost
        self._blank = {} if row is None else {"row": list(row[1:]), "seconds": seconds}
        self.batches, self.cases, self.seconds = 0, 0, 0.0
        self.each: list[float] = []

    @property
    def workers(self) -> int:
        """Of the executor itself."""
        return self.inner.workers

    @property
    def awake(self) -> bool:
        """Of the executor itself."""
        return self.inner.awake

    @property
    def note(self) -> str:
        """Of the executor itself."""
        return self.inner.note

    def submit(
        self, function: Callable[[Mapping[str, Any], Sequence[Plain]], Any], job: Mapping[str, Any],
        cases: Sequence[Plain], *, alone: bool = False,
    ) -> Future[Any]:  # fmt: skip
        """As the executor's own."""
        self.batches += 1
        if self._blank:
            return self.inner.submit(blank_batch, self._blank, cases, alone=alone)
        future = self.inner.submit(function, job, cases, alone=alone)
        future.add_done_callback(self._count)
        return future

    def _count(self, future: Future[Any]) -> None:
        if not future.cancelled() and future.exception() is None:
            rows, seconds = future.result()
            self.cases += len(rows)
            self.seconds += seconds
            self.each += [row[4] for row in rows if row[4] is not None]

    def mend(self) -> None:
        """As the executor's own."""
        self.inner.mend()

    def close(self, *, now: bool = False) -> None:
        """Left to who made the executor."""


@contextlib.contextmanager
def processes(workers: int) -> Iterator[tuple[Executor, Callable[[], list[int]], int | None]]:
    """Processes of this machine: the executor, its processes, no scheduler."""
    executor = Processes(workers)
    try:
        yield executor, executor.pids, None
    finally:
        executor.close()


@contextlib.contextmanager
def loopback(workers: int) -> Iterator[tuple[Executor, Callable[[], list[int]], int | None]]:
    """A scheduler and workers of dask on this machine: the executor, the workers' processes, the scheduler's."""
    with tempfile.TemporaryDirectory(prefix="cosim-") as name, contextlib.ExitStack() as stack:
        file = Path(name) / "scheduler.json"

        def start(kind: str, *arguments: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments, "--no-dashboard"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=name,
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        scheduler = start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        end = time.monotonic() + 60.0
        while not file.exists() or not file.read_text().strip():
            if time.monotonic() > end:
                raise RuntimeError("dask's scheduler does not start")
            time.sleep(0.05)
        address = str(json.loads(file.read_text())["address"])
        own = [start("worker", address, "--no-nanny", "--nthreads", "1", "--local-directory", name)
               for _ in range(workers)]  # fmt: skip
        executor = Dask(address, answer=30.0)
        stack.callback(executor.close)
        while executor.workers < workers or executor.note:
            if time.monotonic() > end:
                raise RuntimeError("dask's workers do not start")
            time.sleep(0.1)
        yield executor, lambda: [process.pid for process in own], scheduler.pid


def _cpu(pids: Sequence[int]) -> float:
    """Processor seconds that processes have used."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _run(plan: str, cases: int, executor: Executor) -> float:
    """Seconds of a campaign, from its first batch to its last row."""
    with tempfile.TemporaryDirectory(prefix="cosim-") as name:
        # The same folder for every plan: to a worker that has its bench it is the same job.
        (Path(name) / "plan.toml").write_text(plan)
        with Campaign.begin(Path(name) / "plan.toml", Path(name) / "out") as campaign:
            campaign.job = replace(campaign.job, folder=tempfile.gettempdir())
            began = time.perf_counter()
            assert campaign.run(executor)
            seconds = time.perf_counter() - began
            assert len(campaign.store) == cases
    return seconds


def _direct(executor: Executor) -> tuple[Finished, dict[str, float]]:
    """A row as it comes back, and what is measured without a campaign: finding a case, taking in a row, committing."""
    with tempfile.TemporaryDirectory(prefix="cosim-") as name:
        (Path(name) / "plan.toml").write_text(_PLAN.format(cases=10_000))
        with Campaign.begin(Path(name) / "plan.toml", Path(name) / "out") as campaign:
            (entry,), _ = executor.submit(run_batch, campaign.job.plain(), [0]).result()
            row, points = Finished(*entry), campaign.points()
            find = _each(lambda k: points[k].plain(), 2000)
        rows = [(k, *row[1:]) for k in range(1000)]
        # what an executor's queue does to them on their way between two processes
        texts, dicts = (ForkingPickler.dumps(sent) for sent in (rows, [(row.row, None) for _ in rows]))
        unpack = _each(lambda _: [Finished(*entry) for entry in ForkingPickler.loads(texts)], 20) / len(rows)
        unpack_old = _each(lambda _: ForkingPickler.loads(dicts), 20) / len(rows)
        write_old = _each(lambda _: Finished.of(Done(row.row)), 1000) - _each(lambda _: row.row, 1000)
        store = Store.create(Path(name) / "store", plan="", meta={})
        count = itertools.count()

        def add(size: int) -> float:
            new = [Finished(next(count), *row[1:]) for _ in range(size)]
            began = time.perf_counter()
            store.add(new)
            return time.perf_counter() - began

        one, many = (statistics.median(add(size) for _ in range(40)) for size in (1, 1000))
        store.close()
        size = (Path(name) / "store" / "results.sqlite").stat().st_size / next(count)
    insert = (many - one) / 999
    return row, {
        "find_before": find, "unpack": unpack, "unpack_before": unpack_old, "write_before": write_old,
        "insert": insert, "commit": one - insert, "row_bytes": size,
    }  # fmt: skip


def _each(function: Callable[[int], Any], times: int) -> float:
    """Processor seconds of a call."""
    began = time.thread_time()
    for k in range(times):
        function(k)
    return (time.thread_time() - began) / times


def measure_costs(
    executor: Executor, pids: Callable[[], list[int]], scheduler: int | None
) -> tuple[Costs, dict[str, float]]:
    """The costs of an executor on this machine, and of them what `_direct` finds, for comparison."""
    row, direct = _direct(executor)
    parts = []
    _run(_PLAN.format(cases=_SHORT), _SHORT, Metered(executor, row=row, seconds=1.0))  # every process is there then
    for cases, seconds in ((_SHORT, 1.0), (_LONG, 1e-3)):  # of a second each: every batch has one
        metered = Metered(executor, row=row, seconds=seconds)
        before = time.process_time(), _cpu([scheduler] if scheduler else []), _cpu(pids())
        _run(_PLAN.format(cases=cases), cases, metered)
        after = time.process_time(), _cpu([scheduler] if scheduler else []), _cpu(pids())
        parts.append((metered.batches, cases, *(b - a for a, b in zip(before, after, strict=True))))
    (*first, a, b, c), (*second, d, e, f) = parts
    matrix, short, long = np.array([first, second], float), (a, b, c), (d, e, f)
    (parent, per_row), (schedule, _), (worker, _) = (
        np.maximum(np.linalg.solve(matrix, pair), 0.0) for pair in zip(short, long, strict=True)
    )
    costs = Costs(
        find=0.0, row=float(per_row), send=0.5 * float(parent), receive=0.5 * float(parent), commit=direct["commit"],
        schedule=float(schedule), overhead=float(worker), row_bytes=direct["row_bytes"],
    )  # fmt: skip
    return costs, direct


def held(costs: Costs, executor: Executor, *, tell: Report, name: str) -> dict[str, float]:
    """Real campaigns beside their forecasts: each forecast with the time of a case in the other campaigns."""
    walls: list[float] = []
    per_case: list[float] = []
    spreads: list[float] = []
    for k in range(_ROUNDS + 1):
        tell(f"{name}: campaign {k + 1} of {_ROUNDS + 1}")
        metered = Metered(executor)
        seconds = _run(_PLAN.format(cases=_REAL), _REAL, metered)
        if k:  # the first starts engines
            walls.append(seconds)
            per_case.append(metered.seconds / metered.cases)
            spreads.append(float(np.std(np.log(metered.each))))
    ratios, rng = [], np.random.default_rng(1)
    for k, wall in enumerate(walls):
        others = [value for j, value in enumerate(per_case) if j != k]
        work = Work(_REAL, statistics.mean(others), spread=min(1.0, statistics.median(spreads)))
        ratios.append(simulate(costs, work, cores=executor.workers, rng=rng).wall / wall)
    return {
        f"{name}_measured_s": statistics.median(walls), f"{name}_case_ms": 1e3 * statistics.mean(per_case),
        f"{name}_predicted_over_measured": statistics.median(ratios),
    }  # fmt: skip


def before(costs: Costs, direct: Mapping[str, float]) -> Costs:
    """The costs of a parent that finds every case itself and takes rows apart."""
    more = direct["unpack_before"] + direct["write_before"] - direct["unpack"]
    return replace(costs, find=direct["find_before"], row=costs.row + more)


def at_scale(
    costs: Costs, *, cores: tuple[int, ...] = (CORES,), sizes: Sizes = batch_size
) -> dict[float, list[Forecast]]:
    """`CASES` on each number of ``cores`` for each of `TIMES`; long campaigns in part, whose rest is like it."""
    return {
        seconds: curve(
            costs, seconds, cores=cores, cases=CASES, rng=np.random.default_rng(1), sizes=sizes,
            per_core=1000 if seconds <= 1.0 else 100,
        )
        for seconds in TIMES
    }  # fmt: skip


def measure(tell: Report) -> Figures:
    """All figures."""
    figures: Figures = {}
    for kind, start in (("processes", processes), ("dask", loopback)):
        for workers in (1, 2):
            tell(f"{kind}: {workers}")
            with start(workers) as (executor, pids, scheduler):
                costs, direct = measure_costs(executor, pids, scheduler)
                figures |= held(costs, executor, tell=tell, name=f"{kind}_{workers}")
        figures |= {f"{kind}_{name}_us": 1e6 * value for name, value in vars(costs).items() if name != "row_bytes"}
    figures |= {f"{name}_us": 1e6 * value for name, value in direct.items() if name != "row_bytes"}
    figures["bytes_per_row"] = costs.row_bytes
    tell(f"{CASES} cases on {CORES} cores")
    old = at_scale(before(costs, direct), sizes=OLD_SIZES)
    for seconds, (now,) in at_scale(costs).items():
        name, (then,) = f"{seconds:g}s", old[seconds]
        figures |= {
            f"{name}_efficiency": now.efficiency, f"{name}_wall_s": now.wall, f"{name}_parent": now.parent,
            f"{name}_scheduler": now.scheduler, f"{name}_bottleneck": now.bottleneck,
            f"{name}_efficiency_before": then.efficiency, f"{name}_bottleneck_before": then.bottleneck,
        }  # fmt: skip
    return figures


SCALE = Claim(
    "scale",
    "a model of campaigns whose costs are measured here forecasts real ones on one and two workers within 25 %, and "
    "says what a million cases on a thousand cores take, and what limits them",
    measure,
    {
        **{f"{kind}_{n}_predicted_over_measured": (0.75, 1.25) for kind in ("processes", "dask") for n in (1, 2)},
        "1s_efficiency": (0.9, None),
        "60s_efficiency": (0.95, None),
    },
)
