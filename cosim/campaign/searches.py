"""Plans that choose their cases by the results of earlier ones: `cosim.campaign.ask_tell` on the bench of a plan.

A search is deterministic: told the same rows it asks for the same cases. So a campaign that was stopped goes on by
replaying it against the rows in the store, and nothing of its state has to be kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from cosim.campaign.address import NOMINAL
from cosim.campaign.ask_tell import Search
from cosim.campaign.cases import Case
from cosim.campaign.importance import importance_sampling
from cosim.campaign.plan import HighSigma, Plan, WorstCase, check_spreads
from cosim.campaign.points import Variables, repeats
from cosim.devices.base import Array
from cosim.errors import InputError, UnknownName
from cosim.measure.physics import Verdict
from cosim.spice.simulator import Outcome
from cosim.spice.testbench import Testbench


@dataclass
class Searcher:
    """A search as cases and rows: ``ask`` for the next cases, ``tell`` their rows, in order."""

    search: Search[Any, Any]
    variables: Variables
    way: WorstCase | HighSigma
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
        """The rows of the cases that were asked for."""
        answers: Array | list[bool]
        if isinstance(self.way, HighSigma):
            answers = [fails(row, self.way.limit) for row in rows]
        else:
            answers = np.array([worst_value(row, self.way) for row in rows])
        self.asked += len(rows)
        self.search.tell(answers)


def fails(row: Mapping[str, Any], limit: str) -> bool:
    """Whether a case breaks a limit. A run that did not converge, or has no verdict, counts as broken (own)."""
    return bool(row.get("limits", {}).get(limit) != Verdict.PASS.value)


def worst_value(row: Mapping[str, Any], way: WorstCase) -> float:
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
    nominals = check_spreads(plan, bench)
    # a truncated tail would hide what is searched for
    spreads = {name: spread.unclipped() for name, spread in way.variables.items()}
    variables = Variables(spreads, nominals, way.correlations)
    if not len(variables):
        raise InputError("the search varies nothing", remedy="name variables")
    d, seed, budget = len(variables), way.seed, way.cases
    search: Search[Any, Any]
    if isinstance(way, HighSigma):
        if way.limit not in bench.file.limits:
            raise UnknownName(f"limit of bench {bench.name}", way.limit, bench.file.limits)
        from cosim.campaign.scaled import scaled_sigma

        make = importance_sampling if way.method == "importance" else scaled_sigma
        search = make(d, seed=seed, budget=budget, level=way.confidence)
    else:
        if way.measure not in bench.file.measures:
            raise UnknownName(f"measure of bench {bench.name}", way.measure, bench.file.measures)
        from cosim.campaign.worst import worst_case

        search = worst_case(
            d, sense="min" if way.worst == "smallest" else "max", sigma=way.sigma, seed=seed, budget=budget
        )
    return Searcher(search, variables, way, plan.trust)
