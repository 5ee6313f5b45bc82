"""What a joint fit found: each unknown with its group and verdict, the spread of each population, one set per group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import tomli_w

from cosim.devices.base import Values
from cosim.errors import InputError
from cosim.files import write_atomic
from cosim.fitting.forward import PointForward
from cosim.fitting.identify import Identifiability
from cosim.fitting.joint_recipe import JointRecipe
from cosim.fitting.observation import JointForward, Observation
from cosim.fitting.population import PopulationSpread
from cosim.fitting.problem import Problem
from cosim.fitting.provenance import made_with, measured_range
from cosim.fitting.residuals import ResidualCheck
from cosim.fitting.result import Cost, ResultRow, findings, judgement, not_fitted, number, proposed, rms_over_range
from cosim.fitting.uncertainty import Uncertainty
from cosim.parameters import NOT_FITTED, ParameterSet, Quantity, listed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cosim.fitting.next_measurement import NextMeasurement
    from cosim.fitting.posterior import Posterior


@dataclass(frozen=True)
class StageResult:
    """One stage: its problem, the unknowns at its minimum, and the judgement on them.

    Args:
        title: of the stage.
        forward, problem: what was fitted.
        values: of the unknowns (SI).
        uncertainty: their covariance; of a population, given its spread.
        verdict: what the observations determine.
        spread: of each population.
        checks: the tests on the residuals of each observation.
        evaluations: of the model.
    """

    title: str
    forward: JointForward = field(repr=False)
    problem: Problem = field(repr=False)
    values: Values
    uncertainty: Uncertainty = field(repr=False)
    verdict: Identifiability
    spread: Mapping[str, PopulationSpread]
    checks: Mapping[str, ResidualCheck] = field(repr=False)
    evaluations: int


@dataclass(frozen=True)
class JointResult:
    """The result of `extract_joint`: the recipe, its observations, its stages, the cost, and samples if asked for.

    >>> cosim.JointResult.__dataclass_fields__.keys() >= {"observations", "stages"}
    True
    """

    recipe: JointRecipe
    observations: tuple[Observation, ...] = field(repr=False)
    stages: tuple[StageResult, ...]
    cost: Cost
    posterior: Posterior | None = field(default=None, repr=False)

    @property
    def verdict(self) -> Identifiability:
        """That of the last stage."""
        return self.stages[-1].verdict

    @cached_property
    def proposal(self) -> NextMeasurement | None:
        """What to measure next, and of which observation; None where nothing is open, or where it takes simulations."""
        by_function = any(isinstance(one.forward, PointForward) for one in self.stages[-1].forward.observations)
        return None if by_function else proposed(self, self.verdict)

    @property
    def points(self) -> str:
        """How many rows of how many observations, in words."""
        held = sum(int(one.held_out.sum()) for one in self.observations)
        total = sum(len(one.recording) for one in self.observations)
        left = sum(int(one.left_out.sum()) for one in self.observations)
        tail = f", {left} {'outlier' if left == 1 else 'outliers'} left out" if left else ""
        return f"{len(self.observations)} observations, {total - held - left} points, {held} held out{tail}"

    def rows(self) -> list[ResultRow]:
        """One line per unknown, from the last stage that varied it."""
        found = {}
        for stage in self.stages:
            units = {entry.name: entry.unit for entry in stage.forward.params}
            for name in stage.problem.names:
                stderr = stage.uncertainty.stderr(name) if stage.verdict.useful else None
                found[name] = ResultRow(name, float(stage.values[name]), units[name], stderr, stage.verdict[name])
        return list(found.values())

    @property
    def held(self) -> dict[str, tuple[float, str, str]]:
        """The parameters that no stage varied: value (SI), unit and origin; named by observation where they differ."""
        varied = {unknown.parameter for stage in self.stages for unknown in stage.forward.unknowns.values()}
        found: dict[str, dict[str, tuple[float, str, str]]] = {}
        for one in self.observations:
            for entry in one.forward.params:
                if entry.name not in varied:
                    value = float(one.base[entry.name])
                    origin = self.recipe.origin(entry.name, value)
                    found.setdefault(entry.name, {})[one.name] = value, entry.unit, origin
        told: dict[str, tuple[float, str, str]] = {}
        for name, by in found.items():
            same = len({value for value, *_ in by.values()}) == 1
            told |= {name: next(iter(by.values()))} if same else {f"{name} of {one}": it for one, it in by.items()}
        return told

    @property
    def spreads(self) -> dict[str, PopulationSpread]:
        """The spread of each population, from the last stage that varied it."""
        return {name: spread for stage in self.stages for name, spread in stage.spread.items()}

    def predicted(self, one: Observation) -> Any:
        """The measured column of an observation as the model gives it; (n,)."""
        return one.forward.predict(one.base)

    def errors(self) -> dict[str, tuple[float, float | None]]:
        """RMS error over the range of each observation: of its fitted rows, and of those held out (None: no rows)."""
        found = {}
        for one in self.observations:
            residual, y, out = one.recording.measured - self.predicted(one), one.recording.measured, one.held_out
            kept = ~out & (one.side == 0) & ~one.left_out
            held = rms_over_range(residual[out], y[out]) if out.any() else None
            found[one.name] = (rms_over_range(residual[kept], y[kept]), held)
        return found

    def parameter_sets(self) -> dict[str, ParameterSet]:
        """A set by name: the recipe's with what is shared and the means, and ``NAME_GROUP`` of each group.

        A set has a standard error where the verdict does not deny it; covariances are in the stages.
        """
        if not self.recipe.device:
            raise InputError(
                f"{self.recipe.name} was fitted to no device, so that there is no parameter set of one",
                remedy="take its values: rows(), to_json()",
            )
        base = self.recipe.starting_set()
        known = {entry.name: entry for entry in self.recipe.model.params}
        source = "extracted from " + ", ".join(dict.fromkeys(o.recording.source or o.name for o in self.observations))
        unknowns = {name: unknown for stage in self.stages for name, unknown in stage.forward.unknowns.items()}
        rows = {row.name: row for row in self.rows()}
        columns = {spec.name: spec.columns for spec in self.recipe.observations}
        notes = (*self.recipe.notes, *findings(self.verdict, columns), *self._populations())
        start = not_fitted(base)
        start |= {
            name: Quantity(float(value), None, NOT_FITTED)
            for one in self.observations
            if one.spec.model is None
            for name, value in one.base.items()
            if name in known and name not in start and name in self.recipe.start.values
        }
        made = {}
        for group in dict.fromkeys(["", *(unknown.group for unknown in unknowns.values())]):
            values = dict(start)
            # What is shared, then the means, then the group's values.
            for name, unknown in sorted(unknowns.items(), key=lambda entry: entry[1].group):
                if unknown.group in ("", group) and unknown.parameter in known:
                    values[unknown.parameter] = Quantity(rows[name].value, rows[name].stderr, source)
            title = self.recipe.set_name(group)
            made[title] = ParameterSet(
                self.recipe.device, title, MappingProxyType(values), source, notes,
                provenance=MappingProxyType(self.provenance()), plasticity=base.plasticity,
            )  # fmt: skip
        return made

    def save(self, path: str | Path) -> Path:
        """Write all `parameter_sets` into one file, replacing it atomically; without a device the unknowns alone."""
        import tomllib

        if not self.recipe.device:
            return write_atomic(path, tomli_w.dumps(self._values()))
        sets = [tomllib.loads(found.to_toml())["sets"] for found in self.parameter_sets().values()]
        body = {name: table for one in sets for name, table in one.items()}
        return write_atomic(path, tomli_w.dumps({"device": self.recipe.device, "sets": body}))

    def _values(self) -> dict[str, Any]:
        """The unknowns as ``[parameters]`` of a bench: those of a group under ``[groups.GROUP]``."""
        unknowns = {name: unknown for stage in self.stages for name, unknown in stage.forward.unknowns.items()}
        found: dict[str, Any] = {"parameters": {}, "groups": {}}
        for row in self.rows():
            unknown = unknowns[row.name]
            table = found["groups"].setdefault(unknown.group, {}) if unknown.group else found["parameters"]
            table[unknown.parameter] = {"value": row.value, "unit": row.unit}
        errors = {row.name: row.stderr for row in self.rows() if row.stderr is not None}
        notes = [*self.recipe.notes, self.verdict.summary, *self.verdict.sentences()]
        fit = {"name": self.recipe.name, "notes": notes, "stderr": errors, "provenance": self.provenance()}
        return {**found, "fit": fit}

    def _populations(self) -> list[str]:
        return [f"population of {name}: spread {spread}" for name, spread in self.spreads.items()]

    def provenance(self) -> dict[str, str]:
        """Hashes and versions that make the result reproducible."""
        data = {f"sha256 of {one.name}": one.recording.fingerprint for one in self.observations}
        for one in self.observations:
            data |= {f"{key} of {one.name}": value for key, value in one.forward.provenance().items()}
        applied = measured_range(one.recording for one in self.observations)
        return {**data, "recipe_sha256": self.recipe.fingerprint(), **applied, **made_with()}

    def to_json(self) -> dict[str, Any]:
        """The result as plain values for `json.dumps`; what is absent or infinite is null."""
        unknowns = {name: unknown for stage in self.stages for name, unknown in stage.forward.unknowns.items()}
        checks = self.stages[-1].checks
        readings = {one.name: one.recording.reading for one in self.observations}
        left = {one.name: int(one.left_out.sum()) for one in self.observations}
        return {
            "name": self.recipe.name,
            "device": self.recipe.device or None,
            "parameters": {
                row.name: {
                    "parameter": unknowns[row.name].parameter,
                    "scope": unknowns[row.name].scope,
                    "group": unknowns[row.name].group or None,
                    **row.to_json(),
                }
                for row in self.rows()
            },
            "populations": {
                name: {"spread": s.value, "interval_95": [number(end) for end in s.interval], "groups": s.groups}
                for name, s in self.spreads.items()
            },
            "observations": {
                name: {
                    "reading": None if (reading := readings[name]) is None else reading.to_json(),
                    "error": number(fitted),
                    "held_out_error": number(held),
                    "outliers": left[name],
                    "white": None if (check := checks.get(name)) is None else check.white,
                    # null where the noise was estimated from the residuals: it would be 1 by construction
                    "reduced_chi_square": number(check.reduced_chi_square) if check and check.noise_known else None,
                }
                for name, (fitted, held) in self.errors().items()
            },
            "held": listed(self.held) or None,
            "stages": [
                {
                    "title": stage.title,
                    "names": list(stage.uncertainty.names),
                    "covariance": stage.uncertainty.covariance.tolist(),
                    "verdict": stage.verdict.summary,
                }
                for stage in self.stages
            ],
            **judgement(self.verdict, self.cost),
            **({} if self.posterior is None else {"posterior": self.posterior.to_json()}),
            "provenance": self.provenance(),
        }

    def figure(self) -> Figure:
        """Every observation with its prediction."""
        from cosim.report.fit_figures import joint_figure

        return joint_figure(self)
