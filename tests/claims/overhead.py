"""What the harness costs: the 1T1R transient of 2000 points through the default engine, beside the same without it.

Four yardsticks, each run in turn with the harness, so that a busy machine slows all of them alike:

- *plain PySpice*: `NgSpiceShared` in a process of its own, on one thread, with no checks, limits or sandbox; load, run,
  read the vectors, forget the circuit. Its time inside libngspice (load and run alone) is *ngspice's own*, as it comes.
- *tuned*: the same with the harness's settings of ngspice and of the allocator, which make it some percent faster: what
  the harness costs beside an engine that has them already.
- ``ngspice -b -r`` as a process per run, with these settings, its raw file not read.
- what ngspice says of itself (``rusage``: total analysis time, without reading the netlist).

A busy machine lets a process wait for a core, as often as there are processes of others: what Linux counts of that
(``schedstat``, in ns) is taken off the times of the harness, in its process and in its worker, and of both kinds of
PySpice. What they compute and copy, and for how long they sleep, stays in. ``overhead_as_it_comes`` is without that,
and ``share_waited`` says how much of the harness's time it was; on an idle machine both figures are the same.

The harness's settings save more than it costs on some machines: ``overhead`` may be below zero, and
``overhead_over_tuned``, of the same engine with the same settings, may not.

A process keeps for its life what it was dealt of memory, and is by that some percent faster or slower than another one
that does the same. So processes of each kind are begun anew for a share of the pairs; ``overhead_spread`` is the
standard deviation of the medians of the shares. A figure is the median over all pairs; ``overhead_undisturbed`` is the
ratio of the fastest tenths. The harness is the wall time of `Simulator.run`, with the netlist read and checked, the
vectors copied between processes and put into an `xarray.Dataset`.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from claims.base import Claim, Figures, Report
from cosim.bench.testbench import Testbench
from cosim.engines.library import find_libngspice, find_ngspice
from cosim.engines.prepare import prepare
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Deck, Simulator
from cosim.engines.worker import sandbox
from cosim.engines.worker.process import SETTINGS

POINTS = 2000
_PULSES = 32  # of the bench's random pulses: 2020 points in ngspice 46
_PROCESSES, _PAIRS, _WARM = 8, 16, 4  # processes of each kind; pairs of each of them, after the first ones
_BATCH = 16
_BATCH_PAIRS = 9
_RUNS, _SETTLED, _EVERY = 1000, 200, 25
# Each goes before and after each other one, and never after itself.
_ORDERS = ([0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1])
_THREADS, _TUNING = ("OMP_THREAD_LIMIT", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), ("GLIBC_TUNABLES",)
_PLAIN = ("set num_threads=1", "set no_mem_check", "set noaskquit")
# A process that is not alone on its core: then two processes can't be twice as fast as one, whatever the harness does.
_BUSY = 0.5


@cache
def _cell() -> Testbench:
    return Testbench.load("1t1r_random_pulses").with_(stimuli={"bl": {"count": _PULSES}})


def cell(variant: int = 0) -> Deck:
    """The 1T1R cell under random pulses, a transient of some 2000 points; variants differ by a millionth of a state."""
    bench = _cell()
    return bench.with_(parameters={"w0": bench.file.parameters["w0"].value * (1.0 + 1e-6 * variant)}).deck()


@contextmanager
def _clocked(pids: Iterable[int | str], into: list[float]) -> Iterator[None]:
    """Appends two times in s: as it comes, and without what all threads of these processes waited for a core.

    Where two of them wait at once it is counted twice: no less is left than the time that they had one.
    """

    def told() -> tuple[float, float]:
        ran = waited = 0
        for pid in pids:
            for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with suppress(OSError, ValueError):  # a thread that has just ended
                    had, lacked, _ = map(int, file.read_text().split())
                    ran, waited = ran + had, waited + lacked
        return 1e-9 * ran, 1e-9 * waited

    before, began = told(), time.perf_counter()
    yield
    came = time.perf_counter() - began
    ran, waited = (late - early for late, early in zip(told(), before, strict=True))
    into += [came, min(came, max(came - waited, ran))]


def _plain_server(channel: Connection, settings: Sequence[str]) -> None:
    """In a process of its own: for each netlist, the seconds of (all, load and run, that as it comes), the points."""
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    from PySpice.Spice.NgSpice.Shared import NgSpiceShared

    said: list[str] = []

    class Shared(NgSpiceShared):  # type: ignore[misc]
        def send_char(self, message: str | bytes, ngspice_id: int) -> int:
            text = message if isinstance(message, str) else message.decode("latin-1")
            said.append(text)
            return int(super().send_char(message, ngspice_id))

    shared = Shared()
    for command in settings:
        shared.exec_command(command)
    while text := channel.recv():
        said.clear()
        told: list[float] = []
        with _clocked(["self"], told):
            with _clocked(["self"], told):
                shared.load_circuit(text)
                shared.exec_command("run")
            plots = [shared.plot(None, name) for name in shared.plot_names if name != "const"]
            points = max(len(vector._data) for plot in plots for vector in plot.values())
            shared.exec_command("destroy all")
            shared.exec_command("remcirc")
        inside_came, inside, _, whole = told
        channel.send((whole, inside, inside_came, points))
        said.clear()


@contextmanager
def _plain(*, tuned: bool) -> Iterator[Any]:
    """A function that runs a netlist once in plain PySpice and returns what `_plain_server` sends."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    names = _THREADS + (_TUNING if tuned else ())
    alike = {name: value for name, value in sandbox.environment(Path("/")).items() if name in names}
    environment = {"NGSPICE_LIBRARY_PATH": find_libngspice() or "", **alike}
    kept = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    process = context.Process(target=_plain_server, args=(theirs, SETTINGS if tuned else _PLAIN), daemon=True)
    try:
        process.start()
        theirs.close()  # so that its death ends our wait
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value

    def run(text: str) -> tuple[float, float, float, int]:
        ours.send(text)
        found: tuple[float, float, float, int] = ours.recv()
        return found

    try:
        yield run
    finally:
        ours.send("")
        process.join(10)
        if process.is_alive():
            process.terminate()


def _batch(text: str, folder: Path) -> tuple[float, float]:
    """Seconds of one ``ngspice -b -r``, and of its analysis as it reports it itself."""
    program = find_ngspice()
    assert program is not None  # open_simulator would have said so
    (folder / ".spiceinit").write_text(sandbox.SPICEINIT)
    (folder / "deck.cir").write_text(text)
    began = time.perf_counter()
    answer = subprocess.run(
        [program, "-b", "-r", "out.raw", "deck.cir"],
        cwd=folder, env=sandbox.environment(folder), capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    reported = re.search(r"Total analysis time \(seconds\) = ([\d.eE+-]+)", answer.stdout)
    return seconds, float(reported[1]) if reported else float("nan")


def _interleaved() -> tuple[list[list[float]], int]:
    """Seconds of (harness, plain PySpice, ngspice's own, tuned, ngspice -b, its report, harness and ngspice's own as
    they come), and the points of a run.
    """
    rows: list[list[float]] = []
    with (
        open_simulator() as simulator,
        _plain(tuned=False) as plain,
        _plain(tuned=True) as tuned,
        tempfile.TemporaryDirectory(prefix="cosim-") as name,
    ):
        folder = Path(name)
        points = 0
        for k in range(_WARM + _PAIRS):
            deck = cell(k)  # no two are the same: nothing is known from the last one but what they share
            text = prepare(cell(-k - 1)).text
            seconds = [0.0] * 8
            for which in _ORDERS[k % len(_ORDERS)]:
                if which == 0:
                    pids = ["self", *simulator.pids()]  # type: ignore[attr-defined]
                    told: list[float] = []
                    with _clocked(pids, told):
                        simulator.run(deck).require()
                    seconds[6], seconds[0] = told
                elif which == 1:
                    seconds[1], seconds[2], seconds[7], points = plain(text)
                elif which == 2:
                    _, seconds[3], _, _ = tuned(text)
                else:
                    seconds[4], seconds[5] = _batch(text, folder)
            if k >= _WARM:
                rows.append(seconds)
    return rows, points


def overheads(tell: Report, *, processes: int = _PROCESSES) -> Figures:
    """The harness against the yardsticks, in interleaved runs of ``processes`` processes of each kind."""
    rows: list[list[float]] = []
    medians = []
    for number in range(processes):
        tell(f"overhead: {number} of {processes} processes")
        found, points = _interleaved()
        rows += found
        medians.append(float(np.median([row[0] / row[2] for row in found])))
    harness, whole, inside, tuned, batch, reported, came, inside_came = np.array(rows).T
    overhead, spread = float(np.median(harness / inside)) - 1.0, float(np.std(medians, ddof=1))
    columns = {"harness": harness, "plain_pyspice": whole, "ngspice_own": inside, "tuned": tuned, "ngspice_b": batch}
    return {
        "points": points,
        "overhead": overhead,
        "overhead_spread": spread,
        "overhead_with_its_error": overhead + 2.0 * spread / processes**0.5,
        "overhead_as_it_comes": float(np.median(came / inside_came)) - 1.0,
        "share_waited": 1.0 - float(np.sum(harness) / np.sum(came)),
        "overhead_over_tuned": float(np.median(harness / tuned)) - 1.0,
        "overhead_undisturbed": float(np.quantile(harness, 0.1) / np.quantile(inside, 0.1)) - 1.0,
        "overhead_over_plain_pyspice": float(np.median(harness / whole)) - 1.0,
        "over_ngspice_b": float(np.median(came / batch)),
        "reported_by_ngspice_ms": 1e3 * float(np.nanmedian(reported)) if np.any(np.isfinite(reported)) else None,
        **{f"{name}_ms": 1e3 * float(np.median(column)) for name, column in columns.items()},
    }


def _throughput(simulator: Simulator, deck: Deck) -> float:
    with ThreadPoolExecutor(4) as threads:
        began = time.perf_counter()
        for result in threads.map(simulator.run, [deck] * _BATCH):
            result.require()
        return _BATCH / (time.perf_counter() - began)


def _spin(channel: Connection) -> None:
    while (seconds := channel.recv()) > 0.0:
        count, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            sum(range(200))
            count += 1
        channel.send(count)


def machine_gives(processes: int = 2, *, rounds: int = 5, seconds: float = 0.3) -> float:
    """How much faster than one this machine lets ``processes`` independent ones be just now: no simulator involved."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(processes)]
    children = [context.Process(target=_spin, args=(pipe[1],), daemon=True) for pipe in pipes]
    for child in children:
        child.start()
    ours = [pipe[0] for pipe in pipes]
    try:
        found = []
        for _ in range(rounds):
            ours[0].send(seconds)
            alone = ours[0].recv()
            for channel in ours:
                channel.send(seconds)
            found.append(sum(channel.recv() for channel in ours) / alone)
        return float(statistics.median(found))
    finally:
        for channel, child in zip(ours, children, strict=True):
            channel.send(0.0)
            child.join(5)


def scaling(deck: Deck, tell: Report) -> Figures:
    """Two processes against one, in interleaved pairs, beside what the machine gives any two processes."""
    tell("two processes against one")
    ratios, given = [], []
    with open_simulator(workers=1) as one, open_simulator(workers=2) as two:
        for simulator in (one, two):
            _throughput(simulator, deck)
        for k in range(_BATCH_PAIRS):
            if k % 3 == 0:
                given.append(machine_gives(rounds=1))
            pair = [_throughput(simulator, deck) for simulator in ((one, two) if k % 2 else (two, one))]
            ratios.append(pair[1] / pair[0] if k % 2 else pair[0] / pair[1])
    return {"two_processes": statistics.median(ratios), "machine_gives_two_processes": statistics.median(given)}


def _resident(pid: int | str) -> float:
    """kB of memory that belong to a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024.0


def memory(deck: Deck, tell: Report) -> Figures:
    """kB a run, of the worker and of this process, over `_RUNS` runs after the first `_SETTLED`: a fitted slope."""
    counts, worker, parent = [], [], []
    with open_simulator() as simulator:
        pids = simulator.pids()  # type: ignore[attr-defined]
        for k in range(_SETTLED + _RUNS + 1):
            simulator.run(deck).require()
            if k == 0:
                pids = simulator.pids()  # type: ignore[attr-defined]
            if k >= _SETTLED and k % _EVERY == 0:
                counts.append(k)
                worker.append(sum(_resident(pid) for pid in pids))
                parent.append(_resident("self"))
            if k % 200 == 0:
                tell(f"memory: {k} of {_SETTLED + _RUNS} runs")
        if simulator.pids() != pids:  # type: ignore[attr-defined]
            return {"memory_note": "the worker was replaced in between"}
    return {
        "memory_kb_per_run": float(np.polyfit(counts, worker, 1)[0]),
        "memory_of_parent_kb_per_run": float(np.polyfit(counts, parent, 1)[0]),
        "memory_of_worker_mb": worker[-1] / 1024.0,
    }


def measure(tell: Report) -> Figures:
    """All figures."""
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0] / cores
    deck = cell()
    figures = overheads(tell)
    figures |= scaling(deck, tell)
    figures |= memory(deck, tell)
    figures["load_per_core_before"] = load
    if load > _BUSY or figures["machine_gives_two_processes"] < 1.8:
        figures["note"] = (
            f"the machine was busy: {load:.2g} processes a core before the start, and two processes without any "
            f"simulator do {figures['machine_gives_two_processes']:.3g} times the work of one; measure again when idle"
        )
    return figures


OVERHEAD = Claim(
    "overhead",
    "the harness adds at most 10 % to ngspice's own time for a 1T1R transient of 2000 points, two processes are 1.8 x "
    "as fast as one, and memory does not grow",
    measure,
    {
        "points": (0.85 * POINTS, 1.15 * POINTS),
        "overhead": (None, 0.10),
        "overhead_over_tuned": (-0.02, 0.10),  # a value far below zero is not a measurement
        "overhead_with_its_error": (None, 0.10),
        "over_ngspice_b": (None, 1.0),
        "two_processes": (1.8, None),
        "memory_kb_per_run": (None, 2.0),
        "memory_of_parent_kb_per_run": (None, 2.0),
    },
)
