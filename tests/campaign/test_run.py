"""Running a campaign: every case once, whatever stops it; the cache; what is said where it cannot go on."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import xarray
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cosim.campaign.cache import Cache
from cosim.campaign.campaign import Bitmap, Campaign
from cosim.campaign.cases import Case, Done
from cosim.campaign.cluster import Dask
from cosim.campaign.executors import InProcess, Processes
from cosim.campaign.finished import Finished
from cosim.campaign.results import ALL, compare, dataset, export, frame, groups
from cosim.campaign.run import Loop, Progress, batch_size, room
from cosim.campaign.store import Store, StoreError
from cosim.campaign.work import Job, run_batch
from cosim.cli.app import main
from cosim.cli.campaign import _yields
from cosim.errors import InputError, MissingFile

PLAN = """
title = "Thresholds"
bench = "1t1r_write"
trust = 0.1
[grid]
corner = ["nominal", "hot"]
[sample]
samples = 10
seed = 1
variables.devices.memristor.theta_p = { relative = "20 %" }
variables.devices.memristor.theta_n = { relative = "20 %" }
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("plan") / "thresholds.toml"
    file.write_text(PLAN)
    return file


@pytest.fixture(scope="module")
def finished(plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("campaign") / "out"
    with Campaign.begin(plan, folder) as campaign:
        executor = InProcess()
        assert campaign.run(executor)
        executor.close()
    return folder


def plain(row: dict) -> dict:
    """A row without what differs from run to run."""
    return {name: value for name, value in row.items() if name not in ("seconds", "cached")}


def test_every_case_has_a_row_with_its_verdicts(finished: Path) -> None:
    with Campaign.open(finished) as campaign:
        rows = list(campaign.store.rows())
        assert [row["number"] for row in rows] == list(range(20))
        assert len({row["key"] for row in rows}) == 20
        assert campaign.store.counts("outcome") == {"converged": 20}
        repeated = [row for row in rows if row["time_step"] != "not repeated"]
    assert len(repeated) == 2
    for row in rows:
        assert set(row["limits"]) == {"potentiated", "depressed", "pulse_energy"}
        assert row["physics"]["finite"]["verdict"] == "pass"
        assert row["physics"]["state in bounds"]["verdict"] == "pass"
        assert (row["verdict"] == "pass") == (set(row["limits"].values()) == {"pass"})
    assert all(0.0 < row["moved"]["potentiated"] < 0.05 for row in repeated)


def test_two_processes_give_the_same_rows(plan: Path, finished: Path, tmp_path: Path) -> None:
    with Campaign.begin(plan, tmp_path / "out") as campaign:
        executor = Processes(2)
        assert campaign.run(executor)
        executor.close()
        with Campaign.open(finished) as other:
            first, second = ([plain(row) for row in c.store.rows()] for c in (campaign, other))
            assert first == second
            assert compare(campaign, other).same(0.0)


class Stopping(InProcess):
    """Stops the campaign after some batches, or loses the process of some cases."""

    awake = True
    lost = (BrokenPipeError,)

    def __init__(self, *, after: int = 10**9, deadly: tuple[int, ...] = ()) -> None:
        self.after, self.deadly, self.stop = after, deadly, threading.Event()
        self.batches: list[list[int]] = []
        self.mended = 0

    def submit(self, function, job, cases, *, alone=False):
        if function is not run_batch:
            return super().submit(function, job, cases)
        self.batches.append([case if isinstance(case, int) else case[0] for case in cases])
        if len(self.batches) >= self.after:
            self.stop.set()
        if set(self.batches[-1]) & set(self.deadly):
            future = Future()
            future.set_exception(BrokenPipeError())
            return future
        return super().submit(function, job, cases)

    def mend(self) -> None:
        self.mended += 1


def test_a_stopped_campaign_goes_on_and_runs_nothing_twice(plan: Path, finished: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    folder = tmp_path / "out"
    Campaign.begin(plan, folder).close()
    for _ in range(30):
        executor = Stopping(after=2)
        with Campaign.open(folder) as campaign:
            complete = campaign.run(executor, stop=executor.stop)
            executor.close()
            seen += [number for batch in executor.batches for number in batch]
        if complete:
            break
    assert complete
    assert sorted(seen) == list(range(20))
    with Campaign.open(folder) as campaign, Campaign.open(finished) as other:
        assert compare(campaign, other).same(0.0)


def test_a_case_that_kills_its_process_is_found_and_the_others_are_not_blamed(plan: Path, tmp_path: Path) -> None:
    with Campaign.begin(plan, tmp_path / "out") as campaign:
        executor = Stopping(deadly=(7,))
        assert campaign.run(executor)
        executor.close()
        rows = list(campaign.store.rows())
    assert [row["number"] for row in rows if row["outcome"] == "crashed"] == [7]
    assert "died 2 times" in rows[7]["why"]
    assert "measures" not in rows[7]
    assert len(rows) == 20
    assert executor.mended >= 2


def test_cases_come_from_the_cache_and_only_where_nothing_changed(plan: Path, finished: Path, tmp_path: Path) -> None:
    with Cache(tmp_path / "cache") as cache:
        ran: list[int] = []
        for name, text in [("a", PLAN), ("b", PLAN), ("c", PLAN.replace("seed = 1", "seed = 2")),
                           ("d", PLAN.replace("samples = 10", "samples = 12"))]:  # fmt: skip
            file = tmp_path / f"{name}.toml"
            file.write_text(text)
            executor = Stopping()
            with Campaign.begin(file, tmp_path / name) as campaign:
                assert campaign.run(executor, cache=cache)
                executor.close()
                ran.append(sum(len(batch) for batch in executor.batches))
                if name == "b":
                    with Campaign.open(finished) as other:
                        assert compare(campaign, other).same(0.0)
                    assert all(row["cached"] for row in campaign.store.rows())
        # d: 12 draws at each of two corners, of which the first 10 are those of a; trust falls on other cases there
        assert ran[:3] == [20, 0, 20]
        assert 4 <= ran[3] <= 8
        assert len(cache) == sum(ran)
        assert cache.prune(unused_for=3600.0) == 0
        assert cache.prune(larger_than=cache.holding().size // 2) >= len(cache)
        assert cache.prune(unused_for=0.0) > 0
        assert len(cache) == 0


def test_waveforms_are_kept_whole(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text('bench = "1t1r_write"\nkeep = "waveforms"\n[grid]\nparameters.w0 = [0.4, 0.6]\n')
    with Cache(tmp_path / "cache") as cache:
        for name in ("a", "b"):  # the second from the cache
            with Campaign.begin(file, tmp_path / name) as campaign:
                executor = Stopping()
                assert campaign.run(executor, cache=cache)
                executor.close()
                for number in range(2):
                    with np.load(campaign.store.waveforms(number), allow_pickle=False) as arrays:
                        time_, state = arrays["0/tran/time"], arrays["0/tran/v(xcell.xm.w)"]
                    assert state.shape == time_.shape
                    assert state[0] == pytest.approx((0.4, 0.6)[number], abs=1e-6)  # Newton's tolerance at t = 0
        assert executor.batches == []


def test_a_campaign_whose_bench_changed_does_not_go_on(tmp_path: Path) -> None:
    bench = Path(__file__).parents[2] / "netlists" / "1t1r_write.toml"
    own = tmp_path / "own.toml"
    own.write_text(bench.read_text())
    file = tmp_path / "plan.toml"
    file.write_text('bench = "own.toml"\n[grid]\nparameters.w0 = [0.4, 0.6]\n')
    Campaign.begin(file, tmp_path / "out").close()
    own.write_text(bench.read_text().replace('max = "400 pJ"', 'max = "300 pJ"'))
    executor = InProcess()
    with Campaign.open(tmp_path / "out") as campaign, pytest.raises(InputError, match="is not what the campaign began"):
        campaign.run(executor)
    executor.close()


def test_a_second_process_finds_the_store_locked(finished: Path) -> None:
    with Campaign.open(finished) as first, Campaign.open(finished) as second:
        first.store.lock()
        assert str(os.getpid()) in str(second.store.holder())
        with pytest.raises(StoreError, match=f"process {os.getpid()}"):
            second.store.lock()
        assert len(second.store) == 20  # reading needs no lock


def test_a_store_of_another_version_or_none_at_all_is_refused(plan: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="does not contain a campaign"):
        Store.load(tmp_path)
    Campaign.begin(plan, tmp_path / "out").close()
    with pytest.raises(InputError, match="already has a campaign"):
        Campaign.begin(plan, tmp_path / "out")
    database = sqlite3.connect(tmp_path / "out" / "results.sqlite")
    database.execute("UPDATE meta SET value = '99' WHERE name = 'schema'")
    database.commit()
    database.close()
    with pytest.raises(StoreError, match="version 99"):
        Store.load(tmp_path / "out")
    (tmp_path / "out" / "results.sqlite").write_bytes(b"no database at all, but long enough" * 40)
    with pytest.raises(StoreError, match="damaged"):
        Store.load(tmp_path / "out")


def test_a_row_is_inserted_once_and_never_changed(tmp_path: Path) -> None:
    with Store.create(tmp_path / "out", plan="", meta={}) as store:
        row = {"number": 3, "outcome": "converged", "verdict": "pass", "value": 1}
        assert store.add([Finished.of(Done(row))]) == 1
        assert store.add([Finished.of(Done({**row, **more})) for more in ({"value": 2}, {"number": 4})]) == 1
        assert [entry["value"] for entry in store.rows()] == [1, 1]
        with pytest.raises(ValueError, match="JSON compliant"):  # a row is JSON, and all of a batch or nothing
            store.add([Finished.of(Done({**row, "number": 5, "value": x})) for x in (1.0, float("nan"))])
        assert len(store) == 2


def test_tables_have_every_case_and_unit(finished: Path, tmp_path: Path) -> None:
    with Campaign.open(finished) as campaign:
        rows = list(campaign.store.rows())
        table, data = frame(campaign), dataset(campaign)
        for ending in ("csv", "nc", "parquet"):
            export(campaign, tmp_path / f"table.{ending}")
        with pytest.raises(InputError, match=r"\.csv"):
            export(campaign, tmp_path / "table.xlsx")
    assert table.attrs["units"]["devices.memristor.theta_p"] == "V"
    assert list(table["potentiated"]) == [row["measures"]["potentiated"][0] for row in rows]
    csv = pandas.read_csv(tmp_path / "table.csv")
    assert csv["pulse_energy[1] (J)"].to_numpy() == pytest.approx(table["pulse_energy[1]"].to_numpy(), rel=1e-15)
    parquet = pandas.read_parquet(tmp_path / "table.parquet")
    assert list(parquet["verdict"]) == [row["verdict"] for row in rows]
    with xarray.open_dataset(tmp_path / "table.nc", engine="scipy") as back:
        assert back["state"].shape == (20, 2)
        assert back["pulse_energy"].attrs["units"] == "J"
        np.testing.assert_array_equal(back["state"].values, data["state"].values)
        kept = [row["limits"]["potentiated"] for row in rows]
        assert list(back["limit_potentiated"].values) == kept
        assert list(back["physics_finite"].values) == [row["physics"]["finite"]["verdict"] for row in rows]
        assert back["seconds"].values == pytest.approx([row["seconds"] for row in rows])


def test_yields_are_counted_per_point_of_the_grid(finished: Path) -> None:
    with Campaign.open(finished) as campaign:
        found = groups(campaign)
        rows = list(campaign.store.rows())
    assert [dict(group.point) for group in found] == [{"corner": "nominal"}, {"corner": "hot"}]
    for group, corner in zip(found, ("nominal", "hot"), strict=True):
        own = [row for row in rows if row["corner"] == corner]
        assert group.cases == 10
        assert group.yields[ALL].passed == sum(row["verdict"] == "pass" for row in own)
        assert group.yields[ALL].low < group.yields[ALL].share < group.yields[ALL].high
        assert [group.measures[f"state[{k}]"].values.size for k in (0, 1)] == [10, 10]
        first = [row["measures"]["state"][0] for row in own]
        assert group.measures["state[0]"].mean == pytest.approx(float(np.mean(first)))
        assert "state" not in group.measures
        assert list(group.told) == list(group.yields)  # of several limits
        alone = replace(group, yields=dict.fromkeys(("state", ALL), group.yields[ALL]))
        assert list(alone.told) == ["state"]


def test_a_yield_that_the_cases_do_not_show_fails(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Campaign.open(finished) as campaign:
        yields = [group.yields[ALL] for group in groups(campaign)]
        smallest = min(entry.share for entry in yields)
        assert min(entry.low for entry in yields) < smallest < max(entry.high for entry in yields)
        assert campaign.plan.sample is not None
        for least, passes, says in [
            (0.5 * min(entry.low for entry in yields), True, ""),
            (smallest, False, "cannot tell"),
            (0.5 + 0.5 * max(entry.high for entry in yields), False, "fail"),
        ]:
            sample = campaign.plan.sample.model_copy(update={"yield_min": least})
            campaign.plan = campaign.plan.model_copy(update={"sample": sample})
            assert _yields(campaign) is passes
            told = capsys.readouterr().err
            assert says in told
            assert bool(told) is not passes


def test_a_difference_is_found_and_named(finished: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(PLAN.replace("trust = 0.1", 'form = "verilog-a"'))
    with Campaign.begin(file, tmp_path / "out") as other, Campaign.open(finished) as campaign:
        executor = InProcess()
        assert other.run(executor)
        executor.close()
        found = compare(campaign, other)
    assert found.both == 20
    assert not found.same(0.0)
    assert found.same(2e-3)  # both forms of a device agree within this
    assert 0.0 < found.largest["potentiated"][0] < 2e-3


def test_a_bitmap_is_a_set_of_numbers() -> None:
    bits = Bitmap(20)
    for number in (0, 7, 8, 19, 19, 400):
        bits.add(number)
    assert [number for number in range(30) if number in bits] == [0, 7, 8, 19]
    assert bits.count == 4


class Slow(InProcess):
    """Gives a made-up row a quarter of a second after it was asked."""

    def submit(self, function, job, cases, *, alone=False):
        time.sleep(0.25)
        future = Future()
        rows = [Finished.of(Done({"number": c, "outcome": "converged", "verdict": "pass"})) for c in cases]
        future.set_result(([tuple(row) for row in rows], 0.25))
        return future


def test_rows_are_committed_while_the_campaign_runs(tmp_path: Path) -> None:
    """No row waits for the end of a slow campaign: it takes 3 s, and no row is held back for more than 1."""
    committed: list[int] = []
    with Store.create(tmp_path / "out", plan="", meta={}) as store:
        loop = Loop(
            store, Slow(), Job("{}", "", "", ""), progress=Progress(12, 0), cases=[Case(k) for k in range(12)],
            by_number=True, tell=lambda _: committed.append(_rows(tmp_path / "out" / "results.sqlite")),
        )  # fmt: skip
        assert loop.run(range(12), count=12)
    assert committed[-1] == 12
    assert len({count for count in committed if 0 < count < 12}) >= 2


def test_ctrl_c_finishes_what_runs_and_says_how_to_go_on(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(PLAN.replace("samples = 10", "samples = 2000"))
    environment = {**os.environ, "COSIM_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-m", "cosim", "campaign", "run", str(file), "--into", str(tmp_path / "out"), "-j", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    database = tmp_path / "out" / "results.sqlite"
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if database.exists() and _rows(database) > 3:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"cosim campaign resume {tmp_path / 'out'}" in said
    before = _rows(database)
    assert 3 < before < 4000
    status = subprocess.run(
        [sys.executable, "-m", "cosim", "campaign", "status", str(tmp_path / "out"), "--json"],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert status.returncode == 1
    assert json.loads(status.stdout)["done"] == before


def _rows(database: Path) -> int:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        try:
            found = connection.execute("SELECT count(*) FROM rows").fetchone()[0]
        except sqlite3.OperationalError:  # not written yet
            return 0
    connection.close()
    return int(found)


def test_one_case_is_a_table_and_as_json_all_of_its_row(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["campaign", "show", str(finished), "--case", "3", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert main(["campaign", "show", str(finished), "--case", "3"]) == 0
    told = capsys.readouterr().out
    assert f"case 3, corner {row['corner']}: converged, {row['verdict']}" in told
    assert f"{row['measures']['potentiated'][0]:.4g}" in told
    assert "pulse_energy" in told
    assert "max 400 pJ" in told
    assert "every vector is finite" in told


def test_campaigns_without_a_common_case_are_not_compared(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.toml").write_text('bench = "1t1r_write"\n[grid]\nparameters.w0 = [0.41]\n')
    assert main(["campaign", "run", str(tmp_path / "other.toml"), "-o", str(tmp_path / "other")]) == 0
    capsys.readouterr()
    assert main(["campaign", "diff", str(finished), str(tmp_path / "other")]) == 1
    told = capsys.readouterr().out
    assert "0 cases in both, 20 in" in told
    assert "there is nothing to compare" in told
    assert "largest difference" not in told


def test_refused_cases_are_reported_with_the_first_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plan.toml").write_text('bench = "1t1r_write"\n[grid]\nparameters.w0 = [0.5, 1.5, 1.6]\n')
    assert main(["campaign", "run", str(tmp_path / "plan.toml"), "-o", str(tmp_path / "out")]) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "2 refused, case 1:" in told
    assert "is outside 0..1" in told
    assert "--only 'refused'" in told


@pytest.mark.needs("distributed")
@pytest.mark.parametrize("speaks", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_a_server_that_is_not_a_dask_scheduler_is_refused(tmp_path: Path, speaks: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: _speak(server, speaks), daemon=True).start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(InputError, match="is not a dask scheduler; give the port of the scheduler"):
            Dask(address, answer=5.0)


def _speak(server: socket.socket, text: bytes) -> None:
    line, _ = server.accept()
    with line:
        line.sendall(text)


def test_a_cluster_without_workers_stops_at_the_first_signal(tmp_path: Path) -> None:
    class Asleep(Stopping):
        awake = False

        def submit(self, function: Any, job: Any, cases: Any, *, alone: bool = False) -> Any:
            self.stop.set()
            return Future()  # nobody takes it

    (tmp_path / "plan.toml").write_text('bench = "1t1r_write"\n[grid]\nparameters.w0 = [0.5]\n')
    with Campaign.begin(tmp_path / "plan.toml", tmp_path / "out") as campaign:
        executor = Asleep()
        began = time.monotonic()
        assert not campaign.run(executor, stop=executor.stop)
        assert time.monotonic() - began < 30.0
        assert len(campaign.store) == 0


@settings(deadline=None)
@example(5e-324, 10**8, 10_000, 4096)  # a number of cases that is infinite
@given(st.floats(0.0, 1e4), st.integers(1, 10**8), st.integers(1, 10_000), st.integers(1, 4096))
def test_batches_fit(per_case: float, left: int, workers: int, most: int) -> None:
    size = batch_size(per_case, left=left, workers=workers, most=most)
    assert 1 <= size <= most
    if per_case == 0.0:
        assert size == 1  # nobody knows yet
    else:
        # as long as the workers of a large cluster ask for, and never much longer than that
        assert (size - 1) * per_case <= max(0.25, 0.01 * workers) + per_case
    assert 1 <= room(per_case, waited=0.0, workers=workers) <= 2 * workers
    assert room(per_case, waited=10.0, workers=workers) == 2 * workers


def test_the_last_batches_are_short_and_the_first_are_few() -> None:
    assert batch_size(0.02, left=10**6, workers=2) == 12
    assert batch_size(0.02, left=12, workers=2) == 2
    assert batch_size(0.02, left=10**7, workers=1000) == 500
    assert room(0.0, waited=0.0, workers=1000) < 100 < room(0.0, waited=10.0, workers=1000)
