"""The registry of kinds of curves: a kind is an entry here and, if it is fitted, a file in `cosim.fitting.forwards`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class CurveKind:
    """What a kind of curve consists of.

    Args:
        columns: the columns that it has to have, each with the units that it may be in.
        measured: the column that a fit predicts.
        forward: module and class of the forward model, under `cosim.fitting.forwards`; "": such a curve is not fitted.
        applied: the column along which a misfit would show, beside the order of the rows; "": none.
        ordered: whether the order of the rows is that of time: a loop, a train.
        drawn: the column that a figure is drawn over, and its label; without a column, over the number of the row.
        quantity: what was measured, on a figure's axis.
        drives: units of further columns that it may have, one for each port that is driven; (): none.
    """

    columns: Mapping[str, tuple[str, ...]]
    measured: str
    forward: str
    applied: str = ""
    ordered: bool = False
    drawn: tuple[str, str] = ("", "pulse")
    quantity: str = "read conductance"
    drives: tuple[str, ...] = ()

    def wanted(self, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Its columns, and those of ``names`` that it may have besides, each with the units that it may be in."""
        return {**self.columns, **{name: self.drives for name in names if self.drives and name not in self.columns}}

    def role(self, column: str) -> str:
        """What a column is: "measured", "time", "order" (of pulses and their ramps) or "applied"."""
        known = {self.measured: "measured", "time": "time", "ramp": "order", "pulse": "order"}
        return known.get(column, "applied")


KINDS: Mapping[str, CurveKind] = MappingProxyType(
    {
        "pulse train": CurveKind(
            {"amplitude": ("V",), "read": ("S",)}, "read", "pulse_train:PulseTrainForward", "amplitude", True
        ),
        "equal pulses": CurveKind(
            {"ramp": ("1",), "pulse": ("1",), "polarity": ("1",), "read": ("S", "1")},
            "read", "equal_pulses:RampForward", drawn=("pulse", "pulse of the ramp"),
        ),
        "i-v": CurveKind(
            {"voltage": ("V",), "current": ("A",)},
            "current", "i_v:StaticForward", "voltage", drawn=("voltage", "voltage (V)"), quantity="current",
        ),
        "loop": CurveKind(
            {"time": ("s",), "voltage": ("V",), "current": ("A",)},
            "current", "loop:LoopForward", "voltage", True, drawn=("voltage", "voltage (V)"), quantity="current",
        ),
        "transient": CurveKind(
            {"time": ("s",), "voltage": ("V",), "current": ("A",)}, "current", "transient:TransientForward", "time",
            drawn=("time", "time (s)"), quantity="current", drives=("V", "K"),
        ),
        "step table": CurveKind(
            {"conductance": ("S",), "cdf": ("1",), "step": ("S",)},
            "step", "", "conductance", drawn=("conductance", "conductance (S)"), quantity="conductance step",
        ),
    }
)  # fmt: skip
