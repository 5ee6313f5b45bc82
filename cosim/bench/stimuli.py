"""What drives a test bench: pulse trains with reads between them, as data, apart from any netlist."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosim.devices.base import Array
from cosim.devices.pulse import PulseShape
from cosim.errors import InputError

PROGRAM = PulseShape()
READ = PulseShape(width=100e-9)


def fmt(value: float) -> str:
    """A number with full precision, as every simulator reads it."""
    return repr(float(value))


@dataclass(frozen=True)
class PulseTrain:
    """Programming pulses, and a read pulse after each.

    Args:
        amplitudes: (n,) V, signed; each at the top of a ``shape`` pulse.
        shape: of the programming pulses.
        read_voltage: V; 0: no reads.
        read_shape: of the read pulses.
        gap: rest before, between and after the pulses (s).
    """

    amplitudes: Array
    shape: PulseShape = PROGRAM
    read_voltage: float = 0.2
    read_shape: PulseShape = READ
    gap: float = 50e-9

    def __post_init__(self) -> None:
        amplitudes = np.asarray(self.amplitudes, dtype=float)
        if amplitudes.ndim != 1 or amplitudes.size == 0 or not np.all(np.isfinite(amplitudes)):
            raise InputError(
                f"a pulse train needs finite amplitudes in one row, got shape {amplitudes.shape}",
                remedy="give at least one voltage",
            )
        if self.gap <= 0 or self.shape.rise <= 0 or self.shape.fall <= 0:
            raise InputError(
                "a pulse train needs a gap, a rise and a fall above zero", remedy="a simulator needs edges"
            )
        amplitudes.setflags(write=False)
        object.__setattr__(self, "amplitudes", amplitudes)

    def __len__(self) -> int:
        return int(self.amplitudes.size)

    @property
    def write_length(self) -> float:
        """Length of a programming pulse with its edges (s)."""
        return self.shape.width + self.shape.edges

    @property
    def read_length(self) -> float:
        """Length of a read pulse with its edges (s); 0 without reads."""
        return self.read_shape.width + self.read_shape.edges if self.read_voltage else 0.0

    @property
    def period(self) -> float:
        """From one programming pulse to the next (s)."""
        return self.write_length + self.gap + (self.read_length + self.gap if self.read_voltage else 0.0)

    @property
    def duration(self) -> float:
        """The whole train with its last rest (s)."""
        return self.gap + len(self) * self.period

    @property
    def write_starts(self) -> Array:
        """(n,) s: the foot of each programming pulse."""
        return np.asarray(self.gap + np.arange(len(self)) * self.period, dtype=float)

    @property
    def write_ends(self) -> Array:
        """(n,) s: where each programming pulse is back at zero."""
        return self.write_starts + self.write_length

    @property
    def read_times(self) -> Array:
        """(n,) s: the middle of each read pulse's top, or of the rest after each pulse in a train without reads."""
        if not self.read_voltage:
            return self.write_ends + 0.5 * self.gap
        return self.write_ends + self.gap + self.read_shape.rise + 0.5 * self.read_shape.width

    def knots(self) -> tuple[Array, Array]:
        """Times (m,) s and voltages (m,) V of the piecewise linear waveform, from t = 0 to ``duration``."""
        n = len(self)
        times, volts = [], []
        parts = [(self.write_starts, self.shape, self.amplitudes)]
        if self.read_voltage:
            parts.append((self.write_ends + self.gap, self.read_shape, np.full(n, self.read_voltage)))
        for start, shape, top in parts:
            zero = np.zeros(n)
            corners = np.cumsum([0.0, shape.rise, shape.width, shape.fall])
            times.append(start[:, None] + corners)
            volts.append(np.stack([zero, top, top, zero], axis=1))
        t = np.concatenate([[0.0], np.concatenate(times, axis=1).ravel(), [self.duration]])
        return t, np.concatenate([[0.0], np.concatenate(volts, axis=1).ravel(), [0.0]])

    def pwl(self) -> str:
        """The waveform as SPICE's ``PWL(...)``, one period a line."""
        t, v = self.knots()
        pairs = [f"{fmt(a)} {fmt(b)}" for a, b in zip(t, v, strict=True)]
        return "PWL(" + "\n+ ".join(" ".join(pairs[k : k + 8]) for k in range(0, len(pairs), 8)) + ")"


def random_amplitudes(
    count: int,
    rng: np.random.Generator,
    *,
    positive: tuple[float, float],
    negative: tuple[float, float],
) -> Array:
    """The random-pulse protocol (arXiv 2510.25787, Sec. 5.3): (count,) V, each polarity with probability 1/2.

    Uniform in ``positive`` (V, both > 0) or in ``negative`` (V, both < 0), in any order of the two ends.
    """
    if not (min(positive) >= 0.0 and max(negative) <= 0.0):
        raise InputError(
            f"ranges {positive} V and {negative} V do not have their signs", remedy="e.g. 1.4..2.4, -2.4..-1.4"
        )
    up = rng.random(count) < 0.5
    above = rng.uniform(min(positive), max(positive), count)
    below = rng.uniform(min(negative), max(negative), count)
    return np.asarray(np.where(up, above, below))
