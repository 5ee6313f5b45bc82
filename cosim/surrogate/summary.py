"""What a certificate says of errors: their size on single events, and how they grow in a free run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from cosim import units
from cosim.devices.base import Array
from cosim.errors import InputError


@dataclass(frozen=True)
class ErrorSummary:
    """Errors on held-out data, in ``unit``; ``full_scale`` is what the percentages refer to.

    ``median`` and ``p95``: of their magnitudes, which half and 95 % of them do not exceed; None: not known.
    """

    max: float
    rms: float
    full_scale: float
    unit: str
    median: float | None = None
    p95: float | None = None

    @property
    def max_percent(self) -> float:
        """The largest error in % of full scale."""
        return 100.0 * self.max / self.full_scale

    @property
    def rms_percent(self) -> float:
        """The root-mean-square error in % of full scale."""
        return 100.0 * self.rms / self.full_scale

    @classmethod
    def of(cls, error: Array, *, full_scale: float, unit: str) -> Self:
        """The summary of errors of any shape; raises `InputError` where there are none or one is not finite."""
        if error.size == 0 or not np.all(np.isfinite(error)):
            raise InputError("an error that is not finite cannot be certified", remedy="look at the reference's data")
        size = np.abs(error)
        median, most = (float(x) for x in np.quantile(size, (0.5, 0.95)))
        return cls(float(np.max(size)), float(np.sqrt(np.mean(error**2))), full_scale, unit, median, most)

    def shown(self) -> str:
        """Median, 95 %, worst and rms in % of full scale."""
        parts = [("median", self.median), ("95 %", self.p95), ("worst", self.max), ("rms", self.rms)]
        shown = ", ".join(f"{n} {100.0 * x / self.full_scale:.3g} %" for n, x in parts if x is not None)
        return f"{shown} of {units.show(self.full_scale, self.unit)}"

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """The inverse of `vars`."""
        median, p95 = (None if given[name] is None else float(given[name]) for name in ("median", "p95"))
        worst, rms, full_scale = (float(given[name]) for name in ("max", "rms", "full_scale"))
        return cls(worst, rms, full_scale, str(given["unit"]), median, p95)


@dataclass(frozen=True)
class Rollout:
    """Growth of the state's error in a free run: after ``pulses`` pulses, the largest and rms error over the trains."""

    pulses: tuple[int, ...]
    max: tuple[float, ...]
    rms: tuple[float, ...]
    trains: int
