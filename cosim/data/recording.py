"""Measured recordings: what was applied, what was read, in which unit, under which conditions, and of which device.

The kinds, each with the columns that it has to have (`cosim.data.kinds`):

* ``pulse train``: one row per programming pulse, in order. ``amplitude`` (V, signed, over the device; 0 means "only
  read") and ``read`` (S), the conductance of the whole cell at ``v_read`` after that pulse.
* ``equal pulses``: ramps of pulses of equal but unknown amplitude. ``ramp`` (number), ``pulse`` (pulses since the
  ramp's first read), ``polarity`` (+1 potentiates, −1 depresses) and ``read`` (S, or 1 where it is normalised).
* ``i-v``: a static curve, ``voltage`` (V) and ``current`` (A), whose order means nothing.
* ``loop``: ``time`` (s, increasing), ``voltage`` (V) and ``current`` (A) of a sweep that moves the state.
* ``transient``: ``time``, ``voltage`` and ``current`` at one port of any device, and one for each other driven port.
* ``events``: one row per event or several equal ones, in order, and what was read (``read``) after it; columns as of a
  table of steps, with ``sequence`` and ``count`` (`cosim.fitting.forwards.events`).
* ``pulse pairs``: ``delay`` (s) of a postsynaptic pulse after a presynaptic one, and the ``step`` that the pair makes.
* ``step table``: one row per event, in any order: ``step``, the change of what the device reads (S or V, or 1 where it
  is relative to the start), or ``read`` (S or V), what it reads afterwards; with columns named after what they are of
  the device (`cosim.fitting.forwards.step_table`): where the event started, its inputs, its conditions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cosim.data.kinds import KINDS
from cosim.devices.base import Array
from cosim.devices.pulse import PulseShape
from cosim.errors import DataError, UnknownName, Where

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

    Kind = str
else:
    Kind = Literal[tuple(KINDS)]
Group = Literal["device", "cycle", "sweep"]
PULSES = ("pre", "post")


@dataclass(frozen=True)
class Reading:
    """What was read from a file.

    Args:
        rows: number of rows in the curve, by record of the file.
        total: number of rows that those records have.
        lines: first and last line of the rows in the curve, by record.
        headers: line of each record's header; None where it has none.
        notes: what was left out and why, and what the recipe changed.
        format: of the file; "" for plain text.
    """

    rows: tuple[int, ...]
    total: int
    lines: tuple[tuple[int, int], ...]
    headers: tuple[int | None, ...]
    notes: tuple[str, ...] = ()
    format: str = ""

    def __str__(self) -> str:
        lines = " and ".join(f"{first}–{last}" for first, last in self.lines)
        said = f"{sum(self.rows)} of {self.total} rows, lines {lines}"
        if len(self.rows) > 1:
            same = len(set(self.rows)) == 1
            sizes = f"{self.rows[0]} rows each" if same else f"{' and '.join(map(str, self.rows))} rows"
            said += f", {len(self.rows)} records of {sizes}"
        headers = [str(line) for line in self.headers if line is not None]
        where = f"header in line{'s' if len(headers) > 1 else ''} {' and '.join(headers)}" if headers else "no header"
        return "; ".join([f"{said}, {where}", *([f"read as {self.format}"] if self.format else []), *self.notes])

    def part(self, lines: Sequence[int], rows: int) -> Reading:
        """What was read of ``rows`` rows alone, which stand in ``lines`` (empty: not known)."""
        return replace(self, rows=(rows,), lines=((min(lines), max(lines)),) if lines else self.lines)

    def to_json(self) -> dict[str, Any]:
        """As plain values for `json.dumps`, with the sentence as ``text``."""
        return {**asdict(self), "text": str(self)}


class Recording:
    """A measured recording (module docstring); immutable.

    Args:
        kind: which columns it has and what they mean.
        columns: 1-D arrays of one length, SI, finite.
        units: of each column.
        conditions: ``v_read`` (V), ``width``, ``rise``, ``fall`` (s) of a pulse; what a kind does not need is absent.
        source: file or paper.
        fingerprint: SHA-256 of the file, or of the columns where there is no file; computed when empty.
        lines: line of each row in its file, for messages; empty where there is no file.
        reading: what was read from the file; None if it did not come from one.
        groups: of which device, cycle or sweep each row is; (n,) words each.
        pulses: the corners (s, V) of the ``pre`` and the ``post`` pulse of a pair, each with its own zero of time.

    Raises:
        UnknownName, DataError: an unknown kind, or a column that is missing, of another length or not finite.

    >>> import numpy as np
    >>> v = np.linspace(0.0, 0.2, 5)
    >>> curve = cosim.Curve("i-v", {"voltage": v, "current": 1e-4 * v}, {"voltage": "V", "current": "A"})
    >>> len(curve), curve.data["current"].attrs
    (5, {'units': 'A', 'role': 'measured'})
    """

    def __init__(
        self,
        kind: Kind,
        columns: Mapping[str, Array],
        units: Mapping[str, str],
        conditions: Mapping[str, float] = MappingProxyType({}),
        source: str = "",
        fingerprint: str = "",
        lines: Sequence[int] = (),
        reading: Reading | None = None,
        groups: Mapping[Group, Sequence[str]] = MappingProxyType({}),
        pulses: Mapping[str, Sequence[Sequence[float]]] = MappingProxyType({}),
    ) -> None:
        self.kind, self.source, self.reading = kind, source, reading
        self.lines: Sequence[int] = lines if isinstance(lines, range) else tuple(lines)  # a range of a large table
        if kind not in KINDS:
            raise UnknownName("curve kind", kind, KINDS)
        for name, allowed in KINDS[kind].required(columns).items():
            if name not in columns:
                raise DataError(f"a curve of kind {kind!r} needs a column {name!r}", where=self.where)
            if units.get(name) not in allowed:
                raise DataError(
                    f"column {name!r} is in {units.get(name)!r}",
                    where=self.where,
                    remedy=f"give {' or '.join(allowed)}",
                )
        arrays = {name: np.array(column, dtype=float) for name, column in columns.items()}
        lengths = {column.shape for column in arrays.values()} | {(len(labels),) for labels in groups.values()}
        if len(lengths) != 1 or len(next(iter(lengths))) != 1:
            raise DataError("the columns differ in length", where=self.where, remedy="give one value per row")
        if next(iter(lengths)) == (0,):
            raise DataError("the curve has no rows", where=self.where)
        for name, column in arrays.items():
            bad = np.flatnonzero(~np.isfinite(column))
            if bad.size == column.size:
                raise DataError(f"column {name!r} holds no numbers", where=self.where, remedy="check the column's name")
            if bad.size:
                line = self.lines[bad[0]] if self.lines else int(bad[0]) + 1
                raise DataError(
                    f"{name!r} of row {line} is not finite", where=self.where, remedy="correct the row or leave it out"
                )
            column.setflags(write=False)
        self.columns: Mapping[str, Array] = MappingProxyType(arrays)
        self.units = MappingProxyType({name: units[name] for name in arrays})
        self.conditions = MappingProxyType({name: float(value) for name, value in conditions.items()})
        self.groups = MappingProxyType({group: tuple(labels) for group, labels in groups.items()})
        self.pulses = MappingProxyType(
            {name: tuple((float(t), float(v)) for t, v in corners) for name, corners in pulses.items()}
        )
        self.fingerprint = fingerprint or self._hash()

    @cached_property
    def data(self) -> xarray.Dataset:
        """The recording along ``row``: a variable per column with ``units`` and ``role``, a coordinate per group."""
        import xarray

        role = KINDS[self.kind].role
        return xarray.Dataset(
            {n: ("row", c, {"units": self.units[n], "role": role(n)}) for n, c in self.columns.items()},
            {group: ("row", np.array(labels)) for group, labels in self.groups.items()},
            {"kind": self.kind, "source": self.source, **self.conditions, **self.pulses},
        )

    @classmethod
    def of(cls, data: xarray.Dataset) -> Recording:
        """The recording in a Dataset like that of `data`, however it was made."""
        attributes = dict(data.attrs)
        kind, source = attributes.pop("kind", ""), attributes.pop("source", "")
        columns = {str(name): column.values for name, column in data.data_vars.items()}
        units = {str(name): column.attrs.get("units", "") for name, column in data.data_vars.items()}
        groups = {group: data[group].values.astype(str).tolist() for group in get_args(Group) if group in data.coords}
        pulses = {name: attributes.pop(name) for name in PULSES if name in attributes}
        return cls(kind, columns, units, attributes, source, groups=groups, pulses=pulses)

    def with_(self, **changes: Any) -> Recording:
        """A copy with other arguments of the constructor."""
        names = [
            "kind",
            "columns",
            "units",
            "conditions",
            "source",
            "fingerprint",
            "lines",
            "reading",
            "groups",
            "pulses",
        ]
        return type(self)(**{name: getattr(self, name) for name in names} | changes)

    def _hash(self) -> str:
        digest = hashlib.sha256(self.kind.encode())
        for name, column in sorted(self.columns.items()):
            digest.update(name.encode() + column.tobytes())
        return digest.hexdigest()

    @property
    def where(self) -> Where | None:
        """The curve's source, for messages; None if it is unknown."""
        return Where(self.source) if self.source else None

    def __len__(self) -> int:
        return int(next(iter(self.columns.values())).size)

    def __getitem__(self, name: str) -> Array:
        try:
            return self.columns[name]
        except KeyError:
            raise UnknownName("column", name, self.columns) from None

    @property
    def measured_name(self) -> str:
        """Name of the column that a fit predicts."""
        return KINDS[self.kind].measured_of(self.columns)

    @property
    def measured(self) -> Array:
        """The column that a fit predicts; (n,)."""
        return self.columns[self.measured_name]

    @property
    def measured_unit(self) -> str:
        """Unit of `measured`."""
        return self.units[self.measured_name]

    def condition(self, name: str) -> float:
        """One condition (SI); raises `DataError` that says how to give it."""
        try:
            return self.conditions[name]
        except KeyError:
            raise DataError(
                f"a curve of kind {self.kind!r} needs the condition {name!r}",
                where=self.where,
                remedy=f"write {name} under [data.conditions]",
            ) from None

    @property
    def shape(self) -> PulseShape:
        """The programming pulse."""
        return PulseShape(
            self.condition("width"), rise=self.conditions.get("rise", 0.0), fall=self.conditions.get("fall", 0.0)
        )

    def select(self, rows: NDArray[np.bool_]) -> Recording:
        """The rows where ``rows`` (n,) is true."""
        return self.with_(
            lines=np.asarray(self.lines)[rows].tolist() if self.lines else (),
            columns={name: column[rows] for name, column in self.columns.items()},
            groups={group: np.asarray(labels)[rows].tolist() for group, labels in self.groups.items()},
            fingerprint="",
        )

    def parts(self) -> list[tuple[dict[Group, str], Recording]]:
        """One recording for each combination of its groups, in order of appearance, with their labels."""
        keys = list(zip(*self.groups.values(), strict=True)) if self.groups else [()] * len(self)
        chosen = {key: self.select(np.array([other == key for other in keys])) for key in dict.fromkeys(keys)}
        if self.reading is not None and len(chosen) > 1:
            chosen = {key: part.with_(reading=self.reading.part(part.lines, len(part))) for key, part in chosen.items()}
        return [(dict(zip(self.groups, key, strict=True)), part) for key, part in chosen.items()]

    def with_measured(self, values: ArrayLike) -> Recording:
        """The same recording with another measured column: noise added, or a model's prediction; (n,), same unit."""
        columns = {**self.columns, self.measured_name: np.asarray(values, dtype=float)}
        return self.with_(columns=columns, fingerprint="")

    @classmethod
    def pulse_train(
        cls, amplitude: ArrayLike, read: ArrayLike, *, v_read: float, shape: PulseShape, source: str = ""
    ) -> Recording:
        """``amplitude`` (n,) V of each pulse, ``read`` (n,) S after it; ``v_read`` in V."""
        return cls(
            "pulse train",
            {"amplitude": np.asarray(amplitude, dtype=float), "read": np.asarray(read, dtype=float)},
            {"amplitude": "V", "read": "S"},
            {"v_read": v_read, "width": shape.width, "rise": shape.rise, "fall": shape.fall},
            source,
        )

    @classmethod
    def equal_pulses(
        cls, ramps: Sequence[ArrayLike], *, polarity: Sequence[int], unit: str = "S", source: str = ""
    ) -> Recording:
        """One array of reads per ramp, the first of them before any pulse; ``polarity`` ±1 each."""
        reads = [np.asarray(ramp, dtype=float) for ramp in ramps]
        columns = {
            "ramp": np.concatenate([np.full(r.size, i, dtype=float) for i, r in enumerate(reads)]),
            "pulse": np.concatenate([np.arange(r.size, dtype=float) for r in reads]),
            "polarity": np.concatenate([np.full(r.size, s, dtype=float) for r, s in zip(reads, polarity, strict=True)]),
            "read": np.concatenate(reads),
        }
        return cls("equal pulses", columns, {"ramp": "1", "pulse": "1", "polarity": "1", "read": unit}, source=source)

    @classmethod
    def i_v(cls, voltage: ArrayLike, current: ArrayLike, *, source: str = "") -> Recording:
        """``voltage`` (n,) V over the device's only electrical port and ``current`` (n,) A into it."""
        columns = {"voltage": np.asarray(voltage, dtype=float), "current": np.asarray(current, dtype=float)}
        return cls("i-v", columns, {"voltage": "V", "current": "A"}, source=source)

    @classmethod
    def loop(cls, time: ArrayLike, voltage: ArrayLike, current: ArrayLike, *, source: str = "") -> Recording:
        """``time`` (n,) s, increasing, and a sweep as in `i_v`, in that order."""
        static = cls.i_v(voltage, current)
        columns = {"time": np.asarray(time, dtype=float), **static.columns}
        return cls("loop", columns, {"time": "s", **static.units}, source=source)

    def plot(self, ax: Axes | None = None) -> Axes:
        """The measured points."""
        from cosim.report.fit_figures import plot_curve

        return plot_curve(self, ax)


Curve = Recording  # the name that users know: most recordings are one curve
