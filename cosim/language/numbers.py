"""Numbers as SPICE writes them: ``10meg`` is 1e7, ``1M`` is 1e-3, ``2.5mil`` is 63.5e-6, other letters are ignored."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([A-Za-z]*)")
_SCALE = {
    "t": 1e12, "g": 1e9, "k": 1e3, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15, "a": 1e-18,
}  # fmt: skip


def spice_number(text: str) -> float | None:
    """The value of ``text``, or None where it is not a plain number (a parameter, an expression in braces)."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        return None
    suffix = match[2].lower()
    if suffix.startswith("meg"):
        return float(match[1]) * 1e6
    if suffix.startswith("mil"):
        return float(match[1]) * 25.4e-6
    return float(match[1]) * _SCALE.get(suffix[:1], 1.0)


MIL = re.compile(r"(?<![\w.])((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)mil", re.IGNORECASE)


def in_parameter(text: str) -> str:
    """``text`` of a parameter or of braces as ngspice reads it: there ``1mil`` is ``1m``, 25.4e-6 as an element's value
    alone.
    """
    return MIL.sub(r"\1m", text) if "il" in text.lower() else text
