"""Processes that die: only their own batches go with them, whoever is killed from outside loses nothing."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from claims.kills import processes_of
from cosim.campaign import store as store_module
from cosim.campaign import work
from cosim.campaign.campaign import Campaign
from cosim.campaign.executors import InProcess, Processes
from cosim.campaign.finished import Finished
from cosim.campaign.store import Store, StoreError

PLAN = """
bench = "1t1r_write"
[sample]
samples = 40
seed = 3
variables.devices.memristor.theta_p = { relative = "20 %" }
"""


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[Campaign]:
    (tmp_path / "plan.toml").write_text(PLAN)
    with Campaign.begin(tmp_path / "plan.toml", tmp_path / "out") as found:
        yield found


def pid_batch(job: Any, cases: Any) -> tuple[int, float]:
    """A batch that says where it runs."""
    time.sleep(job["seconds"])
    return os.getpid(), float(len(cases))


def until(condition: Any, *, seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_a_death_takes_its_own_batches_only() -> None:
    executor = Processes(2)
    try:
        first = [executor.submit(pid_batch, {"seconds": 0.0}, [k]) for k in range(2)]
        victim, other = (future.result(60)[0] for future in first)
        assert victim != other
        futures = [executor.submit(pid_batch, {"seconds": 1.0}, [k]) for k in range(4)]
        os.kill(victim, signal.SIGKILL)
        ends: list[Any] = []
        for future in futures:
            error = future.exception(60)
            ends.append(type(error) if error else future.result()[0])
        assert sorted(map(str, ends)) == sorted(map(str, [other, other, *executor.lost, *executor.lost]))
        executor.mend()
        again = {executor.submit(pid_batch, {"seconds": 0.2}, [k]).result(60)[0] for k in range(2)}
        assert victim not in again
        apart = executor.submit(pid_batch, {"seconds": 0.0}, [0], alone=True).result(60)[0]
        assert apart not in {victim, other}
    finally:
        executor.close()


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    code = (
        "import time\n"
        "from cosim.campaign.executors import Processes\n"
        "if __name__ == '__main__':\n"
        "    executor = Processes(2)\n"
        "    for _ in range(2): executor.submit(isinstance, 1, int)\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        assert until(lambda: len(processes_of(scratch)) >= 3)
        parent.kill()
    assert until(lambda: processes_of(scratch) == [])


@pytest.mark.spice
def test_an_engine_that_is_killed_costs_no_case(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    evaluate = work.evaluate

    def killing(subject: Any, case: Any, simulator: Any, **given: Any) -> Any:
        if case.number == 7 and not killed:
            run = simulator._pool._ask  # the moment in which the engine has the deck

            def ask(worker: Any, job: Any, wall: float) -> Any:
                if not killed:
                    killed.append(worker.pid)
                    os.kill(worker.pid, signal.SIGSTOP)
                    threading.Timer(0.3, os.kill, (worker.pid, signal.SIGKILL)).start()
                return run(worker, job, wall)

            monkeypatch.setattr(simulator._pool, "_ask", ask)
        return evaluate(subject, case, simulator, **given)

    monkeypatch.setattr(work, "evaluate", killing)
    executor = InProcess()
    assert campaign.run(executor)
    executor.close()
    assert killed
    assert campaign.store.counts("outcome") == {"converged": 40}


@pytest.mark.spice
def test_a_case_whose_engine_always_dies_is_said_to(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate, tries = work.evaluate, []

    def crashing(subject: Any, case: Any, simulator: Any, **given: Any) -> Any:
        done = evaluate(subject, case, simulator, **given)
        if case.number == 7:
            tries.append(case)
            return type(done)({**done.row, "outcome": "crashed", "verdict": "cannot tell"})
        return done

    monkeypatch.setattr(work, "evaluate", crashing)
    executor = InProcess()
    assert campaign.run(executor)
    executor.close()
    assert len(tries) == campaign.plan.attempts == 2
    assert campaign.store.counts("outcome") == {"converged": 39, "crashed": 1}


def test_a_store_is_begun_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store_module.os, "link", killed)
        with pytest.raises(KeyboardInterrupt):
            Store.create(tmp_path / "out", plan="", meta={"a": "b"})
    assert not (tmp_path / "out" / "results.sqlite").exists()
    with Store.create(tmp_path / "out", plan="", meta={"a": "b"}) as store:
        assert store.meta() == {"schema": "1", "a": "b"}


def row(number: int, waveforms: bytes | None = None) -> Finished:
    return Finished(
        number, "converged", "pass", "k", 0.1, f'{{"number":{number}}}', '{"outcome":"converged"}', waveforms
    )


def test_a_full_disk_keeps_what_was_committed(tmp_path: Path) -> None:
    import resource

    with Store.create(tmp_path / "out", plan="", meta={}) as store:
        store.lock()
        assert store.add([row(0), row(1)]) == 2
        size = (tmp_path / "out" / "results.sqlite-wal").stat().st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5000, hard))
        try:
            with pytest.raises(StoreError, match="cannot write campaign"):
                store.add([row(k) for k in range(2, 2000)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert list(store.each_number()) == [0, 1]
        assert store.add([row(k) for k in range(2000)]) == 1998
    with sqlite3.connect(tmp_path / "out" / "results.sqlite") as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("SELECT count(*) FROM rows").fetchone() == (2000,)
    database.close()


def test_what_a_killed_campaign_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    with Store.create(tmp_path / "out", plan="", meta={}) as store:
        store.add([row(3, b"whole")])
        (tmp_path / "out" / "waveforms" / ".000004.npz.abc.npz").write_bytes(b"half")
        (tmp_path / "out" / ".results.sqlite.77").write_bytes(b"half")
        store.lock()
        left = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert left == ["000003.npz", "lock", "plan.toml", "results.sqlite", "results.sqlite-shm", "results.sqlite-wal"]


def test_a_row_is_its_two_halves() -> None:
    from cosim.campaign.cases import Done

    given = {"number": 3, "corner": "hot", "values": {"a": 1.5}, "outcome": "converged", "verdict": "pass",
             "key": "k", "seconds": 0.1, "measures": {"m": [1.0]}}  # fmt: skip
    found = Finished.of(Done(given, b"w"))
    assert found.row == given
    assert (found.number, found.outcome, found.verdict, found.key, found.seconds) == (3, "converged", "pass", "k", 0.1)
    assert "number" not in found.rest
    assert found.waveforms == b"w"


def test_futures_of_this_process() -> None:
    future: Future[Any] = InProcess().submit(lambda job, cases: 1 / 0, {}, [])  # type: ignore[arg-type,return-value]
    assert isinstance(future.exception(), ZeroDivisionError)


@pytest.mark.parametrize(("before", "after"), [("pass", "cannot tell"), ("fail", "fail")])
def test_a_measure_that_is_not_finite_is_left_out_and_said(before: str, after: str) -> None:
    from cosim.campaign.cases import Done

    given = {"number": 3, "corner": "hot", "values": {}, "outcome": "converged", "verdict": before, "why": "a",
             "measures": {"m": [1.0], "n": [2.0, float("inf")]}, "moved": {"m": 0.1, "n": float("nan")}}  # fmt: skip
    found = Finished.of(Done(given))
    assert found.row["measures"] == {"m": [1.0]}
    assert found.row["moved"] == {"m": 0.1}
    assert found.row["why"] == "a; n is not finite"
    assert found.row["verdict"] == found.verdict == after


def test_a_process_that_dies_while_it_starts_is_lost_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    from multiprocessing.context import SpawnProcess

    start, failed = SpawnProcess.start, []

    def dying(self: SpawnProcess) -> None:
        if not failed:
            failed.append(self)
            raise BrokenPipeError("its pipe is closed")
        start(self)

    monkeypatch.setattr(SpawnProcess, "start", dying)
    executor = Processes(1)
    try:
        assert isinstance(executor.submit(pid_batch, {"seconds": 0.0}, [1]).exception(60), executor.lost)
        executor.mend()
        assert executor.submit(pid_batch, {"seconds": 0.0}, [1]).result(60)[1] == 1.0
    finally:
        executor.close()
