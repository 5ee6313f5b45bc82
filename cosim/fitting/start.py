"""Where a fit starts and between which bounds it searches, from a recipe and what the curve itself shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from cosim import units
from cosim.data.spec import Quantities
from cosim.devices.base import DeviceModel, Values
from cosim.errors import InputError, UnknownName, at
from cosim.fitting.forward import Forward
from cosim.fitting.recipe import Recipe
from cosim.schema import located


def other_starts(device: DeviceModel, start: Values, vary: Sequence[str]) -> list[Values]:
    """Further starts that the device proposes, of what varies."""
    made = ({name: start[name] * factor for name, factor in one.items() if name in vary} for one in device.elsewhere)
    return [start.with_(**changes) for changes in made if changes]


def start_of(
    recipe: Recipe, forward: Forward, bounds: Mapping[str, tuple[float, float]], extra: Quantities
) -> tuple[Values, Values]:
    """Where the parameters start, and what they are where they do not vary: without what was read off the curve.

    Raises `InputError` where a value that the recipe gives is outside its bounds.
    """
    by_name = {entry.name: entry for entry in forward.params}
    given = recipe.starting_set().values if recipe.device else {}
    start = {entry.name: entry.default for entry in forward.params}
    start |= {name: quantity.value for name, quantity in given.items() if name in start}
    places: dict[str, tuple[str, ...]] = {name: ("start", "sets") for name in given if name in start}
    for name, value in {**recipe.start.values, **extra}.items():
        if name not in by_name:
            raise UnknownName("parameter", name, by_name)
        places[name] = () if name in extra else ("start", "values", name)
        with located(recipe.path), at(*places[name]):
            start[name] = units.parse(value, by_name[name].unit)
    for name, place in places.items():
        # A set knows nothing of the recipe's bounds: its value is moved to them where it is only a start.
        low, high = by_name[name].bounds if place == ("start", "sets") else bounds.get(name, by_name[name].bounds)
        if not low <= start[name] <= high:
            unit = by_name[name].unit
            with located(recipe.path), at(*place):
                raise InputError(
                    f"the start of {name}, {start[name]:g} {unit}, is outside its bounds {low:g}..{high:g} {unit}",
                    remedy="move the start" if (low, high) == by_name[name].bounds else "move the start or the bounds",
                )
    outside = Values(start)
    if recipe.start.from_data and bounds:
        written = {*recipe.start.values, *extra}
        start |= {name: value for name, value in forward.guess(outside).items() if name in bounds.keys() - written}
    for name in bounds:
        start[name] = min(max(start[name], bounds[name][0]), bounds[name][1])
    return Values(start), outside


def bounds_of(
    forward: Forward, vary: Sequence[str], given: Mapping[str, tuple[str | float, str | float]], *place: str
) -> dict[str, tuple[float, float]]:
    """The bounds of each parameter that varies: those ``given`` at a ``place`` of the recipe, or the device's own.

    Raises `InputError`, `UnitError`.
    """
    physical, by_name = forward.bounds(), {entry.name: entry for entry in forward.params}
    bounds = {name: physical[name] for name in vary}
    for name, ends in given.items():
        with at(*place, name):
            unit, (least, most) = by_name[name].unit, physical[name]
            low, high = (units.parse(value, unit) for value in ends)
            if low == high:
                raise InputError(
                    f"both bounds of {name} are {low:g} {unit}",
                    remedy=f"to hold {name}, take it out of fit.vary and write its value in start.values",
                )
            if not low < high:
                raise InputError(
                    f"the lower bound of {name}, {low:g} {unit}, is above its upper bound, {high:g} {unit}",
                    remedy="write the lower bound first",
                )
            if low < least or high > most:
                raise InputError(
                    f"the bounds of {name}, {low:g}..{high:g} {unit}, reach beyond its physical range "
                    f"{least:g}..{most:g} {unit}",
                    remedy="narrow them",
                )
        if name in bounds:
            bounds[name] = (low, high)
    return bounds


def within_reach(
    forward: Forward, bounds: Mapping[str, tuple[float, float]], start: Values
) -> dict[str, tuple[float, float]]:
    """The bounds, with the open ends of scales (0, infinity) at the model's `Forward.reach` from the start."""
    made = dict(bounds)
    for entry in forward.params:
        size = float(start[entry.name])
        if entry.name in made and entry.is_scale and size and math.isfinite(forward.reach):
            low, high = made[entry.name]
            small, large = size / forward.reach, size * forward.reach
            ends = {0.0: small, math.inf: large, -math.inf: large}
            made[entry.name] = ends.get(low, low), ends.get(high, high)
    return made
