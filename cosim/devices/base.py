"""What a device is: ports, states, events, parameters, and the functions that connect them.

A device is written once, as pure functions of arrays::

    through(across, x, p) -> {port: through}       what flows through each port
    rates(across, x, p)   -> {state: d(state)/dt}  how each state drifts

``across`` maps a port to its voltage (V) or, for a thermal port, its temperature rise (K); ``through`` is a current (A)
or a heat flow (W), counted positive into the port's first node. ``x`` and ``p`` are `Values`: states and parameters by
attribute, each a scalar or an array that broadcasts. Fits and surrogates call these functions as they are; traced with
recording operands they become the B-source subcircuit and the Verilog-A module (`cosim.emit`).

An `Event` is something that happens once per edge, whatever the edge's length: a spike that raises a conductance. Its
trigger level switches an auxiliary state ``e`` from 0 to 1 with the time constant ``settle``; its jump J is spent over
that excursion, dx = J(x) de, so one event moves x along dx/de = J(x) from e = 0 to e = 1. The form is our choice: it
needs no ``@(cross)``, which ngspice's OSDI lacks, and is the same in numpy, B-sources and Verilog-A.

An `Inner` is the voltage of a node inside the device that follows from an equation, such as the node behind a series
resistor: an implicit current. In numpy the device solves it itself; in a simulator it is a node, and the engine solves
it with the rest of the circuit. The same equation serves both (`DeviceModel.balance`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cosim.errors import InputError, UnknownName

if TYPE_CHECKING:
    from cosim.devices.maps import EventMap
    from cosim.devices.pulse import PulseCell, PulseShape

Array = NDArray[np.float64]
# A parameter that may be so many times its default is a scale (our choice).
DECADES = 1e3
# A float array in a computation, a recording operand while tracing: the physics must not tell them apart.
Operand = Any


class Values(Mapping[str, Any]):
    """Names with values, read by attribute or by key; immutable.

    >>> x = cosim.Values({"w": 0.5})
    >>> x.w, x["w"], x.with_(w=0.2).w
    (0.5, 0.5, 0.2)
    """

    __slots__ = ("_data",)

    def __init__(self, data: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_data", dict(data))

    def __getattr__(self, name: str) -> Any:
        try:
            return self._data[name]
        except KeyError:
            raise AttributeError(f"no value {name!r}; there are {', '.join(self._data)}") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("Values are immutable; use with_(...)")

    def __getitem__(self, name: str) -> Any:
        return self._data[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        return "Values(" + ", ".join(f"{k}={v!r}" for k, v in self._data.items()) + ")"

    def __getstate__(self) -> dict[str, Any]:
        return dict(self._data)

    def __setstate__(self, state: dict[str, Any]) -> None:
        object.__setattr__(self, "_data", state)

    def with_(self, **changes: Any) -> Values:
        """A copy with some values changed or added."""
        return Values({**self._data, **changes})


@dataclass(frozen=True)
class Param:
    """A parameter of a compact model: ``bounds`` are physical and inclusive, in ``unit`` (SI).

    ``role`` says what would determine it in a fit: "range", the ends of the states' range; "drive", responses over a
    wide range of amplitudes; "": neither.

    >>> cosim.Param("g_on", 1e-3, "S", (1e-6, 1.0), "conductance in the on state").bounds
    (1e-06, 1.0)
    """

    name: str
    default: float
    unit: str
    bounds: tuple[float, float]
    description: str
    source: str = "our choice"
    role: str = ""

    def __post_init__(self) -> None:
        if not self.bounds[0] <= self.default <= self.bounds[1]:
            raise InputError(f"default of {self.name} = {self.default} is outside its bounds {self.bounds}")

    @property
    def is_scale(self) -> bool:
        """Whether zero is only the end of many decades, as of a rate, and says nothing about the parameter's size."""
        return 0.0 in self.bounds and max(map(abs, self.bounds)) > DECADES * abs(self.default) > 0.0


@dataclass(frozen=True)
class Port:
    """A pair of nodes. ``nature`` is "electrical" (V, A), "thermal" (K above ambient, W) or "sense" (V, no current).

    >>> [port.name for port in cosim.device("thermal_reram").ports if port.nature == "thermal"]
    ['heat']
    """

    name: str
    nodes: tuple[str, str]
    nature: str = "electrical"

    def __post_init__(self) -> None:
        if self.nature not in ("electrical", "thermal", "sense"):
            raise UnknownName("port nature", self.nature, ("electrical", "thermal", "sense"))


@dataclass(frozen=True)
class State:
    """An internal state: ``initial`` names the parameter that holds its initial value.

    >>> cosim.State("w", "w0", (0.0, 1.0)).unit
    '1'
    """

    name: str
    initial: str
    bounds: tuple[float, float]
    unit: str = "1"
    description: str = ""


@dataclass(frozen=True)
class Inner:
    """An unknown inside the device that an equation fixes at every instant: an inner node's voltage, in ``unit``."""

    name: str
    description: str = ""
    unit: str = "V"


Law = Callable[[Mapping[str, Operand], Values, Values], Operand]
Jump = Callable[[Mapping[str, Operand], Values, Values], Mapping[str, Operand]]


@dataclass(frozen=True)
class Event:
    """Something that happens once when ``level(across, x, p)`` rises from 0 to 1 (module docstring).

    Args:
        name: of the event; its auxiliary state is ``e_<name>`` in [0, 1].
        level: <= 0 without the event's cause, >= 1 with it; clipped and smoothed, so that engines see no jump.
        jump: state changes per event, evaluated along the way.
        settle: the parameter (s) that says how fast the event is spent and re-armed; short against pulse and pause.

    >>> [event.name for event in cosim.device("ecram").events]
    ['spike', 'write', 'erase']
    """

    name: str
    level: Law
    jump: Jump
    settle: str


class DeviceModel(ABC):
    """A compact model. Subclasses give the class attributes and the two functions; instances hold no data.

    >>> model = cosim.device("vteam")
    >>> model.nodes, [state.name for state in model.states]
    (('p', 'n'), ['x'])
    >>> model.param("v_on").unit
    'V'
    """

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    ports: ClassVar[tuple[Port, ...]]
    states: ClassVar[tuple[State, ...]] = ()
    events: ClassVar[tuple[Event, ...]] = ()
    inner: ClassVar[tuple[Inner, ...]] = ()
    params: ClassVar[tuple[Param, ...]]
    # What `readout` gives, name -> unit.
    readings: ClassVar[Mapping[str, str]] = MappingProxyType({})
    # What a recording may show beside currents, readings and states, name -> unit: `observe` gives it.
    observables: ClassVar[Mapping[str, str]] = MappingProxyType({})
    # Parameters that only set the scale of others: no curve determines them.
    conventions: ClassVar[tuple[str, ...]] = ()
    # Pairs of parameters, the smaller one first: the ends of a range, whose state means the opposite otherwise.
    ordered: ClassVar[tuple[tuple[str, str], ...]] = ()
    # Factors on start values from which a fit is tried again: what a curve shows least at first sight.
    elsewhere: ClassVar[tuple[Mapping[str, float], ...]] = ()
    # True for devices without a source of energy: v·i >= 0, i(0) = 0. Tested over the registry.
    passive: ClassVar[bool] = True

    @abstractmethod
    def through(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """What flows into the first node of each port (A or W)."""

    def rates(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """d(state)/dt of each state, in its unit per second, without events."""
        return {}

    def balance(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """The current (A) into each inner node, zero at the solution; ``x`` has the inner voltages beside the states.

        `through` and `rates` take an inner voltage from ``x`` where it is there, as it is when they are traced, and
        solve ``balance = 0`` where it is not. It has to fall with the node's own voltage.
        """
        return {}

    @property
    def nodes(self) -> tuple[str, ...]:
        """The terminals in order, each once."""
        return tuple(dict.fromkeys(node for port in self.ports for node in port.nodes))

    @property
    def visible(self) -> dict[str, str]:
        """The unit of each quantity that `observe` gives."""
        return {**{state.name: state.unit for state in self.states}, **self.readings, **self.observables}

    @property
    def all_states(self) -> tuple[State, ...]:
        """The states and, behind them, one auxiliary state per event."""
        armed = tuple(State(f"e_{e.name}", "", (0.0, 1.0), description=f"event {e.name}") for e in self.events)
        return self.states + armed

    def param(self, name: str) -> Param:
        """One entry of the parameter table; raises `UnknownName`."""
        for entry in self.params:
            if entry.name == name:
                return entry
        raise UnknownName(f"parameter of {self.name}", name, [entry.name for entry in self.params])

    def defaults(self) -> Values:
        """The default of each parameter."""
        return Values({entry.name: entry.default for entry in self.params})

    def values(self, given: Mapping[str, Any]) -> Values:
        """Defaults with ``given`` over them; unknown names and values out of bounds raise."""
        for name, value in given.items():
            entry = self.param(name)
            if type(value) is float and entry.bounds[0] <= value <= entry.bounds[1]:
                continue
            array = np.asarray(value, dtype=float)
            if not np.all(np.isfinite(array)):
                raise InputError(f"{name} of {self.name} is not finite", remedy=f"give a number in {entry.unit}")
            low, high = entry.bounds
            if np.any(array < low) or np.any(array > high):
                raise InputError(
                    f"{name} = {value} of {self.name} is outside {low:g}..{high:g} {entry.unit}",
                    remedy=f"{name} is the {entry.description}",
                )
        return self.defaults().with_(**given)

    def initial(self, p: Values) -> Values:
        """The states at t = 0; events are armed (0)."""
        return Values({s.name: p[s.initial] if s.initial else 0.0 for s in self.all_states})

    def drive_level(self, p: Values) -> float:
        """A voltage (V) that exercises the device well: equivalence runs pulse it up to plus and minus this."""
        del p
        return 1.0

    def drive_ranges(self, p: Values) -> Mapping[str, tuple[float, float]]:
        """Port -> lowest (<= 0) and highest (>= 0) top of its pulses (V or K) in equivalence runs; others: zero."""
        level = self.drive_level(p)
        electrical = [port.name for port in self.ports if port.nature == "electrical"]
        return dict.fromkeys(electrical[:1], (-level, level))

    def pulse_width(self, p: Values) -> float:
        """The length (s) of a pulse at the drive level that moves the states well: equivalence runs use it."""
        del p
        return 200e-9

    def readout(self, x: Values, p: Values) -> Mapping[str, Operand]:
        """What a read that disturbs nothing gives in the states ``x``: a value for each of `readings`."""
        return {}

    def observe(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """The `observables`, and with them all that a waveform may be measured of: readings and states."""
        return {**self.readout(x, p), **x}

    def full_scales(self, p: Values) -> Mapping[str, float]:
        """Reading -> what its errors and weights are shares of: its largest magnitude at the ends of the states."""
        ends = self.state_ranges(p)
        corners = np.array(list(product(*ends.values()))).T
        found = self.readout(Values(dict(zip(ends, corners, strict=True))), p)
        return {name: float(np.max(np.abs(value))) for name, value in found.items()}

    def state_ranges(self, p: Values) -> Mapping[str, tuple[float, float]]:
        """Where each state may be when an event comes; default: within its bounds."""
        return {state.name: state.bounds for state in self.states}

    def maps(self, p: Values, *, shape: PulseShape | None = None) -> Mapping[str, EventMap]:
        """The device's event maps by name, the usual one first; a device without states has none.

        ``shape`` is that of pulses; default: the device's own (`pulse_width`).
        """
        from cosim.devices.maps import pulse_map

        return {"pulse": pulse_map(self, p, shape=shape)} if self.states else {}

    def pulse_cell(self) -> PulseCell | None:
        """The closed form of a programming pulse, by which arrays of cells run; None for a device without one."""
        return None

    def guess(self, kind: str, columns: Mapping[str, Array], *, rows: NDArray[np.bool_], p: Values) -> dict[str, float]:
        """Start values of a fit that can be read off a measured curve; {} where nothing can.

        Args:
            kind: of the curve, e.g. "loop".
            columns: its columns, (n,) each, SI.
            rows: (n,) true where a row may be looked at.
            p: what the parameters are otherwise.
        """
        del kind, columns, rows, p
        return {}

    def total_rates(self, across: Mapping[str, Operand], x: Values, p: Values) -> dict[str, Operand]:
        """`rates` with the contribution of every event, and the rate of each event's auxiliary state (1/s)."""
        total: dict[str, Operand] = dict(self.rates(across, x, p))
        for event in self.events:
            armed = f"e_{event.name}"
            on = np.minimum(np.maximum(event.level(across, x, p), 0.0), 1.0)
            # no kink at either end: engines under tight tolerances shrink their step to nothing at one
            on = on * on * (3.0 - 2.0 * on)
            rate = (on - x[armed]) / p[event.settle]
            spent = np.maximum(rate, 0.0)
            for state, jump in event.jump(across, x, p).items():
                total[state] = total[state] + jump * spent
            total[armed] = rate
        return total


class TwoTerminal(DeviceModel):
    """A device with one electrical port ``pn``: subclasses give ``current(v, x, p)`` and ``drift(v, x, p)``.

    >>> model, p = cosim.device("threshold_memristor"), cosim.ParameterSet.load("tio2").resolved()
    >>> float(model.current(0.1, cosim.Values({"w": 1.0}), p))
    2e-05
    """

    ports = (Port("pn", ("p", "n")),)
    readings = MappingProxyType({"conductance": "S"})

    def readout(self, x: Values, p: Values) -> Mapping[str, Operand]:
        """Conductance (S) at 10 mV."""
        return {"conductance": self.current(0.01, x, p) / 0.01}

    @abstractmethod
    def current(self, v: Operand, x: Values, p: Values) -> Operand:
        """Current (A) from p to n at voltage ``v`` (V)."""

    def drift(self, v: Operand, x: Values, p: Values) -> Mapping[str, Operand]:
        """d(state)/dt (unit of the state per second) at voltage ``v`` (V)."""
        return {}

    def through(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """The current of the only port."""
        return {"pn": self.current(across["pn"], x, p)}

    def rates(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """The drift of the only port."""
        return self.drift(across["pn"], x, p)
