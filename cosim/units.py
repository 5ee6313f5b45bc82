"""Quantities with units at the edges ("4.7k", "200 ns", "1.5 1/V"); SI floats everywhere inside.

What is read goes through `parse`; what is written in a unit that a user chose, through `in_unit` or `show`.

SI prefixes are case-sensitive (``m`` milli, ``M`` mega), which is not SPICE's reading of ``M``; SPICE's ``meg`` is
understood as mega. Compound units take ``/``, ``*`` and integer powers: ``1/V``, ``K/W``, ``A*s``, ``V^-1``, ``mm²``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from cosim.errors import UnitError, Where

if TYPE_CHECKING:  # a command without numbers does not wait for numpy
    from cosim.devices.base import Array

Numbers = TypeVar("Numbers", "float", "Array")

PREFIXES: Mapping[str, float] = {
    "": 1.0, "a": 1e-18, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "m": 1e-3,
    "k": 1e3, "K": 1e3, "M": 1e6, "meg": 1e6, "Meg": 1e6, "MEG": 1e6, "G": 1e9, "T": 1e12,
}  # fmt: skip
# Exact by the definition of the SI (J/K, C, J s); scipy.constants has the same, and takes 14 MB to import.
BOLTZMANN, CHARGE, PLANCK = 1.380649e-23, 1.602176634e-19, 6.62607015e-34
# Base dimensions: V, A, s, K, m. Everything that a memristive circuit states follows from these five.
_UNITS: Mapping[str, tuple[float, dict[str, int]]] = {
    "V": (1.0, {"V": 1}), "A": (1.0, {"A": 1}), "s": (1.0, {"s": 1}), "K": (1.0, {"K": 1}), "m": (1.0, {"m": 1}),
    "Ohm": (1.0, {"V": 1, "A": -1}), "ohm": (1.0, {"V": 1, "A": -1}), "Ω": (1.0, {"V": 1, "A": -1}),
    "\u2126": (1.0, {"V": 1, "A": -1}), "S": (1.0, {"A": 1, "V": -1}), "F": (1.0, {"A": 1, "s": 1, "V": -1}),
    "C": (1.0, {"A": 1, "s": 1}), "J": (1.0, {"V": 1, "A": 1, "s": 1}), "W": (1.0, {"V": 1, "A": 1}),
    "H": (1.0, {"V": 1, "s": 1, "A": -1}), "Wb": (1.0, {"V": 1, "s": 1}), "Hz": (1.0, {"s": -1}),
    "min": (60.0, {"s": 1}), "h": (3600.0, {"s": 1}), "%": (0.01, {}), "1": (1.0, {}), "": (1.0, {}),
    "eV": (CHARGE, {"V": 1, "A": 1, "s": 1}),
}  # fmt: skip
# Dimensions that have a name, and their units: what a message says and what `si_unit` takes first.
_NAMED: Mapping[str, str] = {
    "V": "a voltage", "A": "a current", "s": "a time", "K": "a temperature", "m": "a length", "Ohm": "a resistance",
    "S": "a conductance", "F": "a capacitance", "C": "a charge", "J": "an energy", "W": "a power",
    "H": "an inductance", "Wb": "a flux", "Hz": "a frequency", "1": "a plain number",
}  # fmt: skip
_UNPREFIXED = {"min", "h", "%", "1", ""}
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*$", re.DOTALL)

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
# Names that look like units, and do not only scale: what to write in their place.
_NOT_SCALES: Mapping[str, str] = {
    **dict.fromkeys(("°C", "degC", "℃", "celsius", "Celsius"), "°C counts from 273.15 K: write K"),
    **dict.fromkeys(
        ("dB", "dBm", "dBV"), "a decibel is a logarithm: write the ratio, in 1 or %, and for vdb() and db() no unit"
    ),
    **dict.fromkeys(("°", "deg", "rad"), "angles are not measured: write 1"),
}

Dimension = Mapping[str, int]


def _atom(text: str) -> tuple[float, dict[str, int]] | None:
    if text in _UNITS:
        return _UNITS[text]
    for cut in range(min(3, len(text)), 0, -1):
        prefix, unit = text[:cut], text[cut:]
        if prefix in PREFIXES and unit in _UNITS and unit not in _UNPREFIXED:
            scale, dim = _UNITS[unit]
            return PREFIXES[prefix] * scale, dim
    return None


def dimension(unit: str) -> tuple[float, dict[str, int]]:
    """The scale to SI and the dimension of ``unit``; raises `UnitError` for what is not a unit."""
    scale, dim, sign = 1.0, dict[str, int](), 1
    plain = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda match: "^" + match[0].translate(_SUPERSCRIPTS), unit.replace(" ", ""))
    for token in re.split(r"([*/·])", plain) if plain else []:
        if token in "*·":
            sign = 1
            continue
        if token == "/":
            sign = -1
            continue
        name, _, power_text = token.partition("^")
        atom = _atom(name)
        if atom is None or (power_text and not re.fullmatch(r"[+-]?\d{1,2}", power_text)):
            if name in PREFIXES:
                raise UnitError(
                    f"{unit!r} is a prefix without a unit",
                    remedy=f"write what it counts, e.g. {name}Ohm, or a plain number",
                )
            meant = near(name)
            usual = f"did you mean {meant}?" if meant else "write e.g. V, uS, kOhm, ns, 1/V, K/W"
            raise UnitError(f"{unit!r} is not a unit", remedy=_NOT_SCALES.get(name, usual))
        power = sign * (int(power_text) if power_text else 1)
        try:
            scale *= atom[0] ** power
        except OverflowError:
            scale = math.inf
        for base, exponent in atom[1].items():
            dim[base] = dim.get(base, 0) + power * exponent
    if not 0.0 < scale < math.inf:
        raise UnitError(f"{unit[:40]!r} is beyond all numbers", remedy="write e.g. V, uS, kOhm, ns, 1/V, K/W")
    return scale, {base: exponent for base, exponent in dim.items() if exponent}


def parse(quantity: str | float | int, unit: str = "", *, where: Where | None = None) -> float:
    """``quantity`` as an SI float; it has to have the dimension of ``unit``, or no unit at all (then SI is meant).

    A bare prefix is allowed: ``parse("4.7k", "Ohm") == 4700.0``. Raises `UnitError`.
    """
    if isinstance(quantity, bool):
        raise UnitError(f"{quantity!r} is not a quantity", where=where, remedy=f"write a number in {unit or '1'}")
    if isinstance(quantity, int | float):
        try:
            plain = float(quantity)
        except OverflowError:  # an integer of more than 308 digits
            plain = math.inf
        if not math.isfinite(plain):
            raise UnitError(f"{plain!r} is not finite", where=where, remedy="write a finite number")
        return plain
    match = _NUMBER.match(quantity)
    plain = unit in ("", "1")
    wanted = "write a number without a unit" if plain else f"write a number with a unit of {unit}"
    if match is None:
        raise UnitError(f"{quantity!r} is not a quantity", where=where, remedy=wanted)
    number, suffix = float(match[1]), match[2]

    def scaled(factor: float) -> float:
        # in decimal, so that "200 uS" is 2e-4 to the last bit
        try:
            return float(Decimal(match[1]) * Decimal(repr(factor)))
        except ArithmeticError:  # an exponent that even decimals do not have
            return number * factor

    if not math.isfinite(number):
        raise UnitError(f"{quantity!r} is not finite", where=where, remedy="write a finite number")
    try:
        _, target = dimension(unit)
        if not suffix:
            return number
        if target and suffix in PREFIXES and suffix not in _UNITS:
            return scaled(PREFIXES[suffix])
        scale, dim = dimension(suffix)
    except UnitError as error:
        raise UnitError(f"{quantity!r}: {error.message}", where=where, remedy=wanted) from None
    if dim != target:
        if target and suffix in PREFIXES:  # "3m" volts: milli, not metre
            return scaled(PREFIXES[suffix])
        if not target:
            raise UnitError(
                f"{quantity!r} has a unit, and this is a plain number", where=where, remedy="write it without a unit"
            )
        raise UnitError(f"{quantity!r} is not in {unit}: it is {described(suffix)}", where=where, remedy=wanted)
    return scaled(scale)


def unit_in(text: str) -> str:
    """The unit in a quantity's text: ``"200 ns" -> "ns"``; empty without a unit, and for a prefix alone."""
    match = _NUMBER.match(text)
    return "" if match is None or (match[2] in PREFIXES and match[2] not in _UNITS) else match[2]


def is_number(text: str) -> bool:
    """Whether a quantity's text is a number alone, with neither unit nor prefix."""
    match = _NUMBER.match(text)
    return match is not None and not match[2]


def is_unit(text: str) -> bool:
    """Whether ``text`` is a unit; the empty text is."""
    try:
        dimension(text)
    except UnitError:
        return False
    return True


def near(text: str) -> str:
    """The unit that ``text``, which is not one, is likely to mean: in other letters ("ma"), or "A" of "XA"; ""."""
    if not 1 < len(text) <= 5:
        return ""
    simple = [unit for unit in _UNITS if unit not in _UNPREFIXED]
    spelt = (prefix + unit for unit in simple for prefix in PREFIXES if prefix != "K")
    same = next((one for one in spelt if one.casefold() == text.casefold()), "")
    return same or (text[1:] if text[1:] in simple else "")


def si_unit(unit: str) -> str:
    """The SI unit of the same dimension: ``"mA" -> "A"``, ``"uS/um" -> "S/m"``, ``"%" -> "1"``; raises `UnitError`."""
    scale, dim = dimension(unit)
    found = unit_of(dim)
    return unit if scale == 1.0 and found not in _NAMED else found


def unit_of(dim: Dimension) -> str:
    """The SI unit of a dimension: its name, or powers of V, A, s, K and m."""
    for name in _NAMED:
        if _UNITS[name][1] == dim:
            return name
    above = "*".join(f"{base}^{power}" if power > 1 else base for base, power in dim.items() if power > 0)
    below = "".join(f"/{base}^{-power}" if power < -1 else f"/{base}" for base, power in dim.items() if power < 0)
    return (above or "1") + below


def described(unit: str) -> str:
    """The dimension of ``unit`` in words, for messages: ``"mA" -> "a current (A)"``, ``"V/ms" -> "V/s"``."""
    name = si_unit(unit)
    kind = next((kind for base, kind in _NAMED.items() if _UNITS[base][1] == dimension(name)[1]), "")
    return f"{kind} ({name})" if kind and name != "1" else kind or name


@lru_cache(maxsize=256)
def scale_of(unit: str) -> float:
    """One of ``unit`` in SI; 1 for a name that is not a unit, such as an engine's."""
    try:
        return dimension(unit)[0]
    except UnitError:
        return 1.0


def in_unit(value: Numbers, unit: str) -> Numbers:
    """``value`` (SI; a number, or an array of any shape) as the number that stands before ``unit``."""
    scale = scale_of(unit)
    if scale == 1.0:
        return value
    # times 1000 and not through 0.001, which is not exact in binary
    return value / scale if scale > 1.0 else value * float(1 / Decimal(repr(scale)))


def show(value: float, unit: str = "", *, digits: int = 4) -> str:
    """``value`` (SI) in ``unit``: ``show(2e-7, "s") == "200 ns"``, ``show(2e-7, "us") == "0.2 us"``.

    An SI unit without a prefix gets the one that suits the value; any other unit, compound ones too, stays as it is.
    """
    if unit == "1":
        unit = ""
    number = in_unit(value, unit)
    exponent = _prefixed(value, unit)
    if exponent is None:
        return f"{number + 0.0:.{digits}g} {unit}".rstrip()
    return f"{value / 10.0**exponent:.{digits}g} {_PREFIX[exponent]}{unit}"


_PREFIX = {-18: "a", -15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}


def _prefixed(value: float, unit: str) -> int | None:
    """The power of ten of the prefix that suits a value; None for a unit that takes none."""
    simple = unit in _UNITS and unit not in _UNPREFIXED and unit != "K" and scale_of(unit) == 1.0
    # A value that no prefix suits, 1e20 Ohm or the rounding of 1e-33 A, is clearer without one.
    if not simple or value == 0 or not 1e-19 <= abs(value) < 1e15:
        return None
    return min(max(3 * math.floor(math.log10(abs(value)) / 3 + 1e-12), -18), 12)


def with_error(
    value: float, error: float | None, interval: tuple[float, float], unit: str
) -> tuple[str, str, str, str]:
    """``value``, ``error`` (both SI) and the ends of an interval as a table shows them, and their common unit.

    All have the digits that two digits of the error leave. An infinite end is open, an interval of NaN a dash.

    >>> from cosim.units import with_error
    >>> with_error(3.970251e-4, 4.91e-6, (3.876e-4, 4.064e-4), "S")
    ('397.0', '4.9', '387.6 .. 406.4', 'µS')
    """
    exponent = _prefixed(value, unit)
    scale = 10.0 ** (exponent or 0)
    known = error is not None and 0.0 < error < math.inf

    def text(one: float, spare: int) -> str:
        one /= scale
        if not known or one == 0.0 or not math.isfinite(one):
            return f"{one:.{4 + spare}g}"
        assert error is not None
        digits = math.floor(math.log10(abs(one))) - math.floor(math.log10(error / scale)) + 2
        return f"{one:#.{min(max(digits, 2), 9)}g}".rstrip(".")

    low, high = interval
    if math.isnan(low) or math.isnan(high) or (math.isinf(low) and math.isinf(high)):
        ends = "–"
    elif math.isinf(low) or math.isinf(high):
        ends = f">= {text(low, 0)}" if math.isinf(high) else f"<= {text(high, 0)}"
    else:
        ends = f"{text(low, 0)} .. {text(high, 0)}"
    shown = unit if exponent is None else f"{_PREFIX[exponent]}{unit}"
    return text(value, 2), "–" if error is None or math.isnan(error) else f"{error / scale:.2g}", ends, shown
