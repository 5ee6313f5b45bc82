"""The loop of a graph as one compiled kernel: neurons, maps, rules and random numbers in a single text for numba.

Each part's functions are called once with recording operands (`cosim.emit.expr`); what they write down becomes the body
of a loop over neurons or synapses, with the parameters as arguments. The order of all operations is that of
`cosim.network.loop`. A whole run of presentations is one call.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from types import SimpleNamespace as Named
from typing import TYPE_CHECKING, Any

import numpy as np

from cosim.devices.base import Operand
from cosim.emit.expr import Node
from cosim.emit.numba import TEXT as SCALAR
from cosim.emit.numba import assignments
from cosim.network import kernel_cells, kernel_world
from cosim.network.graph import DRIVE, SIGNAL, Parameters, Population, Projection
from cosim.network.loop import MS, RULES
from cosim.network.noise import FIELDS, helpers
from cosim.network.rules import HOOKS, WHEN, Local, Rule, Side
from cosim.packages import optional

if TYPE_CHECKING:
    from cosim.network.simulation import Job, Simulation

# As in numpy, so that a library's exponential is the only difference.
TEXT = {**SCALAR, "exp2": "np.exp2({0})", "floor": "np.floor({0})", "at": "{0}[np.intp({1})]"}


class Text:
    """Lines of a function, with their depth; ``names`` makes each temporary a name of its own."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth, self._made = 1, 0

    def add(self, *lines: str) -> None:
        """Lines at this depth."""
        self.lines += ["    " * self.depth + line for line in lines]

    @contextmanager
    def under(self, head: str) -> Iterator[None]:
        """What is added within stands under ``head``."""
        self.add(head)
        self.depth += 1
        yield
        self.depth -= 1

    def write(self, roots: Mapping[str, Operand]) -> dict[str, str]:
        """The lines that compute some values; the text of each."""
        self._made += 1
        body, found = assignments({n: Node.of(x) for n, x in roots.items()}, TEXT, temporary=f"t{self._made}_")
        self.add(*body)
        return found


class _Source:
    """The text of a graph's kernel."""

    def __init__(self, simulation: Simulation, job: Job | None) -> None:
        self.simulation, self.job, self.graph = simulation, job, simulation.graph
        self.text = Text()
        self.places = {one.name: k for k, one in enumerate(self.graph.populations)}
        encoded = {one.name: one.encoder.kind for one in self.graph.populations if one.encoder is not None}
        self.kinds = encoded if job is None else {name: kind for name, (kind, _, _) in job.drives.items()}
        self.signals = () if job is None else tuple(job.signals)
        self.records = () if job is None else tuple(job.records)

    def write(self) -> str:
        add, under, graph = self.text.add, self.text.under, self.graph
        for k, one in enumerate(graph.populations):
            for place, name in enumerate(name for name in one.names if name not in self._own(one)):
                add(f"p{k}_{name} = P{k}[0, {place}]", f"i{k}_{name} = P{k}[1, {place}]")
            rows = graph.depth[one.name] + 1
            add(
                f"N{k} = c{k}_.shape[1]",
                f"f{k} = np.empty(({rows}, N{k}), dtype=np.int64)",
                f"g{k} = np.zeros({rows}, dtype=np.int64)",
                f"d{k} = np.zeros(N{k})",
                f"b{k} = np.zeros(N{k})",
                f"active{k} = np.arange(N{k})",
                f"n{k} = N{k}",
            )
            if one.name in self.kinds:
                add(f"z{k}, mean{k}, part{k} = np.empty(N{k} + {FIELDS - 1}), np.empty(N{k}), np.empty(N{k})")
        for r, p in enumerate(graph.projections):
            if p.rule is not None:
                for place, name in enumerate(p.rule.parameters(graph.dt)):
                    add(f"l{r}_{name} = L{r}[0, {place}]", f"e{r}_{name} = L{r}[1, {place}]")
                add("s{0}, o{0} = np.zeros({1}), np.zeros({2})".format(r, *self._sizes(p)))
        volatile = kernel_cells.volatile(self.simulation)
        add("began = clock[0]", *(f"kept_{name} = {name}.copy()" for name in volatile))
        with under("for k in range(items):"):
            add("item = key_of(key, first + k)")
            for one in graph.populations:
                self._begin(one)
            for r, p in enumerate(graph.projections):
                self._begin_rule(r, p)
            kernel_world.begin(self.text, graph)
            with under("for t in range(steps):"):
                add("frame = t * frames // steps")
                self._step()
                add("clock[0] += 1")
                kernel_world.answer(self.text, graph, self.places)
            kernel_world.note(self.text, graph, self.places)
            for r, p in enumerate(graph.projections):
                if p.rule is not None and p.rule.has("on_end"):
                    with under("if learn:"):
                        add("t = steps")
                        self._sweep(r, p, p.rule, "on_end")
            with under("if gap > 0:"):
                self._idle()
                add("clock[0] += gap")
            with under("if fresh and not learn:"):
                add("clock[0] = began", *(f"{name}[:, :] = kept_{name}" for name in volatile))
            kernel_world.end(self.text, graph)
        head = f"def kernel({', '.join(self.arguments(self.job))}):"
        return "\n".join([head, *self.text.lines, ""])

    def _sizes(self, p: Projection) -> tuple[str, str]:  # rows and columns, as names: one text serves any size
        return f"N{self.places[p.source]}", f"N{self.places[p.target]}"

    def _own(self, one: Population) -> tuple[str, ...]:
        """The parameters that differ from neuron to neuron."""
        return tuple(one.model.parameters(self.graph.dt)) if one.own else ()

    def _taught(self, one: Population) -> bool:
        by = any(p.target == one.name and p.into == SIGNAL for p in self.graph.projections)
        return by or one.name in self.signals or kernel_world.acts(self.graph, one)

    # -- a presentation ----------------------------------------------------------------------------------------------

    def _begin(self, one: Population) -> None:
        add, under, k = self.text.add, self.text.under, self.places[one.name]
        with under("if fresh:"):
            add(*(f"x{k}_{name}[:] = {value!r}" for name, value in one.model.states.items()))
            add("pass")
        add(f"g{k}[:] = 0")
        if one.name in self.kinds:
            add(f"zk{k} = key_of(item, {k})")
            with under(f"if compact{k}:"):
                add(f"n{k} = 0")
                with under(f"for i in range(N{k}):"), under(f"if m{k}[k, 0, i] != 0.0 or v{k}[k, 0, i] != 0.0:"):
                    add(f"active{k}[n{k}] = i", f"n{k} += 1")

    def _begin_rule(self, r: int, p: Projection) -> None:
        if p.rule is None:
            return
        self.text.add(f"rk{r} = key_of(item, {RULES + r})")
        begin = {f"{side}_{n}": v for side in ("pre", "post") for n, v in getattr(p.rule, side).items()}
        begin |= {f"post_{n}": 0.0 for n in p.rule.sums} | {f"own_{n}": v for n, v in p.rule.states.items()}
        with self.text.under("if fresh and learn:"):
            self.text.add(*(f"r{r}_{name}[:] = {value!r}" for name, value in begin.items()), "pass")

    def _step(self) -> None:
        add, under, graph = self.text.add, self.text.under, self.graph
        teaching = [(r, p) for r, p in enumerate(graph.projections) if p.into == SIGNAL]
        for one in graph.populations:
            k = self.places[one.name]
            if one.name in self.signals:
                add(f"x{k}_signal[:] = y{k}[k, frame]")
            elif self._taught(one):
                add(f"x{k}_signal[:] = {'total' if kernel_world.acts(graph, one) else '0.0'}")
        for one in graph.populations:
            self._drive(one)
            self._neurons(one)
        for r, p in teaching:
            self._deliver(r, p, f"x{self.places[p.target]}_signal")
        if any(p.rule is not None for p in graph.projections):
            with under("if learn:"):
                for r, p in enumerate(graph.projections):
                    if p.rule is not None:
                        self._learn(r, p, p.rule)
        for place, entry in enumerate(self.records):
            name, _, state = entry.partition(".")
            add(f"R{place}[k, t] = x{self.places[name]}_{state}")

    def _drive(self, one: Population) -> None:
        add, under, k = self.text.add, self.text.under, self.places[one.name]
        kind = self.kinds.get(one.name)
        if kind is None:
            add(f"d{k}[:] = 0.0", *([f"d{k}[place] = 1.0"] if kernel_world.sees(self.graph, one) else []))
        else:
            with under("if t * frames % steps < frames:"), under(f"for i in range(n{k}):"):
                add(f"mean{k}[i] = m{k}[k, frame, active{k}[i]]", f"part{k}[i] = v{k}[k, frame, active{k}[i]]")
            if kind:
                add(f"draw_{kind}(zk{k}, t, n{k}, z{k})")
            with under(f"for i in range(n{k}):"):
                add(f"d{k}[i] = mean{k}[i]" + (f" + part{k}[i] * z{k}[i]" if kind else ""))
        for r, p in enumerate(self.graph.projections):
            if p.target == one.name and p.into == DRIVE:
                self._deliver(r, p, f"d{k}")

    def _deliver(self, r: int, p: Projection, into: str) -> None:
        """Add what arrives by a projection in this step."""
        add, under = self.text.add, self.text.under
        s, (rows, columns) = self.places[p.source], self._sizes(p)
        if p.sends:
            with under(f"for i in range({rows}):"):
                add(f"value = x{s}_{p.sends}[i]")
                with under(f"for j in range({columns}):"):
                    add(f"{into}[j] += value * w{r}[i, j]")
            return
        with self._spikes(p, "i"):
            if self.simulation.cells[p.name].rests:
                with under(f"for j in range({columns}):"):
                    kernel_cells.relax(self.text, self.simulation, r, p)
            with under(f"for j in range({columns}):"):
                add(f"{into}[j] += w{r}[i, j]")

    @contextmanager
    def _spikes(self, p: Projection, index: str) -> Iterator[None]:
        """A loop over the presynaptic spikes that arrive, or (``j``) over the postsynaptic ones."""
        k = self.places[p.source if index == "i" else p.target]
        rows = self.graph.depth[self.graph.populations[k].name] + 1
        delay = self.graph.delay_of(p) if index == "i" else 0
        row = "0" if rows == 1 else f"(t + {rows - delay}) % {rows}"
        with self.text.under(f"for a in range(g{k}[{row}] if t >= {delay} else 0):"):
            self.text.add(f"{index} = f{k}[{row}, a]")
            yield

    def _neurons(self, one: Population) -> None:
        add, under, k, model = self.text.add, self.text.under, self.places[one.name], one.model
        p = self._parameters(one)
        x = Named(**{name: Node("name", f"x_{name}") for name in model.states})
        with np.errstate(all="ignore"):
            after, above = model.step(x, Node("name", "drive"), p)
        after = {n: Node.of(value) for n, value in after.items()}
        if one.winner is None and model.spiking:
            for n, value in model.spiked(Named(**after), p).items():
                after[n] = Node("where", Node.of(above) > 0.0, Node.of(value), after[n])
        with under(f"for i in range(n{k}):"):
            add(*(f"x_{name} = x{k}_{name}[i]" for name in model.states), f"drive = d{k}[i]")
            add(*(f"p{k}_{name} = a{k}_{name}[active{k}[i]]" for name in self._own(one)))
            found = self.text.write({**{f"x_{n}": v for n, v in after.items()}, "above": above})
            add(*(f"x{k}_{name}[i] = {found[f'x_{name}']}" for name in after), f"b{k}[i] = {found['above']}")
        rows = self.graph.depth[one.name] + 1
        row = "0" if rows == 1 else f"t % {rows}"
        if one.winner is not None:
            groups = one.winner.groups
            add(f"g{k}[{row}] = 0", f"width = N{k} // {groups}")
            with under(f"for group in range({groups}):"):
                add("best = group * width")
                with under("for i in range(best + 1, (group + 1) * width):"), under(f"if b{k}[i] > b{k}[best]:"):
                    add("best = i")
                with under(f"if b{k}[best] > 0.0:"):
                    add(f"f{k}[{row}, g{k}[{row}]] = best", f"g{k}[{row}] += 1", f"c{k}_[k, best] += 1")
                    with under("for i in range(group * width, (group + 1) * width):"):
                        self._changed(one, model.inhibited(x, p), p)
                    add("i = best")
                    self._changed(one, model.spiked(x, p), p)
        elif model.spiking:
            add("count = 0")
            with under(f"for i in range(n{k}):"), under(f"if b{k}[i] > 0.0:"):
                add(f"f{k}[{row}, count] = active{k}[i]", f"c{k}_[k, active{k}[i]] += 1", "count += 1")
            add(f"g{k}[{row}] = count")
        self._finish(one, p)

    def _finish(self, one: Population, p: Named, prefix: str = "p") -> None:
        """What depends on the whole population."""
        add, under, k, model = self.text.add, self.text.under, self.places[one.name], one.model
        if not model.pools:
            return
        x = Named(**{name: Node("name", f"x_{name}") for name in model.states}, top=Node("name", "top"))
        add("top, pool = -np.inf, 0.0")
        with under(f"for i in range(N{k}):"):
            self._load(one, prefix)
            add(f"top = max(top, {self.text.write({'level': model.level(x, p)})['level']})")
        with under(f"for i in range(N{k}):"):
            self._load(one, prefix)
            add(f"pool += {self.text.write({'pool': model.pooled(x, p)})['pool']}")
        with under(f"for i in range(N{k}):"):
            add(f"signal = x{k}_signal[i]")
            self._changed(one, model.finish(x, Node("name", "pool"), Node("name", "signal"), p), p, prefix)

    def _parameters(self, one: Population, prefix: str = "p") -> Named:
        return Named(**{n: Node("name", f"{prefix}{self.places[one.name]}_{n}") for n in one.names})

    def _load(self, one: Population, prefix: str = "p") -> None:
        """States and parameters of neuron ``i``; ``prefix`` "i": of the gap."""
        add, k, letter = self.text.add, self.places[one.name], {"p": "a", "i": "h"}[prefix]
        add(*(f"x_{name} = x{k}_{name}[i]" for name in one.model.states))
        add(*(f"{prefix}{k}_{name} = {letter}{k}_{name}[i]" for name in self._own(one)))

    def _changed(self, one: Population, changes: Mapping[str, Operand], p: Named, prefix: str = "p") -> None:
        """Change states of neuron ``i``."""
        add, k = self.text.add, self.places[one.name]
        self._load(one, prefix)
        found = self.text.write(changes)
        add(*(f"x{k}_{name}[i] = {value}" for name, value in found.items()))

    def _idle(self) -> None:
        add, under = self.text.add, self.text.under
        for one in self.graph.populations:
            k = self.places[one.name]
            if self._taught(one):
                add(f"x{k}_signal[:] = 0.0")
            if not one.model.states:
                continue
            x = Named(**{name: Node("name", f"x_{name}") for name in one.model.states})
            idle = self._parameters(one, "i")
            with under(f"if not compact{k}:"):
                with under(f"for i in range(N{k}):"), np.errstate(all="ignore"):
                    self._changed(one, one.model.idle(x, idle), idle, "i")
                self._finish(one, idle, "i")
        for r, p in enumerate(self.graph.projections):
            if p.rule is not None and (p.rule.pre or p.rule.post or p.rule.has("on_gap")):
                with under("if learn:"):
                    for side in ("pre", "post"):
                        self._each(r, p, p.rule, side, letter="e")
                    if p.rule.has("on_gap"):
                        add("t = steps")
                        self._sweep(r, p, p.rule, "on_gap", letter="e")

    # -- rules --------------------------------------------------------------------------------------------------------

    def _learn(self, r: int, p: Projection, rule: Rule) -> None:
        add, under = self.text.add, self.text.under
        used = self._used(r, p, rule)
        marks = [(index, array) for index, array, name in (("i", f"s{r}", "pre_spike"), ("j", f"o{r}", "post_spike"))
                 if name in used]  # fmt: skip
        for index, array in marks:
            spiking = self.graph[p.source if index == "i" else p.target].model.spiking
            if spiking and (index == "j" or not p.sends):
                with self._spikes(p, index):
                    add(f"{array}[{index}] = 1.0")
        self._each(r, p, rule, "pre")
        if rule.has("on_pre") and not p.sends:
            with self._spikes(p, "i"):
                self._synapses(r, p, rule, "on_pre", outer="i", inner="j", size=self._sizes(p)[1])
        if rule.has("on_post") and self.graph[p.target].model.spiking:
            with self._spikes(p, "j"):
                self._synapses(r, p, rule, "on_post", outer="j", inner="i", size=self._sizes(p)[0])
        self._each(r, p, rule, "post")
        if rule.has("on_step"):
            with under(f"if (t + 1) % {rule.every} == 0:"):
                self._sweep(r, p, rule, "on_step")
        add(*(f"{array}[:] = 0.0" for _, array in marks))

    def _used(self, r: int, p: Projection, rule: Rule) -> set[str]:
        """What the hooks of a rule load."""
        local, used = self._local(r, p, rule, HOOKS[0])
        for hook in HOOKS:
            getattr(rule, hook)(local)
        return set(used)

    def _each(self, r: int, p: Projection, rule: Rule, side: str, *, letter: str = "l") -> None:
        if not getattr(rule, side):
            return
        index = "i" if side == "pre" else "j"
        size = self._sizes(p)[0 if side == "pre" else 1]
        local, used = self._local(r, p, rule, "", letter)
        found_ = getattr(rule, f"each_{side}")(local)
        with self.text.under(f"for {index} in range({size}):"):
            self.text.add(*(line for _, line in used.values()))
            found = self.text.write(found_)
            self.text.add(*(f"r{r}_{side}_{name}[{index}] = {value}" for name, value in found.items()))

    def _sweep(self, r: int, p: Projection, rule: Rule, hook: str, *, letter: str = "l") -> None:
        rows, columns = self._sizes(p)
        given = getattr(rule, hook)(self._local(r, p, rule, hook)[0]) if rule.sums else ()
        self.text.add(*(f"r{r}_post_{name}[:] = 0.0" for name in rule.sums if name in given))
        with self.text.under(f"for i in range({rows}):"):
            self._synapses(r, p, rule, hook, outer="i", inner="j", size=columns, letter=letter)

    def _local(
        self, r: int, p: Projection, rule: Rule, hook: str, letter: str = "l"
    ) -> tuple[Local, dict[str, tuple[str, str]]]:
        """A `Local` of recording operands, and what they load: by name the index it depends on, and the line."""
        used: dict[str, tuple[str, str]] = {}

        def side(of: str, index: str, spikes: str) -> Side:
            k = self.places[p.source if of == "pre" else p.target]

            def look(name: str) -> Node:
                made = f"{of}_{name}"
                arrays = {*getattr(rule, of), *(rule.sums if of == "post" else ())}
                array = spikes if name == "spike" else f"r{r}_{made}" if name in arrays else f"x{k}_{name}"
                used[made] = (index, f"{made} = {array}[{index}]")
                return Node("name", made)

            return Side(look)

        def synaptic(prefix: str) -> Side:
            def look(name: str) -> Node:
                made = f"{prefix}_{name}"
                array = f"r{r}_own_{name}" if prefix == "own" else f"c{r}_{name}"
                used[made] = ("ij", f"{made} = {array}[i, j]")
                return Node("name", made)

            return Side(look)

        def weight(name: str) -> Node:
            rows, columns = self._sizes(p)
            place = HOOKS.index(hook or HOOKS[0])
            text = {
                "weight": f"w{r}[i, j]",
                "now": "clock[0] * dt",
                "random": f"normal_of(key_of(rk{r}, {place}), t, {rows} * {columns}, i * {columns} + j)",
            }
            used[name] = ("ij", f"{name} = {text[name]}")
            return Node("name", name)

        parameters = Named(**{n: Node("name", f"{letter}{r}_{n}") for n in rule.parameters(self.graph.dt)})
        local = Local(
            side("pre", "i", f"s{r}"), side("post", "j", f"o{r}"), synaptic("own"), synaptic("cell"), weight, parameters
        )
        return local, used

    def _synapses(
        self, r: int, p: Projection, rule: Rule, hook: str, *, outer: str, inner: str, size: str, letter: str = "l"
    ) -> None:
        """A hook on the synapses of neuron ``outer``; it may give nothing."""
        add, under = self.text.add, self.text.under
        local, used = self._local(r, p, rule, hook, letter)
        given = dict(getattr(rule, hook)(local))
        add(*(line for index, line in used.values() if index == outer))
        with under(f"for {inner} in range({size}):"):
            add(*(line for index, line in used.values() if index != outer))
            found = self.text.write(given)
            add(*(f"r{r}_own_{name}[i, j] = {found.pop(name)}" for name in rule.states if name in found))
            add(*(f"r{r}_post_{name}[j] += {found.pop(name)}" for name in rule.sums if name in found))
            when = found.pop(WHEN, "")
            add("pass")
            if found:
                mask = "" if self.simulation.cells[p.name].mask is None else f"mask{r}[i, j]"
                with under(f"if {' and '.join(filter(None, (mask, when))) or 'True'}:"):
                    kernel_cells.event(self.text, self.simulation, r, p, found)

    # -- arguments ----------------------------------------------------------------------------------------------------

    def arguments(self, job: Job | None) -> dict[str, Any]:
        """What the kernel is called with, by name; without a job the names alone."""
        simulation, graph = self.simulation, self.graph
        found: dict[str, Any] = {"clock": np.array([simulation.clock]), "dt": graph.dt, "seconds": graph.dt * MS}
        found |= kernel_world.arguments(graph, job, simulation.streak)
        for name in ("first", "items", "steps", "frames", "learn", "fresh", "gap"):
            found[name] = getattr(job, name, None)
        found["key"] = None if job is None else np.uint64(job.key)
        for k, one in enumerate(graph.populations):
            found |= {f"x{k}_{name}": x for name, x in simulation.neurons[one.name].items()}
            for place, letter in enumerate("ah"):
                found |= {f"{letter}{k}_{n}": job and job.parameters[one.name][place][n] for n in self._own(one)}
            found[f"compact{k}"] = job is not None and job.compact(graph, one)
            found[f"P{k}"] = job and _table(job.parameters[one.name])
            found[f"c{k}_"] = job and job.counts[one.name]
            if one.name in self.kinds:
                found |= dict(zip((f"m{k}", f"v{k}"), job.drives[one.name][1:] if job else (0, 0), strict=True))
            if one.name in self.signals:
                found[f"y{k}"] = job and job.signals[one.name]
        for r, p in enumerate(graph.projections):
            found |= {f"r{r}_{name}": x for name, x in simulation.traces.get(p.name, {}).items()}
            of_cells = kernel_cells.arguments(simulation.cells[p.name], r, job)
            assert not found.keys() & of_cells.keys(), "two arguments of the same name"
            found |= of_cells
            if p.rule is not None:
                found[f"L{r}"] = job and _table(job.parameters[p.name])
        return found | {f"R{place}": job and job.records[entry] for place, entry in enumerate(self.records)}


def _table(pair: tuple[Parameters, Parameters]) -> Any:
    """(2, parameters) those that are numbers."""
    rows = [[x for x in values.values() if not isinstance(x, np.ndarray)] for values in pair]
    return np.array(rows, dtype=float).reshape(2, -1)


def source(simulation: Simulation, job: Job | None = None) -> str:
    """The text of the kernel; raises `EmitError` for a part that cannot be written."""
    return _Source(simulation, job).write()


@lru_cache(maxsize=32)
def _compiled(text: str, extra: tuple[tuple[str, Any], ...]) -> Any:
    numba = optional("numba", extra="fast", needed_by="the backend numba")
    space: dict[str, Any] = {"math": math, "np": np, **dict(helpers()), **dict(extra)}
    space["__builtins__"] = {"range": range, "max": max, "min": min, "abs": abs}
    # The text holds operations, numbers and names that cosim wrote, and nothing else.
    exec(compile(text, "<network>", "exec"), space)  # noqa: S102
    return numba.njit(space["kernel"], error_model="numpy", nogil=True)


def present(simulation: Simulation, job: Job) -> None:
    """Run all presentations of a job in one compiled call."""
    made = _Source(simulation, job)
    watched = tuple(bar.watch is not None for bar in simulation.cells.values())
    which = (tuple(made.kinds.items()), made.signals, made.records, watched)
    if which not in simulation.kernels:
        simulation.kernels[which] = _compiled(made.write(), kernel_cells.functions(simulation))
    simulation.kernels[which](*(arguments := made.arguments(job)).values())
    simulation.clock = int(arguments["clock"][0])
    kernel_world.finish(simulation, job, arguments)
    for r, p in enumerate(simulation.graph.projections):
        kernel_cells.finish(simulation.cells[p.name], r, arguments)
