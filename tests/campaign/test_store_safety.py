"""A campaign's folder may be anybody's: what is not ours stays as it is, links are not followed, no right is taken."""

import errno
import fcntl
import json
import os
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from cosim.campaign import store as store_module
from cosim.campaign.campaign import Campaign
from cosim.campaign.store import Store, StoreError
from cosim.cli.app import main
from cosim.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Store.create(tmp_path / "out", plan="", meta={}).close()
    return tmp_path / "out"


@pytest.mark.parametrize("name", [".bashrc", "notes.txt", ".results.sqlite.old", ".000001.npz.abc.npz", "plan.toml"])
def test_a_folder_that_is_in_use_is_refused_and_left_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=r"is not empty: it holds .*name a folder that is new or empty"):
        Store.create(tmp_path, plan="bench = 1", meta={})
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_an_empty_folder_is_accepted_and_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    Store.create(tmp_path / "empty", plan="", meta={}).close()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is not a folder"):
        Store.create(tmp_path / "file", plan="", meta={})
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "plan.toml").symlink_to(tmp_path / "file")
    with pytest.raises(InputError, match="is not empty"):  # a link is not what a killed beginning leaves
        Store.create(tmp_path / "links", plan="mine", meta={})


def test_only_what_the_store_left_unfinished_is_cleared_away(folder: Path) -> None:
    (folder / "waveforms").mkdir()
    ours = [".results.sqlite.77", ".plan.toml.a1b2c3d4.toml", "waveforms/.000004.npz.a1b2c3d4.npz"]
    others = [".bashrc", ".git", ".results.sqlite.mine", "waveforms/.hidden", "waveforms/.results.sqlite.77"]
    for name in (*ours, *others):
        (folder / name).write_text("x")
    with Store.load(folder) as store:
        store.lock()
    assert [name for name in others if not (folder / name).exists()] == []
    assert [name for name in ours if (folder / name).exists()] == []


@pytest.mark.parametrize("name", ["waveforms", "plan.toml", "results.sqlite", "results.sqlite-wal", "lock"])
def test_a_link_is_not_followed(folder: Path, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    if name == "waveforms":
        elsewhere.mkdir()
        (elsewhere / ".000004.npz.a1b2c3d4.npz").write_text("mine")
    elif (folder / name).exists():
        (folder / name).rename(elsewhere)
    else:
        elsewhere.write_text("mine")
    (folder / name).symlink_to(elsewhere)
    with _unchecked(folder) as store, pytest.raises(StoreError, match=rf"{name} is a link"):
        store.lock()
    with pytest.raises(StoreError, match=rf"{name} is a link"):
        Store.load(folder)
    if name == "waveforms":
        assert (elsewhere / ".000004.npz.a1b2c3d4.npz").read_text() == "mine"
    if name == "lock":
        assert elsewhere.read_text() == "mine"


def _unchecked(folder: Path) -> Store:
    return Store(folder, sqlite3.connect(":memory:"))


def test_a_lock_of_two_names_is_not_written_to(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "diary").write_text("mine")
    os.link(tmp_path / "diary", folder / "lock")
    with Store.load(folder) as store:
        for use in (store.lock, store.holder):
            with pytest.raises(StoreError, match="lock is a link"):
                use()
    assert (tmp_path / "diary").read_text() == "mine"


def test_a_pipe_for_a_lock_blocks_nobody(folder: Path) -> None:
    os.mkfifo(folder / "lock")
    with _unchecked(folder) as store:
        for use in (store.lock, store.holder):
            with pytest.raises(StoreError, match="not a file"):
                use()


def test_who_asks_for_the_holder_does_not_stop_a_campaign(folder: Path) -> None:
    with Store.load(folder) as store:
        store.lock()
        assert str(os.getpid()) in str(store.holder())
    with Store.load(folder) as store:
        assert store.holder() is None
        asking = os.open(folder / "lock", os.O_RDONLY)
        fcntl.flock(asking, fcntl.LOCK_SH)
        timer = threading.Timer(0.1, os.close, (asking,))
        timer.start()
        store.lock()
        timer.join()
        assert str(os.getpid()) in str(store.holder())


def test_a_holder_that_has_gone_is_not_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_PATIENCE", 0.05)
    with Store.load(folder) as store:
        store.lock()
    asking = os.open(folder / "lock", os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    with Store.load(folder) as store, pytest.raises(StoreError, match=r"another process \(unknown\)"):
        store.lock()
    os.close(asking)


def test_a_file_system_without_locks_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(store_module.fcntl, "flock", none)
    began = time.monotonic()
    with (
        Store.load(folder) as store,
        pytest.raises(StoreError, match=r"cannot lock campaign .*No locks available.*has no locks"),
    ):
        store.lock()
    assert time.monotonic() - began < 0.5  # it does not get better by waiting


PLAN = 'bench = "1t1r_write"\n[grid]\nparameters.w0 = [0.4, 0.6]\n'


def _forge(folder: Path, /, **changes: object) -> None:
    with closing(sqlite3.connect(folder / "results.sqlite")) as database, database:
        job = json.loads(database.execute("SELECT value FROM meta WHERE name = 'job'").fetchone()[0])
        database.execute("UPDATE meta SET value = ? WHERE name = 'job'", (json.dumps({**job, **changes}),))


@pytest.mark.spice
def test_a_folder_that_a_campaign_may_read_is_named_by_who_opens_it(tmp_path: Path) -> None:
    file, libraries = tmp_path / "plan.toml", tmp_path / "some libraries"
    libraries.mkdir()
    file.write_text(PLAN)
    with Campaign.begin(file, tmp_path / "out", allow=[libraries]) as campaign:
        assert campaign.resume_line() == f"cosim campaign resume {tmp_path / 'out'} --allow '{libraries}'"
    with pytest.raises(InputError, match=f"began with --allow '{libraries}', which counts only when it is given again"):
        Campaign.open(tmp_path / "out")
    for given in (libraries, tmp_path):
        with Campaign.open(tmp_path / "out", allow=[given]) as campaign:
            assert campaign.bench.allowed == (libraries,)
    _forge(tmp_path / "out", allow=["/", str(libraries)])
    with pytest.raises(InputError, match="began with --allow /, which"):
        Campaign.open(tmp_path / "out", allow=[libraries])
    (tmp_path / "link").symlink_to("/etc")
    _forge(tmp_path / "out", allow=[str(tmp_path / "link")])
    with pytest.raises(InputError, match="began with --allow /etc, which"):
        Campaign.open(tmp_path / "out", allow=[tmp_path])


@pytest.mark.spice
@pytest.mark.parametrize(
    "changes", [{"allow": [3]}, {"allow": 3}, {"plan": "{"}, {"plan": "[" * 100_000}, {"folder": 1}, {"more": "x"}]
)
def test_a_campaign_that_does_not_say_what_it_is(tmp_path: Path, changes: dict[str, object]) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    Campaign.begin(tmp_path / "plan.toml", tmp_path / "out").close()
    _forge(tmp_path / "out", **changes)
    with pytest.raises(InputError, match="does not record what it was begun with"):
        Campaign.open(tmp_path / "out")


@pytest.mark.spice
@pytest.mark.parametrize("verb", ["status", "show", "resume"])
def test_allow_on_the_command_line(tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    (tmp_path / "libraries").mkdir()
    Campaign.begin(tmp_path / "plan.toml", tmp_path / "out", allow=[tmp_path / "libraries"]).close()
    argv = ["campaign", verb, str(tmp_path / "out"), *(["-j", "0", "--no-cache"] if verb == "resume" else [])]
    assert main(argv) == 2
    assert f"--allow {tmp_path / 'libraries'}" in capsys.readouterr().err
    assert main([*argv, "--allow", str(tmp_path / "libraries")]) == {"status": 1, "show": 0, "resume": 0}[verb]
