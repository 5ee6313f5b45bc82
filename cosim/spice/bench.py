"""The schema of a test bench's TOML file: circuit, devices, stimuli, analysis, measures, limits.

A bench is data; `cosim.spice.testbench` turns it into a deck, runs it and judges it.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
from pydantic import Field

from cosim import units
from cosim.devices.pulse import PulseShape
from cosim.errors import InputError, UnitError
from cosim.schema import Number, Quantity, Second, Table, Volt
from cosim.spice.stimuli import PulseTrain, fmt, random_amplitudes

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Shape(Table):
    """A trapezoidal pulse."""

    width: Second = 200e-9
    rise: Second = 5e-9
    fall: Second = 5e-9

    def value(self) -> PulseShape:
        """The pulse's shape in s."""
        return PulseShape(self.width, self.rise, self.fall)


class _Train(Table):
    shape: Shape = Shape()
    read_voltage: Volt = 0.2
    read_shape: Shape = Shape(width=100e-9)
    gap: Second = 50e-9

    def _train(self, amplitudes: Any) -> PulseTrain:
        return PulseTrain(amplitudes, self.shape.value(), self.read_voltage, self.read_shape.value(), self.gap)


class RandomPulses(_Train):
    """Random amplitudes of both polarities, seeded."""

    kind: Literal["random-pulses"]
    count: int = Field(gt=0, le=1_000_000)
    seed: int = Field(ge=0)
    positive: tuple[Volt, Volt]
    negative: tuple[Volt, Volt]

    def train(self) -> PulseTrain:
        """The pulse train; the same for the same seed."""
        rng = np.random.default_rng(self.seed)
        return self._train(random_amplitudes(self.count, rng, positive=self.positive, negative=self.negative))

    def source(self) -> str:
        """SPICE's text for it."""
        return self.train().pwl()


class Pulses(_Train):
    """Given amplitudes, the whole list ``repeat`` times."""

    kind: Literal["pulses"]
    amplitudes: tuple[Volt, ...] = Field(min_length=1)
    repeat: int = Field(default=1, gt=0)

    def train(self) -> PulseTrain:
        """The pulse train."""
        return self._train(np.tile(self.amplitudes, self.repeat))

    def source(self) -> str:
        """SPICE's text for it."""
        return self.train().pwl()


class Sine(Table):
    """A sine from t = 0, as for a pinched loop."""

    kind: Literal["sine"]
    amplitude: Volt
    frequency: Annotated[float, Field(gt=0)]
    offset: Volt = 0.0

    def source(self) -> str:
        """SPICE's text for it."""
        return f"SIN({fmt(self.offset)} {fmt(self.amplitude)} {fmt(self.frequency)})"


class Knots(Table):
    """A piecewise linear waveform: ``points = [["0 s", "0 V"], ...]``."""

    kind: Literal["pwl"]
    points: tuple[tuple[Second, Volt], ...] = Field(min_length=2)

    @pydantic.field_validator("points")
    @classmethod
    def _increasing(cls, points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        if any(b[0] <= a[0] for a, b in pairwise(points)):
            raise InputError("the times of a pwl stimulus do not increase", remedy="sort its points")
        return points

    def source(self) -> str:
        """SPICE's text for it."""
        return "PWL(" + " ".join(f"{fmt(t)} {fmt(v)}" for t, v in self.points) + ")"


Stimulus = Annotated[RandomPulses | Pulses | Sine | Knots, Field(discriminator="kind")]


class DeviceUse(Table):
    """Which device and which parameters a subcircuit of the bench stands for, and in which form it runs."""

    parameters: str
    also: tuple[str, ...] = ()
    model: str | None = None
    form: Literal["behavioural", "verilog-a"] = "behavioural"


class Tran(Table):
    """A transient; ``stop`` comes from ``stimulus`` where it is left out."""

    kind: Literal["tran"]
    stop: Second | None = None
    stimulus: str | None = None
    max_step: Second
    step: Second | None = None


class Dc(Table):
    """A sweep of one source, in V or A."""

    kind: Literal["dc"]
    source: str
    start: Number | Volt
    stop: Number | Volt
    step: Number | Volt


class Op(Table):
    """The operating point."""

    kind: Literal["op"]


Analysis = Annotated[Tran | Dc | Op, Field(discriminator="kind")]


class _Measure(Table):
    unit: str = "1"


class ReadConductance(_Measure):
    """Conductance read after each pulse (one value per pulse)."""

    kind: Literal["read-conductance"]
    current: str
    stimulus: str


class AfterPulse(_Measure):
    """A vector at each read time (one value per pulse)."""

    kind: Literal["after-pulse"]
    of: str
    stimulus: str


class PulseEnergy(_Measure):
    """Energy that the source delivers per programming pulse."""

    kind: Literal["pulse-energy"]
    voltage: str
    current: str
    stimulus: str


class Extreme(_Measure):
    """The largest, smallest, mean, last value of a vector, or its integral, in a window (s)."""

    kind: Literal["max", "min", "mean", "final", "integral"]
    of: str
    start: Second | None = None
    stop: Second | None = None


class At(_Measure):
    """A vector at one time (s) or sweep value."""

    kind: Literal["at"]
    of: str
    at: Number | Second | Volt


class Whole(_Measure):
    """The vector itself, with its sweep or time."""

    kind: Literal["vector"]
    of: str


Measure = Annotated[ReadConductance | AfterPulse | PulseEnergy | Extreme | At | Whole, Field(discriminator="kind")]


class Limit(Table):
    """Bounds of a measure, in its unit; each value of a measure with many has to keep them."""

    min: str | float | None = None
    max: str | float | None = None

    def span(self, unit: str) -> tuple[float | None, float | None]:
        """Both bounds in SI; raises `UnitError`."""
        low, high = (None if bound is None else units.parse(bound, unit) for bound in (self.min, self.max))
        return low, high


class BenchFile(Table):
    """The whole file."""

    title: str
    netlist: str | None = None
    circuit: str = ""
    description: str = ""
    parameters: dict[str, Quantity] = Field(default_factory=dict)
    devices: dict[str, DeviceUse] = Field(default_factory=dict)
    stimuli: dict[str, Stimulus] = Field(default_factory=dict)
    analysis: Analysis
    options: dict[str, float | str] = Field(default_factory=dict)
    save: tuple[str, ...] = ()
    measures: dict[str, Measure] = Field(default_factory=dict)
    limits: dict[str, Limit] = Field(default_factory=dict)

    @pydantic.field_validator("parameters", "devices", "stimuli", "measures")
    @classmethod
    def _names(cls, table: dict[str, Any]) -> dict[str, Any]:
        for name in table:
            if not NAME.match(name):
                raise InputError(f"{name!r} is no name", remedy="use letters, digits and _")
        return table

    @pydantic.model_validator(mode="after")
    def _references(self) -> BenchFile:
        for name in self.limits:
            if name not in self.measures:
                raise InputError(
                    f"limit {name!r} has no measure", remedy=f"measures: {', '.join(self.measures) or 'none'}"
                )
        for name, limit in self.limits.items():
            try:
                limit.span(self.measures[name].unit)
            except UnitError as error:
                raise UnitError(f"limit {name!r}: {error.message}", remedy=error.remedy) from None
        for name, measure in self.measures.items():
            used = getattr(measure, "stimulus", None)
            if used is not None and not isinstance(self.stimuli.get(used), RandomPulses | Pulses):
                raise InputError(
                    f"measure {name!r} needs a pulse stimulus, {used!r} is none",
                    remedy=f"stimuli: {', '.join(self.stimuli) or 'none'}",
                )
        if (
            isinstance(self.analysis, Tran)
            and self.analysis.stop is None
            and self.analysis.stimulus not in self.stimuli
        ):
            raise InputError("the transient has no end", remedy='give it stop = "..." or stimulus = "NAME"')
        return self
