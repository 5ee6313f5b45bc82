"""Event neurons: spikes in, spikes out, learned from the waveforms of a circuit under random trains of spikes.

The law is that of an integrate-and-fire neuron, exact between events, each of its parts taken from the waveforms::

    an input      u → u + k (1 − u),  v → v + q(u, v)        facilitation, and the kick of the membrane
    between       T(v) falls by one second a second           the leak, whatever current leaks at v
                  u → u e^(−Δ/τ)
    firing        dn/dt = r(v) − n/τ_n                        the way of the output stage; a spike at n = 1
    after it      reset after the spike's width, from when on n falls with τ_r; no input counts before the dead
                  time is over

One event is one input spike and the time to the next. States are v (V), u, n (shares) and ``dead`` (s, what is left
of the dead time); outputs the spikes in the interval (0 or 1), the ``latency`` of that spike (s; 0 without one) and the
``energy`` (J) that the circuit takes in the interval: what it takes at rest, for an input, and for a spike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.errors import FitError
from cosim.surrogate.learned import WORTH, Law, fit

NUMBERS = ("step", "tau", "width", "dead", "bump", "relax", "forget", "rest_power", "spike_energy")
CELLS = 240  # of the tables over the membrane's range
AFTER = 5e-9  # s after an input's edge at which its kick is complete, unless the train says otherwise
LEAST_SPIKES = 10
LEAST_MATCHED, OUTLIER = 50, 6.0  # spikes to learn latencies from; in median deviations
MATCH = 0.05  # of the mean output interval: how near a matching spike is
STATES, OUTPUTS = ("v", "u", "n", "dead"), ("spikes", "latency", "energy")
RELAX = (0.1, 0.3, 1.0, 2.0, 4.0, 8.0)  # what is tried for τ_r, in median latencies
FORGET = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0)  # what is tried for τ_n, in median latencies
PIECES = 10  # of an event, in which the rate of firing is constant
SMOOTH = 0.02  # on the steps of the rate of firing, beside one spike's unit (our choice)


@dataclass(frozen=True)
class SpikeTrain:
    """What a circuit made of a train of input spikes.

    Args:
        inputs: (n + 1,) s; the last one ends the last event, and may or may not be an input.
        time, membrane, energy: (m,) s, V and J (drawn since the beginning).
        facilitation: (m,) the share u; None: the circuit has none.
        spikes: (k,) s of the output's rising edges. reset, ready: (k,) s at which each spike's reset begins and ends.
        kick: s from an input's edge to the end of its kick.
    """

    inputs: Array
    time: Array
    membrane: Array
    energy: Array
    spikes: Array
    reset: Array
    ready: Array
    facilitation: Array | None = None
    kick: float = AFTER

    def at(self, t: Array) -> dict[str, Array]:
        """Membrane, facilitation and energy at times ``t``."""
        u = np.zeros_like(self.time) if self.facilitation is None else self.facilitation
        columns = {"v": self.membrane, "u": u, "energy": self.energy}
        return {name: np.interp(t, self.time, column) for name, column in columns.items()}

    @property
    def intervals(self) -> Array:
        """(n,) s."""
        return np.diff(self.inputs)

    def busy(self, t: Array) -> NDArray[np.bool_]:
        """Whether each of ``t`` lies between a spike and the end of its dead time."""
        last = np.searchsorted(self.spikes, t, side="right") - 1
        return (last >= 0) & (t < np.where(last >= 0, self.ready[np.maximum(last, 0)], 0.0))


@dataclass(frozen=True)
class NeuronLaw:
    """The law of an event neuron (module docstring), as `cosim.surrogate.learned.Law` is one.

    Args:
        kick: q of ``v`` and ``u`` (before the input), in V.
        cost: energy (J) of an input, of the same.
        grid: (c,) V, evenly from 0. clock: (c,) s, T(v). rate: (c,) 1/s, r(v).
        numbers: by the names of `NUMBERS`, SI.
        late: learned remainder of the latency (s), of states and latency; None: none.
    """

    kick: Law
    cost: Law
    grid: Array
    clock: Array
    rate: Array
    numbers: Mapping[str, float]
    late: Law | None = None

    kind: ClassVar[str] = "neuron"
    fields: ClassVar[tuple[str, ...]] = ("v", "u", "n", "dead", "interval")
    targets: ClassVar[tuple[str, ...]] = ("v", "u", "n", "dead", "spikes", "latency", "energy")

    def __call__(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """The change of each state, and each output; the values broadcast."""
        columns = np.broadcast_arrays(*(np.asarray(values[name], dtype=float) for name in self.fields))
        shape = columns[0].shape
        v, u, n, dead, interval = (column.ravel() for column in columns)
        of = self.numbers
        here = {"v": v, "u": u}
        resetting = (dead > 0.0) & (dead <= of["dead"] - of["width"])
        spiking = dead > of["dead"] - of["width"]
        free = ~(resetting | spiking)
        kicked = np.where(resetting, v, np.clip(v + self.kick(here)["kick"], 0.0, self.grid[-1]))
        clock = np.interp(kicked, self.grid, self.clock)
        left = np.maximum(clock - interval, 0.0)
        waiting, latency = self._firing(clock, n, interval)
        fires = free & np.isfinite(latency)
        latency = np.where(fires, latency, 0.0)
        if self.late is not None:
            rest = self.late({**here, "n": n, "latency": latency})["late"]
            latency = np.where(fires, np.clip(latency + rest, 0.0, interval), 0.0)
        since = interval - latency
        leaked = np.interp(left, self.clock, self.grid)
        # what a spike leaves of n fades from its reset on
        faded = np.where(fires, since - of["width"], interval - np.maximum(dead - (of["dead"] - of["width"]), 0.0))
        left_over = np.where(fires, 1.0, n) * np.exp(-np.maximum(faded, 0.0) / of["relax"])
        remains = np.where(fires, np.maximum(of["dead"] - since, 0.0), np.maximum(dead - interval, 0.0))
        up = (fires & (since < of["width"])) | (spiking & (interval < dead - (of["dead"] - of["width"])))
        high = leaked + np.where(fires, of["bump"], 0.0)
        after = np.where(fires | ~free, np.where(up, high, 0.0), leaked)
        energy = of["rest_power"] * interval + self.cost(here)["energy"] + of["spike_energy"] * fires
        found = {
            "v": after - v,
            "u": (u + of["step"] * (1.0 - u)) * np.exp(-interval / of["tau"]) - u,
            "n": np.where(free & ~fires, waiting, left_over) - n,
            "dead": remains - dead,
            "spikes": fires.astype(float),
            "latency": latency,
            "energy": energy,
        }
        return {name: column.reshape(shape) for name, column in found.items()}

    def _firing(self, clock: Array, n: Array, interval: Array) -> tuple[Array, Array]:
        """n after ``interval``, and when it reached one (s; infinite where it did not).

        In pieces in which r is taken as constant and n has a closed form, short ones first.
        """
        tau = self.numbers["forget"]
        # where r is below 1/τ_n, n does not come to one
        enough = int(np.argmax(self.rate * tau > 1.0)) or self.rate.size - 1
        span = np.clip(clock - self.clock[enough - 1], 0.0, interval)
        ends = (np.arange(PIECES + 1) / PIECES) ** 2
        latency = np.full(n.shape, np.inf)
        for begin, end in pairwise(ends):
            level = np.interp(clock - 0.5 * (begin + end) * span, self.clock, self.rate) * tau
            after = level + (n - level) * np.exp(-(end - begin) * span / tau)
            hit = (after >= 1.0) & ~(latency < np.inf)
            with np.errstate(all="ignore"):
                latency = np.where(hit, begin * span + tau * np.log((level - n) / (level - 1.0)), latency)
            n = after
        return n * np.exp(-(interval - span) / tau), latency

    def document(self) -> dict[str, Any]:
        """Its names, as JSON values."""
        return {
            "kind": self.kind,
            "kick": self.kick.document(),
            "cost": self.cost.document(),
            "late": None if self.late is None else self.late.document(),
        }

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Its numbers, for a file."""
        own = {"grid": self.grid, "clock": self.clock, "rate": self.rate}
        own["numbers"] = np.array([self.numbers[name] for name in NUMBERS])
        found: dict[str, NDArray[Any]] = {f"{prefix}_{name}": values for name, values in own.items()}
        return (
            found
            | self.kick.arrays(f"{prefix}_kick")
            | self.cost.arrays(f"{prefix}_cost")
            | ({} if self.late is None else self.late.arrays(f"{prefix}_late"))
        )

    @classmethod
    def rebuilt(cls, document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], prefix: str) -> Self:
        """The inverse of `document` and `arrays`; raises KeyError or ValueError for what cannot be one."""
        grid, clock, rate, numbers = (
            np.asarray(arrays[f"{prefix}_{name}"], dtype=float) for name in ("grid", "clock", "rate", "numbers")
        )
        if not all(np.all(np.isfinite(values)) for values in (grid, clock, rate, numbers)):
            raise ValueError("numbers that are not finite in its law")
        if not grid.shape == clock.shape == rate.shape or not np.all(np.diff(grid) > 0) or np.any(np.diff(clock) <= 0):
            raise ValueError("tables of a neuron")
        return cls(
            Law.rebuilt(document["kick"], arrays, f"{prefix}_kick"),
            Law.rebuilt(document["cost"], arrays, f"{prefix}_cost"),
            grid, clock, rate, MappingProxyType(dict(zip(NUMBERS, numbers.tolist(), strict=True))),
            None if document["late"] is None else Law.rebuilt(document["late"], arrays, f"{prefix}_late"),
        )  # fmt: skip


def fit_neuron(trains: Sequence[SpikeTrain], *, seed: int = 0) -> NeuronLaw:
    """The law that ``trains`` follow, part by part. Raises `FitError` where they hold too few spikes."""
    if sum(train.spikes.size for train in trains) < LEAST_SPIKES:
        raise FitError(
            f"the neuron spikes {sum(train.spikes.size for train in trains)} times in all trains, and {LEAST_SPIKES} "
            "are needed",
            remedy="drive it faster, or for longer",
        )
    top = max(float(train.membrane.max()) for train in trains)
    grid = np.linspace(0.0, 1.02 * top, CELLS + 1)
    step, tau = _facilitation(trains)
    widths = np.concatenate([train.reset - train.spikes for train in trains])
    dead = np.concatenate([train.ready - train.spikes for train in trains])
    clock = _clock(trains, grid)
    kick = _kick(trains, clock=clock, grid=grid, seed=seed)
    numbers = {
        "step": step, "tau": tau, "width": float(np.median(widths)), "dead": float(np.median(dead)),
        "bump": _bump(trains), "relax": 1.0, "forget": 1.0, "rest_power": 0.0, "spike_energy": 0.0,
    }  # fmt: skip
    cost, numbers["rest_power"], numbers["spike_energy"] = _energy(trains, seed=seed)

    def law(one: tuple[float, Array, float, float], **changes: float) -> NeuronLaw:
        _, rate, relax, forget = one
        own = MappingProxyType({**numbers, "relax": relax, "forget": forget, **changes})
        return NeuronLaw(kick, cost, grid, clock, rate, own)

    tried = _rates(trains, grid)
    best = min(tried, key=lambda one: score(law(one), trains))
    made = law(best)
    # what a kick near the end of the reset leaves
    choices = [
        made,
        *(law(best, dead=x) for x in numbers["dead"] * np.linspace(0.85, 1.15, 13) if x > numbers["width"]),
    ]
    made = min(choices, key=lambda one: score(one, trains))
    finer = [replace(made, late=late) for late in _late(made, trains, seed=seed)]
    return min((made, *finer), key=lambda one: score(one, trains))


def _late(law: NeuronLaw, trains: Sequence[SpikeTrain], *, seed: int) -> list[Law]:
    """What the law leaves out of the latencies, by what an event with a spike begins with; [] for too few spikes."""
    columns: dict[str, list[float]] = {name: [] for name in (*law.fields[:3], "latency")}
    rest = []
    for train, found in zip(trains, run_neurons(law, trains), strict=True):
        if train.spikes.size < 2:
            continue
        events = np.flatnonzero(found["spikes"] > 0.0)
        ours = spikes_of(train, found)
        for i, j in matched(train.spikes, ours, MATCH * float(np.diff(train.spikes).mean())):
            for name, column in columns.items():
                column.append(float(found[name][events[j]]))
            rest.append(train.spikes[i] - ours[j])
    fields = {name: np.array(column) for name, column in columns.items() if len(column) and np.ptp(column) > 0.0}
    target = np.array(rest)
    if target.size < LEAST_MATCHED:
        return []
    away = np.abs(target - np.median(target))
    laws = []
    # of all, and without those that the law makes in another way than the circuit
    for kept in (np.ones(target.size, dtype=bool), away <= OUTLIER * np.median(away)):
        fields = {name: np.array(column)[kept] for name, column in columns.items()}
        fields = {name: column for name, column in fields.items() if np.ptp(column) > 0.0}
        scale = float(np.sqrt(np.mean(target[kept] ** 2)))
        made = fit(fields, {"late": target[kept]}, scales={"late": scale}, rng=np.random.default_rng([seed, 9]),
                   kinds=("polynomial", "network"))  # fmt: skip
        if made.held["late"] < WORTH:
            laws.append(made.law)
    return laws


def _facilitation(trains: Sequence[SpikeTrain]) -> tuple[float, float]:
    """k and τ by least squares on what the facilitation does at and between inputs; (0, ∞-like) without one."""
    if all(train.facilitation is None for train in trains):
        return 0.0, 1.0
    room, jump, fall, interval = [], [], [], []
    for train in trains:
        early, late, end = (train.inputs[:-1] - 1e-10, train.inputs[:-1] + train.kick, train.inputs[1:] - 1e-10)
        before, after, last = (train.at(t)["u"] for t in (early, late, end))
        room.append(1.0 - before)
        jump.append(after - before)
        seen = after > 0.05
        fall.append(np.log(after[seen] / last[seen]))
        interval.append((end - late)[seen])
    a, b, c, d = (np.concatenate(part) for part in (room, jump, fall, interval))
    return float(a @ b / (a @ a)), float(d @ d / (d @ c))


def _clock(trains: Sequence[SpikeTrain], grid: Array) -> Array:
    """T(v) at ``grid``: the time that the membrane takes from v to 0, from all falls between events."""
    size = grid.size - 1
    spent, fallen = np.zeros(size), np.zeros(size)
    for train in trains:
        v, t = train.membrane, train.time
        after = np.searchsorted(train.inputs, t[:-1], side="right") - 1
        quiet = (after >= 0) & (t[:-1] > train.inputs[np.maximum(after, 0)] + train.kick)
        quiet &= (np.searchsorted(train.inputs, t[1:] + 1e-10, side="right") - 1 == after) & ~train.busy(t[1:])
        dt, dv = np.diff(t)[quiet], -np.diff(v)[quiet]
        cell = np.clip(((v[:-1] + v[1:])[quiet] / 2.0 / grid[1]).astype(int), 0, size - 1)
        spent += np.bincount(cell, dt, size)
        fallen += np.bincount(cell, dv, size)
    seen = (fallen > 0.02 * grid[1]) & (spent > 0.0)
    if np.count_nonzero(seen) < 10:
        raise FitError("the membrane hardly falls between the inputs", remedy="give longer intervals too")
    centres = 0.5 * (grid[1:] + grid[:-1])
    slowness = np.exp(np.interp(centres, centres[seen], np.log(spent[seen] / fallen[seen])))
    return np.concatenate([[0.0], np.cumsum(slowness * grid[1])])


def _kick(trains: Sequence[SpikeTrain], *, clock: Array, grid: Array, seed: int) -> Law:
    """q(v, u) by what the membrane does at inputs that no spike hides."""
    v, u, q = [], [], []
    for train in trains:
        t = train.inputs[:-1]
        late = t + train.kick
        clear = ~train.busy(t - 1e-10) & ~train.busy(late) & (train.intervals > train.kick)
        before, after = train.at(t - 1e-10), train.at(late)
        # the leak of these few nanoseconds belongs to the time between
        there = np.interp(np.interp(after["v"], grid, clock) + train.kick, clock, grid)
        v.append(before["v"][clear])
        u.append(before["u"][clear])
        q.append((there - before["v"])[clear])
    fields = {"v": np.concatenate(v), "u": np.concatenate(u)}
    if not np.ptp(fields["u"]) > 0.0:
        del fields["u"]
    target = {"kick": np.concatenate(q)}
    rng = np.random.default_rng([seed, 7])
    return fit(fields, target, scales={"kick": float(np.max(target["kick"]))}, rng=rng, kinds=("polynomial",),
               ranges={"v": (0.0, float(grid[-1]))}).law  # fmt: skip


def _rates(trains: Sequence[SpikeTrain], grid: Array) -> list[tuple[float, Array, float, float]]:
    """Residual, r(v) at ``grid``, rising with v, τ_r and τ_n (s): each run-up to a spike ends at n = 1.

    The run-ups are a linear problem in r for each pair of times. A spike that comes late
    counts more, as much as its time depends on r.
    """
    from scipy.optimize import nnls

    runs: list[tuple[Array, Array, Array]] = []
    lowest, lasted, passed = [], [], []
    for train in trains:
        v, t = train.membrane, train.time
        middle, dt = 0.5 * (v[1:] + v[:-1]), np.diff(t)
        for k, spike in enumerate(train.spikes):
            ready = train.ready[k - 1] if k else 0.0
            kicks = train.inputs[(train.inputs > ready) & (train.inputs < spike)]
            if not kicks.size:
                continue
            part = (t[:-1] >= kicks[0]) & (t[1:] <= spike)
            runs.append((middle[part], dt[part], spike - 0.5 * (t[1:] + t[:-1])[part]))
            lowest.append(float(np.interp(spike, t, v)))
            lasted.append(spike - kicks[-1])
            passed.append(kicks[0] - train.reset[k - 1] if k else np.inf)
    cell = float(grid[1])
    starts = np.arange(0.9 * np.quantile(lowest, 0.02), grid[-1], cell)
    scale = float(np.median(lasted))
    weight = np.clip(np.array(lasted) / scale, 0.3, 5.0)
    smooth = SMOOTH * np.diff(np.eye(starts.size), axis=0)
    found: list[tuple[float, Array, float, float]] = []
    ramps = [np.clip((v[:, None] - starts) / cell, 0.0, 1.0).T for v, _, _ in runs]
    nodes = np.clip((grid[:, None] - starts) / cell, 0.0, 1.0)
    for forget in scale * np.array(FORGET):
        a = np.array([ramp @ (dt * np.exp(-ago / forget)) for ramp, (_, dt, ago) in zip(ramps, runs, strict=True)])
        faded = np.exp(-np.array([float(ago[0]) for _, _, ago in runs]) / forget)
        a = np.concatenate([weight[:, None] * a / scale, smooth])
        for relax in scale * np.array(RELAX):
            target = weight * (1.0 - faded * np.exp(-np.array(passed) / relax))
            steps, rest = nnls(a, np.concatenate([target, np.zeros(len(smooth))]))
            found.append((float(rest), nodes @ steps / scale, float(relax), float(forget)))
    return found


def run_neurons(law: NeuronLaw, trains: Sequence[SpikeTrain]) -> list[dict[str, Array]]:
    """The law through the inputs of each train, from rest: states before each event (n,), and outputs (n,)."""
    count = max(train.intervals.size for train in trains)
    intervals = np.full((len(trains), count), 1.0)
    for k, train in enumerate(trains):
        intervals[k, : train.intervals.size] = train.intervals
    x = {name: np.zeros(len(trains)) for name in STATES}
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


def spikes_of(train: SpikeTrain, found: Mapping[str, Array]) -> Array:
    """(k,) s: the law's spikes."""
    times: Array = (train.inputs[:-1] + found["latency"])[found["spikes"] > 0.0]
    return times


def score(law: NeuronLaw, trains: Sequence[SpikeTrain]) -> float:
    """Mean error of a spike of the free-running law, in tolerances of a match; one that has no match counts as 1."""
    lost, count = 0.0, 0
    for train, found in zip(trains, run_neurons(law, trains), strict=True):
        if train.spikes.size < 2:
            continue
        ours, tolerance = spikes_of(train, found), MATCH * float(np.diff(train.spikes).mean())
        pairs = matched(train.spikes, ours, tolerance)
        lost += sum(abs(ours[j] - train.spikes[i]) for i, j in pairs) / tolerance
        lost += train.spikes.size + ours.size - 2 * len(pairs)
        count += train.spikes.size + ours.size
    return lost / max(count, 1)


def _bump(trains: Sequence[SpikeTrain]) -> float:
    """The rise of the membrane (V) by the spike itself: median of what it has left after its edge."""
    rises = [
        train.at(np.array([0.5 * (a + b)]))["v"] - train.at(np.array([a - 0.25 * (b - a)]))["v"]
        for train in trains
        for a, b in zip(train.spikes, train.reset, strict=True)
        if not np.any((train.inputs > a - 0.3 * (b - a)) & (train.inputs < b))
    ]
    return max(float(np.median(rises)), 0.0) if rises else 0.0


def _energy(trains: Sequence[SpikeTrain], *, seed: int) -> tuple[Law, float, float]:
    """Energy of an input, power at rest (W) and energy of a spike (J), by least squares on the energy per interval.

    Several events are taken together, as one event's spike may end in the next.
    """
    interval, fired, drawn, v, u = [], [], [], [], []
    for train in trains:
        there = train.at(train.inputs)
        interval.append(train.intervals)
        fired.append(np.histogram(train.spikes, bins=train.inputs)[0].astype(float))
        drawn.append(np.diff(there["energy"]))
        v.append(there["v"][:-1])
        u.append(there["u"][:-1])
    dt, s, e, a, b = (np.concatenate(part) for part in (interval, fired, drawn, v, u))
    columns = np.stack([dt, s, np.ones_like(dt), b, b**2, a], axis=1)
    scale = np.max(np.abs(columns), axis=0)
    scale[scale == 0.0] = 1.0
    found = np.linalg.lstsq(columns / scale, e, rcond=1e-10)[0] / scale
    rest = {"energy": found[2] + found[3] * b + found[4] * b**2 + found[5] * a}
    fields = {"v": a, "u": b} if np.ptp(b) > 0.0 else {"v": a}
    law = fit(fields, rest, scales={"energy": float(np.max(np.abs(e)))}, rng=np.random.default_rng([seed, 8]),
              kinds=("polynomial",)).law  # fmt: skip
    return law, float(found[0]), float(found[1])


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
