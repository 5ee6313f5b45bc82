"""What somebody with the README alone meets: units, figures, sentences and certificates that say what they show."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cosim import units
from cosim.cli.app import main
from cosim.fitting.extract import extract
from cosim.fitting.recipe import FitRecipe
from cosim.lint.lint import lint_file
from cosim.report import fit_figures

DIVIDER = "t\nV1 in 0 1\nR1 in out 1k\nR2 out 0 3k\n"
RLC = "t\nV1 in 0 dc 0 ac 1\nL1 in a 1m\nR1 a out 10\nC1 out 0 1n\n"
OF_THE_CIRCUIT = {
    # (vector, value, unit): a divider, the poles -R/2L ± j·sqrt(1/LC − (R/2L)²), and -R2/(R1 + R2)² of v(out) by R1
    DIVIDER + ".tf v(out) v1": [("output_impedance_at_v(out)", 750.0, "Ohm"), ("v1#input_impedance", 4e3, "Ohm"),
                                ("transfer_function", 0.75, "")],
    RLC + ".pz in 0 out 0 vol pol": [("re(pole(1))", -5e3, "1/s"), ("im(pole(1))", 999987.5, "1/s")],
    DIVIDER + ".sens v(out)": [("r1", -3e3 / 16e6, "")],
}  # fmt: skip


@pytest.mark.spice
@pytest.mark.parametrize("engine", ["pyspice", "ngspice"])
@pytest.mark.parametrize("deck", OF_THE_CIRCUIT)
def test_only_voltages_are_in_volts(deck: str, engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.cir").write_text(deck + "\n.end\n")
    assert main(["run", str(tmp_path / "a.cir"), "--engine", engine, "--json"]) == 0
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["vectors"]}
    for name, value, unit in OF_THE_CIRCUIT[deck]:
        assert found[name]["last"] == pytest.approx(value, rel=1e-6)
        assert found[name]["unit"] == unit


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [(1e20, "Ohm", "1e+20 Ohm"), (3.3e-33, "A", "3.3e-33 A"), (-0.0, "V", "0 V"), (2.5e-18, "A", "2.5 aA"),
     (4e14, "Hz", "400 THz")],
)  # fmt: skip
def test_a_value_that_no_prefix_suits_has_none(value: float, unit: str, shown: str) -> None:
    assert units.show(value, unit) == shown


SENTENCES = {
    "C1 out 0 1n ic=1\n.tran 1n 1u": (0, "ic= of C1 is ignored: the .tran has no uic; add uic to the .tran"),
    ".op\n.temp 27 85": (1, "'.temp 27 85' has several temperatures; write one, and the others as corners of a bench"),
}


@pytest.mark.spice
@pytest.mark.parametrize("cards", SENTENCES)
def test_sentences_name_what_is_wrong(cards: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = SENTENCES[cards]
    (tmp_path / "a.cir").write_text(DIVIDER + cards + "\n.end\n")
    assert main(["run", str(tmp_path / "a.cir")]) == code
    assert said in capsys.readouterr().err


BENCH = """title = "t"
circuit = "V1 a 0 1\\nR1 a 0 1k"
[analysis]
kind = "op"
[measures.v]
kind = "final"
of = "v(a)"
unit = "mV"
[limits]
v = { max = LIMIT }
"""


@pytest.mark.parametrize(
    ("limit", "said"),
    [("0.9", 'write "0.9 mV" or "0.9 V", whichever is meant'),
     ('"3 nJ"', "'3 nJ' is not in mV: it is an energy (J); write a number with a unit of mV, or correct the unit of")],
)  # fmt: skip
def test_a_limit_in_another_unit_leaves_open_which_of_the_two_is_wrong(
    limit: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.toml").write_text(BENCH.replace("LIMIT", limit))
    assert main(["run", str(tmp_path / "b.toml")]) == 2
    assert said in capsys.readouterr().err


SUBCIRCUIT = """* what stands above a subcircuit, and a continued line in it,
* is not in the deck that is run
*
.subckt m p n
C1 p
+ n 1p
B1 p n I=1m*V(p,n)*if(V(p,n)>0,1,0)
.ends
"""


@pytest.mark.spice
def test_the_engine_s_line_is_the_file_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.sub").write_text(SUBCIRCUIT)
    main(["lint", str(tmp_path / "m.sub"), "--fix", str(tmp_path / "fixed.sub")])
    (said,) = (line for line in capsys.readouterr().out.splitlines() if "does not run in ngspice" in line)
    assert "line 7" in said


def test_a_genvar_is_not_a_loose_node(tmp_path: Path) -> None:
    (tmp_path / "m.va").write_text(
        '`include "disciplines.vams"\nmodule m(p, n);\ninout p, n;\nelectrical p, n;\ngenvar i;\nanalog begin\n'
        "for (i = 0; i < 3; i = i + 1) I(p, n) <+ 1m*V(p, n);\nend\nendmodule\n"
    )
    assert {finding.rule for finding in lint_file(tmp_path / "m.va").findings} == {"unsupported"}


def test_clipped_rows_are_not_drawn_as_fitted_ones(tmp_path: Path) -> None:
    v = np.linspace(-0.5, 1.5, 81)
    u = np.minimum(v, 2.0)
    i = 4e-3 * u * (1 - u / 4) / (1 + abs(u) / 2.5) + 2e-6 * np.random.default_rng(1).standard_normal(v.size)
    rows = "\n".join(f"{a},{min(b, 1.2e-3)!r}" for a, b in zip(v.tolist(), i.tolist(), strict=True))
    (tmp_path / "c.csv").write_text(f"Voltage (V),Current (A)\n{rows}\n")
    (tmp_path / "c.toml").write_text(
        'name = "c"\ndevice = "access_transistor"\n[data]\nkind = "i-v"\nfile = "c.csv"\n'
        'columns.voltage = { name = "Voltage" }\ncolumns.current = { name = "Current" }\n'
        '[fit]\nvary = ["g_on", "v_sat", "v_c"]\n'
    )
    result = extract(FitRecipe.load(tmp_path / "c.toml"))
    clipped = int(result.clipped.sum())
    assert clipped > 20
    for plot in (fit_figures.plot_fit, fit_figures.plot_residuals, fit_figures.plot_parity):
        drawn = {line.get_label(): np.size(line.get_xdata()) for line in plot(result).lines}
        (fitted,) = (size for label, size in drawn.items() if "fitted" in str(label))
        assert fitted == v.size - clipped, plot.__name__


def test_a_certificate_needs_pulses_that_move_the_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "s.npz"
    train = ["surrogate", "train", "--against", "integration", "--pulses", "120", "-o", str(out)]
    assert main([*train, "--span", "-0.5 V", "0.5 V"]) == 2
    assert "a surrogate that never moved would pass" in capsys.readouterr().err
    assert not out.exists()
    assert (
        main([*train, "--span", "-2.4 V", "0.5 V", "--figure", str(tmp_path / "s.png")]) == 0
    )  # one polarity moves it
    said = capsys.readouterr().out
    assert "amplitude -2.4..0.5 V, w 0.." in said
    assert "width 200 ns, rise 5 ns, fall 5 ns" in said
