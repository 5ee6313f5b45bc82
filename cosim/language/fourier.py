"""``.four`` cards: the harmonics of a vector over the last period of a transient, as ngspice computes them.

ngspice obeys the card in its batch mode only; its command ``fourier`` does the same, and is what an engine gets after
the run. The command is built here from a number and plain vectors, never from the card's text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cosim.errors import NetlistError, NetlistRefused
from cosim.language.instances import constant
from cosim.language.netlist import Line, Netlist

CARDS = (".four", ".fourier")
_NODE = r"[\w.#+\-$]+"
_VECTOR = re.compile(rf"v\({_NODE}(?:,{_NODE})?\)|i\({_NODE}\)|@{_NODE}\[\w+\]", re.IGNORECASE)
_BLANKS = re.compile(r"\s*([(),])\s*")
_SPLIT = re.compile(r"\{[^{}]*\}|'[^']*'|[^\s,(){}']+(?:\([^()]*\))?")
_HEAD = re.compile(r"Fourier analysis for (\S+):")
_ROW = re.compile(r"(\d+)((?:\s+[-+\d.einfa]+){5})$", re.IGNORECASE)
# As many digits as its waveforms are good for; ngspice prints six by default.
_PRECISE, _AS_BEFORE = "set numdgt=12", "unset numdgt"
_HARMONICS = 10  # of a whole table, the mean among them
_REFUSED = re.compile(r"vector \S+ is not available.*|\(\d+ \* wavelength\) longer.*", re.IGNORECASE)


@dataclass(frozen=True)
class FourierCard:
    """What one card asks for: ``frequency`` in Hz, and vectors in ngspice's names."""

    frequency: float
    vectors: tuple[str, ...]

    @property
    def needed(self) -> tuple[str, ...]:
        """The vectors to keep: ``v(a,b)`` is made of two."""
        pairs = (re.fullmatch(r"v\(([^,]*),([^,]*)\)", vector) for vector in self.vectors)
        split = ([vector] if pair is None else [f"v({pair[1]})", f"v({pair[2]})"]
                 for vector, pair in zip(self.vectors, pairs, strict=True))  # fmt: skip
        return tuple(name for names in split for name in names if name != "v(0)")


@dataclass(frozen=True)
class Fourier:
    """Harmonics of ``vector`` over the last period of ``frequency`` (Hz) in a transient, as ngspice gives them.

    ``magnitudes`` (n,) are in the vector's unit and ``phases`` (n,) in degrees, of the harmonics 0 to n - 1; the first
    is the mean.
    """

    analysis: str
    vector: str
    frequency: float
    magnitudes: tuple[float, ...]
    phases: tuple[float, ...]

    @property
    def thd(self) -> float:
        """The total harmonic distortion, 1 for 100 %: all harmonics from the second on against the first."""
        first, *others = self.magnitudes[1:]
        return math.hypot(*others) / first if first else math.inf


def commands(asked: Sequence[FourierCard]) -> list[str]:
    """The commands for an engine after its run, in each of its transients. One per vector: of a list, ngspice skips
    everything after a vector that it does not have.
    """
    each = [f"fourier {card.frequency!r} {vector}" for card in asked for vector in card.vectors]
    return [_PRECISE, *each, _AS_BEFORE] if each else []


def cards(netlist: Netlist) -> tuple[FourierCard, ...]:
    """Its ``.four`` cards. Raises `NetlistError` for one that cannot be followed: no frequency, vector or transient."""
    return tuple(_card(netlist, line) for line in netlist.cards(*CARDS))


def _card(netlist: Netlist, line: Line) -> FourierCard:
    body = _BLANKS.sub(r"\1", line.text.partition(line.text.split()[0])[2])
    words = _SPLIT.findall(body)
    if len(words) < 2 or _bare("".join(words)) != _bare(body):
        raise NetlistError(
            f"{line.text[:60]!r} is not a frequency and vectors", where=line.where, remedy="write .four 1k v(out)"
        )
    frequency = constant(netlist, words[0])
    if frequency is None or frequency <= 0.0:
        raise NetlistError(
            f"{line.card} has the frequency {words[0]!r}", where=line.where, remedy="write a number above 0, in Hz"
        )
    for vector in words[1:]:
        if not _VECTOR.fullmatch(vector):
            raise NetlistRefused(
                f"{line.card} of {vector[:40]!r}", where=line.where, remedy="write vectors, e.g. v(out), v(a,b), i(v1)"
            )
    if not any(True for _ in netlist.cards(".tran")):
        raise NetlistError(
            f"{line.card} needs a transient", where=line.where, remedy=f"add a .tran, or remove the {line.card}"
        )
    return FourierCard(frequency, tuple(vector.lower() for vector in words[1:]))


def _bare(text: str) -> str:
    return re.sub(r"[\s,]", "", text)


def found(
    asked: Sequence[FourierCard], transients: Sequence[str], texts: Sequence[str]
) -> tuple[tuple[Fourier, ...], dict[str, str]]:
    """What ngspice printed, in its order: for each of ``transients`` every vector of every card; and of those that it
    does not have, why.
    """
    blocks: list[tuple[str, list[list[float]]]] = []
    for text in texts:
        plain = text.strip()
        if head := _HEAD.match(plain):
            blocks.append((head[1].lower(), []))
        elif blocks and (row := _ROW.match(plain)) and int(row[1]) == len(blocks[-1][1]):
            blocks[-1][1].append([float(word) for word in row[2].split()])
    done: list[Fourier] = []
    absent: dict[str, str] = {}
    refusals = [match[0].rstrip(".") for text in texts if (match := _REFUSED.search(text))]
    wanted = [(name, card.frequency, vector) for name in transients for card in asked for vector in card.vectors]
    for name, frequency, vector in wanted:
        rows = blocks[0][1] if blocks and blocks[0][0] == vector else []
        if len(rows) == _HARMONICS and math.isclose(rows[1][0], frequency, rel_tol=1e-9):
            _, magnitudes, phases, *_ = zip(*rows, strict=True)
            done.append(Fourier(name, vector, frequency, magnitudes, phases))
            blocks.pop(0)
        else:
            absent[f".four {vector}"] = refusals.pop(0) if refusals else "ngspice gives neither a value nor a reason"
    return tuple(done), absent
