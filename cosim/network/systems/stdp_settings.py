"""The constants of `cosim.network.systems.stdp` and its parts: patterns, times of pulses, networks of both kinds."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array, Values
from cosim.devices.registry import device as find_device
from cosim.errors import InputError
from cosim.network.crossbar import Ideal
from cosim.network.encoders import Current
from cosim.network.graph import Graph, Population, Projection
from cosim.network.neurons import WinnerTakesAll
from cosim.network.pairs import IdealWindow, PulsePairs, Unit
from cosim.parameters import ParameterSet
from cosim.surrogate.model import Surrogate

HEBBIAN, ANTI_HEBBIAN, SYMMETRIC, ANTI_SYMMETRIC = RULES = ("hebbian", "anti_hebbian", "symmetric", "anti_symmetric")
CHARGING, DISCHARGING = "b_alpha_c", "alpha_d"
UNITS, SYNAPSES, INPUTS = "units", "synapses", "inputs"
TAUGHT = 1e6  # what a teacher drives with, far above any sum of weights
PAUSES = 3.0  # lengths of a pulse from one presentation to the next
MS = 1e-3
SPREAD_SIGMAS = 3.0


@dataclass(frozen=True)
class Window:
    """An ideal window (`IdealWindow`), ``tau`` in ms; its values were chosen on seeds of their own."""

    after: float
    before: float
    tau: float
    alone: float = 0.0


IDEAL: Mapping[str, Window] = MappingProxyType({
    HEBBIAN: Window(0.4, -0.4, 0.7, -0.02),
    ANTI_HEBBIAN: Window(-0.4, 0.4, 0.7, -0.02),
    SYMMETRIC: Window(0.2, 0.2, 2.0, -0.01),
    ANTI_SYMMETRIC: Window(-0.02, -0.02, 2.0),
})  # fmt: skip


@dataclass(frozen=True)
class StdpSettings:
    """The networks' constants; no constant of a synapse is among them, and all are our choice.

    Args:
        parameters: of the synapses: a set of a device with the four pulse pairs.
        charging: factor of its charging efficiency α_c (Fig. 4).
        spread: relative deviation of both efficiencies from synapse to synapse.
        groups, width: a pattern has one active unit in each of the groups, of ``width`` units each, which compete.
        items: of a sequence, one pattern each.
        spacing: of its items (ms).
        jitter: standard deviation of the times at which a pattern's units spike (ms).
        repeats: how often each pattern or sequence is shown.
        cue: share of the groups that a completion begins with.
        settle: steps of a completion.
        begin_spread: half-width of the first charges of the synapses that learn what is familiar.
        unknown: new patterns beside which familiar ones are to be told.
        step: time step (ms).
    """

    parameters: str = "qd_2016"
    charging: float = 1.0
    spread: float = 0.0
    groups: int = 16
    width: int = 8
    items: int = 6
    spacing: float = 1.0
    jitter: float = 0.2
    repeats: int = 4
    cue: float = 0.5
    settle: int = 6
    begin_spread: float = 0.2
    unknown: int = 100
    step: float = 0.1

    def __post_init__(self) -> None:
        for name, least in (("groups", 2), ("width", 2), ("items", 2), ("repeats", 1), ("settle", 1), ("unknown", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}", remedy=f"give {least} or more")
        for name in ("charging", "spacing", "step"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name):g}", remedy="give a number above zero")
        if not 0.0 <= self.jitter < math.inf:
            raise InputError(f"the spikes' jitter is {self.jitter:g} ms", remedy="give a time >= 0")
        if not 0.0 <= self.spread <= 1.0 / SPREAD_SIGMAS:
            raise InputError(
                f"a spread of {self.spread:.0%} leaves efficiencies at or below zero", remedy="give 0 to 33 %"
            )
        if not 0.0 <= self.begin_spread <= 0.5:
            raise InputError(f"begin_spread is {self.begin_spread:g}", remedy="give a share of the charge in 0..0.5")
        if not 0 < self.cued < self.groups:
            raise InputError(
                f"a cue of {self.cue:g} leaves nothing to complete, or nothing to begin with, of {self.groups} groups",
                remedy="give a share such as 0.5",
            )
        if self.items > self.width:
            raise InputError(
                f"a sequence of {self.items} items repeats units of groups of {self.width}, whose pulses would overlap",
                remedy=f"give at most {self.width} items",
            )

    @property
    def size(self) -> int:
        """Units."""
        return self.groups * self.width

    @property
    def cued(self) -> int:
        """Groups of a cue."""
        return round(self.cue * self.groups)

    @cached_property
    def parameter_set(self) -> ParameterSet:
        """Of the synapses; raises `InputError` for a device without the four pulse pairs."""
        chosen = ParameterSet.load(self.parameters)
        maps = find_device(chosen.device).maps(chosen.resolved())
        if missing := [rule for rule in RULES if rule not in maps]:
            raise InputError(
                f"{self.parameters} is of the device {chosen.device}, which has no pulse pair {missing[0]}",
                remedy="take a set of quantum_dot_memristor, e.g. qd_2016",
            )
        return chosen.with_values({CHARGING: self.charging * chosen.values[CHARGING].value}, name=chosen.name)

    def fingerprint(self) -> str:
        """SHA-256 of all values, and of the synapses'."""
        text = json.dumps(asdict(self), sort_keys=True) + self.parameter_set.fingerprint()
        return hashlib.sha256(text.encode()).hexdigest()

    def with_(self, **changes: Any) -> Self:
        """A copy with some values changed."""
        return replace(self, **changes)

    # -- the two kinds of cells ---------------------------------------------------------------------------------------

    def cells(self, rule: str) -> Surrogate:
        """The device under the pulses of a rule."""
        return Surrogate(self.parameter_set, rule)

    @property
    def pulse(self) -> float:
        """The length of a pulse (ms)."""
        return self.cells(HEBBIAN).map.fixed["width"] / MS

    @property
    def longest(self) -> float:
        """How long a presentation may take (ms): the last item, its jitter, and all its pulses."""
        return self.items * self.spacing + 2.0 * SPREAD_SIGMAS * self.jitter + self.pulse

    def projection(self, rule: str, shape: tuple[int, int], *, ideal: bool, rng: np.random.Generator) -> dict[str, Any]:
        """Cells, first states and rule, as `Projection` takes them."""
        span = self.pause  # longer than any presentation, and the pulses of the one before are older
        if ideal:
            window = IDEAL[rule]
            return {
                "cells": Ideal(), "state": np.full(shape, self.resting),
                "rule": IdealWindow(span, window.after, window.before, window.tau, window.alone),
            }  # fmt: skip
        made = self.cells(rule)
        first = float(made.parameters.resolved()["q0"])
        if self.spread:
            drawn = {
                name: made.values[name]
                * (1.0 + self.spread * np.clip(rng.standard_normal(shape), -SPREAD_SIGMAS, SPREAD_SIGMAS))
                for name in (CHARGING, DISCHARGING)
            }
            made = made.with_(instances=drawn)
        pair = PulsePairs(span, reach=1.1 * self.pulse)
        return {"cells": made, "state": np.full(shape, first), "rule": pair}

    @property
    def resting(self) -> float:
        """An ideal weight to begin with: the device's own first one."""
        made = self.cells(HEBBIAN)
        x = Values({"q": np.asarray(made.parameters.resolved()["q0"])})
        return float(made.read(x)["conductance"] / made.full_scale("conductance"))

    @property
    def pause(self) -> float:
        """The gap between two presentations (ms), in whole time steps."""
        return math.ceil(max(PAUSES * self.pulse, self.longest) / self.step) * self.step

    def recurrent(self, rule: str, *, ideal: bool, rng: np.random.Generator) -> Graph:
        """Units that reach one another; in each group one fires, the one that gets most."""
        units = Population(UNITS, self.size, Unit(), Current(), WinnerTakesAll(groups=self.groups))
        cells = self.projection(rule, (self.size, self.size), ideal=ideal, rng=rng)
        return Graph((units,), (Projection(UNITS, UNITS, delay=self.step, name=SYNAPSES, **cells),), self.step)

    def layer(self, rule: str, *, ideal: bool, rng: np.random.Generator) -> Graph:
        """Inputs, and as many units that compete in groups; the first states differ by `begin_spread`."""
        inputs = Population(INPUTS, self.size, Unit(0.5), Current())
        units = Population(UNITS, self.size, Unit(), winner=WinnerTakesAll(groups=self.groups))
        cells = self.projection(rule, (self.size, self.size), ideal=ideal, rng=rng)
        away = self.begin_spread * rng.uniform(-1.0, 1.0, cells["state"].shape)
        cells["state"] = np.clip(1.0 + away - self.begin_spread if ideal else self.begin_spread + away, 0.0, 1.0)
        return Graph((inputs, units), (Projection(INPUTS, UNITS, name=SYNAPSES, **cells),), self.step)

    # -- patterns -----------------------------------------------------------------------------------------------------

    def one_hot(self, chosen: NDArray[np.int64]) -> Array:
        """(…, groups) the active unit of each group → (…, units) 0 or 1."""
        found = np.zeros((*chosen.shape, self.width))
        np.put_along_axis(found, chosen[..., None], 1.0, axis=-1)
        return found.reshape(*chosen.shape[:-1], self.size)

    def patterns(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(count, groups): which unit of each group is active."""
        return rng.integers(self.width, size=(count, self.groups))

    def sequences(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(count, items, groups): within a sequence no unit is active twice."""
        order = rng.permuted(np.tile(np.arange(self.width), (count, self.groups, 1)), axis=2)
        return np.moveaxis(order[:, :, : self.items], 2, 1)

    def taught(self, active: Array, rng: np.random.Generator) -> Array:
        """(presentations, items, units) 0 or 1 → (presentations, frames, units) drives: each active unit once, its
        item's time and its own jitter after the begin.
        """
        count, items, units = active.shape
        late = SPREAD_SIGMAS * self.jitter
        drawn = np.clip(self.jitter * rng.standard_normal((count, units)), -late, late)
        frames = math.ceil(((items - 1) * self.spacing + 2.0 * late) / self.step) + 2  # a spike arrives a step later
        found = np.zeros((count, frames, units))
        which, item, unit = np.nonzero(active)
        at = np.rint((item * self.spacing + late + drawn[which, unit]) / self.step).astype(int)
        found[which, np.minimum(at, frames - 2), unit] = TAUGHT
        return found
