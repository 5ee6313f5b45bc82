"""Campaigns that are killed at random moments lose nothing; `measure kills` does it ten times as often."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from claims.kills import KINDS, Found, Reader, disturb


def _write(folder: Path, rows: list[dict[str, Any]]) -> None:
    file = folder / "results.sqlite"
    file.unlink(missing_ok=True)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, key, outcome, verdict, seconds, at, row)")
        for row in rows:
            entries = [row[name] for name in ("number", "key", "outcome", "verdict", "seconds")]
            database.execute("INSERT INTO rows VALUES (?, ?, ?, ?, ?, 0, ?)", [*entries, json.dumps(row)])


def _row(number: int, value: float, **changes: Any) -> dict[str, Any]:
    return {
        "number": number, "corner": "nominal", "values": {"theta": value}, "engine": "e", "key": "k",
        "outcome": "converged", "verdict": "pass", "seconds": 0.1, **changes,
    }  # fmt: skip


def test_the_reader_finds_what_is_wrong(tmp_path: Path) -> None:
    """Each figure of the claim can be other than zero."""
    found = Found()
    reader = Reader(tmp_path, found, waveforms=False)
    _write(tmp_path, [_row(0, 0.1), _row(1, 0.2), _row(2, 0.3)])
    reader.glance()
    assert sorted(reader.examine()) == [0, 1, 2]
    assert (found.lost, found.changed, found.doubled, found.half_written) == (0, 0, 0, 0)
    _write(tmp_path, [_row(0, 0.1), _row(2, 0.3, verdict="fail"), _row(3, 0.1), _row(4, 0.1, corner="hot")])
    reader.examine()
    assert (found.lost, found.changed, found.doubled, found.half_written) == (1, 1, 1, 0)
    row = _row(5, 0.5)
    del row["engine"]
    _write(tmp_path, [row])
    reader.examine()
    assert (found.lost, found.half_written) == (1 + 5, 1)


class _Writing:
    """A life that writes a row each time somebody waits for it."""

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most, self.waits = folder, most, 0

    def wait(self, seconds: float) -> bool:
        del seconds
        self.waits += 1
        _write(self.folder, [_row(self.waits, 0.1 * self.waits)])  # the one before is lost
        return self.waits > self.most


def test_the_reader_looks_more_often_than_it_kills(tmp_path: Path) -> None:
    found = Found()
    reader = Reader(tmp_path, found, waveforms=False)
    assert reader.watch(_Writing(tmp_path, 4), 60.0)  # type: ignore[arg-type]
    reader.examine()
    assert found.lost == 4


@pytest.mark.spice
@pytest.mark.slow
def test_three_kills() -> None:
    """`./run measure kills` kills two hundred times."""
    found = disturb(3, seed=4, cases=60, tell=lambda _: None)
    print(found)
    assert found["kills"] == 3
    assert sum(found[f"kills_{kind}"] for kind in KINDS) == 3
    assert found["why"] == []
    wrong = ("lost", "doubled", "half_written", "changed", "missing", "different", "orphans", "unexplained")
    assert {name: found[name] for name in wrong} == dict.fromkeys(wrong, 0)
    assert found["rows"] == 60 * found["campaigns"]
