"""The cells of a projection: each is an instance of one surrogate, or ideal; they are programmed, read, and relax.

A row is an input, a column an output. An event drives some cells with the inputs of their map; a read takes the
conductance as a share of the nominal cell's full scale. The weights of all cells are kept up to date beside the states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from types import SimpleNamespace as Named
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array, Operand, Values
from cosim.devices.maps import Field
from cosim.errors import InputError, UnknownName
from cosim.network.spice_check import Watch
from cosim.network.wires import Wires, cell_current, effective_conductance, solve_wired
from cosim.surrogate.base import REST, complain, require_inside, widened
from cosim.surrogate.gate import require_certified
from cosim.surrogate.model import SLACK, Surrogate

READING = "conductance"
MINUS = "_minus"
DURATION = "duration"
Every = tuple[Any, Any]  # an index of rows and columns
EACH = slice(None)
ALL: Every = (EACH, EACH)


@dataclass(frozen=True)
class Ideal:
    """A cell that is the weight itself: an event adds its ``change``, within ``low`` .. ``high``."""

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not -np.inf < self.low < self.high < np.inf:
            raise InputError(
                f"weights of {self.low:g}..{self.high:g} leave nothing to learn", remedy="give finite low < high"
            )

    @property
    def states(self) -> Mapping[str, Field]:
        """The weight."""
        return {"w": Field("1", (self.low, self.high))}

    inputs = MappingProxyType({"change": Field("1")})

    def event(self, x: Named, u: Named) -> dict[str, Operand]:
        """The states after a change, of arrays or recording operands."""
        low, high = self._ends
        return {"w": np.minimum(np.maximum(x.w + u.change, low), high)}

    def moved(self, w: Array, change: Array) -> Array:
        """`event` in place, which numpy does faster: ``w`` after a ``change`` that broadcasts to it."""
        w += change
        low, high = self._ends
        return w.clip(low, high, out=w)

    @cached_property
    def _ends(self) -> tuple[Array, Array]:
        """The ends as numpy takes them fastest."""
        return np.array(self.low), np.array(self.high)


class Crossbar:
    """``inputs`` × ``outputs`` cells; the only thing in a network that learns.

    Attributes:
        kind: the surrogate of all cells, whose instances' parameters are (inputs, outputs); or `Ideal`.
        state: each state of the cells, (inputs, outputs); of the second cells of pairs under its name and ``_minus``.
        weight: (inputs, outputs) shares of the full scale of the conductance, times the gain, kept up to date.
        drives: the inputs of an event that are not held.
        rests: whether the cells relax between events.
        pulses: programming pulses that moved a cell so far.
        watch: notes the events of some cells; None: of none.
        beyond: (limits, 3) by the place of a name in `limits`: how many events of a cell were outside of the domain,
            and the least and the largest value there; `extrapolated` names them.

    >>> import numpy as np
    >>> from cosim.network.crossbar import Crossbar
    >>> crossbar = Crossbar(cosim.Surrogate(cosim.ParameterSet.load("vteam_2015")), {"x": np.full((3, 2), 0.5)})
    >>> crossbar.program(1, np.array([-0.2, 0.0, 0.1]))
    >>> crossbar.pulses, crossbar.weight.shape
    (2, (3, 2))
    """

    def __init__(
        self,
        kind: Surrogate | Ideal,
        state: Mapping[str, Array] | Array,
        *,
        held: Mapping[str, float] = MappingProxyType({}),
        pair: bool = False,
        gain: float = 1.0,
        by_column: bool = True,
        mask: Array | None = None,
        reading: str = READING,
        levels: int = 0,
        wires: Wires | None = None,
        read_voltage: float = 0.0,
    ) -> None:
        """A crossbar in the given states.

        Args:
            kind: a surrogate of a map that gives a conductance; or `Ideal`.
            state: by name, (inputs, outputs) each; of a cell with one state, that one.
            held: inputs that are the same in every event, e.g. ``{"heater": 0.1}``.
            pair: two cells a weight, the second of which counts negative.
            gain: of the weights over the cells' shares.
            by_column: whether cells are stored by columns, which is faster where columns are programmed.
            mask: (inputs, outputs) which cells there are: the others have the weight zero and no events; None: all.
            reading: of the device, what a weight is; with a full scale (`DeviceModel.full_scales`).
            levels: of the first state between its bounds, to the nearest of which an event takes a cell; 0: any.
            wires: through which the cells are read; None: as if these had no resistance. `see` solves them.
            read_voltage: (V) on the row that is read; 0: so little that the cells are as linear as their reading says.
        """
        if wires is not None and (pair or not isinstance(kind, Surrogate) or reading != READING):
            raise InputError(
                "only conductances of single cells are read through wires: ideal cells have no ohms, and the two cells "
                "of a pair need wires of their own",
                remedy="take cells of a surrogate without pair= and reading=, or leave the wires out",
            )
        self.wires, self.read_voltage = wires, read_voltage
        self.kind, self.gain, self.pair, self.reading = kind, gain, pair, reading
        if isinstance(kind, Surrogate):
            require_certified(kind)
            if reading not in kind.map.device.readings:
                raise InputError(
                    f"the map {kind.map.name} of {kind.device} gives no {reading}, which a crossbar reads",
                    remedy="take a device that has one",
                )
            inputs, self.fields = kind.map.inputs, kind.map.states
            ends = {name: kind.map.bounds(name) for name in self.fields}
            self.scale = kind.full_scale(reading)
        else:
            inputs, self.fields, self.scale = kind.inputs, kind.states, 1.0
            ends = {name: entry.range for name, entry in self.fields.items()}
        for name in held:
            if name not in inputs:
                raise UnknownName(f"input of the map {self.name}", name, inputs)
        self.drives = tuple(name for name in inputs if name not in held)
        self.held = {name: np.asarray(value, dtype=float) for name, value in held.items()}
        names = [*self.fields, *(f"{name}{MINUS}" for name in self.fields if pair)]
        given = state if isinstance(state, Mapping) else {next(iter(self.fields)): state}
        if pair:
            given = {**{name: given[name.removesuffix(MINUS)] for name in names if name.removesuffix(MINUS) in given},
                     **given}  # fmt: skip
        order: Literal["F", "C"] = "F" if by_column else "C"
        self.state: dict[str, Array] = {}
        for name in names:
            if name in given:
                try:
                    self.state[name] = np.array(given[name], dtype=float, order=order)
                except (TypeError, ValueError):
                    raise InputError(f"the states {name} of a crossbar are not a matrix of numbers") from None
        if len(self.state) < len(names) or len(given) > len(self.state):
            raise InputError(f"the cells have the states {', '.join(names)}, not {', '.join(given)}")
        self._first = next(iter(self.state.values()))
        shape = self._first.shape
        self.grid = self._grid(levels, *ends[next(iter(self.fields))])
        for name, x in self.state.items():
            low, high = ends[name.removesuffix(MINUS)]
            if x.ndim != 2 or x.shape != shape or not x.size:
                raise InputError(f"the states {name} of a crossbar are a matrix of inputs and outputs, not {x.shape}")
            if (outside := x[~((x >= low) & (x <= high))]).size:
                raise InputError(
                    f"the states {name} of a crossbar are a matrix of numbers in {low:g}..{high:g}, and one is "
                    f"{outside[0]:g}"
                )
        if mask is not None and np.shape(mask) != shape:
            raise InputError(f"the mask of the cells has shape {np.shape(mask)}, the crossbar {shape}")
        self.mask = None if mask is None else np.array(mask, dtype=bool, order=order)
        self.own: dict[str, Array] = {}
        if isinstance(kind, Surrogate):
            for name, values in kind.instances.items():
                if values.shape not in ((), shape):
                    raise InputError(f"{name} of the cells has shape {values.shape}, the crossbar {shape}")
            self.own = {n: np.array(np.broadcast_to(v, shape), order=order) for n, v in sorted(kind.instances.items())}
        self.rests = isinstance(kind, Surrogate) and kind.rest_map is not None
        self.limits: dict[str, tuple[float, float]] = {}
        if isinstance(kind, Surrogate):
            self.limits = {name: widened(kind.allowed(name), kind.slack) for name in (*self.fields, *inputs)}
            if kind.rest_map is not None:
                tested = kind.certificate is None or all(f"{n}{REST}" in kind.certificate.errors for n in self.fields)
                longest = kind.rest_map.inputs[DURATION].range[1] if tested else 0.0
                self.limits[DURATION] = (0.0, np.inf if kind.certificate is None else widened((0, longest), SLACK)[1])
        self.touched = np.zeros(shape, dtype=np.int64, order=order) if self.rests else np.zeros((0, 0), dtype=np.int64)
        self.counter = np.zeros(1, dtype=np.int64)
        self._selected: dict[int, Surrogate] = {}
        self.watch: Watch | None = None
        self.flags: dict[str, float] = {}
        self.beyond = np.tile([0.0, np.inf, -np.inf], (len(self.limits), 1))
        self.integrators: dict[str, Any] = {}  # of the compiled loop
        # An ideal weight that is read as it is needs no second array.
        plain = isinstance(kind, Ideal) and not (pair or by_column) and mask is None and gain == 1.0
        # What wires leave of each weight, and the weights of which that was found.
        self.left, self._solved = np.ones(shape if wires is not None else (0, 0)), np.empty(0)
        self.weight: Array = self.state["w"] if plain else np.ascontiguousarray(self._read(ALL))

    def _grid(self, levels: int, low: float, high: float) -> tuple[str, float, float] | None:
        """The state with levels, the first of them and their distance; None: any value."""
        if levels == 0:
            return None
        if levels < 2 or not np.isfinite(high - low):
            raise InputError(
                f"the cells cannot have {levels} levels in {low:g}..{high:g}", remedy="give 2 or more, or 0"
            )
        return next(iter(self.fields)), low, (high - low) / (levels - 1)

    @property
    def name(self) -> str:
        """Of the cells' map."""
        return self.kind.map.name if isinstance(self.kind, Surrogate) else "ideal"

    @property
    def surrogate(self) -> Surrogate:
        """Of the cells; raises `InputError` for ideal ones."""
        if not isinstance(self.kind, Surrogate):
            raise InputError("ideal cells have no surrogate")
        return self.kind

    @property
    def drive(self) -> str:
        """The only input that is not held; raises `InputError` where there are others."""
        if len(self.drives) != 1:
            raise InputError(
                f"a crossbar programs by one input, the map {self.name} has {', '.join(self.drives) or 'none left'}",
                remedy="hold the others at a value",
            )
        return self.drives[0]

    @property
    def can_compile(self) -> bool:
        """Whether its events go without asking a reference for single ones."""
        return not isinstance(self.kind, Surrogate) or self.kind.policy != "ask"

    @property
    def shape(self) -> tuple[int, int]:
        """Inputs and outputs."""
        inputs, outputs = self.weight.shape
        return inputs, outputs

    @property
    def w(self) -> Array:
        """(inputs, outputs): the states of cells that have one; the first of several."""
        return self._first

    @property
    def pulses(self) -> int:
        """Programming pulses that moved a cell so far."""
        return int(self.counter[0])

    @pulses.setter
    def pulses(self, count: int) -> None:
        self.counter[0] = count

    def load(self, state: Mapping[str, Array] | Array) -> None:
        """Put every cell into a state, (inputs, outputs) as in the beginning."""
        given = state if isinstance(state, Mapping) else {next(iter(self.state)): state}
        for name, x in given.items():
            self.state[name][:] = x
        self.weight[:] = self._read(ALL)
        if self.watch is not None:
            self.watch.restart(self)

    def kept(self) -> tuple[dict[str, Array], NDArray[np.int64], Array]:
        """A copy of what rest changes: states, when each cell was touched, and weights."""
        return {name: x.copy() for name, x in self.state.items()}, self.touched.copy(), self.weight.copy()

    def put_back(self, kept: tuple[dict[str, Array], NDArray[np.int64], Array]) -> None:
        """The inverse of `kept`."""
        for name, x in kept[0].items():
            self.state[name][:] = x
        self.touched[:], self.weight[:] = kept[1:]

    def wired(self, wires: Wires, *, read_voltage: float = 0.0) -> Array:
        """(inputs, outputs) what weights without wires become where the cells are read through these, row by row or
        together: cells are as linear as their conductance says.

        With a ``read_voltage`` (V) each row is read alone, at that voltage and with all others at zero, and cells are
        what their device's current makes of them: a solve of the whole array per row. The loops add what rows give; of
        non-linear cells that is not what rows that are driven together give (`tests/network/test_wires.py` bounds it).
        """
        own = self.weight if self.wires is None else self._bare()
        if read_voltage == 0.0:
            return effective_conductance(own / self.gain * self.scale, wires) / self.scale * self.gain
        if self.mask is not None:
            raise InputError("cells that are not there cannot be read at a voltage", remedy="leave out read_voltage")
        surrogate, (m, n), found = self.surrogate, self.shape, np.empty(self.shape)
        current = cell_current(surrogate.map.device, Values(self.state), surrogate.values)
        for row in range(m):
            rows = np.zeros(m)
            rows[row] = read_voltage
            found[row] = solve_wired(current, wires, rows=rows, columns=np.zeros(n)).column_current
        return found / read_voltage / self.scale * self.gain

    def _bare(self) -> Array:
        """The weights as if the wires had no resistance."""
        kept, self.left = self.left, np.ones(self.left.shape)
        found = self._read(ALL)
        self.left = kept
        return found

    def see(self) -> None:
        """Solve the wires for the cells as they are: from now on a weight is its cell's times what the wires leave of
        it here, until the next call. Without wires nothing is done.
        """
        if self.wires is None:
            return
        own = self._bare()
        if not np.array_equal(own, self._solved):
            seen = self.wired(self.wires, read_voltage=self.read_voltage)
            self.left[:] = np.divide(seen, own, out=np.ones(self.shape), where=own != 0.0)
            self._solved = own
        self.weight[:] = own * self.left

    def program(self, column: int, drive: Array) -> None:
        """One event on the cells of one column, with ``drive`` (inputs,) on their rows: volts, as a rule."""
        self.touch((slice(None), column), {self.drive: np.asarray(drive, dtype=float)})
        self.require_domain()

    # -- events -------------------------------------------------------------------------------------------------------

    def at(self, name: str, index: Every) -> Array:
        """A state of some cells."""
        found: Array = self.state[name][index]
        return found

    def touch(
        self, index: Every, inputs: Mapping[str, Array], *, when: Array | None = None, now: int = 0, dt: float = 0.0
    ) -> None:
        """One event on the cells of ``index``, with ``inputs`` that broadcast to their shape; where ``when`` is false
        there is none. ``now`` counts time steps of ``dt`` (s).
        """
        if self.mask is not None:
            when = self.mask[index] if when is None else np.logical_and(when, self.mask[index])
        if isinstance(self.kind, Ideal) and not self.pair and when is None and self.grid is None:
            w, (rows, columns) = self._first, index
            by_row = columns is EACH and w.flags.c_contiguous  # which numpy has faster ways for
            cells = w.take(rows, axis=0) if by_row and isinstance(rows, np.ndarray) else w[index]
            w[rows if by_row else index] = self.kind.moved(cells, inputs["change"])
            if self.weight is not w:
                self.weight[index] = self._read(index)
            return
        if self.watch is not None:
            self.watch.note(self, index, inputs, when)
        self.relax(index, now=now, dt=dt, when=when)
        moved = None
        for suffix in ("", MINUS) if self.pair else ("",):
            before = {name: self.state[name + suffix][index] for name in self.fields}
            given = {name: inputs[name + suffix] if name + suffix in inputs else -inputs[name] for name in self.drives}
            u = {name: np.asarray(values, dtype=float) for name, values in given.items()}
            after = self._event(before, {**u, **self.held}, index)
            if self.grid is not None:
                name, low, step = self.grid
                after = {**after, name: np.floor((after[name] - low) / step + 0.5) * step + low}
            for name, x in after.items():
                new = x if when is None else np.where(when, x, before[name])
                if isinstance(self.kind, Surrogate):
                    changed = new != before[name]
                    moved = changed if moved is None or suffix else moved | changed
                self.state[name + suffix][index] = new
        if moved is not None:
            self.counter += np.count_nonzero(moved)
        if self.weight is not self.w:
            self.weight[index] = self._read(index)

    def relax(self, index: Every, *, now: int, dt: float, when: Array | None = None) -> None:
        """Let the cells of ``index`` rest from their last event until now, where ``when`` is true; cells that do not
        relax are left alone.
        """
        if not self.rests:
            return
        since = self.touched[index]
        since = since if when is None else np.where(when, since, now)
        gone: Array = np.asarray((now - since) * dt, dtype=np.float64)
        self.touched[index] = now if when is None else np.where(when, now, self.touched[index])
        if not np.any(gone > 0.0):
            return
        cells = self._cells(index)
        assert cells.rest_map is not None
        self._flag({}, {DURATION: gone})
        for suffix in ("", MINUS) if self.pair else ("",):
            x = Values({name: self.state[name + suffix][index] for name in self.fields})
            after, _ = cells.rest_map(x, Values({DURATION: gone}), cells.values)
            for name in self.fields:
                self.state[name + suffix][index] = np.where(gone > 0.0, after[name], x[name])
        self.weight[index] = self._read(index)

    def _cells(self, index: Every) -> Surrogate:
        """The surrogate of some cells; that of a column is kept."""
        kind = self.surrogate
        if not self.own:
            return kind
        rows, column = index
        if isinstance(rows, slice) and rows == slice(None) and isinstance(column, int | np.integer):
            if column not in self._selected:
                self._selected[int(column)] = kind.select(index)
            return self._selected[int(column)]
        return kind.select(index)

    def _event(self, x: Mapping[str, Array], u: Mapping[str, Array], index: Every) -> Mapping[str, Array]:
        if not isinstance(self.kind, Surrogate):
            return self.kind.event(Named(**x), Named(**u))
        cells = self._cells(index)
        if cells.policy == "ask":
            return cells.advance(Values(x), Values(u))
        self._flag(x, u)
        shapes = {values.shape for values in (*x.values(), *u.values())}
        shape = shapes.pop() if len(shapes) == 1 else np.broadcast_shapes(*shapes)
        if cells.kernel is not None:
            w, _ = cells.kernel.run(x[cells.kernel.state], u[cells.kernel.drive], shape=shape, energy=False)
            return {cells.kernel.state: w}
        return cells.whole(dict(x), dict(u), shape)[0]

    def _flag(self, x: Mapping[str, Array], u: Mapping[str, Array]) -> None:
        """Note a value outside the surrogate's domain, which is spoken of once, by `require_domain`."""
        for name, values in (*x.items(), *u.items()):
            low, high = self.limits[name]
            least, most = values.item(values.argmin()), values.item(values.argmax())  # faster than reducing
            if not (least >= low and most <= high):
                self.flags[name] = float(most if not most <= high else least)
                cells = np.broadcast_shapes(*(part.shape for part in (*x.values(), *u.values())))
                outside = values[(values < low) | (values > high)]
                row = self.beyond[list(self.limits).index(name)]
                row[0] += outside.size * np.prod(cells) / values.size
                row[1:] = outside.min(initial=row[1]), outside.max(initial=row[2])

    @property
    def extrapolated(self) -> dict[str, dict[str, float]]:
        """What was answered outside of the surrogate's domain so far, by the state or input: ``events`` of a cell, and
        ``from`` and ``to`` which value (SI)."""
        rows = zip(self.limits, self.beyond.tolist(), strict=True)
        return {name: dict(zip(("events", "from", "to"), row, strict=True)) for name, row in rows if row[0]}

    def require_domain(self) -> None:
        """Raises `DomainError`, or warns, where the surrogate was used outside its domain since it was last asked."""
        seen, self.flags = self.flags, {}
        if DURATION in seen:
            gone, allowed = np.asarray(seen.pop(DURATION)), self.limits[DURATION]
            complain(
                require_inside("duration of a rest", gone, allowed, unit="s"), kind="rest", policy=self.surrogate.policy
            )
        if seen:
            states, inputs = (
                {name: np.asarray(value) for name, value in seen.items() if (name in self.fields) == of_states}
                for of_states in (True, False)
            )
            self.surrogate.outside_domain(states, inputs)

    def _read(self, index: Every) -> Array:
        found = self._share("", index)
        if self.pair:
            found = found - self._share(MINUS, index)
        weight = np.array(found if self.gain == 1.0 else found * self.gain)
        if self.wires is not None:
            weight *= self.left[index]
        if self.mask is not None:
            weight[~self.mask[index]] = 0.0
        return weight

    def _share(self, suffix: str, index: Every) -> Array:
        x = {name: self.state[name + suffix][index] for name in self.fields}
        if not isinstance(self.kind, Surrogate):
            return x["w"]
        found: Array = self._cells(index).read(Values(x))[self.reading] / self.scale
        return found
