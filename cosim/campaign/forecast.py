"""How long a campaign takes on more cores than there are here: its parts as a queueing model, simulated with simpy.

The parts, each with costs that `cosim.claims.scale` measures on real campaigns:

- the *parent* does one thing after the other: it sends batches, takes rows in, commits;
- the *scheduler* handles a batch twice, when it comes and when it is done, one at a time; without one (processes of
  this machine) its cost is zero;
- *workers* take batches in the order of their coming; a case takes a random time; a worker may die, and is replaced
  after a while, and its batch is run again;
- the *store* is part of the parent: a commit costs a fixed time and something for each row.

How batches are sized is not modelled but called: `cosim.campaign.run.batch_size`. Left out: the network's bandwidth
(a row is a kilobyte), and what the machines do to each other (memory, shared file systems).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from cosim.campaign import run
from cosim.packages import optional


@dataclass(frozen=True)
class Costs:
    """What is done beside simulating, in seconds: of the parent ``find`` and ``row`` per case, ``send`` and
    ``receive`` per batch, ``commit`` each time; ``schedule`` of the scheduler per batch; ``overhead`` of a worker per
    batch; ``delay`` from one process to the next. ``row_bytes`` on disk.
    """

    find: float
    row: float
    send: float
    receive: float
    commit: float
    schedule: float = 0.0
    overhead: float = 0.0
    delay: float = 0.0
    row_bytes: float = 0.0


class Sizes(Protocol):
    """How many cases the next batch has."""

    def __call__(self, per_case: float, *, left: int, workers: int) -> int:
        """See `cosim.campaign.run.batch_size`."""
        ...


@dataclass(frozen=True)
class Work:
    """Cases that take ``seconds`` on average, log-normally distributed with ``spread`` (of the logarithm).

    A worker dies ``deaths`` times a second, and another takes its place ``restart`` seconds later.
    """

    cases: int
    seconds: float
    spread: float = 0.2
    deaths: float = 0.0
    restart: float = 30.0


@dataclass(frozen=True)
class Forecast:
    """``wall`` in seconds; busy shares of the parent and the scheduler; ``efficiency`` against cores that only
    simulate. ``stored`` in bytes.
    """

    cores: int
    wall: float
    efficiency: float
    parent: float
    scheduler: float
    batches: int
    deaths: int
    stored: float

    @property
    def bottleneck(self) -> str:
        """What limits the campaign."""
        if self.efficiency > 0.9:
            return "workers"
        busiest = max((self.parent, "parent"), (self.scheduler, "scheduler"))
        return busiest[1] if busiest[0] > 0.8 else "start and end"


def fixed_sizes(seconds: float, most: int) -> Sizes:
    """Batches of so many seconds, however many workers there are."""

    def sizes(per_case: float, *, left: int, workers: int) -> int:
        del left, workers
        return 1 if per_case <= 0.0 else max(1, round(min(most, seconds / per_case)))

    return sizes


def simulate(
    costs: Costs, work: Work, *, cores: int, rng: np.random.Generator, sizes: Sizes = run.batch_size
) -> Forecast:
    """A campaign on ``cores`` workers that are all there at the start. Raises `EngineMissing` without simpy."""
    return _Model(costs, work, cores, rng, sizes).run()


class _Model:
    def __init__(self, costs: Costs, work: Work, cores: int, rng: np.random.Generator, sizes: Sizes) -> None:
        simpy = optional("simpy", extra="cluster", needed_by="a forecast")
        self.costs, self.work, self.cores, self.rng, self.sizes = costs, work, cores, rng, sizes
        self.env = simpy.Environment()
        self.idle = cores
        self.queue: deque[int] = deque()  # batches that wait for a worker
        self.handled: deque[Callable[[], None]] = deque()  # what waits for the scheduler, and what follows from it
        self.arrived: deque[tuple[int, float]] = deque()
        self.wake: Any = None
        self.scheduling = False
        self.left, self.under_way, self.rows, self.batches, self.deaths = work.cases, 0, 0, 0, 0
        self.parent_busy = self.scheduler_busy = 0.0
        # A batch's sum of n log-normal times is drawn as a whole: normal for large n, exact for one.
        self._sigma = math.sqrt(math.expm1(work.spread**2))

    def _duration(self, n: int) -> float:
        if n == 1:
            spread = self.work.spread
            return self.work.seconds * math.exp(spread * self.rng.standard_normal() - 0.5 * spread * spread)
        drawn = n + math.sqrt(n) * self._sigma * self.rng.standard_normal()
        return self.work.seconds * max(drawn, 0.1 * n)

    def _after(self, seconds: float, then: Callable[[], None]) -> None:
        self.env.timeout(seconds).callbacks.append(lambda _: then())

    def _spend(self, seconds: float) -> Any:
        self.parent_busy += seconds
        return self.env.timeout(seconds)

    def _parent(self) -> Generator[Any, Any, None]:
        costs, per_case, ready, committed = self.costs, 0.0, 0, 0.0
        while self.left or self.under_way:
            while self.left and self.under_way < run.room(per_case, waited=self.env.now, workers=self.cores):
                size = min(self.left, self.sizes(per_case, left=self.left, workers=self.cores))
                self.left -= size
                self.under_way += 1
                self.batches += 1
                yield self._spend(costs.send + size * costs.find)
                self._schedule(partial(self._offer, size))
            if not self.arrived:
                self.wake = self.env.event()
                yield self.wake | self.env.timeout(run.COMMIT_SECONDS)
            while self.arrived:
                size, seconds = self.arrived.popleft()
                self.under_way -= 1
                ready += size
                each = seconds / size
                per_case = each if per_case <= 0.0 else per_case + run.SMOOTH * (each - per_case)
                yield self._spend(costs.receive + size * costs.row)
            if ready and (self.env.now - committed >= run.COMMIT_SECONDS or ready >= run.COMMIT_ROWS):
                committed = self.env.now
                self.rows, ready = self.rows + ready, 0
                yield self._spend(costs.commit)
        self.rows += ready
        yield self._spend(costs.commit)

    def _schedule(self, then: Callable[[], None]) -> None:
        """The scheduler does ``then`` when it has done what came before."""
        if not self.costs.schedule:
            then()
            return
        self.handled.append(then)
        if not self.scheduling:
            self._handle()

    def _handle(self) -> None:
        self.scheduling = bool(self.handled)
        if self.scheduling:
            self.scheduler_busy += 0.5 * self.costs.schedule
            self._after(0.5 * self.costs.schedule, partial(self._handled, self.handled.popleft()))

    def _handled(self, then: Callable[[], None]) -> None:
        then()
        self._handle()

    def _offer(self, size: int) -> None:
        if self.idle:
            self.idle -= 1
            self._begin(size)
        else:
            self.queue.append(size)

    def _begin(self, size: int) -> None:
        """A worker begins with a batch."""
        seconds, deaths = self._duration(size), self.work.deaths
        if deaths and (dies := self.rng.exponential(1.0 / deaths)) < seconds:
            self._after(dies, partial(self._died, size))
        else:
            self._after(self.costs.delay + self.costs.overhead + seconds, partial(self._finished, size, seconds))

    def _died(self, size: int) -> None:
        self.deaths += 1
        self._after(self.work.restart, self._free)
        self._schedule(partial(self._offer, size))

    def _free(self) -> None:
        if self.queue:
            self._begin(self.queue.popleft())
        else:
            self.idle += 1

    def _finished(self, size: int, seconds: float) -> None:
        self._free()
        self._schedule(partial(self._arrive, size, seconds))

    def _arrive(self, size: int, seconds: float) -> None:
        self.arrived.append((size, seconds))
        if self.wake is not None and not self.wake.triggered:
            self.wake.succeed()

    def run(self) -> Forecast:
        self.env.run(until=self.env.process(self._parent()))
        wall = float(self.env.now)
        assert self.rows == self.work.cases
        return Forecast(
            self.cores, wall, self.work.cases * self.work.seconds / (wall * self.cores), self.parent_busy / wall,
            self.scheduler_busy / wall, self.batches, self.deaths, self.rows * self.costs.row_bytes,
        )  # fmt: skip


def curve(
    costs: Costs, seconds: float, *, cores: tuple[int, ...], cases: int, rng: np.random.Generator,
    sizes: Sizes = run.batch_size, per_core: int = 300,
) -> list[Forecast]:  # fmt: skip
    """Forecasts against the number of cores for ``cases`` cases.

    Few cores do the same thing for a long time: there ``per_core`` cases a core are simulated instead, and the wall
    time is what the whole takes at the same rate.
    """
    found = []
    for count in cores:
        some = min(cases, max(3000, per_core * count))
        entry = simulate(costs, Work(some, seconds), cores=count, rng=rng, sizes=sizes)
        share = cases / some
        found.append(replace(entry, wall=entry.wall * share, stored=entry.stored * share))
    return found
