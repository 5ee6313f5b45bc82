"""Measured curves: what was applied, what was read, in which unit and under which conditions.

The kinds, each with the columns that it has to have (`cosim.fitting.kinds`):

* ``pulse train``: one row per programming pulse, in order. ``amplitude`` (V, signed, over the device; 0 means "only
  read") and ``read`` (S), the conductance of the whole cell at ``v_read`` after that pulse.
* ``equal pulses``: ramps of pulses of equal but unknown amplitude. ``ramp`` (number), ``pulse`` (pulses since the
  ramp's first read), ``polarity`` (+1 potentiates, −1 depresses) and ``read`` (S, or 1 where it is normalised).
* ``i-v``: a static curve, ``voltage`` (V) and ``current`` (A), whose order means nothing.
* ``loop``: ``time`` (s, increasing), ``voltage`` (V) and ``current`` (A) of a sweep that moves the state.
* ``step table``: ``conductance`` (S), ``cdf`` (1) and ``step`` (S): quantiles of the conductance step of one pulse.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cosim.devices.base import Array
from cosim.devices.pulse import PulseShape
from cosim.errors import DataError, UnknownName, Where
from cosim.fitting.kinds import KINDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

if TYPE_CHECKING:
    Kind = str
else:
    Kind = Literal[tuple(KINDS)]


@dataclass(frozen=True)
class Reading:
    """What was read of a file.

    Args:
        rows: number of rows in the curve, by record of the file.
        total: number of rows that those records have.
        lines: first and last line of the rows in the curve, by record.
        headers: line of each record's header; None where it has none.
        notes: what was left out and why, and what the recipe changed.
    """

    rows: tuple[int, ...]
    total: int
    lines: tuple[tuple[int, int], ...]
    headers: tuple[int | None, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = " and ".join(f"{first}–{last}" for first, last in self.lines)
        said = f"{sum(self.rows)} of {self.total} rows, lines {lines}"
        if len(self.rows) > 1:
            same = len(set(self.rows)) == 1
            sizes = f"{self.rows[0]} rows each" if same else f"{' and '.join(map(str, self.rows))} rows"
            said += f", {len(self.rows)} records of {sizes}"
        headers = [str(line) for line in self.headers if line is not None]
        where = f"header in line{'s' if len(headers) > 1 else ''} {' and '.join(headers)}" if headers else "no header"
        return "; ".join([f"{said}, {where}", *self.notes])

    def to_json(self) -> dict[str, Any]:
        """As plain values for `json.dumps`, with the sentence as ``text``."""
        return {**asdict(self), "text": str(self)}


@dataclass(frozen=True)
class Curve:
    """A measured curve (module docstring).

    Args:
        kind: which columns it has and what they mean.
        columns: 1-D arrays of one length, SI, finite.
        units: of each column.
        conditions: ``v_read`` (V), ``width``, ``rise``, ``fall`` (s) of a pulse; what a kind does not need is absent.
        source: file or paper.
        fingerprint: SHA-256 of the file, or of the columns where there is no file; made here when empty.
        lines: line of each row in its file, for messages; empty where there is no file.
        reading: what was read of the file; None where there is none.

    >>> import numpy as np
    >>> v = np.linspace(0.0, 0.2, 5)
    >>> curve = cosim.Curve("i-v", {"voltage": v, "current": 1e-4 * v}, {"voltage": "V", "current": "A"})
    >>> len(curve)
    5
    """

    kind: Kind
    columns: Mapping[str, Array]
    units: Mapping[str, str]
    conditions: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    source: str = ""
    fingerprint: str = ""
    lines: tuple[int, ...] = field(default=(), repr=False)
    reading: Reading | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownName("kind of curve", self.kind, KINDS)
        for name, allowed in KINDS[self.kind].columns.items():
            if name not in self.columns:
                raise DataError(f"a curve of kind {self.kind!r} needs a column {name!r}", where=self.where)
            if self.units.get(name) not in allowed:
                raise DataError(
                    f"column {name!r} is in {self.units.get(name)!r}",
                    where=self.where,
                    remedy=f"give {' or '.join(allowed)}",
                )
        frozen = {name: np.array(column, dtype=float) for name, column in self.columns.items()}
        lengths = {column.shape for column in frozen.values()}
        if len(lengths) != 1 or len(next(iter(lengths))) != 1:
            raise DataError("the columns differ in length", where=self.where, remedy="give one value per row")
        if next(iter(lengths)) == (0,):
            raise DataError("the curve has no rows", where=self.where)
        for name, column in frozen.items():
            bad = np.flatnonzero(~np.isfinite(column))
            if bad.size == column.size:
                raise DataError(
                    f"column {name!r} holds no number at all", where=self.where, remedy="check the column's name"
                )
            if bad.size:
                line = self.lines[bad[0]] if self.lines else int(bad[0]) + 1
                raise DataError(
                    f"{name!r} of row {line} is not finite", where=self.where, remedy="mend the row or leave it out"
                )
            column.setflags(write=False)
        object.__setattr__(self, "columns", MappingProxyType(frozen))
        object.__setattr__(self, "units", MappingProxyType(dict(self.units)))
        object.__setattr__(self, "conditions", MappingProxyType({k: float(v) for k, v in self.conditions.items()}))
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", self._hash())

    def _hash(self) -> str:
        digest = hashlib.sha256(self.kind.encode())
        for name, column in sorted(self.columns.items()):
            digest.update(name.encode() + column.tobytes())
        return digest.hexdigest()

    @property
    def where(self) -> Where | None:
        """The curve's source, for messages; None where it has none."""
        return Where(self.source) if self.source else None

    def __len__(self) -> int:
        return int(next(iter(self.columns.values())).size)

    def __getitem__(self, name: str) -> Array:
        try:
            return self.columns[name]
        except KeyError:
            raise UnknownName("column", name, self.columns) from None

    @property
    def measured(self) -> Array:
        """The column that a fit predicts; (n,)."""
        return self.columns[KINDS[self.kind].measured]

    @property
    def measured_unit(self) -> str:
        """Unit of `measured`."""
        return self.units[KINDS[self.kind].measured]

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

    def select(self, rows: NDArray[np.bool_]) -> Curve:
        """The rows where ``rows`` (n,) is true."""
        lines = tuple(np.asarray(self.lines)[rows].tolist()) if self.lines else ()
        columns = {name: column[rows] for name, column in self.columns.items()}
        return Curve(self.kind, columns, self.units, self.conditions, self.source, lines=lines, reading=self.reading)

    def with_measured(self, values: ArrayLike) -> Curve:
        """The same curve with another measured column: noise added, or a model's prediction; (n,), same unit."""
        columns = {**self.columns, KINDS[self.kind].measured: np.asarray(values, dtype=float)}
        return replace(self, columns=columns, fingerprint="")

    @classmethod
    def pulse_train(
        cls, amplitude: ArrayLike, read: ArrayLike, *, v_read: float, shape: PulseShape, source: str = ""
    ) -> Curve:
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
    ) -> Curve:
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
    def i_v(cls, voltage: ArrayLike, current: ArrayLike, *, source: str = "") -> Curve:
        """``voltage`` (n,) V over the device's only electrical port and ``current`` (n,) A into it."""
        columns = {"voltage": np.asarray(voltage, dtype=float), "current": np.asarray(current, dtype=float)}
        return cls("i-v", columns, {"voltage": "V", "current": "A"}, source=source)

    @classmethod
    def loop(cls, time: ArrayLike, voltage: ArrayLike, current: ArrayLike, *, source: str = "") -> Curve:
        """``time`` (n,) s, increasing, and a sweep as in `i_v`, in that order."""
        static = cls.i_v(voltage, current)
        columns = {"time": np.asarray(time, dtype=float), **static.columns}
        return cls("loop", columns, {"time": "s", **static.units}, source=source)

    def plot(self, ax: Axes | None = None) -> Axes:
        """The measured points."""
        from cosim.report.fit_figures import plot_curve

        return plot_curve(self, ax)
