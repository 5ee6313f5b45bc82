"""Simulations of one bench at many places: in parallel, each once, and never one that any campaign or fit has run.

A run is a campaign's case (`cosim.campaign.cases`): its key is the hash of deck, files, engine and measures, and its
row is kept in the campaigns' cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from cosim.bench.testbench import Testbench
from cosim.campaign.cache import Cache
from cosim.campaign.cases import Case, Done, PreparedBench, evaluate
from cosim.campaign.executors import cores
from cosim.devices.base import Array
from cosim.engines.simulator import Limits
from cosim.errors import InputError
from cosim.fitting.simulators import simulator_for

Place = Mapping[str, float]


class Runs:
    """One measure of a bench at values by address (`cosim.campaign.address`).

    Args:
        bench: reduced to what the measure needs.
        measure: its name.
        size: how many values it has to have.
        engine: name of the simulator.
        workers: simulations at once; None: one for each core.
        wall: limit of one simulation in s.

    Attributes:
        simulated: how many runs were simulated, and ``reused`` how many came from the cache.
        failed: why, for each run without an answer.
    """

    def __init__(
        self, bench: Testbench, measure: str, *, size: int, engine: str, workers: int | None, wall: float
    ) -> None:
        self.bench, self._measure, self._size, self._engine = bench, measure, size, engine
        self._workers, self._limits = workers or cores(), Limits(wall=wall)
        self._known: dict[tuple[tuple[str, float], ...], Array] = {}
        self._subject: PreparedBench | None = None
        self.simulated = self.reused = 0
        self.failed: list[str] = []

    @property
    def engine(self) -> str:
        """The simulator and its version."""
        return self._prepared().engine

    def _prepared(self) -> PreparedBench:
        if self._subject is None:
            version = simulator_for(self._engine, self._workers).version()
            self._subject = PreparedBench(self.bench, version, simulator=self._engine)
        return self._subject

    def digest(self) -> str:
        """SHA-256 of the bench with all its files, the engine and cosim."""
        return self._prepared().digest()

    def tightened(self) -> Runs:
        """The same runs at tightened tolerances and half the maximum step."""
        return Runs(
            self.bench.tightened(), self._measure, size=self._size, engine=self._engine, workers=self._workers,
            wall=4.0 * self._limits.wall,
        )  # fmt: skip

    def at(self, places: Sequence[Place]) -> list[Array]:
        """The measure at each place, (size,); NaN where a run has no answer: `failed` says why."""
        keys = [tuple(sorted((name, float(value)) for name, value in place.items())) for place in places]
        missing = [key for key in dict.fromkeys(keys) if key not in self._known]
        if missing:
            self._known.update(zip(missing, self._found(missing), strict=True))
        return [self._known[key] for key in keys]

    def _found(self, missing: Sequence[tuple[tuple[str, float], ...]]) -> list[Array]:
        subject, simulator = self._prepared(), simulator_for(self._engine, self._workers)
        cases = [Case(k, values=MappingProxyType(dict(key))) for k, key in enumerate(missing)]
        done: dict[int, Done] = {}
        with Cache() as cache:
            for case in cases:
                if (row := cache.find(self._key(subject, case))) is not None:
                    done[case.number] = row
            self.reused += len(done)
            left = [case for case in cases if case.number not in done]
            self.simulated += len(left)

            def run(case: Case) -> Done:
                return evaluate(subject, case, simulator, limits=self._limits)

            if len(left) == 1:
                fresh = [run(left[0])]
            else:
                with ThreadPoolExecutor(max_workers=self._workers) as threads:
                    fresh = list(threads.map(run, left))
            cache.add(replace(one, waveforms=None) for one in fresh)
        done |= {case.number: one for case, one in zip(left, fresh, strict=True)}
        return [self._values(done[case.number]) for case in cases]

    @staticmethod
    def _key(subject: PreparedBench, case: Case) -> str:
        try:
            return subject.key(case)
        except InputError:  # its row will say so
            return ""

    def _values(self, done: Done) -> Array:
        values = done.row.get("measures", {}).get(self._measure)
        if values is None:
            why = done.row.get("why") or f"measure {self._measure!r} has no value"
            self.failed.append(f"{done.row['outcome']}: {why}" if done.row["outcome"] != "converged" else str(why))
            return np.full(self._size, np.nan)
        if len(values) != self._size:
            raise InputError(
                f"measure {self._measure!r} of bench {self.bench.name} has {len(values)} values, and the curve has "
                f"{self._size} rows",
                remedy="read a measure with a value for each row, or a vector",
            )
        return np.asarray(values, dtype=float)
