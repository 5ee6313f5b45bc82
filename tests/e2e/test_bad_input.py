"""The table of bad input: one sentence on standard error with place and remedy, an exit code, no traceback."""

# ruff: noqa: E501  (a table reads by its rows)

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cosim.cli.app import main

pytestmark = pytest.mark.spice

RC = "rc\nV1 a 0 1\nR1 a b 1k\nC1 b 0 1n\n{extra}\n.tran 10n 5u\n.end\n"
BENCH = """title = "bench"
circuit = "V1 a 0 {{stimulus.s}}\\nX1 a 0 mem"
[devices.mem]
parameters = "{set}"
[stimuli.s]
kind = "pulses"
amplitudes = ["{volts}"]
[analysis]
kind = "tran"
stimulus = "s"
max_step = "10 ns"
[measures.m]
kind = "final"
of = "v({node})"
unit = "V"
"""
RECIPE = """name = "r"
device = "{device}"
[data]
kind = "i-v"
file = "{file}"
columns.voltage = {{ name = "V", unit = "{unit}" }}
columns.current = {{ name = "I", unit = "A" }}
[fit]
vary = ["{vary}", "v_sat", "v_c"]
"""
ROWS = "V,I\n" + "".join(f"{v / 10},{v * 1e-4}\n" for v in range(-5, 6))
GOOD = {"device": "access_transistor", "file": "iv.csv", "unit": "V", "vary": "g_on"}


def bench(**given: str) -> str:
    return BENCH.format(**{"set": "tio2", "volts": "2 V", "node": "a", **given})


KIT = ".lib typical\n.param g=1\n.endl\n.lib fast\n.param g=2\n.endl\n"
VERILOG = (
    '`include "disciplines.vams"\nmodule m(p, n) inout p, n; electrical p, n; analog I(p, n) <+ V(p, n); endmodule\n'
)
CORNER = """title = "corner"
circuit = ".lib {library.kit} {section.process}\\nV1 a 0 1\\nR1 a 0 {1/g}"
[libraries]
kit = "kit.lib"
[sections]
process = "slow"
[analysis]
kind = "op"
[measures.m]
kind = "final"
of = "v(a)"
unit = "V"
"""


@dataclass(frozen=True)
class Case:
    name: str
    arguments: tuple[str, ...]
    says: str
    code: int
    files: dict[str, str] = field(default_factory=dict)


def net(name: str, extra: str, says: str, code: int = 1, arguments: tuple[str, ...] = (), **files: str) -> Case:
    texts = {"n.cir": RC.format(extra=extra), **{key.replace("__", "."): text for key, text in files.items()}}
    return Case(name, ("run", "n.cir", *arguments), says, code, texts)


CASES = [
    Case("missing netlist", ("run", "none.cir"), r"none\.cir.*No such file.*check the path", 2),
    Case("missing bench", ("run", "none.toml"), r"none\.toml.*No such file", 2),
    Case("unknown bench", ("run", "1t1r_random"), r"unknown.*did you mean 1t1r_random_pulses", 2),
    Case("unknown verb", ("rum",), r"No such command 'rum'", 2),
    Case("unknown engine", ("run", "n.cir", "--engine", "hspice"), r"unknown simulator 'hspice'", 2, {"n.cir": RC.format(extra="")}),
    net("syntax error", "R2 a", r"n\.cir:5.*R2"),
    net("undefined parameter", "R2 a 0 {rx}", r"n\.cir:5.*rx"),
    net("unknown subcircuit", "X1 a 0 nothing", r"n\.cir:5.*nothing"),
    net("unknown model", "D1 a 0 nomodel", r"n\.cir:5.*nomodel"),
    net("control block", ".control\nshell touch canary\n.endc", r"n\.cir:5.*\.control.*--translate"),
    net("control block, upper case", ".CONTROL\nSHELL touch canary\n.ENDC", r"n\.cir:5.*control"),
    net("control block in an include", ".include part.inc", r"part\.inc:2.*control", part__inc="* part\n.control\nrun\n.endc\n"),
    net("program in a block", ".control\nshell touch canary\n.endc", r"n\.cir:6.*shell", 2, ("--translate",)),
    net("missing include", ".include gone.inc", r"n\.cir:5.*gone\.inc"),
    net("include outside the folder", ".include /etc/hostname", r"n\.cir:5.*/etc/hostname"),
    net("endless transient", ".tran 1p 1e6", r"timed out.*2 s", 1, ("--wall", "2 s")),
    net("a wall that is none", "", r"'soon' is not a quantity", 2, ("--wall", "soon")),
    net("a bench's option", "", r"belong to a bench", 2, ("--param", "w0=1")),
    net("a measure that finds nothing", ".meas tran foo find v(zz) at=0.5u", r"\.meas foo: no such vector as v\(zz\)", 2),
    Case("no analysis", ("run", "n.cir"), r"no analysis.*\.tran", 1, {"n.cir": "t\nV1 a 0 1\nR1 a 0 1\n.end\n"}),
    Case("empty netlist", ("run", "n.cir"), r"n\.cir", 1, {"n.cir": ""}),
    Case("unknown parameter set", ("run", "b.toml"), r"unknown parameter set 'tio3'.*tio2", 2, {"b.toml": bench(set="tio3")}),
    Case("unit that is none", ("run", "b.toml"), r"b\.toml:7.*parsec", 2, {"b.toml": bench(volts="2 parsec")}),
    Case("unknown node", ("run", "b.toml"), r"v\(nowhere\)", 1, {"b.toml": bench(node="nowhere")}),
    Case("no TOML", ("run", "b.toml"), r"b\.toml: not valid TOML: .*line 1", 2, {"b.toml": "title = = 1\n"}),
    Case("unknown circuit parameter", ("run", "b.toml", "-p", "w=1"), r"unknown parameter 'w' of bench b", 2, {"b.toml": bench()}),
    Case("a state that starts out of its bounds", ("run", "1t1r_write", "-p", "w0=7"), r"1t1r\.cir:5: w0 = 7 of xcell\.xm, the memristor, is outside 0\.\.1", 1),
    Case("no assignment", ("run", "b.toml", "-p", "w"), r"NAME=VALUE", 2, {"b.toml": bench()}),
    Case("unknown form", ("run", "b.toml", "--form", "vhdl"), r"unknown form 'vhdl'", 2, {"b.toml": bench()}),
    Case("unknown device", ("devices", "show", "tio"), r"did you mean tio2", 2),
    Case("missing recipe", ("fit", "none.toml"), r"none\.toml.*No such file", 2),
    Case("missing data", ("fit", "r.toml"), r"iv\.csv", 2, {"r.toml": RECIPE.format(**GOOD)}),
    Case("bad row", ("fit", "r.toml"), r"iv\.csv: row 4, column 'V': 'abc' is not a number", 2,
         {"r.toml": RECIPE.format(**GOOD), "iv.csv": ROWS.replace("-0.3,", "abc,")}),
    Case("wrong unit of a column", ("fit", "r.toml"), r"'K'|K", 2,
         {"r.toml": RECIPE.format(**{**GOOD, "unit": "K"}), "iv.csv": ROWS}),
    Case("units that contradict each other", ("fit", "r.toml"), r"iv\.csv: column 'I \(mA\)' is in mA by the file's header, and in A", 2,
         {"r.toml": RECIPE.format(**GOOD), "iv.csv": ROWS.replace("V,I", "V,I (mA)")}),
    Case("a condition without a unit", ("fit", "r.toml"), r"r\.toml:11: data\.conditions\.width = 200 has no unit; .*\"200 ns\"", 2,
         {"r.toml": RECIPE.format(**GOOD) + "[data.conditions]\nwidth = 200\n", "iv.csv": ROWS}),
    Case("unknown device of a recipe", ("fit", "r.toml"), r"r\.toml.*unknown device.*did you mean access_transistor", 2,
         {"r.toml": RECIPE.format(**{**GOOD, "device": "access_transisto"}), "iv.csv": ROWS}),
    Case("unknown fitted parameter", ("fit", "r.toml"), r"'g_of'.*g_on", 2,
         {"r.toml": RECIPE.format(**{**GOOD, "vary": "g_of"}), "iv.csv": ROWS}),
    Case("constant curve", ("fit", "r.toml"), r"constant", 2,
         {"r.toml": RECIPE.format(**GOOD), "iv.csv": re.sub(r",[-0-9.e]+\n", ",1e-3\n", ROWS)}),
    Case("missing surrogate", ("surrogate", "check", "none.npz"), r"none\.npz", 2),
    Case("foreign surrogate", ("surrogate", "check", "s.npz"), r"s\.npz", 2, {"s.npz": "no archive"}),
    net("floating node", "I9 f 0 1n\nC9 f b 1n", r"n\.cir:5: node 'f' floats.*\.ic V\(f\)="),
    net("no convergence", "B9 b 0 I=sqrt(V(b)-2)", r"not converged.*Timestep too small.*negative number.*method=gear"),
    Case("limit in another unit", ("run", "b.toml"), r"b\.toml:\d+: limit 'm': '1 A' is not in V", 2,
         {"b.toml": bench() + "[limits]\nm = { max = '1 A' }\n"}),
    Case("section that a library lacks", ("run", "b.toml"), r"'kit\.lib' has no section 'slow'; it has typical, fast", 1,
         {"kit.lib": KIT, "b.toml": CORNER}),
    Case("a Verilog-A device that does not compile", ("run", "b.toml"), r"my\.va:2.*unexpected token", 2,
         {"my.va": VERILOG, "b.toml": bench().replace('parameters = "tio2"', 'verilog_a = "my.va"')}),
    Case("lint of no model", ("lint", "m.va"), r"m\.va.*does not contain a module", 2, {"m.va": "// nothing\n"}),
    Case("lint of another language", ("lint", "m.vhd"), r"m\.vhd: lint does not.*\.va", 2, {"m.vhd": "entity m\n"}),
    Case("lint onto itself", ("lint", "m.va", "--fix", "m.va"), r"would replace the file itself", 2, {"m.va": VERILOG}),
    Case("unknown network", ("network", "run", "vdspp", "-o", "out"), r"vdsp", 2),
    Case("unknown images", ("network", "run", "vdsp", "--data", "cats", "-o", "out"), r"cats", 2),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_sentence(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, text in case.files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    code, done = main(case.arguments), capfd.readouterr()
    told = [line for line in done.err.splitlines() if line.startswith("cosim: ")]
    assert "Traceback" not in done.err + done.out, done.err
    assert len(told) == 1, done.err
    assert re.search(case.says, told[0]), told[0]
    assert code == case.code, told[0]
    assert not (tmp_path / "canary").exists()
    assert "nan" not in done.out.lower()


def test_the_next_case_runs_after_a_killed_worker() -> None:
    import signal
    import threading
    import time

    from cosim.engines.registry import open_simulator
    from cosim.engines.simulator import Deck, Limits, Outcome

    with open_simulator() as simulator:
        assert simulator.run(Deck(RC.format(extra=""))).ok
        endless = Deck("t\nV1 a 0 sin(0 1 1meg)\nR1 a 0 1k\n.tran 1p 1e3\n.end\n")

        def kill() -> None:
            time.sleep(1.0)
            for pid in simulator.pids():  # type: ignore[attr-defined]
                os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        died = simulator.run(endless, limits=Limits(wall=30.0))
        killer.join()
        assert died.outcome is Outcome.CRASHED
        assert died.reason
        assert died.deck is endless
        assert simulator.run(Deck(RC.format(extra=""))).ok
