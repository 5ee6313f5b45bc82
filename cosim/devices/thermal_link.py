"""Thermal link between the cells of an array: the heat that neighbours exchange, proportional to their temperatures.

The form is our choice; the conductances are extracted from a solution of the heat equation (`cosim.heat`). Links in a
row, along the bottom electrode, and in a column, along the top electrode, have different values.
"""

from __future__ import annotations

from collections.abc import Mapping

from cosim.devices.base import DeviceModel, Operand, Param, Port, Values


class ThermalLink(DeviceModel):
    """A thermal conductance between two thermal nodes."""

    name = "thermal_link"
    title = "Thermal link between neighbouring cells"
    source = "our choice"
    ports = (Port("heat", ("ta", "tb"), nature="thermal"),)
    params = (Param("g_link", 1e-6, "W/K", (0.0, 1.0), "thermal conductance"),)

    def through(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """The heat flow (W) from ta to tb."""
        return {"heat": p.g_link * across["heat"]}
