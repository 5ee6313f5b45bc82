"""``lint --fix`` on models in the ways of published ones: in ngspice and in VACASK as they were written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cosim.engines.registry import open_simulator
from cosim.engines.simulator import Simulator
from cosim.language.netlist import logical_lines
from cosim.lint import drive, equivalence
from cosim.lint.lint import fix_file
from cosim.lint.lt_reading import Subcircuit

HEAD = '`include "disciplines.vams"\nmodule m(p, n);\ninout p, n;\nelectrical p, n;\n'


def model(declared: str, body: str) -> str:
    return f"{HEAD}{declared}\nanalog begin\n{body}\nend\nendmodule\n"


@dataclass(frozen=True)
class Case:
    """A model, the one period (s) that is tried, words of what was done, and the sign of the drive that is needed."""

    text: str
    period: float
    says: str
    sign: int = 0


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
    "a law that runs away under one sign": Case(
        model("real x, last;",
              "@(initial_step) x = 0.5;\n"
              "x = x + ($abstime - last)*(V(p, n) < 0 ? 1e6*V(p, n)*x : 1e14*V(p, n)*exp(99*x));"
              "\nI(p, n) <+ 1e-3*x*V(p, n);\nlast = $abstime;"),
        1e-6, "x is the voltage of an internal node", sign=-1,
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
