"""Samples that a law is learned from, and the ways in which it is tried on them: each kind with its settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.errors import EngineMissing, FitError, InputError
from cosim.surrogate.bases import MOST_SPLINE_FIELDS, Model, scaled
from cosim.surrogate.kinds import KINDS
from cosim.surrogate.ridges import best_directions, best_second

SCALED_BY_LOGARITHM = 4.0  # a positive range whose ends differ by more is scaled by its logarithm (our choice)
LEAST_SAMPLES = 24
# Our choices of what is tried.
DEGREES = (1, 2, 3, 4, 5, 6, 8, 10)
CELLS = (3, 6, 12, 24, 48, 96)
HINGED = (1, 2, 3, 4)
WIDTHS = (1e-6, 1e-4, 1e-3, 1e-2)  # of the scale, up to which a stretched law is linear
RIDGE_CELLS, RIDGE_DEGREES = (12, 24, 48, 96), (1, 2, 3)
SHEET_CELLS = ((12, 6), (24, 6), (48, 6), (48, 12), (64, 12))
APART = ("ridge", "sheet")  # kinds whose knots are those of one target
AXES = ("direction", "second")  # settings of theirs that have a number for each field


@dataclass(frozen=True)
class Way:
    """A kind, its settings, and whether all fields are taken as they are: no logarithm."""

    kind: str
    how: Mapping[str, Any]
    plain: bool = False

    def without(self, column: int) -> Way | None:
        """The same without a field; None where it is what the kind runs along."""
        axes = {key: np.asarray(self.how[key]) for key in AXES if key in self.how}
        if any(axis[column] for axis in axes.values()):
            return None
        return replace(self, how={**self.how, **{key: np.delete(axis, column) for key, axis in axes.items()}})


@dataclass(frozen=True)
class Samples:
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

    def inside(self, way: Way, rows: NDArray[np.int64]) -> Array:
        """The fields of ``rows`` in [−1, 1]."""
        return scaled(self.x[rows], self.ends, self.logarithms(way))

    def logarithms(self, way: Way) -> NDArray[np.bool_]:
        """(k,) which fields count by their logarithm."""
        return np.zeros_like(self.logarithmic) if way.plain else self.logarithmic

    def model(self, way: Way, chosen: Sequence[int], rows: NDArray[np.int64]) -> Model:
        """What is learned for the targets ``chosen`` of ``rows``; raises `EngineMissing`."""
        how = dict(way.how)
        if way.kind == "stretched":  # about the target's zero, not its mean
            how["origin"] = (-self.offset / self.scale)[list(chosen)]
        return KINDS[way.kind].trained(self.inside(way, rows), self.z[rows][:, list(chosen)], **how)

    def rms(self, model: Model, way: Way, chosen: Sequence[int]) -> Array:
        """(t,) the held-out error of each target."""
        rest = model.predict(self.inside(way, self.held)) - self.z[self.held][:, list(chosen)]
        return np.asarray(np.sqrt(np.mean(rest**2, axis=0)))

    def tried(self, kinds: Sequence[str]) -> Iterator[tuple[Way, Array]]:
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

    def ways(self, kind: str) -> Iterator[Way]:
        """What is tried of a kind with the samples that are not held out."""
        count, fields = self.used.size, len(self.names)

        def terms(degree: int) -> int:
            return math.comb(fields + degree, degree)

        if kind in ("polynomial", "stretched"):
            degrees = [degree for degree in DEGREES if degree == 1 or 2 * terms(degree) <= count]
            for width in WIDTHS if kind == "stretched" else (None,):
                own = {} if width is None else {"width": width}
                yield from (Way(kind, {"degree": degree, **own}) for degree in degrees)
        elif kind == "hinge":
            degrees = [degree for degree in HINGED if degree == 1 or 4 * terms(degree) <= count]
            yield from (Way(kind, {"degree": degree}) for degree in degrees)
        elif kind in ("ridge", "sheet"):
            yield from self._ridges(kind, count)
        elif kind == "spline":
            cells = CELLS if fields <= MOST_SPLINE_FIELDS else ()
            yield from (Way(kind, {"cells": n}) for n in cells if n == CELLS[0] or (n + 3) ** fields <= 2 * count)
        else:
            yield Way(kind, {"seed": self.seed})

    def _ridges(self, kind: str, count: int) -> Iterator[Way]:
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
            x = self.inside(Way(kind, {}, plain), self.used)
            for direction in best_directions(x, y, directions=directions):
                if kind == "ridge":
                    for degree in RIDGE_DEGREES:
                        for cells in RIDGE_CELLS:
                            if (cells + 3) * math.comb(fields - 1 + degree, degree) <= count:
                                how = {"direction": direction, "cells": cells, "degree": degree}
                                yield Way(kind, how, plain)
                    continue
                pairs = [pair for pair in SHEET_CELLS if 2 * (pair[0] + 3) * (pair[1] + 3) <= 3 * count]
                for second in best_second(x, y, direction=direction) if pairs else ():
                    for pair in pairs:
                        yield Way(kind, {"direction": direction, "second": second, "cells": pair}, plain)
