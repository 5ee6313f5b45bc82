"""What neurons and filters of benches have in common: trains of spikes through a circuit, recorded within a budget."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, Protocol, TypeVar, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cosim.bench.stimulus_kinds import Knots, Spikes
from cosim.bench.testbench import Testbench
from cosim.devices.base import Array
from cosim.devices.maps import EventMap, Field
from cosim.engines.prepare import fingerprint
from cosim.engines.simulator import Deck, Limits, Simulator
from cosim.errors import SimulationError
from cosim.surrogate.base import Range
from cosim.surrogate.certify import Tell, coordinates
from cosim.surrogate.density import KEPT
from cosim.surrogate.files import array_digest, read_npz, write_npz
from cosim.surrogate.trains import LEAST_TESTED, TENTHS, covered_range

LEAST_SEEN = 3  # held-out trains that have to have been in a tenth of a range that is certified (our choice)
WALL = 600.0  # s, of one train: at tightened tolerances, a minute of a busy core


class Given(Protocol):
    """What a neuron and a filter of a bench file both say."""

    @property
    def analysis(self) -> str | None:
        """The transient that is taken; None: the first."""
        ...

    @property
    def intervals(self) -> tuple[float, float]:
        """s: the shortest between two spikes, and the longest mean of a train."""
        ...


OfFile = TypeVar("OfFile", bound=Given)
Train = TypeVar("Train")
Asked = TypeVar("Asked")


@dataclass(frozen=True)
class SpikeBench(Generic[OfFile, Asked, Train]):
    """A neuron or a filter of a bench, ready to be driven.

    Args:
        bench: the whole bench.
        name: of the neuron or filter.
        given: as the bench has it.
        kept: folder in which trains are kept as they come, and found again; None: nowhere.
        saved: s that trains took when they were made that have been found again; copies share it.
    """

    bench: Testbench
    name: str
    given: OfFile
    kept: Path | None = None
    saved: list[float] = field(default_factory=list, compare=False, repr=False)

    def clock(self) -> float:
        """s, as if trains that were found again had been made anew."""
        return time.perf_counter() + sum(self.saved)

    def record(self, asked: Asked, simulator: Simulator) -> Train:
        """What the circuit makes of input spikes at ``asked`` s, or what it made of them before where that is `kept`.

        Raises `SimulationError` where it gives no answer.
        """
        if self.kept is None:
            return self.recorded(asked, simulator)
        parts = [asked] if isinstance(asked, np.ndarray) else list(cast(Sequence[Array], asked))
        about = f"{self.netlist()} {self.given!r} {simulator.version()} {array_digest(*parts)}"
        path = self.kept / f"train-{hashlib.sha256(about.encode()).hexdigest()[:32]}.npz"
        if path.is_file():
            stored = read_npz(path, kind="recorded train")
            self.saved.append(float(stored.pop("seconds")))
            return self.train(**{name: x if x.ndim else x.item() for name, x in stored.items()})
        begin = time.perf_counter()
        made = self.recorded(asked, simulator)
        seconds = {"seconds": np.array(time.perf_counter() - begin)}
        self.kept.mkdir(parents=True, exist_ok=True)
        write_npz(path, {name: np.asarray(x) for name, x in vars(made).items() if x is not None} | seconds)
        return made

    @property
    def train(self) -> Callable[..., Train]:
        """What a train of it is."""
        raise NotImplementedError

    def recorded(self, asked: Asked, simulator: Simulator) -> Train:
        """As `record`, by the circuit."""
        raise NotImplementedError

    @property
    def analysis(self) -> str:
        """The transient that it takes."""
        return self.given.analysis or next(iter(self.bench.file.plan))

    def deck(self) -> Deck:
        """Of the bench as it stands."""
        return self.bench.deck(self.analysis)

    def netlist(self) -> str:
        """SHA-256 of this deck."""
        return hashlib.sha256(fingerprint(self.deck()).encode()).hexdigest()

    def tolerances(self) -> dict[str, float]:
        """The numeric options of this deck."""
        return {key: float(x) for key, x in self.deck().options.items() if isinstance(x, int | float)}

    def driven(self, starts: Mapping[str, Array], *, stop: float, save: Sequence[str]) -> Testbench:
        """The bench with spikes that begin at ``starts`` (n,) s of each stimulus, until ``stop`` (s)."""
        file = self.bench.file
        trains = {name: knots(cast(Spikes, file.stimuli[name]), times) for name, times in starts.items()}
        entry = file.plan[self.analysis].model_copy(update={"sweep": {}, "stop": stop})
        changes = {
            "stimuli": {**file.stimuli, **trains}, "analysis": None, "measures": {}, "limits": {}, "maps": {},
            "neurons": {}, "filters": {}, "corners": {}, "monte_carlo": None, "analyses": {"train": entry},
            "save": tuple(save),
        }  # fmt: skip
        return replace(self.bench, file=file.model_copy(update=changes))


def answered(bench: Testbench, simulator: Simulator) -> xr.Dataset:
    """The waveforms of a bench that is `SpikeBench.driven`; raises `SimulationError` where it gave none."""
    done = bench.run(simulator, limits=Limits(wall=WALL))
    if not done.result.ok:
        raise SimulationError(
            f"bench {bench.name} gave no answer to a train of spikes: {done.result.reason}",
            outcome=done.result.outcome.value,
        )
    return done.waveforms


def knots(given: Spikes, starts: Array) -> Knots:
    """A stimulus with spikes like those of ``given`` that begin at ``starts`` (n,) s."""
    shape = ((0.0, given.base), (given.edge, given.amplitude), (given.edge + given.width, given.amplitude),
             (2.0 * given.edge + given.width, given.base))  # fmt: skip
    points = [("0 s", f"{given.base!r} V")]
    points += [(f"{float(t) + offset!r} s", f"{v!r} V") for t in starts for offset, v in shape]
    return Knots.model_validate({"kind": "pwl", "points": points})


def time_said(learned: Recorded[Train], held: Sequence[Train], seconds: float) -> str:
    """What all trains took, for a certificate: those to learn from and those ``held`` out, which took ``seconds``."""
    spent, whole = learned.seconds / 60.0, (learned.seconds + seconds) / 60.0
    return (
        f"simulator's time: {spent:.1f} min for {len(learned.trains)} trains to learn from, which a budget counts, and "
        f"{seconds / 60.0:.1f} min for {len(held)} held out: {whole:.1f} min, without what its own error repeats"
    )


@contextmanager
def said_where(kept: Path | None) -> Iterator[None]:
    """Ctrl-C says where trains are kept, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        left = (
            "the trains are lost: --keep FOLDER keeps them"
            if kept is None
            else f"the trains are in {kept}: the same command goes on with them"
        )
        raise KeyboardInterrupt(left) from None


@dataclass(frozen=True)
class Recorded(Generic[Train]):
    """Trains to learn from, the seconds that they took, and a note where the budget was spent before all were there."""

    trains: list[Train]
    seconds: float
    notes: tuple[str, ...]


def recorded(
    means: Sequence[float],
    record: Callable[[float, list[Train]], Train],
    *,
    budget: float,
    total: int,
    tell: Tell | None,
    clock: Callable[[], float] = time.perf_counter,
) -> Recorded[Train]:
    """A train of each mean interval (s), but for those, after two, for which the ``budget`` (s) leaves no time.

    ``record`` gets the mean and the trains before; ``total``: so many are told of.
    """
    begin, made = clock(), list[Train]()
    for number, mean in enumerate(means):
        if number >= 2 and clock() - begin >= budget:
            break
        if tell is not None:
            tell(number, total)
        made.append(record(mean, made))
    note = f"the budget of {budget:g} s was spent after {len(made)} of {len(means)} trains"
    return Recorded(made, clock() - begin, () if len(made) == len(means) else (note,))


def timed(
    asked: Sequence[Asked],
    record: Callable[[Asked], Train],
    *,
    tell: Tell | None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[Train], list[float]]:
    """What ``record`` gives of each, and the seconds that each took."""
    made, seconds = list[Train](), list[float]()
    for number, one in enumerate(asked):
        if tell is not None:
            tell(number, len(asked))
        begin = clock()
        made.append(record(one))
        seconds.append(clock() - begin)
    if tell is not None:
        tell(len(asked), len(asked))
    return made, seconds


def steady_seconds(events: Sequence[int], seconds: Sequence[float]) -> float | None:
    """s of an event, of trains of so many ``events`` each but the first, which warms caches; None without another."""
    return sum(seconds[1:]) / sum(events[1:]) if len(events) > 1 else None


def behind(tell: Tell | None, trains: int, total: int) -> Tell | None:
    """Tells of held-out trains that come behind ``trains``."""
    return None if tell is None else lambda done, _: tell(trains + done, total)


def seen(trains: Sequence[Array], ends: Range) -> NDArray[np.int64]:
    """How many values of held-out ``trains`` lie in each tenth between the ``ends``; 0 where fewer than `LEAST_SEEN`
    trains have one: events of a train follow each other from one start."""
    each = np.stack([np.histogram(np.clip(values, *ends), bins=TENTHS, range=ends)[0] for values in trains])
    return np.where(np.count_nonzero(each, axis=0) >= LEAST_SEEN, each.sum(axis=0), 0)


def seen_said(name: str, counts: NDArray[np.int64]) -> str:
    """What `seen` found of a state, for a certificate."""
    return (
        f"held-out events in each tenth of {name}: {', '.join(map(str, counts))}; a tenth with fewer than "
        f"{LEAST_TESTED}, or of fewer than {LEAST_SEEN} trains (0 here), is not certified"
    )


def samples_in(event_map: EventMap, columns: Mapping[str, Array], box: Mapping[str, Range], *, seed: int) -> Array:
    """(n, d): where events lie in a ``box`` of states and inputs, as shares of it: `KEPT` of those in it, at random."""
    at = np.flatnonzero(np.all([(columns[n] >= low) & (columns[n] <= high) for n, (low, high) in box.items()], axis=0))
    if at.size > KEPT:
        at = np.random.default_rng([seed, 17]).choice(at, KEPT, replace=False)
    named = {f"{name}_before" if name in event_map.states else name: columns[name][at] for name in box}
    return coordinates(event_map, named, box).round(4)


def intervals_tested(trains: Sequence[Array]) -> Range:
    """The widest range of intervals (s) whose tenths, by the logarithm, were each `seen` as a state's have to be.

    Raises `InputError` where there are too few for any.
    """
    logs = [np.log(intervals) for intervals in trains]
    ends = (min(float(one.min()) for one in logs), max(float(one.max()) for one in logs))
    low, high = covered_range(Field("1", ends), seen(logs, ends), name="interval")
    both = np.concatenate(trains)  # rounding of a logarithm does not widen it
    return (max(float(np.exp(low)), float(both.min())), min(float(np.exp(high)), float(both.max())))
