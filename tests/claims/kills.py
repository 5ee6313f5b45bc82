"""Campaigns that are killed at random moments, and what an independent reader finds of them.

A campaign runs as a user runs it, ``python -m cosim campaign run`` and then ``resume``, on two worker processes. It is
disturbed at moments drawn from its whole life, start-up and commits among them:

- the campaign's own process is killed (SIGKILL), half of the times just when its database is being written,
- one of its worker processes is, or one of the engine's processes,
- its disk is full: a small tmpfs is filled to the last byte where this process may mount one, else its process may
  write no file further than some bytes beyond its database's present end (``RLIMIT_FSIZE``).

While it lives and after each life the files are read by `sqlite3`, `json` and `zipfile` alone: every row that was ever
seen is there as it was, no case (corner and values, which are drawn and all differ) is there twice, none is half
written, waveforms are whole. In the end all cases are there, with the numbers of an undisturbed run, and no process of
a killed campaign is left.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from claims.base import Claim, Figures, Report

KILLS = 200
_CASES = 150
_PLAN = """
bench = "1t1r_write"
trust = 0.05
keep = "{keep}"
[sample]
samples = {cases}
seed = {seed}
variables.devices.memristor.theta_p = {{ relative = "20 %" }}
"""
_FIELDS = {"number", "corner", "values", "engine", "key", "outcome", "verdict", "seconds"}
_GONE = 15.0  # s that processes of a killed campaign have to notice
_TMPFS = 64  # MiB
_WORKING = 0.65  # the share of lives that are disturbed after their first commit, not before
_GLANCES = 0.1  # s between two of them
_LONGEST = 120.0  # s that a life may last

KINDS = ("campaign", "commit", "worker", "engine", "disk")
_WEIGHTS = (0.3, 0.25, 0.15, 0.15, 0.15)


@dataclass
class Found:
    """What an independent reader found wrong, over all campaigns; all are to be zero but the first two."""

    kills: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    lost: int = 0
    changed: int = 0
    doubled: int = 0
    half_written: int = 0
    missing: int = 0
    different: int = 0
    orphans: int = 0
    unexplained: list[str] = field(default_factory=list)


class Reader:
    """Reads a campaign's folder without the program's own code, and remembers every row that it has ever seen."""

    def __init__(self, folder: Path, found: Found, *, waveforms: bool) -> None:
        self.folder, self.found, self._waveforms = folder, found, waveforms
        self.seen: dict[int, str] = {}

    def glance(self) -> None:
        """Remember the rows that are committed while the campaign runs."""
        file = self.folder / "results.sqlite"
        if not file.exists():
            return
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5.0)) as database:
            for number, text in database.execute("SELECT number, row FROM rows"):
                self.seen.setdefault(number, text)

    def watch(self, life: Life, seconds: float) -> bool:
        """Look again and again for so many seconds, or until the life ends; returns whether it did."""
        end = time.monotonic() + seconds
        while not life.wait(min(_GLANCES, end - time.monotonic())):
            if time.monotonic() >= end:
                return False
            with contextlib.suppress(sqlite3.OperationalError):  # no room for a reader, either: there are more glances
                self.glance()
        return True

    def examine(self) -> dict[int, dict[str, Any]]:
        """Every row of a campaign that is not running, checked; reads a copy, which leaves the files unrepaired."""
        if not (self.folder / "results.sqlite").exists():
            self.found.lost += len(self.seen)
            return {}
        with tempfile.TemporaryDirectory(prefix="cosim-") as name:
            for file in self.folder.glob("results.sqlite*"):
                shutil.copy(file, name)
            with contextlib.closing(sqlite3.connect(Path(name) / "results.sqlite")) as database:
                if database.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                    self.found.half_written += 1
                listed = database.execute("SELECT number, key, outcome, verdict, row FROM rows").fetchall()
        numbers = [entry[0] for entry in listed]
        rows: dict[int, dict[str, Any]] = {}
        for number, key, outcome, verdict, text in listed:
            if self.seen.setdefault(number, text) != text:
                self.found.changed += 1
            try:
                row = json.loads(text)
            except ValueError:
                self.found.half_written += 1
                continue
            whole = set(row) >= _FIELDS and [row[n] for n in ("number", "key", "outcome", "verdict")] == [
                number, key, outcome, verdict,
            ]  # fmt: skip
            if not whole or (self._waveforms and outcome == "converged" and not self._whole(number)):
                self.found.half_written += 1
            rows[number] = row
        # the numbers are the database's key and cannot repeat; what was run for them can
        cases = [json.dumps([row.get("corner"), row.get("values")], sort_keys=True) for row in rows.values()]
        self.found.doubled += len(cases) - len(set(cases))
        self.found.lost += len(set(self.seen) - set(numbers))
        return rows

    def _whole(self, number: int) -> bool:
        """Whether a waveform file is there, passes its check sums, and holds finite numbers."""
        try:
            with zipfile.ZipFile(self.folder / "waveforms" / f"{number:06d}.npz") as archive:
                arrays = [np.load(io.BytesIO(archive.read(name)), allow_pickle=False) for name in archive.namelist()]
        except (OSError, ValueError, zipfile.BadZipFile):
            return False
        return len(arrays) > 1 and all(np.all(np.isfinite(array)) for array in arrays)


def _environment(scratch: Path) -> dict[str, str]:
    scratch.mkdir(parents=True, exist_ok=True)
    return {**os.environ, "TMPDIR": str(scratch), "COSIM_CACHE": str(scratch.parent / "cache")}


def processes_of(scratch: Path) -> list[int]:
    """All processes that were started with this folder for temporary files, or work in it: engines know no more."""
    mark, found = str(scratch).encode(), []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            said = (entry / "cmdline").read_bytes()
            if said and mark in said + (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


def _of_kind(pid: int, kind: str) -> bool:
    """Whether a process is an engine's, or a worker's (not one of Python's own helpers)."""
    with contextlib.suppress(OSError):
        said = Path(f"/proc/{pid}/cmdline").read_bytes()
        return (b"cosim.engines.worker.process" if kind == "engine" else b"spawn_main") in said
    return False


class Life:
    """One process of a campaign, from its start to its end."""

    def __init__(self, plan: Path, folder: Path, scratch: Path, *, cache: bool) -> None:
        begun = (folder / "results.sqlite").exists()
        verb = ["resume", str(folder)] if begun else ["run", str(plan), "--into", str(folder)]
        argv = [sys.executable, "-P", "-m", "cosim", "campaign", *verb, "--workers", "2", "--json"]
        self.scratch, self.folder = scratch, folder
        environment = _environment(scratch)
        self._output = scratch.parent / "stderr"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [*argv, *([] if cache else ["--no-cache"])], env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=output,
            )  # fmt: skip

    @property
    def said(self) -> str:
        """What it wrote to its standard error."""
        return self._output.read_bytes().decode("utf-8", "replace")

    def wait(self, seconds: float) -> bool:
        """Whether it ended by itself within so long."""
        try:
            self.process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return False
        return True

    def strike(self, kind: str, rng: np.random.Generator) -> bool:
        """Kill something; whether there was something to kill."""
        if kind in ("campaign", "commit"):
            if kind == "commit":
                self.until_written(seconds=1.0)
                time.sleep(float(rng.exponential(5e-4)))  # a moment in which the write may not be over
            if self.process.poll() is not None:
                return False
            self.process.kill()
            self.process.wait()
            return True
        pids = [pid for pid in processes_of(self.scratch) if pid != self.process.pid and _of_kind(pid, kind)]
        if not pids:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(rng.choice(pids)), signal.SIGKILL)
            return True
        return False

    def _log(self) -> tuple[int, int] | None:
        """Size and time of the database's write-ahead log."""
        with contextlib.suppress(OSError):
            found = (self.folder / "results.sqlite-wal").stat()
            return (found.st_size, found.st_mtime_ns) if found.st_size else None
        return None

    def until_written(self, *, seconds: float) -> bool:
        """Wait for the next write to the database; whether there was one."""
        before, end = self._log(), time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            if self._log() not in (before, None):
                return True
            time.sleep(2e-4)
        return False


@contextlib.contextmanager
def _disk(folder: Path) -> Iterator[bool]:
    """A small disk at ``folder``; gives whether it is one."""
    folder.mkdir(parents=True, exist_ok=True)
    umount = shutil.which("umount")
    argv = ["mount", "-t", "tmpfs", "-o", f"size={_TMPFS}m,mode=700", "tmpfs", str(folder)]
    may = os.geteuid() == 0 and umount is not None and shutil.which("mount") is not None
    own = may and subprocess.run(argv, capture_output=True, timeout=20, check=False).returncode == 0
    try:
        yield own
    finally:
        if own and umount is not None:
            subprocess.run([umount, "-l", str(folder)], capture_output=True, timeout=20, check=True)


def _fill(life: Life, disk: Path | None, rng: np.random.Generator) -> bool:
    """Let the campaign's disk be full; whether there was a campaign to do that to."""
    if disk is not None:
        with (disk / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(1 << 16))
        with (disk / "ballast").open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
            while ballast.write(bytes(512)):
                pass
        return life.process.poll() is None
    size = 0
    with contextlib.suppress(OSError):
        size = (life.folder / "results.sqlite-wal").stat().st_size
    with contextlib.suppress(ProcessLookupError):
        _, hard = resource.prlimit(life.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(life.process.pid, resource.RLIMIT_FSIZE, (size + int(rng.integers(1, 40_000)), hard))
        return life.process.poll() is None
    return False


def _live(
    life: Life, reader: Reader, found: Found, rng: np.random.Generator, *, spans: tuple[float, float], left: int,
    disk: Path | None,
) -> None:  # fmt: skip
    """One life with its disturbances, at most ``left``: at moments of its start (within the first of ``spans``, in
    seconds) or of its work (within the second, from its first commit).
    """
    working = rng.random() < _WORKING
    if working:
        life.until_written(seconds=_LONGEST)
    began, span = time.monotonic(), spans[working]
    moments = np.sort(rng.uniform(0.0, span, size=min(left, 1 + int(rng.poisson(1.0)))))
    for moment in moments:
        if reader.watch(life, moment - (time.monotonic() - began)):
            break
        reader.glance()
        kind = str(rng.choice(KINDS, p=_WEIGHTS))
        struck = _fill(life, disk, rng) if kind == "disk" else life.strike(kind, rng)
        found.kills[kind] += struck
        if kind in ("campaign", "commit", "disk"):
            break
    if not reader.watch(life, _LONGEST):
        life.process.kill()
        life.process.wait()
        found.unexplained.append(f"ran on for more than {_LONGEST:g} s: {life.said[-300:]}")
    if disk is not None:
        (disk / "ballast").unlink(missing_ok=True)
    code = life.process.returncode
    # 0 and 1 are a campaign's own, 2 says in a sentence what is wrong, e.g. that the disk is full
    wrong = code not in (0, 1, 2) or (code == 2 and not life.said.strip()) or "Traceback" in life.said
    if code != -signal.SIGKILL and wrong:  # the output of a killed campaign's children does not count
        found.unexplained.append(f"exit {code}: {life.said[-2000:]}")


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("seconds", "cached")}


def disturb(kills: int, *, seed: int, tell: Report, cases: int = _CASES) -> Figures:
    """Kill campaigns ``kills`` times; the figures of `Found`."""
    rng, found, scratches = np.random.default_rng(seed), Found(), []
    with tempfile.TemporaryDirectory(prefix="cosim-") as name, _disk(Path(name) / "disk") as own:
        home = Path(name)
        expected: dict[str, dict[int, dict[str, Any]]] = {}
        spans, campaigns, lives = (0.0, 0.0), 0, 0
        while sum(found.kills.values()) < kills:
            keep = ("measures", "waveforms")[campaigns % 2]
            plan = home / f"{keep}.toml"
            plan.write_text(_PLAN.format(keep=keep, cases=cases, seed=1))
            if keep not in expected:
                began = time.monotonic()
                whole = Life(plan, home / f"undisturbed-{keep}", home / "undisturbed", cache=False)
                whole.until_written(seconds=_LONGEST)
                start = time.monotonic() - began
                whole.wait(_LONGEST)
                spans = (max(start, spans[0]), max(time.monotonic() - began - start, spans[1]))
                expected[keep] = Reader(whole.folder, Found(), waveforms=False).examine()
                if len(expected[keep]) != cases:
                    raise RuntimeError(f"the undisturbed campaign does not end: {whole.said}")
            folder = home / "disk" / str(campaigns)
            reader = Reader(folder, found, waveforms=keep == "waveforms")
            rows: dict[int, dict[str, Any]] = {}
            for life_number in range(1000):
                struck = sum(found.kills.values())
                tell(f"kills: {struck} of {kills}, campaign {campaigns + 1}, {len(rows)} of {cases} rows")
                scratch = home / f"life-{lives}" / "scratch"
                scratches.append(scratch)
                lives += 1
                life = Life(plan, folder, scratch, cache=life_number % 2 == 0)
                _live(life, reader, found, rng, spans=spans, left=kills - struck, disk=home / "disk" if own else None)
                rows = reader.examine()
                if len(rows) == cases and life.process.returncode == 0:
                    break
            found.rows += len(rows)
            found.missing += len(set(expected[keep]) - set(rows))
            found.different += sum(
                _plain(row) != _plain(expected[keep].get(number, {})) for number, row in rows.items()
            )
            campaigns += 1
            shutil.rmtree(folder)
        deadline = time.monotonic() + _GONE
        while (left := {pid for scratch in scratches for pid in processes_of(scratch)}) and time.monotonic() < deadline:
            time.sleep(0.2)
        found.orphans = len(left)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    return {
        "seed": seed, "kills": sum(found.kills.values()), **{f"kills_{kind}": found.kills[kind] for kind in KINDS},
        "lost": found.lost, "doubled": found.doubled, "half_written": found.half_written, "changed": found.changed,
        "missing": found.missing, "different": found.different, "orphans": found.orphans,
        "unexplained": len(found.unexplained), "why": found.unexplained[:3], "rows": found.rows,
        "campaigns": campaigns, "lives": lives, "disk": "tmpfs" if own else "limit on the size of files",
    }  # fmt: skip


KILLS_CLAIM = Claim(
    "kills",
    f"after {KILLS} kills of campaigns, of their workers and engines, and with full disks, every row that was ever "
    "committed is there once, whole and unchanged, and every campaign ends with the numbers of an undisturbed one",
    lambda tell: disturb(KILLS, seed=int.from_bytes(os.urandom(4)), tell=tell),
    {
        "kills": (KILLS, None),
        **dict.fromkeys(
            ("lost", "doubled", "half_written", "changed", "missing", "different", "orphans", "unexplained"), (0, 0)
        ),
    },
)
