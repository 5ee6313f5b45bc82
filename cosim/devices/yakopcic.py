r"""Yakopcic's generalised memristive device model.

Source: C. Yakopcic, T. M. Taha, G. Subramanyam, R. E. Pino, "Generalized Memristive Device SPICE Model and its
Application in Circuit Design", IEEE Trans. Comput.-Aided Des. 32, 1201 (2013); first in IEEE Electron Device Lett. 32,
1436 (2011). State x in [0, 1]::

    I = a1 x sinh(b V)   V >= 0        I = a2 x sinh(b V)   V < 0
    g = A_p (e^V − e^V_p)   V > V_p        g = −A_n (e^−V − e^V_n)   V < −V_n        0 between
    dx/dt = η g(V) f(x)
    f = exp(−α_p (x − x_p)) (1 − x)/(1 − x_p)   η g > 0, x >= x_p        1 below x_p
    f = exp(α_n (x + x_n − 1)) x/(1 − x_n)      η g < 0, x <= 1 − x_n    1 above 1 − x_n

V counts in volts in e^V. The source's window (x_p − x)/(1 − x_p) + 1 is written as (1 − x)/(1 − x_p), which it is.
V is limited to ±60 V in the exponentials (our choice).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array, Operand, Param, State, TwoTerminal, Values
from cosim.devices.reads import speed

SOURCE = "IEEE TCAD 32, 1201 (2013)"
EXPONENT_LIMIT = 60.0


class Yakopcic(TwoTerminal):
    """Yakopcic memristor (module docstring): a positive voltage raises its conductance where η is 1."""

    name = "yakopcic"
    title = "Yakopcic memristor"
    source = SOURCE
    states = (State("x", "x0", (0.0, 1.0), description="0 insulating, 1 conducting"),)
    params = (
        Param("a1", 0.17, "A", (0.0, 1e3), "current scale for V >= 0", SOURCE),
        Param("a2", 0.17, "A", (0.0, 1e3), "current scale for V < 0", SOURCE),
        Param("b", 0.05, "1/V", (1e-6, 100.0), "curvature of the current", SOURCE),
        Param("v_p", 0.16, "V", (0.0, 50.0), "positive threshold", SOURCE),
        Param("v_n", 0.15, "V", (0.0, 50.0), "negative threshold (magnitude)", SOURCE),
        Param("a_p", 4000.0, "1/s", (0.0, 1e15), "speed above the positive threshold", SOURCE),
        Param("a_n", 4000.0, "1/s", (0.0, 1e15), "speed below the negative threshold", SOURCE),
        Param("x_p", 0.3, "1", (0.0, 0.999), "state from which rising slows", SOURCE),
        Param("x_n", 0.5, "1", (0.0, 0.999), "1 − x_n: state from which falling slows", SOURCE),
        Param("alpha_p", 1.0, "1", (0.0, 50.0), "decay of the rising speed", SOURCE),
        Param("alpha_n", 5.0, "1", (0.0, 50.0), "decay of the falling speed", SOURCE),
        Param("eta", 1.0, "1", (-1.0, 1.0), "direction: 1 or −1", SOURCE),
        Param("x0", 0.11, "1", (0.0, 1.0), "initial state", SOURCE),
    )

    elsewhere = (
        {"v_p": 0.6, "v_n": 0.6},
        {"b": 3.0, "a1": 0.3, "a2": 0.3},
        {"v_p": 1.5, "v_n": 1.5, "a_p": 3.0, "a_n": 3.0},
    )

    def guess(self, kind: str, columns: Mapping[str, Array], *, rows: NDArray[np.bool_], p: Values) -> dict[str, float]:
        """Current scales, the first state, thresholds at half of the largest voltages and the speeds beyond them."""
        if kind != "loop":
            return {}
        t, v, current = (columns[name][rows] for name in ("time", "voltage", "current"))
        found, state = {}, np.zeros(0)
        shown = np.abs(v) > 0.15 * np.abs(v).max()
        for side, scale, sign in (("p", "a1", 1.0), ("n", "a2", -1.0)):
            seen = shown & (sign * v > 0.0)
            if not seen.any():
                continue
            shape = current[seen] / np.sinh(np.clip(p.b * v[seen], -EXPONENT_LIMIT, EXPONENT_LIMIT))
            found[scale] = float(np.quantile(np.abs(shape), 0.98)) / 0.9
            state = state if state.size else shape / found[scale]
            found[f"v_{side}"] = half = 0.5 * float(np.max(sign * v))
            drive = np.maximum(np.exp(np.minimum(sign * v, EXPONENT_LIMIT)) - np.exp(half), 0.0)
            found[f"a_{side}"] = speed(t, drive)
        return found | {"x0": float(np.clip(np.median(state[:5]), 0.02, 0.98))}

    def drive_level(self, p: Values) -> float:
        """3 times the larger threshold (V)."""
        return 3.0 * float(max(p.v_p, p.v_n, 0.1))

    def pulse_width(self, p: Values) -> float:
        """A third of the time (s) that the whole range takes upwards at the drive level, without its window."""
        v = self.drive_level(p)
        return 0.3 / float(p.a_p * (np.exp(v) - np.exp(p.v_p)))

    def current(self, v: Operand, x: Values, p: Values) -> Operand:
        """Current (A) at ``v`` (V)."""
        exponent = np.minimum(np.maximum(p.b * v, -EXPONENT_LIMIT), EXPONENT_LIMIT)
        return np.where(v >= 0.0, p.a1, p.a2) * x.x * np.sinh(exponent)

    def drift(self, v: Operand, x: Values, p: Values) -> Mapping[str, Operand]:
        """dx/dt (1/s) at ``v`` (V)."""
        up = np.maximum(np.exp(np.minimum(v, EXPONENT_LIMIT)) - np.exp(p.v_p), 0.0)
        down = np.maximum(np.exp(np.minimum(-v, EXPONENT_LIMIT)) - np.exp(p.v_n), 0.0)
        motion = p.eta * (p.a_p * up - p.a_n * down)
        return {"x": motion * np.where(motion > 0.0, self.rising(x.x, p), self.falling(x.x, p))}

    def rising(self, x: Operand, p: Values) -> Operand:
        """f(x) where the state rises."""
        beyond = np.maximum(x - p.x_p, 0.0)
        return np.exp(-p.alpha_p * beyond) * np.minimum(np.maximum(1.0 - x, 0.0) / (1.0 - p.x_p), 1.0)

    def falling(self, x: Operand, p: Values) -> Operand:
        """f(x) where the state falls."""
        beyond = np.maximum(1.0 - p.x_n - x, 0.0)
        return np.exp(-p.alpha_n * beyond) * np.minimum(np.maximum(x, 0.0) / (1.0 - p.x_n), 1.0)
