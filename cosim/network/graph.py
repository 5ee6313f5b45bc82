"""A network as a value: populations, projections between them, and the checks before anything runs.

A graph is run by `cosim.network.loop.Simulation`. Populations step in the order in which they are given; a projection
without a delay delivers a spike in the step in which it is fired, so its source has to come before its target. Times
are in ms.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from types import MappingProxyType
from types import SimpleNamespace as Named
from typing import Any

import numpy as np

from cosim.devices.base import Array
from cosim.errors import InputError, UnknownName
from cosim.network.crossbar import MINUS, READING, Crossbar, Ideal
from cosim.network.encoders import Encoder
from cosim.network.neurons import Model, WinnerTakesAll, steps_held, whole_steps
from cosim.network.rules import HOOKS, WHEN, Local, Rule, Side
from cosim.network.wires import Wires
from cosim.network.world import World
from cosim.surrogate.gate import require_certified
from cosim.surrogate.model import Surrogate

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
DRIVE, SIGNAL = "drive", "signal"
Parameters = Mapping[str, float | Array]


def changed(part: Model | Rule, changes: Mapping[str, float], of: str) -> Callable[..., dict[str, float]]:
    """``part.parameters`` with other values of the part's fields, or of parameters that do not depend on time steps."""
    usual = part.parameters(1.0)
    timed = {
        n for other in (part.parameters(1.0, ticks=2.0), part.parameters(2.0)) for n in usual if other[n] != usual[n]
    }
    own: list[str] = [one.name for one in fields(part) if one.init] if is_dataclass(part) else []
    for name in changes:
        if name not in own and name not in usual:
            raise UnknownName(f"parameter of {of}", name, {*own, *usual} - timed)
        if name not in own and name in timed:
            raise InputError(
                f"{name} of {of} follows from the time step and cannot be given",
                remedy=f"give what it follows from, one of {', '.join(own)}" if own else "leave it out",
            )
    inside = {name: value for name, value in changes.items() if name in own}
    made: Model | Rule = replace(part, **inside) if inside else part  # type: ignore[type-var]
    for name, value in inside.items():
        probe = copy.copy(part)
        object.__setattr__(probe, name, value)
        if value != getattr(part, name) and probe.parameters(1.0) == usual:
            raise InputError(f"{name} of {of} is not among its parameters, and cannot be changed for a run")
    direct = {name: value for name, value in changes.items() if name not in own}
    return lambda dt, *, ticks=1.0: {**made.parameters(dt, ticks=ticks), **direct}


@dataclass(frozen=True)
class Population:
    """``size`` neurons of a model.

    Args:
        name: of letters, digits and underscores.
        size: how many.
        model: what each does.
        encoder: what drives it from outside; None: nothing does.
        winner: the competition among its neurons; None: there is none.
        own: fields of the model (``tau``, ``threshold``, …) that differ from neuron to neuron, (size,) each, in its
            units; or parameters (`Model.parameters`) that do not depend on the time step.
    """

    name: str
    size: int
    model: Model
    encoder: Encoder | None = None
    winner: WinnerTakesAll | None = None
    own: Mapping[str, Array] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        _require_name("population", self.name)
        if not isinstance(self.size, int | np.integer):
            raise InputError(f"the population {self.name} needs a whole number of neurons, not {self.size!r}")
        if self.size < 1:
            raise InputError(f"the population {self.name} needs at least one neuron, not {self.size}")
        _require_kind(f"the model of {self.name}", self.model, Model)
        if self.winner is not None and not self.model.spiking:
            raise InputError(f"the neurons of {self.name} do not spike, and so cannot compete")
        if self.winner is not None and self.size % self.winner.groups:
            raise InputError(f"{self.size} neurons of {self.name} do not make {self.winner.groups} equal groups")
        if self.encoder is not None and self.encoder.models and not isinstance(self.model, self.encoder.models):
            fitting = " or ".join(model.__name__ for model in self.encoder.models)
            raise InputError(
                f"{type(self.encoder).__name__} cannot drive the {type(self.model).__name__} neurons of {self.name}",
                remedy=f"take neurons of the model {fitting}",
            )
        for name, values in self.own.items():
            if np.shape(values) != (self.size,):
                raise InputError(f"{name} of {self.name} has shape {np.shape(values)}, not ({self.size},)")
        self.changed({})

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the parameters: the model's, and ``clamp`` (in time steps) of a competition."""
        return (*self.model.parameters(1.0), *(("clamp",) if self.winner is not None else ()))

    def changed(self, changes: Mapping[str, float]) -> Callable[..., Parameters]:
        """Parameters for steps of ``dt`` (ms), or one long step of ``ticks`` of them: numbers, or (size,) of a model
        whose neurons differ. ``changes`` are fields of the model and of the competition, in place of `own` as well.
        """
        clamp = self.winner
        if clamp is not None and "clamp" in changes:
            clamp = replace(clamp, clamp=changes["clamp"])
            changes = {name: value for name, value in changes.items() if name != "clamp"}
        own = {name: np.asarray(values, dtype=float) for name, values in self.own.items()}
        rows = [np.broadcast_to(changes.get(name, values), self.size) for name, values in own.items()]
        columns = np.stack(rows) if rows else np.empty((0, 1))
        kinds, which = np.unique(columns, axis=1, return_inverse=True)
        made = [
            changed(self.model, {**changes, **dict(zip(own, column, strict=True))}, self.name)
            for column in kinds.T.tolist()
        ]

        def found(dt: float, *, ticks: float = 1.0) -> Parameters:
            each = [one(dt, ticks=ticks) for one in made]
            whole: dict[str, float | Array] = dict(each[0])
            if own:
                whole = {name: np.array([one[name] for one in each], dtype=float)[which.ravel()] for name in whole}
            return whole | ({"clamp": steps_held(clamp.clamp, dt)} if clamp is not None else {})

        return found


@dataclass(frozen=True)
class Projection:
    """Cells from each neuron of ``source`` to each of ``target``.

    Args:
        source, target: names of populations; the same one for a recurrent projection, whose neurons do not reach
            themselves.
        cells: a surrogate, whose instances' parameters are (source, target); or `Ideal`.
        state: of the cells, (source, target): an array, or one by name.
        rule: how it learns; None: it does not.
        delay: of spikes, in ms; a spike whose delay is not over when a presentation ends is lost.
        held: inputs of the cells' map that are the same in every event.
        pair: a differential pair: a weight is the difference of two cells. The second one gets the inputs that the rule
            gives under their names and ``_minus``, otherwise the negative of the first one's.
        gain: of the weights over the cells' shares of full scale.
        mask: (source, target), false where there is no cell; None: each neuron reaches each.
        sends: a state of the source's neurons that is sent in each step, in place of their spikes.
        into: "drive", or "signal": the teaching signal, which arrives after all populations have stepped.
        reading: of the cells' device, whose share of full scale is the weight.
        levels: how many values the cells' first state has between its bounds, e.g. 128 for 7 bits: an event ends at the
            nearest one; 0: any.
        wires: resistances of the array's wires, through which the cells are read; None: none. They are solved at the
            beginning of each run; while it learns, a weight is its cell's times what the wires left of it then. Pulses
            reach the cells in full.
        read_voltage: (V) at which rows are read, of cells whose I-V is not a line; 0: the cells' conductance.
        name: default: source_to_target.
    """

    source: str
    target: str
    cells: Surrogate | Ideal
    state: Mapping[str, Array] | Array
    rule: Rule | None = None
    delay: float = 0.0
    held: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    pair: bool = False
    gain: float = 1.0
    mask: Array | None = None
    sends: str = ""
    into: str = DRIVE
    reading: str = READING
    levels: int = 0
    wires: Wires | None = None
    read_voltage: float = 0.0
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or f"{self.source}_to_{self.target}")
        _require_name("projection", self.name)
        _require_kind(f"the cells of {self.name}", self.cells, Surrogate, Ideal)
        if isinstance(self.cells, Surrogate):
            require_certified(self.cells)
        if self.rule is not None:
            _require_kind(f"the rule of {self.name}", self.rule, Rule)
        if self.into not in (DRIVE, SIGNAL):
            raise UnknownName("input of a neuron", self.into, (DRIVE, SIGNAL))
        if not 0.0 <= self.delay < np.inf:
            raise InputError(f"the delay of {self.name} is {self.delay} ms", remedy="give a time >= 0")
        if self.sends and self.delay:
            raise InputError(f"{self.name} sends {self.sends}, which cannot be delayed", remedy="leave the delay out")

    def crossbar(self) -> Crossbar:
        """New cells in the initial states."""
        by_column = self.rule is not None and self.rule.has("on_post") and not self.rule.has("on_pre")
        return Crossbar(
            self.cells,
            self.state,
            held=self.held,
            pair=self.pair,
            gain=self.gain,
            by_column=by_column and not self.rule_sweeps,
            mask=self.connected(),
            reading=self.reading,
            levels=self.levels,
            wires=self.wires,
            read_voltage=self.read_voltage,
        )

    def connected(self) -> Array | None:
        """(source, target) where there are cells; None: everywhere."""
        if self.source != self.target:
            return self.mask
        state = next(iter(self.state.values())) if isinstance(self.state, Mapping) else self.state
        others = ~np.eye(len(state), dtype=bool)
        return others if self.mask is None or self.mask.shape != others.shape else others & self.mask

    @property
    def rule_sweeps(self) -> bool:
        """Whether the rule goes over all synapses in a step."""
        return self.rule is not None and self.rule.has("on_step")


def _require_name(kind: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is not a name of a {kind}", remedy="write letters, digits and underscores")


def _require_kind(what: str, given: object, *kinds: type) -> None:
    if not isinstance(given, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        found = f"the class {given.__name__}" if isinstance(given, type) else f"a {type(given).__name__}"
        raise InputError(f"{what} has to be a {wanted}, not {found}")


@dataclass(frozen=True)
class Graph:
    """Populations and projections, in time steps of ``dt`` (ms); with a ``world``, an agent.

    Raises `InputError` or `UnknownName` where they do not fit together.

    >>> from cosim.network.graph import Graph, Population, Projection
    >>> from cosim.network.neurons import LIF
    >>> neuron = LIF(tau=20.0, threshold=1.0, reset=0.0, refractory=2.0)
    >>> Graph((Population("a", 3, neuron),), (Projection("a", "b", Ideal(), np.zeros((3, 2))),))
    Traceback (most recent call last):
    cosim.errors.UnknownName: unknown target of the projection a_to_b 'b': there is a
    """

    populations: tuple[Population, ...]
    projections: tuple[Projection, ...] = ()
    dt: float = 1.0
    world: World | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.dt < np.inf:
            raise InputError(f"a time step of {self.dt} ms cannot be taken", remedy="give a time above zero")
        for kind, parts in {Population: self.populations, Projection: self.projections}.items():
            _require_kind(f"what a network has of {kind.__name__.lower()}s", parts, tuple)
            for one in parts:
                _require_kind(f"each {kind.__name__.lower()} of a network", one, kind)
        if not self.populations:
            raise InputError("a network needs at least one population")
        names = [*(one.name for one in self.populations), *(one.name for one in self.projections)]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"two parts of the network have the name {name}", remedy="name them apart")
        order = [population.name for population in self.populations]
        for p in self.projections:
            for end, name in (("source", p.source), ("target", p.target)):
                if name not in order:
                    raise UnknownName(f"{end} of the projection {p.name}", name, order)
            whole_steps(p.delay, self.dt, f"the delay of {p.name}")
            source, target = self[p.source], self[p.target]
            shape, wanted = p.crossbar().shape, (source.size, target.size)
            if shape != wanted:
                raise InputError(
                    f"the cells of {p.name} are {shape[0]} x {shape[1]}, and {p.source} and {p.target} have "
                    f"{wanted[0]} and {wanted[1]} neurons"
                )
            if not p.sends and not source.model.spiking:
                raise InputError(
                    f"the neurons of {p.source} do not spike, so {p.name} sends nothing",
                    remedy=f"give sends=, one of {', '.join(source.model.states)}",
                )
            if p.sends and p.sends not in source.model.states:
                raise UnknownName(f"state of the neurons of {p.source}", p.sends, source.model.states)
            late = order.index(p.source) >= order.index(p.target)
            if late and p.into == DRIVE and not (p.sends or self.delay_of(p)):
                raise InputError(
                    f"{p.name} delivers spikes in the step in which they are fired, but {p.source} steps "
                    + ("with itself" if p.source == p.target else f"after {p.target}"),
                    remedy="give it a delay of at least one time step" + ("" if p.source == p.target else ", or name "
                    "the source first"),
                )  # fmt: skip
        self.asked  # noqa: B018 (refuses a rule that does not fit)
        if self.world is not None:
            self.world.require(self)

    def __getitem__(self, name: str) -> Population:
        """A population by name."""
        return next(p for p in self.populations if p.name == name)

    def delay_of(self, projection: Projection) -> int:
        """Its delay in time steps."""
        return round(projection.delay / self.dt)

    @cached_property
    def depth(self) -> Mapping[str, int]:
        """For how many steps the spikes of each population are remembered."""
        return {
            one.name: max((self.delay_of(p) for p in self.projections if p.source == one.name), default=0)
            for one in self.populations
        }

    @cached_property
    def asked(self) -> Mapping[str, Mapping[str, list[tuple[str, str]]]]:
        """What each hook of the rules looks at, by projection and hook: side ("pre", "post", "own", "cell", or "" for
        the weight, the time and the random number) and name.
        """
        return {p.name: self._require_rule(p, p.rule) for p in self.projections if p.rule is not None}

    def _require_rule(self, p: Projection, rule: Rule) -> dict[str, list[tuple[str, str]]]:
        """Calls each hook on one synapse, and holds what it asks for and gives against what there is."""
        bar, one = p.crossbar(), np.zeros(1)
        asked: dict[str, list[tuple[str, str]]] = {hook: [] for hook in HOOKS if rule.has(hook)}
        sides = {
            "pre": {**self[p.source].model.states, **rule.pre, "spike": 0.0},
            "post": {**self[p.target].model.states, **rule.post, **dict.fromkeys((*rule.sums, "spike", SIGNAL), 0.0)},
            "own": rule.states,
            "cell": {name: float(x.flat[0]) for name, x in bar.state.items()},
            "": {"weight": 0.0, "now": 0.0, **({"random": 0.0} if rule.noisy else {})},
        }

        def look(side: str, name: str) -> Any:
            if name not in sides[side]:
                dot = f"{side}." if side else ""
                raise InputError(
                    f"the rule {type(rule).__name__} of {p.name} asks for {dot}{name}, and there is "
                    + (", ".join(f"{dot}{known}" for known in sides[side]) or "nothing of the kind")
                )
            if (side, name) not in asked[hook]:
                asked[hook].append((side, name))
            return one + sides[side][name]

        def side(of: str) -> Side:
            return Side(lambda name: look(of, name))

        local = Local(
            side("pre"), side("post"), side("own"), side("cell"), lambda name: look("", name),
            Named(**rule.parameters(self.dt)),
        )  # fmt: skip
        inputs = {*bar.drives, *(f"{name}{MINUS}" for name in bar.drives if p.pair)}
        for hook in asked:
            given = getattr(rule, hook)(local)
            _require_kind(f"what {hook} of the rule {type(rule).__name__} returns", given, Mapping)
            known = {"each_pre": set(rule.pre), "each_post": set(rule.post)}.get(
                hook, inputs | {*rule.states, WHEN} | ({*rule.sums} if hook in ("on_step", "on_gap") else set())
            )
            for name in given:
                if name not in known:
                    raise InputError(
                        f"{hook} of the rule {type(rule).__name__} gives {name}, which the cells of {p.name} (map "
                        f"{bar.name}) and the rule do not have: there is {', '.join(sorted(known)) or 'nothing'}"
                    )
            drives = set(bar.drives) & set(given)
            if drives and drives != set(bar.drives):
                missing = ", ".join(sorted(set(bar.drives) - drives))
                raise InputError(
                    f"{hook} of the rule {type(rule).__name__} gives {', '.join(sorted(drives))} alone, and the map "
                    f"{bar.name} of {p.name} needs {missing} as well",
                    remedy="hold it at a value (held=...), or let the rule give it",
                )
        return asked
