r"""VTEAM: the voltage-threshold adaptive memristor model.

Source: S. Kvatinsky, M. Ramadan, E. G. Friedman, A. Kolodny, "VTEAM: A General Model for Voltage-Controlled
Memristors", IEEE Trans. Circuits Syst. II 62, 786 (2015). State w between w_on and w_off (m)::

    v > v_off > 0:  dw/dt = k_off (v/v_off − 1)^α_off f_off(w)
    v < v_on < 0:   dw/dt = k_on  (v/v_on − 1)^α_on  f_on(w),   k_on < 0

and, by choice, a linear or an exponential dependence of the resistance on w::

    i = v / (R_on + (R_off − R_on) x),    i = (v/R_on) exp(−x ln(R_off/R_on)),    x = (w − w_on)/(w_off − w_on)

The state here is ``x``: 0 at R_on, 1 at R_off. The source leaves the windows f to the user; here they are rectangular,
continuous within a thousandth of the range (our choice, `limits`). Below 1e-6 the power is continued linearly, so that
its slope is finite for exponents below 1 (our choice, `threshold.power_to_edge`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array, Operand, Param, State, TwoTerminal, Values
from cosim.devices.limits import within
from cosim.devices.reads import slopes, speed
from cosim.devices.threshold import power_to_edge

SOURCE = "IEEE TCAS-II 62, 786 (2015)"


class Vteam(TwoTerminal):
    """VTEAM memristor (module docstring): a positive voltage raises its resistance."""

    name = "vteam"
    title = "VTEAM memristor"
    source = SOURCE
    states = (State("x", "x0", (0.0, 1.0), description="0 at R_on, 1 at R_off"),)
    ordered = (("r_on", "r_off"),)
    params = (
        Param("v_off", 0.02, "V", (1e-6, 100.0), "threshold towards R_off", SOURCE, "drive"),
        Param("v_on", -0.2, "V", (-100.0, -1e-6), "threshold towards R_on", SOURCE, "drive"),
        Param("k_off", 5e-4, "m/s", (0.0, 1e12), "speed towards R_off", SOURCE, "drive"),
        Param("k_on", -10.0, "m/s", (-1e12, 0.0), "speed towards R_on", SOURCE, "drive"),
        Param("alpha_off", 1.0, "1", (0.1, 20.0), "exponent towards R_off", SOURCE, "drive"),
        Param("alpha_on", 3.0, "1", (0.1, 20.0), "exponent towards R_on", SOURCE, "drive"),
        Param("r_on", 50.0, "Ohm", (1e-3, 1e12), "resistance at w_on", SOURCE, "range"),
        Param("r_off", 1000.0, "Ohm", (1e-3, 1e15), "resistance at w_off", SOURCE, "range"),
        Param("length", 3e-9, "m", (1e-12, 1.0), "w_off − w_on", SOURCE),
        Param("exponential", 0.0, "1", (0.0, 1.0), "resistance against state: 0 linear, 1 exponential", SOURCE),
        Param("x0", 0.5, "1", (0.0, 1.0), "initial state"),
    )

    elsewhere = (
        {"alpha_off": 2.0, "alpha_on": 2.0},
        {"k_off": 3.0, "k_on": 3.0},
        {"v_off": 0.6, "v_on": 0.6},
        {"v_off": 1.5, "v_on": 1.5, "alpha_off": 0.5, "alpha_on": 0.5},
    )

    def guess(self, kind: str, columns: Mapping[str, Array], *, rows: NDArray[np.bool_], p: Values) -> dict[str, float]:
        """Both resistances, the first state, thresholds at half of the largest voltages and the speeds beyond them."""
        if kind != "loop":
            return {}
        t, v, current = (columns[name][rows] for name in ("time", "voltage", "current"))
        seen = slopes(v, current)[0]
        top = float(np.quantile(seen, 0.98))
        r_on, r_off = 1.0 / top, 1.0 / max(float(np.quantile(seen, 0.02)), 1e-3 * top)
        first = 1.0 / max(float(np.median(seen[:3])), 1e-3 * top)
        found = {"r_on": r_on, "r_off": r_off}
        found["x0"] = float(np.clip((first - r_on) / (r_off - r_on), 0.02, 0.98)) if r_off > r_on else 0.5
        for side, sign in (("off", 1.0), ("on", -1.0)):
            top = float(np.max(sign * v))
            if top > 0.0:
                found[f"v_{side}"] = sign * 0.5 * top
                drive = np.maximum(sign * v / (0.5 * top) - 1.0, 0.0) ** float(p[f"alpha_{side}"])
                found[f"k_{side}"] = sign * float(p.length) * speed(t, drive)
        return found

    def drive_level(self, p: Values) -> float:
        """1.12 times the larger threshold (V)."""
        return 1.12 * float(max(p.v_off, -p.v_on))

    def pulse_width(self, p: Values) -> float:
        """A twentieth of the time (s) that the whole range takes upwards at the drive level."""
        v = self.drive_level(p)
        return 0.05 * float(p.length / (p.k_off * (v / p.v_off - 1.0) ** p.alpha_off))

    def current(self, v: Operand, x: Values, p: Values) -> Operand:
        """Current (A) at ``v`` (V): ohmic in the state."""
        linear = p.r_on + (p.r_off - p.r_on) * x.x
        exponential = p.r_on * np.exp(x.x * np.log(p.r_off / p.r_on))
        return v / np.where(p.exponential > 0.5, exponential, linear)

    def drift(self, v: Operand, x: Values, p: Values) -> Mapping[str, Operand]:
        """dx/dt (1/s) at ``v`` (V)."""
        off = p.k_off * power_to_edge(v / p.v_off - 1.0, p.alpha_off)
        on = p.k_on * power_to_edge(v / p.v_on - 1.0, p.alpha_on)
        return {"x": within((off + on) / p.length, x.x)}
