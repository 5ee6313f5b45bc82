"""The ends of an interval: from a standard error or a profile, from what other profiles met, or from physics."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cosim.devices.base import DECADES, Values
from cosim.fitting import profile as likelihood
from cosim.fitting.problem import Problem
from cosim.fitting.uncertainty import Uncertainty, natural_size

# An interval beyond which a place fits within the noise, by more than this part of it, is too short.
OUTSIDE = 0.05


def ends_of(
    p: Values, uncertainty: Uncertainty, name: str, height: float, profiled: likelihood.Interval | None
) -> tuple[float, float]:
    """Ends of an interval, infinite where the curve sets no limit, NaN where there is neither error nor profile."""
    if profiled is not None:
        return profiled.low, profiled.high
    if (stderr := uncertainty.stderr(name)) is None:
        return math.nan, math.nan
    return float(p[name]) - height * stderr, float(p[name]) + height * stderr


def beyond(ends: tuple[float, float], places: Sequence[Values], name: str, value: float) -> list[Values]:
    """Of ``places`` that fit within the noise those that lie farthest outside an interval around ``value``, by more
    than its ends are good to: one on each side at most.
    """
    low, high = ends
    known = [end for end in ends if math.isfinite(end)]
    margin = OUTSIDE * (high - low if len(known) == 2 else sum(abs(end - value) for end in known))
    under = [p for p in places if float(p[name]) < low - margin]
    above = [p for p in places if float(p[name]) > high + margin]
    found = [min(under, key=lambda p: float(p[name]))] if under else []
    return [*found, max(above, key=lambda p: float(p[name]))] if above else found


def closed(problem: Problem, name: str, value: float, ends: tuple[float, float]) -> tuple[float, float]:
    """An open end closed by a physical bound, if that lies within the parameter's natural size of the value.

    Where the other end is open too, the curve says nothing, and neither is closed; nor does a bound that lies decades
    below, as the smallest resistance that is allowed, say anything.
    """
    if math.isinf(ends[0]) and math.isinf(ends[1]):
        return ends
    size, physical = natural_size(problem, name, value), problem.forward.bounds()[name]
    bounds = zip(ends, problem.bounds[name], physical, strict=True)
    low, high = (
        limit
        if math.isinf(end)
        and bound == limit
        and abs(limit - value) <= size
        and not 0.0 < DECADES * limit * math.copysign(1.0, value) < abs(value)
        else end
        for end, bound, limit in bounds
    )
    return low, high
