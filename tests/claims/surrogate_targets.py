"""What a surrogate is asked for, of every kind alike, and which of it a measurement misses.

The shares are of full scale, and of 95 % of the events that took no part in the making; the worst error has no target,
but is stated. None of them is chosen by what is reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

Target = tuple[float | None, float | None]

STATE, LATENCY, ENERGY = (
    0.5,
    2.0,
    3.0,
)  # % of full scale at the 95 % quantile; what a circuit gives otherwise is a state
F1: Target = (0.98, None)
SPEED_UP: Target = (1e5, None)  # events of many instances, over one event in ngspice
UPDATES: Mapping[str, Target] = MappingProxyType({"float32": (2.5e8, None), "float64": (1.2e8, None)})  # per second
MINUTES: Target = (None, 5.0)  # of ngspice on two cores, for what a surrogate is made of
STATED: Target = (None, None)


def of_error(name: str, percent: float) -> dict[str, Target]:
    """The targets of an error that `parts` gives."""
    return {f"{name}_p95_percent": (None, percent), f"{name}_max_percent": STATED}


def missed(figures: Mapping[str, Any], targets: Mapping[str, Target]) -> dict[str, str]:
    """The targets that ``figures`` miss, by the name of the figure: what it is and what it should be."""
    told = {}
    for name, (low, high) in targets.items():
        value = figures.get(name)
        if value is None or value != value:
            told[name] = "not measured"
        elif low is not None and value < low:
            told[name] = f"{value:.4g}, target at least {low:g}"
        elif high is not None and value > high:
            told[name] = f"{value:.4g}, target at most {high:g}"
    return told
