"""Random numbers by counter: each is a function of a key, the time step and the index, and of nothing drawn before.

So numpy draws all of a presentation at once, compiled code draws them step by step, and both get the same bits; a run
that goes on needs no generator's state. The generator is SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) started at the
key. Each of its numbers is cut into three of 21 bits (our choice):

- uniform: 2^21 equally likely values in (0, 1);
- normal: the sum of two of 1024 equally likely quantiles of a normal distribution. Mean 0 and variance 1 are exact, the
  kurtosis is 2.986 and no value is beyond 4.67.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array
from cosim.packages import optional

MASK = (1 << 64) - 1
GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
FIELDS, BITS = 3, 21
HALF, LOW = 10, 1023  # bits of one of the two quantiles, and their mask
NORMAL, UNIFORM = "normal", "uniform"


@cache
def quantiles() -> Array:
    """(1024,) whose sum of two is a standard normal number."""
    from scipy.special import ndtri

    table: Array = ndtri((np.arange(LOW + 1) + 0.5) / (LOW + 1))
    table /= np.sqrt(2.0 * np.mean(table**2))
    table.flags.writeable = False
    return table


def mixed(z: int) -> int:
    """SplitMix64's finaliser of 64 bits."""
    z = ((z ^ (z >> 30)) * FIRST) & MASK
    z = ((z ^ (z >> 27)) * SECOND) & MASK
    return z ^ (z >> 31)


def key_of(key: int, *place: int) -> int:
    """The key of a place below a key: of an item, of a population in it."""
    for number in place:
        key = mixed((key + (number + 1) * GOLDEN) & MASK)
    return key


@lru_cache(maxsize=16)
def _counter(size: int) -> NDArray[np.uint64]:
    """1 .. ``size``."""
    found = np.arange(1, size + 1, dtype=np.uint64)
    found.flags.writeable = False
    return found


class Room:
    """Memory for `draws`, used again and again: what is new costs more than what is computed in it."""

    def __init__(self) -> None:
        self._kept: dict[str, Array] = {}

    def of(self, name: str, *shape: int) -> Array:
        """An array of this name and shape, whatever it holds."""
        if name not in self._kept or self._kept[name].shape != shape:
            self._kept[name] = np.empty(shape)
        return self._kept[name]


def draws(key: int, kind: str, *, first: int, steps: int, n: int, room: Room | None = None) -> Array:
    """(steps, n) numbers of a ``kind`` from the time step ``first`` on; with a ``room`` valid until its next use."""
    room = room or Room()
    columns = -(-n // FIELDS)
    work = room.of("work", 4, steps * columns)
    z, bits, part = work[0].view(np.uint64), work[1].view(np.uint64), work[1].view(np.int64)
    np.multiply(_counter(z.size), np.uint64(GOLDEN), out=z)
    z += np.uint64((key + first * columns * GOLDEN) & MASK)
    for shift, factor in ((30, FIRST), (27, SECOND)):
        z ^= np.right_shift(z, np.uint64(shift), out=bits)
        z *= np.uint64(factor)
    z ^= np.right_shift(z, np.uint64(31), out=bits)
    found, one, other = room.of("found", steps, FIELDS * columns), work[2], work[3]
    for k in range(FIELDS):
        value = found[:, k * columns : (k + 1) * columns]
        if kind == NORMAL:
            for place, some in ((BITS * k, one), (BITS * k + HALF, other)):
                np.right_shift(z, np.uint64(place), out=bits)
                part &= LOW
                quantiles().take(part, out=some, mode="clip")
            np.add(one.reshape(value.shape), other.reshape(value.shape), out=value)
        else:
            np.right_shift(z, np.uint64(BITS * k), out=bits)
            part &= (1 << BITS) - 1
            np.add(part.reshape(value.shape), 0.5, out=value)
            value *= 0.5**BITS
    return found[:, :n]


@cache
def helpers() -> tuple[tuple[str, Any], ...]:
    """``key_of(key, number)``, ``draw_normal|draw_uniform(key, step, n, out)``, where ``out`` has room for a multiple
    of three numbers, and ``normal_of(key, step, n, index)``, one of them: for compiled code, by name.
    """
    numba = optional("numba", extra="fast", needed_by="the backend numba")
    golden, factor_1, factor_2, one = (np.uint64(x) for x in (GOLDEN, FIRST, SECOND, 1))
    s30, s27, s31, s10, s21, s42 = (np.uint64(x) for x in (30, 27, 31, HALF, BITS, 2 * BITS))
    low, field, table, step = np.uint64(LOW), np.uint64((1 << BITS) - 1), quantiles().copy(), 0.5**BITS

    @numba.njit(inline="always")  # type: ignore[untyped-decorator]
    def mix(z: Any) -> Any:
        z = (z ^ (z >> s30)) * factor_1
        z = (z ^ (z >> s27)) * factor_2
        return z ^ (z >> s31)

    @numba.njit  # type: ignore[untyped-decorator]
    def below(key: Any, number: Any) -> Any:
        return mix(key + (np.uint64(number) + one) * golden)

    @numba.njit(inline="always")  # type: ignore[untyped-decorator]
    def normal(bits: Any) -> Any:
        return table[np.int64(bits & low)] + table[np.int64((bits >> s10) & low)]

    @numba.njit  # type: ignore[untyped-decorator]
    def draw_normal(key: Any, t: Any, n: Any, out: Any) -> None:
        columns = (n + FIELDS - 1) // FIELDS
        start = key + (np.uint64(t * columns) + one) * golden
        for j in range(columns):
            z = mix(start + np.uint64(j) * golden)
            out[j] = normal(z)
            out[columns + j] = normal(z >> s21)
            out[2 * columns + j] = normal(z >> s42)

    @numba.njit  # type: ignore[untyped-decorator]
    def normal_of(key: Any, t: Any, n: Any, index: Any) -> Any:
        columns = (n + FIELDS - 1) // FIELDS
        z = mix(key + (np.uint64(t * columns + index % columns) + one) * golden)
        return normal(z >> np.uint64(BITS * (index // columns)))

    @numba.njit  # type: ignore[untyped-decorator]
    def draw_uniform(key: Any, t: Any, n: Any, out: Any) -> None:
        columns = (n + FIELDS - 1) // FIELDS
        start = key + (np.uint64(t * columns) + one) * golden
        for j in range(columns):
            z = mix(start + np.uint64(j) * golden)
            out[j] = (np.int64(z & field) + 0.5) * step
            out[columns + j] = (np.int64((z >> s21) & field) + 0.5) * step
            out[2 * columns + j] = (np.int64((z >> s42) & field) + 0.5) * step

    return (
        ("key_of", below), ("draw_normal", draw_normal), ("draw_uniform", draw_uniform), ("normal_of", normal_of),
    )  # fmt: skip
