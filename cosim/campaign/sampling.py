"""Point sets: grids, and samples in standard normal coordinates, each point addressed by its number.

A set is described by a few integers and computes any of its points when asked: ``points.at(k)`` is row k of
``points.rows()``, whoever asks, in whatever order. A Monte Carlo sample k, and a cycle of a device, draw from a seed of
their own (``numpy.random.SeedSequence(seed, spawn_key=...)``), so they do not depend on how many others there are.
Latin hypercubes (McKay, Beckman and Conover, Technometrics 1979) and scrambled Sobol sequences (Owen) come from
``scipy.stats.qmc``; ``replicate`` gives independent randomisations of the same set, which is what an error estimate of
theirs needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Generic, Literal, TypeVar

import numpy as np
from scipy import special
from scipy.stats import qmc

from cosim.devices.base import Array
from cosim.errors import InputError

Value = TypeVar("Value")
SOBOL_BITS = 30
SOBOL_DIMENSIONS = qmc.Sobol.MAXDIM
_BLOCK = 1024  # rows of a Sobol sequence that are made at a time
_HALF_STEP = 2.0**-54  # half the distance between two numbers of Generator.random


@dataclass(frozen=True)
class Grid(Generic[Value]):
    """Every combination of ``values``, the last name varying fastest; none is made before it is asked for."""

    values: Mapping[str, tuple[Value, ...]]

    @property
    def count(self) -> int:
        """How many combinations there are; ``len`` cannot say it beyond 2⁶³."""
        return math.prod(len(column) for column in self.values.values())

    def __len__(self) -> int:
        return self.count

    def at(self, index: int) -> dict[str, Value]:
        """Combination ``index``, from 0. Raises `IndexError`."""
        if not 0 <= index < self.count:
            raise IndexError(f"a grid of {self.count} combinations has no number {index}")
        found: dict[str, Value] = {}
        for name, column in reversed(tuple(self.values.items())):
            index, digit = divmod(index, len(column))
            found[name] = column[digit]
        return {name: found[name] for name in self.values}

    def __iter__(self) -> Iterator[dict[str, Value]]:
        return (self.at(index) for index in range(self.count))


def grid(values: Mapping[str, Sequence[Value]]) -> Grid[Value]:
    """The grid over ``values``. Raises `InputError` for a name without values."""
    for name, column in values.items():
        if not len(column):
            raise InputError(f"the grid of {name!r} has no values", remedy="give at least one")
    return Grid(MappingProxyType({name: tuple(column) for name, column in values.items()}))


@dataclass(frozen=True)
class Points:
    """``n`` points in ``d`` independent standard normal coordinates.

    Args:
        kind: how they are placed.
        n, d: points and coordinates.
        seed: of all of them.
        replicate: which independent randomisation of a Latin hypercube or Sobol set this is.
        shared, cycles: of points that are cycles of devices: how many leading coordinates belong to the device, and
            how many cycles each device has. Point k is cycle ``k % cycles`` of device ``k // cycles``.
    """

    kind: Literal["monte-carlo", "latin-hypercube", "sobol", "cycles"]
    n: int
    d: int
    seed: int
    replicate: int = 0
    shared: int = 0
    cycles: int = 1

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[Array]:
        for start in range(0, self.n, _BLOCK):
            yield from self.rows(start, min(start + _BLOCK, self.n))

    def at(self, k: int) -> Array:
        """Point ``k``, (d,). Raises `IndexError`."""
        if not 0 <= k < self.n:
            raise IndexError(f"{self.n} points have no number {k}")
        return np.array(self.rows(k, k + 1)[0])

    def rows(self, start: int = 0, stop: int | None = None) -> Array:
        """Points ``start`` .. ``stop`` (excluded; default the last), (m, d)."""
        stop = self.n if stop is None else min(stop, self.n)
        if self.kind == "latin-hypercube":
            return np.array(_latin(self.n, self.d, self.seed, self.replicate)[start:stop])
        if self.kind == "sobol":
            return self._sobol_rows(start, stop)
        if self.kind == "cycles":
            return self._cycle_rows(start, stop)
        found = np.empty((max(stop - start, 0), self.d))
        for row, k in enumerate(range(start, stop)):
            found[row] = _normals(self.seed, (k,), self.d)
        return found

    @property
    def note(self) -> str:
        """What a reader has to know about this set; empty where nothing."""
        if self.kind == "sobol" and self.n & (self.n - 1):
            below = 1 << (self.n.bit_length() - 1)
            return (
                f"{self.n} points are the beginning of a Sobol sequence; it is balanced at powers of two only"
                f" ({below} or {2 * below})"
            )
        return ""

    def _sobol_rows(self, start: int, stop: int) -> Array:
        found = np.empty((max(stop - start, 0), self.d))
        k = start
        while k < stop:
            block, offset = divmod(k, _BLOCK)
            rows = _sobol_block(self.d, self.seed, self.replicate, block)[offset : offset + stop - k]
            found[k - start : k - start + len(rows)] = rows
            k += len(rows)
        return found

    def _cycle_rows(self, start: int, stop: int) -> Array:
        found = np.empty((max(stop - start, 0), self.d))
        last = -1
        own = np.empty(self.shared)
        for row, k in enumerate(range(start, stop)):
            device, cycle = divmod(k, self.cycles)
            if device != last:
                own, last = _normals(self.seed, (device,), self.shared), device
            found[row, : self.shared] = own
            found[row, self.shared :] = _normals(self.seed, (device, 1 + cycle), self.d - self.shared)
        return found


def monte_carlo(n: int, d: int, seed: int) -> Points:
    """Independent samples; number k draws from ``SeedSequence(seed, spawn_key=(k,))``, whatever ``n`` is."""
    return Points("monte-carlo", *_checked(n, d, seed))


def latin_hypercube(n: int, d: int, seed: int, *, replicate: int = 0) -> Points:
    """One sample in each of ``n`` equally probable slices of every coordinate."""
    return Points("latin-hypercube", *_checked(n, d, seed), replicate)


def sobol(n: int, d: int, seed: int, *, replicate: int = 0) -> Points:
    """The first ``n`` points of a scrambled Sobol sequence; `Points.note` says where n is no power of two."""
    if d > SOBOL_DIMENSIONS:
        raise InputError(
            f"a Sobol sequence has at most {SOBOL_DIMENSIONS} coordinates, not {d}", remedy="take a Latin hypercube"
        )
    if n > 1 << SOBOL_BITS:
        raise InputError(f"a Sobol sequence has at most 2^{SOBOL_BITS} points, not {n}", remedy="take Monte Carlo")
    return Points("sobol", *_checked(n, d, seed), replicate)


def device_cycles(devices: int, cycles: int, *, device_coordinates: int, cycle_coordinates: int, seed: int) -> Points:
    """``devices`` devices with ``cycles`` cycles each: device coordinates first, which all cycles of a device share.

    Device i has the coordinates of Monte Carlo sample i; its cycle c draws from the spawn key (i, 1 + c).
    """
    if cycles < 1:
        raise InputError(f"{cycles} cycles of a device are none", remedy="give at least one")
    n, d, seed = _checked(devices * cycles, device_coordinates + cycle_coordinates, seed)
    if device_coordinates < 0 or cycle_coordinates < 0:
        raise InputError("a number of coordinates is negative", remedy="give 0 or more of both")
    return Points("cycles", n, d, seed, shared=device_coordinates, cycles=cycles)


def _checked(n: int, d: int, seed: int) -> tuple[int, int, int]:
    if n < 1:
        raise InputError(f"{n} samples are none", remedy="give at least one")
    if d < 1:
        raise InputError("nothing varies", remedy="name at least one parameter")
    if seed < 0:
        raise InputError(f"the seed {seed} is negative", remedy="give 0 or more")
    return n, d, seed


def generator(seed: int, *key: int) -> np.random.Generator:
    """The generator of one consumer of random numbers, by the seed of all and a key of its own."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def _normals(seed: int, key: tuple[int, ...], d: int) -> Array:
    uniform = generator(seed, *key).random(d)
    return np.asarray(special.ndtri(np.maximum(uniform, _HALF_STEP)), dtype=float)


@lru_cache(maxsize=2)
def _latin(n: int, d: int, seed: int, replicate: int) -> Array:
    uniform = qmc.LatinHypercube(d, rng=generator(seed, replicate)).random(n)
    found = np.asarray(special.ndtri(np.clip(uniform, _HALF_STEP, 1.0 - 2.0 * _HALF_STEP)), dtype=float)
    found.setflags(write=False)
    return found


@lru_cache(maxsize=8)
def _sobol_block(d: int, seed: int, replicate: int, block: int) -> Array:
    engine = qmc.Sobol(d, bits=SOBOL_BITS, rng=generator(seed, replicate))
    if block:
        engine.fast_forward(block * _BLOCK)
    # the points lie on the lower edges of 2^30 cells; their middles are never 0
    found = np.asarray(special.ndtri(engine.random(_BLOCK) + 0.5 ** (SOBOL_BITS + 1)), dtype=float)
    found.setflags(write=False)
    return found
