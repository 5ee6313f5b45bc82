"""Which rows of an instrument's file are read, and what is said of a file that cannot be."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cosim.data.readers import excel, mat, read_curve, workbook
from cosim.data.readers.formats import read_file
from cosim.data.sheets import sheets_of
from cosim.data.spec import DataSpec
from cosim.errors import CosimError, DataError, EngineMissing, InputError
from cosim.fitting.extract import extract
from cosim.fitting.recipe import FitRecipe
from cosim.packages import process_unchanged
from instruments import MAKERS, sweep

with process_unchanged():
    from scipy.io import savemat

IV = {"kind": "i-v", "columns": {"voltage": {"name": "V"}, "current": {"name": "I"}}}
G_ON = {"name": "r", "device": "access_transistor", "fit": {"vary": ["g_on"]}}
TRAIN = {
    "kind": "pulse train",
    "columns": {"amplitude": {"name": "V"}, "read": {"name": "G"}},
    "conditions": {"v_read": "0.1 V", "width": "200 ns"},
}
CELLS = "cell,n,V (V),I (mA),Status\n" + "".join(
    f"{cell},{n},{n / 10},{(k + 1) * n / 10},{'C' if n == 4 else 'T'}\n"
    for n in range(5)
    for k, cell in enumerate(("1452", "A7", "1453"))
)


def read(path: Path, text: str, body: dict[str, object] = IV, **more: object) -> list[float]:
    """The measured column of a text, in mA or µS."""
    path = path / "x.csv"
    path.write_text(text, encoding="utf-8")
    curve = read_curve(path, DataSpec.model_validate({**body, **more}))
    return [round(float(v) * (1e6 if curve.measured_unit == "S" else 1e3), 9) for v in curve.measured]


# keys of [data], and the current (mA) of the rows that are read
SELECTED = {
    "a cell": ({"where": "cell == 1452"}, [0.0, 0.1, 0.2, 0.3, 0.4]),
    "a cell by name, in any case": ({"where": "cell == a7"}, [0.0, 0.2, 0.4, 0.6, 0.8]),
    "a cell as text": ({"where": "cell == '1453'"}, [0.0, 0.3, 0.6, 0.9, 1.2]),
    "a number, however it is written": ({"where": "cell == 1452.0 and n <= 1"}, [0.0, 0.1]),
    "two comparisons": ({"where": "cell == 1452 and V > 0.15"}, [0.2, 0.3, 0.4]),
    "with a unit": ({"where": "cell == 1452 and V >= 300 mV"}, [0.3, 0.4]),
    "a unit of another scale": ({"where": "cell == 1452 and I > 0.25 mA"}, [0.3, 0.4]),
    "not at compliance": ({"where": "cell == 1452 and Status != C"}, [0.0, 0.1, 0.2, 0.3]),
    "a column by number": ({"where": "1 == 1452 and 2 < 2"}, [0.0, 0.1]),
    "lines": ({"rows": [2, 4]}, [0.0, 0.0, 0.0]),
    "several spans of lines": ({"rows": [[5, 5], [8, 8]]}, [0.1, 0.2]),
    "lines, then a condition": ({"rows": [1, 8], "where": "cell == 1452"}, [0.0, 0.1, 0.2]),
    "at the limit": ({"where": "cell == 1452", "compliance": "0.4 mA", "mask": ["compliance"]}, [0.0, 0.1, 0.2, 0.3]),
}


@pytest.mark.parametrize("case", SELECTED)
def test_rows_are_selected(tmp_path: Path, case: str) -> None:
    more, wanted = SELECTED[case]
    assert read(tmp_path, CELLS, **more) == wanted


PREFIXED = "V (V),I\n0.1,900u\n0.2,2.1m\n0.3,3.5m\n0.4,12m\n"
GAPS = "V (V),I (mA)\n0.1,1\n0.2,OVLD\n0.3,9.9e37\n0.4,4\n0.5,\n0.6,0.5\n"
BARE = {"kind": "i-v", "columns": {"voltage": {"name": "V"}, "current": {"name": "I", "unit": "A"}}}
MILLI = {"kind": "i-v", "columns": {"voltage": {"name": "V"}, "current": {"name": "I", "unit": "mA"}}}

# text of a file, columns, condition, and the current (mA) of the rows that are read
COMPARED: dict[str, tuple[str, dict[str, object], str, list[float]]] = {
    "decimal commas": ("V (V);I (mA)\n0,5;1,5\n1,25;2\n3;4,75\n", IV, "V < 2", [1.5, 2.0]),
    "decimal commas, three digits": ("V (V);I (mA)\n0,500;1,5\n1,250;2\n3,000;4,75\n", IV, "V > 1", [2.0, 4.75]),
    "decimal commas, with a unit": ("V (V);I (mA)\n0,5;1,5\n1,25;2\n3;4,75\n", IV, "V >= 1250 mV", [2.0, 4.75]),
    "decimal commas between tabs": ("V (V)\tI (mA)\n1,250\t1,5\n2,500\t2\n", IV, "V < 2", [1.5]),
    "prefixes in cells and constant": (PREFIXED, BARE, "I > 1m", [2.1, 3.5, 12.0]),
    "prefixes in cells alone": (PREFIXED, BARE, "I <= 0.0035", [0.9, 2.1, 3.5]),
    "prefixes in cells, a unit": (PREFIXED, BARE, "I < 3500 uA and I != 900u", [2.1]),
    "a prefix in another unit": ("V (V),I (mA)\n1,0.5\n2,2\n", IV, "I > 1m", [2.0]),
    "a unit of the recipe": ("V (V),I\n1,0.5\n2,2\n", MILLI, "I > 1000 uA", [2.0]),
    "equal when scaled": ("V (V),I\n1,900u\n2,2m\n", BARE, "I == 0.9m", [0.9]),
    "units in cells": ("V,I\n1V,900uA\n2V,2mA\n", IV, "I > 1m", [2.0]),
}


@pytest.mark.parametrize("case", COMPARED)
def test_the_numbers_of_the_fit_are_compared(tmp_path: Path, case: str) -> None:
    text, body, condition, wanted = COMPARED[case]
    assert read(tmp_path, text, body, where=condition) == wanted


def test_rows_without_a_number_to_compare_are_said(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(GAPS)
    curve = read_curve(tmp_path / "x.csv", DataSpec.model_validate({**IV, "where": "I < 2 and V < 1"}))
    assert curve["current"].tolist() == [1e-3, 0.5e-3]
    assert "3 rows left out (lines 3–4 and 6): no number in column 'I (mA)', as I < 2 needs" in str(curve.reading)


def test_a_missing_reading_has_a_decimal_comma_too(tmp_path: Path) -> None:
    text = "V (V);I (mA)\n0,5;1,5\n1,0;-999,0\n1,5;2,5\n"
    assert read(tmp_path, text, missing=[-999.0]) == [1.5, 2.5]


def test_what_was_selected_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(CELLS)
    said = str(read_curve(path, DataSpec.model_validate({**IV, "where": "cell == 1452"})).reading)
    assert said == "5 of 15 rows, lines 2–14, header in line 1; 5 rows where cell == 1452"
    masked = DataSpec.model_validate({**IV, "compliance": "0.4 mA", "where": "cell == 1452", "mask": ["compliance"]})
    said = str(read_curve(path, masked).reading)
    assert "4 of 15 rows" in said
    assert "1 row left out (line 14): at compliance = 0.4 mA" in said


def test_a_sequence_column_orders_the_rows(tmp_path: Path) -> None:
    text = "k,V (V),G (uS)\n3,1,3\n1,-1,1\n2,1,2\n4,1,4\n"
    assert read(tmp_path, text, TRAIN, sequence="k") == [1, 2, 3, 4]
    assert read(tmp_path, text, TRAIN) == [3, 1, 2, 4]
    with pytest.raises(DataError, match=r"the sequence 'k' goes from 2 \(row 3\) to 4 \(row 4\): the pulses between"):
        read(tmp_path, text.replace("3,1,3\n", ""), TRAIN, sequence="k")
    with pytest.raises(DataError, match=r"rows 3 and 4 have the same number in the sequence 'k', 1"):
        read(tmp_path, text.replace("2,1,2", "1,1,2"), TRAIN, sequence="k")


def test_devices_in_one_file_have_a_sequence_each(tmp_path: Path) -> None:
    text = "chip,k,V (V),G (uS)\nA,2,1,2\nB,1,1,10\nA,1,1,1\nB,2,1,20\n"
    path = tmp_path / "x.csv"
    path.write_text(text)
    curve = read_curve(path, DataSpec.model_validate({**TRAIN, "sequence": "k", "groups": {"device": "chip"}}))
    found = {labels["device"]: np.round(1e6 * part.measured, 9).tolist() for labels, part in curve.parts()}
    assert found == {"A": [1, 2], "B": [10, 20]}


def test_rows_without_a_number_are_masked_where_asked(tmp_path: Path) -> None:
    text = "V (V),I (mA)\n0,0\n1,NaN\n2,\n3,3\n"
    with pytest.raises(DataError, match="row 3, column 'I \\(mA\\)': 'NaN' is not a number"):
        read(tmp_path, text)
    assert read(tmp_path, text, mask=["nan"]) == [0, 3]


# text of a file, keys of [data], and what is said
REFUSED: dict[str, tuple[str, dict[str, object], str]] = {
    "nobody is there": (CELLS, {"where": "cell == 99"}, "no row has cell == 99; the column holds 1452, A7, 1453"),
    "no such column": (CELLS, {"where": "cel == 99"}, "unknown column 'cel'; did you mean cell?"),
    "beyond all numbers": (CELLS, {"where": "V > 100"}, "the column's numbers lie between 0 and 0.4"),
    "a decimal comma": (CELLS, {"where": "V > 0,1"}, "where: '0,1' has a comma; write a decimal point"),
    "a unit against none": ("V (V),I\n1,1\n", {"where": "I > 1 mA"}, "'1 mA' has a unit, and column 'I' has none"),
    "an assignment": (CELLS, {"where": "cell = 99"}, "where: '=' is not an operator"),
    "a call": (CELLS, {"where": "__import__('os').system('x')"}, "is not a comparison of a column with a value"),
    "or": (CELLS, {"where": "cell == 1 or cell == 2"}, "is not a comparison of a column with a value"),
    "an open quote": (CELLS, {"where": "cell == 'A7"}, "where: a quote is not closed"),
    "order of texts": (CELLS, {"where": "Status > C"}, "'C' in 'Status > C' is not a number"),
    "another quantity": (CELLS, {"where": "V > 3 mA"}, "it is a current (A)"),
    "beyond the end": (CELLS, {"rows": [90, 99]}, "no row of the table stands in lines 90–99; its rows stand in lines"),
    "backwards": (CELLS, {"rows": [9, 2]}, "rows = [9, 2] is not a range of lines"),
    "everything at the limit": (
        CELLS,
        {"where": "n == 4", "compliance": "0.1 mA", "mask": ["compliance"]},
        "every value",
    ),
    "a mask without a limit": (CELLS, {"mask": ["compliance"]}, "mask 'compliance' needs the limit"),
    "another format": (CELLS, {"format": "rigol"}, "is not a file of format 'rigol'"),
    "an unknown format": (CELLS, {"format": "rigoll"}, "unknown format 'rigoll' of a file; did you mean rigol?"),
    "no such record": (CELLS, {"record": "Sheet2"}, "unknown record 'Sheet2'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_selected_is_said(tmp_path: Path, case: str) -> None:
    text, more, message = REFUSED[case]
    with pytest.raises((InputError, ValueError)) as caught:
        read(tmp_path, text, **more)
    assert message in str(caught.value)


# What determines nothing, or cannot be: the text of a file, kind, device, what is said.
IMPLAUSIBLE = {
    "one point": ("V (V),I (A)\n1,1e-3\n", "i-v", "the curve is a single point (row 2)"),
    "one voltage": ("V (V),I (A)\n1,1e-3\n1,2e-3\n1,1e-3\n", "i-v", "the column 'voltage' is constant (1 V)"),
    "one current": ("V (V),I (A)\n1,1e-3\n2,1e-3\n3,1e-3\n", "i-v", "the measured column is constant (0.001 A)"),
    "swapped columns": (
        "V (V),I (A)\n" + "".join(f"{4e-3 * k / 10},{k / 10}\n" for k in range(-9, 10)),
        "i-v",
        "is 250 S (4 mOhm), which no device has; with the two columns swapped it would be 4 mS",
    ),
    "a unit off by a thousand": (
        "V (V),I (kA)\n" + "".join(f"{k / 10},{4e-3 * k / 10}\n" for k in range(-9, 10)),
        "i-v",
        "the current over the voltage is 4 S (250 mOhm), which no device has",
    ),
    "two rows at one time": (
        "t (s),V (V),I (A)\n0,0,0\n1,0.1,1e-4\n1,0.2,2e-4\n2,0.1,1e-4\n2,0.3,1e-4\n",
        "transient",
        "the time of row 4, 1 s, is not later than the one before it, 1 s in row 3 (and 1 more such rows)",
    ),
}


@pytest.mark.parametrize("case", IMPLAUSIBLE)
def test_a_recording_that_cannot_be_is_refused_before_a_fit(tmp_path: Path, case: str) -> None:
    text, kind, message = IMPLAUSIBLE[case]
    path = tmp_path / "x.csv"
    path.write_text(text)
    columns = {**IV["columns"], **({"time": {"name": "t"}} if "t (s)" in text else {})}  # type: ignore[dict-item]
    device, vary = ("access_transistor", "g_on") if kind == "i-v" else ("vteam", "r_on")
    data = {"kind": kind, "file": str(path), "columns": columns}
    recipe = FitRecipe.model_validate({"name": "r", "device": device, "data": data, "fit": {"vary": (vary,)}})
    with pytest.raises(DataError) as caught:
        extract(recipe)
    assert message in str(caught.value)
    assert "x.csv" in str(caught.value)


def test_several_devices_are_not_one_curve(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(CELLS)
    data = {**IV, "file": str(path), "groups": {"device": "cell"}}
    recipe = FitRecipe.model_validate(
        {"name": "r", "device": "access_transistor", "data": data, "fit": {"vary": ["g_on"]}}
    )
    with pytest.raises(InputError, match=r"the rows are of 3 groups by device \(1452, A7, 1453\); choose one by where"):
        extract(recipe)


def test_a_unit_far_below_the_device_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    rng = np.random.default_rng(3)
    v = np.linspace(-0.4, 1.6, 60)
    i = 4e-3 * v * (1 - v / 4) + 1e-5 * rng.standard_normal(60)
    path.write_text("V (V),I (nA)\n" + "".join(f"{a:.6g},{b:.6g}\n" for a, b in zip(v, i, strict=True)))
    data = {**IV, "file": str(path)}
    recipe = FitRecipe.model_validate(
        {"name": "r", "device": "access_transistor", "data": data, "fit": {"vary": ["g_on"]}}
    )
    said = " ".join(extract(recipe).verdict.remarks)
    assert "times below the smallest usual value (4 mS, default of access_transistor)" in said


# --- files that are damaged, or are meant to do damage ----------------------------------------------------------------

BINARY = [name for name, made in MAKERS.items() if made.file.endswith((".xls", ".xlsx", ".tdms", ".mat", ".raw"))]


@pytest.mark.parametrize("name", BINARY)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, name: str) -> None:
    made = MAKERS[name]
    if made.needs:
        pytest.importorskip(made.needs)
    path = tmp_path / made.file
    made.write(path, sweep())
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    sizes = [len(whole) // 2, len(whole) - 7, 600, 140]
    damaged = [whole[:size] for size in sizes]
    for _ in range(4 if made.needs == "python_calamine" else 25):  # which starts a process each
        broken = bytearray(whole)
        for at in rng.integers(0, len(whole), 6):
            broken[at] = int(rng.integers(256))
        damaged.append(bytes(broken))
    refused = 0
    for data in damaged:
        path.write_bytes(data)
        said = _refusal(path)
        refused += bool(said)
        assert not said or ("\n" not in said and made.file in said)
    assert refused >= 3


def _refusal(path: Path) -> str:
    """What is said of a file; "" where it is read. Any other error is the test's."""
    try:
        read_file(path)
    except CosimError as error:
        return str(error)
    return ""


def _archive(parts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def _sheet(content: bytes) -> bytes:
    """A workbook whose only sheet has this XML in place of the one written."""
    import xlsxwriter

    out = io.BytesIO()
    with xlsxwriter.Workbook(out) as book:
        book.add_worksheet().write(0, 0, 1.0)
    with zipfile.ZipFile(io.BytesIO(out.getvalue())) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["xl/worksheets/sheet1.xml"] = content
    return _archive(parts)


_HEAD = b'<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
_TAIL = b"</sheetData></worksheet>"


def _bomb() -> bytes:
    return _sheet(_HEAD + b" " * (9 << 20) + _TAIL)


def _corner() -> bytes:
    cells = b'<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    return _sheet(_HEAD + cells + _TAIL)


def _lying() -> bytes:
    """An archive whose directory states a size that the part exceeds."""
    data = bytearray(_sheet(_HEAD + b'<row r="1"><c r="A1"><v>1</v></c></row>' + b" " * 100_000 + _TAIL))
    at = data.rfind(b"PK\x01\x02", 0, data.rfind(b"xl/worksheets/sheet1.xml"))
    data[at + 24 : at + 28] = struct.pack("<I", 10)
    return bytes(data)


def _mat(elements: bytes) -> bytes:
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM" + elements


def _mat_bomb() -> bytes:
    packed = zlib.compress(bytes(9 << 20), 9)
    return _mat(struct.pack("<II", 15, len(packed)) + packed)


def _mat_deep() -> bytes:
    inner = b""
    for _ in range(20_000):
        inner = struct.pack("<II", 14, len(inner)) + inner
    return _mat(inner)


def _mat_zeros() -> bytes:
    """Eleven million bytes of zero in a few kilobytes."""
    size = 11_000_000
    name = struct.pack("<HH", 1, 1) + b"V\0\0\0"
    body = struct.pack("<IIII", 6, 8, 9, 0) + struct.pack("<IIII", 5, 8, size, 1) + name
    body += struct.pack("<II", 2, size) + bytes(size + -size % 8)
    packed = zlib.compress(struct.pack("<II", 14, len(body)) + body, 9)
    return _mat(struct.pack("<II", 15, len(packed)) + packed)


def _tdms_many() -> bytes:
    import nptdms

    out = io.BytesIO()
    with nptdms.TdmsWriter(out) as file:
        parts = [nptdms.ChannelObject("g", name, np.zeros(5_100_000, dtype=np.int8)) for name in "ab"]
        file.write_segment(parts)
    return out.getvalue()


def _raw_many() -> bytes:
    head = "Title: x\nPlotname: Transient Analysis\nFlags: real\nNo. Variables: 1\nNo. Points: 10000001\nVariables:\n"
    return f"{head}\t0\ttime\ttime\nBinary:\n".encode() + bytes(8 * 10_000_001)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a workbook that unpacks to 9 MiB": (_bomb, "unpacks to more than 8 MiB"),
    "a cell in the last corner of a sheet": (_corner, "spans 1048576 rows and 16384 columns"),
    "a part larger than it says": (_lying, "is damaged"),
    "an archive that is no workbook": (lambda: _archive({"a.csv": b"1,2\n"}), "is an archive, not a workbook"),
    "a MATLAB file that unpacks to 9 MiB": (_mat_bomb, "unpacks to more than 8 MiB"),
    "a MATLAB file of 20000 nested structures": (_mat_deep, "nested too deep"),
    "a MATLAB file of 11 million bytes of zero": (_mat_zeros, "holds 11000000 numbers, more than 10000000"),
    "a TDMS file of 10 million bytes": (_tdms_many, "holds 10200000 numbers, more than 10000000"),
    "a raw file of 10 million points": (_raw_many, "numbers, more than 10000000; save the columns and rows"),
    "MATLAB 7.3": (lambda: b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n", "'-v7'"),
    "HDF5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), "version 7.3, which is HDF5"),
    "a TDMS file of 2^60 values": (
        lambda: (
            b"TDSm" + struct.pack("<IIQQ", 0xE, 4713, 1 << 62, 60)
            + struct.pack("<I", 1) + struct.pack("<I", 8) + b"/'g'/'c'"
            + struct.pack("<IIIQ", 20, 10, 1, 1 << 60) + struct.pack("<I", 0) + bytes(64)
        ),
        "",
    ),
    "a raw file of LTspice with 2^60 points": (
        lambda: (
            "Title: x\nPlotname: Transient Analysis\nFlags: real\nNo. Variables: 1\nNo. Points: 1152921504606846976\n"
            "Variables:\n\t0\ttime\ttime\nBinary:\n"
        ).encode("utf-16-le"),
        "0 of 1152921504606846976 points are complete",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    make, message = HOSTILE[case]
    for module in (excel, mat):
        monkeypatch.setattr(module, "MAX_UNPACKED", (8 << 20) if "9 MiB" in case else module.MAX_UNPACKED)
    if "workbook" in case or "sheet" in case:
        pytest.importorskip("python_calamine")
    if "TDMS" in case:
        pytest.importorskip("nptdms")
    path = tmp_path / "hostile.bin"
    path.write_bytes(make())
    with pytest.raises(DataError) as caught:
        read_file(path)
    assert message in str(caught.value)
    assert "hostile.bin" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_large_binary_file_takes_little_more_than_its_numbers(tmp_path: Path) -> None:
    from cosim.data.sheets import sheets_of

    n = 400_000
    vectors = {name: np.arange(n) % 7 for name in ("V", "I")}
    savemat(tmp_path / "x.mat", {k: v.astype(np.int8) for k, v in vectors.items()}, do_compression=True)
    body = {"kind": "i-v", "columns": {"voltage": {"name": "V", "unit": "V"}, "current": {"name": "I", "unit": "A"}}}
    tracemalloc.start()
    curve = read_curve(tmp_path / "x.mat", DataSpec.model_validate(body))
    sheets = sheets_of(tmp_path / "x.mat")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(curve), sheets[0].lines[n - 1]) == (n, n)
    assert peak < 12 * 8 * n  # columns, their copies in SI and their masks; numbered lines as objects take 40 n each


@pytest.mark.parametrize(("name", "package"), [("Excel", "python-calamine"), ("TDMS", "nptdms")])
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
    made = MAKERS[name]
    pytest.importorskip(made.needs)
    path = tmp_path / made.file
    made.write(path, sweep())
    monkeypatch.setitem(__import__("sys").modules, made.needs, None)
    with pytest.raises(EngineMissing, match=rf"reading the .* needs the package {package}.*cosim-spice\[instruments\]"):
        read_file(path)


@pytest.mark.parametrize(
    ("head", "given", "scale", "said"),
    [
        ("DataName, Vd, Id, Index", "", 1.0, "Vd in V, Id in A is assumed where no unit is stated"),
        ("DataName, Vd, Id, Index", "mA", 1e-3, "Vd in V, Id in A is assumed where no unit is stated"),
        ("DataName, Vd, Id, Index\nDataUnit, V, A,", "", 1.0, ""),
        ("DataName, Vd, Id, Index\nDataUnit, V, mA,", "", 1e-3, ""),
    ],
)
def test_easyexpert_without_units_is_in_volts_and_amperes(
    tmp_path: Path, head: str, given: str, scale: float, said: str
) -> None:
    file = tmp_path / "b1500.csv"
    rows = "".join(f"DataValue, {k / 10}, {k * 1e-5!r}, {k}\n" for k in range(1, 6))
    file.write_text(f"SetupTitle, Id-Vd\nDimension1, 5, 5, 5\n{head}\n{rows}")
    columns = {"voltage": {"name": "Vd"}, "current": {"name": "Id", **({"unit": given} if given else {})}}
    curve = read_curve(file, DataSpec.model_validate({"kind": "i-v", "columns": columns}))
    np.testing.assert_allclose(curve["voltage"], np.arange(1, 6) / 10)
    np.testing.assert_allclose(curve["current"], scale * 1e-5 * np.arange(1, 6))
    assert "read as Keysight EasyEXPERT" in str(curve.reading)
    assert said in str(curve.reading) if said else "assumed" not in str(curve.reading)


def test_a_sheet_says_which_format_was_recognised(tmp_path: Path) -> None:
    file = tmp_path / "b1500.csv"
    file.write_text("DataName, Vd, Id\n" + "".join(f"DataValue, {k}, {k}\n" for k in range(5)))
    assert "read as Keysight EasyEXPERT" in sheets_of(file)[0].notes
    file.write_text("V (V),I (A)\n" + "".join(f"{k},{k}\n" for k in range(5)))
    assert not any("read as" in note for note in sheets_of(file)[0].notes)


@pytest.mark.needs("xlsxwriter")
def test_a_text_that_many_cells_share_is_no_bomb(tmp_path):
    """A shared string is in the file once, and in the table as often as a cell names it."""
    import xlsxwriter

    plain = tmp_path / "plain.xlsx"
    with xlsxwriter.Workbook(plain) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["V (V)", "I (A)"])
        for row in range(1, 6):
            sheet.write_string(row, 0, "marker")
            sheet.write_number(row, 1, row)
    made = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            text = old.read(part)
            new.writestr(part.filename, text.replace(b"marker", b"x" * 1_000_000))
    assert made.stat().st_size < 20_000
    with pytest.raises(DataError, match=r"a cell of row 2 holds 1000000 characters, more than 32767"):
        excel.sheets(made)
    with pytest.raises(ValueError, match="hold more than 128 million characters"):
        workbook._rows(SimpleNamespace(start=None, height=2, width=1, to_python=lambda **_: [["ab"], ["cd"]]), 3)
