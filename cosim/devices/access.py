r"""Access transistor of a 1T1R cell with its gate held on: the triode law, a resistance that depends on its own drop.

Source: the bulk-referenced strong-inversion law (Tsividis, *Operation and Modeling of the MOS Transistor*, ch. 4; EKV),
I = β/(2n) [(V_ov − n V_s)² − (V_ov − n V_d)²], which is the same for both directions of the current. With the source
grounded, V_ov/n = ``v_sat``, β V_ov = ``g_on``, and velocity saturation as a divisor 1 + |v|/``v_c``::

    I(v) = g_on · v · (1 − v / (2 v_sat)) / (1 + |v| / v_c)       −v_sat < v < v_sat

Above v_sat the channel is pinched off: v is held at v_sat in the bracket and in the factor v. The three parameters
belong to one width, length and gate voltage: they are extracted from a measured I–V curve of that transistor.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array, DeviceModel, Operand, Param, Port, Values

TINY = 1e-300  # keeps a quotient finite where its numerator is zero as well
SOURCE = "Tsividis, Operation and Modeling of the MOS Transistor"


class AccessTransistor(DeviceModel):
    """The on-state channel of an access transistor between drain ``d`` and source ``s`` (module docstring)."""

    name = "access_transistor"
    title = "Access transistor in its on state (triode law)"
    source = SOURCE
    ports = (Port("channel", ("d", "s")),)
    params = (
        Param("g_on", 4e-3, "S", (1e-9, 10.0), "channel conductance at zero drop", SOURCE),
        Param("v_sat", 2.0, "V", (0.05, 50.0), "saturation voltage V_ov/n", SOURCE),
        Param("v_c", 3.0, "V", (0.05, 1e3), "velocity-saturation voltage", SOURCE),
    )

    def current(self, v: Operand, p: Values) -> Operand:
        """Current (A) from d to s at drop ``v`` (V)."""
        u = np.minimum(v, p.v_sat)
        return p.g_on * u * (1.0 - u / (2.0 * p.v_sat)) / (1.0 + np.abs(u) / p.v_c)

    def through(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """The channel's current."""
        return {"channel": self.current(across["channel"], p)}

    def drop(self, v: Operand, conductance: Operand, p: Values) -> Operand:
        """The drop (V) on the channel in series with a linear ``conductance`` (S), with ``v`` (V) over both.

        Closed form: the root of G (v − u)(1 + |u|/v_c) = g_on u (1 − u/(2 v_sat)) with the sign of v; where the
        transistor saturates below the demanded current, the series' current is the saturated one.
        """
        s = np.where(v >= 0.0, 1.0, -1.0)
        # With u = s·y, y >= 0:  a y² + b y − c = 0
        a = conductance / p.v_c - s * p.g_on / (2.0 * p.v_sat)
        b = p.g_on + conductance * (1.0 - np.abs(v) / p.v_c)
        c = conductance * np.abs(v)
        square = b * b + 4.0 * a * c
        y = 2.0 * c / np.maximum(b + np.sqrt(np.maximum(square, 0.0)), TINY)
        pinched = np.maximum(np.abs(v) - self.current(p.v_sat, p) / np.maximum(conductance, TINY), p.v_sat)
        triode = (s < 0.0) | ((square >= 0.0) & (y <= p.v_sat))
        return s * np.where(triode, y, pinched)

    def guess(self, kind: str, columns: Mapping[str, Array], *, rows: NDArray[np.bool_], p: Values) -> dict[str, float]:
        """The conductance from the points of an I–V curve that are nearest to zero volts."""
        if kind != "i-v":
            return {}
        driven = rows & (columns["voltage"] != 0.0)
        v, current = columns["voltage"][driven], columns["current"][driven]
        if not v.size:
            return {}
        near = np.argsort(np.abs(v))[: max(5, v.size // 20)]
        return {"g_on": abs(float(v[near] @ current[near] / (v[near] @ v[near])))}
