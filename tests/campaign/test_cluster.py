"""Campaigns on a cluster of dask: the same rows as here, whoever dies; jobs of a batch system; what is said."""

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from cosim.campaign import cluster
from cosim.campaign.campaign import Campaign
from cosim.campaign.cluster import connect, read_cluster
from cosim.campaign.executors import Executor, InProcess, Processes
from cosim.campaign.run import Progress
from cosim.errors import EngineMissing, InputError, MissingFile, UnknownName

pytestmark = pytest.mark.needs("distributed")

CASES = 160
PLAN = f"""
bench = "1t1r_write"
trust = 0.05
[sample]
samples = {CASES}
seed = 3
variables.devices.memristor.theta_p = {{ relative = "20 %" }}
"""
SLURM = """
jobs: 3
jobqueue:
  slurm:
    cores: 8
    memory: 16GB
    walltime: "02:30:00"
    job-extra-directives: ["--exclusive"]
"""


@contextmanager
def scheduler(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A scheduler on loopback, and its address."""
    file = folder / "scheduler.json"
    process = start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file), folder=folder)
    try:
        deadline = time.monotonic() + 40.0
        while not file.exists() or not file.read_text().strip():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process, json.loads(file.read_text())["address"]
    finally:
        process.kill()
        process.wait()


def start(kind: str, *arguments: str, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments, "--no-dashboard"],
            stdout=log, stderr=log, cwd=folder,
        )  # fmt: skip


@contextmanager
def workers(address: str, folder: Path, *threads: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Worker processes that nobody starts again."""
    found = [
        start("worker", address, "--no-nanny", "--nthreads", str(n), "--local-directory", str(folder), folder=folder)
        for n in threads
    ]
    try:
        yield found
    finally:
        for process in found:
            process.kill()
            process.wait()


def rows(campaign: Campaign) -> list[dict[str, Any]]:
    """All rows without what differs from run to run."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in campaign.store.rows()]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("plan") / "plan.toml"
    file.write_text(PLAN)
    return file


@pytest.fixture(scope="module")
def here(plan: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The rows of an undisturbed run in this process."""
    return run(plan, tmp_path_factory.mktemp("here") / "out", InProcess())


def run(plan: Path, into: Path, executor: Executor) -> list[dict[str, Any]]:
    with Campaign.begin(plan, into) as campaign:
        try:
            assert campaign.run(executor)
        finally:
            executor.close()
        return rows(campaign)


@pytest.mark.spice
def test_processes_give_the_same_rows(plan: Path, here: list[dict[str, Any]], tmp_path: Path) -> None:
    assert run(plan, tmp_path / "out", Processes(2)) == here
    assert len(here) == CASES


@pytest.mark.spice
@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_case(plan: Path, here: list[dict[str, Any]], tmp_path: Path) -> None:
    killed_at: list[int] = []
    with (
        scheduler(tmp_path) as (_, address),
        workers(address, tmp_path, 1, 1) as processes,
        Campaign.begin(plan, tmp_path / "out") as campaign,
    ):
        executor = connect(address)
        deadline = time.monotonic() + 60.0
        while executor.workers < 2:  # one of them alone may be done before the other is there
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(processes[0].pid, signal.SIGSTOP)  # it keeps the cases that it is given until it is killed

        def tell(now: Progress) -> None:
            if not killed_at and now.done > 5:
                killed_at.append(now.done)
                os.kill(processes[0].pid, signal.SIGKILL)

        assert campaign.run(executor, tell=tell)
        executor.close()
        assert processes[0].wait(timeout=5.0) == -signal.SIGKILL
        assert processes[1].poll() is None
        assert killed_at[0] < CASES, "killed too late to disturb anything"
        assert rows(campaign) == here


@pytest.mark.spice
@pytest.mark.slow
def test_the_threads_of_one_worker(plan: Path, here: list[dict[str, Any]], tmp_path: Path) -> None:
    with scheduler(tmp_path) as (_, address), workers(address, tmp_path, 3):
        executor = connect(address)
        deadline = time.monotonic() + 40.0
        while executor.workers < 3:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert run(plan, tmp_path / "out", executor) == here


@pytest.mark.spice
@pytest.mark.slow
def test_nobody_there_is_said_and_a_scheduler_that_dies_too(
    plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_SILENT", 0.3)
    notes: list[str] = []
    with scheduler(tmp_path) as (process, address), Campaign.begin(plan, tmp_path / "out") as campaign:
        executor = connect(address)

        def tell(now: Progress) -> None:
            notes.append(now.note)
            if now.note:
                process.kill()

        with pytest.raises(EngineMissing, match=r"the scheduler at tcp://\S+ is gone.*cosim campaign resume"):
            campaign.run(executor, tell=tell)
        executor.close()
        assert len(campaign.store) == 0
    assert f"no worker has been connected to {address}" in notes[-1]


def test_a_scheduler_that_does_not_answer() -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match=r"the scheduler at tcp://127\.0\.0\.1:9 does not answer; start it"):
        cluster.Dask("tcp://127.0.0.1:9", answer=1.0)
    assert time.monotonic() - began < 15.0  # the loop's own start and end, on a busy machine


@pytest.mark.parametrize("given", ["node7:8786", "ftp://node7", "", "cluster.ini"])
def test_an_address_that_is_not_a_scheduler_is_refused(given: str) -> None:
    with pytest.raises(InputError, match="neither the address"):
        connect(given)


def _listeners(scheduler: Any) -> list[tuple[Any, ...]]:
    """Where a scheduler answers to HTTP."""
    return [each.getsockname()[:2] for each in scheduler.http_server._sockets.values()]


# looked for and not imported: importing it replaces Ctrl-C's handler
with_jobqueue = pytest.mark.skipif(
    importlib.util.find_spec("dask_jobqueue") is None, reason="the package dask-jobqueue is not installed"
)


@with_jobqueue
def test_jobs_of_slurm(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(SLURM)
    make, jobs = read_cluster(file)
    assert jobs == 3
    with socket.socket() as other:  # dask's usual port is another scheduler's, or is now
        with suppress(OSError):
            other.bind(("", 8787))
            other.listen()
        with make() as found:
            script = found.job_script()
            assert {address for address, _ in _listeners(found.scheduler)} == {"127.0.0.1"}
    for line in ("#SBATCH --cpus-per-task=8", "#SBATCH -t 02:30:00", "#SBATCH --exclusive", "#SBATCH --mem=15G"):
        assert line in script.splitlines()
    assert {"--nworkers 8", "--nthreads 1"} <= set(re.findall(r"--n\w+ \d+", script))  # a process for each core


@with_jobqueue
@pytest.mark.parametrize(
    ("name", "text", "error", "says"),
    [
        ("a.yaml", "jobqueue: [", InputError, r"a\.yaml.*not YAML"),
        ("a.yaml", "- 1", InputError, "does not contain any settings"),
        ("a.yaml", "jobqueue: {slurm: !!python/object/apply:os.system [ls]}", InputError, "not YAML"),
        ("a.toml", "jobs = ", InputError, "not TOML"),
        ("a.yaml", SLURM.replace("slurm", "slrm"), UnknownName, "unknown batch system 'slrm'; did you mean slurm"),
        ("a.yaml", SLURM.replace("walltime", "waltime"), UnknownName, "'waltime' of .*; did you mean walltime"),
        ("a.yaml", SLURM.replace("jobs: 3", "job: 3"), UnknownName, "unknown entry 'job'"),
        ("a.yaml", SLURM.replace("jobs: 3", "jobs: 0"), InputError, "not a number of jobs"),
        ("a.yaml", "jobqueue: {slurm: {}, pbs: {}}", InputError, "or several"),
        ("a.yaml", "jobqueue: {slurm: 3}", InputError, "has no settings"),
        ("a.yaml", SLURM.replace("cores: 8", "queue: long"), InputError, "does not say cores"),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, name: str, text: str, error: type[Exception], says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(error, match=says):
        connect(str(tmp_path / name))
    with pytest.raises(MissingFile):
        connect(str(tmp_path / "none.yaml"))


def test_without_dask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)  # as if it were not installed
    with pytest.raises(EngineMissing, match=r"distributed, which is not installed; pip install 'cosim-spice\[cluster"):
        connect("tcp://127.0.0.1:9")


def test_dask_is_loaded_by_those_only_who_ask_for_it() -> None:
    code = (
        "import sys, cosim.cli.app, cosim.campaign.campaign, cosim.campaign.cluster as c; print('dask' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.spice
@pytest.mark.slow
def test_a_scheduler_without_workers_is_reported_in_a_pipe(plan: Path, tmp_path: Path) -> None:
    with scheduler(tmp_path) as (_, address):
        argv = [
            sys.executable,
            "-m",
            "cosim",
            "campaign",
            "run",
            str(plan),
            "--into",
            str(tmp_path / "out"),
            "--no-cache",
        ]
        with subprocess.Popen(
            [*argv, "--scheduler", address], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as campaign:
            assert campaign.stderr is not None
            said = campaign.stderr.readline()
            campaign.kill()
    assert said.startswith(f"no worker has been connected to {address} for ")
