"""Four learning rules of one device by the shape of its pulses, and what each is good for (J. Appl. Phys. 120, 134503).

The device and its parameter set are the same in all networks; the pulses of the neurons make the rule (its Table 1).
Units compete in groups, one of each is active in a pattern, and every unit sends at most one pulse in a presentation:

* ``completion``, symmetric Hebbian pulses: patterns are shown, and completed from half of their groups (the source's
  Ref. 28: symmetric rules serve pattern completion).
* ``recall``, asymmetric Hebbian pulses: sequences are shown, and recalled from their first item (Refs. 28, 29).
* ``unlearning``, asymmetric anti-Hebbian pulses: of sequences that the Hebbian pulses have stored in these very devices
  one is shown again, and is to be forgotten while the others stay.
* ``familiarity``, symmetric anti-Hebbian pulses: what was seen excites less than what is new (Bogacz, Brown,
  Hippocampus 13:494, 2003, find such rules to serve familiarity best).

Each is learned by the device and by ideal weights under an ideal window, and by the device under the other pulses of
the same kind, too: symmetric for asymmetric ones, Hebbian and anti-Hebbian apart. Scores are shares that are right, at
several numbers of patterns (``load``); recall and tests go without learning. Patterns are drawn anew for every seed and
load, and the same for all ways.
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
from cosim.errors import InputError, UnknownName
from cosim.network.run import Purpose, RunResult, SeedResult, Streams, System
from cosim.network.simulation import Simulation
from cosim.network.systems.stdp_settings import (
    ANTI_HEBBIAN,
    ANTI_SYMMETRIC,
    HEBBIAN,
    IDEAL,
    INPUTS,
    SYMMETRIC,
    SYNAPSES,
    TAUGHT,
    UNITS,
    StdpSettings,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMPLETION, RECALL, UNLEARNING, FAMILIARITY = TASKS = ("completion", "recall", "unlearning", "familiarity")
DEVICE, IDEAL_WAY, OTHER = WAYS = ("device", "ideal", "other pulses")
RULE_OF: Mapping[str, str] = {
    COMPLETION: SYMMETRIC, RECALL: HEBBIAN, UNLEARNING: ANTI_HEBBIAN, FAMILIARITY: ANTI_SYMMETRIC,
}  # fmt: skip
OTHER_RULE: Mapping[str, str] = {
    COMPLETION: HEBBIAN, RECALL: SYMMETRIC, UNLEARNING: ANTI_SYMMETRIC, FAMILIARITY: ANTI_HEBBIAN,
}  # fmt: skip
LOADS: Mapping[str, tuple[int, ...]] = {
    COMPLETION: (5, 10, 20, 40),
    RECALL: (1, 2, 4, 8, 16),
    UNLEARNING: (0, 1, 2, 4, 8),
    FAMILIARITY: (5, 10, 20, 40, 80, 160),
}
USUAL_LOAD: Mapping[str, int] = {COMPLETION: 10, RECALL: 4, UNLEARNING: 2, FAMILIARITY: 20}
STORED = 4  # sequences, one of which is forgotten
CHANCE_OF_FAMILIAR = 0.5


@dataclass(frozen=True)
class Work:
    """One network: what it is to do, how it learns, and how much."""

    task: str
    way: str
    load: int

    @property
    def rule(self) -> str:
        """Whose pulses, or whose ideal window."""
        return OTHER_RULE[self.task] if self.way == OTHER else RULE_OF[self.task]


@dataclass(frozen=True)
class StdpSystem(System):
    """All tasks at all loads; a seed draws patterns anew.

    ``loads`` gives tasks and their loads: patterns, sequences, showings again, and familiar patterns.

    >>> from cosim.network.systems.stdp_settings import StdpSettings
    >>> small = StdpSettings(groups=6, width=4, items=3, repeats=1)
    >>> cosim.run_network(StdpSystem(small, {"recall": (1,)}, backend="numpy")).mean  # of its items, those recalled
    1.0
    """

    name: ClassVar[str] = "stdp"
    score: ClassVar[str] = "right"

    settings: StdpSettings
    loads: Mapping[str, tuple[int, ...]] = None  # type: ignore[assignment]  # all of `LOADS`
    backend: str = "numpy"  # compiling the device's map pays from about ten seeds on

    def __post_init__(self) -> None:
        object.__setattr__(self, "loads", dict(LOADS if self.loads is None else self.loads))
        if unknown := [task for task in self.loads if task not in TASKS]:
            raise UnknownName("task", unknown[0], TASKS)
        if not self.loads:
            raise InputError("needs at least one task", remedy=f"give one or more of {', '.join(TASKS)}")
        for task, loads in self.loads.items():
            least = 0 if task == UNLEARNING else 1
            if not loads or len(set(loads)) < len(loads) or min(loads) < least:
                raise InputError(
                    f"the loads of {task} are {', '.join(map(str, loads)) or 'missing'}",
                    remedy=f"give different whole numbers from {least}",
                )
        self.settings.parameter_set  # noqa: B018 (refuses a device without these pulses)

    @cached_property
    def works(self) -> tuple[Work, ...]:
        """All networks of a seed."""
        return tuple(Work(task, way, load) for task, loads in self.loads.items() for way in WAYS for load in loads)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that the numbers depend on, but for the seed."""
        windows = {rule: asdict(window) for rule, window in IDEAL.items()}
        about = [self.settings.fingerprint(), windows, STORED, [asdict(work) for work in self.works]]
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    @property
    def options(self) -> Mapping[str, str]:
        """Of the command line."""
        s = self.settings
        return {
            "tasks": ",".join(self.loads), "parameters": s.parameters, "charging": f"{s.charging:g}",
            "spread": f"{s.spread:g}", "groups": str(s.groups), "width": str(s.width), "repeats": str(s.repeats),
            "jitter": f"{s.jitter:g}", "spacing": f"{s.spacing:g}",
        }  # fmt: skip

    @property
    def batches(self) -> Sequence[int]:
        """One network each."""
        return (1,) * len(self.works)

    def usual(self, task: str) -> int:
        """The load whose score stands for a task."""
        loads = self.loads[task]
        return min(loads, key=lambda load: (abs(load - USUAL_LOAD[task]), load))

    def chance(self, task: str) -> float:
        """The score of a network that knows nothing."""
        return {UNLEARNING: 0.0, FAMILIARITY: CHANCE_OF_FAMILIAR}.get(task, 1.0 / self.settings.width)

    def start(self, streams: Streams) -> StdpNetworks:
        """Nothing learned yet."""
        return StdpNetworks(self, streams)

    def to_dict(self, seeds: Sequence[SeedResult]) -> dict[str, Any]:
        """Settings, windows, and each score's mean and deviation over the seeds."""
        return {
            "settings": asdict(self.settings),
            "ideal_windows": {rule: asdict(window) for rule, window in IDEAL.items()},
            "scores": self.table(seeds),
        }

    def table(self, seeds: Sequence[SeedResult]) -> dict[str, dict[str, dict[str, Any]]]:
        """Mean and deviation (n − 1; None of one seed) by task, way and load."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for k, work in enumerate(self.works):
            scores = np.array([seed.arrays["scores"][k] for seed in seeds]).T
            entry = found.setdefault(work.task, {}).setdefault(work.way, {})
            entry[str(work.load)] = _of(scores[0])
            if work.task == UNLEARNING:
                entry[str(work.load)] |= {"kept": _of(scores[1]), "forgotten": _of(scores[2])}
        return found

    def reading(self, seeds: Sequence[SeedResult]) -> str:
        """What the mean is taken over."""
        if all(self.usual(task) == USUAL_LOAD[task] for task in self.loads):
            return f"of the device's scores, mean of {', '.join(self.loads)} at their usual loads"
        at = [
            f"{task} at load {self.usual(task)}"
            + ("" if self.usual(task) == USUAL_LOAD[task] else f" (the usual one, {USUAL_LOAD[task]}, was not run)")
            for task in self.loads
        ]
        return f"of the device's scores, mean of {', '.join(at)}" if len(at) > 1 else f"the device's score of {at[0]}"

    def lines(self, seeds: Sequence[SeedResult]) -> list[str]:
        """Each task at each of its loads: mean and deviation of each way."""
        s, table = self.settings, self.table(seeds)
        out = [
            f"network     {s.groups} groups of {s.width} units; {s.parameter_set.name}, alpha_c x {s.charging:g}",
        ]
        for task, ways in table.items():
            for load in map(str, self.loads[task]):
                said = [
                    f"{way} {entry[load]['mean']:.1%}"
                    + ("" if entry[load]["deviation"] is None else f" ± {entry[load]['deviation']:.1%}")
                    for way, entry in ways.items()
                ]
                out.append(f"{task:<11} {said_of(task, int(load))}: {', '.join(said)} (chance {self.chance(task):.1%})")
        return out

    def figures(self, result: RunResult) -> dict[str, Figure]:
        """The four windows, with α_c varied, and the scores."""
        from cosim.report.stdp_figures import stdp_figures

        return stdp_figures(self, result.seeds)


def said_of(task: str, load: int) -> str:
    """A load in words."""
    return {
        COMPLETION: f"{_counted(load, 'pattern')} from half",
        RECALL: f"{_counted(load, 'sequence')} from {'its' if load == 1 else 'their'} first item",
        UNLEARNING: f"one of {STORED} sequences shown {_counted(load, 'time')} again, kept less forgotten",
        FAMILIARITY: f"{_counted(load, 'familiar pattern')} told from new ones",
    }[task]  # fmt: skip


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _of(values: Array) -> dict[str, Any]:
    deviation = float(np.std(values, ddof=1)) if values.size > 1 else None
    return {"mean": float(np.mean(values)), "deviation": deviation}


class StdpNetworks:
    """The networks of one seed, one after the other."""

    def __init__(self, system: StdpSystem, streams: Streams) -> None:
        self.system, self.s, self.streams = system, system.settings, streams
        self.scores = np.full((len(system.works), 3), np.nan)
        self._first: dict[tuple[str, bool, bool], Simulation] = {}

    def learn(self, batch: int) -> None:
        """Learn and test one network; patterns depend on task and load alone."""
        work = self.system.works[batch]
        place = (*work.task.encode(), work.load)
        rng = self.streams(Purpose.LEARN, *place)
        learn = {
            COMPLETION: self._completion, RECALL: self._recall, UNLEARNING: self._unlearning,
            FAMILIARITY: self._familiarity,
        }[work.task]  # fmt: skip
        found = learn(work, rng)
        self.scores[batch, : len(found)] = found

    def evaluate(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The device's mean score at the usual loads; all scores as an array."""
        system = self.system
        usual = {
            f"{work.task}, {work.way}": float(self.scores[k, 0])
            for k, work in enumerate(system.works)
            if work.load == system.usual(work.task)
        }
        own = [score for name, score in usual.items() if name.endswith(f", {DEVICE}")]
        return {"right": float(np.mean(own)), "at_usual_loads": usual}, {"scores": self.scores.copy()}

    def state(self) -> dict[str, NDArray[Any]]:
        """All scores so far."""
        return {"scores": self.scores.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `state`."""
        self.scores = state["scores"].copy()

    # -- tasks --------------------------------------------------------------------------------------------------------

    def _completion(self, work: Work, rng: np.random.Generator) -> tuple[float, ...]:
        s = self.s
        chosen = s.patterns(work.load, rng)
        known = np.argsort(rng.random(chosen.shape), axis=1) < s.cued
        network = self._made(work.rule, work)
        self._show(network, s.one_hot(chosen)[:, None], rng)
        cues = s.one_hot(chosen) * np.repeat(known, s.width, axis=1)
        right = self._winners(network, cues, s.settle)[:, -1] == chosen
        return (float(right[~known].mean()),)

    def _recall(self, work: Work, rng: np.random.Generator) -> tuple[float, ...]:
        chosen = self.s.sequences(work.load, rng)
        network = self._made(work.rule, work)
        self._show(network, self.s.one_hot(chosen), rng)
        return (float(self._recalled(network, chosen).mean()),)

    def _unlearning(self, work: Work, rng: np.random.Generator) -> tuple[float, ...]:
        s = self.s
        chosen = s.sequences(STORED, rng)
        network = self._made(HEBBIAN, work)
        self._show(network, s.one_hot(chosen), rng)
        if work.load:
            other = self._made(work.rule, work)
            other.cells[SYNAPSES].load(network.cells[SYNAPSES].state)
            network = other
            self._show(network, s.one_hot(chosen[:1]), rng, repeats=work.load)
        recalled = self._recalled(network, chosen)
        kept, forgotten = float(recalled[1:].mean()), float(recalled[0])
        return kept - forgotten, kept, forgotten

    def _familiarity(self, work: Work, rng: np.random.Generator) -> tuple[float, ...]:
        s = self.s
        chosen = s.patterns(work.load + s.unknown, rng)
        network = self._made(work.rule, work, layer=True)
        shown = s.one_hot(chosen)
        network.run({INPUTS: shown[: work.load]}, steps=1, key=0, gap=s.pause)
        tested = network.run({INPUTS: shown}, steps=1, key=0, learn=False, fresh=True, record=[f"{UNITS}.v"])
        excited = tested.records[f"{UNITS}.v"][:, 0].reshape(len(shown), s.groups, s.width).max(axis=2).sum(axis=1)
        old, new = excited[: work.load, None], excited[None, work.load :]
        return (float(np.mean(new > old) + 0.5 * np.mean(new == old)),)

    # -- networks -----------------------------------------------------------------------------------------------------

    def _made(self, rule: str, work: Work, *, layer: bool = False) -> Simulation:
        """A network before learning; its devices are the same for one seed, whatever the pulses."""
        ideal = work.way == IDEAL_WAY
        rng = self.streams(Purpose.START, layer)
        graph = (self.s.layer if layer else self.s.recurrent)(rule, ideal=ideal, rng=rng)
        like = self._first.get((rule, ideal, layer))
        made = Simulation(graph, backend=self.system.backend, like=like)
        self._first.setdefault((rule, ideal, layer), made)
        return made

    def _show(self, network: Simulation, active: Array, rng: np.random.Generator, repeats: int | None = None) -> None:
        """Teach (presentations, items, units) as often as the settings have it, in any order."""
        for _ in range(self.s.repeats if repeats is None else repeats):
            drives = self.s.taught(active[rng.permutation(len(active))], rng)
            network.run(
                {UNITS: drives}, steps=drives.shape[1], key=0, gap=self.s.pause,
                parameters={UNITS: {"threshold": 0.5 * TAUGHT}},
            )  # fmt: skip

    def _winners(self, network: Simulation, cues: Array, steps: int) -> NDArray[np.int64]:
        """(cues, steps, groups) which unit of each group fires, the cue's own in the first step; −1 where none does."""
        s = self.s
        drives = np.zeros((len(cues), steps, s.size))
        drives[:, 0] = TAUGHT * cues
        run = network.run({UNITS: drives}, steps=steps, key=0, learn=False, fresh=True, record=[f"{UNITS}.fired"])
        fired = run.records[f"{UNITS}.fired"].reshape(len(cues), steps, s.groups, s.width)
        return np.where(fired.any(axis=3), fired.argmax(axis=3), -1)

    def _recalled(self, network: Simulation, chosen: NDArray[np.int64]) -> Array:
        """(sequences,) the share of groups that are right in the items after the first."""
        found = self._winners(network, self.s.one_hot(chosen[:, 0]), self.s.items)
        right: Array = (found == chosen)[:, 1:].mean(axis=(1, 2))
        return right
