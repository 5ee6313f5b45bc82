"""1T1R cell: a threshold memristor in series with an access transistor in its on state.

Sources: `threshold` and `access`. The bit line drives the memristor's ``p``; the transistor's source, the source line,
is at the reference. The node between them is solved in closed form, because the memristor is ohmic in its state; so the
cell is itself a device: it is fitted, traced and emitted like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cosim.devices.access import AccessTransistor
from cosim.devices.base import Array, Operand, TwoTerminal, Values
from cosim.devices.pulse import PulseCell, PulseShape, apply_pulse
from cosim.devices.threshold import ThresholdMemristor

if TYPE_CHECKING:
    from cosim.devices.maps import EventMap

_MEMRISTOR = ThresholdMemristor()
_ACCESS = AccessTransistor()


class Cell1T1R(TwoTerminal):
    """A 1T1R cell between bit line ``p`` and source line ``n``, its word line held on."""

    name = "cell_1t1r"
    title = "1T1R cell (threshold memristor and access transistor)"
    source = ThresholdMemristor.source
    states = ThresholdMemristor.states
    params = ThresholdMemristor.params + AccessTransistor.params
    conventions = ThresholdMemristor.conventions
    elsewhere = ThresholdMemristor.elsewhere

    def device_voltage(self, v: Operand, w: Operand, p: Values) -> Operand:
        """The voltage (V) on the memristor with ``v`` (V) over the cell."""
        return v - _ACCESS.drop(v, _MEMRISTOR.conductance(Values({"w": w}), p), p)

    def pulse_cell(self) -> PulseCell:
        """The memristor's pulses behind the transistor."""
        return PulseCell(self, _MEMRISTOR, self.device_voltage, bench="1t1r_random_pulses")

    def readout(self, x: Values, p: Values) -> Mapping[str, Operand]:
        """Conductance (S) of the memristor, which a read tells once the transistor's drop is known."""
        return _MEMRISTOR.readout(x, p)

    def full_scales(self, p: Values) -> Mapping[str, float]:
        """G_max (S) of the memristor."""
        return _MEMRISTOR.full_scales(p)

    def maps(self, p: Values, *, shape: PulseShape | None = None) -> Mapping[str, EventMap]:
        """A pulse by the rate law, and as one event of the published map."""
        return self.pulse_cell().maps(p, shape=shape)

    def drive_level(self, p: Values) -> float:
        """1.7 times the larger threshold (V): steps of up to the full range."""
        return 1.7 * float(max(p.theta_p, p.theta_n))

    def current(self, v: Operand, x: Values, p: Values) -> Operand:
        """Current (A) through the cell."""
        return _MEMRISTOR.current(self.device_voltage(v, x.w, p), x, p)

    def drift(self, v: Operand, x: Values, p: Values) -> Mapping[str, Operand]:
        """dw/dt (1/s) of the memristor behind its transistor."""
        return _MEMRISTOR.drift(self.device_voltage(v, x.w, p), x, p)

    def pulse(
        self, v: Operand, w: Operand, p: Values, *, shape: PulseShape, polarity: int = 0
    ) -> tuple[Operand, Operand]:
        """One programming pulse: the state after it, and its energy (J); see `pulse.apply_pulse`."""
        return apply_pulse(_MEMRISTOR, p, v=v, w=w, shape=shape, series=self.device_voltage, polarity=polarity)

    def guess(self, kind: str, columns: Mapping[str, Array], *, rows: NDArray[np.bool_], p: Values) -> dict[str, float]:
        """What the memristor reads off a pulse train, and the transistor off a static curve."""
        part = _ACCESS if kind == "i-v" else _MEMRISTOR
        return part.guess(kind, columns, rows=rows, p=p)
