"""What an expression is clamped to: by ``min``, ``max``, or a function of the module's own that clips."""

from __future__ import annotations

import math

from cosim.language.expressions import Expr, Unreadable
from cosim.language.va_tree import Module
from cosim.lint.va_reading import ModuleReading
from cosim.lint.va_rules import Model
from cosim.lint.va_state import constant

# State, low and high at which a function has to clip in order to be taken for a clamp.
_CLIPPED = tuple(
    (u, low, low + span) for u in (-3.7, -0.2, 0.31, 0.9, 4.2) for low in (-0.5, 0.1) for span in (0.6, 2.0)
)


def inside(model: Model, module: Module, value: Expr, bounds: list[tuple[Expr, bool]]) -> Expr:
    """What is clamped in ``value`` by min, max or a function that clips; appends the bounds, and whether upper."""
    while value.op == "call":
        moving = [k for k, arg in enumerate(value.args) if not constant(arg, module)]
        limits = [arg for arg in value.args if constant(arg, module)]
        sides = _sides(model, module, value.name, moving[0], len(value.args)) if len(moving) == 1 else ()
        if not sides or len(sides) != len(limits):
            return value
        bounds += zip(limits, sides, strict=True)
        value = value.args[moving[0]]
    return value


def _sides(model: Model, module: Module, name: str, moving: int, count: int) -> tuple[bool, ...]:
    """For each argument but ``moving`` whether it is the upper bound of a clamp; empty where it is not a clamp.

    A function that the module defines is tried at some points.
    """
    if count == 2 and name in ("min", "max"):
        return (name == "min",)
    if name not in module.functions or count not in (2, 3):
        return ()
    try:
        reading = ModuleReading(model, module, 1e-9, partly=True)
        for sides in ((True,), (False,)) if count == 2 else ((False, True), (True, False)):
            for u, low, high in _CLIPPED:
                values = [high if upper else low for upper in sides]
                values.insert(moving, u)
                clipped = min(max(u, low if False in sides else u), high if True in sides else math.inf)
                if reading.call(name, values) != clipped:
                    break
            else:
                return sides
    except Unreadable:
        pass
    return ()
