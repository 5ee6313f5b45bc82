"""Decks with the answer that ngspice gives them: run as it is, refused with the reason, or told what was left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cosim.bench.testbench import Testbench
from cosim.cli.app import main
from cosim.engines.openvaf import compile_model, find_openvaf
from cosim.engines.simulator import Deck, Outcome, Simulator
from cosim.errors import NetlistError
from cosim.language.netlist import source_text
from cosim.lint.lint import lint_file

pytestmark = pytest.mark.spice


@pytest.fixture(params=["pyspice", "ngspice"])
def simulator(request: pytest.FixtureRequest, engine: Callable[[str], Simulator]) -> Simulator:
    return engine(request.param)


CELL = ".subckt cell a b{head}\n{body}\nR1 a b {{r}}\n.ends\n"


@pytest.mark.parametrize(
    ("head", "body", "given", "ohms"),
    [
        ("", ".param r=1k", "r=500", 500.0),
        ("", ".param r=1k", "", 1000.0),
        ("", ".param r=1k", "params: r=500", 500.0),
        ("", ".params q=2 r={q*1k}", "q=3", 3000.0),
        (" s=1", ".param r={s*1k}", "s=4", 4000.0),
        (" params: s=1", ".param r={s*1k}", "PARAMS: R=700 s=4", 700.0),
        (" r=10", ".param r=1k", "r=500", 500.0),
    ],
)
def test_an_instance_overrides_a_parameter_of_the_body(
    head: str, body: str, given: str, ohms: float, pyspice: Simulator
) -> None:
    deck = "t\nV1 p 0 1\nX1 p 0 cell " + given + "\n" + CELL.format(head=head, body=body) + ".op\n"
    result = pyspice.run(Deck(deck)).require()
    assert float(result["op"]["i(v1)"]) == pytest.approx(-1.0 / ohms, rel=1e-9)


@pytest.mark.parametrize(
    ("inner", "ohms"), [("X2 a b cell r={r*2}", 1000.0), ("X2 a b cell", 3000.0), ("X2 a b cell r=50", 50.0)]
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_nested_subcircuit_has_a_body_of_its_own(inner: str, ohms: float, nested: bool, pyspice: Simulator) -> None:
    cell = CELL.format(head="", body=".param r=3k")
    within, beside = (cell, "") if nested else ("", cell)
    deck = f"t\nV1 p 0 1\nX1 p 0 outer r=500\n.subckt outer a b\n.param r=1k\n{within}{inner}\n.ends\n{beside}.op\n"
    assert float(pyspice.run(Deck(deck)).require()["op"]["i(v1)"]) == pytest.approx(-1.0 / ohms, rel=1e-9)


def test_a_parameter_that_neither_head_nor_body_has(pyspice: Simulator) -> None:
    cell = CELL.format(head=" s=1", body=".param r=1k")
    result = pyspice.run(Deck("t\nV1 p 0 1\nX1 p 0 cell rr=5\n" + cell + ".op\n"))
    assert result.outcome is Outcome.REFUSED
    assert result.reason == "line 3: x1 gives subcircuit 'cell' a parameter 'rr' that it does not have; did you mean r?"


# Two capacitors in series, charged by 1 nA for 1 us: by C dv/dt without a shunt, with 1 GOhm at each node as ngspice 46
# gives it by itself.
MEMBRANE = "t\nI1 0 m pulse(0 1n 1u 1n 1n 1u 3u)\nC1 m x 1p\nC2 x 0 1p\n.tran 10n 6u\n.meas tran vend find v(m) at=6u\n"
HELD = 3.97413e-3


@pytest.mark.parametrize(
    "card",
    [
        ".options rshunt=1e9",
        ".opt RSHUNT = 1g",
        ".option reltol=1e-3 rshunt=1e9 abstol=1e-12",
        ".options gshunt=1n",
        ".param rs=1e9\n.options rshunt={rs}",
        ".param rs=1e9\n.options rshunt='rs'",
    ],
)
def test_a_shunt_holds_every_node(card: str, pyspice: Simulator) -> None:
    result = pyspice.run(Deck(MEMBRANE + card + "\n")).require()
    assert result.measures["vend"] == pytest.approx(HELD, rel=2e-3)  # the steps follow reltol = 1e-3


def test_a_shunt_of_the_deck_and_of_an_included_file(pyspice: Simulator, tmp_path: Path) -> None:
    assert pyspice.run(Deck(MEMBRANE, options={"rshunt": 1e9})).require().measures["vend"] == pytest.approx(HELD, 2e-3)
    (tmp_path / "held.inc").write_text("* options\n.OPTIONS rshunt=1e9\n")
    deck = Deck(MEMBRANE + ".include held.inc\n", roots=(tmp_path,))
    assert pyspice.run(deck).require().measures["vend"] == pytest.approx(HELD, rel=2e-3)


@pytest.mark.parametrize(
    "card",
    ["", ".options rshunt=0", ".options rshunt=-1", ".options gshunt=0", ".param z=0\n.options rshunt={z}",
     ".options gmin=1e-9", ".nodeset v(x)=0.3 v(m)=0.6", ".options cshunt=1e-15"],
)  # fmt: skip
def test_what_holds_no_node(card: str, pyspice: Simulator) -> None:
    result = pyspice.run(Deck(MEMBRANE + card + "\n"))
    assert result.outcome is Outcome.REFUSED
    assert "node 'm' floats" in result.reason


DIVIDER = "* µ in a title\nV1 in 0 1\nR1 in out 1k\nR2 out 0 1k\nC1 out 0 4µ\n.op\n.end\n"
ENCODINGS = {
    "utf-8": DIVIDER.encode(),
    "utf-8 with a mark": DIVIDER.encode("utf-8-sig"),
    "utf-16 little-endian": b"\xff\xfe" + DIVIDER.encode("utf-16-le"),
    "utf-16 big-endian": b"\xfe\xff" + DIVIDER.encode("utf-16-be"),
    "utf-16-le without a mark": DIVIDER.encode("utf-16-le"),
    "utf-16-be without a mark": DIVIDER.encode("utf-16-be"),
    "latin-1": DIVIDER.encode("latin-1"),
    "utf-16 with CRLF": b"\xff\xfe" + DIVIDER.replace("\n", "\r\n").encode("utf-16-le"),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_netlist_in_any_encoding(name: str, pyspice: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "d.cir"
    path.write_bytes(ENCODINGS[name])
    assert source_text(path).replace("\r\n", "\n") == DIVIDER
    assert float(pyspice.run(Deck(source_text(path), source=path)).require()["op"]["v(out)"]) == pytest.approx(0.5)
    assert lint_file(path).clean


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "latin-1"])
def test_what_a_netlist_includes_in_any_encoding(encoding: str, pyspice: Simulator, tmp_path: Path) -> None:
    (tmp_path / "a.inc").write_bytes("* µ\n.param r=1k\n".encode(encoding))
    (tmp_path / "a.lib").write_bytes("* lib µ\n.lib tt\nR2 out 0 {3*r}\n.endl\n".encode(encoding))
    deck = Deck("t\nV1 in 0 1\nR1 in out {r}\n.include a.inc\n.lib a.lib tt\n.op\n", roots=(tmp_path,))
    assert float(pyspice.run(deck).require()["op"]["v(out)"]) == pytest.approx(0.75)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig", "latin-1"])
def test_verilog_a_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "r.va"
    text = '`include "disciplines.vams"\nmodule r_utf(p, n); // µ\n inout p, n; electrical p, n;\n'
    path.write_bytes((text + " analog I(p, n) <+ 1e-3*V(p, n);\nendmodule\n").encode(encoding))
    assert lint_file(path).clean
    if find_openvaf() is not None:
        assert compile_model(path, cache=tmp_path / "osdi").is_file()


def test_broken_utf_16_says_so(tmp_path: Path) -> None:
    path = tmp_path / "d.cir"
    path.write_bytes(ENCODINGS["utf-16 little-endian"] + b"\x00\xd8\n\x00")
    with pytest.raises(NetlistError, match=r"d\.cir: begins as UTF-16, and its byte \d+ is not; save it as UTF-8"):
        source_text(path)


def test_a_bench_behind_a_mark_of_byte_order(tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    path.write_bytes('title = "t"\ncircuit = "V1 a 0 1"\nanalysis = { kind = "op" }\n'.encode("utf-8-sig"))
    assert Testbench.load(path).file.title == "t"


LAG = "t\nV1 a 0 pulse(0 1 1n 1n 1n 1u)\nR1 a b 1k\nC1 b 0 1p\n.tran 10p 100n\n"
DELAY = ".meas tran td trig v(a) val=0.5 rise=1 targ v(b) val=0.5 rise=1\n"


@pytest.mark.parametrize("option", [".option autostop", ".OPTIONS reltol=1e-3 AUTOSTOP"])
def test_autostop_is_an_end(option: str, simulator: Simulator) -> None:
    result = simulator.run(Deck(LAG + option + "\n" + DELAY)).require()
    assert result.measures["td"] == pytest.approx(734.478e-12, rel=1e-5)  # ngspice 46 by itself, six digits
    assert float(result["tran"]["time"][-1]) < 3e-9
    said = "the transient ended at 2.235e-09 s of 1e-07 s: .options autostop ends it when all .meas are done"
    assert result.notes == (said,)


def test_autostop_waits_for_every_measure(simulator: Simulator) -> None:
    result = simulator.run(Deck(LAG + ".option autostop\n" + DELAY + ".meas tran never when v(b)=5\n")).require()
    assert float(result["tran"]["time"][-1]) == pytest.approx(100e-9)
    assert not result.notes
    assert dict(result.missing) == {"never": "out of interval"}


def test_autostop_without_a_measure_would_end_at_once(pyspice: Simulator) -> None:
    result = pyspice.run(Deck(LAG + ".option autostop\n"))
    assert result.outcome is Outcome.REFUSED
    assert result.reason.startswith("line 6: the option autostop ends a transient when all .meas are done")


REASONS = {
    "dv deriv v(b) at=3n": "function 'deriv' currently not supported",
    "er err v(b) v(a)": "function 'err' currently not supported",
    "typo max v(bb)": "no such vector as 'v(bb)'",
    "never when v(b)=2 rise=1": "out of interval",
    "late find v(b) at=190n": "out of interval",
    "lost find v(bb) at=19n": "no such vector as v(bb)",
    "slow trig v(a) val=0.5 rise=1 targ v(b) val=5 rise=1": "out of interval",
    "sum param='top*2+'": "Expression err: top*2+",
    "name param='topp*2'": "Undefined parameter [topp]",
    "gone avg v(b) from=150n to=160n": "its window from 1.5e-07 to 1.6e-07 is empty: the .tran ends at 1e-07",
}


def test_each_measure_has_a_reason_of_its_own(simulator: Simulator) -> None:
    cards = "".join(f".meas tran {card}\n" for card in REASONS)
    result = simulator.run(Deck(LAG + ".meas tran top max v(b)\n.measure ac other max v(b)\n" + cards)).require()
    assert result.measures["top"] == pytest.approx(1.0, rel=1e-3)
    expected = {card.split()[0]: reason for card, reason in REASONS.items()}
    assert dict(result.missing) == {**expected, "other": "there is no .ac analysis"}


def test_a_measure_that_is_not_whole_is_refused(pyspice: Simulator) -> None:
    result = pyspice.run(Deck(LAG + ".meas bad\n"))
    assert result.reason.startswith("line 6: '.meas bad' is incomplete; write .meas ANALYSIS NAME")


def test_run_gives_the_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "d.cir"
    path.write_text(LAG + ".include more.inc\n")
    (tmp_path / "more.inc").write_text("* measures\n.meas tran dv deriv v(b) at=3n\n.meas tran typo max v(d)\n")
    assert main(["run", str(path)]) == 2
    said = ".meas dv: function 'deriv' currently not supported; .meas typo: no such vector as 'v(d)'"
    assert capsys.readouterr().err == f"cosim: {path}: {said}\n"


CLIPPED = "t\nV1 in 0 sin(0 1 1k)\nR1 in out 1k\nD1 out 0 dm\n.model dm d is=1e-14\n.tran 1u 5m 0 1u\n"


@pytest.mark.parametrize("card", [".four 1k v(out)", ".FOURIER {2*f} , v( out ) i(v1) v(in, out)\n.param f=500"])
@pytest.mark.parametrize("saved", ["", ".save v(in)\n"])
def test_fourier_is_computed(card: str, saved: str, simulator: Simulator) -> None:
    result = simulator.run(Deck(CLIPPED + saved + card + "\n")).require()
    first = result.fourier[0]
    assert (first.analysis, first.vector, first.frequency) == ("tran", "v(out)", 1000.0)
    assert first.thd == pytest.approx(0.136103, abs=5e-7)  # ngspice 46 by itself: 13.6103 %
    assert first.magnitudes[:3] == pytest.approx((-0.07356, 0.865898, 0.100056), rel=1e-5)
    assert [entry.vector for entry in result.fourier[1:]] == (["i(v1)", "v(in,out)"] if "2*f" in card else [])
    assert not result.missing


def test_fourier_of_each_transient_and_what_it_cannot_have(simulator: Simulator) -> None:
    cards = ".four 10 v(out)\n.four 1k v(out) @r1[nope]\n.meas tran top max v(out)\n.tran 1u 2m 0 1u\n"
    result = simulator.run(Deck(CLIPPED + cards)).require()
    assert [(entry.analysis, entry.frequency) for entry in result.fourier] == [("tran", 1e3), ("tran2", 1e3)]
    assert result["tran"]["time"][-1] > result["tran2"]["time"][-1]
    assert "longer than time span" in result.missing[".four v(out)"]
    assert ".four @r1[nope]" in result.missing


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (".four 1k", "is not a frequency and vectors"),
        (".four v(out)", "is not a frequency and vectors"),
        (".four -1k v(out)", "has the frequency '-1k'"),
        (".four {nope} v(out)", "has the frequency '{nope}'"),
        (".four 1k v(out)*2", ".four of '*2'"),
        (".four 1k v(out) ; v(in)", ""),
        (".four 1k out", ".four of 'out'"),
    ],
)
def test_fourier_that_cannot_be_followed(card: str, said: str, pyspice: Simulator) -> None:
    result = pyspice.run(Deck(CLIPPED + card + "\n"))
    assert result.outcome is (Outcome.REFUSED if said else Outcome.CONVERGED)
    assert said in result.reason


def test_fourier_without_a_transient(pyspice: Simulator) -> None:
    result = pyspice.run(Deck(CLIPPED.replace(".tran 1u 5m 0 1u", ".op") + ".four 1k v(out)\n"))
    assert result.reason == "line 7: .four needs a transient; add a .tran, or remove the .four"


def test_fourier_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "d.cir"
    path.write_text(CLIPPED + ".four 1k v(out)\n")
    assert main(["run", str(path)]) == 0
    assert "v(out) in tran: total harmonic distortion 13.6103%" in capsys.readouterr().out
    assert main(["run", "--json", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["fourier"][0]["thd"] == pytest.approx(0.136103, abs=5e-7)


# Every card that ngspice knows: what it does where it is followed, the sentence where it is refused, or what is said of
# one that is left out.
CARDS = "t\nV1 in 0 dc 1 ac 1 distof1 1 distof2 0.1 sin(1 1 1k)\nR1 in out 1k\nD1 out 0 dm\n.model dm d is=1e-14\n"
TRAN = ".tran 10u 1m\n"
ANALYSES = {
    ".op": ("op",),
    ".tran 10u 1m": ("tran",),
    ".dc v1 0 1 0.5": ("dc",),
    ".ac dec 2 1 10": ("ac",),
    ".noise v(out) v1 dec 2 1 10": ("noise", "noise_integrated"),
    ".tf v(out) v1": ("tf",),
    ".sens v(out)": ("sens",),
    ".pz in 0 out 0 vol pz": ("pz",),
    ".disto dec 2 1 10": ("disto", "disto2"),
    ".disto dec 2 1 10 0.7": ("disto", "disto2", "disto3"),
}


@pytest.mark.parametrize("card", ANALYSES)
@pytest.mark.parametrize("measured", [False, True])
def test_every_analysis_runs(card: str, measured: bool, simulator: Simulator) -> None:
    text = CARDS.replace("D1 out", "C1 out 0 1n\nD1 out") if card.startswith(".pz") else CARDS
    more = TRAN + ".meas tran top max v(out)\n" if measured and card[:5] != ".tran" else ""
    result = simulator.run(Deck(text + card + "\n" + more)).require()
    assert set(result.waveforms) == {*ANALYSES[card], *(("tran",) if more else ())}


def test_s_parameters_run(simulator: Simulator) -> None:
    ports = "V1 in 0 dc 0 ac 1 portnum 1 z0 50\nR1 in out 100\nV2 out 0 dc 0 ac 0 portnum 2 z0 50\n"
    result = simulator.run(Deck("t\n" + ports + ".sp lin 3 1e6 1e7\n")).require()
    # 100 Ohm between two ports of 50 Ohm: S21 = 2 z0 / (2 z0 + R)
    assert abs(result["sp"]["s_2_1"].values[-1]) == pytest.approx(0.5)


DIVIDED = "t\nV1 in 0 1\nR1 in out 1k\n.op\n"
FOLLOWED = {
    "R2 out 0 {r}\n.param r=1k": 0.5,
    "R2 out 0 {r}\n.params r=1k": 0.5,
    "R2 out 0 {f(500)}\n.func f(x) {2*x}": 0.5,
    "R2 out 0 rm 1k\n.model rm r": 0.5,
    "X1 out 0 m\n.subckt m a b\nR1 a b 1k\n.ends": 0.5,
    "X1 out 0 m\n.macro m a b\nR1 a b 1k\n.eom": 0.5,
    "X1 out m\n.subckt m a\nR1 a out2 1k\n.ends\nR3 out2 0 1\n.global out2": 1001 / 2001,
    "R2 out 0 1k tc1=0.01\n.temp 127": 2 / 3,
    "R2 out 0 1k tc1=0.01\n.options temp=127": 2 / 3,
    "R2 out 0 1k tc1=0.01\n.option temp=127": 2 / 3,
    "R2 out 0 1k tc1=0.01\n.opt temp=127": 2 / 3,
    ".if (0)\nR2 out 0 3k\n.elseif (1)\nR2 out 0 1k\n.else\nR2 out 0 2k\n.endif": 0.5,
    "R2 out 0 1k\n.save v(out)": 0.5,
    "R2 out 0 1k\n.probe v(out)": 0.5,
    "R2 out 0 1k\n.nodeset v(out)=0.3": 0.5,
    "R2 out 0 1k\n.backanno\n.end": 0.5,
    "R2 out 0 {r}\n.include a.inc": 0.5,
    "R2 out 0 {r}\n.inc a.inc": 0.5,
    "R2 out 0 {r}\n.incl a.inc": 0.5,
    "R2 out 0 {r}\n.lib a.lib tt": 0.5,
}


@pytest.mark.parametrize("cards", FOLLOWED)
def test_every_card_of_the_circuit_is_followed(cards: str, pyspice: Simulator, tmp_path: Path) -> None:
    (tmp_path / "a.inc").write_text("* include\n.param r=1k\n")
    (tmp_path / "a.lib").write_text("* library\n.lib tt\n.param r=1k\n.endl tt\n")
    result = pyspice.run(Deck(DIVIDED + cards + "\n", roots=(tmp_path,))).require()
    # R1 has no temperature coefficient; at 100 K above nominal R2 is 2 kOhm
    assert float(result["op"]["v(out)"]) == pytest.approx(FOLLOWED[cards], rel=1e-9)
    assert not result.notes


def test_initial_conditions_are_followed(pyspice: Simulator) -> None:
    result = pyspice.run(Deck("t\nR1 a 0 1k\nC1 a 0 1u\n.ic v(a)=1\n.tran 1u 1m 0 1u\n")).require()
    assert float(result["tran"]["v(a)"][-1]) == pytest.approx(0.36788, rel=1e-3)  # exp(-1), at ngspice's tolerances


LEFT_OUT = {
    ".print tran v(out)": ".print in line 7 is left out: cosim prints nothing, and all waveforms are in the result",
    ".plot tran v(out)": ".plot in line 7 is left out: cosim prints nothing, and all waveforms are in the result",
    ".width out=80": ".width in line 7 is left out: cosim prints nothing, and all waveforms are in the result",
    ".title other": ".title in line 7 is left out: cosim prints nothing, and all waveforms are in the result",
    ".print tran v(out)\n.save v(in)\n.plot tran v(in)":
        ".print in line 7, .plot in line 9 are left out: cosim prints nothing, and the vectors of .save are in the "
        "result",
}  # fmt: skip


@pytest.mark.parametrize("cards", LEFT_OUT)
def test_what_is_left_out_is_named(cards: str, simulator: Simulator) -> None:
    assert simulator.run(Deck(CARDS + TRAN + cards + "\n")).require().notes == (LEFT_OUT[cards],)


@pytest.mark.parametrize(
    "card",
    [".step param r 1 2 1", ".csparam x=1", ".data d", ".enddata", ".alter", ".connect in in2", ".pss 1k 1m out 10 10",
     ".machine", ".wave x.wav 16 1k v(out)", ".savebias x.sav", ".loadbias x.sav", ".net v(out) v1", ".dout x",
     ".hdl x", ".protect", ".unprotect", ".vector a", ".stimulus x", ".watch tran v(out)", ".mc 5 tran v(out) max",
     ".wcase x", ".distribution d (0,1)", ".para r=1k", ".temp", ".temp warm", ".options rshunt",
     ".options reltol=much", ".options method=magic", ".save v(nowhere)",
     ".save v(out) v(nowhere)", ".four 1k v(nowhere)"],
)  # fmt: skip
def test_every_other_card_is_refused(card: str, pyspice: Simulator) -> None:
    result = pyspice.run(Deck(CARDS + TRAN + card + "\n"))
    assert result.outcome is Outcome.REFUSED
    assert result.reason


@pytest.mark.parametrize("card", [".ic v(nowhere)=1", ".nodeset v(nowhere)=1"])
def test_what_ngspice_ignores_is_said(card: str, simulator: Simulator) -> None:
    (said,) = simulator.run(Deck(CARDS + TRAN + card + "\n")).require().notes
    assert "on non-existent node - nowhere, ignored" in said


@pytest.mark.parametrize("node", ["c", "e", "pi", "boltz"])
def test_a_constant_is_not_a_node(node: str, pyspice: Simulator) -> None:
    """ngspice measures v(c) as 2.998e8 where there is no node c."""
    card = f".meas tran top max v({node})\n"
    result = pyspice.run(Deck(CARDS + TRAN + card))
    assert result.outcome is Outcome.REFUSED
    assert f"line 7: unknown vector 'v({node})'" in result.reason
    held = pyspice.run(Deck(CARDS + TRAN + card + f"R9 out {node} 1k\nR8 {node} 0 1k\n")).require()
    assert abs(held.measures["top"]) < 10.0


BENCH = """title = "lag"
circuit = '''
V1 a 0 pulse(0 1 1n 1n 1n 1u)
R1 a b 1k
C1 b 0 1p
{card}
'''
[analysis]
kind = "tran"
stop = "100 ns"
max_step = "100 ps"
[measures.last]
kind = "final"
of = "v(b)"
unit = "V"
"""


def bench(folder: Path, card: str) -> Path:
    path = folder / "b.toml"
    path.write_text(BENCH.format(card=card))
    return path


@pytest.mark.parametrize("card", [*(card for card in ANALYSES if ".disto" not in card), ".sp lin 3 1e6 1e7"])
def test_an_analysis_in_the_circuit_of_a_bench_is_refused(card: str, pyspice: Simulator, tmp_path: Path) -> None:
    found = Testbench.load(bench(tmp_path, card)).run(pyspice).result
    assert found.outcome is Outcome.REFUSED
    name = card.split()[0]
    assert found.reason == (
        f"{tmp_path / 'b.toml'}:6: {name} in the circuit of a bench, whose analyses are tables of the bench's file; "
        f"remove it, and write [analyses.NAME] with kind = {name[1:]!r}"
    )


@pytest.mark.parametrize("card", [".meas tran top max v(b)", ".measure tran top max v(b)", ".four 1meg v(b)"])
@pytest.mark.parametrize("verb", ["run", "validate"])
def test_a_measure_in_the_circuit_of_a_bench_is_named(
    card: str, verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bench(tmp_path, card)
    assert main([verb, "--json", str(path)]) == 0
    said = capsys.readouterr()
    where = f"{card.split()[0]} in {path}:6 is left out of the bench's measures: write it as [measures.NAME]"
    assert where in said.err
    assert where in said.out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("I1 0 a 2A", "2A is 2e-18, for A is atto in SPICE; write 2, or 2a where that is meant"),
        ("I1 0 a dc 2Amp", "2Amp is 2e-18"),
        ("I1 0 a PULSE(0 3A 1n 1n 1n 1u)", "3A is 3e-18"),
        ("C1 a 0 1F", "1F is 1e-15, for F is femto"),
        ("C1 a 0 C=1Farad", "1Farad is 1e-15"),
        ("R2 a 0 5M", "5M is 0.005, for M is milli in SPICE; write 5Meg, or 5m where that is meant"),
        ("R2 a 0 4.7MOhm", "4.7MOhm is 0.0047"),
        ("R2 a 0 {2*5M}", "5M is 0.005"),
        ("R2 a 0 R=5M", "5M is 0.005"),
        (".param rload=5M", "5M is 0.005"),
        (".param x=1 cmem = 1F", "1F is 1e-15"),
        ("V2 b 0 SIN(0 1 2M)\nR3 b 0 1", "2M is 0.002"),
        ("X1 a cell r=5M\n.subckt cell a r=1\nR1 a 0 {r}\n.ends", "5M is 0.005"),
        (".ac dec 10 1 10M", "10M is 0.01"),
        ("I1 0 a 2a", ""), ("I1 0 a 2mA", ""), ("I1 0 a 2uA", ""), ("C1 a 0 10f", ""), ("C1 a 0 10fF", ""),
        ("C1 a 0 1m", ""), ("C1 a 0 1M", ""), ("L1 a 0 1M", ""), ("R2 a 0 5Meg", ""), ("R2 a 0 5MEG", ""),
        ("R2 a 0 5m", ""), ("R2 a 5M 5\nR3 5M 0 1", ""), ("R2 a 0 5MIL", ""), ("V2 b 0 5V\nR3 b 0 1", ""),
        ("V2 b 0 SIN(0 1M 2k)\nR3 b 0 1", ""), ("V2 b 0 SIN(0 1 2m)\nR3 b 0 1", ""), (".param x=5M", ""),
        ("R2 a 0 r2M 1k\n.model r2M r", ""), (".ac dec 10 1 10Meg", ""), ("G1 a 0 a 0 1M", ""),
    ],
)  # fmt: skip
def test_a_suffix_that_reads_as_a_unit(line: str, said: str, pyspice: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "d.cir"
    path.write_text(f"t\nV1 a 0 1\nR1 a 0 1k\n.op\n{line}\n.end\n")
    notes = pyspice.run(Deck(source_text(path), source=path)).notes
    assert [note.startswith(f"{path}:5: {said}") for note in notes] == [True] * bool(said)
    found = [finding for finding in lint_file(path).findings if finding.rule == "suffix"]
    assert [(f.line, f.message.startswith(said.partition(",")[0])) for f in found] == [(5, True)] * bool(said)


def test_a_suffix_in_a_bench_is_said_by_validate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = bench(tmp_path, "C2 b 0 1F")
    assert main(["validate", str(path)]) == 0
    assert f"cosim: note: b: {path}:6: 1F is 1e-15, for F is femto" in capsys.readouterr().err


def test_a_malformed_expression_names_its_element(simulator: Simulator) -> None:
    body = "V1 a 0 1\nX1 a m\n.subckt m a\n* inside\nB1 b 0 V=V(a)*+*2\nR1 b 0 1k\n.ends\n.op\n"
    result = simulator.run(Deck("t\n* comment\n\n" + body))
    assert result.reason.startswith("line 8: syntax error in the expression of B1, at '* 2.0")
    flat = simulator.run(Deck("t\n* comment\n\nV1 a 0 1\nR1 a 0 1\nE1 y 0 VALUE={IF(V(a)>0.5 & V(a)<2, 5, 0)}\n.op\n"))
    assert flat.reason.startswith("line 6: syntax error in the expression of E1, at '& v(a) <")


@pytest.mark.parametrize(
    ("cards", "said"),
    [
        ("R2 a 0 4k7", "line 5: 4k7 is 4k in ngspice; write 4.7k"),
        ("C2 a 0 4n7", "line 5: 4n7 is 4n in ngspice; write 4.7n"),
        ("R2 a 2k2 1k\nR3 2k2 0 1k", ""),
        ("R2 a 0 rm\n.model rm r r=1k", ""),
        (
            "C2 a 0 1n ic=0.5",
            "line 5: ic= of C2 is ignored: the .tran has no uic; add uic to the .tran, or write ",
        ),
        ("L2 a c 1n IC = 0.5\nR3 c 0 1", "line 5: ic= of L2 is ignored: the .tran has no uic; add uic to it"),
        ("C2 a 0 1n ic=0.5\n.ic v(a)=0.5", ""),
    ],
)
def test_what_ngspice_reads_otherwise_is_said(cards: str, said: str, pyspice: Simulator) -> None:
    notes = pyspice.run(Deck(f"t\nR1 a 0 1k\nI1 0 a 1m\n.tran 1n 10n\n{cards}\n")).require().notes
    assert [note.startswith(said) for note in notes] == [True] * bool(said)
    if "ic" in cards.lower():
        assert not pyspice.run(Deck(f"t\nR1 a 0 1k\nI1 0 a 1m\n.tran 1n 10n uic\n{cards}\n")).require().notes


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (".step param r list 1k 2k\n.op", "write the values as sweep = { NAME = [...] } in a bench's analysis, or as"),
        (".tran 0 2s 0 {1/10000}", "TSTEP is invalid"),
        ("B1 y 0 V=V(a) & V(b)\nR3 y 0 1\n.op", "unknown parameter (&)"),
    ],
)
def test_a_dialect_is_named_with_what_repairs_it(
    card: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "d.cir"
    path.write_text(f"t\nV1 a 0 1\nR1 a b 1k\nR2 b 0 1k\n{card}\n")
    assert main(["run", str(path)]) == 1
    error = capsys.readouterr().err
    assert f"{path}:5: " in error
    assert said in error
    assert "it seems to be LTspice's or PSpice's (line 5: " in error
    assert f"'cosim lint {path} --fix d_ngspice.cir' writes it for ngspice" in error


def test_a_refusal_for_another_reason_does_not_suggest_a_dialect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "d.cir"
    path.write_text("t\nV1 a 0 1\nR1 a 0 1k\nX1 a 0 nothing\n.op\n")
    assert main(["run", str(path)]) == 1
    assert "LTspice" not in capsys.readouterr().err


BLOCK = """* scalars of a block
.param tend=1u
.csparam tend={{tend}}
+ n={{2*50}}
V1 a 0 sin(0 1 1meg)
R1 a b 1k
C1 b 0 100p
.control
let st = tend/n
{commands}
.endc
.end
"""


@pytest.mark.parametrize("included", [False, True])
def test_scalars_of_a_block_are_put_in(included: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "d.cir"
    text = BLOCK.format(commands="let half = 0.5*tend\ntran $&st $&tend\nsettype voltage v(b)\nfourier 1meg v(b)")
    title, _, rest = text.partition("\n")
    path.write_text(f"{title}\n.include rest.inc\n" if included else text)
    (tmp_path / "rest.inc").write_text(rest if included else "")
    assert main(["run", "--translate", "--json", str(path)]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert {(v["analysis"], v["points"]) for v in found["vectors"]} == {("tran", 108)}  # as ngspice 46 by itself
    # one pole: |H| = 1/sqrt(1 + (2 pi f R C)^2), within what one period from rest leaves of the transient
    assert found["fourier"][0]["magnitudes"][1] == pytest.approx(0.8467, rel=0.05)
    for text in ("becomes  .tran 1e-08 1e-06", "becomes  .four 1meg v(b)", "only a .control block could", "is 1e-08"):
        assert text in said.err


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        ("let y = db(v(b))\nplot y", "'let y = db(v(b))': is not computed"),
        ("linearize v(b)\nfft v(b)\nplot mag(v(b))", "'fft v(b)': is not computed"),
        ("wrdata out.txt v(b)", "writes a file; cosim keeps all waveforms itself"),
        ("eprint b\nedisplay\nunlet st\nset wfont_size=16", "has no effect on the results"),
        ("option noinit nolegend", "becomes  .options noinit"),
        ("let y = v(b)*2\nmeas tran m max v(b)", "becomes  .meas tran m max v(b)"),
    ],
)
def test_what_changes_no_result_is_passed_over(
    commands: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "d.cir"
    path.write_text(BLOCK.format(commands=f"tran 1n 1u\n{commands}"))
    assert main(["run", "--translate", str(path)]) == 0
    assert said in capsys.readouterr().err


def test_a_semicolon_begins_a_comment_in_a_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``ngspice -b`` runs the first command of such a line alone."""
    path = tmp_path / "d.cir"
    path.write_text(BLOCK.format(commands="op; tran 1n 1u\nop $ tran 1n 1u\nop // tran 1n 1u"))
    assert main(["run", "--translate", "--json", str(path)]) == 0
    assert {v["analysis"] for v in json.loads(capsys.readouterr().out)["vectors"]} == {"op"}


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        ("tran 1n 1u\nlet x = v(b)*2\nmeas tran m max x", "measures what 'let x = v(b)*2' computes"),
        ("tran 1n 1u\nlinearize v(b)\nfft v(b)\nmeas sp m max v(b)", "measures what 'fft v(b)' computes"),
        ("load other.raw", "'load other.raw' has no equivalent: reads a file"),
        ("set sqrnoise", "'set sqrnoise' has no equivalent"),
        ("tran $&other $&tend", "'tran $&other $&tend' has no equivalent: names $&other, which is not known before"),
    ],
)
def test_what_a_block_would_lose_is_named(
    commands: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "d.cir"
    path.write_text(BLOCK.format(commands=commands))
    assert main(["run", "--translate", str(path)]) == 2
    assert said in capsys.readouterr().err


MIL = """mils
.param x=1mil
V1 a 0 1
R1 a b {x}
R2 b 0 1mil
R3 b 0 {2*1mil}
.tran 1u 10u
.meas tran vb avg v(b)
.end
"""


def test_a_mil_of_a_parameter_is_a_milli_as_in_ngspice(simulator: Simulator, tmp_path: Path) -> None:
    (deck := tmp_path / "deck.cir").write_text(MIL)
    below = 1 / (1 / 25.4e-6 + 1 / 2e-3)
    plain = simulator.run(Deck(MIL, source=deck))
    assert plain.require().measures["vb"] == pytest.approx(below / (1e-3 + below), rel=1e-5)
    told = [note for note in plain.notes if "of a parameter is milli in ngspice" in note]
    assert len(told) == 2
    bench = Testbench.load(deck)
    assert bench.file.parameters["x"].value == 1e-3
    assert "x=1mil is 0.001, as in ngspice" in bench.left[0]
    assert bench.run(simulator)["vb"].values == pytest.approx([plain.measures["vb"]], rel=1e-5)


FALLING = {
    "dc y integ v(b) from=0 to=1": -0.25, "dc y integ v(b)": 0.0, "dc y avg v(b) from=0 to=1": 0.25,
    "dc y max v(b) to=0.5": 0.2, "dc y integ v(b) from=2 to=3": "its window from 2 to 3 is empty: the .dc ends at 1",
    "dc y max v(b) from=2 to=3": "its window from 2 to 3 is empty: the .dc ends at 1",
    "dc y avg v(b) to=-2": "its window from -1 to -2 is empty: the .dc begins at -1",
    "dc y integ v(b) to=0.5": "ngspice finds no point in its window",
}  # fmt: skip


@pytest.mark.parametrize("card", FALLING)
def test_windows_of_falling_sweeps(card: str, simulator: Simulator) -> None:
    """The values are those that ngspice -b prints."""
    deck = f"falling\nV1 a 0 0\nR1 a b 1k\nR2 b 0 1k\n.dc V1 1 -1 -0.1\n.meas {card}\n.end\n"
    done = simulator.run(Deck(deck))
    right = FALLING[card]
    if isinstance(right, str):
        assert done.missing == {"y": right}
    else:
        assert done.measures["y"] == pytest.approx(right, abs=1e-12)


NARROW = {  # each empty one is 0 in ngspice
    "max v(b) from=tt to='tt*2'": True,
    "max v(b) from='tt*6' to='tt*7'": "to 3.5e-07 is empty: the .tran ends at 2e-07",
    "avg v(b) from=100n to=70n": "ends before it begins", "max v(b) from={tt*2} to={tt}": "ends before it begins",
    "max v(b) from=100.001n to=100.002n": "ngspice finds no point in its window",
    "avg v(b) from=100n to=100n": "has no width", "pp v(b) from=tt to=2*tt": True,
    "min_at v(b) from=100.001n to=100.002n": "ngspice finds no point in its window",
    "min v(a) from=0 to=10n": True,
}  # fmt: skip


def test_windows_that_hold_no_point_have_a_reason_instead_of_0(simulator: Simulator) -> None:
    cards = "".join(f".meas tran y{k} {card}\n" for k, card in enumerate(NARROW))
    done = simulator.run(
        Deck(f"t\nV1 a 0 sin(0 1 2.5meg)\nR1 a b 1k\nC1 b 0 1p\n.param tt=50n\n.tran 1n 200n\n{cards}.end\n")
    )
    for k, (card, right) in enumerate(NARROW.items()):
        if right is True:
            assert f"y{k}" in done.measures, card
        else:
            assert str(right) in done.missing[f"y{k}"], card


def test_sums_over_points_that_lie_far_apart_are_those_of_ngspice(simulator: Simulator, tmp_path: Path) -> None:
    """As ngspice -b prints them."""
    right = {
        "y1 avg vm(b) from=100 to=1k": 3.95502e-1, "y2 avg vm(b) from=95 to=1050": 3.45527e-1,
        "y3 rms vm(b) from=100": 1.27270e-1, "y4 integ vm(b) from=95 to=1050": 3.22938e2,
        "y5 max vm(b) from=95 to=1050": 8.46733e-1, "y6 avg vm(b)": 7.73078e-2,
        "y7 avg v(b) from=100 to=1k": 1.88198e-1,
    }  # fmt: skip
    (deck := tmp_path / "deck.cir").write_text(
        "an RC\nV1 a 0 ac 1\nR1 a b 1k\nC1 b 0 1u\n.ac dec 10 1 10k\n"
        + "".join(f".meas ac {card}\n" for card in right) + ".end\n"
    )  # fmt: skip
    done = Testbench.load(deck).run(simulator)
    for card, value in right.items():
        assert done[card.split()[0]].values == pytest.approx([value], rel=3e-6), card
