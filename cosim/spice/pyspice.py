"""The default engine: ngspice as a shared library, held by PySpice in resident worker processes."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

from cosim.errors import EngineMissing, MissingFile, NetlistError
from cosim.spice import verdict, waveforms
from cosim.spice.library import find_libngspice
from cosim.spice.pool import Answer, Pool
from cosim.spice.prepare import Prepared, prepare
from cosim.spice.simulator import Deck, Limits, Outcome, Result

_LOG_TAIL = 60


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
            return refused(deck, self.name, str(error))
        job = {
            "deck": prepared.text,
            "osdi": [{"path": path, "identity": _identity(path)} for path in prepared.osdi],
            "memory": limits.memory,
            "file_size": limits.file_size,
        }
        with self._pool.run(job, wall=limits.wall) as answer:
            outcome, reason, named, measures = _judge(prepared, answer, limits)
        return Result(
            outcome, self.name, waveforms=named, reason=reason, log=log_tail(answer.log),
            wall=time.monotonic() - started, deck=deck, measures=measures,
        )  # fmt: skip

    def close(self) -> None:
        """End the worker processes and remove their scratch folders."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def refused(deck: Deck, engine: str, reason: str) -> Result:
    """A result for a deck that never reached its engine."""
    return Result(Outcome.REFUSED, engine, reason=reason, deck=deck)


def log_tail(log: Sequence[tuple[str, str]]) -> str:
    """The last lines of a log, as text."""
    return "\n".join(text for _, text in log[-_LOG_TAIL:])


def abnormal(answer: Answer, limits: Limits) -> tuple[Outcome, str] | None:
    """Outcome and reason where the process itself failed; None where the engine came to its own end."""
    if answer.status == "timeout":
        return Outcome.TIMED_OUT, f"no result within {limits.wall:g} s"
    memory = f"the memory limit of {limits.memory / 2**30:.3g} GiB"
    if answer.status == "memory":
        return Outcome.CRASHED, f"ran into {memory}"
    if answer.status == "died":
        code = answer.code
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        return Outcome.CRASHED, f"the engine's process {how}"
    return None


def _identity(path: str) -> str:
    status = os.stat(path)
    return f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"


def _plots(answer: Answer) -> list[waveforms.Plot]:
    found, position = [], 0
    for plot in answer.header.get("plots", ()):
        vectors = plot["vectors"]
        values = answer.arrays[position : position + len(vectors)]
        position += len(vectors)
        found.append(
            waveforms.Plot(
                waveforms.kind_of(plot["name"]),
                tuple(v[0] for v in vectors),
                tuple(v[1] for v in vectors),
                tuple(values),
            )
        )
    return found


def _judge(
    prepared: Prepared, answer: Answer, limits: Limits
) -> tuple[Outcome, str, Mapping[str, Any], Mapping[str, float]]:
    nothing: Mapping[str, Any] = MappingProxyType({})
    failed = abnormal(answer, limits)
    if failed is not None:
        return *failed, nothing, nothing
    if answer.status == "failed":
        return Outcome.REFUSED, "; ".join(text for _, text in answer.log), nothing, nothing
    texts = [text for _, text in answer.log]
    if any(re.search(r"out of memory|can't allocate|malloc", text, re.IGNORECASE) for text in texts):
        return Outcome.CRASHED, f"ran into the memory limit of {limits.memory / 2**30:.3g} GiB", nothing, nothing
    plots = _plots(answer)
    parsed = answer.status != "exited" or bool(plots)
    outcome, reason = verdict.of_ngspice(prepared, plots, answer.log, parsed=parsed)
    if outcome is not Outcome.CONVERGED:
        return outcome, reason, nothing, nothing
    # ngspice lists its plots latest first, and runs cards of one kind from the last to the first: this is deck order.
    named = {name: waveforms.dataset(plot) for name, plot in waveforms.label(plots).items()}
    return outcome, "", MappingProxyType(named), MappingProxyType(measured(texts, prepared.measures))


def measured(texts: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    """The values of ``.meas`` cards as ngspice prints them; one that failed is absent."""
    found: dict[str, float] = {}
    for text in texts:
        match = re.match(r"(\S+)\s*=\s*([+-]?[\d.]+(?:e[+-]?\d+)?)\b", text, re.IGNORECASE)
        if match and match[1].lower() in names:
            found[match[1].lower()] = float(match[2])
    return found
