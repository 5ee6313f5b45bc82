r"""Profile-likelihood intervals: how far a parameter can go while all others make up for it.

For each parameter the others are fitted again with it held at θ; the signed root τ(θ) = ±√((χ²(θ) − χ²_min)/s²) is a
straight line of slope 1/stderr where the standard error tells the truth, and crosses ± Student's t at the interval's
ends (Bates & Watts, *Nonlinear Regression Analysis*, ch. 6.1.2). Where it never does within the bounds, the curve gives
only a one-sided limit, or none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cosim.devices.base import Values
from cosim.fitting.problem import Minimum, Problem
from cosim.fitting.uncertainty import natural_size

# Relative to the wanted height of the profile; an interval is then good to about 1 % of its half-width.
CLOSE = 0.02
ROUNDS = 12
# Of chi-square, relative: a hundredth of the height at 1000 points.
TOLERANCE = 1e-5
# A drop of chi-square by this much of a standard deviation squared is another minimum, not rounding.
DROP = 0.01


@dataclass(frozen=True)
class Interval:
    """Ends of a confidence interval; an infinite end means that the profile stays below the level up to the bound.

    ``lower_chi_square``: a smaller χ² than the minimum's, met on the way (the minimum was only a local one), or None.
    """

    low: float
    high: float
    lower_chi_square: float | None = None


def interval(
    problem: Problem, minimum: Minimum, name: str, *, stderr: float | None, scale: float, height: float
) -> Interval:
    """The profile-likelihood interval of one parameter.

    Args:
        problem: the whole problem.
        minimum: its minimum.
        name: of the parameter.
        stderr: its standard error, for the first guess of the ends; None: a twentieth of its natural size.
        scale: the factor between the problem's sigma and the noise's.
        height: Student's t of the level (1.96 for 95 % and known noise).
    """
    value = float(minimum.p[name])
    width = height * (stderr if stderr else 0.05 * natural_size(problem, name, value))
    ends, better = [], None
    rest = problem.without(name)
    for side, bound in ((-1.0, problem.bounds[name][0]), (1.0, problem.bounds[name][1])):
        end, found = _end(rest, minimum, name, side=side, bound=bound, width=width, scale=scale, height=height)
        ends.append(end)
        better = found if found is not None and (better is None or found < better) else better
    return Interval(ends[0], ends[1], better)


def _end(
    rest: Problem, minimum: Minimum, name: str, *, side: float, bound: float, width: float, scale: float, height: float
) -> tuple[float, float | None]:
    """One end: the secant method on τ − height, which is nearly linear, kept between inside and outside.

    A smaller χ² that is met on the way is the minimum from there on.
    """
    value, floor = float(minimum.p[name]), minimum.chi_square
    inside, below, outside, above = value, -height, math.nan, math.nan
    start: Values = minimum.p
    at, better = value + side * width, None
    for _ in range(ROUNDS):
        at = min(at, bound) if side > 0 else max(at, bound)
        found = rest.minimise(start.with_(**{name: at}), tolerance=TOLERANCE)
        if found.chi_square < floor - max(DROP, TOLERANCE * floor / scale**2) * scale**2:
            floor = better = found.chi_square
            inside, below, outside, above = at, -height, math.nan, math.nan
        excess = math.sqrt(max(found.chi_square - floor, 0.0)) / scale - height
        if abs(excess) <= CLOSE * height:
            return at, better
        if excess < 0.0:
            if at == bound:
                return side * math.inf, better
            inside, below, start = at, excess, found.p
        else:
            outside, above = at, excess
        at = _next(inside, below, outside, above, side=side, width=width)
    return at, better


def _next(inside: float, below: float, outside: float, above: float, *, side: float, width: float) -> float:
    if math.isnan(outside):
        return inside + side * 2.0 * width  # nothing outside yet: go on, the profile is flatter than thought
    fraction = -below / (above - below)
    return inside + (outside - inside) * min(max(fraction, 0.1), 0.9)
