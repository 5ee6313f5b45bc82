"""Point sets: grids, and samples in standard normal coordinates; each point is addressed by its number.

A set is described by a few integers and computes any of its points when asked: ``draws[k]`` is row k of
``draws.rows()``, whoever asks, in whatever order. A Monte Carlo sample k, and a cycle of a device, have their
own seed (``numpy.random.SeedSequence(seed, spawn_key=...)``), so they do not depend on how many others there are.
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
from typing import Generic, Literal, TypeVar, get_args

import numpy as np
from scipy import special
from scipy.stats import qmc

from cosim.devices.base import Array
from cosim.errors import InputError, UnknownName
from cosim.language.chance import LARGEST_SEED

Value = TypeVar("Value")
Method = Literal["monte-carlo", "latin-hypercube", "sobol"]
METHODS: tuple[str, ...] = get_args(Method)
SOBOL_BITS = 30
SOBOL_DIMENSIONS = qmc.Sobol.MAXDIM
_BLOCK = 1024  # rows of a Sobol sequence that are made at a time
_HALF_STEP = 2.0**-54  # half the distance between two numbers of Generator.random


@dataclass(frozen=True)
class Grid(Generic[Value]):
    """Every combination of ``values``, the last name varying fastest; each is made when it is asked for."""

    values: Mapping[str, tuple[Value, ...]]

    @property
    def count(self) -> int:
        """How many combinations there are; ``len`` is limited to 2⁶³."""
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
class Draws:
    """Points in independent standard normal coordinates; ``draws[k]`` is point k, (d,).

    Args:
        samples: points; with ``cycles``, devices.
        dimensions: coordinates of each.
        seed: of all of them.
        method: how they are placed.
        cycles: how often each device is run. Point k is cycle ``k % cycles`` of device ``k // cycles``.
        cycle_dimensions: coordinates behind the others that every cycle of every device draws anew.
        replicate: which independent randomisation of the same set this is.

    Raises `InputError` where they do not fit together.
    """

    samples: int
    dimensions: int
    seed: int
    method: Method = "monte-carlo"
    cycles: int = 1
    cycle_dimensions: int = 0
    replicate: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UnknownName("sampling method", self.method, METHODS)
        if self.samples < 1 or self.cycles < 1:
            raise InputError(
                f"needs at least one sample and one cycle, not {self.samples} and {self.cycles}",
                remedy="give at least one",
            )
        if min(self.dimensions, self.cycle_dimensions, self.seed, self.replicate) < 0:
            raise InputError("a seed, a replicate or a number of coordinates is negative", remedy="give 0 or more")
        if self.method == "sobol" and self.dimensions > SOBOL_DIMENSIONS:
            raise InputError(
                f"a Sobol sequence has at most {SOBOL_DIMENSIONS} coordinates, not {self.dimensions}",
                remedy="take a Latin hypercube",
            )
        if self.method == "sobol" and self.samples > 1 << SOBOL_BITS:
            raise InputError(
                f"a Sobol sequence has at most 2^{SOBOL_BITS} points, not {self.samples}", remedy="take Monte Carlo"
            )

    def __len__(self) -> int:
        return self.samples * self.cycles

    @property
    def width(self) -> int:
        """Coordinates of a point."""
        return self.dimensions + self.cycle_dimensions

    def __getitem__(self, k: int) -> Array:
        if not 0 <= k < len(self):
            raise IndexError(f"{len(self)} points have no number {k}")
        return np.array(self.rows(k, k + 1)[0])

    def __iter__(self) -> Iterator[Array]:
        for start in range(0, len(self), _BLOCK):
            yield from self.rows(start, start + _BLOCK)

    def seed_of(self, k: int) -> int:
        """The seed of what an engine draws for point ``k``, one for all cycles of a device: 1 .. `LARGEST_SEED`.

        Of a million devices about a thousand share theirs with another one, which is too few to affect an estimate.
        """
        sequence = np.random.SeedSequence(self.seed, spawn_key=self._key(k // self.cycles, 0))
        return 1 + int(sequence.generate_state(1)[0]) % LARGEST_SEED

    def rows(self, start: int = 0, stop: int | None = None) -> Array:
        """Points ``start`` .. ``stop`` (excluded; default the last), (m, d)."""
        stop = len(self) if stop is None else min(stop, len(self))
        if stop <= start:
            return np.empty((0, self.width))
        first, last = start // self.cycles, (stop - 1) // self.cycles + 1
        devices = self._devices(first, last)
        if self.cycle_dimensions == 0:
            return devices[np.arange(start, stop) // self.cycles - first] if self.cycles > 1 else devices
        found = np.empty((stop - start, self.width))
        for row, k in enumerate(range(start, stop)):
            device, cycle = divmod(k, self.cycles)
            found[row, : self.dimensions] = devices[device - first]
            found[row, self.dimensions :] = _normals(self.seed, self._key(device, 1 + cycle), self.cycle_dimensions)
        return found

    @property
    def note(self) -> str:
        """What a reader has to know about this set; may be empty."""
        if self.method == "sobol" and self.samples & (self.samples - 1):
            below = 1 << (self.samples.bit_length() - 1)
            return (
                f"{self.samples} points are the beginning of a Sobol sequence; it is balanced at powers of two only"
                f" ({below} or {2 * below})"
            )
        return ""

    def _key(self, device: int, cycle: int | None = None) -> tuple[int, ...]:
        """The spawn key of a device or of one of its cycles."""
        key = (device,) if cycle is None else (device, cycle)
        return key if self.replicate == 0 else (*key, *([0] * (2 - len(key))), self.replicate)

    def _devices(self, start: int, stop: int) -> Array:
        """The coordinates that do not change from cycle to cycle, (stop − start, dimensions)."""
        if self.dimensions == 0:
            return np.empty((stop - start, 0))
        if self.method == "latin-hypercube":
            return np.array(_latin(self.samples, self.dimensions, self.seed, self.replicate)[start:stop])
        found = np.empty((stop - start, self.dimensions))
        if self.method == "monte-carlo":
            for row, k in enumerate(range(start, stop)):
                found[row] = _normals(self.seed, self._key(k), self.dimensions)
            return found
        k = start
        while k < stop:
            block, offset = divmod(k, _BLOCK)
            rows = _sobol_block(self.dimensions, self.seed, self.replicate, block)[offset : offset + stop - k]
            found[k - start : k - start + len(rows)] = rows
            k += len(rows)
        return found


def monte_carlo(n: int, d: int, seed: int) -> Draws:
    """Independent samples; number k draws from ``SeedSequence(seed, spawn_key=(k,))``, whatever ``n`` is."""
    return Draws(n, d, seed)


def generator(seed: int, *key: int) -> np.random.Generator:
    """The generator of one consumer of random numbers, from the common seed and its own key."""
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
