"""Between events, and many of them: what `cosim.surrogate.model.Surrogate` does with more than one event's inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from cosim.devices.base import Array, Values
from cosim.errors import InputError
from cosim.surrogate.answers import Answer, common_shape, extrapolated_in, outside_of
from cosim.surrogate.base import REST, complain, require_inside, require_names

if TYPE_CHECKING:
    from cosim.surrogate.model import Surrogate


def rested(surrogate: Surrogate, state: Values, duration: ArrayLike) -> Values:
    """`Surrogate.rest`."""
    after = _rested(surrogate, state, duration)  # of a filter an event, which tells by itself
    known = after if isinstance(after, Answer) else state
    return Answer(after, outside=outside_of(known), extrapolated=extrapolated_in(known))


def _rested(surrogate: Surrogate, state: Values, duration: ArrayLike) -> Values:
    require_names("state", state, {name: entry.unit for name, entry in surrogate.map.states.items()})
    x = {name: np.asarray(state[name], dtype=surrogate.dtype) for name in surrogate.map.states}
    length = np.asarray(duration, dtype=float)
    if not np.all(length >= 0.0):
        raise InputError("a rest has a duration below zero, or one that is not a number", remedy="give s >= 0")
    if (event := surrogate.subject.rest_event(surrogate, length)) is not None:
        return surrogate.advance(state, event)
    shape, rest = common_shape({**x, "duration": length}, surrogate.instances), surrogate.rest_map
    if rest is None:
        return Values({name: np.array(np.broadcast_to(values, shape)) for name, values in x.items()})
    if surrogate.certificate is not None:
        tested = all(f"{name}{REST}" in surrogate.certificate.errors for name in x)
        longest = (0.0, rest.inputs["duration"].range[1] if tested else 0.0)
        complaint = require_inside("duration of a rest", length, longest, unit="s", slack=surrogate.slack)
        complain(complaint, kind="rest", policy=surrogate.policy)
    for name, values in x.items():
        bounds = rest.bounds(name)
        complaint = require_inside(f"state {name}", values, bounds, unit=surrogate.map.states[name].unit, known="")
        complain(complaint, kind="state", policy=surrogate.policy)
    before = Values({name: np.broadcast_to(values, shape) for name, values in x.items()})
    after, _ = rest(before, Values({"duration": np.broadcast_to(length, shape)}), surrogate.values)
    return Values({name: np.array(np.broadcast_to(after[name], shape), dtype=surrogate.dtype) for name in x})


def followed(
    surrogate: Surrogate, state: Values, inputs: Values, *, out: Mapping[str, Array] | None = None
) -> tuple[Values, Values]:
    """`Surrogate.follow`."""
    for kind, part, known in (("state", state, surrogate.map.states), ("input", inputs, surrogate.map.inputs)):
        require_names(kind, part, {name: entry.unit for name, entry in known.items()})
    given = {name: np.asarray(values) for name, values in inputs.items()}
    lengths = {values.shape[0] if values.ndim else None for values in given.values()}
    if len(lengths) > 1 or None in lengths:
        told = ", ".join(f"{name} {values.shape}" for name, values in given.items())
        raise InputError(
            f"inputs of many events have one row an event, not {told}", remedy="give (events, ...) of each"
        )
    events, ready = len(next(iter(given.values()))), dict(out or {})
    x = {name: np.asarray(values, dtype=surrogate.dtype) for name, values in state.items()}
    shape = common_shape({**x, **{name: values[0] for name, values in given.items() if events}}, surrogate.instances)
    rows = {name: ready.pop(name, np.empty(0)) for name in surrogate.map.outputs}
    rows = {name: row if row.size else np.empty((events, *shape), surrogate.dtype) for name, row in rows.items()}
    for name, values in x.items():
        ready.setdefault(name, np.empty(shape, surrogate.dtype))
        ready[name][...] = values
    after: Values = Answer(ready, outside=outside_of(state), extrapolated=extrapolated_in(state))
    for k in range(events):
        now = Values({name: values[k] for name, values in given.items()})
        after, _ = surrogate.step(after, now, out={**ready, **{name: row[k] for name, row in rows.items()}})
    return after, Answer(rows, outside=outside_of(after), extrapolated=extrapolated_in(after))
