"""Spikes of an event neuron that follow a reset at once, which the flow of the circuit at rest does not tell.

Next to the end of a reset what remembers the last spike lowers the separatrix: an input spikes there that would not
later on, before the reset has quite ended too; its spike is a short one, for which the circuit resets the sooner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from cosim.devices.base import Array
from cosim.surrogate.bases import Polynomial, scaled
from cosim.surrogate.learned import Law
from cosim.surrogate.neuron import NEVER, QUIET, NeuronLaw
from cosim.surrogate.neuron_events import Events
from cosim.surrogate.neuron_laws import smooth

LEAST = 10  # spikes that the flow does not tell, to learn from (our choice)
PACES = (2.0, 2.5, 3.0)  # kicks: of which the pace is one (our choice)
NEAREST = 0.03  # of exp(−latency / pace): where what is nearer to the separatrix weighs no more (our choice)
FOLDS, PASSES = 7, 20


def again_laws(
    law: NeuronLaw, events: Events, kicked: Array, jumped: Array, *, rng: np.random.Generator
) -> tuple[dict[str, Law | None], dict[str, float]]:
    """The laws "again", "again late" and "dead again" of `NeuronLaw`, and its numbers "again", "anew" and "pace".

    They hold between the first and the last phase of the spikes that the flow misses, and a kick beyond.
    """
    kick, closed = law.numbers["kick"], law.numbers["closed"]
    near = (events.phase >= closed) & (events.phase < QUIET * kick) & (events.interval > 1.5 * kick)
    far = law.flow.place(kicked, jumped)[-1] < -law.numbers["most ahead"]
    missed = near & np.isfinite(events.latency) & (events.latency > 1.5 * kick) & (far | (events.phase < 0.0))
    laws: dict[str, Law | None] = dict.fromkeys(("again", "again late", "dead again"))
    if np.count_nonzero(missed) < LEAST:
        return laws, {}
    ends = np.clip([events.phase[missed].min() - kick, events.phase[missed].max() + kick], closed, QUIET * kick)
    numbers = {"again": float(ends[0]), "anew": float(ends[1])}
    here = near & (events.phase >= ends[0]) & (events.phase < ends[1])
    given = {"v": kicked[here], "n": events.n[here]}
    laws["again"], numbers["pace"] = separated(given, events.latency[here], events.interval[here], kick=kick, rng=rng)
    made = replace(
        law, laws=MappingProxyType({**law.laws, **laws}), numbers=MappingProxyType({**law.numbers, **numbers})
    )
    own = made.again(kicked, events.n, events.phase)
    both = here & np.isfinite(events.latency) & (own < NEVER)
    if np.count_nonzero(both) >= LEAST:
        about = {"v": kicked[both], "latency": own[both]}
        laws["again late"] = smooth(about, events.latency[both] - own[both])
    alone = here & np.isfinite(events.latency) & ~events.hit
    if np.count_nonzero(alone) >= LEAST:
        about = {"v": kicked[alone], "phase": law.after((events.phase + events.latency)[alone])}
        laws["dead again"] = smooth(about, events.dead[alone] - law.numbers["dead"])
    return laws, numbers


def separated(
    given: Mapping[str, Array], latency: Array, interval: Array, *, kick: float, rng: np.random.Generator
) -> tuple[Law, float]:
    """A plane in what is ``given`` for exp(−latency / pace), above 0 where there is a spike, and the pace (s).

    A spike is the later by the logarithm of how near it is to the separatrix, so that this is linear in the distance.
    The pace is the one by which the fewest of the events held out are taken for what they are not.
    """
    x = np.stack(list(given.values()), axis=1)
    ends = np.stack([x.min(axis=0), x.max(axis=0)], axis=1)
    plain = np.zeros(x.shape[1], dtype=bool)
    basis = Polynomial.basis(scaled(x, ends, plain), 1)
    fold = rng.permutation(latency.size) % FOLDS
    fires = np.isfinite(latency)
    tried = []
    for pace in kick * np.array(PACES):
        found = np.empty(latency.size)
        for k in range(FOLDS):
            found[fold == k] = basis[fold == k] @ _plane(
                basis[fold != k], latency[fold != k], interval[fold != k], pace
            )
        tried.append((int(np.count_nonzero((found > np.exp(-interval / pace)) != fires)), float(pace)))
    pace = min(tried)[1]
    model = Polynomial(1, _plane(basis, latency, interval, pace)[:, None])
    return Law("polynomial", tuple(given), ends, plain, ("it",), np.zeros(1), np.ones(1), model), pace


def _plane(basis: Array, latency: Array, interval: Array, pace: float) -> Array:
    """By least squares: what did not spike counts while the plane has it spike within its interval."""
    fires = np.isfinite(latency)
    y = np.exp(-np.where(fires, latency, interval) / pace)
    w = 1.0 / np.where(fires, np.maximum(y, NEAREST), NEAREST)
    used = fires
    for _ in range(PASSES):
        found = np.linalg.lstsq(basis[used] * w[used, None], (y * w)[used], rcond=1e-10)[0]
        now = fires | (basis @ found > y)
        if np.array_equal(now, used):
            break
        used = now
    return np.asarray(found)
