"""What looks wrong with a recording before any fit: factors of a thousand, few rows, repeated rows.

None of these refuses a recording: a quantum dot conducts picosiemens and a busbar kiloamperes. Each is a sentence that
a user reads before the fit's numbers. The limits are our choice, wide for a memristive device or a transistor.
"""

from __future__ import annotations

import numpy as np

from cosim import units
from cosim.data.recording import Curve
from cosim.devices.base import Array

# Magnitudes that measurements of devices keep to; beyond them a prefix was lost somewhere.
USUAL = {"V": (1e-4, 200.0), "A": (1e-14, 1.0), "S": (1e-13, 1.0), "K": (1.0, 3000.0)}
# A recording longer than a year.
YEAR = 3.2e7  # s
# Steps of a source: so many at least, equal to this part, in this share of all.
FEW, EVEN, MOST = 20, 0.02, 0.8


def doubts(curve: Curve) -> list[str]:
    """Sentences about a recording; none where nothing is unusual."""
    said = []
    for name, column in curve.columns.items():
        unit = curve.units[name]
        size = float(np.max(np.abs(column)))
        low, high = USUAL.get(unit, (0.0, np.inf))
        if size and not low <= size <= high:
            said.append(
                f"{name} reaches {units.show(size, unit)}, which is unusual: check its unit (a factor of 1000 is soon "
                "lost)"
            )
    if "time" in curve.columns:
        t = curve["time"]
        if float(np.ptp(t)) > YEAR:
            said.append(f"the recording lasts {units.show(float(np.ptp(t)), 's')}: check the unit of the time")
    y = curve.measured
    if {"voltage", "current"} <= curve.columns.keys() and _ramps(curve["current"]) and not _ramps(curve["voltage"]):
        said.append(
            "the current is a ramp in even steps and the voltage is not: the columns may be swapped, or a current was "
            "forced, which the models take as a response to the voltage"
        )
    if y.size < 10:
        said.append(f"{y.size} rows are few: intervals are wide, and nothing tells noise from a wrong law")
    repeated = _duplicates(curve)
    if repeated:
        said.append(f"{repeated} rows are exact repetitions of the row before: their noise is not independent")
    return said


def _ramps(column: Array) -> bool:
    """Whether nearly all steps (n,) repeat the step before them, as those of a source do and no reading does."""
    steps = np.diff(column)
    if steps.size < FEW or not steps.any():
        return False
    even = np.abs(np.diff(steps)) <= EVEN * np.abs(steps).max()
    return bool(np.mean(even) >= MOST)


def _duplicates(curve: Curve) -> int:
    """Rows that repeat the one before in every column; a time or a count that stands still counts too."""
    columns = [column for name, column in curve.columns.items() if name not in ("ramp", "pulse", "polarity")]
    if len(columns) < 2:
        return 0
    return int(np.count_nonzero(np.all([np.diff(column) == 0.0 for column in columns], axis=0)))
