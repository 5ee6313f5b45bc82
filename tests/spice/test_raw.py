"""The raw reader: what ngspice writes, binary and ASCII, and what it could write."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosim.errors import DataError, MissingFile
from cosim.spice.library import find_ngspice
from cosim.spice.raw import read_raw

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


def write(path: Path, *, flags: str, names: list[str], columns: list[np.ndarray], extra: str = "") -> None:
    points = max(len(column) for column in columns)
    header = [
        "Title: t", "Date: now", "Plotname: Transient Analysis", f"Flags: {flags}", f"No. Variables: {len(names)}",
        f"No. Points: {points}", "Variables:",
    ]  # fmt: skip
    for index, (name, column) in enumerate(zip(names, columns, strict=True)):
        dims = f" dims={len(column)}" if len(column) < points else ""
        header.append(f"\t{index}\t{name}\tvoltage{dims}")
    body = bytearray()
    for point in range(points):
        for column in columns:
            if point < len(column):
                body += column[point].tobytes()
            elif "unpadded" not in flags:
                body += np.zeros(1, dtype=column.dtype).tobytes()
    path.write_bytes("\n".join([*header, "Binary:", ""]).encode() + bytes(body) + extra.encode())


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


LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=5)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=LENGTHS, padded=st.booleans(), is_complex=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_what_is_written_is_read(tmp_path: Path, lengths: list[int], padded: bool, is_complex: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns = [rng.normal(size=n) + (1j * rng.normal(size=n) if is_complex else 0) for n in lengths]
    names = [f"v({index})" for index in range(len(lengths))]
    flags = ("complex" if is_complex else "real") + (" padded" if padded else " unpadded")
    write(tmp_path / "x.raw", flags=flags, names=names, columns=columns)
    (plot,) = read_raw(tmp_path / "x.raw")
    assert plot.names == tuple(names)
    for column, read in zip(columns, plot.values, strict=True):
        np.testing.assert_array_equal(column, read)


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
