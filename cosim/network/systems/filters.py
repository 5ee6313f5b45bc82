"""A layer of delay-feedback LIF neurons whose synapses facilitate at different time constants, as temporal filters.

One input reaches every neuron through an ECRAM synapse of its own (arXiv 2605.11243): a spike lowers its resistance,
which relaxes, so that the next spike counts by how long ago the last ones were. A neuron is held for the delay of its
feedback after a spike. Neurons of one group differ in their thresholds, which are set on training trains alone, so
that they give wanted numbers of spikes (`FilterSettings.shares`), with and without facilitation alike.

The layer's spike counts are told apart by a ridge regression, beside which stand the same regression on

* ``without STP``: the same layer, whose spikes move no synapse, so that its groups are alike;
* ``other membranes``: without STP as well, but the leaks of its groups differ as the synapses did;
* ``both``: synapses and leaks of the groups differ;
* ``raw counts``: the number of input spikes, rectified at as many levels as there are neurons;
* ``counts in windows``: input spikes in as many windows of equal length.

Of two tasks (`cosim.network.systems.filters_trains`) the rates are told by a count, and the patterns are not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.network.readout import Ridge, confusion
from cosim.network.run import Purpose, RunResult, SeedResult, Streams, System
from cosim.network.simulation import Simulation
from cosim.network.systems.filters_energy import SEED, NeuronEnergy, conductances, to_dict
from cosim.network.systems.filters_settings import INPUT, NEURONS, FilterSettings, corner, response
from cosim.network.systems.filters_trains import Trains

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Ints = NDArray[np.int64]
WITH, WITHOUT, MEMBRANES, BOTH = LAYERS = ("with STP", "without STP", "other membranes", "both")
COUNTS, WINDOWS = ("raw counts", "counts in windows")
WAYS = (*LAYERS, COUNTS, WINDOWS)
RATES = np.geomspace(0.02e6, 20e6, 31)  # Hz, of the measured responses
HALVINGS = 10  # of the range in which a threshold is looked for
HIGHEST = 1e3  # of a threshold, in weights at rest
SET_ON = 60  # training trains on which thresholds are set, at most
REGULAR_RATES = np.geomspace(0.3e6, 12.5e6, 16)  # Hz, to the nearest whole interval
REGULAR = 30  # spikes of a regular train by which a neuron's response is measured


@dataclass(frozen=True)
class FiltersSystem(System):
    """Both tasks by the same layer; a seed draws trains anew.

    >>> from cosim.network.systems.filters_settings import FilterSettings
    >>> from cosim.network.systems.filters_trains import Trains
    >>> small = FilterSettings(scales=(0.3, 3.0), shares=(0.3, 0.1))
    >>> system = FiltersSystem(small, (Trains("patterns", train=10, test=10),), backend="numpy")
    >>> cosim.run_network(system).mean > 2 / 6  # a guess gets one of six
    True
    """

    name: ClassVar[str] = "filters"

    settings: FilterSettings
    tasks: tuple[Trains, ...]
    energy: NeuronEnergy | None = None
    backend: str = "auto"

    def __post_init__(self) -> None:
        names = [trains.task for trains in self.tasks]
        if not names or len(set(names)) < len(names):
            raise InputError(f"a layer needs different tasks, not {', '.join(names) or 'none'}")

    @cached_property
    def works(self) -> tuple[tuple[Trains, str], ...]:
        """Task and way of each layer that is run."""
        return tuple((trains, way) for trains in self.tasks for way in LAYERS)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that the numbers depend on, but for the seed."""
        about = [self.settings.fingerprint(), [asdict(trains) for trains in self.tasks],
                 None if self.energy is None else to_dict(self.energy)]  # fmt: skip
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    @property
    def options(self) -> Mapping[str, str]:
        """Of the command line."""
        s, t = self.settings, self.tasks[0]
        return {
            "tasks": ",".join(trains.task for trains in self.tasks), "parameters": s.parameters,
            "scales": str(s.scales), "shares": str(s.shares), "train": str(t.train), "test": str(t.test),
            "energy": "measured" if self.energy else "none",
        }  # fmt: skip

    @property
    def batches(self) -> Sequence[int]:
        """Trains of each layer, and those by which its response is measured."""
        return [len(t.classes) * (t.train + t.test) for t, _ in self.works]

    def start(self, streams: Streams) -> FilterLayers:
        """Nothing run yet."""
        return FilterLayers(self, streams)

    def to_dict(self, seeds: Sequence[SeedResult]) -> dict[str, Any]:
        """Settings, accuracies with their deviations, energy, and what each synapse passes."""
        return {
            "settings": asdict(self.settings),
            "tasks": [asdict(trains) for trains in self.tasks],
            "accuracies": self.table(seeds),
            "neuron_energy": None if self.energy is None else to_dict(self.energy),
            "relaxation_s": self.settings.taus().tolist(),
            "corner_Hz": corner(self.settings, RATES).tolist(),
            "rates_Hz": RATES.tolist(),
            "synapses_over_rest": response(self.settings, RATES).T.tolist(),
        }

    def table(self, seeds: Sequence[SeedResult]) -> dict[str, dict[str, dict[str, Any]]]:
        """`accuracy_table` of its ways."""
        return accuracy_table(self.tasks, WAYS, seeds)

    def lines(self, seeds: Sequence[SeedResult]) -> list[str]:
        """Accuracies of each task, corners of the synapses, and energy."""
        s = self.settings
        corners = ", ".join(
            f"{f * 1e-6:.3g} MHz at {t * 1e6:.3g} us"
            for f, t in zip(corner(s, RATES), s.taus(), strict=True)
        )  # fmt: skip
        out = [f"layer       {s.size} neurons; {s.parameter_set.name}; synapses half open at {corners}"]
        out += accuracies_said(self.tasks, self.table(seeds))
        if self.energy is not None:
            for trains in self.tasks:
                spent = np.mean([seed.values["energy"][trains.task] for seed in seeds])
                spikes = np.mean([seed.values["spikes"][trains.task][WITH] for seed in seeds])
                fired = np.mean([seed.values["circuit_spikes"][trains.task] for seed in seeds])
                out.append(
                    f"energy      {spent * 1e12:.3g} pJ a decision ({trains.task}) of {s.size} neurons in "
                    f"{trains.duration * 1e6:g} us; circuits give {fired:.3g} spikes, the layer {spikes:.3g}"
                )
                beyond = np.mean([seed.values["energy_beyond"][trains.task] for seed in seeds])
                out.append(
                    f"            {beyond:.1%} of the neurons and trains are outside of what the certificate covers"
                )
            out.append(f"            {self.energy.certificate.line()}")
        else:
            out.append("energy      not measured (--no-energy)")
        return out

    def thresholds(self, seed: int = SEED) -> dict[str, Array]:
        """(neurons,) by task, as the layer with STP sets them on a seed's training trains."""
        layers = FilterLayers(self, Streams(seed))
        return {
            trains.task: layers._thresholds(trains, layers._sets(trains)["train"][0][:SET_ON], WITH)
            for trains in self.tasks
        }

    def figures(self, result: RunResult) -> dict[str, Figure]:
        """Responses of synapses and neurons, accuracies, and the confusion of patterns."""
        from cosim.report.filters_figures import filters_figures

        return filters_figures(self, result.seeds)


class FilterLayers:
    """The layers of one seed, one after the other."""

    def __init__(self, system: FiltersSystem, streams: Streams) -> None:
        self.system, self.streams = system, streams
        self.found: dict[str, NDArray[Any]] = {}
        self._first: dict[float, Simulation] = {}  # by the time step; the layers differ in values alone

    def learn(self, batch: int) -> None:
        """Set a layer's thresholds on training trains, and let it answer all trains and the regular ones."""
        trains, way = self.system.works[batch]
        s = self.system.settings
        sets = self._sets(trains)
        thresholds = self._thresholds(trains, sets["train"][0][:SET_ON], way)
        layer = self._made(thresholds, trains, way)
        place = f"{trains.task}/{way}"
        self.found[f"{place}/thresholds"] = thresholds
        for name, (x, _) in sets.items():
            self.found[f"{place}/{name}"] = self._answers(layer, x, s.pause(trains.step))
        if trains is self.system.tasks[-1] and way in (WITH, WITHOUT):
            rates, regular = regular_trains(trains)
            self.found[f"{way}/response"] = np.stack([
                self._answers(layer, x[None], s.pause(trains.step))[0] / max(int(x.sum()), 1) for x in regular
            ])  # fmt: skip
            self.found["response_rates"] = rates

    def _sets(self, trains: Trains) -> dict[str, tuple[NDArray[np.bool_], Ints]]:
        """Training and test trains, the same for every way."""
        place = tuple(trains.task.encode())
        return {
            "train": trains.drawn(trains.train, self.streams(Purpose.LEARN, *place)),
            "test": trains.drawn(trains.test, self.streams(Purpose.EVALUATE, *place)),
        }

    def _made(self, thresholds: Array, trains: Trains, way: str) -> Simulation:
        graph = self.system.settings.graph(
            thresholds, stp=way in (WITH, BOTH), step=trains.step, membranes=way in (MEMBRANES, BOTH)
        )  # fmt: skip
        made = Simulation(graph, backend=self.system.backend, like=self._first.get(trains.step))
        self._first.setdefault(trains.step, made)
        return made

    def _answers(self, layer: Simulation, spikes: NDArray[np.bool_], pause: float) -> Ints:
        """(trains, neurons) spike counts."""
        run = layer.run({INPUT: spikes[:, :, None]}, steps=spikes.shape[1], key=0, fresh=True, gap=pause)
        return run.counts[NEURONS]

    def _thresholds(self, trains: Trains, spikes: NDArray[np.bool_], way: str) -> Array:
        """(neurons,) by halving the range on a logarithmic scale: the more, the fewer spikes."""
        s = self.system.settings
        low, high = np.zeros(s.size), np.full(s.size, np.log(HIGHEST))
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            counts = self._answers(self._made(np.exp(middle), trains, way), spikes, s.pause(trains.step))
            many = counts.sum(axis=0) > s.share_of * spikes.sum()
            low, high = np.where(many, middle, low), np.where(many, high, middle)
        found: Array = np.exp(0.5 * (low + high))
        return found

    def evaluate(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Fit on training trains, test once; energy of a decision."""
        system = self.system
        accuracies, energy, spikes, arrays = dict[str, Any](), dict[str, Any](), dict[str, Any](), dict[str, Any]()
        beyond, fired = dict[str, float](), dict[str, float]()
        for trains in system.tasks:
            sets = self._sets(trains)
            (x, y), (tested, truth) = sets["train"], sets["test"]
            classes = len(trains.classes)
            features = {
                way: (
                    np.sqrt(self.found[f"{trains.task}/{way}/train"]),
                    np.sqrt(self.found[f"{trains.task}/{way}/test"]),
                )
                for way in LAYERS
            }
            features |= baselines(x, tested, size=system.settings.size)
            answers = {way: Ridge.fit(a, y, classes=classes)(b).argmax(axis=1) for way, (a, b) in features.items()}
            accuracies[trains.task] = {way: float(np.mean(a == truth)) for way, a in answers.items()}
            arrays[f"{trains.task}_confusion"] = confusion(truth, answers[WITH], classes=classes)
            for way in LAYERS:
                counts = self.found[f"{trains.task}/{way}/test"]
                spikes.setdefault(trains.task, {})[way] = float(counts.sum(axis=1).mean())
            if system.energy is not None:
                s, thresholds = system.settings, self.found[f"{trains.task}/{WITH}/thresholds"]
                found = conductances(s, tested, trains.step, np.array(s.scales)).repeat(len(s.shares), axis=-1)
                drawn = system.energy.of(found, thresholds, trains.step)
                energy[trains.task], fired[trains.task] = (float(x.sum(axis=1).mean()) for x in drawn)
                taus = s.taus().repeat(len(s.shares))
                beyond[trains.task] = system.energy.beyond(tested, thresholds, taus, trains.step)
        arrays |= {
            "rates": self.found["response_rates"], "response_with": self.found[f"{WITH}/response"],
            "response_without": self.found[f"{WITHOUT}/response"],
        }  # fmt: skip
        last = system.tasks[-1].task
        values = {"accuracy": accuracies[last][WITH], "accuracies": accuracies, "spikes": spikes}
        return values | (
            {"energy": energy, "energy_beyond": beyond, "circuit_spikes": fired} if system.energy is not None else {}
        ), arrays

    def state(self) -> dict[str, NDArray[Any]]:
        """All answers so far, beside an empty one of each that is to come."""
        names = [f"{t.task}/{way}/{part}" for t, way in self.system.works for part in ("train", "test", "thresholds")]
        names += [f"{way}/response" for way in (WITH, WITHOUT)] + ["response_rates"]
        return {name.replace("/", "|"): np.copy(self.found.get(name, np.empty(0))) for name in names}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `state`."""
        self.found = {name.replace("|", "/"): x.copy() for name, x in state.items() if x.size}


def accuracy_table(
    tasks: Sequence[Trains], ways: Sequence[str], seeds: Sequence[SeedResult]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Mean and deviation (n − 1; None of one seed) of the test accuracies by task and way."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for trains in tasks:
        for way in ways:
            shares = np.array([seed.values["accuracies"][trains.task][way] for seed in seeds])
            deviation = float(np.std(shares, ddof=1)) if len(seeds) > 1 else None
            found.setdefault(trains.task, {})[way] = {"mean": float(shares.mean()), "deviation": deviation}
    return found


def accuracies_said(tasks: Sequence[Trains], table: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """An `accuracy_table` in words, a task per line."""
    out = []
    for trains in tasks:
        said = [
            f"{way} {100 * x['mean']:.1f}" + ("" if x["deviation"] is None else f" ± {100 * x['deviation']:.1f}")
            for way, x in table[trains.task].items()
        ]
        out.append(f"{trains.task:<11} {', '.join(said)} % (chance {100 / len(trains.classes):.1f})")
    return out


def baselines(x: NDArray[np.bool_], tested: NDArray[np.bool_], *, size: int) -> dict[str, tuple[Array, Array]]:
    """Features of training trains ``x`` and of those ``tested`` that no synapse has a part in, as many as neurons."""
    levels = np.quantile(x.sum(axis=1), np.linspace(0.0, 1.0, size, endpoint=False))
    return {
        COUNTS: (rectified(x, levels), rectified(tested, levels)),
        WINDOWS: (windows(x, size), windows(tested, size)),
    }


def regular_trains(trains: Trains) -> tuple[Array, list[NDArray[np.bool_]]]:
    """Rates (Hz) and trains of `REGULAR` evenly spaced spikes, whose intervals are whole time steps."""
    gaps = np.unique(np.rint(1.0 / (REGULAR_RATES * trains.step)).astype(int))
    gaps = gaps[gaps >= 2]
    found = []
    for gap in gaps:
        x = np.zeros(gap * REGULAR, dtype=bool)
        x[::gap] = True
        found.append(x)
    return 1.0 / (gaps * trains.step), found


def rectified(spikes: NDArray[np.bool_], levels: Array) -> Array:
    """(trains, levels) how far each train's number of spikes is above each level."""
    found: Array = np.maximum(spikes.sum(axis=1)[:, None] - levels, 0.0)
    return found


def windows(spikes: NDArray[np.bool_], count: int) -> Array:
    """(trains, count) roots of the numbers of spikes in windows of equal length."""
    parts = np.array_split(spikes, count, axis=1)
    found: Array = np.sqrt(np.stack([part.sum(axis=1) for part in parts], axis=1))
    return found
