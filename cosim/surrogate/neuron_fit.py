"""An event neuron's law of the waveforms of random trains: each part of `cosim.surrogate.neuron` by itself.

Short times are counted in kicks, the time that an input takes, and long ones in dead times, so that a circuit a
thousand times as slow has the same law in its own time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.errors import FitError
from cosim.surrogate.learned import WORTH, Law, fit
from cosim.surrogate.neuron import HASTY, NUMBERS, QUIET, NeuronLaw, SpikeTrain, Table
from cosim.surrogate.neuron_again import again_laws
from cosim.surrogate.neuron_events import EARLY, LATER, Events
from cosim.surrogate.neuron_laws import CAP, KINDS, LEAST_FRESH, best_of, law_of, nearest, smooth, trimmed, weighted
from cosim.surrogate.planar import Flow, flow_of
from cosim.units import BOLTZMANN, CHARGE

CELLS = 240  # of the clock of the leak
LEAST_SPIKES, LEAST_SEEN = 10, 3  # spikes to learn from; to have an average
FIRED = 0.3  # kicks after a spike up to which the flow is still the one that led to it (our choice)
MOST_LATE = 0.2  # of a spike's latency, by which the flow may miss it (our choice)
MEMORY = 4.0  # dead times after which a reset is forgotten
SETTLED = 2.5  # dead times after which the flow is what it is without a reset (our choice)
LINE, POINTS = 5, 60  # degree and points of the line of spikes
MOST_AHEAD = 0.06  # of the membrane's range: the largest shift that a spike's time is explained by
MOST_WEIGHT = 300.0  # medians of a weight: a spike's time tells a few events next to the separatrix best (our choice)
CLOSEST = 1e-7  # of the membrane's range: the closest to the separatrix that is looked at
AHEAD, TRIED = 0.15, 601  # of the membrane's range: the largest shift that is looked for, and how many are tried
SHARES = 60  # points of a table
SEEN = 0.003  # of the membrane's range: what is left of a kick that is more than rounding
MANY = 40  # samples from which on a second quantity counts (our choice)
TAKES = 0.05  # thermal voltages that a reset takes at least where it counts


def fit_neuron(trains: Sequence[SpikeTrain], *, seed: int = 0) -> NeuronLaw:
    """The law that ``trains`` follow, part by part. Raises `FitError` where they hold too few spikes."""
    count = sum(train.spikes.size for train in trains)
    if count < LEAST_SPIKES:
        raise FitError(
            f"the neuron spikes {count} times in all trains, and {LEAST_SPIKES} are needed",
            remedy="drive it faster, or for longer",
        )
    rng = np.random.default_rng([seed, 7])
    dead = float(np.median(np.concatenate([train.ready - train.spikes for train in trains])))
    top = max(float(train.membrane.max()) for train in trains)
    held, reset = _held(trains)
    step, tau = _facilitation(trains)
    kick = trains[0].kick
    numbers = dict.fromkeys(NUMBERS, 0.0) | {
        "step": step, "tau": tau, "kick": kick, "dead": dead, "reset": reset, "memory": MEMORY * dead,
        "most ahead": MOST_AHEAD * top, "most behind": AHEAD * top, "coupled": 1.0,
        "thermal": BOLTZMANN / CHARGE * trains[0].temperature,
    }  # fmt: skip
    events = Events.of(trains, numbers["memory"])
    leak = _clock(trains, np.linspace(0.0, 1.02 * top, CELLS + 1), quiet=SETTLED * dead, since=dead)
    flow = _flow(trains, events, leak, quiet=SETTLED * dead, rng=rng)
    numbers["rest"] = float(flow.staged(np.zeros(1), flow.stages[-1:], flow.times[-1:])[0])
    spiking = events.phase < -reset - kick
    free = events.phase >= QUIET * kick
    whole = ~events.cut(1.5 * kick) & (events.interval > kick)
    full = float(np.max(events.v_kicked))
    laws: dict[str, Law | None] = {}
    here = {"v": events.v, "u": events.u}
    laws["kick"] = best_of([here, {**here, "n": events.n}], events.v_kicked - events.v, free & whole, full, rng)
    laws["lift"] = law_of(here, events.v_kicked - events.v, spiking & whole, full, rng, kinds=KINDS)
    tables = {"held": held}
    made = NeuronLaw(flow, laws, tables, MappingProxyType(numbers))
    laws["drains"], numbers["closed"], numbers["open"] = _drains(made, events, reset, rng)
    made = replace(made, numbers=MappingProxyType(numbers))
    kicked = made.kicked_membrane(events.v, events.u, events.n, events.phase)
    open_ = (events.phase >= 0.0) & whole
    about = {"v": events.v_kicked, "n": events.n, "from": events.v}
    laws["jump"] = law_of(about, events.n_kicked - events.n, open_, full, rng, kinds=KINDS)
    jumped = events.n + made.law("jump", {"v": kicked, "n": events.n, "from": events.v})
    fires = np.isfinite(events.latency)
    left = np.maximum(events.interval - numbers["kick"], 0.0)
    about = {
        "v": kicked,
        "kick": kicked - events.v,
        "interval": np.log(events.interval / dead),
        "fresh": made.fresh(events.phase),
    }
    end = np.where(fires, events.interval - events.latency - events.dead, events.phase + events.interval)
    reset_in = (fires | (events.phase < -reset)) & (end >= 0.0)
    laws["left"] = law_of({"v": kicked, "phase": made.after(end)}, events.v_end, reset_in, full, rng,
                        kinds=KINDS)  # fmt: skip
    again, found = again_laws(made, events, kicked, jumped, rng=rng)
    laws |= again
    numbers |= found
    made = replace(made, numbers=MappingProxyType(numbers))
    anew = made.anew(events.phase)
    still = events.phase >= 0.0
    laws |= _ahead(made, events, kicked, jumped, still & ~anew, rng) | _behind(made, events, kicked, jumped, still, rng)
    numbers["late"] = MOST_LATE
    made = replace(made, numbers=MappingProxyType(numbers))
    laws |= _late(made, events, kicked, jumped, fires & still & ~anew, rng)
    left_out, behind = _helps(made, events, kicked, jumped, still & ~fires & (left > 0.0))
    laws |= dict.fromkeys(left_out)
    rest = events.v_end - flow.leaked(kicked, left)
    sure = np.isfinite(flow.arrives(kicked, jumped))
    shift, _ = made.moved(kicked, jumped, behind, left, spikes=sure)
    numbers["coupled"], laws["leak"] = _leak(about, rest, shift, still & ~fires & (left > 0.0), rng)
    spiked = np.minimum(events.phase + np.where(fires, events.latency, 0.0), numbers["memory"])
    by = np.concatenate([[-1], np.maximum.accumulate(np.where(fires, np.arange(fires.size), -1))[:-1]])
    usual = np.abs(np.where(fires, events.dead, 0.0) - dead) < 0.5 * dead
    about = {"v": kicked, "phase": spiked}
    sure = fires & still & ~anew & usual & ~events.hit
    laws["dead"] = law_of(about, events.dead - dead, sure, dead, rng, kinds=KINDS)
    tables |= _stages(trains, reset=reset, dead=dead, memory=numbers["memory"])
    tables["bump"] = _bump(trains, flow, reset=reset, dead=dead)
    since = np.where(fires, events.interval - events.latency, 0.0)
    above = events.v_end - flow.leaked(kicked, left) - tables["bump"](since)
    higher = events.n_end - tables["falls"](since) - tables["rises"](np.array(-reset))
    # not by `end`, which a further input may put off
    own = since - made.dead(kicked, spiked, anew)
    known = fires & (still | anew)
    lasting = known & (own < -reset)
    about = {"v": kicked, "since": since}
    for name, what in (("up", above), ("fell", higher)):
        laws[name] = trimmed(about, what, lasting, full, rng, kinds=KINDS)
    about = {"v": kicked, "phase": spiked, "end": own}
    higher = events.n_end - tables["falls"](since) - tables["rises"](own)
    rising = (own >= -reset) & (own < dead)
    laws["risen"] = trimmed(about, higher, known & rising, full, rng, kinds=KINDS)
    tables["drawn"], numbers["rest_power"], numbers["spike_energy"] = _energies(trains, events, end, dead=dead)
    made = replace(made, numbers=MappingProxyType(numbers))
    alone = np.append(events.phase[1:] >= 0.0, True) & ~fires  # no further input puts the same reset off
    first = (events.phase < 0.0) & (by == np.arange(by.size) - 1) & (by >= 0) & usual[by] & alone
    longer = np.where(first, events.dead[by] - made.dead(kicked[by], spiked[by], anew[by]), 0.0)
    expected = events.phase + longer
    about = {"v": events.v, "kick": made.kick(events.v, events.u, events.n, events.phase), "phase": expected}
    parts = {
        "longer": expected < -reset, "longer in reset": (expected >= -reset) & (expected < numbers["closed"]),
        "longer after": expected >= numbers["closed"],
    }  # fmt: skip
    for name, part in parts.items():
        laws[name] = trimmed(about, longer, first & part, dead, rng, kinds=KINDS)
    until = np.minimum(events.phase + events.interval, numbers["memory"])
    stage = tables["falls"](until + numbers["dead"]) + tables["rises"](until)
    about = {"v": kicked, "phase": events.phase, "end": until}
    rising = (events.phase < -reset) & (until >= -reset) & (until < dead)
    for name, which in (("risen in spike", rising), ("stirred", (events.phase < 0.0) & ~rising)):
        laws[name] = trimmed(about, events.n_end - stage, which & ~fires, full, rng, kinds=KINDS)
    laws["idle"], laws["spent"] = None, None
    drawn = made.drawn(events.interval, events.phase, end, fires)
    rest = events.drawn - drawn
    about = {
        "v": events.v,
        "u": events.u,
        "n": events.n,
        "phase": events.phase,
        "interval": events.interval,
        "latency": np.where(fires, events.latency, 0.0),
    }
    scale = float(np.max(events.drawn))
    for name, given, kept in (
        ("idle", ("v", "u", "n", "phase", "interval"), ~fires),
        ("spent", ("v", "u", "n", "latency"), fires),
    ):
        laws[name] = law_of({key: about[key] for key in given}, rest, kept, scale, rng, worth=WORTH)
        numbers[f"most {name}"] = float(np.max(np.abs(rest[kept]), initial=0.0))
    return replace(made, numbers=MappingProxyType(numbers))


def _late(law: NeuronLaw, events: Events, kicked: Array, jumped: Array, fires: NDArray[np.bool_],
          rng: np.random.Generator) -> dict[str, Law | None]:  # fmt: skip
    """How much later than the flow makes them spikes come, next to their input's kick and after it."""
    ahead = law.ahead("ahead", kicked, jumped, events.phase, events.interval)
    latency = law.numbers["kick"] + law.flow.arrives(kicked + ahead, jumped)
    about = {"v": kicked, "n": events.n, "latency": latency}
    choices = [about, {**about, "fresh": law.fresh(events.phase)}]
    fires &= np.isfinite(latency)
    late = np.where(fires, events.latency, 0.0) - np.where(fires, latency, 0.0)
    hasty = latency < HASTY * law.numbers["kick"]
    share = late / np.where(fires, latency, 1.0)
    slow = fires & ~hasty & (np.abs(share) < MOST_LATE)
    return {
        "hasty": best_of(choices, late, fires & hasty, law.numbers["kick"], rng),
        "late": best_of(choices, share, slow, 1.0, rng),
    }


def _facilitation(trains: Sequence[SpikeTrain]) -> tuple[float, float]:
    """k and τ by least squares on what the facilitation does at and between inputs; (0, ∞-like) without one."""
    if all(train.facilitation is None for train in trains):
        return 0.0, 1.0
    read, falls, intervals = [], [], []
    for train in trains:
        by = EARLY * train.kick
        early, late, end = (train.inputs[:-1] - by, train.inputs[:-1] + train.kick, train.inputs[1:] - by)
        before, after, last = (train.at(t)["u"] for t in (early, late, end))
        read.append(np.stack([before, after, late - train.inputs[:-1]]))
        seen = after > 0.05
        falls.append(np.log(after[seen] / last[seen]))
        intervals.append((end - late)[seen])
    fall, interval = np.concatenate(falls), np.concatenate(intervals)
    tau = float(interval @ interval / (interval @ fall))
    before, after, since = np.concatenate(read, axis=1)
    room, jump = 1.0 - before, after * np.exp(since / tau) - before  # as it was at the input
    return float(room @ jump / (room @ room)), tau


def _alone(train: SpikeTrain, *, quiet: float = 0.0, beyond: float = 0.0, since: float = 0.0) -> NDArray[np.bool_]:
    """(m − 1,) which steps of a train's waveforms have neither kick nor reset in them.

    From ``since`` s after a kick and ``quiet`` s after a reset's end on, up to ``beyond`` s after the next spike.
    """
    t = train.time
    last = np.searchsorted(train.inputs, t[:-1], side="right") - 1
    ends = np.searchsorted(train.inputs, t[1:] + EARLY * train.kick, side="right") - 1
    found = (
        (last >= 0)
        & (ends == last)
        & (t[1:] <= train.inputs[-1])
        & (t[:-1] > train.inputs[np.maximum(last, 0)] + train.kick + since)
    )
    if train.spikes.size:
        spike = np.searchsorted(train.spikes + beyond, t[1:], side="right") - 1
        found &= (spike < 0) | (t[:-1] > train.ready[np.maximum(spike, 0)] + quiet)
    return np.asarray(found)


def _clock(trains: Sequence[SpikeTrain], grid: Array, *, quiet: float, since: float) -> tuple[Array, Array]:
    """``grid``, and T(v) there: the time that the leak takes from v to 0, from all falls between events."""
    size = grid.size - 1
    spent, fallen = np.zeros(size), np.zeros(size)
    for train in trains:
        v, t = train.membrane, train.time
        alone = _alone(train, quiet=quiet, since=since)
        dt, dv = np.diff(t)[alone], -np.diff(v)[alone]
        cell = np.clip(((v[:-1] + v[1:])[alone] / 2.0 / grid[1]).astype(int), 0, size - 1)
        spent += np.bincount(cell, dt, size)
        fallen += np.bincount(cell, dv, size)
    seen = (fallen > 0.02 * grid[1]) & (spent > 0.0)
    if np.count_nonzero(seen) < 10:
        raise FitError("the membrane hardly falls between the inputs", remedy="give longer intervals too")
    centres = 0.5 * (grid[1:] + grid[:-1])
    slowness = np.exp(np.interp(centres, centres[seen], np.log(spent[seen] / fallen[seen])))
    return grid, np.concatenate([[0.0], np.cumsum(slowness * grid[1])])


def _flow(trains: Sequence[SpikeTrain], events: Events, leak: tuple[Array, Array], *, quiet: float,
          rng: np.random.Generator) -> Flow:  # fmt: skip
    """The flow of membrane and stage between inputs, from ``quiet`` s after a reset on."""
    states, rates, lasting, settled, line = [], [], [], [], []
    for train in trains:
        alone = _alone(train, beyond=FIRED * train.kick)
        x = np.stack([train.membrane, train.at(train.time)["n"]], axis=1)
        dt = np.diff(train.time)[alone]
        states.append(0.5 * (x[1:] + x[:-1])[alone])
        rates.append(np.diff(x, axis=0)[alone] / dt[:, None])
        lasting.append(dt)
        settled.append(_alone(train, quiet=quiet, beyond=FIRED * train.kick)[alone])
        cause = train.inputs[np.searchsorted(train.inputs, train.spikes, side="right") - 1]
        slow = train.spikes[train.spikes > cause + 1.5 * train.kick]
        there = train.at(slow)
        line.append(np.stack([there["v"], there["n"]], axis=1))
    v, n = np.concatenate(line).T
    kept = np.ones(v.size, dtype=bool)
    for _ in range(2):
        trend = np.polynomial.Polynomial.fit(v[kept], n[kept], LINE)
        away = np.abs(n - trend(v))
        kept = away <= 5.0 * np.median(away) + 1e-9 * np.ptp(v)
    at = np.linspace(v.min(), v.max(), POINTS)
    latencies = events.latency[np.isfinite(events.latency)]
    return flow_of(
        np.concatenate(states), np.concatenate(rates), np.concatenate(lasting), np.concatenate(settled),
        line=(at, trend(at)),
        scale=3.0 * float(np.median(latencies)), longest=float(events.interval.max()), leak=leak, rng=rng,
    )  # fmt: skip


def _held(trains: Sequence[SpikeTrain]) -> tuple[Table, float]:
    """The share of the membrane that a reset leaves, of the phase, and how long (s) before its end it begins."""
    whole = float(np.median(np.concatenate([train.ready - train.reset for train in trains])))
    dead = float(np.median(np.concatenate([train.ready - train.spikes for train in trains])))
    phase = np.linspace(-min(2.0 * whole, 0.9 * dead), 0.0, SHARES)
    rows = []
    for train in trains:
        for spike, ready in zip(train.spikes, train.ready, strict=True):
            if (
                not np.any((train.inputs > ready + phase[0] - train.kick) & (train.inputs < ready))
                and ready + phase[0] > spike
            ):
                v = train.at(ready + phase)["v"]
                rows.append(v / v[0])
    if not rows:
        raise FitError("an input falls into every reset", remedy="give longer intervals too")
    share = np.clip(np.median(rows, axis=0), 0.0, 1.0)
    begin = int(np.argmax(share < 0.97))
    share[:begin] = 1.0
    return Table(phase, share), float(-phase[max(begin - 1, 0)])


def _drains(law: NeuronLaw, events: Events, reset: float, rng: np.random.Generator) -> tuple[Law | None, float, float]:
    """How far a reset discharges the membrane after an input, and between which phases it does and leaves anything."""
    width, u = law.numbers["kick"], law.numbers["thermal"]
    near = (events.phase > -reset) & (events.phase < QUIET * width)
    near &= ~np.isfinite(events.latency) & (events.interval > LATER * width)
    kick = law.kick(events.v, events.u, events.n, events.phase)
    back = law.flow.leaked(events.later, np.full(events.v.size, (1.0 - LATER) * width))
    near &= (back > SEEN * law.flow.grid[-1]) & (events.v + kick > 0.0)
    if np.count_nonzero(near) < LEAST_SEEN:
        return None, 0.0, 0.0
    most = np.zeros(events.v.size)
    whole = np.maximum(events.v + kick, back)[near]
    most[near] = np.log(np.expm1(whole / u) / np.expm1(back[near] / u))
    order = np.flatnonzero(near)[np.argsort(events.phase[near])]
    phase = events.phase[order]
    taking = np.array([np.median(most[order[max(k - 1, 0) : k + 2]]) > TAKES for k in range(order.size)])
    within = order[: order.size if taking.all() else int(np.argmin(taking))]
    closed = float(phase[0])
    if within.size < LEAST_SEEN:
        return None, closed, closed
    given = {"phase": events.phase[within]}
    if within.size >= MANY:
        given["whole"] = (events.v + kick)[within]
    return smooth(given, np.log(np.maximum(most[within], 0.1 * TAKES))), closed, float(given["phase"][-1])


def _leak(given: Mapping[str, Array], rest: Array, shift: Array, kept: NDArray[np.bool_],
          rng: np.random.Generator) -> tuple[float, Law | None]:  # fmt: skip
    """Whether what the flow adds to the membrane counts (1) or not (0), and the law of the rest, by held-out error."""
    chosen = {name: column[kept] for name, column in given.items() if np.ptp(column[kept]) > 0.0}
    count = np.count_nonzero(kept)
    held = rng.permutation(count) < count // 4
    best: tuple[float, float, bool] = (np.inf, 1.0, False)
    for coupled in (1.0, 0.0):
        target = (rest - coupled * shift)[kept]
        used = {name: column[~held] for name, column in chosen.items()}
        law = fit(used, {"it": target[~held]}, scales={"it": 1.0}, rng=rng, kinds=("polynomial",)).law
        away = law({name: column[held] for name, column in chosen.items()})["it"] - target[held]
        # means of magnitudes: a few events next to the separatrix are not what decides
        best = min(
            best, (float(np.mean(np.abs(target[held]))), coupled, False), (float(np.mean(np.abs(away))), coupled, True)
        )
    _, coupled, learned = best
    if not learned:
        return coupled, None
    target = (rest - coupled * shift)[kept]
    return coupled, fit(chosen, {"it": target}, scales={"it": 1.0}, rng=rng, kinds=("polynomial",)).law


def _ahead(law: NeuronLaw, events: Events, kicked: Array, jumped: Array, free: NDArray[np.bool_],
           rng: np.random.Generator) -> dict[str, Law | None]:  # fmt: skip
    """How much higher the membrane would have to be for the flow to spike as late as the circuit did."""
    flow, top = law.flow, float(law.flow.grid[-1])
    fires = np.isfinite(events.latency) & free & (events.latency > 1.5 * law.numbers["kick"])
    found, weight = np.full(events.v.size, np.nan), np.zeros(events.v.size)
    distance = flow.place(kicked, jumped)[-1]
    above = np.geomspace(CLOSEST, 2.0 * AHEAD, TRIED) * top
    for k in np.flatnonzero(fires):
        tried = above - distance[k]
        t = law.numbers["kick"] + flow.arrives(kicked[k] + tried, np.full(TRIED, jumped[k]))
        shift, slope = nearest(tried, t - events.latency[k])
        if abs(shift) <= AHEAD * top:
            found[k], weight[k] = shift, slope
    # what did not spike, though the flow would have in that time, was below the separatrix, by little at least
    early = law.numbers["kick"] + flow.arrives(kicked, jumped) < events.interval
    wrong = free & ~np.isfinite(events.latency) & early
    found[wrong] = -distance[wrong]
    weight[wrong] = np.max(weight, initial=0.0)
    return _shifts("ahead", {"v": kicked, "n": jumped}, law.fresh(events.phase), found, weight, rng, most=MOST_WEIGHT)


def _behind(law: NeuronLaw, events: Events, kicked: Array, jumped: Array, free: NDArray[np.bool_],
            rng: np.random.Generator) -> dict[str, Law | None]:  # fmt: skip
    """How much higher the membrane would have to be for the flow to come to the stage as the circuit did."""
    flow, top = law.flow, float(law.flow.grid[-1])
    tried = np.linspace(-AHEAD, AHEAD, TRIED) * top
    found, weight = np.full(events.v.size, np.nan), np.zeros(events.v.size)
    for k in np.flatnonzero(free & ~np.isfinite(events.latency) & (events.interval > law.numbers["kick"])):
        t = np.full(TRIED, events.interval[k] - law.numbers["kick"])
        n = flow.staged(kicked[k] + tried, np.full(TRIED, jumped[k]), t)
        found[k], weight[k] = nearest(tried, n - events.n_end[k])
    given = {"v": kicked, "n": jumped, "interval": np.log(events.interval / law.numbers["dead"])}
    return _shifts("behind", given, law.fresh(events.phase), found, weight, rng, most=CAP)


def _helps(law: NeuronLaw, events: Events, kicked: Array, jumped: Array,
           kept: NDArray[np.bool_]) -> tuple[tuple[str, ...], Array]:  # fmt: skip
    """Which laws of "behind" take the stage farther from where it was without a spike; (k,) V by the others.

    They are fitted to shifts, whose error says little of the stage's: a large one far from the separatrix does nothing
    to a stage at rest, and the smallest one does next to it.
    """
    left = np.maximum(events.interval - law.numbers["kick"], 0.0)
    names = ("behind at rest", "behind")
    tried = []
    for count in range(len(names) + 1):
        some = MappingProxyType({**law.laws, **dict.fromkeys(names[count:])})
        shift = replace(law, laws=some).ahead("behind", kicked, jumped, events.phase, events.interval)
        stage = law.flow.staged(law.flow.beside(kicked + shift, jumped, spikes=~kept), jumped, left)
        tried.append((float(np.mean(np.abs(stage - events.n_end)[kept])), count, shift))
    _, count, shift = min(tried, key=lambda one: one[:2])
    return names[count:], shift


def _shifts(name: str, given: Mapping[str, Array], fresh: Array, target: Array, weight: Array,
            rng: np.random.Generator, *, most: float) -> dict[str, Law | None]:  # fmt: skip
    """The shift (V) long after a reset, and what there is more of it soon after one."""
    settled = weighted(given, np.where(fresh < LEAST_FRESH, 1.0, 0.0), target, weight, rng, most=most)
    more = target if settled is None else target - settled(given)["it"]
    return {f"{name} at rest": settled, name: weighted({**given, "fresh": fresh}, fresh, more, weight, rng, most=most)}


def _stages(trains: Sequence[SpikeTrain], *, reset: float, dead: float, memory: float) -> dict[str, Table]:
    """The stage as it falls after a spike and rises with and after the reset."""
    since = np.linspace(0.0, dead - reset, SHARES)
    phase = np.concatenate(
        [np.linspace(-reset, 0.0, SHARES)[:-1], np.geomspace(1.0, 1.0 + memory / dead, SHARES) - 1.0]
    )
    phase[SHARES - 1 :] *= dead
    down, up = [], []
    for train in trains:
        for spike, ready in zip(train.spikes, train.ready, strict=True):
            down.append(train.at(spike + since)["n"])
            coming = train.inputs[np.searchsorted(train.inputs, ready - reset) :]
            end = coming[0] - EARLY * train.kick if coming.size else train.time[-1]
            up.append(np.where(ready + phase <= end, train.at(ready + phase)["n"], np.nan))
    falls = np.median(down, axis=0)
    seen = np.sum(np.isfinite(up), axis=0) >= LEAST_SEEN
    rises = np.nanmedian(np.array(up)[:, seen], axis=0)
    return {"falls": Table(since, falls - falls[-1]), "rises": Table(phase[seen], rises)}


def _bump(trains: Sequence[SpikeTrain], flow: Flow, *, reset: float, dead: float) -> Table:
    """What a spike adds to the membrane (V), of the time since it."""
    since = np.linspace(0.0, dead - reset, SHARES // 2)
    rows = []
    for train in trains:
        for spike in train.spikes:
            begin = train.inputs[np.searchsorted(train.inputs, spike, side="right") - 1] + train.kick
            if begin < spike and not np.any((train.inputs > spike) & (train.inputs < spike + since[-1])):
                v = float(train.at(np.array([begin]))["v"][0])
                rows.append(train.at(spike + since)["v"] - flow.leaked(np.full(since.size, v), spike + since - begin))
    return Table(since, np.median(rows, axis=0) if rows else np.zeros(since.size))


def _energies(trains: Sequence[SpikeTrain], events: Events, end: Array, *, dead: float) -> tuple[Table, float, float]:
    """The share of a spike's energy that is drawn up to a phase; the power at rest (W); a spike's energy (J)."""
    fires = np.isfinite(events.latency)
    rest, _ = _powers(events, fires.astype(float))
    phase = np.linspace(-dead - trains[0].kick, dead, SHARES)
    rows = []
    for train in trains:
        for spike, ready in zip(train.spikes, train.ready, strict=True):
            t = ready + phase
            if not np.any((train.inputs > spike - train.kick) & (train.inputs < t[-1])) and t[-1] < train.inputs[-1]:
                drawn = train.at(t)["energy"]
                rows.append(drawn - drawn[0] - rest * (t - t[0]))
    drawn = np.median(rows, axis=0) if rows else phase - phase[0]
    table = Table(phase, drawn / drawn[-1])
    return table, *_powers(events, table(end) - table(events.phase) + fires)


def _powers(events: Events, share: Array) -> tuple[float, float]:
    """The power at rest (W) and a spike's energy (J), by how much of one falls into each event."""
    columns = np.stack([events.interval, share, np.ones_like(share), events.u, events.u**2, events.v], axis=1)
    size = np.max(np.abs(columns), axis=0)
    size[size == 0.0] = 1.0
    found = np.linalg.lstsq(columns / size, events.drawn, rcond=1e-10)[0] / size
    return float(found[0]), float(found[1])
