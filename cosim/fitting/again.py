"""A saved result judged again: the same recording, model and values, without a search."""

from __future__ import annotations

from dataclasses import replace

from cosim.devices.base import Values
from cosim.errors import InputError, Where
from cosim.fitting.extract import extract
from cosim.fitting.result import FitResult
from cosim.fitting.saved import Saved


def judged_again(saved: Saved) -> FitResult:
    """The result that a saved one was, at its values; raises `InputError` where it does not hold its recording."""
    if not saved.complete:
        raise InputError(
            "a joint result does not hold its recordings", where=Where(saved.path), remedy="fit again with --report"
        )
    curve, recipe, values = saved.curve(), saved.recipe(), Values(saved.told["values"])
    # What has but one value is read off the recording again.
    free = [name for name, (low, high) in saved.forward(curve).bounds().items() if low < high]
    kept = next((one for one in recipe.candidates if one.title == saved.told["choice"]), None)
    if kept is not None:  # chosen already
        body = recipe.model_dump(exclude_defaults=True) | {
            "candidates": (),
            "fit": recipe.fit.model_copy(update={"vary": kept.vary}),
        }
        recipe = recipe.model_validate(body | {"ramps": {"course": kept.course, "start": kept.start}})
    start = recipe.start.model_copy(
        update={"values": {n: float(values[n]) for n in free}, "from_data": False, "sets": ()}
    )
    found = extract(recipe.model_copy(update={"start": start}), curve, near=values)
    return replace(found, recipe=recipe)
