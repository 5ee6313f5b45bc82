"""Reading: the include tree, library sections, places; translating a control block; what is diagnosed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosim.engines.prepare import fingerprint
from cosim.engines.simulator import Deck
from cosim.errors import MissingFile, NetlistError, NetlistRefused
from cosim.language import netlist
from cosim.language.control import Translated
from cosim.language.diagnose import check_expansion, diagnose

PDK = """* a process design kit
.lib tt
.param vth=0.45
.lib 'parts/common.lib' models
.endl tt
.LIB ff
.param vth=0.35
.lib 'parts/common.lib' models
.endl
"""
NFET = b"* caf\xe9 in Latin-1\n.model n nmos\n+ level=1 ; one\n+ vto={vth}\n"
COMMON = """.lib models
.include "nfet.inc"
.endl models
.lib other
.control
shell not selected, so not read
.endc
.endl other
"""


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    (tmp_path / "pdk" / "parts").mkdir(parents=True)
    (tmp_path / "pdk" / "process.lib").write_text(PDK)
    (tmp_path / "pdk" / "parts" / "common.lib").write_text(COMMON)
    (tmp_path / "pdk" / "parts" / "nfet.inc").write_bytes(
        b"* caf\xe9 in Latin-1\n.model n nmos\n+ level=1 ; one\n+ vto={vth}\n"
    )
    return tmp_path


@pytest.mark.parametrize(("corner", "vth"), [("tt", "0.45"), ("FF", "0.35")])
def test_a_library_corner_with_nested_sections(kit: Path, corner: str, vth: str) -> None:
    (kit / "deck.cir").write_text(f"title\n.lib 'pdk/process.lib' {corner}\nM1 d g 0 0 n\n.op\n")
    read = netlist.check(netlist.read(kit / "deck.cir"))
    assert [line.text for line in read.lines] == [
        f".param vth={vth}",
        ".model n nmos level=1 vto={vth}",
        "M1 d g 0 0 n",
        ".op",
    ]
    assert str(read.lines[1].where) == f"{kit / 'pdk' / 'parts' / 'nfet.inc'}:2"
    text, places = read.flatten()
    assert text.splitlines()[2] == ".model n nmos level=1 vto={vth}"
    assert places[2] == read.lines[1].where
    assert {path.name for path in read.files} == {"process.lib", "common.lib", "nfet.inc"}


def test_an_unknown_section_names_the_known_ones(kit: Path) -> None:
    (kit / "deck.cir").write_text("title\n.lib pdk/process.lib ss\n")
    with pytest.raises(NetlistError, match=r"deck\.cir:2: 'process\.lib' has no section 'ss'; it has tt, ff"):
        netlist.read(kit / "deck.cir")


def test_a_folder_outside_is_refused_until_it_is_allowed(kit: Path) -> None:
    (kit / "own").mkdir()
    deck = kit / "own" / "deck.cir"
    deck.write_text("title\n.include ../pdk/parts/nfet.inc\n")
    with pytest.raises(NetlistRefused, match=r"deck\.cir:2: .*outside the folders"):
        netlist.read(deck)
    assert len(netlist.read(deck, roots=(kit / "pdk",)).lines) == 1


def test_a_link_out_of_the_folder_is_followed_and_refused(kit: Path) -> None:
    (kit / "own").mkdir()
    (kit / "own" / "link.inc").symlink_to(kit / "pdk" / "parts" / "nfet.inc")
    with pytest.raises(NetlistRefused, match="outside"):
        netlist.read_text("t\n.include link.inc\n", source=kit / "own" / "deck.cir")


def test_text_without_a_file_reads_from_its_roots_only(kit: Path) -> None:
    with pytest.raises(NetlistRefused):
        netlist.read_text(f"t\n.include {kit / 'pdk' / 'parts' / 'nfet.inc'}\n")
    assert len(netlist.read_text("t\n.include nfet.inc\n", roots=(kit / "pdk" / "parts",)).lines) == 1


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("t\n.include gone.inc\n", MissingFile, r":2: included file 'gone.inc' does not exist"),
        ("t\n.include\n", NetlistError, r":2: \.include names no file"),
        ("t\n.include deck.cir\n", NetlistError, r"nest deeper"),
        ("t\n.lib one\nR1 a 0 1\n", NetlistError, r":2: \.lib with one argument.*\.include FILE"),
        ("t\n.lib a b c\n.endl\n", NetlistError, r":2: \.lib takes a file and a section"),
        ("t\n.endl\n", NetlistError, r":2: \.endl without"),
        ("t\n+ 1k\n", NetlistError, r":2: a continuation"),
        ("t\nR1 a 0 1é\n", NetlistError, r":2: character 'é'"),
        (".tran 1n 1u\nR1 a 0 1\n", NetlistError, r":1: the first line of a netlist is its title"),
    ],
)
def test_mistakes_name_their_line(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    deck = tmp_path / "deck.cir"
    deck.write_text(text)
    with pytest.raises(error, match=message):
        netlist.read(deck)


def test_a_missing_netlist() -> None:
    with pytest.raises(MissingFile, match=r"cannot read netlist 'gone\.cir'"):
        netlist.read("gone.cir")


def test_greek_units_are_understood() -> None:
    read = netlist.read_text("t\nC1 a 0 10µ\nR1 a 0 1kΩ\n")
    assert [line.text for line in read.lines] == ["C1 a 0 10u", "R1 a 0 1kOhm"]


def test_analyses_know_where_a_transient_stops() -> None:
    read = netlist.read_text("t\nR1 a 0 1\n.TRAN 1n 2.5u 0 1n uic\n.tran 1n {stop}\n.op\n")
    assert [(a.kind, a.stop) for a in read.analyses()] == [
        ("tran", pytest.approx(2.5e-6)),
        ("tran", None),
        ("op", None),
    ]


BLOCK = """my circuit
V1 in 0 1
R1 in 0 1k
.tran 1n 1u
.control
set color0=white
tran 1n 1u
run
plot v(in) @r1[i]
meas tran top max v(in)
let p = v(in)*2 ; a comment
shell rm x
option reltol=1e-5
foreach r 1 2
alter r1 = 2
end
wrdata out.txt v(in)
.endc
.end
"""


def test_a_control_block_is_translated_and_the_rest_named() -> None:
    read = netlist.read_text(BLOCK, source=Path("deck.cir"))
    translated = netlist.translate(read)
    assert translated.cards == (".meas tran top max v(in)", ".options reltol=1e-5", ".save all @r1[i]")
    assert [note.line.where.line for note in translated.impossible] == [12, 14, 15, 16]
    assert "starts a program" in str(translated.impossible[0])
    assert [note.line.text.split()[0] for note in translated.dropped] == ["set", "run", "plot", "let", "wrdata"]
    rewritten = translated.apply(BLOCK)
    checked = netlist.check(netlist.read_text(rewritten))
    assert [analysis.kind for analysis in checked.analyses()] == ["tran"]
    assert [line.text for line in checked.cards(".meas")] == [".meas tran top max v(in)"]
    assert rewritten.startswith("my circuit\n")


def _block(commands: str, cards: str = "") -> Translated:
    return netlist.translate(netlist.read_text(f"t\nV1 n 0 1\n{cards}.control\n{commands}\n.endc\n.end\n"))


@pytest.mark.parametrize(
    ("commands", "cards", "line"),
    [
        ("meas tran a max v(n)\nlet b = a*2\nmeas tran a min v(n)", "", 6),
        ("meas tran a max v(n)\nmeas ac a max vm(n)", "", 5),
        ("meas tran a max v(n)\nlet a = a*2", "", 5),
        ("meas tran a max v(n)\nlet a = 2", "", 5),
        ("meas tran a max v(n)\nlet a = v(n)", "", 5),
        ("meas tran a max v(n)\nlet b = a*2\nlet b = a*3", "", 6),
        ("meas tran a max v(n)", ".meas tran a min v(n)\n", 5),
    ],
)
def test_a_name_that_a_block_measures_twice_is_refused(commands: str, cards: str, line: int) -> None:
    (note,) = _block(commands, cards).impossible
    assert note.line.where.line == line
    assert "is measured before this, and cards keep one value of a name" in note.reason


@pytest.mark.parametrize("end", ["unset units", "unset filetype units", "set units=radians"])
def test_degrees_end_where_the_block_says_so(end: str) -> None:
    found = _block(f"set filetype=ascii units = Degrees\n{end}\nmeas ac p find vp(n) at=1")
    assert found.cards == (".meas ac p find vp(n) at=1",)
    assert [note.reason for note in found.dropped] == [
        "phases are in degrees from here on",
        "phases are in radians from here on",
    ]
    assert len(_block("set units=degrees\nset units\nmeas ac p find vp(n) at=1").cards) == 2


def test_an_angle_in_degrees_is_refused() -> None:
    (note,) = _block("let k = 30\nlet t = sin(k)\nset units=degrees\nlet s = sin (k)").impossible
    assert note.line.where.line == 7
    assert "is computed in degrees" in note.reason


def test_a_name_has_the_value_of_its_last_command() -> None:
    commands = "let k = 3\nlet k = 4\nmeas tran a max v(n)\nlet b = a*k\nmeas tran k max v(n)\nlet c = a*k"
    found = _block(commands, ".measure tran a max  v(n)\n")
    assert not found.impossible
    assert len(found.cards) == 3
    assert ("4.0" in found.cards[0], "4.0" in found.cards[2]) == (True, False)
    (note,) = _block("let k = 3\nlet k = v(n)\nmeas tran m find v(n) at=$&k").impossible
    assert "$&k, which is not known" in note.reason or "measures what 'let k = v(n)' computes" in note.reason


@pytest.mark.parametrize("formula", ["a*-2", "a--2", "a*(-2)", "a+4k7"])
def test_a_formula_that_a_card_reads_otherwise_is_no_card(formula: str) -> None:
    found = _block(f"meas tran a max v(n)\nlet b = {formula}\nmeas tran c param='b'")
    assert not any("b param" in card for card in found.cards)
    assert found.impossible


def test_phases_of_the_deck_do_not_change_their_unit_without_a_word() -> None:
    (note,) = _block("set units=degrees", ".meas ac p find vp(n) at=1k\n").impossible
    assert "which is in radians here" in note.reason


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("V1 a 0 1\nR1 a 0 {r*2}\n.param rr=1\n", r"line 3: unknown parameter 'r'; did you mean rr"),
        ("R1 a 0 'foo+1'\n", r"line 2: unknown parameter 'foo'"),
        ("X1 a b amp gain=2\n.subckt amp a b params: gain=1\n.ends\nX2 a amp\n", r"line 5: X2 has 1 nodes.* has 2"),
        ("M1 d g s b nch w=1u l=1u\n.model nchh nmos\n", r"line 2: unknown model 'nch'; did you mean nchh"),
        ("Q1 c b e nope\n", r"line 2: unknown model 'nope'"),
        ("C1 a 0\n", r"line 2: C1 is incomplete.*two nodes and a value"),
        (".if (1)\nR1 a 0 1\n", r"line 2: '\.if \(1\)' is not closed; add \.endif"),
        (".ends\n", r"line 2: \.ends has nothing to close"),
    ],
)
def test_diagnosis(body: str, message: str) -> None:
    found = diagnose(netlist.read_text("t\n" + body))
    assert found
    with pytest.raises(NetlistError.__mro__[1], match=message):
        raise found[0]


def test_a_subcircuit_that_contains_itself() -> None:
    text = "t\nX1 a cell\n.subckt cell p\nR1 p q 1\nX2 q other\n.ends\n.subckt other p\nX3 p cell\n.ends\n"
    with pytest.raises(NetlistError, match=r"line 8: subcircuit 'cell' contains itself"):
        check_expansion(netlist.read_text(text))


def test_subcircuits_that_unfold_without_measure() -> None:
    levels = [f".subckt s{i} p\n" + "".join(f"X{j} p s{i + 1}\n" for j in range(10)) + ".ends\n" for i in range(8)]
    text = "t\nX1 a s0\n" + "".join(levels) + ".subckt s8 p\nR1 p 0 1\n.ends\n"
    with pytest.raises(NetlistError, match=r"unfolds into 2\.11e\+08 elements"):
        check_expansion(netlist.read_text(text))


GOOD = """healthy
.param r=1k vdd={1.8*2} k='r*2 + sqrt(4)'
.func f(x,y) {x*y + k}
.subckt cell p n params: w0=0.5 tau=1u
B1 0 x I={(v(p,n) - v(x))/tau*f(1,2)}
B2 p n I = v(x) > 0.5 ? 1m*w0 : i(Vs)*time
Cx x 0 1
Rx x 0 {1meg}
Vs s 0 dc {w0} pulse(0 {vdd} 0 1n 1n 1u 2u)
.ends cell
X1 a 0 cell w0={r/2k} tau = 2u
M1 d g 0 0 nch w=1u l={0.18u}
D1 a 0 dd 2
R2 a 0 rmod l=1u w=1u
.model nch.1 nmos level=14
.model nch.2 nmos level=14
.model dd d
.model rmod r rsh=1
Q1 c b e 0 qq
.model qq npn
A1 [a] [b] ad
.model ad adc_bridge (in_low=0.1)
.if (r > 1)
E1 e 0 vol='v(a)*2'
.else
E1 e 0 a 0 2
.endif
.op
"""


def test_a_healthy_netlist_has_no_diagnosis_and_is_harmless() -> None:
    read = netlist.check(netlist.read_text(GOOD))
    assert [str(error) for error in diagnose(read)] == []
    check_expansion(read)


def test_a_fingerprint_counts_what_is_included_and_no_comment(tmp_path: Path) -> None:
    deck = Deck('t\n.include "load.inc"\nV1 a 0 1\n.op\n', roots=(tmp_path,))
    (tmp_path / "load.inc").write_text("R1 a 0 1k\n")
    first = fingerprint(deck)
    (tmp_path / "load.inc").write_text("* a comment\nR1 a 0 1k ; another\n")
    assert fingerprint(deck) == first
    (tmp_path / "load.inc").write_text("R1 a 0 2k\n")
    assert fingerprint(deck) != first
    assert fingerprint(deck.with_options({"reltol": 1e-5})) != fingerprint(deck)
