r"""Profile-likelihood intervals: how far a parameter can go while all others make up for it.

For each parameter the others are fitted again with it held at θ; the signed root τ(θ) = ±√((χ²(θ) − χ²_min)/s²) is a
straight line of slope 1/stderr where the standard error tells the truth, and crosses ± Student's t at the interval's
ends (Bates & Watts, *Nonlinear Regression Analysis*, ch. 6.1.2). Steps are taken in the search's coordinates, so that
an end a decade away is found as well as one within a percent. Where it never does within the bounds, the curve gives
only a one-sided limit, or none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from cosim.devices.base import Values
from cosim.errors import FitError
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
    problem: Problem,
    minimum: Minimum,
    name: str,
    *,
    stderr: float | None,
    scale: float,
    height: float,
    ridge: Mapping[str, float] = MappingProxyType({}),
) -> Interval:
    """The profile-likelihood interval of one parameter.

    Args:
        problem: the whole problem.
        minimum: its minimum.
        name: of the parameter.
        stderr: its standard error, for the first guess of the ends; None: a twentieth of its natural size.
        scale: the factor between the problem's sigma and the noise's.
        height: Student's t of the level (1.96 for 95 % and known noise).
        ridge: how far other parameters move for a unit of this one, as a first guess.
    """
    value = float(minimum.p[name])
    frame = problem.without(*(other for other in problem.names if other != name)).coordinates(minimum.p)
    slope = float(frame.slope(np.array([value]))[0])
    width = height * (stderr if stderr else 0.05 * natural_size(problem, name, value)) / slope
    floor = minimum.chi_square

    def height_at(z: float, start: Values) -> tuple[float, Minimum | None]:
        """The profile's excess over the level at a coordinate, and the others' minimum there.

        A smaller chi-square that is met on the way is the minimum from there on.
        """
        nonlocal floor
        here = float(frame.x(np.array([z]))[0])
        moved = {other: float(start[other]) + by * (here - float(start[name])) for other, by in ridge.items()}
        begin = start.with_(**(moved | {name: here}))
        try:
            found = problem.held(name, begin).minimise(begin, tolerance=TOLERANCE)
        except FitError:  # where the model is not finite the curve excludes the value
            return math.inf, None
        if found.chi_square < floor - max(DROP, TOLERANCE * floor / scale**2) * scale**2:
            floor = found.chi_square
            return -math.inf, found
        return math.sqrt(max(found.chi_square - floor, 0.0)) / scale - height, found

    at, ends, better = float(frame.z(np.array([value]))[0]), [], None
    for side, bound in zip((-1.0, 1.0), frame.box, strict=True):
        floor = minimum.chi_square
        z, lower = _end(height_at, minimum.p, at=at, side=side, bound=float(bound[0]), width=width, height=height)
        ends.append(side * math.inf if z is None else float(frame.x(np.array([z]))[0]))
        better = lower if lower is not None and (better is None or lower < better) else better
    return Interval(ends[0], ends[1], better)


def _end(
    height_at: Callable[[float, Values], tuple[float, Minimum | None]],
    start: Values,
    *,
    at: float,
    side: float,
    bound: float,
    width: float,
    height: float,
) -> tuple[float | None, float | None]:
    """One end, None where it is open: the secant method on τ − height, kept between inside and outside."""
    inside, below, outside, above, step = at, -height, math.nan, math.nan, width
    better: float | None = None
    at += side * width
    for _ in range(ROUNDS):
        at = min(at, bound) if side > 0 else max(at, bound)
        excess, found = height_at(at, start)
        if found is not None and excess == -math.inf:
            better, excess, outside, above = found.chi_square, -height, math.nan, math.nan
        if abs(excess) <= CLOSE * height:
            return at, better
        if excess < 0.0 and found is not None:
            if at == bound:
                return None, better
            inside, below, start = at, excess, found.p
        else:
            outside, above = at, excess
        if math.isnan(outside):  # nothing outside yet: go on in growing steps, the profile is flatter than thought
            step *= 2.0
            at = inside + side * step
        else:
            fraction = 0.5 if math.isinf(above) else -below / (above - below)
            at = inside + (outside - inside) * min(max(fraction, 0.1), 0.9)
    return (None if math.isnan(outside) else at), better
