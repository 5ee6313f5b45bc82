"""How fast a raw file is read, beside a plain reading of the same bytes, and in how much memory.

A binary file as ngspice writes it, 50 vectors of 500 000 points: 200 MB, in the page cache. Three readings in turn:
all vectors with `read_raw`; the bytes alone through one small buffer, which no reader can beat; ``np.fromfile``, which
gives the numbers in the file's order, not as vectors. Where the package spicelib is installed, its reader is another.
Memory is the peak of a process of its own beyond what it had before the reading.
"""

from __future__ import annotations

import importlib
import multiprocessing
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from claims.base import Figures
from cosim.engines.raw import read_raw, stream_raw

VECTORS = 50
POINTS = 500_000
_ROUNDS = 7
_PLAIN = 1 << 20
_WRITTEN = 10_000  # points at once


def write_raw(path: Path, *, vectors: int = VECTORS, points: int = POINTS) -> int:
    """A transient in ngspice's binary format: time, and noise on every node. Gives its bytes of values."""
    names = ["time\ttime", *(f"v(n{k})\tvoltage" for k in range(1, vectors))]
    header = [
        "Title: raw file for a measurement", "Date: Thu Jan  1 00:00:00  1970", "Plotname: Transient Analysis",
        "Flags: real", f"No. Variables: {vectors}", f"No. Points: {points}", "Variables:",
        *(f"\t{k}\t{name}" for k, name in enumerate(names)), "Binary:", "",
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write("\n".join(header).encode())
        for first in range(0, points, _WRITTEN):
            table = rng.random((min(_WRITTEN, points - first), vectors))
            table[:, 0] = 1e-9 * np.arange(first, first + len(table))
            table.tofile(file)
    return vectors * points * 8


def _plain(path: Path) -> None:
    buffer = bytearray(_PLAIN)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def _status(key: str) -> float:
    """Bytes under ``VmRSS`` or ``VmHWM`` of this process."""
    found = re.search(rf"^{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None  # Linux has both
    return 1024.0 * float(found[1])


def _peak(path: Path, vectors: tuple[str, ...] | None, stream: bool) -> float:
    """Bytes that a reading adds to the largest size of this process, which must be new."""
    before = _status("VmRSS")
    if stream:
        for _ in stream_raw(path, vectors=vectors):
            pass
    else:
        read_raw(path, vectors=vectors)
    return _status("VmHWM") - before


def _peaks(path: Path, data: int) -> dict[str, float]:
    three = ("time", "v(n1)", f"v(n{VECTORS - 1})")
    found = []
    for vectors, stream in ((None, False), (three, False), (None, True)):
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as process:
            found.append(process.submit(_peak, path, vectors, stream).result())
    return {
        "peak_over_data": found[0] / data,
        "peak_of_three_vectors_mb": found[1] / 1e6,
        "peak_of_stream_mb": found[2] / 1e6,
    }


def _of_spicelib(path: Path) -> Figures:
    """The time of spicelib's reader over ours, all vectors of a tenth of the points; nothing where it is not there."""
    try:
        reader = importlib.import_module("spicelib").RawRead
    except ImportError:
        return {}
    write_raw(path, points=POINTS // 10)
    ratios = []
    for _ in range(3):
        began = time.perf_counter()
        read_raw(path)
        ours = time.perf_counter() - began
        began = time.perf_counter()
        read = reader(str(path), dialect="ngspice", verbose=False)
        for name in read.get_trace_names():
            read.get_trace(name)
        ratios.append((time.perf_counter() - began) / ours)
    return {"spicelib_over_ours": statistics.median(ratios)}


def raw_reading(*, points: int = POINTS) -> Figures:
    """MB/s of `read_raw`, its time over that of plain readings (medians of interleaved rounds), and its peak memory."""
    seconds: dict[str, list[float]] = {"raw": [], "plain": [], "fromfile": [], "stream": [], "three": []}
    with tempfile.TemporaryDirectory(prefix="cosim-") as folder:
        path = Path(folder) / "out.raw"
        data = write_raw(path, points=points)
        calls: dict[str, Callable[[], object]] = {
            "raw": lambda: read_raw(path),
            "plain": lambda: _plain(path),
            "fromfile": lambda: np.fromfile(path, dtype=np.uint8),
            "stream": lambda: sum(len(block.values[0]) for block in stream_raw(path)),
            "three": lambda: read_raw(path, vectors=("time", "v(n1)", "v(n2)")),
        }
        for k in range(1 + _ROUNDS):
            for name in calls if k % 2 else reversed(calls):
                began = time.perf_counter()
                calls[name]()
                if k > 0:
                    seconds[name].append(time.perf_counter() - began)
        peaks = _peaks(path, data)
        beside = _of_spicelib(path)
    median = {name: statistics.median(values) for name, values in seconds.items()}

    def over(name: str) -> float:
        return statistics.median(a / b for a, b in zip(seconds["raw"], seconds[name], strict=True))

    return {
        "raw_mb_per_s": data / median["raw"] / 1e6,
        "stream_mb_per_s": data / median["stream"] / 1e6,
        "three_vectors_mb_per_s": data / median["three"] / 1e6,
        "plain_read_mb_per_s": data / median["plain"] / 1e6,
        "over_plain_read": over("plain"),
        "over_fromfile": over("fromfile"),
        **peaks,
        **beside,
    }
