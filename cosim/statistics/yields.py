"""Yield: the share of samples that keep their limits, with an interval that says how well it is known.

Clopper and Pearson, Biometrika 1934: exact, covers at least as often as it says. Wilson, JASA 1927: shorter, covers
about as often as it says (Brown, Cai and DasGupta, Statistical Science 2001). Both hold for independent samples. The
points of a Latin hypercube or a Sobol sequence are not independent: the estimate varies less, most of the time, than a
binomial interval says. An honest interval for them comes from independent replicates (`replicated`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from cosim.errors import InputError
from cosim.statistics.verdict import Verdict

Method = Literal["clopper-pearson", "wilson"]
_NAMES = {"clopper-pearson": "Clopper–Pearson", "wilson": "Wilson"}
_DEPENDENT = {"latin-hypercube": "a Latin hypercube", "sobol": "a Sobol sequence"}


@dataclass(frozen=True)
class Yield:
    """A yield and its two-sided interval.

    Args:
        passed, n: samples that keep their limits, of all.
        share: the yield.
        low, high: the interval at ``level``.
        method: of the interval.
        unknown: samples without a verdict. The share counts them as failed; the interval covers both readings.
        note: what a reader has to know; may be empty.
    """

    passed: int
    n: int
    share: float
    low: float
    high: float
    level: float
    method: str
    unknown: int = 0
    note: str = ""

    def judged(self, least: float) -> Verdict:
        """``pass`` where the whole interval is at least ``least``, ``fail`` where it is below, else ``cannot tell``.

        No samples show a yield of 1: a ``least`` of 1 asks of these samples only that each passes.
        """
        if self.low >= least or (least >= 1.0 and self.passed == self.n):
            return Verdict.PASS
        return Verdict.FAIL if self.high < least else Verdict.CANNOT_TELL

    def judgement(self, least: float) -> str:
        """The yield and its interval in words; where they do not decide on ``least``, how many samples would."""
        text = f"{self.passed} of {self.n} ({self.level:.0%}: {self.low:.2%} .. {self.high:.2%})"
        if self.judged(least) is not Verdict.CANNOT_TELL:
            return text
        text += f", which holds {least:.6g}"
        if self.unknown:
            return f"{text}: {self.unknown} have no verdict"
        n = samples_to_tell(self.share, least, level=self.level)
        return f"{text}: no number of samples would decide" if n is None else f"{text}: about {n} samples would decide"

    @property
    def sigma(self) -> float:
        """The yield as a one-sided distance in standard deviations: 99.87 % are 3 sigma."""
        return sigma_of(1.0 - self.share)

    def __str__(self) -> str:
        digits = max(1, math.ceil(math.log10(self.n)) - 2)  # as many as a single sample moves
        share, low, high = (f"{x:.{digits}%}" for x in (self.share, self.low, self.high))
        return f"{share} ({self.passed} of {self.n}; {self.level:.0%}: {low} .. {high}, {self.method})"


def sigma_of(probability: float) -> float:
    """The distance in standard deviations beyond which a normal variable has ``probability``."""
    from scipy import special  # here and below: 26 MB, which a network's read-out does without

    return float(-special.ndtri(probability))


def interval(passed: int, n: int, *, level: float = 0.95, method: Method = "clopper-pearson") -> tuple[float, float]:
    """The two-sided interval of a share of ``passed`` in ``n`` independent samples. Raises `InputError`."""
    if not 0 <= passed <= n or n < 1:
        raise InputError(f"{passed} of {n} is not a share from 0 to 1", remedy="count samples")
    if not 0.0 < level < 1.0:
        raise InputError(f"a level of {level:g} is not between 0 and 1", remedy="give e.g. 0.95")
    if method not in _NAMES:
        raise InputError(f"unknown interval {method!r}", remedy=f"known: {', '.join(_NAMES)}")
    if method == "wilson":
        z = -NormalDist().inv_cdf(0.5 * (1.0 - level))
        share, weight = passed / n, z * z / n
        middle = (share + 0.5 * weight) / (1.0 + weight)
        half = z / (1.0 + weight) * math.sqrt(share * (1.0 - share) / n + 0.25 * weight / n)
        # the ends are 0 and 1 exactly where every sample agrees; rounding would leave 1e-19
        return (0.0 if passed == 0 else max(middle - half, 0.0)), (1.0 if passed == n else min(middle + half, 1.0))
    from scipy import special

    tail = 0.5 * (1.0 - level)
    low = 0.0 if passed == 0 else float(special.betaincinv(passed, n - passed + 1, tail))
    high = 1.0 if passed == n else float(special.betainccinv(passed + 1, n - passed, tail))
    return low, high


def samples_to_tell(share: float, least: float, *, level: float = 0.95) -> int | None:
    """How many samples, of which ``share`` pass, have an interval that lies on one side of ``least``.

    To two digits, and a fifth more than the smallest number (our choice); None where more than 1e9 are needed.
    """
    n = 1.0
    while n <= 1e9:
        count = math.ceil(n)
        low, high = interval(round(share * count), count, level=level)
        if low >= least or high < least:
            return math.ceil(float(f"{1.2 * count:.1e}"))
        n *= 1.05
    return None


def estimate(
    passed: int,
    n: int,
    *,
    unknown: int = 0,
    level: float = 0.95,
    method: Method = "clopper-pearson",
    sampling: str = "monte-carlo",
    cycles: int = 1,
) -> Yield:
    """The yield of ``n`` samples of which ``passed`` keep their limits and ``unknown`` have no verdict.

    ``sampling`` is the method of the draws (`sampling.Draws`), ``cycles`` their cycles per device.
    """
    if not 0 <= unknown <= n - passed:
        raise InputError(f"{unknown} of {n - passed} samples without a verdict", remedy="count samples")
    low, _ = interval(passed, n, level=level, method=method)
    _, high = interval(passed + unknown, n, level=level, method=method)
    notes = []
    if sampling in _DEPENDENT:
        notes.append(
            f"the interval assumes independent samples, which those of {_DEPENDENT[sampling]} are not: mostly it"
            " is too wide, and only replicates can show"
        )
    if cycles > 1:
        notes.append("cycles of one device are not independent: the interval is too narrow unless devices are counted")
    if unknown:
        notes.append(f"{unknown} without a verdict count as failed in the share, and as either in the interval")
    return Yield(passed, n, passed / n, low, high, level, _NAMES[method], unknown, "; ".join(notes))


def replicated(counts: Sequence[tuple[int, int]], *, level: float = 0.95) -> Yield:
    """The yield over independent replicates of one point set, each ``(passed, n)``, with Student's t interval.

    Where all replicates agree to the last sample, their scatter says nothing, and the exact binomial interval of all
    samples together stands in. Raises `InputError` for fewer than three replicates.
    """
    if len(counts) < 3:
        raise InputError(f"{len(counts)} replicates do not show a scatter", remedy="run three or more, better ten")
    shares = np.array([passed / n for passed, n in counts])
    passed, n = sum(count for count, _ in counts), sum(size for _, size in counts)
    scatter = float(np.std(shares, ddof=1))
    if scatter == 0.0:
        low, high = interval(passed, n, level=level)
        note = "all replicates agree to the last sample: binomial interval of all samples"
        return Yield(passed, n, passed / n, low, high, level, _NAMES["clopper-pearson"], note=note)
    from scipy import special

    middle = float(np.mean(shares))
    half = float(special.stdtrit(len(counts) - 1, 0.5 * (1.0 + level))) * scatter / math.sqrt(len(counts))
    method = f"t, {len(counts)} replicates"
    return Yield(passed, n, middle, max(middle - half, 0.0), min(middle + half, 1.0), level, method)
