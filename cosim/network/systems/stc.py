"""Digits by synaptic tagging and capture: rate-coded pixels → STC synapses → a LIF neuron per digit, with a teacher.

Source: M. A. Nicholson (thesis, Groningen, 2024), Sec. 3.3 and listing A. While an image is shown, a current drives the
neuron of its class and holds the others. Pixels and neuron together potentiate, either alone depresses. Tested twice:

* early: right after the last image, and its pause;
* late: after a further pause in which the early phase has recovered and what was tagged is consolidated.

The source makes its late phase by training with both time constants accelerated (``acceleration`` of 32), and tests
right afterwards; that is the early test of such a run. Synapses are those of `stc_synapse`, or the listing's.

Read-outs, chosen on training images: ``count``, the neuron with most spikes (the source's), of equals the first, at the
threshold that suits best (the source's weights over four are four times the threshold); ``charge``, the neuron that got
most charge, Σ w over all presynaptic spikes, which is its membrane potential without leak and threshold. An image
without a spike is answered by none. Recall is without plasticity, and again with it from image to image (of the first
1000 at most). ``balanced``, a count of our own (`stc_recall`), is reported beside them and not chosen, and so are
simple classifiers of the same images (`cosim.network.controls`) and the network before it has learned.

Ten digits are more than the source asked for. With its constants the six pairs of spikes of an image take a weight over
a quarter of its range, so that it remembers the last few images of its class, and every image of another one depresses.
Two changes, ours, suffice (`stc_preset`): smaller tail currents, and a teacher that teaches only what the network
answers wrongly; neither does so alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.errors import InputError
from cosim.network.controls import controls
from cosim.network.readout import confusion, known_to
from cosim.network.run import Purpose, RunResult, SeedResult, Streams, System
from cosim.network.systems import stc_listing
from cosim.network.systems.stc_images import Bytes, DigitTask, Draw, Ints
from cosim.network.systems.stc_loop import Memory, backend, begin, rest, trains
from cosim.network.systems.stc_recall import balanced_counts, best_gain
from cosim.network.systems.stc_settings import StcSettings, beta, listing, parameters, pause, synapse
from cosim.network.systems.stc_synapse import laws
from cosim.parameters import ParameterSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Images between two possible checkpoints.
BATCH = 200
# Recall thresholds over the training's, among which ``count`` is chosen.
THRESHOLDS = (0.05, 0.1, 0.15, 0.25, 0.35, 0.5, 0.7, 1.0, 2.0, 4.0)
PHASES = ("early", "late")
CHOSEN_FROM = ("count", "charge")
# What every law takes something from, beside its own set; `StcSettings.width` is that of listing A's step.
SETS = ("stc_synapse:published", "stc_equations:literature", "stc_synapse:listing_a")
# Images of a recall that are copied at a time.
RECALLED = 500
# Recalled with plasticity: what a recall changes stays for the next one.
PLASTIC = 1000


@dataclass(frozen=True)
class StcSystem(System):
    """The network of ``settings`` with a task.

    >>> images = cosim.RateImages.of(cosim.load_images("digits"))
    >>> task = cosim.DigitTask(images, digits=(0, 1), train=100, test=50, choice=50)
    >>> result = cosim.run_network(cosim.StcSystem(cosim.StcSettings(), task))
    >>> result.mean > 0.8
    True
    """

    name: ClassVar[str] = "stc"

    settings: StcSettings
    task: DigitTask
    backend: str = "auto"

    def __post_init__(self) -> None:
        images, s = self.task.images, self.settings
        if (images.rate, images.shown) != (s.rate, s.shown):
            raise InputError(
                f"the images spike at {images.rate:g} Hz for {images.shown:g} s, the network expects {s.rate:g} Hz for "
                f"{s.shown:g} s",
                remedy="make both with the same rate and shown",
            )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that the numbers depend on, but for the seed."""
        sets = [ParameterSet.load(name).fingerprint() for name in SETS]
        parts = [self.settings.fingerprint(), parameters(self.settings).fingerprint(), *sets, self.task.fingerprint]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def batches(self) -> Sequence[int]:
        """How many images each batch holds; the listing has one."""
        total = self.task.total
        if self.settings.law == "listing":
            return (total,)
        whole, left = divmod(total, BATCH)
        return (BATCH,) * whole + (left,) * (left > 0)

    def start(self, streams: Streams) -> StcRun | ListingRun:
        """The untrained network of a seed; raises `InputError` where its images lack a digit."""
        return (ListingRun if self.settings.law == "listing" else StcRun)(self, streams)

    def to_dict(self, seeds: Sequence[SeedResult]) -> dict[str, Any]:
        """Data, settings, parameter set, and the accuracies of both phases."""
        task = self.task
        phases = [phase for phase in PHASES if f"accuracy_{phase}" in seeds[0].values]
        return {
            "data": {"name": task.images.name, "digits": list(task.digits), "train": task.total, "test": task.test},
            "settings": asdict(self.settings),
            "parameters": parameters(self.settings).name,
            "phases": {
                phase: _mean_deviation([float(seed.values[f"accuracy_{phase}"]) for seed in seeds]) for phase in phases
            },
        }

    def lines(self, seeds: Sequence[SeedResult]) -> list[str]:
        """The network, each seed's accuracies and what they mean."""
        s, task = self.settings, self.task
        out = [
            f"network     {task.images.train.shape[1]} inputs, {len(task.digits)} neurons, {task.total} images of "
            f"{task.images.name} ({', '.join(map(str, task.digits))}); {s.law} ({parameters(s).name}), taught "
            f"{s.teaching}, tails × {s.tails:g}, acceleration {s.acceleration:g}"
        ]
        for seed in seeds:
            found = seed.values
            for phase in PHASES:
                if f"accuracy_{phase}" not in found:
                    continue
                on = found[phase]
                plastic = "" if on["plastic"] is None else f", plastic recall {100 * on['plastic']:.1f}"
                others = ", ".join(f"{kind} {100 * x:.1f}" for kind, x in on["on_test"].items())
                known = known_to(on["accuracy"], found.tested, classes=len(task.digits))
                out.append(
                    f"seed {seed.seed:<6} {phase:<6} {100 * on['accuracy']:.2f} % of {found.tested} "
                    f"test images ({known}) by {on['read_out']} ({others}{plastic})"
                )
                if on["silent"]:
                    out.append(f"            no neuron fired on {on['silent']} of them, which count as wrong")
        means = {name: np.mean([seed.values.controls[name] for seed in seeds]) for name in seeds[0].values.controls}
        out.append(
            "beside it   "
            + ", ".join(f"{name} {100 * mean:.1f} %" for name, mean in means.items())
            + " right of the same images"
        )
        return out

    def reading(self, seeds: Sequence[SeedResult]) -> str:
        """Phase, read-outs and draws of the accuracy."""
        phase = PHASES[-1] if f"accuracy_{PHASES[-1]}" in seeds[0].values else PHASES[0]
        kinds = [seed.values[phase]["read_out"] for seed in seeds]
        by = " or ".join(sorted(set(kinds)))
        return f"in the {phase} phase by {by}, of {seeds[0].values.tested} images that each seed draws anew"

    def figures(self, result: RunResult) -> dict[str, Figure]:
        """Weights after training and after consolidation, their distribution, accuracies, confusion, teaching."""
        from cosim.report.stc_figures import stc_figures

        return stc_figures(result, side=self.task.images.side, digits=self.task.digits)


def _mean_deviation(values: Sequence[float]) -> dict[str, float | None]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "deviation": spread}


class StcRun:
    """The network of one seed, as the runner sees it."""

    def __init__(self, system: StcSystem, streams: Streams) -> None:
        self.system, self.streams, s = system, streams, system.settings
        self.draw = system.task.draw(streams)
        self.k = synapse(s)
        self.neurons, self.loop = s.neurons(self.k), backend(system.backend)
        thresholds = np.full(len(system.task.digits), s.threshold - s.rest)
        inputs = system.task.images.train.shape[1]
        self.memory = begin(inputs, thresholds, self.k, c=self.k.c_rest, h=self.k.h0, z=0.0)
        largest = int(max(system.task.images.train.max(), system.task.images.test.max()))
        self._fires = trains(largest, s.steps(s.shown))
        self._spikes: list[float] = []  # per image, of each batch
        self._taught: list[float] = []  # share of the images of each batch

    def learn(self, batch: int) -> None:
        """Show a batch of images with the teacher."""
        s, task = self.system.settings, self.system.task
        first = sum(self.system.batches[:batch])
        chosen = self.draw.train[first : first + self.system.batches[batch]]
        counts, which = task.images.train[chosen], task.neuron_of(task.images.train_y[chosen])
        own = which[:, None] == np.arange(len(task.digits))
        spikes, _, taught = self._present(
            counts,
            np.where(own, s.stimulus * s.resistance, -1.0),
            self.memory,
            plastic=True,
            gated=s.teaching == "mistakes",
        )
        self._spikes.append(float(spikes.sum() / len(chosen)))
        self._taught.append(float(taught.mean()))

    def _present(
        self, counts: Bytes, teacher: Array, memory: Memory, *, plastic: bool, gated: bool = False
    ) -> tuple[Ints, Array, NDArray[np.bool_]]:
        s, shape = self.system.settings, (len(counts), len(self.system.task.digits))
        spikes, charge, taught = np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape[0], bool)
        self.loop.present(
            counts, teacher, self._fires, s.steps(s.shown + s.gap), plastic, gated, memory, self.neurons, self.k,
            spikes, charge, taught,
        )  # fmt: skip
        return spikes, charge, taught

    def evaluate(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Accuracies of both phases; weights (neurons, pixels) in the literature's volts, both phases apart.

        Raises `InputError` where no neuron fired while it learned.
        """
        if not any(self._spikes):
            raise InputError(
                "no output neuron has fired while it learned, so that nothing was potentiated",
                remedy="raise the stimulus",
            )
        s, scale = self.system.settings, beta(self.k.h0)
        memory, values, arrays = self.memory.copy(), dict[str, Any](), dict[str, NDArray[Any]]()
        left, untrained = dict[str, float](), self._untrained()
        pauses = {"early": 0, "late": s.steps(pause(s))}
        for phase in PHASES:
            rest(memory, pauses[phase], self.neurons, self.k)
            values[phase], arrays[f"confusion_{phase}"] = self._tested(memory)
            values[f"accuracy_{phase}"] = values[phase]["accuracy"]
            left[phase] = float(np.abs(memory.h - self.k.rest).mean())
            arrays[f"early_{phase}"] = scale * memory.h
            arrays[f"late_{phase}"] = scale * self.k.h0 * memory.z
        lit = np.isin(np.arange(memory.h.shape[1]), np.flatnonzero(self.system.task.images.train.any(axis=0)))
        weights = {phase: (arrays[f"early_{phase}"] + arrays[f"late_{phase}"])[:, lit].mean() for phase in PHASES}
        return (
            {
                "accuracy": values["accuracy_late"],
                **values,
                "controls": {**_controls(self.system.task, self.draw), "untrained": untrained},
                "tested": len(self.draw.test),
                "pause": pause(s),
                "early_phase_left": left["late"] / max(left["early"], 1e-300),
                "weight_early_over_late": float(weights["early"] / weights["late"]),
                "spikes_per_image": list(self._spikes),
                "taught": list(self._taught),
            },
            arrays,
        )

    def _tested(self, memory: Memory) -> tuple[dict[str, Any], Ints]:
        """A read-out, chosen on training images and tested; its confusion (digits, digits + 1)."""
        task, draw = self.system.task, self.draw
        chosen_y, y = task.neuron_of(task.images.train_y[draw.choice]), task.neuron_of(task.images.test_y[draw.test])
        chosen, tested = (task.images.train, draw.choice), (task.images.test, draw.test)
        found: dict[str, tuple[float, float]] = {}  # read-out -> accuracy on the choice images, factor
        for factor in THRESHOLDS:
            spikes, charge = self._recall(*chosen, memory, factor)
            right = float(np.mean(answers(spikes) == chosen_y))
            if right > found.get("count", (-1.0, 0.0))[0]:
                found["count"] = right, factor
            if factor == THRESHOLDS[0]:  # the same at every threshold
                found["charge"] = float(np.mean(answers(charge) == chosen_y)), 1.0
        read_out = max(CHOSEN_FROM, key=lambda kind: found[kind][0])
        on_test, given = dict[str, float](), dict[str, Ints]()
        for kind, (_, factor) in found.items():
            spikes, charge = self._recall(*tested, memory, factor)
            given[kind] = answers(spikes if kind == "count" else charge)
            on_test[kind] = float(np.mean(given[kind] == y))
        on_choice, (on_test["balanced"], gain) = {kind: x for kind, (x, _) in found.items()}, self._balanced(memory)
        spikes, charge = self._recall(tested[0], draw.test[:PLASTIC], memory, found[read_out][1], plastic=True)
        plastic = answers(spikes if read_out == "count" else charge)
        return (
            {
                "accuracy": on_test[read_out],
                "read_out": read_out,
                "threshold": found["count"][1],
                "on_choice": on_choice,
                "on_test": on_test,
                "balanced_gain": gain,
                "plastic": float(np.mean(plastic == y[:PLASTIC])),
                "silent": int(np.count_nonzero(given[read_out] < 0)),
            },
            confusion(y, given[read_out], classes=len(task.digits)),
        )

    def _balanced(self, memory: Memory) -> tuple[float, float]:
        """The share of the test images by the balanced count, and its gain, chosen on training images."""
        task, draw, s = self.system.task, self.draw, self.system.settings
        about: dict[str, Any] = {
            "w": laws().weight(memory.h, memory.z, self.k),
            "steps": s.steps(s.shown),
            "phase": self.streams(Purpose.EVALUATE).random(memory.h.shape[1]),
            "neurons": self.neurons,
            "threshold": memory.threshold,
        }
        chosen_y, y = task.neuron_of(task.images.train_y[draw.choice]), task.neuron_of(task.images.test_y[draw.test])
        choice = balanced_counts(task.images.train, draw.choice, **about)
        gain, _ = best_gain(choice, lambda counts: float(np.mean(answers(counts) == chosen_y)))
        counts = balanced_counts(task.images.test, draw.test, **about)(gain)
        return float(np.mean(answers(counts) == y)), gain

    def _untrained(self) -> float:
        """The share of the test images by the charge of synapses as they began."""
        task, shape = self.system.task, self.memory.h.shape
        fresh = begin(shape[1], self.memory.threshold, self.k, c=self.k.c_rest, h=self.k.h0, z=0.0)
        _, charge = self._recall(task.images.test, self.draw.test, fresh, 1.0)
        return float(np.mean(answers(charge) == task.neuron_of(task.images.test_y[self.draw.test])))

    def _recall(
        self, images: Bytes, chosen: Ints, memory: Memory, factor: float, *, plastic: bool = False
    ) -> tuple[Ints, Array]:
        """Spikes and charge of the ``chosen`` images without a teacher, from a resting neuron; the memory is kept."""
        other = memory.copy() if plastic else memory._replace(now=memory.now.copy())
        other = other._replace(
            threshold=memory.threshold * factor, v=np.zeros_like(memory.v), hold=np.zeros_like(memory.hold)
        )
        spikes, charge = list[Ints](), list[Array]()
        for at in range(0, len(chosen), RECALLED):
            counts = images[chosen[at : at + RECALLED]]
            found = self._present(counts, np.zeros((len(counts), memory.v.size)), other, plastic=plastic)
            spikes.append(found[0])
            charge.append(found[1])
        return np.concatenate(spikes), np.concatenate(charge)

    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes while learning, copied."""
        return {
            **self.memory.copy()._asdict(),
            "spikes": np.array(self._spikes),
            "taught": np.array(self._taught),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `state`; raises `InputError` for a network of another size."""
        if state["h"].shape != self.memory.h.shape:
            raise InputError(f"the saved network has {state['h'].shape} synapses, this one {self.memory.h.shape}")
        for name, here in self.memory._asdict().items():
            here[:] = state[name]
        self._spikes, self._taught = state["spikes"].tolist(), state["taught"].tolist()


def answers(scores: NDArray[Any]) -> Ints:
    """(k,) the neuron with the largest of ``scores`` (k, m), of equals the first; −1 where all are zero."""
    return np.where(np.any(scores != 0, axis=1), np.argmax(scores, axis=1), -1).astype(np.int64)


def _controls(task: DigitTask, draw: Draw) -> dict[str, float]:
    return controls(
        (task.images.train, draw.train, task.neuron_of(task.images.train_y[draw.train])),
        (task.images.test, draw.test, task.neuron_of(task.images.test_y[draw.test])),
        classes=len(task.digits),
    )


class ListingRun:
    """One seed of the law ``listing``: one batch, and the one test that the listing makes."""

    def __init__(self, system: StcSystem, streams: Streams) -> None:
        self.system, self.draw = system, system.task.draw(streams)
        self.k, self.unit = listing(system.settings)
        s, images = system.settings, system.task.images
        self._fires = trains(int(max(images.train.max(), images.test.max())), s.steps(s.shown))
        self._steps = s.steps(s.shown + s.gap)
        shape = len(system.task.digits), images.train.shape[1]
        self._learned = {"h": np.full(shape, self.k.h0), "z": np.zeros(shape), "spikes": np.zeros((0, shape[0]))}

    def learn(self, batch: int) -> None:
        """Show all images."""
        task, draw = self.system.task, self.draw
        name = backend(self.system.backend).name
        run = stc_listing.train_compiled() if name == "numba" else stc_listing.train_numpy
        labels = task.neuron_of(task.images.train_y[draw.train])
        counts = task.images.train[draw.train]
        found = run(counts, labels, self._fires, self._steps, len(task.digits), self.k, self.unit)
        self._learned = found._asdict()

    def evaluate(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The listing's accuracy; the phase is that of its time constants."""
        task, draw, found = self.system.task, self.draw, self._learned
        phase = "early" if self.system.settings.acceleration == 1.0 else "late"
        w = self.k.beta * (found["h"] + self.k.h0 * found["z"])
        tested, truth = task.images.test[draw.test], task.neuron_of(task.images.test_y[draw.test])
        spikes = stc_listing.test_counts(tested, w / stc_listing.DIVISOR, self._fires, self._steps, self.unit)
        given = np.argmax(spikes, axis=1)  # the listing answers 0 where nobody fires
        right = float(np.mean(given == truth))
        ordered = np.sort(spikes, axis=1)
        about = {
            "accuracy": right,
            "read_out": "count",
            "threshold": stc_listing.DIVISOR,
            "on_choice": {},
            "on_test": {"count": right},
            "plastic": None,
            "silent": 0,
            "silent_answered_with_the_first": int(np.count_nonzero(spikes.sum(axis=1) == 0)),
            "ties": float(np.mean(ordered[:, -1] == ordered[:, -2])),
            "largest_early_phase": float(np.max(found["h"])),
        }
        arrays = {
            f"early_{phase}": self.k.beta * found["h"],
            f"late_{phase}": self.k.beta * self.k.h0 * found["z"],
            f"confusion_{phase}": confusion(truth, given, classes=len(task.digits)),
        }
        values = {
            "accuracy": right,
            phase: about,
            f"accuracy_{phase}": right,
            "controls": _controls(task, draw),
            "tested": len(draw.test),
            "spikes_per_image": [float(found["spikes"].sum() / len(draw.train))],
            "taught": [1.0],
        }
        return values, arrays

    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes while learning, copied."""
        return {name: np.array(value) for name, value in self._learned.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """The inverse of `state`."""
        self._learned = {name: np.array(state[name]) for name in self._learned}
