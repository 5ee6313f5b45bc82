"""Event maps: what one event does to a device, ``(state, inputs, p) -> (state, outputs)``, with a unit on every field.

An event is a waveform of straight pieces at the device's ports: a programming pulse, a spike, a rest. Where the device
has a closed form it is the map; elsewhere the device's own rates are integrated through the waveform for every instance
at once (`cosim.devices.integrate.sweep`). Fits, surrogates and networks need nothing else of a device.

An event begins with every `Event` of the device armed and lasts until it is armed again, so that the states between
events are the device's own, without auxiliary ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from cosim.devices.base import DeviceModel, Operand, Values
from cosim.devices.integrate import Segment, sweep
from cosim.errors import UnknownName

if TYPE_CHECKING:
    from cosim.devices.pulse import ClosedPulse, PulseShape

ENERGY = "energy"
ARMED = 20.0  # settling times after which an event is armed again: e^-20 of it is left
EDGES = 0.025  # of a pulse's width: its rise, and its fall


@dataclass(frozen=True)
class Field:
    """A quantity of a map: its ``unit``, and the ``range`` in which it is drawn where the map is tested.

    ``still`` is the part of an input's range in which nothing moves: between two thresholds.
    """

    unit: str
    range: tuple[float, float] = (-np.inf, np.inf)
    still: tuple[float, float] = (0.0, 0.0)

    @property
    def span(self) -> float:
        """The width of the range."""
        return self.range[1] - self.range[0]


Closed = Callable[[Values, Values, Values], tuple[Mapping[str, Operand], Mapping[str, Operand]]]


@dataclass(frozen=True)
class EventMap:
    """One event of a device.

    Args:
        name: of the map, e.g. "pulse".
        device: whose event it is.
        inputs: what differs from event to event, by name.
        states, outputs: of the device, by name; outputs are `DeviceModel.readout` after the event and the
            ``energy`` (J) that it takes.
        waveform: the segments of the event for inputs and parameters.
        closed: the map in closed form; None: integrated.
        fixed: what the waveform holds constant, e.g. ``width`` in s.
        pulse: the closed form in parts, by which arrays of cells are run; None: there are no such parts.
    """

    name: str
    device: DeviceModel
    inputs: Mapping[str, Field]
    states: Mapping[str, Field]
    outputs: Mapping[str, Field]
    waveform: Callable[[Values, Values], tuple[Segment, ...]]
    closed: Closed | None = None
    fixed: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    pulse: ClosedPulse | None = None

    def __call__(self, state: Values, inputs: Values, p: Values) -> tuple[Values, Values]:
        """The states after one event, and its outputs.

        Args:
            state: each state, any shape; all that is given broadcasts.
            inputs: each input, in its unit.
            p: the device's parameters, scalars or one per instance.

        Raises:
            UnknownName: for a state or an input that the map does not have. KeyError: for one that is missing.
        """
        for kind, given, known in (("state", state, self.states), ("input", inputs, self.inputs)):
            for name in given:
                if name not in known:
                    raise UnknownName(f"{kind} of the map {self.name}", name, known)
        if self.closed is not None:
            after, outputs = self.closed(state, inputs, p)
            return Values(after), Values(outputs)
        after, energy = sweep(self.device, p, segments=self.waveform(inputs, p), x0=state)
        held = {name: np.clip(after[name], *self.bounds(name)) for name in self.states}
        return Values(held), Values(self.reading(Values(held), p, energy))

    def reading(self, x: Values, p: Values, energy: Operand) -> dict[str, Operand]:
        """The outputs after an event that took ``energy`` (J) and ended in the states ``x``."""
        return {**self.device.readout(x, p), **({ENERGY: energy} if ENERGY in self.outputs else {})}

    def bounds(self, state: str) -> tuple[float, float]:
        """The physical bounds of a state."""
        return next(entry.bounds for entry in self.device.states if entry.name == state)


def event_map(
    device: DeviceModel,
    name: str,
    p: Values,
    *,
    inputs: Mapping[str, Field],
    waveform: Callable[[Values, Values], tuple[Segment, ...]],
    closed: Closed | None = None,
    fixed: Mapping[str, float] = MappingProxyType({}),
    energy: bool = True,
) -> EventMap:
    """An `EventMap` of a device, its states and outputs taken from there; ``energy``: whether it may take any."""
    starts = device.state_ranges(p)
    states = {entry.name: Field(entry.unit, starts[entry.name]) for entry in device.states}
    outputs = {key: Field(unit) for key, unit in device.readings.items()} | ({ENERGY: Field("J")} if energy else {})
    return EventMap(name, device, inputs, states, outputs, waveform, closed, fixed)


def pulse_map(
    device: DeviceModel,
    p: Values,
    *,
    name: str = "pulse",
    shape: PulseShape | None = None,
    closed: Closed | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> EventMap:
    """One trapezoid at every port of ``ranges`` (default: the ports that `DeviceModel.drive_ranges` drives).

    The input is ``amplitude`` where there is one port, else one per port by the port's name. ``shape`` defaults to the
    device's `pulse_width` with edges of a fortieth of it.
    """
    from cosim.devices.pulse import PulseShape

    width = device.pulse_width(p)
    chosen = shape or PulseShape(width, EDGES * width, EDGES * width)
    reach = device.drive_ranges(p) if ranges is None else ranges
    natures = {port.name: "K" if port.nature == "thermal" else "V" for port in device.ports}
    names = {port: "amplitude" if len(reach) == 1 else port for port in reach}
    pause = ARMED * max((float(p[event.settle]) for event in device.events), default=0.0)

    def waveform(inputs: Values, p: Values) -> tuple[Segment, ...]:
        top = {port: inputs[given] for port, given in names.items()}
        rest = dict.fromkeys(names, 0.0)
        pieces = ((chosen.rise, rest, top), (chosen.width, top, top), (chosen.fall, top, rest), (pause, rest, rest))
        return tuple(Segment(length, begin, end) for length, begin, end in pieces if length > 0.0)

    return event_map(
        device,
        name,
        p,
        inputs={given: Field(natures[port], reach[port]) for port, given in names.items()},
        waveform=waveform,
        closed=closed,
        fixed=MappingProxyType({**vars(chosen), **({"pause": pause} if pause else {})}),
    )


def rest_map(device: DeviceModel, p: Values, *, span: tuple[float, float], closed: Closed | None = None) -> EventMap:
    """Nothing at any port for ``duration``, whose range is ``span`` (s)."""

    def waveform(inputs: Values, p: Values) -> tuple[Segment, ...]:
        return (Segment(inputs["duration"], {}, {}),)

    inputs = {"duration": Field("s", span)}
    return event_map(device, "rest", p, inputs=inputs, waveform=waveform, closed=closed, energy=False)
