"""File formats: each is told by its content, and gives the values that were written into it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosim.data.readers import read_curve
from cosim.data.readers.formats import FORMATS, read_file
from cosim.data.spec import DataSpec
from cosim.errors import DataError
from cosim.packages import process_unchanged
from instruments import MAKERS, Made, Sweep, ltspice_ac, sweep, tektronix_tds

with process_unchanged():
    from scipy.io import savemat


def spec(made: Made, **more: object) -> DataSpec:
    return DataSpec.model_validate({"kind": "loop", "columns": made.columns, **made.more, **more})


@pytest.fixture(scope="module")
def measured() -> Sweep:
    return sweep()


@pytest.mark.parametrize("name", MAKERS)
def test_what_was_written_is_read(tmp_path: Path, measured: Sweep, name: str) -> None:
    made = MAKERS[name]
    if made.needs:
        pytest.importorskip(made.needs)
    path = tmp_path / "data.bin"  # the name says nothing
    made.write(path, measured)
    curve = read_curve(path, spec(made))
    for quantity in ("time", "voltage", "current"):
        # scaled text ("12.3 mA") and single precision keep so many digits
        np.testing.assert_allclose(curve[quantity], getattr(measured, quantity), rtol=made.rtol, atol=0.0)
    assert (f"read as {made.title}" in str(curve.reading)) == bool(made.title)
    assert f"{measured.time.size} of {measured.time.size} rows" in str(curve.reading)


def test_a_tektronix_of_one_channel(tmp_path: Path, measured: Sweep) -> None:
    path = tmp_path / "F0001CH1.CSV"
    tektronix_tds(path, measured)
    (table,) = read_file(path)
    assert (table.format, table.unit(3), table.unit(4)) == ("Tektronix oscilloscope", "s", "V")
    found = table.values([table.find("Time"), table.find("CH1")])
    np.testing.assert_array_equal(found, [measured.time, measured.voltage])


def test_complex_vectors_have_two_parts(tmp_path: Path) -> None:
    frequency = np.logspace(3, 6, 7)
    gain = 1.0 / (1.0 + 1j * frequency / 1e4)
    ltspice_ac(tmp_path / "ac.raw", gain, frequency)
    (table,) = read_file(tmp_path / "ac.raw")
    assert table.header == ("frequency", "re(V(out))", "im(V(out))")
    np.testing.assert_array_equal(table.values([0, 1, 2]), [frequency, gain.real, gain.imag])
    assert table.unit(0) == "Hz"


def test_segments_of_a_lecroy_are_records(tmp_path: Path) -> None:
    rows = "".join(f"{k * 1e-9!r},{s + k / 10}\n" for s in range(3) for k in range(4))
    text = "LECROYWR204M,51184,Waveform\nSegments,3,SegmentSize,4\nSegment,TrigTime,TimeSinceSegment1\n"
    text += "".join(f"#{s + 1},29-Nov-2026 12:00:0{s},{s}\n" for s in range(3)) + "Time,Ampl\n" + rows
    (tmp_path / "C1.csv").write_text(text)
    tables = read_file(tmp_path / "C1.csv")
    assert [table.name for table in tables] == ["segment 1", "segment 2", "segment 3"]
    assert tables[2].values([1])[0].tolist() == [2.0, 2.1, 2.2, 2.3]


def test_repetitions_of_a_keithley_4200_are_records(tmp_path: Path) -> None:
    xlwt = pytest.importorskip("xlwt")
    pytest.importorskip("python_calamine")
    book = xlwt.Workbook()
    for number, name in enumerate(("Data", "Append1", "Settings")):
        sheet = book.add_sheet(name)
        titles = ("AV", "AI") if name != "Settings" else ("Device Terminal", "A")
        for column, title in enumerate(titles):
            sheet.write(0, column, title)
            for k in range(1, 4) if name != "Settings" else ():
                sheet.write(k, column, 0.5 * k * (number + 1))
        if name == "Settings":
            sheet.write(1, 0, "Compliance")
            sheet.write(1, 1, 0.1)
    book.save(str(tmp_path / "a.xls"))
    body = {"kind": "i-v", "columns": {"voltage": {"name": "AV"}, "current": {"name": "AI"}}}
    curve = read_curve(tmp_path / "a.xls", DataSpec.model_validate({**body, "record": "append1"}))
    assert curve["current"].tolist() == [1.0, 2.0, 3.0]
    assert "compliance by the settings: A 0.1" in str(curve.reading)


def test_every_format_has_a_file_here() -> None:
    titles = {FORMATS[name].title for name in FORMATS if name != "text"}
    assert titles == {made.title for made in MAKERS.values()} - {""}


# A 4200's titles, and the unit that each implies.
TITLES = {
    "DrainI": "A", "GateV": "V", "AV": "V", "SMU1I": "A", "DrainI(2)": "A", "I": "A", "Time": "s", "StressTime": "s",
    "Cp_GB": "F", "Gp_GB": "S", "F_GB": "Hz", "DCV_GB": "V", "Rs": "Ohm", "PulseNumber": "", "Phi": "", "Half": "",
    "Chi": "", "Lifetime": "", "LogI": "", "SqrtI": "", "dIdV": "", "Vi": "", "Temperature": "",
}  # fmt: skip


def test_titles_of_a_keithley_4200_imply_units(tmp_path: Path) -> None:
    xlwt = pytest.importorskip("xlwt")
    pytest.importorskip("python_calamine")
    book = xlwt.Workbook()
    data = book.add_sheet("Data")
    book.add_sheet("Settings").write(0, 0, "Test Name")
    for column, title in enumerate(TITLES):
        data.write(0, column, title)
        for row in (1, 2, 3):
            data.write(row, column, 0.5 * row)
    book.save(str(tmp_path / "a.xls"))
    (table,) = read_file(tmp_path / "a.xls")
    assert {title: table.unit(k) for k, title in enumerate(table.header)} == TITLES


@pytest.mark.parametrize(
    "other",
    [{"wf_increment": 2e-3}, {"wf_start_offset": 0.5}, {"wf_start_time": np.datetime64("2026-11-29T12:00:01")}],
    ids=lambda other: next(iter(other)),
)
def test_channels_of_different_times_are_records(tmp_path: Path, other: dict[str, object]) -> None:
    nptdms = pytest.importorskip("nptdms")
    began = {"wf_start_time": np.datetime64("2026-11-29T12:00:00"), "wf_start_offset": 0.0, "wf_increment": 1e-3}
    parts = [
        nptdms.ChannelObject("G", "Voltage", np.arange(4.0), {"unit_string": "V", **began}),
        nptdms.ChannelObject("G", "Current", np.arange(5.0), {"unit_string": "A", **began, **other}),
        nptdms.ChannelObject("G", "Gate", np.arange(4.0), {"unit_string": "V", **began}),
    ]
    with nptdms.TdmsWriter(str(tmp_path / "a.tdms")) as file:
        file.write_segment(parts)
    first, second = read_file(tmp_path / "a.tdms")
    assert (first.header, second.header) == (("Time", "Voltage", "Gate"), ("Time", "Current"))
    assert first.values([0])[0].tolist() == [0.0, 1e-3, 2e-3, 3e-3]
    start, step = other.get("wf_start_offset", 0.0), other.get("wf_increment", 1e-3)
    np.testing.assert_allclose(second.values([0])[0], start + step * np.arange(5.0))
    assert "the channels of group 'G' were sampled at 2 different times" in first.notes


def test_what_a_matlab_file_loses_is_said(tmp_path: Path) -> None:
    t = np.arange(5.0)
    made = {
        "t": t, "z": t + 2j * t, "wide": np.ones((2, 5)), "n": 3.0, "who": "me", "cube": np.ones((2, 3, 4)),
        "s": {"g": t, "name": "A7"},
    }  # fmt: skip
    savemat(tmp_path / "a.mat", made)
    first, second = read_file(tmp_path / "a.mat")
    assert (first.header, second.header) == (("t", "re(z)", "im(z)"), ("g",))
    assert first.values([2])[0].tolist() == (2 * t).tolist()
    assert first.notes == (
        "not used: wide (2 × 5, wider than tall: save its transpose), n (a single number), who (text), "
        "cube (2 × 3 × 4), s.name (text)",
    )


def test_matlab_4(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"V": np.arange(5.0)[:, None], "I": np.arange(5)[:, None] * 0.5}, format="4")
    whole = (tmp_path / "a.mat").read_bytes()
    (table,) = read_file(tmp_path / "a.mat")
    assert (table.format, table.header) == ("MATLAB", ("V", "I"))
    assert table.values([1])[0].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    big = np.array([1000, 3, 1, 0, 2], dtype=">i4").tobytes() + b"V\0" + np.arange(3.0).astype(">f8").tobytes()
    (tmp_path / "a.mat").write_bytes(big)
    assert read_file(tmp_path / "a.mat")[0].values([0])[0].tolist() == [0.0, 1.0, 2.0]
    (tmp_path / "a.mat").write_bytes(whole[:50])
    with pytest.raises(DataError, match="cannot be read as a MATLAB file"):
        read_file(tmp_path / "a.mat")
