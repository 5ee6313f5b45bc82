"""Recipes of joint fits: several observations, parameters with a scope, stages; and `load_recipe` for both kinds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from cosim.data.recording import Group
from cosim.data.spec import DataSpec, Quantities
from cosim.devices.registry import devices
from cosim.errors import InputError, UnknownName, at
from cosim.fitting.circuit import CircuitSpec
from cosim.fitting.methods import LEAST_SQUARES, Method
from cosim.fitting.priors import PriorSpec
from cosim.fitting.recipe import FitRecipe, Recipe, recipe_file, require_model
from cosim.fitting.recipe_tables import HeldOut, NoiseSpec, RampLaw
from cosim.schema import Table
from cosim.toml_files import read_toml


class ObservationSpec(DataSpec):
    """One measured recording of a joint fit: everything of ``[data]``, and which device it belongs to.

    Args:
        name: of the observation; a file with columns of ``groups`` becomes one observation for each combination.
        labels: the ``device``, ``cycle`` or ``sweep`` of the whole file; default device: the observation's name.
        model: the device model of this observation, where it is another one than the recipe's; parameters of the same
            name are the same.
        values: what is different in this observation: values of parameters that do not vary, starts of those that do.
        circuit: the bench that was measured, where the curve is not that of the device alone.
        noise: of one read; default: estimated for each observation from its residuals.
        held_out: the part that the fit does not see.
        ramps: choices for ramps of equal pulses.
    """

    name: str
    labels: dict[Group, str] = Field(default_factory=dict)
    model: str | None = None
    circuit: CircuitSpec | None = None
    values: Quantities = Field(default_factory=dict)
    noise: NoiseSpec = NoiseSpec()
    held_out: HeldOut = HeldOut()
    ramps: RampLaw = RampLaw()


class ParameterSpec(Table):
    """A parameter that varies in a joint fit.

    Args:
        scope: ``shared``: one value for all observations; ``own``: a value for each group; ``population``: a value for
            each group, drawn from a normal distribution whose mean and spread are estimated.
        by: the group: ``device`` (all observations of a device share the value), ``cycle`` (of a device), ``sweep`` (of
            a cycle) or ``observation``.
        bounds: lower and upper; default: the device's. A plain number is SI.
        prior: what is known of each of its values beforehand (of a population: of its mean), counted as an observation.
    """

    scope: Literal["shared", "own", "population"] = "shared"
    by: Literal["observation", "device", "cycle", "sweep"] = "device"
    bounds: tuple[str | float, str | float] | None = None
    prior: PriorSpec | None = None


class StageSpec(Table):
    """One stage of a joint fit. It starts where the one before it ended; what it does not vary is held there.

    Args:
        title: what it is called.
        vary: the parameters; default: all.
        observations: names or kinds of observations; default: all.
        part: first and last share of each recording's rows: ``[0, 0.5]`` is the first half.
        method: how the minimum is looked for, as in ``fit``.
    """

    title: str = ""
    vary: tuple[str, ...] = ()
    observations: tuple[str, ...] = ()
    part: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.0, 1.0)
    method: Method = LEAST_SQUARES


class JointRecipe(Recipe):
    """Several observations fitted together, with shared, per-group and population parameters, in one or more stages.

    Args:
        name: of the parameter sets that come out.
        device: the model whose parameters are extracted (``cosim devices``); without it every observation has a
            circuit.
        observations: what was measured.
        parameters: what varies, and for whom.
        stages: one fit after the other; default: a single one of everything.
        start: values before the fit.
        notes: sentences that go into the parameter sets.
        path, given: as in `FitRecipe`.

    >>> body = {"name": "two", "device": "vteam", "observations": [{"name": "A", "kind": "loop", "file": "a.csv"}]}
    >>> recipe = cosim.JointRecipe.model_validate({**body, "parameters": {"k_on": {"scope": "own"}}})
    >>> recipe.parameters["k_on"].by
    'device'
    """

    device: str = ""
    observations: tuple[ObservationSpec, ...] = Field(min_length=1)
    parameters: dict[str, ParameterSpec] = Field(min_length=1)
    stages: tuple[StageSpec, ...] = (StageSpec(),)

    @property
    def subject(self) -> str:
        """What is fitted, in words: the device, or the benches without one."""
        benches = dict.fromkeys(spec.circuit.bench for spec in self.observations if spec.circuit is not None)
        return self.device or f"bench {', '.join(benches)}"

    def set_name(self, group: str) -> str:
        """The name of the parameter set of a group; of ``""``: of what is shared."""
        return f"{self.name}_{group.replace('/', '_')}" if group else self.name

    def check(self) -> None:
        """As of any recipe; names of observations and parameters, and conditions."""
        if self.device or any(spec.circuit is None and spec.model is None for spec in self.observations):
            super().check()
        names = [spec.name for spec in self.observations]
        for k, spec in enumerate(self.observations):
            with at("observations", k):
                spec.resolved_conditions("conditions")
                spec.resolved_pulses()
                require_model(spec.kind, spec.circuit)
                if names.count(spec.name) > 1:
                    raise InputError(f"two observations are named {spec.name!r}", remedy="give each a different name")
                if spec.model is not None and spec.model not in devices():
                    raise UnknownName("device", spec.model, devices())
        known = {*names, *(spec.kind for spec in self.observations)}
        for k, stage in enumerate(self.stages):
            with at("stages", k):
                for name in stage.vary:
                    if name not in self.parameters:
                        raise UnknownName("parameter of the recipe", name, self.parameters)
                for name in stage.observations:
                    if name not in known:
                        raise UnknownName("observation", name, known)
                if not stage.part[0] < stage.part[1]:
                    raise InputError("part = [first, last] leaves no rows", remedy="write the smaller share first")


def load_recipe(path: str | Path, *, allow: Sequence[str | Path] = ()) -> FitRecipe | JointRecipe:
    """The recipe in a file: a joint one where it has ``[[observations]]``; raises as `Recipe.load`."""
    file = recipe_file(path)
    joint = "observations" in read_toml(file, kind="fit recipe")
    return (JointRecipe if joint else FitRecipe).load(file, allow=allow)
