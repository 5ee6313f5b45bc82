"""``.meas`` as LTspice writes it becomes ngspice's, and measures what closed forms give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosim.bench.from_deck import from_deck
from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.engines.simulator import Deck, Simulator
from cosim.errors import InputError
from cosim.language.lt_meas import Circuit
from cosim.language.netlist import logical_lines
from cosim.lint import lt_fix

CIRCUIT = "R1 a b {2*x}\nV1 a 0 1\n.tran 10u\n"
WRITTEN = {
    ".meas TRAN vb FIND V(b) AT 5u": ".meas TRAN vb FIND V(b) AT=5u",
    ".meas p AVG V(in)*I(V1)": ".meas tran p AVG par('V(in)*I(V1)')",
    ".meas half PARAM vm/2": ".meas tran half PARAM='vm/2'",
    ".MEAS TRAN q INTEG I(R1) FROM 1u TO 5u": ".MEAS TRAN q INTEG par('((V(a)-V(b))/(2*x))') FROM=1u TO=5u",
    ".meas t TRIG V(a)=0.5 RISE=1 TARG V(b)=.5*2 FALL=last": ".meas tran t TRIG V(a) val=0.5 RISE=1 TARG V(b) "
    "val={.5*2} FALL=last",
    ".meas tran t TRIG AT 1u TARG V(b)={lev} cross 3": ".meas tran t TRIG AT=1u TARG V(b) val={lev} cross=3",
    ".meas tran w WHEN V(a)=V(b)/2 CROSS=1": ".meas tran w WHEN V(a)=par('V(b)/2') CROSS=1",
    ".meas tran w FIND V(a,b) WHEN V(b)=0.3 TD=1u": ".meas tran w FIND par('V(a,b)') WHEN V(b)=0.3 TD=1u",
    ".meas AC g FIND mag(V(out)) AT 1k": ".meas AC g FIND vm(out) AT=1k",
    ".meas AC g FIND V(out) AT 1k": ".meas AC g FIND vm(out) AT=1k",
    ".meas AC f when ph(V(out))=-90": ".meas AC f when vp(out)=-1.5707963267948966",
    ".meas AC f when db(V(out))=-3 fall 1": ".meas AC f when vdb(out)=-3 fall=1",
    ".meas tran x PARAM if(y>1, y^2, 0)": ".meas tran x PARAM='(y>1 ? ((y)**(2)) : 0)'",
}
NGSPICE = (
    ".meas tran m max v(out) from=1u to='2*tt'", ".meas tran m param='a/b'", ".meas tran m param=top*2",
    ".meas tran m trig v(a) val=0.5 rise=1 targ v(b) val='lev' rise=1", ".meas tran m find par('v(a)*2') at=5u",
    ".meas tran max max v(max)", ".meas ac f when vdb(out)=-3 fall=1", ".meas ac f find V(out) at = 1k",
    ".meas tran m min_at v(max) td=2u", ".meas tran m max @m1[id]",
    ".meas tran m avg v1#branch", ".meas tran m when v(a)=v(b) cross=last",
)  # fmt: skip
LOST = {
    ".meas tran av avg v(a) trig v(b)=1 rise=1 targ v(b)=2 rise=1": "between TRIG and TARG",
    ".meas tran id max I(M1)": "put a voltage source of 0 V in series",
    ".meas tran id max Id(M1)": "no id()",
    ".meas AC z FIND V(in)/I(V1) AT 1k": "takes one vector",
    ".meas tran p avg power from=0 to=1n": "no power of the whole circuit",
    ".meas noise x integ V(onoise)": "no .meas of an analysis noise",
    ".meas tran x PARAM V(a)*2": "cannot name vectors",
    ".meas tran x V(a)": "begins with none of FIND",
}


def fixed(text: str) -> str:
    return lt_fix.fix(list(logical_lines(text)), text, caret="power").text


@pytest.mark.parametrize("card", WRITTEN)
def test_a_card_is_written_as_ngspice_has_it(card: str) -> None:
    assert fixed(CIRCUIT + card).splitlines()[-1] == WRITTEN[card]


@pytest.mark.parametrize("card", NGSPICE)
def test_a_card_of_ngspice_stays(card: str) -> None:
    assert fixed(CIRCUIT + card).splitlines()[-1] == card


@pytest.mark.parametrize("card", LOST)
def test_what_ngspice_cannot_measure_is_named(card: str) -> None:
    (line,) = logical_lines(card)
    circuit = Circuit.of(list(logical_lines(CIRCUIT + card)), functions=frozenset(), hspice=False)
    assert LOST[card] in circuit.lost(line)
    assert fixed(CIRCUIT + card).splitlines()[-1] == card


STEP = """* C:\\rc.asc
V1 in 0 PULSE(0 1 0 1n 1n 5u 10u)
R1 in b 1k
C1 b 0 1n
.tran 10u
.meas TRAN vm FIND V(b) AT 5u
.meas power AVG V(in)*I(V1)
.meas half PARAM vm/2
.meas TRAN charge INTEG I(R1) FROM 0 TO 4u
.meas TRAN edge TRIG V(b)=0.1 RISE=1 TARG V(b)=0.9 RISE=1
.meas TRAN square PARAM if(vm>0.5, vm^2, 0)
.meas TRAN most MAX V(in,b)
"""
RESPONSE = """* C:\\rc.asc
V1 in 0 AC 1
R1 in out 1k
C1 out 0 1n
.ac dec 200 1k 10meg
.meas AC size FIND V(out) AT 159.15494k
.meas AC phase FIND ph(V(out)) WHEN mag(V(out))=0.70710678
.meas AC corner WHEN ph(V(out))=-45
.meas AC decibel FIND db(V(out)) AT 1.5915494meg
"""


@pytest.mark.spice
def test_measures_of_ltspice_have_their_closed_forms(simulator: Simulator) -> None:
    full = 1.0 - np.exp(-5.0)
    step, response = (simulator.run(Deck(fixed(text))).require() for text in (STEP, RESPONSE))
    assert not {**step.missing, **response.missing}
    assert dict(step.measures) == pytest.approx(
        {
            "vm": full, "half": full / 2.0, "square": full**2, "power": -1e-9 * full / 10e-6,
            "charge": 1e-9 * (1.0 - np.exp(-4.0)), "edge": 1e-6 * np.log(9.0), "most": 1.0,
        },
        rel=2e-3,  # edges of 1 ns, steps of 10 ns, ngspice's own tolerance
    )  # fmt: skip
    found = dict(response.measures)
    assert found.pop("phase_rad") == pytest.approx(-np.pi / 4.0, rel=1e-3)
    wanted = {"size": np.sqrt(0.5), "phase": -45.0, "corner": 159154.94, "decibel": -10.0 * np.log10(101.0)}
    assert found == pytest.approx(wanted, rel=1e-3)


def test_a_deck_of_ltspice_is_told_its_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deck = tmp_path / "rc.net"
    deck.write_text(STEP)
    with pytest.raises(InputError, match=r"line 5: '\.tran 10u' has no time step, as in LTspice.*cosim lint"):
        from_deck(deck)
    deck.write_text(RESPONSE)
    assert all("not in ngspice's form; 'cosim lint rc.net --fix OUT'" in note for note in from_deck(deck).notes)
    assert main(["lint", str(deck), "--fix", str(tmp_path / "out.cir"), "--no-compare"]) == 0
    said = capsys.readouterr().out
    assert "changed: in .meas ac v(x) is its magnitude, vm(x)" in said
    assert said.splitlines()[-1].strip() == "repaired; not compared"


HSPICE = """an inverter
.option post
.param vdd=1.8 r=agauss(1k,10,3)
V1 a 0 'vdd'
R1 a b 'r'
R2 b 0 1k
.data table r
1k 2k
.enddata
.tran 10p 20n sweep vdd 1 3 1
.measure tran v find v(b) at=10n
.alter case2
.param vdd=1.2
R2 b 0 9k
.end
"""


@pytest.mark.spice
def test_the_first_run_of_hspice_is_kept(simulator: Simulator, tmp_path: Path) -> None:
    lines = list(logical_lines(HSPICE, has_title=True))
    found = lt_fix.fix(lines, HSPICE, caret="")
    assert found.text.splitlines()[1:] == [
        ".option post", ".param vdd=1.8 r=agauss(1k,10,3)", "V1 a 0 'vdd'", "R1 a b 'r'", "R2 b 0 1k",
        ".tran 10p 20n", ".measure tran v find v(b) at=10n", ".temp 25", ".options tnom=25", ".end",
    ]  # fmt: skip
    assert found.done == (
        ".alter and .data are removed: write their changes as corners of a bench, or as a plan",
        "'sweep vdd 1 3 1' is removed: 'cosim new bench --from' the deck makes a sweep of it",
        ".temp 25 and .options tnom=25 are written: HSPICE's temperatures, where a deck says no other",
    )
    assert simulator.run(Deck(found.text)).require().measures["v"] == pytest.approx(0.9)
    deck = tmp_path / "deck.sp"
    deck.write_text(found.text.replace(".tran 10p 20n", ".tran 10p 20n sweep vdd 1 3 1"))
    swept = Testbench.load(deck).run(simulator)["v"]
    assert swept.values == pytest.approx([0.5, 1.0, 1.5])
    deck.write_text(found.text.replace(".tran 10p 20n", ".tran 10p 20n sweep vdd poi 2 2 6"))
    assert Testbench.load(deck).run(simulator)["v"].values == pytest.approx([1.0, 3.0])
    deck.write_text(found.text.replace(".tran 10p 20n", ".tran 10p 20n sweep monte=30"))
    assert (
        "'sweep monte=30' is left out: write it as a sweep of the bench, its [monte_carlo]" in from_deck(deck).notes[1]
    )


REFUSED = {
    "simulator lang=spectre": "the language of Spectre; write the netlist in SPICE",
    "simulator lang=spice": "it changes nothing here; remove it",
    ".alter two": "'cosim lint deck.cir --fix deck_ngspice.cir' writes it for ngspice",
    ".data one r": "as the grid of a plan (cosim campaign)",
    '.hdl "mine.va"': "with verilog_a = the file",
    ".lib whole.sub": "line 5: .lib with a file alone is LTspice's): 'cosim lint deck.cir --fix",
}


@pytest.mark.parametrize("card", REFUSED)
def test_a_refusal_of_a_dialect_says_what_to_do(
    card: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("deck.cir").write_text(f"a deck\nV1 a 0 1\nR1 a 0 1k\n.tran 1n 1u\n{card}\n.end\n")
    for asked in (["run", "deck.cir"], ["new", "bench", "--from", "deck.cir"]):
        assert main(asked) != 0
        said = " ".join(capsys.readouterr().err.split())
        assert REFUSED[card] in said, asked
        assert "5: " in said
