"""References for surrogates: a device's equations by scipy, its subcircuit in a simulator, or a test bench.

Each takes a Dataset and gives one back. In: each input of the map over ``event``, and where the train begins as the
scalar ``<state>_before`` of each state. Out: each state after each event, and each output, over ``event``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import numpy as np
import scipy
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from cosim.devices.base import Array, DeviceModel, Values
from cosim.devices.integrate import Segment, integrate
from cosim.devices.maps import EventMap
from cosim.emit.ngspice import subcircuit
from cosim.errors import DomainError, InputError
from cosim.parameters import ParameterSet

if TYPE_CHECKING:
    from cosim.engines.simulator import Simulator
    from cosim.surrogate.model import Surrogate

EVENT = "event"
# Tight enough to keep the simulator's error at a tenth of a certificate's limits (our choice).
OPTIONS: Mapping[str, float] = MappingProxyType(
    {"reltol": 1e-5, "abstol": 1e-14, "vntol": 1e-9, "chgtol": 1e-18, "trtol": 1.0}
)
LEAST_POINTS = 50  # of an event's longest segment
TIGHTER = 0.1  # of a tolerance, where a reference is asked again; an integrator, which takes what it is told, 0.01
# Over the shortest segment: ngspice gives up at 1e-11 of its largest step, which is to be 1e-6 of any segment.
LARGEST_STEP = 1e5
STEEP = 1e-3  # of a segment's length: how long a simulator takes for a jump before it (our choice)


class Reference(Protocol):
    """What answers the events of a map."""

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
        """The device in the circuit, whichever set is compared with it; None: the surrogate's set."""
        ...

    @property
    def independent(self) -> bool:
        """Whether the answers come from a device other than the surrogate's set, which tests the extraction."""
        ...

    def netlist(self, event_map: EventMap) -> str:
        """SHA-256 of the circuit; "" where there is none."""
        ...

    def subject(self, parameters: ParameterSet) -> str:
        """In words: which circuit, and which device in it, a surrogate of ``parameters`` is compared with."""
        ...

    def respond(self, parameters: ParameterSet, event_map: EventMap, events: xr.Dataset) -> xr.Dataset:
        """The events one after the other (module docstring)."""
        ...


def events_of(event_map: EventMap, inputs: Mapping[str, ArrayLike], *, begin: Mapping[str, float]) -> xr.Dataset:
    """A train of events that begins in the states ``begin``, as a `Reference` takes it; ``inputs`` (n,) each."""
    columns = {name: (EVENT, np.asarray(inputs[name]), {"units": e.unit}) for name, e in event_map.inputs.items()}
    return xr.Dataset({**columns, **{f"{name}_before": value for name, value in begin.items()}})


def named(chosen: ParameterSet, device: ParameterSet | None) -> str:
    """In words: the ``device`` that answers, or the surrogate's set."""
    return f"the device {chosen.name}" if device is not None else f"the surrogate's own parameter set {chosen.name}"


@dataclass(frozen=True)
class _Drive:
    """A train of events as knots: ``t`` (m,) s, ``across`` (m,) by port, ``ends`` the knot at which each event ends."""

    t: Array
    across: Mapping[str, Array]
    ends: list[int]


def _segments(event_map: EventMap, p: Values, events: xr.Dataset) -> Iterator[tuple[Segment, ...]]:
    """The straight pieces of each event."""
    for k in range(events.sizes[EVENT]):
        yield event_map.waveform(Values({name: float(events[name].values[k]) for name in event_map.inputs}), p)


def _drive(event_map: EventMap, p: Values, events: xr.Dataset) -> _Drive:
    ports = [port.name for port in event_map.device.ports]
    t, levels, ends = [0.0], {name: [0.0] for name in ports}, []
    for segments in _segments(event_map, p, events):
        for segment in segments:
            length = float(segment.length)
            sides = [[float(side.get(name, 0.0)) for name in ports] for side in (segment.begin, segment.end)]
            if sides[0] != [levels[name][-1] for name in ports]:  # a jump, which no simulator takes
                t.append(t[-1] + STEEP * length)
                length *= 1.0 - STEEP
            else:
                del sides[0]
            t.append(t[-1] + length)
            for side in sides:
                for name, level in zip(ports, side, strict=True):
                    levels[name].append(level)
        ends.append(len(t) - 1)
    return _Drive(np.array(t), {name: np.array(values) for name, values in levels.items()}, ends)


def _answer(event_map: EventMap, p: Values, states: Mapping[str, Array], energy: Array) -> xr.Dataset:
    """States and outputs after each event; ``energy`` (n,) J that each took."""
    outputs = event_map.reading(Values(states), p, energy)
    units = {**event_map.states, **event_map.outputs}
    columns = {name: np.asarray(values, dtype=float) for name, values in {**states, **outputs}.items()}
    return xr.Dataset({name: (EVENT, values, {"units": units[name].unit}) for name, values in columns.items()})


@dataclass(frozen=True)
class Equations:
    """The device's equations through the waveform, by scipy's LSODA; independent of the map's integrator."""

    rtol: float = 1e-7
    atol: float = 1e-9
    device: ParameterSet | None = None

    @property
    def independent(self) -> bool:
        """Whether the answers come from a device other than the surrogate's parameter set."""
        return self.device is not None

    @property
    def engine(self) -> str:
        """scipy and its version."""
        return f"scipy-{scipy.__version__} LSODA"

    @property
    def tolerances(self) -> Mapping[str, float]:
        """Of the integrator."""
        return MappingProxyType({"rtol": self.rtol, "atol": self.atol})

    def tightened(self) -> Equations:
        """At tolerances a hundred times smaller."""
        return replace(self, rtol=TIGHTER**2 * self.rtol, atol=TIGHTER**2 * self.atol)

    def netlist(self, event_map: EventMap) -> str:
        """Empty: there is no circuit."""
        return ""

    def subject(self, parameters: ParameterSet) -> str:
        """The device's equations."""
        chosen = self.device or parameters
        return f"the equations of {chosen.device} with {named(chosen, self.device)}"

    def respond(self, parameters: ParameterSet, event_map: EventMap, events: xr.Dataset) -> xr.Dataset:
        """The events one after the other (module docstring)."""
        model, p = event_map.device, (self.device or parameters).resolved()
        x = model.initial(p).with_(**{name: float(events[f"{name}_before"]) for name in event_map.states})
        path: dict[str, list[float]] = {name: [] for name in event_map.states}
        spent = []
        for segments in _segments(event_map, parameters.resolved(), events):
            energy = 0.0
            for segment in segments:
                ends = {
                    port.name: np.array([float(side.get(port.name, 0.0)) for side in (segment.begin, segment.end)])
                    for port in model.ports
                }
                found = integrate(
                    model, p, t=np.array([0.0, float(segment.length)]), across=ends, x0=x, rtol=self.rtol,
                    atol=self.atol, energy=True, method="LSODA",
                )  # fmt: skip
                assert found.energy is not None
                energy += float(found.energy[-1])
                x = Values({name: float(values[-1]) for name, values in found.states.items()})
            spent.append(energy)
            for name, values in path.items():
                values.append(float(x[name]))
        return _answer(event_map, p, {name: np.array(values) for name, values in path.items()}, np.array(spent))


@dataclass(frozen=True)
class Circuit:
    """The subcircuit that `cosim.emit` writes of the device, driven at its ports by the map's waveform.

    Args:
        simulator: an open one; the caller closes it.
        options: simulator options over `OPTIONS`.
        device: as in `Reference`.
        points: of an event's longest segment, at least.
    """

    simulator: Simulator
    options: Mapping[str, float] = field(default_factory=lambda: OPTIONS)
    device: ParameterSet | None = None
    points: int = LEAST_POINTS

    @property
    def independent(self) -> bool:
        """Whether the answers come from a device other than the surrogate's parameter set."""
        return self.device is not None

    @property
    def engine(self) -> str:
        """The simulator and its version."""
        return self.simulator.version()

    @property
    def tolerances(self) -> Mapping[str, float]:
        """Of the deck."""
        return self.options

    def tightened(self) -> Circuit:
        """At a tenth of each tolerance (trtol stays) and half the largest step."""
        options = {name: value * (1.0 if name == "trtol" else TIGHTER) for name, value in self.options.items()}
        return replace(self, options=MappingProxyType(options), points=2 * self.points)

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
        step = min(float(np.max(lengths)) / self.points, LARGEST_STEP * float(np.min(lengths)))
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
        return _answer(event_map, p, states, np.diff(np.interp([0.0, *at], time, spent)))


def reference_for(event_map: EventMap, simulator: Simulator | None, *, device: ParameterSet | None = None) -> Reference:
    """The default reference of a map: the bench that pulses its cell, its device's subcircuit, or,
    without a simulator, the equations.
    """
    from cosim.bench.testbench import Testbench
    from cosim.surrogate.bench_reference import BenchReference

    if simulator is None:
        return Equations(device=device)
    if event_map.pulse is not None:
        return BenchReference(Testbench.load(event_map.pulse.cell.bench), simulator, device=device)
    return Circuit(simulator, device=device)


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


def ask(
    surrogate: Surrogate,
    instances: NDArray[np.bool_],
    x: Mapping[str, Array],
    u: Mapping[str, Array],
    *,
    after: dict[str, Array],
    outputs: dict[str, Array],
) -> None:
    """Put the answers of a surrogate's reference for some ``instances`` (bool) into ``after`` and ``outputs``."""
    if surrogate.instances:
        raise DomainError(
            "a reference cannot be asked for instances with parameters of their own",
            remedy="certify a wider domain",
        )
    assert surrogate.reference is not None
    fields = {name: np.broadcast_to(values, instances.shape) for name, values in {**x, **u}.items()}
    for index in map(tuple, np.argwhere(instances)):
        here = {name: float(values[index]) for name, values in fields.items()}
        events = events_of(surrogate.map, {name: [here[name]] for name in u}, begin={name: here[name] for name in x})
        answer = surrogate.reference.respond(surrogate.parameters, surrogate.map, events)
        before = {f"{name}_before": (EVENT, [here[name]]) for name in x}
        surrogate.answers.append(events.drop_vars(list(before)).assign(before).merge(answer))
        for part in (after, outputs):
            for name, values in part.items():
                values[index] = float(answer[name].values[0])
