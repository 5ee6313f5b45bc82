"""The description of a measured file: which column is which quantity, in which unit, under which conditions."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, model_validator

from cosim import units
from cosim.data.recording import Group, Kind
from cosim.errors import InputError, UnitError, UnknownName, at
from cosim.schema import Table

CONDITIONS: Mapping[str, str] = {"v_read": "V", "width": "s", "rise": "s", "fall": "s"}
Quantities = dict[str, str | float]


class ColumnSpec(Table):
    """Which column of the file it is (its header, or its number from 1) and the unit of its numbers.

    The unit may stand in the file's header instead, in brackets; where it stands in both, both have to agree.

    Args:
        name: its header, with or without the unit, or its number from 1.
        unit: of its numbers, where the header does not state it.
        sign: -1 turns the sign of its numbers: of a current that is counted out of the device, as SPICE's ``i(v1)``
            is, or of pulses whose polarity is the opposite of the model's. Without it the numbers are taken as they
            are, and a curve whose sign contradicts the model is refused; 1 takes them as they are in any case.
        shift: rows by which its numbers are moved up: 1 where a row holds the value read before its pulse. Without it
            they stay where they are, and reads that follow another row's pulse are refused; 0 leaves them in any case.
    """

    name: str | int
    unit: str = ""
    sign: Literal[1, -1] | None = None
    shift: int | None = None


class DataSpec(Table):
    """Where the curve is and what its columns mean.

    Args:
        kind: which columns there are and what they mean.
        file: of the curve, from the recipe's folder.
        dataset: a named curve in place of a file (``cosim datasets``).
        reader: ``table`` (a column per quantity), ``ramps`` (a column per ramp), ``steps`` (CrossSim's tables of
            steps), ``mean steps`` (their mean at each conductance).
        format: of the file, which is otherwise told by its content.
        columns: which column is which quantity.
        groups: columns whose text says of which ``device``, ``cycle`` or ``sweep`` a row is.
        conditions: ``v_read``, ``width``, ``rise``, ``fall`` of the pulses, with units: ``"200 ns"``.
        pulses: of pairs: the corners of the ``pre`` and the ``post`` pulse, each with its own zero of time:
            ``pulses.post = [["0 ms", "0 V"], ["2 ms", "1.5 V"], ["4 ms", "0 V"]]``.
        polarity: of equal pulses: 1 where a ramp potentiates, -1 where it depresses; one for all ramps, or one each.
        compliance: the instrument's limit, with a unit: values that reach it are clipped, not measured. ``"none"``
            where equal values at an end of the range are the device's own; without it they are taken for a limit.
        missing: cells that stand for a missing reading, e.g. ``["OVLD", "-"]``: their rows are left out and
            listed. A pulse train may miss rows at its ends only.
        header: line of the header, where it is not found; the rows begin below it.
        record: of several tables in one file: its number from 1, the name of its sheet, group or test, or ``"all"``
            of them in order. Without it those of kind ``i-v`` are read together as long as they agree, and any other
            kind is refused.
        rows: first and last line of the file that are read, or several such pairs.
        where: which rows are read: comparisons of a column with a value, joined by ``and``, as in
            ``"cell == 1452 and V > 0.1 V"``.
        sequence: the column whose numbers give the order of the rows.
        mask: rows that are left out wherever they stand, and counted: ``nan`` (a cell that is read is empty or not a
            number), ``compliance`` (the measured value has reached ``compliance``). A pulse train may miss rows at its
            ends only.
        decimal: the decimal sign, ``"."`` or ``","``, where the numbers leave it open.
    """

    kind: Kind
    file: str | None = None
    dataset: str | None = None
    reader: str = "table"
    format: str = "auto"
    columns: dict[str, ColumnSpec] = Field(default_factory=dict)
    groups: dict[Group, str | int] = Field(default_factory=dict)
    conditions: Quantities = Field(default_factory=dict)
    pulses: dict[Literal["pre", "post"], tuple[tuple[str | float, str | float], ...]] = Field(default_factory=dict)
    polarity: Literal[1, -1] | tuple[Literal[1, -1], ...] = 1
    compliance: str | float | None = None
    missing: tuple[str | float, ...] = ()
    header: int | None = None
    record: int | str | None = None
    rows: tuple[int, int] | tuple[tuple[int, int], ...] | None = None
    where: str | None = None
    sequence: str | int | None = None
    mask: tuple[Literal["nan", "compliance"], ...] = ()
    decimal: Literal[".", ","] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> DataSpec:
        if self.file is not None and self.dataset is not None:
            raise ValueError("give file or dataset, not both")
        if "compliance" in self.mask and self.compliance in (None, "none"):
            raise ValueError("mask 'compliance' needs the limit: write compliance under [data]")
        if self.where is not None:
            from cosim.data import select

            select.parse(self.where)
        return self

    @property
    def clipping(self) -> str | float | None:
        """``compliance`` where values at it are clipped, None where they are left out."""
        return None if "compliance" in self.mask else self.compliance

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """``rows`` as pairs; () for all."""
        given: Any = self.rows or ()
        return (given,) if given and isinstance(given[0], int) else given

    def resolved_conditions(self, *place: str) -> dict[str, float]:
        """The conditions in SI, which stand at a ``place`` of the recipe; raises `UnknownName`, `UnitError`."""
        found = {}
        for name, value in self.conditions.items():
            with at(*(place or ("data", "conditions")), name):
                if name not in CONDITIONS:
                    raise UnknownName("condition", name, CONDITIONS)
                found[name] = units.parse(value, CONDITIONS[name])
        return found

    def resolved_pulses(self) -> dict[str, list[tuple[float, float]]]:
        """The corners of each pulse of a pair (s, V); raises `UnitError`, and `InputError` where their times fall."""
        found: dict[str, list[tuple[float, float]]] = {}
        for name, corners in self.pulses.items():
            for value in (value for corner in corners for value in corner):
                if isinstance(value, float) and value:  # zero needs no unit
                    raise UnitError(f"{value:g} of pulses.{name} has no unit", remedy='write e.g. ["1 ms", "2 V"]')
            found[name] = [(units.parse(t, "s"), units.parse(v, "V")) for t, v in corners]
            times = [t for t, _ in found[name]]
            if len(times) < 2 or any(late < early for early, late in pairwise(times)):
                raise InputError(
                    f"pulses.{name} needs at least two corners, in order of time",
                    remedy='write them as [["0 ms", "0 V"], ["1 ms", "2 V"], ["2 ms", "0 V"]]',
                )
        return found
