"""What lint says of a Verilog-A model, and what its repaired text gives in ngspice: models in the published styles."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosim.engines.openvaf import compile_model
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Deck, Limits, Simulator
from cosim.errors import CosimError, InputError
from cosim.language.findings import Fixed
from cosim.language.va_macros import CONSTANTS, GUARDS, PREDEFINED
from cosim.language.va_tokens import scan
from cosim.lint import drive, va_fix, va_rules
from cosim.lint.lint import Lint, Repair, fix_file, lint_file

HEAD = '`include "constants.vams"\n`include "disciplines.vams"\n'


def model(body: str, declared: str = "", *, before: str = "") -> str:
    """A module ``m`` of two ports; its declarations begin in the line behind ``before``'s and five more."""
    ports = "module m(p, n);\ninout p, n;\nelectrical p, n;\n"
    return f"{HEAD}{before}{ports}{declared}\nanalog begin\n{body}\nend\nendmodule\n"


@dataclass(frozen=True)
class Case:
    """A model; the (rule, line)s to be found; and after the fix the current (A) at 1 V and a time (s; 0: op).

    ``left``: rules that stay. None for a current: the repaired text is not run.
    """

    text: str
    found: tuple[tuple[str, int], ...]
    time: float = 0.0
    current: float | None = None
    left: tuple[str, ...] = ()


CLIP = """analog function real clip;
  input u, lo, hi;
  real u, lo, hi;
  real spare = 3;
  begin
    if (u > hi) clip = hi; else if (u < lo) clip = lo; else clip = u;
  end
endfunction"""
# of the model "stanford" at 1 V and 27 degrees (m/s)
GAP_RATE = 10.0 * float(np.exp(-0.6 / (300.15 * 1.380649e-23 / 1.602176634e-19)) * np.sinh(10.0))
DRAW = "$rdist_normal(seed, 0, 1)"

CASES = {
    # preprocessor
    "elsif": Case(
        model(
            "I(p, n) <+ `G*V(p, n);",
            before="`define SECOND\n`ifdef FIRST\n`define G 1\n`elsif SECOND\n`define G 2e-3\n`elsif __OPENVAF__\n"
            "`define G 3\n`else\n`define G 4^2\n`endif\n",
        ),
        (), 0.0, 2e-3,
    ),
    "openvaf-is-known": Case(
        model("`ifdef __OPENVAF__\nI(p, n) <+ 1e-3*V(p, n);\n`else\nI(p, n) <+ V(p, n)^2;\n`endif"), (), 0.0, 1e-3
    ),
    "undef": Case(
        model("`undef A\n`ifdef A\nI(p, n) <+ V(p, n)^2;\n`else\nI(p, n) <+ `B*V(p, n);\n`endif",
              before="`define A\n`define B 5e-3\n"),
        (), 0.0, 5e-3,
    ),
    "macros-that-declare": Case(
        model(
            "`SET(g, k*1m)\nI(p, n) <+ g*V(p, n);", "`NUMBER(k, 2, \"a ratio, of (two)\")\nreal g;",
            before="`define NUMBER(nam, def, des) (* desc=des *) parameter real nam = def from [0:inf);\n"
            "`define SET(a, b) \\\n a = b; \\\n if (a > 1) a = 1;\n",
        ),
        (), 0.0, 2e-3,
    ),
    "precedence-in-a-macro": Case(  # 2*1 + 1, not 2*(1 + 1)
        model("I(p, n) <+ 1m*(2*`SUM)*V(p, n);", before="`define SUM 1 + 1\n"), (), 0.0, 3e-3
    ),
    "a-power-in-a-macro": Case(
        model("I(p, n) <+ `SQUARE(V(p, n))*1m;", before="`define SQUARE(x) (x)^2\n"), (("caret", 9),), left=("caret",)
    ),
    "directives": Case(
        model("I(p, n) <+ 1m*V(p, n);", before="`resetall\n`timescale 1ns/1ps\n`begin_keywords \"VAMS-2.3\"\n"),
        (("directive", 4), ("directive", 5)), 0.0, 1e-3,
    ),
    # the parser
    "array": Case(
        model("s = 0;\nfor (i = 0; i < 3; i = i + 1) begin\nw[i] = i*1m*V(p, n);\ns = s + w[i];\nend\nI(p, n) <+ s;",
              "real w[0:2];\ninteger i;\nreal s;"),
        (("array", 6), ("array", 12)), 0.0, 3e-3,
    ),
    "string": Case(
        model('if (mode == "square") I(p, n) <+ 1m*V(p, n)*V(p, n); else case (mode)\n"off", "none": I(p, n) <+ 0;\n'
              'default: I(p, n) <+ 4m*V(p, n);\nendcase',
              'parameter string mode = "linear" from \'{"linear", "square", "off", "none"};'),
        (), 0.0, 4e-3,
    ),
    "declarations": Case(
        model("begin : inner\nreal k = 3, g;\ng = k*scale;\nI(br) <+ g*V(br) + 0*I(<p>);\nend",
              "(* desc=\"it\", units=\"S\" *) parameter real scale = 1m from [0:inf) exclude 2 exclude (3:4);\n"
              "parameter real k = 1, q = -inf_ from (-inf:inf);\nlocalparam real inf_ = 2;\naliasparam s = scale;\n"
              "branch (p, n) br;\nground gnd;\nelectrical gnd;".replace("-inf_", "-1")),
        (("unused-node", 11), ("unused-node", 12)), 0.0, 3e-3,
    ),
    "what-is-not-read": Case(  # the for loop's end is no instance; what follows is checked
        model("for (i = 0; i < 3; i++) begin\nx = x + 1;\nend\nrepeat (3) y = y + 1;\nI(p, n) <+ V(p, n)^2;",
              "integer i;\nreal x, y;"),
        (("unread", 9), ("unsupported", 12), ("hidden-state", 12), ("caret", 13)), left=("unread", "hidden-state"),
    ),
    "generate": Case(
        model("I(p, n) <+ V(p, n)^2;", "genvar k;\ngenerate\nfor (k = 0; k < 2; k = k + 1) begin\nanalog x = k;\nend\n"
              "endgenerate"),
        (("unsupported", 6), ("unsupported", 7), ("unread", 7), ("caret", 13)), left=("unsupported", "unread"),
    ),
    "outside-of-modules": Case(
        model("I(p, n) <+ 1m*V(p, n);") + "paramset other m;\n.r = 1;\nendparamset\n", (("unread", 11),),
        left=("unread",),
    ),
    # fixes of declarations
    "comma-ranges": Case(
        model("I(p, n) <+ V(p, n)/r*q;", "parameter real r = 1e3 from (0, inf);\nparameter real q = 0.5 from [0, 1];"),
        (("range-comma", 6), ("range-comma", 7)), 0.0, 0.5e-3,
    ),
    "draws-split-declaration": Case(
        model(f"a = {DRAW}*s;\nb = {DRAW}*s;\nI(p, n) <+ 1m*(1 + a + b)*V(p, n);",
              "parameter real r = 1,\n   s = 0.1\n  ;  // the last\nreal a, b;\ninteger seed;"),
        (("random", 12), ("random", 13)), 0.0, 1e-3,
    ),
    "draws-with-taken-names": Case(
        model(f"deviation_1 = {DRAW};\nI(p, n) <+ 1m*(1 + deviation_1 + $random % 2 + $rdist_uniform(seed, -1, 1, "
              '"instance"))*V(p, n);', "real deviation_1, DEVIATION_2; integer seed;"),
        (("random", 8), ("random", 9)), 0.0, 1e-3,
    ),
    "draws-behind-a-condition": Case(
        model(f"I(p, n) <+ `G*(1 + {DRAW} + `DRAW(0.2))*V(p, n);",
              "`VALUE(g, 1m)\n`ifdef __OPENVAF__\nparameter real extra = 1;\n`endif\ninteger seed;",
              before="`define VALUE(nam, def) parameter real nam = def;\n`define G g\n`define DRAW(s) 0*s\n"),
        (("random", 15),), 0.0, 1e-3,
    ),
    "eight-draws": Case(
        model(f"I(p, n) <+ 1m*(1 + {' + '.join([DRAW] * 8)})*V(p, n);", "integer seed;"), (("random", 8),), 0.0, 1e-3
    ),
    # states
    "clip-function": Case(
        model("@(initial_step) begin\nx = xs;\nend\n$bound_step(1n);\ndt = $abstime - t0;\nrate = k*V(p, n);\n"
              "x = x + rate*dt;\nx = clip(x, 0, 1);\nI(p, n) <+ 1e-4*x*V(p, n);\nt0 = $abstime;",
              "parameter real xs = 0.1 from [0:1];\nparameter real k = 1e6 from (0:inf);\nreal x, t0, dt, rate;\n"
              + CLIP),
        (("hidden-state", 22), ("hidden-state", 24)), 0.95e-6, 1e-4,
    ),
    "vteam": Case(
        model("@(initial_step) w = w0;\ncase (window)\n1, 2: f = 1 - pow(2*w/D - 1, 2);\ndefault: f = 1;\nendcase\n"
              "if (V(p, n) > von) dw = kon*pow(V(p, n)/von - 1, 2)*f; else dw = 0;\nw = min(max(w + dw*dt, 0), D);\n"
              "I(p, n) <+ V(p, n)*w/D*1e-3;",
              "parameter real w0 = 1n, D = 4n, von = 0.5, kon = 1e-3, dt = 1n;\nparameter integer window = 0;\n"
              "real w, dw, f;"),
        (("hidden-state", 12),), 1e-6, 0.5e-3,  # 1 nm and 1e-3 m/s for 1 us: 2 of 4 nm
    ),
    "yakopcic": Case(
        model("v = V(p, n);\nt = $abstime;\nif (v > vp) g = ap*(exp(v) - exp(vp));\nelse g = 0;\n"
              "x = x + eta*g*(t - told);\nif (x > 1) x = 1;\nif (x < 0) x = 0;\nI(p, n) <+ a*x*sinh(b*v);\n"
              "told = t;\n@(final_step) $strobe(\"%g\", x);",
              "parameter real vp = 0.5 from (0, inf), ap = 1e5, a = 1e-3, b = 0.5, eta = 1;\n"
              "real x = 0.1;\nreal t, told, g, v;"),
        (("range-comma", 6), ("hidden-state", 14), ("final-step", 19)), 1e-6,
        1e-3 * (0.1 + 0.1 * float(np.exp(1.0) - np.exp(0.5))) * float(np.sinh(0.5)),
    ),
    "stanford": Case(
        model(f"gap_rand = {DRAW}*dgap/(1 + exp((450 - $temperature)/500));\n"
              "gdt = -v0*exp(-0.6/$vt)*sinh(V(p, n)*gamma)*(gap > gmin ? 1 : 0);\n"
              "gap = idt(gdt + gap_rand, gini);\nif (gap < gmin) gap = gmin; else if (gap > gmax) gap = gmax;\n"
              "I(p, n) <+ i0*exp(-gap/g0)*sinh(V(p, n)/0.4);",
              "parameter integer model_switch = 0 from [0, 1];\nparameter real gini = 1n from (0:inf), gmin = 0.2n,\n"
              "  gmax = 1.7n, g0 = 0.25n,\n  dgap = 0.02, v0 = 10, gamma = 10, i0 = 1m;\nreal gap, gdt, gap_rand;\n"
              "integer seed;"),
        (("range-comma", 6), ("random", 13), ("hidden-state", 14), ("idt-initial", 15)), 30e-6,
        1e-3 * float(np.exp(-(1e-9 - 30e-6 * GAP_RATE) / 0.25e-9) * np.sinh(2.5)),
    ),
    "a-pair-and-its-increment": Case(  # with a kick at each step
        model("@(initial_step) last = 0.2;\nnow = $abstime;\nstep = now - before;\nkick = 0;\n"
              "grow = k*V(p, n)*(1 - last)*step;\nw = last + grow + kick*1e-18;\n"
              "if (w >= 1) w = 1;\nif (w <= 0) w = 0;\nI(p, n) <+ 1m*w*V(p, n);\nlast = w;\nbefore = now;",
              "parameter real k = 1e6;\nreal last, before, now, step, kick, grow, w;"),
        (("hidden-state", 11), ("hidden-state", 13)), 1e-6, 1e-3 * (1.0 - 0.8 * float(np.exp(-1.0))),
    ),
    "an-implicit-step": Case(  # T = (T + h*P)/(1 + h/tau), which has P*tau in the end
        model("@(initial_step) T = T0;\nh = $abstime - told;\n"
              "T = (T + h*(abs(V(p, n)*I(p, n))*rth + T0)/tau)/(1 + h/tau);\n"
              "I(p, n) <+ 1m*T/T0*V(p, n);\ntold = $abstime;",
              "parameter real T0 = 300, tau = 100n, rth = 1e5;\nreal T, h, told;"),
        (("hidden-state", 10), ("hidden-state", 11)), 3e-6, 1.5e-3,  # T/T0 = 1 + 1e5/300*1e-3*T/T0: 1.5
    ),
    "cases-that-cover": Case(
        model("if (first == 0) begin\nx = 0.1;\ng = 1m;\nend\nif (V(p, n) >= von) r = k;\n"
              "if (V(p, n) <= -von) r = -k;\n"
              "if (V(p, n) > -von && V(p, n) < von) r = 0;\n"
              "if (s(V(p, n)) == 1) f = 1 - x;\nelse if (s(V(p, n)) == -1) f = x;\n"
              "x = x + dt*r*f;\nI(p, n) <+ g*x*V(p, n);\nfirst = 1;",
              "parameter real von = 0.5, k = 1e6, dt = 1n;\nreal x, r, f, g, first;\n"
              "analog function integer s;\ninput u;\nreal u;\ns = (u >= 0 ? 1 : -1);\nendfunction"),
        (("hidden-state", 14), ("hidden-state", 21), ("hidden-state", 24)), 1e-6,
        1e-3 * (1.0 - 0.9 * float(np.exp(-1.0))),
    ),
    "steps-only-forward": Case(
        model("h = $abstime - told;\nif (h > 0) begin\nx = max(min(x + rate*V(p, n)*h, 1), 0);\nend\n"
              "I(p, n) <+ 1m*x*V(p, n);\ntold = $abstime;",
              "parameter real rate = 3e5;\nreal x = 0.25;\nreal h, told;"),
        (("hidden-state", 10), ("hidden-state", 12)), 1e-6, 0.55e-3,
    ),
    "jart": Case(
        model("@(initial_step) N = Nini;\nbegin : rates\nreal N, A;\nA = `PI4*r*r;\nN = A/1e-16;\narea = N;\nend\n"
              "dN = -Nrate*V(p, n)*(N > Nmin);\nN = N + dN*($abstime - tlast);\ntlast = $abstime;\n"
              "I(p, n) <+ N/Nmax*area*V(p, n)*`GN;",
              "localparam real Nini = 0.4;\nparameter real Nmin = 0.01, Nmax = 20, Nrate = 1e5 from (0:inf);\n"
              "parameter real r = 1e-8;\nreal N, dN, tlast, area;",
              before="`define PI4 (0.25*`M_PI)\n`define GN 1m\n"),
        (("hidden-state", 20), ("hidden-state", 21)), 1e-6, 0.3 / 20 * 0.25 * np.pi * 1e-3,
    ),
    "timer": Case(
        model("@(initial_step) x = 0.2;\n@(timer(0, 1n)) x = x + 1n*1e5*V(p, n);\nI(p, n) <+ 1m*x*V(p, n);", "real x;"),
        (("hidden-state", 9), ("event", 9)), 1e-6, 3e-4,
    ),
    "cross": Case(
        model("@(cross(V(p, n) - 0.5, +1)) begin\nif (k > 0) n_ = n_ + 1;\nend\nI(p, n) <+ 1m*V(p, n)*n_;",
              "parameter real k = 1;\ninteger n_;"),
        (("event", 9), ("hidden-state", 10)), left=("event", "hidden-state"),
    ),
    "settled-by-a-parameter": Case(  # taken always or never: no state
        model("@(initial_step) g = 1m;\nif (kind > 1) g = 2m;\nif (kind == 1) h = 1;\nI(p, n) <+ (g + 0*h)*V(p, n);",
              "parameter integer kind = 2;\nreal g, h;"),
        (), 0.0, 2e-3,
    ),
    "given-back-by-a-function": Case(
        model("z = f(g, V(p, n));\nI(p, n) <+ g*z;",
              "real g, z;\nanalog function real f;\noutput y;\ninput u;\nreal y, u;\nbegin\ny = 1m;\nf = u;\nend\n"
              "endfunction"),
        (), 0.0, 1e-3,
    ),
}  # fmt: skip


def current(simulator: Simulator, text: str, time: float) -> float:
    """Amperes into ``p`` at 1 V, after ``time`` seconds (0: the operating point)."""
    analysis = f".tran {time / 1000!r} {time!r} 0 {time / 1000!r}" if time else ".op"
    deck = f"t\nV1 a 0 1\nN1 a 0 dut\n.model dut m\n{analysis}\n.end\n"
    result = simulator.run(Deck(deck, osdi=(compile_model(text),)), limits=Limits(wall=20.0))
    data = result["tran" if time else "op"]
    return -float(np.atleast_1d(data["i(v1)"].values)[-1])


def check(text: str, folder: Path = Path()) -> list[tuple[str, int]]:
    return [(finding.rule, finding.line) for finding in va_rules.check(va_rules.read(text, folder))]


@pytest.mark.parametrize("name", CASES)
def test_what_is_found(name: str) -> None:
    case = CASES[name]
    assert sorted(set(check(case.text))) == sorted(case.found)


def compiler(text: str) -> tuple[int, str] | None:
    try:
        compile_model(text)
    except CosimError as error:
        return (error.where.line or 1 if error.where is not None else 1), error.message
    return None


@pytest.mark.spice
@pytest.mark.osdi
@pytest.mark.parametrize("name", CASES)
def test_what_the_repaired_model_gives(name: str, simulator: Simulator) -> None:
    case = CASES[name]
    fixed = va_fix.fix(va_rules.read(case.text, Path()), compiler)
    rules = {rule for rule, _ in check(fixed.text)}
    if case.current is None:
        assert set(case.left) <= rules
        assert fixed.left
        return
    assert (rules, fixed.left) == (set(), ())
    # 0.2 %: 5 ns of the engine's own start in 1 us
    assert current(simulator, fixed.text, case.time) == pytest.approx(case.current, rel=2e-3)


DEVICE = """`include "disciplines.vams"
nature Length
  access = Metre; units = "m"; abstol = 1p;
endnature
discipline width
  potential Length;
enddiscipline
module Memristor(p, n, shown);
inout p, n;
output shown;
electrical p, n, inner;
width shown;
parameter real ron = 1k, roff = 100k, w0 = 0.3, k = 1e6, rs = 10;
real last, w, time, before, step;
analog begin
  @(initial_instance) last = w0;
  time = $realtime;
  step = time - before;
  w = last + k*V(p, n)*(1 - pow(2*last - 1, 2))*step;
  if (w > 1) w = 1; else if (w < 0) w = 0;
  I(p, inner) <+ V(p, inner)*(w/ron + (1 - w)/roff);
  I(inner, n) <+ V(inner, n)/rs;
  Metre(shown) <+ 1e-8*w;
  last = w;
  before = time;
end
endmodule
"""


@pytest.mark.spice
@pytest.mark.osdi
def test_a_published_kind_of_model_is_verified_in_both_engines(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that shows the state, a node to solve for, a name that ngspice has a type of, a reserved word."""
    monkeypatch.setattr(drive, "PERIODS", (1e-6,))
    file = tmp_path / "device.va"
    file.write_text(DEVICE)
    with open_simulator("vacask") as second:
        repair = fix_file(file, simulator, second=second)
    assert repair.clean, repair.to_dict()
    assert "module Memristor_va(" in repair.fixed.text
    assert [c.what.split()[2] for c in repair.equivalence.comparisons[1:]] == ["ngspice", "VACASK"]
    assert max(c.largest for c in repair.equivalence.comparisons) < 1e-3  # of full scale


def test_the_parts_that_are_not_read_are_counted() -> None:
    text = model("$x = 1;\n$y =\n 2;\nI(p, n) <+ V(p, n);")
    (found,) = va_rules.check(va_rules.read(text, Path()))
    assert found.message.startswith("lines 8–10 were not understood (")
    assert not Lint(Path("m.va"), "verilog-a", (found,)).clean


def test_new_parameters_stand_behind_a_whole_declaration() -> None:
    text = va_fix.fix(va_rules.read(CASES["draws-split-declaration"].text, Path())).text
    lines = text.split("\n")
    assert [line.split("=")[0].strip() for line in lines[8:10]] == [
        "parameter real deviation_1", "parameter real deviation_2",
    ]  # fmt: skip
    assert lines[7] == "  ;  // the last"
    text = va_fix.fix(va_rules.read(CASES["draws-with-taken-names"].text, Path())).text
    assert all(f" deviation_{k} = " in text for k in (3, 4, 5))
    text = va_fix.fix(va_rules.read(CASES["draws-behind-a-condition"].text, Path())).text
    assert text.index("deviation_1 =") < text.index("`ifdef __OPENVAF__")


@pytest.mark.spice
@pytest.mark.osdi
def test_a_fix_that_does_not_compile_is_not_made(simulator: Simulator) -> None:
    """The state's name is known in its block only, so the node that is to replace it cannot be read in front of it."""
    text = model("begin : b\nreal x;\nx = x + dt*1e3*V(p, n);\nI(p, n) <+ x*V(p, n)^2;\nend", "parameter real dt = 1n;")
    fixed = va_fix.fix(va_rules.read(text, Path()), compiler)
    assert "x_state" not in fixed.text
    assert "pow(V(p, n), 2)" in fixed.text  # the other fix is made
    assert any("with it the text does not compile: line" in reason for reason in fixed.left)
    assert compiler(fixed.text) is None


def test_each_fix_is_judged_by_itself() -> None:
    def dislikes(*words: str) -> va_fix.Compiler:
        def said(text: str) -> tuple[int, str] | None:
            bad = next((k for k, line in enumerate(text.split("\n")) if any(word in line for word in words)), None)
            return None if bad is None else (bad + 1, "not this")

        return said

    read = va_rules.read(model("I(p, n) <+ V(p, n)^2*log10(2.0)*sgn(V(p, n));"), Path())

    def fix(*words: str) -> Fixed:
        return va_fix.fix(read, dislikes(*words))

    assert "pow" not in fix("pow").text
    assert "log(2.0)" in fix("pow").text
    nothing = fix("pow", "log(")
    assert nothing.text == read.source.text or "pow" not in nothing.text
    assert any("not this" in reason for reason in nothing.left)
    assert fix("module").left[-1].endswith("still does not compile: not this")


@pytest.mark.spice
@pytest.mark.osdi
def test_files(simulator: Simulator, tmp_path: Path) -> None:
    (tmp_path / "body.inc").write_text("`define G 3m\n@(initial_step) x = 1;\nx = x + 1n*V(p, n);\n")
    file = tmp_path / "m.va"
    file.write_text(model('`include "body.inc"\nI(p, n) <+ (`G + 0*x)*V(p, n);', "real x;"))
    found = lint_file(file)
    assert [(f.rule, f.line) for f in found.findings] == [("hidden-state", 8)]
    repair: Repair = fix_file(file, None)
    assert repair.fixed.text == file.read_text()  # nothing that an included file holds is rewritten here
    assert not repair.after.clean
    (tmp_path / "whole.inc").write_text(CASES["vteam"].text)
    file.write_text('`include "whole.inc"\n')
    repair = fix_file(file, None)
    assert repair.fixed.text == file.read_text()
    assert [(f.rule, f.line) for f in repair.after.findings] == [("hidden-state", 1)]
    file.write_text(model("V(s[0]) <+ V(p, n);\nI(p, n) <+ V(p, n);", "electrical s[0:1];"))
    repair = fix_file(file, None)
    assert not repair.after.clean
    assert "line 6 of the fixed text still does not compile" in repair.fixed.left[-1]


@pytest.mark.parametrize(
    "text",
    [
        "`define A `A + `A\n" + model("I(p, n) <+ `A;"),
        "`define A0\n" + "".join(f"`define A{k} `A{k - 1} `A{k - 1}\n" for k in range(1, 36)) + model("`A35"),
        "`define D(x) x x\n" + model(f"I(p, n) <+ {'`D(' * 30}1{')' * 30};"),
        '`include "itself.inc"\n`include "itself.inc"\n',
    ],
)
def test_a_macro_that_grows_without_end_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "itself.inc").write_text(text)
    with pytest.raises(InputError, match=r"deep|more than"):
        va_rules.read(text, tmp_path)


@given(st.integers(0, 60), st.integers(0, 60))
def test_no_edit_cuts_a_macro(start: int, length: int) -> None:
    source = scan("`define F(x) (x)\n`define G 3\na = `F( b ) + `G*`F(`G);\nc = `G;\n")
    end = start + length
    torn = any(
        not (end <= use.start or use.end <= start or (start <= use.start and use.end <= end)
             or any(a <= start and end <= b for a, b in use.arguments))
        for use in source.uses
    )  # fmt: skip
    assert source.cuts(start, end) == torn
    assert source.expanded(start) == any(use.start <= start < use.end for use in source.uses)


def conditions(rng: random.Random, depth: int, leaves: Iterator[int]) -> list[str]:
    lines = []
    for _ in range(rng.randint(1, 3)):
        lines += [rng.choice(["`define {}", "`undef {}", "`define {} 3", "`define {}(x) x"]).format(rng.choice("ABCD"))]
        lines.append(f"`define L{next(leaves)}")
        if depth < 4:
            names = [rng.choice(["A", "B", "C", "D", *PREDEFINED, "M_PI", "P_Q_SI", "NONE"]) for _ in range(4)]
            lines += [f"{rng.choice(['`ifdef', '`ifndef'])} {names[0]}", *conditions(rng, depth + 1, leaves)]
            for name in names[1 : rng.randint(1, 4)]:
                lines += [f"`elsif {name} // {name}", *conditions(rng, depth + 1, leaves)]
            if rng.random() < 0.7:
                lines += ["`else", *conditions(rng, depth + 1, leaves)]
            lines.append("`endif")
    return lines


@pytest.mark.spice
@pytest.mark.osdi
def test_conditions_are_those_of_the_compiler(simulator: Simulator) -> None:
    leaves = iter(range(100_000))
    before = "\n".join(conditions(random.Random(7), 0, leaves)) + "\n"
    count = next(leaves)
    macros = scan(HEAD + before).macros
    taken = {f"L{k}" for k in range(count)} & set(macros)
    assert 20 < len(taken) < count - 20
    names = [f"L{k}" for k in range(count)]

    def held(known: set[str]) -> str:
        lines = [f"{'`ifndef' if name in known else '`ifdef'} {name}\nbad bad bad;\n`endif" for name in names]
        return model("I(p, n) <+ V(p, n);", before=before + "\n".join(lines) + "\n")

    assert compiler(held(taken)) is None
    assert compiler(held(taken ^ {names[-1]})) is not None


@pytest.mark.spice
@pytest.mark.osdi
def test_what_the_compiler_defines_is_known(simulator: Simulator) -> None:
    names = {*CONSTANTS, *GUARDS.values(), *PREDEFINED}
    lines = "".join(f"`ifndef {name}\nbad bad bad;\n`endif\n" for name in sorted(names))
    others = ("__VAMS_ENABLE__", "__NGSPICE__", "P_EPS_SI")
    lines += "".join(f"`ifdef {name}\nbad bad bad;\n`endif\n" for name in others)
    assert compiler(model("I(p, n) <+ V(p, n);", before=lines)) is None
    source = scan(HEAD)
    assert names == source.standard | set(source.macros)
    assert not set(others) & (source.standard | set(source.macros))
