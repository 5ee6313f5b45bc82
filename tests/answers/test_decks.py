"""Decks with the answer that ngspice gives them: run as it is, refused with the reason, or told what was left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cosim.errors import CosimError, NetlistError
from cosim.lint.lint import lint_file
from cosim.spice.engines import open_simulator
from cosim.spice.netlist import source_text
from cosim.spice.openvaf import compile_model, find_openvaf
from cosim.spice.simulator import Deck, Outcome, Simulator
from cosim.spice.testbench import Testbench

pytestmark = pytest.mark.spice


@pytest.fixture(scope="module")
def engine() -> Iterator[Callable[[str], Simulator]]:
    """Opens an engine by name, once; skips where the machine has none."""
    opened: dict[str, Simulator] = {}

    def get(name: str) -> Simulator:
        if name not in opened:
            try:
                opened[name] = open_simulator(name)
            except CosimError as error:
                pytest.skip(str(error))
        return opened[name]

    yield get
    for simulator in opened.values():
        simulator.close()


@pytest.fixture(params=["pyspice", "ngspice"])
def simulator(request: pytest.FixtureRequest, engine: Callable[[str], Simulator]) -> Simulator:
    return engine(request.param)


@pytest.fixture
def pyspice(engine: Callable[[str], Simulator]) -> Simulator:
    return engine("pyspice")


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
