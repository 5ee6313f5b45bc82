"""Subcircuits of LTspice and HSPICE as repaired: in ngspice, and as Verilog-A in VACASK, against closed forms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.engines.openvaf import compile_model
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Deck, Limits, Simulator
from cosim.language.expressions import Unreadable
from cosim.language.lt_syntax import apart
from cosim.language.netlist import logical_lines
from cosim.lint import lt_fix
from cosim.lint.lint import fix_file, lint_file
from cosim.lint.lt_reading import Subcircuit
from cosim.lint.lt_verilog import module

pytestmark = pytest.mark.spice
PERIOD, VOLTS = 1e-6, 1.0
CLOSE = 1e-3  # of full scale: what a repaired model may be off


@pytest.fixture(scope="module")
def vacask() -> Iterator[Simulator]:
    with open_simulator("vacask") as found:
        yield found


# The conductance is 1 mS times the state, x0 + k times the flux: each subcircuit writes that in another way.
DRIFT = {
    "charged by a source": ".subckt s p n params: k=1e6 x0=0.6\nGx 0 x value={k*V(p,n)*(1+limit(0,1,2)-1)}\n"
    "Cx x 0 1 IC={x0}\nGm p n value={1m*V(x)*V(p,n)}\n.ends\n",
    "through an ammeter": ".subckt s p n\nBx 0 x I=if(V(p,n) > 9, 0, 1e6*V(p,n))\nVx x y 0\nCx y 0 1 IC=0.6\n"
    "Bm p n I=1m*V(x)*V(p,n)\n.ends\n",
    "an integral": ".subckt s p n\nEx x 0 value={0.6+idt(1e6*V(p,n))}\nGm p n value={1m*V(x)*V(p,n)}\n.ends\n",
    "functions of functions": ".subckt s p n\n.func rate(v) {1e6*stp(1)*v}\n.func g(x,v) {1m*x*v}\n"
    "Gx 0 x value={rate(V(p,n))}\nCx x 0 1 IC=0.6\nGm p n value={g(V(x),V(p,n))}\n.ends\n",
    "HSPICE": ".global gnd!\n.subckt s p n H0=0.6\n.param k=1e6 gam=0 C0=1\n.param rate(v)='gam==0 ? k*v : 0'\n"
    "Gx gnd! H cur='rate(V(p,n))'\nCx H gnd! C='C0' IC='H0'\nGm p n cur='1m*V(H,gnd!)*V(p,n)'\n.ends\n",
    "a resistance, as a current": ".subckt s p n\nBx 0 x I=1e6*V(p,n)*stp(1)\nCx x 0 1 IC=0.6\n"
    "Bm p n R=1k/(V(x)+1e-9)\n.ends\n",
}


def drifted(t: np.ndarray) -> np.ndarray:
    """The current (n,) A of the closed form at ``t`` (n,) s."""
    flux = VOLTS * PERIOD / (2 * np.pi) * (1 - np.cos(2 * np.pi * t / PERIOD))
    return 1e-3 * (0.6 + 1e6 * flux) * VOLTS * np.sin(2 * np.pi * t / PERIOD)


def off(deck: Deck, simulator: Simulator) -> float:
    data = simulator.run(deck, limits=Limits(wall=30.0)).require()["tran"]
    points = np.linspace(0.02, 0.98, 97) * PERIOD
    current = np.interp(points, np.asarray(data["time"].values, float), -np.asarray(data["i(v1)"].values, float))
    return float(np.max(np.abs(current - drifted(points))) / np.max(np.abs(drifted(points))))


def driven(body: str, osdi: tuple[Path, ...] = ()) -> Deck:
    text = f"t\nV1 a 0 sin(0 {VOLTS} {1 / PERIOD})\n{body}\n.tran {PERIOD / 1000} {PERIOD} 0 {PERIOD / 1000}\n.end\n"
    return Deck(text, osdi=osdi, options={"reltol": 1e-5, "abstol": 1e-13, "vntol": 1e-9})


@pytest.mark.parametrize("name", DRIFT)
def test_a_repaired_subcircuit_in_both_engines(
    name: str, simulator: Simulator, vacask: Simulator, tmp_path: Path
) -> None:
    file = tmp_path / "s.sub"
    file.write_text(DRIFT[name])
    repair = fix_file(file, None)
    assert repair.after.clean, repair.after.findings
    assert off(driven(f"{repair.fixed.text}\nX1 a 0 s"), simulator) < CLOSE
    text = fix_file(file, None, to="verilog-a").fixed.text
    compiled = driven("N1 a 0 dut\n.model dut s", osdi=(compile_model(text),))
    assert off(compiled, simulator) < CLOSE
    assert off(compiled, vacask) < CLOSE


def test_the_comparison_runs_in_both_engines(simulator: Simulator, vacask: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "s.sub"
    file.write_text(DRIFT["HSPICE"])
    repair = fix_file(file, simulator, second=vacask, amplitude=1.0, period=1e-6)
    assert repair.equivalence.engines == ("ngspice", "VACASK")
    found = {c.what.split(" in ")[-1].split()[0]: c for c in repair.equivalence.comparisons if "repaired in" in c.what}
    assert set(found) == {"ngspice", "VACASK"}
    assert all(c.largest < CLOSE for c in found.values())


def test_why_a_subcircuit_is_not_verilog_a_is_said(simulator: Simulator, vacask: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "s.sub"
    file.write_text(".subckt s p n\nC1 p n 1p IC=0.5\nGm p n value={1m*limit(V(p,n),0,1)}\n.ends\n")
    repair = fix_file(file, simulator, second=vacask, amplitude=1.0, period=1e-6)
    assert any("capacitor 'C1' begins at a voltage between two nodes" in text for text in repair.equivalence.unverified)
    assert main(["lint", str(file), "--fix", str(tmp_path / "s.va"), "--to", "verilog-a"]) == 1
    assert not (tmp_path / "s.va").exists()


def test_an_integral_is_reset(simulator: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "s.sub"
    file.write_text(".subckt s p n\nEq q 0 value={idt(1e6*V(p,n), 0.2, V(p,n) < 0)}\nGm p n value={1m*V(q)}\n.ends\n")
    repair = fix_file(file, simulator, amplitude=1.0, period=1e-6)
    assert repair.offered
    body = f"{repair.fixed.text}\nX1 a 0 s"
    data = simulator.run(driven(body)).require()["tran"]
    t, current = (np.asarray(data[name].values, float) for name in ("time", "i(v1)"))
    rising = np.linspace(0.05, 0.45, 9) * PERIOD
    flux = PERIOD / (2 * np.pi) * (1 - np.cos(2 * np.pi * rising / PERIOD))
    assert -np.interp(rising, t, current) == pytest.approx(1e-3 * (0.2 + 1e6 * flux), rel=CLOSE)
    assert -np.interp(0.75 * PERIOD, t, current) == pytest.approx(0.2e-3, rel=CLOSE)
    read = Subcircuit(logical_lines(file.read_text(), has_title=False), caret_is_power=False)
    points = np.linspace(0.0, PERIOD, 2001)
    meant = read.run(points, np.sin(2 * np.pi * points / PERIOD)).current
    assert np.interp(rising, points, meant) == pytest.approx(1e-3 * (0.2 + 1e6 * flux), rel=CLOSE)


# A body for HSPICE, volts, amperes: by HSPICE's documentation of each function.
HSPICE = {
    "pwr keeps the sign": ("G1 p n cur='pwr(V(p,n),2)'", -3.0, -9.0),
    "log of a negative number": ("G1 p n cur='log(V(p,n))'", -np.e, -1.0),
    "sqrt of a negative number": ("G1 p n cur='sqrt(V(p,n))'", -4.0, -2.0),
    "pow by a whole number": ("G1 p n cur='pow(V(p,n),3)'", -2.0, -8.0),
    "decibels": ("G1 p n cur='db(V(p,n))'", -100.0, -40.0),
    "rounded": ("G1 p n cur='nint(V(p,n))'", -2.5, -3.0),
    "with a sign": ("G1 p n cur='sign(3,V(p,n))'", -2.5, -3.0),
    "truth is what is not zero": ("G1 p n cur='(V(p,n) && 1) ? 1 : 2'", 0.3, 1.0),
    "a function of the deck's own named db": (".param db(x)='x*2'\nG1 p n cur='db(V(p,n))'", -3.0, -6.0),
    "one named sign, of one argument": (".param sign(x)='x*2'\nG1 p n cur='sign(V(p,n))'", -3.0, -6.0),
    "one of .func named nint": (".func nint(x) {x*2}\nG1 p n cur='nint(V(p,n))'", -1.3, -2.6),
    "ground": ("G1 p gnd! cur='V(p,gnd!)'", 0.5, 0.5),
}


@pytest.mark.parametrize("case", HSPICE)
def test_the_meanings_of_hspice(case: str, simulator: Simulator, tmp_path: Path) -> None:
    body, volts, amperes = HSPICE[case]
    file = tmp_path / "s.sub"
    file.write_text(f".option post\n.subckt s p n\n{body}\n.ends\n")
    read = Subcircuit(logical_lines(file.read_text(), has_title=False), caret_is_power=False)
    assert read.run(np.array([0.0]), np.array([volts])).current[0] == pytest.approx(amperes)
    repair = fix_file(file, None)
    assert repair.after.clean, repair.after.findings
    text, name, _ = module(logical_lines(repair.fixed.text, has_title=False))
    for deck in (
        Deck(f"t\nV1 a 0 {volts}\n{repair.fixed.text}\nX1 a 0 s\n.op\n.end\n"),
        Deck(f"t\nV1 a 0 {volts}\nN1 a 0 m\n.model m {name}\n.op\n.end\n", osdi=(compile_model(text),)),
    ):
        current = -float(simulator.run(deck, limits=Limits(wall=20.0)).require()["op"]["i(v1)"])
        assert current == pytest.approx(amperes, rel=1e-6, abs=1e-9)  # ngspice's own abstol and gmin


def test_an_inner_node_is_solved_for(tmp_path: Path) -> None:
    file = tmp_path / "s.sub"
    file.write_text(".subckt s p n\nR1 p d 1k\nG1 d n value={1m*V(d,n)*V(d,n)*u(V(d,n))}\n.ends\n")
    assert lint_file(file).findings
    read = Subcircuit(logical_lines(file.read_text(), has_title=False), caret_is_power=False)
    volts = np.array([0.5, 2.0, 6.0])
    inner = (np.sqrt(1 + 4 * volts) - 1) / 2  # of d*d + d = v
    assert read.run(np.linspace(0, 1, 3), volts).current == pytest.approx(1e-3 * inner**2)


def test_functions_that_unfold_without_measure(tmp_path: Path) -> None:
    levels = "".join(f".func f{k}(x) {{f{k + 1}(x)+f{k + 1}(x*x)}}\n" for k in range(40))
    file = tmp_path / "s.sub"
    file.write_text(f".subckt s p n\n{levels}.func f40(x) {{x}}\nG1 p n value={{f0(V(p,n))}}\n.ends\n")
    lines = logical_lines(file.read_text(), has_title=False)
    with pytest.raises(Unreadable, match="call each other too often"):
        module(lines)
    with pytest.raises(Unreadable, match="call each other too often"):
        Subcircuit(lines, caret_is_power=False).run(np.array([0.0, 1.0]), np.array([0.0, 1.0]))


@pytest.mark.parametrize(("asked", "function", "kept"), [("0", "0", False), ("I(Vx)", "0", True), ("0", "I(Vx)", True)])
def test_a_source_of_no_voltage_is_a_branch_where_its_current_is_asked_for(
    asked: str, function: str, kept: bool
) -> None:
    text = (
        f".subckt s p n\n.func f(v) {{v+{function}}}\nBx 0 x I=f(V(p,n))\nVx x y dc 0\nCx y 0 1 IC=0.6\n"
        f"Bm p n I=1m*V(x)*V(p,n)+{asked}\n.ends\n"
    )
    written, _, _ = module(logical_lines(text, has_title=False))
    assert ("branch (" in written) == kept
    assert ("V(x)" in written) == kept


FUNCTIONS = """functions
.option post tnom=25
.temp 25
.param f(x)='x*2' g(a,b)={a*b+1} r0='f(500)' k=3
.param h(x)='f(x)+1'
V1 in 0 1
R1 in out 'r0'
R2 out 0 'g(1,h(k)*100)'
.tran 1u 10u
.measure tran vo find v(out) at=5u
.end
"""


def test_functions_beside_parameters_on_one_card(simulator: Simulator, tmp_path: Path) -> None:
    """f(500) is 1000, h(3) is 7, g(1, 700) is 701; k is a parameter and not Boltzmann's constant."""
    lines = list(logical_lines(FUNCTIONS, has_title=True))
    whole = [part for line in lines for part in apart(line)]
    assert [part.text.split(None, 1)[1] for part in whole if part.card == ".param"] == [
        "f(x)='x*2'", "g(a,b)={a*b+1}", "r0='f(500)' k=3", "h(x)='f(x)+1'",
    ]  # fmt: skip
    fixed = lt_fix.fix(whole, FUNCTIONS, caret="")
    assert fixed.done == ("a function of .param is one of .func",)
    wanted = pytest.approx(701.0 / 1701.0)
    assert simulator.run(Deck(fixed.text)).require().measures["vo"] == wanted
    deck = tmp_path / "deck.sp"
    deck.write_text(FUNCTIONS)
    bench = Testbench.load(deck)
    assert bench.run(simulator)["vo"].values == wanted
    assert bench.with_(parameters={"k": 0.0}).run(simulator)["vo"].values == pytest.approx(101.0 / 1101.0)


def test_a_block_that_drives_its_output_is_not_compared_but_run(simulator: Simulator, tmp_path: Path) -> None:
    netlist, module_ = tmp_path / "b.net", tmp_path / "b.va"
    netlist.write_text(
        "R1 in out 4k7\nC1 out 0 1u IC=0.5\nX1 out b buf\nV1 in 0 1\n.subckt buf a b\n"
        "E1 b 0 value={2*limit(V(a),0,1)}\n.ends\n.tran 1m\n"
    )
    module_.write_text(
        '`include "disciplines.vams"\nmodule buf(a, b);\ninout a, b;\nelectrical a, b;\nreal x, told;\nanalog begin\n'
        "x = x + 1e6*(V(a) - x)*($abstime - told);\ntold = $abstime;\nV(b) <+ x + 0*V(b);\nend\nendmodule\n"
    )
    for file, runs in ((netlist, ("subcircuit 'buf'", "the circuit")), (module_, ())):
        repair = fix_file(file, simulator)
        assert repair.offered, repair.to_dict()
        assert "against ground" in repair.equivalence.unverified[0]
        assert repair.equivalence.rest == runs


DIODE = "* a diode\n.option post\n{cards}I1 0 d 1m\nD1 d 0 dm\n.model dm d is=1e-14\n.op\n.end\n"
TEMPERATURES = {
    "none": ("", [".temp 25", ".options tnom=25"]),
    "the circuit's": (".temp 85\n", [".options tnom=25"]),
    "the models'": (".option tnom=30\n", [".temp 30"]),
    "both": (".option temp=27 tnom=27\n", []),
    "those of SPICE": (".option spice\n", []),
}


@pytest.mark.parametrize("case", TEMPERATURES)
def test_temperatures_of_hspice_are_written_where_a_deck_has_none(case: str, tmp_path: Path) -> None:
    cards, added = TEMPERATURES[case]
    (file := tmp_path / "d.sp").write_text(DIODE.format(cards=cards))
    told = [finding.message for finding in lint_file(file).findings if finding.rule == "temperature"]
    assert len(told) == bool(added)
    rows = fix_file(file, None).fixed.text.splitlines()
    assert rows == [*file.read_text().splitlines()[:-1], *added, ".end"]


def test_a_deck_of_hspice_says_that_it_runs_at_the_temperature_of_ngspice(simulator: Simulator, tmp_path: Path) -> None:
    text = DIODE.format(cards="")
    as_it_is = simulator.run(Deck(text))
    assert float(as_it_is.require()["op"]["v(d)"]) == pytest.approx(0.65512, abs=1e-5)
    assert [note for note in as_it_is.notes if "25 degC" in note and ".temp 25" in note]
    (file := tmp_path / "d.sp").write_text(text)
    repaired = simulator.run(Deck(fix_file(file, None).fixed.text))
    thermal = 1.380649e-23 * 298.15 / 1.602176634e-19
    assert float(repaired.require()["op"]["v(d)"]) == pytest.approx(thermal * np.log(1e11), rel=1e-5)
    assert not [note for note in repaired.notes if "degC" in note]
    assert not [note for note in simulator.run(Deck(text.replace(".option post\n", ""))).notes if "degC" in note]
