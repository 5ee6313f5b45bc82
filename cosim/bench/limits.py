"""Limits of a bench: the verdict on each measure's, and whether it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cosim.bench.file import Limit, Origin
from cosim.bench.measured import Measured
from cosim.bench.result import BenchResult
from cosim.bench.testbench import Testbench
from cosim.statistics.verdict import Verdict
from cosim.units import in_unit, show, si_unit

_NUMBERS = ("low", "high", "smallest", "largest")


@dataclass(frozen=True)
class Spec:
    """One limit of one bench in one corner.

    Args:
        bench, corner, measure: what it is about.
        verdict: on it; ``why`` says what a reader has to know, and is empty for a plain pass.
        low, high: the limit (SI); None is open.
        smallest, largest: of the measure's values (SI); None where it has none.
        shown_in: the unit that the bench asks for, in which `value`, `limit` and `to_dict` have them.
        moved: how far the measure moves in the repeated run, relative to its largest value; None where not repeated.
        origin, reason: where the limit is from, as the bench states it (`cosim.bench.file.Limit`).
    """

    bench: str
    corner: str
    measure: str
    verdict: Verdict
    why: str
    shown_in: str
    low: float | None
    high: float | None
    smallest: float | None = None
    largest: float | None = None
    moved: float | None = None
    origin: Origin | None = None
    reason: str = ""

    @property
    def unit(self) -> str:
        """The SI unit of limits and values."""
        return si_unit(self.shown_in)

    def limit(self) -> str:
        """The limit in words."""
        low, high = (None if x is None else show(x, self.shown_in) for x in (self.low, self.high))
        return f"{low} .. {high}" if low and high else f">= {low}" if low else f"<= {high}"

    @property
    def basis(self) -> str:
        """Where the limit is from, in words."""
        return Limit(origin=self.origin, reason=self.reason).basis

    @property
    def account(self) -> str:
        """What a reader has to know of the verdict: why, and where a limit is from that is not kept for certain."""
        return self.why if self.verdict is Verdict.PASS else "; ".join(filter(None, (self.why, self.basis)))

    def value(self) -> str:
        """The measure in words."""
        if self.smallest is None or self.largest is None:
            return ""
        if self.smallest == self.largest:
            return show(self.smallest, self.shown_in)
        return f"{show(self.smallest, self.shown_in)} .. {show(self.largest, self.shown_in)}"

    def to_dict(self) -> dict[str, Any]:
        """JSON values, limits and values in ``unit``, which is the bench's; what is absent is left out."""
        values = {**vars(self), "verdict": self.verdict.value}
        values |= {name: in_unit(x, self.shown_in) for name in _NUMBERS if (x := values[name]) is not None}
        values = {"unit" if key == "shown_in" else key: value for key, value in values.items()}
        return {key: value for key, value in values.items() if value is not None and value != ""}


def moves(measured: Measured, again: Measured) -> float | None:
    """By how much the repeated run moves a measure, relative to its largest value or limit; None: not comparable."""
    if again.values.shape != measured.values.shape:
        return None
    furthest = float(np.max(np.abs(again.values - measured.values), initial=0.0))
    # a value near zero is compared to its limit; without one, a repeated zero to its earlier value
    scale = again.scale or measured.scale or 1.0
    return furthest / scale if np.isfinite(furthest) and np.isfinite(scale) else None


def judge_limit(bench: Testbench, corner: str, name: str, run: BenchResult, again: BenchResult | None) -> Spec:
    """The verdict on one limit of a run, trusted where ``again``, a run with tightened tolerances, agrees."""
    unit = bench.file.measures[name].unit
    limit = bench.file.limits[name]
    low, high = limit.span(unit)

    def spec(verdict: Verdict, why: str = "", measured: Measured | None = None, moved: float | None = None) -> Spec:
        ends: tuple[float | None, float | None] = (None, None)
        if measured is not None and measured.values.size:
            ends = (float(measured.values.min()), float(measured.values.max()))
        made = Spec(bench.name, corner, name, verdict, why, unit, low, high, *ends, moved=moved)
        return replace(made, origin=limit.origin, reason=limit.reason)

    if not run.result.ok:
        return spec(Verdict.CANNOT_TELL, f"{run.result.outcome.value}: {run.result.reason}")
    if name in run.missing:
        return spec(Verdict.CANNOT_TELL, run.missing[name])
    measured = run.measures[name]
    plain = measured.verdict or Verdict.PASS
    if plain is Verdict.CANNOT_TELL:
        why = "a value is not finite" if measured.values.size else "the measure has no values"
        return spec(plain, why, measured)
    if again is None:
        return spec(plain, _worst(measured) if plain is Verdict.FAIL else "", measured)
    if not again.result.ok:
        why = f"the run with tightened tolerances: {again.result.outcome.value}: {again.result.reason}"
        return spec(Verdict.CANNOT_TELL, why, measured)
    if name in again.missing:
        return spec(Verdict.CANNOT_TELL, f"the run with tightened tolerances: {again.missing[name]}", measured)
    other = again.measures[name]
    moved = moves(measured, other)
    if moved is None:
        why = "the repeated run gives a different number of values, or one that is not finite"
        return spec(Verdict.CANNOT_TELL, why, measured)
    if other.verdict is not measured.verdict:
        why = f"tightened tolerances turn it into {other.verdict or Verdict.PASS}"
        return spec(Verdict.CANNOT_TELL, why, measured, moved)
    if moved > bench.file.trust.moves:
        why = f"moves by {moved:.1%} with tightened tolerances and half the step"
        return spec(Verdict.CANNOT_TELL, why, measured, moved)
    return spec(plain, _worst(measured) if plain is Verdict.FAIL else "", measured, moved)


def _worst(measured: Measured) -> str:
    beyond = measured.excess
    k = int(np.nanargmax(beyond))
    count = int(np.count_nonzero(beyond > 0.0))
    at = ", ".join(f"{name} = {column[k]:.4g}" for name, column in measured.coordinates.items())
    place = f" at {at}" if at else f" at value {k + 1}" if measured.values.size > 1 else ""
    share = f"; {count} of {measured.values.size} values break it" if measured.values.size > 1 else ""
    return f"{measured.show(float(measured.values[k]))}{place}{share}"
