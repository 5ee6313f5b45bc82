"""The result of an estimate of a small failure probability, whichever method made it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.statistics.ask_tell import Steps
from cosim.statistics.yields import sigma_of

UNKNOWN = 0.05  # our choice: the largest share of the failures' weight that unknown points may have


@dataclass(frozen=True)
class ScaleFit:
    """The fit behind a scaled-sigma estimate: log P(s) = alpha + beta log s + gamma / s².

    Args:
        scales, failed, samples: per scale (k,): its factor, failures, and samples.
        alpha, beta, gamma: of the model.
        chi_square, freedom, p_value: of the weighted residuals: a small p says that the model does not hold.
    """

    scales: Array
    failed: Array
    samples: Array
    alpha: float
    beta: float
    gamma: float
    chi_square: float
    freedom: int
    p_value: float


@dataclass(frozen=True)
class RareFailure:
    """An estimate of the probability to fail.

    Args:
        method: "importance" or "scaled-sigma".
        probability: to fail; None where it cannot be estimated, and ``why`` says why.
        low, high: two-sided interval at ``level``; None likewise.
        level: of the interval.
        evaluated, failed: points, and those of them that fail.
        unknown: points without a verdict; they count as neither.
        trusted: whether the method's own checks hold; ``why`` is the reason where they do not.
        standard_error: of the probability, where the method has one.
        effective: effective number of failing samples: how many unweighted ones say as much (importance sampling).
        nearest: the smallest distance from the nominal point, in standard deviations, at which a point failed.
        centres: where the samples were drawn around, (regions, d) (importance sampling).
        fit: the model (scaled sigma).
    """

    method: str
    probability: float | None
    low: float | None
    high: float | None
    level: float
    evaluated: int
    failed: int
    trusted: bool
    why: str = ""
    unknown: int = 0
    standard_error: float | None = None
    effective: float | None = None
    nearest: float | None = None
    centres: Array = field(default_factory=lambda: np.empty((0, 0)))
    fit: ScaleFit | None = None

    @property
    def sigma(self) -> float | None:
        """The probability as a one-sided distance in standard deviations."""
        return None if self.probability is None else sigma_of(self.probability)

    @property
    def sigma_interval(self) -> tuple[float, float] | None:
        """The interval in standard deviations, the smaller first."""
        return None if self.low is None or self.high is None else (sigma_of(self.high), sigma_of(self.low))

    def __str__(self) -> str:
        if self.probability is None or self.low is None or self.high is None:
            return f"{self.method}: cannot tell: {self.why}"
        span = self.sigma_interval or (0.0, 0.0)
        text = (
            f"{self.method}: P = {self.probability:.3g} ({self.level:.0%}: {self.low:.3g} .. {self.high:.3g}),"
            f" {self.sigma:.2f} sigma ({span[0]:.2f} .. {span[1]:.2f}), {self.evaluated} points"
        )
        return text if self.trusted else f"{text}; not to be trusted: {self.why}"


class Undecided:
    """Which of the last points are unknown (n,), and how many of all."""

    def __init__(self) -> None:
        self.last: NDArray[np.bool_] = np.empty(0, dtype=bool)
        self.count = 0


def decided(steps: Steps[np.bool_, RareFailure], unknown: Undecided) -> Steps[np.float64, RareFailure]:
    """``steps``, which know only points that fail and points that do not, given unknown points as well: NaN.

    Those count as points that do not fail, so no search goes there, and are noted in ``unknown``.
    """
    points = next(steps)
    while True:
        answers = yield points
        unknown.last = np.isnan(answers)
        unknown.count += int(unknown.last.sum())
        try:
            points = steps.send((answers != 0.0) & ~unknown.last)
        except StopIteration as end:
            found: RareFailure = end.value
            break
    why = found.why
    if found.probability is None and unknown.count:
        why = f"{why}; {unknown.count} points have no verdict"
    return replace(found, unknown=unknown.count, why=why)


def nothing(method: str, why: str, *, level: float, evaluated: int, failed: int = 0) -> RareFailure:
    """An estimate without a value, and why."""
    return RareFailure(method, None, None, None, level, evaluated, failed, trusted=False, why=why)
