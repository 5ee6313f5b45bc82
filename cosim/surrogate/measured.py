"""Where a surrogate's domain goes beyond what its parameter set was measured at.

A fitted set keeps the range of what was applied in its provenance (`cosim.fitting.provenance.measured_range`):
``measured_amplitude = "-1 V .. 1 V"``. Beyond it the device's law was extrapolated, whatever a certificate says of the
surrogate against that law.
"""

from __future__ import annotations

from collections.abc import Mapping

from cosim import units
from cosim.errors import UnitError
from cosim.surrogate.base import Domain

# A domain that reaches further by no more than this part of the measured range does not exceed it (our choice).
SLACK = 0.01
_UNITS = {"amplitude": "V", "width": "s"}


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
