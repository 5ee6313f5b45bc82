"""Learned laws: what an event does, as a function of states and inputs, where there is no physics, or beside it.

Kinds, all evaluated from plain arrays in numpy:

- ``polynomial``: products of Chebyshev polynomials up to a total degree;
- ``stretched``, ``hinge``: what moves by decades, or has two branches (`cosim.surrogate.kinked`);
- ``ridge``, ``sheet``: what switches with one quantity (`cosim.surrogate.ridges`);
- ``spline``: a tensor product of uniform cubic B-splines, for up to three fields;
- ``trees``: gradient-boosted regression trees, trained by scikit-learn;
- ``network``: a multilayer perceptron with tanh, trained by scikit-learn.

A `Law` scales its fields to [−1, 1] and holds them at the ends of the range that it was trained on. `fit` makes every
kind that the samples allow, on two thirds of them, and takes the one with the least error on the other third;
`fit_each` does so for each target by itself, and gives `Laws`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array, Operand
from cosim.errors import EngineMissing, FitError, InputError
from cosim.surrogate.bases import MOST_SPLINE_FIELDS, Model, Polynomial, Spline
from cosim.surrogate.kinds import KINDS
from cosim.surrogate.ridges import best_directions, best_second

SCALED_BY_LOGARITHM = 4.0  # a positive range whose ends differ by more is scaled by its logarithm (our choice)
# Our choices of what is tried.
DEGREES = (1, 2, 3, 4, 5, 6, 8, 10)
CELLS = (3, 6, 12, 24)
HINGED = (1, 2, 3, 4)
WIDTHS = (1e-6, 1e-4, 1e-3, 1e-2)  # of the scale, up to which a stretched law is linear
RIDGE_CELLS, RIDGE_DEGREES = (12, 24, 48, 96), (1, 2, 3)
SHEET_CELLS = ((12, 6), (24, 6), (48, 6), (48, 12), (64, 12))
APART = ("ridge", "sheet")  # kinds whose knots are those of one target
AXES = ("direction", "second")  # settings of theirs that have a number for each field
TRAINED = ("trees", "network")  # kinds that find by themselves which fields matter
LITTLE = 1e-4  # of the scale: a smaller error is not worth a search for fields that do not matter (our choice)
SMOOTH = ("polynomial", "spline", "trees", "network")
SEVERAL = "several"
LEAST_SAMPLES = 24
# A kind that is slower to evaluate has to lower the error to this share of a faster one's.
WORTH = 0.9
# A target that moves by less than this share of its magnitude is constant (our choice, above an engine's rounding).
CONSTANT = 1e-9


@dataclass(frozen=True)
class Law:
    """A learned function of named fields (module docstring).

    Args:
        kind: of the model, one of `KINDS`.
        fields: names of what it depends on, in order.
        ranges: (k, 2) of the fields, SI.
        logarithmic: (k,) bool: whose logarithm is scaled.
        targets: names of what it gives.
        offset, scale: (t,): a target is offset + scale · prediction.
        model: predicts in scaled quantities.
    """

    kind: str
    fields: tuple[str, ...]
    ranges: Array
    logarithmic: NDArray[np.bool_]
    targets: tuple[str, ...]
    offset: Array
    scale: Array
    model: Model

    def __call__(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Each target at the fields' ``values``, which broadcast."""
        columns = [np.asarray(values[name], dtype=float) for name in self.fields]
        shape = np.broadcast_shapes(*(column.shape for column in columns))
        x = np.stack([np.broadcast_to(column, shape).ravel() for column in columns], axis=1)
        y = self.offset + self.scale * self.model.predict(self.scaled(x))
        return {name: y[:, k].reshape(shape) for k, name in enumerate(self.targets)}

    @property
    def traceable(self) -> bool:
        """Whether `traced` gives it."""
        return isinstance(self.model, Polynomial | Spline)

    def traced(self, values: Mapping[str, Operand], tables: list[Array]) -> dict[str, Operand]:
        """Each target of recording operands; arrays that it looks numbers up in join ``tables`` (`Spline.traced`)."""
        assert isinstance(self.model, Polynomial | Spline)
        x = []
        for name, ends, logarithmic in zip(self.fields, self.ranges, self.logarithmic.tolist(), strict=True):
            low, high = np.log(ends).tolist() if logarithmic else ends.tolist()
            value = np.clip(values[name], *ends.tolist())
            value = np.log2(value) * math.log(2.0) if logarithmic else value
            x.append((2.0 * value - (low + high)) / (high - low))
        scaled_back = zip(
            self.targets, self.offset.tolist(), self.scale.tolist(), self.model.traced(x, tables), strict=True
        )
        return {name: offset + scale * found for name, offset, scale, found in scaled_back}

    def scaled(self, x: Array) -> Array:
        """(n, fields) in [−1, 1]."""
        return scaled(x, self.ranges, self.logarithmic)

    def document(self) -> dict[str, Any]:
        """Its names, as JSON values."""
        return {"kind": self.kind, "fields": list(self.fields), "targets": list(self.targets)}

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Its numbers, for a file."""
        own: dict[str, NDArray[Any]] = {"ranges": self.ranges, "logarithmic": self.logarithmic, **self.model.arrays()}
        own |= {"offset": self.offset, "scale": self.scale}
        return {f"{prefix}_{name}": values for name, values in own.items()}

    @classmethod
    def rebuilt(cls, document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], prefix: str) -> Self:
        """The inverse of `document` and `arrays`; raises KeyError or ValueError for what cannot be one."""
        own = {name.removeprefix(f"{prefix}_"): a for name, a in arrays.items() if name.startswith(f"{prefix}_")}
        if any(values.dtype.kind == "f" and not np.all(np.isfinite(values)) for values in own.values()):
            raise ValueError("numbers that are not finite in its law")
        fields, targets = tuple(map(str, document["fields"])), tuple(map(str, document["targets"]))
        model = KINDS[document["kind"]].of(own, len(fields))
        found = cls(
            str(document["kind"]), fields, np.asarray(own["ranges"], dtype=float), own["logarithmic"].astype(bool),
            targets, np.asarray(own["offset"], dtype=float), np.asarray(own["scale"], dtype=float), model,
        )  # fmt: skip
        if found.ranges.shape != (len(fields), 2) or not np.all(found.ranges[:, 0] < found.ranges[:, 1]):
            raise ValueError("ranges of its law")
        if found.logarithmic.shape != (len(fields),) or np.any(found.ranges[found.logarithmic, 0] <= 0.0):
            raise ValueError("the logarithm of a range that is not above zero in its law")
        if not found.offset.shape == found.scale.shape == (len(targets),):
            raise ValueError("scales of its law")
        # a model of other shapes raises here, not in use
        given = found.model.predict(found.scaled(np.mean(found.ranges, axis=1)[None]))
        if given.shape != (1, len(targets)):
            raise ValueError("targets of its law")
        return found


def scaled(x: Array, ranges: Array, logarithmic: NDArray[np.bool_]) -> Array:
    """(n, k) in [−1, 1], held at the ends of the ``ranges`` (k, 2)."""
    x = np.clip(x, ranges[:, 0], ranges[:, 1])
    ends = ranges.copy()
    for k in np.flatnonzero(logarithmic):
        x[:, k], ends[k] = np.log(x[:, k]), np.log(ends[k])
    found: Array = (2.0 * x - (ends[:, 0] + ends[:, 1])) / (ends[:, 1] - ends[:, 0])
    return found


@dataclass(frozen=True)
class Laws:
    """Laws, each of targets of its own and of the fields that these depend on; together a law, as `Law` is one."""

    parts: tuple[Law, ...]

    @property
    def kind(self) -> str:
        """The kind of each part, and which targets it has."""
        return "; ".join(f"{part.kind}: {', '.join(part.targets)}" for part in self.parts)

    @property
    def fields(self) -> tuple[str, ...]:
        """Of all parts."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.fields))

    @property
    def targets(self) -> tuple[str, ...]:
        """Of all parts."""
        return tuple(name for part in self.parts for name in part.targets)

    @property
    def ranges(self) -> Array:
        """(k, 2) of the fields, SI."""
        known = {name: ends for part in self.parts for name, ends in zip(part.fields, part.ranges, strict=True)}
        return np.stack([known[name] for name in self.fields])

    def __call__(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """As `Law` does."""
        return {name: found for part in self.parts for name, found in part(values).items()}

    def document(self) -> dict[str, Any]:
        """Its names, as JSON values."""
        return {"kind": SEVERAL, "parts": [part.document() for part in self.parts]}

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Its numbers, for a file."""
        own: dict[str, NDArray[Any]] = {}
        for number, part in enumerate(self.parts):
            own |= part.arrays(f"{prefix}_{number}")
        return own

    @classmethod
    def rebuilt(cls, document: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], prefix: str) -> Self:
        """The inverse of `document` and `arrays`; raises KeyError or ValueError for what cannot be one."""
        given = document["parts"]
        parts = tuple(Law.rebuilt(part, arrays, f"{prefix}_{number}") for number, part in enumerate(given))
        if not parts:
            raise ValueError("no laws")
        found = cls(parts)
        if len(set(found.targets)) < len(found.targets):
            raise ValueError("laws of the same target")
        return found


def learned_range(law: object, name: str, meant: tuple[float, float]) -> tuple[float, float]:
    """The range of an input that a law was trained on; ``meant`` where it does not depend on it."""
    if not isinstance(law, Law | Laws) or name not in law.fields:
        return meant
    low, high = law.ranges[law.fields.index(name)].tolist()
    return (low, high)


@dataclass(frozen=True)
class Fitted:
    """A law, and what each kind that was tried reached: the largest rms error of a target, a share of its scale."""

    law: Law
    errors: Mapping[str, float]
    held: Mapping[str, float]

    @property
    def sentence(self) -> str:
        """Which kind was taken, and what the others reached."""
        others = ", ".join(f"{kind} {100 * e:.2g} %" for kind, e in sorted(self.errors.items(), key=lambda one: one[1]))
        return f"a law of kind {self.law.kind} was taken by its held-out rms error: {others}"


@dataclass(frozen=True)
class FittedEach:
    """As `Fitted`, with a kind for each target; ``errors`` of a kind: of the targets by name."""

    law: Laws
    errors: Mapping[str, Mapping[str, float]]
    held: Mapping[str, float]


def fit(
    fields: Mapping[str, Array],
    targets: Mapping[str, Array],
    *,
    scales: Mapping[str, float],
    rng: np.random.Generator,
    kinds: Sequence[str] = SMOOTH,
    ranges: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> Fitted:
    """The best law for ``targets``, (n,) each, of ``fields``, (n,) each.

    ``scales`` are the targets' full scales, which errors count as shares of; ``ranges`` (SI) of fields are where the
    law is to hold, at least: the samples need not reach their ends. A kind whose package is not installed is
    left out. Raises `FitError` for too few samples, and where no kind is left.
    """
    data = _Samples.of(fields, targets, scales=scales, rng=rng, ranges=ranges)
    best: tuple[float, _Way, Array] | None = None
    errors: dict[str, float] = {}
    for way, rms in data.tried(kinds):
        error = float(rms.max())
        if not error >= errors.get(way.kind, np.inf):
            errors[way.kind] = error
        if best is None or error < best[0] * (WORTH if way.kind != best[1].kind else 1.0):
            best = error, way, rms
    if best is None:
        raise _nothing(kinds, len(fields))
    law = data.law(best[1], range(len(targets)), data.all)
    return Fitted(law, errors, dict(zip(targets, best[2].tolist(), strict=True)))


def fit_each(
    fields: Mapping[str, Array],
    targets: Mapping[str, Array],
    *,
    scales: Mapping[str, float],
    rng: np.random.Generator,
    kinds: Sequence[str] = tuple(KINDS),
    ranges: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    alike: Sequence[tuple[str, str]] = (),
) -> FittedEach:
    """As `fit`, by the best kind for each target; ``alike`` are pairs of fields whose difference may matter."""
    data = _Samples.of(fields, targets, scales=scales, rng=rng, ranges=ranges, alike=alike)
    best: list[tuple[float, _Way] | None] = [None] * len(targets)
    errors: dict[str, dict[str, float]] = {}
    for way, rms in data.tried(kinds):
        known = errors.setdefault(way.kind, dict.fromkeys(targets, np.inf))
        for k, (name, error) in enumerate(zip(targets, rms.tolist(), strict=True)):
            known[name] = min(known[name], error)
            held = best[k]
            if held is None or error < held[0] * (WORTH if way.kind != held[1].kind else 1.0):
                best[k] = error, way
    groups: dict[tuple[int, int], tuple[_Samples, _Way, list[int]]] = {}
    for k, held in enumerate(best):
        if held is None:
            raise _nothing(kinds, len(fields))
        error, way = held
        lean = data
        if error > LITTLE and way.kind not in TRAINED:
            lean, way = _leaner(data.of_target(k), way, error)
        own = k if lean is not data or way.kind in APART else -1
        groups.setdefault((id(way), own), (lean, way, []))[2].append(k if lean is data else 0)
    laws: list[Law] = []
    held_out: dict[str, float] = {}
    for lean, way, chosen in groups.values():
        # a kind may put the targets of a law to a common use, so that the errors are of those that go together
        reached = lean.rms(lean.model(way, chosen, lean.used), way, chosen)
        laws.append(lean.law(way, chosen, lean.all))
        held_out |= dict(zip(laws[-1].targets, reached.tolist(), strict=True))
    return FittedEach(Laws(tuple(laws)), errors, {name: held_out[name] for name in targets})


def _leaner(data: _Samples, way: _Way, error: float) -> tuple[_Samples, _Way]:
    """Without the fields that do not lower the held-out ``error`` of one target, and the best way of that kind then."""
    found = data
    for name in data.names:
        if len(found.names) > 1 and (fewer := way.without(column := found.names.index(name))) is not None:
            less = found.without(column)
            reached = float(less.rms(less.model(fewer, [0], less.used), fewer, [0])[0])
            if reached <= error:
                found, way, error = less, fewer, reached
    if found is not data:
        for other, rms in found.tried([way.kind]):
            if float(rms[0]) < error:
                way, error = other, float(rms[0])
    return found, way


def _nothing(kinds: Sequence[str], fields: int) -> FitError:
    return FitError(
        f"no law of kind {' or '.join(kinds)} can be learned of {fields} fields here",
        remedy=f"splines take at most {MOST_SPLINE_FIELDS} fields; trees and networks need scikit-learn: "
        "pip install 'cosim-spice[train]'",
    )


@dataclass(frozen=True)
class _Way:
    """A kind, its settings, and whether all fields are taken as they are: no logarithm."""

    kind: str
    how: Mapping[str, Any]
    plain: bool = False

    def without(self, column: int) -> _Way | None:
        """The same without a field; None where it is what the kind runs along."""
        axes = {key: np.asarray(self.how[key]) for key in AXES if key in self.how}
        if any(axis[column] for axis in axes.values()):
            return None
        return replace(self, how={**self.how, **{key: np.delete(axis, column) for key, axis in axes.items()}})


@dataclass(frozen=True)
class _Samples:
    """Fields ``x`` (n, k) in SI, targets ``z`` (n, t) in their scales, and which of the n are held out."""

    names: tuple[str, ...]
    wanted: tuple[str, ...]
    x: Array
    z: Array
    ends: Array
    logarithmic: NDArray[np.bool_]
    offset: Array
    scale: Array
    held: NDArray[np.int64]
    used: NDArray[np.int64]
    seed: int
    alike: tuple[tuple[int, int], ...]

    @classmethod
    def of(
        cls,
        fields: Mapping[str, Array],
        targets: Mapping[str, Array],
        *,
        scales: Mapping[str, float],
        rng: np.random.Generator,
        ranges: Mapping[str, tuple[float, float]],
        alike: Sequence[tuple[str, str]] = (),
    ) -> Self:
        """As `fit` takes and raises."""
        names, wanted = tuple(fields), tuple(targets)
        x = np.stack([np.asarray(fields[name], dtype=float) for name in names], axis=1)
        y = np.stack([np.asarray(targets[name], dtype=float) for name in wanted], axis=1)
        count = x.shape[0]
        if count < LEAST_SAMPLES:
            raise FitError(
                f"{count} samples are too few to learn from: at least {LEAST_SAMPLES}", remedy="give more samples"
            )
        ends = np.stack([x.min(axis=0), x.max(axis=0)], axis=1)
        for k, name in enumerate(names):
            if not ends[k, 0] < ends[k, 1]:
                raise InputError(
                    f"every sample has {name} = {ends[k, 0]:g}", remedy="vary it, or leave it out of the map"
                )
            low, high = ranges.get(name, ends[k])
            ends[k] = min(low, ends[k, 0]), max(high, ends[k, 1])
        logarithmic = (ends[:, 0] > 0.0) & (ends[:, 1] > SCALED_BY_LOGARITHM * np.maximum(ends[:, 0], 1e-300))
        offset, scale = y.mean(axis=0), np.array([scales[name] for name in wanted])
        order = rng.permutation(count)
        pairs = tuple((names.index(one), names.index(other)) for one, other in alike)
        return cls(
            names, wanted, x, (y - offset) / scale, ends, logarithmic, offset, scale, order[: count // 3],
            order[count // 3 :], int(rng.integers(2**31 - 1)), pairs,
        )  # fmt: skip

    def of_target(self, k: int) -> Self:
        """The same of one target alone."""
        one = slice(k, k + 1)
        return replace(self, wanted=self.wanted[one], z=self.z[:, one], offset=self.offset[one], scale=self.scale[one])

    def without(self, column: int) -> Self:
        """The same without a field."""
        left = [k for k in range(len(self.names)) if k != column]
        pairs = [(one, other) for one, other in self.alike if column not in (one, other)]
        return replace(
            self, names=tuple(self.names[k] for k in left), x=self.x[:, left], ends=self.ends[left],
            logarithmic=self.logarithmic[left],
            alike=tuple((left.index(one), left.index(other)) for one, other in pairs),
        )  # fmt: skip

    @property
    def all(self) -> NDArray[np.int64]:
        """The index of every sample."""
        return np.arange(self.x.shape[0])

    def inside(self, way: _Way, rows: NDArray[np.int64]) -> Array:
        """The fields of ``rows`` in [−1, 1]."""
        return scaled(self.x[rows], self.ends, self._logarithmic(way))

    def _logarithmic(self, way: _Way) -> NDArray[np.bool_]:
        return np.zeros_like(self.logarithmic) if way.plain else self.logarithmic

    def model(self, way: _Way, chosen: Sequence[int], rows: NDArray[np.int64]) -> Model:
        """What is learned for the targets ``chosen`` of ``rows``; raises `EngineMissing`."""
        how = dict(way.how)
        if "origin" in how:
            how["origin"] = how["origin"][list(chosen)]
        return KINDS[way.kind].trained(self.inside(way, rows), self.z[rows][:, list(chosen)], **how)

    def rms(self, model: Model, way: _Way, chosen: Sequence[int]) -> Array:
        """(t,) the held-out error of each target."""
        rest = model.predict(self.inside(way, self.held)) - self.z[self.held][:, list(chosen)]
        return np.asarray(np.sqrt(np.mean(rest**2, axis=0)))

    def tried(self, kinds: Sequence[str]) -> Iterator[tuple[_Way, Array]]:
        """Every way of ``kinds`` with the held-out error of each target; not those whose package is missing."""
        every = range(len(self.wanted))
        for kind in kinds:
            for way in self.ways(kind):
                parts = [[k] for k in every] if kind in APART else [every]
                try:
                    rms = [self.rms(self.model(way, part, self.used), way, part) for part in parts]
                except EngineMissing:
                    break
                yield way, np.concatenate(rms)

    def law(self, way: _Way, chosen: Sequence[int], rows: NDArray[np.int64]) -> Law:
        """What is learned of ``rows``, as a law of the targets ``chosen``."""
        index = list(chosen)
        return Law(
            way.kind, self.names, self.ends, self._logarithmic(way), tuple(self.wanted[k] for k in index),
            self.offset[index], self.scale[index], self.model(way, index, rows),
        )  # fmt: skip

    def ways(self, kind: str) -> Iterator[_Way]:
        """What is tried of a kind with the samples that are not held out."""
        count, fields = self.used.size, len(self.names)

        def terms(degree: int) -> int:
            return math.comb(fields + degree, degree)

        if kind in ("polynomial", "stretched"):
            degrees = [degree for degree in DEGREES if degree == 1 or 2 * terms(degree) <= count]
            for width in WIDTHS if kind == "stretched" else (None,):
                own = {} if width is None else {"width": width, "origin": -self.offset / self.scale}
                yield from (_Way(kind, {"degree": degree, **own}) for degree in degrees)
        elif kind == "hinge":
            degrees = [degree for degree in HINGED if degree == 1 or 4 * terms(degree) <= count]
            yield from (_Way(kind, {"degree": degree}) for degree in degrees)
        elif kind in ("ridge", "sheet"):
            yield from self._ridges(kind, count)
        elif kind == "spline":
            cells = CELLS if fields <= MOST_SPLINE_FIELDS else ()
            yield from (_Way(kind, {"cells": n}) for n in cells if n == CELLS[0] or (n + 3) ** fields <= 2 * count)
        else:
            yield _Way(kind, {"seed": self.seed})

    def _ridges(self, kind: str, count: int) -> Iterator[_Way]:
        """Ridges or sheets along each field, and along differences of those that are alike."""
        fields, span = len(self.names), np.ptp(self.ends, axis=1)
        along = {False: list(np.eye(fields)), True: []}
        for one, other in self.alike:
            direction = np.zeros(fields)
            direction[[one, other]] = span[one], -span[other]
            along[True].append(direction / np.abs(direction).sum())
        y = self.z[self.used]
        for plain, directions in along.items():
            if not directions or count < (RIDGE_CELLS[0] + 3) * fields:
                continue
            x = self.inside(_Way(kind, {}, plain), self.used)
            for direction in best_directions(x, y, directions=directions):
                if kind == "ridge":
                    for degree in RIDGE_DEGREES:
                        for cells in RIDGE_CELLS:
                            if (cells + 3) * math.comb(fields - 1 + degree, degree) <= count:
                                how = {"direction": direction, "cells": cells, "degree": degree}
                                yield _Way(kind, how, plain)
                    continue
                pairs = [pair for pair in SHEET_CELLS if 2 * (pair[0] + 3) * (pair[1] + 3) <= 3 * count]
                for second in best_second(x, y, direction=direction) if pairs else ():
                    for pair in pairs:
                        yield _Way(kind, {"direction": direction, "second": second, "cells": pair}, plain)
