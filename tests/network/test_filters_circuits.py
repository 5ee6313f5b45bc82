"""The layer of temporal filters by neurons of circuits: trains that keep apart, what is refused, and the spot check."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from claims.exports_subjects import SUBJECTS
from cosim.cli.app import main
from cosim.errors import DomainError, InputError
from cosim.network.run import Streams, run_network
from cosim.network.systems import filters_circuits
from cosim.network.systems.filters_circuits import CIRCUITS, CircuitFilters, CircuitLayer, SpacedTrains, checked_line
from cosim.network.systems.filters_trains import Trains
from cosim.surrogate.files import save
from cosim.surrogate.model import Surrogate
from cosim.surrogate.neuron import NeuronLaw, SpikeTrain, run_neurons, spikes_of

TRAINS = SpacedTrains("patterns", duration=10e-6, counts=(8, 10), train=3, test=3, apart=7e-8)


@pytest.fixture(scope="module")
def lif() -> Surrogate:
    (subject,) = (one for one in SUBJECTS if one.name == "lif neuron")
    return subject.plain().with_(uncertified=True)


@pytest.fixture(scope="module")
def system(lif: Surrogate) -> CircuitFilters:
    return CircuitFilters((lif.with_(policy="warn"),), (TRAINS,))


def test_spikes_keep_apart_and_none_is_lost() -> None:
    for task in ("patterns", "rates"):
        plain, rng = Trains(task, train=20), (np.random.default_rng(0), np.random.default_rng(0))
        spaced = SpacedTrains(task, train=20, apart=7e-8)
        (x, y), (z, same) = plain.drawn(20, rng[0]), spaced.drawn(20, rng[1])
        assert np.array_equal(y, same)
        assert np.array_equal(x.sum(axis=1), z.sum(axis=1))
        assert min(int(np.min(np.diff(np.flatnonzero(row)), initial=99)) for row in z) == 4  # of 20 ns: 80 ns
        # what was apart stays where it was
        alone = [row for row in x if np.all(np.diff(np.flatnonzero(row)) >= 4)]
        assert alone
        assert all(any(np.array_equal(row, other) for other in z) for row in alone)
    with pytest.raises(InputError, match=r"180 spikes in 4e-05 s do not keep 2e-07 s apart"):
        SpacedTrains("rates", apart=2e-7)


def test_a_neuron_answers_all_trains_as_its_law_does(system: CircuitFilters, tmp_path: Path) -> None:
    layer = CircuitLayer(system, Streams(0))
    layer.learn(0)
    (x, _) = layer._sets(TRAINS)["test"]
    counts = layer.found["patterns/0/test/counts"]
    law = system.neurons[0].learned
    assert isinstance(law, NeuronLaw)
    for row, count in zip(x, counts, strict=True):
        inputs = TRAINS.step * np.append(np.flatnonzero(row), TRAINS.steps)
        spikes = of_law(law, inputs).spikes  # what falls next to the end of the train is in no time step
        assert np.count_nonzero(spikes < (TRAINS.steps - 0.5) * TRAINS.step) == count
    assert counts.sum() > 10
    again = CircuitLayer(system, Streams(0))
    again.restore(layer.state())
    assert json.dumps(again.evaluate()[0]) == json.dumps(layer.evaluate()[0])
    result = run_network(system, folder=tmp_path)
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["accuracies"]["patterns"][CIRCUITS]["mean"] == result.mean
    assert written["neurons"][0]["relaxation_s"] == law.numbers["tau"]
    assert set(result.figures()) == {"accuracies", "confusion"}
    assert any("pJ a decision up to its last input" in line for line in result.lines())


def of_law(law: NeuronLaw, inputs: np.ndarray) -> SpikeTrain:
    """What a circuit that follows the law gives."""
    none = np.zeros(2)
    empty = SpikeTrain(inputs, inputs[[0, -1]], none, none, none[:0], none[:0], none[:0], kick=5e-9)
    spikes = spikes_of(empty, run_neurons(law, [empty])[0])
    return replace(empty, spikes=spikes, reset=spikes, ready=spikes)


class Circuit:
    """Stands for a bench: follows a law, and not always that of the surrogate."""

    def __init__(self, law: NeuronLaw) -> None:
        self.law, self.asked = law, 0

    def record(self, inputs: np.ndarray, simulator: object) -> SpikeTrain:
        self.asked += 1
        return of_law(self.law, inputs)


class Simulator:
    def version(self) -> str:
        return "a simulator"


@contextmanager
def opened() -> Iterator[Simulator]:
    yield Simulator()


def checked(lif: Surrogate, law: NeuronLaw, monkeypatch: pytest.MonkeyPatch) -> tuple[dict, CircuitFilters, Circuit]:
    circuit = Circuit(law)
    monkeypatch.setattr(filters_circuits, "bench_of", lambda neuron: circuit)
    monkeypatch.setattr("cosim.engines.registry.open_simulator", opened)
    system = CircuitFilters((lif.with_(policy="warn"),), (TRAINS,), spice_check=4)
    (seed,) = run_network(system).seeds
    return seed.values["spice_check"] | {"before": seed.values["accuracies"]}, system, circuit


def test_a_spot_check_says_what_such_differences_do(lif: Surrogate, monkeypatch: pytest.MonkeyPatch) -> None:
    law = lif.learned
    assert isinstance(law, NeuronLaw)
    found, _, circuit = checked(lif, law, monkeypatch)
    assert circuit.asked == found["neurons"] == 4
    assert found["f1"] == 1.0
    assert found["spikes"]["network"] == found["spikes"]["spice"] > 0
    assert found["accuracy_with_such_differences"]["patterns"] == pytest.approx(found["before"]["patterns"][CIRCUITS])
    deaf = replace(law, flow=replace(law.flow, edge=law.flow.edge + 0.1))
    other, _, _ = checked(lif, deaf, monkeypatch)
    assert other["largest_count"] > 0
    assert other["spikes"]["network"] == found["spikes"]["network"] > other["spikes"]["spice"]  # the same ones
    said = checked_line(0, other, other["before"])
    assert said.startswith("spice check seed 0: 4 neurons with a test train each in a simulator: ")
    assert f"counts off by {other['largest_count']} at most" in said


def test_what_cannot_be_a_layer_is_refused(lif: Surrogate) -> None:
    with pytest.raises(InputError, match=r"the surrogate of lif has no certificate; .* take --uncertified"):
        CircuitFilters((lif.with_(uncertified=False),), (TRAINS,))
    with pytest.raises(InputError, match="the same neuron stands twice in the layer"):
        CircuitFilters((lif, lif), (TRAINS,))
    with pytest.raises(InputError, match=r"19 neurons cannot be checked in SPICE: there are 18, with a test train"):
        CircuitFilters((lif,), (TRAINS,), spice_check=19)
    with pytest.raises(InputError, match=r"is needed: .*; leave out --spice-check"):
        CircuitFilters((lif,), (TRAINS,), spice_check=1)  # it is of no bench
    slow = SpacedTrains("rates", rates=(0.1e6, 0.2e6), train=3, test=3, apart=7e-8)
    with pytest.raises(DomainError, match="the policy 'warn'"):  # it was tested up to 3 us between two inputs
        run_network(CircuitFilters((lif,), (slow,)))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--spice-check", "2"], "--spice-check has no meaning without --neurons"),
        (["--policy", "warn"], "--policy has no meaning without --neurons"),
        (["--neurons", "LIF", "--shares", "0.1"], "--shares has no meaning with --neurons"),
        (["--neurons", "LIF", "--policy", "ask"], "unknown policy 'ask' outside the domain"),
        (["--neurons", "LIF"], "has no certificate"),
        (["--neurons", "CELL"], "is not of a neuron"),
        (["--neurons", "missing.npz"], "there is no surrogate file missing.npz"),
    ],
)
def test_bad_input(
    words: list[str], message: str, lif: Surrogate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from cosim.parameters import ParameterSet

    files = {"LIF": lif, "CELL": Surrogate(ParameterSet.load("tio2"))}
    words = [str(save(files[word], tmp_path / f"{word}.npz")) if word in files else word for word in words]
    assert main(["network", "run", "filters", "-o", str(tmp_path / "out"), *words]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert message in shown
