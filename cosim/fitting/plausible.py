"""Recordings that cannot be what the recipe says, whatever the device: one point, constant or swapped columns, two rows
at one time, a unit that is off by powers of ten. Found before any fit; the limits are our choice."""

from __future__ import annotations

import numpy as np

from cosim import units
from cosim.data.recording import Recording
from cosim.errors import DataError

# S: a metal wire, not a device. Above it the current's unit is off, or the columns are swapped.
LARGEST = 1.0
# A column whose values differ by less than this part of the largest is constant.
CONSTANT = 1e-12


def check_alone(recording: Recording, *, sign: bool = False) -> None:
    """Refuse what determines nothing by itself, then as `check`; raises `DataError`."""
    if len(recording) == 1:
        line = f" (row {recording.lines[0]})" if recording.lines else ""
        raise DataError(
            f"the curve is a single point{line}: it determines nothing",
            where=recording.where,
            remedy="measure more, or check which rows are read",
        )
    names = [recording.measured_name, *(["voltage"] if recording.kind in ("i-v", "loop") else [])]
    for name in names:
        column = recording[name]
        if np.ptp(column) <= CONSTANT * float(np.abs(column).max()):
            which = "measured column" if name == recording.measured_name else f"column {name!r}"
            raise DataError(
                f"the {which} is constant ({column[0]:g} {recording.units[name]}): it determines nothing",
                where=recording.where,
                remedy="apply pulses or voltages that change the read, or check the column",
            )
    check(recording, sign=sign)


def check(recording: Recording, *, sign: bool = False) -> None:
    """Refuse rows at one time, and a conductance beyond any device's unless the recipe states a ``sign``."""
    if "time" in recording.columns:
        _check_time(recording)
    conductance, how = _conductance(recording)
    if sign or conductance is None or conductance <= LARGEST:
        return
    swapped = 1.0 / conductance
    hint = f"; with the two columns swapped it would be {units.show(swapped, 'S')}" if how and swapped < 0.1 else ""
    raise DataError(
        f"the {'current over the voltage' if how else 'read'} is {units.show(conductance, 'S')} "
        f"({units.show(1.0 / conductance, 'Ohm')}), which no device has{hint}",
        where=recording.where,
        remedy=f"check the units and which column is which, or write columns.{recording.measured_name}.sign = 1 where "
        "they are right",
    )


def _check_time(recording: Recording) -> None:
    time = recording["time"]
    back = np.flatnonzero(np.diff(time) <= 0.0)
    if not back.size:
        return
    k = int(back[0])
    row, before = (recording.lines[k + 1], recording.lines[k]) if recording.lines else (k + 2, k + 1)
    more = f" (and {back.size - 1} more such rows)" if back.size > 1 else ""
    raise DataError(
        f"the time of row {row}, {time[k + 1]:g} s, is not later than the one before it, {time[k]:g} s in row {before}"
        f"{more}",
        where=recording.where,
        remedy="give the rows in the order in which they were measured, each with its own time",
    )


def _conductance(recording: Recording) -> tuple[float | None, bool]:
    """The median conductance (S) of a recording, None where it has none; and whether it is a quotient of columns."""
    if {"voltage", "current"} <= recording.columns.keys():
        v, i = np.abs(recording["voltage"]), np.abs(recording["current"])
        rows = v > 0.1 * v.max()
        return (float(np.median(i[rows] / v[rows])) if rows.any() and v.max() else None), True
    if recording.kind == "pulse train":
        return float(np.median(np.abs(recording.measured))), False
    return None, False
