"""The registry of kinds of curves: a kind is an entry here and, if it is fitted, a file in `cosim.fitting.forwards`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

# Of a measured column that names a quantity of the device: ``read_temperature``.
READ = "read_"
OF_A_DEVICE = ("S", "V", "A", "K", "1")


@dataclass(frozen=True)
class CurveKind:
    """What a kind of curve consists of.

    Args:
        columns: the columns that it has to have, each with the units that it may be in.
        measured: the column that a fit predicts.
        forward: module and class of the forward model, under `cosim.fitting.forwards`; "": a device alone has none.
        applied: the column along which a misfit would show, beside the order of the rows; "": every applied one.
        ordered: whether the order of the rows is that of time: a loop, a train.
        drawn: the column that a figure is drawn over, and its label; without a column, over the number of the row.
        quantity: what was measured, on a figure's axis.
        further: units of other columns that it may have, under names that belong to the device: its ports, for a
            table of steps also states and parameters; parameters alone for an i-v curve, for a pulse train also
            ``width``, ``rise`` and ``fall`` of each pulse; (): none.
        instead: columns of which one may take the place of the measured one, each with its units.
        named: units of a column ``read_NAME`` in the place of the measured one, where NAME is a quantity of the device;
            (): none.
        beside: columns that the usual measured one needs beside it, each with its units.
    """

    columns: Mapping[str, tuple[str, ...]]
    measured: str
    forward: str
    applied: str = ""
    ordered: bool = False
    drawn: tuple[str, str] = ("", "pulse")
    quantity: str = "read conductance"
    further: tuple[str, ...] = ()
    instead: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    named: tuple[str, ...] = ()
    beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def measured_of(self, names: Collection[str]) -> str:
        """Which of the columns ``names`` was measured; the usual one where none was."""
        named = [name for name in names if self.named and name.startswith(READ)]
        return next((n for n in (self.measured, *self.instead, *named) if n in names), self.measured)

    def required(self, names: Collection[str]) -> dict[str, tuple[str, ...]]:
        """The columns that it has to have, where it has ``names``, each with the units that it may be in."""
        usual, found = self.measured, self.measured_of(names)
        if found == usual:
            return {**self.columns, **self.beside}
        return {
            found if name == usual else name: self.instead.get(found, self.named) if name == usual else allowed
            for name, allowed in self.columns.items()
        }

    def wanted(self, names: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Its columns, and those of ``names`` that it may have besides, each with the units that it may be in."""
        required = self.required(names)
        return required | {name: self.further for name in names if self.further and name not in required}

    def role(self, column: str) -> str:
        """What a column is: "measured", "time", "order" (of pulses and their ramps) or "applied"."""
        if self.measured_of((column,)) == column:
            return "measured"
        return {"time": "time", **dict.fromkeys(("ramp", "pulse", "sequence"), "order")}.get(column, "applied")


# Units of parameters that differ from row to row, and of a pulse's times.
_PARAMETERS = ("V", "s", "K", "S", "Ohm", "A", "1/V", "1")
KINDS: Mapping[str, CurveKind] = MappingProxyType(
    {
        "pulse train": CurveKind(
            {"amplitude": ("V",), "read": ("S",)}, "read", "pulse_train:PulseTrainForward", "amplitude", True,
            further=_PARAMETERS,
        ),
        "equal pulses": CurveKind(
            {"ramp": ("1",), "pulse": ("1",), "polarity": ("1",), "read": ("S", "1")},
            "read", "equal_pulses:RampForward", drawn=("pulse", "pulse of the ramp"),
        ),
        "i-v": CurveKind(
            {"voltage": ("V",), "current": ("A",)},
            "current", "i_v:StaticForward", "voltage", drawn=("voltage", "voltage (V)"), quantity="current",
            further=_PARAMETERS,
        ),
        "loop": CurveKind(
            {"time": ("s",), "voltage": ("V",), "current": ("A",)},
            "current", "loop:LoopForward", "voltage", True, drawn=("voltage", "voltage (V)"), quantity="current",
        ),
        "transient": CurveKind(
            {"time": ("s",), "current": ("A",)}, "current", "transient:TransientForward", "time",
            drawn=("time", "time (s)"), quantity="current", further=("V", "K"), named=OF_A_DEVICE,
            beside={"voltage": ("V",)},
        ),
        "step table": CurveKind(
            {"step": ("S", "V", "1")}, "step", "step_table:StepForward", drawn=("", "row"), quantity="step",
            further=("S", "V", "K", "s", "1"), instead={"read": ("S", "V")},
        ),
        "events": CurveKind(
            {"read": ("S", "V")}, "read", "events:EventsForward", ordered=True, drawn=("", "event"), quantity="read",
            further=("S", "V", "K", "s", "1"), named=OF_A_DEVICE,
        ),
        "pulse pairs": CurveKind(
            {"delay": ("s",), "step": ("S", "V", "1")}, "step", "pulse_pairs:PairForward", "delay",
            drawn=("delay", "delay (s)"), quantity="step", further=("S", "V", "K", "s", "1"),
            instead={"read": ("S", "V")}, named=OF_A_DEVICE,
        ),
        "values": CurveKind(
            {"at": ("s", "V", "A", "Hz", "K", "1"), "value": ("V", "A", "S", "Ohm", "W", "J", "K", "s", "Hz", "1")},
            "value", "", "at", drawn=("at", "place"), quantity="value",
            further=("V", "A", "S", "K", "s", "1"),
        ),
        # Described by laws that belong to no device (`cosim.fitting.laws`); pairs of pulses by a device as well.
        "relaxation": CurveKind(
            {"time": ("s",), "read": ("S", "1", "K", "V", "A")}, "read", "", "time",
            drawn=("time", "time (s)"), quantity="read",
        ),
        "endurance": CurveKind(
            {"cycle": ("1",), "read": ("S", "1", "V", "A")}, "read", "", "cycle",
            drawn=("cycle", "cycle"), quantity="read",
        ),
        "paired pulses": CurveKind(
            {"interval": ("s",), "ratio": ("1", "S", "A", "V")}, "ratio", "pulse_ratio:RatioForward", "interval",
            drawn=("interval", "interval (s)"), quantity="ratio of the second response to the first",
        ),
        "stdp window": CurveKind(
            {"interval": ("s",), "change": ("1", "S", "A", "V")}, "change", "", "interval",
            drawn=("interval", "interval (s)"), quantity="change",
        ),
    }
)  # fmt: skip
