"""Accuracy of an image network over one or two of its settings: a run per point and seed, in parallel, resumable.

Each point has a folder of its own and is a run like any other (`cosim.network.run`), so that a map that was stopped
goes on where it stopped, and one with more points takes the old ones over. Points are compared on training images that
were held out, never on the test set: a map is there to choose by.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, fields, is_dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cosim.errors import InputError, UnknownName
from cosim.files import write_atomic
from cosim.network.images import ImageSet

MOST = 2  # settings that are varied at once
Settings = TypeVar("Settings")
# A point's run: settings by name, seed, folder -> accuracies (0..1) on held-out images by read-out.
Run = Callable[[Mapping[str, float], int, Path], Mapping[str, float]]


@dataclass(frozen=True)
class Axis:
    """A setting and its values; ``label``: in words with its unit, for figures."""

    name: str
    values: tuple[float, ...]
    label: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) != len(self.values):
            raise InputError(f"{self.name} needs one or more different values, not {list(self.values)}")
        object.__setattr__(self, "label", self.label or self.name)


def with_setting(settings: Settings, name: str, value: float) -> Settings:
    """``settings`` (a frozen dataclass) with one number changed; ``name`` may reach into a part: ``input.tau``."""
    head, _, rest = name.partition(".")
    known = [one.name for one in fields(settings) if one.init]  # type: ignore[arg-type]
    if head not in known:
        raise UnknownName("setting", head, known)
    old = getattr(settings, head)
    if rest:
        if not is_dataclass(old):
            raise InputError(f"{head} has no parts, and {name} asks for one", remedy=f"write {head}")
        changed: Any = with_setting(old, rest, value)
    elif isinstance(old, bool) or not (old is None or isinstance(old, int | float)):
        raise InputError(f"{name} is not a number", remedy="name one of its parts, as in input.tau")
    elif isinstance(old, int):
        if value != int(value):
            raise InputError(f"{name} has to be a whole number, not {value:g}")
        changed = int(value)
    else:
        changed = value
    made: Settings = replace(settings, **{head: changed})  # type: ignore[type-var]
    return made


def held_out(images: ImageSet, train: int, held: int) -> ImageSet:
    """The first ``train`` training images, and the next ``held`` ones in the place of the test set."""
    if min(train, held) < 1 or train + held > len(images.train_y):
        raise InputError(
            f"{train} images to train on and {held} to compare by are more than {images.name} has, or none",
            remedy=f"it has {len(images.train_y)} training images",
        )
    end = train + held
    return ImageSet(
        f"{images.name}, held out",
        images.train_x[:train],
        images.train_y[:train],
        images.train_x[train:end],
        images.train_y[train:end],
        images.side,
    )


@dataclass(frozen=True)
class NetworkMap:
    """Accuracies (0..1) by read-out, each of the shape of the axes and the seeds."""

    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    accuracies: Mapping[str, Any]

    def mean(self, kind: str) -> Any:
        """Over the seeds, of the shape of the axes."""
        return np.asarray(self.accuracies[kind]).mean(axis=-1)

    def best(self, kind: str) -> tuple[dict[str, float], float]:
        """The settings with the highest mean of a read-out, and that mean."""
        mean = self.mean(kind)
        place = np.unravel_index(int(mean.argmax()), mean.shape)
        settings = {axis.name: axis.values[k] for axis, k in zip(self.axes, place, strict=True)}
        return settings, float(mean.max())

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "axes": {axis.name: list(axis.values) for axis in self.axes},
            "seeds": list(self.seeds),
            "accuracy_on_held_out_training_images": {
                kind: np.asarray(values).tolist() for kind, values in self.accuracies.items()
            },
        }


def points(axes: Sequence[Axis], seeds: Sequence[int]) -> Iterator[tuple[Mapping[str, float], int]]:
    """Settings and seed of each run, the first seed of all points first."""
    for seed in seeds:
        for values in itertools.product(*(axis.values for axis in axes)):
            yield {axis.name: value for axis, value in zip(axes, values, strict=True)}, seed


def place_of(settings: Mapping[str, float]) -> str:
    """The folder of a point: one name per settings, whatever else the map holds."""
    return ",".join(f"{name}={value!r}" for name, value in sorted(settings.items()))


def run_map(
    run: Run,
    axes: Sequence[Axis],
    *,
    folder: str | Path,
    seeds: Sequence[int] = (0,),
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> NetworkMap:
    """Run every point and write ``map.json`` into ``folder``.

    Args:
        run: of one point; with several jobs it is sent to other processes, and so has to be picklable.
        axes: one or two settings with their values.
        folder: of the points' folders and the map.
        seeds: of each point.
        jobs: processes; 0: as many as there are cores.
        progress: called with the points done and all of them.

    Raises:
        InputError: no axis, too many, or one twice; or what a point refuses.
    """
    names = [axis.name for axis in axes]
    if not 1 <= len(axes) <= MOST or len(set(names)) < len(names):
        raise InputError(f"a map goes over one or two different settings, not {names}")
    if jobs < 0:
        raise InputError(f"{jobs} processes cannot work", remedy="give 1 or more, or 0 for as many as there are cores")
    place, todo = Path(folder), list(points(axes, seeds))
    found: dict[int, Mapping[str, float]] = {}
    if jobs == 1:
        for k, (settings, seed) in enumerate(todo):
            found[k] = run(settings, seed, place / place_of(settings))
            if progress is not None:
                progress(len(found), len(todo))
    else:
        with ProcessPoolExecutor(jobs or os.cpu_count() or 1, mp_context=get_context("spawn")) as pool:
            waiting: dict[Future[Mapping[str, float]], int] = {
                pool.submit(run, settings, seed, place / place_of(settings)): k
                for k, (settings, seed) in enumerate(todo)
            }
            try:
                while waiting:
                    for one in wait(waiting, return_when=FIRST_COMPLETED).done:
                        found[waiting.pop(one)] = one.result()
                        if progress is not None:
                            progress(len(found), len(todo))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    shape = (len(seeds), *(len(axis.values) for axis in axes))
    accuracies = {
        kind: np.moveaxis(np.array([found[k][kind] for k in range(len(todo))]).reshape(shape), 0, -1)
        for kind in found[0]
    }
    made = NetworkMap(tuple(axes), tuple(seeds), accuracies)
    write_atomic(place / "map.json", json.dumps(made.to_dict(), indent=1) + "\n")
    return made
