"""Event neurons: spikes in, spikes out, learned from the waveforms of a circuit under random trains of spikes.

An event is one input spike and the time to the next. The law follows the circuit through its parts::

    an input      u → u + k (1 − u),  v → v + q(v, u),  n → n + j(v, n)     facilitation; the kick of both voltages
    between       (v, n) follow a flow in the plane (`cosim.surrogate.planar`); the leak's clock runs faster or slower
                  after inputs and resets, as the bias voltages come back;  u → u e^(−Δ/τ)
    firing        a spike when the flow arrives at the circuit's threshold, as if v were s(v, n, phase) higher
    after it      the membrane stays until it is reset; inputs of that time put the reset off, and count as far as its
                  transistor, which closes, leaves them

States are the membrane v (V), the share u, the stage n (V; the voltage between membrane and output that remembers an
input, if the bench names one) and ``phase`` (s): the time since the last reset's end, below zero before it. Outputs are
the spikes in the interval (0 or 1), the ``latency`` of that spike from its input (s; 0 without one) and the ``energy``
(J) that the circuit takes in the interval. `cosim.surrogate.neuron_fit` makes the law of waveforms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.surrogate.learned import Law
from cosim.surrogate.planar import Flow

SOON = 2.0  # kicks: what counts as soon after a reset (our choice)
QUIET = 8.0  # kicks after a reset's end from when on it takes nothing from a kick (our choice)
HASTY = 4.0  # kicks after an input, up to which a spike counts as one that comes with its kick (our choice)
ROOM = 300.15  # K, the 27 °C that SPICE takes unless it is told otherwise
NEVER = 1e9  # s: later than any spike
MATCH = 0.05  # of the mean output interval: how near a matching spike is
STATES, OUTPUTS = ("v", "u", "n", "phase"), ("spikes", "latency", "energy")
NUMBERS = ("step", "tau", "kick", "dead", "reset", "memory", "closed", "open", "most ahead", "most behind", "coupled",
           "rest_power", "spike_energy", "most idle", "most spent", "thermal", "rest", "late", "again", "anew",
           "pace")  # fmt: skip
LAWS = ("kick", "drains", "lift", "jump", "ahead", "ahead at rest", "behind", "behind at rest", "hasty", "late",
        "again", "again late", "leak", "left", "dead", "dead again", "up", "fell", "risen", "risen in spike", "longer",
        "longer in reset", "longer after", "stirred", "idle", "spent")  # fmt: skip
TABLES = ("held", "falls", "rises", "bump", "drawn")


@dataclass(frozen=True)
class SpikeTrain:
    """What a circuit made of a train of input spikes.

    Args:
        inputs: (n + 1,) s; the last one ends the last event, and may or may not be an input.
        time, membrane, energy: (m,) s, V and J (drawn since the beginning).
        spikes: (k,) s of the output's rising edges. reset, ready: (k,) s at which each spike's reset begins and ends.
        facilitation: (m,) the share u; None: the circuit has none.
        stage: (m,) V, between membrane and output; None: no voltage there remembers anything.
        kick: s from an input's edge to the end of its kick, in which the fit counts all its short times.
        temperature: K, of the circuit.
    """

    inputs: Array
    time: Array
    membrane: Array
    energy: Array
    spikes: Array
    reset: Array
    ready: Array
    facilitation: Array | None = None
    stage: Array | None = None
    kick: float = field(kw_only=True)
    temperature: float = field(default=ROOM, kw_only=True)

    def at(self, t: Array) -> dict[str, Array]:
        """Membrane, facilitation, stage and energy at times ``t``."""
        none = np.zeros_like(self.time)
        u, n = (none if column is None else column for column in (self.facilitation, self.stage))
        columns = {"v": self.membrane, "u": u, "n": n, "energy": self.energy}
        return {name: np.interp(t, self.time, column) for name, column in columns.items()}

    @property
    def intervals(self) -> Array:
        """(n,) s."""
        return np.diff(self.inputs)

    def phase(self, t: Array) -> Array:
        """Of each of ``t``: s since the end of the last spike's reset, below zero before it; infinite without one."""
        if not self.spikes.size:
            return np.full(np.shape(t), np.inf)
        last = np.searchsorted(self.spikes, t, side="right") - 1
        return np.where(last >= 0, t - self.ready[np.maximum(last, 0)], np.inf)


@dataclass(frozen=True)
class Table:
    """A function of one number: linear between ``x`` (k,), rising, constant beyond."""

    x: Array
    y: Array

    def __call__(self, x: Array) -> Array:
        """At ``x``."""
        return np.interp(x, self.x, self.y)


@dataclass(frozen=True)
class NeuronLaw:
    """The law of an event neuron (module docstring), as `cosim.surrogate.learned.Law` is one.

    Args:
        flow: of membrane and stage.
        laws: by the names of `LAWS`, None for what does not occur. Of the membrane v, the share u and perhaps the stage
            n before an input: ``kick`` q (V); of v and u: ``lift``, the same during a spike. Of the kicked membrane and
            its phase: ``drains``, the logarithm of how far (in thermal voltages) the transistor of a reset discharges
            the membrane yet, and, of v, the kick and its phase, ``longer``, by how much (s) an input puts a reset off:
            before it, in it, or when its transistor closes. Of the kicked v, n and the v before: ``jump`` j (V). Of the
            kicked v, n and the interval: ``ahead`` and ``behind`` s (V), for the time of a spike and for the stage
            without one, long after a reset ("at rest") and what there is more soon after one. Of the kicked v, the n
            before and the latency that the flow gives: by how much a spike is later than that, ``hasty`` (s) where it
            comes with its input's kick and ``late`` (a share of it) after that. Next to the end of a reset, instead:
            ``again``, exp(−latency / pace) of the kicked v and the n before, ``again late``, by how much (s) a spike is
            later than that, and ``dead again``, of the kicked v and the phase of the spike.
            ``leak``: what the flow leaves out of the membrane (V). ``left``: the membrane after a reset (V). Of the
            kicked v and the time since the spike, until the reset: ``up`` and ``fell``, by how much (V) the membrane is
            above its leak with the ``bump``, and the stage above what it ``falls`` to. Of the kicked v and the phases
            at both ends of an event that begins before the end of a reset: ``stirred``, by how much (V) the stage is
            above what it falls and rises to; ``risen`` and ``risen in spike``, the same up to a dead time after the
            reset, by the phase of the event's spike or, for an event that begins within one, its own. ``dead``: the
            time from a spike to the end of its reset (s), over its median. ``idle`` and ``spent``: the energy (J) of an
            event without and with a spike, over what it takes at rest and for the spike.
        tables: by the names of `TABLES`, of the phase unless said otherwise: the share of the membrane that is
            ``held``; the stage as it ``falls`` after a spike (of the time since) and ``rises`` with and after the reset
            (V); the ``bump`` of the membrane (V; of the time since the spike); the share of a spike's energy that is
            ``drawn``.
        numbers: by the names of `NUMBERS`, SI.
    """

    flow: Flow
    laws: Mapping[str, Law | None]
    tables: Mapping[str, Table]
    numbers: Mapping[str, float]

    kind: ClassVar[str] = "neuron"
    fields: ClassVar[tuple[str, ...]] = (*STATES, "interval")
    targets: ClassVar[tuple[str, ...]] = (*STATES, *OUTPUTS)

    def __call__(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """The change of each state, and each output; the values broadcast."""
        columns = np.broadcast_arrays(*(np.asarray(values[name], dtype=float) for name in self.fields))
        shape = columns[0].shape
        found = self.event(*(column.ravel() for column in columns))
        return {name: column.reshape(shape) for name, column in found.items()}

    def event(self, v: Array, u: Array, n: Array, phase: Array, interval: Array) -> dict[str, Array]:
        """`__call__` of (k,) each; of recording operands too, with what looks tables up for these."""
        of, tables = self.numbers, self.tables
        given, phase = phase, np.minimum(phase, of["memory"])
        phase = phase - self.longer(v, u, n, phase)
        free, up = phase >= 0.0, phase < -of["reset"]
        kicked = self.kicked_membrane(v, u, n, phase)
        jumped = n + self.law("jump", {"v": kicked, "n": n, "from": v})
        ahead, behind = (self.ahead(name, kicked, jumped, phase, interval) for name in ("ahead", "behind"))
        arrival = self.flow.arrives(kicked + ahead, jumped)
        latency = np.where(free, of["kick"] + arrival, NEVER)
        about = {"v": kicked, "n": n, "latency": latency, "fresh": self.fresh(phase)}
        soon = latency < HASTY * of["kick"]
        latency = np.maximum(latency + self.law("hasty", about, soon), 0.0)
        late = self.law("late", about, ~soon & (latency < NEVER))
        latency = latency * (1.0 + np.clip(late, -of["late"], of["late"]))
        anew = self.anew(phase)
        latency = np.where(anew, self.again(kicked, n, phase), latency)
        fires = latency < interval
        latency = np.where(fires, latency, 0.0)
        spiked_at = np.minimum(phase + latency, of["memory"])
        dead = self.dead(kicked, phase + latency, anew)
        since = np.where(fires, interval - latency, interval + phase + of["dead"])
        whole = np.where(fires, since - dead, phase + interval)
        end = np.minimum(whole, of["memory"])
        left = np.maximum(interval - of["kick"], 0.0)
        leaked = self.flow.leaked(kicked, left)
        share = tables["held"](end)
        lasts = leaked + self.bump(kicked, since, since - interval, fires)
        spiked = np.where(end < 0.0, lasts * share, self.left(kicked, whole))
        # where a reset is under way: what is left of it, or of the kick
        lasting = np.where(end < 0.0, share / np.maximum(tables["held"](phase), share + 1e-6), 0.0)
        resets = np.where(phase >= of["closed"], leaked, v * lasting)
        about = {"v": kicked, "kick": kicked - v, "interval": np.log(interval / of["dead"]), "fresh": self.fresh(phase)}
        shift, stage = self.moved(kicked, jumped, behind, left, spikes=arrival < NEVER)
        after = np.where(free, leaked + of["coupled"] * shift + self.law("leak", about, free & ~fires), resets)
        after = np.where(fires | up, spiked, after)
        fell = self.law("fell", {"v": kicked, "since": since}, fires & (end < -of["reset"]))
        rising = (end >= -of["reset"]) & (end < of["dead"])
        about = {"v": kicked, "phase": spiked_at, "end": end}
        fell = fell + self.law("risen", about, fires & rising)
        about = {"v": kicked, "phase": phase, "end": end}
        for name, which in (("risen in spike", up & rising), ("stirred", ~free & ~(up & rising))):
            fell = fell + self.law(name, about, which & ~fires)
        stage = np.where(free & ~fires, stage, tables["falls"](since) + tables["rises"](end) + fell)
        energy = self.drawn(interval, phase, end, fires)
        about = {"v": v, "u": u, "n": n, "phase": phase, "interval": interval, "latency": latency}
        for name, which in (("spent", fires), ("idle", ~fires)):
            energy = energy + np.clip(self.law(name, about, which), -of[f"most {name}"], of[f"most {name}"])
        return {
            "v": np.maximum(after, 0.0) - v,
            "u": (u + of["step"] * (1.0 - u)) * np.exp(-interval / of["tau"]) - u,
            "n": stage - n,
            "phase": end - given,
            "spikes": np.where(fires, 1.0, 0.0),
            "latency": latency,
            "energy": energy,
        }

    @property
    def stages(self) -> tuple[float, float]:
        """The lowest and the highest stage that it knows (V)."""
        found = np.concatenate(
            [
                self.flow.stages,
                self.tables["rises"].y,
                [float(self.tables["rises"].y[0] + self.tables["falls"].y.min())],
            ]
        )
        room = 0.05 * float(np.ptp(found))
        return float(found.min()) - room, float(found.max()) + room

    def law(self, name: str, values: Mapping[str, Array], where: NDArray[np.bool_] | None = None) -> Array:
        """The only target of one of its laws; 0 of one that is not there, and elsewhere than ``where``."""
        law, found = self.laws[name], np.zeros(np.shape(values["v"]))
        if law is None:
            return found
        if where is None:
            return law(values)[law.targets[0]]
        if where.any():
            found[where] = law({key: values[key][where] for key in law.fields})[law.targets[0]]
        return found

    def bump(self, kicked: Array, since: Array, before: Array, fires: NDArray[np.bool_]) -> Array:
        """(k,) V that a spike adds to the membrane: it ``fires`` in the event, or has added some ``before`` (s)."""
        bump = self.tables["bump"]
        up = self.law("up", {"v": kicked, "since": since}, fires)
        found: Array = bump(since) + np.where(fires, up, -bump(before))
        return found

    def kick(self, v: Array, u: Array, n: Array, phase: Array, where: NDArray[np.bool_] | None = None) -> Array:
        """(k,) V that an input adds to the membrane, if no reset takes any of it; soon after one with n at rest."""
        still = np.where(phase >= QUIET * self.numbers["kick"], n, self.numbers["rest"])
        return self.law("kick", {"v": v, "u": u, "n": still}, where)

    def kicked_membrane(self, v: Array, u: Array, n: Array, phase: Array) -> Array:
        """(k,) V at the end of an input's kick."""
        up = phase < -self.numbers["reset"]
        lifted = v + self.law("lift", {"v": v, "u": u}, up)
        return np.maximum(np.where(up, lifted, self.drained(v, self.kick(v, u, n, phase), phase)), 0.0)

    def margin(self, values: Mapping[str, Array]) -> Array:
        """(k,) V by which an input to these states (k,) comes above the separatrix; below zero it makes no spike."""
        v, u, n, phase = (values[name] for name in STATES)
        kicked = self.kicked_membrane(v, u, n, phase)
        jumped = n + self.law("jump", {"v": kicked, "n": n, "from": v})
        # the time to the next input does not move a spike
        settled = self.flow.place(
            kicked + self.ahead("ahead", kicked, jumped, phase, np.full_like(v, self.numbers["dead"])), jumped
        )[-1]
        step = float(self.flow.distances[self.flow.distances.size // 2])
        here, there = (self.above(x, n, phase) for x in (kicked, kicked + step))
        return np.where(self.anew(phase), here * step / np.maximum(there - here, 1e-9), settled)

    def drained(self, v: Array, kick: Array, phase: Array) -> Array:
        """(k,) V that a reset leaves of a membrane with its kick.

        The transistor that resets it conducts weakly by then: its current I(t) (1 − exp(−v / U)), with the thermal
        voltage U, discharges the membrane in closed form.
        """
        closed, opened = self.numbers["closed"], self.numbers["open"]
        within = (phase >= closed) & (phase < opened)
        whole = np.maximum(v + kick, 0.0)
        most = np.exp(self.law("drains", {"v": v, "whole": whole, "phase": phase}, within))
        u = self.numbers["thermal"]
        left = u * np.log1p(np.expm1(whole / u) * np.exp(-most))
        return np.where(within, left, np.where(phase >= opened, whole, v))

    def longer(self, v: Array, u: Array, n: Array, phase: Array) -> Array:
        """(k,) s by which an input before the end of a reset puts it off."""
        before, after = phase < -self.numbers["reset"], phase >= self.numbers["closed"]
        kick = self.kick(v, u, n, phase, phase < 0.0)
        about = {"v": v, "kick": kick, "phase": phase}
        return (
            self.law("longer", about, before)
            + self.law("longer in reset", about, ~before & ~after)
            + self.law("longer after", about, after & (phase < 0.0))
        )

    def moved(
        self, kicked: Array, jumped: Array, behind: Array, t: Array, *, spikes: NDArray[np.bool_]
    ) -> tuple[Array, Array]:
        """(k,) V each: what the flow adds to the membrane in ``t`` (k,) s, and the stage then, with its ``behind``."""
        flow = self.flow
        here, there = (flow.beside(v, jumped, spikes=spikes) for v in (kicked, kicked + behind))
        return flow.shifted(here, jumped, t), flow.staged(there, jumped, t)

    def ahead(self, name: str, kicked: Array, jumped: Array, phase: Array, interval: Array) -> Array:
        """(k,) V by which the membrane is ahead of what the flow makes of it."""
        fresh = self.fresh(phase)
        held = np.log(interval / self.numbers["dead"])
        about = {"v": kicked, "n": jumped, "interval": held, "fresh": fresh}
        free = phase >= 0.0
        found = self.law(name, about, free & (fresh > 0.0)) * fresh + self.law(f"{name} at rest", about, free)
        # of the most that it may be soon after a reset: long after one (our choice)
        settled = 0.1 if name == "ahead" else 0.04
        most = self.numbers[f"most {name}"] * (settled + (1.0 - settled) * fresh)
        return np.clip(found, -most, most)

    def anew(self, phase: Array) -> NDArray[np.bool_]:
        """(k,) whether an input comes so near to the end of a reset that the flow does not tell its spike."""
        found: NDArray[np.bool_] = (phase >= self.numbers["again"]) & (phase < self.numbers["anew"])
        return found

    def above(self, kicked: Array, n: Array, phase: Array) -> Array:
        """(k,) exp(−latency / pace) of such an input; not above 0 where it makes no spike."""
        return self.law("again", {"v": kicked, "n": n}, self.anew(phase))

    def again(self, kicked: Array, n: Array, phase: Array) -> Array:
        """(k,) s from such an input to the spike that it makes."""
        above = self.above(kicked, n, phase)
        latency = -self.numbers["pace"] * np.log(np.clip(above, 1e-30, 1.0))
        later = self.law("again late", {"v": kicked, "latency": latency}, self.anew(phase))
        found: Array = np.where(above > 0.0, np.maximum(latency + later, 0.0), NEVER)
        return found

    def fresh(self, phase: Array) -> Array:
        """(k,) how much of a reset is not forgotten (1..0)."""
        left = np.exp(-np.maximum(phase, 0.0) / self.numbers["dead"])
        return np.where(phase < self.numbers["memory"], left, 0.0)

    def dead(self, kicked: Array, phase: Array, anew: NDArray[np.bool_]) -> Array:
        """(k,) s from a spike at a ``phase`` to the end of its reset; ``anew``: its input's, as of `anew`."""
        about = {"v": kicked, "phase": np.minimum(phase, self.numbers["memory"])}
        again = self.law("dead again", {"v": kicked, "phase": self.after(phase)}, anew)
        return self.numbers["dead"] + self.law("dead", about, ~anew) + again

    def drawn(self, interval: Array, phase: Array, end: Array, fires: NDArray[np.bool_]) -> Array:
        """(k,) J that an event takes at rest and for the spikes in it, by its phase before and at its end."""
        share = self.tables["drawn"](end) - self.tables["drawn"](phase) + fires
        return self.numbers["rest_power"] * interval + self.numbers["spike_energy"] * share

    def after(self, phase: Array) -> Array:
        """(k,) the logarithm of the time since a reset, in kicks, which is even next to the reset."""
        kick = self.numbers["kick"]
        found: Array = np.log(np.maximum(phase, 0.0) / kick + SOON)
        return found

    def left(self, kicked: Array, phase: Array) -> Array:
        """(k,) V, the membrane at a ``phase`` after a reset in which no input came."""
        about = {"v": kicked, "phase": self.after(phase)}
        return np.maximum(self.law("left", about, phase >= 0.0), 0.0)

    def document(self) -> dict[str, Any]:
        """Its names, as JSON values."""
        laws = {name: None if law is None else law.document() for name, law in self.laws.items()}
        return {"kind": self.kind, "laws": laws}

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Its numbers, for a file."""
        found = self.flow.arrays(f"{prefix}_flow")
        for name, law in self.laws.items():
            found |= {} if law is None else law.arrays(f"{prefix}_{name}")
        for name, table in self.tables.items():
            found |= {f"{prefix}_{name}_x": table.x, f"{prefix}_{name}_y": table.y}
        return {**found, f"{prefix}_numbers": np.array([self.numbers[name] for name in NUMBERS])}

    @classmethod
    def rebuilt(cls, document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], prefix: str) -> Self:
        """The inverse of `document` and `arrays`; raises KeyError or ValueError for what cannot be one."""

        def numbers(name: str) -> Array:
            found = np.asarray(arrays[f"{prefix}_{name}"], dtype=float)
            if not np.all(np.isfinite(found)):
                raise ValueError("numbers that are not finite in its law")
            return found

        tables = {name: Table(numbers(f"{name}_x"), numbers(f"{name}_y")) for name in TABLES}
        if any(t.x.ndim != 1 or t.x.shape != t.y.shape or np.any(np.diff(t.x) <= 0.0) for t in tables.values()):
            raise ValueError("tables of a neuron")
        if (found := numbers("numbers")).shape != (len(NUMBERS),):
            raise ValueError("numbers of a neuron, as another version of cosim wrote them")
        own = dict(zip(NUMBERS, found.tolist(), strict=True))
        laws = {
            name: None if (one := document["laws"][name]) is None else Law.rebuilt(one, arrays, f"{prefix}_{name}")
            for name in LAWS
        }
        flow = Flow.rebuilt(arrays, f"{prefix}_flow")
        return cls(flow, MappingProxyType(laws), MappingProxyType(tables), MappingProxyType(own))


def run_neurons(law: NeuronLaw, trains: Sequence[SpikeTrain]) -> list[dict[str, Array]]:
    """The law through the inputs of each train, from rest: states before each event (n,), and outputs (n,)."""
    count = max(train.intervals.size for train in trains)
    intervals = np.full((len(trains), count), max(train.intervals.max() for train in trains))
    for k, train in enumerate(trains):
        intervals[k, : train.intervals.size] = train.intervals
    x = {name: np.full(len(trains), value) for name, value in at_rest(law).items()}
    path: dict[str, list[Array]] = {name: [] for name in (*STATES, *OUTPUTS)}
    for column in intervals.T:
        found = law({**x, "interval": column})
        for name in STATES:
            path[name].append(x[name])
            x[name] = x[name] + found[name]
        for name in OUTPUTS:
            path[name].append(found[name])
    whole = {name: np.stack(columns, axis=1) for name, columns in path.items()}
    return [
        {name: columns[k, : train.intervals.size] for name, columns in whole.items()} for k, train in enumerate(trains)
    ]


def at_rest(law: NeuronLaw) -> dict[str, float]:
    """The states of a neuron that nothing has ever driven."""
    return {"v": 0.0, "u": 0.0, "n": law.numbers["rest"], "phase": law.numbers["memory"]}


def spikes_of(train: SpikeTrain, found: Mapping[str, Array]) -> Array:
    """(k,) s: the law's spikes."""
    times: Array = (train.inputs[:-1] + found["latency"])[found["spikes"] > 0.0]
    return times


def matched(one: Array, other: Array, tolerance: float) -> list[tuple[int, int]]:
    """Pairs of spikes of two sorted trains within ``tolerance``, each spike in one pair at most."""
    pairs, j = [], 0
    for i, t in enumerate(one):
        while j < other.size and other[j] < t - tolerance:
            j += 1
        if j < other.size and other[j] <= t + tolerance:
            pairs.append((i, j))
            j += 1
    return pairs
