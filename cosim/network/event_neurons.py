"""Neurons of a circuit in a network: a bench's event neuron, from input to input as its law has it.

An input spike comes in each time step in which something arrives, whatever its weight: the circuit's input spikes are
all of one size. When it comes, the states go to what they are by then, and the neuron is due after the latency that the
law gives if no other input comes first; it fires in the time step that is nearest to that. So inputs and spikes lie on
the time steps of the graph, which are to be short beside the latencies, and the neuron's own times do not.

`check_neurons` sends what some of the neurons received through the circuit again, and compares the spikes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from types import SimpleNamespace as Named
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array, Operand, Values
from cosim.errors import EmitError, InputError
from cosim.network.neurons import After, Model
from cosim.network.simulation import Answers
from cosim.surrogate.gate import require_certified
from cosim.surrogate.model import Surrogate
from cosim.surrogate.neuron import MATCH, STATES, NeuronLaw, SpikeTrain, at_rest, matched

NEVER = 1e9  # s
MS = 1e-3
FIRST = 100  # time steps before the first input of a circuit, which begins at rest (our choice)
LEAST_SPIKES = 2  # to have an interval


@dataclass(frozen=True)
class EventNeuron(Model):
    """Neurons of a circuit, by the ``surrogate`` of its bench; energies and times are in SI, as the surrogate's.

    States beside the surrogate's own, which are those at the last input: ``energy`` (J) that all intervals took until
    then, ``since`` (s) the last input, ``due`` (s) until the spike, and whether there was an ``input`` in the step or
    the neuron ``fired`` in it (0 or 1). ``since`` is below zero before the first input.
    """

    surrogate: Surrogate

    def __post_init__(self) -> None:
        if not isinstance(self.surrogate.learned, NeuronLaw):
            raise InputError(
                f"the surrogate of {self.surrogate.parameters.name} is not of a neuron",
                remedy="train one of a bench with a neuron, [neurons.NAME]",
            )
        require_certified(self.surrogate)

    @cached_property
    def states(self) -> Mapping[str, float]:  # type: ignore[override]  # they depend on the law
        """At rest."""
        assert isinstance(self.surrogate.learned, NeuronLaw)
        own = at_rest(self.surrogate.learned)
        return MappingProxyType({**own, "energy": 0.0, "since": -1.0, "due": NEVER, "input": 0.0, "fired": 0.0})

    def parameters(self, dt: float, *, ticks: float = 1.0) -> dict[str, float]:
        """The step in s."""
        return {"dt": MS * dt * ticks, "gain": 1.0}

    def step(self, x: Named, drive: Operand, p: Named) -> tuple[After, Operand]:
        """Inputs where the drive is above zero. Raises `DomainError` as the surrogate's policy has it."""
        if not isinstance(x.v, np.ndarray):
            raise EmitError("a law of a neuron has no compiled form", remedy="run the network with backend='numpy'")
        after = self.idle(x, p)
        due = after["due"].copy()  # a spike that falls on the step of an input falls there all the same
        arrived = np.broadcast_to(np.asarray(drive) > 0.0, x.v.shape)
        past = np.flatnonzero(arrived & (x.since >= 0.0))
        if past.size:
            before = Values({name: x.__dict__[name][past] for name in STATES})
            state, outputs = self.surrogate.step(before, Values({"interval": after["since"][past]}))
            for name in STATES:
                after[name][past] = state[name]
            after["energy"][past] += outputs["energy"]
        at = np.flatnonzero(arrived)
        if at.size:
            longest = self.surrogate.allowed("interval")[1]
            now = Values({name: after[name][at] for name in STATES})
            ahead = self.surrogate.step(now, Values({"interval": np.full(at.size, longest)}))[1]
            after["due"][at] = np.where(ahead["spikes"] > 0.0, ahead["latency"], NEVER)
            after["since"][at], after["input"][at] = 0.0, 1.0
        # rounding does not delay a spike
        return after, (0.5 + 1e-6) * p.dt - np.minimum(due, after["due"])

    def idle(self, x: Named, p: Named) -> After:
        """Time goes on; a spike that a gap holds is not fired, as nothing is in a gap."""
        found: After = {name: np.array(x.__dict__[name]) for name in self.states}
        known = found["since"] >= 0.0
        found["since"] = np.where(known, found["since"] + p.dt, found["since"])
        passed = found["due"] < -0.5 * p.dt
        found["due"] = np.where(passed | (found["due"] >= NEVER), NEVER, found["due"] - p.dt)
        found["input"], found["fired"] = np.zeros_like(found["v"]), np.zeros_like(found["v"])
        return found

    def spiked(self, x: Named, p: Named) -> After:
        """Not due any more."""
        return {"due": NEVER, "fired": 1.0}


@dataclass(frozen=True)
class NeuronCheck:
    """What chosen neurons of a network did, and what their circuit does with the same inputs.

    Args:
        neurons: (n,) of the population. inputs: (n,) spikes that each received.
        network, spice: of each, the times (s) of its spikes since its first input.
        matched: (n,) of both trains that match within `MATCH` of the circuit's mean interval, and half a time step; of
            a circuit that spiked once, the interval is that of the network's neuron.
        latency: (m,) s, by how much the network's matched spikes are late.
        against: what answered.
        apart: of the neurons, those that spiked once, as their circuit did: without an interval the two spikes cannot
            be matched, so that they do not count in `f1`.
    """

    neurons: NDArray[np.int64]
    inputs: NDArray[np.int64]
    network: tuple[Array, ...]
    spice: tuple[Array, ...]
    matched: NDArray[np.int64]
    latency: Array
    against: str
    apart: tuple[int, ...] = ()

    def __str__(self) -> str:
        judged = self.neurons.size - len(self.apart)
        said = f"F1 {self.f1:.4g} of {judged} neurons against {self.against or 'their circuit'}"
        return f"{said}; {_unjudged(self.apart)}" if self.apart else said

    @property
    def f1(self) -> float:
        """Of all spikes of the neurons that are not `apart`; 1 where neither side has any."""
        judged = ~np.isin(self.neurons, self.apart)
        count = sum(
            one.size + other.size for one, other, kept in zip(self.network, self.spice, judged, strict=True) if kept
        )
        return 2.0 * int(self.matched.sum()) / count if count else 1.0

    @property
    def counts(self) -> NDArray[np.int64]:
        """(n,) by how many spikes more the network's neurons have: what a count of spikes reads out differently."""
        return np.array([one.size - other.size for one, other in zip(self.network, self.spice, strict=True)])

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "against": self.against,
            "neurons": self.neurons.tolist(),
            "inputs": self.inputs.tolist(),
            "network": [times.tolist() for times in self.network],
            "spice": [times.tolist() for times in self.spice],
            "f1": self.f1,
            "counts": self.counts.tolist(),
            "latency": self.latency.tolist(),
            "apart": list(self.apart),
        }


def check_neurons(
    answers: Answers,
    population: str,
    record: Callable[[Array], SpikeTrain],
    *,
    count: int,
    dt: float,
    rng: np.random.Generator,
    item: int = 0,
    against: str = "",
    judged: bool = True,
) -> NeuronCheck:
    """Spot check of a population of `EventNeuron`: ``count`` neurons that ``rng`` chooses, again in their circuit.

    Args:
        answers: of a run from rest that recorded the population's ``input`` and ``fired``.
        record: sends input spikes at (n + 1,) s through the circuit, the last one being where it ends, e.g.
            ``lambda inputs: NeuronBench.load(bench).record(inputs, simulator)``.
        dt: the graph's time step, in ms.
        item: which presentation.
        against: what answers, in words.
        judged: whether it is an error that no chosen neuron can be judged.

    Raises:
        InputError: where the run recorded neither, there are fewer neurons that received anything, or each chosen one
            spiked once, as its circuit did, and they are to be ``judged``.
    """
    wanted = [f"{population}.{name}" for name in ("input", "fired")]
    if missing := [name for name in wanted if name not in answers.records]:
        raise InputError(f"the run did not record {' and '.join(missing)}", remedy=f"run it with record={wanted}")
    given, fired = (answers.records[name][item] > 0.0 for name in wanted)
    driven = np.flatnonzero(given.any(axis=0))
    if not 1 <= count <= driven.size:
        raise InputError(
            f"{count} neurons of {population} cannot be checked in SPICE: {driven.size} received a spike",
            remedy="choose at least 1 and at most that many",
        )
    neurons = np.sort(rng.choice(driven, count, replace=False))
    step = MS * dt
    first = FIRST * step
    ours, theirs, pairs, late, received, apart = [], [], [], [], [], list[int]()
    for k in neurons.tolist():
        begin = int(np.argmax(given[:, k]))
        inputs = step * (np.flatnonzero(given[:, k]) - begin)
        whole = record(first + np.append(inputs, step * (given.shape[0] - begin)))
        # a circuit that is not through with a spike ends before it, and the run half a step after its last one
        end = min(whole.inputs[-1] - first, step * (given.shape[0] - begin - 0.5))
        one, other = step * (np.flatnonzero(fired[:, k]) - begin), whole.spikes - first
        one, other = one[one < end], other[other < end]
        found = []
        paced = other if other.size >= LEAST_SPIKES else one
        if paced.size >= LEAST_SPIKES:
            found = matched(other, one, MATCH * float(np.diff(paced).mean()) + 0.5 * step)
        elif other.size and one.size:
            apart.append(k)
        ours.append(one)
        theirs.append(other)
        pairs.append(len(found))
        late += [one[j] - other[i] for i, j in found]
        received.append(inputs.size)
    if judged and len(apart) == count:
        raise InputError(
            f"{_unjudged(apart)}, and no other neuron was chosen",
            remedy="run more steps, or drive the neurons faster",
        )
    return NeuronCheck(
        neurons,
        np.array(received),
        tuple(ours),
        tuple(theirs),
        np.array(pairs, dtype=np.int64),
        np.array(late),
        against,
        tuple(apart),
    )


def _unjudged(neurons: Sequence[int]) -> str:
    s, listed, its = ("", f"{neurons[0]}", "its") if len(neurons) == 1 else ("s", ", ".join(map(str, neurons)), "their")
    return (
        f"neuron{s} {listed} and {its} circuit{s} spiked once, and without an interval nothing says how near a "
        "matching spike has to be"
    )
