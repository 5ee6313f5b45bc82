"""What a campaign costs beside its simulations, how it scales to two processes, and whether it forgets or grows.

- *Decks*: 3870 cases of the 1T1R bench from numbers to decks that are read, checked and flattened.
- *Bookkeeping*: a campaign of 1T1R transients of some 20 ms in one process. Its wall time is that of the simulations
  (deck writing excluded) and a rest: applying values, deck writing, keys, measures, verdicts, rows and their commits.
  ``bookkeeping`` is deck writing, keys, rows and commits over the whole; ``beside_the_simulator`` is all of the rest.
- *Two processes* against one, in interleaved pairs, beside what the machine gives two processes without a simulator.
- *Memory* of the parent from case 100 to case 10 000 of a Monte Carlo run, and its yield.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from claims.base import Claim, Figures, Report
from claims.overhead import machine_gives
from claims.raw_speed import raw_reading
from cosim.campaign.campaign import Campaign
from cosim.campaign.cases import PreparedBench
from cosim.campaign.executors import Executor, InProcess, Processes
from cosim.campaign.results import ALL, groups
from cosim.campaign.run import Progress
from cosim.engines.prepare import prepare
from cosim.engines.registry import open_simulator

DECKS = 3870
_PULSES = 26  # of the random-pulse bench: some 20 ms of simulation
_CASES, _PAIR_CASES, _PAIRS = 150, 48, 5
_FROM, _TO = 100, 10_000

CELL = f"""
title = "1T1R transients"
bench = "1t1r_random_pulses"
[grid]
stimuli.bl.count = [{_PULSES}]
[sample]
samples = {{samples}}
seed = {{seed}}
variables.devices.memristor.theta_p = {{{{ relative = "5 %" }}}}
variables.devices.memristor.theta_n = {{{{ relative = "5 %" }}}}
"""
SPREAD = f"""
title = "Cells with 20 % threshold deviation"
bench = "1t1r_write"
[sample]
samples = {_TO}
seed = 1
variables.devices.memristor.theta_p = {{ relative = "20 %" }}
variables.devices.memristor.theta_n = {{ relative = "20 %" }}
"""


def _plan(folder: Path, text: str) -> Path:
    path = folder / "plan.toml"
    path.write_text(text)
    return path


def _begin(folder: Path, name: str, *, samples: int, seed: int = 1) -> Campaign:
    return Campaign.begin(_plan(folder, CELL.format(samples=samples, seed=seed)), folder / name)


def decks(folder: Path) -> Figures:
    """Seconds for `DECKS` decks: values applied, text written, read, checked, flattened."""
    with _begin(folder, "decks", samples=DECKS) as campaign:
        points = campaign.points()
        began = time.perf_counter()
        subject = PreparedBench(campaign.bench, "", simulator=campaign.plan.engine)
        for case in points:
            prepare(subject.at(case).deck())
        return {"decks": len(points), "decks_seconds": time.perf_counter() - began}


class _Timed(InProcess):
    """Adds up the seconds that its batches took."""

    spent = 0.0

    def submit(self, function: Any, job: Any, cases: Any, *, alone: bool = False) -> Future[Any]:
        began = time.perf_counter()
        found: Future[Any] = super().submit(function, job, cases, alone=alone)
        self.spent += time.perf_counter() - began
        return found


def bookkeeping(folder: Path) -> Figures:
    """Where the wall time of a campaign in one process goes."""
    with open_simulator() as simulator:
        engine = simulator.version()
    with _begin(folder, "books", samples=_CASES) as campaign:
        executor = _Timed()
        campaign.run(executor)  # its first batch starts the simulator
        began = time.perf_counter()
        executor.spent = 0.0
        with _begin(folder, "books again", samples=_CASES, seed=2) as again:
            begun = time.perf_counter() - began
            again.run(executor)
            wall = (time.perf_counter() - began - begun) / _CASES
            inside = statistics.fmean(row["seconds"] for row in again.store.rows())
        executor.close()
        subject = PreparedBench(campaign.bench, engine, simulator=campaign.plan.engine)
        points = campaign.points()
        began = time.perf_counter()
        for case in points:
            subject.key(case, subject.at(case).decks())
        written = (time.perf_counter() - began) / len(points)
    return {
        "case_ms": 1e3 * wall,
        "simulator_ms": 1e3 * inside,
        "bookkeeping": (wall - executor.spent / _CASES + written) / wall,
        "beside_the_simulator": (wall - inside) / wall,
    }


def _seconds(folder: Path, name: str, executor: Executor, seed: int) -> float:
    """Seconds per case of a campaign, without the start of its processes."""
    marks: list[tuple[float, int]] = []
    with _begin(folder, name, samples=_PAIR_CASES, seed=seed) as campaign:
        campaign.run(executor, tell=lambda now: marks.append((time.perf_counter(), now.done)))
    began = next(mark for mark in marks if mark[1] > 0)
    return (marks[-1][0] - began[0]) / (marks[-1][1] - began[1])


def pairs(folder: Path, tell: Report) -> Figures:
    """How much faster two processes are than one; each executor keeps its processes over all pairs."""
    one, two = Processes(1), Processes(2)
    ratios = []
    try:
        for k in range(_PAIRS + 1):
            tell(f"campaign: pair {k} of {_PAIRS}")
            order = [(one, "one"), (two, "two")][:: 1 if k % 2 else -1]
            seconds = {name: _seconds(folder, f"{name}{k}", executor, k) for executor, name in order}
            if k:  # the first starts the processes
                ratios.append(seconds["one"] / seconds["two"])
    finally:
        one.close()
        two.close()
    return {"two_processes": statistics.median(ratios), "machine_gives_two_processes": machine_gives(2)}


def memory(folder: Path, tell: Report) -> Figures:
    """What the parent grows by over a long campaign, and the campaign's yield."""
    sizes: dict[int, float] = {}

    def watch(now: Progress) -> None:
        tell(f"campaign: {now.done} of {now.total} cases")
        if now.done >= _FROM:
            sizes[now.done] = resident()

    with Campaign.begin(_plan(folder, SPREAD), folder / "spread") as campaign:
        executor = Processes(2)
        began = time.perf_counter()
        try:
            campaign.run(executor, tell=watch)
        finally:
            executor.close()
        seconds = time.perf_counter() - began
        (group,) = groups(campaign)
        found = group.yields[ALL]
    return {
        "parent_grows_mb": sizes[max(sizes)] - sizes[min(sizes)],
        "cases": _TO, "cases_per_s": _TO / seconds,
        "yield": found.share, "yield_low": found.low, "yield_high": found.high,
    }  # fmt: skip


def resident() -> float:
    """Resident memory of this process (MB)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1]) / 1e3
    return float("nan")


def measure(tell: Report) -> Figures:
    """All of it (module docstring)."""
    with tempfile.TemporaryDirectory(prefix="cosim-") as name:
        folder = Path(name)
        tell("campaign: decks")
        found = decks(folder)
        tell("campaign: bookkeeping")
        found |= bookkeeping(folder)
        found |= pairs(folder, tell)
        found |= memory(folder, tell)
        tell("campaign: raw files")
        found |= raw_reading()
    return found


CAMPAIGN = Claim(
    "campaign",
    "A campaign costs 5 % beside its simulations, uses two processes 1.8-fold, and does not grow.",
    measure,
    limits={
        "decks_seconds": (None, 10.0), "bookkeeping": (None, 0.05), "two_processes": (1.8, None),
        "parent_grows_mb": (None, 20.0), "raw_mb_per_s": (200.0, None),
    },
)  # fmt: skip
