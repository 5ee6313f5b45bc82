"""The observations of a joint recipe: what was measured, with a forward model, start and noise of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cosim.data.recording import Recording
from cosim.devices.registry import device as find_device
from cosim.errors import InputError, UnknownName, at
from cosim.fitting import plateau, plausible
from cosim.fitting.joint_recipe import JointRecipe
from cosim.fitting.observation import Observation
from cosim.fitting.start import bounds_of, start_of, within_reach
from cosim.fitting.stepping import require_train


def observe(recipe: JointRecipe, recordings: Mapping[str, Recording]) -> list[Observation]:
    """The observations of a recipe: each recording with its forward model, split by the groups of its rows."""
    found: list[Observation] = []
    for k, spec in enumerate(recipe.observations):
        with at("observations", k):
            require_train(spec.kind, spec.noise, circuit=spec.circuit is not None)
            whole = recordings.get(spec.name) or recipe.recording(spec)
            if whole.kind != spec.kind:
                raise InputError(f"a curve of kind {whole.kind!r}; the recipe's is {spec.kind!r}", where=whole.where)
            parts = whole.parts()
            for labels, recording in parts:
                name = spec.name if len(parts) == 1 else f"{spec.name}/{'/'.join(labels.values())}"
                held_out = spec.held_out.rows(recording)
                name_of = spec.model or recipe.device
                device = find_device(name_of) if name_of or spec.circuit is None else None
                law = {"course": spec.ramps.course, "start": spec.ramps.start}
                forward = recipe.forward(recording, ~held_out, law=law, device=device, circuit=spec.circuit)
                known = {entry.name for entry in forward.params}
                vary = {n: p.bounds for n, p in recipe.parameters.items() if n in forward.active}
                given = {n: ends for n, ends in vary.items() if ends is not None}
                bounds = bounds_of(forward, tuple(vary), given)
                for parameter in spec.values:
                    if parameter not in known:
                        raise UnknownName("parameter", parameter, known)
                common = {n: v for n, v in recipe.start.values.items() if n in known}
                own = recipe.model_copy(update={"start": recipe.start.model_copy(update={"values": common})})
                base = start_of(own, forward, bounds, spec.values)[0]
                bounds = within_reach(forward, bounds, base)
                stated = spec.columns.values()
                plausible.check(recording, sign=any(c.sign is not None for c in stated))
                forward.check(
                    base, sign=any(c.sign is not None for c in stated), shift=any(c.shift is not None for c in stated)
                )
                limit, noise = plateau.stated(recording, spec.clipping), spec.noise.per_point(recording)
                marks = {**spec.labels, **labels}
                found.append(
                    Observation(name, spec, recording, marks, device, forward, bounds, held_out, noise, base, limit)
                )
    names = [one.name for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(
            f"two observations are called {twice[0]!r}", remedy="rename one, or leave '/' out of the labels in its file"
        )
    return found


def check_parameters(recipe: JointRecipe, observations: Sequence[Observation]) -> None:
    """Raise `InputError`, `UnknownName` where a parameter is of no observation, or its groups cannot be told apart."""
    known = {entry.name for one in observations for entry in one.forward.params}
    active = {name for one in observations for name in one.forward.active}
    saved: dict[str, tuple[tuple[str, ...], set[str]]] = {}
    for name in recipe.start.values:
        if name not in known:
            with at("start", "values", name):
                raise UnknownName("parameter", name, known)
    for name, spec in recipe.parameters.items():
        with at("parameters", name):
            if name not in known:
                raise UnknownName("parameter", name, known)
            if name not in active:
                raise InputError(
                    f"{name} has no effect on any observation", remedy="leave it out, or add one that shows it"
                )
            groups: dict[tuple[str, ...], set[str]] = {}
            for one in observations:
                if name in one.forward.active:
                    groups.setdefault(one.key(spec.by), set()).add(one.name)
            if spec.scope == "population" and len(groups) < 3:
                raise InputError(
                    f"{name} has {len(groups)} {'value' if len(groups) == 1 else 'values'} by {spec.by}, and a "
                    "population needs at least three",
                    remedy='write scope = "own", or label more groups',
                )
            if spec.scope == "shared":
                continue
            # Different groups need different names, for their values and for the sets that these are saved in.
            for key, members in groups.items():
                title = recipe.set_name("/".join(key))
                other, theirs = saved.setdefault(title, (key, members))
                if other != key and members.isdisjoint(theirs):
                    raise InputError(
                        f"the groups {_quoted(other)} and {_quoted(key)} would both be saved as {title!r}",
                        remedy="rename one of their labels, without '/' and '_'",
                    )


def _quoted(key: tuple[str, ...]) -> str:
    return "/".join(repr(label) for label in key)
