"""A graph at work: its states, its cells, and runs of presentations on them, in numpy or compiled.

Both ways draw the same random numbers (`cosim.network.noise`) and take the same operations in the same order, so that
they differ by the rounding of two libraries' exponentials at most. Between two presentations lies a gap without input,
taken as one long step. ``fresh`` presentations begin at rest.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cosim.devices.base import Array
from cosim.errors import InputError, UnknownName
from cosim.network.crossbar import Crossbar
from cosim.network.encoders import Encoder
from cosim.network.graph import SIGNAL, Graph, Parameters, Population, changed
from cosim.network.neurons import whole_steps
from cosim.network.noise import MASK
from cosim.network.world import Episodes
from cosim.surrogate.base import DomainWarning
from cosim.surrogate.circuit import CircuitSet
from cosim.surrogate.model import Surrogate

BACKENDS = ("auto", "numba", "numpy")
Floats = Mapping[str, float]
ENCODED = 1 << 20  # encoded values at once


@dataclass(frozen=True)
class Job:
    """Some presentations, as both backends take them.

    Args:
        first, items: number of the first presentation, and how many there are.
        steps, frames: time steps of each, and frames of the input, which divide the steps.
        shown: to each population with an encoder: the encoder, values (items, frames or 1, n), and the model's gain.
        drives: of each population with an encoder: kind of its noise, mean and deviation, (items, frames, n).
        signals: teaching signals of populations, (items, frames, n).
        key: of the random numbers.
        learn: whether rules act. fresh: whether each presentation begins at rest.
        gap: time steps without input after each.
        parameters: of populations and rules by the part's name: in a step, and in the gap.
        counts: spikes of each population, (items, n). records: states by ``part.state``, (items, steps, n).
        episodes: of a world. done: (1,) how many presentations there were: a world may have had enough.
    """

    first: int
    items: int
    steps: int
    frames: int
    shown: Mapping[str, tuple[Encoder, NDArray[Any], float | Array]]
    drives: Mapping[str, tuple[str, Array, Array]]
    signals: Mapping[str, Array]
    key: int
    learn: bool
    fresh: bool
    gap: int
    parameters: Mapping[str, tuple[Parameters, Parameters]]
    counts: Mapping[str, NDArray[np.int64]]
    records: Mapping[str, Array]
    episodes: Episodes
    done: NDArray[np.int64]

    def parts(self, dt: float) -> Iterator[Job]:
        """Parts whose encoded inputs are of a moderate size."""
        widest = max((values[0].size for _, values, _ in self.shown.values()), default=1)
        for start in range(0, self.items, max(ENCODED // (widest * self.frames), 1)):
            here = slice(start, min(start + max(ENCODED // (widest * self.frames), 1), self.items))
            drives = {}
            for name, (encoder, values, gain) in self.shown.items():
                part = values[here].astype(float)
                mean, deviation = encoder.drive(np.broadcast_to(part, _wide(part, self.frames)), dt=dt)
                drives[name] = (encoder.kind, np.ascontiguousarray(mean * gain), np.ascontiguousarray(deviation * gain))
            yield replace(
                self,
                first=start,
                items=here.stop - start,
                drives=drives,
                signals={name: np.ascontiguousarray(x[here]) for name, x in self.signals.items()},
                counts={name: x[here] for name, x in self.counts.items()},
                records={name: x[here] for name, x in self.records.items()},
                episodes=self.episodes[here],
                done=np.array([here.stop - start]),
            )

    def compact(self, graph: Graph, population: Population) -> bool:
        """Whether neurons without a drive can be left out: they stay as they are, and nothing looks at them."""
        name = population.name
        return (
            name in self.drives
            and self.frames == 1
            and (not population.model.states or (self.fresh and not self.learn))
            and population.winner is None
            and not population.model.pools
            and all(p.target != name and not (p.source == name and p.sends) for p in graph.projections)
            and all(key.partition(".")[0] != name for key in self.records)
        )


@dataclass(frozen=True)
class Answers:
    """What a run gives: spikes of each population in each presentation, (items, n), the recorded states, and of a world
    the episodes, as many as there were before it had enough.
    """

    counts: Mapping[str, NDArray[np.int64]]
    records: Mapping[str, Array] = field(default_factory=lambda: MappingProxyType({}))
    episodes: Episodes = field(default_factory=lambda: Episodes.empty(0))


class Simulation:
    """A graph with its states.

    Attributes:
        neurons: by population and state, (n,) each; its ``signal`` among them.
        traces: the rules' arrays by projection and name.
        cells: by projection.
        clock: time steps so far, those of gaps included.
        streak: successes in a row in the graph's world so far.
        backend: "numba" or "numpy".
        kernels: the compiled loops so far, by what is drawn, taught, recorded and watched.

    >>> import numpy as np
    >>> from cosim.network import Graph, Ideal, LIF, Poisson, Population, Projection, Simulation, Source
    >>> inputs = Population("inputs", 4, Source(), Poisson(rate=100.0))
    >>> outputs = Population("outputs", 2, LIF(tau=20.0, threshold=1.0, reset=0.0, refractory=2.0))
    >>> weights = Projection("inputs", "outputs", Ideal(), np.full((4, 2), 0.5))
    >>> simulation = Simulation(Graph((inputs, outputs), (weights,)), backend="numpy")
    >>> simulation.run({"inputs": np.ones((3, 4))}, steps=100, key=1).counts["outputs"].shape
    (3, 2)
    """

    def __init__(self, graph: Graph, *, backend: str = "auto", like: Simulation | None = None) -> None:
        """The graph in its initial states. "auto" takes numba where it is installed and the graph can be compiled.

        ``like`` is a simulation of a graph that differs in values alone (`cosim.network.alike`): its compiled loops and
        its backend are taken, which saves writing them anew for each of many runs.

        Raises:
            InputError: ``like`` is of another network.
            UnknownName, EngineMissing: for the backend. EmitError: "numba" is asked for, and a part cannot be compiled.
        """
        if backend not in BACKENDS:
            raise UnknownName("backend", backend, BACKENDS)
        self.graph = graph
        self.neurons: dict[str, dict[str, Array]] = {}
        for one in graph.populations:
            rest = {**one.model.states, SIGNAL: 0.0}
            self.neurons[one.name] = {name: np.full(one.size, value) for name, value in rest.items()}
        self.cells: dict[str, Crossbar] = {}
        self.traces: dict[str, dict[str, Array]] = {}
        for p in graph.projections:
            self.cells[p.name] = bar = p.crossbar()
            if isinstance(bar.kind, Surrogate) and isinstance(bar.kind.parameters, CircuitSet) and not bar.rests:
                of = f"the map {bar.name} of {bar.kind.parameters.name}"
                said = f"nothing is known of what the cells of {p.name} do between events ({of}): their states are held"
                warnings.warn(said, DomainWarning, stacklevel=2)
            rule, (rows, columns) = p.rule, bar.shape
            if rule is not None:
                order: Literal["F", "C"] = "F" if bar.w.flags.f_contiguous and not bar.w.flags.c_contiguous else "C"
                self.traces[p.name] = {
                    **{f"pre_{name}": np.full(rows, value) for name, value in rule.pre.items()},
                    **{f"post_{name}": np.full(columns, value) for name, value in rule.post.items()},
                    **{f"post_{name}": np.zeros(columns) for name in rule.sums},
                    **{f"own_{name}": np.full((rows, columns), x, order=order) for name, x in rule.states.items()},
                }
        self.clock = self.streak = 0
        if like is not None:
            from cosim.network.alike import alike

            if not alike(graph, like.graph):
                raise InputError("the network to take the loops of is another one", remedy="leave out like=")
        self.kernels: dict[Any, Any] = {} if like is None else like.kernels
        self.backend: str = self._chosen(backend) if like is None else like.backend

    def _chosen(self, backend: str) -> str:
        if backend == "numpy" or (backend == "auto" and find_spec("numba") is None):
            return "numpy"
        from cosim.errors import EmitError
        from cosim.network.kernel import source

        try:
            source(self)
        except EmitError:
            if backend == "numba":
                raise
            return "numpy"
        return "numba"

    def rest(self, name: str) -> None:
        """Put a population's neurons, or the traces of a projection's rule, where they began."""
        for one in self.graph.populations:
            if one.name == name:
                for state, value in one.model.states.items():
                    self.neurons[name][state][:] = value
        for p in self.graph.projections:
            if p.name == name and p.rule is not None:
                begin = {f"{s}_{n}": v for s in ("pre", "post") for n, v in getattr(p.rule, s).items()}
                begin |= {f"own_{n}": v for n, v in p.rule.states.items()}
                for trace, values in self.traces[name].items():
                    values[...] = begin.get(trace, 0.0)

    def run(
        self,
        inputs: Mapping[str, ArrayLike],
        *,
        steps: int,
        key: int,
        learn: bool = True,
        fresh: bool = False,
        gap: float = 0.0,
        signals: Mapping[str, ArrayLike] = MappingProxyType({}),
        encoders: Mapping[str, Encoder] = MappingProxyType({}),
        parameters: Mapping[str, Floats] = MappingProxyType({}),
        record: Sequence[str] = (),
        episodes: int = 0,
    ) -> Answers:
        """Show presentations one after the other.

        Args:
            inputs: of each population with an encoder: values (items, n), or (items, frames, n) for frames that follow
                one another within each presentation.
            steps: time steps of a presentation.
            key: 64 bits, from which all random numbers follow.
            learn: whether rules act; without, nothing is changed but the neurons' states.
            fresh: each presentation begins at rest; without ``learn`` the neurons are left as they were before the run.
            gap: time without input after each presentation, in ms, in which nothing arrives and nothing fires.
            signals: teaching signals of populations, of a shape as ``inputs``.
            encoders: in place of populations' own.
            parameters: of populations and rules, by the part's name, in place of their own: fields of the model, the
                competition (``clamp``) or the rule, or parameters that do not depend on the time step.
            record: states to return at each step, as ``population.state``.
            episodes: of a world, at most so many presentations; ``steps`` are then their longest. Inputs and signals
                with one presentation are shown in each.

        Raises:
            UnknownName, InputError: for what does not fit the graph.
            DomainError: the cells were driven outside the domain of their surrogate, where its policy is "raise".
        """
        for bar in self.cells.values():
            bar.see()
        job = self._job(inputs, steps, key, learn, fresh, gap, signals, encoders, parameters, record, episodes)
        with self._kept(job):
            if self.backend == "numba" and all(bar.can_compile for bar in self.cells.values()):
                from cosim.network.kernel import present
            else:
                from cosim.network.loop import present
            for part in job.parts(self.graph.dt):
                present(self, part)
                job.done[0] += part.done[0]
                if part.done[0] < part.items:
                    break
        for bar in self.cells.values():
            bar.require_domain()
        if self.graph.world is None:
            return Answers(job.counts, job.records)
        whole = slice(int(job.done[0]))
        return Answers(
            {name: x[whole] for name, x in job.counts.items()},
            {name: x[whole] for name, x in job.records.items()},
            job.episodes[whole],
        )

    @contextmanager
    def _kept(self, job: Job) -> Iterator[None]:
        """What a run without learning must not change is put back after it."""
        if job.learn:
            yield
            return
        clock = self.clock
        neurons = {name: {n: x.copy() for n, x in part.items()} for name, part in self.neurons.items() if job.fresh}
        cells = {name: bar.kept() for name, bar in self.cells.items() if bar.rests}
        try:
            yield
        finally:
            for name, part in neurons.items():
                self.neurons[name].update(part)
            for name, kept in cells.items():
                self.cells[name].put_back(kept)
            if job.fresh:
                self.clock = clock

    def _job(
        self,
        inputs: Mapping[str, ArrayLike],
        steps: int,
        key: int,
        learn: bool,
        fresh: bool,
        gap: float,
        signals: Mapping[str, ArrayLike],
        encoders: Mapping[str, Encoder],
        parameters: Mapping[str, Floats],
        record: Sequence[str],
        episodes: int,
    ) -> Job:
        graph, dt = self.graph, self.graph.dt
        encoded = {one.name: encoders.get(one.name, one.encoder) for one in graph.populations}
        wanted = [name for name, encoder in encoded.items() if encoder is not None]
        names = [one.name for one in graph.populations]
        for what, known in (("input", inputs), ("signal", signals), ("encoder", encoders)):
            for name in known:
                if name not in (wanted if what == "input" else names):
                    raise UnknownName(f"{what} of a population", name, wanted if what == "input" else names)
        if missing := sorted(set(wanted) - set(inputs)):
            raise InputError(f"the populations {', '.join(missing)} have an encoder and no input", remedy="give theirs")
        for which, number in (("number of steps", steps), ("key", key)):
            if not isinstance(number, int | np.integer):
                raise InputError(f"the {which} has to be a whole number, not {number!r}")
        if steps < 1 or not 0.0 <= gap < np.inf:
            raise InputError(f"a presentation of {steps} steps and a gap of {gap} ms cannot be run")
        ticks = whole_steps(gap, dt, "the gap")
        for q in graph.projections:
            if ticks and learn and q.rule is not None and q.rule.has("on_step") and not q.rule.has("on_gap"):
                raise InputError(
                    f"the rule {type(q.rule).__name__} of {q.name} acts in each step, and does not say what a gap does",
                    remedy="give it the hook on_gap, or show frames of zeros in place of the gap",
                )
        for name, other in encoders.items():
            replace(graph[name], encoder=other)  # refuses one that cannot drive these neurons
        given, taught = ({n: _numbers(x, n) for n, x in part.items()} for part in (inputs, signals))
        taught = {name: values.astype(float) for name, values in taught.items()}
        if (graph.world is None) != (episodes == 0):
            raise InputError(
                f"{episodes} episodes cannot be run "
                + ("without a world" if graph.world is None else "in a world: it needs at least one"),
                remedy="give episodes= for a graph with a world, and leave it out of any other",
            )
        if not (given or taught or episodes):
            raise InputError("there is nothing to present: no population has an encoder, and there is no signal")
        if graph.world is not None and graph.world.actions in taught:
            raise InputError(f"the teaching signal of {graph.world.actions} is the world's reward, and cannot be given")
        for part in (given, taught) if episodes else ():
            part |= {n: np.broadcast_to(x, (episodes, *x.shape[1:])) for n, x in part.items() if x.shape[:1] == (1,)}
        frames, items = 1, episodes or (next(iter((given or taught).values())).shape or (0,))[0]
        for part, part_given in ((given, inputs), (taught, signals)):
            for name, values in part.items():
                size = graph[name].size
                if values.ndim == 2:
                    part[name] = values = values[:, None, :]
                if values.ndim != 3 or values.shape[0] != items or values.shape[2] != size:
                    shape = f"({items}, {size})" if values.ndim == 3 else f"(presentations, {size})"
                    raise InputError(
                        f"what is shown to {name} has shape {np.shape(part_given[name])}, not {shape}",
                        remedy=f"give presentations of {size} values, as many as of the others",
                    )
                if not np.all(np.isfinite(values)):
                    raise InputError(f"what is shown to {name} holds values that are not finite")
                frames = max(frames, values.shape[1])
        if not items:
            raise InputError("there is nothing to present: the inputs hold no presentation")
        if steps % frames or any(x.shape[1] not in (1, frames) for x in (*given.values(), *taught.values())):
            raise InputError(
                f"{frames} frames do not fit {steps} time steps", remedy="give each frame the same number of steps"
            )
        for name, encoder in encoded.items():
            if encoder is not None:
                encoder.require(given[name], dt=dt)
        p: dict[str, tuple[Parameters, Parameters]] = {}
        rules = {q.name: q.rule for q in graph.projections if q.rule is not None}
        for name in parameters:
            if name not in {*names, *rules}:
                raise UnknownName("part of the network with parameters", name, [*names, *rules])
        for name in (*names, *rules):
            new = parameters.get(name, {})
            of = graph[name].changed(new) if name in names else changed(rules[name], new, name)
            p[name] = of(dt), of(dt, ticks=float(max(ticks, 1)))
        records = {}
        for entry in record:
            name, _, state = entry.partition(".")
            if name not in names or state not in self.neurons[name]:
                raise UnknownName("state to record", entry, [f"{n}.{s}" for n in names for s in self.neurons[n]])
            records[entry] = np.empty((items, steps, graph[name].size))
        return Job(
            first=0,
            items=items,
            steps=steps,
            frames=frames,
            shown={
                name: (encoder, given[name], p[name][0]["gain"])
                for name, encoder in encoded.items()
                if encoder is not None
            },
            drives={},
            signals={name: np.broadcast_to(x, _wide(x, frames)) for name, x in taught.items()},
            key=int(key) & MASK,
            learn=learn,
            fresh=fresh,
            gap=ticks,
            parameters=p,
            counts={one.name: np.zeros((items, one.size), dtype=np.int64) for one in graph.populations},
            records=records,
            episodes=Episodes.empty(items),
            done=np.zeros(1, dtype=np.int64),
        )

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that changes, by name; the arrays themselves, and the clock."""
        found: dict[str, NDArray[Any]] = {"clock": np.array(self.clock)}
        found |= {"streak": np.array(self.streak)} if self.graph.world is not None else {}
        for name, part in (*self.neurons.items(), *self.traces.items()):
            found |= {f"{name}.{state}": x for state, x in part.items()}
        for name, bar in self.cells.items():
            found |= {f"{name}.cell_{state}": x for state, x in bar.state.items()}
            found |= {f"{name}.pulses": bar.counter, **({f"{name}.touched": bar.touched} if bar.rests else {})}
        return found

    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes, copied."""
        return {name: x.copy() for name, x in self.arrays().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `state`; raises `InputError` for that of another graph."""
        for name, x in self.arrays().items():
            if name not in state or state[name].shape != x.shape:
                raise InputError(f"the saved network has no {name} of shape {x.shape}: it is another one")
            x[...] = state[name]
        self.clock = int(state["clock"])
        if self.graph.world is not None:
            self.streak = int(state["streak"])
        for bar in self.cells.values():
            bar.load({})


def _numbers(values: ArrayLike, name: str) -> NDArray[Any]:
    """``values`` as an array; raises `InputError` where they are not numbers."""
    try:
        found = np.asarray(values)
    except ValueError:  # rows of several lengths
        found = np.array("")
    if found.dtype.kind not in "biuf":
        raise InputError(f"what is shown to {name} is not an array of numbers")
    return found


def _wide(values: Array, frames: int) -> tuple[int, int, int]:
    return values.shape[0], frames, values.shape[2]
