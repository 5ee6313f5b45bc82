"""The events of recorded trains of spikes, one after another: what an event neuron's law is learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.surrogate.neuron import SpikeTrain

# In kicks of the train (our choice): before an input, where nothing of it is seen ...
EARLY = 0.02
# ... and after one, at the latest, where what a reset has left of its kick is read.
LATER = 12.0


@dataclass(frozen=True)
class Events:
    """The events of trains, one after another; columns (n,) SI.

    Args:
        v, u, n, phase: before the input. v_kicked, n_kicked: at the end of the kick. v_end, n_end: before the next
            input. interval, drawn: of the event, s and J. latency: s of the spike in it; infinite without one.
        dead: s from that spike to the end of its reset. hit: whether an input comes in between.
        later: V, the membrane `LATER` kicks after the input.
    """

    v: Array
    u: Array
    n: Array
    phase: Array
    v_kicked: Array
    n_kicked: Array
    v_end: Array
    n_end: Array
    interval: Array
    drawn: Array
    latency: Array
    dead: Array
    hit: NDArray[np.bool_]
    later: Array

    @classmethod
    def of(cls, trains: Sequence[SpikeTrain], memory: float) -> Self:
        """All events of ``trains``; phases up to ``memory`` (s)."""
        columns: dict[str, list[NDArray[Any]]] = {one.name: [] for one in fields(cls)}
        for train in trains:
            t, end = train.inputs[:-1], train.inputs[1:]
            early = EARLY * train.kick
            before, after, last = train.at(t - early), train.at(t + train.kick), train.at(end - early)
            which = np.searchsorted(train.spikes, t, side="right")
            following = np.concatenate([train.spikes, [np.inf]])[which]
            fires = following < end
            ready = np.concatenate([train.ready, [np.inf]])[which]
            last_in = np.searchsorted(train.inputs, following, side="right")
            inside = np.concatenate([train.inputs, [np.inf]])[np.minimum(last_in, train.inputs.size)]
            found = {
                "v": before["v"], "u": before["u"], "n": before["n"], "phase": np.minimum(train.phase(t), memory),
                "v_kicked": after["v"], "n_kicked": after["n"], "v_end": last["v"], "n_end": last["n"],
                "interval": end - t, "drawn": np.diff(train.at(train.inputs)["energy"]),
                "latency": np.where(fires, following - t, np.inf),
                "dead": np.where(fires, ready - np.where(fires, following, 0.0), np.inf),
                "hit": inside < ready,
                "later": train.at(np.minimum(t + LATER * train.kick, end - early))["v"],
            }  # fmt: skip
            for name, column in found.items():
                columns[name].append(column)
        return cls(**{name: np.concatenate(parts) for name, parts in columns.items()})

    def cut(self, kick: float) -> NDArray[np.bool_]:
        """Whether a spike falls into an event's kick (s)."""
        return self.latency < kick
