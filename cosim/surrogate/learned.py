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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array, Operand
from cosim.errors import FitError
from cosim.surrogate.bases import MOST_SPLINE_FIELDS, Model, Polynomial, Spline, scaled
from cosim.surrogate.kinds import KINDS
from cosim.surrogate.samples import APART, Samples, Way

TRAINED = ("trees", "network")  # kinds that find by themselves which fields matter
LITTLE = 1e-4  # of the scale: a smaller error is not worth a search for fields that do not matter (our choice)
SMOOTH = ("polynomial", "spline", "trees", "network")
SEVERAL = "several"
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
        found = self.model.traced(self.scaled_traced(values), tables)
        scaled_back = zip(self.targets, self.offset.tolist(), self.scale.tolist(), found, strict=True)
        return {name: offset + scale * one for name, offset, scale, one in scaled_back}

    def scaled_traced(self, values: Mapping[str, Operand]) -> list[Operand]:
        """`scaled` of recording operands."""
        x = []
        for name, ends, logarithmic in zip(self.fields, self.ranges, self.logarithmic.tolist(), strict=True):
            low, high = np.log(ends).tolist() if logarithmic else ends.tolist()
            value = np.clip(values[name], *ends.tolist())
            value = np.log2(value) * math.log(2.0) if logarithmic else value
            x.append((2.0 * value - (low + high)) / (high - low))
        return x

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

    @property
    def traceable(self) -> bool:
        """Whether `traced` gives it."""
        return all(part.traceable for part in self.parts)

    def traced(self, values: Mapping[str, Operand], tables: list[Array]) -> dict[str, Operand]:
        """As `Law.traced`."""
        return {name: found for part in self.parts for name, found in part.traced(values, tables).items()}

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
    data = Samples.of(fields, targets, scales=scales, rng=rng, ranges=ranges)
    best: tuple[float, Way, Array] | None = None
    errors: dict[str, float] = {}
    for way, rms in data.tried(kinds):
        error = float(rms.max())
        if not error >= errors.get(way.kind, np.inf):
            errors[way.kind] = error
        if best is None or error < best[0] * (WORTH if way.kind != best[1].kind else 1.0):
            best = error, way, rms
    if best is None:
        raise _nothing(kinds, len(fields))
    law = _law(data, best[1], range(len(targets)))
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
    data = Samples.of(fields, targets, scales=scales, rng=rng, ranges=ranges, alike=alike)
    best: list[tuple[float, Way] | None] = [None] * len(targets)
    errors: dict[str, dict[str, float]] = {}
    for way, rms in data.tried(kinds):
        known = errors.setdefault(way.kind, dict.fromkeys(targets, np.inf))
        for k, (name, error) in enumerate(zip(targets, rms.tolist(), strict=True)):
            known[name] = min(known[name], error)
            held = best[k]
            if held is None or error < held[0] * (WORTH if way.kind != held[1].kind else 1.0):
                best[k] = error, way
    groups: dict[tuple[int, int], tuple[Samples, Way, list[int]]] = {}
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
        laws.append(_law(lean, way, chosen))
        held_out |= dict(zip(laws[-1].targets, reached.tolist(), strict=True))
    return FittedEach(Laws(tuple(laws)), errors, {name: held_out[name] for name in targets})


def _leaner(data: Samples, way: Way, error: float) -> tuple[Samples, Way]:
    """Without the fields that do not lower the held-out ``error`` of one target, and the best way of the kind then."""
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


def _law(data: Samples, way: Way, chosen: Sequence[int]) -> Law:
    """What is learned of all samples, as a law of the targets ``chosen``."""
    index = list(chosen)
    return Law(
        way.kind, data.names, data.ends, data.logarithms(way), tuple(data.wanted[k] for k in index),
        data.offset[index], data.scale[index], data.model(way, index, data.all),
    )  # fmt: skip


def _nothing(kinds: Sequence[str], fields: int) -> FitError:
    return FitError(
        f"no law of kind {' or '.join(kinds)} can be learned of {fields} fields here",
        remedy=f"splines take at most {MOST_SPLINE_FIELDS} fields; trees and networks need scikit-learn: "
        "pip install 'cosim-spice[train]'",
    )
