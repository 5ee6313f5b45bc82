"""Readers: the formats that instruments write, and what is said about a file that is none of them."""

from __future__ import annotations

import numpy as np
import pytest

from cosim.data.readers import read_curve
from cosim.data.readers.table import read_tables
from cosim.data.spec import DataSpec
from cosim.errors import DataError, InputError, MissingFile, UnitError, UnknownName

V, CURRENT = [-0.5, 0.0, 0.5], [-1e-3, 0.0, 1.2e-3]
IV = DataSpec.model_validate(
    {"kind": "i-v", "columns": {"voltage": {"name": "V", "unit": "V"}, "current": {"name": "I", "unit": "A"}}}
)
BY_NUMBER = DataSpec.model_validate(
    {"kind": "i-v", "columns": {"voltage": {"name": 1, "unit": "V"}, "current": {"name": 2, "unit": "A"}}}
)
PULSES = {
    "kind": "pulse train",
    "columns": {"amplitude": {"name": "V", "unit": "V"}, "read": {"name": "I", "unit": "uA"}},
    "conditions": {"v_read": "0.1 V", "width": "200 ns"},
}

FORMATS = {
    "comma": b"V,I\n-0.5,-1e-3\n0,0\n0.5,1.2e-3\n",
    "byte order mark and DOS ends": b"\xef\xbb\xbfV,I\r\n-0.5,-1e-3\r\n0,0\r\n0.5,1.2e-3\r\n",
    "utf-16": "V,I\n-0.5,-1e-3\n0,0\n0.5,1.2e-3\n".encode("utf-16"),
    "tab": b"V\tI\n-0.5\t-1e-3\n0\t0\n0.5\t1.2e-3\n",
    "blanks": b"   V      I\n  -0.5  -1E-3\n   0.0   0.0\n   0.5   1.2E-3\n",
    "semicolon and decimal comma": b"V;I\n-0,5;-1e-3\n0;0\n0,5;1,2e-3\n",
    "tab and decimal comma": b"V\tI\n-0,5\t-1e-3\n0\t0\n0,5\t1,2e-3\n",
    "comments": b"# chip 7\nV,I\n! overnight\n-0.5,-1e-3\n0,0\n\n0.5,1.2e-3\n% end\n",
    "preamble": b"Model,B1500A\nDate,2024-01-02\nAverages,3,of,4\nV,I\n-0.5,-1e-3\n0,0\n0.5,1.2e-3\n",
    "tagged rows": b'SetupTitle,"Sweep"\nDataName,V,I\nDataValue,-0.5,-1e-3\nDataValue,0,0\nDataValue,0.5,1.2e-3\n',
    "row of units": b"V,I\nV,A\n-0.5,-1e-3\n0,0\n0.5,1.2e-3\n",
    "unit in the header": b"V (V),I [A]\n-0.5,-1e-3\n0,0\n0.5,1.2e-3\n",
    "quotes and a comma in the header": b'V,I,"note, if any"\n-0.5,-1e-3,\n0,0,\n0.5,1.2e-3,\n',
    "Fortran exponents": b"V,I\n-0.5,-1.0D-3\n0,0\n0.5,1.2D-3\n",
    "blank rows at the end": b"V,I\n-0.5,-1e-3\n0,0\n0.5,1.2e-3\n,\n,\n",
    "Western code page": "V,I\n-0.5,-1e-3\n0,0\n0.5,1.2e-3\n# 25 °C\n".encode("cp1252"),
}


@pytest.mark.parametrize("form", FORMATS)
def test_formats_give_the_same_curve(tmp_path, form):
    path = tmp_path / "iv.dat"
    path.write_bytes(FORMATS[form])
    curve = read_curve(path, IV)
    np.testing.assert_array_equal(curve["voltage"], V)
    np.testing.assert_array_equal(curve["current"], CURRENT)
    assert len(curve.fingerprint) == 64


def test_without_a_header_columns_go_by_number(tmp_path):
    path = tmp_path / "iv.txt"
    path.write_text("-0.5,-1e-3\n0,0\n0.5,1.2e-3\n")
    np.testing.assert_array_equal(read_curve(path, BY_NUMBER)["current"], CURRENT)


def _current(header: str, unit: str) -> DataSpec:
    columns = {"voltage": {"name": "V"}, "current": {"name": "I" if header.startswith("I") else 2, "unit": unit}}
    return DataSpec.model_validate({"kind": "i-v", "columns": columns})


@pytest.mark.parametrize(
    ("header", "unit", "factor"),
    [("I (mA)", "", 1e-3), ("I", "mA", 1e-3), ("I (µA)", "uA", 1e-6), ("I (A)", "A", 1.0), ("I (mean)", "nA", 1e-9),
     ("I [mA]", "1e-3", None), ("I (mA)", "uA", None), ("I (mA)", "uS", None), ("I", "", None), ("I (mean)", "", None)],
)  # fmt: skip
def test_a_unit_stands_in_the_header_or_in_the_recipe(tmp_path, header, unit, factor):
    path = tmp_path / "iv.csv"
    path.write_text(f"V (V),{header}\n0,1\n1,2\n")
    if factor is not None:
        current = read_curve(path, _current(header, unit))["current"]
        np.testing.assert_allclose(current, np.array([1, 2]) * factor, rtol=1e-15)
        return
    with pytest.raises(UnitError) as caught:
        read_curve(path, _current(header, unit))
    said = str(caught.value)
    if unit.startswith("u"):
        assert f"column {header!r} is in mA by the file's header, and in {unit} by the recipe" in said
    elif not unit:
        assert f"column {header!r} has no unit" in said
        assert 'columns.current, e.g. unit = "A"' in said


def test_ramps_need_a_unit_and_a_row_of_units_is_one(tmp_path):
    spec = {"kind": "equal pulses", "reader": "ramps"}
    path = tmp_path / "set.csv"
    path.write_text("a,b\n1,2\n2,3\n")
    with pytest.raises(UnitError, match=r"column 'a' has no unit.*or \"1\" where it is normalised"):
        read_curve(path, DataSpec.model_validate(spec))
    path.write_text("a,b\nuS,mS\n1,2\n2,3\n")
    np.testing.assert_allclose(read_curve(path, DataSpec.model_validate(spec))["read"], [1e-6, 2e-6, 2e-3, 3e-3])
    stated = DataSpec.model_validate({**spec, "columns": {"read": {"name": 1, "unit": "uS"}}})
    with pytest.raises(UnitError, match="column 'b' is in mS"):
        read_curve(path, stated)


@pytest.mark.parametrize(
    ("unit", "cell", "siemens"),
    [("uA", "10", 1e-4), ("A", "1e-5", 1e-4), ("uS", "100", 1e-4), ("S", "1e-4", 1e-4), ("kOhm", "10", 1e-4)],
)
def test_reads_become_conductances(tmp_path, unit, cell, siemens):
    path = tmp_path / "train.csv"
    path.write_text(f"V,I\n-2,{cell}\n2,{cell}\n")
    spec = {**PULSES, "columns": {**PULSES["columns"], "read": {"name": "I", "unit": unit}}}
    curve = read_curve(path, DataSpec.model_validate(spec))
    # one rounding of the unit's scale and one of the division
    np.testing.assert_allclose(curve["read"], siemens, rtol=4e-16)
    assert curve.shape.width == pytest.approx(200e-9)


def test_ramps_end_where_their_column_does(tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("a,b\n1e-5,2e-5\n2e-5,3e-5\n,4e-5\n")
    spec = {"kind": "equal pulses", "reader": "ramps", "columns": {"read": {"name": 1, "unit": "A"}}}
    curve = read_curve(path, DataSpec.model_validate({**spec, "conditions": {"v_read": "0.1 V"}, "polarity": (1, -1)}))
    np.testing.assert_array_equal(curve["ramp"], [0, 0, 1, 1, 1])
    np.testing.assert_array_equal(curve["polarity"], [1, 1, -1, -1, -1])
    np.testing.assert_allclose(curve["read"], [1e-4, 2e-4, 2e-4, 3e-4, 4e-4], rtol=1e-15)


def test_steps(tmp_path):
    path = tmp_path / "dg.txt"
    path.write_text("text\n1e-4, 2e-4\n0.1, 0.5, 0.9\n1e-6,2e-6\n3e-6,4e-6\n5e-6,6e-6\n")
    curve = read_curve(path, DataSpec(kind="step table", reader="steps"))
    np.testing.assert_array_equal(curve["step"].reshape(3, 2)[:, 1], [2e-6, 4e-6, 6e-6])
    np.testing.assert_array_equal(curve["cdf"].reshape(3, 2)[1], [0.5, 0.5])


BAD = {
    "a word among numbers": ("V,I\n0,1\n1,2\n2,abc\n", DataError, "row 4, column 'I': 'abc' is not a number"),
    "an interior blank": ("V,I\n0,1\n1,\n2,3\n", DataError, "row 3, column 'I': the cell is blank"),
    "an overflow mark": ("V,I\n0,1\n1,9.91E37\n", DataError, "overflow"),
    "all blank": ("V,I\n0,nan\n1,nan\n", DataError, "column 'I' holds no numbers"),
    "too many cells": ("V,I\n0,1\n1,2\n2,3,4\n", DataError, "row 4 has 3 cells where the others have 2"),
    "nothing": ("", DataError, "holds no data"),
    "comments only": ("# a\n# b\n", DataError, "holds no data"),
    "no row of numbers": ("V,I\na,b\nc,d\n", DataError, "row 2, column 'V': 'a' is not a number"),
    "a column that is not there": ("U,I\n0,1\n1,2\n", UnknownName, "unknown column 'V'"),
    "a column that is there twice": ("V,I,I\n0,1,1\n1,2,2\n", DataError, "column 'I' appears 2 times"),
    "an infinite value": ("V,I\n0,1\n1,inf\n", DataError, "'inf' is not a number"),
    "underscores": ("V,I\n0,1\n1,1_000\n", DataError, "'1_000' is not a number"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_say_where(tmp_path, case):
    text, kind, message = BAD[case]
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(kind) as caught:
        read_curve(path, IV)
    assert message in str(caught.value)
    assert "bad.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_first_row_is_not_lost_before_a_bad_second(tmp_path):
    """A reader that skips until rows look right would take row 2 for a preamble."""
    path = tmp_path / "bad.csv"
    path.write_text("V,I\n0,1\n1,x\n2,3\n")
    with pytest.raises(DataError, match="row 3"):
        read_curve(path, IV)


def test_binary_and_missing_files(tmp_path):
    with pytest.raises(MissingFile, match=r"none\.csv"):
        read_curve(tmp_path / "none.csv", IV)
    path = tmp_path / "x.xls"
    path.write_bytes(b"\xd0\xcf\x11\xe0\0\0\0\0")
    with pytest.raises(DataError, match="not a text file"):
        read_curve(path, IV)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"reader": "excel"}, UnknownName, "unknown reader 'excel'"),
        ({"columns": {"voltage": {"name": "V"}}}, InputError, "does not say which column is 'current'"),
        ({"columns": {**IV.model_dump()["columns"], "power": {"name": "P"}}}, UnknownName, "'P'"),
        (
            {"columns": {"voltage": {"name": "V", "unit": "s"}, "current": {"name": "I", "unit": "A"}}},
            UnitError,
            "columns.voltage is in 's'",
        ),
        ({"columns": {"voltage": {"name": "V", "unit": "parsec"}, "current": {"name": "I"}}}, UnitError, "'parsec'"),
        ({"columns": {"voltage": {"name": 7, "unit": "V"}, "current": {"name": "I"}}}, UnknownName, "'7'"),
        ({"reader": "ramps"}, InputError, "cannot make a curve of kind 'i-v'"),
    ],
)
def test_bad_specifications(tmp_path, change, kind, message):
    path = tmp_path / "iv.csv"
    path.write_text("V,I\n0,1\n1,2\n")
    with pytest.raises(kind) as caught:
        read_curve(path, DataSpec.model_validate({**IV.model_dump(), **change}))
    assert message in str(caught.value)


def test_a_read_current_needs_its_voltage(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("V,I\n-2,1\n2,2\n")
    with pytest.raises(InputError, match=r"conditions\.v_read"):
        read_curve(path, DataSpec.model_validate({**PULSES, "conditions": {"width": "200 ns"}}))


def test_ramps_without_a_sign_each(tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("1,2\n2,3\n")
    with pytest.raises(InputError, match="3 signs for 2 ramps"):
        read_curve(path, DataSpec(kind="equal pulses", reader="ramps", polarity=(1, 1, -1)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text\n1,2\n", "2 lines"),
        ("text\n1,2\n0.5\n1,x\n", "row 4: 'x' is not a number"),
        ("text\n1,2\n0.5\n1\n", "row 4 has 1 steps for 2"),
        ("text\n1,2\n0.5,0.6\n1,2\n", "1 rows for 2 points"),
    ],
)
def test_bad_step_tables(tmp_path, text, message):
    path = tmp_path / "dg.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_curve(path, DataSpec(kind="step table", reader="steps"))


def test_table_finds_columns_in_any_case_and_without_unit(tmp_path):
    path = tmp_path / "iv.csv"
    path.write_text("Drain Voltage (V),Drain Current (mA)\n0,1\n1,2\n")
    (table,) = read_tables(path)
    assert table.find("drain voltage") == 0
    assert table.find("Drain Current (mA)") == 1
    assert table.unit(1) == "mA"
