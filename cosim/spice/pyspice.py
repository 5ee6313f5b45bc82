"""The default engine: ngspice as a shared library, held by PySpice in resident worker processes."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Self

from cosim.errors import EngineMissing, MissingFile, NetlistError
from cosim.spice import outcome, waveforms
from cosim.spice.library import find_libngspice
from cosim.spice.pool import Answer, Pool
from cosim.spice.prepare import prepare
from cosim.spice.simulator import Deck, Limits, Result


class PySpiceSimulator:
    """libngspice through PySpice, in ``workers`` processes. Thread-safe; a context manager.

    Raises `EngineMissing` at the first run where there is no libngspice.
    """

    name = "pyspice"

    def __init__(self, *, workers: int = 1) -> None:
        library = find_libngspice()
        if library is None:
            raise EngineMissing(
                "there is no libngspice on this machine",
                remedy="install ngspice 44 or later with its shared library (libngspice0)",
            )
        self._pool = Pool("library", size=workers, environment={"NGSPICE_LIBRARY_PATH": library})

    def version(self) -> str:
        """``"ngspice-46"``. Raises `EngineMissing`."""
        return str(self._pool.hello()["version"])

    def confinement(self) -> Mapping[str, Any]:
        """What holds the workers back (`sandbox.Confinement`)."""
        return dict(self._pool.hello()["confinement"])

    def pids(self) -> list[int]:
        """The process ids of the workers that run."""
        return self._pool.pids()

    def run(self, deck: Deck, *, limits: Limits = Limits()) -> Result:  # noqa: B008  a frozen value
        """Run ``deck``; the outcome says what became of it. Raises `EngineMissing` only."""
        started = time.monotonic()
        try:
            prepared = prepare(deck)
        except (NetlistError, MissingFile) as error:
            return outcome.refused(deck, self.name, str(error))
        job = {
            "deck": prepared.text,
            "osdi": [{"path": path, "identity": _identity(path)} for path in prepared.osdi],
            "reads": list(prepared.reads),
            "memory": limits.memory,
            "file_size": limits.file_size,
            "last": prepared.lasting,
        }
        with self._pool.run(job, wall=limits.wall) as answer:
            pass  # all that came is in memory: the worker need not wait until it is looked at
        wall = time.monotonic() - started
        return outcome.of_ngspice(deck, prepared, answer, _plots(answer), engine=self.name, limits=limits, wall=wall)

    def close(self) -> None:
        """End the worker processes and remove their scratch folders."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _identity(path: str) -> str:
    status = os.stat(path)
    return f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"


def _plots(answer: Answer) -> list[waveforms.Plot]:
    found, position = [], 0
    for plot in answer.header.get("plots", ()):
        vectors = plot["vectors"]
        values = answer.arrays[position : position + len(vectors)]
        position += len(vectors)
        names, types = tuple(vector[0] for vector in vectors), tuple(vector[1] for vector in vectors)
        kind = waveforms.kind_of(plot["name"])
        if kind == "noise" and "frequency" not in names:
            kind = "noise_integrated"
        found.append(waveforms.Plot(kind, names, types, tuple(values)))
    # ngspice lists its plots latest first, and runs cards of one kind from the last to the first: this is deck order.
    return found
