"""Cells that deviate from the nominal one, for `cosim.network.systems.vdsp`: thresholds, and conductances of both ends.

A value is normal, drawn anew where it is outside of `deviating_range` (three standard deviations, and no less than a
tenth of the nominal value: thresholds and conductances have a sign). The conductances of the two ends deviate
independently; a cell whose lower end would not be below its upper one gets another lower end. All of it is drawn once:
it is the cells' and does not change from event to event.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cosim.devices.base import Array
from cosim.network.plasticity import threshold_cell
from cosim.surrogate.base import deviating_range
from cosim.surrogate.model import Surrogate

Shape = tuple[int, int]
# The lower end of a cell is below this share of its upper one.
ENDS = 0.99


def deviating_cells(
    surrogate: Surrogate, shape: Shape, rng: np.random.Generator, *, thresholds: float = 0.0, resistances: float = 0.0
) -> Mapping[str, Array]:
    """Parameters of the cells (``shape``) by name, where the relative standard deviation of their ``thresholds`` or of
    the conductances of both ends of their range (``resistances``) is above zero. Raises `InputError` for a device
    whose pulses have no closed form (`threshold_cell`).
    """
    nominal = surrogate.parameters.resolved()
    found: dict[str, Array] = {}
    if not max(thresholds, resistances) > 0.0:
        return found
    cell = threshold_cell(surrogate)
    if thresholds > 0.0:
        for name in cell.threshold_names:
            found[name] = _deviating(float(nominal[name]), thresholds, np.full(shape, np.inf), rng)
    if resistances > 0.0:
        upper, lower = (float(end) for end in cell.ends(nominal))
        high = _deviating(upper, resistances, np.full(shape, np.inf), rng)
        low = _deviating(lower, resistances, ENDS * high, rng)
        found |= cell.with_ends(high, low)
    return found


def _deviating(nominal: float, deviation: float, below: Array, rng: np.random.Generator) -> Array:
    """Of the shape of ``below``, which no value reaches."""
    low, high = deviating_range(nominal, deviation)
    found: Array = nominal * (1.0 + deviation * rng.standard_normal(below.shape))
    while np.any(outside := (found < low) | (found > high) | (found >= below)):
        found[outside] = nominal * (1.0 + deviation * rng.standard_normal(int(outside.sum())))
    return found
