"""Several observations as one forward model: which parameter of which observation is which unknown of the fit.

An observation is a recording, a forward model of it and what is known of its noise. The recipe says which of its
parameters are shared, separate for each group or drawn from a population; an unknown is called ``alpha`` where it is
shared, ``theta[A1]`` where it is group A1's, and ``theta.mean`` where it is a population's mean. A `JointForward`
predicts all observations, one below the other, so that search, standard errors, profiles and verdicts are those of a
single curve. Below the last observation it has one row for each value of a population: its distance from the mean,
measured as 0 with the population's spread for a standard deviation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from cosim.data.recording import Group, Recording
from cosim.devices.base import Array, DeviceModel, Param, Values
from cosim.fitting.forward import Forward
from cosim.fitting.joint_recipe import ObservationSpec, ParameterSpec
from cosim.fitting.plateau import Plateau


@dataclass(frozen=True)
class Observation:
    """A recording, its forward model, and the noise of its rows.

    Args:
        name: of the observation.
        spec: of the recipe.
        recording: what was measured.
        labels: of its device, cycle and sweep.
        model: of the device; None: a circuit alone.
        forward: what that predicts.
        bounds: of the parameters that vary in a fit.
        held_out: (n,) true where a row is never fitted.
        noise: (n,) standard deviation of each row where it was stated; None: it is estimated.
        base: every parameter of the forward model, as far as the fit does not change it.
        limit: rows at an instrument's limit.
        left: (n,) true where a row is an outlier, and was not fitted; None: none is.
    """

    name: str
    spec: ObservationSpec
    recording: Recording
    labels: Mapping[Group, str]
    model: DeviceModel | None
    forward: Forward
    bounds: Mapping[str, tuple[float, float]]
    held_out: NDArray[np.bool_]
    noise: Array | None
    base: Values
    limit: Plateau | None = None
    left: NDArray[np.bool_] | None = None

    @property
    def left_out(self) -> NDArray[np.bool_]:
        """(n,) true where a row is an outlier."""
        return np.zeros(len(self.recording), dtype=bool) if self.left is None else self.left

    def noise_of(self, predicted: Array) -> Array | None:
        """`noise`; where a share of the value is stated, that of what is ``predicted`` (n,)."""
        weights = self.spec.noise.weights(self.recording)
        return self.noise if weights is None else weights(predicted)

    def key(self, by: str) -> tuple[str, ...]:
        """Its labels down to a level: device, cycle and sweep, as far as it has them; or its own name."""
        if by not in self.labels:
            return (self.name,)
        levels = get_args(Group)
        return tuple(self.labels[name] for name in levels[: levels.index(by) + 1] if name in self.labels)

    def group(self, by: str) -> str:
        """Its `key` in one word: ``device``, ``device/cycle``, ``device/cycle/sweep``, or its own name."""
        return "/".join(self.key(by))

    @property
    def side(self) -> NDArray[np.int64]:
        """(n,) +1 or -1 where a row is clipped, 0 elsewhere."""
        return np.zeros(len(self.recording), dtype=np.int64) if self.limit is None else self.limit.side

    def rows(self, part: tuple[float, float]) -> NDArray[np.bool_]:
        """(n,) true where a row is fitted in a stage that looks at a ``part`` of it."""
        share = (np.arange(len(self.recording)) + 0.5) / len(self.recording)
        return np.asarray(~self.held_out & (share > part[0]) & (share < part[1]))


@dataclass(frozen=True)
class Unknown:
    """One number that a joint fit looks for: ``name`` of it, the ``parameter``, its ``scope`` and ``group``."""

    name: str
    parameter: str
    scope: str
    group: str


class JointForward(Forward):
    """All observations under one set of unknowns (module docstring).

    Args:
        observations: in order.
        specs: of the parameters that vary here, by name.
    """

    def __init__(self, observations: Sequence[Observation], specs: Mapping[str, ParameterSpec]) -> None:
        self.observations, self.specs = tuple(observations), specs
        unknowns: dict[str, Unknown] = {}
        params: dict[str, Param] = {}
        # Of each observation: local name -> unknown, of what its forward model depends on.
        self.names: list[dict[str, str]] = []
        self.population: dict[str, list[str]] = {}
        for one in self.observations:
            local: dict[str, str] = {}
            for entry in one.forward.params:
                spec = specs.get(entry.name)
                if spec is None or entry.name not in one.forward.active:
                    continue
                group = "" if spec.scope == "shared" else one.group(spec.by)
                name = f"{entry.name}[{group}]" if group else entry.name
                local[entry.name] = name
                unknowns.setdefault(name, Unknown(name, entry.name, spec.scope, group))
                params.setdefault(name, replace(entry, name=name))
                if spec.scope == "population":
                    members = self.population.setdefault(entry.name, [])
                    members += [name] if name not in members else []
                    mean = f"{entry.name}.mean"
                    unknowns.setdefault(mean, Unknown(mean, entry.name, "population", ""))
                    params.setdefault(mean, replace(entry, name=mean))
            self.names.append(local)
        self.unknowns, self.params, self.active = unknowns, tuple(params.values()), tuple(params)
        sizes = [len(one.recording) for one in self.observations]
        ends = np.cumsum([0, *sizes])
        self.rows = [slice(int(a), int(b)) for a, b in pairwise(ends)]
        self.measured_rows = int(ends[-1])
        self.members = [(name, of) for of, names in self.population.items() for name in names]

    def local(self, k: int, p: Mapping[str, float]) -> Values:
        """The parameters of the observation number ``k`` under the unknowns ``p``."""
        return self.observations[k].base.with_(**{name: p[unknown] for name, unknown in self.names[k].items()})

    @property
    def expensive(self) -> bool:  # type: ignore[override]
        """Whether an observation is simulated."""
        return any(one.forward.expensive for one in self.observations)

    @property
    def tolerance(self) -> float:  # type: ignore[override]
        """That of the roughest observation."""
        return max(one.forward.tolerance for one in self.observations)

    def predict(self, p: Values) -> Array:
        """Every observation, then every value of a population minus its mean; (n + members,)."""
        made = [one.forward.predict(self.local(k, p)) for k, one in enumerate(self.observations)]
        return np.concatenate([*made, [p[name] - p[f"{of}.mean"] for name, of in self.members]])

    def predict_each(self, places: Sequence[Values]) -> list[Array]:
        """`predict` at each place; of one observation after the other, so that each can simulate all places at once."""
        made = [one.forward.predict_each([self.local(k, p) for p in places]) for k, one in enumerate(self.observations)]
        return [
            np.concatenate([*parts, [p[name] - p[f"{of}.mean"] for name, of in self.members]])
            for p, *parts in zip(places, *made, strict=True)
        ]

    def linearise(self, p: Values, names: Sequence[str]) -> tuple[Array, Array]:
        """Prediction (n,) and derivatives by ``names`` (k, n); each observation computes only its own rows."""
        made, place = [], {name: j for j, name in enumerate(names)}
        derivatives = np.zeros((len(names), self.measured_rows + len(self.members)))
        for k, one in enumerate(self.observations):
            asked = [name for name, unknown in self.names[k].items() if unknown in place]
            predicted, slopes = one.forward.linearise(self.local(k, p), asked)
            made.append(predicted)
            derivatives[[place[self.names[k][name]] for name in asked], self.rows[k]] = slopes
        for row, (name, of) in enumerate(self.members, self.measured_rows):
            for unknown, sign in ((name, 1.0), (f"{of}.mean", -1.0)):
                if unknown in place:
                    derivatives[place[unknown], row] = sign
        return np.concatenate([*made, [p[name] - p[f"{of}.mean"] for name, of in self.members]]), derivatives

    def families(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """A parameter's values of all groups together."""
        found: dict[str, list[str]] = {}
        for name in names:
            found.setdefault(self.unknowns[name].parameter, []).append(name)
        return [tuple(family) for family in found.values()]

    def guess(self, p: Values) -> Mapping[str, float]:
        """Empty: the start values that a recording shows are already in its observation's ``base``."""
        return {}

    def start(self) -> Values:
        """Each unknown where its observations start, the middle one of several."""
        seen: dict[str, list[float]] = {}
        for one, local in zip(self.observations, self.names, strict=True):
            for name, unknown in local.items():
                seen.setdefault(unknown, []).append(float(one.base[name]))
        found = {unknown: float(np.median(values)) for unknown, values in seen.items()}
        means = {of: [found[name] for name in names] for of, names in self.population.items()}
        return Values(found | {f"{of}.mean": float(np.median(values)) for of, values in means.items()})
