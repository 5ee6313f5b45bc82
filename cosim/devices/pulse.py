"""Programming pulses on a threshold memristor, alone or in a cell: the event-level map that fits and surrogates use.

Within a pulse the state moves by the memristor's closed form, driven by the overdrive integral of the pulse's own
waveform. What the closed form does not know, the drop on a series element that changes with the state, is taken at the
pulse's start, middle and end (Kutta's third-order rule in what moves evenly with that integral; our choice).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from cosim.devices.base import Operand, TwoTerminal, Values
from cosim.devices.threshold import ThresholdMemristor, overdrive
from cosim.errors import InputError

if TYPE_CHECKING:
    from cosim.devices.maps import EventMap


@dataclass(frozen=True)
class PulseShape:
    """A trapezoid: ``width`` of the flat top, ``rise`` and ``fall`` of its linear edges, all in s (SPICE's PULSE).

    Where the pulses of a train differ, arrays of one value per pulse stand in for the numbers.
    """

    width: float = 200e-9
    rise: float = 5e-9
    fall: float = 5e-9

    def __post_init__(self) -> None:
        for name in ("width", "rise", "fall"):
            if not np.all(np.asarray(getattr(self, name)) >= 0.0):
                least = np.min(getattr(self, name))
                raise InputError(f"pulse {name} = {least} s is negative", remedy="give a time >= 0")

    @property
    def edges(self) -> float:
        """Rise and fall together (s)."""
        return self.rise + self.fall

    @property
    def energy_time(self) -> float:
        """∫(v/top)² dt (s): how long the top alone would take to give an ohmic element the pulse's energy.

        A linear edge counts for a third of its length.
        """
        return self.width + self.edges / 3.0


def full_scale(p: Values) -> float:
    """The full scale of a conductance, G_max (S): what read noise and errors are shares of (our choice)."""
    return float(p.g_max)


class Series(Protocol):
    """The voltage that reaches the memristor: ``v``, ``w`` broadcast; V."""

    def __call__(self, v: Operand, w: Operand, p: Values) -> Operand:
        """V on the memristor with ``v`` (V) over the series."""
        ...


def overdrive_integral(v: Operand, p: Values, *, theta: Operand, alpha: Operand, shape: PulseShape) -> Operand:
    """∫K dt / t_event over a pulse whose top puts ``v`` >= 0 (V) on the memristor; dimensionless.

    The flat top contributes K·width; each edge, on which the voltage is linear in time,
    ∫K = (K/α − (v − θ)) / v per second of the edge.
    """
    excess = np.maximum(v - theta, 0.0)
    k = overdrive(excess, alpha)
    edges = shape.edges * (k / alpha - excess) / np.maximum(v, theta)
    return (k * shape.width + edges) / p.t_event


def drive(v: Operand, p: Values, *, shape: PulseShape, polarity: int = 0) -> tuple[Operand, Operand]:
    """The overdrive integrals (potentiation, depression) of a pulse with ``v`` (V, signed) on the memristor.

    ``polarity`` as in `apply_pulse`: the integral of the other one is 0.
    """
    up, down = 0.0, 0.0
    if polarity <= 0:
        against = np.maximum(-v, 0.0) if polarity == 0 else -v
        up = overdrive_integral(against, p, theta=p.theta_p, alpha=p.alpha_p, shape=shape)
    if polarity >= 0:
        along = np.maximum(v, 0.0) if polarity == 0 else v
        down = overdrive_integral(along, p, theta=p.theta_n, alpha=p.alpha_n, shape=shape)
    return up, down


def advance(
    memristor: ThresholdMemristor,
    p: Values,
    *,
    v: Operand,
    w: Operand,
    shape: PulseShape,
    shares: Sequence[float] = (1.0,),
    polarity: int = 0,
) -> list[Operand]:
    """The states after ``shares`` of a pulse that puts ``v`` (V) on the memristor; ``polarity`` as in `apply_pulse`."""
    up, down = drive(v, p, shape=shape, polarity=polarity)
    return memristor.along(w, p, up=up, down=down, shares=shares, polarity=polarity)


def apply_pulse(
    memristor: ThresholdMemristor,
    p: Values,
    *,
    v: Operand,
    w: Operand,
    shape: PulseShape,
    series: Series | None = None,
    polarity: int = 0,
) -> tuple[Operand, Operand]:
    """One pulse of amplitude ``v`` (V) on memristors in state ``w``: the states after it and the energy taken (J).

    ``v``, ``w`` and the parameters broadcast. ``series`` gives the voltage that reaches the memristor; None: all of it,
    and the map is exact. ``polarity`` is −1 where every ``v`` < 0 and +1 where every ``v`` > 0: the other polarity is
    then not computed; 0 is any mixture.
    """
    if series is None:
        middle, after = advance(memristor, p, v=v, w=w, shape=shape, shares=(0.5, 1.0), polarity=polarity)
        mean = (w + 4.0 * middle + after) / 6.0  # Simpson's rule over the pulse
        return after, v * memristor.current(v, Values({"w": mean}), p) * shape.energy_time

    def stage(x: Operand) -> tuple[tuple[Operand, Operand], Operand]:
        """The overdrive integrals and the power (W) of a whole pulse in the state ``x``."""
        on_device = series(v, x, p)
        power = v * memristor.current(on_device, Values({"w": x}), p)
        return drive(on_device, p, shape=shape, polarity=polarity), power

    def moved(drives: Sequence[Operand], share: float) -> Operand:
        (found,) = memristor.along(w, p, up=drives[0], down=drives[1], shares=(share,), polarity=polarity)
        return found

    start, first = stage(w)
    middle, second = stage(moved(start, 0.5))
    # held at zero: where the drop grows so fast that the drive halves, the rule would go backwards
    ahead = [np.maximum(2.0 * two - one, 0.0) for one, two in zip(start, middle, strict=True)]
    end, third = stage(moved(ahead, 1.0))
    mean = [(one + 4.0 * two + three) / 6.0 for one, two, three in zip(start, middle, end, strict=True)]
    return moved(mean, 1.0), (first + 4.0 * second + third) / 6.0 * shape.energy_time


def event(memristor: ThresholdMemristor, p: Values, *, v: Operand, w: Operand, polarity: int = 0) -> Operand:
    """The state after one event of the published map with ``v`` (V) on the memristor; ``polarity`` as below."""
    if polarity < 0:
        return memristor.published_rise(w, p, up=overdrive(-v - p.theta_p, p.alpha_p))
    if polarity > 0:
        return memristor.published_fall(w, p, down=overdrive(v - p.theta_n, p.alpha_n))
    return memristor.published_map(v, w, p)


def apply_event(
    memristor: ThresholdMemristor,
    p: Values,
    *,
    v: Operand,
    w: Operand,
    shape: PulseShape,
    series: Series | None = None,
    polarity: int = 0,
) -> tuple[Operand, Operand]:
    """One pulse taken as one event of the published map, which knows no waveform: as `apply_pulse`.

    The map is the first Euler step of the event, so the drop on ``series`` is that at its start. ``shape`` enters the
    energy only.
    """
    v_device = v if series is None else series(v, w, p)
    after = event(memristor, p, v=v_device, w=w, polarity=polarity)
    power = v * memristor.current(v_device, Values({"w": 0.5 * (w + after)}), p)
    return after, power * shape.energy_time


Law = Literal["rate", "published"]
LAWS: tuple[Law, ...] = ("rate", "published")


@dataclass(frozen=True)
class PulseCell:
    """A device whose programming pulse has a closed form: a threshold memristor, alone or behind a series element.

    Args:
        device: what is pulsed as a whole.
        memristor: the part of it that moves; its state ``w`` is the device's only one.
        series: the voltage that reaches the memristor; None: all of it.
        bench: name of the shipped bench that pulses the device; its stimulus is ``bl``, its memristor ``memristor``.
        threshold_names: of the parameters that `thresholds` gives.
    """

    device: TwoTerminal
    memristor: ThresholdMemristor
    series: Series | None = None
    bench: str = ""
    threshold_names: tuple[str, str] = ("theta_p", "theta_n")

    def thresholds(self, p: Values) -> tuple[Operand, Operand]:
        """Voltages (V, magnitudes) on the memristor below which nothing moves: negative, positive."""
        return p.theta_p, p.theta_n

    def reach(self, p: Values, *, step: float) -> tuple[Operand, Operand]:
        """Voltages (V, magnitudes) on the memristor with an overdrive K of ``step``: negative, positive."""
        return p.theta_p + np.log1p(step) / p.alpha_p, p.theta_n + np.log1p(step) / p.alpha_n

    def ends(self, p: Values) -> tuple[Operand, Operand]:
        """Conductances (S) at the ends of the memristor's range: upper, lower."""
        return p.g_max, p.g_max / p.ratio

    def with_ends(self, upper: Operand, lower: Operand) -> Mapping[str, Operand]:
        """The parameters of a memristor with these conductances (S) at the ends of its range."""
        return {"g_max": upper, "ratio": upper / lower}

    def compressed(self, p: Values, share: float) -> Mapping[str, float]:
        """The parameters with which a pulse has the effect of one that takes ``share`` of the time, edges and all."""
        return {"t_event": float(p.t_event) / share}

    def voltage(self, v: float, p: Values, *, w: float = 0.5) -> float:
        """The voltage (V) over the device that puts ``v`` on the memristor in state ``w``; raises `InputError`."""
        if self.series is None or v == 0.0:
            return v
        from scipy.optimize import brentq

        series, sign = self.series, -1.0 if v < 0.0 else 1.0

        def missing(u: float) -> float:
            return float(series(sign * u, w, p)) * sign - abs(v)

        high = 2.0 * abs(v)
        while missing(high) < 0.0:
            high *= 2.0
            if high > 1e3:
                raise InputError(
                    f"no voltage over the cell puts {v:g} V on its memristor: the access transistor saturates",
                    remedy="take a wider transistor or a lower conductance",
                )
        root: float = brentq(missing, abs(v), high)
        return sign * root

    def maps(self, p: Values, *, shape: PulseShape | None = None) -> Mapping[str, EventMap]:
        """One event map per law: ``pulse`` and ``published``."""
        from cosim.devices.maps import pulse_map

        ends = [self.voltage(sign * float(v), p) for sign, v in zip((-1, 1), self.reach(p, step=1.0), strict=True)]
        negative, positive = (float(v) for v in self.thresholds(p))
        found = {}
        for name, law in (("pulse", LAWS[0]), ("published", LAWS[1])):
            pulse = ClosedPulse(self, law, shape or PulseShape())
            made = pulse_map(
                self.device, p, name=name, shape=pulse.shape, closed=pulse.whole, ranges={"pn": (ends[0], ends[1])}
            )
            amplitude = replace(made.inputs["amplitude"], still=(-negative, positive))
            found[name] = replace(made, pulse=pulse, inputs={"amplitude": amplitude})
        return found


@dataclass(frozen=True)
class ClosedPulse:
    """One pulse of a cell, whole or by polarity: what no threshold lets through need not be computed."""

    cell: PulseCell
    law: Law
    shape: PulseShape

    def whole(self, x: Values, u: Values, p: Values) -> tuple[Mapping[str, Operand], Mapping[str, Operand]]:
        """The states after a pulse and its outputs, as an event map's closed form."""
        w, energy = self.part(u.amplitude, x.w, p)
        return {"w": w}, {**self.cell.device.readout(Values({"w": w}), p), "energy": energy}

    def part(
        self, v: Operand, w: Operand, p: Values, *, polarity: int = 0, energy: bool = True
    ) -> tuple[Operand, Operand]:
        """The state after a pulse of ``v`` (V) and its energy (J), None where ``energy`` is not asked for.

        ``polarity`` as in `apply_pulse`. The published law takes the pulse as one event (`apply_event`).
        """
        memristor, series, shape = self.cell.memristor, self.cell.series, self.shape
        if self.law == "published":
            if energy:
                return apply_event(memristor, p, v=v, w=w, shape=shape, series=series, polarity=polarity)
            over = v if series is None else series(v, w, p)
            return event(memristor, p, v=over, w=w, polarity=polarity), None
        if energy or series is not None:
            return apply_pulse(memristor, p, v=v, w=w, shape=shape, series=series, polarity=polarity)
        return advance(memristor, p, v=v, w=w, shape=shape, polarity=polarity)[0], None

    def still(self, v: Operand, w: Operand, p: Values) -> Operand:
        """The energy (J) of a pulse that moves nothing."""
        over = v if self.cell.series is None else self.cell.series(v, w, p)
        return v * self.cell.memristor.current(over, Values({"w": w}), p) * self.shape.energy_time
