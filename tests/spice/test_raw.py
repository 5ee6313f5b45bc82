"""The raw reader: what ngspice writes, binary and ASCII, and what it could write."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosim.engines.library import find_ngspice
from cosim.engines.raw import read_raw, stream_raw
from cosim.errors import DataError, MissingFile

DECK = """all plots
V1 in 0 dc 1 ac 1
R1 in out 1k
C1 out 0 1n
.op
.ac dec 3 1k 1meg
.dc V1 0 1 0.5
.tran 10n 1u
.save all @r1[i]
.end
"""


def write(
    path: Path,
    *,
    flags: str,
    names: list[str],
    columns: list[np.ndarray],
    text: bool = False,
    points: int | None = None,
) -> list[int]:
    """Write one plot, of which it says that it has ``points``; gives where its values begin and each point ends."""
    count = max(len(column) for column in columns)
    rows = [
        "Title: t", "Date: now", "Plotname: Transient Analysis", f"Flags: {flags}", f"No. Variables: {len(names)}",
        f"No. Points: {count if points is None else points}", "Variables:",
    ]  # fmt: skip
    for index, (name, column) in enumerate(zip(names, columns, strict=True)):
        dims = f" dims={len(column)}" if len(column) < count else ""
        rows.append(f"\t{index}\t{name}\tvoltage{dims}")
    header = "\n".join([*rows, "Values:" if text else "Binary:", ""]).encode()
    body, ends = bytearray(), [len(header)]
    for point in range(count):
        body += f" {point}".encode() if text else b""
        for column in columns:
            if point < len(column) or "unpadded" not in flags:
                value = column[point] if point < len(column) else column.dtype.type(0)
                if not text:
                    body += value.tobytes()
                elif "complex" in flags:
                    body += f"\t{float(value.real)!r},{float(value.imag)!r}\n".encode()
                else:
                    body += f"\t{float(value)!r}\n".encode()
        ends.append(len(header) + len(body))
        body += b"\n" if text else b""
    path.write_bytes(header + bytes(body))
    return ends


@pytest.mark.spice
def test_ascii_and_binary_files_of_ngspice_say_the_same(tmp_path: Path) -> None:
    program = find_ngspice()
    if program is None:
        pytest.skip("no ngspice")
    (tmp_path / "deck.cir").write_text(DECK)
    for kind, name in ((0, "binary.raw"), (1, "ascii.raw")):
        subprocess.run(
            [program, "-b", "-r", name, "deck.cir"], cwd=tmp_path, env={"SPICE_ASCIIRAWFILE": str(kind)},
            capture_output=True, timeout=60, check=True,
        )  # fmt: skip
    binary, text = read_raw(tmp_path / "binary.raw"), read_raw(tmp_path / "ascii.raw")
    assert {plot.name for plot in binary} == {
        "Operating Point", "AC Analysis", "DC transfer characteristic", "Transient Analysis",
    }  # fmt: skip
    for one, other in zip(binary, text, strict=True):
        assert (one.name, one.names, one.types) == (other.name, other.names, other.types)
        for first, second in zip(one.values, other.values, strict=True):
            assert first.dtype == second.dtype
            np.testing.assert_allclose(first, second, rtol=1e-14, atol=1e-300)  # 16 digits are written


Columns = list[np.ndarray]


@st.composite
def plots(draw: st.DrawFn) -> tuple[dict[str, object], Columns]:
    """How a plot is written (arguments of `write`), and its columns."""
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
    is_complex, text = draw(st.booleans()), draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    columns = [rng.normal(size=n) + (1j * rng.normal(size=n) if is_complex else 0) for n in lengths]
    flags = ("complex" if is_complex else "real") + (" padded" if draw(st.booleans()) else " unpadded")
    return {"flags": flags, "names": [f"v({k})" for k in range(len(lengths))], "text": text}, columns


quick = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(plot=plots(), block=st.integers(1, 7), chosen=st.sets(st.integers(0, 4)))
def test_what_is_written_is_read(
    tmp_path: Path, plot: tuple[dict[str, object], Columns], block: int, chosen: set[int]
) -> None:
    how, columns = plot
    write(tmp_path / "x.raw", **how, columns=columns)
    names = how["names"]
    (whole,) = read_raw(tmp_path / "x.raw")
    assert whole.names == tuple(names)
    assert whole.complete
    for column, read in zip(columns, whole.values, strict=True):
        np.testing.assert_array_equal(column, read)
        assert read.flags.c_contiguous

    kept = [names[k] for k in sorted(chosen) if k < len(names)]
    (some,) = read_raw(tmp_path / "x.raw", vectors=[name.upper() for name in kept])
    assert some.names == tuple(kept)
    for name, read in zip(some.names, some.values, strict=True):
        np.testing.assert_array_equal(columns[names.index(name)], read)

    points = max(len(column) for column in columns)
    blocks = list(stream_raw(tmp_path / "x.raw", block=block))
    assert [part.start for part in blocks] == list(range(0, points, block))
    for k, column in enumerate(columns):
        np.testing.assert_array_equal(column, np.concatenate([part.values[k] for part in blocks]))


@quick
@given(first=plots(), second=plots(), data=st.data())
def test_of_a_file_cut_anywhere_all_complete_points_are_offered(
    tmp_path: Path,
    first: tuple[dict[str, object], Columns],
    second: tuple[dict[str, object], Columns],
    data: st.DataObject,
) -> None:
    points, content = [], b""  # where each point of each plot ends, behind where the plot's values begin
    for how, columns in (first, second):
        points.append([len(content) + at for at in write(tmp_path / "x.raw", **how, columns=columns)])
        content += (tmp_path / "x.raw").read_bytes()
    size = data.draw(st.integers(0, len(content)))
    (tmp_path / "x.raw").write_bytes(content[:size])
    found = read_raw(tmp_path / "x.raw", partial=True)
    assert len(found) == sum(size >= at[0] for at in points)
    for plot, (_, columns), (_, *ends) in zip(found, (first, second), points, strict=False):
        complete = sum(size >= end for end in ends)
        assert plot.complete == (complete == len(ends))
        for column, read in zip(columns, plot.values, strict=True):
            np.testing.assert_array_equal(column[:complete], read)
    blank = [bool(how["text"]) for how, _ in (first, second)]  # behind each point
    if size == 0 or any(at[-1] <= size <= at[-1] + blank[k] for k, at in enumerate(points)):
        assert [plot.complete for plot in read_raw(tmp_path / "x.raw")] == [True] * len(found)
    else:
        with pytest.raises(DataError, match=r"x\.raw:\d+: raw file"):
            read_raw(tmp_path / "x.raw")


WORDS = [
    b"0", b"-1", b"9" * 21, b"1e3", b"Values:\n", b"Binary:\n", b"Title:", b"Variables:\n", b"No. Points: 0\n", b"\n",
    b"\t", b"dims=", b"dims=0", b"dims=2,2", b",", b":", b"complex", b"unpadded", b"nan", b"\0", b"\x0b", b"\xff",
]  # fmt: skip


@quick
@given(
    plot=plots(),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 20), st.sampled_from(WORDS)), min_size=1, max_size=3),
    partial=st.booleans(),
)
def test_a_damaged_file_is_read_or_refused_and_as_a_stream_alike(
    tmp_path: Path, plot: tuple[dict[str, object], Columns], edits: list[tuple[float, int, bytes]], partial: bool
) -> None:
    how, columns = plot
    write(tmp_path / "x.raw", **how, columns=columns)
    content = bytearray((tmp_path / "x.raw").read_bytes())
    for part, removed, word in edits:
        at = round(part * len(content))
        content[at : at + removed] = word
    (tmp_path / "x.raw").write_bytes(content)
    try:
        whole = read_raw(tmp_path / "x.raw", partial=partial)
    except DataError:
        with pytest.raises(DataError, match=r"x\.raw:\d+: raw file: "):
            list(stream_raw(tmp_path / "x.raw", block=2, partial=partial))
        return
    blocks = list(stream_raw(tmp_path / "x.raw", block=2, partial=partial))
    assert {block.plot for block in blocks} == set(range(len(whole)))
    for number, plot_read in enumerate(whole):
        parts = [block for block in blocks if block.plot == number]
        for k, values in enumerate(plot_read.values):
            np.testing.assert_array_equal(values, np.concatenate([block.values[k] for block in parts]))


def test_several_plots_follow_each_other(tmp_path: Path) -> None:
    columns = [np.array([0.0, 1.0]), np.array([2.0, 3.0])]
    write(tmp_path / "a.raw", flags="real", names=["time", "v(a)"], columns=columns)
    data = (tmp_path / "a.raw").read_bytes()
    (tmp_path / "b.raw").write_bytes(data * 3)
    assert len(read_raw(tmp_path / "b.raw")) == 3


@pytest.mark.parametrize("kept", [-1, -9, 60, 100])
def test_a_file_that_is_cut_off_is_no_data(tmp_path: Path, kept: int) -> None:
    columns = [np.array([0.0, 1.0]), np.array([2.0, 3.0])]
    write(tmp_path / "a.raw", flags="real", names=["time", "v(a)"], columns=columns)
    (tmp_path / "b.raw").write_bytes((tmp_path / "a.raw").read_bytes()[:kept])
    with pytest.raises(DataError, match=r"b\.raw:\d+: raw file"):
        read_raw(tmp_path / "b.raw")


@pytest.mark.parametrize("content", ["Title: x\nhello\n", "Title: x\nNo. Points: many\nNo. Variables: 1\nVariables:\n"])
def test_what_is_no_raw_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.raw").write_text(content)
    with pytest.raises(DataError):
        read_raw(tmp_path / "x.raw")


def test_empty_and_missing(tmp_path: Path) -> None:
    (tmp_path / "x.raw").touch()
    assert read_raw(tmp_path / "x.raw") == []
    with pytest.raises(MissingFile):
        read_raw(tmp_path / "y.raw")
