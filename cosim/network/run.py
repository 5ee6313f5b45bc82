"""Running a network over batches and seeds, with checkpoints and results; a run stopped at any moment can resume.

A `System` describes what is learned; `System.start` gives the `Network` of one seed, which learns a batch at a time and
is evaluated at the end. A run depends on its system and seed only: each batch draws from a separate stream of
random numbers, and a checkpoint always lies between two batches. An interrupted run that is resumed therefore gives the
same numbers as one that was never interrupted.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cosim import __version__
from cosim.devices.base import Values
from cosim.errors import InputError, Where
from cosim.files import write_atomic
from cosim.network.origin import code_of
from cosim.surrogate.files import read_npz, write_npz

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNKNOWN = "unknown"  # code and version of files that do not note them
# Seconds between two checkpoints.
SAVE_EVERY = 20.0
KINDS = (("checkpoint", "seconds"), ("result", "learning_seconds"))  # files of a seed, and what notes its time
# Seed, items learned so far and items in all.
Progress = Callable[[int, int, int], None]
Arrays = Mapping[str, NDArray[Any]]
# Seed, and what `System.glance` gives.
View = Callable[[int, Any], None]
# Whether a run goes on from its folder's files; "anyway": also from those that other code has trained.
Resume = bool | Literal["anyway"]
# Seconds between two glances.
GLANCE_EVERY = 0.5


class Purpose(IntEnum):
    """What random numbers are for; each purpose has separate streams."""

    START, ORDER, LEARN, EVALUATE, CHECK = range(5)


@dataclass(frozen=True)
class Streams:
    """The random numbers of one seed: ``streams(Purpose.LEARN, batch)`` is always the same stream."""

    seed: int

    def __call__(self, purpose: Purpose, *place: int) -> np.random.Generator:
        """The generator of a purpose and place (e.g. the batch's number)."""
        # SFC64 draws the many normal numbers of the noise fastest.
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence((self.seed, int(purpose), *place))))


class Network(Protocol):
    """The network of one seed."""

    def learn(self, batch: int) -> None:
        """Learn the batch of this number."""
        ...

    def evaluate(self) -> tuple[Mapping[str, Any], Arrays]:
        """Results as JSON values, `System.score` among them, and as arrays for the figures."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """All that changes while learning, copied."""
        ...

    def restore(self, state: Arrays) -> None:
        """The inverse of `state`."""
        ...


class System(ABC):
    """A network, its settings and its task; a frozen value. Two with one fingerprint give the same numbers.

    Attributes:
        name: in results and on the command line.
        score: which of the values of `Network.evaluate` (a share, 0..1) the run is about.

    >>> import numpy as np
    >>> class Count:
    ...     def __init__(self): self.n = 0
    ...     def learn(self, batch): self.n += batch
    ...     def evaluate(self): return {"share": self.n / 10}, {}
    ...     def state(self): return {"n": np.array(self.n)}
    ...     def restore(self, state): self.n = int(state["n"])
    >>> class Counting(cosim.System):
    ...     name, score, fingerprint, batches = "counting", "share", "1", (1, 1, 1)
    ...     def start(self, streams): return Count()
    >>> cosim.run_network(Counting()).mean
    0.3
    """

    name: ClassVar[str]
    score: ClassVar[str] = "accuracy"

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 of all that the numbers depend on, but for the seed."""

    @property
    def options(self) -> Mapping[str, str]:
        """What the fingerprint stands for, by name, as short text: says in which option another run differs."""
        return {}

    @property
    @abstractmethod
    def batches(self) -> Sequence[int]:
        """How many items (images, episodes) each batch holds."""

    @abstractmethod
    def start(self, streams: Streams) -> Network:
        """The untrained network of a seed. Raises `InputError` where it could not be evaluated in the end."""

    def glance(self, network: Network) -> Any:
        """What the network of a seed shows of itself while it learns; None: nothing."""
        return None

    def to_dict(self, seeds: Sequence[SeedResult]) -> dict[str, Any]:
        """What ``result.json`` holds besides the scores, as JSON values."""
        return {}

    def reading(self, seeds: Sequence[SeedResult]) -> str:
        """How the score was read, in a few words behind it; "": there is one way only."""
        return ""

    def lines(self, seeds: Sequence[SeedResult]) -> list[str]:
        """What the command line prints about the network and each seed, one fact per line."""
        return [f"seed {seed.seed:<6} {self.score} {100 * seed.values[self.score]:.2f} %" for seed in seeds]

    def figures(self, result: RunResult) -> dict[str, Figure]:
        """The figures of a result, by name."""
        return {}


@dataclass(frozen=True)
class SeedResult:
    """One seed: what `Network.evaluate` gave, read by attribute or key, and the seconds of learning.

    ``codes``: digests of the code that trained and evaluated it (`cosim.network.origin`), in turn.
    """

    seed: int
    values: Values
    arrays: Values = field(repr=False)
    seconds: float
    codes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON values, without the arrays of the figures."""
        return {"seed": self.seed, **self.values, "learning_seconds": self.seconds, "codes": list(self.codes)}


@dataclass(frozen=True)
class RunResult:
    """All seeds of a system."""

    system: System
    seeds: tuple[SeedResult, ...]

    @property
    def scores(self) -> list[float]:
        """The score (0..1) of each seed."""
        return [float(seed.values[self.system.score]) for seed in self.seeds]

    @property
    def mean(self) -> float:
        """Mean score (0..1) over the seeds."""
        return float(np.mean(self.scores))

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds (n − 1); None with one seed."""
        return float(np.std(self.scores, ddof=1)) if len(self.seeds) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "system": self.system.name,
            "cosim": __version__,
            "code": code_of(type(self.system)),
            "plan": self.system.fingerprint,
            **self.system.to_dict(self.seeds),
            self.system.score: {
                "mean": self.mean,
                "deviation": self.deviation,
                "seeds": len(self.seeds),
                "reading": self.system.reading(self.seeds),
            },
            "seeds": [seed.to_dict() for seed in self.seeds],
        }

    def lines(self) -> list[str]:
        """The result as text, one fact per line."""
        spread = "" if self.deviation is None else f" ± {100 * self.deviation:.2f}"
        count = len(self.seeds)
        over = f"over {count} seed{'s' * (count > 1)}{', mean ± standard deviation of a seed' * (count > 1)}"
        how = self.system.reading(self.seeds)
        mean = f"{self.system.score:<11} {100 * self.mean:.2f}{spread} %{how and f' {how},'} {over}"
        return [*self.system.lines(self.seeds), *self._by_other_code(), mean]

    def _by_other_code(self) -> list[str]:
        now = (code_of(type(self.system)),)
        return [
            f"code        seed {seed.seed} comes from other code, in whole or in part: {', then '.join(seed.codes)}; "
            f"this is {now[0]}"
            for seed in self.seeds
            if seed.codes != now
        ]

    def figures(self) -> dict[str, Figure]:
        """The system's figures, by name."""
        return self.system.figures(self)


def run_network(
    system: System,
    *,
    seeds: Sequence[int] = (0,),
    folder: str | Path | None = None,
    resume: Resume = False,
    progress: Progress | None = None,
    view: View | None = None,
) -> RunResult:
    """Learn every batch and evaluate; once per seed.

    Args:
        system: what to run.
        seeds: one network each.
        folder: for checkpoints, results and ``result.json``, written as they are made; None: nothing is written.
        resume: go on from the folder's checkpoints; without it a folder that holds some is refused. What other code
            has trained is refused too, unless it is "anyway"; the result then names both.
        progress: called with seed, items learned and items in all, after each batch.
        view: called with seed and `System.glance` of its network, about twice a second while it learns.

    Raises:
        InputError: a checkpoint of another system or by other code, or anything that the system refuses before it
            learns.

    >>> settings, _ = cosim.vdsp_preset("digits")
    >>> task = cosim.ImageTask(cosim.load_images("digits").first(300))
    >>> cell = cosim.Surrogate(cosim.ParameterSet.load("tio2"))
    >>> result = cosim.run_network(cosim.VdspSystem(settings.with_(neurons=20), cell, task))
    >>> result.mean > 0.2
    True
    """
    place = None if folder is None else Path(folder)
    refuse_first(system, seeds, place, resume)
    done: list[SeedResult] = []
    anyway = resume == "anyway"
    for seed in seeds:
        done.append(_run_seed(system, seed, place, progress, view, anyway=anyway))
        if place is not None:
            text = json.dumps(RunResult(system, tuple(done)).to_dict(), indent=1)
            write_atomic(place / "result.json", text + "\n")
    return RunResult(system, tuple(done))


def refuse_first(
    system: System,
    seeds: Sequence[int],
    place: Path | None,
    resume: Resume,
    *,
    later: Mapping[str, str] | None = None,
) -> None:
    """Raise what `run_network` would, for work that comes before it.

    Args:
        later: options that ``system`` comes to have by that work. Its fingerprint is not known yet, so that the files
            of a folder that is resumed are held against its options.
    """
    if not all(isinstance(seed, int | np.integer) and not isinstance(seed, bool) and seed >= 0 for seed in seeds):
        raise InputError(f"seeds are whole numbers from 0, not {list(seeds)}", remedy="give e.g. 0,1,2")
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(f"a run needs one or more different seeds, not {list(seeds)}", remedy="give e.g. 0,1,2")
    if place is not None and place.exists() and not place.is_dir():
        raise InputError(f"{place} is a file, and results need a folder", remedy="take another name")
    if place is not None and not resume and (old := kept(place, seeds)):
        raise InputError(
            f"{old[0]} exists already",
            remedy="resume it with --resume (in Python: resume=True), or take another folder",
        )
    for seed in seeds:  # before an hour of learning, not after it
        system.start(Streams(seed))
    if place is not None and later is not None:
        options = {**system.options, **later}
        for seed in seeds:
            for path, (kind, clock) in zip(_paths(place, seed), KINDS, strict=True):
                if path.exists():
                    _read(path, system, seed, kind=kind, clock=clock, anyway=resume == "anyway", options=options)


def kept(folder: Path, seeds: Sequence[int]) -> list[Path]:
    """The checkpoints and results of these seeds in a folder: what a run would go on from."""
    return [path for seed in seeds for path in _paths(folder, seed) if path.exists()]


def _paths(folder: Path, seed: int) -> tuple[Path, Path]:
    return folder / f"seed-{seed}.checkpoint.npz", folder / f"seed-{seed}.npz"


def _run_seed(
    system: System, seed: int, folder: Path | None, progress: Progress | None, view: View | None, *, anyway: bool
) -> SeedResult:
    checkpoint, final = (None, None) if folder is None else _paths(folder, seed)
    if final is not None and final.exists():
        stored, about, codes = _read(final, system, seed, kind="result", clock="learning_seconds", anyway=anyway)
        seconds = about.pop("learning_seconds")
        return SeedResult(seed, Values(about), Values(stored), seconds, codes)
    network = system.start(Streams(seed))
    seconds, codes = _learn(system, seed, network, checkpoint, progress, view, anyway=anyway)
    values, arrays = network.evaluate()
    result = SeedResult(seed, Values(values), Values(arrays), seconds, codes)
    if final is not None and checkpoint is not None:
        _write(final, system, result.to_dict(), arrays, kind="result")
        checkpoint.unlink(missing_ok=True)
    return result


def _learn(
    system: System,
    seed: int,
    network: Network,
    checkpoint: Path | None,
    progress: Progress | None,
    view: View | None,
    *,
    anyway: bool,
) -> tuple[float, tuple[str, ...]]:
    """Every batch from the checkpoint on; the seconds that all of them took, and the code that trained them."""
    batches = system.batches
    total, first, seconds = sum(batches), 0, 0.0
    codes: tuple[str, ...] = (code_of(type(system)),)
    if checkpoint is not None and checkpoint.exists():
        stored, about, earlier = _read(checkpoint, system, seed, kind="checkpoint", clock="seconds", anyway=anyway)
        if stored.keys() != network.state().keys():
            raise InputError(
                "this checkpoint is by another version of cosim",
                where=Where(checkpoint),
                remedy="start in a new folder",
            )
        network.restore(stored)
        first, seconds = int(about["batch"]), about["seconds"]
        codes = earlier if earlier[-1:] == codes else (*earlier, *codes)
    saved = begin = time.monotonic()
    seen = -GLANCE_EVERY

    def save(state: Arrays, batch: int) -> None:
        if checkpoint is not None:
            spent = seconds + time.monotonic() - begin
            about = {"seed": seed, "batch": batch, "seconds": spent, "codes": list(codes)}
            _write(checkpoint, system, about, state, kind="checkpoint")

    for batch in range(first, len(batches)):
        before = network.state()
        try:
            network.learn(batch)
        except KeyboardInterrupt:
            save(before, batch)
            raise
        if progress is not None:
            progress(seed, sum(batches[: batch + 1]), total)
        if view is not None and (batch + 1 == len(batches) or time.monotonic() - seen > GLANCE_EVERY):
            view(seed, system.glance(network))
            seen = time.monotonic()
        if batch + 1 == len(batches) or time.monotonic() - saved > SAVE_EVERY:
            save(network.state(), batch + 1)
            saved = time.monotonic()
    return seconds + time.monotonic() - begin, codes


def _write(path: Path, system: System, about: Mapping[str, Any], arrays: Arrays, *, kind: str) -> None:
    whose = {"kind": kind, "cosim": __version__, "plan": system.fingerprint, "options": dict(system.options)}
    text = json.dumps({**whose, **about})
    write_npz(path, {**arrays, "about": np.frombuffer(text.encode(), dtype=np.uint8)})


def _read(
    path: Path,
    system: System,
    seed: int,
    *,
    kind: str,
    clock: str,
    anyway: bool,
    options: Mapping[str, str] | None = None,
) -> tuple[dict[str, NDArray[Any]], dict[str, Any], tuple[str, ...]]:
    """Arrays and values of a file, and the code that made it.

    Raises `InputError` for one of another system or seed, and, unless ``anyway``, for one by other code. With
    ``options`` these are compared, in place of the fingerprint.
    """
    stored = read_npz(path, kind=kind)
    try:
        about = json.loads(stored.pop("about").tobytes())
        whose = [about.pop(name) for name in ("kind", "plan", "seed")]
        about[clock] = float(about[clock])
        old = dict(about.pop("options", {}))
        codes = tuple(str(code) for code in about.pop("codes", ())) or (UNKNOWN,)
        by = str(about.pop("cosim", UNKNOWN))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(f"this is not a {kind}", where=Where(path), remedy="take another folder") from None
    differing = _differing({"seed": str(whose[2]), **old}, {"seed": str(seed), **(options or system.options)})
    plan = system.fingerprint if options is None else whose[1]
    if whose != [kind, plan, seed] or (options is not None and differing):
        raise InputError(
            f"this {kind} belongs to another run{differing}",
            where=Where(path),
            remedy="give the same options, or another folder",
        )
    now = code_of(type(system))
    if codes != (now,) and not anyway:
        raise InputError(
            f"this {kind} was made by other code: {', then '.join(codes)} of cosim {by}, and this is {now} of cosim "
            f"{__version__}; the two may not give the same numbers",
            where=Where(path),
            remedy='start in a new folder, or keep it with --anyway (in Python: resume="anyway")',
        )
    return stored, about, codes


def _differing(old: Mapping[str, Any], new: Mapping[str, str]) -> str:
    """ ": neurons was 100 and is 20" for each option that differs; "" where none does, or none is known."""
    told = {"null": "not given"}
    changed = [
        f"{name} was {told.get(old[name], old[name])} and is {told.get(new[name], new[name])}"
        for name in new
        if name in old and old[name] != new[name]
    ]
    return f": {', '.join(changed)}" if changed else ""
