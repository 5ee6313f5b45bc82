"""A cache that fails, when and however it does, costs a campaign nothing but the cache."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from cosim.campaign.cache import Cache
from cosim.campaign.cases import Case, Done
from cosim.campaign.executors import InProcess
from cosim.campaign.finished import Finished
from cosim.campaign.run import Loop, Progress
from cosim.campaign.store import Store
from cosim.campaign.work import Job, key_batch
from cosim.cli.app import main

CASES = 600  # keys come in batches of 256


class Made(InProcess):
    """Makes rows up; remembers which cases it was asked for."""

    def __init__(self) -> None:
        self.ran: list[int] = []

    def submit(self, function: Callable[..., Any], job: Any, cases: Any, *, alone: bool = False) -> Future[Any]:
        future: Future[Any] = Future()
        if function is key_batch:
            future.set_result(([f"key {number}" for number in cases], 0.001))
            return future
        self.ran += cases
        rows = [Done({"number": n, "key": f"key {n}", "outcome": "converged", "verdict": "pass"}) for n in cases]
        future.set_result(([tuple(Finished.of(row)) for row in rows], 0.001 * len(rows)))
        return future


def campaign(folder: Path, cache: Cache) -> tuple[Progress, list[int]]:
    progress, executor = Progress(CASES, 0), Made()
    with Store.create(folder, plan="", meta={}) as store:
        loop = Loop(
            store, executor, Job("{}", "", "", ""), progress=progress, cases=[Case(k) for k in range(CASES)],
            by_number=True, cache=cache,
        )  # fmt: skip
        assert loop.run(range(CASES), count=CASES)
        assert [row["number"] for row in store.rows()] == list(range(CASES))
    return progress, executor.ran


@pytest.mark.parametrize("finds", [0, 1, 100, 300, 600])
def test_a_cache_that_fails_ends_no_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finds: int) -> None:
    """It can be read so many times; with 600 it fails when it is written."""
    with Cache(tmp_path / "cache") as full:
        assert campaign(tmp_path / "first", full)[0].warning == ""
        assert len(full) == CASES
    cache, find, asked = Cache(tmp_path / "cache"), Cache.find, 0

    def some(self: Cache, key: str, *, waveforms: bool = False) -> Done | None:
        nonlocal asked
        asked += 1
        if asked > finds:
            self.close()  # from now on sqlite says that it is closed
        return find(self, key, waveforms=waveforms) if asked % 2 or asked > finds else None

    monkeypatch.setattr(Cache, "find", some)
    if finds == CASES:
        cache._database = _Refusing(cache._database)  # type: ignore[assignment]
    progress, ran = campaign(tmp_path / "second", cache)
    assert progress.warning.startswith(f"cannot {'write' if finds == CASES else 'read'} the cache {cache.path}: ")
    assert progress.warning.endswith("the campaign continues without it")
    assert len(ran) == CASES - progress.cached
    assert progress.cached == (finds + 1) // 2


class _Refusing:
    """A database that can be read and not written."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def execute(self, statement: str, *values: Any) -> Any:
        if statement.startswith("BEGIN"):
            raise sqlite3.OperationalError("database or disk is full")
        return self._database.execute(statement, *values)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> "_Refusing":
        return self

    def __exit__(self, *_: object) -> None:
        return None


@pytest.mark.spice
def test_a_cache_that_cannot_be_opened_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("COSIM_CACHE", str(tmp_path / "file"))
    (tmp_path / "plan.toml").write_text('bench = "1t1r_write"\n[grid]\nparameters.w0 = [0.4, 0.6]\n')
    argv = ["campaign", "run", str(tmp_path / "plan.toml"), "--into", str(tmp_path / "out"), "-j", "0"]
    assert main(argv) == 0
    assert "cannot open the cache" in capsys.readouterr().err
