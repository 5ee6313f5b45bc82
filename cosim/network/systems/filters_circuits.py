"""The layer of `cosim.network.systems.filters` by neurons of circuits: surrogates of benches, each with its synapse.

Each surrogate is one neuron of the layer, with the relaxation time of its synapse and the threshold of its circuit: a
group with another relaxation time is a bench with another parameter set of the synapse, and nothing is scaled or set on
training trains. Neurons of a layer do not act on each other, so that all trains run side by side. Spikes keep so much
apart as the surrogates are certified for (`SpacedTrains`). The layer's counts are told apart as those of the other, but
for the features: each count is rectified at `LEVELS` levels, so that a few neurons tell more than two classes apart.

A spot check sends some of the test trains, chosen at random, through the circuits again. What it finds at network level
is the accuracy where the count of every neuron in every test train differs as one of those that were checked.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.network.encoders import Current
from cosim.network.event_neurons import EventNeuron, NeuronCheck, check_neurons
from cosim.network.graph import Graph, Population
from cosim.network.readout import Ridge, confusion
from cosim.network.run import Purpose, RunResult, SeedResult, Streams, System
from cosim.network.simulation import Answers, Simulation
from cosim.network.systems.filters import COUNTS, WINDOWS, accuracies_said, accuracy_table, baselines
from cosim.network.systems.filters_settings import MS, NEURONS
from cosim.network.systems.filters_trains import Trains
from cosim.surrogate.base import DomainWarning
from cosim.surrogate.model import Surrogate
from cosim.surrogate.neuron import NeuronLaw
from cosim.surrogate.neuron_bench import NeuronBench

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CIRCUITS = "circuits"
WAYS = (CIRCUITS, COUNTS, WINDOWS)
LEVELS = 12  # of each count, by its quantiles over the training trains; and windows of the input (our choice)
DRAWS = 20  # of the differences of counts (our choice)


@dataclass(frozen=True)
class SpacedTrains(Trains):
    """Trains of spikes at least ``apart`` (s) from each other: what comes sooner is moved, none is left out."""

    apart: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        most = max(self.rates) * self.duration if self.task == "rates" else self.counts[1]
        if 2.0 * most * self._gap > self.steps:
            raise InputError(
                f"{most:g} spikes in {self.duration:g} s do not keep {self._gap * self.step:.3g} s apart, as the "
                "neurons want them",
                remedy="give slower trains, or longer ones",
            )

    @property
    def _gap(self) -> int:
        return max(math.ceil(self.apart / self.step - 1e-9), 1)

    def drawn(self, each: int, rng: np.random.Generator) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """As `Trains.drawn`."""
        x, y = super().drawn(each, rng)
        for row in x:
            at = np.flatnonzero(row)
            row[at] = False
            place = self._gap * np.arange(at.size)
            later = np.maximum.accumulate(at - place) + place
            row[np.minimum(later, self.steps - 1 - place[::-1])] = True
        return x, y


@dataclass(frozen=True)
class CircuitFilters(System):
    """Both tasks by neurons of circuits; a seed draws trains anew.

    Args:
        neurons: surrogates of benches' neurons, each its own.
        tasks: what is told apart.
        spice_check: so many neurons of each seed receive a test train again in their circuit.

    Raises:
        InputError: for what is not a neuron, is not certified, or cannot be checked.
    """

    name: ClassVar[str] = "filters"

    neurons: tuple[Surrogate, ...]
    tasks: tuple[SpacedTrains, ...]
    spice_check: int = 0
    benches: tuple[NeuronBench, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.neurons or not self.tasks:
            raise InputError("a layer of circuits needs at least one neuron and one task")
        prints = Counter(neuron.fingerprint() for neuron in self.neurons)
        if max(prints.values()) > 1:
            raise InputError(
                "the same neuron stands twice in the layer, and tells nothing more",
                remedy="give each file once; a group of another relaxation time is a bench with another set",
            )
        for neuron in self.neurons:
            EventNeuron(neuron)
        pairs = len(self.neurons) * sum(len(t.classes) * t.test for t in self.tasks)
        if not 0 <= self.spice_check <= pairs:
            raise InputError(
                f"{self.spice_check} neurons cannot be checked in SPICE: there are {pairs}, with a test train each",
                remedy="give --spice-check a number from 1 to that",
            )
        benches = tuple(map(bench_of, self.neurons)) if self.spice_check else ()
        object.__setattr__(self, "benches", benches)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that the numbers depend on, but for the seed."""
        about = [
            [(neuron.fingerprint(), neuron.policy) for neuron in self.neurons],
            [asdict(trains) for trains in self.tasks],
            self.spice_check,
        ]
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    @property
    def options(self) -> Mapping[str, str]:
        """Of the command line."""
        t = self.tasks[0]
        return {
            "neurons": ", ".join(f"{one.parameters.name} {one.fingerprint()[:8]}" for one in self.neurons),
            "policy": self.neurons[0].policy, "tasks": ",".join(trains.task for trains in self.tasks),
            "train": str(t.train), "test": str(t.test), "spice_check": str(self.spice_check),
        }  # fmt: skip

    @property
    def batches(self) -> Sequence[int]:
        """Trains that each neuron answers, task by task."""
        return [len(t.classes) * (t.train + t.test) for t in self.tasks for _ in self.neurons]

    def start(self, streams: Streams) -> CircuitLayer:
        """Nothing run yet."""
        return CircuitLayer(self, streams)

    def table(self, seeds: Sequence[SeedResult]) -> dict[str, dict[str, dict[str, Any]]]:
        """`accuracy_table` of its ways."""
        return accuracy_table(self.tasks, WAYS, seeds)

    def to_dict(self, seeds: Sequence[SeedResult]) -> dict[str, Any]:
        """Neurons with their certificates, tasks and accuracies."""
        return {
            "neurons": [
                {
                    "bench": one.parameters.name, "relaxation_s": relaxation(one), "policy": one.policy,
                    "certificate": None if one.certificate is None else one.certificate.to_dict(),
                }
                for one in self.neurons
            ],
            "tasks": [asdict(trains) for trains in self.tasks],
            "accuracies": self.table(seeds),
        }  # fmt: skip

    def lines(self, seeds: Sequence[SeedResult]) -> list[str]:
        """Neurons, accuracies of each task, what left the domain, and the spot check."""
        out = []
        for one in self.neurons:
            certificate = one.certificate
            said = "not certified"
            if certificate is not None:
                said = f"certified against {certificate.against}"
                said += "".join(f"; missed: {sentence}" for sentence in certificate.broken)
            out.append(f"neuron      {one.parameters.name}, synapse of {relaxation(one) * 1e6:.3g} us; {said}")
        out += accuracies_said(self.tasks, self.table(seeds))
        for trains in self.tasks:
            spent, spikes, given = (
                np.mean([seed.values[kind][trains.task] for seed in seeds]) for kind in ("energy", "spikes", "inputs")
            )
            out.append(
                f"energy      {spent * 1e12:.3g} pJ a decision up to its last input ({trains.task}): {given:.3g} "
                f"inputs and {spikes:.3g} spikes of {len(self.neurons)} neuron{'s' * (len(self.neurons) > 1)}"
            )
        for seed in seeds:
            if count := seed.values["outside"]["events"]:
                out.append(
                    f"domain      seed {seed.seed}: the surrogate was outside of it {count} times and extrapolated, "
                    f"e.g. {seed.values['outside']['example']}"
                )
        for seed in seeds:
            if "spice_check" in seed.values:
                out.append(checked_line(seed.seed, seed.values["spice_check"], seed.values["accuracies"]))
        return out

    def figures(self, result: RunResult) -> dict[str, Figure]:
        """Accuracies, and the confusion of patterns."""
        from cosim.report.filters_figures import plot_accuracies, plot_confusion

        return {
            "accuracies": plot_accuracies(self, result.seeds),
            "confusion": plot_confusion(self, result.seeds, of=CIRCUITS),
        }


def relaxation(neuron: Surrogate) -> float:
    """s, of the facilitation that its circuit shows."""
    return cast(NeuronLaw, neuron.learned).numbers["tau"]


def bench_of(neuron: Surrogate) -> NeuronBench:
    """The circuit that a surrogate is of. Raises `InputError` where it is not there any more, or another."""
    path, name = neuron.subject.bench
    remedy = "leave out --spice-check, or train the surrogate again"
    try:
        found = NeuronBench.load(path, name)
    except InputError as error:
        raise InputError(f"the circuit of {neuron.parameters.name} is needed: {error.message}", remedy=remedy) from None
    if found.netlist() != cast(Any, neuron.parameters).netlist:
        raise InputError(f"the bench {path} is another circuit than the surrogate was learned from", remedy=remedy)
    return found


def checked_line(seed: int, found: Mapping[str, Any], accuracies: Mapping[str, Mapping[str, float]]) -> str:
    """A spot check, as in a seed's results, in words."""
    count = found["neurons"]
    f1 = "cannot be told, since their circuits spiked once" if found["f1"] is None else f"{found['f1']:.4g}"
    apart = f" ({found['apart']} of them not judged: their circuits spiked once)" if found["apart"] else ""
    moved = ", ".join(
        f"{task} by {100.0 * (share - accuracies[task][CIRCUITS]):+.2f} points"
        for task, share in found["accuracy_with_such_differences"].items()
    )
    return (
        f"spice check seed {seed}: {count} neuron{'s' * (count > 1)} with a test train each in {found['against']}: "
        f"{found['spikes']['network']} spikes for {found['spikes']['spice']}, F1 {f1}{apart}, counts off by "
        f"{found['largest_count']} at most; such differences in every count change {moved}"
    )


class CircuitLayer:
    """The layer of one seed, neuron by neuron."""

    def __init__(self, system: CircuitFilters, streams: Streams) -> None:
        self.system, self.streams = system, streams
        self.found: dict[str, NDArray[Any]] = {}
        self.outside, self.example = 0, ""  # how often a surrogate left its domain, and how at first

    @cached_property
    def works(self) -> list[tuple[SpacedTrains, int]]:
        """Task and neuron of each batch."""
        return [(trains, k) for trains in self.system.tasks for k in range(len(self.system.neurons))]

    def learn(self, batch: int) -> None:
        """Let a neuron answer all trains of a task."""
        trains, k = self.works[batch]
        for name, (x, _) in self._sets(trains).items():
            made, answers = self._run(trains, k, x)
            place = f"{trains.task}/{k}/{name}"
            self.found[f"{place}/counts"] = answers.counts[NEURONS][0]
            self.found[f"{place}/energy"] = made.neurons[NEURONS]["energy"].copy()

    def _sets(self, trains: SpacedTrains) -> dict[str, tuple[NDArray[np.bool_], NDArray[np.int64]]]:
        """Training and test trains, the same for every neuron."""
        place = tuple(trains.task.encode())
        return {
            "train": trains.drawn(trains.train, self.streams(Purpose.LEARN, *place)),
            "test": trains.drawn(trains.test, self.streams(Purpose.EVALUATE, *place)),
        }

    def _run(
        self, trains: SpacedTrains, k: int, x: NDArray[np.bool_], *, record: Sequence[str] = ()
    ) -> tuple[Simulation, Answers]:
        """A neuron for each of the trains (trains, steps), all at rest."""
        layer = Population(NEURONS, len(x), EventNeuron(self.system.neurons[k]), Current())
        made = Simulation(Graph((layer,), (), trains.step / MS), backend="numpy")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DomainWarning)
            answers = made.run({NEURONS: x.T[None]}, steps=x.shape[1], key=0, record=record)
        for one in caught:
            if not issubclass(one.category, DomainWarning):
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
            elif not record:  # a spot check repeats trains
                self.outside, self.example = self.outside + 1, self.example or str(one.message)
        return made, answers

    def _counts(self, task: str, name: str) -> Array:
        """(trains, neurons)."""
        many = range(len(self.system.neurons))
        return np.stack([self.found[f"{task}/{k}/{name}/counts"] for k in many], axis=1).astype(float)

    def evaluate(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Fit on training trains, test once; energy of a decision; the spot check."""
        system = self.system
        accuracies, energy, spikes, inputs = dict[str, Any](), dict[str, Any](), dict[str, Any](), dict[str, Any]()
        arrays, read = dict[str, Any](), dict[str, Callable[[Array], NDArray[np.int64]]]()
        for trains in system.tasks:
            task, sets = trains.task, self._sets(trains)
            (x, y), (tested, truth) = sets["train"], sets["test"]
            classes = len(trains.classes)
            train, test = (self._counts(task, name) for name in sets)
            read[task] = read_out(train, y, classes=classes)
            others = baselines(x, tested, size=LEVELS).items()
            answers = {way: Ridge.fit(a, y, classes=classes)(b).argmax(axis=1) for way, (a, b) in others}
            answers[CIRCUITS] = read[task](test)
            accuracies[task] = {way: float(np.mean(a == truth)) for way, a in answers.items()}
            arrays[f"{task}_confusion"] = confusion(truth, answers[CIRCUITS], classes=classes)
            spikes[task], inputs[task] = float(test.sum(axis=1).mean()), float(tested.sum(axis=1).mean())
            spent = [self.found[f"{task}/{k}/test/energy"] for k in range(len(system.neurons))]
            energy[task] = float(np.sum(spent, axis=0).mean())
        values = {
            "accuracy": accuracies[system.tasks[-1].task][CIRCUITS], "accuracies": accuracies, "spikes": spikes,
            "inputs": inputs, "energy": energy,
        }  # fmt: skip
        if system.spice_check:
            values["spice_check"] = self._checked(read)
        return {**values, "outside": {"events": self.outside, "example": self.example}}, arrays

    def _checked(self, read: Mapping[str, Callable[[Array], NDArray[np.int64]]]) -> dict[str, Any]:
        """The chosen neurons with their test trains in SPICE, and what the read-outs make of such differences."""
        from cosim.engines.registry import open_simulator

        system, rng = self.system, self.streams(Purpose.CHECK)
        sizes = [len(trains.classes) * trains.test for trains, _ in self.works]
        chosen = rng.multivariate_hypergeometric(sizes, system.spice_check)
        checks: list[tuple[str, int, NeuronCheck]] = []
        with open_simulator() as simulator:
            for (trains, k), count in zip(self.works, chosen.tolist(), strict=True):
                if not count:
                    continue
                record = [f"{NEURONS}.input", f"{NEURONS}.fired"]
                _, answers = self._run(trains, k, self._sets(trains)["test"][0], record=record)
                found = check_neurons(
                    answers, NEURONS, partial(system.benches[k].record, simulator=simulator), count=count,
                    dt=trains.step / MS, rng=rng, against=simulator.version(), judged=False,
                )  # fmt: skip
                checks.append((trains.task, k, found))
        off = np.concatenate([found.counts for _, _, found in checks])
        shares = {}
        for trains in system.tasks:
            truth, counts = self._sets(trains)["test"][1], self._counts(trains.task, "test")
            moved = (np.maximum(counts - rng.choice(off, counts.shape), 0.0) for _ in range(DRAWS))
            right = [np.mean(read[trains.task](other) == truth) for other in moved]
            shares[trains.task] = float(np.mean(right))
        return {**summary([found for _, _, found in checks]), "accuracy_with_such_differences": shares,
                "checks": [{"task": task, "neuron": k, **found.to_dict()} for task, k, found in checks]}  # fmt: skip

    def state(self) -> dict[str, NDArray[Any]]:
        """All answers so far, beside an empty one of each that is to come."""
        names = [f"{t.task}/{k}/{name}/{part}" for t, k in self.works for name in ("train", "test")
                 for part in ("counts", "energy")]  # fmt: skip
        found = {name.replace("/", "|"): np.copy(self.found.get(name, np.empty(0))) for name in names}
        return {**found, "outside": np.array(self.outside), "example": np.array(self.example)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `state`."""
        self.outside, self.example = int(state["outside"]), str(state["example"])
        self.found = {n.replace("|", "/"): x.copy() for n, x in state.items() if x.size and "|" in n}


def read_out(counts: Array, truth: NDArray[np.int64], *, classes: int) -> Callable[[Array], NDArray[np.int64]]:
    """What gives the classes (trains,) of counts (trains, neurons), from those of the training trains."""
    levels = np.quantile(counts, np.linspace(0.0, 1.0, LEVELS, endpoint=False), axis=0).T

    def features(some: Array) -> Array:
        found: Array = np.maximum(some[:, :, None] - levels, 0.0)
        return found.reshape(len(some), -1)

    line = Ridge.fit(features(counts), truth, classes=classes)
    return lambda some: line(features(some)).argmax(axis=1)


def summary(checks: Sequence[NeuronCheck]) -> dict[str, Any]:
    """Several checks together, as JSON values; ``f1`` is None where none of their neurons can be judged."""
    spikes = {"network": 0, "spice": 0}
    judged, matched = 0, 0
    for check in checks:
        for k, one, other, pairs in zip(check.neurons, check.network, check.spice, check.matched, strict=True):
            spikes["network"] += one.size
            spikes["spice"] += other.size
            if k not in check.apart:
                judged, matched = judged + one.size + other.size, matched + int(pairs)
    apart, count = sum(len(check.apart) for check in checks), sum(check.neurons.size for check in checks)
    latency = np.concatenate([check.latency for check in checks])
    return {
        "against": checks[0].against,
        "neurons": count,
        "apart": apart,
        "spikes": spikes,
        "f1": None if apart == count else 2.0 * matched / judged if judged else 1.0,
        "largest_count": int(max(np.max(np.abs(check.counts)) for check in checks)),
        "largest_latency_s": float(np.max(np.abs(latency))) if latency.size else None,
    }
