"""Each rule of lint finds its own snippet and nothing in a sound model; each fix is sound text."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim.errors import InputError, MissingFile
from cosim.language import findings
from cosim.language.expressions import Unreadable
from cosim.language.findings import Edit, apply_edits
from cosim.language.lt_syntax import is_hspice, middle_number, parse_expression, untold_temperatures
from cosim.language.netlist import logical_lines
from cosim.language.va_tokens import scan
from cosim.lint import lint, lt_lint, lt_rules, va_fix, va_rules

HERE = Path(__file__).parents[1] / "data" / "lint"
HEAD = '`include "disciplines.vams"\n'


def module(body: str, declared: str = "", *, head: str = HEAD, ports: str = "inout p, n;\nelectrical p, n;") -> str:
    return f"{head}module m(p, n);\n{ports}\n{declared}\nanalog begin\n{body}\nend\nendmodule\n"


OHM = "I(p, n) <+ V(p, n);"
STATE = "I(p, n) <+ V(p, n)*V(w);"
# rule -> a model that it is about
VERILOG = {
    "hidden-state": module("@(initial_step) x = 0.5;\nx = x + 1e-3*V(p, n);\nI(p, n) <+ x*V(p, n);", "real x;"),
    "initial-step": module("@(initial_step) x = V(p, n);\nI(p, n) <+ x*V(p, n);", "real x;"),
    "final-step": module("x = 1; @(final_step) x = 0;\nI(p, n) <+ x*V(p, n);", "real x;"),
    "idt-reset": module(f"V(w) <+ idt(V(p, n), 0.5, V(p, n) < 0);\n{STATE}", "electrical w;"),
    "idt-initial": module(f"V(w) <+ idt(V(p, n), 0.5);\n{STATE}", "electrical w;"),
    "idt-plain": module(f"V(w) <+ idt(V(p, n));\n{STATE}", "electrical w;"),
    "idtmod": module(f"V(w) <+ idtmod(1e7*V(p, n), 0, 1);\n{STATE}", "electrical w;"),
    "random": module("I(p, n) <+ V(p, n)*$rdist_normal(seed, 1, 0.1);", "integer seed;"),
    "event": module(f"@(cross(V(p, n) - 1, +1)) x = 1;\n{OHM}", "real x;"),
    "module-name": module(OHM).replace("module m(", "module diode("),
    "event-or": module(f"@(initial_step or final_step) x = 1;\n{OHM}", "real x;"),
    "initial-instance": module("@(initial_instance) x = 1;\nI(p, n) <+ x*V(p, n);", "real x;"),
    "unsupported": module("I(p, n) <+ transition(V(p, n) > 0, 0, 1n);"),
    "absdelay": module("I(p, n) <+ absdelay(V(p, n), 1n);"),
    "operator-in-condition": module("if (V(p, n) > 0) I(p, n) <+ ddt(V(p, n)); else I(p, n) <+ 0;"),
    "reserved": module("time = $abstime;\nI(p, n) <+ V(p, n)*time;", "real time;"),
    "ground": module("I(p, gnd) <+ V(p, gnd);", "ground gnd;"),
    "unused-node": module(OHM, "electrical spare; ground spare;"),
    "ground-order": module("I(p, gnd) <+ V(p, gnd);", "electrical ground gnd;"),
    "discipline": module(OHM, ports="inout p, n;"),
    "direction": module(OHM, ports="electrical p, n;"),
    "no-disciplines": module(OHM, head=""),
    "no-constants": module("I(p, n) <+ V(p, n)/`P_Q;"),
    "include-missing": module(OHM, head=HEAD + '`include "beside.va"\n'),
    "include-outside": module(OHM, head=HEAD + '`include "../../outside.va"\n'),
    "attr": module("I(p, n) <+ r*V(p, n);", 'parameter real r = 1 `P(info="conductance" unit="S");'),
    "macro": module("I(p, n) <+ `SCALE*V(p, n);"),
    "directive": module(OHM, head="`timescale 1ns/1ps\n" + HEAD),
    "range-comma": module("I(p, n) <+ k*V(p, n);", "parameter real k = 1 from [0, 1];"),
    "number": module("I(p, n) <+ V(p, n)*.5;"),
    "caret": module("I(p, n) <+ V(p, n)^3;"),
    "renamed": module("I(p, n) <+ log10(2 + V(p, n)*V(p, n));"),
    "sgn": module("I(p, n) <+ sgn(V(p, n));"),
    "analysis-static": module(f'if (analysis("static")) V(w) <+ 0.5; else V(w) <+ 0.7;\n{STATE}', "electrical w;"),
    "log": module("I(p, n) <+ log(2.0)*V(p, n);"),
    "domain": module("I(p, n) <+ sqrt(V(p, n) - 1.2);"),
    "integer-division": module("I(p, n) <+ V(p, n)*(1/2);"),
    "untyped-parameter": module("I(p, n) <+ k*V(p, n);", "parameter k = 1;"),
    "case-clash": module("I(p, n) <+ (10*a + A)*V(p, n);", "parameter real a = 1;\nparameter real A = 2;"),
    "finish": module(f"if ($abstime > 0.5u) $finish;\n{OHM}"),
    "stop": module(f"if ($abstime > 0.5u) $stop;\n{OHM}"),
    "simparam": module('I(p, n) <+ V(p, n)*$simparam("mine");'),
    "function-type": module(
        "I(p, n) <+ f(V(p, n));", "analog function real f;\ninput x;\nf = x*x;\nendfunction"
    ),
    "parameter-assigned": module("k = 2;\nI(p, n) <+ k*V(p, n);", "parameter real k = 1;"),
    "loose-node": module("I(p, n) <+ V(p, n)*(1 + V(w));", "electrical w;"),
    "array": module("a[0] = 1;\nI(p, n) <+ a[0]*V(p, n);", "real a[0:1];"),
    "unread": module(f"y = $x = 1;\n{OHM}", "real y;"),
    "instance": module("", "resistor #(.r(1)) r1(p, n);").replace("analog begin\n\nend\n", ""),
}  # fmt: skip
SOUND = module(
    "x = V(w) > 1 ? 1.0 : V(w);\nV(w) <+ w0 + idt(1e3*V(p, n), 0);\nI(p, n) <+ V(p, n)*(`G*x + exp(-1.0));",
    "electrical w;\nparameter real w0 = 0.5 from [0:1];\nreal x;",
    head=HEAD + '`include "constants.vams"\n`define G 1e-3\n',
)
SUB = ".subckt s p n\n{}\n.ends\n"
LTSPICE = {
    "function": SUB.format("B1 p n I=if(V(p,n) > 0, 1m, 0)"),
    "limit": SUB.format("B1 p n I=limit(V(p,n), -1, 1)"),
    "pwr": SUB.format("B1 p n I=pwr(V(p,n), 3)"),
    "power": SUB.format("B1 p n I=V(p,n)**3"),
    "caret": SUB.format("B1 p n I=V(p,n)^2"),
    "operator": SUB.format("B1 p n I=(V(p,n) > 0) & (V(p,n) < 1)"),
    "ground": SUB.format("R1 p gnd! 1k"),
    "multiplier": SUB.format(".param gam=0\nG1 p n value={gam==0 ? V(p,n) : 0}"),
    "signed": ".option post\n" + SUB.format("G1 p n cur='log(V(p,n))'"),
    "number": SUB.format("R1 p n 4k7"),
    "bracket": SUB.format("B1 p n I=1m*(V(p,n) + abs((V(p,n))"),
    "capacitor-ic": SUB.format("C1 p n 1n IC=0.5"),
    "parasitic": SUB.format("C1 p n 1n Rser=1k"),
    "key": SUB.format("B1 p n I=V(p,n) tripdv=1"),
    "bare": SUB.format("R1 p n 2*1k"),
    "constant": SUB.format("B1 p n I=V(p,n)*echarge/boltz"),
    "table": SUB.format("G1 p n TABLE {V(p,n)} = (-1,0) (0,0) (1,1)"),
    "braces": SUB.format("B1 p n I=V(p,n)*{1+1}"),
    "mil": SUB.format("R1 p n {2mil}"),
    "truth": SUB.format("B1 p n I=V(p,n) ? 1 : 2"),
    "step": SUB.format("B1 p n I=u(V(p,n))"),
    "resistance": SUB.format("B1 p n R=2*(1+V(p,n))"),
    "laplace": SUB.format("G1 p n p n laplace=1/(1+s)"),
    "card": ".step param r 1 2 1\n",
    "tran": ".tran 0 1u startup\n",
    "stop": ".tran 1u\n",
    "several": ".tran 1n 1u sweep g 1 3 1\n",
    "library": ".lib parts.lib\n",
    "measure": ".tran 1n 1u\n.meas tran x FIND V(a) AT 5n\n",
    "unmeasured": ".noise V(a) V1 dec 1 1 10\n.meas noise x FIND V(a) AT 5n\n",
    "unread": SUB.format("B1 p n I=V(p,n)*[2]"),
    "temperature": ".option post\nI1 0 d 1m\nD1 d 0 dm\n.model dm d is=1e-14\n.op\n.end\n",
}
SOUND_SUB = SUB.format("B1 p n I=V(p,n)*{g}*(1 - pow(2*V(x) - 1, 2*2))\nC1 x 0 1n\n.ic V(x)=0.5").replace(
    " p n\n", " p n params: g=1m\n", 1
)


def rules_of(text: str, suffix: str) -> set[str]:
    if suffix == ".va":
        return {f.rule for f in va_rules.check(va_rules.read(text, HERE))}
    return {f.rule for f in lt_lint.lint_spice(text, HERE / "x.sub").findings}


def test_every_rule_has_its_snippet() -> None:
    assert set(VERILOG) == set(va_rules.RULES)
    assert set(LTSPICE) == set(lt_rules.RULES)


@pytest.mark.parametrize("rule", VERILOG)
def test_verilog_rule(rule: str) -> None:
    assert rule in rules_of(VERILOG[rule], ".va")


@pytest.mark.parametrize("rule", LTSPICE)
def test_ltspice_rule(rule: str) -> None:
    assert rule in rules_of(LTSPICE[rule], ".sub")


def test_nothing_in_sound_models() -> None:
    assert rules_of(SOUND, ".va") == set()
    assert rules_of(SOUND_SUB, ".sub") == set()


def test_places() -> None:
    found = va_rules.check(va_rules.read(VERILOG["caret"], HERE))
    row = VERILOG["caret"].split("\n")[found[0].line - 1]
    assert row[found[0].column - 1 :].startswith("V(p, n)^3")
    text = SUB.format("B1 p n I=V(p,n)*(1\n+ + limit(V(p,n), 0, 1))")
    (limit,) = lt_lint.lint_spice(text, HERE / "x.sub").findings
    assert text.split("\n")[limit.line - 1][limit.column - 1 :].startswith("limit")


def test_a_guarded_start_is_hidden_state() -> None:
    for guard in ("$abstime == 0", "first == 0"):
        text = module(f"if ({guard}) x = 0.5;\nfirst = 1;\nI(p, n) <+ x*V(p, n);", "real x;\ninteger first;")
        assert "hidden-state" in rules_of(text, ".va")


def test_assigned_on_every_path_is_not_a_state() -> None:
    text = module("if (V(p, n) > 0) x = 1; else x = 2;\nI(p, n) <+ x*V(p, n);", "real x;")
    assert rules_of(text, ".va") == set()


def test_branches_of_ifdef_that_are_not_taken_are_not_read() -> None:
    text = module("`ifdef OLD\nI(p, n) <+ V(p, n)^3;\n`else\nI(p, n) <+ V(p, n);\n`endif")
    assert rules_of(text, ".va") == set()


FIXED = ("hidden-state", "idt-initial", "idt-reset", "idt-plain", "random", "initial-instance", "reserved", "ground",
         "ground-order", "discipline", "direction", "no-disciplines", "no-constants", "attr", "directive", "number",
         "module-name", "range-comma", "caret", "renamed", "sgn", "untyped-parameter", "finish", "stop",
         "function-type", "unused-node", "event", "array", "case-clash")  # fmt: skip


@pytest.mark.parametrize("rule", FIXED)
def test_fix_takes_the_finding_away(rule: str) -> None:
    text = VERILOG[rule].replace("1e-3*V", "dt*V").replace("real x;", "real x; parameter real dt = 1n;")
    fixed = va_fix.fix(va_rules.read(text, HERE))
    assert rule not in rules_of(fixed.text, ".va"), fixed.text
    assert fixed.done
    assert fixed.left == ()


@pytest.mark.parametrize("rule", sorted(set(VERILOG) - set(FIXED) - {"log", "domain", "event-or"}))
def test_what_is_not_fixed_is_said(rule: str) -> None:
    fixed = va_fix.fix(va_rules.read(VERILOG[rule], HERE))
    assert fixed.left


@pytest.mark.parametrize("rule", sorted(set(LTSPICE) - {"caret", "laplace", "unread"}))
def test_ltspice_fix(rule: str) -> None:
    repair = lt_lint.fix_spice(LTSPICE[rule], HERE / "x.sub", None, amplitude=1.0, period=None, caret="")
    stays = rule in ("capacitor-ic", "unmeasured")  # between two nodes; what ngspice cannot measure
    assert bool(repair.fixed.left) == stays
    assert stays or rule not in {f.rule for f in repair.after.findings}


def test_what_a_caret_means_is_asked() -> None:
    text, file = LTSPICE["caret"], HERE / "x.sub"
    silent = lt_lint.fix_spice(text, file, None, amplitude=1.0, period=None, caret="")
    assert "--caret" in silent.fixed.left[0]
    power = lt_lint.fix_spice(text, file, None, amplitude=1.0, period=None, caret="power")
    assert "((V(p,n))**(2))" in power.fixed.text
    xor = lt_lint.fix_spice(text, file, None, amplitude=1.0, period=None, caret="xor")
    assert "?" in xor.fixed.text
    with pytest.raises(InputError, match="not a meaning"):
        lt_lint.fix_spice(text, file, None, amplitude=1.0, period=None, caret="and")


@given(st.text(alphabet="modulenanalogbegin(){};=<+*^@`\"$V1.e\n\\/'", max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    model = va_rules.read(text, HERE)
    va_rules.check(model)
    with contextlib.suppress(InputError):
        lt_lint.lint_spice(text, HERE / "x.sub")


@given(st.text(alphabet="0123456789.eEkMmun+-*/^()?:<>=&|,V ", max_size=60))
def test_any_expression_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(Unreadable):
        assert all(0 <= node.start <= node.end <= len(text) for node in parse_expression(text).walk())


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5), st.text("xyz", max_size=3)), max_size=6))
def test_edits_never_tear_a_text(cuts: list[tuple[int, int, str]]) -> None:
    text = "abcdefghijklmnopqrstuvwxyz"
    edits = [Edit(start, start + length, new) for start, length, new in cuts]
    out = apply_edits(text, edits)
    kept = [c for c in out if c in "abcdefghijklmnopqrstuvw"]
    assert kept == sorted(kept)


@pytest.mark.parametrize(
    ("text", "value"), [("4k7", "4.7k"), ("2R2", "2.2"), ("1e3", ""), ("10k", ""), ("1Meg5", "1.5Meg")]
)
def test_numbers_with_a_letter_in_the_middle(text: str, value: str) -> None:
    assert middle_number(text) == value


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(Unreadable, match="deep"):
        parse_expression("(" * 5000 + "1" + ")" * 5000)
    with pytest.raises(Unreadable, match="long"):
        parse_expression("1" + "+1" * 5000)
    model = va_rules.read(module("I(p, n) <+ " + "(" * 3000 + "1" + ")" * 3000 + ";"), HERE)
    assert model.modules[0].unread
    va_rules.check(va_rules.read(module("begin " * 3000 + OHM + " end" * 3000), HERE))


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingFile, match=r"gone\.va"):
        lint.lint_file(tmp_path / "gone.va")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match="suffix"):
        lint.lint_file(tmp_path / "a.txt")
    (tmp_path / "b.va").write_bytes(b"module\0")
    with pytest.raises(InputError, match="not text"):
        lint.lint_file(tmp_path / "b.va")
    (tmp_path / "c.va").write_text("// nothing\n")
    with pytest.raises(InputError, match="does not contain a module"):
        lint.lint_file(tmp_path / "c.va")
    monkeypatch.setattr(findings, "MAX_FILE", 10)
    (tmp_path / "d.va").write_text("module m; endmodule")
    with pytest.raises(InputError, match="larger"):
        lint.lint_file(tmp_path / "d.va")
    monkeypatch.setattr("cosim.language.va_tokens.MAX_TOKENS", 3)
    with pytest.raises(InputError, match="tokens"):
        scan("a b c d e f g")


def test_a_control_block_is_refused_not_run(tmp_path: Path) -> None:
    file = tmp_path / "n.sub"
    file.write_text(f".control\nshell touch {tmp_path}/canary\n.endc\n{SOUND_SUB}")
    found = lint.lint_file(file)
    assert any("control" in f.message for f in found.findings)
    assert not (tmp_path / "canary").exists()


def test_sources_of_ngspice_make_no_deck_one_of_hspice() -> None:
    deck = "t\nV1 a 0 1\nE1 o 0 vol='sqrt(v(a))'\nG1 q 0 cur='log(v(a))'\nR1 o q 1k\n{}.op\n.end\n"
    plain, foreign = (logical_lines(deck.format(card)) for card in ("", ".option post\n"))
    assert (is_hspice(plain), untold_temperatures(plain)) == (False, ())
    assert (is_hspice(foreign), len(untold_temperatures(foreign))) == (True, 2)
