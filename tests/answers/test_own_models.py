"""A Verilog-A file of one's own in a bench: strings as values, and the one form that it has."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.engines.library import find_ngspice
from cosim.engines.openvaf import compile_model
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Deck, Outcome
from cosim.errors import CosimError

pytestmark = [pytest.mark.spice, pytest.mark.osdi]

MODEL = """`include "disciplines.vams"
module two_laws(p, n);
  inout p, n;
  electrical p, n;
  parameter string law = "linear" from '{"linear", "square", "Cube root"} exclude "none";
  parameter real g = 1e-3 from (0:inf);
  parameter string free = "a", other = "b";
  analog begin
    if (law == "square") I(p, n) <+ g * V(p, n) * abs(V(p, n));
    else if (law == "Cube root") I(p, n) <+ g * pow(V(p, n), 1.0 / 3.0);
    else I(p, n) <+ g * V(p, n);
    if (other == "Shorted") I(p, n) <+ 1.0 * V(p, n);
  end
endmodule
"""
BENCH = """title = "two laws"
circuit = '''
V1 a 0 8
X1 a 0 dut
'''
[devices.dut]
verilog_a = "two_laws.va"
{more}
[analysis]
kind = "op"
[measures.i]
kind = "final"
of = "i(v1)"
unit = "A"
"""


def bench(folder: Path, more: str) -> Path:
    (folder / "two_laws.va").write_text(MODEL)
    path = folder / "b.toml"
    path.write_text(BENCH.format(more=more))
    return path


@pytest.mark.parametrize(
    ("values", "amperes"),
    [
        ("", 8e-3),
        ('law = "linear"', 8e-3),
        ('law = "square"', 64e-3),
        ('law = "Cube root", g = "2 mS"', 4e-3),
        ('law = "square", other = "Shorted", free = "x.y-z +1"', 8.064),
    ],
)
def test_a_string_is_set(values: str, amperes: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = bench(tmp_path, f"values = {{ {values} }}")
    assert main(["run", "--json", str(path)]) == 0
    measured = json.loads(capsys.readouterr().out)["measures"]["i"]["values"]
    assert measured == pytest.approx([-amperes], rel=1e-6)


@pytest.mark.parametrize("between", [" /* module other */ ", " // module other\n  "])
def test_a_string_of_a_module_whose_head_has_a_comment(between: str, tmp_path: Path) -> None:
    path = bench(tmp_path, 'values = { law = "square" }')
    (tmp_path / "two_laws.va").write_text(MODEL.replace("module ", f"module{between}"))
    assert "two_laws_" in Testbench.load(path).deck().text


def test_what_is_included_behind_a_comment_counts(tmp_path: Path) -> None:
    """A compiled model is kept until its text changes, or what it includes."""
    file = tmp_path / "law.va"
    body = "inout p, n; electrical p, n; analog I(p, n) <+ `G * V(p, n);"
    file.write_text(f'`include "disciplines.vams"\n/* law */ `include "g.inc"\nmodule law(p, n); {body} endmodule\n')
    made = []
    for g in ("1e-3", "2e-3", "1e-3"):
        (tmp_path / "g.inc").write_text(f"`define G {g}\n")
        made.append(compile_model(file))
    assert made[0] == made[2] != made[1]
    file.write_text(file.read_text() + '// `include "/nowhere/else.inc"\n')
    compile_model(file)


VARIED = """values = { g = "1 mS" }
[corners.squared]
devices = { dut = { law = "square", g = "2 mS" } }
[limits]
i = { min = "-1 A", max = "1 A" }
[analysis]"""


def test_strings_vary_in_corners_plans_and_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bench(tmp_path, "")
    path.write_text(path.read_text().replace("[analysis]", VARIED))
    corner = Testbench.load(path).at_corner("squared")
    assert corner.file.devices["dut"].values["law"] == "square"
    assert "params: g=0.002" in corner.deck().text
    assert main(["run", "--json", str(path), "-d", "dut.law=square", "-d", "dut.g=0.003"]) == 0
    assert json.loads(capsys.readouterr().out)["measures"]["i"]["values"] == pytest.approx([-192e-3], rel=1e-6)
    plan, out = tmp_path / "plan.toml", str(tmp_path / "out")
    plan.write_text('bench = "b.toml"\n[grid]\n"devices.dut.law" = ["linear", "square"]\n')
    assert main(["campaign", "run", str(plan), "-o", out, "-j", "0", "--no-cache", "--json"]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    found = {point["point"]["devices.dut.law"]: point["measures"]["i"]["mean"] for point in points}
    assert found == pytest.approx({"linear": -8e-3, "square": -64e-3})


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ('"devices.dut.law" = ["cubic"]', "unknown value 'cubic' of parameter 'law'"),
        ('"devices.dut.law" = { start = 1, stop = 2, count = 2 }', "this is a string, and has no range"),
        ('"devices.dut.g" = ["fast"]', "grid.devices.dut.g"),
    ],
)
def test_a_plan_with_another_word_is_refused(
    grid: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench(tmp_path, "")
    (tmp_path / "plan.toml").write_text(f'bench = "b.toml"\n[grid]\n{grid}\n')
    assert main(["campaign", "run", str(tmp_path / "plan.toml"), "-o", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err


def test_two_devices_of_one_file_with_other_strings(tmp_path: Path) -> None:
    path = bench(tmp_path, 'values = { law = "square" }\n[devices.other]\nverilog_a = "two_laws.va"')
    path.write_text(path.read_text().replace("X1 a 0 dut", "X1 a 0 dut\nX2 a 0 other"))
    with open_simulator() as simulator:
        assert Testbench.load(path).run(simulator)["i"].scalar == pytest.approx(-72e-3, rel=1e-6)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ('law = "cubic"', "unknown value 'cubic' of parameter 'law' of module 'two_laws' in two_laws.va"),
        ('law = "none"', "unknown value 'none' of parameter 'law'"),
        ("law = 3", "parameter 'law' of module 'two_laws' in two_laws.va takes a string: write a word in quotes"),
        ('g = "large"', "parameter 'g' of module 'two_laws' in two_laws.va takes a number"),
        ('free = "a\\"; x"', "values.free"),
        ('free = "`x"', "values.free"),
        ('free = "$x"', "values.free"),
    ],
)
def test_a_string_that_cannot_be_set(
    values: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bench(tmp_path, f"values = {{ {values} }}")
    assert main(["run", str(path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert f"{path}:8" in error


def test_a_string_of_a_model_card_that_ngspice_reads_otherwise() -> None:
    """It reads "Square" as "square", "a b" as "a", and "" as the next word."""
    with open_simulator() as simulator:
        for word in ("Square", "a b", ""):
            result = simulator.run(Deck(f't\nV1 a 0 1\nN1 a 0 m\n.model m two_laws law="{word}"\n.op\n'))
            assert result.outcome is Outcome.REFUSED
            assert f"line 4: ngspice would not read {word!r} as it stands" in result.reason


@pytest.mark.parametrize("where", ["--form", "file"])
def test_a_model_of_ones_own_has_no_behavioural_form(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bench(tmp_path, 'form = "behavioural"' if where == "file" else "")
    assert main(["run", str(path), *(["--form", "behavioural"] if where == "--form" else [])]) == 2
    assert "a device with verilog_a has no behavioural form; leave the form out" in capsys.readouterr().err


def test_the_compiled_form_is_the_one_that_it_has(tmp_path: Path) -> None:
    found = Testbench.load(bench(tmp_path, 'form = "verilog-a"'))
    assert found.with_(form="verilog-a").file.devices["dut"].form == "verilog-a"
    with pytest.raises(CosimError, match=r"devices\.dut: a device with verilog_a has no behavioural form"):
        found.with_(form="behavioural")


def test_a_kept_deck_runs_in_ngspice_as_it_lies_there(tmp_path: Path) -> None:
    path = bench(tmp_path, 'values = { law = "square" }')
    assert main(["run", str(path), "-o", str(tmp_path / "out")]) == 0
    program = find_ngspice()
    assert program is not None
    done = subprocess.run(
        [program, "-n", "-b", "deck.cir"], cwd=tmp_path / "out", capture_output=True, text=True, timeout=60, check=False
    )
    current = re.search(r"v1#branch\s+(\S+)", done.stdout)
    assert current is not None, done.stdout + done.stderr
    assert float(current[1]) == pytest.approx(-64e-3, rel=1e-5)
