"""Learned laws: what an event does, as a function of states and inputs, where there is no physics, or beside it.

Four kinds, all evaluated from plain arrays in numpy:

- ``polynomial``: products of Chebyshev polynomials up to a total degree;
- ``spline``: a tensor product of uniform cubic B-splines, for up to three fields;
- ``trees``: gradient-boosted regression trees, trained by scikit-learn;
- ``network``: a multilayer perceptron with tanh, trained by scikit-learn.

A `Law` scales its fields to [−1, 1] and holds them at the ends of the range that it was trained on. `fit` makes every
kind that the samples allow, on two thirds of them, and takes the one with the least error on the other third.
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
from cosim.errors import EngineMissing, FitError, InputError
from cosim.surrogate.kinds import KINDS, MOST_SPLINE_FIELDS, Model, Polynomial, Spline

SCALED_BY_LOGARITHM = 4.0  # a positive range whose ends differ by more is scaled by its logarithm (our choice)
# Our choices of what is tried.
DEGREES = (1, 2, 3, 4, 5, 6, 8, 10)
CELLS = (3, 6, 12, 24)
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
        if not found.offset.shape == found.scale.shape == (len(targets),):
            raise ValueError("scales of its law")
        middle = {name: np.array([0.5 * (low + high)]) for name, (low, high) in zip(fields, found.ranges, strict=True)}
        found(middle)  # a model of other shapes raises here, not in use
        return found


def scaled(x: Array, ranges: Array, logarithmic: NDArray[np.bool_]) -> Array:
    """(n, k) in [−1, 1], held at the ends of the ``ranges`` (k, 2)."""
    x = np.clip(x, ranges[:, 0], ranges[:, 1])
    ends = ranges.copy()
    for k in np.flatnonzero(logarithmic):
        x[:, k], ends[k] = np.log(x[:, k]), np.log(ends[k])
    found: Array = (2.0 * x - (ends[:, 0] + ends[:, 1])) / (ends[:, 1] - ends[:, 0])
    return found


def learned_range(law: object, name: str, meant: tuple[float, float]) -> tuple[float, float]:
    """The range of an input that a `Law` was trained on; ``meant`` where it does not depend on it."""
    if not isinstance(law, Law) or name not in law.fields:
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


def fit(
    fields: Mapping[str, Array],
    targets: Mapping[str, Array],
    *,
    scales: Mapping[str, float],
    rng: np.random.Generator,
    kinds: Sequence[str] = tuple(KINDS),
    ranges: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> Fitted:
    """The best law for ``targets``, (n,) each, of ``fields``, (n,) each.

    ``scales`` are the targets' full scales, which errors count as shares of; ``ranges`` (SI) of fields are where the
    law is to hold, at least: the samples need not reach their ends. A kind whose package is not installed is
    left out. Raises `FitError` for too few samples, and where no kind is left.
    """
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
            raise InputError(f"every sample has {name} = {ends[k, 0]:g}", remedy="vary it, or leave it out of the map")
        low, high = ranges.get(name, ends[k])
        ends[k] = min(low, ends[k, 0]), max(high, ends[k, 1])
    logarithmic = (ends[:, 0] > 0.0) & (ends[:, 1] > SCALED_BY_LOGARITHM * np.maximum(ends[:, 0], 1e-300))
    inside = scaled(x, ends, logarithmic)
    offset = y.mean(axis=0)
    scale = np.array([scales[name] for name in wanted])
    z = (y - offset) / scale
    order = rng.permutation(count)
    held, used = order[: count // 3], order[count // 3 :]
    seed = int(rng.integers(2**31 - 1))
    best: tuple[float, str, dict[str, Any]] | None = None
    errors: dict[str, float] = {}
    each: Array = np.zeros(len(wanted))
    for kind in kinds:
        for how in _ways(kind, used.size, len(names), seed):
            try:
                model: Model = KINDS[kind].trained(inside[used], z[used], **how)
            except EngineMissing:
                break
            rms = np.sqrt(np.mean((model.predict(inside[held]) - z[held]) ** 2, axis=0))
            error = float(rms.max())
            if not error >= errors.get(kind, np.inf):
                errors[kind] = error
            if best is None or error < best[0] * (WORTH if kind != best[1] else 1.0):
                best, each = (error, kind, how), rms
    if best is None:
        raise FitError(
            f"no law of kind {' or '.join(kinds)} can be learned of {len(names)} fields here",
            remedy=f"splines take at most {MOST_SPLINE_FIELDS} fields; trees and networks need scikit-learn: "
            "pip install 'cosim-spice[train]'",
        )
    _, kind, how = best
    model = KINDS[kind].trained(inside, z, **how)
    law = Law(kind, names, ends, logarithmic, wanted, offset, scale, model)
    return Fitted(law, errors, dict(zip(wanted, each.tolist(), strict=True)))


def _ways(kind: str, count: int, fields: int, seed: int) -> list[dict[str, Any]]:
    """What is tried of a kind with ``count`` samples."""
    if kind == "polynomial":
        found = [degree for degree in DEGREES if degree == 1 or 2 * math.comb(fields + degree, degree) <= count]
        return [{"degree": degree} for degree in found]
    if kind == "spline":
        cells = CELLS if fields <= MOST_SPLINE_FIELDS else ()
        return [{"cells": n} for n in cells if n == CELLS[0] or (n + 3) ** fields <= 2 * count]
    return [{"seed": seed}]
