"""``lint --fix`` on models in the ways of published ones: in ngspice and in VACASK as they were written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cosim.cli.app import main
from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Deck, Simulator
from cosim.language.expressions import Unreadable
from cosim.language.netlist import logical_lines
from cosim.lint import drive, equivalence, lint, va_rules
from cosim.lint.lint import fix_file
from cosim.lint.lt_reading import Subcircuit
from cosim.lint.va_behavioural import subcircuit

HEAD = '`include "disciplines.vams"\nmodule m(p, n);\ninout p, n;\nelectrical p, n;\n'


def model(declared: str, body: str) -> str:
    return f"{HEAD}{declared}\nanalog begin\n{body}\nend\nendmodule\n"


@dataclass(frozen=True)
class Case:
    """A model, the one period (s) that is tried, words of what was done, and the sign of the drive that is needed.

    ``late``: the node overshoots a bound, which that drive does not show.
    """

    text: str
    period: float
    says: str
    sign: int = 0
    late: bool = False


CASES = {
    "a ground that nothing uses is singular in VACASK": Case(
        model("electrical spare;\nground spare;\nreal x, last;",
              "@(initial_step) x = 0.2;\nx = x + 1e6*V(p, n)*($abstime - last);\nif (x > 1) x = 1;\n"
              "if (x < 0) x = 0;\nI(p, n) <+ 1e-3*x*V(p, n);\nlast = $abstime;"),
        1e-6, "node 'spare', which nothing uses, is removed",
    ),
    "an integral that winds up beyond what is read of it": Case(
        model("parameter real x0 = 2e-10, high = 17e-10;\nreal x, rate;",
              "rate = -1e-4*(1 + x/1e-9)*sinh(V(p, n)/0.3);\nx = idt(rate, x0);\n"
              "if (x < x0) x = x0; else if (x > high) x = high;\n"
              "I(p, n) <+ 1e-3*exp(-x/2.5e-10)*sinh(V(p, n)/0.3);"),
        2e-6, "x is the voltage of an internal node", sign=-1,
    ),
    "an integral that is reset": Case(
        model("real x;", "x = idt(1e6*V(p, n), 0.2, V(p, n) < 0);\nI(p, n) <+ 1e-3*(1 + x)*V(p, n);"),
        1e-6, "an integral that is reset goes back to its start",
    ),
    "a state that is an integral with a reset": Case(
        model("real x, r;", "r = 1e6*V(p, n)*(1.5 - x);\nx = idt(r, 0.2, V(p, n) < 0);\n"
              "I(p, n) <+ 1e-3*(1 + x)*V(p, n);"),
        1e-6, "x, which is set at once, goes there",
    ),
    "a law that runs away under one sign": Case(
        model("real x, last;",
              "@(initial_step) x = 0.5;\n"
              "x = x + ($abstime - last)*(V(p, n) < 0 ? 1e6*V(p, n)*x : 1e14*V(p, n)*exp(99*x));"
              "\nI(p, n) <+ 1e-3*x*V(p, n);\nlast = $abstime;"),
        1e-6, "x is the voltage of an internal node", sign=-1,
    ),
    "a bound that is reached fast, under the one sign that runs": Case(
        model("real x, last;",
              "@(initial_step) x = 0.2;\n"
              "x = x + ($abstime - last)*(V(p, n) > 0 ? 1e8*V(p, n) : 1e20*V(p, n)*exp(99*(1 - x)));\n"
              "if (x > 1) x = 1;\nI(p, n) <+ 1e-3*x*V(p, n);\nlast = $abstime;"),
        1e-6, "x is the voltage of an internal node", sign=1, late=True,
    ),
    "a time that is counted from zero again": Case(
        model("real age, x, last, step;",
              "@(initial_step) x = 0.5;\nstep = $abstime - last;\nlast = $abstime;\n"
              "if (V(p, n) < -0.2) begin\nage = age + step;\nx = x - 2e5*x*age/1e-6*step;\nend else begin\nage = 0;\n"
              "x = x + 1e5*(1 - x)*step;\nend\nI(p, n) <+ 1e-3*x*V(p, n);"),
        1e-5, "age, which is set at once, goes there within 1e-12 s",
    ),
    "a switch that holds, by events": Case(
        model("parameter real up = 0.5, down = -0.3;\nreal on;",
              "@(initial_step) on = 0;\n@(cross(V(p, n) - up, +1)) on = 1;\n"
              "@(cross(V(p, n) - down, -1)) begin on = 0; end\nI(p, n) <+ V(p, n)*(1e-6 + 1e-3*on);"),
        1e-6, "@(cross(V(p, n) - up)) is a condition",
    ),
    "a filament that grows at once where it has waited": Case(
        model("real x, last;",
              "@(initial_step) x = 0.1;\nx = x + 1e6*($abstime - last)*V(p, n)*exp(20*x - 4);\nif (x > 1) x = 1;\n"
              "if (x < 0) x = 0;\nI(p, n) <+ 1e-3*x*V(p, n);\nlast = $abstime;"),
        1e-6, "x is the voltage of an internal node",
    ),
    "a thickness called h beside the difference of two times": Case(
        model("parameter real h = 5;\nreal x, last;",
              "x = x + 1e5*h*V(p, n)*($abstime - last);\nlast = $abstime;\nI(p, n) <+ V(p, n)*(1 + tanh(x))*h/1k;"),
        1e-5, "x is the voltage of an internal node",
    ),
    "a gap in metres, beside a power of it in units of 1 nm, with a limiter and a temperature that lags": Case(
        model("parameter real low = 2e-10, high = 17e-10, tau = 2e-8;\nreal gap, rate, temp, last;\n"
              "analog function real limited;\ninput u, a, b;\nreal u, a, b;\nreal sharp = 10;\n"
              "if (u > b) limited = b; else if (u < a) limited = a; else limited = u;\nendfunction",
              "@(initial_step) begin gap = 12e-10; temp = 300; end\n"
              "rate = -0.005*exp(-3000/temp)*sinh((16 - 0.8*pow(gap/1e-9, 3))*V(p, n)/2);\n"
              "gap = limited(gap + rate*($abstime - last), low, high);\n"
              "I(p, n) <+ 1e-3*exp(-gap/2.5e-10)*sinh(V(p, n)/0.5);\n"
              "temp = (temp + ($abstime - last)*(3e13*abs(V(p, n)*I(p, n)) + 300/tau))/(1 + ($abstime - last)/tau);\n"
              "last = $abstime;"),
        2e-6, "gap is the voltage of an internal node",
    ),
    "what a timer changes at each tick, by two branches, as a recurrence": Case(
        model("parameter real A = 0.3, a = 1e-4;\nreal c = A, heat, dc;\nreal dt = 2e-9;",
              "@(timer(1e-9, 2e-9, 1e-12)) begin\nheat = 0.5*heat + 0.1*c;\nif (V(p, n) > 0) begin\n"
              "dc = dt*1e5*V(p, n)*(1 - c)*(1 + heat);\nc = c + dc;\nend else begin\ndc = a*c*V(p, n);\nc = c + dc;\n"
              "end\nif (c > 1) c = 1;\nend\nI(p, n) <+ 1e-3*c*V(p, n);"),
        2e-5, "what @(timer) changes at each tick goes there within its period 2e-9",
    ),
    "a time step in a parameter, which is said": Case(
        model("parameter real dt = 1n;\nparameter real h = 5;\nreal x;",
              "x = x + 1e5*h*V(p, n)*dt;\nI(p, n) <+ V(p, n)*(1 + tanh(x))*h/1k;"),
        1e-5, "parameter 'dt' is taken for the time step",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def vacask() -> Iterator[Simulator]:
    with open_simulator("vacask") as simulator:
        yield simulator


@pytest.mark.spice
@pytest.mark.osdi
@pytest.mark.parametrize("name", CASES)
def test_the_repair_is_what_was_written(
    name: str, simulator: Simulator, vacask: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    monkeypatch.setattr(drive, "PERIODS", (case.period,))
    monkeypatch.setattr(drive, "AMPLITUDES", (1.0,))
    monkeypatch.setattr(lint, "TICKS", 1e4)  # for 1e5: a tenth of the time
    monkeypatch.setattr(equivalence, "_READ_STEPS", (5600, 22400))
    file = tmp_path / "m.va"
    file.write_text(case.text)
    repair = fix_file(file, simulator, second=vacask)
    assert repair.clean, repair.to_dict()
    assert any(case.says in done for done in repair.fixed.done), repair.fixed.done
    assert ("taken for the time step" in str(repair.fixed.done)) == ("taken for the time step" in case.says)
    drove = repair.equivalence.drive
    assert drove is not None
    assert drove.sign == case.sign
    assert ("overshoots a bound" in str(repair.equivalence.unverified)) == case.late
    compared = repair.equivalence.comparisons[1:3]
    assert [c.what.split()[2] for c in compared] == ["ngspice", "VACASK"]
    assert max(c.largest for c in compared) < 1e-3  # of full scale


CHARGE = """.subckt mem plus minus
.param ron=100 roff=16k x0=0.3 k=2e4
Gx 0 x value={k*I(Em)}
Cx x 0 1 ic={x0}
Em plus aux value={-I(Em)*V(x)*(roff-ron)}
Ro aux minus {roff}
.ends
"""


def test_a_voltage_that_depends_on_its_own_current() -> None:
    """The charge of a linear drift in closed form: flux = (roff - x0 dr) q - k dr q**2/2."""
    reading = Subcircuit(logical_lines(CHARGE), caret_is_power=True)
    t = np.linspace(0.0, 1e-3, 2001)
    run = reading.run(t, np.sin(2e3 * np.pi * t))
    flux, dr = (1.0 - np.cos(2e3 * np.pi * t)) / (2e3 * np.pi), 15900.0
    a = 16e3 - 0.3 * dr
    q = (a - np.sqrt(a**2 - 2.0 * 2e4 * dr * flux)) / (2e4 * dr)
    # Heun's rule with 2000 steps a period
    assert np.allclose(run.states["x"], 0.3 + 2e4 * q, rtol=0.0, atol=1e-6)


# declarations, the current as the language has it and what it is at 0.7 V and 27 degrees (A)
TWINS = {
    "a power of something negative": ("", "pow(V(p, n) - 1, 3)", (-0.3) ** 3),
    "a power by a parameter": ("parameter real a = 3;", "pow(V(p, n) - 1, a)", (-0.3) ** 3),
    "an even power": ("parameter integer a = 4;", "pow(V(p, n) - 1, a) + (V(p, n) - 1)**2", 0.3**4 + 0.09),
    "a division of integers": ("integer k;\nparameter integer m = 7;", "m/2 + k*0", 3.0),
    "base 10": ("", "log(V(p, n)) + ln(V(p, n))", float(np.log10(0.7) + np.log(0.7))),
    "a function with branches": (
        "analog function real f;\ninput x;\nreal x, y;\nbegin\ny = 2;\nif (x > 0.5) begin y = y*x; f = y + 1; end "
        "else f = -1;\nend\nendfunction",
        "f(V(p, n)) + 10*f(-V(p, n))", 2.4 - 10.0,
    ),
    "the temperature": ("", "$vt + 0*$temperature", 300.15 * 1.380649e-23 / 1.602176634e-19),
    "a local parameter": ("parameter real a = 2;\nlocalparam real b = 3*a;", "a*b*V(p, n)", 8.4),
    "a parameter that chooses": ("parameter integer w = 2;\nreal y;", "y = 9", 0.35),
}  # fmt: skip


@pytest.mark.spice
@pytest.mark.parametrize("name", TWINS)
def test_a_model_without_verilog_a(name: str, simulator: Simulator) -> None:
    declared, value, right = TWINS[name]
    body = f"I(p, n) <+ {value};"
    if name == "a parameter that chooses":
        body = "case (w)\n1: y = 1;\n2: y = 0.5;\nendcase\nif (w == 1) y = 7;\nI(p, n) <+ y*V(p, n);"
    found = va_rules.read(model(declared, body), Path())
    text, notes = subcircuit(found, found.modules[0])
    assert bool(notes) == (name == "a parameter that chooses")
    result = simulator.run(Deck(f"t\nV1 a 0 0.7\n{text}X1 a 0 m\n.op\n.end\n"))
    assert result.ok, result.reason
    assert float(-result["op"]["i(v1)"].values) == pytest.approx(right, rel=1e-9)


@pytest.mark.spice
@pytest.mark.parametrize("name", ["a time that is counted from zero again", "a law that runs away under one sign"])
def test_a_repaired_model_without_verilog_a(
    name: str, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(drive, "PERIODS", (CASES[name].period,))
    monkeypatch.setattr(drive, "AMPLITUDES", (1.0,))
    monkeypatch.setattr(equivalence, "_READ_STEPS", (5600, 22400))
    file, out = tmp_path / "m.va", tmp_path / "m.sub"
    file.write_text(CASES[name].text)
    assert main(["lint", str(file), "--fix", str(out), "--to", "behavioural"]) == 0
    assert "repaired; compared within the limits" in capsys.readouterr().out
    assert "ddt" not in out.read_text()
    assert out.read_text().count(".subckt m p n") == 1


def test_what_a_netlist_cannot_hold_is_said() -> None:
    found = va_rules.read(model("", "I(p, n) <+ absdelay(V(p, n), 1n);"), Path())
    with pytest.raises(Unreadable, match="absdelay"):
        subcircuit(found, found.modules[0])


def test_another_folder_is_read_where_it_is_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, shared = tmp_path / "mine", tmp_path / "shared"
    mine.mkdir()
    shared.mkdir()
    (shared / "units.inc").write_text("`define SIEMENS 2e-3\n`define G `SIEMENS\n")
    text = model("", "I(p, n) <+ `G*V(p, n);")
    for name, include in (("a.va", "units.inc"), ("b.va", "../shared/units.inc")):
        (mine / name).write_text(f'`include "{include}"\n{text}')
        assert main(["lint", str(mine / name)]) == 1
        assert "--allow" in capsys.readouterr().out
        assert main(["lint", str(mine / name), "--allow", str(shared)]) == 0
        assert "the rules found nothing" in capsys.readouterr().out
        assert main(["lint", str(mine / name), "--allow", str(mine)]) == 1  # that folder, and no other
        capsys.readouterr()
    assert main(["lint", str(mine), "--allow", str(shared)]) == 0


def test_a_netlist_of_spectre_is_called_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.va").write_text(
        "// a cell\nsimulator lang=spectre\nsubckt cell (p n)\nr1 (p n) resistor r=1k\nends\n"
    )
    assert main(["lint", str(tmp_path / "m.va")]) == 2
    assert "a netlist in Spectre's language" in capsys.readouterr().err
