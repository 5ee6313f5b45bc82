"""A measure in the words of ngspice's ``.meas``, which the engine computes: every form that it has, and its numbers."""

from __future__ import annotations

import re
from typing import Literal

import pydantic

from cosim.bench.measures.dimensions import UNKNOWN, Dimension, Known
from cosim.bench.measures.kinds import Kind, Point, PointMeasure
from cosim.errors import InputError

_VECTOR = re.compile(r"\b[vi](?:m|db|ph?|r|i)?\([^()']+\)", re.IGNORECASE)
OF_THE_AXIS = frozenset({"when", "trig", "min_at", "max_at"})
_OF_THE_VECTOR = frozenset({"find", "max", "min", "pp", "avg", "rms"})


class MeasCard(PointMeasure):
    """What ngspice's ``.meas`` gives of a ``tran``, ``dc`` or ``ac`` analysis, with its numbers and reasons: windows
    end at points, phases are in radians, and of a plain ``v(out)`` in ``ac`` it takes the real part.

    Parameters of the circuit and other measures of this kind, by their names, may stand in the card.

    Args:
        card: what follows ``.meas ANALYSIS NAME``, e.g. `"find vp(out) when vdb(out)=0 fall=1"`.
    """

    kind: Literal["meas"]
    card: str

    @pydantic.field_validator("card")
    @classmethod
    def _one_line(cls, card: str) -> str:
        if (len(card.split()) < 2 and "=" not in card) or "\n" in card or "\r" in card:
            raise InputError(f"{card[:60]!r} is not one .meas", remedy='write e.g. card = "max v(out) from=1u"')
        if card.split()[0].startswith("."):
            raise InputError(f"{card[:60]!r} is a whole card", remedy="write what follows .meas ANALYSIS NAME")
        return card

    def vectors(self) -> tuple[str, ...]:
        """Those that the card names; all, where it computes one of its own, ``par('v(a)*v(b)')``."""
        return ("all",) if "par(" in self.card.lower() else tuple(dict.fromkeys(_VECTOR.findall(self.card)))

    def dimension(self, known: Known) -> Dimension:
        """The coordinate's, or that of the vector, where the first word tells which."""
        word, _, rest = self.card.lower().partition(" ")
        if word in OF_THE_AXIS:
            return known.axis
        match = _VECTOR.match(rest.strip())
        own = known.vector(match[0]) if match is not None else UNKNOWN
        if word.startswith("integ"):
            return own * known.axis
        return own if word in _OF_THE_VECTOR else UNKNOWN

    def evaluate(self, point: Point) -> float:
        """One value."""
        if isinstance(point.card, str):
            raise InputError(point.card or "this engine has no .meas", remedy="" if point.card else "take ngspice")
        return point.card


KINDS: tuple[type[Kind], ...] = (MeasCard,)
