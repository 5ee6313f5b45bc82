r"""Profile-likelihood intervals: how far a parameter can go while all others make up for it.

For each parameter the others are fitted again with it held at θ; the signed root τ(θ) = ±√((χ²(θ) − χ²_min)/s²) is a
straight line of slope 1/stderr where the standard error tells the truth, and crosses ± Student's t at the interval's
ends (Bates & Watts, *Nonlinear Regression Analysis*, ch. 6.1.2). The first place that is looked at is where a straight
law has the end, with the others where it has them; from there their minimum is a Gauss–Newton step or two away, which
are taken without a search where each does what it promises. Steps are taken in the search's coordinates, so that an end
a decade away is found as well as one within a percent. Where the profile never crosses the level within the bounds, the
curve gives only a one-sided limit, or none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from cosim.devices.base import Values
from cosim.errors import FitError
from cosim.fitting.coordinates import Coordinates
from cosim.fitting.problem import Minimum, Problem
from cosim.fitting.uncertainty import FLAT, natural_size

# Relative to the wanted height of the profile; an interval is then good to about 1 % of its half-width.
CLOSE = 0.02
ROUNDS = 24
# Places from which the others' minimum is looked for where the profile seems to be far above the level.
PATHS = 3
# Of chi-square, in standard deviations squared: 0.8 % of a 95 % level, 0.4 % of a half-width. A search ends where it
# gains no more, a Gauss–Newton step has arrived where it is right to so much, and a larger drop is another minimum.
DROP = 0.03
LOOSEST = 1e-3  # tolerance of a search
STEPS = 4  # of Gauss–Newton, before a search takes over


@dataclass(frozen=True)
class Interval:
    """Ends of a confidence interval; an infinite end means that the profile stays below the level up to the bound.

    ``lower``: where a smaller χ² than the minimum's was met on the way (the minimum was only a local one), or None.
    ``within``: the places below the level that the search met.
    """

    low: float
    high: float
    lower: Minimum | None = None
    within: tuple[Values, ...] = ()


def interval(
    problem: Problem,
    minimum: Minimum,
    name: str,
    *,
    stderr: float | None,
    scale: float,
    height: float,
    ridge: Mapping[str, float] = MappingProxyType({}),
    known: Sequence[Values] = (),
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
        known: places below the level that are known from elsewhere: an end lies beyond them.
    """
    value = float(minimum.p[name])
    frame = problem.without(*(other for other in problem.names if other != name)).coordinates(minimum.p)
    rest = problem.without(name)
    others = rest.coordinates(minimum.p)
    slope = float(frame.slope(np.array([value]))[0])
    width = height * (stderr if stderr else 0.05 * natural_size(problem, name, value)) / slope
    floor, lower = minimum.chi_square, minimum
    tolerance = min(DROP * scale**2 / max(floor, 1e-300), LOOSEST)

    at = float(frame.z(np.array([value]))[0])
    places = {at: minimum.p, **{float(frame.z(np.array([float(p[name])]))[0]): p for p in known}}
    within = list[Values]()

    def height_at(z: float, *, every: bool = False) -> float:
        """The profile's excess over the level at a coordinate, from the others' minimum there.

        It is looked for from the nearest place that is known, along the ridge or not, and where it seems to lie far
        above the level, or on request, from ``every`` other near place: a search that ends in another valley cuts an
        interval short. A smaller chi-square that is met on the way is the minimum from there on.
        """
        nonlocal floor, lower
        if every:  # what is further out may lie in the other valley as well
            for further in [further for further in places if (further - z) * (z - at) > 0.0]:
                del places[further]
        here = float(frame.x(np.array([z]))[0])
        there = places.keys() - ({z} if every else set())
        # From inside first: what lies further out may be in a higher valley, and would be believed here.
        near = sorted(there, key=lambda place: ((place - z) * (z - at) > 0.0, abs(place - z)))
        begins = [places[place].with_(**{name: here}) for place in near[:PATHS]]
        along = begins[0].with_(**_along(problem, places[near[0]], name, here, ridge))
        best = None
        if along != begins[0]:
            begins = [*sorted((along, begins[0]), key=lambda p: _finite(rest.chi_square(p))), *begins[1:]]
        for begin in begins:
            try:
                found = _near(rest, begin, others, scale=scale)
                found = found or rest.minimise(begin, tolerance=tolerance, nested=True)
            except FitError:  # where the model is not finite the curve excludes the value
                continue
            best = found if best is None or found.chi_square < best.chi_square else best
            if not every and math.sqrt(max(best.chi_square - floor, 0.0)) / scale < 2.0 * height:
                break
        if best is None:
            return math.inf
        places[z] = best.p
        if best.chi_square < floor - DROP * scale**2:
            within.append(best.p)
            floor = best.chi_square
            lower = min(lower, best, key=lambda found: found.chi_square)
            return -math.inf
        excess = math.sqrt(max(best.chi_square - floor, 0.0)) / scale - height
        if excess < 0.0:
            within.append(best.p)
        return excess

    ends = []
    for side, bound in zip((-1.0, 1.0), frame.box, strict=True):
        floor = minimum.chi_square
        begin = max(places, key=lambda z: side * (z - at)) if known else at
        z = _end(height_at, at=begin, side=side, bound=float(bound[0]), width=width, height=height)
        ends.append(side * math.inf if z is None else float(frame.x(np.array([z]))[0]))
    return Interval(ends[0], ends[1], None if lower is minimum else lower, tuple(within))


@np.errstate(all="ignore")  # a place where the model is not finite is for the search
def _near(held: Problem, begin: Values, frame: Coordinates, *, scale: float) -> Minimum | None:
    """The minimum that a few Gauss–Newton steps reach from ``begin``, or None where only a search can tell.

    They have arrived where chi-square falls by what the straight law of the place promises. A step beyond a bound, or
    one that promises more than it keeps, is for the search. What has no effect at a place stays where it is.
    """
    if held.forward.expensive:
        return None
    low, high = frame.box
    p, residual = begin, held.residual(begin)
    height = float(residual @ residual)
    for count in range(1, STEPS + 1):
        x = np.array([p[other] for other in held.names], dtype=float)
        slopes = held.slopes(p, held.names) * frame.slope(x)[:, None]
        length = np.linalg.norm(slopes, axis=1)
        if not math.isfinite(height + float(length.sum())):
            return None
        acts = length > 0.0
        left, size, right = np.linalg.svd((slopes[acts] / length[acts, None]).T, full_matrices=False)
        kept = size > FLAT * size.max(initial=0.0)
        part = left.T[kept] @ residual
        z = frame.z(x)
        z[acts] -= (right[kept].T @ (part / size[kept])) / length[acts]
        if np.any((z[acts] <= low[acts]) | (z[acts] >= high[acts])):
            return None
        # numpy's floats: a law that divides by zero gives a place that is not finite instead of an error.
        p = begin.with_(**dict(zip(held.names, frame.x(z), strict=True)))
        residual, before = held.residual(p), height
        height = float(residual @ residual)
        if not height <= before + DROP * scale**2:
            return None
        if abs(before - height - float(part @ part)) < DROP * scale**2:
            p = p.with_(**{other: float(p[other]) for other in held.names})
            return Minimum(p, height, 2 * count + 1, True, "Gauss–Newton")
    return None


def _along(problem: Problem, start: Values, name: str, here: float, ridge: Mapping[str, float]) -> dict[str, float]:
    """The others where a straight ridge through ``start`` has them with ``name`` at ``here``, within their bounds."""
    step = here - float(start[name])
    moved = {other: float(start[other]) + slope * step for other, slope in ridge.items() if other != name}
    return {other: min(max(v, problem.bounds[other][0]), problem.bounds[other][1]) for other, v in moved.items()}


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _end(
    height_at: Callable[..., float], *, at: float, side: float, bound: float, width: float, height: float
) -> float | None:
    """One end, None where it is open: the Illinois method on τ − height, kept between inside and outside.

    It bisects towards what lies far outside, where τ is no guide. A profile does not jump: where it seems to, the
    search outside ended in another valley and is done again from inside. Where nothing is close enough in the end,
    the end is the place outside: an interval may be a little wide, but not narrow.
    """
    origin, inside, below, outside, above, step = at, at, -height, math.nan, math.nan, width
    last, tried = 0, math.nan
    at += side * width
    for _ in range(ROUNDS):
        at = min(at, bound) if side > 0 else max(at, bound)
        excess = height_at(at, every=at == tried)
        if excess == -math.inf:
            excess, outside, above, last = -height, math.nan, math.nan, 0
        if abs(excess) <= CLOSE * height:
            return at
        if excess < 0.0:
            if at == bound:
                return None
            above = 0.5 * above if last < 0 else above
            inside, below, last = at, excess, -1
        else:
            below = 0.5 * below if last > 0 else below
            outside, above, last = at, excess, 1
        if math.isnan(outside):  # nothing outside yet: go on in growing steps, the profile is flatter than thought
            step *= 2.0
            at = inside + side * step
        elif abs(outside - inside) <= CLOSE * abs(outside - origin):
            if outside == tried:
                break
            at = tried = outside
            outside, above, step = math.nan, math.nan, 0.5 * width
        else:
            fraction = 0.5 if above > height else -below / (above - below)
            at = inside + (outside - inside) * min(max(fraction, 0.1), 0.9)
    return None if math.isnan(outside) else outside
