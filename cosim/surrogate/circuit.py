"""What the event maps of any device are held against: its equations by scipy, or its subcircuit in a simulator.

Both take a Dataset and give one back. In: each input of the map over ``event``, and where the train begins as the
scalar ``<state>_before`` of each state. Out: each state after each event, and each output, over ``event``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import numpy as np
import scipy
import xarray as xr

from cosim.devices.base import DeviceModel, Values
from cosim.devices.integrate import integrate
from cosim.devices.maps import EventMap
from cosim.emit.ngspice import subcircuit
from cosim.errors import InputError
from cosim.parameters import ParameterSet
from cosim.surrogate.base import Array
from cosim.surrogate.references import named

if TYPE_CHECKING:
    from cosim.engines.simulator import Simulator

EVENT = "event"
# Tight enough that the simulator's error stays a tenth of a certificate's limits (our choice).
OPTIONS: Mapping[str, float] = MappingProxyType(
    {"reltol": 1e-5, "abstol": 1e-14, "vntol": 1e-9, "chgtol": 1e-18, "trtol": 1.0}
)
LEAST_POINTS = 50  # of an event's longest segment
# Over the shortest segment: ngspice gives up at 1e-11 of its largest step, which is to be 1e-6 of any segment.
LARGEST_STEP = 1e5


class MapBench(Protocol):
    """A circuit that answers the events of a map."""

    @property
    def engine(self) -> str:
        """What answers, with its version."""
        ...

    @property
    def tolerances(self) -> Mapping[str, float]:
        """Of the engine."""
        ...

    @property
    def device(self) -> ParameterSet | None:
        """The device in the circuit, whatever set it is held against; None: the surrogate's own set."""
        ...

    def netlist(self, event_map: EventMap) -> str:
        """SHA-256 of the circuit; "" where there is none."""
        ...

    def subject(self, parameters: ParameterSet) -> str:
        """In words: which circuit, and which device in it where a surrogate of ``parameters`` is held against it."""
        ...

    def respond(self, parameters: ParameterSet, event_map: EventMap, events: xr.Dataset) -> xr.Dataset:
        """The events one after the other (module docstring)."""
        ...


@dataclass(frozen=True)
class _Drive:
    """A train of events as knots: ``t`` (m,) s, ``across`` (m,) by port, ``ends`` the knot at which each event ends."""

    t: Array
    across: Mapping[str, Array]
    ends: list[int]


def _drive(event_map: EventMap, p: Values, events: xr.Dataset) -> _Drive:
    ports = [port.name for port in event_map.device.ports]
    t, levels, ends = [0.0], {name: [0.0] for name in ports}, []
    for k in range(events.sizes[EVENT]):
        inputs = Values({name: float(events[name].values[k]) for name in event_map.inputs})
        for segment in event_map.waveform(inputs, p):
            t.append(t[-1] + float(segment.length))
            for name in ports:
                levels[name].append(float(segment.end.get(name, 0.0)))
        ends.append(len(t) - 1)
    return _Drive(np.array(t), {name: np.array(values) for name, values in levels.items()}, ends)


def _answer(event_map: EventMap, p: Values, states: Mapping[str, Array], energy: Array) -> xr.Dataset:
    """States and outputs after each event; ``energy`` (n + 1,) J at the train's start and after each event."""
    outputs = event_map.reading(Values(states), p, np.diff(energy))
    units = {**event_map.states, **event_map.outputs}
    columns = {name: np.asarray(values, dtype=float) for name, values in {**states, **outputs}.items()}
    return xr.Dataset({name: (EVENT, values, {"units": units[name].unit}) for name, values in columns.items()})


@dataclass(frozen=True)
class Equations:
    """The device's own equations through the waveform, by scipy's LSODA; independent of the map's own integrator."""

    rtol: float = 1e-7
    atol: float = 1e-9
    device: ParameterSet | None = None

    @property
    def engine(self) -> str:
        """scipy and its version."""
        return f"scipy-{scipy.__version__} LSODA"

    @property
    def tolerances(self) -> Mapping[str, float]:
        """Of the integrator."""
        return MappingProxyType({"rtol": self.rtol, "atol": self.atol})

    def netlist(self, event_map: EventMap) -> str:
        """None."""
        return ""

    def subject(self, parameters: ParameterSet) -> str:
        """The device's equations."""
        chosen = self.device or parameters
        return f"the equations of {chosen.device} with {named(chosen, self.device)}"

    def respond(self, parameters: ParameterSet, event_map: EventMap, events: xr.Dataset) -> xr.Dataset:
        """The events one after the other (module docstring)."""
        p = (self.device or parameters).resolved()
        drive = _drive(event_map, parameters.resolved(), events)
        begin = {name: float(events[f"{name}_before"]) for name in event_map.states}
        start = event_map.device.initial(p).with_(**begin)
        found = integrate(
            event_map.device, p, t=drive.t, across=drive.across, x0=start, rtol=self.rtol, atol=self.atol,
            energy=True, method="LSODA",
        )  # fmt: skip
        assert found.energy is not None
        states = {name: found.states[name][drive.ends] for name in event_map.states}
        return _answer(event_map, p, states, found.energy[[0, *drive.ends]])


@dataclass(frozen=True)
class Circuit:
    """The subcircuit that `cosim.emit` writes of the device, driven at its ports by the map's waveform.

    Args:
        simulator: an open one; the caller closes it.
        options: simulator options over `OPTIONS`.
        device: as in `MapBench`.
    """

    simulator: Simulator
    options: Mapping[str, float] = field(default_factory=lambda: OPTIONS)
    device: ParameterSet | None = None

    @property
    def engine(self) -> str:
        """The simulator and its version."""
        return self.simulator.version()

    @property
    def tolerances(self) -> Mapping[str, float]:
        """Of the deck."""
        return self.options

    def netlist(self, event_map: EventMap) -> str:
        """Of the device's subcircuit."""
        return hashlib.sha256(subcircuit(event_map.device).encode()).hexdigest()

    def subject(self, parameters: ParameterSet) -> str:
        """The subcircuit, and the device in it."""
        chosen = self.device or parameters
        return f"the subcircuit of {chosen.device} with {named(chosen, self.device)}"

    def respond(self, parameters: ParameterSet, event_map: EventMap, events: xr.Dataset) -> xr.Dataset:
        """The events one after the other (module docstring); every call is one transient."""
        from cosim.bench.stimuli import fmt
        from cosim.engines.simulator import Deck

        model, p = event_map.device, (self.device or parameters).resolved()
        drive = _drive(event_map, parameters.resolved(), events)
        start = {name: float(events[f"{name}_before"]) for name in event_map.states}
        hot = _driven(model)
        lines = [f"event map {event_map.name} of {model.name}", subcircuit(model, values=p, initial=start)]
        lines.append(f"X1 {' '.join(node if node in hot.values() else '0' for node in model.nodes)} {model.name}")
        for port, node in hot.items():
            knots = " ".join(f"{fmt(a)} {fmt(b)}" for a, b in zip(drive.t, drive.across[port], strict=True))
            lines.append(f"V{port} {node} 0 PWL({knots})")
        lengths = np.diff(drive.t)
        step = min(float(np.max(lengths)) / LEAST_POINTS, LARGEST_STEP * float(np.min(lengths)))
        lines += [f".tran {fmt(step)} {fmt(drive.t[-1])} 0 {fmt(step)}", ".end"]
        taking = [port.name for port in model.ports if port.nature == "electrical"]
        save = [f"v(x1.{name.lower()})" for name in event_map.states]
        save += [name for port in taking for name in (f"v({hot[port].lower()})", f"i(v{port.lower()})")]
        deck = Deck("\n".join(lines) + "\n", save=tuple(save), options=dict(self.options))
        data = self.simulator.run(deck)["tran"]
        time = np.asarray(data["time"].values, dtype=float)
        power = -sum(
            np.asarray(data[f"v({hot[port].lower()})"].values) * np.asarray(data[f"i(v{port.lower()})"].values)
            for port in taking
        ) * np.ones_like(time)
        spent = np.concatenate([[0.0], np.cumsum(0.5 * (power[1:] + power[:-1]) * np.diff(time))])
        at = drive.t[drive.ends]
        states = {n: np.interp(at, time, np.asarray(data[f"v(x1.{n.lower()})"].values)) for n in event_map.states}
        return _answer(event_map, p, states, np.interp([0.0, *at], time, spent))


def _driven(model: DeviceModel) -> dict[str, str]:
    """Port -> the node that its source drives; every other node is ground. Raises `InputError` where none fits."""
    first = {port.name: port.nodes[0] for port in model.ports}
    second = {port.nodes[1] for port in model.ports}
    if len(set(first.values())) < len(first) or second & set(first.values()):
        raise InputError(
            f"the ports of {model.name} share nodes, so that no source can drive each of them",
            remedy="take --against integration",
        )
    return first
