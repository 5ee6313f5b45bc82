"""Short-term plasticity of cells that facilitate by themselves: each presynaptic spike is an event of the cell.

A cell has a map of one input, the time until the event is over (`cosim.devices`, the map "spike" of an ECRAM). In a
network that time is not known when the spike comes; the rule hands in zero, and the cell's rest map takes it from
there, on access. A spike is delivered with the weight before its own event.
"""

from __future__ import annotations

from dataclasses import dataclass

from cosim.network.rules import Given, Local, Rule


@dataclass(frozen=True)
class Facilitating(Rule):
    """Events at presynaptic spikes; ``input`` of the cells' map is the time that an event lasts."""

    input: str = "interval"

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """No time: what follows is rest."""
        return {"length": 0.0}

    def on_pre(self, s: Local) -> Given:
        """One event."""
        return {self.input: s.p.length}
