"""From values (pixels, features) to what drives an input population: currents with noise, Poisson spikes, regular ones.

An encoder gives, per value, a mean and a deviation; in each time step the drive of a neuron is mean + deviation · n,
with a random number n of the encoder's kind (`cosim.network.noise`). Where both are zero a neuron without a state, or
one at rest, is left out of the computation.

Of a `CurrentEncoder` (arXiv 2510.25787) a pixel above ``cut`` drives I = gain · pixel · (1 + n); any other one the bias
current b (1 + m); n and m are Gaussian with the standard deviations ``noise`` and ``bias_noise``, drawn anew in each
time step. The bias takes a silent neuron near its threshold at the end of the presentation, so that a postsynaptic
spike depresses the weights of the background.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cosim.devices.base import Array
from cosim.errors import InputError, told
from cosim.network.neurons import Model, Regular, Source
from cosim.network.noise import NORMAL, UNIFORM


class Encoder(ABC):
    """Gives mean and deviation of the drive.

    Attributes:
        kind: of the random numbers: "normal", "uniform", or "" for none.
        models: kinds of neurons that it can drive; empty: any.
    """

    kind: ClassVar[str] = ""
    models: ClassVar[tuple[type[Model], ...]] = ()

    def require(self, values: Array, *, dt: float) -> None:  # noqa: B027
        """Raises `InputError` for values that it cannot encode in steps of ``dt`` (ms)."""

    @abstractmethod
    def drive(self, values: Array, *, dt: float) -> tuple[Array, Array]:
        """Mean and deviation of the current, of the shape of ``values``, in steps of ``dt`` (ms)."""


@dataclass(frozen=True)
class Current(Encoder):
    """Values are currents, with Gaussian ``noise`` relative to each (0: none)."""

    kind: ClassVar[str] = NORMAL

    noise: float = 0.0

    def __post_init__(self) -> None:
        if not self.noise >= 0.0:
            raise InputError(f"the noise of a current is {self.noise}", remedy="give a share >= 0")

    def drive(self, values: Array, *, dt: float) -> tuple[Array, Array]:
        """The values themselves, and their noise."""
        return values, np.abs(values) * self.noise


@dataclass(frozen=True)
class CurrentEncoder(Encoder):
    """Currents in thresholds per ms (module docstring); ``gain``, ``cut`` and ``noise`` per pixel value 0..1."""

    kind: ClassVar[str] = NORMAL

    gain: float
    cut: float
    noise: float
    bias: float
    bias_noise: float

    def __post_init__(self) -> None:
        if min(self.gain, self.noise, self.bias, self.bias_noise) < 0.0:
            raise InputError(f"{told(self)} has a negative current", remedy="give values >= 0")

    def drive(self, values: Array, *, dt: float) -> tuple[Array, Array]:
        """Mean current per ms and its standard deviation for pixels in 0..1."""
        bright = values > self.cut
        mean = np.where(bright, self.gain * values, self.bias)
        return mean, mean * np.where(bright, self.noise, self.bias_noise)


@dataclass(frozen=True)
class Poisson(Encoder):
    """Values 0..1 are shares of ``rate`` (Hz): in each step a neuron spikes with the probability value · rate · dt."""

    kind: ClassVar[str] = UNIFORM
    models: ClassVar[tuple[type[Model], ...]] = (Source,)

    rate: float

    def __post_init__(self) -> None:
        _require_rate(self.rate)

    def require(self, values: Array, *, dt: float) -> None:
        """At most one spike in a step."""
        _require_shares(values, self.rate, dt)

    def drive(self, values: Array, *, dt: float) -> tuple[Array, Array]:
        """The probability less a number between 0 and 1."""
        mean = values * (self.rate * 1e-3 * dt)
        return mean, np.where(mean > 0.0, -1.0, 0.0)


@dataclass(frozen=True)
class Rate(Encoder):
    """Values 0..1 are shares of ``rate`` (Hz), evenly spaced."""

    models: ClassVar[tuple[type[Model], ...]] = (Regular,)

    rate: float

    def __post_init__(self) -> None:
        _require_rate(self.rate)

    def require(self, values: Array, *, dt: float) -> None:
        """At most one spike in a step."""
        _require_shares(values, self.rate, dt)

    def drive(self, values: Array, *, dt: float) -> tuple[Array, Array]:
        """Turns per step."""
        return values * (self.rate * 1e-3 * dt), np.zeros_like(values)


def _require_rate(rate: float) -> None:
    if not 0.0 < rate < np.inf:
        raise InputError(f"a rate of {rate} Hz encodes nothing", remedy="give a rate above zero")


def _require_shares(values: Array, rate: float, dt: float) -> None:
    least, most = (float(x) for x in (np.min(values, initial=0.0), np.max(values, initial=0.0)))
    if least < 0.0:
        raise InputError(f"a value of {least:g} cannot be a share of a rate", remedy="give values >= 0")
    if most * rate * 1e-3 * dt > 1.0 + 1e-9:
        raise InputError(
            f"a value of {most:g} at {rate:g} Hz is more than one spike in a time step of {dt:g} ms",
            remedy=f"lower the rate, or take steps of at most {1e3 / (most * rate):g} ms",
        )
