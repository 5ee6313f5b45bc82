"""Each rule of lint in the real compiler and the real simulator: what it warns of happens, and a fix takes it away."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from cosim.engines.openvaf import compile_model
from cosim.engines.simulator import Deck, Limits, Result, Simulator
from cosim.errors import NetlistError
from cosim.language.findings import Severity
from cosim.lint import lt_lint, va_fix, va_rules
from cosim.lint.lint import fix_file, lint_file, lint_verilog_a

_FILE = Path(__file__).with_name("test_lint_rules.py")
_SPEC = importlib.util.spec_from_file_location("lint_snippets", _FILE)
assert _SPEC is not None
assert _SPEC.loader is not None
snippets = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(snippets)
DATA = Path(__file__).parents[1] / "data" / "lint"

pytestmark = [pytest.mark.spice, pytest.mark.osdi]


def run(simulator: Simulator, text: str, values: str = "", *, limits: Limits = Limits(wall=20.0)) -> Result:  # noqa: B008
    """The model at 1 V with half a volt of sine on it, for one period of 1 us."""
    name = text.split("module ")[1].split("(")[0]
    deck = f"t\nV1 a 0 dc 1 sin(1 0.5 1meg)\nN1 a 0 dut\n.model dut {name} {values}\n.tran 10n 1u 0 10n\n.end\n"
    return simulator.run(Deck(deck, osdi=(compile_model(text),)), limits=limits)


def conductance(result: Result) -> np.ndarray:
    data = result["tran"]
    return np.asarray(-data["i(v1)"].values / data["v(a)"].values)


RUNS_NOT = {"module-name", "absdelay", "stop", "simparam", "loose-node"}
ERRORS = sorted(code for code, rule in va_rules.RULES.items() if rule.severity is Severity.ERROR)


@pytest.mark.parametrize("code", ERRORS)
def test_an_error_is_one(code: str, simulator: Simulator) -> None:
    text = snippets.VERILOG[code]
    if code in RUNS_NOT:
        assert not run(simulator, text).ok
    else:
        with pytest.raises(NetlistError):
            compile_model(text)


# rule -> (values of the model card, index of the point, what the language says, what ngspice gives)
WRONG = {
    "hidden-state": ("", 50, None, 0.501),  # some steps of 1e-3 further than the start, and it stands still
    "initial-step": ("", 25, 1.0, 1.5),  # it follows the voltage
    "final-step": ("", 50, 1.0, 0.0),
    "idt-initial": ("", 50, 0.5, 0.0),
    "idt-reset": ("", 99, 0.5, 0.0),
    "idtmod": ("", -1, None, None),
    "analysis-static": ("", 0, 0.5, 0.7),
    "integer-division": ("", 0, 0.5, 0.0),
    "untyped-parameter": ("k=1.7", 0, 1.7, 2.0),
    "case-clash": ("A=5", 0, 15.0, 52.0),
    "finish": ("", -1, None, None),
}


def test_every_rule_is_shown() -> None:
    assert set(WRONG) == {code for code, rule in va_rules.RULES.items() if rule.severity is Severity.WRONG}
    warnings = {code for code, rule in va_rules.RULES.items() if rule.severity is Severity.WARNING}
    assert warnings == {"idt-plain", "log", "domain", "unread", "unused-node"}  # below, but for what is not understood


@pytest.mark.parametrize("code", WRONG)
def test_a_wrong_result_is_one(code: str, simulator: Simulator) -> None:
    values, index, meant, given = WRONG[code]
    result = run(simulator, snippets.VERILOG[code], values)
    g = conductance(result)
    if code == "idtmod":
        assert np.max(np.abs(g)) > 1.0  # wrapped it would stay within 0..1
    elif code == "finish":
        assert float(result["tran"]["time"].values[-1]) == pytest.approx(1e-6)  # it goes on behind 0.5 us
    elif code == "hidden-state":
        assert np.ptp(g) < 1.1e-3  # the drive's own swing: nothing is added up over a hundred steps
    else:
        at = index if index in (0, -1) else int(np.searchsorted(result["tran"]["time"].values, index * 1e-8))
        assert g[at] == pytest.approx(given, abs=0.02)
        assert abs(g[at] - meant) > 0.1


def test_warnings(simulator: Simulator) -> None:
    assert conductance(run(simulator, snippets.VERILOG["log"]))[0] == pytest.approx(np.log10(2.0), rel=1e-6)
    assert not run(simulator, snippets.VERILOG["domain"]).ok
    assert conductance(run(simulator, snippets.VERILOG["idt-plain"]))[0] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("code", snippets.FIXED)
def test_a_fix_compiles_and_runs(code: str, simulator: Simulator) -> None:
    text = snippets.VERILOG[code].replace("1e-3*V", "dt*V").replace("real x;", "real x; parameter real dt = 1n;")
    fixed = va_fix.fix(va_rules.read(text, DATA))
    assert run(simulator, fixed.text).ok, fixed.text


def test_the_compiler_says_what_no_rule_knows() -> None:
    text = snippets.module("I(p, n) <+ V(p, n)*nowhere;")
    (found,) = lint_verilog_a(text, DATA / "x.va").findings
    assert found.rule == "compiler"
    assert "nowhere" in found.message
    assert text.split("\n")[found.line - 1].find("nowhere") == found.column - 1


def test_sound_models_run(simulator: Simulator) -> None:
    assert run(simulator, snippets.SOUND).ok
    assert lint_verilog_a(snippets.SOUND, DATA / "x.va").findings == ()


def ltspice(simulator: Simulator, body: str, volts: float) -> Result:
    return simulator.run(Deck(f"t\nV1 a 0 {volts}\n{body}\nX1 a 0 s\n.op\n.end\n"), limits=Limits(wall=20.0))


# rule -> (volts, amperes in LTspice); None: ngspice does not read it
CURRENTS = {
    "limit": (2.0, 1.0), "pwr": (-2.0, 8.0), "power": (-2.0, -8.0), "number": (4.7, 1e-3),
    "table": (0.05, 0.05), "braces": (2.0, 4.0), "mil": (50.8e-6, 1.0), "truth": (0.3, 2.0), "step": (0.0, 0.0),
}  # fmt: skip


@pytest.mark.parametrize("rule", CURRENTS)
def test_what_ltspice_means_and_ngspice_gives(rule: str, simulator: Simulator) -> None:
    volts, amperes = CURRENTS[rule]
    before = ltspice(simulator, snippets.LTSPICE[rule], volts)
    if rule == "limit":  # a random number in ngspice, for which it takes any number of arguments
        assert "limit takes 2 arguments" in before.reason
    else:
        assert -float(before["op"]["i(v1)"]) != pytest.approx(amperes, rel=0.05)
    fixed = lt_lint.fix_spice(snippets.LTSPICE[rule], DATA / "x.sub", None, amplitude=1.0, period=None, caret="")
    after = ltspice(simulator, fixed.fixed.text, volts)
    assert -float(after["op"]["i(v1)"]) == pytest.approx(amperes, rel=1e-6)


def test_a_caret_is_a_power_in_ngspice(simulator: Simulator) -> None:
    before = ltspice(simulator, snippets.LTSPICE["caret"], 3.0)
    assert -float(before["op"]["i(v1)"]) == pytest.approx(9.0)  # LTspice: true xor true, 0
    fixed = lt_lint.fix_spice(snippets.LTSPICE["caret"], DATA / "x.sub", None, amplitude=1.0, period=None, caret="xor")
    assert float(ltspice(simulator, fixed.fixed.text, 3.0)["op"]["i(v1)"]) == pytest.approx(0.0, abs=1e-12)


CARETS = {
    "{1m*k*V(p,n)^2+1m*V(p,n)}": lambda v: 2e-3 * v**2 + 1e-3 * v,
    "{-V(p,n)^2*1m}": lambda v: -1e-3 * v**2,
    "{1m*2^V(p,n)/k^2}": lambda v: 1e-3 * 2**v / 4,
    "{1m*(V(p,n)^2 > 1 ? k^3 : 1)}": lambda v: 8e-3 if v**2 > 1 else 1e-3,
    "{1m*square1(V(p,n))}": lambda v: 1e-3 * (1 + v**2),
}


@pytest.mark.parametrize("formula", CARETS)
def test_a_caret_that_is_a_power_binds_as_one(formula: str, simulator: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "s.sub"
    file.write_text(f".subckt s p n\n.param k=2\n.func square1(x) {{1+x^2}}\nG1 p n value={formula}\n.ends\n")
    repair = fix_file(file, simulator, amplitude=1.5, period=1e-6, caret="power")
    assert not repair.equivalence.findings
    both = repair.equivalence.comparisons[-1]
    assert both.limit is not None  # as ngspice, too, reads '^' as a power
    assert both.largest < 1e-3
    for volts in (0.7, 2.0):
        got = -float(ltspice(simulator, repair.fixed.text, volts)["op"]["i(v1)"])
        assert got == pytest.approx(CARETS[formula](volts), rel=1e-6)


def test_a_power_in_a_parameter_that_is_passed_down_binds_as_one() -> None:
    from cosim.language.expressions import evaluate
    from cosim.language.lt_syntax import dialect, parse_expression

    tree = parse_expression("1+3*k^2", caret_is_power=True)
    assert evaluate(tree, lambda node: 2.0, lambda node: None, dialect(caret_is_power=True)) == 13.0


def test_a_capacitor_starts_at_its_initial_condition(simulator: Simulator) -> None:
    body = ".subckt s p n\nC1 x n 1n IC=0.5\nC2 y 0 1n IC={0.25*2}\nR1 x p 1T\nR2 y p 1T\n.ends"

    def start(text: str) -> float:
        deck = Deck(f"t\nV1 a 0 1\n{text}\nX1 a 0 s\n.tran 1n 10n\n.end\n", save=("v(x1.y)",))
        return float(simulator.run(deck)["tran"]["v(x1.y)"].values[0])

    assert start(body) == pytest.approx(1.0, abs=1e-6)  # charged through its resistor before the transient begins
    fixed = lt_lint.fix_spice(body, DATA / "x.sub", None, amplitude=1.0, period=None, caret="")
    assert start(fixed.fixed.text) == pytest.approx(0.5, abs=1e-6)


CARDS = ("card", "tran", "stop", "several", "library", "measure", "unmeasured")  # rules that are not about a subcircuit


@pytest.mark.parametrize("rule", sorted(c for c, r in snippets.lt_rules.RULES.items() if r.severity is Severity.ERROR))
def test_an_ltspice_error_is_one(rule: str, simulator: Simulator) -> None:
    body = snippets.LTSPICE[rule]
    with_circuit = body if rule in CARDS else f"{body}X1 a 0 s\n"
    result = simulator.run(Deck(f"t\nV1 a 0 1\nR0 a 0 1\n{with_circuit}.op\n.end\n"), limits=Limits(wall=20.0))
    assert not result.ok or result.missing  # a card of .meas fails by itself
    if rule in ("laplace", "unmeasured", "library"):
        return  # no counterpart, or a file that is not there
    fixed = lt_lint.fix_spice(body, DATA / "x.sub", None, amplitude=1.0, period=None, caret="").fixed.text
    with_circuit = fixed if rule in CARDS else f"{fixed}\nX1 a 0 s\n"
    result = simulator.run(Deck(f"t\nV1 a 0 1\nR0 a 0 1\n{with_circuit}\n.op\n.end\n"), limits=Limits(wall=20.0))
    assert result.ok
    assert not result.missing


@pytest.mark.parametrize(
    "function", ["stp", "if", "table", "inv", "buf", "hypot", "int", "round", "pwrs", "idt", "arctan"]
)
def test_functions_that_only_ltspice_has(function: str, simulator: Simulator) -> None:
    from cosim.language.lt_syntax import FUNCTIONS

    args = {"if": "V(p,n) - 1, 2, 3", "table": "V(p,n), -1, -2, 0, 0, 1, 4", "hypot": "V(p,n), 2", "pwrs": "V(p,n), 3"}
    body = f".subckt s p n\nB1 p n I={function}({args.get(function, 'V(p,n)')})\n.ends"
    assert not ltspice(simulator, body, 0.5).ok
    fixed = lt_lint.fix_spice(body, DATA / "x.sub", None, amplitude=1.0, period=None, caret="").fixed.text
    for volts in (-1.7, -0.4, 0.3, 0.7, 1.6):
        got = -float(ltspice(simulator, fixed, volts)["op"]["i(v1)"]) if function != "idt" else 0.0
        values = {
            "if": (volts - 1, 2, 3),
            "table": (volts, -1, -2, 0, 0, 1, 4),
            "hypot": (volts, 2),
            "pwrs": (volts, 3),
        }
        meant = FUNCTIONS[function](*values.get(function, (volts,))) if function != "idt" else 0.0
        assert got == pytest.approx(meant, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("file", sorted(DATA.iterdir()), ids=lambda path: path.name)
def test_a_published_model_is_repaired(file: Path, simulator: Simulator, tmp_path: Path) -> None:
    assert not lint_file(file).clean
    repair = fix_file(file, simulator)
    assert repair.after.clean, repair.after.findings
    assert repair.fixed.left == ()
    comparisons = {c.what.split(" against ")[-1]: c for c in repair.equivalence.comparisons}
    meant = comparisons["the original as its language reads it"]
    # the reading's own error is below 1 % (it says so itself), and so is what is left to the engine
    assert comparisons["itself at a quarter of its step"].current < 0.01
    assert meant.current < 0.01
    assert all(difference < 0.01 for difference in meant.states.values())
    if "the original, both in ngspice" in comparisons:  # it runs, and gives something else: hence the repair
        assert comparisons["the original, both in ngspice"].current > 0.1
    else:
        assert "does not run in ngspice" in repair.equivalence.unverified[0]
