r"""Thermal ReRAM: a filamentary memristor under a resistive heater, whose update grows with its own temperature.

Source: arXiv 2411.18272 (thermal neo-Hebbian synapse), Eq. 27, Table 2 and Secs. 3.1, 7.3, 7.5. The weight is the
conductance, the eligibility trace is the temperature.

**Published surface**, per programming pulse of fixed amplitude and 280 µs (SET 0.85 V, RESET −1.05 V)::

    ΔG/G0 = a · exp(b g0) · θ^(c · exp(d g0))

The source contradicts itself here. With T in kelvin or G0 in µS its a, b, c, d give impossible steps; read as
θ = (T − T_ref)/T_full, a normalised rise, and g0 = (G0 − G_min)/(G_max − G_min), a fraction of the range, they give
sensible ones. The printed SET b = +2.216 contradicts its text, by which the SET step is largest near the lowest
conductance; b = −2.216 agrees. The default is −2.216; the parameter set ``printed`` has the other sign. What the rise
T_full is that makes θ = 1 is not stated: `full_scale_rise` is our choice.

**Rate law** (our choice). The surface is a map, G → G (1 ± h) with h = ΔG/G0, in one pulse of t_pulse. In y = ln G it
is y → y + δ(y) with δ = ln(1 ± h); a drift that does so in one unit of time is, where δ is affine in y, exactly
δ · ln(1 + δ')/δ', which is taken everywhere, its second factor as the Padé approximant φ(s) = (1 + s/6)/(1 + 2s/3)::

    d ln G/dt = [δ_set φ(δ'_set) S_set(v) + δ_reset φ(δ'_reset) S_reset(v)] / t_pulse
    S(v) = sinh(|v|/v_0) / sinh(v_p/v_0)  for the polarity that it belongs to, 0 for the other

One published pulse then gives the surface within 0.03 % (SET) and 8 % (RESET, median 0.8 %). Near θ = 1 and the top of
the range the RESET surface is not monotonic: a pulse ends lower from a higher G0, which no drift does; δ' is held at
−0.9 there. v_0 follows from two points of the source: 280 µs at v_p, and 10 ns at the 1.7 V that it projects,
v_0 = (1.7 V − v_p)/ln(280 µs/10 ns). Eq. 27 knows no bound; within ``fade`` of the range's ends the step is scaled down
linearly to zero (our choice).

**Heat.** The heater's power P = v_h²/R and, by ``self_heating``, a share of the cell's own raise the filament through
two poles. The fast one is local, the slow one is the cell's volume, which exchanges heat through the thermal port::

    d(rise_fast)/dt = (r_fast P − rise_fast)/tau_fast
    d(rise_slow)/dt = (r_slow P + contact (T_port − rise_slow) − rise_slow)/tau_slow
    T = T_amb + rise_fast + rise_slow
    T_heater = T + r_rod v_h²/R

The heater's rod is the hotter by what drops on the way to the filament: in the heat equation 85 % of that is there
after 0.1 ns, so that it has no pole (inner node ``heater_rise``, over ambient). The ratio of both rises is the source's
self-coupling.

``self_heating`` is 0 because Eq. 27's T is the *ambient* temperature of cells that took 0.85 V or −1.05 V, and v_0
comes from its 10 ns at 1.7 V: whatever the write pulse's own heat does is in a, b, c, d and v_0 already, and 1 counts
it twice (`netlists/1t1h1m_phases.toml` shows both).

``contact`` is the port's conductance in units of 1/r_slow: large, so that an open port sits at rise_slow. Links between
the ports of neighbours (`thermal_link`) are crosstalk. ``r_fast`` = 0 leaves the single pole of Eqs. 23 and 24.

**Conductance.** G(T) = G (1 + α (T − T_ref)). The source gives α in µS/K and uses it as a relative coefficient (1/K);
relative is built. Ohmic in the voltage (our choice).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from cosim.devices.base import DeviceModel, Inner, Operand, Param, Port, State, Values
from cosim.devices.integrate import Segment
from cosim.devices.maps import EventMap, Field, event_map, pulse_map, rest_map

if TYPE_CHECKING:
    from cosim.devices.pulse import PulseShape
from cosim.devices.threshold import EDGE

SOURCE = "arXiv 2411.18272"
SINH_LIMIT = 60.0
LARGEST_FALL = 0.99  # of G per pulse: ln(1 − h) ends there
STEEPEST = -0.9  # of δ': at −1 the surface stops being a flow's


def _slope(v_pulse: float) -> float:
    """v_0 (V) from 280 µs at ``v_pulse`` and 10 ns at the source's projected 1.7 V."""
    return (1.7 - v_pulse) / math.log(280e-6 / 10e-9)


class ThermalReram(DeviceModel):
    """ReRAM cell with a heater on one thermal node (module docstring)."""

    name = "thermal_reram"
    title = "Thermal ReRAM with heater (neo-Hebbian synapse)"
    source = SOURCE
    ports = (
        Port("cell", ("p", "n")),
        Port("heater", ("h1", "h2")),
        Port("heat", ("t", "amb"), nature="thermal"),
    )
    states = (
        State("w", "w0", (0.0, 1.0), description="conductance as a fraction of the range"),
        State("rise_fast", "rise_fast0", (-300.0, 1e4), "K", "rise of the filament over its cell's volume"),
        State("rise_slow", "rise_slow0", (-300.0, 1e4), "K", "rise of the cell's volume over ambient"),
    )
    # Functions of the states with nodes of their own: a simulator then differentiates three short laws, not one long.
    inner = (
        Inner("theta", "normalised rise of Eq. 27", "1"),
        Inner("step_set", "ΔG/G0 of the SET surface", "1"),
        Inner("step_reset", "ΔG/G0 of the RESET surface, below zero", "1"),
        Inner("pace_set", "ln G per published SET pulse", "1"),
        Inner("pace_reset", "ln G per published RESET pulse", "1"),
        Inner("heater_rise", "rise of the heater's rod over ambient", "K"),
    )
    params = (
        Param("g_max", 100e-6, "S", (1e-9, 1e-2), "conductance at w = 1"),
        Param("ratio", 20.0, "1", (1.01, 1e6), "on/off ratio at 0.1 V", SOURCE),
        Param("alpha", 4e-4, "1/K", (-0.01, 0.01), "temperature coefficient of the conductance", SOURCE),
        Param("a_set", 0.143, "1", (0.0, 10.0), "a of the SET surface", SOURCE),
        Param("b_set", -2.216, "1", (-10.0, 10.0), "b of the SET surface; printed with the other sign", SOURCE),
        Param("c_set", 0.8232, "1", (0.01, 10.0), "c of the SET surface", SOURCE),
        Param("d_set", 0.4043, "1", (-5.0, 5.0), "d of the SET surface", SOURCE),
        Param("a_reset", 0.3124, "1", (0.0, 10.0), "a of the RESET surface", SOURCE),
        Param("b_reset", 0.8064, "1", (-10.0, 10.0), "b of the RESET surface", SOURCE),
        Param("c_reset", 1.138, "1", (0.01, 10.0), "c of the RESET surface", SOURCE),
        Param("d_reset", -0.8806, "1", (-5.0, 5.0), "d of the RESET surface", SOURCE),
        Param("v_set", 0.85, "V", (0.05, 10.0), "amplitude of the published SET pulse", SOURCE),
        Param("v_reset", 1.05, "V", (0.05, 10.0), "magnitude of the published RESET pulse", SOURCE),
        Param("t_pulse", 280e-6, "s", (1e-12, 10.0), "length of the published pulses", SOURCE),
        Param("v0_set", _slope(0.85), "V", (0.01, 1.0), "voltage that makes SET e times faster"),
        Param("v0_reset", _slope(1.05), "V", (0.01, 1.0), "voltage that makes RESET e times faster"),
        Param("fade", 0.02, "1", (1e-4, 0.5), "distance from an end of the range within which steps fade"),
        Param("full_scale_rise", 20.0, "K", (0.1, 1e3), "rise that counts as θ = 1"),
        Param("t_amb", 300.0, "K", (1.0, 1e3), "ambient temperature", SOURCE),
        Param("t_ref", 300.0, "K", (1.0, 1e3), "temperature of θ = 0, at which G is stated"),
        Param("r_heater", 5439.3, "Ohm", (1.0, 1e7), "heater resistance: Table 2's rod, 30 nm long", SOURCE),
        Param("self_heating", 0.0, "1", (0.0, 1.0), "share of the cell's own power that heats it"),
        Param("r_fast", 0.58e6, "K/W", (0.0, 1e9), "thermal resistance of the fast pole"),
        Param("tau_fast", 5e-9, "s", (1e-12, 1.0), "time constant of the fast pole"),
        Param("r_slow", 2.8e6, "K/W", (1.0, 1e9), "thermal resistance of the slow pole"),
        Param("tau_slow", 0.54e-6, "s", (1e-12, 1.0), "time constant of the slow pole"),
        Param("r_rod", 2.2e6, "K/W", (0.0, 1e9), "thermal resistance from the heater's rod to the filament"),
        Param("contact", 1000.0, "1", (0.0, 1e6), "conductance of the thermal port times r_slow"),
        Param("w0", 0.5, "1", (0.0, 1.0), "initial state"),
        Param("rise_fast0", 0.0, "K", (-300.0, 1e4), "initial rise of the fast pole"),
        Param("rise_slow0", 0.0, "K", (-300.0, 1e4), "initial rise of the slow pole"),
    )
    readings = MappingProxyType({"conductance": "S"})
    observables = MappingProxyType({"temperature": "K", "rise": "K", "heater_rise": "K"})
    passive = False  # its thermal port gives back stored heat; both electrical ports only take power

    def temperature(self, x: Values, p: Values) -> Operand:
        """The filament's temperature (K)."""
        return p.t_amb + x.rise_fast + x.rise_slow

    def readout(self, x: Values, p: Values) -> Mapping[str, Operand]:
        """Conductance (S) of the cell at its temperature."""
        return {"conductance": self.conductance(x, p)}

    def observe(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """The filament's temperature and rise, and the rise of the heater's rod (K), too."""
        return {
            **super().observe(across, x, p),
            "temperature": self.temperature(x, p),
            "rise": x.rise_fast + x.rise_slow,
            "heater_rise": self.heater_rise(across, x, p),
        }

    def state_ranges(self, p: Values) -> Mapping[str, tuple[float, float]]:
        """Rises up to the full scale."""
        rise = (0.0, float(p.full_scale_rise))
        return {"w": (0.0, 1.0), "rise_fast": rise, "rise_slow": rise}

    def maps(self, p: Values, *, shape: PulseShape | None = None) -> Mapping[str, EventMap]:
        """A pulse at cell and heater together, the thermal port at ambient; a rest."""
        reach = {port: reach for port, reach in self.drive_ranges(p).items() if port != "heat"}
        pulse = pulse_map(self, p, shape=shape, ranges=reach)
        rest = rest_map(self, p, span=(0.0, 3.0 * float(max(p.tau_slow, p.tau_fast))), closed=self._rested)
        return {"pulse": pulse, "rest": rest, "published": self._published(p, pulse.fixed["width"], reach["heater"])}

    def _published(self, p: Values, width: float, heater: tuple[float, float]) -> EventMap:
        """Eqs. 23 and 27 as the source's networks use them: a heater pulse of ``width`` (s), or ``pulses`` (1), the
        number of published SET pulses, or below zero of RESET pulses, at the temperature before the event. ΔG is that
        times 1 + ``scatter``: Sec. 7.5's variability from cycle to cycle.

        n pulses multiply G by (1 + ΔG/G0)^n. Eq. 27 was measured up to θ = 1: hotter cells take that step (our choice).
        """

        def waveform(u: Values, p: Values) -> tuple[Segment, ...]:
            volts = {"cell": np.where(u.pulses > 0.0, p.v_set, -p.v_reset)}
            hot = {"heater": u.heater}
            return Segment(np.abs(u.pulses) * p.t_pulse, volts, volts), Segment(width, hot, hot)

        def closed(x: Values, u: Values, p: Values) -> tuple[Mapping[str, Operand], Mapping[str, Operand]]:
            power = u.heater * u.heater / p.r_heater
            fast, slow = np.exp(-width / p.tau_fast), np.exp(-width * (1.0 + p.contact) / p.tau_slow)
            theta = np.minimum(self.theta(x, p), 1.0)
            rise = self.surface(x.w, theta, p, polarity=1)
            fall = np.minimum(self.surface(x.w, theta, p, polarity=-1), LARGEST_FALL)
            moved = np.maximum(u.pulses, 0.0) * np.log1p(rise) + np.maximum(-u.pulses, 0.0) * np.log1p(-fall)
            # G is proportional to this; without a pulse w stays as it is to the last bit
            level = (x.w + 1.0 / (p.ratio - 1.0)) * np.expm1(moved) * (1.0 + u.scatter)
            after = x.with_(
                w=np.minimum(np.maximum(x.w + level, 0.0), 1.0),
                rise_fast=p.r_fast * power + (x.rise_fast - p.r_fast * power) * fast,
                rise_slow=p.r_slow * power / (1.0 + p.contact) * (1.0 - slow) + x.rise_slow * slow,
            )
            volts = np.where(u.pulses > 0.0, p.v_set, p.v_reset)
            write = np.abs(u.pulses) * p.t_pulse * volts * volts * self.conductance(x, p)
            return after, {**self.readout(after, p), "energy": power * width + write}

        inputs = {"heater": Field("V", heater), "pulses": Field("1", (-10.0, 10.0)), "scatter": Field("1", (-1.0, 1.0))}
        fixed = {"width": width}
        return event_map(self, "published", p, inputs=inputs, waveform=waveform, closed=closed, fixed=fixed)

    def _rested(self, x: Values, u: Values, p: Values) -> tuple[Mapping[str, Operand], Mapping[str, Operand]]:
        """Both poles relax by themselves, the slow one through the thermal port as well."""
        after = x.with_(
            rise_fast=x.rise_fast * np.exp(-u.duration / p.tau_fast),
            rise_slow=x.rise_slow * np.exp(-u.duration * (1.0 + p.contact) / p.tau_slow),
        )
        return after, self.readout(after, p)

    def theta(self, x: Values, p: Values) -> Operand:
        """The normalised rise θ of Eq. 27, not below 0."""
        return np.maximum((self.temperature(x, p) - p.t_ref) / p.full_scale_rise, 0.0)

    def _inner(self, x: Values, p: Values) -> Values:
        """``x`` with the inner quantities: from a simulator's nodes where it has them."""
        if "theta" in x:
            return x
        x = x.with_(theta=self.theta(x, p))
        x = x.with_(step_set=self._step(x, p, polarity=1), step_reset=self._step(x, p, polarity=-1))
        return x.with_(pace_set=self._pace(x, p, polarity=1), pace_reset=self._pace(x, p, polarity=-1))

    def balance(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """Each inner node's law minus its voltage."""
        return {
            "theta": self.theta(x, p) - x.theta,
            "step_set": self._step(x, p, polarity=1) - x.step_set,
            "step_reset": self._step(x, p, polarity=-1) - x.step_reset,
            "pace_set": self._pace(x, p, polarity=1) - x.pace_set,
            "pace_reset": self._pace(x, p, polarity=-1) - x.pace_reset,
            "heater_rise": self.heater_rise(across, x, p) - x.heater_rise,
        }

    def heater_rise(self, across: Mapping[str, Operand], x: Values, p: Values) -> Operand:
        """How far the heater's rod is over ambient (K)."""
        return x.rise_fast + x.rise_slow + p.r_rod * across["heater"] * across["heater"] / p.r_heater

    def surface(self, w: Operand, theta: Operand, p: Values, *, polarity: int) -> Operand:
        """Eq. 27: |ΔG/G0| of one published pulse from the fraction ``w`` of the range at the normalised rise ``theta``.

        ``polarity`` is +1 for SET, −1 for RESET; the ends of the range are ignored.
        """
        a, b, c, d = _row(p, polarity)
        w = np.minimum(np.maximum(w, 0.0), 1.0)  # an engine's iterations try states far outside
        # θ^e as θ · θ^(e − 1), the latter held below EDGE: exactly 0 at θ = 0, and a finite slope there
        return a * theta * np.exp(b * w + (c * np.exp(d * w) - 1.0) * np.log(np.maximum(theta, EDGE)))

    def _step(self, x: Values, p: Values, *, polarity: int) -> Operand:
        """Signed ΔG/G0 of one published pulse."""
        size = self.surface(x.w, x.theta, p, polarity=polarity)
        return size if polarity > 0 else -np.minimum(size, LARGEST_FALL)

    def _pace(self, x: Values, p: Values, *, polarity: int) -> Operand:
        """d ln G per published pulse (module docstring), without the bounds of the range."""
        _, b, c, d = _row(p, polarity)
        h = x.step_set if polarity > 0 else x.step_reset
        h = np.maximum(h, -LARGEST_FALL)  # for an engine's iterations
        log_slope = b + c * d * np.exp(d * np.minimum(np.maximum(x.w, 0.0), 1.0)) * np.log(np.maximum(x.theta, EDGE))
        slope = np.maximum(h / (1.0 + h) * log_slope * (x.w + 1.0 / (p.ratio - 1.0)), STEEPEST)
        return np.log1p(h) * (1.0 + slope / 6.0) / (1.0 + slope * (2.0 / 3.0))

    def conductance(self, x: Values, p: Values) -> Operand:
        """Conductance (S) at the filament's temperature."""
        cold = p.g_max * ((1.0 - 1.0 / p.ratio) * x.w + 1.0 / p.ratio)
        return cold * np.maximum(1.0 + p.alpha * (self.temperature(x, p) - p.t_ref), 0.0)

    def drive_level(self, p: Values) -> float:
        """Where the slower polarity makes a step of Eq. 27 in 200 ns (V)."""
        pace = math.log(float(p.t_pulse) / 200e-9)
        return float(max(p.v_set + p.v0_set * pace, p.v_reset + p.v0_reset * pace))

    def drive_ranges(self, p: Values) -> Mapping[str, tuple[float, float]]:
        """Cell, heater and thermal port together."""
        level = self.drive_level(p)
        return {"cell": (-level, level), "heater": (0.0, 0.3), "heat": (0.0, float(p.full_scale_rise))}

    def through(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """Currents (A) of cell and heater, and the heat (W) that the thermal port takes in."""
        return {
            "cell": self.conductance(x, p) * across["cell"],
            "heater": across["heater"] / p.r_heater,
            "heat": p.contact / p.r_slow * (across["heat"] - x.rise_slow),
        }

    def rates(self, across: Mapping[str, Operand], x: Values, p: Values) -> Mapping[str, Operand]:
        """The rate law and the two thermal poles of the module docstring."""
        v = across["cell"]
        inner = self._inner(x, p)
        rise = inner.pace_set * _speed(v, p.v_set, p.v0_set)
        fall = inner.pace_reset * _speed(-v, p.v_reset, p.v0_reset)
        rise = rise * np.minimum(np.maximum(1.0 - x.w, 0.0) / p.fade, 1.0)
        fall = fall * np.minimum(np.maximum(x.w, 0.0) / p.fade, 1.0)
        power = across["heater"] * across["heater"] / p.r_heater + p.self_heating * self.conductance(x, p) * v * v
        slow = x.rise_slow
        return {
            "w": (x.w + 1.0 / (p.ratio - 1.0)) * (rise + fall) / p.t_pulse,
            "rise_fast": (p.r_fast * power - x.rise_fast) / p.tau_fast,
            "rise_slow": (p.r_slow * power + p.contact * (across["heat"] - slow) - slow) / p.tau_slow,
        }


def _row(p: Values, polarity: int) -> tuple[Operand, Operand, Operand, Operand]:
    """a, b, c, d of Eq. 27 for one polarity."""
    kind = "set" if polarity > 0 else "reset"
    return p[f"a_{kind}"], p[f"b_{kind}"], p[f"c_{kind}"], p[f"d_{kind}"]


def _speed(v: Operand, v_pulse: Operand, v_0: Operand) -> Operand:
    """S(v): 1 at ``v_pulse``, 0 for v <= 0."""
    return np.sinh(np.minimum(np.maximum(v, 0.0) / v_0, SINH_LIMIT)) / np.sinh(v_pulse / v_0)
