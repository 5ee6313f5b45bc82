"""Running a network over epochs and seeds: checkpoints, read-outs, results; stopped at any moment, it can go on.

What a run does depends on its settings and seed only: the random numbers of each batch of images are a stream of their
own, and a checkpoint always lies between two batches. So an interrupted run that goes on gives the same numbers as one
that was never interrupted.

Read-outs are fitted on training images with learning off and chosen on further training images, which took part in the
unsupervised learning but not in the fit. The chosen one is then fitted on both. The test set is shown once, at the end;
the accuracies of the other read-outs on it are reported, and decide nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cosim import __version__
from cosim.errors import InputError, UnknownName, Where
from cosim.files import write_atomic
from cosim.network.readout import PROTOCOL, confusion, fit_readout
from cosim.network.vdsp import VdspNetwork, VdspSettings
from cosim.surrogate.files import array_digest, read_npz, write_npz
from cosim.surrogate.pulse import PulseSurrogate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
# Images between two possible checkpoints, and seconds between two that are written.
BATCH = 200
SAVE_EVERY = 20.0
# Streams of random numbers of a seed.
_INIT, _ORDER, _LEARN, _RESPOND = range(4)
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class ImageSet:
    """Images (n, pixels) with values 0..1 and their classes (n,); ``side`` pixels make a row."""

    name: str
    train_x: NDArray[np.floating]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.floating]
    test_y: NDArray[np.int64]
    side: int

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(max(self.train_y.max(), self.test_y.max())) + 1

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all of it."""
        return array_digest(self.train_x, self.train_y, self.test_x, self.test_y)

    def first(self, images: int) -> ImageSet:
        """With the first ``images`` training images only."""
        if not 0 < images <= len(self.train_y):
            raise InputError(f"{images} images are asked for, {self.name} has {len(self.train_y)} to train on")
        return ImageSet(self.name, self.train_x[:images], self.train_y[:images], self.test_x, self.test_y, self.side)


def load_images(name: str) -> ImageSet:
    """ "mnist" (60 000 and 10 000) or "digits" (the first 1400 of 1797 to train on). Raises `UnknownName`."""
    from cosim import datasets

    if name == "mnist":
        raw = datasets.load_mnist()
        train_x, train_y, test_x, test_y = (np.asarray(part) for part in raw)
        full = 255.0
    elif name == "digits":
        images, labels = datasets.digits()
        # By position, not shuffled: neighbours are by one writer, whom a shuffled split would train and test on.
        train_x, train_y, test_x, test_y = images[:1400], labels[:1400], images[1400:], labels[1400:]
        full = 16.0
    else:
        raise UnknownName("image set", name, ("digits", "mnist"))
    side = train_x.shape[-1]
    return ImageSet(
        name,
        (train_x.reshape(len(train_x), -1) / full).astype(np.float32),
        train_y.astype(np.int64),
        (test_x.reshape(len(test_x), -1) / full).astype(np.float32),
        test_y.astype(np.int64),
        side,
    )


def preset(name: str) -> tuple[VdspSettings, int]:
    """Settings and epochs that suit an image set: the published ones for MNIST; own ones, tuned, for the digits.

    The digits' own: 64 inputs drive the output neurons less. The threshold (of 6, 7, 8.2, its jump in proportion) and
    no annealing of the potentiation were chosen on the last 400 of the 1400 training images, three seeds each, without
    a look at the test images.
    """
    if name == "mnist":
        return VdspSettings(), 1
    if name == "digits":
        published = VdspSettings()
        output = replace(published.output, threshold=7.0, jump=0.94)
        return published.with_(neurons=100, output=output), 10
    raise UnknownName("image set", name, ("digits", "mnist"))


@dataclass(frozen=True)
class Plan:
    """What is to be run: ``label_images`` fit the read-outs, ``choice_images`` choose among them; 0: by the set's size.

    Two plans with one fingerprint give the same numbers. A surrogate whose certificate misses its limits is refused,
    but where ``uncertified`` says that this is meant.
    """

    settings: VdspSettings
    surrogate: PulseSurrogate
    images: ImageSet
    epochs: int = 1
    label_images: int = 0
    choice_images: int = 0
    backend: str = "auto"
    uncertified: bool = False

    def __post_init__(self) -> None:
        certificate = self.surrogate.certificate
        if certificate is not None and certificate.broken and not self.uncertified:
            raise InputError(
                f"the surrogate misses its limits: {'; '.join(certificate.broken)}",
                remedy="make a better one, or take --uncertified (in Python: uncertified=True)",
            )
        if self.epochs < 1:
            raise InputError(f"{self.epochs} epochs are none", remedy="give at least one")
        if sum(self.split) > len(self.images.train_y):
            raise InputError(
                f"{self.split[0]} images for labels and {self.split[1]} for the choice are more than there are",
                remedy=f"{self.images.name} has {len(self.images.train_y)} training images here",
            )

    @property
    def split(self) -> tuple[int, int]:
        """Images for the fit of the read-outs and for the choice among them."""
        total = len(self.images.train_y)
        return self.label_images or min(10_000, 2 * total // 3), self.choice_images or min(5_000, total // 3)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that the numbers depend on, but for the seed."""
        parts = [
            self.settings.fingerprint(),
            json.dumps(self.surrogate.document(), sort_keys=True),
            array_digest(*self.surrogate.arrays().values()),
            self.images.fingerprint,
            f"{self.epochs} {self.split} {BATCH}",
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class SeedResult:
    """One seed: test accuracy (0..1) of the read-out that was ``chosen``, and what the figures need."""

    seed: int
    chosen: str
    accuracy: float
    on_choice: Mapping[str, float]
    on_test: Mapping[str, float]
    confusion: NDArray[np.int64]
    w: Array
    weight: Array
    labels: NDArray[np.int64]  # −1: the neuron answers to no class, or was never trained
    spikes: Array
    seconds: float
    pulses: int

    def to_dict(self) -> dict[str, Any]:
        """JSON values, without the arrays of the figures."""
        return {
            "seed": self.seed,
            "read_out": self.chosen,
            "accuracy": self.accuracy,
            "accuracy_on_choice_images": dict(self.on_choice),
            "accuracy_on_test_images": dict(self.on_test),
            "confusion": self.confusion.tolist(),
            "spikes_per_image": self.spikes.tolist(),
            "programming_pulses": self.pulses,
            "learning_seconds": self.seconds,
        }


@dataclass(frozen=True)
class VdspResult:
    """All seeds of a plan."""

    plan: Plan
    seeds: tuple[SeedResult, ...]
    folder: Path | None = field(default=None, compare=False)

    @property
    def mean(self) -> float:
        """Mean test accuracy (0..1) over the seeds."""
        return float(np.mean([seed.accuracy for seed in self.seeds]))

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds (n − 1); None with one seed."""
        return float(np.std([seed.accuracy for seed in self.seeds], ddof=1)) if len(self.seeds) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        surrogate = self.plan.surrogate
        certificate = surrogate.certificate
        kinds = list(PROTOCOL)
        return {
            "system": "vdsp",
            "cosim": __version__,
            "plan": self.plan.fingerprint,
            "data": {
                "name": self.plan.images.name,
                "train": len(self.plan.images.train_y),
                "test": len(self.plan.images.test_y),
            },
            "epochs": self.plan.epochs,
            "images_for_labels_and_choice": list(self.plan.split),
            "settings": asdict(self.plan.settings),
            "surrogate": {
                "device": surrogate.device,
                "parameters": surrogate.parameters.name,
                "law": surrogate.law,
                "certificate": None if certificate is None else certificate.to_dict(),
            },
            "accuracy": {"mean": self.mean, "deviation": self.deviation, "seeds": len(self.seeds)},
            "mean_on_test_images": {k: float(np.mean([s.on_test[k] for s in self.seeds])) for k in kinds},
            "seeds": [seed.to_dict() for seed in self.seeds],
        }

    def figures(self) -> dict[str, Figure]:
        """Receptive fields, states, confusion and accuracy, by name."""
        from cosim.report.network_figures import vdsp_figures

        return vdsp_figures(self)


def run_vdsp(
    plan: Plan,
    *,
    seeds: Sequence[int] = (0,),
    folder: str | Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> VdspResult:
    """Learn, choose a read-out, test; once per seed.

    Args:
        plan: what to run.
        seeds: one network each.
        folder: for checkpoints, results and ``result.json``, written as they come; None: nothing is written.
        resume: go on from the folder's checkpoints; without it a folder that holds some is refused.
        progress: called with seed, images shown and images in all, after each batch.

    Raises:
        InputError: a checkpoint of another plan; images for the read-outs that do not show every class.
    """
    place = None if folder is None else Path(folder)
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(f"seeds {list(seeds)} name one twice, or none", remedy="give e.g. 0,1,2")
    if place is not None and not resume:
        old = [path for seed in seeds for path in _paths(place, seed) if path.exists()]
        if old:
            raise InputError(f"{old[0]} is there already", remedy="take --resume to go on, or another folder")
    for seed in seeds:  # before an hour of learning, not after it
        _require_labels(plan, seed)
    done: list[SeedResult] = []
    for seed in seeds:
        done.append(_run_seed(plan, seed, place, progress))
        if place is not None:
            result = VdspResult(plan, tuple(done), place)
            write_atomic(place / "result.json", json.dumps(result.to_dict(), indent=1) + "\n")
    return VdspResult(plan, tuple(done), place)


def _paths(folder: Path, seed: int) -> tuple[Path, Path]:
    return folder / f"seed-{seed}.checkpoint.npz", folder / f"seed-{seed}.npz"


def _stream(*path: int) -> np.random.Generator:
    # SFC64 draws the many normal numbers of the noise fastest.
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(path)))


def _picked(plan: Plan, seed: int) -> NDArray[np.int64]:
    """The training images for the read-outs, first those for their fit; spread over the set, so that both are alike."""
    return _stream(seed, _RESPOND, 0).permutation(len(plan.images.train_y))[: sum(plan.split)]


def _require_labels(plan: Plan, seed: int) -> None:
    fitted_on, chosen_on = plan.split
    shown = np.bincount(plan.images.train_y[_picked(plan, seed)[:fitted_on]], minlength=plan.images.classes)
    absent = np.flatnonzero(shown == 0)
    if absent.size:
        raise InputError(
            f"the {fitted_on} images that the read-outs are fitted on show none of class "
            f"{', '.join(str(k) for k in absent)} (seed {seed})",
            remedy=f"take more than {len(plan.images.train_y)} training images, or more of them for the labels",
        )
    if chosen_on < 1:
        raise InputError("no image is left to choose among the read-outs", remedy="take more training images")


def _run_seed(plan: Plan, seed: int, folder: Path | None, progress: Progress | None) -> SeedResult:
    checkpoint, final = (None, None) if folder is None else _paths(folder, seed)
    if final is not None and final.exists():
        return _read_result(plan, seed, final)
    images = plan.images
    network = VdspNetwork(
        plan.settings, plan.surrogate, inputs=images.train_x.shape[1], rng=_stream(seed, _INIT), backend=plan.backend
    )
    untouched = network.crossbar.w.copy()  # a checkpoint comes later: this is how every run of the seed begins
    spikes, seconds = _learn(plan, seed, network, checkpoint, progress)
    trained = np.any(network.crossbar.w != untouched, axis=0)
    result = _evaluate(plan, seed, network, spikes, seconds)
    result = replace(result, labels=np.where(trained, result.labels, -1))
    if final is not None and checkpoint is not None:
        _write_result(plan, result, final)
        checkpoint.unlink(missing_ok=True)
    return result


def _learn(
    plan: Plan, seed: int, network: VdspNetwork, checkpoint: Path | None, progress: Progress | None
) -> tuple[list[float], float]:
    """Every epoch from the checkpoint on; the mean spikes per image of each batch, and the seconds that it took."""
    images, total = plan.images.train_x, len(plan.images.train_x)
    batches = -(-total // BATCH)
    number, spikes, seconds = 0, list[float](), 0.0
    if checkpoint is not None and checkpoint.exists():
        stored, about = _read_checkpoint(plan, seed, checkpoint)
        network.restore(stored)
        number, spikes, seconds = int(about["batch"]), [float(x) for x in about["spikes"]], float(about["seconds"])
    steps = plan.settings.anneal_steps * plan.epochs
    saved = begin = time.monotonic()
    order: NDArray[np.int64] = np.empty(0, dtype=np.int64)
    order_of = -1
    while number < batches * plan.epochs:
        epoch, batch = divmod(number, batches)
        if order_of != epoch:
            order, order_of = _stream(seed, _ORDER, epoch).permutation(total), epoch
        chosen = order[batch * BATCH : (batch + 1) * BATCH]
        # Annealing goes in steps, the last of which is its end.
        stage = int((epoch * total + batch * BATCH) / (plan.epochs * total) * steps)
        before = network.state()
        try:
            counts = network.learn(
                images[chosen], _stream(seed, _LEARN, epoch, batch), progress=stage / max(steps - 1, 1)
            )
        except KeyboardInterrupt:
            if checkpoint is not None:
                elapsed = seconds + time.monotonic() - begin
                _write_checkpoint(plan, seed, checkpoint, before, number, spikes, elapsed)
            raise
        spikes.append(float(counts.sum() / len(chosen)))
        number += 1
        shown = min((number % batches or batches) * BATCH, total) + (number - 1) // batches * total
        if progress is not None:
            progress(seed, shown, total * plan.epochs)
        now = time.monotonic()
        if checkpoint is not None and (number % batches == 0 or now - saved > SAVE_EVERY):
            _write_checkpoint(plan, seed, checkpoint, network.state(), number, spikes, seconds + now - begin)
            saved = now
    return spikes, seconds + time.monotonic() - begin


def _evaluate(plan: Plan, seed: int, network: VdspNetwork, spikes: list[float], seconds: float) -> SeedResult:
    if not any(spikes):
        raise InputError(
            f"no output neuron has ever spiked for the images of {plan.images.name}",
            remedy="lower the threshold of the output neurons",
        )
    images, classes = plan.images, plan.images.classes
    fitted_on = plan.split[0]
    pick = _picked(plan, seed)
    x, y = images.train_x[pick], images.train_y[pick]
    train = {p: network.respond(x, _stream(seed, _RESPOND, 1), protocol=p) for p in ("learning", "test")}
    on_choice = {
        kind: fit_readout(kind, train[p][:fitted_on], y[:fitted_on], classes=classes).accuracy(
            train[p][fitted_on:], y[fitted_on:]
        )
        for kind, p in PROTOCOL.items()
    }
    chosen = max(on_choice, key=lambda kind: on_choice[kind])
    test = {p: network.respond(images.test_x, _stream(seed, _RESPOND, 2), protocol=p) for p in ("learning", "test")}
    final = {kind: fit_readout(kind, train[p], y, classes=classes) for kind, p in PROTOCOL.items()}
    on_test = {kind: final[kind].accuracy(test[p], images.test_y) for kind, p in PROTOCOL.items()}
    answer = final[chosen].predict(test[PROTOCOL[chosen]])
    return SeedResult(
        seed=seed,
        chosen=chosen,
        accuracy=on_test[chosen],
        on_choice=MappingProxyType(on_choice),
        on_test=MappingProxyType(on_test),
        confusion=confusion(images.test_y, answer, classes=classes),
        w=network.crossbar.w.copy(),
        weight=network.crossbar.weight.copy(),
        labels=final["S"].labels,
        spikes=np.array(spikes),
        seconds=seconds,
        pulses=network.crossbar.pulses,
    )


# -- files -------------------------------------------------------------------------------------------------------------


def _pack(about: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {**arrays, "about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)}


def _unpack(path: Path, plan: Plan, seed: int, *, kind: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    stored = read_npz(path, kind=kind)
    try:
        about = json.loads(stored.pop("about").tobytes())
        same = about["kind"] == kind and about["plan"] == plan.fingerprint and about["seed"] == seed
    except (KeyError, TypeError, ValueError):
        raise InputError(f"this is no {kind}", where=Where(path), remedy="take another folder") from None
    if not same:
        raise InputError(
            f"this {kind} belongs to another run", where=Where(path), remedy="give the same options, or another folder"
        )
    return stored, about


def _write_checkpoint(
    plan: Plan, seed: int, path: Path, state: Mapping[str, Array], batch: int, spikes: list[float], seconds: float
) -> None:
    about = {
        "kind": "checkpoint",
        "plan": plan.fingerprint,
        "seed": seed,
        "batch": batch,
        "spikes": spikes,
        "seconds": seconds,
    }
    write_npz(path, _pack(about, state))


def _read_checkpoint(plan: Plan, seed: int, path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    return _unpack(path, plan, seed, kind="checkpoint")


def _write_result(plan: Plan, result: SeedResult, path: Path) -> None:
    about = {"kind": "result", "plan": plan.fingerprint, **result.to_dict()}
    arrays = {"w": result.w, "weight": result.weight, "labels": result.labels}
    write_npz(path, _pack(about, arrays))


def _read_result(plan: Plan, seed: int, path: Path) -> SeedResult:
    stored, about = _unpack(path, plan, seed, kind="result")
    return SeedResult(
        seed=seed,
        chosen=str(about["read_out"]),
        accuracy=float(about["accuracy"]),
        on_choice=MappingProxyType(about["accuracy_on_choice_images"]),
        on_test=MappingProxyType(about["accuracy_on_test_images"]),
        confusion=np.array(about["confusion"]),
        w=stored["w"],
        weight=stored["weight"],
        labels=stored["labels"],
        spikes=np.array(about["spikes_per_image"]),
        seconds=float(about["learning_seconds"]),
        pulses=int(about["programming_pulses"]),
    )
