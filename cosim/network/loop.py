"""The loop of a graph in numpy: the oracle of the compiled one (`cosim.network.kernel`), part by part and step by step.

Whatever it adds, it adds in the order of that loop: a sum over rows begins with what is there already.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from inspect import signature
from types import SimpleNamespace as Named
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.network.crossbar import ALL, EACH, Crossbar, Every
from cosim.network.graph import DRIVE, SIGNAL, Population, Projection
from cosim.network.neurons import NOTHING
from cosim.network.noise import NORMAL, Room, draws, key_of
from cosim.network.rules import HOOKS, WHEN, Local, Rule
from cosim.network.world import Visit

if TYPE_CHECKING:
    from cosim.network.simulation import Job, Simulation

Spikes = NDArray[np.int64]
NONE: Spikes = np.empty(0, dtype=np.int64)
RULES = 1 << 16  # places of the rules' random numbers begin here
MS = 1e-3


def present(simulation: Simulation, job: Job) -> None:
    """Run all presentations of a job."""
    graph = simulation.graph
    layers = {one.name: _Layer(simulation, job, k, one) for k, one in enumerate(graph.populations)}
    joints = [_Joint(simulation, job, k, p, layers) for k, p in enumerate(graph.projections)]
    steps = [(x, [j for j in joints if j.p.target == n and j.p.into == DRIVE]) for n, x in layers.items()]
    teaching = [joint for joint in joints if joint.p.into == SIGNAL]
    visit = None if graph.world is None else Visit(graph.world, job)
    acting, seeing = (None, None) if visit is None else (layers[visit.world.actions], layers[visit.world.places])
    taught = [
        name
        for name, layer in layers.items()
        if name in job.signals or layer is acting or any(q.p.target == name for q in teaching)
    ]
    learning = [joint for joint in joints if joint.rule is not None and job.learn]
    apart = job.fresh and not job.learn  # nothing of a presentation is left for the next one
    kept = [(bar, bar.kept()) for bar in simulation.cells.values() if bar.rests and apart]
    began = simulation.clock
    for item in range(job.items):
        key = key_of(job.key, job.first + item)
        for layer in layers.values():
            layer.begin(item, key)
        for joint in joints:
            joint.begin(item, key)
        if visit is not None:
            visit.begin(key)
        for t in range(job.steps):
            for name in taught:
                frame, signal = t * job.frames // job.steps, simulation.neurons[name][SIGNAL]
                signal[:] = job.signals[name][item, frame] if name in job.signals else 0.0
            if visit is not None and acting is not None and seeing is not None:
                simulation.neurons[acting.of.name][SIGNAL][:] = visit.total
                seeing.seen = visit.place
            for layer, joints_here in steps:
                layer.step(t, joints_here)
            for joint in teaching:
                signal = simulation.neurons[joint.p.target][SIGNAL]
                signal[:] = joint.added(signal)
            for joint in learning:
                joint.learn(t)
            for entry, values in job.records.items():
                name, _, state = entry.partition(".")
                values[item, t] = simulation.neurons[name][state] if state == SIGNAL else layers[name].x[state]
            simulation.clock += 1
            if visit is not None and acting is not None and visit.answer(acting.fired[-1]):
                break
        if visit is not None and acting is not None:
            simulation.streak = visit.note(item, simulation.streak)
            simulation.neurons[acting.of.name][SIGNAL][:] = visit.total
            job.done[0] = item + 1
        for joint in learning:
            joint.end(job.steps)
        if job.gap:
            for name in taught:
                simulation.neurons[name][SIGNAL][:] = 0.0
            for layer in layers.values():
                layer.idle()
            for joint in learning:
                joint.idle()
            simulation.clock += job.gap
        for layer in layers.values():
            layer.end()
        if apart:
            simulation.clock = began
        for bar, cells in kept:
            bar.put_back(cells)
        if visit is not None and simulation.streak >= visit.world.enough > 0:
            break
    for joint in joints:
        joint.hooks.clear()  # they refer to their joint, and would keep the job's records until a collection of garbage


@lru_cache(maxsize=64)
def _unmarked(size: int) -> Array:
    zeros = np.zeros(size)
    zeros.flags.writeable = False
    return zeros


def _fixed(value: float | Array) -> Array:
    """A number as numpy takes it fastest: () and read-only."""
    found = np.array(value, dtype=float)
    found.flags.writeable = False
    return found


def _marked(size: int, spikes: Spikes) -> Array:
    """(size,) ones where there are spikes."""
    if not spikes.size:
        return _unmarked(size)
    found = np.zeros(size)
    found[spikes] = 1.0
    return found


class _Layer:
    """A population in a run."""

    def __init__(self, simulation: Simulation, job: Job, place: int, population: Population) -> None:
        self.simulation, self.job, self.place, self.of = simulation, job, place, population
        self.compact = job.compact(simulation.graph, population)
        self.depth = simulation.graph.depth[population.name]
        self.room = Room()
        self.alone = (
            population.name in job.drives
            and not population.model.states
            and population.winner is None
            and all(p.target != population.name for p in simulation.graph.projections)
        )
        # Parameters have the neurons' length: numpy takes longer to make one of a number than to add two of them.
        model = population.model
        self.counts_down = bool(model.holds) and "held" in signature(model.step).parameters
        self.p, self._idle = (
            Named(**{n: np.full(population.size, value) for n, value in p.items()})
            for p in job.parameters[population.name]
        )
        rest = Named(**{n: np.full(1, value) for n, value in model.states.items()})
        probe = model.step(rest, np.zeros(1), Named(**dict.fromkeys(vars(self.p), np.ones(1))))[0]
        # Two states that a step gives as one array: what a spike does to one of them it must not do to the other.
        self.twins = len({id(value) for value in probe.values()}) < len(probe)

    def begin(self, item: int, key: int) -> None:
        name, model = self.of.name, self.of.model
        if self.job.fresh:
            self.simulation.rest(name)
        self.x: dict[str, Array] = {n: self.simulation.neurons[name][n] for n in model.states}
        self.size, self.active, self.here = self.of.size, None, self.p
        self.fired: deque[Spikes] = deque([NONE] * (self.depth + 1), maxlen=self.depth + 1)
        self.counts = self.job.counts[name][item]
        self.holding = 0.0
        self._hold()
        self.driven: Array | None = None  # in each step
        self.seen: int | None = None  # the neuron that the world drives
        if name not in self.job.drives:
            return
        steps, (kind, mean, deviation) = self.job.steps, self.job.drives[name]
        mean, deviation = mean[item], deviation[item]
        if self.compact:
            self.active = np.flatnonzero((mean[0] != 0.0) | (deviation[0] != 0.0))
            self.size = self.active.size
            mean, deviation = mean[:, self.active], deviation[:, self.active]
            self.x = {n: np.full(self.size, value) for n, value in model.states.items()}
            self.here = Named(**{n: values[self.active] for n, values in vars(self.p).items()})
        frame = np.arange(steps) * self.job.frames // steps if self.job.frames > 1 else slice(None)
        self.driven = np.broadcast_to(mean[frame], (steps, self.size))
        if kind:
            noise = draws(key_of(key, self.place), kind, first=0, steps=steps, n=self.size, room=self.room)
            noise *= deviation[frame]
            noise += self.driven
            self.driven = noise
        if self.alone:
            # Nothing that happens in the presentation changes what such a population does.
            above: Array = model.step(Named(), self.driven, self.here)[1] > 0.0
            t, spikes = np.divmod(above.ravel().nonzero()[0], max(self.size, 1))  # faster than in two dimensions
            spikes = spikes if self.active is None else self.active[spikes]
            self.counts += np.bincount(spikes, minlength=self.of.size)
            ends = np.searchsorted(t, np.arange(steps + 1)).tolist()
            self.script = [spikes[ends[t] : ends[t + 1]] for t in range(steps)]

    def step(self, t: int, arriving: list[_Joint]) -> None:
        if self.alone:
            self.fired.append(self.script[t])
            return
        drive = None if self.driven is None else self.driven[t]
        if self.seen is not None:
            drive = _marked(self.size, np.array([self.seen]))
        for joint in arriving:
            drive = joint.added(drive)
        model, p = self.of.model, self.here
        drive = np.zeros(self.size) if drive is None else drive
        if self.holding > 1.0 or not self.counts_down:
            x, above = model.step(Named(**self.x), drive, p)
            self.holding -= 1.0
        else:
            if self.holding > 0.0:  # the step in which a hold of 1 began was its last
                self.x[model.holds].fill(0.0)
                self.holding = 0.0
            x, above = model.step(Named(**self.x), drive, p, held=False)  # type: ignore[call-arg]
        if self.twins:
            x = {n: np.array(value) for n, value in x.items()}
        if self.of.winner is not None:
            spikes = self._winners(above)
            if spikes.size:
                losers = slice(None) if self.of.winner.groups == 1 else self._groups(spikes)
                for n, value in model.inhibited(Named(**x), p).items():
                    x[n][losers] = value[losers] if isinstance(value, np.ndarray) else value
        else:
            spikes = (above > NOTHING).nonzero()[0] if model.spiking else NONE
        if spikes.size:
            for n, value in model.spiked(Named(**x), p).items():
                x[n][spikes] = value[spikes] if isinstance(value, np.ndarray) else value
        self.x = self._finished(x, p) if model.pools else x
        if self.active is not None:
            spikes = self.active[spikes]
        self.fired.append(spikes)
        if spikes.size:
            self.counts[spikes] += 1
            self._hold()

    def _hold(self) -> None:
        """Note for how many steps any neuron is held."""
        if self.counts_down:
            hold = self.x[self.of.model.holds]
            self.holding = float(hold[hold.argmax()]) if hold.size else 0.0  # faster than its maximum

    def _finished(self, x: dict[str, Any], p: Named) -> dict[str, Any]:
        model = self.of.model
        if not model.pools:
            return x
        here = Named(**x, top=np.max(model.level(Named(**x), p)))
        pool = np.add.accumulate(np.broadcast_to(model.pooled(here, p), self.size))[-1]
        return x | model.finish(here, pool, self.simulation.neurons[self.of.name][SIGNAL], p)

    def _winners(self, above: Array) -> Spikes:
        assert self.of.winner is not None
        if self.of.winner.groups == 1:
            first = int(above.argmax())
            return NONE if above[first] <= 0.0 else np.array([first])
        rows = above.reshape(self.of.winner.groups, -1)
        best: Spikes = rows.argmax(axis=1) + np.arange(len(rows)) * rows.shape[1]
        return best[above[best] > 0.0]

    def _groups(self, winners: Spikes) -> Spikes:
        """All neurons of the winners' groups."""
        assert self.of.winner is not None
        width = self.of.size // self.of.winner.groups
        return ((winners // width)[:, None] * width + np.arange(width)).ravel()

    def idle(self) -> None:
        if not self.compact:
            self.x = self._finished(self.of.model.idle(Named(**self.x), self._idle), self._idle)

    def end(self) -> None:
        if not self.compact:
            for n, values in self.x.items():
                self.simulation.neurons[self.of.name][n][:] = values


class _Hook(NamedTuple):
    """A hook, what it is called with in a step and in a gap, and what it looks at: into which names, of which side, and
    what gives it for all synapses.
    """

    call: Callable[[Local], Mapping[str, Any]]
    local: Local
    at_rest: Local
    looks: list[tuple[dict[str, Any], str, str, Callable[[], Array]]]


class _Joint:
    """A projection in a run, with what its rule sees: the synapses of ``index``."""

    def __init__(
        self, simulation: Simulation, job: Job, place: int, p: Projection, layers: Mapping[str, _Layer]
    ) -> None:
        self.simulation, self.job, self.place, self.p = simulation, job, place, p
        self.bar: Crossbar = simulation.cells[p.name]
        self.rule: Rule | None = p.rule
        self.source, self.target = layers[p.source], layers[p.target]
        self.delay = simulation.graph.delay_of(p)
        # A source that steps after its target has not yet fired in this step when its spikes are delivered.
        order = list(layers)
        self.back = self.delay + (order.index(p.source) < order.index(p.target))
        self.dt = simulation.graph.dt * MS
        self.traces = simulation.traces.get(p.name, {})
        self.index: Every = ALL
        self.hook = ""
        self.hooks: dict[str, _Hook] = {}
        if self.rule is not None:
            p_step, p_gap = (Named(**{n: _fixed(value) for n, value in x.items()}) for x in job.parameters[p.name])
            self.extra = {WHEN, *self.rule.states, *self.rule.sums}
            for hook, asked in simulation.graph.asked[p.name].items():
                sides = {side: Named() for side in ("pre", "post", "own", "cell")}
                local, at_rest = (Local(**sides, weight=self._of_weight, p=x) for x in (p_step, p_gap))
                looks = [(vars(sides[side]), name, side, self._whole(side, name)) for side, name in asked if side]
                self.hooks[hook] = _Hook(getattr(self.rule, hook), local, at_rest, looks)

    def begin(self, item: int, key: int) -> None:
        self.key, self.arrived, self.firing, self.t = key_of(key, RULES + self.place), NONE, NONE, 0
        if self.job.fresh and self.job.learn:
            self.simulation.rest(self.p.name)

    def added(self, drive: Array | None) -> Array | None:
        """What a neuron's input becomes by what arrives in this step; None is nothing."""
        if self.p.sends:
            value = self.source.x[self.p.sends]
            parts = value[:, None] * self.bar.weight
        else:
            spikes = self.source.fired[-self.back]
            if not spikes.size:
                return drive
            if self.bar.rests:
                self.bar.relax((spikes, slice(None)), now=self.simulation.clock, dt=self.dt)
            parts = self.bar.weight.take(spikes, axis=0)
        found: Array = np.add.reduce(parts if drive is None else np.concatenate([drive[None], parts]), axis=0)
        return found

    # -- the rule -----------------------------------------------------------------------------------------------------

    def learn(self, t: int) -> None:
        assert self.rule is not None
        self.t = t
        self.arrived = NONE if self.p.sends else self.source.fired[-1 - self.delay]
        self.firing = self.target.fired[-1]
        if "each_pre" in self.hooks:
            self._each("pre")
        if self.arrived.size and "on_pre" in self.hooks:
            self._call("on_pre", (self.arrived if self.arrived.size > 1 else int(self.arrived[0]), EACH))
        if self.firing.size and "on_post" in self.hooks:
            self._call("on_post", (EACH, self.firing if self.firing.size > 1 else int(self.firing[0])))
        if "each_post" in self.hooks:
            self._each("post")
        if "on_step" in self.hooks and (t + 1) % self.rule.every == 0:
            self._call("on_step", ALL)

    def end(self, t: int) -> None:
        self.t, self.arrived, self.firing = t, NONE, NONE
        if "on_end" in self.hooks:
            self._call("on_end", ALL)

    def idle(self) -> None:
        assert self.rule is not None
        self.arrived, self.firing = NONE, NONE
        for side in ("pre", "post"):
            if f"each_{side}" in self.hooks:
                self._each(side, gap=True)
        if "on_gap" in self.hooks:
            self._call("on_gap", ALL, gap=True)

    def _each(self, side: str, *, gap: bool = False) -> None:
        hook, traces = self.hooks[f"each_{side}"], self.traces
        for found, name, _, whole in hook.looks:
            found[name] = whole()
        for name, values in hook.call(hook.at_rest if gap else hook.local).items():
            traces[f"{side}_{name}"][:] = values

    def _call(self, hook: str, index: Every, *, gap: bool = False) -> None:
        assert self.rule is not None
        here, (rows, columns) = self.hooks[hook], index
        self.index, self.hook = index, hook
        for found, name, side, whole in here.looks:
            values = whole()
            if side == "post":
                found[name] = values if columns is EACH else values[columns]
            elif side == "pre":
                values = values if rows is EACH else values[rows]
                found[name] = values if isinstance(columns, int) or isinstance(rows, int) else values[:, None]
            else:
                found[name] = values[index]
        given = here.call(here.at_rest if gap else here.local)
        when = None
        if self.extra.isdisjoint(given):
            inputs = given
        else:
            inputs = {name: values for name, values in given.items() if name not in self.extra}
            when = given.get(WHEN)
            for name in self.rule.states:
                if name in given:
                    self.traces[f"own_{name}"][index] = given[name]
            for name in self.rule.sums:
                if name in given:
                    self.traces[f"post_{name}"][:] = np.broadcast_to(given[name], self.bar.shape).sum(axis=0)
        if inputs:
            self.bar.touch(index, inputs, when=when, now=self.simulation.clock, dt=self.dt)

    def _whole(self, side: str, name: str) -> Callable[[], Array]:
        """What gives a quantity of a side of all synapses, (rows,), (columns,) or (rows, columns)."""
        if side == "cell":
            return partial(self.bar.state.__getitem__, name)
        layer = self.source if side == "pre" else self.target
        if name == "spike":
            return lambda: _marked(layer.of.size, self.arrived if side == "pre" else self.firing)
        if side == "post" and name == SIGNAL:
            return partial(self.simulation.neurons[self.p.target].__getitem__, SIGNAL)
        if f"{side}_{name}" in self.traces:
            return partial(self.traces.__getitem__, f"{side}_{name}")
        return lambda: layer.x[name]

    def _of_weight(self, name: str) -> Any:
        if name == "weight":
            return self.bar.weight[self.index]
        if name == "now":
            return self.simulation.clock * self.simulation.graph.dt
        rows, columns = self.bar.shape
        key = key_of(self.key, HOOKS.index(self.hook))
        numbers = draws(key, NORMAL, first=self.t, steps=1, n=rows * columns)
        return numbers.reshape(rows, columns)[self.index]
