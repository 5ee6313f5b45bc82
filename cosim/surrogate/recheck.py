"""A certificate held against fresh events, drawn as its own were, and whether its intervals keep their word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from cosim.surrogate.base import deviation_within
from cosim.surrogate.conformal import LEAST_RUNS, LENGTHS, USUAL, Band, Scores, counted
from cosim.surrogate.model import Surrogate

# A surrogate that keeps its word fails with this probability, whatever the number of intervals (our choice).
FALSE_ALARM = 1e-3


@dataclass(frozen=True)
class Fresh:
    """How fresh events are drawn: the arguments of `cosim.surrogate.certify.certify`; ``said`` is what differs."""

    seed: int
    spread: Mapping[str, float]
    rollouts: int
    said: str


def fresh_events(stored: Surrogate, *, seed: int, independent: bool = False) -> Fresh:
    """As the certificate's own were, from another ``seed``: its own seed is stepped over.

    Its spread is that of its domain, unless the reference is ``independent`` and has none. Where it has intervals after
    the longest runs, as many of these are run as a check takes.
    """
    old = stored.certificate
    if old is None:
        return Fresh(seed, MappingProxyType({}), 0, "")
    said: list[str] = []
    if old.seed == str(seed):
        said.append(f"seed {seed} gave the certificate's own events: seed {seed + 1} was taken")
        seed += 1
    nominal = stored.parameters.resolved()
    spread = {
        name: deviation_within(float(nominal[name]), ends)
        for name, ends in old.domain.parameters.items()
        if ends[0] < ends[1]
    }
    if spread and independent:
        said.append(f"the spread of {', '.join(spread)} is not checked: the reference has none")
        spread = {}
    longest = any(band.events == LENGTHS[-1] for band in old.bands)
    return Fresh(seed, MappingProxyType(spread), LEAST_RUNS + 1 if longest else 0, "; ".join(said))


def broken_intervals(bands: Sequence[Band], after: Mapping[int, Mapping[str, Scores]]) -> tuple[str, ...]:
    """Each 95 % interval that covers too few fresh answers, as a sentence.

    Of n fresh scores the number within the interval that m scores calibrated at rank r is beta-binomial with the
    parameters r and m + 1 - r: what it falls below with a probability of `FALSE_ALARM`, shared among all intervals, is
    too few. Of units with several scores each counts with the share that lies within, which varies less than that.

    Args:
        bands: of the certificate.
        after: signed errors of fresh answers, by the length of a run and by name.
    """
    found = list(_counts(bands, after))
    return tuple(
        f"the 95 % interval of {name} after {band.events} event{'' if band.events == 1 else 's'} covers {inside} of "
        f"{count} fresh answers"
        for band, name, inside, count in found
        if _probability(band.runs, inside, count) < FALSE_ALARM / len(found)
    )


def _counts(bands: Sequence[Band], after: Mapping[int, Mapping[str, Scores]]) -> Iterator[tuple[Band, str, int, int]]:
    for band in bands:
        errors = after.get(band.events, {})
        for name, share in band.covered(errors).items():
            count = counted(errors[name])
            yield band, name, round(share * count), count


def _probability(runs: int, inside: int, count: int) -> float:
    """That ``inside`` or fewer of ``count`` lie within an interval calibrated on ``runs`` scores."""
    from scipy.stats import betabinom

    rank = int(np.ceil((runs + 1) * USUAL - 1e-9))
    return float(betabinom.cdf(inside, count, rank, runs + 1 - rank))
