"""Making a surrogate: the map of a parameter set, optionally corrected by samples of the circuit.

With samples (states before, inputs, states and energy after) a `Correction` is fitted to what the map leaves out; it is
kept only where it lowers the error on samples held out of its fit by a tenth, and the certificate is made on further
events that neither has seen.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import xarray as xr

from cosim.devices.base import Array
from cosim.devices.maps import ENERGY, EventMap
from cosim.errors import DataError, FitError, InputError, Where
from cosim.parameters import ParameterSet
from cosim.surrogate.base import Range
from cosim.surrogate.certify import HeldOutEvents, Tell, certify, stepped
from cosim.surrogate.correction import Correction, orders
from cosim.surrogate.files import read_npz, write_npz
from cosim.surrogate.model import Surrogate
from cosim.surrogate.references import EVENT, Reference
from cosim.surrogate.trains import LONG, RandomTrains

DEGREES = (0, 1, 2, 3)
# A correction has to lower the held-out rms error to this share, or it is dropped.
WORTH = 0.9
# Events that move every state by less of its range do not determine a factor on the step.
LEAST_STEP = 1e-4
MARGIN = 0.02  # of a field's range, beyond the samples: what is held out lies a little further out


def collect(
    surrogate: Surrogate,
    reference: Reference,
    *,
    seed: int = 0,
    pulses: int = 600,
    ranges: Mapping[str, Range] = MappingProxyType({}),
    tell: Tell | None = None,
) -> xr.Dataset:
    """Training samples: trains of random events, from a stream that `certify` does not use, begun as its trains are.

    Returns:
        Over ``event``: ``<state>_before``, each input, and each state and output of the reference.
    """
    trains = RandomTrains(surrogate.map, np.random.default_rng([seed, 0]), count=pulses, longest=LONG, ranges=ranges)
    parts: list[xr.Dataset] = []
    while (number := len(parts)) < len(trains.sizes):
        if tell is not None:
            tell(sum(trains.sizes[:number]), pulses)
        events = trains.events(number)
        parts.append(trains.joined(number, events, reference.respond(surrogate.parameters, surrogate.map, events)))
    return xr.concat(parts, EVENT)


def sample_columns(event_map: EventMap) -> dict[str, str]:
    """Names in a sample file -> those in a Dataset: ``<state>_before``, the inputs, ``<state>_after``, ``energy``."""
    before = {f"{name}_before": f"{name}_before" for name in event_map.states}
    after = {f"{name}_after": name for name in event_map.states}
    energy = {ENERGY: ENERGY} if ENERGY in event_map.outputs else {}
    return {**before, **{name: name for name in event_map.inputs}, **after, **energy}


def load_samples(path: str | Path, event_map: EventMap) -> xr.Dataset:
    """The samples in an ``.npz`` file with the columns of `sample_columns`, as `collect` gives them.

    Raises `MissingFile`, `InputError`, and `DataError` for what cannot be a sample.
    """
    stored, columns = read_npz(path, kind="sample file"), sample_columns(event_map)
    missing = [name for name in columns if name not in stored]
    if missing:
        raise DataError(
            f"the sample file lacks {', '.join(missing)}",
            where=Where(path),
            remedy="it needs the arrays " + ", ".join(columns),
        )
    try:
        found = {name: np.asarray(stored[name], dtype=float) for name in columns}
    except ValueError:
        raise DataError("the samples are not numbers", where=Where(path), remedy="store floats") from None
    shapes = {values.shape for values in found.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1 or not next(iter(found.values())).size:
        raise DataError(f"samples need columns of one length, got shapes {sorted(shapes)}", where=Where(path))
    for name, values in found.items():
        bad = ~np.isfinite(values)
        state = name.removesuffix("_before").removesuffix("_after")
        if state in event_map.states:
            low, high = event_map.bounds(state)
            slack = 1e-3 * event_map.states[state].span  # an engine's tolerance
            bad |= (values < low - slack) | (values > high + slack)
            found[name] = np.clip(values, low, high)
        if np.any(bad):
            row = int(np.flatnonzero(bad)[0])
            raise DataError(
                f"{name} = {values[row]:g} is not a sample",
                where=Where(path, row, name),
                remedy="leave the pulse out",
            )
    return xr.Dataset({there: (EVENT, found[name]) for name, there in columns.items()})


def save_samples(path: str | Path, samples: xr.Dataset | Sequence[xr.Dataset], event_map: EventMap) -> Path:
    """Write samples, e.g. a surrogate's ``answers``, as `load_samples` reads them; a file that is there is added to.

    Raises `InputError` without any sample, and as `load_samples` for a file that holds something else.
    """
    given = [samples] if isinstance(samples, xr.Dataset) else list(samples)
    if not given:
        raise InputError("there are no samples to write", remedy="ask the reference outside the domain first")
    columns = sample_columns(event_map)
    wanted = list(columns.values())
    if Path(path).exists():
        given.insert(0, load_samples(path, event_map))
    joined = xr.concat([one[wanted] for one in given], EVENT)
    return write_npz(path, {name: np.asarray(joined[there].values) for name, there in columns.items()})


def correct(surrogate: Surrogate, samples: xr.Dataset, *, rng: np.random.Generator) -> tuple[Surrogate, str]:
    """``surrogate`` with the correction that a held-out third of ``samples`` prefers, and a sentence that says which.

    Raises `FitError` where the samples are too few, or move no state.
    """
    plain = surrogate.with_(correction=None, certificate=None)
    count = samples.sizes[EVENT]
    order = rng.permutation(count)
    held, used = samples.isel({EVENT: order[: count // 3]}), samples.isel({EVENT: order[count // 3 :]})
    errors: dict[int, float] = {}
    for degree in DEGREES if held.sizes[EVENT] else ():
        correction = _solve(plain, used, degree)
        if correction is not None:
            errors[degree] = _rms(plain.with_(correction=correction), held)
    if not errors:
        raise FitError(
            f"{count} samples are too few for a correction{_sides(plain, samples)}",
            remedy="give a few hundred that move a state, of either sign, or train without a correction",
        )
    alone, best = _rms(plain, held), min(errors, key=lambda degree: errors[degree])
    if errors[best] > WORTH * alone:
        return plain, f"no correction: it would change the held-out rms error from {alone:.2e} to {errors[best]:.2e}"
    sentence = f"correction of degree {best}: held-out rms error of training {alone:.2e} -> {errors[best]:.2e}"
    return plain.with_(correction=_solve(plain, samples, best)), sentence


def _rms(surrogate: Surrogate, data: xr.Dataset) -> float:
    """Over all states, as shares of their ranges, and the energy, as one of its largest."""
    found = stepped(surrogate, data)
    scales = {name: entry.span for name, entry in surrogate.map.states.items()}
    if ENERGY in found:
        scales[ENERGY] = float(np.max(np.abs(data[ENERGY].values))) or 1.0
    errors = [(found[name] - data[name].values) / scale for name, scale in scales.items()]
    return float(np.sqrt(np.mean(np.square(errors))))


def _sides(surrogate: Surrogate, data: xr.Dataset) -> str:
    """How many samples move a state, by the sign of the inputs that have one, as a part of a sentence."""
    own, states = stepped(surrogate, data), surrogate.map.states
    steps = [np.abs(own[name] - data[f"{name}_before"].values) / entry.span for name, entry in states.items()]
    moves = np.max(steps, axis=0) > LEAST_STEP
    found = [
        f", {np.count_nonzero(moves & (data[name].values > 0.0))} with {name} above zero and "
        f"{np.count_nonzero(moves & (data[name].values < 0.0))} below"
        for name, entry in surrogate.map.inputs.items()
        if entry.range[0] < 0.0 < entry.range[1]
    ]
    return f": {np.count_nonzero(moves)} of them move a state{''.join(found)}"


def _solve(surrogate: Surrogate, data: xr.Dataset, degree: int) -> Correction | None:
    """Least squares of what the map leaves out, on the basis times the map's own change; None: too few samples."""
    event_map = surrogate.map
    fields = {**event_map.states, **event_map.inputs}
    values = {name: data[f"{name}_before" if name in event_map.states else name].values for name in fields}
    signed = tuple(name for name, entry in event_map.inputs.items() if entry.range[0] < 0.0 < entry.range[1])
    sizes = [np.abs(x) if name in signed else x for name, x in values.items()]
    ranges = np.array([[np.min(x), np.max(x)] for x in sizes])
    room = MARGIN * np.maximum(ranges[:, 1] - ranges[:, 0], np.maximum(np.abs(ranges[:, 1]), 1e-300))
    ranges += np.stack([-room, room], axis=1)
    empty = Correction(tuple(fields), signed, ranges, degree, {})
    basis, own = empty.basis(values), stepped(surrogate, data)
    start = {**{name: values[name] for name in event_map.states}, ENERGY: np.zeros(data.sizes[EVENT])}
    steps = [np.abs(own[name] - start[name]) / entry.span for name, entry in event_map.states.items()]
    moves = np.max(steps, axis=0) > LEAST_STEP
    tables: dict[str, list[Array]] = {name: [] for name in start if name in own}
    for branch in empty.branches:
        here = np.broadcast_to(empty.on(branch, values), moves.shape)
        if np.count_nonzero(here & moves) < 4 * len(orders(len(fields), degree)):
            return None
        for name, rows in tables.items():
            change, rest = (own[name] - start[name])[here], (data[name].values - own[name])[here]
            scale = float(np.max(np.abs(change), initial=0.0)) or 1.0
            found = np.linalg.lstsq(basis[here] * (change / scale)[:, None], rest / scale, rcond=1e-10)[0]
            rows.append(np.asarray(found, dtype=float))
    return replace(empty, tables={name: np.stack(rows) for name, rows in tables.items()})


def train(
    surrogate: Surrogate | ParameterSet,
    reference: Reference,
    *,
    samples: xr.Dataset | None = None,
    seed: int = 0,
    pulses: int = 500,
    ranges: Mapping[str, Range] = MappingProxyType({}),
    spread: Mapping[str, float] = MappingProxyType({}),
    limits: Mapping[str, float] = MappingProxyType({}),
    rollouts: int = 0,
    assume: Collection[str] = (),
    notes: tuple[str, ...] = (),
    tell: Tell | None = None,
) -> tuple[Surrogate, HeldOutEvents]:
    """Make a certified surrogate; returns it with the held-out data of its certificate.

    Args:
        surrogate: which map, with which pulse shape; a parameter set takes its device's usual one.
        reference: what it is certified against.
        samples: of the reference, as from `collect`: a correction is fitted where it pays (`correct`).
        seed, pulses, ranges, spread, limits, rollouts, assume, notes, tell: as in `certify`.

    >>> from cosim.surrogate.references import Equations
    >>> cell, held_out = cosim.train(cosim.ParameterSet.load("tio2"), Equations(), pulses=100)
    >>> cell.certificate.broken
    ()
    """
    made = Surrogate(surrogate) if isinstance(surrogate, ParameterSet) else surrogate
    if samples is not None:
        for name, (low, high) in {**{n: e.range for n, e in made.map.inputs.items()}, **ranges}.items():
            samples = samples.isel({EVENT: (samples[name].values >= low) & (samples[name].values <= high)})
            if not samples.sizes[EVENT]:
                raise InputError(
                    f"no sample lies within {low:.3g}..{high:.3g} of {name}", remedy="give ranges that hold the samples"
                )
        made, sentence = correct(made, samples, rng=np.random.default_rng([seed, 2]))
        notes = (sentence, *notes)
    return certify(
        made, reference, seed=seed, pulses=pulses, ranges=ranges, spread=spread, limits=limits, rollouts=rollouts,
        assume=assume, notes=notes, tell=tell,
    )  # fmt: skip
