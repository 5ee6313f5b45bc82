"""Recordings of one device that ``cosim fit --auto`` fitted one by one, and the call that fits them together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from cosim.data.recording import Group

if TYPE_CHECKING:
    from cosim.data.parts import Part
    from cosim.fitting.auto import Taken


def alike(taken: Sequence[Taken]) -> list[str]:
    """A sentence for each device that was found in several recordings of one kind: they were fitted apart."""
    by_device: dict[tuple[str, str], list[Part]] = {}
    for one in taken:
        if one.result is not None and one.result.recipe.device:
            by_device.setdefault((one.result.recipe.device, one.part.shape), []).append(one.part)
    return [
        f"{len(found)} recordings of kind {shape!r} were fitted one by one ({', '.join(part.name for part in found)}), "
        f"because no file says that they are of one {device}; if they are: {together(found)}"
        for (device, shape), found in by_device.items()
        if len(found) > 1
    ]


def together(parts: Sequence[Part]) -> str:
    """The call that fits them at once."""
    files = " ".join(dict.fromkeys(part.path.name for part in parts))
    columns = dict.fromkeys(part.where.partition(" == ")[0] for part in parts if " == " in part.where)
    # A column of the kind's own name is that; of another the first is a sweep of one device.
    own = {name: "".join(filter(str.isalnum, name)).lower() for name in columns}
    free = (kind for kind in ("sweep", "cycle", "device") if kind not in own.values())
    kinds = {name: plain if plain in get_args(Group) else next(free, plain) for name, plain in own.items()}
    groups = ", ".join(f'{kind} = "{name.strip(chr(39))}"' for name, kind in kinds.items())
    instead = f" with groups = {{ {groups} }} under [data] in place of where" if groups else ""
    return f"cosim fit RECIPE {files} --together{instead}"
