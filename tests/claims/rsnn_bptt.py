"""Back-propagation through time of the network of `cosim.network.systems.rsnn`: the upper bound of e-prop.

Written out backwards in numpy, with the triangle of Eq. 15 for a spike's derivative. ``whole`` goes back through the
recurrent spikes and through the threshold that a spike takes off as well; without it, the gradient is that of e-prop.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.network.run import Streams
from cosim.network.systems.rsnn import RsnnRun, RsnnSystem
from cosim.network.systems.rsnn_settings import RsnnSettings


def gradients(
    weights: Mapping[str, Array], x: Array, phones: NDArray[np.int64], s: RsnnSettings, *, whole: bool = True
) -> tuple[dict[str, Array], float]:
    """Of the cross-entropy summed over all steps, by the weights ``into``, ``among``, ``read``; and that sum.

    Args:
        weights: by name. x: (frames, inputs). phones: (frames,) s: the network's constants.
    """
    dt = 10.0 / s.steps
    leak, kappa = np.exp(-dt / s.tau), np.exp(-dt / s.tau_out)
    into, among, read = (weights[name] for name in ("into", "among", "read"))
    shown, answers = np.repeat(x, s.steps, axis=0), np.repeat(phones, s.steps)
    steps, n = len(answers), into.shape[1]
    u, fired, errors = np.empty((steps, n)), np.zeros((steps + 1, n)), np.empty((steps, read.shape[1]))
    v, y, drive = np.zeros(n), np.zeros(read.shape[1]), shown @ into
    for t in range(steps):
        u[t] = leak * v + drive[t] + fired[t] @ among  # the spikes of the step before
        fired[t + 1] = u[t] > s.threshold
        v = u[t] - s.threshold * fired[t + 1]
        y = kappa * y + fired[t + 1] @ read
        errors[t] = np.exp(y - y.max())
        errors[t] /= errors[t].sum()
    loss = -float(np.log(np.maximum(errors[np.arange(steps), answers], 1e-300)).sum())
    errors[np.arange(steps), answers] -= 1.0
    slope = s.beta / s.threshold * np.maximum(0.0, 1.0 - np.abs(u / s.threshold - 1.0))
    of_y, of_u, back = np.zeros_like(errors), np.zeros_like(u), np.zeros(n)
    held = np.zeros(errors.shape[1])
    for t in reversed(range(steps)):
        held = errors[t] + kappa * held
        of_y[t] = held
        of_spike = read @ held
        if whole:
            of_spike = of_spike + among @ back - s.threshold * leak * back
        back = leak * back + slope[t] * of_spike
        of_u[t] = back
    found = {"into": shown.T @ of_u, "among": fired[:-1].T @ of_u, "read": fired[1:].T @ of_y}
    np.fill_diagonal(found["among"], 0.0)
    return found, loss


class Backwards(RsnnRun):
    """The network of a seed, that learns by whole gradients; the same order of the same utterances."""

    def learn(self, batch: int) -> None:
        """One batch, by the optimiser of the settings."""
        began = time.process_time()
        s, speech = self.system.settings, self.system.speech
        order, frames = self.order(batch), 0
        sums: dict[str, Array] = {}
        weights = {name: self.weight(name) for name in ("into", "among", "read")}
        for k in order:
            one = speech.train[k]
            found, loss = gradients(weights, self._rows(one), one.phones, s)
            share = 1.0 / (len(one.phones) * s.steps * len(order))
            for name, x in found.items():
                sums[name] = sums.get(name, 0.0) + share * x
            self.loss.append(loss / (len(one.phones) * s.steps))
            frames += len(one.phones)
        self.count += 1
        for name, x in sums.items():
            self.simulation.cells[name].load(self.weight(name) - self._change(name, x))
        self.spent.append((frames, time.process_time() - began))


@dataclass(frozen=True)
class BackwardsSystem(RsnnSystem):
    """The network of `Backwards`, for the runner."""

    name: ClassVar[str] = "rsnn backwards"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the same, and that it learns backwards."""
        return hashlib.sha256(f"backwards {super().fingerprint}".encode()).hexdigest()

    def start(self, streams: Streams) -> Backwards:
        """The untrained network of a seed."""
        return Backwards(self, streams)
