"""Each row of a measured file is fitted, or it is said which is not: in the manner of many instruments.

One sweep of a triode, 126 rows with 2 uA of noise, is written as each instrument would; what is fitted is the truth.
"""

from __future__ import annotations

import numpy as np
import pytest

from cosim.cli.app import main
from cosim.devices.base import Values
from cosim.devices.registry import device
from cosim.errors import DataError, InputError
from cosim.fitting.extract import extract
from cosim.fitting.readers import read_curve
from cosim.fitting.recipe import DataSpec, FitRecipe

TRIODE = {"g_on": 4e-3, "v_sat": 2.0, "v_c": 2.5}
N = 126
VOLTS = np.round(np.linspace(-0.5, 2.0, N), 3)


def _triode(v: np.ndarray) -> np.ndarray:
    model = device("access_transistor")
    p = Values({entry.name: entry.default for entry in model.params} | TRIODE)
    return np.asarray(model.through({model.ports[0].name: v}, model.initial(p), p)[model.ports[0].name])


AMPS = _triode(VOLTS) + 2e-6 * np.random.default_rng(20).standard_normal(N)
ROWS = [(f"{v:g}", f"{i:.6g}") for v, i in zip(VOLTS, AMPS, strict=True)]


def lines(form: str, head: str = "", tail: str = "") -> str:
    """Each row by ``form`` with v, i and k (its number), between ``head`` and ``tail``."""
    return head + "".join(form.format(v=v, i=i, k=k) + "\n" for k, (v, i) in enumerate(ROWS)) + tail


def comma(number: str) -> str:
    return number.replace(".", ",")


def spec(voltage: object = "V", current: object = "I", **more: object) -> DataSpec:
    def column(given: object) -> object:
        return given if isinstance(given, dict) else {"name": given}

    body = {"kind": "i-v", "columns": {"voltage": column(voltage), "current": column(current)}, **more}
    return DataSpec.model_validate(body)


VOLT, AMP = {"name": 1, "unit": "V"}, {"name": 2, "unit": "A"}
EASY = "SetupTitle, I/V Sweep\nTestParameter, Channel.VName, V1, V2\nDimension1, 126, 126\nDimension2, 1, 1\n"
META = ["Record Length,2.5e3", "Sample Interval,4e-6", "Trigger Point,1.25e3", ",", "Source,CH1", "Vertical Units,V"]

# The file, what the recipe says, first and last line, what is said besides.
READ = {
    "text in a column that is not named": (lines("{v},{i},C", "V (V),I (A),State\n"), spec(), (2, 127), ""),
    "a status on the first rows only": (
        "V (V),I (A),Status\n" + "".join(f"{v},{i},{'C' if k < 60 else ''}\n" for k, (v, i) in enumerate(ROWS)),
        spec(VOLT, AMP),
        (2, 127),
        "",
    ),
    "time stamps first": (lines("2026-11-29 12:00:{k:02},{v},{i}", "Timestamp,V (V),I (A)\n"), spec(), (2, 127), ""),
    "dates of points": (lines("29.11.2026;{v};{i}", "Tag;V (V);I (A)\n"), spec(), (2, 127), ""),
    "Tektronix": (
        "".join(f"{META[k] if k < len(META) else ','},,{v},{i},\n" for k, (v, i) in enumerate(ROWS)),
        spec({"name": 4, "unit": "V"}, {"name": 5, "unit": "A"}),
        (1, 126),
        "no header",
    ),
    "Rigol": (
        lines("{k},{v},{i},,", "X,CH1,CH2,Start,Increment,\nSequence,Volt,Volt,-6.0e-03,1.0e-05,\n"),
        spec({"name": "CH1", "unit": "V"}, {"name": "CH2", "unit": "A"}),
        (3, 128),
        "current: in A by the recipe, V by the oscilloscope",
    ),
    "EasyEXPERT": (
        lines("DataValue, {v}, {i}", EASY + "DataName, V1, I1\nDataUnit, V, A\n"),
        spec("V1", "I1"),
        (7, 132),
        "",
    ),
    "EasyEXPERT by row": (
        lines("Data Value,{v},{i}", "Dimension1,126,126\nData Name,V1,I1\nData Unit,V,A\n"),
        spec("V1", "I1"),
        (4, 129),
        "",
    ),
    "EasyEXPERT cut off": (
        lines("DataValue, {v}, {i}", EASY.replace("126", "200") + "DataName, V1, I1\nDataUnit, V, A\n"),
        spec("V1", "I1"),
        (7, 132),
        "the file announces 200 rows",
    ),
    "decimal commas in quotes": (
        '"Spannung [V]","Strom [A]"\n' + "".join(f'"{comma(v)}","{comma(i)}"\n' for v, i in ROWS),
        spec("Spannung", "Strom"),
        (2, 127),
        "",
    ),
    "semicolons, byte order mark, Windows": (
        "\ufeffV (V);I (A);\r\n" + "".join(f"{comma(v)};{comma(i)};\r\n" for v, i in ROWS),
        spec(),
        (2, 127),
        "",
    ),
    "a hint for Excel": ("sep=;\nV (V);I (A)\n" + lines("{v};{i}"), spec(), (3, 128), ""),
    "tabs and blank columns": (lines("{v}\t\t{i}\t", "V (V)\t\tI (A)\t\n"), spec(), (2, 127), ""),
    "a footer": (
        lines("{v},{i}", "V (V),I (A)\n", "\nEnd of data\n\n\n"),
        spec(),
        (2, 127),
        "line 129 after the data left out",
    ),
    "statistics below": (
        lines("{v},{i}", "V (V),I (A)\n", "\nSummary\nMean,3e-3\n"),
        spec(),
        (2, 127),
        "lines 129–130",
    ),
    "comments within": (
        "V (V),I (A)\n"
        + "".join(("# range changed\n" if k == 40 else "") + f"{v},{i}\n" for k, (v, i) in enumerate(ROWS)),
        spec(),
        (2, 128),
        "",
    ),
    "a header as a comment": (lines("{v} {i}", "# V (V) I (A)\n"), spec(), (2, 127), "header in line 1"),
    "a preamble longer than the data": (
        lines("{v}  {i}", "Date, Monday\n" * 300 + "V (V)  I (A)\n"),
        spec(),
        (302, 427),
        "header in line 301",
    ),
    "a preamble with numbers, columns by number": (
        lines("{v},{i}", "Model,B1500A\nAverages,3\nV,I\n"),
        spec(VOLT, AMP),
        (4, 129),
        "header in line 3",
    ),
    "a stated header": (lines("{v},{i}", "Averages,3\nRepeats,2\n"), spec(VOLT, AMP, header=2), (3, 128), ""),
    "minus of typesetters": (lines("{v},{i}", "V (V),I (A)\n").replace("-0.", "\u22120."), spec(), (2, 127), ""),
    "a row of units in words": (lines("{v},{i}", "Gate,Drain\nVolts,Amps\n"), spec("Gate", "Drain"), (3, 128), ""),
    "Ohm's sign elsewhere": (lines("{v},5,{i}", "V (V),R (Ω),I (A)\n"), spec(), (2, 127), ""),
    "form feed": (lines("{v},{i}", "chip 7\x0cwafer 2\nV (V),I (A)\n"), spec(), (3, 128), ""),
}


@pytest.mark.parametrize("case", READ)
def test_every_row_is_read_and_gives_the_truth(tmp_path, case):
    text, asked, (first, last), also = READ[case]
    path = tmp_path / "iv.csv"
    path.write_bytes(text.encode())
    curve = read_curve(path, asked)
    np.testing.assert_allclose(curve["voltage"], VOLTS, rtol=1e-12)
    np.testing.assert_allclose(curve["current"], [float(i) for _, i in ROWS], rtol=1e-12)
    assert str(curve.reading).startswith(f"126 of 126 rows, lines {first}–{last}")
    assert also in str(curve.reading)
    assert (curve.lines[0], curve.lines[-1]) == (first, last)
    recipe = FitRecipe(name="r", device="access_transistor", data=asked, fit={"vary": tuple(TRIODE)})
    found = extract(recipe, curve)
    for name, value in TRIODE.items():
        low, high = found.verdict[name].interval
        assert low < value < high, name
    assert found.to_json()["reading"]["rows"] == (126,)
    assert found.provenance()["data_rows"] == str(curve.reading)


HEAD = "V (V),I (A)\n"
# The text, what the recipe says, what the refusal says.
REFUSED = {
    "an overload in the first rows": (
        HEAD + "-1,OVLD\n0,OVLD\n1,2\n2,3\n",
        spec(),
        "row 2, column 'I (A)': 'OVLD' is not a number",
    ),
    "by number": (HEAD + "-1,OVLD\n0,OVLD\n1,2\n", spec(1, 2), "row 2, column 2: 'OVLD' is not a number"),
    "without a header": ("-1,OVLD\n0,OVLD\n1,2\n", spec(VOLT, AMP), "row 1, column 2: 'OVLD' is not a number"),
    "the whole row": (HEAD + "OVLD,OVLD\n0,1\n1,2\n", spec(1, 2), "row 2, column 1: 'OVLD' is not a number"),
    "an unknown word": (HEAD + "-1,oops\n0,oops\n1,2\n", spec(1, 2), "row 2, column 2: 'oops' is not a number"),
    "at the end": (HEAD + "0,1\n1,2\n2,OVLD\n", spec(), "row 4, column 'I (A)': 'OVLD' is not a number"),
    "its remedy": (HEAD + "0,OVLD\n1,2\n", spec(), 'write missing = ["OVLD"] under [data]'),
    "an overflow of SCPI": (HEAD + "0,1\n1,9.9E37\n2,3\n", spec(), "'9.9E37' is an instrument's mark for an overflow"),
    "a huge number": (HEAD + "0,1\n1,1e99\n2,3\n", spec(), "'1e99' is an instrument's mark"),
    "not a number": (HEAD + "0,1\n1,NaN\n2,3\n", spec(), "row 3, column 'I (A)': 'NaN' is not a number"),
    "infinite": (HEAD + "0,1\n1,-inf\n2,3\n", spec(), "'-inf' is not a number"),
    "hexadecimal": (HEAD + "0,1\n1,0x1F\n2,3\n", spec(), "'0x1F' is not a number"),
    "an SI prefix": (HEAD + "0,1m\n1,2m\n", spec(), "write plain numbers, and their unit"),
    "thousands": (HEAD + '0,"1,234.5"\n1,2\n', spec(), "'1,234.5' has a comma and a point"),
    "thousands or decimals": (HEAD + '0,"1,234"\n1,"2,345"\n', spec(), "'1,234' is one number with a decimal comma"),
    "two decimal signs": ("V (V);I (A)\n0,5;1\n0.7;2\n", spec(), "have different decimal signs"),
    "another table below": (HEAD + "0,1\n1,2\n\nT,G\n300,4\n", spec(), "row 5 has text in every column that is read"),
    "twice the name": ("V (V),I (A),I (A)\n0,1,1\n", spec(), "column 'I' is there 2 times"),
    "a header of two words between blanks": (
        "Drain Voltage  I\n0 1\n1 2\n",
        spec("Voltage", AMP),
        "words for 2 columns",
    ),
    "a gap in the middle": (HEAD + "0,1\n1,\n2,3\n", spec(), "row 3, column 'I (A)': the cell is blank"),
    "no such header": (HEAD + "0,1\n1,2\n", spec("U", "I"), "unknown column 'U'"),
    "no such line": (HEAD + "0,1\n1,2\n", spec(header=9), "header = 9: the line is blank or beyond the end"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_names_row_column_and_cell(tmp_path, case):
    text, asked, message = REFUSED[case]
    path = tmp_path / "iv.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_curve(path, asked)
    assert message in str(caught.value)
    assert "iv.csv" in str(caught.value)


def test_rows_named_as_missing_are_left_out_and_said(tmp_path):
    path = tmp_path / "iv.csv"
    path.write_text(HEAD + "-1,OVLD\n0,ovld\n1,2\n2,9.91E+37\n3,4\n,\n")
    curve = read_curve(path, spec(missing=("OVLD", 9.91e37)))
    np.testing.assert_array_equal(curve["voltage"], [1.0, 3.0])
    assert curve.lines == (4, 6)
    said = str(curve.reading)
    assert said.startswith("2 of 5 rows, lines 4–6, header in line 1")
    assert "1 row left out (line 2): 'OVLD' in column 'I (A)'" in said
    assert "(line 5): '9.91E+37'" in said


def test_grouped_numbers_are_read_once_the_decimal_sign_is_stated(tmp_path):
    path = tmp_path / "iv.csv"
    path.write_text(HEAD + '0,"1,234.5"\n1,"2,345"\n')
    np.testing.assert_array_equal(read_curve(path, spec(decimal="."))["current"], [1234.5, 2345.0])
    path.write_text(HEAD + '0,"1.234,5"\n1,"2,345"\n')
    np.testing.assert_array_equal(read_curve(path, spec(decimal=","))["current"], [1234.5, 2.345])
    path.write_text("V (V);I (A)\n0;1\u202f234,5\n1;2,5\n")
    np.testing.assert_array_equal(read_curve(path, spec())["current"], [1234.5, 2.5])


def test_reading_is_in_what_the_command_prints(tmp_path, capsys):
    (tmp_path / "iv.csv").write_text(lines("{v},{i},C", "V (V),I (A),Note\n"))
    (tmp_path / "r.toml").write_text(
        'name = "r"\ndevice = "access_transistor"\n[data]\nkind = "i-v"\nfile = "iv.csv"\n'
        'columns.voltage = { name = "V" }\ncolumns.current = { name = "I" }\n[fit]\nvary = ["g_on", "v_sat", "v_c"]\n'
    )
    assert main(["fit", str(tmp_path / "r.toml")]) == 0
    assert "126 of 126 rows, lines 2–127, header in line 1" in capsys.readouterr().out


TWO = {
    "EasyEXPERT, other columns": (
        lines("DataValue, {v}, {i}", EASY + "DataName, V1, I1\n")
        + lines("DataValue, {i}, {v}", "\n" + EASY + "DataName, I1, V1\n"),
        spec({"name": "V1", "unit": "V"}, {"name": "I1", "unit": "A"}),
        "lines 6–131 and 138–263",
    ),
    "the header once more": (
        lines("{v},{i}", HEAD) + lines("{v},{i}", HEAD), spec(), "lines 2–127 and 129–254"
    ),
    "by number": (lines("{v},{i}", HEAD) + lines("{v},{i}", HEAD), spec(1, 2), "lines 2–127 and 129–254"),
    "other columns and units, a preamble each": (
        lines("{v},{i}", "Sweep,1\n" + HEAD) + lines("{k},{i},{v}", "\nSweep,2\nk,I (A),V (V)\n"),
        spec(),
        "lines 3–128 and 132–257",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TWO)
def test_two_records_are_read_under_their_own_headers(tmp_path, case):
    text, asked, where = TWO[case]
    path = tmp_path / "iv.csv"
    path.write_text(text)
    both = read_curve(path, asked)
    assert f"252 of 252 rows, {where}, 2 records of 126 rows each" in str(both.reading)
    np.testing.assert_array_equal(both["voltage"], np.tile(VOLTS, 2))
    second = read_curve(path, asked.model_copy(update={"record": 2}))
    np.testing.assert_array_equal(second["current"], [float(i) for _, i in ROWS])
    assert len(second) == N
    with pytest.raises(DataError, match="record 3 is asked for; the file holds 2 records"):
        read_curve(path, asked.model_copy(update={"record": 3}))


def test_of_two_pulse_trains_one_has_to_be_chosen(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("V (V),G (uS)\n1,10\n-1,20\n\nV (V),G (uS)\n2,30\n-2,40\n3,50\n")
    columns = {"amplitude": {"name": "V"}, "read": {"name": "G"}}
    asked = DataSpec.model_validate({"kind": "pulse train", "columns": columns})
    with pytest.raises(DataError, match=r"record 1: 2 rows, lines 2–3, .*record 2: 3 rows, lines 6–8"):
        read_curve(path, asked)
    assert len(read_curve(path, asked.model_copy(update={"record": "all"}))) == 5
    assert len(read_curve(path, asked.model_copy(update={"record": 2}))) == 3


def test_a_pulse_train_does_not_lose_a_pulse_from_its_middle(tmp_path):
    path = tmp_path / "train.csv"
    columns = {"amplitude": {"name": "V"}, "read": {"name": "G"}}
    asked = DataSpec.model_validate({"kind": "pulse train", "columns": columns, "missing": ["OVLD"]})
    path.write_text("V (V),G (uS)\n1,OVLD\n-1,20\n2,30\n-2,OVLD\n")
    np.testing.assert_array_equal(read_curve(path, asked)["amplitude"], [-1.0, 2.0])
    path.write_text("V (V),G (uS)\n1,10\n-1,OVLD\n2,30\n")
    with pytest.raises(DataError, match="a pulse train cannot do without rows from its middle"):
        read_curve(path, asked)
