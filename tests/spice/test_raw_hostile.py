"""Raw files that lie, change while they are read, or are larger than what is wanted of them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cosim.engines.library import find_ngspice
from cosim.engines.raw import read_raw, stream_raw
from cosim.errors import DataError, InputError, MissingFile, UnknownName


def raw(points: object, variables: list[str], body: bytes, *, flags: str = "real", text: bool = False) -> bytes:
    rows = [
        "Title: t", "Plotname: Transient Analysis", f"Flags: {flags}", f"No. Variables: {len(variables)}",
        f"No. Points: {points}", "Variables:", *(f"\t{k}\t{entry}" for k, entry in enumerate(variables)),
        "Values:" if text else "Binary:", "",
    ]  # fmt: skip
    return "\n".join(rows).encode() + body


def peak_of(call: Callable[[], object]) -> int:
    """Bytes that ``call`` had at once, numpy's included."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


TWO = ["time\ttime", "v(a)\tvoltage"]
HOSTILE = {
    "1e15 points": raw(10**15, TWO, b"\0" * 64),
    "more points than a machine integer": raw(10**30, TWO, b"\0" * 64),
    "points times bytes overflow": raw(2**60, TWO, b"\0" * 64),
    "1e15 points of text": raw(10**15, TWO, b"0\t0.0\n\t1.0\n", text=True),
    "negative points": raw(-4, TWO, b"\0" * 64),
    "points that are no number": raw("1e3", TWO, b"\0" * 64),
    "a number of 5000 digits": raw("9" * 5000, TWO, b"\0" * 64),
    "more variables than there are": raw(1, TWO, b"").replace(b"Variables: 2", b"Variables: 900000000000000"),
    "negative variables": raw(1, [], b"").replace(b"Variables: 0", b"Variables: -1"),
    "no table of variables": b"Title: t\nNo. Variables: 3\nNo. Points: 1\nBinary:\n" + b"\0" * 24,
    "two tables of variables": raw(1, TWO, b"\0" * 32).replace(
        b"Binary:", b"Variables:\n\t0\tx\tvoltage\n\t1\ty\tvoltage\nBinary:"
    ),
    "negative dimensions": raw(2, [TWO[0], "v(a)\tvoltage dims=-3"], b"\0" * 64, flags="real unpadded"),
    "dimensions that are no numbers": raw(2, [TWO[0], "v(a)\tvoltage dims=a,b"], b"\0" * 64),
    "a million dimensions": raw(2, [TWO[0], "v(a)\tvoltage dims=" + "99," * 300_000], b"\0" * 64),
    "a line without end": b"Title: " + b"x" * (2 << 20),
    "a number without end": raw(2, TWO, b"0\t" + b"1" * (3 << 20), text=True),
    "more lengths than a simulator writes": raw(
        2000, [f"v{k}\tvoltage dims={k}" for k in range(1, 2001)], b"\0" * 8 * 2001000, flags="real unpadded"
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_header_that_lies_is_refused_in_little_memory_and_time(tmp_path: Path, name: str) -> None:
    file = tmp_path / "x.raw"
    file.write_bytes(HOSTILE[name])
    began = time.perf_counter()

    def read() -> None:
        with pytest.raises(DataError, match=r"x\.raw:\d+: raw file: "):
            read_raw(file)
        with pytest.raises(DataError, match=r"x\.raw:\d+: raw file: "):
            list(stream_raw(file))

    # both reads hold pieces of 1 MiB of it, and nothing of what it claims
    assert peak_of(read) < 2 * len(HOSTILE[name]) + (16 << 20)
    assert time.perf_counter() - began < 5.0  # 0.1 s; work as large as the claim would never end


def test_claims_beyond_the_file_are_cut_to_it_on_demand(tmp_path: Path) -> None:
    (tmp_path / "x.raw").write_bytes(HOSTILE["more points than a machine integer"])
    (plot,) = read_raw(tmp_path / "x.raw", partial=True)
    assert [len(values) for values in plot.values] == [4, 4]
    assert not plot.complete


def test_one_long_vector_does_not_make_the_others_long(tmp_path: Path) -> None:
    others, points = 2000, 20_000  # a table of all would take 320 MB
    names = ["time\ttime", *(f"v({k})\tvoltage dims=1" for k in range(others))]
    body = np.arange(1 + others + points - 1, dtype=float).tobytes()
    (tmp_path / "x.raw").write_bytes(raw(points, names, body, flags="real unpadded"))
    # twice the names, and the values
    assert peak_of(lambda: read_raw(tmp_path / "x.raw")) < 8 << 20
    (plot,) = read_raw(tmp_path / "x.raw")
    np.testing.assert_array_equal(plot.values[0], [0, *range(others + 1, others + points)])
    assert [values.tolist() for values in plot.values[1:]] == [[float(k)] for k in range(1, others + 1)]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 MB: 50 vectors, value = 1000 × point + vector."""
    file = tmp_path_factory.mktemp("raw") / "large.raw"
    table = 1000.0 * np.arange(40_000)[:, None] + np.arange(50)[None, :]
    file.write_bytes(raw(40_000, [f"v({k})\tvoltage" for k in range(50)], table.tobytes()))
    return file


def test_little_more_than_what_is_kept_is_in_memory(large: Path) -> None:
    column = 40_000 * 8
    assert peak_of(lambda: read_raw(large)) < 1.2 * 50 * column
    # three vectors, and the half MiB that is turned into columns at once
    assert peak_of(lambda: read_raw(large, vectors=["v(0)", "v(7)", "v(49)"])) < 1.2 * 3 * column + (1 << 20)

    def stream() -> None:
        for _ in stream_raw(large, block=1000):
            pass

    # the block that the loop still holds and the one that is made
    assert peak_of(stream) < 1.2 * 2 * 50 * 1000 * 8 + (1 << 20)


def test_of_very_wide_points_only_what_is_wanted_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    width, points = 50_000, 20
    table = np.random.default_rng(0).normal(size=(points, width))
    (tmp_path / "x.raw").write_bytes(raw(points, [f"v({k})\tvoltage" for k in range(width)], table.tobytes()))
    size, plain = 0, os.preadv

    def preadv(handle: int, buffers: list[memoryview], offset: int) -> int:
        nonlocal size
        got = plain(handle, buffers, offset)
        size += got
        return got

    monkeypatch.setattr(os, "preadv", preadv)
    chosen = [0, 1, 5, 20_000, 49_999]
    (plot,) = read_raw(tmp_path / "x.raw", vectors=[f"v({k})" for k in chosen])
    np.testing.assert_array_equal(np.array(plot.values).T, table[:, chosen])
    assert size < points * 8 * 20  # what lies between the first three is read with them


@pytest.mark.parametrize("text", [False, True])
def test_a_file_that_becomes_shorter_while_it_is_read(tmp_path: Path, text: bool) -> None:
    points = 300_000
    body = np.zeros((points, 2)).tobytes()
    if text:
        body = b"".join(b"%d\t%d.0\n\t1.0\n" % (k, k) for k in range(points))
    (tmp_path / "x.raw").write_bytes(raw(points, TWO, body, text=text))
    blocks = stream_raw(tmp_path / "x.raw", block=1000)
    next(blocks)
    os.truncate(tmp_path / "x.raw", 2000)
    with pytest.raises(DataError, match="shorter"):
        list(blocks)


@pytest.mark.parametrize(
    ("body", "row", "says"),
    [
        (b"0\t0.0\n\t1.0\n1\t0.5\n\tx.5\n", 13, "'x.5' is not a number"),
        (b"0\t0.0\n\t1.0\n2\t0.5\n\t1.0\n", 12, "2 instead of the number of point 1"),
        (b"0\t0.0\n1\t7.0\n\t0.5\n2\t1.0\n", 11, "7 instead of the number of point 1"),
        (b"0\t0.0\n\t1.0\n1\t0.5\n\t1.0\n2\t1.0\n\t1.0\n", 15, "more values than 2 points"),
        (b"0\t0.0\n\t1.0\n1\t0.5\n", 12, "1 of 2 points are complete"),
        (b"0\t0.0\n\t1.0\n1\t0.5\n\t1.0", 12, "1 of 2 points are complete"),  # 1.0 or the beginning of 1.0e-9
        (b"0\t0.0\n\t1.0\0\n1\t0.5\n\t1.0\n", 11, "is not a number"),
    ],
)
def test_text_that_is_no_table_of_numbers(tmp_path: Path, body: bytes, row: int, says: str) -> None:
    (tmp_path / "x.raw").write_bytes(raw(2, TWO, body, text=True))
    with pytest.raises(DataError, match=says) as caught:
        read_raw(tmp_path / "x.raw")
    assert caught.value.where is not None
    assert caught.value.where.line == row


def test_text_in_several_pieces_is_one_plot(tmp_path: Path) -> None:
    points = 150_000  # 4 MB, pieces of 1 MiB
    values = np.random.default_rng(0).normal(size=points)
    body = b"".join(b" %d\t%.17g\n\t%.17g\n\n" % (k, k, value) for k, value in enumerate(values))
    (tmp_path / "x.raw").write_bytes(raw(points, TWO, body, text=True) * 2)
    plots = read_raw(tmp_path / "x.raw")
    assert len(plots) == 2
    for plot in plots:
        np.testing.assert_array_equal(plot.values[1], values)


def test_a_vector_that_no_plot_has(large: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"large\.raw: unknown vector 'v\(50\)'; did you mean v\("):
        read_raw(large, vectors=["v(0)", "v(50)"])
    text = raw(1, TWO, b"0\t0.0\n\t1.0\n", text=True)
    (tmp_path / "x.raw").write_bytes(text + raw(1, ["v(b)\tvoltage"], b"0\t2.0\n", text=True))
    first, second = read_raw(tmp_path / "x.raw", vectors=["time", "V(B)"])
    assert (first.names, second.names) == (("time",), ("v(b)",))
    with pytest.raises(UnknownName, match=r"unknown vector 'v\(c\)'"):
        read_raw(tmp_path / "x.raw", vectors=["v(c)"])


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(MissingFile, match="not a regular file"):
            read_raw(path)
    with pytest.raises(InputError, match="a block of 0 points"):
        next(stream_raw(tmp_path / "x.raw", block=0))


@pytest.mark.spice
@pytest.mark.parametrize("text", [False, True])
def test_an_ngspice_that_is_killed_leaves_its_points(tmp_path: Path, text: bool) -> None:
    program = find_ngspice()
    if program is None:
        pytest.skip("no ngspice")
    (tmp_path / "deck.cir").write_text(
        "endless\nV1 in 0 sin(0 1 1meg)\nR1 in out 1k\nC1 out 0 1n\n.tran 1n 1 0 1n\n.end\n"
    )
    process = subprocess.Popen(
        [program, "-b", "-r", "out.raw", "deck.cir"], cwd=tmp_path, env={"SPICE_ASCIIRAWFILE": str(int(text))},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    file, counts = tmp_path / "out.raw", []
    try:
        for size in (100_000, 400_000):
            deadline = time.monotonic() + 30
            while (not file.exists() or file.stat().st_size < size) and time.monotonic() < deadline:
                time.sleep(0.01)
            with pytest.raises(DataError, match="values after its 0 points"):  # what ngspice says until its end
                read_raw(file)
            (plot,) = read_raw(file, partial=True)
            counts.append(len(plot.values[0]))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (plot,) = read_raw(file, partial=True)
    assert not plot.complete
    assert 0 < counts[0] < counts[1] <= len(plot.values[0])
    t, v_in = plot.values[plot.names.index("time")], plot.values[plot.names.index("v(in)")]
    assert np.all(np.diff(t) > 0)
    # the source's own sine at ngspice's own times, to the 16 digits that text has
    np.testing.assert_allclose(v_in, np.sin(2e6 * np.pi * t), atol=1e-9)
