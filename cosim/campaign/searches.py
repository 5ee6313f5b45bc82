"""Plans that choose their cases by the results of earlier ones: `cosim.statistics.ask_tell` on the bench of a plan.

A search is deterministic: given the same rows it asks for the same cases. So a campaign that was stopped resumes by
replaying it against the rows in the store, and its state need not be kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from cosim.bench.testbench import Testbench
from cosim.campaign.address import NOMINAL, nominal
from cosim.campaign.cases import Case
from cosim.campaign.plan import HighSigma, Plan, WorstCaseSearch, check_spreads
from cosim.campaign.points import Variables, repeats
from cosim.engines.simulator import Outcome
from cosim.errors import InputError, UnknownName, at
from cosim.statistics.ask_tell import Search
from cosim.statistics.distance import worst_case_distance
from cosim.statistics.importance import importance_sampling
from cosim.statistics.scaled import scaled_sigma
from cosim.statistics.verdict import Verdict
from cosim.statistics.worst import worst_case
from cosim.units import in_unit, show

_TOLD = frozenset({Outcome.CONVERGED.value, Outcome.NOT_CONVERGED.value})


@dataclass
class Searcher:
    """A search as cases and rows: ``ask`` for the next cases, ``tell`` their rows, in order."""

    search: Search[Any, Any]
    variables: Variables
    way: WorstCaseSearch | HighSigma
    trust: float
    asked: int = 0

    def ask(self) -> list[Case] | None:
        """The next cases; None where the search is over."""
        points = self.search.ask()
        if points is None:
            return None
        return [
            Case(
                self.asked + k, NOMINAL, MappingProxyType(self.variables.values(z)), repeats(self.asked + k, self.trust)
            )
            for k, z in enumerate(points)
        ]

    def tell(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The rows of the cases that were asked for. Raises `InputError` for rows of other cases."""
        asked = self.ask() or []
        if any(dict(case.values) != row["values"] for case, row in zip(asked, rows, strict=True)):
            raise InputError(
                "this search has cases that it would not ask for: another version of cosim began it",
                remedy="export its rows, and begin it anew",
            )
        if isinstance(self.way, HighSigma):
            answers = np.array([failed(row, self.way.limit) for row in rows])
        else:
            answers = np.array([worst_value(row, self.way) for row in rows])
        self.asked += len(rows)
        self.search.tell(answers)


def failed(row: Mapping[str, Any], limit: str) -> float:
    """1 for a case that breaks a limit, 0 for one that keeps it; NaN for one that was refused (no such circuit exists),
    killed or too slow (which depends on the machine, not on the circuit).

    A run that did not converge, or has no verdict, counts as broken (our choice).
    """
    if row["outcome"] not in _TOLD:
        return math.nan
    return float(row.get("limits", {}).get(limit) != Verdict.PASS.value)


def worst_value(row: Mapping[str, Any], way: WorstCaseSearch) -> float:
    """The worst of a case's values of the searched measure; NaN where the run has none."""
    values = row.get("measures", {}).get(way.measure, ())
    if row["outcome"] != Outcome.CONVERGED.value or not len(values):
        return math.nan
    return float(min(values) if way.worst == "smallest" else max(values))


def searcher(plan: Plan, bench: Testbench) -> Searcher | None:
    """The search of a plan, at its beginning; None for a plan without one.

    Raises `UnknownName` for a measure or a limit that the bench lacks.
    """
    way = plan.high_sigma or plan.worst_case
    if way is None:
        return None
    variables = Variables(check_spreads(plan, bench), way.correlations)
    if not len(variables):
        raise InputError("the search varies nothing", remedy="name variables")
    d, seed, budget = len(variables), way.seed, way.cases
    search: Search[Any, Any]
    if isinstance(way, HighSigma):
        if way.limit not in bench.file.limits:
            with at("high_sigma", "limit"):
                raise UnknownName(f"limit of bench {bench.name}", way.limit, bench.file.limits)
        make = importance_sampling if way.method == "importance" else scaled_sigma
        search = make(d, seed=seed, budget=budget, level=way.confidence)
    else:
        if way.measure not in bench.file.measures:
            with at("worst_case", "measure"):
                raise UnknownName(f"measure of bench {bench.name}", way.measure, bench.file.measures)
        if way.find == "distance":
            search = worst_case_distance(d, seed=seed, budget=budget, **_limit(way, bench))
        else:
            sense: Literal["min", "max"] = "min" if way.worst == "smallest" else "max"
            search = worst_case(d, sense=sense, sigma=way.sigma, seed=seed, budget=budget)
    return Searcher(search, variables, way, plan.trust)


def _limit(way: WorstCaseSearch, bench: Testbench) -> dict[Literal["min", "max"], float]:
    limit = bench.file.limits.get(way.measure)
    low, high = limit.span(bench.file.measures[way.measure].unit) if limit is not None else (None, None)
    end: Literal["min", "max"] = "min" if way.worst == "smallest" else "max"
    value = low if end == "min" else high
    if value is None:
        with at("worst_case", "measure"):
            raise InputError(
                f"bench {bench.name} has no limit {end} for {way.measure}, to which a distance could be found",
                remedy=f"write limits.{way.measure}.{end}, or find = 'value'",
            )
    return {end: value}


def described(searcher: Searcher, result: Any, bench: Testbench) -> dict[str, Any]:
    """What a search found, as JSON values: with the values of the variables (SI) where it found a point.

    The measure's value is in ``unit``, which is the bench's.
    """
    found: dict[str, Any] = {
        name: value for name, value in vars(result).items() if isinstance(value, str | int | float | bool)
    }
    if getattr(result, "why", ""):
        found["why"] = result.why
    if isinstance(searcher.way, HighSigma):
        return found | {"limit": searcher.way.limit}
    unit = bench.file.measures[searcher.way.measure].unit
    found |= {"measure": searcher.way.measure, "unit": unit}
    found |= {name: in_unit(found[name], unit) for name in ("value", "nominal") if name in found}
    if result.z is not None:
        found["z"] = dict(zip(searcher.variables.names, (float(x) for x in result.z), strict=True))
        found["at"] = searcher.variables.values(result.z)
    return found


def sentence(searcher: Searcher, result: Any, bench: Testbench) -> str:
    """What a search found, in words."""
    if isinstance(searcher.way, HighSigma):
        text = f"{searcher.way.limit}: {result}"
    else:
        found, way = described(searcher, result, bench), searcher.way
        unit = found["unit"]
        if found.get("value") is None:
            return f"{way.measure}: nothing was found ({result.why})"
        place = ", ".join(
            f"{name} = {show(value, nominal(bench, name)[1])} ({found['z'][name]:+.2f} sigma)"
            for name, value in found["at"].items()
        )
        if way.find == "distance":
            text = (
                f"{way.measure} meets its limit of {show(result.value, unit)} at {result.distance:.3f} sigma: {place}"
            )
        else:
            text = f"{way.worst} {way.measure} within {way.sigma:g} sigma: {show(result.value, unit)} at {place}"
        text += f"; nominal {show(result.nominal, unit)}, {result.evaluated} simulations"
    return text + (f"; {result.why}" if getattr(result, "why", "") and result.why not in text else "")
