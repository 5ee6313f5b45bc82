"""Powers and angles: one meaning in the reading, in OSDI and in a subcircuit, held against closed forms."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from cosim.engines.openvaf import compile_model
from cosim.engines.simulator import Deck, Simulator
from cosim.language.expressions import evaluate
from cosim.language.lt_syntax import dialect, parse_expression
from cosim.lint import va_rules
from cosim.lint.va_behavioural import subcircuit
from cosim.lint.va_reading import ModuleReading

# expression of a = 2, b = 3 and m = -8 -> its value
VERILOG = {
    "a**b**a": 64.0,
    "-a**2": 4.0,
    "2*-a**2": 8.0,
    "a**-b": 0.125,
    "m**3": -512.0,
    "pow(m, 3)": -512.0,
    "pow(m, -1)": -0.125,
    "pow(m, a)": 64.0,
    "atan2(a, m)": math.atan2(2.0, -8.0),
    "atan2(-a, m)": math.atan2(-2.0, -8.0),
    "atan2(-a, b)": math.atan2(-2.0, 3.0),
    "atan2(b, a - 2)": math.pi / 2.0,
    "hypot(a, b)": math.sqrt(13.0),
}
PORTS = [f"o{k}" for k in range(len(VERILOG))]
MODEL = f"""`include "disciplines.vams"
module m(p, n, {", ".join(PORTS)});
inout p, n, {", ".join(PORTS)};
electrical p, n, {", ".join(PORTS)};
parameter real a = 2, b = 3, m = -8;
analog begin
I(p, n) <+ 1m*V(p, n);
{"".join(f"V({port}) <+ {text};" for port, text in zip(PORTS, VERILOG, strict=True))}
end
endmodule
"""


@pytest.mark.parametrize("text", VERILOG)
def test_the_reading_has_the_languages_powers(text: str) -> None:
    model = va_rules.read(MODEL.replace("I(p, n) <+ 1m*V(p, n)", f"I(p, n) <+ {text}"), Path())
    current = ModuleReading(model, model.modules[0], 1e-9).run(np.array([0.0]), np.array([1.0])).i
    assert current[0] == pytest.approx(VERILOG[text], rel=1e-12)


def test_a_sign_before_a_caret_is_the_power_s_as_its_author_means_it() -> None:
    model = va_rules.read(MODEL.replace("I(p, n) <+ 1m*V(p, n)", "I(p, n) <+ 1 - a^2^b"), Path())
    current = ModuleReading(model, model.modules[0], 1e-9).run(np.array([0.0]), np.array([1.0])).i
    assert current[0] == 1.0 - 64.0


@pytest.mark.parametrize(("text", "value"), [("2**3**2", 64.0), ("-2**2", -4.0), ("atan2(-2, 3)", math.atan2(-2, 3))])
def test_a_netlist_s_powers_are_those_of_ngspice(text: str, value: float) -> None:
    tree = parse_expression(text)
    found = evaluate(tree, lambda node: math.nan, lambda node: None, dialect(caret_is_power=False))
    assert found == pytest.approx(value)


@pytest.mark.spice
@pytest.mark.osdi
def test_both_forms_give_the_closed_forms_in_ngspice(simulator: Simulator) -> None:
    model = va_rules.read(MODEL, Path())
    written, _ = subcircuit(model, model.modules[0])
    osdi, netlist = (" ".join(f"{stem}{k}" for k in range(len(VERILOG))) for stem in "qx")
    deck = f"t\nV1 a 0 1\n{written}N1 a 0 {osdi} dut\n.model dut m\nX1 a 0 {netlist} m\n.op\n.end\n"
    data = simulator.run(Deck(deck, osdi=(compile_model(MODEL),)))["op"]
    for k, value in enumerate(VERILOG.values()):
        for stem in "qx":
            assert float(np.ravel(data[f"v({stem}{k})"].values)[0]) == pytest.approx(value, rel=1e-9)
