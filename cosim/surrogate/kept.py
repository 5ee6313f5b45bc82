"""Answers of a circuit that are kept in a file as they come, so that sampling that was stopped goes on where it was."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cosim.bench.events import BenchMap
from cosim.bench.maps import EVENT, FAILED, REASON
from cosim.errors import InputError
from cosim.surrogate.files import read_npz, write_npz

if TYPE_CHECKING:
    from cosim.engines.simulator import Simulator

CHUNK = 64  # events between two writes: some seconds of most circuits (our choice)
ABOUT = ("digest", "seconds", "reason")


class Kept:
    """What a map answered, by the event; ``seconds`` it took altogether, of this run and of earlier ones.

    Args:
        found: the map.
        path: of the file; None: nothing is kept. One that holds another circuit's answers raises `InputError`.
    """

    def __init__(self, found: BenchMap, path: Path | None) -> None:
        self.found, self.path, self.seconds = found, path, 0.0
        self.given = [*(f"{name}_before" for name in found.states), *found.inputs]
        self.names = [*found.states, *found.outputs]
        self._rows: dict[tuple[float, ...], tuple[float | str, ...]] = {}
        if path is None or not path.is_file():
            return
        stored = read_npz(path, kind="sample file")
        columns = [*self.given, *(f"answer_{name}" for name in self.names)]
        if {*columns, *ABOUT} != stored.keys() or str(stored["digest"]) != found.digest():
            raise InputError(
                f"the samples in {path} are not of map {found.name!r} of bench {found.bench.name} as it is",
                remedy="give another file to keep them in",
            )
        self.seconds = float(stored["seconds"])
        numbers = np.stack([stored[name] for name in columns], axis=1).tolist()
        for row, why in zip(numbers, stored["reason"].tolist(), strict=True):
            self._rows[tuple(row[: len(self.given)])] = (*row[len(self.given) :], str(why))

    def __len__(self) -> int:
        """Events that are known."""
        return len(self._rows)

    def sample(self, simulator: Simulator, events: xr.Dataset) -> tuple[xr.Dataset, Counter[str]]:
        """The circuit's answers beside its ``events``, without those that failed; and how often each reason came."""
        keys = list(zip(*(events[name].values.tolist() for name in self.given), strict=True))
        wanted = [k for k, key in enumerate(keys) if key not in self._rows]
        size = len(wanted) if self.path is None else CHUNK
        for first in range(0, len(wanted), max(size, 1)):
            part = wanted[first : first + size]
            begin = time.monotonic()
            try:
                answer = self.found.respond(events.isel({EVENT: part}), simulator)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(self._left()) from None
            self._add([keys[k] for k in part], answer)
            self.seconds += time.monotonic() - begin
            self._write()
        rows = [self._rows[key] for key in keys]
        reasons = Counter(str(row[-1]) for row in rows if row[-1])
        kept = [k for k, row in enumerate(rows) if not row[-1]]
        table = np.array([rows[k][:-1] for k in kept], dtype=float).reshape(len(kept), len(self.names))
        fields = {**self.found.states, **self.found.outputs}
        answers = {n: (EVENT, table[:, k], {"units": fields[n].unit}) for k, n in enumerate(self.names)}
        return events.isel({EVENT: kept}).assign(answers), reasons

    def _left(self) -> str:
        if self.path is None:
            return "its samples are lost; --keep FILE keeps them"
        return f"{len(self._rows)} samples are in {self.path}, and the same command goes on with them"

    def _add(self, keys: list[tuple[float, ...]], answer: xr.Dataset) -> None:
        failed = dict(zip(answer[FAILED].values.tolist(), answer[REASON].values.tolist(), strict=True))
        table = np.stack([np.asarray(answer[name].values, dtype=float) for name in self.names], axis=-1).tolist()
        good = iter(table)
        for number, key in enumerate(keys):
            nothing = (np.nan,) * len(self.names)
            self._rows[key] = (*nothing, str(failed[number])) if number in failed else (*next(good), "")

    def _write(self) -> None:
        if self.path is None:
            return
        given, rows = np.array(list(self._rows)), list(self._rows.values())
        answers = np.array([row[:-1] for row in rows], dtype=float)
        arrays = {name: given[:, k] for k, name in enumerate(self.given)}
        arrays |= {f"answer_{name}": answers[:, k] for k, name in enumerate(self.names)}
        arrays |= {"reason": np.array([row[-1] for row in rows], dtype=str)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_npz(self.path, {**arrays, "digest": np.array(self.found.digest()), "seconds": np.array(self.seconds)})
