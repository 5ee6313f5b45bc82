"""What constants, functions and arrays of Verilog-A are worth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from cosim.language.expressions import Expr, Unreadable
from cosim.language.va_tree import Declared

CONSTANTS = {
    "`M_PI": math.pi, "`M_TWO_PI": 2 * math.pi, "`M_PI_2": math.pi / 2, "`M_E": math.e, "`M_SQRT2": math.sqrt(2.0),
    "`M_LN10": math.log(10.0), "`M_LN2": math.log(2.0), "`P_Q": 1.602176634e-19, "`P_K": 1.380649e-23,
    "`P_CELSIUS0": 273.15, "`P_H": 6.62607015e-34, "`P_EPS0": 8.8541878128e-12,
    "$temperature": 300.15, "$vt": 300.15 * 1.380649e-23 / 1.602176634e-19,
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., float]] = {
    "ln": math.log, "log": math.log10, "log10": math.log10, "exp": math.exp, "limexp": math.exp, "sqrt": math.sqrt,
    "min": min, "max": max, "abs": abs, "fabs": abs, "pow": math.pow, "floor": math.floor, "ceil": math.ceil,
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "asin": math.asin, "acos": math.acos, "atan": math.atan,
    "atan2": math.atan2, "hypot": math.hypot, "sinh": math.sinh, "cosh": math.cosh, "tanh": math.tanh,
    "asinh": math.asinh, "acosh": math.acosh, "atanh": math.atanh,
    "sgn": lambda x: float(np.sign(x)), "sign": lambda x: float(np.sign(x)),
    "int": math.trunc,
}  # fmt: skip
FUNCTIONS |= {f"${name}": FUNCTIONS[name] for name in ("ln", "log10", "exp", "sqrt", "pow", "floor", "ceil")}


def rounded(value: float) -> float:
    """``value`` as an integer variable takes it: the nearest whole number, a half away from zero."""
    return math.copysign(math.floor(abs(value) + 0.5), value)


MOST = 256  # elements of an array that are read, and turns of a loop that are written out


def indices(entry: Declared, value: Callable[[Expr], float]) -> list[tuple[int, ...]]:
    """The indices of an array, in order. Raises `Unreadable`."""
    ends = [[_whole(value(end), entry) for end in pair] for pair in entry.ranges]
    if not ends or math.prod(abs(b - a) + 1 for a, b in ends) > MOST:
        raise Unreadable(f"array {entry.name.text!r} has no ends that are read, or too many elements", entry.start)
    return list(itertools.product(*(range(a, b + 1) if a <= b else range(a, b - 1, -1) for a, b in ends)))


def _whole(value: float, entry: Declared) -> int:
    if not math.isfinite(value):
        raise Unreadable(f"array {entry.name.text!r} has an end that is not finite", entry.start)
    return int(value)


def starts(entry: Declared, count: int) -> list[Expr | None]:
    """What each of ``count`` elements begins as; None: zero. Raises `Unreadable`."""
    if entry.value is None:
        return [None] * count
    values = entry.value.args if entry.value.name == "{}" else (entry.value,)
    if len(values) != count:
        raise Unreadable(f"array {entry.name.text!r} has {count} elements and {len(values)} values", entry.start)
    return list(values)


def element(name: str, place: Sequence[float]) -> str:
    """What an element of an array is known by."""
    return f"{name}_{'_'.join(str(int(k)) if math.isfinite(k) and k % 1.0 == 0.0 else str(k) for k in place)}"
