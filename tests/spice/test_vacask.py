"""VACASK runs the same circuit as ngspice, or says which line it cannot run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cosim.engines.simulator import Deck, Outcome, Simulator
from cosim.engines.vacask import ngspice_name

pytestmark = [pytest.mark.spice, pytest.mark.vacask]

TIGHT = {"reltol": 1e-5, "abstol": 1e-14, "vntol": 1e-8, "method": "trap", "gmin": 1e-12}
SOURCES = {
    "dc": "DC 0.7",
    "bare value": "0.7",
    "expression": "{vdd*2 - 1m}",
    "pulse": "PULSE(0.1 0.9 100n 10n 20n 200n 500n)",
    "pulse with zero edges": "pulse 0 1 50n 0 0 1u 2u",
    "pulse with dc": "dc 0.2 ac 1 pulse (0.2, 1, 0, 5n, 5n, 100n, 300n)",
    "pwl": "PWL(0 0 100n 1 101n 0.5 600n -0.5)",
    "pwl that starts late": "pwl(100n 0.3 200n 1)",
    "pwl in several lines": "pwl\n+ (0 0\n+ 1e-7 1\n+ 2e-7 0)",
    "sine": "sin(0.5 0.4 5meg)",
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", ["V", "I"])
def test_sources_are_the_same_in_both_engines(engine: Callable[[str], Simulator], source: str, kind: str) -> None:
    text = f"""source
.param vdd=0.35
{kind}1 0 drive {SOURCES[source]}
Rl drive 0 1
R1 drive 7 1k
C1 7 0 {{20p*vdd/0.35}}
.tran 1n 1u 0 1n
"""
    times = np.linspace(0, 1e-6, 997)
    found = []
    for name in ("pyspice", "vacask"):
        data = engine(name).run(Deck(text, options=TIGHT)).require()["tran"]
        found.append({key: np.interp(times, data["time"].values, data[key].values) for key in ("v(drive)", "v(7)")})
    # Both step by at most 1 ns with tau = 20 ns: corners fall between points, off by a fraction of one step's slope.
    np.testing.assert_allclose(found[0]["v(drive)"], found[1]["v(drive)"], atol=2e-3)
    np.testing.assert_allclose(found[0]["v(7)"], found[1]["v(7)"], atol=1e-3)


REFUSED = {
    "element": ("M1 a a 0 0 n", "this element"),
    "inductor": ("L1 a 0 1n", "this element"),
    "initial voltage": ("C1 a 0 1p ic=1", "more than a plain value"),
    "temperature coefficient": ("R2 a 0 1k tc1=1", "more than a plain value"),
    "exp source": ("V2 b 0 exp(0 1 1n 1n)", "a source with 'exp'"),
    "damped sine": ("V2 b 0 sin(0 1 1k 1n)", "a SIN other than"),
    "odd pwl": ("V2 b 0 pwl(0 1 2)", "a PWL with 3 values"),
    "falling times": ("V2 b 0 pwl(0 1 2n 1 1n 0)", "a PWL whose times do not rise"),
    "long pulse": ("V2 b 0 pulse(0 1 2 3 4 5 6 7 8)", "a PULSE with 9 values"),
    "short pulse": ("V2 b 0 pulse(0 1 50n)", "a PULSE with 3 values"),
    "built-in model": (".model n nmos", "a model other than a Verilog-A module"),
    "initial condition": (".ic v(a)=1", ".ic"),
    "measure": (".meas tran x max v(a)", ".meas"),
    "option": (".options rshunt=1e12", "option rshunt"),
    "function": (".param q={max(1,2) > 1}", "the expression"),
    "second analysis": (".op", "anything but one .tran"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_it_cannot_be_given_is_named_with_its_line(engine: Callable[[str], Simulator], what: str) -> None:
    line, message = REFUSED[what]
    result = engine("vacask").run(Deck(f"t\nV1 a 0 1\nR1 a 0 1k\n{line}\n.tran 1n 10n\n"))
    assert result.outcome is Outcome.REFUSED
    assert result.reason.startswith(f"line 4: VACASK cannot run {message}")


@pytest.mark.parametrize("tran", ["1n 10n uic", "1n {stop}", "1n 10n 5n", "1n"])
def test_transients_other_than_plain_ones_are_refused(engine: Callable[[str], Simulator], tran: str) -> None:
    result = engine("vacask").run(Deck(f"t\n.param stop=1u\nV1 a 0 1\nR1 a 0 1k\n.tran {tran}\n"))
    assert result.outcome is Outcome.REFUSED
    assert result.reason.startswith("line 5: VACASK cannot run a .tran")


@pytest.mark.osdi
def test_its_own_refusal_leads_back_to_the_line(engine: Callable[[str], Simulator], verilog_rc: Path) -> None:
    text = "t\nV1 a 0 1\n\n.model m cosim_test_rc\n+ nothing=1\nN1 a 0 m\n.tran 1n 10n\n"
    result = engine("vacask").run(Deck(text, osdi=(verilog_rc,)))
    assert result.outcome is Outcome.REFUSED
    assert result.reason.startswith("line 4: ")
    assert "nothing" in result.reason


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("out", ("v(out)", "voltage")),
        ("x1:mid", ("v(x1.mid)", "voltage")),
        ("v1:flow(br)", ("i(v1)", "current")),
        ("x1:x2:vs:flow(br)", ("i(v.x1.x2.vs)", "current")),
        ("n1:w", ("v(n1#w)", "voltage")),
        ("x1:n1:flow(w)", ("v(n.x1.n1#flow(w))", "voltage")),
        ("_7", ("v(7)", "voltage")),
        ("time", ("time", "time")),
    ],
)
def test_names(name: str, expected: tuple[str, str]) -> None:
    assert ngspice_name(name, {"_7": "7"}) == expected
