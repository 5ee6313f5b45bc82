"""The default engine: ngspice as a shared library, held by PySpice in resident worker processes."""

from __future__ import annotations

import os
from typing import Any

from cosim.engines import waveforms
from cosim.engines.library import find_libngspice
from cosim.engines.pooled import PooledNgspice
from cosim.engines.prepare import Prepared
from cosim.engines.worker.pool import Answer, Pool
from cosim.errors import EngineMissing
from cosim.language import fourier


class PySpiceSimulator(PooledNgspice):
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
        super().__init__(Pool("library", size=workers, environment={"NGSPICE_LIBRARY_PATH": library}))

    def version(self) -> str:
        """``"ngspice-46"``. Raises `EngineMissing`."""
        return str(self._pool.hello()["version"])

    def _job(self, ready: Prepared) -> dict[str, Any]:
        return {
            "deck": ready.text,
            "osdi": [{"path": path, "identity": _identity(path)} for path in ready.osdi],
            "reads": list(ready.reads),
            "last": ready.lasting,
            "fourier": fourier.commands(ready.fourier),
            "fresh": bool(ready.noise),
        }

    def _read(self, ready: Prepared, answer: Answer) -> list[waveforms.Plot]:
        return _plots(answer)


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
