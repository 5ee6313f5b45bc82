"""A crossbar of cells: each cell is an instance of one surrogate, read by its conductance and programmed by columns.

A row is an input, a column an output. A programming event drives each row with its voltage and selects one column; a
read takes the conductance as a share of the nominal cell's full scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from cosim.devices.base import Array, Values
from cosim.emit.numba import MapKernel, map_kernel
from cosim.errors import InputError, UnknownName
from cosim.network.spice_check import Watch
from cosim.network.wires import Wires, effective_conductance
from cosim.surrogate.model import Surrogate
from cosim.surrogate.pulse_kernel import Kernel

READING = "conductance"


class Crossbar:
    """``inputs`` × ``outputs`` cells; the only thing in a network that learns.

    Attributes:
        surrogate: of all cells; parameters of its instances are (inputs, outputs).
        state: each state of the cells, (inputs, outputs).
        weight: (inputs, outputs) shares of the full scale of the conductance, kept up to date.
        pulses: programming pulses that moved a cell so far.
        watch: notes the events of some cells; None: of none.

    >>> import numpy as np
    >>> from cosim.network.crossbar import Crossbar
    >>> crossbar = Crossbar(cosim.Surrogate(cosim.ParameterSet.load("vteam_2015")), {"x": np.full((3, 2), 0.5)})
    >>> crossbar.program(1, np.array([-0.2, 0.0, 0.1]))
    >>> crossbar.pulses, crossbar.weight.shape
    (2, (3, 2))
    """

    def __init__(
        self,
        surrogate: Surrogate,
        state: Mapping[str, Array] | Array,
        *,
        held: Mapping[str, float] = MappingProxyType({}),
        compiled: bool = False,
    ) -> None:
        """A crossbar in the given states.

        Args:
            surrogate: of a map that gives a conductance, and whose inputs but one are ``held``.
            state: by name, (inputs, outputs) each; of a cell with one state, that one.
            held: inputs that are the same in every event, e.g. ``{"heater": 0.1}``.
            compiled: run the map through numba, unless it is not a closed pulse and something of it was learned.
        """
        event_map = surrogate.map
        if READING not in event_map.device.readings:
            raise InputError(
                f"the map {event_map.name} of {surrogate.device} gives no {READING}, which a crossbar reads",
                remedy="take a device that has one",
            )
        for name in held:
            if name not in event_map.inputs:
                raise UnknownName(f"input of the map {event_map.name}", name, event_map.inputs)
        free = [name for name in event_map.inputs if name not in held]
        if len(free) != 1:
            raise InputError(
                f"a crossbar programs by one input, the map {event_map.name} has {', '.join(free) or 'none left'}",
                remedy="hold the others at a value",
            )
        given = state if isinstance(state, Mapping) else {next(iter(event_map.states)): state}
        self.state = {name: np.array(given[name], dtype=float) for name in event_map.states if name in given}
        if len(self.state) < len(event_map.states) or len(given) > len(self.state):
            raise InputError(f"the cells have the states {', '.join(event_map.states)}, not {', '.join(given)}")
        shape = next(iter(self.state.values())).shape
        for name, x in self.state.items():
            low, high = event_map.bounds(name)
            if x.ndim != 2 or x.shape != shape or not np.all((x >= low) & (x <= high)):
                raise InputError(
                    f"the states {name} of a crossbar are a matrix of numbers in {low:g}..{high:g}, not {x.shape}"
                )
        for name, values in surrogate.instances.items():
            if values.shape not in ((), shape):
                raise InputError(f"{name} of the cells has shape {values.shape}, the crossbar {shape}")
        self.surrogate, self.drive = surrogate, free[0]
        self.held = {name: np.asarray(value, dtype=float) for name, value in held.items()}
        self._columns = [surrogate.select((slice(None), j)) for j in range(shape[1])]
        self._scale = surrogate.full_scale(READING)
        names = sorted(surrogate.instances)
        self._kernel: Kernel | None = None
        self._map_kernel: MapKernel | None = None
        if compiled and surrogate.dtype == "float64":
            if surrogate.kernel is not None and surrogate.learned is None:
                self._kernel = surrogate.kernel.compiled()
            elif surrogate.correction is None and surrogate.learned is None:
                self._map_kernel = map_kernel(event_map, surrogate.values, own=names)
        # By column, then by parameter in the order of the kernel.
        own = [np.broadcast_to(surrogate.instances[name], shape) for name in names]
        self._own = np.ascontiguousarray(np.array(own).reshape(len(own), *shape).transpose(2, 0, 1))
        self.pulses = 0
        self.watch: Watch | None = None
        self.weight = np.ascontiguousarray(self._read(surrogate, self.state))

    def _read(self, cells: Surrogate, state: Mapping[str, Array]) -> Array:
        weight: Array = cells.read(Values(state))[READING] / self._scale
        return weight

    @property
    def shape(self) -> tuple[int, int]:
        """Inputs and outputs."""
        inputs, outputs = self.weight.shape
        return inputs, outputs

    @property
    def w(self) -> Array:
        """(inputs, outputs): the states of cells that have one; the first of several."""
        return next(iter(self.state.values()))

    def load(self, state: Mapping[str, Array] | Array) -> None:
        """Put every cell into a state, (inputs, outputs) as in the beginning."""
        given = state if isinstance(state, Mapping) else {next(iter(self.state)): state}
        for name, x in given.items():
            self.state[name][:] = x
        self.weight[:] = self._read(self.surrogate, self.state)
        if self.watch is not None:
            self.watch.restart(self)

    def wired(self, wires: Wires) -> Array:
        """(inputs, outputs) what `weight` becomes where the cells are read through these wires, driven one by one or
        together: cells are as linear as their conductance says.
        """
        return effective_conductance(self.weight * self._scale, wires) / self._scale

    def program(self, column: int, drive: Array) -> None:
        """One event on the cells of one column, with ``drive`` (inputs,) on their rows: volts, as a rule."""
        if self.watch is not None:
            self.watch.note(column, drive)
        cells = self._columns[column]
        before = {name: x[:, column].copy() for name, x in self.state.items()}
        inputs: dict[str, Array] = {self.drive: drive, **self.held}
        kernel = self._kernel or self._map_kernel
        after: Mapping[str, Array]
        if kernel is None or cells.outside_domain(before, inputs) is not None:
            after = cells.advance(Values(before), Values(inputs))
        elif self._kernel is not None:
            ((name, w),) = before.items()
            after = {name: np.empty_like(w)}
            self._kernel(w, drive, after[name], self._own[column])
        else:
            event_map, rows = self.surrogate.map, drive.size
            found = np.empty((len(event_map.states) + len(event_map.outputs), rows))
            u = np.stack([np.broadcast_to(inputs[name], rows) for name in event_map.inputs])
            kernel(np.stack(list(before.values())), u, self._own[column], found)
            after = dict(zip(before, found, strict=False))
        moved = np.logical_or.reduce([after[name] != x for name, x in before.items()])
        self.pulses += int(np.count_nonzero(moved))
        for name, x in self.state.items():
            x[:, column] = after[name]
        self.weight[:, column] = self._read(cells, after)
