"""The claim about surrogates: what each kind reaches on held-out SPICE, how far certificates hold, and the speed."""

from __future__ import annotations

from claims import surrogates_cells, surrogates_kinds
from claims.base import Claim, Figures, Report


def _measure(report: Report) -> Figures:
    return surrogates_cells.measure(report) | surrogates_kinds.measure(report)


SURROGATES = Claim(
    "surrogates",
    "surrogates of a cell, of two neurons and of a filter follow SPICE on events held out, within the "
    "intervals of their certificates, and arrays of cells run at memory's pace",
    _measure,
    {**surrogates_cells.LIMITS, **surrogates_kinds.LIMITS},
)
