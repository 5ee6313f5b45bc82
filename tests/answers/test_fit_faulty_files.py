"""Files with one fault each: what is said of it, with its line and column, before any fit is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosim.cli.app import main
from cosim.data.recognise import recognise
from cosim.fitting.auto import fit_part

V = np.linspace(-0.5, 2.0, 41)
CURRENT = 2e-3 * np.tanh(V / 1.6) * (1.0 + 0.02 * V) + 2e-6 * np.random.default_rng(5).standard_normal(41)
T = np.linspace(0.0, 1.0, 41)
STUCK = np.where(np.arange(41) == 20, T[19], T)


def text(header: str, *columns: np.ndarray, **cells: str) -> str:
    """A table; ``cells``: what stands in a row (``r7``) of the last column instead of its number."""
    rows = [[f"{value:.7g}" for value in row] for row in zip(*columns, strict=True)]
    for row, cell in cells.items():
        rows[int(row[1:])][-1] = cell
    return "\n".join([header, *(",".join(row) for row in rows)]) + "\n"


VI = "V (V),I (A)"
# text of the file, what recognition says of it (with --auto), what a recipe's fit says
FAULTS = {
    "a unit off by 1000": (text(VI, V, 1e3 * CURRENT), "S (", "which no device has; check the units"),
    "no number": (
        text(VI, V, CURRENT, r7="NaN", r20="NaN"),
        "2 rows left out (lines 9 and 22) without a number in 'I'",
        "row 9, column 'I (A)': 'NaN' is not a number",
    ),
    "swapped columns": (text(VI, CURRENT, V), "with the two columns swapped", "columns swapped it would be"),
    "one point": (text(VI, V[:1], CURRENT[:1]), "one row is too few to say anything (line 2)", "single point (row 2)"),
    "constant": (
        text(VI, V, np.full(41, 1e-6)),
        "the measured column 'I' is constant (1 µA in lines 2 to 42)",
        "the measured column is constant (1e-06 A",
    ),
    "one time twice": (
        text("t (s),V (V),I (A)", STUCK, np.sin(2.0 * np.pi * T), 1e-4 * np.sin(2.0 * np.pi * T) * (1.0 + T)),
        "1 row left out (line 22) whose time stamp is not later than that of the row before",
        "the time of row 22, 0.475 s, is not later than the one before it, 0.475 s in row 21",
    ),
}  # fmt: skip
RECIPE = """name = "t"
device = "{device}"
[data]
kind = "{kind}"
file = "t.csv"
columns.voltage = {{ name = "V" }}
columns.current = {{ name = "I" }}
{more}
[fit]
vary = ["{vary}"]
"""


@pytest.mark.parametrize("fault", FAULTS)
def test_recognition_says_it(fault: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(FAULTS[fault][0], encoding="utf-8")
    (part,) = recognise(path)
    said = [*part.notes, part.refused]
    if part.curve is not None and fault in ("a unit off by 1000", "swapped columns"):
        said.append(fit_part(part).why)
    assert any(FAULTS[fault][1] in sentence for sentence in said if sentence), said


@pytest.mark.parametrize("fault", FAULTS)
def test_a_recipe_refuses_it(fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text(FAULTS[fault][0], encoding="utf-8")
    timed = fault == "one time twice"
    parts = {
        "device": "vteam" if timed else "access_transistor", "kind": "loop" if timed else "i-v",
        "more": 'columns.time = { name = "t" }' if timed else "", "vary": "r_on" if timed else "g_on",
    }  # fmt: skip
    (tmp_path / "t.toml").write_text(RECIPE.format(**parts))
    assert main(["fit", str(tmp_path / "t.toml")]) == 2
    printed = capsys.readouterr()
    assert FAULTS[fault][2] in printed.err
    assert "t.csv" in printed.err
    assert "parameter" not in printed.out


def test_a_limit_of_the_instrument_is_named_with_its_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text(text(VI, V, np.minimum(CURRENT, 8e-4)), encoding="utf-8")
    (tmp_path / "t.toml").write_text(RECIPE.format(device="access_transistor", kind="i-v", more="", vary="g_on"))
    assert main(["fit", str(tmp_path / "t.toml")]) == 0
    said = capsys.readouterr().out
    assert "22 are clipped" in said.split("parameter")[0]
    assert "22 values equal 800 µA, the largest of the curve (lines 21, 22, 23, 24" in said
