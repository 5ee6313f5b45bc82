"""Cards of a deck that its run ignores, in one sentence per kind: none is dropped silently.

``.backanno``, which LTspice writes into every netlist, asks for nothing, and ``.end`` is in every one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cosim.language.fourier import CARDS as FOURIER
from cosim.language.hazards import HSPICE_OPTIONS
from cosim.language.netlist import Line, Netlist

PAPER = (".print", ".plot", ".width", ".title")
_MEASURES = (".meas", ".measure", *FOURIER)
_OPTIONS = (".option", ".options", ".opt")
_WORD = re.compile(r"[a-z]\w*")
_SHOWN = 3


def left_out(netlist: Netlist, *, bench: bool) -> tuple[str, ...]:
    """Sentences about what a run of ``netlist`` leaves out; a ``bench`` has its own measures."""
    found = []
    if paper := list(netlist.cards(*PAPER)):
        kept = "the vectors of .save" if any(True for _ in netlist.cards(".save")) else "all waveforms"
        found.append(f"{_named(paper)} left out: cosim prints nothing, and {kept} are in the result")
    if bench and (measures := _of_the_circuit(netlist)):
        found.append(f"{_named(measures)} left out of the bench's measures: write it as [measures.NAME]")
    if words := sorted({word for line in netlist.cards(*_OPTIONS) for word in _WORD.findall(line.text.lower())}
                       & HSPICE_OPTIONS):  # fmt: skip
        plural = "s" if len(words) > 1 else ""
        found.append(f"option{plural} {', '.join(words)} left out: HSPICE's own, which ngspice does not have")
    return tuple(found)


def _of_the_circuit(netlist: Netlist) -> list[Line]:
    """The measures that a bench's circuit has: those of the bench's own stand below its analysis."""
    last = max((netlist.lines.index(analysis.line) for analysis in netlist.analyses()), default=len(netlist.lines))
    return [line for line in netlist.lines[:last] if line.card in _MEASURES]


def _named(lines: Sequence[Line]) -> str:
    """The cards with their places, the first few of many."""
    shown = [f"{line.card} in {line.where}" if str(line.where) else line.card for line in lines[:_SHOWN]]
    rest = len(lines) - len(shown)
    verb = "is" if len(lines) == 1 else "are"
    return f"{', '.join(shown)}{f' and {rest} more' if rest else ''} {verb}"
