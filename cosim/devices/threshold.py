r"""Threshold memristor of the VDSP synapse: TiO2, HfO2 and HZO-FTJ.

Source: arXiv 2510.25787 (Sec. 5.3) and the authors' published parameters; w in [0, 1], G/G_max = w (1 − 1/r) + 1/r.

**Published map**, per programming event (a 200 ns pulse of amplitude V), θ > 0::

    V < −θ_p:  Δw =  (1 − w)^γ_p · (exp(−α_p (V + θ_p)) − 1)
    V >  θ_n:  Δw = −f(w) · (exp(α_n (V − θ_n)) − 1),   f = w^γ_n, f = 1 for w <= 0.01

A negative voltage potentiates. `published_map` is this map, clipped to [0, 1].

**Rate law** (our choice). The map is read as the first Euler step of a drift over the event's length t_event::

    dw/dt = ( (1 − w)^γ_p · K_p(V) − w^γ_n · K_n(V) ) / t_event
    K_p = exp(α_p max(−V − θ_p, 0)) − 1,   K_n = exp(α_n max(V − θ_n, 0)) − 1

It has the map's thresholds, α and γ, and agrees with it to second order in the step: the relative difference is
γ Δw / (2 (1 − w)). Where the map's step is large against the distance to the bound, the map jumps onto the bound (it
is clipped there) while the rate law saturates within the pulse. f = 1 for w <= 0.01 is left out of the rate law: it
would drive w below zero. `advance` is the closed-form solution at constant voltage.

Numerical choices (ours): u^γ is replaced by u · EDGE^(γ−1) below u = EDGE, so that its slope is finite at the bound for
γ < 1; exponents are limited to 60.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cosim.devices.base import Array, Operand, Param, State, TwoTerminal, Values
from cosim.devices.reads import from_loop, from_pulse_train

if TYPE_CHECKING:
    from cosim.devices.maps import EventMap
    from cosim.devices.pulse import PulseCell, PulseShape

EDGE = 1e-6
EXPONENT_LIMIT = 60.0
GAMMA_STEP = 1e-12  # log1p(g s)/g at this g is s to rounding: the limit γ → 1 needs no branch
SOURCE = "arXiv 2510.25787"


def power_to_edge(u: Operand, gamma: Operand) -> Operand:
    """u^γ for u > EDGE, linear to zero below, zero for u <= 0; ``u`` and ``gamma`` are dimensionless and broadcast."""
    return np.maximum(u, EDGE) ** gamma * np.minimum(np.maximum(u, 0.0) / EDGE, 1.0)


def overdrive(excess: Operand, alpha: Operand) -> Operand:
    """K = exp(α · max(excess, 0)) − 1, the map's step at a distance 1 from the bound; ``excess`` in V, α in 1/V."""
    return np.expm1(np.minimum(alpha * np.maximum(excess, 0.0), EXPONENT_LIMIT))


def change(u: Operand, gamma: Operand, strength: Operand) -> Operand:
    """u(1) − u(0) <= 0 of du/dt = −strength · u^γ, u >= 0: closed form, exact at γ = 1 and beyond extinction (γ < 1).

    u(1) = u · (1 + (γ − 1) s)^(−1/(γ − 1)) with s = strength · u^(γ − 1); zero once the bracket is negative. The
    change is exactly 0 where ``strength`` is. Powers are written as 2^(y log2 u), which is faster than pow and as good.
    """
    (found,) = changes(u, gamma, (strength,))
    return found


def changes(u: Operand, gamma: Operand, strengths: Sequence[Operand]) -> list[Operand]:
    """`change` for each of several strengths, which share u^(γ − 1)."""
    g = gamma - 1.0
    if isinstance(g, float):
        g = g if abs(g) >= GAMMA_STEP else GAMMA_STEP
    else:
        g = np.where(np.abs(g) >= GAMMA_STEP, g, GAMMA_STEP)
    x = np.log2(np.maximum(u, EDGE)) * g
    power, found = np.exp2(x, out=_own(x)), []
    for strength in strengths:
        x = power * (g * strength)
        if not isinstance(g, float) or g < 0.0:
            x = np.maximum(x, -1.0, out=_own(x))
        with np.errstate(divide="ignore"):  # extinction is log 0: a factor exp(−inf)
            x = np.log1p(x, out=_own(x))
        x *= -1.0 / g
        x = np.expm1(x, out=_own(x))
        x *= u
        found.append(x)
    return found


def _own(x: Operand) -> Operand:
    """``x`` as the place for a result, None where it is a scalar: temporaries are used again, not allocated."""
    return x if isinstance(x, np.ndarray) else None


class ThresholdMemristor(TwoTerminal):
    """Voltage-threshold memristor with exponential overdrive and power-law saturation (module docstring)."""

    name = "threshold_memristor"
    title = "Threshold memristor (VDSP synapse)"
    source = SOURCE
    states = (State("w", "w0", (0.0, 1.0), description="normalised conductance state"),)
    params = (
        Param("theta_p", 1.4323, "V", (0.01, 20.0), "potentiation threshold (magnitude)", SOURCE, "drive"),
        Param("theta_n", 1.5643, "V", (0.01, 20.0), "depression threshold", SOURCE, "drive"),
        Param("alpha_p", 0.6790, "1/V", (1e-3, 50.0), "exponential slope of potentiation", SOURCE, "drive"),
        Param("alpha_n", 0.7637, "1/V", (1e-3, 50.0), "exponential slope of depression", SOURCE, "drive"),
        Param("gamma_p", 1.6796, "1", (0.0, 10.0), "non-linearity of potentiation", SOURCE, "drive"),
        Param("gamma_n", 1.5853, "1", (0.0, 10.0), "non-linearity of depression", SOURCE, "drive"),
        Param("ratio", 7.5, "1", (1.001, 1e6), "on/off ratio G_max/G_min", SOURCE, "range"),
        Param("g_max", 200e-6, "S", (1e-12, 1.0), "conductance at w = 1", role="range"),
        Param("t_event", 200e-9, "s", (1e-12, 1e3), "length of one programming event", SOURCE),
        Param("w0", 0.5, "1", (0.0, 1.0), "initial state"),
    )
    conventions = ("t_event",)
    elsewhere = tuple(
        {f"{stem}_{side}": factor for stem, factor in factors.items() for side in "pn"}
        for factors in (
            {"gamma": 0.5, "alpha": 1.5},
            {"gamma": 2.0, "alpha": 0.6},
            {"theta": 0.85},
            {"theta": 1.1, "gamma": 0.7},
        )
    )

    def conductance(self, x: Values, p: Values) -> Operand:
        """Conductance (S) in state ``x``: G_max (w (1 − 1/r) + 1/r)."""
        return p.g_max * (x.w * (1.0 - 1.0 / p.ratio) + 1.0 / p.ratio)

    def readout(self, x: Values, p: Values) -> Mapping[str, Operand]:
        """Conductance (S): ohmic, the same at every voltage."""
        return {"conductance": self.conductance(x, p)}

    def full_scales(self, p: Values) -> Mapping[str, float]:
        """G_max (S)."""
        return {"conductance": float(p.g_max)}

    def pulse_cell(self) -> PulseCell:
        """Its pulses in closed form."""
        from cosim.devices.pulse import PulseCell

        return PulseCell(self, self, bench="memristor_random_pulses")

    def maps(self, p: Values, *, shape: PulseShape | None = None) -> Mapping[str, EventMap]:
        """A pulse by the rate law, and as one event of the published map."""
        return self.pulse_cell().maps(p, shape=shape)

    def drive_level(self, p: Values) -> float:
        """1.7 times the larger threshold (V): steps of up to the full range."""
        return 1.7 * float(max(p.theta_p, p.theta_n))

    def current(self, v: Operand, x: Values, p: Values) -> Operand:
        """Current (A) at ``v`` (V): ohmic in the state."""
        return self.conductance(x, p) * v

    def drift(self, v: Operand, x: Values, p: Values) -> Mapping[str, Operand]:
        """dw/dt (1/s) at ``v`` (V): the rate law of the module docstring."""
        up = power_to_edge(1.0 - x.w, p.gamma_p) * overdrive(-v - p.theta_p, p.alpha_p)
        down = power_to_edge(x.w, p.gamma_n) * overdrive(v - p.theta_n, p.alpha_n)
        return {"w": (up - down) / p.t_event}

    def advance(self, v: Operand, x: Values, p: Values, *, duration: Operand) -> Values:
        """The states after ``duration`` (s) at constant ``v`` (V): the rate law's closed form.

        Only one polarity acts at a time, because both thresholds are positive.
        """
        events = duration / p.t_event
        up = overdrive(-v - p.theta_p, p.alpha_p) * events
        down = overdrive(v - p.theta_n, p.alpha_n) * events
        return Values({"w": self.advance_by(x.w, p, up=up, down=down)})

    def pulse(
        self, v: Operand, w: Operand, p: Values, *, shape: PulseShape, polarity: int = 0
    ) -> tuple[Operand, Operand]:
        """One programming pulse: the state after it, and its energy (J); see `pulse.apply_pulse`."""
        from cosim.devices.pulse import apply_pulse

        return apply_pulse(self, p, v=v, w=w, shape=shape, polarity=polarity)

    def guess(self, kind: str, columns: Mapping[str, Array], *, rows: NDArray[np.bool_], p: Values) -> dict[str, float]:
        """Range, initial state and thresholds from the reads of a pulse train, or from a loop in time."""
        if kind == "loop":
            t, v, current = (columns[name][rows] for name in ("time", "voltage", "current"))
            return from_loop(t, v, current, event=float(p.t_event))
        return from_pulse_train(columns["amplitude"], columns["read"], rows) if kind == "pulse train" else {}

    def advance_by(self, w: Operand, p: Values, *, up: Operand, down: Operand) -> Operand:
        """The state after a drive whose overdrive integrals ∫K dt/t_event are ``up`` and ``down`` (dimensionless)."""
        (found,) = self.along(w, p, up=up, down=down, shares=(1.0,))
        return found

    def along(
        self, w: Operand, p: Values, *, up: Operand, down: Operand, shares: Sequence[float], polarity: int = 0
    ) -> list[Operand]:
        """`advance_by` for each of several ``shares`` of the drive.

        ``polarity``: −1 where nothing depresses and +1 where nothing potentiates; the other integral is not looked at.
        """
        if polarity < 0:
            return [w - moved for moved in changes(1.0 - w, p.gamma_p, [up * share for share in shares])]
        if polarity > 0:
            return [w + moved for moved in changes(w, p.gamma_n, [down * share for share in shares])]
        negative = up > 0.0
        u, gamma = np.where(negative, 1.0 - w, w), np.where(negative, p.gamma_p, p.gamma_n)
        drive: Operand = np.where(negative, up, down)
        moves = changes(u, gamma, [drive * share for share in shares])
        return [np.where(negative, w - moved, w + moved) for moved in moves]

    def depress(self, w: Operand, p: Values, *, down: Operand) -> Operand:
        """`advance_by` where nothing potentiates."""
        return w + change(w, p.gamma_n, down)

    def published_rise(self, w: Operand, p: Values, *, up: Operand) -> Operand:
        """The state after one event of the published map with the overdrive K = ``up`` of potentiation."""
        return np.minimum(w + np.maximum(1.0 - w, 0.0) ** p.gamma_p * up, 1.0)

    def published_fall(self, w: Operand, p: Values, *, down: Operand) -> Operand:
        """The state after one event of the published map with the overdrive K = ``down`` of depression."""
        f = np.maximum(np.maximum(w, 0.0) ** p.gamma_n, w <= 0.01)  # f <= 1, so this is f = 1 for w <= 0.01
        return np.maximum(w - f * down, 0.0)

    def published_map(self, v: Operand, w: Operand, p: Values) -> Operand:
        """The state after one event of amplitude ``v`` (V) by the published map, clipped to [0, 1]."""
        up = overdrive(-v - p.theta_p, p.alpha_p)
        down = overdrive(v - p.theta_n, p.alpha_n)
        return np.where(up > 0.0, self.published_rise(w, p, up=up), self.published_fall(w, p, down=down))
