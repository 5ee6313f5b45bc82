"""Decks in the ways of designers, each with what it measures: in closed form, or in ngspice as it is.

A deck of ngspice's own language, with or without a control block, has to give what ``ngspice -b`` prints of it; one of
another simulator's has to give the closed form once ``cosim lint --fix`` has repaired it; one that nothing could run
has to be refused with what to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

V = 0.7  # V, at node a
READ = ".tran 1n 10n\n.meas tran y find v(out) at=5n\n"


@dataclass(frozen=True)
class DeckCase:
    """A deck without title and end. ``right``: measures in closed form, kept to ``close`` (relative).

    ``of``: "ngspice", "control" (with a control block), "foreign" (another simulator's), "refused" (``says`` in its
    reason).
    """

    name: str
    of: str
    text: str
    right: dict[str, float] = field(default_factory=dict)
    close: float = 1e-6
    says: str = ""


FUNCTIONS = {
    "sin(V(a))": math.sin(V), "cos(V(a))": math.cos(V), "tan(V(a))": math.tan(V), "exp(V(a))": math.exp(V),
    "ln(V(a))": math.log(V), "log10(V(a))": math.log10(V), "sqrt(V(a))": math.sqrt(V), "abs(-V(a))": V,
    "sgn(-V(a))": -1.0, "V(a)**2": V**2, "pow(V(a),3)": V**3, "min(V(a),0.5)": 0.5, "max(V(a),0.9)": 0.9,
    "floor(3*V(a))": 2.0, "ceil(3*V(a))": 3.0, "sinh(V(a))": math.sinh(V), "cosh(V(a))": math.cosh(V),
    "tanh(V(a))": math.tanh(V), "atan(V(a))": math.atan(V), "u(V(a))": 1.0, "uramp(-V(a))": 0.0,
    "V(a) > 0.5 ? 3 : 4": 3.0, "pwl(V(a), 0,0, 1,2)": 2 * V, "(V(a) > 0) && (V(a) < 1)": 1.0,
}  # fmt: skip
LTSPICE = {
    "limit(V(a), 0, 0.5)": 0.5, "if(V(a) > 0.5, 3, 4)": 3.0, "pwrs(-V(a), 2)": -(V**2), "buf(V(a))": 1.0,
    "inv(V(a))": 0.0, "stp(V(a))": 1.0, "hypot(V(a), 2.4)": math.hypot(V, 2.4), "int(3*V(a))": 2.0,
    "round(V(a))": 1.0, "arctan(V(a))": math.atan(V), "table(V(a), 0, 0, 1, 3)": 3 * V, "pwr(-V(a), 2)": V**2,
    "V(a) & 1": 1.0, "V(a)*{2*3}": 6 * V, "echarge/boltz": 1.602176634e-19 / 1.380649e-23,
}  # fmt: skip
RC = "V1 in 0 dc 0 ac 1 pulse(0 1 1n 1p 1p 1 2)\nR1 in out 1k\nC1 out 0 1p\n"
_EDGE = 1.0 - math.exp(-1.0)
PLAIN = {
    "divider": ("V1 a 0 1\nR1 a out 1k\nR2 out 0 3k\n" + READ, {"y": 0.75}, 1e-6),
    "suffixes": ("V1 a 0 1\nR1 a out 1Meg\nR2 out 0 3000k\n" + READ, {"y": 0.75}, 1e-6),
    "a subcircuit with parameters": (
        ".subckt part a b r=1k\nR1 a b {2*r}\n.ends\nV1 a 0 1\nX1 a out part\nX2 out 0 part r=3k\n" + READ,
        {"y": 0.75}, 1e-6,
    ),
    "nested subcircuits": (
        ".subckt one a b\nR1 a b 1k\n.ends\n.subckt two a b\nX1 a c one\nX2 c b one\n.ends\nV1 a 0 1\nX1 a out two\n"
        "X2 out 0 one\n" + READ, {"y": 1 / 3}, 1e-6,
    ),
    "parameters of parameters": (
        ".param r=1k k='3*r'\nV1 a 0 1\nR1 a out {r}\nR2 out 0 {k}\n" + READ, {"y": 0.75}, 1e-6,
    ),
    "a function of the user's": (".func f(x) {x*x+1}\nV1 a 0 2\nB1 out 0 V=f(V(a))\n" + READ, {"y": 5.0}, 1e-6),
    "a conditional": (".param m=1\n.if (m==1)\nV1 out 0 3\n.else\nV1 out 0 5\n.endif\nR1 out 0 1k\n" + READ,
                      {"y": 3.0}, 1e-6),
    "controlled sources": (
        "V1 a 0 1\nR0 a 0 1k\nE1 b 0 a 0 2\nR1 b 0 1k\nG1 0 c a 0 1m\nR2 c 0 500\nF1 0 d v1 -500\nR3 d 0 1\n"
        "H1 out 0 v1 -3k\nR4 out 0 1k\n" + READ, {"y": 3.0}, 1e-6,
    ),
    "a temperature": ("V1 a 0 1\nR1 a out 1k tc1=0.01\nR2 out 0 1k\n.temp 127\n" + READ, {"y": 1 / 3}, 1e-6),
    "a diode": ("I1 0 out 1m\nD1 out 0 dx\n.model dx d is=1e-14\n" + READ,
                {"y": 8.617333262e-5 * 300.15 * math.log(1e-3 / 1e-14 + 1)}, 1e-4),
    "a bipolar transistor": ("V1 c 0 2\nI1 0 b 1u\nQ1 c b 0 qx\n.model qx npn bf=100 is=1e-16\nH1 out 0 v1 -1\n" + READ,
                             {"y": 1e-4}, 1e-4),
    "a field-effect transistor": (
        "V1 d 0 3\nV2 g 0 2\nM1 d g 0 0 mx w=10u l=1u\n.model mx nmos level=1 vto=1 kp=100u\nH1 out 0 v1 -1\n" + READ,
        {"y": 0.5e-3}, 1e-4,
    ),
    "an edge of an RC": (RC + ".tran 1p 5n\n.meas tran y find v(out) at=2n\n", {"y": _EDGE}, 1e-3),
    "an edge of an RL": ("V1 in 0 pulse(0 1 1n 1p 1p 1 2)\nR1 in out 1k\nL1 out 0 1u\n.tran 1p 5n\n"
                         ".meas tran y find v(out) at=2n\n", {"y": math.exp(-1.0)}, 2e-3),
    "a crossing": (RC + ".tran 1p 5n\n.meas tran y when v(out)=0.5 rise=1\n", {"y": 1e-9 + 1e-9 * math.log(2)}, 1e-3),
    "a delay": (RC + ".tran 1p 5n\n.meas tran y trig v(in) val=0.5 rise=1 targ v(out) val=0.5 rise=1\n",
                {"y": 1e-9 * math.log(2)}, 1e-3),
    "a piecewise line": ("V1 out 0 pwl(0 0 10n 1)\nR1 out 0 1k\n" + READ, {"y": 0.5}, 1e-6),
    "a sine": ("V1 out 0 sin(0 1 50meg)\nR1 out 0 1k\n.tran 10p 10n\n.meas tran y max v(out)\n", {"y": 1.0}, 1e-3),
    "a root of the mean square": ("V1 out 0 sin(0 1 100meg)\nR1 out 0 1k\n.tran 10p 10n\n.meas tran y rms v(out)\n",
                                  {"y": math.sqrt(0.5)}, 1e-3),
    "an integral": ("V1 out 0 2\nR1 out 0 1k\n.tran 10p 10n\n.meas tran y integ v(out) from=0 to=10n\n",
                    {"y": 2e-8}, 1e-3),
    "a sweep": ("V1 a 0 1\nR1 a out 1k\nR2 out 0 1k\n.dc v1 0 2 0.1\n.meas dc y find v(out) at=1\n", {"y": 0.5}, 1e-6),
    "coupled coils": ("V1 a 0 sin(0 1 100meg)\nL1 a 0 1u\nL2 out 0 4u\nK1 L1 L2 0.999999\nR1 out 0 1meg\n"
                      ".tran 10p 10n\n.meas tran y max v(out)\n", {"y": 2.0}, 2e-3),
    "a line": ("V1 in 0 pulse(0 2 1n 1p 1p 1 2)\nR1 in a 50\nT1 a 0 out 0 z0=50 td=2n\nR2 out 0 50\n.tran 10p 5n\n"
               ".meas tran y find v(out) at=4n\n", {"y": 1.0}, 1e-3),
    "a switch": ("V1 out 0 1\nV2 c 0 2\nS1 out b c 0 sx\nR1 b 0 1k\n.model sx sw vt=1 ron=1 roff=1g\n"
                 ".tran 1n 10n\n.meas tran y find v(b) at=5n\n", {"y": 1000 / 1001}, 1e-6),
    "an initial condition": ("C1 out 0 1n\nR1 out 0 1k\n.ic v(out)=1\n.tran 1n 2u\n.meas tran y find v(out) at=1u\n",
                             {"y": math.exp(-1.0)}, 1e-3),
    "continued lines": ("V1 a 0\n+ 1\nR1 a out\n+ 1k\nR2 out 0 1k ; half\n* a comment\n" + READ, {"y": 0.5}, 1e-6),
}  # fmt: skip
CONTROL = {
    "an analysis and a measure": "tran 1p 5n\nmeas tran y find v(out) at=2n\n",
    "plots": "tran 1p 5n\nplot v(out)\nmeas tran y max v(out)\n",
    "settings that change nothing": "set nounits\nset filetype=ascii\ntran 1p 5n\nsettype voltage v(out)\n"
                                    "meas tran y find v(out) at=2n\n",
    "scalars": "let tend = 5n\nlet st = tend/5000\ntran $&st $&tend\nmeas tran y find v(out) at=2n\n",
    "run": "run\nmeas tran y find v(out) at=2n\nprint y\n",
    "a response": "ac dec 100 1meg 10g\nmeas ac y when vdb(out)=-3.0103 fall=1\n",
    "listings": "listing\nshow all\ntran 1p 5n\nmeas tran y max v(out)\n",
    "an option": "option reltol=1e-5\ntran 1p 5n\nmeas tran y find v(out) at=2n\n",
}  # fmt: skip
FOREIGN = {
    "a capacitor that starts": ("C1 out 0 1n IC=1\nR1 out 0 1k\n.tran 1n 2u\n.meas tran y find v(out) at=1u\n",
                                math.exp(-1.0), 1e-3),
    "a number with a letter inside": ("V1 a 0 1\nR1 a out 4k7\nR2 out 0 4.7k\n" + READ, 0.5, 1e-6),
    "a table": ("V1 a 0 0.25\nE1 out 0 TABLE {V(a)} = (0,0) (1,4)\nR1 out 0 1k\n" + READ, 1.0, 1e-6),
    "an integral": ("V1 a 0 2\nB1 out 0 V=sdt(V(a))*1e8\nR1 out 0 1k\n.tran 10p 10n\n"
                    ".meas tran y find v(out) at=5n\n", 1.0, 1e-3),
    "an expression without braces": (".param r=1k\nV1 a 0 1\nR1 a out 3*1k\nR2 out 0 1k\n" + READ, 0.25, 1e-6),
}  # fmt: skip
REFUSED = {
    "a program": ("V1 a 0 1\nR1 a 0 1k\n.control\nshell date\n.endc\n", ".control"),
    "a file outside": (".include /etc/hostname\nV1 a 0 1\nR1 a 0 1k\n.op\n", "outside"),
    "a step": (".param r=1k\nV1 a 0 1\nR1 a 0 {r}\n.step param r 1k 3k 1k\n.op\n", "cosim new bench --from"),
}


def cases() -> Iterator[DeckCase]:
    """All of them."""
    for expression, value in FUNCTIONS.items():
        text = f"V1 a 0 {V}\nB1 out 0 V={expression}\nR1 out 0 1k\n{READ}"
        yield DeckCase(expression, "ngspice", text, {"y": value})
    for name, (text, values, close) in PLAIN.items():
        yield DeckCase(name, "ngspice", text, values, close)
    for name, block in CONTROL.items():
        yield DeckCase(name, "control", f"{RC}.tran 1p 5n\n.control\n{block}.endc\n" if name == "run" else
                       f"{RC}.control\n{block}.endc\n")  # fmt: skip
    for expression, value in LTSPICE.items():
        text = f"V1 a 0 {V}\nB1 out 0 V={expression}\nR1 out 0 1k\n{READ}"
        yield DeckCase(f"LTspice's {expression}", "foreign", text, {"y": value})
    for name, (text, right, close) in FOREIGN.items():
        yield DeckCase(name, "foreign", text, {"y": right}, close)
    for name, (text, says) in REFUSED.items():
        yield DeckCase(name, "refused", text, says=says)
