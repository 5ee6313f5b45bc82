"""Cells in the compiled loop: an event of their map, its domain, the read, and the rest between events, as text.

A map in closed form is written out; of an integrated one the compiled integrator is called for one cell at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace as Named
from typing import TYPE_CHECKING, Any

import numpy as np

from cosim.devices.base import Array, Operand, Values
from cosim.emit.expr import Node
from cosim.emit.numba_sweep import integrator
from cosim.errors import EmitError, SimulationError
from cosim.network.crossbar import DURATION, MINUS, Crossbar
from cosim.surrogate.circuit import CircuitSet
from cosim.surrogate.learned import Law, Laws
from cosim.surrogate.model import Surrogate

if TYPE_CHECKING:
    from cosim.network.graph import Projection
    from cosim.network.kernel import Text
    from cosim.network.simulation import Job, Simulation


def event(text: Text, simulation: Simulation, r: int, p: Projection, inputs: Mapping[str, str]) -> None:
    """An event on cell ``i, j`` of projection ``r``, with the texts of its inputs."""
    bar, add, under = simulation.cells[p.name], text.add, text.under
    _load(text, bar, r)
    relax(text, simulation, r, p, load=False)
    if bar.watch is not None:
        with under(f"if slot{r}[i, j] >= 0:"):
            add(f"W{r}[logged{r}[0], 0] = slot{r}[i, j]", f"W{r}[logged{r}[0], 1] = {inputs[bar.drive]}")
            add(f"logged{r}[0] += 1")
    if not isinstance(bar.kind, Surrogate) and not bar.pair and bar.grid is None:
        found = text.write(bar.kind.event(Named(w=Node("name", "c_w")), Named(change=Node("name", inputs["change"]))))
        add(f"c_w = {found['w']}", f"c{r}_w[i, j] = c_w")
        _weigh(text, bar, r)
        return
    add("moved = False")
    for suffix in _suffixes(bar):
        for name in bar.drives:
            given = inputs[name + suffix] if name + suffix in inputs else f"-({inputs[name]})"
            add(f"u_{name} = {given}")
        add(*(f"u_{name} = {float(value)!r}" for name, value in bar.held.items()))
        _check(text, bar, r, {**{n: f"c_{n}{suffix}" for n in bar.fields}, **{n: f"u_{n}" for n in _inputs(bar)}})
        _law(text, bar, r, suffix)
        if bar.grid is not None:
            name, low, step = bar.grid
            add(f"n_{name} = np.floor((n_{name} - {low!r}) / {step!r} + 0.5) * {step!r} + {low!r}")
        for name in bar.fields:
            with under(f"if n_{name} != c_{name}{suffix}:"):
                add(f"c{r}_{name}{suffix}[i, j] = n_{name}", f"c_{name}{suffix} = n_{name}", "moved = True")
    with under("if moved:"):
        add("pass")
        if isinstance(bar.kind, Surrogate):
            add(f"pulses{r}[0] += 1")
        _weigh(text, bar, r)


def _suffixes(bar: Crossbar) -> tuple[str, ...]:
    return ("", MINUS) if bar.pair else ("",)


def _inputs(bar: Crossbar) -> list[str]:
    return [*bar.drives, *bar.held]


def _load(text: Text, bar: Crossbar, r: int) -> None:
    text.add(*(f"c_{name} = c{r}_{name}[i, j]" for name in bar.state), *(f"q_{n} = q{r}_{n}[i, j]" for n in bar.own))


def _check(text: Text, bar: Crossbar, r: int, names: Mapping[str, str]) -> None:
    """Note values outside the domain."""
    for place, (name, (low, high)) in enumerate(bar.limits.items()):
        if name in names and (np.isfinite(low) or np.isfinite(high)):
            least, most = (f"{x!r}" if np.isfinite(x) else ("-np.inf" if x < 0 else "np.inf") for x in (low, high))
            with text.under(f"if not ({names[name]} >= {least} and {names[name]} <= {most}):"):
                value, row = names[name], f"beyond{r}[{place}"
                text.add(
                    f"flags{r}[{place}] = {value}", f"{row}, 0] += 1.0", f"{row}, 1] = min({row}, 1], {value})",
                    f"{row}, 2] = max({row}, 2], {value})",
                )  # fmt: skip


def _law(text: Text, bar: Crossbar, r: int, suffix: str) -> None:
    """``n_state`` of each state after the event."""
    add, under, kind = text.add, text.under, bar.kind
    x = Values({name: Node("name", f"c_{name}{suffix}") for name in bar.fields})
    u = Values({name: Node("name", f"u_{name}") for name in _inputs(bar)})

    def put(after: Mapping[str, Operand]) -> None:
        found = text.write(after)
        add(*(f"n_{name} = {found[name]}" for name in bar.fields))

    if not isinstance(kind, Surrogate):
        put(kind.event(Named(**x), Named(**u)))
        return
    own = kind.values.with_(**{name: Node("name", f"q_{name}") for name in bar.own})
    if kind.kernel is not None and kind.learned is None:
        (state,), (drive,), (low, high) = bar.fields, _inputs(bar), kind.kernel.lowest
        for head, sign in ((f"if u_{drive} < {-low!r}:", -1), (f"elif u_{drive} > {high!r}:", 1)):
            with under(head), np.errstate(all="ignore"):
                put({state: kind.kernel.law(u[drive], x[state], own, sign=sign, moving=True, energy=False)[0]})
        with under("else:"):
            add(f"n_{state} = c_{state}{suffix}")
        return
    rest = _traced(text, kind, r, "learned", {**x, **u}) if kind.learned is not None else None
    if rest is not None and isinstance(kind.parameters, CircuitSet):
        put({name: np.clip(x[name] + rest[name], *kind.map.bounds(name)) for name in x})
        return
    if kind.map.closed is not None:
        with np.errstate(all="ignore"):
            put(kind.corrected(x, u, *kind.map(x, u, own), own, rest=rest)[0])
        return
    if kind.correction is not None or kind.learned is not None:
        raise EmitError(f"what was learned of the integrated map {kind.map.name} has no scalar kernel")
    _sweep(text, bar, r, "sweep", {n: f"c_{n}{suffix}" for n in bar.fields}, [f"u_{n}" for n in kind.map.inputs])


def _laws(kind: Surrogate, values: Mapping[str, Operand]) -> tuple[dict[str, dict[str, Operand]], list[Array]]:
    """What the learned laws give of recording operands, by field of the surrogate, and the tables that they look up as
    table0, table1, … Raises `EmitError` for a law that cannot be written down.
    """
    tables: list[Array] = []
    found = {}
    for name, law in kind.laws():
        if not (isinstance(law, Law | Laws) and law.traceable):
            raise EmitError(
                f"the learned law of {kind.map.name} of {kind.device} ({law.kind}) has no scalar kernel",
                remedy="take the backend numpy",
            )
        found[name] = law.traced({n: values.get(n, Node("name", n)) for n in law.fields}, tables)
    return found, tables


def _traced(text: Text, kind: Surrogate, r: int, which: str, values: Mapping[str, Operand]) -> dict[str, Operand]:
    """What a learned law gives; its tables are those of projection ``r``."""
    found, tables = _laws(kind, values)
    text.add(*(f"table{k} = table{r}_{k}" for k in range(len(tables))))
    return found[which]


def _sweep(text: Text, bar: Crossbar, r: int, name: str, x: Mapping[str, str], inputs: list[str]) -> None:
    """Call an integrator on one cell."""
    add = text.add
    add(f"xs, us = np.empty(({len(x)}, 1)), np.empty(({len(inputs)}, 1))", f"qs = np.empty(({len(bar.own)}, 1))")
    add(f"found = np.empty(({len(x) + 8}, 1))")  # the outputs come after the states
    add(*(f"xs[{k}, 0] = {value}" for k, value in enumerate(x.values())))
    add(*(f"us[{k}, 0] = {value}" for k, value in enumerate(inputs)))
    add(*(f"qs[{k}, 0] = q_{value}" for k, value in enumerate(bar.own)))
    with text.under(f"if {name}{r}(xs, us, qs, found) >= 0:"):
        add(f"failed{r}[0] = 1")
    add(*(f"n_{state} = found[{k}, 0]" for k, state in enumerate(x)))


def relax(text: Text, simulation: Simulation, r: int, p: Projection, *, load: bool = True) -> None:
    """The rest of cell ``i, j`` from its last event until now."""
    bar, add, under = simulation.cells[p.name], text.add, text.under
    if not bar.rests:
        return
    rest = bar.surrogate.rest_map
    assert rest is not None
    if load:
        _load(text, bar, r)
    add(f"gone = (clock[0] - last{r}[i, j]) * seconds", f"last{r}[i, j] = clock[0]")
    with under("if gone > 0.0:"):
        _check(text, bar, r, {DURATION: "gone"})
        for suffix in _suffixes(bar):
            if rest.closed is None:
                _sweep(text, bar, r, "rest", {n: f"c_{n}{suffix}" for n in rest.states}, ["gone"])
            else:
                own = bar.surrogate.values.with_(**{name: Node("name", f"q_{name}") for name in bar.own})
                x = Values({name: Node("name", f"c_{name}{suffix}") for name in rest.states})
                with np.errstate(all="ignore"):
                    after, _ = rest.closed(x, Values({DURATION: Node("name", "gone")}), own)
                found = text.write(after)
                add(*(f"n_{name} = {found[name]}" for name in bar.fields))
            for name in bar.fields:
                add(f"c_{name}{suffix} = n_{name}", f"c{r}_{name}{suffix}[i, j] = n_{name}")
        _weigh(text, bar, r)


def _weigh(text: Text, bar: Crossbar, r: int) -> None:
    """Read cell ``i, j`` into its weight."""
    if bar.weight is bar.w:
        return
    shares = []
    for suffix in _suffixes(bar):
        x = Values({name: Node("name", f"c_{name}{suffix}") for name in bar.fields})
        if isinstance(bar.kind, Surrogate):
            own = bar.kind.values.with_(**{name: Node("name", f"q_{name}") for name in bar.own})
            with np.errstate(all="ignore"):
                if bar.kind.reading is not None:
                    read = _traced(text, bar.kind, r, "reading", x)
                else:
                    read = dict(bar.kind.map.device.readout(x, own))
                shares.append(read[bar.reading] / bar.scale)
        else:
            shares.append(x.w)
    found: Any = shares[0] - shares[1] if bar.pair else shares[0]
    found = text.write({"weight": found if bar.gain == 1.0 else found * bar.gain})["weight"]
    if bar.wires is not None:
        found = f"({found}) * left{r}[i, j]"
    text.add(f"w{r}[i, j] = " + (found if bar.mask is None else f"{found} if mask{r}[i, j] else 0.0"))


def arguments(bar: Crossbar, r: int, job: Job | None) -> dict[str, Any]:
    """The arrays of projection ``r``, by name."""
    found: dict[str, Any] = {f"w{r}": bar.weight, f"pulses{r}": bar.counter, f"last{r}": bar.touched}
    found |= {f"c{r}_{name}": x for name, x in bar.state.items()}
    found |= {f"q{r}_{name}": x for name, x in bar.own.items()}
    found[f"failed{r}"] = np.zeros(1, dtype=np.int64)
    found |= {f"flags{r}": np.full(len(bar.limits), -np.inf), f"beyond{r}": bar.beyond}
    if isinstance(bar.kind, Surrogate):
        found |= {f"table{r}_{k}": np.ascontiguousarray(x) for k, x in enumerate(_laws(bar.kind, {})[1])}
    if bar.mask is not None:
        found[f"mask{r}"] = bar.mask
    if bar.wires is not None:
        found[f"left{r}"] = bar.left
    if bar.watch is not None:
        slot = np.full(bar.shape, -1, dtype=np.int64)
        slot[tuple(bar.watch.cells.T)] = np.arange(len(bar.watch.cells))
        # Each hook has at most one event per cell and step.
        most = 0 if job is None else len(bar.watch.cells) * job.items * (3 * job.steps + 2)
        found |= {f"slot{r}": slot, f"W{r}": np.empty((most, 2)), f"logged{r}": np.zeros(1, dtype=np.int64)}
    return found


def volatile(simulation: Simulation) -> list[str]:
    """The names of the arrays that rest changes."""
    bars = enumerate(simulation.cells.values())
    return [x for r, bar in bars if bar.rests for x in (*(f"c{r}_{n}" for n in bar.state), f"last{r}", f"w{r}")]


def finish(bar: Crossbar, r: int, arguments: Mapping[str, Any]) -> None:
    """Take over what a run noted of the domain and of watched cells."""
    for name, value in zip(bar.limits, arguments[f"flags{r}"], strict=True):
        if value != -np.inf:
            bar.flags[name] = float(value)
    if arguments[f"failed{r}"][0]:
        raise SimulationError(
            f"an event of the map {bar.name} was not followed to its end in a cell", outcome="not converged"
        )
    if bar.watch is not None:
        for cell, value in arguments[f"W{r}"][: arguments[f"logged{r}"][0]]:
            bar.watch.drives[int(cell)].append(float(value))


def functions(simulation: Simulation) -> tuple[tuple[str, Any], ...]:
    """The compiled integrators that the text calls, by name."""
    found = []
    for r, p in enumerate(simulation.graph.projections):
        bar = simulation.cells[p.name]
        if isinstance(bar.kind, Surrogate):
            for name, chosen in (("sweep", bar.kind.map), ("rest", bar.kind.rest_map)):
                if chosen is not None and chosen.closed is None:
                    if name not in bar.integrators:
                        bar.integrators[name] = integrator(chosen, bar.kind.values, own=tuple(bar.own))
                    found.append((f"{name}{r}", bar.integrators[name]))
    return tuple(found)
