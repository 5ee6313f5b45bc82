"""A clipper: two antiparallel diodes behind a resistor, each with a series resistance of its own, as a static device.

A public fit problem of a differentiable circuit simulator is of this kind: 25 noisy points and six parameters, of which
saturation current and ideality of a diode trade against each other. The numbers here are our choice.

A diode with a series resistance has the closed form
i = (n V_T/R_s) ω(ln(I_s R_s/(n V_T)) + (u + I_s R_s)/(n V_T)) − I_s with Wright's function ω (Banwell & Jayakumar,
Electron. Lett. 36, 291 (2000)); the node between resistor and diodes is found by Newton's method, which converges from
the outside because the current is convex there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import wrightomega

from cosim.data.recording import Curve
from cosim.devices.base import Array, DeviceModel, Operand, Param, Port, Values
from cosim.fitting.recipe import FitRecipe

THERMAL = 0.025852  # V, at 300 K
SERIES = 1000.0  # Ω, known
NAMES = ("i_s1", "n_1", "r_1", "i_s2", "n_2", "r_2")
TRUTH = {"i_s1": 3e-9, "n_1": 1.8, "r_1": 45.0, "i_s2": 8e-9, "n_2": 2.1, "r_2": 90.0}
VOLTAGES = np.linspace(-2.0, 2.0, 25)
NOISE = 0.005  # of the largest current


class Clipper(DeviceModel):
    """The current into resistor and diodes (module docstring)."""

    name = "clipper"
    title = "Two antiparallel diodes behind a resistor"
    source = "our choice"
    ports = (Port("input", ("a", "b")),)
    params = tuple(
        Param(f"{what}{k}", default, unit, bounds, f"{text} of diode {k}")
        for k in (1, 2)
        for what, default, unit, bounds, text in (
            ("i_s", 1e-9, "A", (1e-15, 1e-4), "saturation current"),
            ("n_", 1.5, "1", (0.5, 5.0), "ideality"),
            ("r_", 50.0, "ohm", (1e-3, 1e5), "series resistance"),
        )
    )

    def through(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """The current (A) at the input."""
        v: Any = across["input"]
        node = np.array(np.broadcast_arrays(v + 0.0 * p.i_s1 * p.n_1 * p.r_1 * p.i_s2 * p.n_2 * p.r_2)[0], dtype=float)
        for _ in range(60):
            one, slope_one = _diode(node, p.i_s1, p.n_1, p.r_1)
            two, slope_two = _diode(-node, p.i_s2, p.n_2, p.r_2)
            step = ((node - v) / SERIES + one - two) / (1.0 / SERIES + slope_one + slope_two)
            node = node - step
            if np.abs(step).max() < 1e-14:
                break
        return {"input": (v - node) / SERIES}


def _diode(u: Array, i_s: Any, n: Any, r: Any) -> tuple[Array, Array]:
    """Current (A) and its slope (S) at a voltage over diode and series resistance."""
    size = n * THERMAL
    current = size / r * wrightomega(np.log(i_s * r / size) + (u + i_s * r) / size).real
    return current - i_s, 1.0 / (r + size / np.maximum(current, 1e-300))


def recipe() -> FitRecipe:
    """All six from a static curve, from the defaults."""
    return FitRecipe.model_validate(
        {"name": "clipper", "device": "clipper", "data": {"kind": "i-v"}, "fit": {"vary": NAMES}}
    )


def lab(rng: np.random.Generator) -> Curve:
    """25 points, read with noise."""
    model = Clipper()
    clean = np.asarray(model.through({"input": VOLTAGES}, Values({}), model.values(TRUTH))["input"])
    noise = NOISE * float(np.abs(clean).max()) * rng.standard_normal(clean.size)
    return Curve.i_v(VOLTAGES, clean + noise)
