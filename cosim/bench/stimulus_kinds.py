"""Stimuli as a bench names them: a schema, SPICE's text, and the pulse train of those that are one.

A topic adds its stimuli here or, if there are many, in a file whose tuple it adds to `KINDS`.
"""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
from pydantic import Field

from cosim import units
from cosim.bench.stimuli import PulseTrain, fmt, random_amplitudes
from cosim.devices.base import Array
from cosim.devices.pulse import PulseShape
from cosim.errors import InputError
from cosim.schema import Ampere, Hertz, Second, Stated, Table, Volt

MAX_PULSES = 1_000_000


# Of a voltage source or of a current source: whichever the stimulus is put into.
Amplitude = Volt | Ampere


class StimulusKind(Stated):
    """What every stimulus has."""

    @abstractmethod
    def source(self) -> str:
        """SPICE's text for it, after the nodes of a V or I source."""

    def train(self) -> PulseTrain | None:
        """Its pulse train; None for any other stimulus."""
        return None

    def duration(self) -> float | None:
        """Where it ends (s); None where it does not."""
        train = self.train()
        return None if train is None else train.duration


class Shape(Table):
    """A trapezoidal pulse.

    Args:
        width: of the flat top.
        rise, fall: of the edges.
    """

    width: Second = 200e-9
    rise: Second = 5e-9
    fall: Second = 5e-9

    def value(self) -> PulseShape:
        """The pulse's shape in s."""
        return PulseShape(self.width, self.rise, self.fall)


class _Train(StimulusKind):
    """What every train of pulses has.

    Args:
        shape: of the programming pulse.
        read_voltage: of the read after each pulse; 0 leaves the reads out.
        read_shape: of the read.
        gap: at rest before and after each read.
    """

    shape: Shape = Shape()
    read_voltage: Volt = 0.2
    read_shape: Shape = Shape(width=100e-9)
    gap: Second = 50e-9

    def _train(self, amplitudes: Any) -> PulseTrain:
        return PulseTrain(amplitudes, self.shape.value(), self.read_voltage, self.read_shape.value(), self.gap)


class RandomPulses(_Train):
    """Random amplitudes of both polarities, seeded.

    The first ``conditioning`` pulses are all at the far end of ``negative``, as many follow at that of ``positive``: a
    curve that shows both ends of the range separates the range from the non-linearity (our choice).

    Args:
        count: of pulses, conditioning included.
        seed: of the amplitudes.
        positive, negative: range of the amplitudes of that sign.
        conditioning: pulses at each far end before the random ones.
    """

    kind: Literal["random-pulses"]
    count: int = Field(gt=0, le=MAX_PULSES)
    seed: int = Field(ge=0)
    positive: tuple[Volt, Volt]
    negative: tuple[Volt, Volt]
    conditioning: int = Field(default=0, ge=0)

    @pydantic.model_validator(mode="after")
    def _room(self) -> RandomPulses:
        if 2 * self.conditioning >= self.count:
            raise InputError(f"{self.count} pulses leave none after 2 x {self.conditioning} conditioning ones")
        return self

    def train(self) -> PulseTrain:
        """The pulse train; the same for the same seed."""
        rng = np.random.default_rng(self.seed)
        free = self.count - 2 * self.conditioning
        drawn = random_amplitudes(free, rng, positive=self.positive, negative=self.negative)
        ends = np.repeat([min(self.negative), max(self.positive)], self.conditioning)
        return self._train(np.concatenate([ends, drawn]))

    def source(self) -> str:
        """SPICE's text for it."""
        return self.train().pwl()


class Pulses(_Train):
    """Given amplitudes, the whole list ``repeat`` times.

    Args:
        amplitudes: one a pulse.
        repeat: of the whole list.
    """

    kind: Literal["pulses"]
    amplitudes: tuple[Volt, ...] = Field(min_length=1)
    repeat: int = Field(default=1, gt=0, le=1_000_000)

    @pydantic.model_validator(mode="after")
    def _bounded(self) -> Pulses:
        if (count := len(self.amplitudes) * self.repeat) > MAX_PULSES:
            raise InputError(f"{count} pulses are too many for a stimulus", remedy=f"take {MAX_PULSES} at most")
        return self

    def train(self) -> PulseTrain:
        """The pulse train."""
        return self._train(np.tile(self.amplitudes, self.repeat))

    def source(self) -> str:
        """SPICE's text for it."""
        return self.train().pwl()


class Sine(StimulusKind):
    """A sine from t = 0, as for a pinched loop.

    Args:
        amplitude: above and below ``offset``.
        frequency: of the sine.
        offset: its mean.
    """

    kind: Literal["sine"]
    amplitude: Amplitude
    frequency: Annotated[Hertz, Field(gt=0)]
    offset: Amplitude = 0.0

    def source(self) -> str:
        """SPICE's text for it."""
        return f"SIN({fmt(self.offset)} {fmt(self.amplitude)} {fmt(self.frequency)})"


class Knots(StimulusKind):
    """A piecewise linear waveform: ``points = [["0 s", "0 V"], ...]``.

    Args:
        points: pairs of time and value, times rising.
    """

    kind: Literal["pwl"]
    points: tuple[tuple[Second, Amplitude], ...] = Field(min_length=2)

    @pydantic.field_validator("points")
    @classmethod
    def _increasing(cls, points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        if any(b[0] <= a[0] for a, b in pairwise(points)):
            raise InputError("the times of a pwl stimulus do not increase", remedy="sort its points")
        return points

    def source(self) -> str:
        """SPICE's text for it."""
        return "PWL(" + " ".join(f"{fmt(t)} {fmt(v)}" for t, v in self.points) + ")"

    def duration(self) -> float:
        """The time of the last point (s)."""
        return self.points[-1][0]


class Spikes(StimulusKind):
    """Equal pulses at equal intervals; written as knots, because engines step over the edges of a periodic source.

    ``interval`` (from edge to edge) is a time, or the name of a circuit parameter, which may be swept.

    Args:
        count: of spikes.
        interval: from edge to edge: a time, or a circuit parameter's name.
        width: of the flat top.
        edge: rise and fall.
        amplitude: at the top.
        base: between spikes.
        first: where the first begins.
    """

    kind: Literal["spikes"]
    count: int = Field(gt=0, le=10_000)
    interval: str
    width: Second
    edge: Second
    amplitude: Amplitude
    base: Amplitude = 0.0
    first: Second

    @pydantic.model_validator(mode="after")
    def _positive(self) -> Spikes:
        times = {"width": self.width, "edge": self.edge, "first": self.first}
        for name, value in times.items():
            if value <= 0.0:
                raise InputError(f"{name} of a spike train is {value:g} s", remedy="give a time above zero")
        return self

    def _time(self) -> float | None:
        """The interval (s); None where it is a circuit parameter."""
        return None if self.interval.isidentifier() else units.parse(self.interval, "s")

    def source(self) -> str:
        """SPICE's text for it."""
        fixed = self._time()
        corners = ((0.0, self.base), (self.edge, self.amplitude), (self.edge + self.width, self.amplitude),
                   (2.0 * self.edge + self.width, self.base))  # fmt: skip
        lines = [f"PWL(0 {fmt(self.base)}"]
        for k in range(self.count):
            knots = []
            for offset, volts in corners:
                t = self.first + offset
                time = f"{{{fmt(t)} + {k} * {self.interval}}}" if fixed is None else fmt(t + k * fixed)
                knots.append(f"{time} {fmt(volts)}")
            lines.append("+ " + " ".join(knots))
        return "\n".join(lines) + ")"

    def duration(self) -> float | None:
        """One interval after the last edge (s); None where the interval is a circuit parameter."""
        fixed = self._time()
        return None if fixed is None else self.first + self.count * fixed


class Steps(StimulusKind):
    """One value per time step of a data frame: what a neuron sends to its synapses, step by step.

    ``values[k]`` holds from ``start + k·period`` for ``width`` (rising edge included), ``rest`` in between. The whole
    list is sent ``repeat`` times.

    Args:
        values: one a step.
        repeat: of the whole list.
        start: of the first step.
        period: from step to step.
        width: from the beginning of the rising edge to that of the falling one.
        edge: rise and fall.
        rest: the value between steps.
    """

    kind: Literal["steps"]
    values: tuple[Amplitude, ...] = Field(min_length=1)
    repeat: int = Field(default=1, gt=0, le=1_000_000)
    start: Second = 0.0
    period: Second
    width: Second
    edge: Second = 1e-9
    rest: Amplitude = 0.0

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Steps:
        if not 0.0 < self.edge < self.width or self.width + self.edge >= self.period or self.start < 0.0:
            raise InputError(
                f"a step of {self.width:g} s with edges of {self.edge:g} s does not fit into {self.period:g} s",
                remedy="keep edge < width and width + edge < period",
            )
        return self

    def knots(self) -> tuple[Array, Array]:
        """Times (m,) s and values (m,) of the piecewise linear waveform."""
        tops = np.tile(np.asarray(self.values, dtype=float), self.repeat)
        begin = self.start + np.arange(tops.size) * self.period
        corners = begin[:, None] + np.array([0.0, self.edge, self.width, self.width + self.edge])
        levels = np.stack([np.full_like(tops, self.rest), tops, tops, np.full_like(tops, self.rest)], axis=1)
        t, v = corners.ravel(), levels.ravel()
        if t[0] > 0.0:
            t, v = np.concatenate([[0.0], t]), np.concatenate([[self.rest], v])
        return t, v

    def source(self) -> str:
        """SPICE's text for it."""
        pairs = [f"{fmt(a)} {fmt(b)}" for a, b in zip(*self.knots(), strict=True)]
        return "PWL(" + "\n+ ".join(" ".join(pairs[k : k + 8]) for k in range(0, len(pairs), 8)) + ")"

    def duration(self) -> float:
        """The end of the last step's period (s)."""
        return self.start + len(self.values) * self.repeat * self.period


KINDS: tuple[type[StimulusKind], ...] = (RandomPulses, Pulses, Sine, Knots, Spikes, Steps)
