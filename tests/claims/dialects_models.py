"""Memristor models in the ways in which Verilog-A and netlists have them, each with its state in closed form.

The state is a function of the flux, the voltage's integral, so that under a sine it is known: of four laws. Each is
written in nine ways of Verilog-A, none of which an OSDI engine runs as it stands, and in five of other simulators'
netlists, none of which ngspice does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
X0, RATE = 0.3, 1e6  # the state at first, and 1/(V s)
PERIOD, VOLTS = 1e-6, 1.0


@dataclass(frozen=True)
class Law:
    """dx/dt as text of x and the voltage, and x of the flux (V s)."""

    rate: str
    state: Callable[[Array], Array]


LAWS = {
    "linear drift": Law("k*V(p, n)", lambda flux: X0 + RATE * flux),
    "a window": Law("k*V(p, n)*4*x*(1 - x)", lambda flux: 1 / (1 + (1 / X0 - 1) * np.exp(-4 * RATE * flux))),
    "growth": Law("k*V(p, n)*x", lambda flux: X0 * np.exp(RATE * flux)),
    "towards an end": Law("k*V(p, n)*(1 - x)", lambda flux: 1 - (1 - X0) * np.exp(-RATE * flux)),
}
HEAD = '`include "disciplines.vams"\n{before}module model(p, n);\ninout p, n;\nelectrical p, n;\n'
_K = "parameter real k = 1e6, x0 = 0.3;\n"
_OUT = "I(p, n) <+ 1e-3*(0.1 + x)*V(p, n);\n"
_BOUNDS = "if (x > 2) x = 2; else if (x < -2) x = -2;\n"
# way -> (before the module, declarations, analog block); {} is the rate
WAYS = {
    "the difference of two times": (
        "", _K + "real x, last;\n",
        "@(initial_step) x = x0;\nx = x + ({})*($abstime - last);\nlast = $abstime;\n" + _OUT,
    ),
    "a step in a variable, and bounds": (
        "", _K + "real x, last, step;\n",
        "@(initial_step) begin x = x0; last = 0; end\nstep = $abstime - last;\nx = x + ({})*step;\n" + _BOUNDS + _OUT
        + "last = $abstime;\n",
    ),
    "a step in a parameter": (
        "", _K + "parameter real dt = 1n;\nreal x;\n", "@(initial_step) x = x0;\nx = x + dt*({});\n" + _OUT,
    ),
    "the state of the last step": (
        "", _K + "real x, x_last, time, before;\n",
        "@(initial_instance) x_last = x0;\ntime = $realtime;\nx = x_last;\nx = x_last + ({})*(time - before);\n" + _OUT
        + "x_last = x;\nbefore = time;\n",
    ),
    "an increment of its own": (
        "", _K + "real x, last, dx;\n",
        "@(initial_step) x = x0;\ndx = ({})*($abstime - last);\nx = x + dx;\nlast = $abstime;\n" + _OUT,
    ),
    "idt with a start": ("", _K + "real x;\n", "x = idt({}, x0);\n" + _OUT),
    "a first step that is asked for": (
        "", _K + "parameter real dt = 1n;\nreal x, first;\n",
        "if (first == 0) x = x0;\nfirst = 1;\nx = x + dt*({});\n" + _OUT,
    ),
    "descriptions, commas in ranges and a spare ground": (
        "`define attr(txt) (*txt*)\n",
        'parameter real k = 1e6 from (0, inf) `attr(info="k" type="instance");\nparameter real x0 = .3 from [0, 1];\n'
        "electrical gnd;\nground gnd;\nreal x, last;\n",
        "@(initial_step) x = x0;\nx = x + ({})*($abstime - last);\nlast = $abstime;\n" + _OUT,
    ),
    "random numbers": (
        "", _K + "integer seed;\nreal x, last;\n",
        "@(initial_step) x = x0;\nx = x + ({})*(1 + $rdist_normal(seed, 0, 0.1))*($abstime - last);\nlast = $abstime;\n"
        + _OUT,
    ),
}  # fmt: skip


# way -> a netlist; {} is the rate, of x and v
NETLISTS = {
    "LTspice, a capacitor that starts": (
        ".subckt model p n params: k=1e6 x0=0.3\n.func rate(x,v) {{}}\nGx 0 x value={rate(V(x),V(p,n))}\n"
        "Cx x 0 1 IC={x0}\nGm p n value={1m*(0.1+limit(V(x),-9,9))*V(p,n)}\n.ends\n"
    ),
    "LTspice, an integral": (
        ".subckt model p n params: k=1e6 x0=0.3\n.func rate(x,v) {{}}\nEx x 0 value={x0+idt(rate(V(x),V(p,n)))}\n"
        "Gm p n value={if(V(p,n)>0, 1m, 1m)*(0.1+V(x))*V(p,n)}\n.ends\n"
    ),
    "LTspice, an ammeter and a resistance": (
        ".subckt model p n params: k=1e6 x0=0.3\n.func rate(x,v) {{}}\nBx 0 x I=rate(V(x),V(p,n))*stp(1)\nVx x y 0\n"
        "Cx y 0 1 IC={x0}\nBm p n R=1k/(0.1+V(x))\n.ends\n"
    ),
    "PSpice, VALUE without a sign": (
        ".subckt model p n params: k=1e6 x0=0.3\n.func rate(x,v) {{}}\n"
        "Gx 0 x VALUE {LIMIT(rate(V(x),V(p,n)),-9e9,9e9)}\nCx x 0 1 IC={x0}\n"
        "Gm p n VALUE {1m*(0.1+V(x))*V(p,n)}\n.ends\n"
    ),
    "HSPICE, its ground and quotes": (
        ".global gnd!\n.subckt model p n k=1e6 x0=0.3\n.param rate(x,v)='{}'\nGx gnd! x cur='rate(V(x,gnd!),V(p,n))'\n"
        "Cx x gnd! C=1 IC='x0'\nGm p n cur='pwr(1m*(0.1+V(x))*V(p,n),1)'\n.ends\n"
    ),
}  # fmt: skip


def netlists() -> Iterator[tuple[str, str, Law]]:
    """Name, text and law of each."""
    for way, text in NETLISTS.items():
        for name, law in LAWS.items():
            yield f"{name}: {way}", text.replace("{}", law.rate.replace("V(p, n)", "v")), law


def models() -> Iterator[tuple[str, str, Law]]:
    """Name, text and law of each."""
    for way, (before, declared, body) in WAYS.items():
        for name, law in LAWS.items():
            head = HEAD.replace("{before}", before)
            yield f"{name}: {way}", f"{head}{declared}analog begin\n{body.replace('{}', law.rate)}end\nendmodule\n", law


def current(law: Law, t: Array) -> Array:
    """A, into the model under ``VOLTS`` of sine from t = 0."""
    phase = 2 * math.pi * t / PERIOD
    flux = VOLTS * PERIOD / (2 * math.pi) * (1 - np.cos(phase))
    return 1e-3 * (0.1 + law.state(flux)) * VOLTS * np.sin(phase)
