"""The constants of `cosim.network.systems.filters`, its layer, and what each synapse passes at which rate."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from cosim.devices.base import Array, Values
from cosim.devices.registry import device as find_device
from cosim.errors import InputError
from cosim.network.encoders import Current
from cosim.network.facilitation import Facilitating
from cosim.network.graph import Graph, Population, Projection
from cosim.network.neurons import LIF, Source
from cosim.parameters import ParameterSet
from cosim.surrogate.model import Surrogate

INPUT, NEURONS, SYNAPSES = "input", "neurons", "synapses"
SPIKE = "spike"
TIMES = ("tau_fast", "tau_slow")
STEP_OF_R = "dr"
MS = 1e-3
STEADY = 1e-9  # of the conductance: no longer moving from spike to spike
MOST_SPIKES = 100_000
RESTS = 12.0  # slowest relaxation times between two trains


@dataclass(frozen=True)
class FilterSettings:
    """The layer's constants; no constant of a synapse is among them. All are our choice.

    Args:
        parameters: of the synapses: a set of a device with a map "spike".
        scales: its relaxation times, in units of the set's: one group of neurons each.
        shares: output spikes per input spike, over the training trains, to which a neuron's threshold is set: one
            neuron of each group each.
        membrane: time constant of a neuron's leak (s).
        delay: of the feedback that resets it, during which it is held (s).
    """

    parameters: str = "ecram:fast"
    scales: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)
    shares: tuple[float, ...] = (0.4, 0.2, 0.1)
    membrane: float = 1e-6
    delay: float = 0.1e-6

    def __post_init__(self) -> None:
        for name, values in (("scales", self.scales), ("shares", self.shares)):
            if not values or len(set(values)) < len(values) or not all(0.0 < x < math.inf for x in values):
                raise InputError(
                    f"the {name} of the layer are {', '.join(f'{x:g}' for x in values) or 'missing'}",
                    remedy="give different numbers above zero",
                )
        if max(self.shares) >= 1.0:
            raise InputError(
                f"a neuron cannot spike {max(self.shares):g} times per input spike", remedy="give shares below 1"
            )
        if not (0.0 < self.membrane < math.inf and 0.0 <= self.delay < math.inf):
            raise InputError(
                f"a neuron with a membrane of {self.membrane:g} s and a delay of {self.delay:g} s cannot work",
                remedy="give a membrane above zero and a delay >= 0",
            )
        self.parameter_set  # noqa: B018 (refuses a device without facilitation)

    @cached_property
    def parameter_set(self) -> ParameterSet:
        """Of the synapses; raises `InputError` for a device that does not facilitate by spikes."""
        chosen = ParameterSet.load(self.parameters)
        if SPIKE not in find_device(chosen.device).maps(chosen.resolved()):
            raise InputError(
                f"{self.parameters} is of the device {chosen.device}, which spikes do not facilitate",
                remedy="take a set of ecram, e.g. ecram:fast",
            )
        return chosen

    def fingerprint(self) -> str:
        """SHA-256 of all values, and of the synapses'."""
        text = json.dumps(asdict(self), sort_keys=True) + self.parameter_set.fingerprint()
        return hashlib.sha256(text.encode()).hexdigest()

    def with_(self, **changes: Any) -> Self:
        """A copy with some values changed."""
        return replace(self, **changes)

    @property
    def size(self) -> int:
        """Neurons: one for each scale and share."""
        return len(self.scales) * len(self.shares)

    @property
    def scale_of(self) -> Array:
        """(neurons,) of the relaxation times."""
        return np.repeat(self.scales, len(self.shares))

    @property
    def share_of(self) -> Array:
        """(neurons,) output spikes per input spike that are wanted."""
        return np.tile(self.shares, len(self.scales))

    def taus(self) -> Array:
        """(scales,) the relaxation time (s) of each group: that of the part of a spike's step that is larger."""
        p = self.parameter_set.resolved()
        slow = float(p.share_slow) > 0.5
        return np.array(self.scales) * float(p[TIMES[slow]])

    def cells(self, scales: Array, *, stp: bool) -> Surrogate:
        """Devices with their relaxation times scaled, ``scales`` of any shape; without ``stp`` spikes move nothing."""
        p, scales = self.parameter_set.resolved(), np.asarray(scales, dtype=float)
        own = {name: float(p[name]) * scales for name in TIMES}
        own[STEP_OF_R] = np.full(scales.shape, float(p[STEP_OF_R]) if stp else 0.0)
        return Surrogate(self.parameter_set, SPIKE, instances=own)

    def rest(self, shape: tuple[int, ...]) -> dict[str, Array]:
        """States of devices that no spike has reached."""
        model = find_device(self.parameter_set.device)
        first = model.initial(self.parameter_set.resolved())
        return {state.name: np.full(shape, float(first[state.name])) for state in model.states}

    def pause(self, step: float) -> float:
        """Between two trains (ms), in whole time steps (s): what is left of a spike after it is nothing."""
        p = self.parameter_set.resolved()
        slowest = max(self.scales) * max(float(p[name]) for name in TIMES)
        return math.ceil(RESTS * slowest / step) * step / MS

    def graph(self, thresholds: Array, *, stp: bool, step: float, membranes: bool = False) -> Graph:
        """One source, and the layer; ``thresholds`` (neurons,) in units of a synapse's weight at rest. With
        ``membranes`` the time constants of the neurons' leaks have the scales of the synapses'.
        """
        source = Population(INPUT, 1, Source(), Current())
        scales = self.scale_of[None, :]
        cells = self.cells(scales, stp=stp)
        state = self.rest(scales.shape)
        rest = float(np.ravel(cells.read(Values(state))["conductance"])[0]) / cells.full_scale("conductance")
        neuron = LIF(tau=self.membrane / MS, threshold=1.0, reset=0.0, refractory=self.delay / MS)
        tau = neuron.tau * (self.scale_of if membranes else np.ones(self.size))
        own = {"threshold": np.asarray(thresholds, dtype=float), "tau": tau}
        layer = Population(NEURONS, self.size, neuron, own=own)
        synapses = Projection(INPUT, NEURONS, cells, state, rule=Facilitating(), gain=1.0 / rest, name=SYNAPSES)
        return Graph((source, layer), (synapses,), step / MS)


def response(settings: FilterSettings, rates: Array) -> Array:
    """(rates, scales) conductance that a spike of a long regular train finds, over that at rest: by the device's map.

    Raises `InputError` where a train does not become steady.
    """
    rates, scales = np.asarray(rates, dtype=float), np.array(settings.scales)
    shape = rates.size, scales.size
    cells = settings.cells(np.broadcast_to(scales, shape), stp=True)
    state = Values(settings.rest(shape))
    rest = cells.read(state)["conductance"]
    interval = np.broadcast_to(1.0 / rates[:, None], shape)
    before = rest
    for _ in range(MOST_SPIKES):
        after, _ = cells.map(state, Values({"interval": interval}), cells.values)
        state = Values(dict(after))
        now = cells.read(state)["conductance"]
        if np.all(np.abs(now - before) <= STEADY * now):
            found: Array = now / rest
            return found
        before = now
    raise InputError(f"a synapse is not steady after {MOST_SPIKES} spikes", remedy="give rates farther from its own")


def corner(settings: FilterSettings, rates: Array) -> Array:
    """(scales,) the rate (Hz) at which half of the largest facilitation within ``rates`` (rising) is reached."""
    above = response(settings, rates) - 1.0
    half = 0.5 * above.max(axis=0)
    return np.array([float(np.exp(np.interp(h, a, np.log(rates)))) for h, a in zip(half, above.T, strict=True)])
