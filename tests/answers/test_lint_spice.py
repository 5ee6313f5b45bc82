"""LTspice and PSpice netlists through lint: the value that their own program gives, and a verdict that holds it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.cli.lint import _verdict
from cosim.engines.simulator import Deck, Limits, Simulator
from cosim.errors import CosimError
from cosim.lint.drive import ModelRun
from cosim.lint.lint import fix_file, lint_file
from cosim.lint.lt_reading import Subcircuit

pytestmark = pytest.mark.spice


UT = 1.380649e-23 * 300 / 1.602176634e-19
# name: (rule, body of a two-terminal subcircuit, volts, amperes in the language's own program)
ANSWERS = {
    "value without =": ("limit", "G1 p n VALUE {LIMIT(V(p,n),0,0.2)}", 0.3, 0.2),
    "value in lower case": ("limit", "G1 p n value {limit(V(p,n),0,0.2)}", 0.3, 0.2),
    "value over lines": ("pwr", "G1 p n VALUE {\n+ PWR(V(p,n),3)\n+ }", -2.0, 8.0),
    "value = ": ("function", "G1 p n VALUE = {PWRS(V(p,n),3)}", -2.0, -8.0),
    "if": ("function", "G1 p n VALUE {IF(V(p,n)>0.5, 1, 2)}", 0.3, 2.0),
    "stp": ("function", "G1 p n VALUE {STP(V(p,n))*3}", 0.3, 3.0),
    "table() within": ("function", "G1 p n VALUE {TABLE(V(p,n),0,0,1,10)}", 0.3, 3.0),
    "table() beyond": ("function", "G1 p n VALUE {TABLE(V(p,n),0,0,1,10)}", 3.0, 10.0),
    "table() below": ("function", "G1 p n VALUE {TABLE(V(p,n),0,1,1,10)}", -3.0, 1.0),
    "table() with a step": ("function", "G1 p n VALUE {TABLE(V(p,n),0,1,0,5,1,10)}", 0.2, 6.0),
    "a corner of TABLE": ("table", "G1 p n TABLE {V(p,n)} = (-1,0) (0.3,0) (1,7)", 0.3, 0.0),
    "TABLE without =": ("table", "G1 p n TABLE {V(p,n)} ((0,0) (1,1) (2,10))", 1.02, 1.18),
    "thermal voltage": ("constant", ".func UT() {300*boltz/echarge}\nG1 p n VALUE={UT()*V(p,n)}", 1.0, UT),
    "constants in capitals": ("constant", "B1 p n I=300*K/Q*V(p,n)", 1.0, UT),
    "planck": ("constant", "B1 p n I=1e34*Planck", 1.0, 6.62607015),
    "kelvin": ("constant", "B1 p n I=1-kelvin", 1.0, 274.15),
    "pi of a parameter": ("constant", ".param w={2*pi}\nB1 p n I=V(p,n)*w", 1.0, 2 * math.pi),
    "e of a function of a parameter": ("constant", ".func f(x) {e*x}\n.param w={f(2)}\nR1 p n {w}", 1.0, 0.5 / math.e),
    "temp": ("constant", "B1 p n I=V(p,n)*temp", 1.0, 27.0),
    "temp of a parameter": ("constant", ".param t1={temp+1}\nB1 p n I=t1", 1.0, 28.0),
    "brackets in braces": ("braces", "B1 p n I=V(p,n)*{2+1}", 2.0, 6.0),
    "mil of a parameter": ("mil", ".param w={2mil}\nB1 p n I=V(p,n)*w", 1.0, 50.8e-6),
    "a step at zero": ("step", "B1 p n I=u(V(p,n))", 0.0, 0.0),
    "a step of a parameter": ("step", ".param w={u(0.3)}\nB1 p n I=w", 1.0, 1.0),
    "a ramp of a parameter": ("function", ".param w={uramp(0.3)}\nB1 p n I=w", 1.0, 0.3),
    "truth of a number": ("truth", "B1 p n I=(V(p,n) && 1) ? 1 : 2", 0.3, 2.0),
    "not of a number": ("truth", "B1 p n I=!V(p,n)", 0.3, 1.0),
    "remainder": ("operator", "B1 p n I=V(p,n)%2", -2.7, -0.7),
    "mod": ("function", "B1 p n I=mod(V(p,n),2)", -2.7, -0.7),
    "cbrt": ("function", "B1 p n I=cbrt(V(p,n))", -8.0, -2.0),
    "fabs": ("function", "B1 p n I=fabs(V(p,n))", -8.0, 8.0),
    "value without brackets": ("bare", "E1 x n vol=2\nG1 p n value=V(p,n)*V(x,n)", 1.0, 2.0),
    "a function of .param": ("function", ".param f(x)='stp(x)*2'\nG1 p n cur='f(V(p,n))'", 1.0, 2.0),
    "a resistance": ("resistance", "B1 p n R=2*(1+V(p,n))", 1.0, 0.25),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_a_fix_gives_what_the_language_means(case: str, simulator: Simulator, tmp_path: Path) -> None:
    rule, body, volts, amperes = ANSWERS[case]
    file = tmp_path / "s.sub"
    file.write_text(f".subckt s p n\n{body}\n.ends\n")
    assert rule in {finding.rule for finding in lint_file(file).findings}
    repair = fix_file(file, None)
    assert repair.after.clean, repair.after.findings
    deck = Deck(f"t\nV1 a 0 {volts}\n{repair.fixed.text}\nX1 a 0 s\n.op\n.end\n")
    current = -float(simulator.run(deck, limits=Limits(wall=20.0)).require()["op"]["i(v1)"])
    assert current == pytest.approx(amperes, rel=1e-6, abs=1e-9)  # ngspice's own abstol and gmin


def test_parameters_of_the_file_are_not_constants(tmp_path: Path) -> None:
    file = tmp_path / "s.sub"
    file.write_text(
        ".subckt s p e q params: k=2\n.param boltz=3\n.func f(planck) {planck*2}\n"
        "G1 p e VALUE={k*boltz*f(V(p,e))*V(q)}\nB1 q 0 V=pi*e*time\n.ends\n"
    )
    assert lint_file(file).findings == ()


def test_a_circuit_is_repaired_run_and_written(simulator: Simulator, tmp_path: Path) -> None:
    file, out = tmp_path / "limits.cir", tmp_path / "fixed.cir"
    file.write_text(
        "limits\nV1 c 0 0.3\nR1 c 0 1k\nG1 0 d VALUE={LIMIT(V(c),0,0.2)}\nR2 d 0 1\nG2 0 e VALUE {LIMIT(V(c),0,0.2)}\n"
        "R3 e 0 1\nE1 f 0 VALUE = {LIMIT(V(c),0,0.2)}\nR4 f 0 1\n.op\n.end\n"
    )
    assert main(["lint", str(file)]) == 1
    assert main(["lint", str(file), "--fix", str(out)]) == 0
    found = simulator.run(Deck(out.read_text())).require()["op"]
    assert [float(found[f"v({node})"]) for node in "def"] == pytest.approx([0.2, 0.2, 0.2])


RUNS_NOT = {
    "laplace": "E1 x 0 LAPLACE {V(p,n)} = {1/(1+s)}\nG1 p n VALUE {V(x)*1m}",
    "freq": "E1 x 0 FREQ {V(p,n)} = (0,0,0) (1k,-3,0)\nG1 p n VALUE {V(x)*1m}",
    "chebyshev": "E1 x 0 CHEBYSHEV {V(p,n)} = LP 800 1.2k .1dB 50dB\nG1 p n VALUE {V(x)*1m}",
    "an integral inside a function": ".func f(x) {idt(x)}\nB1 p n I=1m*f(V(p,n))",
    "a name of nobody": "G1 p n VALUE {IF(V(p,n) > 0, 1m, 2m)*nobody}",
}


@pytest.mark.parametrize("case", RUNS_NOT)
def test_what_does_not_run_is_not_offered(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "s.sub", tmp_path / "fixed.sub"
    file.write_text(f".subckt s p n\n{RUNS_NOT[case]}\n.ends\n")
    assert main(["lint", str(file), "--fix", str(out)]) == 1
    said = capsys.readouterr().out
    assert not out.exists()
    assert "was not written" in said
    assert "does not run in ngspice: " in said


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("E1 x 0\n+ weird\n+ {V(p)*2}", "lines 2-4 were not understood"),
        ("G1 p n VALUE {V(p)*2", "line 2 was not understood"),
        ("A1 p n 0 0 0 0 q 0 SCHMITT", "line 2 was not understood"),
        ("B1 p n J=V(p)", "line 2 was not understood"),
        ("B1 p n I=V(p)*[2]", "line 2 was not understood"),
    ],
)
def test_what_is_not_understood_is_said(body: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "s.sub"
    file.write_text(f".subckt s p n\n{body}\n.ends\n")
    found = lint_file(file)
    assert not found.clean
    assert any(f.rule == "unread" and f.message.startswith(says) for f in found.findings), found.findings


SLOW = """.subckt slow p n w
.param top=1
Cw w 0 1
Gw 0 w VALUE={0.02*sinh(4*V(p,n))*(V(p,n) > 0 ? (V(w) < top ? 1 : 0) : (V(w) > 0 ? 1 : 0))}
.ic V(w)=0
Gm p n VALUE={(1-V(w))*0.5u*(1-exp(-0.5*V(p,n))) + V(w)*4u*sinh(2*V(p,n))}
.ends
"""


def test_the_drive_moves_the_state(simulator: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "slow.sub"
    file.write_text(SLOW)
    repair = fix_file(file, simulator)
    drive = repair.equivalence.drive
    assert drive is not None
    # half a period of it charges w by a tenth of its range: 0.02 sinh(4 sin) over half a second is 0.11
    assert (drive.amplitude, drive.period) == (1.0, 1.0)
    assert repair.clean, repair.equivalence
    assert repair.equivalence.comparisons[1].states["w"] < 0.01


def test_a_state_that_stands_still_is_not_verified(
    simulator: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "slow.sub", tmp_path / "fixed.sub"
    file.write_text(SLOW)
    repair = fix_file(file, simulator, period=1e-9)
    assert not repair.clean
    assert any("the state w did not move: nothing about" in text for text in repair.equivalence.unverified)
    assert all("w" not in comparison.states for comparison in repair.equivalence.comparisons)
    assert main(["lint", str(file), "--fix", str(out), "--period", "1 ns", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["clean"] is said["fix"]["clean"] is False
    assert said["unverified"] == list(repair.equivalence.unverified)


def test_a_threshold_above_a_volt_is_reached(simulator: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "threshold.sub"
    file.write_text(
        ".subckt s p n\nCw w 0 1n\nBw 0 w I=V(p,n) > 1.5 ? 1m*(1-V(w)) : (V(p,n) < -1.5 ? -1m*V(w) : 0)\n"
        ".ic V(w)=0.2\nBm p n I=V(p,n)*(10u + 100u*V(w))\n.ends\n"
    )
    repair = fix_file(file, simulator)
    assert repair.equivalence.drive is not None
    assert repair.equivalence.drive.amplitude == 2.0
    assert repair.clean, repair.equivalence


def test_a_current_of_nothing_shows_nothing(simulator: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "dead.sub"
    file.write_text(".subckt s p n\nB1 p n I=1e-18*V(p,n)\n.ends\n")
    repair = fix_file(file, simulator)
    assert not repair.clean
    assert any("the current stays below" in text for text in repair.equivalence.unverified)
    file.write_text(".subckt s p n\nB1 p n I=1m\n.ends\n")
    assert "the current does not change" in fix_file(file, simulator).equivalence.unverified[0]


def test_what_was_compared_and_where_is_said(simulator: Simulator, tmp_path: Path) -> None:
    """A second simulator that does not run the model, and what is no subcircuit, are not among what was compared."""

    class Breaking:
        def run(self, *args: object, **more: object) -> None:
            raise CosimError("Timestep too small")

    body = ".subckt s p n\nB1 p n I=1m*stp(V(p,n))*V(p,n)\n.ends\n"
    alone, more = tmp_path / "s.sub", tmp_path / "more.cir"
    alone.write_text(body)
    more.write_text(f"more\nV1 a 0 1\nX1 a 0 s\nB1 b 0 V=stp(V(a))\nR1 b 0 1k\n{body}{body.replace('t s', 't other')}")
    repair = fix_file(alone, simulator, second=cast(Simulator, Breaking()), amplitude=1.0, period=1e-6)
    assert any("does not run in VACASK: Timestep too small" in text for text in repair.equivalence.unverified)
    assert _verdict(repair) == "repaired; compared within the limits in ngspice alone"
    repair = fix_file(more, simulator, amplitude=1.0, period=1e-6)
    assert repair.equivalence.rest == ("subcircuit 'other'", "the circuit")
    says = "repaired; compared within the limits in ngspice alone, except subcircuit 'other', the circuit"
    assert _verdict(repair) == says


@pytest.mark.parametrize("name", ["X§U1", "XU1§X"])
@pytest.mark.parametrize("code", ["utf-8", "latin-1", "utf-16"])
def test_a_section_sign_in_a_name(name: str, code: str, simulator: Simulator, tmp_path: Path) -> None:
    """1 V over 2k and 1k, through a subcircuit that LTspice named after its symbol."""
    file, out = tmp_path / "sign.net", tmp_path / "out.cir"
    file.write_bytes(
        f"* sign\nV1 a 0 1\n{name} a b part\nR2 b 0 1k\nB1 c 0 V=stp(V(b))\nR3 c 0 1k\n"
        ".subckt part p n\nR1 p n 2k\n.ends\n"
        ".tran 1u 9u\n.meas tran v find v(b) at=5u\n.end\n".encode(code)
    )
    repair = fix_file(file, simulator, amplitude=1.0, period=1e-6)
    assert "§ is written _" in repair.fixed.done
    assert repair.fixed.text.isascii()
    out.write_text(repair.fixed.text)
    assert Testbench.load(out).run(simulator)["v"].values == pytest.approx([1 / 3])


STEPPED = "stepped\n.param r=1k\nV1 a 0 1\nR1 a b {r}\nR2 b 0 1k\n.step param r list 1k 3k\n"


def test_a_step_that_a_repair_leaves_out_is_named(
    simulator: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "st.net", tmp_path / "out.cir"
    file.write_text(f"{STEPPED}B1 c 0 V=stp(V(b))\nR3 c 0 1k\n.tran 0 10u\n.meas tran v find v(b) at=5u\n.end\n")
    assert main(["run", str(file)]) == 1
    assert "writes it for ngspice, without its .step" in capsys.readouterr().err
    assert main(["lint", str(file), "--fix", str(out)]) == 0
    assert ".step is removed: put it back where 'cosim new bench --from' is to make a sweep" in capsys.readouterr().out
    rows = out.read_text().replace(".tran", ".step param r list 1k 3k\n.tran", 1)
    out.write_text(rows)
    assert main(["validate", str(out), "--json"]) == 0
    assert Testbench.load(out).run(simulator)["v"].values == pytest.approx([0.5, 0.25])  # 1 V over r and 1k


def test_a_disagreement_is_a_finding_and_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "ohm.sub", tmp_path / "fixed.sub"
    file.write_text(".subckt s p n\nG1 p n VALUE {V(p,n)*2m}\n.ends\n")
    arguments = ["lint", str(file), "--fix", str(out)]
    assert main(arguments) == 0
    assert "66.67%" not in capsys.readouterr().out
    real = Subcircuit.run

    def thrice(self: Subcircuit, t: np.ndarray, v: np.ndarray) -> ModelRun:
        return ModelRun(3.0 * real(self, t, v).current)

    monkeypatch.setattr(Subcircuit, "run", thrice)
    assert main(arguments) == 1
    text = capsys.readouterr().out
    assert "error [disagreement]" in text
    assert "66.67%, above the limit of 0.1%" in text
    assert "not repaired" in text
    assert main([*arguments, "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["clean"] is said["fix"]["clean"] is False
    assert said["fix"]["equivalence"]["findings"][0]["severity"] == "error"


BLOCK = """* a divider
.subckt div p n
R1 p n 4k7
.ends
X1 a 0 div
V1 a 0 1
.control
let step = 1u/100
tran $&step 1u
plot i(v1)
meas tran top max v(a)
shell ls
.endc
.end
"""


def test_a_control_block_is_not_read_as_a_netlist(tmp_path: Path) -> None:
    for suffix in (".cir", ".spice", ".ckt", ".lib", ".mod"):
        file = tmp_path / f"block{suffix}"
        file.write_text(BLOCK)
        found = lint_file(file)
        assert [(f.rule, f.line) for f in found.findings] == [("number", 3), ("refused", 7)], suffix
    repair = fix_file(file, None)
    assert ".control" not in repair.fixed.text
    assert ".tran 1e-08 1u\n.meas tran top max v(a)\n.end\n" in repair.fixed.text
    assert [text for text in repair.fixed.left if "shell ls" in text and text.startswith("line 12")]


def test_a_folder_has_a_table_and_equal_findings_are_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "\n".join(f"B{k} p n I=if(V(p,n) > 0, {k}m, 0)" for k in range(1, 52))
    (tmp_path / "many.sub").write_text(f".subckt s p n\n{rows}\n.ends\n")
    (tmp_path / "fine.sub").write_text(".subckt s p n\nR1 p n 1k\n.ends\n")
    (tmp_path / "notes.txt").write_text("not a model")
    assert main(["lint", str(tmp_path / "many.sub")]) == 1
    said = capsys.readouterr().out
    assert said.count("ngspice has no function if()") == 1
    assert "(also at lines 3, 4, 5, " in said
    assert "51 findings" in said
    assert main(["lint", str(tmp_path)]) == 1
    table = capsys.readouterr().out
    assert "many.sub" in table
    assert "nothing found" in table
    assert "notes.txt" not in table
    assert main(["lint", str(tmp_path), "--fix", str(tmp_path / "x")]) == 2
