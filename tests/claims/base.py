"""What a claim is, and how one is measured, printed and recorded."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cosim.network.run import Resume

Figures = dict[str, Any]
Report = Callable[[str], None]


def resuming() -> Resume:
    """How a claim takes the parts that it finds: those by other code are refused, but for COSIM_KEPT=anyway."""
    return "anyway" if os.environ.get("COSIM_KEPT") == "anyway" else True


@dataclass(frozen=True)
class Claim:
    """A claim and its measurement.

    Args:
        name: what ``measure`` is asked for.
        says: the claim in one sentence.
        measure: makes the figures; called with a function that reports progress.
        limits: figure -> (low, high); None is open. A figure with a limit has to exist and be a number.
        long: too long for CI: recorded by ``reproduce``.
        settings: what the claim runs on, as JSON values: seeds, sizes, parameter values, checksums of data. A recorded
            result is out of date when one of them changes.
        probe: the same computation made small: the same figures within rounding, in seconds, wherever it runs. A
            recorded result is out of date when they change. A claim that is recorded has one.
    """

    name: str
    says: str
    measure: Callable[[Report], Figures]
    limits: Mapping[str, tuple[float | None, float | None]] = field(default_factory=lambda: MappingProxyType({}))
    long: bool = False
    settings: Callable[[], Mapping[str, Any]] = dict
    probe: Callable[[], Figures] | None = None

    def judge(self, figures: Mapping[str, Any]) -> list[str]:
        """The limits that ``figures`` break, each as a sentence."""
        broken = []
        for name, (low, high) in self.limits.items():
            value = figures.get(name)
            if not isinstance(value, int | float) or isinstance(value, bool) or value != value:
                broken.append(f"{name} was not measured")
            elif (low is not None and value < low) or (high is not None and value > high):
                span = f"{'' if low is None else f'{low:g} <= '}{name}{'' if high is None else f' <= {high:g}'}"
                broken.append(f"{name} = {value:.4g}, claimed {span}")
        return broken
