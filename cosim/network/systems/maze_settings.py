"""The constants of `cosim.network.systems.maze`, the source's and those it leaves to us, and the network of a run."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np

from cosim.devices.base import Array, Values
from cosim.devices.pulse import PulseShape
from cosim.errors import InputError
from cosim.network.encoders import Current
from cosim.network.graph import Graph, Population, Projection
from cosim.network.grid import MOVES, Grid, Rewards
from cosim.network.heated import Chooser, HeatedEligibility
from cosim.network.neurons import Source, WinnerTakesAll
from cosim.parameters import ParameterSet
from cosim.surrogate.model import Surrogate

PLACES, ACTIONS = "places", "actions"
HALVES: Mapping[str, float] = {"plus": 1.0, "minus": -1.0}
SURFACE = tuple(f"{letter}_{kind}" for kind in ("set", "reset") for letter in "abcd")
# In time constants. γ = 1 would take a step of zero length, which `least_loss` excludes; γ = 0 an endless one.
SHORTEST, LONGEST = 1e-9, 50.0
FADED = 3.0  # time constants after which the fast pole is over
COOLED = 30.0  # time constants between two episodes


@dataclass(frozen=True)
class MazeSettings:
    """The network's constants; no constant of a synapse is among them. Where nothing is said it is our choice.

    Args:
        parameters: of the synapse: the poles of a stack; its fast pole is over before the next step where γ is at
            most `least_loss`, and left out.
        levels: of each device (source: 7 bits).
        rewards: Fig. 7(b)'s, which the text does not repeat.
        traps: per grid length; the source's number is not stated.
        chi: χ of Eq. 6.
        unit: the rise of one e-update, as a share of the rise that counts as 1 in Eq. 27.
        e_width: length of an e-update (s), the source's 10 ns.
        pulses: published pulses per unit of the reward's part of Eq. 6.
        gain: potential per unit of a pair's difference.
        keep: of an action neuron's potential after a step. halve: of the potential of the neuron that acted (source).
        bias, noise: of the action neurons' current, and its relative deviation: what explores.
        begin, begin_spread: first states of the devices: mean, and half width.
        longest: steps of an episode, per cell of the grid, after which it has failed.
        episodes: after so many the benchmark is missed.
        enough: successes in a row (source: five).
    """

    parameters: str = "thermal_reram:stack_60nm"
    levels: int = 128
    rewards: Rewards = field(default_factory=Rewards)
    traps: float = 0.5
    chi: float = 0.5
    unit: float = 0.1
    e_width: float = 10e-9
    pulses: float = 40.0
    gain: float = 1.0
    keep: float = 0.5
    halve: float = 0.5
    bias: float = 0.1
    noise: float = 0.2
    begin: float = 0.5
    begin_spread: float = 0.05
    longest: float = 4.0
    episodes: int = 1000
    enough: int = 5

    def __post_init__(self) -> None:
        for name in ("unit", "e_width", "pulses", "gain", "longest"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} of the maze is {getattr(self, name)}", remedy="give a number above zero")
        for name in ("bias", "noise", "begin_spread", "traps"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} of the maze is {getattr(self, name)}", remedy="give a number >= 0")
        if not 0.0 <= self.chi <= 1.0:
            raise InputError(f"chi of the maze is {self.chi}", remedy="give a number in 0..1")
        if not self.begin_spread <= self.begin <= 1.0 - self.begin_spread:
            raise InputError("the devices have to begin within 0..1", remedy="give begin ± begin_spread within it")
        if self.enough < 1:
            raise InputError(f"the benchmark cannot be {self.enough} successes in a row", remedy="give 1 or more")
        if self.episodes < self.enough:
            raise InputError(
                f"{self.enough} successes in a row do not fit into {self.episodes} "
                f"{'episode' if self.episodes == 1 else 'episodes'}, so that no run could reach the benchmark",
                remedy=f"give {self.enough} episodes or more",
            )
        if self.levels < 2:
            levels = "1 level" if self.levels == 1 else f"{self.levels} levels"
            raise InputError(f"devices with {levels} hold no weight", remedy="give 2 or more")

    def fingerprint(self) -> str:
        """SHA-256 of all values, and of the synapse's."""
        text = json.dumps(asdict(self), sort_keys=True) + ParameterSet.load(self.parameters).fingerprint()
        return hashlib.sha256(text.encode()).hexdigest()

    def with_(self, **changes: Any) -> Self:
        """A copy with some values changed."""
        return replace(self, **changes)

    def steps(self, grid: Grid) -> int:
        """The longest episode."""
        return max(round(self.longest * grid.size**2), 1)


class Heating(Protocol):
    """What settings say of a thermal synapse and its e-update, as `MazeSettings` has it."""

    @property
    def parameters(self) -> str:
        """Of the devices."""

    @property
    def e_width(self) -> float:
        """Length of an e-update (s)."""

    @property
    def unit(self) -> float:
        """The rise of an e-update, as a share of the rise that counts as 1 in Eq. 27."""


def synapse(settings: Heating) -> Surrogate:
    """The devices: their heat leaves by their own slow pole alone, with the thermal port open.

    Raises `InputError` for a set of another device.
    """
    chosen = ParameterSet.load(settings.parameters)
    if chosen.device != "thermal_reram":
        raise InputError(
            f"{settings.parameters} is of the device {chosen.device}, which has no heater",
            remedy="take a set of thermal_reram, e.g. thermal_reram:stack_60nm",
        )
    alone = chosen.with_values({"r_fast": 0.0, "contact": 0.0}, name=chosen.name)
    return Surrogate(alone, "published", PulseShape(settings.e_width, 0.0, 0.0))


def time_constant(p: Values) -> float:
    """How long (s) a rise takes to fall to 1/e."""
    return float(p.tau_slow) / (1.0 + float(p.contact))


def volts(settings: Heating, cells: Surrogate) -> float:
    """What one e-update needs at the heater (V) to raise a cold cell by the settings' unit."""
    p = cells.parameters.resolved()
    heated = float(p.r_slow) / (1.0 + float(p.contact)) * -math.expm1(-cells.map.fixed["width"] / time_constant(p))
    return math.sqrt(settings.unit * float(p.full_scale_rise) / heated * float(p.r_heater))


def step_time(gamma: float, p: Values) -> float:
    """The hardware's step (s) at which of a rise the share ``gamma`` is left after it."""
    if not 0.0 <= gamma <= 1.0:
        raise InputError(f"gamma is {gamma:g}", remedy="give a number in 0..1")
    turns = LONGEST if gamma == 0.0 else -math.log(gamma)
    return time_constant(p) * min(max(turns, SHORTEST), LONGEST)


def least_loss(settings: MazeSettings, p: Values) -> float:
    """The largest γ that is a step: one that has time for an e-update, and for the fast pole to fade after it.

    What lies above is a limit without loss, with steps shorter than the e-update inside them.
    """
    return math.exp(-(settings.e_width + FADED * float(p.tau_fast)) / time_constant(p))


def graph(
    settings: MazeSettings, grid: Grid, *, gamma: float, variability: float, alpha: float | None,
    rng: np.random.Generator, cells: Surrogate,
) -> tuple[Graph, float]:  # fmt: skip
    """The network of a run, and the pause (ms) between two episodes.

    Args:
        grid: where it lives.
        gamma: what is left of an eligibility after a step.
        variability: relative deviation of a, b, c, d from device to device (D_v), and of ΔG from cycle to cycle (C_v).
        alpha: temperature coefficient of the conductance (1/K); None: the device's own.
        rng: of first states and devices.
        cells: of the map "published" (`synapse`).
    """
    if not 0.0 <= variability < math.inf:
        raise InputError(f"a variability of {variability:g} is not a relative deviation", remedy="give a number >= 0")
    p, n = cells.parameters.resolved(), grid.size**2
    step = step_time(gamma, p)
    pause = max(math.ceil(COOLED * time_constant(p) / step), 1) * step
    rule = HeatedEligibility(
        sign=1.0, volts=volts(settings, cells), pulses=settings.pulses, best=settings.rewards.best * grid.size,
        chi=settings.chi, spread=variability,
    )  # fmt: skip
    shape = (n, len(MOVES))
    projections = []
    for half, sign in HALVES.items():
        first = settings.begin + settings.begin_spread * rng.uniform(-1.0, 1.0, shape)
        own = {
            **scattered(cells, p, variability, shape, rng),
            "alpha": np.full(shape, p.alpha if alpha is None else alpha),
        }
        projections.append(
            Projection(
                PLACES, ACTIONS, cells.with_(instances=own),
                {"w": np.round(first * (settings.levels - 1)) / (settings.levels - 1), "rise_fast": np.zeros(shape),
                 "rise_slow": np.zeros(shape)},
                rule=replace(rule, sign=sign), gain=sign * settings.gain, levels=settings.levels, name=half,
            )
        )  # fmt: skip
    places = Population(PLACES, n, Source())
    actions = Population(
        ACTIONS, len(MOVES), Chooser(settings.keep, settings.halve), Current(settings.noise), WinnerTakesAll()
    )
    world = grid.world(settings.rewards, places=PLACES, actions=ACTIONS, enough=settings.enough)
    return Graph((places, actions), tuple(projections), step * 1e3, world), pause * 1e3


def scattered(
    cells: Surrogate, p: Values, variability: float, shape: tuple[int, int], rng: np.random.Generator
) -> dict[str, Array]:
    """(shape) a, b, c, d of each device (Sec. 7.5, D_v relative), held within the device's bounds."""
    found = {}
    for name in SURFACE:
        low, high = cells.map.device.param(name).bounds
        drawn = float(p[name]) * (1.0 + variability * rng.standard_normal(shape))
        found[name] = np.clip(drawn, low, high)
    return found
