"""Each row of a measured file is fitted, or it is said which is not: in the manner of many instruments.

One sweep of a triode, 126 rows with 2 uA of noise, is written as each instrument would; what is fitted is the truth.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosim.cli.app import main
from cosim.data.readers import read_curve
from cosim.data.recording import Curve
from cosim.data.spec import DataSpec
from cosim.devices.base import Values
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import device, devices
from cosim.errors import DataError, InputError
from cosim.fitting.checks import loop_of
from cosim.fitting.extract import extract
from cosim.fitting.forwards.i_v import StaticForward
from cosim.fitting.forwards.pulse_train import PulseTrainForward
from cosim.fitting.recipe import FitRecipe

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
    "a word behind a number": (HEAD + "0,1m\n1,2mum\n", spec(), "write plain numbers, and their unit"),
    "a unit of something else": (
        HEAD + "0,1 mV\n1,2 mV\n",
        spec(),
        "'1 mV' stands in a column in A, which is a current (A)",
    ),
    "a prefix behind a prefix": (
        "V (V),I (mA)\n0,1m\n1,2m\n",
        spec(),
        "row 2, column 'I (mA)': '1m' stands in a column in mA, which has a prefix too",
    ),
    "thousands": (HEAD + '0,"1,234.5"\n1,2\n', spec(), "'1,234.5' has a comma and a point"),
    "thousands or decimals": (HEAD + '0,"1,234"\n1,"2,345"\n', spec(), "'1,234' is one number with a decimal comma"),
    "two decimal signs": ("V (V);I (A)\n0,5;1\n0.7;2\n", spec(), "have different decimal signs"),
    "another table below": (HEAD + "0,1\n1,2\n\nT,G\n300,4\n", spec(), "row 5 has text in every column that is read"),
    "twice the name": ("V (V),I (A),I (A)\n0,1,1\n", spec(), "column 'I' appears 2 times"),
    "a header of two words between blanks": (
        "Drain Voltage  I\n0 1\n1 2\n",
        spec("Voltage", AMP),
        "words for 2 columns",
    ),
    "a gap in the middle": (HEAD + "0,1\n1,\n2,3\n", spec(), "row 3, column 'I (A)': the cell is blank"),
    "a header once more at the end": (
        HEAD + "0,1\n1,2\n" + HEAD,
        spec(),
        "row 4, column 'V (V)': 'V (V)' is not a number",
    ),
    "a line beyond all cells": (HEAD + "0,1\n" + "x" * 140_000 + "\n1,2\n", spec(), "cannot be split into cells"),
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


def test_a_wrong_key_names_the_choices(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('name = "r"\ndevice = "vteam"\n[data]\nkind = "i-v"\ndecimal = ";"\n[fit]\nvary = ["r_on"]\n')
    with pytest.raises(InputError, match=r"unknown data\.decimal ';'; known: ,, \."):
        FitRecipe.load(path)


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
    # the same readings twice are one reading: fitted twice, their noise would not be independent
    assert "record 2 repeats record 1, and is fitted once" in str(both.reading)
    np.testing.assert_array_equal(both["voltage"], VOLTS)
    every = read_curve(path, asked.model_copy(update={"record": "all"}))
    np.testing.assert_array_equal(every["voltage"], np.tile(VOLTS, 2))
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
    with pytest.raises(DataError, match="a pulse train cannot lose rows from its middle"):
        read_curve(path, asked)


# Sign, shift and loop: the curve against the device, whichever it is.

PULSES = {"v_read": 0.2, "shape": PulseShape(200e-9, rise=5e-9, fall=5e-9)}
MEMRISTOR = {"theta_p": 1.2, "theta_n": 1.0, "alpha_p": 0.9, "alpha_n": 0.7, "gamma_p": 1.3, "gamma_n": 2.0,
             "ratio": 12.0, "g_max": 1.5e-4, "w0": 0.35}  # fmt: skip


def _defaults(name: str, **truth: float) -> Values:
    return Values({entry.name: entry.default for entry in device(name).params} | truth)


def _train(amplitude: np.ndarray, *, noise: float = 0.02) -> Curve:
    """A train of a threshold memristor, with read noise relative to the read."""
    blank = Curve.pulse_train(amplitude, np.linspace(1e-5, 1e-4, amplitude.size), **PULSES)
    model = device("threshold_memristor")
    reads = PulseTrainForward(model, blank, np.ones(amplitude.size, dtype=bool)).predict(
        _defaults(model.name, **MEMRISTOR)
    )
    rng = np.random.default_rng(5)
    return blank.with_measured(reads * (1.0 + noise * rng.standard_normal(reads.size)))


AMPLITUDES = np.round(np.random.default_rng(3).uniform(-2.6, 2.6, 150), 1)


def _fit(curve: Curve, name: str = "threshold_memristor", vary: tuple[str, ...] = tuple(MEMRISTOR), **columns: object):
    data = {"kind": curve.kind, "columns": columns}
    return extract(FitRecipe(name="r", device=name, data=data, fit={"vary": vary}), curve)


def _file(path: Path, curve: Curve, *, sign: float = 1.0, shift: int = 0) -> Path:
    rows = zip(sign * curve["amplitude"], np.roll(curve["read"], shift), strict=True)
    path.write_text("V (V),G (uS)\n" + "".join(f"{v:g},{g * 1e6:.6g}\n" for v, g in rows))
    return path


def _pulses(path: Path, amplitude: dict[str, object], read: dict[str, object]) -> FitRecipe:
    columns = {"amplitude": {"name": "V", **amplitude}, "read": {"name": "G", **read}}
    conditions = {"v_read": "0.2 V", "width": "200 ns", "rise": "5 ns", "fall": "5 ns"}
    data = {"kind": "pulse train", "file": str(path), "columns": columns, "conditions": conditions}
    return FitRecipe(name="r", device="threshold_memristor", data=data, fit={"vary": tuple(MEMRISTOR)})


def test_pulses_of_the_other_polarity_are_named_and_turned(tmp_path):
    path = _file(tmp_path / "train.csv", _train(AMPLITUDES), sign=-1.0)
    with pytest.raises(DataError, match=r"positive pulses potentiate.*potentiate when negative.*amplitude\.sign = -1"):
        extract(_pulses(path, {}, {}))
    turned = extract(_pulses(path, {"sign": -1}, {}))
    straight = extract(_pulses(_file(tmp_path / "straight.csv", _train(AMPLITUDES)), {}, {}))
    for name in MEMRISTOR:
        assert turned.values[name] == pytest.approx(straight.values[name], rel=1e-9)
    assert "amplitude: sign turned" in str(turned.curve.reading)


def test_set_pulses_of_one_sign_are_named_too():
    """As SET ramps of equal positive pulses are published: the read has a trend and no steps to compare."""
    depressing = _train(np.full(60, 1.6), noise=0.002)
    rising = Curve.pulse_train(depressing["amplitude"], depressing["read"][::-1], **PULSES)
    with pytest.raises(DataError, match=r"positive pulses potentiate .*columns\.amplitude\.sign = -1"):
        _fit(rising, vary=("g_max", "ratio", "w0"))


@pytest.mark.parametrize(("roll", "shift", "said"), [(1, 1, "before its pulse"), (-1, -1, "one pulse too late")])
def test_reads_shifted_by_one_row_are_named_and_moved_back(tmp_path, roll, shift, said):
    path = _file(tmp_path / "train.csv", _train(AMPLITUDES), shift=roll)
    with pytest.raises(DataError, match=rf"{said}; write columns\.read\.shift = {shift}"):
        extract(_pulses(path, {}, {}))
    curve = _pulses(path, {}, {"shift": shift}).curve()
    assert len(curve) == AMPLITUDES.size - 1
    kept = slice(None, -1) if shift == 1 else slice(1, None)
    np.testing.assert_array_equal(curve["amplitude"], AMPLITUDES[kept])
    assert "of the row 1" in str(curve.reading)
    found = extract(_pulses(path, {}, {"shift": shift}))
    assert found.values["theta_p"] == pytest.approx(1.2, rel=0.1)


def test_a_train_without_effect_is_left_to_the_fit():
    """Pure noise has no direction: nothing is refused for its sign or its order."""
    rng = np.random.default_rng(0)
    model = device("threshold_memristor")
    for _ in range(20):
        noise = Curve.pulse_train(AMPLITUDES, rng.uniform(1e-5, 1e-4, AMPLITUDES.size), **PULSES)
        forward = PulseTrainForward(model, noise, np.ones(len(noise), dtype=bool))
        forward.check(_defaults(model.name))


def test_ramps_against_their_polarity_are_named():
    falling = [np.linspace(2e-4, 1e-4, 40)] * 3
    curve = Curve.equal_pulses([*falling, falling[0][::-1]], polarity=[1, 1, 1, 1])
    with pytest.raises(DataError, match=r"ramp 1 and 2 others of 4 fall along the pulses.*write polarity = -1"):
        _fit(curve, vary=("low", "high", "strength_p"))


TWO_TERMINALS = [
    name for name in devices() if len(device(name).ports) == 1 and device(name).ports[0].nature == "electrical"
]


@pytest.mark.parametrize("name", TWO_TERMINALS)
def test_the_sign_of_a_current_is_held_against_any_device(name):
    model, v = device(name), np.linspace(-0.5, 0.5, 61)
    p = _defaults(name)
    blank = Curve.i_v(v, v)

    def check(current, **stated):
        StaticForward(model, blank.with_measured(current), np.ones(v.size, dtype=bool)).check(p, **stated)

    current = StaticForward(model, blank, np.ones(v.size, dtype=bool)).predict(p)
    noisy = current + 0.1 * float(np.ptp(current)) * np.random.default_rng(1).standard_normal(v.size)
    check(noisy)
    with pytest.raises(DataError, match=r"opposite sign .*columns\.current\.sign = -1"):
        check(-noisy)
    check(-noisy, sign=True)


def test_a_current_counted_out_of_the_device_is_turned(tmp_path):
    path = tmp_path / "iv.csv"
    path.write_text("V (V),I (A)\n" + "".join(f"{v},{-float(i):.6g}\n" for v, i in ROWS))
    body = {"name": "r", "device": "access_transistor", "fit": {"vary": tuple(TRIODE)}}
    with pytest.raises(DataError, match="SPICE"):
        extract(FitRecipe(data=spec(file=str(path)), **body))
    found = extract(FitRecipe(data=spec("V", {"name": "I", "sign": -1}, file=str(path)), **body))
    assert found.values["g_on"] == pytest.approx(4e-3, rel=2e-3)
    assert found.verdict.trustworthy


def _loop(name: str, width: float, noise: float) -> Curve:
    """A sweep up and down of a device's static curve, whose second half has more current by ``width``."""
    half = np.linspace(-1.0, 1.0, 120)
    v = np.concatenate([half, half[::-1]])
    model = device(name)
    blank = Curve.i_v(v, v)
    current = StaticForward(model, blank, np.ones(v.size, dtype=bool)).predict(_defaults(name))
    current = current * np.where(np.arange(v.size) < half.size, 1.0, 1.0 + width)
    rng = np.random.default_rng(2)
    return blank.with_measured(current + noise * float(np.ptp(current)) * rng.standard_normal(v.size))


STATEFUL = [name for name in TWO_TERMINALS if device(name).states]


@pytest.mark.parametrize("name", STATEFUL)
def test_a_loop_is_refused_for_a_device_with_states(name):
    curve = _loop(name, 0.5, 0.02)
    with pytest.raises(DataError, match=r"the curve is a loop: .* a curve of kind 'i-v' is static; keep the rows"):
        _fit(curve, name, (device(name).params[0].name,))


def test_an_abrupt_switch_on_one_side_only_is_a_loop():
    """Of a switch at -0.3 V the branches differ over a tenth of the rows, and lie within the noise elsewhere."""
    t = np.linspace(0.0, 2.0 * np.pi, 400)
    v = np.sin(t)
    on = (t > np.pi + 0.3) | (t > 1.5 * np.pi)
    current = v * np.where(on, 2e-2, 1e-3) + 2e-4 * np.random.default_rng(0).standard_normal(v.size)
    width, chance = loop_of(Curve.i_v(v, current))
    assert width > 0.03
    assert chance < 1e-7


def test_noise_is_not_a_loop():
    """Neither constant nor relative noise, nor outliers, nor another grid on the way back; 400 trials at 1e-6."""
    rng = np.random.default_rng(4)
    v = np.concatenate([np.linspace(-1.0, 1.0, 60), np.linspace(0.97, -1.0, 53)])
    exact = 1e-5 * np.sinh(6.0 * v)
    assert loop_of(Curve.i_v(v, exact))[1] > 1e-3
    for _ in range(100):
        for noise in (
            3e-4 * rng.standard_normal(v.size),
            0.1 * exact * rng.standard_normal(v.size),
            0.05 * exact * rng.standard_t(3, v.size),
            np.round(1e-5 * rng.standard_normal(v.size), 5),
        ):
            assert loop_of(Curve.i_v(v, exact + noise))[1] > 1e-6


def test_a_loop_of_a_device_without_states_is_a_remark():
    up = np.linspace(-0.5, 2.0, 100)
    v = np.concatenate([up, up[::-1]])
    current = _triode(v) * np.where(np.arange(v.size) < up.size, 1.0, 1.1)
    rng = np.random.default_rng(6)
    noise = 2e-6 * rng.standard_normal(v.size)
    found = _fit(Curve.i_v(v, current + noise), "access_transistor", tuple(TRIODE))
    assert "rising and falling sweeps differ by" in " ".join(found.verdict.remarks)
    plain = _fit(Curve.i_v(v, _triode(v) + 20 * noise), "access_transistor", tuple(TRIODE))
    assert plain.verdict.remarks == ()


def test_records_that_differ_are_not_one_curve(tmp_path):
    path = tmp_path / "iv.csv"
    path.write_text(lines("{v},{i}", HEAD) + HEAD + "".join(f"{v},{2 * float(i):.6g}\n" for v, i in ROWS))
    body = {"name": "r", "device": "access_transistor", "fit": {"vary": tuple(TRIODE)}}
    with pytest.raises(DataError, match=r"records 1 and 2 differ by \d+% .*record = 1"):
        extract(FitRecipe(data=spec(file=str(path)), **body))
    found = extract(FitRecipe(data=spec(file=str(path), record=2), **body))
    assert found.values["g_on"] == pytest.approx(8e-3, rel=2e-3)
