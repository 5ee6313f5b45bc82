"""Channel of a selection transistor in triode, at a small drop: ohmic, by its gate.

Source: arXiv 2411.18272, Eqs. 18 to 20, I = µ C W/L (V_GS − V_TH) V; the mobility's decline with the overdrive is our
choice (the usual first-order form of BSIM)::

    I = beta · aspect · V_OV / (1 + m V_OV) · v       V_OV = max(V_GS − v_th, 0)

It is a law to scale with, as Eq. 22 does, not a transistor: at a drop that is no longer small against V_OV the channel
carries less.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cosim.devices.base import DeviceModel, Operand, Param, Port, Values

SOURCE = "arXiv 2411.18272"


class TriodeChannel(DeviceModel):
    """The channel between drain ``d`` and source ``s`` under the gate ``g``, which takes no current."""

    name = "triode_channel"
    title = "Channel of a selection transistor in triode"
    source = SOURCE
    ports = (Port("channel", ("d", "s")), Port("gate", ("g", "b"), nature="sense"))
    params = (
        Param("beta", 1.73e-4, "A/V^2", (1e-9, 1.0), "mobility times the oxide's capacitance per area", SOURCE),
        Param("aspect", 1.0, "1", (1e-3, 1e4), "width over length", SOURCE),
        Param("v_th", 0.5, "V", (-5.0, 5.0), "threshold", SOURCE),
        Param("m", 0.0, "1/V", (0.0, 10.0), "decline of the mobility with the overdrive"),
    )

    def through(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """The channel's current (A), by Eq. 18."""
        over = np.maximum(across["gate"] - p.v_th, 0.0)
        return {"channel": p.beta * p.aspect * over / (1.0 + p.m * over) * across["channel"]}
