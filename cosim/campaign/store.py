"""Where the rows of a campaign are kept: one folder, in it an SQLite database (WAL), waveforms beside it.

::

    NAME/plan.toml              the plan as it was when the campaign began
    NAME/results.sqlite         one row per finished case; committed as they come
    NAME/waveforms/000012.npz   written whole before its row is committed
    NAME/lock                   held by the process that runs the campaign

A row that is there is whole and final: it is inserted once, in one transaction, and never changed. A process that is
killed loses the rows that were not committed yet, a fraction of a second of work, and nothing else. ``synchronous =
FULL``: a committed row survives the loss of power, too.

A folder may come from somebody else, so links in it are not followed but refused. Only
files with names that cosim gives are cleared away.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self

from cosim.campaign.cases import Done
from cosim.campaign.finished import Finished
from cosim.errors import CosimError, InputError, MissingFile
from cosim.files import read_plain, write_atomic

SCHEMA = 1
DATABASE = "results.sqlite"
_FILES = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal", "plan.toml", "lock")
# What is not whole yet, by `write_atomic`'s names and by `_new_database`'s.
_UNFINISHED = re.compile(r"\.plan\.toml\.[a-z0-9_]+\.toml|\.results\.sqlite\.[0-9]+(-journal|-wal|-shm)?")
_UNFINISHED_WAVEFORMS = re.compile(r"\.[0-9]{6,}\.npz\.[a-z0-9_]+\.npz")
_PLAN_BYTES = 64 << 20
_PATIENCE = 1.0  # s for a lock that another process only inquires about
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS rows (
    number INTEGER PRIMARY KEY, key TEXT, outcome TEXT NOT NULL, verdict TEXT NOT NULL, seconds REAL, at REAL NOT NULL,
    row TEXT NOT NULL
) STRICT;
"""
_ROWS = "SELECT row FROM rows WHERE number >= ? AND (? = '' OR outcome = ? OR verdict = ?) ORDER BY number"
_COUNTS = {
    "outcome": "SELECT outcome, count(*) FROM rows GROUP BY 1 ORDER BY 2 DESC",
    "verdict": "SELECT verdict, count(*) FROM rows GROUP BY 1 ORDER BY 2 DESC",
}
_INSERT = "INSERT OR IGNORE INTO rows (number, key, outcome, verdict, seconds, at, row) VALUES (?, ?, ?, ?, ?, ?, ?)"


class StoreError(CosimError, RuntimeError):
    """A campaign's store that cannot be written: full, locked, or of another version."""


class Store:
    """A campaign's folder. Open it with `create` or `load`; a context manager.

    Reading needs no lock and may go on while another process writes.
    """

    def __init__(self, folder: Path, database: sqlite3.Connection) -> None:
        self.folder = folder
        self._database = database
        self._lock: int | None = None

    @classmethod
    def create(cls, folder: str | Path, *, plan: str, meta: Mapping[str, str]) -> Store:
        """A new campaign, in a folder that is new or empty. Raises `InputError` for any other."""
        path = Path(folder)
        _check_unused(path, plan)
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_atomic(path / "plan.toml", plan)
            _new_database(path, [("schema", str(SCHEMA)), *meta.items()])
            return cls(path, _connect(path / DATABASE))
        except FileExistsError:
            if not path.is_dir():
                raise InputError(f"{path} is not a folder", remedy="name another one") from None
            raise InputError(f"{path} was just begun by another process", remedy="name another folder") from None
        except (OSError, sqlite3.Error) as error:
            raise _cannot("begin", path, error) from None

    @classmethod
    def load(cls, folder: str | Path) -> Store:
        """An existing campaign. Raises `MissingFile`; `StoreError` for one of another version, or with a link."""
        path = Path(folder)
        _check_files(path)
        if not (path / DATABASE).is_file():
            raise MissingFile(
                f"{path} does not contain a campaign", remedy="give the folder that cosim campaign run wrote"
            )
        try:
            database = _connect(path / DATABASE)
            found = dict(database.execute("SELECT name, value FROM meta"))
        except sqlite3.Error as error:
            raise _cannot("read", path, error) from None
        if found.get("schema") != str(SCHEMA):
            raise StoreError(
                f"{path} is a campaign of version {found.get('schema')}, this cosim reads version {SCHEMA}",
                remedy="export it with the cosim that wrote it",
            )
        return cls(path, database)

    def lock(self) -> None:
        """Reserve the campaign for this process, until it ends, and clear away what one that was killed left half
        written. Raises `StoreError` where another has it, and where the folder cannot be locked.
        """
        _check_files(self.folder)
        handle = self._open_lock(os.O_RDWR | os.O_CREAT)
        try:
            if not _locked(handle, fcntl.LOCK_EX, patience=_PATIENCE):
                raise StoreError(
                    f"{self.folder} is being run by another process ({_said(handle) or 'unknown'})",
                    remedy="wait for it, or end it",
                )
        except OSError as error:
            os.close(handle)
            raise _cannot("lock", self.folder, error) from None
        except StoreError:
            os.close(handle)
            raise
        with suppress(OSError):  # a full disk: the lock holds without a name, too
            os.ftruncate(handle, 0)
            os.write(handle, f"process {os.getpid()} on {os.uname().nodename}".encode())
        self._lock = handle
        _clear(self.folder.resolve(), _UNFINISHED)
        _clear(self.folder / "waveforms", _UNFINISHED_WAVEFORMS)

    def holder(self) -> str | None:
        """The process that runs the campaign at the moment, as it calls itself; None without any.

        Asking takes a shared lock for a moment, which `lock` waits for. Raises `StoreError` for a lock that is a link.
        """
        try:
            handle = self._open_lock(os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            return None if _locked(handle, fcntl.LOCK_SH) else _said(handle) or "another process"
        except OSError:  # without locks no process runs it
            return None
        finally:
            os.close(handle)

    def _open_lock(self, how: int) -> int:
        """The lock's file, which is written to, so a link is refused. Raises `StoreError`; for a reader
        `FileNotFoundError` where there is none.
        """
        path = self.folder / "lock"
        try:
            handle = os.open(path, how | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        except OSError as error:
            if error.errno == errno.ENOENT and not how & os.O_CREAT:
                raise
            raise _linked(path) if error.errno == errno.ELOOP else _cannot("lock", self.folder, error) from None
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            os.close(handle)
            raise _linked(path)
        return handle

    def meta(self) -> dict[str, str]:
        """What the campaign was begun with."""
        return dict(self._database.execute("SELECT name, value FROM meta"))

    def plan_text(self) -> str:
        """The plan as it was when the campaign began."""
        return read_plain(self.folder / "plan.toml", limit=_PLAN_BYTES, kind="plan").decode("utf-8", "replace")

    def each_number(self) -> Iterator[int]:
        """The cases that have a row, in order."""
        return (number for (number,) in self._database.execute("SELECT number FROM rows ORDER BY number"))

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM rows").fetchone()[0])

    def counts(self, column: str) -> dict[str, int]:
        """How many rows have each ``"outcome"`` or ``"verdict"``."""
        return dict(self._database.execute(_COUNTS[column]))

    def rows(
        self, *, numbers: Iterable[int] | None = None, where: str = "", start: int = 0
    ) -> Iterator[dict[str, Any]]:
        """Rows in the order of their numbers: all, those of ``numbers``, or those with an outcome or verdict."""
        if numbers is not None:
            for number in numbers:
                found = self._database.execute("SELECT row FROM rows WHERE number = ?", (number,)).fetchone()
                if found is not None:
                    yield json.loads(found[0])
            return
        for (text,) in self._database.execute(_ROWS, (start, where, where, where)):
            yield json.loads(text)

    def waveforms(self, number: int) -> Path:
        """Where the waveforms of a case are, or would be."""
        return self.folder / "waveforms" / f"{number:06d}.npz"

    def add(self, finished: Iterable[Finished | Done]) -> int:
        """Commit rows, all or none of them, their waveforms first; returns how many were new.

        Raises `StoreError`, e.g. where the disk is full; what was committed before stays.
        """
        values, now, folders = [], time.time(), set()
        try:
            for given in finished:
                done = given if isinstance(given, Finished) else Finished.of(given)
                if done.waveforms is not None:
                    path = write_atomic(self.waveforms(done.number), done.waveforms)
                    _to_disk(path)
                    folders.add(path.parent)
                values.append((done.number, done.key, done.outcome, done.verdict, done.seconds, now, done.text))
            for folder in folders:
                _to_disk(folder)
            before = self._database.total_changes
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                self._database.executemany(_INSERT, values)
            return self._database.total_changes - before
        except (OSError, sqlite3.Error, InputError) as error:
            raise _cannot("write", self.folder, error) from None

    def close(self) -> None:
        """Close the database and give the lock back."""
        self._database.close()
        if self._lock is not None:
            with suppress(OSError):  # the name is cleared for the next process; on a full disk the old one stays
                os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_unused(folder: Path, plan: str) -> None:
    """Raises `InputError` for a folder with anything in it but the remains of a killed beginning of this plan."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise InputError(f"{folder} is not a folder", remedy="name another one") from None
    except OSError as error:
        raise _cannot("begin", folder, error) from None
    if any(entry.name == DATABASE for entry in found):
        raise InputError(
            f"{folder} already has a campaign", remedy=f"resume it: cosim campaign resume {folder}; or name --into"
        )
    for entry in found:
        left = entry.is_file(follow_symlinks=False) and (
            _UNFINISHED.fullmatch(entry.name)
            or (entry.name == "plan.toml" and read_plain(entry.path, limit=_PLAN_BYTES, kind="plan") == plan.encode())
        )
        if not left:
            raise InputError(
                f"{folder} is not empty: it holds {entry.name[:80]!r}", remedy="name a folder that is new or empty"
            )


def _check_files(folder: Path) -> None:
    """Raises `StoreError` for a path of the campaign's that is not a plain file, or a link, which may lead anywhere."""
    for name in (*_FILES, "waveforms"):
        path = folder / name
        try:
            mode = path.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise _cannot("read", folder, error) from None
        if not (stat.S_ISDIR(mode) if name == "waveforms" else stat.S_ISREG(mode)):
            raise _linked(path)


def _linked(path: Path) -> StoreError:
    kind = "folder" if path.name == "waveforms" else "file"
    return StoreError(
        f"{path} is a link, or not a {kind}: a campaign's files have to lie in its folder",
        remedy=f"put the {kind} itself there",
    )


def _locked(handle: int, how: int, *, patience: float = 0.0) -> bool:
    """Whether the lock was taken within so many seconds. Raises `OSError` where the file system has no locks."""
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.01)
        else:
            return True


def _said(handle: int) -> str:
    return os.pread(handle, 100, 0).decode("ascii", "replace").strip()


def _clear(folder: Path, names: re.Pattern[str]) -> None:
    """Remove what was never finished; nothing in a folder that is not a campaign's."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            with os.scandir(handle) as entries:
                for entry in entries:
                    if names.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        with suppress(OSError):
                            os.unlink(entry.name, dir_fd=handle)
        finally:
            os.close(handle)


def _new_database(folder: Path, meta: Iterable[tuple[str, str]]) -> None:
    """A database with its tables, made at once: one that is half made could be neither begun nor resumed.

    Raises `FileExistsError` where there is one already.
    """
    temporary = folder / f".{DATABASE}.{os.getpid()}"
    try:
        with closing(sqlite3.connect(temporary, isolation_level=None)) as database:
            database.execute("PRAGMA synchronous = FULL")
            database.execute("BEGIN IMMEDIATE")
            for statement in _TABLES.split(";"):
                database.execute(statement)
            database.executemany("INSERT INTO meta VALUES (?, ?)", meta)
            database.execute("COMMIT")
        try:
            os.link(temporary, folder / DATABASE)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            os.rename(temporary, folder / DATABASE)
        _to_disk(folder)
    finally:
        temporary.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """After a loss of power no row may name a file that was lost."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=10.0, isolation_level=None)
    database.execute("PRAGMA trusted_schema = OFF")  # it may be a stranger's
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    return database


def _cannot(what: str, folder: Path, error: Exception) -> StoreError:
    said = str(getattr(error, "strerror", None) or error)
    remedy = "check the folder"
    if "full" in said or "No space" in said or "quota" in said.lower():
        remedy = f"make room, then: cosim campaign resume {folder}"
    elif "No locks" in said:
        remedy = "its file system has no locks: choose a folder on another one"
    elif "locked" in said:
        remedy = "another program holds its database: close it"
    elif "malformed" in said or "not a database" in said:
        remedy = "its database is damaged: restore it, or begin anew in another folder"
    elif "readonly" in said or "unable to open" in said:
        remedy = "its folder cannot be written to"
    return StoreError(f"cannot {what} campaign {folder}: {said}", remedy=remedy)
