"""Fitted values against the published sets, or against defaults where there is none.

A unit that is off by a power of ten shows in this comparison only. Rates, lengths and times are not compared: they
scale with the speed of a sweep or with a length that the device only assumes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from cosim import units
from cosim.devices.base import DeviceModel, Values
from cosim.devices.registry import device
from cosim.parameters import shipped_sets

# Further than this from every published value, a value is more likely in the wrong unit (our choice).
FAR = 100.0
# Units of a current and of what divides it by a voltage: a default tells their order of magnitude.
_SCALES = ("S", "Ohm", "A")
# Units that a wrong unit of a measured column moves, whatever the course of the measurement.
_MEASURED = (*_SCALES, "V")


def turned_round(model: DeviceModel, values: Values, fitted: Collection[str]) -> list[str]:
    """A sentence for each pair of ``values`` (SI), one of them ``fitted``, that are ends which have changed places."""
    return [
        f"{low} = {units.show(float(values[low]), model.param(low).unit)} is above {high} = "
        f"{units.show(float(values[high]), model.param(high).unit)}: the ends of the range have changed places, "
        f"as where what was applied has the other sign than {model.name} takes it with; try sign = -1 for its column "
        "and for that of the current"
        for low, high in model.ordered
        if {low, high} & {*fitted} and float(values[low]) > float(values[high])
    ]


def unusual(model: DeviceModel, values: Mapping[str, float]) -> list[str]:
    """A sentence for each of ``values`` (SI) with a unit that is far from every published set of the same parameter.

    A cell's parameters are those of its parts: the same name, unit and meaning. Of what no set has, a conductance,
    resistance or current is held against its default.
    """
    said, shipped = [], shipped_sets()
    for name, value in values.items():
        entry = model.param(name)
        if entry.unit not in _MEASURED or value <= 0.0:
            continue
        known = []
        for (other, label), published in shipped.items():
            match = next((own for own in device(other).params if own.name == name), None)
            if match is None or name not in published.values:
                continue
            if (match.unit, match.description) == (entry.unit, entry.description):
                known.append((published.values[name].value, f"{other}:{label}"))
        known = [(size, label) for size, label in known if size > 0.0]
        what = "published value"
        if not known and entry.unit in _SCALES and entry.default > 0.0:
            known, what = [(entry.default, f"default of {model.name}")], "usual value"
        if not known:
            continue
        (least, lower), (most, upper) = min(known), max(known)
        if value > FAR * most:
            end, label, factor, side = most, upper, value / most, "times the largest"
        elif value < least / FAR:
            end, label, factor, side = least, lower, least / value, "times below the smallest"
        else:
            continue
        if len(known) == 1 and what == "published value":  # says nothing of how far devices of the kind lie apart
            side, what = side.replace("the largest", "the").replace("the smallest", "the"), "only published value"
            advice = "devices of other sizes lie as far apart; check the unit if this one should be like it"
        else:
            advice = "check the unit of the measured column"
        said.append(
            f"{name} = {units.show(value, entry.unit)} is {factor:,.0f} {side} {what} "
            f"({units.show(end, entry.unit)}, {label}): {advice}"
        )
    return said
