"""Where a surrogate goes beyond what its parameter set was measured at.

Thresholds decide whether an event does anything at all. A fit of equal pulses, for one, cannot tell them, so that its
set has those of another device: a certificate against that set's own equations then says nothing of them, and
`undecided_thresholds` names them.

A fitted set keeps the range of what was applied in its provenance (`cosim.fitting.provenance.measured_range`):
``measured_amplitude = "-1 V .. 1 V"``. Beyond it the device's law was extrapolated, whatever a certificate says of the
surrogate against that law.
"""

from __future__ import annotations

from collections.abc import Mapping

from cosim import units
from cosim.devices.maps import EventMap
from cosim.devices.pulse import PulseShape
from cosim.devices.registry import device as find_device
from cosim.errors import UnitError
from cosim.parameters import ParameterSet
from cosim.surrogate.base import Domain

# A domain that reaches further by no more than this part of the measured range does not exceed it (our choice).
SLACK = 0.01
NUDGE = 0.01  # of a parameter, by which it is seen whether it moves a threshold
PART = 0.5  # a parameter sets a threshold that follows it by at least so much; a series resistance moves it a little
_UNITS = {"amplitude": "V", "width": "s"}


def undecided_thresholds(chosen: ParameterSet, event_map: EventMap, *, shape: PulseShape | None) -> dict[str, str]:
    """The parameters of ``chosen`` that set thresholds of the map's inputs and are not from its data, in words."""
    own = chosen.for_device(event_map.device.name)
    if not any(entry.still[0] < entry.still[1] for entry in event_map.inputs.values()):
        return {}
    # of ``chosen`` itself: the map may be of other values
    there = find_device(own.device).maps(own.resolved(), shape=shape)[event_map.name].inputs
    thresholds = {name: entry.still for name, entry in there.items() if entry.still[0] < entry.still[1]}
    found = {}
    for name, (value, unit, source) in own.not_from_data().items():
        entry = next(entry for entry in find_device(own.device).params if entry.name == name)
        nudged = value * (1.0 + NUDGE)
        if not entry.bounds[0] <= nudged <= entry.bounds[1]:
            nudged = value * (1.0 - NUDGE)
        maps = find_device(own.device).maps(own.resolved(**{name: nudged}), shape=shape)
        moved = maps[event_map.name].inputs
        if any(
            abs(new - old) > PART * NUDGE * abs(old)
            for key, still in thresholds.items()
            for new, old in zip(moved[key].still, still, strict=True)
        ):
            found[name] = f"{units.show(value, '' if unit == '1' else unit)} ({source})"
    return found


def beyond_measured(domain: Domain, provenance: Mapping[str, str]) -> str:
    """The sentence on what of a domain was not measured; "" where nothing is known of it, or all of it was."""
    said = []
    for name, unit in _UNITS.items():
        low, high = _range(provenance.get(f"measured_{name}", ""), unit)
        wanted = domain.inputs.get(name) or ((domain.fixed[name],) * 2 if name in domain.fixed else None)
        if wanted is None or low is None or high is None:
            continue
        slack = SLACK * (high - low or abs(high))
        if wanted[0] < low - slack or wanted[1] > high + slack:
            said.append(f"{name} {_shown(*wanted, unit)}, measured {_shown(low, high, unit)}")
    if not said:
        return ""
    return f"the domain exceeds what the set was measured at ({'; '.join(said)}): there its law is extrapolated"


def _range(text: str, unit: str) -> tuple[float | None, float | None]:
    """Both ends of a range (SI); None where ``text`` is not one."""
    low, between, high = text.partition(" .. ")
    try:
        return (units.parse(low, unit), units.parse(high, unit)) if between else (None, None)
    except UnitError:
        return None, None


def _shown(low: float, high: float, unit: str) -> str:
    return units.show(low, unit) if low == high else f"{units.show(low, unit)} to {units.show(high, unit)}"
