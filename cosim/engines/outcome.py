"""From a worker's answer to a `Result`: what the engines have in common."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from cosim.engines import reasons as verdict
from cosim.engines import waveforms
from cosim.engines.prepare import Prepared
from cosim.engines.simulator import Deck, Limits, Outcome, Result
from cosim.engines.worker.pool import Answer
from cosim.engines.worker.process import CANNOT_START
from cosim.language import fourier, meas
from cosim.language.diagnose import diagnose

_LOG_TAIL = 60
LEAST_FREE = 1 << 20  # bytes on a disk that is not full
_MEMORY = re.compile(
    r"out of memory|can't allocate|malloc: |bad_alloc|memory exhausted|failed to map segment", re.IGNORECASE
)


def refused(deck: Deck, engine: str, reason: str) -> Result:
    """A result for a deck that never reached its engine."""
    return Result(Outcome.REFUSED, engine, reason=reason, deck=deck)


def log_tail(log: Sequence[tuple[str, str]]) -> str:
    """The last lines of a log, as text."""
    return "\n".join(text for _, text in log[-_LOG_TAIL:])


def abnormal(answer: Answer, limits: Limits) -> tuple[Outcome, str] | None:
    """Outcome and reason where the process itself failed; None where the engine ended by itself."""
    if answer.status == "timeout":
        more = f"{2.0 * limits.wall:g}"
        return Outcome.TIMED_OUT, (
            f"no result within {limits.wall:g} s of wall-clock time; give it longer with --wall {more} (in s), "
            f"in Python Limits(wall={more}), or simulate less"
        )
    memory = f"ran into the memory limit of {limits.memory / 2**30:.3g} GiB"
    if answer.status == "memory" or any(_MEMORY.search(text) for _, text in answer.log):
        return Outcome.CRASHED, memory
    if any("rawfile write error" in text for _, text in answer.log):
        scratch = tempfile.gettempdir()
        if shutil.disk_usage(scratch).free < LEAST_FREE:
            return Outcome.CRASHED, f"the disk of {scratch} is full; free some of it, or set TMPDIR to another folder"
        return Outcome.CRASHED, f"ran into the file size limit of {limits.file_size / 2**30:.3g} GiB"
    code = answer.code
    if code == CANNOT_START:
        return Outcome.CRASHED, answer.log[-1][1] if answer.log else "the engine's program does not start"
    if answer.status in ("died", "unaccepted") or (code is not None and code < 0):
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        return Outcome.CRASHED, f"the engine's process {how}"
    return None


def of_ngspice(
    deck: Deck,
    prepared: Prepared,
    answer: Answer,
    plots: Sequence[waveforms.Plot],
    *,
    engine: str,
    limits: Limits,
    wall: float,
) -> Result:
    """The result of a run of ngspice, as a library or as a program. ``plots`` are in the order of the deck's cards."""
    texts = [text for _, text in answer.log]
    named: Mapping[str, waveforms.Plot] = {}
    found, missing = dict[str, float](), dict[str, str]()
    harmonics: tuple[fourier.Fourier, ...] = ()
    notes = prepared.notes
    failed = abnormal(answer, limits)
    if failed is not None:
        how, reason = failed
    elif unloaded := [text for text in texts if "couldn't be loaded" in text]:
        how, reason = Outcome.REFUSED, unloaded[0].strip()
    elif answer.status == "failed":
        how, reason = Outcome.REFUSED, "; ".join(texts)
    else:
        fatal = answer.status == "exited" or any("fatal error in ngspice" in text for text in texts)
        how, reason = verdict.of_ngspice(prepared, plots, answer.log, parsed=not fatal or bool(plots))
        if how is Outcome.REFUSED and (mistakes := diagnose(prepared.circuit)):
            reason = str(mistakes[0])
    if how is Outcome.CONVERGED:
        named, found = waveforms.label(plots), meas.values(prepared.circuit, texts)
        missing = meas.reasons(prepared.circuit, prepared.text.split("\n"), texts, found) if prepared.measures else {}
        if prepared.fourier:
            transients = [name for name, plot in named.items() if plot.kind == "tran"]
            harmonics, absent = fourier.found(prepared.fourier, transients, texts)
            missing |= absent
        notes += (*verdict.ended_early(plots, prepared, texts), *verdict.ignored(texts))
    return Result(
        how,
        engine,
        waveforms=MappingProxyType({name: waveforms.dataset(plot) for name, plot in named.items()}),
        reason=reason,
        log=log_tail(answer.log),
        wall=wall,
        deck=deck,
        measures=MappingProxyType(found),
        missing=MappingProxyType(missing),
        fourier=harmonics,
        notes=notes,
    )
