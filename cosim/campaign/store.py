"""Where the rows of a campaign are kept: one folder, in it an SQLite database (WAL), waveforms beside it.

::

    NAME/plan.toml              the plan as it was when the campaign began
    NAME/results.sqlite         one row per finished case; committed as they come
    NAME/waveforms/000012.npz   written whole before its row is committed
    NAME/lock                   held by the process that runs the campaign

A row that is there is whole and final: it is inserted once, in one transaction, and never changed. Whoever is killed
loses the rows that were not committed yet, a fraction of a second of work, and nothing else. ``synchronous = FULL``:
a committed row survives the loss of power, too.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self

from cosim.campaign.cases import Done
from cosim.campaign.finished import Finished
from cosim.errors import CosimError, InputError, MissingFile
from cosim.files import write_atomic

SCHEMA = 1
DATABASE = "results.sqlite"
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
        """A new campaign. Raises `InputError` where the folder has one already."""
        path = Path(folder)
        if (path / DATABASE).exists():
            raise InputError(
                f"{path} has a campaign already", remedy=f"go on with it: cosim campaign resume {path}; or name --into"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_atomic(path / "plan.toml", plan)
            _new_database(path, [("schema", str(SCHEMA)), *meta.items()])
            return cls(path, _connect(path / DATABASE))
        except FileExistsError:
            raise InputError(f"{path} was just begun by another process", remedy="name another folder") from None
        except (OSError, sqlite3.Error) as error:
            raise _cannot("begin", path, error) from None

    @classmethod
    def load(cls, folder: str | Path) -> Store:
        """A campaign that is there. Raises `MissingFile`, and `StoreError` for one of another version."""
        path = Path(folder)
        if not (path / DATABASE).is_file():
            raise MissingFile(f"{path} holds no campaign", remedy="give the folder that cosim campaign run wrote")
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
        written. Raises `StoreError` where another has it.
        """
        try:
            handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise _cannot("write", self.folder, error) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(handle, 100).decode("ascii", "replace").strip()
            os.close(handle)
            raise StoreError(
                f"{self.folder} is being run by another process ({holder or 'unknown'})",
                remedy="wait for it, or end it",
            ) from None
        with suppress(OSError):  # a full disk: the lock holds without a name, too
            os.ftruncate(handle, 0)
            os.write(handle, f"process {os.getpid()} on {os.uname().nodename}".encode())
        self._lock = handle
        for folder in (self.folder, self.folder / "waveforms"):
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):  # `write_atomic`'s and our own names for what is not whole yet
                        with suppress(OSError):
                            os.unlink(entry.path)

    def holder(self) -> str | None:
        """Which process runs the campaign just now, as it says itself; None where none does."""
        try:
            handle = os.open(self.folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return os.read(handle, 100).decode("ascii", "replace").strip() or "another process"
        else:
            return None
        finally:
            os.close(handle)

    def meta(self) -> dict[str, str]:
        """What the campaign was begun with."""
        return dict(self._database.execute("SELECT name, value FROM meta"))

    def plan_text(self) -> str:
        """The plan as it was when the campaign began."""
        return (self.folder / "plan.toml").read_text(encoding="utf-8")

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
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _new_database(folder: Path, meta: Iterable[tuple[str, str]]) -> None:
    """A database with its tables, or none: one that is half made could be neither begun nor gone on with.

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
    """A row that names a file must not survive a loss of power that the file does not."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=10.0, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    return database


def _cannot(what: str, folder: Path, error: Exception) -> StoreError:
    said = str(getattr(error, "strerror", None) or error)
    remedy = "check the folder"
    if "full" in said or "No space" in said or "quota" in said.lower():
        remedy = f"make room, then: cosim campaign resume {folder}"
    elif "locked" in said:
        remedy = "another program holds its database: close it"
    elif "malformed" in said or "not a database" in said:
        remedy = "its database is damaged: restore it, or begin anew in another folder"
    elif "readonly" in said or "unable to open" in said:
        remedy = "its folder cannot be written to"
    return StoreError(f"cannot {what} campaign {folder}: {said}", remedy=remedy)
