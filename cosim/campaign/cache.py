"""Cases that were run before, by their key: the same decks on the same engine get the row again.

One SQLite database (WAL) in the user's cache folder (``$COSIM_CACHE``, or the platform's), shared by all campaigns
of a user. It may be deleted at any time: it holds nothing that cannot be run again. Only runs that ended by
themselves are kept, not those that a limit or a signal ended.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cosim import resources
from cosim.campaign.cases import REPEATABLE, Done
from cosim.campaign.finished import Finished
from cosim.campaign.store import StoreError

SCHEMA = 1
_KEPT = frozenset(outcome.value for outcome in REPEATABLE)
_TABLES = f"""
CREATE TABLE IF NOT EXISTS rows (
    key TEXT PRIMARY KEY, made REAL NOT NULL, used REAL NOT NULL, size INTEGER NOT NULL, row TEXT NOT NULL,
    waveforms BLOB
) STRICT;
CREATE INDEX IF NOT EXISTS by_use ON rows (used);
PRAGMA user_version = {SCHEMA};
"""


def own_folder() -> Path:
    """``$COSIM_CACHE``, or ``cosim`` in the user's cache folder."""
    given = os.environ.get("COSIM_CACHE", "")
    return Path(given).expanduser() if given else resources.cache_folder()


_FIND = "SELECT row FROM rows WHERE key = ?"
_WITH_WAVEFORMS = "SELECT row, waveforms FROM rows WHERE key = ?"


@dataclass(frozen=True)
class Holding:
    """What a cache holds: its file, rows, bytes of them, and the oldest and latest use (seconds since 1970)."""

    path: Path
    rows: int
    size: int
    oldest: float | None
    latest: float | None


class Cache:
    """The database of finished cases. Raises `StoreError` where it cannot be read or written."""

    def __init__(self, folder: str | Path | None = None) -> None:
        self.path = (Path(folder) if folder is not None else own_folder()) / "cases.sqlite"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path, timeout=30.0, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            # Keys are random: every commit touches pages all over the index, so few large ones and room for its pages.
            self._database.execute("PRAGMA cache_size = -8192")
            self._database.execute("PRAGMA wal_autocheckpoint = 8000")
            version = self._database.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, SCHEMA):
                raise StoreError(
                    f"the cache {self.path} is of version {version}, this cosim keeps version {SCHEMA}",
                    remedy="set COSIM_CACHE to another folder, or delete the file",
                )
            if version == 0:
                self._database.executescript(f"BEGIN;{_TABLES}COMMIT;")
        except (OSError, sqlite3.Error) as error:
            raise _cannot("open", self.path, error) from None

    def find(self, key: str, *, waveforms: bool = False) -> Done | None:
        """The row of a case without what belongs to its plan; with ``waveforms`` only where they are kept, too."""
        try:
            found = self._database.execute(_WITH_WAVEFORMS if waveforms else _FIND, (key,)).fetchone()
        except sqlite3.Error as error:
            raise _cannot("read", self.path, error) from None
        if found is None or (waveforms and found[1] is None):
            return None
        return Done(json.loads(found[0]), found[1] if waveforms else None)

    def add(self, finished: Iterable[Finished | Done]) -> None:
        """Keep cases; one that is there stays, unless it now comes with waveforms."""
        now = time.time()
        values = []
        for given in finished:
            done = given if isinstance(given, Finished) else Finished.of(given)
            if done.outcome in _KEPT and done.key is not None:
                size = len(done.rest) + len(done.waveforms or b"")
                values.append((done.key, now, now, size, done.rest, done.waveforms))
        self._do(
            "INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET used = excluded.used, "
            "size = excluded.size, waveforms = excluded.waveforms "
            "WHERE rows.waveforms IS NULL AND excluded.waveforms IS NOT NULL",
            values,
        )

    def touch(self, keys: Iterable[str]) -> None:
        """Note that cases were used just now."""
        now = time.time()
        self._do("UPDATE rows SET used = ? WHERE key = ?", [(now, key) for key in keys])

    def __len__(self) -> int:
        return self.holding().rows

    def holding(self) -> Holding:
        """What is in it."""
        try:
            rows, size, oldest, latest = self._database.execute(
                "SELECT count(*), coalesce(sum(size), 0), min(used), max(used) FROM rows"
            ).fetchone()
        except sqlite3.Error as error:
            raise _cannot("read", self.path, error) from None
        return Holding(self.path, rows, size, oldest, latest)

    def prune(self, *, unused_for: float | None = None, larger_than: int | None = None) -> int:
        """Drop cases that were not used for so many seconds, then the least recently used ones until ``larger_than``
        bytes are left; returns how many were dropped, and gives their space back.
        """
        before = len(self)
        if unused_for is not None:
            self._do("DELETE FROM rows WHERE used < ?", [(time.time() - unused_for,)])
        if larger_than is not None:
            self._do(
                "DELETE FROM rows WHERE key IN (SELECT key FROM (SELECT key, sum(size) OVER (ORDER BY used DESC, key) "
                "AS total FROM rows) WHERE total > ?)",
                [(larger_than,)],
            )
        gone = before - len(self)
        if gone:
            with suppress(sqlite3.OperationalError):  # another campaign reads: the space is given back another time
                self._database.execute("VACUUM")
        return gone

    def _do(self, statement: str, values: list[tuple[Any, ...]]) -> None:
        if not values:
            return
        try:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                self._database.executemany(statement, values)
        except sqlite3.Error as error:
            raise _cannot("write", self.path, error) from None

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def own_row(found: Done, *, number: int, corner: str, values: Mapping[str, float | str]) -> Done:
    """A row from the cache as the row of a case."""
    return Done(
        {"number": number, "corner": corner, "values": dict(values), **found.row, "cached": True}, found.waveforms
    )


def _cannot(what: str, path: Path, error: Exception) -> StoreError:
    said = str(getattr(error, "strerror", None) or error)
    return StoreError(
        f"cannot {what} the cache {path}: {said}", remedy="set COSIM_CACHE to another folder, or run with --no-cache"
    )
