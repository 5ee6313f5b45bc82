"""What is known of a parameter once others that only were held for the search may move as well.

A fit that holds what its curve does not determine makes the others look determined: with the first state of a loop at
some value, both ends of the range follow from it. Here the intervals of those that depend on what was held are profiled
again with it free; they are never narrower than before.

Scales that trade exactly with others, as a length does with the speeds over it, are another matter: no measurement of
this kind tells them, and the others are meant for the held value (`exact_scales`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cosim.devices.base import Values
from cosim.fitting import profile
from cosim.fitting.problem import Minimum, Problem
from cosim.fitting.uncertainty import DEPENDS, FLAT, TAKES_PART, Uncertainty, covariance_of

# An interval that grows by this factor once what was held moves was conditional on it (our choice).
GROWS = 1.5


def widened(problem: Problem, free: Sequence[str]) -> Problem:
    """The problem with the parameters ``free`` varying too, between their physical bounds."""
    physical = problem.forward.bounds()
    bounds = {**problem.bounds, **{name: physical[name] for name in free}}
    return replace(problem, names=(*problem.names, *free), bounds=bounds)


def released(
    problem: Problem, minimum: Minimum, uncertainty: Uncertainty, free: Sequence[str],
    *, wanted: Mapping[str, tuple[float, float]], scale: float, height: float,
) -> dict[str, tuple[float, float]]:  # fmt: skip
    """The intervals of those ``wanted`` (name → interval with ``free`` held) that grow once ``free`` moves.

    ``scale`` and ``height`` as in `profile.interval`; an end that the curve does not give is infinite.
    """
    wide = widened(problem, free)
    apart = covariance_of(wide, minimum.p, scale=scale)
    roles = {entry.name: entry.role for entry in problem.forward.params}
    found = {}
    for name, (low, high) in wanted.items():
        before, after = uncertainty.stderr(name), apart.stderr(name)
        if roles[name] != "range" and before and after and after < DEPENDS * before:
            continue
        ends = profile.interval(wide, minimum, name, stderr=before, scale=scale, height=height)
        both = min(low, ends.low), max(high, ends.high)
        if not both[1] - both[0] < GROWS * (high - low):
            found[name] = both
    return found


def exact_scales(problem: Problem, places: Sequence[Values], candidates: Sequence[str]) -> tuple[str, ...]:
    """Of the ``candidates`` those to hold because they trade exactly with others, wherever the parameters are.

    A law that does not change as some parameters are multiplied by powers of one factor has the same derivative of
    zero along it at every one of ``places``; one candidate of each such direction is given.
    """
    kept = [n for n in problem.names if all(float(place[n]) != 0.0 for place in places)]
    held: list[str] = []
    with np.errstate(all="ignore"):
        blocks = [
            problem.slopes(place, tuple(kept)) * np.array([float(place[n]) for n in kept])[:, None] for place in places
        ]
    usable = [block for block in blocks if block.size and np.all(np.isfinite(block))]
    if not usable:
        return ()
    columns = np.concatenate([block / (np.linalg.norm(block) or 1.0) for block in usable], axis=1).T
    size = np.linalg.norm(columns, axis=0)
    names = [n for n, length in zip(kept, size, strict=True) if length > FLAT]
    columns = columns[:, size > FLAT] / size[size > FLAT]
    while len(names) > 1:
        _, singular, directions = np.linalg.svd(columns, full_matrices=True)
        rank = int(np.sum(singular > FLAT * singular[0]))
        moves = (np.abs(directions[rank:]) > TAKES_PART).any(axis=0)
        one = next((n for n, m in zip(names, moves, strict=True) if m and n in candidates), None)
        if one is None:
            break
        columns = np.delete(columns, names.index(one), axis=1)
        names.remove(one)
        held.append(one)
    return tuple(held)
