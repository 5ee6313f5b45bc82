"""Neurons of a circuit in a network: the surrogate of a bench, step by step, and again in its circuit."""

from dataclasses import replace
from types import SimpleNamespace as Named

import numpy as np
import pytest

from claims.exports_subjects import SUBJECTS
from cosim.devices.base import Values
from cosim.errors import EmitError, InputError
from cosim.network import (
    EventNeuron,
    Graph,
    Ideal,
    NeuronCheck,
    Population,
    Projection,
    Rate,
    Regular,
    Simulation,
    check_neurons,
)
from cosim.parameters import ParameterSet
from cosim.surrogate.model import Surrogate
from cosim.surrogate.neuron import NeuronLaw, SpikeTrain, run_neurons, spikes_of

DT = 1e-6  # ms: a nanosecond


@pytest.fixture(scope="module")
def lif() -> Surrogate:
    (subject,) = (one for one in SUBJECTS if one.name == "lif neuron")
    return subject.plain().with_(uncertified=True)


def wired(lif: Surrogate, *, size: int = 3, backend: str = "auto") -> Simulation:
    sources = Population("sources", size, Regular(), Rate(rate=4e6))
    neurons = Population("neurons", size, EventNeuron(lif))
    one_to_one = Projection("sources", "neurons", Ideal(), np.ones((size, size)), mask=np.eye(size, dtype=bool))
    return Simulation(Graph((sources, neurons), (one_to_one,), dt=DT), backend=backend)


def train(inputs: np.ndarray, law: NeuronLaw) -> SpikeTrain:
    """What a circuit that follows the law gives."""
    none = np.zeros(2)
    empty = SpikeTrain(inputs, np.array([0.0, inputs[-1]]), none, none, np.zeros(0), np.zeros(0), np.zeros(0),
                       kick=5e-9)  # fmt: skip
    spikes = spikes_of(empty, run_neurons(law, [empty])[0])
    return SpikeTrain(inputs, empty.time, none, none, spikes, spikes, spikes, kick=5e-9)


def test_a_population_follows_its_surrogate_between_its_time_steps(lif: Surrogate) -> None:
    made = wired(lif, size=2)
    assert made.backend == "numpy"
    steps = 4000
    at = [np.array([100, 300, 420, 800, 1500, 1700, 3000]), np.array([0, 250, 260 + 100, 700])]
    model, p = EventNeuron(lif), Named(**EventNeuron(lif).parameters(DT))
    x = {name: np.full(2, value) for name, value in model.states.items()}
    fired = []
    for k in range(steps):
        after, above = model.step(Named(**x), np.array([float(k in inputs) for inputs in at]), p)
        spikes = np.flatnonzero(np.asarray(above) > 0.0)
        for name, value in model.spiked(Named(**after), p).items():
            after[name][spikes] = value
        fired += [(k, int(n)) for n in spikes]
        x = after
    law = lif.learned
    assert isinstance(law, NeuronLaw)
    for n, inputs in enumerate(at):
        wanted = train(1e-9 * np.append(inputs, steps), law).spikes
        found = 1e-9 * np.array([k for k, which in fired if which == n])
        assert found.size == wanted.size > 0
        assert np.max(np.abs(found - wanted)) <= 0.501e-9  # half a time step
        # the states are the surrogate's at the last input
        state = Values({name: np.full(1, value) for name, value in model.states.items() if name in lif.map.states})
        for interval in 1e-9 * np.diff(inputs):
            state = lif.step(state, Values({"interval": np.full(1, interval)}))[0]
        for name, value in state.items():
            assert x[name][n] == pytest.approx(value[0], abs=1e-12)


def test_a_spot_check_finds_what_differs(lif: Surrogate) -> None:
    made = wired(lif)
    rates = {"sources": np.array([[1.0, 0.7, 0.0]])}
    law = lif.learned
    assert isinstance(law, NeuronLaw)
    with pytest.raises(InputError, match=r"did not record neurons.input and neurons.fired; run it with record="):
        check_neurons(made.run(rates, steps=10, key=1), "neurons", lambda t: train(t, law), count=1, dt=DT,
                      rng=np.random.default_rng(0))  # fmt: skip
    made = wired(lif)
    answers = made.run(rates, steps=20000, key=1, record=["neurons.input", "neurons.fired"])

    def check(count: int, made_of: NeuronLaw) -> NeuronCheck:
        return check_neurons(answers, "neurons", lambda t: train(t, made_of), count=count, dt=DT,
                             rng=np.random.default_rng(0))  # fmt: skip

    same = check(2, law)
    assert same.f1 == 1.0
    assert same.neurons.tolist() == [0, 1]
    assert np.max(np.abs(same.latency)) <= 0.501e-9
    deaf = replace(law, flow=replace(law.flow, edge=law.flow.edge + 0.1))
    other = check(2, deaf)
    assert other.f1 < 0.9
    assert np.all(other.counts > 0)
    with pytest.raises(InputError, match="3 neurons of neurons cannot be checked in SPICE: 2 received a spike"):
        check(3, law)


def test_one_spike_against_one_is_not_matched_and_that_is_said(lif: Surrogate) -> None:
    fired = np.zeros((1, 1000, 2))
    fired[0, 400, 0] = fired[0, [300, 500, 700], 1] = 1.0
    given = np.zeros((1, 1000, 2))
    given[0, 0] = 1.0
    answers = wired(lif, size=2).run({"sources": np.ones((1, 2))}, steps=1000, key=1)
    answers = replace(answers, records={"neurons.input": given, "neurons.fired": fired})

    def check(*circuit: list[float]) -> NeuronCheck:
        """Against circuits that spike at so many ns after the first input."""
        left = iter(circuit)

        def record(inputs: np.ndarray) -> SpikeTrain:
            spikes = inputs[0] + 1e-9 * np.array(next(left))
            still = np.zeros(2)
            return SpikeTrain(inputs, np.array([0.0, inputs[-1]]), still, still, spikes, spikes, spikes, kick=5e-9)

        return check_neurons(answers, "neurons", record, count=2, dt=DT, rng=np.random.default_rng(0))

    found = check([900.0], [300.0, 500.0, 700.0])
    assert found.apart == (0,)
    assert found.f1 == 1.0  # of the other
    assert str(found) == (
        "F1 1 of 1 neurons against their circuit; neuron 0 and its circuit spiked once, and without an interval "
        "nothing says how near a matching spike has to be"
    )
    # a neuron that spikes more often than its circuit is judged: by its own interval of 200 ns
    surplus = check([900.0], [509.0])
    assert surplus.apart == (0,)
    assert surplus.matched.tolist() == [0, 1]
    assert surplus.counts.tolist() == [0, 2]
    assert surplus.f1 == pytest.approx(2.0 / (3 + 1))
    far = check([400.0, 600.0], [620.0])
    assert far.apart == ()
    assert far.matched.tolist() == [1, 0]
    assert far.f1 == pytest.approx(2.0 / (1 + 2 + 3 + 1))
    fired[0, [300, 700], 1] = 0.0
    with pytest.raises(InputError, match=r"no other neuron was chosen; run more steps, or drive"):
        check([900.0], [500.0])


def test_what_is_not_a_neuron_of_a_circuit_is_refused(lif: Surrogate) -> None:
    with pytest.raises(InputError, match="is not of a neuron; train one of a bench"):
        EventNeuron(Surrogate(ParameterSet.load("tio2")))
    with pytest.raises(EmitError, match="no compiled form"):
        wired(lif, backend="numba")
