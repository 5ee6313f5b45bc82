"""Prediction intervals by split conformal calibration (Vovk, Gammerman & Shafer 2005; Lei et al., arXiv 1604.04173).

The scores are |surrogate − reference| on held-out data. The half-width at the level 1 − α is the ⌈(n + 1)(1 − α)⌉-th
smallest of n scores: a fresh answer that is exchangeable with them lies within it with a probability of at least 1 − α,
whatever the distribution of the errors. A free run of k events has scores of its own, calibrated on disjoint pieces of
k events of the held-out trains, each of which the surrogate follows by itself from the reference's state.

The guarantee is marginal: over inputs and states drawn as the held-out ones are, not at each of them. Events of one
train follow each other and are exchangeable only as far as the device forgets where it came from. Where they share
their errors, the scores of each of K trains are handed in together: a train is then the unit, each of its scores counts
1 / ((K + 1) n) of the n that it has, and what is left, 1 / (K + 1), lies beyond all of them (Lee, Barber & Willett,
arXiv 2306.06342). That holds for any event of a fresh train, however the events of one depend on each other; with one
score of each it is the rank above, with many it covers up to 1 / (K + 1) more than asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from cosim.devices.base import Array
from cosim.errors import InputError

LEVELS = (0.5, 0.9, 0.95, 0.99)
USUAL = 0.95
LENGTHS = (1, 10, 100, 1000)
# Free runs of a length that are worth calibrating on: the fewest that allow 95 %.
LEAST_RUNS = 19
# Units from which on each counts with all of its scores: they cover at most 1 % more than asked for.
MANY = 99
# One of each exchangeable unit, or of each unit an array.
Scores = Array | Sequence[Array]


def counted(scores: Scores) -> int:
    """How many exchangeable units have a score."""
    return scores.size if isinstance(scores, np.ndarray) else sum(one.size > 0 for one in scores)


def scores_of(errors: Sequence[Array], *, rng: np.random.Generator) -> tuple[Array, ...]:
    """The scores of units with several errors each, of the exchangeable ``errors`` of each: all of them of `MANY` units
    or more; of fewer one each, drawn at random: all would cover up to one part in as many more than is asked for."""
    if len(errors) >= MANY:
        return tuple(errors)
    return tuple(rng.choice(one, 1) if one.size else one for one in errors)


def half_width(scores: Scores, level: float) -> float:
    """The half-width of an interval at a ``level`` from signed errors; inf where they are too few for it."""
    units = counted(scores)
    if isinstance(scores, np.ndarray):
        rank = math.ceil((units + 1) * level - 1e-9)  # rounding of (n + 1) · level is no reason for one rank more
        return float(np.partition(np.abs(scores), rank - 1)[rank - 1]) if rank <= units else math.inf
    sizes = np.array([one.size for one in scores])
    errors = np.abs(np.concatenate(scores)) if units else np.zeros(0)
    order = np.argsort(errors)
    share = np.cumsum(np.repeat(1.0 / ((units + 1) * np.maximum(sizes, 1)), sizes)[order])
    enough = np.flatnonzero(share >= level - 1e-9)
    return float(errors[order[enough[0]]]) if enough.size else math.inf


def within(scores: Scores, width: float) -> float:
    """The share of signed errors that ``width`` holds: of each unit's, on average."""
    if isinstance(scores, np.ndarray):
        return float(np.mean(np.abs(scores) <= width))
    return float(np.mean([np.mean(np.abs(one) <= width) for one in scores if one.size]))


@dataclass(frozen=True)
class Band:
    """Prediction intervals after ``events`` events.

    Args:
        events: that lie between the last known state and the answer.
        runs: the exchangeable units that have scores of each quantity.
        widths: by the name of a state or output, in its unit: a half-width for each of `LEVELS` that ``runs`` allows.
    """

    events: int
    runs: int
    widths: Mapping[str, tuple[float, ...]]

    @classmethod
    def of(cls, errors: Mapping[str, Scores], *, events: int) -> Self:
        """Calibrated on signed errors by name."""
        widths = {}
        for name, values in errors.items():
            found = (half_width(values, level) for level in LEVELS)
            widths[name] = tuple(width for width in found if math.isfinite(width))
        return cls(events, min(map(counted, errors.values())), MappingProxyType(widths))

    def covered(self, errors: Mapping[str, Scores], *, level: float = USUAL) -> dict[str, float]:
        """The share of signed errors of fresh answers that lies within the intervals, by name."""
        return {
            name: within(errors[name], widths[LEVELS.index(level)])
            for name, widths in self.widths.items()
            if name in errors and counted(errors[name]) and len(widths) > LEVELS.index(level)
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"events": self.events, "runs": self.runs, "widths": {n: list(w) for n, w in self.widths.items()}}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; raises KeyError, TypeError or ValueError for anything else."""
        widths = {str(name): tuple(float(x) for x in values) for name, values in given["widths"].items()}
        if any(not 0.0 <= x < math.inf for values in widths.values() for x in values):
            raise ValueError("widths of intervals")
        return cls(int(given["events"]), int(given["runs"]), MappingProxyType(widths))


def width_after(bands: Sequence[Band], name: str, *, events: int, level: float) -> float:
    """The half-width of a quantity's interval after ``events`` events.

    Between two calibrated lengths it is the wider one of both (our choice). Raises `InputError` for a length beyond the
    longest, a level that is not one of `LEVELS`, and one for which there were too few runs.
    """
    if level not in LEVELS:
        raise InputError(f"the level {level:g} was not calibrated", remedy=f"take one of {', '.join(map(str, LEVELS))}")
    at = LEVELS.index(level)
    known = [band for band in bands if name in band.widths]
    longer = [band for band in known if band.events >= events]
    if events < 1 or not longer:
        shown = ", ".join(str(band.events) for band in known) or "no events at all"
        raise InputError(
            f"the certificate has no interval of {name} after {events} event{'' if events == 1 else 's'}, only after "
            f"{shown}",
            remedy="certify with free runs: --rollouts 100",
        )
    shorter = [band for band in known if band.events < events]
    nearest = [longer[0]] if longer[0].events == events else [*shorter[-1:], longer[0]]
    if any(len(band.widths[name]) <= at for band in nearest):
        few = min(band.runs for band in nearest)
        raise InputError(
            f"{few} held-out runs do not determine a {100 * level:g} % interval of {name} after {events} events",
            remedy=f"certify with more of them, or take a level below {few / (few + 1):.3g}",
        )
    return max(band.widths[name][at] for band in nearest)
