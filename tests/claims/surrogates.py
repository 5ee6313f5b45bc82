"""The claim about surrogates: what each kind reaches on held-out SPICE, and how fast it is."""

from __future__ import annotations

from claims.base import Claim, Figures, Report
from claims.surrogates_kinds import LIMITS
from claims.surrogates_kinds import measure as kinds


def _measure(report: Report) -> Figures:
    return kinds(report)


SURROGATES = Claim(
    "surrogates",
    "surrogates of a cell, of two neurons and of a filter, learned from SPICE, follow it on trains held out",
    _measure,
    LIMITS,
)
